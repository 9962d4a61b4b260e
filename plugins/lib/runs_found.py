"""Find runs in the ledger by what people call them, and put together what is known of each."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

from kagg import KaggError, bad_input
from plugins.lib.launch import journal
from plugins.lib.metrics import read_json, read_metrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plugins.lib.ledger import Ledger

PLUGIN = {"api": 1, "summary": "runs by name", "requires": {"sqlalchemy": "SQLAlchemy>=2.0"}}

LAST = re.compile(r"last(?:~(\d{1,6}))?")
SEARCHED = 10_000  # newest runs that a name is looked for in
KNOWN_PARTS = ("last", "last~N", "an id", "the beginning of one", "a kernel's name", "BATCH:JOB")


class Run(NamedTuple):
    """One run, or one job of a batch (then `job` is its row). `record` is what result.json holds, {} without one."""

    label: str
    row: dict[str, Any]
    record: dict[str, Any]
    folder: Path | None
    job: dict[str, Any] | None = None

    @property
    def on_kaggle(self) -> bool:
        """Tell whether it ran on Kaggle."""
        return bool(self.record.get("ref")) or (self.row["params"] or {}).get("on") == "kaggle"

    @property
    def params(self) -> dict[str, Any]:
        """The program's parameters."""
        found = self.record.get("params")
        if isinstance(found, dict):
            return found
        given = (self.job or {}).get("spec") or {}
        own = given.get("params") if self.job else self.row["params"]
        return (
            {name: value for name, value in own.items() if name not in ("on", "attempt")}
            if isinstance(own, dict)
            else {}
        )

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of the record, else those in the run's folder; what the ledger keeps as null was NaN."""
        kept = self.record.get("metrics")
        if isinstance(kept, dict) and kept:
            return {str(name): _number(value) for name, value in kept.items() if value is None or _is_number(value)}
        if not self.record:
            own = self.row["result"] if not self.job else None  # as train and monitor leave it
            return {name: float(v) for name, v in own.items() if _is_number(v)} if isinstance(own, dict) else {}
        output, log = self.record.get("output_folder"), self.record.get("log")
        if not isinstance(output, str) or not Path(output).is_dir():
            return {}
        return read_metrics(Path(output), Path(log) if isinstance(log, str) else None).summary

    @property
    def status(self) -> str:
        """How it ended, in the ledger's word."""
        return str((self.job or self.row)["status"])

    @property
    def duration_s(self) -> float | None:
        """How long the run itself took, else its command."""
        value = self.record.get("duration_s", None if self.job else self.row["duration_s"])
        return float(value) if _is_number(value) else None

    @property
    def device(self) -> str:
        """What it ran on, in words."""
        device = self.record.get("device")
        if not isinstance(device, dict):
            return "" if self.on_kaggle else str(self.row["host"] or "")
        names = device.get("found") if isinstance(device.get("found"), list) else []
        what = str(device.get("accelerator") or device.get("kind") or "")
        simulated = " (simulated)" if device.get("simulated") else ""
        return f"{what}{simulated}" if simulated or not names else f"{what}: {', '.join(map(str, names[:8]))}"

    @property
    def commit(self) -> str:
        """The source's commit."""
        return str(self.record.get("git_commit") or self.row["git_commit"] or "")


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def find_runs(ledger: Ledger, text: str) -> list[Run]:
    """Return the run that `text` names; of a batch its jobs, in the order of their file.

    Raises:
        KaggError: USAGE when it names none, or several.
    """
    name, colon, key = full_name(ledger, text).partition(":")
    row = _row(ledger, name)
    jobs = ledger.jobs(row["id"]) if row["command"] == "batch" else []
    if colon:
        chosen = [job for job in jobs if job["key"] == key]
        if not chosen:
            known = ", ".join(str(job["key"]) for job in jobs[:10]) or "none"
            raise bad_input(f"run {row['id']} has no job {key[:60]!r}", f"its jobs: {known}")
        return [_of_job(row, chosen[0])]
    return [_of_job(row, job) for job in jobs] if jobs else [_of_row(row)]


def find_row(ledger: Ledger, text: str) -> dict[str, Any]:
    """Return the ledger's row of the run that `text` names, without a job's key."""
    return _row(ledger, full_name(ledger, text).partition(":")[0])


def full_name(ledger: Ledger, text: str) -> str:
    """Return the run or job whose kernel `text` names, whatever became of it, as ID or ID:JOB; another text as it is.

    Raises:
        KaggError: USAGE when it is the beginning of several kernels' names.
    """
    if ":" in text or not text.strip() or LAST.fullmatch(text) or _named(ledger.runs(SEARCHED), text):
        return text
    try:
        attempt = journal.find(ledger, text)
    except KaggError as error:
        if error.details.get("several"):
            raise
        return text
    keys = [job["key"] for job in ledger.jobs(attempt.run_id) if job["id"] == attempt.job_id]
    return f"{attempt.run_id}:{keys[0]}" if keys else attempt.run_id


def _row(ledger: Ledger, name: str) -> dict[str, Any]:
    rows = ledger.runs(SEARCHED)
    back = LAST.fullmatch(name)
    if back:
        number = int(back[1] or 0)
        if number >= len(rows):
            raise bad_input(f"there is no run {name!r}: the ledger has {len(rows)}", "see: python kagg.py runs")
        return rows[number]
    found = _named(rows, name)
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(row["id"] for row in found[:5])
        raise bad_input(f"{name[:80]!r} names {len(found)} runs: {shown}", "write more of its id")
    raise bad_input(f"there is no run {name[:80]!r}", f"write {', '.join(KNOWN_PARTS)}; see: python kagg.py runs")


def _named(rows: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return the rows of this name, else those whose name begins so."""
    exact = [row for row in rows if name in _names(row)]
    return exact or [row for row in rows if name and any(known.startswith(name) for known in _names(row))]


def _names(row: Mapping[str, Any]) -> list[str]:
    """Return what a run may be called."""
    result = row["result"] if isinstance(row["result"], dict) else {}
    ref = result.get("ref")
    names = [row["id"], result.get("run_id"), ref, ref.partition("/")[2] if isinstance(ref, str) else None]
    names.append((row["params"] or {}).get("attempt") if isinstance(row["params"], dict) else None)
    return [name for name in names if isinstance(name, str) and name]


def _of_row(row: dict[str, Any]) -> Run:
    record = row["result"] if row["command"] == "run" and isinstance(row["result"], dict) else {}
    return _whole(row["id"], row, record, None)


def _of_job(row: dict[str, Any], job: dict[str, Any]) -> Run:
    steps = (job["result"] or {}).get("steps") if isinstance(job["result"], dict) else None
    record = steps.get("run") if isinstance(steps, dict) else None
    return _whole(f"{row['id']}:{job['key']}", row, record if isinstance(record, dict) else {}, job)


def _whole(label: str, row: dict[str, Any], record: dict[str, Any], job: dict[str, Any] | None) -> Run:
    """Return a run, with what only its result.json says: the ledger cuts long texts."""
    places = [record.get("dest"), record.get("folder")]
    places += [str(Path(str(path)).parent) for key in ("log", "output_folder") if (path := record.get(key))]
    folder = next((Path(place) for place in places if isinstance(place, str) and place), None)
    kept = read_json(folder / "result.json") if folder else None
    if isinstance(kept, dict) and kept.get("started") == record.get("started"):
        record = {**kept, **{name: value for name, value in record.items() if value not in (None, {}, [])}}
    return Run(label, row, record, folder, job)
