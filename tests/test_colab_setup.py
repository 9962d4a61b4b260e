"""`colab-setup`: keys go from where people have them to where the clients look, and no value is ever shown."""

from __future__ import annotations

import json
import netrc
import os
import subprocess
import sys

import pytest
from front_door import QuickContext, close, environment, kagg

import kagg as spine

ROOT = spine.Path(spine.__file__).parent
KGAT = "KGAT_" + "9f8e7d6c" * 4
WANDB = "5f4e3d2c1b" * 4
OTHER = "a1b2c3d4e5" * 4
USERDATA = """\
class SecretNotFoundError(Exception):
    pass
class NotebookAccessError(Exception):
    pass
class TimeoutException(Exception):
    pass
import json, os
def get(key):
    table = json.loads(os.environ.get("FAKE_USERDATA", "{}"))
    found = table.get(key)
    if found is None:
        raise SecretNotFoundError(f"Secret {key} does not exist.")
    if found.startswith("raise "):
        raise globals()[found[6:]](key + " hush-hush")
    return found
"""
DRIVE = """\
import os, pathlib
def mount(mountpoint, force_remount=False, timeout_ms=120000, readonly=False):
    if os.environ.get("FAKE_DRIVE") == "refused":
        raise ValueError("mount failed hush-hush")
    pathlib.Path(os.environ["FAKE_DRIVE"]).write_text(mountpoint)
"""


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def ctx(tmp_path, home, idle_kaggle, web):
    """A context in an empty folder, with the local Kaggle and a stand-in for the server of wandb."""
    web.on("/graphql", lambda handler: handler.whole(*_viewer(handler)))
    more = {"KAGG_KAGGLE_URL": idle_kaggle.url, "WANDB_BASE_URL": web.url, "KAGG_CONFIGS": str(tmp_path / "none")}
    found = QuickContext(environment(tmp_path, **more))
    yield found
    close(found)


def _viewer(handler):
    import base64

    user, _, key = base64.b64decode(handler.headers["Authorization"].removeprefix("Basic ")).decode().partition(":")
    return (200, {"data": {"viewer": {"username": "ann"} if (user, key) == ("api", WANDB) else None}}, {})


@pytest.fixture
def colab(tmp_path, monkeypatch, ctx):
    """The package of Colab as its documentation describes it, as a folder on sys.path."""
    folder = tmp_path / "colab" / "google" / "colab"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "userdata.py").write_text(USERDATA)
    (folder / "drive.py").write_text(DRIVE)
    monkeypatch.syspath_prepend(str(tmp_path / "colab"))
    for name in [name for name in sys.modules if name == "google" or name.startswith("google.colab")]:
        monkeypatch.delitem(sys.modules, name)
    ctx.env["COLAB_RELEASE_TAG"] = "release-colab"
    monkeypatch.setenv("FAKE_DRIVE", str(tmp_path / "mounted"))
    yield lambda **table: monkeypatch.setenv("FAKE_USERDATA", json.dumps(table))
    for name in [name for name in sys.modules if name == "google" or name.startswith("google.colab")]:
        del sys.modules[name]


@pytest.fixture
def demo_key(idle_kaggle):
    return idle_kaggle.world.accounts.users["demo"]["key"]


@pytest.fixture
def demo_token(idle_kaggle):
    accounts = idle_kaggle.world.accounts
    return accounts.access_token(accounts.users["demo"]["refresh_tokens"][0])[0]


@pytest.fixture
def configs(tmp_path, demo_key):
    """An uploaded configs/ with keys that work."""
    folder = tmp_path / "uploaded"
    folder.mkdir()
    (folder / "kaggle.json").write_text(json.dumps({"_readme": ["x"], "username": "demo", "key": demo_key}))
    example = (ROOT / "configs" / "wandb.example.md").read_text()
    (folder / "wandb.md").write_text(example.replace("YOUR-KEY", WANDB).replace("YOUR-TEAM", "team"))
    for path in folder.iterdir():
        path.chmod(0o600)
    return folder


def rows(done):
    return {row["what"]: row for row in done.document["rows"]}


def mode(path):
    return f"{path.stat().st_mode & 0o777:04o}"


def left_behind(ctx, done, *values):
    """Return the values that a stream or a file of kagg shows."""
    kept = [path for path in ctx.home.rglob("*") if path.is_file()]
    everything = done.out + done.err + "".join(path.read_bytes().decode("latin-1") for path in kept)
    return [value for value in (*values, "hush-hush") if value in everything]


# --- from everywhere to the clients' places ---------------------------------------------------------------------------


