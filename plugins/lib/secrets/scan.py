"""Search notebooks, scripts and other files for credentials: many small texts at once, each hit mapped back.

Texts are joined before they are searched, because a search costs more to start than to go on. What decoding adds
(escapes, tags, base64) is joined and searched again, to a depth and a size.
"""

from __future__ import annotations

import bisect
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from plugins.lib.secrets import allow, decode, fold
from plugins.lib.secrets.match import Match, find
from plugins.lib.secrets.record import Record, findings
from plugins.lib.secrets.text import Piece, pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kagg import Finding

SEPARATOR = "\n\0\n"  # no rule crosses it
WINDOW_CHARS = 1024**2
OVERLAP_CHARS = 4096
MAX_DEPTH = 3
MAX_DERIVED_CHARS = 16 * 1024**2  # of one notebook
MAX_RECORDS = 1000  # of one notebook or file


class _Layer:
    """Texts joined into one; each part begins at `starts[i]` and comes from `origins[i]`."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.parts: list[str] = []
        self.size = 0

    def add(self, text: str) -> None:
        """Append a part."""
        self.starts.append(self.size)
        self.parts.append(text)
        self.size += len(text) + len(SEPARATOR)

    def text(self) -> str:
        """Return all parts as one text."""
        return SEPARATOR.join(self.parts)

    def locate(self, offset: int) -> tuple[int, int]:
        """Return (number of the part, offset in it) of an offset in the joined text."""
        part = bisect.bisect_right(self.starts, offset) - 1
        return part, offset - self.starts[part]


class _Cut(NamedTuple):
    """A text without its payloads, and how to map its offsets back."""

    text: str
    starts: list[int]  # in the cut text
    shifts: list[int]  # what to add from there on

    def back(self, offset: int) -> int:
        """Return an offset in the whole text."""
        return offset + self.shifts[bisect.bisect_right(self.starts, offset) - 1]


def _without(text: str, payloads: list[tuple[int, int]]) -> _Cut:
    """Cut spans out of a text; a blank stands for each."""
    if not payloads:
        return _Cut(text, [0], [0])
    kept, starts, shifts = [], [0], [0]
    at = size = 0
    for begin, end in payloads:
        kept.append(text[at:begin])
        size += begin - at + 1
        at = end
        starts.append(size)
        shifts.append(at - size)
    return _Cut(" ".join([*kept, text[at:]]), starts, shifts)


class _Scanner:
    """Collects the pieces of one notebook or file, and searches them whenever enough has come together."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str, int | None, int | None], Record] = {}
        self.derived_left = MAX_DERIVED_CHARS
        self.mark: tuple[Piece | None, int, int] = (None, 0, 1)  # (piece, start of a line, its number)
        self._clear()

    def _clear(self) -> None:
        self.layer = _Layer()
        self.pieces: list[tuple[Piece, int]] = []  # (piece, offset of the part in it)

    def full(self) -> bool:
        """Tell whether so much was found that more would not be read."""
        return len(self.found) >= MAX_RECORDS

    def add(self, piece: Piece) -> None:
        """Take in a piece; a long one in windows that overlap."""
        size = len(piece.text)
        if size + self.layer.size < WINDOW_CHARS:
            self.layer.add(piece.text)
            self.pieces.append((piece, 0))
            return
        for begin in range(0, max(1, size - OVERLAP_CHARS), WINDOW_CHARS - OVERLAP_CHARS):
            text = piece.text if size <= WINDOW_CHARS else piece.text[begin : begin + WINDOW_CHARS]
            self.layer.add(text)
            self.pieces.append((piece, begin))
            if self.layer.size >= WINDOW_CHARS:
                self.search()

    def search(self) -> None:
        """Search what was taken in, as it is and decoded."""
        text, chain = self.layer.text(), [(self.layer, list[int]())]
        for depth in range(MAX_DEPTH + 1):
            if not text.strip():
                break
            runs = list(decode.base64_runs(text))
            cut = _without(text, [(run.start, run.end) for run in runs if run.payload])
            for match in find(cut.text):
                self._take(match, cut, chain)
            derived, origins = self._derived(text, runs) if depth < MAX_DEPTH else (_Layer(), list[int]())
            chain.append((derived, origins))
            text = derived.text()
        self._clear()

    def _derived(self, text: str, runs: list[decode.Decoded]) -> tuple[_Layer, list[int]]:
        """Return what decoding adds, and the offset in `text` that each part comes from."""
        layer, origins = _Layer(), list[int]()
        decoded = [(run.start, inner) for run in runs for inner in run.texts]
        for source in (decoded, decode.plain_lines(text)):
            for start, inner in source:
                self.derived_left -= len(inner)
                if self.derived_left < 0:
                    return layer, origins
                layer.add(inner)
                origins.append(start)
        return layer, origins

    def _take(self, match: Match, cut: _Cut, chain: list[tuple[_Layer, list[int]]]) -> None:
        """Keep a match as a record, once for its value, place, cell and line."""
        if self.full():
            return
        value = match.value.partition("\n\0")[0]
        offset, derived = cut.back(match.start), len(chain) > 1
        for layer, origins in reversed(chain[1:]):
            offset = origins[layer.locate(offset)[0]]
        part, offset = chain[0][0].locate(offset)
        piece, begin = self.pieces[part]
        offset += begin
        line, column = piece.line, None
        if piece.exact:
            line, line_start = self._line_at(piece, offset)
            column = None if derived else offset - line_start + 1
        if derived and self._is_known(value, piece, line):
            return
        key = (value, piece.place, piece.cell, line)
        if key in self.found:
            return
        exact = piece.exact and not derived and piece.text.startswith(value, offset)
        start, end = (offset, offset + len(value)) if exact else (-1, -1)
        what, place = (match.kind, match.name, match.title, value), (piece.cell, piece.place, piece.where)
        self.found[key] = Record(*what, *place, line, column, piece.output, start, end)

    def _line_at(self, piece: Piece, offset: int) -> tuple[int, int]:
        """Return (line, offset of its start); hits come in order, so that lines are counted once."""
        begin, line = self.mark[1:] if self.mark[0] is piece and self.mark[1] <= offset else (0, 1)
        line_start = max(begin, piece.text.rfind("\n", begin, offset) + 1)
        line += piece.text.count("\n", begin, line_start)
        self.mark = (piece, line_start, line)
        return line, line_start

    def _is_known(self, value: str, piece: Piece, line: int | None) -> bool:
        """Tell whether a decoded value only repeats what was found at the same place."""
        return any(
            (place, cell, at) == (piece.place, piece.cell, line) and (known in value or value in known)
            for known, place, cell, at in self.found
        )


