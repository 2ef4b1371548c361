"""Which engine runs a network: onnxruntime, always installed, or the real Caffe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.errors import InputError

ENGINES = ("onnxruntime", "pycaffe")
"""The names of the engines; the first is the default."""


class Session(Protocol):
    """A network ready to run."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The wanted values for `inputs`: float32 arrays with the shapes of the `Net`."""


def check_engine(engine: str) -> None:
    """Refuse an engine that cannot run here, before anything is computed.

    Raises:
        InputError: no engine has that name, or pycaffe is not built.
    """
    if engine not in ENGINES:
        raise InputError(f"there is no engine {engine}; choose {' or '.join(ENGINES)}")
    if engine == "pycaffe":
        from nnie_pipeline.engine import pycaffe_engine

        pycaffe_engine.require()


def session(
    engine: str,
    net: Net,
    values: Sequence[str] | None = None,
    as_written: bool = False,
    fused: bool = True,
) -> Session:
    """A session of the engine called `engine`; `values` names what a run gives back (default:
    the outputs of `net`).

    With `as_written` Caffe runs the network as its files have it, layers in place too; onnxruntime
    gives every value memory of its own always, and without `fused` computes every layer alone, as
    Caffe does.

    Raises:
        InputError: no engine has that name, pycaffe is not built, or the engine cannot run a
            layer of `net`.
    """
    check_engine(engine)
    if engine == "pycaffe":
        from nnie_pipeline.engine import pycaffe_engine

        return pycaffe_engine.Session(net, values, as_written)
    from nnie_pipeline.engine import onnxruntime_engine

    return onnxruntime_engine.Session(net, values, fused)
