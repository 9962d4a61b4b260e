"""Find the code cells that may be left out: those whose every statement is known to do nothing that is missed."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

from plugins.lib import pip_lines
from plugins.lib.cells import Cell, read_cells
from plugins.lib.imports.known import import_effect
from plugins.lib.slicing import known
from plugins.lib.slicing.kinds import Kinds
from plugins.lib.slicing.parts import Judge, Part, Uses

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_CELLS = 3_000
MAX_CHARACTERS = 3_000_000
MAX_DEPTH = 150  # nested expressions; what is deeper is kept whole
_WORD = re.compile(r"[^\W\d]\w*")
_DEFINED_LINE = re.compile(
    r"^[ \t]*(?:async[ \t]+)?(?:def|class|for)[ \t]+([^\n:(]+)|\b(?:import|as)\b([^\n#;]*)", re.MULTILINE
)
_CHANGED_LINE = re.compile(r"^[ \t]*([^\W\d]\w*)[ \t]*[.\[]", re.MULTILINE)


class TooLargeError(Exception):
    """The notebook is too large, or does what cannot be followed."""


class Plan:
    """The code cells of a notebook, and which of them have to stay."""

    def __init__(self, notebook: dict[str, Any]) -> None:
        if sum(isinstance(cell, dict) and cell.get("cell_type") == "code" for cell in notebook["cells"]) > MAX_CELLS:
            raise TooLargeError("it has too many cells")
        self.cells = read_cells(notebook)
        if sum(len(cell.source) for cell in self.cells) > MAX_CHARACTERS:
            raise TooLargeError("it is too large")
        trees = [cell.tree for cell in self.cells if cell.tree is not None]
        _check(self.cells, trees)
        unknown = set().union(*(_named_by_magic(cell) for cell in self.cells))
        judge = Judge(Kinds(trees, unknown, "\n".join(cell.source for cell in self.cells)))
        self.parts = [self._part(cell, judge) for cell in self.cells]
        self.binders: dict[str, list[int]] = {}
        self.outputs: dict[str, list[int]] = {}
        self.definitions: dict[str, list[Uses]] = {}
        for position, part in enumerate(self.parts):
            for name in part.binds:
                self.binders.setdefault(name, []).append(position)
            for name in part.changes:
                self.outputs.setdefault(name, []).append(position)
            for name, uses in part.definitions.items():
                self.definitions.setdefault(name, []).append(uses)
        self.kept: dict[int, str] = {}
        self.late: set[str] = set()
        self.now: set[tuple[str, int]] = set()
        self.used: set[str] = set()
        self.waiting: list[tuple[str, int]] = []  # (name, position), -1 = at any time

    def _part(self, cell: Cell, judge: Judge) -> Part:
        if cell.tree is None:
            return _by_words(cell)
        part = judge.cell(cell.tree.body)
        part.uses.late |= cell.reads
        part.binds |= cell.binds
        part.sure -= cell.binds
        shell = [" ".join(words) for _, line in cell.shell for words in pip_lines.commands(line)]
        if cell.magic not in ("", "time", "timeit"):
            part.why = f"it is a %%{cell.magic} cell"
        elif known.LOUD_MAGIC.search(cell.source) and _has_magic(cell):
            part.why = "it has a magic that may do anything"
        elif not all(known.SILENT_SHELL.match(line) for line in shell):
            part.why = "it runs a shell command"
        return part

    def slice(self, entry: str) -> dict[int, str]:
        """Return position in `cells` -> why it has to stay, for each cell that does."""
        for position, part in enumerate(self.parts):
            if part.why and self.cells[position].tree is not None:
                self._keep(position, part.why)
        self._ask(entry, -1)
        while self.waiting:
            name, at = self.waiting.pop()
            self._answer(name, at)
        return self.kept

    def _keep(self, position: int, why: str) -> None:
        if position not in self.kept:
            self.kept[position] = why
            self._take(self.parts[position].uses, position)

    def _take(self, uses: Uses, position: int) -> None:
        """Ask for what code uses."""
        for name in uses.late:
            self._ask(name, -1)
        for name in uses.now - uses.late:
            self._ask(name, position)
        if uses.everything:
            for other in range(len(self.parts)):
                self._keep(other, "the notebook has code that can reach any name")
        if uses.loads:
            for name in self.definitions:
                self._ask(name, -1)

    def _ask(self, name: str, at: int) -> None:
        if name not in self.late and (name, at) not in self.now:
            if at < 0:
                self.late.add(name)
            self.now.add((name, at))
            self.waiting.append((name, at))

    def _answer(self, name: str, at: int) -> None:
        """Keep what binds a name, as seen from a position, and all that changes its object."""
        for position in self.outputs.get(name, ()):
            self._keep(position, f"changes {name[:80]}, which is needed")
        why = f"binds {name[:80]}, which is needed"
        if at < 0:
            for position in self.binders.get(name, ()):
                self._keep(position, why)
        for position in reversed(self.binders.get(name, ())):
            if position < at:
                self._keep(position, why)
                if name in self.parts[position].sure:
                    break
        if name not in self.used:  # whoever names a function may call it
            self.used.add(name)
            for uses in self.definitions.get(name, ()):
                self._take(Uses(set(), uses.now | uses.late, uses.everything, uses.loads), -1)


def _check(cells: list[Cell], trees: list[ast.Module]) -> None:
    """Refuse what makes names mean anything: stars, and magics that run or bind what the text does not show."""
    if any("*" in cell.binds or "*" in cell.reads for cell in cells):
        raise TooLargeError("it has a magic that may bind any name")
    for node in _nodes(trees):
        if isinstance(node, ast.FunctionDef) and node.name == "__del__":
            raise TooLargeError("it has objects that act when they are let go")
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            module = "." * node.level + (node.module or "")
            if import_effect(module):
                raise TooLargeError(f"it imports everything from {module[:80]}")


def _nodes(trees: list[ast.Module]) -> Iterator[ast.AST]:
    """Yield all nodes, unless they are nested too deeply."""
    level: list[ast.AST] = list(trees)
    for _ in range(MAX_DEPTH):
        yield from level
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return
    raise TooLargeError("it is nested too deeply")


def _has_magic(cell: Cell) -> bool:
    return cell.python != cell.source


def _named_by_magic(cell: Cell) -> set[str]:
    """Return the names whose values magics and unreadable cells give."""
    if cell.tree is None:
        return _by_words(cell).binds
    shell = [" ".join(words) for _, line in cell.shell for words in pip_lines.commands(line)]
    return set() if all(known.SILENT_SHELL.match(line) for line in shell) and cell.shell else set(cell.binds)


def _by_words(cell: Cell) -> Part:
    """Judge a cell that is not Python by its lines."""
    before = (line.partition("=")[0] for line in cell.python.split("\n") if "=" in line)
    found = {word for text in before for word in _WORD.findall(text)}
    found |= {
        word for m in _DEFINED_LINE.finditer(cell.python) for text in m.groups("") for word in _WORD.findall(text)
    }
    changed = {match[1] for match in _CHANGED_LINE.finditer(cell.python)}
    words = set(_WORD.findall(cell.python))
    return Part(Uses(set(), words), {}, set(), found | cell.binds, changed, "it is not Python")
