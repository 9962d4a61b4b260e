"""Find the string literals and comments of Python-with-IPython, and rewrite a literal around what it must not hold."""

from __future__ import annotations

import bisect
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_TOKEN = re.compile(
    r"(?P<comment>\#[^\n]*)|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<prefix>(?<!\w)[rRbBuUfF]{1,2}(?=[\"']))?"
    r"(?P<literal>\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')",
    re.DOTALL,
)
_BETWEEN = re.compile(r"(?:[ \t\n]|\\\n|\#[^\n]*\n)*")  # what may stand between literals that belong together


class Literal(NamedTuple):
    """A string literal: where it is, with its prefix, its quotes and the span between them."""

    start: int
    end: int
    prefix: str
    quote: str
    body_start: int
    body_end: int


class Spans(NamedTuple):
    """What a scan of a cell found."""

    groups: list[list[Literal]]  # literals that stand beside each other are one group
    comments: list[tuple[int, int]]


def _belong(between: str, *, inside: bool) -> bool:
    """Tell whether the text between two literals makes them one string; outside brackets a line's end parts them."""
    return bool(_BETWEEN.fullmatch(between)) and (inside or "\n" not in between.replace("\\\n", ""))


def spans(source: str) -> Spans:
    """Return the literals and comments of a cell."""
    groups: list[list[Literal]] = []
    comments = []
    depth = 0
    for match in _TOKEN.finditer(source):
        depth = max(0, depth + bool(match["open"]) - bool(match["close"]))
        if match["comment"]:
            comments.append(match.span())
        if not match["literal"]:
            continue
        text = match["literal"]
        quote = text[:3] if len(text) >= 6 and text[:3] in ('"""', "'''") else text[0]
        begin, end = match.span("literal")
        found = Literal(match.start(), end, match["prefix"] or "", quote, begin + len(quote), end - len(quote))
        last = groups[-1][-1] if groups else None
        if last and _belong(source[last.end : found.start], inside=depth > 0):
            groups[-1].append(found)
        else:
            groups.append([found])
    return Spans(groups, comments)


def covering(groups: Sequence[list[Literal]], start: int, end: int) -> int | None:
    """Return the number of the group with the literal whose text holds a span."""
    number = bisect.bisect_right(groups, start, key=lambda group: group[0].start) - 1
    if number < 0:
        return None
    inside = any(one.body_start <= start and end <= one.body_end for one in groups[number])
    return number if inside else None


def _part(literal: Literal, text: str) -> str | None:
    """Return a part of a literal as a literal, None when it cannot stand alone."""
    if not text:
        return ""
    if (len(text) - len(text.rstrip("\\"))) % 2:
        return None
    quote = literal.quote
    bare = text[:-1]
    if text.endswith(quote[0]) and (len(bare) - len(bare.rstrip("\\"))) % 2 == 0:
        quote = "'''" if quote == '"""' else '"""'
        if quote in text or len(literal.quote) == 1:
            return None
    if "f" in literal.prefix.lower() and _depth(text):
        return None
    return f"{literal.prefix}{quote}{text}{quote}"


def _depth(text: str) -> bool:
    """Tell whether a part of an f-string begins or ends inside a field."""
    bare = text.replace("{{", "").replace("}}", "")
    return bare.count("{") != bare.count("}")


def rewritten(source: str, literal: Literal, cuts: Sequence[tuple[int, int, str]]) -> list[str] | None:
    """Return the terms whose sum is the literal with each span (start, end, expression) replaced, None = impossible."""
    terms = []
    at = literal.body_start
    for start, end, expression in cuts:
        part = _part(literal, source[at:start])
        if part is None:
            return None
        terms += [part] if part else []
        terms.append(f"{expression}.encode()" if "b" in literal.prefix.lower() else expression)
        at = end
    part = _part(literal, source[at : literal.body_end])
    return None if part is None else terms + ([part] if part else [])


def group_text(source: str, group: Sequence[Literal], terms: dict[Literal, list[str]]) -> str:
    """Return the source of a group in which some literals became sums; as many lines as before."""
    if len(group) == 1:
        parts = terms[group[0]]
        return parts[0] if len(parts) == 1 else f"({' + '.join(parts)})"
    pieces = []
    for number, literal in enumerate(group):
        if number:
            pieces.append(source[group[number - 1].end : literal.start] + "+ ")
        pieces.append(" + ".join(terms.get(literal) or [source[literal.start : literal.end]]))
    return f"({''.join(pieces)})"
