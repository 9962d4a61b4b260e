"""Call a package's entry function for serve.py: load the module, route requests, turn values into JSON. Stand-alone."""

from __future__ import annotations

import hmac
import json
import math
import os
import re
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from plugins.lib.serve_http import Refused, Request, Server
else:  # imported by serve.py as a script, from its own folder
    from serve_http import Refused, Request, Server

if TYPE_CHECKING:
    from collections.abc import Callable

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# Types that cannot hold JSON. Everything else is tried, since `curl -d` says application/x-www-form-urlencoded.
NOT_JSON = re.compile(
    r"(multipart|image|audio|video|font)/|text/(html|xml|css|csv)|application/(\S+\+)?(xml|pdf|g?zip)"
)


# ---------------------------------------------------------------------------------------------------------------------
# JSON
# ---------------------------------------------------------------------------------------------------------------------


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_decode = json.JSONDecoder(parse_constant=_no_constant).decode


def _plain(value: Any) -> Any:
    """Convert a numpy, pandas, torch or datetime value into what JSON holds; TypeError for every other type."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "to_dict"):
        return value.to_dict(orient="records") if hasattr(value, "columns") else value.to_dict()
    kind = type(value)
    if kind.__name__ in ("NAType", "NaTType"):  # the missing values of pandas
        return None
    for method in ("isoformat", "item"):
        if hasattr(value, method):
            return getattr(value, method)()
    raise TypeError(f"a value of type {kind.__module__}.{kind.__qualname__} cannot be written as JSON")


def _cleaned(value: Any) -> Any:
    """Rebuild `value` with null for NaN and plain dictionary keys."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, dict):
        return {k if isinstance(k, (str, int, float)) else _plain(k): _cleaned(v) for k, v in value.items()}
    return [_cleaned(item) for item in value] if isinstance(value, (list, tuple)) else _cleaned(_plain(value))


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain).encode


def to_json(value: Any) -> bytes:
    """Return `value` as JSON; TypeError names the type that JSON cannot hold."""
    try:
        return _encode(value).encode()
    except (TypeError, ValueError):  # NaN, numpy keys, lone surrogates: rare, so only these pay for a copy
        return json.dumps(_cleaned(value), allow_nan=False, separators=(",", ":")).encode()


def _from_json(body: bytes) -> Any:
    try:
        return _decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON: {error}" if body else "the body is empty, JSON is needed") from None


# ---------------------------------------------------------------------------------------------------------------------
# The package
# ---------------------------------------------------------------------------------------------------------------------


class Package:
    """The user's module and its entry function."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.status, self.error = folder, "loading", ""
        self.entry = str(json.loads((folder / "kagg_package.json").read_bytes())["entry"])
        self.function: Callable[[Any], Any] = _no_constant
        self.loop: Any = None
        self.lock = threading.Lock()

    def load(self) -> None:
        """Run the module once; `status` becomes ready or failed. Its folder is the working and first import folder."""
        here = os.path.realpath(Path(__file__).parent)  # our neighbours must not hide packages of the same name
        sys.path[:] = [str(self.folder)] + [item for item in sys.path if os.path.realpath(item) != here]
        sys.argv[:] = ["kagg_app.py"]
        os.chdir(self.folder)
        try:
            self.function = _function(_module(self.folder / "kagg_app.py"), self.entry)
            self.status = "ready"
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the notebook raises is reported as its own
            traceback.print_exc()
            self.status, self.error = "failed", traceback.format_exception_only(error)[-1].strip()[:500]

    def call(self, argument: Any) -> Any:
        """Call the entry and wait for its answer, also when it is a coroutine."""
        found = self.function(argument)
        return self._awaited(found) if hasattr(found, "__await__") else found

    def _awaited(self, found: Any) -> Any:
        """Run a coroutine on the one loop of this process, so that clients made at load time stay usable."""
        import asyncio

        with self.lock:
            if self.loop is None:
                made = getattr(
                    sys.modules["kagg_app"], "_KAGG_LOOP", None
                )  # made for await outside functions, cells.py
                self.loop = made or asyncio.new_event_loop()
                threading.Thread(target=self.loop.run_forever, daemon=True).start()
        return asyncio.run_coroutine_threadsafe(_coroutine(found), self.loop).result()


async def _coroutine(awaitable: Any) -> Any:
    return await awaitable


def _function(module: Any, entry: str) -> Callable[[Any], Any]:
    found: Callable[[Any], Any] = getattr(module, entry)
    if not callable(found):
        raise TypeError(f"{entry} is no function")
    return found


def _module(path: Path) -> Any:
    """Import the file as `kagg_app`, and as __main__, where pickles made in a notebook look for their classes."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("kagg_app", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules["kagg_serve"] = sys.modules["__main__"]  # we live on under this name
    sys.modules["kagg_app"] = sys.modules["__main__"] = module
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------------------------------------------------------------
# Routes
# ---------------------------------------------------------------------------------------------------------------------


