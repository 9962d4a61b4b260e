"""What all parts of the program in a session share: its failures and its voice.

The builder (script.py) joins the in_session*.py files into one script: imports are gathered at the top, imports of
other parts and blocks for type checkers are left out. They run on Kaggle's image: standard library, Python 3.9 and up.
"""

from __future__ import annotations

import sys
import threading
from typing import Any


class CodeError(Exception):
    """The code cannot be fetched, or is not what was sent; the message is one line."""


class StageError(Exception):
    """The session cannot go on; `stage` is device, code, inputs or requirements, the message is one line."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage


class StoppedError(BaseException):
    """Told to stop while getting ready; `status` is killed or timeout."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


class Voice:
    """One output stream of the session; in a notebook's kernel it takes text only."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = threading.Lock()
        self.at_line_start = True

    def write(self, text: str) -> None:
        """Write text at once; a reader that is gone is no reason to stop."""
        if not text:
            return
        with self.lock:
            stream: Any = getattr(sys, self.name)
            self.at_line_start = text.endswith("\n")
            try:
                if hasattr(stream, "buffer"):
                    stream.buffer.write(text.encode("utf-8", "replace"))
                else:
                    stream.write(text)
                stream.flush()
            except (OSError, ValueError):
                return

    def line(self, text: str) -> None:
        """Write a line of its own."""
        self.write(text + "\n" if self.at_line_start else f"\n{text}\n")


STDOUT, STDERR = Voice("stdout"), Voice("stderr")


def say(text: str) -> None:
    """Tell people reading the log what happens."""
    STDERR.line("kagg: " + text)
