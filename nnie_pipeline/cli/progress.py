"""A progress bar for what may take longer than a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nnie_pipeline.cli.common import console


@contextmanager
def progress_bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """Show `text` and a bar while the block runs; call what it yields with (done, all).

    Nothing is shown where standard output is no terminal, and nothing stays.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    place = console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=place, transient=True, disable=not place.is_terminal) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, count: bar.update(task, completed=done, total=count)
