"""The drawing of the network: its layout, what is drawn, and how it answers."""

from __future__ import annotations

import itertools
import json
import math
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnie_pipeline.compare.histogram import described
from nnie_pipeline.quant import gfpq
from nnie_pipeline.report.build import Build
from nnie_pipeline.report.layered import layered
from nnie_pipeline.report.records import Compared
from nnie_pipeline.report.runs import find_runs
from nnie_pipeline.report.sections import drawing
from nnie_pipeline.report.texts import Texts
from tests import browser
from tests.test_report import change, folder, parsed, record

__all__ = ["folder"]


def graph(seed: int, count: int) -> list[tuple[int, int]]:
    dice = random.Random(seed)
    edges = {(dice.randrange(max(0, x - 6), x), x) for x in range(1, count)}
    edges |= {(a, b) for a, b in ((dice.randrange(count), dice.randrange(count)) for _ in range(9))}
    return sorted((a, b) for a, b in edges if a < b)


@pytest.mark.parametrize("seed", range(20))
def test_boxes_never_overlap_and_edges_go_down(seed: int) -> None:
    sizes = [(100.0 + 10 * (x % 7), 20.0 + 20 * (x % 4)) for x in range(60)]
    edges = graph(seed, len(sizes))
    drawn = layered(sizes, edges)
    boxes = [(x, y, x + w, y + h) for (x, y), (w, h) in zip(drawn.places, sizes, strict=True)]
    for a, b in itertools.combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    assert min(x[0] for x in boxes) >= 0
    assert max(x[2] for x in boxes) <= drawn.width + 1e-6
    assert max(x[3] for x in boxes) <= drawn.height + 1e-6
    for (start, end), path in zip(edges, drawn.paths, strict=True):
        assert path[0] == pytest.approx(((boxes[start][0] + boxes[start][2]) / 2, boxes[start][3]))
        assert path[-1] == pytest.approx(((boxes[end][0] + boxes[end][2]) / 2, boxes[end][1]))
        assert all(a[1] <= b[1] for a, b in itertools.pairwise(path))
        # An edge passes beside the boxes of the rows between.
        for x, y in path[1:-1]:
            assert not any(b[0] < x < b[2] and b[1] < y < b[3] for b in boxes)


def test_a_chain_is_straight_and_a_plain_tree_has_no_crossing() -> None:
    sizes = [(50.0, 20.0)] * 7
    chain = layered(sizes, [(x, x + 1) for x in range(6)])
    assert len({x for x, _ in chain.places}) == 1
    assert chain.width == 50
    # Given in an order that crosses: 1 has 5 and 6, 2 has 3 and 4.
    tree = layered(sizes, [(0, 1), (0, 2), (1, 5), (1, 6), (2, 3), (2, 4)])
    left = [tree.places[x][0] for x in (1, 2)]
    under = [[tree.places[x][0] for x in pair] for pair in ((5, 6), (3, 4))]
    assert (left[0] < left[1]) == (max(under[0]) < min(under[1]))
    assert layered([], []).height == 0


def test_a_histogram_counts_every_value_where_it_lies() -> None:
    values = np.array([0.0, 0.0, 1.0, 1.3, 1.6, -2.0, -3.9, 2.0**-30], np.float32)
    found = described(values)
    assert (found["least"], found["largest"]) == (np.float32(-3.9), np.float32(1.6))
    assert found["zeros"] == pytest.approx(2 / 8)
    assert found["below"] == pytest.approx(1 / 8)  # more than 20 octaves under 3.9
    bins = {}
    for side in ("positive", "negative"):
        for i, count in enumerate(found[side]):
            if count:
                octave, quarter = divmod(found["first"] + i, 4)
                bins[side, 2.0 ** (octave - 127) * (1 + quarter / 4)] = count
    assert bins == {
        ("positive", 1.0): 1, ("positive", 1.25): 1, ("positive", 1.5): 1,
        ("negative", 2.0): 1, ("negative", 3.5): 1,
    }  # fmt: skip
    broken = described(np.array([np.nan, np.inf, -np.inf, 4.0], np.float32))
    assert (broken["least"], broken["largest"], sum(broken["positive"])) == (4.0, 4.0, 1)
    assert described(np.zeros((1, 0), np.float32))["largest"] is None


def test_the_record_names_operations_values_and_how_they_are_read(folder: Path) -> None:
    network = record(folder, "compare/network.json")
    dumped = {x["value"]: x for x in record(folder, "dump/dump.json")["blobs"]}
    ranges = record(folder, "simulate/ranges.json")["z"]
    names = [x["name"] for x in network["layers"]]
    assert names == [x["layer"] for x in dumped.values()]
    first, second = network["layers"][:2]
    assert (first["type"], second["type"]) == ("Convolution", "ReLU")
    assert first["operation"] == second["operation"]
    assert set(network["values"]) == {*dumped, "input"}
    for name, value in dumped.items():
        assert network["values"][name]["shape"] == value["shape"]
    conv = network["layers"][2]
    assert network["reads"]["8"][conv["name"]] == ranges["8"][conv["name"]]
    # The picture has the chip's fixed z, not the one of the calibration.
    assert network["reads"]["8"][first["name"]] == [0] != ranges["8"][first["name"]]
    assert network["batch_norms"] == []


