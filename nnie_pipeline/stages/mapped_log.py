"""What the logs of a run of the mapper say."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from nnie_pipeline.mapper.messages import READ_LOG, Explanation, explain, plain, rank

_LARGEST_LOG = 8 << 20
_LAST = 2000
_ERROR_LOGS = ("mapper_error.log", "compiler_error.log")


def read_log(path: Path) -> str:
    """The text of a log; of one larger than 8 MB both ends, errors stand at the last.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(_LARGEST_LOG // 2)
        rest = path.stat().st_size - len(data)
        if rest > _LARGEST_LOG // 2:
            data += b"\n"
            file.seek(-(_LARGEST_LOG // 2), os.SEEK_END)
        data += file.read(_LARGEST_LOG // 2)
    return data.decode("utf-8", errors="replace")


def messages_of(work: Path, log: Path) -> list[Explanation]:
    """What `log`, and the error logs that the mapper left in `work`, say; errors first."""
    texts = [log, *(work / x for x in _ERROR_LOGS)]
    parts = []
    for path in texts:
        if path.is_file() and not path.is_symlink():
            parts.append(read_log(path))
    found = explain("\n".join(parts[:1]))
    known = {(x.id, x.cause) for x in found}
    more = [x for x in explain("\n".join(parts[1:])) if (x.id, x.cause) not in known]
    return sorted([*found, *more], key=rank)


def with_last_words(problem: Explanation, log: Path) -> Explanation:
    """`problem`; where it only points to the end of the log, with that."""
    if problem.fix != READ_LOG:
        return problem
    lines = [x for x in read_log(log)[-_LAST:].splitlines() if x.strip()]
    last = plain(lines[-1]) if lines else "it is empty"
    return replace(problem, fix=f'{READ_LOG} ("{last}")' if lines else f"{READ_LOG}: {last}")
