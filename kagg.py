#!/usr/bin/env python3
"""From a Kaggle notebook to something people use: pull, clean, run, batch, deploy, call, monitor.

Read this file from top to bottom to know every command, error, file format and promise. Vendors and algorithms live in
`plugins/<kind>/<name>.py` (rooms), shared parts in `plugins/lib/`; both are imported only when a command needs them.

    python kagg.py --help
    python kagg.py --kaggle-url local batch batch_examples/jobs.csv     # no account needed
"""

from __future__ import annotations

import argparse
import contextlib
import enum
import json
import os
import random
import re
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime
    from types import ModuleType
    from typing import TextIO

# `python kagg.py` runs as __main__; rooms say `from kagg import KaggError` and must get this very module, not a second one.
sys.modules.setdefault("kagg", sys.modules[__name__])

VERSION = "0.1.0"
PLUGIN_API = 1
KINDS = ("cmd", "deploy", "engine", "notify", "prep", "store", "track", "train")
ISSUES_URL = "the project's issue tracker"

# ---------------------------------------------------------------------------------------------------------------------
# Promises: exit codes and errors
# ---------------------------------------------------------------------------------------------------------------------


class Exit(enum.IntEnum):
    """What the exit code says. Codes are added, never moved."""

    DONE = 0
    FAILED = 1
    USAGE = 2  # usage or bad input
    FINDINGS = 3  # finished with findings: some jobs failed, a secret was found, a threshold was crossed
    CONFIG = 10  # configuration or credentials
    MISSING = 11  # optional package or room missing
    SERVICE = 12  # service refused, or unreachable after retries
    INTEGRITY = 13  # checksum, size, hostile name
    QUOTA = 14  # refused by quota or by session slots
    BUG = 70
    INTERRUPTED = 130


