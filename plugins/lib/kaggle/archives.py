"""Archives: zips that are the same bytes every time, and unpacking of archives that nobody vouches for."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, NamedTuple

from kagg import Exit, KaggError, safe_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

CHUNK_BYTES = 1024**2
MAX_UNPACKED_BYTES = 200 * 1000**3  # ours: about what Kaggle takes as one dataset
MAX_FILES = 1_000_000  # ours: far above any archive seen, low enough to keep the list of names in memory
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
FAST = 1  # zlib's fastest level: clients wait for the first byte while a zip is made, kagglehub 15 s at most


class Member(NamedTuple):
    """One regular file inside an archive."""

    name: str
    size_bytes: int  # as the archive claims; the copy stops one byte later
    open: Callable[[], IO[bytes]]


def stem_of_archive(name: str) -> str:
    """Return the folder name for an uploaded archive, or "" when `name` is not one by its ending."""
    for suffix in (".zip", *TAR_SUFFIXES):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return ""


def is_archive(path: Path, name: str) -> bool:
    """Say whether `path` really is the archive that its `name` promises."""
    if not stem_of_archive(name):
        return False
    return zipfile.is_zipfile(path) if name.lower().endswith(".zip") else tarfile.is_tarfile(path)


def build_zip(files: Iterable[tuple[str, Path]], dest: Path) -> None:
    """Write the named files into `dest`, in the given order, with fixed times and modes, and rename it into place."""
    dest.parent.mkdir(parents=True, exist_ok=True)
    part = dest.with_name(f".{dest.name}.{secrets.token_hex(4)}")
    try:
        with zipfile.ZipFile(part, "x", zipfile.ZIP_DEFLATED, compresslevel=FAST) as archive:
            for name, path in files:
                _add(archive, name, path)
        part.replace(dest)
    finally:
        part.unlink(missing_ok=True)


def _add(archive: zipfile.ZipFile, name: str, path: Path) -> None:
    """Add a file. Given a name only, zipfile dates every entry 1980-01-01, the earliest time a zip can hold."""
    archive.compression = zipfile.ZIP_DEFLATED if _shrinks(path) else zipfile.ZIP_STORED
    large = path.stat().st_size >= zipfile.ZIP64_LIMIT // 2  # deflate may make a file larger
    with path.open("rb") as source, archive.open(name, "w", force_zip64=large) as target:
        shutil.copyfileobj(source, target, CHUNK_BYTES)
    entry = archive.getinfo(name)  # the central directory is written at the end, with what we say here
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    entry.create_system = 3  # Unix, whatever runs this: APPNOTE.TXT 4.4.2


def _shrinks(path: Path) -> bool:
    """Say whether deflate would help, from the first 256 KiB: images and packed data only cost time."""
    with path.open("rb") as source:
        sample = source.read(256 * 1024)
    return len(zlib.compress(sample, FAST)) < 0.95 * len(sample)


def unpack(archive: Path, folder: Path, *, max_bytes: int = MAX_UNPACKED_BYTES) -> list[Path]:
    """Unpack the regular files of a zip or tar into `folder` and return them in the order of the archive.

    Everything is unpacked beside its place first: a bad archive leaves `folder` as it was.

    Raises:
        KaggError: INTEGRITY, when a name leaves the folder or appears twice, an entry is a link or encrypted, a
            checksum is wrong, or the contents are larger than `max_bytes`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=folder) as staging, _archive_errors(archive):
        names = _unpack_all(archive, folder, Path(staging), max_bytes)
        return [_settle(Path(staging) / str(number), safe_path(folder, name)) for number, name in enumerate(names)]


@contextmanager
def _archive_errors(archive: Path) -> Iterator[None]:
    """Report what the archive libraries raise on damaged or hostile input in one form."""
    # RuntimeError: an encrypted entry; NotImplementedError: a compression that this Python lacks
    kinds = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError)
    try:
        yield
    except kinds as error:
        raise KaggError(f"{archive.name} is damaged or not supported: {error}", code=Exit.INTEGRITY) from error
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        problem = f"{archive.name} has a file where another entry needs a folder: {error.filename}"
        raise KaggError(problem, code=Exit.INTEGRITY) from error


def _unpack_all(archive: Path, folder: Path, staging: Path, max_bytes: int) -> list[str]:
    names: list[str] = []
    seen: set[Path] = set()
    folders: set[Path] = set()
    left_bytes = min(max_bytes, shutil.disk_usage(folder).free)
    with _members(archive) as members:
        for member in members:
            name = str(PurePosixPath(member.name))  # "./a" and "a" are one name
            target = safe_path(folder, name)
            nested = target in folders or any(above in seen for above in target.parents)
            if target in seen or nested or len(names) >= MAX_FILES:
                problem = f"{name!r} twice" if target in seen else f"more than {MAX_FILES} files"
                problem = f"{name!r} as a file and as a folder" if nested else problem
                raise KaggError(f"{archive.name} holds {problem}", code=Exit.INTEGRITY)
            left_bytes -= _copy(member, staging / str(len(names)), left_bytes, archive)
            seen.add(target)
            folders.update(target.parents)
            names.append(name)
    return names


def _copy(member: Member, target: Path, left_bytes: int, archive: Path) -> int:
    """Copy one entry and return its size; what the archive claims about the size is not believed."""
    limit = min(left_bytes, member.size_bytes)
    copied = 0
    with member.open() as source, target.open("xb") as sink:
        while chunk := source.read(CHUNK_BYTES):
            copied += len(chunk)
            if copied > limit:
                problem = f"{archive.name} unpacks to more than it claims or may: {member.name!r} passes {limit} bytes"
                raise KaggError(problem, code=Exit.INTEGRITY)
            sink.write(chunk)
    return copied


def _settle(staged: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(staged, target)  # noqa: PTH105 - Path.replace would return a path we do not need
    return target


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[Member]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield _zip_members(opened)
    else:
        with tarfile.open(archive) as tar:
            yield _tar_members(tar)


def _zip_members(opened: zipfile.ZipFile) -> Iterator[Member]:
    for entry in opened.infolist():
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise KaggError(f"{opened.filename} holds {entry.filename!r}, not a plain file", code=Exit.INTEGRITY)
        if not entry.is_dir():
            yield Member(entry.filename, entry.file_size, lambda entry=entry: opened.open(entry))  # type: ignore[misc]


def _tar_members(tar: tarfile.TarFile) -> Iterator[Member]:
    for entry in tar:
        if entry.isdir():
            continue
        source = tar.extractfile(entry) if entry.isreg() else None
        if source is None:
            raise KaggError(f"{tar.name!r} holds {entry.name!r}, not a plain file", code=Exit.INTEGRITY)
        yield Member(entry.name, entry.size, lambda source=source: source)  # type: ignore[misc]
