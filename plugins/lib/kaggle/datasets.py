"""Datasets of the local Kaggle: the DatasetApiService. What is kept where is in dataset_store.py."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from kagg import KaggError, safe_path
from plugins.lib.kaggle import archives, competitions, dataset_changes, dataset_store, storage
from plugins.lib.kaggle.dataset_store import SITE, Found
from plugins.lib.kaggle.wire import ApiError, Redirect, compact, flag, number, page, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugins.lib.kaggle.wire import RPC
    from plugins.lib.kaggle.world import World

FILES_PER_PAGE, MOST_FILES_PER_PAGE = 20, 200
DATASETS_PER_PAGE, MOST_DATASETS_PER_PAGE = 20, 100


# Reading


def list_datasets(world: World, user: str | None, body: dict[str, Any]) -> dict[str, Any]:
    """Answer a page of the datasets that the caller may see, newest use first."""
    found = [Found(*item) for item in world.documents("datasets", "dataset.json")]
    wanted = [dataset for dataset in found if _is_listed(world, user, dataset, body)]
    wanted.sort(key=_order(text(body, "sortBy")))
    chosen, token = page(wanted, body, size=DATASETS_PER_PAGE, largest=MOST_DATASETS_PER_PAGE)
    return {"datasets": [_about(world, dataset) for dataset in chosen], "nextPageToken": token}


def _is_listed(world: World, user: str | None, dataset: Found, body: dict[str, Any]) -> bool:
    """Apply the filters of ListDatasets."""
    document = dataset.document
    if not dataset_store.may_read(world, user, document) or not _is_in_group(document, user, body):
        return False
    words = text(body, "search").lower().split()
    searched = f"{dataset.ref} {document['title']} {document.get('subtitle') or ''}".lower()
    size_bytes = document["versions"][-1]["total_bytes"]
    tags = {tag for tag in text(body, "tagIds").split(",") if tag}
    kind = text(body, "fileType").rpartition("_")[2].lower()
    return (
        all(word in searched for word in words)
        and number(body, "minSize") <= size_bytes <= (number(body, "maxSize") or size_bytes)
        and tags <= set(document.get("keywords") or [])
        and (kind in ("", "all") or any(name.endswith(f".{kind}") for name, _ in _newest_files(dataset)))
    )


def _newest_files(dataset: Found) -> list[tuple[str, Path]]:
    return dataset_store.files(dataset, dataset.document["versions"][-1]["number"])


def _is_in_group(document: dict[str, Any], user: str | None, body: dict[str, Any]) -> bool:
    """Apply `group` and `user`. Groups that need a website (upvoted, bookmarked, ...) are empty."""
    group = text(body, "group").removeprefix("DATASET_SELECTION_GROUP_") or "PUBLIC"
    owner = text(body, "user")
    is_mine, is_public = document["owner"] == user, not document["private"]
    in_group = {
        "PUBLIC": is_public,
        "ALL": is_public,
        "USER": True,
        "MY": is_mine,
        "MY_PRIVATE": is_mine and not is_public,
        "MY_PUBLIC": is_mine and is_public,
    }
    return in_group.get(group, False) and owner in ("", document["owner"])


def _order(sort_by: str) -> Callable[[Found], tuple[Any, ...]]:
    """Return a sort key; everything but dates means "most used first" here."""
    if sort_by.endswith(("UPDATED", "ACTIVE", "PUBLISHED")):
        which = 0 if sort_by.endswith("PUBLISHED") else -1
        return lambda dataset: (_descending(dataset.document["versions"][which]["created"]), dataset.ref)
    return lambda dataset: (-dataset.document["downloads"], dataset.ref)


def _descending(stamp: str) -> list[int]:
    return [-ord(letter) for letter in stamp]


def get_dataset(world: World, user: str | None, body: dict[str, Any]) -> dict[str, Any]:
    """Answer what is known about one dataset."""
    return _about(world, _found(world, user, body))


def _found(world: World, user: str | None, body: dict[str, Any]) -> Found:
    return dataset_store.find(world, user, text(body, "ownerSlug"), text(body, "datasetSlug"))


def _about(world: World, dataset: Found) -> dict[str, Any]:
    """Make an ApiDataset; its currentVersionNumber is the newest version that can be read."""
    document, ready = dataset.document, dataset_store.ready_versions(world, dataset.document)
    newest = ready[-1] if ready else document["versions"][-1]
    about = {
        "id": document["id"],
        "ref": dataset.ref,
        "title": document["title"],
        "subtitle": document.get("subtitle"),
        "description": document.get("description"),
        "url": f"{SITE}/datasets/{dataset.ref}",
        "totalBytes": newest["total_bytes"],
        "lastUpdated": newest["created"],
        "downloadCount": document["downloads"],
        "isPrivate": document["private"],
        "licenseName": document["license"],
        "ownerName": document["owner"],
        "ownerRef": document["owner"],
        "creatorName": document["owner"],
        "currentVersionNumber": newest["number"] if ready else None,
        "tags": [{"ref": tag, "name": tag} for tag in document.get("keywords") or []],
        "versions": [_about_version(version) for version in reversed(ready)],
    }
    return compact(about)


def _about_version(version: dict[str, Any]) -> dict[str, Any]:
    number_, created, notes = version["number"], version["created"], version["notes"]
    return compact({"versionNumber": number_, "creationDate": created, "versionNotes": notes, "status": "Ready"})


def get_status(world: World, user: str | None, body: dict[str, Any]) -> dict[str, Any]:
    """Answer how far the processing of the newest version is."""
    return compact({"status": dataset_store.status(world, _found(world, user, body).document)})


def get_metadata(world: World, user: str | None, body: dict[str, Any]) -> dict[str, Any]:
    """Answer the metadata in the form that `kaggle datasets metadata` saves."""
    dataset = _found(world, user, body)
    document = dataset.document
    info = {
        "datasetId": document["id"],
        "datasetSlug": document["slug"],
        "ownerUser": document["owner"],
        "title": document["title"],
        "subtitle": document.get("subtitle"),
        "description": document.get("description"),
        "isPrivate": document["private"],
        "totalDownloads": document["downloads"],
        "keywords": document.get("keywords"),
        "licenses": [{"name": document["license"]}],
        "data": [{"name": name, "totalBytes": path.stat().st_size} for name, path in _newest_files(dataset)],
    }
    return {"info": compact(info)}


def list_files(world: World, user: str | None, body: dict[str, Any]) -> dict[str, Any]:
    """Answer a page of a version's files; names of nested files have slashes."""
    dataset = _found(world, user, body)
    version = dataset_store.version(world, dataset, number(body, "datasetVersionNumber"))
    listing = dataset_store.files(dataset, version["number"])
    chosen, token = page(listing, body, size=FILES_PER_PAGE, largest=MOST_FILES_PER_PAGE)
    common = {"creationDate": version["created"], "datasetRef": dataset.ref, "ownerRef": dataset.document["owner"]}
    found = [{**common, "ref": name, **_about_file(name, path)} for name, path in chosen]
    return compact({"datasetFiles": found, "nextPageToken": token})


