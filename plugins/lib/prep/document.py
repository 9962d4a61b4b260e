"""Read a notebook's bytes, and write it back so that what no step touched keeps its bytes.

A step returns the very objects that it did not change, so `Document.render` compares by identity: it walks the bytes
beside the old and the new value, copies what is the same, and encodes only what differs, in the style (indent,
separators, escapes, line ends) that the file has. A large output is never decoded: it is a `BigText`.
"""

from __future__ import annotations

import codecs
import json
import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import bad_input

if TYPE_CHECKING:
    from collections.abc import Iterator

BIG_FILE_BYTES = 16 * 1024**2  # above, outputs stay encoded; below, decoding all costs less than looking
BIG_VALUE_BYTES = 1024**2
WINDOW_BYTES, OVERLAP_CHARS = 1024**2, 4096
MAX_DEPTH = 50  # containers of over BIG_VALUE_BYTES inside each other
IN_OUTPUTS = ".cells[].outputs["  # how a path into an output begins
OUTER = ("", ".cells", ".cells[]", ".cells[].outputs")
NEWEST_MINOR = 5  # nbformat.v4: 4.5 added cell ids
MAX_PATIENCE_BYTES = 2 * 1024**3

_SPACE = rb"[ \t\r\n]*+"
_STRING = rb'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"'
STRING = re.compile(_STRING)
SKIP_SPACE = re.compile(_SPACE)
MEMBER = re.compile(_SPACE + rb'("(?:[^"\\]++|\\.)*+")' + _SPACE + rb":" + _SPACE, re.DOTALL)
AFTER = re.compile(_SPACE + rb"([,\]}])")
SCALAR = re.compile(rb"[^,\]}\s]++")
TO_BRACKET = re.compile(rb'[^\[\]{}"]*+(?:"(?:[^"\\]++|\\.)*+"[^\[\]{}"]*+)*+', re.DOTALL)
_ESCAPE, _HIGH = rb"\\u[0-9a-fA-F]{4}", rb"\\u[dD][89abAB][0-9a-fA-F]{2}"
WHOLE = re.compile(  # half of a pair of surrogates only with what follows it
    rb'(?:[^"\\]++|'
    + _HIGH
    + rb"(?:"
    + _ESCAPE
    + rb"|(?=[^\\]|\\[^u]))|(?!"
    + _HIGH
    + rb")"
    + _ESCAPE
    + rb"|\\[^u])*+",
    re.DOTALL,
)
BETWEEN = re.compile(_SPACE + rb",?" + _SPACE)
ITEMS = re.compile(rb"(?:" + _STRING + _SPACE + rb",?" + _SPACE + rb")*+")
STRINGS = re.compile(
    rb"\[" + _SPACE + _STRING + rb"(?:" + _SPACE + rb"," + _SPACE + _STRING + rb")*+" + _SPACE + rb"\]"
)


class BigText:
    """A text inside an output (a JSON string, or a list of them) that stays in the file's bytes."""

    def __init__(self, content: bytes, start: int, end: int) -> None:
        self._content, self._start, self._end = content, start, end

    @property
    def end(self) -> int:
        """Return the byte of the file behind it."""
        return self._end

    @property
    def size_bytes(self) -> int:
        """Return how many bytes it takes in the file."""
        return self._end - self._start

    def chunks(self) -> Iterator[str]:
        """Yield the decoded text in windows of about 1 MiB; each begins with the last 4 KiB of the one before."""
        tail = ""
        for piece in self._pieces():
            yield tail + piece
            tail = (tail + piece)[-OVERLAP_CHARS:]

    def _pieces(self) -> Iterator[str]:
        if self._content[self._start : self._start + 1] == b'"':
            yield from self._decoded(self._start + 1, self._end - 1)
            return
        content, end, at = self._content, self._end - 1, self._start + 1
        while (at := BETWEEN.match(content, at, end).end()) < end:  # type: ignore[union-attr]
            cut = ITEMS.match(content, at, min(end, at + WINDOW_BYTES)).end()  # type: ignore[union-attr]
            if cut > at:  # as many whole strings as fit
                yield "".join(json.loads(b"[" + content[at:cut].rstrip(b" \t\r\n,") + b"]"))
            else:  # one that does not
                cut = value_end(content, at)
                yield from self._decoded(at + 1, cut - 1)
            at = cut

    def _decoded(self, start: int, end: int) -> Iterator[str]:
        """Decode the inside of one JSON string, cut where no escape, pair of escapes or character is in two."""
        while start < end:
            cut = WHOLE.match(self._content, start, min(end, start + WINDOW_BYTES)).end()  # type: ignore[union-attr]
            while cut < end and self._content[cut] & 0xC0 == 0x80:
                cut -= 1
            if cut <= start:  # half a pair at the very end
                cut = end
            yield json.loads(b'"' + self._content[start:cut] + b'"')
            start = cut


