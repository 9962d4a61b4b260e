"""Put together the constant strings that Python code builds: "a" + "b", f-strings, join, %, format, names.

Nothing is executed. A cell is parsed only when it holds what could split a token, each result stays under a size, and
a name stands for the constant that it was given last.
"""

from __future__ import annotations

import ast
import re
import warnings
from itertools import pairwise
from typing import TYPE_CHECKING

from plugins.lib.secrets.constants import MAX_VALUE_CHARS, Folder, learn, terms
from plugins.lib.secrets.lazy import Form

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_CELL_CHARS = 256 * 1024  # of code that is parsed
MAX_RESULTS = 2000  # of one notebook
CONTEXT_BYTES = 200  # of the line around an expression, so that a rule sees the name it is given to
MIN_VALUE_CHARS = 8
NAME_CHARS = 120  # of a name and what stands around it

_PREFIX = r"[rRbBuUfF]{0,2}"
_NEIGHBOURS = Form(rf"[\"'](?<=[\w+/=.:~-][\"'])[\s\\+]*{_PREFIX}[\"'](?=[\w+/=.:~-])")
_JOINED = Form(r"\.join\(\s*[\[(]")
_GIVEN = Form(rf"=[ \t]*\(?{_PREFIX}([\"'])([\w+/=.:~@-]{{2,}})\1")
_TAKER = Form(r"[ \t]*(\w+)[ \t]*(?::[ \t]*\w+[ \t]*)?")
_FIRST_WORD = Form(r"=?\s*(\w+)")
_LAST_WORD = Form(r"(\w+)\s*\Z")
_PLAIN_VALUE = Form(r"[A-Z][a-z]+|.*\.[a-z][a-z0-9]{1,3}")
_FIELD = Form(r"\{(\w+)\}")
_FORMATTED = Form(r"[\"']\s*%\s*[(\w]|\.format\(|\.join\(")
_MAGIC_LINE = Form(r"^([ \t]*)[%!?].*|^(.*\S\?{1,2})[ \t]*$", re.MULTILINE)
_MAGIC_VALUE = Form(r"^([ \t]*[\w, \t]+=[ \t]*)[!%].*", re.MULTILINE)
_LITERAL = rf"{_PREFIX}(?:\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')"
_CHAIN = Form(rf"{_LITERAL}(?:[\s\\+]*{_LITERAL})+")
_ONE_LITERAL = Form(_LITERAL)


def _is_fragment(value: str) -> bool:
    """Tell whether a constant could be a part of a token: it is no word and no name of a file."""
    if value[-1] in "_-":
        return value[0].isalnum()
    is_plain = len(value) < 6 or (value.islower() and not any(map(str.isdigit, value)))
    return not is_plain and _PLAIN_VALUE.fullmatch(value) is None


def _summed(source: str) -> Iterator[str]:
    """Yield the words on either side of a plus."""
    parts = source.split("+")
    for left, right in pairwise(parts):
        for match in (_LAST_WORD.search(left[-NAME_CHARS:]), _FIRST_WORD.match(right[:NAME_CHARS])):
            if match:
                yield match[1]


def _constants(source: str) -> Iterator[tuple[str, str]]:
    """Yield (name, value) of the lines that give a short text to a name."""
    for match in _GIVEN.finditer(source):
        begin = source.rfind("\n", max(0, match.start() - NAME_CHARS), match.start()) + 1
        taker = _TAKER.fullmatch(source, begin, match.start())
        if taker:
            yield taker[1], match[2]


def _may_split(source: str, names: set[str]) -> bool:
    """Tell whether a cell could build a token, of neighbours or with one of the names."""
    if _NEIGHBOURS.search(source) or (".join(" in source and _JOINED.search(source)):
        return True
    if not names:
        return False
    if "+" in source and not names.isdisjoint(_summed(source)):
        return True
    if "{" in source and any(match[1] in names for match in _FIELD.finditer(source)):
        return True
    return bool(_FORMATTED.search(source)) and any(name in names for name in re.findall(r"\w+", source))


def _is_whole_literal(node: ast.Constant, lines: list[bytes]) -> bool:
    """Tell whether a constant stands in the source as it is: one literal without escapes."""
    value = node.value
    if not isinstance(value, str) or not MIN_VALUE_CHARS <= len(value) <= MAX_VALUE_CHARS:
        return True
    breaks = (node.end_lineno or node.lineno) - node.lineno
    if breaks:
        return value.count("\n") == breaks
    return value.encode("utf-8", "surrogatepass") in lines[node.lineno - 1][node.col_offset : node.end_col_offset]


def _sums(node: ast.BinOp, folder: Folder) -> tuple[list[tuple[ast.expr, str]], list[ast.expr]]:
    """Return the runs of known terms in a sum that is not known as a whole, and the other terms."""
    runs: list[tuple[ast.expr, str]] = []
    others: list[ast.expr] = []
    known: list[tuple[ast.expr, str]] = []
    for term in [*terms(node), None]:
        text = folder.value(term) if term else None
        if term and text is not None:
            known.append((term, text))
            continue
        if len(known) > 1:
            run = ast.copy_location(ast.BinOp(known[0][0], ast.Add(), known[-1][0]), known[0][0])
            run.end_lineno, run.end_col_offset = known[-1][0].end_lineno, known[-1][0].end_col_offset
            runs.append((run, "".join(value for _, value in known)[:MAX_VALUE_CHARS]))
        else:
            others += [one for one, _ in known]
        others += [term] if term else []
        known = []
    return runs, others


