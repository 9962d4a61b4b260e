"""Undo what hides text from a search: terminal colours, HTML, escapes, percent and base64 encoding, PNG text chunks.

Everything here is linear in its input, and what can grow (inflating, decoding again) ends at a limit.
"""

from __future__ import annotations

import binascii
import json
import re
import string
import struct
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from plugins.lib.secrets.lazy import Form

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_DECODED_CHARS = 4 * 1024**2  # of one base64 text
MAX_INFLATED_BYTES = 1024**2  # of one PNG text chunk
MAX_PNG_CHUNKS = 100_000
MIN_KEY_CHARS = 16  # a key of this length may itself be a token
MAX_LEAVES = 200_000  # texts of one JSON value

# ---------------------------------------------------------------- terminal output

_ANSI = Form(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[@-Z\\^_])")  # CSI, OSC, others
_UNSEEN = str.maketrans(dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad"))


def seen(text: str) -> str:
    """Return the text without colours and characters of no width, as a terminal shows it."""
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    if not text.isascii() and any(char in text for char in "\u200b\u200c\u200d\u2060\ufeff\u00ad"):
        text = text.translate(_UNSEEN)
    return text


# ---------------------------------------------------------------- one line: escapes, entities, tags, percent

_INLINE = (
    r"a|abbr|b|bdi|bdo|big|cite|code|del|em|font|i|ins|kbd|mark|q|s|samp|small|span|strike|strong|sub|sup|tspan|tt|u|var"
    r"|wbr"
)
_BLOCK_TAG = Form(
    r"</?(?:td|th|tr|table|p|div|br|hr|li|ul|ol|dt|dd|dl|h[1-6]|pre|section|option|text)\b[^<>]*>", re.IGNORECASE
)
_TAG = Form(r"<(?:[A-Za-z/][^<>]*|!--[^<>]*--)>")
_ESCAPE = Form(r"\\(u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_CONTROL = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "e": "\x1b", "\n": ""}
# By the character without which none occurs. `\n` and `\t` hide a token only when it follows at once.
_TRIGGERS = (
    ("\\", Form(r"\\(?:[\"'/\\_*.-]|u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|[nrt](?=[A-Za-z0-9]))")),
    ("%", Form(r"%[2-7][0-9A-Fa-f]")),
    ("&", Form(r"&(?:#\w{1,8}|quot|apos|amp|lt|gt|nbsp|shy|ZeroWidthSpace);")),
    ("<", Form(rf"</?(?:{_INLINE}|{_INLINE.upper()})\b[^<>\n]*>")),  # with IGNORECASE ten times slower
)


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if len(code) > 1 else _CONTROL.get(code, code)


def plain(line: str) -> str:
    """Return a line with escapes, entities, tags and percent codes undone, once."""
    if "\\" in line:
        line = _ESCAPE.sub(_unescaped, line)
    if "&" in line:
        import html  # its table of entities is large

        line = html.unescape(line)
    if "<" in line:
        line = _TAG.sub("", _BLOCK_TAG.sub(" ", line))
    if "%" in line:
        from urllib.parse import unquote

        line = unquote(line, errors="replace")
    return seen(line)


def plain_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield (offset of the line, its plain reading) for each line that reads differently when undone."""
    lines: dict[int, int] = {}
    for char, pattern in _TRIGGERS:
        if char not in text:
            continue
        at = 0
        while match := pattern.search(text, at):
            begin, end = text.rfind("\n", at, match.start()) + 1 or at, text.find("\n", match.end())
            at = end if end >= 0 else len(text)
            lines[begin] = max(at, lines.get(begin, 0))
    for begin, end in sorted(lines.items()):
        line = text[begin:end]
        undone = plain(line)
        if undone != line:
            yield begin, undone


# ---------------------------------------------------------------- base64

MIN_RUN = 24  # characters, that is 18 bytes; shorter runs are words
PAYLOAD_CHARS = 2000  # a run of this length is encoded data and no token, unless a key or JSON stands in it
WRAPPED_CHARS = range(56, 1000)  # a run of this length may go on in the next line
_HEAD_CHARS = 64
_ALPHABET = frozenset(string.ascii_letters + string.digits + "+/-_")
_RUN = bytes(ord("a") if chr(code) in _ALPHABET else ord(" ") for code in range(256))
_WRAP = Form(r"(?:\\n|\\\n|[\"' \t\r\n]){1,60}")
_UNPRINTABLE = bytes(code for code in range(32) if code not in b"\t\n\r\x1b") + b"\x7f"
_PRINTABLE = bytes(range(32, 127)) + b"\t\n\r\x1b"
_PNG = b"\x89PNG\r\n\x1a\n"
_STANDARD = bytes.maketrans(b"-_", b"+/")
_PATH_END = Form(rb"[/_-]")


class Decoded(NamedTuple):
    """A run of base64: where it stands, whether patterns must not see it, and the texts inside."""

    start: int
    end: int
    payload: bool
    texts: list[str]


def _blocks(text: str) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """Yield (start, end, lines) of each run of base64 characters, wrapped lines taken together."""
    flat = text.encode("ascii", "replace").translate(_RUN)  # one byte for each character
    size, needle = len(flat), b"a" * MIN_RUN
    at = flat.find(needle)
    while at >= 0:
        lines, begin = [], at
        while True:
            end = flat.find(b" ", begin)
            end = size if end < 0 else end
            lines.append((begin, end))
            wraps = end - begin in WRAPPED_CHARS and end - begin == lines[0][1] - at
            wrap = _WRAP.match(text, end) if wraps else None
            if not wrap or wrap.end() >= size or flat[wrap.end()] != ord("a"):
                break
            begin = wrap.end()
        yield at, end, lines
        at = flat.find(needle, end)


def _as_text(data: bytes) -> str | None:
    """Return bytes that people can read as text: UTF-8 that is mostly ASCII, or UTF-16 of it; else None."""
    if len(data) >= 8 and not any(data[1:64:2]) and all(data[0:64:2]):
        data = data[: len(data) // 2 * 2].decode("utf-16-le", "replace").encode("utf-8", "replace")
    if not data.translate(None, _PRINTABLE):
        return data.decode("ascii")
    if len(data.translate(None, _PRINTABLE)) * 3 > len(data) or data.translate(None, _UNPRINTABLE) != data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        return data[: error.start].decode("utf-8") if error.start >= len(data) - 3 else None


def decode_base64(text: str) -> bytes:
    """Decode either alphabet, with or without padding; b"" when it is none. At most MAX_DECODED_CHARS are read."""
    text = text[:MAX_DECODED_CHARS].replace("-", "+").replace("_", "/").rstrip("=")
    if len(text) % 4 == 1:
        text = text[:-1]
    try:
        return binascii.a2b_base64(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""


def texts_of(data: bytes) -> Iterator[str]:
    """Yield what can be read in decoded bytes: the text they are, or the text chunks of a PNG."""
    if data.startswith(_PNG):
        yield from png_texts(data.__getitem__, len(data))
    elif (text := _as_text(data)) is not None:
        yield text


def texts_in(flat: str) -> Iterator[str]:
    """Yield what can be read in base64 without line ends; of an image only its text chunks are decoded."""
    head = decode_base64(flat[:_HEAD_CHARS])
    if not _is_readable(head):
        return
    if not head.startswith(_PNG):
        yield from texts_of(decode_base64(flat))
        return

    def read(span: slice) -> bytes:
        begin = span.start // 3
        data = decode_base64(flat[begin * 4 : (span.stop + 2) // 3 * 4])
        return data[span.start - begin * 3 : span.stop - begin * 3]

    yield from png_texts(read, len(flat.rstrip("=")) * 3 // 4)


def _is_readable(head: bytes) -> bool:
    """Tell whether the first bytes of something may begin a text or a PNG."""
    others = len(head.translate(None, _PRINTABLE))
    return others * 3 <= len(head) or head.startswith(_PNG) or not any(head[1::2])


def _run_texts(run: bytes) -> list[str]:
    """Return the texts in one run; a path or a word may stand before its encoded part."""
    starts = [0]
    if not run.isalnum():
        starts = [0, *(match.end() for match in _PATH_END.finditer(run[:200]))][:6]
    if len(run) >= PAYLOAD_CHARS:
        starts += [1, 2, 3]  # a window may begin anywhere
    for start in starts:
        if len(run) - start < MIN_RUN:
            break
        head = binascii.a2b_base64(
            run[start : start + min(_HEAD_CHARS, (len(run) - start) // 4 * 4)].translate(_STANDARD)
        )
        if _is_readable(head) and (head.startswith(_PNG) or _as_text(head[: len(head) // 3 * 3]) is not None):
            return [text for text in texts_in(run[start:].decode("ascii")) if text]
    return []


def _is_key(text: str, start: int, run: str, *, several: bool) -> bool:
    """Tell whether a long run is a token, a private key, or a list of tokens."""
    head = text[max(0, start - 200) : start + 40]
    return run.startswith("eyJ") or "PRIVATE KEY" in head or (several and ("_" in run or "-" in run))


def base64_runs(text: str) -> Iterator[Decoded]:
    """Yield the runs of base64 that hold text or a PNG, or that are too long to be a token."""
    for start, end, lines in _blocks(text):
        run = text[start:end] if len(lines) == 1 else "".join(text[a:b] for a, b in lines)
        is_flat = run.islower() or run.isupper() or not run.strip("-_/")  # a path, a constant's name, a rule
        texts = [] if is_flat else _run_texts(run.encode("ascii", "replace"))
        payload = len(run) >= PAYLOAD_CHARS or text.endswith(";base64,", max(0, start - 8), start)
        if payload and not texts and _is_key(text, start, run, several=len(lines) > 1):
            payload = False
        if texts or payload:
            last = len(lines) > 1 and lines[-1][1] - lines[-1][0] != lines[0][1] - start  # may be a line of its own
            yield Decoded(start, lines[-2][1] if last else end, payload, texts)


# ---------------------------------------------------------------- PNG


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, MAX_INFLATED_BYTES)
    except zlib.error:
        return b""


def _chunk_text(kind: bytes, data: bytes) -> str:
    """Return a text chunk as `"keyword": "text"`: www.w3.org/TR/png-3/#11textinfo."""
    keyword, _, rest = data.partition(b"\0")
    if kind == b"zTXt":
        text = _inflated(rest[1:]).decode("latin-1")
    elif kind == b"iTXt":
        packed, body = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]
        text = (_inflated(body) if packed else body).decode("utf-8", "replace")
    else:
        text = rest.decode("latin-1")
    return f'"{keyword.decode("latin-1")}": "{text}"'


def png_texts(read: Callable[[slice], bytes], size: int) -> Iterator[str]:
    """Yield the text chunks of a PNG image, which may be cut short; `read` gives a slice of its `size` bytes."""
    at = len(_PNG)
    for _ in range(MAX_PNG_CHUNKS):
        if at + 8 > size:
            return
        header = read(slice(at, at + 8))
        if len(header) < 8:
            return
        length, kind = struct.unpack(">I4s", header)
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            yield _chunk_text(kind, read(slice(at + 8, at + 8 + min(length, MAX_INFLATED_BYTES))))
        at += length + 12


# ---------------------------------------------------------------- JSON


def leaves(value: Any, name: str = "") -> str:
    """Return the texts of a JSON value as lines `"key": "text"`, so that a text is seen with its name."""
    if isinstance(value, str):
        return f'"{name}": "{value}",'
    lines: list[str] = []
    stack = [(name, value)] if isinstance(value, (dict, list)) else []
    while stack and len(lines) < MAX_LEAVES:
        key, item = stack.pop()
        pairs = item.items() if isinstance(item, dict) else [(key, part) for part in item]
        nested = []
        for inner, part in pairs:
            if isinstance(part, str):
                lines.append(f'"{inner}": "{part}",')
                continue
            if isinstance(part, (dict, list)):
                nested.append((inner, part))
            if len(inner) >= MIN_KEY_CHARS and isinstance(item, dict):
                lines.append(f'"{inner}":')
        stack += reversed(nested)
    return "\n".join(lines)


def as_json(text: str) -> Any:
    """Return the JSON document in a text, None when it is none or nested too deep."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
