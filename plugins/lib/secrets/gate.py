"""The gate: nothing leaves this machine with a secret in it, unless its finding was allowed by id."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kagg import Context, Exit, Finding, KaggError
from plugins.lib.secrets import decode
from plugins.lib.secrets.hide import hide, name_pieces
from plugins.lib.secrets.in_use import KIND, forms, search
from plugins.lib.secrets.match import find
from plugins.lib.secrets.record import Record, findings
from plugins.lib.secrets.scan import MAX_RECORDS, bytes_records, scan_pieces, text_records
from plugins.lib.secrets.text import Piece, pieces
from plugins.lib.secrets.unpack import Opener, is_binary, text_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from plugins.lib.secrets.in_use import Hit, Search

PLUGIN = {"api": 1, "summary": "the gate for secrets", "requires": {"re2": "google-re2>=1.1"}}

SHOWN = 5  # findings, and files not looked at, that are said one by one
CELL_MARK = re.compile(r"\n\n# cell (\d+)\n")  # what packaging writes before each cell of a module
END_OF_PNG = b"IEND\xaeB`\x82"
PNG = b"\x89PNG"
NAMES = " (names)"  # what unpack.py calls the list of an archive's names


def refuse(ctx: Context, what: str, parts: Iterable[tuple[str, bytes]], allowed: Iterable[str] = ()) -> None:
    """Scan (name, bytes) pairs, exactly as they will leave, and raise when one holds a secret that is not allowed.

    A secret is what the rules know, and every value that is in use here. Archives are opened; of binary files the text
    in them is looked at. What could not be looked at is said.

    Raises:
        KaggError: FINDINGS; the message names the first place, `details["findings"]` holds all as dictionaries.
    """
    permitted, opener = set(allowed), Opener()
    refused: list[tuple[str, Finding]] = []
    for name, finding in _found(search(ctx), opener, parts):
        if finding.id in permitted:
            ctx.say(f"{what}: allowed {finding.id}: {finding.message}")
        else:
            refused.append(_without_name(ctx, name, finding))
    what = hide(ctx, what) if refused else what
    for line in opener.unread[:SHOWN]:
        ctx.say(f"{what}: not looked at for secrets: {hide(ctx, line)}", -1)
    if len(opener.unread) > SHOWN:
        ctx.say(f"{what}: {len(opener.unread) - SHOWN} more were not looked at", -1)
    if not refused:
        return
    for name, finding in refused[1:SHOWN]:
        ctx.say(f"{what}: {place(name, finding)}: {finding.message} [{finding.id}]", -1)
    name, first = refused[0]
    more = f", and {len(refused) - 1} more" if len(refused) > 1 else ""
    allow = f", or allow it with --allow-finding {first.id}" if first.id else ""
    raise KaggError(
        f"{what} was not sent: {place(name, first)}: {first.message}{more}",
        code=Exit.FINDINGS,
        hint=f"take it out (preprocess --fix-secrets){allow}",
        details={"findings": [{"file": name, **finding._asdict()} for name, finding in refused]},
    )


def _without_name(ctx: Context, name: str, finding: Finding) -> tuple[str, Finding]:
    """Hide what is secret in the name of a file, also where the finding repeats it."""
    shown = hide(ctx, name)
    if shown == name:
        return name, finding
    return shown, finding._replace(message=finding.message.replace(name, shown), fix=finding.fix.replace(name, shown))


def _found(used: Search, opener: Opener, parts: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, Finding]]:
    """Yield (file, finding) for every secret in files, in what they hold, and in their names."""
    names = []
    for part, whole in parts:
        names.append(part)
        opener.left = max(opener.left, 0)
        held: list[tuple[str, str, Finding]] = []
        for name, content in opener.files(part, whole):
            records = _records(name, content)
            if len(records) >= MAX_RECORDS:
                yield name, Finding("too-many", "error", f"not fewer than {MAX_RECORDS} secrets: more are not listed")
            for _, finding in findings(records):
                yield name, _placed(finding, name, content)
            in_use = findings(_in_use(used, name, content, records))
            held += [(name, record.value, _placed(finding, name, content)) for record, finding in in_use]
        yield from _innermost(part, held)
    for _, finding in findings(_in_names(used, names)):
        yield "a file's name", finding._replace(line=None, column=None)


def _innermost(part: str, held: list[tuple[str, str, Finding]]) -> Iterator[tuple[str, Finding]]:
    """Yield (file, finding) of (file, value, finding), without what an archive only repeats of its files."""
    around = {(part, value) for name, value, _ in held if name != part}
    for name, value, _ in held:
        place = name.removesuffix(NAMES) + "/" * name.endswith(NAMES)
        around |= {(place[: cut.start()], value) for cut in re.finditer("/", place)}
    yield from ((name, finding) for name, value, finding in held if (name, value) not in around)


def _records(name: str, content: bytes) -> list[Record]:
    """Return the secrets of one file; of a binary one those that are known by their format alone."""
    if name.endswith(NAMES):
        return _by_rules_in_names(content.decode("utf-8", "replace").split("\n"), name)
    inside = b""
    if content.startswith(PNG):
        inside = content.partition(END_OF_PNG)[2]  # its text chunks are read as such, and its pixels by nobody
    elif is_binary(content):
        inside = content
    records = bytes_records(content, name) if inside is not content else []
    if inside:
        text = text_in(inside).decode("ascii", "replace")
        known = {record.value: record for record in text_records(text, name) if find(record.value)}
        records += [record._replace(line=None, column=None) for record in known.values()]
    return records


def _by_rules_in_names(names: list[str], where: str) -> list[Record]:
    """Return the secrets that the rules find in names of files and in the parts of these."""
    whole = [Piece("\n".join(names), None, "", where, exact=True)]
    parts = (Piece(part, None, "", where) for part in name_pieces(names))
    return list({record.value: record for record in scan_pieces([*whole, *parts])}.values())


def _in_names(used: Search, names: list[str]) -> list[Record]:
    """Return the secrets in the names of files."""
    records = _by_rules_in_names(names, "file names")
    return [*records, *_in_use(used, "file names", "\n".join(names).encode("utf-8", "surrogateescape"), records)]


def _in_use(used: Search, name: str, content: bytes, known: list[Record]) -> Iterator[Record]:
    """Yield the secrets in use that stand in a file, but for those that the rules have found there."""
    if content.startswith(PNG):
        content = b"\n".join([content, *(text.encode("utf-8", "replace") for text in decode.texts_of(content))])
    for hit in used.hits(content):
        if not any(hit.value in record.value or record.value in hit.value for record in known):
            yield _located(hit, name, content)


def _located(hit: Hit, name: str, content: bytes) -> Record:
    """Return a secret in use as a record, with its cell in a notebook and its line in a text."""
    what = (KIND, hit.name or "SECRET", hit.title, hit.value)
    document = decode.as_json(content.decode("utf-8", "replace")) if name.endswith(".ipynb") else None
    for piece in pieces(document) if isinstance(document, dict) else ():
        start = min((piece.text.find(form) for form in forms(hit.value) if form in piece.text), default=-1)
        if start >= 0:
            line = piece.text.count("\n", 0, start) + 1 if piece.exact else piece.line
            return Record(*what, piece.cell, piece.place, piece.where, line, None, piece.output)
    line = None if is_binary(content) or content.startswith(PNG) else content.count(b"\n", 0, hit.start) + 1
    return Record(*what, None, "", name, line, None, None)


def place(name: str, finding: Finding) -> str:
    """Return where a finding is, for people."""
    where = [] if finding.cell is None else [f"cell {finding.cell}"]
    where += [] if finding.line is None else [f"line {finding.line}"]
    where += [finding.place] if finding.place and finding.place != "source" else []
    return " ".join(where if finding.cell is not None else [name, *where])


def _placed(finding: Finding, name: str, content: bytes) -> Finding:
    """Give a finding in a packaged module the cell and line of the notebook that it was made from."""
    if not name.endswith(".py") or finding.cell is not None or finding.line is None or b"\n# cell " not in content:
        return finding
    text = content.decode("utf-8", "replace")
    for mark in reversed(list(CELL_MARK.finditer(text))):
        line = finding.line - text.count("\n", 0, mark.end())
        if line >= 1:
            return finding._replace(cell=int(mark[1]), line=line)
    return finding
