"""kill -9 in the middle of a command: what has its final name is whole, records open, and the command works again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from front_door import environment
from local_kaggle import Client

from plugins.lib.serve import process_start_time

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs SIGKILL and process groups")

ROOT = Path(__file__).resolve().parent.parent
PREDICT = "def predict(payload):\n    return {'got': payload}\n"
NOTEBOOK = json.dumps(
    {
        "cells": [
            {"cell_type": "code", "id": "a", "metadata": {}, "source": PREDICT, "outputs": [], "execution_count": None}
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "x"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
)
MOMENTS = (0.4, 0.6, 0.75, 0.9)  # parts of the time that a whole command takes; before 0.3 Python only starts


@pytest.fixture
def scene(tmp_path, idle_kaggle):
    """Kernels to pull, files to push and to deploy, and the environment of the processes."""
    client = Client(idle_kaggle)
    client.push("Hello there", "print('x' * 10)\n" * 2000, kernelExecutionType="QUICK_SAVE")
    client.push("Note book", NOTEBOOK, kernelType="notebook", kernelExecutionType="QUICK_SAVE")
    (tmp_path / "model.py").write_text(PREDICT)
    (tmp_path / "train_job.py").write_text("print(1)\n")
    (tmp_path / "jobs.txt").write_text("demo/hello-there\ndemo/note-book\n")
    key = idle_kaggle.world.accounts.users["demo"]["key"]
    yield environment(tmp_path, KAGG_KAGGLE_URL=idle_kaggle.url, KAGGLE_USERNAME="demo", KAGGLE_KEY=key)
    for state in (tmp_path / "home" / ".kagg").glob("endpoints/*/*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            found = json.loads(state.read_text())
            if process_start_time(found["pid"]) == found["start_time"]:
                os.kill(found["pid"], signal.SIGKILL)


def start(env, folder, argv):
    command = [sys.executable, str(ROOT / "kagg.py"), *argv]
    return subprocess.Popen(
        command, env=env, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def finish(env, folder, argv):
    started = time.monotonic()
    process = start(env, folder, argv)
    out, err = process.communicate(timeout=120)
    return process.returncode, time.monotonic() - started, (out + err).decode()


def check_whole(folder):
    """Look at everything that has a final name."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith(".") and path.suffix in (".json", ".ipynb"):
            json.loads(path.read_bytes())
        if path.name == "hello-there.py":
            assert len(path.read_bytes()) == len("print('x' * 10)\n") * 2000


COMMANDS = {
    "pull": ["pull", "demo/hello-there", "demo/note-book", "--metadata", "--dest", "out"],
    "push": ["push", "train_job.py", "--force"],
    "deploy": ["deploy", "model.py", "--local", "--name", "model"],
    "endpoints": ["endpoints", "stop", "model"],
    "batch": ["batch", "jobs.txt", "--operation", "download", "--dest", "out", "--report", "report.json"],
    "preprocess": ["preprocess", "note.ipynb"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_killed_command_leaves_nothing_broken_and_works_again(scene, tmp_path, command):
    argv = COMMANDS[command]
    if command == "endpoints":
        assert finish(scene, tmp_path, COMMANDS["deploy"])[0] == 0
    if command == "preprocess":
        (tmp_path / "note.ipynb").write_text(
            NOTEBOOK.replace('"outputs": []', '"outputs": [{"output_type": "stream", "name": "stdout", "text": "1"}]')
        )
    code, whole_s, text = finish(scene, tmp_path, argv)
    assert code == 0, text
    for part in MOMENTS:
        process = start(scene, tmp_path, argv)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=whole_s * part)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)
        check_whole(tmp_path)
    for again in (["list", "runs"], ["--json", "endpoints"], argv):
        code, _, text = finish(scene, tmp_path, again)
        assert code == 0, (again, text)
    check_whole(tmp_path)
