"""Keep a row of the ledger for a command: before it starts, and how it ended."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from kagg import Context, Exit
from plugins.lib.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

PLUGIN = {
    "api": 1,
    "summary": "commands and their effects in the ledger",
    "requires": {"sqlalchemy": "SQLAlchemy>=2.0"},
}


class Run:
    """A row of the ledger while its command runs; set `result`, `status`, `exit_code`, `error` before it ends."""

    def __init__(self, ledger: Ledger, run_id: str) -> None:
        self.ledger, self.id = ledger, run_id
        self.status, self.exit_code, self.error = "done", 0, ""
        self.result: dict[str, Any] = {}
        self.on_interrupt = "interrupted"  # the status that Ctrl-C leaves

    def effect(self, kind: str, target: str, request: dict[str, Any]) -> contextlib.AbstractContextManager[Any]:
        """Record an effect before it happens, and its `outcome` after."""
        return self.ledger.effect(self.id, kind, target, request)


@contextlib.contextmanager
def recorded(ctx: Context, command: str, target: str, params: dict[str, Any] | None = None) -> Iterator[Run]:
    """Record a command; what it raises becomes the row's error and goes on."""
    with Ledger.open(ctx) as ledger:
        run = Run(ledger, ledger.begin_run(command, target, params=params))
        with _ended(run):
            yield run


@contextlib.contextmanager
def _ended(run: Run) -> Iterator[None]:
    """Write down how the body ended."""
    try:
        yield
    except BaseException as error:
        fault = isinstance(error, Exception)
        run.status, run.error = ("failed", str(error)) if fault else (run.on_interrupt, type(error).__name__)
        run.exit_code = int(getattr(error, "code", Exit.FAILED if fault else Exit.INTERRUPTED) or 0)
        raise
    finally:
        run.ledger.end_run(run.id, run.status, run.exit_code, error=run.error, result=run.result)


@contextlib.contextmanager
def taken_over(ctx: Context, run_id: str) -> Iterator[Run]:
    """Go on with the row of a run that has ended or whose process is gone.

    Raises:
        KaggError: USAGE when there is no such run, FAILED when a process still works on it.
    """
    with Ledger.open(ctx) as ledger:
        ledger.reopen_run(run_id)
        run = Run(ledger, run_id)
        with _ended(run):
            yield run
