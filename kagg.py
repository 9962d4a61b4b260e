#!/usr/bin/env python3
"""From a Kaggle notebook to something people use: pull, clean, run, batch, deploy, call, monitor.

Read this file from top to bottom to know every command, error, file format and promise. Vendors and algorithms live in
`plugins/<kind>/<name>.py` (rooms), shared parts in `plugins/lib/`; both are imported only when a command needs them.

    python kagg.py --help
    python kagg.py --kaggle-url local batch batch_examples/jobs.csv     # no account needed
"""

from __future__ import annotations

import contextlib
import enum
import io
import json
import os
import re
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    import argparse
    import random
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime
    from types import ModuleType
    from typing import TextIO

# `python kagg.py` runs as __main__; rooms that say `from kagg import ...` must get this very module, not a second one.
sys.modules.setdefault("kagg", sys.modules[__name__])

VERSION = "0.1.0"
PLUGIN_API = 1
KINDS = ("cmd", "deploy", "engine", "notify", "prep", "store", "track", "train")

# ---------------------------------------------------------------------------------------------------------------------
# Promises: exit codes, errors, what rooms exchange
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

    def __init__(self, message: str, *, code: Exit = Exit.FAILED, hint: str = "",
                 details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message, self.code, self.hint, self.details = message, code, hint, details or {}


def bad_input(message: str, hint: str = "") -> KaggError:
    """Return a USAGE error."""
    return KaggError(message, code=Exit.USAGE, hint=hint)


def service_error(message: str, hint: str = "", **details: Any) -> KaggError:
    """Return a SERVICE error; `details`: status, reply, sent (the server may have acted), retry."""
    return KaggError(message, code=Exit.SERVICE, hint=hint, details=details)


class Finding(NamedTuple):
    """What a notebook step noticed. `cell` counts from 0 over all cells, `line` from 1; None = the whole notebook.

    `severity` is error (a secret), warning or note; `id` names a secret finding for --allow-finding.
    """

    kind: str
    severity: str
    message: str
    cell: int | None = None
    line: int | None = None
    fix: str = ""
    place: str = ""
    id: str = ""
    column: int | None = None


class Endpoint(NamedTuple):
    """Where a deployed notebook answers. `target` is the deploy room that owns it, `details` are that room's."""

    name: str
    target: str
    url: str
    state: str = "running"
    created: str = ""
    details: dict[str, Any] = {}  # noqa: RUF012 - replaced, never changed in place


# ---------------------------------------------------------------------------------------------------------------------
# Voice: what reaches the streams, and the context that every command gets
# ---------------------------------------------------------------------------------------------------------------------

_SECRETS: set[str] = set()  # the exact values in use, so that no stream repeats them whatever their shape
_TOKENS = r"\b(?:KGAT_|hf_|ghp_|github_pat_|glpat-|sk-|xox[abprs]-|AKIA|AIza|r8_)[A-Za-z0-9_-]{10,}"
_LEAK_SHAPES = (  # a text: compiled when first used, because most commands say nothing
    r"(?i)(?P<keep>\b(?:Bearer|Basic)\s+|[?&](?:X-Goog-Signature|X-Amz-Signature|Signature|sig|token|access_token|key)=|"
    r"\"(?:key|token|access_token|refresh_token|password|secret)\"\s*:\s*\"|\b(?:api_?key|password|secret|token)=)"
    r"[^\s\"'&@]{6,}|(?<=://)[^\s/:@]*:[^\s/@]+(?=@)|\beyJ[\w-]{8,4096}\.[\w-]{8,4096}\.[\w-]*|" + _TOKENS)


def keep_secret(value: str) -> str:
    """Remember `value` so that `redact` hides it, and return it."""
    if len(value) >= 6:
        _SECRETS.add(value)
    return value


def redact(text: str) -> str:
    """Hide the secrets in use and everything that has a secret's shape."""
    for value in sorted(_SECRETS, key=len, reverse=True):
        text = text.replace(value, "[secret]")
    return re.sub(_LEAK_SHAPES, lambda match: (match["keep"] or "") + "[secret]", text)


def _plain(value: Any) -> Any:
    """Turn what JSON does not know into what it knows."""
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


class Context:
    """What a command may touch: environment, time, network, randomness, output. Tests hand in their own.

    Attributes: `env`; `home` (KAGG_HOME); `root` (folder of kagg.py); `as_json`; `verbosity` (-1, 0, 1); `kaggle_url`.
    """

    def __init__(self, env: Mapping[str, str] | None = None, *, stdout: TextIO | None = None,
                 stderr: TextIO | None = None) -> None:
        self.env: Mapping[str, str] = os.environ if env is None else env
        closed = None in (stdout or sys.stdout, stderr or sys.stderr)  # as with >&-
        nowhere = Path(os.devnull).open("w", encoding="utf-8") if closed else sys.stderr  # noqa: SIM115
        self.stdout, self.stderr = stdout or sys.stdout or nowhere, stderr or sys.stderr or nowhere
        self.home = Path(self.env.get("KAGG_HOME") or self.user_home() / ".kagg")
        self.root = Path(__file__).resolve().parent
        self.as_json, self.verbosity, self.kaggle_url = False, 0, ""
        self.cache: dict[Any, Any] = {}  # connections, pauses, credentials: one per process
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
    def configs(self) -> Path:
        """Return the folder of project_config.yaml and kaggle.json: KAGG_CONFIGS, else beside kagg.py."""
        return Path(self.env.get("KAGG_CONFIGS") or self.root / "configs")

    @property
    def random(self) -> random.Random:
        """Return the source of jitter; nothing here is cryptography."""
        if "random" not in self.cache:
            import random

            self.cache["random"] = random.Random()  # noqa: S311
        source: random.Random = self.cache["random"]
        return source

    @property
    def config(self) -> dict[str, Any]:
        """Return configs/project_config.yaml beside kagg.py, {} when there is none."""
        if "config" not in self.cache:
            path = self.configs / "project_config.yaml"
            self.cache["config"] = shared("settings").read_settings(path) if path.exists() else {}
        found: dict[str, Any] = self.cache["config"]
        return found

    def emit(self, document: Any, text: str | None = None) -> None:
        """Write data to stdout: `document` as one JSON line under --json, else `text` (default: the document)."""
        if self.as_json or (text is None and not isinstance(document, str)):
            text = json.dumps(document, default=_plain, ensure_ascii=False, indent=None if self.as_json else 2)
        self._write(self.stdout, document if text is None else text)

    def say(self, text: str, level: int = 0) -> None:
        """Tell people something on stderr, redacted: level -1 even with -q, 0 normally, 1 with -v."""
        if level <= self.verbosity:
            line = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", " ", redact(text))
            self._write(self.stderr, json.dumps({"message": line}, ensure_ascii=False) if self.as_json else line)

    def progress(self, event: dict[str, Any]) -> None:
        """Show how far long work is: a line that rewrites itself on a terminal, JSON Lines on stderr under --json."""
        if self.verbosity < 0:
            return
        if self.as_json:
            line = json.dumps({"progress": event}, default=_plain, ensure_ascii=False)
            self._write(self.stderr, redact(line))
        elif self.stderr.isatty():
            line = redact(" ".join(f"{key} {value}" for key, value in event.items()))[:100]
            self._write(self.stderr, f"\r\x1b[K{line}", end="\n" if event.get("end") else "")

    def _write(self, stream: TextIO, line: str, end: str = "\n") -> None:
        with self.lock:  # whole lines, also from threads; a lone surrogate must not end the program
            stream.write(line.encode("utf-8", "replace").decode() + end)
            stream.flush()


def setting(ctx: Context, variable: str, key: str, default: str = "") -> str:
    """Return a setting: environment variable, then `key` ("section.name") of the settings file, then the default."""
    if ctx.env.get(variable):
        return ctx.env[variable]
    node: Any = ctx.config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return default if node is None else str(node)


def table(rows: list[dict[str, Any]], columns: Iterable[str]) -> str:
    """Return aligned text with a header; strangers' control characters are not passed on to the terminal."""
    names = list(columns)
    shown = [["" if row.get(name) is None else str(row[name]) for name in names] for row in rows]
    cells = [names, *[[re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", value)[:80] for value in line] for line in shown]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    lines = ["  ".join(value.ljust(width) for value, width in zip(line, widths, strict=True)) for line in cells]
    return "\n".join(line.rstrip() for line in lines) if rows else "nothing found"


# ---------------------------------------------------------------------------------------------------------------------
# Files: atomic writes, locks, safe names, units
# ---------------------------------------------------------------------------------------------------------------------


def write_atomic(path: Path, content: bytes | str | list[bytes | memoryview], mode: int | None = None) -> None:
    """Write a file that is either the old one or the whole new one, also after `kill -9` or a power cut."""
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():  # /dev/null, a pipe, a folder: a rename would replace it
        raise bad_input(f"{path} is no regular file, and would be replaced", "name a file")
    if mode is None and target.exists():  # a private notebook stays private
        mode = target.stat().st_mode & 0o777
    target.parent.mkdir(parents=True, exist_ok=True)
    temp = target.parent / f".{target.name[:50]}.{os.getpid()}.{threading.get_ident()}.tmp"
    try:
        temp.unlink(missing_ok=True)  # of a killed process; whatever else has this name is not written through
        descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else mode)
    except OSError as error:
        error.filename = str(path)  # not the temporary name
        raise
    try:
        with os.fdopen(descriptor, "wb") as stream:
            whole = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
            stream.writelines(whole if isinstance(whole, list) else [whole])
            stream.flush()
            os.fsync(stream.fileno())
        if mode is not None:
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
                raise KaggError(f"{path} is held by another process for {timeout_s:.0f} s", hint="wait and try again")
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


_BAD_NAME = r"(?i)(|\.|\.\.|(con|prn|aux|nul|com\d|lpt\d)(\..*)?)"  # with the device names of Windows


def safe_path(folder: Path, name: str) -> Path:
    """Return the path of a file that somebody else named, inside `folder`.

    Raises:
        KaggError: INTEGRITY when the name is absolute, climbs out, or is no portable file name.
    """
    parts = name.replace("\\", "/").split("/")
    bad = name[:1] in ("", "/", "\\", "~") or re.search(r"[\x00-\x1f\x7f-\x9f:\ud800-\udfff]", name) or len(name) > 1024
    if bad or any(re.fullmatch(_BAD_NAME, part) or len(part.encode("utf-8", "replace")) > 240 for part in parts):
        raise KaggError(f"refused the file name {name[:80]!r}", code=Exit.INTEGRITY, hint="it would leave its folder")
    path = folder.joinpath(*parts)
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise KaggError(f"refused the file name {name[:80]!r}: a link leads out of {folder}", code=Exit.INTEGRITY)
    return path


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, read in pieces."""
    import hashlib

    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def decode_json(text: bytes | str) -> Any:
    """Decode JSON that a stranger wrote; nesting too deep for us is a ValueError like any other defect."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def hashed(text: str) -> str:
    """Return the first 24 hexadecimal digits of the SHA-256 of `text`, safe as a file name."""
    import hashlib

    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


_UNITS_S = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: str) -> float:
    """Return seconds from "10s", "1.5m", "2h", "1h30m", "250ms" or "90"."""
    squeezed = re.sub(r"\s", "", text.lower())
    pieces = re.findall(r"(\d+(?:\.\d+)?)([a-z]*)", squeezed)
    if not pieces or "".join(n + u for n, u in pieces) != squeezed or any(u not in _UNITS_S for _, u in pieces):
        raise bad_input(f"{text!r} is not a duration", "write 250ms, 10s, 1.5m, 2h or 1h30m")
    return sum(float(number) * _UNITS_S[unit] for number, unit in pieces)


# ---------------------------------------------------------------------------------------------------------------------
# HTTP: connections
# ---------------------------------------------------------------------------------------------------------------------

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
RETRY_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
HARMLESS_HEADERS = frozenset({"user-agent", "accept", "accept-encoding", "range", "if-range"})  # for any origin
MAX_REPLY_BYTES = 256 * 1024**2
MAX_REDIRECTS = 5
CONNECT_TIMEOUT_S = 10.0


class Reply(NamedTuple):
    """A whole HTTP answer. `data` is the decoded JSON when it was asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    data: Any = None

    def json(self) -> Any:
        """Decode the body; ValueError when it is not JSON."""
        return decode_json(self.body)


class Stream:
    """An open HTTP answer with `status`, `headers`, `url`; read its `pieces` to the end, or `close` it."""

    def __init__(self, connection: Any, response: Any, url: str, idle: list[Any]) -> None:
        self.status, self.headers, self.url = response.status, response.headers, url
        self._connection, self._response, self._idle = connection, response, idle

    def pieces(self, size: int = 65536) -> Iterator[bytes]:
        """Yield the body as it arrives; a connection that breaks off or ends early is a SERVICE error."""
        from http.client import HTTPException, IncompleteRead

        try:
            while piece := self._response.read1(size):
                yield piece
            if self._response.length:  # read1 does not mind a body that is shorter than announced
                raise IncompleteRead(b"", self._response.length)
        except (HTTPException, OSError, ValueError) as error:
            raise service_error(f"{host_of(self.url)}: the answer broke off: {network_reason(error)}",
                                sent=True, retry=True) from error
        else:
            if not self._response.will_close:  # whole and kept alive: the next request may use the connection
                self._idle.append(self._connection)
                self._connection = None
        finally:
            self.close()

    def close(self) -> None:
        """Give the connection up when the body was not read to its end."""
        self._response.close()
        if self._connection:
            self._connection.close()


class _Idle(list[Any]):
    """Connections that wait for their next request; they are closed with their context."""

    def __del__(self) -> None:
        for connection in self:
            connection.close()


def host_of(url: str) -> str:
    """Return the host name in `url`, "" when there is none."""
    from urllib.parse import urlsplit

    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def check_url(url: str) -> None:
    """Refuse what is no http(s) URL, and clear text to anything but this machine."""
    if not re.match(r"https?://[^\s/]+", url) or not host_of(url):
        raise bad_input(f"{url[:80]!r} is not an http(s) URL")
    if url.startswith("http://") and host_of(url) not in LOOPBACK:
        raise KaggError(f"refused clear text http to {host_of(url)}", code=Exit.CONFIG, hint="use https")


def network_reason(error: BaseException) -> str:
    """Return one line for a network error."""
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__


def _proxy(ctx: Context, url: str) -> str:
    """Return the proxy that the environment names for an https `url`, "" for none."""

    def named(name: str) -> str:
        return ctx.env.get(name) or ctx.env.get(name.upper()) or ""

    host, skip = host_of(url), [item.strip().lstrip("*.") for item in named("no_proxy").split(",") if item.strip()]
    if url.startswith("http:") or named("no_proxy").strip() == "*" or any(f".{host}".endswith(f".{s}") for s in skip):
        return ""
    return named("https_proxy") or named("all_proxy")


def _connect(ctx: Context, url: str) -> Any:
    """Open a connection, through a proxy when the environment says so; certificates are always checked for https."""
    import http.client
    from urllib.parse import unquote, urlsplit

    parts, proxy = urlsplit(url), urlsplit(_proxy(ctx, url))
    if parts.scheme == "http":
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=CONNECT_TIMEOUT_S)
    else:
        near = proxy if proxy.hostname else parts
        host, port = near.hostname or "", near.port or (80 if proxy.hostname else 443)
        connection = http.client.HTTPSConnection(host, port, timeout=CONNECT_TIMEOUT_S, context=_trust(ctx))
        if proxy.hostname:
            user = _basic("", unquote(proxy.username), unquote(proxy.password or "")).header if proxy.username else ""
            connection.set_tunnel(parts.hostname or "", parts.port or 443,
                                  {"Proxy-Authorization": user} if user else {})
    connection.connect()
    return connection


def _trust(ctx: Context) -> Any:
    """Return the certificates to check against: the bundle in the environment, else the system's, else certifi's."""
    import importlib.util
    import ssl

    with ctx.lock:
        if "trust" not in ctx.cache:
            names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
            bundle = next((ctx.env[name] for name in names if ctx.env.get(name)), None)
            ctx.cache["trust"] = ssl.create_default_context(cafile=bundle)
            known = bundle or ctx.cache["trust"].cert_store_stats()["x509_ca"]
            if not known and importlib.util.find_spec("certifi"):
                import certifi

                ctx.cache["trust"].load_verify_locations(certifi.where())
        return ctx.cache["trust"]


# ---------------------------------------------------------------------------------------------------------------------
# HTTP: one function for every request
# ---------------------------------------------------------------------------------------------------------------------


def _wait_turn(ctx: Context, host: str) -> None:
    """Hold every worker of this process back while `host` asked for a pause, and keep to KAGG_RATE_LIMIT requests/s."""
    limit = setting(ctx, "KAGG_RATE_LIMIT", "rate_limit", "0")
    if not re.fullmatch(r"\d{1,6}(\.\d+)?", limit):
        raise KaggError(f"KAGG_RATE_LIMIT={limit[:40]} is not a number of requests a second", code=Exit.CONFIG)
    rate = float(limit)
    with ctx.lock:
        now = ctx.monotonic()
        turn = max(now, ctx.cache.get(("pause", host), 0.0), ctx.cache.get(("slot", host), 0.0))
        ctx.cache["slot", host] = turn + (1 / rate if rate > 0 else 0.0)
    if turn > now:
        ctx.sleep(turn - now)


def retry_after_s(ctx: Context, headers: Mapping[str, str]) -> float | None:
    """Return the seconds that Retry-After asks for: a number or an HTTP date (RFC 9110 section 10.2.3)."""
    value = (headers.get("Retry-After") or "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        return float(value)
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(value)
        return max(0.0, (moment - ctx.now()).total_seconds())
    except (ValueError, TypeError, OverflowError):  # absent, no date, the year 10000, or a date without a zone
        return None


class _Patient:
    """A socket for http.client that is read until `until_s`: a header that drips renews every timeout of its own."""

    def __init__(self, sock: Any, until_s: float) -> None:
        self.raw, self.until_s = sock.makefile("rb", buffering=0), until_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    def makefile(self, _mode: str) -> Any:
        return io.BufferedReader(self)

    def readinto(self, buffer: Any) -> Any:
        if time.monotonic() > self.until_s:
            raise TimeoutError("the header takes too long")
        return self.raw.readinto(buffer)


def _exchange(ctx: Context, method: str, url: str, *, headers: Mapping[str, str], body: Any,
              timeout_s: float, fresh: bool) -> Stream:
    """Send one request over an idle connection, or over a new one when `fresh` or when the idle one has died."""
    from http.client import HTTPException, HTTPResponse
    from urllib.parse import quote, urlsplit

    parts = urlsplit(url)
    path = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe="%/:=&?~#+!$,;'@()*[]")
    with ctx.lock:
        idle = ctx.cache.setdefault(("idle", parts.scheme, parts.netloc), _Idle())
        connection = None if fresh or not idle else idle.pop()
    reused, sent = connection is not None, False
    try:
        connection = connection or _connect(ctx, url)
        connection.sock.settimeout(timeout_s)
        sent = True
        connection.request(method, path, body=body, headers=dict(headers))
        patient: Any = _Patient(connection.sock, time.monotonic() + 4 * timeout_s)
        connection.response_class = lambda _, **options: HTTPResponse(patient, **options)
        response = connection.getresponse()
        patient.until_s = float("inf")
        return Stream(connection, response, url, idle)
    except (HTTPException, OSError, ValueError) as error:
        if connection:
            connection.close()
        if reused and not isinstance(error, TimeoutError):
            return _exchange(ctx, method, url, headers=headers, body=body, timeout_s=timeout_s, fresh=True)
        hint = "" if sent else "is the network up, and the address right?"
        raise service_error(f"{host_of(url)}: {network_reason(error)}", hint, sent=sent, retry=True) from error
    except BaseException:
        if connection:
            connection.close()
        raise


def send(ctx: Context, method: str, url: str, *, headers: Mapping[str, str], body: Any = None, timeout_s: float = 30.0,
         follow: bool = True, fresh: bool = False) -> Stream:
    """Send one request and return the open answer, after at most five redirects; nothing is retried.

    Credentials and body stay with the origin they were meant for. `details["sent"]` of an error says whether the server
    may have seen the request.
    """
    from urllib.parse import urljoin, urlsplit

    for _ in range(MAX_REDIRECTS + 1):
        check_url(url)
        _wait_turn(ctx, host_of(url))
        answer = _exchange(ctx, method, url, headers=headers, body=body, timeout_s=timeout_s, fresh=fresh)
        location = answer.headers.get("Location")
        if not follow or answer.status not in REDIRECTS or not location:
            return answer
        answer.close()
        try:
            origin, url = urlsplit(url)[:2], urljoin(url, location)
            elsewhere = urlsplit(url)[:2] != origin
        except ValueError as error:
            raise service_error(f"{host_of(url)} redirects to {location[:80]!r}", sent=True) from error
        if elsewhere and body is not None and answer.status in (307, 308):
            raise service_error(f"{host_of(answer.url)} redirects what was sent to {host_of(url)}; refused", sent=True)
        if elsewhere:
            headers = {name: value for name, value in headers.items() if name.lower() in HARMLESS_HEADERS}
        if answer.status in (301, 302, 303) and method != "HEAD":
            method, body = "GET", None
    raise service_error(f"{host_of(url)}: more than {MAX_REDIRECTS} redirects")


def read_body(ctx: Context, answer: Stream, timeout_s: float, limit: int = MAX_REPLY_BYTES) -> bytes:
    """Read a whole body within a size limit and a deadline, so that no server can feed us for ever."""
    pieces, size, deadline = [], 0, ctx.monotonic() + 4 * timeout_s
    for piece in answer.pieces():
        size += len(piece)
        if size > limit or ctx.monotonic() > deadline:
            answer.close()
            raise service_error(f"{host_of(answer.url)}: the answer exceeds {limit} bytes or {4 * timeout_s:.0f} s",
                                sent=True)
        pieces.append(piece)
    return b"".join(pieces)


def fetch(ctx: Context, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None,
          json_body: Any = None, timeout_s: float = 30.0, attempts: int = 6, max_wait_s: float = 120.0,
          idempotent: bool | None = None, ok: Iterable[int] = (200,), want_json: bool = False,
          follow: bool = True) -> Reply:
    """Send a request and return its whole answer, trying again where that is safe.

    Network errors, broken answers, bad JSON (with `want_json`), 408, 429 and 5xx are tried again up to `attempts` times
    within `max_wait_s`, with jitter and as Retry-After says. What is not `idempotent` (default: POST and PATCH) is
    repeated only after 429 or when it never left this machine.

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
            answer = send(ctx, method, url, headers=sending, body=body, timeout_s=timeout_s, follow=follow,
                          fresh=not again_safe)
            body_seen = _unzipped(answer, read_body(ctx, answer, timeout_s))
            reply = Reply(answer.status, answer.headers, body_seen, answer.url)
            if reply.status in wanted:
                return reply._replace(data=_decoded(reply)) if want_json else reply
            wait_s = retry_after_s(ctx, reply.headers)
            error = service_error(f"{host_of(url)} answered {reply.status}{error_text(reply)}", status=reply.status,
                                  reply=reply, sent=reply.status != 429, retry=reply.status in RETRY_STATUSES)
        except KaggError as caught:
            error = caught
        pause_s = min(0.4 * 2**attempt, 20.0) * ctx.random.uniform(0.5, 1.0)
        pause_s = pause_s if wait_s is None else wait_s + ctx.random.uniform(0, 0.2)
        safe = error.details.get("retry") and (again_safe or not error.details.get("sent", True))
        if not safe or attempt == attempts or ctx.monotonic() + pause_s > deadline:
            error.hint = error.hint or (f"it asks to wait {wait_s:.0f} s" if wait_s is not None else "")
            raise error
        ctx.say(f"{error.message}; trying again in {pause_s:.1f} s", 1)
        if error.details.get("status") == 429:  # the whole process waits, not this worker alone
            with ctx.lock:
                ctx.cache["pause", host_of(url)] = ctx.monotonic() + pause_s
        else:
            ctx.sleep(pause_s)
    raise AssertionError("the last attempt returns or raises")


def _unzipped(answer: Stream, body: bytes) -> bytes:
    """Undo a Content-Encoding that a proxy chose although we asked for none."""
    if (answer.headers.get("Content-Encoding") or "").lower() not in ("gzip", "x-gzip", "deflate"):
        return body
    import zlib

    try:
        return zlib.decompressobj(47).decompress(body, MAX_REPLY_BYTES)  # 47: gzip or zlib, as its header says
    except zlib.error as error:
        raise service_error(f"{host_of(answer.url)} sent a damaged answer: {error}", sent=True, retry=True) from error


def _decoded(reply: Reply) -> Any:
    try:
        return reply.json()
    except ValueError as error:
        raise service_error(f"{host_of(reply.url)} answered something that is not JSON", status=reply.status, sent=True,
                            retry=True) from error


def error_text(reply: Reply) -> str:
    """Return ": message" of Kaggle's error bodies {"code", "message"} and {"error": {"message"}}; "" of others."""
    try:
        found = reply.json()
    except ValueError:
        return ""
    inner = found.get("error") if isinstance(found, dict) else None
    text = (inner if isinstance(inner, dict) else found).get("message") if isinstance(found, dict) else None
    return f": {' '.join(str(text or inner).split())[:300]}" if text or (inner and isinstance(inner, str)) else ""


# ---------------------------------------------------------------------------------------------------------------------
# Kaggle: references, where it is and who you are
# ---------------------------------------------------------------------------------------------------------------------

# KAGGLE_API_ENVIRONMENT, as kagglesdk/kaggle_env.py names them
KAGGLE_ENVIRONMENTS = {"PROD": "https://api.kaggle.com", "TEST": "http://localhost:7777",
                       "LOCALHOST": "http://localhost",
                       **{name: f"https://{name.lower()}.kaggle.com" for name in ("QA", "STAGING", "ADMIN")}}
KERNELS, DATASETS = "kernels.KernelsApiService/", "datasets.DatasetApiService/"
LIVE_STATES = frozenset({"QUEUED", "RUNNING", "CANCEL_REQUESTED"})
END_STATES = ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED", "NEW_SCRIPT")
SLOTS_FULL = r"Maximum batch (CPU|GPU|TPU) session count of (\d+) reached"
INVALID_LISTS = ("invalidDatasetSources", "invalidCompetitionSources", "invalidKernelSources", "invalidModelSources",
                 "invalidTags")
_SLUG = r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}"
_SIGN_IN = "put a token in KAGGLE_API_TOKEN, or see: python kagg.py doctor"


class Credential(NamedTuple):
    """One way to sign in: where it was found, whose it is ("" = ask the server), and the Authorization header."""

    source: str
    username: str
    header: str


class KernelStatus(NamedTuple):
    """State of a kernel's session: QUEUED RUNNING COMPLETE ERROR CANCEL_REQUESTED CANCEL_ACKNOWLEDGED NEW_SCRIPT."""

    state: str
    message: str = ""


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
        """Return the request fields that name this kernel; a version is called "v3", never "3"."""
        return {"userName": self.owner, "kernelSlug": self.slug,
                "versionLabel": f"v{self.version}" if self.version else None}


def parse_ref(text: str) -> Ref:
    """Read `owner/slug[/vN]`, a Kaggle page, or any http(s) URL (plugins/lib/links.py knows the code hosts)."""
    other = "(?!(?:datasets|competitions|models|discussions|learn|docs)/)"  # pages of Kaggle that show no kernel
    page = re.fullmatch(rf"https?://(?:www\.)?kaggle\.com/(?:code/|kernels/)?{other}({_SLUG}/{_SLUG}(?:/v[1-9]\d{{0,8}}(?![^/?#]))?)(?:[/?#].*)?",
                        text.strip())
    version = re.search(r"[?&]scriptVersion=(\d{1,9})", text) if page else None
    if match := re.fullmatch(rf"({_SLUG})/({_SLUG})(?:[/@]v?([1-9]\d{{0,8}}))?", page[1] if page else text.strip()):
        number = match[3] or (version[1] if version else None)
        return Ref("kaggle", match[1], match[2], int(number) if number else None)
    if not re.match(r"https?://", text.strip()):
        raise bad_input(f"{text[:100]!r} is neither owner/slug nor a link",
                        "write owner/slug, owner/slug/v3 or an https link")
    if host_of(text.strip()) in ("kaggle.com", "www.kaggle.com"):
        raise bad_input(f"{text[:100]!r} is no page of a kernel", "write owner/slug, owner/slug/v3 or an https link")
    check_url(text.strip())
    return Ref("url", url=text.strip())


def kaggle_base(ctx: Context) -> str:
    """Return the API's base URL. "local" means the local Kaggle, which is started when it is not running."""
    chosen = ctx.kaggle_url or setting(ctx, "KAGG_KAGGLE_URL", "kaggle.url")
    if chosen == "local":
        with ctx.lock:
            if "local" not in ctx.cache:
                ctx.cache["local"] = shared("kaggle.embedded").ensure_local(ctx)
        chosen = ctx.cache["local"]["url"]
    name = (ctx.env.get("KAGGLE_API_ENVIRONMENT") or "PROD").upper()
    if not chosen and name not in KAGGLE_ENVIRONMENTS:
        names = ", ".join(KAGGLE_ENVIRONMENTS)
        raise KaggError(f"KAGGLE_API_ENVIRONMENT={name} is not known", code=Exit.CONFIG, hint=f"one of {names}")
    chosen = chosen or KAGGLE_ENVIRONMENTS[name]
    check_url(chosen)
    return chosen.rstrip("/") + ("" if host_of(chosen) == "api.kaggle.com" else "/api")


def read_secret(ctx: Context, path: Path) -> str:
    """Return the stripped content of a file that holds a secret, "" when absent; say so when others can read it."""
    try:
        if sys.platform != "win32" and path.stat().st_mode & 0o077 and not ctx.cache.get(("wide", path)):
            ctx.cache["wide", path] = True
            ctx.say(f"warning: {path} can be read by others; run: chmod 600 {path}")
        return path.read_text(encoding="utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError) as error:
        raise KaggError(f"cannot read {path}: {error}", code=Exit.CONFIG) from error


def read_secret_json(ctx: Context, path: Path) -> dict[str, Any]:
    """Return the JSON object in a file that holds a secret, {} when absent."""
    try:
        found = decode_json(read_secret(ctx, path) or "{}")
    except ValueError as error:
        raise KaggError(f"{path} is not JSON", code=Exit.CONFIG,
                        hint="get it again from your Kaggle account page") from error
    return found if isinstance(found, dict) else {}


def bearer(source: str, token: str, username: str = "") -> Credential:
    """Return the credential of a token."""
    return Credential(source, username, "Bearer " + keep_secret(token))


def _basic(source: str, username: str, key: str) -> Credential:
    import base64

    pair = base64.b64encode(f"{username}:{keep_secret(key)}".encode()).decode()
    return Credential(source, username, "Basic " + keep_secret(pair))


def _is_token(ctx: Context, source: str, token: str) -> bool:
    """Say whether this can be a token; the path of an absent file, or two lines, would only be sent and refused."""
    fits = bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._~+/=-]*", token))
    if not fits:
        ctx.say(f"warning: what {source} holds is not a token, nor the path of a file with one; it is not used")
    return fits


def find_credentials(ctx: Context) -> list[Credential]:
    """Return every way to sign in, in the official client's order: tokens, user name and key, OAuth; then configs/.

    A refused one does not hide the next: `kaggle_rpc` moves on when the server answers 401.
    """
    env, dot = ctx.env, ctx.user_home() / ".kaggle"
    if local := ctx.cache.get("local"):
        return [_basic("local Kaggle", local["username"], local["key"])]
    xdg = Path(env.get("XDG_CONFIG_HOME") or ctx.user_home() / ".config") / "kaggle"
    folder = Path(env.get("KAGGLE_CONFIG_DIR") or (dot if dot.exists() else xdg))
    value = (env.get("KAGGLE_API_TOKEN") or "").strip()  # a token, or the path of a file that holds one
    is_file = 0 < len(value) < 1024 and os.path.isfile(value)  # noqa: PTH113 - does not raise for odd names
    tokens = [("KAGGLE_API_V1_TOKEN", read_secret(ctx, Path(v)) if (v := env.get("KAGGLE_API_V1_TOKEN")) else ""),
              ("KAGGLE_API_TOKEN", read_secret(ctx, Path(value)) if is_file else value),
              *((str(path), read_secret(ctx, path)) for path in (dot / "access_token", dot / "access_token.txt"))]
    found = [bearer(source, token) for source, token in tokens if token and _is_token(ctx, source, token)]
    named = {name: env[f"KAGGLE_{name.upper()}"] for name in ("username", "key") if env.get(f"KAGGLE_{name.upper()}")}
    pair = read_secret_json(ctx, folder / "kaggle.json") | named
    if pair.get("username") and pair.get("key"):
        source = "KAGGLE_USERNAME and KAGGLE_KEY" if "key" in named else str(folder / "kaggle.json")
        found.append(_basic(source, str(pair["username"]), str(pair["key"])))
    if (dot / "credentials.json").exists():
        found += shared("kaggle.oauth").session(ctx, dot / "credentials.json")
    spare = read_secret_json(ctx, ctx.configs / "kaggle.json")
    if spare.get("username") and spare.get("key"):
        found.append(_basic(str(ctx.configs / "kaggle.json"), str(spare["username"]), str(spare["key"])))
    return found


def credentials(ctx: Context) -> list[Credential]:
    """Return the credentials that the server has not refused yet; the first is in use."""
    kaggle_base(ctx)  # may start the local Kaggle, which brings its own
    with ctx.lock:
        if "credentials" not in ctx.cache:
            ctx.cache["credentials"] = find_credentials(ctx)
        return list(ctx.cache["credentials"])


# ---------------------------------------------------------------------------------------------------------------------
# Kaggle: calls (POST {base}/v1/{service}/{Method}, JSON both ways, values at their default left out)
# ---------------------------------------------------------------------------------------------------------------------


def kaggle_rpc(ctx: Context, method: str, body: Mapping[str, Any], *, idempotent: bool = True, follow: bool = True,
               ok: Iterable[int] = (200,), attempts: int = 6) -> Any:
    """Call `service/Method` and return the decoded answer ({} when all fields have their defaults), else the Reply.

    Raises:
        KaggError: CONFIG without working credentials, SERVICE with the server's words otherwise (`details["status"]`).
    """
    url, usable = f"{kaggle_base(ctx)}/v1/{method}", credentials(ctx)
    headers = {"Authorization": usable[0].header} if usable else {}
    try:
        reply = fetch(ctx, "POST", url, headers=headers, json_body={k: v for k, v in body.items() if v is not None},
                      idempotent=idempotent, want_json=follow, follow=follow, ok=ok, attempts=attempts)
        if follow and not isinstance(reply.data, dict):
            raise service_error(f"{method} answered no JSON object", sent=True)
        if follow and isinstance(reply.data.get("code"), int) and reply.data["code"] >= 400:  # though status is 200
            raise service_error(f"{method}{error_text(reply)}", status=reply.data["code"], sent=True)
    except KaggError as error:
        if error.details.get("status") != 401 or len(usable) < 2:
            raise _explained(ctx, method, error, usable) from error
        ctx.say(f"warning: Kaggle refused {usable[0].source}; using {usable[1].source}")
        with ctx.lock:
            ctx.cache["credentials"] = [known for known in ctx.cache["credentials"] if known != usable[0]]
        return kaggle_rpc(ctx, method, body, idempotent=idempotent, follow=follow, ok=ok, attempts=attempts)
    return reply.data if follow else reply


def _explained(ctx: Context, method: str, error: KaggError, usable: list[Credential]) -> KaggError:
    """Give 401 and 403 their meaning: prove the credentials with another call before calling something missing."""
    status = error.details.get("status")
    if status == 401 or (status == 403 and not usable):
        which = f"refused: {usable[0].source}" if usable else "no credentials found"
        error.code, error.hint = Exit.CONFIG, f"{which}; {_SIGN_IN}"
    elif status == 403 and not method.endswith("GetAcceleratorQuotaStatistics"):
        try:
            kaggle_rpc(ctx, KERNELS + "GetAcceleratorQuotaStatistics", {}, attempts=2)
            error.hint = "the credentials work: the name is wrong, it is private, or it is too new to be readable"
        except KaggError as proof:
            if proof.code == Exit.CONFIG or proof.details.get("status") == 403:
                error.code, error.hint = Exit.CONFIG, "other calls are refused as well; " + _SIGN_IN
    return error


def kaggle_user(ctx: Context) -> str:
    """Return the signed-in user's name; a token is introspected, one that the server does not know is passed over."""
    while usable := credentials(ctx):
        if usable[0].username:
            return usable[0].username
        token = usable[0].header.removeprefix("Bearer ")
        reply = kaggle_rpc(ctx, "security.OAuthService/IntrospectToken", {"token": token})
        known = usable[0]._replace(username=str(reply["username"])) if reply.get("username") else None
        with ctx.lock:
            ctx.cache["credentials"] = ([known] if known else []) + usable[1:]
    raise KaggError("no Kaggle credentials that work were found", code=Exit.CONFIG, hint=_SIGN_IN)


def kaggle_pages(ctx: Context, method: str, body: Mapping[str, Any], field: str,
                 limit: int) -> Iterator[dict[str, Any]]:
    """Yield the objects of a paged list, at most `limit`; a server that repeats its page token is stopped."""
    token, seen, empty = "", 0, 0
    while seen < limit and empty < 10:
        reply = kaggle_rpc(ctx, method, {**body, "pageSize": min(limit - seen, 100), "pageToken": token or None})
        items = reply.get(field)
        items = [item for item in items if isinstance(item, dict)][: limit - seen] if isinstance(items, list) else []
        seen, empty = seen + len(items), 0 if items else empty + 1
        yield from items
        before, token = token, str(reply.get("nextPageToken") or "")
        if token in ("", before):
            return


def get_kernel(ctx: Context, ref: Ref) -> dict[str, Any]:
    """Return {"metadata": {...}, "blob": {"source", "language", "kernelType", "slug"}} of a kernel."""
    reply = kaggle_rpc(ctx, KERNELS + "GetKernel", ref.body())
    return {name: reply[name] if isinstance(reply.get(name), dict) else {} for name in ("metadata", "blob")}


def kernel_status(ctx: Context, ref: Ref) -> KernelStatus:
    """Return the session's state; QUEUED is the zero value, so an empty answer says QUEUED."""
    reply = kaggle_rpc(ctx, KERNELS + "GetKernelSessionStatus", ref.body())
    said = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(reply.get("status") or "QUEUED")).upper()
    state = next((known for known in (*LIVE_STATES, *END_STATES) if re.search(rf"(^|[^A-Z]){known}$", said)), "RUNNING")
    if not said.endswith(state):  # a word that is new to us: no end that we know, so the session may still run
        ctx.say(f"Kaggle calls the session of {ref} {said[:40]!r}; taken as still live", 1)
    return KernelStatus(state, str(reply.get("failureMessage") or ""))