class KaggError(Exception):
    """One line for the user, an exit code, and the next step in `hint`."""

    def __init__(
        self, message: str, *, code: Exit = Exit.FAILED, hint: str = "", details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message, self.code, self.hint, self.details = message, code, hint, details or {}

    def as_json(self) -> dict[str, Any]:
        """Return the error as the object that --json writes to stderr."""
        return {"error": redact(self.message), "code": int(self.code), "hint": redact(self.hint)}


def bad_input(message: str, hint: str = "") -> KaggError:
    """Return a USAGE error."""
    return KaggError(message, code=Exit.USAGE, hint=hint)


def service_error(message: str, hint: str = "", **details: Any) -> KaggError:
    """Return a SERVICE error; `details`: status, reply, sent (the server may have acted), retry."""
    return KaggError(message, code=Exit.SERVICE, hint=hint, details=details)


class Finding(NamedTuple):
    """What a notebook step noticed. `cell` counts from 0 over all cells, `line` from 1; None = the whole notebook."""

    kind: str
    severity: str
    message: str
    cell: int | None = None
    line: int | None = None
    fix: str = ""


class Endpoint(NamedTuple):
    """Where a deployed notebook answers. `target` is the deploy room that owns it, `details` are that room's."""

    name: str
    target: str
    url: str
    state: str = "running"
    created: str = ""
    details: dict[str, Any] = {}  # noqa: RUF012 - NamedTuple default, replaced and never changed in place


# ---------------------------------------------------------------------------------------------------------------------
# Voice: what reaches the streams, and the context that every command gets
# ---------------------------------------------------------------------------------------------------------------------

_SECRETS: set[str] = set()  # the exact values in use, so that no stream repeats them whatever their shape
_SECRET_SHAPES = re.compile(
    r"(?P<keep>\b(?:Bearer|Basic)\s+|[?&](?:X-Goog-Signature|X-Amz-Signature|Signature|sig|token|access_token|key)=|"
    r"\"(?:key|token|access_token|refresh_token|password|secret)\"\s*:\s*\"|\b(?:api_?key|password|secret|token)=)"
    r"[^\s\"'&@]{6,}"
    r"|(?<=://)[^\s/:@]*:[^\s/@]+(?=@)|\b(?:KGAT_|hf_|ghp_|github_pat_|glpat-|sk-|xox[abprs]-|AKIA|AIza)[A-Za-z0-9_-]{10,}|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*",
    re.IGNORECASE,
)


def keep_secret(value: str) -> str:
    """Remember `value` so that `redact` hides it, and return it."""
    if len(value) >= 6:
        _SECRETS.add(value)
    return value


def redact(text: str) -> str:
    """Hide the secrets in use and everything that has a secret's shape."""
    for value in _SECRETS:
        text = text.replace(value, "[secret]")
    return _SECRET_SHAPES.sub(lambda match: (match["keep"] or "") + "[secret]", text)


def _plain(value: Any) -> Any:
    """Turn what JSON does not know into what it knows."""
    if isinstance(value, Path):
        return str(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


class Context:
    """What a command may touch: environment, time, network, randomness, output. Tests hand in their own.

    Attributes: `env`; `home` (KAGG_HOME); `root` (folder of kagg.py); `as_json`; `verbosity` (-1, 0, 1); `kaggle_url`.
    """

    def __init__(
        self, env: Mapping[str, str] | None = None, *, stdout: TextIO | None = None, stderr: TextIO | None = None
    ) -> None:
        self.env: Mapping[str, str] = os.environ if env is None else env
        self.stdout, self.stderr = stdout or sys.stdout, stderr or sys.stderr
        self.home = Path(self.env.get("KAGG_HOME") or self.user_home() / ".kagg")
        self.root = Path(__file__).resolve().parent
        self.as_json, self.verbosity, self.kaggle_url = False, 0, ""
        self.random = random.Random()  # noqa: S311 - jitter, not cryptography
        self.cache: dict[str, Any] = {}  # connection pools, pauses, credentials: one per process
        self.lock = threading.RLock()

    def user_home(self) -> Path:
        """Return the user's home folder as the environment says."""
        return Path(self.env.get("HOME") or Path.home())

    def now(self) -> datetime:
        """Return the time for people: aware, UTC."""
        from datetime import UTC, datetime

        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds for durations."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait; Ctrl-C ends it."""
        time.sleep(max(0.0, seconds))

    @property
    def config(self) -> dict[str, Any]:
        """Return configs/project_config.yaml beside kagg.py, {} when there is none."""
        if "config" not in self.cache:
            self.cache["config"] = _read_config(self.root / "configs" / "project_config.yaml")
        found: dict[str, Any] = self.cache["config"]
        return found

    def emit(self, document: Any, text: str | None = None) -> None:
        """Write data to stdout: `document` as one JSON line under --json, else `text` (default: the document itself)."""
        if self.as_json:
            line = json.dumps(document, default=_plain, ensure_ascii=False)
        elif text is None and not isinstance(document, str):
            line = json.dumps(document, default=_plain, ensure_ascii=False, indent=2)
        else:
            line = document if text is None else text
        self._write(self.stdout, line)

    def say(self, text: str, level: int = 0) -> None:
        """Tell people something on stderr, redacted: level -1 even with -q, 0 normally, 1 with -v."""
        if level <= self.verbosity:
            self._write(
                self.stderr, json.dumps({"message": redact(text)}, ensure_ascii=False) if self.as_json else redact(text)
            )

    def progress(self, event: dict[str, Any]) -> None:
        """Show how far long work is: one line that rewrites itself on a terminal, JSON Lines on stderr under --json."""
        if self.as_json and self.verbosity >= 0:
            self._write(self.stderr, json.dumps({"progress": event}, default=_plain, ensure_ascii=False))
        elif self.stderr.isatty() and self.verbosity >= 0:
            self.stderr.write(
                "\r\x1b[K"
                + redact(" ".join(f"{k} {v}" for k, v in event.items()))[:100]
                + ("\n" if event.get("end") else "")
            )

    def _write(self, stream: TextIO, line: str) -> None:
        with self.lock:  # whole lines, also from threads
            stream.write(line.encode("utf-8", "replace").decode() + "\n")  # a lone surrogate must not end the program
            stream.flush()


def _read_config(path: Path) -> dict[str, Any]:
    """Read the YAML settings file; {} when it is absent."""
    if not path.exists():
        return {}
    need_packages("configs/project_config.yaml", {"yaml": "PyYAML>=6.0"})
    import yaml

    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise KaggError(
            f"{path}: {str(error).splitlines()[0]}",
            code=Exit.CONFIG,
            hint="compare with configs/project_config.example.yaml",
        ) from error
    if not isinstance(settings, dict):
        raise KaggError(
            f"{path} is not a table of settings",
            code=Exit.CONFIG,
            hint="compare with configs/project_config.example.yaml",
        )
    return settings


def setting(ctx: Context, variable: str, key: str, default: str = "") -> str:
    """Return a setting: environment variable, then `key` ("section.name") of the settings file, then the default."""
    if ctx.env.get(variable):
        return ctx.env[variable]
    node: Any = ctx.config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return default if node is None else str(node)


# ---------------------------------------------------------------------------------------------------------------------
# Files: atomic writes, locks, safe names, units
# ---------------------------------------------------------------------------------------------------------------------


def write_atomic(path: Path, content: bytes | str, mode: int = 0o644) -> None:
    """Write a file that is either the old one or the whole new one, also after `kill -9` or a power cut."""
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    temp = target.parent / f".{target.name[:100]}.{os.getpid()}.{threading.get_ident()}.tmp"
    descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content.encode("utf-8") if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        temp.chmod(mode)
        temp.replace(target)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def locked(path: Path, timeout_s: float = 30.0) -> Iterator[None]:
    """Hold the lock `path`.lock between processes and threads; the system frees it when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout_s
    with path.with_name(path.name + ".lock").open("a+b") as stream:
        while not _try_lock(stream.fileno()):
            if time.monotonic() > deadline:
                raise KaggError(
                    f"{path} is held by another process for {timeout_s:.0f} s", hint="wait for it to end and try again"
                )
            time.sleep(0.02)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


_RESERVED_NAMES = re.compile(r"(?i)^(con|prn|aux|nul|com\d|lpt\d)(\..*)?$")  # Windows device names


def safe_path(folder: Path, name: str) -> Path:
    """Return the path of a file that somebody else named, inside `folder`.

    Raises:
        KaggError: INTEGRITY when the name is absolute, climbs out, or is no portable file name.
    """
    parts = name.replace("\\", "/").split("/")
    bad = (
        not name
        or name[0] in "/\\~"
        or re.search(r"[\x00-\x1f\x7f:]", name)
        or len(name.encode("utf-8", "replace")) > 1024
    )
    if bad or any(
        part in ("", ".", "..") or _RESERVED_NAMES.match(part) or len(part.encode("utf-8", "replace")) > 240
        for part in parts
    ):
        raise KaggError(
            f"refused the file name {name[:80]!r}",
            code=Exit.INTEGRITY,
            hint="it would leave its folder or cannot be stored",
        )
    path = folder.joinpath(*parts)
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise KaggError(f"refused the file name {name[:80]!r}: a link leads out of {folder}", code=Exit.INTEGRITY)
    return path


def hashed(text: str) -> str:
    """Return a short SHA-256 of `text`, safe as a file name."""
    import hashlib

    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:24]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, read in pieces."""
    import hashlib

    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


_DURATION_UNITS_S = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE_UNITS = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
    "k": 1024,
    "m": 1024**2,
    "g": 1024**3,
}


def parse_duration(text: str) -> float:
    """Return seconds from "10s", "1.5m", "2h", "1h30m", "250ms" or "90"."""
    pieces = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if (
        not pieces
        or "".join(f"{n}{u}" for n, u in pieces) != re.sub(r"\s", "", text.lower())
        or any(u not in _DURATION_UNITS_S for _, u in pieces)
    ):
        raise KaggError(f"{text!r} is not a duration", code=Exit.USAGE, hint="write 250ms, 10s, 1.5m, 2h or 1h30m")
    return sum(float(number) * _DURATION_UNITS_S[unit] for number, unit in pieces)


def parse_size(text: str) -> int:
    """Return bytes from "10MiB", "5kB" or "100"."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if not match or match[2] not in _SIZE_UNITS:
        raise KaggError(f"{text!r} is not a size", code=Exit.USAGE, hint="write 100, 5kB or 10MiB")
    return int(float(match[1]) * _SIZE_UNITS[match[2]])


# ---------------------------------------------------------------------------------------------------------------------
# HTTP: one function for every request, one for every download
# ---------------------------------------------------------------------------------------------------------------------

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
RETRY_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
MAX_REPLY_BYTES = 256 * 1024**2
MAX_REDIRECTS = 5


class Reply(NamedTuple):
    """A whole HTTP answer. `data` is the decoded JSON when it was asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    data: Any = None

    def json(self) -> Any:
        """Decode the body."""
        return json.loads(self.body)


def host_of(url: str) -> str:
    from urllib.parse import urlsplit

    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _check_url(url: str) -> None:
    """Refuse what is no http(s) URL, and clear text to anything but this machine."""
    if not re.match(r"https?://[^\s/]+", url) or not host_of(url):
        raise KaggError(f"{url[:80]!r} is not an http(s) URL", code=Exit.USAGE)
    if url.startswith("http://") and host_of(url) not in LOOPBACK:
        raise KaggError(f"refused clear text http to {host_of(url)}", code=Exit.CONFIG, hint="use https")


def _proxy(ctx: Context, url: str) -> str:
    """Return the proxy that the environment names for `url`, "" for none."""

    def of(name: str) -> str:
        return ctx.env.get(name.lower()) or ctx.env.get(name.upper()) or ""

    host, skip = host_of(url), [item.strip().lstrip("*.") for item in of("no_proxy").split(",") if item.strip()]
    if host in LOOPBACK or "*" in of("no_proxy") or any(host == item or host.endswith("." + item) for item in skip):
        return ""
    return of("https_proxy" if url.startswith("https:") else "http_proxy") or of("all_proxy")


def _pool(ctx: Context, url: str) -> Any:
    """Return the connection pool for `url`; connections are reused by every thread of this process."""
    need_packages("network commands", {"urllib3": "urllib3>=2.2"})
    import urllib3

    proxy = _proxy(ctx, url)
    with ctx.lock:
        pool = ctx.cache.get(("pool", proxy))
        if pool is None:
            bundle = next(
                (
                    ctx.env[name]
                    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
                    if ctx.env.get(name)
                ),
                None,
            )
            options: dict[str, Any] = {
                "maxsize": 32,
                "cert_reqs": "CERT_REQUIRED",
                "ca_certs": bundle,
                "retries": False,
            }
            pool = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
            ctx.cache["pool", proxy] = pool
    return pool


def _wait_turn(ctx: Context, host: str) -> None:
    """Hold every worker of this process back while `host` asked for a pause, and keep to KAGG_RATE_LIMIT requests/s."""
    rate = float(setting(ctx, "KAGG_RATE_LIMIT", "rate_limit", "0") or 0)
    with ctx.lock:
        now = ctx.monotonic()
        turn = max(now, ctx.cache.get(("pause", host), 0.0), ctx.cache.get(("slot", host), 0.0))
        ctx.cache["slot", host] = turn + (1 / rate if rate > 0 else 0.0)
    if turn > now:
        ctx.sleep(turn - now)


def retry_after_s(ctx: Context, headers: Mapping[str, str]) -> float | None:
    """Return the seconds that Retry-After asks for: a number or an HTTP date (RFC 9110 section 10.2.3)."""
    value = (headers.get("Retry-After") or "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    if not value:
        return None
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    return max(0.0, (moment - ctx.now()).total_seconds()) if moment.tzinfo else None


def send(
    ctx: Context,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: Any = None,
    timeout_s: float = 30.0,
    follow: bool = True,
) -> Any:
    """Send one request and return the open urllib3 response, after at most five redirects; nothing is retried.

    Credentials and body stay with the origin they were meant for. `details["sent"]` of an error says whether the server
    may have seen the request.
    """
    import urllib3

    origin = None
    for _ in range(MAX_REDIRECTS + 1):
        _check_url(url)
        _wait_turn(ctx, host_of(url))
        try:
            response = _pool(ctx, url).request(
                method,
                url,
                headers=headers,
                body=body,
                preload_content=False,
                redirect=False,
                timeout=urllib3.Timeout(connect=min(timeout_s, 10.0), read=timeout_s),
            )
        except urllib3.exceptions.HTTPError as error:
            unsent = isinstance(error, (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError))
            raise KaggError(
                f"{host_of(url)}: {network_reason(error)}",
                code=Exit.SERVICE,
                hint="is the network up, and the address right?",
                details={"sent": not unsent, "retry": True},
            ) from error
        location = response.headers.get("Location")
        if not follow or response.status not in (301, 302, 303, 307, 308) or not location:
            return response
        response.drain_conn()
        from urllib.parse import urljoin, urlsplit

        origin, url = urlsplit(url)[:2], urljoin(url, location)
        if urlsplit(url)[:2] != origin:
            headers = {
                name: value
                for name, value in headers.items()
                if name.lower() not in ("authorization", "cookie", "content-type", "x-kagg-token")
            }
        if response.status in (301, 302, 303) and method != "HEAD":
            method, body = "GET", None
    raise KaggError(f"{host_of(url)}: more than {MAX_REDIRECTS} redirects", code=Exit.SERVICE)


def network_reason(error: BaseException) -> str:
    """Return one line for a network error, without object addresses."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return (
        re.sub(
            r"(^|: )<?[\w.]*(HTTPS?Connection(Pool)?)\([^)]*\)( at 0x\w+>?)?:? ?|<[^>]*0x[^>]*>:? ?|\(Caused by .*",
            r"\1",
            text,
        )[:200]
        or type(error).__name__
    )


def read_body(ctx: Context, response: Any, timeout_s: float, limit: int = MAX_REPLY_BYTES) -> bytes:
    """Read a whole body within a size limit and a deadline, so that no server can feed us for ever."""
    import urllib3

    pieces, size, deadline = [], 0, ctx.monotonic() + 4 * timeout_s
    try:
        for piece in response.stream(65536, decode_content=True):
            size += len(piece)
            if size > limit or ctx.monotonic() > deadline:
                response.close()
                raise KaggError(
                    f"the answer is larger than {limit} bytes or takes longer than {4 * timeout_s:.0f} s",
                    code=Exit.SERVICE,
                    details={"sent": True},
                )
            pieces.append(piece)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise KaggError(
            f"the answer broke off: {network_reason(error)}", code=Exit.SERVICE, details={"sent": True, "retry": True}
        ) from error
    finally:
        response.release_conn()
    return b"".join(pieces)


def fetch(
    ctx: Context,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    json_body: Any = None,
    timeout_s: float = 30.0,
    attempts: int = 6,
    max_wait_s: float = 120.0,
    idempotent: bool | None = None,
    ok: Iterable[int] = (200,),
    want_json: bool = False,
    follow: bool = True,
) -> Reply:
    """Send a request and return its whole answer, trying again where that is safe.

    Network errors, broken answers, bad JSON (with `want_json`), 408, 429 and 5xx are tried again up to `attempts` times
    within `max_wait_s`, with jitter and as Retry-After says. A request that is not `idempotent` (default: POST and PATCH)
    is repeated only after 429 or when it never left this machine.

    Raises:
        KaggError: SERVICE; `details` holds `status` and `reply`, and `sent` when the server may have acted.
    """
    again_safe = method not in ("POST", "PATCH") if idempotent is None else idempotent
    wanted, deadline = frozenset(ok), ctx.monotonic() + max_wait_s
    sending = {"User-Agent": f"kagg/{VERSION}", "Accept-Encoding": "identity", **(headers or {})}
    if json_body is not None:
        body, sending["Content-Type"] = json.dumps(json_body).encode(), "application/json"
    for attempt in range(1, attempts + 1):
        wait_s = None
        try:
            response = send(ctx, method, url, headers=sending, body=body, timeout_s=timeout_s, follow=follow)
            reply = Reply(response.status, response.headers, read_body(ctx, response, timeout_s), url)
            if reply.status in wanted:
                return reply._replace(data=_decoded(reply)) if want_json else reply
            error = KaggError(f"{host_of(url)} answered {reply.status}{_error_text(reply)}", code=Exit.SERVICE)
            wait_s = retry_after_s(ctx, reply.headers)
            error.details = {
                "status": reply.status,
                "reply": reply,
                "sent": reply.status != 429,
                "retry": reply.status in RETRY_STATUSES,
            }
        except KaggError as caught:
            error = caught
        safe = again_safe or not error.details.get("sent", True)
        pause = (
            min(0.4 * 2**attempt, 20.0) * ctx.random.uniform(0.5, 1.0)
            if wait_s is None
            else wait_s + ctx.random.uniform(0, 0.2)
        )
        if not (error.details.get("retry") and safe) or attempt == attempts or ctx.monotonic() + pause > deadline:
            if wait_s is not None:
                error.hint = f"it asks to wait {wait_s:.0f} s"
            raise error
        ctx.say(f"{error.message}; trying again in {pause:.1f} s", 1)
        if error.details.get("status") == 429:
            with ctx.lock:
                ctx.cache["pause", host_of(url)] = ctx.monotonic() + pause
        else:
            ctx.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _decoded(reply: Reply) -> Any:
    try:
        return reply.json()
    except ValueError as error:
        raise KaggError(
            f"{host_of(reply.url)} answered something that is not JSON",
            code=Exit.SERVICE,
            details={"sent": True, "retry": True, "status": reply.status},
        ) from error


def _error_text(reply: Reply) -> str:
    """Return ": message" from either of Kaggle's error bodies, {"code", "message"} or {"error": {"message"}}; "" for others."""
    try:
        found = reply.json()
    except ValueError:
        return ""
    inner = found.get("error") if isinstance(found, dict) else None
    source = inner if isinstance(inner, dict) else found
    text = source.get("message") if isinstance(source, dict) else None
    return (
        f": {text[:300]}"
        if isinstance(text, str) and text
        else f": {inner[:300]}"
        if isinstance(inner, str) and inner
        else ""
    )


def download(ctx: Context, get_url: Callable[[], str], dest: Path, **checks: Any) -> Path:
    """Download to `dest`, which appears only when it is whole and verified; see plugins/lib/download.py."""
    path: Path = shared("download").download(ctx, get_url, dest, **checks)
    return path


# ---------------------------------------------------------------------------------------------------------------------
# Kaggle: where, who, and the calls (protocol: POST {base}/v1/{service}/{Method}, JSON both ways, defaults left out)
# ---------------------------------------------------------------------------------------------------------------------

# KAGGLE_API_ENVIRONMENT, as kagglesdk/kaggle_env.py names them
KAGGLE_ENVIRONMENTS = {
    "PROD": "https://api.kaggle.com",
    "TEST": "http://localhost:7777",
    "LOCALHOST": "http://localhost",
    "QA": "https://qa.kaggle.com",
    "STAGING": "https://staging.kaggle.com",
    "ADMIN": "https://admin.kaggle.com",
}
KERNELS, DATASETS = "kernels.KernelsApiService/", "datasets.DatasetApiService/"
LIVE_STATES = frozenset({"QUEUED", "RUNNING", "CANCEL_REQUESTED"})
MAX_SOURCE_BYTES = 1_000_000  # 933,761 bytes were accepted and 1,141,256 refused without a word (kaggle-cli issues)
SLOTS_FULL = re.compile(r"Maximum batch (CPU|GPU|TPU) session count of (\d+) reached")
INVALID_LISTS = (
    "invalidDatasetSources",
    "invalidCompetitionSources",
    "invalidKernelSources",
    "invalidModelSources",
    "invalidTags",
)


class Credential(NamedTuple):
    """One way to sign in: where it was found, whose it is ("" = ask the server), and the Authorization header."""

    source: str
    username: str
    header: str


class KernelStatus(NamedTuple):
    """State of a kernel's session: QUEUED RUNNING COMPLETE ERROR CANCEL_REQUESTED CANCEL_ACKNOWLEDGED NEW_SCRIPT."""

    state: str
    message: str = ""


def kaggle_base(ctx: Context) -> str:
    """Return the API's base URL. "local" means the local Kaggle, which is started when it is not running."""
    chosen = ctx.kaggle_url or setting(ctx, "KAGG_KAGGLE_URL", "kaggle.url")
    if chosen == "local":
        with ctx.lock:
            if "local" not in ctx.cache:
                ctx.cache["local"] = shared("kaggle.embedded").ensure_local(ctx)
        chosen = ctx.cache["local"]["url"]
    if not chosen:
        name = (ctx.env.get("KAGGLE_API_ENVIRONMENT") or "PROD").upper()
        if name not in KAGGLE_ENVIRONMENTS:
            raise KaggError(
                f"KAGGLE_API_ENVIRONMENT={name} is not known",
                code=Exit.CONFIG,
                hint=f"one of {', '.join(KAGGLE_ENVIRONMENTS)}",
            )
        chosen = KAGGLE_ENVIRONMENTS[name]
    _check_url(chosen)
    return chosen.rstrip("/") + ("" if host_of(chosen) == "api.kaggle.com" else "/api")


def _secret_file(ctx: Context, path: Path) -> str:
    """Return the stripped content of a file that holds a secret, "" when absent; say so when others can read it."""
    try:
        if sys.platform != "win32" and path.stat().st_mode & 0o077:
            ctx.say(f"warning: {path} can be read by others; run: chmod 600 {path}")
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise KaggError(f"cannot read {path}: {error}", code=Exit.CONFIG) from error


def _secret_json(ctx: Context, path: Path) -> dict[str, Any]:
    text = _secret_file(ctx, path)
    try:
        found = json.loads(text) if text else {}
    except ValueError as error:
        raise KaggError(
            f"{path} is not JSON", code=Exit.CONFIG, hint="download it again from your Kaggle account page"
        ) from error
    return found if isinstance(found, dict) else {}


def _bearer(source: str, token: str, username: str = "") -> Credential:
    return Credential(source, username, "Bearer " + keep_secret(token))


def _basic(source: str, username: str, key: str) -> Credential:
    import base64

    return Credential(
        source, username, "Basic " + keep_secret(base64.b64encode(f"{username}:{keep_secret(key)}".encode()).decode())
    )


def find_credentials(ctx: Context) -> list[Credential]:
    """Return every way to sign in, in the official client's order: tokens, user name and key, OAuth, then configs/.

    A refused one does not hide the next: `kaggle_rpc` moves on when the server answers 401.
    """
    env, dot = ctx.env, ctx.user_home() / ".kaggle"
    if ctx.cache.get("local"):
        return [_basic("local Kaggle", ctx.cache["local"]["username"], ctx.cache["local"]["key"])]
    folder = Path(
        env.get("KAGGLE_CONFIG_DIR")
        or (dot if dot.exists() else Path(env.get("XDG_CONFIG_HOME") or ctx.user_home() / ".config") / "kaggle")
    )
    found: list[Credential] = []
    if env.get("KAGGLE_API_V1_TOKEN") and (token := _secret_file(ctx, Path(env["KAGGLE_API_V1_TOKEN"]))):
        found.append(_bearer("KAGGLE_API_V1_TOKEN", token))
    if value := (env.get("KAGGLE_API_TOKEN") or "").strip():
        token = _secret_file(ctx, Path(value)) if len(value) < 1024 and os.path.isfile(value) else value  # noqa: PTH113 - never raises
        found.append(_bearer("KAGGLE_API_TOKEN", token))
    found += [
        _bearer(str(path), token)
        for path in (dot / "access_token", dot / "access_token.txt")
        if (token := _secret_file(ctx, path))
    ]
    for path in (folder / "kaggle.json", None, ctx.root / "configs" / "kaggle.json"):
        if path is None:  # OAuth stands between the two files in the official order
            found += _oauth(ctx, dot / "credentials.json")
            continue
        pair = _secret_json(ctx, path) | (
            {name: env[f"KAGGLE_{name.upper()}"] for name in ("username", "key") if env.get(f"KAGGLE_{name.upper()}")}
        )
        if pair.get("username") and pair.get("key") and not any(known.username == pair["username"] for known in found):
            found.append(
                _basic(
                    "KAGGLE_USERNAME and KAGGLE_KEY" if env.get("KAGGLE_KEY") else str(path),
                    str(pair["username"]),
                    str(pair["key"]),
                )
            )
    return found


def _oauth(ctx: Context, path: Path) -> list[Credential]:
    """Return the OAuth session that `kaggle auth login` left, with a fresh access token when the old one has run out."""
    from datetime import datetime, timedelta

    stored = _secret_json(ctx, path)
    token, refresh = str(stored.get("access_token") or ""), str(stored.get("refresh_token") or "")
    try:
        ends = datetime.fromisoformat(str(stored.get("access_token_expiration") or "1970-01-01"))
        fresh = (ends if ends.tzinfo else ends.replace(tzinfo=ctx.now().tzinfo)) > ctx.now() + timedelta(minutes=5)
    except ValueError:
        fresh = False
    if not fresh and refresh:
        body = {"refreshToken": keep_secret(refresh), "apiVersion": "API_VERSION_V1", "expirationDuration": "43200s"}
        try:
            reply = fetch(
                ctx,
                "POST",
                f"{kaggle_base(ctx)}/v1/users.AccountService/GenerateAccessToken",
                json_body=body,
                want_json=True,
                idempotent=True,
            )
        except KaggError as error:
            ctx.say(f"warning: {path}: the session could not be renewed ({error.message}); run: kaggle auth login")
            return []
        token = str(reply.data.get("token") or "")
        ends = ctx.now() + timedelta(seconds=int(reply.data.get("expiresIn") or 0))
        write_atomic(
            path, json.dumps(stored | {"access_token": token, "access_token_expiration": ends.isoformat()}), 0o600
        )
    return [_bearer(str(path), token, str(stored.get("username") or ""))] if token else []


def _credentials(ctx: Context) -> list[Credential]:
    """Return the credentials that the server has not refused yet; the first is in use."""
    kaggle_base(ctx)  # may start the local Kaggle, which brings its own
    with ctx.lock:
        if "credentials" not in ctx.cache:
            ctx.cache["credentials"] = find_credentials(ctx)
        found: list[Credential] = ctx.cache["credentials"]
        return list(found)


def kaggle_rpc(
    ctx: Context,
    method: str,
    body: Mapping[str, Any],
    *,
    idempotent: bool = True,
    follow: bool = True,
    ok: Iterable[int] = (200,),
) -> Any:
    """Call `service/Method` and return the decoded answer ({} when all fields have their defaults), or the Reply if not `follow`.

    Raises:
        KaggError: CONFIG without working credentials, SERVICE with the server's words otherwise (`details["status"]`).
    """
    url = f"{kaggle_base(ctx)}/v1/{method}"
    while True:
        usable = _credentials(ctx)
        headers = {"Authorization": usable[0].header} if usable else {}
        try:
            reply = fetch(ctx, "POST", url, headers=headers, json_body={k: v for k, v in body.items() if v is not None}, idempotent=idempotent,
                          want_json=follow, follow=follow, ok=ok)  # fmt: skip
        except KaggError as error:
            status = error.details.get("status")
            if status == 401 and len(usable) > 1:
                ctx.say(f"warning: Kaggle refused {usable[0].source}; using {usable[1].source}")
                with ctx.lock:
                    ctx.cache["credentials"] = [known for known in ctx.cache["credentials"] if known != usable[0]]
                continue
            raise _explained(ctx, method, error, usable) from error
        if not follow:
            return reply
        if not isinstance(reply.data, dict):
            raise KaggError(f"{method} answered no JSON object", code=Exit.SERVICE, details={"sent": True})
        if isinstance(reply.data.get("code"), int) and reply.data["code"] >= 400:
            failure = KaggError(
                f"{method}{_error_text(reply)}", code=Exit.SERVICE, details={"status": reply.data["code"], "sent": True}
            )
            raise _explained(ctx, method, failure, usable)
        return reply.data


def _explained(ctx: Context, method: str, error: KaggError, usable: list[Credential]) -> KaggError:
    """Give 401 and 403 their meaning: prove the credentials with another call before calling something missing."""
    status = error.details.get("status")
    if status == 401 or (status == 403 and not usable):
        where = usable[0].source if usable else "no credentials were found"
        error.code, error.hint = Exit.CONFIG, f"{where}; put a token in KAGGLE_API_TOKEN or run: python kagg.py doctor"
    elif status == 403 and not method.endswith(("GetAcceleratorQuotaStatistics", "IntrospectToken")):
        try:
            kaggle_rpc(ctx, KERNELS + "GetAcceleratorQuotaStatistics", {})
            error.hint = "the credentials work: the name is wrong, it is private, or it is too new to be readable"
        except KaggError as proof:
            if proof.code == Exit.CONFIG or proof.details.get("status") == 403:
                error.code, error.hint = (
                    Exit.CONFIG,
                    "the credentials are refused elsewhere too; run: python kagg.py doctor",
                )
    return error


def kaggle_download_url(ctx: Context, method: str, body: Mapping[str, Any]) -> str:
    """Call a method that answers 302 and return the signed URL, which is fetched without Authorization."""
    from urllib.parse import urljoin

    reply: Reply = kaggle_rpc(ctx, method, body, follow=False, ok=(301, 302, 303, 307, 308))
    return urljoin(reply.url, reply.headers.get("Location") or "")


def kaggle_user(ctx: Context) -> str:
    """Return the signed-in user's name."""
    usable = _credentials(ctx)
    if not usable:
        raise KaggError(
            "no Kaggle credentials were found",
            code=Exit.CONFIG,
            hint="put a token in KAGGLE_API_TOKEN or run: python kagg.py doctor",
        )
    if not usable[0].username:
        reply = kaggle_rpc(
            ctx, "security.OAuthService/IntrospectToken", {"token": usable[0].header.removeprefix("Bearer ")}
        )
        if not reply.get("active") and len(usable) > 1:
            ctx.cache["credentials"] = usable[1:]
            return kaggle_user(ctx)
        if not reply.get("username"):
            raise KaggError(
                f"Kaggle does not know the token of {usable[0].source}",
                code=Exit.CONFIG,
                hint="make a new one on your account page",
            )
        ctx.cache["credentials"] = [usable[0]._replace(username=str(reply["username"])), *usable[1:]]
    return str(_credentials(ctx)[0].username)


def kaggle_pages(
    ctx: Context, method: str, body: Mapping[str, Any], field: str, limit: int
) -> Iterator[dict[str, Any]]:
    """Yield the objects of a paged list, at most `limit`; a server that repeats its page token is stopped."""
    token, seen = "", 0
    while True:
        reply = kaggle_rpc(ctx, method, {**body, "pageSize": min(limit - seen, 100), "pageToken": token or None})
        for item in [item for item in reply.get(field) or [] if isinstance(item, dict)][: limit - seen]:
            seen += 1
            yield item
        following = str(reply.get("nextPageToken") or "")
        if not following or following == token or seen >= limit:
            return
        token = following


def get_kernel(ctx: Context, ref: Ref) -> dict[str, Any]:
    """Return {"metadata": {...}, "blob": {"source", "language", "kernelType", "slug"}} of a kernel."""
    reply: dict[str, Any] = kaggle_rpc(ctx, KERNELS + "GetKernel", ref.body())
    return {"metadata": reply.get("metadata") or {}, "blob": reply.get("blob") or {}}


def kernel_status(ctx: Context, ref: Ref) -> KernelStatus:
    """Return the session's state; QUEUED is the zero value, so an empty answer says QUEUED."""
    reply = kaggle_rpc(ctx, KERNELS + "GetKernelSessionStatus", ref.body())
    state = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(reply.get("status") or "QUEUED")).upper()
    return KernelStatus(state, str(reply.get("failureMessage") or ""))


def kernel_outputs(ctx: Context, ref: Ref) -> tuple[list[dict[str, Any]], str]:
    """Return the output files [{"fileName", "url"}] of all pages, and the stored log (a JSON array as text)."""
    files: list[dict[str, Any]] = []
    token, log = "", ""
    while True:
        reply = kaggle_rpc(
            ctx, KERNELS + "ListKernelSessionOutput", {**ref.body(), "pageSize": 200, "pageToken": token or None}
        )
        files += [item for item in reply.get("files") or [] if isinstance(item, dict)]
        log = log or str(reply.get("log") or "")
        following = str(reply.get("nextPageToken") or "")
        if not following or following == token:
            return files, log
        token = following


def push_kernel(ctx: Context, body: Mapping[str, Any], *, allow_live: bool = False) -> dict[str, Any]:
    """Save a version of a kernel and run it exactly once, also when the reply is lost.

    Returns the server's reply with `owner`, `slug`, `versionNumber`. Nothing is sent twice unless the server said that it did nothing.

    Raises:
        KaggError: QUOTA when no session slot is free, SERVICE for other refusals; details["unknown"] when it cannot be known.
    """
    owner, slug = str(body["slug"]).split("/")
    ref = Ref("kaggle", owner, slug)
    before = _kernel_version(ctx, ref)
    if (
        before
        and not allow_live
        and body.get("kernelExecutionType") != "QUICK_SAVE"
        and kernel_status(ctx, ref).state in LIVE_STATES
    ):
        raise KaggError(
            f"{ref} has a live session", code=Exit.QUOTA, hint="wait for it (status), or push all the same with --force"
        )
    try:
        reply = kaggle_rpc(ctx, KERNELS + "SaveKernel", body, idempotent=False)
    except KaggError as error:
        if not error.details.get("sent", True) or 400 <= error.details.get("status", 0) < 500:
            raise
        reply = _lost_push(ctx, ref, str(body["text"]), before, error)
    if failure := str(reply.get("error") or ""):
        full = SLOTS_FULL.search(failure)
        raise KaggError(f"Kaggle refused {ref}: {failure}", code=Exit.QUOTA if full else Exit.SERVICE,
                        hint="wait for a free session: run --on kaggle --max-wait 30m" if full else "", details={"refused": True})  # fmt: skip
    named = re.search(r"([\w-]+)/([\w-]+)/?$", str(reply.get("ref") or reply.get("url") or "")) or (None, owner, slug)
    return {**reply, "owner": named[1], "slug": named[2]}


def _kernel_version(ctx: Context, ref: Ref) -> int | None:
    """Return a kernel's current version, None when it is not there (or not readable)."""
    try:
        return int(get_kernel(ctx, ref)["metadata"].get("currentVersionNumber") or 0)
    except KaggError as error:
        if error.details.get("status") in (403, 404):
            return None
        raise


def _lost_push(ctx: Context, ref: Ref, text: str, before: int | None, error: KaggError) -> dict[str, Any]:
    """Look whether a push whose reply was lost arrived; it is never sent again."""
    ctx.say(f"{error.message}; looking whether the push of {ref} arrived")
    for wait_s in (0.5, 1, 2, 4, 8, 15):
        ctx.sleep(wait_s)
        with contextlib.suppress(KaggError):
            found = get_kernel(ctx, ref)
            version = int(found["metadata"].get("currentVersionNumber") or 0)
            if version > (before or 0) and hashed(str(found["blob"].get("source") or "").strip()) == hashed(
                text.strip()
            ):
                return {
                    "ref": f"/code/{ref.owner}/{ref.slug}",
                    "versionNumber": version,
                    "kernelId": found["metadata"].get("id"),
                    "recovered": True,
                }
    raise KaggError(f"the reply to the push of {ref} was lost and the kernel does not show it", code=Exit.SERVICE,
                    hint=f"nothing was sent again; look with: python kagg.py status {ref}", details={"unknown": True}) from error  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# References and notebooks
# ---------------------------------------------------------------------------------------------------------------------

_SLUG = r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}"
# How the page that people copy becomes the file itself: (pattern, replacement)
_PAGES = (
    (rf"https?://(?:www\.)?kaggle\.com/(?:code/|kernels/)?({_SLUG})/({_SLUG})(?:[/?#].*)?$", r"kaggle:\1/\2"),
    (r"https?://colab\.research\.google\.com/drive/([\w-]+).*", r"https://drive.google.com/uc?export=download&id=\1"),
    (r"https?://(?:colab\.research\.google\.com|nbviewer\.(?:jupyter\.)?org)/github/(.+)", r"https://github.com/\1"),
    (
        r"https?://(?:www\.)?github\.com/([^/]+)/([^/]+)/(?:blob|raw)/([^?#]+).*",
        r"https://raw.githubusercontent.com/\1/\2/\3",
    ),
    (r"https?://gist\.github\.com/([^/]+)/(\w+).*", r"https://gist.githubusercontent.com/\1/\2/raw"),
    (r"(https?://[^/]+/.+)/-/blob/([^?#]+).*", r"\1/-/raw/\2"),
    (r"https?://bitbucket\.org/([^/]+)/([^/]+)/src/([^?#]+).*", r"https://bitbucket.org/\1/\2/raw/\3"),
    (
        r"https?://drive\.google\.com/(?:file/d/|open\?id=|uc\?(?:[^#]*&)?id=)([\w-]+).*",
        r"https://drive.google.com/uc?export=download&id=\1",
    ),
)


