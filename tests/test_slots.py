"""Waiting for a session: on a local Kaggle that refuses what it has no slot for, with threads, processes and kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from front_door import QuickContext, close
from journal_yard import Yard, script

from kagg import Exit, KaggError, push_kernel
from plugins.lib.batch_job import JobContext
from plugins.lib.kaggle.server import LocalKaggle
from plugins.lib.kaggle.sessions import Limits
from plugins.lib.launch import journal
from plugins.lib.launch.slots import push_when_free

ROOT = Path(__file__).resolve().parent.parent


class HookedContext(QuickContext):
    """A context that does something at its n-th wait."""

    def __init__(self, env):
        super().__init__(env)
        self.hooks = {}

    def sleep(self, seconds):
        super().sleep(seconds)
        self.hooks.pop(len(self.waits), lambda: None)()

    @property
    def said(self):
        return self.stderr.getvalue()


class Desk(Yard):
    """A yard whose runs push through the queue; `knocks` are the pushes that reached Kaggle."""

    def __init__(self, folder, kaggle):
        super().__init__(folder, kaggle)
        self.ctx = self.context(HookedContext)
        self.knocks = 0

    def push_next(self, mark, device="gpu", ctx=None, **options):
        ctx = ctx or self.ctx
        slug = self.slug(mark)
        shape = {"enableGpu": True} if device == "gpu" else {}
        body = {"newTitle": slug.replace("-", " "), "slug": f"demo/{slug}", "text": script(f"run-{mark}"), **shape}
        body |= {"language": "python", "kernelType": "script"}

        def push():
            self.knocks += 1
            return push_kernel(ctx, body, allow_live=True)

        options.setdefault("max_wait_s", 600)
        return push_when_free(ctx, device.upper(), push, **options)

    def delete(self, slug):
        self.client.call("DeleteKernel", self.client.named(slug))


def desk_with(folder, **limits):
    return LocalKaggle(folder / "kaggle", limits=Limits(queue_s=600, **limits))


@pytest.fixture
def desk(tmp_path):
    with desk_with(tmp_path) as kaggle:
        found = Desk(tmp_path, kaggle)
        yield found
        found.ledger.close()
        close(found.ctx)


def test_a_free_slot_takes_the_push_at_once(desk):
    reply = desk.push_next(1)
    assert (reply["owner"], reply["slug"]) == ("demo", desk.slug(1))
    assert (desk.knocks, desk.ctx.waits) == (1, [])


def test_a_push_does_not_knock_while_our_own_sessions_fill_the_limit_and_goes_when_one_ends(desk):
    first, second = desk.run(1), desk.run(2)
    desk.ctx.hooks[3] = lambda: desk.delete(first)
    desk.push_next(3)
    assert desk.knocks == 1
    assert len(desk.ctx.waits) == 3
    assert desk.ctx.said.count("2 GPU sessions of yours are live") == 1
    assert f"demo/{first}" in desk.ctx.said
    assert f"demo/{second}" in desk.ctx.said


def test_sessions_of_another_kind_hold_no_slot(desk):
    desk.run(1), desk.run(2)
    desk.push_next(3, "cpu")
    assert desk.ctx.waits == []


def test_the_limit_is_learned_from_the_refusal(tmp_path):
    with desk_with(tmp_path, gpu_slots=1) as kaggle:
        desk = Desk(tmp_path, kaggle)
        first = desk.run(1)
        desk.ctx.hooks[4] = lambda: desk.delete(first)
        desk.push_next(2)
        assert desk.knocks == 2  # one that was refused, one when the slot was free
        desk.ledger.close()
        close(desk.ctx)


def test_an_account_with_more_slots_than_usual_is_found_out(tmp_path):
    with desk_with(tmp_path, gpu_slots=4) as kaggle:
        desk = Desk(tmp_path, kaggle)
        desk.run(1), desk.run(2)
        desk.push_next(3, max_wait_s=900)
        assert desk.knocks == 1
        assert 200 < sum(desk.ctx.waits) < 600
        desk.ledger.close()
        close(desk.ctx)


def test_a_wait_without_end_ends_at_its_limit_with_the_reason(desk):
    desk.run(1), desk.run(2)
    with pytest.raises(KaggError) as caught:
        desk.push_next(3, max_wait_s=60)
    assert caught.value.code == Exit.QUOTA
    assert "no GPU session became free within 60 s: 2 GPU sessions of yours are live" in caught.value.message
    assert 40 <= sum(desk.ctx.waits) <= 61  # real time counts as well
    assert desk.slug(3) not in desk.kernels()


def test_no_time_to_wait_is_one_knock(desk):
    desk.kaggle.world.faults.add("slots_full", message="Maximum batch GPU session count of 2 reached.")
    with pytest.raises(KaggError) as caught:
        desk.push_next(1, max_wait_s=0)
    assert (caught.value.code, desk.knocks, desk.ctx.waits) == (Exit.QUOTA, 1, [])
    assert caught.value.details["refused"]


def test_sessions_that_are_not_ours_are_said_and_waited_for(desk):
    for mark in (1, 2):
        desk.push(desk.slug(mark, "web"), "print(1)\n", "gpu")
    desk.ctx.hooks[2] = lambda: desk.delete(desk.slug(1, "web"))
    desk.push_next(3)
    assert desk.knocks == 3
    assert "none is a run of yours" in desk.ctx.said
    assert desk.ctx.said.count("waiting") == 1


def test_what_is_no_lack_of_slots_is_raised_at_once(desk):
    def push():
        raise KaggError("demo/x has a live session", code=Exit.QUOTA)

    with pytest.raises(KaggError, match="has a live session"):
        push_when_free(desk.ctx, "GPU", push, max_wait_s=600)
    assert desk.ctx.waits == []


def test_an_account_with_no_slot_at_all_gives_up_like_any_other(desk):
    def push():
        raise KaggError("refused: Maximum batch TPU session count of 0 reached.", code=Exit.QUOTA)

    with pytest.raises(KaggError, match=r"limit 0"):
        push_when_free(desk.ctx, "TPU", push, max_wait_s=20)


def test_threads_go_in_the_order_in_which_they_came(desk):
    order, inside, go_on = [], threading.Event(), threading.Event()

    def push(number):
        inside.set()
        assert go_on.wait(30)
        order.append(number)
        return number

    def stand_in_line(number):
        push_when_free(desk.ctx, "GPU", lambda: push(number), max_wait_s=1e9, own_live=list)

    threads = [threading.Thread(target=stand_in_line, args=(number,)) for number in range(6)]
    for number, thread in enumerate(threads):
        thread.start()
        assert inside.wait(30)
        lines = [line for key, line in desk.ctx.cache.items() if key[0] == "slots"]
        while len(lines[0]) <= number:
            time.sleep(0.005)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert order == list(range(6))


def test_the_end_of_a_batch_ends_the_wait_and_frees_the_line(desk):
    first, _ = desk.run(1), desk.run(2)
    stop, ended = threading.Event(), []
    desk.ctx.hooks = {}
    job = JobContext(desk.ctx, stop)

    def wait_for_ever():
        with pytest.raises(KeyboardInterrupt):
            desk.push_next(3, ctx=job, max_wait_s=1e9)
        ended.append(True)

    thread = threading.Thread(target=wait_for_ever)
    thread.start()
    while "waiting" not in desk.ctx.said:
        time.sleep(0.005)
    stop.set()
    thread.join(30)
    assert (ended, desk.knocks) == ([True], 0)
    desk.delete(first)
    desk.push_next(4)
    assert desk.knocks == 1


CHILD = """
import os, sys, time
from kagg import Context
from plugins.lib.launch.slots import push_when_free
def push():
    print("mine", flush=True)
    time.sleep(60)