# ---------------------------------------------------------------------------------------------------------------------
# Kaggle: a push runs exactly once
# ---------------------------------------------------------------------------------------------------------------------


def push_kernel(ctx: Context, body: Mapping[str, Any], *, allow_live: bool = False,
                allowed: Iterable[str] = ()) -> dict[str, Any]:
    """Save a version of a kernel and run it exactly once, also when the reply is lost.

    Returns the reply with `owner` and `slug`. Nothing is sent twice unless the server said that it did nothing, and
    nothing at all with a secret in it, except the findings `allowed` by id.

    Raises:
        KaggError: FINDINGS for a secret, QUOTA when no session slot is free, SERVICE for other refusals;
            details["unknown"] when in doubt.
    """
    ref, suffix = parse_ref(str(body["slug"])), SUFFIXES.get(str(body.get("language")), ".txt")
    name = ref.slug + (".ipynb" if body.get("kernelType") == "notebook" else suffix)
    about = json.dumps({key: value for key, value in body.items() if key != "text"}, ensure_ascii=False)
    refuse_secrets(ctx, str(ref), ((name, str(body["text"])), ("kernel-metadata.json", about)), allowed)
    before = _kernel_version(ctx, ref)
    for wait_s in (2, 4, 8, 16) if body.get("id") else ():  # it exists, and is not readable for seconds after its birth
        if before is None:
            ctx.sleep(wait_s)
            before = _kernel_version(ctx, ref)
    quiet = before is None or allow_live or body.get("kernelExecutionType") == "QUICK_SAVE"
    if not quiet and kernel_status(ctx, ref).state in LIVE_STATES:
        raise KaggError(f"{ref} has a live session", code=Exit.QUOTA, hint="wait for it (status), or push with --force")
    try:
        reply = kaggle_rpc(ctx, KERNELS + "SaveKernel", body, idempotent=False)
    except KaggError as error:
        status = error.details.get("status", 0)
        if not error.details.get("sent", True) or (400 <= status < 500 and status != 408):
            raise
        reply = _lost_push(ctx, ref, str(body["text"]), before or 0, error)
    if not reply.get("error") and not reply.get("versionNumber"):  # an answer that says nothing is no answer
        reply = _lost_push(ctx, ref, str(body["text"]), before or 0,
                           service_error("the reply to the push names no version"))
    if failure := str(reply.get("error") or ""):
        hint = "wait for a free session: run --on kaggle --max-wait 30m" if re.search(SLOTS_FULL, failure) else ""
        code = Exit.QUOTA if hint or re.search(r"(?i)\bquota\b", failure) else Exit.SERVICE
        raise KaggError(f"Kaggle refused {ref}: {failure}", code=code, hint=hint, details={"refused": True})
    named = re.search(rf"({_SLUG})/({_SLUG})/?$", str(reply.get("ref") or reply.get("url") or ""))
    return {**reply, "owner": named[1] if named else ref.owner, "slug": named[2] if named else ref.slug}


