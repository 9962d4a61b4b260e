"""Write kagg into a repository's git configuration, tell what is there, and take out exactly that again."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import Exit, KaggError, bad_input, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kagg import Context

PLUGIN = {"api": 1, "summary": "kagg in git's configuration", "requires": {}}

DRIVER = "kagg"
USES = f"filter={DRIVER} diff={DRIVER} merge={DRIVER}"
ATTRIBUTES = (
    f"*.[iI][pP][yY][nN][bB] {USES}"  # git matches letters as they are, also where files do not tell them apart
)
OURS = frozenset(line.encode() for line in (ATTRIBUTES, f"*.ipynb {USES}"))  # the second is what 0.1 wrote
FILES = f"filter.{DRIVER}.attributes"  # our own key, one value for each file of attributes; git leaves it alone
SCAN = "--scan"
# Python keeps the compiled form of what is imported, never of the script that it runs: that is half of the start.
# The path is set before anything is imported, so that no module of the repository is taken for one of Python's; it is
# that of kagg.py less these seven letters.
LAUNCH = "import sys; sys.path[0] = sys.argv.pop(1)[:-7]; from plugins.lib.git_filter import main; main()"
PROBE = "notebook.ipynb"  # git is asked about this name; there need be no such file
GIT_S = 30.0
# The answer of a filter that can do nothing: git stores files as they are, or refuses to where it is required.
NO_FILTER = (
    "echo 'kagg: the program of filter.kagg.process has gone: install it again, or git config --unset' >&2; "
    "printf '0016git-filter-server\\n000eversion=2\\n00000000'; cat >/dev/null"
)
CELL_TITLE = "^(%% .*)$"  # the line of `git textconv` that a hunk of a diff is under


class Git:
    """Git in one folder."""

    def __init__(self, ctx: Context, folder: Path) -> None:
        self.env, self.folder = dict(ctx.env), folder

    def run(self, *words: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run a git command and return how it ended.

        Raises:
            KaggError: MISSING when there is no git.
        """
        try:
            return subprocess.run(
                ["git", *words],
                cwd=self.folder,
                env=self.env,
                input=b"" if stdin is None else stdin,
                capture_output=True,
                timeout=GIT_S,
                check=False,
            )
        except FileNotFoundError as error:
            raise KaggError("there is no git on the PATH", code=Exit.MISSING, hint="install git") from error
        except subprocess.TimeoutExpired as error:
            raise KaggError(f"git {words[0]} took over {GIT_S:.0f} s") from error

    def ask(self, *words: str) -> str:
        """Return what git prints, without the final newline.

        Raises:
            KaggError: git failed; its first line.
        """
        done = self.run(*words)
        if done.returncode:
            said = os.fsdecode(done.stderr).strip().splitlines()
            raise KaggError(f"git {words[0]}: {said[0].removeprefix('fatal: ') if said else 'failed'}")
        return os.fsdecode(done.stdout).removesuffix("\n")


class Place(NamedTuple):
    """Where the settings go: `scope` of git config, and the file of attributes."""

    scope: str
    attributes: Path
    name: str
    shared: bool = False  # a file that was named, not git's own


def repository(git: Git) -> Path:
    """Return the top folder of the working tree.

    Raises:
        KaggError: USAGE outside a repository, and in one without a working tree.
    """
    done = git.run("rev-parse", "--show-toplevel")
    if done.returncode == 0:
        return Path(os.fsdecode(done.stdout).removesuffix("\n"))
    said = os.fsdecode(done.stderr)
    if "dubious ownership" in said:
        raise bad_input(f"{git.folder} belongs to somebody else", "see git config safe.directory")
    if "work tree" in said:
        raise bad_input(f"{git.folder} has no working tree", "run it where the notebooks are")
    raise bad_input(f"{git.folder} is not in a git repository", "git init, or --global for all of yours")


def find_place(ctx: Context, git: Git, *, everywhere: bool, attributes: Path | None) -> Place:
    """Return where settings belong: in the repository of the folder, or with `everywhere` in the user's own."""
    if everywhere:
        if attributes:
            raise bad_input("--attributes is for one repository", "leave it out, or --global")
        git.run("version")
        named = git.run("config", "--global", "--type=path", "--get", "core.attributesFile")
        home = Path(ctx.env.get("XDG_CONFIG_HOME") or ctx.user_home() / ".config")
        found = Path(os.fsdecode(named.stdout).removesuffix("\n")) if named.stdout.strip() else home / "git/attributes"
        return Place("--global", found, "all of your repositories")
    top = repository(git)
    if attributes:
        return Place("--local", Path(os.path.abspath(git.folder / attributes)), str(top), shared=True)  # noqa: PTH100 - not through links
    inside = Path(git.ask("rev-parse", "--git-path", "info/attributes"))
    return Place("--local", inside if inside.is_absolute() else git.folder / inside, str(top))


