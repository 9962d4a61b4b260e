"""Datasets on Kaggle from the client's side: create, new version, wait until readable, download."""

from __future__ import annotations

import contextlib
import re
import zipfile
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

from kagg import DATASETS, REDIRECTS, Context, Exit, KaggError, Reply, kaggle_rpc, safe_path
from plugins.lib.download import download
from plugins.lib.kaggle.archives import MAX_UNPACKED_BYTES, unpack
from plugins.lib.kaggle.uploading import upload, upload_blob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

__all__ = ["create_dataset", "create_version", "download_dataset", "upload_blob", "wait_ready"]

NAME_LENGTHS, SUBTITLE_LENGTHS = range(6, 51), range(20, 81)  # validations of kaggle 2.2.4, dataset_create_new
NOT_THERE = (403, 404)  # Kaggle says 403 for "not there", "not yours" and, seconds after a create, "not yet"
READABLE_S = 120.0  # how long a new dataset may answer 403; seconds were seen


# Creating


def create_dataset(
    ctx: Context,
    ref: str,
    title: str,
    files: Sequence[Path],
    *,
    base: Path | None = None,
    private: bool = True,
    license_name: str = "CC0-1.0",
    subtitle: str = "",
    description: str = "",
    keywords: Iterable[str] = (),
) -> dict[str, Any]:
    """Upload `files` and make the dataset "owner/slug" of them; return Kaggle's reply {"ref", "url", ...}.

    Files keep the folders they have below `base`; without it all lie at the top. Kaggle unpacks .zip and .tar files.

    Raises:
        KaggError: USAGE before anything is sent when a rule is broken; SERVICE when Kaggle refuses, with
            details["unknown"] when the reply was lost and the dataset does not show up.
    """
    owner, slug = _names(ref)
    for what, value, lengths in (("slug", slug, NAME_LENGTHS), ("title", title, NAME_LENGTHS)):
        if len(value) not in lengths:
            raise KaggError(f"the dataset {what} {value!r} must have 6 to 50 characters", code=Exit.USAGE)
    if subtitle and len(subtitle) not in SUBTITLE_LENGTHS:
        raise KaggError(f"the subtitle {subtitle!r} must have 20 to 80 characters", code=Exit.USAGE)
    placed = _placed(files, base)
    if _look(ctx, ref) is not None:
        raise KaggError(f"the dataset {ref} exists", code=Exit.USAGE, hint="add a version to it")
    body = {
        "ownerSlug": owner,
        "slug": slug,
        "title": title,
        "licenseName": license_name,
        "isPrivate": private,
        "subtitle": subtitle or None,
        "description": description or None,
        "categoryIds": list(keywords),
    }
    return _change(ctx, ref, placed, lambda tree: body | tree, 0)


def create_version(
    ctx: Context,
    ref: str,
    files: Sequence[Path],
    *,
    base: Path | None = None,
    notes: str = "",
    delete_old: bool = False,
) -> dict[str, Any]:
    """Upload `files` as the next version of "owner/slug": a full snapshot, files that are not sent are gone.

    Returns Kaggle's reply and "previousVersion" for `wait_ready(newer_than=...)`: the reply itself has no number.

    Raises:
        KaggError: as `create_dataset`; SERVICE when the dataset is not there.
    """
    owner, slug = _names(ref)
    placed = _placed(files, base)
    state, about = _state(ctx, ref)
    if state != "READY":  # or a lost reply could not be told from the version that is on its way
        raise KaggError(f"{ref} is still being processed: {state}", code=Exit.SERVICE, hint="wait until it is ready")
    before = int(about.get("currentVersionNumber") or 0)
    body = {"versionNotes": notes, "deleteOldVersions": delete_old}
    reply = _change(ctx, ref, placed, lambda tree: _version_body(owner, slug, body | tree), before)
    return reply | {"previousVersion": before}


def _version_body(owner: str, slug: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"ownerSlug": owner, "datasetSlug": slug, "body": body}


def _names(ref: str) -> tuple[str, str]:
    match = re.fullmatch(r"([\w-]+)/([\w-]+)", ref)
    if match is None:
        raise KaggError(f"{ref!r} is not a dataset", code=Exit.USAGE, hint="write owner/name")
    return match[1], match[2]


