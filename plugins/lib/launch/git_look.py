"""Where a work tree stands, without network and without a change: for a dry run, and to tag results with a commit."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from kagg import KaggError, bad_input
from plugins.lib.launch import git_remote
from plugins.lib.launch.git_address import plain_url, session_address
from plugins.lib.launch.git_command import find_work_tree
from plugins.lib.launch.git_remote import HEADS
from plugins.lib.launch.git_state import State, check_state, listed, read_state, untracked_words

if TYPE_CHECKING:
    from pathlib import Path

    from plugins.lib.launch.git_command import Git


def status_summary(
    path: Path, remote: str | None = None, *, commit: bool = False, push: bool = False
) -> dict[str, Any]:
    """Return where a work tree stands, and what would stop a run with these options.

    Keys: folder, branch ("" when detached), commit ("" before the first), staged, changed, untracked, conflicts,
    under_way, remote, url (without credentials), session_url, upstream, ahead (commits; None without a fetched
    upstream), problem ("" when nothing is known that would stop it), hint.

    Raises:
        KaggError: USAGE where there is no work tree.
    """
    git = find_work_tree(os.environ, path)
    state = read_state(git)
    names = {key: list(getattr(state, key)) for key in ("staged", "changed", "untracked", "conflicts")}
    found: dict[str, Any] = {"folder": str(git.folder), "branch": state.branch, "commit": state.commit, **names}
    found |= {"under_way": state.under_way, "remote": "", "url": "", "session_url": "", "upstream": "", "ahead": None}
    try:
        _look_at_remote(git, state, remote, found)
        check_state(state, commit=commit, push=push)
        if found["ahead"] and not push:
            raise bad_input(f"{found['ahead']} commits are not at {found['upstream']}", "push them, or give --push")
    except KaggError as error:
        return found | {"problem": error.message, "hint": error.hint}
    return found | {"problem": "", "hint": ""}


def _look_at_remote(git: Git, state: State, remote: str | None, found: dict[str, Any]) -> None:
    """Fill in what is known of the remote."""
    target = git_remote.find_target(git, state.branch, remote)
    tracked = f"refs/remotes/{target.remote}/{target.branch.removeprefix(HEADS)}"
    ahead = git.quietly("rev-list", "--count", f"{tracked}..HEAD", "--") if target.branch else ""
    found |= {"remote": target.remote, "url": plain_url(target.url), "upstream": target.name if target.branch else ""}
    found["ahead"] = int(ahead) if ahead.isdigit() else None
    found["session_url"] = session_address(os.environ, target.url, local=True).url


def status_lines(found: dict[str, Any]) -> list[str]:
    """Return a summary for people."""
    where = f"commit {found['commit'][:7]}" if found["commit"] else "no commit yet"
    lines = [f"{where} on {found['branch'] or 'no branch'}, remote {found['upstream'] or found['remote'] or 'none'}"]
    lines += [f"the session fetches from {found['session_url']}"] if found["session_url"] else []
    lines += [f"{kind}: {listed(found[kind])}" for kind in ("conflicts", "staged", "changed") if found[kind]]
    lines += [words] if (words := untracked_words(found["untracked"])) else []
    stop = ": ".join(filter(None, (found["problem"], found["hint"])))
    return [*lines, f"this would stop the run: {stop}"] if stop else lines


def current_commit(path: Path) -> dict[str, Any] | None:
    """Return {"commit", "dirty", "branch", "remote"} of the repository that holds a path, None without a commit.

    `dirty` is about tracked files; `remote` is the URL without credentials, "" when there is none.
    """
    try:
        git = find_work_tree(os.environ, path)
        state = read_state(git)
        if not state.commit:
            return None
        found = {"commit": state.commit, "dirty": bool(state.dirty), "branch": state.branch, "remote": ""}
    except (KaggError, OSError):
        return None
    with contextlib.suppress(KaggError):
        found["remote"] = plain_url(git_remote.find_target(git, state.branch, None).url)
    return found
