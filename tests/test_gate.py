"""The gate: a planted token leaves this machine by no way, and what refuses it names cell and line."""

from __future__ import annotations

import base64
import bz2
import contextlib
import gzip
import io
import json
import lzma
import random
import re
import string
import tarfile
import zipfile
import zlib
from urllib.parse import quote, unquote

import pytest
from front_door import QuickContext, close, environment, kagg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_push import runs, sent, versions

from kagg import Exit, KaggError, load_endpoints
from plugins.lib.kaggle.server import LocalKaggle
from plugins.lib.kaggle.sessions import Limits
from plugins.lib.secrets.gate import refuse

FEW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
LETTERS, HEX = string.ascii_letters + string.digits, string.digits + "abcdef"
PREDICT = "def predict(payload):\n    return {'ok': True}\n"


def lot(size, alphabet, seed):
    return "".join(random.Random(seed).choices(alphabet, k=size))  # noqa: S311 - must repeat


TOKENS = {  # made at run time, so that no file of the project holds what looks like one
    "Hugging Face": lambda seed: "hf_" + lot(34, LETTERS, seed),
    "GitHub": lambda seed: "gh" + "p_" + lot(36, LETTERS, seed),
    "Kaggle": lambda seed: "KG" + "AT_" + lot(32, HEX, seed),
    "AWS": lambda seed: "AK" + "IA" + lot(15, string.ascii_uppercase + "234567", seed) + "7",  # one in 30 has no digit
    "Anthropic": lambda seed: "sk-" + "ant-api03-" + lot(93, LETTERS, seed) + "AA",
    "Replicate": lambda seed: "r8" + "_" + lot(37, LETTERS, seed),
    "Telegram": lambda seed: lot(9, "123456789", seed) + ":AA" + lot(33, LETTERS, seed),
}


def cell(source, kind="code", **parts):
    base = {"cell_type": kind, "metadata": {}, "source": source}
    return base | ({"execution_count": None, "outputs": []} if kind == "code" else {}) | parts


def png(text):
    """Return a PNG of one pixel with a text chunk."""

    def chunk(kind, body):
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    head = chunk(b"IHDR", b"\0\0\0\1\0\0\0\1\x08\0\0\0\0")
    picture = chunk(b"IDAT", zlib.compress(b"\0\0"))
    whole = b"\x89PNG\r\n\x1a\n" + head + chunk(b"tEXt", b"Comment\0" + text.encode()) + picture + chunk(b"IEND", b"")
    return base64.b64encode(whole).decode()


PLACES = {  # of a notebook that keeps them when it is pushed; the cell, or None
    "code": (lambda token: cell(f"import os\nkey = '{token}'\n"), 1),
    "lines": (lambda token: cell(["a = 1\n", f"b = call('{token}')\n"]), 1),
    "shell": (lambda token: cell(f"!tool login {token}"), 1),
    "markdown": (lambda token: cell(f"The key is `{token}`.", "markdown"), 1),
    "raw": (lambda token: cell(token, "raw"), 1),
    "cell metadata": (lambda token: cell("x", metadata={"papermill": {"parameters": {"key": token}}}), 1),
    "attachment": (lambda token: cell("![](attachment:a.png)", "markdown",
                                      attachments={"a.png": {"image/png": png(token)}}), 1),
    "base64": (lambda token: cell(f"x = b64decode('{base64.b64encode(token.encode()).decode()}')"), 1),
    "split": (lambda token: cell(f"key = '{token[:9]}' + '{token[9:]}'"), 1),
}  # fmt: skip


