"""A calibration set on disk: pictures at network size, their raw planes, what they came from.

pictures/000_name.bmp   the canvas, lossless: decoding it gives the planes of its raw file
raw/000_name.bgr        the U8 planes as the board reads them (.gray for a gray network)
raw/000_name.yuv        on request: the same picture as YVU420SP
image_list.txt          the pictures, one relative path a line, for nnie_mapper
mean.txt                the means, one a line, in the network's channel order
contact.png             the set at a glance
histograms.json         how often each of the 256 levels occurs, a list a channel, all pictures
probe/                  a coloured picture and what the first layer reads of it (`probe`)
calibration.json        how the set was made: `CalibrationSet`
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from nnie_pipeline import files
from nnie_pipeline.calibration import contact
from nnie_pipeline.calibration.choice import Choice
from nnie_pipeline.calibration.geometry import INTERPOLATION, Placement
from nnie_pipeline.calibration.network_input import Blob, InputSpec, stored_pixels, to_blob
from nnie_pipeline.calibration.pictures import (
    Dropped,
    PictureFile,
    UnreadableError,
    none_readable,
    read_picture,
)
from nnie_pipeline.calibration.probe import FOLDER as PROBE
from nnie_pipeline.calibration.probe import write_probe
from nnie_pipeline.calibration.stored import RawForm, Stored, encoded, lost, store, workers
from nnie_pipeline.calibration.yuv import RoundTrip, YuvForm, check_yuv
from nnie_pipeline.errors import InputError
from nnie_pipeline.words import counted

RECORD = "calibration.json"
IMAGE_LIST = "image_list.txt"
MEAN_FILE = "mean.txt"
HISTOGRAMS = "histograms.json"
_OWN = frozenset(
    {"pictures", "raw", IMAGE_LIST, MEAN_FILE, "contact.png", HISTOGRAMS, PROBE, RECORD}
)
_STORED_NAME = re.compile(r"(pictures|raw)/\d{3,}_[A-Za-z0-9_-]+\.(bmp|bgr|gray)")
_LONGEST_NAME = 40

_ALIGNMENTS = (1, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class SetPicture:
    """One picture of a set: `file` and `raw` are paths in it, the rest says what it is.

    `gray`: its three channels are equal, so it cannot reveal a swap of channels.
    """

    file: str
    raw: str
    source: str
    sha256: str
    licence: str
    gray: bool
    placement: Placement


@dataclass(frozen=True)
class CalibrationSet:
    """What `calibration.json` holds; the pictures stand in the order of `image_list.txt`.

    `stride` is the bytes of a row of a raw file (None: as wide as the picture), `yuv` how .yuv
    files are written (None: there are none) and `yuv_error` what that loses: the mean over all
    pictures and the largest. `choice` says how the pictures were chosen, if they were, `dropped`
    which could not be read, `useless` which teach nothing and are in the set all the same.
    `unproven` says, in words, why `input` may not be the model's own (empty: its spec says so).
    """

    height: int
    width: int
    input: InputSpec
    interpolation: str
    pictures: tuple[SetPicture, ...]
    stride: int | None = None
    yuv: YuvForm | None = None
    yuv_error: RoundTrip | None = None
    choice: Choice | None = None
    dropped: tuple[Dropped, ...] = ()
    useless: tuple[Dropped, ...] = ()
    unproven: str = ""

    @property
    def gray(self) -> list[str]:
        """The sources of the gray pictures."""
        return [x.source for x in self.pictures if x.gray]


_RECORD_TYPE = TypeAdapter(CalibrationSet)


def write_set(
    pictures: Sequence[PictureFile],
    spec: InputSpec,
    size: tuple[int, int],
    folder: Path,
    *,
    allow_gray: bool = False,
    progress: Callable[[int, int], None] | None = None,
    raw: RawForm | None = None,
    choice: Choice | None = None,
    dropped: Sequence[Dropped] = (),
    unproven: str = "",
) -> CalibrationSet:
    """Write the set of `pictures` at `size` (height, width) as the new content of `folder`.

    nnie_mapper dumps its quantised layers for the last picture of the list only, so the
    order matters. `progress` is called with (done, all) after every picture. `raw` is how raw
    files are written (None: rows of a multiple of 16 bytes, no YUV). A picture that cannot be
    read is left out; its number stays free. `choice`, how the pictures were chosen, and
    `dropped`, which were left out before, and `unproven` are for the record.

    Raises:
        InputError: no picture, none that can be read, only gray ones for a colour network
            (unless `allow_gray`), YUV for a gray network or an odd size, or a folder that
            cannot be written or holds other files.
    """
    if not pictures:
        raise InputError("a calibration set needs at least one picture; give a folder of pictures")
    form = RawForm() if raw is None else raw
    _check_form(form, spec, size)
    _require_own(folder)
    digits = max(3, len(str(len(pictures) - 1)))
    cell = contact.cell_size(len(pictures))
    with files.replaced_folder(folder) as target:
        (target / "pictures").mkdir()
        (target / "raw").mkdir()

        def write(number: int) -> Stored | UnreadableError:
            stem = f"{number:0{digits}d}_{ascii_name(Path(pictures[number].name).stem)}"
            try:
                return store(pictures[number].path, spec, size, target, stem, cell, form)
            except UnreadableError as error:
                return error

        stored: list[Stored] = []
        entries: list[SetPicture] = []
        unread: list[Dropped] = []
        useless: list[Dropped] = []
        first_error = None
        with workers() as pool:
            # No name for the iterator: Ctrl-C has to end it, which drops what is not begun.
            for done, (x, y) in enumerate(
                zip(pool.map(write, range(len(pictures))), pictures, strict=True), 1
            ):
                if isinstance(x, UnreadableError):
                    first_error = first_error or x
                    unread.append(Dropped(y.name, x.reason))
                else:
                    stored.append(x)
                    if x.useless is not None:
                        useless.append(Dropped(y.name, x.useless))
                    entries.append(
                        SetPicture(x.file, x.raw, y.name, x.sha256, y.licence, x.gray, x.placement)
                    )
                if progress:
                    progress(done, len(pictures))
        if first_error and not stored:
            raise none_readable(len(pictures), first_error)
        stride = -(-size[1] // form.align) * form.align
        result = CalibrationSet(
            *size, spec, INTERPOLATION, tuple(entries), stride, form.yuv, lost(stored), choice,
            (*dropped, *unread), tuple(useless), unproven,
        )  # fmt: skip
        _require_colour(result, allow_gray)
        lines = "".join(f"{x.file}\n" for x in entries)
        (target / IMAGE_LIST).write_text(lines, encoding="ascii")
        means = "".join(f"{x!r}\n" for x in map(float, spec.mean))
        (target / MEAN_FILE).write_text(means, encoding="ascii")
        sheet = contact.sheet({int(Path(x.file).name.split("_")[0]): x.thumbnail for x in stored})
        (target / "contact.png").write_bytes(encoded(".png", sheet))
        counts = np.sum([x.counts for x in stored], axis=0)
        channels = ["Y"] if spec.colour == "GRAY" else list("BGR")
        histograms = {"channels": channels, "counts": counts.tolist()}
        (target / HISTOGRAMS).write_text(files.to_json(histograms), encoding="utf-8")
        if spec.colour != "GRAY":
            write_probe(spec, size, target, form.yuv)
        record = files.to_json(_RECORD_TYPE.dump_python(result, mode="json"))
        (target / RECORD).write_text(record, encoding="utf-8")
    return result


def read_set(folder: Path) -> CalibrationSet:
    """The record of the set in `folder`.

    Raises:
        InputError: there is none, or it is damaged.
    """
    path = folder / RECORD
    if not path.exists():
        raise InputError(f"{folder} holds no calibration set; write one with nnie calibrate")
    try:
        record = _RECORD_TYPE.validate_python(files.read_json(path, "the record of a set"))
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise InputError(
            f"{path} is not the record of a calibration set ({where}: "
            f"{error.errors()[0]['msg']}); run nnie calibrate again"
        ) from error
    names = [name for x in record.pictures for name in (x.file, x.raw)]
    if not names or not all(_STORED_NAME.fullmatch(x) for x in names):
        raise InputError(f"{path} names no pictures of its own; run nnie calibrate again")
    return record


def load_input(folder: Path, index: int, spec: InputSpec | None = None) -> Blob:
    """The network input, float32 (1, C, H, W), of picture `index` (-1: the last) of a set.

    `spec` says how another network than the set's takes the same pixels (its mean and scale).

    Raises:
        InputError: the set or the picture is missing or damaged, or there is no such index.
    """
    record = read_set(folder)
    count = len(record.pictures)
    if not -count <= index < count:
        raise InputError(
            f"set {folder} has {counted(count, 'picture')}; there is no number {index}"
        )
    return _load(folder, record, record.pictures[index], spec)


def load_inputs(folder: Path) -> Iterator[Blob]:
    """The network inputs of a whole set, in order, each as `load_input`."""
    record = read_set(folder)
    for entry in record.pictures:
        yield _load(folder, record, entry)


def ascii_name(text: str) -> str:
    """`text` in the letters, digits, - and _ that every tool takes in a path."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9-]+", "_", plain).strip("_")[:_LONGEST_NAME] or "picture"


