"""The kernel of an attempt: pushed once, found again after a crash, deleted when it must not go on."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kagg import (
    Exit,
    KaggError,
    Ref,
    get_kernel,
    hashed,
    kernel_status,
    parse_ref,
    push_kernel,
    refused_inputs,
    service_error,
)
from plugins.lib.kaggle.session import delete_kernel
from plugins.lib.launch import journal, slots
from plugins.lib.launch.accelerators import Choice
from plugins.lib.launch.plan import Plan
from plugins.lib.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kagg import Context
    from plugins.lib.launch.options import Wanted
    from plugins.lib.launch.steps import Launch

READABLE_S = 60.0  # a new kernel answers 403 for seconds (20 were seen); so long it may be there without showing
LOOK_S = 2.0
STORED_ONLY = "NEW_SCRIPT"  # the state of a version that never ran


def remembered(plan: Plan, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `recalled_plan` needs, as JSON."""
    return {
        "body": {key: value for key, value in body.items() if key != "text"},
        "choice": plan.choice._asdict(),
        "entry": str(plan.entry.resolve()),
        "arguments": list(plan.args),
        "limits_s": [plan.limit_s, plan.session_limit_s],
    }


def recalled_plan(document: Mapping[str, Any], wanted: Wanted) -> Plan:
    """Return the plan of an attempt whose push has begun."""
    limit_s, session_limit_s = document["limits_s"]
    return Plan(
        Path(document["path"]),
        Path(document["entry"]),
        document["params"],
        tuple(document["arguments"]),
        wanted,
        Choice(**document["choice"]),
        document["body"],
        limit_s,
        session_limit_s,
    )


def push(launch: Launch, body: dict[str, Any]) -> dict[str, Any]:
    """Push once a session is free, and return the reply with `refused_inputs`.

    Raises:
        KaggError: QUOTA when no session became free: nothing runs then. SERVICE when Kaggle refuses, or runs it without
            some of its inputs: that kernel is deleted.
    """
    ctx, plan, state = launch.ctx, launch.plan, launch.state
    request = {
        "attempt": state.attempt,
        "source_sha256": hashed(str(body["text"])),
        "device": plan.choice.device,
        "accelerator": plan.choice.accelerator,
        "slot": plan.choice.slot,
        "timeout_s": plan.limit_s,
        "dest": str(launch.dest),
        "keep": plan.wanted.keep,
    }

    def once() -> dict[str, Any]:
        state.reach("pushing", push_began=ctx.now().isoformat(), refused=False)
        try:
            # live or not: a refused push may be stored, and then reads as QUEUED
            reply = push_kernel(ctx, body, allow_live=True, allowed=plan.wanted.allow_finding)
            if reply.get("recovered"):
                check_runs(ctx, Ref("kaggle", reply["owner"], reply["slug"]))
        except KaggError as error:
            if error.code == Exit.QUOTA:
                state.reach("pushing", refused=True)
            raise
        return reply

    with launch.effect("push", str(body["slug"]), request) as made:
        try:
            reply = slots.push_when_free(ctx, plan.choice.slot, once, max_wait_s=plan.wanted.max_wait_s)
        except KaggError as error:
            if not error.details.get("unknown"):
                state.reach("script")  # nothing runs: another try may begin with a push
            raise
        made.outcome = {key: reply.get(key) for key in ("owner", "slug", "versionNumber", "url")}
        reply["refused_inputs"] = made.outcome["refused_inputs"] = _refused(launch, body, reply)
        _check_inputs(launch, reply)
    return reply


def check_runs(ctx: Context, ref: Ref) -> None:
    """Make sure that a stored source runs: Kaggle may store one whose run it refuses.

    Raises:
        KaggError: QUOTA, as the refusal that got lost said.
    """
    if kernel_status(ctx, ref).state == STORED_ONLY:
        words = "Kaggle stored the source and did not run it: no session was free"
        raise KaggError(f"{ref}: {words}", code=Exit.QUOTA, details={"refused": True, "stored": True})


