"""Build the script that a kernel runs: readable, and the same bytes for the same order.

Layout: the two lines that mark a kernel as ours, CONFIG with everything that varies, the program (in_session*.py), and
last the packed code.
"""

from __future__ import annotations

import ast
import base64
import gzip
import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import MAX_SOURCE_BYTES, VERSION, bad_input
from plugins.lib.launch.parameters import check_names

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from plugins.lib.launch.code import Code

HERE = Path(__file__).resolve().parent
LIBRARY = HERE.parent
PACKED = "# What is packed: the user's files as they were sent"  # everything from here on is data
CHECKPOINTS = ("*.pt", "*.pth", "*.ckpt", "*.safetensors", "*.h5", "*.keras", "*.pkl", "*.joblib", "*.onnx", "*.npz")
PART_IMPORT = re.compile(r"^from plugins\.lib\.launch\.(in_session\w*) import", re.MULTILINE)
RUNNER_FILES = ("notebook_runner.py", "notebook_file.py", "notebook_kernel.py", "process_guard.py")
WIDTH = 100  # characters of a line of packed data

ABOUT = """\
# This is the program of one run on Kaggle; the code that it runs is packed at its end, or fetched as PAYLOAD says.
# It checks the device, fetches the code and checks each file's SHA-256, runs it as a child process, and leaves
# session_summary.json beside what the code wrote. Everything that belongs to this run is in CONFIG.
"""


class Order(NamedTuple):
    """One run: the code, what it gets, and on what it runs.

    `limit_s` counts from the start of the session (0: no limit); the program then gets SIGTERM, and SIGKILL `grace_s`
    later. `inputs` are "datasets/owner/slug", "competitions/slug", "notebooks/owner/slug", "models/o/m/f/v/1".
    `requirements_file` is a path in the code: one of pip's, or a pyproject.toml. `checkpoints` are shell patterns for
    names below the scratch folders.
    """

    run_id: str
    entry: str
    code: Code
    args: tuple[str, ...] = ()
    params: dict[str, Any] = {}  # noqa: RUF012 - nobody changes a tuple's default
    env: dict[str, str] = {}  # noqa: RUF012 - the same
    device: str = "cpu"
    accelerator: str = ""
    limit_s: float = 0.0
    inputs: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    requirements_file: str = ""
    checkpoints: tuple[str, ...] = CHECKPOINTS
    git_commit: str = ""
    grace_s: float = 30.0
    checkpoint_every_s: float = 10.0


def build(order: Order) -> str:
    """Return the script.

    Raises:
        KaggError: USAGE for an order that no session could carry out, or a script too long for Kaggle.
    """
    _check(order)
    runner = _pack_runner() if order.entry.endswith(".ipynb") else ""
    entry = "".join(letter if letter.isprintable() else "?" for letter in order.entry)
    program = _joined(_parts(order))
    text = "\n".join(
        [
            "#!/usr/bin/env python3",
            f"# kagg run {order.run_id}: made by kagg {VERSION}; entry {entry}",
            ABOUT,
            program.replace("@CONFIG@", f"CONFIG = {_literal(_config(order))}", 1),
            "",
            "",
            PACKED,
            f"PAYLOAD = {_literal(order.code.payload)}",
            f"RUNNER = {_literal(runner)}",
            "",
            'if __name__ == "__main__" and main(CONFIG, PAYLOAD, RUNNER):',
            "    raise SystemExit(1)",
            "",
        ]
    )
    if len(text.encode("utf-8")) > MAX_SOURCE_BYTES:
        raise bad_input(
            f"the script around {entry} is {len(text.encode())} bytes, Kaggle takes {MAX_SOURCE_BYTES}",
            "leave files out with --exclude, or send the code as a dataset: --code dataset",
        )
    return text


def requirements_in(files: Container[str]) -> str:
    """Return the file of a tree that says what is to be installed, "" when there is none."""
    return next((name for name in ("requirements.txt", "pyproject.toml") if name in files), "")


def line_count(text: str) -> int:
    """Return how many lines a script has without its packed data."""
    return text.partition(PACKED)[0].count("\n")


def _check(order: Order) -> None:
    """Refuse what cannot run."""
    check_names(order.params)
    if not re.fullmatch(r"[A-Za-z0-9._-]+", order.run_id):
        raise bad_input(f"{order.run_id!r} is no run id", "letters, digits, '.', '_' and '-'")
    if order.entry not in order.code.files:
        raise bad_input(f"{order.entry} is not among the files of the code")
    if not order.entry.endswith((".py", ".ipynb")):
        raise bad_input(f"{order.entry} is neither a notebook nor a Python script")
    if order.entry.endswith(".ipynb") and order.args:
        raise bad_input(f"{order.entry} is a notebook and takes no arguments", "give parameters: -p name=value")
    if order.requirements_file and order.requirements_file not in order.code.files:
        raise bad_input(f"{order.requirements_file} is not among the files of the code")
    if order.device not in ("cpu", "gpu", "tpu"):
        raise bad_input(f"{order.device!r} is no device: cpu, gpu or tpu")
    if not all("\0" not in text for text in (*order.args, *order.env, *order.env.values())):
        raise bad_input("an argument or variable holds a NUL character")
    if not all(0 <= number < math.inf for number in (order.limit_s, order.grace_s, order.checkpoint_every_s)):
        raise bad_input(f"{order.limit_s:g} s is no time limit")


