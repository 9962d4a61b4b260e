"""Turn a notebook's code cells into one Python module, without IPython.

Each cell keeps its line count, so that a syntax error names the line people see. What IPython adds to Python is found
where a logical line starts (never inside strings, brackets or continued lines) and becomes `pass` with a comment:

* `!pip` and `%pip` lines give requirements; other shell lines, line magics and `name?` are left out with a finding;
* `%time x = f()`, `%%time`, `%%timeit`, `%%capture` are unwrapped; `%env NAME=value` sets the variable;
* `%%writefile f.py` becomes a file of the package; any other cell magic leaves its cell out with a finding;
* `x = !ls` and `x = %magic` are errors when `x` is read anywhere, else `x = None`;
* `await` outside a function runs on one loop; `async for` and `async with` there are errors.
"""

from __future__ import annotations

import ast
import re
import warnings
from typing import Any, NamedTuple

from kagg import Exit, Finding, KaggError, cell_source, redact
from plugins.lib import pip_lines
from plugins.lib.logical_lines import after_blanks, raw_end, statement_end

# `skip-execution` is what nbclient skips by default, `remove_cell` what nbconvert's TagRemovePreprocessor documents.
SKIP_TAGS = frozenset({"skip", "kagg:skip", "remove_cell", "skip-execution"})
UNWRAPPED_CELLS = frozenset({"time", "timeit", "capture", "prun"})
# Magics and commands whose absence changes no name and no file that later cells could miss: a note, else a warning.
SILENT_CELL = re.compile(r"bash|sh|script|html|javascript|js|svg|latex|markdown|perl|ruby|python3?", re.IGNORECASE)
SILENT_LINE = re.compile(
    r"matplotlib|pylab|config|(re|un)?load_ext|autoreload|autosave|alias|colors|doctest_mode|lsmagic|magic|memit|mprun|"
    r"lprun|precision|prun|quickref|reset|reset_selective|tb|time|timeit|who|who_ls|whos|xmode|watermark|pinfo2?|pdoc|"
    r"psource|hist(ory)?|logstart|logstop|notebook|tensorboard|env"
)
SILENT_COMMAND = re.compile(
    r"cat|clear|date|df|du|echo|env|find|free|grep|head|hostname|ls|lscpu|lsb_release|nproc|nvidia-smi|pip3?|ps|pwd|"
    r"sleep|stat|tail|top|tree|uname|uptime|wc|which|whoami"
)
FOREIGN_KERNEL = re.compile(r"(ir|julia|scala|spark|bash|javascript|js|octave|ruby|rust|go|sql|xeus-cling|sas|stata)\b")
_AUTOMAGIC = re.compile(r"(pip3?|conda|mamba|uv|cd|ls|mkdir|matplotlib|load_ext|autoreload)\s+[\w./\"'~-]")
_DISPLAY = '''def display(*objects, **_options):
    """Stand in for IPython's display: print to the log."""
    print(*objects)
'''
_AWAIT = """import asyncio as _kagg_asyncio

_KAGG_LOOP = _kagg_asyncio.new_event_loop()


def _kagg_await(awaitable):
    async def wait():
        return await awaitable

    return _KAGG_LOOP.run_until_complete(wait())
"""


class Module(NamedTuple):
    """What a notebook becomes: source text, the files it writes (name -> text), pip requirements, findings."""

    source: str
    files: dict[str, str]
    requirements: list[str]
    findings: list[Finding]


def to_module(notebook: dict[str, Any], name: str) -> Module:
    """Return the module made of the code cells of `notebook`; `name` is only for messages.

    Raises:
        KaggError: USAGE, naming cell and line, for what is not Python or cannot be translated.
    """
    _check_language(notebook, name)
    translator = _Translator()
    sources = (cell_source(cell) for cell in notebook["cells"] if cell.get("cell_type") == "code")
    translator.elsewhere = any(map(pip_lines.names_index, sources))
    for number, cell in enumerate(notebook["cells"]):
        if cell.get("cell_type") != "code":
            continue
        if SKIP_TAGS.intersection(map(str, _table(cell.get("metadata")).get("tags") or ())):
            translator.found("skipped", "note", "left out, as its tag says", number)
            continue
        translator.add(number, cell_source(cell).replace("\r\n", "\n").replace("\r", "\n"))
    return translator.module(name)


def _table(value: Any) -> dict[str, Any]:
    """Return a part of somebody's metadata, {} when it is not a table."""
    return value if isinstance(value, dict) else {}


def _check_language(notebook: dict[str, Any], name: str) -> None:
    metadata = _table(notebook.get("metadata"))
    spec, info = (_table(metadata.get(key)) for key in ("kernelspec", "language_info"))
    language = str(spec.get("language") or info.get("name") or "")
    if not language and FOREIGN_KERNEL.match(str(spec.get("name") or "")):
        language = spec["name"]
    if language and "python" not in language.lower():
        raise KaggError(f"{name} is written in {language!r}, only Python can be packaged", code=Exit.USAGE)


