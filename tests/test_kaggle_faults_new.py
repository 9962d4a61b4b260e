"""The faults of the local Kaggle that a run from push to results meets, and the devices that it pretends to have."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from front_door import close, environment
from local_kaggle import Client

from kagg import Context, KernelStatus, Ref, main
from plugins.lib.kaggle.faults import FOREVER, KINDS, Faults
from plugins.lib.kaggle.logstream import follow_logs
from plugins.lib.kaggle.server import LocalKaggle
from plugins.lib.kaggle.sessions import OUT_OF_MEMORY, TIMED_OUT, Limits

ROOT = Path(__file__).resolve().parent.parent
SLOW = "import time\nfor n in range(6):\n    print('línea\\u2028', n, flush=True)\n    time.sleep(0.15)\n"
WHOLE = [f"línea\u2028 {n}\n" for n in range(6)]
WRITER = "for n in range(4): open(f'{n}.txt', 'w').write('12345678')\n"
GPU = {"enableGpu": True}


@pytest.fixture
def kaggle(tmp_path):
    with LocalKaggle(tmp_path / "kaggle") as server:
        yield server


@pytest.fixture
def client(kaggle):
    return Client(kaggle)


def run_to_end(client, title, source, **fields):
    slug = client.push(title, source, **fields)["ref"].rpartition("/")[2]
    return slug, client.wait(slug)


def names(client, slug, **fields):
    return [file["fileName"] for file in client.output(slug, **fields)["files"]]


def follow(kaggle, slug, folder, statuses=None):
    """Follow a log as `logs -f` does; return the last status and what came on standard output."""
    key = kaggle.world.accounts.users["demo"]["key"]
    env = environment(folder, KAGG_KAGGLE_URL=kaggle.url, KAGGLE_USERNAME="demo", KAGGLE_KEY=key)
    ctx, found = Context(env, stdout=io.StringIO(), stderr=io.StringIO()), []
    tell = statuses.append if statuses is not None else None
    status = follow_logs(ctx, Ref("kaggle", "demo", slug), follow=True, on_event=found.append, on_status=tell)
    close(ctx)
    return status, [event["data"] for event in found if event["stream_name"] == "stdout"]


class TestDevices:
    LOOK = "import os\nprint(os.environ.get('KAGG_SIMULATED_ACCELERATOR'), os.environ['KAGGLE_KERNEL_RUN_TYPE'])"

    @pytest.mark.parametrize(
        ("fields", "device"),
        [
            ({}, None),
            (GPU, "NvidiaTeslaT4"),
            ({"machineShape": "NvidiaTeslaA100"}, "NvidiaTeslaA100"),
            ({"machineShape": "NvidiaTeslaP100", **GPU}, "NvidiaTeslaT4"),
            ({"enableTpu": True}, "TpuV5E8"),
            ({"machineShape": "TpuV6E8"}, "TpuV6E8"),
            ({"machineShape": "NoSuchMachine"}, None),
        ],
    )
    def test_a_session_is_told_which_accelerator_it_would_have(self, client, fields, device):
        slug, _ = run_to_end(client, "Look", self.LOOK, **fields)
        assert client.log(slug) == f"{device} Batch\n"

    def test_a_session_can_get_another_device_than_it_asked_for(self, kaggle, client):
        kaggle.faults.add("wrong_device", "demo/look")
        assert client.log(run_to_end(client, "Look", self.LOOK, **GPU)[0]) == "None Batch\n"
        kaggle.faults.add("wrong_device", accelerator="NvidiaTeslaP100")
        assert client.log(run_to_end(client, "Look Two", self.LOOK, **GPU)[0]) == "NvidiaTeslaP100 Batch\n"


class TestTheLog:
    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            ("cut_log", {"seconds": 0.2}),
            ("cut_log", {"seconds": 0.2, "abrupt": True}),
            ("cut_log", {"events": 4, "seconds": 0.3}),
            ("no_end_of_log", {}),
            ("no_end_of_log", {"hold": 0.3}),
            ("split_log", {"bytes": 1}),
            ("split_log", {"bytes": 7}),
        ],
    )
    def test_a_log_that_is_mistreated_arrives_once_and_whole(self, kaggle, client, tmp_path, kind, options):
        kaggle.faults.add(kind, "demo/talks", times=FOREVER, **options)
        client.push("Talks", SLOW)
        assert follow(kaggle, "talks", tmp_path) == (KernelStatus("COMPLETE"), WHOLE)

    def test_a_stream_is_cut_after_its_seconds_and_never_says_that_it_is_over(self, kaggle, client):
        kaggle.faults.add("cut_log", seconds=0.3)
        client.push("Talks", SLOW)
        client.wait("talks", "RUNNING")
        cut = client.get("/api/v1/kernels/logs/stream/demo/talks").content
        assert (client.status("talks")["status"], b"END_OF_LOG" in cut) == ("RUNNING", False)

    def test_a_stream_without_a_last_chunk_is_a_broken_answer(self, kaggle, client):
        kaggle.faults.add("cut_log", seconds=0.2, abrupt=True)
        client.push("Talks", SLOW)
        client.wait("talks", "RUNNING")
        with pytest.raises(Exception, match="IncompleteRead"):
            client.get("/api/v1/kernels/logs/stream/demo/talks")

    def test_a_late_log_is_empty_at_first_and_then_whole(self, tmp_path):
        now = [datetime(2026, 11, 20, tzinfo=UTC)]
        with LocalKaggle(tmp_path / "kaggle", clock=lambda: now[0]) as kaggle:
            client = Client(kaggle)
            kaggle.faults.add("log_late", "demo/late", seconds=30)
            run_to_end(client, "Late", "print('there')\nopen('a.txt', 'w')")
            stored = "/api/v1/kernels/logs/stream/demo/late"
            assert names(client, "late") == ["a.txt"]
            assert ("log" in client.output("late"), client.get(stored).json()) == (False, [])
            now[0] += timedelta(seconds=31)
            assert client.log("late") == "there\n"
            assert client.get(stored).json()[0]["data"] == "there\n"

    def test_the_log_of_a_queued_session_is_waited_for_at_the_server_and_not_polled(self, tmp_path):
        with LocalKaggle(tmp_path / "kaggle", limits=Limits(queue_s=1.5)) as kaggle:
            Client(kaggle).push("Late", SLOW)
            statuses = []
            assert follow(kaggle, "late", tmp_path, statuses) == (KernelStatus("COMPLETE"), WHOLE)
            asked = [path for _, path, _ in kaggle.requests if path.endswith("SessionStatus") or "/logs/" in path]
        assert "/logs/" in asked[1]
        assert len(asked) <= 5
        assert [statuses[0].state, statuses[-1].state] == ["QUEUED", "COMPLETE"]


class TestAWhile:
    def test_a_fault_for_some_seconds_begins_with_its_first_call_and_ends_by_itself(self, kaggle, client):
        kaggle.faults.add("status", "*/GetKernelSessionStatus", for_seconds=0.5, status=500)
        time.sleep(0.6)
        began = time.monotonic()
        codes = []
        while (status := client.call("GetKernelSessionStatus").status) == 500 and time.monotonic() < began + 30:
            codes.append(status)
        assert (codes[:2], status) == ([500, 500], 403)
        assert time.monotonic() - began >= 0.5
        assert kaggle.faults.waiting() == []

    def test_a_kernel_that_is_not_readable_yet_is_403_for_everything_but_its_push(self, tmp_path):
        now = [datetime(2026, 11, 20, tzinfo=UTC)]
        with LocalKaggle(tmp_path / "kaggle", clock=lambda: now[0]) as kaggle:
            client = Client(kaggle)
            kaggle.faults.add("not_readable", "demo/new", seconds=20)
            client.push("New", "open('a.txt', 'w')")
            while kaggle.world.sessions.live():
                time.sleep(0.02)
            named = client.named("new")
            reads = [
                *("GetKernel", "GetKernelSessionStatus", "ListKernelSessionOutput", "ListKernelFiles"),
                *("GetKernelSessionLogsStream", "DownloadKernelOutput", "DeleteKernel"),
            ]

            def codes():
                body = {**named, "ownerSlug": "demo"}
                found = [client.call(method, body).status for method in reads]
                return [*found[:-1], client.get("/api/v1/kernels/logs/stream/demo/new").status, found[-1]]

            assert codes() == [403] * 8
            assert client.call("ListKernels", {"user": "demo"}).json() == {"kernels": []}
            now[0] += timedelta(seconds=21)
            assert client.status("new") == {"status": "COMPLETE"}
            assert names(client, "new") == ["a.txt"]


class TestEndings:
    @pytest.mark.parametrize(
        ("kind", "status"),
        [
            ("out_of_memory", {"status": "ERROR", "failureMessage": OUT_OF_MEMORY}),
            ("time_limit", {"status": "CANCEL_ACKNOWLEDGED", "failureMessage": TIMED_OUT}),
            ("killed", {"status": "ERROR"}),
        ],
    )
    def test_a_session_ends_at_the_line_that_the_fault_names(self, kaggle, client, kind, status):
        kaggle.faults.add(kind, "demo/dies", after_text="step 2", outputs="kept")
        lines = ["import time", "for n in range(4):", "    open(f'{n}.txt', 'w')", "    print('step', n)"]
        source = "\n".join([*lines, "    time.sleep(60 if n == 2 else 0)"])
        assert run_to_end(client, "Dies", source)[1] == status
        assert client.log("dies").splitlines() == ["step 0", "step 1", "step 2"]
        assert names(client, "dies") == ["0.txt", "1.txt", "2.txt"]

    def test_a_program_that_is_faster_than_its_end_ends_the_same_way(self, kaggle, client):
        kaggle.faults.add("out_of_memory", after_s=60)
        assert run_to_end(client, "Fast", "print(1)")[1]["failureMessage"] == OUT_OF_MEMORY

    def test_without_a_word_a_session_ends_about_a_second_after_its_start(self, kaggle, client):
        kaggle.faults.add("time_limit")
        assert run_to_end(client, "Long", "import time\ntime.sleep(600)")[1]["failureMessage"] == TIMED_OUT

    @pytest.mark.parametrize(
        ("outputs", "sizes"),
        [
            ("kept", {f"{n}.txt": 8 for n in range(4)}),
            ("partial", {"0.txt": 8, "1.txt": 4}),
            ("gone", {}),
            (None, {}),
        ],
    )
    def test_what_is_left_of_the_outputs_can_be_chosen(self, kaggle, client, outputs, sizes):
        kaggle.faults.add("killed", after_s=60, **({"outputs": outputs} if outputs else {}))
        slug, status = run_to_end(client, "Dies", WRITER)
        files = client.call("ListKernelFiles", client.named(slug)).json()["files"]
        assert (status, {file["name"]: file["size"] for file in files}) == ({"status": "ERROR"}, sizes)


class TestForeignFiles:
    SUMMARY = "open('session_summary.json', 'w').write('{{\"run_id\": \"{}\"}}')\nopen('{}.txt', 'w')"

    def content(self, client, slug, name):
        files = {file["fileName"]: file["url"] for file in client.output(slug)["files"]}
        return client.send("GET", files[name]).content.decode()

    def test_the_version_before_seems_to_be_ours(self, kaggle, client):
        run_to_end(client, "Job", self.SUMMARY.format("first", "a"))
        client.push("Job", self.SUMMARY.format("second", "b"), slug="demo/job")
        client.wait("job")
        kaggle.faults.add("previous_files", "demo/job", times=3)
        assert names(client, "job") == ["a.txt", "session_summary.json"]
        assert self.content(client, "job", "session_summary.json") == '{"run_id": "first"}'
        files = client.call("ListKernelFiles", client.named("job")).json()["files"]
        assert [file["name"] for file in files] == ["a.txt", "session_summary.json"]
        assert names(client, "job") == ["b.txt", "session_summary.json"]

    def test_a_first_version_shows_the_files_of_the_kernel_before_or_of_the_one_named(self, kaggle, client):
        for name in ("one", "two", "three"):
            run_to_end(client, f"Job {name}", self.SUMMARY.format(name, name))
        kaggle.faults.add("previous_files", "demo/job-three")
        assert names(client, "job-three") == ["session_summary.json", "two.txt"]
        kaggle.faults.add("previous_files", "demo/job-three", of="demo/job-one/v1")
        assert names(client, "job-three") == ["one.txt", "session_summary.json"]
        kaggle.faults.add("previous_files", "demo/job-three", of="demo/none")
        assert names(client, "job-three") == []

    def test_single_files_can_be_another_kernels_or_made_up(self, kaggle, client):
        for name in ("one", "two"):
            run_to_end(client, f"Job {name}", self.SUMMARY.format(name, name))
        kaggle.faults.add("previous_files", "demo/job-two", times=2, only=["session_summary.json"])
        assert names(client, "job-two") == ["session_summary.json", "two.txt"]
        assert self.content(client, "job-two", "session_summary.json") == '{"run_id": "one"}'
        kaggle.faults.add("previous_files", "demo/job-two", files={"session_summary.json": "not JSON"})
        assert self.content(client, "job-two", "session_summary.json") == "not JSON"


class TestSlowStorage:
    def test_a_slow_file_comes_whole_and_takes_its_time(self, kaggle, client):
        slug, _ = run_to_end(client, "Job", "open('a.bin', 'wb').write(bytes(range(250)) * 100)")
        (file,) = client.output(slug)["files"]
        kaggle.faults.add("slow", "storage/GET/a.bin", rate=50_000)
        began = time.monotonic()
        assert client.send("GET", file["url"]).content == bytes(range(250)) * 100
        assert time.monotonic() - began >= 0.4
        assert client.send("GET", file["url"], Range="bytes=249-251").content == bytes([249, 0, 1])


class TestRefusals:
    def test_full_slots_are_refused_so_often_and_then_pushed(self, kaggle, client):
        kaggle.faults.add("slots_full", "demo/job", times=2)
        found = [client.push("Job", "pass", **GPU) for _ in range(3)]
        words = "Maximum batch GPU session count of 2 reached."
        assert [reply["error"] for reply in found] == [words, words, ""]
        assert (found[0]["ref"], found[2]["versionNumber"]) == (None, 1)
        kaggle.faults.add("slots_full", message="Maximum batch TPU session count of 7 reached.")
        assert client.push("Other", "pass")["error"] == "Maximum batch TPU session count of 7 reached."

    def test_a_refused_push_may_have_stored_its_source_all_the_same(self, kaggle, client):
        kaggle.faults.add("slots_full", store=True)
        assert client.push("Job", "print(1)")["error"]
        assert client.call("GetKernel", client.named("job")).json()["blob"]["source"] == "print(1)"
        assert client.status("job") == {"status": "NEW_SCRIPT"}
        assert kaggle.world.sessions.live() == []
        assert client.push("Job", "print(2)", slug="demo/job")["versionNumber"] == 2

    def test_used_up_hours_refuse_accelerators_and_leave_the_cpu(self, tmp_path):
        with LocalKaggle(tmp_path / "kaggle", limits=Limits(gpu_week_s=0)) as kaggle:
            client = Client(kaggle)
            assert client.push("Job", "pass", **GPU)["error"] == "Maximum weekly GPU quota of 0.00 hours reached."
            assert client.push("Job", "pass", enableTpu=True)["error"] == ""
            assert client.push("Job Two", "pass")["error"] == ""

    def test_hours_can_seem_used_up_for_a_push_and_in_the_quota(self, kaggle, client):
        kaggle.faults.add("quota_exhausted", times=FOREVER)
        assert client.push("Job", "pass", **GPU)["error"] == "Maximum weekly GPU quota of 30.00 hours reached."
        assert client.push("Job", "pass")["error"] == ""
        quota = client.call("GetAcceleratorQuotaStatistics").json()["gpuQuota"]
        assert quota["timeUsed"] == quota["totalTimeAllowed"]
        kaggle.faults.clear()
        kaggle.faults.add("quota_exhausted", "demo/*", message="no hours left")
        assert client.push("Job Two", "pass", **GPU)["error"] == "no hours left"


class TestFromOutside:
    @pytest.mark.parametrize(
        "fault",
        [
            {"kind": "earthquake"},
            {"kind": "status", "times": 0},
            {"kind": "status", "times": True},
            {"kind": "status", "times": "many"},
            {"kind": "status", "match": 3},
            {"kind": "status", "for_seconds": "long"},
            {"match": "*"},
        ],
    )
    def test_what_is_no_fault_is_refused_over_http(self, kaggle, client, fault):
        content = json.dumps(fault).encode()
        answer = client.send("POST", f"{kaggle.url}/_local/faults", content, X_Local_Token=kaggle.control_token)
        assert (answer.status, kaggle.faults.waiting()) == (400, [])
        assert client.call("ListKernels").status == 200

    def test_every_kind_is_known_to_the_page_about_the_local_kaggle(self):
        page = (ROOT / "docs" / "local-kaggle.md").read_text(encoding="utf-8")
        assert [kind for kind in KINDS if f"`{kind}`" not in page] == []

    def test_several_threads_never_use_a_fault_more_often_than_it_happens(self):
        faults, taken = Faults(), []
        faults.add("status", times=100)
        threads = [
            threading.Thread(target=lambda: taken.extend(faults.take("status", "x") for _ in range(50)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(taken), sum(fault is not None for fault in taken)) == (200, 100)

    def test_a_server_in_another_process_takes_faults_at_its_start_and_later(self, tmp_path):
        argv = [sys.executable, str(ROOT / "kagg.py"), "--json", "local-kaggle", "--port", "0", "--root", str(tmp_path)]
        argv += ["--fault", '{"kind": "status", "match": "*/Hello", "status": 418}', "--fault", '{"kind": "log_late"}']
        env = {**os.environ, "KAGG_HOME": str(tmp_path / "home")}
        with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            process.stdout.readline()
            server = json.loads((tmp_path / "server.json").read_text())
            remote = Client(type("Remote", (), {"url": server["url"]}), None)
            token = {"X_Local_Token": server["control_token"]}
            assert remote.call("Hello", service="api.v1.DiagnosticsService").status == 418
            more = b'{"kind": "latency", "for_seconds": 30, "ms": 1}'
            waiting = remote.send("POST", f"{server['url']}/_local/faults", more, **token).json()["faults"]
            assert [fault["kind"] for fault in waiting] == ["log_late", "latency"]
            process.terminate()
            assert process.wait(30) == 0

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"kind": "none"}', '{"kind": "status", "times": -1}'])
    def test_a_bad_fault_on_the_command_line_is_2_and_nothing_starts(self, tmp_path, capsys, text):
        ctx = Context({**os.environ, "KAGG_HOME": str(tmp_path / "home")})
        assert main(["local-kaggle", "--port", "0", "--fault", text], ctx) == 2
        assert "--fault" in capsys.readouterr().err
        assert not (tmp_path / "home" / "local-kaggle" / "server.json").exists()
