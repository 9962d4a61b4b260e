"""The script around the user's code, built and then executed for real: as a process, and by the local Kaggle."""

from __future__ import annotations

import ast
import base64
import collections
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from local_kaggle import Client

from kagg import Exit, KaggError, refuse_secrets
from plugins.lib.kaggle.server import LocalKaggle
from plugins.lib.kaggle.sessions import Limits
from plugins.lib.launch import script
from plugins.lib.launch.code import collect
from plugins.lib.launch.orphans import HEADER
from plugins.lib.launch.script import Order, build, line_count
from plugins.lib.launch.transport_inline import inline_code

MARKER = re.compile(r"^KAGG-EXIT (\S+) (\d+)$", re.MULTILINE)
TINY_PART = '''"""Take the files out of the payload."""

from __future__ import annotations

import base64


def fetch_code(payload, folder, say):
    """Write each file."""
    for name, text in payload.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(text))
'''


class Code(NamedTuple):
    """As much of a Code as the builder reads."""

    files: dict[str, str]
    payload: dict[str, str]
    sha256: str
    transport: str = "tiny"


def packed(files: dict[str, str | bytes]) -> Code:
    contents = {name: text.encode() if isinstance(text, str) else text for name, text in sorted(files.items())}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(hashes.items()))
    payload = {name: base64.b64encode(content).decode() for name, content in contents.items()}
    return Code(hashes, payload, hashlib.sha256(lines.encode()).hexdigest())


@pytest.fixture(autouse=True)
def _tiny_part(tmp_path_factory, monkeypatch):
    """Give the builder a transport part of our own beside the real ones."""
    folder = tmp_path_factory.mktemp("parts")
    for path in script.HERE.glob("in_session*.py"):
        (folder / path.name).symlink_to(path)
    (folder / "in_session_tiny.py").write_text(TINY_PART)
    monkeypatch.setattr(script, "HERE", folder)


class Ran(NamedTuple):
    """How a session ended."""

    code: int
    out: str
    err: str
    root: Path

    @property
    def working(self) -> Path:
        return self.root / "working"

    @property
    def summary(self):
        return json.loads((self.working / "session_summary.json").read_text())

    @property
    def files(self) -> list[str]:
        return [entry["path"] for entry in self.summary["manifest"]]


class Session:
    """A /kaggle of its own for scripts run as plain processes; they get its path as from the local Kaggle."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.env: dict[str, str] = {}
        self.python = sys.executable

    def built(self, files, entry="main.py", **order) -> str:
        code = order.pop("code", None) or packed(files)
        defaults = {"run_id": "run-1", "grace_s": 1.0, "checkpoint_every_s": 0.1}
        return build(Order(entry=entry, code=code, **{**defaults, **order}))

    def start(self, text: str) -> subprocess.Popen[bytes]:
        (self.root / "temp").mkdir(parents=True, exist_ok=True)
        path = self.root / "script.py"
        path.write_text(re.sub("/kaggle/(?=working|temp|input|usr)", f"{self.root}/", text))
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        env = {**kept, "HOME": str(self.root), "TMPDIR": str(self.root / "temp"), **self.env}
        return subprocess.Popen(
            [self.python, str(path)],
            env=env,
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run_text(self, text: str) -> Ran:
        with self.start(text) as process:
            out, err = process.communicate(timeout=120)
        return Ran(process.returncode, out.decode(), err.decode(), self.root)

    def run(self, files, entry="main.py", **order) -> Ran:
        files = {"main.py": files} if isinstance(files, str) else files
        return self.run_text(self.built(files, entry, **order))


@pytest.fixture
def session(tmp_path):
    return Session(tmp_path / "session")


def notebook(*cells: str, parameters: str = "") -> str:
    made = [{"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": parameters}] if parameters else []
    made += [{"cell_type": "code", "metadata": {}, "source": source} for source in cells]
    made = [{**cell, "outputs": [], "execution_count": None} for cell in made]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {"kernelspec": kernel}, "cells": made})


# ---------------------------------------------------------------- scripts


SEES = """
import json, os, sys
from pkg.part import VALUE
seen = {"argv": sys.argv[1:], "cwd": os.getcwd(), "value": VALUE, "data": open("data.txt").read(),
        "params": json.load(open(os.environ["KAGG_PARAMS"])), "mine": os.environ["MINE"],
        "folder": os.environ["KAGG_INPUT_DIR"], "inputs": json.loads(os.environ["KAGG_INPUTS"]),
        "scratch": os.path.isdir(os.environ["KAGG_SCRATCH_DIR"]), "stdin": sys.stdin.read()}