class _Translator:
    """Collects the cells of one notebook."""

    def __init__(self) -> None:
        self.cells: list[tuple[int, str]] = []
        self.files: dict[str, str] = {}
        self.requirements = pip_lines.Wanted()
        self.elsewhere = False  # a cell sets another index for every pip
        self.findings: list[Finding] = []
        self.futures: set[str] = set()
        self.unknown: dict[str, tuple[int, str]] = {}  # names that IPython would have bound
        self.awaits = False
        self.number = 0

    def found(self, kind: str, severity: str, message: str, number: int | None = None) -> None:
        cell = self.number if number is None else number
        self.findings.append(Finding(kind, severity, redact(message), cell, None))

    def add(self, number: int, source: str) -> None:
        """Translate a cell."""
        self.number = number
        code = self.python(source)
        self.cells.append((number, self.checked(code)))

    def python(self, source: str) -> str:
        """Return the cell as Python, with as many lines."""
        lead = len(source) - len(source.lstrip("\n \t"))
        if source.startswith("%%", lead):
            return "\n" * source.count("\n", 0, lead) + self.cell_magic(source[lead:])
        indent = re.match(r"(?:[ \t]*\n)*([ \t]+)\S", source)  # IPython takes a cell that is indented as a whole
        if indent:
            source = re.sub(f"^{indent[1]}", "", source, flags=re.MULTILINE)
        pieces, at = [], 0
        while at < len(source):
            begin = after_blanks(source, at)
            if source.startswith(("%", "!", "?"), begin):
                end, kind = raw_end(source, begin), "magic"
            else:
                end, kind = statement_end(source, begin)
            pieces.append(source[at:begin] + self.statement(source[begin:end], kind))
            at = end + 1
        return "\n".join(pieces) + ("\n" if source.endswith("\n") else "")

    def statement(self, text: str, kind: str) -> str:
        """Translate one logical line."""
        blank = "\n" * text.count("\n")
        if kind == "python" and _AUTOMAGIC.match(text) and not _parses(text):
            kind, text = "magic", "%" + text
        if kind == "python":
            return text
        flat = re.sub(r"\\\n\s*", " ", text).strip()
        if kind == "assign":
            return self.assigned(flat) + blank
        code = "pass" if kind == "help" or flat.endswith("?") or flat.startswith("?") else self.line_magic(flat)
        comment = redact(flat)[:100].replace("\n", " ")
        return f"{code}  # {comment}{blank}"

    def assigned(self, text: str) -> str:
        """Bind the name of `x = !cmd` to None; `module` refuses it when the name is read."""
        name, _, value = (part.strip() for part in text.partition("="))
        if value == "%pwd":
            return f'{name} = __import__("os").getcwd()'
        if not name.isidentifier():
            raise self.error(f"{redact(text)[:80]!r} has no meaning outside IPython")
        self.unknown[name] = (self.number, text)
        self.found("magic", "warning", f"{text[:80]!r} is left out, {name} is None")
        return f"{name} = None"

    def line_magic(self, text: str) -> str:
        """Return the Python for a line magic or a shell line."""
        if text.startswith("!"):
            return self.shell(text.lstrip("!"))
        name, _, rest = text.lstrip("%").partition(" ")
        if name == "time" and rest.strip():
            return self.python(rest.strip())
        if name in ("pip", "conda", "mamba", "uv", "sx", "system", "cd", "ls", "mkdir"):
            return self.shell(rest if name in ("sx", "system") else f"{name} {rest}")
        variable = re.match(r"(\w+)(?:\s*=\s*|\s+)(\S.*)$", rest)
        if name in ("env", "set_env") and variable:
            return f'__import__("os").environ[{variable[1]!r}] = {variable[2]!r}'
        self.found("magic", "note" if SILENT_LINE.fullmatch(name) else "warning", f"%{name} is left out")
        return "pass"

    def shell(self, line: str) -> str:
        """Collect the requirements of a shell line and leave it out."""
        for command in pip_lines.commands(line):
            asked = pip_lines.install(command)
            if asked is None:
                severity = "note" if SILENT_COMMAND.fullmatch(command[0]) else "warning"
                self.found("shell", severity, f"shell command is left out: {' '.join(command)[:80]}")
                continue
            for word in asked.wanted:  # what is left out is said where imports are looked at: the room `requirements`
                text, _ = pip_lines.recorded(word, elsewhere=asked.elsewhere or self.elsewhere)
                if text and (fault := self.requirements.add(text)):
                    self.found("requirement", "warning", fault)
            for word in asked.odd:
                message = f"{pip_lines.shown(word)!r} cannot be recorded as a requirement"
                self.found("requirement", "warning", message)
        return "pass"

    def cell_magic(self, source: str) -> str:
        """Translate a cell that starts with %%name."""
        first, _, body = source.partition("\n")
        name, _, rest = first[2:].strip().partition(" ")
        if name in UNWRAPPED_CELLS:
            target = next((word for word in rest.split() if word.isidentifier()), "") if name == "capture" else ""
            if target:
                self.unknown[target] = (self.number, first)
            return (f"{target} = None  # {first}" if target else f"# {first}") + "\n" + self.python(body)
        if name in ("writefile", "file"):
            self.write_file(rest, body)
        else:
            severity = "note" if SILENT_CELL.fullmatch(name) else "warning"
            self.found("cell magic", severity, f"the %%{name} cell is left out")
        return f"# the %%{redact(first[2:])[:80]} cell is not part of this module"

    def write_file(self, rest: str, body: str) -> None:
        words = rest.split()
        names = [
            word.strip("\"'").removeprefix("/kaggle/working/").removeprefix("./") for word in words if word[0] != "-"
        ]
        if len(names) != 1:
            raise self.error(f"%%writefile names {len(names)} files")
        before = self.files.get(names[0], "") if {"-a", "--append"} & set(words) else ""
        self.files[names[0]] = before + body + ("" if body.endswith("\n") else "\n")

    def error(self, message: str, line: int | None = None, number: int | None = None) -> KaggError:
        cell = self.number if number is None else number
        place = f"cell {cell}" + (f", line {line}" if line else "")
        return KaggError(f"{place}: {message}", code=Exit.USAGE, details={"cell": cell, "line": line})

    def checked(self, code: str) -> str:
        """Return the cell with `await` and `__future__` made fit for a module, once it is known to compile."""
        try:
            code = self.edited(code, parsed(code))
            parsed(code, run=True)
        except SyntaxError as error:
            raise self.error(error.msg or "not Python", error.lineno) from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise self.error(str(error) or "nested too deeply") from error
        return code

    def edited(self, code: str, tree: ast.Module) -> str:
        """Replace what only IPython runs: edits keep the number of lines."""
        lines = code.encode().split(b"\n")
        edits: list[tuple[int, int, int, bytes]] = []  # line, column, bytes replaced, replacement
        for node in _outside_functions(tree):
            if isinstance(node, (ast.AsyncFor, ast.AsyncWith)) or (
                isinstance(node, ast.comprehension) and node.is_async
            ):
                line = getattr(node, "lineno", getattr(getattr(node, "target", None), "lineno", None))
                raise self.error("async for and async with need a function around them", line)
            if isinstance(node, ast.Await):
                self.awaits = True
                edits.append((node.lineno - 1, node.col_offset, len(b"await"), b"_kagg_await("))
                edits.append(((node.end_lineno or node.lineno) - 1, node.end_col_offset or 0, 0, b")"))
            elif _is_future(node) or _is_get_ipython(node):
                self.futures |= {alias.name for alias in node.names} if isinstance(node, ast.ImportFrom) else set()
                edits += _emptied(node, lines)
        for line, column, count, text in sorted(edits, reverse=True):
            lines[line] = lines[line][:column] + text + lines[line][column + count :]
        return b"\n".join(lines).decode()

    def module(self, name: str) -> Module:
        """Put the cells together."""
        body = "\n".join(f"# cell {number}\n{code}\n" for number, code in self.cells if code.strip())
        tree = parsed(body)
        read = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        for target, (number, text) in self.unknown.items():
            if target in read:
                message = f"{redact(text)[:80]!r} has no meaning outside IPython, and {target} is used"
                raise self.error(message, number=number)
        parts = [f'"""Made from {name!r}: change the notebook, not this file."""'.replace("\\", "/")]
        parts += [f"from __future__ import {', '.join(sorted(self.futures))}"] if self.futures else []
        parts += [_AWAIT] if self.awaits else []
        parts += [_DISPLAY] if "display" in read - _bound(tree) else []
        source = "\n\n".join([*parts, body])
        return Module(source, self.files, self.requirements.texts, self.findings)


