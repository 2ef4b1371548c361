"""map: HiSilicon's nnie_mapper run on the cfg files of a folder, its results collected."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnie_pipeline import files
from nnie_pipeline.errors import CheckError, InputError
from nnie_pipeline.mapper.cfg import Cfg
from nnie_pipeline.mapper.cfg_files import named_paths
from nnie_pipeline.mapper.messages import (
    Edge,
    Version,
    explain_end,
    follow,
    stage_of,
    version_of,
)
from nnie_pipeline.mapper.program import Program
from nnie_pipeline.mapper.running import run_program, work_folder
from nnie_pipeline.stages.mapped import LOG, RECORD, Mapped, key_of_run, read_file, read_mapped
from nnie_pipeline.stages.mapped_log import messages_of, with_last_words
from nnie_pipeline.stages.mapped_wk import OTHER_NETWORK, found_wk, wk_problem

Tell = Callable[[str], None]


@dataclass
class _Progress:
    """What the mapper has said so far."""

    tell: Tell
    expected: str | None
    started: float = field(default_factory=time.monotonic)
    last: Edge | None = None
    began: float = 0.0
    stages: list[dict[str, Any]] = field(default_factory=list)
    version: Version | None = None

    def said(self, line: str) -> None:
        """Take in one line of its output.

        Raises:
            CheckError: it is the mapper of another NNIE generation.
        """
        if self.version is None and (found := version_of(line)) is not None:
            self.version = found
            self.tell(f"mapper {found.text}{f', NNIE {found.nnie}' if found.nnie else ''}")
            if found.nnie and self.expected and found.nnie != self.expected:
                raise CheckError(
                    f"this is the mapper of NNIE {found.nnie}, the chip has NNIE {self.expected}; "
                    "its .wk would not run there (arch_version): name the other mapper, or "
                    "another --chip"
                )
        edge = stage_of(line)
        if edge is None:
            return
        now = time.monotonic()
        before, self.last = self.last, follow(self.last, edge)
        if edge[0] == "begin":
            self.began = now
            self.tell(f"{edge[1]} ...")
        elif before is not None and before[0] == "begin":
            self.stages.append({"name": before[1], "seconds": round(now - self.began, 3)})


def cfg_files(place: Path, wanted: Sequence[str]) -> list[Path]:
    """The cfg files of `place`, those for the functional simulation first.

    `place` is a cfg file, a folder of them, or one with such a folder `mapper` in it (a build);
    `wanted` picks runs by their names or the ends of these (func_8bit).

    Raises:
        InputError: none is there, or none is called so.
    """
    if place.is_file():
        found = [place]
    else:
        folder = place / "mapper" if (place / "mapper").is_dir() else place
        found = sorted(folder.glob("*.cfg"), key=lambda x: ("_func_" not in x.name, x.name))
    if not found:
        raise InputError(
            f"{place}: found no cfg file there; give a cfg file, a folder of nnie cfg or a build "
            "folder of nnie run"
        )
    if wanted:
        picked = [x for x in found if any(x.stem == y or x.stem.endswith(f"_{y}") for y in wanted)]
        for name in wanted:
            if not any(x.stem == name or x.stem.endswith(f"_{name}") for x in picked):
                names = ", ".join(x.stem for x in found)
                raise InputError(f"no run {name} in {place}; there are {names}")
        found = picked
    return found


def map_cfg(
    path: Path,
    out: Path,
    program: Program,
    nnie: str | None,
    tell: Tell,
    longest: float | None = None,
    variables: Mapping[str, str] | None = None,
) -> Mapped:
    """Run the mapper on one cfg file; its results become the folder `out`/RUN.

    .wk, .dot files, dumps and logs of the mapper, mapper.log (all it printed) and map.json. The
    .wk stands beside the cfg file as well. Of a run that fails only the log is kept
    (RUN.failed.log), and a whole .wk of another network (RUN.refused.wk); what an earlier run left
    stays.

    Args:
        path: the cfg file.
        out: where results go.
        program: the mapper.
        nnie: the generation of the chip, where it is known; another mapper is ended at once.
        tell: called with a line for each stage.
        longest: seconds after which the mapper is ended.
        variables: the environment; None is this process's.

    Raises:
        InputError: the cfg cannot be read, or the mapper not be started, or it takes too long.
        CheckError: it is the mapper of another generation.
    """
    cfg = read_file(path)
    run = path.stem
    progress = _Progress(tell, nnie)
    environment = program.environment(os.environ if variables is None else variables)
    container = f"nnie-map-{uuid.uuid4().hex[:12]}"
    stop = () if program.image is None else ("docker", "kill", container)
    _require_place(out)
    key = key_of_run(path, cfg, program)  # of what is read, not of what is there hours later
    with work_folder(path, cfg) as (work, root):
        if program.image is not None:
            _require_seen(path, cfg, root)
        log = work / LOG
        try:
            with log.open("wb", buffering=0) as stream:
                status = run_program(
                    program.command(path.name, work, root, container), work, environment, stream,
                    progress.said, longest, stop,
                )  # fmt: skip
        except BaseException:
            with contextlib.suppress(OSError):
                _keep_failed(log, out, run)
            raise
        with files.writing(out):
            seconds = time.monotonic() - progress.started
            messages = messages_of(work, log)
            made, problem = None, None
            if status != 0:
                problem = explain_end(status, progress.last)
            elif cfg.get("is_check_prototxt") != "1":
                made = found_wk(work, run)
                problem = wk_problem(made, cfg, work)
            if problem is not None and problem.severity == "warning":
                messages.append(problem)
            elif problem is not None:
                errors = [x.id for x in messages if x.severity == "error"]
                problem = with_last_words(problem, log)
                if not errors or (_by_signal(status) and problem.id not in errors):
                    messages.insert(len(errors), problem)
                kept = _keep_failed(log, out, run)
                if made is not None and problem.id == OTHER_NETWORK:
                    shutil.copyfile(made, out / f"{files.TEMPORARY}{run}.wk")
                    (out / f"{files.TEMPORARY}{run}.wk").replace(out / f"{run}.refused.wk")
                return Mapped(run, False, out / run, kept, None, None, seconds, tuple(messages))
            record = {
                "run": run,
                "cfg": path.name,
                "program": str(program),
                "version": progress.version.text if progress.version else None,
                "nnie": progress.version.nnie if progress.version else None,
                "key": key,
                "seconds": round(seconds, 3),
                "stages": progress.stages,
                "messages": [x.to_dict() for x in messages],
                "wk": None if made is None else f"{run}.wk",
                "sha256": None if made is None else hashlib.sha256(made.read_bytes()).hexdigest(),
            }
            (work / RECORD).write_text(files.to_json(record), encoding="utf-8")
            if made is not None:
                made.rename(work / f"{run}.wk")
            with files.replaced_folder(out / run) as target:
                for entry in _results(work, path.name):
                    shutil.move(entry, target / entry.name)
            for name in ("failed.log", "refused.wk"):
                (out / f"{run}.{name}").unlink(missing_ok=True)
            if made is not None:
                _place_beside(path, out / run / f"{run}.wk")
    return read_mapped(out / run)


def _require_place(out: Path) -> None:
    """Make `out`, before a run of hours finds that it cannot be written.

    Raises:
        InputError: it cannot.
    """
    with files.writing(out):
        out.mkdir(parents=True, exist_ok=True)
        if not os.access(out, os.W_OK | os.X_OK):
            raise InputError(f"cannot write into {out}: no permission; choose another folder")


def _require_seen(path: Path, cfg: Cfg, root: Path) -> None:
    """Refuse what a container that is given `root` alone would not find.

    Raises:
        InputError: a file that the cfg names lies elsewhere, or docker cannot take the place.
    """
    if ":" in str(root):
        raise InputError(f"{root}: docker takes no folder with : in its path; rename it")
    home = path.resolve().parent
    for name in named_paths(home, cfg):
        if not (home / name).resolve().is_relative_to(root):
            raise InputError(
                f"{path} names {name}, which is not in {root}, all that the container sees; copy "
                "it there (links lead out of it too), or run the mapper without docker"
            )


def _by_signal(status: int) -> bool:
    """Whether a signal ended the program, or what a shell in front of it started."""
    return status < 0 or status > 128


def _results(work: Path, cfg_name: str) -> list[Path]:
    """What the mapper left: all that is no link to what was there."""
    return [x for x in sorted(work.iterdir()) if not x.is_symlink() and x.name != cfg_name]


def _place_beside(cfg: Path, wk: Path) -> None:
    """Put the finished .wk beside its cfg file too, where a run by hand leaves it."""
    temporary = cfg.with_name(f"{files.TEMPORARY}{wk.name}")
    temporary.unlink(missing_ok=True)
    try:
        os.link(wk, temporary)
    except OSError:
        shutil.copyfile(wk, temporary)
    temporary.replace(cfg.with_name(wk.name))


def _keep_failed(log: Path, out: Path, run: str) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    place = out / f"{run}.failed.log"
    temporary = out / f"{files.TEMPORARY}{run}.failed.log"
    try:
        shutil.copyfile(log, temporary)
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)
    return place
