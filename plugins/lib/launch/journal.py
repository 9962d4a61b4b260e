"""Read the journal of runs on Kaggle: what the ledger's effects say of every attempt, and what Kaggle says of it now.

Effects that count, written before and after each act: `push`, `collect`, `delete-kernel` (target: the kernel),
`dataset` and `delete-dataset` (target: the dataset). Those that a run on Kaggle writes name its attempt in `request`;
a plain `push`, whose kernel is the user's own, does not, and is no attempt.
"""

from __future__ import annotations

import difflib
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import LIVE_STATES, Exit, KaggError, KernelStatus, Ref, bad_input, kernel_status, redact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kagg import Context
    from plugins.lib.ledger import Ledger

KINDS = ("push", "dataset", "collect", "delete-kernel", "delete-dataset")
SLUG = re.compile(r"(?P<name>.+)-(?P<day>\d{8})-(?P<time>\d{4})-[0-9a-f]{6}")
ASK_FOR = timedelta(days=3)  # after its push: a session lasts 12 h at most, and waits for a machine for some hours
STATUS_CALLS_AT_ONCE = 8
SEARCHED = 10_000  # newest runs that a name is looked for in
GONE = "GONE"  # states of ours beside Kaggle's: no such kernel, or nobody knows
UNKNOWN = "UNKNOWN"
MISSING = (403, 404)  # Kaggle answers 403 for what is not there, too


class Attempt(NamedTuple):
    """One run on Kaggle as the journal knows it.

    `state`: planned (nothing pushed yet), pushing, unknown (pushed perhaps), pushed, refused (nothing runs), collected,
    deleted. `client`: who works on it, "running" here, "on HOST", "detached" or "gone". `begun` and `pushed` are
    ISO 8601. `made` are the datasets that were made for it, `datasets` those of them that are not deleted. `ref` is ""
    while nothing is pushed.
    """

    attempt: str
    ref: str = ""
    state: str = "planned"
    client: str = "gone"
    run_id: str = ""
    job_id: int | None = None
    device: str = ""
    accelerator: str = ""
    slot: str = ""
    timeout_s: float | None = None
    dest: str = ""
    keep: bool = False
    collected: bool = False
    begun: str = ""
    pushed: str = ""
    url: str = ""
    version: int | None = None
    datasets: tuple[str, ...] = ()
    made: tuple[str, ...] = ()

    @property
    def on_kaggle(self) -> bool:
        """Tell whether its kernel may lie on Kaggle."""
        return self.state in ("pushing", "unknown", "pushed", "collected")

    @property
    def open(self) -> bool:
        """Tell whether its results may still come."""
        return self.state in ("planned", "pushing", "unknown", "pushed")

    @property
    def attended(self) -> bool:
        """Tell whether a process works on it."""
        return self.client not in ("gone", "detached")

    def is_of(self, user: str) -> bool:
        """Tell whether its kernel belongs to this account."""
        return self.kernel().owner.lower() == user.lower()

    def kernel(self) -> Ref:
        """Return the kernel's reference."""
        return named(self.ref)


def named(ref: str) -> Ref:
    """Return the kernel that "owner/slug" names."""
    owner, _, slug = ref.partition("/")
    return Ref("kaggle", owner, slug)


class Live(NamedTuple):
    """An attempt and what Kaggle says of it; beside Kaggle's states GONE and, with the reason, UNKNOWN."""

    attempt: Attempt
    status: KernelStatus

    @property
    def live(self) -> bool:
        """Tell whether it is queued or running."""
        return self.status.state in LIVE_STATES


# ---------------------------------------------------------------- from the ledger


def attempts(ledger: Ledger) -> list[Attempt]:
    """Return every attempt in the journal, the newest first."""
    found: dict[str, Attempt] = {}
    by_ref: dict[str, str] = {}
    clients = _Clients(ledger)
    for row in ledger.effects_of_kinds(KINDS):
        request = row["request"] if isinstance(row["request"], dict) else {}
        name = str(request.get("attempt") or by_ref.get(row["target"], ""))
        if not name:
            continue
        found[name] = _with(found.get(name) or Attempt(name, begun=row["started"]), row, request)
        if found[name].ref:
            by_ref[found[name].ref] = name
        if row["kind"] in ("push", "dataset"):
            by_ref.setdefault(row["target"], name)
            found[name] = found[name]._replace(run_id=row["run_id"], job_id=row["job_id"])
            clients.runs[row["run_id"]] = row["run"]
    known = [one._replace(client=clients.of(one)) for one in found.values()]
    return sorted(known, key=lambda one: one.begun, reverse=True)


