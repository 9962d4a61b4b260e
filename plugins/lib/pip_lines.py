"""Read pip requirements out of shell lines such as `!pip install -q "numpy>=2" && nvidia-smi`."""

from __future__ import annotations

import re
import shlex

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
    if "install" not in command[:5]:
        return None
    at = command.index("install")
    tool = command[at - 1].rpartition("/")[2] if at else ""
    return command[at + 1 :] if re.fullmatch(r"pip[\d.]*|conda|mamba", tool) else None


def requirements(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return the requirements among the arguments of `install`, and those that cannot be recorded.

    `numpy>=2` without quotes is taken as it is meant, although a shell would redirect to a file named `=2`.
    """
    found: list[str] = []
    odd: list[str] = []
    option = ""
    for word in arguments:
        if option:
            odd += [f"{option} {word}"] if _KEPT_OPTION.fullmatch(option) else []
            option = ""
        elif re.match(r"\d?&?>", word):
            option = word if word.endswith(">") else ""
        elif word.startswith("-"):
            option = word if _VALUE_OPTION.fullmatch(word) else ""
        elif _REQUIREMENT.match(word) and not _UNFIT.search(word):
            found.append(word)
        else:
            odd.append(word)
    return found, odd
