"""The report in every language."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

from nnie_pipeline.report import page
from nnie_pipeline.report.texts import LANGUAGES, Texts
from nnie_pipeline.stages.verdict import verdict
from tests import browser
from tests.builds import Cli, here
from tests.test_report import Parsed, folder, record

__all__ = ["folder"]

CHINESE = re.compile(r"[\u4e00-\u9fff]")


def fields(sentence: str) -> list[str]:
    return sorted(name for _, name, _, _ in Formatter().parse(sentence) if name is not None)


def markup(sentence: str) -> list[str]:
    """Elements and what hovering fills in, without the option that a language adds."""
    return sorted(re.findall(r"<[^>]*>|%\{\{customdata\[\d\]\}\}|\{\{\w+\}\}", sentence))


def test_there_is_a_file_a_language_and_nothing_else() -> None:
    names = {x.stem for x in (Path(page.__file__).parent / "texts").glob("*.yaml")}
    assert names == set(LANGUAGES) == {"en", "zh"}


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_both_languages_have_the_same_keys_values_and_markup(language: str) -> None:
    english, other = Texts("en").sentences, Texts(language).sentences
    assert list(english) == list(other)
    for key, sentence in english.items():
        assert fields(other[key]) == fields(sentence), key
        assert markup(other[key]) == markup(sentence), key


def test_every_chinese_sentence_is_chinese() -> None:
    chinese = Texts("zh").sentences
    for key, sentence in chinese.items():
        if CHINESE.search(sentence):
            # Half-width commas and colons between Chinese characters are a slip.
            assert not re.search(r"[\u4e00-\u9fff][,;:?!][\u4e00-\u9fff]", sentence), key
            continue
        # Units, widths and names only.
        words = set(re.findall(r"[A-Za-z]{4,}", re.sub(r"\{\w+\}", "", sentence)))
        assert words <= {"Caffe", "blob", "SQNR"}, key
    everything = " ".join(chinese.values())
    for term in ("量化", "校准", "余弦相似度", "混合精度", "仿真", "逐层", "卷积", "板端"):
        assert term in everything


def test_the_chinese_page_says_everything_in_chinese(folder: Path) -> None:
    page.write_report(folder, "not ready", ("原因一",), "zh")
    found = Parsed((folder / "report.html").read_text(encoding="utf-8"))
    assert not found.open
    assert dict(found.elements)["html"] == {"lang": "zh"}
    assert "不能上板" in found.text
    assert "原因一" in found.text
    # English words of the page itself that must not be left; names and rules stay as they are.
    for words in ("Verdict", "Next step", "worst layers", "Cosine", "Calibration", "Folder"):
        assert words not in found.text, words


def test_reasons_are_in_the_language_of_the_page(folder: Path) -> None:
    evaluated = record(folder, "evaluate/evaluate.json")
    bar = next(x for x in evaluated["bars"] if x["limit_pixels"] is not None)
    bar.update(passed=False, pixels=7.25)
    english, chinese = (verdict([], evaluated, x).reasons for x in LANGUAGES)
    assert len(english) == len(chinese) == 1
    assert "moves a point by 7.25 px" in english[0]
    assert "偏移 7.25 像素" in chinese[0]
    assert bar["picture"] in chinese[0]


def test_the_command_writes_the_page_in_a_language(folder: Path, cli: Cli) -> None:
    assert cli("report", folder, "--lang", "zh").status == 0
    assert "<title>retinaface 的 NNIE 报告：可以上板</title>" in (folder / "report.html").read_text(
        encoding="utf-8"
    )
    assert cli("report", folder).status == 0
    assert "retinaface on NNIE: Ready" in (folder / "report.html").read_text(encoding="utf-8")
    ran = cli("report", folder, "--lang", "de")
    assert ran.status == 2
    assert "--lang de is not known; the report speaks en, zh" in ran.error


def test_another_language_writes_only_the_page_again(tiny: Path) -> None:
    build = ("run", tiny / "tiny.onnx", "--images", tiny / "pics", "--build", tiny / "build")
    assert here(*build).status == 0
    again = here(*build, "--lang", "zh")
    assert again.status == 0
    assert "stages 1 to 10 are up to date" in again.out
    (report,) = (tiny / "build").glob("*/report.html")
    assert '<html lang="zh">' in report.read_text(encoding="utf-8")
    assert "everything is up to date" in here(*build, "--lang", "zh").out


def test_the_chinese_page_works_in_the_browser(folder: Path, tmp_path: Path) -> None:
    page.write_report(folder, "ready", (), "zh")
    with browser.chromium(tmp_path / "profile") as tab:
        tab.resize(1200)
        tab.open((folder / "report.html").as_uri())
        tab.wait("document.querySelectorAll('.line.chosen').length === 1")
        tab.wait("document.querySelectorAll('.plot .main-svg').length > 0")
        assert "余弦相似度, 8 bit" in tab.run("document.getElementById('drawing-facts').innerText")
        assert "层（执行顺序）" in tab.run("document.querySelector('#layers .xtitle').textContent")
        assert tab.run("document.documentElement.scrollWidth") <= 1200
        assert tab.problems == []
