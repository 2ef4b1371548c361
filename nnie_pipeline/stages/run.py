"""run: all stages in order, each only if it is not up to date."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnie_pipeline import files
from nnie_pipeline.stages.earlier import kept, put_back
from nnie_pipeline.stages.state import RECORD, State, file_key, folder_key, key_of, program_key
from nnie_pipeline.stages.verdict import Verdict, verdict
from nnie_pipeline.zoo.spec import Spec

if TYPE_CHECKING:
    from nnie_pipeline.calibration.network_input import InputSpec
    from nnie_pipeline.calibration.sources import Source
    from nnie_pipeline.calibration.yuv import YuvForm

Bar = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
Say = Callable[[str], None]


@dataclass
class Job:
    """One run: the model, its fixed size (height, width), the pictures, and where to build.

    `say` prints a line, `bar` shows a progress bar. What costs time to import or to fetch is
    a function, called when a stage needs it. `skip` names passes that are left out, `language`
    is the report's. With `mean_in_network` the cfg has no mean. `asked` is how many pictures to
    choose (None: all) and every how many frames of a video; `yuv` is how the board feeds
    YVU420SP, None: U8 planes; `unproven` is why `input` may not be the model's own (empty: it is).
    Stage results are files in `folder`.
    """

    spec: Spec
    input: Callable[[], InputSpec]
    size: tuple[int, int]
    folder: Path
    chip: str
    weights: Path | None
    images: Path | None
    pictures: Callable[[], Source]
    head: Callable[[], Any]
    say: Say
    bar: Bar
    allow_gray: bool = False
    engine: str = "onnxruntime"
    skip: tuple[str, ...] = ()
    language: str = "en"
    mean_in_network: bool = False
    asked: tuple[int | None, int] = (None, 25)
    yuv: YuvForm | None = None
    unproven: str = ""

    def path(self, *parts: str) -> Path:
        """A place in the build folder."""
        return self.folder.joinpath(*parts)

    def net_files(self, stage: str) -> tuple[Path, Path]:
        """Prototxt and caffemodel that `stage` wrote."""
        name = self.spec.name
        return self.path(stage, f"{name}.prototxt"), self.path(stage, f"{name}.caffemodel")


STAGES: tuple[tuple[str, str], ...] = (
    ("fetch", "model"),
    ("convert", "convert"),
    ("rewrite", "rewrite"),
    ("check", "check"),
    ("calibrate", "calibration"),
    ("cfg", "mapper"),
    ("dump", "dump"),
    ("simulate", "simulate"),
    ("compare", "compare"),
    ("evaluate", "evaluate"),
    ("report", "report.html"),
)
"""Each stage and what it leaves in the build folder; `stages.steps` has their functions."""


def run_all(job: Job) -> tuple[Verdict, bool]:
    """Run the stages that are not up to date; the verdict, and whether anything was done.

    A build that was complete stays as it was until all stages are done; one that was not is
    continued.

    Raises:
        InputError: another run is at work in the folder, or it cannot be written.
    """
    with files.locked(job.folder):
        put_back(job.folder)
        state = State(job.folder)
        complete = all(state.has(stage) for stage, _ in STAGES)
        with kept(job.folder, RECORD) as keep:
            worked = _run(job, state, keep if complete else lambda _: None)
        return read_verdict(job.folder), worked


def _run(job: Job, state: State, keep: Callable[[str], None]) -> bool:
    enters: dict[str, tuple[Any, ...]] = {
        "fetch": (program_key(), job.spec.source.model_dump(mode="json"), *_weights_keys(job)),
        "convert": (job.spec.model_dump(mode="json"), job.size, _images_key(job), job.engine),
        "rewrite": (*job.skip, *(["mean in network"] if job.mean_in_network else [])),
        "check": (job.chip,),
        "calibrate": () if job.yuv is None else (job.yuv.matrix, job.yuv.range),
        "report": (job.language,),
    }
    key = ""
    worked = False
    for number, (stage, place) in enumerate(STAGES, 1):
        key = key_of(stage, key, *enters.get(stage, ()))
        if not worked and state.is_current(stage, key):
            continue
        if not worked and number > 1:
            done = "stage 1 is" if number == 2 else f"stages 1 to {number - 1} are"
            job.say(f"{done} up to date")
        worked = True
        started = time.perf_counter()
        # Here, so that a run with nothing to do does not import the engines.
        from nnie_pipeline.stages.steps import STEPS

        keep(place)
        line = STEPS[stage](job)
        state.record(stage, key, _written(job.path(place)))
        seconds = time.perf_counter() - started
        job.say(f"{number:2}/{len(STAGES)} {stage:<10} {line} ({seconds:.1f} s)")
    return worked


def read_verdict(folder: Path, language: str = "en") -> Verdict:
    """The verdict on the build in `folder`, with reasons in `language`."""
    findings = files.read_json(folder / "check" / "check.json", "the findings")["findings"]
    evaluation = folder / "evaluate" / "evaluate.json"
    found = files.read_json(evaluation, "the evaluation") if evaluation.exists() else None
    return verdict(findings, found, language)


def _written(place: Path) -> list[Path]:
    """The files of a stage; what the user's mapper leaves beside the cfg files is not ours."""
    inside = sorted(place.rglob("*")) if place.is_dir() else [place]
    return [x for x in inside if x.is_file() and x.suffix != ".wk"]


def _weights_keys(job: Job) -> list[str]:
    """Keys of the user's own files of the model, and of those that lie beside them."""
    keys = []
    for path in (job.weights, getattr(job.spec.source, "path", None), job.spec.prototxt):
        if isinstance(path, Path) and path.is_file():
            from nnie_pipeline.onnx2caffe.load import external_files

            beside = [] if job.spec.is_caffe else [path.parent / x for x in external_files(path)]
            keys += [file_key(x) for x in (path, *beside) if x.is_file()]
        keys.append("")
    return keys


def _images_key(job: Job) -> str:
    from nnie_pipeline.calibration.sources import files_of

    count, every = job.asked
    asked = "" if count is None else f" {count} every {every}"
    if job.images is None:
        return f"default pictures{asked}"
    return folder_key(files_of(job.images)) + asked
