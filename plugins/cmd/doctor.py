"""Say what is configured, what is missing and how to mend it. Reads, asks servers, changes nothing."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from kagg import (
    KERNELS,
    LOOPBACK,
    Exit,
    KaggError,
    fetch,
    find_credentials,
    host_of,
    kaggle_base,
    load_endpoints,
    parse_duration,
    redact,
    room,
    setting,
    shared,
)
from plugins.lib.doctor_machine import MACHINE, Check, user_home

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from kagg import Context, Credential

PLUGIN = {"api": 1, "summary": "say what is configured, what is missing and how to mend it", "requires": {}}

ASK_S = 5.0  # for every question to a server
HOW_TO_SIGN_IN = "put a token of your Kaggle settings page into KAGGLE_API_TOKEN, or use --kaggle-url local"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `doctor`."""
    parser.add_argument("--offline", action="store_true", help="ask neither Kaggle nor endpoints")


def run(args: argparse.Namespace, ctx: Context) -> int:
    """Print a line per thing; exit 3 when one of them is a problem."""
    checks = [check._replace(detail=redact(check.detail)) for check in examine(ctx, offline=args.offline)]
    width = max(len(check.name) for check in checks)
    lines = [
        f"{check.state:<7}  {check.name:<{width}}  {check.detail}" + (f"  -> {check.fix}" if check.fix else "")
        for check in checks
    ]
    ctx.emit({"checks": [check._asdict() for check in checks]}, "\n".join(lines))
    return Exit.FINDINGS if any(check.state == "problem" for check in checks) else Exit.DONE


def examine(ctx: Context, *, offline: bool) -> Iterator[Check]:
    """Yield every check; one that cannot be made is a problem and stops no other."""
    for name, look in MACHINE:
        yield from _guarded(name, look(ctx))
    yield from _guarded("endpoints", _endpoints(ctx, offline=offline))
    yield from _guarded("kaggle", _kaggle(ctx, offline=offline))


def _guarded(name: str, checks: Iterator[Check]) -> Iterator[Check]:
    try:
        yield from checks
    except KaggError as error:
        yield Check(name, "problem", error.message, error.hint)
    except OSError as error:
        yield Check(name, "problem", f"{error.filename or 'system'}: {error.strerror or error}")


def _endpoints(ctx: Context, *, offline: bool) -> Iterator[Check]:
    known = load_endpoints(ctx).values()
    if not known or offline:
        yield Check("endpoints", "ok", f"{len(known)} registered" + (", not asked" if known else ""))
        return
    for endpoint in known:
        try:
            state = str(room(ctx, "deploy", endpoint.target).status(endpoint, ctx))
        except KaggError as error:
            yield Check("endpoints", "problem", f"{endpoint.name}: {error.message}", error.hint)
            continue
        level = {"running": "ok", "starting": "ok", "stopped": "note"}.get(state, "problem")
        fix = "" if level == "ok" else f"python kagg.py endpoints start {endpoint.name}"
        yield Check("endpoints", level, f"{endpoint.name} is {state} at {endpoint.url}", fix)


def _kaggle(ctx: Context, *, offline: bool) -> Iterator[Check]:
    """Ask Kaggle, or the local Kaggle when it runs; it is not started for this."""
    chosen = ctx.kaggle_url or setting(ctx, "KAGG_KAGGLE_URL", "kaggle.url")
    if chosen == "local" and (offline or not shared("kaggle.embedded").running(ctx.home / "local-kaggle")):
        yield Check("kaggle", "ok", "the local Kaggle, started by the first command that needs it")
        return
    base = kaggle_base(ctx)
    if offline:
        yield Check("kaggle", "ok", f"{base}, not asked")
        yield from _untried(ctx)
        return
    try:
        fetch(ctx, "GET", base, timeout_s=ASK_S, attempts=1, ok=range(100, 600))
    except KaggError as error:
        fix = "start it: python kagg.py local-kaggle" if host_of(base) in LOOPBACK else "is the network up?"
        yield Check("kaggle", "problem", f"{base} does not answer: {error.message}", fix)
        yield from _untried(ctx)
        return
    yield Check("kaggle", "ok", f"{base} answers")
    yield from _accepted(ctx, base, find_credentials(ctx))


def _untried(ctx: Context) -> Iterator[Check]:
    """Say which credentials there are, in the order in which they are tried, without asking the server."""
    oauth = user_home(ctx) / ".kaggle" / "credentials.json"
    if oauth.exists():  # looking for credentials could renew it
        yield Check("credentials", "ok", f"{oauth} holds an OAuth session; it and the others are not tried")
        return
    yield from _listed(find_credentials(ctx))


def _listed(credentials: list[Credential]) -> Iterator[Check]:
    for credential in credentials:
        yield Check("credentials", "ok", f"{credential.source}{_whose(credential.username)}, not tried")
    if not credentials:
        yield Check("credentials", "problem", "none were found", HOW_TO_SIGN_IN)


def _whose(username: str) -> str:
    return f" of {username}" if username else ""


def _accepted(ctx: Context, base: str, credentials: list[Credential]) -> Iterator[Check]:
    """Try each of the credentials: the first that is accepted is used, and its quota is shown."""
    if not credentials:
        yield from _listed(credentials)
    used = False
    for credential in credentials:
        try:
            quota = _ask(ctx, base, credential, KERNELS + "GetAcceleratorQuotaStatistics", {})
        except KaggError as error:
            yield Check(
                "credentials", "problem", f"{credential.source} is refused: {error.message}", "replace or remove it"
            )
            continue
        name = credential.username or _username(ctx, base, credential)
        yield Check(
            "credentials", "ok", f"{credential.source}{_whose(name)} is accepted" + ("" if used else " and used")
        )
        if not used:
            yield from _quota(quota)
        used = True


def _ask(ctx: Context, base: str, credential: Credential, method: str, body: dict[str, Any]) -> dict[str, Any]:
    """Call one method with one credential, once."""
    headers = {"Authorization": credential.header}
    reply = fetch(ctx, "POST", f"{base}/v1/{method}", headers=headers, json_body=body, timeout_s=ASK_S, attempts=1)
    try:
        answer = reply.json()
    except ValueError as error:
        raise KaggError(f"{host_of(base)} answered something that is not JSON", code=Exit.SERVICE) from error
    return answer if isinstance(answer, dict) else {}


def _username(ctx: Context, base: str, credential: Credential) -> str:
    body = {"token": credential.header.removeprefix("Bearer ")}
    with contextlib.suppress(KaggError):
        return str(_ask(ctx, base, credential, "security.OAuthService/IntrospectToken", body).get("username") or "")
    return ""


def _quota(answer: dict[str, Any]) -> Iterator[Check]:
    """Say what is left of the week's hours; what live sessions have reserved is not left."""
    until = answer.get("quotaRefreshTime")
    for label in ("gpu", "tpu"):
        found = answer.get(f"{label}Quota")
        fields = found if isinstance(found, dict) else {}
        all_h, used_h, reserved_h = (
            parse_duration(str(fields.get(key) or "0s")) / 3600
            for key in ("totalTimeAllowed", "timeUsed", "timeReserved")
        )
        left_h = max(0.0, all_h - used_h - reserved_h)
        if all_h:
            detail = f"{label.upper()}: {left_h:.1f} of {all_h:.1f} h left until {until}"
            yield Check("quota", "ok" if left_h else "note", detail)