def test_every_layer_is_drawn_once_with_the_cosine_of_the_run(folder: Path) -> None:
    found = parsed(folder)
    drawn = [x for tag, x in found.elements if tag == "g" and "data-layer" in x]
    layers = record(folder, "compare/network.json")["layers"]
    assert sorted(int(x["data-layer"] or 0) for x in drawn) == list(range(len(layers)))
    compared = {x["name"]: x["cosine"] for x in record(folder, "compare/8.json")["layers"]}
    for item in drawn:
        name = layers[int(item["data-layer"] or 0)]["name"]
        wanted = sum(compared[name] < x for x in (0.999, 0.99, 0.95, 0.9))
        assert item["class"] == f"line c{wanted}"
    operations = {x["operation"] for x in layers}
    boxes = [x for tag, x in found.elements if tag == "g" and x.get("class") == "box"]
    assert len(boxes) == len(operations) < len(layers)


def test_a_network_too_large_or_strange_is_not_drawn(folder: Path) -> None:
    network = record(folder, "compare/network.json")
    layer = network["layers"][0]
    network["layers"] = [layer] * (drawing.MOST + 1)
    change(folder, "compare/network.json", network)
    assert f"has {drawing.MOST + 1} layers; up to {drawing.MOST} are drawn" in parsed(folder).text
    # Against the order, in a circle, of values nobody made, ranges that do not fit.
    network["layers"] = [
        {**layer, "operation": 9, "bottoms": ["b", "?"], "tops": ["a"]},
        {**layer, "operation": 2, "bottoms": ["a"], "tops": ["b"]},
    ]
    network["reads"] = {"8": {layer["name"]: []}, "x": {"?": [1]}}
    change(folder, "compare/network.json", network)
    found = parsed(folder)
    assert not found.open
    assert len([x for tag, x in found.elements if x.get("class", "") == "box"]) == 2


def test_every_comparison_in_the_build_is_a_run(folder: Path) -> None:
    compared = record(folder, "compare/8.json")
    marked = [{**x, "name": x["name"] + "_hp"} for x in compared["layers"]]
    change(folder, "compare/mixed.json", {**compared, "layers": marked})
    board = [x for x in compared["layers"] if x["type"] != "ReLU"]
    change(folder, "compare/board.json", {**compared, "layers": board})
    change(folder, "compare/zebra.json", {"no": "comparison"})
    (folder / "clip").mkdir()
    rows = [
        {"layer": x["name"], "type": x["type"], "blob": x["blob"],
         "cosine": {"maximum": 0.5, "percentile 99.9": 0.75}, "sqnr_db": {"maximum": None}}
        for x in compared["layers"]
    ]  # fmt: skip
    outputs = {"maximum": 0.5, "percentile 99.9": 0.75}
    change(folder, "clip/alternatives.json", {"bits": 8, "layers": rows, "outputs": outputs})
    runs, missing = find_runs(Build(folder), Texts("en"))
    assert [x.name for x in runs] == [
        "8 bit", "16 bit", "mixed 8 and 16 bit", "board", "8 bit, ranges by percentile 99.9",
    ]  # fmt: skip
    assert [x.place for x in missing] == ["compare/zebra.json"]
    assert len({x.colour for x in runs}) == len(runs)
    found = parsed(folder)
    kinds = [x.get("type") for tag, x in found.elements if tag == "script"]
    _, plot, *_ = [x for x, kind in zip(found.scripts, kinds, strict=True) if kind]
    traces = {x["name"]: x for x in json.loads(plot)["traces"]}
    places = {x["name"]: i for i, x in enumerate(compared["layers"], 1)}
    # The same layer stands above the same place in every run.
    assert traces["board"]["x"] == [places[x["name"]] for x in board]
    assert traces["mixed 8 and 16 bit"]["x"] == list(places.values())
    assert "compare/zebra.json is not as this version writes it" in found.text


