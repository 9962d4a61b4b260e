"""What is known of a notebook as a whole: where names come from and what its functions do."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from plugins.lib.slicing import known, names
from plugins.lib.slicing.facts import Book, Effects, Function, changed_by, graph, reach
from plugins.lib.slicing.walk import Walk

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_ROUNDS = 6  # of functions that call each other; what is not settled then counts as changing its arguments
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_STREAMS = frozenset(
    {
        *(
            "map",
            "filter",
            "zip",
            "iter",
            "enumerate",
            "reversed",
            "open",
            "reader",
            "DictReader",
            "tee",
            "islice",
            "cycle",
        ),
        *(
            "chain",
            "from_iterable",
            "product",
            "permutations",
            "combinations",
            "count",
            "repeat",
            "zip_longest",
            "starmap",
        ),
        *(
            "accumulate",
            "flow",
            "flow_from_directory",
            "flow_from_dataframe",
            "as_numpy_iterator",
            "iterrows",
            "itertuples",
        ),
        *(
            "iter_content",
            "iter_lines",
            "finditer",
            "scandir",
            "walk",
            "iterdir",
            "glob",
            "rglob",
            "imap",
            "imap_unordered",
        ),
    }
)


def read_book(trees: Iterable[ast.Module]) -> Book:
    """Return what the cells say together."""
    book = Book()
    nodes = [node for tree in trees for node in names.inner(tree) if not isinstance(node, (ast.Constant, ast.Load))]
    for node in nodes:
        book.bound |= names.binds(node)
    _read_imports(book, nodes)
    _read_functions(book, nodes)
    _read_plots(book, nodes)
    _read_values(book, nodes)
    _judge_all(book)
    return book


def _others(nodes: list[ast.AST], kinds: tuple[type[ast.AST], ...]) -> set[str]:
    """Return the names that something else than these kinds of statements binds."""
    return set().union(*(names.binds(node) for node in nodes if not isinstance(node, kinds)))


def _read_imports(book: Book, nodes: list[ast.AST]) -> None:
    others = _others(nodes, (ast.Import, ast.ImportFrom))
    tops: dict[str, set[str]] = {}
    for node in nodes:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for name, origin in names.imported(node).items():
                tops.setdefault(name, set()).add(origin.partition(".")[0])
                book.origins.setdefault(name, origin)
    book.origins = {name: o for name, o in book.origins.items() if name not in others and len(tops[name]) == 1}


def _read_functions(book: Book, nodes: list[ast.AST]) -> None:
    lambdas = {
        id(target): node
        for node in nodes
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda)
        for target in node.targets
    }
    others = _others([node for node in nodes if id(node) not in lambdas], (*_FUNCTIONS, ast.ClassDef))
    for node in nodes:
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)) and node.name not in others:
            book.functions.setdefault(node.name, []).append(Function(node.name, node, names.free([node])))
        if isinstance(node, ast.ClassDef):
            book.classes.add(node.name)
            for part in names.inner(node):
                if isinstance(part, _FUNCTIONS):
                    method = Function(f"{node.name}.{part.name}", part, names.free([part]))
                    book.methods.setdefault(part.name, []).append(method)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id not in others:
                    made = _as_function(target.id, node.value)
                    book.functions.setdefault(target.id, []).append(Function(target.id, made, names.free([node.value])))


def _as_function(name: str, node: ast.Lambda) -> ast.FunctionDef:
    body: list[ast.stmt] = [ast.copy_location(ast.Return(node.body), node)]
    return ast.copy_location(ast.FunctionDef(name=name, args=node.args, body=body, decorator_list=[]), node)


def _read_plots(book: Book, nodes: list[ast.AST]) -> None:
    """Find the names of figures and axes: a plotting module makes them, or they are taken from such a one."""
    binders: dict[str, list[ast.AST]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign):
            for name in set().union(*(names.targets(target) for target in node.targets)):
                binders.setdefault(name, []).append(node.value)
        elif isinstance(node, (ast.For, ast.AsyncFor)):
            for name in names.targets(node.target):
                binders.setdefault(name, []).append(node.iter)
    walk = Walk(book)
    calls = {name: [_is_plot_call(walk, value) for value in values] for name, values in binders.items()}
    found = {name for name, made in calls.items() if any(made)}
    for _ in range(3):  # ax = fig.add_subplot(1); twin = ax.twinx()
        found = {
            name
            for name, values in binders.items()
            if name not in book.functions
            and all(made or _is_taken_from(value, found) for made, value in zip(calls[name], values, strict=True))
        }
    book.plots = found


def _is_plot_call(walk: Walk, value: ast.AST) -> bool:
    while isinstance(value, (ast.Attribute, ast.Subscript)):
        value = value.value
    return isinstance(value, ast.Call) and walk.dotted(value.func).partition(".")[0] in known.PLOT_MODULES


def _is_taken_from(value: ast.AST, found: set[str]) -> bool:
    """Say whether a value is a part of a figure: `fig.add_subplot(1)`, `axes[0]`, `zip(axes.flat, columns)`."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        return value.func.id in ("zip", "enumerate") and any(_is_taken_from(part, found) for part in value.args)
    while isinstance(value, (ast.Attribute, ast.Subscript, ast.Call)):
        value = value.func if isinstance(value, ast.Call) else value.value
    return isinstance(value, ast.Name) and value.id in found


