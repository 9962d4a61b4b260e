"""The files of a commit, or of one that is about to be made: their bytes hashed and looked through for secrets."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from typing import TYPE_CHECKING, NamedTuple

from kagg import Context, KaggError, bad_input, shared
from plugins.lib.launch.git_command import said
from plugins.lib.launch.git_state import listed
from plugins.lib.launch.in_session_base import CodeError
from plugins.lib.launch.in_session_git import GitObjects, git_entries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from plugins.lib.launch.git_command import Git
    from plugins.lib.launch.git_state import State

FILE, PROGRAM, LINK, SUBMODULE = "100644", "100755", "120000", "160000"  # modes of git-fast-import(1)
POINTER, POINTER_BYTES = b"version https://git-lfs.github.com/spec/", 1024  # docs/spec.md of Git LFS
MAX_SCANNED_BYTES = 64 * 1024**2  # a larger file is hashed, and said not to have been looked at
MAX_HOPS, MAX_COPIES = 40, 10_000  # links on a path, as Linux has it; files that links to folders stand for


class Snapshot(NamedTuple):
    """A tree as the session gets it. `links` maps a link to the file that it leads to, which is copied there."""

    files: dict[str, str]  # path: SHA-256
    size_bytes: int
    links: dict[str, str]
    left_out: tuple[str, ...]  # links that lead nowhere, or out of the tree
    submodules: tuple[str, ...]
    pointers: tuple[str, ...]  # of Git LFS, instead of the content
    objects: frozenset[str]


class _Reading:
    """Objects read one by one, hashed, and handed on to be looked through."""

    def __init__(self, ctx: Context, what: str, objects: GitObjects) -> None:
        self.ctx, self.what, self.objects = ctx, what, objects
        self.hashes: dict[str, str] = {}  # object: SHA-256 of a file's content
        self.sizes: dict[str, int] = {}
        self.heads: dict[str, bytes] = {}  # the content of small files

    def part(self, name: str, oid: str, kinds: tuple[str, ...] = ("blob",)) -> Iterator[tuple[str, bytes]]:
        """Read one object; yield its name and bytes when it is of these kinds and was not read before."""
        if oid in self.hashes:
            return
        kind, size, pieces = self.objects.read(oid)
        digest, kept = hashlib.sha256(), []
        for piece in pieces:
            digest.update(piece)
            if size <= MAX_SCANNED_BYTES and kind in kinds:
                kept.append(piece)
        self.hashes[oid], self.sizes[oid] = digest.hexdigest(), size
        if size < 4 * POINTER_BYTES:
            self.heads[oid] = b"".join(kept)
        if kind in kinds and size <= MAX_SCANNED_BYTES:
            yield name, b"".join(kept)
        elif kind in kinds:
            self.ctx.say(f"{self.what}: not looked at for secrets: {name} has {size} bytes", -1)


def planned_tree(git: Git, state: State, folder: Path) -> tuple[str, dict[str, str]]:
    """Return the tree that a commit would have now, and the environment in which git can read it.

    Everything is written below `folder`: what is staged, or else all changes of tracked files.
    """
    index, objects = (git.folder / git.ask("rev-parse", "--git-path", name) for name in ("index", "objects"))
    env = {"GIT_INDEX_FILE": str(folder / "index"), "GIT_OBJECT_DIRECTORY": str(folder / "objects")}
    quoted = str(objects.resolve()).replace("\\", "\\\\").replace('"', '\\"')
    env["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = f'"{quoted}"'
    (folder / "objects").mkdir()
    if index.exists():
        shutil.copyfile(index, folder / "index")
    if not state.staged:
        git.ask("add", "--update", "--", ":/", env=env)
    return git.ask("write-tree", env=env), env


def read_tree(
    ctx: Context, git: Git, tree: str, allowed: Iterable[str], env: Mapping[str, str] | None = None
) -> Snapshot:
    """Read a tree or commit whole, and refuse it when there is a secret in it that is not allowed.

    Raises:
        KaggError: FINDINGS for a secret, USAGE for names that cannot travel.
    """
    done = git.run("ls-tree", "-r", "-z", "--full-tree", tree, env=env)
    if done.returncode:
        raise KaggError(f"git ls-tree failed: {said(done)}")
    what = f"the code of {git.folder.name}"
    try:
        entries = git_entries(done.stdout)
        with GitObjects(["git"], git.folder, {**git.env, **(env or {})}) as objects:
            reading = _Reading(ctx, what, objects)
            parts = (part for mode, oid, name in entries if mode != SUBMODULE for part in reading.part(name, oid))
            shared("secrets.gate").refuse(ctx, what, parts, allowed)
    except CodeError as error:
        raise bad_input(f"{git.folder}: {error}", "rename the file, or use --code dataset") from error
    return _snapshot(entries, reading)


def _snapshot(entries: list[tuple[str, str, str]], reading: _Reading) -> Snapshot:
    oids = {name: oid for mode, oid, name in entries if mode in (FILE, PROGRAM)}
    targets = {name: os.fsdecode(reading.heads.get(oid, b"")) for mode, oid, name in entries if mode == LINK}
    links, left_out = resolve_links(oids, targets)
    every = oids | {name: oids[source] for name, source in links.items()}
    return Snapshot(
        files={name: reading.hashes[oid] for name, oid in sorted(every.items())},
        size_bytes=sum(reading.sizes[oid] for oid in every.values()),
        links=links,
        left_out=tuple(left_out),
        submodules=tuple(name for mode, _, name in entries if mode == SUBMODULE),
        pointers=tuple(name for name, oid in every.items() if _is_pointer(reading, oid)),
        objects=frozenset(reading.hashes),
    )


def _is_pointer(reading: _Reading, oid: str) -> bool:
    return reading.sizes[oid] <= POINTER_BYTES and reading.heads.get(oid, b"").startswith(POINTER)


def resolve_links(files: Mapping[str, str], targets: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return {path: file} for links within a tree, those to folders file by file, and the links that lead nowhere.

    A link to a folder that holds it is left out: it has no end.
    """
    folders = {name[: at.start()] for name in (*files, *targets) for at in _slashes(name)}
    links: dict[str, str] = {}
    left_out = []
    for name in sorted(targets):
        real = _followed(name, targets)
        if real in files:
            links[name] = real
        elif real and real in folders and not name.startswith(f"{real}/"):
            for child in (*files, *targets):
                source = _followed(child, targets) if child.startswith(f"{real}/") else ""
                if source in files:
                    links[name + child[len(real) :]] = source
        else:
            left_out.append(name)
        if len(links) > MAX_COPIES:
            raise bad_input(f"links to folders stand for more than {MAX_COPIES} files", "use --code dataset")
    return links, left_out


