"""How nnie_mapper chooses ranges: rules held against two compiled files.

    NNIE_TEST_DATA=... python -m tests.calibration_rule

prints the tables that docs/simulation.md holds. The pictures that the files were calibrated with
are not public; ten ordinary ones stand for them. What does not depend on pictures is how far the
8-bit file's ranges are from the 16-bit file's.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.calibration.geometry import place
from nnie_pipeline.calibration.pictures import read_picture
from nnie_pipeline.engine.onnxruntime_engine import Session
from nnie_pipeline.quant import gfpq
from nnie_pipeline.quant.gfpq_format import number_format
from nnie_pipeline.quant.operations import RANGED, operations
from nnie_pipeline.quant.ranges import Ranges, picture_z
from nnie_pipeline.quant.unit import Unit
from nnie_pipeline.stages.simulate_wk import summary
from nnie_pipeline.wk.decode import decode
from nnie_pipeline.wk.proof import prove

FILES = {8: "mnet_mergebn_640L_inst.wk", 16: "mnet_640_inst.wk"}
PERCENTILES = (99.9, 99.99, 99.999)
Table = dict[str, int]
"""z of the input of each layer."""

Join = Callable[[Sequence[float]], float]


def stored(net: Net, bits: int, models: Path) -> tuple[Net, Table]:
    """The network as the file of `bits` holds it, and z of what its convolutions read."""
    proof = prove(decode(models / FILES[bits]), net)
    if not proof.holds:
        raise RuntimeError(proof.verdict)
    found = {x.name: x.z_in for x in proof.layers if x.name is not None and x.z_in is not None}
    first = {x.name for x in net.layers if x.bottoms[0] in net.inputs}
    return proof.net, {k: v for k, v in found.items() if k not in first}


def pictures(images: Path) -> list[Array]:
    """Pictures with faces, stretched to 640x640, R before G before B."""
    paths = sorted(images.glob("rgb_planar/det*.jpg")) + sorted(images.glob("crowd/*.jpg"))
    return [
        np.ascontiguousarray(
            place(read_picture(x)[0], (640, 640), "stretch")[0][:, :, ::-1].transpose(2, 0, 1)[
                None
            ],
            np.float32,
        )
        for x in paths
    ]


def float_magnitudes(
    net: Net, layers: Sequence[str], blobs: Sequence[Array]
) -> dict[float, dict[str, list[float]]]:
    """Percentiles (100: the maximum) of what each layer reads, one for each picture."""
    reads = {x: net.find(x).bottoms[0] for x in layers}
    session = Session(net, sorted(set(reads.values())))
    found: dict[float, dict[str, list[float]]] = {
        x: {y: [] for y in layers} for x in (100.0, *PERCENTILES)
    }
    for blob in blobs:
        made = session.run({next(iter(net.inputs)): blob})
        for value, array in made.items():
            limits = np.percentile(np.abs(array), list(found))
            for layer in [k for k, v in reads.items() if v == value]:
                for share, limit in zip(found, limits, strict=True):
                    found[share][layer].append(float(limit))
    return found


def quantised_before(net: Net, bits: int, blobs: Sequence[Array], join: Join) -> Table:
    """z by the maxima of all pictures where every earlier layer is in the chip's numbers."""
    shapes = infer(net)
    values = [{next(iter(net.inputs)): x} for x in blobs]
    table: Table = {}
    for step in operations(net):
        known: dict[str, tuple[int, ...]] = {}
        if step.leader.type in RANGED:
            limits = [
                picture_z(1.0, bits)
                if x in net.inputs
                else z_of(join([gfpq.largest_magnitude(v[x]) for v in values]), bits)
                for x in step.leader.bottoms
            ]
            known[step.leader.name] = tuple(limits)
            table[step.leader.name] = limits[0]
        unit = Unit(step, bits, Ranges({bits: known}, 1), shapes, wanted=[step.tops[-1]])
        for value in values:
            value.update(unit.run(value, {}))
    return table


def updated_on_the_way(net: Net, bits: int, blobs: Sequence[Array]) -> Table:
    """Picture by picture: z grows with what a layer reads, which is then quantised with it.

    This is what the quantiser library's mode 1 does if it runs in place.
    """
    shapes = infer(net)
    found: Table = {}
    table: Table = {}
    for blob in blobs:
        value = {next(iter(net.inputs)): blob}
        for step in operations(net):
            known: dict[str, tuple[int, ...]] = {}
            if step.leader.type in RANGED:
                for x in step.leader.bottoms:
                    own = z_of(gfpq.largest_magnitude(value[x]), bits)
                    own = picture_z(1.0, bits) if x in net.inputs else own
                    found[x] = max(own, found.get(x, own))
                known[step.leader.name] = tuple(found[x] for x in step.leader.bottoms)
                table[step.leader.name] = found[step.leader.bottoms[0]]
            unit = Unit(step, bits, Ranges({bits: known}, 1), shapes, wanted=[step.tops[-1]])
            value.update(unit.run(value, {}))
    return table


