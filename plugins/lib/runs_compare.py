"""Put runs side by side: their metrics with the differences to the first, and what differs in how they were made."""

from __future__ import annotations

import fnmatch
import json
import math
from typing import TYPE_CHECKING, Any

from kagg import bad_input, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugins.lib.runs_found import Run

MAX_RUNS = 50
WIDTH = 32  # characters of a cell


def compare(
    runs: Sequence[Run], *, maximize: Sequence[str] = (), minimize: Sequence[str] = (), only: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the comparison as JSON; the first run is what the others are held against.

    `maximize` and `minimize` name the metrics of which is said what is better; `only` are shell patterns.

    Raises:
        KaggError: USAGE for a metric that no run has.
    """
    found = [run.metrics for run in runs]
    names = sorted({name for metrics in found for name in metrics})
    for name in [*maximize, *minimize]:
        if name not in names:
            raise bad_input(f"no run has a metric {name[:60]!r}", f"there are: {', '.join(names[:20]) or 'none'}")
    if both := set(maximize) & set(minimize):
        raise bad_input(f"{min(both)} is to be maximized and minimized", "give one of the two")
    shown = [name for name in names if not only or any(fnmatch.fnmatchcase(name, pattern) for pattern in only)]
    goal = dict.fromkeys(maximize, 1) | dict.fromkeys(minimize, -1)
    return {
        "version": 1,
        "runs": [_about(run) for run in runs],
        "params": _differing([run.params for run in runs]),
        "metrics": [_row(name, [metrics.get(name) for metrics in found], goal.get(name, 0)) for name in shown],
    }


def _about(run: Run) -> dict[str, Any]:
    source = run.record.get("source_sha256") or run.row["input_sha256"]
    return {
        "id": run.label,
        "target": run.job["spec"].get("ref", "")
        if run.job and isinstance(run.job["spec"], dict)
        else run.row["target"],
        "status": run.status,
        "where": "kaggle" if run.on_kaggle else "local",
        "device": run.device,
        "duration_s": run.duration_s,
        "git_commit": run.commit,
        "source_sha256": source or "",
        "started": run.record.get("started") or run.row["started"],
    }


def _differing(params: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return {name: value of each run} of the parameters that are not the same everywhere; absent is null."""
    names = sorted({name for one in params for name in one})
    rows = {name: [one.get(name) for one in params] for name in names}
    return {
        name: values
        for name, values in rows.items()
        if len({json.dumps(value, sort_keys=True, default=str) for value in values}) > 1
    }


def _row(name: str, values: Sequence[float | None], goal: int) -> dict[str, Any]:
    """Return one metric: values, differences to the first run, and better or worse when somebody said which way."""
    first = values[0]
    differences = [None if first is None or value is None else _finite(value - first) for value in values]
    row: dict[str, Any] = {
        "name": name,
        "values": [_finite(v) for v in values],
        "differences": [None, *differences[1:]],
    }
    row["nan"] = [value is not None and math.isnan(value) for value in values]
    if goal:
        words = {True: "better", False: "worse"}
        row["verdicts"] = [None, *(None if d is None or d == 0 else words[d * goal > 0] for d in differences[1:])]
        known = [(value * goal, number) for number, value in enumerate(values) if value is not None and value == value]  # noqa: PLR0124 - NaN is no best value
        row["best"] = max(known, key=lambda pair: (pair[0], -pair[1]))[1] if known else None
    return row


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


# ---------------------------------------------------------------- for people


def for_people(document: dict[str, Any]) -> str:
    """Return the comparison as tables."""
    runs = document["runs"]
    columns = _columns([run["id"] for run in runs])
    about = [
        _line("status", columns, [run["status"] for run in runs]),
        _line("on", columns, [" ".join((run["where"], run["device"])).strip() for run in runs]),
        _line("duration", columns, ["" if run["duration_s"] is None else f"{run['duration_s']:.1f} s" for run in runs]),
        _line("commit", columns, [run["git_commit"][:12] for run in runs]),
        _line("source", columns, [run["source_sha256"][:12] for run in runs]),
    ]
    about = [line for line in about if any(line[column] for column in columns)]
    params = [_line(name, columns, [_shown(v) for v in values]) for name, values in document["params"].items()]
    metrics = [_line(row["name"], columns, _cells(row)) for row in document["metrics"]]
    parts = [table(about, ("run", *columns))]
    parts.append(_titled("parameters that differ", params, columns) if params else "the parameters are the same")
    parts.append(_titled("metrics", metrics, columns) if metrics else "no metrics were found")
    return "\n\n".join(parts)


def _columns(ids: Sequence[str]) -> list[str]:
    """Return headers that are not twice the same."""
    return [name if ids.index(name) == number else f"{name} ({number + 1})" for number, name in enumerate(ids)]


def _line(name: str, columns: Sequence[str], values: Sequence[str]) -> dict[str, str]:
    return {"run": name, **dict(zip(columns, values, strict=True))}


def _titled(title: str, lines: list[dict[str, str]], columns: Sequence[str]) -> str:
    return table([{**line, title: line["run"]} for line in lines], (title, *columns))


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value, default=str)
    return text if len(text) <= WIDTH else text[: WIDTH - 3] + "..."


def _cells(row: dict[str, Any]) -> list[str]:
    cells = []
    for number, value in enumerate(row["values"]):
        shown = "nan" if row["nan"][number] else "" if value is None else f"{value:.6g}"
        difference = row["differences"][number]
        shown += f" ({difference:+.4g})" if difference is not None else ""
        verdict = (row.get("verdicts") or [None] * len(row["values"]))[number]
        word = "best" if row.get("best") == number else verdict
        cells.append(f"{shown} {word}" if word else shown)
    return cells
