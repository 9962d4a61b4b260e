"""`--code git`: the session fetches one commit from the remote; commit and push happen only when they are asked for.

What works: files, folders and the top of a clone, of a worktree, of a submodule, of a shallow, sparse or partial clone;
a detached HEAD and a branch without upstream whose commit the remote has. What does not: a bare repository, a remote
that is a folder, the content of submodules and of Git LFS, both of which are said.

Untracked files are never committed and do not travel; they are named. Staged files are committed as they are staged;
when nothing is staged, all changes of tracked files are. The session gets the bytes that git keeps: no line ends are
changed, no filter runs, no attribute counts, and a link becomes a copy of the file that it leads to.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import LOOPBACK, Context, Exit, KaggError, bad_input, hashed, host_of, kaggle_base, locked
from plugins.lib.launch import git_remote, git_token, git_tree
from plugins.lib.launch.code import Code
from plugins.lib.launch.git_address import is_local, plain_url, session_address
from plugins.lib.launch.git_command import HOOKS_S, Git, find_work_tree, inside, said
from plugins.lib.launch.git_look import current_commit, status_lines, status_summary
from plugins.lib.launch.git_remote import HEADS, Target
from plugins.lib.launch.git_state import State, check_state, listed, read_state, untracked_words
from plugins.lib.local_run import find_entry

if TYPE_CHECKING:
    import argparse

    from plugins.lib.launch.git_token import Effect
    from plugins.lib.launch.git_tree import Snapshot

__all__ = ["current_commit", "git_code", "status_lines", "status_summary"]

SHORT = 7  # digits of a commit in a line for people


class _Sync(NamedTuple):
    """What is known before anything is changed."""

    ctx: Context
    git: Git
    state: State
    target: Target
    refs: dict[str, str]
    attempt: str
    allowed: tuple[str, ...]
    effect: Effect | None

    def journal(self, kind: str, target: str, request: dict[str, Any]) -> contextlib.AbstractContextManager[Any]:
        """Return the caller's ledger entry for an act."""
        request = {"attempt": self.attempt, **request}
        return self.effect(kind, target, request) if self.effect else contextlib.nullcontext(SimpleNamespace())


def git_code(
    ctx: Context,
    path: Path,
    entry: str | None,
    options: argparse.Namespace | SimpleNamespace,
    *,
    attempt: str,
    effect: Effect | None = None,
) -> Code:
    """Return the code of `path` as one commit that the session can fetch.

    `options`: commit, push, commit_message, git_remote, git_token (a variable's name), git_secret (a label of Kaggle),
    allow_finding. `effect(kind, target, request)` journals each commit, push and dataset.

    Raises:
        KaggError: USAGE for a work tree or branch that must be mended first; FINDINGS for a secret; CONFIG when the
            session could not read the repository; SERVICE without network. Nothing is changed before all is checked.
    """
    if getattr(options, "no_internet", False):
        raise bad_input("a session without internet cannot fetch from git", "use --code inline or --code dataset")
    token = git_token.read_token(ctx, getattr(options, "git_token", None))
    git = find_work_tree(ctx.env, path, ask=_asks(ctx))
    wanted = _entry(git, path, entry)
    acts = getattr(options, "commit", False) or getattr(options, "push", False)
    # One after the other: of jobs that start together the first one commits, and the others find a clean tree.
    with _turn(ctx, git) if acts else contextlib.nullcontext():
        payload, snapshot, words = _synced(ctx, git, wanted, options, token=token, attempt=attempt, effect=effect)
    if token:
        dataset = git_token.send_token(ctx, token, attempt, effect)
        payload |= {"token_dataset": dataset, "token_file": git_token.TOKEN_FILE}
    return _code(wanted, snapshot, payload, words)


def _turn(ctx: Context, git: Git) -> contextlib.AbstractContextManager[None]:
    return locked(ctx.home / "temp" / f"git-{hashed(str(git.folder))}", HOOKS_S)


