"""Questions about one call that its text answers."""

from __future__ import annotations

import ast
import builtins


def is_builtin(name: str) -> bool:
    """Say whether Python itself binds a name."""
    return hasattr(builtins, name)


def has(node: ast.Call, name: str) -> bool:
    """Say whether a keyword is given a number, so that the call draws nothing from the shared generator."""
    return any(
        k.arg == name and not (isinstance(k.value, ast.Constant) and k.value.value is None) for k in node.keywords
    )


def is_true(node: ast.expr) -> bool:
    """Say whether an argument may be true."""
    return not (isinstance(node, ast.Constant) and not node.value)


def is_table_sample(node: ast.Call) -> bool:
    """Say whether `x.sample(...)` is a data frame's: Python's takes a population and a number."""
    return len(node.args) <= 1 and not any(isinstance(part, (ast.List, ast.Tuple)) for part in node.args)


def names_display(node: ast.Call) -> bool:
    """Say whether pandas.set_option only changes how tables are shown."""
    texts = [part.value for part in node.args if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return bool(texts) and not any(text.startswith(("mode", "future", "compute", "io")) for text in texts)


def keeps_state(node: ast.AST) -> bool:
    """Say whether a function has a default that calls may change: a list, a table, a set, or what a call returns."""
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return False
    defaults = [*node.args.defaults, *node.args.kw_defaults]
    return any(
        isinstance(part, (ast.List, ast.Dict, ast.Set, ast.Call, ast.ListComp, ast.DictComp)) for part in defaults
    )
