"""Run something on Kaggle in five steps: code, script, kernel, session, results.

Each step is written down before and after it (state.py, and the ledger's effects), so that `resume` goes on where a
process was killed: what was pushed is found again and never pushed twice.

Layout of `dest` after a run: params.json (when there are any), log.jsonl, output/, and result.json, written last: no
record means that the run was not seen to its end.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import KaggError, Ref, bad_input, write_atomic
from plugins.lib.launch import git_sync, kernel, quota
from plugins.lib.launch.code import Code, collect
from plugins.lib.launch.finish import finish, give_back, results_are_here, stopped
from plugins.lib.launch.follow import follow
from plugins.lib.launch.options import Wanted, read, read_back
from plugins.lib.launch.orphans import dataset_exists
from plugins.lib.launch.plan import Plan, check_time_left, make_plan, named_body, new_attempt, source_record
from plugins.lib.launch.script import CHECKPOINTS, Order, build, line_count, requirements_in
from plugins.lib.launch.state import State
from plugins.lib.launch.transport_dataset import dataset_code
from plugins.lib.launch.transport_inline import inline_code

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from kagg import Context

    Effect = Callable[[str, str, dict[str, Any]], contextlib.AbstractContextManager[Any]]

STEPS = ("code", "script", "kernel", "session", "results")


class Launch(NamedTuple):
    """One attempt under way."""

    ctx: Context
    plan: Plan
    state: State
    dest: Path
    effect: Effect
    on_event: Callable[[dict[str, Any]], None] | None = None

    def say(self, step: str, text: str) -> None:
        """Tell people what a step came to."""
        self.ctx.say(f"{STEPS.index(step) + 1}/{len(STEPS)} {step:<9} {text}")


def no_effect(_kind: str, _target: str, _request: dict[str, Any]) -> contextlib.AbstractContextManager[Any]:
    """Stand in for a ledger."""
    return contextlib.nullcontext(SimpleNamespace(outcome=None))


def run_on_kaggle(
    ctx: Context,
    path: Path,
    *,
    dest: Path | None,
    params: Mapping[str, Any] | None = None,
    timeout_s: float | None = None,
    args: Sequence[str] = (),
    on_event: Callable[[dict[str, Any]], None] | None = None,
    options: argparse.Namespace | None = None,
) -> dict[str, Any]:
    """Run `path` on Kaggle, wait for its end, fetch and verify its results, and return what result.json holds.

    `options` are those of options.py, and `effect`, the caller's entry in the ledger. Without `dest` the results lie in
    kaggle_results/ATTEMPT. A run that fails is a result, no exception.

    Raises:
        KaggError: USAGE and the like before anything is sent; QUOTA, no session became free; SERVICE, Kaggle refused;
            INTEGRITY, the results of a complete run are not what the session wrote (result.json says so, with `exit`).
    """
    wanted = read(options) if options else Wanted()
    if timeout_s is not None:
        wanted = wanted._replace(timeout_s=timeout_s)
    plan = make_plan(ctx, path, params or {}, args, wanted, dest=dest)
    attempt = getattr(options, "attempt", None) or new_attempt(ctx, plan.entry)
    dest = (dest or Path("kaggle_results") / attempt).resolve()
    _make_folder(dest)  # what cannot be stored is not run
    state = State.begin(
        ctx,
        attempt,
        path=str(path.resolve()),
        dest=str(dest),
        params=plan.params,
        args=list(args),
        wanted=wanted.document(),
        started=ctx.now().isoformat(),
    )
    effect = getattr(options, "effect", None) or no_effect
    return _go_on(Launch(ctx, plan, state, dest, effect, on_event))


def resume(
    ctx: Context,
    attempt: str,
    *,
    effect: Effect = no_effect,
    on_event: Callable[[dict[str, Any]], None] | None = None,
    max_wait_s: float | None = None,
) -> dict[str, Any]:
    """Go on with an attempt that a process left, wherever that was, and return what result.json holds.

    Raises:
        KaggError: CONFIG when nothing is known of it here; else as `run_on_kaggle`.
    """
    state = State.load(ctx, attempt)
    document = state.document
    if state.has("over"):
        return dict(document["record"])
    wanted = read_back(document["wanted"])._replace(detach=False)
    if max_wait_s is not None:
        wanted = wanted._replace(max_wait_s=max_wait_s)
    path, dest = Path(document["path"]), Path(document["dest"])
    if state.has("pushing"):  # what runs is what was pushed, whatever became of the source meanwhile
        plan = kernel.recalled_plan(document, wanted)
    else:
        plan = make_plan(ctx, path, document["params"], document["args"], wanted, dest=dest)
    launch = Launch(ctx, plan, state, dest, effect, on_event)
    if state.has("pushing") and not state.has("collected") and kernel.was_deleted(ctx, attempt):
        return stopped(launch)
    return _go_on(launch)


def _go_on(launch: Launch) -> dict[str, Any]:
    """Take the steps that are not taken yet."""
    state = launch.state
    try:
        if state.has("code") and not state.has("pushing"):
            _check_datasets(launch)
        if not state.has("script"):
            _script(launch, _code(launch))
        if not state.has("pushed"):
            _push(launch)
    except KaggError as error:
        give_back(launch, error)
        raise
    except KeyboardInterrupt:
        if state.has("pushing"):
            words = f"{state.attempt} may have been pushed; to go on: python kagg.py attach {state.attempt}"
            launch.ctx.say(f"{words}; to end it: python kagg.py stop {state.attempt}", -1)
        raise
    if launch.plan.wanted.detach:
        return _detached(launch)
    pushed = state.document["pushed"]
    ref = Ref("kaggle", pushed["owner"], pushed["slug"], pushed["version"])
    try:
        return _ended(launch, ref)
    except OSError:
        launch.ctx.say(f"{ref} is still on Kaggle; mend this, then: python kagg.py attach {ref.slug}", -1)
        raise


def _ended(launch: Launch, ref: Ref) -> dict[str, Any]:
    """Steps 4 and 5, as far as they are not taken."""
    state = launch.state
    write_params(launch)
    if state.has("collected") and not results_are_here(launch):
        state.reach("pushed")  # somebody removed them before the kernel was deleted: they can be had again
    return finish(launch, ref, None if state.has("collected") else follow(launch, ref))


def _make_folder(dest: Path) -> None:
    """Make the folder of the results and try to write into it."""
    try:
        dest.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=dest):
            pass
    except OSError as error:
        raise bad_input(f"cannot write into {dest}: {error.strerror}", "name another folder: --dest") from error


def _check_datasets(launch: Launch) -> None:
    """Begin again with step 1 when a dataset with the code is gone: `reap` may have removed it."""
    datasets = (launch.state.document.get("code") or {}).get("datasets") or []
    if not all(dataset_exists(launch.ctx, str(name)) for name in datasets):
        launch.state.reach("begun")


def _code(launch: Launch) -> Code | None:
    """Step 1: pack the code, and put it where the session finds it."""
    ctx, plan, wanted = launch.ctx, launch.plan, launch.plan.wanted
    if plan.plain:
        launch.say("code", f"{plan.entry.name} as it is")
        return None
    if wanted.code == "git":
        given = SimpleNamespace(**wanted._asdict())
        code = git_sync.git_code(
            ctx, plan.path, wanted.entry, given, attempt=launch.state.attempt, effect=launch.effect
        )
    else:
        tree = collect(ctx, plan.path, wanted.entry, wanted.include, wanted.exclude)
        if wanted.code == "dataset":
            code = dataset_code(
                ctx, tree, attempt=launch.state.attempt, allowed=wanted.allow_finding, effect=launch.effect
            )
        else:
            code = inline_code(ctx, tree, allowed=wanted.allow_finding)
    launch.say("code", code.summary)
    commit = code.commit or _commit(plan.path)
    launch.state.reach("code", code={**code._asdict(), "payload": None, "commit": commit}, git_commit=commit)
    return code


def _script(launch: Launch, code: Code | None) -> None:
    """Step 2: build the script that runs the code."""
    plan, wanted = launch.plan, launch.plan.wanted
    if code is None:
        text, words = plan.body["text"], "none: this language runs as it is"
    else:
        requirements = "" if wanted.no_requirements else requirements_in(code.files)
        order = Order(
            run_id=launch.state.attempt,
            entry=code.entry,
            args=plan.args,
            params=plan.params,
            env={"KAGG_QUICK_TEST": "1"} if wanted.quick_test else {},
            device=plan.choice.device,
            accelerator=plan.choice.accelerator,
            limit_s=plan.limit_s,
            code=code,
            inputs=plan.inputs,
            requirements=wanted.pip,
            requirements_file=requirements,
            git_commit=launch.state.document["git_commit"],
            checkpoints=wanted.checkpoint or CHECKPOINTS,
        )
        text = build(order)
        words = f"built, {line_count(text)} lines around {code.entry}"
    write_atomic(launch.state.script, text, 0o600)
    launch.state.reach("script")
    launch.say("script", words)


def _commit(path: Path) -> str:
    """Return the commit that the source is at, marked when the work tree has changes; "" without one."""
    found = git_sync.current_commit(path)
    return f"{found['commit']}{'-dirty' if found['dirty'] else ''}" if found else ""


def _push(launch: Launch) -> None:
    """Step 3: push the kernel, once, when a session is free."""
    ctx, plan, state = launch.ctx, launch.plan, launch.state
    text = state.script.read_text(encoding="utf-8")
    before = quota.read_or_none(ctx)
    warning = check_time_left(before.left_s(plan.choice.device) if before else None, plan.choice, plan.limit_s)
    if warning:
        ctx.say(f"warning: {warning}", -1)
    if not state.has("pushing"):
        datasets = (state.document.get("code") or {}).get("datasets") or []
        body = named_body(ctx, plan, state.attempt, text, datasets)
        state.reach("pushing", **kernel.remembered(plan, body), source=source_record(plan))
        found = None
    else:
        body = {**state.document["body"], "text": text}
        found = kernel.find_pushed(ctx, state.document, text)
    reply = found or kernel.push(launch, body)
    pushed = {"owner": reply["owner"], "slug": reply["slug"], "version": reply.get("versionNumber") or None}
    pushed |= {"url": reply.get("url"), "refused_inputs": reply["refused_inputs"], "at": ctx.now().isoformat()}
    state.reach("pushed", pushed=pushed, quota={"before": before.document() if before else None})
    left = f", {before.words(plan.choice.device)}" if before and plan.choice.device != "cpu" else ""
    what = plan.choice.accelerator or "CPU"
    launch.say("kernel", f"{pushed['owner']}/{pushed['slug']} pushed, version {pushed['version']}, {what}{left}")


def _detached(launch: Launch) -> dict[str, Any]:
    """Leave the run to Kaggle; `attach` goes on."""
    document = launch.state.document
    pushed = document["pushed"]
    launch.state.reach("pushed", detached=True)
    ref = f"{pushed['owner']}/{pushed['slug']}"
    record: dict[str, Any] = {
        "version": 1,
        "status": "detached",
        "run_id": launch.state.attempt,
        "ref": ref,
        "exit_code": 0,
    }
    record |= {"kernel_version": pushed["version"], "url": pushed["url"], "dest": str(launch.dest), "duration_s": 0.0}
    record |= document["source"]
    return record


def write_params(launch: Launch) -> None:
    """Keep the parameters beside the results."""
    if launch.plan.params:
        text = json.dumps(launch.plan.params, indent=2, sort_keys=True) + "\n"
        write_atomic(launch.dest / "params.json", text, 0o600)
