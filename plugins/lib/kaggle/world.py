"""What the local Kaggle knows: accounts, kernels, datasets and sessions, kept as JSON documents in one folder.

accounts.json (0600)  signing.key (0600)  counters.json  usage.json
kernels/<owner>/<slug>/kernel.json   versions/<n>/{source, version.json, session.json, log.jsonl, output/}
datasets/<owner>/<slug>/dataset.json versions/<n>/files/...
blobs/
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kagg import write_atomic
from plugins.lib.kaggle.faults import Faults
from plugins.lib.kaggle.wire import ApiError, Redirect, Stream, is_slug

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from plugins.lib.kaggle.sessions import Sessions

__all__ = ["Accounts", "ApiError", "Redirect", "Stream", "World"]

ACCESS_TOKEN_S = 12 * 3600  # what the official client asks for: "expirationDuration": "43200s"


def sign(key: bytes, claims: dict[str, Any]) -> str:
    """Return `claims` as a compact HMAC-SHA256 token, the shape of a JWT (RFC 7519)."""
    head = _b64(b'{"alg":"HS256","typ":"JWT"}') + "." + _b64(json.dumps(claims, sort_keys=True).encode())
    return head + "." + _b64(hmac.digest(key, head.encode(), hashlib.sha256))


def unsign(key: bytes, token: str) -> dict[str, Any] | None:
    """Return the claims of a token that `sign` made with this key, else None. Does not look at any expiry."""
    head, _, mark = token.rpartition(".")
    if not hmac.compare_digest(mark.encode(), _b64(hmac.digest(key, head.encode(), hashlib.sha256)).encode()):
        return None
    claims = head.partition(".")[2]
    loaded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    return loaded


def _b64(content: bytes) -> str:
    """Encode as JWT does: URL-safe, no padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class Accounts:
    """Who may call: users with a key, API tokens and an OAuth refresh token; random, made at first start."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._path = world.root / "accounts.json"
        if not self._path.exists():
            self.users: dict[str, dict[str, Any]] = {}
            for name in ("demo", "examples"):
                self.add(name)
        self.users = json.loads(self._path.read_bytes())["users"]

    def add(self, name: str) -> dict[str, Any]:
        """Create a user and return its record; an existing one is returned as it is."""
        if name not in self.users:
            token, refresh = f"KGAT_{secrets.token_hex(16)}", f"KGRT_{secrets.token_hex(16)}"
            self.users[name] = {
                "id": len(self.users) + 1,
                "key": secrets.token_hex(16),
                "tokens": [token],
                "refresh_tokens": [refresh],
            }
            content = json.dumps({"version": 1, "users": self.users}, indent=2, sort_keys=True)
            write_atomic(self._path, content, 0o600)
        return self.users[name]

    def who(self, authorization: str | None) -> str | None:
        """Return the caller's name; None without a header, and for an access token that is too old.

        Raises:
            ApiError: 401, credentials that are nobody's.
        """
        scheme, _, value = (authorization or "").partition(" ")
        if not authorization:
            return None
        if scheme.lower() == "bearer":
            return self.bearer(value.strip())
        if scheme.lower() == "basic":
            return self._basic(value.strip())
        raise ApiError(401, "Unauthenticated")

    def bearer(self, token: str) -> str | None:
        """Return whose token it is; None for an access token that was ours and has run out.

        Raises:
            ApiError: 401, it is nobody's.
        """
        for name, user in self.users.items():
            if any(hmac.compare_digest(token.encode(), known.encode()) for known in user["tokens"]):
                return name
        claims = unsign(self._world.signing_key, token) if token.count(".") == 2 else None
        if claims is None or claims.get("use") != "access":
            raise ApiError(401, "Unauthenticated")
        return str(claims["user"]) if claims["exp"] > self._world.clock().timestamp() else None

    def _basic(self, value: str) -> str:
        """Return the user of "base64(username:key)"."""
        try:
            name, _, key = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise ApiError(401, "Unauthenticated") from error
        user = self.users.get(name)
        if user is None or not hmac.compare_digest(key.encode(), user["key"].encode()):
            raise ApiError(401, "Unauthenticated")
        return name

    def access_token(self, refresh_token: str, lifetime_s: float = ACCESS_TOKEN_S) -> tuple[str, str]:
        """Exchange a refresh token; return (access token, user name).

        Raises:
            ApiError: 401, an unknown refresh token.
        """
        for name, user in self.users.items():
            if any(hmac.compare_digest(refresh_token.encode(), known.encode()) for known in user["refresh_tokens"]):
                expires = self._world.clock().timestamp() + lifetime_s
                claims = {"use": "access", "user": name, "exp": expires, "jti": secrets.token_hex(8)}
                return sign(self._world.signing_key, claims), name
        raise ApiError(401, "Unauthenticated")


class World:
    """Everything that outlives a request. One process owns a root at a time; threads share it under `lock`.

    Documents are plain dicts kept in memory and written through: change the dict returned by `load` while holding the
    lock, then `save` it. `storage_url`, `api_url` and `sessions` are set by the server before the first request.
    """

    storage_url: str
    api_url: str
    sessions: Sessions

    def __init__(self, root: Path, *, clock: Callable[[], datetime] | None = None) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root.resolve()
        self.root.chmod(0o700)
        self.clock = clock or (lambda: datetime.now(UTC))
        self.lock = threading.RLock()
        self.faults = Faults()
        self.leaks = 0
        self.storage_url = self.api_url = ""
        self._documents: dict[Path, dict[str, Any]] = {}
        self.signing_key = self._signing_key()
        self.accounts = Accounts(self)

    def _signing_key(self) -> bytes:
        """Return the key that signs storage URLs and access tokens, made at first start."""
        path = self.root / "signing.key"
        if not path.exists():
            write_atomic(path, secrets.token_bytes(32), 0o600)
        return path.read_bytes()

    def folder(self, kind: str, owner: str, slug: str) -> Path:
        """Return root/kind/owner/slug, whether it exists or not.

        Raises:
            ApiError: 404, a name that may not become a folder.
        """
        if not (is_slug(owner) and is_slug(slug)):
            raise ApiError(404, "Not found")
        return self.root / kind / owner / slug

    def load(self, path: Path) -> dict[str, Any] | None:
        """Return the document at `path`, or None. The dict is shared: change it under the lock and `save` it."""
        with self.lock:
            if path not in self._documents:
                if not path.exists():
                    return None
                self._documents[path] = json.loads(path.read_bytes())
            return self._documents[path]

    def save(self, path: Path, document: dict[str, Any], mode: int = 0o644) -> None:
        """Write a document atomically and remember it."""
        with self.lock:
            document.setdefault("version", 1)
            write_atomic(path, json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False), mode)
            self._documents[path] = document

    def forget(self, folder: Path) -> None:
        """Drop every document below `folder` from memory; call it when the folder is deleted."""
        with self.lock:
            for path in [path for path in self._documents if path.is_relative_to(folder)]:
                del self._documents[path]

    def documents(self, kind: str, name: str) -> list[tuple[Path, dict[str, Any]]]:
        """Return (folder, document) of every root/kind/<owner>/<slug>/<name>."""
        found = [(path.parent, self.load(path)) for path in sorted((self.root / kind).glob(f"*/*/{name}"))]
        return [(folder, document) for folder, document in found if document is not None]

    def next_id(self) -> int:
        """Return a number that was never returned before in this root."""
        with self.lock:
            path = self.root / "counters.json"
            counters = self.load(path) or {"last": 1000}
            counters["last"] += 1
            self.save(path, counters)
            return int(counters["last"])
