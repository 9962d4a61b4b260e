"""Ask ruff about imports: one call for many notebooks, on copies that hold the Python of their cells and nothing else.

What it says is a suggestion. Looked up 2026-11-26: docs.astral.sh/ruff/rules/unused-import, .../unsorted-imports.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from importlib import import_module
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import Exit, KaggError

if TYPE_CHECKING:
    from collections.abc import Sequence

UNUSED, UNSORTED = "F401", "I001"
TIMEOUT_S = 120
_CELL = '{"cell_type":"code","execution_count":null,"metadata":{},"outputs":[],"source":'
_MEMORY = "/dev/shm"  # noqa: S108 - only as the parent of a private folder with a random name
_TARGET = "py312"  # the newest that ruff 0.6 knows; its grammar includes the older ones


class Block(NamedTuple):
    """The text from line `first` to a place in line `end` of a cell, all from 1, and sorted lines to put there."""

    place: int
    first: int
    end: int
    end_column: int
    content: str


class Verdict(NamedTuple):
    """What ruff says of one notebook: unused names as (cell from 0, row from 1, column from 1), and unsorted blocks.

    `broken`: it could not parse a cell, and so says nothing of the rest; `failed`: it could not read the notebook.
    """

    unused: list[tuple[int, int, int]]
    blocks: list[Block]
    broken: bool = False
    failed: bool = False


def ask(notebooks: Sequence[Sequence[str]], rules: Sequence[str]) -> list[Verdict]:
    """Return ruff's verdict on each notebook, given as the Python of its cells.

    Raises:
        KaggError: MISSING when ruff cannot be started, FAILED when it does not answer.
    """
    if not notebooks:
        return []
    found = _run(notebooks, rules)
    if found is not None:
        return found
    if len(notebooks) == 1:  # its parser gives up on some texts by ending its process
        return [Verdict([], [], failed=True)]
    half = len(notebooks) // 2
    return ask(notebooks[:half], rules) + ask(notebooks[half:], rules)


def _run(notebooks: Sequence[Sequence[str]], rules: Sequence[str]) -> list[Verdict] | None:
    """Return the verdicts of one process; None when it ended badly."""
    command = [_binary(), "check", "--isolated", "--no-cache", "--exit-zero", "--output-format", "json"]
    command += ["--target-version", _TARGET, "--select", ",".join(rules), "."]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RUFF_")}
    copies = [_copy(cells) for cells in notebooks]
    with tempfile.TemporaryDirectory(prefix="kagg-imports-", dir=_memory(sum(map(len, copies)))) as folder:
        for number, copy in enumerate(copies):
            Path(folder, f"{number}.ipynb").write_bytes(copy)
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, timeout=TIMEOUT_S, check=False
            )
        except OSError as error:
            raise KaggError(f"cannot start ruff: {error.strerror}", code=Exit.MISSING) from error
        except subprocess.TimeoutExpired as error:
            raise KaggError(f"ruff has not answered within {TIMEOUT_S} s") from error
    try:
        answers = json.loads(done.stdout) if done.returncode == 0 else None
    except ValueError:
        answers = None
    return _sorted_out(answers, len(notebooks)) if isinstance(answers, list) else None


def _copy(cells: Sequence[str]) -> bytes:
    """Return a notebook with these code cells and nothing else."""
    text = "},".join(_CELL + encode_basestring_ascii(python) for python in cells)
    return f'{{"cells":[{text}}}],"metadata":{{}},"nbformat":4,"nbformat_minor":4}}'.encode("ascii")


def _memory(size_bytes: int) -> str | None:
    """Return a folder in memory that has room, where there is one: it is faster, and the text reaches no disk."""
    if "TMPDIR" in os.environ or not os.access(_MEMORY, os.W_OK | os.X_OK):
        return None
    space = os.statvfs(_MEMORY)
    return _MEMORY if space.f_bavail * space.f_frsize > 4 * size_bytes + 2**20 else None


def _sorted_out(answers: list[dict[str, Any]], count: int) -> list[Verdict]:
    """Return ruff's answers by notebook."""
    verdicts = [Verdict([], []) for _ in range(count)]
    for answer in answers:
        number = int(Path(answer["filename"]).stem)
        cell, row = answer.get("cell"), answer["location"]["row"]
        if answer["code"] == UNUSED and cell:
            verdicts[number].unused.append((cell - 1, row, answer["location"]["column"]))
        elif answer["code"] == UNSORTED and cell:
            for edit in (answer["fix"] or {}).get("edits", ()):  # without a fix there is nothing to apply
                begin, end = edit["location"], edit["end_location"]
                if begin["column"] == 1:
                    verdicts[number].blocks.append(
                        Block(cell - 1, begin["row"], end["row"], end["column"], edit["content"])
                    )
        elif cell is None or answer["code"] not in (UNUSED, UNSORTED):
            verdicts[number] = verdicts[number]._replace(broken=True, failed=cell is None)
    return verdicts


def _binary() -> str:
    """Return where ruff is."""
    package = import_module("ruff")
    if not hasattr(package, "find_ruff_bin"):  # before 0.9
        package = import_module("ruff.__main__")
    try:
        return str(package.find_ruff_bin())
    except FileNotFoundError as error:
        raise KaggError("the ruff package has no program", code=Exit.MISSING, hint="reinstall ruff") from error