push_when_free(Context(os.environ), "GPU", push, max_wait_s=60, own_live=list)
"""


def test_processes_take_turns_and_one_that_is_killed_gives_its_turn_back(desk):
    env = {**desk.ctx.env, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-W", "ignore", "-c", CHILD]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout.readline() == "mine\n"
            with pytest.raises(KaggError, match="another process of yours waits for a GPU session"):
                desk.push_next(1, max_wait_s=10)
            desk.push_next(2, "cpu")  # another line
            desk.ctx.hooks[len(desk.ctx.waits) + 3] = lambda: child.send_signal(signal.SIGKILL)
            desk.push_next(1)
        finally:
            child.kill()
    assert desk.slug(1) in desk.kernels()


def test_the_journal_counts_as_live_only_what_kaggle_calls_live(desk):
    queued, gone, fetched = desk.run(1), desk.run(2), desk.run(3, "cpu")
    desk.delete(gone)
    desk.note(fetched, "collect")
    found = journal.live(desk.ctx, desk.ledger)
    assert [(one.attempt.attempt, one.status.state) for one in found] == [(queued, "QUEUED")]
    assert journal.live(desk.ctx, desk.ledger, slot="TPU") == []


def test_a_wait_is_shown_as_progress_under_json(desk):
    desk.run(1), desk.run(2)
    desk.ctx.as_json = True
    with pytest.raises(KaggError):
        desk.push_next(3, max_wait_s=10)
    assert '"waiting": "GPU session"' in desk.ctx.said
    assert '"end": true' in desk.ctx.said