class Ref(NamedTuple):
    """What `pull` takes: kind "kaggle" with owner, slug and perhaps version, or kind "url" with url."""

    kind: str
    owner: str = ""
    slug: str = ""
    version: int | None = None
    url: str = ""

    def __str__(self) -> str:
        return self.url or f"{self.owner}/{self.slug}" + (f"/v{self.version}" if self.version else "")

    def body(self) -> dict[str, Any]:
        """Return the request fields that name this kernel."""
        return {
            "userName": self.owner,
            "kernelSlug": self.slug,
            "versionLabel": f"v{self.version}" if self.version else None,
        }


def parse_ref(text: str) -> Ref:
    """Read `owner/slug[/vN]`, a Kaggle page, a GitHub, GitLab, Bitbucket, gist or Google Drive link, or any http(s) URL."""
    link = text.strip()
    version = re.search(r"^https?://[^?]*kaggle\.com.*[?&]scriptVersion=(\d+)", link)
    for pattern, replacement in _PAGES:
        link = re.sub(f"^{pattern}", replacement, link)
    if match := re.fullmatch(rf"(?:kaggle:)?({_SLUG})/({_SLUG})(?:[/@]v?(\d{{1,9}}))?", link):
        number = match[3] or (version[1] if version else None)
        return Ref("kaggle", match[1], match[2], int(number) if number else None)
    if re.match(r"https?://", link):
        _check_url(link)
        return Ref("url", url=link)
    raise KaggError(
        f"{text[:100]!r} is neither owner/slug nor a link",
        code=Exit.USAGE,
        hint="write owner/slug, owner/slug/v3 or an https link",
    )


