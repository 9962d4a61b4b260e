"""Remove imports that nothing uses or that repeat others, and sort the rest within their cells.

Ruff suggests; what a notebook is decides: names in magics, shell lines and evaluated text, imports made for their
effects, other cells, cells that do not parse. In doubt an import stays. Cells are edited where they are, none is
deleted, and one that would not parse after an edit stays as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from kagg import Finding

PLUGIN = {
    "api": 1,
    "summary": "remove unused and repeated imports, sort within cells; hoist on request",
    "requires": {"ruff": "ruff>=0.6"},
}


def add_arguments(group: argparse._ArgumentGroup, /) -> None:
    """Add --hoist and --explain."""
    group.add_argument(
        "--hoist", action="store_true", help="with --optimize: move imports to the first code cell where that is safe"
    )
    group.add_argument(
        "--explain", action="store_true", help="with --optimize: say of each import why it stays or goes"
    )


def apply(notebook: dict[str, Any], options: Mapping[str, Any], /) -> tuple[dict[str, Any], list[Finding]]:
    """Return the notebook with fewer and sorted imports, and what was done.

    Raises:
        KaggError: MISSING when ruff cannot be started.
    """
    return apply_many([notebook], options)[0]


def apply_many(
    notebooks: Sequence[dict[str, Any]], options: Mapping[str, Any], /
) -> list[tuple[dict[str, Any], list[Finding]]]:
    """Do what `apply` does for many notebooks, with one or two processes for all of them."""
    from plugins.lib.imports import batch

    return batch.run(notebooks, hoist=bool(options.get("hoist")), explain=bool(options.get("explain")))