def refuse_secrets(ctx: Context, what: str, parts: Iterable[tuple[str, str]], allowed: Iterable[str] = ()) -> None:
    """Let nothing leave with a secret in it: raise FINDINGS, naming cell and line; see plugins/lib/secrets/gate.py."""
    if (ctx.root / "plugins").exists():
        sent = ((name, text.encode("utf-8", "surrogatepass")) for name, text in parts)
        shared("secrets.gate").refuse(ctx, what, sent, allowed)
        return
    ctx.say("note: without plugins/ beside kagg.py only a few kinds of tokens are looked for")
    for name, text in parts:  # kagg.py is alone: no rules, no ids
        for found in re.finditer(_TOKENS, text):
            if len(found[0]) >= 20 and re.search(r"\d", found[0]):  # hf_hub_download is none
                line = "" if name.endswith(".ipynb") else f" line {text.count(chr(10), 0, found.start()) + 1}"
                raise KaggError(f"{what} was not sent: {name}{line} holds a token ({found[0][:4]}...)",
                                code=Exit.FINDINGS, hint="take it out; with plugins/ beside kagg.py it can be allowed")


def refused_inputs(reply: Mapping[str, Any], body: Mapping[str, Any]) -> list[str]:
    """Return what Kaggle leaves out of a pushed kernel; after a lost reply nothing confirms any of its inputs."""
    refused = [f"{name.removeprefix('invalid')}: {item}" for name in INVALID_LISTS for item in reply.get(name) or []]
    sent = [item for field in SOURCES.values() for item in body.get(field) or []] if reply.get("recovered") else []
    return refused + [f"not confirmed: {item}" for item in sent]


