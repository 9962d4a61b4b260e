"""Wait for a free session: the runs of one account stand in a line for each kind of slot, and one at a time pushes.

Kaggle has no queue: it refuses a push while all slots are taken, and queued sessions count (CPU 5, GPU 2, TPU 1 for an
account; the refusal names its number). So the threads of one process stand in line in the order in which they came, the
first of every process takes turns by a lock that the system frees when its holder dies, and whoever has the turn looks
at our own live sessions before it knocks.
"""

from __future__ import annotations

import contextlib
import re
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from kagg import SLOTS_FULL, Exit, KaggError, hashed, kaggle_base, kaggle_user, locked
from plugins.lib.launch import journal
from plugins.lib.launch.accelerators import SLOTS
from plugins.lib.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kagg import Context
    from plugins.lib.launch.journal import Live

T = TypeVar("T")

PLUGIN = {"api": 1, "summary": "waiting for a session", "requires": {"sqlalchemy": "SQLAlchemy>=2.0"}}

PUSH_S = 30.0  # those before us in line may only be pushing, whatever --max-wait says
IN_LINE_S = 0.1  # between looks whether those before us have gone
TURN_S = 1.0  # the same, for another process
PAUSE_S = (2.0, 30.0)  # between knocks: the first and the longest
LOOK_S = 10.0  # at most, between looks at our own sessions
KNOCK_S = 300.0  # we knock so often although our own sessions fill the limit: accounts have had other limits


class Place(NamedTuple):
    """One account's slots of one kind: where its line is kept, in this process (`key`) and between processes."""

    slot: str
    owner: str
    key: tuple[str, str, str]
    lock: Path


def push_when_free(
    ctx: Context,
    slot: str,
    push: Callable[[], T],
    *,
    max_wait_s: float,
    own_live: Callable[[], list[Live]] | None = None,
) -> T:
    """Call `push` once a session of kind `slot` (CPU, GPU, TPU) may be free, again until Kaggle takes it.

    `own_live` returns our queued and running sessions of this kind (default: what the journal and Kaggle say).

    Raises:
        KaggError: QUOTA when none became free within `max_wait_s`: nothing runs then. Whatever else `push` raises.
    """
    wait = _Wait(ctx, _place(ctx, slot), max_wait_s, own_live)
    try:
        with _line(ctx, wait), _turn(wait):
            return _knock(wait, push)
    finally:
        wait.end()


def _place(ctx: Context, slot: str) -> Place:
    owner, base = kaggle_user(ctx), kaggle_base(ctx)
    name = hashed(f"{base} {owner}")[:16]
    return Place(slot, owner, ("slots", name, slot), ctx.home / "slots" / f"{name}-{slot}")


class _Wait:
    """One wait: its deadline, and what was said about it."""

    def __init__(
        self, ctx: Context, place: Place, max_wait_s: float, own_live: Callable[[], list[Live]] | None
    ) -> None:
        self.ctx, self.place, self.max_wait_s = ctx, place, max_wait_s
        self.began_s = ctx.monotonic()
        self.own_live = own_live or self._journaled
        self.knocked_s: float | None = None
        self.said, self.shown = "", False
        self.reason = f"other runs of yours wait for a {place.slot} session, too"

    @property
    def left_s(self) -> float:
        """Seconds until we give up."""
        return self.began_s + self.max_wait_s - self.ctx.monotonic()

    @property
    def waited_s(self) -> float:
        """Seconds since we began to wait."""
        return self.ctx.monotonic() - self.began_s

    @property
    def limit(self) -> int:
        """How many sessions Kaggle allows at once: as it said, else as it usually is."""
        return int(self.ctx.cache.get((*self.place.key, "limit"), SLOTS.get(self.place.slot, 1)))

    def learn(self, error: KaggError) -> bool:
        """Take the limit out of a refusal; False when it is about something else."""
        found = re.search(SLOTS_FULL, error.message) if error.code == Exit.QUOTA else None
        if error.details.get("stored"):
            return True
        if found and found[1] == self.place.slot:
            self.ctx.cache[(*self.place.key, "limit")] = int(found[2][:6])
        return bool(found)

    def say(self, kind: str, words: str) -> None:
        """Say why we wait, once for each kind of reason."""
        self.reason = words
        self.ctx.say(f"{words}; waiting", 0 if kind != self.said else 1)
        self.said = kind

    def show(self) -> None:
        """Show how long we have waited."""
        event = {"waiting": f"{self.place.slot} session", "seconds": round(self.ctx.monotonic() - self.began_s)}
        self.ctx.progress(event)
        self.shown = True

    def pause(self, seconds: float) -> None:
        """Wait a little, at most until the deadline."""
        left_s = self.left_s if self.left_s > 0 else seconds
        self.ctx.sleep(min(seconds, left_s) * self.ctx.random.uniform(0.8, 1.0))

    def end(self) -> None:
        """Close the line that shows the wait."""
        if self.shown:
            self.ctx.progress({"waiting": f"{self.place.slot} session", "end": True})

    def give_up(self, error: KaggError | None = None) -> KaggError:
        """Return the error that ends the wait."""
        details: dict[str, Any] = {**(error.details if error else {}), "waited_s": round(self.max_wait_s, 3)}
        return KaggError(
            f"no {self.place.slot} session became free within {self.max_wait_s:g} s: {self.reason}",
            code=Exit.QUOTA,
            hint="give a longer --max-wait; your sessions: python kagg.py ps",
            details=details,
        )

    def _journaled(self) -> list[Live]:
        """Return our live sessions; Kaggle is not asked while the journal knows of fewer than the limit."""
        with Ledger.open(self.ctx) as ledger:
            known = journal.candidates(self.ctx, ledger, slot=self.place.slot, owner=self.place.owner)
            if len(known) < self.limit and self.knocked_s is None:
                return []
            return journal.live(self.ctx, ledger, slot=self.place.slot, owner=self.place.owner)


