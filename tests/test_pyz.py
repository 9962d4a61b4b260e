"""kagg.pyz: one file, the same bytes each time, unpacked once and checked at each start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = """
import os, sys
def main():
    import plugins.lib.part
    print(plugins.lib.part.WORD, os.environ["KAGG_ENDPOINTS"], *sys.argv[1:])
    return 5 if "five" in sys.argv else 0

def script():
    raise SystemExit(main())
"""


def build(destination, root=ROOT):
    command = [sys.executable, str(ROOT / "tools" / "pyz.py"), str(destination), "--root", str(root)]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    return destination


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The real kagg.pyz."""
    return build(tmp_path_factory.mktemp("built") / "kagg.pyz")


@pytest.fixture
def small(tmp_path):
    """A kagg.pyz whose kagg.py only says what it was given, so that the unpacking is all that is tested."""
    root = tmp_path / "source"
    (root / "plugins" / "lib").mkdir(parents=True)
    (root / "batch_examples").mkdir()
    (root / "requirements.txt").touch()
    (root / "kagg.py").write_text(PROGRAM)
    (root / "plugins" / "__init__.py").touch()
    (root / "plugins" / "lib" / "__init__.py").touch()
    (root / "plugins" / "lib" / "part.py").write_text("WORD = 'whole'\n")
    shutil.copytree(ROOT / "tools", root / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    return build(tmp_path / "kagg.pyz", root)


def environment(home, **more):
    kept = {key: os.environ[key] for key in ("PATH", "SYSTEMROOT", "LANG") if key in os.environ}
    return {**kept, "HOME": str(home), "KAGG_HOME": str(home / "kagg"), **more}


def start(archive, *argv, home, **more):
    folder = home / "elsewhere"
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(archive), *argv]
    return subprocess.Popen(
        command, cwd=folder, env=environment(home, **more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(archive, *argv, home, **more):
    with start(archive, *argv, home=home, **more) as child:
        out, err = child.communicate(timeout=60)
    return child.returncode, out, err


def unpacked(home):
    """The folder that the archive was unpacked into, which is the only one."""
    found = [path for path in (home / "kagg" / "cache" / "pyz").iterdir() if path.name != "lock"]
    assert len(found) == 1
    assert len(found[0].name) == 64
    return found[0]


def test_the_same_files_give_the_same_bytes_wherever_and_whenever_they_are(archive, tmp_path):
    for part in ("kagg.py", "plugins", "batch_examples", "requirements.txt", "tools"):
        source, copy = ROOT / part, tmp_path / "copy" / part
        copy.parent.mkdir(exist_ok=True)
        if source.is_file():
            shutil.copyfile(source, copy)  # no dates, no modes
        else:
            shutil.copytree(source, copy, copy_function=shutil.copyfile)
    (tmp_path / "copy" / "plugins" / "__pycache__").mkdir(exist_ok=True)
    (tmp_path / "copy" / "plugins" / "__pycache__" / "x.pyc").write_bytes(b"left by a run")
    assert build(tmp_path / "again.pyz", tmp_path / "copy").read_bytes() == archive.read_bytes()


def test_every_room_is_inside_and_nothing_else_but_the_examples(archive):
    names = set(zipfile.ZipFile(archive).namelist())
    rooms = {path.relative_to(ROOT).as_posix() for path in (ROOT / "plugins").rglob("*.py")}
    assert rooms | {"kagg.py", "__main__.py", "MANIFEST"} <= names
    parts = {"kagg.py", "plugins", "batch_examples", "requirements.txt", "__main__.py", "MANIFEST"}
    assert {name.split("/")[0] for name in names} == parts
    assert not [name for name in names if name.endswith(".pyc")]


@pytest.mark.parametrize("argv", [["--version"], ["--help"], ["list", "plugins"]])
def test_a_command_answers_as_kagg_py_does_from_another_folder_with_an_empty_cache(archive, argv, tmp_path):
    code, out, err = run(archive, *argv, home=tmp_path)
    assert (code, err) == (0, "")
    code, beside, _ = run(ROOT / "kagg.py", *argv, home=tmp_path)
    assert (code, beside) == (0, out.replace("kagg.pyz", "kagg.py"))
    assert run(archive, *argv, home=tmp_path) == (0, out, "")


def test_four_at_once_with_an_empty_cache_all_answer_and_leave_one_folder(archive, tmp_path):
    children = [start(archive, "--version", home=tmp_path) for _ in range(4)]
    answers = {(*child.communicate(timeout=60), child.returncode) for child in children}
    assert len(answers) == 1
    assert answers.pop()[1:] == ("", 0)
    unpacked(tmp_path)


def test_exit_code_and_arguments_pass_through(small, tmp_path):
    code, out, err = run(small, "one", "five", home=tmp_path)
    assert (code, out.split()[0], out.split()[2:], err) == (5, "whole", ["one", "five"], "")


def test_endpoints_live_beside_the_archive_unless_said_otherwise(small, tmp_path):
    assert run(small, home=tmp_path)[1].split()[1] == str(small.parent / "endpoints.json")
    chosen = str(tmp_path / "mine.json")
    assert run(small, home=tmp_path, KAGG_ENDPOINTS=chosen)[1].split()[1] == chosen


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "kagg.py").write_text("raise SystemExit('changed')"),
        lambda folder: (folder / "plugins" / "lib" / "part.py").write_text("WORD = 'other'\n"),
        lambda folder: (folder / "plugins" / "lib" / "part.py").unlink(),
        lambda folder: (folder / "plugins" / "lib" / "json.py").write_text("raise SystemExit('extra')"),
        lambda folder: (folder / "json.py").write_text("raise SystemExit('extra')"),
        shutil.rmtree,
        lambda folder: (shutil.rmtree(folder), folder.write_text("a file")),
    ],
    ids=["changed", "changed part", "missing", "extra room", "extra module", "gone", "a file in its place"],
)
def test_a_folder_that_differs_is_unpacked_again(small, spoil, tmp_path):
    first = run(small, home=tmp_path)
    spoil(unpacked(tmp_path))
    assert run(small, home=tmp_path) == first
    assert first[:1] == (0,)
    names = {path.name for path in unpacked(tmp_path).rglob("*.py")}
    assert names == {"kagg.py", "__init__.py", "part.py"}


