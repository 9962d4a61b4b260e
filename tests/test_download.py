"""Downloads from storage that breaks off, lies, expires and limits; what has its final name is whole."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from base64 import b64encode
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from front_door import QuickContext, close, cut, environment

from kagg import Exit, KaggError
from plugins.lib.download import download
from plugins.lib.kaggle import storage

ROOT = Path(__file__).resolve().parent.parent
CONTENT = bytes(range(256)) * 2000  # 512,000 bytes, more than one piece
GET = "storage/GET/*"


@pytest.fixture
def source(idle_kaggle):
    """Return a function that signs a new URL for a file of the storage."""
    path = idle_kaggle.world.root / "datasets" / "data.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(CONTENT)
    given = []

    def url(ttl_s=3600.0):
        given.append(storage.sign(idle_kaggle.world, path, name="data.bin", ttl_s=ttl_s))
        return given[-1]

    url.given, url.path = given, path
    return url


@pytest.fixture
def get(demo, source, tmp_path):
    """Return a function that downloads to tmp_path/out/data.bin."""
    return lambda **checks: download(demo, source, tmp_path / "out" / "data.bin", **checks)


def left(tmp_path):
    """Return the files that are visible where the download goes."""
    return sorted(path.name for path in (tmp_path / "out").glob("*") if not path.name.startswith("."))


def sent(kaggle):
    return [status for method, _, status in kaggle.requests if method == "GET"]


def later(patch, kaggle, kind):
    """Let faults of this kind spare the first request."""
    real, spared = kaggle.faults.take, []

    def take(wanted, name):
        if wanted == kind and not spared:
            spared.append(name)
            return None
        return real(wanted, name)

    patch.setattr(kaggle.faults, "take", take)


def check(path):
    assert path.read_bytes() == CONTENT
    assert [other.name for other in path.parent.iterdir()] == [path.name]  # no part file is left


def test_a_download_is_whole_and_tidy(get, idle_kaggle):
    check(get())
    assert sent(idle_kaggle) == [200]


@pytest.mark.parametrize("size", [0, 1, 262_144, 262_145])
def test_sizes_at_the_edges(get, source, size):
    source.path.write_bytes(CONTENT[:size])
    assert get(size_bytes=size).read_bytes() == CONTENT[:size]


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("reset", {"bytes": 100_000}),
        ("truncate", {"bytes": 100_000}),
        ("truncate", {"bytes": 1}),
        ("truncate", {"bytes": 511_999}),
    ],
)
def test_what_breaks_off_goes_on_where_it_was(get, idle_kaggle, fault, options):
    idle_kaggle.faults.add(fault, GET, times=1, **options)
    check(get())
    assert sent(idle_kaggle) in ([200, 206], [200, 200])  # a reset may take what was on its way along
    if fault == "truncate":
        assert sent(idle_kaggle) == [200, 206]


def test_a_body_without_a_length_that_ends_early_is_noticed_by_its_size(get, idle_kaggle):
    idle_kaggle.faults.add("truncate", GET, times=1, bytes=100_000, announce=False)
    check(get(size_bytes=len(CONTENT)))


def test_a_body_without_a_length_that_ends_early_is_noticed_by_its_hash(get, idle_kaggle):
    idle_kaggle.faults.add("truncate", GET, times=1, bytes=100_000, announce=False)
    check(get())


@pytest.mark.timeout(60)
def test_a_stall_in_the_middle_goes_on(get, idle_kaggle):
    idle_kaggle.faults.add("stall", GET, times=1, bytes=100_000, seconds=600)
    check(get(timeout_s=0.4))


def test_a_wrong_byte_is_fetched_again(get, idle_kaggle):
    idle_kaggle.faults.add("corrupt", GET, times=1)
    check(get())


def test_a_file_that_is_always_wrong_is_exit_13_and_leaves_nothing(get, idle_kaggle, tmp_path):
    idle_kaggle.faults.add("corrupt", GET, times=None)
    with pytest.raises(KaggError) as caught:
        get()
    assert caught.value.code == Exit.INTEGRITY
    assert "data.bin" in caught.value.message
    assert list((tmp_path / "out").iterdir()) == []
    assert len(sent(idle_kaggle)) <= 4


def test_a_failed_download_leaves_the_good_old_file(get, idle_kaggle, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "data.bin").write_bytes(b"old but good")
    idle_kaggle.faults.add("corrupt", GET, times=None)
    with pytest.raises(KaggError):
        get()
    assert (tmp_path / "out" / "data.bin").read_bytes() == b"old but good"


@pytest.mark.parametrize("size", [len(CONTENT) - 1, len(CONTENT) + 1, 0])
def test_another_size_than_promised_is_never_a_success(get, tmp_path, size):
    with pytest.raises(KaggError) as caught:
        get(size_bytes=size)
    assert caught.value.code in (Exit.INTEGRITY, Exit.SERVICE)
    assert left(tmp_path) == []


def test_an_expired_url_is_replaced(get, idle_kaggle, source):
    idle_kaggle.faults.add("expire", GET, times=2)
    check(get())
    assert len(source.given) == 3
    assert sent(idle_kaggle) == [400, 400, 200]


def test_a_url_that_expires_half_way_is_replaced_and_the_half_is_kept(get, idle_kaggle, source, monkeypatch):
    idle_kaggle.faults.add("truncate", GET, times=1, bytes=100_000)
    idle_kaggle.faults.add("expire", GET, times=1)
    later(monkeypatch, idle_kaggle, "expire")
    check(get())
    assert sent(idle_kaggle) == [200, 400, 206]
    assert len(source.given) == 2


def test_urls_that_are_always_expired_are_exit_12(get, idle_kaggle, source, tmp_path):
    idle_kaggle.faults.add("expire", GET, times=None)
    with pytest.raises(KaggError) as caught:
        get()
    assert caught.value.code == Exit.SERVICE
    assert 2 <= len(source.given) <= 6
    assert left(tmp_path) == []


@pytest.mark.parametrize("status", [429, 503])
def test_storage_that_asks_to_wait_is_waited_for(get, idle_kaggle, demo, status):
    idle_kaggle.faults.add("status", GET, times=1, status=status, retry_after=6)
    check(get())
    assert 6 <= sum(demo.waits) < 8


def test_storage_that_names_a_date_is_waited_for(get, idle_kaggle, demo):
    date = format_datetime(demo.now() + timedelta(seconds=20), usegmt=True)
    idle_kaggle.faults.add("status", GET, times=1, status=503, retry_after=date)
    check(get())
    assert 15 < sum(demo.waits) < 23


def test_storage_that_never_recovers_is_exit_12(get, idle_kaggle, tmp_path):
    idle_kaggle.faults.add("status", GET, times=None, status=503)
    with pytest.raises(KaggError) as caught:
        get()
    assert caught.value.code == Exit.SERVICE
    assert len(sent(idle_kaggle)) <= 10
    assert left(tmp_path) == []


# A later process


@pytest.fixture
def half(demo, idle_kaggle, source, tmp_path, monkeypatch):
    """Leave the first part of a download behind, as a process that gave up does; return where the whole is to be."""
    dest = tmp_path / "out" / "data.bin"
    idle_kaggle.faults.add("truncate", GET, times=1, bytes=100_000)
    idle_kaggle.faults.add("status", GET, times=None, status=404)
    with monkeypatch.context() as patch:
        later(patch, idle_kaggle, "status")
        with pytest.raises(KaggError):
            download(demo, source, dest)
    idle_kaggle.faults.clear()
    idle_kaggle.requests.clear()
    assert not dest.exists()
    assert [path.stat().st_size for path in dest.parent.glob(".*.part")] == [100_000]
    return dest


def test_a_later_process_goes_on(demo, idle_kaggle, source, half):
    fresh = QuickContext(demo.env)
    check(download(fresh, source, half))
    close(fresh)
    assert sent(idle_kaggle) == [206]


def test_a_later_process_begins_again_when_the_file_has_changed(demo, idle_kaggle, source, half):
    source.path.write_bytes(CONTENT[::-1])
    download(demo, source, half)
    assert half.read_bytes() == CONTENT[::-1]
    assert sent(idle_kaggle) == [200]


def test_a_later_process_begins_again_when_the_file_has_become_shorter(demo, idle_kaggle, source, half):
    source.path.write_bytes(CONTENT[:50_000])
    download(demo, source, half)
    assert half.read_bytes() == CONTENT[:50_000]


@pytest.mark.parametrize("note", [None, b"", b"{", b"[]", b'{"etag": 5}', b"\xff", b"[" * 100_000])
def test_a_broken_note_beside_the_part_does_no_harm(demo, idle_kaggle, source, half, note):
    for path in half.parent.glob(".*.json"):
        path.unlink() if note is None else path.write_bytes(note)
    assert list(half.parent.glob(".*.part"))
    check(download(demo, source, half))


def test_a_part_whose_bytes_are_wrong_does_not_survive(demo, idle_kaggle, source, half):
    for path in half.parent.glob(".*.part"):
        path.write_bytes(b"\0" * path.stat().st_size)
    check(download(demo, source, half))


def test_a_part_that_is_longer_than_the_file_does_not_survive(demo, idle_kaggle, source, half):
    for path in half.parent.glob(".*.part"):
        path.write_bytes(CONTENT + b"more")
    check(download(demo, source, half))
    assert 416 in sent(idle_kaggle)


# Servers that storage faults do not make


def serve(web, answers, name="/data.bin"):
    return lambda: web.on(name, *answers) if name not in web.table else web.url + name


def headers(body, **more):
    return {
        "ETag": '"one"',
        "x-goog-hash": f"md5={b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()}",
        **more,
    }


def test_a_server_that_ignores_range_gets_a_fresh_start(ctx, web, tmp_path):
    whole = (200, CONTENT, headers(CONTENT))
    dest = download(ctx, serve(web, [cut(CONTENT[:1000], len(CONTENT)), whole]), tmp_path / "out" / "data.bin")
    check(dest)


@pytest.mark.parametrize("content_range", ["bytes 0-9/10", "bytes 5-/10", "nonsense", "", "bytes */10"])
def test_a_range_that_was_not_asked_for_is_not_glued_on(ctx, web, tmp_path, content_range):
    def part(handler):
        handler.send_response(200)
        handler.send_header("ETag", '"one"')
        handler.send_header("Content-Length", "20")
        handler.end_headers()
        handler.wfile.write(b"0123456789")
        handler.close_connection = True

    wrong = (206, b"xxxxxxxxxx", headers(b"", **{"Content-Range": content_range}))
    whole = (200, b"0123456789abcdefghij", headers(b"0123456789abcdefghij"))
    dest = download(ctx, serve(web, [part, wrong, whole]), tmp_path / "out" / "data.bin")
    assert dest.read_bytes() == b"0123456789abcdefghij"
    assert web.requests[1].headers["range"] == "bytes=10-"
    assert web.requests[1].headers["if-range"] == '"one"'


def test_a_weak_etag_does_not_promise_the_same_bytes(ctx, web, tmp_path):
    def part(handler):
        handler.send_response(200)
        handler.send_header("ETag", 'W/"one"')
        handler.send_header("Content-Length", "20")
        handler.end_headers()
        handler.wfile.write(b"0123456789")
        handler.close_connection = True

    download(ctx, serve(web, [part, (200, b"new", {"ETag": 'W/"one"'})]), tmp_path / "out" / "data.bin")
    assert "range" not in web.requests[1].headers
    assert (tmp_path / "out" / "data.bin").read_bytes() == b"new"


def test_a_server_that_breaks_off_for_ever_without_progress_is_left(ctx, web, tmp_path):
    with pytest.raises(KaggError) as caught:
        download(ctx, serve(web, [cut(b"", 100)]), tmp_path / "out" / "data.bin")
    assert caught.value.code == Exit.SERVICE
    assert len(web.requests) <= 20


def test_a_server_that_begins_again_for_ever_is_left(ctx, web, tmp_path):
    """Every answer is 200 from byte 0 and breaks off: that is no progress."""
    with pytest.raises(KaggError) as caught:
        download(ctx, serve(web, [cut(b"0123456789", 100)]), tmp_path / "out" / "data.bin")
    assert caught.value.code == Exit.SERVICE
    assert len(web.requests) <= 20


def test_a_redirect_of_storage_brings_no_credentials(demo, web, other_web, tmp_path):
    target = other_web.on("/there", (200, b"bytes", headers(b"bytes")))
    download(demo, serve(web, [(302, b"", {"Location": target})]), tmp_path / "out" / "data.bin")
    assert all("authorization" not in request.headers for request in [*web.requests, *other_web.requests])


def test_an_error_page_is_never_the_file(ctx, web, tmp_path):
    with pytest.raises(KaggError):
        download(ctx, serve(web, [(404, b"<Error>NoSuchKey</Error>", {})]), tmp_path / "out" / "data.bin")
    assert left(tmp_path) == []


def test_two_threads_that_download_the_same_file_do_not_mix_their_bytes(ctx, web, tmp_path):
    def slow(handler):
        handler.send_response(200)
        for name, value in headers(CONTENT, **{"Content-Length": str(len(CONTENT))}).items():
            handler.send_header(name, value)
        handler.end_headers()
        for start in range(0, len(CONTENT), 100_000):
            handler.wfile.write(CONTENT[start : start + 100_000])
            time.sleep(0.02)

    url = web.on("/data.bin", slow)
    dest, failures = tmp_path / "out" / "data.bin", []

    def run():
        try:
            download(ctx, lambda: url, dest)
        except KaggError as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert dest.read_bytes() == CONTENT


CHILD = """
import sys
from pathlib import Path
from kagg import Context
from plugins.lib.download import download
download(Context(), lambda: sys.argv[1], Path(sys.argv[2]))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("after", [1, 3])
def test_a_killed_download_leaves_nothing_and_is_resumed(ctx, web, tmp_path, after):
    reached, go_on = threading.Event(), threading.Event()

    def slow(handler):
        start = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
        body = CONTENT[start:]
        handler.send_response(206 if start else 200)
        more = {"Content-Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"} if start else {}
        for name, value in headers(CONTENT, **{"Content-Length": str(len(body))}, **more).items():
            handler.send_header(name, value)
        handler.end_headers()
        for number, at in enumerate(range(0, len(body), 100_000)):
            if number == after and not start:
                handler.wfile.flush()
                reached.set()
                go_on.wait(10)
            handler.wfile.write(body[at : at + 100_000])

    url, dest = web.on("/data.bin", slow), tmp_path / "out" / "data.bin"
    env = environment(tmp_path, PYTHONPATH=str(ROOT))
    with subprocess.Popen([sys.executable, "-c", CHILD, url, str(dest)], env=env, cwd=tmp_path) as child:
        assert reached.wait(20)
        parts = lambda: sum(path.stat().st_size for path in dest.parent.glob(".*.part"))  # noqa: E731 - read anew each time
        deadline = time.monotonic() + 10
        while parts() < 50_000 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
        child.wait(10)
    go_on.set()
    assert not dest.exists()
    web.requests.clear()
    ctx.env = env
    check(download(ctx, lambda: url, dest))
    assert "range" in web.requests[0].headers
    assert json.dumps(web.requests[0].headers).count("authorization") == 0
