"""From the text of a job file to rows of cells, whatever its format; jobfile.py says what the cells mean."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING, Any

from kagg import Exit, KaggError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

ON_KAGGLE = ("device", "accelerator", "datasets", "competitions", "kernels", "code")
FIELDS = ("id", "ref", "operation", "name", "params", "payload", "monitor", "timeout", "on", "dest", *ON_KAGGLE)
ALIASES = dict.fromkeys(("notebook", "kernel", "url", "path", "target"), "ref")
ALIASES |= {"dataset": "datasets", "competition": "competitions"}
FORMATS = {".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "lines", ".ndjson": "lines"}
FORMATS |= {".txt": "text", ".list": "text", "": "text"}
PARAM_COLUMN = re.compile(r"(?:param\.|p:)(.*)", re.IGNORECASE | re.DOTALL)
_BOMS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"", "utf-8-sig"))
Row = tuple[int, dict[str, Any]]  # line of the file, cells by column


def parse(path: Path) -> tuple[Iterable[Row], dict[str, Any]]:
    """Return the rows of a file and the defaults that they share."""
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise KaggError(
            f"{path} is no job file that kagg reads", code=Exit.USAGE, hint="write .csv, .tsv, .json, .jsonl or .txt"
        )
    text = _text(path)
    if kind == "json":
        return _json_rows(text, path)
    return {"csv": _csv_rows, "lines": _line_rows, "text": _text_rows}[kind](text, path), {}


def _text(path: Path) -> str:
    """Read a file in UTF-8, or in UTF-16 as spreadsheets save "Unicode text"."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise KaggError(f"cannot read {path}: {error.strerror}", code=Exit.USAGE) from error
    encoding = next(name for bom, name in _BOMS if content.startswith(bom))
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise KaggError(
            f"{path} line {line} is not {encoding}", code=Exit.USAGE, hint="save the file as UTF-8"
        ) from error


def _refused(message: str) -> dict[str, Any]:
    """Return cells that make their row a bad one; the rows after it are still checked."""
    return {"": KaggError(message, code=Exit.USAGE)}


def _csv_rows(text: str, path: Path) -> Iterator[Row]:
    """Yield the records of a CSV file; a record's line is the one where it starts."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    header: list[str] = []
    start = 1
    try:
        for cells in reader:
            line, start = start, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = _header(cells, path)
            elif len(cells) > len(header):
                yield line, _refused(f"{len(cells)} cells, but the header has {len(header)} columns")
            else:
                yield line, dict(zip(header, cells, strict=False))
    except csv.Error as error:
        yield start, _refused(f"not CSV: {error}")


def _header(cells: list[str], path: Path) -> list[str]:
    """Return the column names, refusing a file that has no notebooks in it."""
    header = [cell.strip() for cell in cells]
    twice = {name for name in header if name and header.count(name) > 1}
    if twice:
        raise KaggError(f"{path} has two columns {min(twice)!r}", code=Exit.USAGE, hint="rename or remove one")
    known = [ALIASES.get(name.lower(), name.lower()) for name in header]
    if "ref" not in known:
        hint = f"the first line names the columns; one of them is ref, {', '.join(ALIASES)}"
        raise KaggError(f"{path} has no column for the notebook", code=Exit.USAGE, hint=hint)
    return header


def _delimiter(text: str) -> str:
    """Return the delimiter under which the header has most columns that kagg knows."""
    first = next((line for line in re.split(r"\r\n|\n|\r", text) if line.strip()), "")

    def known(delimiter: str) -> int:
        names = [cell.strip().strip('"').lower() for cell in first.split(delimiter)]
        return sum(bool(name in FIELDS or name in ALIASES or PARAM_COLUMN.match(name)) for name in names)

    return max(",;\t", key=lambda delimiter: (known(delimiter), first.count(delimiter)))


def _text_rows(text: str, _path: Path) -> Iterator[Row]:
    for line, content in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        ref = re.sub(r"(^|\s)#.*", "", content).strip()
        if ref:
            yield line, {"ref": ref}


def _line_rows(text: str, _path: Path) -> Iterator[Row]:
    for line, content in enumerate(text.split("\n"), 1):
        if content.strip():
            yield line, _object(content)


def _object(content: str) -> dict[str, Any]:
    """Read one line of JSON Lines."""
    try:
        return _cells(load_json(content))
    except ValueError as error:
        return _refused(f"not JSON: {error}")


def _cells(value: Any) -> dict[str, Any]:
    """Return an element of a JSON file as cells: an object, or a bare reference."""
    if isinstance(value, dict):
        return value
    return {"ref": value} if isinstance(value, str) else _refused("not an object")


def _json_rows(text: str, path: Path) -> tuple[Iterable[Row], dict[str, Any]]:
    """Return the rows and defaults of a JSON file."""
    try:
        document = load_json(text)
    except ValueError as error:
        raise KaggError(f"{path} is not JSON: {error}", code=Exit.USAGE) from error
    jobs: Any = document
    defaults: Any = {}
    if isinstance(document, dict):
        jobs, defaults = document.get("jobs"), document.get("defaults") or {}
    if not isinstance(jobs, list) or not isinstance(defaults, dict):
        raise KaggError(
            f"{path} is no list of jobs",
            code=Exit.USAGE,
            hint='write [{"ref": ...}] or {"defaults": {}, "jobs": [...]}',
        )
    if "id" in defaults:
        raise KaggError(f"{path} gives every job the same id", code=Exit.USAGE, hint="take id out of the defaults")
    return zip(_element_lines(text), map(_cells, jobs), strict=False), defaults


def load_json(text: str) -> Any:
    """Read JSON strictly: no NaN, no nesting that ends the program. Raises ValueError."""

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _element_lines(text: str) -> Iterator[int]:
    """Yield the line of each element of the job list in a JSON text that is known to be right."""
    decoder, space = json.JSONDecoder(), re.compile(r"[\s,:]*")

    def skip(position: int) -> int:
        match = space.match(text, position)
        return match.end() if match else position

    position = skip(0)
    if text[position] == "{":
        position, name = skip(position + 1), ""
        while True:
            name, position = decoder.raw_decode(text, position)
            position = skip(position)
            if name == "jobs":
                break
            position = skip(decoder.raw_decode(text, position)[1])
    position = skip(position + 1)
    while text[position] != "]":
        yield text.count("\n", 0, position) + 1
        position = skip(decoder.raw_decode(text, position)[1])
