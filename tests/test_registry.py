"""The endpoint registry: many processes, strangers' keys, files that are broken or newer."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from front_door import QuickContext, environment, kagg

from kagg import Endpoint, Exit, KaggError, find_endpoint, load_endpoints, save_endpoint

ROOT = Path(__file__).resolve().parent.parent
WRITER = """
import sys
from kagg import Context, Endpoint, save_endpoint
ctx = Context()
print("ready", flush=True)
sys.stdin.readline()
for n in range(int(sys.argv[2])):
    save_endpoint(ctx, Endpoint(f"{sys.argv[1]}-{n}", "local", f"http://127.0.0.1:{n + 1}/", details={"n": n}))
"""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "endpoints.json"


def start(tmp_path, *argv):
    env = environment(tmp_path, PYTHONPATH=str(ROOT))
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, *map(str, argv)],
        env=env,
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def release(processes):
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()


@pytest.mark.parametrize(("writers", "each"), [(2, 15), (8, 4)])
def test_processes_that_register_at_once_lose_none(ctx, tmp_path, writers, each):
    processes = [start(tmp_path, f"w{number}", each) for number in range(writers)]
    release(processes)
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert set(load_endpoints(ctx)) == {f"w{w}-{n}" for w in range(writers) for n in range(each)}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_writer_leaves_a_whole_file_and_no_lock(ctx, tmp_path, file):
    save_endpoint(ctx, Endpoint("first", "local", "http://127.0.0.1:1/"))
    for wait_s in (0.0, 0.005, 0.02):
        process = start(tmp_path, f"k{wait_s}", 1000)
        release([process])
        time.sleep(wait_s)
        process.kill()
        process.communicate(timeout=30)
        assert json.loads(file.read_text())["version"] == 1
        assert "first" in load_endpoints(ctx)
    save_endpoint(ctx, Endpoint("last", "local", "http://127.0.0.1:2/"))
    assert {"first", "last"} <= set(load_endpoints(ctx))


def test_what_we_do_not_know_survives_at_every_level(ctx, file):
    theirs = {"color": "blue", "target": "local", "url": "http://127.0.0.1:1/", "details": {"a": 1}}
    file.write_text(json.dumps({"version": 1, "owner": "them", "endpoints": {"one": theirs, "two": {"x": [1]}}}))
    save_endpoint(ctx, Endpoint("one", "local", "http://127.0.0.1:9/", details={"b": 2}))
    save_endpoint(ctx, Endpoint("three", "local", "http://127.0.0.1:3/"))
    save_endpoint(ctx, None, drop="three")
    found = json.loads(file.read_text())
    assert found["owner"] == "them"
    assert found["endpoints"]["one"]["color"] == "blue"
    assert found["endpoints"]["one"]["url"] == "http://127.0.0.1:9/"
    assert found["endpoints"]["two"] == {"x": [1]}
    assert set(found["endpoints"]) == {"one", "two"}


def test_the_file_is_ours_alone_sorted_and_versioned(ctx, file):
    for name in ("zeta", "alpha"):
        save_endpoint(ctx, Endpoint(name, "local", "http://127.0.0.1:1/", created="2026-01-01T00:00:00+00:00"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    assert json.loads(text)["version"] == 1
    assert text.index("alpha") < text.index("zeta")
    assert list(load_endpoints(ctx)) == ["alpha", "zeta"]
    assert [path.name for path in file.parent.iterdir() if path.name.endswith(".tmp")] == []


BROKEN = [
    "",
    "{",
    "[]",
    "null",
    "5",
    '{"version": 1}',
    '{"version": 1, "endpoints": []}',
    '{"version": 1, "endpoints": {"a": 5}}',
    '{"version": 2, "endpoints": {}}',
    '{"version": "x", "endpoints": {}}',
    '{"version": null, "endpoints": {}}',
    '{"version": {}, "endpoints": {}}',
    "\x00" * 100,
    "[" * 100_000,
]


@pytest.mark.parametrize("content", BROKEN)
def test_a_file_that_is_broken_or_newer_is_exit_10_and_untouched(ctx, file, content):
    file.write_text(content)
    for argv in (
        ["endpoints"],
        ["list", "endpoints"],
        ["call", "one"],
        ["endpoints", "remove", "one"],
        ["monitor", "one"],
    ):
        done = kagg(ctx, *argv)
        assert done.code == Exit.CONFIG, (argv, done)
        assert str(file) in done.err
        assert len(done.err) < 1500
    with pytest.raises(KaggError):
        save_endpoint(ctx, Endpoint("new", "local", "http://127.0.0.1:1/"))
    assert file.read_text() == content


def test_a_version_that_is_missing_counts_as_the_first(ctx, file):
    file.write_text('{"endpoints": {"a": {"target": "local", "url": "http://127.0.0.1:1/"}}}')
    save_endpoint(ctx, Endpoint("b", "local", "http://127.0.0.1:2/"))
    assert json.loads(file.read_text())["version"] == 1
    assert set(load_endpoints(ctx)) == {"a", "b"}


def test_fields_of_the_wrong_type_do_not_crash_a_list(ctx, file):
    odd = {"target": 5, "url": None, "state": [], "created": {}, "details": "x"}
    file.write_text(json.dumps({"version": 1, "endpoints": {"odd": odd}}))
    for argv in (["endpoints"], ["list", "endpoints"], ["endpoints", "show", "odd"], ["--json", "endpoints"]):
        assert kagg(ctx, *argv).code == Exit.DONE, argv
    assert kagg(ctx, "call", "odd").code not in (Exit.DONE, Exit.BUG)


def test_no_registry_is_an_empty_one_and_reading_makes_none(ctx, file):
    assert kagg(ctx, "endpoints").out == "nothing found\n"
    assert kagg(ctx, "--json", "endpoints").document == []
    assert not file.exists()


def test_an_unknown_name_is_exit_2_and_names_the_known_ones(ctx):
    save_endpoint(ctx, Endpoint("alpha", "local", "http://127.0.0.1:1/"))
    done = kagg(ctx, "call", "beta")
    assert done.code == Exit.USAGE
    assert "alpha" in done.err


def test_an_endpoint_of_a_target_that_is_gone_is_listed_and_said(ctx):
    save_endpoint(ctx, Endpoint("alpha", "vanished", "http://127.0.0.1:1/"))
    listed = kagg(ctx, "--json", "endpoints")
    assert listed.code == Exit.DONE
    assert "unknown" in listed.document[0]["state"]
    assert kagg(ctx, "endpoints", "stop", "alpha").code in (Exit.USAGE, Exit.MISSING)
    assert set(load_endpoints(ctx)) == {"alpha"}


def test_without_a_setting_the_file_is_beside_the_program(tmp_path):
    env = environment(tmp_path)
    del env["KAGG_ENDPOINTS"]
    ctx = QuickContext(env)
    ctx.root = tmp_path / "program"
    ctx.root.mkdir()
    save_endpoint(ctx, Endpoint("alpha", "local", "http://127.0.0.1:1/"))
    assert (tmp_path / "program" / "endpoints.json").exists()
    assert find_endpoint(ctx, "alpha").url == "http://127.0.0.1:1/"
