"""Import statements of a cell: what they bind, and the cell's text without some of them.

Places are those of the tree of a cell's Python; text is edited in the source as it is stored, so a statement can only
be edited where both are the same.
"""

from __future__ import annotations

import ast
import re
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Import = ast.Import | ast.ImportFrom

EXPLAINED = re.compile(  # a comment that says why an import stands, and why there
    r"need|requir|regist|side.?effect|effect|keep|remove|delete|important|must|before|after|enabl|activat|patch|noqa|"
    r"isort|unused|do not|don'?t|explicit|implicit|ensure|necessary|mandatory|first|order|3d|projection|backend|pylint|"
    r"type:|pragma|nosec",
    re.IGNORECASE,
)
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_REST = re.compile(r"[ \t\f]*;?[ \t\f]*(#.*)?")
_EDGE_BLANKS = re.compile(r"(?:[ \t\f]*(?:\r\n|\r|\n))+")


_NO_NODES = frozenset({"ctx", "op", "ops", "id", "attr"})
_INNER_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {}  # filled as kinds of nodes are met


class Binding(NamedTuple):
    """One name that an import binds: `attribute` is "" for `import module`, `alias` "" without `as`."""

    name: str
    module: str
    attribute: str
    alias: str

    def __str__(self) -> str:
        """Return the shortest statement that binds it."""
        text = f"from {self.module} import {self.attribute}" if self.attribute else f"import {self.module}"
        return f"{text} as {self.alias}" if self.alias else text

    @property
    def target(self) -> tuple[str, str]:
        """What the name stands for: two bindings with the same target bind the same object."""
        whole = self.attribute or self.alias
        return (self.module if whole else self.module.partition(".")[0], self.attribute)


@lru_cache(maxsize=64)
def bindings(node: Import) -> tuple[Binding, ...]:
    """Return what each alias of a statement binds, in order; a star binds "*"."""
    found = []
    for alias in node.names:
        if isinstance(node, ast.Import):
            name = alias.asname or alias.name.partition(".")[0]
            found.append(Binding(name, alias.name, "", alias.asname or ""))
        else:
            module = "." * node.level + (node.module or "")
            found.append(Binding(alias.asname or alias.name, module, alias.name, alias.asname or ""))
    return tuple(found)


def top_imports(tree: ast.Module) -> Iterator[Import]:
    """Yield the import statements that are not inside another statement."""
    for node in tree.body:
        if isinstance(node, Import):
            yield node


def covering(tree: ast.Module) -> set[Import]:
    """Return the imports at the end of a cell; without all of them the cell would show the expression above them."""
    found: set[Import] = set()
    for node in reversed(tree.body):
        if not isinstance(node, Import):
            return found if isinstance(node, ast.Expr) else set()
        found.add(node)
    return set()


def walk(tree: ast.AST) -> list[ast.AST]:
    """Return what `ast.walk` yields, in its order, without operators and contexts of names; a fifth of the time."""
    found = [tree]
    for node in found:
        kind = type(node)
        if kind not in _INNER_FIELDS:
            plain = () if issubclass(kind, ast.Constant) else kind._fields
            _INNER_FIELDS[kind] = tuple(field for field in plain if field not in _NO_NODES)
        for field in _INNER_FIELDS[kind]:
            value = getattr(node, field, None)
            if type(value) is list:
                found += [item for item in value if isinstance(item, ast.AST)]
            elif isinstance(value, ast.AST):
                found.append(value)
    return found


def all_imports(tree: ast.Module) -> Iterator[tuple[Import, ast.AST]]:
    """Yield the import statements with what they are in, in the order of `ast.walk`."""
    todo: list[ast.AST] = [tree]
    for node in todo:
        for field in ("body", "handlers", "orelse", "finalbody", "cases"):
            for child in getattr(node, field, ()):
                if isinstance(child, Import):
                    yield child, node
                else:
                    todo.append(child)


class Text:
    """The lines of a cell's source, to find a place of the tree in it."""

    def __init__(self, source: str, python: str) -> None:
        self.source = source
        self.python = python.split("\n")
        self._is_python = source == python

    @cached_property
    def lines(self) -> list[str]:
        """The lines with their ends."""
        if "\r" in self.source:
            return [match[0] for match in _LINE.finditer(self.source)][: len(self.python)]
        *lines, last = self.source.split("\n")
        return [*(line + "\n" for line in lines), last]

    @cached_property
    def starts(self) -> list[int]:
        """Where each line starts, and where the last one ends."""
        return list(accumulate(map(len, self.lines), initial=0))

    def at(self, row: int, column: int) -> int:
        """Return the offset in the source of a place in the tree: a row from 1 and a column in bytes of UTF-8."""
        return self.starts[row - 1] + self.column(row, column)

    def column(self, row: int, column: int) -> int:
        """Return a column in characters."""
        line = self.python[row - 1]
        return column if line.isascii() else len(line.encode()[:column].decode())

    def span(self, node: ast.stmt | ast.alias) -> tuple[int, int]:
        """Return the offsets in the source of a node."""
        return self.at(node.lineno, node.col_offset), self.at(node.end_lineno or 0, node.end_col_offset or 0)

    def same(self, first: int, last: int) -> bool:
        """Say whether these rows are the same in the source and in the Python."""
        return self._is_python or all(
            self.lines[row - 1].rstrip("\r\n") == self.python[row - 1] for row in range(first, last + 1)
        )

    def comments(self, node: ast.stmt) -> str:
        """Return what may be a comment on the statement's lines and on the comment lines right above it."""
        found = [self.python[row - 1].partition("#")[2] for row in range(node.lineno, (node.end_lineno or 0) + 1)]
        row = node.lineno - 1
        while row and self.python[row - 1].lstrip().startswith("#"):
            found.append(self.python[row - 1])
            row -= 1
        return "\n".join(found)


