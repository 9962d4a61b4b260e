"""The ledger on real SQLite files, with several processes, kills and damage; on PostgreSQL where one can be started."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

import kagg
from kagg import Context, Exit, KaggError
from plugins.lib import ledger_database
from plugins.lib.ledger import Ledger

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def ctx(tmp_path):
    return Context({"KAGG_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)})


def child(tmp_path, code, *args, env=None):
    """Start a process that has an open ledger as `ledger`; it dies with the test's own wait or kill."""
    start = (
        "import os, sys, time, signal\nfrom kagg import Context, KaggError\nfrom plugins.lib.ledger import Ledger\n"
        "ledger = Ledger.open(Context(os.environ))\n"
    )
    env = {
        "PATH": os.environ["PATH"],
        "KAGG_HOME": str(tmp_path / "home"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    } | (env or {})
    command = [sys.executable, "-W", "ignore", "-c", start + code, *args]
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)


def test_a_run_is_a_row_with_its_process_version_and_times(ctx, tmp_path):
    with Ledger.open(ctx) as ledger:
        run_id = ledger.begin_run("run", "a.ipynb", params={"x": 1}, input_sha256="00ff")
        assert ledger.run(run_id)["status"] == "running"
        ledger.end_run(run_id, "failed", Exit.FAILED, error="it broke", result={"n": 2})
        row = ledger.run(run_id)
    assert row["command"] == "run"
    assert row["pid"] == os.getpid()
    assert row["host"] == socket.gethostname()
    assert row["kagg_version"] == kagg.VERSION
    assert (row["status"], row["exit_code"], row["error"], row["result"]) == ("failed", 1, "it broke", {"n": 2})
    assert (row["params"], row["input_sha256"]) == ({"x": 1}, "00ff")
    assert row["started"] <= row["ended"]
    assert row["duration_s"] >= 0
    assert row["git_commit"] is None


def test_run_ids_sort_by_time_and_runs_come_newest_first(ctx, monkeypatch):
    from datetime import UTC, datetime

    moments = iter(datetime(2026, 11, 20, 11, minute, tzinfo=UTC) for minute in range(30) for _ in range(4))
    now = {"value": next(moments)}
    monkeypatch.setattr(ctx, "now", lambda: now["value"], raising=False)
    with Ledger.open(ctx) as ledger:
        ids = []
        for minute in range(3):
            now["value"] = datetime(2026, 11, 20, 11, minute, tzinfo=UTC)
            ids.append(ledger.begin_run("pull", "x"))
        assert ids[0].startswith("20261120T110000-")
        assert ids == sorted(ids)
        assert [row["id"] for row in ledger.runs(2)] == ids[:0:-1]
        assert ledger.runs(5, command="push") == []


def test_an_unknown_run_is_a_usage_error(ctx):
    with Ledger.open(ctx) as ledger, pytest.raises(KaggError, match="there is no run 'nope'") as caught:
        ledger.run("nope")
    assert caught.value.code == Exit.USAGE


def test_git_commit_is_recorded_when_the_target_is_in_a_repository(ctx, tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "a.py").write_text("x = 1\n")
    git = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "init", "-q"], check=True, timeout=20)
    subprocess.run([*git, "add", "a.py"], check=True, timeout=20)
    subprocess.run([*git, "commit", "-q", "-m", "one"], check=True, timeout=20)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True, timeout=20).stdout
    with Ledger.open(ctx) as ledger:
        row = ledger.run(ledger.begin_run("run", str(folder / "a.py")))
        strange = ledger.run(ledger.begin_run("run", "owner/" + "x" * 5000))
    assert row["git_commit"] == head.strip()
    assert strange["git_commit"] is None


