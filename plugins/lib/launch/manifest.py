"""Read what a session says about itself: session_started.json, session_summary.json, and its line in the log.

A kernel's outputs can be anybody's: those of an earlier version, or of a program that writes what it likes. Nothing in
these files is believed before it has the right type and size.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from kagg import Exit, KaggError, decode_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

SUMMARY, STARTED = "session_summary.json", "session_started.json"
MAX_BYTES = 16 * 1024**2  # about 100,000 files in the manifest
MAX_FILES = 100_000
MAX_FILE_BYTES = 1 << 50
MAX_TEXT, MAX_LINES = 4096, 200
STATUSES = ("complete", "error", "timeout", "killed", "setup")
STAGES = ("", "device", "code", "inputs", "requirements")


class _BadError(Exception):
    """A value that is not what it must be."""


def _refused(name: str, why: str) -> KaggError:
    return KaggError(f"{name}: {why}", code=Exit.INTEGRITY, hint="these results are not used")


def _document(content: bytes, name: str, run_id: str) -> dict[str, Any]:
    """Return the object in `content` when it is of version 1 and of this run."""
    try:
        found = decode_json(content)
    except ValueError as error:  # also an integer of more than 4300 digits
        raise _refused(name, f"it is not JSON ({error!s:.100})") from error
    if not isinstance(found, dict):
        raise _refused(name, "it is no JSON object")
    if found.get("run_id") != run_id:
        raise _refused(name, f"it is of the run {str(found.get('run_id'))[:80]!r}, not of {run_id}")
    if found.get("version") != 1 or isinstance(found.get("version"), bool):
        raise _refused(name, f"it has version {str(found.get('version'))[:20]!r}; this kagg knows version 1")
    return found


def read_started(content: bytes, run_id: str) -> dict[str, Any]:
    """Return {"run_id", "started"} of session_started.json.

    Raises:
        KaggError: INTEGRITY when it is not of this run, or malformed.
    """
    found = _document(content, STARTED, run_id)
    started = found.get("started")
    return {"run_id": run_id, "started": started[:MAX_TEXT] if isinstance(started, str) else ""}


def read_summary(content: bytes, run_id: str) -> dict[str, Any]:
    """Return the checked fields of session_summary.json; fields that are not known are left out.

    The paths of "manifest" have still to pass `safe_path`.

    Raises:
        KaggError: INTEGRITY when it is not of this run, or malformed; it says which.
    """
    found = _document(content, SUMMARY, run_id)
    checked: dict[str, Any] = {"version": 1, "run_id": run_id}
    for key, check in _FIELDS.items():
        try:
            checked[key] = check(found.get(key))
        except _BadError as error:
            raise _refused(SUMMARY, f"{key} {error}") from error
    if checked["status"] == "complete" and checked["exit_code"] != 0:
        raise _refused(SUMMARY, f"status {checked['status']} does not go with exit code {checked['exit_code']}")
    return checked


# ---------------------------------------------------------------- fields


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _BadError("is no text")
    return value[:MAX_TEXT].encode("utf-8", "replace").decode()


def _optional_text(value: Any) -> str | None:
    return None if value is None else _text(value)


def _one_of(known: tuple[str, ...]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in known:
            raise _BadError(f"is {str(value)[:40]!r}, not one of {', '.join(known).lstrip(', ')}")
        return value

    return check


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 1 << 31:
        raise _BadError("is no whole number")
    return value


def _cell(value: Any) -> int | None:
    return None if value is None else _whole(value)


def _seconds(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise _BadError("is no number")
    if not 0 <= value < 1e9 or not math.isfinite(value):
        raise _BadError("is no time in seconds")
    return float(value)


def _times(value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        raise _BadError("is no object")
    return {str(name)[:40]: _seconds(item) for name, item in list(value.items())[:20]}


def _lines(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise _BadError("is no list of lines")
    return [_text(line) for line in value[-MAX_LINES:]]


def _device(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _BadError("is no object")
    found = value.get("found") if value.get("found") is not None else []
    return {
        "kind": _text(value.get("kind") or ""),
        "accelerator": _text(value.get("accelerator") or ""),
        "found": _lines(found),
        "simulated": value.get("simulated") is True,
    }


def _manifest(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or len(value) > MAX_FILES:
        raise _BadError(f"is no list of at most {MAX_FILES} files")
    found: dict[str, dict[str, Any]] = {}
    for number, item in enumerate(value):
        path, size, sha256 = (
            item.get(key) if isinstance(item, dict) else None for key in ("path", "size_bytes", "sha256")
        )
        whole = isinstance(size, int) and not isinstance(size, bool) and 0 <= size < MAX_FILE_BYTES
        if not isinstance(path, str) or not whole or not re.fullmatch(r"[0-9a-f]{64}", str(sha256)):
            raise _BadError(f"has no path, size and SHA-256 in entry {number}")
        if path in found:
            raise _BadError(f"names {path[:80]!r} twice")
        if path not in (SUMMARY, STARTED):
            found[path] = {"path": path, "size_bytes": size, "sha256": sha256}
    return list(found.values())


def _skipped(value: Any) -> list[dict[str, str]]:
    """Return what the session could not put into its manifest."""
    items = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    return [{key: str(item.get(key) or "")[:MAX_TEXT] for key in ("path", "reason")} for item in items[:MAX_LINES]]


_FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "status": _one_of(STATUSES),
    "stage": _one_of(STAGES),
    "exit_code": _whole,
    "error": _optional_text,
    "cell": _cell,
    "traceback": _lines,
    "source_sha256": _text,
    "git_commit": _optional_text,
    "device": _device,
    "started": _text,
    "ended": _text,
    "duration_s": _seconds,
    "times": _times,
    "kagg_version": _text,
    "manifest": _manifest,
    "skipped": _skipped,
}


# ---------------------------------------------------------------- the log


def marker(lines: Iterable[str], run_id: str) -> int | None:
    """Return the exit code of the last line `KAGG-EXIT run_id code`, None without one.

    What a program printed without a line end may stand before it.
    """
    pattern, code = re.compile(rf"KAGG-EXIT {re.escape(run_id)} (-?\d{{1,10}})\s*"), None
    for line in lines:
        at = line.rfind("KAGG-EXIT ")
        if at >= 0 and (found := pattern.fullmatch(line, at)):
            code = int(found[1])
    return code


def check_marker(summary: Mapping[str, Any], code: int | None) -> None:
    """Compare the log's marker with the summary.

    Raises:
        KaggError: INTEGRITY when they contradict each other; a log without marker (it may be cut) does not.
    """
    if code is not None and code != summary["exit_code"]:
        raise _refused(SUMMARY, f"it says exit code {summary['exit_code']}, the log's last line {code}")
