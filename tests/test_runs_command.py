"""The command `runs`: what is listed, shown and compared, and how runs are named."""

from __future__ import annotations

import json
import shutil

import pytest
from front_door import kagg

from kagg import Exit
from plugins.lib.ledger import Ledger

PROGRAM = """import json, os
params = json.load(open(os.environ["KAGG_PARAMS"]))
json.dump({"accuracy": params["accuracy"], "loss": 1 - params["accuracy"]}, open("metrics.json", "w"))
"""


@pytest.fixture
def made(ctx, tmp_path):
    """Two local runs of one program; returns a function that makes another."""
    script = tmp_path / "train.py"
    script.write_text(PROGRAM)

    def run(accuracy, name, *more):
        words = ("-q", "run", script, "-p", f"accuracy={accuracy}", "--dest", tmp_path / name, *more)
        assert kagg(ctx, *words).code == Exit.DONE
        return kagg(ctx, "--json", "runs", "--limit", "1").document[0]["id"]

    run.ids = [run(0.5, "a"), run(0.75, "b")]
    return run


def test_runs_alone_lists_the_newest_first(ctx, made):
    done = kagg(ctx, "runs")
    lines = done.out.splitlines()
    assert lines[0].split() == ["id", "command", "target", "on", "status", "started", "duration_s"]
    assert [line.split()[0] for line in lines[1:]] == made.ids[::-1]


def test_a_list_is_filtered_by_command_status_and_number(ctx, made):
    with Ledger.open(ctx) as ledger:
        ledger.end_run(ledger.begin_run("train", "rows.csv"), "failed", 1)
    ids = [row["id"] for row in kagg(ctx, "--json", "runs", "list", "--of", "run").document]
    assert ids == made.ids[::-1]
    assert [row["command"] for row in kagg(ctx, "--json", "runs", "--status", "failed").document] == ["train"]
    assert len(kagg(ctx, "--json", "runs", "--limit", "1").document) == 1


def test_a_run_is_shown_with_its_parameters_metrics_outputs_and_folder(ctx, made, tmp_path):
    done = kagg(ctx, "runs", "show", made.ids[0])
    assert done.code == Exit.DONE
    for words in ("accuracy=0.5", "metrics.json", str(tmp_path / "a"), "accuracy  0.5", "done, exit 0 (complete)"):
        assert words in done.out
    found = kagg(ctx, "--json", "runs", "show", made.ids[0]).document
    assert (found["metrics"], found["where"], found["folder_exists"]) == (
        {"accuracy": 0.5, "loss": 0.5},
        "local",
        True,
    )
    assert found["outputs"][0]["path"] == "metrics.json"


def test_a_folder_that_is_gone_is_said_and_no_error(ctx, made, tmp_path):
    shutil.rmtree(tmp_path / "a")
    done = kagg(ctx, "runs", "show", made.ids[0])
    assert (done.code, "it is not there any more" in done.out) == (Exit.DONE, True)
    done = kagg(ctx, "runs", "compare", *made.ids)
    assert (done.code, f"{tmp_path / 'a'} is not there any more" in done.err) == (Exit.DONE, True)


@pytest.mark.parametrize("name", ["last", "last~0"])
def test_last_is_the_newest_run(ctx, made, name):
    assert kagg(ctx, "--json", "runs", "show", name).document["id"] == made.ids[1]


def test_the_beginning_of_an_id_names_it_when_it_is_the_only_one(ctx, made):
    with Ledger.open(ctx) as ledger:
        ledger.begin_run("train", "x")
    assert kagg(ctx, "--json", "runs", "show", made.ids[0][:-1]).document["id"] == made.ids[0]
    done = kagg(ctx, "runs", "show", made.ids[0][:4])
    assert (done.code, "names 3 runs" in done.err) == (Exit.USAGE, True)


@pytest.mark.parametrize("name", ["nope", "", "last~99", "last~-1", "last:x", "%", "\x1b[2J"])
def test_a_run_that_is_not_there_is_one_line(ctx, made, name):
    done = kagg(ctx, "runs", "show", name)
    assert (done.code, done.out, done.err.count("\n")) == (Exit.USAGE, "", 1)


