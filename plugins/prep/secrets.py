"""Find credentials in a notebook: its sources, its text outputs and its metadata. Changes nothing.

Text is searched as a person would read it: without terminal colours, HTML tags and escapes; image payloads never. A
line that holds `pragma: allowlist secret` or `gitleaks:allow` is skipped, and with `pragma: allowlist nextline secret`
the one after it. No message holds more of a secret than its first four characters. The formats: lib/secret_rules.py.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import Finding
from plugins.lib import secret_rules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kagg import Context

PLUGIN = {"api": 1, "summary": "find credentials in sources, outputs and metadata", "requires": {}}

MASK_CHARS = 4
ALLOWED = re.compile(r"pragma: ?(?:allow|white)list secret|gitleaks:allow", re.IGNORECASE)
NEXT_ALLOWED = re.compile(r"pragma: ?(?:allow|white)list nextline secret", re.IGNORECASE)
ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
HTML_TAG = re.compile(r"<[^<>]{1,2000}>")
DATA_URI = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,[A-Za-z0-9+/=]+")
PAYLOAD = re.compile(r"(?<![\w+/=-])(?!eyJ)[A-Za-z0-9+/]{400,}={0,2}")  # encoded data, not a token
PAYLOAD_TYPES = ("image/png", "image/jpeg", "image/gif", "application/pdf", "audio/", "video/")
OUTPUT_KEYS = ("text", "html", "latex", "json", "javascript", "evalue", "traceback")  # the last two and nbformat 3


class Piece(NamedTuple):
    """A text of the notebook and where it stands."""

    cell: int | None
    place: str
    text: str


def _joined(value: Any) -> str:
    """Return text that may be stored as lines."""
    if isinstance(value, list):
        return "".join(part for part in value if isinstance(part, str))
    return value if isinstance(value, str) else ""


def _leaves(value: Any, key: str = "") -> Iterator[str]:
    """Yield each text of a JSON value as `"key": "text"`, so that the rules for assignments see its name."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, str(name))
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, key)
    elif isinstance(value, str):
        yield f'"{key}": "{value}"'


def _readings(kind: str, value: Any) -> Iterator[str]:
    """Yield one MIME entry of an output as text; HTML with its attributes and also as a browser shows it."""
    if kind.startswith(PAYLOAD_TYPES):
        return
    if isinstance(value, dict):
        yield "\n".join(_leaves(value))
        return
    text = ANSI.sub("", _joined(value))
    if "html" not in kind:
        yield text
        return
    yield html.unescape(text)
    yield html.unescape(HTML_TAG.sub("", text))


def _output_texts(output: dict[str, Any]) -> Iterator[str]:
    """Yield the texts of one output of nbformat 3 or 4."""
    for key in OUTPUT_KEYS:
        value = output.get(key)
        if key == "traceback" and isinstance(value, list):
            value = [f"{line}\n" for line in value]
        if value:
            yield from _readings(key, value)
    data = output.get("data")
    for kind, value in data.items() if isinstance(data, dict) else ():
        yield from _readings(str(kind), value)


def _cells(notebook: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the cells of nbformat 4, or of all worksheets of nbformat 3, with their number."""
    lists = [notebook.get("cells")]
    sheets = notebook.get("worksheets")
    lists += [sheet.get("cells") for sheet in sheets if isinstance(sheet, dict)] if isinstance(sheets, list) else []
    cells = [cell for cells in lists if isinstance(cells, list) for cell in cells]
    for index, cell in enumerate(cells):
        if isinstance(cell, dict):
            yield index, cell


def pieces(notebook: dict[str, Any]) -> Iterator[Piece]:
    """Yield every text of the notebook that a reader could see, and the metadata."""
    yield Piece(None, "the notebook's metadata", "\n".join(_leaves(notebook.get("metadata"))))
    for index, cell in _cells(notebook):
        yield Piece(index, "the source", _joined(cell.get("source", cell.get("input"))))
        if cell.get("metadata"):
            yield Piece(index, "the cell's metadata", "\n".join(_leaves(cell["metadata"])))
        outputs = cell.get("outputs")
        for output in outputs if isinstance(outputs, list) else ():
            if isinstance(output, dict):
                yield from (Piece(index, "an output", text) for text in _output_texts(output))


def mask(value: str) -> str:
    """Return enough of a secret to recognise it and too little to use it."""
    return f"{value[: min(MASK_CHARS, len(value) // 4)]}… ({len(value)} characters)"


def _is_allowed(text: str, position: int) -> bool:
    """Tell whether the author marked the line, or the line before it, as harmless."""
    begin = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    line = text[begin : end if end >= 0 else len(text)]
    before = text[text.rfind("\n", 0, max(0, begin - 1)) + 1 : begin] if begin else ""
    return bool(ALLOWED.search(line) or NEXT_ALLOWED.search(before))


def _scan(piece: Piece) -> Iterator[tuple[str, Finding]]:
    """Yield (secret, finding) for one text."""
    text = PAYLOAD.sub("", DATA_URI.sub("", piece.text))
    for match in secret_rules.find(text):
        if _is_allowed(text, match.start):
            continue
        line = text.count("\n", 0, match.start) + 1 if piece.place == "the source" else None
        message = f"{match.kind} in {piece.place}: {mask(match.value)}"
        fix = (
            f'revoke it, then read it with UserSecretsClient().get_secret("{match.name}") on Kaggle'
            f' or os.environ["{match.name}"]'
        )
        yield match.value, Finding(match.kind, "error", message, piece.cell, line, fix)


def apply(notebook: dict[str, Any], ctx: Context, /) -> tuple[dict[str, Any], list[Finding]]:
    """Return the notebook as it is, and one finding per secret, cell, place and line."""
    del ctx
    seen: set[tuple[str, str, int | None, int | None]] = set()
    findings = []
    for piece in pieces(notebook):
        for secret, finding in _scan(piece):
            key = (secret, piece.place, finding.cell, finding.line)
            if key not in seen:
                seen.add(key)
                findings.append(finding)
    return notebook, findings
