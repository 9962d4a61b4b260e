"""Walk over the statements of a cell or function and collect what they do to names."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from plugins.lib.slicing import known, names
from plugins.lib.slicing.calls import Calls
from plugins.lib.slicing.facts import NOTHING, Book, Effects, Flow, changed_by, held, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

_FRESH = (ast.Constant, ast.Compare, ast.JoinedStr, ast.FormattedValue)
_LIST_LIKE = (ast.Add, ast.Mult, ast.BitOr)


class Walk(Calls):
    """Collects the effects of one cell, function or lambda in `out`."""

    def __init__(self, book: Book, prefix: str = "", local: set[str] | frozenset[str] = NOTHING) -> None:
        super().__init__(book, prefix, local)
        self.bound: set[str] = set()  # surely, so far

    def run(self, body: Sequence[ast.stmt]) -> Effects:
        """Walk over a body and return its effects."""
        self.block(body)
        self.out.binds = set(self.bound)
        self.out.may_bind -= self.bound
        return self.out

    def block(self, body: Sequence[ast.stmt]) -> None:
        """Walk over statements one after another."""
        for statement in body:
            getattr(self, f"_{type(statement).__name__.lower()}", self._other)(statement)

    def branch(self, body: Sequence[ast.stmt]) -> set[str]:
        """Walk over statements that may not run, and return what they bind when they do."""
        before = set(self.bound)
        self.block(body)
        after, self.bound = self.bound, before
        return after

    # --- statements --------------------------------------------------------------------------------------------------

    def _other(self, node: ast.stmt) -> None:
        for part in ast.iter_child_nodes(node):
            if isinstance(part, ast.expr):
                self.expression(part)

    def _expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self.call(node.value, alone=True)
        else:
            self.expression(node.value)

    def _return(self, node: ast.Return) -> None:
        if node.value is not None:
            self.out.returned |= self.expression(node.value).every

    def _assign(self, node: ast.Assign) -> None:
        flow = self.expression(node.value)
        for target in node.targets:
            self.bind(target, flow, node.value)

    def _annassign(self, node: ast.AnnAssign) -> None:
        self.expression(node.annotation)
        if node.value is not None:
            self.bind(node.target, self.expression(node.value), node.value)

    def _augassign(self, node: ast.AugAssign) -> None:
        flow = self.expression(node.value)
        base = names.root(node.target)
        if base:
            self.load(base)
            self.out.changes.add(self.key(base))
        self.bind(node.target, flow, node.value)

    def _delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            base = names.root(target)
            if base:
                self.load(base)
            if base and not isinstance(target, ast.Name):
                self.out.changes.add(self.key(base))

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for name, origin in names.imported(node).items():
            if name == "*":
                self.out.always.append(f"imports everything from {origin.rpartition('.')[0]}")
            else:
                self._bind_name(name)
                self.imported[name] = origin
            if known.IMPORTED_FOR_EFFECT.match(origin):
                self.out.always.append(f"imports {origin}, which has effects of its own")

    _importfrom = _import

    def _functiondef(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        for part in names.outside(node):
            self.expression(part)
        self._bind_name(node.name)
        self.out.deferred.setdefault(self.key(node.name), set()).update(names.free([node]))
        for decorator in node.decorator_list:
            self._decorated(self.key(node.name), decorator)
        if isinstance(node, ast.ClassDef):
            inside = Walk(self.book, f"{node.name}.", names.bound(node) - names.declared(node))
            inside.run([part for part in node.body if not isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef))])
            self.out.add(inside.out.outward(f"{node.name}."))
            self._take_reads(inside.out)

    def _decorated(self, key: str, decorator: ast.expr) -> None:
        """Take a decorator as a call that may keep the function."""
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        last = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        if last not in known.PASSING_DECORATORS:
            flow = self.expression(decorator)
            holders = {name for one in self.book.functions.get(last, ()) for name in one.holders}
            self.out.may_change |= flow.every
            self.link(self.out.parts, flow.every | holders, {key})
            self.link(self.out.parts, {key}, flow.every)

    _asyncfunctiondef = _functiondef
    _classdef = _functiondef

    def _if(self, node: ast.If) -> None:
        self.expression(node.test)
        both = self.branch(node.body) & self.branch(node.orelse)
        self.bound |= both

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        flow = self.expression(node.iter)
        before = set(self.bound)
        self.bind(node.target, Flow(flow.every | self.copied(node.iter), NOTHING), None)
        self.block(node.body)
        self.bound = before
        self.branch(node.orelse)

    _asyncfor = _for

    def _while(self, node: ast.While) -> None:
        self.expression(node.test)
        self.branch(node.body)
        self.branch(node.orelse)

    def _with(self, node: ast.With | ast.AsyncWith) -> None:
        suppresses = False
        for item in node.items:
            flow = self.expression(item.context_expr)
            self.out.may_change |= flow.every  # entering may change it
            suppresses |= "suppress" in ast.unparse(item.context_expr)
            if item.optional_vars is not None:
                self.bind(item.optional_vars, flow, item.context_expr)
        if suppresses:
            self.branch(node.body)
        else:
            self.block(node.body)

    _asyncwith = _with

    def _try(self, node: ast.Try) -> None:
        after = self.branch([*node.body, *node.orelse])
        for handler in node.handlers:
            self.expression(handler.type)
            leaves = any(isinstance(part, (ast.Raise, ast.Return)) for part in handler.body)
            found = self.branch(handler.body)
            after = after if leaves else after & found
        self.bound |= after
        self.block(node.finalbody)

    _trystar = _try

    def _match(self, node: ast.Match) -> None:
        flow = self.expression(node.subject)
        for case in node.cases:
            for part in ast.walk(case.pattern):
                for name in names.binds(part):
                    self._edges(self.key(name), flow)
                    self.out.may_bind.add(self.key(name))
            self.expression(case.guard)
            self.branch(case.body)

    # --- names -------------------------------------------------------------------------------------------------------

    def load(self, name: str) -> Flow:
        """Note that a name is read."""
        if name in self.variables:
            return self.variables[name]
        key = self.key(name)
        self.out.loads.add(key)
        if key not in self.bound:
            self.out.reads.add(key)
        if key in self.book.streams:
            self.out.changes.add(key)
        origin = (self.imported if name in self.local else self.book.origins).get(name, "")
        top = origin.partition(".")[0]
        if top in known.PLOT_MODULES:
            self.out.plots = True
        if top in known.PLOT_MODULES | known.PURE_MODULES:
            return Flow()
        functions = () if name in self.local else self.book.functions.get(name, ())
        return Flow(frozenset({key}), NOTHING, any(function.unsafe for function in functions))

    def _bind_name(self, name: str) -> None:
        key = self.key(name)
        self.bound.add(key)
        self.out.may_bind.add(key)

    def _edges(self, key: str, flow: Flow) -> None:
        for other in flow.alias:
            self.out.aliased(key, other)
        self.out.parts |= {(key, other) for other in flow.holds if other != key}

    def bind(self, target: ast.expr, flow: Flow, value: ast.expr | None) -> None:
        """Give a target a value."""
        flow = self.small(flow)
        if isinstance(target, ast.Name):
            self._bind_name(target.id)
            self._edges(self.key(target.id), flow)
            if value is not None:
                functions = [part for part in ast.walk(value) if isinstance(part, ast.Lambda)]
                self.out.deferred.setdefault(self.key(target.id), set()).update(names.free(functions))
        elif isinstance(target, (ast.Tuple, ast.List)):
            values = value.elts if isinstance(value, (ast.Tuple, ast.List)) else []
            for index, part in enumerate(target.elts):
                if len(values) == len(target.elts):
                    self.bind(part, self.expression(values[index]), values[index])
                else:
                    self.bind(part, Flow(flow.every), None)
        elif isinstance(target, ast.Starred):
            self.bind(target.value, flow, value)
        else:
            self._bind_part(target, flow)

    def _bind_part(self, target: ast.expr, flow: Flow) -> None:
        """Give `a.b` or `a[b]` a value: that changes `a`."""
        owner = target.value if isinstance(target, (ast.Attribute, ast.Subscript)) else target
        if isinstance(target, ast.Subscript):
            self.expression(target.slice)
        changed = self.expression(owner)
        self.out.changes |= changed.every
        if not isinstance(owner, ast.Name):  # what `few.index.name = "x"` changes is a part of `few`, and of its origin
            base = names.root(owner)
            self.out.changes |= {self.key(base)} if base and not self.dotted(owner) else set()
            self.out.changes |= self.copied(owner)
        self.link(self.out.parts, changed.alias, flow.every)
        dotted = self.dotted(owner if isinstance(target, ast.Subscript) else target)
        top = dotted.partition(".")[0]
        if top in known.PLOT_MODULES:
            self.out.plot_settings = True
        elif dotted and not dotted.startswith("pandas.options.display"):
            self.out.always.append(f"sets {dotted}")

    # --- expressions -------------------------------------------------------------------------------------------------

    def expression(self, node: ast.AST | None) -> Flow:
        """Walk over an expression and return where its value comes from."""
        if node is None:
            return Flow()
        rule = getattr(self, f"_of_{type(node).__name__.lower()}", None)
        if rule is not None:
            found: Flow = rule(node)
            return found
        flow = joined([self.expression(part) for part in ast.iter_child_nodes(node)])
        if isinstance(node, _FRESH) or (isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.UAdd)):
            return Flow()
        return flow

    def _of_name(self, node: ast.Name) -> Flow:
        return self.load(node.id) if isinstance(node.ctx, ast.Load) else Flow()

    def _of_call(self, node: ast.Call) -> Flow:
        return self.call(node)

    def _of_attribute(self, node: ast.Attribute) -> Flow:
        flow = self.expression(node.value)
        return Flow() if node.attr in known.FRESH_ATTRIBUTES else flow

    def _of_subscript(self, node: ast.Subscript) -> Flow:
        flow = self.expression(node.value)
        self.expression(node.slice)
        chosen = node.slice
        copies = isinstance(chosen, (ast.List, ast.Compare)) or (
            isinstance(chosen, ast.BinOp)
            and isinstance(chosen.op, (ast.BitAnd, ast.BitOr))
            and any(isinstance(part, ast.Compare) for part in ast.walk(chosen))
        )
        return Flow() if copies else flow

    def _of_binop(self, node: ast.BinOp) -> Flow:
        flow = joined([self.expression(node.left), self.expression(node.right)])
        return held(flow) if isinstance(node.op, _LIST_LIKE) else Flow()

    def _of_display(self, node: ast.List | ast.Tuple | ast.Set | ast.Dict) -> Flow:
        return held(joined([self.expression(n) for n in ast.iter_child_nodes(node) if not isinstance(n, ast.Constant)]))

    _of_list = _of_tuple = _of_set = _of_dict = _of_display

    def _of_namedexpr(self, node: ast.NamedExpr) -> Flow:
        flow = self.expression(node.value)
        if node.target.id not in self.variables:
            self.bind(node.target, flow, node.value)
        return flow

    def _of_lambda(self, node: ast.Lambda) -> Flow:
        prefix = f"{self.prefix}:<lambda {id(node)}>"
        for part in names.outside(node):
            self.expression(part)
        inside = Walk(self.book, prefix, names.own(node))
        inside.variables = {k: v for k, v in self.variables.items() if k not in inside.local}
        inside._outer(self)
        flow = inside.expression(node.body)
        self.out.parts |= inside.out.parts
        self.out.keeps |= inside.out.keeps
        self.out.add(inside.out.outward(prefix))
        self._take_reads(inside.out)
        changed = changed_by(inside.out)
        mine = frozenset(name for name in flow.every if name.startswith(f"{prefix}:"))
        unsafe = any(f"{prefix}:{name}" in changed for name in names.parameters(node))
        return Flow(NOTHING, flow.every - mine, unsafe)

    def _outer(self, around: Walk) -> None:
        """See the local names of the function around a lambda under the names that they have there."""
        for name in around.local - self.local:
            self.variables.setdefault(name, Flow(frozenset({around.key(name)})))

    def _take_reads(self, inner: Effects) -> None:
        self.out.loads |= inner.loads
        self.out.reads |= {name for name in inner.reads if name not in self.bound and ":" not in name}

    def _of_comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Flow:
        before = dict(self.variables)
        for part in node.generators:
            flow = self.expression(part.iter)
            for name in names.targets(part.target):
                self.variables[name] = Flow(flow.every)
            for test in part.ifs:
                self.expression(test)
        parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        found = joined([self.expression(part) for part in parts])
        self.variables = before
        return held(found)

    _of_listcomp = _of_setcomp = _of_generatorexp = _of_dictcomp = _of_comprehension
