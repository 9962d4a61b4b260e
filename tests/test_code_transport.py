"""The code of a run on Kaggle: what is collected, what is refused, and that it arrives as it was sent."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
from datetime import timedelta
from types import SimpleNamespace

import pytest
from front_door import QuickContext, close, environment
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from local_kaggle import Client

from kagg import Exit, KaggError
from plugins.lib.kaggle import dataset_store
from plugins.lib.kaggle.server import LocalKaggle
from plugins.lib.kaggle.wire import iso
from plugins.lib.launch import (
    collecting,
    in_session_dataset,
    in_session_inline,
    in_session_inputs,
    script,
    transport_inline,
    transport_pack,
)
from plugins.lib.launch.code import Tree, collect, files_sha256
from plugins.lib.launch.in_session_base import CodeError
from plugins.lib.launch.transport_dataset import dataset_code, delete_code_dataset
from plugins.lib.launch.transport_inline import inline_code

TOKEN = "hf_" + "aBcDeFgHiJ" + "kLmNoPqRsT" + "uVwXyZaBcDeFgH"
DATASETS = "datasets.DatasetApiService"


def put(folder, **files):
    """Write files; the keys are names with __ for / and no ending for .py."""
    for name, text in files.items():
        write(folder, name.replace("__", "/") + ".py", text)
    return folder


def write(folder, name, text=""):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def names(ctx, path, entry=None, include=(), exclude=()):
    return list(collect(ctx, path, entry, include, exclude).files)


def said(ctx):
    return ctx.stderr.getvalue()


def notebook(*cells):
    made = [
        {"cell_type": "code", "source": cell, "metadata": {}, "outputs": [], "execution_count": None} for cell in cells
    ]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": made})


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    return put(folder, main="import helper\n", helper="x = 1\n")


# ---------------------------------------------------------------- scripts


def test_a_script_takes_its_modules_packages_and_requirements_along_and_nothing_else(ctx, tmp_path):
    modules = {
        "train.py": "import numpy, json\nimport one\nfrom pkg.deep import thing\nfrom space import inner\n",
        "one.py": "from two import y\n",
        "two.py": "",
        "other.py": "",
        "pkg/__init__.py": "from . import sibling\n",
        "pkg/sibling.py": "import three\n",
        "pkg/deep.py": "",
        "pkg/tests/__init__.py": "",
        "space/inner.py": "from . import beside\n",
        "space/beside.py": "",
        "space/unused.py": "",
        "three.py": "",
    }
    for name, text in modules.items():
        write(tmp_path, name, text)
    write(tmp_path, "requirements.txt", "-r more.txt\nnumpy\n")
    write(tmp_path, "more.txt", "pandas\n")
    write(tmp_path, "data.csv", "1,2\n")
    sent = set(modules) - {"other.py", "space/unused.py"}
    assert names(ctx, tmp_path / "train.py") == sorted({*sent, "requirements.txt", "more.txt"})


@pytest.mark.parametrize(
    ("line", "module"),
    [
        ("import sys; sys.path.append('src'); import lib", "src/lib.py"),
        (
            "import sys, os\nsys.path.insert(0, os.path.join(os.path.dirname(__file__), 'src'))\nimport lib",
            "src/lib.py",
        ),
        ("import importlib; importlib.import_module('lib')", "lib.py"),
        ("import subprocess, sys; subprocess.run([sys.executable, 'worker.py'])", "worker.py"),
        ("try:\n    import lib\nexcept ImportError: pass\nprint 'python 2'", "lib.py"),
        ("def f():\n    from lib import *", "lib.py"),
    ],
)
def test_modules_that_are_found_in_other_ways_go_along(ctx, tmp_path, line, module):
    put(tmp_path, main=line + "\n", lib="", src__lib="", worker="")
    assert module in names(ctx, tmp_path / "main.py")


def test_a_notebook_takes_what_its_cells_import_and_run(ctx, tmp_path):
    put(tmp_path, a="", b="", c="", d="", e="import f\n", f="", g="")
    cells = ["%matplotlib inline\nimport a\n!python b.py --x 1\nx = !ls", "%%time\nimport c", "%run d", "!python -m e"]
    write(tmp_path, "n.ipynb", notebook(*cells))
    assert names(ctx, tmp_path / "n.ipynb") == ["a.py", "b.py", "c.py", "d.py", "e.py", "f.py", "n.ipynb"]


def test_files_that_a_script_names_are_said_and_sent_when_included(ctx, tmp_path):
    put(tmp_path, main="open('config.yaml'); import importlib; importlib.import_module(x)\n")
    write(tmp_path, "config.yaml")
    assert names(ctx, tmp_path / "main.py") == ["main.py"]
    assert "config.yaml" in said(ctx)
    assert "computed names" in said(ctx)
    assert names(ctx, tmp_path / "main.py", include=["config.yaml"]) == ["config.yaml", "main.py"]
    write(tmp_path, "sub/deep/x.yaml")
    assert names(ctx, tmp_path / "main.py", include=["*.yaml"]) == ["config.yaml", "main.py", "sub/deep/x.yaml"]
    assert names(ctx, tmp_path / "main.py", include=["sub"]) == ["main.py", "sub/deep/x.yaml"]
    assert names(ctx, tmp_path / "main.py", include=[str(tmp_path / "sub")]) == ["main.py", "sub/deep/x.yaml"]


def test_a_file_outside_of_the_folder_cannot_be_included_and_what_can_be_done_is_said(ctx, tmp_path):
    put(tmp_path, code__main="open('../data/d.csv'); open('near.csv'); open('../data/e.csv')\n")
    for name in ("data/d.csv", "data/e.csv", "code/near.csv"):
        write(tmp_path, name)
    assert names(ctx, tmp_path / "code" / "main.py") == ["main.py"]
    assert "names near.csv; to send it: --include" in said(ctx)
    outside = "names ../data/d.csv, ../data/e.csv, outside of its folder; attach them as a dataset (--dataset)"
    assert outside in said(ctx)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (("pyproject.toml",), ("src/own/__init__.py", "src/own/deep.py", "pyproject.toml")),
        (("setup.py", "setup.cfg"), ("src/own/__init__.py", "src/own/deep.py", "setup.cfg")),
        (("pyproject.toml", "requirements.txt"), ("src/own/__init__.py", "src/own/deep.py", "pyproject.toml")),
        ((), ()),
    ],
)
def test_a_script_beside_a_project_takes_the_projects_own_modules_along(ctx, tmp_path, given, sent):
    put(tmp_path, main="import own\n", src__own__deep="", src__other="")
    write(tmp_path, "src/own/__init__.py")
    for name in given:
        write(tmp_path, name)
    extra = {"requirements.txt"} & set(given)
    assert names(ctx, tmp_path / "main.py") == sorted({"main.py", *sent, *extra})


def test_a_pyproject_goes_along_for_its_dependencies_unless_pips_file_is_there(ctx, tmp_path):
    put(tmp_path, main="")
    write(tmp_path, "pyproject.toml")
    assert names(ctx, tmp_path / "main.py") == ["main.py", "pyproject.toml"]
    write(tmp_path, "requirements.txt")
    assert names(ctx, tmp_path / "main.py") == ["main.py", "requirements.txt"]


def test_an_include_beside_a_script_looks_only_where_it_may_be(ctx, tmp_path, monkeypatch):
    put(tmp_path, main="")
    for name in ("config.yaml", "data/one/x.csv", "data/two/y.csv", *(f"home/{number}" for number in range(30))):
        write(tmp_path, name)
    monkeypatch.setattr(collecting, "MAX_ENTRIES", 20)
    for pattern, found in (
        ("config.yaml", "config.yaml"),
        ("data/one/*", "data/one/x.csv"),
        ("d*/t?o", "data/two/y.csv"),
    ):
        assert names(ctx, tmp_path / "main.py", include=[pattern]) == sorted([found, "main.py"])
    assert names(ctx, tmp_path / "main.py", include=["data/**/*.csv"]) == [
        "data/one/x.csv",
        "data/two/y.csv",
        "main.py",
    ]
    with pytest.raises(KaggError, match="too many to look through"):
        collect(ctx, tmp_path / "main.py", None, ["*.yaml"], [])


def test_a_module_that_leads_out_is_refused(ctx, tmp_path):
    write(tmp_path, "shared.py")
    put(tmp_path / "job", main="import shared\n")
    (tmp_path / "job" / "shared.py").symlink_to(tmp_path / "shared.py")
    with pytest.raises(KaggError, match=r"shared\.py is a link that leads out") as caught:
        collect(ctx, tmp_path / "job" / "main.py", None, [], [])
    assert caught.value.code == Exit.USAGE
    assert names(ctx, tmp_path / "job" / "main.py", exclude=["shared.py"]) == ["main.py"]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [("../x", "nothing below"), ("~/x", "nothing below"), ("nowhere.txt", "no file of"), ("[z-a]", "no pattern")],
)
def test_an_include_that_means_nothing_is_an_error(ctx, project, pattern, words):
    for path in (project, project / "main.py"):
        with pytest.raises(KaggError, match=words):
            collect(ctx, path, None, [pattern], [])


# ---------------------------------------------------------------- folders


def test_a_folder_goes_whole_without_what_never_belongs_there(ctx, project):
    for name in ("data/a.csv", "configs/x.yaml", "requirements.txt", "ümläut name.txt", ".config/y", "run.sh"):
        write(project, name)
    left = [".git/config", "__pycache__/a.pyc", "x/.ipynb_checkpoints/n.ipynb", "node_modules/a.js", "env/pyvenv.cfg"]
    left += ["env/lib/site.py", ".venv/x.py", "kaggle_results/r/result.json", "a.pyc", "kernel-metadata.json"]
    left += ["earlier/result.json", "earlier/log.jsonl", "earlier/output/big.bin", "session_summary.json"]
    for name in left:
        write(project, name, "{}" if name.endswith("json") else "")
    keys = ["kaggle.json", ".env", ".env.local", "sub/key.pem", "id_rsa", ".netrc", ".ssh/config"]
    for name in keys:
        write(project, name, "secret")
    write(project, ".env.example")
    shutil.rmtree(project / ".git")
    sent = ["main.py", "helper.py", "data/a.csv", "configs/x.yaml", "requirements.txt", "ümläut name.txt"]
    assert names(ctx, project) == sorted([*sent, ".config/y", "run.sh", ".env.example"])
    lines = [line for line in said(ctx).splitlines() if "credentials" in line]
    assert len(lines) == 1
    assert all(name in lines[0] for name in ("kaggle.json", ".env", "sub/key.pem", "id_rsa"))


def test_include_brings_back_and_exclude_takes_out_and_comes_first(ctx, project):
    for name in ("data/a.csv", "data/b.txt", ".env", ".venv/x.py", "deep/er/a.csv", "node_modules/keep/index.js"):
        write(project, name)
    assert ".env" not in names(ctx, project, include=["*"])
    assert ".env" in names(ctx, project, include=[".env"])
    assert "node_modules/keep/index.js" in names(ctx, project, include=["node_modules/keep"])
    assert names(ctx, project, exclude=["*.csv"]) == ["data/b.txt", "helper.py", "main.py"]
    assert names(ctx, project, exclude=["/data"]) == ["deep/er/a.csv", "helper.py", "main.py"]
    assert names(ctx, project, exclude=["deep/**/a.csv", "data/b.*", "nothing"]) == [
        "data/a.csv",
        "helper.py",
        "main.py",
    ]
    assert "--exclude 'nothing'" in said(ctx)
    with pytest.raises(KaggError, match="no file of"):
        collect(ctx, project, None, ["data/a.csv"], ["data"])
    with pytest.raises(KaggError, match=r"takes out main\.py"):
        collect(ctx, project, None, [], ["*.py"])


@pytest.mark.parametrize(
    ("entry", "words", "code"),
    [
        ("nothing.py", "no such file", Exit.USAGE),
        ("notes.txt", "neither", Exit.USAGE),
        ("../out.py", "refused", Exit.INTEGRITY),
        ("/etc/passwd", "refused", Exit.INTEGRITY),
        ("out.py", "leads out", Exit.INTEGRITY),
        (".", "refused", Exit.INTEGRITY),
    ],
)
def test_an_entry_must_be_a_script_or_notebook_of_the_folder(ctx, project, entry, words, code):
    write(project, "notes.txt")
    write(project.parent, "out.py")
    (project / "out.py").symlink_to(project.parent / "out.py")
    with pytest.raises(KaggError, match=words) as caught:
        collect(ctx, project, entry, [], [])
    assert caught.value.code == code
    (project / "out.py").unlink()
    write(project, "jobs/train.py")
    assert collect(ctx, project, "jobs/train.py", [], []).entry == "jobs/train.py"
    assert collect(ctx, project, "./jobs/train.py", [], []).entry == "jobs/train.py"
    with pytest.raises(KaggError, match="--entry is for a folder"):
        collect(ctx, project / "main.py", "main.py", [], [])


def test_the_folder_without_entry_says_what_to_do(ctx, tmp_path):
    write(tmp_path, "a.txt")
    with pytest.raises(KaggError) as caught:
        collect(ctx, tmp_path, None, [], [])
    assert caught.value.code == Exit.USAGE


def test_links_inside_send_their_content_and_others_are_refused(ctx, project, tmp_path):
    write(project, "data/a.csv", "1")
    (project / "link.csv").symlink_to("data/a.csv")
    (project / "all").symlink_to("data", target_is_directory=True)
    (project / "broken").symlink_to("nothing")
    tree = collect(ctx, project, None, [], [])
    assert list(tree.files) == ["all/a.csv", "data/a.csv", "helper.py", "link.csv", "main.py"]
    assert "broken" in said(ctx)
    assert transport_pack.read_tree(tree).files["link.csv"] == b"1"
    (project / "data" / "up").symlink_to("..", target_is_directory=True)
    with pytest.raises(KaggError, match="link to a folder that it is in"):
        collect(ctx, project, None, [], [])
    assert "data/a.csv" in names(ctx, project, exclude=["up"])
    (project / "data" / "up").unlink()
    for target in (tmp_path, write(tmp_path, "outside.txt")):
        (project / "out").symlink_to(target)
        with pytest.raises(KaggError, match="out is a link that leads out of"):
            collect(ctx, project, None, [], [])
        assert "out" not in names(ctx, project, exclude=["out"])
        (project / "out").unlink()


def test_a_link_is_no_way_around_the_names_of_credentials(ctx, project):
    write(project, ".env", "x")
    write(project, ".git/config", "x")
    (project / "settings").symlink_to(".env")
    (project / "about").symlink_to(".git/config")
    assert names(ctx, project) == ["helper.py", "main.py"]


def test_what_is_no_plain_file_is_refused(ctx, project, monkeypatch):
    os.mkfifo(project / "pipe")
    with pytest.raises(KaggError, match="pipe is no plain file"):
        collect(ctx, project, None, [], [])
    (project / "pipe").unlink()
    monkeypatch.chdir(project)  # the address of a socket holds about 100 bytes
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("s")
        with pytest.raises(KaggError, match="s is no plain file"):
            collect(ctx, project, None, [], [])
        assert names(ctx, project, exclude=["s"]) == ["helper.py", "main.py"]


@pytest.mark.parametrize("name", [b"a\nb.py", b"a\\b.py", b"a\xffb.py", b"a\x7fb.py"])
def test_names_that_cannot_travel_are_refused_in_one_line(ctx, project, name):
    (project / os.fsdecode(name)).touch()
    with pytest.raises(KaggError, match="cannot be a file's name") as caught:
        collect(ctx, project, None, [], [])
    assert "\n" not in caught.value.message
    caught.value.message.encode()
    assert names(ctx, project, exclude=["a?b.py"]) == ["helper.py", "main.py"]


def test_too_many_and_too_large_are_refused_with_the_largest_named(ctx, project, monkeypatch):
    monkeypatch.setattr(collecting, "MAX_BYTES", 1000)
    write(project, "data/big.bin", bytes(2000))
    with pytest.raises(KaggError, match=r"data/big\.bin 2\.0 kB"):
        collect(ctx, project, None, [], [])
    monkeypatch.setattr(collecting, "MAX_FILES", 2)
    with pytest.raises(KaggError, match="more than 2 files"):
        collect(ctx, project, None, [], [])


# ---------------------------------------------------------------- git


def test_what_git_ignores_stays_and_comes_back_when_included(ctx, tmp_path):
    folder = put(tmp_path / "repo", main="")
    subprocess.run(["git", "init", "-q", str(folder)], check=True, capture_output=True)
    write(folder, ".gitignore", "*.csv\n/data/\nwörk/\n")
    for name in ("a.csv", "sub/b.csv", "data/x.bin", "data/deep/y.bin", "wörk/z", "kept.txt", "sub/k ü.txt"):
        write(folder, name)
    write(folder, "tracked.csv")
    subprocess.run(["git", "-C", str(folder), "add", "-f", "tracked.csv"], check=True, capture_output=True)
    kept = sorted([".gitignore", "kept.txt", "main.py", "sub/k ü.txt", "tracked.csv"])
    assert names(ctx, folder) == kept
    assert names(ctx, folder, include=["data/deep"]) == sorted([*kept, "data/deep/y.bin"])
    assert names(ctx, folder, include=["*.csv"]) == sorted([*kept, "a.csv", "sub/b.csv"])
    ctx.env["GIT_DIR"] = "/nowhere"  # as in a hook
    assert names(ctx, folder) == kept
    write(folder, "data/main.py")
    assert names(ctx, folder, "data/main.py") == sorted([*kept, "data/main.py"])
    assert names(ctx, folder / "data") == ["deep/y.bin", "main.py", "x.bin"]


def test_a_repository_inside_is_asked_for_its_own_rules(ctx, tmp_path):
    folder = put(tmp_path / "repo", main="")
    for place in (folder, folder / "vendor"):
        subprocess.run(["git", "init", "-q", str(place)], check=True, capture_output=True)
    write(folder, "vendor/.gitignore", "build/\n")
    write(folder, "vendor/build/x.o")
    write(folder, "vendor/lib.py")
    assert names(ctx, folder) == ["main.py", "vendor/.gitignore", "vendor/lib.py"]


def test_a_git_that_fails_is_an_error_and_an_empty_dot_git_is_none(ctx, project, tmp_path):
    (project / ".git").mkdir()
    assert names(ctx, project) == ["helper.py", "main.py"]
    bad = write(tmp_path, "bin/git", "#!/bin/sh\necho 'fatal: detected dubious ownership' >&2\nexit 128\n")
    bad.chmod(0o755)
    ctx.env["PATH"] = f"{bad.parent}:{ctx.env['PATH']}"
    with pytest.raises(KaggError, match="dubious ownership"):
        collect(ctx, project, None, [], [])
    ctx.env["PATH"] = str(tmp_path / "empty")
    assert names(ctx, project) == ["helper.py", "main.py"]
    assert "git is not installed" in said(ctx)


# ---------------------------------------------------------------- in the script


def tree_of(folder, files, entry=None):
    """Write files {name: bytes} and return their tree."""
    found = {name: write(folder, name, content) for name, content in files.items()}
    return Tree(found, entry or next(iter(found)))


def fetched(part, payload, folder):
    """Fetch a payload as the session does, and return the files."""
    folder.mkdir(parents=True)
    part.fetch_code(payload, folder, lambda _: None)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_inline_code_arrives_and_is_described(ctx, tmp_path):
    files = {"main.py": b"print(1)\n", "run.sh": b"#!/bin/sh\n", "empty": b"", "d/e/f.bin": bytes(range(256)) * 9}
    tree = tree_of(tmp_path / "a", files)
    code = inline_code(ctx, tree)
    assert fetched(in_session_inline, code.payload, tmp_path / "b") == files
    assert os.access(tmp_path / "b" / "run.sh", os.X_OK)
    assert not os.access(tmp_path / "b" / "main.py", os.X_OK)
    assert (code.transport, code.entry, code.size_bytes) == ("inline", "main.py", sum(map(len, files.values())))
    assert code.files == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    lines = "".join(sorted(f"{digest}  {name}\n" for name, digest in code.files.items()))
    assert code.sha256 == hashlib.sha256(lines.encode()).hexdigest()
    assert code.packed_bytes == len(code.payload["bundle"])
    assert "inline" in code.summary
    assert "4 files" in code.summary
    json.dumps(code._asdict())


FILE_NAMES = st.lists(
    st.text("abcé日 .-_~'\"%:", min_size=1, max_size=40).filter(lambda part: part.strip(".")), min_size=1, max_size=4
).map("/".join)


def no_file_is_a_folder(files):
    return not any(other.startswith(f"{name}/") for name in files for other in files)


@settings(max_examples=60, deadline=None)
@given(files=st.dictionaries(FILE_NAMES, st.binary(max_size=2000), min_size=1, max_size=8).filter(no_file_is_a_folder))
def test_any_tree_arrives_whatever_its_order_times_and_modes(tmp_path_factory, files):
    folder = tmp_path_factory.mktemp("any")
    ctx = QuickContext(environment(folder))
    with contextlib.closing(SimpleNamespace(close=lambda: shutil.rmtree(folder))):
        try:
            one = inline_code(ctx, tree_of(folder / "one", files, min(files)))
        except KaggError as error:
            assume(error.code != Exit.FINDINGS)  # what was made up looks like a secret
            raise
        shuffled = tree_of(folder / "two", dict(reversed(files.items())), min(files))
        for path in shuffled.files.values():
            os.utime(path, (1, 1))
            path.chmod(0o700)
        assert inline_code(ctx, shuffled) == one
        assert fetched(in_session_inline, one.payload, folder / "back") == files


def test_the_bundle_is_a_plain_tar_without_traces_of_this_machine(ctx, tmp_path):
    code = inline_code(ctx, tree_of(tmp_path, {"main.py": b"x", "é" * 100: b"y"}))
    packed = base64.b64decode(code.payload["bundle"])
    assert packed[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        members = archive.getmembers()
    assert [member.name for member in members] == ["main.py", "é" * 100]
    assert {(m.mtime, m.mode, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0o644, 0, 0, "", "")}
    plain = gzip.decompress(packed)
    assert hashlib.sha256(plain).hexdigest() == "b88ddf49f316c0a27d07a108a0ceb68a6453c7ee62448341c9096bdca187c5eb"


def test_code_at_the_limit_fits_and_above_it_the_error_names_the_remedies(ctx, tmp_path):
    noise = hashlib.shake_256(b"noise").digest(600_000)
    limit = transport_inline.MAX_TEXT_BYTES
    code = inline_code(ctx, tree_of(tmp_path / "a", {"main.py": b"", "a.bin": noise[:523_000]}))
    assert limit - 3000 < code.packed_bytes <= limit
    assert len(script.build(script.Order(run_id="r", entry="main.py", code=code)).encode()) < 1_000_000
    with pytest.raises(KaggError) as caught:
        inline_code(ctx, tree_of(tmp_path / "b", {"main.py": b"", "a.bin": noise[:526_000], "small": b"1"}))
    assert caught.value.code == Exit.USAGE
    for word in ("526 kB", "700 kB", "a.bin", "3 files"):
        assert word in caught.value.message
    for word in ("--exclude", "--code dataset", "--code git"):
        assert word in caught.value.hint


@pytest.mark.parametrize("send", [inline_code, lambda ctx, tree, **more: dataset_code(ctx, tree, attempt="a", **more)])
def test_a_secret_in_any_file_is_refused_by_name_and_can_be_allowed(demo, idle_kaggle, tmp_path, send):
    dataset_store.configure(idle_kaggle.world, processing_s=0)
    files = {"main.py": b"", "lib/config.py": f"x = 1\nTOKEN = '{TOKEN}'\n".encode()}
    tree = tree_of(tmp_path / "a", files)
    with pytest.raises(KaggError) as caught:
        send(demo, tree)
    assert caught.value.code == Exit.FINDINGS
    assert "the code of main.py was not sent: lib/config.py line 2" in caught.value.message
    assert TOKEN not in str(caught.value) + said(demo) + str(caught.value.details)
    assert not idle_kaggle.requests
    found = [finding["id"] for finding in caught.value.details["findings"]]
    assert send(demo, tree, allowed=found).files


def test_a_notebook_to_run_goes_without_its_outputs(ctx, tmp_path):
    document = json.loads(notebook("print(1)"))
    document["cells"][0]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x" * 9 + TOKEN}]
    content = json.dumps(document).encode()
    code = inline_code(ctx, tree_of(tmp_path / "a", {"n.ipynb": content, "m.ipynb": b"{}"}))
    files = fetched(in_session_inline, code.payload, tmp_path / "b")
    assert json.loads(files["n.ipynb"])["cells"][0]["outputs"] == []
    assert files["m.ipynb"] == b"{}"
    assert code.files["n.ipynb"] == hashlib.sha256(files["n.ipynb"]).hexdigest()
    halves = notebook("x = 1").replace("x = 1", "x = '\\ud800'").encode()
    assert inline_code(ctx, tree_of(tmp_path / "c", {"n.ipynb": halves})).files
    with pytest.raises(KaggError, match="bad"):
        inline_code(ctx, tree_of(tmp_path / "d", {"bad.ipynb": b"no"}))


def test_a_refusal_for_another_reason_is_said_at_once(kaggle, me, tree):
    kaggle.faults.add("status", f"{DATASETS}/CreateDataset", times=None, status=400, message="too many datasets")
    with pytest.raises(KaggError, match="too many datasets"):
        dataset_code(me, tree, attempt="a1")
    assert sum(me.waits) < 5
    assert calls(kaggle, "CreateDataset") == 1


def test_a_bundle_that_looks_like_a_secret_is_packed_in_another_way(ctx, tmp_path, monkeypatch):
    tree = tree_of(tmp_path / "a", {"main.py": b"print(1)\n" * 50})
    plain = inline_code(ctx, tree)
    seen = []

    def unlucky(text, allowed):
        seen.append(text)
        return len(seen) < 4

    monkeypatch.setattr(transport_inline, "_looks_secret", unlucky)
    again = inline_code(ctx, tree)
    assert len(set(seen)) == len(seen) == 4
    assert again.payload["bundle"] == seen[-1] != plain.payload["bundle"]
    assert again.sha256 == plain.sha256
    assert fetched(in_session_inline, again.payload, tmp_path / "b") == {"main.py": b"print(1)\n" * 50}
    monkeypatch.setattr(transport_inline, "_looks_secret", lambda *_: True)
    with pytest.raises(KaggError, match="looks like a secret") as caught:
        inline_code(ctx, tree)
    assert caught.value.code == Exit.FINDINGS


def test_a_bundle_is_checked_as_the_gate_reads_it():
    assert transport_inline._looks_secret(f"AAAA {TOKEN} AAAA", ())
    assert not transport_inline._looks_secret(base64.b64encode(hashlib.shake_256(b"n").digest(50_000)).decode(), ())


def test_a_file_that_goes_or_becomes_a_pipe_is_one_line(ctx, tmp_path):
    tree = tree_of(tmp_path, {"main.py": b"", "b": b""})
    tree.files["b"].unlink()
    with pytest.raises(KaggError, match="cannot read b: No such file"):
        inline_code(ctx, tree)
    os.mkfifo(tree.files["b"])
    with pytest.raises(KaggError, match="b is no plain file"):
        inline_code(ctx, tree)


# ---------------------------------------------------------------- hostile bundles


def packed_tar(*members):
    """Return a tar of (name, type, content or link target)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, kind, content in members:
            entry = tarfile.TarInfo(name)
            entry.type = kind
            if kind == tarfile.REGTYPE:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
            else:
                entry.linkname = content
                archive.addfile(entry)
    return stream.getvalue()