def kaggle_ref(text: str) -> Ref:
    """Read a reference that must be a kernel; a bare slug belongs to the signed-in user (added by the caller)."""
    ref = parse_ref(text)
    if ref.kind != "kaggle":
        raise KaggError(
            f"{text[:100]!r} is not a Kaggle kernel", code=Exit.USAGE, hint="write owner/slug or owner/slug/v3"
        )
    return ref


def slugify(title: str) -> str:
    """Return the slug that Kaggle makes of a title."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def parse_notebook(text: str | bytes, name: str) -> dict[str, Any]:
    """Decode a notebook of format 4.

    Raises:
        KaggError: USAGE when it is not JSON, not a notebook, or of another major format.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise KaggError(f"{name} is not a notebook: not JSON ({str(error)[:60]})", code=Exit.USAGE) from error
    if (
        not isinstance(found, dict)
        or not isinstance(found.get("cells"), list)
        or not all(isinstance(cell, dict) for cell in found["cells"])
    ):
        hint = (
            "convert it: jupyter nbconvert --to notebook" if isinstance(found, dict) and "worksheets" in found else ""
        )
        raise KaggError(f"{name} is not a notebook of format 4: no list of cells", code=Exit.USAGE, hint=hint)
    if found.get("nbformat", 4) != 4:
        raise KaggError(f"{name} has notebook format {found.get('nbformat')!r}, 4 is supported", code=Exit.USAGE)
    return found


def read_notebook(path: Path) -> dict[str, Any]:
    """Read a notebook file; see `parse_notebook`."""
    try:
        return parse_notebook(path.read_bytes(), str(path))
    except OSError as error:
        raise KaggError(f"cannot read {path}: {error.strerror}", code=Exit.USAGE) from error


def cell_source(cell: Mapping[str, Any]) -> str:
    """Return a cell's source as one string; files hold a string or a list of lines."""
    source = cell.get("source", "")
    return "".join(map(str, source)) if isinstance(source, list) else str(source)


def kaggle_source(notebook: Mapping[str, Any]) -> str:
    """Return notebook JSON that Kaggle accepts: joined sources, no outputs, a kernelspec, no outputs on markdown cells."""
    cells = []
    for cell in notebook["cells"]:
        fixed = {key: value for key, value in cell.items() if key not in ("outputs", "execution_count")} | {
            "source": cell_source(cell)
        }
        cells.append(fixed | ({"outputs": [], "execution_count": None} if cell.get("cell_type") == "code" else {}))
    metadata = dict(notebook.get("metadata") or {})
    spec = metadata.get("kernelspec")
    if not isinstance(spec, dict) or not spec.get("name"):
        metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return json.dumps(
        {
            **notebook,
            "metadata": metadata,
            "cells": cells,
            "nbformat": 4,
            "nbformat_minor": notebook.get("nbformat_minor", 4),
        },
        ensure_ascii=False,
    )


# ---------------------------------------------------------------------------------------------------------------------
# Rooms: found by their path, described by a literal, imported when named
# ---------------------------------------------------------------------------------------------------------------------


class Room(NamedTuple):
    """A plugin file, known without running it. `broken` says why it cannot be used, "" when it can."""

    kind: str
    name: str
    path: str
    summary: str = ""
    requires: Mapping[str, str] = {}  # noqa: RUF012 - never changed in place
    broken: str = ""
    origin: str = "built-in"