def _about_file(name: str, path: Path) -> dict[str, Any]:
    return {"name": name, "totalBytes": path.stat().st_size, "fileType": PurePosixPath(name).suffix}


def list_tree(world: World, user: str | None, body: dict[str, Any]) -> dict[str, Any]:
    """Answer a page of what lies directly in the folder `path` of a version."""
    dataset = _found(world, user, body)
    version = dataset_store.version(world, dataset, number(body, "datasetVersionNumber"))
    prefix = f"{text(body, 'path').strip('/')}/".lstrip("/")
    listing = dataset_store.files(dataset, version["number"])
    below = [(name.removeprefix(prefix), path) for name, path in listing if name.startswith(prefix)]
    folders = sorted({name.partition("/")[0] for name, _ in below if "/" in name})
    plain = [(name, path) for name, path in below if "/" not in name]
    entries: list[Any] = [*folders, *plain]
    chosen, token = page(entries, body, size=FILES_PER_PAGE, largest=MOST_FILES_PER_PAGE)
    about = {
        "directories": [{"name": entry} for entry in chosen if isinstance(entry, str)],
        "files": [
            {"name": entry[0], "totalBytes": entry[1].stat().st_size, "creationDate": version["created"]}
            for entry in chosen
            if not isinstance(entry, str)
        ],
        "totalDirectories": len(folders),
        "totalFiles": len(plain),
        "totalChildren": len(entries),
        "nextPageToken": token,
    }
    return compact(about)


# Downloading


def download(world: World, user: str | None, body: dict[str, Any]) -> Redirect:
    """Redirect to one file, or to a zip of the whole version when there is no fileName."""
    dataset = _found(world, user, body)
    number_ = dataset_store.version(world, dataset, number(body, "datasetVersionNumber"))["number"]
    settings = dataset_store.settings(world)
    name = text(body, "fileName")
    if not name:
        path, name = _whole(dataset, number_), "archive.zip"
    else:
        path = _one(dataset, number_, name)
        if path.stat().st_size > settings.zip_over_bytes and not flag(body, "raw") and path.suffix != ".zip":
            path, name = _zipped(dataset, number_, name, path), f"{name}.zip"
    with world.lock:
        dataset.document["downloads"] += 1
        world.save(dataset.folder / "dataset.json", dataset.document)
    return Redirect(storage.sign(world, path, name=name, ttl_s=settings.url_ttl_s))


def download_raw(world: World, user: str | None, body: dict[str, Any]) -> Redirect:
    """Redirect to one file as it was uploaded, however large."""
    return download(world, user, {**body, "raw": True})


def _one(dataset: Found, number_: int, name: str) -> Path:
    """Return a file of a version.

    Raises:
        ApiError: 404, no such file.
    """
    try:
        path = safe_path(dataset.folder / "versions" / str(number_) / "files", name)
    except KaggError as error:
        raise ApiError(404, "File not found") from error
    if not path.is_file():
        raise ApiError(404, f"File {name} not found in dataset {dataset.ref}")
    return path


def _whole(dataset: Found, number_: int) -> Path:
    """Return the zip of a version, made at the first call; two first calls at once both write the same bytes."""
    archive = dataset.folder / "versions" / str(number_) / "archive.zip"
    if not archive.exists():
        archives.build_zip(dataset_store.files(dataset, number_), archive)
    return archive


def _zipped(dataset: Found, number_: int, name: str, path: Path) -> Path:
    """Return the zip of one file; inside, the file has no folders: kagglehub 1.0.2 extracts it by its last name."""
    archive = dataset.folder / "versions" / str(number_) / "zipped" / f"{name}.zip"
    if not archive.exists():
        archives.build_zip([(path.name, path)], archive)
    return archive


METHODS: dict[str, RPC] = {
    "datasets.DatasetApiService/ListDatasets": list_datasets,
    "datasets.DatasetApiService/GetDataset": get_dataset,
    "datasets.DatasetApiService/GetDatasetStatus": get_status,
    "datasets.DatasetApiService/GetDatasetMetadata": get_metadata,
    "datasets.DatasetApiService/ListDatasetFiles": list_files,
    "datasets.DatasetApiService/ListTreeDatasetFiles": list_tree,
    "datasets.DatasetApiService/DownloadDataset": download,
    "datasets.DatasetApiService/DownloadDatasetRaw": download_raw,
    **dataset_changes.METHODS,
    **competitions.METHODS,
}
