"""Find out what the names of a notebook stand for: a name has a kind when everything that binds it gives that kind."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from plugins.lib.slicing import known, names
from plugins.lib.slicing.pure import Pure, is_new, joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_ROUNDS = 12
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_PLAIN_DUNDERS = known.words("__init__ __new__ __post_init__ __enter__ __exit__ __call__ __init_subclass__")


class Binding:
    """One place that binds a name: to the value of an expression, to a part of it, or to a fixed kind."""

    def __init__(self, name: str, value: ast.expr | None, fixed: str = "", *, part: bool = False) -> None:
        self.name, self.value, self.fixed, self.part = name, value, fixed, part

    def kind(self, pure: Pure) -> str:
        """Return what is bound, as far as it is known."""
        if self.value is None:
            return self.fixed
        kind = pure.kind(self.value)
        if not self.part or kind in ("plot", "?", "scalar"):
            return kind
        return "data" if kind in ("data", "stream") else ""


def statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run at module level, those inside if, for, while, with and try among them."""
    waiting = list(body)[::-1]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _DEFINITIONS):
            inside = [part for part in ast.iter_child_nodes(node) if isinstance(part, ast.stmt)]
            inside += [s for h in getattr(node, "handlers", ()) for s in h.body]
            inside += [s for case in getattr(node, "cases", ()) for s in case.body]
            waiting += inside[::-1]


def _of_target(target: ast.expr, value: ast.expr, *, part: bool = False) -> Iterator[Binding]:
    if isinstance(target, ast.Name):
        yield Binding(target.id, value, part=part)
    elif isinstance(target, (ast.Tuple, ast.List)):
        values = value.elts if isinstance(value, (ast.Tuple, ast.List)) and not part else []
        plain = len(values) == len(target.elts) and not any(isinstance(n, ast.Starred) for n in [*values, *target.elts])
        for index, inner in enumerate(target.elts):
            yield from _of_target(inner, values[index] if plain else value, part=part or not plain)
    elif isinstance(target, ast.Starred):
        yield from _of_target(target.value, value, part=True)


def _imports(node: ast.Import | ast.ImportFrom) -> Iterator[Binding]:
    for name, origin in names.imported(node).items():
        yield Binding(name, None, "" if origin.startswith(".") else "@" + origin)