def planted(place, token):
    made = PLACES[place][0](token)
    return {"cells": [cell("print('first')"), made], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A local Kaggle whose sessions stay queued."""
    with LocalKaggle(tmp_path_factory.mktemp("kaggle"), limits=Limits(queue_s=600)) as found:
        yield found


@pytest.fixture
def user(server, tmp_path):
    """A context signed in at the local Kaggle."""
    key = server.world.accounts.users["demo"]["key"]
    ctx = QuickContext(environment(tmp_path, KAGG_KAGGLE_URL=server.url, KAGGLE_USERNAME="demo", KAGGLE_KEY=key))
    yield ctx
    close(ctx)


def everything_stored(kaggle):
    """Return all bytes that the server keeps, as text."""
    return "\n".join(path.read_bytes().decode("latin-1") for path in kaggle.world.root.rglob("*") if path.is_file())


@pytest.mark.parametrize("place", PLACES)
def test_a_token_anywhere_in_a_notebook_stops_the_push_and_the_run_on_kaggle(user, server, tmp_path, place):
    @FEW
    @given(st.sampled_from(sorted(TOKENS)), st.integers(0, 10**6))
    def check(kind, seed):
        token = TOKENS[kind](seed)
        path = tmp_path / "note-book.ipynb"
        path.write_text(json.dumps(planted(place, token)))
        for command in (["push", path, "--title", "Note book"], ["run", path, "--kaggle", "--dest", tmp_path / "d"]):
            done = kagg(user, *command)
            assert done.code == Exit.FINDINGS, done
            assert token not in done.out + done.err
            assert f"cell {PLACES[place][1]}" in done.err
            assert "--allow-finding" in done.err
        assert sent(server) == []

    check()
    assert not list((server.world.root / "kernels").glob("demo/note-book/**/*"))


@pytest.mark.parametrize("suffix", [".py", ".R"])
def test_a_token_in_a_script_is_named_with_its_line(user, server, tmp_path, suffix):
    token = TOKENS["GitHub"](5)
    path = tmp_path / f"train-job{suffix}"
    path.write_text(f"x <- 1\n\nkey <- '{token}'\n" if suffix == ".R" else f"x = 1\n\nkey = '{token}'\n")
    done = kagg(user, "push", path)
    assert done.code == Exit.FINDINGS
    assert "line 3" in done.err
    assert sent(server) == []


@pytest.mark.parametrize("field", ["title", "keywords", "dataset_sources", "id"])
def test_a_token_in_the_metadata_of_a_kernel_stops_it_too(user, server, tmp_path, field):
    token = "hf_" + lot(34, string.ascii_lowercase + string.digits, 8)
    meta = {"id": "demo/some-job", "title": "Some job", "code_file": "a.py", "language": "python",
            "kernel_type": "script"}  # fmt: skip
    meta[field] = {"title": token, "id": f"demo/{token}"}.get(field, [f"demo/{token}"])
    if field == "title":
        del meta["id"]
    (tmp_path / "kernel-metadata.json").write_text(json.dumps(meta))
    (tmp_path / "a.py").write_text("print(1)\n")
    done = kagg(user, "push", tmp_path)
    assert done.code in (Exit.FINDINGS, Exit.USAGE), done
    assert sent(server) == []


def test_a_refusal_names_the_cell_of_the_file_also_when_parameters_are_put_in(user, server, tmp_path):
    path = tmp_path / "note-book.ipynb"
    path.write_text(json.dumps(planted("code", TOKENS["GitHub"](9))))
    done = kagg(user, "run", path, "--kaggle", "-p", "alpha=3", "--dest", tmp_path / "d")
    assert done.code == Exit.FINDINGS
    assert "note-book.ipynb was not sent: cell 1 line 2" in done.err
    script = tmp_path / "train.py"
    script.write_text(f"x = 1\nkey = '{TOKENS['GitHub'](9)}'\n")
    done = kagg(user, "run", script, "--kaggle", "-p", "alpha=3", "--dest", tmp_path / "d")
    assert "train.py line 2" in done.err
    assert not (tmp_path / "d").exists()
    assert sent(server) == []


def test_parameters_are_part_of_what_leaves(user, server, tmp_path):
    path = tmp_path / "train-job.py"
    path.write_text("print(1)\n")
    done = kagg(user, "run", path, "--kaggle", "-p", f"key={TOKENS['Hugging Face'](1)}", "--dest", tmp_path / "d")
    assert done.code == Exit.FINDINGS, done
    assert "command line" in done.err
    assert sent(server) == []
    assert not (tmp_path / "d").exists()


def test_what_a_push_leaves_out_does_not_stop_it(tmp_path):
    token = TOKENS["GitHub"](6)
    path = tmp_path / "note-book.ipynb"
    shown = cell("show()", outputs=[{"output_type": "stream", "name": "stdout", "text": token}])
    path.write_text(json.dumps({"cells": [shown], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}))
    with LocalKaggle(tmp_path / "kaggle", limits=Limits(queue_s=600)) as server:
        key = server.world.accounts.users["demo"]["key"]
        ctx = QuickContext(environment(tmp_path, KAGG_KAGGLE_URL=server.url, KAGGLE_USERNAME="demo", KAGGLE_KEY=key))
        done = kagg(ctx, "push", path, "--title", "Note book")
        close(ctx)
        assert done.code == 0, done
        assert token not in everything_stored(server)


def test_an_allowed_finding_is_sent_and_only_that_one(tmp_path):
    one, two = TOKENS["GitHub"](1), TOKENS["Hugging Face"](2)
    path = tmp_path / "train-job.py"
    path.write_text(f"a = '{one}'\nb = '{two}'\n")
    with LocalKaggle(tmp_path / "kaggle", limits=Limits(queue_s=600)) as server:
        key = server.world.accounts.users["demo"]["key"]
        ctx = QuickContext(environment(tmp_path, KAGG_KAGGLE_URL=server.url, KAGGLE_USERNAME="demo", KAGGLE_KEY=key))
        ids = []
        for left in (2, 1):
            done = kagg(ctx, "push", path, *(word for found in ids for word in ("--allow-finding", found)))
            assert done.code == Exit.FINDINGS
            assert ("and 1 more" in done.err) == (left == 2)
            ids.append(done.err.split("--allow-finding ")[1].split()[0])
            assert sent(server) == []
        done = kagg(ctx, "push", path, *(word for found in ids for word in ("--allow-finding", found)))
        close(ctx)
        assert done.code == 0, done
        assert all(found in done.err for found in ids)
        assert one not in done.out + done.err
        assert runs(server) == len(versions(server)) == 1


# ---------------------------------------------------------------- packages


def files_with(token):
    """Return files of a folder to deploy, each with the token in its own way."""
    return {
        "settings.yaml": f"service:\n  token: {token}\n".encode(),
        "deep/er/notes.txt": f"see {token}".encode(),
        "config.json": json.dumps({"a": {"b": [token]}}).encode(),
        "wide.txt": f"key {token}".encode("utf-16"),
        "helper.py": f"KEY = '{token[:8]}' + '{token[8:]}'\n".encode(),
        "logo.png": base64.b64decode(png(token)),
        "notes/note.ipynb": json.dumps(planted("code", token)).encode(),
    }


@pytest.mark.parametrize("name", files_with("x" * 40))
def test_a_token_in_any_file_of_a_package_stops_the_deploy(ctx, tmp_path, name):
    token = TOKENS["Hugging Face"](11)
    folder = tmp_path / "service"
    for place, content in {"main.py": PREDICT.encode(), name: files_with(token)[name]}.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(content)
    done = kagg(ctx, "deploy", folder, "--local", "--name", "service")
    assert done.code == Exit.FINDINGS, done
    assert token not in done.out + done.err
    assert name.rpartition("/")[2] in done.err or "cell 1" in done.err
    assert load_endpoints(ctx) == {}
    assert not list(ctx.home.rglob("*.zip"))


def test_a_token_in_a_notebook_that_is_deployed_is_named_with_its_cell_and_line(ctx, tmp_path):
    token = TOKENS["Hugging Face"](12)
    path = tmp_path / "model.ipynb"
    cells = [cell("# Model", "markdown"), cell(f"a = 1\nKEY = '{token}'"), cell(PREDICT + "    # with KEY\n")]
    cells[2]["source"] = "def predict(payload):\n    return {'key': KEY}\n"
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}))
    done = kagg(ctx, "deploy", path, "--local", "--name", "model")
    assert done.code == Exit.FINDINGS, done
    assert "cell 1 line 2" in done.err
    assert load_endpoints(ctx) == {}


def zipped(name, content):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(name, content)
    return archive.getvalue()


def tarred(name, content):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as made:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        made.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


def pickled(token):
    import pickle

    return pickle.dumps({"weights": bytes(5000), "note": [token]})


def database(token):
    import sqlite3

    with contextlib.closing(sqlite3.connect(":memory:")) as made:
        made.execute("create table t (k text)")
        made.execute("insert into t values (?)", (token,))
        made.commit()
        return made.serialize()


def pierced(content):
    """Return a zip whose first entry is damaged."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("bad.bin", b"x" * 500)
        made.writestr("settings.txt", content)
    return archive.getvalue().replace(b"x" * 500, b"y" * 500)


BINARIES = {
    "model.pkl": pickled,
    "cache.sqlite": database,
    "app.log": lambda token: b"started\n" + bytes(6000) + f"\ntoken {token}\n".encode(),
    "wide.bin": lambda token: bytes(range(200)) * 30 + f"key={token}".encode("utf-16-le"),
    "late.png": lambda token: base64.b64decode(png("nothing")) + f"\n{token}\n".encode(),
    "tool.pyz": lambda token: b"#!/usr/bin/env python3\n" + zipped("__main__.py", f"KEY = '{token}'".encode()),
    "damaged.zip": lambda token: pierced(f"key = {token}".encode()),
}


@pytest.mark.parametrize("name", BINARIES)
def test_a_token_in_a_binary_file_of_a_package_stops_the_deploy(ctx, tmp_path, name):
    folder = tmp_path / "service"
    folder.mkdir()
    (folder / "main.py").write_text(PREDICT)
    (folder / name).write_bytes(BINARIES[name](TOKENS["Hugging Face"](21)))
    done = kagg(ctx, "deploy", folder, "--local", "--name", "service")
    assert done.code == Exit.FINDINGS, done
    assert name in done.err
    (folder / name).write_bytes(BINARIES[name]("nothing that anybody keeps to himself"))
    assert kagg(ctx, "deploy", folder, "--local", "--name", "service").code == 0
    assert kagg(ctx, "endpoints", "remove", "service").code == 0


def test_a_token_in_the_name_of_a_file_stops_the_deploy_and_is_not_repeated(ctx, tmp_path):
    token = TOKENS["GitHub"](22)
    folder = tmp_path / "service"
    folder.mkdir()
    (folder / "main.py").write_text(PREDICT)
    (folder / f"{token}.txt").write_text("x")
    done = kagg(ctx, "deploy", folder, "--local", "--name", "service")
    assert done.code == Exit.FINDINGS, done
    assert token not in done.out + done.err


@pytest.mark.parametrize("kind", ["Google", "AWS", "Databricks", "GitHub"])
@pytest.mark.parametrize("name", ["d/{}.txt", "a/{}/b.csv", "d/{}", "data/{}.tar.gz"])
def test_a_token_in_the_name_of_a_file_or_folder_below_is_found_and_not_repeated(ctx, kind, name):
    token = {"Google": "AI" + "za" + lot(35, LETTERS, 3), "AWS": "AS" + "IA" + TOKENS["AWS"](3)[4:],
             "Databricks": "dap" + "i" + lot(32, HEX, 3), "GitHub": TOKENS["GitHub"](3)}[kind]  # fmt: skip
    file = name.format(token)
    for parts in (
        [("a.py", b"x = 1\n"), (file, b"1\n")],
        [("a.zip", zipped(file, b"1"))],
        [("a.tgz", tarred(file, b"1"))],
    ):
        with pytest.raises(KaggError) as caught:
            refuse(ctx, file, parts)
        assert caught.value.code == Exit.FINDINGS
        assert token not in str(caught.value.message) + str(caught.value.details) + ctx.stderr.getvalue()
    names = ("/".join((lot(40, HEX, n), f"{lot(64, HEX, n)}.bin")) for n in range(200))
    refuse(ctx, "x", [("wandb/run-20260101_120000-abcd1234/config.yaml", b"a: 1\n"), *((n, b"1") for n in names)])


def test_a_file_with_a_token_in_its_name_and_another_inside_repeats_neither(ctx):
    name, inside = TOKENS["GitHub"](4), TOKENS["Hugging Face"](5)
    with pytest.raises(KaggError) as caught:
        refuse(ctx, "the folder", [(f"d/{name}.py", f"k = '{inside}'\n".encode())])
    said = caught.value.message + str(caught.value.details) + ctx.stderr.getvalue()
    assert name not in said
    assert inside not in said
    assert "line 1" in caught.value.message


# ---------------------------------------------------------------- secrets in use


HELD = {
    "KAGGLE_KEY": lot(32, HEX, 40),
    "WANDB_API_KEY": lot(40, HEX, 41),
    "KAGG_SMTP_PASSWORD": lot(16, string.ascii_lowercase, 42),
    "SERVICE_PASSWORD": 'k/+ "ö%' + lot(8, LETTERS, 43),
    "KAGG_SLACK_WEBHOOK_URL": "https://hooks.example.org/services/" + lot(30, LETTERS, 44),
}
ENCODED = {
    "as it is": lambda value: f"remember {value} well".encode(),
    "quoted": lambda value: f"https://example.org/?q={quote(value, safe='')}".encode(),
    "JSON": lambda value: json.dumps({"x": [value]}).encode(),
    "base64": lambda value: base64.b64encode(f"me:{value}!".encode()),
    "UTF-16": lambda value: f"remember {value}".encode("utf-16"),
    "zip": lambda value: zipped("a/b.txt", f"x {value}".encode()),
    "tar": lambda value: tarred("a/b.txt", f"x {value}".encode()),
    "pickle": lambda value: pickled(f" {value} "),
}


@pytest.mark.parametrize("name", HELD)
@pytest.mark.parametrize("way", ENCODED)
def test_a_secret_in_use_does_not_leave_whatever_it_looks_like(tmp_path, name, way):
    ctx = QuickContext(environment(tmp_path, **HELD))
    content = ENCODED[way](HELD[name])
    with pytest.raises(KaggError) as caught:
        refuse(ctx, "the code", [("notes.dat", content)])
    assert caught.value.code == Exit.FINDINGS
    found = caught.value.details["findings"]
    assert HELD[name] not in str(found) + caught.value.message + ctx.stderr.getvalue()
    if "secret-in-use" in [finding["kind"] for finding in found]:
        assert f"the value of {name}" in str(found)
    else:  # the rules were first
        assert name in ("KAGG_SLACK_WEBHOOK_URL", "SERVICE_PASSWORD", "WANDB_API_KEY")
    assert len(found) == 1 or (way, name) == ("base64", "SERVICE_PASSWORD")
    refuse(ctx, "the code", [("notes.dat", content)], [finding["id"] for finding in found])
    refuse(ctx, "the code", [("notes.dat", ENCODED[way]("nothing that anybody keeps"))])


def test_a_secret_in_use_is_named_with_its_cell_or_line_and_found_in_names(tmp_path):
    ctx, key = QuickContext(environment(tmp_path, **HELD)), HELD["WANDB_API_KEY"]
    note = json.dumps(notebook_of(cell("# A", "markdown"), cell(f"a = 1\nprint('{key}')"))).encode()
    packed = f"# module\n\n# cell 3\na = 1\nb = '{key}'\n".encode()
    places = [("n.ipynb", note, "cell 1 line 2"), ("m.py", packed, "cell 3 line 2"),
              ("d/a.txt", f"1\n2\nx {key}\n".encode(), "d/a.txt line 3"), (f"d/{key}.txt", b"1\n", "a file's name"),
              ("a.zip", zipped(f"d/{key}.txt", b"1"), "a.zip (names)")]  # fmt: skip
    for name, content, where in places:
        with pytest.raises(KaggError) as caught:
            refuse(ctx, "it", [(name, content)])
        assert where in caught.value.message
        assert key not in caught.value.message + str(caught.value.details)


def notebook_of(*cells):
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 4}


