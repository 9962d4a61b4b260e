"""Put the imports of many notebooks in order, with one or two processes for all of them."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from plugins.lib.cells import quiet
from plugins.lib.imports import decisions, duplicates, sorting, verdicts
from plugins.lib.imports.draft import Draft, draft
from plugins.lib.imports.uses import Uses
from plugins.lib.imports.verdicts import needs_cells

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from kagg import Finding

_CHANGES = frozenset({decisions.REMOVED, decisions.DUPLICATE, sorting.SORTED, "import-hoisted", "imports-skipped"})
_DIRECTIVES = ("isort", "noqa", "ruff", "flake8")  # comments that may switch ruff off in other cells


def run(
    notebooks: Sequence[dict[str, Any]], *, hoist: bool, explain: bool
) -> list[tuple[dict[str, Any], list[Finding]]]:
    """Return each notebook with its imports in order, and what was done.

    Raises:
        KaggError: MISSING when ruff cannot be started, FAILED when it does not answer.
    """
    with quiet(), _uncollected():
        drafts = [draft(notebook) for notebook in notebooks]
        work = [each for each in drafts if each is not None]
        _sort(_edited(work, hoist=hoist))
        return [
            (each.result(), _reported(each, explain=explain)) if each else (notebook, [])
            for notebook, each in zip(notebooks, drafts, strict=True)
        ]


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector from going through the notebooks again and again: trees have no cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _edited(drafts: list[Draft], *, hoist: bool) -> list[Draft]:
    """Remove and hoist imports; return the drafts that ruff can read."""
    if not drafts:
        return []
    for each in drafts:
        if each.has_print():
            each.find_bad()
    with verdicts.Question([each.copies() for each in drafts], (verdicts.UNUSED,), as_modules=True) as question:
        searches = [duplicates.search(each) for each in drafts]  # while ruff is at work
        answers = question.answers()
    broken = [place for place, answer in enumerate(answers) if answer.broken]
    for place in broken:
        drafts[place].find_bad()
    again = verdicts.ask([drafts[place].copies() for place in broken], (verdicts.UNUSED,))
    for place, answer in zip(broken, again, strict=True):
        answers[place] = answer._replace(failed=answer.failed or answer.broken)
    for each, search, answer in zip(drafts, searches, answers, strict=True):
        _decide(each, search, answer, hoist=hoist)
    return [each for each, answer in zip(drafts, answers, strict=True) if not answer.failed]


def _decide(each: Draft, search: duplicates.Search | None, answer: verdicts.Verdict, *, hoist: bool) -> None:
    if answer.failed:
        each.say("imports-skipped", 0, 1, "imports are left as they are: ruff cannot read the notebook")
        return
    found = list(decisions.Unused(each, Uses(each)).decide(answer.unused)) if answer.unused else []
    gone = {(one.node, one.position) for one in found if one.kind != decisions.KEPT}
    repeated = list(search.find(gone)) if search else []
    doubled = {(one.node, one.position) for one in repeated if one.kind == decisions.DUPLICATE}
    decisions.carry_out(each, [one for one in found if (one.node, one.position) not in doubled] + repeated)
    if hoist:
        from plugins.lib.imports import hoisting

        hoisting.hoist(each)
    each.forget()


class _Part(NamedTuple):
    """Cells of a draft that are shown to ruff: those at `places`, whose blocks count where they are in `asked`."""

    draft: Draft
    places: Sequence[int]
    asked: AbstractSet[int]


def _sort(drafts: list[Draft]) -> None:
    """Sort the cells as they are now: those with imports of all notebooks as one, where that changes nothing."""
    together: list[_Part] = []
    alone: list[_Part] = []
    for each in drafts:
        if _stands_alone(each):
            every = range(len(each.cells))
            alone.append(_Part(each, every, set(every) - each.changed))
            alone.append(_Part(each, sorted(each.changed), each.changed))
        else:
            places = [place for place, cell in enumerate(each.cells) if _sortable(cell.python)]
            together.append(_Part(each, places, set(places)))
    blocks = _blocks(together, alone)
    for each in drafts:
        sorting.sort(each, blocks.get(id(each), []))


def _sortable(python: str) -> bool:
    """Say whether a cell may import more than one name."""
    at = python.find("import")
    line = python[at:].partition("\n")[0]
    return at >= 0 and ("import" in python[at + 6 :] or any(sign in line for sign in ",(\\"))


def _has_directive(text: str) -> bool:
    return any(word in text for word in _DIRECTIVES)


def _stands_alone(each: Draft) -> bool:
    """Say whether a cell may change how ruff reads others."""
    for cell in each.cells:
        if needs_cells(cell.python):
            return True
        if "#" in cell.python and _has_directive(cell.python.lower()):
            return True
    return False


def _blocks(together: list[_Part], alone: list[_Part]) -> dict[int, list[verdicts.Block]]:
    """Return the blocks that ruff would sort, by the id of the draft."""
    if not together and not alone:
        return {}
    merged = [(part, place) for part in together for place in part.places]
    questions = [[copy for part in together for copy in part.draft.separated(part.places, whole=False)]]
    questions += [part.draft.separated(part.places, whole=True) for part in alone]
    first, *rest = verdicts.ask(questions, (verdicts.UNSORTED,), as_modules=True)
    if first.broken or first.failed:
        return _blocks([], together + alone)
    found: dict[int, list[verdicts.Block]] = {}
    for block in first.blocks:
        part, place = merged[block.place]
        found.setdefault(id(part.draft), []).append(block._replace(place=place))
    for part, verdict in zip(alone, rest, strict=True):
        mine = [block._replace(place=part.places[block.place]) for block in verdict.blocks]
        found.setdefault(id(part.draft), []).extend(block for block in mine if block.place in part.asked)
    return found


def _reported(each: Draft, *, explain: bool) -> list[Finding]:
    """Return what was done, and with `explain` also what was not; in the order of the notebook."""
    found = [finding for finding in each.findings if explain or finding.kind in _CHANGES]
    return sorted(found, key=lambda finding: (finding.cell or 0, finding.line or 0))
