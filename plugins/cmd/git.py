"""Let git clean notebooks by itself: a filter for what is added, a readable diff, a merge by cells.

`install`, `status` and `uninstall` are for people. Git itself calls `filter-process` (one process for all files of a
git command), `clean-filter` (one file, where that is not known), `textconv` and `merge-driver`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kagg import Context, Exit, KaggError, bad_input, redact, room, shared

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from plugins.lib.git_filter import Policy

PLUGIN = {"api": 1, "summary": "clean, diff and merge notebooks in git", "requires": {}}

ACTIONS = ("install", "status", "uninstall", "filter-process", "clean-filter", "textconv", "merge-driver")
STEPS = ("clean", "outputs")
MERGE_WORDS = 5  # %O %A %B %L %P of gitattributes(5)
TEXTCONV_WORDS = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `git`, and those of the steps that the filter runs."""
    parser.description = __doc__
    parser.add_argument("action", choices=ACTIONS, help="what to do")
    parser.add_argument("words", nargs="*", help="the files of clean-filter, textconv and merge-driver")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--global", dest="everywhere", action="store_true", help="for all of your repositories")
    text = "write the attributes here, such as .gitattributes (default: .git/info/attributes)"
    where.add_argument("--attributes", type=Path, metavar="FILE", help=text)
    group = _step_group(parser)
    group.add_argument("--scan", action="store_true", help="refuse to store a notebook with a secret in it")
    # Options of the secrets room that suit a filter; to import all its rules for them would double the start of a diff.
    group.add_argument("--baseline", metavar="FILE", help="with --scan: let the secrets of a .secrets.baseline pass")
    group.add_argument("--allow-finding", metavar="ID", action="append", help="with --scan: let one finding pass")
    parser.set_defaults(step_group=group)


def _step_group(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options of each step, which `install` writes down for the filter."""
    group = parser.add_argument_group("what the filter does")
    ctx = _without_strangers(Context())
    for name in STEPS:
        step = room(ctx, "prep", name)
        if hasattr(step, "add_arguments"):
            step.add_arguments(group)
    return group


def _without_strangers(ctx: Context) -> Context:
    """Look for built-in rooms only: others cannot replace the steps of the filter, and finding them takes longer."""
    ctx.env = {**ctx.env, "KAGG_NO_PLUGINS": "1"}
    return ctx


def _step_words(args: argparse.Namespace) -> list[str]:
    """Return the options of the steps as words of a command line, without those that are at their default."""
    words: list[str] = []
    for action in args.step_group._group_actions:  # noqa: SLF001 - argparse has no other way to list a group
        value = getattr(args, action.dest, action.default)
        if value == action.default:
            continue
        if action.nargs != 0:
            for one in value if isinstance(value, list | tuple) else [value]:
                words += [action.option_strings[-1], str(one)]
        elif action.const == value:
            words.append(action.option_strings[-1])
    return words


def _policy(args: argparse.Namespace) -> Policy:
    policy: Policy = shared("git_filter").Policy(vars(args), scan=args.scan)
    return policy


def run(args: argparse.Namespace, ctx: Context) -> int:
    """Do one action; exit 1 when `status` finds the filter absent or broken, or a merge has conflicts."""
    actions: dict[str, Callable[[argparse.Namespace, Context], int]] = {
        "install": _install,
        "status": _status,
        "uninstall": _uninstall,
        "filter-process": _filter_process,
        "clean-filter": _clean_filter,
        "textconv": _textconv,
        "merge-driver": _merge_driver,
    }
    allowed = {"clean-filter": (0, 1), "textconv": (TEXTCONV_WORDS,), "merge-driver": (MERGE_WORDS,)}
    if len(args.words) not in allowed.get(args.action, (0,)):
        raise bad_input(f"git {args.action} does not take {len(args.words)} words", "see: python kagg.py git --help")
    people = args.action in ("install", "status", "uninstall")
    return actions[args.action](args, ctx if people else _without_strangers(ctx))


# ---------------------------------------------------------------- for people


def _install(args: argparse.Namespace, ctx: Context) -> int:
    setup = shared("git_setup")
    git = setup.Git(ctx, Path.cwd())
    place = setup.find_place(ctx, git, everywhere=args.everywhere, attributes=args.attributes)
    if args.baseline:
        args.baseline = str(Path(args.baseline).absolute())  # git runs the filter at the top of the working tree
    report = setup.install(ctx, git, place, _step_words(args), required=_policy(args).required)
    done = "installed in" if report["changed"] else "already installed in"
    gate = "; a notebook with a secret is refused" if args.scan else ""
    if report["gate_removed"]:
        gate = "; the gate of an earlier install (--scan) is removed, a notebook with a secret is stored"
    ctx.emit(report, f"{done} {place.name}: *.ipynb are cleaned when added{gate} (attributes: {place.attributes})")
    return Exit.DONE


def _uninstall(args: argparse.Namespace, ctx: Context) -> int:
    setup = shared("git_setup")
    git = setup.Git(ctx, Path.cwd())
    place = setup.find_place(ctx, git, everywhere=args.everywhere, attributes=args.attributes)
    report = setup.uninstall(ctx, git, place)
    ctx.emit(report, f"removed from {place.name}" if report["changed"] else f"nothing to remove in {place.name}")
    return Exit.DONE


def _status(args: argparse.Namespace, ctx: Context) -> int:
    setup = shared("git_setup")
    report = setup.status(ctx, setup.Git(ctx, Path.cwd()), everywhere=args.everywhere)
    head = f"installed for {report['where']}" if report["installed"] else f"not installed for {report['where']}"
    lines = [head, *(f"  {fault}" for fault in report["faults"])]
    if report["process"]:
        lines.append(f"  {report['scope']} configuration: {report['process']}")
    ctx.emit(report, "\n".join(lines))
    return Exit.DONE if report["installed"] else Exit.FAILED


# ---------------------------------------------------------------- for git


def _filter_process(args: argparse.Namespace, ctx: Context) -> int:
    shared("git_filter").serve_git(ctx, _policy(args))
    return Exit.DONE


def _clean_filter(args: argparse.Namespace, ctx: Context) -> int:
    filters = shared("git_filter")
    with open(0, "rb", closefd=False) as source:
        content = source.read()
    try:
        result = filters.cleaned(ctx, _policy(args), content, args.words[0] if args.words else "standard input")
    except filters.Refused as refusal:
        ctx.say(str(refusal), -1)
        return Exit.FINDINGS
    return _write(result)


def _textconv(args: argparse.Namespace, ctx: Context) -> int:
    content = Path(args.words[0]).read_bytes()
    return _write(shared("git_text").readable(ctx, _policy(args)._replace(scan=False), content, args.words[0]))


def _merge_driver(args: argparse.Namespace, ctx: Context) -> int:
    base, ours, theirs, marker, name = args.words
    if not marker.isdecimal():
        raise bad_input(f"{redact(marker)[:20]!r} is no marker size", "git gives %O %A %B %L %P")
    sides = [Path(side) for side in (base, ours, theirs)]
    try:
        conflicts = shared("git_merge").merge_files(ctx, _policy(args)._replace(scan=False), sides, int(marker), name)
    except KaggError as error:
        ctx.say(f"kagg: {name}: {error}", -1)
        return 129  # beyond 128 git calls the driver broken, and keeps ours
    for conflict in conflicts:
        ctx.say(f"kagg: {name}: {conflict}")
    return Exit.FAILED if conflicts else Exit.DONE


def _write(content: Any) -> int:
    with open(1, "wb", closefd=False) as sink:
        sink.write(content)
    return Exit.DONE