def test_an_effect_is_pending_before_its_body_and_done_after(ctx):
    with Ledger.open(ctx) as ledger:
        run_id = ledger.begin_run("deploy", "a.ipynb")
        with ledger.effect(run_id, "deploy", "local", {"name": "a"}) as effect:
            assert [row["status"] for row in ledger.effects(run_id)] == ["pending"]
            effect.outcome = {"url": "http://127.0.0.1:1"}
        (row,) = ledger.effects(run_id)
    assert (row["status"], row["outcome"]) == ("done", {"url": "http://127.0.0.1:1"})
    assert (row["kind"], row["target"], row["request"]) == ("deploy", "local", {"name": "a"})


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no"), "failed"),
        (KaggError("refused", code=Exit.SERVICE), "failed"),
        (KaggError("the reply was lost", details={"unknown": True}), "unknown"),
        (KeyboardInterrupt(), "unknown"),
    ],
)
def test_an_effect_that_raises_is_failed_or_unknown_and_still_raises(ctx, error, status):
    with Ledger.open(ctx) as ledger:
        run_id = ledger.begin_run("push", "a.ipynb")
        caught = None
        try:
            with ledger.effect(run_id, "push", "kaggle", None) as effect:
                effect.outcome = {"sent": True}
                raise error
        except type(error) as raised:
            caught = raised
        (row,) = ledger.effects(run_id)
    assert caught is error
    assert row["status"] == status
    assert row["outcome"]["sent"] is True
    assert type(error).__name__ in row["outcome"]["error"]


def test_a_secret_that_nobody_has_signed_in_with_yet_never_reaches_the_file(ctx):
    key, other = "0123456789abcdef" * 2, "feedface01234567" * 2
    file = ctx.user_home() / ".kaggle" / "kaggle.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"username": "me", "key": key}))
    ctx.env["WANDB_API_KEY"] = other
    with Ledger.open(ctx) as ledger:
        run_id = ledger.begin_run("run", f"{key}.py", params={"x": key, "y": [other]})
        ledger.end_run(run_id, "done", 0, result={"outputs": [{"path": other}]})
        found = ledger.run(run_id)
    assert (found["target"], found["params"]) == ("[secret].py", {"x": "[secret]", "y": ["[secret]"]})
    left = b"".join(path.read_bytes() for path in ctx.home.rglob("*") if path.is_file())
    assert not any(value.encode() in left for value in (key, other))


def test_secrets_never_reach_the_file(ctx):
    kagg.keep_secret("correct-horse-battery")
    token = "hf_" + "a1B2" * 8
    with Ledger.open(ctx) as ledger:
        run_id = ledger.begin_run("run", f"https://example.org/a?token={token}", params={"api_key": "plain-word-1"})
        with contextlib.suppress(ValueError), ledger.effect(run_id, "call", "a", {"password": "plain-word-2"}):
            raise ValueError(f"refused {token}")
        jobs = ledger.add_jobs(
            run_id, [("a", {"params": {"hf_token": "plain-word-3"}, "note": "correct-horse-battery"})]
        )
        ledger.claim_job(jobs["a"]["id"])
        ledger.finish_job(jobs["a"]["id"], "failed", 1, error=f"Bearer {token}", result={"out": token})
        ledger.end_run(run_id, "failed", 1, error=token, result={token: token})
    content = b"".join(path.read_bytes() for path in ctx.home.iterdir())
    assert b"[secret]" in content
    for secret in (token, "correct-horse-battery", "plain-word-1", "plain-word-2", "plain-word-3"):
        assert secret.encode() not in content


def test_what_a_program_says_holds_no_secret_of_any_kind(ctx, monkeypatch):
    of_vendor = "sk_" + "live_" + "4eC39HqLyjWDarjtT1zdp7dc"
    of_service = "0123456789abcdef" * 2 + "01234567"
    monkeypatch.setenv("WANDB_API_KEY", of_service)
    said = f"ValueError: {of_vendor} and {of_service}"
    result = {"error": said, "notes": [said], "report": {"traceback": ["File a.py", said]}, "target": "demo/a-b-c"}
    with Ledger.open(ctx) as ledger:
        run_id = ledger.begin_run("run", "train.py")
        with contextlib.suppress(ValueError), ledger.effect(run_id, "push", "demo/a", {"message": said}):
            raise ValueError(said)
        ledger.end_run(run_id, "failed", 1, error=said, result=result)
        row = ledger.run(run_id)
    assert row["error"] == "ValueError: [secret] and [secret]"
    assert row["result"]["target"] == "demo/a-b-c"
    content = b"".join(path.read_bytes() for path in ctx.home.iterdir())
    assert of_vendor.encode() not in content
    assert of_service.encode() not in content


