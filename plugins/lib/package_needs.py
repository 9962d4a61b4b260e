"""Say what of a source goes into its package: the cells that are needed, and the requirements that imports say.

The work is done by the rooms `prep slice` and `prep requirements`.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from kagg import Finding, KaggError, room
from plugins.lib import distributions, pip_lines
from plugins.lib.cells import read_cells
from plugins.lib.notebook_module import SKIP_TAGS
from plugins.lib.package_entry import find_entry

if TYPE_CHECKING:
    from pathlib import Path

    from kagg import Context


def sliced(ctx: Context, notebook: dict[str, Any]) -> tuple[dict[str, Any], list[Finding]]:
    """Return the notebook with empty raw cells for those that its entry function does not need, and what was found.

    Cells keep their numbers. Without an entry function all cells stay, so that its absence is reported elsewhere.
    """
    cells = [_RAW if _is_skipped(cell) else cell for cell in notebook["cells"]]  # their tags say that they never run
    whole = notebook | {"cells": cells}
    code = "\n".join(ast.unparse(cell.tree) for cell in read_cells(whole) if cell.tree is not None)
    try:
        entry = find_entry(code.encode("utf-8", "surrogatepass"), "the notebook")
    except (KaggError, SyntaxError, ValueError, RecursionError, MemoryError):
        return notebook, []
    kept, findings = room(ctx, "prep", "slice").apply(whole, {"entry": entry})
    stay = {id(cell) for cell in kept["cells"]}  # also the placeholder of skipped cells
    result = [cell if id(placed) in stay else _RAW for cell, placed in zip(notebook["cells"], cells, strict=True)]
    left = [finding for finding in findings if not finding.message.startswith("kept: ")]
    count = sum(before is not after for before, after in zip(cells, result, strict=True) if before is not _RAW)
    if count:
        total = sum(cell.get("cell_type") == "code" for cell in cells)
        message = f"left out {count} of {total} code cells (-v says which and why; --all-cells packs all)"
        left.insert(0, Finding("sliced", "warning", message))
    return notebook | {"cells": result}, left


_RAW = {"cell_type": "raw", "source": "", "metadata": {}}


def _is_skipped(cell: dict[str, Any]) -> bool:
    metadata = cell.get("metadata")
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    return isinstance(tags, list) and not SKIP_TAGS.isdisjoint(map(str, tags))


def of_notebook(ctx: Context, notebook: dict[str, Any], source: Path) -> tuple[list[str], list[Finding]]:
    """Return the distributions that the notebook imports and does not only try, and warnings of unknown ones."""
    found = room(ctx, "prep", "requirements").collect(notebook, source.name, source.parent)
    imports = [entry.line for entry in found.entries if not entry.optional]
    return imports, [finding for finding in found.findings if finding.kind in ("unknown-import", "ambiguous-import")]


def of_script(ctx: Context, content: bytes, source: Path) -> tuple[list[str], list[Finding]]:
    """Return the same of a script."""
    cell = {"cell_type": "code", "source": content.decode("utf-8", "replace"), "metadata": {}}
    imports, findings = of_notebook(ctx, {"cells": [cell]}, source)
    return imports, [finding._replace(cell=None) for finding in findings]


def joined(requirements: list[str], imports: list[str]) -> list[str]:
    """Return the requirements that were asked for, then those imports that none of them provides."""
    asked = {distributions.same(pip_lines.take_apart(text).name) for text in requirements}
    rest = [text for text in imports if distributions.same(pip_lines.take_apart(text).name) not in asked]
    return list(dict.fromkeys([*requirements, *rest]))
