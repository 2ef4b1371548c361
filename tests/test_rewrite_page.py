"""Two networks side by side: the rows, the page and the text made of them."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.files import read_json
from nnie_pipeline.report.changes import changes_text
from nnie_pipeline.report.rewrite_page import rewrite_page
from nnie_pipeline.rewrite.rows import Row, side_by_side
from nnie_pipeline.rewrite.run import Rewritten, rewrite
from nnie_pipeline.stages.probe import Probe
from nnie_pipeline.stages.rewrite import rewrite_files
from tests.browser import chromium
from tests.caffe_nets import conv, header, layer, parse, random_net
from tests.models import photographs
from tests.test_report import contrast
from tests.test_rewrite import runner, text_of

LARGEST_PAGE = 1_000_000
HOSTILE = '<script>alert(1)</script>"&`|'

TEXT = (
    header(1, 3, 8, 8)
    + conv("conv", "data", 4, 3, "pad: 1")
    + layer("BatchNorm", "bn", "conv")
    + layer("Dropout", "drop", "bn")
    + conv("side", "drop", 4)
    + conv("main", "drop", 4)
    + layer("ReLU", "side_relu", "side")
    + layer("Eltwise", "sum", "side_relu main")
    + layer("Upsample", "up", "sum")
    + layer("Reshape", "flat", "up", "", "reshape_param { shape { dim: 1 dim: -1 } }")
)


def compared(text: str = TEXT, **options: object) -> tuple[Net, Rewritten, list[Row]]:
    net, _ = random_net(text)
    done = rewrite(net, runner(), **options)  # type: ignore[arg-type]
    return net, done, side_by_side(net, done)


def record_of(done: Rewritten, **more: object) -> dict[str, object]:
    return {
        "layers_before": 9, "layers": len(done.net.layers), "order": "canonical (a hypothesis)",
        "order_note": "note", "outputs": done.net.outputs, "picture": "p", "names": done.names,
        "tolerance_note": "usual", "tolerance_raised": False, "skipped": [], "reading": [],
        "files_difference": 0.0,
        "passes": [
            {"name": x.name, "reason": x.reason, "changed": len(x.changed),
             "difference": x.difference, "changes": x.changed}
            for x in done.passes
        ],
        **more,
    }  # fmt: skip


def test_every_layer_has_its_place_on_both_sides() -> None:
    net, done, rows = compared()
    assert [x.name for x in rows if x.after][1:] == [x.name for x in done.net.layers]
    first = [x.name for x in rows if x.before or x.kind == "left"][1:]
    # A layer that moved is on the left once as "left" and once beside its new place.
    assert sorted(set(first)) == sorted(x.name for x in net.layers)
    assert {x.name: x.kind for x in rows if x.kind != "left"} == {
        "inputs and outputs": "same",
        "conv": "changed", "bn": "removed", "drop": "removed", "side": "changed",
        "side_relu": "moved", "main": "changed", "sum": "same", "up": "changed", "flat": "changed",
    }  # fmt: skip


def test_both_sides_are_the_two_prototxts(tmp_path: Path) -> None:
    _, done, rows = compared()
    text = "".join(
        f"layer {{ {' '.join(y.text for y in row.after if not y.text.startswith('#'))} }}\n"
        for row in rows[1:]
        if row.after
    )
    written = parse(text_of(done.net, tmp_path))
    assert list(parse(text).layer) == list(written.layer)


def test_each_change_names_the_pass_that_made_it() -> None:
    _, _, rows = compared()
    why = {x.name: [y.name for y in x.why] for x in rows if x.kind != "left"}
    assert why == {
        "inputs and outputs": [],
        "conv": ["merge-batch-norm"],
        "bn": ["merge-batch-norm"],
        "drop": ["remove-idle-layers"],
        "side": ["remove-idle-layers", "in-place-activations"],
        "side_relu": ["canonical-order", "in-place-activations"],
        "main": ["remove-idle-layers"],
        "sum": [],
        "up": ["upsample-to-deconvolution"],
        "flat": ["reshape-batch-axis"],
    }
    said = {x.name: x.why for x in rows if x.kind != "left"}
    assert said["bn"][0].lines == ("bn merged into conv",)
    assert said["side_relu"][0].lines == ("side_relu moved behind side",)


def test_only_lines_that_differ_are_marked() -> None:
    _, _, rows = compared()
    (flat,) = (x for x in rows if x.name == "flat")
    assert [x.text.strip() for x in flat.before if x.changed] == ["dim: 1"]
    assert [x.text.strip() for x in flat.after if x.changed] == ["dim: 0"]
    (conv_row,) = (x for x in rows if x.name == "conv")
    assert conv_row.after[-1].text == "# weights: 4x3x3x3, 4 (new values)"


def test_a_renamed_layer_is_still_the_same() -> None:
    long = "a_layer_with_a_name_of_more_than_31_characters"
    _, done, rows = compared(header(1, 3, 4, 4) + conv(long, "data", 2))
    row = rows[1]
    assert (row.kind, row.name) == ("changed", done.names[long])
    assert [x.name for x in row.why] == ["short-names"]


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        if values.get("id"):
            self.ids.append(str(values["id"]))
        if values.get("href"):
            self.links.append(str(values["href"]))


@pytest.mark.parametrize("options", [{}, {"apart": True}, {"skip": ["short-names"]}])
def test_names_do_no_harm(options: dict[str, object]) -> None:
    quoted = HOSTILE.replace('"', '\\"')
    net, _ = random_net(TEXT)
    net.rename("sum", quoted)
    net.layers[1].name = quoted
    done = rewrite(net, runner(), **options)  # type: ignore[arg-type]
    rows = side_by_side(net, done)
    page = rewrite_page(HOSTILE, record_of(done, skipped=[HOSTILE]), rows)
    found = Tags(page)
    assert "script" not in found.tags
    assert len(found.ids) == len(set(found.ids))
    assert {x.removeprefix("#") for x in found.links if x.startswith("#")} <= set(found.ids)
    text = changes_text(HOSTILE, record_of(done), rows)
    prose, _, fenced = text.partition("```diff")
    assert "<script>" not in prose
    assert not re.search(r"(?m)^ {0,3}```.", fenced)
    assert fenced.rstrip().endswith("```")


def test_what_the_command_line_changed_is_said() -> None:
    _, done, rows = compared()
    text = changes_text("n", record_of(done), rows)
    page = rewrite_page("n", record_of(done), rows)
    assert "warned" not in page.partition("</style>")[2]
    assert "--skip" not in text
    record = record_of(
        done, skipped=["short-names"], tolerance_raised=True, tolerance_note="raised to 0.01"
    )
    for made in (changes_text("n", record, rows), rewrite_page("n", record, rows)):
        assert "short-names" in made
        assert "raised to 0.01" in made
    assert rewrite_page("n", record, rows).count('class="warned"') == 2


def test_the_text_is_a_diff() -> None:
    _, done, rows = compared()
    text = changes_text("n", record_of(done), rows)
    block = text[text.index("@@ flat") :].splitlines()
    assert block[:5] == [
        "@@ flat: changed (reshape-batch-axis) @@",
        '  name: "flat"',
        '  type: "Reshape"',
        '  bottom: "up"',
        '  top: "flat"',
    ]
    assert "-     dim: 1" in block
    assert "+     dim: 0" in block


@pytest.mark.parametrize(
    ("folder", "prototxt", "caffemodel"),
    [
        ("retinaface_mnet025", "mnet", "mnet"),
        ("enet", "bn_conv_merged_model", "bn_conv_merged_weights"),
    ],
)
def test_pages_of_real_networks(
    shared: Path, tmp_path: Path, folder: str, prototxt: str, caffemodel: str
) -> None:
    place, out = shared / "models" / folder, tmp_path / "out"
    out.mkdir()
    size = (64, 64) if folder == "enet" else (640, 640)
    picture = photographs()["obama"]
    rewrite_files(
        place / f"{prototxt}.prototxt", place / f"{caffemodel}.caffemodel", "net", out, size,
        Probe(picture.path, picture.name), skip=["split-global-pooling"], tolerance=0.01,
    )  # fmt: skip
    page, text = (out / "rewrite.html").read_text(), (out / "changes.md").read_text()
    assert len(page.encode()) < LARGEST_PAGE
    record = read_json(out / "rewrite.json", "the record")
    assert record["skipped"] == ["split-global-pooling"]
    assert record["tolerance"] == 0.01
    for made in (page, text):
        assert "raised with --tolerance to 0.01" in made
        assert "split-global-pooling" in made
        assert "canonical (a hypothesis)" in made
        assert "proven on a board" in made
    with chromium(tmp_path / "profile") as browser:
        for scheme in ("light", "dark"):
            browser.media(scheme)
            browser.resize(360)
            browser.open((out / "rewrite.html").as_uri())
            assert browser.run("document.documentElement.scrollWidth") <= 360
            assert contrast(browser) >= 4.5
        assert browser.problems == []
        assert {x.partition(":")[0] for x in browser.requests} <= {"file", "data"}
