"""How fast the simulation and the sensitivity of a real network are."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.caffe.net import Net
from nnie_pipeline.calibration.geometry import place
from nnie_pipeline.calibration.network_input import to_blob
from nnie_pipeline.calibration.pictures import read_picture
from nnie_pipeline.cli import translate
from nnie_pipeline.engine.onnxruntime_engine import Session, all_values
from nnie_pipeline.quant.simulate import Simulator
from nnie_pipeline.sensitivity.network import Study
from nnie_pipeline.sensitivity.study import measure as measure_sensitivity
from nnie_pipeline.stages.convert import convert_files
from nnie_pipeline.stages.dump import record_ranges
from nnie_pipeline.stages.probe import Probe
from nnie_pipeline.stages.rewrite import rewrite_files
from nnie_pipeline.zoo.spec import load_spec
from tests.models import photographs, retinaface_onnx

Row = dict[str, str | int | float]
SIZE = (640, 640)
_RUNS = 9


def measure() -> list[Row]:
    """RetinaFace at 640x640: simulation beside the float pass, sensitivity."""
    wanted = translate.input_spec(load_spec("retinaface"))
    picture = photographs()["astronaut"]
    probe = Probe(picture.path, picture.name, wanted)
    net = ready_net(probe)
    canvas, _ = place(
        read_picture(picture.path)[0], SIZE, wanted.geometry, wanted.anchor, wanted.fill_bgr
    )
    feed = {next(iter(net.inputs)): to_blob(canvas, wanted)}
    float_session = Session(net, all_values(net))
    simulator = Simulator(net, 8, record_ranges(net, [feed]))

    def simulate() -> None:
        for _ in simulator.run(feed):
            pass

    ours, theirs = best_of([simulate, lambda: float_session.run(feed)])
    study = measure_sensitivity(Study(net, 8, record_ranges(net, [feed])), iter([feed]), 1)
    return [
        {
            "name": "8-bit simulation, retinaface 640x640",
            "peer": "unfused onnxruntime float pass, every layer's output",
            "ours_s": ours,
            "peer_s": theirs,
            "times_the_peer": ours / theirs,
            "limit_times": 3.0,
        },
        {
            "name": "sensitivity of 60 layers, retinaface 640x640",
            "passes": study.passes,
            "limit_passes": len(net.layers) / 2,
        },
    ]


def ready_net(probe: Probe) -> Net:
    """RetinaFace at 640x640, converted and rewritten."""
    outputs = load_spec("retinaface").outputs
    with TemporaryDirectory() as name:
        folder = Path(name)
        done = convert_files(retinaface_onnx(), "retinaface", folder, SIZE, outputs, probe)
        (folder / "new").mkdir()
        rewrite_files(done.prototxt, done.caffemodel, "retinaface", folder / "new", None, probe)
        return read_net(folder / "new" / done.prototxt.name, folder / "new" / done.caffemodel.name)


def best_of(works: Sequence[Callable[[], object]]) -> list[float]:
    """The best of several alternating runs of each, in seconds."""
    for work in works:
        work()
    found: list[list[float]] = [[] for _ in works]
    for _ in range(_RUNS):
        for work, seconds in zip(works, found, strict=True):
            started = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - started)
    return [min(x) for x in found]
