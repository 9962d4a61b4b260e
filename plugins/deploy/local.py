"""Deploy a package on this machine: a server process that survives the command, one folder per endpoint.

KAGG_HOME/endpoints/NAME/<first 12 of the package's SHA-256>/   the unpacked package, working folder of the process
KAGG_HOME/endpoints/NAME/<run>.json, <run>.log                  state of one process (see lib/serve.py) and its output
KAGG_HOME/endpoints/NAME/server/                                lib/serve*.py, so that the endpoint outlives this kagg

A redeploy starts the new process first. It loads its module, then gets the old one's listening socket, and only when it
answers there is the old one asked to finish and go: no call is lost. With another --local-port it listens there.
The process sees the environment without variables that look like credentials, except those named with --local-env.
"""

from __future__ import annotations

import contextlib
import json
import os
import pkgutil
import re
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kagg import Context, Endpoint, Exit, KaggError, file_sha256, locked, parse_duration, safe_path, write_atomic
from plugins.lib.packaging import unpack
from plugins.lib.serve import bind
from plugins.lib.server_process import Started, end, probe, processes, read_state

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

PLUGIN = {"api": 1, "summary": "a server process on this machine", "requires": {}}

START_TIMEOUT = "120s"
STOP_GRACE_S = 12.0  # the server gives requests 10 s to finish
LAUNCH_S = 30.0
PROBE_S = 2.0
SERVER_FILES = ("serve.py", "serve_app.py", "serve_http.py")
SECRET_NAME = re.compile(
    r"(KAGG|KAGGLE|AWS|AZURE|ARM|GOOGLE|GCP|GCLOUD|WANDB|MODAL|DOCKER|SSH)_|"
    r".*(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|COOKIE|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|_AUTH$|_PAT$)",
    re.IGNORECASE,
)
SECRET_VALUE = re.compile(r"://[^/\s:@]*:[^/\s@]+@")  # a proxy or database URL with a password


class Wish(NamedTuple):
    """How a process is to be started."""

    port: int
    take_over: Path | None
    passed: list[str]
    timeout_s: float


def add_arguments(group: argparse._ArgumentGroup, /) -> None:
    """Add the --local-* options."""
    group.add_argument(
        "--local-port", type=int, metavar="PORT", help="port (default: the same as before, else any free)"
    )
    group.add_argument(
        "--local-start-timeout",
        default=START_TIMEOUT,
        metavar="TIME",
        help="how long the notebook may take until it answers (default: %(default)s)",
    )
    group.add_argument(
        "--local-env",
        action="append",
        default=[],
        metavar="NAME",
        help="let the endpoint see this environment variable although it looks like a credential",
    )


def occupied(name: str, ctx: Context, /) -> bool:
    """Say whether a server runs under this name, also one that another registry names."""
    return any(found.is_alive for found in processes(ctx.home / "endpoints" / name))


def deploy(package: Path, name: str, args: argparse.Namespace, ctx: Context, /) -> Endpoint:
    """Start `package` as endpoint `name`; what ran under that name stops only when the new one answers.

    Raises:
        KaggError: INTEGRITY for a bad package; FAILED when it does not come up, with the last line of its error.
    """
    _check_system()
    home, timeout_s = _home(ctx, name), parse_duration(getattr(args, "local_start_timeout", START_TIMEOUT))
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    passed = sorted(set(getattr(args, "local_env", [])))
    with locked(home.parent / f".{name}"):
        if not package.is_file():
            raise KaggError(f"there is no package {package}", code=Exit.USAGE)
        sha256 = file_sha256(package)
        folder = home / sha256[:12]
        is_new = not folder.exists()
        if is_new:
            unpack(package, folder)
        before = [found for found in processes(home) if found.is_alive]
        port, take_over = _port_wish(before, getattr(args, "local_port", None))
        try:
            now = _start(ctx, home, folder, Wish(port, take_over, passed, timeout_s))
        except BaseException:
            if is_new:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        for old in before:
            end(ctx, old)
        _prune(home, folder, now)
    details = {"folder": str(folder), "package_sha256": sha256, "env": passed, "start_timeout_s": timeout_s}
    return _described(Endpoint(name, "local", "", created=ctx.now().isoformat(), details=details), now)


def status(endpoint: Endpoint, ctx: Context, /) -> str:
    """Return running, starting, stopped or failed (it raised while loading, has died, or does not answer)."""
    found = processes(_home(ctx, endpoint.name))
    alive = next((one for one in found if one.is_alive), None)
    if alive is None:
        return "failed" if any(one.status != "stopped" for one in found) else "stopped"
    answer = probe(alive.port)
    if answer is not None and answer[0] == 200:
        return "running"
    return "starting" if alive.status == "loading" else "failed"


def start(endpoint: Endpoint, ctx: Context, /) -> Endpoint:
    """Start a stopped endpoint again, on its port if that is free; one that runs stays as it is."""
    _check_system()
    home = _home(ctx, endpoint.name)
    details = endpoint.details
    with locked(home.parent / f".{endpoint.name}"):
        running = next((one for one in processes(home) if one.is_alive), None)
        if running:
            return _described(endpoint, running)
        folder = safe_path(home, str(details.get("package_sha256", ""))[:12])
        if not folder.is_dir():
            raise KaggError(f"the package of {endpoint.name} is gone from {folder}", hint="deploy it again")
        timeout_s = float(details.get("start_timeout_s") or parse_duration(START_TIMEOUT))
        passed = [str(name) for name in details.get("env") or []]
        now = _start(
            ctx,
            home,
            folder,
            Wish(_free_port(details.get("port")), take_over=None, passed=passed, timeout_s=timeout_s),
        )
        _prune(home, folder, now)
    return _described(endpoint, now)


