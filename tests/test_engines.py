"""Every batch engine holds the suite's contract, and the suite can tell a broken one."""

from __future__ import annotations

import threading
import time

import pytest
from suites import engine_suite

from kagg import Context, room


def name_of(value):
    return value.__name__


@pytest.fixture
def ctx(tmp_path):
    return Context({"KAGG_HOME": str(tmp_path), "KAGG_NO_PLUGINS": "1"})


@pytest.mark.parametrize("check", engine_suite.CHECKS, ids=name_of)
def test_the_local_engine_holds_the_contract(check, ctx):
    check(room(ctx, "engine", "local").run, ctx)


@pytest.mark.parametrize("check", engine_suite.CHECKS, ids=name_of)
def test_the_reference_engine_holds_the_contract(check, ctx):
    check(engine_suite.reference, ctx)


@pytest.mark.parametrize(("engine", "check"), engine_suite.BROKEN.items(), ids=name_of)
def test_a_broken_engine_is_found_out(engine, check, ctx):
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(engine, ctx)


def test_every_check_has_a_broken_engine_that_fails_it_or_is_trivial():
    assert set(engine_suite.CHECKS) - set(engine_suite.BROKEN.values()) == {engine_suite.no_jobs_are_no_results}


def test_a_job_that_hangs_does_not_keep_the_local_engine_from_stopping(ctx, monkeypatch):
    local = room(ctx, "engine", "local")
    monkeypatch.setattr(local, "STOP_GRACE_S", 0.05)
    release = threading.Event()
    results = local.run(["quick", "hangs"], lambda job: job == "quick" or release.wait(30), ctx, parallel=2)
    next(results)
    started_s = time.monotonic()
    results.close()
    assert time.monotonic() - started_s < 20
    release.set()
