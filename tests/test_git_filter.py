"""Git with kagg's filter, diff and merge: everything through the real git, in real repositories."""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
import string
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from front_door import environment
from hypothesis import given, settings
from hypothesis import strategies as st

from kagg import Context, KaggError
from plugins.lib import git_filter, git_text
from plugins.lib.git_cells import label_sides, merged_order, pair_cells
from plugins.lib.git_filter import Policy, read_packet, write_packets
from plugins.lib.git_merge import _Merge

ROOT = Path(__file__).resolve().parent.parent
LINE = b"*.[iI][pP][yY][nN][bB] filter=kagg diff=kagg merge=kagg\n"
pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")


def token():
    """A token in the shape of a vendor's, drawn by lot."""
    return "hf_" + "".join(random.Random(7).choices(string.ascii_letters, k=34))  # noqa: S311 - the same in each run


def cell(source, kind="code", **parts):
    found = {"cell_type": kind, "metadata": {}, "source": source}
    return found | ({"execution_count": None, "outputs": []} if kind == "code" else {}) | parts


def ran(source, count=3, **parts):
    output = {"output_type": "stream", "name": "stdout", "text": ["result\n"]}
    return cell(source, execution_count=count, outputs=[output], **parts)


def document(*cells, **metadata):
    return {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}


def encoded(*cells, indent=1, **metadata):
    return (json.dumps(document(*cells, **metadata), indent=indent, ensure_ascii=False) + "\n").encode()


