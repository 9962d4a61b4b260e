"""Run pushed kernels: one process tree per session, its log on disk as it comes, killed on timeout, delete and stop."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from plugins.lib.kaggle import mishaps, proctree, staging
from plugins.lib.kaggle.mishaps import OUT_OF_MEMORY, TIMED_OUT
from plugins.lib.kaggle.sessionlog import SessionLog, copier
from plugins.lib.kaggle.wire import from_iso, iso

if TYPE_CHECKING:
    from pathlib import Path

    from plugins.lib.kaggle.sandbox import Mount
    from plugins.lib.kaggle.world import World

__all__ = ["LIVE", "OUT_OF_MEMORY", "STOPPED", "TIMED_OUT", "Limits", "Order", "Session", "Sessions"]

LIVE = ("QUEUED", "RUNNING", "CANCEL_REQUESTED")
STOPPED = "the local Kaggle was stopped"
KILLED = (-9, 128 + 9)  # SIGKILL, as a process and as a shell say it
WATCH_S = 0.5  # how often memory is looked at
JOIN_S = 10.0


class Limits(NamedTuple):
    """What one account may use. Slots, hours and memory are Kaggle's own numbers as seen in 2026."""

    cpu_slots: int = 5
    gpu_slots: int = 2
    tpu_slots: int = 1
    queue_s: float = 0.0
    session_s: float = 12 * 3600.0
    tpu_session_s: float = 9 * 3600.0
    gpu_week_s: float = 30 * 3600.0
    tpu_week_s: float = 20 * 3600.0
    memory_bytes: int = 30 * 1024**3
    push_supersedes: bool = False  # reports disagree on whether a push stops the previous version's session
    namespaces: bool = True  # False: rewrite paths even where a mount namespace would work

    def slots(self, accelerator: str) -> int:
        """Return how many sessions may be queued or running at once."""
        return {"CPU": self.cpu_slots, "GPU": self.gpu_slots, "TPU": self.tpu_slots}[accelerator]

    def week_s(self, accelerator: str) -> float:
        """Return how long GPU or TPU sessions may run in a week."""
        return self.tpu_week_s if accelerator == "TPU" else self.gpu_week_s

    def longest_s(self, accelerator: str) -> float:
        """Return the longest a session may run."""
        return self.tpu_session_s if accelerator == "TPU" else self.session_s


class Order(NamedTuple):
    """What to run: the version's folder, whose it is, on what, and with which inputs; `machine` is "" for a CPU."""

    owner: str
    slug: str
    folder: Path
    accelerator: str
    machine: str
    timeout_s: float
    language: str
    kernel_type: str
    inputs: list[Mount]

    @property
    def ref(self) -> str:
        """Return "owner/slug"."""
        return f"{self.owner}/{self.slug}"


