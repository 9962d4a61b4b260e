"""What a run on Kaggle will be, decided and checked before anything leaves this machine."""

from __future__ import annotations

import argparse
import ast
import json
import math
import re
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import (
    SOURCES,
    Exit,
    KaggError,
    bad_input,
    decode_json,
    file_sha256,
    kaggle_user,
    parse_ref,
    push_body,
    read_notebook,
    refuse_secrets,
    safe_path,
    slugify,
)
from plugins.lib import notifying, tracking
from plugins.lib.cells import is_python
from plugins.lib.launch import accelerators, git_token
from plugins.lib.launch.parameters import check_names
from plugins.lib.local_run import find_entry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kagg import Context
    from plugins.lib.launch.accelerators import Choice
    from plugins.lib.launch.options import Wanted

NAME_CHARS = 20  # a title holds 5 to 50 characters; the attempt's mark takes 21
OWN_STOP_S = 300.0  # a session without a time limit stops its program so long before Kaggle would
SPARE_S = 180.0  # between our own stop and Kaggle's, for the last files and their hashes
PLAIN = (".r", ".rmd")  # run as they are: the script around other sources is Python
MOUNTS = {
    "datasetDataSources": "datasets",
    "kernelDataSources": "notebooks",
    "competitionDataSources": "competitions",
    "modelDataSources": "models",
}


class Plan(NamedTuple):
    """One run, ready to begin. `entry` is the file that runs, `body` the SaveKernel request without its text."""

    path: Path
    entry: Path
    params: dict[str, Any]
    args: tuple[str, ...]
    wanted: Wanted
    choice: Choice
    body: dict[str, Any]
    limit_s: float
    session_limit_s: float

    @property
    def plain(self) -> bool:
        """Tell whether the source is pushed as it is, without a script around it."""
        return self.entry.suffix.lower() in PLAIN

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return what must be mounted below /kaggle/input."""
        if self.wanted.allow_missing_inputs:
            return ()
        return tuple(f"{kind}/{item}" for field, kind in MOUNTS.items() for item in self.body.get(field) or [])


def make_plan(
    ctx: Context,
    path: Path,
    params: Mapping[str, Any],
    args: Sequence[str],
    wanted: Wanted,
    *,
    dest: Path | None = None,
) -> Plan:
    """Check a run and return it.

    Raises:
        KaggError: USAGE, CONFIG or MISSING with what to mend; FINDINGS for a secret in the parameters.
    """
    if dest and ((dest / "result.json").exists() or (dest / "output").exists()):
        raise bad_input(f"{dest} holds an earlier run", "name another folder or remove it")
    if wanted.timeout_s is not None and wanted.timeout_s <= 0:
        raise bad_input("--timeout leaves no time")
    entry = _entry(path, wanted.entry)
    _check_arguments(entry, params, args)
    check_order(ctx, path.name, params, args, wanted)
    for notifier in (notifying, tracking):
        notifier.check(ctx, wanted.notify if notifier is notifying else wanted.track)
    if wanted.verify:
        from pathlib import Path

        from plugins.lib.launch import verify

        verify.load(Path(wanted.verify))
    body, choice = _body(ctx, path, entry, wanted)
    about = json.dumps({key: value for key, value in body.items() if key != "text"}, ensure_ascii=False)
    refuse_secrets(ctx, entry.name, (("kernel-metadata.json", about),), wanted.allow_finding)
    if wanted.code == "git":
        git_token.read_token(ctx, wanted.git_token)  # a token in place of its variable's name is refused unwritten
        if not body["enableInternet"]:
            raise bad_input("--code git needs a session with internet", "give --code inline or --code dataset")
    longest_s = accelerators.session_limit_s(choice.device)
    limit_s = min(wanted.timeout_s or math.inf, longest_s - OWN_STOP_S)
    if wanted.timeout_s and limit_s < wanted.timeout_s:
        ctx.say(
            f"note: it is stopped after {limit_s / 3600:.1f} h: Kaggle ends sessions after {longest_s / 3600:.0f} h"
        )
    plan = Plan(path, entry, dict(params), _arguments(entry, args, wanted), wanted, choice, body, limit_s, longest_s)
    timeout_s = min(longest_s, limit_s + SPARE_S) if not plan.plain else wanted.timeout_s
    body["sessionTimeoutSeconds"] = max(1, math.ceil(timeout_s)) if timeout_s else None
    return plan


def check_order(ctx: Context, name: str, params: Mapping[str, Any], args: Sequence[str], wanted: Wanted) -> None:
    """Refuse a secret in anything that was said on the command line, before any of it is written down.

    Raises:
        KaggError: FINDINGS; the name of what runs is not repeated.
    """
    said = {"name": name, "parameters": params, "arguments": list(args), "options": wanted.document()}
    text = json.dumps(said, ensure_ascii=False, default=str, indent=1)
    pieces = "\n".join(re.split(r"[/\s\"]+", text))  # `owner/TOKEN` is one word to the rules
    refuse_secrets(ctx, "the run", (("the command line", f"{text}\n\n{pieces}"),), wanted.allow_finding)


def _entry(path: Path, entry: str | None) -> Path:
    """Return the file to run."""
    if entry is None:
        return path if path.suffix.lower() in PLAIN and path.is_file() else find_entry(path)
    if not path.is_dir():
        raise bad_input("--entry is for a folder", f"{path} is a file")
    try:
        found = safe_path(path, entry.removeprefix("./"))
    except KaggError as error:
        raise bad_input(f"--entry {entry[:80]!r} is no file in {path}", "write its path from the folder on") from error
    if not found.is_file() or found.suffix not in (".py", ".ipynb"):
        raise bad_input(f"{found} is no script or notebook", "--entry names a .py or .ipynb file of the folder")
    return found


def _check_arguments(entry: Path, params: Mapping[str, Any], args: Sequence[str]) -> None:
    check_names(params)
    if entry.suffix == ".ipynb" and not is_python(read_notebook(entry)):
        raise bad_input(
            f"{entry.name} is not written in Python", "its kernel is named in its metadata; push it as it is: push"
        )
    if entry.suffix == ".ipynb" and args:
        raise bad_input(f"{entry.name} is a notebook and takes no arguments", "give parameters: -p name=value")
    if entry.suffix.lower() in PLAIN and (params or args):
        raise bad_input(f"{entry.name} takes no parameters", "write them into the source")


def _arguments(entry: Path, args: Sequence[str], wanted: Wanted) -> tuple[str, ...]:
    """Return the program's arguments; --quick-test goes to a script that has an option of this name."""
    if wanted.quick_test and entry.suffix == ".py" and "--quick-test" not in args and _knows_quick_test(entry):
        return (*args, "--quick-test")
    return tuple(args)


