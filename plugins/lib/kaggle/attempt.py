"""One attempt to run something on Kaggle: a private kernel of its own, pushed once, when a session is free."""

from __future__ import annotations

import argparse
import contextlib
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from kagg import (
    KERNELS,
    MAX_SOURCE_BYTES,
    Exit,
    KaggError,
    Ref,
    bad_input,
    hashed,
    kaggle_rpc,
    kaggle_user,
    push_body,
    push_kernel,
    refused_inputs,
    service_error,
    slugify,
)
from plugins.lib.kaggle.parameters import with_parameters
from plugins.lib.local_run import find_entry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kagg import Context

NAME_CHARS = 20  # a title holds 5 to 50 characters, and a mark of 6 follows
READABLE_S = 60.0  # a new kernel answers 403 for seconds
SLOT_PAUSE_S = (2.0, 30.0)  # between tries for a free session: the first and the longest


def delete_kernel(ctx: Context, ref: Ref, *, patience_s: float = 0.0) -> None:
    """Delete a kernel with all versions; a session that runs is stopped at once. One that is gone already is fine.

    A new kernel answers 403 for seconds, which `patience_s` waits for.
    """
    until_s = ctx.monotonic() + patience_s
    while True:
        try:
            reply = kaggle_rpc(ctx, KERNELS + "DeleteKernel", {"userName": ref.owner, "kernelSlug": ref.slug})
            break
        except KaggError as error:
            if error.details.get("status") == 404:
                return
            if error.details.get("status") != 403 or ctx.monotonic() >= until_s:
                raise
        ctx.sleep(ctx.random.uniform(1.0, 2.0))
    if message := str(reply.get("errorMessage") or ""):
        raise service_error(f"Kaggle did not delete {ref}: {message}")


def source(path: Path) -> tuple[Path, Path]:
    """Return what to push and the file in it that runs; other languages than Python are for Kaggle to refuse."""
    if path.is_dir() and (path / "kernel-metadata.json").is_file():
        return path, find_entry(path)
    entry = path if path.suffix in (".R", ".r", ".Rmd") and path.is_file() else find_entry(path)
    return entry, entry


def _title(ctx: Context, entry: Path) -> str:
    """Return a title that Kaggle turns into a slug of this attempt's own."""
    name = slugify(entry.stem)[:NAME_CHARS].strip("-").replace("-", " ") or "run"
    return f"{name} {ctx.random.randrange(16**6):06x}"


def make_body(
    ctx: Context,
    path: Path,
    options: argparse.Namespace,
    *,
    params: Mapping[str, Any],
    args: Sequence[str],
    timeout_s: float | None,
) -> dict[str, Any]:
    """Return the SaveKernel request of one attempt."""
    target, entry = source(path)
    title = _title(ctx, entry)
    given = argparse.Namespace(**vars(options))
    given.title = None if (entry.parent / "kernel-metadata.json").exists() else title
    given.timeout = f"{max(1, math.ceil(timeout_s))}s" if timeout_s is not None else None
    given.no_run = False
    body = push_body(ctx, target, given)
    body["text"] = with_parameters(ctx, body, params, args)
    if len(body["text"].encode()) > MAX_SOURCE_BYTES:
        raise bad_input(f"{entry} with its parameters exceeds {MAX_SOURCE_BYTES} bytes", "move data into a dataset")
    slug = f"{kaggle_user(ctx)}/{slugify(title)}"
    return {**body, "newTitle": title, "slug": slug, "id": None, "isPrivate": True}


def _push(ctx: Context, body: Mapping[str, Any], max_wait_s: float, allowed: Sequence[str]) -> dict[str, Any]:
    """Push once a session is free.

    Raises:
        KaggError: QUOTA when none became free within `max_wait_s`; nothing runs then.
    """
    until_s, pause_s = ctx.monotonic() + max_wait_s, SLOT_PAUSE_S[0]
    while True:
        try:
            # live or not: a refused push may be stored, and then reads as QUEUED
            return push_kernel(ctx, body, allow_live=True, allowed=allowed)
        except KaggError as error:
            left_s = until_s - ctx.monotonic()
            if error.code != Exit.QUOTA:
                raise
            if left_s <= 0:
                words, hint = f"no session became free within {max_wait_s:g} s", "give --max-wait, or see: list runs"
                raise KaggError(
                    f"{words}: {error.message}", code=Exit.QUOTA, hint=hint, details=error.details
                ) from error
            ctx.say(f"{error.message}; waiting for a free session", 0 if pause_s == SLOT_PAUSE_S[0] else 1)
        ctx.sleep(min(left_s, pause_s) * ctx.random.uniform(0.8, 1.0))
        pause_s = min(SLOT_PAUSE_S[1], 1.5 * pause_s)


def push(ctx: Context, body: Mapping[str, Any], options: argparse.Namespace, max_wait_s: float) -> dict[str, Any]:
    """Push inside `options.effect(kind, target, request)`, the caller's ledger entry, when there is one.

    Raises:
        KaggError: SERVICE when Kaggle runs it without some of its inputs; that kernel is deleted.
    """
    effect = getattr(options, "effect", None)
    request = {"source_sha256": hashed(str(body["text"]))}
    with effect("push", body["slug"], request) if effect else contextlib.nullcontext(SimpleNamespace()) as made:
        reply = _push(ctx, body, max_wait_s, getattr(options, "allow_finding", None) or [])
        made.outcome = {key: reply.get(key) for key in ("owner", "slug", "versionNumber", "url")}
        for tag in reply.get("invalidTags") or []:
            ctx.say(f"note: Kaggle does not know the tag {str(tag)!r}")
        inputs = refused_inputs({**reply, "invalidTags": []}, body)
        made.outcome["refused_inputs"] = reply["refused_inputs"] = inputs
        if inputs and not getattr(options, "allow_missing_inputs", False):
            made.outcome["deleted"] = _deleted(ctx, Ref("kaggle", reply["owner"], reply["slug"]))
            hint = "mend the names, wait until new ones are processed, or give --allow-missing-inputs"
            raise service_error(
                f"Kaggle refused {len(inputs)} inputs: {', '.join(inputs)}", hint, refused_inputs=inputs
            )
    for item in inputs:
        ctx.say(f"Kaggle runs it without {item}", -1)
    return reply


def _deleted(ctx: Context, ref: Ref) -> bool:
    """Delete the kernel of an attempt that must not go on; tell whether that worked."""
    try:
        delete_kernel(ctx, ref, patience_s=READABLE_S)
    except KaggError as error:
        ctx.say(f"{error.message}; {ref} still runs, delete it on its page", -1)
        return False
    return True
