from __future__ import annotations

import base64
import functools
import html
import itertools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from nnie_pipeline.report import formats, page, pictures, plot
from nnie_pipeline.report.records import Compared8, EvaluatedPicture
from nnie_pipeline.report.runs import Run
from nnie_pipeline.report.sections import detections, drawing
from nnie_pipeline.report.texts import Texts
from tests import browser

HOSTILE = "</script><img src=x onerror=alert(1)>&{{7*7}}\u2028'\""
LARGEST_PAGE = 8_000_000
VOID = {"br", "img", "link", "meta"}


class Parsed(HTMLParser):
    """Elements with their attributes, the text, what each script holds, and unclosed tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1] == tag, (self.open, tag)
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif "main" in self.open:
            self.words.append(data)

    @functools.cached_property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def attributes(self, *names: str) -> list[str]:
        return [x[y] or "" for _, x in self.elements for y in names if y in x]


@pytest.fixture
def folder(build_folder: Path, tmp_path: Path) -> Path:
    """A copy of the build, without the blobs, that a test may change."""
    place = tmp_path / "build" / build_folder.name
    shutil.copytree(build_folder, place, ignore=shutil.ignore_patterns("*.npy", "*.bgr", "*.bmp"))
    (place / "report.html").unlink(missing_ok=True)
    # At this size the faces of the crowd are too small to be found.
    evaluated = record(place, "evaluate/evaluate.json")
    evaluated["pictures"][3]["counts"]["onnx"] = 29
    change(place, "evaluate/evaluate.json", evaluated)
    return place


@pytest.fixture(autouse=True)
def _plotly_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading plotly.js takes most of the time of a page."""
    monkeypatch.setattr(page, "plotly_script", functools.cache(plot.plotly_script))


def record(folder: Path, place: str) -> Any:
    return json.loads((folder / place).read_text(encoding="utf-8"))


def change(folder: Path, place: str, value: Any) -> None:
    (folder / place).write_text(json.dumps(value), encoding="utf-8")


def parsed(folder: Path, status: str = "ready", reasons: tuple[str, ...] = ()) -> Parsed:
    page.write_report(folder, status, reasons)
    return Parsed((folder / "report.html").read_text(encoding="utf-8"))


def figure(found: Parsed) -> dict[str, Any]:
    """The data of the layers' plot; the data of plots are the only scripts that are not run."""
    kinds = [x.get("type") for tag, x in found.elements if tag == "script"]
    _, data, *_ = [x for x, kind in zip(found.scripts, kinds, strict=True) if kind]
    result: dict[str, Any] = json.loads(data)
    return result


def test_the_page_is_one_small_file_that_names_nothing_outside(folder: Path) -> None:
    found = parsed(folder)
    assert not found.open
    assert (folder / "report.html").stat().st_size < LARGEST_PAGE
    assert [x.name for x in folder.iterdir() if x.name.startswith(".tmp")] == []
    sources = found.attributes("src", "href", "data", "srcset", "poster", "action")
    assert sources
    for source in sources:
        # The one link to a file of the build: nothing that is loaded.
        assert source.startswith(("#", "data:")) or source == "rewrite/rewrite.html", source
    style = re.search(r"<style>(.*?)</style>", (folder / "report.html").read_text(), re.DOTALL)
    assert style
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    assert str(folder.parent.parent) not in found.text


def test_ids_are_unique_and_links_and_labels_reach_them(folder: Path) -> None:
    found = parsed(folder)
    ids = found.attributes("id")
    assert len(ids) == len(set(ids))
    links = [x for x in found.attributes("href") if x.startswith("#")]
    assert {x.removeprefix("#") for x in links} <= set(ids)
    assert set(found.attributes("aria-labelledby")) <= set(ids)
    assert dict(found.elements)["html"] == {"lang": "en"}
    pictures_shown = [x for tag, x in found.elements if tag == "img" and x.get("src")]
    assert len(pictures_shown) == 7  # two pictures of three runs, and the contact sheet
    assert all(x["alt"] for x in pictures_shown)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("ready", "Ready"),
        ("ready with warnings", "Ready with warnings"),
        ("not ready", "Not ready"),
        ("unheard of", "unheard of"),
    ],
)
def test_the_verdict_comes_first_with_its_reasons(folder: Path, status: str, words: str) -> None:
    reasons = tuple(f"reason number {x}" for x in range(30))
    text = parsed(folder, status, reasons).text
    assert f" {words} " in text
    assert all(f"{x} " in text for x in reasons)
    assert text.index(words) < text.index("reason number 0") < text.index("Next step")
    assert ("mend the reasons above" in text) == (status == "not ready")


