"""The unmodified official clients against the local Kaggle's datasets: the `kaggle` command and kagglehub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from plugins.lib.kaggle import dataset_store
from plugins.lib.kaggle.server import LocalKaggle

pytest.importorskip("kaggle.api.kaggle_api_extended", reason="the official client is not installed: pip install kaggle")
pytest.importorskip("kagglehub", reason="kagglehub is not installed: pip install kagglehub")

HUB = """
import sys
from kagglesdk import kaggle_env
kaggle_env._env_to_endpoint[kaggle_env.KaggleEnv.TEST] = sys.argv[1]  # TEST means localhost:7777 otherwise
import kagglehub
print("RESULT", getattr(kagglehub, sys.argv[2])(*sys.argv[3:]))
"""


@pytest.fixture
def kaggle(tmp_path):
    with LocalKaggle(tmp_path / "root") as running:
        dataset_store.configure(running.world, processing_s=0, zip_over_bytes=50_000)
        yield running
        assert running.leaks == 0


@pytest.fixture
def environment(kaggle, tmp_path):
    """Return the variables of a user's shell, with nothing of the real one but where programs are."""
    home = tmp_path / "home"
    home.mkdir()
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(home),
        "KAGG_HOME": str(home / ".kagg"),
        "KAGGLE_CONFIG_DIR": str(home / ".kaggle"),
        "KAGGLEHUB_CACHE": str(home / "cache"),
        "KAGGLE_USERNAME": "demo",
        "KAGGLE_KEY": kaggle.world.accounts.users["demo"]["key"],
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
    }


