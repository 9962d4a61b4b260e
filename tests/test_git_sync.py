"""`--code git`: what is committed, pushed and fetched, against real git servers and real repositories."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import house
import pytest
from front_door import close, environment
from git_server import GitHost
from local_kaggle import Client

from kagg import Context, Exit, KaggError, main, recorded
from plugins.lib.kaggle.server import LocalKaggle
from plugins.lib.launch import git_address, git_remote, git_state, git_sync, git_tree, script

ATTEMPT = "train-20261120-1130-a1b2c3"
TOKEN = "github" + "_pat_" + "11ABCDE0Q0" + "x7Yz" * 6
PAIR = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
AWS_KEY = "AKIA" + "IOSFODNN7" + "QWERTYU"


class PatientContext(Context):
    """A context whose waits are short, and whose clock is the real one: Kaggle's datasets take their time."""

    def __init__(self, env):
        super().__init__(env, stdout=io.StringIO(), stderr=io.StringIO())

    def sleep(self, seconds):
        super().sleep(min(seconds, 0.05))


class Desk:
    """A user with a repository, a git host, and the journal of what was done."""

    def __init__(self, folder, host, **env):
        self.folder, self.host = folder, host
        self.home = folder / "home"
        self.home.mkdir()
        (self.home / ".gitconfig").write_text("[user]\nname = Me\nemail = me@example.org\n[init]\ndefaultBranch=main\n")
        self.env = environment(folder, GIT_CONFIG_NOSYSTEM="1", GIT_TERMINAL_PROMPT="0", **env)
        self.ctx = PatientContext(self.env)
        self.work, self.journal = folder / "work", []
        self.work.mkdir()

    def git(self, *words, cwd=None, env=()):
        command = ["git", *map(str, words)]
        done = subprocess.run(
            command, cwd=cwd or self.work, env={**self.env, **dict(env)}, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def write(self, name, content="print('hello')\n"):
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def start(self, name="project", url=None):
        """Make a repository with one pushed commit of main.py, and return its URL."""
        url = url or self.host.make(name)
        self.git("init", "--quiet")
        self.git("remote", "add", "origin", url)
        self.write("main.py")
        self.commit("first")
        self.git("push", "--quiet", "--set-upstream", "origin", "main")
        return url

    def commit(self, message):
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.head

    @property
    def head(self):
        return self.git("rev-parse", "HEAD")

    @property
    def said(self):
        return self.ctx.stderr.getvalue()

    @contextlib.contextmanager
    def effect(self, kind, target, request):
        made = SimpleNamespace(outcome=None)
        entry = [kind, target, request, "pending"]
        self.journal.append(entry)
        yield made
        entry[3] = made.outcome

    def sync(self, path=None, entry=None, **options):
        given = SimpleNamespace(**options)
        return git_sync.git_code(self.ctx, path or self.work, entry, given, attempt=ATTEMPT, effect=self.effect)

    def refused(self, *args, **options):
        """Return the error of a sync that changes nothing: neither here nor there."""
        before, acts = self.everything(), len(self.journal)
        with pytest.raises(KaggError) as caught:
            self.sync(*args, **options)
        assert self.everything() == before
        assert len(self.journal) == acts
        return caught.value

    def everything(self):
        status = self.git("status", "--porcelain", "--untracked-files=all")
        refs = self.git("for-each-ref", "--format=%(refname) %(objectname)")
        places = [self.host.refs(place.stem) for place in sorted(self.host.folder.glob("*.git"))]
        return status, refs, places, self.git("count-objects", "-v")

    def session(self, code, env=(), before=""):
        """Fetch the code as a session does, in a process of its own; return the folder and what was said."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        program = (
            f"import json, pathlib, sys\nsys.path.insert(0, {str(house.ROOT)!r})\n"
            f"from plugins.lib.launch import in_session_git as part\n{before}\n"
            "try:\n    part.fetch_code(json.load(sys.stdin), pathlib.Path(sys.argv[1]), print)\n"
            "except part.CodeError as error:\n    sys.exit(f'CodeError: {error}')\n"
        )
        given = {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(self.folder), **dict(env)}
        done = subprocess.run(
            [sys.executable, "-c", program, str(folder)],
            input=json.dumps(code.payload),
            env=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not list(self.folder.glob("kagg-git-*"))
        return folder, done


def hashes(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def host(tmp_path):
    with GitHost(tmp_path / "host") as server:
        yield server


@pytest.fixture
def desk(tmp_path, host, idle_kaggle):
    key = idle_kaggle.world.accounts.users["demo"]["key"]
    (tmp_path / "desk").mkdir()
    names = {"KAGG_KAGGLE_URL": idle_kaggle.url, "KAGGLE_USERNAME": "demo", "KAGGLE_KEY": key}
    found = Desk(tmp_path / "desk", host, **names)
    yield found
    close(found.ctx)


# --- a clean tree -----------------------------------------------------------------------------------------------------


def test_a_clean_pushed_commit_is_pinned_and_the_session_gets_its_bytes(desk):
    url = desk.start()
    code = desk.sync()
    assert code.transport == "git"
    assert code.entry == "main.py"
    assert code.commit == desk.head
    assert code.payload == {"url": url, "commit": desk.head, "branch": "refs/heads/main", "links": {}}
    assert code.summary == f"commit {desk.head[:7]} of origin/main, tree clean"
    assert (code.datasets, code.created, desk.journal) == ((), (), [])
    lines = "".join(sorted(f"{digest}  {name}\n" for name, digest in code.files.items()))
    assert code.sha256 == hashlib.sha256(lines.encode()).hexdigest()
    folder, done = desk.session(code)
    assert done.returncode == 0, done.stderr
    assert hashes(folder) == code.files
    assert sorted(path.name for path in folder.iterdir()) == ["main.py"]


def test_no_attribute_or_line_end_setting_changes_a_byte(desk):
    desk.start()
    names = ["dos.txt", "unix.txt", "ident.c", "wide.txt", "hidden.txt", "name with ü 'q' \"d\".txt", "a\nb\ttab.txt"]
    desk.write(".gitattributes", "*.txt text eol=crlf\n*.c ident\nhidden.txt export-ignore\n*.bin filter=lfs\n")
    for name in names:
        desk.write(name, b"one\r\n" if name == "dos.txt" else b"one\n$Id$\ntwo\n")
    desk.write("bits.bin", bytes(range(256)) * 400)
    desk.write("tool.sh", "#!/bin/sh\n").chmod(0o755)
    desk.write("empty")
    desk.commit("more")
    desk.git("push", "--quiet")
    code = desk.sync()
    folder, done = desk.session(code)
    assert done.returncode == 0, done.stderr
    assert hashes(folder) == code.files
    assert set(names) < set(code.files)
    assert (folder / "ident.c").read_bytes() == b"one\n$Id$\ntwo\n"
    assert os.access(folder / "tool.sh", os.X_OK)
    assert not os.access(folder / "bits.bin", os.X_OK)


def test_a_link_becomes_a_copy_and_one_that_leads_out_is_left_out(desk):
    desk.start()
    desk.write("data/a.csv", "1\n")
    desk.write("data/sub/b.csv", "2\n")
    for name, target in (("latest.csv", "data/a.csv"), ("pkg/data", "../data"), ("out", "/etc/passwd"),
                         ("gone", "nothing"), ("loop", "loop"), ("data/up", "..")):  # fmt: skip
        (desk.work / name).parent.mkdir(exist_ok=True)
        (desk.work / name).symlink_to(target)
    desk.commit("links")
    desk.git("push", "--quiet")
    code = desk.sync()
    assert code.payload["links"] == {
        "latest.csv": "data/a.csv", "pkg/data/a.csv": "data/a.csv", "pkg/data/sub/b.csv": "data/sub/b.csv",
    }  # fmt: skip
    assert "data/up, gone, loop, out" in desk.said
    folder, done = desk.session(code)
    assert done.returncode == 0, done.stderr
    assert hashes(folder) == code.files
    assert not any(path.is_symlink() for path in folder.rglob("*"))


def test_a_file_in_a_subfolder_runs_by_its_path_in_the_repository(desk):
    desk.start()
    desk.write("exp/train.py")
    desk.write("exp/main.py")
    desk.commit("more")
    desk.git("push", "--quiet")
    assert desk.sync(desk.work / "exp" / "train.py").entry == "exp/train.py"
    assert desk.sync(desk.work / "exp").entry == "exp/main.py"
    assert desk.sync(desk.work / "exp", "train.py").entry == "exp/train.py"
    (desk.folder / "shortcut").symlink_to(desk.work)
    assert desk.sync(desk.folder / "shortcut" / "exp" / "train.py").entry == "exp/train.py"


def test_untracked_files_are_named_and_do_not_travel_but_an_untracked_entry_is_refused(desk):
    desk.start()
    desk.write("notes.txt", "x")
    desk.write("helper.py")
    desk.write("new/entry.py")
    code = desk.sync()
    assert sorted(code.files) == ["main.py"]
    assert "3 untracked files and folders: helper.py, new/, notes.txt" in desk.said
    error = desk.refused(desk.work / "new" / "entry.py")
    assert (error.code, error.hint) == (Exit.USAGE, "git add it, and commit")


def test_git_lfs_pointers_and_submodules_are_said(desk):
    desk.start()
    other = desk.folder / "other"
    other.mkdir()
    desk.git("init", "--quiet", cwd=other)
    desk.git("commit", "--quiet", "--allow-empty", "--message", "x", cwd=other)
    desk.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "vendored")
    desk.write("weights.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 5\n")
    desk.commit("more")
    desk.git("push", "--quiet")
    (desk.work / "vendored" / "made.txt").write_text("x")
    code = desk.sync()
    assert "submodules are not followed: vendored" in desk.said
    assert "Git LFS keeps the content of weights.bin" in desk.said
    folder, done = desk.session(code)
    assert "the submodule 'vendored' is not fetched" in done.stdout
    assert hashes(folder) == code.files


def test_a_detached_worktree_a_shallow_and_a_sparse_clone_work(desk):
    url = desk.start()
    desk.write("lib/more.py")
    desk.commit("second")
    desk.git("push", "--quiet")
    whole = desk.sync().files
    desk.git("worktree", "add", "--quiet", "--detach", desk.folder / "tree", "HEAD~1")
    code = desk.sync(desk.folder / "tree")
    assert code.commit != desk.head
    assert code.summary.endswith("of origin/main, tree clean")
    desk.git("clone", "--quiet", "--depth", "1", url, desk.folder / "shallow")
    assert desk.sync(desk.folder / "shallow").files == whole
    desk.git("clone", "--quiet", "--sparse", url, desk.folder / "sparse")
    assert not (desk.folder / "sparse" / "lib").exists()
    assert desk.sync(desk.folder / "sparse").files == whole


def test_a_commit_that_only_a_tag_has_is_found(desk):
    desk.start()
    desk.git("switch", "--quiet", "--detach")
    desk.write("main.py", "print(2)\n")
    desk.commit("tagged")
    desk.git("tag", "--annotate", "--message", "x", "v1")
    desk.git("push", "--quiet", "origin", "v1")
    code = desk.sync()
    assert code.summary == f"commit {desk.head[:7]} of origin/v1, tree clean"
    assert desk.session(code)[1].returncode == 0


def test_a_remote_that_has_moved_on_still_has_our_commit(desk):
    url = desk.start()
    other = desk.folder / "other"
    desk.git("clone", "--quiet", url, other)
    (other / "main.py").write_text("print(3)\n")
    desk.git("commit", "--quiet", "--all", "--message", "theirs", cwd=other)
    desk.git("push", "--quiet", cwd=other)
    code = desk.sync()
    assert code.commit == desk.head
    folder, done = desk.session(code)
    assert done.returncode == 0, done.stderr
    assert hashes(folder) == code.files


def test_a_commit_that_was_pushed_over_is_not_taken_for_pushed(desk):
    desk.start()
    desk.write("main.py", "print(2)\n")
    desk.commit("second")
    desk.git("push", "--quiet")
    other = desk.folder / "other"
    desk.git("clone", "--quiet", desk.host.url + "/project.git", other)
    desk.git("reset", "--quiet", "--hard", "HEAD~1", cwd=other)
    (other / "main.py").write_text("print(3)\n")
    desk.git("commit", "--quiet", "--all", "--message", "theirs", cwd=other)
    desk.git("push", "--quiet", "--force", cwd=other)
    place = desk.host.folder / "project.git"
    desk.git("reflog", "expire", "--expire=now", "--all", cwd=place)
    desk.git("gc", "--quiet", "--prune=now", cwd=place)
    assert "is not at origin" in desk.refused().message
    assert desk.refused(push=True).hint == "git pull first"


# --- a tree that is not clean -----------------------------------------------------------------------------------------


def test_a_changed_tree_is_refused_with_its_files_and_what_to_do(desk):
    desk.start()
    for number in range(12):
        desk.write(f"old{number:02}.txt", "x")
    desk.commit("many")
    desk.git("push", "--quiet")
    for number in range(12):
        desk.write(f"old{number:02}.txt", "y")
    desk.write("neü 'x'.py")
    desk.git("add", "neü 'x'.py")
    error = desk.refused()
    assert error.code == Exit.USAGE
    assert "staged: 'ne\\xfc" in error.message or "staged: \"ne\\xfc 'x'.py\"" in error.message
    assert "changed: old00.txt" in error.message
    assert "and 4 more" in error.message
    assert "--commit --push" in error.hint
    assert "does not have" in desk.refused(commit=True).message


def test_staged_files_alone_are_committed_and_pushed(desk):
    desk.start()
    desk.write("main.py", "print('staged')\n")
    desk.git("add", "main.py")
    desk.write("main.py", "print('staged and changed again')\n")
    desk.write("new.py")
    desk.git("add", "new.py")
    desk.write("not_added.py")
    before = desk.head
    code = desk.sync(commit=True, push=True, commit_message="--try\n# this\n")
    assert desk.git("rev-list", "--count", f"{before}..HEAD") == "1"
    assert desk.git("log", "-1", "--format=%B") == "--try\n# this"
    assert sorted(code.files) == ["main.py", "new.py"]
    assert code.files["main.py"] == hashlib.sha256(b"print('staged')\n").hexdigest()
    assert code.summary == f"sync: 2 files committed, commit {desk.head[:7]} pushed to origin/main"
    assert "changed and not staged, so not in the commit: main.py" in desk.said
    assert "not_added.py" in desk.said
    assert desk.git("status", "--porcelain") == "M main.py\n?? not_added.py"
    assert desk.host.refs("project") == {"refs/heads/main": desk.head}
    assert [entry[:2] for entry in desk.journal] == [["commit", str(desk.work)], ["git-push", "origin/main"]]
    assert desk.journal[0][3] == {"commit": desk.head}
    assert desk.journal[1][2]["commits"] == 1
    folder, done = desk.session(code)
    assert done.returncode == 0, done.stderr
    assert hashes(folder) == code.files


def test_without_staged_files_all_tracked_changes_are_committed(desk):
    desk.start()
    desk.write("gone.py")
    desk.write("odd\nname ü.txt", "1\n")
    desk.commit("more")
    desk.git("push", "--quiet")
    desk.write("main.py", "print(2)\n")
    desk.write("odd\nname ü.txt", "2\n")
    (desk.work / "gone.py").unlink()
    desk.write("untracked.py")
    code = desk.sync(commit=True, push=True)
    assert code.summary.startswith("sync: 3 files committed, ")
    assert sorted(code.files) == ["main.py", "odd\nname ü.txt"]
    assert desk.git("log", "-1", "--format=%s") == "kagg run main.py"
    assert desk.git("status", "--porcelain") == "?? untracked.py"
    assert hashes(desk.session(code)[0]) == code.files


def test_the_user_s_hooks_run_and_what_they_change_is_what_the_session_gets(desk):
    desk.start()
    hook = desk.work / ".git" / "hooks" / "pre-commit"
    hook.write_text("#!/bin/sh\necho '# by the hook' >> main.py\ngit add main.py\n")
    hook.chmod(0o755)
    desk.write("main.py", "print(2)\n")
    desk.git("add", "main.py")
    code = desk.sync(commit=True, push=True)
    assert code.files["main.py"] == hashlib.sha256(b"print(2)\n# by the hook\n").hexdigest()
    hook.write_text("#!/bin/sh\necho 'no tests, no commit' >&2\nexit 1\n")
    desk.write("main.py", "print(3)\n")
    desk.journal.clear()
    with pytest.raises(KaggError, match="no tests, no commit"):
        desk.sync(commit=True, push=True)
    assert desk.head == code.commit


def test_a_secret_that_a_hook_brings_in_is_committed_here_but_never_pushed(desk):
    desk.start()
    before = desk.host.refs("project")
    hook = desk.work / ".git" / "hooks" / "pre-commit"
    hook.write_text(f"#!/bin/sh\necho 'key = \"{AWS_KEY}\"' >> main.py\ngit add main.py\n")
    hook.chmod(0o755)
    desk.write("main.py", "print(2)\n")
    with pytest.raises(KaggError) as caught:
        desk.sync(commit=True, push=True)
    assert caught.value.code == Exit.FINDINGS
    assert desk.host.refs("project") == before


def test_a_secret_is_found_before_anything_is_committed_and_can_be_allowed(desk):
    desk.start()
    desk.write("main.py", f"key = '{AWS_KEY}'\n")
    error = desk.refused(commit=True, push=True)
    assert error.code == Exit.FINDINGS
    assert AWS_KEY not in error.message + desk.said
    finding = error.details["findings"][0]["id"]
    code = desk.sync(commit=True, push=True, allow_finding=[finding])
    assert desk.host.refs("project") == {"refs/heads/main": code.commit}
    desk.write("main.py", "print(1)\n")
    error = desk.refused(commit=True, push=True, commit_message=f"with {AWS_KEY}")
    assert error.code == Exit.FINDINGS


def test_a_secret_in_an_older_unpushed_commit_is_not_pushed(desk):
    desk.start()
    desk.write("main.py", f"key = '{AWS_KEY}'\n")
    desk.commit("oops")
    desk.write("main.py", "print(2)\n")
    desk.commit("taken out")
    error = desk.refused(push=True)
    assert error.code == Exit.FINDINGS
    assert error.details["findings"][0]["file"] == "main.py (an older version)"


def test_a_missing_identity_is_said_before_the_commit(desk):
    desk.start()
    (desk.home / ".gitconfig").write_text("")
    desk.write("main.py", "print(2)\n")
    error = desk.refused(commit=True, push=True)
    assert (error.code, error.message) == (Exit.CONFIG, "git does not know who commits")


def test_conflicts_a_merge_and_a_detached_head_are_not_committed(desk):
    desk.start()
    desk.git("switch", "--quiet", "--create", "side")
    desk.write("main.py", "print('side')\n")
    desk.commit("side")
    desk.git("switch", "--quiet", "main")
    desk.write("main.py", "print('main')\n")
    desk.commit("main")
    desk.git("push", "--quiet")
    subprocess.run(["git", "merge", "--quiet", "side"], cwd=desk.work, env=desk.env, capture_output=True, check=False)
    assert "files in conflict: main.py" in desk.refused(commit=True, push=True).message
    desk.write("main.py", "print('both')\n")
    desk.git("add", "main.py")
    assert "a merge is under way" in desk.refused(commit=True, push=True).message
    desk.git("merge", "--abort")
    desk.git("switch", "--quiet", "--detach")
    desk.write("main.py", "print(4)\n")
    assert "HEAD is on no branch" in desk.refused(commit=True, push=True).message
    desk.git("commit", "--quiet", "--all", "--message", "loose")
    assert "is not at origin" in desk.refused().message
    assert "HEAD is on no branch" in desk.refused(push=True).message


# --- pushing ----------------------------------------------------------------------------------------------------------


def test_a_commit_that_the_remote_lacks_is_refused_and_pushed_on_demand(desk):
    desk.start()
    desk.write("main.py", "print(2)\n")
    desk.commit("second")
    desk.git("tag", "--annotate", "--message", "x", "v1")
    desk.git("config", "push.followTags", "true")
    desk.git("branch", "other")
    error = desk.refused()
    assert (error.code, "--push" in error.hint) == (Exit.USAGE, True)
    code = desk.sync(push=True)
    assert code.summary == f"sync: commit {desk.head[:7]} pushed to origin/main"
    assert desk.host.refs("project") == {"refs/heads/main": desk.head}
    assert desk.sync(push=True).summary.endswith("tree clean")


def test_a_branch_without_upstream_is_made_and_one_of_another_name_is_not_pushed_to(desk):
    desk.start()
    desk.git("switch", "--quiet", "--create", "new/ünï")
    desk.write("main.py", "print(2)\n")
    desk.commit("second")
    code = desk.sync(push=True)
    assert "origin/new/ünï does not exist yet; the push creates it" in desk.said
    assert code.summary.endswith("pushed to origin/new/ünï (new)")
    desk.git("switch", "--quiet", "--create", "topic", "--track", "origin/main")
    desk.write("main.py", "print(3)\n")
    desk.commit("third")
    assert "belongs to origin/main" in desk.refused(push=True).message
    desk.git("config", "push.default", "upstream")
    assert desk.sync(push=True).summary.endswith("pushed to origin/main")


def test_a_branch_that_is_behind_is_not_forced(desk):
    url = desk.start()
    other = desk.folder / "other"
    desk.git("clone", "--quiet", url, other)
    (other / "main.py").write_text("print(3)\n")
    desk.git("commit", "--quiet", "--all", "--message", "theirs", cwd=other)
    desk.git("push", "--quiet", cwd=other)
    desk.write("main.py", "print(2)\n")
    error = desk.refused(commit=True, push=True)
    assert (error.message, error.hint) == ("origin/main has commits that are not in main", "git pull first")


def test_the_first_commit_of_a_repository_can_be_made_and_pushed(desk):
    url = desk.host.make("fresh")
    desk.git("init", "--quiet")
    desk.git("remote", "add", "origin", url)
    desk.write("main.py")
    assert "no commit yet" in desk.refused(commit=True, push=True).message
    desk.git("add", "main.py")
    code = desk.sync(commit=True, push=True)
    assert code.summary == f"sync: 1 file committed, commit {desk.head[:7]} pushed to origin/main (new)"
    assert desk.session(code)[1].returncode == 0


def test_a_push_that_the_host_refuses_leaves_the_commit_and_says_so(desk):
    desk.start()
    desk.write("main.py", "print(2)\n")
    desk.host.refuse_push = "yes"
    with pytest.raises(KaggError, match="git push to origin/main failed") as caught:
        desk.sync(commit=True, push=True)
    assert caught.value.code == Exit.SERVICE
    assert f"the commit {desk.head[:7]} stays in main" in caught.value.hint
    assert [entry[0] for entry in desk.journal] == ["commit", "git-push"]
    desk.host.refuse_push = ""
    assert desk.sync(commit=True, push=True).summary == f"sync: commit {desk.head[:7]} pushed to origin/main"


def test_of_runs_that_start_together_one_commits(desk):
    desk.start()
    desk.write("main.py", "print(2)\n")
    with ThreadPoolExecutor(3) as pool:
        codes = list(pool.map(lambda _: desk.sync(commit=True, push=True), range(3)))
    assert {code.commit for code in codes} == {desk.head}
    assert [entry[0] for entry in desk.journal] == ["commit", "git-push"]


def test_a_branch_that_the_host_protects_is_refused_in_its_words(desk):
    desk.start()
    hook = desk.host.folder / "project.git" / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'main is protected' >&2\nexit 1\n")
    hook.chmod(0o755)
    desk.write("main.py", "print(2)\n")
    with pytest.raises(KaggError, match=r"pre-receive hook declined.*main is protected"):
        desk.sync(commit=True, push=True)
    desk.git("config", "remote.origin.mirror", "true")
    assert "is a mirror" in desk.refused(push=True).message


def test_without_network_nothing_is_changed(desk):
    desk.start()
    desk.git("remote", "set-url", "origin", "http://127.0.0.1:9/project.git")
    desk.write("main.py", "print(2)\n")
    error = desk.refused(commit=True, push=True)
    assert (error.code, "nothing was changed" in error.hint) == (Exit.SERVICE, True)


def test_a_fork_is_pushed_to_where_git_push_would(desk):
    desk.start()
    desk.git("remote", "add", "fork", desk.host.make("fork"))
    desk.git("config", "remote.pushDefault", "fork")
    desk.write("main.py", "print(2)\n")
    code = desk.sync(commit=True, push=True)
    assert code.summary.endswith("pushed to fork/main (new)")
    assert desk.host.refs("project") != desk.host.refs("fork") == {"refs/heads/main": desk.head}
    assert code.payload["url"].endswith("/fork.git")
    assert "there is no git remote 'gone'" in desk.refused(git_remote="gone").message


# --- where it is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "session"),
    [
        ("git@github.com:me/x.git", "https://github.com/me/x.git"),
        ("github.com:me/x", "https://github.com/me/x"),
        ("ssh://git@github.com/me/x.git", "https://github.com/me/x.git"),
        ("ssh://git@ssh.github.com:443/me/x.git", "https://github.com/me/x.git"),
        ("git+ssh://git@host.example:2222/a/b/c", "https://host.example/a/b/c"),
        ("https://github.com/me/x.git", "https://github.com/me/x.git"),
        ("https://me:pass" + "word1@github.com/me/x.git", "https://github.com/me/x.git"),
        ("https://host.example:8443/x?private_token=" + "a1b2c3d4e5", "https://host.example:8443/x"),
        ("http://127.0.0.1:8080/x.git", "http://127.0.0.1:8080/x.git"),
        ("http://[::1]:8080/x.git", "http://[::1]:8080/x.git"),
    ],
)
def test_the_session_s_address_is_https_without_credentials(url, session):
    address = git_address.session_address({}, url, local=True)
    assert address.url == session
    assert bool(address.notes) == (url != session)
    assert "password1" not in "".join(address.notes)


@pytest.mark.parametrize(
    "url",
    [
        "/srv/x.git", "../x", "x", "file:///srv/x", "C:\\x\\y", "git://github.com/me/x", "http://github.com/me/x",
        "ext::sh -c id", "ssh://localhost/x", "git@nas:x.git", "ssh://-oProxyCommand=id/x", "https://", "",
        "https://host.example", "https://host:port/x", "https://a b/x", "https://user:pw12345@/x", "-x:y",
    ],
)  # fmt: skip
def test_an_address_that_the_session_cannot_reach_is_refused(url):
    with pytest.raises(KaggError) as caught:
        git_address.session_address({}, url, local=True)
    assert caught.value.code == Exit.USAGE
    assert "pw12345" not in caught.value.message


def test_a_loopback_address_is_for_rehearsals_only():
    with pytest.raises(KaggError, match="is on this machine"):
        git_address.session_address({}, "http://localhost/x.git", local=False)


def test_a_host_of_the_ssh_settings_is_looked_up(tmp_path):
    program = tmp_path / "ssh"
    program.write_text('#!/bin/sh\n[ "$1" = -G ] && [ "$2" = github.com-job ] && echo "hostname github.com"\n')
    program.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    address = git_address.session_address(env, "git@github.com-job:me/x.git", local=False)
    assert address.url == "https://github.com/me/x.git"


def test_credentials_in_the_remote_s_url_stay_here(tmp_path, desk):
    word = "hunter2" + "hunter2"
    with GitHost(tmp_path / "private", token=word) as private:
        url = private.make("x")
        desk.start(url=url.replace("http://", f"http://me:{word}@"))
        error = desk.refused()
        assert error.code == Exit.CONFIG
        assert "--git-token" in error.hint
        code = desk.sync(git_secret="LABEL")
        assert code.payload == {"url": url, "commit": desk.head, "branch": "refs/heads/main", "links": {},
                                "secret_label": "LABEL"}  # fmt: skip
        assert "the remote's URL holds credentials; they stay here" in desk.said
        assert word not in desk.said + error.message + json.dumps(desk.journal)
        folder, done = desk.session(code)
        assert done.returncode == 1
        assert "the Kaggle secret LABEL cannot be read" in done.stdout
        assert "cannot be read: it is private" in done.stderr
        client = f"class UserSecretsClient:\n    def get_secret(self, label):\n        return {word!r}\n"
        (desk.folder / "kaggle_secrets.py").write_text(client)
        folder, done = desk.session(code, env={"PYTHONPATH": str(desk.folder)})
        assert done.returncode == 0, done.stderr
        assert hashes(folder) == code.files


def test_a_submodule_is_a_repository_of_its_own_and_odd_places_are_ones_too(desk):
    desk.start()
    url = desk.host.make("sub")
    desk.git("clone", "--quiet", url, desk.folder / "sub")
    desk.write("../sub/main.py")
    desk.git("add", "main.py", cwd=desk.folder / "sub")
    desk.git("commit", "--quiet", "--message", "x", cwd=desk.folder / "sub")
    desk.git("push", "--quiet", "origin", "main", cwd=desk.folder / "sub")
    desk.git("submodule", "--quiet", "add", url, "sub")
    assert desk.sync(commit=True, push=True).files.keys() == {".gitmodules", "main.py"}
    desk.write("sub/main.py", "print(3)\n")
    assert desk.sync().summary.endswith("tree clean")
    code = desk.sync(desk.work / "sub", commit=True, push=True)
    assert code.payload["url"] == url
    assert "changed: sub" in desk.refused().message
    odd = desk.folder / 'o:d d"q'
    desk.git("worktree", "add", "--quiet", "-b", "odd", odd)
    (odd / "main.py").write_text("print(4)\n")
    assert desk.sync(odd, commit=True, push=True).summary.endswith("pushed to origin/odd (new)")


@pytest.mark.parametrize("place", ["absent", "plain", "bare", "inside"])
def test_a_place_without_a_work_tree_is_refused(desk, place):
    path = desk.folder / place
    if place != "absent":
        path.mkdir()
    if place == "bare":
        desk.git("init", "--quiet", "--bare", cwd=path)
    if place == "inside":
        desk.git("init", "--quiet", cwd=path)
        path /= ".git"
    (path / "main.py").touch() if path.exists() else None
    with pytest.raises(KaggError) as caught:
        desk.sync(path)
    assert caught.value.code == Exit.USAGE
    assert str(path) in caught.value.message


def test_a_repository_without_a_remote_says_what_to_do(desk):
    desk.git("init", "--quiet")
    desk.write("main.py")
    desk.commit("first")
    error = desk.refused()
    assert (error.code, "--code inline" in error.hint) == (Exit.USAGE, True)


def test_a_hook_that_starts_us_does_not_send_us_to_its_own_repository(desk):
    desk.start()
    desk.ctx.env = {**desk.env, "GIT_DIR": str(desk.folder / "nowhere"), "GIT_INDEX_FILE": "nothing"}
    assert desk.sync().commit == desk.head


def test_names_that_are_no_text_are_refused(desk):
    desk.start()
    (desk.work / os.fsdecode(b"bad\xff.txt")).write_text("x")
    desk.commit("odd")
    desk.git("push", "--quiet")
    error = desk.refused()
    assert error.code == Exit.USAGE
    assert "is not UTF-8" in error.message


# --- a private repository ---------------------------------------------------------------------------------------------


@pytest.fixture
def private(tmp_path):
    with GitHost(tmp_path / "private", token=TOKEN) as server:
        yield server


def log_git(desk):
    """Put a git in front of git that writes down the arguments of every call."""
    folder, real = desk.folder / "bin", shutil.which("git")
    folder.mkdir()
    log = desk.folder / "argv.log"
    (folder / "git").write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {log}\nexec {real} "$@"\n')
    (folder / "git").chmod(0o755)
    return folder, log


def private_desk(desk, private):
    """Make a pushed private repository; the user's own git knows the token from a file."""
    desk.host = private
    words = f"!f() {{ echo username=me; cat {desk.folder}/word; }}; f"
    (desk.folder / "word").write_text(f"password={TOKEN}\n")
    desk.git("config", "--global", "credential.helper", words, cwd=desk.folder)
    return desk.start("secret")


def test_a_token_travels_in_a_private_dataset_and_nowhere_else(desk, private, idle_kaggle):
    url = private_desk(desk, private)
    folder, argv = log_git(desk)
    desk.ctx.env = {**desk.env, "READ_TOKEN": TOKEN, "PATH": f"{folder}:{desk.env['PATH']}"}
    code = desk.sync(git_token="READ_TOKEN")
    ref = f"demo/kagg-token-{ATTEMPT}"
    assert code.datasets == code.created == (ref,)
    assert (code.payload["token_dataset"], code.payload["token_file"]) == (ref, "git-token.txt")
    assert desk.journal == [["dataset", ref, {"attempt": ATTEMPT, "what": "git token"}, {"ref": ref}]]
    about = Client(idle_kaggle).call("GetDataset", {"ownerSlug": "demo", "datasetSlug": ref[5:]},
                                     "datasets.DatasetApiService").json()  # fmt: skip
    assert about["isPrivate"] is True
    assert "everything that runs in the session can read it" in desk.said
    text = script.build(script.Order(ATTEMPT, code.entry, code))
    before = "part.GIT_INPUT = sys.argv[1] + '-input'\n"
    mount = f"import os\nos.makedirs(part.GIT_INPUT + '/datasets/{ref}')\n"
    mount += f"open(part.GIT_INPUT + '/datasets/{ref}/git-token.txt', 'w').write({TOKEN + chr(10)!r})\n"
    place, done = desk.session(code, env={"PATH": desk.ctx.env["PATH"]}, before=before + mount)
    assert done.returncode == 0, done.stderr
    assert hashes(place) == code.files
    urls = "".join(seen.path for seen in private.seen)
    left = [text, argv.read_text(), desk.said, json.dumps(desk.journal), json.dumps(code._asdict()), urls]
    left += [done.stdout, done.stderr]
    assert all(word not in each for each in left for word in (TOKEN, PAIR))
    assert "fetch --quiet --no-tags --no-recurse-submodules --depth 1 " + url in argv.read_text()
    with recorded(desk.ctx, "run", "main.py") as run:
        given = SimpleNamespace(git_token="READ_TOKEN")
        git_sync.git_code(desk.ctx, desk.work, None, given, attempt=ATTEMPT, effect=run.effect)
    kept = [path for path in desk.home.rglob("*") if path.is_file()]
    assert any(ref.encode() in path.read_bytes() for path in kept)  # the ledger
    assert all(TOKEN.encode() not in path.read_bytes() for path in kept)


def test_an_attempt_that_is_taken_up_again_sends_its_token_again(desk, private, idle_kaggle):
    private_desk(desk, private)
    desk.ctx.env = {**desk.env, "READ_TOKEN": TOKEN}
    first, second = desk.sync(git_token="READ_TOKEN"), desk.sync(git_token="READ_TOKEN")
    assert first == second
    git_sync.git_token.delete_token(desk.ctx, first.created[0])
    about = Client(idle_kaggle).call("GetDataset", {"ownerSlug": "demo", "datasetSlug": first.created[0][5:]},
                                     "datasets.DatasetApiService")  # fmt: skip
    assert about.status in (403, 404)


def test_a_token_that_is_refused_or_missing_is_said_and_no_dataset_is_made(desk, private, idle_kaggle):
    private_desk(desk, private)
    error = desk.refused()
    assert (error.code, "--git-token" in error.hint) == (Exit.CONFIG, True)
    assert desk.refused(git_token="NOT_SET").message == "the variable NOT_SET of --git-token is not set"
    wrong = TOKEN[::-1]
    desk.ctx.env = {**desk.env, "READ_TOKEN": wrong, "ODD": "two words of it"}
    error = desk.refused(git_token="READ_TOKEN")
    assert (error.code, "refused the token" in error.message) == (Exit.CONFIG, True)
    assert desk.refused(git_token="ODD").code == Exit.CONFIG
    error = desk.refused(git_token=TOKEN)
    assert error.code == Exit.USAGE
    assert TOKEN not in error.message + error.hint + desk.said
    assert wrong not in desk.said


def test_an_old_git_is_given_the_token_by_a_program_that_answers_for_one_host(desk, private):
    private_desk(desk, private)
    desk.ctx.env = {**desk.env, "READ_TOKEN": TOKEN}
    code = desk.sync(git_token="READ_TOKEN")
    folder, real = desk.folder / "old", shutil.which("git")
    folder.mkdir()
    text = f'[ "$*" = --version ] && echo git version 2.25.1 && exit\nunset GIT_CONFIG_COUNT\nexec {real} "$@"\n'
    (folder / "git").write_text("#!/bin/sh\n" + text)
    (folder / "git").chmod(0o755)
    mount = f"part._git_token = lambda *_: {TOKEN!r}\n"
    place, done = desk.session(code, env={"PATH": f"{folder}:{os.environ['PATH']}"}, before=mount)
    assert done.returncode == 0, done.stderr
    assert hashes(place) == code.files


def test_the_session_says_what_is_wrong_without_the_token(desk, private):
    url = private_desk(desk, private)
    desk.ctx.env = {**desk.env, "READ_TOKEN": TOKEN}
    code = desk.sync(git_token="READ_TOKEN")
    _, done = desk.session(code)
    assert f"the dataset demo/kagg-token-{ATTEMPT} with the token is not mounted" in done.stderr
    wrong = "part._git_token = lambda *_: 'x' * 40\n"
    _, done = desk.session(code, before=wrong)
    assert f"CodeError: {url} cannot be read: its token was refused" in done.stderr
    _, done = desk.session(code, env={"PATH": str(desk.folder)}, before=wrong)
    assert "CodeError: there is no git in this session" in done.stderr
    gone = code._replace(payload={**code.payload, "commit": "0" * 39 + "1"})
    _, done = desk.session(gone, before=f"part._git_token = lambda *_: {TOKEN!r}\n")
    assert done.returncode == 1
    assert "CodeError" in done.stderr
    assert "Traceback" not in done.stderr
    assert TOKEN not in done.stderr


def test_the_session_follows_no_address_but_https_and_this_machine(desk):
    desk.start()
    code = desk.sync()
    for url in (str(desk.work), f"file://{desk.work}", "ext::sh -c true", "http://example.invalid/x.git"):
        _, done = desk.session(code._replace(payload={**code.payload, "url": url}), before="part.GIT_PAUSES_S = (0,)")
        assert "CodeError" in done.stderr
        assert "not allowed" in done.stderr


def test_a_redirect_to_another_host_does_not_take_the_token_along(tmp_path, desk, private):
    private_desk(desk, private)
    desk.ctx.env = {**desk.env, "READ_TOKEN": TOKEN}
    code = desk.sync(git_token="READ_TOKEN")
    with GitHost(tmp_path / "private") as other:
        private.elsewhere = other.url
        given = f"part._git_token = lambda *_: {TOKEN!r}\n"
        _, done = desk.session(code, before=given)
        assert all("Authorization" not in seen.headers for seen in other.seen)
        assert done.returncode == 1
        assert "CodeError" in done.stderr
        assert "error: 302" in done.stderr
        with pytest.raises(KaggError, match="has moved") as caught:
            git_remote.check_session_view(desk.ctx, code.payload["url"], TOKEN, None)
        assert caught.value.code == Exit.CONFIG
        assert all("Authorization" not in seen.headers for seen in other.seen)


def test_a_session_without_internet_is_refused_at_once(desk):
    desk.start()
    assert "without internet" in desk.refused(no_internet=True).message


def test_a_server_that_gives_no_single_commits_is_fetched_from_by_branch(tmp_path, desk):
    desk.start()
    for number in range(6):
        desk.write("main.py", f"print({number})\n")
        desk.git("commit", "--quiet", "--all", "--message", str(number))
    desk.git("push", "--quiet")
    desk.git("switch", "--quiet", "--detach", "HEAD~5")
    code = desk.sync()
    assert code.payload["branch"] == "refs/heads/main"
    plain = "part.GIT_DEPTHS = ('2', '4', '2147483647')\nold = part.SessionGit.words\n"
    plain += "part.SessionGit.words = lambda self, *w: [*old(self)[:1], '-c', 'protocol.version=0', *old(self, *w)[1:]]"
    place, done = desk.session(code, before=plain)
    assert done.returncode == 0, done.stderr
    assert "the server gives no single commits; fetching refs/heads/main" in done.stdout
    assert hashes(place) == code.files


def test_a_repository_with_sha256_names_works(desk):
    url = desk.host.make("long", "--object-format=sha256")
    desk.git("init", "--quiet", "--object-format=sha256")
    desk.git("remote", "add", "origin", url)
    desk.write("main.py")
    desk.commit("first")
    code = desk.sync(push=True)
    assert len(code.commit) == 64
    place, done = desk.session(code)
    assert done.returncode == 0, done.stderr
    assert hashes(place) == code.files


def test_a_session_of_the_local_kaggle_fetches_a_private_commit_and_runs_it(tmp_path, desk, private):
    private_desk(desk, private)
    desk.write("pkg/helper.py", "WORD = 'grüße'\n")
    desk.write("main.py", "import pathlib\nfrom pkg.helper import WORD\n"
               "pathlib.Path('out.txt').write_text(WORD)\nprint('said', WORD)\n")  # fmt: skip
    desk.git("add", "pkg", "main.py")
    with LocalKaggle(tmp_path / "live") as kaggle:
        key = kaggle.world.accounts.users["demo"]["key"]
        names = {"KAGG_KAGGLE_URL": kaggle.url, "KAGGLE_USERNAME": "demo", "KAGGLE_KEY": key, "READ_TOKEN": TOKEN}
        desk.ctx = PatientContext({**desk.env, **names})
        code = desk.sync(commit=True, push=True, git_token="READ_TOKEN")
        text = script.build(script.Order(ATTEMPT, code.entry, code))
        client = Client(kaggle)
        client.push(ATTEMPT.replace("-", " "), text, enableInternet=True, isPrivate=True,
                    datasetDataSources=list(code.datasets))  # fmt: skip
        status = client.wait(ATTEMPT)
        log = client.log(ATTEMPT) + client.log(ATTEMPT, "stderr")
        assert status["status"] == "COMPLETE", log
        assert f"KAGG-EXIT {ATTEMPT} 0" in log, log
        assert "said grüße" in log
        names = {found["fileName"] for found in client.output(ATTEMPT)["files"]}
        assert {"out.txt", "session_summary.json"} <= names
        assert not any(".git" in name or name.startswith("pkg") for name in names)
        assert TOKEN not in log + text
        assert PAIR not in log
        close(desk.ctx)


def test_a_whole_run_commits_pushes_fetches_with_a_token_and_leaves_none_behind(tmp_path, desk, private):
    private_desk(desk, private)
    folder, argv = log_git(desk)
    desk.write("main.py", "print('ran')\nopen('out.txt', 'w').write('x')\n")
    with LocalKaggle(tmp_path / "live") as kaggle:
        key = kaggle.world.accounts.users["demo"]["key"]
        names = {"KAGG_KAGGLE_URL": kaggle.url, "KAGGLE_USERNAME": "demo", "KAGGLE_KEY": key, "READ_TOKEN": TOKEN}
        desk.ctx = PatientContext({**desk.env, **names, "PATH": f"{folder}:{desk.env['PATH']}"})
        words = ["run", desk.work, "--kaggle", "--code", "git", "--dest", desk.folder / "result"]
        assert main([str(word) for word in words], desk.ctx) == Exit.USAGE
        assert "the work tree is not what its commit is: changed: main.py" in desk.said
        words += ["--commit", "--push", "--git-token", "READ_TOKEN"]
        assert main([str(word) for word in words], desk.ctx) == Exit.DONE, desk.said
        close(desk.ctx)
        assert f"1/5 code      sync: 1 file committed, commit {desk.head[:7]} pushed to origin/main" in desk.said
        slug = re.search(r"private dataset demo/(kagg-token-\S+);", desk.said)[1]
        named = {"ownerSlug": "demo", "datasetSlug": slug}
        assert Client(kaggle).call("GetDataset", named, "datasets.DatasetApiService").status in (403, 404)
    record = json.loads((desk.folder / "result" / "result.json").read_text())
    assert record["git_commit"] == desk.head
    places = [desk.home, desk.folder / "result", argv]
    files = [path for place in places for path in (place, *place.rglob("*")) if path.is_file()]
    assert all(word.encode() not in path.read_bytes() for path in files for word in (TOKEN, PAIR))
    assert all(word not in desk.said for word in (TOKEN, PAIR))


# --- looking only -----------------------------------------------------------------------------------------------------


def test_the_status_says_where_the_tree_stands_without_network_or_change(desk, monkeypatch):
    for name, value in desk.env.items():
        monkeypatch.setenv(name, value)
    assert git_sync.current_commit(desk.folder) is None
    desk.start()
    desk.write("main.py", "print(2)\n")
    desk.commit("second")
    desk.write("main.py", "print(3)\n")
    desk.write("new.txt")
    desk.git("remote", "set-url", "origin", "http://me:" + "pass" + "word@127.0.0.1:9/x.git")
    before = {path: path.stat().st_mtime_ns for path in desk.work.rglob("*")}
    found = git_sync.status_summary(desk.work)
    stop = "the work tree is not what its commit is: changed: main.py"
    assert found == {
        "folder": str(desk.work), "branch": "main", "commit": desk.head, "staged": [], "changed": ["main.py"],
        "untracked": ["new.txt"], "conflicts": [], "under_way": "", "remote": "origin",
        "url": "http://127.0.0.1:9/x.git", "session_url": "http://127.0.0.1:9/x.git", "upstream": "origin/main",
        "ahead": 1, "problem": stop, "hint": "commit it, give --commit --push, or use --code inline",
    }  # fmt: skip
    lines = git_sync.status_lines(found)
    assert lines[0] == f"commit {desk.head[:7]} on main, remote origin/main"
    assert lines[-1].startswith(f"this would stop the run: {stop}")
    assert git_sync.status_summary(desk.work, commit=True, push=True)["problem"] == ""
    assert git_sync.current_commit(desk.work / "main.py") == {
        "commit": desk.head, "dirty": True, "branch": "main", "remote": "http://127.0.0.1:9/x.git",
    }  # fmt: skip
    assert {path: path.stat().st_mtime_ns for path in desk.work.rglob("*")} == before
    desk.git("remote", "remove", "origin")
    assert "no remote" in git_sync.status_summary(desk.work)["problem"]
    assert git_sync.current_commit(desk.work)["remote"] == ""


def test_a_status_is_read_whatever_the_names_are():
    fields = "N... 100644 100644 100644 1 1"
    content = f'# x\n\0001 M. {fields} a b\0001 .M {fields} new\nline\0001 MM {fields} "q"\0'
    content += f"2 R. {fields} R100 to\0from\0u UU N... 1 1 1 1 h h h in conflict\0? ü é\0"
    names = git_state.parse_status(content.encode())
    assert names == {"s": ["a b", '"q"', "to"], "c": ["new\nline", '"q"'], "u": ["ü é"], "!": ["in conflict"]}


def test_links_are_followed_as_a_file_system_does():
    files = {"a/x": "1", "a/b/y": "2", "z": "3"}
    targets = {"l": "a", "m": "l/b/y", "a/b/up": "../x", "n": "../z", "c1": "c2", "c2": "c1", "a/self": "."}
    links, left = git_tree.resolve_links(files, targets)
    assert links == {
        "l/x": "a/x", "l/b/y": "a/b/y", "l/b/up": "a/x", "m": "a/b/y", "a/b/up": "a/x",
    }  # fmt: skip
    assert left == ["a/self", "c1", "c2", "n"]


def test_private_files_are_private(desk, private, monkeypatch):
    private_desk(desk, private)
    desk.ctx.env = {**desk.env, "READ_TOKEN": TOKEN}
    modes = []
    real = git_sync.git_token.create_dataset

    def watched(ctx, ref, title, files, **more):
        modes.extend(stat.S_IMODE(path.stat().st_mode) for path in (files[0], files[0].parent))
        return real(ctx, ref, title, files, **more)

    monkeypatch.setattr(git_sync.git_token, "create_dataset", watched)
    desk.sync(git_token="READ_TOKEN")
    assert modes == [0o600, 0o700]
