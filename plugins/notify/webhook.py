"""Notify any program: POST a JSON document to a URL, signed with KAGG_WEBHOOK_SECRET when that is set."""

from __future__ import annotations

import json
import math
import re
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kagg import Context, Exit, KaggError, check_url, fetch, host_of, keep_secret, redact, setting

if TYPE_CHECKING:
    from collections.abc import Mapping

PLUGIN = {"api": 1, "summary": "any program that takes JSON over HTTP", "requires": {}}

VARIABLE, SECRET = "KAGG_WEBHOOK_URL", "KAGG_WEBHOOK_SECRET"
TIMEOUT_S = 5.0
ATTEMPTS = 3
MAX_WAIT_S = 20.0
VERSION = 1
PATH_CHARS = 20  # a shorter path is a word, and hiding it would hide that word everywhere


def _address(url: str, ctx: Context) -> str:
    """Return where to post: what the user wrote after the colon, else the settings' URL.

    Raises:
        KaggError: USAGE or CONFIG, by where the URL came from; no message shows more of it than its host.
    """
    found = url or setting(ctx, "KAGG_WEBHOOK_URL", "notify.webhook.url").strip()
    code, source = (Exit.USAGE, "--notify webhook") if url else (Exit.CONFIG, VARIABLE)
    if not found:
        hint = f"write --notify webhook:https://..., or set {VARIABLE}"
        raise KaggError("--notify webhook needs a URL", code=Exit.CONFIG, hint=hint)
    keep_secret(found)
    path = re.sub(r"^[^/]*//[^/]*/?", "", found)
    if len(path) >= PATH_CHARS:  # many services put their token into the path
        keep_secret(path)
    if re.search(r"[\s\x00-\x1f\x7f]", found) or "@" in (re.findall(r"//([^/?#]*)", found) or [""])[0]:
        hint = "no blanks, and no user name or password in it"
        raise KaggError(f"{source}: the URL cannot be used", code=code, hint=hint)
    try:
        check_url(found)
        _ = urlsplit(found).port
    except KaggError as error:
        clear = error.code == Exit.CONFIG
        message = f"clear text http to {host_of(found)}" if clear else "that is no http(s) URL"
        raise KaggError(f"{source}: {message}", code=code, hint="use https") from None
    except ValueError:
        raise KaggError(f"{source}: the URL's port is no number", code=code) from None
    return found


def check(url: str, ctx: Context) -> None:
    """Refuse an address that cannot work."""
    _address(url, ctx)


def finite(value: Any) -> Any:
    """Return JSON data with null for the numbers that JSON does not have."""
    if isinstance(value, dict):
        return {str(name): finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return "sha256=" and the HMAC-SHA256, in hexadecimal, of TIMESTAMP, a full stop, and the body."""
    import hmac

    return "sha256=" + hmac.digest(secret.encode(), f"{timestamp}.".encode() + body, "sha256").hex()


def send(title: str, body: str, url: str, ctx: Context, data: Mapping[str, Any] | None = None) -> None:
    """Post {"version", "title", "body", ...data}; the answer must be a 2xx, and a redirect is none.

    It is tried again when the answer is lost or says that it may be: X-Kagg-Delivery names the message, so that a
    receiver knows what it has seen.

    Raises:
        KaggError: USAGE or CONFIG as `check`, SERVICE.
    """
    address = _address(url, ctx)
    document = {**finite(dict(data or {})), "version": VERSION, "title": title, "body": body}
    content = json.dumps(document, default=str, allow_nan=False, sort_keys=True).encode()
    timestamp = str(int(ctx.now().timestamp()))
    headers = {"Content-Type": "application/json", "X-Kagg-Timestamp": timestamp, "X-Kagg-Delivery": str(uuid.uuid4())}
    if secret := ctx.env.get(SECRET):
        headers["X-Kagg-Signature"] = signature(keep_secret(secret), timestamp, content)
    try:
        fetch(
            ctx,
            "POST",
            address,
            headers=headers,
            body=content,
            timeout_s=TIMEOUT_S,
            attempts=ATTEMPTS,
            max_wait_s=MAX_WAIT_S,
            idempotent=True,
            ok=range(200, 300),
            follow=False,
        )
    except KaggError as error:
        moved = error.details.get("status") in range(300, 400)
        hint = "give the address that it redirects to" if moved else error.hint
        raise KaggError(redact(error.message), code=Exit.SERVICE, hint=hint) from None
