"""Find the inputs of a run where this session has mounted them."""

from __future__ import annotations

import os
from pathlib import Path

from plugins.lib.launch.in_session_base import StageError, say

INPUT = Path("/kaggle/input")
LIBRARIES = Path("/kaggle/usr/lib")  # where utility scripts are
SEARCH_DEPTH, SEARCH_FOLDERS = 6, 3000  # the deepest mount is models/owner/model/framework/variation/version
TREE_DEPTH, TREE_LINES = 4, 80


def find_inputs(refs: list[str]) -> dict[str, str]:
    """Return the folder of each ref ("datasets/owner/slug", "competitions/slug", ...).

    Raises:
        StageError: one is nowhere below /kaggle/input; the log shows what is.
    """
    found = {ref: _find(ref) for ref in refs}
    missing = [ref for ref, folder in found.items() if folder is None]
    if missing:
        _print_tree(INPUT)
        raise StageError("inputs", f"not mounted below {INPUT}: {', '.join(missing)}")
    for ref, folder in found.items():
        if folder is not None and not _holds(folder):
            say(f"{ref} is mounted at {folder}, but empty")
    return {ref: str(folder) for ref, folder in found.items()}


def _candidates(ref: str) -> list[Path]:
    """Return the places of one input: as mounted since 2026, then as before."""
    kind, *names = ref.split("/")
    if kind == "models":  # owner/model/framework/variation/version; the owner was left out before
        return [INPUT.joinpath(kind, *names), INPUT.joinpath(*names[1:]), INPUT.joinpath(*names)]
    names = names[:1] if kind == "competitions" else names[:2]
    places = [INPUT.joinpath(kind, *names), INPUT / names[-1]]
    if kind == "notebooks":
        places.append(LIBRARIES / names[-1].replace("-", "_"))
    return places


def _find(ref: str) -> Path | None:
    """Return where one input is, None when it is nowhere; a place with something in it comes first."""
    present = [place for place in _candidates(ref) if place.is_dir()] or _searched(ref)
    return next((place for place in present if _holds(place)), present[0] if present else None)


def _holds(folder: Path) -> bool:
    """Tell whether there is anything in a folder."""
    try:
        return any(folder.iterdir())
    except OSError:
        return False


def _searched(ref: str) -> list[Path]:
    """Look for a folder whose path ends like the ref, in any case, in a bounded part of the tree.

    A slug alone counts only near the top: deeper down it may be a folder inside another input.
    """
    kind, *names = ref.lower().split("/")
    tail = names[1:] if kind == "models" else names[: 1 if kind == "competitions" else 2]
    places = []
    for number, (root, folders, _) in enumerate(os.walk(INPUT)):
        parts = Path(root).relative_to(INPUT).parts
        lower = [part.lower() for part in parts]
        if lower and ((lower[-len(tail) :] == tail and len(lower) <= len(tail) + 2) or lower == tail[-1:]):
            places.append(Path(root))
        folders.sort()
        if len(parts) >= SEARCH_DEPTH:
            folders.clear()
        if number >= SEARCH_FOLDERS:
            break
    return places


def _print_tree(top: Path) -> None:
    """Show the upper part of a tree in the log."""
    if not top.is_dir():
        say(f"{top} does not exist")
        return
    say(f"{top} holds:")
    lines = 0
    for root, folders, files in os.walk(top):
        depth = len(Path(root).relative_to(top).parts)
        folders.sort()
        if depth >= TREE_DEPTH:
            folders.clear()
        for name in sorted([*(folder + "/" for folder in folders), *files[:20]]):
            lines += 1
            if lines > TREE_LINES:
                say("  ... and more")
                return
            say("  " + (Path(root) / name).relative_to(top).as_posix() + ("/" if name.endswith("/") else ""))
