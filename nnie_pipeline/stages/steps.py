"""What the stages of `nnie run` do."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from nnie_pipeline import files
from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.caffe.templates import render
from nnie_pipeline.calibration.network_input import InputSpec
from nnie_pipeline.calibration.pictures import last_readable
from nnie_pipeline.calibration.sets import load_input, load_inputs, read_set, write_set
from nnie_pipeline.calibration.stored import RawForm
from nnie_pipeline.chips.check import check_files
from nnie_pipeline.compare.dumps import read_dump
from nnie_pipeline.compare.layers import compare
from nnie_pipeline.errors import NotExpressibleError
from nnie_pipeline.mapper.cfg import normalisation
from nnie_pipeline.mapper.folder import write_mapper_folder
from nnie_pipeline.onnx2caffe.load import external_files, load_model
from nnie_pipeline.quant.ranges import Ranges
from nnie_pipeline.quant.widths import WIDTHS
from nnie_pipeline.report.page import write_report
from nnie_pipeline.rewrite.fold_input import Fold
from nnie_pipeline.stages.adopt import adopt_files
from nnie_pipeline.stages.built import SPEC, rewritten_outputs
from nnie_pipeline.stages.convert import REFERENCE, convert_files
from nnie_pipeline.stages.dump import (
    dump_float,
    dump_simulated,
    feeds_of,
    picture_scales,
    record_ranges,
)
from nnie_pipeline.stages.evaluate import RUNS, evaluate
from nnie_pipeline.stages.input_proof import double_normalisation, mean_order, prove_folder
from nnie_pipeline.stages.network_record import write_network_record
from nnie_pipeline.stages.probe import Probe
from nnie_pipeline.stages.rewrite import rewrite_files
from nnie_pipeline.stages.rewrite_options import RewriteOptions
from nnie_pipeline.stages.run import Job, read_verdict
from nnie_pipeline.stages.sizes import write_sizes
from nnie_pipeline.wk.size import said_size
from nnie_pipeline.words import counted
from nnie_pipeline.zoo.fetch import fetch


def _fetch(job: Job) -> str:
    with job.bar("fetching") as progress:
        fetched = fetch(job.spec, job.weights, lambda done, total: progress(done, total or 0))
    # A damaged file is refused before anything is replaced.
    if job.spec.prototxt is not None:
        read_net(job.spec.prototxt, fetched.path, job.size)
    elif not job.spec.is_caffe:
        load_model(fetched.path)
    with files.replaced_folder(job.path("model")) as folder:
        beside = [] if job.spec.is_caffe else external_files(fetched.path)
        if job.spec.is_caffe:
            shutil.copyfile(fetched.path, folder / f"{job.spec.name}.caffemodel")
            _place_prototxt(job, folder / f"{job.spec.name}.prototxt")
        else:
            shutil.copyfile(fetched.path, folder / f"{job.spec.name}.onnx")
        for place in beside:
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(fetched.path.parent / place, folder / place)
        record = {
            "name": job.spec.name,
            "summary": job.spec.summary,
            "origin": fetched.origin,
            "sha256": fetched.sha256,
            "size": fetched.size,
            "licence": fetched.licence,
            "notes": job.spec.notes,
            "beside": beside,
        }
        (folder / "fetch.json").write_text(files.to_json(record), encoding="utf-8")
    return f"{fetched.size:,} bytes from {fetched.origin}; licence: {fetched.licence}"


def _place_prototxt(job: Job, place: Path) -> None:
    """The network of a Caffe model: the user's own file, or its template at this size."""
    if job.spec.prototxt is not None:
        shutil.copyfile(job.spec.prototxt, place)
    elif job.spec.template is not None:
        place.write_text(render(job.spec.template, *job.size), encoding="utf-8")


def _probe(job: Job) -> Probe:
    last = last_readable(job.pictures().pictures)
    return Probe(last.path, last.name, job.input())


def _convert(job: Job) -> str:
    spec = job.spec
    with files.replaced_folder(job.path("convert")) as folder:
        if spec.is_caffe:
            done = adopt_files(
                *job.net_files("model"), spec.name, folder, job.size, spec.outputs, _probe(job),
                job.engine,
            )  # fmt: skip
        else:
            done = convert_files(
                job.path("model", f"{spec.name}.onnx"), spec.name, folder, job.size,
                spec.outputs or None, _probe(job), True, job.engine,
            )  # fmt: skip
        (folder / SPEC).write_text(files.to_json(spec.model_dump(mode="json")), encoding="utf-8")
    for line in done.lines():
        job.say(line)
    return (
        f"{done.layers} Caffe layers, {len(done.outputs)} outputs equal to onnxruntime's within "
        f"{max(done.errors.values()):.1e} of their maximum on {done.picture}"
    )


