"""Remove imports that nothing uses or that repeat others, and sort the rest within their cells.

Ruff suggests; what a notebook is decides: names in magics, shell lines and evaluated text, imports made for their
effects, other cells, cells that do not parse. In doubt an import stays. Cells are edited where they are, none is
deleted, and one that would not parse after an edit stays as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plugins.lib.imports import decisions, duplicates, hoisting, sorting, verdicts
from plugins.lib.imports.draft import Draft, draft
from plugins.lib.imports.uses import Uses

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from kagg import Finding

PLUGIN = {
    "api": 1,
    "summary": "remove unused and repeated imports, sort within cells; hoist on request",
    "requires": {"ruff": "ruff>=0.6"},
}

_CHANGES = frozenset({decisions.REMOVED, decisions.DUPLICATE, sorting.SORTED, hoisting.HOISTED, "imports-skipped"})


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
    drafts = [draft(notebook) for notebook in notebooks]
    work = [each for each in drafts if each is not None]
    answers = _first_answers(work)
    for each in work:
        _decide(each, answers[id(each)], hoist=bool(options.get("hoist")))
    _sort(work, answers)
    explain = bool(options.get("explain"))
    return [
        (each.result(), _reported(each, explain=explain)) if each else (notebook, [])
        for notebook, each in zip(notebooks, drafts, strict=True)
    ]


def _first_answers(drafts: list[Draft]) -> dict[int, verdicts.Verdict]:
    """Ask ruff about whole notebooks; where a cell does not parse, ask again without such cells."""
    rules = (verdicts.UNUSED, verdicts.UNSORTED)
    answers = {
        id(each): answer
        for each, answer in zip(drafts, verdicts.ask([each.copies() for each in drafts], rules), strict=True)
    }
    broken = [each for each in drafts if answers[id(each)].broken]
    for each in broken:
        for place in range(len(each.cells)):
            each.tree(place)
    for each, answer in zip(broken, verdicts.ask([each.copies() for each in broken], rules), strict=True):
        answers[id(each)] = answer._replace(failed=answer.failed or answer.broken)
    return answers


def _decide(each: Draft, answer: verdicts.Verdict, *, hoist: bool) -> None:
    """Remove and hoist."""
    if answer.failed:
        each.say("imports-skipped", 0, 1, "imports are left as they are: ruff cannot read the notebook")
        return
    found = list(decisions.Unused(each, Uses(each)).decide(answer.unused)) if answer.unused else []
    gone = {(one.node, one.position) for one in found if one.kind != decisions.KEPT}
    repeated = list(duplicates.find(each, gone))
    doubled = {(one.node, one.position) for one in repeated if one.kind == decisions.DUPLICATE}
    decisions.carry_out(each, [one for one in found if (one.node, one.position) not in doubled] + repeated)
    if hoist:
        hoisting.hoist(each)
    each.forget()


def _sort(drafts: list[Draft], answers: dict[int, verdicts.Verdict]) -> None:
    """Sort the cells as they are now: changed ones are shown to ruff again."""
    changed = [each for each in drafts if each.changed and not answers[id(each)].failed]
    places = {id(each): sorted(each.changed) for each in changed}
    copies = [each.copies(places[id(each)]) for each in changed]
    fresh = dict(zip(map(id, changed), verdicts.ask(copies, (verdicts.UNSORTED,)), strict=True))
    for each in drafts:
        blocks = [block for block in answers[id(each)].blocks if block.place not in each.changed]
        if id(each) in fresh:
            mine = places[id(each)]
            blocks += [block._replace(place=mine[block.place]) for block in fresh[id(each)].blocks]
        sorting.sort(each, blocks)


def _reported(each: Draft, *, explain: bool) -> list[Finding]:
    """Return what was done, and with `explain` also what was not; in the order of the notebook."""
    found = [finding for finding in each.findings if explain or finding.kind in _CHANGES]
    return sorted(found, key=lambda finding: (finding.cell or 0, finding.line or 0))
