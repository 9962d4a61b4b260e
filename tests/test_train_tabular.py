"""`train tabular`: the suite of trainers, its metrics against scikit-learn's own, and what it says of unfit tables."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from front_door import QuickContext, environment, kagg
from sklearn import datasets, metrics
from sklearn.model_selection import train_test_split

from plugins.lib.ledger import Ledger
from plugins.train import tabular
from tests.suites.train_suite import BROKEN, MemoryRoom, TrainCase, TrainSuite

SPINE = Path(tabular.__file__).parents[2] / "kagg.py"


@pytest.fixture
def ctx(tmp_path):
    return QuickContext(environment(tmp_path / "kagg"))


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A folder with scikit-learn's own data sets as CSV; the target is called target."""
    folder = tmp_path_factory.mktemp("tables")
    for name in ("iris", "breast_cancer", "diabetes"):
        frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
        frame.to_csv(folder / f"{name}.csv", index=False)
    return folder


@pytest.fixture
def train(ctx, tmp_path):
    """Train through the front door into tmp_path/out."""

    def run(data, *options, target="target", dest="out"):
        words = ["--json", "train", "tabular", data, "--tabular-target", target, "--tabular-dest", tmp_path / dest]
        return kagg(ctx, *words, *options)

    return run


def csv(folder, name="data.csv", **columns):
    pd.DataFrame(columns).to_csv(folder / name, index=False)
    return folder / name


def noise(rows, seed=1):
    return np.random.default_rng(seed).normal(size=rows)


def card(tmp_path, dest="out"):
    return json.loads((tmp_path / dest / "card.json").read_text())


# --- the suite -------------------------------------------------------------------------------------------------------


class TestTabular(TrainSuite):
    @pytest.fixture
    def case(self, tmp_path, tables, ctx):
        folder = tmp_path / "work"
        folder.mkdir()
        data = folder / "iris.csv"
        data.write_bytes((tables / "iris.csv").read_bytes())
        options = ["--tabular-target", "target"]
        (folder / "empty.csv").touch()
        (folder / "bytes.csv").write_bytes(b"\x00\xff\xfe\n\x80")
        (folder / "wide.csv").write_text("a,target\n0,1,2\n1,4,5\n")
        (folder / "lines.jsonl").write_text("{a\n")
        (folder / "numbers.jsonl").write_text("1\n2\n")
        bad = {
            "no such file": (folder / "absent.csv", options),
            "a folder": (folder, options),
            "empty": (folder / "empty.csv", options),
            "no text": (folder / "bytes.csv", options),
            "more fields than names": (folder / "wide.csv", options),
            "no JSON": (folder / "lines.jsonl", options),
            "no objects": (folder / "numbers.jsonl", options),
            "no target": (data, []),
            "another target": (data, ["--tabular-target", "targte"]),
            "share of nothing": (data, [*options, "--tabular-test-share", "0"]),
            "share that is no number": (data, [*options, "--tabular-test-share", "nan"]),
            "negative seed": (data, [*options, "--tabular-seed", "-1"]),
            "no threads": (data, [*options, "--tabular-threads", "0"]),
            "drops the target": (data, [*options, "--tabular-drop", "target"]),
        }
        return TrainCase(tabular, ctx, folder, "tabular", data, options, bad, source=Path(tabular.__file__))


class TestMemory(TrainSuite):
    @pytest.fixture
    def case(self, tmp_path, ctx):
        return memory_case(MemoryRoom(), tmp_path, ctx)


def memory_case(room, tmp_path, ctx):
    folder = tmp_path / "work"
    folder.mkdir()
    data, broken, short = (folder / name for name in ("data.json", "broken.json", "short.json"))
    data.write_text(json.dumps([number**2 for number in range(40, 0, -1)]))
    broken.write_text("[")
    short.write_text("[1]")
    bad = {"no JSON": (broken, []), "too short": (short, []), "absent": (folder / "absent.json", [])}
    return TrainCase(room, ctx, folder, "memory", data, [], bad, model="model.json")


