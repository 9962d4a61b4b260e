"""Find the metrics of a run: in the files that it wrote, and in the JSON Lines that it printed.

The summary is metrics.json, or what result.json and the last values of the series say. Series come from metrics.jsonl
and other *.jsonl, from metrics.csv, from histories ({"loss": [...]}, as Keras keeps them, or {"log_history": [...]}, as
Hugging Face's trainer_state.json does), else from the log. Everything here was written by a stranger: sizes, depth and
counts are bounded, and what is no number is left out.
"""

from __future__ import annotations

import ast
import csv
import fnmatch
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import decode_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

STEP_KEYS = ("step", "global_step", "iteration", "iter", "epoch")  # the first that is there counts the steps
NOT_METRICS = frozenset({"pid", "ts", "timestamp", "_timestamp", "wall_time", "lineno", "process", "thread"})
LOG_KEYS = frozenset({"level", "levelname", "severity", "logger", "msg", "message"})  # of a logger's record
MAX_FILE_BYTES = 32 * 1024**2
MAX_LINE_CHARS = 65_536
MAX_DEPTH, MAX_NAMES, MAX_NAME_CHARS = 5, 500, 120
MAX_POINTS = 20_000  # of a series that is longer every second point is kept, and so on
MAX_CANDIDATES, MAX_ENTRIES, MAX_FOLDER_DEPTH = 50, 20_000, 4

Values = dict[str, float]
Point = tuple[int, Values]


class Metrics(NamedTuple):
    """Last values by name, and [(step, values)] in the order in which they came. NaN and infinity may be among them."""

    summary: Values
    series: list[Point]


class _Series:
    """Points of one source, thinned out when they are too many; the last values are always right."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.last: Values = {}
        self.stride, self.count = 1, 0

    def add(self, record: Any, *, strict: bool = False) -> None:
        """Add a record, if it is one; a `strict` one has a key that counts steps."""
        found = _point(record, self.count, strict=strict)
        if not found:
            return
        step, values = found
        for name, value in values.items():
            if name in self.last or len(self.last) < MAX_NAMES:
                self.last[name] = value
        previous = self.points[-1] if self.points else None
        if (
            previous
            and previous[0] == step
            and all(previous[1].get(name, value) == value for name, value in values.items())
        ):
            previous[1].update(values)  # training and validation often come one after the other
            return
        if self.count % self.stride == 0:
            self.points.append((step, values))
        self.count += 1
        if len(self.points) > MAX_POINTS:
            self.points, self.stride = self.points[::2], 2 * self.stride


def read_metrics(folder: Path, log: Path | None = None) -> Metrics:
    """Return the metrics below `folder` (a run's outputs), else those in `log` (its log.jsonl)."""
    sources = _files(folder) if folder.is_dir() else {}
    if not sources and log is not None and log.is_file():
        sources = {"": _printed(log)}
    series = _merged(sources)
    last = {name: value for source in series.values() for name, value in source.last.items()}
    points = [point for source in series.values() for point in source.points]
    whole = _summary(folder / "metrics.json")
    summary = whole or last | _summary(folder / "result.json")
    return Metrics(dict(list(summary.items())[:MAX_NAMES]), points)


def _merged(sources: dict[str, _Series]) -> dict[str, _Series]:
    """Return the sources that have points; names that two of them share get the file's name before them."""
    found = {name: source for name, source in sources.items() if source.points}
    names = [name for source in found.values() for name in source.last]
    if len(names) == len(set(names)):
        return found
    for stem, source in found.items():
        mark = f"{stem}." if stem else ""
        source.last = {mark + name: value for name, value in source.last.items()}
        source.points = [(step, {mark + name: v for name, v in values.items()}) for step, values in source.points]
    return found


# ---------------------------------------------------------------- records


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:  # an integer of more than 308 digits
        return None


def flatten(record: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, float]]:
    """Yield the numbers of nested objects, names joined by dots; lists, texts and truth values are left out."""
    if not isinstance(record, dict) or depth >= MAX_DEPTH:
        return
    for key, value in record.items():
        name = re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", "", f"{prefix}{key}")[:MAX_NAME_CHARS]
        number = _number(value)
        if number is not None:
            yield name, number
        else:
            yield from flatten(value, f"{name}.", depth + 1)


def _values(record: Any) -> Values:
    """Return the numbers of a record, of "metrics" in it when there is such an object."""
    inner = record.get("metrics") if isinstance(record, dict) else None
    found: Values = {}
    for name, number in flatten(inner if isinstance(inner, dict) else record):
        if name not in NOT_METRICS and len(found) < MAX_NAMES:
            found[name] = number
    return found


def _point(record: Any, count: int, *, strict: bool) -> Point | None:
    """Return (step, values) of a record; without a key that counts steps the step is `count`."""
    if not isinstance(record, dict):
        return None
    known = {str(key).lower(): key for key in record}
    at = next((key for key in STEP_KEYS if _whole(record.get(known.get(key))) is not None), None)
    if at is None and (strict or (LOG_KEYS & known.keys() and not isinstance(record.get("metrics"), dict))):
        return None
    values = _values(record)
    if at is not None:
        values.pop(str(known[at]), None)
    step = count if at is None else _whole(record[known[at]]) or 0
    return (step, values) if values else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and abs(number) < 1e15 and number == int(number) else None


