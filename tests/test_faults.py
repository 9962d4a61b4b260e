"""What goes wrong between kagg and Kaggle: each command ends right, or with the documented exit code."""

from __future__ import annotations

import json
import re
import threading
from datetime import timedelta
from email.utils import format_datetime

import pytest
from front_door import API, Done, QuickContext, close, cut, environment, kagg
from local_kaggle import Client

import kagg as spine
from kagg import Exit, KaggError, Ref

READS = {"list": "ListKernels", "pull": "GetKernel", "status": "GetKernelSessionStatus", "datasets": "ListDatasets"}
SOURCE = "print('hello')\n"


@pytest.fixture
def read(tmp_path, idle_kaggle, demo):
    """Return a function that runs one reading command and returns how it ended."""
    Client(idle_kaggle).push("Hello there", SOURCE, kernelExecutionType="QUICK_SAVE")
    return reader(demo, tmp_path)


def reader(ctx, tmp_path):
    def run(command):
        if command == "status":
            try:
                state = spine.kernel_status(ctx, Ref("kaggle", "demo", "hello-there")).state
            except KaggError as error:
                return kagg_end(error)
            return kagg_end(None, state)
        if command == "pull":
            return kagg(ctx, "pull", "demo/hello-there", "--dest", tmp_path / "pulled")
        return kagg(ctx, "list", "kernels" if command == "list" else command, "--user", "demo")

    return run


def kagg_end(error, out=""):
    return Done(int(error.code) if error else 0, out, f"{error}; {error.hint}" if error else "")


def expected(command, done, tmp_path):
    assert done.code == Exit.DONE, done.err
    shown = {"list": "demo/hello-there", "pull": "hello-there.py", "status": "NEW_SCRIPT", "datasets": "nothing found"}
    assert shown[command] in done.out
    if command == "pull":
        assert (tmp_path / "pulled" / "hello-there.py").read_text() == SOURCE


def asked(kaggle, command):
    return [status for _, path, status in kaggle.requests if path.endswith("/" + READS[command])]


@pytest.mark.parametrize("command", READS)
def test_a_429_is_waited_for_as_long_as_it_says_in_seconds(read, idle_kaggle, demo, tmp_path, command):
    idle_kaggle.faults.add("status", f"*/{READS[command]}", times=1, status=429, retry_after=7)
    expected(command, read(command), tmp_path)
    assert asked(idle_kaggle, command) == [429, 200]
    assert 7 <= sum(demo.waits) < 9


@pytest.mark.parametrize("command", READS)
def test_a_429_is_waited_for_until_the_date_it_says(read, idle_kaggle, demo, tmp_path, command):
    date = format_datetime(demo.now() + timedelta(seconds=20), usegmt=True)
    idle_kaggle.faults.add("status", f"*/{READS[command]}", times=1, status=429, retry_after=date, body="google")
    expected(command, read(command), tmp_path)
    assert asked(idle_kaggle, command) == [429, 200]
    assert 15 < sum(demo.waits) < 23


@pytest.mark.parametrize("value", ["soon", "-5", "", "Thu, 99 Foo 2026 00:00:00 GMT", "١٢", "1e9", "9" * 400])
def test_a_retry_after_that_makes_no_sense_costs_a_normal_pause_or_ends_it(read, idle_kaggle, demo, value):
    idle_kaggle.faults.add("status", "*/ListKernels", times=1, status=429, retry_after=value.encode().decode("latin-1"))
    done = read("list")
    assert done.code in (Exit.DONE, Exit.SERVICE)
    assert sum(demo.waits) <= 30


def test_a_date_that_is_over_means_now(read, idle_kaggle, demo, tmp_path):
    idle_kaggle.faults.add("status", "*/ListKernels", times=1, status=429, retry_after="Wed, 21 Oct 2015 07:28:00 GMT")
    expected("list", read("list"), tmp_path)
    assert sum(demo.waits) < 3


