"""The local deploy room: the suite of all deploy rooms, and what only processes on this machine can get wrong."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from kagg import Context, Endpoint, Exit, KaggError
from plugins.deploy import local
from plugins.lib.serve import process_start_time
from tests.suites.deploy_suite import BROKEN, CONSTANT, DeployCase, DeploySuite, MemoryRoom

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="local endpoints need a POSIX system")


def context(folder: Path, **env: str) -> Context:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return Context(kept | {"HOME": str(folder), "KAGG_HOME": str(folder / "home")} | env, stderr=io.StringIO())


def kill_all(home: Path) -> None:
    for state in home.glob("endpoints/*/*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            found = json.loads(state.read_text())
            if process_start_time(found["pid"]) == found["start_time"]:
                os.kill(found["pid"], signal.SIGKILL)


@pytest.fixture
def case(tmp_path):
    ctx = context(tmp_path, KAGGLE_KEY="do-not-pass", MY_TOKEN="neither", MODE="fine", PROXY="http://u:pw@proxy")
    found = DeployCase(local, ctx, tmp_path, "local", source=Path(local.__file__))
    yield found
    kill_all(ctx.home)


@pytest.fixture
def memory(tmp_path):
    room = MemoryRoom()
    yield DeployCase(room, context(tmp_path), tmp_path, "memory")
    room.close()


class TestLocal(DeploySuite):
    """Every deploy room's tests, on this one."""


class TestMemory(DeploySuite):
    """The same tests on the reference."""

    @pytest.fixture
    def case(self, memory):
        return memory


