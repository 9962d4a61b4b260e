"""What the statements of a cell bind, change and use, and whether they are known to do nothing else."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from plugins.lib.imports.known import import_effect
from plugins.lib.slicing import known, names
from plugins.lib.slicing.kinds import Kinds, bindings
from plugins.lib.slicing.pure import PLOTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_WORD = re.compile(r"[^\W\d]\w*")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEFINITIONS = (*_FUNCTIONS, ast.ClassDef)
_DEFERRING = (*_DEFINITIONS, ast.Lambda, ast.GeneratorExp)


@dataclass
class Uses:
    """Names that code uses: `now` while it runs, `late` whenever somebody calls what it makes."""

    now: set[str] = field(default_factory=set)
    late: set[str] = field(default_factory=set)
    everything: bool = False  # it can reach any name
    loads: bool = False  # it can load objects of the notebook's classes

    def add(self, other: Uses) -> None:
        """Take over what other code uses."""
        self.now |= other.now
        self.late |= other.late
        self.everything |= other.everything
        self.loads |= other.loads


@dataclass
class Part:
    """What a cell, or one statement, does."""

    uses: Uses = field(default_factory=Uses)
    definitions: dict[str, Uses] = field(default_factory=dict)  # what functions use when they are called
    sure: set[str] = field(default_factory=set)  # surely bound
    binds: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)
    why: str = ""  # why it has to stay whatever is used; "" when it need not

    def add(self, other: Part) -> None:
        """Take over what the next statement does."""
        other.uses.now -= self.sure
        self.uses.add(other.uses)
        for name, uses in other.definitions.items():
            self.definitions.setdefault(name, Uses()).add(uses)
        self.sure |= other.sure
        self.binds |= other.binds
        self.changes |= other.changes
        self.why = self.why or other.why


class Judge:
    """Judges statements."""

    def __init__(self, kinds: Kinds) -> None:
        self.kinds = kinds

    def cell(self, body: Iterable[ast.stmt]) -> Part:
        """Return what the statements of a cell do."""
        whole = Part()
        for node in body:
            whole.add(self.statement(node))
        return whole

    def statement(self, node: ast.stmt) -> Part:
        """Return what one statement does."""
        part = Part()
        part.why = self._why(node, part)
        if isinstance(node, _DEFINITIONS) and not part.why:
            part.definitions[node.name] = self.uses([node], silent=False)
            part.uses = self.uses(_at_once(node), silent=False)
        else:
            part.uses = self.uses([node], silent=not part.why)
        part.binds |= _bound(node)
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom, *_DEFINITIONS)):
            part.sure = {binding.name for binding in bindings(node)}
        return part

    def uses(self, nodes: Sequence[ast.AST], *, silent: bool) -> Uses:
        """Return the names that code uses; a silent one's strings are only shown, and its plots only drawn."""
        found = names.free(nodes)
        uses = Uses(set(found))
        every = [inner for node in nodes for inner in ast.walk(node)]
        if any(isinstance(inner, _DEFERRING) for inner in every):
            uses.late |= found
        evaluates = False
        for inner in every:
            evaluates |= self._reach(inner, uses)
            if isinstance(inner, ast.Name):
                uses.everything |= inner.id in known.REACHES_ALL
                uses.loads |= known.LOADS_CLASSES.fullmatch(inner.id) is not None
        if not silent or evaluates:
            uses.late |= _texts(every)
        if not silent and self._plots(every):
            uses.late.add(PLOTS)
        return uses

    def _reach(self, node: ast.AST, uses: Uses) -> bool:
        """Note what attributes and imports reach, and say whether the node evaluates a text."""
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            origins = set(names.imported(node).values())
            uses.everything |= any(not known.REACHES_ALL.isdisjoint(origin.split(".")) for origin in origins)
            uses.everything |= "sys.modules" in origins
        if not isinstance(node, ast.Attribute):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Attribute) and called.attr in known.EVALUATES and isinstance(node, ast.Call):
                uses.everything |= not all(isinstance(part, ast.Constant) for part in node.args)
            return False
        uses.everything |= node.attr in known.REACHING_ATTRIBUTES
        uses.everything |= node.attr == "modules" and isinstance(node.value, ast.Name) and node.value.id == "sys"
        uses.loads |= known.LOADS_CLASSES.fullmatch(node.attr) is not None
        return node.attr in known.EVALUATES

    def _plots(self, nodes: Iterable[ast.AST]) -> bool:
        for node in nodes:
            if isinstance(node, ast.Name):
                kind = self.kinds.kinds.get(node.id, "")
                if kind == "plot" or kind[1:].partition(".")[0] in known.PLOT_MODULES:
                    return True
            elif isinstance(node, ast.Attribute) and node.attr in known.PLOT_METHODS:
                return True
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                tops = {origin.partition(".")[0] for origin in names.imported(node).values()}
                if not known.PLOT_MODULES.isdisjoint(tops):
                    return True
        return False

    # --- why a statement has to stay -------------------------------------------------------------------------------

    def _why(self, node: ast.stmt, part: Part) -> str:
        """Return why a statement has to stay, "" when it is known to do nothing but bind and change names."""
        rule = getattr(self, f"_of_{type(node).__name__.lower()}", None)
        return f"line {node.lineno} may do more than bind names" if rule is None or not rule(node, part) else ""

    def _pure(self, node: ast.AST | None, part: Part) -> str:
        pure = self.kinds.pure()
        pure.owned = self.kinds.owned
        kind = pure.kind(node)
        part.changes |= pure.changed
        return kind

    def _of_pass(self, _: ast.Pass, __: Part) -> bool:
        return True

    _of_break = _of_continue = _of_pass

    def _of_expr(self, node: ast.Expr, part: Part) -> bool:
        shown = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
        if all(isinstance(value, (ast.Name, ast.Constant)) for value in shown):
            return True  # outside IPython nothing is shown
        return self._pure(node.value, part) != ""

    def _of_assign(self, node: ast.Assign, part: Part) -> bool:
        targets = all(_is_names(target) or self._is_setting(target, part) for target in node.targets)
        return targets and self._is_value(node.value, part)

    def _is_setting(self, target: ast.expr, part: Part) -> bool:
        """Say whether a target is `rcParams["..."]`: part of the state of the plotting library."""
        if not isinstance(target, ast.Subscript) or not self._pure(target.slice, part):
            return False
        kind = self._pure(target.value, part)
        part.changes.add(PLOTS)
        return kind.startswith("@matplotlib") and kind.endswith(".rcParams")

    def _of_annassign(self, node: ast.AnnAssign, part: Part) -> bool:
        fine = isinstance(node.target, ast.Name) and self._is_value(node.annotation, part)
        return fine and (node.value is None or self._is_value(node.value, part))

    def _of_augassign(self, node: ast.AugAssign, part: Part) -> bool:
        if not isinstance(node.target, ast.Name) or self.kinds.kinds.get(node.target.id) != "scalar":
            return False
        return self._pure(node.value, part) == "scalar"

    def _is_value(self, node: ast.expr, part: Part) -> bool:
        """Say whether an expression may be given a name: a function that nobody calls may contain anything."""
        if isinstance(node, ast.Lambda):
            spec = node.args
            return all(self._pure(default, part) for default in [*spec.defaults, *spec.kw_defaults] if default)
        return self._pure(node, part) != ""

    def _of_if(self, node: ast.If, part: Part) -> bool:
        return self._pure(node.test, part) in ("scalar", "data") and self._all([*node.body, *node.orelse], part)

    def _of_for(self, node: ast.For, part: Part) -> bool:
        if not _is_names(node.target) or self._pure(node.iter, part) not in ("scalar", "data", "stream", "plot"):
            return False
        return self._all([*node.body, *node.orelse], part)

    def _all(self, body: Sequence[ast.stmt], part: Part) -> bool:
        return all(not self._why(node, part) for node in body)

    def _of_import(self, node: ast.Import | ast.ImportFrom, part: Part) -> bool:
        for name, origin in names.imported(node).items():
            module, _, attribute = origin.rpartition(".") if isinstance(node, ast.ImportFrom) else (origin, "", "")
            if name == "*" or (isinstance(node, ast.ImportFrom) and node.level):
                return False
            if origin.partition(".")[0] == "seaborn":
                part.changes |= known.SEABORN_MAPS | {PLOTS}
            elif import_effect(module, attribute) and not import_effect(module, attribute).startswith("mpl_toolkits"):
                return False
            elif origin.partition(".")[0] in known.PLOT_MODULES:
                part.changes.add(PLOTS)
        if isinstance(node, ast.Import) and any(import_effect(alias.name) for alias in node.names):
            return all(alias.name.partition(".")[0] in ("seaborn", "mpl_toolkits") for alias in node.names)
        return True

    _of_importfrom = _of_import

    def _of_functiondef(self, node: ast.FunctionDef | ast.AsyncFunctionDef, part: Part) -> bool:
        defaults = names.outside(node)[len(node.decorator_list) :]
        parts = [*defaults, *names.hints(node)]
        return self._are_safe(node.decorator_list, part) and all(self._is_inert(one, part) for one in parts)

    _of_asyncfunctiondef = _of_functiondef

    def _is_inert(self, node: ast.AST, part: Part) -> bool:
        """Say whether a default or an annotation does nothing: names and their parts of types count as such."""
        return all(isinstance(one, (ast.Name, ast.Attribute, ast.expr_context)) for one in ast.walk(node)) or bool(
            self._pure(node, part) or self._is_type(node)
        )

    def _is_type(self, node: ast.AST) -> bool:
        allowed = (ast.Name, ast.Attribute, ast.Subscript, ast.Tuple, ast.List, ast.BinOp, ast.BitOr, ast.Constant)
        roots = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        known_names = all(self.kinds.kinds.get(name, "@")[:1] == "@" for name in roots)
        return known_names and all(isinstance(n, (*allowed, ast.expr_context)) for n in ast.walk(node))

    def _are_safe(self, decorators: Sequence[ast.expr], part: Part) -> bool:
        for node in decorators:
            called = node.func if isinstance(node, ast.Call) else node
            if self._pure(called, part)[1:] not in known.SAFE_DECORATORS:
                return False
            if isinstance(node, ast.Call) and not all(self._pure(one.value, part) for one in node.keywords):
                return False
        return True

    def _of_classdef(self, node: ast.ClassDef, part: Part) -> bool:
        bases = all(known.SAFE_BASES.fullmatch(self._pure(base, part)[1:]) for base in node.bases)
        if node.keywords or not bases or not self._are_safe(node.decorator_list, part):
            return False
        for inner in node.body:
            if not isinstance(inner, (*_FUNCTIONS, ast.Assign, ast.AnnAssign, ast.Pass, ast.Expr)):
                return False
            if self._why(inner, part):
                return False
        return True


def _at_once(node: ast.stmt) -> list[ast.AST]:
    """Return the parts of a definition that run where it stands."""
    parts = names.outside(node)
    if isinstance(node, _FUNCTIONS):
        return [*parts, *names.hints(node)]
    for inner in getattr(node, "body", ()):
        parts += _at_once(inner) if isinstance(inner, _DEFINITIONS) else [inner]
    return parts


def _is_names(target: ast.expr) -> bool:
    if isinstance(target, (ast.Tuple, ast.List)):
        return all(_is_names(part) for part in target.elts)
    return isinstance(target, ast.Name)


def _bound(node: ast.stmt) -> set[str]:
    """Return what a statement may bind, functions and classes inside it left aside."""
    if isinstance(node, _DEFINITIONS):
        return {node.name}
    return names.binds(node) | names.bound(node)


def _texts(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the words in strings, docstrings left aside."""
    nodes = list(nodes)
    shown = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    texts = [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in shown]
    return {word for text in texts for word in _WORD.findall(text)}