@contextlib.contextmanager
def _line(ctx: Context, wait: _Wait) -> Iterator[None]:
    """Stand in line behind the threads of this process that came before."""
    ticket = object()
    with ctx.lock:
        line: deque[object] = ctx.cache.setdefault(wait.place.key, deque())
        line.append(ticket)
    try:
        while line[0] is not ticket:
            if wait.left_s <= 0 and wait.waited_s > PUSH_S:
                raise wait.give_up()
            wait.pause(IN_LINE_S)
        yield
    finally:
        with ctx.lock:
            line.remove(ticket)


@contextlib.contextmanager
def _turn(wait: _Wait) -> Iterator[None]:
    """Hold the account's lock, so that of all processes only one knocks."""
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(locked(wait.place.lock, timeout_s=0.0))
                break
            except KaggError as error:  # another process has it
                wait.reason = f"another process of yours waits for a {wait.place.slot} session"
                if wait.left_s <= 0 and wait.waited_s > PUSH_S:
                    raise wait.give_up() from error
            wait.pause(TURN_S)
        yield


def _knock(wait: _Wait, push: Callable[[], T]) -> T:
    """Push when our own sessions leave a slot free, until Kaggle agrees."""
    pause_s = PAUSE_S[0]
    while True:
        holders, refusal = wait.own_live(), None
        since_s = wait.ctx.monotonic() - (wait.began_s if wait.knocked_s is None else wait.knocked_s)
        if len(holders) < wait.limit or since_s >= KNOCK_S:
            wait.knocked_s = wait.ctx.monotonic()
            try:
                return push()
            except KaggError as error:
                if not wait.learn(error):
                    raise
                holders, refusal = wait.own_live(), error
        _explain(wait, holders)
        if wait.left_s <= 0:
            raise wait.give_up(refusal) from refusal
        wait.show()
        wait.pause(pause_s if refusal else min(pause_s, LOOK_S))
        pause_s = min(PAUSE_S[1], 1.5 * pause_s)


def _explain(wait: _Wait, holders: list[Live]) -> None:
    """Say who holds the slots: we, somebody else with this account, or sessions that nobody sees any more."""
    slot = wait.place.slot
    if not holders:
        elsewhere = "sessions that were started elsewhere hold them, or ones that ended and are still counted"
        wait.say(
            "others", f"Kaggle has no free {slot} session (limit {wait.limit}), and none is a run of yours: {elsewhere}"
        )
        return
    ages = ((one.attempt, journal.age_s(wait.ctx, one.attempt.pushed)) for one in holders[:5])
    names = ", ".join(f"{one.ref} {journal.ago(age_s)}" for one, age_s in ages)
    more = f" and {len(holders) - 5} more" if len(holders) > 5 else ""
    few = f" (limit {wait.limit})" if len(holders) < wait.limit else ""
    are = f"{slot} session of yours is live" if len(holders) == 1 else f"{slot} sessions of yours are live"
    wait.say("own", f"{len(holders)} {are}{few}: {names}{more}")
