"""Make sure that a process group does not outlive the process that started it, whatever kills that one."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Waits until its stdin closes, that is until whoever started it is gone, then kills the process group.
GUARD = """
import contextlib, os, shutil, signal, sys
sys.stdin.read()
with contextlib.suppress(ProcessLookupError):
    os.killpg(int(sys.argv[1]), signal.SIGKILL)
for folder in sys.argv[2:]:
    shutil.rmtree(folder, ignore_errors=True)
"""


def start_guard(group: int, *folders: Path) -> subprocess.Popen[bytes] | None:
    """Start a process that kills process group `group` and removes `folders` once this process is gone.

    Returns `None` on Windows, which has no process groups of this kind.
    The kernel's own look at its parent stops while C code holds the interpreter lock, and it spares grandchildren.
    """
    if sys.platform == "win32":
        return None
    command = [sys.executable, "-I", "-S", "-c", GUARD, str(group), *map(str, folders)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


def dismiss_guard(guard: subprocess.Popen[bytes] | None) -> None:
    """End a guard without letting it kill anything."""
    if guard is not None:
        guard.kill()
        guard.communicate()