class Style(NamedTuple):
    """How a JSON file is written: `indent` None for one line."""

    indent: str | None
    item: str
    colon: str
    escaped: bool
    newline: str

    def encode(self, value: Any, level: int = 0) -> bytes:
        """Return the value as it would stand `level` containers deep."""
        if not value and (plain := _PLAIN.get(type(value))):  # what stripping writes, thousands of times
            return plain
        separators = (self.item, self.colon)
        text = json.dumps(value, ensure_ascii=self.escaped, indent=self.indent, separators=separators)
        if not self.escaped and re.search("[\ud800-\udfff]", text):
            text = json.dumps(value, indent=self.indent, separators=separators)
        if self.indent is not None:
            text = text.replace("\n", self.newline + self.indent * level)
        return text.encode()


_PLAIN = {type(None): b"null", list: b"[]", dict: b"{}"}


def style_of(content: bytes) -> Style:
    """Read the style off the first members of a file."""
    first = re.match(rb"\s*\{(\r?\n)([ \t]*)", content)
    colon = re.match(rb'[^:]*"(\s*:[ \t]*)', content[:400])
    between = re.search(rb"[\w\"\]}](,[ ]*)[\"{\[]", content[:400])
    escaped = content.isascii() and re.search(rb"\\u(?!00[01])[0-9a-fA-F]{4}", content) is not None
    return Style(
        first[2].decode() if first else None,
        "," if first else (between[1].decode() if between else ", "),
        colon[1].decode() if colon else ": ",
        escaped,
        first[1].decode() if first else "\n",
    )


# ---------------------------------------------------------------- walking over bytes that are known to be JSON


def value_end(content: bytes, at: int, limit: int = sys.maxsize) -> int:
    """Return where the value that starts at `at` ends; -1 when that is `limit` or later."""
    first = content[at]
    if first in b"{[":
        return _container_end(content, at, limit)
    match = (STRING if first == 0x22 else SCALAR).match(content, at, limit)
    if match:
        return match.end()
    if limit < len(content):
        return -1
    raise ValueError(f"no JSON value at byte {at}")


def _container_end(content: bytes, at: int, limit: int) -> int:
    depth, size = 0, min(len(content), limit)
    while at < size:
        if content[at] in b"{[":
            depth += 1
        elif content[at] in b"}]":
            depth -= 1
            if not depth:
                return at + 1
        elif limit > len(content):
            raise ValueError(f"a string does not end at byte {at}")
        else:
            return -1
        at = TO_BRACKET.match(content, at + 1, size).end()  # type: ignore[union-attr]  # it matches the empty string
    if limit < len(content):
        return -1
    raise ValueError("it ends inside an object or a list")


def key_text(raw: bytes) -> str:
    """Return an object's key from its JSON."""
    return str(json.loads(raw))


