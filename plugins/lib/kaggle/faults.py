"""Make the local Kaggle fail on purpose, the way the real one does."""

from __future__ import annotations

import fnmatch
import threading
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
    "expire": "storage: answer ExpiredToken as if the signed URL were too old",
    "cut_log": "end a log stream cleanly after `events` events without END_OF_LOG",
    "hostile_names": "add `names` (default ../ and absolute ones) to an output listing",
    "not_readable": "403 for `seconds` after a kernel or dataset is first created",
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


class Faults:
    """The faults that are waiting to happen, oldest first. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[Fault, int | None]] = []

    def add(self, kind: str, match: str = "*", times: int | None = 1, **options: Any) -> None:
        """Let `kind` happen to the next `times` calls that match (None: until `clear`).

        Raises:
            ValueError: an unknown kind.
        """
        if kind not in KINDS:
            raise ValueError(f"unknown fault {kind!r}; known: {', '.join(KINDS)}")
        with self._lock:
            self._waiting.append((Fault(kind, match, options), times))

    def clear(self) -> None:
        """Forget every fault."""
        with self._lock:
            self._waiting.clear()

    def take(self, kind: str, name: str) -> Fault | None:
        """Return the oldest waiting fault of this kind whose pattern matches `name`, and use it up once."""
        with self._lock:
            for index, (fault, times) in enumerate(self._waiting):
                if fault.kind == kind and fnmatch.fnmatchcase(name, fault.match):
                    self._use(index, fault, times)
                    return fault
        return None

    def _use(self, index: int, fault: Fault, times: int | None) -> None:
        """Count one use; the caller holds the lock."""
        if times is FOREVER:
            return
        if times <= 1:
            del self._waiting[index]
        else:
            self._waiting[index] = (fault, times - 1)

    def waiting(self) -> list[dict[str, Any]]:
        """Describe the faults that have not happened yet."""
        with self._lock:
            return [
                {"kind": fault.kind, "match": fault.match, "times": times, **fault.options}
                for fault, times in self._waiting
            ]
