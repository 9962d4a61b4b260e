"""Check a run's outputs against what a user expects of them: --verify FILE.

FILE is one of
  a list       one required file or pattern a line; empty lines and # comments are skipped
  our form     {"files": [PATTERN or {"path", "min_bytes", "max_bytes", "sha256"}],
                "schemas": {PATTERN: a schema or the name of a file with one, beside FILE},
                "metrics": {NAME: {"min", "max"}}}
  a schema     JSON Schema for metrics.json, else result.json, else the metrics that were found elsewhere; the file that
               its key "x-kagg-file" names instead
Patterns are shell patterns over paths relative to the outputs; * also matches /.
"""

from __future__ import annotations

import fnmatch
import json
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import bad_input, decode_json, file_sha256, need_packages
from plugins.lib import json_schema
from plugins.lib.metrics import MAX_FILE_BYTES, read_metrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OWN_KEYS = {"version", "files", "schemas", "metrics"}
FILE_KEYS = {"path", "min_bytes", "max_bytes", "sha256"}
FILE_OF_SCHEMA = "x-kagg-file"
SCHEMA_WORDS = {"$schema", "$id", "$ref", "$defs", "definitions", "type", "properties", "required", "items", "enum"}
SCHEMA_WORDS |= {"allOf", "anyOf", "oneOf", "not", "const", "if", "patternProperties", "additionalProperties"}
SCHEMA_WORDS |= {"minProperties", "maxProperties", "propertyNames", "dependentRequired", "prefixItems", "contains"}
MAX_BYTES = 4 * 1024**2
MAX_OUTPUTS = 100_000
SHOWN = 10