def no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object; what editors read of a key that stands twice depends on the editor."""
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in names if names.count(key) > 1)[:40]!r} stands twice")
    return made


class _BigReader:
    """Decodes a large notebook and leaves the large texts of its outputs where they are."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.decode = json.JSONDecoder(object_pairs_hook=no_twins).decode

    def small(self, start: int, end: int) -> Any:
        return self.decode(self.content[start:end].decode())

    def whole(self) -> Any:
        """Decode the file: containers of containers down to the outputs, everything else at once."""
        start = SKIP_SPACE.match(self.content).end()  # type: ignore[union-attr]
        if self.content[start : start + 1] not in (b"{", b"["):
            raise ValueError("it is neither an object nor a list")
        value, end = self.value(start, "", 0)
        if SKIP_SPACE.match(self.content, end).end() != len(self.content):  # type: ignore[union-attr]
            raise ValueError(f"something follows at byte {end}")
        return value

    def value(self, at: int, path: str, depth: int) -> tuple[Any, int]:
        """Return the value at `at` and where it ends."""
        end = value_end(self.content, at, at + BIG_VALUE_BYTES) if path.startswith(".cells[]") else -1
        if end >= 0:
            return self.small(at, end), end
        if self.content[at] in b"{[" and (path in OUTER or path.startswith(IN_OUTPUTS)):
            texts = STRINGS.match(self.content, at) if path.startswith(IN_OUTPUTS) else None
            if texts:
                return self.text(at, texts.end()), texts.end()
            if depth > MAX_DEPTH:
                raise ValueError("nested too deep")
            return self.container(at, path, depth)
        end = value_end(self.content, at)
        return (self.text(at, end) if path.startswith(IN_OUTPUTS) else self.small(at, end)), end

    def container(self, at: int, path: str, depth: int) -> tuple[Any, int]:
        content, is_object = self.content, self.content[at] == 0x7B
        pairs: list[tuple[str, Any]] = []
        at = SKIP_SPACE.match(content, at + 1).end()  # type: ignore[union-attr]
        if content[at : at + 1] in (b"}", b"]"):
            return ({} if is_object else []), at + 1
        while True:
            key = ""
            at = SKIP_SPACE.match(content, at).end()  # type: ignore[union-attr]
            if is_object:
                member = MEMBER.match(content, at)
                if not member:
                    raise ValueError(f"no key at byte {at}")
                key, at = key_text(member[1]), member.end()
            if at >= len(content):
                raise ValueError("it ends inside an object or a list")
            value, at = self.value(at, f"{path}.{key}" if is_object else f"{path}[]", depth + 1)
            pairs.append((key, value))
            after = AFTER.match(content, at)
            if not after or (after[1] != b"," and (after[1] == b"}") != is_object):
                raise ValueError(f"no comma or bracket at byte {at}")
            at = after.end()
            if after[1] != b",":
                return (no_twins(pairs) if is_object else [value for _, value in pairs]), at

    def text(self, start: int, end: int) -> BigText:
        """Leave a text where it is, once it is known to be UTF-8."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        for at in range(start, end, 16 * WINDOW_BYTES):
            decoder.decode(self.content[at : min(end, at + 16 * WINDOW_BYTES)], final=at + 16 * WINDOW_BYTES >= end)
        return BigText(self.content, start, end)


def decode(content: bytes) -> Any:
    """Decode a notebook's JSON.

    Raises:
        ValueError: it is not JSON in UTF-8, an object has a key twice, or it is nested too deep.
    """
    try:
        if len(content) > BIG_FILE_BYTES:
            return _BigReader(content).whole()
        return json.loads(content.decode(), object_pairs_hook=no_twins)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


# ---------------------------------------------------------------- documents


class Document:
    """A notebook that was read: `notebook` is of nbformat 4, `version` what the file said, `upgraded` if not 4."""

    def __init__(self, content: bytes, name: str, found: Any, notebook: dict[str, Any]) -> None:
        self.content, self.name, self._found, self.notebook = content, name, found, notebook
        self.version = found["nbformat"]
        self.upgraded = self.version != 4

    def render(self, notebook: dict[str, Any]) -> bytes:
        """Return the file's bytes for a changed notebook; the same object gives the same bytes."""
        pieces = self.pieces(notebook)
        return pieces[0] if len(pieces) == 1 and isinstance(pieces[0], bytes) else b"".join(pieces)

    def pieces(self, notebook: dict[str, Any]) -> list[bytes | memoryview]:
        """Return what `render` does as pieces, of which most look into the file's own bytes."""
        if notebook is self._found:
            return [self.content]
        mark = codecs.BOM_UTF8 if self.content.startswith(codecs.BOM_UTF8) else b""
        style = style_of(self.content[len(mark) :])
        if self.upgraded:
            return [mark + style.encode(notebook) + (b"\n" if self.content.endswith(b"\n") else b"")]
        from plugins.lib.prep.splice import spliced

        return spliced(self.content, len(mark), self._found, notebook, style)


def load(content: bytes, name: str) -> Document:
    """Read a notebook.

    Raises:
        KaggError: USAGE when it is not UTF-8 JSON, no notebook, newer than we know, or too odd to be changed safely.
    """
    from plugins.lib.prep.structure import structure_fault, upgraded

    if len(content) > MAX_PATIENCE_BYTES:
        raise bad_input(f"{name} has {len(content)} bytes, {MAX_PATIENCE_BYTES} at most")
    body = content[3:] if content.startswith(codecs.BOM_UTF8) else content
    if SKIP_SPACE.match(body).end() == len(body):  # type: ignore[union-attr]  # strip() would copy all of it
        raise bad_input(f"{name} is not a notebook: the file is empty")
    try:
        found = decode(body)
    except UnicodeDecodeError as error:
        raise bad_input(f"{name} is not a notebook: not UTF-8 (byte {error.start})") from error
    except ValueError as error:
        raise bad_input(f"{name} is not a notebook: not JSON ({_short(error)})") from error
    if not isinstance(found, dict):
        raise bad_input(f"{name} is not a notebook: JSON, but {_kind(found)}")
    version = found.get("nbformat")
    if type(version) is not int:
        raise bad_input(f"{name} is not a notebook: it has no nbformat number")
    if not 2 <= version <= 4:
        raise bad_input(f"{name} has nbformat {version}; versions 2 to 4 are known")
    notebook = found if version == 4 else upgraded(found, name)
    if fault := structure_fault(notebook):
        raise bad_input(f"{name} is not a valid notebook: {fault}")
    return Document(content, name, found, notebook)


def _short(error: ValueError) -> str:
    return " ".join(str(error).split())[:80]


def _kind(value: Any) -> str:
    return {list: "a list", str: "a string", type(None): "null", bool: "true or false"}.get(type(value), "a number")
