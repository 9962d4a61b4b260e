"""Run the user's program as a child: its output passed on as it comes, stopped in time, none of its processes left."""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

from plugins.lib.launch.in_session_base import STDERR, STDOUT, Voice

READ_BYTES = 65_536
LINE_S = 0.1  # how long the beginning of a line waits for its end
DRAIN_S = 2.0  # how long somebody else may hold the streams open after the program has ended
TICK_S = 0.1
TAIL_CHARS, TAIL_LINES = 65_536, 30
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2): whoever a child leaves behind becomes our child


class Program:
    """The user's program in a process group of its own."""

    def __init__(self, command: list[str], folder: Path, env: dict[str, str], *, speaks_events: bool) -> None:
        self.ours = descendants(os.getpid())  # somebody else's, as in a notebook's kernel
        _adopt_orphans()
        self.speaks_events = speaks_events
        self.errors = ""  # the end of what it wrote to stderr
        self.end: dict[str, Any] = {}  # the notebook runner's last event
        self.quiet = threading.Event()  # set once nothing more may be passed on
        self.process = subprocess.Popen(
            command,
            cwd=str(folder),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        _offer_to_oom_killer(self.process.pid)
        readers = [
            (self._copy_events if speaks_events else self._copy_text, self.process.stdout, STDOUT),
            (self._copy_text, self.process.stderr, STDERR),
        ]
        self.threads = [threading.Thread(target=read, args=(pipe, out), daemon=True) for read, pipe, out in readers]
        for thread in self.threads:
            thread.start()

    def _pass_on(self, text: str, voice: Voice) -> None:
        """Write what the program wrote, and remember the end of its errors."""
        if self.quiet.is_set():
            return
        voice.write(text)
        if voice is STDERR:
            self.errors = (self.errors + text)[-TAIL_CHARS:]

    def _copy_text(self, pipe: IO[bytes], voice: Voice) -> None:
        """Copy a stream, whole lines as soon as they are there; bytes that are not UTF-8 become U+FFFD."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        waiting = b""
        while piece := os.read(pipe.fileno(), READ_BYTES):
            waiting += piece
            ended = waiting.endswith((b"\n", b"\r")) or len(waiting) >= READ_BYTES
            if not ended and select.select([pipe], [], [], LINE_S)[0]:
                continue
            self._pass_on(decoder.decode(waiting), voice)
            waiting = b""
        self._pass_on(decoder.decode(waiting, final=True), voice)

    def _copy_events(self, pipe: IO[bytes], _: Voice) -> None:
        """Turn the notebook runner's events into text on the stream that each names."""
        for line in pipe:
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            if not isinstance(event, dict):
                self._pass_on(line.decode("utf-8", "replace"), STDOUT)
            elif event.get("event") == "end":
                self.end = event
            elif "stream_name" in event:
                self._pass_on(str(event.get("data", "")), STDERR if event["stream_name"] == "stderr" else STDOUT)

    def wait(self, until_s: float | None, stop: threading.Event) -> bool:
        """Wait for the end; False when `until_s` of time.monotonic() has passed or `stop` is set before it."""
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(TICK_S)
                return True
            self._reap_orphans()
            if stop.is_set() or (until_s is not None and time.monotonic() >= until_s):
                return False

    def _reap_orphans(self) -> None:
        """Let adopted processes that have ended disappear; the program itself is left to Popen."""
        with contextlib.suppress(ChildProcessError, AttributeError):  # macOS had no waitid before Python 3.13
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if ended.si_pid == self.process.pid or ended.si_pid in self.ours:
                    return
                os.waitpid(ended.si_pid, os.WNOHANG)

    def signal(self, number: int) -> None:
        """Signal the whole group; a group that is gone is no error."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def stop(self, grace_s: float) -> None:
        """Ask the group to end, then make it."""
        self.signal(signal.SIGTERM)
        if not self.wait(time.monotonic() + grace_s, threading.Event()):
            self.signal(signal.SIGKILL)

    def close(self) -> int:
        """Kill whatever is left of it, take the rest of its output, and return its exit code, negative for a signal."""
        self.signal(signal.SIGKILL)
        code = self.process.wait()
        until_s = time.monotonic() + DRAIN_S
        while left := descendants(os.getpid()) - self.ours:
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            _reap(left)
            if time.monotonic() > until_s:
                break
            time.sleep(0.01)
        for thread in self.threads:
            thread.join(DRAIN_S)
        self.quiet.set()
        return code

    def last_errors(self) -> list[str]:
        """Return the last lines of its stderr."""
        return self.errors.strip().splitlines()[-TAIL_LINES:]


def _adopt_orphans() -> None:
    """Become the parent of what the program's processes leave behind, where the system offers that."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)


def _offer_to_oom_killer(pid: int) -> None:
    """Let the system, when memory runs out, take the program and leave us to say so: proc(5), oom_score_adj."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text("500")


def _reap(pids: set[int]) -> None:
    """Take the exit codes of adopted processes, so that they disappear."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def descendants(top: int) -> set[int]:
    """Return the processes below `top`, without their threads; nothing where there is no /proc."""
    children: dict[int, set[int]] = {}
    if Path("/proc/self").resolve().name != str(os.getpid()):  # no /proc, or that of another namespace
        return set()
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            fields = (path / "stat").read_bytes().rpartition(b")")[2].split()  # the name before it may hold anything
            children.setdefault(int(fields[1]), set()).add(int(path.name))
    found: set[int] = set()
    waiting = [top]
    while waiting:
        new = children.get(waiting.pop(), set()) - found
        found |= new
        waiting.extend(new)
    return found


# ---------------------------------------------------------------- how it ended

STATUSES = {"timeout": "timeout", "kernel": "killed", "stopped": "killed"}  # by the reason of the runner's last event
ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


def _last_error(lines: list[str]) -> str:
    """Return the line of a traceback that names the exception, which may be followed by more of its text."""
    begins = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    named = (line for line in lines[begins[-1] + 1 :] if re.match(r"[A-Za-z_][\w.]*(: |$)", line)) if begins else ()
    return next(iter(named), lines[-1] if lines else "")


def verdict(program: Program, code: int, stopped: str, limit_s: float | None) -> dict[str, Any]:
    """Return status, exit_code, error, cell and traceback; `stopped` is timeout or killed when we ended it."""
    exit_code = code if code >= 0 else 128 - code  # as shells report signals
    lines = [ANSI.sub("", line) for line in program.last_errors()]
    end = program.end
    found: dict[str, Any] = {"status": "complete", "exit_code": exit_code, "error": None, "cell": None, "traceback": []}
    if code == 0 and not stopped and not end.get("reason") and (end or not program.speaks_events):
        return found
    found.update(status="error", exit_code=exit_code or 1, traceback=lines, cell=end.get("cell"))
    if stopped == "timeout":
        found.update(status="timeout", error=f"stopped after {limit_s:g} s, its time limit")
    elif stopped:
        found.update(status="killed", error="the session was told to end")
    elif end.get("reason"):
        found["status"] = STATUSES.get(str(end["reason"]), "error")
        found["error"] = end.get("traceback_last_line") or end.get("evalue")
        found["traceback"] = end.get("traceback") or lines
    elif code < 0:
        found.update(status="killed", error=f"ended by {_signal_name(-code)}")
    else:
        found["error"] = _last_error(lines) or f"exit code {code}"
    if not stopped and code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        found.update(status="killed", error="ended by SIGKILL: memory probably ran out")
    return found


def _signal_name(number: int) -> str:
    """Return the name of a signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
