"""Hand the metrics of a run to experiment trackers, rooms of kind track.

A room is `start(run)`, then `log(step, metrics)` for each step, then `finish(status)`, status done, failed or stopped:
functions of the module, or, when `start` returns something, methods of what it returned. `start` is handed `ctx` when
it takes an argument of that name. Each room works in a process of its own (tracking_child.py), so it may change its
environment, print, keep its state in its module, or hang; it hears of one run only. `check(ctx)`, when a room has it,
runs in kagg's own process before a run begins, and loads no SDK.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from kagg import Context, Exit, KaggError, bad_input, parse_duration, room, setting
from plugins.lib import process_guard
from plugins.lib.ledger_database import storable
from plugins.lib.notifying import one_line, reason
from plugins.lib.secrets.hide import hide, hide_all

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import IO

PLUGIN = {"api": 1, "summary": "experiment trackers", "requires": {}}

DEFAULT_TIMEOUT = "90s"  # for one tracker and one run; an SDK that cannot reach its server tries for minutes
SAID_BYTES = 65_536  # of what a child printed, from its end
ENDS = {"complete": "done", "done": "done", "findings": "done"}
ENDS |= dict.fromkeys(("killed", "interrupted", "cancelled", "stopped", "detached"), "stopped")


def check(ctx: Context, wanted: Sequence[str]) -> None:
    """Refuse what could not be tracked later: unknown rooms, missing packages and settings.

    Raises:
        KaggError: USAGE, CONFIG or MISSING.
    """
    if wanted:
        timeout_s(ctx)
    for name in dict.fromkeys(wanted):
        _check(ctx, name)


def _check(ctx: Context, name: str) -> None:
    module = room(ctx, "track", name)
    try:
        if hasattr(module, "check"):
            module.check(ctx)
    except KaggError:
        raise
    except (Exception, SystemExit) as error:  # a third-party room may raise anything
        raise KaggError(f"track {name} is broken: {reason(error, ctx)}", code=Exit.MISSING) from error


def timeout_s(ctx: Context) -> float:
    """Return how long one tracker may take.

    Raises:
        KaggError: CONFIG.
    """
    text = setting(ctx, "KAGG_TRACK_TIMEOUT", "track.timeout", DEFAULT_TIMEOUT)
    try:
        seconds = parse_duration(text)
    except KaggError as error:
        raise KaggError(f"KAGG_TRACK_TIMEOUT: {error.message}", code=Exit.CONFIG, hint=error.hint) from error
    if seconds <= 0:
        raise KaggError("KAGG_TRACK_TIMEOUT leaves no time", code=Exit.CONFIG)
    return seconds


def track(
    ctx: Context,
    wanted: Sequence[str],
    run: Mapping[str, Any],
    summary: Mapping[str, float],
    series: Sequence[tuple[int, Mapping[str, float]]],
) -> list[str]:
    """Hand a run that is over to each tracker, and return one line for each that failed, which is said as well.

    `run`: id, name, params, git_commit, source_sha256, device, status, started, ended (ISO 8601), url. `series`: (step,
    metrics), sorted by step here; what `summary` adds to the last values is logged at the last step. Secrets
    are hidden in `run`. Nothing is raised.
    """
    failed = []
    named = {"params": storable(run["params"])} if run.get("params") else {}  # some are secret by their names
    job = {
        "run": hide_all(ctx, {**run, **named}),
        "steps": steps(summary, series),
        "status": ENDS.get(str(run.get("status")), "failed"),
    }
    for name in dict.fromkeys(wanted):
        try:
            _check(ctx, name)
            _run(ctx, name, job)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - tracking never changes how a run ends
            failed.append(hide(ctx, f"{one_line(name)[:80]}: {reason(error, ctx)}"))
            ctx.say(f"warning: not tracked by {failed[-1]}", -1)
    return failed


def steps(
    summary: Mapping[str, float], series: Sequence[tuple[int, Mapping[str, float]]]
) -> list[tuple[int, dict[str, float]]]:
    """Return what is logged: the series in order, empty steps left out, and what the summary adds."""
    found = [(int(step), dict(metrics)) for step, metrics in sorted(series, key=lambda pair: pair[0]) if metrics]
    last: dict[str, float] = {}
    for _, metrics in found:
        last |= metrics
    same = {name for name, value in summary.items() if name in last and repr(last[name]) == repr(value)}  # nan is nan
    more = {name: value for name, value in summary.items() if name not in same}
    return [*found, (found[-1][0] if found else 0, more)] if more else found


def _run(ctx: Context, name: str, job: Mapping[str, Any]) -> None:
    """Let a child process do the work within the time limit, and raise what it reports."""
    limit_s = timeout_s(ctx)
    order = {**job, "name": name, "home": str(ctx.home), "verbosity": ctx.verbosity}
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as said:
        try:
            _child(ctx, json.dumps(order, default=str).encode(), answer, said, limit_s)
        except subprocess.TimeoutExpired:
            hint = "KAGG_TRACK_TIMEOUT allows more"
            raise KaggError(f"no end after {limit_s:g} s", code=Exit.SERVICE, hint=hint) from None
        report = _report(answer, said)
    for line in report.get("said", []):
        ctx.say(hide(ctx, line))
    if report.get("error"):
        raise KaggError(report["error"])


def _child(ctx: Context, order: bytes, answer: IO[bytes], said: IO[bytes], limit_s: float) -> None:
    """Run the child and end its whole group, SDK helpers included."""
    path = os.pathsep.join(filter(None, (str(ctx.root), ctx.env.get("PYTHONPATH"))))
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "plugins.lib.tracking_child"],
        stdin=subprocess.PIPE,
        stdout=answer,
        stderr=said,
        env={**ctx.env, "PYTHONPATH": path},
        start_new_session=True,
    )
    guard = process_guard.start_guard(child.pid)
    try:
        child.communicate(order, timeout=limit_s)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if sys.platform == "win32":
                child.kill()
            else:
                os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        process_guard.dismiss_guard(guard)


def _report(answer: IO[bytes], said: IO[bytes]) -> dict[str, Any]:
    """Return what the child reported; without a report its last printed line is the reason."""
    answer.seek(0)
    try:
        report = json.loads(answer.read())
    except ValueError:
        said.seek(max(0, said.seek(0, os.SEEK_END) - SAID_BYTES))
        lines = said.read().decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
        report = {"error": f"its process ended without a report; it said: {last}"}
    if not isinstance(report, dict):
        raise bad_input("the process of the tracker reported nothing that can be read")
    return report