def test_the_page_tells_what_the_records_hold(folder: Path) -> None:
    text = parsed(folder).text
    fetched = record(folder, "model/fetch.json")
    assert fetched["sha256"] in text
    assert fetched["origin"] in text
    assert f"{fetched['size']:,} bytes" in text
    assert "320×320 (height × width)" in text
    readme = (folder / "mapper" / "README.txt").read_text(encoding="ascii")
    commands = [x.strip() for x in readme.splitlines() if x.startswith("    nnie_mapper")]
    assert len(commands) == 4
    for command in commands:
        assert text.count(command) == 2  # as a step, and in the README
    for cfg in (folder / "mapper").glob("*.cfg"):
        assert cfg.name in text
    for entry in record(folder, "rewrite/rewrite.json")["passes"]:
        assert entry["name"] in text
        assert entry["reason"] in text
        assert all(x in text for x in entry["changes"])
    for entry in record(folder, "check/check.json")["findings"]:
        assert entry["message"] in text
    for entry in record(folder, "convert/convert.json")["outputs"]:
        assert entry["onnx"] in text
    assert "1×3×320×320" in text
    calibrated = record(folder, "calibration/calibration.json")
    for entry in calibrated["pictures"]:
        assert entry["licence"] in text
    assert "104, 117, 123" in text


def test_the_layers_stand_in_execution_order_and_the_worst_first(folder: Path) -> None:
    found = parsed(folder)
    drawn = figure(found)
    for bits, trace in zip(("8", "16"), drawn["traces"], strict=False):
        layers = record(folder, f"compare/{bits}.json")["layers"]
        assert trace["name"] == f"{bits} bit"
        assert [x[0] for x in trace["customdata"]] == [x["name"] for x in layers]
        at = found.text.index(f"{bits} bit: worst layers", found.text.index("Layer by layer"))
        worst = sorted(layers, key=lambda x: x["cosine"])[:15]
        places = [found.text.index(f" {x['name']} ", at) for x in worst[1:]]
        assert places == sorted(places)
    linear = drawn["views"]["linear"]
    eight = [x["cosine"] for x in record(folder, "compare/8.json")["layers"]]
    assert linear["y"][0] == eight
    assert linear["y"][2:] == [[0.99, 0.99], [0.95, 0.95]]
    low, high = linear["layout"]["yaxis.range"]
    assert low < min(eight)
    assert high > 1


def test_cosines_are_coloured_as_in_ruyistudio(folder: Path) -> None:
    compared = record(folder, "compare/8.json")
    cosines = [0.99, 0.98999999, 0.95000001, 0.95, float("nan")]
    compared["layers"] = [
        {**compared["layers"][0], "name": f"layer{i}", "cosine": x} for i, x in enumerate(cosines)
    ]
    change(folder, "compare/8.json", compared)
    (folder / "compare" / "16.json").unlink()
    page.write_report(folder, "ready", ())
    text = (folder / "report.html").read_text(encoding="utf-8")
    for name, kind, shown in (
        ("layer0", "", "0.990000"),
        ("layer1", "orange", "0.989999"),
        ("layer2", "orange", "0.950000"),
        ("layer3", "red", "0.950000"),
        ("layer4", "red", "–"),
    ):
        row = re.search(
            rf"<code>{name}</code></td>\s*<td class=\"number (\w*)\"[^>]*>([\d.–]+)", text
        )
        assert row
        assert row.groups() == (kind, shown)
    assert "4 of 5 layers under 0.99, 2 of them 0.95 or less" in text
    assert "<code>compare/16.json</code> is not in this build" in text


def test_detections_of_the_dumped_picture_and_of_the_crowd_are_shown(folder: Path) -> None:
    evaluated = record(folder, "evaluate/evaluate.json")
    text = parsed(folder).text
    last = evaluated["pictures"][-1]["name"]
    crowd = max(evaluated["pictures"], key=lambda x: x["counts"]["onnx"])["name"]
    assert f"whose layers are dumped: {last} " in text
    assert f"most detections: {crowd} " in text
    table = text[text.index("All pictures", text.index("Accuracy bars")) :]
    for entry in evaluated["pictures"]:
        for run, name in (("float", "float"), ("16", "16 bit"), ("8", "8 bit")):
            found = entry["differences"][run]
            result = "pass" if entry["judged"] else "reported"
            box, landmarks = (
                "–" if x is None else f"{x:.2f}"
                for x in (found["box_pixels"], found["landmark_pixels"])
            )
            numbers = (
                f"{box} {landmarks} "
                f"{entry['counts']['onnx']} {entry['counts'][run]} "
                f"{found['matched']} {found['lost']} {found['new']}"
            )
            assert f"{entry['name']} {name} {result} {numbers} " in table


