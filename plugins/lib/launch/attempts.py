"""What a batch needs of runs on Kaggle: begin one, go on with one that an interrupted batch left.

Imported by every batch, so whatever needs Kaggle is imported inside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kagg import Exit, KaggError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kagg import Context
    from plugins.lib.ledger import Ledger


def new(ctx: Context, path: Path) -> str:
    """Return the id of an attempt to run `path`."""
    from plugins.lib.launch.plan import new_attempt

    return new_attempt(ctx, path)


def can_go_on(ctx: Context, attempt: str, *, again: bool = False) -> bool:
    """Tell whether an attempt's state is here, so that nothing of it need be done again; `again`: unless it is over."""
    from plugins.lib.launch.state import State

    try:
        return not (State.load(ctx, attempt).has("over") and again)
    except KaggError:
        return False


def go_on(ctx: Context, attempt: str, effect: Callable[..., Any], max_wait_s: float) -> dict[str, Any]:
    """Go on with an attempt and return its record."""
    from plugins.lib.launch.steps import resume

    return resume(ctx, attempt, effect=effect, max_wait_s=max_wait_s)


def refuse_live(ctx: Context, ledger: Ledger, attempt: str) -> None:
    """Refuse to run a job again while an earlier attempt, of other code, is live.

    Raises:
        KaggError: QUOTA, with where it runs.
    """
    from plugins.lib.launch import journal

    for one in journal.live(ctx, ledger):
        if one.attempt.attempt == attempt:
            words = f"an earlier push of this job is still {one.status.state.lower()}: {one.attempt.ref}"
            raise KaggError(words, code=Exit.QUOTA, hint=f"python kagg.py stop {attempt}; then resume again")
