"""dump and simulate: every layer's output of the float and of the simulated network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.compare.dumps import write_dump
from nnie_pipeline.compare.metrics import Difference
from nnie_pipeline.engine.choice import ENGINES, session
from nnie_pipeline.engine.onnxruntime_engine import all_values
from nnie_pipeline.errors import InputError
from nnie_pipeline.files import to_json
from nnie_pipeline.quant.assumptions import USUAL, Assumptions
from nnie_pipeline.quant.ranges import RangeRecorder, Ranges
from nnie_pipeline.quant.simulate import Mode, Simulator
from nnie_pipeline.quant.widths import Bits
from nnie_pipeline.quant.words import WordsOf, own_words
from nnie_pipeline.stages.modes import FILE, measured, mode_record

_LARGEST_INPUT = 1 << 30


def dump_float(net: Net, feed: Mapping[str, Array], folder: Path, engine: str = ENGINES[0]) -> None:
    """Write every value of the float network for one input into `folder`."""
    values = all_values(net)
    made = session(engine, net, values).run(feed)
    write_dump(net, ((x, made[x]) for x in values), "float", engine, folder)


def dump_simulated(
    net: Net,
    feed: Mapping[str, Array],
    bits: Bits | Literal["mixed"],
    ranges: Ranges,
    folder: Path,
    assumptions: Assumptions = USUAL,
    mode: Mode = "float",
    words_of: WordsOf = own_words,
    source: Mapping[str, Any] | None = None,
) -> dict[str, Any] | None:
    """Write every value of the simulated network for one input into `folder`.

    With `mode` "fixed" mode float runs beside it; how far they are apart is returned and
    written as modes.json.

    `source` says where `words_of` and `ranges` come from (default: the network and its
    calibration); dump.json keeps it as `numbers`, with mode and switches.
    """
    values = Simulator(net, bits, ranges, assumptions, words_of, mode).run(feed)
    said = f"{bits} bit" if isinstance(bits, int) else "mixed 8 and 16 bit"
    numbers = {
        **(source or {"weights": "caffemodel", "z": f"calibration: {ranges.rule}"}),
        "mode": mode,
        "assumed": assumptions.changed(),
    }
    apart: dict[str, Difference] = {}
    if mode == "fixed":
        plain = Simulator(net, bits, ranges, assumptions, words_of).run(feed)
        values = measured(values, plain, apart)
    write_dump(net, values, f"simulated {said}", "onnxruntime", folder, numbers)
    if mode != "fixed":
        return None
    record = mode_record(net, apart, bits, assumptions)
    (folder / FILE).write_text(to_json(record), encoding="utf-8")
    return record


def record_ranges(
    net: Net,
    feeds: Iterable[Mapping[str, Array]],
    progress: Callable[[int], None] | None = None,
    engine: str = ENGINES[0],
    scales: Mapping[str, float] | None = None,
) -> Ranges:
    """Ranges over the float runs of `feeds`; `progress` is called with the count so far.

    `scales` is the data_scale of each input that is a picture.
    """
    return recorded([RangeRecorder(net, scales)], net, feeds, progress, engine)[0]


class Recorder(Protocol):
    """What collects ranges picture by picture: `RangeRecorder`, `PercentileRecorder`."""

    @property
    def values(self) -> list[str]:
        """The values that `add` needs."""
        ...

    def add(self, values: Mapping[str, Array]) -> None:
        """Take in the values of one picture's float run."""
        ...

    def ranges(self) -> Ranges:
        """What was collected."""
        ...


def recorded(
    recorders: Sequence[Recorder],
    net: Net,
    feeds: Iterable[Mapping[str, Array]],
    progress: Callable[[int], None] | None = None,
    engine: str = ENGINES[0],
) -> list[Ranges]:
    """What each recorder finds, over one float run of each of `feeds`."""
    wanted = dict.fromkeys(x for recorder in recorders for x in recorder.values)
    running = session(engine, net, [x for x in wanted if x not in net.inputs])
    for number, feed in enumerate(feeds, 1):
        values = {**feed, **running.run(feed)}
        for recorder in recorders:
            recorder.add(values)
        if progress:
            progress(number)
    return [x.ranges() for x in recorders]


def picture_scales(net: Net, scales: Sequence[float]) -> dict[str, float]:
    """The data_scale of a network's one picture input, as `RangeRecorder` takes it.

    Empty where channels have different scales: such a network's input is no picture that
    nnie_mapper can scale.
    """
    if len(net.inputs) != 1 or len(set(scales)) != 1 or scales[0] <= 0:
        return {}
    return {next(iter(net.inputs)): float(scales[0])}


def feeds_of(net: Net, blobs: Iterable[Array]) -> Iterator[dict[str, Array]]:
    """Each blob as the feed of a network with one input.

    Raises:
        InputError: the network has several inputs.
    """
    if len(net.inputs) != 1:
        raise InputError(
            f"the network has {len(net.inputs)} inputs ({', '.join(net.inputs)}); this stage "
            "runs networks with one"
        )
    name = next(iter(net.inputs))
    for blob in blobs:
        yield {name: blob}


def read_input(path: Path, net: Net) -> dict[str, Array]:
    """The feed in a `.npy` file: float32 NCHW, the network's own input after preprocessing.

    Raises:
        InputError: no such file, no array of numbers, or another shape than the network's.
    """
    try:
        if path.stat().st_size > _LARGEST_INPUT:
            raise InputError(f"input {path} is larger than {_LARGEST_INPUT} bytes")
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        raise InputError(f"cannot read input {path}: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:  # what numpy says advises to load it unsafely
        raise InputError(
            f"input {path} is no .npy file of numbers, or is truncated; save one float32 array "
            "with numpy.save"
        ) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise InputError(f"input {path} holds no array of numbers; save one float32 array")
    with np.errstate(over="ignore"):  # too large for float32: not finite, refused below
        feed = next(feeds_of(net, [np.ascontiguousarray(array, dtype=np.float32)]))
    name, shape = next(iter(net.inputs.items()))
    if array.shape != shape:
        raise InputError(
            f"input {path} has the shape {list(array.shape)}; the network's input {name} takes "
            f"{list(shape)}"
        )
    if not np.isfinite(feed[name]).all():
        raise InputError(f"input {path} holds values that are not finite")
    return feed