def test_a_wait_of_a_day_is_refused_and_said(read, idle_kaggle, demo):
    idle_kaggle.faults.add("status", "*/ListKernels", times=None, status=429, retry_after=86400)
    done = read("list")
    assert done.code == Exit.SERVICE
    assert "86400" in done.err
    assert asked(idle_kaggle, "list") == [429]
    assert sum(demo.waits) == 0


def test_a_pause_that_the_server_asks_for_holds_every_worker_back(idle_kaggle, demo, tmp_path):
    for number in range(6):
        Client(idle_kaggle).push(f"Kernel {number}", SOURCE, kernelExecutionType="QUICK_SAVE")
    idle_kaggle.faults.add("status", "*/GetKernel", times=2, status=429, retry_after=3)
    done = kagg(demo, "pull", *[f"demo/kernel-{n}" for n in range(6)], "--dest", tmp_path / "p", "--parallel", 2)
    assert done.code == Exit.DONE, done.err
    assert len(list((tmp_path / "p").glob("*.py"))) == 6
    assert max(demo.waits) >= 2.5


@pytest.mark.parametrize("command", READS)
@pytest.mark.parametrize("body", ["kaggle", "html", "empty"])
def test_two_500s_are_survived(read, idle_kaggle, tmp_path, command, body):
    idle_kaggle.faults.add("status", f"*/{READS[command]}", times=2, status=500, body=body)
    expected(command, read(command), tmp_path)
    assert asked(idle_kaggle, command) == [500, 500, 200]


@pytest.mark.parametrize("command", READS)
def test_an_outage_that_does_not_end_is_exit_12_after_a_bounded_time(read, idle_kaggle, demo, command):
    idle_kaggle.faults.add("status", f"*/{READS[command]}", times=None, status=500)
    done = read(command)
    assert done.code == Exit.SERVICE
    assert "500" in done.err
    assert 3 <= len(asked(idle_kaggle, command)) <= 12
    assert sum(demo.waits) <= 200


@pytest.mark.parametrize("command", READS)
def test_a_reset_connection_is_tried_again(read, idle_kaggle, tmp_path, command):
    idle_kaggle.faults.add("reset", f"*/{READS[command]}", times=2)
    expected(command, read(command), tmp_path)
    assert idle_kaggle.faults.waiting() == []


@pytest.mark.parametrize("command", READS)
def test_a_lost_answer_to_a_question_is_asked_for_again(read, idle_kaggle, tmp_path, command):
    idle_kaggle.faults.add("lost_reply", f"*/{READS[command]}", times=2)
    expected(command, read(command), tmp_path)
    assert idle_kaggle.faults.waiting() == []


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("command", READS)
def test_a_stalled_server_is_left_and_asked_again(read, idle_kaggle, tmp_path, command):
    idle_kaggle.faults.add("stall", f"*/{READS[command]}", times=1, seconds=600)
    expected(command, read(command), tmp_path)
    assert idle_kaggle.faults.waiting() == []


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("impatient")
def test_a_server_that_always_stalls_is_exit_12(read, idle_kaggle):
    idle_kaggle.faults.add("stall", "*", times=None, seconds=600)
    done = read("list")
    assert done.code == Exit.SERVICE
    assert "127.0.0.1" in done.err
    assert "0x" not in done.err


@pytest.mark.parametrize("command", READS)
def test_half_of_a_json_document_is_asked_for_again(read, idle_kaggle, tmp_path, command):
    idle_kaggle.faults.add("bad_json", f"*/{READS[command]}", times=1)
    expected(command, read(command), tmp_path)
    assert asked(idle_kaggle, command) == [200, 200]


@pytest.mark.parametrize("command", READS)
def test_answers_that_are_never_json_are_exit_12(read, idle_kaggle, command, tmp_path):
    idle_kaggle.faults.add("bad_json", f"*/{READS[command]}", times=None)
    done = read(command)
    assert done.code == Exit.SERVICE
    assert "JSON" in done.err
    assert not list(tmp_path.glob("pulled/*"))


