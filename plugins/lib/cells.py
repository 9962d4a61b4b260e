"""Read the code cells of a notebook as Python, whatever IPython adds to it.

Line numbers stay: each construct of IPython becomes `pass` or `None` where it stands, so a place in `python` is the
same line of `source`. "*" among the names that a magic reads or binds stands for names that the text does not show.
"""

from __future__ import annotations

import ast
import re
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plugins.lib import cell_magics
from plugins.lib.logical_lines import after_blanks, raw_end, statement_end

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_PARSED = 2_000_000  # characters of one cell: a tree takes some fifty times the memory of its text
MAX_MAGICS = 8  # cell magics inside cell magics
# What may be IPython: most cells have none of it and are taken as they are. Each pattern starts with a fixed text.
_SUSPECT_LINE = re.compile(r"\n[ \t]*(?:[%!?,;/]|>>>|In \[\d+\]:)")
_SUSPECT_HELP = re.compile(r"\?[ \t]*$", re.MULTILINE)
_SUSPECT_ASSIGN = re.compile(r"=[ \t]*[%!]")
_IMPORTED = re.compile(r"\b(?:import|from)\b(?:[\w \t\f.,()*]|\\\n)*")
_INDENTED = re.compile(r"(?:[ \t]*\n)*([ \t]+)\S")  # IPython takes a cell that is indented as a whole
_PROMPT = re.compile(r"^[ \t]*(?:>>>|\.\.\.|In \[\d+\]:)(?: |$)", re.MULTILINE)
_PROMPTED = re.compile(r"\s*(?:>>>|In \[\d+\]:)(?: |$)")
_NO_NAMES: frozenset[str] = frozenset()
_ESCAPES = ("%", "!", "?", ",", ";", "/")  # the last three call a function with the words as strings or as values
_ASSIGN = re.compile(r"=[ \t]*(?=[%!])")
_FOREIGN_KERNEL = re.compile(
    r"(ir|julia|scala|spylon|bash|javascript|js|octave|ruby|rust|go|sql|xeus-cling|sas|stata|.*csharp|.*fsharp)\b"
)


@dataclass(slots=True)  # frozen ones take twice the time to make
class Cell:
    """A code cell.

    `index` counts from 0 over all cells; `python` has the lines of `source` with LF ends, blank where there is no
    Python; `tree` is None when that does not parse, and `error` says why; `magic` is the name of the cell magic, ""
    without one. `reads` and `binds` are names that magics and shell lines use or may set; names in the Python are
    not among them. `shell` holds (1-based line, command) of shell, pip and conda lines and of shell cells.
    """

    index: int
    source: str
    python: str
    tree: ast.Module | None
    error: str
    magic: str
    reads: frozenset[str]
    binds: frozenset[str]
    shell: list[tuple[int, str]]


def is_python(notebook: dict[str, Any]) -> bool:
    """Say whether the notebook is written in Python, by its metadata; without metadata it is."""
    metadata = _table(notebook.get("metadata"))
    spec, known = (_table(metadata.get(key)) for key in ("kernelspec", "language_info"))
    language = spec.get("language") or known.get("name")
    if isinstance(language, str) and language:
        return "python" in language.lower()
    name = spec.get("name")
    return not (isinstance(name, str) and _FOREIGN_KERNEL.match(name))


def read_cells(notebook: dict[str, Any], *, parse: bool = True) -> list[Cell]:
    """Return the code cells in order; without `parse` every `tree` is None and every `error` empty."""
    with quiet():
        return read_sources(sources(notebook), parse=parse)


def read_sources(texts: Iterable[tuple[int, str]], *, parse: bool) -> list[Cell]:
    """Do what `read_cells` does with (index, text) of code cells; to be called within `quiet`."""
    found = []
    for index, source in texts:
        text = source.replace("\r\n", "\n").replace("\r", "\n") if "\r" in source else source
        python, magic, reads, binds = text, "", _NO_NAMES, _NO_NAMES
        shell: list[tuple[int, str]] = []
        if _may_be_ipython(text):
            reading = _Reading()
            python, magic, shell = reading.python(text), reading.magic, reading.shell
            reads, binds = frozenset(reading.reads), frozenset(reading.binds)
        tree, error = parse_quietly(python) if parse else (None, "")
        found.append(Cell(index, source, python, tree, error, magic, reads, binds, shell))
    return found


def parse_python(python: str) -> tuple[ast.Module | None, str]:
    """Return the tree of a cell's Python, or None and why there is none."""
    with quiet():
        return parse_quietly(python)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what Python says about escapes in somebody's strings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def sources(notebook: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """Yield (index, text) of the code cells."""
    cells = notebook.get("cells")
    for index, cell in enumerate(cells if isinstance(cells, list) else ()):
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            source = cell.get("source")
            if isinstance(source, list):
                try:
                    source = "".join(source)
                except TypeError:
                    source = "".join(part for part in source if isinstance(part, str))
            yield index, source if isinstance(source, str) else ""


