"""Start kagg from a .pyz: unpack it once into KAGG_HOME/cache/pyz/<digest>, check every file, run it from there.

This file becomes `__main__.py` of kagg.pyz. Rooms are found by their path and children are started by theirs, so the
program needs real files. MANIFEST holds one `<sha256>  <name>` line per file, in the form `sha256sum -c` reads; the
SHA-256 of MANIFEST itself names the folder, so two versions never share one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG_EXIT = 10  # Exit.CONFIG in kagg.py, which cannot be imported before it is unpacked
IS_POSIX = os.name == "posix"


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold the lock file `path` against other processes; the system frees it when this one dies."""
    with path.open("a+b") as file:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def names_under(folder: Path) -> set[str]:
    """Return the files below `folder`, as paths with `/`, except the byte code that Python itself adds."""
    found: set[str] = set()
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        found.update(Path(here, name).relative_to(folder).as_posix() for name in files)
    return found


def is_private(folder: Path) -> bool:
    """Say whether `folder` is a real folder that only this user can enter; always true where modes say nothing."""
    seen = folder.lstat()
    return not IS_POSIX or (seen.st_mode & 0o170777 == 0o040700 and seen.st_uid == os.getuid())


def is_intact(folder: Path, expected: dict[str, str]) -> bool:
    """Say whether `folder` is private and holds exactly the files of `expected`, a mapping from name to SHA-256."""
    try:
        return (
            is_private(folder)
            and all(
                hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest for name, digest in expected.items()
            )
            and names_under(folder) == set(expected)
        )
    except OSError:
        return False


def unpack(folder: Path, expected: dict[str, str], loader: Any) -> None:
    """Write every file to a neighbour of `folder`, then rename it into place; what was there before is removed."""
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory(prefix="unpack-", dir=folder.parent) as scratch:
        fresh = Path(scratch, "new")
        fresh.mkdir(mode=0o700)
        for name in expected:
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(loader.get_data(os.path.join(loader.archive, name)))  # noqa: PTH118 - the loader takes text
        with contextlib.suppress(FileNotFoundError):
            folder.rename(Path(scratch, "old"))
        fresh.rename(folder)
        shutil.rmtree(Path(scratch, "old"), ignore_errors=True)


def prepare(loader: Any) -> Path:
    """Return the folder that holds this archive unpacked; unpack it when there is none or when a file differs."""
    manifest: bytes = loader.get_data(os.path.join(loader.archive, "MANIFEST"))  # noqa: PTH118 - the loader takes text
    expected = {name: digest for digest, _, name in (line.partition("  ") for line in manifest.decode().splitlines())}
    home = Path(os.environ.get("KAGG_HOME") or Path("~/.kagg").expanduser()).absolute()
    folder = home / "cache" / "pyz" / hashlib.sha256(manifest).hexdigest()
    if not is_intact(folder, expected):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with only_one(folder.parent / "lock"):
            if not is_intact(folder, expected):  # another process may have been first
                unpack(folder, expected, loader)
    return folder


def start(loader: Any) -> None:
    """Unpack, then hand over to kagg.py; endpoints.json defaults to the folder of the .pyz."""
    archive = Path(loader.archive).absolute()
    try:
        folder = prepare(loader)
    except OSError as error:
        hint = "set KAGG_HOME to a folder you can write"
        sys.stderr.write(f"kagg: error: cannot unpack {archive.name}: {error}; {hint}\n")
        raise SystemExit(CONFIG_EXIT) from None
    os.environ.setdefault("KAGG_ENDPOINTS", str(archive.parent / "endpoints.json"))
    os.environ.setdefault("KAGG_CONFIGS", str(archive.parent / "configs"))
    sys.path[0] = str(folder)
    import kagg

    kagg.script()


if __name__ == "__main__":
    start(globals()["__loader__"])
