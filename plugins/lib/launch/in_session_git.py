"""Fetch one commit of a git repository into a session, byte for byte: the part of a script for `--code git`.

Stand-alone: standard library only, Python 3.9 and later, git 2.20 and later. A token reaches git by its environment,
bound to the one address; it is in no argument, no file, no URL, and is taken out of everything that git says. Files are
written from the objects themselves, so that no attribute, filter, hook or line-end setting changes a byte.
"""

from __future__ import annotations

import base64
import importlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from plugins.lib.launch.in_session_base import CodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Self

GIT_INPUT = "/kaggle/input"
GIT_USER = "x-access-token"  # what GitHub asks for beside a token; others take any name
GIT_LIMIT_S = 1800.0
GIT_PAUSES_S = (2, 6, 0)  # after the first, second and last try of a fetch
GIT_DEPTHS = ("50", "500", "5000", "2147483647")  # the last is git's word for all: git-fetch(1), --unshallow
GIT_PIECE_BYTES = 1024 * 1024
GIT_HEADERS_SINCE = (2, 31)  # GIT_CONFIG_COUNT: release notes of git 2.31
GIT_LOOPBACK = ("localhost", "127.0.0.1", "::1")
GIT_REFUSED = re.compile(
    r"Authentication failed|could not read (?:Username|Password)|terminal prompts disabled|error: 40[134]\b"
    r"|Access denied|[Rr]epository\b.*\bnot found|HTTP 40[134]"
)
GIT_NOT_OFFERED = re.compile(r"not our ref|unadvertised object|find remote ref|did not send all necessary objects")
GIT_MOVED = re.compile(r"error: 30[12378]\b|HTTP 30[12378]")
GIT_OFFLINE = re.compile(r"Could not resolve host|Network is unreachable")
GIT_ASKPASS = """#!/bin/sh
case "$1" in
Username*"$GIT_ANSWER_HOST"*) printf '%s\\n' "$GIT_ANSWER_USER" ;;
Password*"$GIT_ANSWER_HOST"*) printf '%s\\n' "$GIT_ANSWER_WORD" ;;
esac
"""


