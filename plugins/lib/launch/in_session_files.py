"""Put the code into the working folder, take it out again, and list what the run has written."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugins.lib.launch.in_session_base import CodeError, say

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKING = Path("/kaggle/working")  # the only folder that is kept
STARTED, SUMMARY = "session_started.json", "session_summary.json"
RESERVE, RESERVE_BYTES = ".kagg_reserve", 2 * 1024**2  # room for the summary on a disk that the run has filled
HASH_BYTES = 1024**2
ATTEMPTS = 3  # to read a file that changes meanwhile


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(HASH_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def write_whole(path: Path, document: dict[str, Any]) -> None:
    """Write JSON so that a reader sees all of it or nothing, whatever lies at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    part = path.with_name(f".{path.name}.part")
    remove(part)
    with part.open("w", encoding="utf-8") as stream:
        json.dump(document, stream, indent=1, sort_keys=True)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def remove(path: Path) -> None:
    """Remove a file, a link or a tree; one that is not there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        path.unlink()


def walk(top: Path) -> Iterator[tuple[str, Path]]:
    """Yield (POSIX path, path) of everything below `top` that is no real folder, sorted; links are not followed."""
    for root, folders, names in os.walk(top):
        here = Path(root)
        linked = [name for name in folders if (here / name).is_symlink()]
        folders[:] = sorted(set(folders) - set(linked))
        for name in sorted([*names, *linked]):
            yield (here / name).relative_to(top).as_posix(), here / name


# ---------------------------------------------------------------- the code


def verify_code(folder: Path, expected: dict[str, str]) -> None:
    """Compare every file with its SHA-256.

    Raises:
        CodeError: files are missing, changed, or there that were never sent.
    """
    present = dict(walk(folder))
    faults = [f"missing: {name}" for name in sorted(set(expected) - set(present))]
    faults += [f"not sent: {name}" for name in sorted(set(present) - set(expected))]
    for name in sorted(set(present) & set(expected)):
        if not present[name].is_file() or sha256_of(present[name]) != expected[name]:
            faults.append(f"changed: {name}")
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise CodeError(f"the code is not what was sent ({ascii('; '.join(faults[:5]))[1:-1]}{more})")


def place_code(folder: Path, names: list[str], made: list[str]) -> None:
    """Move the verified files into the working folder; append to `made` the folders that they needed.

    Raises:
        CodeError: a folder that was there already is in the way.
    """
    for name in names:
        target = WORKING / name
        for parent in reversed(list(Path(name).parents)):  # the first is "."
            if not (WORKING / parent).is_dir():
                (WORKING / parent).mkdir()
                made.append(parent.as_posix())
        if target.is_dir():
            raise CodeError(f"{target} is in the way: a folder")
        shutil.move(str(folder / name), str(target))


def remove_code(files: dict[str, str], made: list[str]) -> None:
    """Remove the code files that the run left as they were, their byte code, and the folders made that are empty."""
    for name, expected in files.items():
        path = WORKING / name
        with contextlib.suppress(OSError):
            if not path.is_symlink() and path.is_file() and sha256_of(path) == expected:
                path.unlink()
    for cache in {(WORKING / name).parent / "__pycache__" for name in files if name.endswith(".py")}:
        _remove_cache(cache, {Path(name).stem for name in files})
    for name in reversed(made):
        with contextlib.suppress(OSError):
            (WORKING / name).rmdir()


def _remove_cache(cache: Path, stems: set[str]) -> None:
    """Remove the byte code of these modules, and the folder when nothing else is in it."""
    with contextlib.suppress(OSError):
        for path in cache.iterdir():
            if path.suffix == ".pyc" and path.name.partition(".")[0] in stems:
                path.unlink()
        cache.rmdir()


# ---------------------------------------------------------------- what the run has written


def mend_names() -> None:
    """Rename files that Kaggle could not list: in names that are not UTF-8 or hold control characters, bytes to %XX."""
    for here, folders, names in os.walk(WORKING, topdown=False):
        for name in names + folders:
            good = _listable(name)
            path, target = Path(here, name), Path(here, good)
            if good != name and not os.path.lexists(target):
                with contextlib.suppress(OSError):
                    path.rename(target)
                    say(f"renamed {name!a} to {good}: Kaggle cannot list such a name")


def _listable(name: str) -> str:
    raw = os.fsencode(name)
    odd = r"[\x00-\x1f\x7f]" if not re.search("[\ud800-\udfff]", name) else r"[\x00-\x1f\x7f-\xff]"
    return re.sub(odd.encode(), lambda found: b"%%%02X" % found[0][0], raw).decode("utf-8", "replace")


def list_files() -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Return the manifest [{"path", "size_bytes", "sha256"}] and what is left out of it [{"path", "reason"}]."""
    manifest: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    for name, path in walk(WORKING):
        if name in (STARTED, SUMMARY):
            continue
        size_bytes, found = _hashed(path)
        if re.search("[\ud800-\udfff]", name):
            skipped.append({"path": ascii(name)[1:-1], "reason": "its name is not UTF-8"})
        elif size_bytes is None:
            skipped.append({"path": name, "reason": found})
        else:
            manifest.append({"path": name, "size_bytes": size_bytes, "sha256": found})
    return sorted(manifest, key=lambda entry: str(entry["path"])), skipped


def _hashed(path: Path) -> tuple[int | None, str]:
    """Return size and SHA-256 of a file, or None and why it has none."""
    for _ in range(ATTEMPTS):
        try:
            before = path.lstat()
            if not stat.S_ISREG(before.st_mode):
                return None, "a link" if stat.S_ISLNK(before.st_mode) else "not a file"
            found = sha256_of(path)
            after = path.lstat()
        except FileNotFoundError:
            return None, "it vanished"
        except OSError as error:
            return None, error.strerror or "it cannot be read"
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
            return after.st_size, found
    return None, "it keeps changing"
