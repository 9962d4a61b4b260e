"""Track in MLflow: a database in KAGG_HOME/mlruns, or the server or store that MLFLOW_TRACKING_URI names.

One run of MLflow for each run id, found again by the tag kagg.run_id; what it has already is not logged twice.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from kagg import Context, Exit, KaggError, hashed, keep_secret, locked, need_packages, setting

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PLUGIN = {"api": 1, "summary": "MLflow", "requires": {"mlflow": "mlflow-skinny>=3.1"}}

DATABASE_PACKAGES = {"alembic": "alembic>=1.10", "sqlalchemy": "SQLAlchemy>=2.0"}
DATABASES = r"(sqlite|mysql|mssql|postgresql)(\+\w+)?:"
EXPERIMENT = "kagg"
# Limits of mlflow.utils.validation (3.17): of names, of values of parameters and tags, and of one batch.
NAME_CHARS, PARAM_CHARS, TAG_CHARS = 250, 6000, 5000
BATCH_METRICS, BATCH_PARAMS = 1000, 100
ENDS = {"done": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
SETTINGS = {  # of the SDK, unless the user set them: nothing is sent elsewhere, and no server is waited for too long
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
CREDENTIALS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "DATABRICKS_TOKEN")


def _uri(ctx: Context) -> str:
    return setting(ctx, "MLFLOW_TRACKING_URI", "track.mlflow.uri") or f"sqlite:///{_folder(ctx) / 'mlflow.db'}"


def _folder(ctx: Context) -> Path:
    """Return the folder of the store that is ours."""
    return ctx.home.resolve() / "mlruns"


def check(ctx: Context) -> None:
    """Refuse a store whose packages are absent.

    Raises:
        KaggError: MISSING; CONFIG for a URI that is none.
    """
    uri = _uri(ctx)
    for name in CREDENTIALS:
        keep_secret(ctx.env.get(name, ""))
    if found := re.match(r"\w+(?:\+\w+)?://[^/@:]*:([^/@]+)@", uri):
        keep_secret(found[1])
    if any(not character.isprintable() for character in uri):
        raise KaggError("MLFLOW_TRACKING_URI has a line break or control character in it", code=Exit.CONFIG)
    if re.match(DATABASES, uri):
        need_packages("track mlflow", DATABASE_PACKAGES)


def start(run: Mapping[str, Any], ctx: Context) -> Tracked:
    """Open the run of MLflow that belongs to this run, the one that exists already or a new one.

    Raises:
        KaggError: CONFIG as `check`, SERVICE with what MLflow says.
    """
    check(ctx)
    uri = _uri(ctx)
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if not re.match(r"\w{2,}(\+\w+)?:", uri) or uri.startswith("file:"):
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # the user named a folder; new versions ask for this
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    _folder(ctx).mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with locked(_folder(ctx) / "mlflow.db"):  # two processes that make the same tables, or the same run
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            found = _find_or_make(client, _experiment(client, ctx), run)
        return Tracked(client, *found, run)
    except MlflowException as error:
        raise KaggError(f"MLflow: {error.message}", code=Exit.SERVICE) from error


def _experiment(client: Any, ctx: Context) -> str:
    """Return the id of the experiment, which is made when it is not there; another process may be faster."""
    from mlflow.exceptions import MlflowException

    name = setting(ctx, "MLFLOW_EXPERIMENT_NAME", "track.mlflow.experiment", EXPERIMENT)
    own = not setting(ctx, "MLFLOW_TRACKING_URI", "track.mlflow.uri")
    found = client.get_experiment_by_name(name)
    if found is None:
        place = (_folder(ctx) / "artifacts" / hashed(name)).as_uri() if own else None
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        hint = "restore it, or name another one in MLFLOW_EXPERIMENT_NAME"
        raise KaggError(f"the MLflow experiment {name!r} is deleted", code=Exit.CONFIG, hint=hint)
    return str(found.experiment_id)


def _find_or_make(client: Any, experiment: str, run: Mapping[str, Any]) -> tuple[str, bool]:
    """Return MLflow's id of this run, and whether it was there before."""
    known = re.sub(r"[^\w.-]", "_", str(run["id"]))
    tags = {"kagg.run_id": known, **_tags(run)}
    found = client.search_runs([experiment], filter_string=f"tags.`kagg.run_id` = '{known}'", max_results=1)
    if found:
        for name, value in tags.items():
            client.set_tag(found[0].info.run_id, name, value)
        return str(found[0].info.run_id), True
    title = str(run.get("name") or known)[:NAME_CHARS]
    made = client.create_run(experiment, start_time=_milliseconds(run.get("started")), tags=tags, run_name=title)
    return str(made.info.run_id), False


