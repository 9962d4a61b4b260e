"""List, show, start, stop or remove endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kagg import shared

if TYPE_CHECKING:
    import argparse

    from kagg import Context

PLUGIN = {"api": 1, "summary": "list, show, start, stop or remove endpoints", "requires": {}}

ACTIONS = ("list", "show", "start", "stop", "remove")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `endpoints`."""
    parser.add_argument("action", nargs="?", default="list", choices=ACTIONS, help="what to do (default: %(default)s)")
    parser.add_argument("name", nargs="?", help="which endpoint (all but list)")


def run(args: argparse.Namespace, ctx: Context) -> int:
    """Do the action."""
    return int(shared("endpoints").act(ctx, args.action, args.name or ""))
