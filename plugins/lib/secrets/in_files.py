"""Know the secrets in the files that kagg and its clients sign in with, before anybody has read them to sign in.

What is given on a command line is written down before a run signs in, so that knowing what was read so far is too late.
"""

from __future__ import annotations

import contextlib
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import kagg

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_BYTES = 1 << 18  # of one file
KAGGLES = ("kaggle.json", "access_token", "access_token.txt", "credentials.json")
FIELDS = ("key", "access_token", "refresh_token", "api_key", "password", "token")
LINE = re.compile(r"^[ \t]*api_key:[ \t]*(\S+)[ \t]*$", re.MULTILINE)  # configs/wandb.md
NETRC = re.compile(r"\bpassword\s+(\S+)")  # gnu.org/software/inetutils/manual, The .netrc file


def secrets_in_files(env: Mapping[str, str]) -> set[str]:
    """Return what stands as a secret in the files; one that is absent or cannot be read holds none for anybody."""
    found = set[str]()
    for path in dict.fromkeys(_places(env)):
        with contextlib.suppress(OSError, ValueError):  # signing in says so
            seen = path.stat()
            if seen.st_size <= MAX_BYTES and path.is_file():
                found |= _secrets_of(str(path), seen.st_mtime_ns, seen.st_size)
    return found


def _places(env: Mapping[str, str]) -> Iterator[Path]:
    """Yield where the files may be: those of kagg.find_credentials, of plugins/track/wandb.py, and of netrc."""
    with contextlib.suppress(RuntimeError):  # a user without a home folder
        home = Path(env.get("HOME") or Path.home())
        dot, xdg = home / ".kaggle", Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "kaggle"
        for folder in (dot, xdg):
            yield from (folder / name for name in KAGGLES)
        yield Path(env.get("NETRC") or home / ".netrc")
    if named := env.get("KAGGLE_CONFIG_DIR"):
        yield Path(named, "kaggle.json")
    for name in ("KAGGLE_API_V1_TOKEN", "KAGGLE_API_TOKEN"):
        if 0 < len(value := (env.get(name) or "").strip()) < 1024:  # a path, or the token itself
            yield Path(value)
    configs = Path(env.get("KAGG_CONFIGS") or Path(kagg.__file__).resolve().parent / "configs")
    yield from (configs / name for name in ("kaggle.json", "access_token", "wandb.md"))


@lru_cache(maxsize=64)
def _secrets_of(path: str, _mtime_ns: int, _size_bytes: int) -> frozenset[str]:
    """Return the secrets of one file as it is now."""
    text = Path(path).read_text(encoding="utf-8").strip()
    name = Path(path).name
    if name.endswith(".json"):
        document = kagg.decode_json(text)
        values = [document.get(field) for field in FIELDS] if isinstance(document, dict) else []
        return frozenset(value for value in values if isinstance(value, str))
    if name == "wandb.md":
        return frozenset(value for value in LINE.findall(text) if not value.startswith("YOUR-"))
    if "machine " in text or "default " in text:  # whatever NETRC calls the file
        return frozenset(NETRC.findall(text))
    return frozenset({text} if "\n" not in text else ())
