"""A progress bar for downloads that take longer than a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nnie_pipeline.cli.common import console

_SECONDS = 1.0


@contextmanager
def download_bar(text: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show `text` and a bar of bytes; call what it yields with (bytes done, bytes in all).

    Nothing is shown in the first second or where standard output is no terminal, and nothing
    stays.
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    place = console()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    bar = Progress(*columns, console=place, transient=True, disable=not place.is_terminal)
    task = bar.add_task(text, total=None)
    start = time.monotonic()

    def progress(done: int, total: int | None) -> None:
        bar.update(task, completed=done, total=total)
        if time.monotonic() - start > _SECONDS and not bar.live.is_started:
            bar.start()

    try:
        yield progress
    finally:
        bar.stop()
