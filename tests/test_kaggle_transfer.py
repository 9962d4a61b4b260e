"""The client side of datasets against the local Kaggle: interrupted uploads, lost replies, bad downloads."""

from __future__ import annotations

import io
import json
import os
import zipfile

import pytest

from kagg import Context, Exit, KaggError
from plugins.lib.kaggle import dataset_store, transfer, uploading
from plugins.lib.kaggle.server import LocalKaggle


class QuickContext(Context):
    """A context whose waits are short and counted."""

    def __init__(self, env):
        super().__init__(env, stdout=io.StringIO(), stderr=io.StringIO())
        self.slept_s = 0.0

    def sleep(self, seconds):
        self.slept_s += seconds
        super().sleep(min(seconds, 0.02))

    def monotonic(self):
        return super().monotonic() + self.slept_s


@pytest.fixture
def kaggle(tmp_path):
    with LocalKaggle(tmp_path / "root") as running:
        dataset_store.configure(running.world, processing_s=0)
        yield running
        assert running.leaks == 0


@pytest.fixture
def ctx(tmp_path, kaggle):
    key = kaggle.world.accounts.users["demo"]["key"]
    home = {"HOME": str(tmp_path / "home"), "KAGG_HOME": str(tmp_path / "home" / ".kagg")}
    credentials = {"KAGGLE_USERNAME": "demo", "KAGGLE_KEY": key, "KAGG_KAGGLE_URL": kaggle.url}
    return QuickContext({**home, **credentials})


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "a.csv").write_bytes(b"x,y\n1,2\n")
    (source / "empty.txt").touch()
    (source / "sub" / "with space é.bin").write_bytes(bytes(range(256)) * 64)
    (source / "sub" / "a.csv").write_bytes(b"x,y\n1,2\n")
    return source


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files_of(folder)}


def make(ctx, folder, **more):
    return transfer.create_dataset(ctx, "demo/my-data", "My data", files_of(folder), base=folder, **more)


def remembered(ctx):
    return sorted((ctx.home / "temp" / "uploads").glob("*.json"))


def puts(kaggle):
    return [status for method, path, status in kaggle.requests if method == "PUT"]


def test_a_folder_comes_back_as_it_was(kaggle, ctx, folder, tmp_path):
    reply = make(ctx, folder)
    assert reply["ref"] == "demo/my-data"
    assert transfer.wait_ready(ctx, "demo/my-data")["currentVersionNumber"] == 1
    written = transfer.download_dataset(ctx, "demo/my-data", tmp_path / "copy")
    assert contents(tmp_path / "copy") == contents(folder)
    assert sorted(written) == files_of(tmp_path / "copy")
    assert remembered(ctx) == []


def test_one_file_comes_under_its_own_name_also_when_it_is_sent_zipped(kaggle, ctx, folder, tmp_path):
    make(ctx, folder)
    name = "sub/with space é.bin"
    for limit in (10**9, 100):
        dataset_store.configure(kaggle.world, zip_over_bytes=limit)
        dest = tmp_path / f"copy-{limit}"
        assert transfer.download_dataset(ctx, "demo/my-data", dest, file=name) == [dest / name]
        assert contents(dest) == {name: (folder / name).read_bytes()}


def test_a_version_is_a_snapshot_and_its_number_is_read_back(kaggle, ctx, folder, tmp_path):
    make(ctx, folder)
    reply = transfer.create_version(ctx, "demo/my-data", [folder / "a.csv"], notes="less")
    assert transfer.wait_ready(ctx, "demo/my-data", newer_than=reply["previousVersion"])["currentVersionNumber"] == 2
    transfer.download_dataset(ctx, "demo/my-data", tmp_path / "new")
    transfer.download_dataset(ctx, "demo/my-data", tmp_path / "old", version=1)
    assert list(contents(tmp_path / "new")) == ["a.csv"]
    assert contents(tmp_path / "old") == contents(folder)


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("reset", {"bytes": 5000}),
        ("reset", {}),
        ("truncate", {"bytes": 5000}),
        ("status", {"status": 503}),
        ("status", {"status": 429, "retry_after": 1}),
        ("lost_reply", {}),
        ("expire", {}),
    ],
)
def test_an_upload_that_breaks_off_goes_on(kaggle, ctx, folder, tmp_path, fault, options):
    kaggle.faults.add(fault, "storage/PUT/with*", times=1, **options)
    make(ctx, folder)
    assert kaggle.faults.waiting() == []
    transfer.download_dataset(ctx, "demo/my-data", tmp_path / "copy")
    assert contents(tmp_path / "copy") == contents(folder)


def test_after_an_interruption_only_what_is_missing_is_sent(kaggle, ctx, folder, monkeypatch):
    kaggle.faults.add("reset", "storage/PUT/with*", bytes=5000)
    sent = []
    real = uploading._send_piece

    def counted(context, url, source, at, size):
        sent.append(at)
        return real(context, url, source, at, size)

    monkeypatch.setattr(uploading, "_send_piece", counted)
    transfer.upload_blob(ctx, folder / "sub" / "with space é.bin")
    assert sent == [0, 5000]
    assert puts(kaggle) == [308, 200]


