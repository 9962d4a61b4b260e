"""The commands status, logs and output against the local Kaggle."""

from __future__ import annotations

import json
import threading

import pytest
from test_kaggle_session import SLEEPER, SLOW, WRITER, desk_with

from kagg import Exit, Ref, main
from plugins.lib.kaggle import logstream, session
from plugins.lib.kaggle.faults import FOREVER
from plugins.lib.kaggle.sessions import Limits


@pytest.fixture
def desk(tmp_path):
    with desk_with(tmp_path) as found:
        yield found


def kagg(desk, *argv):
    ctx = desk.context()
    return main(["--kaggle-url", desk.kaggle.url, *argv], ctx), ctx


def pushed(desk, title, source, **fields):
    return desk.client.push(title, source, **fields)["ref"].rpartition("/")[2]


def ended(desk, title, source, **fields):
    slug = pushed(desk, title, source, **fields)
    desk.client.wait(slug)
    return slug


class TestStatus:
    def test_a_complete_session_is_0_and_a_failed_one_1(self, desk):
        code, ctx = kagg(desk, "status", "demo/" + ended(desk, "Good one", "print(1)"))
        assert (code, ctx.out) == (Exit.DONE, "demo/good-one v1: complete\n")
        code, ctx = kagg(desk, "status", ended(desk, "Bad one", "1/0"))
        assert (code, ctx.out, ctx.err) == (Exit.FAILED, "demo/bad-one v1: error\n", "")

    def test_an_empty_answer_is_queued_and_0(self, tmp_path):
        with desk_with(tmp_path, Limits(queue_s=60)) as desk:
            code, ctx = kagg(desk, "status", "--json", pushed(desk, "Queued one", SLEEPER))
            document = json.loads(ctx.out)
            assert (code, document["state"], document["live"]) == (Exit.DONE, "QUEUED", True)

    def test_a_time_out_prints_kaggles_words_and_is_1(self, desk):
        slug = pushed(desk, "Long one", SLEEPER, sessionTimeoutSeconds=1)
        code, ctx = kagg(desk, "status", slug, "--wait")
        assert code == Exit.FAILED
        assert ctx.out.startswith("demo/long-one v1: cancel_acknowledged\nYour notebook was stopped")

    def test_waiting_ends_with_the_session_through_an_outage(self, desk):
        slug = pushed(desk, "Slow one", SLOW)
        desk.kaggle.faults.add("status", match="*GetKernelSessionStatus", times=8, status=503)
        code, ctx = kagg(desk, "status", slug, "--wait")
        assert (code, ctx.out) == (Exit.DONE, "demo/slow-one v1: complete\n")

    def test_waiting_too_long_is_1_and_says_so(self, desk):
        code, ctx = kagg(desk, "status", pushed(desk, "Long one", SLEEPER), "--wait", "--max-wait", "30s")
        assert (code, ctx.out) == (Exit.FAILED, "demo/long-one v1: running\n")
        assert "still running after 30s" in ctx.err

    def test_a_version_has_a_status_of_its_own(self, desk):
        ended(desk, "Two versions", "1/0")
        ended(desk, "Two versions", "print(1)", slug="demo/two-versions")
        assert kagg(desk, "status", "demo/two-versions")[0] == Exit.DONE
        code, ctx = kagg(desk, "status", "demo/two-versions/v1")
        assert (code, ctx.out) == (Exit.FAILED, "demo/two-versions v1: error\n")

    def test_what_is_not_there_or_no_kernel_is_an_error(self, desk):
        assert kagg(desk, "status", "demo/absent")[0] == Exit.SERVICE
        assert kagg(desk, "status", "https://example.com/x.ipynb")[0] == Exit.USAGE
        assert kagg(desk, "status", "a b")[0] == Exit.USAGE
        assert kagg(desk, "status", "x", "--wait", "--max-wait", "soon")[0] == Exit.USAGE


