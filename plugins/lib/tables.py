"""Read a table, tell features from target, and hold rows out.

Features are numbers, truth values as 0 and 1, and text; missing ones stay missing. Rows are held out at random with the
shares of the classes kept, or by time: then every held-out row is later than every training row. What is wrong with a
table is a USAGE error that names the column.
"""

from __future__ import annotations

import difflib
import json
import math
from numbers import Number
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import bad_input, need_packages

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy as np

PLUGIN = {
    "api": 1,
    "summary": "tables from files, split for training",
    "requires": {"sklearn": "scikit-learn>=1.5", "pandas": "pandas>=2.2"},
}

PARQUET = {"pyarrow": "pyarrow>=15"}  # pandas reads Parquet with it, and nothing else here needs it
MOST_CLASSES = 20  # whole numbers with more different values than this are a quantity, unless the task is given
EXACT = 2.0**53  # whole numbers beyond this are not exact in float64


class Part(NamedTuple):
    """Rows of a table: the features, a pandas table, and the target, shape (rows,)."""

    features: Any
    target: np.ndarray[Any, Any]


# ---------------------------------------------------------------- files


def read_table(path: Path) -> Any:
    """Read a CSV, Parquet or JSON Lines file with at least one row; column names are different, and text."""
    import pandas as pd

    readers = {".csv": _read_csv, ".parquet": _read_parquet, ".jsonl": _read_lines, ".ndjson": _read_lines}
    reader = readers.get(path.suffix.lower())
    if not path.is_file():
        raise bad_input(f"{path} is not a file")
    if not reader:
        raise bad_input(f"{path} is no table that can be read", f"its name should end with {', '.join(readers)}")
    try:
        frame = reader(path)
    except pd.errors.EmptyDataError:
        frame = pd.DataFrame()
    except (ValueError, TypeError, AttributeError) as error:  # what pandas raises for bad bytes, by format
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise bad_input(f"cannot read {path}: {reason[:200]}") from error
    frame.columns = frame.columns.map(str)
    if frame.empty:
        raise bad_input(f"{path} has no rows")
    if not frame.columns.is_unique:
        raise bad_input(f"{path} has two columns of one name")
    return frame


def _read_csv(path: Path) -> Any:
    import warnings

    import pandas as pd

    with warnings.catch_warnings():  # fields that the header does not name would be cut off, or shift all others
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            return pd.read_csv(path, low_memory=False, index_col=False)
        except pd.errors.ParserWarning as error:
            raise bad_input(f"{path} has rows with more fields than its first line") from error


def _read_parquet(path: Path) -> Any:
    import pandas as pd

    need_packages("a Parquet file", PARQUET)
    return pd.read_parquet(path, engine="pyarrow").reset_index(drop=True)


