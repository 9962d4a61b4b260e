"""Datasets of the local Kaggle: create, new version, new metadata, delete.

A refusal by rule (title, slug, files) is an answer with HTTP status 200, "status": "error" and a text.
"""

from __future__ import annotations

import functools
import os
import shutil
from typing import TYPE_CHECKING, Any

from kagg import Exit, KaggError, safe_path
from plugins.lib.kaggle import archives, blobs, dataset_store
from plugins.lib.kaggle.dataset_store import SITE, Found
from plugins.lib.kaggle.wire import ApiError, flag, is_slug, names, number, slugify, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from plugins.lib.kaggle.wire import RPC
    from plugins.lib.kaggle.world import World

MAX_DEPTH = 64  # folders in folders; JSON from a client must not end in a RecursionError
NAME_LENGTHS = range(6, 51)  # slug and title: validations of kaggle 2.2.4, dataset_create_new
SUBTITLE_LENGTHS = range(20, 81)  # the same


def _answered(change: Callable[[World, str | None, dict[str, Any]], Found]) -> RPC:
    """Wrap a change so that it answers an ApiCreateDatasetResponse, also when a rule refuses it."""

    @functools.wraps(change)
    def answer(world: World, user: str | None, body: dict[str, Any]) -> dict[str, Any]:
        try:
            dataset = change(world, user, body)
        except KaggError as error:
            return {"status": "error", "error": error.message, "invalidTags": []}
        tags = [tag for tag in names(body.get("body") or body, "categoryIds") if not is_slug(tag)]
        url = f"{SITE}/datasets/{dataset.ref}"
        return {"ref": dataset.ref, "url": url, "status": "Ok", "error": "", "invalidTags": tags}

    return answer


def create(world: World, user: str | None, body: dict[str, Any]) -> Found:
    """Create a dataset of finished uploads."""
    owner = text(body, "ownerSlug") or user
    if user is None:
        raise ApiError(401, "Unauthenticated")
    if owner != user:
        raise ApiError(403, dataset_store.DENIED.format("create"))
    title = text(body, "title")
    slug = text(body, "slug") or slugify(title)
    for what, value in (("slug", slug), ("title", title)):
        if len(value) not in NAME_LENGTHS:
            raise KaggError(f"The dataset {what} must be between 6 and 50 characters", code=Exit.USAGE)
    if not is_slug(slug):
        raise KaggError(f"Invalid dataset slug {slug!r}", code=Exit.USAGE)
    about = {"title": title, "license": text(body, "licenseName") or "unknown", "private": flag(body, "isPrivate")}
    fill = functools.partial(_fill, world, user, body)
    found = dataset_store.create(world, user, slug, fill, **about, **_texts(body))
    blobs.spend(world, _tokens(body))
    return found


def _texts(body: dict[str, Any]) -> dict[str, Any]:
    """Return what a new dataset and a new version may both say about the dataset."""
    subtitle = text(body, "subtitle")
    if subtitle and len(subtitle) not in SUBTITLE_LENGTHS:
        raise KaggError("Subtitle length must be between 20 and 80 characters", code=Exit.USAGE)
    keywords = [tag for tag in names(body, "categoryIds") if is_slug(tag)]
    said = {"subtitle": subtitle, "description": text(body, "description"), "keywords": keywords}
    return {key: value for key, value in said.items() if value}


def create_version(world: World, user: str | None, body: dict[str, Any]) -> Found:
    """Add a version to the dataset named by ownerSlug and datasetSlug."""
    owner, slug = text(body, "ownerSlug"), text(body, "datasetSlug")
    return _add_version(world, user, dataset_store.find_own(world, user, owner, slug, "update"), body)


def create_version_by_id(world: World, user: str | None, body: dict[str, Any]) -> Found:
    """Add a version to the dataset with this number."""
    wanted = number(body, "id")
    for _, document in world.documents("datasets", "dataset.json"):
        if document["id"] == wanted:
            dataset = dataset_store.find_own(world, user, document["owner"], document["slug"], "update")
            return _add_version(world, user, dataset, body)
    raise ApiError(403, dataset_store.DENIED.format("update"))