def _config(order: Order) -> dict[str, Any]:
    """Return what the program in the session reads, sorted but for parameters: these become arguments in order."""
    config = {
        "run_id": order.run_id,
        "entry": order.entry,
        "args": list(order.args),
        "params": order.params,
        "env": dict(sorted(order.env.items())),
        "device": order.device,
        "accelerator": order.accelerator,
        "limit_s": order.limit_s,
        "grace_s": order.grace_s,
        "inputs": list(order.inputs),
        "requirements": list(order.requirements),
        "requirements_file": order.requirements_file,
        "checkpoints": list(order.checkpoints),
        "checkpoint_every_s": order.checkpoint_every_s,
        "git_commit": order.git_commit,
        "source_sha256": order.code.sha256,
        "kagg_version": VERSION,
        "files": [f"{digest}  {name}" for name, digest in sorted(order.code.files.items())],  # as sha256sum prints them
    }
    return dict(sorted(config.items()))


# ---------------------------------------------------------------- literals


def _literal(value: Any, indent: str = "") -> str:
    """Return a JSON value as Python source, one entry a line, long packed text in lines of WIDTH characters."""
    inner = indent + "    "
    if isinstance(value, dict) and value:
        entries = (f"{inner}{str(key)!a}: {_literal(value[key], inner)},\n" for key in value)
        return "{\n" + "".join(entries) + indent + "}"
    if isinstance(value, (list, tuple)) and value:
        return "[\n" + "".join(f"{inner}{_literal(item, inner)},\n" for item in value) + indent + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if isinstance(value, str) and len(value) > WIDTH and re.fullmatch(r"[A-Za-z0-9+/=_-]+", value):
        lines = (value[start : start + WIDTH] for start in range(0, len(value), WIDTH))
        return '"""\n' + "\n".join(lines) + '\n""".replace("\\n", "")'
    return "[]" if isinstance(value, tuple) else ascii(value)


def _pack_runner() -> str:
    """Return the notebook runner and the files that it imports, packed for in_session.py."""
    files = {f"plugins/lib/{name}": (LIBRARY / name).read_text(encoding="utf-8") for name in RUNNER_FILES}
    files |= {"plugins/__init__.py": "", "plugins/lib/__init__.py": ""}
    packed = gzip.compress(json.dumps(files, sort_keys=True).encode(), compresslevel=9, mtime=0)
    return base64.b64encode(packed).decode()


# ---------------------------------------------------------------- joining the parts


def _parts(order: Order) -> list[Path]:
    """Return the files of the program that this run needs, each after those that it imports."""
    needless = {"in_session_inline"}  # stands for every transport in the program's imports
    needless |= {"in_session_device"} if order.device == "cpu" else set()
    needless |= set() if order.inputs else {"in_session_inputs"}
    found: list[str] = []
    for name in (f"in_session_{order.code.transport}", "in_session"):
        _add_part(name, found, needless if name == "in_session" else set())
    return [HERE / f"{name}.py" for name in found]


def _add_part(name: str, found: list[str], needless: set[str]) -> None:
    """Append a part to `found` after the parts that it imports and that are not `needless`."""
    source = (HERE / f"{name}.py").read_text(encoding="utf-8")
    for other in PART_IMPORT.findall(source):
        if other not in found and other not in needless:
            _add_part(other, found, needless)
    found.append(name)


def _joined(parts: Iterable[Path]) -> str:
    """Return the imports of all parts, once each, and their code in this order."""
    plain: set[str] = set()
    named: dict[str, set[str]] = {}
    bodies = []
    for part in parts:
        source = part.read_text(encoding="utf-8")
        body = []
        for node, text in _statements(source):
            if isinstance(node, ast.Import):
                plain.update(map(ast.unparse, node.names))
            elif isinstance(node, ast.ImportFrom):
                named.setdefault(str(node.module), set()).update(map(ast.unparse, node.names))
            elif not _is_for_tools(node):
                body.append(text)
        title = f"# {'-' * 64} {part.stem.replace('in_session', '').strip('_') or 'main'}"
        summary = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
        bodies.append("\n".join([title, f"# {summary}", "", "", "\n".join(body).strip("\n")]))
    future = named.pop("__future__")
    named["typing"].discard("TYPE_CHECKING")
    lines = [f"from __future__ import {', '.join(sorted(future))}", ""]
    lines += [f"import {name}" for name in sorted(plain)]
    kept = sorted(module for module in named if not module.startswith("plugins."))
    lines += [f"from {module} import {', '.join(sorted(named[module]))}" for module in kept]
    return "\n".join([*lines, "", "@CONFIG@", "", "\n\n\n".join(bodies)])


def _statements(source: str) -> Iterator[tuple[ast.stmt, str]]:
    """Yield the top-level statements after the docstring, each with the blank lines and comments above it."""
    tree = ast.parse(source)
    lines = source.splitlines()
    end = 0
    for number, node in enumerate(tree.body):
        begin = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))]) - 1
        above = lines[end:begin]
        end = node.end_lineno or node.lineno
        if not (number == 0 and ast.get_docstring(tree) is not None):
            yield node, "\n".join([*above, *lines[begin:end]])


def _is_for_tools(node: ast.stmt) -> bool:
    """Tell whether a statement is for type checkers, or for a part that is run by itself."""
    test = ast.unparse(node.test) if isinstance(node, ast.If) else ""
    return test == "TYPE_CHECKING" or test.startswith("__name__ ==")
