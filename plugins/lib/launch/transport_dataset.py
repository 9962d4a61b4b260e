"""Send the code as a private dataset that is named after its content: same code, same dataset, no second upload.

The dataset holds one file, code.bin, a tar with gzip under a name that Kaggle does not unpack. What is found under the
name is compared with the code before it is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import tempfile
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import DATASETS, Exit, KaggError, bad_input, kaggle_pages, kaggle_rpc, kaggle_user, service_error
from plugins.lib.kaggle.transfer import create_dataset, download_dataset, wait_ready
from plugins.lib.launch import transport_pack
from plugins.lib.launch.code import Code, size_words
from plugins.lib.launch.scratch import scratch
from plugins.lib.launch.transport_claims import claims

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kagg import Context
    from plugins.lib.launch.code import Tree
    from plugins.lib.launch.transport_pack import Contents

    Effect = Callable[[str, str, dict[str, Any]], contextlib.AbstractContextManager[Any]]

ARCHIVE = "code.bin"
PREFIX = "kagg-code-"
DIGITS = 20  # of SHA-256, in a slug of 50 characters at most
NAMES = 3  # tried in turn, where something else has the name
READY_S = 900.0
TAKEN = r" exists$|already in use|already exists|is taken"  # what a refusal says when a dataset has the name
NOT_THERE = (403, 404)
ABSENT = ("", "FAILED", "DELETED")  # states of a dataset that is to be made; "": nothing is to be seen
PIECE_BYTES = 1024**2


class Pack(NamedTuple):
    """Packed code on disk."""

    path: Path
    tar_sha256: str
    tar_bytes: int


class _Job(NamedTuple):
    """One upload: what, for which attempt, and the caller's ledger."""

    ctx: Context
    contents: Contents
    pack: Pack
    attempt: str
    effect: Effect | None

    def noted(self, ref: str) -> contextlib.AbstractContextManager[Any]:
        """Return the caller's entry in the ledger for the creation of a dataset."""
        request = {"attempt": self.attempt, "source_sha256": self.contents.sha256}
        return self.effect("dataset", ref, request) if self.effect else contextlib.nullcontext(SimpleNamespace())


class NotOursError(KaggError):
    """Something under the dataset's name is not this code, or cannot be replaced by it."""


def dataset_code(
    ctx: Context,
    tree: Tree,
    *,
    attempt: str,
    allowed: Iterable[str] = (),
    effect: Effect | None = None,
) -> Code:
    """Put the code into a private dataset, or find it in one, and wait until a kernel can have it.

    `effect(kind, target, request)` is the caller's entry in the ledger, around a creation.

    Raises:
        KaggError: USAGE when it is too large, or not readable; FINDINGS for a secret in it; SERVICE when Kaggle
            refuses or does not get ready.
    """
    contents = transport_pack.read_tree(tree)
    transport_pack.refuse_secrets(ctx, contents, allowed)
    with scratch(ctx, "code") as folder:
        pack = _pack(contents, folder / ARCHIVE)
        packed_bytes = pack.path.stat().st_size
        ref, made, ours = _somewhere(_Job(ctx, contents, pack, attempt, effect))
    size, words = size_words(packed_bytes), "made" if made else "found"
    return Code(
        transport="dataset",
        entry=tree.entry,
        files=contents.hashes,
        size_bytes=contents.size_bytes,
        packed_bytes=packed_bytes,
        sha256=contents.sha256,
        payload={"ref": ref, "archive": ARCHIVE, **contents.announced()},
        datasets=(ref,),
        created=(ref,) if ours else (),
        summary=f"dataset {ref} {words}, {size}, {transport_pack.count_words(contents)}",
    )


def _pack(contents: Contents, path: Path) -> Pack:
    """Write the archive."""
    digest, size_bytes = hashlib.sha256(), 0

    def seen() -> Iterable[bytes]:
        nonlocal size_bytes
        for piece in transport_pack.tar_pieces(contents.files):
            digest.update(piece)
            size_bytes += len(piece)
            yield piece

    with path.open("wb") as stream:
        stream.writelines(transport_pack.gzip_pieces(seen()))
    return Pack(path, digest.hexdigest(), size_bytes)


