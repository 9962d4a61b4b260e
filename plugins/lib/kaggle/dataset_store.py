"""Datasets of the local Kaggle as they are kept: one document per dataset, one folder of files per version.

datasets/settings.json              {"processing_s": 1.0, "zip_over_bytes": 16777216, "url_ttl_s": 3600.0}
datasets/<owner>/<slug>/
    dataset.json                    title, license, versions [{"number", "created", "ready", "notes", "total_bytes"}]
    versions/<n>/files/...          what that version holds, complete
    versions/<n>/archive.zip        all of it, made at the first download; zipped/<name>.zip: one large file
"""

from __future__ import annotations

import os
import secrets
import shutil
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import Exit, KaggError, safe_path
from plugins.lib.kaggle.walk import files_below
from plugins.lib.kaggle.wire import ApiError, from_iso, iso

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from plugins.lib.kaggle.world import World

SITE = "https://www.kaggle.com"  # what the real service puts into the URLs of its replies
# What a dataset goes through while it is processed, each for the same time; the first is the default and so left out
STAGES = ("", "BLOBS_RECEIVED", "BLOBS_DECOMPRESSED", "BLOBS_COPIED_TO_SDS", "INDIVIDUAL_BLOBS_COMPRESSED")
DENIED = "Permission 'datasets.{}' was denied"  # the real one's words, for "not yours" and "not there" alike


class Settings(NamedTuple):
    """What can be configured; kept in datasets/settings.json."""

    processing_s: float = 1.0  # from a create to READY
    zip_over_bytes: int = 16 * 1024**2  # larger single files are sent as <name>.zip; the real threshold is not known
    url_ttl_s: float = 3600.0


class Found(NamedTuple):
    """A dataset that the caller may see."""

    folder: Path
    document: dict[str, Any]

    @property
    def ref(self) -> str:
        """Return "owner/slug"."""
        return f"{self.document['owner']}/{self.document['slug']}"


def settings(world: World) -> Settings:
    """Return the settings in force."""
    saved = world.load(world.root / "datasets" / "settings.json") or {}
    return Settings(**{key: saved[key] for key in Settings._fields if key in saved})


def configure(world: World, **values: float) -> Settings:
    """Change settings, now and after a restart.

    Raises:
        ValueError: a setting that does not exist.
    """
    changed = settings(world)._replace(**values)  # type: ignore[arg-type]  # zip_over_bytes is an int by convention
    world.save(world.root / "datasets" / "settings.json", changed._asdict())
    return changed


def find(world: World, user: str | None, owner: str, slug: str) -> Found:
    """Return a dataset.

    Raises:
        ApiError: 403 when it does not exist, is private to somebody else, or was made too recently to be read; 404 for
            names that no dataset can have.
    """
    folder = world.folder("datasets", owner, slug)
    document = world.load(folder / "dataset.json")
    if document is None or not may_read(world, user, document):
        raise ApiError(403, DENIED.format("get"))
    return Found(folder, document)


def find_own(world: World, user: str | None, owner: str, slug: str, act: str) -> Found:
    """Return a dataset that `user` may change.

    Raises:
        ApiError: 401 without a user, 403 when it is not theirs or not there.
    """
    if user is None:
        raise ApiError(401, "Unauthenticated")
    document = world.load(world.folder("datasets", owner, slug) / "dataset.json")
    if document is None or document["owner"] != user:
        raise ApiError(403, DENIED.format(act))
    return Found(world.folder("datasets", owner, slug), document)


def may_read(world: World, user: str | None, document: dict[str, Any]) -> bool:
    """Say whether `user` (None: nobody in particular) may see this dataset now."""
    readable_from = document.get("readable_from")
    if readable_from and from_iso(readable_from) > world.clock():
        return False
    return not document["private"] or document["owner"] == user


