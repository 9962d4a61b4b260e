"""Say of a cell's Python which strings are no values, which lines go on with something, and which names it takes."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, NamedTuple

from plugins.lib.logical_lines import after_blanks, line_end, raw_end, statement_end
from plugins.lib.secrets import fold

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAGIC_VALUE = re.compile(r"=[ \t]*[!%]")


class Layout(NamedTuple):
    """What is known of a cell that could be parsed; offsets are those of its source."""

    tree: ast.Module
    code: str
    statements: list[tuple[int, int]]  # strings that stand by themselves: docstrings and the like
    nodes: frozenset[int]  # their ids
    within: frozenset[int]  # lines that begin within a string or a statement


def code_of(source: str) -> str:
    """Return a cell with its magic, help and shell lines as `pass`, with as many lines."""
    parts: list[str] = []
    at = 0
    if source.startswith("%%"):
        at = line_end(source, 0)
        parts.append("pass")
    while at < len(source):
        first = after_blanks(source, at)
        if source[first : first + 1] in ("%", "!", "?"):
            end, text = raw_end(source, first), "pass"
        else:
            end, kind = statement_end(source, first)
            text = source[first:end]
            if kind == "help":
                text = "pass"
            elif kind == "assign":
                text = _MAGIC_VALUE.split(text, maxsplit=1)[0] + "=None"
        parts += [source[at:first], text, "\n" * (source.count("\n", first, end) - text.count("\n"))]
        parts.append(source[end : end + 1])
        at = end + 1
    return "".join(parts)


def parsed(source: str) -> tuple[ast.Module, str] | None:
    """Return the syntax tree of a cell, and the Python that it is of; None when it is none."""
    for read in (code_of, fold.python_of):
        code = read(source)
        if (tree := fold.parsed(code)) is not None:
            return tree, code
    return None


def layout(source: str) -> Layout | None:
    """Return the layout of a cell, None when it cannot be parsed."""
    found = parsed(source)
    if found is None:
        return None
    tree, code = found
    loose: list[ast.expr] = []
    within: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and _is_text(node.value):
            loose.append(node.value)
        whole = isinstance(node, (ast.Constant, ast.JoinedStr)) or (
            isinstance(node, ast.stmt) and not hasattr(node, "body") and not isinstance(node, ast.Match)
        )
        if isinstance(node, (ast.expr, ast.stmt)) and whole and node.end_lineno and node.end_lineno > node.lineno:
            within.update(range(node.lineno + 1, node.end_lineno + 1))
    starts = [0, *(match.end() for match in re.finditer("\n", source))]
    lines = source.split("\n")
    spans = [
        (
            _offset(starts, lines, node.lineno, node.col_offset),
            _offset(starts, lines, node.end_lineno or node.lineno, node.end_col_offset or 0),
        )
        for node in loose
    ]
    return Layout(tree, code, sorted(spans), frozenset(map(id, loose)), frozenset(within))


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes))


def _offset(starts: list[int], lines: list[str], line: int, column: int) -> int:
    """Return the offset of a position that counts bytes of UTF-8."""
    text = lines[line - 1]
    if not text.isascii():
        column = len(text.encode("utf-8", "surrogatepass")[:column].decode("utf-8", "replace"))
    return starts[line - 1] + column


# ---------------------------------------------------------------- names


def taken(sources: Iterable[str], names: Iterable[str]) -> frozenset[str]:
    """Return those of the names that some cell gives to another thing than its module, or imports in a function."""
    wanted = set(names)
    found: set[str] = set()
    for source in sources:
        asked = {name for name in wanted - found if name in source}
        if not asked:
            continue
        tree = parsed(source)
        if tree:
            found |= asked & _bound(tree[0])
        else:
            found |= {name for name in asked if re.search(rf"\b{name}[ \t]*=(?!=)|\bas {name}\b", source)}
    return frozenset(found)


def _bound(tree: ast.Module) -> set[str]:
    """Return the names that code binds, plain imports outside of functions left out."""
    found: set[str] = set()
    stack: list[tuple[ast.AST, bool]] = [(tree, False)]
    while stack:
        node, inner = stack.pop()
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
            inner = True
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            found.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            found.add(node.rest)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= _imported(node, inner=inner)
        stack += [(child, inner) for child in ast.iter_child_nodes(node)]
    return found


def _imported(node: ast.Import | ast.ImportFrom, *, inner: bool) -> set[str]:
    """Return the names that an import gives to something unexpected, or in a function."""
    usual = {"kaggle_secrets"} if isinstance(node, ast.ImportFrom) else set[str]()
    found = set()
    for one in node.names:
        name = (one.asname or one.name).partition(".")[0]
        plain = isinstance(node, ast.Import) or node.module in usual
        if inner or not plain or (one.asname and one.asname != one.name):
            found.add(name)
    return found