def _rewrite(job: Job) -> str:
    with files.replaced_folder(job.path("rewrite")) as folder:
        done = rewrite_files(
            *job.net_files("convert"), job.spec.name, folder,
            job.size if job.spec.is_caffe else None, _probe(job), job.skip,
            outputs=job.spec.outputs if job.spec.is_caffe else _converted_outputs(job),
            engine=job.engine, options=_options(job.input(), job.mean_in_network),
        )  # fmt: skip
        # What stays has to be said by the cfg.
        if done.input is not None:
            normalisation(done.input.mean, done.input.scale)
    given = read_net(*job.net_files("convert"))
    if twice := double_normalisation(given, job.input().mean, job.input().scale):
        job.say(twice)
    changed = [f"{x.name} {len(x.changed)}" for x in done.passes if x.changed]
    worst = max((x.difference for x in done.passes), default=0.0)
    return f"{', '.join(changed) or 'nothing to change'}; largest difference {worst:.1e}"


def _options(wanted: InputSpec, mean_in_network: bool) -> RewriteOptions:
    """Only what no cfg can say goes into the first layer, a scale a channel; or all of it."""
    fold: Fold = "network" if mean_in_network else "none"
    try:
        normalisation(wanted.mean, wanted.scale)
    except NotExpressibleError:
        fold = "network" if mean_in_network else "scale"
    return RewriteOptions(mean=wanted.mean, scale=wanted.scale, fold=fold)


def _rewritten_input(job: Job) -> InputSpec:
    """How the rewritten network takes pixels: what stays of the spec's mean and scale."""
    left = files.read_json(job.path("rewrite", "rewrite.json"), "the record of rewrite")["input"]
    return replace(job.input(), mean=tuple(left["mean"]), scale=tuple(left["scale"]))


def _converted_outputs(job: Job) -> list[str]:
    record = files.read_json(job.path("convert", "convert.json"), "the record of convert")
    return list(dict.fromkeys(str(x["caffe"]) for x in record["outputs"]))


def _check(job: Job) -> str:
    prototxt, caffemodel = job.net_files("rewrite")
    findings = check_files(prototxt, caffemodel, job.chip)
    record = {"chip": job.chip, "findings": [x.to_dict() for x in findings]}
    with files.replaced_folder(job.path("check")) as folder:
        (folder / "check.json").write_text(files.to_json(record), encoding="utf-8")
        write_sizes(read_net(prototxt), job.spec.head, job.chip, folder)
    counts = [
        f"{sum(x.severity == kind for x in findings)} {kind}s"
        for kind in ("error", "warning", "hint")
    ]
    return f"{', '.join(counts)} for {job.chip}"


def _calibrate(job: Job) -> str:
    found = job.pictures()
    with job.bar("pictures") as progress:
        result = write_set(
            found.pictures, _rewritten_input(job), job.size, job.path("calibration"),
            allow_gray=job.allow_gray, progress=progress, choice=found.choice,
            dropped=found.dropped, raw=RawForm(yuv=job.yuv), unproven=job.unproven,
        )  # fmt: skip
    for left_out in result.dropped:
        job.say(f"picture {left_out.source} is left out: {left_out.reason}")
    for x in result.useless if result.choice is None else ():
        job.say(f"warning: picture {x.source} is {x.reason}; --count leaves such pictures out")
    gray = f", {len(result.gray)} gray" if result.gray else ""
    if result.yuv is not None and result.yuv_error is not None:
        gray += f", {result.yuv.said} (off by {result.yuv_error.mean:.2f} of 255 in the mean)"
    number = counted(len(result.pictures), "picture")
    return f"{number}, {result.input.geometry}, {result.input.colour}{gray}"


def _cfg(job: Job) -> str:
    result = write_mapper_folder(
        *job.net_files("rewrite"), job.path("calibration"), job.path("mapper"), job.spec.name,
        chip=job.chip,
    )  # fmt: skip
    proof = prove_folder(
        job.path("mapper"), result.runs, job.size, _rewritten_input(job), job.input(), job.unproven
    )
    for line in mean_order(_rewritten_input(job)):
        job.say(line)
    size = said_size(read_net(*job.net_files("rewrite")))
    return f"{', '.join(f'{x}.cfg' for x in result.runs)}; {proof}; {size}"


def _dump(job: Job) -> str:
    net = read_net(*job.net_files("rewrite"))
    feed = next(feeds_of(net, [load_input(job.path("calibration"), -1)]))
    with files.replaced_folder(job.path("dump")) as folder:
        dump_float(net, feed, folder, job.engine)
    return f"every layer of the float network on {_last_picture(job)}"


def _last_picture(job: Job) -> str:
    return read_set(job.path("calibration")).pictures[-1].source