class FileCheck(NamedTuple):
    """A file that must be there, and what it must be."""

    pattern: str
    min_bytes: int = 0
    max_bytes: int | None = None
    sha256: str = ""

    def findings(self, folder: Path, names: Iterable[str]) -> list[str]:
        """Return what is wrong, [] when nothing is."""
        found = [name for name in names if _fits(name, self.pattern)]
        if not found:
            return [f"{self.pattern}: no such file among the outputs"]
        lines = []
        for name in found:
            size = (folder / name).stat().st_size
            if size < self.min_bytes:
                lines.append(f"{name}: it has {size} bytes, {self.min_bytes} at least are asked for")
            if self.max_bytes is not None and size > self.max_bytes:
                lines.append(f"{name}: it has {size} bytes, {self.max_bytes} at most are asked for")
            if self.sha256 and (seen := file_sha256(folder / name)) != self.sha256:
                lines.append(f"{name}: its SHA-256 is {seen}, {self.sha256} is asked for")
        return lines[:SHOWN] + ([f"{self.pattern}: and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else [])


class Checks(NamedTuple):
    """What a --verify file asks for. `schema` is the one for the metrics, `schemas` are those of files by pattern."""

    path: Path
    files: tuple[FileCheck, ...] = ()
    schemas: tuple[tuple[str, Any], ...] = ()
    schema: Any = None
    metrics: tuple[tuple[str, float | None, float | None], ...] = ()

    def apply(self, folder: Path, record: Mapping[str, Any]) -> list[str]:
        """Return a line for each thing in `folder` (a run's outputs) and its record that is not as asked for."""
        names = list(_names(folder))
        lines = [line for check in self.files for line in check.findings(folder, names)]
        for pattern, schema in self.schemas:
            found = [name for name in names if _fits(name, pattern)]
            lines += [] if found else [f"{pattern}: no such file among the outputs"]
            lines += [line for name in found for line in _schema_lines(folder, name, schema)]
        if self.schema is not None:
            name = next((name for name in ("metrics.json", "result.json") if name in names), "")
            if name:
                lines += _schema_lines(folder, name, self.schema)
            elif metrics := self._metrics(folder, record):
                lines += [f"metrics: {line}" for line in json_schema.schema_findings(self.schema, metrics)]
            else:
                lines.append("metrics.json: no such file among the outputs, and no other metrics to check")
        return lines + (self._metric_lines(self._metrics(folder, record)) if self.metrics else [])

    def _metrics(self, folder: Path, record: Mapping[str, Any]) -> dict[str, float]:
        found = record.get("metrics")
        log = record.get("log")
        if isinstance(found, dict) and found:
            return found
        return read_metrics(folder, Path(log) if isinstance(log, str) and log else None).summary

    def _metric_lines(self, found: Mapping[str, Any]) -> list[str]:
        lines = []
        for name, least, most in self.metrics:
            value = found.get(name)
            if not isinstance(value, (int, float)):
                lines.append(f"metric {name}: it was not found; there are: {', '.join(list(found)[:SHOWN]) or 'none'}")
            elif math.isnan(value):
                lines.append(f"metric {name}: it is NaN")
            elif least is not None and value < least:
                lines.append(f"metric {name}: {value:g} is less than {least:g}")
            elif most is not None and value > most:
                lines.append(f"metric {name}: {value:g} is more than {most:g}")
        return lines


def _fits(name: str, pattern: str) -> bool:
    return name == pattern or fnmatch.fnmatchcase(name, pattern)


def _names(folder: Path) -> Iterable[str]:
    """Yield the paths of the regular files below a folder; links are not followed."""
    count = 0
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            count += 1
            if count <= MAX_OUTPUTS and path.is_file() and not path.is_symlink():
                yield path.relative_to(folder).as_posix()


def _schema_lines(folder: Path, name: str, schema: Any) -> list[str]:
    path = folder / name
    if path.stat().st_size > MAX_FILE_BYTES:
        return [f"{name}: it has more than {MAX_FILE_BYTES} bytes and was not checked against the schema"]
    try:
        document = decode_json(path.read_bytes())
    except ValueError as error:
        return [f"{name}: it is not JSON: {error!s:.150}"]
    return [f"{name}: {line}" for line in json_schema.schema_findings(schema, document)]


# ---------------------------------------------------------------- reading FILE


def load(path: Path) -> Checks:
    """Read a --verify file.

    Raises:
        KaggError: USAGE with the line when it asks for nothing, or for what we do not understand; MISSING without the
            package that JSON Schema needs.
    """
    text = _text(path)
    if path.suffix.lower() in (".yaml", ".yml", ".toml"):
        raise bad_input(f"--verify {path} is neither JSON nor a list of files", "write JSON, or one file a line")
    if path.suffix.lower() != ".json" and text.lstrip()[:1] not in ("{", "["):
        lines = ((number, line.partition(" #")[0].strip()) for number, line in enumerate(text.splitlines(), 1))
        asked = [(number, line) for number, line in lines if line and not line.startswith("#")]
        return _something(Checks(path, tuple(FileCheck(_pattern(path, line, number)) for number, line in asked)))
    try:
        found = decode_json(text)
    except ValueError as error:
        where = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        words = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise bad_input(f"--verify {path}{where}: it is not JSON: {words:.150}") from error
    if isinstance(found, list):
        found = {"files": found}
    if not isinstance(found, dict):
        raise bad_input(f"--verify {path}: it is no JSON object or list")
    if found.keys() & (OWN_KEYS - {"version"}) and not found.keys() & SCHEMA_WORDS:
        return _own_form(path, text, found)
    if not found.keys() & SCHEMA_WORDS:
        hint = 'write a JSON Schema, or {"files": [...], "schemas": {...}, "metrics": {...}}'
        raise bad_input(f"--verify {path}: it asks for nothing", hint)
    return _schema_form(path, found)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise bad_input(f"--verify {path} has more than {MAX_BYTES} bytes")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise bad_input(
            f"--verify {path}: {error.strerror or error}", "name a JSON Schema or a list of files"
        ) from error
    except ValueError as error:
        raise bad_input(f"--verify {path} is not UTF-8 text") from error
    if "\0" in text:
        raise bad_input(f"--verify {path} is not text")
    return text


def _something(checks: Checks) -> Checks:
    if not (checks.files or checks.schemas or checks.metrics):
        raise bad_input(f"--verify {checks.path} asks for nothing", "name a file a line, or write a JSON Schema")
    return checks


def _line_of(text: str, word: Any) -> int:
    """Return the line that a JSON value stands in, the first when it is not found as it is written here."""
    spellings = (json.dumps(word), json.dumps(word, ensure_ascii=False))
    at = max((text.find(spelling) for spelling in spellings), default=0)
    return text.count("\n", 0, max(at, 0)) + 1


def _pattern(path: Path, text: Any, line: int) -> str:
    """Return a pattern over the paths of the outputs; one that ends with / means what is in that folder."""
    if not isinstance(text, str) or not text.strip():
        raise bad_input(f"--verify {path}, line {line}: {str(text)[:60]!r} is no file name")
    bare = text.strip().replace("\\", "/")
    bare = re.sub(r"^(\./)+", "", bare)
    if bare.startswith(("/", "~")) or ".." in bare.split("/") or re.match(r"[A-Za-z]:", bare):
        hint = "paths are relative to the outputs"
        raise bad_input(f"--verify {path}, line {line}: {text[:60]!r} leads out of the outputs", hint)
    return bare + "*" if bare.endswith("/") else bare


def _schema_form(path: Path, schema: dict[str, Any]) -> Checks:
    target = schema.get(FILE_OF_SCHEMA)
    _check_schema(f"--verify {path}", schema)
    if target is None:
        return Checks(path, schema=schema)
    return Checks(path, schemas=((_pattern(path, target, 1), schema),))


def _check_schema(where: str, schema: Any) -> None:
    requires: Any = json_schema.PLUGIN["requires"]
    need_packages("--verify with a JSON Schema", requires)
    if not isinstance(schema, (dict, bool)):
        raise bad_input(f"{where}: a JSON Schema is an object")
    if fault := json_schema.schema_fault(schema):
        raise bad_input(f"{where}: {fault}")


def _own_form(path: Path, text: str, found: dict[str, Any]) -> Checks:
    for key in found.keys() - OWN_KEYS:
        raise bad_input(
            f"--verify {path}, line {_line_of(text, key)}: there is no key {key[:60]!r}", "files, schemas, metrics"
        )
    files: Any = found.get("files") or []
    schemas: Any = found.get("schemas") or {}
    metrics: Any = found.get("metrics") or {}
    if not isinstance(files, list) or not isinstance(schemas, dict) or not isinstance(metrics, dict):
        raise bad_input(f"--verify {path}: files is a list, schemas and metrics are objects")
    return _something(
        Checks(
            path,
            tuple(_file_check(path, text, item) for item in files),
            tuple(
                (_pattern(path, name, _line_of(text, name)), _own_schema(path, text, name, item))
                for name, item in schemas.items()
            ),
            None,
            tuple(_limits(path, text, name, item) for name, item in metrics.items()),
        )
    )


def _file_check(path: Path, text: str, item: Any) -> FileCheck:
    if isinstance(item, str):
        return FileCheck(_pattern(path, item, _line_of(text, item)))
    name = item.get("path") if isinstance(item, dict) else item
    line = _line_of(text, name)
    pattern = _pattern(path, name, line)
    for key, value in item.items():
        count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        if key not in FILE_KEYS:
            raise bad_input(f"--verify {path}, line {line}: there is no key {key[:60]!r}", ", ".join(sorted(FILE_KEYS)))
        if key.endswith("_bytes") and not count:
            raise bad_input(f"--verify {path}, line {line}: {key} of {pattern} is no number of bytes")
    sha256 = item.get("sha256", "")
    if "sha256" in item and not re.fullmatch(r"[0-9a-fA-F]{64}", str(sha256)):
        raise bad_input(f"--verify {path}, line {line}: sha256 of {pattern} is no SHA-256 in hexadecimal")
    return FileCheck(pattern, item.get("min_bytes", 0), item.get("max_bytes"), sha256.lower())


def _own_schema(path: Path, text: str, name: str, item: Any) -> Any:
    """Return a schema, read from its file when it is named."""
    where = f"--verify {path}, line {_line_of(text, name)}: the schema of {name[:60]}"
    if isinstance(item, str):
        source = path.parent / item
        where = f"--verify {source}"
        try:
            item = decode_json(_text(source))
        except ValueError as error:
            raise bad_input(f"{where}: it is not JSON: {error!s:.150}") from error
    _check_schema(where, item)
    return item


def _limits(path: Path, text: str, name: str, item: Any) -> tuple[str, float | None, float | None]:
    values = list(item.values()) if isinstance(item, dict) and item.keys() <= {"min", "max"} else []
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool) and not math.isnan(v)]
    if not values or len(numbers) < len(values):
        hint = 'write {"min": 0.9}, {"max": 0.1} or both'
        raise bad_input(
            f"--verify {path}, line {_line_of(text, name)}: the limits of {name[:60]} are not numbers", hint
        )
    return name, item.get("min"), item.get("max")
