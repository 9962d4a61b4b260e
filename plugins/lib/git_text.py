"""Show a notebook as text for `git diff`: what the filter would store, one titled block for each cell."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from kagg import KaggError, cell_source, shared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kagg import Context
    from plugins.lib.git_filter import Policy

PLUGIN = {"api": 1, "summary": "notebooks as text for git diff", "requires": {}}

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
SHOWN_BYTES = 200_000  # of one output: a longer one is named by its digest


def readable(ctx: Context, policy: Policy, content: bytes, name: str) -> bytes:
    """Return the text of a notebook; what is no notebook comes back as it is."""
    try:
        cleaned, _ = shared("prep.steps").clean_bytes(ctx, content, name, ("clean", "outputs"), policy.options)
        notebook = shared("prep.document").load(cleaned, name).notebook
        lines = [*_head(notebook), *(line for cell in notebook["cells"] for line in _cell(cell))]
    except KaggError:
        return content
    except Exception as error:  # noqa: BLE001 - git ends a whole diff, or log, when one file has no text
        ctx.say(f"kagg: {name} cannot be shown as text (bug: {type(error).__name__})")
        return content
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def _head(notebook: dict[str, Any]) -> Iterator[str]:
    yield f"%% notebook nbformat={notebook.get('nbformat')}.{notebook.get('nbformat_minor', 0)}"
    for key, value in notebook.get("metadata", {}).items():
        yield _plain(f"{key}: {_short_json(value)}")
    yield ""


def _cell(cell: dict[str, Any]) -> Iterator[str]:
    """Yield a title with the cell's type, id and metadata, its source, and what outputs are left."""
    words = [f"%% {cell['cell_type']}", *([f"id={cell['id']}"] if "id" in cell else [])]
    words += [f"{key}={_short_json(value)}" for key, value in cell.get("metadata", {}).items()]
    yield _plain(" ".join(words))
    yield from _plain(cell_source(cell)).split("\n")
    for name, item in _objects(cell.get("attachments")):
        yield _plain(f">> attachment {name} {_digest(item)}")
    for output in cell.get("outputs", []):
        yield from _output(output)
    yield ""


def _output(output: dict[str, Any]) -> Iterator[str]:
    """Yield an output: text as text, everything else by size and digest."""
    kind = output.get("output_type")
    parts = [*_objects(output.get("data")), *([("text", output["text"])] if "text" in output else [])]
    if kind == "error":
        parts.append((f"{output.get('ename')}: {output.get('evalue')}", output.get("traceback", [])))
    for name, value in parts:
        yield _plain(f">> {kind} {name}")
        if name.startswith("text") or kind == "error":
            text = cell_source({"source": value}) if isinstance(value, str | list) else ""
            if text and len(text) <= SHOWN_BYTES:
                joined = "\n".join(map(str, value)) if kind == "error" and isinstance(value, list) else text
                yield from (f">  {line}" for line in _plain(joined).split("\n"))
                continue
        yield f">  {_digest(value)}"


def _objects(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def _digest(value: Any) -> str:
    """Return size and digest of a value, also of one that is too large to be decoded at once."""
    pieces = value.chunks() if hasattr(value, "chunks") else [_short_json(value, limit=0)]
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        data = piece.encode("utf-8", "surrogatepass")
        digest.update(data)
        size += len(data)
    size = value.size_bytes if hasattr(value, "size_bytes") else size
    return f"{size} bytes sha256:{digest.hexdigest()[:12]}"


def _short_json(value: Any, limit: int = 2000) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return text if not limit or len(text) <= limit else f"{text[:limit]}... {_digest(value)}"


def _plain(text: str) -> str:
    """Return text without what could steer a terminal."""
    text = COLOURS.sub("", text).replace("\r\n", "\n")
    return CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
