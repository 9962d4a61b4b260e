"""The program that a pushed kernel runs around the user's code: get ready, run it, leave a verified record.

It runs on Kaggle's image as part of a script made by script.py, which puts the other in_session_*.py files and exactly
one that defines `fetch_code(payload, folder, say)` before it, and CONFIG, PAYLOAD and RUNNER beside it. What it leaves
in the working folder: the files that the user's program wrote, session_started.json, and, last of all,
session_summary.json; then it prints `KAGG-EXIT <run id> <exit code>`.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugins.lib.launch.in_session_base import STDOUT, CodeError, StageError, StoppedError, say
from plugins.lib.launch.in_session_device import check_device
from plugins.lib.launch.in_session_files import (
    RESERVE,
    RESERVE_BYTES,
    STARTED,
    SUMMARY,
    WORKING,
    list_files,
    mend_names,
    place_code,
    remove,
    remove_code,
    verify_code,
    write_whole,
)
from plugins.lib.launch.in_session_inline import fetch_code
from plugins.lib.launch.in_session_inputs import find_inputs
from plugins.lib.launch.in_session_process import Program, verdict
from plugins.lib.launch.in_session_requirements import install
from plugins.lib.launch.in_session_watch import TEMP, Checkpoints

if TYPE_CHECKING:
    from collections.abc import Iterable

RUNNER_ENTRY = "plugins/lib/notebook_runner.py"


class Session:
    """One run from its first second to its summary."""

    def __init__(self, config: dict[str, Any], payload: dict[str, Any], runner: str) -> None:
        self.config, self.payload, self.runner = config, payload, runner
        self.files = {line[66:]: line[:64] for line in config["files"]}  # path: SHA-256
        self.began, self.began_s = time.time(), time.monotonic()
        self.stage = ""  # where it is while getting ready
        self.ready_s: float | None = None
        self.ended_s: float | None = None
        self.told = threading.Event()  # somebody wants the session to end
        self.getting_ready = True
        self.device: dict[str, Any] = {"kind": config["device"], "accelerator": config["accelerator"], "found": []}
        self.device["simulated"] = False
        self.inputs: dict[str, str] = {}
        self.made_folders: list[str] = []
        self.base = Path()

    # ------------------------------------------------------------ signals

    def listen(self) -> None:
        """Take SIGTERM, SIGINT and, while getting ready, the end of our time as reasons to stop."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            with contextlib.suppress(ValueError):  # not in the main thread
                signal.signal(number, self._hear)
        if self.config["limit_s"]:
            signal.setitimer(signal.ITIMER_REAL, max(0.001, self._left_s() or 0.001))

    def _hear(self, number: int, _frame: Any) -> None:
        if number != signal.SIGALRM:
            self.told.set()
        if self.getting_ready:
            self.getting_ready = False
            raise StoppedError("timeout" if number == signal.SIGALRM else "killed")

    def _left_s(self) -> float | None:
        """Return the seconds left of the session's own limit, None without one."""
        limit_s = self.config["limit_s"]
        return self.began_s + limit_s - time.monotonic() if limit_s else None

    # ------------------------------------------------------------ getting ready

    def prepare(self) -> None:
        """Do everything that must be done before the user's program may start.

        Raises:
            StageError, CodeError, StoppedError: it may not.
        """
        WORKING.mkdir(parents=True, exist_ok=True)
        os.chdir(WORKING)
        (WORKING / RESERVE).write_bytes(b"\0" * RESERVE_BYTES)
        self.base = Path(tempfile.mkdtemp(prefix="kagg-", dir=_scratch_folder()))
        for name in ("code", "runner", "work"):
            (self.base / name).mkdir()
        self._announce()
        say(f"Python {sys.version.split()[0]}, kagg {self.config['kagg_version']}, run {self.config['run_id']}")
        self.stage = "device"
        if self.config["device"] != "cpu":
            self.device = check_device(self.config["device"], self.config["accelerator"])
        self.stage = "inputs"
        if self.config["inputs"]:
            self.inputs = find_inputs(self.config["inputs"])
        self.stage = "code"
        fetch_code(self.payload, self.base / "code", say)
        verify_code(self.base / "code", self.files)
        place_code(self.base / "code", list(self.files), self.made_folders)
        if self.runner:
            _unpack_runner(self.runner, self.base / "runner")
        self.stage = "requirements"
        install(self.config["requirements"], self.config["requirements_file"], self.base)
        self.stage = ""
        self._announce()  # again: the code may hold a file of this name

    def _announce(self) -> None:
        """Write down that the session has begun."""
        facts = {name: self.config[name] for name in ("run_id", "source_sha256", "kagg_version")}
        write_whole(WORKING / STARTED, {"version": 1, "started": iso(self.began), **facts})

    def command(self) -> list[str]:
        """Return the command line of the user's program."""
        entry, params = WORKING / self.config["entry"], self.config["params"]
        if not self.runner:
            texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in params.items()}
            given = [f"--{name}={text}" for name, text in texts.items()]
            return [sys.executable, "-u", str(entry), *given, *self.config["args"]]
        runner = self.base / "runner" / RUNNER_ENTRY
        command = [sys.executable, str(runner), str(entry), str(WORKING / "executed.ipynb"), "--cwd", str(WORKING)]
        command += ["--path", str(entry.parent)]
        return command + (["--params", str(self.base / "params.json")] if params else [])

    def environment(self) -> dict[str, str]:
        """Return the environment of the user's program."""
        env = dict(os.environ, **self.config["env"], PYTHONUNBUFFERED="1", PYTHONIOENCODING="utf-8")
        paths = [str(WORKING / name) for name in import_folders(self.files, self.config["entry"])]
        if paths:
            env["PYTHONPATH"] = os.pathsep.join([*paths, *filter(None, [env.get("PYTHONPATH")])])
        env["KAGG_INPUT_DIR"] = str((WORKING / self.config["entry"]).parent)
        env["KAGG_INPUTS"] = json.dumps(self.inputs, sort_keys=True)
        env["KAGG_SCRATCH_DIR"] = str(self.base / "work")
        if self.config["params"]:
            path = self.base / "params.json"
            path.write_text(json.dumps(self.config["params"]), encoding="utf-8")
            env["KAGG_PARAMS"] = str(path)
        return env

    # ------------------------------------------------------------ the program

    def run(self) -> dict[str, Any]:
        """Run the user's program and say how it ended."""
        limit_s = self.config["limit_s"]
        command, environment = self.command(), self.environment()
        self.getting_ready = False  # from here on the end of time is noticed between two looks at the program
        self.ready_s = time.monotonic()
        program = Program(command, WORKING, environment, speaks_events=bool(self.runner))
        watch = Checkpoints(
            self.base / "work", self.base, self.config["checkpoints"], self.config["checkpoint_every_s"]
        )
        watch.start()
        stopped = ""
        try:
            if not program.wait(self.began_s + limit_s if limit_s else None, self.told):
                stopped = "killed" if self.told.is_set() else "timeout"
                say("told to end" if self.told.is_set() else f"out of time after {limit_s:g} s")
                program.stop(self.config["grace_s"])
        finally:
            code = program.close()
            self.ended_s = time.monotonic()
            watch.finish()
        return verdict(program, code, stopped, limit_s)

    def attempt(self) -> dict[str, Any]:
        """Return how the run ended, whatever ended it."""
        failed: dict[str, Any] = {"status": "setup", "exit_code": 1, "error": None, "cell": None, "traceback": []}
        try:
            self.listen()
            self.prepare()
            return self.run()
        except StageError as error:
            return {**failed, "stage": error.stage, "error": str(error)}
        except CodeError as error:
            return {**failed, "stage": "code", "error": str(error)}
        except StoppedError as error:
            words = "told to end" if error.status == "killed" else f"out of time after {self.config['limit_s']:g} s"
            words += f" while getting ready ({self.stage or 'beginning'})"
            return {**failed, "status": error.status, "stage": self.stage, "error": words}
        except Exception as error:  # noqa: BLE001 - the summary must say so, nobody else can
            return {**failed, **failure(error), "stage": self.stage}

    # ------------------------------------------------------------ the record

    def finish(self, found: dict[str, Any]) -> bool:
        """Tidy up, write the summary, and tell whether it could be written."""
        if found["error"] and found["status"] != "error":
            say(f"{found['status']}{': ' + found['stage'] if found.get('stage') else ''}: {found['error']}")
        manifest: list[dict[str, Any]] = []
        skipped: list[dict[str, str]] = []
        try:
            os.chdir("/")
            if self.base != Path():
                remove(self.base)
            remove_code(self.files, self.made_folders)
            remove(WORKING / RESERVE)
            mend_names()
            manifest, skipped = list_files()
        except Exception as error:  # noqa: BLE001 - a run without a manifest still needs its summary
            found.update(failure(error), stage="record")
        try:
            write_whole(WORKING / SUMMARY, self._summary(found, manifest, skipped))
        except OSError as error:
            say(f"cannot write {SUMMARY}: {error.strerror or error}")
            return False
        return True

    def _summary(
        self, found: dict[str, Any], manifest: list[dict[str, Any]], skipped: list[dict[str, str]]
    ) -> dict[str, Any]:
        """Return what session_summary.json holds."""
        now_s = time.monotonic()
        ready_s = self.ready_s or now_s
        times = {"setup_s": ready_s - self.began_s, "program_s": (self.ended_s or ready_s) - ready_s}
        return {
            "version": 1,
            "run_id": self.config["run_id"],
            "stage": "",
            **found,
            "source_sha256": self.config["source_sha256"],
            "git_commit": self.config["git_commit"],
            "device": self.device,
            "started": iso(self.began),
            "ended": iso(time.time()),
            "duration_s": round(now_s - self.began_s, 3),
            "times": {name: round(value, 3) for name, value in times.items()},
            "kagg_version": self.config["kagg_version"],
            "manifest": manifest,
            "skipped": skipped,
        }