class Repository:
    """A repository, and git and kagg run in it as their users do."""

    def __init__(self, folder, base, script=ROOT / "kagg.py", **more):
        self.folder, self.script = folder, script
        folder.mkdir(parents=True, exist_ok=True)
        self.env = environment(base, GIT_CONFIG_NOSYSTEM="1", GIT_TERMINAL_PROMPT="0", **more)
        self.env |= {
            f"GIT_{who}_{what}": "a@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }

    def start(self, *words, code=0, **more):
        done = subprocess.run(
            words, cwd=self.folder, env=self.env | more, capture_output=True, timeout=120, check=False
        )
        self.out, self.err = (os.fsdecode(stream) for stream in (done.stdout, done.stderr))
        assert code in (None, done.returncode), f"{words}: {done.returncode}\n{self.out}\n{self.err}"
        return self.out

    def git(self, *words, **more):
        return self.start("git", "-c", "init.defaultBranch=main", *words, **more)

    def kagg(self, *words, **more):
        return self.start(sys.executable, str(self.script), *words, **more)

    def write(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def commit(self, name, *cells, message="change"):
        self.write(name, encoded(*cells))
        self.git("add", ".")
        self.git("commit", "-qm", message)

    def stored(self, name):
        """The bytes that the index has."""
        return subprocess.run(
            ["git", "cat-file", "blob", f":{name}"], cwd=self.folder, env=self.env, capture_output=True, check=True
        ).stdout

    def served(self, *words, action="filter-process", **more):
        """How many processes of the filter a git command started."""
        self.git(*words, GIT_TRACE="1", **more)
        return len(re.findall(rf"run_command: .* git .*{action}", self.err))


@pytest.fixture
def repo(tmp_path):
    made = Repository(tmp_path / 'a repo\'s "folder"', tmp_path)
    made.git("init", "-q", ".")
    return made


@pytest.fixture
def installed(repo):
    repo.kagg("git", "install")
    return repo


# ---------------------------------------------------------------- install, status, uninstall


def test_install_is_idempotent_and_uninstall_leaves_what_others_wrote(repo):
    attributes = repo.write(".git/info/attributes", b"*.png -diff\n*.ipynb text")
    repo.git("config", "filter.kagg.mine", "kept")
    config = (repo.folder / ".git/config").read_bytes()
    assert "*.ipynb are cleaned" in repo.kagg("git", "install")
    assert attributes.read_bytes() == b"*.png -diff\n*.ipynb text\n" + LINE
    after = (repo.folder / ".git/config").read_bytes()
    assert repo.kagg("git", "install").startswith("already installed")
    assert json.loads(repo.kagg("--json", "git", "install"))["changed"] == []
    assert (repo.folder / ".git/config").read_bytes() == after
    assert repo.kagg("git", "status").startswith("installed for")
    repo.kagg("git", "uninstall")
    assert attributes.read_bytes() == b"*.png -diff\n*.ipynb text\n"
    assert (repo.folder / ".git/config").read_bytes() == config
    assert repo.kagg("git", "uninstall").startswith("nothing to remove")


def test_uninstall_removes_the_attributes_file_that_install_made(installed):
    installed.kagg("git", "uninstall")
    assert not (installed.folder / ".git/info/attributes").exists()
    assert "kagg" not in (installed.folder / ".git/config").read_text()


def test_status_says_what_is_wrong_and_exits_1(moved):
    repo = moved
    assert "nothing is set" in repo.kagg("git", "status", code=1)
    moved.kagg("git", "install")
    moved.kagg("git", "status")
    moved.forget()
    gone, moved.script = moved.script, ROOT / "kagg.py"
    found = json.loads(repo.kagg("--json", "git", "status", code=1))
    assert found["faults"] == [f"{gone} does not exist"]
    repo.kagg("git", "install")
    repo.write(".git/info/attributes", b"*.ipynb filter=kagg diff=kagg merge=kagg\n*.ipynb filter=other\n")
    assert "*.ipynb has filter=other, not kagg" in repo.kagg("git", "status", code=1)


@pytest.mark.parametrize("other", ["lfs", "nbstripout"])
def test_notebooks_of_another_filter_are_not_taken_over_in_silence(repo, other):
    repo.write(".gitattributes", f"*.ipynb filter={other}\n".encode())
    repo.kagg("git", "install", code=2)
    assert f"*.ipynb go through the filter '{other}'" in repo.err
    assert "kagg" not in (repo.folder / ".git/config").read_text()
    assert not (repo.folder / ".git/info/attributes").exists()


def test_the_attributes_can_go_into_a_file_that_is_shared(repo):
    repo.kagg("git", "install", "--attributes", ".gitattributes")
    assert (repo.folder / ".gitattributes").read_bytes() == LINE
    assert not (repo.folder / ".git/info/attributes").exists()
    repo.kagg("git", "status")
    repo.kagg("git", "uninstall")
    assert not (repo.folder / ".gitattributes").exists()
    assert "kagg" not in (repo.folder / ".git/config").read_text()


def test_uninstall_takes_the_line_out_of_every_file_that_an_install_wrote_it_to(repo):
    (repo.folder / "sub dir").mkdir()
    other = repo.write("sub dir/.gitattributes", b"*.csv text\n")
    for words in (("--attributes", ".gitattributes"), ("--attributes", "sub dir/.gitattributes"), ()):
        repo.kagg("git", "install", *words)
        repo.kagg("git", "install", *words)
    assert [(repo.folder / name).read_bytes() for name in (".gitattributes", ".git/info/attributes")] == [LINE, LINE]
    assert other.read_bytes() == b"*.csv text\n" + LINE
    repo.kagg("git", "uninstall")
    assert not (repo.folder / ".gitattributes").exists()
    assert not (repo.folder / ".git/info/attributes").exists()
    assert other.read_bytes() == b"*.csv text\n"
    assert "kagg" not in (repo.folder / ".git/config").read_text()


def test_what_an_earlier_version_wrote_is_renewed_and_taken_out(repo):
    old = b"*.ipynb filter=kagg diff=kagg merge=kagg\n"
    attributes = repo.write(".git/info/attributes", b"*.a b\n" + old + b"*.c d\n")
    repo.git("config", "filter.kagg.process", f"test -x {sys.executable} && exec {sys.executable} /gone/kagg.py git x")
    assert "/gone/kagg.py does not exist" in repo.kagg("git", "status", code=1)
    repo.kagg("git", "install")
    assert attributes.read_bytes() == b"*.a b\n" + LINE + b"*.c d\n"
    attributes.write_bytes(b"*.a b\n" + old)
    repo.kagg("git", "uninstall")
    assert attributes.read_bytes() == b"*.a b\n"


def test_an_install_that_removes_the_gate_says_so(repo):
    repo.kagg("git", "install", "--scan")
    assert "is removed" not in repo.out
    assert "the gate of an earlier install (--scan) is removed" in repo.kagg("git", "install")
    assert "is removed" not in repo.kagg("git", "install")


def test_a_module_of_the_repository_is_never_imported_in_place_of_one_of_pythons(installed):
    for name in ("kagg", "json", "re", "sitecustomize", "argparse", "plugins"):
        installed.write(f"{name}.py", b"open('imported', 'w').close()\n")
    installed.write("a.ipynb", encoded(ran("x")))
    installed.git("add", ".")
    assert b"result" not in installed.stored("a.ipynb")
    installed.git("diff", "--cached")
    assert not (installed.folder / "imported").exists()


def test_global_covers_repositories_that_are_made_later(tmp_path):
    first = Repository(tmp_path / "one", tmp_path)
    (tmp_path / "home").mkdir()
    assert "all of your repositories" in first.kagg("git", "install", "--global")
    first.kagg("git", "status", "--global")
    first.git("init", "-q", ".")
    assert json.loads(first.kagg("--json", "git", "status"))["scope"] == "global"
    first.write("a.ipynb", encoded(ran("x")))
    first.git("add", ".")
    assert b"result" not in first.stored("a.ipynb")
    first.kagg("git", "uninstall", "--global")
    first.kagg("git", "status", "--global", code=1)
    assert "kagg" not in (tmp_path / "home/.gitconfig").read_text()
    assert not (tmp_path / "home/.config/git/attributes").exists()


@pytest.mark.parametrize("action", ["install", "status", "uninstall"])
def test_outside_a_repository_each_action_says_one_clear_line(tmp_path, action):
    outside = Repository(tmp_path / "nowhere", tmp_path, GIT_CEILING_DIRECTORIES=str(tmp_path))
    outside.kagg("git", action, code=2)
    assert re.fullmatch(r"kagg: error: .*nowhere is not in a git repository; .*\n", outside.err)


def test_a_bare_repository_has_nothing_to_install_for(tmp_path):
    bare = Repository(tmp_path / "bare", tmp_path)
    bare.git("init", "-q", "--bare", ".")
    bare.kagg("git", "install", code=2)
    assert "has no working tree" in bare.err


def test_without_git_one_line_says_so(repo, tmp_path):
    repo.kagg("git", "install", code=11, PATH=str(tmp_path))
    assert repo.err == "kagg: error: there is no git on the PATH; install git\n"


def test_options_are_written_down_for_the_filter_and_refused_when_wrong(repo):
    repo.kagg("git", "install", "--keep-outputs", "--keep-tag", "my tag", "--keep-tag", "it's", "--scan")
    line = json.loads(repo.kagg("--json", "git", "status"))
    assert line["process"].endswith(
        """git --keep-outputs --keep-tag 'my tag' --keep-tag 'it'"'"'s' --scan filter-process"""
    )
    assert line["required"] is True
    repo.write("a.ipynb", encoded(ran("x")))
    repo.git("add", ".")
    assert b"result" in repo.stored("a.ipynb")
    repo.kagg("git", "install")
    assert json.loads(repo.kagg("--json", "git", "status"))["required"] is False
    repo.kagg("git", "install", "--keep-output", code=2)
    repo.kagg("git", "install", "more", code=2)


def test_percent_signs_in_a_path_or_an_option_reach_the_program(moved, tmp_path):
    odd = tmp_path / "100%A %f"
    moved.script.parent.rename(odd)
    moved.script = odd / "kagg.py"
    moved.kagg("git", "install", "--keep-tag", "%O")
    assert merged(moved, [*BASE[:2], cell("ours")], [cell("theirs"), *BASE[1:]])[::2] == ["theirs", "ours"]
    moved.git("config", "--unset", "filter.kagg.process")
    moved.write("b.ipynb", encoded(ran("x"), ran("y", metadata={"tags": ["%O"]})))
    moved.git("add", ".")
    assert moved.stored("b.ipynb").count(b"result") == 1


def test_it_works_in_worktrees_submodules_and_with_a_hooks_path(installed, tmp_path):
    installed.git("config", "core.hooksPath", "hooks")
    installed.commit("a.ipynb", ran("a"))
    installed.git("worktree", "add", "-q", str(tmp_path / "tree"))
    tree = Repository(tmp_path / "tree", tmp_path)
    tree.kagg("git", "status")
    tree.write("b.ipynb", encoded(ran("b")))
    tree.git("add", ".")
    assert b"result" not in tree.stored("b.ipynb")
    outer = Repository(tmp_path / "outer", tmp_path)
    outer.git("init", "-q", ".")
    outer.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(installed.folder), "sub")
    inner = Repository(tmp_path / "outer/sub", tmp_path)
    inner.kagg("git", "status", code=1)
    inner.kagg("git", "install")
    assert (outer.folder / ".git/modules/sub/info/attributes").exists()
    inner.write("c.ipynb", encoded(ran("c")))
    inner.git("add", ".")
    assert b"result" not in inner.stored("c.ipynb")
    outer.kagg("git", "status", code=1)


# ---------------------------------------------------------------- the filter


def test_one_process_serves_all_files_of_an_add_and_of_a_status(installed):
    for number in range(200):
        installed.write(f"n{number}.ipynb", encoded(ran(f"x = {number}")))
    assert installed.served("add", ".") == 1
    for number in range(200):
        assert b"result" not in installed.stored(f"n{number}.ipynb") if number % 40 == 0 else True
        os.utime(installed.folder / f"n{number}.ipynb", (1, 1))
    assert installed.served("status", "--short") == 1
    assert set(installed.out.splitlines()) == {f"A  n{number}.ipynb" for number in range(200)}


def test_git_sees_no_change_when_only_outputs_changed_and_the_file_keeps_them(installed):
    installed.commit("a.ipynb", ran("x", 1))
    content = encoded(ran("x", 2))
    path = installed.write("a.ipynb", content)
    assert installed.git("diff") == ""
    installed.git("add", ".")
    assert installed.git("status", "--short") == ""
    assert path.read_bytes() == content


def test_filter_fallback_and_preprocess_give_the_same_bytes(installed, tmp_path):
    contents = {
        "indent.ipynb": encoded(ran("é = 1"), cell("text", "markdown"), colab={"x": 1}, indent=2),
        "compact.ipynb": json.dumps(document(ran("x"), ran("y"))).encode(),
        "crlf.ipynb": encoded(ran("x = 1\r\n")).replace(b"\n", b"\r\n"),
        "mark.ipynb": b"\xef\xbb\xbf" + encoded(ran("x")),
        "naïve 日本\"'.ipynb": encoded(ran("x")),
    }
    for name, content in contents.items():
        installed.write(name, content)
    installed.git("-c", "core.autocrlf=false", "add", ".")
    for name, content in contents.items():
        done = subprocess.run(
            [sys.executable, str(ROOT / "kagg.py"), "git", "clean-filter", "--", name],
            input=content, env=installed.env, cwd=installed.folder, capture_output=True, check=True,
        )  # fmt: skip
        assert done.stdout == installed.stored(name)
        assert b"result" not in done.stdout
        copy = tmp_path / "copy.ipynb"
        copy.write_bytes(content)
        installed.kagg("preprocess", str(copy), "--clean", "--strip-outputs")
        assert copy.read_bytes() == done.stdout


def test_git_without_the_process_protocol_uses_the_fallback(installed):
    installed.git("config", "--unset", "filter.kagg.process")
    installed.write("it's a.ipynb", encoded(ran("x")))
    assert installed.served("add", ".", action="clean-filter") == 1
    assert b"result" not in installed.stored("it's a.ipynb")


def test_a_notebook_of_20_megabytes_goes_through_in_packets(installed):
    big = {"output_type": "display_data", "metadata": {}, "data": {"image/png": "iVBO" * 5_000_000}}
    content = encoded(cell("x", outputs=[big]), cell("y" * 200_000))
    assert len(content) > 20_000_000
    installed.write("big.ipynb", content)
    installed.git("add", ".")
    stored = installed.stored("big.ipynb")
    assert b"iVBO" not in stored
    assert len(stored) > 3 * git_filter.MAX_PACKET_BYTES
    nbformat.validate(json.loads(stored))


def test_what_is_no_notebook_passes_through_with_one_line_and_the_rest_are_cleaned(installed):
    broken = b'{"cells": [\n<<<<<<< ours\n=======\n>>>>>>> theirs\n]}\n'
    installed.write("a.ipynb", encoded(ran("a")))
    installed.write("b.ipynb", broken)
    installed.write("c.ipynb", encoded(ran("c")))
    installed.write("d.ipynb", b"")
    assert installed.served("add", ".") == 1
    lines = [line for line in installed.err.splitlines() if line.startswith("kagg: ")]
    assert len(lines) == 1
    assert re.fullmatch(r"kagg: b\.ipynb is not a notebook: not JSON .*; kept as it is", lines[0])
    assert installed.stored("b.ipynb") == broken
    assert b"result" not in installed.stored("a.ipynb") + installed.stored("c.ipynb")


ODD = (["code"], {"a": 1}, None, 7, "", True)


@pytest.mark.parametrize("place", ["cell_type", "metadata", "source", "outputs", "id", "attachments", "cell"])
def test_odd_values_in_a_notebook_never_end_the_filter_nor_a_diff(installed, place):
    cells = []
    for number, value in enumerate(ODD):
        cells = [value] if place == "cell" else [ran("x") | {place: value}]
        installed.write(f"odd{number}.ipynb", encoded(*cells))
    installed.write("sound.ipynb", encoded(ran("y")))
    assert installed.served("add", ".") == 1
    assert b"result" not in installed.stored("sound.ipynb")
    for number in range(len(ODD)):
        assert installed.stored(f"odd{number}.ipynb")
    assert "+y" in installed.git("diff", "--cached")


def broken(*_):
    raise TypeError("unhashable type: 'list'")


def test_a_bug_in_a_step_costs_one_file_and_not_the_filter(tmp_path, monkeypatch):
    from plugins.prep import clean

    stderr = io.StringIO()
    ctx = Context(environment(tmp_path), stdout=io.StringIO(), stderr=stderr)
    monkeypatch.setattr(clean, "apply", broken)
    content = encoded(ran("x"))
    assert git_filter.cleaned(ctx, Policy({}), content, "a.ipynb") == content
    assert stderr.getvalue() == "kagg: a.ipynb cannot be cleaned (bug: TypeError); kept as it is\n"
    assert git_text.readable(ctx, Policy({}), content, "a.ipynb") == content
    with pytest.raises(git_filter.Refused):
        git_filter.cleaned(ctx, Policy({}, scan=True), encoded(cell(f'k = "{token()}"')), "a.ipynb")


def test_a_bug_in_the_scan_of_the_gate_lets_nothing_through(tmp_path, monkeypatch):
    from plugins.lib.secrets import scan

    stderr = io.StringIO()
    monkeypatch.setattr(scan, "notebook_records", broken)
    monkeypatch.setattr(scan, "bytes_records", broken)
    asked = packets(b"command=clean\n", b"pathname=a.ipynb\n") + packets(encoded(cell("x")))
    ctx = Context(environment(tmp_path), stdout=io.StringIO(), stderr=stderr)
    answer = conversation(ctx, HELLO + asked * 2, Policy({}, scan=True))
    assert re.findall(rb"status=\w+", answer) == [b"status=error"] * 2
    assert stderr.getvalue() == "kagg: a.ipynb: bug: TypeError\n" * 2


def test_checkout_gives_what_was_stored_and_stash_brings_outputs_of_nobody(installed):
    installed.commit("a.ipynb", ran("x"))
    stored = installed.stored("a.ipynb")
    (installed.folder / "a.ipynb").unlink()
    installed.git("checkout", "-q", "--", "a.ipynb")
    assert (installed.folder / "a.ipynb").read_bytes() == stored
    installed.write("a.ipynb", encoded(ran("x = 2")))
    installed.git("stash")
    assert (installed.folder / "a.ipynb").read_bytes() == stored
    installed.git("stash", "pop")
    found = json.loads((installed.folder / "a.ipynb").read_bytes())["cells"][0]
    assert (found["source"], found["outputs"]) == ("x = 2", [])


@pytest.fixture
def moved(repo, tmp_path):
    """A repository whose configuration names a kagg.py that `forget` removes."""
    old = tmp_path / "old place"
    old.mkdir()
    shutil.copy(ROOT / "kagg.py", old)
    (old / "plugins").symlink_to(ROOT / "plugins")
    repo.script, repo.forget = old / "kagg.py", lambda: shutil.rmtree(old)
    return repo


def test_when_the_program_has_gone_git_goes_on_without_it_and_says_so(moved):
    moved.kagg("git", "install")
    moved.commit("a.ipynb", *BASE)
    moved.git("branch", "side")
    moved.commit("a.ipynb", *BASE[:2], cell("ours"))
    moved.git("checkout", "-q", "side")
    moved.commit("a.ipynb", cell("theirs"), *BASE[1:])
    moved.forget()
    content = encoded(ran("x"))
    moved.write("b.ipynb", content)
    moved.git("add", ".")
    assert "kagg: the program of filter.kagg.process has gone" in moved.err
    assert moved.stored("b.ipynb") == content
    moved.git("commit", "-qm", "with outputs")
    assert re.search(r'^\+ +"result', moved.git("show"), re.MULTILINE)
    moved.git("merge", "-q", "--no-edit", "-")
    assert [found["source"] for found in json.loads(moved.stored("a.ipynb"))["cells"]][::2] == ["theirs", "ours"]
    assert (moved.folder / "a.ipynb").read_bytes() == moved.stored("a.ipynb")


def test_when_the_program_of_the_gate_has_gone_nothing_is_stored(moved):
    moved.kagg("git", "install", "--scan")
    moved.forget()
    moved.write("a.ipynb", encoded(ran("x")))
    moved.git("add", ".", code=128)
    assert "kagg: the program of filter.kagg.process has gone" in moved.err
    assert moved.git("ls-files") == ""


# ---------------------------------------------------------------- the gate


def test_a_secret_never_gets_into_the_repository(repo):
    repo.kagg("git", "install", "--scan")
    secret = token()
    repo.write("a.ipynb", encoded(ran("fine = 1")))
    repo.write("b.ipynb", encoded(cell("x"), cell(f'\nkey = "{secret}"')))
    repo.git("add", ".", code=128)
    lines = [line for line in repo.err.splitlines() if line.startswith("kagg: ")]
    assert len(lines) == 1
    assert lines[0].startswith("kagg: b.ipynb: cell 1 line 2: ")
    assert "not stored in git" in lines[0]
    assert secret not in repo.err
    assert repo.git("ls-files") == ""
    repo.git("add", "a.ipynb")
    assert b"result" not in repo.stored("a.ipynb")
    for blob in (line.split()[0] for line in repo.git("cat-file", "--batch-all-objects", "--batch-check").splitlines()):
        assert secret not in repo.git("cat-file", "-p", blob)


def test_a_secret_in_a_file_with_conflict_markers_is_refused_as_well(repo):
    repo.kagg("git", "install", "--scan")
    marked = encoded(cell(f'key = "{token()}"')).replace(b'"metadata": {},\n   "source"', b'<<<<<<< ours\n"source"')
    repo.write("b.ipynb", marked)
    repo.git("add", ".", code=128)
    assert "b.ipynb: the notebook line " in repo.err
    repo.write("b.ipynb", b"<<<<<<< ours\n=======\n>>>>>>> theirs\n")
    repo.git("add", ".")


def test_an_allowed_finding_passes(repo):
    repo.kagg("git", "install", "--scan")
    repo.write("b.ipynb", encoded(cell(f'key = "{token()}"')))
    repo.git("add", ".", code=128)
    allowed = re.search(r"--allow-finding (\S+)", repo.err)[1]
    repo.kagg("git", "install", "--scan", "--allow-finding", allowed)
    repo.git("add", ".")
    assert token().encode() in repo.stored("b.ipynb")


def test_a_baseline_that_somebody_reviewed_lets_its_secrets_pass_and_no_other(repo):
    path = repo.write("sub/b.ipynb", encoded(cell(f'key = "{token()}"')))
    repo.kagg("preprocess", "sub/b.ipynb", "--scan", "--baseline", ".secrets.baseline", "--update-baseline", code=None)
    repo.kagg("git", "install", "--scan", "--baseline", ".secrets.baseline")
    repo.git("add", "sub")
    assert token().encode() in repo.stored("sub/b.ipynb")
    path.write_bytes(encoded(cell(f'key = "{token()[::-1][:-3]}"'), cell(f'key = "hf_{token()[:2:-1]}"')))
    repo.git("add", "sub", code=128)


def test_a_secret_that_only_an_output_showed_is_stripped_and_not_refused(repo):
    repo.kagg("git", "install", "--scan")
    output = {"output_type": "stream", "name": "stdout", "text": [token()]}
    repo.write("b.ipynb", encoded(cell("x", outputs=[output])))
    repo.git("add", ".")
    assert token().encode() not in repo.stored("b.ipynb")


def test_the_fallback_refuses_a_secret_too(repo):
    repo.kagg("git", "install", "--scan")
    repo.git("config", "--unset", "filter.kagg.process")
    repo.write("b.ipynb", encoded(cell(f'key = "{token()}"')))
    repo.git("add", ".", code=128)
    assert "cell 0 line 1" in repo.err


def test_a_filter_that_is_killed_in_the_middle_lets_nothing_past_the_gate(repo):
    repo.kagg("git", "install", "--scan")
    for number in range(400):
        repo.write(f"n{number}.ipynb", encoded(*[ran(f"x = {number}\n" * 50)] * 20))
    adding = psutil.Popen(["git", "add", "."], cwd=repo.folder, env=repo.env, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list((repo.folder / ".git/objects").glob("??/*")):
        time.sleep(0.01)
    for child in adding.children(recursive=True):
        child.kill()
    assert adding.wait(60) != 0
    assert repo.git("ls-files") == ""
    (repo.folder / ".git/index.lock").unlink(missing_ok=True)
    repo.git("add", ".")
    assert b"result" not in repo.stored("n399.ipynb")


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "latin-1"])
def test_a_secret_in_a_notebook_of_another_encoding_is_refused(repo, codec):
    repo.kagg("git", "install", "--scan")
    text = encoded(cell(f'# \xe9\nkey = "{token()}"')).decode()
    repo.write("u.ipynb", text.encode(codec))
    repo.git("add", ".", code=128)
    assert "kagg: u.ipynb: " in repo.err
    repo.write("u.ipynb", text.replace(token(), "none").encode(codec))
    repo.git("add", ".")


