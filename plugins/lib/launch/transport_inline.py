"""Send the code in the script itself: gzip and base64. No waiting, nothing to clean up, and little room."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from kagg import Exit, KaggError, bad_input
from plugins.lib.launch import transport_pack
from plugins.lib.launch.code import Code, size_words
from plugins.lib.launch.collecting import largest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kagg import Context
    from plugins.lib.launch.code import Tree
    from plugins.lib.launch.transport_pack import Contents

MAX_TEXT_BYTES = 700_000  # of base64: leaves room in the 1 MB that Kaggle takes as a source
LINE_CHARS = 100  # of a line of it, as script.py writes them
LEVELS, SALTS = (9, 8, 7, 6), (0, 1, 2)  # a salt moves every later byte against base64's groups of three


def inline_code(ctx: Context, tree: Tree, *, allowed: Iterable[str] = ()) -> Code:
    """Pack the code for the script.

    Raises:
        KaggError: USAGE when it is too large, or not readable; FINDINGS for a secret in it.
    """
    contents, allowed = transport_pack.read_tree(tree), tuple(allowed)
    packed = _packed(contents, *next(_ways()))
    if packed is None:
        raise _too_large(contents)
    transport_pack.refuse_secrets(ctx, contents, allowed)
    text = _innocent(contents, packed, allowed)
    return Code(
        transport="inline",
        entry=tree.entry,
        files=contents.hashes,
        size_bytes=contents.size_bytes,
        packed_bytes=len(text),
        sha256=contents.sha256,
        payload={"bundle": text, **contents.announced()},
        summary=f"bundle {size_words(len(text))} inline, {transport_pack.count_words(contents)}",
    )


def _ways() -> Iterator[tuple[int, int]]:
    """Yield (level, salt), the first for nearly everything."""
    return ((level, salt) for level in LEVELS for salt in SALTS)


def _packed(contents: Contents, level: int, salt: int) -> bytes | None:
    """Return the packed code, None as soon as it is too large."""
    found = bytearray()
    for piece in transport_pack.gzip_pieces(transport_pack.tar_pieces(contents.files), level, salt):
        found += piece
        if len(found) > MAX_TEXT_BYTES // 4 * 3:
            return None
    return bytes(found)


def _innocent(contents: Contents, packed: bytes, allowed: tuple[str, ...]) -> str:
    """Return the packed code as base64 in which nothing looks like a secret by chance: the gate reads it again.

    Raises:
        KaggError: FINDINGS when every way to pack it looks like one.
    """
    text = ""
    for level, salt in _ways():
        again = packed if not text else _packed(contents, level, salt)
        if again is None:
            continue
        text = base64.b64encode(again).decode()
        if not _looks_secret(text, allowed):
            return text
    message = f"the packed code of {contents.entry} looks like a secret, however it is packed"
    raise KaggError(message, code=Exit.FINDINGS, hint="send it another way: --code dataset")


def _looks_secret(text: str, allowed: tuple[str, ...]) -> bool:
    """Tell whether the gate would refuse this text in a script."""
    from plugins.lib.secrets.record import findings
    from plugins.lib.secrets.scan import bytes_records

    lines = "\n".join(text[start : start + LINE_CHARS] for start in range(0, len(text), LINE_CHARS))
    records = bytes_records(f'    "bundle": """\n{lines}\n""",\n'.encode(), "script.py")
    return any(finding.id not in allowed for _, finding in findings(records))


def _too_large(contents: Contents) -> KaggError:
    """Return the error for code that does not fit into a script."""
    size, limit = size_words(contents.size_bytes), size_words(MAX_TEXT_BYTES)
    return bad_input(
        f"the code of {contents.entry} is {size} in {transport_pack.count_words(contents)}, and packed more than the "
        f"{limit} that fit into a script; the largest: {largest(contents.sizes)}",
        "leave files out with --exclude, or send it another way: --code dataset, --code git",
    )