def _read_lines(path: Path) -> Any:
    import pandas as pd

    rows = []
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                rows.append(_object(line, f"{path} line {number}"))
    return pd.DataFrame(rows)


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise bad_input(f"{where} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise bad_input(f"{where} is not an object", 'write one {"column": value, ...} on each line')
    return found


# ---------------------------------------------------------------- columns


def check_column(frame: Any, name: str) -> None:
    """Refuse a name that is no column, with the nearest that is."""
    if name in frame.columns:
        return
    lowered = {column.lower(): column for column in frame.columns}
    near = difflib.get_close_matches(name.lower(), lowered, 1)
    hint = f"did you mean {lowered[near[0]]!r}?" if near else f"there are: {shown_columns(frame)}"
    raise bad_input(f"there is no column {name[:80]!r}", hint)


def shown_columns(frame: Any) -> str:
    """Return the names of the columns for a message."""
    return ", ".join(frame.columns[:20]) + (", ..." if len(frame.columns) > 20 else "")


def _is_number(column: Any) -> bool:
    return column.dtype.kind in "iuf"


def _check_plain(column: Any) -> None:
    """Refuse times, whose meaning as a number is not ours to choose, and lists and objects."""
    import numpy as np

    hint = "turn it into numbers or text, or drop it"
    if column.dtype.kind in "mM":
        raise bad_input(f"column {column.name!r} holds times", hint)
    if column.dtype.kind == "O":
        odd = next((value for value in column.dropna() if not isinstance(value, str | Number | np.bool_)), None)
        if odd is not None:
            raise bad_input(f"column {column.name!r} holds values of type {type(odd).__name__}", hint)


def take_features(frame: Any, left_out: Iterable[str]) -> Any:
    """Return all other columns: numbers and truth values as float64, everything else as text."""
    names = [name for name in frame.columns if name not in set(left_out)]
    if not names:
        raise bad_input("no column is left to learn from")
    found = frame[names].copy()
    for name in names:
        column = found[name]
        _check_plain(column)
        is_number = _is_number(column) or column.dtype.kind == "b"
        found[name] = column.astype("float64") if is_number else column.astype(object).map(str, na_action="ignore")
    return found


def take_target(frame: Any, name: str, wanted: str) -> tuple[str, np.ndarray[Any, Any]]:
    """Return task and target: float64 for "regression"; int64, bool or text for "classification". `wanted` may be auto.

    Fractions, and whole numbers with more than MOST_CLASSES different values, are a quantity; all else are classes.
    """
    column, rows = frame[name], len(frame)
    _check_plain(column)
    missing = int(column.isna().sum())
    if missing:
        hint = "remove those rows; an empty field, NA, null and None are missing in a CSV file"
        raise bad_input(f"target {name!r} is missing in {missing} of {rows} rows", hint)
    values, is_whole = _values(column)
    distinct = len(set(values.tolist()))
    if distinct == 1:
        raise bad_input(f"target {name!r} is {str(values[0])[:40]!r} in every row", "there is nothing to learn")
    is_quantity = values.dtype.kind == "f" and not (is_whole and distinct <= MOST_CLASSES)
    task = wanted if wanted != "auto" else "regression" if is_quantity else "classification"
    _check_task(values, name, task, is_whole=is_whole)
    if distinct == rows and (task == "classification" or (is_whole and wanted == "auto")):
        hint = "is it a row number? for a quantity ask for a regression" if is_whole else "it names rows, not classes"
        raise bad_input(f"target {name!r} is different in every row", hint)
    return task, values.astype("int64") if task == "classification" and is_whole else values


def _values(column: Any) -> tuple[np.ndarray[Any, Any], bool]:
    """Return the target as float64, bool or text, and whether it is whole numbers."""
    import numpy as np

    if column.dtype.kind == "b":
        return column.to_numpy(dtype=bool), False
    if not _is_number(column):
        return column.astype(object).map(str).to_numpy(dtype=object), False
    values = column.to_numpy(dtype="float64")
    infinite = int((~np.isfinite(values)).sum())
    if infinite:
        raise bad_input(f"target {column.name!r} is infinite in {infinite} of {len(values)} rows")
    return values, bool((values % 1 == 0).all() and (abs(values) <= EXACT).all())


def _check_task(values: np.ndarray[Any, Any], name: str, task: str, *, is_whole: bool) -> None:
    if task == "regression" and values.dtype.kind != "f":
        raise bad_input(f"target {name!r} holds no numbers", "a regression needs numbers")
    if task == "classification" and values.dtype.kind == "f" and not is_whole:
        raise bad_input(f"target {name!r} holds fractions", "a classification needs labels or whole numbers")


# ---------------------------------------------------------------- training rows, held-out rows


def split(whole: Part, task: str, share: float, *, seed: int = 0, times: Any = None) -> tuple[Part, Part]:
    """Return the rows to train on and a `share` of the rows held out, both in the order of the file.

    `times` is a column: the latest rows are held out, and with them those at the same time as the first of them.
    """
    import numpy as np

    rows = len(whole.target)
    count = math.ceil(share * rows)
    if min(count, rows - count) < 2:
        said = f"{rows} rows make {rows - count} to train on and {count} to test on, and each needs 2"
        raise bad_input(said, "choose another share or find more rows")
    is_held_out = np.zeros(rows, dtype=bool)
    is_held_out[_drawn(whole.target, count, task, seed) if times is None else _latest(times, count)] = True
    training, held_out = (Part(whole.features[chosen], whole.target[chosen]) for chosen in (~is_held_out, is_held_out))
    if task == "classification":
        _check_classes(training.target, held_out.target)
    return training, held_out


def _drawn(target: np.ndarray[Any, Any], count: int, task: str, seed: int) -> Any:
    """Draw `count` rows, of each class in proportion."""
    import numpy as np
    from sklearn.model_selection import train_test_split

    rows = len(target)
    if task == "regression":
        return train_test_split(np.arange(rows), test_size=count, random_state=seed)[1]
    labels, sizes = np.unique(target, return_counts=True)
    if sizes.min() < 2:
        label = str(labels[sizes.argmin()])[:40]
        raise bad_input(f"class {label!r} has 1 row of {rows}", "each class needs 2 or more: remove it or join it")
    if min(count, rows - count) < len(labels):
        said = f"{rows} rows make {rows - count} to train on and {count} to test on, too few for {len(labels)} classes"
        raise bad_input(said, "choose another share or find more rows")
    return train_test_split(np.arange(rows), test_size=count, random_state=seed, stratify=target)[1]


def _latest(column: Any, count: int) -> np.ndarray[Any, Any]:
    """Choose the latest `count` rows, and those at the same time as the first of them."""
    import numpy as np
    import pandas as pd

    hint = "it should hold numbers or ISO 8601 times"
    missing = int(column.isna().sum())
    if missing:
        raise bad_input(f"time column {column.name!r} is missing in {missing} of {len(column)} rows")
    try:
        times = (
            column if _is_number(column) else pd.to_datetime(column, format="ISO8601", utc=True).dt.tz_localize(None)
        )
    except (ValueError, TypeError) as error:
        raise bad_input(f"time column {column.name!r} holds what is no time", hint) from error
    values = times.to_numpy()
    first = np.sort(values)[-count]
    chosen: np.ndarray[Any, Any] = values >= first
    if len(column) - int(chosen.sum()) < 2:
        raise bad_input(f"time column {column.name!r} has too few rows before {first}", "choose another share")
    return chosen


def _check_classes(training: np.ndarray[Any, Any], held_out: np.ndarray[Any, Any]) -> None:
    known, asked = set(training.tolist()), set(held_out.tolist())
    hint = "choose another share"
    if asked - known:
        raise bad_input(f"class {str(min(asked - known))[:40]!r} is only among the held-out rows", hint)
    if len(known) == 1:
        raise bad_input(f"the rows to train on are all of class {str(min(known))[:40]!r}", hint)
    if len(known) == 2 and len(asked) == 1:
        raise bad_input(f"the held-out rows are all of class {str(min(asked))[:40]!r}", hint)
