"""What a batch says at its end: a table for people, one document for programs, a file for later."""

from __future__ import annotations

import csv
import io
import json
import shlex
from typing import TYPE_CHECKING, Any

from kagg import Exit, KaggError, table, write_atomic
from plugins.lib.ledger_database import storable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from plugins.lib.jobfile import Job, JobResult

REPORT_FORMATS = (".json", ".jsonl", ".ndjson", ".csv")
PERCENTILES = ("p50_ms", "p90_ms", "p99_ms", "max_ms")
ANSWER_MAX = 300  # characters of an endpoint's answer that people are shown
_JOB_COLUMNS = ("id", "ref", "operation", "status", "seconds", "exit_code", "message", "folder", "endpoint", "url")
COLUMNS = (*_JOB_COLUMNS, "answer_status", "answer_ms", "probes", "probe_errors", *PERCENTILES)
KAGG = "python kagg.py"


def check_report_path(path: Path | None) -> None:
    """Refuse a report that could not be written, before anything runs."""
    if path and (path.suffix.lower() not in REPORT_FORMATS or path.is_dir()):
        hint = f"end its name in {', '.join(REPORT_FORMATS)}"
        raise KaggError(f"--report {path} is of no known format", code=Exit.USAGE, hint=hint)


def document(
    run_id: str, file: Path, dest: Path, pairs: Iterable[tuple[Job, JobResult]], exit_code: int
) -> dict[str, Any]:
    """Return the batch as JSON, without secrets."""
    jobs = [_row(job, result, dest) for job, result in pairs]
    states = [job["status"] for job in jobs]
    found = {
        "version": 1,
        "run": run_id,
        "file": str(file),
        "dest": str(dest),
        "exit_code": int(exit_code),
        "jobs": jobs,
    }
    found["counts"] = {
        "jobs": len(jobs),
        **{state: states.count(state) for state in ("done", "failed", "interrupted", "pending")},
    }
    document: dict[str, Any] = storable(found)
    return document | {"next": _next_steps(document)}


def _row(job: Job, result: JobResult, dest: Path) -> dict[str, Any]:
    row = {
        "id": job.key,
        "ref": job.ref,
        "line": job.line,
        "payload": job.payload,
        "folder": str(dest / job.folder),
    } | result._asdict()
    del row["key"]
    return row


def _next_steps(found: dict[str, Any]) -> list[str]:
    """Return commands worth trying now, most urgent first."""
    resume = f"{KAGG} batch {shlex.quote(found['file'])} --resume {found['run']}"
    counts, lines = found["counts"], []
    if counts["interrupted"] or counts["pending"]:
        lines.append(f"{resume}    # go on with what is not done")
    if counts["failed"]:
        lines.append(f"{resume} --retry-failed    # after mending what failed")
        logs = [job["steps"].get("run", {}).get("log") for job in found["jobs"] if job["status"] == "failed"]
        lines += [f"less {shlex.quote(log)}" for log in logs if log][:3]
    for job in found["jobs"]:
        if "deploy" in job["steps"]:
            name = job["steps"]["deploy"]["name"]
            lines.append(
                f"{KAGG} call {name} --data {shlex.quote(json.dumps(job['payload'] or {}, ensure_ascii=False))}"
            )
            lines.append(f"{KAGG} endpoints stop {name}")
    return lines


def for_people(found: dict[str, Any]) -> str:
    """Return the document as text: the jobs, the endpoints with their answers and latencies, and what to try next."""
    rows = [
        {
            "job": job["id"],
            "operation": job["operation"],
            "status": job["status"],
            "seconds": f"{job['seconds']:.1f}",
            "what happened": job["message"],
        }
        for job in found["jobs"]
    ]
    parts = [table(rows, ("job", "operation", "status", "seconds", "what happened"))]
    parts += ["\n".join(_endpoint_lines(job["steps"])) for job in found["jobs"] if job["steps"].get("deploy")]
    counts = ", ".join(f"{count} {state}" for state, count in found["counts"].items() if count and state != "jobs")
    parts.append(f"run {found['run']}: {counts}; files in {found['dest']}")
    if found["next"]:
        parts.append("try next:\n" + "\n".join(f"  {line}" for line in found["next"]))
    return "\n\n".join(parts)


def _endpoint_lines(steps: dict[str, Any]) -> list[str]:
    """Return an endpoint's address, its answer and its latency."""
    lines = [f"endpoint {steps['deploy']['name']}  {steps['deploy']['url']}"]
    answer, report = steps.get("call"), steps.get("monitor")
    if answer:
        body = json.dumps(answer["body"], ensure_ascii=False)
        cut = body if len(body) <= ANSWER_MAX else body[:ANSWER_MAX] + "..."
        lines.append(f"  answer   {answer['status']} in {answer['latency_ms']} ms: {cut}")
    if report:
        known = [name for name in PERCENTILES if report.get(name) is not None]
        values = "  ".join(f"{name.removesuffix('_ms')} {report[name]} ms" for name in known) or "no answer"
        lines.append(f"  latency  {report['count']} probes, {report['errors']} failed: {values}")
    return lines


def write_report(path: Path, found: dict[str, Any]) -> None:
    """Write the document as JSON, as JSON Lines or CSV with one job a line, by the file's name; whole or not at all."""
    suffix = path.suffix.lower()
    if suffix == ".json":
        text = json.dumps(found, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    elif suffix == ".csv":
        text = _csv(found["jobs"])
    else:
        text = "".join(
            json.dumps({"run": found["run"], **job}, ensure_ascii=False, sort_keys=True) + "\n" for job in found["jobs"]
        )
    write_atomic(path, text)


def _csv(jobs: list[dict[str, Any]]) -> str:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, COLUMNS, extrasaction="ignore", lineterminator="\r\n")
    writer.writeheader()
    for job in jobs:
        steps = job["steps"]
        deploy, answer, report = (steps.get(name) or {} for name in ("deploy", "call", "monitor"))
        row = job | {"endpoint": deploy.get("name"), "url": deploy.get("url")}
        row |= {"answer_status": answer.get("status"), "answer_ms": answer.get("latency_ms")}
        row |= {"probes": report.get("count"), "probe_errors": report.get("errors")}
        row |= {name: report.get(name) for name in PERCENTILES}
        writer.writerow({name: _inert(value) for name, value in row.items()})
    return stream.getvalue()


def _inert(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula (OWASP, "CSV Injection")."""
    return "'" + value if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