@pytest.mark.parametrize(("room", "test"), BROKEN.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_the_suite_notices_a_broken_trainer(room, test, tmp_path, ctx):
    with pytest.raises((Exception, pytest.fail.Exception)):
        getattr(TrainSuite(), test)(memory_case(room(), tmp_path, ctx))


# --- metrics, recomputed with scikit-learn from the saved model's predictions -----------------------------------------


def held_out(path, seed, share=0.2, *, stratified):
    """Return what scikit-learn's own split holds out, in the order of the file."""
    frame = pd.read_csv(path)
    chosen = train_test_split(
        np.arange(len(frame)), test_size=share, random_state=seed, stratify=frame["target"] if stratified else None
    )[1]
    rows = frame.iloc[sorted(chosen)]
    return frame.drop(index=rows.index)["target"], rows.drop(columns="target"), rows["target"]


def test_metrics_of_two_classes_are_those_of_scikit_learn(train, tables, tmp_path):
    found = train(tables / "breast_cancer.csv", "--tabular-seed", 5).document
    known, features, target = held_out(tables / "breast_cancer.csv", 5, stratified=True)
    model = joblib.load(tmp_path / "out" / "model.joblib")
    shares = model.predict_proba(features)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(target, model.predict(features)), rel=1e-12)
    assert found["log_loss"] == pytest.approx(metrics.log_loss(target, shares), rel=1e-12)
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(target, shares[:, 1]), rel=1e-12)
    assert found["baseline_accuracy"] == pytest.approx((target == known.mode()[0]).mean())
    assert found["baseline_log_loss"] == pytest.approx(metrics.log_loss(target, [known.mean()] * len(target)))
    assert found["baseline_roc_auc"] == 0.5
    assert found["accuracy"] > 0.9
    assert (found["rows"], found["train_rows"], found["test_rows"], found["columns"]) == (569, 455, 114, 30)


def test_metrics_of_several_classes_have_no_roc_auc(train, tables, tmp_path):
    found = train(tables / "iris.csv", "--tabular-test-share", 0.4).document
    _, features, target = held_out(tables / "iris.csv", 0, 0.4, stratified=True)
    model = joblib.load(tmp_path / "out" / "model.joblib")
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(target, model.predict(features)), rel=1e-12)
    assert found["log_loss"] == pytest.approx(metrics.log_loss(target, model.predict_proba(features)), rel=1e-12)
    assert found["baseline_accuracy"] == pytest.approx(1 / 3)
    assert "roc_auc" not in found


def test_metrics_of_a_regression_are_those_of_scikit_learn(train, tables, tmp_path):
    found = train(tables / "diabetes.csv").document
    known, features, target = held_out(tables / "diabetes.csv", 0, stratified=False)
    guess = joblib.load(tmp_path / "out" / "model.joblib").predict(features)
    mean = np.full(len(target), known.mean())
    for prefix, values in (("", guess), ("baseline_", mean)):
        assert found[prefix + "rmse"] == pytest.approx(metrics.mean_squared_error(target, values) ** 0.5, rel=1e-12)
        assert found[prefix + "mae"] == pytest.approx(metrics.mean_absolute_error(target, values), rel=1e-12)
        assert found[prefix + "r2"] == pytest.approx(metrics.r2_score(target, values), rel=1e-9, abs=1e-12)
    assert found["task"] == "regression"
    assert found["rmse"] < found["baseline_rmse"]


def test_pure_noise_is_not_learned(train, tmp_path):
    labels = np.random.default_rng(2).integers(0, 2, 600)
    data = csv(tmp_path, target=labels, name_of_row=[f"row{i}" for i in range(600)], a=noise(600), b=noise(600, 3))
    found = train(data).document
    assert 0.35 < found["roc_auc"] < 0.65
    assert found["log_loss"] > found["baseline_log_loss"]


# --- columns ---------------------------------------------------------------------------------------------------------


def test_text_is_coded_from_the_training_rows_alone(train, tmp_path):
    colours = ["red", "blue", None, "green"] * 50
    data = csv(
        tmp_path,
        target=[colour == "red" for colour in colours],
        day=pd.date_range("2024-01-01", periods=200),
        colour=[*colours[:180], *["unseen"] * 20],
        late=[None] * 180 + [1.0] * 20,
    )
    found = train(data, "--tabular-time-column", "day", "--tabular-test-share", 0.2).document
    codes = joblib.load(tmp_path / "out" / "model.joblib").named_steps["columns"].named_transformers_["text"]
    assert [value for value in codes.categories_[0] if isinstance(value, str)] == ["blue", "green", "red"]
    assert card(tmp_path)["empty_columns"] == ["late"]
    assert card(tmp_path)["text_columns"] == ["colour"]
    assert card(tmp_path)["classes"] == [False, True]
    assert (found["train_rows"], found["test_rows"], found["columns"]) == (160, 40, 2)


def test_a_text_column_with_more_values_than_codes_is_taken(train, tmp_path):
    data = csv(tmp_path, target=noise(900), name_of_row=[f"row{i // 2}" for i in range(900)])
    assert train(data).code == 0


