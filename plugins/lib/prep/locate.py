"""Find the line and column of the file where a cell's source stands, for editors and code hosts that show files."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING

from plugins.lib.prep.document import AFTER, MEMBER, SKIP_SPACE, key_text, value_end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kagg import Finding

UNIT = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|[^\"\\][\x80-\xbf]*"
)  # one character as JSON writes it
NEWLINES = frozenset({b"\\n", b"\\u000a", b"\\u000A"})
MAX_COLUMN = 10_000  # nobody looks further to the right


class Locator:
    """Positions in one notebook's bytes, looked for when first asked for, in time linear in the size of the file."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._cells: list[tuple[int, int]] | None = None
        self._rows: list[int] = []
        self._lines: dict[int, list[int]] = {}
        self._last = 0, 1

    def find(self, finding: Finding) -> tuple[int, int]:
        """Return the line and the column, both from 1, columns in characters.

        Of a finding in a cell's source the very place; of one elsewhere in a cell its start; else the file's start.
        """
        cells = self.cells()
        if finding.cell is None or not 0 <= finding.cell < len(cells):
            return 1, 1
        start, source = cells[finding.cell]
        if finding.line is None or finding.place not in ("", "source") or source < 0:
            return self._position(start)
        return self._position(self._in_source(finding.cell, finding.line, finding.column or 1))

    def cells(self) -> list[tuple[int, int]]:
        """Return for each cell the byte where it starts, and the one where its source does, -1 when it has none."""
        if self._cells is None:
            try:
                self._cells = list(self._walk())
            except (ValueError, IndexError, RecursionError):  # no JSON: there are no cells
                self._cells = []
        return self._cells

    def _walk(self) -> Iterator[tuple[int, int]]:
        mark = 3 if self.content.startswith(b"\xef\xbb\xbf") else 0
        top = dict(self._members(self._space(mark)))
        if "cells" in top:
            yield from self._cell_list(top["cells"])
        elif "worksheets" in top:  # nbformat 3, as steps see it after its upgrade
            for sheet in self._items(top["worksheets"]):
                yield from self._cell_list(dict(self._members(sheet)).get("cells", -1))

    def _cell_list(self, at: int) -> Iterator[tuple[int, int]]:
        for cell in self._items(at) if at >= 0 else ():
            members = dict(self._members(cell))
            yield cell, members.get("source", members.get("input", -1))

    def _space(self, at: int) -> int:
        return SKIP_SPACE.match(self.content, at).end()  # type: ignore[union-attr]  # it matches nothing as well

    def _members(self, at: int) -> Iterator[tuple[str, int]]:
        """Yield the keys of the object at a byte, and where their values start."""
        more = self.content[at : at + 1] == b"{"
        at += 1
        while more and (member := MEMBER.match(self.content, at)):
            yield key_text(member[1]), member.end()
            at, more = self._next(value_end(self.content, member.end()))

    def _items(self, at: int) -> Iterator[int]:
        """Yield where the items of the list at a byte start."""
        more = self.content[at : at + 1] == b"["
        at = self._space(at + 1)
        more = more and self.content[at : at + 1] != b"]"
        while more:
            at = self._space(at)
            yield at
            at, more = self._next(value_end(self.content, at))

    def _next(self, end: int) -> tuple[int, bool]:
        after = AFTER.match(self.content, end)
        if not after:
            raise ValueError(f"no comma or bracket at byte {end}")
        return after.end(), after[1] == b","

    def _in_source(self, cell: int, line: int, column: int) -> int:
        """Return the byte of a line and column of a cell's source."""
        if cell not in self._lines:
            source = self.cells()[cell][1]
            self._lines = {cell: list(self._line_starts(source)) or [source]}  # findings come cell by cell
        starts = self._lines[cell]
        byte = starts[min(line, len(starts)) - 1]
        end = self.content.find(b'"', byte) if line > len(starts) else len(self.content)
        for unit, _ in zip(self._units(byte), range(min(column, MAX_COLUMN) - 1), strict=False):
            byte += len(unit)
        return min(byte, end)

    def _line_starts(self, at: int) -> Iterator[int]:
        """Yield the byte after each line end of a source, which is a string or a list of strings."""
        fresh = True
        for start in self._items(at) if self.content[at : at + 1] == b"[" else [at]:
            byte = start + 1
            if fresh:
                yield byte
            fresh = False
            for unit in self._units(byte):
                byte += len(unit)
                fresh = unit in NEWLINES
                if fresh and self.content[byte : byte + 1] != b'"':
                    yield byte
                    fresh = False

    def _units(self, at: int) -> Iterator[bytes]:
        """Yield the JSON of each character of the string whose inside starts at a byte."""
        while match := UNIT.match(self.content, at):
            yield match[0]
            at = match.end()

    def _position(self, byte: int) -> tuple[int, int]:
        if not self._rows:
            self._rows = [0, *(match.end() for match in re.finditer(b"\n", self.content))]
        row = bisect_right(self._rows, byte) - 1
        known, column = self._last if self._rows[row] <= self._last[0] <= byte else (self._rows[row], 1)
        column += len(self.content[known:byte].decode("utf-8", "replace"))  # a file may be one line of many megabytes
        self._last = byte, column
        return row + 1, column
