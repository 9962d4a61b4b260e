"""Train gradient-boosted trees on a table, and measure them on rows that they have not seen.

    python kagg.py train tabular titanic.csv --tabular-target Survived

Layout of the result, each file written whole, metrics.json last (without it the training did not finish):

    model.joblib   a scikit-learn pipeline: takes a table with the columns of card.json, needs no file of kagg
    card.json      columns and types, target, task, seed, SHA-256 of the data, versions, commit
    metrics.json   what `train` returns, the folder excepted

Nothing of the held-out rows reaches the model: codes of text columns, empty columns and the early stop, which
scikit-learn uses above 10,000 rows, are decided on the training rows alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kagg import VERSION, bad_input, file_sha256, write_atomic
from plugins.lib.tables import Part, check_column, read_table, shown_columns, split, take_features, take_target

if TYPE_CHECKING:
    import argparse

    from kagg import Context

PLUGIN = {
    "api": 1,
    "summary": "gradient-boosted trees on a CSV, Parquet or JSON Lines file",
    "requires": {"sklearn": "scikit-learn>=1.5", "pandas": "pandas>=2.2"},
}

MOST_CODES = 255  # bins of HistGradientBoosting, and so of a text column; the rarest values share the last code
GIT_TIMEOUT_S = 5.0


@dataclasses.dataclass(frozen=True)
class Wish:
    """What was asked for; the defaults of every option."""

    target: str = ""  # a column
    task: str = "auto"  # auto, classification, regression
    test_share: float = 0.2  # part of the rows, above 0 and below 1
    seed: int = 0  # 0 to 2**32 - 1
    threads: int = 1  # 1 or more; sums of several threads are added in any order
    dest: Path | None = None  # folder, absent or empty
    drop: tuple[str, ...] = ()  # columns
    time_column: str = ""  # a column of numbers or ISO 8601 times


def add_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the --tabular-* options."""
    group.add_argument("--tabular-target", default=Wish.target, metavar="COLUMN", help="the column to predict")
    tasks = ("auto", "classification", "regression")
    group.add_argument("--tabular-task", default=Wish.task, choices=tasks, help="default: what the target looks like")
    share = "part of the rows that is held out, 0 to 1 (default: %(default)s)"
    group.add_argument("--tabular-test-share", default=Wish.test_share, type=float, metavar="SHARE", help=share)
    group.add_argument("--tabular-seed", default=Wish.seed, type=int, metavar="N", help="default: %(default)s")
    threads = "more are faster, but then two runs may differ (default: %(default)s)"
    group.add_argument("--tabular-threads", default=Wish.threads, type=int, metavar="N", help=threads)
    dest = "folder of the result (default: kaggle_results/train-NAME-RUN)"
    group.add_argument("--tabular-dest", type=Path, metavar="DIR", help=dest)
    drop = "columns to leave out"
    group.add_argument("--tabular-drop", default=[], nargs="+", action="extend", metavar="COLUMN", help=drop)
    time = "hold out the latest rows by this column, which is no feature then"
    group.add_argument("--tabular-time-column", default=Wish.time_column, metavar="COLUMN", help=time)


def train(data: str, args: argparse.Namespace, ctx: Context) -> dict[str, Any]:
    """Train on the file `data`, write model, card and metrics, and return the metrics.

    Raises:
        KaggError: USAGE when the options or the data are unfit; nothing is written then.
    """
    started_s = ctx.monotonic()
    wish = _wish(args)
    path, dest = Path(data), _dest(wish, Path(data), ctx)
    frame = read_table(path)
    _check_names(frame, wish)
    task, target = take_target(frame, wish.target, wish.task)
    features = take_features(frame, {wish.target, wish.time_column, *wish.drop})
    times = frame[wish.time_column] if wish.time_column else None
    training, held_out = split(Part(features, target), task, wish.test_share, seed=wish.seed, times=times)
    ctx.progress({"training": task, "rows": len(training.target), "columns": features.shape[1]})
    pipeline = _fitted(training, task, wish)
    content = _dumped(pipeline)
    metrics = {
        "task": task,
        **_scores(pipeline, training, held_out, task),
        "rows": len(frame),
        "train_rows": len(training.target),
        "test_rows": len(held_out.target),
        "columns": int(features.shape[1]),
        "model_sha256": hashlib.sha256(content).hexdigest(),
        "seconds": round(ctx.monotonic() - started_s, 3),
    }
    card = _origin(path, len(frame), wish, ctx) | _contents(frame, features, pipeline) | {"version": 1, "task": task}
    write_atomic(dest / "model.joblib", content)
    write_atomic(dest / "card.json", _json(card))
    write_atomic(dest / "metrics.json", _json({"version": 1, **metrics}))
    return {**metrics, "dest": str(dest)}


# ---------------------------------------------------------------- options


def _wish(args: argparse.Namespace) -> Wish:
    values = {field.name: getattr(args, f"tabular_{field.name}") for field in dataclasses.fields(Wish)}
    wish = Wish(**{**values, "drop": tuple(values["drop"])})
    if not 0 < wish.test_share < 1:
        raise bad_input(f"--tabular-test-share {wish.test_share} is not between 0 and 1")
    if not 0 <= wish.seed < 2**32:
        raise bad_input(f"--tabular-seed {wish.seed} is not between 0 and {2**32 - 1}")
    if wish.threads < 1:
        raise bad_input(f"--tabular-threads {wish.threads} is below 1")
    if wish.target in wish.drop or (wish.target and wish.target == wish.time_column):
        raise bad_input(f"{wish.target!r} is the target, and cannot be dropped or be the time")
    return wish


