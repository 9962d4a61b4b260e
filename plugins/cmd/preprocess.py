"""Clean notebooks, and look for secrets in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import kagg
from kagg import Exit, KaggError
from plugins.lib.prep.report import FORMATS
from plugins.lib.prep.steps import DEFAULT_STEPS, ORDER

if TYPE_CHECKING:
    import argparse

PLUGIN = {"api": 1, "summary": "clean notebooks and look for secrets", "requires": {}}

IMPLIED = {  # options that mean nothing without their step
    "hoist": "imports", "explain": "imports", "fix_secrets": "secrets", "update_baseline": "secrets", "deep": "secrets",
    "baseline": "secrets",
}  # fmt: skip
GROUPS = {
    "clean": ["clean"], "strip-outputs": ["outputs"], "optimize": ["imports"], "scan": ["secrets", "risks"],
    "outputs": ["outputs"], "imports": ["imports"], "all": list(ORDER),
}  # fmt: skip
PLACES = ("out", "in_place", "check", "diff")  # of which there can be one


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `preprocess`, and those of its steps."""
    parser.add_argument("path", nargs="+", help="notebooks, folders of them, patterns, or - for standard input")
    steps = parser.add_argument_group("steps (default: --clean --strip-outputs --scan)")
    for name, text in (
        ("clean", "drop metadata that editors and runs leave, and execution counts"),
        ("strip-outputs", "drop outputs, except of cells tagged keep_output"),
        ("optimize", "remove unused and repeated imports, and sort the others within their cell"),
        ("scan", "look for secrets and for risky code"),
        ("all", "all of these"),
    ):
        steps.add_argument(f"--{name}", dest="steps", action="append_const", const=GROUPS[name], help=text)
    steps.add_argument("--step", action="append", default=[], metavar="NAME", help="a step of a plugin, by its name")
    where = parser.add_argument_group("where the result goes").add_mutually_exclusive_group()
    where.add_argument("-o", "--out", metavar="OUT", help="a file, a folder, or - for standard output")
    where.add_argument("--in-place", action="store_true", help="into the file itself (the default)")
    where.add_argument("--check", action="store_true", help="change nothing; exit 3 when there is something to do")
    where.add_argument("--diff", action="store_true", help="change nothing; show what would change")
    parser.add_argument("--canonical", action="store_true", help="write as Jupyter does: indent 1, sorted keys")
    parser.add_argument("--format", choices=FORMATS, help="of the report (default: text, json with --json)")
    parallel_help = "processes for many notebooks (default: as many as there are CPUs)"
    parser.add_argument("--parallel", type=kagg.count_argument, metavar="N", help=parallel_help)
    requirements_help = "write what the notebooks need from PyPI to FILE (- = standard output)"
    parser.add_argument("--requirements", metavar="FILE", help=requirements_help)
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file, for its table preprocess")
    ctx = kagg.Context()
    for name in ORDER:
        try:
            add = getattr(kagg.room(ctx, "prep", name), "add_arguments", None)
        except KaggError:  # its package is missing: said when the step is asked for
            continue
        if add:
            add(parser.add_argument_group(f"{name}"))
    known = {
        option[2:].replace("-", "_"): action
        for action in parser._actions  # noqa: SLF001 - argparse has no other way to list them
        for option in action.option_strings
        if option.startswith("--") and action.dest not in ("help", "config", "steps", "kaggle_url", "json")
    }
    parser.set_defaults(known=known)


def run(args: argparse.Namespace, ctx: kagg.Context) -> int:
    """Clean notebooks and look for secrets in them; a bad file is reported and the rest go on."""
    options = _options(args, ctx)
    named = [name for group in options.get("steps") or () for name in group] + list(options.get("step") or ())
    asked = [step for option, step in IMPLIED.items() if options.get(option)]
    base = named or ([] if options.get("requirements") or "imports" in asked else list(DEFAULT_STEPS))
    job = kagg.shared("prep.job").Job(ctx, options, [*base, *asked])
    return int(job.run(args.path) or Exit.DONE)


def _options(args: argparse.Namespace, ctx: kagg.Context) -> dict[str, Any]:
    """Return the options by name; what the command line leaves open is taken from the settings."""
    settings = kagg.shared("settings").read_settings(args.config) if args.config else ctx.config
    table = settings.get("preprocess") or {}
    if not isinstance(table, dict):
        raise _odd("preprocess is no table")
    options = {key: value for key, value in vars(args).items() if key != "known"}
    place = [name for name in PLACES if options[name]]
    for written, value in table.items():
        name = str(written).replace("-", "_")
        if name == "steps":
            options["steps"] = options["steps"] or _steps(value)
            continue
        action = args.known.get(name)
        if action is None:
            raise _odd(f"preprocess has no option {written!r}")
        checked = _checked(name, action, value)
        if options[action.dest] in (None, False, []) and not (place and name in PLACES):
            options[action.dest] = checked
    return options


def _checked(name: str, action: argparse.Action, value: Any) -> Any:
    """Return a value of the settings as the command line would have given it."""
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise _odd(f"{name} is {value!r}, not true or false")
        return value
    many = isinstance(action.default, list) or name == "keep_tag"
    items = value if isinstance(value, list) and many else [value]
    if not all(isinstance(item, str | int) and not isinstance(item, bool) for item in items):
        raise _odd(f"{name} is {value!r}, not text" + (" or a list of texts" if many else ""))
    if action.choices is not None and not all(item in action.choices for item in items):
        raise _odd(f"{name} is {value!r}; there are {', '.join(map(str, action.choices))}")
    convert = action.type if callable(action.type) else str
    made = [convert(str(item)) for item in items]
    return made if many else made[0]


def _steps(value: Any) -> list[list[str]]:
    """Return the steps that the settings name, by the names of the options or of the rooms."""
    names = value if isinstance(value, list) else [value]
    steps: list[list[str]] = []
    for name in names:
        group = GROUPS.get(str(name).replace("_", "-"))
        if group is None:
            raise _odd(f"steps is {value!r}; there are {', '.join(GROUPS)}")
        steps.append(group)
    return steps


def _odd(what: str) -> KaggError:
    return KaggError(f"the settings: {what}", code=Exit.CONFIG, hint="see docs/preprocess.md")
