"""`run --kaggle --dry-run`: show what a run would send, on what, and what it may cost. Nothing leaves this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kagg import Exit, bad_input
from plugins.lib.launch import git_sync, quota
from plugins.lib.launch.code import Tree, collect
from plugins.lib.launch.plan import check_time_left, make_plan, new_attempt
from plugins.lib.launch.transport_inline import inline_code

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kagg import Context
    from plugins.lib.launch.options import Wanted
    from plugins.lib.launch.plan import Plan

SHOWN = 20  # files that are listed one by one


def preview(ctx: Context, path: Path, params: dict[str, Any], args: Sequence[str], wanted: Wanted) -> int:
    """Print the plan of a run, and do nothing.

    Raises:
        KaggError: whatever would stop the run before it is pushed.
    """
    if not path.exists():
        raise bad_input(f"{path} is not here", "--dry-run looks at local files; pull it first")
    plan = make_plan(ctx, path, params, args, wanted)
    code = _code(ctx, plan)
    found = quota.read_or_none(ctx) if plan.choice.device != "cpu" else None
    left_s = found.left_s(plan.choice.device) if found else None
    warning = check_time_left(left_s, plan.choice, plan.limit_s)
    cost = quota.cost(plan.choice.device, plan.limit_s)
    document = {
        "dry_run": True,
        "entry": str(plan.entry),
        "kernel": f"{plan.body['slug'].partition('/')[0]}/{new_attempt(ctx, plan.path.resolve())}",
        "code": code,
        "device": plan.choice.device,
        "accelerator": plan.choice.accelerator or None,
        "inputs": list(plan.inputs),
        "params": plan.params,
        "args": list(plan.args),
        "limit_s": plan.limit_s,
        "internet": plan.body["enableInternet"],
        "quota": found.document() if found else None,
        "cost": cost.document(),
        "warning": warning or None,
    }
    ctx.emit(document, "\n".join(_lines(document, plan, cost, found)))
    return Exit.DONE


def _code(ctx: Context, plan: Plan) -> dict[str, Any]:
    """Return what would be sent; a dataset or a commit is not made."""
    wanted = plan.wanted
    if plan.plain:
        return _files("plain", Tree({plan.entry.name: plan.entry}, plan.entry.name))
    if wanted.code == "git":
        return {
            "transport": "git",
            **git_sync.status_summary(plan.path, wanted.git_remote, commit=wanted.commit, push=wanted.push),
        }
    tree = collect(ctx, plan.path, wanted.entry, wanted.include, wanted.exclude)
    packed = inline_code(ctx, tree, allowed=wanted.allow_finding) if wanted.code == "inline" else None
    return _files(wanted.code, tree) | (
        {"packed_bytes": packed.packed_bytes, "sha256": packed.sha256} if packed else {}
    )


def _files(transport: str, tree: Tree) -> dict[str, Any]:
    sizes = {name: path.stat().st_size for name, path in tree.files.items()}
    return {"transport": transport, "entry": tree.entry, "files": sizes, "size_bytes": sum(sizes.values())}


def _lines(document: dict[str, Any], plan: Plan, cost: quota.Cost, found: quota.Quota | None) -> list[str]:
    """Return the plan for people."""
    code = document["code"]
    lines = [f"code         {code['transport']}" + _sizes(code)]
    files = code.get("files") or {}
    if code["transport"] == "git":
        lines += [f"               {line}" for line in git_sync.status_lines(code)]
    else:
        lines += [f"               {name}  {_count(size, 'byte')}" for name, size in list(files.items())[:SHOWN]]
        lines += [f"               and {len(files) - SHOWN} more"] if len(files) > SHOWN else []
    lines += [f"entry        {document['entry']}"]
    lines += [f"arguments    {' '.join(document['args'])}"] if document["args"] else []
    lines += [f"parameters   {document['params']}"] if document["params"] else []
    lines += [f"kernel       {document['kernel']}, private"]
    lines += [f"inputs       {', '.join(document['inputs'])}"] if document["inputs"] else []
    lines += [f"runs on      {plan.choice.accelerator or 'CPU'}, at most {quota.hours(plan.limit_s)}"]
    left = f"; {found.words(plan.choice.device)}" if found else ""
    lines += [f"cost         {cost.words()}{left}"]
    lines += [f"warning      {document['warning']}"] if document["warning"] else []
    return [*lines, "nothing was sent"]


def _sizes(code: dict[str, Any]) -> str:
    if "size_bytes" not in code:
        return ""
    packed = f", {code['packed_bytes']} packed" if "packed_bytes" in code else ""
    return f", {_count(len(code['files']), 'file')}, {_count(code['size_bytes'], 'byte')}{packed}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
