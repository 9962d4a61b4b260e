"""Keep what a notebook means and drop what editors and runs left in it.

An allowlist: metadata that nobody has named here goes, because every tool invents its own and some of it holds paths,
parameters and account names. What is dropped is reported once per key with its count. What the schema forbids and can
be mended without a guess is mended: tags, ids, an incomplete kernelspec, missing metadata.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from kagg import Finding, cell_source

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

PLUGIN = {"api": 1, "summary": "drop editor, run and widget metadata; mend cell ids", "requires": {}}

Rule = bool | frozenset[str]  # True keeps the value as it is, a set keeps these keys of an object

NOTEBOOK_KEYS: dict[str, Rule] = {
    "kernelspec": frozenset({"name", "display_name", "language"}),
    "language_info": frozenset(  # without the version, which is a fact about whoever ran it last
        {"name", "file_extension", "mimetype", "codemirror_mode", "pygments_lexer", "nbconvert_exporter"}
    ),
    "kaggle": True,  # accelerator, data sources, internet: a push needs them
    "accelerator": True,  # Colab's name for the same wish
    "colab": frozenset({"gpuType", "machine_shape", "toc_visible"}),
    "title": True,
    "authors": True,
    "jupytext": True,
    "jupyterbook": True,
    "rise": True,
    "livereveal": True,
    "celltoolbar": True,
    "keep_output": True,
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
    "cell_id": True,  # of grading and publishing tools, which find cells by it
    "lines_to_next_cell": True,  # jupytext
    "nbgrader": True,  # grades are found by these ids
    "_kg_hide-input": True,
    "_kg_hide-output": True,
    "jupyter": frozenset({"source_hidden"}),
}
# What the schema lets a notebook and a cell have; everything else at their own level goes as well.
TOP_KEYS = frozenset({"cells", "metadata", "nbformat", "nbformat_minor"})
PARTS = {
    "code": frozenset({"id", "cell_type", "metadata", "source", "outputs", "execution_count"}),
    "markdown": frozenset({"id", "cell_type", "metadata", "source", "attachments"}),
    "raw": frozenset({"id", "cell_type", "metadata", "source", "attachments"}),
}
RUN_PARTS = frozenset({"outputs", "execution_count"})  # of other cells than code: the business of the step outputs
CELL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")  # nbformat.v4.5.schema.json, cell_id
ATTACHMENT_LINK = re.compile(r"attachment:([^\s)\"'>\]]+)")


def add_arguments(group: argparse._ArgumentGroup, /) -> None:
    """Add the options about cell ids."""
    ids = group.add_mutually_exclusive_group()
    ids.add_argument("--keep-ids", action="store_true", help="keep cell ids, and mend bad ones (the default)")
    ids.add_argument("--drop-ids", action="store_true", help="remove cell ids, which makes it nbformat 4.4")


# ---------------------------------------------------------------- metadata


def _kept(value: Any, rule: Rule) -> Any:
    """Return what a rule leaves of a value, the same object when that is all of it; None when nothing is left."""
    if rule is True:
        return value
    if not isinstance(value, dict) or rule is False:
        return None
    if rule.issuperset(value):
        return value
    return {key: item for key, item in value.items() if key in rule} or None


def _clean_metadata(metadata: Any, keys: dict[str, Rule], dropped: Counter[str]) -> dict[str, Any]:
    """Return the allowed metadata, counting what was dropped; the same object when all of it is allowed."""
    if not isinstance(metadata, dict):
        return {}
    result: dict[str, Any] = {}
    for key, value in metadata.items():
        kept = _kept(value, keys.get(key, False))
        if kept is not None or (value is None and keys.get(key) is True):
            result[key] = kept
        if kept is not value and isinstance(value, dict) and isinstance(kept, dict):
            dropped.update(f"{key}.{name}" for name in value if name not in kept)
        elif key not in result:
            dropped[key] += 1
    unchanged = len(result) == len(metadata) and all(result[key] is metadata[key] for key in result)
    return metadata if unchanged else result


def _mended(metadata: dict[str, Any], findings: list[Finding]) -> dict[str, Any]:
    """Return notebook metadata whose kernelspec and language_info have what the schema asks for."""
    spec, language = metadata.get("kernelspec"), metadata.get("language_info")
    if isinstance(spec, dict) and not isinstance(spec.get("name"), str):
        findings.append(Finding("kernelspec", "note", "removed a kernelspec without a name"))
        metadata = {key: value for key, value in metadata.items() if key != "kernelspec"}
    elif isinstance(spec, dict) and not isinstance(spec.get("display_name"), str):
        findings.append(Finding("kernelspec", "note", "gave the kernelspec its name as display_name"))
        metadata = metadata | {"kernelspec": spec | {"display_name": spec["name"]}}
    if isinstance(language, dict) and not isinstance(language.get("name"), str):
        findings.append(Finding("language", "note", "removed a language_info without a name"))
        metadata = {key: value for key, value in metadata.items() if key != "language_info"}
    elif isinstance(language, dict):
        texts = {
            k: v for k, v in language.items() if isinstance(v, str) or (k == "codemirror_mode" and isinstance(v, dict))
        }
        if len(texts) < len(language):
            findings.append(Finding("language", "note", "removed what is no text from language_info"))
            metadata = metadata | {"language_info": texts}
    for key, kind in (("title", str), ("authors", list)):
        if key in metadata and not isinstance(metadata[key], kind):
            findings.append(Finding(key, "note", f"removed {key}: it is no {'text' if kind is str else 'list'}"))
            metadata = {name: value for name, value in metadata.items() if name != key}
    return metadata


def _clean_name(metadata: dict[str, Any], dropped: Counter[str]) -> dict[str, Any]:
    """Return cell metadata without a name that is no line of text."""
    name = metadata.get("name", "name")
    if isinstance(name, str) and re.fullmatch(r".+", name):
        return metadata
    dropped["name"] += 1
    return {key: value for key, value in metadata.items() if key != "name"}


def _clean_tags(metadata: dict[str, Any], index: int, findings: list[Finding]) -> dict[str, Any]:
    """Return cell metadata whose tags are a list of different words without commas."""
    if "tags" not in metadata:
        return metadata
    tags = metadata["tags"]
    fine = [tag for tag in tags if isinstance(tag, str) and tag and "," not in tag] if isinstance(tags, list) else []
    fine = list(dict.fromkeys(fine))
    if fine == tags:
        return metadata
    findings.append(Finding("tags", "note", "mended the tags: a list of different words, without commas", index))
    return metadata | {"tags": fine}


# ---------------------------------------------------------------- cells


def _clean_parts(cell: dict[str, Any], dropped: Counter[str]) -> dict[str, Any]:
    """Return a cell with the parts that its kind has, and no others."""
    kind = cell.get("cell_type")
    parts = PARTS.get(kind) if isinstance(kind, str) else None
    if parts is None:
        return cell
    if not parts.issuperset(cell) and (extra := [key for key in cell if key not in parts | RUN_PARTS]):
        dropped.update(f"{key} of a {kind} cell" for key in extra)
        cell = {key: value for key, value in cell.items() if key not in extra}
    return cell


def _clean_attachments(cell: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the cell with the attachments that its text shows, and the names of the others."""
    attachments = cell.get("attachments")
    if not isinstance(attachments, dict):
        return {key: value for key, value in cell.items() if key != "attachments"}, ["all"]
    links = ATTACHMENT_LINK.findall(cell_source(cell))
    named = {*links, *map(unquote, links)}
    shown = {name: item for name, item in attachments.items() if name in named}
    if shown and len(shown) == len(attachments):
        return cell, []
    rest = {key: value for key, value in cell.items() if key != "attachments"}
    return rest | ({"attachments": shown} if shown else {}), [name for name in attachments if name not in shown]


