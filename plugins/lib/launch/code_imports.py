"""Find the local modules and scripts that a script or notebook uses, directly or through others of them.

Imports are followed as Python would find them beside the script, and below folders that the code adds to sys.path; of
a package all modules count. So do scripts that the code names: in a text, in %run, and in shell lines. Beside a
pyproject.toml modules are found below src/, too.
"""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kagg import bad_input, cell_source, parse_notebook
from plugins.lib.folder_imports import MAX_BYTES
from plugins.lib.notebook_module import parsed

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_MODULES = 2_000
SHOWN = 5
REQUIREMENTS = "requirements.txt"
PROJECT = ("pyproject.toml", "setup.cfg", "setup.py")  # beside it, src/ is where a project's own modules are
SKIPPED = frozenset({"__pycache__", ".ipynb_checkpoints", "node_modules"})
SCRIPT = re.compile(r"[\w./-]+\.(?:py|ipynb|sh)\b")
RUN = re.compile(r"%run\s+(?:-\w+\s+)*['\"]?([\w./-]+)")
MODULE_RUN = re.compile(r"python[\d.]*\s+-m\s+([\w.]+)")
IMPORT_LINE = re.compile(r"\s*(?:from\s+[.\w]+\s+import\s|import\s+[\w.])")
REQUIREMENT_FILE = re.compile(r"(?m)^\s*(?:-r|-c|--requirement|--constraint)[\s=]+([^\s#]+)")
MAX_TEXT_CHARS = 300  # of a text that may be a file's name
PATH_CALLS = ("append", "insert", "extend", "addsitedir")
LOADERS = ("import_module", "__import__", "spec_from_file_location", "run_path", "run_module")


class Found(NamedTuple):
    """What a script uses: files by POSIX path, files that its code names but that are no modules, what is not known."""

    files: dict[str, Path]
    named: set[str]
    dynamic: set[str]

    def notes(self, sent: dict[str, Path]) -> Iterator[str]:
        """Yield what people should know about files that may be missing."""
        missing = sorted(self.named - set(sent))
        outside = [name for name in missing if name.startswith("../")]
        if inside := [name for name in missing if name not in outside]:
            yield f"note: the code names {_some(inside)}; to send {_them(inside)}: --include"
        if outside:
            how = f"attach {_them(outside)} as a dataset (--dataset), or run the folder above with --entry"
            yield f"note: the code names {_some(outside)}, outside of its folder; {how}"
        if self.dynamic:
            names = ", ".join(sorted(self.dynamic)[:SHOWN])
            yield f"note: {names} imports modules by computed names; to send them: --include"


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _them(names: list[str]) -> str:
    return "it" if len(names) == 1 else "them"


class _Texts(NamedTuple):
    """What one source says: syntax trees, and lines for a shell or for IPython."""

    trees: list[ast.AST]
    commands: list[str]


def imported(folder: Path, entry: Path) -> Found:
    """Return what `entry`, a script or notebook in `folder`, uses of the files below `folder`.

    Raises:
        KaggError: USAGE for a file that cannot be read or is no notebook, or for too many modules.
    """
    search = _Search(folder)
    project = [name for name in PROJECT if search.is_file(name)][:1]
    if project:
        search.base("src")
    search.follow(entry.name, entry)
    while search.waiting:
        name = search.waiting.pop()
        search.follow(name, search.files[name])
    search.requirements(REQUIREMENTS)
    if any(name.startswith("src/") for name in search.files) or REQUIREMENTS not in search.files:
        search.files.update((name, folder / name) for name in project)
    return Found(search.files, search.named, search.dynamic)