def _knows_quick_test(entry: Path) -> bool:
    try:
        tree = ast.parse(entry.read_bytes())
    except (SyntaxError, ValueError):
        return False  # the run will say what is wrong with it
    return any(isinstance(node, ast.Constant) and node.value == "--quick-test" for node in ast.walk(tree))


def _body(ctx: Context, path: Path, entry: Path, wanted: Wanted) -> tuple[dict[str, Any], Choice]:
    """Return the SaveKernel request without its text, and what it runs on."""
    given = argparse.Namespace(
        title=None if (entry.parent / "kernel-metadata.json").exists() else slugify(entry.stem)[:NAME_CHARS] + " run",
        dataset=wanted.dataset,
        competition=wanted.competition,
        kernel=wanted.kernel,
        accelerator=None,
        timeout=None,
        no_run=False,
        allow_finding=wanted.allow_finding,
    )
    body = push_body(ctx, path if path.is_dir() and _is_about(path, entry) else entry, given)
    _check_inputs(body)
    shape = wanted.accelerator or (None if wanted.device else body.get("machineShape"))
    device = wanted.device or (None if shape else "gpu" if body["enableGpu"] else "tpu" if body["enableTpu"] else None)
    choice = accelerators.choose(device, shape)
    if choice.note:
        ctx.say(f"note: {choice.note}")
    if entry.suffix.lower() not in PLAIN:
        body |= {"text": "", "language": "python", "kernelType": "script"}
    internet = False if wanted.no_internet else body["enableInternet"]
    body |= {"machineShape": choice.accelerator or None, "enableInternet": internet, "isPrivate": True, "id": None}
    return body | {"enableGpu": choice.device == "gpu", "enableTpu": choice.device == "tpu"}, choice


def _is_about(folder: Path, entry: Path) -> bool:
    """Tell whether the folder's kernel-metadata.json is about this entry."""
    try:
        meta = decode_json((folder / "kernel-metadata.json").read_text(encoding="utf-8"))
        return (folder / str(meta["code_file"])).resolve() == entry.resolve()
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise bad_input(f"{folder / 'kernel-metadata.json'} cannot be read: {error!r:.100}", "mend it") from error


def _check_inputs(body: Mapping[str, Any]) -> None:
    for name, field in SOURCES.items():
        for item in body.get(field) or []:
            if name in ("dataset_sources", "kernel_sources") and "/" not in item:
                raise bad_input(f"{item[:80]!r} is not owner/slug", f"it is among the {name.replace('_', ' ')}")
            if name in ("dataset_sources", "kernel_sources"):
                parse_ref(item)


def new_attempt(ctx: Context, entry: Path) -> str:
    """Return an attempt's id, which is the slug of its kernel: NAME-YYYYMMDD-HHMM-xxxxxx."""
    name = slugify(entry.stem)[:NAME_CHARS].strip("-") or "run"
    return f"{name}-{ctx.now():%Y%m%d-%H%M}-{secrets.token_hex(3)}"  # not ctx.random: two processes with one seed


def named_body(ctx: Context, plan: Plan, attempt: str, text: str, datasets: Sequence[str]) -> dict[str, Any]:
    """Return the whole SaveKernel request of one attempt."""
    attached = [*plan.body["datasetDataSources"], *datasets]
    ref = f"{kaggle_user(ctx)}/{attempt}"
    return {
        **plan.body,
        "text": text,
        "newTitle": attempt.replace("-", " "),
        "slug": ref,
        "datasetDataSources": attached,
    }


def source_record(plan: Plan) -> dict[str, Any]:
    """Return what a record says about the source."""
    return {"source": str(plan.entry.resolve()), "source_sha256": file_sha256(plan.entry), "params": plan.params}


def check_time_left(left_s: float | None, choice: Choice, limit_s: float) -> str:
    """Return a warning when the week's quota may not last for the run, "" otherwise.

    Raises:
        KaggError: QUOTA when nothing is left.
    """
    if left_s is None or choice.device == "cpu":
        return ""
    if left_s <= 0:
        raise KaggError(f"no {choice.slot} quota is left this week", code=Exit.QUOTA, hint="see: python kagg.py info")
    if left_s < limit_s:
        return f"{left_s / 3600:.1f} h of {choice.slot} quota are left and the run may take {limit_s / 3600:.1f} h"
    return ""