def _clean_counts(cell: dict[str, Any]) -> dict[str, Any]:
    """Return a code cell without execution counts, in itself and in outputs that stay."""
    outputs = cell.get("outputs")
    changes: dict[str, Any] = {}
    if cell.get("execution_count") is not None:
        changes["execution_count"] = None
    if isinstance(outputs, list) and any(_counted(output) for output in outputs):
        changes["outputs"] = [one | {"execution_count": None} if _counted(one) else one for one in outputs]
    return cell | changes if changes else cell


def _counted(output: Any) -> bool:
    """Tell whether an output has a count, or lacks the field where the schema asks for it."""
    if not isinstance(output, dict):
        return False
    return output.get("execution_count", 0 if output.get("output_type") == "execute_result" else None) is not None


def _clean_cell(cell: Any, index: int, dropped: Counter[str], findings: list[Finding]) -> Any:
    """Return one cell with allowed metadata, shown attachments and no counts."""
    if not isinstance(cell, dict):
        return cell
    before = cell.get("metadata")
    metadata = _clean_tags(_clean_metadata(before, CELL_KEYS, dropped), index, findings) if before != {} else before
    metadata = _clean_name(metadata, dropped)
    result = _clean_parts(cell if metadata is before else cell | {"metadata": metadata}, dropped)
    if cell.get("cell_type") == "code":
        if absent := [key for key in ("execution_count", "outputs") if key not in cell]:
            message = f"code cell without {' and '.join(absent)}; added"
            findings.append(Finding("invalid-cell", "note", message, index))
            result = {"execution_count": None, "outputs": []} | result
        result = _clean_counts(result)
    if "attachments" not in result:
        return result
    result, orphans = _clean_attachments(result)
    if orphans:
        message = f"removed {len(orphans)} attachments that the text does not show"
        findings.append(Finding("orphan-attachment", "note", message, index))
    return result


