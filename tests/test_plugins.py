"""Rooms of third parties: found without being run, refused when they clash, shown as broken when they are."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kagg import KINDS, Context, Exit, find_rooms, main
from plugins.lib import entry_points

ROOT = Path(__file__).resolve().parent.parent
GREET = """
PLUGIN = {"api": 1, "summary": "greet somebody", "requires": {}}

def add_arguments(parser):
    parser.add_argument("who")

def run(args, ctx):
    ctx.emit({"hello": args.who}, "hello " + args.who)
    return 0
"""
SHOUT = """
PLUGIN = {"api": 1, "summary": "upper-case the code", "requires": {}}

def apply(notebook, ctx):
    cells = [dict(cell, source="".join(cell["source"]).upper()) for cell in notebook["cells"]]
    return dict(notebook, cells=cells), []
"""
SHELF = """
from kagg import Endpoint

PLUGIN = {"api": 1, "summary": "put it on a shelf", "requires": {}}

def add_arguments(group):
    group.add_argument("--shelf-board", type=int, default=1)

def deploy(package, name, args, ctx):
    return Endpoint(name, "shelf", "https://shelf.example/" + name, details={"board": args.shelf_board})

def status(endpoint, ctx):
    return "running"

def remove(endpoint, ctx):
    return None
"""


class Outcome:
    """How a command ended."""

    def __init__(self, code, stdout, stderr):
        self.code, self.stdout, self.stderr = code, stdout, stderr


@pytest.fixture(autouse=True)
def _forget_plugins():
    """Third-party modules are cached for the life of a process; each test is a process of its own."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("kagg_plugin_"):
            del sys.modules[name]


@pytest.fixture
def rooms(tmp_path):
    """Write rooms into a folder for KAGG_PLUGINS."""

    def write(folder="mine", **files):
        for name, text in files.items():
            kind, _, stem = name.partition("__")
            path = tmp_path / folder / kind / f"{stem}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return str(tmp_path / folder)

    return write


@pytest.fixture
def kagg_with(tmp_path):
    """Run a command with the folders of KAGG_PLUGINS."""

    def run(folders, *argv, **env):
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        own = {"HOME": str(tmp_path), "KAGG_HOME": str(tmp_path / "home"), "KAGG_ENDPOINTS": str(tmp_path / "e.json")}
        ctx = Context(kept | own | {"KAGG_PLUGINS": folders} | env, stdout=io.StringIO(), stderr=io.StringIO())
        code = main(list(argv), ctx)
        return Outcome(code, ctx.stdout.getvalue(), ctx.stderr.getvalue())

    return run


def listed(outcome):
    return {(row["kind"], row["name"], row["path"]): row for row in json.loads(outcome.stdout)}


def shown(outcome, kind, name):
    return [row for (a, b, _), row in listed(outcome).items() if (a, b) == (kind, name)]


def help_of(capsys, ctx_run):
    """Return the help text; argparse prints that of a command itself and leaves."""
    code, text = 0, ""
    try:
        outcome = ctx_run()
        code, text = outcome.code, outcome.stdout
    except SystemExit as end:
        code = end.code
    text += capsys.readouterr().out
    assert code == 0, outcome.stderr
    return text


# --- folders of KAGG_PLUGINS -----------------------------------------------------------------------------------------


def test_a_command_of_a_third_party_is_in_the_help_and_runs(rooms, kagg_with, capsys):
    folder = rooms(cmd__greet=GREET)
    assert "greet somebody" in help_of(capsys, lambda: kagg_with(folder, "--help")).lower()
    outcome = kagg_with(folder, "greet", "Ada")
    assert (outcome.code, outcome.stdout, outcome.stderr) == (0, "hello Ada\n", "")
    assert json.loads(kagg_with(folder, "--json", "greet", "Ada").stdout) == {"hello": "Ada"}


def test_a_command_with_an_underscore_in_its_file_has_a_hyphen_in_its_name(rooms, kagg_with):
    assert kagg_with(rooms(cmd__say_hello=GREET), "say-hello", "Ada").stdout == "hello Ada\n"


def test_a_notebook_step_of_a_third_party_is_found_and_applied(rooms, kagg_with):
    folder = rooms(prep__shout=SHOUT)
    row = shown(kagg_with(folder, "--json", "plugins", "--kind", "prep"), "prep", "shout")[0]
    assert (row["summary"], row["origin"], row["broken"]) == ("upper-case the code", folder, "")
    ctx = Context({"KAGG_PLUGINS": folder, "HOME": folder}, stdout=io.StringIO(), stderr=io.StringIO())
    from kagg import room

    notebook, findings = room(ctx, "prep", "shout").apply({"cells": [{"cell_type": "code", "source": ["a = 1"]}]}, ctx)
    assert (notebook["cells"][0]["source"], findings) == ("A = 1", [])


