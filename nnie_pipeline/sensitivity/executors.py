"""Where tasks run: in this process, in several, or on a Dask cluster."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from typing import TypeVar

from nnie_pipeline.errors import InputError

T = TypeVar("T")
R = TypeVar("R")

_CONNECT_SECONDS = 20


@contextlib.contextmanager
def processes(jobs: int) -> Iterator[tuple[Executor, int] | None]:
    """`jobs` processes of this machine and their number; None for one, which needs no other.

    Raises:
        InputError: `jobs` is not 1 to 256.
    """
    if not 1 <= jobs <= 256:
        raise InputError(f"--jobs {jobs}: use 1 to 256 processes")
    if jobs == 1:
        yield None
        return
    # Not forked: threads of onnxruntime would be missing in the child.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        try:
            yield pool, jobs
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextlib.contextmanager
def cluster(address: str) -> Iterator[tuple[Executor, int]]:
    """The workers of the Dask scheduler at `address` and their number.

    Its workers need nnie-pipeline installed in the same version.

    Raises:
        InputError: dask.distributed is not installed, no scheduler answers, or it has no worker.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError(
            "--scheduler needs dask.distributed; install nnie-pipeline[dask] or use --jobs"
        ) from error
    try:
        client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(
            f"no Dask scheduler answers at {address} ({type(error).__name__}); start one with "
            "dask scheduler, or use --jobs"
        ) from error
    try:
        workers = len(client.scheduler_info(n_workers=-1)["workers"])
        if not workers:
            raise InputError(f"the Dask scheduler at {address} has no worker; start dask worker")
        # Not pure: two tasks may look alike and still have to run where they are sent.
        yield client.get_executor(pure=False), workers
    except Exception as error:
        if type(error).__module__.startswith("distributed") or isinstance(error, ImportError):
            raise InputError(
                f"the workers of {address} could not do the work ({type(error).__name__}); they "
                "need nnie-pipeline in this version, and memory for the network"
            ) from error
        raise
    finally:
        client.close()


def results(
    function: Callable[[T], R], tasks: Iterable[T], place: tuple[Executor, int] | None
) -> Iterator[R]:
    """`function` of each task, in order; at most two a worker are under way.

    Raises:
        InputError: a process or worker died.
    """
    if place is None:
        yield from map(function, tasks)
        return
    executor, workers = place
    waiting: deque[Future[R]] = deque()
    try:
        for task in tasks:
            waiting.append(executor.submit(function, task))
            if len(waiting) >= 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenExecutor as error:
        raise InputError(
            "a process that worked on the study died, most likely for want of memory; use fewer "
            "--jobs"
        ) from error
    finally:
        for future in waiting:
            future.cancel()
