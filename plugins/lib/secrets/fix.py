"""Replace the secrets of a notebook's cells by lookups in the environment, or in Kaggle's secrets on Kaggle.

A change is only made when the cell can be parsed after it; what must be done by hand stays a finding.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import Finding
from plugins.lib.secrets import fold, literals
from plugins.lib.secrets.text import cells_of, joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from plugins.lib.secrets.record import Record

MAX_TRIED = 50  # edits of one cell that are tried one by one, when all together do not fit
MIN_REPEAT_CHARS = 12  # a value of this length is replaced wherever the cell repeats it
ON_KAGGLE = re.compile(r"\bkaggle_secrets\b|/kaggle/(?:input|working)|\.\./input/")
PYTHON_CELL = re.compile(r"%%(?:time|timeit|capture|prun)\b")
SHELL_CELL = re.compile(r"%%(?:bash|sh|script\s+(?:ba)?sh|!)\b|%%!")
ENV_LINE = re.compile(r"^([ \t]*)%(?:set_)?env[ \t]+(\w+)(?:[ \t]*=[ \t]*|[ \t]+)\S")
EXPORT_LINE = re.compile(r"^([ \t]*)!?[ \t]*(?:export|set)[ \t]+(\w+)[ \t]*=[^;&|\n]*$")
OS_LINE = re.compile(r"^([ \t]*)os\.environ\[([\"'])(\w+)\2\][ \t]*=[ \t]*[rbu]?([\"'])([^\"'\n]*)\4[ \t]*(?:\#.*)?$")
SHELL_LINE = re.compile(r"^[ \t]*(?:[\w, \t]+=[ \t]*)?(?:!|%(?:sx|system|env|set_env)\b)")
OTHER_MAGIC = re.compile(r"^[ \t]*(?:[\w, \t]+=[ \t]*)?%(?!%|(?:time|timeit|prun|memit)\b)")
LINES = re.compile(r"[^\n]*\n|[^\n]+")
FUTURE = re.compile(r"^from[ \t]+__future__[ \t]+import\b.*\n?", re.MULTILINE)


class Style(NamedTuple):
    """How secrets are looked up."""

    kaggle: bool

    def lookup(self, name: str) -> str:
        """Return the expression that gives the secret."""
        return f'UserSecretsClient().get_secret("{name}")' if self.kaggle else f'os.environ["{name}"]'


class Edit(NamedTuple):
    """One change of a cell's source; `needs` are the names that must be imported for it."""

    start: int
    end: int
    text: str
    name: str
    line: int
    needs: tuple[str, ...]


IMPORTS = {"os": "import os", "UserSecretsClient": "from kaggle_secrets import UserSecretsClient"}


def style_of(notebook: dict[str, Any]) -> Style:
    """Return the style of a notebook: Kaggle's where metadata or paths speak of Kaggle."""
    metadata = notebook.get("metadata")
    if isinstance(metadata, dict) and "kaggle" in metadata:
        return Style(kaggle=True)
    sources = (joined(cell.get("source")) for cell in cells_of(notebook) if isinstance(cell, dict))
    return Style(kaggle=any(ON_KAGGLE.search(source) for source in sources))


def is_python(notebook: dict[str, Any]) -> bool:
    """Tell whether the cells are Python; a notebook that names no language is."""
    metadata = notebook.get("metadata")
    parts = [metadata.get(key) for key in ("kernelspec", "language_info")] if isinstance(metadata, dict) else []
    spec, info = [part if isinstance(part, dict) else {} for part in (parts or [{}, {}])]
    language = str(spec.get("language") or info.get("name") or "python").lower()
    return "python" in language


# ---------------------------------------------------------------- names