def without(text: Text, bodies: Iterable[list[ast.stmt]], gone: Mapping[Import, set[int]]) -> str | None:
    """Return the source without these aliases, by their positions, of statements in `bodies`; None when that is unsafe.

    The lines of a statement that goes as a whole go with it, trailing comment included.
    """
    cuts: list[tuple[int, int]] = []
    for group in (group for body in bodies for group in _groups(body)):
        whole = {node for node in group if isinstance(node, Import) and len(gone.get(node, ())) == len(node.names)}
        if not any(node in gone for node in group if isinstance(node, Import)):
            continue
        if not text.same(group[0].lineno, group[-1].end_lineno or 0):
            return None
        found = _whole_lines(text, group) if len(whole) == len(group) else _between(text, group, whole)
        if found is None:
            return None
        cuts += found
        for node in group:
            if isinstance(node, Import) and node in gone and node not in whole:
                cuts += _aliases(text, node, gone[node])
    return _cut(text.source, cuts)


def _groups(body: list[ast.stmt]) -> Iterator[list[ast.stmt]]:
    """Yield statements that share lines, joined by semicolons."""
    group: list[ast.stmt] = []
    for node in body:
        if group and node.lineno != group[-1].end_lineno:
            yield group
            group = []
        group.append(node)
    if group:
        yield group


def _whole_lines(text: Text, group: list[ast.stmt]) -> list[tuple[int, int]] | None:
    """Return the lines of statements that all go, unless something else is on them."""
    start, end = text.span(group[0])[0], text.span(group[-1])[1]
    first, last = group[0].lineno - 1, (group[-1].end_lineno or 0) - 1
    before = text.source[text.starts[first] : start]
    after = text.source[end : text.starts[last + 1]].rstrip("\r\n")
    if before.strip() or not _REST.fullmatch(after) or (first and text.python[first - 1].endswith("\\")):
        return None
    return [(text.starts[first], text.starts[last + 1])]


def _between(text: Text, group: list[ast.stmt], whole: set[Import]) -> list[tuple[int, int]] | None:
    """Return the cuts that take some statements out of a line with semicolons."""
    cuts = []
    spans = [text.span(node) for node in group]
    kept = [place for place, node in enumerate(group) if node not in whole]
    for place, node in enumerate(group):
        if node not in whole:
            continue
        tail = place > kept[-1]
        cut = (spans[place - 1][1], spans[place][1]) if tail else (spans[place][0], spans[place + 1][0])
        gap = text.source[slice(*((cut[0], spans[place][0]) if tail else (spans[place][1], cut[1])))]
        if re.fullmatch(r"[ \t\f]*;[ \t\f]*", gap) is None:
            return None
        cuts.append(cut)
    return cuts


def _aliases(text: Text, node: Import, gone: set[int]) -> list[tuple[int, int]]:
    """Return the cuts that take some names out of a statement."""
    cuts = []
    spans = [text.span(alias) for alias in node.names]
    last_kept = max(set(range(len(spans))) - gone)
    for place in sorted(gone):
        alias, (start, end) = node.names[place], spans[place]
        row = alias.lineno - 1
        line = text.python[row]
        column = start - text.starts[row]
        rest = line[end - text.starts[row] :]
        bracketed = isinstance(node, ast.ImportFrom) and re.fullmatch(r"[ \t\f]*,?[ \t\f]*(#.*)?", rest)
        if row + 1 > node.lineno and row + 1 < (node.end_lineno or 0) and bracketed and not line[:column].strip():
            cuts.append((text.starts[row], text.starts[row + 1]))
        elif place > last_kept:
            cuts.append((spans[place - 1][1], end))
        else:
            cuts.append((start, spans[place + 1][0]))
    return cuts


def _cut(source: str, cuts: Iterable[tuple[int, int]]) -> str:
    """Return the source without the cuts; blank lines that they lay bare at its edges go too."""
    pieces, at = [], 0
    for start, end in sorted(cuts):
        if start > at:
            pieces.append(source[at:start])
        at = max(at, end)
    result = "".join([*pieces, source[at:]])
    if not result.strip():
        return ""
    if not source.endswith(("\n", "\r")):
        result = result.rstrip("\r\n")
    if not _EDGE_BLANKS.match(source) and (blank := _EDGE_BLANKS.match(result)):
        result = result[blank.end() :]
    return result


def restored(original: str | list[str], text: str) -> str | list[str]:
    """Return the new text of a cell in the form in which it was stored; lines that stay are the same strings."""
    if isinstance(original, str):
        return text
    first, at = 0, 0
    while first < len(original) and original[first].endswith("\n") and text.startswith(original[first], at):
        at += len(original[first])
        first += 1
    last, end = len(original), len(text)
    while last > first and original[last - 1] and end - len(original[last - 1]) >= at:
        start = end - len(original[last - 1])
        if not text.endswith(original[last - 1], at, end) or text[start - 1 : start] not in ("", "\n"):
            break
        last, end = last - 1, start
    middle = re.findall(r"[^\n]*\n|[^\n]+", text[at:end])
    return [*original[:first], *middle, *original[last:]]
