"""`nnie map`: HiSilicon's nnie_mapper, run and explained."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnie_pipeline.cli.common import console, existing_file, fail, names_of, reported

if TYPE_CHECKING:
    from nnie_pipeline.mapper.messages import Explanation
    from nnie_pipeline.stages.mapped import Mapped


@reported
def command(
    place: Annotated[
        Path | None, typer.Argument(help="a build folder, a folder with cfg files, or a cfg file")
    ] = None,
    runs: Annotated[
        str | None, typer.Option("--run", help="which runs, commas between: func_8bit,inst_8bit")
    ] = None,
    mapper: Annotated[
        str | None, typer.Option(help="the mapper or its folder; else the variable NNIE_MAPPER")
    ] = None,
    docker: Annotated[
        str | None, typer.Option(help="a docker image with it; else NNIE_MAPPER_IMAGE")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="folder for the results")] = None,
    chip: Annotated[str | None, typer.Option(help="the chip; a build knows its own")] = None,
    timeout: Annotated[
        float | None, typer.Option(help="seconds after which a run is ended")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="also runs whose results are up to date")
    ] = False,
    explain_log: Annotated[
        Path | None, typer.Option(help="explain the messages in this log; runs nothing")
    ] = None,
) -> None:
    """Run nnie_mapper, show its stages, explain its errors, collect .wk, dot files and dumps.

    Ends with 1 when a run fails, when its .wk is of another network than the cfg's, and when the
    mapper ends well but its log has errors: its results are collected then.
    """
    from nnie_pipeline.chips.chip import DEFAULT_CHIP, find_chip
    from nnie_pipeline.errors import InputError
    from nnie_pipeline.mapper.program import find_program
    from nnie_pipeline.stages.map import cfg_files, map_cfg
    from nnie_pipeline.stages.mapped import FOLDER, current
    from nnie_pipeline.stages.subject import chip_of

    if explain_log is not None:
        _explain(existing_file(explain_log, "log"))
        return
    if place is None:
        raise InputError("nothing to map: give a build folder, a folder with cfg files or a cfg")
    if timeout is not None and not timeout > 0:
        raise InputError(f"--timeout {timeout:g}: write seconds above 0")
    found = cfg_files(place, names_of(runs, "--run") or [])
    home = place if place.is_dir() else place.parent
    known = chip or chip_of(home) or chip_of(home.parent)
    target = find_chip(known or DEFAULT_CHIP)
    program = find_program(target.mapper, mapper, docker, os.environ)
    results = out or home / FOLDER
    say = partial(console().print, markup=False)
    say(f"mapper: {program}")
    done: list[Mapped] = []
    for path in found:
        earlier = None if again else current(path, results, program)
        if earlier is not None:
            say(f"{path.stem} is up to date")
            for message in earlier.errors():
                say(_line(message))
            done.append(earlier)
            continue
        say(path.stem)
        result = map_cfg(
            path, results, program, target.nnie if known else None,
            lambda text: say(f"  {text}"), timeout,
        )  # fmt: skip
        for message in result.messages:
            say(_line(message))
        if not result.ok:
            fail(result.failure(), 1)
        errors = ", with errors in the log" if result.errors() else ""
        say(f"  done in {result.seconds:.0f} s{errors}")
        done.append(result)
    _say_next(done, home)
    doubts = [x.doubt() for x in done if x.errors()]
    if doubts:
        more = f" (and {len(doubts) - 1} more runs)" if len(doubts) > 1 else ""
        fail(f"{doubts[0]}{more}", 1)


def _line(message: Explanation) -> str:
    times = f" ({message.count} times)" if message.count > 1 else ""
    return f"  {message.severity}: {message.cause}{times}; {message.fix}"


def _say_next(done: list[Mapped], home: Path) -> None:
    say = partial(console().print, markup=False)
    for result in done:
        if result.wk is not None:
            say(f"{result.wk}: {result.wk.stat().st_size:,} bytes; look at it with nnie wk")
        width = "16" if "16bit" in result.run else "8"
        simulated = home / "simulate" / width
        if result.dump is not None and simulated.is_dir() and "mixed" not in result.run:
            say(f"next: nnie compare {simulated} {result.dump}")


def _explain(path: Path) -> None:
    from nnie_pipeline.errors import InputError
    from nnie_pipeline.mapper.messages import explain, version_of
    from nnie_pipeline.stages.mapped_log import read_log

    try:
        text = read_log(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    say = partial(console().print, markup=False)
    version = version_of(text)
    if version is not None:
        say(f"mapper {version.text}{f', NNIE {version.nnie}' if version.nnie else ''}")
    found = explain(text)
    for message in found:
        say(message.text)
        say(_line(message))
        say(f"  source: {message.source}")
    if not found:
        say(f"{path} holds no message that is known")
