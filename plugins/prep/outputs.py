"""Drop what the last run left in a notebook: outputs and execution counts."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from kagg import Finding, bad_input
from plugins.lib.prep.document import BigText

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

PLUGIN = {"api": 1, "summary": "drop outputs and execution counts", "requires": {}}

KEEP_TAGS = frozenset({"keep_output", "keep-output"})  # nbstripout's tag, and how people misspell it
_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1000, "kib": 1024, "m": 10**6, "mb": 10**6, "mib": 1024**2}


def add_arguments(group: argparse._ArgumentGroup, /) -> None:
    """Add the options about outputs."""
    group.add_argument("--keep-outputs", action="store_true", help="leave outputs where they are")
    group.add_argument("--keep-tag", action="append", metavar="TAG",
                       help="keep the outputs of cells with this tag, too (always: keep_output)")  # fmt: skip
    size_help = "keep outputs up to this size, for example 100kB"
    group.add_argument("--max-output-size", metavar="SIZE", type=parse_size, help=size_help)
    errors = group.add_mutually_exclusive_group()
    errors.add_argument("--drop-error-outputs", action="store_true", help="drop tracebacks even where outputs stay")
    errors.add_argument("--refuse-error-outputs", action="store_true",
                        help="leave a notebook with a traceback as it is, and exit 3")  # fmt: skip


def parse_size(text: str) -> int:
    """Return bytes of "100kB", "1.5MiB" or "4096"."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if not match or match[2] not in _UNITS:
        raise bad_input(f"{text!r} is not a size", "write 4096, 100kB or 1MiB")
    return int(float(match[1]) * _UNITS[match[2]])


class _Policy:
    """Which outputs stay."""

    def __init__(self, notebook: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        metadata = notebook.get("metadata")
        asked = isinstance(metadata, dict) and metadata.get("keep_output") is True
        self.keep_all = bool(options.get("keep_outputs")) or asked
        self.tags = KEEP_TAGS | frozenset(options.get("keep_tag") or ())
        size = options.get("max_output_size")
        self.max_bytes = -1 if size is None else parse_size(str(size))
        self.drop_errors = bool(options.get("drop_error_outputs"))

    def keeps_cell(self, cell: dict[str, Any]) -> bool:
        """Tell whether the author asked for the outputs to stay, by a tag or as nbstripout's metadata flag."""
        metadata = cell.get("metadata")
        if self.keep_all or not isinstance(metadata, dict):
            return self.keep_all
        tags = metadata.get("tags")
        named = isinstance(tags, list) and any(isinstance(tag, str) and tag in self.tags for tag in tags)
        return named or metadata.get("keep_output") is True

    def kept(self, cell: dict[str, Any], outputs: list[Any]) -> list[Any]:
        """Return the outputs that stay, the same list when all do."""
        if self.keeps_cell(cell):
            stay = [one for one in outputs if not (self.drop_errors and _is_error(one))]
        elif self.max_bytes < 0:
            stay = []
        else:
            stay = [one for one in outputs if not (self.drop_errors and _is_error(one)) and self._fits(one)]
        return outputs if len(stay) == len(outputs) else stay

    def _fits(self, output: Any) -> bool:
        try:
            return size_bytes(output) <= self.max_bytes
        except RecursionError:  # nothing that deep is small
            return False


def size_bytes(value: Any) -> int:
    """Return how many bytes a value takes as compact JSON."""
    if isinstance(value, BigText):
        return value.size_bytes
    if isinstance(value, dict):
        return sum(size_bytes(key) + size_bytes(item) + 2 for key, item in value.items()) + 2
    if isinstance(value, list):
        return sum(size_bytes(item) + 1 for item in value) + 2
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _is_error(output: Any) -> bool:
    return isinstance(output, dict) and output.get("output_type") in ("error", "pyerr")


def _is_expected(cell: dict[str, Any]) -> bool:
    """Tell whether the cell is tagged as one that raises, as nbclient knows it."""
    metadata = cell.get("metadata")
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    return isinstance(tags, list) and "raises-exception" in tags


def _strip_code(cell: dict[str, Any], index: int, policy: _Policy, findings: list[Finding]) -> dict[str, Any]:
    """Return a code cell as if it had never run; the key order stays, so that the file's diff stays small."""
    outputs = cell.get("outputs")
    changes: dict[str, Any] = {}
    if not isinstance(outputs, list):
        findings.append(Finding("invalid-cell", "note", "code cell without outputs; added an empty list", index))
        outputs = changes["outputs"] = []
    kept = policy.kept(cell, outputs)
    if kept is not outputs:
        changes["outputs"] = kept
    if "execution_count" not in cell or (cell["execution_count"] is not None and not policy.keeps_cell(cell)):
        changes["execution_count"] = None
    return cell | changes if changes else cell


def _strip_cell(cell: Any, index: int, policy: _Policy, findings: list[Finding]) -> Any:
    """Return the cell without outputs; mend what the schema forbids and say so."""
    if not isinstance(cell, dict):
        return cell
    kind = cell.get("cell_type")
    if kind == "code":
        return _strip_code(cell, index, policy, findings)
    extra = [key for key in ("outputs", "execution_count") if key in cell] if kind in ("markdown", "raw") else []
    if not extra:
        return cell
    message = f"{kind} cell with {' and '.join(extra)}, which only code cells may have; removed"
    findings.append(Finding("invalid-cell", "note", message, index))
    return {key: value for key, value in cell.items() if key not in extra}


def _refusals(cells: list[Any]) -> list[Finding]:
    """Return an error for every traceback that no tag announces."""
    found = []
    for index, cell in enumerate(cells):
        outputs = cell.get("outputs") if isinstance(cell, dict) and not _is_expected(cell) else None
        for output in outputs if isinstance(outputs, list) else ():
            if _is_error(output):
                message = f"the cell ended with {str(output.get('ename') or 'an error')[:60]}"
                fix = "mend the cell and run it again, or tag it raises-exception"
                found.append(Finding("error-output", "error", message, index, None, fix, "output"))
    return found


def apply(notebook: dict[str, Any], options: Mapping[str, Any], /) -> tuple[dict[str, Any], list[Finding]]:
    """Return the notebook without outputs and execution counts, except what the options and tags keep.

    Kaggle's Markdown cells with outputs become valid. With `refuse_error_outputs` a traceback is an error, and the
    notebook stays as it is.
    """
    cells = notebook.get("cells")
    if not isinstance(cells, list):
        return notebook, []
    if options.get("refuse_error_outputs") and (refused := _refusals(cells)):
        return notebook, refused
    findings: list[Finding] = []
    policy = _Policy(notebook, options)
    stripped = [_strip_cell(cell, index, policy, findings) for index, cell in enumerate(cells)]
    if all(new is old for new, old in zip(stripped, cells, strict=True)):
        return notebook, findings
    return notebook | {"cells": stripped}, findings
