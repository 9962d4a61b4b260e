"""Measure the memory of a process and everything that it started."""

from __future__ import annotations

import os
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def memory_bytes(root_pid: int) -> int:
    """Return the resident memory of a process tree; 0 where there is no /proc (macOS, Windows)."""
    parents: dict[int, int] = {}
    resident: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The command name may hold anything, parentheses too: fields count from the last one, proc(5).
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        pid = int(stat.parent.name)
        parents[pid], resident[pid] = int(fields[1]), int(fields[21]) * PAGE_BYTES
    return sum(size for pid, size in resident.items() if _descends(pid, root_pid, parents))


def _descends(pid: int, root_pid: int, parents: dict[int, int]) -> bool:
    """Tell whether `pid` is `root_pid` or below it."""
    while pid not in (root_pid, 0):
        pid = parents.get(pid, 0)
    return pid == root_pid