def _version(kernel: Mapping[str, Any]) -> int:
    number = str(kernel["metadata"].get("currentVersionNumber"))
    return int(number) if re.fullmatch(r"[0-9]{1,9}", number) else 0


def _kernel_version(ctx: Context, ref: Ref) -> int | None:
    """Return a kernel's current version, None when it is not there (or not readable)."""
    try:
        return _version(get_kernel(ctx, ref))
    except KaggError as error:
        if error.details.get("status") in (403, 404):
            return None
        raise


def _lost_push(ctx: Context, ref: Ref, text: str, before: int, error: KaggError) -> dict[str, Any]:
    """Look whether a push whose reply was lost arrived; it is never sent again."""
    ctx.say(f"{error.message}; looking whether the push of {ref} arrived")
    for wait_s in (0.5, 1, 2, 4, 8, 15):
        ctx.sleep(wait_s)
        with contextlib.suppress(KaggError):
            found = get_kernel(ctx, ref)
            version = _version(found)
            if version > before and _same_source(str(found["blob"].get("source") or ""), text):
                return {"ref": f"/code/{ref}", "versionNumber": version, "kernelId": found["metadata"].get("id"),
                        "recovered": True}
    hint = f"nothing was sent again; look with: python kagg.py status {ref}"
    raise service_error(f"the reply to the push of {ref} was lost, and the kernel does not show it", hint,
                        unknown=True) from error


def _same_source(one: str, other: str) -> bool:
    """Say whether two kernels hold the same code; a notebook may have been written anew by the server."""
    try:
        cells = [[cell_source(cell) for cell in decode_json(text)["cells"]] for text in (one, other)]
    except (ValueError, KeyError, TypeError, AttributeError):
        return one.strip() == other.strip()
    return cells[0] == cells[1]


# ---------------------------------------------------------------------------------------------------------------------
# Rooms: found by their path, described by a literal, imported when named
# ---------------------------------------------------------------------------------------------------------------------


class Room(NamedTuple):
    """A plugin file, known without running it. `broken` says why it cannot be used, "" when it can."""

    kind: str
    name: str
    path: str
    summary: str = ""
    requires: Mapping[str, str] = {}  # import name: pip requirement; never changed in place
    broken: str = ""
    origin: str = "built-in"


def read_room(kind: str, path: Path, origin: str = "built-in", name: str = "") -> Room:
    """Read a room's literal `PLUGIN = {"api": 1, "summary": ..., "requires": {...}}` without running the file."""
    room = Room(kind, name or path.stem, str(path), origin=origin)
    try:
        text = path.read_text(encoding="utf-8")
        literal = re.search(r"^PLUGIN\b[^=\n]*=\s*(\{[^\n]*\}[ \t]*$|\{.*?^\})", text, re.MULTILINE | re.DOTALL)
        manifest = _literal(literal[1]) if literal else {}
        if manifest.get("api") != PLUGIN_API:
            return room._replace(broken=f"its PLUGIN says api {manifest.get('api')!r}, this kagg speaks {PLUGIN_API}")
        return room._replace(summary=str(manifest.get("summary", "")), requires=dict(manifest.get("requires", {})))
    except (OSError, ValueError, SyntaxError, TypeError, AttributeError) as error:
        return room._replace(broken=f"its PLUGIN cannot be read: {error}")


def _owners(ctx: Context, kind: str) -> list[Room]:
    """Return one room for each name: its first owner, which is the built-in one when there is one."""
    return list({room.name: room for room in reversed(find_rooms(ctx, kind))}.values())[::-1]


def _literal(text: str) -> Any:
    try:
        return json.loads(text)  # most manifests are JSON as well, and ast costs a millisecond to import
    except ValueError:
        import ast

        return ast.literal_eval(text)


def find_rooms(ctx: Context, kind: str, *, installed: bool = True) -> list[Room]:
    """Return the rooms of a kind: built-in, folders of KAGG_PLUGINS, and (if `installed`) entry points of kagg.plugins.

    Built-in names cannot be replaced, and of two owners of one name neither is used: such rooms are shown as broken.
    """
    rooms = [read_room(kind, path) for path in sorted((ctx.root / "plugins" / kind).glob("[!_]*.py"))]
    if ctx.env.get("KAGG_NO_PLUGINS", "") not in ("", "0"):
        return rooms
    folders = [folder for folder in ctx.env.get("KAGG_PLUGINS", "").split(os.pathsep) if folder]
    others = [read_room(kind, path, origin=folder) for folder in folders
              for path in sorted((Path(folder) / kind).glob("[!_]*.py"))]
    if installed and (ctx.root / "plugins").exists():
        others += shared("entry_points").rooms(kind)
    for room in others:
        paths = sorted({known.path for known in [*rooms, *others] if known.name == room.name})
        clash = f"{room.name!r} has {len(paths)} owners: {', '.join(paths)}" if len(paths) > 1 else ""
        rooms.append(room._replace(broken=clash or room.broken))
    return rooms


