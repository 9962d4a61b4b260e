"""Put keys where the clients look: ~/.kaggle/kaggle.json, ~/.kaggle/access_token, and ~/.netrc for wandb.

wandb takes WANDB_API_KEY, then its settings file, then the netrc file of NETRC, ~/.netrc or ~/_netrc
(docs.wandb.ai/ref/cli/wandb-login, 2026-11-27). Files get the mode 0600, folders that we make 0700; a link is not
written through, and another key is only replaced when that is asked for, and kept beside it.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kagg import KaggError, decode_json, host_of, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable

    from kagg import Context
    from plugins.lib.research.keys import Key

WANDB_URL = "https://api.wandb.ai"
MACHINE = r"(?m)^[ \t]*machine\s+{host}\s(?:(?!^[ \t]*(?:machine|default|macdef)\b).*\n?)*"


class Put(NamedTuple):
    """What became of a key: state is written, replaced, same, kept or problem; `backup` is the earlier file."""

    state: str
    path: Path
    note: str = ""
    backup: Path | None = None

    @property
    def usable(self) -> bool:
        """Tell whether the clients find this very key now."""
        return self.state in ("written", "replaced", "same")

    @property
    def mode(self) -> str:
        """Return the file's mode as people write it."""
        return f"{self.path.stat().st_mode & 0o777:04o}" if self.path.exists() else ""


def kaggle_folder(ctx: Context, kind: str) -> Path:
    """Return the folder of kaggle.json; that of access_token does not follow KAGGLE_CONFIG_DIR."""
    home = ctx.user_home() / ".kaggle"
    return Path(ctx.env.get("KAGGLE_CONFIG_DIR") or home) if kind == "pair" else home


def netrc_file(ctx: Context) -> Path:
    """Return the netrc file that wandb reads."""
    home = ctx.user_home()
    spare = home / "_netrc"
    return Path(
        ctx.env.get("NETRC") or (spare if spare.exists() and not (home / ".netrc").exists() else home / ".netrc")
    )


def wandb_host(ctx: Context) -> str:
    """Return the host name that wandb looks up in the netrc file."""
    return host_of(ctx.env.get("WANDB_BASE_URL") or WANDB_URL)


def put(ctx: Context, key: Key, *, force: bool) -> Put:
    """Put a key where its client looks.

    A fault of the file system is a result, too, so that the other keys get their turn.
    """
    if key.kind == "wandb":
        path, make = netrc_file(ctx), _netrc_maker(wandb_host(ctx), key.value)
    elif key.kind == "token":
        path, make = kaggle_folder(ctx, "token") / "access_token", _token_maker(key.value)
    else:
        path, make = kaggle_folder(ctx, "pair") / "kaggle.json", _pair_maker(key)
    try:
        return _put(path, make, force=force, own_folder=key.kind != "wandb")
    except (KaggError, OSError) as error:
        reason = error.message if isinstance(error, KaggError) else error.strerror
        return Put("problem", path, f"cannot be written: {reason}")


def _put(path: Path, make: Callable[[str], tuple[str, str]], *, force: bool, own_folder: bool) -> Put:
    linked = next((place for place in (path, path.parent) if place.is_symlink()), None)
    if linked:
        return Put("problem", path, f"{linked} is a link and is not written through; remove it, or use the real folder")
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    state, content = make(old)
    if state == "kept" and not force:
        return Put("kept", path, "another key is there; --force replaces it and keeps a copy")
    _make_folder(path.parent, own=own_folder)
    note = _tightened(path)
    if state == "same":
        return Put("same", path, note)
    backup = _back_up(path, old) if old and state == "kept" else None
    write_atomic(path, content, 0o600)
    if backup:
        return Put("replaced", path, f"the earlier one is in {backup}", backup)
    return Put("written", path, note)


def _make_folder(folder: Path, *, own: bool) -> None:
    """Make a folder for keys alone; an existing one of ours is closed to others."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    elif own and sys.platform != "win32" and folder.stat().st_mode & 0o077:
        folder.chmod(0o700)


def _tightened(path: Path) -> str:
    """Close a file to others and say so."""
    if sys.platform == "win32" or not path.exists() or not path.stat().st_mode & 0o077:
        return ""
    before = path.stat().st_mode & 0o777
    path.chmod(0o600)
    return f"its mode was {before:04o}"


def _back_up(path: Path, content: str) -> Path:
    """Keep the earlier content under a name that is free."""
    for number in range(1, 1000):
        copy = path.with_name(f"{path.name}.bak{number}")
        if not os.path.lexists(copy):
            write_atomic(copy, content, 0o600)
            return copy
    raise KaggError(f"{path.parent} holds too many copies of {path.name}")


def _token_maker(token: str) -> Callable[[str], tuple[str, str]]:
    """Return what compares and makes an access_token file."""

    def make(old: str) -> tuple[str, str]:
        state = "new" if not old.strip() else "same" if old.strip() == token else "kept"
        return state, token + "\n"

    return make


def _pair_maker(key: Key) -> Callable[[str], tuple[str, str]]:
    """Return what compares and makes a kaggle.json."""
    wanted = {"username": key.username, "key": key.value}

    def make(old: str) -> tuple[str, str]:
        try:
            found = decode_json(old) if old.strip() else {}
        except ValueError:
            found = None
        fields = found if isinstance(found, dict) else {}
        same = {name: fields.get(name) for name in wanted} == wanted
        state = "same" if same else "kept" if old.strip() else "new"
        return state, json.dumps(wanted) + "\n"

    return make


def _netrc_maker(host: str, password: str) -> Callable[[str], tuple[str, str]]:
    """Return what compares and makes a netrc file; the lines about other machines stay as they are."""
    entry = f"machine {host}\n  login user\n  password {password}\n"
    pattern = re.compile(MACHINE.format(host=re.escape(host)))

    def make(old: str) -> tuple[str, str]:
        found = pattern.search(old)
        if not found:
            return "new", entry + old  # before any `default`, which ends a search
        known = re.search(r"\bpassword\s+(\S+)", found[0])
        same = known is not None and known[1] == password
        return ("same" if same else "kept"), entry + pattern.sub("", old)

    return make
