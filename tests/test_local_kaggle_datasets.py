"""The local Kaggle's datasets, uploads and storage, over real HTTP, rule by rule and fault by fault."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import json
import os
import socket
import tarfile
import threading
import zipfile
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from kagg import KaggError
from plugins.lib.kaggle import archives, dataset_store, storage
from plugins.lib.kaggle.server import LocalKaggle
from plugins.lib.kaggle.world import World

DATASETS = "datasets.DatasetApiService/"
COMPETITIONS = "competitions.CompetitionApiService/"


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.at = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self):
        return self.at

    def forward(self, **by):
        self.at += timedelta(**by)


class Answer(NamedTuple):
    status: int
    headers: dict
    body: bytes

    def json(self):
        return json.loads(self.body)


def send(method, url, body=None, headers=None):
    """Send one request on a connection of its own; read what comes."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, body, headers or {}, encode_chunked="Transfer-Encoding" in (headers or {}))
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()


def rpc(kaggle, method, body=None, user="demo"):
    """Call one API method as `user` (None: nobody)."""
    headers = {"Content-Type": "application/json"}
    if user:
        key = kaggle.world.accounts.add(user)["key"]
        headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{key}".encode()).decode()
    name = method if "/" in method else DATASETS + method
    return send("POST", f"{kaggle.url}/api/v1/{name}", json.dumps(body or {}).encode(), headers)


def start(kaggle, name, size, user="demo"):
    body = {"type": "DATASET", "name": name, "contentLength": size, "lastModifiedEpochSeconds": 1}
    return rpc(kaggle, "blobs.BlobApiService/StartBlobUpload", body, user)


def upload(kaggle, name, content, user="demo"):
    """Upload in one piece and return the token."""
    session = start(kaggle, name, len(content), user).json()
    assert send("PUT", session["createUrl"], content).status == 200
    return session["token"]


def create(kaggle, contents, slug="small-data", user="demo", **more):
    tokens = [{"token": upload(kaggle, name, content, user)} for name, content in contents.items()]
    body = {"ownerSlug": user, "slug": slug, "title": "Small data", "licenseName": "CC0-1.0", "files": tokens, **more}
    return rpc(kaggle, "CreateDataset", body, user)


def new_version(kaggle, files, slug="small-data", user="demo", **more):
    tokens = [{"token": upload(kaggle, name, content, user)} for name, content in files.items()]
    body = {"ownerSlug": user, "datasetSlug": slug, "body": {"versionNotes": "next", "files": tokens, **more}}
    return rpc(kaggle, "CreateDatasetVersion", body, user)


def ref(slug="small-data", owner="demo", **more):
    return {"ownerSlug": owner, "datasetSlug": slug, **more}


def names(kaggle, **more):
    return [entry["name"] for entry in rpc(kaggle, "ListDatasetFiles", ref(**more)).json()["datasetFiles"]]


def location(kaggle, **more):
    answer = rpc(kaggle, "DownloadDataset", ref(**more))
    assert answer.status == 302, answer
    return answer.headers["Location"]