def test_two_runs_are_compared_with_differences_and_without_a_verdict(ctx, made):
    done = kagg(ctx, "runs", "compare", *made.ids)
    assert "0.75 (+0.25)" in done.out
    assert "better" not in done.out
    found = kagg(ctx, "--json", "runs", "compare", *made.ids).document
    assert found["params"] == {"accuracy": [0.5, 0.75]}
    assert found["metrics"][0] == {
        "name": "accuracy",
        "values": [0.5, 0.75],
        "differences": [None, 0.25],
        "nan": [False, False],
    }


def test_what_is_better_is_said_when_somebody_says_which_way(ctx, made):
    words = ("runs", "compare", "last~1", "last", "--maximize", "accuracy", "--minimize", "loss")
    done = kagg(ctx, *words)
    assert done.out.count(") best") == 2
    rows = kagg(ctx, "--json", *words).document["metrics"]
    assert [(row["verdicts"], row["best"]) for row in rows] == [([None, "better"], 1)] * 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["last"], "at least two runs"),
        ([], "at least two runs"),
        (["last", "last~1", "--maximize", "acc"], "there are: accuracy, loss"),
        (["last", "last~1", "--maximize", "loss", "--minimize", "loss"], "give one of the two"),
    ],
)
def test_a_comparison_that_makes_no_sense_is_usage(ctx, made, words, said):
    done = kagg(ctx, "runs", "compare", *words)
    assert (done.code, said in done.err) == (Exit.USAGE, True)


def test_the_jobs_of_a_batch_are_shown_and_compared(ctx, made, tmp_path):
    jobs = tmp_path / "jobs.csv"
    rows = "".join(f'train.py,"{{""accuracy"": {value}}}",{value}\n' for value in (0.1, 0.2, 0.3))
    jobs.write_text("ref,params,id\n" + rows.replace("train.py", str(tmp_path / "train.py")))
    done = kagg(ctx, "-q", "batch", jobs, "--operation", "run", "--dest", tmp_path / "batch")
    assert done.code == Exit.DONE, done.err
    shown = kagg(ctx, "--json", "runs", "show", "last").document
    assert [job["metrics"]["accuracy"] for job in shown["jobs"]] == [0.1, 0.2, 0.3]
    found = kagg(ctx, "--json", "runs", "compare", "last").document
    assert found["params"]["accuracy"] == [0.1, 0.2, 0.3]
    one = kagg(ctx, "--json", "runs", "show", f"last:{shown['jobs'][1]['key']}").document
    assert one["metrics"]["accuracy"] == 0.2
    assert kagg(ctx, "runs", "show", "last:nope").code == Exit.USAGE


def test_the_ledger_alone_is_enough_for_a_run_on_kaggle(ctx):
    record = {"version": 1, "ref": "demo/train-20261120-1130-abcdef", "run_id": "train-20261120-1130-abcdef"}
    record |= {
        "status": "complete",
        "metrics": {"loss": float("nan"), "acc": 0.9},
        "duration_s": 12.5,
        "verified": True,
    }
    record |= {"device": {"kind": "gpu", "accelerator": "NvidiaTeslaT4", "found": ["Tesla T4"] * 2, "simulated": False}}
    record |= {"log": "/nowhere/x/log.jsonl", "times": {"setup_s": 2.0, "program_s": 10.0}, "params": {"lr": 0.1}}
    with Ledger.open(ctx) as ledger:
        run_id = ledger.begin_run("run", "train.py", params={"on": "kaggle", "lr": 0.1})
        with ledger.effect(run_id, "push", record["ref"], {"device": "gpu"}):
            pass
        ledger.end_run(run_id, "done", 0, result=record)
    done = kagg(ctx, "runs", "show", "train-20261120-1130-abcdef")
    for words in ("Kaggle: demo/train", "NvidiaTeslaT4: Tesla T4, Tesla T4", "setup 2.0 s", "loss  nan", "push"):
        assert words in done.out
    assert kagg(ctx, "--json", "runs", "show").document["metrics"] == {"loss": None, "acc": 0.9}