@pytest.mark.parametrize(
    "members",
    [
        [("../out", tarfile.REGTYPE, b"x")],
        [("/kagg-out", tarfile.REGTYPE, b"x")],
        [("a/../../out", tarfile.REGTYPE, b"x")],
        [("a\\..\\out", tarfile.REGTYPE, b"x")],
        [("./a", tarfile.REGTYPE, b"x")],
        [("a", tarfile.SYMTYPE, "/etc"), ("a/b", tarfile.REGTYPE, b"x")],
        [("a", tarfile.LNKTYPE, "/etc/passwd")],
        [("a", tarfile.FIFOTYPE, "")],
        [("a", tarfile.DIRTYPE, "")],
        [("a", tarfile.REGTYPE, b"x"), ("a", tarfile.REGTYPE, b"y")],
        [("a", tarfile.REGTYPE, b"x"), ("a/b", tarfile.REGTYPE, b"y")],
        [("a", tarfile.REGTYPE, bytes(200))],
        [(f"f{number}", tarfile.REGTYPE, b"") for number in range(9)],
    ],
)
def test_a_hostile_bundle_is_refused_and_leaves_its_folder_alone(tmp_path, members):
    folder = tmp_path / "in"
    folder.mkdir()
    bundle = base64.b64encode(gzip.compress(packed_tar(*members))).decode()
    with pytest.raises(CodeError) as caught:
        in_session_inline.fetch_code({"bundle": bundle, "size_bytes": 100, "count": 3}, folder, lambda _: None)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    "bundle",
    [
        "not base64!",
        "",
        base64.b64encode(b"\x1f\x8bnonsense").decode(),
        base64.b64encode(gzip.compress(packed_tar(("a", tarfile.REGTYPE, b"x")))[:-60]).decode(),
        base64.b64encode(gzip.compress(bytes(10_000_000))).decode(),
        base64.b64encode(gzip.compress(b"A" * 10_000_000)).decode(),
    ],
    ids=["no base64", "nothing", "no gzip", "cut off", "zeros for ever", "letters for ever"],
)
def test_a_damaged_bundle_is_refused(tmp_path, bundle):
    with pytest.raises(CodeError):
        in_session_inline.fetch_code({"bundle": bundle, "size_bytes": 100, "count": 3}, tmp_path, lambda _: None)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


