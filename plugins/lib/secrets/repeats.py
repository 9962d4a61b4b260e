"""Find the other places of secrets that are known by now: what no rule sees without its surroundings.

A value of 12 characters or more is found in the midst of anything, a shorter one only as a word of its own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from plugins.lib.secrets import allow, decode, rules_read
from plugins.lib.secrets.text import pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from plugins.lib.secrets.record import Record
    from plugins.lib.secrets.text import Piece

ANYWHERE_CHARS = 12  # a value of this length is no part of another word by chance
PLAIN_CHARS = 8  # a shorter value may be an ordinary word
MAX_PLACES = 20_000  # of one notebook
SEPARATOR = "\n\0\n"
MAX_FORM_CHARS = 64  # of a value that the search compares at once with all others
JOINED_CHARS = 256 * 1024  # pieces are joined before a search, which costs more to start than to go on


def is_plain(value: str) -> bool:
    """Tell whether a value may as well be a word or a number that means nothing where it stands."""
    return len(value) < PLAIN_CHARS or value.isdigit() or (value.isalpha() and value[1:].islower())


class _Search(NamedTuple):
    """A search for the beginnings of all values at once, by their bytes, one for each character."""

    pattern: Any
    by_bytes: dict[bytes, list[str]]

    def places(self, text: str) -> Iterator[tuple[int, str]]:
        """Yield (offset, value) by position; none overlaps another."""
        data = text.encode("latin-1", "replace")
        for match in self.pattern.finditer(data):
            start = match.start()
            for value in self.by_bytes[match.group()]:
                if text.startswith(value, start) and _stands_alone(text, start, value):
                    yield start, value
                    break


def _stands_alone(text: str, start: int, value: str) -> bool:
    if len(value) >= ANYWHERE_CHARS:
        return True
    around = text[max(0, start - 1) : start], text[start + len(value) : start + len(value) + 1]
    return not any(char.isalnum() or char == "_" for char in around)


def _search_for(values: Iterable[str]) -> _Search:
    by_bytes: dict[bytes, list[str]] = {}
    for value in sorted(values, key=lambda value: (-len(value), value)):
        by_bytes.setdefault(value[:MAX_FORM_CHARS].encode("latin-1", "replace"), []).append(value)
    longest_first = sorted(by_bytes, key=lambda data: (-len(data), data))
    form = "|".join(re.escape(data.decode("latin-1")) for data in longest_first)
    return _Search(rules_read.compile_re2(form), by_bytes)


def _hits(notebook: dict[str, Any], search: _Search) -> Iterator[tuple[Piece, int, str]]:
    """Yield (piece, offset, value) of what stands in a notebook; -1 for what is only there in a plain reading."""
    batch: list[Piece] = []
    size = 0
    for piece in pieces(notebook):
        batch.append(piece)
        size += len(piece.text)
        if size >= JOINED_CHARS:
            yield from _batch_hits(batch, search)
            batch, size = [], 0
    yield from _batch_hits(batch, search)


def _batch_hits(batch: list[Piece], search: _Search) -> Iterator[tuple[Piece, int, str]]:
    """Yield the hits of some pieces; only where there is one, each piece is searched by itself."""
    whole = SEPARATOR.join([piece.text for piece in batch])
    undone = SEPARATOR.join([line for _, line in decode.plain_lines(whole)])
    if any(True for _ in search.places(whole)):
        for piece in batch:
            for start, value in search.places(piece.text):
                yield piece, start, value
    if any(True for _ in search.places(undone)):
        for piece in batch:
            for start, line in decode.plain_lines(piece.text):
                for _, value in search.places(line):
                    if value not in piece.text[start : start + len(line) * 6]:
                        yield piece, -1 - start, value


def more_records(notebook: dict[str, Any], known: Iterable[Record], seen: Iterable[Record]) -> list[Record]:
    """Return the places of known secrets beside those that were seen, each place in a source by itself.

    Lines that their author allows are left out.
    """
    by_value: dict[str, Record] = {}
    for record in known:
        by_value.setdefault(record.value, record)
    by_value.pop("", None)
    if not by_value:
        return []
    old: dict[tuple[str, int | None, int | None], list[Record]] = {}
    for record in seen:
        old.setdefault((record.place, record.cell, record.line), []).append(record)
    found: dict[tuple[Any, ...], Record] = {}
    lines: dict[int | None, frozenset[int]] = {}
    lines_of = _Lines()
    for piece, offset, value in _hits(notebook, _search_for(by_value)):
        start = offset if piece.exact else -1
        line, column = lines_of.at(piece, offset) if piece.exact else (piece.line, None)
        if piece.exact and piece.cell not in lines:
            lines[piece.cell] = allow.allowed_lines(piece.text)
        if piece.place == "source" and line in lines.get(piece.cell, ()):
            continue
        if _is_seen(old.get((piece.place, piece.cell, line), ()), value, start):
            continue
        place: dict[str, Any] = {"cell": piece.cell, "place": piece.place, "where": piece.where, "output": piece.output}
        place |= {
            "line": line,
            "column": column,
            "start": max(start, -1),
            "end": start + len(value) if start >= 0 else -1,
        }
        found.setdefault((value, piece.place, piece.cell, line, place["start"]), by_value[value]._replace(**place))
        if len(found) >= MAX_PLACES:
            break
    return list(found.values())


class _Lines:
    """Counts lines; places come in order, so that each line is counted once."""

    def __init__(self) -> None:
        self.piece: Piece | None = None
        self.offset, self.line = 0, 1

    def at(self, piece: Piece, offset: int) -> tuple[int, int | None]:
        """Return (line, column) of an offset; a negative one says only where its line begins."""
        place = offset if offset >= 0 else -1 - offset
        if self.piece is not piece or place < self.offset:
            self.piece, self.offset, self.line = piece, 0, 1
        self.line += piece.text.count("\n", self.offset, place)
        self.offset = place
        return self.line, place - piece.text.rfind("\n", 0, place) if offset >= 0 else None


def _is_seen(records: Iterable[Record], value: str, start: int) -> bool:
    """Tell whether a place is one of those that were seen, or a part of one."""
    for record in records:
        if start < 0 or record.start < 0:
            if value in record.value:
                return True
        elif start < record.end and record.start < start + len(value):
            return True
    return False


def once(records: Iterable[Record]) -> list[Record]:
    """Return records without those that say the same of the same line."""
    found: dict[tuple[Any, ...], Record] = {}
    for record in records:
        found.setdefault((record.value, record.place, record.cell, record.line), record)
    return list(found.values())