class SessionGit:
    """Git that knows one address, one token and nothing of the machine's settings."""

    def __init__(self, scratch: str | Path, url: str, token: str = "", base: Mapping[str, str] | None = None) -> None:
        """Prepare git in the folder `scratch`; `base` is the environment to start from (default: the process's)."""
        self.scratch, self.url, self.token = Path(scratch), url, token
        self.base = dict(os.environ if base is None else base)
        program = shutil.which("git", path=self.base.get("PATH"))
        if not program:
            raise CodeError("there is no git in this session")
        self.program = program
        self.repo = self.scratch / "repo"
        self.env = self._environment()

    def _environment(self) -> dict[str, str]:
        """Return the environment of every git call: no settings, helpers, prompts or traces from outside."""
        kept = ("GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_EXEC_PATH")
        env = {
            name: value
            for name, value in self.base.items()
            if name in kept or not name.startswith(("GIT_", "SSH_", "GCM_", "XDG_"))
        }
        home = self.scratch / "home"
        home.mkdir(parents=True, exist_ok=True)
        env.update({"HOME": str(home), "XDG_CONFIG_HOME": str(home), "LC_ALL": "C", "GIT_CONFIG_NOSYSTEM": "1"})
        env.update({"GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0", "GIT_ATTR_NOSYSTEM": "1"})
        env.update({"GIT_NO_REPLACE_OBJECTS": "1"})
        if self.token and self._version(env) >= GIT_HEADERS_SINCE:
            header = "Authorization: Basic " + self._pair()
            env.update({"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http." + self.url + ".extraHeader"})
            env["GIT_CONFIG_VALUE_0"] = header
        elif self.token:
            script = self.scratch / "askpass"
            script.write_text(GIT_ASKPASS, encoding="utf-8")
            script.chmod(0o700)
            env.update({"GIT_ASKPASS": str(script), "GIT_ANSWER_HOST": urlsplit(self.url).netloc})
            env.update({"GIT_ANSWER_USER": GIT_USER, "GIT_ANSWER_WORD": self.token})
        return env

    def _pair(self) -> str:
        return base64.b64encode((GIT_USER + ":" + self.token).encode()).decode()

    def _version(self, env: dict[str, str]) -> tuple[int, int]:
        said = subprocess.run([self.program, "--version"], env=env, stdout=subprocess.PIPE, check=False).stdout
        found = re.search(rb"(\d+)\.(\d+)", said)
        return (int(found[1]), int(found[2])) if found else (0, 0)

    def words(self, *words: str) -> list[str]:
        """Return a git command line: only https, and http to this machine, and no program but git's own."""
        schemes = ["https"] + (["http"] if urlsplit(self.url).hostname in GIT_LOOPBACK else [])
        given = ["protocol.allow=never", *(f"protocol.{name}.allow=always" for name in schemes)]
        given += ["credential.helper=", "core.hooksPath=" + os.devnull, "gc.auto=0", "maintenance.auto=false"]
        given += ["http.lowSpeedLimit=1000", "http.lowSpeedTime=60", "fetch.recurseSubmodules=false"]
        if self.token:  # curl drops the header at a redirect to another host, git's next request has it again (2.39)
            given.append("http.followRedirects=false")
        return [self.program, *(part for item in given for part in ("-c", item)), *words]

    def run(self, *words: str, limit_s: float = GIT_LIMIT_S) -> tuple[int, bytes, str]:
        """Run git and return (exit code, output, what it said without secrets)."""
        try:
            done = subprocess.run(
                self.words(*words),
                cwd=str(self.scratch),
                env=self.env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return 1, b"", f"git {words[0]} took over {limit_s:.0f} s"
        return done.returncode, done.stdout, self.clean(done.stderr)

    def clean(self, said: bytes) -> str:
        """Return git's last words on one line: no token in any form, no credentials of a URL, no control characters."""
        text = said.decode("utf-8", "replace")
        for secret in (self.token, self._pair()) if self.token else ():
            text = text.replace(secret, "[secret]")
        text = re.sub(r"(?<=://)[^\s/@]+@", "", text)
        lines = [re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", line).strip() for line in re.split(r"[\r\n]", text)]
        return "; ".join([line for line in lines if line and not line.startswith("hint:")][-3:])[:600]

    def must(self, *words: str) -> bytes:
        """Run git and return its output.

        Raises:
            CodeError: with what git said.
        """
        code, output, said = self.run(*words)
        if code:
            raise CodeError(f"git failed: {said}")
        return output

    def init(self, commit: str) -> None:
        """Make an empty repository for the kind of hash that `commit` has."""
        kind = ["--object-format=sha256"] if len(commit) == 64 else []
        self.must("init", "--quiet", "--bare", "--template=", *kind, str(self.repo))

    def fetch(self, *words: str) -> str:
        """Fetch from the address, again after a failure of the network; return what was said, "" when all went well."""
        for pause_s in GIT_PAUSES_S:
            plain = ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules")
            code, _, said = self.run("-C", str(self.repo), *plain, *words[:-1], self.url, words[-1])
            if code == 0:
                return ""
            if any(known.search(said) for known in (GIT_REFUSED, GIT_NOT_OFFERED, GIT_MOVED)):
                break
            time.sleep(pause_s)
        return said or "git fetch failed"

    def has(self, commit: str) -> bool:
        """Tell whether the commit is here."""
        return self.run("-C", str(self.repo), "cat-file", "-e", commit + "^{commit}")[0] == 0


class GitObjects:
    """Read objects one after the other; a context manager around `git cat-file --batch`."""

    def __init__(self, words: Sequence[str], folder: Path, env: Mapping[str, str]) -> None:
        """Start the process: `words` is the command line without its options."""
        self.process = subprocess.Popen(
            [*words, "cat-file", "--batch"],
            cwd=str(folder),
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.asks, self.answers = cast("IO[bytes]", self.process.stdin), cast("IO[bytes]", self.process.stdout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.asks, self.answers):
            try:
                stream.close()
            except OSError:  # the process has gone
                continue
        self.process.wait()

    def read(self, oid: str) -> tuple[str, int, Iterator[bytes]]:
        """Return "blob" or another type, the size, and the content in pieces, which must be read to their end.

        Raises:
            CodeError: the object is not there, or git ended.
        """
        try:
            self.asks.write(oid.encode() + b"\n")
            self.asks.flush()
            head = self.answers.readline().split()
        except OSError:
            head = []
        if len(head) != 3:
            raise CodeError(f"git has no object {oid}")
        return head[1].decode(), int(head[2]), self._pieces(oid, int(head[2]))

    def _pieces(self, oid: str, left: int) -> Iterator[bytes]:
        while left:
            piece = self.answers.read(min(left, GIT_PIECE_BYTES))
            if not piece:
                raise CodeError(f"git ended within the object {oid}")
            left -= len(piece)
            yield piece
        self.answers.read(1)


def git_entries(listing: bytes) -> list[tuple[str, str, str]]:
    """Return [(mode, object, path)] of what `git ls-tree -r -z` printed.

    Raises:
        CodeError: a name that cannot be a file's, or is not UTF-8.
    """
    found = []
    for record in listing.split(b"\0"):
        if record:
            about, _, name = record.partition(b"\t")
            mode, _, oid = about.decode().split()[:3]
            found.append((mode, oid, git_name(name)))
    return found


def git_name(name: bytes) -> str:
    """Return a path of a tree as text, refusing one that leaves its folder or is none."""
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        raise CodeError(f"the file name {name!r} is not UTF-8") from None
    if any(part.lower() in ("", ".", "..", ".git") for part in text.split("/")):
        raise CodeError(f"refused the file name {text!r}")
    return text


def fetch_code(payload: dict[str, Any], folder: Path, say: Callable[[str], None]) -> None:
    """Fill the empty `folder` with the files of payload["commit"] at payload["url"].

    Raises:
        CodeError: with what went wrong, and without any secret.
    """
    scratch = tempfile.mkdtemp(prefix="kagg-git-")
    try:
        token = _git_token(payload, say)
        git = SessionGit(scratch, payload["url"], token)
        git.init(payload["commit"])
        git = _git_fetched(git, payload, say)
        _git_unpack(git, payload, Path(folder), say)
    except OSError as error:
        raise CodeError(f"the code could not be written: {error}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _git_token(payload: dict[str, Any], say: Callable[[str], None]) -> str:
    """Return the token in the dataset that the payload names, "" when it names none."""
    if not payload.get("token_dataset"):
        return ""
    owner, slug = payload["token_dataset"].split("/")
    name = payload["token_file"]
    places = [Path(GIT_INPUT, "datasets", owner, slug, name), Path(GIT_INPUT, slug, name)]
    places += [place for depth in ("*", "*/*") for place in Path(GIT_INPUT).glob(f"{depth}/{slug}/{name}")]
    for place in places:
        if place.is_file():
            token = place.read_text(encoding="utf-8").strip()
            if re.fullmatch(r"[\x21-\x7e]{8,4096}", token):
                return token
            raise CodeError(f"the file with the token in {payload['token_dataset']} holds no token")
    say("looked for the token in " + ", ".join(str(place) for place in places[:2]))
    raise CodeError(f"the dataset {payload['token_dataset']} with the token is not mounted")


def _git_secret(label: str, say: Callable[[str], None]) -> str:
    """Return the Kaggle secret `label`, "" when the session may not read it: a push drops what was attached."""
    try:
        client = importlib.import_module("kaggle_secrets").UserSecretsClient()
        return str(client.get_secret(label)).strip()
    except Exception as error:  # noqa: BLE001 - whatever Kaggle's client raises, it means that there is none
        say(f"the Kaggle secret {label} cannot be read: {type(error).__name__}")
        return ""


def _git_fetched(git: SessionGit, payload: dict[str, Any], say: Callable[[str], None]) -> SessionGit:
    """Fetch the commit and return the git that has it."""
    commit, branch = payload["commit"], payload.get("branch") or ""
    said = git.fetch("--depth", "1", commit)
    if said and GIT_REFUSED.search(said) and not git.token and payload.get("secret_label"):
        token = _git_secret(payload["secret_label"], say)
        if token:
            git = SessionGit(git.scratch, git.url, token)
            said = git.fetch("--depth", "1", commit)
    if said and GIT_NOT_OFFERED.search(said) and branch:
        say(f"the server gives no single commits; fetching {branch}")
        said = _git_deepened(git, branch, commit)
    if said and GIT_REFUSED.search(said):
        hint = "its token was refused" if git.token else "it is private, or not there: give --git-token"
        raise CodeError(f"{git.url} cannot be read: {hint}: {said}")
    if said:
        offline = "; is internet on for this session" if GIT_OFFLINE.search(said) else ""
        raise CodeError(f"{git.url}: {said}{offline}")
    if not git.has(commit):
        raise CodeError(f"{git.url} did not send the commit {commit}")
    return git


def _git_deepened(git: SessionGit, branch: str, commit: str) -> str:
    """Fetch a branch deeper and deeper until the commit is there; return what is wrong, "" when it is."""
    for depth in GIT_DEPTHS:
        said = git.fetch("--depth", depth, branch)
        if said or git.has(commit):
            return said
        if git.must("-C", str(git.repo), "rev-parse", "--is-shallow-repository").strip() == b"false":
            break
    return f"the commit {commit} is not in {branch}: was the branch pushed over"


def _git_unpack(git: SessionGit, payload: dict[str, Any], folder: Path, say: Callable[[str], None]) -> None:
    """Write the files of the commit, and of its links what they lead to."""
    listing = git.must("-C", str(git.repo), "ls-tree", "-r", "-z", "--full-tree", payload["commit"])
    entries = git_entries(listing)
    with GitObjects(git.words("-C", str(git.repo)), git.scratch, git.env) as objects:
        for mode, oid, name in entries:
            if mode == "160000":
                say(f"the submodule {name!r} is not fetched")
            elif mode != "120000":
                _git_write(objects.read(oid)[2], folder.joinpath(*name.split("/")), mode)
    for name, source in sorted((payload.get("links") or {}).items()):
        target = folder.joinpath(*git_name(name.encode()).split("/"))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(folder.joinpath(*git_name(source.encode()).split("/"))), str(target))


def _git_write(pieces: Iterator[bytes], path: Path, mode: str) -> None:
    """Write one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as stream:
        for piece in pieces:
            stream.write(piece)
    if mode == "100755":
        path.chmod(path.stat().st_mode | 0o111)
