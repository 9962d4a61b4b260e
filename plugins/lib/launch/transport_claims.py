"""Remember which runs of this machine use a dataset of code, so that the last one deletes it and none before.

KAGG_HOME/code_datasets.json (0600): {"version": 1, "datasets": {"owner/slug": ["attempt", ...]}}. A dataset that is not
there was not made here, and is nobody's to delete.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from kagg import decode_json, locked, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kagg import Context

LOCK_S = 120.0  # a deletion at Kaggle happens under the lock


class Claims:
    """The datasets made here and who uses them, while the lock is held."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.users = _read(path)

    def add(self, ref: str, attempt: str) -> None:
        """Note that an attempt uses a dataset that is made here."""
        self.users[ref] = sorted({*self.users.get(ref, ()), attempt})
        self._write()

    def others(self, ref: str, attempt: str) -> list[str]:
        """Return the other attempts that use a dataset."""
        return [user for user in self.users.get(ref, ()) if user != attempt]

    def leave(self, ref: str, attempt: str) -> None:
        """Note that an attempt does not use a dataset any more."""
        if ref in self.users:
            self.users[ref] = self.others(ref, attempt)
            self._write()

    def forget(self, ref: str) -> None:
        """Note that a dataset is gone, or not ours."""
        if self.users.pop(ref, None) is not None:
            self._write()

    def _write(self) -> None:
        text = json.dumps({"version": 1, "datasets": self.users}, indent=1, sort_keys=True)
        write_atomic(self.path, text + "\n", 0o600)


@contextlib.contextmanager
def claims(ctx: Context) -> Iterator[Claims]:
    """Hold the claims of this machine."""
    path = ctx.home / "code_datasets.json"
    with locked(path, LOCK_S):
        yield Claims(path)


def _read(path: Path) -> dict[str, list[str]]:
    """Return what is written there; a damaged file is as good as none, and costs datasets that stay."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        found = decode_json(path.read_bytes()).get("datasets")
        return {str(ref): [str(user) for user in users] for ref, users in found.items() if isinstance(users, list)}
    return {}