def _simulate(job: Job) -> str:
    net = read_net(*job.net_files("rewrite"))
    calibration = job.path("calibration")
    count = len(read_set(calibration).pictures)
    with job.bar("ranges") as progress:
        ranges = record_ranges(
            net, feeds_of(net, load_inputs(calibration)), lambda done: progress(done, count),
            job.engine, picture_scales(net, read_set(calibration).input.scale),
        )  # fmt: skip
    feed = next(feeds_of(net, [load_input(calibration, -1)]))
    with files.replaced_folder(job.path("simulate")) as folder:
        (folder / "ranges.json").write_text(files.to_json(ranges.to_json()), encoding="utf-8")
        for bits in WIDTHS:
            (folder / str(bits)).mkdir()
            dump_simulated(net, feed, bits, ranges, folder / str(bits))
    return f"8 and 16 bit, ranges from {counted(ranges.pictures, 'picture')}"


def _compare(job: Job) -> str:
    left = read_dump(job.path("dump"))
    net = read_net(*job.net_files("rewrite"))
    feed = next(feeds_of(net, [load_input(job.path("calibration"), -1)]))
    lines = []
    with files.replaced_folder(job.path("compare")) as folder:
        eight = read_dump(job.path("simulate", str(WIDTHS[0])))
        write_network_record(net, feed, left, eight, _ranges(job), folder)
        for bits in WIDTHS:
            found = compare(left, read_dump(job.path("simulate", str(bits))))
            (folder / f"{bits}.json").write_text(files.to_json(found.to_json()), encoding="utf-8")
            below = sum(x.cosine < found.threshold for x in found.layers)
            worst = found.worst
            assert worst is not None
            lines.append(
                f"{bits} bit: {below} of {len(found.layers)} layers under {found.threshold}, "
                f"worst {math.floor(worst.cosine * 1e4) / 1e4:.4f} ({worst.name})"
            )
    return "; ".join(lines)


def _ranges(job: Job) -> Ranges:
    path = job.path("simulate", "ranges.json")
    return Ranges.from_json(files.read_json(path, "ranges"), str(path))


def _evaluate(job: Job) -> str:
    head = job.head()
    if head is None or job.spec.head is None:
        with files.replaced_folder(job.path("evaluate")):
            pass
        return "the spec names no head: its outputs are not decoded"
    net = read_net(*job.net_files("rewrite"))
    with files.replaced_folder(job.path("evaluate")) as folder, job.bar("pictures") as progress:
        result = evaluate(
            job.path("convert", REFERENCE), net, rewritten_outputs(job.folder), _ranges(job),
            job.path("calibration"), head, job.spec.head.judged, folder, progress,
            job.engine, job.input(),
        )  # fmt: skip
    return evaluation_line(result)


def evaluation_line(result: dict[str, Any]) -> str:
    """What evaluate found, in one line."""
    bars = [*result["bars"], *result["cosine_bars"]]
    failed = sum(not x["passed"] for x in bars)
    state = "all bars hold" if result["passed"] else f"{failed} bars missed"
    embeddings = [x["cosines"] for x in result["embeddings"]]
    if embeddings:
        least = {run: min(x[run] for x in embeddings) for run in RUNS}
        return (
            f"{len(embeddings)} embeddings, least cosine with the original: "
            f"float {least['float']:.5f}, 16 bit {least['16']:.4f}, 8 bit {least['8']:.4f}; {state}"
        )
    single = [x["differences"] for x in result["pictures"] if x["judged"]]
    if not single:
        return "on no picture exactly one thing is found: nothing is judged"
    said = [f"{name} {_moved([x[run] for x in single])}" for run, name in _RUN_NAMES.items()]
    return f"{len(single)} pictures of one thing: {', '.join(said)}; {state}"


_RUN_NAMES = {"float": "float against the original", "16": "16 bit against float", "8": "8 bit"}


def _moved(differences: list[dict[str, Any]]) -> str:
    """How far things moved at most, and how many were lost or came up."""
    kinds = ("box_pixels", "landmark_pixels")
    pixels = [x[kind] for x in differences for kind in kinds if x[kind] is not None]
    said = [f"{max(pixels):.2f} px"] if pixels else []
    for kind in ("lost", "new"):
        count = sum(x[kind] for x in differences)
        said += [f"{count} {kind}"] if count else []
    return " ".join(said)


def _report(job: Job) -> str:
    found = read_verdict(job.folder, job.language)
    write_report(job.folder, found.status, found.reasons, job.language)
    return str(job.path("report.html"))


STEPS: dict[str, Callable[[Job], str]] = {
    "fetch": _fetch,
    "convert": _convert,
    "rewrite": _rewrite,
    "check": _check,
    "calibrate": _calibrate,
    "cfg": _cfg,
    "dump": _dump,
    "simulate": _simulate,
    "compare": _compare,
    "evaluate": _evaluate,
    "report": _report,
}
"""What each stage of `stages.run.STAGES` does: writes its files, gives one line about it."""
