"""bringup: the kit for a board out of a finished build.

inputs/NAME.bgr                     the U8 planes that the board reads (.gray for a gray network;
                                    .yuv where the calibration set is for YVU420SP)
golden/RUN/NAME/seg0_layerK_...     output K of the float and the simulated network
golden/RUN/NAME/found.txt           what the head finds in them
kit.json, check.py                  shapes, limits and the comparison
run_on_board.sh                     runs the inputs through the SDK's sample
nnie_model.h, nnie_decoder.c        for a program on the board
CHECKLIST.en.md, CHECKLIST.zh-CN.md
PICTURES.txt                        where the pictures come from, and their licences
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnie_pipeline import files
from nnie_pipeline.bringup import check
from nnie_pipeline.bringup.archive import pack
from nnie_pipeline.bringup.checklist import LANGUAGES, checklist
from nnie_pipeline.bringup.commands import kit_name
from nnie_pipeline.bringup.decoder import DECODER, decoder, detection_lines, embedding_lines
from nnie_pipeline.bringup.golden import RUNS, Goldens, Outputs, limits, ordered
from nnie_pipeline.bringup.header import HEADER, Network, header
from nnie_pipeline.bringup.layout import layout_of
from nnie_pipeline.bringup.nodes import Node
from nnie_pipeline.bringup.words import to_hex
from nnie_pipeline.calibration.geometry import Picture
from nnie_pipeline.calibration.network_input import planar_bytes, stored_pixels, to_blob
from nnie_pipeline.calibration.pictures import read_picture
from nnie_pipeline.calibration.probe import EXPECTED, coloured, readings
from nnie_pipeline.calibration.sets import CalibrationSet, read_set
from nnie_pipeline.calibration.yuv import YuvForm, to_bgr, to_yvu, yvu_bytes
from nnie_pipeline.chips.chip import find_chip
from nnie_pipeline.errors import InputError
from nnie_pipeline.heads.embedding import Embedding
from nnie_pipeline.heads.registry import Head
from nnie_pipeline.heads.registry import head as known_head
from nnie_pipeline.stages.built import Built, open_build

DEFAULT_COUNT = 3
MOST_PICTURES = 50
PROBE = "probe"

_DATA = Path(check.__file__).resolve().parent / "data"
_OWN = frozenset(
    {"inputs", "golden", "kit.json", "check.py", "run_on_board.sh", HEADER, DECODER, "PICTURES.txt",
     *(f"CHECKLIST.{x}.md" for x in LANGUAGES)}
)  # fmt: skip


@dataclass(frozen=True)
class Kit:
    """What was written: folder, archive, inputs, outputs of each; the model, (height, width),
    whether there is a decoder, and of each simulated run the outputs that the number format blurs
    too far to compare them with a board's, and on how many inputs.
    """  # fmt: skip

    folder: Path
    archive: Path
    pictures: tuple[str, ...]
    outputs: int
    name: str
    size: tuple[int, int]
    decoder: bool
    blurred: dict[str, dict[str, int]]


def write_kit(
    build: Path,
    out: Path | None = None,
    count: int = DEFAULT_COUNT,
    progress: Callable[[int, int], None] | None = None,
) -> Kit:
    """Write the kit for the build of `nnie run` in `build`, as a folder and as a .tar.gz.

    Args:
        build: the folder of the build.
        out: the kit's folder; without it `bringup` in the build. The archive lies beside it.
        count: how many pictures of the calibration set, from its end.
        progress: called with (done, all) after every input.

    Raises:
        InputError: no complete build, no such count, a network of several inputs or with layers
            on the CPU, or a folder that holds other files.
    """
    if (build / "convert").is_dir() and not (build / "simulate" / "ranges.json").is_file():
        raise InputError(
            f"{build} has no simulate/ranges.json, of which the golden outputs are made; nnie run "
            "again with its model, size and --build makes what is missing"
        )
    built = open_build(build)
    record = read_set(build / "calibration")
    if not 1 <= count <= MOST_PICTURES:
        raise InputError(f"--count {count}: a kit holds 1 to {MOST_PICTURES} pictures")
    folder = build / "bringup" if out is None else out
    _require_own(folder)
    chip = find_chip(_chip(build))
    spec = built.spec
    head = None if spec.head is None else known_head(spec.head.decoder, spec.head.parameters)
    goldens = Goldens(built.net, built.ranges)
    nodes = goldens.nodes
    layout = None
    if head is not None and not isinstance(head, Embedding):
        layout = layout_of(head, nodes, built.order, built.size)
    network = Network(
        spec.name, next(iter(built.net.inputs)), built.input, built.size, nodes, record.yuv
    )
    inputs = _inputs(build / "calibration", record, count)
    with files.replaced_folder(folder) as target:
        (target / "inputs").mkdir()
        kit = _kit(built, nodes)
        for done, (name, file, pixels, licence) in enumerate(inputs, 1):
            fed, data = _fed(pixels, record.yuv)
            (target / "inputs" / file).write_bytes(data)
            outputs = goldens.run(to_blob(fed, built.input))
            _write_outputs(target, name, outputs, nodes, head, built)
            kit["limits"][name] = limits(outputs)
            kit["pictures"].append({"name": name, "file": f"inputs/{file}", "licence": licence})
            if name == PROBE:
                kit["readings"] = _write_readings(target, goldens, pixels, built, record.yuv)
            if progress:
                progress(done, len(inputs))
        (target / "kit.json").write_text(files.to_json(kit), encoding="utf-8")
        (target / HEADER).write_text(header(network, head, layout), encoding="ascii")
        if spec.head is not None:
            (target / DECODER).write_text(decoder(spec.head.decoder), encoding="ascii")
        probe = next((file for name, file, _, _ in inputs if name == PROBE), None)
        for language in LANGUAGES:
            text = checklist(language, network, built.original, chip, probe, head is not None)
            (target / f"CHECKLIST.{language}.md").write_text(text, encoding="utf-8")
        (target / "PICTURES.txt").write_text(_licences(built, inputs), encoding="utf-8")
        (target / "check.py").write_bytes(Path(check.__file__).read_bytes())
        script = target / "run_on_board.sh"
        script.write_bytes((_DATA / "run_on_board.sh").read_bytes())
        script.chmod(0o755)
        packed = pack(target, kit_name(spec.name, built.size))
    archive = _archive(folder)
    with files.added_files(archive.parent) as beside:
        (beside / archive.name).write_bytes(packed)
    names = tuple(x[0] for x in inputs)
    return Kit(
        folder, archive, names, len(nodes), spec.name, built.size, head is not None,
        _blurred(kit["limits"], nodes),
    )  # fmt: skip


def _blurred(
    limits: dict[str, dict[str, list[dict[str, float]]]], nodes: tuple[Node, ...]
) -> dict[str, dict[str, int]]:
    found = {}
    for run in RUNS:
        counts = {
            x.name: sum(check.is_blurred(of[run][x.number]) for of in limits.values())
            for x in nodes
        }
        found[run] = {name: count for name, count in counts.items() if count}
    return found


def _kit(built: Built, nodes: tuple[Node, ...]) -> dict[str, Any]:
    return {
        "model": built.spec.name,
        "size": list(built.size),
        "runs": list(RUNS),
        "outputs": [
            {
                "name": x.name,
                "layers": list(x.layers),
                "shape": list(x.shape),
                "count": x.count,
                "width": x.width,
                "file": x.file,
            }
            for x in nodes
        ],
        "pictures": [],
        "readings": {},
        "limits": {},
    }


_Input = tuple[str, str, Picture, str]
"""An input's name, file, pixels (H, W, 3) or (H, W), and its source and licence in words."""