def test_what_no_database_stores_is_stored_as_something_it_does(ctx):
    with Ledger.open(ctx) as ledger:
        run_id = ledger.begin_run(
            "run", "x", params={"nan": float("nan"), "path": Path("/a"), 3: {"b"}, "bad": "\ud800\0z"}
        )
        ledger.end_run(run_id, "done", 0, result="y" * 100_000)
        row = ledger.run(run_id)
    assert row["params"] == {"nan": None, "path": "/a", "3": ["b"], "bad": "?z"}
    assert row["result"].endswith("... (34464 more characters)")


def test_a_job_is_claimed_once_and_finished_once(ctx):
    with Ledger.open(ctx) as ledger:
        run_id = ledger.begin_run("batch", "jobs.csv")
        job = ledger.add_jobs(run_id, [("a", {"ref": "x"}), ("b", {"ref": "y"})])["a"]["id"]
        assert [row["key"] for row in ledger.jobs(run_id)] == ["a", "b"]
        assert ledger.claim_job(job)
        assert not ledger.claim_job(job)
        ledger.note_job(job, {"steps": {"download": 1}})
        assert ledger.finish_job(job, "done", 0, result={"ok": True})
        assert not ledger.finish_job(job, "failed", 1)
        assert not ledger.claim_job(job)
        row = ledger.jobs(run_id)[0]
    assert (row["status"], row["attempts"], row["result"]) == ("done", 1, {"ok": True})


def test_a_job_whose_row_changed_is_pending_again_and_others_keep_their_state(ctx):
    with Ledger.open(ctx) as ledger:
        run_id = ledger.begin_run("batch", "jobs.csv")
        for row in ledger.add_jobs(run_id, [("a", {"ref": "x"}), ("b", {"ref": "y"})]).values():
            ledger.claim_job(row["id"])
            ledger.finish_job(row["id"], "done", 0)
        rows = ledger.add_jobs(run_id, [("b", {"ref": "other"}), ("a", {"ref": "x"}), ("c", {"ref": "z"})])
    assert {key: row["status"] for key, row in rows.items()} == {"a": "done", "b": "pending", "c": "pending"}


def test_the_file_and_its_neighbours_are_for_their_owner_only(ctx):
    old = os.umask(0)
    try:
        with Ledger.open(ctx) as ledger:
            ledger.begin_run("run", "x")
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in ctx.home.glob("ledger.db*")}
    finally:
        os.umask(old)
    modes.pop("ledger.db.lock")
    assert modes.keys() >= {"ledger.db", "ledger.db-wal"}
    assert set(modes.values()) == {0o600}


def test_two_processes_write_one_ledger_at_once_and_lose_nothing(tmp_path, ctx):
    code = (
        "run = ledger.begin_run('batch', sys.argv[1])\n"
        "for n in range(60):\n"
        "    with ledger.effect(run, 'call', sys.argv[1], {'n': n}) as effect: effect.outcome = {'n': n}\n"
        "ledger.end_run(run, 'done', 0)\nledger.close()\n"
    )
    children = [child(tmp_path, code, name) for name in ("one", "two", "three")]
    for process in children:
        process.communicate(timeout=60)
    assert [process.returncode for process in children] == [0, 0, 0]
    with Ledger.open(ctx) as ledger:
        runs = ledger.runs()
        assert sorted((row["target"], row["status"]) for row in runs) == [(n, "done") for n in ("one", "three", "two")]
        for run in runs:
            assert [row["outcome"]["n"] for row in ledger.effects(run["id"])] == list(range(60))