def test_a_crowd_is_shown_once_and_one_face_is_no_crowd() -> None:
    def picture(name: str, faces: int) -> EvaluatedPicture:
        return EvaluatedPicture(
            name=name, judged=False, counts={"onnx": faces}, drawn={}, differences={}
        )

    one, many, last = picture("one", 1), picture("many", 7), picture("last", 9)
    assert detections.chosen(()) == []
    assert detections.chosen((one, many)) == [many]
    assert detections.chosen((many, one)) == [one, many]
    assert detections.chosen((one, picture("none", 0))) == [picture("none", 0)]
    assert detections.chosen((many, last)) == [last]


def test_sizes_are_listed_with_the_build_marked(folder: Path) -> None:
    sized = record(folder, "check/sizes.json")
    found = parsed(folder)
    assert sized["own"] == [320, 320]
    # 640 of 1920 columns: an anchor of 16 pixels is 48 of the camera's
    row = next(x for x in sized["square"] if x["width"] == 640)
    assert (row["smallest_anchor"], row["largest_anchor"]) == (48, 1536)
    assert f"Square sizes: {len(sized['square'])}" in found.text
    assert "320×320 this build" in found.text
    assert "640×640" in found.text
    assert "published RetinaFace size" in found.text
    kinds = [x.get("type") for tag, x in found.elements if tag == "script"]
    *_, time, anchors = [x for x, kind in zip(found.scripts, kinds, strict=True) if kind]
    eight, sixteen, known, own = json.loads(time)["traces"]
    assert eight["y"] == [x["ms_8"] for x in sized["square"]]
    assert sixteen["y"] == [x["ms_16"] for x in sized["square"]]
    assert known["text"] == ["512", "640", "768", "1024"]
    assert own["x"] == [320]
    assert json.loads(anchors)["layout"]["yaxis"]["type"] == "log"
    sized["square"] = [{**row, "smallest_anchor": None, "largest_anchor": None}]
    change(folder, "check/sizes.json", sized)
    text = parsed(folder).text
    assert "640×640 is the only one" in text
    assert "Smallest anchor" not in text
    change(folder, "check/sizes.json", {**sized, "square": []})
    assert "No size was found" in parsed(folder).text
    change(folder, "check/sizes.json", {**sized, "problem": "layer x does not fit"})
    assert "could not be looked at: layer x does not fit" in parsed(folder).text


def test_a_missed_bar_is_shown_as_failed(folder: Path) -> None:
    evaluated = record(folder, "evaluate/evaluate.json")
    bar = next(x for x in evaluated["bars"] if x["run"] == "16")
    bar.update(passed=False, pixels=7.25)
    change(folder, "evaluate/evaluate.json", {**evaluated, "passed": False})
    text = parsed(folder, "not ready").text
    judged = sum(x["run"] == "16" for x in evaluated["bars"])
    wanted = f"{judged - 1} of {judged} pictures hold; largest movement 7.25 px"
    assert wanted in text
    assert re.search(r"fail 16 bit against float : the same detections", text)
    assert f"{bar['picture']} 16 bit fail " in text
    held = f"{len(evaluated['bars']) - 1} / {len(evaluated['bars'])}"
    assert f"Accuracy bars held {held}" in text


def test_embeddings_are_shown_by_their_cosine(folder: Path) -> None:
    evaluated = {
        "judged": ["float"],
        "pictures": [],
        "bars": [],
        "embeddings": [
            {"name": "anna", "stem": "000_anna", "cosines": {"float": 1, "16": 0.9987, "8": 0.91}}
        ],
        "cosine_bars": [
            {
                "picture": "anna", "run": "float", "against": "onnx", "limit_cosine": 0.9999,
                "cosine": 1.0, "passed": True,
            }
        ],
        "skipped": 0,
        "passed": True,
    }  # fmt: skip
    change(folder, "evaluate/evaluate.json", evaluated)
    text = parsed(folder).text
    assert "anna float 1.000000 pass " in text
    assert "anna 16 bit 0.998700 reported " in text
    assert "cosine of the embeddings at least 0.9999" in text
    assert "Accuracy bars held 1 / 1" in text


def test_the_rewrite_is_linked_and_what_was_asked_of_it_is_said(folder: Path) -> None:
    found = parsed(folder)
    (link,) = (x for x in found.attributes("href") if not x.startswith(("#", "data:")))
    assert link == "rewrite/rewrite.html"
    assert (folder / link).is_file()
    assert "Only the hand-made order of a public RetinaFace is proven on a board" in found.text
    assert "Passes left out" not in found.text
    assert "Tolerance raised" not in found.text
    rewritten = record(folder, "rewrite/rewrite.json")
    note = "raised with --tolerance to 0.01"
    more = {"tolerance_raised": True, "tolerance_note": note, "skipped": ["remove-crop"]}
    change(folder, "rewrite/rewrite.json", {**rewritten, **more})
    (folder / link).unlink()
    found = parsed(folder)
    assert "Passes left out: remove-crop." in found.text
    assert f"Tolerance {note}." in found.text
    assert "rewrite/rewrite.html" not in found.attributes("href")


