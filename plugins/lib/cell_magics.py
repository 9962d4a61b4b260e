"""What IPython's magics and shell lines read, bind and run, judged by their text.

Where a magic is not known, every word of its arguments counts as a name that it reads: too many rather than too few.
Names and expansion: ipython.readthedocs.io/en/stable/interactive/magics.html, looked up 2026-11-26.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_NOTHING: frozenset[str] = frozenset()
ANY = frozenset({"*"})
MAX_DOTS = 200  # in one import statement: Python's parser takes time with the square of their number

# Line magics whose arguments are no Python; `$name` and `{expression}` in them are expanded all the same.
_PLAIN_LINE = re.compile(
    r"alias(_magic)?|autoreload|autosave|automagic|bookmark|cd|colors|conda|config|dhist|dirs|doctest_mode|env|hist|history|"
    r"killbgscripts|ldir|lf|lk|ll|load_ext|logoff|logon|logstart|logstate|logstop|ls|lsmagic|lx|magic|mamba|man|matplotlib|"
    r"micromamba|mkdir|more|notebook|page|pdb|pip|popd|precision|pushd|pwd|quickref|rehashx|reload_ext|rmdir|set_env|"
    r"sc|sx|system|tb|tensorboard|uv|unalias|unload_ext|watermark|xmode|tensorflow_version|cp|mv|rm|cat|clear|less"
)
_SHELL_LINE = re.compile(r"pip3?|conda|mamba|micromamba|uv|sx|system|sc")
_STATEMENT_LINE = re.compile(r"timeit|prun|memit|lprun|mprun|snakeviz|pyinstrument|scalene|heat|memray")
_ANY_LINE = re.compile(r"rerun|recall|rep|edit|ed|macro|load|loadpy")  # they run, or will run, text that is not here

PYTHON_CELLS = frozenset({"time", "timeit", "capture", "prun", "memit", "lprun", "mprun", "snakeviz", "ipytest"})
SHELL_CELLS = frozenset({"bash", "sh", "script", "system", "sx", "!", "zsh", "cmd"})
_PLAIN_CELL = re.compile(
    r"bash|sh|zsh|script|cmd|powershell|system|sx|!|html|HTML|javascript|js|svg|SVG|latex|markdown|css|mermaid|perl|ruby|"
    r"python[23]?|pypy|writefile|file|writetemplate"
)
_FOREIGN_CELL = re.compile(
    r"sql|bigquery|bq|R|cython|julia|octave|matlab|stata|sas|spark|sparksql|kql|cypher|sparql|rust|cpp|cu|cuda|fortran|"
    r"node|ts|typescript|scala|dot|graph_notebook|gremlin|oc"
)
# One-line cells that IPython takes as magics without `%`.
AUTOMAGIC = re.compile(
    r"(?:alias|autoreload|cat|cd|conda|config|cp|env|load_ext|ls|lprun|mamba|matplotlib|memit|mkdir|mprun|mv|pip3?|prun|"
    r"pylab|reload_ext|rm|run|store|time|timeit|uv|whos?)[ \t]+\S"
)

_WORD = re.compile(r"[^\W\d]\w*")
_DOLLAR = re.compile(r"\$\{?([^\W\d]\w*)")
_BLANKS = re.compile(r"\\\n[ \t]*")
_OUTPUT_OPTION = re.compile(r"(?:^|\s)(?:-o|--out|--err|--output|--proc|--to)[ =]*([\w,]+)")


class Effect(NamedTuple):
    """Names read and bound ("*" = any), commands as (lines below the first, text), whether a body may be Python."""

    reads: frozenset[str] = _NOTHING
    binds: frozenset[str] = _NOTHING
    shell: tuple[tuple[int, str], ...] = ()
    body: bool = False


def words(text: str) -> frozenset[str]:
    """Return what may be a Python name in a text."""
    return frozenset(_WORD.findall(text))


def expanded(text: str) -> frozenset[str]:
    """Return the names in `$name` and `{expression}`; everything between the outermost braces counts."""
    found = set(_DOLLAR.findall(text)) if "$" in text else set()
    begin, end = text.find("{"), text.rfind("}")
    if 0 <= begin < end:
        found |= words(text[begin:end])
    return frozenset(found)


def escaped(text: str) -> Effect:
    """Return what a line does that starts with one of IPython's escape characters."""
    if text.startswith("!"):
        return _shell(text.lstrip("!"))
    if text.startswith("%"):
        return line_magic(text)
    return Effect(reads=words(text))