def test_features_may_be_missing_infinite_or_true(train, tmp_path):
    x = noise(200)
    data = csv(tmp_path, target=x * 2, x=[np.inf, -np.inf, None, *x[3:]], sign=x > 0, mixed=[1, "a"] * 100)
    found = train(data).document
    assert found["r2"] > 0.5
    assert card(tmp_path)["columns"] == {"x": "float64", "sign": "bool", "mixed": card(tmp_path)["columns"]["mixed"]}
    assert card(tmp_path)["text_columns"] == ["mixed"]


def test_dropped_columns_are_no_features(train, tables, tmp_path):
    names = ["petal length (cm)", "petal width (cm)"]
    found = train(tables / "iris.csv", "--tabular-drop", *names).document
    assert found["columns"] == 2
    assert not set(names) & set(card(tmp_path)["columns"])
    assert card(tmp_path)["drop"] == names


def test_json_lines_are_read_like_csv(train, tables, tmp_path):
    lines = tmp_path / "iris.jsonl"
    pd.read_csv(tables / "iris.csv").to_json(lines, orient="records", lines=True)
    one, two = train(tables / "iris.csv").document, train(lines, dest="lines").document
    assert one["model_sha256"] == two["model_sha256"]


def test_parquet_without_its_package_names_the_pip_command(train, tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyarrow" else real(name))
    monkeypatch.delitem(sys.modules, "pyarrow", raising=False)
    (tmp_path / "data.parquet").write_bytes(b"PAR1")
    done = train(tmp_path / "data.parquet")
    assert done.code == 11
    assert "python -m pip install 'pyarrow>=15'" in done.err


def test_parquet_is_read_like_csv(train, tables, tmp_path):
    pytest.importorskip("pyarrow")
    table = tmp_path / "iris.parquet"
    pd.read_csv(tables / "iris.csv").to_parquet(table)
    one, two = train(tables / "iris.csv").document, train(table, dest="table").document
    assert one["model_sha256"] == two["model_sha256"]


# --- by time ---------------------------------------------------------------------------------------------------------


def test_every_held_out_row_is_later_than_every_training_row(train, tmp_path):
    days = np.random.default_rng(4).permutation(np.repeat(np.arange(50), 4))
    data = csv(tmp_path, target=noise(200), x=noise(200, 2), day=days)
    found = train(data, "--tabular-time-column", "day", "--tabular-test-share", 0.21).document
    # 42 rows were asked for: ten whole days and half of the eleventh, which is held out whole
    assert (found["train_rows"], found["test_rows"]) == (156, 44)
    frame = pd.read_csv(data)
    late = frame[frame["day"] >= 39]
    guess = joblib.load(tmp_path / "out" / "model.joblib").predict(late[["x"]])
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(late["target"], guess), rel=1e-12)


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (["soon"] * 40, "holds what is no time"),
        ([None, *range(39)], "is missing in 1 of 40 rows"),
        ([7] * 40, "has too few rows before 7"),
    ],
)
def test_a_time_column_that_cannot_split_is_refused(train, tmp_path, times, said):
    done = train(csv(tmp_path, target=noise(40), x=noise(40), day=times), "--tabular-time-column", "day")
    assert done.code == 2
    assert said in json.loads(done.err)["error"]
    assert not (tmp_path / "out").exists()


