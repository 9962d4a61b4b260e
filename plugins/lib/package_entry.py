"""Find the function that a package answers with."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from kagg import Exit, KaggError
from plugins.lib.notebook_module import parsed

if TYPE_CHECKING:
    from collections.abc import Iterator

ENTRIES = ("predict", "process_request", "handler")


def find_entry(app: bytes, name: str) -> str:
    """Return the first of ENTRIES that the module binds, last of all, to a function of one argument."""
    bound: dict[str, str] = {}  # name -> why it cannot be called with one argument, "" when it can
    for statement in _statements(parsed(app).body):
        bound |= _bindings(statement, bound)
    for entry in ENTRIES:
        if bound.get(entry) == "":
            return entry
    reasons = "; ".join(f"{entry} {bound[entry]}" for entry in ENTRIES if entry in bound)
    wanted = "predict(payload), process_request(data) or handler(request)"
    hint = reasons or "define one outside classes and functions: def predict(payload): ..."
    raise KaggError(f"{name} defines no {wanted}", code=Exit.USAGE, hint=hint)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run at import, also those inside if, try, with and loops."""
    for statement in body:
        yield statement
        if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            for part in ("body", "handlers", "orelse", "finalbody"):
                yield from _statements(getattr(statement, part, []))


def _bindings(statement: ast.stmt, bound: dict[str, str]) -> dict[str, str]:
    """Return what a statement binds."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return {statement.name: "" if statement.decorator_list else _arity_fault(statement.args)}
    if isinstance(statement, ast.ImportFrom):
        return {alias.asname or alias.name: "" for alias in statement.names}
    if isinstance(statement, ast.Assign):
        fault = _value_fault(statement.value, bound)
        return {target.id: fault for target in statement.targets if isinstance(target, ast.Name)}
    return {}


def _value_fault(value: ast.expr, bound: dict[str, str]) -> str:
    if isinstance(value, ast.Lambda):
        return _arity_fault(value.args)
    if isinstance(value, ast.Name):
        return bound.get(value.id, "is not a function")
    made = ast.unparse(value.func).rpartition(".")[2] if isinstance(value, ast.Call) else ""
    return "" if made == "partial" else "is not a function there"


def _arity_fault(arguments: ast.arguments) -> str:
    """Return why a function cannot be called with exactly one positional argument, "" when it can."""
    positional = len(arguments.posonlyargs) + len(arguments.args)
    needed = positional - len(arguments.defaults)
    keywords = sum(default is None for default in arguments.kw_defaults)
    if needed > 1 or keywords:
        return f"needs {needed + keywords} arguments, it gets 1"
    return "" if positional or arguments.vararg else "takes no argument, it gets 1"