def was_deleted(ctx: Context, attempt: str) -> bool:
    """Tell whether somebody of ours, as `stop` or `reap`, has deleted an attempt's kernel."""
    with Ledger.open(ctx) as ledger:
        return any(one.attempt == attempt and one.state == "deleted" for one in journal.attempts(ledger))


def _refused(launch: Launch, body: Mapping[str, Any], reply: Mapping[str, Any]) -> list[str]:
    """Return the inputs that Kaggle leaves out."""
    for tag in reply.get("invalidTags") or []:
        launch.ctx.say(f"note: Kaggle does not know the tag {str(tag)!r}")
    # After a lost reply nothing confirms the inputs: the script looks for them itself, a plain source does not.
    recovered = bool(reply.get("recovered")) and launch.plan.plain
    return refused_inputs({**reply, "invalidTags": [], "recovered": recovered}, body)


def _check_inputs(launch: Launch, reply: Mapping[str, Any]) -> None:
    inputs, ctx = reply["refused_inputs"], launch.ctx
    if inputs and not launch.plan.wanted.allow_missing_inputs:
        ref = Ref("kaggle", reply["owner"], reply["slug"])
        try:
            with launch.effect("delete-kernel", f"{ref.owner}/{ref.slug}", {"attempt": launch.state.attempt}):
                delete_kernel(ctx, ref, patience_s=READABLE_S)
            launch.state.reach("script")
        except KaggError as error:
            ctx.say(f"{error.message}; {ref} still runs, end it with: python kagg.py stop {ref}", -1)
        hint = "mend the names, wait until new ones are processed, or give --allow-missing-inputs"
        named = [_input_words(item) for item in inputs]
        what = f"an input: {named[0]}" if len(named) == 1 else f"{len(named)} inputs: {', '.join(named)}"
        raise service_error(f"Kaggle refused {what}", hint, refused_inputs=inputs)
    for item in inputs:
        ctx.say(f"Kaggle runs it without {_input_words(item)}", -1)


def _input_words(item: str) -> str:
    """Return what the record calls "DatasetSources: owner/slug" for people."""
    kind, _, name = item.partition(": ")
    if kind == "not confirmed":
        return f"{name} (not confirmed)"
    return f"{kind.removesuffix('Sources').lower()} {name}"


def find_pushed(ctx: Context, document: Mapping[str, Any], text: str) -> dict[str, Any] | None:
    """Look whether a push that a killed process had begun arrived, and return its reply; None when it did not.

    A new kernel may not be readable for READABLE_S after its push: so long it is looked for.
    """
    body, ref = document["body"], parse_ref(str(document["body"]["slug"]))
    began = datetime.fromisoformat(document["push_began"]) if document.get("push_began") else None
    age_s = (ctx.now() - began).total_seconds() if began else READABLE_S  # nothing was sent yet
    until_s = ctx.monotonic() + READABLE_S - min(max(age_s, 0.0), READABLE_S)  # a clock may have been set back
    while True:
        found = _arrived(ctx, ref, text)
        state = kernel_status(ctx, ref).state if found else ""
        if found and state != STORED_ONLY and not (document.get("refused") and state == "QUEUED"):
            ctx.say(f"{ref} was pushed before; going on with it")
            reply = {"owner": ref.owner, "slug": ref.slug, "versionNumber": found, "url": None, "recovered": True}
            return {**reply, "refused_inputs": refused_inputs({}, body)}
        if ctx.monotonic() >= until_s:
            return None
        ctx.sleep(LOOK_S)


def _arrived(ctx: Context, ref: Ref, text: str) -> int | None:
    """Return the version of a kernel that holds this text, None when there is none that can be read."""
    try:
        kernel = get_kernel(ctx, ref)
    except KaggError as error:
        if error.details.get("status") in (403, 404):
            return None
        raise
    number = str(kernel["metadata"].get("currentVersionNumber") or "")
    same = str(kernel["blob"].get("source") or "").strip() == text.strip()
    return int(number) if same and number.isdigit() and int(number) else None
