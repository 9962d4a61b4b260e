"""What first users ran into: each was wrong once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from front_door import environment, kagg

import kagg as spine
from kagg import Exit

NOTEBOOK = {"cells": [], "metadata": {"vscode": {"x": 1}}, "nbformat": 4, "nbformat_minor": 5}


def test_a_version_in_a_link_is_that_version():
    assert spine.parse_ref("https://www.kaggle.com/code/a/b/v99").version == 99
    assert spine.parse_ref("https://www.kaggle.com/code/a/b/v99?x=1").version == 99
    assert spine.parse_ref("https://www.kaggle.com/code/a/b/comments").version is None


def test_a_private_notebook_stays_private(ctx, tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(NOTEBOOK))
    path.chmod(0o600)
    assert kagg(ctx, "preprocess", str(path), "--clean").code == 0
    assert "vscode" not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
def test_what_is_no_regular_file_is_not_replaced(ctx, tmp_path):
    (tmp_path / "a.ipynb").write_text(json.dumps(NOTEBOOK))
    os.mkfifo(tmp_path / "pipe")
    done = kagg(ctx, "preprocess", str(tmp_path / "a.ipynb"), "-o", str(tmp_path / "pipe"))
    assert done.code == Exit.USAGE, done
    assert (tmp_path / "pipe").is_fifo()


def test_a_closed_standard_output_is_no_bug(tmp_path):
    env = environment(tmp_path)
    command = f"{sys.executable} {spine.__file__} list plugins >&-"
    done = subprocess.run(["sh", "-c", command], env=dict(env), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "argv",
    [
        ("run", "absent.py"),
        ("run", "empty.ipynb"),
        ("run", "good.py", "--timeout", "0"),
        ("run", "good.py", "--on", "local", "--kaggle"),
        ("monitor", "http://127.0.0.1:1/", "--max-errors", "5"),
        ("call", "http://127.0.0.1:1/", "--data", "@absent.json"),
        ("push", "notes.txt"),
    ],
    ids=" ".join,
)
def test_bad_input_is_exit_2_in_one_line_and_leaves_nothing(tmp_path, ctx, monkeypatch, argv):
    monkeypatch.chdir(tmp_path)
    Path("empty.ipynb").touch()
    Path("good.py").write_text("print(1)")
    Path("notes.txt").write_text("dear diary")
    done = kagg(ctx, *argv)
    assert (done.code, done.err.count("\n")) == (Exit.USAGE, 1), done
    assert not Path("kaggle_results").exists()


def test_a_stopped_endpoint_is_called_stopped(ctx):
    spine.save_endpoint(ctx, spine.Endpoint("p", "local", "http://127.0.0.1:1/", state="stopped"))
    done = kagg(ctx, "call", "p")
    assert done.code == Exit.SERVICE
    assert "p is stopped; python kagg.py endpoints start p" in done.err


def test_one_home_with_two_registries_does_not_replace_the_endpoint_of_the_other(tmp_path):
    (tmp_path / "p.py").write_text("def predict(payload):\n    return 1\n")
    (tmp_path / "q.py").write_text("def predict(payload):\n    return 2\n")
    first = spine.Context(environment(tmp_path, KAGG_ENDPOINTS=str(tmp_path / "one.json")))
    other = spine.Context(environment(tmp_path, KAGG_ENDPOINTS=str(tmp_path / "two.json")))
    try:
        assert kagg(first, "deploy", str(tmp_path / "p.py"), "--local", "--name", "p").code == 0
        done = kagg(other, "deploy", str(tmp_path / "q.py"), "--local", "--name", "p")
        assert done.code == Exit.USAGE, done
        assert "another registry" in done.err
        assert '"body": 1' in kagg(first, "--json", "call", "p").out
    finally:
        assert kagg(first, "endpoints", "remove", "p").code == 0


def test_a_registry_that_cannot_be_written_leaves_no_server_behind(tmp_path, monkeypatch):
    (tmp_path / "p.py").write_text("def predict(payload):\n    return 1\n")
    ctx = spine.Context(environment(tmp_path))
    endpoints = spine.shared("endpoints")

    def full(*_args, **_more):
        raise OSError(28, "No space left on device", "endpoints.json")

    monkeypatch.setattr(endpoints, "save_endpoint", full)
    done = kagg(ctx, "deploy", str(tmp_path / "p.py"), "--local", "--name", "p")
    assert done.code == Exit.FAILED, done
    assert "No space left on device" in done.err
    assert not spine.room(ctx, "deploy", "local").occupied("p", ctx)


def test_an_answer_that_a_proxy_zipped_is_read(ctx, web):
    import gzip

    packed = gzip.compress(b'{"kernels": [{"ref": "a/b"}]}')
    web.on("/api/v1/kernels.KernelsApiService/ListKernels", (200, packed, {"Content-Encoding": "gzip"}))
    done = kagg(ctx, "--kaggle-url", web.url, "--json", "list")
    assert done.code == 0, done
    assert done.document[0]["ref"] == "a/b"


def test_a_script_that_the_server_names_replaces_no_file(ctx, web, tmp_path):
    (tmp_path / "kagg.py").write_text("mine")
    evil = (200, b"print('theirs')", {"Content-Disposition": 'attachment; filename="kagg.py"'})
    web.on("/lesson.ipynb", evil)
    done = kagg(ctx, "pull", f"{web.url}/lesson.ipynb", "--dest", tmp_path)
    assert done.code == Exit.INTEGRITY, done
    assert (tmp_path / "kagg.py").read_text() == "mine"


@pytest.mark.parametrize("said", ["KERNEL_WORKER_STATUS_RUNNING", "pending", "KernelWorkerStatus.Running"])
def test_a_status_word_that_is_new_is_not_an_end(ctx, web, said):
    web.on("/api/v1/kernels.KernelsApiService/GetKernelSessionStatus", (200, {"status": said}, {}))
    ctx.kaggle_url = web.url
    assert spine.kernel_status(ctx, spine.parse_ref("a/b")).state == "RUNNING"


def test_a_file_with_parameters_is_private(ctx, tmp_path):
    (tmp_path / "good.py").write_text("print(1)")
    done = kagg(ctx, "run", tmp_path / "good.py", "-p", "x=1", "--dest", tmp_path / "out")
    assert done.code == 0, done
    assert (tmp_path / "out" / "result.json").stat().st_mode & 0o777 == 0o600