def _synced(
    ctx: Context,
    git: Git,
    entry: str,
    options: argparse.Namespace | SimpleNamespace,
    *,
    token: str,
    attempt: str,
    effect: Effect | None,
) -> tuple[dict[str, Any], Snapshot, str]:
    """Check everything, then commit and push what is to be; return the payload, the files, and what was done."""
    state = read_state(git)
    may_commit, may_push = bool(getattr(options, "commit", False)), bool(getattr(options, "push", False))
    check_state(state, commit=may_commit, push=may_push)
    target = git_remote.find_target(git, state.branch, getattr(options, "git_remote", None))
    address = session_address(ctx.env, target.url, local=is_local(target.url) and _is_rehearsal(ctx))
    refs = git_remote.remote_refs(git, target.remote)
    allowed = tuple(getattr(options, "allow_finding", None) or ())
    sync = _Sync(ctx, git, state, target, refs, attempt, allowed, effect)
    ref = "" if state.dirty else _holder(sync, address.url, token)
    if not ref:
        _check_push(sync, may_push=may_push)
    for note in address.notes:
        ctx.say(note)
    secret = getattr(options, "git_secret", None)
    git_remote.check_session_view(ctx, address.url, token, secret)
    message = getattr(options, "commit_message", None)
    commit, snapshot, words = _settled(sync, entry, f"kagg run {entry}" if message is None else message, ref)
    payload = {"url": address.url, "commit": commit, "branch": ref or target.branch, "links": snapshot.links}
    return payload | ({"secret_label": secret} if secret else {}), snapshot, words


def _asks(ctx: Context) -> bool:
    """Tell whether there is a person whom git may ask for a password."""
    return not ctx.as_json and ctx.stderr.isatty()


def _is_rehearsal(ctx: Context) -> bool:
    """Tell whether the session will run on this machine, so that it reaches what listens here."""
    return host_of(kaggle_base(ctx)) in LOOPBACK


def _entry(git: Git, path: Path, entry: str | None) -> str:
    """Return the file to run, relative to the top of the repository."""
    found = path / entry if entry is not None and path.is_dir() else find_entry(path)
    return inside(git, found)


def _holder(sync: _Sync, url: str, token: str) -> str:
    """Return the ref of the remote that has HEAD, "" when none has."""
    commit, refs = sync.state.commit, sync.refs
    ref = git_remote.holder(sync.git, commit, refs, sync.target.branch)
    if ref or git_remote.all_known(sync.git, refs):
        return ref
    # The remote has commits that were not fetched here yet: they may be on top of ours.
    tracked = f"refs/remotes/{sync.target.remote}/"
    was_there = sync.git.quietly("for-each-ref", "--contains", commit, "--format=%(refname)", tracked).splitlines()
    if not was_there or git_remote.session_has(sync.ctx, url, token, commit) is False:
        return ""
    names = [HEADS + name.removeprefix(tracked) for name in was_there]
    return sync.target.branch if sync.target.branch in names else names[0]


def _check_push(sync: _Sync, *, may_push: bool) -> None:
    """Refuse a commit that the remote has not and will not get."""
    state, target = sync.state, sync.target
    if not may_push:
        words = f"the commit {state.commit[:SHORT]} is not at {target.remote}"
        raise bad_input(words, "push it, give --push, or use --code inline")
    git_remote.check_push(sync.git, target, state.commit, sync.refs)
    if target.branch not in sync.refs:
        sync.ctx.say(f"{target.name} does not exist yet; the push creates it")


def _settled(sync: _Sync, entry: str, message: str, ref: str) -> tuple[str, Snapshot, str]:
    """Check, commit and push what is to be, and return the commit, its files, and what was done in words."""
    ctx, git, state, target = sync.ctx, sync.git, sync.state, sync.target
    if words := untracked_words(state.untracked):
        ctx.say(words)
    commit, done = state.commit, ""
    if state.dirty:
        commit, snapshot = _committed(sync, entry, message)
        count = _changed_files(git, state.commit, commit)
        done = f"{count} file{'' if count == 1 else 's'} committed, "
    else:
        snapshot = git_tree.read_tree(ctx, git, commit, sync.allowed)
        _check_entry(git, entry, snapshot)
    git_tree.tell_left_out(ctx, snapshot)
    if ref:
        where = ref.removeprefix(HEADS).removeprefix("refs/tags/")
        return commit, snapshot, f"commit {commit[:SHORT]} of {target.remote}/{where}, tree clean"
    _pushed(sync, commit, snapshot)
    new = "" if target.branch in sync.refs else " (new)"
    return commit, snapshot, f"sync: {done}commit {commit[:SHORT]} pushed to {target.name}{new}"


