"""Find the cells that an entry function depends on, by who bound and who changed what it reads."""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING, Any

from plugins.lib import pip_lines
from plugins.lib.cells import Cell, read_cells
from plugins.lib.slicing import known
from plugins.lib.slicing.book import read_book
from plugins.lib.slicing.facts import Effects, Function, graph, reach
from plugins.lib.slicing.walk import Walk

if TYPE_CHECKING:
    from plugins.lib.slicing.facts import Book, Paths

MAX_CELLS = 3_000
MAX_CHARACTERS = 3_000_000
MAX_STEPS = 5_000_000  # looks at a cell; a notebook that needs more is kept whole
_WORD = re.compile(r"[^\W\d]\w*")
_DEFINED_LINE = re.compile(
    r"^[ \t]*(?:async[ \t]+)?(?:def|class|for)[ \t]+([^\n:(]+)|\b(?:import|as)\b([^\n#;]*)", re.MULTILINE
)
_CHANGED_LINE = re.compile(r"^[ \t]*([^\W\d]\w*)[ \t]*[.\[]", re.MULTILINE)


class TooLargeError(Exception):
    """The notebook is too large, or nested too deeply, to follow its data."""


class Plan:
    """The code cells of a notebook, and which of them an entry function needs."""

    def __init__(self, notebook: dict[str, Any]) -> None:
        if sum(isinstance(cell, dict) and cell.get("cell_type") == "code" for cell in notebook["cells"]) > MAX_CELLS:
            raise TooLargeError("it has too many cells")
        self.cells = read_cells(notebook)
        if sum(len(cell.source) for cell in self.cells) > MAX_CHARACTERS:
            raise TooLargeError("it is too large")
        self.book: Book = read_book(cell.tree for cell in self.cells if cell.tree is not None)
        self.effects = [self._of_cell(cell) for cell in self.cells]
        every = [*self.effects, *(function.effects for function in self.functions())]
        self.strong = graph(set().union(*(one.parts for one in every)))
        self.edges = graph(set().union(*(one.parts | one.keeps for one in every)))
        self.deferred: dict[str, set[str]] = {}
        for one in every:
            for name, read in one.deferred.items():
                self.deferred.setdefault(name, set()).update(read)
        for function in self.functions():
            self.deferred.setdefault(function.name, set()).update(function.free)
        self.uses = {
            name: self.edges.get(name, set()) | self.deferred.get(name, set()) for name in {*self.edges, *self.deferred}
        }
        self.reached: dict[str, set[str]] = {}
        self.steps = 0
        for effects in self.effects:
            self._take_called(effects)
        self.bound: set[str] = set().union(*(effects.binds | effects.may_bind for effects in self.effects))
        self.changed = [self._closure(effects) for effects in self.effects]
        self.kept: dict[int, str] = {}  # position -> why
        self.waiting: list[tuple[str, int]] = []
        self.asked: set[tuple[str, int]] = set()

    def functions(self) -> list[Function]:
        """Return all functions, classes and methods."""
        tables = (self.book.functions, self.book.methods)
        return [one for table in tables for several in table.values() for one in several]

    # --- reading cells -----------------------------------------------------------------------------------------------

    def _of_cell(self, cell: Cell) -> Effects:
        effects = _by_words(cell) if cell.tree is None else Walk(self.book).run(cell.tree.body)
        read, bound = cell.reads - {"*"}, cell.binds - {"*"}
        effects.reads |= read & self.book.bound
        effects.loads |= read & self.book.bound
        effects.may_bind |= bound
        effects.reads_all |= "*" in cell.reads
        if "*" in cell.binds:
            effects.always.append("runs code that may bind any name")
        if read and known.RUNNING_MAGIC.search(cell.source):
            effects.may_change |= read & self.book.bound
            effects.draws = max(effects.draws, 1)
        if known.KEEPING_MAGIC.search(cell.source):
            effects.always.append("has a magic whose effects reach further than this cell")
        for _, line in cell.shell:
            commands = pip_lines.commands(line)
            if any(pip_lines.install(words) is not None for words in commands):
                effects.always.append("installs packages")
            elif not all(known.SILENT_SHELL.match(" ".join(words)) for words in commands):
                effects.always.append("runs a shell command")
        return effects

    def reach(self, name: str) -> set[str]:
        """Return what the object of a name may consist of, itself among it."""
        if name not in self.reached:
            self.reached[name] = self._follow(self.edges, {name})
        return self.reached[name]

    def _take_called(self, effects: Effects) -> None:
        """Add what the functions do that code may call, by the names that it reads."""
        for name in self._follow(self.uses, effects.loads):
            for function in self.book.functions.get(name, ()):
                if name not in effects.may_bind | effects.binds or name in effects.loads:
                    effects.add(function.effects)

    def _closure(self, effects: Effects) -> set[str]:
        return self._follow(self.edges, effects.may_change) | self._follow(self.strong, effects.changes)

    def _follow(self, edges: dict[str, set[str]], roots: set[str]) -> set[str]:
        found = reach(edges, roots)
        self._count(len(found))
        return found

    def _count(self, steps: int) -> None:
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise TooLargeError("its data takes too many ways")

    # --- need --------------------------------------------------------------------------------------------------------

    def slice(self, entry: str) -> dict[int, str]:
        """Return position in `cells` -> why it is needed, for each cell that is."""
        end = len(self.cells)
        at_end = Effects(loads={entry})
        for name in reach(self.uses, {entry}):
            for function in self.book.functions.get(name, ()):
                at_end.add(function.effects)
        for position, effects in enumerate(self.effects):
            if effects.always:
                self.keep(position, effects.always[0])
        self.ask(entry, end)
        if at_end.reads_all:
            self.ask_all(end)
        count = -1
        while count != len(self.kept):
            count = len(self.kept)
            self.work()
            self._files(at_end)
            self._random(at_end)
            if at_end.plots:
                self._keep_if(lambda effects: effects.plot_settings, "sets how plots look")
        return self.kept

    def ask(self, name: str, at: int) -> None:
        """Ask for the state of a name at a position."""
        if name in self.bound and (name, at) not in self.asked:
            self.asked.add((name, at))
            self.waiting.append((name, at))

    def ask_all(self, at: int) -> None:
        """Ask for every name that cells before a position bind."""
        for effects in self.effects[:at]:
            for name in effects.binds | effects.may_bind:
                self.ask(name, at)

    def keep(self, position: int, why: str) -> None:
        """Keep a cell, and ask for what it reads."""
        if position in self.kept:
            return
        self.kept[position] = why
        effects = self.effects[position]
        for name in effects.reads:
            self.ask(name, position)
        for name in effects.loads - effects.reads:  # a function that the cell itself defines reads more
            for read in self.deferred.get(name, ()):
                self.ask(read, position)
        if effects.reads_all:
            self.ask_all(position)

    def work(self) -> None:
        """Answer what was asked."""
        while self.waiting:
            name, at = self.waiting.pop()
            last = self._binders(name, at)
            mine = self.reach(name)
            for position in range(last + 1, at):
                if position not in self.kept and not mine.isdisjoint(self.changed[position]):
                    self.keep(position, f"may change {_shown(name)}, which is needed")
            for part in mine:
                for read in self.deferred.get(part, ()):
                    self.ask(read, at)

    def _binders(self, name: str, at: int) -> int:
        """Keep the cells that may have bound a name last, and return the one that surely did, -1 without one."""
        self._count(at)
        for position in range(at - 1, -1, -1):
            effects = self.effects[position]
            if name in effects.binds:
                self.keep(position, f"binds {_shown(name)}, which is needed")
                return position
            if name in effects.may_bind:
                self.keep(position, f"may bind {_shown(name)}, which is needed")
        return -1

    def _keep_if(self, test: Any, why: str) -> None:
        for position, effects in enumerate(self.effects):
            if test(effects):
                self.keep(position, why)

    def _random(self, at_end: Effects) -> None:
        """Keep what draws from the shared generators between a seed and whoever draws from them last."""
        end = len(self.cells)
        seeds = [position for position, effects in enumerate(self.effects) if effects.seeds]
        drawing = [position for position in self.kept if self.effects[position].draws]
        last = end if at_end.draws == 2 else max(drawing, default=-1)
        for position in range(seeds[0], min(last, end)) if seeds else ():
            effects = self.effects[position]
            if effects.seeds:
                self.keep(position, "seeds random numbers")
            elif effects.draws:
                self.keep(position, "may draw random numbers before a cell that needs the next ones")

    def _files(self, at_end: Effects) -> None:
        """Keep what writes files that kept cells, or the entry function, may read."""
        readers = [(position, paths) for position in self.kept for paths in self.effects[position].read_files]
        readers += [(len(self.cells), paths) for paths in at_end.read_files]
        for position, effects in enumerate(self.effects):
            if position in self.kept or not effects.written_files:
                continue
            read = [paths for reader, paths in readers if reader > position]
            if any(_meet(mine, other) for mine in effects.written_files for other in read):
                self.keep(position, "may write a file that is read later")