def zipped(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tarred(files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def kaggle(tmp_path, clock, monkeypatch):
    monkeypatch.setenv("KAGG_HOME", str(tmp_path / "home"))
    with LocalKaggle(tmp_path / "root", clock=clock) as running:
        dataset_store.configure(running.world, processing_s=0)
        yield running


# Signed downloads


@pytest.fixture
def published(kaggle):
    """A file in storage, and its signed URL."""
    path = kaggle.world.root / "outputs" / "model é.bin"
    path.parent.mkdir()
    path.write_bytes(bytes(range(256)) * 4)
    return path, storage.sign(kaggle.world, path, name="sub/model é.bin", ttl_s=60)


def test_a_signed_url_ends_with_the_quoted_name_and_gives_the_bytes_with_their_hashes(published):
    path, url = published
    answer = send("GET", url)
    assert url.endswith("/sub/model%20%C3%A9.bin")
    assert (answer.status, answer.body) == (200, path.read_bytes())
    md5 = base64.b64encode(hashlib.md5(path.read_bytes()).digest()).decode()  # noqa: S324 - the announced one
    assert answer.headers["x-goog-hash"].endswith(f",md5={md5}")
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["ETag"][0] == answer.headers["ETag"][-1] == '"'
    assert answer.headers["Last-Modified"].endswith(" GMT")


def test_crc32c_agrees_with_the_published_check_value():
    assert storage.crc32c(b"123456789") == 0xE3069283  # RFC 3720 polynomial, "check" of the CRC catalogue


def test_a_large_file_announces_md5_only(kaggle):
    path = kaggle.world.root / "large.bin"
    path.write_bytes(bytes(storage.CRC32C_BYTES + 1))
    answer = send("HEAD", storage.sign(kaggle.world, path, name="large.bin", ttl_s=60))
    assert answer.headers["x-goog-hash"].startswith("md5=")
    assert (answer.headers["Content-Length"], answer.body) == (str(storage.CRC32C_BYTES + 1), b"")


@pytest.mark.parametrize(
    ("asked", "status", "span"),
    [
        ("bytes=0-9", 206, (0, 10)),
        ("bytes=0-", 206, (0, 1024)),
        ("bytes=1000-", 206, (1000, 1024)),
        ("bytes=-24", 206, (1000, 1024)),
        ("bytes=1020-9999", 206, (1020, 1024)),
        ("bytes=0-1,5-6", 200, (0, 1024)),
        ("bytes=9-5", 200, (0, 1024)),
        ("lines=1-2", 200, (0, 1024)),
    ],
)
def test_ranges(published, asked, status, span):
    path, url = published
    answer = send("GET", url, headers={"Range": asked})
    assert (answer.status, answer.body) == (status, path.read_bytes()[slice(*span)])
    if status == 206:
        assert answer.headers["Content-Range"] == f"bytes {span[0]}-{span[1] - 1}/1024"


def test_a_range_behind_the_end_is_416_and_tells_the_size(published):
    answer = send("GET", published[1], headers={"Range": "bytes=1024-"})
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */1024")
    assert b"<Code>InvalidRange</Code>" in answer.body


def test_if_range_gives_the_whole_file_when_it_changed(published):
    path, url = published
    first = send("HEAD", url).headers
    for validator in (first["ETag"], first["Last-Modified"]):
        assert send("GET", url, headers={"Range": "bytes=5-", "If-Range": validator}).status == 206
    path.write_bytes(b"other content")
    answer = send("GET", url, headers={"Range": "bytes=5-", "If-Range": first["ETag"]})
    assert (answer.status, answer.body) == (200, b"other content")


def test_last_modified_is_english_whatever_the_locale(published, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda *_: "1 März")
    assert (
        send("HEAD", published[1]).headers["Last-Modified"].split()[2]
        in "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"
    )


def test_an_old_url_is_400_expired(published, clock):
    clock.forward(seconds=61)
    answer = send("GET", published[1])
    assert (answer.status, answer.headers["Content-Type"]) == (400, "application/xml; charset=UTF-8")
    assert b"<Code>ExpiredToken</Code>" in answer.body


def test_a_changed_name_or_token_is_403(published):
    _, url = published
    other = "y" if url[-30] == "x" else "x"
    for changed in (url.replace("sub/", "bus/"), url.replace("/eyJ", "/eyK", 1), url[:-30] + other + url[-29:]):
        answer = send("GET", changed)
        assert (answer.status, b"SignatureDoesNotMatch" in answer.body) == (403, True)


def test_a_missing_file_is_404(published):
    path, url = published
    path.unlink()
    answer = send("GET", url)
    assert (answer.status, b"<Code>NoSuchKey</Code>" in answer.body) == (404, True)


def test_a_token_for_the_api_opens_nothing_in_storage(kaggle):
    token, _ = kaggle.world.accounts.access_token(kaggle.world.accounts.users["demo"]["refresh_tokens"][0])
    assert send("GET", f"{kaggle.storage_url}/{token}/accounts.json").status == 403


def test_links_are_not_followed(kaggle):
    outputs = kaggle.world.root / "outputs"
    outputs.mkdir()
    (outputs / "link").symlink_to("/etc/passwd")
    (outputs / "folder").symlink_to("/etc")
    for inside in ("link", "folder/passwd"):
        url = storage.sign(kaggle.world, outputs / inside, name="x", ttl_s=60)
        assert send("GET", url).status == 404


def test_nothing_outside_of_the_root_can_be_signed_or_served(kaggle, tmp_path):
    (tmp_path / "secret").write_text("x")
    with pytest.raises(ValueError, match="not in the subpath"):
        storage.sign(kaggle.world, tmp_path / "secret", name="x", ttl_s=60)
    climbing = storage.sign(kaggle.world, kaggle.world.root / ".." / "secret", name="x", ttl_s=60)
    assert send("GET", climbing).status == 404


def test_credentials_that_arrive_at_storage_are_refused_and_counted(kaggle, published):
    assert send("GET", published[1], headers={"Authorization": "Bearer x"}).status == 400
    assert kaggle.leaks == 1


# Faults of downloads


def test_truncate_announces_everything_and_sends_less(kaggle, published):
    kaggle.faults.add("truncate", "storage/GET/*", bytes=100)
    with pytest.raises(http.client.IncompleteRead) as error:
        send("GET", published[1])
    assert len(error.value.partial) == 100
    assert len(send("GET", published[1]).body) == 1024


def test_truncate_without_length_looks_like_a_complete_answer(kaggle, published):
    kaggle.faults.add("truncate", "*model*", bytes=100, announce=False)
    answer = send("GET", published[1])
    assert (len(answer.body), "Content-Length" in answer.headers) == (100, False)


def test_corrupt_flips_one_byte_and_keeps_the_true_hash(kaggle, published):
    path, url = published
    kaggle.faults.add("corrupt", "*", at=700)
    answer = send("GET", url)
    wrong = [at for at, (a, b) in enumerate(zip(answer.body, path.read_bytes(), strict=True)) if a != b]
    assert wrong == [700]
    assert answer.headers["x-goog-hash"] == send("HEAD", url).headers["x-goog-hash"]


def test_expire_and_status_answer_in_xml(kaggle, published):
    kaggle.faults.add("expire", "*")
    assert b"ExpiredToken" in send("GET", published[1]).body
    kaggle.faults.add("status", "*", status=429, retry_after=2)
    answer = send("GET", published[1])
    assert (answer.status, answer.headers["Retry-After"]) == (429, "2")


def test_reset_breaks_the_connection_before_or_inside_the_body(kaggle, published):
    kaggle.faults.add("reset", "*")
    with pytest.raises(ConnectionError):
        send("GET", published[1])
    kaggle.faults.add("reset", "*", bytes=10)
    with pytest.raises((ConnectionError, http.client.IncompleteRead)):
        send("GET", published[1])


def test_a_stalled_answer_ends_with_the_server(tmp_path):
    kaggle = LocalKaggle(tmp_path / "root").start()
    path = kaggle.world.root / "a.bin"
    path.write_bytes(b"x" * 10)
    kaggle.faults.add("stall", "*", seconds=60)
    url = urlsplit(storage.sign(kaggle.world, path, name="a.bin", ttl_s=60))
    with socket.create_connection((url.hostname, url.port), timeout=10) as client:
        client.sendall(f"GET {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(10)
        kaggle.stop()
        assert client.recv(1) == b""


# Uploads


def test_an_upload_in_one_piece(kaggle):
    session = start(kaggle, "t.csv", 4).json()
    assert session["createUrl"].startswith(f"{kaggle.storage_url}/upload/")
    assert send("PUT", session["createUrl"], b"a,b\n").status == 200
    assert send("PUT", session["createUrl"], headers={"Content-Range": "bytes */4"}).status == 200


def test_an_interrupted_upload_goes_on_where_it_stopped(kaggle):
    url = start(kaggle, "t.bin", 10).json()["createUrl"]
    nothing = send("PUT", url, headers={"Content-Range": "bytes */10"})
    assert (nothing.status, "Range" in nothing.headers) == (308, False)
    kaggle.faults.add("reset", "storage/PUT/t.bin", bytes=4)
    with pytest.raises(ConnectionError):
        send("PUT", url, b"0123456789")
    there = send("PUT", url, headers={"Content-Range": "bytes */10"})
    assert (there.status, there.headers["Range"]) == (308, "bytes=0-3")
    assert send("PUT", url, b"456789", {"Content-Range": "bytes 4-9/10"}).status == 200
    create_body = {"ownerSlug": "demo", "slug": "from-parts", "title": "From parts"}
    token = urlsplit(url).path.rpartition("/")[2]
    assert rpc(kaggle, "CreateDataset", {**create_body, "files": [{"token": token}]}).json()["status"] == "Ok"
    assert send("GET", location(kaggle, slug="from-parts", fileName="t.bin")).body == b"0123456789"


def test_an_upload_in_pieces_answers_308_until_the_last_one(kaggle):
    url = start(kaggle, "t.bin", 6).json()["createUrl"]
    first = send("PUT", url, b"012", {"Content-Range": "bytes 0-2/6"})
    assert (first.status, first.headers["Range"]) == (308, "bytes=0-2")
    gap = send("PUT", url, b"5", {"Content-Range": "bytes 5-5/6"})
    assert (gap.status, gap.headers["Range"]) == (308, "bytes=0-2")
    assert send("PUT", url, b"345", {"Content-Range": "bytes 3-5/6"}).status == 200


def test_an_upload_survives_a_restart_of_the_server(tmp_path, clock):
    with LocalKaggle(tmp_path / "root", clock=clock) as first:
        url = start(first, "t.bin", 6).json()["createUrl"]
        send("PUT", url, b"012", {"Content-Range": "bytes 0-2/6"})
        port = urlsplit(first.storage_url).port
    with LocalKaggle(tmp_path / "root", clock=clock, storage_port=port):
        assert send("PUT", url, headers={"Content-Range": "bytes */6"}).headers["Range"] == "bytes=0-2"
        assert send("PUT", url, b"345", {"Content-Range": "bytes 3-5/6"}).status == 200


def test_an_empty_file_comes_as_chunks_or_with_length_zero(kaggle):
    for headers, body in (({"Transfer-Encoding": "chunked"}, iter(())), ({"Content-Length": "0"}, None)):
        url = start(kaggle, "empty.txt", 0).json()["createUrl"]
        assert send("PUT", url, headers={"Content-Range": "bytes */0"}).status == 308
        assert send("PUT", url, body, headers).status == 200


def test_a_chunked_body_is_understood(kaggle):
    url = start(kaggle, "t.bin", 5).json()["createUrl"]
    assert send("PUT", url, iter([b"01", b"234"]), {"Transfer-Encoding": "chunked"}).status == 200


@pytest.mark.parametrize(
    ("body", "content_range"),
    [(b"01234", None), (b"012", None), (b"01", "bytes 0-1/5"), (b"01", "bytes 3-4/4"), (b"0", "bits 0-0/4")],
)
def test_an_upload_that_does_not_fit_its_announcement_is_400(kaggle, body, content_range):
    url = start(kaggle, "t.bin", 4).json()["createUrl"]
    answer = send("PUT", url, body, {"Content-Range": content_range} if content_range else {})
    assert (answer.status, b"<Code>InvalidArgument</Code>" in answer.body) == (400, True)


def test_an_upload_session_ends_after_six_days_or_with_a_wrong_id(kaggle, clock):
    url = start(kaggle, "t.bin", 4).json()["createUrl"]
    assert send("PUT", url + "x", b"0123").status == 404
    clock.forward(days=6, seconds=1)
    assert send("PUT", url, b"0123").status == 404
    start(kaggle, "other.bin", 1)
    assert len(list((kaggle.world.root / "blobs").iterdir())) == 1


def test_faults_of_uploads(kaggle):
    url = start(kaggle, "t.bin", 4).json()["createUrl"]
    kaggle.faults.add("status", "storage/PUT/*", status=503)
    assert send("PUT", url, b"0123").status == 503
    kaggle.faults.add("expire", "storage/PUT/*")
    assert send("PUT", url, b"0123").status == 404
    kaggle.faults.add("lost_reply", "storage/PUT/*")
    with pytest.raises(ConnectionError):
        send("PUT", url, b"0123")
    assert send("PUT", url, headers={"Content-Range": "bytes */4"}).status == 200


def test_two_writers_of_one_upload_do_not_mix(kaggle):
    size = 2 * 1024**2
    session = start(kaggle, "t.bin", size).json()
    bodies = [bytes([number]) * size for number in (1, 2, 3)]
    threads = [threading.Thread(target=send, args=("PUT", session["createUrl"], body)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    data = (kaggle.world.root / "blobs" / session["token"] / "data").read_bytes()
    assert data in bodies


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/b", "a\\b", "", "a\nb", ".."])
def test_upload_names_that_could_leave_their_folder_are_400(kaggle, name):
    assert start(kaggle, name, 1).status == 400


def test_uploading_needs_an_account(kaggle):
    assert start(kaggle, "a", 1, user=None).status == 401


# Creating


def test_a_dataset_goes_from_upload_to_download(kaggle):
    answer = create(kaggle, {"train.csv": b"a\n1\n", "with space é.csv": b"b\n"}).json()
    assert answer == {
        "ref": "demo/small-data",
        "url": "https://www.kaggle.com/datasets/demo/small-data",
        "status": "Ok",
        "error": "",
        "invalidTags": [],
    }
    about = rpc(kaggle, "GetDataset", ref()).json()
    assert (about["currentVersionNumber"], about["licenseName"], about["totalBytes"]) == (1, "CC0-1.0", 6)
    assert names(kaggle) == ["train.csv", "with space é.csv"]
    assert send("GET", location(kaggle, fileName="with space é.csv")).body == b"b\n"
    with zipfile.ZipFile(io.BytesIO(send("GET", location(kaggle)).body)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()}["train.csv"] == b"a\n1\n"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"slug": "short"}, "slug must be between 6 and 50"),
        ({"slug": "x" * 51}, "slug must be between 6 and 50"),
        ({"slug": "../../etc"}, "Invalid dataset slug"),
        ({"title": "Tiny"}, "title must be between 6 and 50"),
        ({"subtitle": "too short"}, "Subtitle length must be between 20 and 80"),
        ({"files": []}, "at least one file"),
        ({"files": [{"token": "nope"}]}, "unknown upload token"),
    ],
)
def test_a_dataset_that_breaks_a_rule_is_an_error_in_a_200_and_leaves_nothing(kaggle, change, text):
    answer = create(kaggle, {"a.csv": b"1"}, **change)
    assert (answer.status, answer.json()["status"]) == (200, "error")
    assert text in answer.json()["error"]
    assert not list((kaggle.world.root / "datasets").glob("*/*/dataset.json"))
    assert not list((kaggle.world.root / "temp").glob("*"))


def test_a_second_dataset_of_the_same_name_is_an_error(kaggle):
    create(kaggle, {"a.csv": b"1"})
    answer = create(kaggle, {"a.csv": b"2"}).json()
    assert answer["status"] == "error"
    assert "already in use" in answer["error"]
    assert send("GET", location(kaggle, fileName="a.csv")).body == b"1"


def test_an_upload_belongs_to_whoever_made_it_and_must_be_finished(kaggle):
    token = upload(kaggle, "a.csv", b"1", user="examples")
    half = start(kaggle, "b.csv", 5).json()["token"]
    for stolen, text in ((token, "unknown upload token"), (half, "not finished")):
        body = {"ownerSlug": "demo", "slug": "other-data", "title": "Other data", "files": [{"token": stolen}]}
        assert text in rpc(kaggle, "CreateDataset", body).json()["error"]


def test_creating_for_somebody_else_is_403_and_without_an_account_401(kaggle):
    body = {"ownerSlug": "examples", "slug": "other-data", "title": "Other data"}
    assert rpc(kaggle, "CreateDataset", body).status == 403
    assert rpc(kaggle, "CreateDataset", body, user=None).status == 401


def test_folders_keep_their_shape_and_hostile_folder_names_are_refused(kaggle):
    inner = {"name": "deep", "files": [{"token": upload(kaggle, "x.txt", b"x")}]}
    folder = {"name": "images", "files": [{"token": upload(kaggle, "y.txt", b"y")}], "directories": [inner]}
    assert create(kaggle, {"top.txt": b"t"}, directories=[folder]).json()["status"] == "Ok"
    assert names(kaggle) == ["images/deep/x.txt", "images/y.txt", "top.txt"]
    for name in ("..", "a/b", "/abs", ""):
        bad = {"name": name, "files": [{"token": upload(kaggle, "z.txt", b"z")}]}
        assert create(kaggle, {"a": b"1"}, slug="hostile-one", directories=[bad]).json()["status"] == "error"


def test_folders_without_end_are_an_error(kaggle):
    folder = {"name": "a", "files": []}
    for _ in range(200):
        folder = {"name": "a", "directories": [folder]}
    assert "folders in folders" in create(kaggle, {"a.csv": b"1"}, directories=[folder]).json()["error"]


def test_the_same_name_twice_is_an_error(kaggle):
    tokens = [{"token": upload(kaggle, "a.csv", b"1")}, {"token": upload(kaggle, "a.csv", b"2")}]
    assert "twice" in create(kaggle, {}, files=tokens).json()["error"]


@pytest.mark.parametrize(("name", "pack"), [("images.zip", zipped), ("images.tar.gz", tarred)])
def test_an_uploaded_archive_becomes_a_folder(kaggle, name, pack):
    create(kaggle, {name: pack({"a.txt": b"A", "deep/b.txt": b"B"}), "plain.csv": b"1"})
    assert names(kaggle) == ["images/a.txt", "images/deep/b.txt", "plain.csv"]


def test_a_file_that_only_claims_to_be_an_archive_stays_a_file(kaggle):
    create(kaggle, {"images.zip": b"not a zip"})
    assert names(kaggle) == ["images.zip"]


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("name", ["../escape.txt", "/abs.txt", "a/../../b.txt", "C:/x.txt"])
def test_an_archive_with_a_hostile_name_is_refused_whole(kaggle, pack, name):
    ending = "zip" if pack is zipped else "tar.gz"
    answer = create(kaggle, {f"images.{ending}": pack({"good.txt": b"1", name: b"2"})}).json()
    assert answer["status"] == "error"
    assert "refused the file name" in answer["error"]


# Archives


def test_links_in_archives_are_refused(tmp_path):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    (tmp_path / "a.tar").write_bytes(stream.getvalue())
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    for name in ("a.tar", "a.zip"):
        with pytest.raises(KaggError, match="not a plain file"):
            archives.unpack(tmp_path / name, tmp_path / "out")
    assert not any((tmp_path / "out").iterdir())


def test_a_zip_that_unpacks_to_more_than_the_limit_leaves_nothing(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(4):
            archive.writestr(f"{number}.bin", bytes(1024**2))
    with pytest.raises(KaggError, match="unpacks to more"):
        archives.unpack(tmp_path / "bomb.zip", tmp_path / "out", max_bytes=3 * 1024**2)
    assert not any((tmp_path / "out").iterdir())
    assert len(archives.unpack(tmp_path / "bomb.zip", tmp_path / "out", max_bytes=4 * 1024**2)) == 4


def test_a_damaged_zip_is_one_error_and_leaves_nothing(tmp_path):
    content = bytearray(zipped({"a.txt": b"hello world", "b.txt": b"x"}))
    content[content.index(b"hello")] ^= 1
    (tmp_path / "bad.zip").write_bytes(content)
    with pytest.raises(KaggError, match="damaged"):
        archives.unpack(tmp_path / "bad.zip", tmp_path / "out")
    assert not any((tmp_path / "out").iterdir())


def test_a_name_twice_or_a_file_used_as_a_folder_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a", b"1")
        archive.writestr("a/b", b"2")
    (tmp_path / "b.tar.gz").write_bytes(tarred({"./a": b"1"}))
    with pytest.raises(KaggError, match="as a file and as a folder"):
        archives.unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*"))
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("a", b"1")
        archive.writestr("./a", b"2")
    with pytest.raises(KaggError, match="twice"):
        archives.unpack(tmp_path / "c.zip", tmp_path / "out2")


def test_a_zip_is_the_same_bytes_every_time_and_packs_only_what_shrinks(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"hello" * 1000)
    (tmp_path / "b.bin").write_bytes(os.urandom(5000))
    for name in ("one.zip", "two.zip"):
        archives.build_zip([("x/a.txt", tmp_path / "a.txt"), ("b.bin", tmp_path / "b.bin")], tmp_path / name)
        os.utime(tmp_path / "a.txt", (1, 1))
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        entries = archive.infolist()
        assert archive.read("x/a.txt") == b"hello" * 1000
    assert [entry.compress_type for entry in entries] == [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED]
    assert {(entry.date_time, entry.external_attr >> 16) for entry in entries} == {((1980, 1, 1, 0, 0, 0), 0o100644)}


# Versions, status, visibility


def test_a_version_is_a_full_snapshot_and_old_ones_stay(kaggle):
    create(kaggle, {"a.csv": b"1", "b.csv": b"2"})
    assert new_version(kaggle, {"a.csv": b"new"}).json()["status"] == "Ok"
    assert (names(kaggle), names(kaggle, datasetVersionNumber=1)) == (["a.csv"], ["a.csv", "b.csv"])
    assert send("GET", location(kaggle, fileName="a.csv", datasetVersionNumber=1)).body == b"1"
    assert send("GET", location(kaggle, fileName="a.csv")).body == b"new"
    about = rpc(kaggle, "GetDataset", ref()).json()
    assert (about["currentVersionNumber"], [entry["versionNumber"] for entry in about["versions"]]) == (2, [2, 1])
    assert rpc(kaggle, "ListDatasetFiles", ref(datasetVersionNumber=3)).status == 404


def test_delete_old_versions_keeps_the_numbers_going(kaggle):
    create(kaggle, {"a.csv": b"1"})
    new_version(kaggle, {"a.csv": b"2"}, deleteOldVersions=True)
    assert rpc(kaggle, "ListDatasetFiles", ref(datasetVersionNumber=1)).status == 404
    assert not (kaggle.world.root / "datasets/demo/small-data/versions/1").exists()
    new_version(kaggle, {"a.csv": b"3"})
    assert rpc(kaggle, "GetDataset", ref()).json()["currentVersionNumber"] == 3


def test_a_version_can_be_added_by_number_and_only_by_its_owner(kaggle):
    create(kaggle, {"a.csv": b"1"}, isPrivate=False)
    number = rpc(kaggle, "GetDataset", ref()).json()["id"]
    body = {"id": number, "body": {"files": [{"token": upload(kaggle, "a.csv", b"2")}]}}
    assert rpc(kaggle, "CreateDatasetVersionById", body).json()["status"] == "Ok"
    assert rpc(kaggle, "CreateDatasetVersionById", body, user="examples").status == 403
    assert rpc(kaggle, "CreateDatasetVersionById", {**body, "id": 9}).status == 403


def test_a_refused_version_changes_nothing(kaggle):
    create(kaggle, {"a.csv": b"1"}, subtitle="a subtitle that is long enough")
    answer = new_version(kaggle, {}, subtitle="another subtitle, long enough")
    assert answer.json()["status"] == "error"
    about = rpc(kaggle, "GetDataset", ref()).json()
    assert (about["currentVersionNumber"], about["subtitle"]) == (1, "a subtitle that is long enough")


def test_processing_takes_its_time_and_the_first_status_is_left_out(kaggle, clock):
    dataset_store.configure(kaggle.world, processing_s=10)
    create(kaggle, {"a.csv": b"1"})
    seen = []
    for _ in range(6):
        seen.append(rpc(kaggle, "GetDatasetStatus", ref()).json().get("status"))
        clock.forward(seconds=2)
    assert seen == [*(stage or None for stage in dataset_store.STAGES), "READY"]


def test_until_it_is_ready_a_new_version_is_not_the_current_one(kaggle, clock):
    create(kaggle, {"a.csv": b"1"})
    dataset_store.configure(kaggle.world, processing_s=10)
    new_version(kaggle, {"a.csv": b"2"})
    assert rpc(kaggle, "GetDataset", ref()).json()["currentVersionNumber"] == 1
    assert rpc(kaggle, "DownloadDataset", ref(datasetVersionNumber=2)).status == 404
    clock.forward(seconds=10)
    assert rpc(kaggle, "GetDataset", ref()).json()["currentVersionNumber"] == 2


def test_a_kernel_gets_the_newest_ready_version_or_nothing(kaggle, clock):
    dataset_store.configure(kaggle.world, processing_s=10)
    create(kaggle, {"a.csv": b"1"}, isPrivate=True)
    assert dataset_store.attach(kaggle.world, "demo", "demo/small-data") is None
    clock.forward(seconds=10)
    folder = dataset_store.attach(kaggle.world, "demo", "demo/small-data")
    assert [path.name for path in folder.iterdir()] == ["a.csv"]
    for user, name in (("examples", "demo/small-data"), ("demo", "demo/../x"), ("demo", "nothing")):
        assert dataset_store.attach(kaggle.world, user, name) is None


def test_a_new_dataset_can_be_unreadable_for_a_while(kaggle, clock):
    kaggle.faults.add("not_readable", "demo/small-data", seconds=5)
    create(kaggle, {"a.csv": b"1"})
    answer = rpc(kaggle, "GetDatasetStatus", ref())
    assert (answer.status, answer.json()["message"]) == (403, "Permission 'datasets.get' was denied")
    clock.forward(seconds=5)
    assert rpc(kaggle, "GetDatasetStatus", ref()).json() == {"status": "READY"}


def test_a_private_dataset_is_403_for_others_exactly_like_a_missing_one(kaggle):
    create(kaggle, {"a.csv": b"1"}, isPrivate=True)
    private = rpc(kaggle, "GetDataset", ref(), user="examples")
    missing = rpc(kaggle, "GetDataset", ref("no-such-data"), user="examples")
    assert (private.status, private.body) == (missing.status, missing.body) == (403, private.body)
    assert rpc(kaggle, "DownloadDataset", ref(), user=None).status == 403


def test_a_public_dataset_can_be_read_without_an_account(kaggle):
    create(kaggle, {"a.csv": b"1"}, isPrivate=False)
    assert rpc(kaggle, "DownloadDataset", ref(fileName="a.csv"), user=None).status == 302


def test_delete_is_for_the_owner_and_final(kaggle):
    create(kaggle, {"a.csv": b"1"}, isPrivate=False)
    assert rpc(kaggle, "DeleteDataset", ref(), user="examples").status == 403
    assert rpc(kaggle, "DeleteDataset", ref()).status == 200
    assert rpc(kaggle, "GetDataset", ref()).status == 403
    assert create(kaggle, {"a.csv": b"again"}).json()["status"] == "Ok"
    assert rpc(kaggle, "GetDataset", ref()).json()["currentVersionNumber"] == 1


def kept_uploads(kaggle):
    return sorted(path.read_bytes() for path in (kaggle.world.root / "blobs").glob("*/data"))


def test_the_bytes_of_an_upload_go_with_the_last_dataset_that_has_them(kaggle):
    waiting = upload(kaggle, "later.csv", b"later")
    create(kaggle, {"a.csv": b"secret"}, isPrivate=True)
    assert kept_uploads(kaggle) == [b"later", b"secret"]
    assert rpc(kaggle, "DeleteDataset", ref()).status == 200
    assert kept_uploads(kaggle) == [b"later"]
    assert create(kaggle, {}, files=[{"token": waiting}]).json()["status"] == "Ok"
    new_version(kaggle, {"b.csv": b"new"}, deleteOldVersions=True)
    assert kept_uploads(kaggle) == [b"new"]


def test_an_upload_that_was_unpacked_goes_and_one_that_was_refused_can_be_used_again(kaggle):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.csv", b"1")
    token = upload(kaggle, "data.zip", packed.getvalue())
    files = [{"token": token}]
    assert create(kaggle, {}, files=files, title="No").json()["status"] == "error"
    assert len(kept_uploads(kaggle)) == 1
    assert create(kaggle, {}, files=files).json()["status"] == "Ok"
    assert kept_uploads(kaggle) == []
    assert "unknown upload token" in create(kaggle, {}, slug="other-data", files=files).json()["error"]


def test_uploads_and_private_datasets_are_private_files(kaggle):
    create(kaggle, {"a.csv": b"1"}, isPrivate=True)
    paths = [path for path in kaggle.world.root.rglob("*") if path.name in ("data", "a.csv")]
    assert [path.stat().st_mode & 0o777 for path in paths] == [0o600, 0o600]


def test_everything_is_there_after_a_restart(tmp_path, clock):
    with LocalKaggle(tmp_path / "root", clock=clock) as first:
        dataset_store.configure(first.world, processing_s=0)
        create(first, {"a.csv": b"1"}, isPrivate=True, categoryIds=["tabular"])
        before = rpc(first, "GetDataset", ref()).json()
    with LocalKaggle(tmp_path / "root", clock=clock) as second:
        assert rpc(second, "GetDataset", ref()).json() == before
        assert send("GET", location(second, fileName="a.csv")).body == b"1"
        assert dataset_store.settings(second.world).processing_s == 0


def test_seeded_folders_are_datasets_that_are_ready_at_once(tmp_path):
    world = World(tmp_path / "root")
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "a.csv").write_bytes(b"1")
    found = dataset_store.seed(world, "examples/mini", source, title="Mini")
    dataset_store.seed(world, "examples/mini", source)
    assert dataset_store.status(world, found.document) == "READY"
    assert [name for name, _ in dataset_store.files(found, 2)] == ["sub/a.csv"]


# Listing, metadata, trees


def test_lists_are_filtered_by_group_user_words_size_and_kind(kaggle):
    create(kaggle, {"a.csv": b"1" * 100}, slug="public-csv", title="Public table", isPrivate=False)
    create(kaggle, {"a.json": b"{}"}, slug="private-json", title="Private object", isPrivate=True)
    create(kaggle, {"b.csv": b"1"}, slug="their-data", title="Their table", user="examples", isPrivate=False)

    def listed(**body):
        answer = rpc(kaggle, "ListDatasets", {"search": "", "user": "", **body}).json()
        return {entry["ref"].partition("/")[2] for entry in answer["datasets"]}

    assert listed() == {"public-csv", "their-data"}
    assert listed(group="DATASET_SELECTION_GROUP_MY") == {"public-csv", "private-json"}
    assert listed(group="DATASET_SELECTION_GROUP_MY_PRIVATE") == {"private-json"}
    assert listed(group="DATASET_SELECTION_GROUP_USER", user="examples") == {"their-data"}
    assert listed(group="DATASET_SELECTION_GROUP_UPVOTED") == set()
    assert listed(search="TABLE public") == {"public-csv"}
    assert listed(minSize=50) == {"public-csv"}
    assert listed(maxSize=50) == {"their-data"}
    assert listed(fileType="DATASET_FILE_TYPE_GROUP_JSON", group="DATASET_SELECTION_GROUP_MY") == {"private-json"}


def test_lists_come_in_pages(kaggle, clock):
    for number in range(5):
        create(kaggle, {"a.csv": b"1"}, slug=f"dataset-{number}", isPrivate=False)
        clock.forward(minutes=1)
    first = rpc(kaggle, "ListDatasets", {"pageSize": 2, "sortBy": "DATASET_SORT_BY_UPDATED"}).json()
    second = rpc(kaggle, "ListDatasets", {"pageSize": 2, "sortBy": "DATASET_SORT_BY_UPDATED", "page": 2}).json()
    assert [entry["ref"][-1] for entry in first["datasets"] + second["datasets"]] == ["4", "3", "2", "1"]
    body = {"pageSize": 2, "sortBy": "DATASET_SORT_BY_UPDATED", "pageToken": second["nextPageToken"]}
    last = rpc(kaggle, "ListDatasets", body).json()
    assert ([entry["ref"][-1] for entry in last["datasets"]], last["nextPageToken"]) == (["0"], "")


def test_files_come_in_pages_with_what_the_client_needs(kaggle):
    create(kaggle, {f"{number:02}.csv": b"x" * number for number in range(5)})
    first = rpc(kaggle, "ListDatasetFiles", ref(pageSize=3)).json()
    last = rpc(kaggle, "ListDatasetFiles", ref(pageSize=3, pageToken=first["nextPageToken"])).json()
    assert [entry["name"] for entry in first["datasetFiles"] + last["datasetFiles"]] == [
        f"{n:02}.csv" for n in range(5)
    ]
    assert last["datasetFiles"][-1] == {
        "name": "04.csv",
        "ref": "04.csv",
        "totalBytes": 4,
        "fileType": ".csv",
        "datasetRef": "demo/small-data",
        "ownerRef": "demo",
        "creationDate": "2026-03-01T12:00:00.000Z",
    }
    assert "nextPageToken" not in last
    assert rpc(kaggle, "ListDatasetFiles", ref(pageToken="!!")).status == 400


def test_a_tree_lists_one_folder(kaggle):
    create(kaggle, {"images.zip": zipped({"a.txt": b"A", "deep/b.txt": b"B"}), "plain.csv": b"1"})
    top = rpc(kaggle, "ListTreeDatasetFiles", ref()).json()
    assert ([entry["name"] for entry in top["directories"]], [entry["name"] for entry in top["files"]]) == (
        ["images"],
        ["plain.csv"],
    )
    below = rpc(kaggle, "ListTreeDatasetFiles", ref(path="images/")).json()
    assert ([entry["name"] for entry in below["directories"]], below["files"][0]["name"]) == (["deep"], "a.txt")


def test_metadata_can_be_read_and_changed(kaggle):
    create(kaggle, {"a.csv": b"1"}, categoryIds=["tabular", "not a tag"])
    info = rpc(kaggle, "GetDatasetMetadata", ref()).json()["info"]
    assert (info["licenses"], info["data"], info["keywords"]) == (
        [{"name": "CC0-1.0"}],
        [{"name": "a.csv", "totalBytes": 1}],
        ["tabular"],
    )
    settings = {"title": "A new title", "licenses": [{"name": "MIT"}], "keywords": ["images"], "isPrivate": True}
    assert rpc(kaggle, "UpdateDatasetMetadata", ref(settings=settings)).json() == {"errors": []}
    changed = rpc(kaggle, "GetDatasetMetadata", ref()).json()["info"]
    assert (changed["title"], changed["licenses"], changed["isPrivate"]) == ("A new title", [{"name": "MIT"}], True)
    two = {**settings, "licenses": [{"name": "MIT"}, {"name": "CC0-1.0"}]}
    assert rpc(kaggle, "UpdateDatasetMetadata", ref(settings=two)).json()["errors"] == [
        "Please specify exactly one license"
    ]


def test_tags_that_are_none_are_reported(kaggle):
    assert create(kaggle, {"a.csv": b"1"}, categoryIds=["ok", "not a tag"]).json()["invalidTags"] == ["not a tag"]


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("GetDataset", {"ownerSlug": 5, "datasetSlug": "x"}),
        ("CreateDatasetVersion", {"ownerSlug": "demo", "datasetSlug": "small-data", "body": []}),
        ("CreateDataset", {"slug": "some-data", "title": "Some data", "files": ["x"]}),
        ("ListDatasets", {"pageSize": "many"}),
    ],
)
def test_bodies_of_the_wrong_shape_are_400(kaggle, method, body):
    create(kaggle, {"a.csv": b"1"})
    assert rpc(kaggle, method, body).status == 400