# ---------------------------------------------------------------- as a dataset


@pytest.fixture
def kaggle(tmp_path):
    with LocalKaggle(tmp_path / "kaggle") as running:
        dataset_store.configure(running.world, processing_s=0)
        yield running
        assert running.leaks == 0


@pytest.fixture
def me(tmp_path, kaggle):
    key = kaggle.world.accounts.users["demo"]["key"]
    found = QuickContext(environment(tmp_path, KAGG_KAGGLE_URL=kaggle.url, KAGGLE_USERNAME="demo", KAGGLE_KEY=key))
    yield found
    close(found)


@pytest.fixture
def tree(tmp_path):
    return tree_of(tmp_path / "code", {"main.py": b"import lib.x\n", "lib/x.py": b"y = 2\n", "a b é.zip": b"PK no zip"})


def datasets(kaggle):
    return sorted(document["slug"] for _, document in kaggle.world.documents("datasets", "dataset.json"))


def stored(kaggle, ref):
    owner, _, slug = ref.partition("/")
    return dataset_store.find(kaggle.world, owner, owner, slug)


def calls(kaggle, method):
    return sum(path.endswith(f"/{method}") for _, path, _ in kaggle.requests)


def test_dataset_code_is_private_named_after_its_content_and_arrives(kaggle, me, tree, tmp_path, monkeypatch):
    noted = []

    @contextlib.contextmanager
    def effect(kind, target, request):
        assert datasets(kaggle) == []
        made = SimpleNamespace(outcome=None)
        yield made
        noted.append((kind, target, request["attempt"], made.outcome["made"]))

    code = dataset_code(me, tree, attempt="a1", effect=effect)
    [ref] = code.datasets
    assert ref == f"demo/kagg-code-{code.sha256[:20]}"
    assert noted == [("dataset", ref, "a1", True)]
    assert code.created == (ref,)
    assert code.files == inline_code(me, tree).files
    found = stored(kaggle, ref)
    assert found.document["private"]
    assert found.document["title"] == found.document["slug"]
    mounted = dataset_store.attach(kaggle.world, "demo", ref)
    assert [path.name for path in mounted.iterdir()] == ["code.bin"]
    expected = {name: path.read_bytes() for name, path in tree.files.items()}
    for number, place in enumerate([f"datasets/{ref}", ref.partition("/")[2], f"deep/er/{ref}"]):
        top = tmp_path / f"input{number}"
        shutil.copytree(mounted, top / place)
        monkeypatch.setattr(in_session_inputs, "INPUT", top)
        assert fetched(in_session_dataset, code.payload, tmp_path / f"out{number}") == expected
    top = tmp_path / "unpacked"
    with tarfile.open(mounted / "code.bin") as archive:
        archive.extractall(top / "datasets" / ref / "code", filter="data")
    monkeypatch.setattr(in_session_inputs, "INPUT", top)
    assert fetched(in_session_dataset, code.payload, tmp_path / "out-unpacked") == expected
    monkeypatch.setattr(in_session_inputs, "INPUT", tmp_path / "none")
    with pytest.raises(CodeError, match="dataset"):
        fetched(in_session_dataset, code.payload, tmp_path / "out-none")
    (top / "datasets" / ref / "code").rename(top / "datasets" / ref / "other")
    monkeypatch.setattr(in_session_inputs, "INPUT", top)
    with pytest.raises(CodeError, match=r"no code\.bin"):
        fetched(in_session_dataset, code.payload, tmp_path / "out-other")


