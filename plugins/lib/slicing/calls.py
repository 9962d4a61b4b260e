"""What a call does to its arguments, its object and the world, by what is known of its name."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from plugins.lib.slicing import known, names, shapes
from plugins.lib.slicing.edges import Edges
from plugins.lib.slicing.facts import NOTHING, Flow, Paths, held, joined

if TYPE_CHECKING:
    from plugins.lib.slicing.facts import Function

_TAKES_FUNCTIONS = frozenset(
    {
        *("apply", "map", "applymap", "pipe", "transform", "agg", "aggregate", "filter", "progress_apply", "sorted"),
        *(
            "reduce",
            "accumulate",
            "starmap",
            "groupby",
            "vectorize",
            "apply_along_axis",
            "min",
            "max",
            "parallel_apply",
        ),
    }
)
_TENSORS = frozenset({"torch", "tensorflow", "keras", "jax", "lightgbm", "transformers", "datasets"})
_NO_DRAW_METHODS = frozenset({"append", "extend", "add", "update", "insert", "pop", "setdefault", "sort", "remove"})
_PATH_METHODS = frozenset(
    {
        "read_text",
        "write_text",
        "read_bytes",
        "write_bytes",
        "open",
        "mkdir",
        "glob",
        "rglob",
        "iterdir",
        "touch",
        "unlink",
    }
)


class Calls(Edges):
    """The part of the walk that judges calls; `expression` is the other part's."""

    def expression(self, node: ast.AST | None) -> Flow:
        """Walk over an expression and return where its value comes from."""
        raise NotImplementedError

    def call(self, node: ast.Call, *, alone: bool = False) -> Flow:
        """Judge a call; `alone` says that nobody takes its result."""
        flows = [self.expression(part) for part in [*node.args, *(keyword.value for keyword in node.keywords)]]
        given = self.small(joined(flows))
        dotted = self.dotted(node.func)
        last = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        is_ours = last in (self.book.functions if isinstance(node.func, ast.Name) else self.book.methods)
        if dotted or not is_ours:
            self._files(dotted or f".{last}", node)
        if last in known.DYNAMIC:
            self._dynamic(last, node)
        if dotted:
            self.expression(node.func)
            return self._of_module(dotted, node, given, alone=alone)
        if isinstance(node.func, ast.Attribute):
            return self._of_object(node.func, node, given)
        if isinstance(node.func, ast.Name) and node.func.id in self.book.functions and node.func.id not in self.local:
            self.expression(node.func)
            if any(shapes.keeps_state(function.node) for function in self.book.functions[node.func.id]):
                self.out.changes.add(node.func.id)
            return self._of_notebook(node.func.id, self.book.functions[node.func.id], given)
        return self._unknown(self.expression(node.func), given, last)

    # --- what is called ----------------------------------------------------------------------------------------------

    def _of_module(self, dotted: str, node: ast.Call, given: Flow, *, alone: bool) -> Flow:
        """Judge a call of something imported or built in."""
        top, last = dotted.partition(".")[0], dotted.rpartition(".")[2]
        self._world(dotted, node, alone=alone)
        if top in known.PLOT_MODULES:
            return Flow()
        if known.CHANGES_FIRST.fullmatch(dotted):
            first = self.expression(node.args[0]) if node.args else Flow()
            self.out.changes |= first.every
            self.link(self.out.parts, first.alias, given.every)
            return given
        is_pure = top in known.PURE_MODULES or (top == "builtins" and last in known.PURE_BUILTINS)
        is_tensor = top in _TENSORS and not last.endswith("_") and (last[:1].isupper() or not alone)
        is_strange = given.unsafe or (last in _TAKES_FUNCTIONS and self._takes_stranger(node))
        if is_strange or not (is_pure or is_tensor):
            return self._unknown(Flow(), given, last)
        self._out_argument(node)
        if last[:1].isupper() or top == "functools":
            return given if known.HANDS_ON.fullmatch(dotted) else held(given)
        return given if is_tensor or known.HANDS_ON.fullmatch(dotted) else Flow()

    def _of_object(self, func: ast.Attribute, node: ast.Call, given: Flow) -> Flow:
        """Judge a method call."""
        receiver, name = self.expression(func.value), func.attr
        chain = {part.attr for part in ast.walk(func.value) if isinstance(part, ast.Attribute)}
        root = names.root(func)
        if root in self.book.plots and root not in self.local:
            self.out.changes |= receiver.alias
            return Flow(receiver.alias)
        own = self.book.methods.get(name)
        if own:
            return self._of_class(own, receiver, given, name)
        if chain & (known.ACCESSORS | known.PLOT_METHODS) or name in known.PLOT_METHODS:
            return Flow()
        if given.unsafe or (name in _TAKES_FUNCTIONS and self._takes_stranger(node)):
            return self._unknown(receiver, given, name)
        self._of_keywords(receiver, node)
        return self._of_method(func, receiver, given, node)

    def _of_method(self, func: ast.Attribute, receiver: Flow, given: Flow, node: ast.Call) -> Flow:
        """Judge a method by its name alone."""
        name = func.attr
        is_sample = name == "sample" and shapes.is_table_sample(node)
        if is_sample:
            self.out.draws = max(
                self.out.draws, 0 if shapes.has(node, "random_state") or shapes.has(node, "seed") else 2
            )
        if name in ("query", "eval"):
            self._text(node)
        if name == "eval" and not node.args:  # a module of torch: it changes its mode
            self.out.changes |= receiver.every
            return receiver
        if is_sample or name in known.FRESH_METHODS or known.WRITES_FILES.search(f".{name}"):
            return Flow()
        if name in known.VIEW_METHODS:
            return Flow(receiver.alias | given.alias, receiver.holds | given.holds)  # `table.get(key, default)`
        is_seeded = name.startswith("fit") and names.root(node.func) in self.book.seeded
        self.out.draws = max(self.out.draws, 0 if is_seeded or name in _NO_DRAW_METHODS else 1)
        if name in known.SELF_METHODS:
            return self._changes_self(receiver, given, func)
        return self._unknown(receiver, given, name)

    def _changes_self(self, receiver: Flow, given: Flow, func: ast.Attribute) -> Flow:
        name = func.attr
        self.out.changes |= receiver.every
        if not isinstance(func.value, ast.Name):
            self.out.changes |= self.copied(func.value)
        learns = name.startswith(("fit", "partial_fit", "train"))
        self.link(self.out.keeps if learns else self.out.parts, receiver.alias, given.every)
        if name in known.FRESH_RESULT:
            return Flow()
        return receiver if learns else Flow(receiver.every | given.every)  # `table.setdefault(key, default)`

    def _of_class(self, own: list[Function], receiver: Flow, given: Flow, name: str) -> Flow:
        """Judge a call of a method that a class of the notebook has."""
        changes_self = name in known.SELF_METHODS or any(method.changes_self for method in own)
        if given.unsafe or any(method.unsafe for method in own):
            result = self._unknown(receiver, given, name)
            return Flow(result.every, result.holds | frozenset().union(*(method.returned for method in own)))
        self.out.draws = max(self.out.draws, *(method.effects.draws for method in own))
        if changes_self:
            self.out.may_change |= receiver.every
        self.link(self.out.parts, receiver.alias, given.every)
        returned = frozenset().union(*(method.returned for method in own))
        return Flow(receiver.every | given.every | returned)

    def _of_notebook(self, name: str, functions: list[Function], given: Flow) -> Flow:
        """Judge a call of a function or class of the notebook."""
        for function in functions:
            self.out.add(function.effects)
            self.link(self.out.parts, function.holders, given.every)
        made = frozenset({name}) if any(function.makes_functions for function in functions) else NOTHING
        made |= frozenset({name}) & self.book.classes
        if given.unsafe or any(function.unsafe for function in functions):
            result = self._unknown(Flow(), given, name)
            returned = frozenset().union(*(function.returned for function in functions))
            return Flow(result.alias | returned, result.holds | made, result.unsafe)
        if name in self.book.classes:
            return Flow(NOTHING, given.every | made)
        hands_on = any(function.hands_on for function in functions)
        returned = frozenset().union(*(function.returned for function in functions))
        return Flow((given.alias if hands_on else NOTHING) | returned, (given.holds if hands_on else NOTHING) | made)

    def _unknown(self, receiver: Flow, given: Flow, name: str) -> Flow:
        """Judge a call of which nothing is known: it may change and keep whatever it reaches."""
        self.out.may_change |= receiver.every | given.every
        self.out.draws = max(self.out.draws, 1)
        every = receiver.every | given.every
        self.link(self.out.parts, receiver.alias, given.every)
        self.link(self.out.keeps, given.alias, every)
        return held(joined([receiver, given])) if name[:1].isupper() else Flow(every)

    # --- what it does besides ----------------------------------------------------------------------------------------

    def _world(self, dotted: str, node: ast.Call, *, alone: bool) -> None:
        """Note random numbers, plots, settings and other hidden state."""
        top = dotted.partition(".")[0]
        if known.SEEDS.search(dotted) and (alone or not node.args or dotted.startswith(("numpy", "random"))):
            self.out.seeds = True
            return
        self._draws(dotted, node)
        if top in known.PLOT_MODULES:
            self.out.plots = True
            self.out.plot_settings |= bool(known.PLOT_SETTINGS.search(dotted))
        elif known.ENVIRONMENT.match(dotted) and not (dotted == "pandas.set_option" and shapes.names_display(node)):
            if dotted not in ("os.environ.get", "os.environ.items", "os.environ.keys"):
                self.out.always.append(f"calls {dotted}")
        elif alone and not self._is_harmless(dotted):
            self.out.always.append(f"calls {dotted}, which may change the state of {top}")
        if known.READS_TEXT.match(dotted):
            self._text(node)

    def _is_harmless(self, dotted: str) -> bool:
        top = dotted.partition(".")[0]
        is_known = top in known.PURE_MODULES | known.PLOT_MODULES | {"builtins", "sys", "heapq", "random"}
        is_known |= bool(known.WRITES_FILES.search(dotted) or known.READS_FILES.search(dotted))
        return (is_known and not dotted.startswith("nltk.")) or bool(known.SHOWS.search(dotted.partition(".")[2]))

    def _draws(self, dotted: str, node: ast.Call) -> None:
        top = dotted.partition(".")[0]
        if any(shapes.has(node, name) for name in ("random_state", "seed")) or re.search(
            r"default_rng|RandomState", dotted
        ):
            return
        if known.DRAWS.match(dotted):
            self.out.draws = 2
            return
        is_free = top in known.NO_DRAW_MODULES | {"builtins", "sys", "heapq"} or known.NO_DRAW.match(dotted)
        if not is_free or known.DRAWING_PLOTS.match(dotted):
            self.out.draws = max(self.out.draws, 1)

    def _dynamic(self, name: str, node: ast.Call) -> None:
        """Note that a call reads, and perhaps binds, names that the text does not show."""
        if isinstance(node.func, ast.Attribute) and name in ("compile", "eval"):
            return
        first = node.args[0] if node.args else None
        if name == "eval" and isinstance(first, ast.Constant) and isinstance(first.value, str):
            self._text(node)
            return
        self.out.reads_all = True
        if name not in ("eval", "compile"):
            self.out.always.append(f"runs {name}, which may bind any name")

    def _text(self, node: ast.Call) -> None:
        """Take the words of constant strings as names that are read: queries and formulas look them up."""
        for part in [*node.args, *(keyword.value for keyword in node.keywords)]:
            constants = [n.value for n in ast.walk(part) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
            words = {word for text in constants for word in re.findall(r"[^\W\d]\w*", text)} & self.book.bound
            self.out.loads |= words
            self.out.reads |= words
            if not constants and isinstance(part, (ast.Name, ast.Call, ast.BinOp)):
                self.out.reads_all = True

    def _of_keywords(self, receiver: Flow, node: ast.Call) -> None:
        for keyword in node.keywords:
            if keyword.arg in ("inplace", "copy") and shapes.is_true(keyword.value) == (keyword.arg == "inplace"):
                self.out.changes |= receiver.every
        self._out_argument(node)

    def _out_argument(self, node: ast.Call) -> None:
        for keyword in node.keywords:
            if keyword.arg == "out":
                self.out.changes |= self.expression(keyword.value).every

    def _takes_stranger(self, node: ast.Call) -> bool:
        """Say whether an argument is a function of which nothing is known."""
        for part in [*node.args, *(keyword.value for keyword in node.keywords)]:
            dotted = self.dotted(part)
            top = dotted.partition(".")[0]
            if dotted and top not in known.PURE_MODULES | known.PLOT_MODULES | {"builtins"}:
                return True
        return False

    def _files(self, label: str, node: ast.Call) -> None:
        """Note the files that a call may read or write."""
        if known.TAKES_STREAM.search(label):
            return  # `open` has been noted
        writes = bool(known.WRITES_FILES.search(label))
        reads = bool(known.READS_FILES.search(label))
        if label.endswith("open"):
            modes = [*node.args[1:2], *(k.value for k in node.keywords if k.arg == "mode")]
            mode = next((str(part.value) for part in modes if isinstance(part, ast.Constant)), "?" if modes else "r")
            writes, reads = bool(set(mode) & set("wax+?")), bool(set(mode) & set("r+?"))
        if not (writes or reads):
            return
        paths = self._paths(node)
        if writes:
            self.out.written_files.add(paths)
        if reads:
            self.out.read_files.add(paths)

    def _paths(self, node: ast.Call) -> Paths:
        """Return the constants of what may be a path, also of names that are bound to constants."""
        found: set[str] = set()
        every = [*node.args, *(keyword.value for keyword in node.keywords)]
        if isinstance(node.func, ast.Attribute) and node.func.attr in _PATH_METHODS:
            every.append(node.func.value)
        for part in (child for outer in every for child in ast.walk(outer)):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                found.add(part.value)
            elif isinstance(part, ast.Name):
                found |= self.book.strings.get(part.id, set())
        return frozenset(text for text in found if re.search(r"[./]", text) or len(found) == 1)