def bindings(node: ast.stmt) -> Iterator[Binding]:
    """Yield what a statement itself binds at module level."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from _imports(node)
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _of_target(target, node.value)
    elif isinstance(node, ast.AnnAssign):
        if node.value is not None:
            yield from _of_target(node.target, node.value)
    elif isinstance(node, ast.AugAssign):
        if isinstance(node.target, ast.Name):
            load = ast.copy_location(ast.Name(node.target.id, ast.Load()), node.target)
            yield Binding(node.target.id, ast.copy_location(ast.BinOp(load, node.op, node.value), node))
    elif isinstance(node, (ast.For, ast.AsyncFor)):
        yield from _of_target(node.target, node.iter, part=True)
    elif isinstance(node, _DEFINITIONS):
        yield Binding(node.name, None)
    else:
        yield from _rest(node)


def _rest(node: ast.stmt) -> Iterator[Binding]:
    """Yield what with, except and match bind, which is not looked into."""
    parts: list[ast.AST] = [item.optional_vars for item in getattr(node, "items", ()) if item.optional_vars is not None]
    parts += [case.pattern for case in getattr(node, "cases", ())]
    yield from (Binding(name, None) for part in parts for inner in ast.walk(part) for name in names.binds(inner))
    yield from (Binding(handler.name, None) for handler in getattr(node, "handlers", ()) if handler.name)


class Kinds:
    """The kinds of all names; what is needed besides to judge expressions."""

    def __init__(self, trees: list[ast.Module], unknown: set[str], text: str) -> None:
        nodes = [node for tree in trees for node in ast.walk(tree)]
        every = [node for tree in trees for node in statements(tree.body)]
        self.bindings = [binding for node in every for binding in bindings(node)]
        odd = unknown | {name for node in nodes if isinstance(node, ast.Global) for name in node.names}
        odd |= {name.id for node in nodes if isinstance(node, ast.NamedExpr) for name in [node.target]}
        self.seeded = known.SEEDS.search(text) is not None
        self.patched: set[str] = set()
        self.kinds: dict[str, str] = {}
        self._settle(odd)
        patched = _patched(nodes, self.kinds)
        active = _active(nodes, every, self.kinds)
        if patched or active:
            self.patched = patched
            self._settle(odd | active)
        self.owned = {b.name for b in self.bindings} - {
            b.name for b in self.bindings if b.value is None or self.kinds[b.name] != "model" or not is_new(b.value)
        }

    def pure(self) -> Pure:
        """Return a judge of expressions."""
        return Pure(self.kinds, patched=self.patched, seeded=self.seeded)

    def _settle(self, odd: set[str]) -> None:
        """Give each name the kind that all its bindings have; kinds only ever fall, from "?" to one to ""."""
        self.kinds = {binding.name: "?" for binding in self.bindings} | dict.fromkeys(odd, "")
        pure = self.pure()
        pure.owned = set(self.kinds)
        for _ in range(MAX_ROUNDS):
            before = dict(self.kinds)
            for binding in self.bindings:
                if self.kinds[binding.name]:
                    self.kinds[binding.name] = joined(self.kinds[binding.name], binding.kind(pure))
            if self.kinds == before:
                self.kinds.update({name: "" for name, kind in before.items() if kind == "?"})
                return
        self.kinds = dict.fromkeys(self.kinds, "")


def _patched(nodes: list[ast.AST], kinds: dict[str, str]) -> set[str]:
    """Return the attributes that the notebook may give to what others made: those names are no longer known."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, (ast.Store, ast.Del)):
            owner = names.root(node)
            if owner not in ("self", "cls") and kinds.get(owner, "")[:1] in ("@", "") and owner not in _tables(kinds):
                found.add(node.attr)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in known.PATCHERS:
            texts = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
            found |= {word for text in texts for word in text.replace(".", " ").split()}
            if not texts:
                found |= known.METHODS.keys() | known.NUMPY.keys()
    return found - known.FRAME_SETTINGS


def _tables(kinds: dict[str, str]) -> set[str]:
    return {name for name, kind in kinds.items() if kind in ("data", "model", "plot", "scalar")}


def _active(nodes: list[ast.AST], every: list[ast.stmt], kinds: dict[str, str]) -> set[str]:
    """Return the names that may have to do with objects of classes that act when they are read, compared or shown."""
    found = {node.name for node in nodes if isinstance(node, ast.ClassDef) and _acts(node, kinds)}
    if not found:
        return found
    groups = []
    for node in every:
        if isinstance(node, _DEFINITIONS) or not any(isinstance(n, ast.stmt) for n in ast.iter_child_nodes(node)):
            stored = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
            mine = {node.name} if isinstance(node, _DEFINITIONS) else stored
            groups.append({n for n in mine | names.free([node]) if kinds.get(n, "@")[:1] != "@"})
        elif isinstance(node, (ast.For, ast.AsyncFor)):
            groups.append(names.targets(node.target) | names.free([node.iter]))
    count = -1
    while count != len(found) and len(groups) < 3_000:
        count = len(found)
        for group in groups:
            if not group.isdisjoint(found):
                found |= group
    return found if len(groups) < 3_000 else set(kinds)


def _acts(node: ast.ClassDef, kinds: dict[str, str]) -> bool:
    bases = [ast.unparse(base) for base in node.bases]
    dataset = any(base.rpartition(".")[2] in ("Dataset", "Module", "Sequence", "IterableDataset") for base in bases)
    for part in node.body:
        if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)):
            fine = part.name in (known.DATASET_METHODS if dataset else _PLAIN_DUNDERS)
            plain = {getattr(one, "id", "") for one in part.decorator_list} <= {"staticmethod", "classmethod"}
            if (part.name.startswith("__") and not fine) or not plain:
                return True
        elif isinstance(part, ast.Assign) and isinstance(part.value, ast.Call):
            return True
    return bool(node.keywords) or any(kinds.get(base, "@") == "" for base in bases)