def test_the_same_code_is_found_again_and_the_last_run_deletes_it(kaggle, me, tree):
    first = dataset_code(me, tree, attempt="a1")
    second = dataset_code(me, tree, attempt="a2")
    assert (first.datasets, first.created) == (second.datasets, second.created)
    assert "made" in first.summary
    assert "found" in second.summary
    assert calls(kaggle, "CreateDataset") == 1
    [ref] = first.datasets
    assert not delete_code_dataset(me, ref, attempt="a1")
    assert datasets(kaggle) == [ref.partition("/")[2]]
    assert delete_code_dataset(me, ref, attempt="a2")
    assert datasets(kaggle) == []
    assert delete_code_dataset(me, ref)  # gone already
    assert dataset_code(me, tree, attempt="a3").created == (ref,)
    dataset_code(me, tree, attempt="a4")
    assert delete_code_dataset(me, ref)  # whoever uses it
    assert datasets(kaggle) == []


def test_a_dataset_that_another_machine_made_is_used_and_left_to_it(kaggle, me, tree):
    [ref] = dataset_code(me, tree, attempt="a1").datasets
    (me.home / "code_datasets.json").unlink()
    code = dataset_code(me, tree, attempt="a2")
    assert (code.datasets, code.created) == ((ref,), ())


def replace_content(kaggle, ref, content, name="code.bin"):
    mounted = dataset_store.attach(kaggle.world, "demo", ref)
    for path in mounted.iterdir():
        path.unlink()
    (mounted / name).write_bytes(content)


