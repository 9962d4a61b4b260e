"""Take a notebook apart into texts as a person would read them, each with the place where it stands.

Image payloads and other encoded binary are no text; of a PNG its text chunks are. What decoding can add to any text
(escapes, base64, tags) is the business of scan.py, which does it for many texts at once.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

from plugins.lib.secrets import decode, fold

if TYPE_CHECKING:
    from collections.abc import Iterator

ENCODED_CHARS = 400  # a shorter value of a binary MIME type is looked at as text
MAX_BIG_PNG_CHARS = 64 * 1024**2
BINARY_TYPES = (
    "image/",
    "audio/",
    "video/",
    "font/",
    "application/pdf",
    "application/octet-stream",
    "png",
    "jpeg",
    "pdf",
)
TEXT_IMAGES = ("image/svg",)
KNOWN_TYPES = frozenset(
    {"text", "evalue", "ename", "traceback", "metadata", "text/plain", "text/html", "text/markdown", "text/latex"}
    | {"application/json", "application/javascript", "application/pdf", "application/geo+json"}
    | {f"image/{kind}" for kind in ("png", "jpeg", "gif", "svg+xml", "webp")}
    | {f"application/vnd.{kind}+json" for kind in ("plotly.v1", "jupyter.widget-view", "bokehjs_exec.v0", "vega.v5")}
)
SHORT_ID_CHARS = 12  # too short to be a token
CELL_KEYS = frozenset({"cell_type", "source", "input", "outputs", "metadata", "attachments", "id", "execution_count"})
OUTPUT_KEYS = frozenset({"output_type", "data", "traceback", "execution_count", "name"})
BIG_OVERLAP_CHARS = 4096


class Piece(NamedTuple):
    """A text and where it stands.

    `exact`: the text is the cell's source (or the file), so that offsets are lines and columns of it. Else `line` is
    the line of the source that it was derived from, None for what has no lines. `where` is for people.
    """

    text: str
    cell: int | None
    place: str
    where: str
    output: int | None = None
    line: int | None = None
    exact: bool = False


def joined(value: Any) -> str:
    """Return text that may be stored as a list of lines; what is no text is left out."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join([part for part in value if isinstance(part, str)])
    return ""


def _source(value: Any) -> tuple[str, str]:
    """Return a source as text, and what else is in it."""
    if isinstance(value, str):
        return value, ""
    if isinstance(value, list):
        try:
            return "".join(value), ""
        except TypeError:
            pass
    return joined(value), decode.leaves(value)


def _is_big(value: Any) -> bool:
    """Tell whether a value is a BigText (plugins/lib/prep/document.py)."""
    return hasattr(value, "chunks")


def _big_payload(value: Any) -> str:
    """Return the start of a huge base64 text, its windows put together again."""
    pieces: list[str] = []
    size = 0
    for chunk in value.chunks():
        pieces.append(chunk[min(size, BIG_OVERLAP_CHARS) :])
        size += len(pieces[-1])
        if size >= MAX_BIG_PNG_CHARS:
            break
    return "".join(pieces)


def _encoded_texts(value: str) -> Iterator[str]:
    """Yield what can be read of a value that should be base64."""
    flat = "".join(value.split()) if "\n" in value or " " in value or "\r" in value else value
    if len(flat) < ENCODED_CHARS or not flat[:ENCODED_CHARS].replace("+", "").replace("/", "").isalnum():
        yield value
    for text in decode.texts_in(flat):
        yield from _document_texts(text)


def _document_texts(text: str) -> Iterator[str]:
    """Yield a decoded text, and the leaves of the JSON document that it may be."""
    yield text
    document = decode.as_json(text)
    if isinstance(document, (dict, list)):
        yield decode.leaves(document)


def _value_texts(kind: str, value: Any) -> Iterator[str]:
    """Yield one MIME entry of an output or attachment as texts."""
    binary = kind.startswith(BINARY_TYPES) and not kind.startswith(TEXT_IMAGES)
    if isinstance(value, list):
        with contextlib.suppress(TypeError):
            value = "".join(value)
    if isinstance(value, str):
        yield from _encoded_texts(value) if binary else (decode.seen(value),)
    elif isinstance(value, (dict, list)):
        yield decode.leaves(value, kind if "/" not in kind else "")
    elif _is_big(value):
        yield from _encoded_texts(_big_payload(value)) if binary else map(decode.seen, value.chunks())


def _traceback(value: Any) -> str:
    """Return a traceback as text; its parts are lines without their ends."""
    return "\n".join(part for part in value if isinstance(part, str)) if isinstance(value, list) else joined(value)


