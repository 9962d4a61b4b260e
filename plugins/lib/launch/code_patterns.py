"""Which files --include and --exclude mean.

As in .gitignore: without a slash a pattern matches in every folder, with one from the top; `**` stands for any folders;
a folder means all that is in it. Names are POSIX paths relative to the top.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from kagg import bad_input

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

WILD = re.compile(r"[*?\[]")


class Pattern(NamedTuple):
    """One pattern. `parts` are its segments, `anchored` says that they begin at the top."""

    text: str
    parts: tuple[str, ...]
    anchored: bool
    regex: re.Pattern[str]

    def names(self, name: str) -> bool:
        """Tell whether the pattern calls this file or folder, or something in it, by its name, without wildcards."""
        segments = tuple(name.split("/"))
        if not self.anchored:
            return not WILD.search(self.text) and self.parts[0] == segments[-1]
        return self.parts[: len(segments)] == segments and not any(map(WILD.search, segments))

    def reaches(self, name: str) -> bool:
        """Tell whether the pattern may mean something in this folder."""
        if not self.anchored:
            return True
        for part, segment in zip(self.parts, name.split("/"), strict=False):
            if part == "**":
                return True
            if not re.fullmatch(_segment(part), segment, re.DOTALL):
                return False
        return True


class Patterns:
    """The patterns of one option; `used` are those that have matched."""

    def __init__(self, option: str, texts: Iterable[str], folder: Path) -> None:
        self.option = option
        self.all = [_pattern(option, text, folder) for text in texts]
        self.used: set[str] = set()

    def match(self, name: str) -> bool:
        """Tell whether a pattern means this file or folder, or a folder that it is in."""
        found = [pattern.text for pattern in self.all if pattern.regex.fullmatch(name)]
        self.used.update(found)
        return bool(found)

    def names(self, name: str, *, exactly: bool = False) -> bool:
        """Tell whether a pattern calls this by its name; without `exactly`, also something in it."""
        found = [pattern for pattern in self.all if pattern.names(name)]
        return any(
            not exactly or (pattern.regex.fullmatch(name) and not WILD.search(pattern.text)) for pattern in found
        )

    def reach(self, name: str) -> bool:
        """Tell whether a pattern may mean something in this folder."""
        return any(pattern.reaches(name) for pattern in self.all)

    def unused(self) -> list[str]:
        """Return the patterns that have matched nothing."""
        return [pattern.text for pattern in self.all if pattern.text not in self.used]


def _pattern(option: str, text: str, folder: Path) -> Pattern:
    """Compile one pattern.

    Raises:
        KaggError: USAGE when it can match nothing below the folder.
    """
    wanted = text.replace(os.sep, "/")
    top = folder.resolve().as_posix()
    for prefix in (top, folder.absolute().as_posix()):
        if wanted == prefix or wanted.startswith(prefix.rstrip("/") + "/"):
            wanted = "/" + wanted[len(prefix) :].strip("/")
    parts = tuple(part for part in wanted.split("/") if part not in ("", "."))
    if ".." in parts or wanted.startswith("~") or not text.strip() or "\0" in text:
        raise bad_input(f"{option} {text!r} names nothing below {folder}", "only files below this folder are sent")
    body = wanted.rstrip("/")
    anchored = "/" in body
    if not anchored and option == "--include" and not WILD.search(body) and (folder / body).exists():
        anchored = True  # the one beside the script, and no walk for others
    try:
        regex = re.compile(_regex(parts, anchored=anchored, inside=wanted.endswith("/")), re.DOTALL)
    except re.error as error:
        raise bad_input(f"{option} {text!r} is no pattern: {error}") from error
    return Pattern(text, parts or ("**",), anchored or not parts, regex)


def _regex(parts: tuple[str, ...], *, anchored: bool, inside: bool) -> str:
    """Return the regular expression of a pattern; with `inside` it means what is in a folder of this name only."""
    text = "" if anchored else "(?:.*/)?"
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "**":
            text += ".+" if last else "(?:.*/)?"
        else:
            text += _segment(part) + ("" if last else "/")
    return (text or ".*") + ("/.+" if inside and parts else "(?:/.*)?")


def _segment(part: str) -> str:
    """Return the regular expression of what stands between two slashes."""
    found = ""
    for each in re.findall(r"\[!?\]?[^\]]*\]|\*+|\?|.", part, re.DOTALL):
        if each.startswith("*"):
            found += "[^/]*"
        elif each == "?":
            found += "[^/]"
        elif each.startswith("[") and len(each) > 2:
            inner = each[1:-1].replace("\\", r"\\").replace("[", r"\[")
            found += "(?!/)[" + ("^" + inner[1:] if inner.startswith("!") else inner.replace("^", r"\^", 1)) + "]"
        else:
            found += re.escape(each)
    return found
