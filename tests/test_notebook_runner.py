"""The notebook runner: a real kernel each time, started the way its callers start it."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.lib import notebook_file
from plugins.lib import notebook_runner as runner

RUNNER = Path(runner.__file__)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
HOLD = """
import os, subprocess
child = subprocess.Popen(["sleep", "300"])
print(os.getpid(), child.pid, flush=True)
"""
HOLD_THE_INTERPRETER_LOCK = "import re\nre.match('(a+)+b', 'a' * 60)"


def code(source, *tags):
    return {
        "cell_type": "code",
        "execution_count": 7,
        "metadata": {"tags": list(tags)} if tags else {},
        "outputs": [{"output_type": "stream", "name": "stdout", "text": "of an earlier run\n"}],
        "source": source,
    }


def markdown(source):
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def notebook(*cells, minor=4, **metadata):
    metadata.setdefault("kernelspec", {"name": "conda-env-gone-py", "display_name": "gone"})
    cells = [cell if isinstance(cell, dict) else code(cell) for cell in cells]
    return {"nbformat": 4, "nbformat_minor": minor, "metadata": metadata, "cells": cells}


class Run:
    """A finished run: its exit code, events and result."""

    def __init__(self, process, out):
        stdout, self.stderr = process.communicate(timeout=50)
        self.lines = stdout.splitlines()
        self.events = [json.loads(line) for line in self.lines]
        self.end = self.events[-1]
        self.code = process.returncode
        self.out = json.loads(out.read_text(encoding="utf-8")) if out.exists() else None

    def text(self, stream="stdout"):
        return "".join(event["data"] for event in self.events if event.get("stream_name") == stream)

    def outputs(self, cell):
        return ["".join(output.get("text", "")) for output in self.out["cells"][cell]["outputs"]]


@pytest.fixture
def start(tmp_path):
    """Start the runner as a child in a working folder of its own."""
    started = []

    def start_one(document, *options, env=None):
        source, work = tmp_path / "in.ipynb", tmp_path / "work"
        source.write_text(json.dumps(document), encoding="utf-8")
        work.mkdir(exist_ok=True)
        command = [sys.executable, "-P", str(RUNNER), str(source), str(tmp_path / "out.ipynb"), "--cwd", str(work)]
        ours = ("PYTHONPATH", "PYTEST_CURRENT_TEST")  # with the second ipykernel does not look at file descriptors
        clean = {key: value for key, value in os.environ.items() if key not in ours} | (env or {})
        process = subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean, cwd=tmp_path
        )
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()
        process.communicate(timeout=10)


@pytest.fixture
def run(start, tmp_path):
    """Run a notebook to its end."""
    return lambda document, *options, env=None: Run(start(document, *options, env=env), tmp_path / "out.ipynb")


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


def pids_of(process):
    """Read the kernel's and its child's process ids from the first event."""
    return [int(word) for word in json.loads(process.stdout.readline())["data"].split()]


def test_a_notebook_runs_under_this_python_whatever_kernel_it_names(run, tmp_path):
    result = run(
        notebook(
            markdown("# title"),
            "import os, sys\nprint('é \u2028 line', sys.executable)\nprint('low', file=sys.stderr)",
            "os.system('echo below python')\nopen('made.txt', 'w').write('x')",
            "[1, 2]",
            code(""),
        ),
        "--cells",
    )
    assert result.code == 0, result.stderr
    assert (result.end["status"], result.end["reason"], result.end["cell"]) == ("complete", None, None)
    assert f"é \u2028 line {sys.executable}\n" in result.text()
    assert "below python\n" in result.text()
    assert result.text().endswith("[1, 2]\n")
    assert "low\n" in result.text("stderr")
    assert [event["cell"] for event in result.events if event.get("event") == "cell"] == [0, 1, 2, 3, 4]
    assert all(line.isascii() for line in result.lines)
    assert (tmp_path / "work" / "made.txt").read_text() == "x"
    nbformat.validate(result.out)
    assert "of an earlier run" not in json.dumps(result.out)
    assert result.out["cells"][3]["outputs"][0]["data"]["text/plain"] == "[1, 2]"


def test_a_notebook_that_raises_keeps_the_outputs_so_far_and_names_the_cell(run):
    result = run(notebook(markdown("x"), "print('before')", "1 / 0", "print('after')"))
    assert result.code == 1
    end = result.end
    assert (end["status"], end["reason"], end["cell"], end["ename"]) == ("error", "raised", 2, "ZeroDivisionError")
    assert end["traceback_last_line"] == "ZeroDivisionError: division by zero"
    assert "\x1b" not in result.text("stderr")
    assert "ZeroDivisionError: division by zero" in result.text("stderr")
    assert result.outputs(1) == ["before\n"]
    assert result.out["cells"][2]["outputs"][0]["ename"] == "ZeroDivisionError"
    assert result.out["cells"][3]["outputs"] == []


def test_a_cell_tagged_raises_exception_does_not_end_the_run(run):
    result = run(notebook(code("1 / 0", "raises-exception"), "print('after')"))
    assert (result.code, result.end["status"], result.text()) == (0, "complete", "after\n")


def test_what_a_thread_prints_after_its_cell_has_ended_is_kept_in_that_cell(run):
    late = "import threading, time\nthread = threading.Thread(target=lambda: (time.sleep(0.2), print('late')))"
    result = run(notebook(late + "\nthread.start()", "thread.join()", "print('last')"))
    assert result.code == 0
    assert "late\n" in result.text()
    assert result.outputs(0) + result.outputs(1) == ["late\n"]
    nbformat.validate(result.out)


def test_what_child_processes_print_at_the_very_end_is_kept(run):
    result = run(notebook("import subprocess\ndone = subprocess.run(['echo', 'bye'], check=True)"))
    assert result.text() == "bye\n"


def test_a_killed_kernel_is_reported_with_its_signal(run):
    result = run(notebook("print('a')", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "print('b')"))
    assert (result.code, result.end["reason"], result.end["cell"]) == (1, "kernel", 1)
    assert "SIGKILL" in result.end["evalue"]
    assert result.outputs(0) == ["a\n"]


def test_the_timeout_covers_the_whole_run_and_leaves_partial_outputs(run):
    nap = "import time\nprint('nap', flush=True)\ntime.sleep(1.2)"
    result = run(notebook(nap, nap, nap, nap), "--timeout", "3")
    assert (result.code, result.end["status"], result.end["reason"]) == (1, "error", "timeout")
    assert result.end["evalue"] == "the run took longer than 3 s"
    assert result.outputs(0) == ["nap\n"]
    assert result.out["cells"][3]["outputs"] == []


def test_a_cell_that_swallows_the_interrupt_is_killed(run, tmp_path):
    stubborn = "while True:\n    try:\n        time.sleep(60)\n    except KeyboardInterrupt:\n        print('no')"
    result = run(notebook("import time", stubborn), "--timeout", "2")
    assert (result.code, result.end["reason"], result.end["cell"]) == (1, "timeout", 1)
    assert "no\n" in result.text()


def test_sigterm_ends_the_kernel_and_still_writes_the_notebook(start, tmp_path):
    process = start(notebook(HOLD, "import time\ntime.sleep(300)"))
    kernel, child = pids_of(process)
    process.send_signal(signal.SIGTERM)
    result = Run(process, tmp_path / "out.ipynb")
    assert (result.code, result.end["reason"]) == (1, "stopped")
    assert str(kernel) in result.outputs(0)[0]
    assert is_gone(kernel)
    assert is_gone(child)


def test_the_kernel_dies_with_a_killed_runner_even_while_c_code_holds_the_interpreter(start, tmp_path):
    folder = tmp_path / "t"
    folder.mkdir()
    process = start(notebook(HOLD, HOLD_THE_INTERPRETER_LOCK), env={"TMPDIR": str(folder)})
    kernel, child = pids_of(process)
    process.kill()
    process.wait(timeout=10)
    assert is_gone(kernel)
    assert is_gone(child)
    assert not (tmp_path / "out.ipynb").exists()


def test_a_reader_that_goes_away_ends_the_run(start, tmp_path):
    process = start(notebook(HOLD, "while True: print('more')"))
    kernel, child = pids_of(process)
    process.stdout.close()
    assert process.wait(timeout=20) == 1
    assert process.stderr.read() == b""
    process.stdout = None  # for the fixture's communicate()
    assert is_gone(kernel)
    assert is_gone(child)
    assert nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[0].outputs


def test_what_a_notebook_leaves_running_is_ended_with_it(run):
    result = run(notebook(HOLD))
    kernel, child = (int(word) for word in result.text().split())
    assert result.code == 0
    assert is_gone(kernel)
    assert is_gone(child)


def test_a_slow_reader_gets_twenty_megabytes_and_a_flood_of_results_whole(start, tmp_path):
    flood = "for number in range(4000): display(number)"
    process = start(notebook(flood, "for _ in range(20): print('y' * 1_048_575)"))
    time.sleep(2)  # long enough for zmq's default limits to drop most of the flood
    result = Run(process, tmp_path / "out.ipynb")
    assert (result.code, result.end["status"]) == (0, "complete")
    numbers, text = result.text().split("y", 1)
    assert numbers.split() == [str(number) for number in range(4000)]
    assert text.count("y") == 20 * 1_048_575 - 1
    assert len(result.out["cells"][0]["outputs"]) == 4000
    assert len(result.outputs(1)) == 1
    assert max(len(line) for line in result.lines) < 4 * runner.DATA_CHARS


def test_a_notebook_of_version_3_runs_from_a_temporary_folder_with_a_long_name(run, tmp_path):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    cell = {"cell_type": "code", "language": "python", "input": "print('old')", "outputs": [], "metadata": {}}
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [{"cells": [cell]}]}
    result = run(old, env={"TMPDIR": str(deep)})
    assert (result.code, result.text()) == (0, "old\n")
    assert result.out["nbformat"] == 4
    nbformat.validate(result.out)


def test_parameters_follow_the_tagged_cell_and_the_cell_count_is_that_of_the_source(run, tmp_path):
    params = tmp_path / "p.json"
    params.write_text(json.dumps({"n": 3, "text": "it's \u2028", "extra": None}), encoding="utf-8")
    document = notebook("import sys", code("n = 1; text = ''", "parameters"), "print(n, text)", "1 / 0")
    result = run(document, "--params", str(params))
    assert result.text() == "3 it's \u2028\n"
    assert "does not set extra" in result.text("stderr")
    assert result.end["cell"] == 3
    assert result.out["cells"][2]["metadata"]["tags"] == ["injected-parameters"]
    nbformat.validate(result.out)


@given(JSON_VALUES)
def test_every_json_value_survives_its_way_into_python_source(value):
    source = notebook_file.literal(value)
    assert source.isascii()
    assert eval(source, {"__builtins__": {}}) == value  # noqa: S307 - our own output


def test_numbers_without_a_literal_are_written_as_calls():
    assert math.isnan(eval(notebook_file.literal(math.nan), {"float": float}))  # noqa: S307 - our own output
    assert eval(notebook_file.literal([-math.inf]), {"float": float}) == [-math.inf]  # noqa: S307 - our own output


def test_injected_parameters_of_an_earlier_run_are_replaced():
    document = nbformat.from_dict(notebook(code("n = 1", "parameters"), code("n = 2", "injected-parameters"), "n"))
    assert notebook_file.inject(document, {"n": 5}) == (1, [])
    assert [cell.source for cell in document.cells] == ["n = 1", "# Parameters\nn = 5", "n"]
    assert "id" not in document.cells[1]


def test_parameters_without_a_tagged_cell_come_first_with_a_warning():
    document = nbformat.from_dict(notebook("n", minor=5))
    index, warnings = notebook_file.inject(document, {"n": 5})
    assert (index, document.cells[0].source) == (0, "# Parameters\nn = 5")
    assert document.cells[0].id
    assert "no cell is tagged 'parameters'" in warnings[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "names no nbformat"),
        ('{"cells": [], "metadata": {}}', "names no nbformat"),
        ('{"nbformat": 4, "nbformat_minor": 4, "cells": [{}], "metadata": {}}', "is not a valid notebook"),
        (json.dumps(notebook("x", kernelspec={"name": "ir"})), "written in ir"),
        (json.dumps(notebook("x", language_info={"name": "julia"})), "written in julia"),
    ],
)
def test_what_cannot_be_run_is_one_line_and_exit_code_2(tmp_path, capsys, text, words):
    source = tmp_path / "in.ipynb"
    source.write_text(text)
    assert runner.main([str(source), str(tmp_path / "out.ipynb")]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.count("\n") == 1
    assert json.loads(captured.out)["reason"] == "input"
    assert not (tmp_path / "out.ipynb").exists()


@pytest.mark.parametrize("params", ['{"not a name": 1}', '{"class": 1}', "[1]", "{"])
def test_bad_parameters_are_refused_before_a_kernel_starts(tmp_path, capsys, params):
    source, file = tmp_path / "in.ipynb", tmp_path / "p.json"
    source.write_text(json.dumps(notebook("1")))
    file.write_text(params)
    assert runner.main([str(source), str(tmp_path / "out.ipynb"), "--params", str(file)]) == 2
    assert json.loads(capsys.readouterr().out)["status"] == "error"


def test_a_string_for_a_kernelspec_is_read_as_python(tmp_path):
    source = tmp_path / "in.ipynb"
    source.write_text(json.dumps(notebook("1", kernelspec="python3")))
    assert notebook_file.read_notebook(source).cells[0].source == "1"


def test_a_lone_surrogate_survives_in_the_written_notebook(tmp_path):
    document = nbformat.from_dict(notebook("print('\ud800')"))
    notebook_file.write_notebook(document, tmp_path / "out.ipynb")
    assert json.loads((tmp_path / "out.ipynb").read_text())["cells"][0]["source"] == "print('\ud800')"
    assert [path.name for path in tmp_path.iterdir()] == ["out.ipynb"]
