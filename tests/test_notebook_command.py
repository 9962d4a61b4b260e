"""`notebook generate` and `notebook colab`: valid, formatted, without keys, the same bytes; and the cells run."""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
import shlex
import subprocess
import sys
import zipfile

import nbformat
import numpy as np
import pandas as pd
import pytest
from front_door import kagg
from research_cells import ranged, run_cells, table
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, r2_score

HEX_KEY = "0123456789abcdef" * 2
TOKEN = "KGAT_" + "0a1b2c3d" * 4


@pytest.fixture
def made(ctx, tmp_path):
    """Write a notebook with these options and return its path."""

    def make(*options, action="generate", name="made.ipynb"):
        path = tmp_path / name
        done = kagg(ctx, "notebook", action, "--out", path, "--force", *options)
        assert done.code == 0, done.err
        return path

    return make


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.csv"
    table(1500).drop(columns="price").to_csv(path, index=False)
    return path


# --- the file ---------------------------------------------------------------------------------------------------------

EVERYTHING = ["--competition", "titanic", "--track", "wandb", "--track", "mlflow"]
EVERYTHING += ["--require-gpu", "--engine", "torch", "--seed", "7"]


@pytest.mark.parametrize("model", ["tabular", "text", "images"])
@pytest.mark.parametrize("action", ["generate", "colab"])
def test_a_notebook_is_valid_and_the_same_command_gives_the_same_bytes(made, model, action):
    options = ["--model", model, *EVERYTHING, *(["--drive", "work/one"] if action == "colab" else [])]
    path = made(*options, action=action)
    first = path.read_bytes()
    notebook = nbformat.reads(first.decode(), as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    assert [cell.id for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])] == ["parameters"]
    assert made(*options, action=action).read_bytes() == first
    assert ("drive.mount" in first.decode()) == (action == "colab")


