"""Merge three versions of a notebook cell by cell, as git's merge driver.

Each version is first made what the filter stores, so that outputs and counts never conflict. Where both sides changed
a cell's source, the lines are merged by git itself and a conflict is marked inside the cell: the file stays a notebook.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kagg import KaggError, bad_input, cell_source, shared, write_atomic
from plugins.lib.git_cells import label_sides, merged_order, replaced_twice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kagg import Context
    from plugins.lib.git_cells import Cell, Label
    from plugins.lib.git_filter import Policy
    from plugins.lib.git_setup import Git

PLUGIN = {"api": 1, "summary": "merges notebooks cell by cell", "requires": {}}

MINE = ("kernelspec", "language_info")  # facts about whoever ran it last: ours holds without a word
MAX_BYTES = 16 * 1024**2  # without outputs; beyond, texts are not decoded
FAILED_MERGE = 128  # and above: git merge-file could not do it; below: how many conflicts it marked
EMPTY = b'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}'
_ABSENT: Any = object()


def merge_files(ctx: Context, policy: Policy, sides: Sequence[Path], marker: int, name: str) -> list[str]:
    """Merge base, ours and theirs into the file of ours; return one line for each conflict.

    What is no notebook on one side, or larger than MAX_BYTES, is merged as text, as git would.
    """
    git = shared("git_setup").Git(ctx, Path.cwd())
    contents = [side.read_bytes() for side in sides]
    merge = _Merge(git, marker)
    try:
        notebooks = [_stored(ctx, policy, content, name) for content in contents]
        base, ours, theirs = (document.notebook for document in notebooks)
        merged = notebooks[1].render(merge.notebooks(base, ours, theirs))
        result, _ = shared("prep.steps").clean_bytes(ctx, merged, name, ("clean",), policy.options)
    except Exception as error:  # noqa: BLE001 - git merges what this cannot, and must not be left without a result
        if not isinstance(error, KaggError):
            ctx.say(f"kagg: {name} cannot be merged by cells (bug: {type(error).__name__})")
        result, failed = merge.text_files(sides)
        merge.conflicts = ["conflicts, as text: a version is no notebook, or is very large"] if failed else []
    write_atomic(sides[1], result)
    return merge.conflicts


def _stored(ctx: Context, policy: Policy, content: bytes, name: str) -> Any:
    """Return the document that the filter makes of a file; the base of a notebook that both sides added is empty."""
    clean_bytes, load = shared("prep.steps").clean_bytes, shared("prep.document").load
    result, _ = clean_bytes(ctx, content if content.strip() else EMPTY, name, ("clean", "outputs"), policy.options)
    if len(result) > MAX_BYTES:
        raise bad_input(f"{name} is too large to be merged by cells")
    return load(result, name)


class _Merge:
    """One merge: what conflicts were found."""

    def __init__(self, git: Git, marker: int) -> None:
        self.git, self.marker = git, marker
        self.conflicts: list[str] = []

    def notebooks(self, base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
        """Return the merged notebook."""
        rest = [{key: value for key, value in side.items() if key != "cells"} for side in (base, ours, theirs)]
        minors = [side.pop("nbformat_minor", 0) for side in rest]
        merged = self.objects(rest[0], rest[1], rest[2], "") | {"nbformat_minor": max(minors[1:])}
        cells = self.cells(base["cells"], ours["cells"], theirs["cells"])
        first = {key: merged[key] for key in ours if key in merged}
        return {key: cells if key == "cells" else value for key, value in ({"cells": []} | first | merged).items()}

    def cells(self, base: list[Cell], ours: list[Cell], theirs: list[Cell]) -> list[Cell]:
        """Return the merged list of cells."""
        labels = label_sides(base, ours, theirs)
        order, moved = merged_order(*labels)
        if moved:
            self.conflicts.append("both sides moved cells; their order is ours")
        if replaced := replaced_twice(*labels):
            self.conflicts.append(f"both sides replaced {replaced} cells; the new ones of both are kept")
        known: list[dict[Label, Cell]] = [
            dict(zip(names, cells, strict=True)) for names, cells in zip(labels, (base, ours, theirs), strict=True)
        ]
        result: list[Cell] = []
        for label in order:
            cell = self.cell(known[0].get(label), known[1].get(label), known[2].get(label), len(result))
            if cell is not None:
                result.append(cell)
        return result

    def cell(self, base: Cell | None, ours: Cell | None, theirs: Cell | None, number: int) -> Cell | None:
        """Return one merged cell, None when it goes."""
        if ours is None or theirs is None:
            left = theirs if ours is None else ours
            if base is None or left is None:
                return left
            return None if left == base else self.deleted(left, number, ours_deleted=ours is None)
        if theirs in (ours, base):
            return ours
        if ours == base:
            return theirs
        return self.both(base or {"cell_type": ours.get("cell_type")}, ours, theirs, number)

    def deleted(self, left: Cell, number: int, *, ours_deleted: bool) -> Cell:
        """Keep a cell that one side deleted and the other changed, between markers."""
        source = cell_source(left)
        marked = self.marked("", source) if ours_deleted else self.marked(source, "")
        who = "we deleted it and they changed it" if ours_deleted else "they deleted it and we changed it"
        self.conflicts.append(f"conflict in cell {number}: {who}")
        return left | {"source": _like(left, marked)}

    def both(self, base: Cell, ours: Cell, theirs: Cell, number: int) -> Cell:
        """Merge a cell that both sides changed."""
        texts = [cell_source(side) for side in (base, ours, theirs)]
        source, failed = self.text(texts[0], texts[1], texts[2])
        if failed:
            self.conflicts.append(f"conflict in cell {number}: both sides changed its source")
        sides = [{key: value for key, value in side.items() if key not in ("source", "outputs", "execution_count")}
                 for side in (base, ours, theirs)]  # fmt: skip
        if sides[1].get("id") != sides[2].get("id"):  # of a cell that both added
            sides[2]["id"] = sides[1].get("id", _ABSENT)
        merged = self.objects(sides[0], sides[1], sides[2], f"cell {number}: ")
        ran = theirs if source == texts[2] != texts[1] else ours
        whole = ours | merged | {"source": _like(ours, source)}
        if merged.get("cell_type") != "code":
            return {key: value for key, value in whole.items() if key not in ("outputs", "execution_count")}
        if source not in texts[1:]:  # nobody has run this text
            return whole | {"outputs": [], "execution_count": None}
        return whole | {"outputs": ran.get("outputs", []), "execution_count": ran.get("execution_count")}

    def objects(self, base: Any, ours: Any, theirs: Any, path: str) -> dict[str, Any]:
        """Merge three JSON objects key by key; a key that both changed differently stays ours and is a conflict."""
        result: dict[str, Any] = {}
        for key in dict.fromkeys([*ours, *theirs]):
            old, mine, yours = (side.get(key, _ABSENT) for side in (base, ours, theirs))
            chosen = self.value(old, mine, yours, f"{path}{key}", quiet=key in MINE)
            if chosen is not _ABSENT:
                result[key] = chosen
        return result

    def value(self, old: Any, mine: Any, yours: Any, path: str, *, quiet: bool) -> Any:
        if yours in (mine, old):
            return mine
        if mine == old:
            return yours
        if quiet:
            return yours if mine is _ABSENT else mine
        if isinstance(mine, dict) and isinstance(yours, dict):
            return self.objects(old if isinstance(old, dict) else {}, mine, yours, f"{path}.")
        if isinstance(mine, list) and isinstance(yours, list) and path.endswith(".tags"):
            before = old if isinstance(old, list) else []
            both = [tag for tag in mine if tag in yours or tag not in before]
            return both + [tag for tag in yours if tag not in mine and tag not in before]
        kept = "theirs" if mine is _ABSENT else "ours"
        self.conflicts.append(f"conflict in {path}: both sides changed it; {kept} is kept")
        return yours if mine is _ABSENT else mine

    # ---------------------------------------------------------------- text

    def text(self, base: str, ours: str, theirs: str) -> tuple[str, bool]:
        """Merge three texts line by line; return the text and whether it has conflicts."""
        if theirs in (ours, base):
            return ours, False
        if ours == base:
            return theirs, False
        with tempfile.TemporaryDirectory(prefix="kagg-merge-") as folder:
            paths = [Path(folder, name) for name in ("base", "ours", "theirs")]
            for path, text in zip(paths, (base, ours, theirs), strict=True):
                whole = text if text.endswith("\n") or not text else text + "\n"
                path.write_bytes(whole.encode("utf-8", "surrogatepass"))
            merged, failed = self.text_files(paths)
        text = merged.decode("utf-8", "surrogatepass")
        ends_with_newline = ours.endswith("\n") and theirs.endswith("\n")
        return text if ends_with_newline else text.removesuffix("\n"), failed

    def text_files(self, paths: Sequence[Path]) -> tuple[bytes, bool]:
        """Merge three files as git does; where it cannot (binary data), mark all of both sides."""
        base, ours, theirs = (str(path) for path in paths)
        size = f"--marker-size={self.marker}"
        labels = ("-L", "ours", "-L", "base", "-L", "theirs")
        done = self.git.run("merge-file", "-p", "-q", size, *labels, "--", ours, base, theirs)
        if 0 <= done.returncode < FAILED_MERGE:
            return done.stdout, done.returncode > 0
        sides = [path.read_bytes().decode("utf-8", "surrogateescape") for path in paths[1:]]
        return self.marked(*sides).encode("utf-8", "surrogateescape") + b"\n", True

    def marked(self, ours: str, theirs: str) -> str:
        """Return both texts between conflict markers."""
        parts = [f"{'<' * self.marker} ours", ours.removesuffix("\n"), "=" * self.marker, theirs.removesuffix("\n"),
                 f"{'>' * self.marker} theirs"]  # fmt: skip
        return "\n".join(part for part in parts if part)


def _like(cell: Cell, text: str) -> Any:
    """Return a source as the cell stores it: one string, or its lines."""
    return text.splitlines(keepends=True) if isinstance(cell.get("source"), list) else text