@pytest.mark.parametrize("change", ["other", "damaged", "name", "more", "bomb", "public"])
def test_what_is_not_this_code_is_left_alone_and_another_name_taken(kaggle, me, tree, change):
    [ref] = dataset_code(me, tree, attempt="a1").datasets
    mounted = dataset_store.attach(kaggle.world, "demo", ref)
    content = (mounted / "code.bin").read_bytes()
    if change == "other":
        replace_content(kaggle, ref, gzip.compress(packed_tar(("main.py", tarfile.REGTYPE, b"evil"))))
    elif change == "damaged":
        replace_content(kaggle, ref, content[:-20] + bytes(20))
    elif change == "name":
        replace_content(kaggle, ref, content, "other.bin")
    elif change == "more":
        (mounted / "more.txt").write_text("x")
    elif change == "bomb":
        replace_content(kaggle, ref, gzip.compress(bytes(50_000_000)))
    else:
        found = stored(kaggle, ref)
        kaggle.world.save(found.folder / "dataset.json", {**found.document, "private": False})
    code = dataset_code(me, tree, attempt="a2")
    [other] = code.datasets
    assert other != ref
    assert other.startswith("demo/kagg-code-")
    assert code.created == (other,)
    assert datasets(kaggle) == sorted([ref.partition("/")[2], other.partition("/")[2]])
    assert "trying another name" in said(me)
    assert dataset_code(me, tree, attempt="a3").datasets == (other,)