# ---------------------------------------------------------------- settings


def program(ctx: Context) -> tuple[str, str]:
    """Return the interpreter and the kagg.py that run."""
    return sys.executable or "python3", str(ctx.root / "kagg.py")


def command_line(words: Iterable[str]) -> str:
    """Quote words for the shell that git hands its commands to; that is a POSIX shell on Windows, too."""
    return shlex.join(word.replace("\\", "/") if os.name == "nt" else word for word in words)


def settings(ctx: Context, options: list[str], *, required: bool) -> dict[str, str]:
    """Return the git configuration, by key, in the order in which it is written.

    Git would stop with "the remote end hung up" when this program has gone, so each command says what to do instead.
    """
    python, script = (command_line([word]) for word in program(ctx))
    words = command_line(options)

    def line(action: str, tail: str = "", otherwise: str = "") -> str:
        call = " ".join(part for part in (python, "-c", f"'{LAUNCH}'", script, "git", words, action) if part)
        found = f"test -x {python} && test -e {script} && exec " if otherwise else ""
        start = found + call
        if "%" in tail:  # git replaces %O and the like in such a command
            start = start.replace("%", "%%")
        return start + (f" {tail}" if tail else "") + (f"; {otherwise}" if otherwise else "")

    return {
        f"filter.{DRIVER}.process": line("filter-process", "", NO_FILTER),
        f"filter.{DRIVER}.clean": line("clean-filter", "-- %f"),
        f"filter.{DRIVER}.smudge": "cat",
        f"filter.{DRIVER}.required": "true" if required else "false",
        f"diff.{DRIVER}.textconv": line("textconv", '-- "$@"', "cat --"),  # git adds "$@" to the last command
        f"diff.{DRIVER}.cachetextconv": "true",
        f"diff.{DRIVER}.xfuncname": CELL_TITLE,
        f"merge.{DRIVER}.name": "notebooks, cell by cell",
        f"merge.{DRIVER}.driver": line("merge-driver", "-- %O %A %B %L %P", "git merge-file --marker-size=%L %A %O %B"),
    }


def configured(git: Git, scope: str) -> dict[str, str]:
    """Return what is set under our names in one scope; of a key that stands twice the last."""
    found: dict[str, str] = {}
    done = git.run("config", scope, "--null", "--get-regexp", rf"^(filter|diff|merge)\.{DRIVER}\.")
    for entry in os.fsdecode(done.stdout).split("\0"):
        key, _, value = entry.partition("\n")
        if key:
            found[key] = value
    return found


def _remembered(git: Git, scope: str) -> list[str]:
    """Return the files of attributes that installs have written a line to."""
    return os.fsdecode(git.run("config", scope, "--null", "--get-all", FILES).stdout).split("\0")[:-1]


def install(ctx: Context, git: Git, place: Place, options: list[str], *, required: bool) -> dict[str, Any]:
    """Write settings and attributes, and return what changed; a second time nothing does.

    Raises:
        KaggError: USAGE where notebooks go through another filter; git runs one, and a silent change of it does harm.
    """
    other = "" if place.scope == "--global" else _attributes(git)["filter"]
    if other not in ("", "unspecified", "unset", DRIVER):
        hint = f"git check-attr -a {PROBE} shows it; take it out first"
        raise bad_input(f"*.ipynb go through the filter {other!r} in {place.name}", hint)
    wanted, before = settings(ctx, options, required=required), configured(git, place.scope)
    opened = SCAN in _call(before.get(f"filter.{DRIVER}.process", "")) and SCAN not in options
    changed = [key for key, value in wanted.items() if before.get(key) != value]
    for key in changed:
        git.ask("config", place.scope, "--replace-all", key, wanted[key])
    if str(place.attributes) not in _remembered(git, place.scope):  # so that uninstall finds it
        git.ask("config", place.scope, "--add", FILES, str(place.attributes))
        changed.append(FILES)
    if _write_attributes(place.attributes, wanted=True):
        changed.append(str(place.attributes))
    return {"installed": True, "where": place.name, "attributes": str(place.attributes), "changed": changed,
            "required": required, "gate_removed": opened}  # fmt: skip


