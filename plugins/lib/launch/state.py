"""What one attempt on Kaggle has reached: KAGG_HOME/runs/ATTEMPT/, so that another process can go on with it.

state.json (0600, version 1): attempt, stage, path, entry, dest, params, args, wanted, and what each stage adds: code,
body, pushed, ended, record.  script.py (0600): what is pushed, from stage `script` on.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from kagg import Exit, KaggError, decode_json, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from kagg import Context

# In order; the name says what is done. `pushing` is written before the push: whether it arrived is to be found out.
STAGES = ("begun", "code", "script", "pushing", "pushed", "collected", "over")
ATTEMPT = re.compile(r"[a-z0-9][a-z0-9-]{0,80}")


class State:
    """One attempt's state on disk; `document` is changed through `reach` only."""

    def __init__(self, folder: Path, document: dict[str, Any]) -> None:
        self.folder, self.document = folder, document

    @classmethod
    def begin(cls, ctx: Context, attempt: str, **fields: Any) -> State:
        """Write the state of an attempt that begins."""
        state = cls(_folder(ctx, attempt), {"version": 1, "attempt": attempt})
        state.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        state.reach("begun", **fields)
        return state

    @classmethod
    def load(cls, ctx: Context, attempt: str) -> State:
        """Read the state of an attempt.

        Raises:
            KaggError: CONFIG when it is not here, or not readable.
        """
        folder = _folder(ctx, attempt)
        try:
            found = decode_json((folder / "state.json").read_bytes())
        except FileNotFoundError as error:
            hint = f"it was begun elsewhere, or with another KAGG_HOME; fetch its files with: output {attempt}"
            raise KaggError(f"{folder} does not know the run {attempt}", code=Exit.CONFIG, hint=hint) from error
        except (OSError, ValueError) as error:
            raise KaggError(f"cannot read {folder / 'state.json'}: {error}", code=Exit.CONFIG) from error
        if not isinstance(found, dict) or found.get("version") != 1 or found.get("stage") not in STAGES:
            raise KaggError(f"{folder / 'state.json'} is of another version of kagg, or damaged", code=Exit.CONFIG)
        return cls(folder, found)

    @property
    def attempt(self) -> str:
        """The attempt's id, which is its kernel's slug."""
        return str(self.document["attempt"])

    def has(self, stage: str) -> bool:
        """Tell whether the attempt has come this far."""
        return STAGES.index(self.document["stage"]) >= STAGES.index(stage)

    def reach(self, stage: str, **fields: Any) -> None:
        """Write that a stage is reached, and what came of it."""
        self.document |= {"stage": stage, **fields}
        text = json.dumps(self.document, indent=1, sort_keys=True, default=str)
        write_atomic(self.folder / "state.json", text + "\n", 0o600)

    @property
    def script(self) -> Path:
        """Where the script lies that is pushed."""
        return self.folder / "script.py"


def _folder(ctx: Context, attempt: str) -> Path:
    if not ATTEMPT.fullmatch(attempt):
        raise KaggError(f"{attempt[:80]!r} is no run on Kaggle", code=Exit.USAGE)
    return ctx.home / "runs" / attempt
