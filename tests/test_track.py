"""Trackers keep a run in their real stores and hold the suite's contract; none of them changes how a run ends."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from suites import track_suite

from kagg import Exit, KaggError
from plugins.lib import tracking
from plugins.track import mlflow as mlflow_room
from plugins.track import wandb as wandb_room

KEY = "b7" * 20

READ_MLFLOW = """
import json, sys
from mlflow.tracking import MlflowClient
client = MlflowClient(tracking_uri=sys.argv[1], registry_uri=sys.argv[1])
found = []
for experiment in client.search_experiments():
    for run in client.search_runs([experiment.experiment_id]):
        metrics = {name: [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)]
                   for name in run.data.metrics}
        found.append({"status": run.info.status, "params": run.data.params, "metrics": metrics, "tags": run.data.tags,
                      "latest": run.data.metrics, "name": run.info.run_name, "experiment": experiment.name,
                      "times": [run.info.start_time, run.info.end_time]})
print(json.dumps(found))
"""

# A log of LevelDB's kind: after a header of 7 bytes, blocks of 32 KiB with records of checksum, length, type.
READ_WANDB = """
import json, struct, sys
from pathlib import Path
from wandb.proto import wandb_internal_pb2
found = []
for path in sorted(Path(sys.argv[1]).glob("wandb/offline-run-*/run-*.wandb")):
    content, at, whole = path.read_bytes(), 7, b""
    run = {"status": "", "params": {}, "metrics": {}, "id": "", "kinds": []}
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, size, kind = struct.unpack("<IHB", content[at:at + 7])
        if kind == 0:
            break
        whole += content[at + 7:at + 7 + size]
        at += 7 + size
        if kind not in (1, 4):
            continue
        record, whole = wandb_internal_pb2.Record.FromString(whole), b""
        run["kinds"].append(record.WhichOneof("record_type"))
        if record.HasField("run") and record.run.run_id:
            run["id"], run["project"] = record.run.run_id, record.run.project
            for item in record.run.config.update:
                run["params"][item.key] = json.loads(item.value_json)
        if record.HasField("history"):
            row = {(item.key or ".".join(item.nested_key)): json.loads(item.value_json) for item in record.history.item}
            for name, value in row.items():
                if not name.startswith("_"):
                    step = record.history.step.num if record.history.HasField("step") else row["_step"]
                    run["metrics"].setdefault(name, []).append((step, value))
        if record.HasField("exit"):
            run["status"] = record.exit.exit_code
    found.append(run)