def _placed(files: Sequence[Path], base: Path | None) -> dict[str, Path]:
    """Return {name in the dataset: file}, checked before anything is sent."""
    placed: dict[str, Path] = {}
    for path in files:
        if base is not None and not path.is_relative_to(base):
            raise KaggError(f"{path} is not below {base}", code=Exit.USAGE)
        name = path.name if base is None else path.relative_to(base).as_posix()
        if not path.is_file() or name in placed:
            raise KaggError(f"{path} is no file, or its name is there twice", code=Exit.USAGE)
        placed[name] = path
    if not placed:
        raise KaggError("a dataset needs at least one file", code=Exit.USAGE)
    return placed


def _change(
    ctx: Context, ref: str, placed: dict[str, Path], make_body: Callable[[dict[str, Any]], dict[str, Any]], before: int
) -> dict[str, Any]:
    """Upload, then create a dataset (`before` is 0) or version exactly once, also when the reply is lost."""
    uploads = {name: upload(ctx, path, identity=name) for name, path in sorted(placed.items())}
    body = make_body(_tree({name: done.token for name, done in uploads.items()}))
    method = "CreateDatasetVersion" if before else "CreateDataset"
    try:
        reply: dict[str, Any] = kaggle_rpc(ctx, DATASETS + method, body, idempotent=False)
    except KaggError as error:
        if 400 <= error.details.get("status", 0) < 500 and error.details["status"] not in (401, 408, 429):
            for done in uploads.values():  # it may be about a token that Kaggle has forgotten
                done.note.unlink(missing_ok=True)
        if not error.details.get("sent", True) or 400 <= error.details.get("status", 0) < 500:
            raise
        reply = _lost(ctx, ref, before, error)
    for done in uploads.values():  # also after a refusal, which may be about a token that Kaggle has forgotten
        done.note.unlink(missing_ok=True)
    if str(reply.get("status") or "").lower() != "ok":
        problem = str(reply.get("error") or "no reason given")
        raise KaggError(f"Kaggle refused {ref}: {problem}", code=Exit.SERVICE, details={"refused": True})
    return reply


def _tree(tokens: dict[str, str]) -> dict[str, Any]:
    """Return {"files": [...], "directories": [...]} for names with slashes."""
    root: dict[str, Any] = {"files": [], "directories": []}
    for name, token in tokens.items():
        node = root
        for part in name.split("/")[:-1]:
            known = [folder for folder in node["directories"] if folder["name"] == part]
            if not known:
                node["directories"].append({"name": part, "files": [], "directories": []})
            node = known[0] if known else node["directories"][-1]
        node["files"].append({"token": token})
    return root


def _state(ctx: Context, ref: str) -> tuple[str, dict[str, Any]]:
    """Return the newest version's processing state, and what GetDataset says."""
    names = dict(zip(("ownerSlug", "datasetSlug"), _names(ref), strict=True))
    state = str(kaggle_rpc(ctx, DATASETS + "GetDatasetStatus", names).get("status") or "NOT_YET_PERSISTED").upper()
    return state, kaggle_rpc(ctx, DATASETS + "GetDataset", names)


def _look(ctx: Context, ref: str) -> tuple[str, dict[str, Any]] | None:
    """Return `_state`, None when the dataset is not there or not readable."""
    try:
        return _state(ctx, ref)
    except KaggError as error:
        if error.details.get("status") in NOT_THERE and error.code != Exit.CONFIG:
            return None
        raise


def _lost(ctx: Context, ref: str, before: int, error: KaggError) -> dict[str, Any]:
    """Look whether a change whose reply was lost arrived; it is never sent again."""
    ctx.say(f"{error.message}; looking whether the change of {ref} arrived")
    for wait_s in (0.5, 1, 2, 4, 8, 15):
        ctx.sleep(wait_s)
        with contextlib.suppress(KaggError):
            state, about = _look(ctx, ref) or ("", {})
            if about and (state != "READY" or int(about.get("currentVersionNumber") or 0) > before):
                return {"ref": ref, "url": about.get("url"), "status": "Ok", "recovered": True}
    raise KaggError(
        f"the reply to the change of {ref} was lost and the dataset does not show it",
        code=Exit.SERVICE,
        hint="nothing was sent again; look at the dataset before you try again",
        details={"unknown": True},
    ) from error


