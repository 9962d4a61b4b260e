"""Say what the modules of a deployed folder need that its entry imports, directly or through others of them."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from kagg import Finding, room
from plugins.lib.notebook_module import parsed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kagg import Context

MAX_BYTES = 2_000_000  # of a module that is read
# What may load any module of the folder: then all of them count.
_DYNAMIC = re.compile(
    rb"\b(?:import_module|__import__|runpy|execfile|exec|spec_from_file_location|SourceFileLoader|iter_modules)\b"
)


def needs(ctx: Context, app: bytes, files: Mapping[str, Path]) -> tuple[list[str], list[Finding]]:
    """Return the requirements of the modules among `files` that `app` reaches, and warnings of unknown imports."""
    modules = {name: path for name, path in files.items() if name.endswith(".py") and path.stat().st_size <= MAX_BYTES}
    contents = _reached(app, {name: path.read_bytes() for name, path in modules.items()})
    if not contents:
        return [], []
    cells = [{"cell_type": "code", "source": text.decode("utf-8", "replace")} for text in contents.values()]
    top = {name.partition("/")[0].removesuffix(".py") for name in modules}
    deep = {part.removesuffix(".py") for name in modules for part in name.split("/")}  # where sys.path was changed
    found: Any = room(ctx, "prep", "requirements").collect({"cells": cells}, "", None, top, deep)
    names = list(contents)
    findings = [
        finding._replace(cell=None, message=f"{names[finding.cell]} line {finding.line}: {finding.message}")
        for finding in found.findings
        if finding.cell is not None
    ]
    return [entry.line for entry in found.entries if not entry.optional], findings


def _reached(app: bytes, contents: dict[str, bytes]) -> dict[str, bytes]:
    """Return the modules that may be imported, in the order of their names; of a package all of it."""
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for name in contents:
        top = name.partition("/")[0].removesuffix(".py")
        for known in {top, name.rpartition("/")[2].removesuffix(".py")}:  # the second where sys.path was changed
            by_name[known].append(name)
    reached: set[str] = set()
    waiting = [app]
    while waiting:
        content = waiting.pop()
        if _DYNAMIC.search(content):
            return dict(sorted(contents.items()))
        for name in {one for known in _imported(content) for one in by_name.get(known, ())} - reached:
            reached.add(name)
            waiting.append(contents[name])
    return {name: contents[name] for name in sorted(reached)}


def _imported(content: bytes) -> set[str]:
    """Return the first and the last parts of the modules that Python imports, also those of `from . import x`."""
    try:
        tree = parsed(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {part for alias in node.names for part in (alias.name.partition(".")[0],)}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module.partition(".")[0]} if node.module else {alias.name for alias in node.names}
    return found
