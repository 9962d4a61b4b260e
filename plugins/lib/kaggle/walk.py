"""List the files below a folder of the local Kaggle: plain ones, with names that JSON can carry."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def is_shown(name: str) -> bool:
    """Tell whether a name is UTF-8; what is not comes from the disk with lone surrogates (PEP 383)."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)


def files_below(folder: Path) -> list[str]:
    """Return the names, with forward slashes and sorted folder by folder, of all regular files below `folder`.

    Links are left out, they could lead anywhere; so are names that are not UTF-8.
    """
    return sorted((name for name in _below(folder) if is_shown(name)), key=lambda name: name.split("/"))


def _below(folder: Path) -> Iterator[str]:
    todo = [""]
    while todo:
        inside = todo.pop()
        try:
            entries = list(os.scandir(folder / inside))
        except (FileNotFoundError, NotADirectoryError):  # deleted meanwhile
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                todo.append(f"{inside}{entry.name}/")
            elif entry.is_file(follow_symlinks=False):
                yield f"{inside}{entry.name}"
