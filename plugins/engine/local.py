"""Run batch jobs in threads of this process; a job's real work is a child process or a network call."""

from __future__ import annotations

import operator
import queue
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from kagg import Exit, KaggError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kagg import Context

PLUGIN = {"api": 1, "summary": "threads on this machine", "requires": {}}

STOP_GRACE_S = 8.0  # jobs under way get this long to end their children once nobody waits for them
POLL_S = 0.5  # Windows cannot interrupt an endless wait
_END = object()

Job = TypeVar("Job")
JobResult = TypeVar("JobResult")


def run(jobs: Iterable[Job], do: Callable[[Job], JobResult], ctx: Context, *, parallel: int) -> Iterator[JobResult]:
    """Do at most `parallel` jobs at once and yield the results as they finish.

    A job is taken when a thread is free for it. Closing the iterator starts no more jobs and waits STOP_GRACE_S for
    those under way; their threads do not keep the program alive. What `do` or `jobs` raises is raised here: `do` is
    expected to turn a failed job into a result.

    Raises:
        KaggError: USAGE when `parallel` is below 1.
    """
    if parallel < 1:
        raise KaggError(f"--parallel {parallel} is below 1", code=Exit.USAGE, hint="1 does one job after the other")
    return _results(iter(jobs), do, ctx, min(parallel, operator.length_hint(jobs, parallel)))


def _results(todo: Iterator[Job], do: Callable[[Job], JobResult], ctx: Context, threads: int) -> Iterator[JobResult]:
    finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
    turn, stop = threading.Lock(), threading.Event()
    arguments = (todo, do, finished, turn, stop)
    crew = [threading.Thread(target=_work, args=arguments, daemon=True) for _ in range(threads)]
    for thread in crew:
        thread.start()
    try:
        working = threads
        while working:
            try:
                kind, value = finished.get(timeout=POLL_S)
            except queue.Empty:
                continue
            if kind is _END:
                working -= 1
            elif kind is BaseException:
                raise value
            else:
                yield value
    finally:
        stop.set()
        deadline_s = ctx.monotonic() + STOP_GRACE_S
        for thread in crew:
            thread.join(max(0.0, deadline_s - ctx.monotonic()))


def _work(
    todo: Iterator[Job],
    do: Callable[[Job], JobResult],
    finished: queue.SimpleQueue[Any],
    turn: threading.Lock,
    stop: threading.Event,
) -> None:
    """Take jobs until there are none; one iterator serves all threads, so they take turns."""
    try:
        while True:
            with turn:
                job: Any = _END if stop.is_set() else next(todo, _END)
            if job is _END:
                break
            finished.put((None, do(job)))
    except BaseException as error:  # noqa: BLE001 - nothing is swallowed: the thread that waits raises it
        finished.put((BaseException, error))
    finally:
        finished.put((_END, None))