def test_a_secret_in_json_that_no_step_reads_is_refused_unless_it_is_allowed(repo):
    repo.kagg("git", "install", "--scan")
    repo.write("a.ipynb", encoded(cell(f'key = "{token()}"') | {"cell_type": ["code"]}))
    repo.git("add", ".", code=128)
    found = re.search(r"--allow-finding (\S+)", repo.err)
    repo.kagg("git", "install", "--scan", "--allow-finding", found[1])
    repo.git("add", ".")


@pytest.mark.parametrize("name", ["L.IPYNB", "sub/a.Ipynb"])
def test_a_name_in_capitals_is_a_notebook_too(repo, name):
    repo.kagg("git", "install", "--scan")
    repo.write(name, encoded(ran("x"), cell(f'key = "{token()}"')))
    repo.git("add", ".", code=128)
    repo.write(name, encoded(ran("x")))
    repo.git("add", ".")
    assert b"result" not in repo.stored(name)


# ---------------------------------------------------------------- diff


def test_a_diff_shows_cells_as_text_under_the_title_of_their_cell(installed):
    lines = [f"line_{number}()" for number in range(9)]
    installed.commit("a.ipynb", cell("# Title", "markdown"), cell("\n".join(lines), metadata={"tags": ["t"]}))
    changed = "\n".join([*lines[:-1], "end()\x1b[2J"])
    installed.write("a.ipynb", encoded(cell("# Title", "markdown"), ran(changed, metadata={"tags": ["t"]})))
    shown = installed.git("diff").splitlines()
    assert '@@ -12,5 +12,5 @@ %% code tags=["t"]' in shown
    assert [line for line in shown if line[0] in "+-" and line[:3] not in ("+++", "---")] == [
        "-line_8()",
        "+end()\\x1b[2J",
    ]