def test_threads_share_one_ledger(ctx):
    with Ledger.open(ctx) as ledger:
        run_id = ledger.begin_run("batch", "jobs.csv")
        rows = ledger.add_jobs(run_id, [(f"j{n}", {}) for n in range(40)])
        claimed = []

        def work():
            claimed.extend(key for key, row in rows.items() if ledger.claim_job(row["id"]))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert sorted(claimed) == sorted(rows)


def test_a_killed_process_leaves_an_interrupted_run_and_an_unknown_effect(tmp_path, ctx):
    code = (
        "run = ledger.begin_run('batch', 'x')\n"
        "job = ledger.add_jobs(run, [('a', {})])['a']['id']\nledger.claim_job(job)\n"
        "with ledger.effect(run, 'push', 'kaggle', {}):\n    print(run, flush=True)\n    time.sleep(60)\n"
    )
    process = child(tmp_path, code)
    run_id = process.stdout.readline().strip()
    with Ledger.open(ctx) as ledger:
        assert ledger.run(run_id)["status"] == "running"
        with pytest.raises(KaggError, match=f"still running as process {process.pid}"):
            ledger.reopen_run(run_id)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=20)
        row = ledger.run(run_id)
        assert (row["status"], row["exit_code"]) == ("interrupted", 130)
        assert str(process.pid) in row["error"]
        assert [job["status"] for job in ledger.jobs(run_id)] == ["interrupted"]
        assert [effect["status"] for effect in ledger.effects(run_id)] == ["unknown"]
        ledger.reopen_run(run_id)
        assert ledger.run(run_id)["status"] == "running"


def test_a_pid_that_was_given_to_another_process_does_not_keep_a_run_alive(ctx):
    with Ledger.open(ctx) as ledger:
        run_id = ledger.begin_run("run", "x")
        if not ledger.run(run_id)["process"]:
            pytest.skip("this system does not tell when a process started")
    with sqlite3.connect(ctx.home / "ledger.db") as connection:
        connection.execute("UPDATE runs SET process = '1'")
    connection.close()
    with Ledger.open(ctx) as ledger:
        assert ledger.run(run_id)["status"] == "interrupted"


def test_a_run_on_another_host_is_left_alone(ctx):
    with Ledger.open(ctx) as ledger:
        run_id = ledger.begin_run("run", "x")
    with sqlite3.connect(ctx.home / "ledger.db") as connection:
        connection.execute("UPDATE runs SET host = 'elsewhere', pid = 4194304")
    connection.close()
    with Ledger.open(ctx) as ledger:
        assert ledger.run(run_id)["status"] == "running"