def stop(endpoint: Endpoint, ctx: Context, /) -> Endpoint:
    """Stop the endpoint: requests in flight get 10 s to finish, then it is killed."""
    home = _home(ctx, endpoint.name)
    with locked(home.parent / f".{endpoint.name}"):
        for found in processes(home):
            end(ctx, found)
    return endpoint._replace(state="stopped")


def remove(endpoint: Endpoint, ctx: Context, /) -> None:
    """Stop the endpoint and delete its folder under KAGG_HOME/endpoints; nothing happens when it is gone already."""
    stop(endpoint, ctx)
    shutil.rmtree(_home(ctx, endpoint.name), ignore_errors=True)


def _check_system() -> None:
    if not hasattr(os, "fork"):
        raise KaggError(
            "local endpoints need a POSIX system", hint="use WSL, or serve in the foreground: plugins/lib/serve.py"
        )


def _home(ctx: Context, name: str) -> Path:
    """Return the endpoint's folder; the name is somebody's input."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}", name):
        raise KaggError(
            f"{name[:80]!r} is not an endpoint name", code=Exit.USAGE, hint="use letters, digits and hyphens"
        )
    return safe_path(ctx.home / "endpoints", name)


def _described(endpoint: Endpoint, process: Started) -> Endpoint:
    """Return the endpoint with the address and details of its process."""
    url = f"http://127.0.0.1:{process.port}"
    more = {"pid": process.pid, "port": process.port, "log": str(process.log), "healthz": f"{url}/healthz"}
    manifest = json.loads((Path(endpoint.details["folder"]) / "kagg_package.json").read_bytes())
    return endpoint._replace(
        url=url + "/", state="running", details=endpoint.details | more | {"entry": manifest["entry"]}
    )


def _start(ctx: Context, home: Path, folder: Path, wish: Wish) -> Started:
    """Start a process and wait until it answers; if it does not, end it and raise."""
    state = home / f"{folder.name}-{secrets.token_hex(4)}.json"
    try:
        _launch(ctx, state, folder, wish)
        return _await(ctx, state, wish.timeout_s)
    except BaseException:
        failed = read_state(state)
        if failed:
            end(ctx, failed, grace_s=1.0)
        state.unlink(missing_ok=True)
        raise


def _launch(ctx: Context, state: Path, folder: Path, wish: Wish) -> None:
    """Run serve.py, which returns as soon as its background process has written `state`."""
    server = state.parent / "server"
    server.mkdir(exist_ok=True)
    for file in SERVER_FILES:
        write_atomic(server / file, pkgutil.get_data("plugins.lib", file) or b"")
    command = [sys.executable, str(server / "serve.py"), "--package", str(folder), "--state", str(state), "--detach"]
    command += ["--take-over", str(wish.take_over)] if wish.take_over else ["--port", str(wish.port)]
    log = state.with_suffix(".log")
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as output:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_environment(ctx.env, wish.passed),
            cwd=folder,
            timeout=LAUNCH_S,
            start_new_session=True,
            check=False,
        )
    if done.returncode:
        raise _failure(state, _last_line(log), hint="is the port free? try another --local-port")


def _free_port(port: object) -> int:
    """Return `port` when nothing listens there, else 0."""
    with contextlib.suppress(OSError, OverflowError):
        bind("127.0.0.1", int(str(port or 0))).close()
        return int(str(port or 0))
    return 0


def _port_wish(before: list[Started], wanted: int | None) -> tuple[int, Path | None]:
    """Return the port for a redeploy, and where the process that runs offers its own."""
    door = before[-1].state.with_suffix(".sock") if before and wanted in (None, before[-1].port) else None
    return wanted or 0, door if door and door.exists() else None


def _environment(env: Mapping[str, str], passed: list[str]) -> dict[str, str]:
    """Return what the endpoint may see of the user's environment."""
    kept = {
        name: value
        for name, value in env.items()
        if name in passed or not (SECRET_NAME.match(name) or SECRET_VALUE.search(value))
    }
    return kept | {"PYTHONUNBUFFERED": "1"}


def _await(ctx: Context, state: Path, timeout_s: float) -> Started:
    """Wait until the process of `state` answers /healthz itself."""
    deadline, pause_s = ctx.monotonic() + timeout_s, 0.01
    while True:
        found = read_state(state)
        if found is None or not found.is_alive:
            raise _failure(state, f"it ended while it was loading: {_last_line(state.with_suffix('.log'))}")
        if found.status == "failed":
            raise _failure(state, found.error)
        if found.status == "ready":
            answer = probe(found.port)
            if answer is not None and answer[0] == 200 and answer[1].get("pid") == found.pid:
                return found
        if ctx.monotonic() > deadline:
            raise _failure(
                state, f"it does not answer after {timeout_s:.0f} s", hint="allow more: --local-start-timeout"
            )
        ctx.sleep(pause_s)
        pause_s = min(0.2, 1.5 * pause_s)


def _failure(state: Path, reason: str, hint: str = "") -> KaggError:
    """Return the error for a process that does not come up; its log stays."""
    log = state.with_suffix(".log")
    if not hint:
        missing = re.match(r"ModuleNotFoundError: No module named '([\w.]+)'", reason)
        package = missing[1].partition(".")[0] if missing else ""
        hint = f"install what provides {package}, then deploy again" if missing else f"read its log: {log}"
    return KaggError(f"{state.parent.name}: {reason}", hint=hint, details={"log": str(log)})


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output")[:300]


def _prune(home: Path, folder: Path, now: Started) -> None:
    """Delete what earlier deployments of this endpoint left."""
    for path in home.iterdir():
        if path in (folder, home / "server") or path.stem == now.state.stem:  # its state, log and socket
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
