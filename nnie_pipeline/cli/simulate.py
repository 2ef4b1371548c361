"""`nnie simulate`: every layer's output in NNIE's number format."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, get_args

import typer

from nnie_pipeline.cli.common import console, existing_file, reported


@reported
def command(
    prototxt: Annotated[Path, typer.Argument(help="the network")],
    caffemodel: Annotated[Path, typer.Argument(help="its weights")],
    out: Annotated[Path, typer.Option(help="folder for the dump")],
    bits: Annotated[
        str | None,
        typer.Option(help="8, 16, or mixed: 16 for layers named *_hp; with --wk the file's"),
    ] = None,
    input_file: Annotated[
        Path | None, typer.Option("--input", help="float32 N x C x H x W .npy, after preprocessing")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="folder of nnie calibrate: ranges from all its pictures, input the last"),
    ] = None,
    ranges: Annotated[
        Path | None, typer.Option(help="ranges.json; without it the input calibrates itself")
    ] = None,
    clip: Annotated[
        float | None, typer.Option(help="ranges that cover this percentile of the values: 99.99")
    ] = None,
    clip_table: Annotated[
        Path | None, typer.Option(help="clip values to import: a gfpq_param_file")
    ] = None,
    assume: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE, see docs/simulation.md; repeatable")
    ] = None,
    wk: Annotated[
        Path | None,
        typer.Option(help="compiled .wk: weights, words and ranges from it, if it is proven"),
    ] = None,
    mode: Annotated[
        str, typer.Option(help="float, or fixed: convolutions in the chip's whole numbers")
    ] = "float",
) -> None:
    """Run the network with NNIE's 8 or 16 bit numbers and dump every blob."""
    from nnie_pipeline.caffe.files import read_net
    from nnie_pipeline.cli.progress import progress_bar
    from nnie_pipeline.errors import InputError
    from nnie_pipeline.files import added_files, read_json, to_json
    from nnie_pipeline.quant.assumptions import parse_assumptions
    from nnie_pipeline.quant.ranges import Ranges
    from nnie_pipeline.quant.simulate import Mode
    from nnie_pipeline.quant.widths import parse_bits
    from nnie_pipeline.quant.words import WordsOf, own_words
    from nnie_pipeline.stages import modes
    from nnie_pipeline.stages.alternatives import FILE, compare_ranges
    from nnie_pipeline.stages.dump import dump_simulated
    from nnie_pipeline.stages.inputs import calibrated, chosen_input
    from nnie_pipeline.stages.simulate_wk import FILE as RANGES_FILE
    from nnie_pipeline.stages.simulate_wk import described, feed_of, proven, range_record
    from nnie_pipeline.wk.numbers import ranges_of_file, words_of_file

    if bits is None and wk is None:
        raise InputError("no number of bits: give --bits 8, 16 or mixed, or --wk FILE.wk")
    if wk is not None and (clip is not None or clip_table is not None or bits == "mixed"):
        raise InputError("--wk has finished ranges of one width: leave --clip and mixed out")
    if mode not in get_args(Mode):
        raise InputError(f"--mode {mode}: there are {' and '.join(get_args(Mode))}")
    chosen: Mode = "fixed" if mode == "fixed" else "float"
    width = None if bits is None else parse_bits(bits)
    switches = parse_assumptions(assume or ())
    if chosen == "float" and "products" in switches.changed():
        raise InputError("--assume products= is of --mode fixed alone: add it, or leave this out")
    if ranges is not None and clip is not None:
        raise InputError("--ranges holds finished ranges; --clip needs pictures: leave one out")
    net = read_net(existing_file(prototxt, "prototxt"), existing_file(caffemodel, "caffemodel"))
    feed = chosen_input(net, input_file, calibration)
    proof = None
    if wk is not None:
        proof, width = proven(
            net, existing_file(wk, ".wk file"), width if isinstance(width, int) else None
        )
        net, feed = proof.net, feed_of(proof.net, feed)
    assert width is not None
    say = partial(console().print, markup=False)
    table = None if clip_table is None else read_json(clip_table, "a clip table")
    if ranges is not None:
        existing_file(ranges, "ranges file")
        given = Ranges.from_json(read_json(ranges, "a ranges file"), str(ranges))
    else:
        given = None
        if calibration is None:
            say("no --ranges given: the input is its own calibration")
    with progress_bar("ranges") as progress:
        choices = calibrated(net, feed, calibration, given, clip, table, str(clip_table), progress)
    keep = [x for x in (input_file, ranges, clip_table, wk) if x is not None]
    words_of: WordsOf = own_words
    used, source = choices[-1], None
    with added_files(out, keep=keep) as folder:
        if wk is not None and proof is not None:
            assert isinstance(width, int)
            used, pairs = ranges_of_file(proof, width, used)
            words_of = words_of_file(proof)
            source = {"weights": wk.name, "z": wk.name, "verdict": proof.verdict}
            record = range_record(wk, proof, width, choices[-1], pairs)
            (folder / RANGES_FILE).write_text(to_json(record), encoding="utf-8")
            say(f"{'' if proof.holds else 'warning: '}{wk.name} {proof.verdict}")
            say(described(record))
        apart = dump_simulated(net, feed, width, used, folder, switches, chosen, words_of, source)
        (folder / "ranges.json").write_text(to_json(used.to_json()), encoding="utf-8")
        if len(choices) > 1:
            compared = compare_ranges(net, feed, choices, width, switches)
            (folder / FILE).write_text(to_json(compared), encoding="utf-8")
            for rule, cosine in compared["outputs"].items():
                say(f"ranges by {rule}: least cosine of the outputs {cosine:.5f}")
    if apart is not None:
        say(modes.described(apart))
    if switches.changed():
        say(f"assumed: {', '.join(f'{k}={v}' for k, v in switches.changed().items())}")
    said = f"{width} bit" if isinstance(width, int) else "8 and 16 bit"
    say(f"{len(net.layers)} layers in {said}, mode {chosen}: {out}")
