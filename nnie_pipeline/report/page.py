"""The report page: every section filled from the build folder, one file that loads nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from nnie_pipeline import __version__, files
from nnie_pipeline.report.build import Build, Missing, MissingError
from nnie_pipeline.report.environment import asset, policy
from nnie_pipeline.report.environment import environment as templates
from nnie_pipeline.report.plot import plotly_script
from nnie_pipeline.report.records import Calibrated, Checked, Fetched
from nnie_pipeline.report.sections import (
    built,
    calibration,
    compiled,
    detections,
    diagnosis,
    drawing,
    findings,
    layers,
    mapper,
    network,
    next_step,
    passes,
    precision,
    sizes,
    verdict,
)
from nnie_pipeline.report.texts import LANGUAGES, Texts

NAME = "report.html"

Context = Callable[[Build, Texts], dict[str, Any]]

SECTIONS: tuple[tuple[str, Context], ...] = (
    ("verdict", verdict.context),
    ("next_step", next_step.context),
    ("drawing", drawing.context),
    ("layers", layers.context),
    ("diagnosis", diagnosis.context),
    ("precision", precision.context),
    ("detections", detections.context),
    ("findings", findings.context),
    ("sizes", sizes.context),
    ("calibration", calibration.context),
    ("compiled", compiled.context),
    ("network", network.context),
    ("passes", passes.context),
    ("built", built.context),
    ("mapper", mapper.context),
)
"""The page from top to bottom. NAME stands for the template `sections/NAME.html`, the title
`NAME.title` of the texts, and the anchor `#NAME`."""


@dataclass(frozen=True)
class _Section:
    name: str
    title: Markup
    body: Markup


def write_report(
    folder: Path, status: str, reasons: Sequence[str], language: str = LANGUAGES[0]
) -> None:
    """Write report.html into the build folder.

    `status` is "ready", "ready with warnings" or "not ready"; `reasons` stand below it.
    `language` is one of `texts.LANGUAGES`.

    Raises:
        InputError: the page cannot be written.
    """
    files.write_text(folder / NAME, page(folder, status, reasons, language))


def page(folder: Path, status: str, reasons: Sequence[str], language: str = LANGUAGES[0]) -> str:
    """The page as one HTML text; a part of the build that is missing is named in its section."""
    build, t = Build(folder), Texts(language)
    environment = _environment(t)
    common = {"status": status, "reasons": list(reasons), "label": build.label}
    sections = [_section(environment, x, context, build, t, common) for x, context in SECTIONS]
    scripts = [plotly_script(), asset("page.js"), asset("drawing.js")]
    return environment.get_template("page.html").render(
        **_head(build, t, status),
        language=t.language,
        policy=policy(scripts),
        style=Markup(asset("page.css")),
        sections=sections,
        scripts=[Markup(x) for x in scripts],
        date=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
    )


def _section(
    environment: jinja2.Environment,
    name: str,
    context: Context,
    build: Build,
    t: Texts,
    common: dict[str, Any],
) -> _Section:
    title = t(f"{name}.title")
    try:
        values = context(build, t)
    except MissingError as error:
        values, template = {"missing": error.missing}, "missing.html"
    else:
        template = f"sections/{name}.html"
    body = environment.get_template(template).render({**common, **values})
    return _Section(name, values.get("title", title), Markup(body))


def _head(build: Build, t: Texts, status: str) -> dict[str, Any]:
    fetched, checked = build.find(Fetched), build.find(Checked)
    calibrated = build.find(Calibrated)
    heading = t("page.untitled") if isinstance(fetched, Missing) else fetched.name
    return {
        "heading": heading,
        "title": t("page.title", name=heading, status=_status(status, t)),
        "summary": "" if isinstance(fetched, Missing) else fetched.summary,
        "chip": "" if isinstance(checked, Missing) else checked.chip,
        "size": ""
        if isinstance(calibrated, Missing)
        else t("page.size", height=calibrated.height, width=calibrated.width),
    }


def _status(status: str, t: Texts) -> str:
    """The status in the page's language; one that is not known stays as it is."""
    keys = {"ready": "ready", "ready with warnings": "warnings", "not ready": "not_ready"}
    return t(f"verdict.{keys[status]}") if status in keys else status


def _environment(t: Texts) -> jinja2.Environment:
    environment = templates()
    environment.globals["t"] = t
    environment.globals["numbered"] = lambda items: enumerate(items, 1)
    environment.tests["missing"] = lambda value: isinstance(value, Missing)
    environment.filters["level"] = layers.level
    macros = environment.get_template("macros.html").module
    for name in ("missing_notice", "table", "cell", "zoom"):
        environment.globals[name] = getattr(macros, name)
    return environment
