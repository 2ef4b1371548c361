"""`nnie cfg`: the folder with everything nnie_mapper needs; anybody's cfg checked, explained."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnie_pipeline.cli.common import console, existing_file, fail, reported
from nnie_pipeline.errors import InputError

if TYPE_CHECKING:
    from nnie_pipeline.calibration.network_input import InputSpec
    from nnie_pipeline.mapper.cfg_rules import CfgFinding


@reported
def command(
    prototxt: Annotated[Path | None, typer.Argument(help="NNIE-ready network (.prototxt)")] = None,
    caffemodel: Annotated[Path | None, typer.Argument(help="its weights (.caffemodel)")] = None,
    calibration: Annotated[
        list[Path] | None,
        typer.Option(
            help="folder of nnie calibrate, or a text file of tensors; once for each input"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder for network, pictures and cfg files")
    ] = None,
    name: Annotated[str | None, typer.Option(help="name of the files, ASCII")] = None,
    chip: Annotated[str | None, typer.Option(help="the chip, which names the mapper")] = None,
    image_type: Annotated[
        int | None,
        typer.Option(
            help="what the board feeds: 1 U8 planes, 3 YUV420SP, 5 YUV422SP (default: 3 for a set "
            "made with --yuv, else 1)"
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="OPTION=VALUE of the cfg files, repeatable: batch_num=16"),
    ] = None,
    check: Annotated[
        Path | None, typer.Option(help="say what is wrong with this cfg file (status 1: errors)")
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option("--from", help="with --check: where the mapper runs; else the cfg's folder"),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="with --check: the model, whose mean and scale must be there")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="print each line of the cfg with its meaning")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="with --check: findings as JSON")] = False,
) -> None:
    """Write cfg files and all they need, or check (--check) and explain (--explain) them."""
    from nnie_pipeline.chips.chip import DEFAULT_CHIP, find_chip

    target = find_chip(chip or DEFAULT_CHIP)
    if check is not None:
        existing_file(check, "cfg file")
        _check(
            check, home, model, calibration or [], target.nnie if chip else None, explain, as_json
        )
        return
    if explain and (prototxt is None or prototxt.suffix.lower() == ".cfg"):
        _explain(prototxt)
        return
    if prototxt is None or caffemodel is None or not calibration or out is None:
        raise InputError(
            "to write cfg files give PROTOTXT CAFFEMODEL --calibration FOLDER --out FOLDER; to "
            "check one --check FILE.cfg, to explain it --explain FILE.cfg"
        )
    from nnie_pipeline.cli.progress import progress_bar
    from nnie_pipeline.mapper.folder import write_mapper_folder

    existing_file(prototxt, "network")
    existing_file(caffemodel, "weights")
    with progress_bar("pictures") as progress:
        result = write_mapper_folder(
            prototxt, caffemodel, calibration, out, name, progress, target.name, image_type,
            _settings(settings or []),
        )  # fmt: skip
    say = partial(console().print, markup=False)
    say(f"{out}: copy it to the mapper's machine and run there, inside it (README.txt):")
    for line in result.commands:
        say(f"  {line}")
    if len(calibration) == 1 and calibration[0].is_dir():
        from nnie_pipeline.stages.input_proof import input_lines

        for line in input_lines(prototxt, caffemodel, calibration[0], out, result.runs):
            say(line)
    say(_expected(prototxt, caffemodel))
    if explain:
        _explain(out / f"{result.runs[0]}.cfg")


def _settings(words: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or not key.strip() or not value.strip():
            raise InputError(f"--set {word!r}: write OPTION=VALUE, for instance batch_num=16")
        if key.strip() in found:
            raise InputError(f"--set names {key.strip()} twice; give it once")
        found[key.strip()] = value.strip()
    return found


def _check(
    path: Path,
    home: Path | None,
    model: str | None,
    calibration: Sequence[Path],
    nnie: str | None,
    explain: bool,
    as_json: bool,
) -> None:
    from nnie_pipeline.cli.progress import progress_bar
    from nnie_pipeline.files import to_json
    from nnie_pipeline.stages.check_cfg import check_cfg

    if home is not None and not home.is_dir():
        raise InputError(f"--from {home}: found no folder there")
    wanted = _wanted(model, calibration)
    with nullcontext() if as_json else progress_bar("pictures") as progress:
        found = check_cfg(path, home, wanted, nnie, progress)
    say = partial(console().print, markup=False)
    if as_json:
        typer.echo(to_json({"file": str(path), "findings": [x.to_dict() for x in found]}), nl=False)
    else:
        if explain:
            _explain(path)
        for finding in found:
            text = f"{_where(finding)}{finding.severity}: {finding.message}; {finding.fix}"
            say(_printable(text))
    errors, warnings = (sum(x.severity == y for x in found) for y in ("error", "warning"))
    if errors:
        fail(f"{path}: {errors} errors, {warnings} warnings", 1)
    if not as_json:
        say(f"{path}: no errors, {warnings} warnings" if warnings else f"{path}: nothing wrong")


def _printable(text: str) -> str:
    """`text`, out of anybody's file, without what a terminal would obey."""
    return "".join(x if x.isprintable() else "?" for x in text)


def _where(finding: CfgFinding) -> str:
    place = f"line {finding.line}" if finding.line else "whole file"
    return f"{place}{f' [{finding.key}]' if finding.key else ''} "


def _wanted(model: str | None, calibration: Sequence[Path]) -> InputSpec | None:
    """What the network wants of its input, as a model's spec or a calibration set says."""
    if model is not None and calibration:
        raise InputError("--model and --calibration both say what the network wants; give one")
    if model is not None:
        from nnie_pipeline.cli.translate import input_spec
        from nnie_pipeline.zoo.spec import load_spec

        return input_spec(load_spec(model))
    if calibration:
        from nnie_pipeline.calibration.sets import read_set

        return read_set(calibration[0]).input
    return None


def _explain(path: Path | None) -> None:
    from nnie_pipeline.stages.check_cfg import (
        explain_cfg,
        explain_defaults,
        explain_options,
        read_any,
    )

    say = partial(console().print, markup=False)

    def show(lines: Sequence[tuple[str, str]]) -> None:
        for line, meaning in lines:
            say(_printable(line))
            for part in meaning.splitlines():
                say(f"    {_printable(part)}")

    if path is None:
        show(explain_options())
        return
    cfg = read_any(existing_file(path, "cfg file"))
    show(explain_cfg(cfg))
    left_out = explain_defaults(cfg)
    if left_out:
        say("not in the file, so that these hold:")
        show(left_out)


def _expected(prototxt: Path, caffemodel: Path) -> str:
    """How large the parameters of the `.wk` will be, or why that cannot be told."""
    from nnie_pipeline.caffe.files import read_net
    from nnie_pipeline.wk.size import said_size

    try:
        return said_size(read_net(prototxt, caffemodel))
    except InputError as error:
        return f"how large the .wk will be is not known: {error}"