# ---------------------------------------------------------------- files


def read_json(path: Path) -> Any:
    """Return what a JSON file holds, None when it is none, or too large."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return None
        return decode_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def _summary(path: Path) -> Values:
    """Return the numbers of metrics.json or result.json; of a history the last ones."""
    found = read_json(path)
    return _values(found) or _history(found).last


def _history(found: Any) -> _Series:
    """Return the series in {"loss": [...]}, {"history": {...}}, {"log_history": [...]} or [{...}, ...]."""
    series = _Series()
    for key in ("log_history", "history"):
        if isinstance(found, dict) and isinstance(found.get(key), (list, dict)):
            found = found[key]
            break
    if isinstance(found, list):
        for record in found:
            series.add(record)
    elif isinstance(found, dict):
        columns = {key: column for key, column in found.items() if isinstance(column, list)}
        steps = next((columns.pop(key) for key in STEP_KEYS if key in columns), [])
        for row in range(max(map(len, columns.values()), default=0)):
            values = {key: column[row] for key, column in columns.items() if row < len(column)}
            series.add({"epoch": steps[row] if row < len(steps) else row, **values})
    return series


def _candidates(folder: Path) -> Iterator[Path]:
    """Yield the files that may hold a series, those at the top first; links are not followed."""
    seen = 0
    for root, folders, names in os.walk(folder):
        here = Path(root)
        deep = len(here.relative_to(folder).parts) >= MAX_FOLDER_DEPTH
        folders[:] = [] if deep else sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            seen += 1
            if seen > MAX_ENTRIES:
                return
            path = here / name
            if not path.is_symlink() and any(fnmatch.fnmatchcase(name.lower(), pattern) for pattern in _READERS):
                yield path


def _files(folder: Path) -> dict[str, _Series]:
    """Return the series of the files by stem; metrics.jsonl at the top stands for all."""
    found: dict[str, _Series] = {}
    for number, path in enumerate(_candidates(folder)):
        if number >= MAX_CANDIDATES:
            break
        read = next(reader for pattern, reader in _READERS.items() if fnmatch.fnmatchcase(path.name.lower(), pattern))
        series = _Series()
        try:
            if path.stat().st_size <= MAX_FILE_BYTES:
                series = read(path)
        except (OSError, ValueError, csv.Error):
            continue
        if series.points:
            stem = path.relative_to(folder).with_suffix("").as_posix().replace("/", ".")
            found[stem if stem not in found else path.relative_to(folder).as_posix()] = series
    return {"metrics": found["metrics"]} if "metrics" in found else found


def _json_lines(path: Path) -> _Series:
    return _from_lines(_text_lines(path), strict=path.name.lower() != "metrics.jsonl")


def _csv(path: Path) -> _Series:
    """Return the series of a metrics.csv as Lightning writes it: a column each, cells may be empty."""
    series = _Series()
    with path.open(encoding="utf-8", errors="replace", newline="") as stream:
        for row in csv.DictReader(stream):
            series.add({key: _parsed(cell) for key, cell in row.items() if isinstance(key, str) and cell})
    return series


def _parsed(cell: Any) -> float | None:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None


def _histories(path: Path) -> _Series:
    """Return the series of a JSON file; of metrics.json only when it holds no plain numbers."""
    found = read_json(path)
    return _Series() if path.name.lower() == "metrics.json" and _values(found) else _history(found)


_READERS = {
    "*.jsonl": _json_lines,
    "*.ndjson": _json_lines,
    "metrics.csv": _csv,
    "metrics.json": _histories,
    "*history*.json": _histories,
    "trainer_state.json": _histories,
}


# ---------------------------------------------------------------- the log


def _text_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text file; of one that is too long the beginning."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        while line := stream.readline(MAX_LINE_CHARS):
            yield line
            while not line.endswith("\n") and (line := stream.readline(MAX_LINE_CHARS)):
                pass


def printed_lines(log: Path) -> Iterator[str]:
    """Yield the lines of standard output that log.jsonl holds, put together from its events."""
    rest = ""
    with log.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            try:
                event = decode_json(line)
            except ValueError:  # the last line of a log that was cut
                continue
            if isinstance(event, dict) and event.get("stream_name") == "stdout" and isinstance(event.get("data"), str):
                *whole, rest = (rest + event["data"]).split("\n")
                yield from whole
                rest = rest[-MAX_LINE_CHARS:]
    if rest:
        yield rest


def _printed(log: Path) -> _Series:
    return _from_lines(printed_lines(log), strict=False)


def _from_lines(lines: Iterable[str], *, strict: bool) -> _Series:
    """Return the series in lines that are JSON objects, or such as Python's print shows a dict of numbers."""
    series = _Series()
    for line in lines:
        text = line.strip()
        if text.startswith("{") and text.endswith("}") and len(text) < MAX_LINE_CHARS:
            series.add(_object(text), strict=strict)
    return series


def _object(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if not text.startswith("{'"):
        return None
    try:
        return ast.literal_eval(re.sub(r"(?<=: )(nan|-?inf)(?=[,}])", "None", text))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
