"""Step 4: follow a session's log to its end, keep it, and say how the session ended."""

from __future__ import annotations

import contextlib
import json
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import LIVE_STATES, Exit, KaggError, KernelStatus
from plugins.lib.kaggle.logstream import TRICKS, follow_logs
from plugins.lib.launch.kernel import READABLE_S, STORED_ONLY, was_deleted
from plugins.lib.local_run import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import IO

    from kagg import Context, Ref
    from plugins.lib.launch.steps import Launch

    Event = dict[str, Any]

TAIL_LINES = 30
TAIL_CHARS = 65_536
MARGIN_S = 600.0  # beyond the run's own limit: starting the machine, storing the outputs
TIMED_OUT = "exceeded the max allowed execution duration"  # Kaggle's words, as are the next
OUT_OF_MEMORY = "tried to allocate more memory than is available"
MARKER = "KAGG-EXIT "
GONE = "GONE"  # a state of ours: somebody deleted the kernel
ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
ERROR_LINE = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Warning|Iteration|Group)(?:: .*)?")


class Ended(NamedTuple):
    """How a session ended: its state and Kaggle's words, how long it was queued and ran, as far as the log tells."""

    state: str
    message: str
    verdict: Verdict
    queued_s: float | None = None
    running_s: float | None = None


class _Seen:
    """What passed so far: the log on disk, the ends of both streams, and when it began."""

    def __init__(self, ctx: Context, log: IO[str], on_event: Callable[[Event], None] | None) -> None:
        self.ctx, self.log, self.on_event = ctx, log, on_event
        self.errors, self.began_s = "", 0.0

    def take(self, event: Event) -> None:
        """Store one event and pass it on; the marker is for us."""
        self.log.write(json.dumps(event) + "\n")
        self.log.flush()
        if not self.began_s:
            offset = event.get("time")
            self.began_s = self.ctx.monotonic() - (float(offset) if isinstance(offset, int | float) else 0.0)
        if event["stream_name"] == "stderr":
            self.errors = (self.errors + event["data"])[-TAIL_CHARS:]
        if self.on_event and not event["data"].startswith((MARKER, "[NbConvertApp]")):
            self.on_event({**event, "data": TRICKS.sub("", event["data"])})

    def lines(self) -> list[str]:
        """Return the error stream's last lines without colours and without what Kaggle adds."""
        lines = [line.rstrip() for line in ANSI.sub("", self.errors).split("\n")]
        return [line for line in lines if line and not line.startswith("[NbConvertApp]")]


class _Queue:
    """Shows how long a session has been queued, until it is not."""

    def __init__(self, ctx: Context) -> None:
        self.ctx, self.began_s, self.shown = ctx, ctx.monotonic(), False

    def take(self, status: KernelStatus) -> None:
        """Take one status."""
        waits = status.state == "QUEUED"
        if waits or self.shown:
            waited = spell(self.ctx.monotonic() - self.began_s)
            self.ctx.progress({"session": status.state.lower(), "queued": waited} | ({} if waits else {"end": True}))
        self.shown = waits


def session_verdict(status: KernelStatus, lines: Sequence[str]) -> Verdict:
    """Say how a session ended from its status and the end of its error stream, without any summary of its own."""
    if status.state == "COMPLETE":
        return Verdict("complete", 0)
    if status.state in LIVE_STATES:
        return Verdict("timeout", 1, f"it is still {status.state.lower()} and was left to itself")
    if TIMED_OUT in status.message:
        return Verdict("timeout", 1, status.message)
    if OUT_OF_MEMORY in status.message or status.state.startswith("CANCEL"):
        return Verdict("killed", 1, status.message or "the session was cancelled")
    found = [number for number, line in enumerate(lines) if ERROR_LINE.fullmatch(line)]
    last = found[-1] if found else len(lines) - 1
    traceback = lines[max(0, last + 1 - TAIL_LINES) : last + 1]
    begins = [number for number, line in enumerate(traceback) if line.startswith("Traceback (most recent call last)")]
    error = status.message or (lines[last] if lines else f"the session ended with {status.state}")
    return Verdict("error", 1, error, None, traceback[begins[-1] if begins else 0 :])


@contextlib.contextmanager
def _kept_log(dest: Path) -> Iterator[IO[str]]:
    """Write dest/log.jsonl, which appears when it is whole or when we are stopped."""
    dest.mkdir(parents=True, exist_ok=True)
    part = dest / ".log.jsonl.part"
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(part, flags, 0o600), "w", encoding="utf-8") as log:
            yield log
    finally:
        part.replace(dest / "log.jsonl")


def follow(launch: Launch, ref: Ref) -> Ended:
    """Follow a session to its end.

    Raises:
        KaggError: SERVICE when Kaggle cannot be reached for long, or does not know the kernel.
    """
    ctx, began_s = launch.ctx, launch.ctx.monotonic()
    limit_s = launch.plan.session_limit_s + launch.plan.wanted.max_wait_s + MARGIN_S
    if launch.plan.wanted.timeout_s is not None:
        limit_s = launch.plan.limit_s + launch.plan.wanted.max_wait_s + MARGIN_S
    with _kept_log(launch.dest) as log:
        seen, queue = _Seen(ctx, log, launch.on_event), _Queue(ctx)
        try:
            status = follow_logs(
                ctx,
                ref,
                follow=True,
                on_event=seen.take,
                max_wait_s=limit_s,
                patience_s=READABLE_S,
                is_gone=lambda: was_deleted(ctx, launch.state.attempt),
                on_status=queue.take,
            )
        except (KaggError, KeyboardInterrupt) as error:
            if (
                isinstance(error, KaggError)
                and error.details.get("status") in (403, 404)
                and error.code == Exit.SERVICE
            ):
                status = KernelStatus(GONE, "the kernel was deleted on Kaggle, as stop does")
                return Ended(GONE, status.message, Verdict("killed", 1, status.message))
            hint = f"python kagg.py attach {ref.slug}; to end it: python kagg.py stop {ref.slug}"
            ctx.say(f"{ref.owner}/{ref.slug} goes on at Kaggle; to go on here: {hint}", -1)
            raise
    if status.state == STORED_ONLY:
        launch.state.reach("script")  # nothing runs: attach pushes it again
        words = f"Kaggle stored {ref} and did not run it"
        raise KaggError(words, code=Exit.QUOTA, hint=f"try again: python kagg.py attach {ref.slug}")
    ended_s = ctx.monotonic()
    begun_s = min(max(began_s, seen.began_s), ended_s) if seen.began_s else None
    queued_s = round(begun_s - began_s, 1) if begun_s else None
    running_s = round(ended_s - begun_s, 1) if begun_s else None
    words = f"queued {spell(queued_s)} · running {spell(running_s)}" if queued_s is not None else "no log"
    launch.say("session", f"{words} · {status.state.lower()}")
    return Ended(status.state, status.message, session_verdict(status, seen.lines()), queued_s, running_s)


def spell(seconds: float | None) -> str:
    """Return seconds as people read them: 12 s, 03:45, 1:02:03."""
    if seconds is None:
        return "?"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60:02}:{rest % 60:02}"
