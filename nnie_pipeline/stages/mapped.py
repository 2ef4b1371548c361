"""What nnie map leaves of a run of the mapper, and whether it is still current."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path

from nnie_pipeline import files
from nnie_pipeline.errors import InputError
from nnie_pipeline.mapper.cfg import Cfg, read_cfg
from nnie_pipeline.mapper.cfg_files import named_paths
from nnie_pipeline.mapper.messages import Explanation
from nnie_pipeline.mapper.program import Program

FOLDER = "mapped"
RECORD = "map.json"
LOG = "mapper.log"
_DUMPS = ("mapper_quant", "compiler_quant")


@dataclass(frozen=True)
class Mapped:
    """How one run ended: `wk` and `dump` are None where there is none.

    `messages` explain the log; those with severity "error" tell why it failed. A run that is `ok`
    can have some too: the mapper ended well and wrote its .wk, but errors stand in its log.
    """

    run: str
    ok: bool
    folder: Path
    log: Path
    wk: Path | None
    dump: Path | None
    seconds: float
    messages: tuple[Explanation, ...] = ()

    def errors(self) -> list[Explanation]:
        """The errors that its log tells."""
        return [x for x in self.messages if x.severity == "error"]

    def failure(self) -> str:
        """Why the run failed, in a line."""
        first = next(iter(self.errors()), None)
        if first is None:
            return f"{self.run} failed; its log: {self.log}"
        return f"{self.run} failed: {first.cause}; {first.fix}; its log: {self.log}"

    def doubt(self) -> str:
        """Why a run that is `ok` is not to be trusted, in a line; empty if nothing says so."""
        found = self.errors()
        if not found:
            return ""
        return (
            f"{self.run}: the mapper ended with status 0 and its results are in {self.folder}, but "
            f"its log has errors: {found[0].cause}; {found[0].fix}; its log: {self.log}"
        )


def read_mapped(folder: Path) -> Mapped:
    """The results of the run that `folder` is called after.

    Raises:
        InputError: there are none, or they are damaged.
    """
    run = folder.name
    record = files.read_json(folder / RECORD, "the record of nnie map")
    try:
        messages = tuple(Explanation(**x) for x in record["messages"])
        seconds, has_wk = float(record["seconds"]), record["wk"] is not None
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / RECORD} is damaged ({error}); run nnie map again") from error
    dump = next((folder / x for x in _DUMPS if (folder / x).is_dir()), None)
    wk = folder / f"{run}.wk" if has_wk else None
    return Mapped(run, True, folder, folder / LOG, wk, dump, seconds, messages)


def current(path: Path, out: Path, program: Program) -> Mapped | None:
    """The results of an earlier run of the cfg file `path`, if all that went in is unchanged."""
    folder = out / path.stem
    if not (folder / RECORD).is_file():
        return None
    record = files.read_json(folder / RECORD, "the record of nnie map")
    if record.get("key") != key_of_run(path, read_file(path), program):
        return None
    found = read_mapped(folder)
    return found if found.wk is None or found.wk.is_file() else None


def key_of_run(path: Path, cfg: Cfg, program: Program) -> str:
    """A hash of all that the result depends on: the mapper, the cfg and every file it names."""
    digest = hashlib.sha256(f"{program}\n".encode())
    if program.path is not None:
        digest.update(f"{program.path.stat().st_mtime_ns}".encode())
    home = path.resolve().parent
    for place in (path, *(home / x for x in named_paths(home, cfg))):
        digest.update(f"{place}\n".encode())
        with contextlib.suppress(OSError), place.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def read_file(path: Path) -> Cfg:
    """The cfg file at `path`.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return read_cfg(path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; give a cfg file") from error