def test_a_deploy_target_of_a_third_party_gets_its_flag_and_its_options(rooms, kagg_with, tmp_path, capsys):
    folder, script = rooms(deploy__shelf=SHELF), tmp_path / "app.py"
    script.write_text("def predict(payload):\n    return payload\n")
    assert "put it on a shelf" in help_of(capsys, lambda: kagg_with(folder, "deploy", "--help"))
    assert "--shelf-board" in help_of(capsys, lambda: kagg_with(folder, "deploy", "--shelf", "--help"))
    outcome = kagg_with(folder, "--json", "deploy", str(script), "--shelf", "--shelf-board", "3", "--name", "a")
    assert outcome.code == 0, outcome.stderr
    assert json.loads(outcome.stdout)["url"] == "https://shelf.example/a"
    assert json.loads(kagg_with(folder, "--json", "endpoints").stdout)[0]["details"] == {"board": 3}
    assert kagg_with(folder, "endpoints", "remove", "a").code == 0


def test_a_room_whose_name_starts_with_an_underscore_is_a_part_and_no_room(rooms, kagg_with):
    folder = rooms(prep__shout=SHOUT, prep___parts="X = 1\n")
    names = {name for _, name, _ in listed(kagg_with(folder, "--json", "plugins", "--kind", "prep"))}
    assert "shout" in names
    assert "_parts" not in names


def test_the_plugins_command_and_list_plugins_say_the_same(rooms, kagg_with):
    folder = rooms(cmd__greet=GREET, prep__shout=SHOUT)
    assert listed(kagg_with(folder, "--json", "plugins")) == listed(kagg_with(folder, "--json", "list", "plugins"))


def test_people_see_whole_paths_and_reasons(rooms, kagg_with):
    folder = rooms("long" * 30, prep__clean=SHOUT, prep__shout=SHOUT)
    text = kagg_with(folder, "plugins").stdout
    assert str(Path(folder, "prep", "shout.py")) in text
    assert re.search(r"broken: .*2 owners: \S+prep/clean.py, \S+prep/clean.py", text)


def test_no_plugins_leaves_third_parties_out(rooms, kagg_with):
    folder = rooms(cmd__greet=GREET)
    assert kagg_with(folder, "greet", "Ada", KAGG_NO_PLUGINS="1").code == Exit.USAGE
    rows = listed(kagg_with(folder, "--json", "plugins", KAGG_NO_PLUGINS="1")).values()
    assert {row["origin"] for row in rows} == {"built-in"}
    assert kagg_with(folder, "greet", "Ada", KAGG_NO_PLUGINS="0").code == 0


def test_nothing_of_a_third_party_runs_until_it_is_named(rooms, kagg_with, tmp_path, capsys):
    mark = tmp_path / "ran"
    folder = rooms(cmd__greet=f"open({str(mark)!r}, 'w').close()\n" + GREET)
    help_of(capsys, lambda: kagg_with(folder, "--help"))
    assert [kagg_with(folder, "plugins").code, kagg_with(folder, "list", "plugins").code] == [0, 0]
    assert not mark.exists()
    assert kagg_with(folder, "greet", "Ada").code == 0
    assert mark.exists()


# --- broken rooms ----------------------------------------------------------------------------------------------------


