"""What a work tree has that its last commit has not, and where its branch stands."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from kagg import KaggError, bad_input
from plugins.lib.launch.git_command import said

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugins.lib.launch.git_command import Git

SHOWN = 8  # names in a message
SOURCES = (".py", ".ipynb", ".r", ".rmd", ".yaml", ".yml", ".toml", ".json", ".sh")  # what a program may miss
UNDER_WAY = {
    "MERGE_HEAD": "a merge", "CHERRY_PICK_HEAD": "a cherry-pick", "REVERT_HEAD": "a revert", "rebase-merge": "a rebase",
    "rebase-apply": "a rebase", "BISECT_LOG": "a bisection",
}  # fmt: skip


class State(NamedTuple):
    """A work tree. `commit` is "" before the first one, `branch` "" when HEAD is detached; names are relative."""

    commit: str
    branch: str
    staged: tuple[str, ...]
    changed: tuple[str, ...]
    untracked: tuple[str, ...]
    conflicts: tuple[str, ...]
    under_way: str

    @property
    def dirty(self) -> tuple[str, ...]:
        """Return the tracked files that differ from the commit."""
        return tuple(dict.fromkeys((*self.conflicts, *self.staged, *self.changed)))


def read_state(git: Git) -> State:
    """Look at a work tree, without writing anything.

    Submodules count by the commit that they are at, not by what is in them: their content does not travel.
    """
    words = ("status", "--porcelain=v2", "-z", "--no-renames", "--untracked-files=normal", "--ignore-submodules=dirty")
    done = git.run(*words)
    if done.returncode:
        raise KaggError(f"git status failed: {said(done)}")
    names = parse_status(done.stdout)
    commit = git.quietly("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    branch = git.quietly("symbolic-ref", "--quiet", "HEAD").removeprefix("refs/heads/")
    staged, changed, untracked, conflicts = (tuple(names[kind]) for kind in "scu!")
    return State(commit, branch, staged, changed, untracked, conflicts, _under_way(git))


def parse_status(content: bytes) -> dict[str, list[str]]:
    """Return names by kind from `git status --porcelain=v2 -z`: s staged, c changed, u untracked, ! in conflict.

    Format: git-status(1). A file that is staged and changed again is in both.
    """
    names: dict[str, list[str]] = {kind: [] for kind in "scu!"}
    records = iter(os.fsdecode(content).split("\0"))
    for record in records:
        kind = record[:1]
        if kind in ("1", "2"):
            fields = record.split(" ", 8 if kind == "1" else 9)
            if fields[1][0] != ".":
                names["s"].append(fields[-1])
            if fields[1][1] != ".":
                names["c"].append(fields[-1])
            if kind == "2":
                next(records, "")  # the name before the change
        elif kind == "u":
            names["!"].append(record.split(" ", 10)[-1])
        elif kind == "?":
            names["u"].append(record[2:])
    return names


def _under_way(git: Git) -> str:
    for name, what in UNDER_WAY.items():
        path = git.quietly("rev-parse", "--git-path", name)
        if path and (git.folder / path).exists():
            return what
    return ""


def listed(names: Sequence[str], shown: int = SHOWN) -> str:
    """Return names for a message: the first few, what is not plain quoted, and how many more there are."""
    words = [name if name.isprintable() and "'" not in name else ascii(name) for name in names[:shown]]
    words = [f"{word[:120]}..." if len(word) > 120 else word for word in words]
    return ", ".join(words) + (f", and {len(names) - shown} more" if len(names) > shown else "")


def untracked_words(names: Sequence[str]) -> str:
    """Return a line about files that stay here, those that a program may miss first; "" without any."""
    if not names:
        return ""
    ordered = sorted(names, key=lambda name: (not name.lower().endswith(SOURCES), name))
    files = "1 untracked file or folder" if len(names) == 1 else f"{len(names)} untracked files and folders"
    return f"not in the commit, so not in the session: {files}: {listed(ordered)} (git add NAME, if it is needed)"


def check_state(state: State, *, commit: bool, push: bool) -> None:
    """Refuse a work tree that differs from its commit, unless the difference is to be committed.

    Raises:
        KaggError: USAGE, with the names and what to do.
    """
    if state.conflicts:
        raise bad_input(f"files in conflict: {listed(state.conflicts)}", "resolve them and commit")
    if not state.commit and not (commit and state.dirty):
        raise bad_input(
            "the repository has no commit yet", "git add the files, and commit them or give --commit --push"
        )
    if not state.dirty:
        return
    if not commit:
        parts = {"staged": state.staged, "changed": [name for name in state.changed if name not in state.staged]}
        what = "; ".join(f"{kind}: {listed(names)}" for kind, names in parts.items() if names)
        raise bad_input(f"the work tree is not what its commit is: {what}",
                        "commit it, give --commit --push, or use --code inline")  # fmt: skip
    if state.under_way:
        raise bad_input(f"{state.under_way} is under way, --commit would end it", "finish it first")
    if not state.branch:
        raise bad_input("HEAD is on no branch, so a commit could not be pushed", "git switch -c NAME first")
    if not push:
        raise bad_input("--commit makes a commit that the remote does not have", "give --commit --push")
