"""Replace the secrets of a notebook's cells by lookups in the environment, or in Kaggle's secrets on Kaggle.

A change is only made when the cell can be parsed after it; what must be done by hand stays a finding.
"""

from __future__ import annotations

import ast
import bisect
import re
from typing import TYPE_CHECKING, Any

from kagg import Finding
from plugins.lib.secrets import layout, repeats
from plugins.lib.secrets.edits import (
    CLIENT,
    MAX_TRIED,
    Edit,
    Style,
    built_edits,
    line_numbers,
    python_edits,
    shell_edits,
    targets_in,
)
from plugins.lib.secrets.text import cells_of, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from plugins.lib.secrets.record import Record

    Scan = Callable[[dict[str, Any]], tuple[list[Record], list[Record]]]

ON_KAGGLE = re.compile(r"\bkaggle_secrets\b|/kaggle/(?:input|working)|\.\./input/")
PYTHON_CELL = re.compile(r"%%(?:time|timeit|capture|prun)\b")
SHELL_CELL = re.compile(r"%%(?:bash|sh|script\s+(?:ba)?sh|!)\b|%%!")
LINES = re.compile(r"[^\n]*\n|[^\n]+")
IMPORTS = {"os": "import os", CLIENT: f"from kaggle_secrets import {CLIENT}"}
MAX_ROUNDS = 20  # of at most MAX_RECORDS each; a notebook with more keeps the rest


def style_of(notebook: dict[str, Any]) -> Style:
    """Return the style of a notebook: Kaggle's where metadata or paths speak of Kaggle."""
    cells = [cell for cell in cells_of(notebook) if isinstance(cell, dict)]
    metadata = notebook.get("metadata")
    kaggle = isinstance(metadata, dict) and "kaggle" in metadata
    kaggle = kaggle or any(ON_KAGGLE.search(joined(cell.get("source"))) for cell in cells)
    code = (joined(cell.get("source")) for cell in cells if cell.get("cell_type") == "code")
    return Style(kaggle, layout.taken(code, IMPORTS))


def is_python(notebook: dict[str, Any]) -> bool:
    """Tell whether the cells are Python; a notebook that names no language is."""
    metadata = notebook.get("metadata")
    parts = [metadata.get(key) for key in ("kernelspec", "language_info")] if isinstance(metadata, dict) else []
    spec, info = [part if isinstance(part, dict) else {} for part in (parts or [{}, {}])]
    language = str(spec.get("language") or info.get("name") or "python").lower()
    return "python" in language


# ---------------------------------------------------------------- names


