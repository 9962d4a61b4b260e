"""Follow the log of a Kaggle session to its true end.

A live log comes as server-sent events and begins anew at every connection, so what was seen is counted. The balancer in
front cuts a stream after about two minutes as if it were over, so only END_OF_LOG or the session's status ends it.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from typing import TYPE_CHECKING, Any

from kagg import (
    LIVE_STATES,
    VERSION,
    Exit,
    KaggError,
    credentials,
    kaggle_base,
    kernel_status,
    read_body,
    send,
    service_error,
)
from plugins.lib.kaggle.collect import kernel_outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kagg import Context, KernelStatus, Ref

Event = dict[str, Any]  # {"stream_name", "time" (seconds since the start), "data"}

END_OF_LOG = "END_OF_LOG"
# What turns text around (unicode.org/reports/tr9) or hides in it; joiners and marks are part of words and stay.
TRICKS = re.compile("[\u200b\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
STALL_S = 60.0  # a server that is silent for so long is asked again
QUIET_S = 3.0  # without --follow, a live log that is silent for so long has shown what there is
GLANCE_S = 30.0  # and one that never falls silent is left after so long
MAX_FRUITLESS = 60  # connections in a row that fail at once; then, after some ten minutes, only the status is asked
MAX_FAILURES = 10  # answers about the status that fail in a row, each after the retries of `fetch`
AT_ONCE_S = 1.0  # a connection that was held for longer is followed by the next without a pause
ASK_S = 10.0  # how often the status is asked beside a log that breaks off again and again
QUEUED_S = 15.0  # the server holds a request for the log of a queued session; after so long the status is asked
LONGEST_PAUSE_S = 15.0
FIRST_PAUSE_S = 3.0  # the longest while nothing was seen yet: the first lines are waited for
PATIENCE_S = 20.0  # a kernel answers 403 for seconds after its first push
STORED_TRIES = (
    4  # the stored log appears up to minutes after the status; the stream's own copy is usually there at once
)
MAX_LINE_CHARS = 16 * 1024**2
CONNECTION_S = 300.0  # keep-alive comments can hold a connection open for ever: then the status is asked


class Lines:
    r"""Cut bytes into lines at \n, \r\n and \r and nowhere else: a log line may hold U+2028."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._rest = ""
        self._after_cr = False

    def feed(self, piece: bytes) -> list[str]:
        """Return the lines that `piece` completes."""
        text = self._decoder.decode(piece)
        if not text:
            return []
        if self._after_cr:  # a \r\n that came in two pieces is one end of line
            text = text.removeprefix("\n")
        self._after_cr = text.endswith("\r")
        *lines, self._rest = re.split(r"\r\n|\r|\n", self._rest + text)
        if len(self._rest) > MAX_LINE_CHARS:
            raise service_error(f"the log holds a line of more than {MAX_LINE_CHARS} characters")
        return lines


def sse_data(pieces: Iterable[bytes]) -> Iterator[str]:
    """Yield the data of each server-sent event (HTML standard, section 9.2.6); one that is cut off is left out."""
    lines, held = Lines(), []
    for piece in pieces:
        for line in lines.feed(piece):
            field, _, value = line.partition(":")
            if field == "data":
                held.append(value.removeprefix(" "))
            elif not line and held:
                yield "\n".join(held)
                held = []


def _until(ctx: Context, pieces: Iterable[bytes], until_s: float) -> Iterator[bytes]:
    """Pass pieces on until a reading of ctx.monotonic; comments, which are no events, count as well."""
    for piece in pieces:
        yield piece
        if ctx.monotonic() > until_s:
            return


def parse_event(found: object) -> Event:
    """Return one log event with its three fields, whatever the server made of it."""
    if not isinstance(found, dict):
        return {"stream_name": "stdout", "time": None, "data": f"{found}\n"}
    name, text = str(found.get("stream_name") or "stdout"), str(found.get("data") or "")
    return {**found, "stream_name": name, "time": found.get("time"), "data": text}


