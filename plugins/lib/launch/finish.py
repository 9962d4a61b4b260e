"""Step 5: fetch and verify what a session left, clean up on Kaggle, and write the record."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kagg import LIVE_STATES, Exit, KaggError, Ref, write_atomic
from plugins.lib import notifying, tracking
from plugins.lib.kaggle.collect import collect_outputs
from plugins.lib.launch import quota
from plugins.lib.launch.cleaning import clean_up, delete_tokens, deleted
from plugins.lib.launch.follow import GONE, Ended, spell
from plugins.lib.launch.git_token import is_token_dataset
from plugins.lib.launch.results import Results, fetch_results
from plugins.lib.local_run import Verdict
from plugins.lib.metrics import read_metrics
from plugins.lib.secrets.hide import hide, hide_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugins.lib.launch.steps import Launch

SHOWN_FILES = 3
EXECUTED = "executed.ipynb"
# What a setup that failed means for the exit code; the other stages are the program's own failure.
SETUP_EXITS = {"device": Exit.SERVICE, "inputs": Exit.SERVICE, "code": Exit.INTEGRITY}


def finish(launch: Launch, ref: Ref, ended: Ended | None) -> dict[str, Any]:
    """Fetch, verify, clean up, and return what result.json holds. `ended` is None when the results are here already.

    Raises:
        KaggError: what could not be fetched or verified of a complete session; the record says so, too.
    """
    state = launch.state
    if ended is not None:
        record = _record(launch, ref, ended)
        if ended.state not in LIVE_STATES:
            delete_tokens(launch, ref)  # whatever becomes of the results: nobody needs them any more
            record |= _collected(launch, ref, ended, record)
        if ended.state in LIVE_STATES or "collection_error" in record:  # `attach` goes on with it
            _tell(launch, record)
            return _written(launch, record)
        state.reach("collected", record=record)
    record = dict(state.document["record"])
    record["deleted"] = clean_up(launch, ref, record)
    if launch.plan.wanted.track and not record.get("tracked"):
        record["tracked"] = {"to": launch.plan.wanted.track, "failed": _track(launch, record)}
    _written(launch, record)
    state.reach("over", record=record)
    _tell(launch, record)
    if launch.plan.wanted.keep and record["url"]:
        launch.ctx.say(f"kept on Kaggle: {record['url']}")
    return record


def _written(launch: Launch, record: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(record, indent=2, sort_keys=True, default=str) + "\n"
    write_atomic(launch.dest / "result.json", text, 0o600)
    return record


def _record(launch: Launch, ref: Ref, ended: Ended) -> dict[str, Any]:
    """Return what is known of a run before its results are."""
    document, ctx = launch.state.document, launch.ctx
    pushed, choice = document["pushed"], launch.plan.choice
    after = quota.read_or_none(ctx) if choice.device != "cpu" else None
    code = {key: value for key, value in (document.get("code") or {}).items() if key not in ("files", "payload")}
    return {
        "version": 1,
        "run_id": launch.state.attempt,
        **document["source"],
        "started": document["started"],
        "ref": f"{ref.owner}/{ref.slug}",
        "kernel_version": ref.version,
        "url": pushed.get("url"),
        "refused_inputs": pushed["refused_inputs"],
        "executed_notebook": None,
        "code": code or None,
        "git_commit": code.get("commit") or document.get("git_commit") or None,
        "device": {"kind": choice.device, "accelerator": choice.accelerator or None},
        "quota": {**(document.get("quota") or {}), "after": after.document() if after else None},
        "queued_s": ended.queued_s,
        "running_s": ended.running_s,
        "verified": False,
        "metrics": {},
        "outputs": [],
        **hide_all(ctx, _verdict_fields(ended.verdict)),
        "ended": ctx.now().isoformat(),
        "duration_s": ended.running_s or 0.0,
        "log": str(launch.dest / "log.jsonl"),
        "output_folder": str(launch.dest / "output"),
    }


def _verdict_fields(verdict: Verdict) -> dict[str, Any]:
    return verdict._asdict() | {"traceback": list(verdict.traceback)}


def _collected(launch: Launch, ref: Ref, ended: Ended, record: dict[str, Any]) -> dict[str, Any]:
    """Fetch the results and return what they add to the record; a failure is written down before it is raised."""
    if ended.state == GONE:
        return {"gone": True}
    output = launch.dest / "output"
    try:
        with launch.effect("collect", f"{ref.owner}/{ref.slug}", {"attempt": launch.state.attempt}) as made:
            results = _fetched(launch, ref, ended, output)
            _check_source(launch, results.summary or {})
            made.outcome = {"status": ended.state, "files": len(results.files), "verified": results.verified}
    except KaggError as error:
        words = hide(launch.ctx, error.message)
        found = {"outputs": error.details.get("files", []), "collection_error": words}
        found["outputs_failed"] = hide_all(launch.ctx, error.details.get("failed", {}))
        if record["status"] != "complete":
            launch.ctx.say(f"{ref}: {words}; try again: python kagg.py attach {ref.slug}", -1)
            return found
        record |= found | {"exit": int(error.code), "error": words}
        error.details["record"] = record  # for the ledger
        _tell(launch, record)
        _written(launch, record)
        raise
    found = _read(launch, results, record)
    _say_results(launch, results, record | found)
    return found


def _fetched(launch: Launch, ref: Ref, ended: Ended, output: Path) -> Results:
    """Fetch what the session wrote; of a plain source there is no manifest to hold it against."""
    if launch.plan.plain:
        return Results(None, collect_outputs(launch.ctx, ref, output), False, [])
    files = (launch.state.document.get("code") or {}).get("files") or {}
    log = launch.dest / "log.jsonl"
    return fetch_results(launch.ctx, ref, output, launch.state.attempt, state=ended.state, code_files=files, log=log)


def _read(launch: Launch, results: Results, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the results say: how the program ended, its metrics, and what --verify finds."""
    output = launch.dest / "output"
    found: dict[str, Any] = {"outputs": results.files, "verified": results.verified}
    if results.summary and record["status"] == "complete":
        found |= hide_all(
            launch.ctx, _from_summary(results.summary, str(launch.state.document["pushed"].get("at") or ""))
        )
    for fault in results.faults:
        launch.ctx.say(f"note: {fault}", -1)
    found["notes"] = hide_all(launch.ctx, results.faults)
    if (output / EXECUTED).is_file():
        found["executed_notebook"] = str(output / EXECUTED)
    metrics = read_metrics(output, launch.dest / "log.jsonl").summary
    found["metrics"] = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
    if launch.plan.wanted.verify:
        found |= _verified(launch, launch.plan.wanted.verify, {**record, **found})
    return found


