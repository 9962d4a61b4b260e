"""plugins/lib/serve.py as a real process: what it answers, what it refuses, how it starts and ends."""

from __future__ import annotations

import http.client
import json
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from plugins.lib import serve
from plugins.lib.serve_app import to_json

SCRIPT = Path(serve.__file__)
JSON = {"Content-Type": "application/json"}
ECHO = "def predict(payload):\n    return payload\n"


class Served:
    """A server process and ways to talk to it."""

    def __init__(self, folder: Path, code: str, entry: str = "predict", *options: str, wait_for: str = "ready") -> None:
        self.package, self.state = folder / "package", folder / "state.json"
        self.package.mkdir(exist_ok=True)
        (self.package / "kagg_app.py").write_text(code)
        (self.package / "kagg_package.json").write_text(json.dumps({"version": 1, "entry": entry}))
        command = [sys.executable, str(SCRIPT), "--package", str(self.package), "--state", str(self.state), *options]
        self.log = (folder / "log.txt").open("wb")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.wait(wait_for)
        self.port = self.read()["port"]

    def read(self) -> dict:
        return json.loads(self.state.read_text())

    def wait(self, status: str) -> None:
        deadline = time.monotonic() + 30
        while not self.state.exists() or self.read()["status"] not in (status, "failed", "stopped"):
            assert self.process.poll() is None, Path(self.log.name).read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def ask(self, method="POST", path="/", body=None, headers=JSON) -> tuple[int, object, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, dict(headers))
            reply = connection.getresponse()
            content = reply.read()
            return reply.status, json.loads(content) if content else None, reply.headers
        finally:
            connection.close()

    def post(self, value, **more):
        return self.ask(body=json.dumps(value), **more)[:2]

    def raw(self, *pieces: bytes, pause_s: float = 0.0) -> bytes:
        """Send bytes and return everything that comes back until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as sock:
            for piece in pieces:
                sock.sendall(piece)
                time.sleep(pause_s)
            found = b""
            while chunk := sock.recv(65536):
                found += chunk
            return found

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self.log.close()

    def log_text(self) -> str:
        return Path(self.log.name).read_text()


@pytest.fixture
def serving(tmp_path):
    made = []

    def make(code=ECHO, entry="predict", *options, **more):
        made.append(Served(tmp_path, code, entry, *options, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def echo(tmp_path_factory):
    """One echo server for all tests that only ask."""
    found = Served(tmp_path_factory.mktemp("echo"), ECHO, "predict", "--max-body", "1000")
    yield found
    found.close()


# --- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, 0, "é 🎈 \ud83d", [1, [2.5, None]], {"a": {"b": [True]}}, "x" * 900])
def test_what_goes_in_as_json_comes_out_as_json(echo, value):
    assert echo.post(value) == (200, value)
    assert echo.post(value, path="/predict") == (200, value)


def test_the_other_addresses_describe_and_refuse(echo):
    assert echo.ask("GET", "/healthz")[:2] == (200, {"status": "ok", "pid": echo.process.pid, "entry": "predict"})
    assert echo.ask("GET", "/")[1]["entry"] == "predict"
    assert echo.ask("HEAD", "/healthz")[0] == 200
    assert echo.ask("GET", "/nothing")[0] == 404
    status, answer, headers = echo.ask("GET", "/predict")
    assert (status, headers["Allow"], answer["error"]["type"]) == (405, "POST", "MethodNotAllowed")
    assert echo.ask("DELETE", "/")[0] == 405
    assert echo.ask("OPTIONS", "/")[0] == 405


@pytest.mark.parametrize("body", ["", "{", "{'a': 1}", "NaN", '{"a": Infinity}', b"\xff", "[" * 900, "1" * 900 + "x"])
def test_what_is_not_json_is_400(echo, body):
    status, answer, _ = echo.ask(body=body)
    assert (status, answer["error"]["type"]) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("application/json; charset=utf-8", 200),
        ("application/x-www-form-urlencoded", 200),
        ("text/plain", 200),
        ("application/vnd.api+json", 200),
        ("multipart/form-data; boundary=x", 415),
        ("image/png", 415),
        ("text/html", 415),
        ("application/soap+xml", 415),
    ],
)
def test_the_content_type_matters_only_when_it_cannot_be_json(echo, kind, wanted):
    assert echo.ask(body="1", headers={"Content-Type": kind})[0] == wanted


def test_a_body_over_the_limit_is_413_before_it_is_sent(echo):
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n"
    assert echo.raw(head + b"[1").startswith(b"HTTP/1.1 413 ")
    assert echo.raw(head.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")).startswith(b"HTTP/1.1 413 ")
    assert echo.ask(body=b"[" + b" " * 5000 + b"]")[0] == 413
    assert echo.ask(body=b'"' + b"x" * 998 + b'"')[0] == 200


def test_chunked_bodies_are_decoded_within_the_limit(echo):
    def chunks(*pieces):
        return iter(pieces)

    assert echo.ask(body=chunks(b"[1,", b" 2", b"]"))[:2] == (200, [1, 2])
    assert echo.ask(body=chunks(*[b"0" * 100] * 11))[0] == 413
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    assert echo.raw(head + b"2;x=y\r\n[1\r\n1\r\n]\r\n0\r\nTrailer: x\r\n\r\n").endswith(b"\r\n\r\n[1]")
    assert echo.raw(head + b"zz\r\n").startswith(b"HTTP/1.1 400 ")
    assert echo.raw(head + b"-1\r\n").startswith(b"HTTP/1.1 400 ")
    assert echo.raw(head + b"1\r\n[xx").startswith(b"HTTP/1.1 400 ")
    assert echo.raw(head + b"ffffffff\r\n").startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("request_head", "wanted"),
    [
        (b"GET / HTTP/1.1", 400),  # no Host
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost", 400),
        (b"GET / HTTP/2.0\r\nHost: localhost", 505),
        (b"GET  / HTTP/1.1\r\nHost: localhost", 400),
        (b"nonsense", 400),
        (b"GET / HTTP/1.1\r\nHost : localhost", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n folded", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\nX: y", 400),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: +1", 400),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1, 1", 400),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked", 400),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked", 501),
        (
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\nConnection: close",
            415,
        ),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40000, 431),
        (b"GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close", 200),
        (b"GET /healthz HTTP/1.0", 200),
    ],
)
def test_requests_are_read_strictly(echo, request_head, wanted):
    assert echo.raw(request_head + b"\r\n\r\n").startswith(b"HTTP/1.1 %d " % wanted)


def test_one_connection_carries_many_requests_also_pipelined(echo):
    one = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n%d"
    last = one.replace(b"Host", b"Connection: close\r\nHost")
    found = echo.raw(*[one % 1 + one % 2, b"\r\n" + (one % 3)[:30], (one % 3)[30:] + last % 4], pause_s=0.02)
    assert re.findall(rb"200 OK.*?\r\n\r\n(\d)", found, re.DOTALL) == [b"1", b"2", b"3", b"4"]


def test_other_hosts_and_other_hosts_pages_are_refused(echo):
    assert echo.ask("GET", "/healthz", headers={"Host": "evil.example"})[0] == 403
    assert echo.ask("GET", "/healthz", headers={"Host": "127.0.0.1.evil.example:80"})[0] == 403
    assert echo.ask("GET", "/healthz", headers={"Host": "LOCALHOST:9"})[0] == 200
    assert echo.ask("GET", "/healthz", headers={"Host": "[::1]:9"})[0] == 200
    for origin in ("https://evil.example", "null", "", "http://localhost.evil.example"):
        assert echo.ask(body="1", headers={**JSON, "Origin": origin})[0] == 403
    assert echo.ask(body="1", headers={**JSON, "Origin": "http://localhost:3000"})[0] == 200


# --- the package's function ------------------------------------------------------------------------------------------


def test_an_exception_is_a_500_whose_traceback_stays_in_the_log(serving):
    served = serving("def predict(p):\n    if p == 1:\n        raise SystemExit('out')\n    return {}[p]\n")
    status, answer = served.post("missing")
    assert (status, answer["error"]["type"], answer["error"]["message"]) == (500, "KeyError", "'missing'")
    assert "Traceback" not in json.dumps(answer)
    assert "Traceback" in served.log_text()
    assert answer["error"]["request_id"] in served.log_text()
    assert served.post(1)[1]["error"]["type"] == "SystemExit"
    assert served.ask("GET", "/healthz")[0] == 200


def test_a_handler_gets_the_whole_request_and_may_set_the_status(serving):
    served = serving(
        "def handler(request):\n"
        "    request['headers'] = {'x-a': request['headers'].get('x-a')}\n"
        "    kind = request['query'].get('kind')\n"
        "    if kind == 'tuple': return 201, request\n"
        "    if kind == 'dict': return {'status': 404, 'body': 'gone'}\n"
        "    if kind == 'bad': return 99, None\n"
        "    if kind == 'empty': return 204, None\n"
        "    return {'status': 'fine', 'request': request}\n",
        "handler",
    )
    status, answer, _ = served.ask("PUT", "/a%20b/c?kind=tuple&x=1&x=2&y=", '{"a": 1}', {**JSON, "X-A": "1"})
    assert status == 201
    assert answer == {
        "method": "PUT",
        "path": "/a b/c",
        "headers": {"x-a": "1"},
        "query": {"kind": "tuple", "x": "2", "y": ""},
        "body": {"a": 1},
    }
    assert served.ask("GET", "/any?kind=dict")[:2] == (404, "gone")
    assert served.ask("GET", "/any?kind=bad")[0] == 500
    assert served.ask("GET", "/any?kind=empty")[:2] == (204, None)
    assert served.ask("POST", "/", "plain text", {"Content-Type": "text/plain"})[1]["request"]["body"] == "plain text"
    assert served.ask("GET", "/any", headers={})[1]["request"]["body"] is None
    assert served.ask(body="{")[0] == 400


def test_coroutines_share_one_loop_with_the_clients_they_made(serving):
    served = serving(
        "import asyncio\nlock = None\n"
        "async def process_request(data):\n"
        "    global lock\n    lock = lock or asyncio.Lock()\n"
        "    async with lock:\n        await asyncio.sleep(0.01)\n        return id(asyncio.get_running_loop())\n",
        "process_request",
    )
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(served.post(1))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert {status for status, _ in answers} == {200}
    assert len({loop for _, loop in answers}) == 1


def test_the_module_runs_in_its_own_folder_and_imports_from_it(serving, tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "packaging.py").write_text("MINE = 1")  # also the name of a neighbour of serve.py
    served = serving(
        "import os, sys, packaging\nprint('loading')\n"
        "def predict(p):\n    return [os.getcwd(), packaging.MINE, sys.argv, __name__]\n"
    )
    folder = str(served.package.resolve())
    assert served.post(0) == (200, [folder, 1, ["kagg_app.py"], "kagg_app"])
    assert "loading" in served.log_text()


def test_neighbours_of_the_server_do_not_hide_installed_packages(serving):
    served = serving("import packaging.version\ndef predict(p):\n    return str(packaging.version.Version('1.0'))\n")
    assert served.post(0) == (200, "1.0")


def test_a_pickle_made_in_a_notebook_finds_its_class(serving, tmp_path):
    class Model:
        pass

    (tmp_path / "package").mkdir()
    Model.__module__, Model.__qualname__ = "__main__", "Model"
    main = sys.modules["__main__"]
    main.Model = Model
    try:
        (tmp_path / "package" / "model.pkl").write_bytes(pickle.dumps(Model()))
    finally:
        del main.Model
    served = serving(
        "import pickle\nclass Model:\n    answer = 42\n"
        "with open('model.pkl', 'rb') as stream:\n    model = pickle.load(stream)\n"
        "def predict(p):\n    return model.answer\n"
    )
    assert served.post(0) == (200, 42)


def test_values_of_numpy_and_pandas_become_json():
    np, pd = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, np.nan]})
    value = {
        "scalar": np.float32(1.5),
        "int": np.int64(7),
        "bool": np.bool_(1),
        "array": np.arange(4).reshape(2, 2),
        "nan": [float("nan"), np.float64("inf")],
        "frame": frame,
        "series": frame["a"],
        "time": pd.Timestamp("2026-01-02T03:04:05Z"),
        "nothing": [pd.NA, pd.NaT],
        np.int64(3): (1, 2),
        "clock": datetime(2026, 1, 2, tzinfo=UTC),
    }
    assert json.loads(to_json(value)) == {
        "scalar": 1.5,
        "int": 7,
        "bool": True,
        "array": [[0, 1], [2, 3]],
        "nan": [None, None],
        "frame": [{"a": 1, "b": 0.5}, {"a": 2, "b": None}],
        "series": [1, 2],
        "time": "2026-01-02T03:04:05+00:00",
        "nothing": [None, None],
        "3": [1, 2],
        "clock": "2026-01-02T00:00:00+00:00",
    }


def test_a_value_that_json_cannot_hold_is_a_500_with_its_type(serving):
    served = serving(
        "class Odd: pass\nloop = []\nloop.append(loop)\n"
        "def predict(p):\n    return {'odd': Odd(), 'set': {1}, 'loop': loop}[p]\n"
    )
    assert "kagg_app.Odd" in served.post("odd")[1]["error"]["message"]
    assert "builtins.set" in served.post("set")[1]["error"]["message"]
    assert served.post("loop")[0] == 500


# --- starting and ending ---------------------------------------------------------------------------------------------


def test_health_is_503_while_the_module_loads_and_calls_wait_outside(serving):
    served = serving("import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n" + ECHO, wait_for="loading")
    status, answer, _ = served.ask("GET", "/healthz")
    assert (status, answer["status"]) == (503, "loading")
    assert served.ask(body="1")[2]["Retry-After"]
    (served.package / "go").touch()
    served.wait("ready")
    assert served.post(1) == (200, 1)


def test_a_module_that_raises_is_failed_with_its_last_line(serving):
    served = serving("import nowhere_to_be_found\n")
    state = served.read()
    assert (state["status"], state["error"]) == ("failed", "ModuleNotFoundError: No module named 'nowhere_to_be_found'")
    status, answer, _ = served.ask("GET", "/healthz")
    assert (status, answer["status"], answer["error"]) == (503, "failed", state["error"])
    assert served.post(1)[0] == 503


@pytest.mark.parametrize("code", ["x = 1\n", "predict = 3\n", "raise SystemExit(0)\n", "def predict(:\n"])
def test_a_module_without_its_function_is_failed(serving, code):
    assert serving(code).read()["status"] == "failed"


def test_the_state_file_says_which_process_this_is_and_only_to_its_owner(serving):
    served = serving()
    state = served.read()
    assert (state["version"], state["pid"], state["status"]) == (1, served.process.pid, "ready")
    assert state["start_time"] == serve.process_start_time(served.process.pid) != ""
    assert datetime.fromisoformat(state["started"]).tzinfo is not None
    assert served.state.stat().st_mode & 0o777 == 0o600


def test_a_zombie_and_a_free_pid_have_no_start_time():
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert serve.process_start_time(child.pid) == ""
    child.wait(10)
    assert serve.process_start_time(child.pid) == ""


def test_sigterm_finishes_what_is_being_answered_and_exits_0(serving):
    served = serving(
        "import time\ndef predict(p):\n    open('entered', 'w').close()\n    time.sleep(0.8)\n    return p\n"
    )
    answers = []
    caller = threading.Thread(target=lambda: answers.append(served.post("late")))
    caller.start()
    while not (served.package / "entered").exists():
        time.sleep(0.01)
    served.process.send_signal(signal.SIGTERM)
    caller.join(20)
    assert answers == [(200, "late")]
    assert served.process.wait(20) == 0
    assert served.read()["status"] == "stopped"


def test_sigterm_does_not_wait_for_ever_for_requests_or_threads(serving):
    served = serving(
        "import threading, time\nthreading.Thread(target=lambda: time.sleep(600)).start()\n"
        "def predict(p):\n    open('entered', 'w').close()\n    time.sleep(600)\n",
        "predict",
        *("--drain", "0.2"),
    )
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1")
        while not (served.package / "entered").exists():
            time.sleep(0.01)
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(20) == 0


def test_sigterm_ends_a_module_that_is_still_loading(serving):
    served = serving(
        "import time\nwhile True:\n    try:\n        time.sleep(600)\n    except BaseException:\n        pass\n",
        wait_for="loading",
    )
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(20) == 0
    assert served.read()["status"] == "stopped"


def test_a_slow_sender_gets_408_and_a_silent_one_holds_nobody_up(serving, tmp_path):
    short = tmp_path / "short"
    short.mkdir()
    for name in ("serve.py", "serve_app.py", "serve_http.py"):
        text = SCRIPT.with_name(name).read_text()
        (short / name).write_text(
            text.replace("HEAD_S, BODY_S, SEND_S = 60.0, 10.0, 60.0", "HEAD_S, BODY_S, SEND_S = 60.0, 0.3, 0.3")
        )
    assert "= 60.0, 0.3, 0.3" in (short / "serve_http.py").read_text()
    command = [sys.executable, short / "serve.py", "--package", tmp_path / "package", "--state", tmp_path / "s.json"]
    serving()
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            while (
                not (tmp_path / "s.json").exists() or json.loads((tmp_path / "s.json").read_text())["status"] != "ready"
            ):
                time.sleep(0.01)
            port = json.loads((tmp_path / "s.json").read_text())["port"]
            head = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
            for start in (head, head + b"Content-Length: 100\r\n\r\n"):
                with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
                    sock.sendall(start)
                    for _ in range(5):  # a byte now and then must not extend the time
                        time.sleep(0.1)
                        sock.sendall(b"x")
                    assert sock.recv(100).startswith(b"HTTP/1.1 408 ")
        finally:
            process.kill()


def test_connections_beyond_the_limit_get_503_and_a_hint_when_to_come_back(serving):
    served = serving(ECHO, "predict", "--max-connections", "2")
    holders = [http.client.HTTPConnection("127.0.0.1", served.port, timeout=20) for _ in range(2)]
    try:
        for holder in holders:
            holder.request("POST", "/", "1", JSON)
            assert holder.getresponse().read() == b"1"
        status, answer, headers = served.ask(body="1")
        assert (status, answer["error"]["type"], headers["Retry-After"]) == (503, "ServiceUnavailable", "1")
    finally:
        for holder in holders:
            holder.close()
    deadline = time.monotonic() + 10
    while served.post(1)[0] != 200:
        assert time.monotonic() < deadline


# --- beyond this machine ---------------------------------------------------------------------------------------------


def token_file(folder: Path, text: str = "correct-horse-battery", mode: int = 0o600) -> Path:
    path = folder / "token"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_with_a_token_every_call_needs_it_and_health_does_not(serving, tmp_path):
    served = serving(ECHO, "predict", "--token-file", str(token_file(tmp_path)))
    assert served.post(1)[0] == 401
    assert served.ask(body="1", headers={**JSON, "Authorization": "Bearer correct-horse-batter"})[0] == 401
    status, answer, _ = served.ask(body="1", headers={**JSON, "Authorization": "Bearer correct-horse-battery"})
    assert (status, answer) == (200, 1)
    assert served.ask("GET", "/")[0] == 401
    assert served.ask("GET", "/healthz")[0] == 200


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--host", "::"], "needs --token-file"),
        (["--token-file", "wide"], "chmod 600"),
        (["--token-file", "short"], "less than 16"),
    ],
)
def test_what_others_could_misuse_does_not_start(tmp_path, options, reason):
    (tmp_path / "wide").write_text("correct-horse-battery")
    (tmp_path / "wide").chmod(0o644)
    (tmp_path / "short").write_text("short")
    (tmp_path / "short").chmod(0o600)
    command = [sys.executable, str(SCRIPT), "--package", str(tmp_path), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert reason in done.stderr


def test_the_server_needs_nothing_but_its_three_files(tmp_path):
    for name in ("serve.py", "serve_app.py", "serve_http.py"):
        (tmp_path / name).write_bytes(SCRIPT.with_name(name).read_bytes())
    command = [sys.executable, "-S", "-s", "-E", "serve.py", "--help"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=30, check=False).returncode == 0
