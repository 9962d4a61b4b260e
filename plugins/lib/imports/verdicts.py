"""Ask ruff about imports: one call for many notebooks, on copies that hold the Python of their cells and nothing else.

What it says is a suggestion. Looked up 2026-11-26: docs.astral.sh/ruff/rules/unused-import, .../unsorted-imports.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from bisect import bisect_right
from importlib import import_module
from itertools import accumulate
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from kagg import Exit, KaggError
from plugins.lib.imports.folder import Folder

if TYPE_CHECKING:
    from collections.abc import Sequence

UNUSED, UNSORTED = "F401", "I001"
TIMEOUT_S = 120
FEW = 8  # notebooks that one thread reads as fast as several
_CELL = '{"cell_type":"code","execution_count":null,"metadata":{},"outputs":[],"source":'
_TARGET = "py312"  # the newest that ruff 0.6 knows; its grammar includes the older ones
# What a notebook may have and a module may not: `async` outside of functions, cells that go on in the next one.
_ONLY_CELLS = re.compile(r"\basync\b|\bawait\b")
_GOES_ON = re.compile(r"\s*\n[ \t]+\S|[ \t]+\S")
_BETWEEN = "\n\npass\n"  # keeps the imports of two cells apart; blank as ruff wants it after imports


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


class Copy:
    """A notebook as ruff gets it: as a module where that means the same, which is faster, else as a notebook."""

    def __init__(self, cells: Sequence[str], *, as_module: bool) -> None:
        self._rows: list[int] | None = None
        if as_module and not any(map(needs_cells, cells)):
            pieces = [cell.rstrip("\n") + _BETWEEN for cell in cells]
            self._rows = list(accumulate((piece.count("\n") for piece in pieces), initial=0))
            self.content = "".join(pieces).encode()
        else:
            text = "},".join(_CELL + encode_basestring_ascii(cell) for cell in cells)
            self.content = f'{{"cells":[{text}}}],"metadata":{{}},"nbformat":4,"nbformat_minor":4}}'.encode("ascii")
        self.suffix = "ipynb" if self._rows is None else "py"

    def rows(self, cell: int) -> int:
        """Return how many rows a cell has, without what stands between it and the next one."""
        return sys.maxsize if self._rows is None else self._rows[cell + 1] - self._rows[cell] - _BETWEEN.count("\n") + 1

    def place(self, answer: dict[str, Any]) -> tuple[int, int] | None:
        """Return the cell from 0 that an answer is about, and the rows before it; None when it is about the file."""
        if self._rows is None:
            return (answer["cell"] - 1, 0) if answer.get("cell") else None
        cell = bisect_right(self._rows, answer["location"]["row"] - 1) - 1
        return (cell, self._rows[cell]) if answer["code"] in (UNUSED, UNSORTED) else None


def needs_cells(cell: str) -> bool:
    """Say whether a cell may mean something else in a module, or beside other cells."""
    return (
        cell[-1:] == "\\"
        or cell.endswith("\\\n")
        or (cell[:1] in (" ", "\t", "\n") and _GOES_ON.match(cell) is not None)
        or (("async" in cell or "await" in cell) and _ONLY_CELLS.search(cell) is not None)
    )


class Question:
    """A question that ruff is working on."""

    def __init__(self, notebooks: Sequence[Sequence[str]], rules: Sequence[str], *, as_modules: bool = False) -> None:
        """Start ruff on notebooks, each given as the Python of its cells.

        Raises:
            KaggError: MISSING when ruff cannot be started.
        """
        self._notebooks, self._rules, self._as_modules = notebooks, rules, as_modules
        self._copies = [Copy(cells, as_module=as_modules) for cells in notebooks]
        command = [_binary(), "check", "--isolated", "--no-cache", "--exit-zero", "--output-format", "json"]
        command += ["--target-version", _TARGET, "--select", ",".join(rules), "."]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RUFF_")}
        if len(notebooks) <= FEW:
            environment["RAYON_NUM_THREADS"] = "1"  # to start more takes longer
        files = {f"{number}.{copy.suffix}": copy.content for number, copy in enumerate(self._copies)}
        self._folder = Folder(files)
        try:
            self._process = subprocess.Popen(
                command, cwd=self._folder.path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            self._folder.remove()
            raise KaggError(f"cannot start ruff: {error.strerror}", code=Exit.MISSING) from error
        except BaseException:
            self._folder.remove()
            raise

    def answers(self) -> list[Verdict]:
        """Wait for the verdicts, one for each notebook, and close.

        Raises:
            KaggError: FAILED when ruff does not answer in time.
        """
        found = self._answered()
        if found is not None:
            return found
        if len(self._notebooks) == 1:  # its parser gives up on some texts by ending its process
            return [Verdict([], [], failed=True)]
        half = len(self._notebooks) // 2
        parts = (self._notebooks[:half], self._notebooks[half:])
        return [each for part in parts for each in Question(part, self._rules, as_modules=self._as_modules).answers()]

    def close(self) -> None:
        """End ruff if it is still working, and remove the copies; a second time is no error."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._folder.remove()

    def __enter__(self) -> Self:
        """Return the question; it is closed afterwards."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the question."""
        self.close()

    def _answered(self) -> list[Verdict] | None:
        """Return the verdicts of the process; None when it ended badly."""
        try:
            output, _ = self._process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise KaggError(f"ruff has not answered within {TIMEOUT_S} s") from error
        finally:
            self.close()
        try:
            answers = json.loads(output) if self._process.returncode == 0 else None
        except ValueError:
            return None
        return self._sorted_out(answers) if isinstance(answers, list) else None

    def _sorted_out(self, answers: list[dict[str, Any]]) -> list[Verdict]:
        """Return ruff's answers by notebook."""
        verdicts = [Verdict([], []) for _ in self._notebooks]
        for answer in answers:
            number = int(os.path.basename(answer["filename"]).partition(".")[0])  # noqa: PTH119 - many, and fast
            copy, code = self._copies[number], answer["code"]
            place = copy.place(answer)
            if place and code == UNUSED:
                start = answer["location"]
                verdicts[number].unused.append((place[0], start["row"] - place[1], start["column"]))
            elif place and code == UNSORTED:
                verdicts[number].blocks.extend(_blocks(answer, *place, copy.rows(place[0])))
            else:
                failed = code == "E902" or (copy.suffix == "ipynb" and place is None)
                verdicts[number] = verdicts[number]._replace(broken=True, failed=failed or verdicts[number].failed)
        return verdicts


