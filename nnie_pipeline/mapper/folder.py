"""The folder that goes to the machine with the mapper on it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnie_pipeline import files
from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.caffe.net import Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.calibration.sets import ascii_name
from nnie_pipeline.chips.chip import DEFAULT_CHIP, Chip, find_chip
from nnie_pipeline.chips.segments import HP_MARKER
from nnie_pipeline.errors import InputError
from nnie_pipeline.mapper.cfg import InputOptions, Value, normalisation, render, write_cfg
from nnie_pipeline.mapper.options import options
from nnie_pipeline.mapper.runs import MIXED_RUNS, RUNS, Run, command
from nnie_pipeline.mapper.sources import Shape, Source, open_source, place_source

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
_PICTURE = re.compile(r"\d{3,}_[A-Za-z0-9_-]+\.bmp")
_OWN = frozenset(
    {"prototxt_file", "caffemodel_file", "instruction_name", "compile_mode", "is_simulation",
     "data_scale", "RGB_order"}
)  # fmt: skip
"""What the network, its runs and its calibration sets say; not to be set."""


@dataclass(frozen=True)
class MapperFolder:
    """What was written: the runs' names (NAME_KIND, the stem of cfg and .wk) and commands."""

    runs: tuple[str, ...]
    commands: tuple[str, ...]


def write_mapper_folder(
    prototxt: Path,
    caffemodel: Path,
    calibration: Path | Sequence[Path],
    folder: Path,
    name: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    chip: str = DEFAULT_CHIP,
    image_type: int | None = None,
    settings: Mapping[str, str] | None = None,
    runs: Sequence[Run] | None = None,
) -> MapperFolder:
    """Write all that nnie_mapper needs into `folder`: net, calibration data, a cfg file a run.

    The paths in it are relative and ASCII, so that it runs from any place. Pictures are hard
    links where the file system allows. Other files in `folder` (a .wk of an earlier run)
    stay; pictures of an earlier set go.

    Args:
        prototxt: The NNIE-ready network.
        caffemodel: Its weights.
        calibration: For each input in the prototxt's order, then for each top of Custom layers:
            a folder written by `calibration.sets.write_set`, or a text file of tensors.
        folder: Where to write.
        name: What the files are called, ASCII; None takes the prototxt's.
        progress: Called with (done, all) after every picture.
        chip: The chip, which names the mapper and its options.
        image_type: What the board feeds into picture inputs: 1 (U8 planes), 3 or 5 (YUV); None: 3
            where the set has YVU420SP files, else 1.
        settings: More options of the cfg files; files that they name are copied.
        runs: What to write cfg files for; None: `RUNS`, and `MIXED_RUNS` where layers are marked.

    Raises:
        InputError: a file that cannot be read, a set that does not fit the network's input,
            a name with other characters, an option out of its range, a folder that cannot be
            written.
        NotExpressibleError: the cfg cannot say the network's scale.
    """
    name = ascii_name(prototxt.stem) if name is None else name
    if not _NAME.fullmatch(name):
        raise InputError(
            f"name {name!r}: use 1 to 80 of A-Z a-z 0-9 _ . - and begin with a letter or digit "
            "(nnie_mapper takes ASCII paths only)"
        )
    target_chip = find_chip(chip)
    paths = [calibration] if isinstance(calibration, Path) else list(calibration)
    net = read_net(prototxt)
    sources, kinds = _sources(prototxt, inputs_of(net), paths, image_type)
    common = _common(sources)
    marked = any(x.name.endswith(HP_MARKER) for x in net.layers)
    runs = (*RUNS, *(MIXED_RUNS if marked else ())) if runs is None else runs
    made = MapperFolder(
        tuple(f"{name}_{x.kind}" for x in runs),
        tuple(command(target_chip.mapper, name, x) for x in runs),
    )
    with files.added_files(folder) as target:
        _copy(prototxt, target / f"{name}.prototxt")
        _copy(caffemodel, target / f"{name}.caffemodel")
        prefixes = ["" if len(sources) == 1 else f"input{i + 1}/" for i in range(len(sources))]
        inputs = [
            place_source(source, target, prefix, kind, progress)
            for source, prefix, kind in zip(sources, prefixes, kinds, strict=True)
        ]
        given = _settings(settings or {}, target)
        for run in runs:
            text = _cfg_text(name, run, {**common, **given}, inputs, target_chip.nnie)
            (target / f"{name}_{run.kind}.cfg").write_text(text, encoding="ascii")
        readme = _readme(name, sources, prefixes, made.commands, target_chip, kinds[0])
        (target / "README.txt").write_text(readme, encoding="ascii")
    for source, prefix in zip(sources, prefixes, strict=True):
        _drop_old_pictures(source, folder / prefix / "pictures")
    return made