def test_the_text_of_a_commit_is_cached_by_git(installed):
    installed.commit("a.ipynb", cell("x"))
    installed.commit("a.ipynb", cell("y"))
    assert installed.served("show", action="textconv") == 2
    assert "+y" in installed.out
    assert installed.served("show", action="textconv") == 0
    assert "+y" in installed.out


def test_a_diff_of_kept_outputs_names_images_by_digest(repo):
    repo.kagg("git", "install", "--keep-outputs")
    image = {"output_type": "display_data", "metadata": {}, "data": {"image/png": "iVBO" * 9, "text/plain": ["fig\n"]}}
    error = {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["\x1b[31mred\x1b[0m", "two"]}
    repo.commit("a.ipynb", cell("x", outputs=[image, error]))
    shown = repo.git("show")
    assert re.search(r"^\+>  38 bytes sha256:[0-9a-f]{12}$", shown, re.MULTILINE)
    assert "+>  fig\n" in shown
    assert "+>  red\n+>  two\n" in shown


def test_a_diff_of_what_is_no_notebook_shows_the_file(installed):
    installed.write("a.ipynb", b"no notebook\n")
    installed.git("add", ".")
    assert "+no notebook" in installed.git("diff", "--cached")


# ---------------------------------------------------------------- merge

BASE = [cell("# Title", "markdown"), cell("a = 1\nb = 2\nc = 3\nd = 4"), cell("plot(data)")]