def test_the_same_code_packed_by_another_deflate_is_the_same(kaggle, me, tree):
    [ref] = dataset_code(me, tree, attempt="a1").datasets
    contents = transport_pack.read_tree(tree)
    replace_content(kaggle, ref, b"".join(transport_pack.gzip_pieces(transport_pack.tar_pieces(contents.files), 1, 7)))
    assert dataset_code(me, tree, attempt="a2").datasets == (ref,)


def test_a_dataset_that_is_not_readable_for_seconds_is_waited_for(kaggle, me, tree):
    kaggle.faults.add("not_readable", "demo/kagg-code-*", seconds=0.15)
    code = dataset_code(me, tree, attempt="a1")
    assert calls(kaggle, "CreateDataset") == 1
    assert datasets(kaggle) == [code.datasets[0].partition("/")[2]]


def test_one_that_another_process_made_a_second_ago_is_waited_for(kaggle, me, tree):
    [ref] = dataset_code(me, tree, attempt="a1").datasets
    found = stored(kaggle, ref)
    document = {**found.document, "readable_from": iso(kaggle.world.clock() + timedelta(seconds=0.15))}
    kaggle.world.save(found.folder / "dataset.json", document)
    assert dataset_code(me, tree, attempt="a2").datasets == (ref,)


@pytest.mark.parametrize("not_readable_s", [0, 0.15])
def test_a_lost_reply_leaves_one_dataset(kaggle, me, tree, not_readable_s):
    if not_readable_s:
        kaggle.faults.add("not_readable", "demo/kagg-code-*", seconds=not_readable_s)
    kaggle.faults.add("lost_reply", f"{DATASETS}/CreateDataset")
    code = dataset_code(me, tree, attempt="a1")
    assert calls(kaggle, "CreateDataset") == 0  # the one whose reply was lost is not counted
    assert datasets(kaggle) == [code.datasets[0].partition("/")[2]]
    assert code.created == code.datasets


