"""Read pip requirements out of shell lines such as `!pip install -q "numpy>=2" && nvidia-smi`, and of calls of pip."""

from __future__ import annotations

import ast
import re
import shlex
from typing import TYPE_CHECKING, NamedTuple

from kagg import redact
from plugins.lib import distributions

if TYPE_CHECKING:
    from collections.abc import Iterable

# Options of install that are followed by a value: pip.pypa.io/en/stable/cli/pip_install, looked up 2026-11-21.
_VALUE_OPTION = re.compile(
    r"-[rciften]|--(requirement|constraint|index-url|extra-index-url|find-links|target|prefix|root|trusted-host|proxy|"
    r"timeout|retries|platform|python-version|abi|implementation|progress-bar|only-binary|no-binary|cache-dir|log|src|"
    r"upgrade-strategy|config-settings|editable|name|channel|cert|report|python|index|default-index|index-strategy)"
)
# Their values are requirements that we cannot record, and constraints that nobody applies.
_KEPT_OPTION = re.compile(r"-[rec]|--(?:requirement|editable|constraint)")
_KEPT_WORD = re.compile(r"--(?:requirement|editable|constraint)=|-[rec]\S")
_SPECIFIER = r"(?:===|==|~=|!=|<=|>=|<|>) ?[A-Za-z0-9_.*+!-]+"
_REQUIREMENT = re.compile(  # PEP 508; blanks are single ones
    r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])? ?(?:\[[A-Za-z0-9_,. -]*\] ?)?"
    rf"(?:\(?{_SPECIFIER}(?: ?, ?{_SPECIFIER})* ?\)?)? ?(?:;.*)?|"
    r"[A-Za-z0-9][A-Za-z0-9_.-]*(?:\[[A-Za-z0-9_,. -]+\])? ?@ ?\S+(?: ;.*)?|(?:git\+|https?:)\S+"
)
_CONDA_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]*) ?= ?([0-9][A-Za-z0-9_.!]*)(?:=(\S*))?")  # of `conda list -e`
_COMPARISON = re.compile(r"[<>=!~]=")
_TOOL = re.compile(r"pip[\d.]*|(?:micro)?mamba|conda")
_OTHER_INDEX = re.compile(
    r"-[if].*|--(?:index-url|extra-index-url|find-links|no-index|index|default-index)(?:=.*)?", re.DOTALL
)
# What makes every later pip of a notebook look elsewhere: variables of pip and uv, and files of settings.
_INDEX_SETTING = re.compile(
    r"\b(?:PIP_(?:EXTRA_)?INDEX_URL|PIP_(?:FIND_LINKS|NO_INDEX|CONFIG_FILE)|UV_(?:EXTRA_|DEFAULT_)?INDEX(?:_URL)?"
    r"|UV_FIND_LINKS)\b|\bpip\.(?:conf|ini)\b|\bconfig[\"', ]+set[\"', ]+\w+\.(?:extra-)?(?:index-url|find-links)"
)
_UNFIT = re.compile(r"://[^/\s]*@|[{}$]")  # credentials in a URL, shell and Python variables
_CREDENTIALS = re.compile(r"(?<=://)[^/\s'\"]*@")
MAX_CHARS = 1000  # of one requirement


def shown(word: str) -> str:
    """Return a word as a message may repeat it."""
    return redact(_CREDENTIALS.sub("***@", word))[:80]


def names_index(text: str) -> bool:
    """Say whether text sets another index than PyPI for every pip that follows."""
    return _INDEX_SETTING.search(text) is not None


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
    before = command[: command.index("install")] if "install" in command[:12] else []
    if before and before[0] in ("echo", "printf", "grep"):
        return ""
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
            odd += [word] if not option and _KEPT_WORD.match(word) else []
        else:
            found.append(word)
    usable = {word: as_requirement(word) for word in found}
    return [meant for meant in usable.values() if meant], odd + [word for word, meant in usable.items() if not meant]


def as_requirement(word: str) -> str:
    """Return a word as a requirement by PEP 508, "" when it is none; conda's `name=1.2=build` is `name==1.2`."""
    word = " ".join(word.split()) if len(word) <= MAX_CHARS else ""
    pin = _CONDA_PIN.fullmatch(word)
    if pin:
        name = pin[1] if pin[3] in (None, "pypi_0") else distributions.from_conda(pin[1])
        return f"{name}=={pin[2]}" if name else ""
    return word if _REQUIREMENT.fullmatch(word) and not _UNFIT.search(word) else ""


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
    if not _tool(command).startswith("pip"):
        return _from_conda(arguments)
    before = command[: command.index("install")]
    elsewhere = any(_OTHER_INDEX.fullmatch(word) for word in command) or any(map(names_index, before))
    return Install(*requirements(arguments), elsewhere)