class Answers:
    """Turns requests into calls of one package."""

    def __init__(self, package: Package, host: str, token: str, max_body: int, max_connections: int) -> None:
        self.package, self.host, self.token = package, host, token.encode()
        self.server = Server(self.answer, max_body, max_connections)

    def answer(self, request: Request) -> tuple[int, bytes]:
        """Return status and body for `request`."""
        self._check_origin(request)
        package, reads = self.package, request.method in ("GET", "HEAD")
        if reads and request.path == "/healthz":  # needs no token: it says nothing that a port scan does not
            return self._health()
        given = request.headers.get("authorization", "").encode("latin-1")
        if self.token and not hmac.compare_digest(given, b"Bearer " + self.token):
            raise Refused(401, "a bearer token is needed", "WWW-Authenticate: Bearer\r\n")
        if reads and request.path == "/":
            return 200, to_json({"entry": package.entry, "call": "POST / with JSON", "health": "/healthz"})
        if package.entry != "handler":
            _check_route(request)
        if package.status != "ready":
            raise Refused(503, package.error or "the module is still loading", "Retry-After: 1\r\n")
        return self._called(_argument(request, package.entry))

    def _health(self) -> tuple[int, bytes]:
        package = self.package
        if package.status == "ready":
            return 200, to_json({"status": "ok", "pid": os.getpid(), "entry": package.entry})
        return 503, to_json({"status": package.status, "pid": os.getpid(), "error": package.error})

    def _check_origin(self, request: Request) -> None:
        """Refuse other hosts' pages: DNS rebinding shows in Host, a forged form or script in Origin."""
        name = _host_name(request.headers.get("host", ""))
        if self.host in LOOPBACK and name and name not in LOOPBACK:
            raise Refused(403, f"host {name[:80]!r} is not served here")
        origin = request.headers.get("origin")
        if origin is not None and request.method not in ("GET", "HEAD"):
            asking = _host_name(origin.partition("://")[2])
            if not asking or (asking != name and not (asking in LOOPBACK and name in LOOPBACK)):
                raise Refused(403, f"a page of {origin[:80]!r} may not call this")

    def _called(self, argument: Any) -> tuple[int, bytes]:
        """Call the user's function; its exception is a 500 and a traceback in the log."""
        try:
            found = self.package.call(argument)
            status, body = _unfolded(found) if self.package.entry == "handler" else (200, found)
            return status, to_json(body)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - one bad call must not end the server
            number = self.server.number()
            error.add_note(f"request {number}")
            traceback.print_exception(error)
            return 500, self.server.error(type(error).__name__, str(error), number)


def _host_name(authority: str) -> str:
    return re.sub(r":\d*$", "", authority).strip("[]").lower()


def _check_route(request: Request) -> None:
    methods = {"/": "GET, HEAD, POST", "/predict": "POST", "/healthz": "GET, HEAD"}.get(request.path)
    if methods is None:
        raise Refused(404, f"nothing answers at {request.path[:80]!r}")
    if request.method not in methods.split(", "):
        raise Refused(405, f"{request.method} is not for {request.path}", f"Allow: {methods}\r\n")


def _argument(request: Request, entry: str) -> Any:
    """Decode what the entry function gets."""
    kind = request.headers.get("content-type", "").lower()
    if "content-encoding" in request.headers:
        raise Refused(415, "send the body without Content-Encoding")
    if entry == "handler":
        return _handler_argument(request, kind)
    if NOT_JSON.match(kind):
        raise Refused(415, f"{kind[:80]} is not JSON")
    return _from_json(request.body)


def _handler_argument(request: Request, kind: str) -> dict[str, Any]:
    """Return the request as a dictionary; a body is decoded JSON, text when its type says so, None when empty."""
    from urllib.parse import parse_qsl, unquote

    body = None
    if request.body:
        body = _from_json(request.body) if not kind or "json" in kind else request.body.decode("utf-8", "replace")
    return {
        "method": request.method,
        "path": unquote(request.path),
        "headers": request.headers,
        "query": dict(parse_qsl(request.query, keep_blank_values=True)),
        "body": body,
    }


def _unfolded(found: Any) -> tuple[int, Any]:
    """Split what `handler` returned into status and body."""
    if isinstance(found, tuple) and len(found) == 2 and isinstance(found[0], int):
        status, body = found
    elif isinstance(found, dict) and isinstance(found.get("status"), int) and set(found) <= {"status", "body"}:
        status, body = found["status"], found.get("body")
    else:
        return 200, found
    if not 200 <= status <= 599:
        raise ValueError(f"handler returned the status {status}")
    return status, body
