"""Serve a Kaggle on this machine: the same API, and pushed kernels really run."""

from __future__ import annotations

import contextlib
import json
import os
import queue
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
    from collections.abc import Iterator, Sequence

    from kagg import Context
    from plugins.lib.kaggle.server import LocalKaggle

PLUGIN = {"api": 1, "summary": "serve Kaggle's API on this machine and run what is pushed", "requires": {}}

PORT = 7777  # where the official clients look with KAGGLE_API_ENVIRONMENT=TEST
MAX_PORT = 65535
USER = "demo"
ONE_PRESS_S = 0.5  # a terminal and a program in between may both pass the same Ctrl-C on


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
        "--fault",
        action="append",
        default=[],
        metavar="JSON",
        help='let something go wrong, as {"kind": "status", "match": "*/SaveKernel"}; repeatable',
    )
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
    faults = [_fault(text) for text in args.fault]
    idle_s = parse_duration(args.idle_timeout) if args.idle_timeout else float("inf")
    with _only_one(root):
        serve(root, args, ctx, idle_s, faults)
    return Exit.DONE


@contextlib.contextmanager
def _only_one(root: Path) -> Iterator[None]:
    """Own the root while the server lives; the lock goes with the process, however that ends."""
    if embedded.running(root):
        hint = f"stop it with: python kagg.py local-kaggle --root '{root}' --stop"
        raise KaggError(f"a local Kaggle already serves {root}", code=Exit.CONFIG, hint=hint)
    with locked(root / "server", timeout_s=embedded.STOP_S):  # one that is just stopping is waited for
        yield


def _fault(text: str) -> dict[str, Any]:
    """Read one --fault; the kinds are those of plugins/lib/kaggle/faults.py.

    Raises:
        KaggError: USAGE, it is none.
    """
    from plugins.lib.kaggle.faults import Faults

    try:
        fault = json.loads(text)
        Faults().add(**fault)
    except (TypeError, ValueError) as error:
        raise KaggError(
            f"--fault {text[:100]}: {error}", code=Exit.USAGE, hint="docs/local-kaggle.md lists them"
        ) from error
    return dict(fault)


def serve(root: Path, args: argparse.Namespace, ctx: Context, idle_s: float, faults: Sequence[dict[str, Any]]) -> None:
    """Open both ports, say where, and wait for the end.

    Raises:
        KeyboardInterrupt: Ctrl-C was the reason; everything is cleaned up by then.
    """
    server = root / "server.json"
    with _signals(server) as asked:
        from plugins.lib.kaggle.server import LocalKaggle

        try:
            kaggle = LocalKaggle(root, port=args.port)
        except OSError as error:
            raise KaggError(
                f"port {args.port}: {error.strerror or error}", code=Exit.CONFIG, hint="try --port 0"
            ) from error
        try:
            with kaggle:
                if args.seed:
                    from plugins.lib.kaggle.seeding import seed

                    seed(kaggle.world, args.seed)
                for fault in faults:
                    kaggle.faults.add(**fault)
                announce(kaggle, server, ctx)
                number = _wait(kaggle, asked, idle_s)
        finally:
            server.unlink(missing_ok=True)
    if number == signal.SIGINT:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _signals(server: Path) -> Iterator[queue.SimpleQueue[int]]:
    """Let SIGTERM and SIGINT ask for a clean stop, which nothing interrupts; a later Ctrl-C ends the process at once.

    The handler only puts a number into a SimpleQueue, which may happen in the middle of anything. An exception from it
    could stop the clean-up half way or vanish in a callback, and Event.set would wait for a lock that the interrupted
    thread may hold. A process that ends at once takes its kernels along, see the lifeline in sandbox.py. SIGINT counts
    even where it came ignored, as in a background job of a script. Only a main thread can be told.
    """
    asked: queue.SimpleQueue[int] = queue.SimpleQueue()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    first_s: list[float] = []

    def ask(number: int, _frame: object) -> None:
        first_s.append(time.monotonic())
        if number == signal.SIGINT and first_s[-1] - first_s[0] > ONE_PRESS_S:
            server.unlink(missing_ok=True)
            os._exit(Exit.INTERRUPTED)
        asked.put(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _wait(kaggle: LocalKaggle, asked: queue.SimpleQueue[int], idle_s: float) -> int:
    """Return the signal that asks for the end; 0 when nobody wanted anything for `idle_s` and nothing runs."""
    while True:
        with contextlib.suppress(queue.Empty):
            return asked.get(timeout=0.2)
        if kaggle.world.sessions.live():
            kaggle.last_request_s = time.monotonic()
        if time.monotonic() - kaggle.last_request_s > idle_s:
            return 0


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
