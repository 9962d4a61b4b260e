"""Local runs: real notebooks and scripts, their records, and that nothing is left running."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from kagg import Context, KaggError
from plugins.lib import child
from plugins.lib.local_run import find_entry, list_outputs, run_local

ROOT = Path(__file__).resolve().parent.parent
LEAVE_A_CHILD = "import subprocess\nprint(subprocess.Popen(['sleep', '300']).pid, flush=True)\n"


@pytest.fixture
def ctx(tmp_path):
    return Context(env=dict(os.environ) | {"KAGG_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)})


@pytest.fixture
def script(tmp_path):
    """Write a script and return its path."""

    def write(text, name="s.py"):
        path = tmp_path / "source" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def write_notebook(path, *sources, tags=()):
    cells = [
        {"cell_type": "code", "execution_count": None, "metadata": {"tags": list(tags)}, "outputs": [], "source": text}
        for text in sources
    ]
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": cells}))
    return path


def logged(dest, stream):
    lines = (dest / "log.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    return "".join(event["data"] for event in events if event.get("stream_name") == stream)


def is_gone(pid, within_s=10.0):
    """Wait until a process is dead; one that nobody has buried yet counts."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def test_a_notebook_leaves_its_outputs_its_log_and_a_record(ctx, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "helper.py").write_text("VALUE = 5\n")
    (source / "data.csv").write_text("a\n1\n")
    use = "import helper, os, pathlib\nrows = pathlib.Path(os.environ['KAGG_INPUT_DIR'], 'data.csv').read_text()"
    save = "os.mkdir('sub'); print(open('sub/o.txt', 'w').write(str(n * helper.VALUE)), rows)"
    path = write_notebook(source / "a.ipynb", "n = 1", use, save, tags=["parameters"])
    seen = []
    result = run_local(ctx, path, dest=tmp_path / "run", params={"n": 7}, timeout_s=50, on_event=seen.append)
    assert (result["status"], result["exit_code"], result["error"]) == ("complete", 0, None), result
    digest = hashlib.sha256(b"35").hexdigest()
    assert result["outputs"] == [{"path": "sub/o.txt", "size_bytes": 2, "sha256": digest}]
    assert result["source_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == result
    assert "n = 7" in Path(result["executed_notebook"]).read_text()
    assert logged(tmp_path / "run", "stdout") == "2 a\n1\n\n"
    assert seen[-1]["event"] == "end"
    assert sorted(file.name for file in source.iterdir() if file.is_file()) == ["a.ipynb", "data.csv", "helper.py"]


def test_a_notebook_that_raises_is_a_result_with_its_cell_and_traceback(ctx, tmp_path):
    path = write_notebook(tmp_path / "a.ipynb", "x = 1", "open('missing.csv')")
    result = run_local(ctx, path, dest=tmp_path / "run")
    assert (result["status"], result["exit_code"], result["cell"]) == ("error", 1, 1)
    assert result["error"] == "FileNotFoundError: [Errno 2] No such file or directory: 'missing.csv'"
    assert result["traceback"][-1] == result["error"]
    assert result["executed_notebook"]


def test_a_notebook_whose_kernel_dies_is_reported_as_killed(ctx, tmp_path):
    path = write_notebook(tmp_path / "a.ipynb", "import os\nos._exit(3)")
    result = run_local(ctx, path, dest=tmp_path / "run")
    assert (result["status"], result["exit_code"], result["cell"]) == ("killed", 1, 0)
    assert "exit code 3" in result["error"]


def test_an_unusable_notebook_is_an_error_with_the_runners_words(ctx, tmp_path):
    (tmp_path / "a.ipynb").write_text("{}")
    result = run_local(ctx, tmp_path / "a.ipynb", dest=tmp_path / "run")
    assert (result["status"], result["exit_code"]) == ("error", 2)
    assert "names no nbformat" in result["error"]
    assert result["executed_notebook"] is None


def test_a_script_gets_parameters_and_arguments_and_keeps_both_streams(ctx, script, tmp_path):
    text = (
        "import json, os, sys\n"
        "print(json.dumps([sys.argv[1:], json.load(open(os.environ['KAGG_PARAMS']))]))\n"
        "print('\u2028 é', end='')\n"
        "sys.stderr.buffer.write(b'\\xff bad')\n"
        "assert sys.stdin.read() == ''\n"
    )
    result = run_local(ctx, script(text), dest=tmp_path / "run", params={"n": 7, "on": True, "s": "a b"}, args=["k"])
    assert (result["status"], result["exit_code"]) == ("complete", 0)
    first, rest = logged(tmp_path / "run", "stdout").split("\n")
    assert json.loads(first) == [["--n=7", "--on=true", "--s=a b", "k"], {"n": 7, "on": True, "s": "a b"}]
    assert rest == "\u2028 é"
    assert logged(tmp_path / "run", "stderr") == "\ufffd bad"
    assert (tmp_path / "run" / "params.json").stat().st_mode & 0o777 == 0o600


def test_a_script_that_fails_keeps_its_exit_code_and_last_line(ctx, script, tmp_path):
    result = run_local(ctx, script("import sys\nsys.exit('no luck')"), dest=tmp_path / "run")
    assert (result["status"], result["exit_code"], result["error"]) == ("error", 1, "no luck")
    result = run_local(ctx, script("raise SystemExit(7)"), dest=tmp_path / "other")
    assert (result["status"], result["exit_code"], result["error"]) == ("error", 7, "exit code 7")


def test_a_script_killed_by_a_signal_is_killed_and_never_exit_code_0(ctx, script, tmp_path):
    result = run_local(ctx, script("import os\nos.kill(os.getpid(), 9)"), dest=tmp_path / "run")
    assert (result["status"], result["exit_code"]) == ("killed", 137)
    assert result["error"] == "the run was ended by SIGKILL"


def test_a_script_past_its_time_is_ended_with_all_that_it_started(ctx, script, tmp_path, monkeypatch):
    monkeypatch.setattr(child, "STOP_GRACE_S", 0.3)
    stubborn = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + LEAVE_A_CHILD
    result = run_local(ctx, script(stubborn + "time.sleep(300)"), dest=tmp_path / "run", timeout_s=1)
    assert (result["status"], result["exit_code"]) == ("timeout", 137)
    assert result["error"] == "the run took longer than 1 s"
    assert is_gone(int(logged(tmp_path / "run", "stdout")))


def test_a_notebook_past_its_time_keeps_its_outputs(ctx, tmp_path):
    path = write_notebook(tmp_path / "a.ipynb", "print('first', flush=True)", "while True: pass")
    result = run_local(ctx, path, dest=tmp_path / "run", timeout_s=2)
    assert (result["status"], result["exit_code"], result["cell"]) == ("timeout", 1, 1)
    assert "first" in Path(result["executed_notebook"]).read_text()


def test_a_background_process_of_a_finished_script_neither_holds_the_run_nor_survives(ctx, script, tmp_path):
    result = run_local(ctx, script(LEAVE_A_CHILD), dest=tmp_path / "run")
    assert result["status"] == "complete"
    assert is_gone(int(logged(tmp_path / "run", "stdout")))


def test_an_error_of_the_listener_ends_the_run_and_leaves_a_record(ctx, script, tmp_path):
    pids = []

    def listen(event):
        pids.append(int(event["data"]))
        raise KeyboardInterrupt

    endless = script("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(300)")
    with pytest.raises(KeyboardInterrupt):
        run_local(ctx, endless, dest=tmp_path / "run", on_event=listen)
    record = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (record["status"], record["error"]) == ("killed", "ended by KeyboardInterrupt")
    assert is_gone(pids[0])


def test_the_script_dies_with_a_killed_caller_and_no_record_claims_an_end(script, tmp_path):
    endless = script("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(300)")
    call = (
        "import sys, pathlib\nfrom kagg import Context\nfrom plugins.lib.local_run import run_local\n"
        "run_local(Context(), pathlib.Path(sys.argv[1]), dest=pathlib.Path(sys.argv[2]),"
        " on_event=lambda event: print(event['data'], flush=True))"
    )
    env = os.environ | {"KAGG_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", call, str(endless), str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as caller:
        pid = int(caller.stdout.readline())
        caller.send_signal(signal.SIGKILL)
    assert is_gone(pid)
    assert not (tmp_path / "run" / "result.json").exists()


def test_twenty_megabytes_of_a_script_are_logged_whole(ctx, script, tmp_path):
    text = "import sys\nfor _ in range(20): sys.stdout.write('z' * 1048575 + '\\n')"
    assert run_local(ctx, script(text), dest=tmp_path / "run")["status"] == "complete"
    assert len(logged(tmp_path / "run", "stdout")) == 20 * 1048576


def test_a_run_in_the_sources_folder_counts_only_new_and_changed_files(ctx, script, tmp_path):
    path = script("open('new.txt', 'w').write('1')\nopen('old.txt', 'a').write('more')")
    (path.parent / "old.txt").write_text("old")
    (path.parent / "kept.txt").write_text("kept")
    result = run_local(ctx, path, dest=path.parent / "run", cwd="source")
    assert [output["path"] for output in result["outputs"]] == ["new.txt", "old.txt"]
    assert result["output_folder"] == str(path.parent)


def test_outputs_are_regular_files_only_and_links_are_not_followed(tmp_path):
    (tmp_path / "secret.txt").write_text("outside")
    folder = tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.txt").write_text("a")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    os.mkfifo(folder / "pipe")
    assert [output["path"] for output in list_outputs(folder)] == ["sub/a.txt"]


def test_a_folder_with_an_earlier_run_is_refused(ctx, script, tmp_path):
    path = script("open('o.txt', 'w')")
    run_local(ctx, path, dest=tmp_path / "run")
    with pytest.raises(KaggError, match="holds an earlier run"):
        run_local(ctx, path, dest=tmp_path / "run")


def test_the_entry_of_a_folder_is_code_file_then_main_then_the_only_notebook(tmp_path):
    write_notebook(tmp_path / "a.ipynb", "1")
    assert find_entry(tmp_path).name == "a.ipynb"
    (tmp_path / "main.py").write_text("")
    assert find_entry(tmp_path).name == "main.py"
    (tmp_path / "kernel-metadata.json").write_text('{"code_file": "a.ipynb"}')
    assert find_entry(tmp_path).name == "a.ipynb"


@pytest.mark.parametrize("name", ["../outside.py", "/etc/passwd", "gone.py", "data.csv"])
def test_a_hostile_or_missing_code_file_is_refused(tmp_path, name):
    (tmp_path / "outside.py").write_text("")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "data.csv").write_text("")
    (folder / "kernel-metadata.json").write_text(json.dumps({"code_file": name}))
    with pytest.raises(KaggError):
        find_entry(folder)


def test_a_folder_with_two_notebooks_needs_a_name(tmp_path):
    write_notebook(tmp_path / "a.ipynb", "1")
    write_notebook(tmp_path / "b.ipynb", "1")
    with pytest.raises(KaggError, match="2 notebooks"):
        find_entry(tmp_path)
