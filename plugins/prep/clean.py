"""Keep what a notebook means and drop what editors and runs left in it.

An allowlist: metadata that nobody has named here goes, because every tool invents its own and some of it holds paths,
parameters and account names. What is dropped is reported once per key with its count.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from kagg import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kagg import Context

PLUGIN = {"api": 1, "summary": "drop editor, run and widget metadata; mend cell ids", "requires": {}}

Rule = bool | frozenset[str]  # True keeps the value as it is, a set keeps these keys of an object

NOTEBOOK_KEYS: dict[str, Rule] = {
    "kernelspec": frozenset({"name", "display_name", "language"}),
    "language_info": frozenset(  # without the version, which is a fact about whoever ran it last
        {"name", "file_extension", "mimetype", "codemirror_mode", "pygments_lexer", "nbconvert_exporter"}
    ),
    "kaggle": True,  # accelerator, data sources, internet: a push needs them
    "accelerator": True,  # Colab's name for the same wish
    "title": True,
    "authors": True,
    "jupytext": True,
    "rise": True,
    "livereveal": True,
    "keep_output": True,
    "name": True,  # required in nbformat 2 and 3
}
CELL_KEYS: dict[str, Rule] = {
    "tags": True,
    "name": True,
    "slideshow": True,
    "format": True,
    "raw_mimetype": True,
    "editable": True,
    "deletable": True,
    "init_cell": True,
    "keep_output": True,
    "hide_input": True,
    "cellView": True,
    "lines_to_next_cell": True,  # jupytext
    "nbgrader": True,  # grades are found by these ids
    "_kg_hide-input": True,
    "_kg_hide-output": True,
    "jupyter": frozenset({"source_hidden"}),
}
CELL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")  # nbformat.v4.5.schema.json, cell_id
ATTACHMENT_LINK = re.compile(r"attachment:([^\s)\"'>\]]+)")


def _kept(value: Any, rule: Rule) -> Any:
    """Return what a rule leaves of a value; None when nothing is left."""
    if rule is True:
        return value
    if not isinstance(value, dict) or rule is False:
        return None
    return {key: item for key, item in value.items() if key in rule} or None


def _clean_metadata(metadata: Any, keys: dict[str, Rule], dropped: Counter[str]) -> dict[str, Any]:
    """Return the allowed metadata, counting what was dropped."""
    result: dict[str, Any] = {}
    for key, value in metadata.items() if isinstance(metadata, dict) else ():
        kept = _kept(value, keys.get(key, False))
        if kept is not None or (value is None and keys.get(key) is True):
            result[key] = kept
        if isinstance(value, dict) and isinstance(kept, dict):
            dropped.update(f"{key}.{name}" for name in value if name not in kept)
        elif key not in result:
            dropped[key] += 1
    return result


def _source(cell: dict[str, Any]) -> str:
    """Return the text of a cell, whether it is stored as one string or as lines."""
    source = cell.get("source", "")
    if isinstance(source, list):
        return "".join(part for part in source if isinstance(part, str))
    return source if isinstance(source, str) else ""


def _clean_attachments(cell: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the cell with the attachments that its text shows, and the names of the others."""
    attachments = cell.get("attachments")
    if not isinstance(attachments, dict):
        return cell, []
    links = ATTACHMENT_LINK.findall(_source(cell))
    shown = {name: item for name, item in attachments.items() if name in links or name in map(unquote, links)}
    if shown and len(shown) == len(attachments):
        return cell, []
    rest = {key: value for key, value in cell.items() if key != "attachments"}
    return rest | ({"attachments": shown} if shown else {}), [name for name in attachments if name not in shown]


def _new_ids(cells: list[Any]) -> Iterator[tuple[int, str]]:
    """Yield (index, id) for cells whose id is missing, malformed or taken: the same for the same notebook, always."""
    used: set[str] = set()
    needy = []
    for index, cell in enumerate(cells):
        name = cell.get("id")
        if isinstance(name, str) and CELL_ID.fullmatch(name) and name not in used:
            used.add(name)
        else:
            needy.append(index)
    for index in needy:
        text = f"{cells[index].get('cell_type')}\0{_source(cells[index])}".encode("utf-8", "surrogatepass")
        repeat = 0
        while (name := hashlib.sha256(b"%d\0%s" % (repeat, text)).hexdigest()[:8]) in used:
            repeat += 1
        used.add(name)
        yield index, name


def _clean_ids(notebook: dict[str, Any], cells: list[Any], findings: list[Finding]) -> list[Any]:
    """Give every cell of nbformat 4.5 a valid id; take away ids that an older format forbids."""
    minor = notebook.get("nbformat_minor", 0)
    objects = [cell for cell in cells if isinstance(cell, dict)]
    if len(objects) != len(cells) or not isinstance(minor, int):
        return cells
    if minor < 5:
        count = sum("id" in cell for cell in cells)
        if count:
            message = f"removed the id of {count} cells: ids came with nbformat 4.5 and this is 4.{minor}"
            findings.append(Finding("cell-id", "note", message))
        return [{key: value for key, value in cell.items() if key != "id"} if "id" in cell else cell for cell in cells]
    fresh = dict(_new_ids(cells))
    if fresh:
        message = f"gave {len(fresh)} cells an id made from their text: it was missing, malformed or used twice"
        findings.append(Finding("cell-id", "note", message))
    return [cell | {"id": fresh[index]} if index in fresh else cell for index, cell in enumerate(cells)]


def _clean_cell(cell: Any, index: int, dropped: Counter[str], findings: list[Finding]) -> Any:
    """Return one cell with allowed metadata and shown attachments."""
    if not isinstance(cell, dict):
        return cell
    result = cell | {"metadata": _clean_metadata(cell.get("metadata"), CELL_KEYS, dropped)}
    result, orphans = _clean_attachments(result)
    if orphans:
        message = f"removed {len(orphans)} attachments that the text does not show"
        findings.append(Finding("orphan-attachment", "note", message, index))
    return result


def _report(where: str, dropped: Counter[str]) -> Iterator[Finding]:
    """Yield one note about everything that was dropped."""
    if dropped:
        names = ", ".join(f"{name} ({count})" if count > 1 else name for name, count in sorted(dropped.items()))
        yield Finding("metadata", "note", f"removed {where} metadata: {names}")


def apply(notebook: dict[str, Any], ctx: Context, /) -> tuple[dict[str, Any], list[Finding]]:
    """Return the notebook with the metadata that has a meaning, valid cell ids and no orphan attachments.

    Sources, outputs and cell order stay. nbformat 4; of older versions only the notebook's metadata is cleaned.
    """
    del ctx
    findings: list[Finding] = []
    of_notebook: Counter[str] = Counter()
    of_cells: Counter[str] = Counter()
    result = notebook | {"metadata": _clean_metadata(notebook.get("metadata"), NOTEBOOK_KEYS, of_notebook)}
    cells = notebook.get("cells")
    if isinstance(cells, list):
        cleaned = [_clean_cell(cell, index, of_cells, findings) for index, cell in enumerate(cells)]
        result["cells"] = _clean_ids(notebook, cleaned, findings)
    return result, [*_report("notebook", of_notebook), *_report("cell", of_cells), *findings]