@pytest.mark.parametrize("command", ["list", "pull", "datasets"])
def test_null_for_a_list_is_an_empty_list(read, idle_kaggle, command):
    idle_kaggle.faults.add("null_list", f"*/{READS[command]}", times=1)
    done = read(command)
    assert done.code == Exit.DONE
    if command != "pull":
        assert done.out == "nothing found\n"


@pytest.mark.parametrize("form", ["kaggle", "google"])
def test_the_words_of_both_error_bodies_reach_the_user(read, idle_kaggle, form):
    idle_kaggle.faults.add("status", "*/ListKernels", times=None, status=400, body=form, message="the words of it")
    done = read("list")
    assert done.code == Exit.SERVICE
    assert "the words of it" in done.err
    assert asked(idle_kaggle, "list") == [400]  # a 400 does not get better


def test_an_html_error_page_is_not_poured_over_the_user(read, idle_kaggle):
    idle_kaggle.faults.add("status", "*/ListKernels", times=None, status=502, body="html")
    done = read("list")
    assert done.code == Exit.SERVICE
    assert "<" not in done.err
    assert "502" in done.err


# Answers that no fault switch of the local Kaggle makes


@pytest.fixture
def odd(tmp_path, web):
    """Return a function that runs a command against a server which answers `method` with these."""
    ctx = QuickContext(
        environment(tmp_path, KAGG_KAGGLE_URL=web.url, KAGGLE_USERNAME="demo", KAGGLE_KEY="0123456789abcdef")
    )

    def run(command, *answers):
        service = API if command != "datasets" else "/api/v1/datasets.DatasetApiService/"
        web.on(service + READS[command], *answers)
        return reader(ctx, tmp_path)(command)

    run.ctx = ctx
    yield run
    close(ctx)


def test_a_200_that_holds_an_error_is_an_error(odd, tmp_path):
    for command in READS:
        done = odd(command, (200, {"code": 404, "message": "Kernel not found"}, {}))
        assert done.code == Exit.SERVICE
        assert "Kernel not found" in done.err
    assert not (tmp_path / "pulled").exists()


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b'"kernels"',
        b"7",
        b"",
        b"<!DOCTYPE html><title>Sign in</title>",
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"kernels": 5, "nextPageToken": {}, "metadata": [], "blob": [], "status": [], "datasets": 5}',
        b'{"kernels": [null, 5, "x", [], {}], "datasets": [null, 5, {}], "blob": {"source": 5}, "status": 5}',
    ],
)
@pytest.mark.parametrize("command", READS)
def test_an_answer_of_the_wrong_shape_is_never_a_bug(odd, web, tmp_path, command, body):
    done = odd(command, (200, body, {"Content-Type": "application/json"}))
    assert done.code in (Exit.DONE, Exit.SERVICE, Exit.INTEGRITY), done.err
    assert not (tmp_path / "pulled").exists() or done.code == Exit.DONE
    assert len(web.requests) <= 12