def test_uploaded_configs_reach_the_files_of_the_clients(ctx, configs, home, demo_key):
    done = kagg(ctx, "--json", "colab-setup", "--from", configs)
    assert done.code == 0, done.err
    found = rows(done)
    pair, wandb = home / ".kaggle" / "kaggle.json", home / ".netrc"
    assert json.loads(pair.read_text()) == {"username": "demo", "key": demo_key}
    assert (mode(pair), mode(pair.parent), mode(wandb)) == ("0600", "0700", "0600")
    assert netrc.netrc(str(wandb)).authenticators("127.0.0.1") == ("user", "", WANDB)
    assert (
        found["kaggle key"] | {"state": "written", "works": "yes", "mode": "0600", "note": "of demo"}
        == found["kaggle key"]
    )
    assert (found["wandb key"]["works"], found["wandb key"]["note"]) == ("yes", "of ann")
    assert (ctx.env["KAGGLE_KEY"], ctx.env["WANDB_API_KEY"], ctx.env["WANDB_ENTITY"]) == (demo_key, WANDB, "team")
    assert "WANDB_PROJECT" not in ctx.env
    assert left_behind(ctx, done, demo_key, WANDB) == []
    again = kagg(ctx, "colab-setup", "--from", configs)
    assert (again.code, [path.name for path in pair.parent.iterdir()]) == (0, ["kaggle.json"])


def test_userdata_of_colab_is_used_before_the_environment(ctx, colab, home, demo_token):
    colab(KAGGLE_API_TOKEN=demo_token, WANDB_API_KEY="raise NotebookAccessError")
    ctx.env["KAGGLE_API_TOKEN"], ctx.env["WANDB_API_KEY"] = KGAT, WANDB
    done = kagg(ctx, "--json", "colab-setup")
    assert (done.code, done.document["place"]) == (0, "colab")
    found = rows(done)
    assert (home / ".kaggle" / "access_token").read_text() == demo_token + "\n"
    assert mode(home / ".kaggle" / "access_token") == "0600"
    assert (found["kaggle token"]["found"], found["kaggle token"]["works"]) == ("Colab userdata", "yes")
    assert found["wandb key"]["found"] == "environment"
    assert "no access to WANDB_API_KEY" in done.err
    assert ctx.env["KAGGLE_API_TOKEN"] == demo_token
    assert left_behind(ctx, done, KGAT, WANDB, demo_token) == []


def test_a_key_that_the_server_refuses_does_not_hide_one_that_works(ctx, configs, colab, home, demo_key):
    colab(KAGGLE_USERNAME="demo", KAGGLE_KEY=OTHER, WANDB_API_KEY=OTHER)
    (configs.parent / "configs").symlink_to(configs)
    ctx.env["KAGG_CONFIGS"] = str(configs)
    done = kagg(ctx, "--json", "colab-setup")
    assert done.code == 0
    states = [(row["what"], row["found"], row["state"], row["works"]) for row in done.document["rows"]]
    refused = [("kaggle key", "Colab userdata", "refused", "no"), ("wandb key", "Colab userdata", "refused", "no")]
    assert [state for state in states if state[2] == "refused"] == refused
    assert json.loads((home / ".kaggle" / "kaggle.json").read_text())["key"] == demo_key
    assert left_behind(ctx, done, OTHER, demo_key, WANDB) == []


def test_nothing_found_is_exit_10_with_the_next_step(ctx, home):
    done = kagg(ctx, "colab-setup")
    assert (done.code, list(home.glob(".kaggle")), list(home.glob(".netrc"))) == (10, [], [])
    assert "place: computer" in done.out
    assert done.err.splitlines()[-1].startswith("kagg: error: no key was found that can be used; set KAGGLE_API_TOKEN")


def test_only_what_is_asked_for_is_set_up(ctx, configs, home):
    done = kagg(ctx, "--json", "colab-setup", "--from", configs, "--only", "wandb")
    assert (done.code, set(rows(done)), (home / ".kaggle").exists()) == (0, {"wandb key"}, False)


@pytest.mark.parametrize("server", ["kaggle", "nobody"])
def test_a_server_that_does_not_answer_is_no_refusal(ctx, configs, home, server):
    ctx.env |= {"KAGG_KAGGLE_URL": "http://127.0.0.1:1", "WANDB_BASE_URL": "http://127.0.0.1:1"}
    options = ["--offline"] if server == "nobody" else []
    done = kagg(ctx, "--json", "colab-setup", "--from", configs, *options)
    assert done.code == 0
    assert {row["works"] for row in done.document["rows"]} == {"unknown"}
    assert (home / ".kaggle" / "kaggle.json").exists()


