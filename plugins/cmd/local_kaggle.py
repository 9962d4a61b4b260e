"""Serve a Kaggle on this machine: the same API, and pushed kernels really run."""

from __future__ import annotations

import contextlib
import json
import shlex
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kagg import Exit, KaggError, locked, parse_duration, write_atomic
from plugins.lib.kaggle import embedded

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from kagg import Context
    from plugins.lib.kaggle.server import LocalKaggle

PLUGIN = {"api": 1, "summary": "serve Kaggle's API on this machine and run what is pushed", "requires": {}}

PORT = 7777  # where the official clients look with KAGGLE_API_ENVIRONMENT=TEST
MAX_PORT = 65535
USER = "demo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `local-kaggle`."""
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="where it keeps everything (default: KAGG_HOME/local-kaggle)"
    )
    parser.add_argument(
        "--port", type=int, default=PORT, help="port of the API, 0 for any free one (default: %(default)s)"
    )
    parser.add_argument(
        "--seed",
        type=Path,
        metavar="FOLDER",
        help="publish the notebooks and scripts of FOLDER as kernels of `examples`",
    )
    parser.add_argument("--stop", action="store_true", help="stop the server of this root")
    parser.add_argument(
        "--idle-timeout", metavar="TIME", help="stop after so long without a request or a session, as 30m"
    )


def run(args: argparse.Namespace, ctx: Context) -> int:
    """Serve until SIGTERM (exit 0), Ctrl-C (130) or idleness."""
    root = (args.root or ctx.home / "local-kaggle").absolute()
    if args.stop:
        stopped = embedded.stop_local(root)
        ctx.emit(
            {"stopped": stopped, "root": str(root)}, "stopped" if stopped else f"no local Kaggle is running in {root}"
        )
        return Exit.DONE
    if not 0 <= args.port <= MAX_PORT:
        raise KaggError(f"--port {args.port} is not between 0 and {MAX_PORT}", code=Exit.USAGE)
    if args.seed and not args.seed.is_dir():
        raise KaggError(f"--seed {args.seed} is not a folder", code=Exit.USAGE)
    idle_s = parse_duration(args.idle_timeout) if args.idle_timeout else float("inf")
    with _only_one(root):
        serve(root, args, ctx, idle_s)
    return Exit.DONE


@contextlib.contextmanager
def _only_one(root: Path) -> Iterator[None]:
    """Own the root while the server lives; the lock goes with the process, however that ends."""
    if embedded.running(root):
        hint = f"stop it with: python kagg.py local-kaggle --root '{root}' --stop"
        raise KaggError(f"a local Kaggle already serves {root}", code=Exit.CONFIG, hint=hint)
    with locked(root / "server", timeout_s=embedded.STOP_S):  # one that is just stopping is waited for
        yield


def serve(root: Path, args: argparse.Namespace, ctx: Context, idle_s: float) -> None:
    """Open both ports, say where, and wait for the end."""
    from plugins.lib.kaggle.server import LocalKaggle

    ended = threading.Event()
    with _on_sigterm(ended):
        try:
            kaggle = LocalKaggle(root, port=args.port)
        except OSError as error:
            raise KaggError(
                f"port {args.port}: {error.strerror or error}", code=Exit.CONFIG, hint="try --port 0"
            ) from error
        server = root / "server.json"
        try:
            with kaggle:
                if args.seed:
                    from plugins.lib.kaggle.seeding import seed

                    seed(kaggle.world, args.seed)
                announce(kaggle, server, ctx)
                _wait(kaggle, ended, idle_s)
        finally:
            server.unlink(missing_ok=True)


@contextlib.contextmanager
def _on_sigterm(ended: threading.Event) -> Iterator[None]:
    """Let SIGTERM mean a clean stop. Only a main thread can be told; elsewhere the caller has other ways to stop."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: ended.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _wait(kaggle: LocalKaggle, ended: threading.Event, idle_s: float) -> None:
    """Return when told to stop, or when nobody has asked for anything for `idle_s` and nothing runs."""
    while not ended.wait(0.2):
        if kaggle.world.sessions.live():
            kaggle.last_request_s = time.monotonic()
        if time.monotonic() - kaggle.last_request_s > idle_s:
            return


def announce(kaggle: LocalKaggle, server: Path, ctx: Context) -> None:
    """Write server.json and the official client's kaggle.json (both 0600); print how to reach the server."""
    key = kaggle.world.accounts.users[USER]["key"]
    credentials = server.parent / "client" / "kaggle.json"
    write_atomic(credentials, json.dumps({"username": USER, "key": key}), 0o600)
    document: dict[str, Any] = {"version": 1, "url": kaggle.url, "storage_url": kaggle.storage_url, "pid": kaggle.pid}
    secret = {"control_token": kaggle.control_token, "username": USER, "key": key}
    write_atomic(server, json.dumps({**document, **secret}, indent=1, sort_keys=True), 0o600)
    lines = [
        f"local Kaggle at {kaggle.url}, user {USER}, key in {credentials}",
        f"export KAGGLE_CONFIG_DIR={shlex.quote(str(credentials.parent))}",
        f"python kagg.py --kaggle-url {kaggle.url} list",
        "# the official client reaches it as its proxy:",
        f"KAGGLE_API_ENVIRONMENT=LOCALHOST HTTP_PROXY={kaggle.url} NO_PROXY=127.0.0.1 kaggle kernels list",
    ]
    ctx.emit(
        {**document, "root": str(server.parent), "username": USER, "credentials": str(credentials)}, "\n".join(lines)
    )
