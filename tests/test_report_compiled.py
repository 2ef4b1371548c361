"""The report's section on the ranges of a compiled file."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnie_pipeline.files import to_json
from nnie_pipeline.report import page
from nnie_pipeline.report.texts import LANGUAGES

RECORD = {
    "file": "some.wk", "verdict": "holds this network: 9 of 9 weights, 8 bit", "bits": 8,
    "rule": "maximum", "pictures": 3,
    "layers": [
        {"layer": "first", "type": "Convolution", "bottom": "data", "own": -3, "file": -7,
         "sixteenths": 4.0},
        {"layer": "join", "type": "Concat", "bottom": "never shown", "own": -5, "file": None,
         "sixteenths": None},
    ],
    "summary": {"count": 1, "median": 4.0, "mean_magnitude": 4.5, "p10": -1.5, "p90": 6.5},
}  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_ranges_are_shown_beside_those_of_the_file(tmp_path: Path, language: str) -> None:
    (tmp_path / "wk").mkdir()
    (tmp_path / "wk" / "wk.json").write_text(to_json(RECORD), encoding="utf-8")
    section = _section(page.page(tmp_path, "ready", [], language))
    for part in ("some.wk", "holds this network: 9 of 9 weights", ">-3<", ">-7<", "6.5"):
        assert part.replace("-", "−") in section or part in section, part
    assert "never shown" not in section


def test_without_a_file_the_command_is_named(tmp_path: Path) -> None:
    section = _section(page.page(tmp_path, "ready", []))
    assert "--wk FILE.wk" in section
    assert "<table" not in section


def test_a_damaged_record_is_said(tmp_path: Path) -> None:
    (tmp_path / "wk").mkdir()
    (tmp_path / "wk" / "wk.json").write_text('{"file": 3}', encoding="utf-8")
    assert "wk/wk.json" in _section(page.page(tmp_path, "ready", []))


def _section(text: str) -> str:
    start = text.index('id="compiled"')
    return text[start : text.index("</section>", start)]