def _not_as_asked(lines: list[str]) -> str:
    """Return one line for all findings of --verify."""
    more = f", and {len(lines) - 1} more" if len(lines) > 1 else ""
    return f"--verify found: {lines[0]}{more}" if lines else ""


def _verified(launch: Launch, path: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what --verify adds to a record."""
    from plugins.lib.launch import verify

    try:
        lines = hide_all(launch.ctx, verify.load(Path(path)).apply(launch.dest / "output", dict(record)))
        code, first = Exit.FINDINGS, _not_as_asked(lines)
    except KaggError as error:  # the file was there when the run began; the results are kept all the same
        lines, code, first = [error.message], error.code, error.message
    for line in lines[1:]:  # the first is in the error
        launch.ctx.say(f"verify: {line}")
    found: dict[str, Any] = {"findings": lines}
    return found | ({"exit": int(code), "error": first} if lines and record["status"] == "complete" else {})


def _check_source(launch: Launch, summary: Mapping[str, Any]) -> None:
    """Make sure that the session ran what was sent.

    Raises:
        KaggError: INTEGRITY.
    """
    sent = (launch.state.document.get("code") or {}).get("sha256")
    if sent and summary.get("source_sha256", sent) != sent:
        raise KaggError(f"{launch.state.attempt} ran other code than was sent", code=Exit.INTEGRITY)


def _session_times(summary: Mapping[str, Any], pushed_at: str) -> dict[str, Any]:
    """Return how long the session was queued and ran by its own clock: we may have watched a part of it only."""
    started, ended = str(summary.get("started") or ""), str(summary.get("ended") or "")
    found = {"queued_s": quota.elapsed_s(pushed_at, started), "running_s": quota.elapsed_s(started, ended)}
    return {name: round(value, 1) for name, value in found.items() if value is not None}


def _from_summary(summary: Mapping[str, Any], pushed_at: str) -> dict[str, Any]:
    """Return the record's fields that the session's own summary decides."""
    status, error = str(summary["status"]), summary.get("error")
    if status == "setup" and summary.get("stage"):
        error = f"the program did not start: {summary['stage']}: {error}"
    code = SETUP_EXITS.get(str(summary.get("stage") or "")) if status == "setup" else None
    return {
        "status": "error" if status == "setup" else status,
        "exit_code": summary["exit_code"],
        "error": error,
        "cell": summary.get("cell"),
        "traceback": list(summary.get("traceback") or []),
        "stage": summary.get("stage") or None,
        "device": summary.get("device"),
        "times": summary.get("times"),
        "git_commit": summary.get("git_commit") or None,
        "duration_s": summary.get("duration_s") or 0.0,
        **_session_times(summary, pushed_at),
        "session": {key: summary.get(key) for key in ("started", "ended", "kagg_version", "source_sha256")},
        **({"exit": int(code)} if code else {}),
    }


def _say_results(launch: Launch, results: Results, record: Mapping[str, Any]) -> None:
    names = [str(item["path"]) for item in results.files]
    shown = ", ".join(names[:SHOWN_FILES]) + (" …" if len(names) > SHOWN_FILES else "")
    state = "verified" if results.verified else "not verified"
    what = f"{shown} {state}, in {launch.dest}" if names else f"the program left no files, {state}"
    launch.say("results", f"{what}{_cost(launch, record)}")


def _cost(launch: Launch, record: Mapping[str, Any]) -> str:
    """Return what the run cost, for people: nothing for a CPU."""
    if launch.plan.choice.device == "cpu" or record.get("running_s") is None:
        return ""
    after = (record.get("quota") or {}).get("after")
    left = quota.from_document(after).words(launch.plan.choice.device) if after else "quota unknown"
    return f"; {spell(record['running_s'])} of {launch.plan.choice.slot} used, {left}"


def stopped(launch: Launch) -> dict[str, Any]:
    """Write the record of a run whose kernel somebody of ours has deleted."""
    document = launch.state.document
    if "pushed" not in document:  # killed before the reply came: the request says what would have been
        owner, _, slug = str(document["body"]["slug"]).partition("/")
        made: dict[str, Any] = {"owner": owner, "slug": slug, "version": None, "url": None, "refused_inputs": []}
        launch.state.reach("pushed", pushed=made)
    pushed = dict(document["pushed"])
    words = "it was stopped: its kernel was deleted"
    ended = Ended(GONE, words, Verdict("killed", 1, words))
    launch.dest.mkdir(parents=True, exist_ok=True)
    return finish(launch, Ref("kaggle", pushed["owner"], pushed["slug"], pushed["version"]), ended)


def give_back(launch: Launch, error: KaggError) -> None:
    """Of a run that could not be pushed: say so to whoever wants to know, and delete the dataset with its token.

    Its code stays for another try.
    """
    record = {"run_id": launch.state.attempt, "status": "not run", "exit_code": int(error.code), "error": error.message}
    _tell(launch, record)
    state = launch.state
    with contextlib.suppress(OSError):  # only when it is empty
        launch.dest.rmdir()
    made = [str(name) for name in (state.document.get("code") or {}).get("created") or []]
    if state.has("pushing") or not made:
        return
    for name in filter(is_token_dataset, made):
        deleted(launch, Ref("kaggle"), "delete-dataset", name)
        state.reach("begun")  # another try makes it anew
    if left := [name for name in made if not is_token_dataset(name)]:
        launch.ctx.say(f"{', '.join(left)} stays on Kaggle until: attach {state.attempt}, or reap", -1)


def results_are_here(launch: Launch) -> bool:
    """Tell whether the files of a collected run lie where its record says."""
    record, output = launch.state.document["record"], launch.dest / "output"
    return all(
        (output / str(file["path"])).is_file() and (output / str(file["path"])).stat().st_size == file["size_bytes"]
        for file in record.get("outputs") or []
    )


def _track(launch: Launch, record: Mapping[str, Any]) -> list[str]:
    """Hand the metrics to the trackers that were asked for and return those that failed."""
    output = launch.dest / "output"
    series = read_metrics(output, launch.dest / "log.jsonl").series if output.is_dir() else []
    run = {
        "id": record["run_id"],
        "name": record["run_id"],
        **{
            key: record.get(key)
            for key in ("params", "git_commit", "source_sha256", "status", "started", "ended", "url")
        },
        "device": (record.get("device") or {}).get("accelerator") or (record.get("device") or {}).get("kind"),
    }
    wanted = launch.plan.wanted.track
    failed = tracking.track(launch.ctx, wanted, run, record.get("metrics") or {}, series)
    if done := [name for name in wanted if not any(line.startswith(name) for line in failed)]:
        launch.ctx.say(f"metrics are in {', '.join(done)}, run {record['run_id']}")
    return failed


def _tell(launch: Launch, record: dict[str, Any]) -> None:
    """Notify whoever wants to know; what fails is said and kept in the record."""
    wanted = launch.plan.wanted.notify
    if not wanted:
        return
    title = f"{record['run_id']}: {record['status']}"
    lines = [f"{launch.plan.entry.name} ended with {record['status']} on Kaggle ({record.get('ref') or 'not pushed'})"]
    lines += [str(record["error"])] if record.get("error") else []
    shown = [(name, value) for name, value in record.get("metrics", {}).items() if value is not None]
    lines += [f"{name}: {value:g}" for name, value in shown[:20]]
    lines += [f"results: {launch.dest}"]
    keys = ("run_id", "status", "exit_code", "error", "ref", "url", "metrics", "duration_s", "git_commit", "verified")
    data = {key: record.get(key) for key in keys}
    record["notify_failed"] = notifying.notify(launch.ctx, wanted, title, "\n".join(lines), data=data)