def merged(repo, ours, theirs, base=BASE, name="it's a nötebook.ipynb", conflict=False):
    """Merge two branches, and return the cells of the file."""
    repo.commit(name, *base, message="base")
    repo.git("checkout", "-q", "-b", "side")
    repo.commit(name, *theirs, message="theirs")
    repo.git("checkout", "-q", "-")
    repo.commit(name, *ours, message="ours")
    repo.git("merge", "-q", "--no-edit", "side", code=int(conflict))
    content = json.loads((repo.folder / name).read_bytes())
    nbformat.validate(content)
    assert ("UU" in repo.git("-c", "core.quotepath=off", "status", "--short")) == conflict
    return ["".join(found["source"]) for found in content["cells"]]


def test_changes_to_different_cells_and_lines_merge(installed):
    ours = [BASE[0], ran("a = 1\nb = 2\nc = 3\nd = 44", 7), cell("first()"), BASE[2]]
    theirs = [cell("# New title", "markdown"), ran("a = 11\nb = 2\nc = 3\nd = 4", 9), BASE[2], cell("last()")]
    assert merged(installed, ours, theirs) == [
        "# New title", "a = 11\nb = 2\nc = 3\nd = 44", "first()", "plot(data)", "last()",
    ]  # fmt: skip


def test_a_conflict_is_marked_inside_its_cell_and_the_file_stays_a_notebook(installed):
    ours = [BASE[0], cell("a = 1\nb = 3\nc = 3\nd = 4"), BASE[2]]
    theirs = [BASE[0], cell("a = 1\nb = 4\nc = 3\nd = 4"), BASE[2]]
    found = merged(installed, ours, theirs, conflict=True)
    assert found[1] == "a = 1\n<<<<<<< ours\nb = 3\n=======\nb = 4\n>>>>>>> theirs\nc = 3\nd = 4"
    assert (found[0], found[2]) == ("# Title", "plot(data)")


