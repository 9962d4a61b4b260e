"""The gate: nothing leaves this machine with a secret in it, unless its finding was allowed by id."""

from __future__ import annotations

import io
import itertools
import re
import tarfile
import zipfile
import zlib
from typing import TYPE_CHECKING

from kagg import Context, Exit, Finding, KaggError
from plugins.lib.secrets.scan import scan_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PLUGIN = {"api": 1, "summary": "the gate for secrets", "requires": {"re2": "google-re2>=1.1"}}

SHOWN = 5  # findings that are said one by one
MAX_DEPTH, MAX_FILES, MAX_UNPACKED_BYTES = 3, 10_000, 64 * 1024**2  # of archives inside what leaves
CELL_MARK = re.compile(r"^# cell (\d+)$", re.MULTILINE)  # what packaging writes before each cell of a module


def refuse(ctx: Context, what: str, parts: Iterable[tuple[str, bytes]], allowed: Iterable[str] = ()) -> None:
    """Scan (name, bytes) pairs, exactly as they will leave, and raise when one holds a secret that is not allowed.

    Raises:
        KaggError: FINDINGS; the message names the first place, `details["findings"]` holds all as dictionaries.
    """
    permitted = set(allowed)
    opened = ((inner, content) for part in parts for inner, content in unpacked(*part))
    found = [
        (name, _placed(finding, name, content)) for name, content in opened for finding in scan_bytes(content, name)
    ]
    secrets = [(name, finding) for name, finding in found if finding.severity == "error"]
    refused = [(name, finding) for name, finding in secrets if finding.id not in permitted]
    for _, finding in secrets:
        if finding.id in permitted:
            ctx.say(f"{what}: allowed {finding.id}: {finding.message}")
    if not refused:
        return
    for name, finding in refused[1:SHOWN]:
        ctx.say(f"{what}: {place(name, finding)}: {finding.message} [{finding.id}]", -1)
    name, first = refused[0]
    more = f", and {len(refused) - 1} more" if len(refused) > 1 else ""
    raise KaggError(
        f"{what} was not sent: {place(name, first)}: {first.message}{more}",
        code=Exit.FINDINGS,
        hint=f"take it out (preprocess --fix-secrets), or allow it with --allow-finding {first.id}",
        details={"findings": [{"file": name, **finding._asdict()} for name, finding in refused]},
    )


def unpacked(name: str, content: bytes, depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield a file, and what is in it when it is a zip (also a wheel, .npz, .docx, ...), gzip or tar, within limits."""
    yield name, content
    if depth >= MAX_DEPTH:
        return
    try:
        if content.startswith(b"PK\3\4"):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                left = MAX_UNPACKED_BYTES
                for entry in archive.infolist()[:MAX_FILES]:
                    left -= entry.file_size
                    if left >= 0 and not entry.flag_bits & 1:
                        with archive.open(entry) as stream:
                            yield from unpacked(f"{name}/{entry.filename}", stream.read(entry.file_size), depth + 1)
        elif content.startswith(b"\x1f\x8b"):
            body = zlib.decompressobj(47).decompress(content, MAX_UNPACKED_BYTES)
            yield from unpacked(name.removesuffix(".gz"), body, depth + 1)
        elif content[257:262] == b"ustar":
            with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as members:
                for member in itertools.islice(members, MAX_FILES):
                    if file := members.extractfile(member):
                        yield from unpacked(f"{name}/{member.name}", file.read(), depth + 1)
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        OSError,
    ):
        return  # damaged, or packed in a way that nothing here reads: its own bytes were looked at


def place(name: str, finding: Finding) -> str:
    """Return where a finding is, for people."""
    where = [] if finding.cell is None else [f"cell {finding.cell}"]
    where += [] if finding.line is None else [f"line {finding.line}"]
    where += [finding.place] if finding.place and finding.place != "source" else []
    return " ".join(where if finding.cell is not None else [name, *where])


def _placed(finding: Finding, name: str, content: bytes) -> Finding:
    """Give a finding in a packaged module the cell and line of the notebook that it was made from."""
    if not name.endswith(".py") or finding.cell is not None or finding.line is None or b"\n# cell " not in content:
        return finding
    text = content.decode("utf-8", "replace")
    for mark in reversed(list(CELL_MARK.finditer(text))):
        line = finding.line - text.count("\n", 0, mark.start()) - 1
        if line >= 1:
            return finding._replace(cell=int(mark[1]), line=line)
    return finding
