"""Find imports that repeat an earlier one: the same binding, with nothing in between that could have changed it.

Only what surely ran counts as earlier. Cells are taken in the order in which they stand.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING

from plugins.lib.imports import known
from plugins.lib.imports.decisions import DUPLICATE, KEPT, Decision
from plugins.lib.imports.draft import normal
from plugins.lib.imports.statements import EXPLAINED, Binding, Import, Text, bindings, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plugins.lib.imports.draft import Draft

# Imports that start a line, up to where the statement surely ends.
_IMPORTS = re.compile(
    r"\n[ \t\f]*(?:import|from[ \t]+([\w. \t]+)[ \t]import)\b[ \t]*(\([^)]*\)|[^\n\\]*(?:\\\n[^\n\\]*)*)"
)
_LOOSE = re.compile(r"\\\n|;[ \t\f]*(?:import|from)\b")  # statements that a pattern may misread
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
_NEAR = 40  # characters before and after a name that tell whether it may be bound there
_SET_ATTRIBUTE = re.compile(r"\.([^\W\d]\w*)[ \t]*=(?!=)")
_STAR = re.compile(r"\bimport[ \t(]*\*")
INSTALLS = re.compile(
    r"\b(?:install|uninstall|upgrade|update|conda|apt|apt-get|git|setup\.py|make|wget|curl|unzip|tar)\b"
)


def search(draft: Draft) -> Search | None:
    """Read what `find` needs; None when no import is repeated."""
    names = _repeated(draft)
    return Search(draft, names) if names else None


def _repeated(draft: Draft) -> frozenset[str]:
    """Return the names that two import statements bind in the same way: the only ones worth a closer look."""
    names: Counter[str] = Counter()
    same: Counter[tuple[str, str, str]] = Counter()
    loose = False
    for cell in draft.cells:
        if "import" not in cell.python:
            continue
        loose = loose or _LOOSE.search(cell.python) is not None
        for module, text in _IMPORTS.findall("\n" + cell.python):
            bare = _COMMENT.sub("", text) if "#" in text else text
            loose = loose or not (module + bare).isascii()
            for part in re.split("[,;]", bare.replace("\\\n", " ").strip("() \t\n")):
                words = part.split()  # of `a.b`, `a as b` or `import a`
                if words:
                    name = words[-1].partition(".")[0]
                    names[name] += 1
                    same["".join(module.split()), "".join(words), name] += 1
    if loose:
        return frozenset(normal(name) for name, times in names.items() if times > 1)
    return frozenset(normal(name) for (_, _, name), times in same.items() if times > 1)


class Search:
    """Goes through the cells and keeps, for each name, which import bound it last."""

    def __init__(self, draft: Draft, names: frozenset[str]) -> None:
        self._draft = draft
        self._names = names
        self._gone: set[tuple[Import, int]] = set()
        self._matter = {place for place in range(len(draft.cells)) if self._matters(place)}
        for place in self._matter:
            draft.tree(place)
        self._live: dict[str, tuple[Binding, int]] = {}
        self._seen: dict[Binding, int] = {}
        text = "\n".join(map(draft.text, range(len(draft.cells))))
        self._anew_words = [word for word in _ANEW_WORDS if word in text]

    @cached_property
    def _reloads(self) -> bool:
        return any("autoreload" in cell.source for cell in self._draft.cells)

    @cached_property
    def _patched(self) -> frozenset[str]:
        """The attributes that the notebook sets."""
        return frozenset(name for cell in self._draft.cells for name in _SET_ATTRIBUTE.findall(cell.python))

    def find(self, gone: set[tuple[Import, int]]) -> Iterator[Decision]:
        """Yield a decision for each repeated import but those in `gone`, which go for another reason."""
        self._gone = gone
        for place in range(len(self._draft.cells)):
            yield from self._cell(place)

    def _cell(self, place: int) -> Iterator[Decision]:
        """Yield the decisions on one cell."""
        cell = self._draft.cells[place]
        anew = "*" in cell.binds or self._starts_anew(place)
        installs = [line for line, text in cell.shell if INSTALLS.search(text)]
        tree = self._draft.tree(place) if place in self._matter else None
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

    def _starts_anew(self, place: int) -> bool:
        text = self._draft.text(place)
        if not any(word in text for word in self._anew_words) or _ANEW_WORDS.isdisjoint(self._draft.words(place)):
            return False
        return _STARTS_ANEW.search(self._draft.cells[place].python) is not None

    def _matters(self, place: int) -> bool:
        """Say whether a cell may bind one of the names."""
        python, text = self._draft.cells[place].python, self._draft.text(place)
        if "import" in python and _STAR.search(python):
            return True
        return ("import" in text and _LOOSE.search(text) is not None) or self._may_bind(text)

    def _may_bind(self, text: str) -> bool:
        return any(name in text and _may_be_bound(name, text) for name in self._names)

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
                if self._may_bind(normal(code)) or _STAR.search(code):
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
        for node in walk(statement):
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


def _may_be_bound(name: str, text: str) -> bool:
    """Say whether a text may bind a name; what has a dot, bracket or parenthesis after it is bound by few words."""
    end, imports = 0, "import" in text
    while (at := text.find(name, end)) >= 0:
        end = at + len(name)
        last, following = text[at - 1 : at], text[end : end + 1]
        if following.isalnum() or following == "_" or last.isalnum() or last in ("_", "."):
            continue
        after = text[end : end + _NEAR].lstrip(" \t")
        before = text[max(0, at - _NEAR) : at].rpartition("\n")[2]
        if after[:1] not in (".", "[", "(") or before.rstrip(" \t").endswith(("def", "class", "type")):
            return True
        if (len(before) == _NEAR and (imports or not before.strip())) or (imports and "import" in before):
            return True
    return False


def _named(node: ast.AST) -> tuple[str, ...]:
    """Return the names that a node binds as text: `except ... as name`, patterns, `type name`."""
    if isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)):
        return (node.name,) if node.name else ()
    if isinstance(node, ast.MatchMapping):
        return (node.rest,) if node.rest else ()
    return ()