def names_for(records: Iterable[Record], known: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variable of each secret value, those that are known included; two values never share one."""
    found: dict[str, str] = dict(known or {})
    taken: set[str] = set(found.values())
    numbers: dict[str, int] = {}
    for record in records:
        if record.value in found:
            continue
        base = re.sub(r"\W+", "_", record.name, flags=re.ASCII).strip("_").upper() or "SECRET"
        if record.value.upper() in base or base[0].isdigit() or len(base) > 60:
            base = "SECRET"
        name = base
        while name in taken:
            numbers[base] = numbers.get(base, 1) + 1
            name = f"{base}_{numbers[base]}"
        taken.add(name)
        found[record.value] = name
    return found


# ---------------------------------------------------------------- putting edits in


def _parses(source: str) -> bool:
    return layout.parsed(source) is not None


def _applied(source: str, edits: Sequence[Edit]) -> tuple[str, list[Edit]]:
    """Return the source with the edits put in from the last to the first, and those that do not overlap."""
    pieces: list[str] = []
    done: list[Edit] = []
    last = len(source)
    for edit in sorted(edits, key=lambda one: (one.start, one.end), reverse=True):
        if edit.end <= last:  # else the second secret of a line that is replaced as a whole
            pieces += [source[edit.end : last], edit.text]
            last = edit.start
            done.append(edit)
    return "".join([source[:last], *reversed(pieces)]), done


def _parsable(source: str, edits: Sequence[Edit]) -> list[Edit]:
    """Return the edits that leave the source parsable: all of them, or found by halving."""
    good: list[Edit] = []
    stack = [sorted(edits, key=lambda one: one.start)]
    tries = MAX_TRIED * 4
    while stack and tries:
        some = stack.pop()
        tries -= 1
        if _parses(_applied(source, good + some)[0]):
            good += some
        elif len(some) > 1:
            stack += [some[len(some) // 2 :], some[: len(some) // 2]]
        elif some[0].text.lstrip().startswith("# "):  # it was the only statement of a block
            bare = some[0].text.lstrip()
            indent = some[0].text[: len(some[0].text) - len(bare)]
            other = some[0]._replace(text=f"{indent}pass  {bare}")
            good += [other] if _parses(_applied(source, [*good, other])[0]) else []
    return good


def _imports(name: str, source: str, before: int | None = None) -> bool:
    """Tell whether a cell imports a name at its top level, before a line (from 1)."""
    found = layout.parsed(source) if name in source else None
    return any(
        name in {(one.asname or one.name).partition(".")[0] for one in node.names}
        for node in (found[0].body if found else ())
        if isinstance(node, (ast.Import, ast.ImportFrom)) and (before is None or node.lineno < before)
    )


def _import_line(source: str) -> int:
    """Return how many lines stand before imports: a cell magic, and imports from __future__."""
    found = layout.parsed(source)
    ends = [
        node.end_lineno or node.lineno
        for node in (found[0].body if found else ())
        if isinstance(node, ast.ImportFrom) and node.module == "__future__"
    ]
    return max([int(source.startswith("%%")), *ends])


def _with_imports(source: str, names: Iterable[str]) -> str:
    """Put import lines before the first statement."""
    lines = LINES.findall(source)
    at = _import_line(source)
    head = "".join(lines[:at])
    head += "\n" if head and not head.endswith("\n") else ""
    return head + "".join(f"{IMPORTS[name]}\n" for name in names) + "".join(lines[at:])


def _overlaps(edit: Edit, others: Sequence[Edit]) -> bool:
    """Tell whether a change touches one of others, which are in order and apart."""
    number = bisect.bisect_left(others, edit.end, key=lambda one: one.start) - 1
    return number >= 0 and others[number].end > edit.start


class Cells:
    """Replaces secrets cell by cell; `names` are the variables of all values, `seen` what rules found themselves."""

    def __init__(self, notebook: dict[str, Any], names: dict[str, str], seen: set[Record]) -> None:
        self.style, self.python = style_of(notebook), is_python(notebook)
        self.names, self.seen = names, seen
        self.imported: set[str] = set()

    def edits(self, kind: Any, source: str, records: Sequence[Record], style: Style) -> list[Edit]:
        """Return the changes of a cell."""
        targets = targets_in(source, records, self.names, self.seen)
        if kind != "code":
            lines = line_numbers(source, targets)
            return [
                Edit(one.start, one.end, f"[{one.name} removed]", one.name, lines[one], ())
                for one in targets
                if not one.is_plain
            ]
        if SHELL_CELL.match(source):
            return shell_edits(source, targets, Style(kaggle=False))
        if not self.python or (source.startswith("%%") and not PYTHON_CELL.match(source)):
            return []
        cell = layout.layout(source)
        if cell is None:
            return []
        built = sorted(built_edits(source, records, self.names, style, cell))
        edits = [one for one in python_edits(source, targets, style, cell) if not _overlaps(one, built)]
        return _parsable(source, edits + built)

    def fixed(self, kind: Any, source: str, records: Sequence[Record]) -> tuple[str, list[Edit]]:
        """Return the new source of a cell, and the changes from the first to the last."""
        text, edits = _applied(source, self.edits(kind, source, records, self.style))
        needs = [name for name in IMPORTS if any(name in edit.needs for edit in edits)]
        first = min((edit.line for edit in edits), default=0)
        missing = [name for name in needs if name not in self.imported and not _imports(name, source, first)]
        if missing and _import_line(source) >= first:  # nothing can stand before the first lookup
            style = self.style._replace(inline=frozenset(IMPORTS))
            text, edits = _applied(source, self.edits(kind, source, records, style))
        elif missing:
            text = _with_imports(text, missing)
        return text, edits[::-1]


def fixed(
    notebook: dict[str, Any], records: Sequence[Record], names: dict[str, str], seen: set[Record]
) -> tuple[dict[str, Any], list[Finding]]:
    """Return the notebook without the secrets that can be replaced, and a note for each variable to be set.

    `records` are all known places, of which rules have `seen` some; `names` are the variables of their values.
    """
    own: dict[int | None, list[Record]] = {}
    for record in records:
        if record.place == "source":
            own.setdefault(record.cell, []).append(record)
    cells, notes, work = list(notebook["cells"]), list[Finding](), Cells(notebook, names, seen)
    for index, cell in enumerate(cells):
        if not isinstance(cell, dict):
            continue
        raw, kind = cell.get("source"), cell.get("cell_type")
        source = joined(raw)
        edits: list[Edit] = []
        if index in own and (isinstance(raw, (str, list))):
            source, edits = _with_line_ends(work, kind, source, own[index])
        if edits:
            cells[index] = cell | {"source": LINES.findall(source) if isinstance(raw, list) else source}
            notes += [_note(edit, index) for edit in edits]
        if kind == "code":
            work.imported |= {name for name in IMPORTS if name not in work.imported and _imports(name, source)}
    return (notebook | {"cells": cells} if notes else notebook), notes


def _with_line_ends(work: Cells, kind: Any, source: str, records: Sequence[Record]) -> tuple[str, list[Edit]]:
    """Replace secrets in a source that may have the line ends of Windows; others are left as they are."""
    if "\r" not in source or kind != "code":
        return work.fixed(kind, source, records)
    text = source.replace("\r\n", "\n")
    if "\r" in text or source.count("\r\n") != text.count("\n"):
        return source, []
    ends = [match.start() for match in re.finditer("\r\n", source)]
    moved = {one: bisect.bisect_left(ends, one.start) for one in records if one.start >= 0}
    shifted = [
        one._replace(start=one.start - moved[one], end=one.start - moved[one] + len(one.value)) if one in moved else one
        for one in records
        if "\r" not in one.value
    ]
    work.seen |= {new for new in shifted if not repeats.is_plain(new.value)}
    text, edits = work.fixed(kind, text, shifted)
    return (text.replace("\n", "\r\n"), edits) if edits else (source, [])


def _note(edit: Edit, index: int) -> Finding:
    masked = "removed]" in edit.text and not edit.needs
    message = f"{edit.name} removed from the text" if masked else f"a secret became a lookup of {edit.name}"
    fix = "revoke the old value" if masked else f"revoke the old value, and set {edit.name} before the notebook runs"
    return Finding("secret-replaced", "note", message, index, edit.line, fix, "source")


def fixed_point(
    notebook: dict[str, Any], shown: list[Record], passed: list[Record], scan: Scan
) -> tuple[dict[str, Any], list[Finding], list[Record]]:
    """Replace secrets until there is nothing more to replace; return the notebook, the notes, and what is left.

    `scan` gives the open secrets of a notebook and those that may pass. What was found once is looked for everywhere,
    because a rule no longer knows it when its surroundings have changed.
    """
    notes: list[Finding] = []
    names: dict[str, str] = {}
    known: dict[str, Record] = {}
    for number in range(MAX_ROUNDS + 1):
        names = names_for(shown, names)
        for record in shown:
            known.setdefault(record.value, record)
        places = shown + repeats.more_records(notebook, known.values(), [*shown, *passed])
        notebook, more = fixed(notebook, places, names, set(shown)) if number < MAX_ROUNDS else (notebook, [])
        notes += more
        if not more:
            break
        shown, passed = scan(notebook)
    return notebook, notes, repeats.once(places)
