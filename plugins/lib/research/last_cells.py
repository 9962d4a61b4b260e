"""The last cells of a research notebook: experiment trackers when they were asked for, and the list of files.

The texts are cells, not code of this program: they stand alone, and a test runs them.
"""

from __future__ import annotations

TRACK = {
    "wandb": '''\
def track_with_wandb():
    """Hand the metrics over; without a key they stay on this disk (wandb sync)."""
    need("wandb", "wandb>=0.16")
    import wandb

    mode = "online" if os.environ.get("WANDB_API_KEY") else "offline"
    project = os.environ.get("WANDB_PROJECT") or project_name
    run = wandb.init(project=project, mode=mode, dir=str(results), config=settings)
    for entry in progress["history"]:
        run.log({k: v for k, v in entry.items() if k != "step"}, step=entry["step"])
    run.summary.update(metrics)
    run.finish()
    print(f"wandb: {len(progress['history'])} steps, {mode}")


try:
    track_with_wandb()
except Exception as error:  # a tracker never costs a result; its text could hold a key
    print(f"wandb failed ({type(error).__name__}): the metrics are in metrics.json")
''',
    "mlflow": '''\
def track_with_mlflow():
    """Hand the metrics over; without MLFLOW_TRACKING_URI to a database in the results."""
    need("mlflow", "mlflow>=2.9")
    import mlflow

    if not os.environ.get("MLFLOW_TRACKING_URI"):
        mlflow.set_tracking_uri(f"sqlite:///{(results / 'mlflow.db').resolve()}")
    mlflow.set_experiment(project_name)
    with mlflow.start_run():
        mlflow.log_params(settings)
        for entry in progress["history"]:
            step = entry["step"]
            mlflow.log_metrics(
                {k: v for k, v in entry.items() if k != "step"}, step=step
            )
        mlflow.log_metrics(metrics)
    print(f"mlflow: {len(progress['history'])} steps")


try:
    track_with_mlflow()
except Exception as error:  # a tracker never costs a result; its text could hold a key
    print(f"mlflow failed ({type(error).__name__}): the metrics are in metrics.json")
''',
}

SETTINGS = """\
settings = {"model": model, "engine": engine, "task": task, "target": target}
settings |= {"seed": seed, "epochs": epochs, "source": shown_source}
"""

FILES = """\
for name in written:
    path = results / name
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f"{digest}  {path.stat().st_size:>10}  {path.as_posix()}")
print(f"done in {time.monotonic() - started_s:.1f} s")
"""