def import_folders(files: Iterable[str], entry: str) -> list[str]:
    """Return the folders, of a project that could be installed, that hold its modules and are not found by themselves.

    One with a module that would hide the standard library's is left out: PYTHONPATH comes before that.
    """
    names = set(files)
    if not names & {"pyproject.toml", "setup.cfg", "setup.py"}:
        return []
    has_src = any(name.startswith("src/") and name.endswith(".py") for name in names)
    top = "src/" if has_src and "src/__init__.py" not in names else ""
    found = [re.fullmatch(r"([^/]+?)(?:/__init__)?\.py", name[len(top) :]) for name in names if name.startswith(top)]
    hidden = {match[1] for match in found if match} & set(getattr(sys, "stdlib_module_names", ())) - {"test"}
    return [] if hidden or not (top or "/" in entry) else [top]


def failure(error: Exception) -> dict[str, Any]:
    """Return how a run ended that our own program could not go on with."""
    lines = traceback.format_exc().splitlines()[-30:]
    return {"status": "setup", "exit_code": 1, "error": f"{type(error).__name__}: {error}", "traceback": lines}


def iso(moment: float) -> str:
    """Return a time in seconds since 1970 as ISO 8601 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment % 1 * 1e6):06d}+00:00"


def _scratch_folder() -> str | None:
    """Return Kaggle's folder for files that are not kept, None for the system's own."""
    with contextlib.suppress(OSError):
        TEMP.mkdir(parents=True, exist_ok=True)
        return str(TEMP) if os.access(TEMP, os.W_OK) else None
    return None


def _unpack_runner(packed: str, folder: Path) -> None:
    """Write the notebook runner's files."""
    for name, text in json.loads(gzip.decompress(base64.b64decode(packed))).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def main(config: dict[str, Any], payload: dict[str, Any], runner: str) -> int:
    """Run one session and return the script's exit code: 0 whenever there is a summary."""
    session = Session(config, payload, runner)
    found = session.attempt()
    session.getting_ready = False
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.setitimer(signal.ITIMER_REAL, 0)
    written = session.finish(found)
    STDOUT.line(f"KAGG-EXIT {config['run_id']} {found['exit_code']}")
    return 0 if written else 1


if __name__ == "__main__":
    raise SystemExit("this is a part of the scripts that script.py builds")