def test_a_cell_that_one_side_deleted_and_the_other_changed_is_a_conflict(installed):
    ours = [BASE[0], BASE[2]]
    theirs = [BASE[0], cell("a = 1\nb = 2\nc = 3\nd = 5"), BASE[2]]
    found = merged(installed, ours, theirs, conflict=True)
    assert found[1] == "<<<<<<< ours\n=======\na = 1\nb = 2\nc = 3\nd = 5\n>>>>>>> theirs"


def test_a_cell_that_one_side_deleted_and_the_other_left_goes(installed):
    assert merged(installed, [BASE[0], BASE[2]], [*BASE, cell("new")]) == ["# Title", "plot(data)", "new"]


def test_a_deletion_among_equal_cells_is_told_by_the_ids(installed):
    named = [cell("plt.show()", id=f"{letter}{letter}1") for letter in "abcd"]

    def commit(cells):
        installed.write("a.ipynb", json.dumps(document(*cells) | {"nbformat_minor": 5}, indent=1).encode())
        installed.git("add", ".")
        installed.git("commit", "-qm", "change")

    commit(named)
    installed.git("checkout", "-q", "-b", "side")
    commit(named[:-1])
    installed.git("checkout", "-q", "-")
    commit(named[1:])
    installed.git("merge", "-q", "--no-edit", "side")
    assert [one["id"] for one in json.loads((installed.folder / "a.ipynb").read_bytes())["cells"]] == ["bb1", "cc1"]