class Session:
    """One run. `document` is versions/<n>/session.json; `finished` is set after its last write."""

    def __init__(self, world: World, order: Order, number: int) -> None:
        self.world = world
        self.order = order
        self.number = number
        self.path = order.folder / "session.json"
        self.log = SessionLog(order.folder / "log.jsonl")
        self.finished = threading.Event()
        self.document: dict[str, Any] = {
            "id": number,
            "user": order.owner,
            "state": "QUEUED",
            "accelerator": order.accelerator,
            "created": iso(world.clock()),
            "timeout_s": order.timeout_s,
        }
        self._stop = threading.Event()
        self._ending: mishaps.Ending | None = None
        self._verdict: tuple[str, str] | None = None

    @property
    def state(self) -> str:
        """QUEUED, RUNNING, COMPLETE, ..."""
        return str(self.document["state"])

    def mark(self, **fields: Any) -> None:
        """Change the document on disk and wake whoever follows the log."""
        with self.world.lock:
            self.document.update(fields)
            if self.order.folder.exists():
                self.world.save(self.path, self.document)
        self.log.wake()

    def stop(self, state: str, message: str) -> None:
        """Ask the session to end with this state; the first reason given wins."""
        if self._verdict is None:
            self._verdict = (state, message)
        self._stop.set()

    def cancel(self) -> None:
        """Stop as the owner wishes."""
        with self.world.lock:
            if self.state in LIVE:
                self.mark(state="CANCEL_REQUESTED")
        self.stop("CANCEL_ACKNOWLEDGED", "")

    def run(self) -> None:
        """Queue, run, end. Called in the session's own thread."""
        state, message = "ERROR", ""
        try:
            if not self._stop.wait(self.world.sessions.limits.queue_s):
                self.log.start_clock()
                self.mark(state="RUNNING", started=iso(self.world.clock()))
                state, message = self._execute()
        finally:
            state, message = self._verdict or (state, message)
            if fault := self.world.faults.take("log_late", self.order.ref):
                log_at = self.world.clock() + timedelta(seconds=float(fault.get("seconds", 60)))
                self.document["logAt"] = iso(log_at)
            with self.world.lock:  # whoever sees the end sees its quota too
                self.mark(state=state, failureMessage=message, ended=iso(self.world.clock()))
                self.world.sessions.record(self)
            self.log.close()
            self.finished.set()

    def _execute(self) -> tuple[str, str]:
        """Run the process; return the final state and message."""
        stage = self.world.root / "stage" / str(self.number)
        faults, ref = self.world.faults, self.order.ref
        self._ending = mishaps.ending(faults, ref)
        order = self.order._replace(machine=mishaps.device(faults, ref, self.order.machine))
        try:
            plan = staging.prepare(order, stage, self.world, namespaces=self.world.sessions.limits.namespaces)
            code = self._attend(plan)
        except staging.CannotStartError as error:
            self.log.append("stderr", str(error))
            code = 1
        finally:
            shutil.rmtree(stage, ignore_errors=True)
        if self._ending:
            self.stop(self._ending.state, self._ending.message)
            mishaps.spoil(self.order.folder / "output", self._ending.outputs)
        for line in staging.closing_lines(self.order):
            self.log.append("stderr", line)
        return self._judge(code)

    def _judge(self, code: int) -> tuple[str, str]:
        """Name the end: a SIGKILL that nobody here sent is the machine's own out-of-memory killer."""
        if code == 0:
            return "COMPLETE", ""
        if code in KILLED and self._verdict is None:
            return "ERROR", OUT_OF_MEMORY
        return "ERROR", ""

    def _attend(self, plan: staging.Plan) -> int:
        """Start the process, copy its output into the log, kill it when it must end; return its exit status."""
        process = subprocess.Popen(
            plan.argv,
            env=plan.env,
            cwd=self.order.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        with process:
            take_stdout = self._take_event if plan.speaks_events else self._append
            readers = [
                copier(process.stdout, "stdout", take_stdout),
                copier(process.stderr, "stderr", self._append),
            ]
            self._watch(process)
            _kill(process)  # whatever the session left behind in its group
            for reader in readers:
                reader.join(JOIN_S)
            return process.wait(JOIN_S)

    def _append(self, name: str, line: str, at_s: float | None = None) -> None:
        """Copy one line into the log, and end the session there when a fault says so."""
        self.log.append(name, line, at_s)
        if self._ending and self._ending.is_due(line):
            self.stop(self._ending.state, self._ending.message)

    def _take_event(self, name: str, line: str) -> None:
        """Copy one line of notebook_runner into the log; of its last, {"event": "end"}, the reason of a failure.

        What a cell raised is left out: it came as stderr already.
        """
        try:
            event = json.loads(line)
            if "stream_name" in event:
                self._append(str(event["stream_name"]), str(event["data"]), float(event["time"]))
            elif event["event"] == "end" and event["status"] != "complete" and event["reason"] != "raised":
                trace = event.get("traceback") or [event.get("evalue") or event.get("reason") or "the notebook failed"]
                self.log.append("stderr", "\n".join(trace) + "\n")
        except (ValueError, KeyError, TypeError):
            self._append(name, line)

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Return when the process has ended, or has to."""
        deadline = time.monotonic() + self.order.timeout_s
        ends_at = time.monotonic() + (self._ending.after_s if self._ending else math.inf)
        limit_bytes = self.world.sessions.limits.memory_bytes
        look = time.monotonic() + WATCH_S
        while not self._stop.is_set():
            now = time.monotonic()
            if now >= deadline:
                self.stop("CANCEL_ACKNOWLEDGED", TIMED_OUT)
                return
            if now >= ends_at:
                return
            if now >= look:
                look = now + WATCH_S
                if proctree.memory_bytes(process.pid) > limit_bytes:
                    self.stop("ERROR", OUT_OF_MEMORY)
                    return
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(min(0.1, deadline - now))
                return


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the session's process group; in a namespace everything else in it dies as well."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


class Sessions:
    """The sessions of this server: which are live, who uses how many slots and how much of the weekly quota."""

    def __init__(self, world: World, limits: Limits) -> None:
        self.world = world
        self.limits = limits
        self._live: dict[int, tuple[Session, threading.Thread]] = {}

    def start(self, order: Order) -> Session:
        """Queue a run and return its session."""
        session = Session(self.world, order, self.world.next_id())
        session.mark()
        thread = threading.Thread(target=self._run, args=(session,), name=f"session:{session.number}", daemon=True)
        with self.world.lock:
            self._live[session.number] = (session, thread)
        thread.start()
        return session

    def _run(self, session: Session) -> None:
        """Run one session and forget it."""
        try:
            session.run()
        finally:
            with self.world.lock:
                del self._live[session.number]

    def record(self, session: Session) -> None:
        """Keep accelerator time beyond the life of the kernel: deleting it does not give quota back."""
        started, ended = session.document.get("started"), session.document.get("ended")
        if session.order.accelerator == "CPU" or not started or not ended:
            return
        path = self.world.root / "usage.json"
        usage = self.world.load(path) or {"sessions": []}
        used_s = (from_iso(ended) - from_iso(started)).total_seconds()
        entry = {
            "user": session.order.owner,
            "accelerator": session.order.accelerator,
            "ended": ended,
            "seconds": used_s,
        }
        usage["sessions"].append(entry)
        self.world.save(path, usage)

    def live(self, owner: str | None = None) -> list[Session]:
        """Return the sessions that are queued or running, of one account or of all."""
        with self.world.lock:
            sessions = [session for session, _ in self._live.values()]
        return [session for session in sessions if session.state in LIVE and owner in (None, session.order.owner)]

    def live_ids(self) -> list[int]:
        """Return the ids of the sessions that are queued or running."""
        return [session.number for session in self.live()]

    def find(self, number: int) -> Session | None:
        """Return a live session by id."""
        with self.world.lock:
            return self._live[number][0] if number in self._live else None

    def at(self, folder: Path) -> Session | None:
        """Return the live session of a version's folder."""
        return next((session for session in self.live() if session.order.folder == folder), None)

    def end(self, sessions: list[Session], state: str, message: str) -> None:
        """Stop these sessions and wait until they are over."""
        until_s = time.monotonic() + JOIN_S
        for session in sessions:
            session.stop(state, message)
        for session in sessions:
            session.finished.wait(max(0.0, until_s - time.monotonic()))

    def recover(self) -> None:
        """Turn sessions that a dead server left live into ERROR. Their processes died with its end of the lifeline."""
        shutil.rmtree(self.world.root / "stage", ignore_errors=True)
        for path in (self.world.root / "kernels").glob("*/*/versions/*/session.json"):
            document = self.world.load(path)
            if document is not None and document["state"] in LIVE:
                document.update(state="ERROR", failureMessage=STOPPED, ended=iso(self.world.clock()))
                self.world.save(path, document)

    def close(self) -> None:
        """Kill every session and wait for the threads."""
        with self.world.lock:
            threads = [thread for _, thread in self._live.values()]
        self.end(self.live(), "ERROR", STOPPED)
        until_s = time.monotonic() + JOIN_S
        for thread in threads:
            thread.join(max(0.0, until_s - time.monotonic()))
