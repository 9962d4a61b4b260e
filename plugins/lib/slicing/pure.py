"""Say of an expression what it gives, when evaluating it is known to do nothing else.

Kinds: "scalar" (numbers, strings), "data" (containers, tables, arrays), "stream" (used up by reading it), "plot"
(figures and the like), "model" (an estimator), "lambda", "@dotted.origin" (something imported or built in), "?" (not
known yet), and "" for whatever may do anything.
"""

from __future__ import annotations

import ast
import builtins
from typing import TYPE_CHECKING

from plugins.lib.slicing import known
from plugins.lib.slicing.names import root

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PLOTS = "$plots"  # the state of the plotting libraries, as a name
_VALUES = frozenset({"scalar", "data"})
_GIVEN = frozenset({"scalar", "data", "stream", "lambda"})
_BUILTINS = frozenset(dir(builtins))


def joined(one: str, other: str) -> str:
    """Return the kind of what is one of two."""
    if one == other or "?" in (one, other):
        return other if one == "?" else one
    return "data" if {one, other} == _VALUES else ""


class Pure:
    """Judges expressions by the kinds of a notebook's names.

    `changed` collects the names whose objects the expressions change, `PLOTS` among them.
    """

    def __init__(self, kinds: Mapping[str, str], *, patched: set[str] | frozenset[str], seeded: bool) -> None:
        self.kinds = kinds
        self.patched = patched
        self.seeded = seeded
        self.local: dict[str, str] = {}
        self.owned: set[str] = set()  # names that are bound to new models only
        self.changed: set[str] = set()

    def kind(self, node: ast.AST | None) -> str:
        """Return the kind of an expression, "" when it may do anything."""
        rule = getattr(self, f"_{type(node).__name__.lower()}", None)
        return rule(node) if rule is not None else ""

    def all_of(self, nodes: Sequence[ast.AST | None], allowed: frozenset[str] = _VALUES) -> str:
        """Return "scalar" or "data" when each kind is allowed."""
        found = [self.kind(node) for node in nodes]
        if any(kind not in allowed and kind != "?" and not self._is_known(kind) for kind in found):
            return ""
        if "?" in found:
            return "?"
        return "scalar" if all(kind == "scalar" for kind in found) else "data"

    def _is_known(self, kind: str) -> bool:
        """Say whether something imported may be handed to a call: a pure function, or a constant."""
        return kind[:1] == "@" and bool(self._result(kind[1:], 1))

    # --- leaves and containers ---------------------------------------------------------------------------------------

    def _constant(self, _: ast.Constant) -> str:
        return "scalar"

    def _name(self, node: ast.Name) -> str:
        if node.id in self.local:
            return self.local[node.id]
        if node.id in self.kinds:
            kind = self.kinds[node.id]
            return "" if kind in ("stream", "lambda") else kind
        if node.id in ("__name__", "__doc__"):
            return "scalar"
        return f"@builtins.{node.id}" if node.id in _BUILTINS or node.id == "display" else ""

    def _joinedstr(self, node: ast.JoinedStr) -> str:
        return "scalar" if self._parts(node) else ""

    def _formattedvalue(self, node: ast.FormattedValue) -> str:
        return "scalar" if self._parts(node) else ""

    def _parts(self, node: ast.AST) -> str:
        return self.all_of([part for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)])

    def _tuple(self, node: ast.AST) -> str:
        kind = self._parts(node)
        return kind and ("?" if kind == "?" else "data")

    _list = _set = _tuple

    def _dict(self, node: ast.Dict) -> str:
        parts: list[ast.expr] = [key for key in node.keys if key is not None]
        kind = self.all_of(parts + node.values)
        return kind and ("?" if kind == "?" else "data")

    def _starred(self, node: ast.Starred) -> str:
        return self.all_of([node.value])

    # --- operators ---------------------------------------------------------------------------------------------------

    def _binop(self, node: ast.BinOp) -> str:
        return self.all_of([node.left, node.right])

    def _unaryop(self, node: ast.UnaryOp) -> str:
        return self.all_of([node.operand])

    def _boolop(self, node: ast.BoolOp) -> str:
        return self.all_of(node.values)

    def _compare(self, node: ast.Compare) -> str:
        return self.all_of([node.left, *node.comparators])

    def _ifexp(self, node: ast.IfExp) -> str:
        if not self.all_of([node.test]):
            return ""
        return joined(self.kind(node.body), self.kind(node.orelse))

    def _slice(self, node: ast.Slice) -> str:
        return self.all_of([part for part in (node.lower, node.upper, node.step) if part is not None])

    def _subscript(self, node: ast.Subscript) -> str:
        kind = self.kind(node.value)
        if not self.all_of([node.slice]):
            return ""
        if kind[:1] == "@":
            return self._plotting(kind[1:]) or ("data" if kind in ("@numpy.r_", "@numpy.c_") else "")
        return kind if kind in ("scalar", "data", "plot", "?") else ""

    def _attribute(self, node: ast.Attribute) -> str:
        kind, name = self.kind(node.value), node.attr
        if kind == "?":
            return kind
        if kind[:1] == "@":
            return "" if name in self.patched else f"{kind}.{name}"
        if name in self.patched or name in known.CHANGERS or name.startswith("_"):
            return ""
        if kind == "data" and name in known.PLOT_METHODS:
            self.changed.add(PLOTS)
            return "plot"
        if kind == "plot":
            return "" if known.PLOT_CHANGES.search(name) else "plot"
        return "data" if kind in ("data", "scalar") or (kind == "model" and name.endswith("_")) else ""

    # --- scopes of their own -----------------------------------------------------------------------------------------

    def _lambda(self, node: ast.Lambda) -> str:
        spec = node.args
        defaults = [*spec.defaults, *(default for default in spec.kw_defaults if default is not None)]
        names = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, spec.vararg, spec.kwarg]
        if not self.all_of(defaults):
            return ""
        before, self.local = self.local, self.local | {one.arg: "data" for one in names if one is not None}
        kind = self.all_of([node.body])
        self.local = before
        return kind and ("?" if kind == "?" else "lambda")

    def _comprehension_of(self, node: ast.AST, parts: list[ast.expr], generators: list[ast.comprehension]) -> str:
        before, self.local = self.local, dict(self.local)
        kinds = []
        for part in generators:
            kinds.append(self.all_of([part.iter], _VALUES | {"stream"}))
            for name in ast.walk(part.target):
                if isinstance(name, ast.Name):
                    self.local[name.id] = "data"
                elif not isinstance(name, (ast.Tuple, ast.List, ast.Starred, ast.expr_context)):
                    kinds.append("")
            kinds.append("" if part.is_async else self.all_of(part.ifs))
        kinds.append(self.all_of(parts))
        self.local = before
        if "" in kinds or "?" in kinds:
            return "" if "" in kinds else "?"
        return "stream" if isinstance(node, ast.GeneratorExp) else "data"

    def _listcomp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> str:
        return self._comprehension_of(node, [node.elt], node.generators)

    _setcomp = _generatorexp = _listcomp

    def _dictcomp(self, node: ast.DictComp) -> str:
        return self._comprehension_of(node, [node.key, node.value], node.generators)

    # --- calls -------------------------------------------------------------------------------------------------------

    def _call(self, node: ast.Call) -> str:
        keys_fine = all(self._key_is_fine(keyword) for keyword in node.keywords)
        if not keys_fine or any(isinstance(part, ast.Starred) for part in node.args):
            return ""
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        callee = node.func
        if isinstance(callee, ast.Attribute):
            base = self.kind(callee.value)
            if base[:1] != "@":
                return self._method(node, base, callee.attr, given)
        kind = self.kind(callee)
        if kind == "?":
            return kind
        return self._function(node, kind[1:], given) if kind[:1] == "@" else ""

    def _key_is_fine(self, keyword: ast.keyword) -> bool:
        name, value = keyword.arg, keyword.value
        if name is None or known.WRITING_KEYS.fullmatch(name):
            return False
        if name in known.EXPECTED_KEYS:
            return isinstance(value, ast.Constant) and bool(value.value) == (name != "inplace")
        return True

    def _draws(self, node: ast.Call) -> bool:
        """Say whether a call may draw from a generator that others share and somebody seeded."""
        fixed = [key.value for key in node.keywords if key.arg in ("random_state", "seed")]
        if fixed and not all(isinstance(value, ast.Constant) for value in fixed):
            return True
        return self.seeded and not any(isinstance(value, ast.Constant) and value.value is not None for value in fixed)

    def _function(self, node: ast.Call, dotted: str, given: list[ast.expr]) -> str:
        plot = self._plotting(dotted)
        if plot:
            if known.DRAWING_PLOTS.match(dotted) and self.seeded:
                return ""
            return self.all_of(given, _GIVEN | {"plot"}) and plot
        module, _, name = dotted.rpartition(".")
        if module == "builtins" and name in known.SILENT_BUILTINS | known.TAKES_PLOT:
            fine = self.all_of(given, _VALUES | {"plot", "model"})
            return fine and (fine if fine == "?" else "scalar")
        if known.READERS.fullmatch(dotted):
            fine = self.all_of(given, _VALUES | {"lambda"})
            path = self.kind(node.args[0]) if node.args else ""
            return "?" if "?" in (fine, path) else "data" if fine and path == "scalar" else ""
        drawing = known.DRAWING.fullmatch(dotted)
        if drawing or known.STEADY.fullmatch(dotted):
            fine = self.all_of(given)
            return fine if fine in ("", "?") else "" if drawing and self._draws(node) else "model"
        return self._plain(node, dotted, given)

    def _plain(self, node: ast.Call, dotted: str, given: list[ast.expr]) -> str:
        result = self._result(dotted, len(node.args))
        if dotted == "sklearn.model_selection.train_test_split" and not self._draws(node):
            result = "data"
        fine = self.all_of(given, _GIVEN)
        return fine if fine in ("", "?") else result

    def _plotting(self, dotted: str) -> str:
        if dotted.partition(".")[0] not in known.PLOT_MODULES or known.PLOT_CHANGES.search(dotted):
            return ""
        self.changed.add(PLOTS)
        return "plot"

    def _result(self, dotted: str, positions: int) -> str:
        """Return what a pure function gives; "" when it is not known to be one."""
        module, _, name = dotted.rpartition(".")
        if module == "builtins":
            tables = (known.SCALAR_BUILTINS, "scalar"), (known.DATA_BUILTINS, "data"), (known.STREAM_BUILTINS, "stream")
            return next((kind for table, kind in tables if name in table), "")
        if module == "numpy" and name in known.NUMPY:
            return "data" if positions <= known.NUMPY[name] else ""
        return "data" if known.PURE.fullmatch(dotted) else ""

    def _method(self, node: ast.Call, base: str, name: str, given: list[ast.expr]) -> str:
        if base == "?" or name in self.patched:
            return base if base == "?" else ""
        if base == "model":
            return self._of_model(node, name, given)
        if base == "plot" or (base == "data" and name in known.PLOT_METHODS):
            self.changed |= {PLOTS, root(node.func)} - {""} if base == "plot" else {PLOTS}
            return "" if known.PLOT_CHANGES.search(name) else self.all_of(given, _GIVEN | {"plot"}) and "plot"
        fine = self.all_of(given, _GIVEN) if base in _VALUES else ""
        return fine if fine in ("", "?") else self._of_value(node, base, name)

    def _of_value(self, node: ast.Call, base: str, name: str) -> str:
        """Return what a method of a number, string, container or table gives."""
        if base == "scalar" and name in known.STR_METHODS:
            return "data"
        if name in known.SAMPLERS:
            return "" if self._draws(node) else "data"
        too_many = len(node.args) > known.METHODS.get(name, -1)
        if too_many or (name == "query" and not _is_plain_query(node)):
            return ""
        return "stream" if name in known.STREAM_METHODS else "data"

    def _of_model(self, node: ast.Call, name: str, given: list[ast.expr]) -> str:
        fine = self.all_of(given)
        if fine in ("", "?") or name in known.MODEL_READS:
            return fine and ("?" if fine == "?" else "data")
        if name not in known.MODEL_FITS or not isinstance(node.func, ast.Attribute):
            return ""
        owner = node.func.value
        if isinstance(owner, ast.Name) and owner.id in self.owned:
            self.changed.add(owner.id)
        elif not is_new(owner):
            return ""
        return "model" if name == "fit" else "data"


def is_new(node: ast.expr) -> bool:
    """Say whether an expression that gives a model gives one that nobody else has: `Model()`, `Model().fit(x)`."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Call):
        node = node.func.value
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name not in known.MODEL_FITS


def _is_plain_query(node: ast.Call) -> bool:
    """Say whether a query is text that calls nothing."""
    return all(isinstance(part, ast.Constant) and "(" not in str(part.value) for part in node.args)