def read_room(kind: str, path: Path, origin: str = "built-in", name: str = "") -> Room:
    """Read a room's literal manifest `PLUGIN = {...}` without running the file."""
    import ast

    room = Room(kind, name or path.stem, str(path), origin=origin)
    try:
        literal = re.search(r"^PLUGIN\b[^=\n]*=\s*(\{[^\n]*\}[ \t]*$|\{.*?^\})", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        manifest = ast.literal_eval(literal[1]) if literal else {}
        if manifest.get("api") != PLUGIN_API:
            return room._replace(broken=f"its PLUGIN says api {manifest.get('api')!r}, this kagg speaks {PLUGIN_API}")
        return room._replace(summary=str(manifest.get("summary", "")), requires=dict(manifest.get("requires", {})))
    except (OSError, ValueError, SyntaxError, TypeError, AttributeError) as error:
        return room._replace(broken=f"its PLUGIN cannot be read: {error}")


def find_rooms(ctx: Context, kind: str, *, installed: bool = True) -> list[Room]:
    """Return the rooms of a kind: built-in, folders of KAGG_PLUGINS, and (if `installed`) entry points of group kagg.plugins."""
    rooms = [read_room(kind, path) for path in sorted((ctx.root / "plugins" / kind).glob("[!_]*.py"))]
    if ctx.env.get("KAGG_NO_PLUGINS", "") in ("", "0"):
        others = [
            read_room(kind, path, origin=folder)
            for folder in filter(None, ctx.env.get("KAGG_PLUGINS", "").split(os.pathsep))
            for path in sorted((Path(folder) / kind).glob("[!_]*.py"))
        ]
        if installed and (ctx.root / "plugins" / "lib" / "entry_points.py").exists():
            others += shared("entry_points").rooms(kind)
        for room in others:
            rival = next((known for known in rooms if known.name == room.name), None)
            rooms.append(room._replace(broken=f"{room.name!r} has two owners: {rival.path} and {room.path}") if rival else room)
    return rooms


def room(ctx: Context, kind: str, name: str) -> ModuleType:
    """Import the room `plugins/<kind>/<name>.py`.

    Raises:
        KaggError: USAGE for an unknown name, MISSING for a missing package or a broken plugin.
    """
    name = name.replace("-", "_")
    owners = [known for known in find_rooms(ctx, kind) if known.name == name]
    if not owners:
        names = ", ".join(known.name for known in find_rooms(ctx, kind)) or "none"
        raise KaggError(f"there is no {kind} {name!r}", code=Exit.USAGE if names != "none" else Exit.MISSING, hint=f"there are: {names}")
    chosen = owners[0] if owners[0].origin == "built-in" else owners[-1]
    if chosen.broken:
        raise KaggError(f"plugin {kind} {name} is broken: {chosen.broken}", code=Exit.MISSING, hint="KAGG_NO_PLUGINS=1 leaves third-party plugins out")
    need_packages(f"{kind} {name}", chosen.requires)
    if chosen.origin == "built-in":
        return _import(ctx.root, f"plugins.{kind}.{name}")
    return _import_file(chosen)


def _import(root: Path, module: str) -> ModuleType:
    import importlib

    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    return importlib.import_module(module)


def _import_file(found: Room) -> ModuleType:
    """Import somebody else's file; whatever it raises is its fault and is said so."""
    import importlib.util

    label = f"kagg_plugin_{found.kind}_{found.name}"
    if label in sys.modules:
        return sys.modules[label]
    spec = importlib.util.spec_from_file_location(label, found.path)
    if spec is None or spec.loader is None:
        raise KaggError(f"plugin {found.kind} {found.name} cannot be loaded from {found.path}", code=Exit.MISSING)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a plugin may raise anything
        raise KaggError(f"plugin {found.kind} {found.name} is broken: {type(error).__name__}: {error} ({found.path})", code=Exit.MISSING) from error
    sys.modules[label] = module
    return module


def shared(part: str) -> ModuleType:
    """Import the shared room `plugins/lib/<part>.py`; kagg.py alone in a folder has none and says so."""
    root = Path(__file__).resolve().parent
    path = root.joinpath("plugins", "lib", *part.split(".")).with_suffix(".py")
    if not path.exists():
        raise KaggError(f"this needs plugins/lib/{part.replace('.', '/')}.py beside kagg.py", code=Exit.MISSING, hint="clone the whole project or use kagg.pyz")
    need_packages(part, read_room("lib", path).requires)
    return _import(root, f"plugins.lib.{part}")


def need_packages(who: str, requires: Mapping[str, str]) -> None:
    """Raise MISSING with the pip command when a package that `who` needs is not installed."""
    import importlib.util

    missing = [pip for name, pip in requires.items() if name not in sys.modules and importlib.util.find_spec(name) is None]
    if missing:
        command = " ".join(f"'{pip}'" for pip in missing)
        raise KaggError(f"{who} needs {', '.join(missing)}; run: python -m pip install {command}", code=Exit.MISSING)


# ---------------------------------------------------------------------------------------------------------------------
# Endpoint registry and ledger
# ---------------------------------------------------------------------------------------------------------------------


def endpoints_file(ctx: Context) -> Path:
    """Return where endpoints are registered: KAGG_ENDPOINTS, else endpoints.json beside kagg.py."""
    return Path(ctx.env.get("KAGG_ENDPOINTS") or ctx.root / "endpoints.json")


def load_endpoints(ctx: Context) -> dict[str, Endpoint]:
    """Read the registry {"version": 1, "endpoints": {name: {...}}}."""
    return {name: _endpoint(name, fields) for name, fields in sorted(_registry(endpoints_file(ctx))["endpoints"].items())}


def _endpoint(name: str, fields: Mapping[str, Any]) -> Endpoint:
    known = {key: fields[key] for key in ("target", "url", "state", "created") if isinstance(fields.get(key), str)}
    return Endpoint(name, **({"target": "", "url": ""} | known), details=dict(fields.get("details") or {}))


def _registry(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"version": 1, "endpoints": {}}
    except (OSError, ValueError) as error:
        raise KaggError(f"cannot read {path}: {error}", code=Exit.CONFIG, hint="mend or move the file; nothing was changed") from error
    if not isinstance(found, dict) or not isinstance(found.get("endpoints"), dict) or not all(isinstance(f, dict) for f in found["endpoints"].values()):
        raise KaggError(f"{path} is no endpoint registry", code=Exit.CONFIG, hint="mend or move the file; nothing was changed")
    if int(found.get("version") or 1) > 1:
        raise KaggError(f"{path} has version {found['version']}, this kagg knows 1", code=Exit.CONFIG, hint="use a newer kagg")
    return found


def save_endpoint(ctx: Context, endpoint: Endpoint | None, *, drop: str = "") -> None:
    """Add, change or `drop` an endpoint under a lock; keys that we do not know survive."""
    path = endpoints_file(ctx)
    with locked(path):
        registry = _registry(path)
        if endpoint:
            registry["endpoints"].setdefault(endpoint.name, {}).update({k: v for k, v in endpoint._asdict().items() if k != "name"})
        registry["endpoints"].pop(drop, None)
        write_atomic(path, json.dumps({"version": 1, **registry}, indent=2, sort_keys=True, default=_plain) + "\n", 0o600)


def find_endpoint(ctx: Context, name: str) -> Endpoint:
    """Return a registered endpoint, or one made of an http(s) URL."""
    if name.startswith(("http://", "https://")):
        _check_url(name)
        return Endpoint(name, "", name)
    known = load_endpoints(ctx)
    if name not in known:
        raise KaggError(f"there is no endpoint {name[:80]!r}", code=Exit.USAGE, hint=f"there are: {', '.join(known) or 'none'}; make one with deploy")
    return known[name]


class Run:
    """A row of the ledger while its command runs; set `result`, `status`, `exit_code` before it ends."""

    def __init__(self, ledger: Any, run_id: str) -> None:
        self.ledger, self.id = ledger, run_id
        self.status, self.exit_code, self.error = "done", 0, ""
        self.result: dict[str, Any] = {}

    def effect(self, kind: str, target: str, request: dict[str, Any]) -> contextlib.AbstractContextManager[Any]:
        """Record an effect before it happens and its outcome after."""
        from types import SimpleNamespace

        return self.ledger.effect(self.id, kind, target, request) if self.ledger else contextlib.nullcontext(SimpleNamespace())


@contextlib.contextmanager
def recorded(ctx: Context, command: str, target: str, params: dict[str, Any] | None = None) -> Iterator[Run]:
    """Keep a row of the ledger for a command: before it starts, and how it ended."""
    try:
        ledger = shared("ledger").Ledger.open(ctx)
    except KaggError as error:
        if error.code != Exit.MISSING or (ctx.root / "plugins").exists():
            raise
        ctx.say("note: without plugins/ beside kagg.py nothing is recorded", 1)
        yield Run(None, f"{ctx.now():%Y%m%dT%H%M%S}-{ctx.random.randrange(16**6):06x}")
        return
    with ledger:
        run = Run(ledger, ledger.begin_run(command, target, params=params))
        try:
            yield run
        except BaseException as error:
            run.status, run.error = ("failed", str(error)) if isinstance(error, Exception) else ("interrupted", type(error).__name__)
            run.exit_code = int(error.code) if isinstance(error, KaggError) else 1 if isinstance(error, Exception) else 130
            raise
        finally:
            ledger.end_run(run.id, run.status, run.exit_code, error=run.error, result=run.result)


# ---------------------------------------------------------------------------------------------------------------------
# Steps: what commands and batch jobs are made of
# ---------------------------------------------------------------------------------------------------------------------

SUFFIXES = {"python": ".py", "r": ".R", "rmarkdown": ".Rmd", "julia": ".jl", "sqlite": ".sql"}
_SOURCES = {"dataset_sources": "datasetDataSources", "kernel_sources": "kernelDataSources", "competition_sources": "competitionDataSources", "model_sources": "modelDataSources"}


def pull_reference(ctx: Context, reference: str, dest: Path, *, metadata: bool = False) -> Path:
    """Fetch a notebook or script into the folder `dest` and return its path."""
    ref = parse_ref(reference)
    if ref.kind == "url":
        return _pull_url(ctx, ref.url, dest)
    kernel = get_kernel(ctx, ref)
    blob, meta = kernel["blob"], kernel["metadata"]
    source, kernel_type = blob.get("source"), str(blob.get("kernelType") or meta.get("kernelType") or "script").lower()
    if not isinstance(source, str) or not source:
        raise KaggError(f"Kaggle sent {ref} without its source", code=Exit.SERVICE)
    language = str(blob.get("language") or meta.get("language") or "python").lower()
    slug = str(blob.get("slug") or meta.get("slug") or ref.slug)
    path = safe_path(dest, slug + (".ipynb" if kernel_type == "notebook" else SUFFIXES.get(language, ".txt")))
    write_atomic(path, source)
    if metadata:
        write_atomic(dest / "kernel-metadata.json", json.dumps(_metadata(ref, meta, path.name, language, kernel_type), indent=2) + "\n")
    return path


def _metadata(ref: Ref, meta: Mapping[str, Any], code_file: str, language: str, kernel_type: str) -> dict[str, Any]:
    """Return kernel-metadata.json as the official client writes it, without the prefixes that a push would refuse."""
    sources = {name: [strip_prefix(str(item)) for item in meta.get(field) or []] for name, field in _SOURCES.items()}
    flags = {f"enable_{name}": bool(meta.get(f"enable{name.capitalize()}")) for name in ("gpu", "tpu", "internet")}
    known = {"id": str(meta.get("ref") or f"{ref.owner}/{ref.slug}"), "id_no": meta.get("id"), "title": meta.get("title"), "code_file": code_file}
    return {**known, "language": language, "kernel_type": kernel_type, "is_private": bool(meta.get("isPrivate")), **flags,
            "keywords": meta.get("categoryIds") or [], **sources, "machine_shape": meta.get("machineShape") or "", "docker_image": meta.get("dockerImage") or ""}  # fmt: skip


def strip_prefix(source: str) -> str:
    """Return `owner/slug` of a source that an older server wrote as `datasets/owner/slug` or `code/owner/slug`."""
    return re.sub(r"^/?(datasets|code|kernels|competitions|models)/(?=[^/]+)", "", source)


def _pull_url(ctx: Context, url: str, dest: Path) -> Path:
    from urllib.parse import unquote, urlsplit

    mapped = re.sub(r"^https?://([^/]+)", lambda match: _mirrors(ctx).get(match[1].lower(), match[0]), url)
    reply = fetch(ctx, "GET", mapped)
    named = re.search(r"filename\*?=(?:UTF-8'')?\"?([^\";]+)", reply.headers.get("Content-Disposition") or "")
    name = unquote(named[1] if named else urlsplit(url).path.rsplit("/", 1)[-1]) or "notebook"
    if not name.endswith((".py", ".R", ".Rmd")):
        name = name if name.endswith(".ipynb") else name + ".ipynb"
        with contextlib.suppress(ValueError):
            found = json.loads(reply.body)
            if isinstance(found, dict) and ("cells" in found or "worksheets" in found):
                path = safe_path(dest, name)
                write_atomic(path, reply.body)
                return path
        kind = (reply.headers.get("Content-Type") or "nothing known").split(";")[0]
        raise KaggError(f"{url} is not a notebook but {kind}", code=Exit.SERVICE, hint="is the link shared with everybody, and does it name one file?")
    path = safe_path(dest, name)
    write_atomic(path, reply.body)
    return path


def _mirrors(ctx: Context) -> dict[str, str]:
    """Return {host: base URL} of KAGG_MIRRORS, for people whose network reaches code hosts through a mirror."""
    return dict(item.strip().lower().split("=", 1) for item in setting(ctx, "KAGG_MIRRORS", "mirrors").split(",") if "=" in item)


def push_body(ctx: Context, path: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return the SaveKernel request for a file, or for a folder with kernel-metadata.json; nothing is sent.

    Title and slug agree (Kaggle slugs the title of a new kernel), prefixes are stripped, a notebook is brought into the
    form that Kaggle accepts, and the size is checked.

    Raises:
        KaggError: USAGE with what to mend.
    """
    folder = path if path.is_dir() else path.parent
    meta = _push_metadata(folder, path)
    code = safe_path(folder, str(meta.get("code_file") or "")) if path.is_dir() else path
    if not code.is_file():
        raise bad_input(f"{code} is not there", "code_file in kernel-metadata.json names the file to push")
    notebook = code.suffix == ".ipynb"
    text = kaggle_source(read_notebook(code)) if notebook else code.read_text(encoding="utf-8")
    if len(text.encode()) > MAX_SOURCE_BYTES:
        raise bad_input(f"{code} is {len(text.encode())} bytes, Kaggle takes {MAX_SOURCE_BYTES}", "clear its outputs or move data into a dataset")
    title = str(getattr(args, "title", None) or meta.get("title") or code.stem.replace("_", " ").replace("-", " ").title())
    owner, _, slug = str(meta.get("id") or "").rpartition("/")
    slug = slug if slug and not slug.startswith("INSERT") else slugify(title)
    if slugify(title) != slug:
        ctx.say(f"the title {title!r} does not give the slug {slug!r}; sending the title {slug.replace('-', ' ')!r}")
        title = slug.replace("-", " ")
    if not 5 <= len(title) <= 50:
        raise bad_input(f"the title {title!r} has {len(title)} characters, Kaggle takes 5 to 50", "give --title")
    accelerator = getattr(args, "accelerator", None) or meta.get("machine_shape") or None
    extra = {name: list(getattr(args, option, None) or []) for name, option in (("dataset_sources", "dataset"), ("competition_sources", "competition"), ("kernel_sources", "kernel"))}
    body = {field: [strip_prefix(str(item)) for item in [*(meta.get(name) or []), *extra.get(name, [])]] for name, field in _SOURCES.items()}
    timeout = getattr(args, "timeout", None)
    return {
        "slug": f"{owner if owner and not owner.startswith('INSERT') else kaggle_user(ctx)}/{slug}", "newTitle": title, "text": text,
        "language": str(meta.get("language") or {".R": "r", ".r": "r", ".Rmd": "rmarkdown"}.get(code.suffix, "python")),
        "kernelType": "notebook" if notebook else "script", **body, "categoryIds": meta.get("keywords") or [],
        "isPrivate": not getattr(args, "public", False) and meta.get("is_private") not in (False, "false"),
        "enableGpu": _true(meta.get("enable_gpu")) or "gpu" in str(accelerator or "").lower() or "nvidia" in str(accelerator or "").lower(),
        "enableTpu": _true(meta.get("enable_tpu")) or "tpu" in str(accelerator or "").lower(), "enableInternet": meta.get("enable_internet", True) not in (False, "false"),
        "machineShape": accelerator, "dockerImage": meta.get("docker_image") or None, "id": meta.get("id_no") or None,
        "sessionTimeoutSeconds": int(parse_duration(timeout)) if timeout else None, "kernelExecutionType": "QUICK_SAVE" if getattr(args, "no_run", False) else "SAVE_AND_RUN_ALL",
    }  # fmt: skip


def _true(value: object) -> bool:
    return value in (True, "true", "True")  # the official template holds both forms


def _push_metadata(folder: Path, path: Path) -> dict[str, Any]:
    """Read kernel-metadata.json when it is about `path`; {} when absent or about another file."""
    file = folder / "kernel-metadata.json"
    if not file.exists():
        if path.is_dir():
            raise bad_input(f"{file} is not there", "push a file, and it is made for you")
        return {}
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise bad_input(f"{file} is not JSON: {error}", "mend it or remove it") from error
    if not isinstance(meta, dict):
        raise bad_input(f"{file} is not a JSON object", "mend it or remove it")
    return meta if path.is_dir() or meta.get("code_file") == path.name else {}


def push_path(ctx: Context, path: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Push a file or folder, record it, and return the server's reply; inputs that Kaggle refused are said."""
    body = push_body(ctx, path, args)
    with recorded(ctx, "push", str(path)) as run, run.effect("push", body["slug"], {"source_sha256": hashed(body["text"])}) as effect:
        reply = push_kernel(ctx, body, allow_live=getattr(args, "force", False))
        run.result = effect.outcome = {"ref": f"{reply['owner']}/{reply['slug']}", "version": reply.get("versionNumber"), "url": reply.get("url")}
        refused = [f"{name.removeprefix('invalid')}: {item}" for name in INVALID_LISTS for item in reply.get(name) or []]
        effect.outcome["refused_inputs"] = refused
        if path.is_file() and not (path.parent / "kernel-metadata.json").exists():
            ref, meta = Ref("kaggle", reply["owner"], reply["slug"]), {**body, "title": body["newTitle"], "id": reply.get("kernelId")}
            write_atomic(path.parent / "kernel-metadata.json", json.dumps(_metadata(ref, meta, path.name, body["language"], body["kernelType"]), indent=2) + "\n")
    return {**effect.outcome, "refused_inputs": refused}


def preprocess_notebook(ctx: Context, path: Path, out: Path | None, steps: Iterable[str] = ("clean", "outputs", "secrets")) -> list[Finding]:
    """Run prep rooms over a notebook and write the result to `out` (None = write nothing); an unchanged one keeps its bytes."""
    original = read_notebook(path)
    notebook, findings = original, []
    for name in steps:
        notebook, found = room(ctx, "prep", name).apply(notebook, ctx)
        findings += found
    if out and (out != path or notebook != original):
        text = path.read_text(encoding="utf-8")
        indent = re.match(r"\{\n?( *)", text)
        changed = json.dumps(notebook, ensure_ascii=False, indent=len(indent[1]) or None if indent else 1) + ("\n" if text.endswith("\n") else "")
        write_atomic(out, changed if notebook != original else text)
    return findings


def run_target(ctx: Context, path: Path, *, params: dict[str, Any] | None = None, timeout_s: float | None = None, dest: Path,
               on: str = "local", **options: Any) -> dict[str, Any]:  # fmt: skip
    """Run a notebook, script or folder here or on Kaggle and return its result record (status, exit_code, error, outputs)."""
    part = "local_run" if on == "local" else "kaggle.session"
    do = shared(part).run_local if on == "local" else shared(part).run_on_kaggle
    result: dict[str, Any] = do(ctx, path, params=params or {}, timeout_s=timeout_s, dest=dest, **options)
    return result


def deploy_target(ctx: Context, path: Path, name: str, target: str, args: argparse.Namespace) -> Endpoint:
    """Package a notebook or script, deploy it with room `target`, and register the endpoint."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", name):
        raise bad_input(f"{name[:80]!r} is not an endpoint name", "use lower-case letters, digits and hyphens")
    deployer = room(ctx, "deploy", target)
    with recorded(ctx, "deploy", str(path), {"name": name, "target": target}) as run:
        package = ctx.home / "temp" / f"{name}-{run.id}.zip"
        try:
            manifest = shared("packaging").build_package(path, package, ctx)
            with run.effect("deploy", name, {"target": target, "source_sha256": manifest.get("source_sha256")}) as effect:
                endpoint: Endpoint = deployer.deploy(package, name, args, ctx)
                save_endpoint(ctx, endpoint)
                run.result = effect.outcome = {"url": endpoint.url, "target": target}
        finally:
            package.unlink(missing_ok=True)
    return endpoint


def call_endpoint(ctx: Context, endpoint: Endpoint, payload: Any, *, timeout_s: float = 60.0) -> dict[str, Any]:
    """POST a JSON payload once and return {"status", "latency_ms", "body"}; a request that may have arrived is not repeated."""
    headers = {}
    if token_file := endpoint.details.get("token_file"):
        headers["Authorization"] = "Bearer " + keep_secret(_secret_file(ctx, Path(token_file)))
    started = ctx.monotonic()
    reply = fetch(ctx, "POST", endpoint.url, headers=headers, json_body=payload, timeout_s=timeout_s, ok=range(200, 600), attempts=3, follow=False)
    try:
        body = reply.json()
    except ValueError:
        body = reply.body.decode("utf-8", "replace")
    return {"status": reply.status, "latency_ms": round(1000 * (ctx.monotonic() - started), 3), "body": body}


def monitor_endpoint(ctx: Context, endpoint: Endpoint, duration_s: float, interval_s: float, payload: Any = None) -> dict[str, Any]:
    """Probe an endpoint at fixed times and return count, errors, error_ratio and latency percentiles in ms.

    Open loop: a probe starts when it is due whether or not the one before has answered, and its latency counts from then,
    so that a stall is seen by all the probes that it would have delayed.
    """
    from concurrent.futures import ThreadPoolExecutor

    target = endpoint.url if payload is not None else str(endpoint.details.get("healthz") or endpoint.url)
    start, count = ctx.monotonic(), max(1, int(duration_s / interval_s + 1e-9))

    def probe(index: int) -> tuple[float, str]:
        due = start + index * interval_s
        ctx.sleep(due - ctx.monotonic())
        try:
            fetch(ctx, "GET" if payload is None else "POST", target, json_body=payload, timeout_s=10.0, attempts=1, ok=range(200, 300))
            fault = ""
        except KaggError as error:
            fault = error.message
        latency_ms = 1000 * (ctx.monotonic() - due)
        ctx.progress({"probe": index + 1, "of": count, "latency_ms": round(latency_ms, 2), **({"error": fault} if fault else {})})
        return latency_ms, fault

    with ThreadPoolExecutor(max_workers=min(count, 64)) as pool:
        samples = list(pool.map(probe, range(count)))
    faults = [fault for _, fault in samples if fault]
    ranked = sorted(latency for latency, fault in samples if not fault)
    report: dict[str, Any] = {"endpoint": endpoint.name, "url": target, "count": count, "errors": len(faults), "error_ratio": round(len(faults) / count, 6)}
    for label, share in (("p50_ms", 0.5), ("p90_ms", 0.9), ("p95_ms", 0.95), ("p99_ms", 0.99), ("max_ms", 1.0)):
        report[label] = round(ranked[max(0, -int(-share * len(ranked) // 1) - 1)], 3) if ranked else None  # nearest rank
    return report | {"duration_s": round(ctx.monotonic() - start, 3), "first_error": faults[0] if faults else None}


# ---------------------------------------------------------------------------------------------------------------------
# Commands: Kaggle
# ---------------------------------------------------------------------------------------------------------------------


def add_list_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `list`."""
    parser.add_argument("what", nargs="?", default="kernels", choices=("kernels", "datasets", "endpoints", "runs", "plugins"))
    parser.add_argument("--user", help="only this owner's (kernels, datasets)")
    parser.add_argument("--mine", action="store_true", help="only yours (kernels, datasets)")
    parser.add_argument("--search", help="words to look for (kernels, datasets)")
    parser.add_argument("--sort", default="hotness", help="order, as Kaggle names it: hotness, date_run, vote_count (default: %(default)s)")
    parser.add_argument("--limit", type=_count, default=20, metavar="N", help="at most N (default: %(default)s)")


def cmd_list(args: argparse.Namespace, ctx: Context) -> int:
    """List kernels, datasets, endpoints, runs or plugins."""
    rows: list[dict[str, Any]] = []
    if args.what in ("kernels", "datasets"):
        kernels, user = args.what == "kernels", args.user or (kaggle_user(ctx) if args.mine else None)
        prefix = "" if kernels else "DATASET_SORT_BY_"
        order = None if args.sort.lower() in ("hotness", "hottest") else prefix + args.sort.upper()
        group = ("PROFILE" if kernels else "DATASET_SELECTION_GROUP_MY") if args.mine else None
        body = {"user": user, "search": args.search, "group": group, "sortBy": order}
        pages = kaggle_pages(ctx, (KERNELS + "ListKernels") if kernels else (DATASETS + "ListDatasets"), body, args.what, args.limit)
        columns = ("ref", "title", "author", "lastRunTime", "totalVotes") if kernels else ("ref", "title", "totalBytes", "lastUpdated", "downloadCount")
        rows = [{column: item.get(column) for column in columns} for item in pages]
    elif args.what == "endpoints":
        rows = [{"name": e.name, "target": e.target, "state": e.state, "url": e.url, "created": e.created} for e in load_endpoints(ctx).values()]
    elif args.what == "runs":
        with shared("ledger").Ledger.open(ctx) as ledger:
            rows = ledger.runs(args.limit)
    else:
        rows = [known._asdict() for kind in KINDS for known in find_rooms(ctx, kind)]
    columns = {"runs": ("id", "command", "target", "status", "duration_s"), "plugins": ("kind", "name", "summary", "broken", "origin")}.get(args.what, tuple(rows[0]) if rows else ())
    ctx.emit(rows, table(rows, columns))
    return Exit.DONE


def table(rows: list[dict[str, Any]], columns: Iterable[str]) -> str:
    """Return aligned text with a header; control characters of strangers are not passed on to the terminal."""
    names = list(columns)
    cells = [names, *[[re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", "" if row.get(n) is None else str(row.get(n)))[:80] for n in names] for row in rows]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    return "\n".join("  ".join(value.ljust(width) for value, width in zip(line, widths, strict=True)).rstrip() for line in cells) if rows else "nothing found"


def add_pull_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `pull`."""
    parser.add_argument("ref", nargs="+", help="owner/slug[/vN], a Kaggle page, a GitHub, GitLab, Bitbucket, gist or Google Drive link, or any https .ipynb")
    parser.add_argument("--dest", type=Path, default=Path(), help="folder for what is pulled (default: here)")
    parser.add_argument("--metadata", action="store_true", help="write kernel-metadata.json too; several refs get a folder each")
    parser.add_argument("--parallel", type=_count, default=8, metavar="N", help="at most N at once (default: %(default)s)")


def cmd_pull(args: argparse.Namespace, ctx: Context) -> int:
    """Fetch notebooks and scripts; an existing file of the same name is replaced."""

    def one(reference: str) -> tuple[str, Path | None, KaggError | None]:
        try:
            own = args.dest / parse_ref(reference).slug if args.metadata and len(args.ref) > 1 else args.dest
            return reference, pull_reference(ctx, reference, own, metadata=args.metadata), None
        except KaggError as error:
            return reference, None, error

    if len(args.ref) == 1:
        outcomes = [one(args.ref[0])]
    else:
        from concurrent.futures import ThreadPoolExecutor

        kaggle_base(ctx)
        with ThreadPoolExecutor(args.parallel) as pool:
            outcomes = list(pool.map(one, args.ref))
    failures = [error for _, _, error in outcomes if error]
    for reference, path, error in outcomes:
        if path:
            ctx.emit({"ref": reference, "path": str(path), "size_bytes": path.stat().st_size}, str(path))
        elif len(args.ref) > 1 and error:
            ctx.say(f"{reference}: {error.message}", -1)
    if failures and len(failures) == len(outcomes):
        raise failures[0]
    return Exit.FINDINGS if failures else Exit.DONE


def add_push_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `push`."""
    parser.add_argument("path", type=Path, help="a notebook, a script, or a folder with kernel-metadata.json")
    parser.add_argument("--title", help="5 to 50 characters; Kaggle makes the slug of it")
    parser.add_argument("--public", action="store_true", help="let everybody see it (default: private)")
    parser.add_argument("--accelerator", help="NvidiaTeslaT4, TpuV5E8, ... (default: CPU)")
    for option in ("dataset", "competition", "kernel"):
        parser.add_argument(f"--{option}", action="append", metavar="REF", help=f"attach a {option}; may be repeated")
    parser.add_argument("--timeout", help="stop the session after this long, for example 30m")
    parser.add_argument("--no-run", action="store_true", help="save a version without running it")
    parser.add_argument("--force", action="store_true", help="push although a session of this kernel is live")
    parser.add_argument("--allow-missing-inputs", action="store_true", help="exit 0 although Kaggle refused an input")


def cmd_push(args: argparse.Namespace, ctx: Context) -> int:
    """Save a version of a kernel on Kaggle and run it there."""
    result = push_path(ctx, args.path, args)
    ctx.emit(result, f"{result['ref']} version {result['version']}  {result.get('url') or ''}".rstrip())
    for item in result["refused_inputs"]:
        ctx.say(f"Kaggle runs it without {item}", -1)
    if result["refused_inputs"] and not args.allow_missing_inputs:
        raise service_error(f"{result['ref']} runs without {len(result['refused_inputs'])} of its inputs", "mend them, or give --allow-missing-inputs")
    return Exit.DONE


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
    parser.add_argument("target", help="notebook, script, folder, owner/slug or link; arguments after -- reach a script")
    parser.add_argument("--on", choices=("local", "kaggle"), default="local", help="where (default: %(default)s)")
    parser.add_argument("--kaggle", dest="on", action="store_const", const="kaggle", help="the same as --on kaggle")
    parser.add_argument("-p", "--param", action="append", default=[], metavar="NAME=VALUE", help="a parameter; VALUE is JSON or text")
    parser.add_argument("--timeout", help="stop it after this long, for example 30m")
    parser.add_argument("--dest", type=Path, help="folder of the result (default: kaggle_results/NAME-RUN)")
    parser.add_argument("--max-wait", default="10m", help="how long to wait for a free session on Kaggle (default: %(default)s)")
    parser.add_argument("--accelerator", help="NvidiaTeslaT4, TpuV5E8, ... (Kaggle only)")
    for option in ("dataset", "competition", "kernel"):
        parser.add_argument(f"--{option}", action="append", metavar="REF", help=f"attach a {option} (Kaggle only); may be repeated")
    parser.add_argument("--allow-missing-inputs", action="store_true", help="go on although Kaggle refused an input")
    parser.set_defaults(title=None, public=False, no_run=False, force=False)


def parse_params(items: Iterable[str]) -> dict[str, Any]:
    """Return {name: value} of NAME=VALUE pairs; a value that is JSON is decoded, everything else is text."""
    params: dict[str, Any] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name.isidentifier():
            raise bad_input(f"{item!r} is not NAME=VALUE", "for example -p epochs=3 -p name=baseline")
        try:
            params[name] = json.loads(value)
        except ValueError:
            params[name] = value
    return params


def cmd_run(args: argparse.Namespace, ctx: Context) -> int:
    """Run a notebook, script or folder and say truthfully how it ended."""
    params, timeout_s = parse_params(args.param), parse_duration(args.timeout) if args.timeout else None
    options = {"args": args.rest} if args.on == "local" else {"options": args, "args": args.rest, "max_wait_s": parse_duration(args.max_wait)}
    with recorded(ctx, "run", args.target, {"on": args.on, **params}) as run:
        path = Path(args.target)
        name = re.sub(r"[^\w-]+", "-", path.stem if path.exists() else parse_ref(args.target).slug or path.stem)[:60]
        dest = args.dest or Path("kaggle_results") / f"{name}-{run.id}"
        if not path.exists():
            path = pull_reference(ctx, args.target, dest / "source")
        result = run_target(ctx, path, params=params, timeout_s=timeout_s, dest=dest, on=args.on, on_event=lambda event: _show_event(ctx, event), **options)
        code = int(result.get("exit") or (Exit.DONE if result["status"] == "complete" else Exit.FAILED))
        run.result, run.exit_code, run.status, run.error = result, code, "failed" if code else "done", str(result.get("error") or "")
    outputs = result.get("outputs") or []
    lines = [f"{result['status']} in {result['duration_s']:.1f} s, {len(outputs)} outputs in {dest}"]
    ctx.emit(result, "\n".join(lines + [f"  {item['path']}  {item['size_bytes']} bytes  sha256 {item['sha256'][:16]}" for item in outputs]))
    if code:
        where = f"cell {result['cell']}: " if result.get("cell") is not None else ""
        ctx.say("\n".join(str(line) for line in result.get("traceback") or []))
        raise KaggError(f"{args.target} ended with {result['status']}: {where}{result.get('error') or 'no reason given'}", code=Exit(code), hint=f"the log is {result.get('log') or dest}")
    return Exit.DONE


def _show_event(ctx: Context, event: dict[str, Any]) -> None:
    """Pass a log event on: as JSON under --json, as the text that the run printed otherwise."""
    if ctx.as_json or str(event.get("data", "")).strip():
        ctx.progress({"log": event}) if ctx.as_json else ctx.say(str(event["data"]).rstrip("\n"))


# ---------------------------------------------------------------------------------------------------------------------
# Commands: notebooks, batches, endpoints
# ---------------------------------------------------------------------------------------------------------------------


def add_preprocess_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `preprocess`."""
    parser.add_argument("path", nargs="+", type=Path, help="notebooks, or folders of them")
    parser.add_argument("--clean", dest="steps", action="append_const", const="clean", help="remove metadata that editors leave")
    parser.add_argument("--strip-outputs", dest="steps", action="append_const", const="outputs", help="remove outputs (kept: cells tagged keep_output)")
    parser.add_argument("--scan", dest="steps", action="append_const", const="secrets", help="look for secrets (default: all three)")
    parser.add_argument("-o", "--out", type=Path, help="file or folder for the result (default: in place)")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 3 when something would change or is found")


def cmd_preprocess(args: argparse.Namespace, ctx: Context) -> int:
    """Clean notebooks and look for secrets in them; a bad file is reported and the rest go on."""
    files = [file for path in args.path for file in (sorted(path.rglob("*.ipynb")) if path.is_dir() else [path]) if ".ipynb_checkpoints" not in file.parts]
    code = Exit.DONE
    for file in files:
        several = len(files) > 1 or (args.out and args.out.is_dir())
        out = file if not args.out else args.out / file.name if several else args.out
        try:
            before = file.read_bytes() if file.is_file() else b""
            scratch = ctx.home / "temp" / f"{hashed(str(file))}.ipynb" if args.check else out
            findings = preprocess_notebook(ctx, file, scratch, args.steps or ("clean", "outputs", "secrets"))
            changed = scratch.read_bytes() != before
        except KaggError as error:
            ctx.say(f"{file}: {error.message}", -1)
            ctx.emit({"path": str(file), "error": error.message}, f"{file}: failed")
            code = Exit.USAGE
            continue
        finally:
            if args.check:
                scratch.unlink(missing_ok=True)
        secrets = [finding for finding in findings if finding.severity == "error"]
        for finding in findings:
            ctx.say(f"{file}: cell {finding.cell} line {finding.line}: {finding.kind}: {finding.message}" + (f"; {finding.fix}" if finding.fix else ""), 0 if finding in secrets else 1)
        verb = ("would change" if args.check else "changed") if changed else "unchanged"
        ctx.emit({"path": str(file), "out": str(out), "changed": changed, "findings": [f._asdict() for f in findings]}, f"{file}: {verb}, {len(findings)} findings")
        code = code or (Exit.FINDINGS if secrets or (args.check and changed) else Exit.DONE)
    return code


def add_batch_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `batch`."""
    parser.add_argument("file", type=Path, help="jobs as CSV, JSON, JSON Lines, or text with one reference a line")
    parser.add_argument("--operation", choices=("download", "run", "deploy"), help="for jobs that name none (default: run)")
    parser.add_argument("--parallel", type=_count, default=2, metavar="N", help="at most N jobs at once (default: %(default)s)")
    parser.add_argument("--engine", default="local", help="where jobs run (default: %(default)s)")
    parser.add_argument("--dest", type=Path, help="folder of the results (default: kaggle_results/RUN)")
    parser.add_argument("--report", type=Path, help="write the outcome of every job to a .json, .jsonl or .csv file")
    parser.add_argument("--resume", metavar="RUN", help="go on with an earlier batch: its run id, or last")
    parser.add_argument("--retry-failed", action="store_true", help="with --resume: the failed jobs again, too")


def cmd_batch(args: argparse.Namespace, ctx: Context) -> int:
    """Run the jobs of a file; one that fails does not stop the others (exit 3)."""
    return int(shared("batch").run_batch(args.file, args, ctx))


def add_deploy_arguments(parser: argparse.ArgumentParser, ctx: Context) -> None:
    """Add the options of `deploy`: one --TARGET flag for each deploy room."""
    parser.add_argument("path", type=Path, help="a notebook or script that defines predict(payload), process_request(data) or handler(request)")
    parser.add_argument("--name", help="the endpoint's name (default: the file's)")
    targets = parser.add_mutually_exclusive_group(required=True)
    for known in find_rooms(ctx, "deploy"):
        targets.add_argument(f"--{known.name.replace('_', '-')}", dest="target", action="store_const", const=known.name, help=known.broken or known.summary)


def cmd_deploy(args: argparse.Namespace, ctx: Context) -> int:
    """Turn a notebook into an HTTP endpoint and check that it answers."""
    name = args.name or re.sub(r"[^a-z0-9]+", "-", args.path.stem.lower()).strip("-")[:63]
    endpoint = deploy_target(ctx, args.path, name, args.target, args)
    ctx.emit(endpoint._asdict(), f"{endpoint.name}  {endpoint.url}\ntry: python kagg.py call {endpoint.name} --data '{{}}'")
    return Exit.DONE


def add_endpoints_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `endpoints`."""
    parser.add_argument("action", nargs="?", default="list", choices=("list", "show", "start", "stop", "remove"))
    parser.add_argument("name", nargs="?", help="which endpoint (all but list)")


def cmd_endpoints(args: argparse.Namespace, ctx: Context) -> int:
    """List, show, start, stop or remove endpoints."""
    if args.action == "list":
        rows = [{**e._asdict(), "state": _state(e, ctx)} for e in load_endpoints(ctx).values()]
        ctx.emit(rows, table(rows, ("name", "target", "state", "url", "created")))
        return Exit.DONE
    if not args.name or args.name.startswith("http"):
        raise bad_input(f"endpoints {args.action} needs a name", "see: python kagg.py endpoints list")
    endpoint = find_endpoint(ctx, args.name)
    if args.action == "show":
        found = {**endpoint._asdict(), "state": _state(endpoint, ctx)}
        ctx.emit(found, "\n".join(f"{key}: {value}" for key, value in found.items() if key != "details") + "".join(f"\n{k}: {v}" for k, v in endpoint.details.items()))
        return Exit.DONE
    act = getattr(room(ctx, "deploy", endpoint.target), args.action, None)
    if act is None:
        raise bad_input(f"{endpoint.target} endpoints cannot {args.action}", "remove it and deploy again")
    with recorded(ctx, f"endpoints {args.action}", endpoint.name) as run, run.effect(args.action, endpoint.name, {"target": endpoint.target}):
        changed = act(endpoint, ctx)
        save_endpoint(ctx, changed, drop=endpoint.name if args.action == "remove" else "")
    ctx.emit({"name": endpoint.name, "action": args.action, "done": True}, f"{endpoint.name}: {args.action} done" + (f"  {changed.url}" if changed else ""))
    return Exit.DONE


def _state(endpoint: Endpoint, ctx: Context) -> str:
    try:
        return str(room(ctx, "deploy", endpoint.target).status(endpoint, ctx)) if endpoint.target else endpoint.state
    except KaggError as error:
        return f"unknown: {error.message}"


def add_call_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `call`."""
    parser.add_argument("name", help="an endpoint's name, or its URL")
    parser.add_argument("--data", default="{}", help="the payload: JSON, @FILE, or @- for standard input (default: %(default)s)")
    parser.add_argument("--timeout", default="60s", help="how long to wait for the answer (default: %(default)s)")


def read_data(text: str) -> Any:
    """Return the JSON value of --data."""
    try:
        if text.startswith("@"):
            text = sys.stdin.read() if text == "@-" else Path(text[1:]).read_text(encoding="utf-8")
        return json.loads(text)
    except (OSError, ValueError) as error:
        raise bad_input(f"--data is not JSON: {error}", "quote it for the shell: --data '{\"x\": 1}'") from error


def cmd_call(args: argparse.Namespace, ctx: Context) -> int:
    """Send one payload to an endpoint and print its answer; exit 12 unless it is a 2xx."""
    answer = call_endpoint(ctx, find_endpoint(ctx, args.name), read_data(args.data), timeout_s=parse_duration(args.timeout))
    ctx.emit(answer, json.dumps(answer["body"], ensure_ascii=False, indent=2))
    if not 200 <= answer["status"] < 300:
        raise service_error(f"{args.name} answered {answer['status']}", "its log: python kagg.py endpoints show " + args.name)
    return Exit.DONE


def add_monitor_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `monitor`."""
    parser.add_argument("name", help="an endpoint's name, or a URL")
    parser.add_argument("--duration", default="10s", help="how long (default: %(default)s)")
    parser.add_argument("--interval", default="1s", help="time between probes (default: %(default)s)")
    parser.add_argument("--data", help="POST this JSON instead of asking the health page")
    parser.add_argument("--max-p95", help="exit 3 when the 95th percentile is above this, for example 200ms")
    parser.add_argument("--max-errors", type=float, default=0.0, metavar="RATIO", help="exit 3 when more of the probes fail (default: %(default)s)")


def cmd_monitor(args: argparse.Namespace, ctx: Context) -> int:
    """Probe an endpoint and report its latency percentiles; exit 3 when a threshold is crossed."""
    endpoint, interval_s = find_endpoint(ctx, args.name), parse_duration(args.interval)
    if interval_s < 0.001:
        raise bad_input(f"--interval {args.interval} is too short", "1ms is the least")
    with recorded(ctx, "monitor", endpoint.name) as run:
        report = monitor_endpoint(ctx, endpoint, parse_duration(args.duration), interval_s, read_data(args.data) if args.data else None)
        slow = bool(args.max_p95 and (report["p95_ms"] is None or report["p95_ms"] > 1000 * parse_duration(args.max_p95)))
        bad = report["error_ratio"] > args.max_errors
        run.result, run.status, run.exit_code = report, "findings" if slow or bad else "done", Exit.FINDINGS if slow or bad else Exit.DONE
    numbers = "  ".join(f"{label.removesuffix('_ms')} {report[label]} ms" for label in ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms"))
    ctx.emit(report, f"{endpoint.name}: {report['count']} probes, {report['errors']} failed\n{numbers}" + (f"\nfirst error: {report['first_error']}" if bad else ""))
    return run.exit_code


def add_train_arguments(parser: argparse.ArgumentParser, ctx: Context) -> None:
    """Add the options of `train`."""
    names = ", ".join(f"{known.name} ({known.broken or known.summary})" for known in find_rooms(ctx, "train"))
    parser.add_argument("trainer", help=names or "no trainer is installed")
    parser.add_argument("data", help="the training data")


def cmd_train(args: argparse.Namespace, ctx: Context) -> int:
    """Train a model with a trainer room and print its metrics."""
    with recorded(ctx, "train", args.data, {"trainer": args.trainer}) as run:
        run.result = room(ctx, "train", args.trainer).train(args.data, args, ctx)
    ctx.emit(run.result, "\n".join(f"{key}: {value}" for key, value in run.result.items()))
    return Exit.DONE


# ---------------------------------------------------------------------------------------------------------------------
# Main
# ---------------------------------------------------------------------------------------------------------------------

COMMANDS: dict[str, tuple[Any, Any]] = {
    "list": (add_list_arguments, cmd_list),
    "pull": (add_pull_arguments, cmd_pull),
    "push": (add_push_arguments, cmd_push),
    "run": (add_run_arguments, cmd_run),
    "preprocess": (add_preprocess_arguments, cmd_preprocess),
    "batch": (add_batch_arguments, cmd_batch),
    "deploy": (add_deploy_arguments, cmd_deploy),
    "endpoints": (add_endpoints_arguments, cmd_endpoints),
    "call": (add_call_arguments, cmd_call),
    "monitor": (add_monitor_arguments, cmd_monitor),
    "train": (add_train_arguments, cmd_train),
}
ROOM_FLAGS = {"deploy": "deploy", "train": "train"}  # commands whose chosen room adds its own options


class Parser(argparse.ArgumentParser):
    """argparse, with our error gate in place of its own exit."""

    def error(self, message: str) -> Any:
        """Raise USAGE."""
        raise bad_input(message, f"see: python {self.prog} --help")


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 10000")
    return int(text)


def _common(parser: argparse.ArgumentParser, **defaults: Any) -> None:
    """Add the options that every command takes, before and after its name."""
    parser.add_argument("-v", "--verbose", action="store_true", help="say more; show tracebacks", **defaults)
    parser.add_argument("-q", "--quiet", action="store_true", help="say only errors", **defaults)
    parser.add_argument("--json", action="store_true", help="write JSON to stdout, and messages as JSON Lines to stderr", **defaults)
    parser.add_argument("--kaggle-url", metavar="URL", help="Kaggle's address; local = the local Kaggle (default: KAGG_KAGGLE_URL)", **defaults)


def build_parser(ctx: Context, chosen: str, argv: list[str]) -> argparse.ArgumentParser:
    """Build the parser; only the chosen command gets its options, and only its room is read."""
    parser = Parser(prog="kagg.py", description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"kagg {VERSION}")
    _common(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (add_arguments, command) in COMMANDS.items():
        sub = commands.add_parser(name, help=(command.__doc__ or "").splitlines()[0], description=command.__doc__, allow_abbrev=False)
        sub.set_defaults(func=command)
        if name == chosen:
            _common(sub, default=argparse.SUPPRESS)
            add_arguments(sub, ctx) if name in ROOM_FLAGS else add_arguments(sub)
            for known in find_rooms(ctx, ROOM_FLAGS[name]) if name in ROOM_FLAGS else ():
                if f"--{known.name.replace('_', '-')}" in argv or (name == "train" and known.name in argv):
                    room(ctx, known.kind, known.name).add_arguments(sub.add_argument_group(known.summary))
    for known in find_rooms(ctx, "cmd", installed=chosen not in COMMANDS):
        sub = commands.add_parser(known.name.replace("_", "-"), help=known.broken or known.summary, description=known.summary, allow_abbrev=False)
        if known.name == chosen.replace("-", "_"):
            module = room(ctx, "cmd", known.name)
            _common(sub, default=argparse.SUPPRESS)
            module.add_arguments(sub)
            sub.set_defaults(func=module.run)
    return parser


def _chosen(argv: list[str]) -> str:
    """Return the command named on the command line, "" when there is none."""
    words = iter(argv)
    for word in words:
        if word == "--kaggle-url":
            next(words, None)
        elif not word.startswith("-"):
            return word
    return ""


def main(argv: list[str] | None = None, ctx: Context | None = None) -> int:
    """Run one command and return its exit code; the only place where errors end."""
    argv = list(sys.argv[1:] if argv is None else argv)
    ctx, words = ctx or Context(), argv[: argv.index("--")] if "--" in argv else argv
    ctx.as_json, ctx.verbosity = "--json" in words, -1 if {"-q", "--quiet"} & set(words) else int(bool({"-v", "--verbose"} & set(words)))
    try:
        args = build_parser(ctx, _chosen(words), words).parse_args(words or ["--help"])
        args.rest, ctx.kaggle_url = argv[len(words) + 1 :], args.kaggle_url or ""
        if args.rest and args.command != "run":
            raise bad_input(f"{args.command} takes nothing after --", "only run passes arguments on")
        return int(args.func(args, ctx))
    except KaggError as error:
        return _report(ctx, error)
    except KeyboardInterrupt:
        return _report(ctx, KaggError("interrupted", code=Exit.INTERRUPTED))
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.FAILED
    except OSError as error:  # disk full, folder not writable, file vanished
        return _report(ctx, KaggError(f"{error.filename or 'system'}: {error.strerror or error}"))
    except Exception as error:  # noqa: BLE001 - the one gate: whatever comes here is a bug of ours
        return _report(ctx, KaggError(f"bug: {type(error).__name__}: {error}", code=Exit.BUG, hint=f"run it again with -v and report it at {ISSUES_URL}"))


def _report(ctx: Context, error: KaggError) -> int:
    """Print an error the way people or programs read it, with the traceback under -v."""
    if ctx.verbosity > 0 or error.code == Exit.BUG:
        import traceback

        ctx.say(traceback.format_exc().rstrip(), -1)
    if ctx.as_json:
        ctx.stderr.write(json.dumps(error.as_json(), ensure_ascii=False) + "\n")
    else:
        ctx.say(f"kagg: error: {error.message}" + (f"; {error.hint}" if error.hint else ""), -1)
    return int(error.code)


def script() -> None:
    """Run as a program: SIGTERM ends it like Ctrl-C, so that children and part files are looked after."""
    import signal

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    raise SystemExit(main())


if __name__ == "__main__":
    script()