def test_a_moved_cell_keeps_what_the_other_side_changed_in_it(installed):
    named = [found | {"id": f"cell-{index}"} for index, found in enumerate(BASE)]
    ours = [named[0], named[2], named[1]]
    theirs = [named[0], named[1] | {"source": "a = 1\nb = 2\nc = 3\nd = 5"}, named[2]]
    assert merged(installed, ours, theirs, base=named) == ["# Title", "plot(data)", "a = 1\nb = 2\nc = 3\nd = 5"]


def test_different_cells_that_both_added_at_one_place_are_both_kept_ours_first(installed):
    found = merged(installed, [*BASE, cell("train(model, epochs=3)")], [*BASE, cell("import os\nos.getcwd()")])
    assert found[3:] == ["train(model, epochs=3)", "import os\nos.getcwd()"]


def test_the_same_cell_that_both_added_comes_once_and_a_similar_one_is_a_conflict(installed):
    found = merged(installed, [*BASE, cell("same(1)"), cell("fit(x, y, 10)")],
                   [*BASE, cell("same(1)"), cell("fit(x, y, 20)")], conflict=True)  # fmt: skip
    assert found[3:] == ["same(1)", "<<<<<<< ours\nfit(x, y, 10)\n=======\nfit(x, y, 20)\n>>>>>>> theirs"]


def test_a_cell_that_both_sides_replaced_by_unlike_ones_is_a_conflict(installed):
    found = merged(installed, [*BASE[:2], cell("one"), cell("two")], [*BASE[:2], cell("3"), cell("4")], conflict=True)
    assert found[2:] == ["one", "two", "3", "4"]


def test_both_sides_may_add_the_notebook(installed):
    installed.write("other", b"x")
    installed.git("add", ".")
    installed.git("commit", "-qm", "base")
    installed.git("checkout", "-q", "-b", "side")
    installed.commit("a.ipynb", cell("import os"), cell("rate = 1"))
    installed.git("checkout", "-q", "-")
    installed.commit("a.ipynb", cell("import os"), cell("rate = 2"))
    installed.git("merge", "-q", "--no-edit", "side", code=1)
    found = json.loads((installed.folder / "a.ipynb").read_bytes())["cells"]
    assert "".join(found[0]["source"]) == "import os"
    assert "<<<<<<< ours" in "".join(found[1]["source"])


def test_tags_of_both_sides_are_joined_and_metadata_that_both_changed_is_a_conflict(installed):
    def versions(tags, accelerator):
        return [cell("x", metadata={"tags": tags})], accelerator

    for (cells, accelerator), branch in (
        (versions(["a"], "cpu"), None), (versions(["a", "t"], "gpu"), "side"), (versions(["o"], "tpu"), "main"),
    ):  # fmt: skip
        if branch == "side":
            installed.git("checkout", "-q", "-b", "side")
        elif branch:
            installed.git("checkout", "-q", branch)
        installed.write("a.ipynb", encoded(*cells, accelerator=accelerator))
        installed.git("add", ".")
        installed.git("commit", "-qm", "x")
        installed.git("branch", "-M", branch or "main")
    installed.git("merge", "-q", "--no-edit", "side", code=1)
    assert "conflict in metadata.accelerator: both sides changed it; ours is kept" in installed.err
    found = json.loads((installed.folder / "a.ipynb").read_bytes())
    assert found["metadata"]["accelerator"] == "tpu"
    assert found["cells"][0]["metadata"]["tags"] == ["o", "t"]


def test_what_is_no_notebook_on_one_side_is_merged_as_text(installed):
    installed.write("a.ipynb", b"one\ntwo\nthree\n")
    installed.git("add", ".")
    installed.git("commit", "-qm", "base")
    installed.git("checkout", "-q", "-b", "side")
    installed.write("a.ipynb", b"one\ntwo\n3\n")
    installed.git("commit", "-qam", "theirs")
    installed.git("checkout", "-q", "-")
    installed.write("a.ipynb", b"1\ntwo\nthree\n")
    installed.git("commit", "-qam", "ours")
    installed.git("merge", "-q", "--no-edit", "side")
    assert (installed.folder / "a.ipynb").read_bytes() == b"1\ntwo\n3\n"


def test_a_very_large_notebook_is_merged_as_text(repo):
    repo.kagg("git", "install", "--keep-outputs")
    output = {"output_type": "stream", "name": "stdout", "text": ["x" * 17_000_000]}
    ours = [cell("changed"), cell("x"), cell("y", outputs=[output])]
    theirs = [cell("first"), cell("x"), cell("y", outputs=[output]), cell("last")]
    found = merged(repo, ours, theirs, base=[cell("first"), cell("x"), cell("y", outputs=[output])])
    assert found == ["changed", "x", "y", "last"]


def test_rebase_and_cherry_pick_use_the_driver(installed):
    installed.commit("a.ipynb", *BASE)
    installed.git("checkout", "-q", "-b", "side")
    installed.commit("a.ipynb", *BASE, cell("theirs_only = open('x')"))
    installed.git("checkout", "-q", "-")
    installed.commit("a.ipynb", cell("# Other", "markdown"), *BASE[1:])
    installed.git("cherry-pick", "side")
    found = json.loads((installed.folder / "a.ipynb").read_bytes())["cells"]
    assert ["".join(one["source"]) for one in found][::3] == ["# Other", "theirs_only = open('x')"]


def test_the_driver_without_the_words_of_git_is_a_usage_error(repo):
    repo.kagg("git", "merge-driver", "a", "b", code=2)
    repo.kagg("git", "merge-driver", "a", "b", "c", "seven", "d", code=2)
    repo.kagg("git", "merge-driver", "no", "no", "no", "7", "d", code=1)