def z_of(magnitude: float, bits: int) -> int:
    """z of a range that ends at `magnitude`."""
    return gfpq.range_z(np.array([magnitude], np.float32), bits)


def mean(magnitudes: Sequence[float]) -> float:
    """The mean over pictures."""
    return float(np.mean(magnitudes))


def rules(
    nets: Mapping[int, Net], truth: Mapping[int, Table], blobs: Sequence[Array]
) -> dict[str, dict[int, Table]]:
    """z of each layer by bits, by every rule."""
    layers = list(truth[16])
    found: dict[str, dict[int, Table]] = {}
    magnitudes = float_magnitudes(nets[16], layers, blobs)
    joins: dict[str, Join] = {"maximum": max, "mean": mean}
    for share, of_layers in magnitudes.items():
        for name, join in joins.items():
            said = "maxima" if share == 100 else f"{share:g}th percentiles"
            found[f"{name} over the pictures' {said}, float network"] = {
                bits: {x: z_of(join(of_layers[x]), bits) for x in layers} for bits in truth
            }
    for name, join in joins.items():
        tables = {bits: quantised_before(nets[bits], bits, blobs, join) for bits in truth}
        found[f"{name} over the pictures' maxima, every earlier layer quantised"] = {
            bits: {x: table[x] for x in layers} for bits, table in tables.items()
        }
    tables = {bits: updated_on_the_way(nets[bits], bits, blobs) for bits in truth}
    found["maximum over the pictures' maxima, quantised and updated picture by picture"] = {
        bits: {x: table[x] for x in layers} for bits, table in tables.items()
    }
    return found


def line(name: str, tables: Mapping[int, Table], truth: Mapping[int, Table]) -> str:
    """A row of the table: median, mean magnitude, p10 and p90 at 8 and 16 bits."""
    cells = [name]
    for bits, table in tables.items():
        steps = number_format(bits).steps
        found = summary([(table[x] - z) * 16 / steps for x, z in truth[bits].items()])
        assert found is not None
        cells.append(
            f"{found['median']:+.1f} / {found['mean_magnitude']:.1f} / {found['p10']:+.1f} / "
            f"{found['p90']:+.1f}"
        )
    return f"| {' | '.join(cells)} |"


def between_widths(tables: Mapping[int, Table]) -> str:
    """How many steps of 1/16 octave the 8-bit ranges end below the 16-bit ones: a count each."""
    forms = {bits: number_format(bits) for bits in tables}
    ratio = forms[16].steps // forms[8].steps
    apart = Counter(
        table - (tables[16][name] + forms[16].top) // ratio + forms[8].top
        for name, table in tables[8].items()
    )
    average = sum(k * v for k, v in apart.items()) / sum(apart.values())
    counts = ", ".join(f"{k:+d}: {apart[k]}" for k in sorted(apart))
    return f"{average:+.2f} ({counts})"


def main() -> None:
    """Print both tables as Markdown."""
    data = os.environ.get("NNIE_TEST_DATA")
    if not data:
        sys.exit("compiled networks and pictures are test data: set NNIE_TEST_DATA")
    models = Path(data) / "models" / "retinaface_mnet025"
    net = read_net(models / "mnet_hand_rewritten.prototxt", models / "mnet.caffemodel")
    held = {bits: stored(net, bits, models) for bits in FILES}
    nets = {bits: x[0] for bits, x in held.items()}
    truth = {bits: x[1] for bits, x in held.items()}
    blobs = pictures(Path(data) / "images")
    found = rules(nets, truth, blobs)
    out = [
        f"{len(blobs)} pictures, {len(truth[8])} inputs of convolutions; predicted z less stored z "
        "in sixteenths of an octave: median / mean magnitude / p10 / p90",
        "",
        "| rule | 8 bit | 16 bit |",
        "|---|---|---|",
        *(line(name, tables, truth) for name, tables in found.items()),
        "",
        "| ranges | 8 bit less 16 bit, in sixteenths of an octave: mean (each: layers) |",
        "|---|---|",
        f"| the two files | {between_widths(truth)} |",
        *(
            f"| {name} | {between_widths(tables)} |"
            for name, tables in found.items()
            if name.startswith("maximum over the pictures' maxima")
        ),
    ]
    sys.stdout.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
