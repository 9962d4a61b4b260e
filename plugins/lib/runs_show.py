"""Tell everything that is known of a run: how it was made, how it ended, what it cost, and what it left."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from kagg import table
from plugins.lib.launch.quota import FIELDS, hours

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from plugins.lib.runs_found import Run

SHOWN_OUTPUTS, SHOWN_METRICS = 20, 40


def document(run: Run, effects: Sequence[Mapping[str, Any]], jobs: Sequence[Run]) -> dict[str, Any]:
    """Return a run as JSON; `jobs` are those of a batch."""
    row, record = run.row, run.record
    code = record.get("code") if isinstance(record.get("code"), dict) else {}
    folder = str(run.folder) if run.folder else None
    record = {**_pushed(run, effects), **{name: value for name, value in record.items() if value is not None}}
    return {
        "version": 1,
        "id": run.label,
        "command": row["command"],
        "target": row["target"],
        "status": run.status,
        "exit_code": (run.job or row)["exit_code"],
        "error": record.get("error") or (run.job or row)["error"],
        "ended_as": record.get("status"),
        "where": "kaggle" if run.on_kaggle else "local",
        **{key: record.get(key) for key in ("ref", "kernel_version", "url", "run_id", "deleted", "verified")},
        "device": run.device,
        "device_kind": _kind(record.get("device")),
        "host": row["host"],
        "started": record.get("started") or (run.job or row)["started"],
        "ended": record.get("ended") or (run.job or row)["ended"],
        "duration_s": run.duration_s,
        **{key: record.get(key) for key in ("queued_s", "running_s", "times", "quota", "cell", "traceback")},
        "git_commit": run.commit or None,
        "source": record.get("source"),
        "source_sha256": record.get("source_sha256") or row["input_sha256"],
        "code_sha256": (code or {}).get("sha256"),
        "kagg_version": row["kagg_version"],
        "params": run.params,
        "metrics": {name: value if math.isfinite(value) else None for name, value in run.metrics.items()},
        "outputs": [item for item in record.get("outputs") or [] if isinstance(item, dict)],
        "findings": record.get("findings") or [],
        "notes": record.get("notes") or [],
        "folder": folder,
        "folder_exists": bool(run.folder and run.folder.is_dir()),
        "log": record.get("log"),
        "effects": [_effect(effect) for effect in effects],
        "jobs": [_job(job) for job in jobs],
    }


def _pushed(run: Run, effects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the effects say of the kernel of a run whose record does not name it, as of one that goes on."""
    if run.row["command"] == "batch" and not run.job:
        return {}
    found: dict[str, Any] = {}
    for effect in effects:
        outcome = effect["outcome"] if isinstance(effect["outcome"], dict) else {}
        if effect["kind"] == "push" and outcome.get("slug"):
            found = {"ref": f"{outcome.get('owner')}/{outcome['slug']}", "url": outcome.get("url")}
            found["kernel_version"] = outcome.get("versionNumber")
        elif effect["kind"] == "delete-kernel" and effect["status"] == "done" and found:
            found["deleted"] = True
    return found


def _kind(device: Any) -> str:
    """Return cpu, gpu or tpu, "" when that is not known."""
    kind = device.get("kind") if isinstance(device, dict) else None
    return kind if isinstance(kind, str) else ""


def _effect(effect: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: effect[key] for key in ("kind", "target", "status", "started", "ended", "request", "outcome", "job_id")
    }


def _job(run: Run) -> dict[str, Any]:
    job = run.job or {}
    result = job["result"] if isinstance(job["result"], dict) else {}
    found = {key: job[key] for key in ("key", "status", "exit_code", "error", "attempts")}
    return {**found, "message": result.get("message") or job["error"] or "", "duration_s": run.duration_s} | {
        "metrics": {name: value if math.isfinite(value) else None for name, value in run.metrics.items()},
        "folder": str(run.folder) if run.folder else None,
    }


# ---------------------------------------------------------------- for people


