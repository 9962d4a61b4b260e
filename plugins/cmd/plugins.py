"""Show every room: built-in, from KAGG_PLUGINS, from installed packages, and the broken ones with the reason."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kagg import KINDS, Exit, find_rooms, table

if TYPE_CHECKING:
    import argparse

    from kagg import Context

PLUGIN = {"api": 1, "summary": "show every room, where it comes from and why one is broken", "requires": {}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `plugins`."""
    parser.add_argument("--kind", choices=KINDS, help="only rooms of this kind")


def run(args: argparse.Namespace, ctx: Context) -> int:
    """Print one line per room, and why under a broken one; that is shown and is no failure of this command."""
    kinds = [args.kind] if args.kind else KINDS
    rows: list[dict[str, Any]] = [known._asdict() for kind in kinds for known in find_rooms(ctx, kind)]
    ctx.emit(rows, _text(rows))
    return Exit.DONE


def _text(rows: list[dict[str, Any]]) -> str:
    """Return the table with whole paths and reasons, without the control characters of strangers."""
    header, *lines = table(rows, ("kind", "name", "origin", "summary")).splitlines()
    width = max(map(len, [header, *lines]))
    text = [f"{header:<{width}}  path"] if rows else [header]
    for row, line in zip(rows, lines, strict=True):
        text.append(f"{line:<{width}}  {row['path']}")
        text += [f"    broken: {row['broken']}"] if row["broken"] else []
    return "\n".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", line) for line in text)