def wait_ready(ctx: Context, ref: str, max_wait_s: float = 600.0, *, newer_than: int = 0) -> dict[str, Any]:
    """Wait until the newest version is READY and readable; return GetDataset's answer, with its currentVersionNumber.

    Raises:
        KaggError: FAILED when Kaggle could not process it; SERVICE when it takes longer than `max_wait_s`, or when it
            is not readable after READABLE_S seconds.
    """
    begun, pause_s = ctx.monotonic(), 0.5
    while True:
        state, about = _look(ctx, ref) or ("not readable", {})
        if state in ("FAILED", "DELETED"):
            raise KaggError(f"Kaggle could not process {ref}: {state}", code=Exit.FAILED)
        if state == "READY" and int(about.get("currentVersionNumber") or 0) > newer_than:
            return about
        waited_s = ctx.monotonic() - begun + pause_s
        if waited_s > max_wait_s or (not about and waited_s > READABLE_S):
            hint = "" if about else "the name is wrong, it is private, or it is too new to be readable"
            raise KaggError(f"{ref} is {state} after {waited_s:.0f} s", code=Exit.SERVICE, hint=hint)
        ctx.progress({"dataset": ref, "status": state})
        ctx.sleep(pause_s * ctx.random.uniform(0.8, 1.2))
        pause_s = min(pause_s * 1.5, 10.0)


# Downloading


def download_dataset(
    ctx: Context,
    ref: str,
    dest: Path,
    *,
    file: str | None = None,
    version: int = 0,
    max_bytes: int = MAX_UNPACKED_BYTES,
) -> list[Path]:
    """Download a dataset, or one `file` of it, into the folder `dest`; return what was written.

    Existing files of the same names are replaced. A whole dataset comes as one zip, which is checked and unpacked
    beside its place first: when a name in it is hostile or it unpacks to more than `max_bytes`, nothing is written.

    Raises:
        KaggError: SERVICE when it cannot be had, INTEGRITY when it is not what was promised.
    """
    owner, slug = _names(ref)
    names = {"ownerSlug": owner, "datasetSlug": slug}
    number = version or int(kaggle_rpc(ctx, DATASETS + "GetDataset", names).get("currentVersionNumber") or 0)
    request = {**names, "datasetVersionNumber": number or None, "fileName": file}
    target = None if file is None else safe_path(dest, file)
    part = dest / f".{slug}-{number}.zip" if target is None else target.with_name(f".{target.name[:100]}.kaggle")
    seen: list[str] = []

    def get_url() -> str:
        reply: Reply = kaggle_rpc(ctx, DATASETS + "DownloadDataset", request, follow=False, ok=REDIRECTS)
        seen.append(urljoin(reply.url, reply.headers.get("Location") or ""))
        return seen[-1]

    download(ctx, get_url, part)
    try:
        return _placed_download(part, dest, target, unquote(urlsplit(seen[-1]).path.rpartition("/")[2]), max_bytes)
    finally:
        part.unlink(missing_ok=True)


def _placed_download(part: Path, dest: Path, target: Path | None, sent_as: str, max_bytes: int) -> list[Path]:
    """Put a finished download where it belongs. Kaggle sends large single files as <name>.zip, the URL tells."""
    if target is None:
        if not zipfile.is_zipfile(part):
            raise KaggError("the dataset did not come as a zip", code=Exit.INTEGRITY)
        return unpack(part, dest, max_bytes=max_bytes)
    if sent_as == f"{target.name}.zip" and zipfile.is_zipfile(part):
        return _one_inside(part, target, max_bytes)
    return [part.replace(target)]


def _one_inside(part: Path, target: Path, max_bytes: int) -> list[Path]:
    with zipfile.ZipFile(part) as archive:
        inside = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    if inside != [target.name]:
        raise KaggError(f"{target.name}.zip holds {inside[:3]}, not {target.name!r}", code=Exit.INTEGRITY)
    return unpack(part, target.parent, max_bytes=max_bytes)
