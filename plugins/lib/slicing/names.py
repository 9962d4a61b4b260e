"""Names of Python code: which it binds, and which it takes from outside its scope."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def targets(node: ast.AST) -> set[str]:
    """Return the names that an assignment to this target binds."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def root(node: ast.AST) -> str:
    """Return the name that an expression such as `a.b[0].c` begins with, "" when it begins with something else."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Starred)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def imported(node: ast.Import | ast.ImportFrom) -> dict[str, str]:
    """Return name -> dotted origin for what an import binds; "*" for a star import."""
    if isinstance(node, ast.Import):
        return {
            a.asname or a.name.partition(".")[0]: a.name if a.asname else a.name.partition(".")[0] for a in node.names
        }
    module = "." * node.level + (node.module or "")
    return {a.asname or a.name: f"{module}.{a.name}" for a in node.names}


def parameters(node: Scope) -> list[str]:
    """Return the names of all parameters, in order."""
    spec = node.args
    every = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, spec.vararg, spec.kwarg]
    return [argument.arg for argument in every if argument is not None]


def inner(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of one scope: nested functions and classes are yielded and not entered."""
    waiting = list(ast.iter_child_nodes(node))
    while waiting:
        child = waiting.pop()
        yield child
        if isinstance(child, _SCOPES):
            waiting += outside(child)
        else:
            waiting += ast.iter_child_nodes(child)


def outside(node: ast.AST) -> list[ast.AST]:
    """Return the parts of a function or class that run where it is defined: decorators, defaults, bases."""
    if isinstance(node, ast.ClassDef):
        return [*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)]
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        defaults: list[ast.AST] = [
            *node.args.defaults,
            *(default for default in node.args.kw_defaults if default is not None),
        ]
        return defaults if isinstance(node, ast.Lambda) else [*node.decorator_list, *defaults]
    return []


def hints(node: Scope) -> list[ast.AST]:
    """Return the annotations of a function's parameters and result."""
    if isinstance(node, ast.Lambda):
        return []
    found = [part.annotation for part in ast.walk(node.args) if isinstance(part, ast.arg)]
    return [part for part in [*found, node.returns] if part is not None]


def declared(node: ast.AST) -> set[str]:
    """Return the names that `global` statements of a scope name."""
    return {name for child in inner(node) if isinstance(child, ast.Global) for name in child.names}


def binds(node: ast.AST) -> set[str]:
    """Return the names that this node alone binds, its parts left aside."""
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Store) else set()
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return set(imported(node))
    name = getattr(node, "name", None) or getattr(node, "rest", None)  # def, class, except, match
    return {name} if isinstance(name, str) and not isinstance(node, ast.alias) else set()


def bound(node: ast.AST) -> set[str]:
    """Return the names that the body of a scope binds, without comprehension variables."""
    every = list(inner(node))
    hidden = {
        id(variable)
        for child in every
        if isinstance(child, _COMPREHENSIONS)
        for part in child.generators
        for variable in ast.walk(part.target)
    }
    return set().union(*(binds(child) for child in every if id(child) not in hidden))


def own(node: Scope) -> set[str]:
    """Return the names that are local to a function."""
    return (bound(node) | set(parameters(node))) - declared(node)


def free(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the names that code reads, or rebinds by `global`, from outside its own functions."""
    found: set[str] = set()
    waiting: list[tuple[ast.AST, frozenset[str]]] = [(node, frozenset()) for node in nodes]
    while waiting:
        node, hidden = waiting.pop()
        if isinstance(node, ast.Name):
            found |= {node.id} - hidden if not isinstance(node.ctx, ast.Store) else set()
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            found |= {node.target.id} - hidden
            waiting.append((node.value, hidden))
        elif isinstance(node, ast.Global):
            found |= set(node.names)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            waiting += [(part, hidden) for part in [*outside(node), *hints(node)]]
            body = node.body if isinstance(node.body, list) else [node.body]
            waiting += [(part, (hidden | own(node)) - declared(node)) for part in body]
        elif isinstance(node, _COMPREHENSIONS):
            variables = frozenset().union(*(targets(part.target) for part in node.generators))
            waiting.append((node.generators[0].iter, hidden))
            waiting += [(part, hidden | variables) for part in ast.iter_child_nodes(node)]
        else:
            waiting += [(part, hidden) for part in ast.iter_child_nodes(node)]
    return found