class TestLogs:
    def test_a_finished_log_is_printed_as_it_was(self, desk):
        slug = ended(desk, "Words", "print('grüße \\u2028 end')\nprint('no newline', end='')")
        code, ctx = kagg(desk, "logs", slug)
        assert code == Exit.DONE
        assert ctx.out.split("\n")[:2] == [
            "grüße \u2028 end",
            "no newline[NbConvertApp] Converting notebook __script__.ipynb to notebook",
        ]

    def test_escape_sequences_of_a_stranger_do_not_reach_the_terminal(self, desk):
        slug = ended(desk, "Escapes", "print('\\x1b[2Jgone\\x1b]0;title\\x07\\x9b here\\tthere')")
        assert kagg(desk, "logs", slug)[1].out.startswith("gone here\tthere\n")
        assert json.loads(kagg(desk, "logs", slug, "--json")[1].out.split("\n")[0])["data"].startswith("\x1b[2J")

    def test_characters_that_turn_text_around_do_not_reach_the_terminal_and_words_stay(self, desk):
        slug = ended(desk, "Turned", "print('\\u202eexe.txt\\u2066\\u200b \\u0645\\u06cc\\u200c\\u062e')")
        assert kagg(desk, "logs", slug)[1].out.split("\n")[0] == "exe.txt \u0645\u06cc\u200c\u062e"
        first = kagg(desk, "logs", slug, "--json")[1].out.split("\n")[0]
        assert json.loads(first)["data"].startswith("\u202eexe")

    def test_a_failed_session_is_1(self, desk):
        code, ctx = kagg(desk, "logs", ended(desk, "Bad one", "1/0"))
        assert (code, "ZeroDivisionError" in ctx.out) == (Exit.FAILED, True)
        assert "demo/bad-one ended with error" in ctx.err

    def test_following_prints_every_event_once_and_ends_with_the_session(self, desk):
        slug = pushed(desk, "Slow one", SLOW + "raise SystemExit(3)\n")
        desk.kaggle.faults.add("cut_log", events=2)
        desk.kaggle.faults.add("cut_log", events=4)
        code, ctx = kagg(desk, "logs", "-f", slug, "--json")
        events = [json.loads(line) for line in ctx.out.splitlines()]
        assert code == Exit.FAILED
        assert [event["data"] for event in events if event["stream_name"] == "stdout"] == [
            f"line {n}\n" for n in range(6)
        ]

    def test_following_a_queued_kernel_waits_for_it(self, tmp_path):
        with desk_with(tmp_path, Limits(queue_s=0.5)) as desk:
            code, ctx = kagg(desk, "logs", "-f", pushed(desk, "Queued one", "print('now')"))
            assert (code, ctx.out.startswith("now\n")) == (Exit.DONE, True)

    def test_following_too_long_is_1_and_what_came_is_printed(self, desk, monkeypatch):
        monkeypatch.setattr(logstream, "STALL_S", 0.5)
        slug = pushed(desk, "Long one", SLEEPER)
        desk.client.wait(slug, "RUNNING")
        code, ctx = kagg(desk, "logs", "-f", slug, "--max-wait", "2s")
        assert (code, ctx.out) == (Exit.FAILED, "started\n")
        assert "still running after 2s" in ctx.err

    def test_without_follow_a_live_log_shows_what_there_is_and_stops(self, desk, monkeypatch):
        monkeypatch.setattr(logstream, "QUIET_S", 0.5)
        slug = pushed(desk, "Long one", SLEEPER)
        while not desk.kaggle.world.sessions.live()[0].log.path.read_text():
            threading.Event().wait(0.02)
        assert kagg(desk, "logs", slug)[0] == Exit.DONE
        assert kagg(desk, "logs", slug)[1].out == "started\n"

    def test_without_follow_a_queued_kernel_has_no_log_yet(self, tmp_path):
        with desk_with(tmp_path, Limits(queue_s=60)) as desk:
            code, ctx = kagg(desk, "logs", pushed(desk, "Queued one", SLEEPER))
            assert (code, ctx.out) == (Exit.DONE, "")

    def test_a_kernel_that_nobody_knows_is_a_service_error(self, desk):
        code, ctx = kagg(desk, "logs", "-f", "demo/absent")
        assert code == Exit.SERVICE
        assert "403" in ctx.err


class TestTheStreamItself:
    EVENTS = (
        b'\xef\xbb\xbf: hello\r\ndata: {"data": "a\xe2\x80\xa8b"}\r\n\r\n'
        b"event: x\ndata:one\ndata: two\n\nid: 1\rdata: \xc3\xbc\r\rdata: END_OF_LOG\n\ndata: cut"
    )
    DATA = ('{"data": "a\u2028b"}', "one\ntwo", "ü", "END_OF_LOG")

    @pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
    def test_events_are_the_same_however_the_bytes_arrive(self, size):
        pieces = [self.EVENTS[start : start + size] for start in range(0, len(self.EVENTS), size)]
        assert tuple(logstream.sse_data(pieces)) == self.DATA

    def test_an_event_that_is_no_object_is_kept_as_text(self):
        assert logstream.parse_event("plain")["data"] == "plain\n"
        assert logstream.parse_event({"data": None, "more": 1}) == {
            "stream_name": "stdout",
            "time": None,
            "data": "",
            "more": 1,
        }

    def test_a_line_without_end_is_refused_before_it_fills_the_memory(self, monkeypatch):
        monkeypatch.setattr(logstream, "MAX_LINE_CHARS", 1000)
        with pytest.raises(logstream.KaggError, match="more than 1000 characters"):
            list(logstream.sse_data([b"x" * 600] * 3))