SOURCES = st.sampled_from(["", "a", "b", "a\nb\nc", "x = 1\ny = 2", "plot(x)", "# é", "a\nb\nd\ne"])
NOTEBOOKS = st.lists(st.builds(cell, SOURCES, st.sampled_from(["code", "markdown"])), max_size=6)


@settings(deadline=None)
@given(NOTEBOOKS, NOTEBOOKS, NOTEBOOKS)
def test_no_cell_gets_lost_or_comes_twice(base, ours, theirs):
    of_base, mine, yours = label_sides(base, ours, theirs)
    order, _ = merged_order(of_base, mine, yours)
    assert len(set(mine)) == len(mine)
    assert len(set(yours)) == len(yours)
    assert sorted(order) == sorted(set(mine) | set(yours))
    assert merged_order(of_base, mine, of_base)[0][: len(mine)] or not mine


@settings(deadline=None)
@given(NOTEBOOKS, NOTEBOOKS)
def test_a_side_that_changed_nothing_does_not_change_the_order(base, side):
    of_base, mine, _ = label_sides(base, side, base)
    order, moved = merged_order(of_base, mine, of_base)
    assert [label for label in order if label in mine] == mine
    assert not moved


@settings(deadline=None)
@given(NOTEBOOKS, NOTEBOOKS)
def test_what_only_one_side_changed_is_the_result_and_so_is_what_both_changed_alike(base, side):
    before, after = document(*base), document(*side, title="t")
    for ours, theirs in ((after, before), (before, after), (after, after)):
        merge = _Merge(None, 7)
        result = merge.notebooks(before, ours, theirs)
        assert [key for key in after if result[key] != after[key]] == []
        assert merge.conflicts == []


def test_pairing_many_equal_and_many_different_cells_takes_linear_time():
    many = [cell("") for _ in range(50_000)]
    started = time.process_time()
    assert len(pair_cells(many, [cell("new"), *many[:-1]])) >= 49_000
    unlike = [cell(f"value_{number} = {number}") for number in range(3_000)]
    pair_cells(unlike, [cell(f"{number} + other_{number}") for number in range(3_001)])
    assert time.process_time() - started < 30  # a quadratic pairing takes many minutes


# ---------------------------------------------------------------- the protocol


def conversation(ctx, data, policy=None):
    """What the filter answers to bytes."""
    sink = io.BytesIO()
    git_filter.serve(ctx, policy or Policy({}), io.BytesIO(data), sink)
    return sink.getvalue()


def packets(*lines):
    return b"".join(b"%04x%s" % (len(line) + 4, line) for line in lines) + b"0000"


HELLO = packets(b"git-filter-client\n", b"version=2\n") + packets(b"capability=clean\n", b"capability=delay\n")


def test_the_filter_offers_only_what_git_asked_for(ctx):
    answer = conversation(ctx, HELLO)
    assert answer == packets(b"git-filter-server\n", b"version=2\n") + packets(b"capability=clean\n")


@pytest.mark.parametrize("data", [b"", b"zzzz", b"0003", b"ffff", packets(b"git-other-client\n"), HELLO + b"0010comm"])
def test_what_is_not_the_protocol_ends_in_one_error(ctx, data):
    with pytest.raises(KaggError, match="git's filter protocol broke off"):
        conversation(ctx, data)


@given(st.binary(max_size=200_000))
@settings(max_examples=20, deadline=None)
def test_content_of_any_size_survives_the_packets(content):
    sink = io.BytesIO()
    write_packets(sink, content)
    sink.seek(0)
    pieces = list(iter(lambda: read_packet(sink), None))
    assert b"".join(pieces) == content
    assert all(0 < len(piece) <= git_filter.MAX_PACKET_BYTES for piece in pieces)


def test_a_refused_file_does_not_end_the_process(tmp_path):
    stderr = io.StringIO()
    ctx = Context(environment(tmp_path), stdout=io.StringIO(), stderr=stderr)
    asked = b""
    for name, source in (("a", "x"), ("b", f'key = "{token()}"'), ("c", "y")):
        asked += packets(b"command=clean\n", f"pathname={name}.ipynb\n".encode())
        asked += packets(json.dumps(document(cell(source))).encode())
    answer = conversation(ctx, HELLO + asked, Policy({}, scan=True))
    assert re.findall(rb"status=\w+", answer) == [b"status=success", b"status=error", b"status=success"]
    assert "b.ipynb: cell 0 line 1" in stderr.getvalue()


def test_a_killed_git_ends_the_filter(installed):
    """EOF after a whole command is how git says that it is done; a cut one is an error, and never hangs."""
    for data, code in ((HELLO, 0), (HELLO[:-3], 1)):
        done = subprocess.run(
            [sys.executable, str(ROOT / "kagg.py"), "git", "filter-process"], input=data, env=installed.env,
            cwd=installed.folder, capture_output=True, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == code


@pytest.mark.parametrize("options", [(), ("--scan",), ("--keep-tag", "x")])
def test_the_command_that_is_configured_answers_as_kagg_does(repo, options):
    repo.kagg("git", "install", *options)
    command = json.loads(repo.kagg("--json", "git", "status"))["process"]
    asked = HELLO + packets(b"command=clean\n", b"pathname=a.ipynb\n") + packets(encoded(ran("x")))
    for data, code in ((asked, 0), (HELLO[:-3], 1)):
        usual = [sys.executable, str(ROOT / "kagg.py"), "git", *options, "filter-process"]
        both = [
            subprocess.run(words, input=data, env=repo.env, cwd=repo.folder, capture_output=True, check=False)
            for words in (usual, ["sh", "-c", command])
        ]
        assert both[0].returncode == both[1].returncode == code
        assert (both[0].stdout, both[0].stderr) == (both[1].stdout, both[1].stderr)
        assert both[0].stdout