def for_people(found: dict[str, Any]) -> str:
    """Return the document as text."""
    lines = [f"{name:<10}{text}" for name, text in _lines(found) if text]
    parts = ["\n".join(lines)]
    if found["metrics"]:
        shown = list(found["metrics"].items())[:SHOWN_METRICS]
        more = len(found["metrics"]) - len(shown)
        text = "\n".join(f"  {name}  {'nan' if value is None else f'{value:.6g}'}" for name, value in shown)
        parts.append(f"metrics\n{text}" + (f"\n  and {more} more" if more else ""))
    if found["outputs"]:
        parts.append("outputs\n" + "\n".join(_output_lines(found["outputs"])))
    if found["jobs"]:
        parts.append(table(found["jobs"], ("key", "status", "duration_s", "message")))
    if found["effects"]:
        parts.append(table(found["effects"], ("kind", "target", "status", "started")))
    return "\n\n".join(parts)


def _lines(found: dict[str, Any]) -> Iterable[tuple[str, str]]:
    exit_code = "" if found["exit_code"] is None else f", exit {found['exit_code']}"
    ended_as = f" ({found['ended_as']})" if found["ended_as"] else ""
    yield "run", found["id"]
    yield "command", f"{found['command']} {found['target']}"
    yield "status", f"{found['status']}{exit_code}{ended_as}"
    yield "error", str(found["error"] or "").split("\n")[0]
    yield "where", _where(found)
    yield "started", str(found["started"] or "")
    yield "took", _times(found)
    yield "quota", _quota(found)
    yield "commit", str(found["git_commit"] or "")
    yield "source", " ".join(str(found[key] or "") for key in ("source", "source_sha256")).strip()
    yield "params", ", ".join(f"{name}={_text(value)}" for name, value in found["params"].items())
    for note in [*found["findings"], *found["notes"]]:
        yield "note", str(note)
    verified = {True: "verified", False: "not verified"}.get(found["verified"], "")
    gone = "" if found["folder_exists"] else "it is not there any more"
    words = ", ".join(word for word in (gone, verified) if word)
    yield "results", f"{found['folder']}{f' ({words})' if words else ''}" if found["folder"] else ""


def _where(found: dict[str, Any]) -> str:
    if found["where"] == "local":
        return f"this machine or {found['host']}" if not found["host"] else str(found["host"])
    version = f", version {found['kernel_version']}" if found["kernel_version"] else ""
    deleted = ", deleted there" if found["deleted"] else ""
    device = f", {found['device']}" if found["device"] else ""
    return f"Kaggle: {found['ref'] or 'not pushed'}{version}{device}{deleted}"


def _times(found: dict[str, Any]) -> str:
    if found["duration_s"] is None:
        return ""
    times = found["times"] if isinstance(found["times"], dict) else {}
    more = {"queued": found["queued_s"], "setup": times.get("setup_s"), "program": times.get("program_s")}
    parts = [f"{name} {value:.1f} s" for name, value in more.items() if isinstance(value, (int, float))]
    return f"{found['duration_s']:.1f} s" + (f" ({', '.join(parts)})" if parts else "")


def _quota(found: dict[str, Any]) -> str:
    """Return what a run took of the week's quota, and what it left: "57 s of GPU used, 30.0 h left"."""
    kind, quota, used_s = found["device_kind"], found["quota"], found["running_s"]
    if kind not in FIELDS:
        return ""
    words = []
    if isinstance(used_s, (int, float)) and math.isfinite(used_s):
        words.append(f"{f'{used_s:.0f} s' if used_s < 120 else hours(used_s)} of {kind.upper()} used")
    share = quota.get("after") if isinstance(quota, dict) else None
    share = share.get(kind) if isinstance(share, dict) else None
    left_s = share.get("left_s") if isinstance(share, dict) else None
    if isinstance(left_s, (int, float)) and math.isfinite(left_s):
        words.append(f"{hours(left_s)} left")
    return ", ".join(words)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _output_lines(outputs: Sequence[dict[str, Any]]) -> Iterable[str]:
    for item in outputs[:SHOWN_OUTPUTS]:
        yield f"  {item.get('path')}  {item.get('size_bytes')} bytes  sha256 {str(item.get('sha256') or '')[:16]}"
    if len(outputs) > SHOWN_OUTPUTS:
        yield f"  and {len(outputs) - SHOWN_OUTPUTS} more"
