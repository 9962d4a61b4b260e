"""Requests: redirects, origins, connections that die; no credential and no body reaches a host it was not meant for."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from front_door import API, QuickContext, close, environment, kagg

import kagg as spine
from kagg import Endpoint, Exit, KaggError

KEY = "key-0123456789abcdef"
TOKEN = "KGAT_0123456789abcdef0123456789abcdef"
SOURCE = "SOURCE_OF_MINE = 1\n"


@pytest.fixture
def kaggle(tmp_path, web):
    """A context signed in at the scripted server."""
    ctx = QuickContext(environment(tmp_path, KAGG_KAGGLE_URL=web.url, KAGGLE_USERNAME="demo", KAGGLE_KEY=KEY))
    yield ctx
    close(ctx)


def secrets_seen(server):
    """Return the requests of a server that hold anything it should not see."""
    words = ("authorization", "cookie", "x-kagg-token")
    return [
        request
        for request in server.requests
        if any(word in request.headers for word in words)
        or any(secret.encode() in request.body for secret in (KEY, TOKEN, "SOURCE_OF_MINE"))
    ]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_origin_takes_neither_credentials_nor_body_along(
    kaggle, web, other_web, tmp_path, status
):
    target = other_web.on("/there", (200, {"metadata": {}, "blob": {"source": "x", "slug": "moved"}}, {}))
    web.on(API + "GetKernel", (status, b"", {"Location": target}))
    web.on(API + "SaveKernel", (status, b"", {"Location": target}))
    web.on(API + "GetKernelSessionStatus", (200, {"status": "COMPLETE"}, {}))
    (tmp_path / "train_job.py").write_text(SOURCE)
    kagg(kaggle, "pull", "demo/hello", "--dest", tmp_path / "out")
    web.on(API + "GetKernel", (200, {"metadata": {}}, {}))
    kagg(kaggle, "push", tmp_path / "train_job.py")
    assert {request.path.rpartition("/")[2] for request in web.requests} >= {"GetKernel", "SaveKernel"}
    assert all("authorization" in request.headers for request in web.requests)
    assert secrets_seen(other_web) == []


@pytest.mark.parametrize("status", [307, 308])
def test_a_token_is_not_redirected_to_another_origin(tmp_path, web, other_web, status):
    ctx = QuickContext(environment(tmp_path, KAGG_KAGGLE_URL=web.url, KAGGLE_API_TOKEN=TOKEN))
    target = other_web.on("/there", (200, {"active": True, "username": "eve"}, {}))
    web.on("/api/v1/security.OAuthService/IntrospectToken", (status, b"", {"Location": target}))
    kagg(ctx, "list", "--mine")
    close(ctx)
    assert secrets_seen(other_web) == []


def test_localhost_is_another_origin_than_its_address(kaggle, web, other_web, tmp_path):
    other = other_web.on("/there", (200, {"blob": {"source": "x", "slug": "moved"}}, {})).replace(
        "127.0.0.1", "localhost"
    )
    web.on(API + "GetKernel", (302, b"", {"Location": other}))
    kagg(kaggle, "pull", "demo/hello", "--dest", tmp_path / "out")
    assert secrets_seen(other_web) == []


def test_a_redirect_back_home_does_not_bring_the_credentials_back(ctx, web, other_web):
    home = web.on("/home", (200, b"{}", {}))
    other_web.on("/away", (302, b"", {"Location": home}))
    start = web.on("/start", (302, b"", {"Location": other_web.url + "/away"}))
    spine.fetch(ctx, "GET", start, headers={"Authorization": "Bearer " + TOKEN, "Cookie": "a=b", "X-Kagg-Token": TOKEN})
    assert [request.path for request in web.requests] == ["/start", "/home"]
    assert secrets_seen(other_web) == []
    assert "authorization" not in web.requests[1].headers


def test_a_redirect_within_the_origin_keeps_the_credentials(ctx, web):
    web.on("/b", (200, b"{}", {}))
    start = web.on("/a", (302, b"", {"Location": "/b"}))
    spine.fetch(ctx, "GET", start, headers={"Authorization": "Bearer " + TOKEN})
    assert web.requests[1].headers["authorization"] == "Bearer " + TOKEN


@pytest.mark.parametrize(
    "location",
    [
        "http://[bad",
        "http://example.org/",
        "ftp://example.org/",
        "file:///etc/passwd",
        "javascript:1",
        "//",
        "http://",
        "https://127.0.0.1:99999/",
    ],
)
def test_a_redirect_to_nonsense_or_clear_text_is_refused(kaggle, web, location, tmp_path):
    web.on(API + "GetKernel", (302, b"", {"Location": location}))
    done = kagg(kaggle, "pull", "demo/hello", "--dest", tmp_path / "out")
    assert done.code in (Exit.SERVICE, Exit.CONFIG, Exit.USAGE), done.err
    assert not (tmp_path / "out").exists()


def test_redirects_in_a_circle_end(ctx, web, tmp_path):
    web.on("/b", (302, b"", {"Location": "/a.ipynb"}))
    url = web.on("/a.ipynb", (302, b"", {"Location": "/b"}))
    done = kagg(ctx, "pull", url, "--dest", tmp_path / "out")
    assert done.code == Exit.SERVICE
    assert len(web.requests) <= 40


def test_a_redirected_link_is_followed(ctx, web, other_web, tmp_path):
    body = b'{"cells": [], "nbformat": 4}'
    url = web.on(
        "/a.ipynb", (302, b"", {"Location": other_web.on("/é b", (200, body, {})).replace("é b", "%C3%A9%20b")})
    )
    other_web.on("/%C3%A9%20b", (200, body, {}))
    done = kagg(ctx, "pull", url, "--dest", tmp_path / "out")
    assert done.code == Exit.DONE, done.err
    assert (tmp_path / "out" / "a.ipynb").read_bytes() == body


# Connections


def test_a_connection_is_used_again(kaggle, web, tmp_path):
    peers = set()

    def answer(handler):
        peers.add(handler.client_address)
        handler.whole(200, {"blob": {"source": "x", "slug": "hello"}})

    web.on(API + "GetKernel", answer)
    for _ in range(5):
        assert kagg(kaggle, "pull", "demo/hello", "--dest", tmp_path / "out").code == Exit.DONE
    assert len(peers) == 1


def test_a_kept_connection_that_the_server_closed_is_replaced(kaggle, web, tmp_path):
    web.on(
        API + "GetKernel", lambda handler: handler.whole(200, {"blob": {"source": "x", "slug": "hello"}}, close=True)
    )
    for _ in range(3):
        assert kagg(kaggle, "pull", "demo/hello", "--dest", tmp_path / "out").code == Exit.DONE
        time.sleep(0.05)
    assert len(web.requests) == 3
    assert kaggle.waits == []


def test_a_post_over_a_dead_connection_is_sent_once_and_arrives(ctx, web):
    web.on("/predict", lambda handler: handler.whole(200, {"n": len(web.requests)}, close=True))
    endpoint = Endpoint("e", "", web.url + "/predict")
    for number in (1, 2, 3):
        assert spine.call_endpoint(ctx, endpoint, {"x": 1}) | {"latency_ms": 0} == {
            "status": 200,
            "latency_ms": 0,
            "body": {"n": number},
        }
        time.sleep(0.05)


def test_a_call_that_may_have_arrived_is_not_repeated(ctx, web):
    def hang_up(handler):
        handler.close_connection = True

    web.on("/predict", hang_up)
    done = kagg(ctx, "call", web.url + "/predict", "--data", "{}")
    assert done.code == Exit.SERVICE
    assert len(web.requests) == 1


def test_a_call_is_not_redirected(ctx, web, other_web):
    web.on("/predict", (307, b"", {"Location": other_web.on("/there", (200, b"{}", {}))}))
    assert kagg(ctx, "call", web.url + "/predict", "--data", "{}").code == Exit.SERVICE
    assert other_web.requests == []


@pytest.mark.parametrize("body", [b"plain text", b"", b'{"cut":', b"\xff", b"[" * 100_000])
def test_whatever_an_endpoint_answers_is_shown(ctx, web, body):
    web.on("/predict", (200, body, {}))
    done = kagg(ctx, "call", web.url + "/predict", "--data", "{}", "--json")
    assert done.code == Exit.DONE, done.err
    assert isinstance(done.document["body"], str)


def test_an_endpoint_that_fails_is_exit_12_with_its_answer(ctx, web):
    web.on("/predict", (500, {"error": "no model"}, {}))
    done = kagg(ctx, "--json", "call", web.url + "/predict", "--data", "{}")
    assert done.code == Exit.SERVICE
    assert done.document["body"] == {"error": "no model"}


def test_many_threads_share_the_connections_and_mix_nothing_up(ctx, web):
    def answer(handler):
        handler.whole(200, {"path": handler.path})

    for number in range(200):
        web.on(f"/{number}", answer)
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda n: spine.fetch(ctx, "GET", f"{web.url}/{n}").json()["path"], range(200)))
    assert replies == [f"/{number}" for number in range(200)]


def test_a_body_nobody_read_does_not_spoil_the_next_answer(ctx, web):
    web.on("/big", (200, b"x" * 300_000, {}))
    web.on("/next", (200, b"mine", {}))
    stream = spine.send(ctx, "GET", web.url + "/big", headers={})
    stream.close()
    assert spine.fetch(ctx, "GET", web.url + "/next").body == b"mine"


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body_do_not_spoil_the_next(ctx, web, status):
    def bare(handler):
        handler.send_response(status)
        handler.end_headers()

    web.on("/empty", bare)
    web.on("/next", (200, b"mine", {}))
    assert spine.fetch(ctx, "GET", web.url + "/empty", ok=(status,)).body == b""
    assert spine.fetch(ctx, "GET", web.url + "/next").body == b"mine"
    assert spine.fetch(ctx, "HEAD", web.url + "/next").body == b""
    assert spine.fetch(ctx, "GET", web.url + "/next").body == b"mine"


def test_chunked_answers_arrive_whole_and_cut_ones_are_told_apart(ctx, web):
    def chunks(end):
        def answer(handler):
            handler.send_response(200)
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            handler.wfile.write(b"5\r\nhello\r\n5\r\nworld\r\n" + end)
            handler.close_connection = True

        return answer

    web.on("/c", chunks(b""), chunks(b"0\r\n\r\n"))
    assert spine.fetch(ctx, "GET", web.url + "/c").body == b"helloworld"
    assert len(web.requests) == 2


def test_an_answer_beyond_the_limit_is_refused(ctx, web, monkeypatch):
    monkeypatch.setattr(spine, "MAX_REPLY_BYTES", 1000)
    monkeypatch.setitem(spine.read_body.__kwdefaults__ or {}, "limit", 1000)
    defaults = spine.read_body.__defaults__
    if defaults:
        monkeypatch.setattr(spine.read_body, "__defaults__", (*defaults[:-1], 1000))
    web.on("/big", (200, b"x" * 200_000, {}))
    with pytest.raises(KaggError) as caught:
        spine.fetch(ctx, "GET", web.url + "/big")
    assert caught.value.code == Exit.SERVICE
    assert len(web.requests) == 1


def test_requests_are_spread_as_the_rate_limit_says(ctx, web, tmp_path):
    ctx.env = environment(tmp_path, KAGG_RATE_LIMIT="2")
    web.on("/x", (200, b"{}", {}))
    for _ in range(5):
        spine.fetch(ctx, "GET", web.url + "/x")
    assert 1.5 < sum(ctx.waits) < 2.5


@pytest.mark.parametrize("value", ["fast", "-1", "1e999", "nan"])
def test_a_rate_limit_that_is_no_number_is_exit_10(ctx, web, tmp_path, value):
    ctx.env = environment(tmp_path, KAGG_RATE_LIMIT=value, KAGG_KAGGLE_URL=web.url)
    assert kagg(ctx, "list").code == Exit.CONFIG


def test_a_proxy_is_used_for_https_and_gets_no_credential(tmp_path):
    """A proxy sees CONNECT and nothing of what is inside."""
    seen = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(5)
                seen.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        proxy = f"http://user:pass%40word@127.0.0.1:{listener.getsockname()[1]}"
        env = environment(tmp_path, HTTPS_PROXY=proxy, KAGGLE_USERNAME="demo", KAGGLE_KEY=KEY)
        ctx = QuickContext(env)
        with pytest.raises(KaggError) as caught:
            spine.fetch(
                ctx, "GET", "https://api.kaggle.com/x", headers={"Authorization": "Bearer " + TOKEN}, attempts=1
            )
        thread.join(5)
    assert caught.value.code == Exit.SERVICE
    assert seen[0].startswith(b"CONNECT api.kaggle.com:443")
    assert TOKEN.encode() not in seen[0]
    assert "pass@word" not in str(caught.value)
    assert b"dXNlcjpwYXNzQHdvcmQ=" in seen[0]  # user:pass@word


def test_no_proxy_is_kept(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        proxy = f"http://127.0.0.1:{listener.getsockname()[1]}"
        ctx = QuickContext(environment(tmp_path, https_proxy=proxy, no_proxy="example.org, .localhost, localhost"))
        with pytest.raises(KaggError):
            spine.fetch(ctx, "GET", "https://localhost:1/x", attempts=1)
        with pytest.raises(TimeoutError):
            listener.accept()


def test_a_server_with_a_certificate_that_nobody_signed_is_refused(tmp_path, ctx):
    """TLS without a trusted certificate never gets a request."""
    import ssl
    import subprocess

    pair = tmp_path / "pair.pem"
    made = (
        subprocess.run(
            [
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-keyout",
                str(pair),
                "-out",
                str(tmp_path / "c.pem"),
                "-days",
                "1",
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
            ],
            capture_output=True,
            check=False,
            timeout=60,
        )
        if __import__("shutil").which("openssl")
        else None
    )
    if made is None or made.returncode:
        pytest.skip("openssl is not here")
    pair.write_text(pair.read_text() + (tmp_path / "c.pem").read_text())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    got = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            for _ in range(2):
                raw, _ = listener.accept()
                raw.settimeout(5)
                try:
                    with context.wrap_socket(raw, server_side=True) as tls:
                        got.append(tls.recv(65536))
                        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
                except OSError:
                    raw.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"https://localhost:{listener.getsockname()[1]}/"
        with pytest.raises(KaggError) as caught:
            spine.fetch(ctx, "GET", url, headers={"Authorization": "Bearer " + TOKEN}, attempts=1)
        assert got == []
        assert caught.value.code == Exit.SERVICE
        assert "ertificate" in caught.value.message
        trusting = QuickContext(environment(tmp_path, SSL_CERT_FILE=str(tmp_path / "c.pem")))
        assert spine.fetch(trusting, "GET", url).body == b"{}"
        close(trusting)
        thread.join(5)


def test_json_is_sent_as_it_is(ctx, web):
    web.on("/predict", (200, b"{}", {}))
    payload = {"text": "é 日本 \u2028", "n": 1.5, "deep": [[None, True]]}
    spine.call_endpoint(ctx, Endpoint("e", "", web.url + "/predict"), payload)
    assert json.loads(web.requests[0].body) == payload
    assert web.requests[0].headers["content-type"] == "application/json"