def _slashes(name: str) -> Iterator[re.Match[str]]:
    return re.finditer("/", name)


def _followed(name: str, targets: Mapping[str, str]) -> str:
    """Return where a path of the tree leads, "" when it leads out of it or round in circles."""
    done: list[str] = []
    waiting, hops = name.split("/"), 0
    while waiting:
        part = waiting.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            if not done:
                return ""
            done.pop()
            continue
        done.append(part)
        target = targets.get("/".join(done))
        if target is not None:
            hops += 1
            if hops > MAX_HOPS or target.startswith("/"):
                return ""
            done.pop()
            waiting = target.split("/") + waiting
    return "/".join(done)


def check_outgoing(
    ctx: Context, git: Git, commit: str, *, there: Iterable[str], seen: Iterable[str], allowed: Iterable[str]
) -> int:
    """Look for secrets in all that a push would send beside `seen`: older versions of files, and commit messages.

    `there` are commits of the remote. Returns how many commits would go.

    Raises:
        KaggError: FINDINGS.
    """
    tips = "".join(f"^{tip}\n" for tip in sorted(set(there)))
    words = ("rev-list", "--objects", "--ignore-missing", "--stdin")
    done = git.run(*words, stdin=f"{commit}\n{tips}".encode())
    if done.returncode:
        raise KaggError(f"git rev-list failed: {said(done)}")
    lines = [line.partition(" ") for line in done.stdout.decode("utf-8", "replace").splitlines()]
    what, known = f"the history of {git.folder.name}", set(seen)
    with GitObjects(["git"], git.folder, git.env) as objects:
        reading = _Reading(ctx, what, objects)
        kinds = ("blob", "commit", "tag")
        parts = (
            part
            for oid, _, name in lines
            if oid not in known
            for part in reading.part(f"{name} (an older version)" if name else f"commit {oid[:12]}", oid, kinds)
        )
        try:
            shared("secrets.gate").refuse(ctx, what, parts, allowed)
        except CodeError as error:
            raise KaggError(f"{git.folder}: {error}", hint="git fsck shows what is missing") from error
    return sum(not mark for _, mark, _ in lines)


def check_message(ctx: Context, git: Git, message: str, allowed: Iterable[str]) -> None:
    """Refuse a commit message with a secret in it."""
    sent = [("the commit message", message.encode("utf-8", "replace"))]
    shared("secrets.gate").refuse(ctx, f"the commit to {git.folder.name}", sent, allowed)


def tell_left_out(ctx: Context, snapshot: Snapshot) -> None:
    """Say what of the tree the session does not get as it is here."""
    if snapshot.submodules:
        ctx.say(f"submodules are not followed: {listed(snapshot.submodules)}")
    if snapshot.left_out:
        ctx.say(f"links that lead out of the repository, or nowhere, are left out: {listed(snapshot.left_out)}")
    if snapshot.pointers:
        ctx.say(
            f"warning: Git LFS keeps the content of {listed(snapshot.pointers)}; the session gets the pointers only"
        )