def _shown(name: str) -> str:
    return name.rpartition(":")[2][:80]


def _meet(one: Paths, other: Paths) -> bool:
    """Say whether two sets of path constants may mean one file; an empty set may mean any."""
    if not one or not other:
        return True
    return any(_same_path(mine, their) for mine in one for their in other)


def _same_path(mine: str, their: str) -> bool:
    mine, their = (text.removeprefix("/kaggle/working").removeprefix("./").strip("/") for text in (mine, their))
    if not mine or not their or mine.startswith(their) or their.startswith(mine):
        return True
    ends = mine.rpartition("/")[2], their.rpartition("/")[2]
    return ends[0] == ends[1] or fnmatch.fnmatchcase(ends[0], ends[1]) or fnmatch.fnmatchcase(ends[1], ends[0])


def _by_words(cell: Cell) -> Effects:
    """Judge a cell that is not Python by its lines."""
    words = set(_WORD.findall(cell.python))
    before = (line.partition("=")[0] for line in cell.python.split("\n") if "=" in line)
    found = {word for text in before for word in _WORD.findall(text)}
    found |= {
        word for m in _DEFINED_LINE.finditer(cell.python) for text in m.groups("") for word in _WORD.findall(text)
    }
    changed = {match[1] for match in _CHANGED_LINE.finditer(cell.python)}
    return Effects(reads=set(words), loads=set(words), may_bind=found, may_change=changed, draws=1)