print(json.dumps(found))
"""


def ask(program, *words):
    """Run a program that reads a store with the tracker's own code."""
    command = [sys.executable, "-c", program, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def set_env(ctx, **more):
    ctx.env = {**ctx.env, **more}


class MlflowPeer(track_suite.Peer):
    name = "mlflow"

    tables = []  # a database with nothing but MLflow's tables, which take seconds to make

    def __init__(self, ctx):
        self.ctx, place = ctx, ctx.home / "mlruns" / "mlflow.db"
        place.parent.mkdir(parents=True, exist_ok=True)
        if self.tables:
            place.write_bytes(self.tables[0])

    def rows(self):
        return ask(READ_MLFLOW, f"sqlite:///{self.ctx.home}/mlruns/mlflow.db")

    def read(self):
        """Read the database itself: loading MLflow takes seconds, and one test that does is enough."""
        ends = {"FINISHED": "done", "FAILED": "failed", "KILLED": "stopped"}
        found = []
        with contextlib.closing(sqlite3.connect(self.ctx.home / "mlruns" / "mlflow.db")) as base:
            for run_id, status in base.execute("select run_uuid, status from runs").fetchall():
                params = dict(base.execute("select key, value from params where run_uuid = ?", [run_id]))
                metrics = {}
                order = "select key, step, value from metrics where run_uuid = ? order by step, timestamp"
                for name, step, value in base.execute(order, [run_id]):
                    metrics.setdefault(name, []).append((step, value))
                found.append(track_suite.Stored(ends[status], params, metrics))
        return found


class WandbPeer(track_suite.Peer):
    name = "wandb"

    def __init__(self, ctx):
        self.ctx = ctx

    def rows(self):
        return ask(READ_WANDB, self.ctx.home)

    def read(self):
        return [
            track_suite.Stored(
                "done" if row["status"] == 0 else "failed",
                {name: str(value) for name, value in row["params"].items() if name not in ("kagg", "_wandb")},
                {name: [tuple(pair) for pair in pairs] for name, pairs in row["metrics"].items()},
            )
            for row in self.rows()
        ]


@pytest.fixture
def patient(ctx):
    """A context that allows a busy machine more than the default."""
    set_env(ctx, KAGG_TRACK_TIMEOUT="150s")
    return ctx


@pytest.fixture(scope="module", autouse=True)
def _tables(tmp_path_factory):
    place = tmp_path_factory.mktemp("tables") / "mlflow.db"
    ask(READ_MLFLOW, f"sqlite:///{place}")
    MlflowPeer.tables[:] = [place.read_bytes()]


# --- the suite -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", track_suite.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("peer", [MlflowPeer, WandbPeer])
def test_a_built_in_tracker_holds_the_contract(check, peer, patient):
    check(peer(patient))


@pytest.mark.parametrize("check", track_suite.CHECKS, ids=lambda check: check.__name__)
def test_the_reference_holds_the_contract(check, patient):
    check(track_suite.Peer(patient, track_suite.REFERENCE))


@pytest.mark.parametrize("name", track_suite.BROKEN)
def test_the_suite_finds_a_broken_tracker(name, patient):
    old, new, check = track_suite.BROKEN[name]
    assert old in track_suite.REFERENCE
    with pytest.raises((AssertionError, LookupError)):
        check(track_suite.Peer(patient, track_suite.REFERENCE.replace(old, new)))


# --- mlflow ----------------------------------------------------------------------------------------------------------


def test_mlflow_knows_where_a_run_came_from(patient, web):
    set_env(patient, HTTPS_PROXY=web.url, HTTP_PROXY=web.url, MLFLOW_EXPERIMENT_NAME="digits")
    peer = MlflowPeer(patient)
    params = {"a b/../c@d": 1, "a b/../c#d": 2, "long": "x" * 9000, "n" * 300: 1, "": 0}
    series = [(step, {f"m{number}": float(step) for number in range(30)}) for step in range(50)]
    assert peer.track({**track_suite.RUN, "params": params}, {"val@1": 3.0}, [*series, (7, {"again": 1.0})]) == []
    (row,) = peer.rows()
    assert row["experiment"] == "digits"
    assert row["name"] == track_suite.RUN["id"]
    assert row["times"] == [1795174200000, 1795174800000]
    assert row["tags"]["mlflow.source.git.commit"] == track_suite.RUN["git_commit"]
    assert row["tags"]["kagg.run_id"] == track_suite.RUN["id"]
    assert row["params"]["a b/c_d"] == "1"
    assert len(row["params"]) == 5
    assert len(row["params"]["long"]) == mlflow_room.PARAM_CHARS
    assert {len(pairs) for name, pairs in row["metrics"].items() if name.startswith("m")} == {50}
    assert row["latest"]["m3"] == 49.0
    assert row["metrics"]["val_1"] == [[49, 3.0]]
    assert web.requests == []


def test_mlflow_writes_into_the_folder_that_the_user_names(patient, tmp_path):
    set_env(patient, MLFLOW_TRACKING_URI=str(tmp_path / "mine"))
    assert tracking.track(patient, ["mlflow"], track_suite.RUN, {"loss": 1.0}, []) == []
    assert list((tmp_path / "mine").glob("*/*/metrics/loss"))
    assert not (patient.home / "mlruns" / "mlflow.db").exists()


def test_a_tracking_server_that_refuses_is_said_without_the_password(patient, web):
    web.on("/api/2.0/mlflow/experiments/get-by-name", (401, {"message": f"who is {KEY}?"}, {}))
    uri = web.url.replace("//", f"//ada:{KEY}@")
    set_env(patient, MLFLOW_TRACKING_URI=uri)
    (failed,) = tracking.track(patient, ["mlflow"], track_suite.RUN, {"loss": 1.0}, [])
    assert failed.startswith("mlflow: MLflow: ")
    assert KEY not in failed + patient.stderr.getvalue()
    assert web.requests


def test_names_that_become_one_stay_two():
    names = mlflow_room.Names()
    found = [names.of(name) for name in ("a@", "a#", "a_", "a@", "/x/../y", "..", "n" * 300, "n" * 301)]
    assert found[0] == found[3] == "a_"
    assert len(set(found)) == 7
    assert found[4] == "x/y"
    assert all(len(name) <= mlflow_room.NAME_CHARS for name in found)


# --- wandb -----------------------------------------------------------------------------------------------------------


def test_wandb_offline_keeps_no_console_code_or_machine_and_sends_nothing(patient, web):
    set_env(patient, HTTPS_PROXY=web.url, HTTP_PROXY=web.url, WANDB_API_KEY=KEY, WANDB_PROJECT="digits")
    peer = WandbPeer(patient)
    assert peer.track(series=[(0, {"loss": 1.0})]) == []
    (row,) = peer.rows()
    assert (row["id"], row["project"]) == (track_suite.RUN["id"], "digits")
    assert row["params"]["kagg"]["git_commit"] == track_suite.RUN["git_commit"]
    assert not {"output", "output_raw", "stats", "files", "environment"} & set(row["kinds"])
    assert web.requests == []
    for path in patient.home.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
    assert not [path for path in patient.home.rglob("*.py") if path.is_file()]


def test_an_offline_run_that_was_cut_off_is_written_anew(patient):
    peer = WandbPeer(patient)
    peer.track(series=[(0, {"loss": 1.0})])
    (mark,) = patient.home.glob(f"wandb/offline-run-*/{wandb_room.COMPLETE}")
    mark.unlink()
    assert peer.track(series=[(0, {"loss": 2.0})]) == []
    assert track_suite.one(peer).metrics == {"loss": [(0, 2.0)]}


def test_wandb_online_that_cannot_be_reached_is_said_in_time(ctx, web):
    set_env(ctx, WANDB_MODE="online", WANDB_API_KEY=KEY, WANDB_BASE_URL=web.url, KAGG_TRACK_TIMEOUT="4s")
    started = time.monotonic()
    (failed,) = tracking.track(ctx, ["wandb"], track_suite.RUN, {"loss": 1.0}, [])
    assert failed.startswith("wandb: ")
    assert time.monotonic() - started < 30
    assert KEY not in failed + ctx.stderr.getvalue()


@pytest.mark.parametrize(
    ("env", "code"),
    [
        ({"WANDB_MODE": "online"}, Exit.CONFIG),
        ({"WANDB_MODE": "disabled"}, Exit.CONFIG),
        ({"WANDB_MODE": "x"}, Exit.CONFIG),
    ],
)
def test_wandb_settings_that_track_nothing_are_refused(env, code, ctx):
    set_env(ctx, KAGG_CONFIGS=str(ctx.home / "configs"), **env)
    with pytest.raises(KaggError) as caught:
        tracking.check(ctx, ["wandb"])
    assert caught.value.code == code


def test_the_key_of_wandb_may_lie_in_the_settings_folder(ctx, tmp_path):
    from kagg import redact

    file = tmp_path / "wandb.md"
    set_env(ctx, KAGG_CONFIGS=str(tmp_path), WANDB_MODE="online")
    file.write_text("# Weights & Biases\n\nset `api_key: ...`\n\n    api_key: YOUR-KEY\n    project: digits\n")
    with pytest.raises(KaggError, match="needs an API key"):
        tracking.check(ctx, ["wandb"])
    file.write_text(f"text\n\n    api_key: {KEY}\n    project: digits\n")
    file.chmod(0o644)
    tracking.check(ctx, ["wandb"])
    assert "chmod 600" in ctx.stderr.getvalue()
    assert KEY not in redact(f"x {KEY}")
    assert wandb_room._account(ctx) == {"api_key": KEY, "project": "digits", "entity": ""}


def test_a_login_of_wandb_counts(ctx):
    home = ctx.user_home()
    home.mkdir(parents=True)
    set_env(ctx, WANDB_MODE="online", KAGG_CONFIGS=str(home))
    (home / ".netrc").write_text(f"machine api.wandb.ai\n  login user\n  password {KEY}\n")
    (home / ".netrc").chmod(0o600)
    tracking.check(ctx, ["wandb"])


def test_a_run_id_that_wandb_would_refuse_is_changed():
    assert wandb_room.run_id("train-1") == "train-1"
    found = {wandb_room.run_id(text) for text in ("a/b", "a.b", "a" * 100, "a" * 101)}
    assert len(found) == 4
    assert all(len(text) <= wandb_room.ID_CHARS for text in found)


# --- all of them together --------------------------------------------------------------------------------------------


def peer_of(ctx, source):
    return track_suite.Peer(ctx, 'PLUGIN = {"api": 1, "summary": "x", "requires": {}}\n' + source)


def test_a_tracker_may_return_an_object(patient):
    source = (
        "class Run:\n    def __init__(self, place):\n        self.place, self.seen = place, []\n"
        "    def log(self, step, metrics):\n        self.seen.append(step)\n"
        "    def finish(self, status):\n        self.place.write_text(f'{self.seen} {status}')\n"
        "def start(run, ctx):\n    ctx.home.mkdir(parents=True, exist_ok=True)\n    return Run(ctx.home / 'seen')\n"
    )
    assert peer_of(patient, source).track(series=[(2, {"a": 1.0}), (1, {"a": 1.0}), (3, {})]) == []
    assert (patient.home / "seen").read_text() == "[1, 2] done"


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("def start(run):\n    raise ZeroDivisionError('by ' + run['id'])\n", "ZeroDivisionError: by train-"),
        ("def start(run):\n    raise SystemExit('no')\n", "SystemExit: no"),
        ("def start(run):\n    print('noise')\n    import os\n    os._exit(4)\n", "ended without a report"),
        ("def start(run):\n    pass\n", "no attribute 'log'"),
        ("def start(run):\n    from kagg import KaggError\n    raise KaggError('not today', hint='try again')\n",
         "not today; try again"),
        ("def check(ctx):\n    return 1 / 0\n", "broken: ZeroDivisionError"),
        ("", "no attribute 'start'"),
        ("1 / 0\n", "broken"),
    ],
)  # fmt: skip
def test_a_broken_tracker_is_one_line_and_nothing_more(source, fault, patient, capfd):
    (failed,) = peer_of(patient, source).track(summary={"loss": 1.0})
    assert failed.startswith("lines: ")
    assert fault in failed
    said = patient.stderr.getvalue()
    assert said.count("\n") == 1
    assert "warning: not tracked by lines: " in said
    assert capfd.readouterr() == ("", "")


