"""Print what a kernel's session printed, while it runs or afterwards."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kagg import LIVE_STATES, Exit, KaggError, parse_duration
from plugins.lib.kaggle.logstream import TRICKS, follow_logs
from plugins.lib.kaggle.session import named_kernel

if TYPE_CHECKING:
    import argparse

    from kagg import Context
    from plugins.lib.kaggle.logstream import Event

PLUGIN = {"api": 1, "summary": "print the log of a kernel's session, live with --follow", "requires": {}}

GOOD = ("COMPLETE", "QUEUED", "RUNNING", "NEW_SCRIPT")
# Escape sequences and control characters of a stranger's log could rewrite the reader's terminal.
UNSAFE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `logs`."""
    parser.add_argument("ref", help="owner/slug[/vN], or a slug of yours")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the session is over")
    parser.add_argument("--max-wait", default="12h", help="with --follow: fail after this long (default: %(default)s)")


class _Printer:
    """Print events: one JSON object a line under --json, else the text, whole lines at a time."""

    def __init__(self, ctx: Context) -> None:
        self.ctx, self.rest = ctx, ""

    def take(self, event: Event) -> None:
        """Print one event."""
        if self.ctx.as_json:
            self.ctx.emit(event)
            return
        *lines, self.rest = (self.rest + TRICKS.sub("", UNSAFE.sub("", event["data"]))).split("\n")
        for line in lines:
            self.ctx.emit(line)

    def close(self) -> None:
        """Print a last line that did not end."""
        if self.rest:
            self.ctx.emit(self.rest)


def run(args: argparse.Namespace, ctx: Context) -> int:
    """Print the log; exit 1 when the session failed or was cancelled, or when --max-wait is over."""
    limit_s = parse_duration(args.max_wait)
    ref = named_kernel(ctx, args.ref)
    printer = _Printer(ctx)
    try:
        status = follow_logs(ctx, ref, follow=args.follow, on_event=printer.take, max_wait_s=limit_s)
    finally:
        printer.close()
    if args.follow and status.state in LIVE_STATES:
        raise KaggError(f"{ref} is still {status.state.lower()} after {args.max_wait}", hint="give a longer --max-wait")
    if status.state in GOOD:
        ctx.say(f"{ref}: {status.state.lower()}", 1)
        return Exit.DONE
    raise KaggError(f"{ref} ended with {status.state.lower()}" + (f": {status.message}" if status.message else ""))
