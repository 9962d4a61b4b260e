"""A folder for what a step makes on its way, which does not outlive its process for long."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kagg import Context


@contextlib.contextmanager
def scratch(ctx: Context, kind: str) -> Iterator[Path]:
    """Give an empty folder (0700) in KAGG_HOME/temp; what killed processes left of this kind is removed first."""
    parent = ctx.home / "temp"
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f"{kind}-*"):
        found = re.fullmatch(rf"{kind}-(\d+)-\w+", left.name)
        if found and not _lives(int(found[1])):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{kind}-{os.getpid()}-", dir=parent) as folder:
        yield Path(folder)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