def names_for(records: Iterable[Record]) -> dict[str, str]:
    """Return the variable of each secret value; two values never share one."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    numbers: dict[str, int] = {}
    for record in records:
        if record.value in found:
            continue
        base = re.sub(r"\W+", "_", record.name, flags=re.ASCII).strip("_").upper() or "SECRET"
        if record.value.upper() in base or base[0].isdigit() or len(base) > 60:
            base = "SECRET"
        name = base
        while name in taken:
            numbers[base] = numbers.get(base, 1) + 1
            name = f"{base}_{numbers[base]}"
        taken.add(name)
        found[record.value] = name
    return found


# ---------------------------------------------------------------- edits of one cell


def _targets(source: str, records: Sequence[Record], names: dict[str, str]) -> list[tuple[int, int, str]]:
    """Return the spans (start, end, variable) of the secrets in a source, none overlapping another, in order."""
    found = {(one.start, one.end): names[one.value] for one in records if one.start >= 0}
    for value in {one.value for one in records if len(one.value) >= MIN_REPEAT_CHARS}:
        found |= {(match.start(), match.end()): names[value] for match in re.finditer(re.escape(value), source)}
    spans: list[tuple[int, int, str]] = []
    for (start, end), name in sorted(found.items()):
        if not spans or start >= spans[-1][1]:
            spans.append((start, end, name))
    return spans


def _line_of(source: str, at: int) -> tuple[int, int, str]:
    begin = source.rfind("\n", 0, at) + 1
    end = source.find("\n", at)
    end = len(source) if end < 0 else end
    return begin, end, source[begin:end]


def _set_elsewhere(source: str, at: int, style: Style) -> tuple[int, int, str, str, tuple[str, ...]] | None:
    """Return the change for a line whose whole purpose is to set an environment variable."""
    begin, end, line = _line_of(source, at)
    match = ENV_LINE.match(line) or EXPORT_LINE.match(line)
    if match:
        indent, name = match[1], match[2]
    elif (match := OS_LINE.match(line)) and not style.kaggle:
        indent, name = match[1], match[3]
    else:
        return None
    if style.kaggle and line.lstrip().startswith("%"):
        text = f'{indent}os.environ["{name}"] = {style.lookup(name)}'
        return begin, end, text, name, ("os", "UserSecretsClient")
    return begin, end, f"{indent}# {name} comes from the environment", name, ()


def _in_shell(source: str, start: int, name: str, style: Style) -> str:
    """Return what stands for a value in a shell line: IPython's {} on Kaggle, else $, for which quotes are left."""
    if style.kaggle:
        return "{" + style.lookup(name).replace('"', "'") + "}"
    line = source[source.rfind("\n", 0, start) + 1 : start]
    quoted = line.replace('"', "").count("'") % 2 == 1 and line.count('"') % 2 == 0
    return f"'\"${name}\"'" if quoted else f"${name}"


def _shell_edits(source: str, targets: Sequence[tuple[int, int, str]], style: Style) -> list[Edit]:
    edits = []
    for start, end, name in targets:
        line = source.count("\n", 0, start) + 1
        whole = _set_elsewhere(source, start, style)
        needs = ("UserSecretsClient",) if style.kaggle else ()
        if whole:
            edits.append(Edit(whole[0], whole[1], whole[2], whole[3], line, whole[4]))
        else:
            edits.append(Edit(start, end, _in_shell(source, start, name, style), name, line, needs))
    return edits


def _python_edits(source: str, targets: Sequence[tuple[int, int, str]], style: Style) -> list[Edit]:
    """Return the changes of a Python cell: magic lines, comments, literals."""
    found = literals.spans(source)
    shell = [one for one in targets if SHELL_LINE.match(_line_of(source, one[0])[2])]
    edits = _shell_edits(source, shell, style)
    cuts: dict[int, list[tuple[int, int, str]]] = {}
    for start, end, name in targets:
        line = source.count("\n", 0, start) + 1
        if (start, end, name) in shell or OTHER_MAGIC.match(_line_of(source, start)[2]):
            continue
        whole = _set_elsewhere(source, start, style)
        if whole:
            edits.append(Edit(whole[0], whole[1], whole[2], whole[3], line, whole[4]))
        elif any(begin <= start < stop for begin, stop in found.comments):
            edits.append(Edit(start, end, f"[{name} removed]", name, line, ()))
        elif (place := literals.covering(found.groups, start, end)) is not None:
            cuts.setdefault(place, []).append((start, end, name))
    for number, spans in cuts.items():
        edits += _group_edit(source, found.groups[number], spans, style)
    return edits


def _group_edit(
    source: str, group: list[literals.Literal], spans: Sequence[tuple[int, int, str]], style: Style
) -> list[Edit]:
    """Return the change of literals that stand beside each other."""
    terms: dict[literals.Literal, list[str]] = {}
    for literal in group:
        inside = [one for one in spans if literal.body_start <= one[0] and one[1] <= literal.body_end]
        parts = literals.rewritten(source, literal, [(a, b, style.lookup(name)) for a, b, name in inside])
        if inside and parts is None:
            return []
        if inside and parts:
            terms[literal] = parts
    text = literals.group_text(source, group, terms)
    names = ", ".join(dict.fromkeys(name for _, _, name in spans))
    need = "UserSecretsClient" if style.kaggle else "os"
    line = source.count("\n", 0, spans[0][0]) + 1
    return [Edit(group[0].start, group[-1].end, text, names, line, (need,))]


def _built_edits(source: str, records: Sequence[Record], names: dict[str, str], style: Style) -> list[Edit]:
    """Return the changes of expressions made of literals that build exactly a secret: "a" + "b"."""
    values = {one.value for one in records if one.start < 0}
    code = fold.python_of(source)
    tree = fold.parsed(code) if values and "\r" not in source else None
    edits = []
    for node, text, _ in fold.built(tree, code, {}) if tree else ():
        if text in values and isinstance(node, ast.expr):
            start, end = fold.span_of(source, node)
            need = "UserSecretsClient" if style.kaggle else "os"
            lookup = style.lookup(names[text]) + "\n" * source.count("\n", start, end)
            edits.append(Edit(start, end, lookup, names[text], node.lineno, (need,)))
    return edits