def parse_quietly(python: str) -> tuple[ast.Module | None, str]:
    """Do what `parse_python` does; to be called within `quiet`, once for many cells."""
    if len(python) > MAX_PARSED:
        return None, f"longer than {MAX_PARSED} characters"
    most = cell_magics.MAX_DOTS
    if python.count(".") > most and any(run[0].count(".") > most for run in _IMPORTED.finditer(python)):
        return None, f"an import with more than {most} dots"
    try:
        return ast.parse(python), ""
    except SyntaxError as error:
        return None, f"line {error.lineno}: {error.msg}"
    except (ValueError, RecursionError, MemoryError) as error:  # NUL, lone surrogates, nesting
        return None, str(error) or "nested too deeply"


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _indent(text: str) -> re.Match[str] | None:
    return _INDENTED.match(text) if text[:1] in ("\n", " ", "\t") else None


def _is_suspect(text: str) -> bool:
    if _SUSPECT_LINE.search("\n" + text) or ("?" in text and _SUSPECT_HELP.search(text)):
        return True
    return ("%" in text or "!" in text) and _SUSPECT_ASSIGN.search(text) is not None


def _may_be_ipython(text: str) -> bool:
    """Say whether a cell may be anything else than the Python that it looks like."""
    if _indent(text) or _is_suspect(text):
        return True
    command = text.strip()
    return "\n" not in command and cell_magics.AUTOMAGIC.match(command) is not None


class _Reading:
    """Collects what the magics of one cell read, bind and run."""

    def __init__(self) -> None:
        self.reads: set[str] = set()
        self.binds: set[str] = set()
        self.shell: list[tuple[int, str]] = []
        self.magic = ""
        self.depth = 0

    def python(self, text: str) -> str:
        """Return the cell as Python, with as many lines."""
        indented = _indent(text)
        if not indented and not _is_suspect(text):
            return self._automagic(text)
        if indented and all(line.startswith(indented[1]) for line in text.split("\n") if line.strip()):
            text = re.sub(f"^{indented[1]}", "", text, flags=re.MULTILINE)
        if _PROMPTED.match(text):
            text = _PROMPT.sub("", text)
        return self._cell(text, 1)

    def _automagic(self, text: str) -> str:
        """Take a cell of one line such as `pip install x` as the magic that IPython runs."""
        command = text.strip()
        if "\n" in command or not cell_magics.AUTOMAGIC.match(command) or parse_quietly(command)[0]:
            return text
        line = 1 + text.count("\n", 0, len(text) - len(text.lstrip()))
        self._add(cell_magics.line_magic("%" + command), line)
        return "\n" * text.count("\n")

    def _cell(self, text: str, line: int) -> str:
        """Translate text whose first line is number `line`; a cell magic inside a cell magic is one as well."""
        lead = len(text) - len(text.lstrip("\n \t"))
        if not text.startswith("%%", lead) or self.depth > MAX_MAGICS:
            return self._statements(text, line)
        blank = "\n" * text.count("\n", 0, lead)
        first, newline, body = text[lead:].partition("\n")
        name, effect = cell_magics.cell_magic(first, body)
        self.magic = self.magic or name
        self._add(effect, line + len(blank))
        rest = "\n" * body.count("\n")
        if effect.body:
            inner = _Reading()
            inner.depth = self.depth + 1
            python = inner._cell(body, line + len(blank) + 1)
            if name in cell_magics.PYTHON_CELLS or parse_quietly(python)[0]:
                self._merge(inner)
                rest = python
            else:
                self.reads.update(cell_magics.words(body))
        return blank + newline + rest

    def _statements(self, text: str, line: int) -> str:
        """Translate logical lines."""
        pieces: list[str] = []
        at = done = counted = 0
        while at < len(text):
            begin = after_blanks(text, at)
            if text.startswith(_ESCAPES, begin):
                end, kind = raw_end(text, begin), "magic"
            else:
                end, kind = statement_end(text, begin)
            if kind != "python":
                line += text.count("\n", counted, begin)
                pieces += [text[done:begin], self._replaced(text[begin:end], kind, line)]
                counted, done = begin, end
            at = end + 1
        return "".join([*pieces, text[done:]])

    def _replaced(self, text: str, kind: str, line: int) -> str:
        """Return the Python for one construct of IPython, with as many lines."""
        blank = "\n" * text.count("\n")
        if kind == "assign" and (found := _ASSIGN.search(text)):
            self.binds.update(cell_magics.words(text[: found.start()]))
            self._add(cell_magics.escaped(text[found.end() :]), line)
            return f"{text[: found.end()].rstrip(' ')} None{blank}"
        if kind == "help" or text.rstrip().endswith("?") or text.startswith("?"):
            self.reads.update(cell_magics.words(text))
        else:
            self._add(cell_magics.escaped(text), line)
        return "pass" + blank

    def _add(self, effect: cell_magics.Effect, line: int) -> None:
        self.reads |= effect.reads
        self.binds |= effect.binds
        self.shell += [(line + offset, command) for offset, command in effect.shell]

    def _merge(self, inner: _Reading) -> None:
        self.reads |= inner.reads
        self.binds |= inner.binds
        self.shell += inner.shell
