"""How far mode fixed is from mode float, on two compiled files.

    NNIE_TEST_DATA=... python -m tests.fixed_mode

prints the table that docs/simulation.md holds.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.caffe.net import Array
from nnie_pipeline.compare.metrics import difference
from nnie_pipeline.engine.onnxruntime_engine import Session, all_values
from nnie_pipeline.quant.assumptions import USUAL, parse_assumptions
from nnie_pipeline.quant.ranges import RangeRecorder
from nnie_pipeline.quant.simulate import Simulator
from nnie_pipeline.wk.decode import decode
from nnie_pipeline.wk.numbers import ranges_of_file, words_of_file
from nnie_pipeline.wk.proof import prove
from tests.calibration_rule import FILES, pictures

RULES = ("nearest", "down", "exact")


def main() -> None:
    """Print the table as Markdown."""
    data = os.environ.get("NNIE_TEST_DATA")
    if not data:
        sys.exit("compiled networks and pictures are test data: set NNIE_TEST_DATA")
    models = Path(data) / "models" / "retinaface_mnet025"
    net = read_net(models / "mnet_hand_rewritten.prototxt", models / "mnet.caffemodel")
    blob = pictures(Path(data) / "images")[0]
    sys.stdout.write(
        "| file | simulated | against | least cosine of the outputs | largest difference | "
        "least signal to noise |\n|---|---|---|---|---|---|\n"
    )
    for bits, name in FILES.items():
        proof = prove(decode(models / name), net)
        feed = {next(iter(proof.net.inputs)): blob}
        exact = Session(proof.net, all_values(proof.net)).run(feed)
        recorder = RangeRecorder(proof.net)
        recorder.add({**feed, **exact})
        ranges, _ = ranges_of_file(proof, bits, recorder.ranges())
        words = words_of_file(proof)
        plain = dict(Simulator(proof.net, bits, ranges, USUAL, words).run(feed))
        row(f"{bits} bit", "float", "the float network", plain, exact, proof.net.outputs)
        for rule in RULES:
            switches = parse_assumptions([f"products={rule}"])
            run = Simulator(proof.net, bits, ranges, switches, words, "fixed").run(feed)
            found = dict(run)
            said = f"fixed, products={rule}"
            row(f"{bits} bit", said, "mode float", found, plain, proof.net.outputs)
            row(f"{bits} bit", said, "the float network", found, exact, proof.net.outputs)


def row(
    file: str,
    simulated: str,
    against: str,
    found: dict[str, Array],
    other: dict[str, Array],
    outputs: list[str],
) -> None:
    """Print one row."""
    parts = [difference(other[x], found[x]) for x in outputs]
    largest = max(float(np.abs(other[x] - found[x]).max()) for x in outputs)
    sys.stdout.write(
        f"| {file} | {simulated} | {against} | {min(x.cosine for x in parts):.6f} | "
        f"{largest:.4f} | {min(x.sqnr_db for x in parts):.1f} dB |\n"
    )


if __name__ == "__main__":
    main()
