"""Tell people how a run ended: through rooms of kind notify, each within a time limit, none of them ever fatal."""

from __future__ import annotations

import inspect
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import Context, Exit, KaggError, bad_input, redact, refuse_secrets, room
from plugins.lib.secrets.hide import hide, hide_all

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PLUGIN = {"api": 1, "summary": "notifications", "requires": {}}

NOTIFY_S = 30.0  # for all notifiers together, which work at the same time
REASON_CHARS = 300


class Wanted(NamedTuple):
    """One value of --notify: the room, and what stands after the colon, "" for nothing."""

    name: str
    address: str = ""


def parse(text: str) -> Wanted:
    """Read NAME or NAME:ADDRESS.

    Raises:
        KaggError: USAGE.
    """
    name, _, address = text.strip().partition(":")
    if not name:
        raise bad_input(f"--notify {text[:80]!r} names no notifier", "write NAME or NAME:ADDRESS")
    if any(not character.isprintable() for character in address):
        raise bad_input(f"--notify {name}: the address has a line break or control character in it")
    return Wanted(name, address)


def check(ctx: Context, wanted: Sequence[str]) -> None:
    """Refuse what could not be told later: unknown rooms, missing packages and settings, secrets in an address.

    Raises:
        KaggError: USAGE, CONFIG, MISSING; FINDINGS for a secret, which would be kept in records and shell histories.
    """
    for one in _parsed(wanted):
        module = room(ctx, "notify", one.name)
        if one.address:
            _refuse_secret(ctx, one)
        try:
            if hasattr(module, "check"):
                module.check(one.address, ctx)
        except KaggError:
            raise
        except (Exception, SystemExit) as error:  # a third-party room may raise anything
            raise KaggError(f"notify {one.name} is broken: {reason(error, ctx)}", code=Exit.MISSING) from error


def _parsed(wanted: Sequence[str]) -> list[Wanted]:
    """Return each wish once."""
    return list(dict.fromkeys(parse(text) for text in wanted))


def _refuse_secret(ctx: Context, one: Wanted) -> None:
    try:
        refuse_secrets(ctx, f"--notify {one.name}", (("the address", one.address),))
    except KaggError as error:
        if error.code == Exit.FINDINGS:
            error.message = f"--notify {one.name}: the address holds a secret"
            error.hint = "keep it out of the command line: an environment variable does; see docs/notify-and-track.md"
        raise


def notify(
    ctx: Context, wanted: Sequence[str], title: str, body: str, data: Mapping[str, Any] | None = None
) -> list[str]:
    """Send one message to all, and return one line for each notifier that failed, which is said as well.

    `data` goes to rooms whose `send` takes it by name. Secrets are hidden in all of it, because a program's error may
    repeat one. Nothing is raised, whatever a room does.
    """
    title, body, data = hide_all(ctx, [one_line(title), body, dict(data or {})])
    results = dict[str, str]()
    texts = list(dict.fromkeys(wanted))
    work = [
        threading.Thread(target=_send, args=(ctx, text, (title, body, data), results), daemon=True) for text in texts
    ]
    for thread in work:
        thread.start()
    deadline_s = time.monotonic() + NOTIFY_S  # of the real clock: it bounds threads that wait for the network
    for thread in work:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    failed = []
    for text in texts:
        fault = results.get(text, f"no end after {NOTIFY_S:.0f} s")
        if fault:
            failed.append(hide(ctx, one_line(f"{text.partition(':')[0][:80]}: {fault}")))
            ctx.say(f"warning: not notified by {failed[-1]}", -1)
    return failed


def _send(ctx: Context, text: str, message: tuple[str, str, Mapping[str, Any] | None], results: dict[str, str]) -> None:
    """Send through one room; `results` gets why it failed, "" when it did not."""
    title, body, data = message
    try:
        one = parse(text)
        send = room(ctx, "notify", one.name).send
        more = {"data": dict(data or {})} if takes(send, "data") else {}
        sent = send(title, body, one.address, ctx, **more)
        results[text] = "it says False; a notifier raises when it fails" if sent is False else ""
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a third-party room may raise anything; no run ends by it
        results[text] = reason(error, ctx)


def takes(function: Any, name: str) -> bool:
    """Say whether `function` takes an argument called `name`."""
    try:
        known = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    return name in known or any(one.kind is inspect.Parameter.VAR_KEYWORD for one in known.values())


def one_line(text: str) -> str:
    """Return text without line breaks and control characters."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def reason(error: BaseException, ctx: Context | None = None) -> str:
    """Return one line for what a room raised, its hint included and nothing secret in it."""
    kind = "" if isinstance(error, KaggError) else f"{type(error).__name__}: "
    hint = f"; {error.hint}" if isinstance(error, KaggError) and error.hint else ""
    line = one_line(f"{kind}{error}{hint}")
    return (hide(ctx, line) if ctx else redact(line))[:REASON_CHARS]
