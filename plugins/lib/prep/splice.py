"""Change a JSON file's bytes only where its value changed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from plugins.lib.prep.document import AFTER, BIG_FILE_BYTES, MEMBER, SKIP_SPACE, BigText, value_end

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugins.lib.prep.document import Style

    Matcher = Callable[[bytes, int], re.Match[bytes] | None]

_GONE: Any = object()
_SPACE, _STRING = rb"[ \t\r\n]*+", rb'"(?:[^"\\]++|\\.)*+"'
_PLAIN = rb'[^\[\]{}"]*+(?:' + _STRING + rb'[^\[\]{}"]*+)*+'  # anything without brackets outside strings
MAX_NESTING = 6  # of containers that one match takes in; deeper ones are walked


def _value() -> bytes:
    """Return a pattern for a whole JSON value; what it is matched on is known to be JSON."""
    inside = _PLAIN
    for _ in range(MAX_NESTING - 1):
        inside = _PLAIN + rb"(?:[\[{]" + inside + rb"[\]}]" + _PLAIN + rb")*+"
    return rb"(?:" + _STRING + rb'|[^\s,\[\]{}"]++|[\[{]' + inside + rb"[\]}])"


SAME_ITEM = re.compile(_SPACE + rb"(" + _value() + rb")" + _SPACE + rb"[,\]]", re.DOTALL)
SAME_MEMBER = re.compile(
    _SPACE + _STRING + _SPACE + rb":" + _SPACE + rb"(" + _value() + rb")" + _SPACE + rb"[,}]", re.DOTALL
)


def _no(content: bytes, at: int) -> re.Match[bytes] | None:
    del content, at
    return None


def spliced(content: bytes, start: int, old: Any, new: Any, style: Style) -> list[bytes | memoryview]:
    """Return `content`, which holds the value `old` after byte `start`, with the value `new` in its place, in pieces.

    What is the same object in `old` and `new` keeps its bytes; so do the parts of equal containers. The pieces look
    into `content`: a large file is not copied.
    """
    splicer = _Splicer(content, style)
    splicer.value(SKIP_SPACE.match(content, start).end(), old, new, 0)  # type: ignore[union-attr]
    pieces: list[Any] = []
    at, view = 0, memoryview(content)
    for begin, end, text in splicer.edits:
        pieces += [view[at:begin], text]
        at = end
    return [*pieces, view[at:]]


class _Splicer:
    """Collects (start, end, replacement) in the order of the file."""

    def __init__(self, content: bytes, style: Style) -> None:
        self.content, self.style = content, style
        self.edits: list[tuple[int, int, bytes]] = []
        self.big = len(content) > BIG_FILE_BYTES
        # One match for a whole member or item that stays. Not in a large file, where `end` can jump over texts.
        self.same_member: Matcher = _no if self.big else SAME_MEMBER.match
        self.same_item: Matcher = _no if self.big else SAME_ITEM.match

    def end(self, at: int, value: Any) -> int:
        """Return where the value at byte `at` ends; over a large text it jumps."""
        if isinstance(value, BigText):
            return value.end
        if not self.big or not has_big(value):
            return value_end(self.content, at)
        at += 1
        items = value.values() if isinstance(value, dict) else value
        for item in items:
            begin = (MEMBER if isinstance(value, dict) else SKIP_SPACE).match(self.content, at)
            after = AFTER.match(self.content, self.end(begin.end(), item))  # type: ignore[union-attr]
            at = after.end()  # type: ignore[union-attr]
        return at

    def value(self, at: int, old: Any, new: Any, level: int) -> int:
        """Compare the value at byte `at`, and return where it ends."""
        if isinstance(old, dict) and isinstance(new, dict) and old and new and new is not old:
            return self.members(at, old, dict(new), level)
        if isinstance(old, list) and isinstance(new, list) and old and new and new is not old:
            return self.items(at, old, new, level)
        end = self.end(at, old)
        if new is not old and not _same(old, new):
            self.edits.append((at, end, self.style.encode(new, level)))
        return end

    def members(self, at: int, old: dict[str, Any], new: dict[str, Any], level: int) -> int:
        """Compare an object member by member; new keys follow the last."""
        at += 1
        cut = _Cut(self, at, sum(key in new for key in old))
        for key, before in old.items():  # in the order of the file, where no key stands twice
            after = new.pop(key, _GONE)
            if before is after and cut.hole < 0 and (found := self.same_member(self.content, at)):
                at, cut.seen, cut.last = found.end(), True, found.end(1)
                continue
            member: re.Match[bytes] = MEMBER.match(self.content, at)  # type: ignore[assignment]
            if after is _GONE:
                at = cut.drop(member.start(1), self.end(member.end(), before))
            else:
                cut.fill(member.start(1))
                at = cut.keep(self.value(member.end(), before, after, level + 1))
        if new:
            added = [self.style.encode(key) + self.style.colon.encode() + self.style.encode(value, level + 1)
                     for key, value in new.items()]  # fmt: skip
            cut.add(added, level)
        return at

    def items(self, at: int, old: list[Any], new: list[Any], level: int) -> int:
        """Compare a list item by item; of lists of unequal length, what is the same object counts as the same."""
        pairs = list(zip(old, new, strict=True)) if len(old) == len(new) else _aligned(old, new)
        if pairs is None:
            end = self.end(at, old)
            self.edits.append((at, end, self.style.encode(new, level)))
            return end
        at += 1
        cut = _Cut(self, at, sum(after is not _GONE for _, after in pairs))
        for before, after in pairs:
            if before is after and cut.hole < 0 and (found := self.same_item(self.content, at)):
                at, cut.seen, cut.last = found.end(), True, found.end(1)
                continue
            start = SKIP_SPACE.match(self.content, at).end()  # type: ignore[union-attr]
            if after is _GONE:
                at = cut.drop(start, self.end(start, before))
            else:
                cut.fill(start)
                at = cut.keep(self.value(start, before, after, level + 1))
        return at


class _Cut:
    """Where in a container what goes begins and ends: with the comma before it; at the front, up to what stays.

    `hole` is where the first member began, while all so far went.
    """

    def __init__(self, splicer: _Splicer, at: int, kept: int) -> None:
        self.splicer, self.kept, self.seen = splicer, kept, False
        self.inside, self.last, self.hole = at, at, -1

    def keep(self, end: int) -> int:
        """Return where the container goes on behind a member that stays."""
        self.seen, self.last = True, end
        return AFTER.match(self.splicer.content, end).end()  # type: ignore[union-attr]

    def fill(self, start: int) -> None:
        """Let the member that starts here be the first, in the place of those that went."""
        if self.hole >= 0:
            self.splicer.edits.append((self.hole, start, b""))
            self.hole = -1

    def drop(self, start: int, end: int) -> int:
        """Cut a member out, and return where the container goes on."""
        after: re.Match[bytes] = AFTER.match(self.splicer.content, end)  # type: ignore[assignment]
        at, mark = after.end(), after.start(1)
        if self.seen:
            self.splicer.edits.append((self.last, end, b""))
            self.last = end
        elif self.kept:
            self.hole = start if self.hole < 0 else self.hole
        elif after[1] != b",":  # nothing stays
            self.splicer.edits.append((self.inside, mark, b""))
            self.last = mark
        return at

    def add(self, added: list[bytes], level: int) -> None:
        """Put new members behind the last that stays."""
        style = self.splicer.style
        lead = b"" if style.indent is None else (style.newline + style.indent * (level + 1)).encode()
        between = b"," + lead if style.indent is not None else style.item.encode()
        text = between.join(added)
        if self.seen:
            self.splicer.edits.append((self.last, self.last, between + text))
        else:
            tail = b"" if style.indent is None else (style.newline + style.indent * level).encode()
            self.splicer.edits.append((self.last, self.last, lead + text + tail))


def has_big(value: Any) -> bool:
    """Tell whether a value holds a text that was not decoded."""
    if isinstance(value, dict):
        return any(map(has_big, value.values()))
    return any(map(has_big, value)) if isinstance(value, list) else isinstance(value, BigText)


def _same(old: Any, new: Any) -> bool:
    """Tell whether two values are equal as JSON: 1, 1.0 and true are not."""
    return type(old) is type(new) and bool(old == new)


def _aligned(old: list[Any], new: list[Any]) -> list[tuple[Any, Any]] | None:
    """Pair the items of a list with those of a shorter one that are the same objects; None when it holds others."""
    pairs: list[tuple[Any, Any]] = []
    at = 0
    for item in old:
        if at < len(new) and new[at] is item:
            pairs.append((item, item))
            at += 1
        else:
            pairs.append((item, _GONE))
    return pairs if at == len(new) else None