# --- unfit targets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "options", "said"),
    [
        ([1.5] * 40, [], "is '1.5' in every row"),
        ([None, *noise(39)], [], "is missing in 1 of 40 rows"),
        ([np.inf, -np.inf, *noise(38)], [], "is infinite in 2 of 40 rows"),
        (range(40), [], "is different in every row"),
        ([f"id{i}" for i in range(40)], [], "is different in every row"),
        (["a", "b"] * 20, ["--tabular-task", "regression"], "holds no numbers"),
        (noise(40), ["--tabular-task", "classification"], "holds fractions"),
        (["rare", *["a", "b", "b"] * 13], [], "class 'rare' has 1 row of 40"),
        ([i // 2 for i in range(40)], [], "too few for 20 classes"),
        (["a"] * 36 + ["b"] * 4, ["--tabular-time-column", "x"], "class 'b' is only among the held-out rows"),
        (["a"] * 4 + ["b"] * 36, ["--tabular-time-column", "x"], "the held-out rows are all of class 'b'"),
    ],
)
def test_an_unfit_target_is_one_clear_line(train, tmp_path, target, options, said):
    done = train(csv(tmp_path, target=target, x=range(40), y=noise(40)), *options)
    error = json.loads(done.err.splitlines()[-1])
    assert (done.code, error["code"], done.out) == (2, 2, "")
    assert said in error["error"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("distinct", "task"), [(20, "classification"), (21, "regression")], ids=["few values", "many values"]
)
def test_whole_numbers_are_classes_when_they_are_few(train, tmp_path, distinct, task):
    assert train(csv(tmp_path, target=[i % distinct for i in range(420)], x=noise(420))).document["task"] == task


def test_a_quantity_that_is_different_in_every_row_can_be_asked_for(train, tmp_path):
    data = csv(tmp_path, target=range(100), x=range(100))
    assert train(data, "--tabular-task", "regression").document["r2"] > 0.5


def test_the_nearest_column_is_suggested(train, tables):
    done = train(tables / "iris.csv", target="Taget")
    assert json.loads(done.err)["hint"] == "did you mean 'target'?"


@pytest.mark.parametrize(
    ("line", "said"), [({"a": [1]}, "values of type list"), ({"a": {"b": 1}}, "values of type dict")]
)
def test_nested_values_are_refused(train, tmp_path, line, said):
    data = tmp_path / "nested.jsonl"
    data.write_text("".join(json.dumps({**line, "target": i % 2}) + "\n" for i in range(20)))
    done = train(data)
    assert done.code == 2
    assert said in done.err


# --- the record ------------------------------------------------------------------------------------------------------


def test_the_model_is_the_same_in_another_process_whatever_its_hash_seed(train, tables, tmp_path, ctx):
    here = train(tables / "breast_cancer.csv").document
    command = [sys.executable, str(SPINE), "--json", "train", "tabular", str(tables / "breast_cancer.csv")]
    done = subprocess.run(
        [*command, "--tabular-target", "target", "--tabular-dest", str(tmp_path / "there")],
        env={**ctx.env, "PYTHONHASHSEED": "99", "OMP_NUM_THREADS": "4"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    there = json.loads(done.stdout)
    assert {**here, "seconds": 0, "dest": ""} == {**there, "seconds": 0, "dest": ""}


def test_another_seed_holds_out_other_rows(train, tables):
    one = train(tables / "breast_cancer.csv").document
    two = train(tables / "breast_cancer.csv", "--tabular-seed", 1, dest="two").document
    assert one["model_sha256"] != two["model_sha256"]


def test_the_card_holds_what_is_needed_to_do_it_again(train, tables, tmp_path):
    train(tables / "iris.csv")
    found = card(tmp_path)
    assert found["columns"] == {
        f"{part} {side} (cm)": "float64" for part in ("sepal", "petal") for side in ("length", "width")
    }
    assert found["target"] == "target"
    assert found["task"] == "classification"
    assert found["classes"] == [0, 1, 2]
    assert found["model"]["parameters"]["random_state"] == found["seed"] == 0
    assert found["versions"]["pandas"] == pd.__version__
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["data"] == {
        "name": "iris.csv",
        "rows": 150,
        "sha256": hashlib.sha256((tables / "iris.csv").read_bytes()).hexdigest(),
    }


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    assert tabular._commit(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tabular._commit(tmp_path) is None


def test_the_commit_says_when_the_code_was_changed(tmp_path):
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "one"]):
        (tmp_path / "code.py").write_text("1\n")
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, timeout=30)
    commit = tabular._commit(tmp_path)
    assert len(commit) == 40
    (tmp_path / "code.py").write_text("2\n")
    assert tabular._commit(tmp_path) == commit + "-dirty"


def test_a_training_is_a_run_of_the_ledger(train, tables, ctx):
    done = train(tables / "iris.csv").document
    train(tables / "iris.csv", target="absent", dest="two")
    with Ledger.open(ctx) as ledger:
        failed, kept = ledger.runs(2)
    assert (kept["status"], kept["result"]["model_sha256"]) == ("done", done["model_sha256"])
    assert (failed["status"], failed["exit_code"]) == ("failed", 2)


def test_without_a_folder_the_result_lies_in_kaggle_results(ctx, tables, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = kagg(ctx, "train", "tabular", tables / "iris.csv", "--tabular-target", "target")
    assert done.code == 0
    assert "accuracy: " in done.out
    (dest,) = (tmp_path / "kaggle_results").iterdir()
    assert dest.name.startswith("train-iris-")
    assert f"dest: {os.path.join('kaggle_results', dest.name)}" in done.out  # noqa: PTH118 - as the user sees it
