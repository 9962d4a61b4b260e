"""Run one tracker room for one run: the job arrives as JSON on stdin, the report leaves as JSON on stdout."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

from kagg import Context, redact, room
from plugins.lib.notifying import reason, takes

PLUGIN = {"api": 1, "summary": "the process of a tracker", "requires": {}}


def _work(ctx: Context, job: dict[str, Any]) -> None:
    """Start, log each step, finish; also a room that cannot log is told how the run ended."""
    module = room(ctx, "track", job["name"])
    more = {"ctx": ctx} if takes(module.start, "ctx") else {}
    started = module.start(job["run"], **more)
    tracker = module if started is None else started
    try:
        for step, metrics in job["steps"]:
            tracker.log(step, metrics)
    except Exception:
        with contextlib.suppress(Exception):  # the first error is the one to report
            tracker.finish(job["status"])
        raise
    tracker.finish(job["status"])


def main() -> int:
    """Do the job and report {"error", "said"}; error "" is success."""
    report_to = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what an SDK prints is no report
    job = json.load(sys.stdin)
    said = io.StringIO()
    ctx = Context(stdout=io.StringIO(), stderr=said)
    ctx.home, ctx.verbosity = Path(job["home"]), job["verbosity"]
    try:
        _work(ctx, job)
        error = ""
    except (Exception, SystemExit) as caught:  # noqa: BLE001 - the report is the only way out of this process
        error = reason(caught)
    json.dump({"error": error, "said": [redact(line) for line in said.getvalue().splitlines()]}, report_to)
    report_to.flush()
    os._exit(0)  # an SDK's own way out may wait for its server


if __name__ == "__main__":
    raise SystemExit(main())
