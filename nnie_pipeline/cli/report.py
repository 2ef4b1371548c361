"""`nnie report`: the page of a build, written again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnie_pipeline.cli.common import console, reported


@reported
def command(
    build: Annotated[Path, typer.Argument(help="folder of a build: build/MODEL-HxW")],
    lang: Annotated[str, typer.Option(help="language of the page: en or zh")] = "en",
) -> None:
    """Write report.html of a build folder again, without running anything else."""
    from nnie_pipeline.errors import InputError
    from nnie_pipeline.report.page import write_report
    from nnie_pipeline.report.texts import check_language
    from nnie_pipeline.stages.run import read_verdict

    check_language(lang)
    if not (build / "check" / "check.json").is_file():
        raise InputError(f"{build} is no build; give the folder that nnie run wrote: MODEL-HxW")
    found = read_verdict(build, lang)
    write_report(build, found.status, found.reasons, lang)
    console().print(f"report: {build / 'report.html'}", markup=False)