def _decoded(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


class _Log:
    """One log, read over as many connections as it takes."""

    def __init__(self, ctx: Context, ref: Ref, on_event: Callable[[Event], None]) -> None:
        self.ctx, self.ref, self.on_event = ctx, ref, on_event
        self.seen = 0
        self.fruitless = 0

    def read(self, timeout_s: float, until_s: float = math.inf) -> bool:
        """Read what is new from one connection and tell whether it reached the end of the log.

        Raises:
            KaggError: SERVICE, with `status` when the server refused; without when it broke off or fell silent.
        """
        version = f"?versionLabel=v{self.ref.version}" if self.ref.version else ""
        url = f"{kaggle_base(self.ctx)}/v1/kernels/logs/stream/{self.ref.owner}/{self.ref.slug}{version}"
        usable = credentials(self.ctx)
        headers = {"Authorization": usable[0].header} if usable else {}
        headers |= {
            "Accept": "text/event-stream, */*",
            "Accept-Encoding": "identity",
            "User-Agent": f"kagg/{VERSION}",
        }
        answer = send(self.ctx, "GET", url, headers=headers, timeout_s=timeout_s)
        try:
            if answer.status != 200:
                raise service_error(f"the log of {self.ref}: the server answered {answer.status}", status=answer.status)
            if "text/event-stream" not in str(answer.headers.get("Content-Type") or ""):
                return self.stored(read_body(self.ctx, answer, timeout_s).decode("utf-8", "replace"))
            until_s = min(until_s, self.ctx.monotonic() + CONNECTION_S)
            for position, data in enumerate(sse_data(_until(self.ctx, answer.pieces(), until_s))):
                if data.strip() == END_OF_LOG:
                    return True
                self.take(position, _decoded(data))
        finally:
            answer.close()
        return False

    def take(self, position: int, found: object) -> None:
        """Pass the event at `position` on, unless an earlier connection showed it."""
        if position >= self.seen:
            self.seen = position + 1
            self.on_event(parse_event(found))

    def stored(self, text: str) -> bool:
        """Take the log of a session that is over; an empty or shorter one is not ready yet."""
        found = _decoded(text) if text.strip() else []
        if not isinstance(found, list):
            raise service_error(f"the log of {self.ref} is no list of events", retry=True)
        whole = len(found) >= max(self.seen, 1)
        for position, event in enumerate(found):
            self.take(position, event)
        return whole

    def follow(self, until_s: float, silence_s: float) -> bool:
        """Read from one connection; tell whether the log is over. Failures are counted, not raised."""
        began_s, seen = self.ctx.monotonic(), self.seen
        try:
            if self.read(max(0.1, min(silence_s, until_s - began_s)), until_s):
                return True
        except KaggError as error:
            if error.code != Exit.SERVICE:
                raise
            self.ctx.say(f"{error.message}; going on from event {self.seen}", 1)
        idle = self.seen == seen and self.ctx.monotonic() - began_s < AT_ONCE_S
        self.fruitless = self.fruitless + 1 if idle else 0
        return False

    def glance(self) -> None:
        """Show what there is of a live log; silence ends it as well as the end of the connection does."""
        try:
            self.read(QUIET_S, self.ctx.monotonic() + GLANCE_S)
        except KaggError as error:
            if "status" in error.details or error.code != Exit.SERVICE:
                raise

    def complete(self) -> None:
        """Show the rest of the log of a session that is over, from wherever it can be had."""
        for attempt in range(STORED_TRIES):
            if self.follow(math.inf, STALL_S):
                return
            _pause(self.ctx, attempt)
        try:
            whole = self.stored(kernel_outputs(self.ctx, self.ref, only_log=True)[1])
        except KaggError as error:  # the session is over: its outputs count, with or without a log
            if error.code != Exit.SERVICE:
                raise
            self.ctx.say(error.message, 1)
            whole = False
        if not whole:
            self.ctx.say(f"the log of {self.ref} may lack its end, which Kaggle has not stored yet")


def _pause(ctx: Context, step: int, shortest_s: float = 0.3, longest_s: float = LONGEST_PAUSE_S) -> None:
    """Wait longer with each step."""
    ctx.sleep(min(longest_s, shortest_s * 2 ** min(step, 10)) * ctx.random.uniform(0.5, 1.0))


def ask_status(
    ctx: Context,
    ref: Ref,
    *,
    patience_s: float = 0.0,
    until_s: float = math.inf,
    is_gone: Callable[[], bool] | None = None,
) -> KernelStatus:
    """Return the status; an outage and, for `patience_s`, a kernel that cannot be read are waited for.

    The second wait ends when `is_gone` says that somebody of ours has deleted the kernel.
    """
    began_s, failures = ctx.monotonic(), 0
    while True:
        longest_s = LONGEST_PAUSE_S
        try:
            return kernel_status(ctx, ref)
        except KaggError as error:
            failures += 1
            if error.details.get("status") in (403, 404) and error.code == Exit.SERVICE:
                waits, longest_s = ctx.monotonic() - began_s < patience_s, FIRST_PAUSE_S
                waits = waits and not (is_gone and is_gone())
            else:
                waits = bool(error.details.get("retry")) and failures < MAX_FAILURES
            if not waits or ctx.monotonic() >= until_s:
                raise
            ctx.say(f"{error.message}; asking again", 1)
        _pause(ctx, failures, 0.5, longest_s)


def wait_for_end(
    ctx: Context,
    ref: Ref,
    *,
    until_s: float = math.inf,
    on_status: Callable[[KernelStatus], None] | None = None,
    patience_s: float = 0.0,
    is_gone: Callable[[], bool] | None = None,
) -> KernelStatus:
    """Ask until the session is over or `until_s` (a reading of ctx.monotonic) has come; return the last status."""
    for step in range(1_000_000):
        status = ask_status(ctx, ref, patience_s=patience_s, until_s=until_s, is_gone=is_gone)
        if on_status:
            on_status(status)
        left_s = until_s - ctx.monotonic()
        if status.state not in LIVE_STATES or left_s <= 0:
            break
        ctx.sleep(min(left_s, LONGEST_PAUSE_S, 0.3 * 1.5 ** min(step, 20)) * ctx.random.uniform(0.7, 1.0))
    return status


def follow_logs(
    ctx: Context,
    ref: Ref,
    *,
    follow: bool,
    on_event: Callable[[Event], None],
    max_wait_s: float | None = None,
    patience_s: float = PATIENCE_S,
    on_status: Callable[[KernelStatus], None] | None = None,
    is_gone: Callable[[], bool] | None = None,
) -> KernelStatus:
    """Hand every event of the log to `on_event` once, and return the session's status; each one seen to `on_status`.

    With `follow` until the session is over, through cuts, stalls and outages, or until `max_wait_s` has passed: then
    the status that is returned is still a live one. Without `follow`, what there is.

    Raises:
        KaggError: SERVICE when the server cannot be reached for long, or does not know the kernel.
    """
    log = _Log(ctx, ref, on_event)
    until_s = math.inf if max_wait_s is None else ctx.monotonic() + max_wait_s
    patience: dict[str, Any] = {"patience_s": patience_s if follow else 0.0, "until_s": until_s, "is_gone": is_gone}
    tell = on_status or _nobody

    def ask() -> KernelStatus:
        found = ask_status(ctx, ref, **patience)
        tell(found)
        return found

    status = ask()
    if not follow and status.state in LIVE_STATES:
        if status.state != "QUEUED":
            log.glance()
        return status
    status, over = _follow_live(log, status, until_s, ask)
    if status.state in LIVE_STATES:  # the log may end long before its outputs are stored
        status = wait_for_end(ctx, ref, on_status=on_status, **patience)
    if not over and status.state not in (*LIVE_STATES, "NEW_SCRIPT"):
        log.complete()
    return status


def _nobody(_status: KernelStatus) -> None:
    """Take a status that nobody asked for."""


def _follow_live(
    log: _Log, status: KernelStatus, until_s: float, ask: Callable[[], KernelStatus]
) -> tuple[KernelStatus, bool]:
    """Read a live log over and over; return the last status seen and whether the log came to its end.

    A queued session is read as well: the server holds the request until there is something to read, so the first lines
    do not wait for a question of ours. The status is asked when a connection was of no use, else every ASK_S.
    """
    ctx, asked_s = log.ctx, log.ctx.monotonic()
    while status.state in LIVE_STATES and ctx.monotonic() < until_s:
        if log.fruitless < MAX_FRUITLESS and log.follow(until_s, QUEUED_S if status.state == "QUEUED" else STALL_S):
            return status, True
        if log.fruitless:
            _pause(ctx, log.fruitless - 1, longest_s=LONGEST_PAUSE_S if log.seen else FIRST_PAUSE_S)
        if log.fruitless or ctx.monotonic() - asked_s > ASK_S:
            before, status, asked_s = status, ask(), ctx.monotonic()
            log.fruitless = log.fruitless if status.state == before.state else 0
    return status, False
