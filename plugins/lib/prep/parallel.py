"""Do a long list of work in several processes, each a copy of this one, and take their results in order."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import KaggError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MIN_EACH = 64  # below, starting a process costs more than it saves


class _Child(NamedTuple):
    """A process, and the end of the pipe that its results come from."""

    pid: int
    reader: int


def processes(count: int, wanted: int | None) -> int:
    """Return how many processes to use for `count` things: at most `wanted`, by default the CPUs of this process."""
    if not hasattr(os, "fork") or sys.platform == "darwin" or threading.active_count() > 1:
        return 1  # a copy of a process with threads may wait for ever for a lock that one of them held
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(wanted or cpus, count // MIN_EACH))


def spread(work: Sequence[Any], number: int, do: Callable[[Sequence[Any]], Any]) -> Iterator[Any]:
    """Yield `do(part)` for each of `number` contiguous parts of the work, in order; the first is done in this process.

    Raises:
        KaggError: what a part raised; RuntimeError: a process died or had a bug.
    """
    size = -(-len(work) // number)
    parts = [work[begin : begin + size] for begin in range(0, len(work), size)]
    children = [_start(part, do) for part in parts[1:]]
    try:
        yield do(parts[0])
        while children:
            yield _result(children.pop(0))
    finally:
        for child in children:  # after Ctrl-C or an error; files are written whole or not at all
            os.close(child.reader)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)


def _start(part: Sequence[Any], do: Callable[[Sequence[Any]], Any]) -> _Child:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return _Child(pid, reader)
    code = 1
    try:  # the copy: it never returns from here
        os.close(reader)
        answer = _answer(part, do)
        with os.fdopen(writer, "wb") as stream:
            stream.write(answer)
        code = 0
    finally:
        os._exit(code)


def _answer(part: Sequence[Any], do: Callable[[Sequence[Any]], Any]) -> bytes:
    try:
        return pickle.dumps(("done", do(part)))
    except KaggError as error:
        return pickle.dumps(("error", (error.message, error.code, error.hint)))
    except KeyboardInterrupt:  # the process that waits for this one got it as well
        return b""
    except Exception:  # noqa: BLE001 - it is raised again where somebody can report it
        return pickle.dumps(("bug", traceback.format_exc()))


def _result(child: _Child) -> Any:
    """Wait for a process and return what its part gave."""
    try:
        with os.fdopen(child.reader, "rb") as stream:
            answer = stream.read()
    finally:
        os.waitpid(child.pid, 0)
    kind: str
    value: Any
    kind, value = pickle.loads(answer) if answer else ("bug", "a process ended without a result")  # noqa: S301 - our own
    if kind == "error":
        raise KaggError(value[0], code=value[1], hint=value[2])
    if kind == "bug":
        raise RuntimeError(value)
    return value