def _load(
    folder: Path, record: CalibrationSet, entry: SetPicture, spec: InputSpec | None = None
) -> Blob:
    canvas, _ = read_picture(folder / entry.file)
    if canvas.shape[:2] != (record.height, record.width):
        raise InputError(
            f"{folder / entry.file} is not {record.height}x{record.width} any more; "
            "run nnie calibrate again"
        )
    return to_blob(stored_pixels(canvas, record.input.colour), spec or record.input)


def _check_form(form: RawForm, spec: InputSpec, size: tuple[int, int]) -> None:
    if form.align not in _ALIGNMENTS:
        raise InputError(
            f"--align {form.align}: rows are multiples of {', '.join(map(str, _ALIGNMENTS))} bytes "
            "(16 with DDR3, 32 with DDR4; 1: not filled)"
        )
    if form.yuv is not None:
        check_yuv(spec.colour, size)


def _require_own(folder: Path) -> None:
    """The set replaces its folder as a whole: never one with anything else in it."""
    if not folder.is_dir():
        return
    foreign = sorted(x.name for x in folder.iterdir() if x.name not in _OWN)
    if foreign:
        raise InputError(
            f"folder {folder} holds {foreign[0]}, which is no part of a calibration set; "
            "choose a new folder"
        )


def _require_colour(result: CalibrationSet, allow_gray: bool) -> None:
    if result.input.colour == "GRAY" or allow_gray or len(result.gray) < len(result.pictures):
        return
    count = len(result.pictures)
    raise InputError(
        f"{'the only picture is' if count == 1 else f'all {count} pictures are'} gray (R = G = B) "
        "and cannot reveal swapped channels; add a colour picture, or give --allow-gray"
    )
