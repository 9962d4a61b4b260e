"""Say what runs on Kaggle can use: credentials, accelerators, limits, this week's quota, live runs, rooms."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from kagg import Exit, KaggError, credentials, find_rooms, kaggle_base, kaggle_user, redact, shared, table
from plugins.lib.launch import accelerators, journal, quota
from plugins.lib.launch.quota import Quota, hours

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from kagg import Context, Room

PLUGIN = {"api": 1, "summary": "say what is set up for Kaggle: accelerators, limits, quota, live runs", "requires": {}}


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """Add no option: there is one answer."""


def run(_args: argparse.Namespace, ctx: Context) -> int:
    """Print everything; what could not be found out is a line, and does not change the exit code.

    JSON: kaggle_url, user, credentials (where they were found), home, ledger, rooms (kind, name, missing),
    accelerators, session_limits_h, slots, quota (refresh, gpu, tpu: used_s, reserved_s, allowed_s, left_s), live,
    problems.
    """
    problems: dict[str, str] = {}
    refused: set[str] = set()

    def ask(what: str, question: Callable[[], Any]) -> Any:
        """Return an answer, None with the reason in `problems` when there is none."""
        try:
            return question()
        except KaggError as error:
            problems[what] = redact(error.message) + (f"; {redact(error.hint)}" if error.hint else "")
            if error.code == Exit.CONFIG:
                refused.add(what)
        except OSError as error:
            problems[what] = f"{error.filename or what}: {error.strerror or error}"
        return None

    found = {
        "kaggle_url": ask("kaggle_url", lambda: redact(kaggle_base(ctx))),
        "credentials": ask("credentials", lambda: [one.source for one in credentials(ctx)]),
        "home": str(ctx.home),
        "ledger": ask("ledger", lambda: _ledger_place(ctx)),
        "rooms": [_room(known) for kind in ("notify", "track") for known in find_rooms(ctx, kind)],
        "accelerators": accelerators.rows(),
        "session_limits_h": {name: limit_s / 3600 for name, limit_s in accelerators.SESSION_LIMITS_S.items()},
        "slots": accelerators.SLOTS,
    }
    found["user"] = ask("user", lambda: kaggle_user(ctx)) if found["credentials"] else None
    budget: Quota | None = ask("quota", lambda: quota.read(ctx)) if found["user"] else None
    found["quota"] = budget.document() if budget else None
    if "quota" in refused:  # a name beside a key is the user's only when Kaggle takes the key
        found["user"], problems["user"] = None, problems["quota"]
    found["live"] = ask("live", lambda: _live(ctx)) if found["user"] and found["ledger"] else None
    found["problems"] = problems
    ctx.emit(found, "\n".join(_lines(found, budget)))
    return Exit.DONE


def _ledger_place(ctx: Context) -> str:
    with shared("ledger").Ledger.open(ctx) as ledger:
        return str(ledger.place)


def _live(ctx: Context) -> list[dict[str, Any]]:
    """Return the live runs of the journal."""
    with shared("ledger").Ledger.open(ctx) as ledger:
        known = journal.live(ctx, ledger)
    return [
        {
            "run": one.attempt.attempt,
            "kernel": one.attempt.ref,
            "state": one.status.state,
            "device": one.attempt.device,
            "accelerator": one.attempt.accelerator,
            "age_s": journal.age_s(ctx, one.attempt.pushed),
        }
        for one in known
    ]


def _room(known: Room) -> dict[str, Any]:
    """Return a room and what it lacks: its packages' pip names, or why it is broken."""
    missing = [pip for name, pip in known.requires.items() if not importlib.util.find_spec(name)]
    return {"kind": known.kind, "name": known.name, "missing": known.broken or ", ".join(missing)}


def _lines(found: dict[str, Any], budget: Quota | None) -> list[str]:
    """Return the answer for people."""
    problems = found["problems"]
    lines = [_line("Kaggle", found["kaggle_url"], problems.get("kaggle_url"))]
    sources = ", ".join(found["credentials"] or []) or "none found; see: python kagg.py doctor"
    lines += [_line("credentials", sources if found["credentials"] is not None else "", problems.get("credentials"))]
    lines += [_line("user", found["user"], problems.get("user", "not signed in"))]
    lines += [_line("home", found["home"]), _line("ledger", found["ledger"], problems.get("ledger"))]
    for kind in ("notify", "track"):
        rooms = [one for one in found["rooms"] if one["kind"] == kind]
        lines += [_line(kind, ", ".join(map(_room_words, rooms)) or "no room is installed")]
    lines += ["", *_quota_lines(budget, problems.get("quota", "not signed in"))]
    lines += [_line("at once", ", ".join(f"{count} {slot}" for slot, count in found["slots"].items()) + " sessions")]
    reasons = [problems[what] for what in ("live", "ledger", "user") if what in problems]
    lines += _live_lines(found["live"], (*reasons, "not signed in")[0])
    rows = [{**row, "name": row["name"] or "(none)", "limit": f"{row['limit_h']:g} h"} for row in found["accelerators"]]
    return [*lines, "", table(rows, ("name", "device", "limit", "about"))]


def _line(name: str, value: str | None, problem: str | None = "") -> str:
    return f"{name:<12} {value or f'not known: {problem}'}"


def _room_words(room: dict[str, Any]) -> str:
    return f"{room['name']} (needs {room['missing']})" if room["missing"] else str(room["name"])


def _quota_lines(budget: Quota | None, problem: str) -> list[str]:
    """Return a line for each accelerator's week."""
    if budget is None:
        return [_line("quota", None, problem)]
    lines = []
    for device in quota.FIELDS:
        share = budget.shares.get(device)
        words = "none is shown for this account; accelerators need a verified phone number"
        if share:
            words = f"{hours(share.left_s)} left of {hours(share.allowed_s)}: {hours(share.used_s)} used, "
            words += f"{hours(share.reserved_s)} reserved by live sessions"
        lines.append(_line(f"{device.upper()} quota", words))
    return [*lines, _line("quota reset", budget.refresh or "not known", "")]


def _live_lines(live: list[dict[str, Any]] | None, problem: str) -> list[str]:
    """Return a line for each live run."""
    if not live:
        return [_line("live runs", "none" if live == [] else None, problem)]
    words = [
        f"{one['kernel']}  {one['state'].lower()}  {one['accelerator'] or one['device']}  {journal.ago(one['age_s'])}"
        for one in live
    ]
    return [_line("live runs" if number == 0 else "", text) for number, text in enumerate(words)]