@pytest.mark.parametrize("slug", ["..", "a/b", "", ".hidden", "x" * 200])
def test_names_that_could_leave_the_folder_are_404(kaggle, slug):
    assert rpc(kaggle, "GetDataset", ref(slug)).status == 404
    assert rpc(kaggle, "DeleteDataset", ref(slug)).status == 404


# Downloads of datasets


def test_the_whole_dataset_is_one_zip_that_does_not_change(kaggle):
    create(kaggle, {"b.csv": b"2", "a.csv": b"1"})
    first, second = send("GET", location(kaggle)), send("GET", location(kaggle))
    assert location(kaggle).endswith("/archive.zip")
    assert (first.headers["ETag"], first.body) == (second.headers["ETag"], second.body)
    assert rpc(kaggle, "GetDataset", ref()).json()["downloadCount"] == 3


def test_a_large_file_comes_zipped_under_its_own_last_name_unless_raw(kaggle):
    dataset_store.configure(kaggle.world, processing_s=0, zip_over_bytes=100)
    folder = {"name": "sub", "files": [{"token": upload(kaggle, "big.csv", b"x" * 101)}]}
    create(kaggle, {"small.csv": b"x" * 100}, directories=[folder])
    assert location(kaggle, fileName="small.csv").endswith("/small.csv")
    url = location(kaggle, fileName="sub/big.csv")
    assert url.endswith("/sub/big.csv.zip")
    with zipfile.ZipFile(io.BytesIO(send("GET", url).body)) as archive:
        assert archive.namelist() == ["big.csv"]
    assert location(kaggle, fileName="sub/big.csv", raw=True).endswith("/sub/big.csv")
    raw = rpc(kaggle, "DownloadDatasetRaw", ref(fileName="sub/big.csv")).headers["Location"]
    assert send("GET", raw).body == b"x" * 101


