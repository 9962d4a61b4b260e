"""Keep only the code cells that an entry function depends on, in their order, so that it answers as before.

A cell goes only when each of its statements is known to do nothing but give names that no kept cell uses, or to show
something. When in doubt a cell stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kagg import Finding
from plugins.lib.slicing.plan import Plan, TooLargeError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

PLUGIN = {"api": 1, "summary": "only the cells that the entry function depends on", "requires": {}}

ENTRIES = ("predict", "process_request", "handler")
MAX_PASSES = 8  # without what a dropped cell bound, more may be known of the others


def add_arguments(group: argparse._ArgumentGroup, /) -> None:
    """Add --entry."""
    group.add_argument(
        "--entry", metavar="NAME", help=f"the function to keep (default: the first of {', '.join(ENTRIES)})"
    )


def apply(notebook: dict[str, Any], options: Mapping[str, Any], /) -> tuple[dict[str, Any], list[Finding]]:
    """Return the notebook without the code cells that the entry function does not need, and why for each code cell.

    `options["entry"]` names the function. Without it, or when the notebook is too large, all cells stay.
    """
    cells = notebook.get("cells")
    if not isinstance(cells, list):
        return notebook, []
    places = list(range(len(cells)))  # where the cells of the current pass stand in the notebook
    current, findings = notebook, list[Finding]()
    for _ in range(MAX_PASSES):
        try:
            kept, found = _one_pass(current, options.get("entry"))
        except (TooLargeError, RecursionError) as error:
            reason = str(error) if isinstance(error, TooLargeError) else "it is nested too deeply"
            return notebook, [Finding("slice", "warning", f"all cells stay: {reason}")]
        dropped = len(kept) < len(places)
        last = [one for one in found if not dropped or one.message.startswith(_OUT)]
        findings += [one if one.cell is None else one._replace(cell=places[one.cell]) for one in last]
        if not dropped:
            break
        places = [places[index] for index in kept]
        current = notebook | {"cells": [cells[index] for index in places]}
    return current, sorted(findings, key=lambda one: -1 if one.cell is None else one.cell)


_OUT = "left out: "


def _one_pass(notebook: dict[str, Any], entry: Any) -> tuple[list[int], list[Finding]]:
    """Return the indexes of the cells that stay, and a finding for each code cell."""
    cells = notebook["cells"]
    plan = Plan(notebook)
    bound = set().union(*(part.binds for part in plan.parts))
    name = next((one for one in ([entry] if entry else ENTRIES) if one in bound), "")
    if not name:
        wanted = entry or ", ".join(ENTRIES)
        return list(range(len(cells))), [Finding("slice", "warning", f"all cells stay: none binds {wanted}"[:200])]
    kept = plan.slice(name)
    findings, dropped = [], set()
    for position, cell in enumerate(plan.cells):
        if position in kept:
            findings.append(Finding("slice", "note", f"kept: {kept[position]}", cell.index, place="source"))
            continue
        dropped.add(cell.index)
        severity, reason = "note", _why_not(plan, position, name)
        if cell.tree is None and cell.python.strip():
            severity, reason = "warning", f"it is not Python ({cell.error}) and seems to bind nothing that {name} needs"
        findings.append(Finding("slice", severity, _OUT + reason, cell.index, place="source"))
    return [index for index in range(len(cells)) if index not in dropped], findings


def _why_not(plan: Plan, position: int, entry: str) -> str:
    """Say what a cell that is not needed does."""
    names = sorted(plan.parts[position].binds)
    if not names:
        return f"it changes nothing that {entry} needs"
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"it binds {', '.join(one[:40] for one in names[:4])}{more}, which {entry} does not need"
