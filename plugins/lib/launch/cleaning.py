"""What lies on Kaggle for a run: deleted when it is not needed any more, and never before its results are safe."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from kagg import KaggError, Ref
from plugins.lib.kaggle.session import delete_kernel
from plugins.lib.launch.git_token import is_token_dataset
from plugins.lib.launch.transport_dataset import delete_code_dataset

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugins.lib.launch.steps import Launch


def clean_up(launch: Launch, ref: Ref, record: Mapping[str, Any]) -> bool:
    """Delete the kernel and the datasets made for it once the results are here; tell whether nothing is left."""
    wanted = launch.plan.wanted
    made = [str(name) for name in (launch.state.document.get("code") or {}).get("created") or []]
    whole = record["verified"] or (launch.plan.plain and record["status"] == "complete")
    if wanted.keep or record.get("gone"):
        return bool(record.get("gone"))
    if not whole and record["status"] == "complete":
        return False
    _make_durable(launch)  # what is deleted on Kaggle cannot be fetched again
    targets = [("delete-kernel", f"{ref.owner}/{ref.slug}")]
    targets += [("delete-dataset", name) for name in made if not is_token_dataset(name)]
    return not [target for kind, target in targets if not deleted(launch, ref, kind, target)]


def delete_tokens(launch: Launch, ref: Ref) -> None:
    """Delete the dataset with a token, whatever became of the run."""
    made = (launch.state.document.get("code") or {}).get("created") or []
    for name in filter(is_token_dataset, map(str, made)):
        deleted(launch, ref, "delete-dataset", name)


def _make_durable(launch: Launch) -> None:
    """Wait until the results are on the disk."""
    for path in sorted((launch.dest / "output").rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())


def deleted(launch: Launch, ref: Ref, kind: str, target: str) -> bool:
    """Delete one thing on Kaggle and tell whether it is gone."""
    try:
        with launch.effect(kind, target, {"attempt": launch.state.attempt}):
            if kind == "delete-kernel":
                delete_kernel(launch.ctx, ref._replace(version=None))
            else:
                delete_code_dataset(launch.ctx, target, attempt=launch.state.attempt)
    except KaggError as error:
        launch.ctx.say(f"{target} is left on Kaggle: {error.message}; remove it with: python kagg.py reap", -1)
        return False
    return True
