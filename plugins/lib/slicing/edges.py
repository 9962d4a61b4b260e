"""How the walk writes names down, and the edges between them."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from plugins.lib.slicing import names, shapes
from plugins.lib.slicing.facts import NOTHING, Book, Effects, Flow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

FEW = 12  # names; edges between more than so many go through one in the middle


class Edges:
    """What both parts of the walk share."""

    def __init__(self, book: Book, prefix: str = "", local: set[str] | frozenset[str] = NOTHING) -> None:
        self.book = book
        self.prefix = prefix
        self.local = local
        self.out = Effects()
        self.variables: dict[str, Flow] = {}  # of comprehensions
        self.hubs = 0
        self.imported: dict[str, str] = {}  # inside this function: name -> dotted origin

    def key(self, name: str) -> str:
        """Return how a name is written in the effects."""
        return f"{self.prefix}:{name}" if name in self.local else name

    def link(self, pairs: set[tuple[str, str]], ones: Iterable[str], others: Collection[str]) -> None:
        """Add an edge from each of `ones` to each of `others`; many of them go through a name made up for that."""
        ones = list(ones)
        if len(ones) > 1 and len(others) > FEW:
            hub = self.hub()
            pairs |= {(hub, other) for other in others}
            others = (hub,)
        pairs |= {(one, other) for one in ones for other in others if one != other}

    def hub(self) -> str:
        """Return a name that no variable has."""
        self.hubs += 1
        return f"{self.prefix}:{self.hubs}@{id(self)}"

    def small(self, flow: Flow) -> Flow:
        """Return a flow of few names that stands for one of many."""
        if len(flow.every) <= FEW:
            return flow
        same, parts = self.hub(), self.hub()
        for name in flow.alias:
            self.out.aliased(same, name)
        self.out.parts |= {(parts, name) for name in flow.holds}
        return Flow(frozenset({same}), frozenset({parts}), flow.unsafe)

    def copied(self, node: ast.AST) -> frozenset[str]:
        """Return the names of which a value is a part of a shallow copy."""
        while isinstance(node, ast.Attribute) and node.attr in ("loc", "iloc", "at", "iat"):
            node = node.value
            if isinstance(node, ast.Name):
                return NOTHING  # `copy.loc[1] = 2` changes the copy itself
        base = node
        while isinstance(base, (ast.Attribute, ast.Subscript)):
            base = base.value
        if isinstance(base, ast.Call) and isinstance(base.func, ast.Attribute) and base.func.attr == "copy":
            return frozenset({self.key(names.root(base.func))} - {""})
        return frozenset(map(self.key, self.book.copies.get(names.root(node), ())))

    def dotted(self, node: ast.AST) -> str:
        """Return the dotted name of an imported or built-in function, "" for anything else."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id in self.variables:
            return ""
        origins = self.imported if node.id in self.local else self.book.origins
        if node.id in origins:
            return ".".join([origins[node.id], *reversed(parts)])
        is_free = node.id not in self.local and node.id not in self.book.bound
        return f"builtins.{node.id}" if is_free and not parts and shapes.is_builtin(node.id) else ""
