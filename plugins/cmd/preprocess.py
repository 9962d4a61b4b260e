"""Clean notebooks, and look for secrets in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import kagg
from kagg import Exit, KaggError
from plugins.lib.prep.steps import DEFAULT_STEPS, ORDER

if TYPE_CHECKING:
    import argparse

PLUGIN = {"api": 1, "summary": "clean notebooks and look for secrets", "requires": {}}

IMPLIED = {  # options that mean nothing without their step
    "hoist": "imports", "explain": "imports", "fix_secrets": "secrets", "update_baseline": "secrets", "deep": "secrets",
    "baseline": "secrets",
}  # fmt: skip
FORMATS = ("text", "json", "sarif", "github")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `preprocess`, and those of its steps."""
    parser.add_argument("path", nargs="+", help="notebooks, folders of them, patterns, or - for standard input")
    steps = parser.add_argument_group("steps (default: --clean --strip-outputs --scan)")
    for flag, names, text in (
        ("--clean", ["clean"], "drop metadata that editors and runs leave, and execution counts"),
        ("--strip-outputs", ["outputs"], "drop outputs, except of cells tagged keep_output"),
        ("--optimize", ["imports"], "remove unused and repeated imports, and sort the others within their cell"),
        ("--scan", ["secrets", "risks"], "look for secrets and for risky code"),
        ("--all", list(ORDER), "all of these"),
    ):
        steps.add_argument(flag, dest="steps", action="append_const", const=names, help=text)
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
        raise KaggError("preprocess in the settings is no table", code=Exit.CONFIG)
    options = vars(args)
    given = {str(key).replace("-", "_"): value for key, value in table.items()}
    unknown = sorted(set(given) - set(options) | (set(given) & {"path", "func", "config"}))
    if unknown:
        raise KaggError(f"preprocess in the settings has no option {unknown[0]!r}", code=Exit.CONFIG)
    if isinstance(given.get("steps"), list):
        given["steps"] = [["secrets", "risks"] if name == "scan" else [str(name)] for name in given["steps"]]
    return options | {key: value for key, value in given.items() if options[key] in (None, False, [])}
