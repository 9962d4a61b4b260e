"""Many notebooks at once: the same results in the same order as one after the other, whatever happens to a process."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from front_door import kagg

from kagg import Exit, KaggError
from plugins.lib.prep import parallel

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot copy a process")


def test_results_come_in_order_and_from_other_processes():
    answers = list(parallel.spread(list(range(10)), 3, lambda part: (list(part), os.getpid())))
    assert [number for part, _ in answers for number in part] == list(range(10))
    assert answers[0][1] == os.getpid()
    assert len({pid for _, pid in answers}) == 3


@pytest.fixture
def pids(monkeypatch):
    """Return the list of the processes that are started."""
    started, real = [], parallel._start

    def start(part, do):
        child = real(part, do)
        started.append(child.pid)
        return child

    monkeypatch.setattr(parallel, "_start", start)
    return started


def test_an_error_of_a_part_is_raised_here_and_no_process_is_left(pids):
    def do(part):
        if 9 in part:
            raise KaggError("no", code=Exit.SERVICE, hint="wait")
        return os.getpid()

    with pytest.raises(KaggError) as caught:
        list(parallel.spread(list(range(10)), 2, do))
    assert (caught.value.message, caught.value.code, caught.value.hint) == ("no", Exit.SERVICE, "wait")
    assert pids
    for pid in pids:  # each has been waited for
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


@pytest.mark.parametrize("fault", ["killed", "bug"])
def test_a_process_that_dies_is_no_success(fault):
    def do(part):
        if 0 in part:
            return 0
        if fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ZeroDivisionError

    with pytest.raises(RuntimeError, match=r"ended without a result|ZeroDivisionError"):
        list(parallel.spread([0, 1], 2, do))


def test_whoever_stops_reading_stops_the_processes(pids):
    def do(part):
        if 0 not in part:
            time.sleep(60)
        return os.getpid()

    started = time.monotonic()
    work = parallel.spread([0, 1, 2], 3, do)
    next(work)
    work.close()
    assert time.monotonic() - started < 30
    assert pids
    for pid in pids:  # each has been waited for
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def test_a_few_things_are_not_worth_a_process():
    assert parallel.processes(10, None) == 1
    assert parallel.processes(10_000, 1) == 1
    assert parallel.processes(10_000, 3) in (1, 3)  # 1 while another test's thread runs


def test_preprocess_says_and_does_the_same_with_one_process_and_with_three(ctx, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "MIN_EACH", 4)
    documents = {}
    for number in range(40):
        cell = {
            "cell_type": "code",
            "execution_count": number,
            "metadata": {},
            "outputs": [],
            "source": f"x = {number}",
        }
        documents[f"n{number:02}.ipynb"] = json.dumps(
            {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
        )
    documents["n17.ipynb"] = "{"
    seen = []
    for number in (1, 3):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, content in documents.items():
            (folder / name).write_text(content)
        done = kagg(ctx, "preprocess", folder, "--all", "--parallel", number)
        assert done.code == Exit.USAGE
        lines = [line.replace(str(folder), "") for line in done.out.splitlines()]
        seen.append(
            (sorted(lines), done.err.replace(str(folder), ""), [(folder / name).read_text() for name in documents])
        )
    assert seen[0] == seen[1]
    assert '"execution_count": null' in seen[0][2][3]
