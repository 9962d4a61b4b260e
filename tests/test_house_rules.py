"""The rules of the house, each shown to hold for the project and shown to be able to fail on a small bad sample."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import house
import pytest

import kagg

README = house.ROOT / "README.md"
HEAVY = {"requests", "urllib3", "sqlalchemy", "nbformat", "nbclient", "kaggle", "kagglesdk", "asyncio", "ssl"}
HEAVY |= {"yaml", "numpy", "pandas", "sklearn", "IPython"}
MODULES_AT_START = 130  # python itself loads about 60 of them; only down


def run_kagg(*argv, cwd, script=house.SPINE, python=(sys.executable,), env=()):
    """Run kagg.py as its users do, with a home of its own and no settings of this machine."""
    clean = {key: os.environ[key] for key in ("PATH", "SYSTEMROOT", "LANG") if key in os.environ}
    clean |= {"HOME": str(cwd), "KAGG_HOME": str(Path(cwd, "home")), "KAGG_ENDPOINTS": str(Path(cwd, "endpoints.json"))}
    command = [*python, str(script), *argv]
    return subprocess.run(
        command,
        cwd=cwd,
        env=clean | dict(env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


# --- imports ---------------------------------------------------------------------------------------------------------


def test_the_spine_imports_no_plugin():
    assert house.import_breaches(house.SPINE.read_text(), "spine", "kagg") == []


@pytest.mark.parametrize("path", house.shared_files(), ids=house.relative)
def test_a_shared_part_imports_no_room(path):
    package = ".".join(path.relative_to(house.ROOT).parts[:-1])
    assert house.import_breaches(path.read_text(), "lib", package) == []


@pytest.mark.parametrize("path", house.room_files(), ids=house.relative)
def test_a_room_imports_no_room(path):
    assert house.import_breaches(path.read_text(), "room", f"plugins.{path.parent.name}") == []


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("from plugins.lib import batch", "spine"),
        ("def f():\n    import plugins.deploy.local", "spine"),
        ("from plugins.deploy import local", "lib"),
        ("from plugins import deploy", "lib"),
        ("from . import sibling", "room"),
        ("from .sibling import part", "room"),
        ("from plugins.prep.clean import apply", "room"),
    ],
)
def test_a_wrong_import_is_found(source, place):
    assert house.import_breaches(source, place, "plugins.deploy")


def test_a_right_import_is_not_reported():
    source = (
        "import json\nfrom kagg import KaggError\nfrom plugins.lib import batch\nfrom plugins.lib.kaggle.api import X"
    )
    assert house.import_breaches(source, "room", "plugins.deploy") == []
    assert house.import_breaches("from . import errors", "lib", "plugins.lib.kaggle") == []


# --- words -----------------------------------------------------------------------------------------------------------


def test_the_spine_names_no_vendor_but_kaggle():
    assert house.vendor_breaches(house.SPINE.read_text()) == []


@pytest.mark.parametrize(
    "line", ["if target == 'aws':", "# Google Cloud", "import boto3", "Cloud Run", "s3://bucket", "Azure"]
)
def test_a_vendor_is_found(line):
    assert house.vendor_breaches(f"x = 1\n{line}\n")


@pytest.mark.parametrize(
    "line",
    ["key=lambda item: item", "https://drive.google.com/file", "a Google Drive link", "gitlab.com", "multimodal"],
)
def test_a_word_that_is_no_vendor_is_not_reported(line):
    assert house.vendor_breaches(line) == []


def test_no_file_names_a_folder_of_the_machine_it_was_written_on():
    found = {}
    for path in house.project_files():
        breaches = house.machine_path_breaches(path.read_bytes().decode("utf-8", "replace"))
        if breaches:
            found[house.relative(path)] = breaches
    assert found == {}


def test_a_machine_path_is_found_and_a_kaggle_path_is_not():
    assert house.machine_path_breaches('open("/ro' + 'ot/x")')
    assert house.machine_path_breaches("cd /wo" + "rk/main")
    assert house.machine_path_breaches("/kaggle/working/x /kaggle/wo" + "rk/x") == []


# --- manifests -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", house.room_files(), ids=house.relative)
def test_a_room_begins_with_a_literal_manifest(path):
    assert house.manifest_breaches(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        '"""X."""',
        '"""X."""\nPLUGIN = dict(api=1)',
        '"""X."""\nPLUGIN = {"api": 2, "summary": "x", "requires": {}}',
        '"""X."""\nPLUGIN = {"api": 1, "summary": "", "requires": {}}',
        '"""X."""\nPLUGIN = {"api": 1, "summary": "x", "requires": ["boto3"]}',
        '"""X."""\nPLUGIN = {"api": 1, "summary": "x", "requires": {"x": "; rm"}}',
        'PLUGIN = {"api": 1, "summary": "x", "requires": {}}',
    ],
)
def test_a_bad_manifest_is_found(source):
    assert house.manifest_breaches(source)


# --- sizes -----------------------------------------------------------------------------------------------------------


def test_the_spine_keeps_to_its_length():
    lines = house.line_count(house.SPINE)
    assert lines <= house.SPINE_LINES


def test_the_spine_has_titled_sections_and_none_is_too_long():
    sizes = house.sections(house.SPINE.read_text())
    assert len(sizes) >= 5
    assert {title: size for title, size in sizes.items() if size > house.SECTION_LINES} == {}


@pytest.mark.parametrize("path", house.shared_files() + house.room_files(), ids=house.relative)
def test_a_room_keeps_to_its_length(path):
    lines = house.line_count(path)
    assert lines <= house.ROOM_LINES


def test_functions_are_short():
    assert house.size_breaches({house.relative(path): path.read_text() for path in house.product_files()}) == []


def sample_function(lines, name="f"):
    return f'def {name}():\n    """Say."""\n    # a comment\n\n' + "    x = 1\n" * (lines - 1)


def test_lines_of_code_leave_out_comments_docstrings_and_blank_lines():
    assert house.function_sizes(sample_function(7)) == {"f:1": 7}


def test_a_function_that_is_too_long_is_found():
    small = "\n".join(sample_function(5, f"g{n}") for n in range(100))
    assert house.size_breaches({"a": small}) == []
    assert len(house.size_breaches({"a": small + sample_function(81)})) == 1
    assert "functions have over" in house.size_breaches({"a": small + sample_function(60, "h") * 3})[0]
    assert "median" in house.size_breaches({"a": sample_function(11)})[0]


def test_sections_are_measured_from_title_to_title():
    rule = "# " + "-" * 40
    assert house.sections(f"a\n{rule}\n# One\n{rule}\nb\n{rule}\n# Two\n{rule}\nc") == {"(top)": 1, "One": 4, "Two": 4}


# --- streams ---------------------------------------------------------------------------------------------------------


def test_only_the_context_and_the_way_out_of_the_spine_touch_the_streams():
    assert house.stream_breaches(house.SPINE.read_text(), allowed=("Context", "main", "script")) == []


@pytest.mark.parametrize("path", house.shared_files() + house.room_files(), ids=house.relative)
def test_a_room_leaves_the_streams_to_the_spine(path):
    if not house.is_program(path):
        assert house.stream_breaches(path.read_text()) == []


def test_a_stray_print_is_found():
    assert house.stream_breaches("import sys\nprint(1)\nsys.stdout.write('x')\nsys.stderr.flush()") != []
    assert (
        house.stream_breaches(
            "import sys\nclass Context:\n    def f(self):\n        sys.stdout.write('x')", ("Context",)
        )
        == []
    )


# --- start-up --------------------------------------------------------------------------------------------------------


PROBE = """
import sys
import kagg
try:
    code = kagg.main(sys.argv[1:])
