"""The documentation: links, commands, generated parts, and what its blocks do when executed.

A block is marked by the comment above it: "run", "run with test data: ..." (needs NNIE_TEST_DATA),
"file: NAME" (it is the text of that file), or "not run: why", which may also be written for the
reader to see, "*Not executed: why.*". Pages speak of 640x640; the tests execute them at 128x128.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import onnxslim
import pytest
import typer
import yaml

from nnie_pipeline.chips.rule import rules
from nnie_pipeline.cli import application
from nnie_pipeline.diagnose.causes import CAUSES
from nnie_pipeline.mapper import table
from nnie_pipeline.rewrite.passes import PASSES
from nnie_pipeline.zoo.spec import zoo_names
from tests import level_picture
from tests.builds import Build, here
from tests.pages import PAGES, ROOT, Block, anchors, blocks, commands, inline, links

RUN, WITH_DATA = "run", "run with test data"
DATA = (
    "retinaface_mnet025/mnet_640_inst.wk",
    "retinaface_mnet025/mnet_mergebn_640L_inst.wk",
    "retinaface_mnet025/mnet_hand_rewritten.prototxt",
    "retinaface_mnet025/mnet.caffemodel",
    "retinaface_pytorch/FaceDetector.onnx",
)
ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"
TUTORIAL = ROOT / "docs" / "tutorial.md"


def kind(block: Block) -> str:
    return block.mark.split(":")[0].strip()


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def desk(small_build: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the build of a tutorial that has come as far as `nnie run`."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.copytree(small_build.folder, folder / "build" / small_build.folder.name)
    return folder


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), target
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(place), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_blocks_say_whether_they_are_executed(page: Path) -> None:
    for block in blocks(page):
        if block.language in ("sh", "python"):
            assert kind(block) in (RUN, WITH_DATA, "not run"), f"{page.name}:{block.line}"
        if kind(block) in ("not run", WITH_DATA):
            assert block.mark.partition(":")[2].strip(), f"{page.name}:{block.line}: no reason"


def _spoken(page: Path) -> Iterator[list[str]]:
    """Every command of `nnie` on a page, executed or not, as words behind "nnie"."""
    shell = (x for block in blocks(page) if block.language == "sh" for x in commands(block))
    for text in (*shell, *inline(page)):
        words = text.replace("|", " ").split()
        start = words.index("nnie") + 1 if "nnie" in words else len(words)
        if start < len(words) and re.fullmatch(r"[a-z-]+", words[start]):
            yield words[start:]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_and_options_exist(page: Path) -> None:
    group: Any = typer.main.get_command(application())
    for words in _spoken(page):
        assert words[0] in group.commands, f"{page.name}: nnie {' '.join(words)}"
        made = group.commands[words[0]]
        known = {option for x in made.params for option in x.opts} | {"--help", "-h"}
        used = {x for x in words if re.fullmatch(r"--[a-z][a-z-]*", x)}
        assert used <= known, f"{page.name}: nnie {' '.join(words)}"


@pytest.mark.parametrize(
    "page", [x for x in PAGES if any(kind(y) == RUN for y in blocks(x))], ids=name
)
def test_blocks_do_what_they_say(page: Path, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    for block in blocks(page):
        if kind(block) == "file":
            (desk / block.mark.partition(":")[2].strip()).write_text(block.text, "utf-8")
        elif kind(block) == RUN and block.language == "python":
            exec(compile(block.text, f"{page.name}:{block.line}", "exec"), {})
        elif kind(block) == RUN:
            _execute(block)


@pytest.mark.parametrize(
    "page", [x for x in PAGES if any(kind(y) == WITH_DATA for y in blocks(x))], ids=name
)
def test_blocks_with_test_data_do_what_they_say(
    page: Path, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in DATA:
        (tmp_path / Path(path).name).symlink_to(shared / "models" / path)
    monkeypatch.chdir(tmp_path)
    for block in blocks(page):
        if kind(block) == WITH_DATA:
            _execute(block)


def _execute(block: Block) -> None:
    for command in commands(block):
        program, *words = shlex.split(
            command.replace("640", "128") if kind(block) == RUN else command
        )
        assert program == "nnie", f"{block.page.name}:{block.line}: {command}"
        ran = here(*words)
        assert ran.status == 0, f"{block.page.name}:{block.line}: {command}\n{ran.out}{ran.err}"


def test_the_tutorial_shows_what_inspect_prints(shared: Path, tmp_path: Path) -> None:
    shown = {x.mark: x.text.splitlines() for x in blocks(TUTORIAL) if kind(x) == "inspect"}
    before = shared / "models" / "retinaface_pytorch" / "FaceDetector.onnx"
    heads = ["467", "479", "491", "502", "514", "526", "537", "549", "561"]
    part, after = tmp_path / "part.onnx", tmp_path / "after.onnx"
    onnx.utils.extract_model(str(before), str(part), ["input0"], heads, check_model=False)
    onnx.save(onnx.version_converter.convert_version(onnxslim.slim(onnx.load(part)), 11), after)
    for mark, file in (("inspect: before", before), ("inspect: after", after)):
        printed = here("inspect", file).out.splitlines()
        assert set(shown[mark]) <= set(printed), printed
        advice = [x for x in printed if x.startswith("advice")]
        assert advice == [x for x in shown[mark] if x.startswith("advice")]


def test_generated_parts_are_current() -> None:
    docs = ROOT / "docs"
    assert (docs / "cfg.md").read_text(encoding="utf-8") == table.markdown()
    assert (ROOT / level_picture.LEVELS).read_text(encoding="utf-8") == level_picture.levels()
    assert (ROOT / level_picture.ERROR).read_text(encoding="utf-8") == level_picture.error()


def test_the_cfg_reference_names_every_option() -> None:
    listed = yaml.safe_load((ROOT / "mapper_cfg" / "options.yaml").read_text("utf-8"))["options"]
    text = (ROOT / "docs" / "cfg.md").read_text(encoding="utf-8")
    assert {x for x in listed if f"\n| `{x}` |" in text} == set(listed)


@pytest.mark.parametrize("page", ["problems.md", "troubleshooting.md"])
def test_rules_passes_and_causes_have_their_names(page: str) -> None:
    known = {x.id for x in rules()} | {x.name for x in PASSES} | {x.name for x in CAUSES}
    named = {x for x in inline(ROOT / "docs" / page) if re.fullmatch(r"[a-z]+(-[a-z]+)+", x)}
    assert named <= known


def test_the_site_has_every_page() -> None:
    def pages(entry: Any) -> Iterator[str]:
        for value in entry.values() if isinstance(entry, dict) else entry:
            if isinstance(value, str):
                yield value
            else:
                yield from pages(value)

    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert sorted(pages(nav)) == sorted(x.name for x in (ROOT / "docs").glob("*.md"))


def test_both_readmes_say_the_same() -> None:
    def facts(page: Path) -> list[list[str]]:
        text = page.read_text(encoding="utf-8")
        shell = [x for block in blocks(page) for x in commands(block)]
        first_cells = re.findall(r"^\| (`[^|]+)\|", text, re.MULTILINE)
        named = [x for cell in first_cells for x in re.findall("`[^`]+`", cell)]
        return [shell, named, sorted(set(links(page)) - {ENGLISH.name, CHINESE.name})]

    translated = [["docs/wk-format.zh-CN.md", "docs/wk-format.md"]]
    english, chinese = facts(ENGLISH), facts(CHINESE)
    for other, usual in translated:
        chinese[2] = sorted({usual if x == other else x for x in chinese[2]})
    for there, here_ in zip(chinese, english, strict=True):
        assert there == here_
    assert CHINESE.name in links(ENGLISH)
    assert ENGLISH.name in links(CHINESE)


def test_the_readme_lists_the_whole_zoo_and_every_command() -> None:
    text = ENGLISH.read_text(encoding="utf-8")
    group: Any = typer.main.get_command(application())
    assert {x for x in zoo_names() if f"`{x}`" in text} == set(zoo_names())
    assert {x for x in group.commands if f"nnie {x}" in text} == set(group.commands)