@pytest.fixture
def cli(kaggle, environment, tmp_path):
    """Run `kaggle datasets ...`; the command reaches another port than 80 only through HTTP_PROXY."""
    proxy = {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", "HTTP_PROXY": kaggle.url, "NO_PROXY": "127.0.0.1"}

    def run(*arguments, code=0):
        command = [sys.executable, "-m", "kaggle", "datasets", *map(str, arguments)]
        done = subprocess.run(
            command, env=environment | proxy, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def hub(kaggle, environment, tmp_path):
    """Call one function of kagglehub in a process of its own and return what it answers."""
    port = urlsplit(kaggle.url).port

    def call(function, *arguments, code=0):
        command = [sys.executable, "-c", HUB, f"http://localhost:{port}", function, *map(str, arguments)]
        variables = environment | {"KAGGLE_API_ENVIRONMENT": "TEST", "NO_PROXY": "*"}
        done = subprocess.run(
            command, env=variables, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout.rpartition("RESULT ")[2].strip() if code == 0 else done.stderr

    return call


@pytest.fixture
def folder(tmp_path):
    """A folder as `kaggle datasets create` wants it."""
    source = tmp_path / "source"
    (source / "images").mkdir(parents=True)
    (source / "train.csv").write_bytes(b"x,y\n1,2\n")
    (source / "big.csv").write_bytes(b"0123456789\n" * 6000)
    (source / "empty.txt").touch()
    (source / "images" / "a.bin").write_bytes(bytes(range(256)))
    about = {"id": "demo/shop-data", "title": "Shop data", "licenses": [{"name": "CC0-1.0"}]}
    (source / "dataset-metadata.json").write_text(json.dumps(about))
    return source


EXPECTED = {"train.csv", "big.csv", "empty.txt", "images/a.bin"}


def contents(folder, names=EXPECTED):
    return {name: (folder / name).read_bytes() for name in names}


def names_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_command_creates_lists_and_downloads(cli, folder, tmp_path):
    assert "Your private Dataset is being created" in cli("create", "-p", folder, "--dir-mode", "zip")
    assert cli("status", "demo/shop-data").strip() == "ready"
    assert "demo/shop-data" in cli("list", "--mine")
    assert "demo/shop-data" not in cli("list", "-s", "shop")
    listing = cli("files", "demo/shop-data", "--csv")
    assert {line.partition(",")[0] for line in listing.splitlines()[1:]} == EXPECTED
    cli("download", "demo/shop-data", "-p", tmp_path / "all", "--unzip")
    assert names_in(tmp_path / "all") - {"shop-data.zip.kaggle-partial"} == EXPECTED
    assert contents(tmp_path / "all") == contents(folder)


def test_the_command_downloads_single_files_and_sees_versions(cli, folder, tmp_path):
    cli("create", "-p", folder)
    (folder / "train.csv").write_bytes(b"x,y\n3,4\n")
    (folder / "with space é.csv").write_bytes(b"1")
    assert "Dataset version is being created" in cli("version", "-p", folder, "-m", "second")
    assert json.loads(cli("status", "demo/shop-data", "--format", "json")) == {
        "status": "ready",
        "current_version_number": 2,
    }
    one = tmp_path / "one"
    cli("download", "demo/shop-data", "-f", "train.csv", "-p", one)
    assert (one / "train.csv").read_bytes() == b"x,y\n3,4\n"
    cli("download", "demo/shop-data", "-f", "big.csv", "-p", one)
    cli("download", "demo/shop-data", "-f", "with space é.csv", "-p", one)
    # The command names a file after the last segment of the URL, quoted as it is: one of its known defects.
    assert names_in(one) == {"train.csv", "big.csv.zip", "with%20space%20%C3%A9.csv"}


def test_the_command_resumes_a_download_that_broke_off(kaggle, cli, folder, tmp_path):
    cli("create", "-p", folder)
    kaggle.faults.add("truncate", "storage/GET/archive.zip", bytes=100)
    cli("download", "demo/shop-data", "-p", tmp_path / "all", "--unzip")
    assert contents(tmp_path / "all", EXPECTED - {"images/a.bin"}) == contents(folder, EXPECTED - {"images/a.bin"})
    assert [status for _, path, status in kaggle.requests if path.endswith("/archive.zip")] == [200, 206]


def test_the_command_resumes_an_upload_that_broke_off(kaggle, cli, folder, tmp_path):
    kaggle.faults.add("status", "storage/PUT/big.csv", status=503)
    assert "is being created" in cli("create", "-p", folder)
    kaggle.faults.add("truncate", "storage/PUT/big.csv", bytes=1000)
    cli("version", "-p", folder, "-m", "again")
    cli("download", "demo/shop-data", "-f", "train.csv", "-p", tmp_path / "one")
    assert kaggle.faults.waiting() == []
    stored = kaggle.world.root / "datasets/demo/shop-data/versions/2/files/big.csv"
    assert stored.read_bytes() == (folder / "big.csv").read_bytes()


def test_the_command_is_told_why_a_dataset_is_refused(cli, folder):
    cli("create", "-p", folder)
    assert "already in use" in cli("create", "-p", folder)


def test_the_command_reads_and_changes_metadata_and_deletes(cli, folder, tmp_path):
    cli("create", "-p", folder, "--public")
    assert "demo/shop-data" in cli("list", "-s", "shop")
    cli("metadata", "demo/shop-data", "-p", tmp_path / "meta")
    saved = json.loads((tmp_path / "meta" / "dataset-metadata.json").read_text())
    assert (saved["info"]["title"], saved["info"]["licenses"]) == ("Shop data", [{"name": "CC0-1.0"}])
    saved["info"]["title"] = "Shop data of May"
    (tmp_path / "meta" / "dataset-metadata.json").write_text(json.dumps(saved))
    assert "successfully updated" in cli("metadata", "demo/shop-data", "-p", tmp_path / "meta", "--update")
    assert "Shop data of May" in cli("list", "-s", "shop")
    assert "deleted" in cli("delete", "demo/shop-data", "-y")
    assert "demo/shop-data" not in cli("list", "--mine")


def test_kagglehub_uploads_twice_and_downloads(hub, folder, tmp_path):
    hub("dataset_upload", "demo/hub-data", folder)
    (folder / "train.csv").write_bytes(b"changed")
    hub("dataset_upload", "demo/hub-data", folder, "second")
    got = Path(hub("dataset_download", "demo/hub-data"))
    assert got.name == "2"
    assert contents(got) == contents(folder)
    first = Path(hub("dataset_download", "demo/hub-data/versions/1"))
    assert (first / "train.csv").read_bytes() == b"x,y\n1,2\n"


def test_kagglehub_unpacks_a_large_single_file_and_notices_a_corrupt_one(kaggle, hub, folder):
    hub("dataset_upload", "demo/hub-data", folder)
    got = Path(hub("dataset_download", "demo/hub-data", "big.csv"))
    assert got.read_bytes() == (folder / "big.csv").read_bytes()
    kaggle.faults.add("corrupt", "storage/GET/train.csv")
    assert "DataCorruptionError" in hub("dataset_download", "demo/hub-data", "train.csv", code=1)


def test_kagglehub_downloads_competition_data(kaggle, hub):
    data = kaggle.world.root / "competitions" / "toy-comp"
    data.mkdir(parents=True)
    (data / "train.csv").write_bytes(b"1,2\n")
    (data / "test.csv").write_bytes(b"3\n")
    got = Path(hub("competition_download", "toy-comp"))
    assert names_in(got) == {"train.csv", "test.csv"}