@pytest.mark.parametrize("name", ["nope.csv", "../dataset.json", "/etc/passwd", "sub"])
def test_files_that_are_not_there_are_404(kaggle, name):
    create(kaggle, {"a.csv": b"1"})
    assert rpc(kaggle, "DownloadDataset", ref(fileName=name)).status == 404


# Competitions


@pytest.fixture
def competition(kaggle):
    folder = kaggle.world.root / "competitions" / "toy-comp"
    (folder / "test").mkdir(parents=True)
    (folder / "train.csv").write_bytes(b"1")
    (folder / "test" / "x.csv").write_bytes(b"22")
    return folder


def test_competition_files_are_listed_and_sent(kaggle, competition):
    listing = rpc(kaggle, COMPETITIONS + "ListDataFiles", {"competitionName": "toy-comp"}).json()["files"]
    assert [(entry["name"], entry["totalBytes"]) for entry in listing] == [("test/x.csv", 2), ("train.csv", 1)]
    one = rpc(kaggle, COMPETITIONS + "DownloadDataFile", {"competitionName": "toy-comp", "fileName": "train.csv"})
    assert send("GET", one.headers["Location"]).body == b"1"
    everything = rpc(kaggle, COMPETITIONS + "DownloadDataFiles", {"competitionName": "toy-comp"}).headers["Location"]
    assert everything.endswith("/toy-comp.zip")
    with zipfile.ZipFile(io.BytesIO(send("GET", everything).body)) as archive:
        assert archive.namelist() == ["test/x.csv", "train.csv"]


def test_competition_rules_that_were_not_accepted_are_403(kaggle, competition):
    (competition / ".rules-not-accepted").touch()
    answer = rpc(kaggle, COMPETITIONS + "DownloadDataFiles", {"competitionName": "toy-comp"})
    assert answer.status == 403
    assert "You must accept this competition's rules" in answer.json()["message"]


def test_competitions_and_files_that_are_not_there_are_404(kaggle, competition):
    assert rpc(kaggle, COMPETITIONS + "ListDataFiles", {"competitionName": "../x"}).status == 404
    for name in ("../../accounts.json", "nope"):
        body = {"competitionName": "toy-comp", "fileName": name}
        assert rpc(kaggle, COMPETITIONS + "DownloadDataFile", body).status == 404