BROKEN = {
    "syntax": (GREET + "\ndef broken(:\n", "SyntaxError"),
    "raises": (GREET + "\nraise RuntimeError('out of tea')\n", "RuntimeError: out of tea"),
    "future": (GREET.replace('"api": 1', '"api": 99'), "api 99"),
    "no_manifest": (GREET.replace("PLUGIN", "OTHER"), "api None"),
    "computed": (GREET.replace('"api": 1', '"api": int("1")'), "cannot be read"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_room_is_one_line_and_exit_11_and_hurts_nobody_else(name, rooms, kagg_with, capsys):
    text, reason = BROKEN[name]
    folder = rooms(**{f"cmd__{name}": text, "cmd__greet": GREET})
    outcome = kagg_with(folder, name.replace("_", "-"), "Ada")
    assert (outcome.code, outcome.stdout) == (Exit.MISSING, "")
    assert re.fullmatch(rf"kagg: error: .*{name}.* is broken: .*{re.escape(reason)}.*\n", outcome.stderr)
    assert kagg_with(folder, "greet", "Ada").stdout == "hello Ada\n"
    assert name.replace("_", "-") in help_of(capsys, lambda: kagg_with(folder, "--help"))


def test_a_room_that_is_no_text_is_shown_as_broken(rooms, kagg_with):
    folder = rooms(prep__shout=SHOUT)
    Path(folder, "prep", "bytes.py").write_bytes(b"\xff\xfe\x00PLUGIN")
    row = shown(kagg_with(folder, "--json", "plugins"), "prep", "bytes")[0]
    assert "cannot be read" in row["broken"]


def test_a_room_that_leaves_the_program_when_it_is_imported_is_broken_too(rooms, kagg_with):
    outcome = kagg_with(rooms(cmd__quits=GREET + "\nimport sys\nsys.exit(0)\n"), "quits", "Ada")
    assert outcome.code == Exit.MISSING
    assert "SystemExit" in outcome.stderr


def test_a_missing_package_is_one_line_with_the_command_that_installs_it(rooms, kagg_with):
    text = GREET.replace('"requires": {}', '"requires": {"no_such_package": "no-such-package>=2"}')
    outcome = kagg_with(rooms(cmd__needy=text), "needy", "Ada")
    assert outcome.code == Exit.MISSING
    assert outcome.stderr == (
        "kagg: error: cmd needy needs no-such-package>=2; run: python -m pip install 'no-such-package>=2'\n"
    )


# --- two owners ------------------------------------------------------------------------------------------------------


def test_a_built_in_room_cannot_be_replaced(rooms, kagg_with, tmp_path):
    mark = tmp_path / "ran"
    folder = rooms(prep__outputs=f"open({str(mark)!r}, 'w').close()\n" + SHOUT)
    notebook = tmp_path / "n.ipynb"
    cell = {"cell_type": "code", "source": ["a = 1"], "metadata": {}, "outputs": [], "execution_count": 1, "id": "a"}
    notebook.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}))
    outcome = kagg_with(folder, "preprocess", str(notebook), "--strip-outputs")
    assert outcome.code == 0, outcome.stderr
    assert "a = 1" in notebook.read_text()
    assert not mark.exists()
    rows = shown(kagg_with(folder, "--json", "plugins"), "prep", "outputs")
    assert [row["origin"] for row in rows] == ["built-in", folder]
    assert rows[0]["broken"] == ""
    assert str(ROOT / "plugins" / "prep" / "outputs.py") in rows[1]["broken"]
    assert rows[1]["path"] in rows[1]["broken"]


@pytest.mark.parametrize("name", ["doctor", "list", "local_kaggle"])
def test_a_built_in_command_cannot_be_replaced(name, rooms, kagg_with, capsys):
    folder = rooms(**{f"cmd__{name}": GREET})
    assert help_of(capsys, lambda: kagg_with(folder, "--help")) == help_of(capsys, lambda: kagg_with("", "--help"))
    assert "greet" not in help_of(capsys, lambda: kagg_with(folder, name.replace("_", "-"), "--help"))


def test_a_built_in_deploy_target_cannot_be_replaced(rooms, kagg_with, capsys):
    folder = rooms(deploy__local=SHELF)
    assert "--local " in help_of(capsys, lambda: kagg_with(folder, "deploy", "--help"))
    assert "--local-port" in help_of(capsys, lambda: kagg_with(folder, "deploy", "--local", "--help"))


def test_two_owners_of_one_name_are_an_error_that_prints_both_paths(rooms, kagg_with, capsys):
    folders = os.pathsep.join([rooms("a", cmd__greet=GREET), rooms("b", cmd__greet=GREET)])
    outcome = kagg_with(folders, "greet", "Ada")
    assert (outcome.code, outcome.stdout) == (Exit.MISSING, "")
    assert re.search(r"2 owners: \S+a/cmd/greet.py, \S+b/cmd/greet.py", outcome.stderr)
    assert help_of(capsys, lambda: kagg_with(folders, "--help")).count("greet") >= 1
    assert kagg_with(folders, "plugins").code == 0


# --- entry points ----------------------------------------------------------------------------------------------------


