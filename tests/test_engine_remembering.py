"""A program that was run is not run again; one that computes anything else is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.engine import choice, remembering
from nnie_pipeline.engine.remembering import Runs, fingerprint
from tests.caffe_nets import conv, feed, header, layer, random_net

TEXT = (
    header(1, 3, 8, 8)
    + conv("one", "data", 4, 3)
    + layer("ReLU", "act", "one", "act", "relu_param { negative_slope: 0.1 }")
    + layer("Eltwise", "sum", "one act", "sum")
)


def network() -> Net:
    return random_net(TEXT)[0]


def test_names_do_not_matter() -> None:
    old = network()
    new = network()
    for item in new.layers:
        item.name += "_new"
        item.bottoms = [x if x == "data" else f"{x}_new" for x in item.bottoms]
        item.tops = [f"{x}_new" for x in item.tops]
    new.outputs = [f"{x}_new" for x in new.outputs]
    assert fingerprint(old) == fingerprint(new)


def _other_weight(net: Net) -> None:
    weights = net.layers[0].weights[0].copy()
    weights.flat[0] += 1
    net.layers[0].weights[0] = weights


def _other_bottoms(net: Net) -> None:
    net.layers[2].bottoms = ["act", "act"]


def _other_parameter(net: Net) -> None:
    net.layers[1].params.relu_param.negative_slope = 0.5


def _other_type(net: Net) -> None:
    net.layers[1].type = "TanH"


def _other_size(net: Net) -> None:
    net.inputs = {"data": (1, 3, 8, 9)}


def _other_output(net: Net) -> None:
    net.outputs = ["act"]


@pytest.mark.parametrize(
    "change",
    [_other_weight, _other_bottoms, _other_parameter, _other_type, _other_size, _other_output],
)
def test_what_is_computed_does(change: Callable[[Net], None]) -> None:
    net = network()
    change(net)
    assert fingerprint(net) != fingerprint(network())


def test_each_program_is_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    session = choice.session

    def counted(*arguments: object, **options: object) -> object:
        opened.append(arguments)
        return session(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(remembering, "session", counted)
    net = network()
    runs = Runs("onnxruntime", [[feed(net, seed)["data"]] for seed in (0, 1)])
    first = runs.all(net)
    assert not np.array_equal(first[0][0], first[1][0])
    assert runs.all(net)[1][0] is first[1][0]
    assert runs.last_as_written(net)[0][0] is first[1][0]
    assert len(opened) == 1
    runs.all(net, fused=False)
    assert len(opened) == 2
    _other_weight(net)
    assert not np.array_equal(runs.all(net)[0][0], first[0][0])
