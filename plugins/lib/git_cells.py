"""Which cell of one notebook is which cell of another, and in which order the cells of both sides follow."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from kagg import cell_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

PLUGIN = {"api": 1, "summary": "pairs the cells of two notebooks", "requires": {}}

WORD, LINE = re.compile(r"\w+|[^\w\s]"), re.compile(r"\S.*")
Cell = dict[str, Any]
Label = tuple[str, int]  # ("base", index) of a cell that was there, ("new", number) of one that was not

SIMILAR = 0.5  # share of words, signs or lines that two versions of one cell have in common at least
SHORT_CHARS = 2000  # of a cell that is compared by words and signs; a longer one by lines
POSITION_DIGITS = 6
NEAREST = 20  # cells before and behind that a changed cell is compared with, so that time stays linear


def pair_cells(base: Sequence[Cell], side: Sequence[Cell]) -> dict[int, int]:
    """Return, for cells of `side`, which cell of `base` each one is.

    In this order: equal cells with the same id; equal cells at the front and at the end; equal text that both have
    equally often; the same id; the most similar text between two pairs; the order, where all cells between two pairs
    were rewritten.
    """
    pairs = _by_key(base, side, {}, _whole_key)
    taken = set(pairs.values())
    pairs |= {mine: other for mine, other in _ends(base, side) if mine not in pairs and other not in taken}
    for key in (_text_key, _id_key):
        pairs |= _by_key(base, side, pairs, key)
    for left, right in _gaps(len(base), len(side), pairs):
        pairs.update(_in_gap(base, side, left, right))
    return pairs


def _text_key(cell: Cell) -> Any:
    return cell.get("cell_type"), cell_source(cell)


def _id_key(cell: Cell) -> Any:
    """Return an id that names a cell; short numbers are positions, which some tools give anew at every save."""
    name = cell.get("id")
    if not isinstance(name, str) or (name.isdecimal() and len(name) <= POSITION_DIGITS):
        return None
    return cell.get("cell_type"), name


def _whole_key(cell: Cell) -> Any:
    """Return id and text, which tell equal cells apart; None without an id."""
    name = _id_key(cell)
    return name and (name, cell_source(cell))


def _ends(base: Sequence[Cell], side: Sequence[Cell]) -> Iterator[tuple[int, int]]:
    """Yield (side, base) of the cells that are equal at the front and at the end."""
    shorter, start = min(len(base), len(side)), 0
    while start < shorter and _text_key(base[start]) == _text_key(side[start]):
        yield start, start
        start += 1
    back = 1
    while back <= shorter - start and _text_key(base[-back]) == _text_key(side[-back]):
        yield len(side) - back, len(base) - back
        back += 1


def _by_key(
    base: Sequence[Cell], side: Sequence[Cell], pairs: dict[int, int], key: Callable[[Cell], Any]
) -> dict[int, int]:
    """Pair the cells that share a key, where both sides have it equally often."""
    taken, places = set(pairs.values()), defaultdict(list)
    for index, cell in enumerate(base):
        if index not in taken:
            places[key(cell)].append(index)
    wanted = defaultdict(list)
    for index, cell in enumerate(side):
        if index not in pairs:
            wanted[key(cell)].append(index)
    return {
        mine: other
        for name, mines in wanted.items()
        if name is not None and len(mines) == len(places.get(name, ()))
        for mine, other in zip(mines, places[name], strict=True)
    }


def _gaps(base_size: int, side_size: int, pairs: dict[int, int]) -> Iterator[tuple[list[int], list[int]]]:
    """Yield the cells of base and side without a partner that lie between the same two pairs, the moved left out."""
    taken, last, mark = set(pairs.values()), -1, 0
    right: list[int] = []
    for index in range(side_size + 1):
        other = pairs.get(index) if index < side_size else base_size
        if other is None:
            right.append(index)
        elif other > last:
            left = [known for known in range(mark, other) if known not in taken]
            if left and right:
                yield left, right
            right, last, mark = [], other, other + 1


def _in_gap(base: Sequence[Cell], side: Sequence[Cell], left: list[int], right: list[int]) -> dict[int, int]:
    """Pair changed cells, the most similar ones first."""
    scored = []
    for at, mine in enumerate(right):
        middle = at * len(left) // len(right)
        for other in left[max(0, middle - NEAREST) : middle + NEAREST]:
            score = similarity(base[other], side[mine])
            if score >= SIMILAR:
                scored.append((-score, mine, other))
    found: dict[int, int] = {}
    taken: set[int] = set()
    for _, mine, other in sorted(scored):
        if mine not in found and other not in taken:
            found[mine] = other
            taken.add(other)
    if len(left) == len(right) and not found:  # as many as before, all rewritten
        found = {mine: other for mine, other in zip(right, left, strict=True) if _same_type(side[mine], base[other])}
    return found


def _same_type(one: Cell, other: Cell) -> bool:
    return bool(one.get("cell_type") == other.get("cell_type"))


def similarity(one: Cell, other: Cell) -> float:
    """Return the share of what two cells consist of (words and signs, or lines) that they have in common, 0 to 1."""
    if not _same_type(one, other):
        return 0.0
    texts = [cell_source(cell) for cell in (one, other)]
    parts = WORD if max(map(len, texts)) <= SHORT_CHARS else LINE
    counts = [Counter(parts.findall(text)) for text in texts]
    most = max(counts[0].total(), counts[1].total())
    return (counts[0] & counts[1]).total() / most if most else 0.0


# ---------------------------------------------------------------- three notebooks


def label_sides(
    base: Sequence[Cell], ours: Sequence[Cell], theirs: Sequence[Cell]
) -> tuple[list[Label], list[Label], list[Label]]:
    """Return a label for each cell of the three notebooks; the same label is the same cell.

    A cell that both sides added (the same id, or the same or similar text at the same place) has one label.
    """
    of_base: list[Label] = [("base", index) for index in range(len(base))]
    mine = _labels(pair_cells(base, ours), len(ours), 0)
    yours = _labels(pair_cells(base, theirs), len(theirs), len(ours))
    new = [index for index, label in enumerate(mine) if label[0] == "new"]
    added = [index for index, label in enumerate(yours) if label[0] == "new"]
    places = _after(mine, new), _after(yours, added)
    for their, our in pair_cells([ours[index] for index in new], [theirs[index] for index in added]).items():
        ours_cell, theirs_cell = ours[new[our]], theirs[added[their]]
        same_place = places[0][our] == places[1][their]
        if _same_id(ours_cell, theirs_cell) or (same_place and _alike(ours_cell, theirs_cell)):
            yours[added[their]] = mine[new[our]]
    return of_base, mine, yours


def _labels(pairs: dict[int, int], size: int, first: int) -> list[Label]:
    return [("base", pairs[index]) if index in pairs else ("new", first + index) for index in range(size)]


def _after(labels: list[Label], wanted: list[int]) -> list[Label | None]:
    """Return, for each wanted cell, the last cell of the base before it."""
    anchors: list[Label | None] = []
    last: Label | None = None
    for label in labels:
        last = label if label[0] == "base" else last
        anchors.append(last)
    return [anchors[index] for index in wanted]


def _alike(one: Cell, other: Cell) -> bool:
    """Tell whether two new cells are one: the same text, or similar text where no ids say otherwise."""
    named = _id_key(one) is not None and _id_key(other) is not None
    return _text_key(one) == _text_key(other) or (not named and similarity(one, other) >= SIMILAR)


def _same_id(one: Cell, other: Cell) -> bool:
    return _id_key(one) is not None and _id_key(one) == _id_key(other)


def replaced_twice(base: list[Label], ours: list[Label], theirs: list[Label]) -> int:
    """Return how many cells both sides removed where both added others: one text that was replaced in two ways."""
    kept, anchors = (set(ours), set(theirs)), []
    for side in (ours, theirs):
        new = [
            index for index, label in enumerate(side) if label[0] == "new" and (label in kept[0]) != (label in kept[1])
        ]
        anchors.append(set(_after(side, new)))
    count, last = 0, None
    for label in base:
        if label in kept[0] or label in kept[1]:
            last = label
        elif last in anchors[0] and last in anchors[1]:
            count += 1
    return count


def merged_order(base: list[Label], ours: list[Label], theirs: list[Label]) -> tuple[list[Label], bool]:
    """Return every cell that either side has, in order, and whether both moved cells differently (then ours holds).

    The order is that of the side that moved cells. What only the other side has follows the cell that it follows there;
    where both added cells at one place, ours come first.
    """
    common = set(base) & set(ours) & set(theirs)

    def order(side: Iterable[Label]) -> list[Label]:
        return [label for label in side if label in common]

    moved_ours, moved_theirs = order(ours) != order(base), order(theirs) != order(base)
    frame, other = (theirs, ours) if moved_theirs and not moved_ours else (ours, theirs)
    followers: dict[Label | None, list[Label]] = defaultdict(list)
    known, last = set(frame), None
    for label in other:
        if label in known:
            last = label
        else:
            followers[last].append(label)
    return _woven(frame, followers, ours_first=frame is ours), (
        moved_ours and moved_theirs and order(ours) != order(theirs)
    )


def _woven(frame: list[Label], followers: dict[Label | None, list[Label]], *, ours_first: bool) -> list[Label]:
    """Put each group of followers behind its cell, and behind what the frame itself added there if that is ours."""
    result: list[Label] = []
    anchor: Label | None = None
    waiting = followers.get(None, [])
    for label in [*frame, None]:
        added = label is not None and label[0] == "new" and label not in followers
        if not (added and ours_first and waiting):
            result += waiting
            waiting = []
        if label is not None:
            result.append(label)
            anchor = label
            waiting = [*waiting, *followers.get(anchor, [])]
    return result