# ---------------------------------------------------------------- ids


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
    repeats: Counter[bytes] = Counter()
    for index in needy:
        text = f"{cells[index].get('cell_type')}\0{cell_source(cells[index])}".encode("utf-8", "surrogatepass")
        digest = hashlib.sha256(text).digest()
        while (name := hashlib.sha256(b"%d\0%s" % (repeats[digest], digest)).hexdigest()[:8]) in used:
            repeats[digest] += 1
        used.add(name)
        yield index, name


def _clean_ids(notebook: dict[str, Any], cells: list[Any], findings: list[Finding]) -> list[Any]:
    """Give every cell of nbformat 4.5 a valid id; take away ids that an older format forbids."""
    minor = notebook.get("nbformat_minor", 0)
    if not isinstance(minor, int) or not all(isinstance(cell, dict) for cell in cells):
        return cells
    if minor < 5:
        count = sum("id" in cell for cell in cells)
        if not count:
            return cells
        message = f"removed the id of {count} cells: ids came with nbformat 4.5 and this is 4.{minor}"
        findings.append(Finding("cell-id", "note", message))
        return [{key: value for key, value in cell.items() if key != "id"} if "id" in cell else cell for cell in cells]
    fresh = dict(_new_ids(cells))
    if not fresh:
        return cells
    message = f"gave {len(fresh)} cells an id made from their text: it was missing, malformed or used twice"
    findings.append(Finding("cell-id", "note", message))
    return [cell | {"id": fresh[index]} if index in fresh else cell for index, cell in enumerate(cells)]


def _with_minor(notebook: dict[str, Any], options: Mapping[str, Any], findings: list[Finding]) -> dict[str, Any]:
    """Return the notebook with a minor version that suits its cell ids."""
    minor, cells = notebook.get("nbformat_minor"), notebook.get("cells")
    if minor is None and "nbformat" in notebook and isinstance(cells, list):
        minor = 5 if cells and all(isinstance(cell, dict) and "id" in cell for cell in cells) else 4
        findings.append(Finding("format", "note", f"it named no minor version; taken as nbformat 4.{minor}"))
        notebook = notebook | {"nbformat_minor": minor}
    if options.get("drop_ids") and isinstance(minor, int) and minor >= 5:
        findings.append(Finding("format", "note", "nbformat 4.4 in place of 4.5, for want of cell ids"))
        notebook = notebook | {"nbformat_minor": 4}
    return notebook


# ---------------------------------------------------------------- the step


def _report(where: str, dropped: Counter[str]) -> Iterator[Finding]:
    """Yield one note about everything that was dropped."""
    if dropped:
        names = ", ".join(f"{name} ({count})" if count > 1 else name for name, count in sorted(dropped.items()))
        yield Finding("metadata", "note", f"removed {where} metadata: {names}")


def apply(notebook: dict[str, Any], options: Mapping[str, Any], /) -> tuple[dict[str, Any], list[Finding]]:
    """Return the notebook with the metadata that has a meaning, valid cell ids, no counts and no orphan attachments.

    Sources, outputs and cell order stay. What needs no change is returned as the same object.
    """
    findings: list[Finding] = []
    of_notebook: Counter[str] = Counter()
    of_cells: Counter[str] = Counter()
    result = _with_minor(notebook, options, findings)
    metadata = _mended(_clean_metadata(notebook.get("metadata"), NOTEBOOK_KEYS, of_notebook), findings)
    if metadata is not notebook.get("metadata"):
        result = result | {"metadata": metadata}
    extra = [key for key in notebook if key not in TOP_KEYS] if notebook.get("nbformat") == 4 else []
    if extra:
        of_notebook.update(f"{key} beside the cells" for key in extra)
        result = {key: value for key, value in result.items() if key not in extra}
    cells = notebook.get("cells")
    if isinstance(cells, list):
        cleaned = [_clean_cell(cell, index, of_cells, findings) for index, cell in enumerate(cells)]
        cleaned = _clean_ids(result, cleaned, findings)
        if any(new is not old for new, old in zip(cleaned, cells, strict=True)):
            result = result | {"cells": cleaned}
    return result, [*_report("notebook", of_notebook), *_report("cell", of_cells), *findings]