def _sources(
    prototxt: Path, wanted: Mapping[str, Shape], paths: Sequence[Path], asked: int | None
) -> tuple[list[Source], list[int]]:
    """What feeds the inputs, and the image_type of each."""
    if len(wanted) != len(paths):
        raise InputError(
            f"{prototxt} has {len(wanted)} inputs ({', '.join(wanted)}); give --calibration once "
            "for each, in this order: a folder of nnie calibrate, or a text file of tensors"
        )
    if asked not in (None, 1, 3, 5):
        raise InputError(
            f"image_type {asked}: pictures are 1 (U8), 3 (YUV420SP) or 5 (YUV422SP); inputs "
            "of numbers (0) are given as text files of tensors"
        )
    sources = [open_source(x, *y) for x, y in zip(paths, wanted.items(), strict=True)]
    kinds = []
    for source, (blob, shape) in zip(sources, wanted.items(), strict=True):
        image_type = asked or (3 if source.record is not None and source.record.yuv else 1)
        kinds.append(image_type)
        height, width = shape[2:] if source.record is not None else (0, 0)
        if image_type != 1 and (width % 2 or (image_type == 3 and height % 2)):
            raise InputError(
                f"input {blob} is {height}x{width}: YUV420SP needs even height and width, "
                "YUV422SP an even width (HiSVP API reference)"
            )
    return sources, kinds


def inputs_of(net: Net) -> dict[str, Shape]:
    """The blobs that need a group of input options in the cfg, with their shapes.

    The network's inputs, then the tops of Custom layers (HiSVP development guide, image_list).
    """
    custom = [top for x in net.layers if x.type == "Custom" for top in x.tops]
    shapes = infer(net) if custom else {}
    return {**net.inputs, **{x: shapes[x] for x in custom}}


def _common(sources: Sequence[Source]) -> dict[str, Value]:
    """Scale and channel order, of which a cfg has one each.

    Raises:
        InputError: two sets do not agree.
    """
    scales = set()
    orders = set()
    for source in sources:
        if source.record is not None:
            spec = source.record.input
            scales.add(normalisation(spec.mean, spec.scale).data_scale)
            orders.add(_rgb_order(source))
    scales.discard(None)
    for what, found in (("scales", scales), ("channel orders", orders)):
        if len(found) > 1:
            raise InputError(
                f"the calibration sets have different {what} ({', '.join(map(str, found))}); a cfg "
                "has one for all inputs: fold what differs into the network"
            )
    common: dict[str, Value] = {"RGB_order": next(iter(orders), "BGR")}
    for scale in scales:
        if scale is not None:
            common["data_scale"] = scale
    return common


def _settings(settings: Mapping[str, str], target: Path) -> dict[str, Value]:
    """The user's own options; files that they name are copied into `target`."""
    found: dict[str, Value] = {}
    for key, value in settings.items():
        option = options().get(key)
        if option is None or key in _OWN or option.group:
            known = ", ".join(x for x, y in options().items() if x not in _OWN and not y.group)
            raise InputError(f"cfg option {key} cannot be set here; these can: {known}")
        if option.kind != "file":
            found[key] = value
            continue
        places = []
        for number, path in enumerate(value.split(","), 1):
            suffix = f"_{number}" if option.many else ""
            place = f"{key}{suffix}{ascii_name(Path(path).suffix).join(('.', ''))}"
            _copy(Path(path), target / place)
            places.append(f"./{place}")
        found[key] = tuple(places) if option.many else places[0]
    return found


def _cfg_text(
    name: str,
    run: Run,
    common: Mapping[str, Value],
    inputs: Sequence[InputOptions],
    nnie: str,
) -> str:
    settings: dict[str, Value] = {
        "prototxt_file": f"./{name}.prototxt",
        "caffemodel_file": f"./{name}.caffemodel",
        "instruction_name": f"./{name}_{run.kind}",
        "compile_mode": run.compile_mode,
        "is_simulation": run.is_simulation,
        "log_level": run.log_level,
    }
    return write_cfg({**settings, **common}, inputs, nnie)


def _rgb_order(source: Source) -> str:
    """The network's channel order; a gray network has none and gets the default."""
    return "RGB" if source.record is not None and source.record.input.colour == "RGB" else "BGR"


def _readme(
    name: str,
    sources: Sequence[Source],
    prefixes: Sequence[str],
    commands: tuple[str, ...],
    chip: Chip,
    image_type: int,
) -> str:
    records = [x.record for x in sources if x.record is not None]
    one = records[0] if len(sources) == 1 and records else None
    tensors = [
        f"{y or 'input.txt'}" for x, y in zip(sources, prefixes, strict=True) if not x.record
    ]
    return render(
        "README.txt.j2",
        name=name,
        size=f", {one.height}x{one.width} (height x width)" if one else "",
        lasts=[f"{y}{x.last}" for x, y in zip(sources, prefixes, strict=True)],
        commands=commands,
        program=chip.mapper,
        nnie=chip.nnie,
        chip=chip.name,
        mixed=any("_mixed" in x for x in commands),
        tensors=", ".join(tensors),
        colours=list(dict.fromkeys(x.input.colour for x in records)),
        rgb_order=next((_rgb_order(x) for x in sources if x.record), "BGR"),
        image_type=image_type,
        unequal_means=any(len(set(x.input.mean)) > 1 for x in records),
    )


def _copy(source: Path, place: Path) -> None:
    try:
        data = source.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {source}: {error.strerror}") from error
    place.write_bytes(data)


def _drop_old_pictures(source: Source, pictures: Path) -> None:
    if source.record is None or not pictures.is_dir():
        return
    current = {Path(x.file).name for x in source.record.pictures}
    for path in pictures.iterdir():
        if path.name not in current and _PICTURE.fullmatch(path.name):
            path.unlink(missing_ok=True)