def uninstall(ctx: Context, git: Git, place: Place) -> dict[str, Any]:
    """Take out the keys and the lines that every `install` wrote, and return what was taken out."""
    known, changed, found = [*settings(ctx, [], required=False), FILES], [], configured(git, place.scope)
    usual = find_place(ctx, git, everywhere=place.scope == "--global", attributes=None)
    files = {place.attributes, usual.attributes, *map(Path, _remembered(git, place.scope))}
    for key in found:
        if key in known:
            git.ask("config", place.scope, "--unset-all", key)
            changed.append(key)
    changed += [str(path) for path in sorted(files) if _write_attributes(path, wanted=False)]
    return {"installed": False, "where": place.name, "attributes": str(place.attributes), "changed": changed}


def _write_attributes(path: Path, *, wanted: bool) -> bool:
    """Add our line at the end, or take it out; foreign lines keep their bytes. Return whether the file changed.

    A line of an earlier version becomes the one of this version where it stands.
    """
    try:
        before = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise bad_input(f"cannot read {path}: {error.strerror}") from error
    ours = ATTRIBUTES.encode()
    lines = before.splitlines(keepends=True)
    rest = [line for line in lines if line.strip() not in OURS]
    if wanted and rest != lines:
        renewed = [line if line in rest else line.replace(line.strip(), ours) for line in lines]
        if renewed != lines:
            write_atomic(path, b"".join(renewed))
        return renewed != lines
    if wanted:
        gap = b"\n" if before and not before.endswith((b"\n", b"\r")) else b""
        write_atomic(path, before + gap + ours + b"\n")
    elif rest == lines:
        return False
    elif rest:
        write_atomic(path, b"".join(rest))
    else:
        path.unlink()
    return True


# ---------------------------------------------------------------- status


def status(ctx: Context, git: Git, *, everywhere: bool) -> dict[str, Any]:
    """Return what is set and where, what git makes of it, and what is wrong with it."""
    name = "all of your repositories" if everywhere else str(repository(git))
    found = {} if everywhere else configured(git, "--local")
    scope = "--local" if found else "--global"
    found = found or configured(git, "--global")
    command = found.get(f"filter.{DRIVER}.process", "")
    known = list(settings(ctx, [], required=False))
    faults = [f"{key} is not set" for key in known if key not in found] if found else ["nothing is set"]
    call = _call(command)
    faults += [f"{path} does not exist" for path in _program_of(call) if not Path(path).exists()]
    applies = {} if everywhere else _attributes(git)
    if not everywhere:
        faults += [f"*.ipynb has {what}={value}, not {DRIVER}" for what, value in applies.items() if value != DRIVER]
    elif not _has_line(find_place(ctx, git, everywhere=True, attributes=None).attributes):
        faults.append("the attributes file of git does not name *.ipynb")
    return {"installed": not faults, "where": name, "scope": scope.lstrip("-") if found else "",
            "process": command_line(call), "required": found.get(f"filter.{DRIVER}.required") == "true",
            "attributes": applies, "faults": faults}  # fmt: skip


def _call(command: str) -> list[str]:
    """Return the words that start kagg in a command of ours: interpreter, how, kagg.py, git, options, action."""
    try:
        words = shlex.split(command.partition("&& exec ")[2].partition("; echo 'kagg: ")[0] or command)
    except ValueError:
        return []
    return words


def _program_of(call: list[str]) -> list[str]:
    """Return the interpreter and the kagg.py among the words of a command; earlier versions named no `-c`."""
    return [*call[:1], *(call[3:4] if call[1:2] == ["-c"] else call[1:2])]


def _attributes(git: Git) -> dict[str, str]:
    """Return what git does with a notebook at the top of the working tree."""
    probe = str(repository(git) / PROBE)
    fields = git.ask("check-attr", "-z", "filter", "diff", "merge", "--", probe).split("\0")
    return {fields[at + 1]: fields[at + 2] for at in range(0, len(fields) - 2, 3)}


def _has_line(path: Path) -> bool:
    return path.exists() and not OURS.isdisjoint(line.strip() for line in path.read_bytes().splitlines())
