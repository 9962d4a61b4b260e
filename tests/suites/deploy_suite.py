"""What every deploy room must do: `class TestX(DeploySuite)` with a fixture `case` that returns a `DeployCase`.

The reference is `MemoryRoom`, which serves packages from threads of this process. `BROKEN` holds rooms with one defect
each and the test that must notice it.
"""

from __future__ import annotations

import argparse
import ast
import http.server
import json
import threading
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from kagg import Context, Endpoint, KaggError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOSTILE_NAMES = ["", "../up", "a/b", "a\\b", ".hidden", "white space", "new\nline", "x" * 100, "-dash", "/abs"]
CONSTANT = "def predict(payload):\n    return {{'version': {version}, 'got': payload}}\n"
RAISES_ON_LOAD = "raise RuntimeError('no model here')\ndef predict(payload):\n    return 1\n"
RAISES_ON_CALL = "def predict(payload):\n    return 10 / payload['by']\n"


@dataclass
class DeployCase:
    """One room under test, with what its tests need."""

    room: Any
    ctx: Context
    folder: Path
    target: str
    options: list[str] = field(default_factory=list)
    source: Path | None = None  # the room's file, for its manifest

    def args(self) -> argparse.Namespace:
        parser = argparse.ArgumentParser(allow_abbrev=False)
        self.room.add_arguments(parser.add_argument_group(self.target))
        return parser.parse_args(self.options)

    def package(self, code: str, name: str = "package") -> Path:
        path = self.folder / f"{name}.zip"
        manifest = {"version": 1, "entry": "predict", "source": "x.py", "source_sha256": "0" * 64, "requirements": []}
        with zipfile.ZipFile(path, "w") as archive:
            for file, text in (("kagg_app.py", code), ("kagg_package.json", json.dumps(manifest))):
                entry = zipfile.ZipInfo(file)
                entry.external_attr = 0o100644 << 16
                archive.writestr(entry, text)
        return path

    def deploy(self, code: str, name: str = "one") -> Endpoint:
        return self.room.deploy(self.package(code), name, self.args(), self.ctx)

    def call(self, endpoint: Endpoint, payload: Any) -> tuple[int, Any]:
        """POST `payload` and return status and answer; 0 when nothing listens."""
        request = urllib.request.Request(
            endpoint.url, json.dumps(payload).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, json.loads(reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")
        except OSError:
            return 0, None


class DeploySuite:
    """The tests."""

    def test_the_manifest_is_a_literal_that_says_what_the_room_is(self, case):
        text = case.source.read_text() if case.source else f"PLUGIN = {case.room.PLUGIN!r}"
        found = [
            ast.literal_eval(node.value)
            for node in ast.parse(text).body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PLUGIN"
        ]
        assert len(found) == 1
        assert found[0]["api"] == 1
        assert found[0]["summary"]
        assert isinstance(found[0]["requires"], dict)

    def test_every_option_carries_the_name_of_the_room_and_may_be_left_out(self, case):
        parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
        case.room.add_arguments(parser.add_argument_group(case.target))
        prefix = f"--{case.target.replace('_', '-')}-"
        options = [option for action in parser._actions for option in action.option_strings]
        assert [option for option in options if not option.startswith(prefix)] == []
        assert all(not action.required for action in parser._actions)

    def test_a_deployed_package_answers_at_its_url(self, case):
        endpoint = case.deploy(CONSTANT.format(version=1))
        assert case.call(endpoint, {"x": [1, "é", None]}) == (200, {"version": 1, "got": {"x": [1, "é", None]}})

    def test_the_endpoint_says_what_it_is(self, case):
        endpoint = case.deploy(CONSTANT.format(version=1))
        assert isinstance(endpoint, Endpoint)
        assert (endpoint.name, endpoint.target, endpoint.state) == ("one", case.target, "running")
        assert datetime.fromisoformat(endpoint.created).utcoffset() is not None
        assert json.loads(json.dumps(endpoint.details)) == endpoint.details
        assert case.room.status(endpoint, case.ctx) == "running"

    def test_a_registered_endpoint_is_known_after_a_trip_through_json(self, case):
        endpoint = Endpoint(**json.loads(json.dumps(case.deploy(CONSTANT.format(version=1))._asdict())))
        assert case.room.status(endpoint, case.ctx) == "running"
        case.room.remove(endpoint, case.ctx)
        assert case.call(endpoint, {})[0] in (0, 404)

    def test_a_new_version_under_the_same_name_takes_over(self, case):
        case.deploy(CONSTANT.format(version=1))
        second = case.deploy(CONSTANT.format(version=2))
        assert [case.call(second, i)[1]["version"] for i in range(8)] == [2] * 8

    def test_the_same_package_can_be_deployed_twice(self, case):
        case.deploy(CONSTANT.format(version=1))
        again = case.deploy(CONSTANT.format(version=1))
        assert case.call(again, 5) == (200, {"version": 1, "got": 5})

    def test_a_version_that_does_not_come_up_leaves_the_old_one_in_place(self, case):
        first = case.deploy(CONSTANT.format(version=1))
        with pytest.raises(KaggError, match="no model here"):
            case.deploy(RAISES_ON_LOAD)
        assert case.call(first, 3) == (200, {"version": 1, "got": 3})
        assert case.room.status(first, case.ctx) == "running"

    def test_a_first_version_that_does_not_come_up_is_an_error_with_its_own_words(self, case):
        with pytest.raises(KaggError, match="no model here"):
            case.deploy(RAISES_ON_LOAD)
        case.deploy(CONSTANT.format(version=2))

    def test_what_is_not_a_package_is_refused(self, case):
        broken = case.folder / "broken.zip"
        broken.write_bytes(b"PK\x03\x04 not really")
        for path in (broken, case.folder / "absent.zip"):
            with pytest.raises(KaggError):
                case.room.deploy(path, "one", case.args(), case.ctx)

    @pytest.mark.parametrize("name", HOSTILE_NAMES)
    def test_a_name_that_is_no_name_is_refused(self, case, name):
        with pytest.raises(KaggError):
            case.deploy(CONSTANT.format(version=1), name)

    def test_an_exception_in_the_function_is_a_500_and_the_next_call_works(self, case):
        endpoint = case.deploy(RAISES_ON_CALL)
        status, answer = case.call(endpoint, {"by": 0})
        assert status == 500
        assert "ZeroDivisionError" in json.dumps(answer)
        assert case.call(endpoint, {"by": 5}) == (200, 2.0)

    def test_two_endpoints_do_not_mix(self, case):
        one, two = case.deploy(CONSTANT.format(version=1), "one"), case.deploy(CONSTANT.format(version=2), "two")
        assert (case.call(one, 0)[1]["version"], case.call(two, 0)[1]["version"]) == (1, 2)
        case.room.remove(one, case.ctx)
        assert case.call(two, 0)[1]["version"] == 2

    def test_a_removed_endpoint_answers_no_more_and_can_be_removed_again(self, case):
        endpoint = case.deploy(CONSTANT.format(version=1))
        case.room.remove(endpoint, case.ctx)
        assert case.call(endpoint, {})[0] in (0, 404)
        assert case.room.status(endpoint, case.ctx) != "running"
        case.room.remove(endpoint, case.ctx)

    def test_a_stopped_endpoint_starts_again_with_the_same_answers(self, case):
        if not hasattr(case.room, "stop"):
            pytest.skip("this room has neither start nor stop")
        endpoint = case.deploy(CONSTANT.format(version=1))
        stopped = case.room.stop(endpoint, case.ctx)
        assert stopped.state == case.room.status(stopped, case.ctx) == "stopped"
        assert case.call(stopped, {})[0] in (0, 404, 503)
        started = case.room.start(stopped, case.ctx)
        assert started.state == case.room.status(started, case.ctx) == "running"
        assert case.call(started, 1) == (200, {"version": 1, "got": 1})


# --- the reference ---------------------------------------------------------------------------------------------------


class _Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        function = self.server.rooms.get(self.path.strip("/"))
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, answer = 404, None
        if function:
            try:
                status, answer = 200, function(json.loads(body))
            except Exception as error:  # noqa: BLE001 - the user's function may raise anything
                status, answer = 500, {"error": {"type": type(error).__name__, "message": str(error)}}
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


class MemoryRoom:
    """Keeps functions in a dictionary and serves them from a thread; `close` ends it."""

    PLUGIN = {"api": 1, "summary": "functions in memory", "requires": {}}

    def __init__(self):
        self.functions: dict[str, Callable[[Any], Any]] = {}
        self.kept: dict[str, Callable[[Any], Any]] = {}
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
        self.server.rooms = self.functions  # type: ignore[attr-defined]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join(10)
        self.server.server_close()

    def add_arguments(self, group):
        group.add_argument("--memory-label", default="")

    def check_name(self, name):
        if not name.isascii() or not name.isalnum() or len(name) > 63:
            raise KaggError(f"{name!r} is not an endpoint name")

    def load(self, package):
        space: dict[str, Any] = {"__name__": "kagg_app"}
        try:
            with zipfile.ZipFile(package) as archive:
                exec(archive.read("kagg_app.py"), space)  # noqa: S102 - the test's own package
        except Exception as error:
            raise KaggError(f"it did not come up: {error}") from error
        return space["predict"]

    def deploy(self, package, name, args, ctx):
        self.check_name(name)
        self.functions[name] = self.load(package)
        url = f"http://127.0.0.1:{self.server.server_port}/{name}"
        return Endpoint(name, "memory", url, created=ctx.now().isoformat(), details={"label": args.memory_label})

    def status(self, endpoint, ctx):
        return "running" if endpoint.name in self.functions else "stopped"

    def stop(self, endpoint, ctx):
        self.kept[endpoint.name] = self.functions.pop(endpoint.name)
        return endpoint._replace(state="stopped")

    def start(self, endpoint, ctx):
        self.functions[endpoint.name] = self.kept[endpoint.name]
        return endpoint._replace(state="running")

    def remove(self, endpoint, ctx):
        self.functions.pop(endpoint.name, None)


# --- rooms with one defect each --------------------------------------------------------------------------------------


class KeepsTheFirstVersion(MemoryRoom):
    def deploy(self, package, name, args, ctx):
        before = self.functions.get(name)
        endpoint = super().deploy(package, name, args, ctx)
        self.functions[name] = before or self.functions[name]
        return endpoint


class StopsTheOldOneFirst(MemoryRoom):
    def deploy(self, package, name, args, ctx):
        self.functions.pop(name, None)
        return super().deploy(package, name, args, ctx)


class ForgetsToRemove(MemoryRoom):
    def remove(self, endpoint, ctx):
        pass


class RemovesOnce(MemoryRoom):
    def remove(self, endpoint, ctx):
        del self.functions[endpoint.name]


class RemovesEverything(MemoryRoom):
    def remove(self, endpoint, ctx):
        self.functions.clear()


class TakesAnyName(MemoryRoom):
    def check_name(self, name):
        pass


class HidesTheReason(MemoryRoom):
    def load(self, package):
        try:
            return super().load(package)
        except KaggError:
            raise KaggError("deployment failed") from None


class LetsErrorsThrough(MemoryRoom):
    def load(self, package):
        with zipfile.ZipFile(package) as archive:
            space: dict[str, Any] = {}
            exec(archive.read("kagg_app.py"), space)  # noqa: S102 - the test's own package
        return space["predict"]


class ForgetsTheTimeZone(MemoryRoom):
    def deploy(self, package, name, args, ctx):
        return super().deploy(package, name, args, SimpleNamespace(now=lambda: datetime(2026, 1, 1)))  # noqa: DTZ001


class HasAnOptionOfAnotherRoom(MemoryRoom):
    def add_arguments(self, group):
        super().add_arguments(group)
        group.add_argument("--port")


class SaysItRunsForEver(MemoryRoom):
    def status(self, endpoint, ctx):
        return "running"


class StopsInNameOnly(MemoryRoom):
    def stop(self, endpoint, ctx):
        return endpoint._replace(state="stopped")


class KeepsObjectsInDetails(MemoryRoom):
    def deploy(self, package, name, args, ctx):
        return super().deploy(package, name, args, ctx)._replace(details={"package": package})


BROKEN: dict[type[MemoryRoom], str] = {
    KeepsTheFirstVersion: "test_a_new_version_under_the_same_name_takes_over",
    StopsTheOldOneFirst: "test_a_version_that_does_not_come_up_leaves_the_old_one_in_place",
    ForgetsToRemove: "test_a_removed_endpoint_answers_no_more_and_can_be_removed_again",
    RemovesOnce: "test_a_removed_endpoint_answers_no_more_and_can_be_removed_again",
    RemovesEverything: "test_two_endpoints_do_not_mix",
    TakesAnyName: "test_a_name_that_is_no_name_is_refused",
    HidesTheReason: "test_a_first_version_that_does_not_come_up_is_an_error_with_its_own_words",
    LetsErrorsThrough: "test_what_is_not_a_package_is_refused",
    ForgetsTheTimeZone: "test_the_endpoint_says_what_it_is",
    HasAnOptionOfAnotherRoom: "test_every_option_carries_the_name_of_the_room_and_may_be_left_out",
    SaysItRunsForEver: "test_a_removed_endpoint_answers_no_more_and_can_be_removed_again",
    StopsInNameOnly: "test_a_stopped_endpoint_starts_again_with_the_same_answers",
    KeepsObjectsInDetails: "test_the_endpoint_says_what_it_is",
}