def ready_versions(world: World, document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the versions that have been processed, oldest first."""
    return [version for version in document["versions"] if from_iso(version["ready"]) <= world.clock()]


def version(world: World, found: Found, number: int = 0) -> dict[str, Any]:
    """Return a processed version, the newest without a `number`.

    Raises:
        ApiError: 404, there is none.
    """
    ready = ready_versions(world, found.document)
    wanted = [candidate for candidate in ready if number in (0, candidate["number"])]
    if wanted:
        return wanted[-1]
    raise ApiError(404, f"Dataset {found.ref} has no version {number or 'that is ready'}")


def status(world: World, document: dict[str, Any]) -> str:
    """Return how far the newest version is: a DatabundleVersionStatus, "" for its default."""
    newest = document["versions"][-1]
    created, ready, now = from_iso(newest["created"]), from_iso(newest["ready"]), world.clock()
    if now >= ready:
        return "READY"
    return STAGES[max(int((now - created) / (ready - created) * len(STAGES)), 0)]


def files(found: Found, number: int) -> list[tuple[str, Path]]:
    """Return (name with forward slashes, path) of every file of a version, sorted by name."""
    folder = found.folder / "versions" / str(number) / "files"
    return [(name, folder / name) for name in sorted(files_below(folder))]


def attach(world: World, user: str | None, ref: str, number: int = 0) -> Path | None:
    """Return the folder that a kernel of `user` may mount for "owner/slug"; None when there is none (yet)."""
    owner, _, slug = ref.partition("/")
    try:
        found = find(world, user, owner, slug)
        return found.folder / "versions" / str(version(world, found, number)["number"]) / "files"
    except ApiError:
        return None


def create(world: World, owner: str, slug: str, fill: Callable[[Path], None], **about: Any) -> Found:
    """Make a dataset whose first version is what `fill` puts into the folder it gets.

    Raises:
        KaggError: USAGE, it exists already; and whatever `fill` raises. Nothing is left behind then.
    """
    folder = world.folder("datasets", owner, slug)
    now = world.clock()
    document: dict[str, Any] = {
        "owner": owner,
        "slug": slug,
        "created": iso(now),
        "versions": [],
        "downloads": 0,
        **about,
    }
    if late := world.faults.take("not_readable", f"{owner}/{slug}"):
        document["readable_from"] = iso(now + timedelta(seconds=late.get("seconds", 5)))
    staged = _stage(world, fill)
    with world.lock:
        if world.load(folder / "dataset.json") is not None:
            shutil.rmtree(staged)
            problem = f'The requested title "{document.get("title")}" is already in use by a dataset.'
            raise KaggError(f"{problem} Please choose another title.", code=Exit.USAGE)
        document["id"] = world.next_id()
        found = Found(folder, document)
        _commit(world, found, staged, "Initial release")
    return found


def add_version(
    world: World, found: Found, fill: Callable[[Path], None], notes: str, *, delete_old: bool = False
) -> int:
    """Add a version that holds exactly what `fill` puts into the folder it gets; return its number."""
    staged = _stage(world, fill)
    with world.lock:
        old = [] if not delete_old else [entry["number"] for entry in found.document["versions"]]
        number = _commit(world, found, staged, notes)
        if old:
            found.document["versions"] = found.document["versions"][-1:]
            world.save(found.folder / "dataset.json", found.document)
    for stale in old:
        shutil.rmtree(found.folder / "versions" / str(stale), ignore_errors=True)
    return number


def _stage(world: World, fill: Callable[[Path], None]) -> Path:
    """Return a folder outside of every dataset with what `fill` made of it; removed again when that fails."""
    folder = world.root / "temp" / secrets.token_hex(8)
    (folder / "files").mkdir(parents=True)
    try:
        fill(folder / "files")
        _check_not_empty(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _check_not_empty(folder: Path) -> None:
    if not any(path.is_file() for path in folder.rglob("*")):
        raise KaggError("a dataset needs at least one file", code=Exit.USAGE)


def _commit(world: World, found: Found, staged: Path, notes: str) -> int:
    """Move a staged folder to its place as the next version and write the document; the caller holds the lock."""
    now, document = world.clock(), found.document
    number = 1 + max((entry["number"] for entry in document["versions"]), default=0)
    target = found.folder / "versions" / str(number)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)  # left by a crash between the next line and the document
    staged.rename(target)
    total_bytes = 0
    for _, path in files(found, number):
        os.utime(path, (now.timestamp(), now.timestamp()))
        if document.get("private"):
            path.chmod(0o600)
        total_bytes += path.stat().st_size
    ready = now + timedelta(seconds=settings(world).processing_s)
    entry = {"number": number, "created": iso(now), "ready": iso(ready), "notes": notes, "total_bytes": total_bytes}
    document["versions"].append(entry)
    world.save(found.folder / "dataset.json", document)
    return number


def delete(world: World, found: Found) -> None:
    """Remove a dataset with all its versions."""
    with world.lock:
        (found.folder / "dataset.json").unlink(missing_ok=True)  # first: what has no document does not exist
        world.forget(found.folder)
    shutil.rmtree(found.folder, ignore_errors=True)


def seed(
    world: World, ref: str, source: Path, *, title: str = "", private: bool = False, license_name: str = "CC0-1.0"
) -> Found:
    """Make a dataset of the files below the folder `source`, or add them as a version; ready at once."""
    owner, _, slug = ref.partition("/")
    folder = world.folder("datasets", owner, slug)

    def fill(target: Path) -> None:
        for path in sorted(source.rglob("*")):
            if path.is_file() and not path.is_symlink():
                copy = safe_path(target, path.relative_to(source).as_posix())
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)

    document = world.load(folder / "dataset.json")
    if document is None:
        found = create(world, owner, slug, fill, title=title or slug, private=private, license=license_name)
    else:
        found = Found(folder, document)
        add_version(world, found, fill, "")
    with world.lock:
        found.document["versions"][-1]["ready"] = found.document["versions"][-1]["created"]
        world.save(folder / "dataset.json", found.document)
    return found
