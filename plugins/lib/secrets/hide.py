"""Hide every secret in texts for people and records: those in use by their values, all others by the rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kagg import redact
from plugins.lib.secrets.in_use import forms, secrets_in_use

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kagg import Context

PLUGIN = {"api": 1, "summary": "secrets hidden in texts", "requires": {}}

HIDDEN = "[secret]"
MAX_CHARS = 1024**2  # of one text; what is left out is said
OVERLAP_CHARS = 4096  # looked at beyond that, so that no secret is cut to what no rule knows
MIN_CHARS = 8  # no rule knows a shorter secret
SEPARATOR = "\n\0\n"  # no rule crosses it: see scan.py


def hide(ctx: Context, text: str) -> str:
    """Return the text with [secret] for each secret in it; the rest of one longer than MAX_CHARS is left out."""
    return hide_texts(ctx.env, [text])[0]


def hide_all(ctx: Context, value: Any) -> Any:
    """Return JSON-like data with the secrets hidden in its strings; names and everything else stay as they are.

    Rules see one string at a time: what only its name gives away is not hidden.
    """
    texts = list(dict.fromkeys(_strings(value)))
    return _replaced(value, dict(zip(texts, hide_texts(ctx.env, texts), strict=True)))


def _strings(value: Any) -> Iterator[str]:
    """Yield every string in data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def _replaced(value: Any, hidden: dict[str, str]) -> Any:
    """Return data with its strings exchanged; a tuple becomes a list, as in JSON."""
    if isinstance(value, str):
        return hidden[value]
    if isinstance(value, dict):
        return {name: _replaced(item, hidden) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replaced(item, hidden) for item in value]
    return value


def hide_texts(env: Mapping[str, str], texts: list[str]) -> list[str]:
    """Return the texts as `hide` does, for callers that have no context."""
    written = sorted({form for value in secrets_in_use(env) for form in forms(value)}, key=len, reverse=True)
    known = [_without(text[: MAX_CHARS + OVERLAP_CHARS], written) for text in texts]
    found = _by_rules(known)
    return [redact(_cut(new, len(old))) for new, old in zip(found, texts, strict=True)]


def _without(text: str, written: Iterable[str]) -> str:
    """Replace the values in use, in all their forms."""
    for form in written:
        text = text.replace(form, HIDDEN)
    return text


def _cut(text: str, size: int) -> str:
    """Cut a text that was too long to begin with, and say so."""
    if size <= MAX_CHARS:
        return text
    return f"{text[: max(0, MAX_CHARS - OVERLAP_CHARS)]}... (the rest of {size} characters is left out)"


def _by_rules(texts: list[str]) -> list[str]:
    """Replace what the rules find; without the package that they need, the texts stay as they are."""
    if all(len(text) < MIN_CHARS for text in texts):
        return texts
    try:
        from plugins.lib.secrets.match import find

        matches = [(match.start, _one(match.value)) for match in find(SEPARATOR.join(texts))]
        paths = (word for text in texts if "/" in text for word in text.split() if "/" in word)
        named = [_one(match.value) for match in find(SEPARATOR.join(name_pieces(paths)))]
    except ImportError:
        return texts
    matches.reverse()
    found, at = [], 0
    for text in texts:
        kept, done = [], at
        while matches and matches[-1][0] < at + len(text):
            start, value = matches.pop()
            kept += [text[done - at : start - at], HIDDEN]
            done = start + len(value)
        found.append(_without("".join([*kept, text[done - at :]]), named))
        at += len(text) + len(SEPARATOR)
    return found


def _one(value: str) -> str:
    """Return the part of a value that lies in one text."""
    return value.partition("\n\0")[0]


def name_pieces(names: Iterable[str]) -> list[str]:
    """Return each part of paths, and its stems: rules do not take a slash or a suffix for the edge of a token."""
    found: dict[str, None] = {}
    for name in names:
        for part in re.split(r"[/\\]", name):
            if len(part) >= MIN_CHARS:
                found |= dict.fromkeys((part, part.partition(".")[0], part.rpartition(".")[0]))
    return [piece for piece in found if len(piece) >= MIN_CHARS]