def install(site: Path, entries: str, files: dict[str, str], name: str = "kagg-tea") -> None:
    """Write what pip would leave of a small package."""
    folder = site / f"{name.replace('-', '_')}-1.2.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (folder / "entry_points.txt").write_text("[kagg.plugins]\n" + entries)
    for file, text in files.items():
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).write_text(text)


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_a_room_of_an_installed_package_is_found_without_running_its_parents(site, kagg_with):
    files = {
        "tea/__init__.py": "raise RuntimeError('nobody asked for this')\n",
        "tea/rooms/__init__.py": "",
        "tea/rooms/pour.py": GREET,
    }
    install(site, "cmd:pour = tea.rooms.pour\n", files)
    row = shown(kagg_with("", "--json", "plugins"), "cmd", "pour")[0]
    assert (row["origin"], row["broken"], row["summary"]) == ("kagg-tea 1.2", "", "greet somebody")
    assert row["path"] == str(site / "tea" / "rooms" / "pour.py")
    assert "tea" not in sys.modules
    assert kagg_with("", "pour", "Ada").stdout == "hello Ada\n"
    assert kagg_with("", "pour", "Ada", KAGG_NO_PLUGINS="1").code == Exit.USAGE


def test_a_step_of_an_installed_package_in_one_module_is_found(site, kagg_with):
    install(site, "prep:loud-voice = loud_voice\n", {"loud_voice.py": SHOUT})
    assert shown(kagg_with("", "--json", "plugins"), "prep", "loud_voice")[0]["broken"] == ""


def test_a_namespace_package_without_init_holds_rooms_too(site, kagg_with):
    install(site, "cmd:pour = spoons.pour\n", {"spoons/pour.py": GREET})
    assert shown(kagg_with("", "--json", "plugins"), "cmd", "pour")[0]["broken"] == ""


@pytest.mark.parametrize("value", ["tea.absent", "no_such_package_at_all.room", "tea.rooms.pour.deeper"])
def test_an_entry_point_whose_module_is_gone_is_shown_as_broken(value, site, kagg_with):
    files = {"tea/__init__.py": "", "tea/rooms/__init__.py": "", "tea/rooms/pour.py": GREET}
    install(site, f"cmd:lost = {value}\ncmd:pour = tea.rooms.pour\n", files)
    row = shown(kagg_with("", "--json", "plugins"), "cmd", "lost")[0]
    assert "is not found" in row["broken"]
    assert kagg_with("", "lost", "Ada").code == Exit.MISSING
    assert kagg_with("", "pour", "Ada").code == 0


def test_an_entry_point_cannot_replace_a_built_in_room(site, kagg_with):
    install(site, "prep:clean = my_clean\n", {"my_clean.py": SHOUT})
    rows = shown(kagg_with("", "--json", "plugins"), "prep", "clean")
    assert [bool(row["broken"]) for row in rows] == [False, True]


def test_a_package_that_lies_on_the_path_twice_is_one_owner(site, kagg_with, monkeypatch):
    install(site, "cmd:pour = pour_room\n", {"pour_room.py": GREET})
    monkeypatch.syspath_prepend(str(site))
    assert len(shown(kagg_with("", "--json", "plugins"), "cmd", "pour")) == 1


def test_an_entry_point_of_no_kind_is_told_by_doctor(site):
    install(site, "cdm:pour = pour_room\nplain = pour_room\n", {"pour_room.py": GREET})
    assert entry_points.strays() == ["cdm:pour (kagg-tea 1.2)", "plain (kagg-tea 1.2)"]
    assert all("pour" not in [room.name for room in entry_points.rooms(kind)] for kind in KINDS)


# --- the real program ------------------------------------------------------------------------------------------------


def test_a_broken_third_party_room_does_not_end_the_real_program(rooms, tmp_path):
    folder = rooms(cmd__raises=BROKEN["raises"][0], cmd__greet=GREET, prep__clean=SHOUT)
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "KAGG_HOME": str(tmp_path / "home"),
        "KAGG_PLUGINS": folder,
    }
    for argv, code, text in (
        (["greet", "Ada"], 0, "hello Ada\n"),
        (["raises", "Ada"], 11, ""),
        (["--version"], 0, "kagg "),
    ):
        command = [sys.executable, str(ROOT / "kagg.py"), *argv]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stderr
        assert done.stdout.startswith(text)
        assert "Traceback" not in done.stderr


def test_every_built_in_room_can_be_read():
    ctx = Context({"HOME": "/"}, stdout=io.StringIO(), stderr=io.StringIO())
    found = [known for kind in KINDS for known in find_rooms(ctx, kind, installed=False)]
    assert [known.broken for known in found if known.broken] == []
    assert {"doctor", "plugins", "local_kaggle"} <= {known.name for known in found if known.kind == "cmd"}
