"""How late log lines are seen: kagg.py logs -f beside curl -N on one stream. `python bench/kaggle_log.py [--json]`.

A kernel prints the time, one line at a time with pauses of 20 to 250 ms; lateness is the reader's clock minus that
time, so it includes the way through the kernel's pipe and the server. Both readers start while the session is queued.
The second session's stream is cut every 2 s.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from common import ROOT, Budget, add_common_arguments, private_environment, report
from local_server import OWNER, Remote, serving

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_LATE_MS = 300.0
QUEUE_S = 4.0
LIMIT_S = 60.0
STAMP = re.compile(rb"stamp (\d+) (\d+\.\d+)")
KERNEL = """
import random, time
random.seed(7)
for number in range({lines}):
    print("stamp", number, time.time(), "é\\u2028", flush=True)
    time.sleep(random.uniform(0.02, 0.25))
"""


class Reader(NamedTuple):
    """A program that prints a log as it comes, what it is given, and in how many ms it saw each line."""

    name: str
    process: subprocess.Popen[bytes]
    thread: threading.Thread
    late_ms: dict[int, float]

    @classmethod
    def start(cls, name: str, command: Sequence[str], env: Mapping[str, str], given: str = "") -> Reader:
        """Start it; its lines are read in a thread."""
        process = subprocess.Popen(command, env=dict(env), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if process.stdin:
            process.stdin.write(given.encode())
            process.stdin.close()
        late_ms: dict[int, float] = {}
        thread = threading.Thread(target=_note, args=(process, late_ms), daemon=True)
        thread.start()
        return cls(name, process, thread, late_ms)

    def end(self, lines: int) -> Reader:
        """Wait for its end.

        Raises:
            RuntimeError: a line is missing.
        """
        try:
            self.process.wait(LIMIT_S)
        finally:
            self.process.kill()
        self.thread.join(5)
        if self.process.stdout:
            self.process.stdout.close()
        if sorted(self.late_ms) != list(range(lines)):
            raise RuntimeError(f"{self.name} showed {len(self.late_ms)} of {lines} lines")
        return self

    def row(self) -> str:
        """Return one line for people."""
        late = sorted(self.late_ms.values())
        p50, p95 = statistics.median(late), late[int(0.95 * (len(late) - 1))]
        return (
            f"  {self.name:<16} first {self.late_ms[0]:7.1f}   p50 {p50:7.1f}   p95 {p95:7.1f}   max {late[-1]:7.1f} ms"
        )


def _note(process: subprocess.Popen[bytes], late_ms: dict[int, float]) -> None:
    """Compare the time in each line with the clock; a line that comes twice counts the first time."""
    for line in process.stdout or ():
        now_s = time.time()
        if match := STAMP.search(line):
            late_ms.setdefault(int(match[1]), (now_s - float(match[2])) * 1000)


def follow(remote: Remote, home: Path, slug: str) -> Reader:
    """Start our reader."""
    env = private_environment(home, KAGG_KAGGLE_URL=remote.url, **remote.account)
    return Reader.start(
        "kagg.py logs -f", [sys.executable, str(ROOT / "kagg.py"), "logs", "-f", f"{OWNER}/{slug}"], env
    )


def curl(remote: Remote, home: Path, slug: str) -> Reader:
    """Start curl; the key goes through its standard input."""
    url = f"{remote.url}/api/v1/kernels/logs/stream/{OWNER}/{slug}"
    given = f'url = "{url}"\nheader = "Authorization: {remote.authorization}"\n'
    return Reader.start("curl -N", ["curl", "-sN", "--config", "-"], private_environment(home), given)


def session(remote: Remote, home: Path, title: str, lines: int, *, beside: bool) -> list[Reader]:
    """Push a kernel and read its log with both programs, or only with ours."""
    slug = remote.push(f"Bench {title}", KERNEL.format(lines=lines))
    readers = [follow(remote, home, slug), *([curl(remote, home, slug)] if beside else [])]
    return [reader.end(lines) for reader in readers]


def measure(args: argparse.Namespace) -> int:
    """Run both sessions and report."""
    found: dict[str, list[Reader]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "home").mkdir()
        with serving(folder / "queued", QUEUE_S) as remote:
            for title, cut in (("as it comes", False), ("cut every 2 s", True)):
                if cut:
                    remote.fault(kind="cut_log", seconds=2, times=None)
                found[title] = session(remote, folder / "home", title, args.lines, beside=not cut)
    first = {title: readers[0].late_ms[0] for title, readers in found.items()}
    lines, budgets, facts = [], [], dict[str, Any](lines=args.lines, queue_s=QUEUE_S, first_ms=first)
    for title, readers in found.items():
        lines += [
            f"{title}, {args.lines} lines after {QUEUE_S:g} s in the queue",
            *(reader.row() for reader in readers),
        ]
        facts[title] = {reader.name: sorted(reader.late_ms.values()) for reader in readers}
        budgets.append(Budget(f"{title}: latest line of kagg.py, ms", max(readers[0].late_ms.values()), MAX_LATE_MS))
        if len(readers) > 1:
            ours, theirs = (statistics.median(reader.late_ms.values()) for reader in readers)
            lines.append(
                f"  kagg.py is {ours - theirs:+.1f} ms later than curl in the middle, {ours / theirs:.2f} times"
            )
    return report(args, facts, lines, budgets)


def main() -> int:
    """Measure, print, and return 1 when a budget is missed."""
    parser = argparse.ArgumentParser(description="Measure how late log lines are seen.", allow_abbrev=False)
    add_common_arguments(parser, rounds=1)
    parser.add_argument("--lines", type=int, default=60, help="lines of each session (default: %(default)s)")
    return measure(parser.parse_args())


if __name__ == "__main__":
    raise SystemExit(main())