@pytest.mark.parametrize(
    "options",
    [
        ["--model", "tabular", *EVERYTHING],
        ["--model", "text", "--target", 'say "it"\'s', "--title", "Ein Versuch: 100 % [neu] *fett* `x`"],
        ["--model", "images", "--stream", "https://example.com/" + "long/" * 20 + "x.zip"],
        ["--target", "売上" * 24, "--stream", "https://example.com/" + "a" * 55 + ".csv"],
        [word for number in range(12) for word in ("--dataset", f"someone/dataset-number-{number}")],
    ],
)
def test_a_notebook_passes_a_linter_and_a_formatter(made, options):
    path = made(*options)
    rules = "E4,E7,E9,F,W,I,B,UP,C4,SIM,RET,PTH,PIE,PERF,RUF100"
    for command in (["check", "--select", rules], ["format", "--check", "--diff"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", "--no-cache", path],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_title_is_shown_as_it_is_and_names_the_file(ctx, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = kagg(ctx, "--json", "notebook", "generate", "--title", "My *first* model", "--dataset", "me/data")
    path = tmp_path / "my-first-model.ipynb"
    assert done.document["path"] == path.name
    assert done.document["secrets_looked_for"] == ["KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"]
    assert json.loads(path.read_text())["cells"][0]["source"][0] == "# My \\*first\\* model\n"


def test_a_file_that_is_there_stays_unless_force_is_given(ctx, tmp_path):
    path = tmp_path / "mine.ipynb"
    path.write_text("mine")
    done = kagg(ctx, "notebook", "generate", "--out", path)
    assert (done.code, path.read_text()) == (2, "mine")
    assert "--force" in done.err
    assert kagg(ctx, "notebook", "generate", "--out", path, "--force").code == 0
    assert path.read_text() != "mine"


@pytest.mark.parametrize(
    "options",
    [
        ["--dataset", "no-owner"],
        ["--dataset", "a/b/c"],
        ["--dataset", "../b"],
        ["--competition", "two words"],
        ["--stream", "ftp://example.com/x.csv"],
        ["--stream", "http://example.com/x.csv"],
        ["--stream", "https://me:pass@example.com/x.csv"],
        ["--target", "two\nlines"],
        ["--target", " "],
        ["--title", "x" * 101],
        ["--title", "two\nlines"],
        ["--seed", "-1"],
        ["--seed", "4294967296"],
        ["--model", "images", "--target", "x"],
        ["--model", "sound"],
        ["--track", "paper"],
        ["--drive", "x"],
        ["--out", "x.py"],
        ["--out", "folder.ipynb", "--force"],
        ["--stream", "data.csv", "--target", "absent"],
        ["--dataset", "a/b", "--competition", "c"],
        ["--dataset", "a/b", "--stream", "data.csv"],
        ["--competition", "c", "--stream", "https://example.com/x.csv"],
        ["--model", "images", "--stream", "data.csv"],
        ["--model", "images", "--stream", "https://example.com/x.JSONL.gz?v=2"],
        ["--model", "images", "--stream", "one.png"],
        ["--stream", "one.jpg"],
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(ctx, tmp_path, monkeypatch, data, options):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.ipynb").mkdir()
    done = kagg(ctx, "notebook", "generate", *options)
    assert (done.code in (2, 10), done.out, done.err.count("\n")) == (True, "", 1), done.err
    assert [path.name for path in tmp_path.rglob("*.ipynb")] == ["folder.ipynb"]


def test_a_file_that_is_no_table_is_one_line(ctx, tmp_path):
    (tmp_path / "x.csv").write_bytes(b'"' + b"\x00\xff\r" * 50_000)
    done = kagg(
        ctx, "notebook", "generate", "--out", tmp_path / "x.ipynb", "--stream", tmp_path / "x.csv", "--target", "a"
    )
    assert (done.code, done.err.count("\n"), (tmp_path / "x.ipynb").exists()) == (2, 1, False)


@pytest.mark.parametrize("drive", ["..", "a/../b", "/", "a\\b", ""])
def test_a_folder_in_drive_stays_in_drive(ctx, tmp_path, drive):
    done = kagg(ctx, "notebook", "colab", "--out", tmp_path / "x.ipynb", "--drive", drive)
    assert (done.code, done.err.count("\n"), (tmp_path / "x.ipynb").exists()) == (2, 1, False)


@pytest.mark.parametrize(
    "options",
    [
        ["--title", f"with {TOKEN}"],
        ["--dataset", TOKEN],
        ["--stream", f"https://example.com/x.csv?token={TOKEN}"],
        ["--target", HEX_KEY],
        ["--title", "plain words"],
    ],
)
def test_a_secret_in_an_option_is_refused_before_anything_is_written(ctx, tmp_path, options):
    ctx.env["KAGGLE_KEY"], ctx.env["WANDB_API_KEY"] = HEX_KEY, "plain words"
    done = kagg(ctx, "notebook", "generate", "--out", tmp_path / "x.ipynb", *options)
    assert (done.code, done.out, (tmp_path / "x.ipynb").exists()) == (3, "", False), done.err
    left = done.err + "".join(path.read_bytes().decode("latin-1") for path in ctx.home.rglob("*") if path.is_file())
    assert [value for value in (TOKEN, HEX_KEY, "plain words") if value in left] == []


CREDENTIALS = [
    "Signature=x",
    "GoogleAccessId=me%40x.iam.gserviceaccount.com&Expires=1800000000&Signature=YWJj",
    "X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Signature=0",
    "X-Amz-Signature=...",
    "a=1&amp;x-amz-security-token=x",
    "%53ignature=x",
    "from=https%3A%2F%2Fb.test%2Fy.csv%3FSignature%3Dx",
    "access_token=hunter2" + "secret",
    "token=x",
    "alt=media&token=x",
    "sv=2022-11-02&sig=<signature>",
    "q-signature=x",
    "api-key=x",
    "apikey=x",
    "key=x",
    "AccessKey=x",
    "client_secret=x",
    "rootpassword=x",
    "pwd=x",
    "authorization=x",
    "sessionid=x",
    "a=1#access_token=x",
    "hdnts=exp=1~acl=/*~hmac=x",
]


@pytest.mark.parametrize("query", CREDENTIALS)
def test_an_address_whose_query_names_a_credential_is_refused_whatever_its_value(ctx, tmp_path, query):
    done = kagg(ctx, "notebook", "generate", "--out", tmp_path / "x.ipynb", "--stream", f"https://a.test/x.csv?{query}")
    assert (done.code, done.out, (tmp_path / "x.ipynb").exists()) == (3, "", False), done.err
    assert done.err.count("\n") == 1
    assert "secret" not in done.err.replace("client_secret", "")


@pytest.mark.parametrize(
    "query", ["", "?raw=true", "?v=2&format=csv", "?Signature=", "?page_token=2", "?tokenizer=x&design=1", "?monkey=1"]
)
def test_an_address_with_other_queries_is_streamed(ctx, tmp_path, query):
    url = f"https://a.test/x.csv{query}"
    done = kagg(ctx, "notebook", "generate", "--out", tmp_path / "x.ipynb", "--stream", url)
    assert done.code == 0, done.err
    assert f'stream = \\"{url}\\"' in (tmp_path / "x.ipynb").read_text()


def test_there_is_no_option_to_embed_credentials(ctx):
    done = kagg(ctx, "notebook", "generate", "--embed-credentials")
    assert done.code == 2


# --- what is said beside it -------------------------------------------------------------------------------------------


def said(ctx, tmp_path, *options, name="x.ipynb"):
    """Return what is said to people when a notebook is written."""
    done = kagg(ctx, "notebook", "generate", "--force", "--out", tmp_path / name, *options)
    assert done.code == 0, done.err
    return done.err


@pytest.mark.parametrize("stream", ["absent.csv", "folder/absent.csv", "./absent", "a" * 300 + ".csv", "/absent/x.csv"])
def test_a_file_that_is_not_here_is_said_and_the_notebook_is_written(ctx, tmp_path, stream):
    assert f"note: {stream} is not beside {tmp_path / 'x.ipynb'}" in said(
        ctx, tmp_path, "--stream", stream, "--target", "kind"
    )


def test_a_name_that_is_a_file_of_another_place_is_not(ctx, tmp_path, data):
    for stream in ("/kaggle/input/x.csv", "/content/x.csv", "me/things", "data.csv", "https://a.test/x.csv"):
        assert "note:" not in said(ctx, tmp_path, "--stream", stream)
    (tmp_path / "sub").mkdir()
    assert "note: data.csv is not beside" in said(ctx, tmp_path, "--stream", "data.csv", name="sub/x.ipynb")
    assert "note: sub/absent is not here: it is taken for a dataset" in said(ctx, tmp_path, "--stream", "sub/absent")
    assert "note: the notebook reads a/b;" in said(ctx, tmp_path, "--dataset", "a/b", "--dataset", "a/c")


def test_the_target_is_looked_for_in_a_file_beside_the_notebook(ctx, tmp_path, data):
    options = ["--out", tmp_path / "x.ipynb", "--stream", "data.csv", "--target", "absent"]
    done = kagg(ctx, "notebook", "generate", *options)
    assert (done.code, "data.csv has no column 'absent'" in done.err) == (2, True)


def test_the_next_step_sends_what_the_notebook_reads_to_kaggle(ctx, tmp_path, data):
    (tmp_path / "odd [1].csv").write_bytes(data.read_bytes())
    run = f"python kagg.py run {tmp_path / 'x.ipynb'}"
    for options, more in (
        (["--stream", "data.csv"], " --include data.csv"),
        (["--stream", "odd [1].csv"], " --include 'odd [[]1].csv'"),
        (["--stream", "me/things"], " --dataset me/things"),
        (["--dataset", "me/things"], " --dataset me/things"),
        (["--competition", "titanic"], " --competition titanic"),
        (["--stream", "https://a.test/x.csv"], ""),
    ):
        assert f"try: {run}; on Kaggle: {run} --kaggle{more}\n" in said(ctx, tmp_path, *options)
    assert said(ctx, tmp_path, "--stream", "absent.csv").endswith(f"try: {run}\n")
    assert "only data that lies beside it" in said(ctx, tmp_path, "--stream", data)


@pytest.mark.parametrize("name", ["data.csv", "odd [1].csv", "sub/data.csv"])
def test_the_option_that_is_shown_sends_the_file(ctx, tmp_path, data, name):
    from plugins.lib.launch.code import collect

    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data.read_bytes())
    shown = said(ctx, tmp_path, "--stream", name).splitlines()[-1]
    pattern = shlex.split(shown)[-1]
    assert set(collect(ctx, tmp_path / "x.ipynb", None, [pattern], []).files) >= {name}


def test_the_notebook_names_the_program_as_it_is_called_here(made):
    text = json.loads(made().read_text())["cells"][0]["source"]
    assert "`python kagg.py run NOTEBOOK -p epochs=5`" in "".join(text)


# --- it runs ----------------------------------------------------------------------------------------------------------


def test_the_notebook_runs_with_the_runner_and_agrees_with_an_oracle(ctx, made, data, tmp_path):
    path = made("--stream", "data.csv", "--target", "kind", "--seed", "3")
    dest = tmp_path / "result"
    done = kagg(ctx, "--json", "run", path, "--dest", dest, "-p", "chunk_rows=200", "-p", "epochs=4")
    assert done.code == 0, done.err
    names = {"metrics.json", "metrics.jsonl", "predictions.csv", "checkpoint.npz"}
    assert names <= {item["path"] for item in done.document["outputs"]}
    metrics = json.loads((dest / "output" / "metrics.json").read_text())
    found = pd.read_csv(dest / "output" / "predictions.csv")
    assert metrics["accuracy"] == pytest.approx(accuracy_score(found["truth"], found["predicted"]))
    assert metrics["f1_macro"] == pytest.approx(f1_score(found["truth"], found["predicted"], average="macro"))
    right = np.where(found["truth"] == found["predicted"], found["probability"], 1 - found["probability"])
    assert metrics["log_loss"] == pytest.approx(-np.log(right).mean())
    frame = pd.read_csv(data)
    assert (frame.loc[found["row"], "kind"].to_numpy() == found["truth"].to_numpy()).all()
    features = pd.get_dummies(frame.drop(columns="kind").fillna(frame["size"].mean()))
    features = (features - features.mean()) / features.std()
    held = frame.index.isin(found["row"])
    oracle = LogisticRegression().fit(features[~held], frame["kind"][~held])
    expected = oracle.score(features[held], frame["kind"][held])
    assert metrics["accuracy"] > expected - 0.03
    assert metrics["rows_train"] + metrics["rows_holdout"] == len(frame)
    assert 0.15 < metrics["rows_holdout"] / len(frame) < 0.25
    steps = [json.loads(line) for line in (dest / "output" / "metrics.jsonl").read_text().splitlines()]
    assert [step["epoch"] for step in steps] == [1, 2, 3, 4]
    assert steps[-1]["accuracy"] == metrics["accuracy"]


def test_an_interrupted_run_goes_on_and_equals_one_that_was_not(made, data, tmp_path):
    path = made("--stream", str(data), "--target", "kind")
    settings = {"chunk_rows": 300, "epochs": 1}
    whole = run_cells(path, tmp_path / "whole", **settings)
    assert whole.code == 0, whole.err
    part = run_cells(path, tmp_path / "parts", **settings, time_limit_s=0.001, until="train")
    assert (part.code, "run again to go on" in part.out) == (0, True), part.err
    part = run_cells(path, tmp_path / "parts", **settings)
    assert "resumed in epoch 0 after chunk 1" in part.out
    assert part.metrics == whole.metrics
    assert part.read("predictions.csv") == whole.read("predictions.csv")
    assert (part.folder / "checkpoint.npz").read_bytes() == (whole.folder / "checkpoint.npz").read_bytes()
    (part.folder / "checkpoint.npz").write_bytes(b"PK\x03\x04 not a checkpoint")
    more = {"resume_from": str(whole.folder), "seed": 5}
    again = run_cells(path, tmp_path / "parts", **settings, **more, until="model-2")
    assert again.code == 0, again.err
    assert "cannot be read" in again.out
    assert "other data or settings" in again.out
    assert "resumed" not in again.out


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_a_network_of_torch_goes_on_where_it_stopped(made, data, tmp_path):
    path = made("--stream", str(data), "--target", "kind", "--engine", "torch")
    whole = run_cells(path, tmp_path / "whole", chunk_rows=300, epochs=1)
    assert whole.code == 0, whole.err
    run_cells(path, tmp_path / "parts", chunk_rows=300, epochs=1, time_limit_s=0.001)
    part = run_cells(path, tmp_path / "parts", chunk_rows=300, epochs=1)
    assert (part.read("predictions.csv"), part.metrics) == (whole.read("predictions.csv"), whole.metrics)
    assert whole.metrics["accuracy"] > 0.8


def test_a_number_is_predicted_from_a_zip_that_is_read_by_ranges(made, tmp_path, web):
    frame = table(4000).drop(columns=["kind"])
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("video.bin", np.random.default_rng(0).bytes(8_000_000))
        archive.writestr("train.csv", frame.to_csv(index=False))
        archive.writestr("test.csv", "other,columns\n1,2\n")
    sent = []
    url = web.on("/data.zip", ranged(file.getvalue(), sent=sent, cut_after=2_000))
    path = made("--stream", url + "?X-Amz-Date=1", "--target", "price")
    done = run_cells(path, tmp_path / "out", epochs=8)
    assert done.code == 0, done.err
    found = pd.read_csv(done.folder / "predictions.csv")
    assert done.metrics["r2"] == pytest.approx(r2_score(found["truth"], found["predicted"]))
    assert done.metrics["mae"] == pytest.approx(mean_absolute_error(found["truth"], found["predicted"]))
    assert done.metrics["r2"] > 0.9
    assert "X-Amz" not in done.out
    assert max(sent) <= len(file.getvalue())
    assert sum(sent) < 13 * 2_500_000  # 9 passes and the sample; the 8 MB beside the table are not read


def test_a_file_that_changes_while_it_is_read_is_an_error(made, tmp_path, web):
    tags = iter(f'"{number}"' for number in range(100))
    content = table(200).to_csv(index=False).encode()
    url = web.on("/data.csv", ranged(content, etag=lambda: next(tags)))
    done = run_cells(made("--stream", url), tmp_path / "out")
    assert done.code == 1
    assert "changed while it was read" in done.err


def test_text_is_learned_from_a_packed_file_of_a_server_without_ranges(made, tmp_path, web):
    good, bad = "what a fine and lovely day it is", "this was a dull and awful waste of time"
    lines = [{"text": f"{good if n % 3 else bad} {n % 17}", "label": bool(n % 3)} for n in range(600)]
    packed = gzip.compress("\n".join(map(json.dumps, lines)).encode())
    url = web.on("/data.jsonl.gz", (200, packed, {}))
    done = run_cells(made("--model", "text", "--stream", url, "--target", "label"), tmp_path / "out")
    assert done.code == 0, done.err
    assert done.metrics["accuracy"] > 0.98
    assert set(pd.read_csv(done.folder / "predictions.csv", dtype=str)["truth"]) == {"True", "False"}


@pytest.mark.parametrize("kind", ["semicolons", "nested"])
def test_odd_tables_are_read(made, tmp_path, kind):
    """Semicolons and bytes that are not UTF-8; values that are lists, of mixed types, or absent."""
    if kind == "semicolons":
        path = tmp_path / "odd.csv"
        lines = [f"{n / 2};caf\xe9 {n % 3};{'' if n % 7 == 0 else n % 2}" for n in range(200)]
        path.write_bytes(
            "\r\n".join(["\ufeffgröße;ort;ziel".encode("utf-8").decode("latin-1"), *lines]).encode("latin-1")
        )
        names = "größe", "ort", "ziel"
    else:
        path = tmp_path / "odd.jsonl"
        rows = [
            {"a": [n], "b": {"c": n % 2} if n % 2 else None, "d": n if n % 3 else "x", "y": n % 2} for n in range(200)
        ]
        path.write_text("\n".join(map(json.dumps, rows)))
        names = "a", "b", "d"
    notebook = made("--stream", str(path), *(["--target", "ziel"] if kind == "semicolons" else []))
    done = run_cells(notebook, tmp_path / "out", chunk_rows=30, epochs=1)
    assert done.code == 0, done.err
    assert all(name in done.out for name in names)
    assert done.metrics["rows_train"] + done.metrics["rows_holdout"] == (171 if kind == "semicolons" else 200)


def test_pictures_are_learned_by_folder(made, tmp_path):
    from PIL import Image

    for number in range(60):
        name = ("dark", "light")[number % 2]
        (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
        tone = 40 + number if name == "dark" else 190 - number // 2
        Image.new("RGB", (20, 30), (tone, tone, tone)).save(tmp_path / "set" / name / f"{number}.png")
    done = run_cells(made("--model", "images", "--stream", str(tmp_path / "set")), tmp_path / "out", epochs=5)
    assert done.code == 0, done.err
    assert done.metrics["accuracy"] == 1


@pytest.mark.parametrize("layout", ["datasets/me/things", "things"])
def test_mounted_data_is_found_in_both_layouts(made, tmp_path, layout):
    folder = tmp_path / "input" / layout
    folder.mkdir(parents=True)
    table(300).to_parquet(folder / "train.parquet")
    (folder / "readme.txt").write_text("x")
    path = made("--dataset", "me/things", "--target", "kind")
    env = {"KAGGLE_KERNEL_RUN_TYPE": "Batch"}
    done = run_cells(path, tmp_path / "out", env=env.items(), until="features", input_root=str(tmp_path / "input"))
    assert done.code == 0, done.err
    assert "running on kaggle" in done.out
    assert f"{layout}/train.parquet" in done.out


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"stream": "absent.csv"}, "'absent.csv' is not there"),
        ({"stream": ""}, "nothing to read: set stream"),
        ({"stream": "http://example.com/x.csv"}, "not an https address"),
        ({"target": "absent"}, "no column absent; there are: size, weight"),
        ({"drop_columns": ["absent"]}, "no column absent"),
        ({"require_gpu": True, "engine": "sklearn"}, "require_gpu is set, but no GPU can be used"),
    ],
)
def test_a_wrong_parameter_is_said_by_the_notebook(made, data, tmp_path, params, said):
    done = run_cells(made("--stream", str(data)), tmp_path / "out", until="features", env=[("PATH", "")], **params)
    assert done.code == 1
    assert said in done.err.splitlines()[-1]