def find_room(ctx: Context, kind: str, name: str) -> Room | None:
    """Return one room; a built-in one, which nobody can replace, without looking at any other."""
    path = ctx.root / "plugins" / kind / f"{name.replace('-', '_')}.py"
    if re.fullmatch(r"[A-Za-z][\w-]*", name) and path.is_file():
        return read_room(kind, path)
    return next((room for room in find_rooms(ctx, kind) if room.name == path.stem), None)


def room(ctx: Context, kind: str, name: str) -> ModuleType:
    """Import the room `plugins/<kind>/<name>.py`.

    Raises:
        KaggError: USAGE for an unknown name, MISSING for a missing package or a broken plugin.
    """
    chosen = find_room(ctx, kind, name)
    if not chosen:
        names = ", ".join(room.name for room in find_rooms(ctx, kind))
        raise KaggError(f"there is no {kind} {name!r}", code=Exit.USAGE if names else Exit.MISSING,
                        hint=f"there are: {names or 'none'}")
    if chosen.broken:
        hint = "KAGG_NO_PLUGINS=1 leaves third-party plugins out"
        raise KaggError(f"plugin {kind} {name} is broken: {chosen.broken}", code=Exit.MISSING, hint=hint)
    need_packages(f"{kind} {name}", chosen.requires)
    if chosen.origin == "built-in":
        return _import(f"plugins.{kind}.{chosen.name}")
    module: ModuleType = shared("third_party").load(chosen)
    return module


def shared(part: str) -> ModuleType:
    """Import the shared room `plugins/lib/<part>.py`; kagg.py alone in a folder has none and says so."""
    path = Path(__file__).resolve().parent.joinpath("plugins", "lib", *part.split(".")).with_suffix(".py")
    if not path.exists():
        missing = f"this needs plugins/lib/{part.replace('.', '/')}.py beside kagg.py"
        raise KaggError(missing, code=Exit.MISSING, hint="clone the whole project or use kagg.pyz")
    need_packages(part, read_room("lib", path).requires)
    return _import(f"plugins.lib.{part}")


def _import(module: str) -> ModuleType:
    import importlib

    root = str(Path(__file__).resolve().parent)
    if root not in sys.path:
        sys.path.insert(0, root)
    return importlib.import_module(module)


def need_packages(who: str, requires: Mapping[str, str]) -> None:
    """Raise MISSING with the pip command when a package that `who` needs is not installed."""
    import importlib.util

    missing = [pip for name, pip in requires.items() if name not in sys.modules and not importlib.util.find_spec(name)]
    if missing:
        command = " ".join(f"'{pip}'" for pip in missing)
        raise KaggError(f"{who} needs {', '.join(missing)}; run: python -m pip install {command}", code=Exit.MISSING)


# ---------------------------------------------------------------------------------------------------------------------
# Records: endpoint registry and ledger
# ---------------------------------------------------------------------------------------------------------------------


def endpoints_file(ctx: Context) -> Path:
    """Return where endpoints are registered: KAGG_ENDPOINTS, else endpoints.json beside kagg.py."""
    return Path(ctx.env.get("KAGG_ENDPOINTS") or ctx.root / "endpoints.json")


def _registry(path: Path) -> dict[str, Any]:
    """Read {"version": 1, "endpoints": {name: {"target", "url", "state", "created", "details"}}}."""
    hint = "mend or move the file; nothing was changed"
    try:
        found: Any = decode_json(path.read_text(encoding="utf-8")) if path.exists() else {"version": 1, "endpoints": {}}
        entries, version = found["endpoints"], int(str(found.get("version", 1)))
        if version == 1 and isinstance(entries, dict) and all(isinstance(fields, dict) for fields in entries.values()):
            return dict(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise KaggError(f"cannot read {path}: {error!r:.200}", code=Exit.CONFIG, hint=hint) from error
    raise KaggError(f"{path} has version {version} or odd entries; this kagg knows version 1", code=Exit.CONFIG,
                    hint=hint)


def load_endpoints(ctx: Context) -> dict[str, Endpoint]:
    """Read the registered endpoints, sorted by name."""
    found = {}
    for name, fields in sorted(_registry(endpoints_file(ctx))["endpoints"].items()):
        texts = {key: fields[key] for key in ("target", "url", "state", "created") if isinstance(fields.get(key), str)}
        details = fields["details"] if isinstance(fields.get("details"), dict) else {}
        found[name] = Endpoint(name, **({"target": "", "url": ""} | texts), details=details)
    return found


def save_endpoint(ctx: Context, endpoint: Endpoint | None, *, drop: str = "") -> None:
    """Add, change or `drop` an endpoint under a lock; keys that we do not know survive."""
    path = endpoints_file(ctx)
    with locked(path):
        registry = _registry(path)
        if endpoint:
            fields = {key: value for key, value in endpoint._asdict().items() if key != "name"}
            registry["endpoints"].setdefault(endpoint.name, {}).update(fields)
        registry["endpoints"].pop(drop, None)
        write_atomic(path, json.dumps({"version": 1, **registry}, indent=2, sort_keys=True, default=_plain) + "\n",
                     0o600)


def find_endpoint(ctx: Context, name: str) -> Endpoint:
    """Return a registered endpoint, or one made of an http(s) URL."""
    if name.startswith(("http://", "https://")):
        check_url(name)
        return Endpoint(name, "", name)
    known = load_endpoints(ctx)
    if name not in known:
        raise bad_input(f"there is no endpoint {name[:80]!r}",
                        f"there are: {', '.join(known) or 'none'}; make one with deploy")
    return known[name]


def recorded(ctx: Context, command: str, target: str,
             params: dict[str, Any] | None = None) -> AbstractContextManager[Any]:
    """Keep a row of the ledger for a command: before it starts, how it ended, and its effects; see lib/recording.py.

    The context's value has `id`, `effect(kind, target, request)`, and takes `result`, `status`, `exit_code`, `error`.
    """
    if (ctx.root / "plugins").exists():
        row: AbstractContextManager[Any] = shared("recording").recorded(ctx, command, target, params)
        return row
    from types import SimpleNamespace

    ctx.say("note: without plugins/ beside kagg.py nothing is recorded", 1)
    run_id = f"{ctx.now():%Y%m%dT%H%M%S}-{ctx.random.randrange(16**6):06x}"
    effect = contextlib.nullcontext(SimpleNamespace())
    return contextlib.nullcontext(SimpleNamespace(id=run_id, effect=lambda *_: effect))


# ---------------------------------------------------------------------------------------------------------------------
# Notebooks, and what is pushed
# ---------------------------------------------------------------------------------------------------------------------

MAX_SOURCE_BYTES = 1_000_000  # 933,761 bytes were accepted and 1,141,256 refused without a word (kaggle-cli issues)
LANGUAGES = {".r": "r", ".rmd": "rmarkdown"}
SUFFIXES = {"python": ".py", "r": ".R", "rmarkdown": ".Rmd", "julia": ".jl", "sqlite": ".sql"}
SOURCES = {"dataset_sources": "datasetDataSources", "kernel_sources": "kernelDataSources",
           "competition_sources": "competitionDataSources", "model_sources": "modelDataSources"}


def parse_notebook(text: str | bytes, name: str) -> dict[str, Any]:
    """Decode a notebook of format 4.

    Raises:
        KaggError: USAGE when it is not JSON, not a notebook, or of another major format.
    """
    try:
        found = decode_json(text)
    except ValueError as error:
        raise bad_input(f"{name} is not a notebook: not JSON ({str(error)[:60]})") from error
    cells, version = (found.get("cells"), found.get("nbformat", 4)) if isinstance(found, dict) else (None, None)
    odd = not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells)
    if version != 4 or odd or not isinstance(found.get("metadata") or {}, dict):
        old = isinstance(found, dict) and "worksheets" in found
        raise bad_input(f"{name} is not a notebook of format 4",
                        "convert it: jupyter nbconvert --to notebook" if old else "")
    return dict(found)


def read_notebook(path: Path) -> dict[str, Any]:
    """Read a notebook file; see `parse_notebook`."""
    try:
        return parse_notebook(path.read_bytes(), str(path))
    except OSError as error:
        raise bad_input(f"cannot read {path}: {error.strerror}") from error


def cell_source(cell: Mapping[str, Any]) -> str:
    """Return a cell's source as one string; files hold a string or a list of lines."""
    source = cell.get("source", "")
    return "".join(map(str, source)) if isinstance(source, list) else str(source)


def kaggle_source(notebook: Mapping[str, Any]) -> str:
    """Return notebook JSON that Kaggle accepts: joined sources, no outputs, none at all on markdown, a kernelspec."""
    cells = []
    for cell in notebook["cells"]:
        kept = {key: value for key, value in cell.items() if key not in ("outputs", "execution_count")}
        code: dict[str, Any] = {"outputs": [], "execution_count": None} if cell.get("cell_type") == "code" else {}
        cells.append({**kept, "source": cell_source(cell), **code})
    meta = dict(notebook.get("metadata") or {})
    if not isinstance(meta.get("kernelspec"), dict) or not meta["kernelspec"].get("name"):
        meta["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    whole = {**notebook, "metadata": meta, "cells": cells, "nbformat": 4,
             "nbformat_minor": notebook.get("nbformat_minor", 4)}
    return json.dumps(whole, ensure_ascii=False)