def _with(attempt: Attempt, row: dict[str, Any], request: dict[str, Any]) -> Attempt:
    """Return the attempt after one more effect."""
    outcome = row["outcome"] if isinstance(row["outcome"], dict) else {}
    done, target = row["status"] == "done", str(row["target"])
    if row["kind"] == "push":
        return _pushed(attempt, row, request, outcome)
    if row["kind"] == "collect" and done:
        state = attempt.state if attempt.state == "deleted" else "collected"
        return attempt._replace(state=state, collected=True, ref=attempt.ref or target)
    if row["kind"] == "delete-kernel" and done:
        return attempt._replace(state="deleted", ref=attempt.ref or target)
    if row["kind"] == "dataset" and row["status"] != "failed":
        left, made = (tuple(dict.fromkeys([*refs, target])) for refs in (attempt.datasets, attempt.made))
        return attempt._replace(datasets=left, made=made)
    if row["kind"] == "delete-dataset" and done:
        return attempt._replace(datasets=tuple(ref for ref in attempt.datasets if ref != target))
    return attempt


def _pushed(attempt: Attempt, row: dict[str, Any], request: dict[str, Any], outcome: dict[str, Any]) -> Attempt:
    """Return the attempt after a push, which may have failed after it arrived: then `outcome` names its kernel."""
    arrived = bool(outcome.get("slug"))
    states = {"pending": "pushing", "done": "pushed", "failed": "pushed" if arrived else "refused"}
    state = states.get(row["status"], "unknown")
    if state == "refused" and attempt.state in ("pushed", "unknown"):  # an earlier push of it may run
        state = attempt.state
    limit = request.get("timeout_s")
    return attempt._replace(
        state=state,
        ref=f"{outcome['owner']}/{outcome['slug']}" if arrived else str(row["target"]),
        pushed=str(row["ended"] or row["started"]),
        device=str(request.get("device") or "cpu"),
        accelerator=str(request.get("accelerator") or ""),
        slot=str(request.get("slot") or "CPU"),
        timeout_s=float(limit) if isinstance(limit, int | float) else None,
        dest=str(request.get("dest") or ""),
        keep=bool(request.get("keep")),
        url=str(outcome.get("url") or ""),
        version=outcome.get("versionNumber") if isinstance(outcome.get("versionNumber"), int) else None,
    )


class _Clients:
    """Who works on which attempt: the runs that are under way (`attach` takes a run's row over), and a batch's jobs."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.runs = ledger, dict[str, dict[str, Any]]()
        self.host, self.jobs = socket.gethostname(), dict[str, dict[int, str]]()

    def of(self, attempt: Attempt) -> str:
        """Return who works on it."""
        run = self.runs.get(attempt.run_id, {})
        if run.get("status") == "running" and self._job_runs(attempt, run):
            return "running" if run["host"] == self.host else f"on {run['host']}"
        return "detached" if run.get("status") == "detached" else "gone"

    def _job_runs(self, attempt: Attempt, run: dict[str, Any]) -> bool:
        """Tell whether the attempt's job goes on; other jobs of its batch may."""
        if attempt.job_id is None:
            return True
        if run["id"] not in self.jobs:
            self.jobs[run["id"]] = {row["id"]: row["status"] for row in self.ledger.jobs(run["id"])}
        return self.jobs[run["id"]].get(attempt.job_id) == "running"


def find(ledger: Ledger, text: str) -> Attempt:
    """Return the attempt that `text` names: its id or kernel, the ledger's run, or the beginning of one of them.

    Raises:
        KaggError: USAGE when there is none, or several (`details["several"]`).
    """
    known, wanted = attempts(ledger), text.strip()
    names = [(one, (one.attempt, one.ref, one.ref.rpartition("/")[2], one.run_id)) for one in known]
    for fits in (str.__eq__, str.startswith):
        found = [one for one, called in names if wanted and any(name and fits(name, wanted) for name in called)]
        if len(found) == 1:
            return found[0]
        if found:
            some = ", ".join(one.attempt for one in found[:5])
            words = f"{wanted[:80]!r} names {len(found)} runs on Kaggle"
            raise KaggError(words, code=Exit.USAGE, hint=f"name one: {some}", details={"several": len(found)})
    near = difflib.get_close_matches(wanted, [one.attempt for one in known], 3, 0.6)
    hint = f"did you mean {', '.join(near)}?" if near else "see the runs with: python kagg.py ps --all"
    raise bad_input(f"no run on Kaggle is named {wanted[:80]!r}", hint)


