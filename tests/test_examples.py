"""Everything in batch_examples/ is valid, small, and does what it says; the demo is run from end to end."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

import kagg
from plugins.lib.jobfile import read_jobs

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "batch_examples"
KERNELS = sorted(path for path in (EXAMPLES / "kernels").iterdir() if path.is_dir())
NOTEBOOKS = [path for folder in KERNELS for path in folder.glob("*.ipynb")]
COLUMNS = {"id", "ref", "operation", "name", "params", "payload", "monitor", "timeout", "on"}
SAMPLE = {
    "mean radius": 12.4,
    "mean texture": 17.7,
    "mean smoothness": 0.1,
    "mean concave points": 0.03,
    "mean symmetry": 0.2,
}


def name(path):
    return path.name


# --- kernels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", KERNELS, ids=name)
def test_a_kernel_has_the_metadata_that_kaggle_wants(folder):
    metadata = json.loads((folder / "kernel-metadata.json").read_text())
    assert metadata["id"] == f"examples/{folder.name}"
    assert re.sub(r"[^a-z0-9]+", "-", metadata["title"].lower()) == folder.name  # else Kaggle makes another slug
    assert metadata["code_file"] == f"{folder.name}{'.ipynb' if metadata['kernel_type'] == 'notebook' else '.py'}"
    assert {path.name for path in folder.iterdir()} == {metadata["code_file"], "kernel-metadata.json"}
    assert metadata["is_private"] is metadata["enable_internet"] is metadata["enable_gpu"] is False


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_a_notebook_is_valid_clean_and_small(path):
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert [cell.id for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")] == []
    assert path.stat().st_size < 20_000


def source_of(slug):
    notebook = json.loads((EXAMPLES / "kernels" / slug / f"{slug}.ipynb").read_text())
    return "\n\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")


REFUSED = [None, [], "text", {}, SAMPLE | {"mean radius": "12"}, SAMPLE | {"mean radius": True}]
REFUSED += [SAMPLE | {"mean radius": None}, SAMPLE | {"mean radius": -1}, SAMPLE | {"mean radius": 1e999}]
ASK = """
import json, sys
answers = []
for payload in json.loads(sys.argv[1]):
    try:
        answers.append(predict(payload))
    except ValueError as error:
        answers.append(str(error))
print(json.dumps(answers))
"""


def test_the_model_answers_a_sample_and_refuses_a_bad_payload_by_name(tmp_path):
    big = SAMPLE | {"mean radius": 24.0, "mean concave points": 0.19}
    code = source_of("breast-cancer-model") + ASK
    command = [sys.executable, "-c", code, json.dumps([SAMPLE, big, *REFUSED])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    small, large, *refused = json.loads(done.stdout.splitlines()[-1])
    assert small["label"] == "benign"
    assert large["label"] == "malignant"
    assert all(0.5 <= answer["probability"] <= 1 for answer in (small, large))
    assert all(isinstance(text, str) and ("payload" in text or "mean radius" in text) for text in refused)
    assert len(refused) == len(REFUSED)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["accuracy"] > 0.9
    assert metrics["test_samples"] == 143


# --- job files -------------------------------------------------------------------------------------------------------


def jobs_in(path):
    text = path.read_text()
    if path.suffix == ".csv":
        return [{key: value for key, value in row.items() if value} for row in csv.DictReader(io.StringIO(text))]
    if path.suffix == ".json":
        return json.loads(text)
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    return [{"ref": line} for line in text.splitlines() if line and not line.startswith("#")]


JOB_FILES = sorted(EXAMPLES.glob("jobs.*"))


def test_there_is_a_job_file_of_every_format():
    assert {path.suffix for path in JOB_FILES} == {".csv", ".json", ".jsonl", ".txt"}


@pytest.mark.parametrize("path", JOB_FILES, ids=name)
def test_a_job_file_is_read_without_a_complaint_and_names_kernels_that_exist(path, tmp_path):
    voice = io.StringIO()
    ctx = kagg.Context({"HOME": str(tmp_path), "KAGG_HOME": str(tmp_path)}, stderr=voice)
    jobs = read_jobs(path, ctx)
    assert voice.getvalue() == ""
    assert len(jobs) == len(jobs_in(path))
    assert {job.ref for job in jobs} <= {f"examples/{folder.name}" for folder in KERNELS}
    assert set().union(*jobs_in(path)) <= COLUMNS
    assert all(job.timeout_s is None or job.timeout_s <= 300 for job in jobs)


def test_the_demo_has_an_analysis_a_model_to_deploy_and_a_failure():
    jobs = {job["ref"].split("/")[1]: job for job in jobs_in(EXAMPLES / "jobs.csv")}
    assert {"wine-cultivars", "breast-cancer-model", "broken-join"} <= set(jobs)
    model = jobs["breast-cancer-model"]
    assert (model["operation"], model["monitor"]) == ("deploy", "10s")
    assert set(json.loads(model["payload"])) == set(SAMPLE)


# --- templates -------------------------------------------------------------------------------------------------------


def flat(table, prefix=""):
    """The dotted names of the leaves of a table."""
    for key, value in table.items():
        yield from flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [prefix + key]


def test_the_settings_template_names_what_the_code_reads_and_nothing_else():
    code = "".join(path.read_text() for path in [ROOT / "kagg.py", *(ROOT / "plugins").rglob("*.py")])
    keys = set(re.findall(r'\bsetting\(\s*ctx,\s*"\w*",\s*"([\w.]+)"', code))
    lines = (ROOT / "configs" / "project_config.example.yaml").read_text().splitlines()
    uncommented = "\n".join(re.sub(r"^# ?(?=\s*[\w-]+:(\s|$))", "", line) for line in lines)
    assert keys
    named = set(flat(yaml.safe_load(uncommented)))
    of_preprocess = {key for key in named if key.startswith("preprocess.")}
    assert named - of_preprocess == keys | {"version"}
    parser = argparse.ArgumentParser()
    kagg.room(kagg.Context(), "cmd", "preprocess").add_arguments(parser)
    options = {*parser.get_default("known"), "steps"}
    assert {key.partition(".")[2] for key in of_preprocess} <= options


def test_templates_hold_no_key():
    template = json.loads((ROOT / "configs" / "kaggle.example.json").read_text())
    assert {template["username"], template["key"]} == {"YOUR-USERNAME", "YOUR-KEY"}
    for path in (ROOT / "configs").glob("*.example.*"):
        assert re.findall(r"[0-9a-fA-F]{32}|KGAT_\w{6}|\w{40}", path.read_text()) == []


# --- the demo --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kagg_py(tmp_path_factory):
    """Run kagg.py against a local Kaggle of its own; the server and the endpoint end with the tests."""
    home = tmp_path_factory.mktemp("home")
    env = {key: os.environ[key] for key in ("PATH", "LANG", "SYSTEMROOT") if key in os.environ}
    env |= {"HOME": str(home), "KAGG_HOME": str(home / "kagg"), "KAGG_ENDPOINTS": str(home / "endpoints.json")}

    def run(*argv):
        command = [sys.executable, str(ROOT / "kagg.py"), "--kaggle-url", "local", *map(str, argv)]
        return subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, timeout=150, check=False)

    yield run
    run("endpoints", "remove", "tumour")
    stopped = run("local-kaggle", "--stop")
    assert stopped.returncode == 0, stopped.stderr


@pytest.fixture(scope="module")
def demo(kagg_py, tmp_path_factory):
    """What `make demo` runs, once: (what it printed, its report, its folder)."""
    folder = tmp_path_factory.mktemp("demo")
    done = kagg_py("batch", EXAMPLES / "jobs.csv", "--dest", folder, "--report", folder / "report.json")
    assert done.returncode == 3, done.stdout + done.stderr
    return done, json.loads((folder / "report.json").read_text()), folder


def output(folder, file):
    """The only file of that name among a job's results."""
    (found,) = folder.rglob(file)
    return found.read_text()