@pytest.mark.skipif(os.name != "posix", reason="modes say nothing here")
def test_only_the_user_can_enter_and_a_folder_open_to_others_is_not_trusted(small, tmp_path):
    run(small, home=tmp_path)
    before = unpacked(tmp_path).stat()
    assert before.st_mode & 0o777 == 0o700
    unpacked(tmp_path).chmod(0o777)
    assert run(small, home=tmp_path)[0] == 0
    after = unpacked(tmp_path).stat()
    assert after.st_mode & 0o777 == 0o700
    assert after.st_ino != before.st_ino or after.st_ctime_ns != before.st_ctime_ns


@pytest.mark.skipif(os.name != "posix", reason="links need rights here")
def test_a_link_in_place_of_the_folder_is_replaced_and_what_it_points_to_is_left_alone(small, tmp_path):
    run(small, home=tmp_path)
    folder = unpacked(tmp_path)
    other = tmp_path / "other"
    folder.rename(other)
    folder.symlink_to(other)
    assert run(small, home=tmp_path)[0] == 0
    assert not unpacked(tmp_path).is_symlink()
    assert (other / "kagg.py").exists()


def test_a_home_that_cannot_be_written_is_one_line_and_code_10(small, tmp_path):
    (tmp_path / "kagg").write_text("a file, not a folder")
    code, out, err = run(small, home=tmp_path)
    assert (code, out) == (10, "")
    assert err.startswith("kagg: error: cannot unpack kagg.pyz: ")
    assert len(err.splitlines()) == 1