def slugify(title: str) -> str:
    """Return the slug that Kaggle makes of a title."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def strip_prefix(source: str) -> str:
    """Return `owner/slug` of a source that an older server wrote as `datasets/owner/slug` or `code/owner/slug`."""
    return re.sub(r"^/?(datasets|code|kernels|competitions|models)/(?=[^/])", "", source)


def kernel_metadata(ref: Ref, kernel: Mapping[str, Any], code_file: str, language: str, kernel_type: str) -> str:
    """Return kernel-metadata.json as the official client writes it, without the prefixes that a push would refuse."""
    sources = {name: [strip_prefix(str(item)) for item in kernel.get(field) or []] for name, field in SOURCES.items()}
    flags = {f"enable_{name}": bool(kernel.get(f"enable{name.capitalize()}")) for name in ("gpu", "tpu", "internet")}
    fields = {"id": f"{ref.owner}/{ref.slug}", "id_no": kernel.get("id"), "title": kernel.get("title"),
              "code_file": code_file, "language": language, "kernel_type": kernel_type,
              "is_private": bool(kernel.get("isPrivate")), **flags, "keywords": kernel.get("categoryIds") or [],
              **sources, "machine_shape": kernel.get("machineShape") or ""}
    return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"


def _push_metadata(path: Path) -> dict[str, Any]:
    """Read the kernel-metadata.json that is about `path`, a folder or a file; {} when there is none for a file."""
    file = (path if path.is_dir() else path.parent) / "kernel-metadata.json"
    if not path.exists() or (path.is_dir() and not file.exists()):
        raise bad_input(f"{file if path.is_dir() else path} is not there",
                        "push a file, and its metadata is made for you")
    try:
        meta = decode_json(file.read_text(encoding="utf-8")) if file.exists() else {}
    except ValueError as error:
        raise bad_input(f"{file} is not JSON: {error}", "mend it or remove it") from error
    if not isinstance(meta, dict):
        raise bad_input(f"{file} is not a JSON object", "mend it or remove it")
    return meta if path.is_dir() or meta.get("code_file") == path.name else {}


def _title(ctx: Context, meta: Mapping[str, Any], code: Path, title: str | None) -> tuple[str, str, str]:
    """Return owner ("" = you), slug, and a title that gives this slug: Kaggle slugs the title of a new kernel."""
    made = re.sub(r"[\W_]+", " ", code.stem).strip().title()  # of the file's name, long enough and short enough
    given = str(meta.get("title") or "")
    text = str(title or ("" if given.startswith("INSERT") else given)
               or (made if len(made) >= 5 else f"{made} notebook".strip())[:50].strip())
    owner, _, slug = str(meta.get("id") or "").rpartition("/")
    owner, slug = ("" if part.startswith("INSERT") else part for part in (owner, slug))  # the official template
    slug = slug or slugify(text)
    if slugify(text) != slug:
        ctx.say(f"the title {text!r} does not give the slug {slug!r}; sending the title {slug.replace('-', ' ')!r}")
        text = slug.replace("-", " ")
    if not 5 <= len(text) <= 50 or not re.fullmatch(_SLUG, slug) or (owner and not re.fullmatch(_SLUG, owner)):
        raise bad_input(f"{owner or 'you'}/{slug[:60]} with the title {text[:60]!r} is no kernel",
                        "a title has 5 to 50 characters; give --title")
    return owner, slug, text


def push_body(ctx: Context, path: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return the SaveKernel request for a file, or for a folder with kernel-metadata.json; nothing is saved by it.

    Raises:
        KaggError: USAGE with what to mend.
    """
    meta, chosen = _push_metadata(path), vars(args)
    code = safe_path(path, str(meta.get("code_file") or "")) if path.is_dir() else path
    if not code.is_file():
        raise bad_input(f"{code} is not there", "code_file in kernel-metadata.json names the file to push")
    if not meta and code.suffix.lower() not in (".ipynb", ".py", *LANGUAGES):
        raise bad_input(f"{code} is neither a notebook nor a script", "Kaggle takes .ipynb, .py, .R and .Rmd")
    try:
        text = kaggle_source(read_notebook(code)) if code.suffix == ".ipynb" else code.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise bad_input(f"{code} is not UTF-8 text: {error}") from error
    if len(text.encode("utf-8", "surrogatepass")) > MAX_SOURCE_BYTES:
        raise bad_input(f"{code} is over the {MAX_SOURCE_BYTES} bytes that Kaggle takes", "move data into a dataset")
    refuse_secrets(ctx, code.name, ((code.name, text),), chosen.get("allow_finding") or ())  # by its own name and cells
    owner, slug, title = _title(ctx, meta, code, chosen.get("title"))
    for name in (*SOURCES, "keywords"):
        if not isinstance(meta.get(name) or [], list):
            raise bad_input(f"{name} in kernel-metadata.json is no list", 'write ["owner/slug"]')
    more = {f"{name}_sources": chosen.get(name) or [] for name in ("dataset", "kernel", "competition")}
    inputs = {field: [strip_prefix(str(item)) for item in [*(meta.get(name) or []), *more.get(name, [])]]
              for name, field in SOURCES.items()}
    shape = str(chosen.get("accelerator") or meta.get("machine_shape") or "")
    gpu, tpu = re.search(r"(?i)gpu|nvidia", shape), re.search(r"(?i)tpu", shape)
    return {"slug": f"{owner or kaggle_user(ctx)}/{slug}", "newTitle": title, "text": text,
            "language": str(meta.get("language") or LANGUAGES.get(code.suffix.lower(), "python")),
            "kernelType": "notebook" if code.suffix == ".ipynb" else "script", **inputs,
            "categoryIds": meta.get("keywords") or [],
            "isPrivate": not chosen.get("public") and str(meta.get("is_private", True)).lower() != "false",
            # the official template holds "true" and "false" as text
            "enableGpu": bool(gpu) or str(meta.get("enable_gpu")).lower() == "true",
            "enableTpu": bool(tpu) or str(meta.get("enable_tpu")).lower() == "true",
            "enableInternet": str(meta.get("enable_internet", True)).lower() != "false", "machineShape": shape or None,
            "dockerImage": meta.get("docker_image") or None, "id": meta.get("id_no") or None,
            "sessionTimeoutSeconds": int(parse_duration(chosen["timeout"])) if chosen.get("timeout") else None,
            "kernelExecutionType": "QUICK_SAVE" if chosen.get("no_run") else "SAVE_AND_RUN_ALL"}


# ---------------------------------------------------------------------------------------------------------------------
# Steps: what commands and batch jobs are made of
# ---------------------------------------------------------------------------------------------------------------------


def pull_reference(ctx: Context, reference: str, dest: Path, *, metadata: bool = False) -> Path:
    """Fetch a notebook or script into the folder `dest` and return its path; a file of that name is replaced."""
    ref = parse_ref(reference)
    if "scriptVersionId=" in reference:
        ctx.say(f"{ref}: scriptVersionId is no version number; this is the newest, for another write {ref}/v3")
    if ref.kind == "url":
        fetched: Path = shared("links").pull_link(ctx, ref.url, dest)
        return fetched
    kernel = get_kernel(ctx, ref)
    blob, meta = kernel["blob"], kernel["metadata"]
    source, kernel_type = blob.get("source"), str(blob.get("kernelType") or meta.get("kernelType") or "script").lower()
    if not isinstance(source, str) or not source:
        raise service_error(f"Kaggle sent {ref} without its source")
    language = str(blob.get("language") or meta.get("language") or "python").lower()
    suffix = ".ipynb" if kernel_type == "notebook" else SUFFIXES.get(language, ".txt")
    path = safe_path(dest, str(blob.get("slug") or meta.get("slug") or ref.slug) + suffix)
    write_atomic(path, source)
    if metadata:
        write_atomic(dest / "kernel-metadata.json", kernel_metadata(ref, meta, path.name, language, kernel_type))
    return path