def test_a_body_shorter_than_announced_is_asked_for_again(odd, web):
    whole = json.dumps({"kernels": [{"ref": "a/b", "title": "t"}]}).encode()
    done = odd("list", cut(whole, len(whole) + 10), (200, whole, {}))
    assert done.code == Exit.DONE, done.err
    assert "a/b" in done.out
    assert len(web.requests) == 2


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("impatient")
def test_an_answer_that_drips_for_ever_is_left(odd):
    stop = threading.Event()

    def drip(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        while not stop.wait(0.05):
            handler.wfile.write(b" ")
            handler.wfile.flush()

    done = odd("list", drip)
    stop.set()
    assert done.code == Exit.SERVICE


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("impatient")
def test_a_header_that_drips_for_ever_is_left(odd):
    stop = threading.Event()

    def drip(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not stop.wait(0.05):
            handler.wfile.write(b"2")
            handler.wfile.flush()

    done = odd("list", drip)
    stop.set()
    assert done.code == Exit.SERVICE
    assert "takes too long" in done.err


@pytest.mark.parametrize("length", ["-1", "abc", "99999999999999999999", "5, 7"])
def test_a_content_length_that_makes_no_sense_is_exit_12_or_ignored(odd, length):
    def answer(handler):
        handler.wfile.write(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode() + b'{"kernels": []}')
        handler.close_connection = True

    assert odd("list", answer).code in (Exit.DONE, Exit.SERVICE)


@pytest.mark.parametrize(
    "junk", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00" * 64, b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 99\r\n\r\n"]
)
def test_something_that_does_not_speak_http_is_exit_12(odd, junk):
    def answer(handler):
        handler.wfile.write(junk)
        handler.close_connection = True

    done = odd("list", answer)
    assert done.code == Exit.SERVICE, done.err


def test_a_server_whose_pages_never_end_is_left(odd, web):
    def page(handler):
        if len(web.requests) > 60:
            handler.whole(200, {"kernels": []})
        else:
            handler.whole(200, {"kernels": [], "nextPageToken": f"page-{len(web.requests)}"})

    assert odd("list", page).code in (Exit.DONE, Exit.SERVICE)
    assert len(web.requests) <= 60


def test_all_pages_are_read_up_to_the_limit(odd, web):
    def page(handler):
        body = json.loads(web.requests[-1].body)
        start = int(body.get("pageToken") or 0)
        items = [{"ref": f"a/k{n}"} for n in range(start, start + body["pageSize"])]
        handler.whole(200, {"kernels": items, "nextPageToken": str(start + body["pageSize"])})

    web.on(API + "ListKernels", page)
    done = kagg(odd.ctx, "--json", "list", "--limit", 230)
    assert [row["ref"] for row in done.document] == [f"a/k{n}" for n in range(230)]


def test_control_characters_of_strangers_do_not_reach_the_terminal(odd):
    evil = "\x1b]0;owned\x07\x1b[31m\r\nkagg: done\x9b"
    shown = odd("list", (200, {"kernels": [{"ref": "a/b", "title": evil, "author": evil}]}, {}))
    assert shown.code == Exit.DONE
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown.out)
    assert len(shown.out.splitlines()) == 2
    refused = odd("list", (400, {"code": 400, "message": evil}, {}))
    assert refused.code == Exit.SERVICE
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", refused.err)
    assert len(refused.err.splitlines()) == 1


@pytest.mark.parametrize("answer", [(500, b"", {}), (200, b"{", {}), (403, {"code": 403, "message": "no"}, {})])
def test_under_json_a_failure_leaves_stdout_empty_and_stderr_readable(odd, web, answer):
    web.on(API + "ListKernels", answer)
    web.on(API + "GetAcceleratorQuotaStatistics", (200, {}, {}))
    done = kagg(odd.ctx, "--json", "list")
    assert done.out == ""
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert lines[-1]["code"] == done.code == Exit.SERVICE


def test_nobody_listening_is_exit_12_in_one_line(ctx, tmp_path):
    ctx.env = environment(tmp_path, KAGG_KAGGLE_URL="http://127.0.0.1:1", KAGGLE_USERNAME="demo", KAGGLE_KEY="k" * 32)
    done = kagg(ctx, "list")
    assert done.code == Exit.SERVICE
    assert len(done.err.splitlines()) == 1
    assert "127.0.0.1" in done.err


# Who is asking: 401 and 403


@pytest.fixture
def signed_in(tmp_path, idle_kaggle):
    """Return a function that makes a context with these credentials."""
    made = []

    def make(**more):
        made.append(QuickContext(environment(tmp_path, KAGG_KAGGLE_URL=idle_kaggle.url, **more)))
        return made[-1]

    yield make
    for ctx in made:
        close(ctx)


