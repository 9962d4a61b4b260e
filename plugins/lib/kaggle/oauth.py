"""The OAuth session that `kaggle auth login` leaves in ~/.kaggle/credentials.json."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from kagg import VERSION, Context, Credential, KaggError, bearer, fetch, kaggle_base, keep_secret, locked, write_atomic
from kagg import read_secret_json as read_stored

if TYPE_CHECKING:
    from pathlib import Path

PLUGIN = {"api": 1, "summary": "OAuth sessions of the official client", "requires": {}}

RENEW_BEFORE = timedelta(minutes=5)  # a token that runs out under way helps nobody
ASKED_FOR = "43200s"  # 12 hours, as the official client asks


def session(ctx: Context, path: Path) -> list[Credential]:
    """Return the session's credential, renewed first when its token has run out; [] when it cannot be used."""
    with locked(ctx.home / "temp" / "locks" / "oauth"):  # two processes must not spend one refresh token at once
        stored = read_stored(ctx, path)
        if not _fresh(ctx, stored) and stored.get("refresh_token"):
            stored = _renewed(ctx, path, stored)
    token = str(stored.get("access_token") or "")
    return [bearer(str(path), token, str(stored.get("username") or ""))] if token and _fresh(ctx, stored) else []


def _fresh(ctx: Context, stored: dict[str, Any]) -> bool:
    """Say whether the access token still lives for a while; times without a zone are UTC."""
    try:
        ends = datetime.fromisoformat(str(stored.get("access_token_expiration")))
    except ValueError:
        return False
    return (ends if ends.tzinfo else ends.replace(tzinfo=ctx.now().tzinfo)) > ctx.now() + RENEW_BEFORE


def _renewed(ctx: Context, path: Path, stored: dict[str, Any]) -> dict[str, Any]:
    """Trade the refresh token for an access token and store it; a refusal leaves the file as it is."""
    body = {"refreshToken": keep_secret(str(stored["refresh_token"])), "apiVersion": "API_VERSION_V1"}
    body["expirationDuration"] = ASKED_FOR
    url = f"{kaggle_base(ctx)}/v1/users.AccountService/GenerateAccessToken"
    headers = {"User-Agent": f"kagg/{VERSION}"}
    try:
        reply = fetch(ctx, "POST", url, headers=headers, json_body=body, want_json=True, idempotent=True, attempts=3)
        ends = ctx.now() + timedelta(seconds=int(reply.data["expiresIn"]))
        fresh = {"access_token": keep_secret(str(reply.data["token"])), "access_token_expiration": ends.isoformat()}
    except (KaggError, KeyError, TypeError, ValueError) as error:
        ctx.say(f"warning: the session in {path} could not be renewed ({error}); run: kaggle auth login")
        return stored
    write_atomic(path, json.dumps(stored | fresh, indent=2), 0o600)
    return stored | fresh
