"""Read, parameterise and write notebook files for a run, without kagg and its errors."""

from __future__ import annotations

import ast
import json
import keyword
import os
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

FOREIGN_KERNELS = ("ir", "julia", "bash", "javascript", "deno", "scala", "xcpp", "sas", "octave", "sparkr")


class BadInputError(Exception):
    """The notebook or its parameters cannot be run; the message is one line."""


def read_notebook(path: Path) -> Any:
    """Read a notebook of any version as version 4, without old outputs.

    Raises:
        BadInputError: it cannot be read, is no notebook, or is not written in Python.
    """
    import nbformat

    try:
        raw = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BadInputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{path} is not JSON: {error}") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("nbformat"), int):
        raise BadInputError(f"{path} is not a notebook: it names no nbformat")
    try:
        notebook = nbformat.from_dict(nbformat.convert(nbformat.reader.reads(json.dumps(raw)), 4))
        _check_language(notebook, path)
        _prepare_cells(notebook)
    except BadInputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, nbformat.ValidationError) as error:
        words = str(error).strip().partition("\n")[0]
        raise BadInputError(f"{path} is not a valid notebook: {type(error).__name__}: {words}") from error
    return notebook


def _check_language(notebook: Any, path: Path) -> None:
    """Refuse notebooks that say they are written in something else; silence means Python."""
    spec = notebook.metadata.get("kernelspec")
    described = notebook.metadata.get("language_info")
    spec, described = (entry if isinstance(entry, dict) else {} for entry in (spec, described))
    language = str(described.get("name") or spec.get("language") or "").lower()
    kernel = str(spec.get("name", "")).lower()
    if not language and re.match(rf"({'|'.join(FOREIGN_KERNELS)})\b|julia", kernel):
        language = kernel
    if language and not re.match(r"i?python", language):
        raise BadInputError(f"{path} is written in {language}; only Python notebooks run here")


def _prepare_cells(notebook: Any) -> None:
    """Drop old outputs and mend what would make the execution stumble."""
    for cell in notebook.cells:
        cell.source = "".join(cell.source)
        if not isinstance(cell.setdefault("metadata", {}), dict):
            cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        else:  # Kaggle stores these in Markdown cells, against the schema
            cell.pop("outputs", None)
            cell.pop("execution_count", None)


def _merge_streams(notebook: Any) -> None:
    """Join neighbouring pieces of one stream, as a notebook editor shows them."""
    for cell in notebook.cells:
        merged: list[Any] = []
        pieces: list[str] = []
        for output in cell.get("outputs", ()):
            if merged and output.output_type == "stream" == merged[-1].output_type and output.name == merged[-1].name:
                pieces.append(output.text)
                continue
            _close_stream(merged, pieces)
            merged.append(output)
        _close_stream(merged, pieces)
        if "outputs" in cell:
            cell.outputs = merged


def _close_stream(merged: list[Any], pieces: list[str]) -> None:
    """Append the collected pieces to the last output."""
    if pieces:
        merged[-1].text = merged[-1].text + "".join(pieces)
        pieces.clear()


def write_notebook(notebook: Any, path: Path) -> None:
    """Write a notebook so that a reader sees the old file or the whole new one."""
    _merge_streams(notebook)
    text = json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"
    try:
        content = text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which only escapes can carry
        content = (json.dumps(notebook, indent=1) + "\n").encode()
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


# ---------------------------------------------------------------- parameters


def literal(value: Any) -> str:
    """Return a JSON value as Python source that evaluates to it without any name but `float`."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(key)}: {literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    if isinstance(value, float) and value - value != 0:  # nan and the infinities have no literal
        return f"float({str(value)!r})"
    return ascii(value)


def read_parameters(path: Path) -> dict[str, Any]:
    """Read the parameters' file: one JSON object whose keys are Python names."""
    try:
        params = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInputError(f"cannot read the parameters {path}: {error}") from error
    if not isinstance(params, dict):
        raise BadInputError(f"{path} does not hold a JSON object of parameters")
    for name in params:
        if not name.isidentifier() or keyword.iskeyword(name):
            raise BadInputError(f"{name!r} is not a Python name and cannot be a parameter")
    return params


def inject(notebook: Any, params: dict[str, Any]) -> tuple[int, list[str]]:
    """Set `params` as papermill does; return the new cell's index and warnings for people.

    An `injected-parameters` cell of an earlier run is replaced; else the new one follows the first cell tagged
    `parameters`; else it comes first.
    """
    import nbformat

    cell = nbformat.v4.new_code_cell("# Parameters\n" + "".join(f"{n} = {literal(v)}\n" for n, v in params.items()))
    cell.source = cell.source.rstrip("\n")
    cell.metadata["tags"] = ["injected-parameters"]
    if (notebook.nbformat, notebook.get("nbformat_minor", 0)) < (4, 5):
        cell.pop("id", None)  # ids came with 4.5
    defaults, earlier = _tagged(notebook, "parameters"), _tagged(notebook, "injected-parameters")
    if earlier is not None:
        notebook.cells[earlier] = cell
        index = earlier
    else:
        index = 0 if defaults is None else defaults + 1
        notebook.cells.insert(index, cell)
    if defaults is None:
        return index, ["no cell is tagged 'parameters'; the values are set before the first cell"]
    unknown = sorted(set(params) - _assigned_names(notebook.cells[defaults].source))
    return index, [f"the cell tagged 'parameters' does not set {name}" for name in unknown]


def _tagged(notebook: Any, tag: str) -> int | None:
    """Return the index of the first cell with this tag."""
    return next((i for i, cell in enumerate(notebook.cells) if tag in cell.metadata.get("tags", [])), None)


def _assigned_names(source: str) -> set[str]:
    """Return the names that a cell assigns; line magics are left out."""
    code = re.sub(r"(?m)^\s*[%!].*$", "", source)
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError):
        return set(re.findall(r"(?m)^(\w+)\s*(?::[^=\n]+)?=", code))
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
