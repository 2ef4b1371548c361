"""How long it takes to compare every layer of two dumps and write the page."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.calibration.geometry import place
from nnie_pipeline.calibration.network_input import to_blob
from nnie_pipeline.calibration.pictures import read_picture
from nnie_pipeline.cli import translate
from nnie_pipeline.compare.layers import compare
from nnie_pipeline.compare.open import open_dump
from nnie_pipeline.files import write_text
from nnie_pipeline.onnx2caffe.convert import convert
from nnie_pipeline.onnx2caffe.load import load_model
from nnie_pipeline.report.comparison import comparison_page
from nnie_pipeline.report.plot import plotly_script
from nnie_pipeline.stages.dump import dump_float, dump_simulated, record_ranges
from nnie_pipeline.zoo.spec import load_spec
from tests.bench.networks import best_of
from tests.models import photographs, retinaface_onnx

Row = dict[str, str | int | float]
_SIZE = (256, 320)  # its maps double exactly only at multiples of 32


def measure() -> list[Row]:
    """RetinaFace at 320x256: float against 8 bit, all metrics, with the page."""
    wanted = translate.input_spec(load_spec("retinaface"))
    canvas, _ = place(
        read_picture(photographs()["astronaut"].path)[0],
        _SIZE, wanted.geometry, wanted.anchor, wanted.fill_bgr,
    )  # fmt: skip
    with TemporaryDirectory() as name:
        folder = Path(name)
        net = _net()
        feed = {next(iter(net.inputs)): to_blob(canvas, wanted)}
        for side in ("float", "8"):
            (folder / side).mkdir()
        dump_float(net, feed, folder / "float")
        dump_simulated(net, feed, 8, record_ranges(net, [feed]), folder / "8")
        page = folder / "page.html"

        def work() -> None:
            found = compare(open_dump(folder / "float"), open_dump(folder / "8"))
            write_text(page, comparison_page(found.to_json()))

        (seconds,) = best_of([work])
        size = page.stat().st_size - len(plotly_script().encode())
    return [
        {
            "name": "compare all layers + page, retinaface 320x256",
            "ours_s": seconds,
            "limit_s": 0.3,
            "megabytes": size / 1e6,
            "limit_megabytes": 1,
        }
    ]


def _net() -> Net:
    spec = load_spec("retinaface")
    return convert(load_model(retinaface_onnx()), "retinaface", _SIZE, spec.outputs).net
