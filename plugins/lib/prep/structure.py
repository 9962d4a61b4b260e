"""What a notebook must have so that steps can work on it without harm, and older formats made into version 4."""

from __future__ import annotations

import json
from typing import Any

from kagg import bad_input, need_packages, redact
from plugins.lib.prep.document import NEWEST_MINOR

CELL_TYPES = frozenset({"code", "markdown", "raw"})


def structure_fault(notebook: dict[str, Any]) -> str:
    """Return in a few words what is wrong with a notebook of version 4 that no step can mend, "" when nothing is."""
    cells, minor = notebook.get("cells"), notebook.get("nbformat_minor", 0)
    if type(minor) is not int or minor < 0:
        return f"its nbformat_minor is {_shown(minor)}"
    if minor > NEWEST_MINOR:
        return f"nbformat 4.{minor} is newer than 4.{NEWEST_MINOR}, the newest that is known here"
    if not isinstance(cells, list):
        return "it has no list of cells"
    if not isinstance(notebook.get("metadata", {}), dict):
        return "its metadata is no object"
    for name in ("kernelspec", "language_info"):
        if not isinstance(notebook.get("metadata", {}).get(name, {}), dict):
            return f"metadata.{name} is no object"
    return next((f"cell {index} {fault}" for index, cell in enumerate(cells) if (fault := _cell_fault(cell))), "")


def _cell_fault(cell: Any) -> str:
    if not isinstance(cell, dict):
        return "is no object"
    if not isinstance(cell.get("cell_type"), str) or cell["cell_type"] not in CELL_TYPES:
        return f"has the cell_type {_shown(cell.get('cell_type'))}"
    source = cell.get("source")
    if not isinstance(source, str) and not (isinstance(source, list) and all(isinstance(line, str) for line in source)):
        return "has a source that is neither text nor lines of text" if "source" in cell else "has no source"
    if not isinstance(cell.get("metadata", {}), dict):
        return "has metadata that is no object"
    outputs = cell.get("outputs", [])
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        return "has outputs that are no list of objects"
    return ""


def _shown(value: Any) -> str:
    """Return a short text for a value that somebody else chose."""
    text = redact(json.dumps(value))
    return text if len(text) <= 30 else text[:30] + "..."


def upgraded(found: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a notebook of version 2 or 3 as 4.4, the same for the same file.

    Raises:
        KaggError: USAGE when it cannot be converted, MISSING without nbformat.
    """
    need_packages("notebooks of version 2 and 3", {"nbformat": "nbformat>=5.10"})
    import nbformat

    try:
        text = json.dumps(found)
        converted: dict[str, Any] = json.loads(json.dumps(nbformat.convert(nbformat.reader.reads(text), 4)))
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        UnboundLocalError,
        AssertionError,
        nbformat.ValidationError,
    ) as error:
        words = f"{type(error).__name__}: {' '.join(str(error).split())[:80]}"
        raise bad_input(f"{name} has nbformat {found['nbformat']} and cannot be converted: {words}") from error
    for cell in converted["cells"]:
        cell.pop("id", None)  # drawn by lot, and only of 4.5
    converted["nbformat_minor"] = 4
    converted["metadata"].pop("orig_nbformat", None)
    return converted


def canonical(notebook: dict[str, Any], name: str) -> bytes:
    """Return the bytes that Jupyter would write: indent 1, sorted keys, texts as lists of lines.

    Raises:
        KaggError: USAGE when it holds an output so large that it was not decoded, MISSING without nbformat.
    """
    need_packages("--canonical", {"nbformat": "nbformat>=5.10"})
    from nbformat import from_dict
    from nbformat.v4 import writes

    from plugins.lib.prep.splice import has_big

    if any(has_big(cell.get("outputs")) for cell in notebook["cells"]):
        raise bad_input(f"{name} has outputs too large for --canonical", "strip them as well")
    try:
        text = str(writes(from_dict(notebook))) + "\n"
    except (AttributeError, TypeError, LookupError, ValueError, RecursionError) as error:  # odd outputs, deep nesting
        raise bad_input(
            f"{name} cannot be written as Jupyter does: {type(error).__name__}", "leave --canonical out"
        ) from error
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which only escapes can carry
        return (json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n").encode()
