"""`run --on kaggle` against the local Kaggle: how runs end, slots, inputs, cut logs, bad downloads."""

from __future__ import annotations

import contextlib
import io
import json
import threading
import time

import pytest
from local_kaggle import Client

from kagg import Context, Exit, main
from plugins.lib.kaggle import logstream
from plugins.lib.kaggle.faults import FOREVER
from plugins.lib.kaggle.server import LocalKaggle
from plugins.lib.kaggle.sessions import Limits
from plugins.lib.launch.steps import run_on_kaggle

SLEEPER = "import time\nprint('started', flush=True)\ntime.sleep(60)\n"
WRITER = """import pathlib
print("grüße \\u2028 end")
pathlib.Path("sub").mkdir()
pathlib.Path("sub/with space é.bin").write_bytes(bytes(range(256)) * 4096)
pathlib.Path("empty.txt").touch()
pathlib.Path("a.csv").write_text("x\\n1\\n")
"""
SLOW = "import time\nfor n in range(6):\n    print('line', n, flush=True)\n    time.sleep(0.05)\n"


class QuickContext(Context):
    """A context whose waits are short; its clock goes on as if they had not been, `speed` times as fast."""

    def __init__(self, env, speed):
        super().__init__(env, stdout=io.StringIO(), stderr=io.StringIO())
        self.slept_s, self.speed = 0.0, speed

    def sleep(self, seconds):
        self.slept_s += min(seconds, 0.02 * self.speed)
        super().sleep(min(seconds, 0.02))

    def monotonic(self):
        return super().monotonic() + self.slept_s

    @property
    def out(self):
        return self.stdout.getvalue()

    @property
    def err(self):
        return self.stderr.getvalue()


class Desk:
    """A server, and kagg as its user `demo`."""

    def __init__(self, folder, kaggle):
        self.folder, self.kaggle, self.client = folder, kaggle, Client(kaggle)
        self.dest = folder / "result"
        self.speed = 1_000_000

    def context(self):
        key = self.kaggle.world.accounts.users["demo"]["key"]
        home = {"HOME": str(self.folder / "home"), "KAGG_HOME": str(self.folder / "home" / ".kagg")}
        return QuickContext({**home, "KAGGLE_USERNAME": "demo", "KAGGLE_KEY": key}, self.speed)

    def write(self, name, source):
        path = self.folder / name
        path.write_text(source, encoding="utf-8")
        return path

    def run(self, path, *options):
        ctx = self.context()
        argv = ["--kaggle-url", self.kaggle.url, "run", "--on", "kaggle", str(path), "--dest", str(self.dest)]
        return main([*argv, *options], ctx), ctx

    def result(self):
        return json.loads((self.dest / "result.json").read_text())

    def log(self, stream="stdout"):
        events = [json.loads(line) for line in (self.dest / "log.jsonl").read_text().split("\n") if line]
        texts = [event["data"] for event in events if event["stream_name"] == stream]
        return "".join(text for text in texts if not text.startswith("KAGG-EXIT "))

    def kernels(self):
        kernels = self.client.call("ListKernels", {"group": "PROFILE"}).json()["kernels"]
        return [kernel["slug"] for kernel in kernels]


@contextlib.contextmanager
def desk_with(folder, limits=None):
    with LocalKaggle(folder / "kaggle", limits=limits) as kaggle:
        yield Desk(folder, kaggle)
        assert kaggle.leaks == 0


@pytest.fixture
def desk(tmp_path):
    with desk_with(tmp_path) as found:
        yield found


