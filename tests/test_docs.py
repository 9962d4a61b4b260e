"""Every console block of README.md and docs/ is run, and its output is compared with what the page shows.

A line that starts with `$ ` is a command, `> ` continues it, the lines below are its output, stdout and stderr as a
terminal mixes them. `...` in a line stands for anything in that line, a line of `...` for any lines, none included. A
command ends with 0 unless it says otherwise with `# exit 3` at its end. A block under `<!-- covered by tests/x.py -->`
is not run; it may hold only what cannot run here.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import pytest

import kagg
from plugins.lib.kaggle.embedded import stop_local

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
COMMAND_S = 90.0
# What a page may show without running it: it needs the network, an account or a terminal.
NOT_RUN = re.compile(
    r"git clone |cd |make |python -m pip |pip |kaggle |kagglehub |python kagg\.py .*--kaggle-url https:|#"
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the pages are written for a POSIX shell")


class Step(NamedTuple):
    """A command of a page: its line, what it is, the exit code and the output that the page promises."""

    line: int
    command: str
    code: int
    expected: list[str]


class Block(NamedTuple):
    """A console block and what stands in for running it."""

    line: int
    covered_by: str
    lines: list[str]


def blocks(text):
    """Return the console blocks of a page."""
    found, lines = [], text.splitlines()
    for number, line in enumerate(lines):
        if line.strip() == "```console":
            end = next(n for n in range(number + 1, len(lines)) if lines[n].strip() == "```")
            above = next((before.strip() for before in reversed(lines[:number]) if before.strip()), "")
            covered = re.fullmatch(r"<!-- covered by (tests/\w+\.py) -->", above)
            found.append(Block(number + 2, covered[1] if covered else "", lines[number + 1 : end]))
    return found


def steps(block):
    """Return the commands of a block."""
    found = []
    for number, line in enumerate(block.lines, block.line):
        if line.startswith("$ "):
            found.append(Step(number, line[2:], 0, []))
        elif re.match(r">( |$)", line) and found and not found[-1].expected:
            found[-1] = found[-1]._replace(command=found[-1].command + "\n" + line[2:])
        elif found:
            found[-1].expected.append(line)
        else:
            raise ValueError(f"line {number}: output before any command: {line}")
    marked = [(step, re.search(r"#.*\bexit (\d+)\s*$", step.command)) for step in found]
    return [step._replace(code=int(mark[1])) if mark else step for step, mark in marked]


def matches(expected, output):
    """Tell whether an output is what a page shows."""
    pattern = ""
    for line in expected:
        if line.strip() == "...":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += "[^\n]*".join(re.escape(piece) for piece in line.rstrip().split("...")) + r"[ \t]*\n"
    return re.fullmatch(pattern + r"\s*", output.rstrip("\n") + "\n" if output.strip() else "") is not None


class Shell:
    """Run commands one after the other as one shell would: folder, exports and `$?` are kept."""

    def __init__(self, folder, env):
        self.folder, self.code = folder / "page", 0
        self.folder.mkdir()
        self.state = folder / "state.sh"
        self.state.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in env.items()))

    def run(self, command):
        script = textwrap.dedent(
            """\
            unset -v OLDPWD
            . "$0"
            cd "$1" || exit 99
            keep() { code=$?; { export -p; echo "cd \\"$(pwd)\\""; } > "$0"; exit $code; }
            trap keep EXIT
            code() { return "$1"; }
            code "$2"
            """
        )
        child = subprocess.Popen(
            ["bash", "-c", script + command, str(self.state), str(self.folder), str(self.code)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={},
            start_new_session=True,
        )
        try:
            output, _ = child.communicate(timeout=COMMAND_S)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            raise
        last = self.state.read_text().splitlines()[-1]
        self.folder = Path(shlex.split(last)[1]) if last.startswith("cd ") else self.folder
        self.code = child.returncode
        return child.returncode, output


def faults(text, shell):
    """Run a page and return what is not as it says."""
    found = []
    for block in blocks(text):
        if block.covered_by:
            continue
        for step in steps(block):
            code, output = shell.run(step.command)
            if code != step.code:
                found.append(f"line {step.line}: {step.command}\nexit {code}, the page says {step.code}:\n{output}")
            if not matches(step.expected, output):
                shown = "\n".join(step.expected)
                found.append(f"line {step.line}: {step.command}\nthe page shows:\n{shown}\nit printed:\n{output}")
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of what a clone holds for users, without anybody's settings and credentials."""
    folder = tmp_path_factory.mktemp("clone") / "kagg"
    folder.mkdir()
    skipped = shutil.ignore_patterns("__pycache__", "*.pyc", "kaggle.json", "wandb.md", "project_config.yaml")
    for name in ("plugins", "batch_examples", "configs"):
        shutil.copytree(ROOT / name, folder / name, ignore=skipped)
    for name in ("kagg.py", "requirements.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture
def shell(tmp_path, project):
    """A shell in a folder with kagg.py in it, and a home of its own; what it started is stopped at the end."""
    tools, home = tmp_path / "bin", tmp_path / "home"
    tools.mkdir()
    (tools / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    (tools / "python").chmod(0o755)
    env = {
        "PATH": os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "LANG": "C.UTF-8",
        "COLUMNS": "100",
        "HOME": str(home),
        "KAGG_HOME": str(home / ".kagg"),
        "KAGG_ENDPOINTS": str(home / "endpoints.json"),
        "KAGG_KAGGLE_URL": "local",
    }
    home.mkdir()
    found = Shell(tmp_path, env)
    for path in project.iterdir():
        (found.folder / path.name).symlink_to(path)
    yield found
    names = (
        json.loads(Path(env["KAGG_ENDPOINTS"]).read_text())["endpoints"] if Path(env["KAGG_ENDPOINTS"]).exists() else {}
    )
    for name in names:
        found.run(f"python {project}/kagg.py -q endpoints remove {name}")
    for root in (home / ".kagg" / "local-kaggle", *found.folder.glob("*/server.json")):
        with contextlib.suppress(kagg.KaggError):
            stop_local(root if root.is_dir() else root.parent)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_shows_what_happens(page, shell):
    found = faults(page.read_text(), shell)
    assert not found, "\n\n".join(["", *found])


# --- the checker can fail --------------------------------------------------------------------------------------------


def page(*lines):
    return "\n".join(["text", "```console", *lines, "```", "more"])


@pytest.mark.parametrize(
    "lines",
    [
        ["$ echo one", "one"],
        ["$ echo one; echo two >&2", "one", "two"],
        ["$ seq 5", "1", "...", "5"],
        ["$ seq 2", "1", "...", "2"],
        ["$ echo took 0.31 s", "took ... s"],
        ["$ true"],
        ["$ exit 3  # exit 3"],
        ["$ false  # exit 1", "$ echo $?", "1"],
        ["$ export COLOUR=red", "$ echo $COLOUR", "red"],
        ["$ mkdir deep", "$ cd deep", "$ basename $(pwd)", "deep"],
        ["$ echo a \\", ">   b", "a b"],
        ["$ cat <<'END'", "> x", "> END", "x"],
        ["$ ls kagg.py", "kagg.py"],
        ["$ python -c 'print(1)'", "1"],
    ],
)
def test_a_true_page_has_no_fault(lines, shell):
    assert faults(page(*lines), shell) == []


@pytest.mark.parametrize(
    "lines",
    [
        ["$ echo one", "two"],
        ["$ echo one"],
        ["$ echo one; echo two", "one"],
        ["$ true", "one"],
        ["$ seq 5", "1", "...", "6"],
        ["$ echo took 0.31 s", "took ... ms"],
        ["$ false"],
        ["$ true  # exit 1"],
        ["$ echo one >&2; exit 4  # exit 3", "one"],
        ["$ echo a.b", "a?b"],
    ],
)
def test_a_false_page_is_found(lines, shell):
    assert len(faults(page(*lines), shell)) == 1


def test_output_before_a_command_is_refused():
    with pytest.raises(ValueError, match="line 3: output before any command"):
        steps(blocks(page("one"))[0])


# --- blocks that are not run, links, tables ---------------------------------------------------------------------------


def unfit(text):
    """Return what may not be left unrun, and the tests that are named and absent."""
    found = []
    for block in blocks(text):
        if block.covered_by:
            found += [] if (ROOT / block.covered_by).is_file() else [f"line {block.line}: no {block.covered_by}"]
            found += [line for line in block.lines if line.startswith("$ ") and not NOT_RUN.match(line[2:])]
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_only_what_cannot_run_here_is_left_unrun(path):
    assert unfit(path.read_text()) == []


def test_a_block_that_could_run_may_not_be_left_unrun():
    covered = "<!-- covered by tests/test_docs.py -->\n"
    assert unfit(covered + page("$ make demo").removeprefix("text\n")) == []
    assert unfit(covered + page("$ python kagg.py list").removeprefix("text\n")) == ["$ python kagg.py list"]
    assert unfit(covered.replace("docs", "nowhere") + page("$ make demo").removeprefix("text\n"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_stand_in_console_blocks_only(path):
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)
    assert [body for kind, body in fenced if kind != "console" and re.search(r"^\$ ", body, re.MULTILINE)] == []
    assert {kind for kind, _ in fenced} <= {"console", "python", "csv", "json", "yaml", "toml", "text", "crontab"}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(path):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_every_page_is_linked_from_the_readme():
    linked = set(re.findall(r"\]\((docs/[\w-]+\.md)", README.read_text()))
    assert linked == {path.relative_to(ROOT).as_posix() for path in PAGES[1:]}


def test_the_table_of_commands_names_each_command_once():
    rooms = {path.stem.replace("_", "-") for path in (ROOT / "plugins" / "cmd").glob("[!_]*.py")}
    assert sorted(re.findall(r"^\| `([a-z-]+)[^`]*` \|", README.read_text(), re.MULTILINE)) == sorted(
        set(kagg.COMMANDS) | rooms
    )


def test_the_table_of_exit_codes_is_the_one_of_the_code():
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", README.read_text(), re.MULTILINE)] == sorted(kagg.Exit)


def test_every_option_that_a_page_names_exists():
    helped = "".join(
        subprocess.run(
            [sys.executable, str(ROOT / "kagg.py"), name, *target, "--help"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        for name, target in [(name, []) for name in (*kagg.COMMANDS, "preprocess", "runs")]
        + [("deploy", ["--local"]), ("train", ["tabular"])]
    )
    helped += "".join(path.read_text() for path in (ROOT / "plugins" / "cmd").glob("[!_]*.py"))
    used = {
        option
        for path in PAGES
        for line in re.findall(r"kagg\.py [^\n`|]*", path.read_text())
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", line.partition(" -- ")[0])
    }
    assert sorted(option for option in used if option not in helped) == []
    assert len(used) > 10
