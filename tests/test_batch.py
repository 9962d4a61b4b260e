"""Batches: what each job goes through, what is told at the end, and what a kill in the middle leaves.

Run as a program this file is `kagg.py batch` with steps that write what they do into a log; see `child`.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import ClassVar
from unittest.mock import ANY

import pytest

import kagg
from kagg import Context, Endpoint, Exit, Finding, KaggError
from plugins.lib.batch import run_batch
from plugins.lib.batch_job import JobContext, Steps
from plugins.lib.ledger import Ledger

ROOT = Path(__file__).resolve().parent.parent
REPORT = {"count": 10, "errors": 0, "error_ratio": 0.0, "p50_ms": 1.5, "p90_ms": 2.5, "p99_ms": 3.5, "max_ms": 4.5}


class Fakes:
    """Steps that note what is asked of them; a word in the reference says what goes wrong."""

    errors: ClassVar = {
        "refused": KaggError("Kaggle refused", code=Exit.SERVICE),
        "buggy": ZeroDivisionError("division by zero"),
        "full": OSError(28, "No space left on device", "/disk"),
        "stopped": KaggError("stopped", code=Exit.INTERRUPTED),
    }

    def __init__(self):
        self.done = []
        self.broken = {"raises"}  # these notebooks fail

    def steps(self):
        return Steps(self.download, self.preprocess, self.run, self.deploy, self.call, self.monitor)

    def download(self, _ctx, ref, dest):
        slug = ref.split("/")[1]
        self.done.append(("download", slug))
        if slug in self.errors:
            raise self.errors[slug]
        path = dest / f"{slug}.ipynb"
        path.write_text('{"cells": []}')
        return path

    def preprocess(self, _ctx, path, out):
        self.done.append(("preprocess", path.stem))
        if out:
            kagg.write_atomic(out, path.read_bytes())
        return [Finding("secret", "error", "a token", 3, 1)] if path.stem == "leaks" else []

    def run(self, _ctx, path, **options):
        if made := options.pop("options", None):  # on Kaggle, where the push records itself
            with made.effect("push", f"o/{path.parent.parent.name}", {}) as effect:
                effect.outcome = {}
        self.done.append(("run", path.stem, options))
        options["dest"].mkdir(parents=True)
        if path.stem in self.broken:
            return {
                "status": "error",
                "exit_code": 1,
                "error": "ValueError: no such column",
                "cell": 4,
                "log": "/x/log",
            }
        return {"status": "complete", "exit_code": 0, "error": None, "outputs": [{"path": "a.csv"}]}

    def deploy(self, _ctx, path, name):
        self.done.append(("deploy", path.stem, name))
        return Endpoint(name, "local", "http://127.0.0.1:8123/")

    def call(self, _ctx, endpoint, payload):
        self.done.append(("call", endpoint.name, payload))
        return {"status": 500 if payload == "bad" else 200, "latency_ms": 7.25, "body": {"answer": payload}}

    def monitor(self, _ctx, endpoint, duration_s, interval_s):
        self.done.append(("monitor", endpoint.name, duration_s, interval_s))
        return {**REPORT, "errors": 2, "count": 5} if endpoint.name == "shaky" else dict(REPORT)

    def of(self, step):
        return [entry[1] for entry in self.done if entry[0] == step]


@pytest.fixture
def ctx(tmp_path):
    env = {"KAGG_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), "KAGG_NO_PLUGINS": "1"}
    return Context(env, stdout=io.StringIO(), stderr=io.StringIO())


@pytest.fixture
def batch(tmp_path, ctx):
    """Return a function that runs a batch and returns its exit code and its document."""

    def start(fakes, text, name="jobs.csv", **options):
        path = tmp_path / name
        path.write_text(text)
        given = {"operation": None, "parallel": 2, "engine": "local", "report": None, "resume": None}
        given |= {"retry_failed": False, "dest": tmp_path / "out"}
        ctx.as_json, ctx.stdout = True, io.StringIO()
        code = run_batch(path, argparse.Namespace(**(given | options)), ctx, fakes.steps())
        return code, json.loads(ctx.stdout.getvalue())

    return start


def job_of(found, key):
    return next(job for job in found["jobs"] if job["id"] == key)


def test_each_operation_takes_its_steps_and_those_before_it(batch):
    fakes = Fakes()
    code, found = batch(
        fakes,
        "id,ref,operation,params,payload,monitor,timeout\n"
        'd,o/down,download,,,,\nr,o/runs,run,x=1,,,5s\nm,o/model,deploy,,"{""a"": 1}",4s,\n',
        parallel=1,
    )
    assert code == Exit.DONE
    assert found["counts"] == {"jobs": 3, "done": 3, "failed": 0, "interrupted": 0, "pending": 0}
    assert [entry[:2] for entry in fakes.done] == [
        ("download", "down"),
        *[("download", "runs"), ("preprocess", "runs"), ("run", "runs")],
        *[("download", "model"), ("preprocess", "model"), ("run", "model")],
        *[("deploy", "model"), ("call", "m"), ("monitor", "m")],
    ]
    options = next(entry[2] for entry in fakes.done if entry[:2] == ("run", "runs"))
    assert (options["params"], options["timeout_s"], options.get("on", "local")) == ({"x": 1}, 5.0, "local")
    assert fakes.done[-2:] == [("call", "m", {"a": 1}), ("monitor", "m", 4.0, 0.4)]
    assert job_of(found, "m")["steps"]["call"]["body"] == {"answer": {"a": 1}}


def test_the_ledger_has_a_row_per_job_and_its_effects(batch, ctx):
    _, found = batch(Fakes(), 'id,ref,operation,payload\na,o/a,run,\nm,o/m,deploy,"{""password"": ""hunter22""}"\n')
    with Ledger.open(ctx) as ledger:
        run = ledger.run(found["run"])
        jobs = {job["key"]: job for job in ledger.jobs(found["run"])}
        effects = ledger.effects(found["run"])
    assert (run["command"], run["status"], run["exit_code"]) == ("batch", "done", 0)
    assert len(run["input_sha256"]) == 64
    assert {key: (job["status"], job["attempts"]) for key, job in jobs.items()} == {"a": ("done", 1), "m": ("done", 1)}
    assert [(e["kind"], e["target"], e["status"], e["job_id"]) for e in effects] == [
        ("deploy", "m", "done", jobs["m"]["id"]),
        ("call", "m", "done", jobs["m"]["id"]),
    ]
    assert effects[1]["request"] == {"payload": {"password": "[secret]"}}


@pytest.mark.parametrize(
    ("slug", "code", "message"),
    [
        ("raises", 1, "cell 4: ValueError: no such column"),
        ("refused", 12, "Kaggle refused"),
        ("buggy", 70, "bug in kagg: ZeroDivisionError: division by zero"),
        ("full", 1, "/disk: No space left on device"),
    ],
)
def test_a_failing_job_says_why_and_stops_no_other(batch, slug, code, message):
    exit_code, found = batch(Fakes(), f"id,ref\nx,o/{slug}\na,o/a\nb,o/b\n")
    assert exit_code == Exit.FINDINGS
    assert [job["status"] for job in found["jobs"]] == ["failed", "done", "done"]
    assert (found["jobs"][0]["exit_code"], found["jobs"][0]["message"]) == (code, message)


def test_an_endpoint_that_answers_badly_or_misses_probes_is_a_failed_job(batch):
    code, found = batch(
        Fakes(),
        'id,ref,operation,name,payload,monitor\nbad,o/a,deploy,,"""bad""",\nshaky,o/b,deploy,shaky,,5s\n',
    )
    assert code == Exit.FINDINGS
    assert job_of(found, "bad")["message"] == "bad answered 500: {'answer': 'bad'}"
    assert job_of(found, "shaky")["message"] == "2 of 5 probes of shaky failed"


def test_a_notebook_with_a_secret_is_not_sent_but_may_run_here(batch, ctx):
    fakes = Fakes()
    code, found = batch(
        fakes, "id,ref,on\nhere,o/leaks,local\nthere,o/leaks,kaggle\nclean,o/clean,kaggle\n", parallel=1
    )
    assert code == Exit.FINDINGS
    assert [job["status"] for job in found["jobs"]] == ["done", "failed", "done"]
    assert job_of(found, "there")["message"].startswith("not sent: a token in cell 3;")
    assert fakes.of("run") == ["leaks", "clean"]
    with Ledger.open(ctx) as ledger:
        assert [(effect["kind"], effect["target"]) for effect in ledger.effects(found["run"])] == [("push", ANY)]


def test_a_local_notebook_runs_where_it_is_and_is_not_changed(tmp_path, batch):
    (tmp_path / "mine.ipynb").write_text('{"cells": []}')
    fakes = Fakes()
    code, _ = batch(fakes, "path,operation\nmine.ipynb,run\n")
    assert code == Exit.DONE
    assert fakes.of("download") == []
    assert (tmp_path / "mine.ipynb").read_text() == '{"cells": []}'
    _, found = batch(fakes, "id,path,operation\ncopy,mine.ipynb,download\n")
    assert Path(found["jobs"][0]["steps"]["download"]["path"]) == tmp_path / "out" / "copy" / "mine.ipynb"


@pytest.mark.parametrize("key", ["../../up", "/etc/passwd", "..", "C:\\x", "nul", "a\u202eb/..", "-rf"])
def test_a_hostile_id_stays_in_the_folder(tmp_path, batch, key):
    before = set(tmp_path.parent.iterdir())
    _, found = (
        batch(Fakes(), json.dumps([{"id": key, "ref": "o/a"}, {"ref": "o/b"}]), name="jobs.json")
        if key.isprintable()
        else (0, {})
    )
    for job in found.get("jobs", []):
        folder = Path(job["folder"])
        assert folder.parent == tmp_path / "out"
        assert folder.is_dir()
    assert set(tmp_path.parent.iterdir()) == before


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path, batch):
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "a").symlink_to(tmp_path / "elsewhere")
    code, found = batch(Fakes(), "id,ref\na,o/a\nb,o/b\n")
    assert code == Exit.FINDINGS
    assert [job["status"] for job in found["jobs"]] == ["failed", "done"]
    assert "a link leads out" in job_of(found, "a")["message"]
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_jobs_run_at_the_same_time_but_no_more_than_asked(batch):
    fakes = Fakes()
    meeting = threading.Barrier(3, timeout=10)
    fakes.download = lambda _ctx, ref, dest: meeting.wait() and None or Fakes().download(_ctx, ref, dest)  # noqa: RUF021
    code, _ = batch(fakes, "ref\no/a\no/b\no/c\n", operation="download", parallel=3)
    assert code == Exit.DONE


def test_people_get_a_table_answers_latencies_and_what_to_try_next(tmp_path, ctx):
    path = tmp_path / "jobs.csv"
    path.write_text('id,ref,operation,payload,monitor\nmodel,o/m,deploy,"{""a"": 1}",10s\nbroken,o/raises,run,,\n')
    args = argparse.Namespace(
        operation=None, parallel=2, engine="local", report=None, resume=None, retry_failed=False, dest=tmp_path / "out"
    )
    assert run_batch(path, args, ctx, Fakes().steps()) == Exit.FINDINGS
    text = ctx.stdout.getvalue()
    lines = text.splitlines()
    assert lines[0].split() == ["job", "operation", "status", "seconds", "what", "happened"]
    starts = {line.index(word) for line, word in zip(lines[:3], ("operation", "deploy", "run"), strict=True)}
    assert len(starts) == 1
    assert "cell 4: ValueError: no such column" in lines[2]
    assert 'answer   200 in 7.25 ms: {"answer": {"a": 1}}' in text
    assert "latency  10 probes, 0 failed: p50 1.5 ms  p90 2.5 ms  p99 3.5 ms  max 4.5 ms" in text
    assert "--retry-failed" in text
    assert "endpoints stop model" in text
    assert "call model --data '{\"a\": 1}'" in text
    assert "1 done, 1 failed" in text


def test_resume_does_only_what_is_not_done_and_retry_failed_the_failed_too(batch):
    fakes = Fakes()
    text = "id,ref\na,o/a\nx,o/raises\n"
    code, first = batch(fakes, text)
    assert code == Exit.FINDINGS
    fakes.done.clear()
    code, again = batch(fakes, text + "new,o/new\n", resume=first["run"])
    assert code == Exit.FINDINGS
    assert again["run"] == first["run"]
    assert fakes.of("run") == ["new"]
    assert [job["status"] for job in again["jobs"]] == ["done", "failed", "done"]
    assert again["jobs"][1]["message"] == "cell 4: ValueError: no such column"
    fakes.done.clear()
    fakes.broken.clear()
    code, last = batch(fakes, text + "new,o/new\n", resume="last", retry_failed=True)
    assert (code, last["run"], fakes.of("run")) == (Exit.DONE, first["run"], ["raises"])


def test_a_row_that_was_changed_is_done_again(batch):
    fakes = Fakes()
    _, first = batch(fakes, "id,ref,params\na,o/a,n=1\nb,o/b,n=1\n")
    fakes.done.clear()
    code, _ = batch(fakes, "id,ref,params\na,o/a,n=1\nb,o/b,n=2\n", resume=first["run"])
    assert (code, fakes.of("run")) == (Exit.DONE, ["b"])


def test_a_resumed_batch_keeps_its_folder(tmp_path, batch, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, first = batch(Fakes(), "id,ref\nx,o/raises\n", dest=None)
    monkeypatch.chdir("/")
    _, again = batch(Fakes(), "id,ref\nx,o/raises\n", dest=None, resume="last", retry_failed=True)
    assert first["dest"] == again["dest"] == str(tmp_path / "kaggle_results" / first["run"])
    assert sorted(path.name for path in Path(first["dest"], "x").iterdir()) == ["clean", "raises.ipynb", "run", "run-2"]


def test_resume_last_without_an_earlier_batch_starts_one(batch, ctx):
    code, _ = batch(Fakes(), "ref\no/a\n", resume="last")
    assert code == Exit.DONE
    assert "starting one" in ctx.stderr.getvalue()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"resume": "20200101T000000-ffffff"}, "there is no run"),
        ({"retry_failed": True}, "--retry-failed needs --resume"),
        ({"report": Path("report.xlsx")}, "is of no known format"),
        ({"engine": "nowhere"}, "there is no engine 'nowhere'"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_runs(batch, options, said):
    fakes = Fakes()
    with pytest.raises(KaggError, match=said) as caught:
        batch(fakes, "ref\no/a\n", **options)
    assert caught.value.code == Exit.USAGE
    assert fakes.done == []


def test_a_run_is_not_resumed_with_another_file(batch, ctx):
    _, found = batch(Fakes(), "ref\no/a\n")
    with pytest.raises(KaggError, match=r"jobs\.csv"):
        batch(Fakes(), "o/b\n", name="other.txt", resume=found["run"])
    with Ledger.open(ctx) as ledger:
        pulled = ledger.begin_run("pull", "o/a")
    with pytest.raises(KaggError, match="is pull o/a"):
        batch(Fakes(), "ref\no/a\n", resume=pulled)


def test_reports_are_json_json_lines_or_csv(tmp_path, batch):
    text = 'id,ref,operation,payload,monitor\n=1+1,o/a,run,,\nm,o/m,deploy,"{""a"": 1}",10s\n'
    for name in ("r.json", "r.jsonl", "deep/r.csv"):
        batch(Fakes(), text, report=tmp_path / name)
    whole = json.loads((tmp_path / "r.json").read_text())
    assert whole["version"] == 1
    assert [job["id"] for job in whole["jobs"]] == ["=1+1", "m"]
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == ["done", "done"]
    with (tmp_path / "deep" / "r.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0]["id"] == "'=1+1"
    assert (rows[1]["answer_status"], rows[1]["answer_ms"], rows[1]["p99_ms"]) == ("200", "7.25", "3.5")


def test_secrets_reach_neither_the_document_nor_the_report(tmp_path, batch):
    fakes = Fakes()
    token = "hf_" + "aB3d" * 8
    fakes.run = lambda *_args, **_options: {"status": "error", "error": f"ValueError: bad {token}"}
    _, found = batch(fakes, "id,ref\na,o/a\n", report=tmp_path / "r.json")
    assert found["jobs"][0]["message"] == "ValueError: bad [secret]"
    assert token not in (tmp_path / "r.json").read_text()


def test_a_stopped_job_is_interrupted_and_not_failed(batch):
    code, found = batch(Fakes(), "id,ref\ns,o/stopped\na,o/a\n")
    assert (code, job_of(found, "s")["status"], job_of(found, "a")["status"]) == (Exit.FINDINGS, "interrupted", "done")


def test_a_job_s_next_wait_ends_once_when_the_batch_is_stopped(ctx):
    stop = threading.Event()
    own = JobContext(ctx, stop)
    own.sleep(0.001)
    assert own.monotonic() > 0
    threading.Timer(0.05, stop.set).start()
    with pytest.raises(KeyboardInterrupt):
        own.sleep(30)
    own.sleep(0.001)
    assert own.monotonic() > 0


# What a kill leaves: the batch is a process of its own, this file run as a program


def child_steps(log):
    """Steps that write what they do to `log`, whole lines at a time."""

    def note(text):
        with log.open("a") as stream:
            stream.write(text + "\n")

    fakes = Fakes()

    def run(ctx, path, **options):
        note(f"start {path.stem}")
        ctx.sleep(0.05 if path.stem.startswith("quick") else 60.0 if not Path(log.parent, "go").exists() else 0.0)
        note(f"end {path.stem}")
        return fakes.run(ctx, path, **options)

    def deploy(ctx, path, name):
        note(f"deploy {path.stem}")
        ctx.sleep(60.0 if not Path(log.parent, "go").exists() else 0.0)
        return fakes.deploy(ctx, path, name)

    return fakes.steps()._replace(run=run, deploy=deploy)


def child(tmp_path, *options):
    command = [sys.executable, __file__, str(tmp_path / "jobs.csv"), *options]
    env = {"PATH": os.environ["PATH"], "KAGG_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    return subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextlib.contextmanager
def running(tmp_path, *options):
    process = child(tmp_path, *options)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=30)


def wait_for(condition, process):
    deadline_s = time.monotonic() + 40
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def logged(tmp_path):
    path = tmp_path / "log"
    return path.read_text().splitlines() if path.exists() else []


def states(ctx):
    with Ledger.open(ctx) as ledger:
        (run,) = ledger.runs(command="batch")
        return run, {job["key"]: job["status"] for job in ledger.jobs(run["id"])}


def test_a_killed_batch_goes_on_where_it_was_and_does_nothing_twice(tmp_path, ctx):
    keys = [f"quick{n}" for n in range(12)] + ["slow"] + [f"quick{n}" for n in range(12, 18)]
    (tmp_path / "jobs.csv").write_text("id,ref\n" + "".join(f"{key},o/{key}\n" for key in keys))
    with running(tmp_path, "--parallel", "3") as process:
        wait_for(lambda: "start slow" in logged(tmp_path), process)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
    before = logged(tmp_path)
    run, jobs = states(ctx)
    assert run["status"] == "interrupted"
    assert set(jobs) == set(keys)
    done = {key for key, status in jobs.items() if status == "done"}
    assert done
    assert {key for key, status in jobs.items() if status == "interrupted"} >= {"slow"}
    (tmp_path / "go").touch()
    with running(tmp_path, "--resume", "last", "--parallel", "3") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    found = json.loads(out)
    assert found["run"] == run["id"]
    assert found["counts"]["done"] == len(keys)
    after = logged(tmp_path)[len(before) :]
    assert {line.split()[1] for line in after}.isdisjoint(done)
    assert {line.split()[1] for line in before + after if line.startswith("end")} == set(keys)
    once = [key for key in keys if jobs[key] in ("done", "pending")]
    assert all((before + after).count(f"start {key}") == 1 for key in once)


def test_a_batch_killed_after_the_run_of_a_notebook_does_not_run_it_again(tmp_path, ctx):
    (tmp_path / "jobs.csv").write_text("id,ref,operation\nm,o/quick,deploy\n")
    with running(tmp_path) as process:
        wait_for(lambda: "deploy quick" in logged(tmp_path), process)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
    run, _ = states(ctx)
    with Ledger.open(ctx) as ledger:
        assert [effect["status"] for effect in ledger.effects(run["id"])] == ["unknown"]
    (tmp_path / "go").touch()
    with running(tmp_path, "--resume", run["id"]) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert logged(tmp_path) == ["start quick", "end quick", "deploy quick", "deploy quick"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_batch_says_what_is_left_and_exits_130(tmp_path, ctx, number):
    (tmp_path / "jobs.csv").write_text("id,ref\nquick,o/quick\nslow,o/slow\nlater,o/later\nnever,o/never\n")
    with running(tmp_path, "--parallel", "2", "--report", str(tmp_path / "r.json")) as process:
        wait_for(lambda: {"end quick", "start slow", "start later"} <= set(logged(tmp_path)), process)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    found = json.loads(out)
    expected = {"quick": "done", "slow": "interrupted", "later": "interrupted", "never": "pending"}
    assert {job["id"]: job["status"] for job in found["jobs"]} == expected
    assert found["exit_code"] == 130
    assert any("--resume" in line for line in found["next"])
    assert json.loads((tmp_path / "r.json").read_text())["counts"]["interrupted"] == 2
    run, jobs = states(ctx)
    assert (run["status"], run["exit_code"], jobs) == ("interrupted", 130, expected)
    (tmp_path / "go").touch()
    with running(tmp_path, "--resume", "last") as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert logged(tmp_path).count("start quick") == 1
    assert set(states(ctx)[1].values()) == {"done"}


def test_a_run_that_is_under_way_is_not_taken_over(tmp_path):
    (tmp_path / "jobs.csv").write_text("id,ref\nslow,o/slow\n")
    with running(tmp_path) as process:
        wait_for(lambda: "start slow" in logged(tmp_path), process)
        with running(tmp_path, "--resume", "last") as second:
            _, err = second.communicate(timeout=30)
    assert second.returncode == 1
    assert "still running" in err
    assert logged(tmp_path) == ["start slow"]


# Through the front door, with the spine's own steps


def write_notebook(path, *sources):
    cells = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {}, "source": text, "outputs": [], "execution_count": None}
        for n, text in enumerate(sources)
    ]
    spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.write_text(json.dumps({"cells": cells, "metadata": spec, "nbformat": 4, "nbformat_minor": 5}))


@pytest.fixture
def front_door(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    env = dict(os.environ) | {"KAGG_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), "KAGG_NO_PLUGINS": "1"}
    env["KAGG_ENDPOINTS"] = str(tmp_path / "endpoints.json")

    def main(*argv):
        ctx = Context(env, stdout=io.StringIO(), stderr=io.StringIO())
        return kagg.main(list(argv), ctx), ctx.stdout.getvalue(), ctx.stderr.getvalue()

    return main


def test_real_notebooks_and_scripts_run_and_the_failing_one_shows_its_last_line(tmp_path, front_door):
    write_notebook(tmp_path / "good.ipynb", "n = 1", "open('n.txt', 'w').write(str(n + 1))")
    write_notebook(tmp_path / "bad.ipynb", "table = {}", "table['price']")
    (tmp_path / "script.py").write_text("open('made.txt', 'w').write('x')\n")
    (tmp_path / "jobs.csv").write_text(
        "id,path,timeout\ngood,good.ipynb,60s\nbad,bad.ipynb,60s\nscript,script.py,60s\n"
    )
    code, out, err = front_door("--json", "batch", "jobs.csv", "--report", "r.csv")
    assert code == Exit.FINDINGS, err
    found = json.loads(out)
    assert [job["status"] for job in found["jobs"]] == ["done", "failed", "done"], out
    assert "KeyError: 'price'" in job_of(found, "bad")["message"]
    run = job_of(found, "good")["steps"]["run"]
    assert [item["path"] for item in run["outputs"]] == ["n.txt"]
    assert Path(run["output_folder"], "n.txt").read_text() == "2"
    assert (tmp_path / "r.csv").exists()
    write_notebook(tmp_path / "bad.ipynb", "table = {'price': 1}", "table['price']")
    code, out, err = front_door("--json", "batch", "jobs.csv", "--resume", "last", "--retry-failed")
    assert (code, json.loads(out)["counts"]["done"]) == (Exit.DONE, 3), err


def test_a_real_model_is_deployed_called_and_measured(tmp_path, front_door):
    write_notebook(
        tmp_path / "model.ipynb", "factor = 3", "def predict(payload):\n    return {'y': factor * payload['x']}"
    )
    jobs = [{"id": "model", "path": "model.ipynb", "operation": "deploy", "payload": {"x": 14}, "monitor": "500ms"}]
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    try:
        code, out, err = front_door("--json", "batch", "jobs.json")
        assert code == Exit.DONE, out + err
        steps = json.loads(out)["jobs"][0]["steps"]
        assert (steps["call"]["status"], steps["call"]["body"]) == (200, {"y": 42})
        assert (steps["monitor"]["errors"], steps["monitor"]["count"]) == (0, 10)
        assert (
            json.loads((tmp_path / "endpoints.json").read_text())["endpoints"]["model"]["url"] == steps["deploy"]["url"]
        )
        assert 0 < steps["monitor"]["p50_ms"] <= steps["monitor"]["p99_ms"]
    finally:
        front_door("endpoints", "remove", "model")


def is_gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system has no /proc to look for processes in")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_no_notebook_outlives_its_batch(tmp_path, ctx, number, code):
    pid_file = tmp_path / "pid"
    text = f"import os, time\nopen({str(pid_file)!r}, 'w').write(str(os.getpid()) + '.')\ntime.sleep(120)"
    write_notebook(tmp_path / "long.ipynb", text)
    (tmp_path / "jobs.csv").write_text("id,path\nlong,long.ipynb\n")
    env = {"PATH": os.environ["PATH"], "KAGG_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
    command = [sys.executable, str(ROOT / "kagg.py"), "batch", "jobs.csv"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, env=env, text=True, **pipes) as process:
        try:
            wait_for(lambda: pid_file.exists() and pid_file.read_text().endswith("."), process)
            pid = int(pid_file.read_text().rstrip("."))
            assert not is_gone(pid)
            process.send_signal(number)
            out, err = process.communicate(timeout=40)
        finally:
            process.kill()
    assert process.returncode == code, out + err
    deadline_s = time.monotonic() + 15
    while not is_gone(pid):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    run, jobs = states(ctx)
    assert (run["status"], jobs) == ("interrupted", {"long": "interrupted"})


def test_a_bad_file_is_exit_2_and_nothing_runs(tmp_path, front_door):
    (tmp_path / "jobs.csv").write_text("id,ref\na,o/a\nb,\n")
    code, out, err = front_door("batch", "jobs.csv")
    assert (code, out) == (Exit.USAGE, "")
    assert "jobs.csv:3: ref is empty" in err
    assert not (tmp_path / "kaggle_results").exists()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    kagg.room(kagg.Context(), "cmd", "batch").add_arguments(parser)
    context = Context(os.environ)
    context.as_json = True
    options = parser.parse_args()
    options.dest = options.dest or Path("out")
    try:
        sys.exit(run_batch(options.file, options, context, child_steps(Path("log").resolve())))
    except KaggError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(int(error.code))