def notebook(*cells):
    made = [{"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": c} for c in cells]
    return {"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}


class TestHowRunsEnd:
    def test_a_complete_run_leaves_log_outputs_and_a_record_with_their_hashes(self, desk):
        code, ctx = desk.run(desk.write("my writer.py", WRITER))
        assert (code, "complete in" in ctx.out) == (Exit.DONE, True), ctx.err
        record = desk.result()
        assert {file["path"]: file["size_bytes"] for file in record["outputs"]} == {
            "a.csv": 4,
            "empty.txt": 0,
            "sub/with space é.bin": 1 << 20,
        }
        assert (desk.dest / "output/sub/with space é.bin").read_bytes() == bytes(range(256)) * 4096
        assert (record["status"], record["exit_code"], record["error"], record["kernel_version"]) == (
            *("complete", 0),
            *(None, 1),
        )
        assert record["ref"].startswith("demo/my-writer-")
        assert desk.log() == "grüße \u2028 end\n"

    def test_every_attempt_is_a_private_kernel_of_its_own(self, desk):
        path = desk.write("job.py", "print(1)")
        desk.run(path, "--keep")
        desk.dest = desk.folder / "second"
        desk.run(path, "--keep")
        assert len(desk.kernels()) == 2
        kernel = desk.client.call("GetKernel", desk.client.named(desk.kernels()[0])).json()
        assert kernel["metadata"]["isPrivate"] is True

    def test_a_notebook_that_raises_is_an_error_with_its_cell_and_last_line(self, desk):
        source = notebook("lr = 1", "", "print(lr)", "def f():\n    return 1 / 0", "f()")
        source["cells"][0]["metadata"]["tags"] = ["parameters"]
        code, ctx = desk.run(desk.write("bad.ipynb", json.dumps(source)), "-p", "lr=7")
        record = desk.result()
        assert (code, record["status"], record["exit_code"]) == (Exit.FAILED, "error", 1)
        assert (record["error"], record["cell"]) == ("ZeroDivisionError: division by zero", 4)
        assert "division by zero" in record["traceback"][-1]
        assert "cell 4: ZeroDivisionError: division by zero" in ctx.err
        assert desk.log() == "7\n"
        assert "ZeroDivisionError: division by zero" in desk.log("stderr")
        assert record["executed_notebook"] == str(desk.dest / "output" / "executed.ipynb")

    def test_a_script_that_raises_names_its_exception_not_what_kaggle_prints_after_it(self, desk):
        code, _ = desk.run(
            desk.write("bad.py", "open('kept.txt', 'w').write('x')\nraise ValueError('no such: column')")
        )
        record = desk.result()
        assert (code, record["error"]) == (Exit.FAILED, "ValueError: no such: column")
        assert record["traceback"][0] == "Traceback (most recent call last):"
        assert [file["path"] for file in record["outputs"]] == ["kept.txt"]

    def test_a_session_that_is_too_long_is_a_timeout(self, desk):
        code, _ = desk.run(desk.write("long.py", SLEEPER), "--timeout", "1s")
        record = desk.result()
        assert (code, record["status"]) == (Exit.FAILED, "timeout")
        assert record["verified"] is True

    def test_a_session_that_kaggle_ends_because_it_is_too_long_is_a_timeout(self, desk):
        desk.kaggle.faults.add("time_limit")
        code, _ = desk.run(desk.write("long.py", SLEEPER))
        record = desk.result()
        assert (code, record["status"], record["verified"]) == (Exit.FAILED, "timeout", False)
        assert "exceeded the max allowed execution duration" in record["error"]

    def test_a_session_that_somebody_stops_is_killed(self, desk):
        def cancel():
            while not (live := desk.kaggle.world.sessions.live()) or live[0].state != "RUNNING":
                stop.wait(0.01)
            live[0].cancel()

        stop = threading.Event()
        canceller = threading.Thread(target=cancel)
        canceller.start()
        code, _ = desk.run(desk.write("long.py", SLEEPER))
        canceller.join()
        assert (code, desk.result()["status"]) == (Exit.FAILED, "killed")

    def test_a_folder_with_an_earlier_run_is_refused_before_anything_is_pushed(self, desk):
        path = desk.write("job.py", "print(1)")
        assert desk.run(path, "--keep")[0] == Exit.DONE
        assert desk.run(path)[0] == Exit.USAGE
        assert len(desk.kernels()) == 1

    def test_ctrl_c_leaves_the_kernel_and_says_how_to_look_at_it(self, desk):
        ctx = desk.context()
        ctx.kaggle_url = desk.kaggle.url

        def interrupt(event):
            if event["data"] == "started\n":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_on_kaggle(ctx, desk.write("long.py", SLEEPER), dest=desk.dest, on_event=interrupt)
        (slug,) = desk.kernels()
        assert f"kagg.py attach {slug}" in ctx.err
        assert "started" in (desk.dest / "log.jsonl").read_text()
        assert not (desk.dest / "result.json").exists()
        assert desk.client.status(slug)["status"] == "RUNNING"


class TestParameters:
    def test_a_script_sees_them_as_arguments_and_as_a_file_and_keeps_its_docstring(self, desk):
        source = '"""Say."""\nfrom __future__ import annotations\nimport json, os, sys\n'
        source += "print(json.dumps([__doc__, sys.argv[1:], json.load(open(os.environ['KAGG_PARAMS']))]))\n"
        desk.run(desk.write("show.py", source), "-p", "rate=0.5", "-p", "name=ü'\"x", "--", "--flag")
        given = {"rate": 0.5, "name": "ü'\"x"}
        assert json.loads(desk.log()) == ["Say.", ["--rate=0.5", "--name=ü'\"x", "--flag"], given]
        assert desk.result()["params"] == given
        assert desk.result()["outputs"] == []

    def test_a_script_with_a_syntax_error_is_left_for_the_run_to_report(self, desk):
        code, _ = desk.run(desk.write("bad.py", "if:\n"), "-p", "a=1")
        assert (code, desk.result()["error"]) == (Exit.FAILED, "SyntaxError: invalid syntax")

    @pytest.mark.parametrize(("name", "param"), [("job.R", "a"), ("job.py", "class"), ("job.py", "a-b")])
    def test_what_has_no_place_for_parameters_is_refused(self, desk, name, param):
        assert desk.run(desk.write(name, "x = 1\n"), "-p", f"{param}=1")[0] == Exit.USAGE
        assert desk.kernels() == []

    def test_a_notebook_takes_no_arguments(self, desk):
        assert desk.run(desk.write("n.ipynb", json.dumps(notebook("1"))), "--", "--flag")[0] == Exit.USAGE


class TestSlots:
    def test_a_full_account_is_waited_for_and_the_run_starts_when_a_session_is_free(self, tmp_path):
        with desk_with(tmp_path, Limits(cpu_slots=1)) as desk:
            desk.client.push("The blocker", SLEEPER)

            def once_refused():
                pushes = 0
                while pushes < 2:
                    pushes = sum(path.endswith("SaveKernel") for _, path, _ in list(desk.kaggle.requests))
                    time.sleep(0.01)
                desk.client.call("DeleteKernel", desk.client.named("the-blocker"))

            free = threading.Thread(target=once_refused, daemon=True)
            free.start()
            code, ctx = desk.run(desk.write("job.py", "print('at last')"), "--max-wait", "3h")
            free.join()
            assert (code, desk.log()) == (Exit.DONE, "at last\n")
            assert "waiting" in ctx.err
            assert desk.kernels() == []

    def test_no_free_session_within_max_wait_is_a_quota_error_and_nothing_was_run(self, tmp_path):
        with desk_with(tmp_path, Limits(cpu_slots=1)) as desk:
            desk.client.push("The blocker", SLEEPER)
            code, ctx = desk.run(desk.write("job.py", "print(1)"), "--max-wait", "20s")
            assert code == Exit.QUOTA
            assert "no CPU session became free within 20 s" in ctx.err
            assert desk.kernels() == ["the-blocker"]
            assert not (desk.dest / "result.json").exists()


class TestInputs:
    def test_a_refused_input_deletes_the_kernel_and_is_a_service_error_that_names_it(self, desk):
        code, ctx = desk.run(desk.write("job.py", SLEEPER), "--dataset", "demo/absent")
        assert code == Exit.SERVICE
        assert "Kaggle refused an input: dataset demo/absent" in ctx.err
        assert desk.kernels() == []
        assert desk.kaggle.world.sessions.live() == []

    def test_a_refused_input_deletes_a_kernel_that_is_not_readable_at_first(self, desk):
        desk.kaggle.faults.add("not_readable", seconds=0.4)
        desk.speed = 1
        assert desk.run(desk.write("job.py", SLEEPER), "--dataset", "demo/absent")[0] == Exit.SERVICE
        assert desk.kernels() == []

    def test_a_kernel_that_cannot_be_deleted_is_said_and_the_input_still_named(self, desk):
        desk.kaggle.faults.add("status", match="*DeleteKernel", times=FOREVER, status=500)
        code, ctx = desk.run(desk.write("job.py", SLEEPER), "--dataset", "demo/absent")
        assert (code, "still runs" in ctx.err, "demo/absent" in ctx.err) == (Exit.SERVICE, True, True)

    def test_a_refused_input_can_be_allowed_and_is_in_the_record(self, desk):
        code, ctx = desk.run(desk.write("job.py", "print(1)"), "--dataset", "demo/absent", "--allow-missing-inputs")
        assert code == Exit.DONE, ctx.err
        assert desk.result()["refused_inputs"] == ["DatasetSources: demo/absent"]
        assert "runs it without dataset demo/absent" in ctx.err

    def test_several_refused_inputs_are_counted_and_each_is_named_by_its_kind(self, desk):
        given = ("--dataset", "demo/absent", "--competition", "nowhere", "--kernel", "demo/none")
        code, ctx = desk.run(desk.write("job.py", SLEEPER), *given)
        assert code == Exit.SERVICE
        assert "Kaggle refused 3 inputs: dataset demo/absent, competition nowhere, kernel demo/none" in ctx.err


class TestTheLogOnTheWay:
    def test_a_log_that_is_cut_again_and_again_arrives_once_and_whole(self, desk):
        for events in range(1, 5):
            desk.kaggle.faults.add("cut_log", events=events)
        assert desk.run(desk.write("slow.py", SLOW))[0] == Exit.DONE
        assert desk.log() == "".join(f"line {n}\n" for n in range(6))

    def test_a_stream_that_never_gets_further_is_given_up_and_the_stored_log_is_taken(self, desk, monkeypatch):
        monkeypatch.setattr(logstream, "MAX_FRUITLESS", 3)
        desk.kaggle.faults.add("cut_log", times=FOREVER, events=0)
        assert desk.run(desk.write("slow.py", SLOW.replace("0.05", "0.3")))[0] == Exit.DONE
        assert desk.log() == "".join(f"line {n}\n" for n in range(6))
        asked = [path for method, path, _ in desk.kaggle.requests if "/logs/stream/" in path]
        assert 3 <= len(asked) <= 4

    def test_a_log_without_its_last_event_ends_by_the_status(self, desk):
        desk.kaggle.faults.add("cut_log", times=FOREVER, events=1000)
        assert desk.run(desk.write("slow.py", SLOW))[0] == Exit.DONE
        assert desk.log() == "".join(f"line {n}\n" for n in range(6))

    def test_a_stalled_stream_is_left_and_asked_again(self, desk, monkeypatch):
        monkeypatch.setattr(logstream, "STALL_S", 0.3)
        desk.kaggle.faults.add("stall", match="*LogsStream", times=2, seconds=30)
        assert desk.run(desk.write("slow.py", SLOW))[0] == Exit.DONE
        assert desk.log() == "".join(f"line {n}\n" for n in range(6))

    def test_errors_of_stream_and_status_are_sat_out(self, desk):
        desk.kaggle.faults.add("status", match="*GetKernelSessionStatus", times=9, status=500)
        desk.kaggle.faults.add("status", match="*LogsStream", times=2, status=502, body="html")
        desk.kaggle.faults.add("reset", match="*LogsStream")
        desk.kaggle.faults.add("bad_json", match="*GetKernelSessionStatus")
        assert desk.run(desk.write("slow.py", SLOW))[0] == Exit.DONE
        assert desk.log() == "".join(f"line {n}\n" for n in range(6))

    def test_a_kernel_that_is_not_readable_at_first_is_waited_for(self, desk):
        desk.kaggle.faults.add("not_readable", seconds=0.4)
        desk.speed = 1
        assert desk.run(desk.write("slow.py", SLOW))[0] == Exit.DONE


class TestTheOutputs:
    def test_expired_urls_are_renewed_and_cut_or_corrupt_files_fetched_again(self, desk):
        desk.kaggle.faults.add("expire", match="storage/GET/*", times=2)
        desk.kaggle.faults.add("truncate", match="storage/GET/*.bin")
        desk.kaggle.faults.add("corrupt", match="storage/GET/a.csv")
        code, ctx = desk.run(desk.write("writer.py", WRITER))
        assert code == Exit.DONE, ctx.err
        assert (desk.dest / "output/sub/with space é.bin").read_bytes() == bytes(range(256)) * 4096

    def test_a_file_that_stays_corrupt_fails_a_complete_run_with_13_and_the_record_says_so(self, desk):
        desk.kaggle.faults.add("corrupt", match="storage/GET/*.bin", times=FOREVER)
        code, ctx = desk.run(desk.write("writer.py", WRITER))
        record = desk.result()
        assert (code, record["exit"], record["status"]) == (Exit.INTEGRITY, Exit.INTEGRITY, "complete")
        assert [file["path"] for file in record["outputs"]] == ["a.csv", "empty.txt"]
        assert list(record["outputs_failed"]) == ["sub/with space é.bin"]
        assert "1 of 3 output files were not kept" in ctx.err
        assert not (desk.dest / "output/sub/with space é.bin").exists()

    def test_storage_that_stays_down_fails_a_complete_run_with_12(self, desk):
        desk.kaggle.faults.add("status", match="storage/GET/*", times=FOREVER, status=503)
        assert desk.run(desk.write("writer.py", WRITER))[0] == Exit.SERVICE
        assert (desk.result()["exit"], desk.result()["outputs"]) == (Exit.SERVICE, [])

    def test_hostile_names_that_the_session_did_not_write_are_said_and_left(self, desk):
        desk.kaggle.faults.add("hostile_names", times=FOREVER, names=["../x", "/abs", "ok/../../y", "a.csv/z"])
        code, ctx = desk.run(desk.write("writer.py", WRITER))
        assert (code, "../x" in ctx.err) == (Exit.DONE, True), ctx.err
        kept = {path.relative_to(desk.dest).as_posix() for path in desk.dest.rglob("*") if path.is_file()}
        wanted = {"output/a.csv", "output/empty.txt", "output/sub/with space é.bin"}
        assert kept == {"log.jsonl", "result.json", *wanted}
        assert not (desk.folder / "x").exists()
        assert not (desk.dest / "x").exists()