def test_processes_killed_at_any_moment_leave_a_ledger_that_opens(tmp_path, ctx):
    code = (
        "n = 0\nprint('up', flush=True)\nwhile True:\n    run = ledger.begin_run('run', str(n)); n += 1\n"
        "    ledger.end_run(run, 'done', 0)\n    print(n, flush=True)\n"
    )
    counted = 0
    for lines in (1, 4, 9):
        process = child(tmp_path, code)
        said = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        said += process.communicate(timeout=20)[0].splitlines()
        counted += max([int(line) for line in said if line.strip().isdigit()], default=0)
    with Ledger.open(ctx) as ledger:
        states = [row["status"] for row in ledger.runs(10_000)]
    assert states.count("done") >= counted
    assert set(states) <= {"done", "interrupted"}
    with sqlite3.connect(ctx.home / "ledger.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@pytest.mark.parametrize("damage", [b"this is no database, " * 400, None])
def test_a_damaged_file_is_one_clear_error_and_is_kept(ctx, damage):
    with Ledger.open(ctx) as ledger:
        for _ in range(50):
            ledger.begin_run("run", "x" * 500)
    path = ctx.home / "ledger.db"
    if damage is None:
        content = path.read_bytes()
        damage = content[:100] + b"\xff" * (len(content) - 100)
    path.write_bytes(damage)
    with pytest.raises(KaggError, match=r"ledger\.db is damaged") as caught:
        Ledger.open(ctx)
    assert caught.value.code == Exit.INTEGRITY
    assert f"mv {path} {path}.damaged" in caught.value.hint
    assert path.read_bytes() == damage


def test_a_newer_schema_is_refused_and_left_as_it_is(ctx):
    Ledger.open(ctx).close()
    with sqlite3.connect(ctx.home / "ledger.db") as connection:
        connection.execute("UPDATE meta SET value = '99'")
    connection.close()
    with pytest.raises(KaggError, match="has schema 99, this kagg knows 1") as caught:
        Ledger.open(ctx)
    assert caught.value.code == Exit.CONFIG


def test_an_older_schema_is_migrated_and_keeps_its_rows(ctx, monkeypatch):
    with Ledger.open(ctx) as ledger:
        run_id = ledger.begin_run("run", "x")
    monkeypatch.setattr(ledger_database, "SCHEMA_VERSION", 3)
    steps = {1: ("ALTER TABLE runs ADD COLUMN note TEXT",), 2: ("UPDATE runs SET note = 'moved'",)}
    monkeypatch.setattr(ledger_database, "MIGRATIONS", steps)
    with Ledger.open(ctx) as ledger:
        assert ledger.run(run_id)["id"] == run_id
    with sqlite3.connect(ctx.home / "ledger.db") as connection:
        assert connection.execute("SELECT note FROM runs").fetchall() == [("moved",)]
        assert connection.execute("SELECT value FROM meta").fetchall() == [("3",)]
    connection.close()


def test_a_migration_that_fails_changes_nothing(ctx, monkeypatch):
    Ledger.open(ctx).close()
    monkeypatch.setattr(ledger_database, "SCHEMA_VERSION", 2)
    monkeypatch.setattr(
        ledger_database, "MIGRATIONS", {1: ("ALTER TABLE runs ADD COLUMN note TEXT", "UPDATE nowhere SET x = 1")}
    )
    with pytest.raises(KaggError, match="nowhere"):
        Ledger.open(ctx)
    with sqlite3.connect(ctx.home / "ledger.db") as connection:
        assert "note" not in [row[1] for row in connection.execute("PRAGMA table_info(runs)")]
        assert connection.execute("SELECT value FROM meta").fetchall() == [("1",)]
    connection.close()


@pytest.mark.parametrize(
    ("url", "said", "code"),
    [
        ("not a url", "not the URL of a database", Exit.CONFIG),
        ("sqlite://", "in memory", Exit.CONFIG),
        ("nosuchdb://host/name", "needs a driver", Exit.MISSING),
    ],
)
def test_a_wrong_ledger_url_is_one_clear_error(tmp_path, url, said, code):
    with pytest.raises(KaggError, match=said) as caught:
        Ledger.open(Context({"KAGG_HOME": str(tmp_path), "KAGG_LEDGER": url}))
    assert caught.value.code == code


def test_a_folder_that_cannot_be_written_is_a_configuration_error(tmp_path):
    (tmp_path / "home").write_text("a file where the folder should be")
    with pytest.raises(KaggError, match="cannot write the ledger") as caught:
        Ledger.open(Context({"KAGG_HOME": str(tmp_path / "home")}))
    assert caught.value.code == Exit.CONFIG


def test_kagg_ledger_names_another_file_and_odd_home_names_work(tmp_path):
    other = tmp_path / "elsewhere" / "x.db"
    with Ledger.open(Context({"KAGG_HOME": str(tmp_path), "KAGG_LEDGER": f"sqlite:///{other}"})) as ledger:
        ledger.begin_run("run", "x")
    assert other.exists()
    odd = tmp_path / "a?b=c %41 #é"
    Ledger.open(Context({"KAGG_HOME": str(odd)})).close()
    assert (odd / "ledger.db").exists()


@pytest.fixture(scope="module")
def postgres():
    """Start a throw-away PostgreSQL on a Unix socket and yield its URL."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    tools = {name: shutil.which(name) for name in ("initdb", "postgres")}
    if not all(tools.values()):
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="kagg-pg-"))  # not tmp_path: a socket's path has at most 107 characters
    user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    if user:
        shutil.chown(folder, user)
    make = [tools["initdb"], "-D", folder / "db", "-A", "trust", "-U", "kagg", "-N", "-E", "UTF8", "--locale", "C"]
    subprocess.run(make, check=True, capture_output=True, timeout=120, user=user, cwd=folder)
    serve = [tools["postgres"], "-D", folder / "db", "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
    with subprocess.Popen(serve, stderr=subprocess.PIPE, text=True, user=user, cwd=folder) as process:
        try:
            assert any("ready to accept connections" in line for line in process.stderr)
            yield f"postgresql+psycopg://kagg@/postgres?host={folder}"
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
            shutil.rmtree(folder)


def test_postgresql_holds_the_same_ledger(postgres, tmp_path):
    env = {"KAGG_HOME": str(tmp_path / "home"), "KAGG_LEDGER": postgres}
    code = (
        "run = ledger.begin_run('run', sys.argv[1], params={'bad': '\\0'})\n"
        "ledger.end_run(run, 'done', 0)\nledger.close()\n"
    )
    children = [child(tmp_path, code, name, env=env) for name in ("one", "two")]
    for process in children:
        process.communicate(timeout=60)
    assert [process.returncode for process in children] == [0, 0]
    with Ledger.open(Context(env)) as ledger:
        assert {row["target"] for row in ledger.runs()} == {"one", "two"}
        run_id = ledger.begin_run("batch", "jobs.csv")
        job = ledger.add_jobs(run_id, [("a", {"n": 1})])["a"]["id"]
        with ledger.effect(run_id, "call", "a", {"n": 1}, job_id=job) as effect:
            effect.outcome = {"status": 200}
        assert ledger.claim_job(job)
        assert ledger.finish_job(job, "done", 0)
        assert ledger.effects(run_id)[0]["outcome"] == {"status": 200}
    assert not (tmp_path / "home" / "ledger.db").exists()


def test_postgresql_that_is_away_is_a_service_error_without_the_password(tmp_path):
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"postgresql+psycopg://kagg:hunter22@127.0.0.1:{free.getsockname()[1]}/postgres"
        with pytest.raises(KaggError, match="failed") as caught:
            Ledger.open(Context({"KAGG_HOME": str(tmp_path), "KAGG_LEDGER": url}))
    assert caught.value.code == Exit.SERVICE
    assert "hunter22" not in str(caught.value)


def test_effects_of_some_kinds_come_from_every_run_with_its_row(ctx):
    with Ledger.open(ctx) as ledger:
        first, second = ledger.begin_run("run", "a"), ledger.begin_run("stop", "b")
        for run_id, kind in ((first, "push"), (second, "delete-kernel"), (second, "pull"), (first, "collect")):
            with ledger.effect(run_id, kind, f"me/{kind}", {"attempt": "x"}):
                pass
        found = ledger.effects_of_kinds(("push", "collect", "delete-kernel"))
        assert [(row["kind"], row["run"]["command"]) for row in found] == [
            ("push", "run"),
            ("delete-kernel", "stop"),
            ("collect", "run"),
        ]
        assert ledger.effects_of_kinds(()) == []


def test_opening_the_ledger_a_second_time_keeps_the_locks_of_this_process(tmp_path):
    """SQLite's locks are POSIX locks, which a process loses when it closes the file by any descriptor."""
    path = tmp_path / "ledger.db"
    ledger_database.create_file(path)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("CREATE TABLE t (x)")
    holder.execute("BEGIN IMMEDIATE")
    ledger_database.create_file(path)
    other = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0.1).execute('BEGIN IMMEDIATE')"
    done = subprocess.run(
        [sys.executable, "-c", other, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    holder.close()
    assert "database is locked" in done.stderr