def test_what_the_rules_find_is_not_said_twice_and_allowed_once(tmp_path):
    token = TOKENS["GitHub"](31)
    ctx = QuickContext(environment(tmp_path, GITHUB_TOKEN=token))
    with pytest.raises(KaggError) as caught:
        refuse(ctx, "it", [("a.py", f"k = '{token}'\n".encode())])
    (finding,) = caught.value.details["findings"]
    refuse(ctx, "it", [("a.py", f"k = '{token}'\n".encode())], [finding["id"]])


def test_a_short_password_inside_a_longer_word_is_none(tmp_path):
    ctx = QuickContext(environment(tmp_path, DB_PASSWORD="hunter22"))
    refuse(ctx, "it", [("a.txt", b"bighunter22x and hunter229")])
    for text in (b"say hunter22 twice", b"hunter22", b"bighunter22 (hunter22)"):
        with pytest.raises(KaggError, match="DB_PASSWORD"):
            refuse(ctx, "it", [("a.txt", text)])


@pytest.mark.parametrize("command", [["push"], ["run", "--kaggle"]])
def test_the_key_of_the_account_is_not_pushed(demo, idle_kaggle, tmp_path, command):
    key = idle_kaggle.world.accounts.users["demo"]["key"]
    path = tmp_path / "train-job.py"
    path.write_text(f"x = 1\nkey = ['{key}']\n")
    done = kagg(demo, *command, path, *(["--dest", tmp_path / "d"] if "run" in command else []))
    assert done.code == Exit.FINDINGS, done
    assert "KAGGLE_KEY" in done.err
    assert key not in done.out + done.err
    assert sent(idle_kaggle) == []