def test_without_a_head_the_page_says_so(folder: Path) -> None:
    shutil.rmtree(folder / "evaluate")
    assert "nnie evaluate did not run" in parsed(folder).text.replace(" , ", ", ")
    (folder / "evaluate").mkdir()
    assert "names no head" in parsed(folder).text


def test_an_empty_folder_makes_a_page_that_names_what_is_missing(tmp_path: Path) -> None:
    text = parsed(tmp_path).text
    for place in (
        "model/fetch.json", "convert/convert.json", "rewrite/rewrite.json", "check/check.json",
        "compare/8.json", "evaluate/evaluate.json", "calibration/calibration.json",
        "mapper/README.txt", "mapper/*.cfg",
    ):  # fmt: skip
        assert f" {place} is not in this build" in text, place


PLACES = [
    "model/fetch.json", "convert/convert.json", "rewrite/rewrite.json", "check/check.json",
    "calibration/calibration.json", "calibration/contact.png", "mapper/README.txt",
    "dump/dump.json", "compare/8.json", "compare/16.json", "evaluate/evaluate.json",
    "check/sizes.json", "compare/network.json", "calibration/histograms.json",
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_any_part_may_be_missing(folder: Path, place: str) -> None:
    (folder / place).unlink()
    found = parsed(folder)
    assert not found.open
    if "evaluate" in place:
        assert "names no head" in found.text
    else:
        assert f"{place} is not in this build" in found.text or f"{place} is missing" in found.text
    # What does not need it is still there.
    assert ("8 bit: worst layers" in found.text) == (place != "compare/8.json")
    assert ("16 bit: worst layers" in found.text) == (place != "compare/16.json")


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff\xfe", b"{", b"null", b'{"a": NaN}'])
def test_broken_parts_are_named(folder: Path, content: bytes) -> None:
    for place in PLACES:
        (folder / place).write_bytes(content)
    found = parsed(folder)
    assert not found.open
    for place in PLACES:
        # Sections without their own record, and what another record is named for first.
        unseen = {"dump/dump.json", "compare/16.json", "calibration/histograms.json"}
        if place.endswith(".json") and place not in unseen:
            assert f"{place} is not as this version writes it" in found.text
    assert "calibration/contact.png" not in found.text  # its section has no record


def test_a_part_of_another_version_is_named_with_its_field(folder: Path) -> None:
    value = record(folder, "evaluate/evaluate.json")
    del value["pictures"][0]["differences"]
    change(folder, "evaluate/evaluate.json", value)
    text = parsed(folder).text
    assert "evaluate/evaluate.json is not as this version writes it" in text
    assert "pictures.0.differences" in text


def hostile(value: Any) -> Any:
    """Every text and every name in a record with markup put behind it."""
    if isinstance(value, str):
        return value if value in {"error", "warning", "hint"} else value + HOSTILE
    if isinstance(value, list):
        return [hostile(x) for x in value]
    if isinstance(value, dict):
        return {k if k in RECORD_KEYS else k + HOSTILE: hostile(x) for k, x in value.items()}
    return value


RECORD_KEYS = {
    "name", "summary", "origin", "sha256", "size", "licence", "notes", "model", "inputs", "outputs",
    "onnx", "caffe", "layers", "assumed", "verification", "picture", "tolerance", "names", "passes",
    "max_relative_error", "reason", "changed", "difference", "changes", "chip", "findings", "id",
    "layer", "severity", "message", "fix", "height", "width", "input", "colour", "mean", "scale",
    "geometry", "anchor", "fill", "interpolation", "pictures", "file", "source", "gray", "type",
    "placement", "scale_x", "scale_y", "blobs", "value", "shape", "cosine", "max_abs", "rel_euclid",
    "threshold", "first_below", "worst", "only_left", "only_right", "judged", "counts", "drawn",
    "differences", "float", "16", "8", "matched", "lost", "new", "box_pixels", "landmark_pixels",
    "bars", "run", "against", "limit_pixels", "same_faces", "pixels", "passed", "skipped", "order",
    "layers_before", "embeddings", "cosine_bars", "kind", "engine", "left", "right", "below",
    "own", "square", "aspect", "maps", "anchors", "smallest_anchor", "largest_anchor", "macs",
    "parameters", "memory_8", "memory_16", "ms_8", "ms_16", "note", "problem", "bottoms", "tops",
    "detail", "operation", "values", "reads", "batch_norms", "effects", "evidence", "channels",
    "least", "largest", "deviation", "zeros", "first", "positive", "negative", "sqnr_db",
}  # fmt: skip


def test_hostile_names_stay_text(folder: Path) -> None:
    for place in PLACES:
        if place.endswith(".json"):
            change(folder, place, hostile(record(folder, place)))
    compared = record(folder, "compare/8.json")
    change(folder, "compare/8.json", {**compared, "only_left": [HOSTILE]})
    for name in ("README.txt", "retinaface_inst_8bit.cfg"):
        with (folder / "mapper" / name).open("a", encoding="utf-8") as file:
            file.write(f"\n    nnie_mapper_12 {HOSTILE}_func_\n[instruction_name] {HOSTILE}\n")
    (folder / "mapper" / "<img src=x onerror=alert(1)>.cfg").write_text("[x] y")
    found = parsed(folder, "ready" + HOSTILE, (HOSTILE,))
    assert not found.open
    assert "onerror" not in found.attributes("onerror")
    assert not [x for tag, x in found.elements if "onerror" in x or x.get("src") == "x"]
    assert len(found.scripts) == 7
    raw = (folder / "report.html").read_text(encoding="utf-8")
    assert raw.count("<img src=x") == 0
    assert raw.count("</script>") == 7
    # Seen as they are, in every section that shows names.
    assert found.text.count("<img src=x onerror=alert(1)>&{{7*7}}") > 300
    # What is shown on hovering is markup to plotly.js.
    names = [x[0] for x in figure(found)["traces"][0]["customdata"]]
    assert all("<" not in x for x in names)
    assert html.unescape(names[0]) == compared["layers"][0]["name"]


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "/etc/hostname", "..", "", "link.jpg", "missing.jpg", "x\0.jpg"]
)
def test_no_file_from_outside_gets_onto_the_page(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    picture = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    (tmp_path / "secret.jpg").write_bytes(picture)
    (inside / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (inside / "good.jpg").write_bytes(picture)
    assert pictures.data_uri(inside, name) is None
    assert pictures.data_uri(inside, "good.jpg") is not None


def test_large_pictures_are_written_smaller(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1500, 3000, 3), dtype=np.uint8)
    (tmp_path / "noise.png").write_bytes(cv2.imencode(".png", noise)[1].tobytes())
    uri = pictures.data_uri(tmp_path, "noise.png")
    assert uri is not None
    data = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
    assert len(data) <= pictures.LARGEST
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert decoded.shape[1] == 2 * decoded.shape[0] >= 500


def test_a_page_of_a_deep_network_stays_small(folder: Path) -> None:
    for place in ("compare/8.json", "compare/16.json"):
        value = record(folder, place)
        value["layers"] = [
            {**value["layers"][0], "name": f"a_long_name_of_layer_{i}"} for i in range(1000)
        ]
        change(folder, place, value)
    network = record(folder, "compare/network.json")
    network["layers"] = [
        {**network["layers"][0], "name": f"a_long_name_of_layer_{i}", "operation": i,
         "bottoms": [f"a_value_{i}"], "tops": [f"a_value_{i + 1}"]}
        for i in range(drawing.MOST)
    ]  # fmt: skip
    described = max(network["values"].values(), key=lambda x: len(x["positive"]))
    network["values"] = {f"a_value_{i}": described for i in range(drawing.MOST + 1)}
    change(folder, "compare/network.json", network)
    checked = record(folder, "check/check.json")
    checked["findings"] = checked["findings"][:1] * 5000
    change(folder, "check/check.json", checked)
    noise = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    data = cv2.imencode(".jpg", noise)[1].tobytes()
    for picture in (folder / "evaluate").glob("*.jpg"):
        picture.write_bytes(data)
    text = parsed(folder).text
    assert "4000 more are in check/check.json" in text
    assert (folder / "report.html").stat().st_size < LARGEST_PAGE


def test_many_findings_are_counted_by_rule(folder: Path) -> None:
    found = [
        {"id": f"rule{i % 2}", "layer": f"layer{i}", "severity": "warning", "message": f"m{i}",
         "fix": f"mend{i % 2}"}
        for i in range(41)
    ]  # fmt: skip
    change(folder, "check/check.json", {"chip": "hi3516dv300", "findings": found})
    text = parsed(folder, "ready with warnings").text
    assert "Warnings (41)" in text
    assert "rule0 21 layer0 : m0 mend0 " in text
    assert "rule1 20 layer1 : m1 mend1 " in text
    assert all(f"rule{i % 2} layer{i} m{i} mend{i % 2} " in text for i in range(41))
    change(folder, "check/check.json", {"chip": "hi3516dv300", "findings": found[:9]})
    text = parsed(folder, "ready with warnings").text
    assert "Warnings (9)" in text
    assert "Times" not in text


def test_every_sentence_is_used_and_every_used_one_is_there() -> None:
    room = Path(page.__file__).parent
    sources = [*room.rglob("*.html"), *room.rglob("*.py")]
    code = "\n".join(x.read_text(encoding="utf-8") for x in sources)
    code += (room.parent / "stages" / "verdict.py").read_text(encoding="utf-8")
    literal = set(re.findall(r"""\bt(?:\.plain)?\(\s*f?["']([\w.]+)["']""", code))
    started = set(re.findall(r"""\bt(?:\.plain)?\(\s*f?["'](\w+\.\w*)(?:["'] ~|\{)""", code))
    # Words that the page's script asks for, and the two ways to say a run in a reason.
    literal |= {f"drawing.{x}" for x in drawing.WORDS} | {"reasons.float", "reasons.bits"}
    sentences = Texts("en").sentences
    titles = {f"{name}.title" for name, _ in page.SECTIONS}
    assert literal - started <= set(sentences)
    assert titles <= set(sentences)
    unused = [
        x
        for x in sentences
        if x not in literal | titles and not any(y != x and x.startswith(y) for y in started)
    ]
    assert unused == []


def test_values_in_sentences_are_escaped() -> None:
    t = Texts("en")
    assert "&lt;b&gt;{x}" in t("mapper.intro", label="<b>{x}")
    with pytest.raises(KeyError):
        t("mapper.intro")


def test_numbers_are_written_for_people() -> None:
    assert formats.cosine(0.9999999) == "0.999999"
    assert formats.cosine(1.0) == "1.000000"
    assert formats.number(0.00001, 4) == "1.0e-05"
    assert formats.number(0.25, 4) == "0.2500"
    assert formats.number(None) == formats.cosine(float("nan")) == "–"
    assert formats.exponent(0) == "0"
    assert formats.short(1 / 128) == "0.0078125"
    assert [formats.size(x) for x in (334, 13_000, 1_736_694)] == ["334 B", "13.0 kB", "1.7 MB"]
    assert formats.pixels(0.004) == "0.00 px"


def test_the_axis_of_angles() -> None:
    assert plot.spread(1.0) == 0
    assert plot.spread(0.5) == pytest.approx(-60)
    assert plot.spread(-1.0000001) == pytest.approx(-180)
    assert plot.spread(None) is plot.spread(float("nan")) is None


@pytest.mark.parametrize("lowest", [0.9995, 0.97, 0.87, 0.3, -0.9])
def test_the_ticks_of_the_plot_never_touch(lowest: float) -> None:
    layer = {
        "name": "a", "type": "ReLU", "shape": [1], "cosine": lowest, "max_abs": None,
        "rel_euclid": 0.1,
    }  # fmt: skip
    record = Compared8.model_validate({"layers": [layer], "threshold": 0.99})
    run = Run("8", "8 bit", "8", "run-8", record)
    layout = plot.cosine_figure([run], Texts("en"))["views"]["spread"]["layout"]
    low, high = layout["yaxis.range"]
    places = sorted(layout["yaxis.tickvals"])
    assert all(b - a > (high - low) / 30 for a, b in itertools.pairwise(places))
    assert {"1", "0.99", "0.95"} <= set(layout["yaxis.ticktext"])
    assert low <= plot.spread(lowest) <= high


def test_plotly_is_imported_by_the_report_stage_alone() -> None:
    done = subprocess.run(
        [
            sys.executable, "-c",
            "import sys, nnie_pipeline.stages.steps, nnie_pipeline.report.page as page\n"
            "assert 'plotly' not in sys.modules\n"
            "page.plotly_script()\n"
            "assert 'plotly' in sys.modules",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def tab(build_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    """The page that `nnie run` wrote, open in chromium."""
    with browser.chromium(tmp_path_factory.mktemp("chromium")) as found:
        found.resize(1200)
        found.media("light")
        found.open((build_folder / "report.html").as_uri())
        found.wait("document.querySelectorAll('.plot .main-svg').length > 0")
        found.wait("document.querySelectorAll('.plot .scatterlayer .point').length > 100")
        yield found


def quiet(tab: browser.Page) -> bool:
    loaded = [x for x in tab.requests if not x.startswith(("data:", "blob:"))]
    assert len(loaded) == 1, loaded
    assert tab.problems == []
    return True


def test_the_browser_shows_every_section_and_loads_nothing(tab: browser.Page) -> None:
    names = [name for name, _ in page.SECTIONS]
    shown = tab.run(
        "[...document.querySelectorAll('main > section')]"
        ".filter(x => x.checkVisibility() && x.offsetHeight > 60 && x.innerText.length > 40)"
        ".map(x => x.id)"
    )
    assert shown == names
    assert tab.run("[...document.images].filter(x => x.src).every(x => x.naturalWidth > 50)")
    assert tab.run("document.querySelectorAll('#layers .scatterlayer .trace').length") == 4
    assert tab.run("document.querySelectorAll('.notice').length") == 0
    assert quiet(tab)


def test_tables_sort_by_their_headings(tab: browser.Page, build_folder: Path) -> None:
    layers = record(build_folder, "compare/8.json")["layers"]
    table = "[...document.querySelectorAll('#layers details table')][0]"
    column = f"[...{table}.tBodies[0].rows].map(x => Number(x.cells[2].dataset.value))"
    button = f"{table}.tHead.rows[0].cells[2].querySelector('button')"
    cosines = [x["cosine"] for x in layers]
    tab.run(f"{table}.closest('details').open = true")
    assert tab.run(column) == cosines
    tab.run(f"{button}.click()")
    assert tab.run(column) == sorted(cosines)
    assert tab.run(f"{button}.closest('th').ariaSort") == "ascending"
    tab.run(f"{button}.focus()")
    tab.key(" ", 32, " ")
    assert tab.run(column) == sorted(cosines, reverse=True)
    assert tab.run(f"{button}.closest('th').ariaSort") == "descending"
    names = f"[...{table}.tBodies[0].rows].map(x => x.cells[0].textContent)"
    tab.run(f"{table}.tHead.rows[0].cells[0].querySelector('button').click()")
    assert tab.run(names) == [str(x) for x in range(1, len(layers) + 1)]
    assert tab.run(f"{button}.closest('th').ariaSort") is None
    tab.run(f"{table}.closest('details').open = false")
    assert quiet(tab)


def test_folded_parts_open_by_mouse_and_keyboard(tab: browser.Page) -> None:
    folded = "document.querySelector('#passes details')"
    inner = f"{folded}.querySelector('li').checkVisibility()"
    assert tab.run(inner) is False
    tab.run(f"{folded}.querySelector('summary').click()")
    assert tab.run(inner) is True
    tab.run(f"{folded}.querySelector('summary').focus()")
    tab.key("Enter", 13, "\r")
    assert tab.run(inner) is False
    assert quiet(tab)


def test_the_plot_has_a_linear_view_and_answers_to_the_mouse(tab: browser.Page) -> None:
    ticks = "[...document.querySelectorAll('#layers .ytick text')].map(x => Number(x.textContent))"
    spread = tab.run(ticks)
    tab.run("document.querySelector('[data-view=linear]').click()")
    tab.wait(f"JSON.stringify({ticks}) !== '{json.dumps(spread, separators=(',', ':'))}'")
    linear = tab.run(ticks)
    steps = {round(b - a, 6) for a, b in itertools.pairwise(linear)}
    assert len(steps) == 1
    tab.run("document.querySelector('[data-view=spread]').click()")
    tab.wait(f"JSON.stringify({ticks}) === '{json.dumps(spread, separators=(',', ':'))}'")
    assert tab.run("document.querySelector('[data-view=spread]').ariaPressed") == "true"
    tab.run(
        "document.querySelector('.plot').scrollIntoView({block: 'center', behavior: 'instant'})"
    )
    place = (
        "(() => { const x = document.querySelectorAll('.plot .scatterlayer .point')[40]"
        ".getBoundingClientRect(); return [x.x + x.width / 2, x.y + x.height / 2] })()"
    )
    shown = ""
    for step in range(200):  # a move while the plot is being drawn is lost
        x, y = tab.run(place)
        tab.send("Input.dispatchMouseEvent", type="mouseMoved", x=x + 40, y=y + 40)
        tab.send("Input.dispatchMouseEvent", type="mouseMoved", x=x + step % 3 - 1, y=y)
        tab.run("new Promise(x => setTimeout(x, 100))")
        shown = tab.run("document.querySelector('.plot .hoverlayer').textContent")
        if shown:
            break
    for words in ("8 bit cosine 0.", "largest absolute error", "relative Euclidean distance", "×"):
        assert words in shown
    tab.send("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    assert quiet(tab)


def test_the_plots_of_the_sizes_are_drawn(tab: browser.Page, build_folder: Path) -> None:
    count = len(record(build_folder, "check/sizes.json")["square"])
    for plot_id, marks in (("sizes-time", 5), ("sizes-anchors", 5)):
        points = f"document.querySelectorAll('#{plot_id} .scatterlayer .point').length"
        assert tab.run(points) == 2 * count + marks
        names = f"[...document.querySelectorAll('#{plot_id} .legendtext')].map(x => x.textContent)"
        assert {"this build", "known from publications"} <= set(tab.run(names))
        labels = f"[...document.querySelectorAll('#{plot_id} .textpoint')].map(x => x.textContent)"
        assert tab.run(labels) == ["512", "640", "768", "1024", "320"]
    assert quiet(tab)


def test_a_picture_opens_in_full_and_closes(tab: browser.Page) -> None:
    tab.run("document.querySelector('#detections .zoom').focus()")
    tab.key("Enter", 13, "\r")
    assert tab.run("document.getElementById('viewer').open")
    assert tab.run("document.querySelector('#viewer img').naturalWidth") == 320
    tab.key("Escape", 27)
    tab.wait("!document.getElementById('viewer').open")
    assert quiet(tab)


def settle(tab: browser.Page) -> None:
    """Wait until the plot is as wide as its place, but for fractions of a pixel."""
    tab.wait(
        "(x => Math.abs(x.querySelector('.main-svg').clientWidth - x.clientWidth) <= 1)"
        "(document.querySelector('.canvas'))"
    )


def contrast(tab: browser.Page) -> float:
    """The least contrast between a word and what lies under it (WCAG 2, relative luminance)."""
    found: float = tab.run(
        """(() => {
          const rgb = (x) => (x.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
          const light = (x) => x.slice(0, 3).map((v) => v / 255)
            .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
          const under = (x) => {
            for (let y = x; y; y = y.parentElement) {
              const back = rgb(getComputedStyle(y).backgroundColor);
              if (back.length < 4 || back[3] > 0) return back;
            }
          };
          const ratios = [...document.querySelectorAll('main *')]
            .filter((x) => [...x.childNodes].some((y) => y.nodeType === 3 && y.data.trim()))
            .filter((x) => !x.closest('svg, script, .hidden') && x.checkVisibility())
            .map((x) => [light(rgb(getComputedStyle(x).color)), light(under(x))])
            .map(([a, b]) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
          return Math.min(...ratios);
        })()"""
    )
    return found


def test_dark_mode_turns_page_and_plot_and_both_are_readable(tab: browser.Page) -> None:
    ink = "getComputedStyle(document.querySelector('.plot .xtick text')).fill"
    light = tab.run(ink)
    back = "getComputedStyle(document.body).backgroundColor"
    assert tab.run(back) == "rgb(246, 247, 249)"
    assert contrast(tab) >= 4.5
    tab.media("dark")
    tab.wait(f"{ink} !== '{light}'")
    assert tab.run(back) == "rgb(18, 22, 29)"
    assert contrast(tab) >= 4.5
    tab.media("light")
    tab.wait(f"{ink} === '{light}'")
    assert quiet(tab)


@pytest.mark.parametrize("width", [320, 400, 760, 1000, 1200, 1920])
def test_no_width_makes_the_page_scroll_sideways(tab: browser.Page, width: int) -> None:
    tab.run("document.querySelectorAll('details').forEach(x => { x.open = true })")
    tab.resize(width)
    settle(tab)
    assert tab.run("document.documentElement.scrollWidth") <= width
    links = tab.run("[...document.querySelectorAll('nav a')].map(x => x.offsetHeight)")
    assert all(links)
    # The contents stay in sight wherever the reader is.
    tab.run("window.scrollTo({top: 3000, behavior: 'instant'})")
    assert 0 <= tab.run("document.querySelector('nav').getBoundingClientRect().top") < 5
    tab.run("window.scrollTo({top: 0, behavior: 'instant'})")
    tab.run("document.querySelectorAll('details').forEach(x => { x.open = false })")
    tab.resize(1200)
    settle(tab)
    assert quiet(tab)


def test_in_print_the_plot_fits_the_paper_and_is_light(tab: browser.Page) -> None:
    width = "document.querySelector('.plot .main-svg').clientWidth"
    before = tab.run(width)
    tab.media("dark", "print")
    tab.wait(f"{width} < 700")
    assert tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert contrast(tab) >= 4.5
    assert tab.run("document.querySelector('nav').checkVisibility()") is False
    tab.media("light")
    tab.wait(f"{width} === {before}")
    assert quiet(tab)


def test_hostile_names_do_nothing_in_the_browser(folder: Path, tmp_path: Path) -> None:
    for place in ("compare/8.json", "check/check.json", "rewrite/rewrite.json"):
        change(folder, place, hostile(record(folder, place)))
    page.write_report(folder, "not ready", (HOSTILE,))
    with browser.chromium(tmp_path / "profile") as tab:
        tab.open((folder / "report.html").as_uri())
        tab.wait("document.querySelectorAll('.plot .main-svg').length > 0")
        assert tab.run("document.querySelectorAll('img[src=x]').length") == 0
        assert HOSTILE in tab.run("document.querySelector('.verdict li').textContent")
        assert quiet(tab)


def test_a_script_that_got_in_would_not_run(folder: Path, tmp_path: Path) -> None:
    page.write_report(folder, "ready", ())
    path = folder / "report.html"
    text = path.read_text(encoding="utf-8")
    bad = "<script>window.bad = 1</script><img src=x onerror='window.bad = 2'>"
    path.write_text(text.replace("<main", f"{bad}<main"), encoding="utf-8")
    with browser.chromium(tmp_path / "profile") as tab:
        tab.open(path.as_uri())
        tab.wait("document.querySelectorAll('.plot .main-svg').length > 0")
        assert tab.run("document.querySelectorAll('img[src=x]').length") == 1
        assert tab.run("window.bad") is None
        refused = [x for x in tab.problems if "Content Security Policy" in x]
        assert len(refused) >= 3  # the script, the picture and its handler