def _read_values(book: Book, nodes: list[ast.AST]) -> None:
    """Note which names are iterators, and which constants stand in what names are bound to."""
    made: dict[str, list[bool]] = {}
    for node in nodes:
        pairs: list[tuple[ast.expr, ast.expr]] = []
        if isinstance(node, ast.Assign):
            pairs = [(target, node.value) for target in node.targets]
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            pairs = [(node.target, node.value)]
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            pairs = [(node.optional_vars, node.context_expr)]
        for target, value in pairs:
            constants = {n.value for n in ast.walk(value) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
            for name in names.targets(target):
                book.strings.setdefault(name, set()).update(constants)
                made.setdefault(name, []).append(_is_seeded(value))
                if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr == "copy":
                    book.copies.setdefault(name, set()).update(names.free([value]))
                if _is_stream(book, value):
                    book.streams.add(name)

    others = _others(nodes, (ast.Name,))
    loops = {name for node in nodes if isinstance(node, (ast.For, ast.AsyncFor)) for name in names.targets(node.target)}
    book.seeded = {name for name, seeded in made.items() if all(seeded)} - others - loops


def _is_seeded(value: ast.expr) -> bool:
    """Say whether a value is a model with a number for a seed, or of a kind that draws nothing."""
    if not isinstance(value, ast.Call):
        return False
    last = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
    numbers = (k.value for k in value.keywords if k.arg in ("random_state", "seed"))
    return last in known.DRAWS_NOTHING or any(isinstance(n, ast.Constant) and n.value is not None for n in numbers)


def _is_stream(book: Book, value: ast.expr) -> bool:
    if isinstance(value, ast.GeneratorExp):
        return True
    if not isinstance(value, ast.Call):
        return False
    last = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
    if last in _STREAMS or any(keyword.arg in ("chunksize", "iterator") for keyword in value.keywords):
        return True
    made = book.functions.get(last, [])
    return any(isinstance(n, (ast.Yield, ast.YieldFrom)) for one in made for n in names.inner(one.node))


def _judge_all(book: Book) -> None:
    every = [one for table in (book.methods, book.functions) for several in table.values() for one in several]
    for _ in range(MAX_ROUNDS):
        before = [one.verdict() for one in every]
        for one in every:
            judge(one, book)
        if before == [one.verdict() for one in every]:
            return
    for one, verdict in zip(every, before, strict=True):
        if one.verdict() != verdict:
            one.unsafe = one.hands_on = one.changes_self = True


def judge(function: Function, book: Book) -> None:
    """Walk over a function's body and note what its callers must know."""
    node = function.node
    if isinstance(node, ast.ClassDef):
        methods = [one for name in book.methods for one in book.methods[name] if one.name.startswith(f"{node.name}.")]
        outer = Effects()
        for method in methods:
            outer.add(method.effects)
            outer.parts |= method.effects.parts
            outer.keeps |= method.effects.keeps
        function.effects = outer
        function.unsafe = any(method.unsafe for method in methods if method.name.endswith(".__init__"))
        return
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return
    function.local = function.local or names.own(node)
    walk = Walk(book, function.name, function.local)
    effects = walk.run(node.body)
    parameters = [walk.key(name) for name in names.parameters(node)]
    changed = changed_by(effects)
    is_method = "." in function.name and bool(parameters)
    function.changes_self = is_method and parameters[0] in changed
    given = set(parameters[1:] if is_method else parameters)
    decorators = {
        part.attr if isinstance(part, ast.Attribute) else getattr(part, "id", "")
        for part in (one.func if isinstance(one, ast.Call) else one for one in node.decorator_list)
    }
    function.unsafe = bool(given & changed) or bool(decorators - known.PASSING_DECORATORS)
    every = graph(effects.parts | effects.keeps)
    back = reach(every, effects.returned)
    function.hands_on = bool(set(parameters) & back) or any(
        isinstance(n, (ast.Yield, ast.YieldFrom)) for n in names.inner(node)
    )
    function.returned = {name for name in back if ":" not in name}
    scopes = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef, ast.Yield, ast.YieldFrom)
    function.makes_functions = any(isinstance(n, scopes) for n in names.inner(node))
    outer_names = {name for pair in effects.parts for name in pair if ":" not in name}
    function.holders = {name for name in outer_names if reach(every, {name}) & given}
    function.effects = effects.outward(function.name)
    function.effects.changes |= {name for name in changed if ":" not in name}
    function.effects.parts, function.effects.keeps = effects.parts, effects.keeps
