"""Decide which imports go: those that nothing can miss, and those that repeat an earlier one."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, NamedTuple

from plugins.lib.imports import known
from plugins.lib.imports.statements import (
    EXPLAINED,
    Binding,
    Import,
    Text,
    all_imports,
    bindings,
    covering,
    top_imports,
    without,
)
from plugins.lib.imports.uses import Uses, uses_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plugins.lib.imports.draft import Draft

REMOVED, DUPLICATE, KEPT = "import-removed", "import-duplicate", "import-kept"
_EXTENSION = re.compile(r"load_ext\W+([\w.]+)")
MAX_TRIES = 4
COVERS = "without it the cell would show the value of the line above"
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Decision(NamedTuple):
    """What happens to one alias of an import statement, and why."""

    kind: str
    place: int
    node: Import
    position: int
    binding: Binding
    reason: str


class Unused:
    """Judges the imports of one notebook that ruff calls unused."""

    def __init__(self, draft: Draft, uses: Uses) -> None:
        self._draft = draft
        self._uses = uses
        self._texts: dict[int, Text] = {}
        self._statements: dict[Import, str] = {}
        self._staying: dict[Import, bool] = {}
        self._imported: dict[int, list[tuple[str, str]]] = {}
        self._extensions = frozenset(
            part for cell in draft.cells if "load_ext" in cell.source for part in _EXTENSION.findall(cell.source)
        )

    def decide(self, flagged: list[tuple[int, int, int]]) -> Iterator[Decision]:
        """Yield a decision for each flagged alias, and for every other binding of a name that turns out unused."""
        asked = set(flagged)
        seen: set[tuple[int, Import, int]] = set()
        names: list[str] = []
        for place in sorted({place for place, _, _ in asked}):
            for node, position, owner in self._aliases(place):
                if self._asked(place, node, position, asked):
                    seen.add((place, node, position))
                    names += [bindings(node)[position].name] if owner is None else []
                    yield self._decided(place, node, position, owner, asked)
        unused = {name for name in names if not self._uses.reason(name)}
        for place in sorted({place for name in unused for place in self._draft.cells_with(name)}):
            tree = self._draft.tree(place)  # ruff only flags the last of several imports of a name
            for node in top_imports(tree) if tree else ():
                for position, binding in enumerate(bindings(node)):
                    if binding.name in unused and (place, node, position) not in seen:
                        yield self._decided(place, node, position, None, asked)

    def _aliases(self, place: int) -> Iterator[tuple[Import, int, ast.AST | None]]:
        """Yield (statement, position of the alias, the statement it is in) of all imports of a cell."""
        tree = self._draft.tree(place)
        if tree is None:
            return
        for node, owner in all_imports(tree):
            for position in range(len(node.names)):
                yield node, position, None if owner is tree else owner

    def _asked(self, place: int, node: Import, position: int, asked: set[tuple[int, int, int]]) -> bool:
        """Say whether ruff names the alias: where it starts, or where the name after `as` does."""
        alias = node.names[position]
        places = [(alias.lineno, alias.col_offset)]
        if alias.asname:
            places.append((alias.end_lineno or 0, (alias.end_col_offset or 0) - len(alias.asname.encode())))
        text = self._text(place)
        return any((place, row, text.column(row, column) + 1) in asked for row, column in places)

    def _text(self, place: int) -> Text:
        if place not in self._texts:
            cell = self._draft.cells[place]
            self._texts[place] = Text(cell.source, cell.python)
        return self._texts[place]

    def _decided(
        self, place: int, node: Import, position: int, owner: ast.AST | None, asked: set[tuple[int, int, int]]
    ) -> Decision:
        binding = bindings(node)[position]
        reason = self._statement(place, node)
        if not reason and binding.name == "*":
            reason = "it is more than a name"
        if not reason:
            reason = self._nested(place, node, binding, owner) if owner else self._uses.reason(binding.name)
        reason = reason or self._extension(binding) or self._submodule(binding)
        reason = reason or self._effect(place, node, position, asked)
        kind = KEPT if reason else REMOVED
        return Decision(kind, place, node, position, binding, reason or "nothing uses it")

    def _statement(self, place: int, node: Import) -> str:
        """Return why a whole statement must stay whatever its modules do; "" when it need not."""
        if node not in self._statements:
            text, reason = self._text(place), self._draft.may_edit(place)
            if EXPLAINED.search(text.comments(node)):
                reason = "a comment says why it is there"
            elif not text.same(node.lineno, node.end_lineno or 0):
                reason = "it is written in IPython's way"
            elif isinstance(node, ast.ImportFrom) and node.module == "__future__":
                reason = "it is more than a name"
            self._statements[node] = reason
        return self._statements[node]

    def _nested(self, place: int, node: Import, binding: Binding, owner: ast.AST) -> str:
        """Return why an import inside another statement must stay."""
        if not isinstance(owner, Function):
            return "it is inside a condition, a try or a class"
        line = self._text(place).python[node.lineno - 1]
        shared = [other for other in owner.body if {other.lineno, other.end_lineno} & {node.lineno, node.end_lineno}]
        rest = [other for other in owner.body if not isinstance(other, (ast.Import, ast.ImportFrom))]
        if len(shared) > 1 or line[: node.col_offset].strip() or not rest:
            return "its function has no other statement, or not on another line"
        inner = [found.name for child in ast.walk(owner) if isinstance(child, Import) for found in bindings(child)]
        if inner.count(binding.name) > 1:
            return "its function imports the name more than once"
        if binding.name in uses_in(owner):
            return f"its function uses {binding.name}"
        return self._uses.reason(binding.name)

    def _effect(self, place: int, node: Import, position: int, asked: set[tuple[int, int, int]]) -> str:
        """Return what the import does besides binding the name."""
        binding = bindings(node)[position]
        root = binding.module.partition(".")[0]
        if root in self._draft.own_modules():
            return f"the notebook writes the module {root} itself"
        found = known.import_effect(binding.module, binding.attribute)
        if found and binding.attribute and not binding.attribute.islower() and self._stays(place, node, asked):
            return found if known.is_deep_effect(binding.module, binding.attribute) else ""
        pattern = known.UNNAMED_USE.get(root)
        if not found and pattern and any(pattern.search(cell.source) for cell in self._draft.cells):
            return f"methods that {root} adds are used"
        return found

    def _stays(self, place: int, node: Import, asked: set[tuple[int, int, int]]) -> bool:
        """Say whether the module is imported all the same, because another name of the statement is used."""
        if node not in self._staying:
            places = range(len(node.names))
            unasked = (bindings(node)[other].name for other in places if not self._asked(place, node, other, asked))
            self._staying[node] = any(self._uses.reason(name) for name in unasked)
        return self._staying[node]

    def _extension(self, binding: Binding) -> str:
        """Return that the module is loaded as an extension of IPython, if it is."""
        root = binding.module.partition(".")[0]
        named = any(name.partition(".")[0] == root for name in self._extensions)
        return "the module is loaded as an extension" if named else ""

    def _submodule(self, binding: Binding) -> str:
        """Return that this import makes `a.b` available to who imports `a`, if somebody uses that."""
        path = f"{binding.module}.{binding.attribute}" if binding.attribute else binding.module
        while "." in path:
            path, _, following = path.rpartition(".")
            takers = self._uses.takers(following) - {binding.name} if following else set()
            names = takers & self._names_of(path) if takers else set()
            if names:
                return f"{min(names)}.{following} is used and may be there because of this import"
        return ""

    def _names_of(self, path: str) -> set[str]:
        """Return the names that imports anywhere in the notebook bind to what a dotted path stands for."""
        last = path.rpartition(".")[2]
        found: set[str] = set()
        for place, cell in enumerate(self._draft.cells):
            if "import" in cell.python and last in self._draft.text(place):
                found.update(name for name, target in self._imports_of(place) if target == path)
        return found

    def _imports_of(self, place: int) -> list[tuple[str, str]]:
        """Return (name, path) of everything that an import binds in a cell."""
        if place not in self._imported:
            tree = self._draft.tree(place)
            bound = [found for node, _ in all_imports(tree) for found in bindings(node)] if tree else []
            self._imported[place] = [(one.name, ".".join(filter(None, one.target))) for one in bound]
        return self._imported[place]


def carry_out(draft: Draft, decisions: list[Decision]) -> None:
    """Edit the cells as decided and record the decisions; a cell that would not come out right stays as it is."""
    by_place: dict[int, list[Decision]] = {}
    for decision in decisions:
        by_place.setdefault(decision.place, []).append(decision)
    for place, mine in sorted(by_place.items()):
        _carry_out_in(draft, place, mine)


def _carry_out_in(draft: Draft, place: int, decisions: list[Decision]) -> None:
    tree = draft.tree(place)
    if tree is None:
        return
    gone: dict[Import, set[int]] = {}
    for decision in decisions:
        if decision.kind != KEPT:
            gone.setdefault(decision.node, set()).add(decision.position)
    cover = covering(tree)
    if not all(len(gone.get(node, ())) == len(node.names) for node in cover):
        cover = set()
    for node in cover:
        del gone[node]
    done = _cut_out(draft, place, tree, gone)
    for decision in decisions:
        kept = decision.kind == KEPT
        why = decision.reason
        if not kept and decision.node not in done:
            covers = decision.node in cover
            kept, why = True, COVERS if covers else "it cannot be cut out safely"
        verb = "kept" if kept else "removed"
        kind = KEPT if kept else decision.kind
        draft.say(kind, place, decision.node.lineno, f"{verb} {decision.binding}: {why}")


def _cut_out(draft: Draft, place: int, tree: ast.Module, gone: dict[Import, set[int]]) -> set[Import]:
    """Take imports out of a cell and return those that went: fewer of the first ones where all is not possible."""
    cell = draft.cells[place]
    bodies = [tree.body]
    if not gone.keys() <= set(tree.body):
        bodies += [node.body for node in ast.walk(tree) if isinstance(node, Function)]
    nodes = sorted(gone, key=lambda node: (node.lineno, node.col_offset))
    for start in range(min(len(nodes), MAX_TRIES)):
        chosen = {node: gone[node] for node in nodes[start:]}
        source = without(Text(cell.source, cell.python), bodies, chosen)
        if source is not None and _edited(draft, place, source, tree, chosen):
            return set(chosen)
    return set()


def _edited(draft: Draft, place: int, source: str, tree: ast.Module, gone: dict[Import, set[int]]) -> bool:
    """Put the new text into the cell if its statements are the old ones without the imports."""
    cell, fresh = draft.read(place, source)
    commands = [[text for _, text in one.shell] for one in (cell, draft.cells[place])]
    deep = not gone.keys() <= set(top_imports(tree))
    if fresh is None or commands[0] != commands[1] or _outline(fresh, {}, deep=deep) != _outline(tree, gone, deep=deep):
        return False
    draft.replace(place, cell, fresh)
    return True


def _outline(tree: ast.Module, gone: dict[Import, set[int]], *, deep: bool) -> list[object]:
    """Return the statements of a tree as far as a cut could change them, without what goes."""
    found: list[object] = []
    for node in tree.body:
        if isinstance(node, Import):
            left = [bound for place, bound in enumerate(bindings(node)) if place not in gone.get(node, ())]
            if left:
                found.append(left)
        elif deep:
            inner = sum(isinstance(child, ast.stmt) for child in ast.walk(node))
            inner -= sum(len(gone[child]) == len(child.names) for child in ast.walk(node) if child in gone)
            found.append((type(node), inner))
        else:
            found.append((type(node), (node.end_lineno or 0) - node.lineno))
    return found
