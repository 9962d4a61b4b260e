"""Find imports that repeat an earlier one: the same binding, with nothing in between that could have changed it.

Only what surely ran counts as earlier. Cells are taken in the order in which they stand.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from typing import TYPE_CHECKING

from plugins.lib.imports import known
from plugins.lib.imports.decisions import DUPLICATE, KEPT, Decision
from plugins.lib.imports.draft import normal
from plugins.lib.imports.statements import EXPLAINED, Binding, Import, Text, bindings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plugins.lib.imports.draft import Draft

# Imports that start a line, up to where the statement surely ends.
_IMPORTS = re.compile(
    r"^[ \t\f]*(?:import|from[ \t]+[\w. \t]+[ \t]import)\b[ \t]*(\([^)]*\)|[^\n\\]*(?:\\\n[^\n\\]*)*)", re.MULTILINE
)
_COMMENT = re.compile(r"#[^\n]*")
_WORD = re.compile(r"[^\W\d]\w*")
# After these an import may bring something else, or names may be gone.
_ANEW_WORDS = frozenset(
    {"reload", "modules", "kill", "_exit", "exit", "abort", "quit", "do_shutdown", "user_ns", "run_cell", "execfile"}
    | {"globals", "locals", "vars", "exec", "reset"}
)
_STARTS_ANEW = re.compile(
    r"\breload\b|\b(?:sys|os)\s*\.\s*(?:modules|kill|_exit|exit|abort)\b|(?<![\w.])(?:exit|quit)\(|"
    r"\b(?:do_shutdown|user_ns|run_cell|execfile)\b|(?<![\w.])(?:globals|locals|vars|exec)\b|[\"']%?reset"
)
# Words that may be bound where they stand: nobody binds a name with a dot, bracket or parenthesis after it.
_MAYBE_BOUND = re.compile(r"\b(?:def|class|type)[ \t]+([^\W\d]\w*)|(?<![\w.])([^\W\d]\w*)\b(?![ \t]*[.\[(])")
_STAR = re.compile(r"\bimport[ \t(]*\*")
INSTALLS = re.compile(
    r"\b(?:install|uninstall|upgrade|update|conda|apt|apt-get|git|setup\.py|make|wget|curl|unzip|tar)\b"
)


def find(draft: Draft, gone: set[tuple[Import, int]]) -> Iterator[Decision]:
    """Yield a decision for each repeated import but those in `gone`, which go for another reason."""
    names = _repeated(draft)
    if not names:
        return
    walk = _Walk(draft, names, gone)
    for place in range(len(draft.cells)):
        yield from walk.cell(place)


def _repeated(draft: Draft) -> frozenset[str]:
    """Return the names that two import statements bind: the only ones worth a closer look."""
    count: Counter[str] = Counter()
    for place, cell in enumerate(draft.cells):
        if "import" in draft.words(place):
            for text in _IMPORTS.findall(cell.python):
                parts = _COMMENT.sub("", text).replace("\\\n", " ").strip("() \t\n")
                count.update(filter(None, map(_bound_name, re.split("[,;]", parts))))
    return frozenset(normal(word) for word, times in count.items() if times > 1)


def _bound_name(part: str) -> str:
    """Return the name that `a.b`, `a as b` or `import a` binds."""
    words = part.split()
    return words[-1].partition(".")[0] if words else ""


class _Walk:
    """Goes through the cells and keeps, for each name, which import bound it last."""

    def __init__(self, draft: Draft, names: frozenset[str], gone: set[tuple[Import, int]]) -> None:
        self._draft = draft
        self._names = names
        self._gone = gone
        self._live: dict[str, tuple[Binding, int]] = {}
        self._seen: dict[Binding, int] = {}
        self._reloads = any("autoreload" in cell.source for cell in draft.cells)
        self._patched = frozenset(
            name for cell in draft.cells for name in re.findall(r"\.([^\W\d]\w*)[ \t]*=(?!=)", cell.python)
        )

    def cell(self, place: int) -> Iterator[Decision]:
        """Yield the decisions on one cell."""
        cell = self._draft.cells[place]
        words = self._draft.words(place)
        anew = "*" in cell.binds or (not words.isdisjoint(_ANEW_WORDS) and bool(_STARTS_ANEW.search(cell.python)))
        installs = [line for line, text in cell.shell if INSTALLS.search(text)]
        tree = self._draft.tree(place) if self._matters(cell.python, words) else None
        if anew or place in self._draft.bad or (installs and tree is None):
            self._live.clear()
        for name in cell.binds & self._names:
            self._live.pop(name, None)
        if tree is not None:
            yield from self._statements(place, tree, installs)
        if anew:
            self._live.clear()
        for name in cell.binds & self._names:
            self._live.pop(name, None)

    def _matters(self, python: str, words: frozenset[str]) -> bool:
        """Say whether a cell may bind one of the names."""
        if "import" in words and _STAR.search(python):
            return True
        return not self._names.isdisjoint(words) and ("import" in words or self._may_bind(python))

    def _may_bind(self, python: str) -> bool:
        found = (word for pair in _MAYBE_BOUND.findall(normal(python)) for word in pair)
        return not self._names.isdisjoint(found)

    def _statements(self, place: int, tree: ast.Module, installs: list[int]) -> Iterator[Decision]:
        text: Text | None = None
        for node in tree.body:
            while installs and installs[0] <= node.lineno:
                self._live.clear()
                del installs[0]
            if text is None:
                text = Text(self._draft.cells[place].source, self._draft.cells[place].python)
            if not isinstance(node, Import):
                code = "\n".join(text.python[node.lineno - 1 : node.end_lineno])
                if self._may_bind(code) or _STAR.search(code):
                    self._other(node)
                continue
            for position, binding in enumerate(bindings(node)):
                if binding.name == "*":
                    self._live.clear()
                elif binding.name in self._names:
                    yield from self._bound(place, node, position, binding, text)
        if installs:
            self._live.clear()

    def _bound(self, place: int, node: Import, position: int, binding: Binding, text: Text) -> Iterator[Decision]:
        """Compare an import with the one that bound the name last."""
        if (node, position) in self._gone:
            return
        earlier = self._live.get(binding.name)
        if earlier and earlier[0] == binding and binding.module != "__future__":
            kept = self._draft.may_edit(place)
            if EXPLAINED.search(text.comments(node)):
                kept = "a comment says why it is there"
            elif not text.same(node.lineno, node.end_lineno or 0):
                kept = "it is written in IPython's way"
            elif binding.module.partition(".")[0] in self._draft.own_modules():
                kept = "the notebook writes the module itself"
            elif self._reloads and known.import_effect(binding.module):
                kept = "autoreload may have changed the module"
            elif binding.attribute in self._patched:
                kept = f"{binding.attribute} is replaced in its module"
            reason = f"cell {self._draft.cells[earlier[1]].index} imports the same"
            yield Decision(KEPT if kept else DUPLICATE, place, node, position, binding, kept or reason)
            return
        if binding in self._seen:
            reason = f"cell {self._seen[binding]} imports the same, but may not have run or was followed by a change"
            yield Decision(KEPT, place, node, position, binding, reason)
        self._seen[binding] = self._draft.cells[place].index
        if self._draft.surely_runs(place):
            self._live[binding.name] = (binding, place)
        else:
            self._live.pop(binding.name, None)

    def _other(self, statement: ast.stmt) -> None:
        """Forget the names that a statement may bind to something else."""
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                self._live.pop(node.id, None)
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                self._live.pop(node.name, None)
            elif isinstance(node, Import):
                for binding in bindings(node):
                    live = self._live.get(binding.name)
                    if binding.name == "*":
                        self._live.clear()
                    elif live and live[0].target != binding.target:
                        del self._live[binding.name]
            else:
                for name in _named(node):
                    self._live.pop(name, None)


def _named(node: ast.AST) -> tuple[str, ...]:
    """Return the names that a node binds as text: `except ... as name`, patterns, `type name`."""
    if isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)):
        return (node.name,) if node.name else ()
    if isinstance(node, ast.MatchMapping):
        return (node.rest,) if node.rest else ()
    return ()