class _Search:
    """The files found so far, and where modules are looked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, Path] = {}
        self.waiting: list[str] = []
        self.named: set[str] = set()
        self.dynamic: set[str] = set()
        self.bases = [""]
        self.asked: set[tuple[str, ...]] = set()  # modules, to be looked for again when a base is added

    def add(self, name: str) -> None:
        """Take a file that exists below the folder."""
        name = os.path.normpath(name).replace(os.sep, "/")
        if name in self.files or name.startswith(("../", "/")):
            return
        if len(self.files) >= MAX_MODULES:
            raise bad_input(f"more than {MAX_MODULES} modules beside {self.folder}", "name the folder, and --exclude")
        self.files[name] = self.folder / name
        if name.endswith((".py", ".ipynb")):
            self.waiting.append(name)

    def is_file(self, name: str) -> bool:
        """Tell whether a file of this name is below the folder."""
        try:
            return not name.startswith(("/", "~")) and (self.folder / name).is_file()
        except (OSError, ValueError):  # longer than a name may be, or with a NUL in it
            return False

    # ------------------------------------------------------------ modules

    def module(self, dotted: tuple[str, ...], bases: list[str] | None = None) -> None:
        """Take the module or the package that an import of this name finds, below every folder on the path."""
        if bases is None:
            self.asked.add(dotted)
        for base in self.bases if bases is None else bases:
            self._module_below(base, dotted)

    def _module_below(self, base: str, dotted: tuple[str, ...]) -> None:
        place = f"{base}/" if base else ""
        for part in dotted:
            if self.is_file(f"{place}{part}/__init__.py"):
                self._package(f"{place}{part}")
                return
            if self.is_file(f"{place}{part}.py"):
                self.add(f"{place}{part}.py")
                return
            place += f"{part}/"

    def _package(self, name: str) -> None:
        """Take all modules of a package, unless they are there already."""
        if f"{name}/__init__.py" in self.files:
            return
        self.add(f"{name}/__init__.py")
        for root, folders, names in os.walk(self.folder / name):
            folders[:] = sorted(set(folders) - SKIPPED)
            below = Path(root).relative_to(self.folder).as_posix()
            for found in sorted(names):
                if found.endswith(".py"):
                    self.add(f"{below}/{found}")

    def base(self, text: str) -> None:
        """Look for modules below this folder too."""
        name = os.path.normpath(text).replace(os.sep, "/")
        if name in (".", *self.bases) or name.startswith(("..", "/", "~")) or "\0" in name:
            return
        if len(name) <= MAX_TEXT_CHARS and (self.folder / name).is_dir():
            self.bases.append(name)
            for dotted in sorted(self.asked):
                self.module(dotted)

    # ------------------------------------------------------------ what a source says

    def follow(self, name: str, path: Path) -> None:
        """Take what one source uses."""
        try:
            content = path.read_bytes() if path.stat().st_size <= MAX_BYTES or name.endswith(".ipynb") else b""
        except OSError as error:
            raise bad_input(f"cannot read {path}: {error.strerror}") from error
        texts = _of_notebook(content, str(path)) if name.endswith(".ipynb") else _of_source(content)
        here = name.rpartition("/")[0]
        for tree in texts.trees:
            self._statements(name, here, tree)
        for line in texts.commands:
            self._command(here, line)

    def _statements(self, name: str, here: str, tree: ast.AST) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.module(tuple(alias.name.split(".")))
            elif isinstance(node, ast.ImportFrom):
                self._import_from(here, node)
            elif isinstance(node, ast.Call):
                self._call(name, node)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                self._text(here, node.value)

    def _import_from(self, here: str, node: ast.ImportFrom) -> None:
        module = tuple((node.module or "").split(".")) if node.module else ()
        bases = None
        if node.level:
            parts = here.split("/") if here else []
            if node.level - 1 > len(parts):
                return
            bases = ["/".join(parts[: len(parts) - node.level + 1])]
        for alias in node.names:
            self.module((*module, alias.name), bases)

    def _call(self, name: str, node: ast.Call) -> None:
        """Follow imports by name, and additions to sys.path."""
        called = ast.unparse(node.func) if isinstance(node.func, (ast.Attribute, ast.Name)) else ""
        last = called.rpartition(".")[2]
        texts = [
            each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)
        ]
        if re.fullmatch(r"(?:sys\.)?path\.(?:append|insert|extend)|site\.addsitedir", called):
            for text in texts:
                self.base(text)
        elif last in LOADERS:
            first = node.args[0] if node.args else None
            if not isinstance(first, ast.Constant):
                self.dynamic.add(name)
            elif isinstance(first.value, str):
                self.module(tuple(first.value.strip(".").split(".")))

    def _text(self, here: str, text: str) -> None:
        """Take a script that a text names; note other files."""
        if not 0 < len(text) <= MAX_TEXT_CHARS or "\n" in text or "." not in text:
            return
        for place in {"", f"{here}/" if here else ""}:
            if self.is_file(place + text):
                if SCRIPT.fullmatch(text):
                    self.add(place + text)
                else:
                    self.named.add(os.path.normpath(place + text).replace(os.sep, "/"))

    def _command(self, here: str, line: str) -> None:
        """Take the scripts that a shell line or %run names."""
        names = SCRIPT.findall(line)
        if match := RUN.search(line):
            names += [match[1], match[1] + ".py", match[1] + ".ipynb"]
        for name in names:
            for place in {"", f"{here}/" if here else ""}:
                if SCRIPT.fullmatch(name) and self.is_file(place + name):
                    self.add(place + name)
        for dotted in MODULE_RUN.findall(line):
            self.module(tuple(dotted.split(".")))

    def requirements(self, name: str) -> None:
        """Take a file of requirements, and those that it refers to."""
        if name in self.files or not self.is_file(name):
            return
        self.add(name)
        if (self.folder / name).stat().st_size > MAX_BYTES:
            return
        text = (self.folder / name).read_bytes().decode("utf-8", "replace")
        here = name.rpartition("/")[0]
        for other in REQUIREMENT_FILE.findall(text):
            self.requirements(os.path.normpath(f"{here}/{other}" if here else other).replace(os.sep, "/"))


def _of_source(content: bytes | str) -> _Texts:
    """Return what a Python source says; of one that does not parse, its lines that import."""
    try:
        return _Texts([parsed(content)], [])
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        text = content if isinstance(content, str) else content.decode("utf-8", "replace")
    trees: list[ast.AST] = []
    for line in filter(IMPORT_LINE.match, text.splitlines()):
        try:
            trees.append(parsed(line.strip()))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    return _Texts(trees, [])


def _of_notebook(content: bytes, name: str) -> _Texts:
    """Return what the code cells of a notebook say.

    Raises:
        KaggError: USAGE when it is no notebook.
    """
    texts = _Texts([], [])
    for cell in parse_notebook(content, name)["cells"]:
        if cell.get("cell_type") == "code":
            _add_cell(texts, cell_source(cell))
    return texts


def _add_cell(texts: _Texts, source: str) -> None:
    """Add a cell: its Python, and its lines for a shell or IPython; the body of a cell magic counts as both."""
    kept = []
    is_magic = source.lstrip().startswith("%%")
    for line in source.splitlines():
        bare = line.lstrip()
        if bare.startswith(("%", "!")) or re.match(r"[\w, ]+=\s*[!%]", bare):
            texts.commands.append(bare)
            kept.append(line[: len(line) - len(bare)] + "pass")
        else:
            kept.append("" if bare.startswith("?") or bare.endswith("?") else line)
            if is_magic:
                texts.commands.append(bare)
    texts.trees.extend(_of_source("\n".join(kept)).trees)