@pytest.mark.parametrize(("room", "test"), BROKEN.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_the_suite_notices_a_broken_room(room, test, tmp_path):
    broken = room()
    arguments = ["../up"] if test == "test_a_name_that_is_no_name_is_refused" else []
    try:
        with pytest.raises((Exception, pytest.fail.Exception)):
            getattr(DeploySuite(), test)(DeployCase(broken, context(tmp_path), tmp_path, "memory"), *arguments)
    finally:
        broken.close()


def test_credentials_of_the_user_do_not_reach_the_endpoint_unless_named(case):
    code = "import os\ndef predict(payload):\n    return sorted(set(payload) & set(os.environ))\n"
    asked = ["KAGGLE_KEY", "KAGG_HOME", "MY_TOKEN", "PROXY", "MODE", "PATH"]
    assert case.call(case.deploy(code), asked) == (200, ["MODE", "PATH"])
    case.options = ["--local-env", "MY_TOKEN"]
    named = case.deploy(code)
    assert case.call(named, asked) == (200, ["MODE", "MY_TOKEN", "PATH"])
    assert "neither" not in json.dumps(named._asdict())
    again = local.start(local.stop(named, case.ctx), case.ctx)
    assert case.call(again, asked) == (200, ["MODE", "MY_TOKEN", "PATH"])


def test_an_endpoint_survives_the_process_that_deployed_it(case):
    package = case.package(CONSTANT.format(version=7))
    script = (
        "import argparse, json, sys; from pathlib import Path; from kagg import Context;"
        "from plugins.deploy import local;"
        "print(json.dumps(local.deploy(Path(sys.argv[1]), 'one', argparse.Namespace(), Context())))"
    )
    root = Path(local.__file__).parents[2]
    env = {**case.ctx.env, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", script, package], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    endpoint = Endpoint(*json.loads(done.stdout))
    assert case.call(endpoint, 1) == (200, {"version": 7, "got": 1})
    assert os.getsid(endpoint.details["pid"]) != os.getsid(0)
    local.remove(endpoint, case.ctx)
    assert process_start_time(endpoint.details["pid"]) == ""


def test_the_details_tell_where_everything_is(case):
    endpoint = case.deploy("print('hello from the notebook')\n" + CONSTANT.format(version=1))
    details = endpoint.details
    assert Path(details["folder"]).parent == case.ctx.home / "endpoints" / "one"
    assert Path(details["folder"]).name == details["package_sha256"][:12]
    assert "hello from the notebook" in Path(details["log"]).read_text()
    assert Path(details["log"]).stat().st_mode & 0o077 == 0
    assert details["entry"] == "predict"
    with urllib.request.urlopen(details["healthz"], timeout=10) as reply:
        assert json.loads(reply.read())["pid"] == details["pid"]


def test_a_redeploy_keeps_the_port_and_leaves_one_process_and_one_folder(case):
    first = case.deploy(CONSTANT.format(version=1))
    second = case.deploy(CONSTANT.format(version=2))
    assert process_start_time(first.details["pid"]) == ""
    assert second.url == first.url
    home = case.ctx.home / "endpoints" / "one"
    assert len([path for path in home.iterdir() if path.is_dir() and path.name != "server"]) == 1
    assert len(list(home.glob("*.json"))) == len(list(home.glob("*.log"))) == 1


def test_no_call_fails_while_a_new_version_takes_over(case):
    endpoint = case.deploy(CONSTANT.format(version=1))
    answers, end = [], threading.Event()

    def call_all_the_time():
        while not end.is_set():
            answers.append(case.call(endpoint, 0))

    caller = threading.Thread(target=call_all_the_time)
    caller.start()
    try:
        case.deploy(CONSTANT.format(version=2))
    finally:
        end.set()
        caller.join(30)
    assert {status for status, _ in answers} == {200}
    assert case.call(endpoint, 0)[1]["version"] == 2


def test_a_redeploy_with_another_port_moves(case):
    first = case.deploy(CONSTANT.format(version=1))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    case.options = ["--local-port", str(port)]
    second = case.deploy(CONSTANT.format(version=2))
    assert second.details["port"] == port
    assert case.call(second, 0)[1]["version"] == 2
    assert case.call(first, 0)[0] == 0


def test_the_port_can_be_handed_on_again_and_again(case):
    urls = {case.deploy(CONSTANT.format(version=version)).url for version in range(4)}
    assert len(urls) == 1


def test_a_redeploy_lets_requests_in_flight_finish(case):
    slow = (
        "import time\ndef predict(payload):\n    open('entered', 'w').close()\n    time.sleep(1)\n    return 'whole'\n"
    )
    endpoint = case.deploy(slow)
    answers = []
    caller = threading.Thread(target=lambda: answers.append(case.call(endpoint, 0)))
    caller.start()
    while not Path(endpoint.details["folder"], "entered").exists():
        case.ctx.sleep(0.01)
    case.deploy(CONSTANT.format(version=2))
    caller.join(30)
    assert answers == [(200, "whole")]


def test_a_notebook_that_takes_too_long_is_stopped_and_the_old_version_stays(case):
    first = case.deploy(CONSTANT.format(version=1))
    case.options = ["--local-start-timeout", "500ms"]
    with pytest.raises(KaggError, match="does not answer after") as caught:
        case.deploy("import time\ntime.sleep(600)\n" + CONSTANT.format(version=2))
    assert "--local-start-timeout" in caught.value.hint
    assert case.call(first, 0)[1]["version"] == 1
    assert len(list((case.ctx.home / "endpoints" / "one").glob("*.json"))) == 1


def test_a_missing_package_is_named_in_the_hint(case):
    with pytest.raises(KaggError, match="No module named 'no_such_package'") as caught:
        case.deploy("import no_such_package.part\n" + CONSTANT.format(version=1))
    assert "no_such_package" in caught.value.hint
    assert Path(caught.value.details["log"]).read_text().startswith("Traceback")


def test_a_module_that_ends_its_process_while_loading_is_an_error(case):
    with pytest.raises(KaggError, match="it ended while it was loading: bye"):
        case.deploy("import os\nprint('bye', flush=True)\nos._exit(3)\n" + CONSTANT.format(version=1))


def test_a_port_of_somebody_else_is_refused(case):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        case.options = ["--local-port", str(other.getsockname()[1])]
        with pytest.raises(KaggError, match="in use") as caught:
            case.deploy(CONSTANT.format(version=1))
    assert "--local-port" in caught.value.hint


def test_a_stopped_endpoint_comes_back_on_its_port_or_on_another_when_that_is_taken(case):
    endpoint = case.deploy(CONSTANT.format(version=1))
    stopped = local.stop(endpoint, case.ctx)
    started = local.start(stopped, case.ctx)
    assert started.url == endpoint.url
    assert local.start(started, case.ctx).details["pid"] == started.details["pid"]
    stopped = local.stop(started, case.ctx)
    with socket.socket() as other:
        other.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # past connections in TIME_WAIT are no reason to fail
        other.bind(("127.0.0.1", endpoint.details["port"]))
        other.listen()
        moved = local.start(stopped, case.ctx)
    assert moved.url != endpoint.url
    assert case.call(moved, 0)[0] == 200


def test_a_killed_endpoint_is_failed_and_starts_again(case):
    endpoint = case.deploy(CONSTANT.format(version=1))
    os.kill(endpoint.details["pid"], signal.SIGKILL)
    while process_start_time(endpoint.details["pid"]):
        case.ctx.sleep(0.01)
    assert local.status(endpoint, case.ctx) == "failed"
    assert case.call(local.start(endpoint, case.ctx), 0)[0] == 200


def test_a_reused_pid_is_never_signalled(case):
    endpoint = case.deploy(CONSTANT.format(version=1))
    local.stop(endpoint, case.ctx)
    state = next((case.ctx.home / "endpoints" / "one").glob("*.json"))
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        state.write_text(json.dumps({**json.loads(state.read_text()), "pid": bystander.pid, "status": "ready"}))
        assert local.status(endpoint, case.ctx) == "failed"
        local.remove(endpoint, case.ctx)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait(10)


def test_a_process_that_ignores_the_request_to_end_is_killed(case, monkeypatch):
    monkeypatch.setattr("plugins.lib.server_process.STOP_GRACE_S", 0.3)
    code = "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n" + CONSTANT.format(version=1)
    endpoint = case.deploy(code)
    local.remove(endpoint, case.ctx)
    assert process_start_time(endpoint.details["pid"]) == ""
    assert not (case.ctx.home / "endpoints" / "one").exists()


def test_remove_does_not_follow_links_out_of_its_folder(case, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    endpoints = case.ctx.home / "endpoints"
    endpoints.mkdir(parents=True)
    (endpoints / "one").symlink_to(precious)
    with pytest.raises(KaggError) as caught:
        local.remove(Endpoint("one", "local", ""), case.ctx)
    assert caught.value.code == Exit.INTEGRITY
    assert (precious / "file").exists()


def test_deploying_without_the_options_of_the_room_uses_their_defaults(case):
    endpoint = local.deploy(case.package(CONSTANT.format(version=1)), "one", argparse.Namespace(), case.ctx)
    assert case.call(endpoint, 0)[0] == 200