def test_every_job_of_the_demo_ends_as_it_should(demo):
    done, report, _ = demo
    states = {job["id"]: job["status"] for job in report["jobs"]}
    assert states == {"wine": "done", "model": "done", "words": "done", "interval": "done", "broken": "failed"}
    failed = next(job for job in report["jobs"] if job["id"] == "broken")
    assert failed["message"].endswith("KeyError: 'patient_id'")
    assert "KeyError: 'patient_id'" in done.stdout
    assert "Traceback" not in done.stderr


def test_the_demo_leaves_the_files_that_its_notebooks_write(demo):
    folder = demo[2]
    assert output(folder / "wine", "summary.csv").startswith(
        "measurement,mean_A,mean_B,mean_C,f_statistic\nflavanoids,"
    )
    assert json.loads(output(folder / "model", "metrics.json"))["accuracy"] > 0.9
    assert output(folder / "words", "words.csv").startswith("word,count\nis,10\nbetter,8\n")
    assert [*(folder / "broken").rglob("by_clinic.csv")] == []


def test_a_job_s_parameters_reach_its_notebook(demo):
    interval = json.loads(output(demo[2] / "interval", "interval.json"))
    assert (interval["column"], interval["rounds"], interval["level"]) == ("bp", 500, 0.95)
    assert interval["low"] < interval["mean"] < interval["high"]


def test_the_model_of_the_demo_is_deployed_called_and_monitored(demo, kagg_py):
    done, report, _ = demo
    steps = next(job["steps"] for job in report["jobs"] if job["id"] == "model")
    assert steps["call"]["status"] == 200
    assert steps["call"]["body"]["label"] == "benign"
    assert (steps["monitor"]["errors"], steps["monitor"]["count"]) == (0, 10)
    assert 0 < steps["monitor"]["p50_ms"] <= steps["monitor"]["p99_ms"]
    assert "benign" in done.stdout
    answer = kagg_py("--json", "call", "tumour", "--data", json.dumps(SAMPLE))
    assert json.loads(answer.stdout)["body"]["label"] == "benign"


@pytest.mark.parametrize(("file", "jobs"), [("jobs.json", 2), ("jobs.jsonl", 2), ("jobs.txt", 3)])
def test_the_other_job_files_run_to_their_end(file, jobs, kagg_py, tmp_path):
    more = ["--operation", "download"] if file == "jobs.txt" else []
    done = kagg_py("--json", "batch", EXAMPLES / file, "--dest", tmp_path, *more)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert [job["status"] for job in report["jobs"]] == ["done"] * jobs