def _tags(run: Mapping[str, Any]) -> dict[str, str]:
    names = {"git_commit": "mlflow.source.git.commit", "status": "kagg.status", "device": "kagg.device"}
    names |= {"source_sha256": "kagg.source_sha256", "url": "kagg.url"}
    return {tag: str(run[name])[:TAG_CHARS] for name, tag in names.items() if run.get(name)}


def _milliseconds(moment: Any) -> int | None:
    """Return an ISO 8601 time as MLflow counts it, None for what is none."""
    from datetime import datetime

    try:
        return round(datetime.fromisoformat(str(moment)).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        return None


class Names:
    """Names as MLflow takes them: letters, digits, _ - . blank and /, no path that leads elsewhere, each one once."""

    def __init__(self) -> None:
        self.taken: dict[str, str] = {}

    def of(self, name: str) -> str:
        """Return MLflow's name for `name`; two names that would become one get a hash at their end."""
        parts = [part for part in re.sub(r"[^/\w.\- ]", "_", name).split("/") if part not in ("", ".", "..")]
        fit = "/".join(parts) or "_"
        if len(fit) > NAME_CHARS or self.taken.setdefault(fit, name) != name:
            fit = f"{fit[: NAME_CHARS - 9]}_{hashed(name)[:8]}"
            self.taken[fit] = name
        return fit


class Tracked:
    """One run of MLflow: metrics are collected and sent in batches."""

    def __init__(self, client: Any, run_id: str, existed: bool, run: Mapping[str, Any]) -> None:  # noqa: FBT001 - from a pair
        self.client, self.run_id, self.existed = client, run_id, existed
        self.names, self.waiting, self.seen = Names(), list[Any](), dict[str, set[tuple[int, str]]]()
        self.end = _milliseconds(run.get("ended"))
        self.time = _milliseconds(run.get("started")) or 0
        self._params(run.get("params") or {})

    def _params(self, params: Mapping[str, Any]) -> None:
        """Log the parameters; one that is there is not changed."""
        from mlflow.entities import Param

        names = Names()
        texts = {names.of(name): _text(value)[:PARAM_CHARS] for name, value in params.items()}
        there = self.client.get_run(self.run_id).data.params if self.existed else {}
        fresh = [Param(name, text) for name, text in texts.items() if name not in there]
        for first in range(0, len(fresh), BATCH_PARAMS):
            self.client.log_batch(self.run_id, params=fresh[first : first + BATCH_PARAMS])

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take the metrics of one step; one millisecond lies between two calls, so that the later is the latest."""
        from mlflow.entities import Metric

        self.time += 1
        for name, value in metrics.items():
            fit = self.names.of(name)
            if (step, repr(_stored(value))) not in self._history(fit):
                self.waiting.append(Metric(fit, float(value), self.time, step))
        if len(self.waiting) >= BATCH_METRICS:
            self._send()

    def _history(self, name: str) -> set[tuple[int, str]]:
        """Return what an earlier process logged of a metric."""
        if self.existed and name not in self.seen:
            there = self.client.get_metric_history(self.run_id, name)
            self.seen[name] = {(one.step, repr(_stored(one.value))) for one in there}
        return self.seen.get(name, set())

    def _send(self) -> None:
        for first in range(0, len(self.waiting), BATCH_METRICS):
            self.client.log_batch(self.run_id, metrics=self.waiting[first : first + BATCH_METRICS])
        self.waiting.clear()

    def finish(self, status: str) -> None:
        """Send what is left and end the run."""
        try:
            self._send()
        finally:
            self.client.set_terminated(self.run_id, ENDS.get(status, "FAILED"), self.end)


def _stored(value: float) -> float:
    """Return a value as databases give it back: the greatest float for infinity."""
    import sys

    return max(-sys.float_info.max, min(sys.float_info.max, float(value))) if value == value else float(value)  # noqa: PLR0124 - not nan


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
