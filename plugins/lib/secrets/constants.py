"""Evaluate constant text expressions of Python without executing anything: +, %, join, format, f-strings, names."""

from __future__ import annotations

import ast
import re
import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_VALUE_CHARS = 64 * 1024
MAX_DEPTH = 60


def terms(node: ast.expr) -> list[ast.expr]:
    """Return the terms of a sum in order; a long sum nests to the left."""
    parts: list[ast.expr] = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts.append(node.right)
        node = node.left
    return [node, *reversed(parts)]


class Folder:
    """Evaluates constant expressions; `names` holds what is known of variables."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def value(self, node: ast.AST, depth: int = 0) -> str | None:
        """Return the text that an expression always has, None when it is not known."""
        if depth > MAX_DEPTH:
            return None
        if isinstance(node, ast.Constant):
            constant = node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
            return constant if isinstance(constant, str) else None
        if isinstance(node, ast.Name):
            return self.names.get(node.id)
        found: str | None = None
        if isinstance(node, ast.BinOp):
            found = self._operator(node, depth + 1)
        elif isinstance(node, ast.JoinedStr):
            found = self._f_string(node, depth + 1)
        elif isinstance(node, ast.Call):
            found = self._call(node, depth + 1)
        elif isinstance(node, ast.Subscript):
            found = self._reversed(node, depth + 1)
        return found if found is not None and len(found) <= MAX_VALUE_CHARS else None

    def _all(self, nodes: Iterable[ast.AST], depth: int) -> list[str] | None:
        """Return the values of all nodes, None when one is not known or they are too long together."""
        values: list[str] = []
        size = 0
        for node in nodes:
            value = self.value(node, depth)
            size += len(value or "")
            if value is None or size > MAX_VALUE_CHARS:
                return None
            values.append(value)
        return values

    def _operator(self, node: ast.BinOp, depth: int) -> str | None:
        if isinstance(node.op, ast.Mod):
            return self._percent(node, depth)
        values = self._all(terms(node), depth) if isinstance(node.op, ast.Add) else None
        return None if values is None else "".join(values)

    def _percent(self, node: ast.BinOp, depth: int) -> str | None:
        template = self.value(node.left, depth)
        arguments = node.right.elts if isinstance(node.right, ast.Tuple) else [node.right]
        values = self._all(arguments, depth)
        if template is None or values is None or re.sub(r"%[s%]", "", template).count("%"):
            return None
        pieces = re.split(r"(%[s%])", template)
        if pieces.count("%s") != len(values):
            return None
        rest = iter(values)
        return "".join(next(rest) if piece == "%s" else "%" if piece == "%%" else piece for piece in pieces)

    def _f_string(self, node: ast.JoinedStr, depth: int) -> str | None:
        parts: list[ast.AST] = []
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                if part.format_spec is not None or part.conversion not in (-1, ord("s")):
                    return None
                parts.append(part.value)
            else:
                parts.append(part)
        values = self._all(parts, depth)
        return None if values is None else "".join(values)

    def _call(self, node: ast.Call, depth: int) -> str | None:
        if not isinstance(node.func, ast.Attribute):
            return None
        base, method = node.func.value, node.func.attr
        if method in ("decode", "encode", "strip"):
            return self.value(base, depth)
        text = self.value(base, depth)
        if text is None:
            return None
        if method == "join" and len(node.args) == 1 and isinstance(node.args[0], (ast.List, ast.Tuple)):
            values = self._all(node.args[0].elts, depth)
            fits = values is not None and len(text) * len(values) <= MAX_VALUE_CHARS
            return text.join(values) if values is not None and fits else None
        return self._format(text, node, depth) if method == "format" else None

    def _format(self, template: str, node: ast.Call, depth: int) -> str | None:
        """Fill in plain fields: {}, {0}, {name}."""
        values = self._all(node.args, depth)
        named = {word.arg: self.value(word.value, depth) for word in node.keywords if word.arg}
        if values is None:
            return None
        pieces: list[str] = []
        count = 0
        try:
            for literal, field, form, conversion in string.Formatter().parse(template):
                pieces.append(literal)
                if field is None:
                    continue
                if form or conversion:
                    return None
                key = field or str(count)
                count += not field
                value = values[int(key)] if key.isascii() and key.isdigit() else named.get(key)
                if value is None or len(pieces) * len(value) > MAX_VALUE_CHARS:
                    return None
                pieces.append(value)
        except (ValueError, IndexError):
            return None
        return "".join(pieces)

    def _reversed(self, node: ast.Subscript, depth: int) -> str | None:
        """Return "abc"[::-1]."""
        part = node.slice
        plain = isinstance(part, ast.Slice) and part.lower is None and part.upper is None and part.step is not None
        if not plain or ast.unparse(part) != "::-1":
            return None
        text = self.value(node.value, depth)
        return None if text is None else text[::-1]


def learn(folder: Folder, node: ast.AST) -> None:
    """Remember the constants that an assignment gives to names."""
    names = folder.names
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target, value = node.targets[0], node.value
        pairs = [(target, value)]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            pairs = list(zip(target.elts, value.elts, strict=True))
    elif isinstance(node, ast.AnnAssign) and node.value:
        pairs = [(node.target, node.value)]
    elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add) and isinstance(node.target, ast.Name):
        pairs = [(node.target, ast.BinOp(ast.Name(node.target.id), ast.Add(), node.value))]
    else:
        return
    for target, value in pairs:
        if isinstance(target, ast.Name):
            text = folder.value(value)
            if text is None:
                names.pop(target.id, None)
            else:
                names[target.id] = text
