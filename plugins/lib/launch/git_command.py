"""Git on this machine, as its user has set it up: run a command, and find the work tree that holds a path."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from kagg import Exit, KaggError, bad_input

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCAL_S, NETWORK_S, HOOKS_S = 120.0, 600.0, 3600.0  # hooks may run a test suite
SAID_LINES, SAID_CHARS = 4, 800
# Where a hook that starts us points its git; the path on the command line counts, not the hook's repository.
ELSEWHERE = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_IMPLICIT_WORK_TREE", "GIT_SHALLOW_FILE",
    "GIT_GRAFT_FILE", "GIT_REPLACE_REF_BASE", "GIT_QUARANTINE_PATH",
)  # fmt: skip


def hide(text: str) -> str:
    """Return text without user names and passwords in its URLs."""
    return re.sub(r"(?<=://)[^\s/@]+@", "", text)


class Git:
    """Git in one folder."""

    def __init__(self, env: Mapping[str, str], folder: Path, *, ask: bool = False) -> None:
        """Prepare git; `ask` lets it ask for passwords on the terminal."""
        self.folder = folder
        self.env = {name: value for name, value in env.items() if name not in ELSEWHERE}
        # Status must not write the index, and a replaced object is one that nobody else sees.
        self.env |= {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_REPLACE_OBJECTS": "1", "GIT_EDITOR": "true"}
        if not ask:
            self.env["GIT_TERMINAL_PROMPT"] = "0"

    def run(
        self, *words: str, stdin: bytes = b"", limit_s: float = LOCAL_S, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a git command and return how it ended; `env` is added to git's environment.

        Raises:
            KaggError: MISSING when there is no git; FAILED when it takes longer than `limit_s`.
        """
        try:
            return subprocess.run(
                ["git", *words],
                cwd=self.folder,
                env={**self.env, **(env or {})},
                input=stdin,
                capture_output=True,
                timeout=limit_s,
                check=False,
            )
        except FileNotFoundError as error:
            raise KaggError("there is no git on the PATH", code=Exit.MISSING, hint="install git") from error
        except subprocess.TimeoutExpired:
            raise KaggError(f"git {words[0]} took over {limit_s:.0f} s") from None

    def ask(self, *words: str, env: Mapping[str, str] | None = None) -> str:
        """Return what git prints, without the final newline.

        Raises:
            KaggError: git failed; its words.
        """
        done = self.run(*words, env=env)
        if done.returncode:
            raise KaggError(f"git {words[0]} failed: {said(done)}")
        return os.fsdecode(done.stdout).removesuffix("\n")

    def quietly(self, *words: str) -> str:
        """Return what git prints, "" when it fails."""
        done = self.run(*words)
        return "" if done.returncode else os.fsdecode(done.stdout).removesuffix("\n")


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the last lines that a command said on its error stream, as one line without credentials."""
    lines = [re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", line).strip() for line in re.split(r"[\r\n]", _text(done))]
    kept = [hide(line) for line in lines if line and not line.startswith("hint:")]
    return "; ".join(kept[-SAID_LINES:])[:SAID_CHARS] or f"exit {done.returncode}"


def _text(done: subprocess.CompletedProcess[bytes]) -> str:
    return (done.stderr.strip() or done.stdout).decode("utf-8", "replace")


def find_work_tree(env: Mapping[str, str], path: Path, *, ask: bool = False) -> Git:
    """Return git in the top folder of the work tree that holds a file or folder: a submodule's or a worktree's own.

    Raises:
        KaggError: USAGE where there is none.
    """
    if not path.exists():
        raise bad_input(f"{path} does not exist")
    folder = path if path.is_dir() else path.parent
    git = Git(env, folder.resolve(), ask=ask)
    done = git.run("rev-parse", "--show-toplevel")
    if done.returncode == 0:
        return Git(env, Path(os.fsdecode(done.stdout).removesuffix("\n")), ask=ask)
    words = done.stderr.decode("utf-8", "replace")
    if "dubious ownership" in words:
        raise bad_input(f"the repository of {path} belongs to somebody else", "see git config safe.directory")
    if "work tree" in words:
        raise bad_input(f"{path} is in a repository without a work tree", "name a path in a clone of it")
    if "not a git repository" in words:
        raise bad_input(f"{path} is in no git repository", "git init and git push, or use --code inline")
    raise bad_input(f"git cannot read the repository of {path}: {said(done)}")


def inside(git: Git, path: Path) -> str:
    """Return a path of the work tree relative to its top, with slashes, "" for the top.

    Links above the last name are followed, the last name is not: it is what git knows.
    """
    real = path.parent.resolve() / path.name if path.name not in ("", "..") else path.resolve()
    top = git.folder.resolve()
    if real != top and not real.is_relative_to(top):
        real = path.resolve()
    if real != top and not real.is_relative_to(top):
        raise bad_input(f"{path} leads out of the repository {git.folder}")
    return "" if real == top else real.relative_to(top).as_posix()
