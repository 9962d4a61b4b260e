"""What a scan finds, with its value, and what of it may be said: never more than four characters of a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kagg import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MASK_CHARS = 4
ID_ROUNDS = 4000  # of PBKDF2: an id of a short password shall not be a cheap way to guess it
ID_SALT = b"kagg finding id, version 1"


class Record(NamedTuple):
    """One secret at one place. It holds the value: keep it inside the process.

    `line` and `column` count from 1 in the cell's source (or the file), None elsewhere. `start` and `end` are offsets
    in that source when the value stands there as it is, else -1. `output` counts from 1.
    """

    kind: str
    name: str
    title: str
    value: str
    cell: int | None
    place: str
    where: str
    line: int | None
    column: int | None
    output: int | None
    start: int = -1
    end: int = -1


def mask(value: str) -> str:
    """Return enough of a secret to recognise it and too little to use it."""
    shown = value[: min(MASK_CHARS, len(value) // 4)]
    shown = "".join(char if char.isprintable() else "?" for char in shown)
    return f"{shown}… ({len(value)} characters)"


def finding_id(kind: str, value: str) -> str:
    """Return 12 hexadecimal digits that name a secret on any machine; slow on purpose."""
    import hashlib

    secret = f"{kind}\0{value}".encode("utf-8", "surrogatepass")
    return hashlib.pbkdf2_hmac("sha256", secret, ID_SALT, ID_ROUNDS, 6).hex()


def hashed_secret(value: str) -> str:
    """Return the SHA-1 by which .secrets.baseline knows a secret."""
    import hashlib

    return hashlib.sha1(value.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def _fix(record: Record) -> str:
    """Return the next step; `name` comes from the text, so it may not repeat the secret either."""
    name = record.name if record.value not in record.name else "SECRET"
    if record.place == "output":
        return f"revoke it, strip the outputs, and keep it as {name} in the environment"
    if record.place in ("metadata", "notebook metadata", "attachment"):
        return f"revoke it, remove it from {record.where}, and keep it as {name} in the environment"
    return f'revoke it, then read it with UserSecretsClient().get_secret("{name}") on Kaggle or os.environ["{name}"]'


def findings(records: Iterable[Record]) -> Iterator[tuple[Record, Finding]]:
    """Yield each record with the masked finding that may be shown."""
    ids: dict[tuple[str, str], str] = {}
    for record in records:
        key = (record.kind, record.value)
        if key not in ids:
            ids[key] = finding_id(*key)
        where = record.where.replace("\n", " ")
        if record.value in where:
            where = record.place or "the file"
        message = f"{record.title} in {where}: {mask(record.value)}"
        fix = _fix(record._replace(where=where))
        yield (
            record,
            Finding(
                record.kind, "error", message, record.cell, record.line, fix, record.place, ids[key], record.column
            ),
        )


def by_hand(finding: Finding) -> Finding:
    """Say of a finding that --fix-secrets could not help."""
    return finding if finding.place == "output" else finding._replace(fix=f"by hand: {finding.fix}")
