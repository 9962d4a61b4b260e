"""Where a notebook uses names: in Python, in magics, in text that is evaluated, in cells that do not parse.

Every doubt counts as a use. Only cells in which a name occurs as a word are parsed.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, NamedTuple

from plugins.lib.imports.draft import normal
from plugins.lib.imports.statements import walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from plugins.lib.imports.draft import Draft

_TYPE_COMMENT = re.compile(r"#[ \t]*type:[ \t]*(?!ignore\b)([^\n]*)")  # PEP 484
_WORD = re.compile(r"[^\W\d]\w*")
_PAIR = re.compile(r"(?<![\w.])([^\W\d]\w*)\s*\.\s*([^\W\d]\w*)")
# In a string: what reads as a use of a name. `@name` is how pandas' query and eval refer to Python's names.
_CODE_IN_STRING = re.compile(r"@([^\W\d]\w*)|(?<![\w.])([^\W\d]\w*)(?=\.[^\W\d]|\()")
# Text without any of these evaluates nothing that its cells do not show.
_EVALUATORS = frozenset(
    {
        "eval",
        "exec",
        "execfile",
        "globals",
        "locals",
        "vars",
        "compile",
        "get_ipython",
        "getipython",
        "__all__",
        "modules",
    }
    | {"__main__", "f_globals", "f_locals", "_getframe", "currentframe", "user_ns", "user_global_ns", "run_cell"}
    | {"__globals__", "user_module", "func_globals", "builtins", "__builtins__", "ex", "ev"}
)
_METHODS = frozenset({"eval", "exec", "compile"})
_TELLING = _EVALUATORS - _METHODS
# Strings in which a word may come about that does not stand in the text: by escapes, or by strings side by side.
_MAY_SPELL = re.compile(r"\\[xuUN0-7\n]|[\"'][\s\\]*(?:#|[rRbBfFuU]{0,2}[\"'])")
_OPAQUE_NAMES = frozenset({"f_globals", "f_locals", "_getframe", "currentframe", "user_ns", "user_global_ns"}) | {
    "__globals__", "user_module", "func_globals"
}  # fmt: skip
_MAIN = re.compile(r"(?:from|import)\s+__main__\b")
_RUNS_TEXT = frozenset({"run_cell", "run_cell_async", "run_code", "ex", "ev", "safe_execfile", "runcode", "runsource"})


class _Facts(NamedTuple):
    """What one cell uses: names, words of strings that look like code, and all words of strings."""

    names: frozenset[str]
    code: frozenset[str]
    words: frozenset[str]


class Uses:
    """Answers whether a name is used anywhere in a notebook, and how."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._facts: dict[int, _Facts] = {}
        self._pairs: dict[int, list[tuple[str, str]]] = {}
        self.opaque, self._strings = self._evaluations()
        self._reasons: dict[str, str] = {}
        self._fixed = dict(self._outside())

    def reason(self, name: str) -> str:
        """Return how a name is used, "" when it is not."""
        if name not in self._reasons:
            self._reasons[name] = self._found(name)
        return self._reasons[name]

    def _found(self, name: str) -> str:
        if name in self._fixed:
            return self._fixed[name].format(name)
        if self.opaque:
            return self.opaque
        place = self._string_with(name) if self._strings else None
        if place is not None:
            return f"a string in cell {self._draft.cells[place].index} may use {name}"
        return next(filter(None, (self._how(place, name) for place in self._draft.cells_with(name))), "")

    def takers(self, attribute: str) -> set[str]:
        """Return the names from which an attribute is taken anywhere in the notebook, whatever the text is."""
        found: set[str] = set()
        for place, cell in enumerate(self._draft.cells):
            text = normal(cell.source)
            if attribute in text:
                if place not in self._pairs:
                    self._pairs[place] = _PAIR.findall(text)
                found.update(name for name, taken in self._pairs[place] if taken == attribute)
        return found

    def _string_with(self, name: str) -> int | None:
        """Return the last cell that has a string with the word."""
        for place in reversed(range(len(self._draft.cells))):
            text = self._draft.text(place)
            may_be = (name in text or _MAY_SPELL.search(text)) and self._draft.tree(place) is not None
            if may_be and name in self._facts_of(place).words:
                return place
        return None

    def _facts_of(self, place: int) -> _Facts:
        tree = self._draft.tree(place)
        if place not in self._facts and tree is not None:
            self._facts[place] = _facts(tree)
        return self._facts[place]

    def _how(self, place: int, name: str) -> str:
        tree, index = self._draft.tree(place), self._draft.cells[place].index
        if tree is None:
            return (
                f"cell {index}, which does not parse, has the word {name}" if name in self._draft.words(place) else ""
            )
        facts = self._facts_of(place)
        if name in facts.names:
            return f"cell {index} uses {name}"
        if name in facts.code:
            return f"a string in cell {index} may use {name}"
        return ""

    def _outside(self) -> Iterator[tuple[str, str]]:
        """Yield (name, how it is used) of what is used outside of Python that parses."""
        for place in sorted(self._draft.bad):
            cell = self._draft.cells[place]
            how = f"cell {cell.index}, which does not parse, has the word {{}}"
            yield from ((word, how) for word in _WORD.findall(normal(cell.source)))
        for cell in self._draft.cells:
            yield from ((name, f"cell {cell.index} uses {{}} in a magic or a shell line") for name in cell.reads)
            if "type:" in cell.python:
                comments = " ".join(_TYPE_COMMENT.findall(cell.python))
                yield from (
                    (word, f"a type comment in cell {cell.index} uses {{}}") for word in _WORD.findall(comments)
                )

    def _evaluations(self) -> tuple[str, bool]:
        """Return why the notebook may use any name at all, and whether its strings may be evaluated."""
        strings = False
        suspects = _suspects("\n".join(map(self._draft.text, range(len(self._draft.cells)))), _TELLING, _METHODS)
        for place, cell in enumerate(self._draft.cells):
            if "*" in cell.reads:
                return f"cell {cell.index} runs text that is not in the notebook", True
            parses = place not in self._draft.bad
            if parses and not (any(suspects) and any(_suspects(self._draft.text(place), *suspects))):
                continue
            if _EVALUATORS.isdisjoint(self._draft.words(place)):
                continue
            tree = self._draft.tree(place)
            if tree is None:
                return f"cell {cell.index}, which does not parse, may evaluate text", True
            for opaque in _evaluated(tree):
                if opaque:
                    return f"cell {cell.index} evaluates text that is not known ({opaque})", True
                strings = True
        return "", strings