def test_a_tracker_that_hangs_is_ended_with_what_it_started(ctx):
    set_env(ctx, KAGG_TRACK_TIMEOUT="3s")
    source = (
        "def start(run, ctx):\n    import subprocess, time\n    ctx.home.mkdir(parents=True, exist_ok=True)\n"
        "    child = subprocess.Popen(['sleep', '60'])\n    (ctx.home / 'pid').write_text(str(child.pid))\n"
        "    time.sleep(60)\n"
    )
    started = time.monotonic()
    (failed,) = peer_of(ctx, source).track(summary={"loss": 1.0})
    assert "no end after 3 s" in failed
    assert time.monotonic() - started < 30
    if sys.platform == "linux" and (ctx.home / "pid").exists():
        pid = (ctx.home / "pid").read_text()
        deadline = time.monotonic() + 10
        while alive(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not alive(pid)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("names", "env", "code"),
    [
        (["absent"], {}, Exit.USAGE),
        (["../cmd/batch"], {}, Exit.USAGE),
        (["mlflow"], {"KAGG_TRACK_TIMEOUT": "soon"}, Exit.CONFIG),
        (["mlflow"], {"KAGG_TRACK_TIMEOUT": "0s"}, Exit.CONFIG),
        (["mlflow"], {"MLFLOW_TRACKING_URI": "sqlite:///a\nb"}, Exit.CONFIG),
    ],
)
def test_what_cannot_be_tracked_later_is_refused_before_the_run(names, env, code, ctx):
    set_env(ctx, **env)
    with pytest.raises(KaggError) as caught:
        tracking.check(ctx, names)
    assert caught.value.code == code


def test_checking_loads_no_sdk(tmp_path):
    program = (
        "import sys\nfrom kagg import Context\nfrom plugins.lib import tracking\n"
        f"tracking.check(Context({{'HOME': {str(tmp_path)!r}}}), ['mlflow', 'wandb'])\n"
        "import json\nprint(json.dumps(sorted({'mlflow', 'wandb', 'alembic', 'sqlalchemy'} & set(sys.modules))))\n"
    )
    assert ask(program) == []


def test_nothing_wanted_is_nothing_done(ctx):
    tracking.check(ctx, [])
    assert tracking.track(ctx, [], track_suite.RUN, {}, []) == []