def ask(notebooks: Sequence[Sequence[str]], rules: Sequence[str], *, as_modules: bool = False) -> list[Verdict]:
    """Return ruff's verdict on each notebook, given as the Python of its cells.

    Raises:
        KaggError: MISSING when ruff cannot be started, FAILED when it does not answer.
    """
    return Question(notebooks, rules, as_modules=as_modules).answers() if notebooks else []


def _blocks(answer: dict[str, Any], place: int, above: int, rows: int) -> list[Block]:
    """Return what to write into a cell that has `rows` rows; without a fix there is nothing to apply."""
    found = []
    for edit in (answer["fix"] or {}).get("edits", ()):
        begin, end = edit["location"], edit["end_location"]
        if begin["column"] == 1:
            last = end["row"] - above, end["column"]
            found.append(Block(place, begin["row"] - above, *min(last, (rows + 1, 1)), edit["content"]))
    return found


def _binary() -> str:
    """Return where ruff is."""
    package = import_module("ruff")
    if not hasattr(package, "find_ruff_bin"):  # before 0.9
        package = import_module("ruff.__main__")
    try:
        return str(package.find_ruff_bin())
    except FileNotFoundError as error:
        raise KaggError("the ruff package has no program", code=Exit.MISSING, hint="reinstall ruff") from error
