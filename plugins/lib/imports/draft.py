"""A notebook while its imports are being changed: the text of its code cells, and what has been decided."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

from kagg import Finding
from plugins.lib.cells import MAX_PARSED, Cell, is_python, parse_quietly, read_sources, sources
from plugins.lib.imports.statements import restored

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterable

LIVE_MAGICS = frozenset({"", "time", "capture"})  # cells with these run in the notebook's own namespace, once
KEEP_TAGS = frozenset({"parameters", "injected-parameters", "keep_imports", "keep-imports", "imports"})
MAYBE_TAGS = frozenset({"skip", "kagg:skip", "skip-execution", "remove_cell", "raises-exception"})  # may stop early

_WRITES_FILE = re.compile(r"^\s*%%(?:write)?file[ \t]+(?:-\w+[ \t]+)*[\"']?(?:[^\s\"']*/)?([\w-]+)\.py", re.MULTILINE)
_WORD = re.compile(r"[^\W\d]\w*")
_PRINT = re.compile(r"\n[ \t]*print[ \t]+[\"'\w]")
_EXPORTED = re.compile(r"\s*#[ \t]*\|?[ \t]*(?:export|exporti|exports|default_exp)\b")  # nbdev 1 and 2
_DIRECTIVE = re.compile(r"#.*(?:isort|ruff|flake8|noqa|type:|pylint|fmt)")


class Draft:
    """The code cells of a notebook by position among them; `bad` holds those that are no Python.

    Whoever makes or changes one does that within `cells.quiet`.
    """

    def __init__(self, notebook: dict[str, Any], cells: list[Cell]) -> None:
        self.notebook = notebook
        self.cells = cells
        self.changed: set[int] = set()
        self.findings: list[Finding] = []
        self.bad = {place for place, cell in enumerate(cells) if not _is_text(cell.python)}
        self._trees: dict[int, ast.Module | None] = {}
        self._words: dict[int, frozenset[str]] = {}
        self._modules: frozenset[str] | None = None

    def text(self, place: int) -> str:
        """Return a cell's Python with identifiers as Python reads them; the same text where it is ASCII."""
        return normal(self.cells[place].python)

    def words(self, place: int) -> frozenset[str]:
        """Return the words in a cell's Python, comments and strings included, as Python reads identifiers."""
        if place not in self._words:
            self._words[place] = frozenset(_WORD.findall(self.text(place)))
        return self._words[place]

    def cells_with(self, word: str) -> list[int]:
        """Return the cells that have a word, comments and strings included."""
        return [
            place
            for place in range(len(self.cells))
            if word in self.text(place) and word in self.words(place)  # the first is faster, the second is right
        ]

    def forget(self) -> None:
        """Drop the trees: many of them at a time make the garbage collector slow."""
        self._trees.clear()

    def tree(self, place: int) -> ast.Module | None:
        """Return the tree of a cell's Python, parsed once; None for a bad cell."""
        if place in self.bad:
            return None
        if place not in self._trees:
            self._trees[place] = parse_quietly(self.cells[place].python)[0]
            if self._trees[place] is None:
                self.bad.add(place)
        return self._trees[place]

    def find_bad(self) -> None:
        """Find the cells that do not parse."""
        for place in range(len(self.cells)):
            self.tree(place)

    def has_print(self) -> bool:
        """Say whether a cell does not parse because it is written for Python 2, as far as `print x` tells."""
        return any(
            "print " in cell.python and _PRINT.search("\n" + cell.python) and self.tree(place) is None
            for place, cell in enumerate(self.cells)
        )

    def copies(self) -> list[str]:
        """Return the cells for ruff to look for unused names: plain Python, bad cells blank."""
        return ["" if place in self.bad else cell.python for place, cell in enumerate(self.cells)]

    def separated(self, places: Iterable[int], *, whole: bool) -> list[str]:
        """Return cells for ruff to sort, unless `whole` as far as they have imports that can be sorted."""
        cells = ((place, self.cells[place].python) for place in places)
        return ["" if place in self.bad else _separated(text if whole else _head(text)) for place, text in cells]

    def tags(self, place: int) -> frozenset[str]:
        """Return the tags of a cell."""
        metadata = self.notebook["cells"][self.cells[place].index].get("metadata")
        tags = metadata.get("tags") if isinstance(metadata, dict) else None
        return frozenset(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else frozenset()

    def may_edit(self, place: int) -> str:
        """Return why the imports of a cell must stay as they are, "" when they need not."""
        if self.cells[place].magic not in LIVE_MAGICS:
            return f"it is in a %%{self.cells[place].magic} cell"
        kept = (KEEP_TAGS | MAYBE_TAGS) & self.tags(place)
        source = self.notebook["cells"][self.cells[place].index].get("source")
        if isinstance(source, list) and not all(isinstance(part, str) for part in source):
            return "the cell is malformed"
        if _EXPORTED.match(self.cells[place].source):
            return "the cell is exported to a module"
        return f"the cell is tagged {min(kept)}" if kept else ""

    def surely_runs(self, place: int) -> bool:
        """Say whether the cell runs in the notebook's namespace and to its end, if the notebook does."""
        return self.cells[place].magic in LIVE_MAGICS and not self.tags(place) & MAYBE_TAGS

    def own_modules(self) -> frozenset[str]:
        """Return the names of the modules that the notebook itself writes."""
        if self._modules is None:
            self._modules = frozenset(
                name for cell in self.cells if "%%" in cell.source for name in _WRITES_FILE.findall(cell.source)
            )
        return self._modules

    def read(self, place: int, source: str) -> tuple[Cell, ast.Module | None]:
        """Return a cell as it would be with another text, and its tree."""
        fresh = self.reread(place, source)
        return fresh, parse_quietly(fresh.python)[0]

    def reread(self, place: int, source: str) -> Cell:
        """Return a cell as it would be with another text."""
        return read_sources([(self.cells[place].index, source)], parse=False)[0]

    def replace(self, place: int, cell: Cell, tree: ast.Module | None = None) -> None:
        """Put a cell with another text in the place of one."""
        self.cells[place] = cell
        if tree is None:
            self._trees.pop(place, None)
        else:
            self._trees[place] = tree
        self._words.pop(place, None)
        self.changed.add(place)

    def say(self, kind: str, place: int, line: int, message: str) -> None:
        """Record a decision."""
        text = " ".join(message.split())[:300]
        self.findings.append(Finding(kind, "note", text, self.cells[place].index, line, place="source"))

    def result(self) -> dict[str, Any]:
        """Return the notebook with the changed cells; the very same object without changes."""
        if not self.changed:
            return self.notebook
        cells = list(self.notebook["cells"])
        for place in self.changed:
            cell = cells[self.cells[place].index]
            cells[self.cells[place].index] = cell | {"source": restored(cell["source"], self.cells[place].source)}
        return self.notebook | {"cells": cells}


def draft(notebook: dict[str, Any]) -> Draft | None:
    """Return the draft of a notebook; None when it has no imports to work on."""
    cells = notebook.get("cells")
    if not isinstance(cells, list) or not is_python(notebook):
        return None
    texts = list(sources(notebook))
    if not any("import" in text for _, text in texts):
        return None
    read = read_sources(texts, parse=False)
    return Draft(notebook, read) if any("import" in cell.python for cell in read) else None


def normal(text: str) -> str:
    """Return the text with identifiers as Python reads them."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def _is_text(python: str) -> bool:
    """Say whether a parser may be asked: no lone surrogates, no NUL, not too long."""
    if len(python) > MAX_PARSED or "\0" in python:
        return False
    try:
        python.isascii() or python.encode()
    except UnicodeEncodeError:
        return False
    return True


def _head(python: str) -> str:
    """Return a cell up to its last import that is not inside another statement; the whole cell in doubt."""
    if "\\\n" in python or "\f" in python or '"""' in python or "'''" in python:
        return python
    text = "\n" + python
    at = max(text.rfind("\nimport"), text.rfind("\nfrom"))
    if at < 0:
        return python if ";" in python else ""
    end = python.find("\n", at)
    return python if end < 0 or any(sign in python[at:end] for sign in "([{") else python[:end]


def _separated(python: str) -> str:
    """Put a statement where a comment line stands between imports, so that they are only sorted up to the comment."""
    if "\n#" not in python or "import" not in python:
        return python
    lines = python.split("\n")
    imports = inside = False
    for row, line in enumerate(lines):
        if inside:
            inside = ")" not in line.partition("#")[0]
        elif line.startswith(("import ", "from ")):
            imports, inside = True, "(" in line and ")" not in line
        elif line.startswith("#"):
            if imports and not _DIRECTIVE.match(line):
                lines[row] = "pass"
        elif line.strip():
            imports = False
    return "\n".join(lines)