def _inputs(calibration: Path, record: CalibrationSet, count: int) -> list[_Input]:
    """The last pictures of the set; of a network with colours the last once more, coloured."""
    inputs = []
    suffix = ".gray" if record.input.colour == "GRAY" else ".bgr" if record.yuv is None else ".yuv"
    for entry in record.pictures[-count:]:
        canvas, _ = read_picture(calibration / entry.file)
        if canvas.shape[:2] != (record.height, record.width):
            raise InputError(
                f"{calibration / entry.file} is not {record.height}x{record.width} any more; run "
                "nnie run again"
            )
        pixels = stored_pixels(canvas, record.input.colour)
        said = f"{entry.source}, sha256 {entry.sha256}, licence: {entry.licence}"
        stem = Path(entry.raw).stem
        inputs.append((stem, f"{stem}{suffix}", pixels, said))
    last, _, pixels, said = inputs[-1]
    if pixels.ndim == 3:
        tinted = f"{last} behind orange glass, made of {said}"
        inputs.append((PROBE, f"{PROBE}{suffix}", coloured(pixels), tinted))
    return inputs


def _fed(pixels: Picture, form: YuvForm | None) -> tuple[Picture, bytes]:
    """The pixels that the network gets of a picture, and the bytes that the board reads."""
    if form is None:
        return pixels, planar_bytes(pixels)
    planes = to_yvu(pixels, form)
    return to_bgr(*planes, form), yvu_bytes(*planes)


