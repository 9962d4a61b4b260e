"""What every batch engine must hold: functions that take an engine's `run` and raise AssertionError.

`reference` shows that the suite can be passed, BROKEN that each check can fail. A new engine needs six lines:

    @pytest.mark.parametrize("check", engine_suite.CHECKS, ids=lambda check: check.__name__)
    def test_my_engine_holds_the_contract(check, ctx):
        check(my_engine.run, ctx)
"""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import pytest

from kagg import Exit, KaggError

WAIT_S = 2.0  # how long a job waits for what a right engine does at once


def every_job_is_done_once_and_every_result_yielded_once(run, ctx):
    done = []

    def do(job):
        done.append(job)
        return job * 10

    results = list(run(range(200), do, ctx, parallel=4))
    assert sorted(done) == list(range(200))
    assert sorted(results) == [job * 10 for job in range(200)]


def a_result_that_is_none_or_false_is_a_result(run, ctx):
    assert sorted(map(str, run([None, 0, ""], lambda job: job, ctx, parallel=2))) == ["", "0", "None"]


def no_jobs_are_no_results(run, ctx):
    assert list(run([], lambda job: job, ctx, parallel=3)) == []


def never_more_than_parallel_at_once(run, ctx):
    lock, now, most = threading.Lock(), [0], [0]

    def do(job):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.004)
        with lock:
            now[0] -= 1
        return job

    assert len(list(run(range(30), do, ctx, parallel=3))) == 30
    assert most[0] <= 3


def jobs_run_at_the_same_time(run, ctx):
    meeting = threading.Barrier(3, timeout=WAIT_S)

    def do(_job):
        try:
            meeting.wait()
        except threading.BrokenBarrierError:
            return "alone"
        return "met"

    assert list(run(range(3), do, ctx, parallel=3)) == ["met"] * 3


def a_result_is_yielded_while_other_jobs_run(run, ctx):
    seen = threading.Event()

    def do(job):
        return job == "fast" or seen.wait(WAIT_S)

    for _ in (results := run(["slow", "fast"], do, ctx, parallel=2)):
        seen.set()
        assert all(results)


def jobs_are_taken_when_there_is_room_for_them(run, ctx):
    taken = []

    def jobs():
        for job in range(60):
            taken.append(job)
            yield job

    with contextlib.closing(run(jobs(), lambda job: time.sleep(0.01) or job, ctx, parallel=2)) as results:
        next(results)
        assert len(taken) <= 10


def closing_starts_no_more_jobs(run, ctx):
    started = []

    def do(job):
        started.append(job)
        time.sleep(0.01)
        return job

    results = run(range(100), do, ctx, parallel=2)
    next(results)
    results.close()
    count = len(started)
    assert count <= 10
    time.sleep(0.05)
    assert len(started) == count


def an_error_of_do_reaches_the_consumer(run, ctx):
    def do(job):
        if job == 3:
            raise ZeroDivisionError
        return job

    with pytest.raises(ZeroDivisionError):
        list(run(range(6), do, ctx, parallel=2))


def an_error_of_the_jobs_reaches_the_consumer(run, ctx):
    def jobs():
        yield 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(run(jobs(), lambda job: job, ctx, parallel=2))


def parallel_below_one_is_refused(run, ctx):
    with pytest.raises(KaggError) as caught:
        list(run([1], lambda job: job, ctx, parallel=0))
    assert caught.value.code == Exit.USAGE


CHECKS = [
    every_job_is_done_once_and_every_result_yielded_once,
    a_result_that_is_none_or_false_is_a_result,
    no_jobs_are_no_results,
    never_more_than_parallel_at_once,
    jobs_run_at_the_same_time,
    a_result_is_yielded_while_other_jobs_run,
    jobs_are_taken_when_there_is_room_for_them,
    closing_starts_no_more_jobs,
    an_error_of_do_reaches_the_consumer,
    an_error_of_the_jobs_reaches_the_consumer,
    parallel_below_one_is_refused,
]


def reference(jobs, do, _ctx, *, parallel):
    """The plainest right engine."""
    if parallel < 1:
        raise KaggError("parallel is below 1", code=Exit.USAGE)
    with ThreadPoolExecutor(parallel) as pool:
        under_way = set()
        for job in jobs:
            under_way.add(pool.submit(do, job))
            if len(under_way) == parallel:
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while under_way:
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)


def loses_a_job(jobs, do, ctx, *, parallel):
    yield from list(reference(jobs, do, ctx, parallel=parallel))[:-1]


def does_a_job_twice(jobs, do, ctx, *, parallel):
    for job in jobs:
        do(job)
        yield from reference([job], do, ctx, parallel=parallel)


def drops_empty_results(jobs, do, ctx, *, parallel):
    yield from filter(None, reference(jobs, do, ctx, parallel=parallel))


def has_no_limit(jobs, do, ctx, *, parallel):
    yield from reference(jobs, do, ctx, parallel=parallel and 50)


def does_one_after_the_other(jobs, do, ctx, *, parallel):
    yield from reference(jobs, do, ctx, parallel=min(parallel, 1))


def yields_when_all_are_done(jobs, do, ctx, *, parallel):
    yield from list(reference(jobs, do, ctx, parallel=parallel))


def takes_all_jobs_first(jobs, do, ctx, *, parallel):
    yield from reference(list(jobs), do, ctx, parallel=parallel)


def goes_on_after_close(jobs, do, ctx, *, parallel):
    results = reference(jobs, do, ctx, parallel=parallel)
    try:
        yield from results
    except GeneratorExit:
        threading.Thread(target=lambda: [do(job) for job in jobs], daemon=True).start()
        raise


def swallows_errors(jobs, do, ctx, *, parallel):
    def careless(job):
        with contextlib.suppress(ZeroDivisionError):
            return do(job)

    yield from reference(jobs, careless, ctx, parallel=parallel)


def stops_at_an_error_of_the_jobs(jobs, do, ctx, *, parallel):
    def quiet():
        with contextlib.suppress(ZeroDivisionError):
            yield from jobs

    yield from reference(quiet(), do, ctx, parallel=parallel)


def takes_any_parallel(jobs, do, ctx, *, parallel):
    yield from reference(jobs, do, ctx, parallel=max(1, parallel))


BROKEN = {
    loses_a_job: every_job_is_done_once_and_every_result_yielded_once,
    does_a_job_twice: every_job_is_done_once_and_every_result_yielded_once,
    drops_empty_results: a_result_that_is_none_or_false_is_a_result,
    has_no_limit: never_more_than_parallel_at_once,
    does_one_after_the_other: jobs_run_at_the_same_time,
    yields_when_all_are_done: a_result_is_yielded_while_other_jobs_run,
    takes_all_jobs_first: jobs_are_taken_when_there_is_room_for_them,
    goes_on_after_close: closing_starts_no_more_jobs,
    swallows_errors: an_error_of_do_reaches_the_consumer,
    stops_at_an_error_of_the_jobs: an_error_of_the_jobs_reaches_the_consumer,
    takes_any_parallel: parallel_below_one_is_refused,
}