def _from_conda(arguments: list[str]) -> Install:
    """Return conda's `name=1.2` as pip's `name==1.2.*`; what the table of distributions does not have is odd."""
    wanted: list[str] = []
    odd: list[str] = []
    option = ""
    for word in arguments:
        if option or word.startswith("-"):
            option = "" if option else word if _VALUE_OPTION.fullmatch(word) else ""
            continue
        if re.match(r"\d?&?[<>]", word):
            option = word if word.endswith((">", "<")) else ""
            continue
        match = re.fullmatch(r"(?:[\w-]+::)?([\w.-]+?)\s*(?:(=)([\d.]+)(?:=\w+)?|([<>=!~]=.*|[<>].*))?", word)
        name = distributions.from_conda(match[1]) if match else ""
        pins = f"=={match[3].rstrip('.')}.*" if match and match[2] else (match and match[4]) or ""
        if name and as_requirement(name + pins):
            wanted.append(name + pins)
        elif not re.match(r"python\b(?!-)|pip\b", word):
            odd.append(word)
    return Install(wanted, odd)


# ---------------------------------------------------------------------------------------------------------------------
# One requirement, and several
# ---------------------------------------------------------------------------------------------------------------------


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


def key(text: str) -> str:
    """Return what is equal for requirements of distributions that provide the same imports."""
    return distributions.same(take_apart(text).name)


def recorded(text: str, *, elsewhere: bool = False) -> tuple[str, str]:
    """Return a requirement as PyPI has it, and what there is to say: "" for one that only another index may have."""
    name, pins, _ = take_apart(text)
    if elsewhere and "://" not in text and not distributions.is_known(name):
        return "", f"{shown(name or text)} is installed from another index and not recorded: PyPI may hold another one"
    if real := distributions.stub(name):
        return real, f"{name} on PyPI is an empty project: {real} is recorded"
    if "://" not in text and "+" in pins.partition(";")[0]:  # PyPI takes no local versions: PEP 440
        specifiers, marker, rest = pins.partition(";")
        public = name + re.sub(r"\+[A-Za-z0-9._-]+", "", specifiers) + marker + rest
        return public, f"{shown(text)} names a build that PyPI does not have: {shown(public)} is recorded"
    return text, ""


class Wanted:
    """Requirements without doubles: what names a version, an extra or a URL replaces what names none."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Requirement] = {}

    def add(self, text: str) -> str:
        """Add one; return what is wrong with it, "" when nothing is. Of two that differ the last one counts."""
        new = take_apart(text)
        pins, _, marker = ("", "", "") if "://" in text else new.pins.partition(";")
        key = (distributions.same(new.name) if new.name else text, "".join(marker.split()))
        old = self._found.setdefault(key, new)
        if not new.pins or "".join(old.pins.split()) == "".join(new.pins.split()):
            return ""
        self._found[key] = new
        before = "" if "://" not in old.text and not old.pins.partition(";")[0] else old.text
        return f"{before} and {text} differ: the last one counts" if before and (pins or "://" in text) else ""

    def update(self, texts: Iterable[str]) -> list[str]:
        """Add several, and return what is wrong with them."""
        return [fault for text in texts if (fault := self.add(text))]

    @property
    def texts(self) -> list[str]:
        """The requirements, in the order in which they came."""
        return [one.text for one in self._found.values()]


# ---------------------------------------------------------------------------------------------------------------------
# Calls that run pip
# ---------------------------------------------------------------------------------------------------------------------

_RUNNERS = re.compile(
    r"run|call|check_call|check_output|Popen|system|popen|getoutput|getstatusoutput|run_line_magic|run_cell_magic|main|"
    r"create_subprocess_(?:exec|shell)"
)
_UNKNOWN = "{}"  # stands for what only a run would tell


def called(node: ast.Call) -> list[list[str]]:
    """Return the commands that a call such as `subprocess.run([sys.executable, "-m", "pip", ...])` runs."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if not _RUNNERS.fullmatch(name) or not node.args:
        return []
    if name in ("run_line_magic", "run_cell_magic", "create_subprocess_exec"):
        words = [_text(one) for one in node.args]
        return commands(" ".join(words)) if name != "create_subprocess_exec" else [words]
    listed = _words(node.args[0], 0)
    if listed is None:
        return commands(_text(node.args[0]))
    return [["pip", *listed]] if name == "main" else [listed]


def _text(node: ast.expr) -> str:
    """Return a string that is put together of constants; {} for the rest."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Add)
        and isinstance(node.right, (ast.Constant, ast.JoinedStr))
    ):
        parts = [_text(node.right)]
        left: ast.expr = node.left
        while isinstance(left, ast.BinOp) and isinstance(left.op, ast.Add):
            parts.append(_text(left.right))
            left = left.left
        return "".join([_text(left), *reversed(parts)])
    return _UNKNOWN


def _words(node: ast.expr, depth: int) -> list[str] | None:
    """Return the words of a list, also of `[...] + names` and `"...".split()`; None for what is no list."""
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_text(one) for one in node.elts]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and depth < 50:
        left = _words(node.left, depth + 1)
        return None if left is None else left + (_words(node.right, depth + 1) or [_UNKNOWN])
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "split":
        return _text(node.args[0] if node.args else node.func.value).split()
    return None
