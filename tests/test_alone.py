"""kagg.py copied alone into an empty folder, run by a Python with nothing installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import venv
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from local_kaggle import Client

import kagg
from plugins.lib.kaggle.server import LocalKaggle


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bare") / "venv"
    venv.create(folder, with_pip=False, symlinks=sys.platform != "win32")
    return next(folder.glob("[bB]*/python*"))


@pytest.fixture
def kaggle(tmp_path):
    with LocalKaggle(tmp_path / "kaggle") as server:
        yield server


@pytest.fixture
def alone(tmp_path, python, kaggle):
    """Run the copy; `alone.folder` is where it lies."""
    folder = tmp_path / "alone"
    folder.mkdir()
    shutil.copy(kagg.__file__, folder / "kagg.py")
    env = {"HOME": str(tmp_path), "KAGG_HOME": str(tmp_path / "home"), "KAGG_KAGGLE_URL": kaggle.url}
    env |= {"KAGGLE_USERNAME": "demo", "KAGGLE_KEY": kaggle.world.accounts.users["demo"]["key"]}

    def run(*argv):
        command = [str(python), "-I", "kagg.py", *argv]
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)

    run.folder = folder
    return run


def test_it_lists_and_pulls(alone, kaggle):
    Client(kaggle).push("Hello There", "print('hello')")
    listed, pulled = alone("--json", "list", "--mine"), alone("pull", "demo/hello-there", "--metadata")
    assert (listed.returncode, pulled.returncode) == (0, 0), listed.stderr + pulled.stderr
    assert [row["ref"] for row in json.loads(listed.stdout)] == ["demo/hello-there"]
    assert Path(alone.folder, "hello-there.py").read_text() == "print('hello')"


def test_it_pushes_once_also_when_the_reply_is_lost(alone, kaggle):
    (alone.folder / "work.py").write_text("print(6 * 7)")
    kaggle.faults.add("lost_reply", "kernels.KernelsApiService/SaveKernel")
    done = alone("push", "work.py", "--title", "Lonely work")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("demo/lonely-work version 1")
    assert "looking whether the push of demo/lonely-work arrived" in done.stderr
    assert [path.name for path in (kaggle.world.root / "kernels/demo/lonely-work/versions").iterdir()] == ["1"]


def test_it_runs_a_script_and_says_truthfully_how_it_ended(alone):
    (alone.folder / "good.py").write_text("import sys; print(sys.argv[1:])")
    (alone.folder / "bad.py").write_text("raise SystemExit(4)")
    good, bad = alone("run", "good.py", "-p", "epochs=3", "--", "--fast"), alone("run", "bad.py")
    assert (good.returncode, bad.returncode) == (0, 1)
    assert "['--epochs=3', '--fast']" in good.stderr
    assert "code 4" in bad.stderr


def test_a_notebook_without_its_packages_is_one_line_with_the_pip_command(alone):
    (alone.folder / "x.ipynb").write_text(json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    done = alone("run", "x.ipynb")
    assert done.returncode == 11
    assert "pip install 'nbclient" in done.stderr


class _Echo(BaseHTTPRequestHandler):
    def do_GET(self):
        self._answer(b'{"status": "ok"}')

    def do_POST(self):
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("more", [["-p", "epochs=3"], ["--", "--fast"]])
def test_a_notebook_that_could_not_get_its_parameters_is_refused(alone, more):
    (alone.folder / "nb.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    done = alone("run", "nb.ipynb", *more)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert "plugins/" in done.stderr


def test_it_calls_and_monitors_an_endpoint_of_its_registry(alone):
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        registry = {"version": 1, "endpoints": {"echo": {"target": "local", "url": url}}}
        (alone.folder / "endpoints.json").write_text(json.dumps(registry))
        called = alone("--json", "call", "echo", "--data", '{"x": 1}')
        watched = alone("--json", "monitor", "echo", "--duration", "1s", "--interval", "200ms")
        server.shutdown()
    assert called.returncode == 0, called.stderr
    assert json.loads(called.stdout)["body"] == {"x": 1}
    report = json.loads(watched.stdout)
    assert (watched.returncode, report["count"], report["errors"]) == (0, 5, 0)
    assert report["p50_ms"] <= report["p99_ms"] <= report["max_ms"]


@pytest.mark.parametrize(
    "argv", [("batch", "x.csv"), ("preprocess", "x.ipynb"), ("deploy", "x.py", "--local"), ("list", "runs")]
)
def test_what_needs_a_room_says_so_in_one_line(alone, argv):
    done = alone(*argv)
    assert (done.returncode, done.stdout) == (11, "")
    assert done.stderr.count("\n") == 1
    assert "beside kagg.py" in done.stderr


def test_a_command_that_is_a_room_is_not_known_alone_and_the_hint_says_why(alone):
    done = alone("status", "demo/x")
    assert done.returncode == 11
    assert "plugins/ beside kagg.py" in done.stderr