def test_what_a_run_took_of_the_quota_is_in_words(ctx):
    share = {"used_s": 57.0, "reserved_s": 0.0, "allowed_s": 108_000.0, "left_s": 107_943.0}
    record = {"ref": "demo/t-20261120-1130-abcdef", "device": {"kind": "gpu", "accelerator": "NvidiaTeslaT4"}}
    for running_s, after, words in (
        (57.2, {"gpu": share}, "quota     57 s of GPU used, 30.0 h left"),
        (5400.0, None, "quota     1.5 h of GPU used\n"),
        (None, {"gpu": share}, "quota     30.0 h left\n"),
    ):
        with Ledger.open(ctx) as ledger:
            result = {**record, "running_s": running_s, "quota": {"before": None, "after": after}}
            ledger.end_run(ledger.begin_run("run", "train.py", params={"on": "kaggle"}), "done", 0, result=result)
        assert words in kagg(ctx, "runs", "show").out
    with Ledger.open(ctx) as ledger:
        result = {**record, "device": {"kind": "cpu"}, "running_s": 5.0, "quota": {"before": None, "after": None}}
        ledger.end_run(ledger.begin_run("run", "train.py", params={"on": "kaggle"}), "done", 0, result=result)
    assert "\nquota" not in kagg(ctx, "runs", "show").out


@pytest.mark.parametrize("status", ["failed", "detached", "running"])
def test_a_kernel_names_its_run_however_it_ended(ctx, status):
    slug = "train-20261120-1130-abcdef"
    with Ledger.open(ctx) as ledger:
        run_id = ledger.begin_run("run", "train.py", params={"on": "kaggle", "attempt": slug, "lr": 0.1})
        with ledger.effect(run_id, "push", f"demo/{slug}", {"attempt": slug}) as made:
            made.outcome = {"owner": "demo", "slug": slug, "versionNumber": 1, "url": "https://example.com/x"}
        if status != "running":
            ledger.end_run(run_id, status, 1)
        ledger.end_run(ledger.begin_run("run", "other.py"), "done", 0)
    for name in (slug, f"demo/{slug}", slug[:-2], f"demo/{slug[:-2]}"):
        assert kagg(ctx, "--json", "runs", "show", name).document["id"] == run_id
    out = kagg(ctx, "runs", "show", slug).out
    assert f"where     Kaggle: demo/{slug}, version 1\n" in out
    assert "params    lr=0.1\n" in out


def test_a_kernel_names_its_job_of_a_batch(ctx):
    with Ledger.open(ctx) as ledger:
        run_id = ledger.begin_run("batch", "jobs.csv", params={"operation": "run"})
        ledger.add_jobs(run_id, [(key, {"ref": f"{key}.py"}) for key in "ab"])
        for job, mark in zip(ledger.jobs(run_id), ("00000a", "00000b"), strict=True):
            slug = f"train-20261120-1130-{mark}"
            with ledger.effect(run_id, "push", f"demo/{slug}", {"attempt": slug}, job["id"]) as made:
                made.outcome = {"owner": "demo", "slug": slug, "versionNumber": 1}
        ledger.end_run(run_id, "failed", 1)
    found = kagg(ctx, "--json", "runs", "show", "train-20261120-1130-00000b").document
    assert (found["id"], [effect["target"][-1] for effect in found["effects"]]) == (f"{run_id}:b", ["b"])
    done = kagg(ctx, "runs", "show", "train-20261120")
    assert (done.code, "names 2 runs" in done.err) == (Exit.USAGE, True)
    assert kagg(ctx, "--json", "runs", "show", run_id).document["ref"] is None


def test_a_record_of_odd_types_is_no_crash(ctx):
    odd = {"metrics": [1], "device": "x", "log": 3, "output_folder": [], "outputs": ["x"], "times": 7, "code": 1}
    odd |= {"params": 3, "quota": "x", "duration_s": "long", "folder": {}, "ref": 5}
    with Ledger.open(ctx) as ledger:
        for result in (odd, [1, 2], "text", None, 7):
            ledger.end_run(ledger.begin_run("run", "x"), "done", 0, result=result)
    for number in range(5):
        assert kagg(ctx, "runs", "show", f"last~{number}").code == Exit.DONE
    done = kagg(ctx, "runs", "compare", "last", "last~4")
    assert (done.code, "no metrics were found" in done.out) == (Exit.DONE, True)


def test_json_is_strict(ctx, made):
    out = kagg(ctx, "--json", "runs", "compare", *made.ids).out
    json.loads(out, parse_constant=pytest.fail)
