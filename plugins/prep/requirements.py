"""Say what a notebook needs from PyPI: its imports by a reviewed table, and its pip lines with their pins.

The notebook stays as it is. A name that the table does not have is a warning and never a requirement.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import Finding
from plugins.lib import distributions, pip_lines
from plugins.lib.cells import parse_python, read_cells

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from plugins.lib.cells import Cell

PLUGIN = {"api": 1, "summary": "imports and pip lines to requirements", "requires": {}}

_NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
# An import statement alone on its line, for cells that do not parse.
_IMPORT_LINE = re.compile(
    rf"^[ \t]*(?:import[ \t]+({_NAME}(?:[ \t]+as[ \t]+\w+)?(?:[ \t]*,[ \t]*{_NAME}(?:[ \t]+as[ \t]+\w+)?)*)"
    rf"|from[ \t]+({_NAME})[ \t]+import[ \t]+(?:\*|\(?[ \t]*\w[^\n;#]*))[ \t]*(?:[;#].*)?$",
    re.MULTILINE,
)
_WRITTEN = re.compile(r"\s*%%(?:writefile|file)[ \t]+(?:(?:-a|--append)[ \t]+)?[\"']?([^\s\"']+)")


class Origin(NamedTuple):
    """Where a requirement comes from: `text` is `import x` or the pip line; `cell` from 0, `line` from 1."""

    notebook: str
    cell: int
    line: int
    text: str
    optional: bool = False


@dataclass
class Entry:
    """One line of a requirements file: `specifier` is what follows the name, or the whole of a URL."""

    distribution: str
    specifier: str = ""
    origins: list[Origin] = field(default_factory=list)

    @property
    def optional(self) -> bool:
        """Only tried: each import stands in a `try` that goes on without it."""
        return all(origin.optional for origin in self.origins)

    @property
    def line(self) -> str:
        """The requirement as pip reads it."""
        return (
            self.specifier
            if "://" in self.specifier and "@ " not in self.specifier
            else self.distribution + self.specifier
        )


@dataclass
class Requirements:
    """Entries in the order of their names, and what there is to say about imports that are none."""

    entries: list[Entry]
    findings: list[Finding]


class _Import(NamedTuple):
    module: str  # dotted; for `from a import b` it is a.b
    text: str  # as it is shown: `import a` or `from a import b`
    line: int
    optional: bool
    command: tuple[str, ...] = ()  # of a call that runs one; then it is no import


def apply(notebook: dict[str, Any], options: Mapping[str, Any], /) -> tuple[dict[str, Any], list[Finding]]:
    """Return the same notebook and one note for each requirement; `options["folder"]` is where its modules lie."""
    found = collect(notebook, "", options.get("folder"))
    notes = [
        Finding("requirement", "note", f"{entry.line}  ({_where(entry)})", entry.origins[0].cell, entry.origins[0].line)
        for entry in found.entries
    ]
    return notebook, notes + found.findings


def collect(
    notebook: dict[str, Any],
    name: str,
    folder: Path | None = None,
    local: Iterable[str] = (),
    perhaps: Iterable[str] = (),
) -> Requirements:
    """Return what a notebook needs; modules beside it in `folder` and modules that its cells write are no requirement.

    `name` is the notebook's, for the origins; `local` names more modules of its own, and `perhaps` those that are its
    own where no distribution is known. No network; the environment is asked only about names that the table lacks.
    """
    collector = _Collector(name, folder)
    cells = read_cells(notebook)
    collector.local |= {path.removesuffix(".py") for cell in cells for path in _written(cell)} | set(local)
    collector.perhaps |= set(perhaps)
    collector.elsewhere = any(pip_lines.names_index(cell.source) for cell in cells)
    imports = [(cell.index, found) for cell in cells for found in _imports(cell)]
    for cell in cells:
        for line, command in cell.shell:
            for words in pip_lines.commands(command):
                collector.installed(cell.index, line, words)
    for index, found in imports:
        collector.installed(index, found.line, [*found.command])
    for index, found in imports:
        if not found.command:
            collector.imported(index, found)
    return collector.result()


def merge(several: Iterable[Requirements]) -> Requirements:
    """Return the requirements of several notebooks as one; a pin wins over none, two different pins are a warning."""
    merged: dict[str, Entry] = {}
    findings: list[Finding] = []
    for one in several:
        findings += one.findings
        for entry in one.entries:
            _add(merged, entry.distribution, entry.specifier, entry.origins, findings)
    return Requirements(_in_order(merged), findings)


def requirements_text(entries: Iterable[Entry]) -> str:
    """Return a requirements file whose comments say where each line came from; optional ones are commented out."""
    lines = [f"{'# ' if entry.optional else ''}{entry.line}  # {_where(entry)}\n" for entry in entries]
    return "".join(lines)


class _Collector:
    """Collects the requirements of one notebook."""

    def __init__(self, name: str, folder: Path | None) -> None:
        self.name = name
        self.folder = folder
        self.local: set[str] = set()
        self.perhaps: set[str] = set()
        self.elsewhere = False  # every pip looks at another index
        self.refused: set[str] = set()  # distributions that only another index may have
        self.entries: dict[str, Entry] = {}
        self.findings: list[Finding] = []
        self.reported: set[str] = set()

    def installed(self, cell: int, line: int, command: list[str]) -> None:
        """Take what one command installs; a name that only another index may have is not recorded."""
        asked = pip_lines.install(command)
        if asked is None:
            return
        origin = Origin(self.name, cell, line, "pip install")
        for word in asked.wanted:
            text, said = pip_lines.recorded(word, elsewhere=asked.elsewhere or self.elsewhere)
            if said:
                self.found("requirement" if text else "unknown-import", said, cell, line)
            name, pins, _ = pip_lines.take_apart(text or word)
            if not text:
                self.refused.add(distributions.same(name))
            else:
                _add(self.entries, name or text, pins, [origin], self.findings)
        for word in asked.odd:
            self.found("requirement", f"{pip_lines.shown(word)!r} cannot be recorded as a requirement", cell, line)

    def imported(self, cell: int, found: _Import) -> None:
        """Take one import."""
        top = found.module.partition(".")[0]
        if top in self.local or self._is_beside(top):
            return
        provider = distributions.lookup(found.module)
        if provider.kind in ("known", "installed"):
            if distributions.same(provider.names[0]) in self.refused:
                return
            origin = Origin(self.name, cell, found.line, found.text, found.optional)
            _add(self.entries, provider.names[0], "", [origin], self.findings)
        elif provider.kind not in ("standard", "platform") and not self._is_asked_for(top) and top not in self.perhaps:
            self.report(cell, found, provider)

    def report(self, cell: int, found: _Import, provider: distributions.Provider) -> None:
        """Warn of an import that no distribution is known for, once."""
        shown = found.text.split()[1]
        if shown in self.reported:
            return
        self.reported.add(shown)
        if provider.kind == "ambiguous":
            message = f"{shown} is provided by {', '.join(provider.names)} here, so none is recorded"
            self.found("ambiguous-import", message, cell, found.line)
            return
        tried = ", and only tried" if found.optional else ""
        message = f"no distribution is known to provide {shown[:80]}{tried}"
        self.found("unknown-import", message, cell, found.line, fix="install it in a %pip line with its name on PyPI")

    def found(self, kind: str, message: str, cell: int, line: int, *, fix: str = "") -> None:
        self.findings.append(Finding(kind, "warning", message, cell, line, fix, "source"))

    def _is_beside(self, top: str) -> bool:
        folder = self.folder
        return folder is not None and ((folder / f"{top}.py").is_file() or any((folder / top).glob("*.py")))

    def _is_asked_for(self, top: str) -> bool:
        """Say whether a pip line names a distribution like the import."""
        return distributions.normalised(top) in self.entries

    def result(self) -> Requirements:
        return Requirements(_in_order(self.entries), self.findings)


def _add(
    entries: dict[str, Entry], distribution: str, pins: str, origins: list[Origin], findings: list[Finding]
) -> None:
    """Add a requirement to those that there are: what names a version, an extra or a URL replaces what names none."""
    entry = entries.setdefault(distributions.same(distribution), Entry(distribution, pins))
    if entry.origins and pins and pins != entry.specifier:
        if entry.specifier:
            old, new = entry.origins[0], origins[0]
            asked = pins if "://" in pins else distribution + pins
            message = f"{entry.line} ({_said(old)}) and {asked} ({_said(new)}) differ: the last one counts"
            findings.append(Finding("requirement", "warning", message, new.cell, new.line))
        entry.distribution, entry.specifier = distribution, pins
        entry.origins[:0] = origins
    else:
        entry.origins += [origin for origin in origins if origin not in entry.origins[-1:]]


def _in_order(entries: dict[str, Entry]) -> list[Entry]:
    return sorted(entries.values(), key=lambda entry: (entry.distribution.lower(), entry.specifier))


def _said(origin: Origin) -> str:
    place = f"cell {origin.cell} line {origin.line}"
    return f"{origin.text}, {place}" + (f" of {origin.notebook}" if origin.notebook else "")


def _where(entry: Entry) -> str:
    """Return the first origin of an entry in words, and how many more there are."""
    more = f" and {len(entry.origins) - 1} more" if len(entry.origins) > 1 else ""
    text = re.sub(r"[\x00-\x1f\x7f]", " ", _said(entry.origins[0])) + more
    return f"optional: {text}" if entry.optional else text


# ---------------------------------------------------------------------------------------------------------------------
# Imports of a cell
# ---------------------------------------------------------------------------------------------------------------------


def _written(cell: Cell) -> list[str]:
    """Return the top-level name of the module that a %%writefile cell writes."""
    match = _WRITTEN.match(cell.source)
    path = match[1].removeprefix("/kaggle/working/").removeprefix("./") if match else ""
    return [path.partition("/")[0]] if path.endswith(".py") else []


def _imports(cell: Cell) -> Iterator[_Import]:
    """Yield the imports of a cell, also of the module that it writes."""
    tree, python, first = cell.tree, cell.python, 0
    if _written(cell):
        lead = len(cell.source) - len(cell.source.lstrip())
        first = 1 + cell.source.count("\n", 0, lead)
        python = cell.source[lead:].partition("\n")[2]
        tree = parse_python(python)[0]
    found = _of_tree(tree) if tree is not None else _of_text(python)
    for imported in found:
        yield imported._replace(line=imported.line + first)


def _of_text(python: str) -> Iterator[_Import]:
    """Yield the imports of text that is not Python 3, by its lines."""
    for match in _IMPORT_LINE.finditer(python):
        line = 1 + python.count("\n", 0, match.start())
        if match[2]:
            yield _Import(match[2], f"from {match[2]} import", line, optional=False)
            continue
        for name in match[1].split(","):
            module = name.split()[0]
            yield _Import(module, f"import {module}", line, optional=False)


def _of_tree(tree: ast.Module) -> list[_Import]:
    """Return the imports anywhere in a tree."""
    found: list[_Import] = []
    waiting: list[tuple[ast.AST, frozenset[str] | None]] = [(tree, None)]  # node, names that are needed; None = all
    while waiting:
        node, needed = waiting.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom, ast.Call)):
            found += [
                one._replace(optional=needed is not None and one.module.partition(".")[0] not in needed)
                for one in _of_node(node)
            ]
        if isinstance(node, ast.If) and _is_typing(node.test):
            waiting += [(child, needed) for child in node.orelse]
            continue
        if isinstance(node, ast.Try) and needed is None and _goes_on(node):
            both = _tops(node.body) & _tops(node.handlers)
            waiting += [(child, both) for child in [*node.body, *node.handlers]]
            waiting += [(child, needed) for child in [*node.orelse, *node.finalbody]]
            continue
        waiting += [(child, needed) for child in ast.iter_child_nodes(node)]
    return sorted(found, key=lambda one: one.line)


def _of_node(node: ast.Import | ast.ImportFrom | ast.Call) -> Iterator[_Import]:
    """Yield what one statement, `__import__("x")` or `import_module("x")` imports."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield _Import(alias.name, f"import {alias.name}", node.lineno, optional=False)
    elif isinstance(node, ast.ImportFrom):
        module = "" if node.level else node.module or ""
        for alias in node.names if module else ():
            yield _Import(f"{module}.{alias.name}", f"from {module} import {alias.name}", node.lineno, optional=False)
    for command in pip_lines.called(node) if isinstance(node, ast.Call) else ():
        yield _Import("", "", node.lineno, optional=False, command=tuple(command))
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        name = node.args[0].value
        if called in ("__import__", "import_module") and isinstance(name, str) and re.fullmatch(_NAME, name):
            yield _Import(name, f"import {name}", node.lineno, optional=False)


def _tops(nodes: Iterable[ast.AST]) -> frozenset[str]:
    """Return the top-level names that these nodes import."""
    return frozenset(
        one.module.partition(".")[0]
        for outer in nodes
        for node in ast.walk(outer)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for one in _of_node(node)
    )


def _is_typing(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in (getattr(test, "id", ""), getattr(test, "attr", ""))


def _goes_on(node: ast.Try) -> bool:
    """Say whether a handler takes a missing module and goes on without it."""
    for handler in node.handlers:
        caught = "" if handler.type is None else ast.unparse(handler.type)
        takes = not caught or re.search(r"\b(ImportError|ModuleNotFoundError|Exception|BaseException)\b", caught)
        if takes and not any(isinstance(inner, ast.Raise) for inner in handler.body):
            return True
    return False
