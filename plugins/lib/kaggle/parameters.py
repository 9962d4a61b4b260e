"""Put parameters into a source before it is pushed: Kaggle takes neither arguments nor variables for a run."""

from __future__ import annotations

import ast
import json
import keyword
from typing import TYPE_CHECKING, Any

from kagg import bad_input, need_packages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kagg import Context

HEADER = """\
def _run_parameters():  # put here by kagg: the arguments, and a JSON file that KAGG_PARAMS names
    import os, sys, tempfile
    sys.argv[1:] = {argv}
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
        file.write({params})
    os.environ["KAGG_PARAMS"] = file.name
_run_parameters()
del _run_parameters
"""


def with_parameters(ctx: Context, body: Mapping[str, Any], params: Mapping[str, Any], args: Sequence[str]) -> str:
    """Return the source of a SaveKernel body with the parameters of one run in it.

    A notebook gets them as papermill injects them and takes no `args`; a Python script as `--name=value` before `args`,
    and as a JSON file.

    Raises:
        KaggError: USAGE, for a name that is none or a language that has no place for parameters.
    """
    text = str(body["text"])
    for name in params:
        if not name.isidentifier() or keyword.iskeyword(name):
            raise bad_input(f"{name[:80]!r} is not a Python name and cannot be a parameter")
    if body["kernelType"] == "notebook":
        return _notebook(ctx, text, params) if params else text
    if not params and not args:
        return text
    if body["language"] != "python":
        raise bad_input(f"a script in {body['language']} takes no parameters", "write them into the script")
    return _script(text, params, args)


def _notebook(ctx: Context, text: str, params: Mapping[str, Any]) -> str:
    """Return a notebook with an injected-parameters cell."""
    need_packages("parameters for notebooks", {"nbformat": "nbformat>=5.1"})
    import nbformat

    from plugins.lib.notebook_file import inject

    notebook = nbformat.from_dict(json.loads(text))
    for cell in notebook.cells:
        cell.setdefault("metadata", {})
    for warning in inject(notebook, dict(params))[1]:
        ctx.say(f"note: {warning}")
    return json.dumps(notebook, ensure_ascii=False)


def _script(text: str, params: Mapping[str, Any], args: Sequence[str]) -> str:
    """Return a script that begins with HEADER, after its docstring and its imports from `__future__`."""
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in params.items()}
    argv = [f"--{name}={value}" for name, value in texts.items()] + list(args)
    header = HEADER.format(argv=ascii(argv), params=ascii(json.dumps(dict(params))))
    lines = text.split("\n")
    place = _first_free_line(text, lines)
    return "\n".join([*lines[:place], *header.splitlines(), *lines[place:]])


def _first_free_line(text: str, lines: list[str]) -> int:
    """Return how many lines must stay first: the #! and coding lines, the docstring, imports from `__future__`."""
    place = sum(1 for line in lines[:2] if line.startswith("#"))
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return place  # the run will say what is wrong with it
    docstring = tree.body[:1] if ast.get_docstring(tree, clean=False) is not None else []
    future = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    return max([place, *(node.end_lineno or 0 for node in [*docstring, *future])])
