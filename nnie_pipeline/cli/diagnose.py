"""`nnie diagnose`: why a dump is not what it should be."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnie_pipeline.cli.common import console, existing_file, fail, reported

if TYPE_CHECKING:
    from nnie_pipeline.diagnose.case import Case
    from nnie_pipeline.stages.diagnose import Diagnosed

_SHOWN = 3


@reported
def command(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="[BUILD] DUMP",
            help="the folder that nnie run wrote (not with --net), and the dump to explain: any "
            "kind that nnie compare reads",
        ),
    ],
    net: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="PROTOTXT CAFFEMODEL", help="the network, instead of a build"),
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="its calibration set (nnie calibrate), with --net")
    ] = None,
    ranges: Annotated[Path | None, typer.Option(help="ranges.json, with --net")] = None,
    source: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="PROTOTXT CAFFEMODEL", help="the network before merging, with --net"),
    ] = None,
    bits: Annotated[
        str | None, typer.Option(help="what the dump should have: 8, 16 or float")
    ] = None,
    picture: Annotated[
        int | None,
        typer.Option(help="the picture it should show, by its number in the set (default: last)"),
    ] = None,
    dot: Annotated[
        Path | None, typer.Option(help="cnn_net_tree.dot, which names a board's layers")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output")] = False,
    save: Annotated[
        bool, typer.Option("--save", help="keep it in BUILD/diagnose, for nnie report")
    ] = False,
) -> None:
    """Explain a dump: try the usual mistakes by recomputing with each, and rank them.

    Ends with 0 when the dump is healthy, with 1 when it is not.
    """
    from nnie_pipeline.calibration.sets import ascii_name
    from nnie_pipeline.compare.open import open_dump
    from nnie_pipeline.errors import InputError
    from nnie_pipeline.files import added_files, to_json
    from nnie_pipeline.stages.diagnose import asked, diagnose

    if save and net is not None:
        raise InputError("--save keeps the result in a build: give BUILD and DUMP without --net")
    case = _case(paths, net, calibration, ranges, source)
    if dot is not None:
        existing_file(dot, "dot file")
    dump = open_dump(paths[-1], dot)
    found = diagnose(asked(case, dump, bits, picture), dump)
    if as_json:
        sys.stdout.write(to_json(found.to_json()))
    else:
        _print(found)
    if save:
        name = f"{ascii_name(paths[-1].resolve().name)}.json"
        with added_files(paths[0] / "diagnose") as folder:
            (folder / name).write_text(to_json(found.to_json()), encoding="utf-8")
        if not as_json:
            console().print(f"next: nnie report {paths[0]}", markup=False)
    if found.missing and found.diagnosis.state == "unexplained":
        fail(f"the dump is not whole: {found.missing[0]}; dump every output again", 1)
    if found.diagnosis.state == "unexplained":
        fail("the dump differs and no cause explains it; see the first bad layer in compare", 1)
    if found.diagnosis.state == "explained":
        best = found.diagnosis.tied or found.diagnosis.ranked[:1]
        fail(f"the dump is not healthy: {' or '.join(x.cause.title for x in best)}", 1)


def _case(
    paths: list[Path],
    net: tuple[Path, Path] | None,
    calibration: Path | None,
    ranges: Path | None,
    source: tuple[Path, Path] | None,
) -> Case:
    from nnie_pipeline.errors import InputError
    from nnie_pipeline.stages.diagnose import read_build, read_case

    explicit = (calibration, ranges, source)
    if net is None:
        if len(paths) != 2 or any(explicit):
            raise InputError("give BUILD and DUMP, or --net, --calibration and DUMP")
        return read_build(paths[0])
    if len(paths) != 1 or calibration is None:
        raise InputError("with --net give --calibration and one DUMP")
    for path in (*net, *(source or ()), *([ranges] if ranges else [])):
        existing_file(path, "file")
    return read_case(net, calibration, ranges, source)


def _print(found: Diagnosed) -> None:
    say = console()

    def line(text: str) -> None:
        say.print(text, markup=False)

    result = found.diagnosis
    width = f"{result.bits} bit" if result.bits else "float"
    for note in (*found.notes, *found.missing[:_SHOWN]):
        line(note)
    line(
        f"{result.blobs} blobs against the {width} run on {found.picture}: distance "
        f"{result.right:.4f}, outputs {result.outputs:.4f} (0 equal, 1 nothing in common)"
    )
    if result.bits:
        line(f"from float: {result.from_float:.4f}; {width} numbers cost {result.costs:.4f}")
    if result.first_bad is not None and result.state != "healthy":
        line(f"the first blob that differs clearly: {result.first_bad}")
    if result.state == "healthy":
        line("the dump is healthy")
    elif result.state == "unexplained" and result.ranked:
        line("no cause explains the dump; the nearest:")
    for number, x in enumerate(result.ranked[: max(_SHOWN, len(result.tied))], 1):
        if result.state != "healthy":
            line(
                f"{number}. {x.cause.title}: {x.variant}\n"
                f"   distance {x.score:.4f}, outputs {x.outputs:.4f}; {x.cause.remedy}"
            )
    if result.tied:
        line("these fit equally well; what separates them:")
        for x in result.tied:
            line(f"   {x.cause.title}: {x.cause.test}")
    for name, reason in result.unjudged.items():
        line(f"not judged: {name}: {reason}")
    kinds: dict[str, int] = {}
    for effect in found.effects:
        kinds[effect.kind] = kinds.get(effect.kind, 0) + 1
        if kinds[effect.kind] <= _SHOWN:
            line(f"{effect.kind}, {effect.layer}: {effect.evidence}")
    for kind, count in kinds.items():
        if count > _SHOWN:
            line(f"{kind}: {count - _SHOWN} more layers (--json lists them)")