# --- credentials ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kaggle", [True, False])
def test_keys_are_found_in_order_and_never_printed(made, tmp_path, kaggle):
    clients = tmp_path / "clients"
    (clients / "google" / "colab").mkdir(parents=True)
    (clients / "kaggle_secrets.py").write_text(
        "class BackendError(Exception): pass\nclass UserSecretsClient:\n    def get_secret(self, label):\n"
        "        if label == 'KAGGLE_KEY': return 'of-kaggle-secrets'\n        raise BackendError(label)\n"
    )
    (clients / "google" / "colab" / "__init__.py").write_text("")
    (clients / "google" / "colab" / "userdata.py").write_text(
        "class SecretNotFoundError(Exception): pass\ndef get(key):\n"
        "    if key == 'KAGGLE_KEY': return 'of-userdata'\n    raise SecretNotFoundError('hush-' + key)\n"
    )
    configs = tmp_path / "out" / "configs"
    configs.mkdir(parents=True)
    (configs / "kaggle.json").write_text(json.dumps({"username": "of-configs", "key": "of-configs", "_readme": []}))
    (configs / "wandb.md").write_text("# W\n\n    api_key: of-wandb-md\n    entity: YOUR-TEAM\n")
    path = made("--dataset", "me/things", "--track", "wandb")
    script = json.loads(path.read_text())
    show = "import pathlib; pathlib.Path('env.json').write_text(json.dumps(dict(os.environ)))"
    script["cells"][5]["source"] += ["\n", show]
    assert script["cells"][5]["id"] == "credentials"
    path.write_text(json.dumps(script))
    env = {"PYTHONPATH": str(clients), "KAGGLE_API_TOKEN": "of-environment"}
    env |= {"KAGGLE_KERNEL_RUN_TYPE": "Batch"} if kaggle else {"COLAB_RELEASE_TAG": "x"}
    done = run_cells(path, tmp_path / "out", env=env.items(), until="credentials")
    assert done.code == 0, done.err
    seen = json.loads((tmp_path / "out" / "env.json").read_text())
    assert seen["KAGGLE_KEY"] == ("of-kaggle-secrets" if kaggle else "of-userdata")
    assert (seen["KAGGLE_API_TOKEN"], seen["KAGGLE_USERNAME"]) == ("of-environment", "of-configs")
    assert (seen["WANDB_API_KEY"], seen.get("WANDB_ENTITY")) == ("of-wandb-md", None)
    said = done.out + done.err
    assert [value for value in ("of-", "hush-") if value in said] == []
    where = "Kaggle Secrets" if kaggle else "Colab userdata"
    assert any(line.split() == ["KAGGLE_KEY", *where.split()] for line in done.out.splitlines())
    assert any(line.split() == ["WANDB_ENTITY", "not", "found"] for line in done.out.splitlines())


@pytest.mark.parametrize("broken", ["kaggle.json", "wandb.md"])
def test_a_file_of_configs_that_cannot_be_read_does_not_hide_the_other(made, tmp_path, broken):
    configs = tmp_path / "out" / "configs"
    configs.mkdir(parents=True)
    (configs / "kaggle.json").write_text('{"username": "ann", "key": "of-kaggle"}')
    (configs / "wandb.md").write_text("api_key: of-wandb\n")
    (configs / broken).write_bytes(b"{broken \xff")
    done = run_cells(made("--dataset", "me/things", "--track", "wandb"), tmp_path / "out", until="credentials")
    assert done.code == 0, done.err
    found = {
        line.split()[0]: line.split()[1:] for line in done.out.splitlines() if line.startswith(("KAGGLE", "WANDB"))
    }
    absent = ["not", "found"]
    wanted = (["configs/"], absent) if broken == "wandb.md" else (absent, ["configs/"])
    assert (found["KAGGLE_KEY"], found["WANDB_API_KEY"]) == wanted
    assert f"{broken} cannot be read" in done.out
    assert "of-" not in done.out + done.err