class TestOutput:
    def test_files_arrive_with_their_folders_and_hashes(self, desk, tmp_path):
        slug = ended(desk, "Writer one", WRITER)
        code, ctx = kagg(desk, "output", slug, "--dest", str(tmp_path / "out"), "--json")
        files = json.loads(ctx.out)["files"]
        assert code == Exit.DONE
        assert [file["path"] for file in files] == ["a.csv", "empty.txt", "sub/with space é.bin"]
        assert (tmp_path / "out" / "sub" / "with space é.bin").stat().st_size == 1 << 20

    def test_the_folder_is_named_after_the_kernel_when_none_is_given(self, desk, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert kagg(desk, "output", ended(desk, "Writer one", WRITER))[0] == Exit.DONE
        assert (tmp_path / "writer-one" / "a.csv").read_text() == "x\n1\n"

    def test_patterns_choose(self, desk, tmp_path):
        slug = ended(desk, "Writer one", WRITER)
        for options, names in (
            (["--include", "*.csv", "--include", "sub/*"], ["a.csv", "sub/with space é.bin"]),
            (["--exclude", "*.bin"], ["a.csv", "empty.txt"]),
            (["--include", "*.nothing"], []),
        ):
            code, ctx = kagg(desk, "output", slug, "--dest", str(tmp_path / "out"), "--json", *options)
            assert (code, [file["path"] for file in json.loads(ctx.out)["files"]]) == (Exit.DONE, names)

    def test_more_files_than_a_page_holds_arrive(self, desk, tmp_path, monkeypatch):
        monkeypatch.setattr("plugins.lib.kaggle.collect.PAGE_SIZE", 7)
        slug = ended(desk, "Many files", "for n in range(30):\n    open(f'{n:02}.txt', 'w').write(str(n))\n")
        assert kagg(desk, "output", slug, "--dest", str(tmp_path / "out"))[0] == Exit.DONE
        assert len(list((tmp_path / "out").iterdir())) == 30

    def test_files_of_a_failed_run_are_fetched_and_the_code_is_1(self, desk, tmp_path):
        slug = ended(desk, "Bad one", "open('kept.txt', 'w').write('x')\n1/0")
        code, ctx = kagg(desk, "output", slug, "--dest", str(tmp_path / "out"))
        assert (code, (tmp_path / "out" / "kept.txt").read_text()) == (Exit.FAILED, "x")
        assert "ended with error" in ctx.err

    def test_a_live_session_has_no_output_yet(self, desk, tmp_path):
        code, ctx = kagg(desk, "output", pushed(desk, "Long one", SLEEPER), "--dest", str(tmp_path / "out"))
        assert (code, (tmp_path / "out").exists()) == (Exit.FAILED, False)
        assert "--wait" in ctx.err

    def test_hostile_names_are_13_and_what_arrived_is_shown(self, desk, tmp_path):
        slug = ended(desk, "Writer one", WRITER)
        desk.kaggle.faults.add("hostile_names")
        code, ctx = kagg(desk, "output", slug, "--dest", str(tmp_path / "in" / "out"))
        assert code == Exit.INTEGRITY
        assert "3 of 6 output files were not kept" in ctx.err
        assert "a.csv" in ctx.out
        assert sorted(path.name for path in tmp_path.iterdir() if "evil" in path.name) == []
        assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["out"]

    def test_wrong_bytes_are_13_and_a_service_that_is_down_12(self, desk, tmp_path):
        slug = ended(desk, "Writer one", WRITER)
        desk.kaggle.faults.add("corrupt", match="storage/GET/a.csv", times=FOREVER)
        assert kagg(desk, "output", slug, "--dest", str(tmp_path / "out"))[0] == Exit.INTEGRITY
        assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == ["empty.txt", "sub"]
        desk.kaggle.faults.add("status", match="*ListKernelSessionOutput", times=FOREVER, status=500)
        assert kagg(desk, "output", slug, "--dest", str(tmp_path / "out"))[0] == Exit.SERVICE

    def test_no_sizes_from_the_server_only_means_one_check_less(self, desk, tmp_path):
        slug = ended(desk, "Writer one", WRITER)
        desk.kaggle.faults.add("status", match="*ListKernelFiles", status=404)
        assert kagg(desk, "output", slug, "--dest", str(tmp_path / "out"))[0] == Exit.DONE


class TestThinCalls:
    def test_deleting_a_kernel_stops_its_session(self, desk):
        ctx = desk.context()
        ctx.kaggle_url = desk.kaggle.url
        slug = pushed(desk, "Long one", SLEEPER)
        session.delete_kernel(ctx, Ref("kaggle", "demo", slug))
        assert (desk.kernels(), desk.kaggle.world.sessions.live()) == ([], [])