def test_an_upload_goes_on_in_a_later_process_and_sends_only_what_is_missing(kaggle, ctx, tmp_path, monkeypatch):
    monkeypatch.setattr(uploading, "PIECE_BYTES", 256 * 1024)
    path = tmp_path / "big.bin"
    path.write_bytes(os.urandom(4 * 256 * 1024))
    sent = []
    real = uploading._send_piece

    def first_two(context, url, source, at, size):
        if len(sent) == 2:
            raise KeyboardInterrupt
        sent.append(at)
        return real(context, url, source, at, size)

    monkeypatch.setattr(uploading, "_send_piece", first_two)
    with pytest.raises(KeyboardInterrupt):
        transfer.upload_blob(ctx, path)
    (note,) = remembered(ctx)
    assert note.stat().st_mode & 0o777 == 0o600

    def counted(context, url, source, at, size):
        sent.append(at)
        return real(context, url, source, at, size)

    monkeypatch.setattr(uploading, "_send_piece", counted)
    later = QuickContext(ctx.env)
    token = transfer.upload_blob(later, path)
    assert sent == [0, 262144, 524288, 786432]
    assert (kaggle.world.root / "blobs" / token / "data").read_bytes() == path.read_bytes()
    assert transfer.upload_blob(later, path) == token
    assert len(sent) == 4


def test_an_upload_that_never_gets_on_ends(kaggle, ctx, folder):
    kaggle.faults.add("status", "storage/PUT/*", times=None, status=503)
    with pytest.raises(KaggError) as error:
        transfer.upload_blob(ctx, folder / "a.csv")
    assert error.value.code == Exit.SERVICE
    assert len(puts(kaggle)) <= uploading.MAX_IDLE


def test_a_file_that_changes_while_it_is_sent_is_refused(kaggle, ctx, folder, monkeypatch):
    path = folder / "a.csv"
    real = uploading._send_piece

    def meddling(context, url, source, at, size):
        reply = real(context, url, source, at, size)
        path.write_bytes(b"something else")
        return reply

    monkeypatch.setattr(uploading, "_send_piece", meddling)
    with pytest.raises(KaggError, match="changed while it was uploaded") as error:
        transfer.upload_blob(ctx, path)
    assert error.value.code == Exit.INTEGRITY
    assert remembered(ctx) == []


@pytest.mark.parametrize("value", ["bytes=0-999999", "bytes=5-9", "nonsense"])
def test_a_storage_that_claims_nonsense_is_not_believed(value):
    reply = uploading.Reply(308, {"Range": value}, b"", "")
    with pytest.raises(KaggError, match="claims"):
        uploading._arrived(reply, 100)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"ref": "demo/short"}, "slug 'short' must have 6 to 50"),
        ({"ref": "no-owner"}, "is not a dataset"),
        ({"title": "Tiny"}, "title 'Tiny' must have 6 to 50"),
        ({"subtitle": "short"}, "subtitle 'short' must have 20 to 80"),
        ({"files": []}, "at least one file"),
    ],
)
def test_rules_are_checked_before_anything_is_sent(kaggle, ctx, folder, change, text):
    request = {"ref": "demo/my-data", "title": "My data", "files": [folder / "a.csv"], **change}
    with pytest.raises(KaggError, match=text) as error:
        transfer.create_dataset(ctx, **request)
    assert (error.value.code, list(kaggle.requests)) == (Exit.USAGE, [])


def test_two_files_of_one_name_need_their_folders(kaggle, ctx, folder):
    with pytest.raises(KaggError, match="twice"):
        transfer.create_dataset(ctx, "demo/my-data", "My data", files_of(folder))


def test_a_dataset_that_exists_is_not_created_again(kaggle, ctx, folder):
    make(ctx, folder)
    with pytest.raises(KaggError, match="exists"):
        make(ctx, folder)


@pytest.mark.parametrize("method", ["CreateDataset", "CreateDatasetVersion"])
def test_a_lost_reply_is_looked_up_and_not_repeated(kaggle, ctx, folder, method):
    if method == "CreateDatasetVersion":
        make(ctx, folder)
    kaggle.faults.add("lost_reply", f"datasets.DatasetApiService/{method}")
    if method == "CreateDataset":
        reply = make(ctx, folder)
    else:
        reply = transfer.create_version(ctx, "demo/my-data", [folder / "a.csv"])
    assert reply["recovered"] is True
    versions = 1 if method == "CreateDataset" else 2
    assert transfer.wait_ready(ctx, "demo/my-data")["currentVersionNumber"] == versions


def test_a_create_that_never_arrived_is_reported_as_unknown(kaggle, ctx, folder):
    kaggle.faults.add("reset", "datasets.DatasetApiService/CreateDataset")
    with pytest.raises(KaggError, match="was lost") as error:
        make(ctx, folder)
    assert error.value.details["unknown"] is True
    assert len(remembered(ctx)) == 4


