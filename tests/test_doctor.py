"""doctor: what it finds, what it calls a problem, and that it prints no secret and changes nothing."""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import socket
import time
from pathlib import Path

import pytest

from kagg import Context, Exit, main
from plugins.lib.doctor_machine import _is_installed
from plugins.lib.kaggle.server import LocalKaggle

ROOT = Path(__file__).resolve().parent.parent
KEY = "0123456789abcdef0123456789abcdef"


def close(ctx):
    """Close the connections that a program keeps until it ends."""
    for kept in [value for value in ctx.cache.values() if isinstance(value, list)]:
        for connection in kept:
            if hasattr(connection, "close"):
                connection.close()


@pytest.fixture
def doctor(tmp_path, monkeypatch):
    """Run doctor in an empty folder with a home of its own; return (exit code, text or checks, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*argv, as_json=True, root=ROOT, **env):
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        home = {"HOME": str(tmp_path / "user"), "KAGG_HOME": str(tmp_path / "home"), "KAGG_ENDPOINTS": "endpoints.json"}
        ctx = Context(kept | home | env, stdout=io.StringIO(), stderr=io.StringIO())
        ctx.root = root
        code = main([*(["--json"] if as_json else []), "doctor", *argv], ctx)
        close(ctx)
        text = ctx.stdout.getvalue()
        return code, json.loads(text)["checks"] if as_json else text, ctx.stderr.getvalue()

    return run


@pytest.fixture
def kaggle(tmp_path):
    with LocalKaggle(tmp_path / "kaggle") as server:
        yield server


def named(checks, name):
    return [check for check in checks if check["name"] == name]


def problems(checks):
    return [check for check in checks if check["state"] == "problem"]


def test_a_machine_with_the_local_kaggle_has_no_problem_and_nothing_is_made(doctor, tmp_path):
    code, checks, said = doctor(KAGG_KAGGLE_URL="local")
    assert (code, problems(checks), said) == (Exit.DONE, [], "")
    assert {check["name"] for check in checks} >= {"python", "kagg", "home", "packages", "plugins", "ledger", "kaggle"}
    assert list(tmp_path.iterdir()) == []


def test_every_check_has_the_four_documented_fields(doctor):
    _, checks, _ = doctor("--offline")
    assert {tuple(check) for check in checks} == {("name", "state", "detail", "fix")}
    assert {check["state"] for check in checks} <= {"ok", "note", "problem"}


def test_people_get_aligned_lines_with_the_fix_behind_an_arrow(doctor):
    code, text, _ = doctor("--offline", as_json=False)
    lines = text.splitlines()
    assert code == Exit.FINDINGS
    assert any(line.startswith("problem  credentials   none were found  -> put a token") for line in lines)
    assert len({line.index(line.split(None, 1)[1]) for line in lines}) == 1


def test_credentials_that_work_are_named_and_their_quota_is_shown(doctor, kaggle):
    key = kaggle.world.accounts.add("ada")["key"]
    code, checks, _ = doctor(KAGG_KAGGLE_URL=kaggle.url, KAGGLE_USERNAME="ada", KAGGLE_KEY=key)
    assert code == Exit.DONE
    assert named(checks, "credentials")[0]["detail"] == "KAGGLE_USERNAME and KAGGLE_KEY of ada is accepted and used"
    assert [check["detail"].split(" left")[0] for check in named(checks, "quota")] == [
        "GPU: 30.0 of 30.0 h",
        "TPU: 20.0 of 20.0 h",
    ]


def test_a_refused_token_before_a_key_that_works_is_a_problem_and_neither_is_printed(doctor, kaggle):
    key, token = kaggle.world.accounts.add("ada")["key"], "KGAT_" + "f" * 32
    env = {"KAGG_KAGGLE_URL": kaggle.url, "KAGGLE_API_TOKEN": token, "KAGGLE_USERNAME": "ada", "KAGGLE_KEY": key}
    for options in ([], ["--offline"]):
        code, checks, said = doctor(*options, **env)
        assert key not in json.dumps(checks) + said
        assert token not in json.dumps(checks) + said
        if not options:
            assert code == Exit.FINDINGS
            assert [check["state"] for check in named(checks, "credentials")] == ["problem", "ok"]
            assert "KAGGLE_API_TOKEN is refused" in named(checks, "credentials")[0]["detail"]
        else:
            assert [check["detail"].split(",")[0] for check in named(checks, "credentials")] == [
                "KAGGLE_API_TOKEN",
                "KAGGLE_USERNAME and KAGGLE_KEY of ada",
            ]


def test_the_owner_of_a_token_is_asked_for(doctor, kaggle):
    token = kaggle.world.accounts.add("ada")["tokens"][0]
    code, checks, _ = doctor(KAGG_KAGGLE_URL=kaggle.url, KAGGLE_API_TOKEN=token)
    assert code == Exit.DONE
    assert named(checks, "credentials")[0]["detail"] == "KAGGLE_API_TOKEN of ada is accepted and used"


def test_a_server_that_is_not_there_is_a_problem_and_offline_asks_nobody(doctor):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    code, checks, _ = doctor(KAGG_KAGGLE_URL=url, KAGGLE_USERNAME="ada", KAGGLE_KEY=KEY)
    assert code == Exit.FINDINGS
    assert "does not answer" in problems(checks)[0]["detail"]
    code, checks, _ = doctor("--offline", KAGG_KAGGLE_URL=url, KAGGLE_USERNAME="ada", KAGGLE_KEY=KEY)
    assert (code, problems(checks)) == (Exit.DONE, [])


def test_a_password_in_the_address_is_not_printed(doctor):
    url = "https://user:hunter2secret@127.0.0.1:1"
    _, checks, said = doctor("--offline", KAGG_KAGGLE_URL=url)
    assert "hunter2secret" not in json.dumps(checks) + said


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_a_key_file_that_others_can_read_is_a_problem_with_the_command_that_closes_it(doctor, tmp_path):
    path = tmp_path / "user" / ".kaggle" / "kaggle.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"username": "ada", "key": KEY}))
    path.chmod(0o644)
    code, checks, _ = doctor("--offline", KAGG_KAGGLE_URL="https://127.0.0.1:1")
    assert code == Exit.FINDINGS
    assert [(check["name"], check["fix"]) for check in problems(checks)] == [("secret files", f"chmod 600 '{path}'")]
    path.chmod(0o600)
    code, checks, _ = doctor("--offline", KAGG_KAGGLE_URL="https://127.0.0.1:1")
    assert (code, problems(checks)) == (Exit.DONE, [])


def test_a_home_that_cannot_be_written_is_a_problem(doctor, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere, so no mode would do
    _, checks, _ = doctor(KAGG_KAGGLE_URL="local")
    assert [check["name"] for check in problems(checks)] == ["home"]


def test_a_home_that_is_a_file_is_a_problem(doctor, tmp_path):
    (tmp_path / "home").write_text("")
    code, checks, _ = doctor(KAGG_KAGGLE_URL="local")
    assert code == Exit.FINDINGS
    assert "home" in [check["name"] for check in problems(checks)]


def test_a_damaged_ledger_and_a_damaged_registry_are_problems_side_by_side(doctor, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "ledger.db").write_bytes(b"not a database, but long enough to be read as one" * 40)
    (tmp_path / "endpoints.json").write_text("[")
    code, checks, _ = doctor(KAGG_KAGGLE_URL="local")
    assert code == Exit.FINDINGS
    assert {"ledger", "endpoints"} <= {check["name"] for check in problems(checks)}
    assert named(checks, "kaggle")[0]["state"] == "ok"


def test_an_endpoint_that_is_gone_and_a_target_that_is_unknown_are_said(doctor, tmp_path):
    endpoints = {
        "gone": {"target": "local", "url": "http://127.0.0.1:1/", "details": {}},
        "alien": {"target": "moon", "url": "https://moon.example/", "details": {}},
    }
    (tmp_path / "endpoints.json").write_text(json.dumps({"version": 1, "endpoints": endpoints}))
    _, checks, _ = doctor(KAGG_KAGGLE_URL="local")
    said = {check["detail"].split()[0].rstrip(":"): check for check in named(checks, "endpoints")}
    assert (said["gone"]["state"], said["alien"]["state"]) == ("note", "problem")
    assert said["gone"]["fix"] == "python kagg.py endpoints start gone"


def test_part_files_old_temporary_files_and_a_dead_local_kaggle_are_noted(doctor, tmp_path):
    (tmp_path / ".data.csv.part").write_text("half")
    old = tmp_path / "home" / "temp" / "x.zip"
    old.parent.mkdir(parents=True)
    old.write_text("")
    os.utime(old, (time.time() - 3 * 86400,) * 2)
    dead = tmp_path / "home" / "local-kaggle" / "server.json"
    dead.parent.mkdir()
    dead.write_text(json.dumps({"url": "http://127.0.0.1:1", "pid": 1}))
    dead.chmod(0o600)
    code, checks, _ = doctor(KAGG_KAGGLE_URL="local")
    details = "\n".join(check["detail"] for check in named(checks, "leftovers"))
    assert code == Exit.DONE
    assert [".data.csv.part" in details, str(old) in details, str(dead) in details] == [True, True, True]
    assert old.exists()


def test_a_broken_room_and_a_folder_of_rooms_that_is_not_there_are_problems(doctor, tmp_path):
    room = tmp_path / "rooms" / "prep" / "spoilt.py"
    room.parent.mkdir(parents=True)
    room.write_text('PLUGIN = {"api": 99}\n')
    folders = os.pathsep.join([str(tmp_path / "rooms"), str(tmp_path / "absent")])
    code, checks, _ = doctor(KAGG_KAGGLE_URL="local", KAGG_PLUGINS=folders)
    assert code == Exit.FINDINGS
    assert ["spoilt" in problems(checks)[0]["detail"], "absent" in problems(checks)[1]["detail"]] == [True, True]
    code, checks, _ = doctor(KAGG_KAGGLE_URL="local", KAGG_PLUGINS=str(tmp_path / "rooms"), KAGG_NO_PLUGINS="1")
    assert (code, problems(checks)) == (Exit.DONE, [])


def test_a_missing_package_is_a_problem_with_the_command_that_installs_it(doctor, tmp_path):
    root = tmp_path / "project"
    root.mkdir()
    shutil.copytree(ROOT / "plugins", root / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "requirements.txt").write_text("PyYAML>=6.0  # settings\nno-such-package-of-anybody>=2\n")
    code, checks, _ = doctor(KAGG_KAGGLE_URL="local", root=root)
    assert code == Exit.FINDINGS
    assert problems(checks)[0]["fix"] == "python -m pip install 'no-such-package-of-anybody>=2'"


@pytest.mark.parametrize(
    ("requirement", "found"),
    [("PyYAML>=6.0", True), ("PyYAML>=999", False), ("pyyaml", True), ("PyYAML>=6.0,<999", True), ("nosuch>=1", False)],
)
def test_requirements_are_compared_with_what_is_installed(requirement, found):
    assert _is_installed(requirement) is found


def test_settings_that_are_no_yaml_are_one_problem_and_the_rest_is_still_said(doctor, tmp_path):
    root = tmp_path / "project"
    (root / "configs").mkdir(parents=True)
    shutil.copytree(ROOT / "plugins", root / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "configs" / "project_config.yaml").write_text("a: [")
    code, checks, _ = doctor(KAGG_ENDPOINTS=str(tmp_path / "e.json"), root=root)
    assert code == Exit.FINDINGS
    assert "settings" in [check["name"] for check in problems(checks)]
    assert named(checks, "plugins")


def test_the_arguments_of_doctor_are_only_offline():
    from plugins.cmd import doctor as module

    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    assert vars(parser.parse_args([])) == {"offline": False}