def push_path(ctx: Context, path: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Push a file or folder, record it, and return ref, version, url and the inputs that Kaggle refused."""
    body = push_body(ctx, path, args)
    sent = {"source": hashed(body["text"])}
    with recorded(ctx, "push", str(path)) as run, run.effect("push", body["slug"], sent) as effect:
        reply = push_kernel(ctx, body, allow_live=args.force, allowed=args.allow_finding)
        ref = Ref("kaggle", reply["owner"], reply["slug"])
        refused = refused_inputs(reply, body)
        run.result = effect.outcome = {"ref": str(ref), "version": reply.get("versionNumber"), "url": reply.get("url"),
                                       "refused_inputs": refused}
        if path.is_file() and not (path.parent / "kernel-metadata.json").exists():  # the next push: the same kernel
            meta = {**body, "title": body["newTitle"], "id": reply.get("kernelId")}
            text = kernel_metadata(ref, meta, path.name, body["language"], body["kernelType"])
            try:
                write_atomic(path.parent / "kernel-metadata.json", text)
                ctx.say(f"wrote {path.parent / 'kernel-metadata.json'}: the next push goes to {ref}")
            except OSError as error:  # the kernel is pushed: that is what the exit code says
                ctx.say(f"{path.parent}: {error.strerror}: kernel-metadata.json was not kept beside it", -1)
    return dict(run.result)


def run_target(ctx: Context, path: Path, *, params: dict[str, Any] | None = None, timeout_s: float | None = None,
               dest: Path, on: str = "local", **options: Any) -> dict[str, Any]:
    """Run a notebook, script or folder here or on Kaggle; return its record: status, exit_code, error, outputs ..."""
    if on == "local" and not (Path(__file__).resolve().parent / "plugins").exists():
        return _run_alone(ctx, path, params or {}, timeout_s, options.get("args") or [])
    do = shared("local_run").run_local if on == "local" else shared("launch.steps").run_on_kaggle
    result: dict[str, Any] = do(ctx, path, params=params or {}, timeout_s=timeout_s, dest=dest, **options)
    return result


def _run_alone(ctx: Context, path: Path, params: dict[str, Any], timeout_s: float | None,
               args: list[str]) -> dict[str, Any]:
    """Run a script, or a notebook with nbclient, when kagg.py has no rooms beside it: no record of outputs is kept."""
    import subprocess

    command = [str(path), *(f"--{name}={value}" for name, value in params.items()), *args]
    if path.suffix == ".ipynb":
        if params or args:
            raise bad_input("a notebook takes no parameters where kagg.py has no plugins/ beside it")
        need_packages("run", {"nbclient": "nbclient>=0.10", "ipykernel": "ipykernel>=6.29"})
        command = ["-c", "from nbclient.cli import main; main()", str(path)]
    started_s = ctx.monotonic()
    try:
        code = subprocess.run([sys.executable, *command], timeout=timeout_s, check=False, stdout=ctx.stderr).returncode
    except subprocess.TimeoutExpired:
        code = -9
    return {"status": "error" if code else "complete", "exit_code": code, "duration_s": ctx.monotonic() - started_s,
            "outputs": [], "error": f"it ended with code {code}" if code else None}


def call_endpoint(ctx: Context, endpoint: Endpoint, payload: Any, *, timeout_s: float = 60.0) -> dict[str, Any]:
    """POST a JSON payload once and return {"status", "latency_ms", "body"}; what may have arrived is not sent again."""
    token = read_secret(ctx, Path(endpoint.details["token_file"])) if endpoint.details.get("token_file") else ""
    headers = {"Authorization": "Bearer " + keep_secret(token)} if token else {}
    started_s = ctx.monotonic()
    reply = fetch(ctx, "POST", endpoint.url, headers=headers, json_body=payload, timeout_s=timeout_s,
                  ok=range(200, 600), attempts=3, follow=False)
    latency_ms = round(1000 * (ctx.monotonic() - started_s), 3)
    try:
        body = reply.json()
    except ValueError:
        body = reply.body.decode("utf-8", "replace")
    return {"status": reply.status, "latency_ms": latency_ms, "body": body}


def monitor_endpoint(ctx: Context, endpoint: Endpoint, duration_s: float, interval_s: float,
                     payload: Any = None) -> dict[str, Any]:
    """Probe an endpoint at fixed times and return count, errors, error_ratio and latency percentiles in ms.

    Open loop: a probe starts when it is due whether or not the one before has answered, and its latency counts from
    then, so that a stall is seen by all the probes that it would have delayed.
    """
    from concurrent.futures import ThreadPoolExecutor

    target = endpoint.url if payload is not None else str(endpoint.details.get("healthz") or endpoint.url)
    start_s, count = ctx.monotonic(), max(1, int(duration_s / interval_s + 1e-9))

    def probe(index: int) -> tuple[float, str]:
        due_s, fault = start_s + index * interval_s, ""
        try:
            fetch(ctx, "GET" if payload is None else "POST", target, json_body=payload, timeout_s=10, attempts=1,
                  ok=range(200, 300))
        except KaggError as error:
            fault = error.message
        latency_ms = 1000 * (ctx.monotonic() - due_s)
        ctx.progress({"probe": index + 1, "of": count, "latency_ms": round(latency_ms, 2)}
                     | ({"error": fault} if fault else {}))
        return latency_ms, fault

    with ThreadPoolExecutor(max_workers=min(count, 64)) as pool:
        asked = []
        for index in range(count):  # handed over when due, so that Ctrl-C waits for no probe that has not begun
            ctx.sleep(start_s + index * interval_s - ctx.monotonic())
            asked.append(pool.submit(probe, index))
        samples = [future.result() for future in asked]
    faults = [fault for _, fault in samples if fault]
    ranked = sorted(latency_ms for latency_ms, fault in samples if not fault)
    report = {"endpoint": endpoint.name, "url": target, "count": count, "errors": len(faults),
              "error_ratio": len(faults) / count}
    for percent in (50, 90, 95, 99, 100):  # nearest rank: exact, no interpolation
        value = round(ranked[-(-percent * len(ranked) // 100) - 1], 3) if ranked else None
        report["max_ms" if percent == 100 else f"p{percent}_ms"] = value
    return report | {"duration_s": round(ctx.monotonic() - start_s, 3), "first_error": faults[0] if faults else None}


# ---------------------------------------------------------------------------------------------------------------------
# Commands: Kaggle
# ---------------------------------------------------------------------------------------------------------------------


def count_argument(text: str) -> int:
    """Return a number from 1 to 10000."""
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise bad_input(f"{text!r} is not a number from 1 to 10000")
    return int(text)


def add_list_arguments(parser: argparse.ArgumentParser, _: Context) -> None:
    """Add the options of `list`."""
    what = ("kernels", "datasets", "endpoints", "runs", "plugins")
    parser.add_argument("what", nargs="?", default="kernels", choices=what, help="what to list (default: %(default)s)")
    parser.add_argument("--user", help="only this owner's (kernels, datasets)")
    parser.add_argument("--mine", action="store_true", help="only yours (kernels, datasets)")
    parser.add_argument("--search", help="words to look for (kernels, datasets)")
    parser.add_argument("--sort", default="hotness", help="hotness, date_run, vote_count ... (default: %(default)s)")
    parser.add_argument("--limit", type=count_argument, default=20, metavar="N", help="at most N (default: 20)")


def cmd_list(args: argparse.Namespace, ctx: Context) -> int:
    """List kernels, datasets, endpoints, runs or plugins."""
    columns: tuple[str, ...] = ("name", "target", "state", "url", "created")
    if args.what in ("kernels", "datasets"):
        method, sort, group = KERNELS + "ListKernels", args.sort.upper(), "PROFILE"
        columns = ("ref", "title", "author", "lastRunTime", "totalVotes")
        if args.what == "datasets":
            method, sort, group = DATASETS + "ListDatasets", f"DATASET_SORT_BY_{sort}", "DATASET_SELECTION_GROUP_MY"
            columns = ("ref", "title", "totalBytes", "lastUpdated")
        body = {"user": args.user or (kaggle_user(ctx) if args.mine else None), "search": args.search,
                "group": group if args.mine else None, "sortBy": None if args.sort in ("hotness", "hottest") else sort}
        items = kaggle_pages(ctx, method, body, args.what, args.limit)
        zeros = {"totalVotes": 0, "totalBytes": 0}  # left out of the answer when they are 0
        rows = [{name: item.get(name, zeros.get(name)) for name in columns} for item in items]
    elif args.what == "endpoints":
        rows = [{name: getattr(endpoint, name) for name in columns} for endpoint in load_endpoints(ctx).values()]
    elif args.what == "runs":
        columns = ("id", "command", "target", "status", "duration_s")
        with shared("ledger").Ledger.open(ctx) as ledger:
            rows = ledger.runs(args.limit)
    else:
        columns = ("kind", "name", "summary", "broken", "origin")
        rows = [known._asdict() for kind in KINDS for known in find_rooms(ctx, kind)]
    ctx.emit(rows, table(rows, columns))
    return Exit.DONE


def add_pull_arguments(parser: argparse.ArgumentParser, _: Context) -> None:
    """Add the options of `pull`."""
    parser.add_argument("ref", nargs="+", help="owner/slug[/vN]; a page of Kaggle, GitHub, GitLab, Bitbucket, gist "
                        "or Google Drive; or any https link to a notebook")
    parser.add_argument("--dest", type=Path, default=Path(), help="folder for what is pulled (default: here)")
    parser.add_argument("--metadata", action="store_true", help="write kernel-metadata.json, too")
    parser.add_argument("--parallel", type=count_argument, default=8, metavar="N",
                        help="at most N at once (default: %(default)s)")


def cmd_pull(args: argparse.Namespace, ctx: Context) -> int:
    """Fetch notebooks and scripts; a file of the same name is replaced."""

    def one(reference: str) -> Path | KaggError:
        try:
            own = args.dest / parse_ref(reference).slug if args.metadata and len(args.ref) > 1 else args.dest
            return pull_reference(ctx, reference, own, metadata=args.metadata)
        except KaggError as error:
            return error
        except OSError as error:  # a folder in the way, a full disk: the others still arrive
            return KaggError(f"{error.filename or args.dest}: {error.strerror or error}")

    outcomes = [one(args.ref[0])]
    if len(args.ref) > 1:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(args.parallel) as pool:
            outcomes += pool.map(one, args.ref[1:])
    failures = [outcome for outcome in outcomes if isinstance(outcome, KaggError)]
    for reference, outcome in zip(args.ref, outcomes, strict=True):
        if isinstance(outcome, Path):
            ctx.emit({"ref": reference, "path": str(outcome), "size_bytes": outcome.stat().st_size}, str(outcome))
        elif len(args.ref) > 1:
            ctx.say(f"{reference}: {outcome.message}" + (f"; {outcome.hint}" if outcome.hint else ""), -1)
    if failures and len(failures) == len(outcomes):
        raise failures[0]
    twice = {outcome for outcome in outcomes if isinstance(outcome, Path) and outcomes.count(outcome) > 1}
    for path in twice:
        ctx.say(f"{path} was written by more than one reference: only one of them is left", -1)
    return Exit.FINDINGS if failures or twice else Exit.DONE


def add_gate_arguments(parser: argparse._ActionsContainer) -> None:
    """Add the option of every command that sends something."""
    parser.add_argument("--allow-finding", action="append", default=[], metavar="ID",
                        help="send it although it holds this secret; may be repeated")


def add_push_arguments(parser: argparse.ArgumentParser, _: Context) -> None:
    """Add the options of `push`."""
    parser.add_argument("path", type=Path, help="a notebook, a script, or a folder with kernel-metadata.json")
    parser.add_argument("--title", help="5 to 50 characters; Kaggle makes the slug of it")
    parser.add_argument("--public", action="store_true", help="let everybody see it (default: private)")
    parser.add_argument("--no-run", action="store_true", help="save a version without running it")
    parser.add_argument("--force", action="store_true", help="push although a session of this kernel is live")
    parser.add_argument("--accelerator", help="NvidiaTeslaT4, TpuV5E8, ... on Kaggle (default: CPU)")
    for option in ("dataset", "competition", "kernel"):
        parser.add_argument(f"--{option}", action="append", metavar="REF", help=f"attach a {option}; may be repeated")
    parser.add_argument("--timeout", help="stop it after this long, for example 30m")
    parser.add_argument("--allow-missing-inputs", action="store_true", help="exit 0 although Kaggle refused an input")
    add_gate_arguments(parser)


def cmd_push(args: argparse.Namespace, ctx: Context) -> int:
    """Save a version of a kernel on Kaggle and run it there."""
    result = push_path(ctx, args.path, args)
    ctx.emit(result, f"{result['ref']} version {result['version']}  {result['url'] or ''}".rstrip())
    for item in result["refused_inputs"]:
        ctx.say(f"Kaggle goes on without {item}", -1)
    if (count := len(result["refused_inputs"])) and not args.allow_missing_inputs:
        raise service_error(f"{result['ref']} lacks {count} of its inputs", "mend them, or give --allow-missing-inputs")
    return Exit.DONE


def add_run_arguments(parser: argparse.ArgumentParser, ctx: Context) -> None:
    """Add the options of `run`; those of runs on Kaggle are in plugins/lib/launch/options.py."""
    parser.add_argument("target", help="notebook, script, folder, owner/slug or link; what follows -- reaches a script")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--on", choices=("local", "kaggle"), help="where (default: local)")
    where.add_argument("--kaggle", dest="on", action="store_const", const="kaggle", help="the same as --on kaggle")
    parser.add_argument("-p", "--param", action="append", default=[], metavar="NAME=VALUE", help="JSON, else text")
    parser.add_argument("--dest", type=Path, help="folder of the result (default: kaggle_results/NAME-RUN)")
    parser.add_argument("--timeout", help="stop it after this long, for example 30m")
    if (ctx.root / "plugins").exists():
        shared("launch.options").add_arguments(parser)


def parse_params(items: Iterable[str]) -> dict[str, Any]:
    """Return {name: value} of NAME=VALUE pairs; a value that is JSON is decoded, everything else is text."""
    params: dict[str, Any] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name.isidentifier():
            raise bad_input(f"{item!r} is not NAME=VALUE", "for example -p epochs=3 -p name=baseline")
        try:
            params[name] = json.loads(value, parse_constant=int)  # which refuses NaN and Infinity: they are no JSON
        except ValueError:
            params[name] = value
    return params


def cmd_run(args: argparse.Namespace, ctx: Context) -> int:
    """Run a notebook, script or folder and say truthfully how it ended."""
    params, timeout_s = parse_params(args.param), parse_duration(args.timeout) if args.timeout else None
    path = Path(args.target)
    if path.suffix == ".ipynb" and path.is_file():
        read_notebook(path)  # bad input ends here, with nothing written
    elif path.suffix in (".ipynb", ".py") and not path.exists() and "://" not in args.target:
        raise bad_input(f"there is no file {args.target}")
    if timeout_s == 0:
        raise bad_input(f"--timeout {args.timeout} leaves no time")
    if args.on == "kaggle":
        return int(shared("launch.command").run(args, ctx, params))
    if (ctx.root / "plugins").exists():
        shared("launch.options").refuse_here(args)
    name = re.sub(r"[^\w-]+", "-", path.resolve().stem if path.exists() else parse_ref(args.target).slug
                  or path.stem)[:60]
    with recorded(ctx, "run", args.target, {"on": "local", **params}) as run:
        dest = args.dest or Path("kaggle_results") / f"{name}-{run.id}"
        path = path if path.exists() else pull_reference(ctx, args.target, dest / "source")
        run.result = run_target(ctx, path, params=params, timeout_s=timeout_s, dest=dest, args=args.rest,
                                on_event=lambda event: show_event(ctx, event))
        run.exit_code, run.error = int(run_exit(run.result)), str(run.result.get("error") or "")
        run.status = "failed" if run.exit_code else "done"
    return report_run(ctx, args.target, run.result, dest)


def run_exit(result: Mapping[str, Any]) -> Exit:
    """Return the exit code of a run's record: its own, else done or failed."""
    return Exit(result.get("exit") or (Exit.DONE if result["status"] in ("complete", "detached") else Exit.FAILED))


def report_run(ctx: Context, target: str, result: dict[str, Any], dest: Path) -> int:
    """Print a run's record, and raise its error when it did not complete."""
    code, outputs = run_exit(result), result.get("outputs") or []
    lines = [f"  {item['path']}  {item['size_bytes']} bytes  sha256 {item['sha256'][:16]}" for item in outputs]
    where = f", {len(outputs)} output{'s' if len(outputs) != 1 else ''} in {dest}" if dest.exists() else ""
    ctx.emit(result, "\n".join([f"{result['status']} in {result['duration_s']:.1f} s{where}", *lines]))
    if code:
        how = "completed, but" if result["status"] == "complete" else f"ended with {result['status']}:"
        how += f" cell {result['cell']}:" if result.get("cell") is not None else ""
        raise KaggError(f"{target} {how} {result.get('error') or 'no reason given'}",
                        code=code, hint=f"the log: {result['log']}" if result.get("log") else "")
    return Exit.DONE


def show_event(ctx: Context, event: dict[str, Any]) -> None:
    """Pass on what the run prints: as JSON Lines under --json, as its text otherwise."""
    if ctx.as_json:
        ctx.progress({"log": event})
    elif text := str(event.get("data") or "").rstrip("\n"):
        ctx.say(text)


# ---------------------------------------------------------------------------------------------------------------------
# Commands: endpoints and training
# ---------------------------------------------------------------------------------------------------------------------


def add_deploy_arguments(parser: argparse.ArgumentParser, ctx: Context) -> None:
    """Add the options of `deploy`: one --TARGET flag for each deploy room."""
    parser.add_argument("path", type=Path, help="a notebook or script that defines predict(payload), "
                        "process_request(data) or handler(request)")
    parser.add_argument("--name", help="the endpoint's name (default: the file's)")
    parser.add_argument("--all-cells", action="store_true", help="pack every cell (default: what the entry needs)")
    add_gate_arguments(parser)
    if not find_rooms(ctx, "deploy"):
        shared("endpoints")  # kagg.py is alone and says what is missing
    parser.epilog = "each target has options of its own: deploy --TARGET --help"
    targets = parser.add_mutually_exclusive_group(required=True)
    for known in _owners(ctx, "deploy"):
        targets.add_argument(_flag(known), dest="target", action="store_const", const=known.name,
                             help=known.broken or known.summary)


def cmd_deploy(args: argparse.Namespace, ctx: Context) -> int:
    """Turn a notebook into an HTTP endpoint and check that it answers."""
    name = args.name or re.sub(r"[^a-z0-9]+", "-", args.path.resolve().stem.lower()).strip("-")[:63]
    endpoint = shared("endpoints").deploy_target(ctx, args.path, name, args.target, args)
    next_step = f"try: python kagg.py call {endpoint.name} --data '{{}}'"
    ctx.emit(endpoint._asdict(), f"{endpoint.name}  {endpoint.url}\n{next_step}")
    return Exit.DONE


def add_call_arguments(parser: argparse.ArgumentParser, _: Context) -> None:
    """Add the options of `call`."""
    parser.add_argument("name", help="an endpoint's name, or its URL")
    parser.add_argument("--data", default="{}", help="JSON, @FILE, or @- for standard input (default: %(default)s)")
    parser.add_argument("--timeout", default="60s", help="how long to wait for the answer (default: %(default)s)")


def read_data(text: str) -> Any:
    """Return the JSON value of --data."""
    try:
        if text.startswith("@"):
            text = sys.stdin.read() if text == "@-" else Path(text[1:]).read_text(encoding="utf-8")
        return decode_json(text)
    except OSError as error:
        raise bad_input(f"cannot read {text[1:]}: {error.strerror}") from error
    except ValueError as error:
        raise bad_input(f"--data is not JSON: {error}", "quote it for the shell: --data '{\"x\": 1}'") from error


def _running(ctx: Context, name: str) -> Endpoint:
    """Return an endpoint, unless the registry knows that it was stopped."""
    endpoint = find_endpoint(ctx, name)
    if endpoint.state == "stopped":
        raise service_error(f"{endpoint.name} is stopped", f"python kagg.py endpoints start {endpoint.name}")
    return endpoint


def cmd_call(args: argparse.Namespace, ctx: Context) -> int:
    """Send one payload to an endpoint and print its answer; exit 12 unless it is a 2xx."""
    endpoint, payload = _running(ctx, args.name), read_data(args.data)
    answer = call_endpoint(ctx, endpoint, payload, timeout_s=parse_duration(args.timeout))
    ctx.emit(answer, json.dumps(answer["body"], ensure_ascii=False, indent=2))
    if not 200 <= answer["status"] < 300:
        raise service_error(f"{args.name} answered {answer['status']}",
                            f"its log: python kagg.py endpoints show {args.name}")
    return Exit.DONE


def add_monitor_arguments(parser: argparse.ArgumentParser, _: Context) -> None:
    """Add the options of `monitor`."""
    parser.add_argument("name", help="an endpoint's name, or a URL")
    parser.add_argument("--duration", default="10s", help="how long (default: %(default)s)")
    parser.add_argument("--interval", default="1s", help="time between probes (default: %(default)s)")
    parser.add_argument("--data", help="POST this JSON instead of asking the health page")
    parser.add_argument("--max-p95", help="exit 3 when the 95th percentile is above this, for example 200ms")
    parser.add_argument("--max-errors", type=float, default=0.0, metavar="RATIO", help="exit 3 when more probes fail")


def cmd_monitor(args: argparse.Namespace, ctx: Context) -> int:
    """Probe an endpoint and report its latency percentiles; exit 3 when a threshold is crossed."""
    endpoint, interval_s = _running(ctx, args.name), parse_duration(args.interval)
    payload = read_data(args.data) if args.data else None
    limit_ms = 1000 * parse_duration(args.max_p95) if args.max_p95 else None
    if not 0 <= args.max_errors <= 1:
        raise bad_input(f"--max-errors {args.max_errors} is not a ratio", "give a number from 0 to 1, for example 0.05")
    if interval_s < 0.001:
        raise bad_input(f"--interval {args.interval} is too short", "1ms is the least")
    with recorded(ctx, "monitor", endpoint.name) as run:
        report = monitor_endpoint(ctx, endpoint, parse_duration(args.duration), interval_s, payload)
        bad = report["error_ratio"] > args.max_errors or (limit_ms is not None and (report["p95_ms"] or 1e9) > limit_ms)
        run.result, run.status = report, "findings" if bad else "done"
        run.exit_code = Exit.FINDINGS if bad else Exit.DONE
    known = [label for label, value in report.items() if label.endswith("_ms") and value is not None]
    numbers = "  ".join(f"{label.removesuffix('_ms')} {report[label]} ms" for label in known) or "no probe was answered"
    first = f"\nfirst error: {report['first_error']}" if report["errors"] else ""
    ctx.emit(report, f"{endpoint.name}: {report['count']} probes, {report['errors']} failed\n{numbers}{first}")
    return int(run.exit_code)


def add_train_arguments(parser: argparse.ArgumentParser, ctx: Context) -> None:
    """Add the options of `train`."""
    names = ", ".join(f"{known.name} ({known.broken or known.summary})" for known in find_rooms(ctx, "train"))
    parser.add_argument("trainer", help=names or "no trainer is installed")
    parser.add_argument("data", help="the training data")


def cmd_train(args: argparse.Namespace, ctx: Context) -> int:
    """Train a model with a trainer room and print its metrics."""
    trainer = room(ctx, "train", args.trainer)
    params = {name: value for name, value in vars(args).items() if name.startswith(f"{args.trainer}_")}
    with recorded(ctx, "train", args.data, {"trainer": args.trainer, **params}) as run:
        run.result = trainer.train(args.data, args, ctx)
    ctx.emit(run.result, "\n".join(f"{key}: {value}" for key, value in run.result.items()))
    return Exit.DONE


# ---------------------------------------------------------------------------------------------------------------------
# Main
# ---------------------------------------------------------------------------------------------------------------------

COMMANDS: dict[str, tuple[Callable[..., None], Callable[..., int]]] = {
    "list": (add_list_arguments, cmd_list),
    "pull": (add_pull_arguments, cmd_pull),
    "push": (add_push_arguments, cmd_push),
    "run": (add_run_arguments, cmd_run),
    "deploy": (add_deploy_arguments, cmd_deploy),
    "call": (add_call_arguments, cmd_call),
    "monitor": (add_monitor_arguments, cmd_monitor),
    "train": (add_train_arguments, cmd_train),
}


def _flag(known: Room) -> str:
    return "--" + known.name.replace("_", "-")


def _common(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command takes, before and after its name."""
    for flags, text in (("-v --verbose", "say more; show tracebacks"), ("-q --quiet", "say only errors"),
                        ("--json", "write JSON to stdout, and messages as JSON Lines to stderr")):
        parser.add_argument(*flags.split(), action="store_true", help=text)
    parser.add_argument("--kaggle-url", metavar="URL", help="Kaggle's address; local = the local Kaggle")


def build_parser(ctx: Context, name: str, words: list[str]) -> argparse.ArgumentParser:
    """Build the parser of one command; only its room is imported, and of a target's rooms the chosen one."""
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise bad_input(message, f"see: python {self.prog} --help")

    parser = Parser(prog=f"kagg.py {name}", allow_abbrev=False)
    _common(parser)
    if name in COMMANDS:
        add_arguments, command = COMMANDS[name]
        parser.description = command.__doc__
        parser.set_defaults(func=command, command=name)
        add_arguments(parser, ctx)
        for known in _owners(ctx, name) if name in KINDS else ():  # deploy and train: the chosen room's own options
            if _flag(known) in words or known.name in words:
                room(ctx, known.kind, known.name).add_arguments(parser.add_argument_group(known.summary))
        return parser
    found = find_room(ctx, "cmd", name)
    if not found:
        if not (ctx.root / "plugins").exists():
            raise KaggError(f"kagg.py alone has no command {name[:80]!r}; more come with plugins/ beside kagg.py",
                            code=Exit.MISSING, hint="clone the whole project or use kagg.pyz")
        raise bad_input(f"there is no command {name[:80]!r}", "see: python kagg.py --help")
    module = room(ctx, "cmd", found.name)
    parser.description = found.summary
    parser.set_defaults(func=module.run, command=name)
    module.add_arguments(parser)
    return parser


def help_text(ctx: Context) -> str:
    """Return what `kagg.py --help` prints; written without argparse, which takes longer than all the rest."""
    rows = {name: (command.__doc__ or "").splitlines()[0] for name, (_, command) in COMMANDS.items()}
    for known in find_rooms(ctx, "cmd", installed=False):
        rows.setdefault(_flag(known)[2:], known.broken or known.summary)
    width = max(map(len, rows)) + 2
    commands = "\n".join(f"  {name:{width}}{text[:1].upper()}{text[1:].rstrip('.')}" for name, text in rows.items())
    title = (__doc__ or "").splitlines()[0]
    return (f"usage: python kagg.py [-v | -q] [--json] [--kaggle-url URL] COMMAND ...\n\n{title}\n\n"
            f"commands:\n{commands}\n\noptions, before or after the command:\n"
            "  -h, --help        show this, or with a command its own options\n"
            "  --version         show the version\n"
            "  -v, --verbose     say more; show tracebacks\n"
            "  -q, --quiet       say only errors\n"
            "  --json            write JSON to stdout, and messages as JSON Lines to stderr\n"
            "  --kaggle-url URL  Kaggle's address; local = the local Kaggle (default: KAGG_KAGGLE_URL)")


def _command_at(words: list[str]) -> int | None:
    """Return where the command stands among the words, None when there is none or help is asked for before it."""
    for i, word in enumerate(words):
        if word in ("-h", "--help", "--version"):
            return None
        if not word.startswith("-") and words[i - 1 : i] != ["--kaggle-url"]:
            return i
    return None


def main(argv: list[str] | None = None, ctx: Context | None = None) -> int:
    """Run one command and return its exit code; the only place where errors end."""
    argv = list(sys.argv[1:] if argv is None else argv)
    split = argv.index("--") if "--" in argv and "run" in argv[: argv.index("--")] else len(argv)
    ctx, words = ctx or Context(), argv[:split]
    ctx.as_json, given = "--json" in words, set(words)
    ctx.verbosity = -1 if {"-q", "--quiet"} & given else int(bool({"-v", "--verbose"} & given))
    try:
        return _dispatch(ctx, words, argv[len(words) + 1 :])
    except KaggError as error:
        return _report(ctx, error)
    except KeyboardInterrupt:
        return _report(ctx, KaggError("interrupted", code=Exit.INTERRUPTED))
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.FAILED
    except OSError as error:  # disk full, folder not writable, file vanished
        return _report(ctx, KaggError(f"{error.filename or 'system'}: {error.strerror or error}"))
    except Exception as error:  # noqa: BLE001 - the one gate: whatever comes here is a bug of ours
        hint = "run it again with -v and report what it prints"
        return _report(ctx, KaggError(f"bug: {type(error).__name__}: {error}", code=Exit.BUG, hint=hint))


def _dispatch(ctx: Context, words: list[str], rest: list[str]) -> int:
    at = _command_at(words)
    if at is None:
        known = ("-h", "--help", "--version", "-v", "--verbose", "-q", "--quiet", "--json", "--kaggle-url")
        odd = [word for word in words if word.startswith("-") and word.partition("=")[0] not in known]
        if odd:
            raise bad_input(f"there is no option {odd[0][:80]!r}", "see: python kagg.py --help")
        text = f"kagg {VERSION}" if "--version" in words else help_text(ctx)
        ctx.emit({"version": VERSION} if "--version" in words else {"help": text}, text)
        return Exit.DONE
    args = build_parser(ctx, words[at], words).parse_args([*words[:at], *words[at + 1 :]])
    args.rest, ctx.kaggle_url = rest, args.kaggle_url or ""
    if rest and args.command != "run":
        raise bad_input(f"{args.command} takes nothing after --", "only run passes arguments on")
    return int(args.func(args, ctx))


def _report(ctx: Context, error: KaggError) -> int:
    """Print an error the way people or programs read it, with the traceback under -v."""
    if ctx.verbosity > 0:
        import traceback

        ctx.say(traceback.format_exc().rstrip(), -1)
    if ctx.as_json:
        found = {"error": redact(error.message), "code": int(error.code), "hint": redact(error.hint)}
        ctx.stderr.write(json.dumps(found, ensure_ascii=False) + "\n")
    else:
        ctx.say(f"kagg: error: {error.message}" + (f"; {error.hint}" if error.hint else ""), -1)
    return int(error.code)


def script() -> None:
    """Run as a program: SIGTERM ends it like Ctrl-C, so that children and part files are looked after."""
    if _command_at(sys.argv[1:]) is not None:
        import signal

        signal.signal(signal.SIGTERM, signal.default_int_handler)
    raise SystemExit(main())


if __name__ == "__main__":
    script()