def _suspects(text: str, telling: Iterable[str], methods: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return those words that a text may have, of `methods` where not all are methods of something: `model.eval()`."""
    return (
        [word for word in telling if word in text and (len(word) > 2 or re.search(rf"{word}(?!\w)", text))],
        [word for word in methods if text.count(word) != text.count("." + word) or ".." + word in text],
    )


def _facts(tree: ast.AST) -> _Facts:
    """Collect what a tree uses."""
    names: set[str] = set()
    code: set[str] = set()
    words: set[str] = set()
    for node in walk(tree):
        if isinstance(node, ast.Name):
            if not isinstance(node.ctx, ast.Store):
                names.add(node.id)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            names.update(node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
            text = normal(node.value if isinstance(node.value, str) else node.value.decode("latin-1"))
            found = _WORD.findall(text)
            words.update(found)
            code.update(found if ">>>" in text else (part for pair in _CODE_IN_STRING.findall(text) for part in pair))
    return _Facts(frozenset(names), frozenset(code), frozenset(words))


def uses_in(tree: ast.AST) -> frozenset[str]:
    """Return the names and the words of code-like strings that a part of a cell uses or binds in any way but import."""
    facts = _facts(tree)
    stored = {node.id for node in walk(tree) if isinstance(node, ast.Name)}
    return facts.names | facts.code | stored


def _evaluated(tree: ast.AST) -> Iterator[str]:
    """Yield one item for each way to evaluate text: what it is when the text is unknown, "" for strings in the cell."""
    harmless: set[ast.AST] = set()
    for node in walk(tree):
        if isinstance(node, ast.Call):
            yield from _called(node, harmless)
        elif isinstance(node, ast.Subscript) and _called_name(node.value) in ("globals", "locals", "vars"):
            harmless.add(node.value)
            yield "" if isinstance(node.slice, ast.Constant) else f"{_called_name(node.value)}()[...]"
        elif isinstance(node, ast.Name) and node.id in ("eval", "exec", "execfile") and node not in harmless:
            yield node.id
        elif isinstance(node, ast.Name) and node.id == "__all__":
            yield ""
        elif isinstance(node, ast.Attribute):
            yield from _attribute(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from [""] if _MAIN.search(node.value) else []
        elif isinstance(node, (ast.Import, ast.ImportFrom)) and _MAIN.search(ast.unparse(node)):
            yield "import __main__"


def _attribute(node: ast.Attribute) -> Iterator[str]:
    owner = node.value.id if isinstance(node.value, ast.Name) else ""
    if node.attr in _OPAQUE_NAMES:
        yield node.attr
    elif (owner, node.attr) == ("sys", "modules") or (
        owner in ("builtins", "__builtins__") and node.attr in ("eval", "exec")
    ):
        yield f"{owner}.{node.attr}"


def _called(node: ast.Call, harmless: set[ast.AST]) -> Iterator[str]:
    """Yield what a call evaluates; add to `harmless` the names that are judged with it."""
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if name in ("eval", "exec", "execfile"):
        harmless.add(node.func)
        yield "" if name != "execfile" and node.args and _constant(node.args[0]) else name
    elif name in ("globals", "locals") or (name == "vars" and not node.args) or name == "get_ipython":
        yield ""
    elif name == "compile":
        yield "" if node.args and _constant(node.args[0]) else "compile"
    elif method in _RUNS_TEXT and not (node.args and _constant(node.args[0])):
        yield method if method.startswith("run_") or _called_name(_owner(node)) == "get_ipython" else ""
    elif method == "get" and _called_name(_owner(node)) in ("globals", "locals", "vars"):
        yield "" if node.args and _constant(node.args[0]) else f"{_called_name(_owner(node))}().get"


def _owner(node: ast.Call) -> ast.AST:
    return node.func.value if isinstance(node.func, ast.Attribute) else node


def _called_name(node: ast.AST) -> str:
    """Return `name` of a call `name()`."""
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""


def _constant(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes))