def test_a_stale_token_does_not_hide_a_good_key(tmp_path, idle_kaggle, signed_in):
    Client(idle_kaggle).push("Hello there", SOURCE, kernelExecutionType="QUICK_SAVE")
    key = idle_kaggle.world.accounts.users["demo"]["key"]
    stale = "KGAT_" + "0" * 32
    for argv in (["pull", "demo/hello-there", "--dest", tmp_path / "p"], ["list", "--mine"], ["list"]):
        ctx = signed_in(KAGGLE_API_TOKEN=stale, KAGGLE_USERNAME="demo", KAGGLE_KEY=key)
        done = kagg(ctx, *argv)
        assert done.code == Exit.DONE, done.err
        assert "KAGGLE_API_TOKEN" in done.err
        assert stale not in done.err


def test_a_stale_token_does_not_hide_a_good_key_from_a_push(tmp_path, idle_kaggle, signed_in):
    (tmp_path / "job.py").write_text(SOURCE)
    key = idle_kaggle.world.accounts.users["demo"]["key"]
    ctx = signed_in(KAGGLE_API_TOKEN="KGAT_" + "0" * 32, KAGGLE_USERNAME="demo", KAGGLE_KEY=key)
    done = kagg(ctx, "push", tmp_path / "job.py", "--title", "Pushed job")
    assert done.code == Exit.DONE, done.err
    assert idle_kaggle.world.load(idle_kaggle.world.root / "kernels/demo/pushed-job/kernel.json")["owner"] == "demo"


def test_credentials_that_are_all_refused_are_exit_10_and_named(signed_in):
    ctx = signed_in(KAGGLE_API_TOKEN="KGAT_" + "0" * 32, KAGGLE_USERNAME="demo", KAGGLE_KEY="f" * 32)
    done = kagg(ctx, "list")
    assert done.code == Exit.CONFIG
    assert "401" in done.err or "Unauthenticated" in done.err
    assert "f" * 32 not in done.err


def test_nobody_may_pull_a_public_kernel_but_not_push(tmp_path, idle_kaggle, signed_in):
    Client(idle_kaggle).push("Hello there", SOURCE, kernelExecutionType="QUICK_SAVE", isPrivate=False)
    (tmp_path / "job.py").write_text(SOURCE)
    ctx = signed_in()
    assert kagg(ctx, "pull", "demo/hello-there", "--dest", tmp_path / "p").code == Exit.DONE
    done = kagg(ctx, "push", tmp_path / "job.py", "--title", "Pushed job")
    assert done.code == Exit.CONFIG
    assert "KAGGLE_API_TOKEN" in done.err


def test_a_403_for_a_wrong_name_says_that_the_credentials_work(read, demo, tmp_path):
    done = kagg(demo, "pull", "demo/not-there", "--dest", tmp_path)
    assert done.code == Exit.SERVICE
    assert "credentials work" in done.err


def test_a_403_for_nobody_is_about_credentials(tmp_path, signed_in):
    done = kagg(signed_in(), "pull", "demo/not-there", "--dest", tmp_path)
    assert done.code == Exit.CONFIG


def test_a_403_whose_credentials_are_refused_elsewhere_too_is_exit_10(odd, web):
    refusal = (403, {"code": 403, "message": "Permission 'kernels.get' was denied"}, {})
    web.on(API + "GetAcceleratorQuotaStatistics", refusal)
    done = odd("pull", refusal)
    assert done.code == Exit.CONFIG


def test_a_403_during_an_outage_is_still_the_403(odd, web):
    web.on(API + "GetAcceleratorQuotaStatistics", (500, b"", {}))
    done = odd("pull", (403, {"code": 403, "message": "Permission 'kernels.get' was denied"}, {}))
    assert done.code == Exit.SERVICE
    assert "Permission 'kernels.get' was denied" in done.err