def _dest(wish: Wish, data: Path, ctx: Context) -> Path:
    """Return the folder of the result, which is absent or empty."""
    name = re.sub(r"[^\w-]+", "-", data.stem)[:60]
    run = f"{ctx.now():%Y%m%dT%H%M%S}-{ctx.random.randrange(16**6):06x}"
    dest = wish.dest or Path("kaggle_results") / f"train-{name}-{run}"
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise bad_input(f"{dest} is not an empty folder", "name another with --tabular-dest")
    return dest


def _check_names(frame: Any, wish: Wish) -> None:
    if not wish.target:
        raise bad_input("train tabular needs --tabular-target COLUMN", f"there are: {shown_columns(frame)}")
    for name in (wish.target, *wish.drop, *filter(None, [wish.time_column])):
        check_column(frame, name)


# ---------------------------------------------------------------- the model


def _fitted(training: Part, task: str, wish: Wish) -> Any:
    """Fit the pipeline; columns that are empty in the training rows are left out."""
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

    table = training.features.loc[:, training.features.notna().any()]
    if table.shape[1] == 0:
        raise bad_input("every column is empty in the rows to train on")
    numbers = [name for name in table.columns if table[name].dtype.kind == "f"]
    texts = [name for name in table.columns if name not in numbers]
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, max_categories=MOST_CODES)
    columns = ColumnTransformer([("text", codes, texts), ("numbers", "passthrough", numbers)])
    kind = HistGradientBoostingClassifier if task == "classification" else HistGradientBoostingRegressor
    # A negative code is a missing value to these trees, and that is what a text never seen in training becomes.
    trees = kind(categorical_features=list(range(len(texts))) or None, random_state=wish.seed)
    pipeline = Pipeline([("columns", columns), ("trees", trees)])
    with threadpool_limits(limits=wish.threads, user_api="openmp"):
        return pipeline.fit(training.features, training.target)


def _dumped(pipeline: Any) -> bytes:
    import joblib  # type: ignore[import-untyped]  # it ships no types

    stream = io.BytesIO()
    joblib.dump(pipeline, stream)
    return stream.getvalue()


def _scores(pipeline: Any, training: Part, held_out: Part, task: str) -> dict[str, float]:
    """Measure the model on the held-out rows, and beside it a baseline that knows only the target's distribution."""
    from sklearn.dummy import DummyClassifier, DummyRegressor

    dummy = DummyClassifier(strategy="prior") if task == "classification" else DummyRegressor(strategy="mean")
    dummy.fit(training.features, training.target)
    score = _class_scores if task == "classification" else _number_scores
    baseline = {f"baseline_{name}": value for name, value in score(dummy, held_out).items()}
    return score(pipeline, held_out) | baseline


def _class_scores(model: Any, part: Part) -> dict[str, float]:
    """Of two classes the second in order is the positive one of roc_auc."""
    from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

    shares = model.predict_proba(part.features)  # (rows, classes)
    found = {
        "accuracy": float(accuracy_score(part.target, model.classes_[shares.argmax(axis=1)])),
        "log_loss": float(log_loss(part.target, shares, labels=model.classes_)),
    }
    if len(model.classes_) == 2:
        found["roc_auc"] = float(roc_auc_score(part.target, shares[:, 1]))
    return found


def _number_scores(model: Any, part: Part) -> dict[str, float]:
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    guess = model.predict(part.features)  # (rows,)
    return {
        "rmse": float(root_mean_squared_error(part.target, guess)),
        "mae": float(mean_absolute_error(part.target, guess)),
        "r2": float(r2_score(part.target, guess)),
    }


# ---------------------------------------------------------------- the card


def _origin(path: Path, rows: int, wish: Wish, ctx: Context) -> dict[str, Any]:
    """Say what the model was made from."""
    asked = {name: value for name, value in dataclasses.asdict(wish).items() if name not in ("dest", "task")}
    names = ("scikit-learn", "pandas", "numpy", "joblib")
    return {
        **asked,
        "created": ctx.now().isoformat(timespec="seconds"),
        "data": {"name": path.name, "sha256": file_sha256(path), "rows": rows},
        "versions": {"python": platform.python_version(), "kagg": VERSION, **{name: version(name) for name in names}},
        "commit": _commit(ctx.root),
    }


def _contents(frame: Any, features: Any, pipeline: Any) -> dict[str, Any]:
    """Say what the model takes and holds."""
    trees = pipeline.named_steps["trees"]
    (_, _, texts), (_, _, numbers) = pipeline.named_steps["columns"].transformers
    return {
        "columns": {name: str(frame[name].dtype) for name in features.columns},
        "text_columns": texts,
        "empty_columns": [name for name in features.columns if name not in {*texts, *numbers}],
        "classes": trees.classes_.tolist() if hasattr(trees, "classes_") else [],
        "model": {"kind": type(trees).__name__, "parameters": trees.get_params()},
    }


def _commit(folder: Path) -> str | None:
    """Return the commit of the code that trained, with "-dirty" when it was changed; None when there is none."""
    command = ["git", "--no-optional-locks", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(
            [*command, "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):  # no git, or one that hangs
        return None
    return done.stdout.strip() or None


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