@pytest.fixture(scope="module")
def tab(build_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    with browser.chromium(tmp_path_factory.mktemp("chromium")) as found:
        found.resize(1300)
        found.media("light")
        found.open((build_folder / "report.html").as_uri())
        found.wait("document.querySelectorAll('.line.chosen').length === 1")
        yield found


FACTS = "document.getElementById('drawing-facts').innerText"


def click(tab: browser.Page, script: str) -> None:
    """A real click in the middle of an element."""
    x, y = tab.run(
        f"(e => {{ e.scrollIntoView({{block: 'center', behavior: 'instant'}});"
        "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] })"
        f"({script})"
    )
    for kind in ("mousePressed", "mouseReleased"):
        tab.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


def layers_of(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = record(folder, "compare/network.json")["layers"]
    return found


def test_the_worst_layer_is_shown_first(tab: browser.Page, build_folder: Path) -> None:
    compared = record(build_folder, "compare/8.json")["layers"]
    worst = min(compared, key=lambda x: x["cosine"])
    shown = tab.run(FACTS)
    assert worst["name"] in shown
    assert f"{math.floor(worst['cosine'] * 1e6) / 1e6:.6f}" in shown
    assert tab.problems == []


def test_a_click_shows_shapes_ranges_and_levels(tab: browser.Page, build_folder: Path) -> None:
    layers = layers_of(build_folder)
    network = record(build_folder, "compare/network.json")
    number = next(
        i for i, x in enumerate(layers)
        if x["type"] == "Convolution" and i > 4 and x["name"] in network["reads"]["8"]
    )  # fmt: skip
    click(tab, f"document.querySelector('[data-layer=\"{number}\"]')")
    shown = tab.run(FACTS)
    name = layers[number]["name"]
    assert name in shown
    assert "×".join(map(str, network["values"][layers[number]["tops"][0]]["shape"])) in shown
    (z,) = network["reads"]["8"][name]
    assert f"{name} reads it with 8 bit, z {z}: levels from" in shown
    levels = gfpq.levels(8, z)
    positive = levels[levels > 0]
    assert tab.run("Number(document.querySelector('.comb').dataset.levels)") == len(positive)
    assert f" to {float(f'{positive[-1]:.4g}'):g} (the comb below" in shown
    assert tab.run("document.querySelectorAll('.facts .histogram .up').length") >= 1
    assert tab.run("document.querySelector('.line.chosen').dataset.layer") == str(number)
    assert tab.problems == []


def test_the_keyboard_walks_from_layer_to_layer(tab: browser.Page, build_folder: Path) -> None:
    layers = layers_of(build_folder)
    assert tab.run("document.querySelectorAll('.line[tabindex=\"0\"]').length") == 1
    tab.run("document.querySelector('.line[tabindex=\"0\"]').focus()")
    tab.key("Home", 36)
    assert f"{layers[0]['name']} {layers[0]['type']}" in tab.run(FACTS)
    tab.key("ArrowDown", 40)
    assert f"{layers[1]['name']} {layers[1]['type']}" in tab.run(FACTS)
    tab.key("ArrowUp", 38)
    tab.key("ArrowUp", 38)  # nothing lies before the first
    assert f"{layers[0]['name']} {layers[0]['type']}" in tab.run(FACTS)
    tab.key("End", 35)
    assert f"{layers[-1]['name']} {layers[-1]['type']}" in tab.run(FACTS)
    assert tab.run("document.activeElement.dataset.layer") == str(len(layers) - 1)
    assert tab.run("document.querySelectorAll('.line.chosen').length") == 1
    assert tab.problems == []


def test_the_run_that_one_selects_colours_the_layers(tab: browser.Page, build_folder: Path) -> None:
    shown = "[...document.querySelectorAll('.line .value')].map(x => x.textContent).join()"
    choose = (
        "(x => {{ x.value = '{}'; x.dispatchEvent(new Event('change')) }})"
        "(document.getElementById('drawing-run'))"
    )
    eight = tab.run(shown)
    tab.run(choose.format(1))
    sixteen = tab.run(shown)
    assert sixteen != eight
    compared = {x["name"]: x["cosine"] for x in record(build_folder, "compare/16.json")["layers"]}
    for number, layer in enumerate(layers_of(build_folder)):
        line = tab.run(
            f"(x => [x.getAttribute('class'), x.getAttribute('aria-label')])"
            f"(document.querySelector('[data-layer=\"{number}\"]'))"
        )
        level = sum(compared[layer["name"]] < x for x in (0.999, 0.99, 0.95, 0.9))
        assert re.match(rf"line c{level}( chosen)?$", line[0])
        assert line[1].startswith(f"{layer['name']}, {layer['type']}, Cosine ")
    tab.run(choose.format(0))
    assert tab.run(shown) == eight
    assert tab.problems == []


def test_the_drawing_grows_and_shrinks(tab: browser.Page) -> None:
    width = "document.querySelector('#drawing-graph svg').clientWidth"
    start = tab.run(width)
    click(tab, "document.querySelector('[data-zoom=in]')")
    assert tab.run(width) > 1.2 * start
    click(tab, "document.querySelector('[data-zoom=width]')")
    assert tab.run(width) <= tab.run("document.querySelector('.stage').clientWidth")
    click(tab, "document.querySelector('[data-zoom=worst]')")
    worst = tab.run("document.querySelector('.line.chosen .value').textContent")
    assert worst == min(
        tab.run("[...document.querySelectorAll('.line .value')].map(x => x.textContent)")
    )
    assert tab.problems == []


def test_in_print_the_whole_drawing_is_on_the_paper(tab: browser.Page) -> None:
    tab.resize(700)
    tab.media("light", "print")
    assert tab.run("document.querySelector('#drawing-graph svg').clientWidth") <= 700
    assert tab.run("document.querySelector('.zooms').checkVisibility()") is False
    tab.media("light")
    tab.resize(1300)
    assert tab.problems == []


def test_a_layer_of_a_record_has_its_noise(folder: Path) -> None:
    found = Compared.model_validate(record(folder, "compare/8.json"))
    assert all(x.sqnr_db is not None for x in found.layers)