def output_pieces(cell: int, number: int, output: Any) -> Iterator[Piece]:
    """Yield the texts of one output of any nbformat; keys that nobody knows are read as well."""
    if not isinstance(output, dict):
        yield Piece(decode.leaves(output), cell, "output", f"output {number}", number)
        return
    parts = [(str(kind), value) for kind, value in output.items() if kind not in OUTPUT_KEYS and value]
    if output.get("traceback"):
        big = output["traceback"]
        parts.append(("traceback", big if _is_big(big) else _traceback(big)))
    data = output.get("data")
    parts += [(str(kind), value) for kind, value in data.items()] if isinstance(data, dict) else [("data", data)]
    parts += [(key, output[key]) for key in ("name", "output_type") if len(str(output.get(key, ""))) > 16]
    for kind, value in parts:
        where = f"output {number} ({kind})" if kind in KNOWN_TYPES else f"output {number}"
        if kind not in KNOWN_TYPES and len(kind) > SHORT_ID_CHARS:  # a name may be a secret, and is not repeated
            yield Piece(kind, cell, "output", where, number)
        for text in _value_texts(kind, value):
            if text:
                yield Piece(text, cell, "output", where, number)


def _attachment_pieces(index: int, attachments: Any) -> Iterator[Piece]:
    if not isinstance(attachments, dict):
        yield Piece(decode.leaves(attachments), index, "attachment", "an attachment")
        return
    for name, bundle in attachments.items():
        yield Piece(str(name), index, "attachment", "the name of an attachment")
        for kind, value in bundle.items() if isinstance(bundle, dict) else [("", bundle)]:
            texts = [joined(value)] if not isinstance(value, dict) else [decode.leaves(value)]
            where = f"an attachment ({kind})" if kind in KNOWN_TYPES else "an attachment"
            if kind not in KNOWN_TYPES:
                yield Piece(str(kind), index, "attachment", where)
            encoded = [text for part in texts for text in _encoded_texts(part)]
            yield from (Piece(text, index, "attachment", where) for text in encoded if text)


def _cell_pieces(index: int, cell: Any) -> Iterator[Piece]:
    """Yield the texts of one cell; what has no place in a cell counts as metadata."""
    if not isinstance(cell, dict):
        yield Piece(decode.leaves(cell), index, "metadata", "the cell's metadata")
        return
    source, odd = _source(cell.get("source", cell.get("input")))
    if source:
        yield Piece(source, index, "source", "the source", exact=True)
    if odd:
        yield Piece(odd, index, "source", "the source")
    outputs = cell.get("outputs")
    for number, output in enumerate(outputs if isinstance(outputs, list) else [outputs] if outputs else (), 1):
        yield from output_pieces(index, number, output)
    if cell.get("attachments"):
        yield from _attachment_pieces(index, cell["attachments"])
    text = _rest(cell)
    if text:
        yield Piece(text, index, "metadata", "the cell's metadata")


def _rest(cell: dict[str, Any]) -> str:
    """Return the texts that a cell holds beside source, outputs and attachments."""
    rest = {} if cell.keys() <= CELL_KEYS else {key: cell[key] for key in cell if key not in CELL_KEYS}
    if cell.get("metadata"):
        rest["metadata"] = cell["metadata"]
    if "id" in cell and len(str(cell["id"])) > SHORT_ID_CHARS:
        rest["id"] = cell["id"]
    return decode.leaves(rest) if rest else ""


def cells_of(notebook: dict[str, Any]) -> list[Any]:
    """Return the cells of nbformat 4, or of all worksheets of older ones."""
    found = list(notebook["cells"]) if isinstance(notebook.get("cells"), list) else []
    sheets = notebook.get("worksheets")
    for sheet in sheets if isinstance(sheets, list) else ():
        if isinstance(sheet, dict) and isinstance(sheet.get("cells"), list):
            found += sheet["cells"]
    return found


def _sheet_rest(sheet: Any) -> Any:
    """Return what a worksheet holds beside its cells."""
    if isinstance(sheet, dict) and isinstance(sheet.get("cells"), list):
        return {key: value for key, value in sheet.items() if key != "cells"}
    return sheet


def pieces(notebook: dict[str, Any]) -> Iterator[Piece]:
    """Yield every text of the notebook that a reader could see, and the metadata."""
    rest = {key: value for key, value in notebook.items() if key != "cells" or not isinstance(value, list)}
    if isinstance(rest.get("worksheets"), list):
        rest["worksheets"] = [_sheet_rest(sheet) for sheet in rest["worksheets"]]
    text = decode.leaves(rest)
    if text:
        yield Piece(text, None, "notebook metadata", "the notebook's metadata")
    cells = cells_of(notebook)
    code: list[tuple[int | None, str]] = []
    for index, cell in enumerate(cells):
        for piece in _cell_pieces(index, cell):
            if piece.exact and cell.get("cell_type") == "code":
                code.append((index, piece.text))
            yield piece
    for built_cell, line, built in fold.folded(code):
        yield Piece(built, built_cell, "source", "the source", line=line)
