"""Make the local Kaggle fail on purpose, the way the real one does."""

from __future__ import annotations

import fnmatch
import threading
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

FOREVER = None

KINDS = {
    "status": "answer `status` (503) with `body` kaggle|google|html|empty, `message`, `retry_after` (s or a date)",
    "latency": "wait `ms` before answering",
    "stall": "hold the socket for `seconds`, then close it without an answer",
    "reset": "reset the connection before processing",
    "lost_reply": "process, then close without an answer",
    "bad_json": "process, then answer half of a JSON document",
    "null_list": "process, then answer null for every list",
    "truncate": "storage: announce the whole file and send `bytes` of it (default: half)",
    "corrupt": "storage: flip one byte",
    "slow": "storage: send no more than `rate` (1048576) bytes per second",
    "expire": "storage: answer ExpiredToken as if the signed URL were too old",
    "cut_log": "end a log stream after `events` events or `seconds` without END_OF_LOG; `abrupt`: no final chunk",
    "no_end_of_log": "end a log stream with its session, or `hold` seconds later, without END_OF_LOG",
    "split_log": "send a log stream in chunks of `bytes` (1), through the middle of characters",
    "log_late": "keep the stored log empty for `seconds` (60) after the session's end",
    "hostile_names": "add `names` (default ../ and absolute ones) to an output listing",
    "previous_files": "list the output of the version before, or of another kernel: `of` owner/slug[/vN], or `files` "
    "{name: text}; `only` some names",
    "not_readable": "403 for `seconds` after a kernel or dataset is first created",
    "slots_full": "refuse a push as if every session were taken, with `message`; `store` keeps its source all the same",
    "quota_exhausted": "refuse a push for GPU or TPU as if the week's hours were used up, with `message`",
    "wrong_device": "give a session the device `accelerator` (default: none) instead of the one it asked for",
    "out_of_memory": "end a session as if it had used too much memory, see below",
    "time_limit": "end a session as if its time were up, see below",
    "killed": "let a session die: ERROR without a message, and no outputs; see below",
}


class Fault(NamedTuple):
    """One thing to go wrong.

    `kind` is a key of KINDS; `match` a shell pattern over "service/Method", "storage/GET/name" or "owner/slug".
    """

    kind: str
    match: str
    options: dict[str, Any]

    def get(self, option: str, default: Any) -> Any:
        """Return an option or `default`."""
        return self.options.get(option, default)


@dataclass
class _Waiting:
    """A fault, how often it is still to happen, and with `for_seconds` until when (monotonic; None: not begun)."""

    fault: Fault
    times: int | None
    until_s: float | None = None


class Faults:
    """The faults that are waiting to happen, oldest first. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []

    def add(self, kind: str, match: str = "*", times: int | None = 1, **options: Any) -> None:
        """Let `kind` happen to the next `times` calls that match (None: until `clear`).

        With the option `for_seconds` it happens to every call that matches from the first one on for so long.

        Raises:
            ValueError: an unknown kind, or a number that is none.
        """
        if kind not in KINDS:
            raise ValueError(f"unknown fault {kind!r}; known: {', '.join(KINDS)}")
        if times is not None and (type(times) is not int or times < 1):
            raise ValueError(f"times is {times!r}; write a whole number from 1, or null for every time")
        lasts_s = options.get("for_seconds", 0)
        if not (type(lasts_s) in (int, float) and type(match) is str):
            raise ValueError("match must be text and for_seconds a number")
        with self._lock:
            self._waiting.append(_Waiting(Fault(kind, match, options), times))

    def clear(self) -> None:
        """Forget every fault."""
        with self._lock:
            self._waiting.clear()

    def take(self, kind: str, name: str) -> Fault | None:
        """Return the oldest waiting fault of this kind whose pattern matches `name`, and use it up once."""
        with self._lock:
            self._forget_the_over()
            for waiting in self._waiting:
                if waiting.fault.kind == kind and fnmatch.fnmatchcase(name, waiting.fault.match):
                    self._use(waiting)
                    return waiting.fault
        return None

    def _forget_the_over(self) -> None:
        """Drop what lasted for a while; the caller holds the lock."""
        now_s = time.monotonic()
        self._waiting = [one for one in self._waiting if one.until_s is None or now_s < one.until_s]

    def _use(self, waiting: _Waiting) -> None:
        """Count one use; the caller holds the lock."""
        lasts_s = waiting.fault.get("for_seconds", None)
        if lasts_s is not None:
            waiting.until_s = waiting.until_s or time.monotonic() + float(lasts_s)
        elif waiting.times is not FOREVER:
            waiting.times -= 1
            if not waiting.times:
                self._waiting.remove(waiting)

    def waiting(self) -> list[dict[str, Any]]:
        """Describe the faults that have not happened yet."""
        with self._lock:
            self._forget_the_over()
            return [
                {"kind": one.fault.kind, "match": one.fault.match, "times": one.times, **one.fault.options}
                for one in self._waiting
            ]