def _write_outputs(
    target: Path, name: str, outputs: Outputs, nodes: tuple[Node, ...], head: Head | None,
    built: Built,
) -> None:  # fmt: skip
    for run, words in outputs.items():
        folder = target / "golden" / run / name
        folder.mkdir(parents=True)
        for node, made in zip(nodes, words, strict=True):
            (folder / node.file).write_bytes(to_hex(made))
        if head is None:
            continue
        maps = ordered(nodes, words, built.order)
        if isinstance(head, Embedding):
            found = embedding_lines(head.embed(maps))
        else:
            found = detection_lines(head.decode_maps(maps, built.size))
        (folder / "found.txt").write_text(found, encoding="ascii")


def _write_readings(
    target: Path, goldens: Goldens, pixels: Picture, built: Built, form: YuvForm | None
) -> dict[str, Any]:
    """Golden outputs, float and simulated, for every other reading of the coloured picture."""
    others = {x: y for x, y in readings(pixels, built.input, form).items() if x != EXPECTED}
    for reading, blob in others.items():
        outputs = goldens.run(blob)
        for run, words in outputs.items():
            folder = target / "golden" / run / f"{PROBE}.{reading}"
            folder.mkdir(parents=True)
            for node, made in zip(goldens.nodes, words, strict=True):
                (folder / node.file).write_bytes(to_hex(made))
    return {"picture": PROBE, "others": list(others)}


def _licences(built: Built, inputs: list[_Input]) -> str:
    lines = [f"inputs/{file}: {said}\n" for _, file, _, said in inputs]
    return (
        "The pictures of this kit, and what was made of them (golden/), are those of their "
        "authors:\n\n" + "".join(lines) + f"\nThe network: {built.spec.name}, "
        f"licence: {built.spec.licence}\n"
    )


def _chip(build: Path) -> str:
    record = files.read_json(build / "check" / "check.json", "the findings")
    try:
        return str(record["chip"])
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{build / 'check' / 'check.json'} names no chip; run nnie run again"
        ) from error


def _archive(folder: Path) -> Path:
    if not folder.name:
        raise InputError(f"folder {folder} has no name of its own; choose another one with --out")
    return folder.with_name(f"{folder.name}.tar.gz")


def _require_own(folder: Path) -> None:
    """The kit replaces its folder as a whole: never one with anything else in it."""
    archive = _archive(folder)
    if archive.is_dir():
        raise InputError(f"{archive} is a folder; move it away or choose another one with --out")
    if not folder.is_dir():
        return
    foreign = sorted(x.name for x in folder.iterdir() if x.name not in _OWN)
    if foreign:
        raise InputError(
            f"folder {folder} holds {foreign[0]}, which is no part of a kit; move it away or "
            "choose another folder with --out"
        )