def _slug(sha256: str, number: int) -> str:
    """Return the name of the dataset for a content; others when the first is taken by something else."""
    digest = sha256 if not number else hashlib.sha256(f"{sha256} {number}".encode()).hexdigest()
    return PREFIX + digest[:DIGITS]


def _somewhere(job: _Job) -> tuple[str, bool, bool]:
    """Return the dataset with the code, whether it was made now, and whether it is made here, for runs."""
    problem = ""
    for number in range(NAMES):
        ref = f"{kaggle_user(job.ctx)}/{_slug(job.contents.sha256, number)}"
        try:
            return ref, *_claimed(job, ref)
        except NotOursError as error:
            job.ctx.say(f"{error.message}; trying another name")
            problem = error.message
    raise service_error(problem, "look at your datasets on Kaggle, or send the code inline or by git")


def _claimed(job: _Job, ref: str) -> tuple[bool, bool]:
    """Make or find the dataset of this name, and note that we use it; tell whether it was made now, and here."""
    with claims(job.ctx) as known:  # first: whoever deletes it now has done so before we look
        state = _state(job.ctx, ref)
        ours = ref in known.users
        if ours or state in ABSENT:
            known.add(ref, job.attempt)
    try:
        made = _ready(job, ref, state)
    except KaggError as error:
        with claims(job.ctx) as known:
            known.leave(ref, job.attempt)
            if isinstance(error, NotOursError):
                known.forget(ref)
        raise
    if not made and not ours:  # another machine has made it
        with claims(job.ctx) as known:
            known.forget(ref)
    return made, made or ours


def _ready(job: _Job, ref: str, state: str) -> bool:
    """Make or find the dataset, wait until it is readable, check it; tell whether it was made now."""
    ctx = job.ctx
    if state not in ABSENT:
        try:
            _check(job, ref, wait_ready(ctx, ref, READY_S))
        except KaggError as error:
            if error.code != Exit.FAILED:
                raise
            state = "FAILED"
        else:
            return False
    if state == "FAILED":
        ctx.say(f"{ref} was left unprocessed by an earlier run: deleted")
        _delete(ctx, ref)
    with job.noted(ref) as made:
        is_new, about = _create(job, ref)
        made.outcome = {"ref": ref, "made": is_new}
    if not is_new:
        _check(job, ref, about)
    elif not about.get("isPrivate"):
        _delete(ctx, ref)
        raise service_error(f"Kaggle made {ref} public; it was deleted", "send the code inline or by git")
    return is_new


def _create(job: _Job, ref: str) -> tuple[bool, dict[str, Any]]:
    """Create the dataset and wait for it; tell whether it is new, or was there after all, and what Kaggle says of it.

    Raises:
        NotOursError: Kaggle does not want a dataset of this name, and shows none.
    """
    ctx, title = job.ctx, ref.partition("/")[2]
    try:
        create_dataset(ctx, ref, title, [job.pack.path])
    except KaggError as error:  # it may be there: just made by another process, or by us and the reply was lost
        details = error.details
        if not details.get("unknown") and not re.search(TAKEN, error.message):
            raise
        try:
            return bool(details.get("unknown")), wait_ready(ctx, ref, READY_S)
        except KaggError:
            if details.get("unknown"):
                raise error from None
            raise NotOursError(error.message, code=Exit.SERVICE) from error
    try:
        return True, wait_ready(ctx, ref, READY_S)
    except KaggError as error:
        if error.code == Exit.FAILED:  # Kaggle could not process it: of no use to anybody
            with contextlib.suppress(KaggError):
                _delete(ctx, ref)
        raise


# ---------------------------------------------------------------- what is there


def _names(ref: str) -> dict[str, str]:
    match = re.fullmatch(r"([\w-]+)/([\w-]+)", ref)
    if match is None:
        raise bad_input(f"{ref[:100]!r} is not a dataset", "write owner/name")
    return {"ownerSlug": match[1], "datasetSlug": match[2]}


