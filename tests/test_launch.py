"""`run --kaggle` through its five steps: what is sent, what comes back, and a client that is killed at each step."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from front_door import environment
from test_kaggle_session import SLEEPER, QuickContext, desk_with

from kagg import Exit, main
from plugins.lib.kaggle.faults import FOREVER
from plugins.lib.kaggle.sessions import Limits

ROOT = Path(__file__).resolve().parent.parent
TRAIN = """\
import argparse, json, os, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("--algorithm", default="none")
parser.add_argument("--quick-test", action="store_true")
args = parser.parse_args()
import helper
pathlib.Path("plots").mkdir()
pathlib.Path("plots/curve.txt").write_text("1 2 3")
json.dump({"accuracy": helper.score(), "quick": args.quick_test}, open("metrics.json", "w"))
print("algorithm", args.algorithm, os.environ.get("KAGG_QUICK_TEST"), open("data.txt").read())
"""
pytestmark = pytest.mark.skipif(os.name != "posix", reason="sessions need POSIX processes")


@pytest.fixture
def desk(tmp_path):
    with desk_with(tmp_path) as found:
        yield found


@pytest.fixture
def project(desk):
    """A small project: a script, a module that it imports, a file that it reads."""
    folder = desk.folder / "project"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    (folder / "helper.py").write_text("def score():\n    return 0.75\n")
    (folder / "data.txt").write_text("seen")
    return folder


def kernels_left(desk):
    return desk.client.call("ListKernels", {"group": "PROFILE"}).json().get("kernels", [])


def kagg(desk, *argv):
    ctx = desk.context()
    code = main(["--kaggle-url", desk.kaggle.url, *map(str, argv)], ctx)
    return code, ctx


class TestFiveSteps:
    def test_they_are_shown_and_the_results_are_verified_and_nothing_is_left_on_kaggle(self, desk, project):
        code, ctx = desk.run(project, "--entry", "train.py", "--quick-test", "--", "--algorithm", "ppo")
        assert code == Exit.DONE, ctx.err
        steps = [line for line in ctx.err.splitlines() if line[1:3] == "/5"]
        assert [line.split()[1] for line in steps] == ["code", "script", "kernel", "session", "results"]
        assert "inline" in steps[0]
        assert "verified" in steps[4]
        assert "algorithm ppo 1 seen" in ctx.err
        record = desk.result()
        assert record["metrics"]["accuracy"] == 0.75
        assert json.loads((desk.dest / "output/metrics.json").read_text()) == {"accuracy": 0.75, "quick": True}
        assert {file["path"] for file in record["outputs"]} >= {"metrics.json", "plots/curve.txt"}
        assert not {file["path"] for file in record["outputs"]} & {"train.py", "helper.py", "data.txt"}
        assert (record["verified"], record["status"], record["exit_code"]) == (True, "complete", 0)
        assert kernels_left(desk) == []

    def test_a_script_takes_the_modules_that_it_imports_along(self, desk, project):
        (project / "train.py").write_text("import helper\nprint('score', helper.score())\n")
        code, ctx = desk.run(project / "train.py")
        assert (code, "score 0.75" in ctx.err) == (Exit.DONE, True), ctx.err

    def test_the_exit_code_of_the_program_is_in_the_record_and_the_command_fails(self, desk):
        code, ctx = desk.run(desk.write("bad.py", "import sys\nopen('kept.txt', 'w').write('x')\nsys.exit(7)\n"))
        record = desk.result()
        assert (code, record["exit_code"], record["status"]) == (Exit.FAILED, 7, "error"), ctx.err
        assert record["verified"] is True
        assert (desk.dest / "output/kept.txt").read_text() == "x"

    def test_keep_leaves_the_kernel_and_reap_leaves_it_alone(self, desk):
        assert desk.run(desk.write("job.py", "print(1)"), "--keep")[0] == Exit.DONE
        assert len(kernels_left(desk)) == 1
        assert kagg(desk, "reap", "--yes")[0] == Exit.DONE
        assert len(kernels_left(desk)) == 1

    def test_a_dry_run_shows_the_plan_and_sends_nothing(self, desk, project):
        ctx = desk.context()
        argv = ["--json", "--kaggle-url", desk.kaggle.url, "run", str(project), "--entry", "train.py", "--kaggle"]
        assert main([*argv, "--dry-run", "--device", "gpu", "--timeout", "90m"], ctx) == Exit.DONE, ctx.err
        plan = json.loads(ctx.out)
        assert (plan["accelerator"], plan["limit_s"], plan["cost"]["reserved_s"]) == ("NvidiaTeslaT4", 5400.0, 5400.0)
        assert sorted(plan["code"]["files"]) == ["data.txt", "helper.py", "train.py"]
        assert plan["quota"]["gpu"]["left_s"] == 108_000.0
        assert kernels_left(desk) == []
        assert not any("SaveKernel" in path for _, path, _ in desk.kaggle.requests)

    def test_a_dry_run_counts_one_thing_as_one(self, desk):
        path = desk.write("one.py", "1")
        for argv, words in (((), "inline, 1 file, 1 byte, "), (("--code", "dataset"), "dataset, 1 file, 1 byte\n")):
            code, ctx = kagg(desk, "run", path, "--kaggle", "--dry-run", *argv)
            assert (code, f"code         {words}" in ctx.out) == (Exit.DONE, True), ctx.out
            assert "one.py  1 byte\n" in ctx.out

    def test_code_as_a_dataset_arrives_and_is_deleted_afterwards(self, desk, project):
        code, ctx = desk.run(project, "--entry", "train.py", "--code", "dataset")
        assert code == Exit.DONE, ctx.err
        assert desk.result()["metrics"]["accuracy"] == 0.75
        assert (
            desk.client.call("ListDatasets", {"group": "DATASET_SELECTION_GROUP_MY"}, "datasets.DatasetApiService")
            .json()
            .get("datasets", [])
            == []
        )

    def test_verify_makes_a_complete_run_end_with_3(self, desk, project):
        wanted = desk.write("wanted.txt", "metrics.json\nmodel.bin\n")
        code, ctx = desk.run(project, "--entry", "train.py", "--verify", str(wanted))
        assert (code, "model.bin" in ctx.err) == (Exit.FINDINGS, True), ctx.err
        assert desk.result()["status"] == "complete"

    @pytest.mark.parametrize("option", ["--device gpu", "--detach", "--code git", "--verify x", "--keep"])
    def test_options_for_kaggle_are_refused_in_a_run_on_this_machine(self, desk, option):
        ctx = desk.context()
        assert main(["run", str(desk.write("job.py", "print(1)")), *option.split()], ctx) == Exit.USAGE
        assert "--kaggle" in ctx.err


class TestDetach:
    def test_a_detached_run_is_listed_and_attach_brings_its_results(self, desk):
        code, ctx = desk.run(
            desk.write("job.py", "import time\ntime.sleep(1)\nopen('a.txt', 'w').write('x')"), "--detach"
        )
        assert (code, "attach" in ctx.err) == (Exit.DONE, True), ctx.err
        assert not (desk.dest / "result.json").exists()
        code, ctx = kagg(desk, "ps")
        assert "detached" in ctx.out
        code, ctx = kagg(desk, "attach", "last")
        assert (code, desk.result()["status"]) == (Exit.DONE, "complete"), ctx.err
        assert (desk.dest / "output/a.txt").read_text() == "x"
        assert kernels_left(desk) == []
        code, ctx = kagg(desk, "attach", "last")  # a second time it says the same
        assert (code, "complete" in ctx.out) == (Exit.DONE, True)

    def test_attach_of_a_failed_run_fails_as_the_run_would(self, desk):
        desk.run(desk.write("job.py", "raise SystemExit(3)"), "--detach")
        assert kagg(desk, "attach", "last")[0] == Exit.FAILED

    def test_what_attach_cannot_find_is_a_usage_error(self, desk):
        assert kagg(desk, "attach", "nothing-20260101-0000-abcdef")[0] == Exit.USAGE
        assert kagg(desk, "attach", "last")[0] == Exit.USAGE


class TestKilled:
    """kill -9 at each of the five steps; then `attach` finishes the run, which ran exactly once."""

    PROGRAM = "import time\nopen('ran.txt', 'a').write('x')\ntime.sleep({seconds})\nprint('done')\n"

    def start(self, desk, *options, seconds=0.5):
        path = desk.write("job.py", self.PROGRAM.format(seconds=seconds))
        key = desk.kaggle.world.accounts.users["demo"]["key"]
        env = environment(desk.folder, KAGGLE_USERNAME="demo", KAGGLE_KEY=key, KAGG_KAGGLE_URL=desk.kaggle.url)
        argv = [sys.executable, str(ROOT / "kagg.py"), "run", "--kaggle", str(path), "--dest", str(desk.dest), *options]
        return subprocess.Popen(argv, env=env, cwd=desk.folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)

    def until(self, process, condition):
        deadline = time.monotonic() + 60
        while not condition():
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()

    def stage(self, desk):
        for path in (desk.folder / "home/.kagg/runs").glob("*/state.json"):
            with contextlib.suppress(ValueError, OSError):
                return json.loads(path.read_text())["stage"]
        return ""

    def attach(self, desk, pushes=1):
        key = desk.kaggle.world.accounts.users["demo"]["key"]
        env = environment(desk.folder, KAGGLE_USERNAME="demo", KAGGLE_KEY=key, KAGG_KAGGLE_URL=desk.kaggle.url)
        ctx = QuickContext(env, 1_000_000)
        code = main(["attach", "last"], ctx)
        assert code == Exit.DONE, ctx.err
        record = desk.result()
        assert (record["status"], record["verified"]) == ("complete", True)
        assert (desk.dest / "output/ran.txt").read_text() == "x"
        assert record["kernel_version"] == 1
        assert self.pushes(desk) == pushes
        assert kernels_left(desk) == []
        ctx = QuickContext(env, 1)
        assert main(["reap"], ctx) == Exit.DONE
        assert main(["--json", "ps"], ctx) == Exit.DONE

    def pushes(self, desk):
        return sum(path.endswith("SaveKernel") for _, path, _ in desk.kaggle.requests)

    def taken(self, desk, kind):
        """Tell whether a fault that was to hold the client up has begun."""
        return kind not in [fault["kind"] for fault in desk.kaggle.faults.waiting()]

    def test_while_the_code_is_packed(self, desk):
        desk.kaggle.faults.add("latency", match="*StartBlobUpload", ms=5000)
        process = self.start(desk, "--code", "dataset")
        self.until(process, lambda: self.taken(desk, "latency"))
        assert self.stage(desk) == "begun"
        self.attach(desk)

    def test_before_the_push(self, desk):
        desk.kaggle.faults.add("latency", match="*GetAcceleratorQuotaStatistics", ms=5000)
        process = self.start(desk)
        self.until(process, lambda: self.taken(desk, "latency"))
        assert self.stage(desk) == "script"
        self.attach(desk)

    def test_after_the_push_arrived_and_before_its_reply(self, desk):
        desk.kaggle.faults.add("lost_reply", match="*SaveKernel")
        process = self.start(desk, seconds=1.5)
        self.until(process, lambda: bool(desk.kaggle.world.sessions.live()))
        assert self.stage(desk) == "pushing"
        self.attach(desk, pushes=0)  # that one whose reply was lost is not in the server's list

    def test_while_the_session_runs(self, desk):
        process = self.start(desk, seconds=1.5)
        self.until(process, lambda: self.stage(desk) == "pushed")
        self.attach(desk)

    def test_while_results_are_fetched(self, desk):
        desk.kaggle.faults.add("latency", match="storage/GET/*", ms=5000)
        process = self.start(desk)
        self.until(process, lambda: self.taken(desk, "latency"))
        self.attach(desk)


class TestFaults:
    def test_a_lost_reply_to_the_push_is_one_run(self, desk):
        desk.kaggle.faults.add("lost_reply", match="*SaveKernel")
        code, ctx = desk.run(desk.write("job.py", "open('ran.txt', 'a').write('x')"))
        assert code == Exit.DONE, ctx.err
        assert desk.result()["kernel_version"] == 1
        assert not any("SaveKernel" in path for _, path, _ in desk.kaggle.requests)  # no second one

    def test_a_summary_of_another_run_is_13_and_nothing_of_it_is_kept(self, desk):
        source = "import json, os\nraise SystemExit(0)\n"
        desk.kaggle.faults.add("previous_files", times=FOREVER)
        code, ctx = desk.run(desk.write("job.py", source))
        assert code == Exit.INTEGRITY, ctx.err
        assert not list((desk.dest / "output").rglob("*")) if (desk.dest / "output").exists() else True

    def test_a_session_out_of_memory_is_killed_and_says_so(self, desk):
        desk.kaggle.faults.add("out_of_memory", match="*")
        code, ctx = desk.run(desk.write("job.py", SLEEPER))
        assert (code, desk.result()["status"]) == (Exit.FAILED, "killed"), ctx.err
        assert "more memory than is available" in ctx.err

    def test_a_full_account_ends_with_14_and_attach_can_try_again(self, tmp_path):
        with desk_with(tmp_path, Limits(cpu_slots=1)) as desk:
            desk.client.push("The blocker", SLEEPER)
            code, ctx = desk.run(desk.write("job.py", "print(1)"), "--max-wait", "20s")
            assert code == Exit.QUOTA, ctx.err
            desk.client.call("DeleteKernel", desk.client.named("the-blocker"))
            code, ctx = kagg(desk, "attach", "last")
            assert (code, desk.result()["status"]) == (Exit.DONE, "complete"), ctx.err


class TestBatch:
    ROWS = 10

    def jobs(self, desk):
        rows = ["id,ref,on,device"]
        for number in range(self.ROWS):
            desk.write(f"job{number}.py", f"import time\ntime.sleep(0.2)\nopen('n.txt', 'a').write('{number}')\n")
            rows.append(f"j{number},job{number}.py,kaggle,gpu")
        return desk.write("jobs.csv", "\n".join(rows) + "\n")

    def command(self, desk, *options):
        key = desk.kaggle.world.accounts.users["demo"]["key"]
        env = environment(desk.folder, KAGGLE_USERNAME="demo", KAGGLE_KEY=key, KAGG_KAGGLE_URL=desk.kaggle.url)
        argv = [sys.executable, str(ROOT / "kagg.py"), "batch", str(self.jobs(desk)), "--dest", str(desk.dest)]
        return subprocess.Popen(
            [*argv, "--parallel", "10", *options],
            env=env,
            cwd=desk.folder,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def test_ten_jobs_over_two_gpu_slots_finish_each_once_although_the_client_is_killed(self, desk):
        process = self.command(desk)
        deadline = time.monotonic() + 100
        while len(list(desk.dest.glob("*/run/result.json"))) < 3:
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
        process.communicate()
        again = self.command(desk, "--resume", "last")
        out, err = again.communicate(timeout=200)
        assert again.returncode == 0, (out + err).decode()[-3000:]
        for number in range(self.ROWS):
            found = list(desk.dest.glob(f"j{number}/run*/output/n.txt"))
            assert [path.read_text() for path in found] == [str(number)]
        saved = [code for _, path, code in desk.kaggle.requests if path.endswith("SaveKernel")]
        assert len(saved) >= self.ROWS
        assert kernels_left(desk) == []


class TestAfterTheWorst:
    """What once went wrong: each of these ran something twice, lost it, or told something that was not so."""

    def state(self, desk):
        (path,) = (desk.folder / "home/.kagg/runs").glob("*/state.json")
        return path, json.loads(path.read_text())

    def rewind(self, desk, stage, **fields):
        """Put the state back to what a kill at that moment would have left."""
        path, found = self.state(desk)
        for name in ("pushed", "record"):
            if stage in ("pushing", "script"):
                found.pop(name, None)
        path.write_text(json.dumps({**found, "stage": stage, **fields}))

    def test_one_403_in_the_middle_of_a_run_is_not_its_end(self, desk):
        desk.kaggle.faults.add("cut_log", events=1)
        desk.kaggle.faults.add("status", match="*GetKernelSessionStatus", status=403, message="Permission denied")
        code, ctx = desk.run(desk.write("job.py", "import time\nprint(1, flush=True)\ntime.sleep(1)\nprint(2)"))
        assert (code, desk.log()) == (Exit.DONE, "1\n2\n"), ctx.err

    def test_a_kernel_stopped_elsewhere_is_killed_and_never_run_again(self, desk):
        desk.run(desk.write("job.py", SLEEPER), "--detach")
        assert kagg(desk, "stop", desk.kernels()[0])[0] == Exit.DONE
        pushes = [path for _, path, _ in desk.kaggle.requests if path.endswith("SaveKernel")]
        code, ctx = kagg(desk, "--json", "runs", "list", "--of", "run")
        assert '"status": "failed"' in ctx.out
        code, ctx = kagg(desk, "attach", "last")
        assert (code, desk.result()["status"]) == (Exit.FAILED, "killed"), ctx.err
        assert "stopped" in ctx.err
        assert [path for _, path, _ in desk.kaggle.requests if path.endswith("SaveKernel")] == pushes

    def test_a_push_accepted_after_a_refusal_is_found_although_it_is_still_queued(self, tmp_path):
        with desk_with(tmp_path, Limits(queue_s=3)) as desk:
            desk.run(desk.write("job.py", "print(1)"), "--detach")
            self.rewind(desk, "pushing", refused=False)
            code, ctx = kagg(desk, "attach", "last")
            assert (code, desk.result()["kernel_version"]) == (Exit.DONE, 1), ctx.err

    def test_a_stored_source_that_never_ran_is_pushed_again(self, desk):
        desk.kaggle.faults.add("slots_full", times=FOREVER, store=True)
        code, ctx = desk.run(desk.write("job.py", "print('ran')"), "--max-wait", "1s")
        assert code == Exit.QUOTA, ctx.err
        self.rewind(desk, "pushing", refused=True)
        desk.kaggle.faults.clear()
        code, ctx = kagg(desk, "attach", "last")
        assert (code, desk.log()) == (Exit.DONE, "ran\n"), ctx.err

    def test_code_that_reap_has_removed_is_sent_again(self, tmp_path):
        with desk_with(tmp_path, Limits(cpu_slots=1)) as desk:
            desk.client.push("The blocker", SLEEPER)
            assert desk.run(desk.write("job.py", "print(1)"), "--code", "dataset", "--max-wait", "1s")[0] == Exit.QUOTA
            assert kagg(desk, "reap", "--yes", "--all")[0] == Exit.DONE
            desk.client.call("DeleteKernel", desk.client.named("the-blocker"))
            code, ctx = kagg(desk, "attach", "last")
            assert code == Exit.DONE, ctx.err

    def test_files_of_a_session_that_kaggle_ended_are_fetched_later_when_storage_was_down(self, desk):
        desk.kaggle.faults.add("time_limit", after_text="saved", outputs="kept")
        desk.kaggle.faults.add("status", match="storage/GET/*", times=FOREVER, status=503)
        source = "import time\nopen('model.pt', 'w').write('weights')\nprint('saved', flush=True)\ntime.sleep(60)\n"
        assert desk.run(desk.write("job.py", source))[0] == Exit.FAILED
        desk.kaggle.faults.clear()
        code, ctx = kagg(desk, "attach", "last")
        assert (code, (desk.dest / "output/model.pt").read_text()) == (Exit.FAILED, "weights"), ctx.err

    def test_a_failed_job_whose_results_could_not_be_fetched_is_fetched_and_not_run_again(self, desk):
        desk.write("job.py", "open('n.txt', 'w').write('1')\n")
        jobs = desk.write("jobs.csv", "id,ref,on\nj,job.py,kaggle\n")
        desk.kaggle.faults.add("status", match="storage/GET/*", times=FOREVER, status=503)
        argv = ["batch", str(jobs), "--dest", str(desk.dest)]
        assert kagg(desk, *argv)[0] == Exit.FINDINGS
        desk.kaggle.faults.clear()
        code, ctx = kagg(desk, *argv, "--resume", "last", "--retry-failed")
        assert code == Exit.DONE, ctx.err
        assert sum(path.endswith("SaveKernel") for _, path, _ in desk.kaggle.requests) == 1
        assert (desk.dest / "j/run/output/n.txt").read_text() == "1"

    @pytest.mark.parametrize("option", ["--pip", "--checkpoint", "--exclude", "--commit-message", "--notify"])
    def test_a_secret_in_an_option_is_refused_and_written_nowhere(self, desk, option):
        token = "gh" + "p_" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"
        value = f"webhook:https://h.example/{token}" if option == "--notify" else token
        more = ["--code", "git", "--commit"] if option == "--commit-message" else []
        code, ctx = desk.run(desk.write("job.py", "print(1)"), option, value, *more)
        assert code == Exit.FINDINGS, ctx.err
        kept = b"".join(path.read_bytes() for path in (desk.folder / "home").rglob("*") if path.is_file())
        assert token.encode() not in kept
        assert token not in ctx.err

    def test_files_with_odd_names_come_back_or_are_renamed_and_said(self, desk):
        source = "for name in (b'2026-11-27T03:30:18.log', b'con', b'bad\\xff.txt', b'new\\nline', 'grüße'.encode()):\n"
        code, ctx = desk.run(desk.write("job.py", source + "    open(name, 'w').write('x')\n"))
        assert code == Exit.DONE, ctx.err
        names = {path.name for path in (desk.dest / "output").iterdir()}
        assert names == {"2026-11-27T03:30:18.log", "con", "bad%FF.txt", "new%0Aline", "grüße"}
        assert "renamed" in desk.log("stderr")

    def test_the_error_of_a_program_is_the_line_that_names_the_exception(self, desk):
        desk.run(desk.write("job.py", "raise ValueError('first\\nsecond')"))
        assert desk.result()["error"] == "ValueError: first"

    def test_a_notebook_in_another_language_is_refused_before_it_is_pushed(self, desk):
        cell = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": "x <- 1"}
        kernel = {"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}}
        text = json.dumps({"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 4})
        assert desk.run(desk.write("r.ipynb", text))[0] == Exit.USAGE
        assert desk.kernels() == []

    def test_a_run_into_a_folder_that_cannot_be_made_is_refused_before_anything_is_pushed(self, desk):
        desk.dest = desk.write("taken", "a file") / "below"
        assert desk.run(desk.write("job.py", "print(1)"))[0] == Exit.USAGE
        assert desk.kernels() == []

    def test_results_removed_before_the_kernel_was_deleted_are_fetched_again(self, desk):
        desk.kaggle.faults.add("status", match="*DeleteKernel", times=FOREVER, status=500)
        assert desk.run(desk.write("job.py", "open('a.txt', 'w').write('x')"))[0] == Exit.DONE
        desk.kaggle.faults.clear()
        path, found = self.state(desk)
        path.write_text(json.dumps({**found, "stage": "collected"}))
        (desk.dest / "output/a.txt").unlink()
        code, ctx = kagg(desk, "attach", "last")
        assert (code, (desk.dest / "output/a.txt").read_text()) == (Exit.DONE, "x"), ctx.err
        assert kernels_left(desk) == []

    def test_a_batch_killed_twice_while_a_session_runs_does_not_run_the_job_again(self, desk):
        desk.write("job.py", "import time\nprint('go', flush=True)\ntime.sleep(3)\nopen('n.txt', 'a').write('1')\n")
        jobs = desk.write("jobs.csv", "id,ref,on\nj,job.py,kaggle\n")
        key = desk.kaggle.world.accounts.users["demo"]["key"]
        env = environment(desk.folder, KAGGLE_USERNAME="demo", KAGGLE_KEY=key, KAGG_KAGGLE_URL=desk.kaggle.url)
        argv = [sys.executable, str(ROOT / "kagg.py"), "batch", str(jobs), "--dest", str(desk.dest), "--resume", "last"]
        for _ in range(2):
            process = subprocess.Popen(argv, env=env, cwd=desk.folder, stderr=subprocess.PIPE, text=True)
            for line in process.stderr:
                if line.strip().endswith("go"):
                    break
            process.kill()
            process.communicate()
        done = subprocess.run(argv, env=env, cwd=desk.folder, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        assert sum(path.endswith("SaveKernel") for _, path, _ in desk.kaggle.requests) == 1
        assert (desk.dest / "j/run/output/n.txt").read_text() == "1"
