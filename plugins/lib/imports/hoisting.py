"""Move imports to the first code cell, where it is certain that they do the same there.

An import moves when it stands by itself, its module is known to do nothing but define names, no other statement binds
its name, no earlier cell mentions the name, and nothing before it may change what an import brings.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, NamedTuple

from plugins.lib.imports import known
from plugins.lib.imports.decisions import COVERS
from plugins.lib.imports.duplicates import INSTALLS
from plugins.lib.imports.statements import EXPLAINED, Binding, Import, Text, bindings, covering, top_imports, without
from plugins.lib.imports.uses import Uses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plugins.lib.imports.draft import Draft

HOISTED, KEPT = "import-hoisted", "import-kept"
# What may change what an import brings or does: search path, environment, files, patches, warnings, seeds of settings.
_BARRIER = re.compile(
    r"\bsys\s*\.\s*(?:path|modules|meta_path|argv|flags|exit|set)|\b(?:os\s*\.\s*)?(?:environ|putenv|chdir|system|popen)\b|"
    r"\b(?:warnings|logging|importlib|subprocess|multiprocessing|locale|shutil|zipfile|tarfile)\s*\.|"
    r"\b(?:filterwarnings|simplefilter|set_start_method|basicConfig|load_dotenv|reload|find_spec|import_module|urlretrieve)\b|"
    r"\b(?:matplotlib|mpl)\s*\.\s*use\b|switch_backend|\bpatch|monkey|\binstall|\bdownload|\bdisable_|\benable_|"
    r"__import__|__builtins__|\bbuiltins\b|(?<![\w.])(?:eval|exec|execfile|exit|quit|globals|locals|get_ipython|raise|del)\b|"
    r"\bmount\b|\bfinder\b"
)
_QUIET_SHELL = re.compile(
    r"(?:cat|date|df|du|echo|find|free|grep|head|hostname|ls|lscpu|nproc|nvidia-smi|ps|pwd|tail|tree|uname|uptime|wc|which)\b"
    r"[^|;&><`$]*"
)
_QUIET_MAGIC = re.compile(r"[ \t]*%(?:matplotlib|config|time|timeit|who|whos|pwd|precision|xmode)\b")
_MAGIC_LINE = re.compile(r"^[ \t]*%.*", re.MULTILINE)


class _Moved(NamedTuple):
    """A statement that moves, with its text."""

    place: int
    node: Import
    text: str


def hoist(draft: Draft) -> None:
    """Move what can move to the first cell that can take it, and say so."""
    uses = Uses(draft)
    if uses.opaque or draft.bad:
        draft.say(KEPT, 0, 1, "hoisted nothing: the notebook evaluates text that is not known, or does not parse")
        return
    first = next((place for place, cell in enumerate(draft.cells) if cell.python.strip()), 0)
    target = next((place for place in range(first, len(draft.cells)) if _takes(draft, place, first)), None)
    if target is None:
        draft.say(KEPT, 0, 1, "hoisted nothing: no cell can take the imports")
        return
    moved = _uncovering(draft, list(_movable(draft, target, uses)))
    if moved:
        _move(draft, target, moved)


def _takes(draft: Draft, place: int, first: int) -> bool:
    """Say whether a cell is ordinary: Python that parses, not tagged, nothing in it that must come before imports."""
    cell, tree = draft.cells[place], draft.tree(place)
    if tree is None or not tree.body or cell.magic or draft.may_edit(place) or "*" in cell.binds or covering(tree):
        return False
    if place != first and not any(top_imports(tree)):
        return False  # people look for imports where the first ones are
    same = Text(cell.source, cell.python)
    head = _insertion_row(tree, same)
    continued = head > 1 and same.lines[head - 2].rstrip().endswith("\\")
    return not _barriers(draft, place) and not continued and (head > len(same.lines) or same.same(head, head))


def _barriers(draft: Draft, place: int) -> list[int]:
    """Return the lines of a cell after which an import may bring something else; 0 for the whole cell."""
    cell, tree = draft.cells[place], draft.tree(place)
    found = [line for line, text in cell.shell if not _QUIET_SHELL.fullmatch(text) or INSTALLS.search(text)]
    if tree is None or "*" in cell.binds or (cell.magic and cell.magic not in ("time", "capture")):
        return [0]
    if any(not _QUIET_MAGIC.match(line) for line in _MAGIC_LINE.findall(cell.source) if "%" in line[:40]):
        found += _magic_rows(cell.source, cell.python)
    lines = cell.python.split("\n")
    for node in tree.body:
        code = "\n".join(lines[node.lineno - 1 : node.end_lineno])
        star = isinstance(node, ast.ImportFrom) and (node.names[0].name == "*" or node.module == "__future__")
        plain = isinstance(node, Import) and all(known.moves_freely(b.module, b.attribute) for b in bindings(node))
        if star or (not isinstance(node, Import) and _BARRIER.search(code)) or (isinstance(node, Import) and not plain):
            found.append(node.lineno)
    return sorted(found)


def _magic_rows(source: str, python: str) -> list[int]:
    """Return the lines that are magics and not among the quiet ones."""
    pairs = zip(re.split(r"\r\n|\r|\n", source), python.split("\n"), strict=True)
    return [
        row
        for row, (line, code) in enumerate(pairs, 1)
        if line != code and line.lstrip().startswith("%") and not _QUIET_MAGIC.match(line)
    ]


def _movable(draft: Draft, target: int, uses: Uses) -> Iterator[_Moved]:
    """Yield the statements that move, in order."""
    bound = _bound(draft)
    seen = set(re.findall(r"[^\W\d]\w*", "\n".join(draft.cells[place].source for place in range(target + 1))))
    for place in range(target + 1, len(draft.cells)):
        cell = draft.cells[place]
        barriers = _barriers(draft, place)
        tree = draft.tree(place)
        if tree is None:
            return
        text = Text(cell.source, cell.python)
        for node in tree.body:
            if barriers and barriers[0] < node.lineno:
                return
            if isinstance(node, Import):
                why = draft.may_edit(place) or _fixed(node, text, bound, seen)
                if not why and not all(uses.reason(binding.name) for binding in bindings(node)):
                    why = "nothing uses it"
                if why:
                    draft.say(KEPT, place, node.lineno, f"not hoisted: {ast.unparse(node)}: {why}")
                else:
                    start, end = text.span(node)
                    yield _Moved(place, node, text.source[start:end])
            else:
                seen.update(re.findall(r"[^\W\d]\w*", "\n".join(text.python[node.lineno - 1 : node.end_lineno])))
        if barriers:
            return
        seen.update(cell.reads | cell.binds)


def _uncovering(draft: Draft, moved: list[_Moved]) -> list[_Moved]:
    """Return what may move of the statements so that no cell shows a value that it did not show."""
    nodes = {one.node for one in moved}
    covers: set[Import] = set()
    for place in {one.place for one in moved}:
        tree = draft.tree(place)
        cover = covering(tree) if tree else set()
        if cover <= nodes:
            covers |= cover
    for one in moved:
        if one.node in covers:
            draft.say(KEPT, one.place, one.node.lineno, f"not hoisted: {ast.unparse(one.node)}: {COVERS}")
    return [one for one in moved if one.node not in covers]


def _fixed(node: Import, text: Text, bound: dict[str, set[Binding | None]], seen: set[str]) -> str:
    """Return why a statement stays in its cell, "" when it may move."""
    found = bindings(node)
    lines = text.python[node.lineno - 1 : node.end_lineno]
    if node.col_offset or lines[-1].rstrip() != lines[-1][: node.end_col_offset] or re.search(r"[#\\]", "".join(lines)):
        return "it shares its line with something else"
    if not text.same(node.lineno, node.end_lineno or 0) or EXPLAINED.search(text.comments(node)):
        return "a comment says why it is there"
    return next(filter(None, (_fixed_binding(binding, bound, seen) for binding in found)), "")


def _fixed_binding(binding: Binding, bound: dict[str, set[Binding | None]], seen: set[str]) -> str:
    """Return why an import of this name stays in its cell, "" when it may move."""
    effect = known.import_effect(binding.module, binding.attribute)
    root = binding.module.partition(".")[0]
    if binding.name == "*" or root == "__future__":
        return "it is more than a name"
    if effect or root in known.UNNAMED_USE or root in known.NATIVE:
        return effect or "when it is imported may matter"
    if len(bound.get(binding.name, ())) != 1:
        return f"{binding.name} is bound more than once"
    return f"{binding.name} is mentioned before" if binding.name in seen else ""


def _bound(draft: Draft) -> dict[str, set[Binding | None]]:
    """Return what binds each name anywhere in the notebook: imports as such, None for everything else."""
    found: dict[str, set[Binding | None]] = {}
    for place, cell in enumerate(draft.cells):
        for name in cell.binds:
            found.setdefault(name, set()).add(None)
        tree = draft.tree(place)
        for node in ast.walk(tree) if tree else ():
            if isinstance(node, Import):
                for binding in bindings(node):
                    found.setdefault(binding.name, set()).add(binding)
            elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                found.setdefault(node.id, set()).add(None)
            else:  # functions, classes, `except ... as`, patterns and parameters
                other = getattr(node, "arg" if isinstance(node, ast.arg) else "name", None)
                if isinstance(other, str) and not isinstance(node, ast.alias):
                    found.setdefault(other, set()).add(None)
    return found


def _insertion_row(tree: ast.Module, text: Text) -> int:
    """Return the row, from 1, before which imports go: after the first block of imports, else before the first code.

    A docstring, `__future__`, magics and the comments at the top stay above.
    """
    row = 0
    for node in tree.body:
        if isinstance(node, Import):
            row = (node.end_lineno or 0) + 1
        elif row:
            break
    if row:
        return row
    for node in tree.body:
        quiet = isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        if not quiet:
            row = min([node.lineno, *(part.lineno for part in getattr(node, "decorator_list", ()))])
            break
        row = (node.end_lineno or 0) + 1
    first = row
    while first > 1 and text.python[first - 2].startswith("#"):
        first -= 1
    return first if first > 1 else max(row, 1)  # a comment on the first line may be a title that tools look for


def _move(draft: Draft, target: int, moved: list[_Moved]) -> None:
    """Take statements out of their cells and put them into the target; all or nothing."""
    places = sorted({one.place for one in moved})
    fresh = []
    for place in places:
        cell, tree = draft.cells[place], draft.tree(place)
        gone = {one.node: set(range(len(one.node.names))) for one in moved if one.place == place}
        source = without(Text(cell.source, cell.python), [tree.body], gone) if tree else None
        if source is None:
            return
        fresh.append((place, *draft.read(place, source)))
    cell, tree = draft.cells[target], draft.tree(target)
    text = Text(cell.source, cell.python)
    row = _insertion_row(tree, text) if tree else 1
    apart = tree is not None and not any(top_imports(tree))
    head = draft.read(target, _inserted(text, row, [one.text for one in moved], apart=apart))
    fresh.append((target, *head))
    if any(found is None or new.magic != draft.cells[place].magic for place, new, found in fresh):
        return
    for one in moved:
        message = f"moved {ast.unparse(one.node)} to cell {cell.index}"
        draft.say(HOISTED, one.place, one.node.lineno, message)
    for place, new, found in fresh:
        if found is not None:
            draft.replace(place, new, found)


def _inserted(text: Text, row: int, statements: list[str], *, apart: bool) -> str:
    """Return the source with statements before a row, and a blank line after them if they stand `apart`."""
    ending = next((line[len(line.rstrip("\r\n")) :] for line in text.lines if line.endswith(("\n", "\r"))), "\n")
    if row > len(text.lines):
        return text.source.rstrip("\r\n") + "".join(ending + one for one in statements)
    at = text.starts[row - 1]
    before = text.source[:at]
    if before and not before.endswith(("\n", "\r")):
        before += ending
    block = "".join(one + ending for one in statements)
    return before + block + (ending if apart and text.python[row - 1].strip() else "") + text.source[at:]
