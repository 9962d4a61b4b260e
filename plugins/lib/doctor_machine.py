"""Checks of this machine for `doctor`: folders, files, packages, rooms. Asks no server but the local Kaggle."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kagg import KINDS, VERSION, KaggError, find_rooms, shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kagg import Context

LITTLE_SPACE_BYTES, NO_SPACE_BYTES = 1024**3, 100 * 1024**2
OLD_S = 24 * 3600.0
SHOWN_FILES = 5


class Check(NamedTuple):
    """One thing that was looked at. `state` is ok, note or problem; `fix` is the next step."""

    name: str
    state: str
    detail: str
    fix: str = ""


def user_home(ctx: Context) -> Path:
    """Return the user's home folder as the environment says."""
    return Path(ctx.env.get("HOME") or Path.home())


def _python(ctx: Context) -> Iterator[Check]:
    yield Check("python", "ok", f"{'.'.join(map(str, sys.version_info[:3]))} at {sys.executable}")
    yield Check("kagg", "ok", f"{VERSION} in {ctx.root}")


def _home(ctx: Context) -> Iterator[Check]:
    """Look at KAGG_HOME, or at the folder it would be made in."""
    place = next(path for path in (ctx.home.absolute(), *ctx.home.absolute().parents) if path.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        yield Check("home", "problem", f"{ctx.home} cannot be written", "set KAGG_HOME to a folder of yours")
        return
    free_bytes = shutil.disk_usage(place).free
    state = "problem" if free_bytes < NO_SPACE_BYTES else "note" if free_bytes < LITTLE_SPACE_BYTES else "ok"
    made = "" if ctx.home.exists() else ", made when needed"
    fix = "make room, or set KAGG_HOME to another disk" if state != "ok" else ""
    yield Check("home", state, f"{ctx.home}{made}, {free_bytes / 1024**3:.1f} GiB free", fix)


def _settings(ctx: Context) -> Iterator[Check]:
    path = ctx.configs / "project_config.yaml"
    names = ", ".join(sorted(map(str, ctx.config))) or "nothing"  # reads the file, and raises when it is broken
    yield Check("settings", "ok", f"{path} sets {names}" if path.exists() else f"no {path}, defaults are used")
    given = sorted(name for name in ctx.env if name.startswith("KAGG_"))
    yield Check("environment", "ok", ", ".join(given) or "no KAGG_ variable is set")


def _packages(ctx: Context) -> Iterator[Check]:
    """Look for the packages of requirements.txt without importing them."""
    path = ctx.root / "requirements.txt"
    if not path.exists():
        yield Check("packages", "note", f"no {path}, so what is needed is not known")
        return
    lines = [line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    wanted = [line for line in lines if line and not line.startswith("-")]
    missing = [requirement for requirement in wanted if not _is_installed(requirement)]
    if missing:
        command = " ".join(f"'{requirement}'" for requirement in missing)
        yield Check("packages", "problem", f"missing: {', '.join(missing)}", f"python -m pip install {command}")
    else:
        yield Check("packages", "ok", f"all {len(wanted)} of {path.name}")


def _is_installed(requirement: str) -> bool:
    """Tell whether a package is there, in its least version when the requirement is `name>=version`."""
    name, _, least = re.split(r"[\[;,]", requirement)[0].partition(">=")
    try:
        version = importlib.metadata.version(re.split(r"[<=!~ ]", name)[0])
    except importlib.metadata.PackageNotFoundError:
        return False
    return _numbers(version) >= _numbers(least)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[^\d.]", version.strip())[0]))


def _plugins(ctx: Context) -> Iterator[Check]:
    """Look at every room; a package that only one room needs is a note."""
    rooms = [known for kind in KINDS for known in find_rooms(ctx, kind)]
    broken = [known for known in rooms if known.broken]
    yield Check("plugins", "ok", f"{len(rooms) - len(broken)} rooms can be used")
    for known in broken:
        yield Check("plugins", "problem", f"{known.kind} {known.name}: {known.broken}", f"mend or remove {known.path}")
    for known in rooms:
        missing = [pip for name, pip in known.requires.items() if not _is_importable(name)]
        if missing and not known.broken:
            command = " ".join(f"'{pip}'" for pip in missing)
            detail = f"{known.kind} {known.name} needs {', '.join(missing)}"
            yield Check("plugins", "note", detail, f"python -m pip install {command}")
    with contextlib.suppress(KaggError):  # kagg.py without its shared parts has no entry points
        for stray in shared("entry_points").strays():
            yield Check("plugins", "note", f"the entry point {stray} is of no kind", f"kinds are {', '.join(KINDS)}")
    if ctx.env.get("KAGG_NO_PLUGINS", "") not in ("", "0"):
        yield Check("plugins", "note", "KAGG_NO_PLUGINS leaves third-party rooms out")
    for folder in filter(None, ctx.env.get("KAGG_PLUGINS", "").split(os.pathsep)):
        if not Path(folder).is_dir():
            yield Check("plugins", "problem", f"KAGG_PLUGINS names {folder}, which is no folder", "mend KAGG_PLUGINS")


def _is_importable(name: str) -> bool:
    try:
        return name in sys.modules or importlib.util.find_spec(name.partition(".")[0]) is not None
    except ValueError:  # a module without a spec
        return True


def _modes(ctx: Context) -> Iterator[Check]:
    """Look whether others can read the files that hold secrets."""
    dot = user_home(ctx) / ".kaggle"
    files = [dot / name for name in ("access_token", "access_token.txt", "kaggle.json", "credentials.json")]
    files += [Path(ctx.env.get("XDG_CONFIG_HOME") or user_home(ctx) / ".config") / "kaggle" / "kaggle.json"]
    files += [Path(ctx.env["KAGGLE_CONFIG_DIR"]) / "kaggle.json"] if ctx.env.get("KAGGLE_CONFIG_DIR") else []
    files += [Path(ctx.env["KAGGLE_API_V1_TOKEN"])] if ctx.env.get("KAGGLE_API_V1_TOKEN") else []
    files += [ctx.configs / name for name in ("kaggle.json", "wandb.md")]
    files += [ctx.home / "ledger.db", ctx.home / "local-kaggle" / "server.json"]
    present = [path for path in files if path.is_file()]
    wide = [path for path in present if sys.platform != "win32" and path.stat().st_mode & 0o077]
    for path in wide:
        yield Check("secret files", "problem", f"{path} can be read by others", f"chmod 600 '{path}'")
    if not wide:
        yield Check("secret files", "ok", f"{len(present)} found, none of them readable by others")


def _ledger(ctx: Context) -> Iterator[Check]:
    path = ctx.home / "ledger.db"
    if not ctx.env.get("KAGG_LEDGER") and not path.exists():
        yield Check("ledger", "ok", f"{path}, made by the first run")
        return
    with shared("ledger").Ledger.open(ctx) as ledger:
        latest = ledger.runs(1)
        said = f"latest run {latest[0]['id']} ({latest[0]['status']})" if latest else "no runs"
        yield Check("ledger", "ok", f"{ledger.place}, {said}")


def _leftovers(ctx: Context) -> Iterator[Check]:
    """Look for what stopped commands left: part files here and in the results, old temporary files of KAGG_HOME."""
    parts = [*Path().glob(".*.part"), *Path("kaggle_results").rglob(".*.part")]
    before = time.time() - OLD_S
    old = [path for path in (ctx.home / "temp").rglob("*") if path.is_file() and path.stat().st_mtime < before]
    if parts:
        yield Check(
            "leftovers", "note", _some("part files", parts), "the same command goes on with them, or remove them"
        )
    if old:
        yield Check("leftovers", "note", _some("old temporary files", old), "remove them when nothing runs")
    stale = ctx.home / "local-kaggle" / "server.json"
    died = stale.exists() and not shared("kaggle.embedded").running(stale.parent)
    if died:
        yield Check("leftovers", "note", f"{stale} is of a local Kaggle that has died", f"rm '{stale}'")
    if not (parts or old or died):
        yield Check("leftovers", "ok", "none")


def _some(what: str, paths: list[Path]) -> str:
    names = ", ".join(map(str, sorted(paths)[:SHOWN_FILES]))
    return f"{len(paths)} {what}: {names}" + (", ..." if len(paths) > SHOWN_FILES else "")


MACHINE: tuple[tuple[str, Callable[[Context], Iterator[Check]]], ...] = (
    ("python", _python),
    ("home", _home),
    ("settings", _settings),
    ("packages", _packages),
    ("plugins", _plugins),
    ("secret files", _modes),
    ("ledger", _ledger),
    ("leftovers", _leftovers),
)