def test_the_official_client_and_kagg_find_the_key(ctx, configs, home, demo_key):
    assert kagg(ctx, "colab-setup", "--from", configs, "--only", "kaggle").code == 0
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"):
        del ctx.env[name]
    ctx.cache.clear()
    assert kagg(ctx, "list", "--mine").code == 0
    script = "from kagglehub.config import get_kaggle_credentials as get; f = get(); print(f.username, f.key)"
    env = {"HOME": str(home), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["demo", demo_key]


def test_kaggle_config_dir_is_honoured_and_env_lines_hold_no_value(ctx, configs, home, demo_key):
    ctx.env["KAGGLE_CONFIG_DIR"] = str(home / "my keys")
    done = kagg(ctx, "colab-setup", "--from", configs, "--print-env")
    assert (done.code, done.out) == (0, f"export KAGGLE_CONFIG_DIR='{home}/my keys'\n")
    assert json.loads((home / "my keys" / "kaggle.json").read_text())["key"] == demo_key
    assert not (home / ".kaggle").exists()


# --- what is there already --------------------------------------------------------------------------------------------


def test_another_key_stays_unless_force_is_given_and_a_copy_is_kept(ctx, configs, home, demo_key):
    pair, wandb = home / ".kaggle" / "kaggle.json", home / ".netrc"
    pair.parent.mkdir(mode=0o755)
    pair.write_text(json.dumps({"username": "me", "key": OTHER}))
    lines = ["machine example.com", "  login a", "  password b", f"machine 127.0.0.1 login user password {OTHER}"]
    wandb.write_text("\n".join([*lines, "default login x password y", ""]))
    before = pair.read_text(), wandb.read_text()
    done = kagg(ctx, "--json", "colab-setup", "--from", configs)
    assert (done.code, {row["state"] for row in done.document["rows"]}) == (10, {"kept"})
    assert (pair.read_text(), wandb.read_text()) == before
    assert "KAGGLE_KEY" not in ctx.env
    done = kagg(ctx, "--json", "colab-setup", "--from", configs, "--force")
    assert (done.code, {row["state"] for row in done.document["rows"]}) == (0, {"replaced"})
    assert json.loads(pair.read_text())["key"] == demo_key
    copies = [pair.with_name("kaggle.json.bak1"), wandb.with_name(".netrc.bak1")]
    assert tuple(copy.read_text() for copy in copies) == before
    assert {mode(path) for path in (pair, wandb, *copies)} == {"0600"}
    known = netrc.netrc(str(wandb))
    assert known.authenticators("127.0.0.1") == ("user", "", WANDB)
    assert known.authenticators("example.com") == ("a", "", "b")
    assert known.authenticators("elsewhere") == ("x", "", "y")
    assert left_behind(ctx, done, OTHER, demo_key, WANDB) == []


def test_wide_modes_are_closed_and_said(ctx, configs, home, demo_key):
    pair = home / ".kaggle" / "kaggle.json"
    pair.parent.mkdir(mode=0o755)
    pair.write_text(json.dumps({"key": demo_key, "username": "demo"}))
    pair.chmod(0o644)
    done = kagg(ctx, "--json", "colab-setup", "--from", configs, "--only", "kaggle")
    row = rows(done)["kaggle key"]
    assert (done.code, row["state"], mode(pair), mode(pair.parent)) == (0, "same", "0600", "0700")
    assert "its mode was 0644" in row["note"]


@pytest.mark.parametrize("which", ["file", "folder"])
def test_a_link_is_not_written_through(ctx, configs, home, tmp_path, which):
    target = tmp_path / "elsewhere"
    if which == "folder":
        target.mkdir()
        (home / ".kaggle").symlink_to(target)
    else:
        (home / ".kaggle").mkdir()
        (home / ".kaggle" / "kaggle.json").symlink_to(target)
    done = kagg(ctx, "--json", "colab-setup", "--from", configs, "--only", "kaggle", "--force")
    assert (done.code, rows(done)["kaggle key"]["state"]) == (10, "problem")
    assert "is a link" in rows(done)["kaggle key"]["note"]
    assert not target.is_file()
    assert list(target.glob("*")) == []


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("kaggle.json", '{"username": "demo", "key": "two words"}'),
        ("kaggle.json", '{"username": "../x", "key": "0123456789abcdef"}'),
        ("kaggle.json", '{"username": "YOUR-USERNAME", "key": "YOUR-KEY"}'),
        ("kaggle.json", '{"username": ["a"], "key": {"b": 1}}'),
        ("kaggle.json", "[1, 2]"),
        ("kaggle.json", "not json"),
        ("kaggle.json", "[" * 100_000),
        ("kaggle.json", "\udcff"),
        ("wandb.md", "api_key: YOUR-KEY"),
        ("wandb.md", "api_key: a\x1b[31mb-0123456789"),
        ("wandb.md", "nothing here"),
        ("access_token", "line one\nline two"),
    ],
)
def test_what_is_no_key_is_not_copied(ctx, tmp_path, home, name, content):
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    (folder / name).chmod(0o600)
    done = kagg(ctx, "colab-setup", "--from", folder)
    assert done.code == 10
    assert [path.name for path in home.iterdir() if path.name != ".kagg"] == []
    assert "Traceback" not in done.err
    assert "\x1b" not in done.out + done.err


