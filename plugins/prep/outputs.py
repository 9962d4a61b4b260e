"""Drop what the last run left in a notebook: outputs and execution counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kagg import Finding

if TYPE_CHECKING:
    from kagg import Context

PLUGIN = {"api": 1, "summary": "drop outputs and execution counts", "requires": {}}

KEEP_TAGS = frozenset({"keep_output", "keep-output"})  # nbstripout's tag, and how people misspell it
CELL_KINDS = frozenset({"code", "markdown", "raw", "heading"})


def _keeps_output(cell: dict[str, Any]) -> bool:
    """Tell whether the author asked for the outputs to stay, by a tag or as nbstripout's metadata flag."""
    metadata = cell.get("metadata")
    if not isinstance(metadata, dict):
        return False
    tags = metadata.get("tags")
    named = isinstance(tags, list) and any(isinstance(tag, str) and tag in KEEP_TAGS for tag in tags)
    return named or metadata.get("keep_output") is True


def _strip_code(cell: dict[str, Any], *, old: bool) -> dict[str, Any]:
    """Return a code cell as if it had never run; the key order stays, so that the file's diff stays small."""
    if old:  # nbformat 3 calls the count prompt_number and may do without it
        return {key: value for key, value in cell.items() if key != "prompt_number"} | {"outputs": []}
    return cell | {"execution_count": None, "outputs": []}


def _strip_cell(cell: Any, index: int, findings: list[Finding], *, old: bool, keep: bool) -> Any:
    """Return the cell without outputs; mend what the schema forbids and say so."""
    if not isinstance(cell, dict) or cell.get("cell_type") not in CELL_KINDS:
        return cell
    if cell["cell_type"] == "code":
        if "outputs" not in cell:
            findings.append(Finding("invalid-cell", "note", "code cell without outputs; added an empty list", index))
        elif keep or _keeps_output(cell):
            return cell
        return _strip_code(cell, old=old)
    extra = [key for key in ("outputs", "execution_count") if key in cell]
    if not extra:
        return cell
    message = f"{cell['cell_type']} cell with {' and '.join(extra)}, which only code cells may have; removed"
    findings.append(Finding("invalid-cell", "note", message, index))
    return {key: value for key, value in cell.items() if key not in extra}


def apply(notebook: dict[str, Any], ctx: Context, /) -> tuple[dict[str, Any], list[Finding]]:
    """Return the notebook without outputs and execution counts, except in cells tagged `keep_output`.

    Works on nbformat 4, and on the worksheets of version 3. Kaggle's Markdown cells with outputs become valid.
    """
    del ctx
    findings: list[Finding] = []
    metadata = notebook.get("metadata")
    keep = isinstance(metadata, dict) and metadata.get("keep_output") is True

    def strip(cells: Any, *, old: bool) -> Any:
        if not isinstance(cells, list):
            return cells
        return [_strip_cell(cell, index, findings, old=old, keep=keep) for index, cell in enumerate(cells)]

    result = dict(notebook)
    if "cells" in notebook:
        result["cells"] = strip(notebook["cells"], old=False)
    sheets = notebook.get("worksheets")
    if isinstance(sheets, list):
        result["worksheets"] = [s | {"cells": strip(s["cells"], old=True)} if _has_cells(s) else s for s in sheets]
    return result, findings


def _has_cells(sheet: Any) -> bool:
    """Tell whether this is a worksheet of nbformat 3."""
    return isinstance(sheet, dict) and isinstance(sheet.get("cells"), list)