except SystemExit as end:
    code = end.code
import json
sys.stderr.write(json.dumps([code, sorted(sys.modules)]))
"""


def modules_after(*argv, cwd):
    clean = {"PATH": os.environ["PATH"], "HOME": str(cwd), "KAGG_HOME": str(cwd), "PYTHONPATH": str(house.ROOT)}
    probe = subprocess.run(
        [sys.executable, "-c", PROBE, *argv], cwd=cwd, env=clean, capture_output=True, text=True, timeout=60, check=True
    )
    code, modules = json.loads(probe.stderr.splitlines()[-1])
    assert code in (0, None), probe.stderr
    return set(modules)


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_starting_loads_few_modules_and_no_heavy_one(option, tmp_path):
    modules = modules_after(option, cwd=tmp_path)
    assert sorted(modules & HEAVY) == []
    assert len(modules) <= MODULES_AT_START


def test_the_start_up_probe_sees_a_heavy_module(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import asyncio\n")
    env = {"HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join([str(tmp_path), str(house.ROOT)])}
    command = [sys.executable, "-c", PROBE, "--version"]
    probe = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert "asyncio" in json.loads(probe.stderr.splitlines()[-1])[1]


# --- kagg.py alone ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    """The interpreter of an environment in which nothing is installed."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=os.name == "posix")
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@pytest.fixture
def alone(tmp_path, bare_python):
    """Run a copy of kagg.py, alone in an empty folder, in an environment with nothing installed."""
    folder = tmp_path / "alone"
    folder.mkdir()
    script = Path(shutil.copy(house.SPINE, folder))
    return lambda *argv, **more: run_kagg(*argv, cwd=folder, script=script, python=(bare_python,), **more)


