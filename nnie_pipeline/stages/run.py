"""run: all stages in order, each only if it is not up to date."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnie_pipeline import files
from nnie_pipeline.calibration.network_input import InputSpec
from nnie_pipeline.calibration.pictures import PictureFile
from nnie_pipeline.stages.state import State, file_key, folder_key, key_of, program_key
from nnie_pipeline.stages.verdict import Verdict, verdict
from nnie_pipeline.zoo.spec import Spec

Bar = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
Say = Callable[[str], None]


@dataclass
class Job:
    """One run: the model, its fixed size (height, width), the pictures, and where to build.

    `say` prints a line, `bar` shows a progress bar; `pictures` are read when a stage needs
    them. Stage results that later stages use are files in `folder`.
    """

    spec: Spec
    input: InputSpec
    size: tuple[int, int]
    folder: Path
    chip: str
    weights: Path | None
    images: Path | None
    pictures: Callable[[], list[PictureFile]]
    head: Any
    say: Say
    bar: Bar
    settings: dict[str, Any] = field(default_factory=dict)

    def path(self, *parts: str) -> Path:
        """A place in the build folder."""
        return self.folder.joinpath(*parts)

    def net_files(self, stage: str) -> tuple[Path, Path]:
        """Prototxt and caffemodel that `stage` wrote."""
        name = self.spec.name
        return self.path(stage, f"{name}.prototxt"), self.path(stage, f"{name}.caffemodel")


@dataclass(frozen=True)
class Stage:
    """A stage of `nnie run`: its name, and a function that writes its files into the build
    folder and gives one line about what it did. `writes` names what it leaves there."""

    name: str
    run: Callable[[Job], str]
    writes: tuple[str, ...]


def run_all(job: Job, stages: tuple[Stage, ...]) -> tuple[Verdict, bool]:
    """Run the stages that are not up to date; the verdict, and whether anything was done."""
    state = State(job.folder)
    key = key_of(
        program_key(),
        job.spec.model_dump(mode="json"),
        job.size,
        job.chip,
        str(job.weights and file_key(job.weights)),
        _model_key(job),
        _images_key(job),
    )
    worked = False
    for number, stage in enumerate(stages, 1):
        key = key_of(stage.name, key)
        if not worked and state.is_current(stage.name, key):
            continue
        if not worked and number > 1:
            job.say(f"stages 1 to {number - 1} are up to date")
        worked = True
        started = time.perf_counter()
        line = stage.run(job)
        state.record(stage.name, key, _written(job, stage))
        seconds = time.perf_counter() - started
        job.say(f"{number:2}/{len(stages)} {stage.name:<10} {line} ({seconds:.1f} s)")
    return read_verdict(job.folder), worked


def read_verdict(folder: Path) -> Verdict:
    """The verdict on the build in `folder`."""
    findings = files.read_json(folder / "check" / "check.json", "the findings")["findings"]
    evaluation = folder / "evaluate" / "evaluate.json"
    found = files.read_json(evaluation, "the evaluation") if evaluation.exists() else None
    return verdict(findings, found)


def _written(job: Job, stage: Stage) -> list[Path]:
    result = []
    for name in stage.writes:
        place = job.path(name)
        inside = sorted(place.rglob("*")) if place.is_dir() else [place]
        # What the user's mapper leaves beside the cfg files is not ours.
        result += [x for x in inside if x.is_file() and x.suffix != ".wk"]
    return result


def _model_key(job: Job) -> str:
    path = getattr(job.spec.source, "path", None)
    return file_key(path) if isinstance(path, Path) and path.is_file() else ""


def _images_key(job: Job) -> str:
    if job.images is None:
        return "default pictures"
    return folder_key(x.path for x in job.pictures())
