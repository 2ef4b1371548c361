"""`nnie report`: the page of a build, written again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnie_pipeline.cli.common import console, reported


@reported
def command(
    build: Annotated[Path, typer.Argument(help="folder of a build: build/MODEL-HxW")],
) -> None:
    """Write report.html of a build folder again, without running anything else."""
    from nnie_pipeline.errors import InputError
    from nnie_pipeline.report.page import write_report
    from nnie_pipeline.stages.run import read_verdict

    if not (build / "check" / "check.json").is_file():
        raise InputError(f"{build} is no build; give the folder that nnie run wrote: MODEL-HxW")
    found = read_verdict(build)
    write_report(build, found.status, found.reasons)
    console().print(f"report: {build / 'report.html'}", markup=False)