os.mkdir("made")
json.dump(seen, open("made/seen.json", "w"))
"""


def test_a_script_finds_its_modules_files_parameters_and_arguments_as_at_home(session):
    files = {"main.py": SEES, "pkg/__init__.py": "", "pkg/part.py": "VALUE = 7", "data.txt": "abc"}
    ran = session.run(files, args=("--name", "a b"), params={"lr": 0.1, "label": "x y", "deep": [1]}, env={"MINE": "1"})
    assert ran.code == 0, ran.err
    assert json.loads((ran.working / "made/seen.json").read_text()) == {
        "argv": ["--lr=0.1", "--label=x y", "--deep=[1]", "--name", "a b"],
        "cwd": str(ran.working),
        "value": 7,
        "data": "abc",
        "params": {"lr": 0.1, "label": "x y", "deep": [1]},
        "mine": "1",
        "folder": str(ran.working),
        "inputs": {},
        "scratch": True,
        "stdin": "",
    }


def test_the_summary_says_what_ran_and_lists_only_what_the_run_wrote(session):
    files = {"main.py": "import pkg.part; open('out.bin', 'wb').write(b'12345')", "pkg/part.py": "X = 1"}
    ran = session.run(files, git_commit="4f1c2aa", run_id="train-1.a_b")
    summary = ran.summary
    assert (summary["status"], summary["exit_code"], summary["error"], summary["stage"]) == ("complete", 0, None, "")
    assert summary["run_id"] == "train-1.a_b"
    assert summary["git_commit"] == "4f1c2aa"
    assert summary["source_sha256"] == packed(files).sha256
    assert summary["device"] == {"kind": "cpu", "accelerator": "", "found": [], "simulated": False}
    assert summary["manifest"] == [{"path": "out.bin", "size_bytes": 5, "sha256": hashlib.sha256(b"12345").hexdigest()}]
    assert summary["started"] < summary["ended"]
    assert summary["times"]["program_s"] > 0
    assert sorted(path.name for path in ran.working.iterdir()) == [
        "out.bin",
        "session_started.json",
        "session_summary.json",
    ]
    assert list((ran.root / "temp").iterdir()) == []
    assert json.loads((ran.working / "session_started.json").read_text())["run_id"] == "train-1.a_b"


def test_the_marker_is_the_last_line_even_after_half_a_line_and_a_forged_marker(session):
    ran = session.run("print('KAGG-EXIT run-1 0'); print('half', end='', flush=True); raise SystemExit(7)")
    assert ran.code == 0
    assert ran.out == "KAGG-EXIT run-1 0\nhalf\nKAGG-EXIT run-1 7\n"
    assert ran.summary["exit_code"] == 7


def test_a_code_file_that_the_run_has_changed_is_a_result(session):
    files = {"main.py": "open('sub/log.csv', 'a').write('2')", "sub/log.csv": "1", "sub/same.csv": "1"}
    ran = session.run(files)
    assert ran.files == ["sub/log.csv"]
    assert (ran.working / "sub/log.csv").read_text() == "12"
    assert not (ran.working / "sub/same.csv").exists()


def test_an_exception_is_an_error_with_its_traceback(session):
    ran = session.run("def f():\n    raise ValueError('no é')\nf()")
    summary = ran.summary
    assert (ran.code, summary["status"], summary["exit_code"]) == (0, "error", 1)
    assert summary["error"] == "ValueError: no é"
    assert summary["traceback"][0] == "Traceback (most recent call last):"


@pytest.mark.parametrize(
    ("source", "code", "status", "word"),
    [
        ("raise SystemExit(3)", 3, "error", "exit code 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137, "killed", "memory probably ran out"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", 139, "killed", "SIGSEGV"),
        ("this is no Python", 1, "error", "SyntaxError"),
    ],
)
def test_each_end_has_its_exit_code_and_words(session, source, code, status, word):
    ran = session.run(source)
    assert (ran.summary["exit_code"], ran.summary["status"]) == (code, status)
    assert word in ran.summary["error"]
    assert MARKER.findall(ran.out)[-1] == ("run-1", str(code))


def test_names_beyond_ascii_and_200_files_arrive(session):
    files = {f"данные/ü {number}.txt": f"{number}" for number in range(200)}
    files["größe.py"] = "import os; print(sum(int(open(f'данные/{n}').read()) for n in os.listdir('данные')))"
    ran = session.run(files, "größe.py")
    assert ran.out.splitlines()[0] == str(sum(range(200)))
    assert ran.files == []
    assert not (ran.working / "данные").exists()


def test_an_older_python_runs_it_too(session):
    older = [path for path in map(shutil.which, ("python3.9", "python3.10", "python3.12")) if path]
    working = [path for path in older if subprocess.run([path, "-V"], capture_output=True, check=False).returncode == 0]
    session.python = (working or [sys.executable])[0]
    ran = session.run({"main.py": "import a.b.c; print('ok')", "a/b/c.py": ""})
    assert ran.out == "ok\nKAGG-EXIT run-1 0\n", ran.err


# ---------------------------------------------------------------- notebooks


def test_a_notebook_runs_with_parameters_from_its_own_folder_and_leaves_its_outputs(session):
    source = notebook("import helper\nprint('rate', rate)", "open('out.txt', 'w').write('1')", parameters="rate = 1")
    ran = session.run({"sub/nb.ipynb": source, "sub/helper.py": ""}, "sub/nb.ipynb", params={"rate": 0.5})
    assert ran.out == "rate 0.5\n1\nKAGG-EXIT run-1 0\n", ran.err
    assert ran.summary["status"] == "complete"
    assert ran.files == ["executed.ipynb", "out.txt"]
    assert "rate 0.5" in (ran.working / "executed.ipynb").read_text()


def test_a_failing_notebook_names_its_cell(session):
    ran = session.run({"nb.ipynb": notebook("print('before')", "1 / 0", "print('never')")}, "nb.ipynb")
    summary = ran.summary
    assert (summary["status"], summary["exit_code"], summary["cell"]) == ("error", 1, 1)
    assert summary["error"] == "ZeroDivisionError: division by zero"
    assert "never" not in ran.out
    assert "ZeroDivisionError" in ran.err
    assert ran.files == ["executed.ipynb"]


def test_a_notebook_told_to_end_is_kept_with_what_it_printed(session):
    source = notebook("import time; print('on', flush=True); time.sleep(600)")
    with session.start(session.built({"nb.ipynb": source}, "nb.ipynb", grace_s=60.0)) as process:
        assert process.stdout.readline() == b"on\n"
        process.terminate()
        process.communicate(timeout=90)
    ran = Ran(process.returncode, "", "", session.root)
    assert (ran.code, ran.summary["status"], ran.summary["cell"]) == (0, "killed", 0)
    assert ran.files == ["executed.ipynb"]
    assert "on\\n" in (ran.working / "executed.ipynb").read_text()


def test_a_file_that_is_no_notebook_is_an_error_of_the_run(session):
    ran = session.run({"nb.ipynb": "{"}, "nb.ipynb")
    assert ran.summary["status"] == "error"
    assert "not JSON" in ran.summary["error"]


def test_the_script_itself_may_run_in_a_notebook(session):
    text = session.built({"main.py": "import sys; print('é'); sys.stderr.write('half'); sys.exit(5)"})
    cell = f"exec(compile(open({str(session.root / 'script.py')!r}).read(), 'script', 'exec'))"
    with session.start(text) as process:  # writes script.py; its run is replaced by the next one
        process.communicate(timeout=120)
    (session.root / "nb.ipynb").write_text(notebook(cell, "print('after')"))
    runner = script.LIBRARY / "notebook_runner.py"
    command = [sys.executable, "-P", str(runner), str(session.root / "nb.ipynb"), str(session.root / "out.ipynb")]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    out = "".join(event.get("data", "") for event in map(json.loads, done.stdout.splitlines()))
    assert re.search(r"é\n", out)
    assert "half" in out
    assert out.endswith("KAGG-EXIT run-1 5\nafter\n")


# ---------------------------------------------------------------- output as it comes


WAITS = "import os, time\ndef wait(name):\n    while not os.path.exists(name): time.sleep(0.01)\n"


@pytest.mark.parametrize("first", ["a line\n", "half a line? "])
def test_output_arrives_while_the_program_runs(session, first):
    source = f"{WAITS}print({first!r}, end='', flush=True)\nwait('go')\nprint('rest')\n"
    with session.start(session.built({"main.py": source})) as process:
        assert os.read(process.stdout.fileno(), 100) == first.encode()
        (session.root / "working" / "go").touch()
        assert process.stdout.read().startswith(b"rest\n")
        process.stderr.read()


def test_progress_bars_and_broken_bytes_pass_and_the_streams_stay_apart(session):
    source = (
        "import sys\n"
        "for n in range(3): sys.stderr.write(f'\\r{n}%'); sys.stderr.flush()\n"
        "sys.stdout.buffer.write(b'a\\xff\\xc3'); sys.stdout.buffer.write(b'\\xa9\\0\\n')\n"
    )
    ran = session.run(source)
    assert ran.out == "a\ufffdé\0\nKAGG-EXIT run-1 0\n"
    assert "\r0%\r1%\r2%" in ran.err


def test_much_output_arrives_whole(session):
    source = "import sys\nfor n in range(400): sys.stdout.write(('%d' % (n % 10)) * 99_999 + '\\n')"
    ran = session.run(source)
    lines = ran.out.splitlines()
    assert len(lines) == 401
    assert {len(line) for line in lines[:-1]} == {99_999}


def test_a_process_left_behind_neither_holds_up_the_end_nor_goes_on_writing(session):
    daemon = (
        f"{WAITS}import subprocess, sys\n"
        "loop = \"import time\\nwhile True: open('beat', 'a').write('x'); time.sleep(0.01)\"\n"
        "subprocess.Popen([sys.executable, '-c', loop], start_new_session=True)\n"
        "subprocess.Popen(['sleep', '600'])\n"
        "wait('beat')\n"
    )
    began = time.monotonic()
    ran = session.run(daemon)
    assert time.monotonic() - began < 60
    assert ran.files == ["beat"]
    size = (ran.working / "beat").stat().st_size
    time.sleep(0.2)
    assert (ran.working / "beat").stat().st_size == size == ran.summary["manifest"][0]["size_bytes"]


# ---------------------------------------------------------------- stopping


def test_a_program_out_of_time_gets_a_chance_to_save_its_work(session):
    source = (
        "import signal, sys, time\n"
        "def save(*_): open('saved', 'w').write('1'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "time.sleep(60)\n"
    )
    ran = session.run(source, limit_s=4.0, grace_s=30.0)
    assert (ran.code, ran.summary["status"]) == (0, "timeout")
    assert ran.summary["exit_code"] != 0
    assert "time limit" in ran.summary["error"]
    assert ran.files == ["saved"]


def test_a_program_that_does_not_want_to_end_is_ended_with_its_children(session):
    source = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "open('pid', 'w').write(str(subprocess.Popen(['sleep', '600']).pid))\n"
        "while True: time.sleep(1)\n"
    )
    ran = session.run(source, limit_s=4.0, grace_s=0.2)
    assert (ran.summary["status"], ran.summary["exit_code"]) == ("timeout", 137)
    with pytest.raises(ProcessLookupError):
        os.kill(int((ran.working / "pid").read_text()), 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_session_told_to_end_writes_its_record(session, number):
    text = session.built({"main.py": "import time; print('on', flush=True); time.sleep(60)"})
    with session.start(text) as process:
        assert process.stdout.readline() == b"on\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
    ran = Ran(process.returncode, out.decode(), err.decode(), session.root)
    assert (ran.code, ran.summary["status"]) == (0, "killed")
    assert MARKER.findall(ran.out)


@pytest.mark.parametrize(("limit_s", "status"), [(1.5, "timeout"), (0.0, "killed")])
def test_a_session_stopped_while_getting_ready_says_where(session, limit_s, status):
    bin_folder = session.root / "bin"
    fake(bin_folder, "nvidia-smi", "sleep 60")
    session.env["PATH"] = f"{bin_folder}:{os.environ['PATH']}"
    text = session.built({"main.py": ""}, device="gpu", limit_s=limit_s)
    with session.start(text) as process:
        assert b"kagg: Python" in process.stderr.readline()
        time.sleep(0.3)
        if not limit_s:
            process.terminate()
        out, _ = process.communicate(timeout=120)
    ran = Ran(process.returncode, out.decode(), "", session.root)
    assert (ran.code, ran.summary["status"], ran.summary["stage"]) == (0, status, "device")


# ---------------------------------------------------------------- hostile programs


def test_a_program_that_writes_our_files_and_wrecks_the_folder_does_not_confuse_the_record(session):
    source = (
        "import os, shutil\n"
        "os.makedirs('session_summary.json/x')\n"
        "for name in os.listdir('.'):\n"
        "    if name != 'session_summary.json': shutil.rmtree(name) if os.path.isdir(name) else os.remove(name)\n"
        "open('result.json', 'w').write('{\"status\": \"complete\"}')\n"
        "os.chdir('/'); raise SystemExit(4)\n"
    )
    ran = session.run({"main.py": source, "pkg/x.py": ""})
    assert (ran.summary["status"], ran.summary["exit_code"]) == ("error", 4)
    assert ran.files == ["result.json"]


def test_even_without_its_folder_a_session_leaves_a_record(session):
    ran = session.run("import os, shutil; shutil.rmtree(os.getcwd())")
    assert (ran.code, ran.summary["status"], ran.files) == (0, "complete", [])


def test_links_and_sockets_are_left_out_of_the_manifest_and_odd_names_are_mended(session):
    source = (
        "import os, socket\n"
        "os.symlink('/etc/passwd', 'link'); os.symlink('.', 'loop'); os.mkfifo('pipe')\n"
        "socket.socket(socket.AF_UNIX).bind('s')\n"
        "open(b'\\xff', 'w').close(); open('kept', 'w').close()\n"
    )
    ran = session.run(source)
    assert ran.files == ["%FF", "kept"]
    assert "renamed '\\udcff' to %FF" in ran.err
    assert {entry["path"]: entry["reason"] for entry in ran.summary["skipped"]} == {
        "link": "a link",
        "loop": "a link",
        "pipe": "not a file",
        "s": "not a file",
    }


# ---------------------------------------------------------------- the code


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda payload: payload.update({"main.py": base64.b64encode(b"print(1)").decode()}), "changed: main.py"),
        (lambda payload: payload.pop("part.py"), "missing: part.py"),
        (lambda payload: payload.update({"evil.py": ""}), "not sent: evil.py"),
    ],
)
def test_code_that_is_not_what_was_sent_never_runs(session, change, word):
    code = packed({"main.py": "print('ran')", "part.py": ""})
    change(code.payload)
    ran = session.run({}, code=code)
    assert (ran.code, ran.summary["status"], ran.summary["stage"]) == (0, "setup", "code")
    assert word in ran.summary["error"]
    assert "ran" not in ran.out
    assert ran.files == []


def test_a_crash_of_our_own_program_is_in_the_record(session):
    code = packed({"main.py": ""})
    code.payload["main.py"] = "no base64!"
    ran = session.run({}, code=code)
    assert (ran.code, ran.summary["status"], ran.summary["stage"]) == (0, "setup", "code")
    assert MARKER.findall(ran.out) == [("run-1", "1")]


# ---------------------------------------------------------------- inputs


@pytest.mark.parametrize(
    ("ref", "place"),
    [
        ("datasets/me/data", "datasets/me/data"),
        ("datasets/me/data", "data"),
        ("datasets/me/data", "datasets/v9/Me/data"),
        ("competitions/titanic", "competitions/titanic"),
        ("competitions/titanic", "titanic"),
        ("notebooks/me/earlier", "notebooks/me/earlier"),
        ("models/google/gemma/pyTorch/2b/1", "models/google/gemma/pytorch/2b/1"),
        ("models/google/gemma/pyTorch/2b/1", "gemma/pyTorch/2b/1"),
    ],
)
def test_inputs_are_found_where_they_are_mounted(session, ref, place):
    folder = session.root / "input" / place
    folder.mkdir(parents=True)
    (folder / "x.csv").write_text("1")
    ran = session.run("import os; print(os.environ['KAGG_INPUTS'])", inputs=(ref,))
    assert json.loads(ran.out.splitlines()[0]) == {ref: str(folder)}, ran.err


def test_a_missing_input_is_named_and_what_is_there_is_shown(session):
    (session.root / "input/datasets/me/other/sub").mkdir(parents=True)
    (session.root / "input/datasets/you/data").mkdir(parents=True)
    (session.root / "input/datasets/me/other/x.csv").write_text("1")
    ran = session.run("print('ran')", inputs=("datasets/me/data", "datasets/me/other"))
    assert (ran.summary["status"], ran.summary["stage"]) == ("setup", "inputs")
    assert "datasets/me/data" in ran.summary["error"]
    assert "me/other" not in ran.summary["error"]
    assert "datasets/me/other/x.csv" in ran.err
    assert "ran" not in ran.out


# ---------------------------------------------------------------- device


def fake(folder: Path, name: str, body: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def gpus(*names: str) -> str:
    return "\n".join(f"echo 'GPU {n}: {name} (UUID: GPU-{n}-abc)'" for n, name in enumerate(names))


@pytest.fixture
def on_gpu(session):
    """Run on a machine with these GPUs; None: without nvidia-smi. It has no torch that a test does not bring."""

    def run(listing: str | None, accelerator: str, **order) -> Ran:
        hidden = session.root / "without"
        hidden.mkdir(parents=True, exist_ok=True)
        (hidden / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None  # nobody finds it\n")
        session.env.setdefault("PYTHONPATH", str(hidden))
        if listing is not None:
            fake(session.root / "bin", "nvidia-smi", listing)
            session.env["PATH"] = f"{session.root / 'bin'}:{os.environ['PATH']}"
        return session.run("print('ran')", device="gpu", accelerator=accelerator, **order)

    return run


@pytest.mark.parametrize(
    ("names", "accelerator"),
    [
        (("Tesla T4", "Tesla T4"), "NvidiaTeslaT4"),
        (("NVIDIA L4",), "NvidiaL4X1"),
        (("NVIDIA A100-SXM4-40GB",), "NvidiaTeslaA100"),
        (("NVIDIA H100 80GB HBM3",), "NvidiaH100"),
        (("NVIDIA RTX PRO 6000 Blackwell Server Edition",), "NvidiaRtxPro6000"),
        (("Some GPU",), "NvidiaNew"),
        (("NVIDIA B200",), "NvidiaB200"),
        (("NVIDIA GeForce RTX 4090",), "NvidiaGeforceRtx4090"),
        (("NVIDIA GeForce RTX 4090",), "Nvidia_RTX-4090"),
        (("NVIDIA A100-SXM4-80GB",), "NvidiaTeslaA10080gb"),
        (("NVIDIA H200",) * 4, "NvidiaH200x4"),
        (("Some GPU",), "Foo"),
        (("Some GPU",), ""),
    ],
)
def test_the_right_gpu_passes(on_gpu, names, accelerator):
    ran = on_gpu(gpus(*names), accelerator)
    assert ran.summary["status"] == "complete", ran.err
    assert ran.summary["device"] == {
        "kind": "gpu",
        "accelerator": accelerator,
        "found": list(names),
        "simulated": False,
    }


@pytest.mark.parametrize(
    ("listing", "accelerator", "word"),
    [
        (gpus("Tesla P100-PCIE-16GB"), "NvidiaTeslaT4", "found Tesla P100-PCIE-16GB"),
        (gpus("Tesla T4"), "NvidiaTeslaT4", "2 x T4"),
        (gpus("Quadro T400", "Quadro T400"), "NvidiaTeslaT4", "found Quadro T400"),
        (gpus("Tesla T4", "Tesla T4"), "NvidiaB200", "wanted NvidiaB200, found Tesla T4, Tesla T4"),
        (gpus("NVIDIA L4"), "NvidiaL40S", "found NVIDIA L4"),
        (gpus("NVIDIA A10"), "NvidiaTeslaA100X8", "found NVIDIA A10"),
        ("echo NVIDIA-SMI has failed; exit 9", "NvidiaTeslaT4", "found no GPU (NVIDIA-SMI has failed"),
        ("echo No devices were found", "", "found no GPU"),
        (None, "NvidiaTeslaT4", "found no GPU (there is no nvidia-smi"),
    ],
)
def test_another_gpu_or_none_ends_the_run_before_it_begins(on_gpu, listing, accelerator, word):
    ran = on_gpu(listing, accelerator, inputs=("datasets/me/never-looked-for",))
    assert (ran.summary["status"], ran.summary["stage"]) == ("setup", "device")
    assert word in ran.summary["error"]
    assert "\n" not in ran.summary["error"]
    assert "ran" not in ran.out


WITHOUT_CUDA = """
__version__ = "9.9+cpu"
class cuda:
    is_available = staticmethod(lambda: False)