def _add_version(world: World, user: str | None, dataset: Found, request: dict[str, Any]) -> Found:
    body = request.get("body")
    if not isinstance(body, dict) or user is None:
        raise ApiError(400, "Invalid value for body: expected an object")
    texts = _texts(body)
    fill = functools.partial(_fill, world, user, body)
    delete_old = flag(body, "deleteOldVersions")
    dataset_store.add_version(world, dataset, fill, text(body, "versionNotes"), delete_old=delete_old)
    blobs.spend(world, _tokens(body))
    _update(world, dataset, texts)
    return dataset


def _update(world: World, dataset: Found, changes: dict[str, Any]) -> None:
    with world.lock:
        dataset.document.update(changes)
        world.save(dataset.folder / "dataset.json", dataset.document)


def _fill(world: World, user: str, body: dict[str, Any], folder: Path, depth: int = 0) -> None:
    """Lay out uploaded files in `folder` as files[] and directories[] say."""
    if depth > MAX_DEPTH:
        raise KaggError(f"more than {MAX_DEPTH} folders in folders", code=Exit.USAGE)
    folder.mkdir(exist_ok=True)
    for item in _objects(body, "files"):
        name, data = blobs.claim(world, user, text(item, "token"))
        _place(folder, name, data)
    for item in _objects(body, "directories"):
        target = safe_path(folder, text(item, "name"))
        if target.parent != folder or target.is_file():
            raise KaggError(f"{text(item, 'name')!r} cannot be a folder here", code=Exit.USAGE)
        _fill(world, user, item, target, depth + 1)


def _tokens(body: dict[str, Any]) -> Iterator[str]:
    """Yield the uploads that `_fill` has laid out."""
    yield from (text(item, "token") for item in _objects(body, "files"))
    for item in _objects(body, "directories"):
        yield from _tokens(item)


def _objects(body: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = body.get(key) or []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ApiError(400, f"Invalid value for {key}: expected a list of objects")
    return value


def _place(folder: Path, name: str, data: Path) -> None:
    """Put an upload into `folder`: an archive unpacked into a folder of its name, anything else as it is."""
    unpacked = archives.is_archive(data, name)
    target = safe_path(folder, archives.stem_of_archive(name) if unpacked else name)
    if target.exists():
        raise KaggError(f"{target.name!r} is in the dataset twice", code=Exit.USAGE)
    if unpacked:
        archives.unpack(data, target)
        return
    try:
        os.link(data, target)  # no second copy: a finished upload never changes
    except OSError:
        shutil.copyfile(data, target)


def update_metadata(world: World, user: str | None, body: dict[str, Any]) -> dict[str, Any]:
    """Change title, texts, licence and visibility; answer what is wrong with the new ones."""
    owner, slug = text(body, "ownerSlug"), text(body, "datasetSlug")
    dataset = dataset_store.find_own(world, user, owner, slug, "update")
    settings = body.get("settings")
    if not isinstance(settings, dict):
        raise ApiError(400, "Invalid value for settings: expected an object")
    title, licenses = text(settings, "title"), _objects(settings, "licenses")
    if title and len(title) not in NAME_LENGTHS:
        return {"errors": ["The dataset title must be between 6 and 50 characters"]}
    if len(licenses) > 1:
        return {"errors": ["Please specify exactly one license"]}
    try:
        changes = _texts({**settings, "categoryIds": settings.get("keywords")})
    except KaggError as error:
        return {"errors": [error.message]}
    new_license = text(licenses[0], "name") if licenses else ""
    named = {"title": title, "license": new_license}
    changes.update({key: value for key, value in named.items() if value}, private=flag(settings, "isPrivate"))
    _update(world, dataset, changes)
    return {"errors": []}


def delete(world: World, user: str | None, body: dict[str, Any]) -> dict[str, Any]:
    """Delete a dataset."""
    owner, slug = text(body, "ownerSlug"), text(body, "datasetSlug")
    dataset_store.delete(world, dataset_store.find_own(world, user, owner, slug, "delete"))
    blobs.spend(world)
    return {}


METHODS: dict[str, RPC] = {
    "datasets.DatasetApiService/CreateDataset": _answered(create),
    "datasets.DatasetApiService/CreateDatasetVersion": _answered(create_version),
    "datasets.DatasetApiService/CreateDatasetVersionById": _answered(create_version_by_id),
    "datasets.DatasetApiService/UpdateDatasetMetadata": update_metadata,
    "datasets.DatasetApiService/DeleteDataset": delete,
}