def test_what_cannot_be_opened_is_said_and_a_link_in_an_archive_is_no_bug(ctx, tmp_path):
    folder = tmp_path / "service"
    folder.mkdir()
    (folder / "main.py").write_text(PREDICT)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as made:
        link = tarfile.TarInfo("lib.so")
        link.type, link.linkname = tarfile.SYMTYPE, "lib.so.1"
        made.addfile(link)
    (folder / "vendor.tar").write_bytes(archive.getvalue())
    (folder / "data.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(100))
    done = kagg(ctx, "deploy", folder, "--local", "--name", "service")
    assert done.code == 0, done
    assert "data.7z: 7z is not opened" in done.err
    assert "vendor.tar" not in done.err
    assert kagg(ctx, "endpoints", "remove", "service").code == 0


ARCHIVES = {
    "notes.txt.bz2": lambda _, content: bz2.compress(content),
    "notes.txt.xz": lambda _, content: lzma.compress(content),
    "twice.gz": lambda _, content: gzip.compress(b"first") + gzip.compress(content),
    "named.zip": lambda _, content: zipped(f"{content.split()[-1].decode()}/empty", b""),
    "wheel.zip": zipped,
    "twice.zip": lambda name, content: zipped("inner.zip", zipped(name, content)),
    "data.tar.gz": tarred,
    "notes.txt.gz": lambda _, content: gzip.compress(content),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_inside_a_package_does_not_hide_a_token(ctx, tmp_path, name):
    token = TOKENS["GitHub"](13)
    folder = tmp_path / "service"
    folder.mkdir()
    (folder / "main.py").write_text(PREDICT)
    (folder / name).write_bytes(ARCHIVES[name]("inner/settings.txt", f"key = {token}".encode()))
    done = kagg(ctx, "deploy", folder, "--local", "--name", "service")
    assert done.code == Exit.FINDINGS, done
    assert re.sub(r"\.(gz|bz2|xz)$", "", name) in done.err


# ---------------------------------------------------------------- kagg.py alone


def test_kagg_alone_refuses_the_tokens_that_it_knows(web, tmp_path, monkeypatch):
    import kagg as spine

    ctx = QuickContext(environment(tmp_path, KAGG_KAGGLE_URL=web.url, KAGGLE_USERNAME="demo", KAGGLE_KEY="0" * 32))
    ctx.root = tmp_path
    token = TOKENS["GitHub"](14)
    with pytest.raises(spine.KaggError) as caught:
        spine.push_kernel(ctx, {"slug": "demo/a-b-c", "text": f"x\nk = '{token}'", "language": "python"})
    close(ctx)
    assert caught.value.code == Exit.FINDINGS
    assert "line 2" in caught.value.message
    assert token not in unquote(str(caught.value))
    assert web.requests == []
    plain = "from huggingface_hub import hf_hub_download  # see sk-learn-contrib"
    spine.refuse_secrets(ctx, "x", (("a.py", plain),))