def parsed(code: str | bytes, *, run: bool = False) -> ast.Module:
    """Parse Python (and with `run` compile it) without Python's warnings about the text itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(code)
        if run:
            compile(code, "<cell>", "exec", dont_inherit=True)
        return tree


def _parses(text: str) -> bool:
    try:
        parsed(text)
    except (SyntaxError, ValueError):
        return False
    return True


def _outside_functions(node: ast.AST) -> list[ast.AST]:
    """Return the nodes that run when the module is imported."""
    found: list[ast.AST] = []
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            found += [child, *_outside_functions(child)]
    return found


def _is_future(node: ast.AST) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _is_get_ipython(node: ast.AST) -> bool:
    """Say whether the statement is `get_ipython().something(...)`, as nbconvert writes magics."""
    return isinstance(node, ast.Expr) and ast.unparse(node).startswith("get_ipython().")


def _emptied(node: Any, lines: list[bytes]) -> list[tuple[int, int, int, bytes]]:
    """Return the edits that turn a statement into `pass`."""
    edits = []
    for line in range(node.lineno - 1, node.end_lineno):
        begin = node.col_offset if line == node.lineno - 1 else 0
        end = node.end_col_offset if line == node.end_lineno - 1 else len(lines[line])
        edits.append((line, begin, end - begin, b"pass" if line == node.lineno - 1 else b""))
    return edits


def _bound(tree: ast.Module) -> set[str]:
    """Return the names that the module binds."""
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bound.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            bound |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return bound
