"""Read and write the small pieces of Kaggle's JSON: fields, pages, times, names, errors."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from plugins.lib.kaggle.world import World

    RPC = Callable[[World, str | None, dict[str, Any]], dict[str, Any] | "Redirect" | "Stream"]

SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")  # owners and slugs become folder names: nothing else passes


class ApiError(Exception):
    """An answer other than 200. `body` replaces Kaggle's usual {"code", "message"}; {} sends no body at all."""

    def __init__(self, status: int, message: str, body: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.body = {"code": status, "message": message} if body is None else body


class Redirect(NamedTuple):
    """Answer 302 to `location`."""

    location: str


class Stream(NamedTuple):
    """Answer in chunks. An empty chunk sends nothing and asks whether the client is still there."""

    content_type: str
    chunks: Iterator[bytes]
    headers: Mapping[str, str] = {}


def compact(reply: Mapping[str, Any]) -> dict[str, Any]:
    """Drop what equals its default, as Kaggle does: None, "", 0, False and empty lists."""
    return {key: value for key, value in reply.items() if value not in (None, "", 0, False, [], {})}


def text(body: Mapping[str, Any], key: str, default: str = "") -> str:
    """Return a string field.

    Raises:
        ApiError: 400, it is something else.
    """
    value = body.get(key)
    if value is None:
        return default
    if not isinstance(value, str):
        raise ApiError(400, f"Invalid value for {key}: expected a string")
    return value


def number(body: Mapping[str, Any], key: str, default: int = 0) -> int:
    """Return an integer field; digits in a string count (REST queries, int64 in JSON).

    Raises:
        ApiError: 400, it is something else.
    """
    value = body.get(key)
    if value is None or value == "":
        return default
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise ApiError(400, f"Invalid value for {key}: expected a number") from error


def flag(body: Mapping[str, Any], key: str, *, default: bool = False) -> bool:
    """Return a boolean field; "true" in a REST query counts."""
    value = body.get(key)
    return default if value is None else value in (True, "true", "True")


def names(body: Mapping[str, Any], key: str) -> list[str]:
    """Return a list-of-strings field; absent and null are [].

    Raises:
        ApiError: 400, it is something else.
    """
    value = body.get(key) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ApiError(400, f"Invalid value for {key}: expected a list of strings")
    return value


def is_slug(name: str) -> bool:
    """Tell whether `name` may be an owner or a slug, and so a folder of ours."""
    return SLUG.fullmatch(name) is not None


def slugify(title: str) -> str:
    """Make the slug that Kaggle makes of a title: lower case, every run of other characters one dash."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:50].strip("-")


def iso(moment: datetime) -> str:
    """Format as Kaggle does: "2026-11-20T20:50:08.118Z"."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_iso(stamp: str) -> datetime:
    """Read what `iso` wrote."""
    return datetime.fromisoformat(stamp)


def duration(seconds: float) -> str:
    """Format as protobuf JSON does: "108000.000s"."""
    return f"{seconds:.3f}s"


def page(items: Sequence[Any], body: Mapping[str, Any], *, size: int, largest: int) -> tuple[list[Any], str]:
    """Cut one page out of `items` by pageToken, else by page (from 1); return it and the next token, "" at the end.

    Raises:
        ApiError: 400, a token that this server did not make.
    """
    width = min(max(number(body, "pageSize") or size, 1), largest)
    token = text(body, "pageToken")
    start = _offset(token) if token else (max(number(body, "page"), 1) - 1) * width
    end = start + width
    return list(items[start:end]), _token(end) if end < len(items) else ""


def _token(offset: int) -> str:
    """Make a page token; opaque, so that nobody counts on its form."""
    return base64.urlsafe_b64encode(f"at:{offset}".encode()).decode()


def _offset(token: str) -> int:
    """Read a page token."""
    try:
        kind, _, offset = base64.urlsafe_b64decode(token).decode().partition(":")
        if kind == "at":
            return max(int(offset), 0)
    except ValueError:
        pass
    raise ApiError(400, "Invalid pageToken")