class version:
    cuda = None
"""


@pytest.mark.parametrize(
    ("torch", "said"),
    [
        ("raise RuntimeError('no kernel image is available for execution')", "no kernel image"),
        (WITHOUT_CUDA, "torch 9.9+cpu cannot use it"),
    ],
)
def test_a_gpu_that_cannot_compute_is_noticed(on_gpu, session, torch, said):
    package = session.root / "lib" / "torch"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(torch)
    session.env["PYTHONPATH"] = str(package.parent)
    ran = on_gpu(gpus("Tesla P100-PCIE-16GB"), "NvidiaTeslaP100")
    assert ran.summary["stage"] == "device"
    assert said in ran.summary["error"]


@pytest.mark.parametrize(
    ("device", "accelerator", "simulated", "status"),
    [
        ("gpu", "NvidiaTeslaT4", "NvidiaTeslaT4", "complete"),
        ("gpu", "", "NvidiaTeslaT4", "complete"),
        ("tpu", "TpuV5E8", "TpuV5E8", "complete"),
        ("gpu", "NvidiaTeslaT4", "TpuV5E8", "setup"),
        ("gpu", "NvidiaTeslaT4", "NvidiaL4", "setup"),
    ],
)
def test_a_simulated_device_is_held_to_the_same_names(session, device, accelerator, simulated, status):
    session.env["KAGG_SIMULATED_ACCELERATOR"] = simulated
    ran = session.run("", device=device, accelerator=accelerator)
    assert ran.summary["status"] == status
    if status == "complete":
        assert ran.summary["device"]["simulated"] is True


def test_a_session_without_a_tpu_is_noticed(session):
    ran = session.run("", device="tpu", accelerator="TpuV5E8")
    assert (ran.summary["status"], ran.summary["stage"]) == ("setup", "device")
    assert "TpuV5E8" in ran.summary["error"]


def test_a_session_with_signs_of_a_tpu_passes_and_is_told_what_is_missing(session):
    session.env["TPU_ACCELERATOR_TYPE"] = "v5e-8"
    ran = session.run("", device="tpu", accelerator="TpuV5E8")
    assert ran.summary["device"]["found"] == ["TPU_ACCELERATOR_TYPE=v5e-8"]
    assert "nothing here can use the TPU" in ran.err


# ---------------------------------------------------------------- requirements


def test_requirements_that_are_there_need_no_pip(session):
    session.env["PIP_INDEX_URL"] = "http://127.0.0.1:9/"
    files = {"main.py": "", "requirements.txt": "# tools\n\npytest>=7  # here\nnone-such; python_version < '3'\n"}
    ran = session.run(files, requirements=("pytest",), requirements_file="requirements.txt")
    assert ran.summary["status"] == "complete", ran.err
    assert "installing" not in ran.err


def test_a_requirement_that_cannot_be_had_is_explained_and_no_password_is_shown(session):
    word = "pass" + "word" + "123"
    session.env |= {"PIP_INDEX_URL": f"http://me:{word}@127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    ran = session.run("", requirements=("kagg-none-such-package==1",))
    assert (ran.summary["status"], ran.summary["stage"]) == ("setup", "requirements")
    assert "internet" in ran.summary["error"]
    assert word not in ran.out + ran.err + json.dumps(ran.summary)


def test_a_package_of_the_project_is_installed(session):
    site = session.root / "site"
    session.env |= {"PIP_TARGET": str(site), "PIP_NO_INDEX": "1", "PYTHONPATH": str(site)}
    ran = session.run(
        {"main.py": "import tiny_thing; print(tiny_thing.X)", "w/tiny_thing-1-py3-none-any.whl": wheel()},
        requirements=("./w/tiny_thing-1-py3-none-any.whl",),
    )
    assert ran.out.splitlines()[0] == "5", ran.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[project]\nname = "x"\ndependencies = ["pytest>=7", "none-such; python_version < \'3\'"]\n', ""),
        ('[project]\nname = "x"\n', ""),
        ("[tool.ruff]\nline-length = 100\n", ""),
        ('[project]\nname = "x"\ndynamic = ["dependencies"]\n', "not in its [project]"),
        ('[tool.poetry.dependencies]\npython = "^3.9"\n', "not in its [project]"),
        ("[project\n", "cannot be read"),
        ("project = 3\ntool = []\n", ""),
    ],
)
def test_what_a_pyproject_does_not_say_or_is_there_needs_no_pip(session, text, words):
    session.env["PIP_INDEX_URL"] = "http://127.0.0.1:9/"
    ran = session.run({"main.py": "", "pyproject.toml": text}, requirements_file="pyproject.toml")
    assert ran.summary["status"] == "complete", ran.err
    assert words in ran.err
    assert ("not" in ran.err) == bool(words)
    assert "installing" not in ran.err


def test_the_dependencies_of_a_pyproject_are_installed(session):
    site = session.root / "site"
    session.env |= {"PIP_TARGET": str(site), "PIP_NO_INDEX": "1", "PYTHONPATH": str(site)}
    session.env["PIP_FIND_LINKS"] = str(session.root / "working" / "w")
    files = {
        "main.py": "import tiny_thing; print(tiny_thing.X)",
        "w/tiny_thing-1-py3-none-any.whl": wheel(),
        "pyproject.toml": '[project]\nname = "x"\ndependencies = [\n  "tiny-thing == 1",\n]\n',
    }
    ran = session.run(files, requirements_file="pyproject.toml")
    assert ran.out.splitlines()[0] == "5", ran.err
    missing = session.run({**files, "pyproject.toml": files["pyproject.toml"].replace("1", "2")})
    assert missing.summary["status"] == "complete"  # nothing was to be installed
    order = {"requirements_file": "pyproject.toml"}
    missing = session.run({**files, "pyproject.toml": files["pyproject.toml"].replace("1", "2")}, **order)
    assert missing.summary["stage"] == "requirements"


@pytest.mark.parametrize(
    ("files", "entry"),
    [
        (("pyproject.toml", "src/own/__init__.py"), "main.py"),
        (("setup.cfg", "src/own.py"), "main.py"),
        (("setup.py", "src/own/part.py", "src/own/__init__.py"), "scripts/main.py"),
        (("pyproject.toml", "own/__init__.py"), "scripts/main.py"),
        (("pyproject.toml", "src/own/__init__.py"), "notebooks/main.ipynb"),
    ],
)
def test_a_project_finds_its_own_modules_as_if_it_were_installed(session, files, entry):
    session.env["PYTHONPATH"] = str(session.root / "lib")
    text = "import own, os; print(own.__name__, os.environ['PYTHONPATH'].split(os.pathsep)[-1])"
    tree = {**dict.fromkeys(files, ""), entry: notebook(text) if entry.endswith(".ipynb") else text}
    ran = session.run(tree, entry)
    assert ran.summary["status"] == "complete", ran.err
    assert f"own {session.root / 'lib'}" in ran.out


@pytest.mark.parametrize(
    "files",
    [
        ("src/own.py",),  # no project
        ("pyproject.toml", "src/__init__.py", "src/own.py"),  # `src` is the package
        ("pyproject.toml", "src/own.py", "src/random.py"),  # would hide the standard library's
    ],
)
def test_a_folder_that_an_installed_project_would_not_have_on_its_path_is_not_on_it(session, files):
    ran = session.run({**dict.fromkeys(files, ""), "main.py": "import os; print('PYTHONPATH' in os.environ)"})
    assert ran.out.startswith("False"), ran.err


def test_of_both_files_of_requirements_pips_own_counts():
    assert script.requirements_in({"requirements.txt", "pyproject.toml"}) == "requirements.txt"
    assert script.requirements_in({"pyproject.toml"}) == "pyproject.toml"
    assert script.requirements_in({"sub/requirements.txt"}) == ""


def wheel() -> bytes:
    import io
    import zipfile

    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("tiny_thing.py", "X = 5\n")
        info = "tiny_thing-1.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", f"tiny_thing.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return content.getvalue()


# ---------------------------------------------------------------- checkpoints


def test_checkpoints_in_scratch_folders_are_copied_while_the_run_goes_on(session):
    source = (
        "import os, time\n"
        "os.chdir(os.environ['KAGG_SCRATCH_DIR']); os.makedirs('epoch'); os.makedirs('.cache')\n"
        "open('epoch/a.pt', 'wb').write(b'1' * 1000); open('.cache/hub.pt', 'w').write('x')\n"
        "open('notes.txt', 'w').write('x'); open('old.pt', 'w').write('x'); os.utime('old.pt', (1, 1))\n"
        "copy = os.environ['KAGG_INPUT_DIR'] + '/checkpoints/epoch/a.pt'\n"
        "deadline = time.time() + 20\n"
        "while not os.path.exists(copy) and time.time() < deadline: time.sleep(0.02)\n"
        "print(os.path.getsize(copy))\n"
        "open('epoch/a.pt', 'wb').write(b'2' * 2000); open('last.ckpt', 'w').write('z')\n"
        "open(os.path.dirname(os.path.dirname(os.getcwd())) + '/shared.h5', 'w').write('h')\n"
    )
    ran = session.run(source)
    assert ran.out.splitlines()[0] == "1000", ran.err
    assert ran.files == ["checkpoints/epoch/a.pt", "checkpoints/last.ckpt", "checkpoints/shared.h5"]
    assert (ran.working / "checkpoints/epoch/a.pt").read_bytes() == b"2" * 2000


def test_checkpoints_survive_the_end_of_time(session):
    source = "import os, time; open(os.environ['KAGG_SCRATCH_DIR'] + '/m.bin', 'w').write('m'); time.sleep(60)"
    ran = session.run(source, limit_s=4.0, checkpoints=("*.bin",), checkpoint_every_s=30.0)
    assert ran.files == ["checkpoints/m.bin"]


def test_new_checkpoints_take_the_place_of_those_that_the_program_removed(session):
    source = (
        "import os, time\n"
        "os.chdir(os.environ['KAGG_SCRATCH_DIR'])\n"
        "copies = os.environ['KAGG_INPUT_DIR'] + '/checkpoints/'\n"
        "for n in range(3):\n"
        "    open(f'{n}.pt', 'wb').write(b'x' * 1000)\n"
        "    deadline = time.time() + 20\n"
        "    while not os.path.exists(f'{copies}{n}.pt') and time.time() < deadline: time.sleep(0.02)\n"
        "    os.remove(f'{n}.pt')\n"
        "open('kept.pt', 'wb').write(b'x' * 1000); open('too_large.pt', 'wb').write(b'x' * 2000)\n"
    )
    text = session.built({"main.py": source})
    limit = "LARGEST_BYTES = 8 * 1024**3"
    assert limit in text
    ran = session.run_text(text.replace(limit, "LARGEST_BYTES = 2500"))
    assert ran.files == ["checkpoints/2.pt", "checkpoints/kept.pt"]
    assert "no room for a copy of" in ran.err


# ---------------------------------------------------------------- the builder


def test_the_same_order_gives_the_same_bytes_in_every_process(session, tmp_path):
    program = tmp_path / "twice.py"
    program.write_text(
        "import sys\n"
        f"sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parent.parent)]!r}\n"
        "import test_kernel_script as t\n"
        f"t.script.HERE = t.Path({str(script.HERE)!r})\n"
        "files = {n: n for n in {'b.py', 'a.ipynb', 'é/c.py'}}\n"
        "given = {'params': {'x': 1.5}, 'env': {name: '' for name in {'B', 'A'}}}\n"
        "order = t.Order(run_id='r', entry='a.ipynb', code=t.packed(files), **given)\n"
        "sys.stdout.buffer.write(t.build(order).encode())\n"
    )
    texts = {
        subprocess.run(
            [sys.executable, str(program)], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(texts) == 1


@pytest.mark.parametrize("entry", ["main.py", "nb.ipynb"])
@pytest.mark.parametrize("transport", ["tiny", "inline", "dataset", "git"])
def test_a_script_is_python_3_9_begins_with_its_mark_and_has_each_name_once(transport, entry):
    code = packed({entry: "x" * 500})._replace(transport=transport)
    text = build(Order(run_id="r.1", entry=entry, code=code, device="gpu", inputs=("datasets/a/b",)))
    assert text.splitlines()[0] == "#!/usr/bin/env python3"
    assert HEADER.match(text)[1] == "r.1"
    tree = ast.parse(text, feature_version=(3, 9))
    names = collections.Counter(
        name
        for node in tree.body
        for name in (
            [node.name]
            if isinstance(node, ast.ClassDef | ast.FunctionDef)
            else [leaf.id for leaf in ast.walk(node) if isinstance(leaf, ast.Name) and isinstance(leaf.ctx, ast.Store)]
            if isinstance(node, ast.Assign | ast.AnnAssign)
            else []
        )
    )
    assert [name for name, count in names.items() if count > 1] == []
    assert "plugins.lib.launch" not in text.partition(script.PACKED)[0]
    assert max(map(len, text.partition(script.PACKED)[2].splitlines())) <= 120


def test_what_the_notebook_runner_needs_is_python_3_9_and_all_there():
    for name in script.RUNNER_FILES:
        source = (script.LIBRARY / name).read_text()
        ast.parse(source, feature_version=(3, 9))
        for module in re.findall(r"from plugins\.lib\.(\w+) import|from plugins\.lib import (\w+)", source):
            assert f"{''.join(module)}.py" in script.RUNNER_FILES


@pytest.mark.parametrize("entry", ["main.py", "nb.ipynb"])
def test_nothing_in_a_script_is_taken_for_a_secret(ctx, entry):
    names = ["secret_key.py", "api_token.txt", "password.py", "config/credentials.json", "client_secret", "kaggle_key"]
    for number in range(10):
        code = packed({name: f"{name}{number}" for name in (entry, *names)})
        payload = {"url": "https://github.com/me/repo.git", "commit": code.sha256[:40], "branch": "main"}
        payload |= {"token_dataset": "me/kagg-token-0123abcd", "secret_label": "GITHUB_TOKEN"}
        text = build(Order("r", entry, code._replace(payload=payload), git_commit=code.sha256[:40]))
        refuse_secrets(ctx, "the script", (("script", text),))
        planted = "gh" + "p_" + "aB3dE6gH9kQ1wR5tY7uZ2xC4vN8mS0pLfJ" + "Kq"
        with pytest.raises(KaggError):  # one that is there is found
            refuse_secrets(ctx, "the script", (("script", f'{text}\nkey = "{planted}"\n'),))


def test_the_line_count_leaves_the_packed_code_out():
    small = build(Order(run_id="r", entry="a.py", code=packed({"a.py": "x"})))
    large = build(Order(run_id="r", entry="a.py", code=packed({"a.py": "x" * 100_000})))
    assert line_count(small) == line_count(large) < len(large.splitlines()) - 1000


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"entry": "nb.ipynb", "args": ("--x",)}, "takes no arguments"),
        ({"entry": "none.py"}, "not among the files"),
        ({"entry": "data.csv"}, "neither a notebook nor"),
        ({"run_id": "a b"}, "no run id"),
        ({"run_id": "a\n"}, "no run id"),
        ({"params": {"a-b": 1}}, "not a Python name"),
        ({"args": ("a\0b",)}, "NUL"),
        ({"requirements_file": "none.txt"}, "not among the files"),
        ({"device": "fpga"}, "no device"),
        ({"limit_s": float("nan")}, "no time limit"),
    ],
)
def test_an_order_that_cannot_be_carried_out_is_refused(changes, word):
    code = packed({"main.py": "", "nb.ipynb": notebook(), "data.csv": ""})
    with pytest.raises(KaggError, match=word) as caught:
        build(Order(**{"run_id": "r", "entry": "main.py", "code": code, **changes}))
    assert caught.value.code == Exit.USAGE


def test_a_script_that_kaggle_would_refuse_for_its_size_is_refused_here():
    code = packed({"main.py": os.urandom(800_000)})
    with pytest.raises(KaggError, match="Kaggle takes"):
        build(Order(run_id="r", entry="main.py", code=code))


def test_a_hostile_name_cannot_leave_its_line_or_literal(session):
    name = "a\n'''\"\"\"\\ import os.py"
    ran = session.run({name: "print('fine')"}, name, env={"X": "'''\n\"\"\""}, args=("\\", "'", '"'))
    assert ran.out.splitlines()[0] == "fine", ran.err


# ---------------------------------------------------------------- by the local Kaggle


@pytest.mark.parametrize(("kind", "namespaces"), [("script", True), ("script", False), ("notebook", True)])
def test_the_local_kaggle_runs_it(tmp_path, ctx, kind, namespaces):
    folder = tmp_path / "project"
    (folder / "pkg").mkdir(parents=True)
    (folder / "pkg/helper.py").write_text("NAME = 'hello'")
    source = "from pkg.helper import NAME; print(NAME); open('m.json', 'w').write('{}')"
    entry = "train.py" if kind == "script" else "train.ipynb"
    (folder / entry).write_text(source if kind == "script" else notebook(source))
    code = inline_code(ctx, collect(ctx, folder, entry, (), ()))
    text = build(Order(run_id="train-1", entry=entry, code=code))
    with LocalKaggle(tmp_path / "kaggle", limits=Limits(namespaces=namespaces)) as kaggle:
        client = Client(kaggle)
        client.push("Train One", text)
        assert client.wait("train-one") == {"status": "COMPLETE"}, client.log("train-one", "stderr")
        files = {item["fileName"]: item["url"] for item in client.output("train-one")["files"]}
        log = client.log("train-one")
        summary = json.loads(client.send("GET", files["session_summary.json"]).content)
    executed = ["executed.ipynb"] if kind == "notebook" else []
    assert list(files) == [*executed, "m.json", "session_started.json", "session_summary.json"]
    assert log.splitlines()[0] == "hello"
    assert log.splitlines()[-1] == "KAGG-EXIT train-1 0"
    assert [entry["path"] for entry in summary["manifest"]] == [*executed, "m.json"]
    assert summary["source_sha256"] == code.sha256
