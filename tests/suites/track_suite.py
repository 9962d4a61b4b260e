"""What every tracker must hold: functions that take a Peer and raise AssertionError.

A room is tried the way kagg uses it, in a process of its own: `Peer.name` is its name, `Peer.read()` what its store
holds: a list of Stored, one for each run. REFERENCE and BROKEN are the source of rooms that write JSON Lines.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import NamedTuple

from plugins.lib import tracking

RUN = {
    "id": "train-20261120-1130-7f3abc",
    "name": "train-20261120-1130-7f3abc",
    "params": {"lr": 0.1, "layers": [8, 4], "note": "größe"},
    "git_commit": "4f1c2aa" * 5,
    "source_sha256": "ab" * 32,
    "device": "NvidiaTeslaT4",
    "status": "complete",
    "started": "2026-11-20T11:30:00+00:00",
    "ended": "2026-11-20T11:40:00+00:00",
    "url": "https://www.kaggle.com/code/me/train-20261120-1130-7f3abc",
}


class Stored(NamedTuple):
    """What a store holds of one run: status done, failed or stopped; for each metric its (step, value) pairs."""

    status: str
    params: dict[str, str]
    metrics: dict[str, list[tuple[int, float]]]


class Peer:
    """The rooms in this file: JSON Lines in KAGG_HOME/lines."""

    name = "lines"

    def __init__(self, ctx, source):
        self.ctx = ctx
        folder = Path(ctx.home).parent / "rooms" / "track"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "lines.py").write_text(source)
        ctx.env = {**ctx.env, "KAGG_PLUGINS": str(folder.parent), "KAGG_NO_PLUGINS": ""}

    def track(self, run=RUN, summary=None, series=()):
        return tracking.track(self.ctx, [self.name], run, summary or {}, list(series))

    def read(self):
        found = []
        for path in sorted((Path(self.ctx.home) / "lines").glob("*.jsonl")):
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            metrics = {}
            for line in lines:
                for name, value in line.get("metrics", {}).items():
                    metrics.setdefault(name, []).append((line["step"], value))
            params = {name: str(value) for name, value in lines[0]["params"].items()}
            found.append(Stored(lines[-1].get("status", ""), params, metrics))
        return found


def one(peer):
    runs = peer.read()
    assert len(runs) == 1
    return runs[0]


def a_run_is_stored_with_its_parameters_steps_and_end(peer):
    assert peer.track(series=[(0, {"loss": 1.0}), (1, {"loss": 0.5, "acc": 0.25}), (2, {"loss": 0.25})]) == []
    stored = one(peer)
    assert stored.status == "done"
    assert stored.params["lr"] == "0.1"
    assert stored.params["note"] == "größe"
    assert stored.metrics == {"loss": [(0, 1.0), (1, 0.5), (2, 0.25)], "acc": [(1, 0.25)]}


def what_the_summary_adds_is_stored_at_the_last_step(peer):
    assert peer.track(summary={"best": 0.75, "loss": 0.5}, series=[(3, {"loss": 0.5})]) == []
    assert one(peer).metrics == {"loss": [(3, 0.5)], "best": [(3, 0.75)]}


def a_run_without_metrics_or_parameters_is_stored(peer):
    assert peer.track({"id": "bare-1", "status": "error"}) == []
    assert one(peer)._replace(params={}) == Stored("failed", {}, {})


def a_run_that_was_stopped_did_not_succeed(peer):
    assert peer.track({**RUN, "status": "killed"}, {"loss": 1.0}) == []
    assert one(peer).status in ("stopped", "failed")


def a_second_call_adds_nothing(peer):
    for _ in range(2):
        assert peer.track(summary={"best": 2.0}, series=[(0, {"loss": 1.0}), (1, {"loss": 0.5})]) == []
    assert one(peer).metrics == {"loss": [(0, 1.0), (1, 0.5)], "best": [(1, 2.0)]}


def another_run_is_another_run(peer):
    for name in ("one", "two"):
        assert peer.track({**RUN, "id": name}, {"loss": 1.0}) == []
    assert len(peer.read()) == 2


def numbers_that_are_none_do_not_hinder_the_others(peer):
    odd = {"nan": math.nan, "inf": math.inf, "good": 1.5}
    assert peer.track(series=[(0, odd), (1, {"good": 2.5})]) == []
    assert one(peer).metrics["good"] == [(0, 1.5), (1, 2.5)]


CHECKS = [
    a_run_is_stored_with_its_parameters_steps_and_end,
    what_the_summary_adds_is_stored_at_the_last_step,
    a_run_without_metrics_or_parameters_is_stored,
    a_run_that_was_stopped_did_not_succeed,
    a_second_call_adds_nothing,
    another_run_is_another_run,
    numbers_that_are_none_do_not_hinder_the_others,
]

REFERENCE = """
import json
PLUGIN = {"api": 1, "summary": "JSON Lines", "requires": {}}
lines, place = [], None

def start(run, ctx):
    global place
    place = ctx.home / "lines" / (run["id"] + ".jsonl")
    place.parent.mkdir(parents=True, exist_ok=True)
    lines.append({"params": run.get("params") or {}})

def log(step, metrics):
    lines.append({"step": step, "metrics": metrics})

def finish(status):
    lines.append({"status": status})
    place.write_text("".join(json.dumps(line) + "\\n" for line in lines))
"""

BROKEN = {
    "forgets steps": ('{"step": step,', '{"step": 0,', a_run_is_stored_with_its_parameters_steps_and_end),
    "forgets params": (
        'run.get("params") or {}}',
        'dict.fromkeys(run.get("params") or {}, 0)}',
        a_run_is_stored_with_its_parameters_steps_and_end,
    ),
    "keeps one metric": (
        '"metrics": metrics}',
        '"metrics": dict(list(metrics.items())[:1])}',
        a_run_is_stored_with_its_parameters_steps_and_end,
    ),
    "wants one step": ('    lines.append({"step"', '    lines[1:] = []; lines.append({"step"',
                       what_the_summary_adds_is_stored_at_the_last_step),
    "wants params": ('run.get("params") or {}', 'run["params"]', a_run_without_metrics_or_parameters_is_stored),
    "always done": ('{"status": status}', '{"status": "done"}', a_run_that_was_stopped_did_not_succeed),
    "appends": ("place.write_text(", 'place.open("a").write(', a_second_call_adds_nothing),
    "has one run": ('(run["id"] + ".jsonl")', '"run.jsonl"', another_run_is_another_run),
    "wants numbers": ("json.dumps(line)", "json.dumps(line, allow_nan=False)",
                      numbers_that_are_none_do_not_hinder_the_others),
}  # fmt: skip