def test_a_dataset_that_an_earlier_run_left_failed_is_made_again(kaggle, me, tree, monkeypatch):
    [ref] = dataset_code(me, tree, attempt="a1").datasets
    broken = {stored(kaggle, ref).document["id"]}
    real = dataset_store.status
    monkeypatch.setattr(
        dataset_store, "status", lambda world, about: "FAILED" if about["id"] in broken else real(world, about)
    )
    code = dataset_code(me, tree, attempt="a2")
    assert code.datasets == code.created == (ref,)
    assert calls(kaggle, "DeleteDataset") == 1
    assert stored(kaggle, ref).document["id"] not in broken


def test_a_dataset_that_kaggle_cannot_process_is_an_error_and_does_not_stay(kaggle, me, tree, monkeypatch):
    monkeypatch.setattr(dataset_store, "status", lambda *_: "FAILED")
    with pytest.raises(KaggError, match="could not process"):
        dataset_code(me, tree, attempt="a1")
    assert datasets(kaggle) == []


def test_deleting_is_for_the_owner_and_says_what_kaggle_says(kaggle, me, tree, tmp_path):
    [ref] = dataset_code(me, tree, attempt="a1").datasets
    found = stored(kaggle, ref)
    kaggle.world.save(found.folder / "dataset.json", {**found.document, "private": False})
    key = kaggle.world.accounts.add("other")["key"]
    other = QuickContext(
        environment(tmp_path / "o", KAGG_KAGGLE_URL=kaggle.url, KAGGLE_USERNAME="other", KAGGLE_KEY=key)
    )
    with pytest.raises(KaggError, match="denied"):
        delete_code_dataset(other, ref)
    close(other)
    assert datasets(kaggle) == [ref.partition("/")[2]]
    kaggle.world.save(found.folder / "dataset.json", found.document)
    with pytest.raises(KaggError, match="not a dataset"):
        delete_code_dataset(me, "demo/../x")
    kaggle.faults.add("status", f"{DATASETS}/DeleteDataset", times=None, status=500)
    with pytest.raises(KaggError) as caught:
        delete_code_dataset(me, ref, attempt="a1")
    assert caught.value.code == Exit.SERVICE
    kaggle.faults.clear()
    assert dataset_code(me, tree, attempt="a2")
    assert not delete_code_dataset(me, ref, attempt="a2")


@pytest.mark.parametrize("transport", ["inline", "dataset"])
def test_the_code_runs_in_a_session(kaggle, me, tree, transport):
    write(tree.files["main.py"].parent, "main.py", "import lib.x\nprint('found', lib.x.y)\n")
    code = inline_code(me, tree) if transport == "inline" else dataset_code(me, tree, attempt="a1")
    text = script.build(script.Order(run_id="r1", entry="main.py", code=code))
    client = Client(kaggle)
    reply = client.push("a session run", text, datasetDataSources=list(code.datasets), isPrivate=True)
    assert not reply.get("invalidDatasetSources")
    assert client.wait("a-session-run")["status"] == "COMPLETE"
    log = client.log("a-session-run")
    assert "found 2" in log, log + client.log("a-session-run", "stderr")
    assert "KAGG-EXIT r1 0" in log


def test_the_hash_of_a_tree_is_that_of_its_sorted_lines():
    assert files_sha256({"b": "1", "a": "2"}) == hashlib.sha256(b"1  b\n2  a\n").hexdigest()
