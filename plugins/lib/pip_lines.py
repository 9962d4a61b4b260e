"""Read pip requirements out of shell lines such as `!pip install -q "numpy>=2" && nvidia-smi`."""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

from plugins.lib import distributions

# Options of install that are followed by a value: pip.pypa.io/en/stable/cli/pip_install, looked up 2026-11-21.
_VALUE_OPTION = re.compile(
    r"-[rciften]|--(requirement|constraint|index-url|extra-index-url|find-links|target|prefix|root|trusted-host|proxy|"
    r"timeout|retries|platform|python-version|abi|implementation|progress-bar|only-binary|no-binary|cache-dir|log|src|"
    r"upgrade-strategy|config-settings|editable|name|channel|cert|report|python)"
)
_KEPT_OPTION = re.compile(r"-[re]|--(requirement|editable)")  # their values are requirements that we cannot record
_REQUIREMENT = re.compile(
    r"[A-Za-z0-9][\w.-]*(\[[\w,. -]+\])?\s*([<>=!~]=?[^;@]*)?(;.*)?$|[\w.-]+(\[[\w,]+\])?\s*@\s*\S+$|(git\+|https?:).+"
)
_COMPARISON = re.compile(r"[<>=!~]=")
_TOOL = re.compile(r"pip[\d.]*|(?:micro)?mamba|conda")
_OTHER_INDEX = re.compile(r"-[if]|--(?:index-url|extra-index-url|find-links|no-index)(?:=.*)?|-i.+")
_UNFIT = re.compile(r"://[^/\s]*@|[{}$]")  # credentials in a URL, shell and Python variables


def commands(line: str) -> list[list[str]]:
    """Split a shell line into the words of its commands."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # an open quote: the shell would refuse it too
        words = line.split()
    found: list[list[str]] = [[]]
    for word in words:
        if word in ("&&", "||", ";", "|", "&"):
            found.append([])
        elif word.endswith(";"):
            found[-1].append(word[:-1])
            found.append([])
        else:
            found[-1].append(word)
    return [command for command in found if command]


def install_arguments(command: list[str]) -> list[str] | None:
    """Return what follows `install` when the command is pip, conda or uv in any usual spelling, else None."""
    return command[command.index("install") + 1 :] if _tool(command) else None


def _tool(command: list[str]) -> str:
    """Return the name of the program whose `install` this is, "" when it is none that we know."""
    before = command[: command.index("install")] if "install" in command[:8] else []
    names = (word.rpartition("/")[2] for word in before)
    return next((name for name in names if _TOOL.fullmatch(name)), "")


def requirements(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return the requirements among the arguments of `install`, and those that cannot be recorded.

    `numpy>=2` without quotes is taken as it is meant, although a shell would redirect to a file named `=2`.
    """
    found: list[str] = []
    odd: list[str] = []
    option = comparison = ""
    for word in arguments:
        if comparison:  # `numpy >= 2`, with blanks
            found[-1] += comparison + word
            comparison = ""
        elif option:
            odd += [f"{option} {word}"] if _KEPT_OPTION.fullmatch(option) else []
            option = ""
        elif found and _COMPARISON.fullmatch(word):
            comparison = word
        elif re.match(r"\d?&?[<>]", word):
            option = word if word.endswith((">", "<")) else ""
        elif word.startswith("-"):
            option = word if _VALUE_OPTION.fullmatch(word) else ""
            odd += [word] if word.startswith(("--requirement=", "--editable=")) else []
        elif _REQUIREMENT.match(word) and not _UNFIT.search(word):
            found.append(word)
        else:
            odd.append(word)
    return found, odd


class Install(NamedTuple):
    """What one `install` asks for; `elsewhere` says that it names another source than PyPI."""

    wanted: list[str]
    odd: list[str]
    elsewhere: bool = False


def install(command: list[str]) -> Install | None:
    """Return what a command installs, None when it installs nothing; conda's names and pins become pip's."""
    arguments = install_arguments(command)
    if arguments is None:
        return None
    wanted, odd = requirements(arguments)
    if not _tool(command).startswith("pip"):
        as_pip = {word: _from_conda(word) for word in wanted}
        odd += [word for word, meant in as_pip.items() if not meant and not re.match(r"python\b(?!-)|pip\b", word)]
        return Install([meant for meant in as_pip.values() if meant], odd)
    return Install(wanted, odd, any(_OTHER_INDEX.fullmatch(word) for word in arguments))


def _from_conda(word: str) -> str:
    """Return conda's `name=1.2` as pip's `name==1.2.*`, "" for what the table of distributions does not have."""
    match = re.fullmatch(r"(?:[\w-]+::)?([\w.-]+?)\s*(?:(=)([\d.]+)(?:=\w+)?|([<>=!~]=.*|[<>].*))?", word)
    name = distributions.from_conda(match[1]) if match else ""
    if not match or not name:
        return ""
    return name + (f"=={match[3].rstrip('.')}.*" if match[2] else match[4] or "")


class Requirement(NamedTuple):
    """A requirement taken apart: `name` is "" for a URL that does not say it; `pins` is everything behind the name."""

    name: str
    pins: str
    text: str


def take_apart(text: str) -> Requirement:
    """Split a requirement such as `x[extra]>=1; python_version<"3.13"` or `git+https://host/x.git`."""
    if re.match(r"(?:\w+\+)?https?:", text):
        egg = re.search(r"#(?:.*&)?egg=([\w.-]+)", text)
        last = re.sub(r"[@#?].*", "", text.partition("://")[2]).rstrip("/").rpartition("/")[2].removesuffix(".git")
        name = egg[1] if egg else last.partition("-")[0] if last.endswith((".whl", ".tar.gz", ".zip")) else last
        return Requirement(name if re.fullmatch(r"[A-Za-z0-9][\w.-]*", name) else "", text, text)
    match = re.match(r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?", text)
    name = match[0] if match else ""
    return Requirement(name, text[len(name) :].strip(), text)
