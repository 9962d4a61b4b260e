"""Search the texts of a notebook with CredSweeper as well: more is found, with more false alarms, and slowly."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from plugins.lib.secrets.record import Record
from plugins.lib.secrets.text import pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from plugins.lib.secrets.text import Piece

PLUGIN = {
    "api": 1,
    "summary": "deep search for credentials with CredSweeper",
    "requires": {"credsweeper": "credsweeper>=1.11"},
}

MAX_PIECE_CHARS = 1024**2
MIN_VALUE_CHARS = 4


def _candidates(texts: Iterable[str]) -> Iterator[tuple[int, str, int, str]]:
    """Yield (number of the text, rule, line, value) of what CredSweeper finds; the only place that imports it."""
    import io
    import logging

    from credsweeper.app import CredSweeper  # type: ignore[import-not-found,unused-ignore]
    from credsweeper.file_handler.files_provider import FilesProvider  # type: ignore[import-not-found,unused-ignore]

    logging.getLogger("credsweeper").setLevel(logging.ERROR)
    sweeper = CredSweeper()
    files = [(f"{number}.py", io.BytesIO(text.encode("utf-8", "replace"))) for number, text in enumerate(texts)]
    sweeper.run(content_provider=FilesProvider(files))
    for candidate in sweeper.credential_manager.get_credentials():
        for line in candidate.line_data_list:
            yield int(str(line.path).partition(".")[0]), candidate.rule_name, line.line_num, line.value or ""


def _record(piece: Piece, rule: str, line: int, value: str) -> Record:
    kind = "deep-" + re.sub(r"[^a-z0-9]+", "-", rule.lower()).strip("-")
    name = re.sub(r"[^A-Z0-9]+", "_", rule.upper()).strip("_") or "SECRET"
    start = -1
    if piece.exact:
        begin = sum(len(one) + 1 for one in piece.text.split("\n")[: line - 1])
        start = piece.text.find(value, begin)
    column = start - (piece.text.rfind("\n", 0, start) + 1) + 1 if start >= 0 else None
    at = line if piece.exact else piece.line
    place = (piece.cell, piece.place, piece.where, at, column, piece.output)
    return Record(kind, name, rule, value, *place, start, start + len(value) if start >= 0 else -1)


def more_records(notebook: dict[str, Any], found: Iterable[Record]) -> list[Record]:
    """Return what CredSweeper finds in a notebook beside the records that are there."""
    known = [(one.value, one.place, one.cell, one.line) for one in found]
    texts = [piece for piece in pieces(notebook) if piece.text.strip()]
    records: list[Record] = []
    for number, rule, line, value in _candidates(piece.text[:MAX_PIECE_CHARS] for piece in texts):
        record = _record(texts[number], rule, line, value)
        where = (record.place, record.cell, record.line)
        repeats = any(spot == where and (value in old or old in value) for old, *rest in known if (spot := tuple(rest)))
        if len(value) >= MIN_VALUE_CHARS and not repeats:
            known.append((value, *where))
            records.append(record)
    return records