def line_magic(text: str) -> Effect:
    """Return what `%name arguments` does."""
    flat = _BLANKS.sub(" ", text).strip()
    name, _, rest = flat[1:].replace("\t", " ").partition(" ")
    rest = rest.strip()
    if _SHELL_LINE.fullmatch(name):
        return _shell(rest if name in ("sx", "system", "sc") else f"{name} {rest}")
    if _ANY_LINE.fullmatch(name):
        return Effect(ANY, ANY)
    if name in _BINDING:
        return _BINDING[name](rest)
    if _PLAIN_LINE.fullmatch(name):
        return Effect(expanded(rest))
    return Effect(words(rest), _NOTHING if _STATEMENT_LINE.fullmatch(name) else _options(rest))


def _run(rest: str) -> Effect:
    """Return what %run does: a notebook runs among the names that are there, a script only with -i."""
    live = re.search(r"(?:^|\s)-[a-z]*i", rest) or not re.search(r"\.py\b", rest)
    return Effect(ANY if live else expanded(rest), ANY)


def _store(rest: str) -> Effect:
    restored = words(rest.removeprefix("-r")) or ANY
    return Effect(words(rest), restored if rest.startswith("-r") else _NOTHING)


_BINDING: dict[str, Callable[[str], Effect]] = {
    "aimport": lambda rest: Effect(binds=words(rest)),
    "reset": lambda rest: Effect(expanded(rest), ANY),
    "reset_selective": lambda rest: Effect(expanded(rest), ANY),
    "xdel": lambda rest: Effect(words(rest), words(rest)),
    "pylab": lambda rest: Effect(expanded(rest), ANY),
    "run": _run,
    "store": _store,
    "time": lambda rest: Effect(words(rest), _bound(rest)),
}


def cell_magic(first: str, body: str) -> tuple[str, Effect]:
    """Return the name of a cell magic and what it does; `body` in the effect says that the rest may be Python."""
    name, _, rest = first[2:].replace("\t", " ").strip().partition(" ")
    reads = expanded(rest)
    if name == "capture":
        return name, Effect(reads, frozenset(word for word in rest.split() if word.isidentifier()), body=True)
    if name in SHELL_CELLS:
        return name, Effect(reads, _options(rest), tuple(_shell_lines(body)))
    if _PLAIN_CELL.fullmatch(name):
        return name, Effect(reads, _options(rest))
    if _FOREIGN_CELL.fullmatch(name):
        binds = ANY if name == "cython" else frozenset(word for word in rest.split() if word.isidentifier())
        return name, Effect(words(rest) | words(body), binds | _options(rest))
    return name, Effect(words(rest) | reads, _options(rest), body=True)


def _shell(text: str) -> Effect:
    flat = _BLANKS.sub(" ", text).strip()
    return Effect(expanded(text), shell=((0, flat),) if flat else ())


def _shell_lines(body: str) -> list[tuple[int, str]]:
    """Return the commands of a shell cell with their lines, counted from the magic's own line."""
    found, at = [], 1
    for line in re.split(r"(?<!\\)\n", body):
        text = _BLANKS.sub(" ", line).strip()
        if text and not text.startswith("#"):
            found.append((at, text))
        at += 1 + line.count("\n")
    return found


def _options(rest: str) -> frozenset[str]:
    """Return the names that options such as `--out name` bind."""
    return words(" ".join(_OUTPUT_OPTION.findall(rest))) if "-" in rest else _NOTHING


def _bound(code: str) -> frozenset[str]:
    """Return the names that a statement binds; "*" when it does not parse."""
    if "import" in code and code.count(".") > MAX_DOTS:
        return ANY
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ANY if "=" in code or "import" in code else _NOTHING
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return frozenset(found)