def spelled_out(ctx: Context, ledger: Ledger, text: str) -> str:
    """Return the attempt that last or last~N means, of those that have begun; any other text as it is.

    Raises:
        KaggError: USAGE when there are not so many.
    """
    back = re.fullmatch(r"last(?:~(\d{1,6}))?", text.strip())
    if not back:
        return text
    rows = ledger.runs(SEARCHED, command="run")
    found = [str(name) for row in rows if (name := (row["params"] or {}).get("attempt")) and has_begun(ctx, str(name))]
    number = int(back[1] or 0)
    if number >= len(found):
        some = f"there are {len(found)}" if found else "there is none"
        raise bad_input(f"no run on Kaggle is {text.strip()!r}: {some}", "see: python kagg.py ps --all")
    return found[number]


def has_begun(ctx: Context, attempt: str) -> bool:
    """Tell whether an attempt has come so far that there is something to go on with."""
    return bool(SLUG.fullmatch(attempt)) and (ctx.home / "runs" / attempt / "state.json").is_file()


# ---------------------------------------------------------------- from Kaggle


def look(ctx: Context, ref: Ref) -> KernelStatus:
    """Return the state of a kernel's session; GONE when there is no such kernel, UNKNOWN when nobody answers."""
    try:
        return kernel_status(ctx, ref)
    except KaggError as error:
        if error.details.get("status") in MISSING:
            return KernelStatus(GONE)
        return KernelStatus(UNKNOWN, redact(error.message))


def look_at_all(ctx: Context, refs: Iterable[Ref]) -> list[KernelStatus]:
    """Return the states of several kernels' sessions, asked for at the same time."""
    wanted = list(refs)
    if len(wanted) < 2:
        return [look(ctx, ref) for ref in wanted]
    with ThreadPoolExecutor(min(len(wanted), STATUS_CALLS_AT_ONCE)) as pool:
        return list(pool.map(lambda ref: look(ctx, ref), wanted))


def candidates(ctx: Context, ledger: Ledger, *, slot: str = "", owner: str = "") -> list[Attempt]:
    """Return the attempts that may be live, as far as the journal tells: Kaggle is not asked."""
    return [
        one
        for one in attempts(ledger)
        if one.state in ("unknown", "pushed")
        and slot in ("", one.slot)
        and owner in ("", one.kernel().owner)
        and (age_s(ctx, one.pushed) or 0.0) < ASK_FOR.total_seconds()
    ]


def live(ctx: Context, ledger: Ledger, *, slot: str = "", owner: str = "") -> list[Live]:
    """Return our sessions that are queued or running, the newest first; the journal proposes, Kaggle decides."""
    known = candidates(ctx, ledger, slot=slot, owner=owner)
    states = look_at_all(ctx, (one.kernel() for one in known))
    found = [Live(one, status) for one, status in zip(known, states, strict=True)]
    return [one for one in found if one.live]


def age_s(ctx: Context, moment: str) -> float | None:
    """Return the seconds since a time in ISO 8601; None when it is no time."""
    try:
        return max(0.0, (ctx.now() - datetime.fromisoformat(moment)).total_seconds())
    except (ValueError, TypeError):
        return None


def slug_age_s(ctx: Context, slug: str) -> float | None:
    """Return the seconds since an attempt's slug was made, None when it is no such slug."""
    found = SLUG.fullmatch(slug)
    try:
        return (
            age_s(ctx, datetime.strptime(f"{found['day']}{found['time']}+0000", "%Y%m%d%H%M%z").isoformat())
            if found
            else None
        )
    except ValueError:
        return None


def ago(seconds: float | None) -> str:
    """Return an age for people: 40 s, 12 min, 3.5 h, 2 d."""
    if seconds is None:
        return ""
    for limit, unit, size in ((90, "s", 1), (5400, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            number = seconds / size
            return f"{number:.1f} {unit}" if unit == "h" and number < 10 else f"{number:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