def built(tree: ast.AST, code: str, names: dict[str, str]) -> Iterator[tuple[ast.expr | ast.AugAssign, str, str]]:
    """Yield (node, text, label) for what builds a text, outermost first, in the order of the source.

    `code` is the source of the tree, as python_of gives it; `names` are known, and learned. The label is what the
    text is given to, when that stands on another line.
    """
    folder = Folder(names)
    lines = code.encode("utf-8", "surrogatepass").split(b"\n")
    labels: dict[int, str] = {}
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        learn(folder, node)
        _label(node, lines, labels)
        found: list[tuple[ast.expr | ast.AugAssign, str]] = []
        inner: list[ast.AST] | None = None
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            text = folder.names.get(node.target.id)
            found = [] if text is None else [(node, text)]
        elif isinstance(node, ast.Constant):
            inner = []
            if isinstance(node.value, str) and not _is_whole_literal(node, lines):
                found = [(node, node.value)]
        elif isinstance(node, (ast.BinOp, ast.JoinedStr, ast.Call, ast.Subscript)):
            text = folder.value(node)
            found = [] if text is None else [(node, text)]
            if text is None and isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
                runs, others = _sums(node, folder)
                found, inner = list(runs), list(others)
        for part, text in found:
            if len(text) >= MIN_VALUE_CHARS:
                yield part, text, labels.get(id(part), "")
        if inner is None:
            inner = [] if found else list(ast.iter_child_nodes(node))
        stack += reversed(inner)


def _label(node: ast.AST, lines: list[bytes], labels: dict[int, str]) -> None:
    """Note the name that a value on a later line is given to."""
    pairs: list[tuple[ast.expr, ast.expr]] = []
    if isinstance(node, ast.Assign):
        pairs = [(node.targets[-1], node.value)]
    elif isinstance(node, ast.AnnAssign) and node.value:
        pairs = [(node.target, node.value)]
    elif isinstance(node, ast.Dict):
        pairs = [(key, value) for key, value in zip(node.keys, node.values, strict=True) if key]
    for target, value in pairs:
        if target.lineno != value.lineno and target.end_lineno == target.lineno:
            text = lines[target.lineno - 1][target.col_offset : target.end_col_offset]
            labels[id(value)] = text.decode("utf-8", "replace")[:CONTEXT_BYTES]
    if isinstance(node, ast.Call):
        for word in node.keywords:
            if word.arg and word.lineno != word.value.lineno:
                labels[id(word.value)] = word.arg


def python_of(source: str) -> str:
    """Return a cell with its magic and shell lines as `pass`, with as many lines."""
    source = source.replace("\r\n", "\n").replace("\r", " ")
    if "%" in source or "!" in source or "?" in source:
        source = _MAGIC_LINE.sub(lambda match: (match[1] or "") + "pass", _MAGIC_VALUE.sub(r"\1None", source))
    return source


def parsed(source: str) -> ast.Module | None:
    """Return the syntax tree of Python, None when it is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" in somebody's cell is not our warning
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def span_of(source: str, node: ast.expr) -> tuple[int, int]:
    """Return the offsets of an expression in its source, whose lines end as on Unix."""
    lines = source.split("\n")
    ends = []
    for line, column in ((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)):
        number = (line or node.lineno) - 1
        before = lines[number].encode("utf-8", "surrogatepass")[: column or 0].decode("utf-8", "replace")
        ends.append(sum(len(one) + 1 for one in lines[:number]) + len(before))
    return ends[0], ends[1]


def _in_context(lines: list[bytes], node: ast.expr | ast.AugAssign, text: str, label: str) -> str:
    """Return the line of an expression as it would read with the built text as one literal."""
    before = lines[node.lineno - 1][: node.col_offset][-CONTEXT_BYTES:].decode("utf-8", "replace")
    after = lines[(node.end_lineno or node.lineno) - 1][node.end_col_offset or 0 :][:CONTEXT_BYTES]
    return f'{label + " = " if label else before}"{text}"{after.decode("utf-8", "replace")}'


def _loosely(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of the literals that stand beside or are added to each other, without parsing."""
    for match in _CHAIN.finditer(source):
        parts = []
        for literal in _ONE_LITERAL.findall(match[0]):
            quote = max(literal.find('"'), 0) if '"' in literal[:3] else literal.find("'")
            parts.append(literal[quote + 1 : -1])
        begin = max(source.rfind("\n", 0, match.start()) + 1, match.start() - CONTEXT_BYTES)
        yield source.count("\n", 0, match.start()) + 1, f'{source[begin : match.start()]}"{"".join(parts)}"'


def folded(sources: Iterable[tuple[int | None, str]]) -> Iterator[tuple[int | None, int, str]]:
    """Yield (cell, line, text) for each text that the code of a notebook builds; `sources` are (cell, code)."""
    names: dict[str, str] = {}
    fragments: set[str] = set()
    left = MAX_RESULTS
    cells = [(cell, source) for cell, source in sources if len(source) <= MAX_CELL_CHARS]
    whole = "\n\0\n".join([source for _, source in cells])  # nothing that splits a token goes across
    if not _may_split(whole, {name for name, value in _constants(whole) if _is_fragment(value)}):
        return
    for cell, source in cells:
        constants = dict(_constants(source)) if "=" in source else {}
        names.update(constants)
        fragments.update(name for name, value in constants.items() if _is_fragment(value))
        if _may_split(source, fragments):
            code = python_of(source)
            tree = parsed(code)
            results: Iterable[tuple[int, str]] = _loosely(code)
            if tree:
                lines = code.encode("utf-8", "surrogatepass").split(b"\n")
                results = ((part[0].lineno, _in_context(lines, *part)) for part in built(tree, code, names))
            for line, text in results:
                left -= 1
                if left < 0:
                    return
                yield cell, line, text