def _check_entry(git: Git, entry: str, snapshot: Snapshot) -> None:
    if entry in snapshot.files:
        if entry in snapshot.pointers:
            raise bad_input(f"{entry} is kept by Git LFS, and the session gets its pointer only", "--code dataset")
        return
    hint = "git add it, and commit" if (git.folder / entry).exists() else "is it checked out?"
    raise bad_input(f"{entry} is not in the commit", hint)


# ---------------------------------------------------------------- acts


def _committed(sync: _Sync, entry: str, message: str) -> tuple[str, Snapshot]:
    """Commit what is staged, else all tracked changes, after everything that can be checked was; hooks run."""
    ctx, git, state = sync.ctx, sync.git, sync.state
    idents = ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT")  # git would make an address of this machine's name
    if any(git.run("-c", "user.useConfigOnly=true", "var", ident).returncode for ident in idents):
        raise KaggError("git does not know who commits", code=Exit.CONFIG,
                        hint="git config user.name NAME; git config user.email ADDRESS")  # fmt: skip
    if not message.strip() or "\0" in message:
        raise bad_input("the commit message is empty", "--commit-message TEXT")
    with tempfile.TemporaryDirectory(prefix="kagg-commit-") as folder:
        tree, env = git_tree.planned_tree(git, state, Path(folder))
        snapshot = git_tree.read_tree(ctx, git, tree, sync.allowed, env)
    _check_entry(git, entry, snapshot)
    git_tree.check_message(ctx, git, message, sync.allowed)
    left = [name for name in state.changed if state.staged]
    if left:
        ctx.say(f"changed and not staged, so not in the commit: {listed(left)}")
    with sync.journal("commit", str(git.folder), {"branch": state.branch, "tree": tree}) as made:
        words = ("commit", "--quiet", "--file=-", *(() if state.staged else ("--all",)))
        done = git.run(*words, stdin=message.encode("utf-8", "replace"), limit_s=HOOKS_S)
        commit = git.quietly("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        if done.returncode or commit == state.commit:
            raise KaggError(f"git commit failed, or a hook refused: {said(done)}", hint="git commit must work")
        made.outcome = {"commit": commit}
    if git.ask("rev-parse", f"{commit}^{{tree}}") != tree:  # a hook changed files
        snapshot = git_tree.read_tree(ctx, git, commit, sync.allowed)
        _check_entry(git, entry, snapshot)
    return commit, snapshot


def _pushed(sync: _Sync, commit: str, snapshot: Snapshot) -> None:
    """Push the commit to the branch, and see that it is there."""
    git, target, there = sync.git, sync.target, sync.refs.values()
    seen, allowed = snapshot.objects, sync.allowed
    try:
        count = git_tree.check_outgoing(sync.ctx, git, commit, there=there, seen=seen, allowed=allowed)
        request = {"commit": commit, "remote": plain_url(target.url), "branch": target.branch, "commits": count}
        with sync.journal("git-push", target.name, request) as made:
            made.outcome = {"ref": git_remote.push(git, target, commit), "commit": commit}
    except KaggError as error:
        if sync.state.dirty:
            error.hint = "; ".join(filter(None, (error.hint, f"the commit {commit[:SHORT]} stays in {target.local}")))
        raise


def _changed_files(git: Git, before: str, after: str) -> int:
    words = ["diff-tree", "-r", "-z", "--name-only", "--no-commit-id", "--no-renames"]
    names = git.ask(*words, *([before, after] if before else ["--root", after]))
    return names.count("\0")


def _code(entry: str, snapshot: Snapshot, payload: dict[str, Any], summary: str) -> Code:
    lines = sorted(f"{digest}  {name}\n" for name, digest in snapshot.files.items())
    created = (payload["token_dataset"],) if payload.get("token_dataset") else ()
    return Code(
        transport="git",
        entry=entry,
        files=snapshot.files,
        size_bytes=snapshot.size_bytes,
        packed_bytes=0,
        sha256=hashlib.sha256("".join(lines).encode()).hexdigest(),
        payload=payload,
        datasets=created,
        created=created,
        commit=payload["commit"],
        summary=summary,
    )
