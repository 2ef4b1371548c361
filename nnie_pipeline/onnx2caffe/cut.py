"""Where a network ends for NNIE: behind the last values that its layers can make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nnie_pipeline.onnx2caffe.graph import Graph, Node, RefusedError


@dataclass(frozen=True)
class Cut:
    """A value that is kept as an output because a node behind it cannot be expressed."""

    output: str
    node: str
    operator: str
    reason: str

    def __str__(self) -> str:
        return (
            f"cut: {self.output} is kept as output; behind it {self.operator} {self.node} "
            f"cannot be expressed: {self.reason}"
        )


def find_cuts(
    graph: Graph, nodes: Iterable[Node], errors: Mapping[str, RefusedError], wanted: Iterable[str]
) -> tuple[list[str], list[Cut]]:
    """The values to keep in place of `wanted`, and a `Cut` for each that stands in for others.

    `errors` holds, for every value that could not be made, why. A value is kept when it can
    be made; else what its node reads is kept in its place. What depends on no input of the
    network (priors, for example) is left out, and so is the input itself.
    """
    makers = {x: node for node in nodes for x in node.outputs if x}
    kept: dict[str, None] = {}
    cuts: dict[str, Cut] = {}
    seen: set[str] = set()

    def keep(name: str, cause: RefusedError | None) -> None:
        if name in graph.constants or name in graph.net.inputs:
            return
        error = errors.get(name) or graph.attempt(lambda: graph.find(name))
        if error is None:
            if graph.find(name) is not None and graph.blobs[name] not in graph.net.inputs:
                kept.setdefault(name)
                if cause is not None and name not in cuts:
                    where = cause.node
                    cuts[name] = Cut(name, where.name, where.operator, cause.reason)
            return
        if name in seen or name not in makers:
            return
        seen.add(name)
        for source in makers[name].inputs:
            if source:
                keep(source, error)

    for name in wanted:
        keep(name, None)
    blobs: dict[str, str] = {}
    for name in kept:
        blobs.setdefault(graph.blobs[name], name)
    names = [x for x in kept if blobs[graph.blobs[x]] == x]
    return names, [cuts[x] for x in names if x in cuts]
