"""Change a JSON file's bytes only where its value changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plugins.lib.prep.document import AFTER, BIG_FILE_BYTES, MEMBER, SKIP_SPACE, BigText, key_text, value_end

if TYPE_CHECKING:
    from plugins.lib.prep.document import Style

_GONE: Any = object()


def spliced(content: bytes, start: int, old: Any, new: Any, style: Style) -> bytes:
    """Return `content`, which holds the value `old` after byte `start`, with the value `new` in its place.

    What is the same object in `old` and `new` keeps its bytes; so do the parts of equal containers.
    """
    splicer = _Splicer(content, style)
    splicer.value(SKIP_SPACE.match(content, start).end(), old, new, 0)  # type: ignore[union-attr]
    pieces: list[Any] = []
    at, view = 0, memoryview(content)
    for begin, end, text in splicer.edits:
        pieces += [view[at:begin], text]
        at = end
    return b"".join([*pieces, view[at:]])


class _Splicer:
    """Collects (start, end, replacement) in the order of the file."""

    def __init__(self, content: bytes, style: Style) -> None:
        self.content, self.style = content, style
        self.edits: list[tuple[int, int, bytes]] = []
        self.keys: dict[bytes, str] = {}
        self.big = len(content) > BIG_FILE_BYTES

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
        more = True
        while more:
            member = MEMBER.match(self.content, at)
            if not member:
                raise ValueError(f"no key at byte {at}")
            key = self.keys.get(member[1]) or self.keys.setdefault(member[1], key_text(member[1]))
            if key in new:
                before, after = old[key], new.pop(key)
                if before is after:
                    at, more = cut.keep(self.end(member.end(), before))
                else:
                    at, more = cut.keep(self.value(member.end(), before, after, level + 1))
            else:
                at, more = cut.drop(self.end(member.end(), old[key]))
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
            start = SKIP_SPACE.match(self.content, at).end()  # type: ignore[union-attr]
            if before is after:
                at, _ = cut.keep(self.end(start, before))
            elif after is _GONE:
                at, _ = cut.drop(self.end(start, before))
            else:
                at, _ = cut.keep(self.value(start, before, after, level + 1))
        return at


class _Cut:
    """Where in a container what goes begins and ends: with the comma before it, or after it at the front."""

    def __init__(self, splicer: _Splicer, at: int, kept: int) -> None:
        self.splicer, self.kept, self.seen = splicer, kept, False
        self.inside, self.comma, self.last = at, at, at

    def _after(self, end: int) -> tuple[int, bool, int]:
        after = AFTER.match(self.splicer.content, end)
        if not after:
            raise ValueError(f"no comma or bracket at byte {end}")
        return after.end(), after[1] == b",", after.start(1)

    def keep(self, end: int) -> tuple[int, bool]:
        """Go on behind a member that stays; return where, and whether another follows."""
        self.seen, self.last = True, end
        at, more, self.comma = self._after(end)
        return at, more

    def drop(self, end: int) -> tuple[int, bool]:
        """Cut a member out; return where to go on, and whether another follows."""
        at, more, mark = self._after(end)
        if self.seen:
            self.splicer.edits.append((self.last, end, b""))
            self.last = end
        elif self.kept:
            self.splicer.edits.append((self.inside, at, b""))
            self.inside = at
        elif not more:  # nothing stays
            self.splicer.edits.append((self.inside, mark, b""))
            self.last = mark
        return at, more

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