@pytest.mark.parametrize(
    "argv", [["--help"], ["--version"], ["list", "--help"], ["pull", "--help"], ["call", "--help"], ["list", "plugins"]]
)
def test_kagg_alone_with_nothing_installed_still_starts(alone, argv):
    result = alone(*argv)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout


def test_kagg_alone_says_in_one_line_that_a_room_is_missing(alone, tmp_path):
    jobs = tmp_path / "jobs.txt"
    jobs.write_text("owner/slug\n")
    result = alone("batch", str(jobs))
    assert (result.returncode, result.stdout) == (11, "")
    assert re.fullmatch(r"kagg: error: .*batch.*\n", result.stderr)


def test_a_missing_package_is_one_line_with_the_command_that_installs_it(alone, tmp_path):
    plugins = tmp_path / "rooms" / "cmd"
    plugins.mkdir(parents=True)
    manifest = {"api": 1, "summary": "needs what nobody has", "requires": {"absent_package": "absent-package>=2"}}
    (plugins / "wanting.py").write_text(f"PLUGIN = {manifest!r}\n")
    result = alone("wanting", env={"KAGG_PLUGINS": str(plugins.parent)}.items())
    assert (result.returncode, result.stdout) == (11, "")
    assert re.fullmatch(r"kagg: error: .*run: python -m pip install 'absent-package>=2'\n", result.stderr)


# --- documentation ---------------------------------------------------------------------------------------------------


def commands_in_code():
    """Every command: those that the help of kagg.py shows, and each room of kind cmd."""
    rooms = {path.stem.replace("_", "-") for path in house.room_files() if path.parent.name == "cmd"}
    return set(kagg.COMMANDS) | rooms


def variables_in_code():
    files = [
        *house.product_files(),
        *sorted((house.ROOT / "tools").glob("*.py")),
        house.ROOT / "Makefile",
        house.ROOT / ".ci" / "run",
    ]
    return set().union(*(house.environment_variables(path.read_text()) for path in files))


def test_every_command_exit_code_and_variable_is_in_the_readme():
    commands, codes = commands_in_code(), {int(code) for code in kagg.Exit}
    assert len(commands) >= 10
    assert house.undocumented(README.read_text(), commands=commands, codes=codes, variables=variables_in_code()) == []


def test_what_is_not_documented_is_found():
    readme = (
        "`pull REF` and\n\n    kagg.py --kaggle-url local batch jobs.csv\n\n| 0 | done |\n\nKAGG_HOME is a folder\n"
    )
    known = {"commands": {"pull", "batch"}, "codes": {0}, "variables": {"KAGG_HOME"}}
    assert house.undocumented(readme, **known) == []
    more = {"commands": {"pull", "push"}, "codes": {0, 12}, "variables": {"KAGG_HOME", "KAGG_X"}}
    assert house.undocumented(readme, **more) == ["command push", "exit code 12", "variable KAGG_X"]


# --- --json ----------------------------------------------------------------------------------------------------------


HARMLESS = [
    "list plugins", "list endpoints", "list runs", "plugins", "endpoints list", "endpoints show absent", "doctor",
    "call absent --data {}", "monitor absent --duration 100ms", "run absent.ipynb", "preprocess absent.ipynb",
    "push absent", "pull not-a-ref", "batch absent.csv", "deploy absent.ipynb --local", "train absent.csv",
    "git status", "status not-a-ref", "logs not-a-ref", "output not-a-ref", "local-kaggle --port 99999999",
    "attach absent", "ps", "stop absent", "reap", "info", "runs", "notebook generate --out .", "colab-setup",
]  # fmt: skip


@pytest.mark.parametrize("line", HARMLESS)
def test_under_json_stdout_is_empty_or_json_and_a_failure_is_an_object_on_stderr(line, tmp_path):
    result = run_kagg("--json", *line.split(), cwd=tmp_path)
    for text in result.stdout.splitlines():
        json.loads(text)
    assert "Traceback" not in result.stderr
    if result.returncode not in (kagg.Exit.DONE, kagg.Exit.FINDINGS) and not result.stdout:
        failure = json.loads(result.stderr.splitlines()[-1])
        assert failure["error"]
        assert failure["code"] == result.returncode


def test_every_command_is_tried_under_json():
    assert sorted(commands_in_code() - {line.split()[0] for line in HARMLESS}) == []