def _state(ctx: Context, ref: str) -> str:
    """Return the processing state of a dataset, "" when there is none to be seen."""
    try:
        reply = kaggle_rpc(ctx, DATASETS + "GetDatasetStatus", _names(ref))
    except KaggError as error:
        if error.details.get("status") in NOT_THERE and error.code != Exit.CONFIG:
            return ""
        raise
    return str(reply.get("status") or "NOT_YET_PERSISTED").upper()


def _check(job: _Job, ref: str, about: dict[str, Any]) -> None:
    """Compare a dataset with the packed code: private, one file, the same tar in it.

    Raises:
        NotOursError: it is something else.
    """
    ctx, pack = job.ctx, job.pack
    if not about.get("isPrivate"):
        raise NotOursError(f"{ref} is public", code=Exit.SERVICE)
    listed = list(kaggle_pages(ctx, DATASETS + "ListDatasetFiles", _names(ref), "datasetFiles", 3))
    names = [str(item.get("name") or "") for item in listed]
    most_bytes = 2 * pack.path.stat().st_size + PIECE_BYTES  # another deflate may have packed it
    if names != [ARCHIVE] or int(listed[0].get("totalBytes") or 0) > most_bytes:
        raise NotOursError(f"{ref} holds something else than this code", code=Exit.SERVICE)
    version = int(about.get("currentVersionNumber") or 0)
    with tempfile.TemporaryDirectory(dir=pack.path.parent) as folder:
        written = download_dataset(ctx, ref, Path(folder), file=ARCHIVE, version=version, max_bytes=most_bytes)
        if _tar_sha256(written[0], pack.tar_bytes) != pack.tar_sha256:
            raise NotOursError(f"{ref} holds other code than its name says", code=Exit.SERVICE)


def _tar_sha256(path: Path, size_bytes: int) -> str:
    """Return the SHA-256 of what a gzip file holds, "" when it is none or holds more than `size_bytes`."""
    digest, unpacker = hashlib.sha256(), zlib.decompressobj(zlib.MAX_WBITS | 16)
    left_bytes = size_bytes
    try:
        with path.open("rb") as stream:
            while not unpacker.eof and (piece := unpacker.unconsumed_tail or stream.read(PIECE_BYTES)):
                data = unpacker.decompress(piece, PIECE_BYTES)
                left_bytes -= len(data)
                if left_bytes < 0:
                    return ""
                digest.update(data)
    except zlib.error:
        return ""
    return digest.hexdigest() if unpacker.eof else ""


# ---------------------------------------------------------------- deleting


def delete_code_dataset(ctx: Context, ref: str, *, attempt: str = "", patience_s: float = 0.0) -> bool:
    """Delete a dataset with code when no other run of this machine uses it; one that is gone already is fine.

    Without `attempt` it is deleted whoever uses it. A new dataset answers 403 for seconds, which `patience_s` waits
    for. Returns False when others use it: the last of them deletes it.

    Raises:
        KaggError: SERVICE when Kaggle refuses.
    """
    with claims(ctx) as known:
        if attempt and known.others(ref, attempt):
            known.leave(ref, attempt)
            return False
        _delete(ctx, ref, patience_s)
        known.forget(ref)
    return True


def _delete(ctx: Context, ref: str, patience_s: float = 0.0) -> None:
    """Delete a dataset; what answers 403 and cannot be seen is gone: Kaggle says so for "not there" and "not yet"."""
    until_s = ctx.monotonic() + patience_s
    while True:
        try:
            reply = kaggle_rpc(ctx, DATASETS + "DeleteDataset", _names(ref))
            break
        except KaggError as error:
            status = error.details.get("status")
            if status == 404 or (status == 403 and not _state(ctx, ref) and ctx.monotonic() >= until_s):
                return
            if status != 403 or _state(ctx, ref):
                raise
        ctx.sleep(ctx.random.uniform(1.0, 2.0))
    if message := str(reply.get("errorMessage") or reply.get("error") or ""):
        raise service_error(f"Kaggle did not delete {ref}: {message}")
