"""What a remote has: which remote and branch are meant, whether a commit is there, and how it gets there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kagg import Exit, KaggError, bad_input, service_error
from plugins.lib.launch.git_command import HOOKS_S, NETWORK_S, said
from plugins.lib.launch.git_state import listed
from plugins.lib.launch.in_session_base import CodeError
from plugins.lib.launch.in_session_git import GIT_MOVED, GIT_NOT_OFFERED, GIT_REFUSED, SessionGit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kagg import Context
    from plugins.lib.launch.git_command import Git

HEADS = "refs/heads/"
ASKED_HEADS = 300  # remote branches that are looked through for a commit, one git call each


class Target(NamedTuple):
    """A remote, its URL, the branch there that belongs to the current one ("" without one), and its name here."""

    remote: str
    url: str
    branch: str
    local: str

    @property
    def name(self) -> str:
        """Return remote/branch as git says it."""
        return f"{self.remote}/{self.branch.removeprefix(HEADS)}"


def find_target(git: Git, branch: str, chosen: str | None) -> Target:
    """Return the remote that `git push` would take: the chosen one, the branch's own, origin, or the only one.

    Raises:
        KaggError: USAGE when there is none.
    """
    known = git.ask("remote").splitlines()
    settings = {key: _setting(git, f"branch.{branch}.{key}") if branch else "" for key in ("pushRemote", "remote")}
    wanted = [settings["pushRemote"], _setting(git, "remote.pushDefault"), settings["remote"], "origin"]
    if chosen is not None and chosen not in known:
        raise bad_input(f"there is no git remote {chosen[:80]!r}", f"there are: {listed(known) or 'none'}")
    found = chosen or next((name for name in wanted if name in known), known[0] if len(known) == 1 else "")
    if not found and known:
        raise bad_input("it is not clear which remote is meant", f"--git-remote NAME, one of {listed(known)}")
    if not found:
        raise bad_input(
            "the repository has no remote that a session could fetch from",
            "git remote add origin URL, or use --code inline",
        )
    url = git.ask("remote", "get-url", found).split("\n")[0]
    merge = _setting(git, f"branch.{branch}.merge") if settings["remote"] == found else ""
    upstream = merge if merge.startswith(HEADS) else HEADS + branch if branch else ""
    return Target(found, url, upstream, branch)


def _setting(git: Git, key: str) -> str:
    return git.quietly("config", "--get", key)


def remote_refs(git: Git, remote: str) -> dict[str, str]:
    """Return {ref: commit} of a remote's branches and tags, asked now.

    Raises:
        KaggError: SERVICE when it cannot be read, CONFIG when it refused us.
    """
    done = git.run("ls-remote", "--quiet", "--heads", "--tags", "--", remote, limit_s=NETWORK_S)
    if done.returncode:
        words = said(done)
        if GIT_REFUSED.search(words) or "Permission denied" in words:
            raise KaggError(f"the remote {remote} refused git: {words}", code=Exit.CONFIG, hint="git fetch must work")
        raise service_error(f"the remote {remote} cannot be read: {words}", "is the network up? nothing was changed")
    pairs = (line.partition("\t") for line in done.stdout.decode("utf-8", "replace").splitlines())
    return {ref: commit for commit, mark, ref in pairs if mark}


def holder(git: Git, commit: str, refs: dict[str, str], preferred: str) -> str:
    """Return a ref of the remote that holds a commit, "" when none that is known here does."""
    if not commit:
        return ""
    for ref in _ordered(refs, preferred):
        if refs[ref] == commit:
            return ref.removesuffix("^{}")
    heads = [ref for ref in _ordered(refs, preferred) if ref.startswith(HEADS)][:ASKED_HEADS]
    for ref in heads:
        if git.run("merge-base", "--is-ancestor", commit, refs[ref]).returncode == 0:
            return ref
    return ""


def _ordered(refs: dict[str, str], preferred: str) -> Iterator[str]:
    """Yield the branch that is meant, then the other branches, then tags."""
    yield from sorted(refs, key=lambda ref: (ref != preferred, not ref.startswith(HEADS), ref))


def all_known(git: Git, refs: dict[str, str]) -> bool:
    """Tell whether all that the remote has is here as well, so that a commit which was not found is not there."""
    asked = "\n".join(sorted(set(refs.values()))).encode() + b"\n"
    return b" missing" not in git.run("cat-file", "--batch-check", stdin=asked).stdout if refs else True


def check_push(git: Git, target: Target, commit: str, refs: dict[str, str]) -> None:
    """Refuse a push that would not be the plain one: of this branch, to its own name, on top of what is there.

    Raises:
        KaggError: USAGE, before anything was changed.
    """
    if not target.local:
        raise bad_input("HEAD is on no branch, and no branch of the remote has its commit", "git switch -c NAME first")
    same = target.branch == HEADS + target.local
    if not same and _setting(git, "push.default") not in ("upstream", "tracking"):
        hint = f"git push -u {target.remote} {target.local} first, or set push.default to upstream"
        raise bad_input(f"the branch {target.local} belongs to {target.name}, which has another name", hint)
    if _setting(git, f"remote.{target.remote}.mirror") == "true":
        raise bad_input(f"the remote {target.remote} is a mirror, git pushes all or nothing to it", "git push, first")
    there = refs.get(target.branch, "")
    if there and commit and git.run("merge-base", "--is-ancestor", there, commit).returncode:
        raise bad_input(f"{target.name} has commits that are not in {target.local}", "git pull first")
    if there and not commit:
        raise bad_input(f"{target.name} exists and this repository has no commit", "git pull first")


def push(git: Git, target: Target, commit: str) -> str:
    """Push one commit to the branch of the target, nothing else, and return the ref that has it, asked afterwards.

    Raises:
        KaggError: SERVICE when the remote, or a hook, refused.
    """
    options = ("--porcelain", "--no-force", "--no-follow-tags", "--recurse-submodules=no", "--no-progress")
    done = git.run("push", *options, "--", target.remote, f"{commit}:{target.branch}", limit_s=HOOKS_S)
    refs = {}
    try:
        refs = remote_refs(git, target.remote)
    except KaggError:
        if done.returncode == 0:
            raise
    if holder(git, commit, {ref: there for ref, there in refs.items() if ref == target.branch}, target.branch):
        return target.branch  # also when the answer to the push was lost
    words = said(done)
    if done.returncode == 0:
        raise service_error(f"{target.name} was pushed to and does not have {commit[:12]}", "look at the remote")
    hint = "git pull first" if "fetch first" in words or "non-fast-forward" in words else "git push must work"
    why = ": ".join(filter(None, (_rejection(done.stdout), words)))
    raise service_error(f"git push to {target.name} failed: {why}", hint)


def _rejection(output: bytes) -> str:
    """Return why a ref was rejected, from `git push --porcelain`; "" when it does not say."""
    lines = [line for line in os.fsdecode(output).splitlines() if line.startswith("!\t")]
    return lines[0].split("\t")[-1].encode("utf-8", "replace").decode()[:300] if lines else ""


def check_session_view(ctx: Context, url: str, token: str, secret: str | None) -> None:
    """Read the repository as the session will: without the settings, keys and passwords of this machine.

    Raises:
        KaggError: CONFIG when it needs a token, or refuses the one given; SERVICE when it does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="kagg-git-") as folder:
        code, _, words = _session_git(ctx, folder, url, token).run("ls-remote", "--quiet", "--heads", url, limit_s=120)
    if code == 0:
        return
    if GIT_MOVED.search(words):  # a token is for one address
        raise KaggError(f"{url} has moved: {words}", code=Exit.CONFIG, hint="git remote set-url with its new address")
    if not GIT_REFUSED.search(words):
        raise service_error(f"{url} cannot be read: {words}", "nothing was changed")
    if token:
        raise KaggError(f"{url} refused the token: {words}", code=Exit.CONFIG, hint="it needs to read the contents")
    if not secret:
        raise KaggError(
            f"the session cannot read {url} without a token: {words}",
            code=Exit.CONFIG,
            hint="--git-token VARIABLE with a read-only token, or use --code dataset",
        )
    ctx.say(f"note: {url} is private; the session needs the Kaggle secret {secret}, and a push detaches secrets")


def session_has(ctx: Context, url: str, token: str, commit: str) -> bool | None:
    """Tell whether the remote gives a commit to somebody who asks as the session will; None when that is not clear."""
    with tempfile.TemporaryDirectory(prefix="kagg-git-") as folder:
        git = _session_git(ctx, folder, url, token)
        try:
            git.init(commit)
        except CodeError:
            return None
        words = git.fetch("--depth", "1", "--filter=tree:0", commit)
        return True if not words else False if GIT_NOT_OFFERED.search(words) else None


def _session_git(ctx: Context, folder: str, url: str, token: str) -> SessionGit:
    try:
        return SessionGit(Path(folder), url, token, ctx.env)
    except CodeError as error:
        raise KaggError("there is no git on the PATH", code=Exit.MISSING, hint="install git") from error
