"""The token with which a session reads a private repository: named by a variable, sent as a private dataset."""

from __future__ import annotations

import base64
import contextlib
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from kagg import DATASETS, Context, Exit, KaggError, bad_input, kaggle_rpc, kaggle_user, keep_secret, write_atomic
from plugins.lib.kaggle.transfer import create_dataset, create_version, wait_ready
from plugins.lib.launch.in_session_git import GIT_USER
from plugins.lib.launch.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Effect = Callable[[str, str, dict[str, Any]], contextlib.AbstractContextManager[Any]]

TOKEN_FILE = "git-token.txt"  # noqa: S105 - the name of the file
PREFIX = "kagg-token-"
SLUG_CHARS = 50  # validations of kaggle 2.2.4, dataset_create_new
CLASSIC = ("ghp_",)  # opens all of a user's repositories: docs.github.com, about-authentication-to-github


def read_token(ctx: Context, variable: str | None) -> str:
    """Return the token in an environment variable, "" when none is named.

    Raises:
        KaggError: USAGE when it is no variable's name, which may be the token itself and is not repeated; CONFIG when
            the variable is not set or holds no token.
    """
    if variable is None:
        return ""
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", variable) and variable not in ctx.env:
        keep_secret(variable)
        raise bad_input("--git-token takes the name of an environment variable, never the token",
                        "export GIT_TOKEN=...; --git-token GIT_TOKEN")  # fmt: skip
    token = (ctx.env.get(variable) or "").strip()
    if not token:
        raise KaggError(f"the variable {variable} of --git-token is not set", code=Exit.CONFIG)
    keep_secret(token)
    if not re.fullmatch(r"[\x21-\x7e]{8,4096}", token):
        raise KaggError(f"what {variable} holds is no token", code=Exit.CONFIG, hint="one word of 8 characters or more")
    keep_secret(base64.b64encode(f"{GIT_USER}:{token}".encode()).decode())
    if token.startswith(CLASSIC):
        ctx.say(f"warning: {variable} holds a classic token, which opens all of your repositories; make a fine-grained "
                "one that can read this one", -1)  # fmt: skip
    return token


def token_ref(ctx: Context, attempt: str) -> str:
    """Return the dataset of an attempt's token, "owner/slug"."""
    tail = attempt[-(SLUG_CHARS - len(PREFIX)) :].strip("-")
    return f"{kaggle_user(ctx)}/{PREFIX}{tail}"


def send_token(ctx: Context, token: str, attempt: str, effect: Effect | None) -> str:
    """Put the token into the attempt's private dataset, wait until it can be attached, and return "owner/slug".

    An attempt that is taken up again overwrites what it has sent before. On a failure the dataset is deleted.
    """
    ref = token_ref(ctx, attempt)
    ctx.say(f"warning: the git token goes to Kaggle in the private dataset {ref}; everything that runs in the session "
            "can read it, and it is deleted afterwards", -1)  # fmt: skip
    request = {"attempt": attempt, "what": "git token"}
    with effect("dataset", ref, request) if effect else contextlib.nullcontext(SimpleNamespace()) as made:
        try:
            with scratch(ctx, "token") as folder:
                path = folder / TOKEN_FILE
                write_atomic(path, token + "\n", 0o600)
                newer_than = _write(ctx, ref, path)
            wait_ready(ctx, ref, newer_than=newer_than)
        except BaseException:
            with contextlib.suppress(KaggError):
                delete_token(ctx, ref)
            raise
        made.outcome = {"ref": ref}
    return ref


def _write(ctx: Context, ref: str, path: Path) -> int:
    """Create the dataset, or its next version; return the version that must be passed."""
    title = ref.partition("/")[2].replace("-", " ")
    try:
        create_dataset(ctx, ref, title, [path], private=True)
    except KaggError as error:
        if error.code != Exit.USAGE or "exists" not in error.message:
            raise
        return int(create_version(ctx, ref, [path], delete_old=True)["previousVersion"])
    return 0


def delete_token(ctx: Context, ref: str) -> None:
    """Delete a token's dataset; nothing else is deleted by this."""
    owner, _, slug = ref.partition("/")
    if not slug.startswith(PREFIX):
        raise KaggError(f"{ref} is no dataset with a git token")
    kaggle_rpc(ctx, DATASETS + "DeleteDataset", {"ownerSlug": owner, "datasetSlug": slug})


def is_token_dataset(ref: str) -> bool:
    """Tell whether a dataset is one that holds a token."""
    return ref.partition("/")[2].startswith(PREFIX)
