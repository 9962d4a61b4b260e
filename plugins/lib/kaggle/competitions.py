"""Competition data of the local Kaggle: whatever lies in <root>/competitions/<name>/.

A file `.rules-not-accepted` in that folder makes every call answer 403, as for an account that has not joined.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kagg import KaggError, safe_path
from plugins.lib.kaggle import archives, storage
from plugins.lib.kaggle.wire import ApiError, Redirect, compact, is_slug, iso, page, text

if TYPE_CHECKING:
    from pathlib import Path

    from plugins.lib.kaggle.wire import RPC
    from plugins.lib.kaggle.world import World

RULES_MARKER = ".rules-not-accepted"
URL_TTL_S = 3600.0


def _folder(world: World, user: str | None, body: dict[str, Any]) -> Path:
    """Return the folder of a competition that the caller may read."""
    name = text(body, "competitionName")
    if user is None:
        raise ApiError(401, "Unauthenticated")
    folder = world.root / "competitions" / name
    if not is_slug(name) or not folder.is_dir():
        raise ApiError(404, f"Competition {name[:80]} not found")
    if (folder / RULES_MARKER).exists():
        raise ApiError(403, "You must accept this competition's rules before you'll be able to download files.")
    return folder


def _files(folder: Path) -> list[tuple[str, Path]]:
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted((path.relative_to(folder).as_posix(), path) for path in paths)


def list_files(world: World, user: str | None, body: dict[str, Any]) -> dict[str, Any]:
    """Answer a page of the competition's files."""
    chosen, token = page(_files(_folder(world, user, body)), body, size=20, largest=200)
    return compact({"files": [_about(name, path) for name, path in chosen], "nextPageToken": token})


def _about(name: str, path: Path) -> dict[str, Any]:
    status = path.stat()
    created = iso(datetime.fromtimestamp(status.st_mtime, UTC))
    return {"ref": name, "name": name, "totalBytes": status.st_size, "creationDate": created}


def download_one(world: World, user: str | None, body: dict[str, Any]) -> Redirect:
    """Redirect to one file."""
    folder, name = _folder(world, user, body), text(body, "fileName")
    try:
        path = safe_path(folder, name)
    except KaggError as error:
        raise ApiError(404, "File not found") from error
    if not path.is_file():
        raise ApiError(404, f"File {name} not found")
    return Redirect(storage.sign(world, path, name=name, ttl_s=URL_TTL_S))


def download_all(world: World, user: str | None, body: dict[str, Any]) -> Redirect:
    """Redirect to a zip of all files, made again when one of them is newer."""
    folder = _folder(world, user, body)
    archive, listing = world.root / "temp" / f"competition-{folder.name}.zip", _files(folder)
    newest = max((path.stat().st_mtime_ns for _, path in listing), default=0)
    if not archive.exists() or archive.stat().st_mtime_ns < newest:
        archives.build_zip(listing, archive)
    return Redirect(storage.sign(world, archive, name=f"{folder.name}.zip", ttl_s=URL_TTL_S))


METHODS: dict[str, RPC] = {
    "competitions.CompetitionApiService/ListDataFiles": list_files,
    "competitions.CompetitionApiService/DownloadDataFile": download_one,
    "competitions.CompetitionApiService/DownloadDataFiles": download_all,
}
