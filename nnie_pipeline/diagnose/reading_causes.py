"""Causes behind the network: right numbers, wrongly read."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping

import numpy as np

from nnie_pipeline.caffe.net import Array
from nnie_pipeline.compare.layout import padded_shape, row_length
from nnie_pipeline.diagnose.case import Case
from nnie_pipeline.diagnose.distance import distance
from nnie_pipeline.diagnose.hypothesis import Hypothesis, Values

Q20_12 = np.float32(4096)


def stride(_: Case) -> Iterator[Hypothesis]:
    """Rows of a board's memory taken for rows of the blob."""
    for alignment in (16, 32):
        yield Hypothesis(
            f"outputs read on from memory whose rows are aligned to {alignment} bytes",
            read=lambda values, _, alignment=alignment: {  # type: ignore[misc]
                k: _with_padding(v, alignment) for k, v in values.items()
            },
        )


def _with_padding(values: Array, alignment: int) -> Array:
    """The first values of the padded memory; nobody knows the padding."""
    if values.ndim < 2 or row_length(values.shape[-1], alignment) == values.shape[-1]:
        return values
    memory = np.full(padded_shape(values.shape, alignment), np.nan, np.float32)
    memory[..., : values.shape[-1]] = values
    return memory.reshape(-1)[: values.size].reshape(values.shape)


def fixed_point(_: Case) -> Iterator[Hypothesis]:
    """The int32 words of 20.12 taken for the values, or divided twice."""
    for words, factor in (
        ("the int32 words of the outputs were not divided by 4096", Q20_12),
        ("the outputs were divided by 4096 twice", 1 / Q20_12),
    ):
        yield Hypothesis(
            words,
            read=lambda values, _, factor=factor: {  # type: ignore[misc]
                k: v * factor for k, v in values.items()
            },
        )


def output_order(case: Case) -> Iterator[Hypothesis]:
    """The files of outputs under each other's names."""
    outputs = frozenset(case.net.outputs)

    def read(values: Values, dump: Mapping[str, Array]) -> Values:
        names = [x for x in values if x in outputs and x in dump]
        order = _best_order([values[x] for x in names], [dump[x] for x in names])
        return {
            **values,
            **{name: values[names[i]] for name, i in zip(names, order, strict=True)},
        }

    if len(outputs) > 1:
        yield Hypothesis("the outputs stand in another order", read=read)


def _best_order(values: list[Array], dump: list[Array]) -> list[int]:
    """For each blob of the dump the index of the value that it holds, each used once."""
    costs = [[_cost(v, d) for v in values] for d in dump]
    if len(values) <= 6:
        ways = itertools.permutations(range(len(values)))
        best = min(ways, key=lambda way: sum(costs[i][j] for i, j in enumerate(way)))
        return list(best)
    free, order = set(range(len(values))), [0] * len(values)
    pairs = sorted(
        (cost, i, j) for i, row in enumerate(costs) for j, cost in enumerate(row)
    )  # fmt: skip
    done: set[int] = set()
    for _, i, j in pairs:
        if i not in done and j in free:
            order[i] = j
            done.add(i)
            free.discard(j)
    return order


def _cost(value: Array, dumped: Array) -> float:
    if value.size != dumped.size:
        return 2.0
    return distance(value.reshape(-1), dumped.reshape(-1))


def output_height_and_width(_: Case) -> Iterator[Hypothesis]:
    """Maps read column by column."""
    yield Hypothesis(
        "the outputs were read column by column",
        read=lambda values, _: {k: _turned(v) for k, v in values.items()},
    )


def _turned(values: Array) -> Array:
    if values.ndim < 2 or math.prod(values.shape[-2:]) == 1:
        return values
    return np.ascontiguousarray(np.swapaxes(values, -1, -2)).reshape(values.shape)