@pytest.mark.parametrize(
    ("broken", "content", "found"),
    [
        ("kaggle.json", b"{broken", {"kaggle token", "wandb key"}),
        ("kaggle.json", b"\xff\xfe", {"kaggle token", "wandb key"}),
        ("access_token", b"\xff\xfe", {"kaggle key", "wandb key"}),
        ("wandb.md", b"\xff\xfe", {"kaggle key", "kaggle token"}),
        ("wandb.md", None, {"kaggle key", "kaggle token"}),
    ],
)
def test_a_file_that_cannot_be_read_hides_no_other(ctx, configs, home, broken, content, found):
    (configs / "access_token").write_text(KGAT)
    (configs / broken).unlink(missing_ok=True)
    if content is None:
        (configs / broken).mkdir()
    else:
        (configs / broken).write_bytes(content)
    for path in configs.iterdir():
        path.chmod(0o700)
    done = kagg(ctx, "--json", "colab-setup", "--from", configs, "--offline")
    assert done.code == 0, done.err
    assert {what for what, row in rows(done).items() if row["state"] == "written"} == found
    assert len([note for note in done.document["notes"] if broken in note]) == 1


def test_a_token_file_that_cannot_be_read_hides_no_other_variable(ctx, tmp_path, home):
    (tmp_path / "token").write_bytes(b"\xff\xfe")
    (tmp_path / "token").chmod(0o600)
    ctx.env |= {"KAGGLE_API_TOKEN": str(tmp_path / "token"), "WANDB_API_KEY": WANDB}
    done = kagg(ctx, "--json", "colab-setup", "--offline")
    assert (done.code, rows(done)["wandb key"]["state"]) == (0, "written")
    assert [note for note in done.document["notes"] if "environment: cannot read" in note]


@pytest.mark.parametrize("options", [["--only", "x"], ["--only", ""], ["--from", "absent"], ["--from", "/dev/null"]])
def test_a_wrong_option_is_one_line(ctx, options):
    done = kagg(ctx, "colab-setup", *options)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)


def test_a_client_that_fails_is_said_by_its_kind_only(ctx, colab):
    colab(KAGGLE_API_TOKEN="raise TimeoutException")
    done = kagg(ctx, "colab-setup")
    assert done.code == 10
    assert "Colab userdata does not answer (TimeoutException)" in done.err
    assert left_behind(ctx, done) == []


# --- drive and notebooks ----------------------------------------------------------------------------------------------


def test_drive_is_mounted_in_colab_when_asked(ctx, colab, configs, tmp_path, monkeypatch):
    done = kagg(ctx, "--json", "colab-setup", "--from", configs, "--drive")
    assert (done.code, rows(done)["drive"]["put"]) == (0, "/content/drive/MyDrive")
    assert (tmp_path / "mounted").read_text() == "/content/drive"
    monkeypatch.setenv("FAKE_DRIVE", "refused")
    done = kagg(ctx, "--json", "colab-setup", "--from", configs, "--drive")
    assert (rows(done)["drive"]["state"], rows(done)["drive"]["note"]) == ("problem", "not mounted (ValueError)")
    assert left_behind(ctx, done) == []


def test_elsewhere_there_is_no_drive_and_the_keys_are_set_up_all_the_same(ctx, configs):
    done = kagg(ctx, "--json", "colab-setup", "--from", configs, "--drive")
    assert (done.code, rows(done)["drive"]["state"]) == (0, "absent")


def test_in_a_notebook_the_environment_stays_after_the_magic(ctx, configs, tmp_path):
    magic = f"%run {ROOT / 'kagg.py'} colab-setup --offline --from {configs}"
    after = "import os; print('seen', os.environ['KAGGLE_USERNAME'], len(os.environ['WANDB_API_KEY']))"
    code = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    cells = [{**code, "id": f"c{number}", "source": text} for number, text in enumerate([magic, magic, after])]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "x.ipynb").write_text(json.dumps(notebook))
    done = kagg(ctx, "run", tmp_path / "x.ipynb", "--dest", tmp_path / "dest")
    assert done.code == 0, done.err
    assert f"seen demo {len(WANDB)}" in done.err
    assert left_behind(ctx, done, WANDB) == []