# ---------------------------------------------------------------- putting edits in


def _parses(source: str) -> bool:
    return fold.parsed(fold.python_of(source)) is not None


def _applied(source: str, edits: Sequence[Edit], *, check: bool) -> tuple[str, list[Edit]]:
    """Return the source with the edits that leave it parsable, and those edits."""
    backwards = sorted(edits, key=lambda one: one.start, reverse=True)
    text, done = _one_by_one(source, backwards, check=False)
    if not check or _parses(text):
        return text, done
    return _one_by_one(source, backwards[-MAX_TRIED:], check=True)


def _one_by_one(source: str, backwards: Sequence[Edit], *, check: bool) -> tuple[str, list[Edit]]:
    """Put edits in from the last to the first; with `check`, leave out what makes the source unparsable."""
    done: list[Edit] = []
    last = len(source) + 1
    for edit in backwards:
        if edit.end > last:
            continue  # two secrets of one line that is replaced as a whole
        text = source[: edit.start] + edit.text + source[edit.end :]
        bare = edit.text.lstrip()
        if check and bare.startswith("# ") and not _parses(text):
            indent = edit.text[: len(edit.text) - len(bare)]
            text = f"{source[: edit.start]}{indent}pass  {bare}{source[edit.end :]}"  # the only statement of a block
        if not check or _parses(text):
            source, last = text, edit.start
            done.append(edit)
    return source, done


def _imports(name: str, source: str, before: int | None = None) -> bool:
    """Tell whether a cell imports a name at its top level, before a line (from 1)."""
    if name not in source:
        return False
    tree = fold.parsed(fold.python_of(source))
    return any(
        name in {(one.asname or one.name).partition(".")[0] for one in node.names}
        for node in (tree.body if tree else ())
        if isinstance(node, (ast.Import, ast.ImportFrom)) and (before is None or node.lineno < before)
    )


def _with_imports(source: str, names: Iterable[str]) -> str:
    """Put import lines before the first statement: after a cell magic and after imports from __future__."""
    at = 0
    if source.startswith("%%"):
        at = source.find("\n") + 1
    for match in FUTURE.finditer(source):
        at = match.end()
    return source[:at] + "".join(f"{IMPORTS[name]}\n" for name in names) + source[at:]


def _fixed_cell(
    cell: dict[str, Any], records: Sequence[Record], names: dict[str, str], style: Style, *, python: bool
) -> tuple[str, list[Edit]]:
    """Return the new source of a cell and what was changed."""
    source = joined(cell.get("source"))
    targets = _targets(source, records, names)
    if cell.get("cell_type") != "code":
        masked = [Edit(a, b, f"[{name} removed]", name, source.count("\n", 0, a) + 1, ()) for a, b, name in targets]
        return _applied(source, masked, check=False)
    if SHELL_CELL.match(source):
        return _applied(source, _shell_edits(source, targets, Style(kaggle=False)), check=False)
    if not python or (source.startswith("%%") and not PYTHON_CELL.match(source)):
        return source, []
    edits = _python_edits(source, targets, style) + _built_edits(source, records, names, style)
    return _applied(source, edits, check=True)


def fixed(notebook: dict[str, Any], records: Sequence[Record]) -> tuple[dict[str, Any], list[Finding]]:
    """Return the notebook without the secrets that can be replaced, and a note for each variable to be set."""
    style, python, names = style_of(notebook), is_python(notebook), names_for(records)
    cells, notes, imported = list(notebook["cells"]), [], set[str]()
    for index, cell in enumerate(cells):
        own = [one for one in records if one.cell == index and one.place == "source"]
        if not isinstance(cell, dict):
            continue
        raw = cell.get("source")
        source, edits = _fixed_cell(cell, own, names, style, python=python) if own else (joined(raw), [])
        if edits:
            needs = [name for name in IMPORTS if any(name in edit.needs for edit in edits)]
            first = min(edit.line for edit in edits)
            missing = [name for name in needs if name not in imported and not _imports(name, source, first)]
            source = _with_imports(source, missing)
            cells[index] = cell | {"source": LINES.findall(source) if isinstance(raw, list) else source}
            notes += [_note(edit, index, cell) for edit in reversed(edits)]
        if cell.get("cell_type") == "code":
            imported |= {name for name in IMPORTS if name not in imported and _imports(name, source)}
    return (notebook | {"cells": cells} if notes else notebook), notes


def _note(edit: Edit, index: int, cell: dict[str, Any]) -> Finding:
    masked = cell.get("cell_type") != "code"
    message = f"{edit.name} removed from the text" if masked else f"a secret became a lookup of {edit.name}"
    fix = "revoke the old value" if masked else f"revoke the old value, and set {edit.name} before the notebook runs"
    return Finding("secret-replaced", "note", message, index, edit.line, fix, "source")
