"""Sort the imports of a cell as ruff would, where the order of these imports cannot matter."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from plugins.lib.cells import parse_quietly
from plugins.lib.imports import known
from plugins.lib.imports.statements import EXPLAINED, Binding, Import, Text, bindings

if TYPE_CHECKING:
    from plugins.lib.imports.draft import Draft
    from plugins.lib.imports.verdicts import Block

SORTED, UNSORTED = "imports-sorted", "import-kept"
_COMMENT = re.compile(r"#.*")


def sort(draft: Draft, blocks: list[Block]) -> None:
    """Put ruff's order into the cells of a draft, block by block from below, and say what was done."""
    for block in sorted(blocks, key=lambda block: (block.place, -block.first)):
        _sort_block(draft, block)


def _sort_block(draft: Draft, block: Block) -> None:
    cell = draft.cells[block.place]
    text = Text(cell.source, cell.python)
    if block.end_column != 1 and block.end_column <= len("".join(text.python[block.end - 1 : block.end])):
        return  # something else is on the line
    lines = text.python[block.first - 1 : block.end - (block.end_column == 1)]
    while lines and not lines[-1].strip():
        lines.pop()
    content = block.content.rstrip()
    if [line for line in lines if line.strip()] == [line for line in content.split("\n") if line.strip()]:
        return
    before, after = _imports("\n".join(lines)), _imports(content)
    if before is None or after is None or _order(before) == _order(after):
        return
    reason = (
        draft.may_edit(block.place)
        or ("" if text.same(block.first, block.first + len(lines) - 1) else "they are written in IPython's way")
        or _objection(before, after, "\n".join(lines), content)
    )
    if not reason and not _put(draft, block, text, len(lines), content):
        reason = "the cell would not parse any more"
    if reason:
        draft.say(UNSORTED, block.place, block.first, f"kept the order of {len(before)} imports: {reason}")
    else:
        draft.say(SORTED, block.place, block.first, f"sorted {len(before)} imports")


def _put(draft: Draft, block: Block, text: Text, count: int, content: str) -> bool:
    """Write the sorted lines in the place of `count` lines of the cell."""
    start, end = text.starts[block.first - 1], text.starts[block.first - 1 + count]
    ending = re.search(r"\r\n|\r|\n", text.source[start:])
    last = re.search(r"(?:\r\n|\r|\n)\Z", text.source[start:end])
    fresh = content.replace("\n", ending[0] if ending else "\n") + (last[0] if last else "")
    cell = draft.reread(block.place, text.source[:start] + fresh + text.source[end:])
    above, below = text.python[: block.first - 1], text.python[block.first - 1 + count :]
    if (above and above[-1].endswith("\\")) or cell.python.split("\n") != above + content.split("\n") + below:
        return False  # only then may whole statements in the place of whole statements be something else
    draft.replace(block.place, cell)
    return True


def _imports(code: str) -> list[Import] | None:
    """Return the statements of a block if they are imports, each on its own lines."""
    tree, _ = parse_quietly(code)
    found = [node for node in tree.body if isinstance(node, Import)] if tree else []
    rows = [row for node in found for row in range(node.lineno, (node.end_lineno or 0) + 1)]
    return found if tree and len(found) == len(tree.body) and len(rows) == len(set(rows)) else None


def _order(block: list[Import]) -> list[Binding]:
    return [binding for node in block for binding in bindings(node)]


def _objection(before: list[Import], after: list[Import], old: str, new: str) -> str:
    """Return why the new order may mean something else than the old one, "" when it cannot."""
    first, second = _order(before), _order(after)
    if Counter(first) != Counter(second) or _comments(old) != _comments(new):
        return "sorting would change more than their order"
    if any(EXPLAINED.search(comment) for comment in _comments(old)):
        return "a comment explains one of them"
    targets: dict[str, set[tuple[str, str]]] = {}
    for binding in first:
        targets.setdefault(binding.name, set()).add(binding.target)
    if any(len(found) > 1 for found in targets.values()):
        return "two of them bind the same name"
    fixed = [binding for binding in first if not _free(binding)]
    moved = _moved(first, second, set(fixed))
    if moved:
        return f"{moved.module} may do more than bind a name, so what stands before it stays before it"
    natives = [[root for root in map(_root, order) if root in known.NATIVE] for order in (first, second)]
    if natives[0] != natives[1]:
        return "which native library loads first may matter"
    return ""


def _free(binding: Binding) -> bool:
    return binding.name != "*" and known.moves_freely(binding.module, binding.attribute)


def _root(binding: Binding) -> str:
    return binding.module.partition(".")[0]


def _moved(first: list[Binding], second: list[Binding], fixed: set[Binding]) -> Binding | None:
    """Return a fixed binding that does not have the same bindings before it in both orders."""
    difference: Counter[Binding] = Counter()
    open_ = 0
    for old, new in zip(first, second, strict=True):
        if (old in fixed or new in fixed) and (open_ or old != new):
            return old if old in fixed else new
        for binding, step in ((old, 1), (new, -1)):
            open_ -= difference[binding] != 0
            difference[binding] += step
            open_ += difference[binding] != 0
    return None


def _comments(code: str) -> Counter[str]:
    """Return the comments of a block of imports, which has no strings."""
    return Counter(comment.rstrip() for comment in _COMMENT.findall(code))