def test_a_refusal_in_a_200_is_an_error(kaggle, ctx, folder):
    (folder / "bad.zip").write_bytes(_zip({"../x": b"1"}))
    with pytest.raises(KaggError, match="Kaggle refused demo/my-data"):
        make(ctx, folder)
    assert remembered(ctx) == []


def test_waiting_survives_a_dataset_that_is_not_readable_yet(kaggle, ctx, folder):
    kaggle.faults.add("not_readable", "demo/my-data", seconds=0.2)
    dataset_store.configure(kaggle.world, processing_s=0.3)
    make(ctx, folder)
    assert transfer.wait_ready(ctx, "demo/my-data")["currentVersionNumber"] == 1
    assert ctx.slept_s > 0


def test_a_number_that_is_ahead_of_its_processing_is_not_ready(ctx, monkeypatch):
    states = iter([("BLOBS_RECEIVED", {"currentVersionNumber": 2}), ("READY", {"currentVersionNumber": 2})])
    monkeypatch.setattr(transfer, "_state", lambda *_: next(states))
    assert transfer.wait_ready(ctx, "demo/my-data", newer_than=1) == {"currentVersionNumber": 2}
    assert next(states, None) is None
    monkeypatch.setattr(transfer, "_state", lambda *_: ("FAILED", {}))
    with pytest.raises(KaggError, match="could not process"):
        transfer.wait_ready(ctx, "demo/my-data")


def test_waiting_ends(kaggle, ctx, folder):
    with pytest.raises(KaggError, match="not readable after") as error:
        transfer.wait_ready(ctx, "demo/no-such-data", max_wait_s=5)
    assert "too new" in error.value.hint
    dataset_store.configure(kaggle.world, processing_s=3600)
    make(ctx, folder)
    with pytest.raises(KaggError, match="NOT_YET_PERSISTED"):
        transfer.wait_ready(ctx, "demo/my-data", max_wait_s=5)
    with pytest.raises(KaggError, match="still being processed"):
        transfer.create_version(ctx, "demo/my-data", [folder / "a.csv"])


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("truncate", {"bytes": 1000}),
        ("truncate", {"bytes": 1000, "announce": False}),
        ("corrupt", {}),
        ("expire", {}),
        ("reset", {"bytes": 1000}),
        ("status", {"status": 503}),
    ],
)
def test_a_bad_download_is_noticed_and_done_again(kaggle, ctx, folder, tmp_path, fault, options):
    make(ctx, folder)
    kaggle.faults.add(fault, "storage/GET/*", **options)
    transfer.download_dataset(ctx, "demo/my-data", tmp_path / "copy")
    assert kaggle.faults.waiting() == []
    assert contents(tmp_path / "copy") == contents(folder)


def test_a_download_that_stays_bad_leaves_nothing(kaggle, ctx, folder, tmp_path):
    make(ctx, folder)
    kaggle.faults.add("corrupt", "storage/GET/*", times=None)
    with pytest.raises(KaggError) as error:
        transfer.download_dataset(ctx, "demo/my-data", tmp_path / "copy")
    assert error.value.code == Exit.INTEGRITY
    assert contents(tmp_path / "copy") == {}


def test_a_hostile_zip_writes_nothing(kaggle, ctx, folder, tmp_path):
    make(ctx, folder)
    transfer.download_dataset(ctx, "demo/my-data", tmp_path / "first")
    archive = kaggle.world.root / "datasets/demo/my-data/versions/1/archive.zip"
    archive.write_bytes(_zip({"good.txt": b"1", "../escaped.txt": b"2"}))
    with pytest.raises(KaggError, match="refused the file name"):
        transfer.download_dataset(ctx, "demo/my-data", tmp_path / "copy")
    archive.write_bytes(_zip({"bomb.bin": bytes(10**6)}))
    with pytest.raises(KaggError, match="unpacks to more"):
        transfer.download_dataset(ctx, "demo/my-data", tmp_path / "copy", max_bytes=10**5)
    assert contents(tmp_path / "copy") == {}
    assert not (tmp_path / "escaped.txt").exists()


def test_a_hostile_file_name_is_refused_before_anything_is_asked(kaggle, ctx, folder, tmp_path):
    make(ctx, folder)
    with pytest.raises(KaggError, match="refused the file name"):
        transfer.download_dataset(ctx, "demo/my-data", tmp_path / "copy", file="../x")
    with pytest.raises(KaggError, match="not found") as error:
        transfer.download_dataset(ctx, "demo/my-data", tmp_path / "copy", file="nope.csv")
    assert error.value.code == Exit.SERVICE


def test_the_session_file_names_no_credentials(kaggle, ctx, folder):
    transfer.upload_blob(ctx, folder / "a.csv")
    (note,) = remembered(ctx)
    assert set(json.loads(note.read_text())) == {"version", "token", "url", "started", "done"}
    assert ctx.env["KAGGLE_KEY"] not in note.read_text()


def _zip(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()