def _order(record: Record) -> tuple[int, int, int, str]:
    place = ("notebook metadata", "source", "output", "attachment", "metadata")
    number = place.index(record.place) if record.place in place else 1
    return (-1 if record.cell is None else record.cell, number, record.line or 0, record.value)


def scan_pieces(texts: Iterable[Piece]) -> list[Record]:
    """Return the secrets in the pieces of one notebook or file, in its order; allowed lines are left out."""
    scanner = _Scanner()
    sources: dict[int | None, str] = {}
    for piece in texts:
        if piece.exact:
            sources[piece.cell] = piece.text
        scanner.add(piece)
        if scanner.full():
            break
    scanner.search()
    allowed = {cell: allow.allowed_lines(sources[cell]) for _, _, cell, _ in scanner.found if cell in sources}
    records = [one for one in scanner.found.values() if not _is_allowed(one, allowed)]
    return sorted(records, key=_order)


def _is_allowed(record: Record, allowed: dict[int | None, frozenset[int]]) -> bool:
    lines = allowed.get(record.cell)
    if not lines or record.place not in ("source", ""):
        return False
    last = (record.line or 0) + record.value.count("\n")
    return record.line in lines or last in lines


def notebook_records(notebook: dict[str, Any]) -> list[Record]:
    """Return the secrets of a notebook."""
    return scan_pieces(pieces(notebook))


# ---------------------------------------------------------------- files


def text_records(text: str, name: str, kind: str = "text") -> list[Record]:
    """Return the secrets of a file's text; of Python ("python") also those that its constants build."""
    return scan_pieces(_file_pieces(text, name, kind))


def _file_pieces(text: str, name: str, kind: str) -> Iterator[Piece]:
    yield Piece(text, None, "", name, exact=True)
    if kind == "python":
        for _, line, built in fold.folded([(None, text)]):
            yield Piece(built, None, "", name, line=line)


def scan_text(text: str, name: str, kind: str = "text") -> list[Finding]:
    """Return the findings in a script ("python") or another text file; `name` is only for messages."""
    return [finding for _, finding in findings(text_records(text, name, kind))]


def _decoded(content: bytes) -> str | None:
    """Return the text of a file: UTF-8, UTF-16 with or without its mark, Latin-1; None for binary."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    head = content[:4096]
    if b"\0" in head:
        for codec, zeros, others in (("utf-16-le", head[1::2], head[::2]), ("utf-16-be", head[::2], head[1::2])):
            if zeros.count(0) * 10 >= len(zeros) * 9 and not others.count(0):
                return content.decode(codec, "replace")
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        control = len(re.findall(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f]", head))
        return content.decode("latin-1") if control * 50 <= len(head) else None


def _with_doubles(content: bytes | str) -> tuple[Any, list[Any]]:
    """Decode JSON, and return beside it the values that a later key of the same name hides."""
    import json

    hidden: list[Any] = []

    def table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            hidden.extend({key: value} for key, value in pairs if found[key] is not value)
        return found

    try:
        return json.loads(content, object_pairs_hook=table), hidden
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def bytes_records(content: bytes, name: str) -> list[Record]:
    """Return the secrets in the bytes of one file, as a notebook, Python, other text, or the text chunks of a PNG."""
    if content.startswith(b"\x89PNG"):
        return scan_pieces(Piece(text, None, "", f"{name} (image text)") for text in decode.texts_of(content))
    text = _decoded(content)
    if text is None:
        return []
    lowered = name.lower()
    if lowered.endswith(".ipynb") or (text[:200].lstrip()[:1] == "{" and '"cells"' in text):
        try:
            document, hidden = _with_doubles(text)
        except ValueError:
            document, hidden = None, []
        if isinstance(document, dict) and isinstance(document.get("cells", document.get("worksheets")), list):
            lost = [Piece(decode.leaves(hidden), None, "notebook metadata", "values under a repeated key")]
            return scan_pieces([*pieces(document), *(lost if hidden else ())])
    return text_records(text, name, "python" if lowered.endswith((".py", ".pyw", ".ipy")) else "text")


def scan_bytes(content: bytes, name: str) -> list[Finding]:
    """Return the findings in the bytes of one file; binary other than PNG text holds none."""
    return [finding for _, finding in findings(bytes_records(content, name))]
