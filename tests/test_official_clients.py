"""The unmodified official clients against the local Kaggle: the `kaggle` command and kagglehub."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from front_door import close, environment
from local_kaggle import Client

from kagg import Context, main
from plugins.lib.kaggle.server import LocalKaggle
from plugins.lib.kaggle.sessions import Limits

CLI = Path(sys.executable).parent / "kaggle"

needs_cli = pytest.mark.skipif(not CLI.exists(), reason="the official client is not installed: pip install kaggle")
needs_hub = pytest.mark.skipif(not importlib.util.find_spec("kagglehub"), reason="not installed: pip install kagglehub")

TALKS = """
import time
for epoch in range(3):
    print("epoch", epoch, flush=True)
    time.sleep(1.5)
open("/kaggle/working/model.bin", "w").write("weights")
"""


@pytest.fixture
def kaggle(tmp_path):
    with LocalKaggle(tmp_path / "kaggle") as server:
        yield server


@pytest.fixture
def client(kaggle):
    return Client(kaggle)


class Official:
    """Run the `kaggle` command as its documentation says, through HTTP_PROXY: it has no option for another address."""

    def __init__(self, kaggle, folder: Path, *, token: str = "") -> None:
        config = folder / "config"
        config.mkdir()
        self.folder = folder
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "KAGGLE_CONFIG_DIR": str(config),
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "HTTP_PROXY": kaggle.url,
            "NO_PROXY": "127.0.0.1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if token:
            self.env["KAGGLE_API_TOKEN"] = token
            return
        key = kaggle.world.accounts.users["demo"]["key"]
        (config / "kaggle.json").write_text(json.dumps({"username": "demo", "key": key}))
        (config / "kaggle.json").chmod(0o600)

    def start(self, *args: str) -> subprocess.Popen:
        return subprocess.Popen(
            [CLI, *args], env=self.env, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, *args: str) -> str:
        """Return everything it printed; it must exit 0."""
        with self.start(*args) as process:
            text, _ = process.communicate(timeout=60)
        assert process.returncode == 0, text
        return text


@pytest.fixture
def official(kaggle, tmp_path):
    return Official(kaggle, tmp_path)


def write_kernel(folder: Path, source: str, **metadata) -> Path:
    folder.mkdir()
    (folder / "job.py").write_text(source)
    about = {
        "id": "demo/train-job",
        "title": "Train Job",
        "code_file": "job.py",
        "language": "python",
        "kernel_type": "script",
        **metadata,
    }
    (folder / "kernel-metadata.json").write_text(json.dumps(about))
    return folder


@needs_cli
def test_push_status_log_output_and_files(kaggle, client, official, tmp_path):
    source = "print('línea')\nopen('/kaggle/working/model.bin', 'w').write('weights')"
    folder = write_kernel(tmp_path / "job", source, dataset_sources=["demo/none"])
    said = official.run("kernels", "push", "-p", str(folder))
    assert "Kernel version 1 successfully pushed" in said
    assert "demo/none" in said
    client.wait("train-job")
    assert 'has status "KernelWorkerStatus.COMPLETE"' in official.run("kernels", "status", "demo/train-job")
    assert "línea" in official.run("kernels", "logs", "demo/train-job")
    official.run("kernels", "output", "demo/train-job", "-p", str(tmp_path / "out"))
    assert (tmp_path / "out" / "model.bin").read_text() == "weights"
    assert "línea" in (tmp_path / "out" / "train-job.log").read_text()
    assert "model.bin" in official.run("kernels", "files", "demo/train-job")
    assert kaggle.leaks == 0


@needs_cli
def test_a_log_is_followed_while_the_kernel_runs(client, official, tmp_path):
    official.run("kernels", "push", "-p", str(write_kernel(tmp_path / "job", TALKS)))
    client.wait("train-job", "RUNNING")
    with official.start("kernels", "logs", "-f", "demo/train-job") as process:
        assert process.stdout.readline() == "epoch 0\n"
        assert client.status("train-job") == {"status": "RUNNING"}
        rest, _ = process.communicate(timeout=60)
    assert rest.startswith("epoch 1\nepoch 2\n")
    assert process.returncode == 0
    assert client.status("train-job") == {"status": "COMPLETE"}


@needs_cli
def test_list_pull_and_quota(client, official, tmp_path):
    for number in range(3):
        client.push(f"Public {number}", f"print({number})", isPrivate=False, kernelExecutionType="QUICK_SAVE")
    listed = official.run("kernels", "list", "--csv", "--user", "demo", "--page-size", "2")
    assert [line.split(",")[0] for line in listed.splitlines() if line.startswith("demo/")] == [
        "demo/public-2",
        "demo/public-1",
    ]
    official.run("kernels", "pull", "demo/public-1", "-p", str(tmp_path / "pulled"), "-m")
    assert (tmp_path / "pulled" / "public-1.py").read_text() == "print(1)"
    metadata = json.loads((tmp_path / "pulled" / "kernel-metadata.json").read_text())
    assert (metadata["id"], metadata["is_private"]) == ("demo/public-1", False)
    quota = official.run("quota")
    assert "GPU" in quota
    assert "30.00h" in quota


@needs_cli
def test_an_api_token_is_introspected_and_works(kaggle, client, tmp_path):
    client.push("Mine", "pass", kernelExecutionType="QUICK_SAVE")
    token = kaggle.world.accounts.users["demo"]["tokens"][0]
    said = Official(kaggle, tmp_path, token=token).run("kernels", "list", "-m")
    assert "demo/mine" in said
    paths = [path for _, path, _ in kaggle.requests]
    assert any(path.endswith("security.OAuthService/IntrospectToken") for path in paths)


@needs_cli
def test_the_refusal_of_a_push_reads_as_on_kaggle(tmp_path):
    with LocalKaggle(tmp_path / "kaggle", limits=Limits(gpu_slots=0)) as kaggle:
        folder = write_kernel(tmp_path / "job", "pass", enable_gpu=True)
        said = Official(kaggle, tmp_path).run("kernels", "push", "-p", str(folder))  # exits 0, which is its defect
    assert "Kernel push error: Maximum batch GPU session count of 0 reached." in said


@needs_hub
def test_kagglehub_says_who_and_downloads_an_output(kaggle, client, tmp_path):
    client.push("Train Job", "open('model.bin', 'w').write('weights')\nopen('b.txt', 'w').write('b')")
    client.wait("train-job")
    program = """
        import json, pathlib, sys
        from kagglesdk import kaggle_env
        kaggle_env._env_to_endpoint[kaggle_env.KaggleEnv.TEST] = sys.argv[1]
        import kagglehub
        who = kagglehub.whoami()
        one = kagglehub.notebook_output_download("demo/train-job", path="model.bin")
        whole = kagglehub.notebook_output_download("demo/train-job", force_download=True)
        names = sorted(path.name for path in pathlib.Path(whole).iterdir())
        print("RESULT" + json.dumps([who, pathlib.Path(one).read_text(), names]))
    """
    account = kaggle.world.accounts.users["demo"]
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "KAGGLEHUB_CACHE": str(tmp_path / "cache"),
        "KAGGLE_API_ENVIRONMENT": "TEST",
        "KAGGLE_USERNAME": "demo",
        "KAGGLE_KEY": account["key"],
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    argv = [sys.executable, "-c", textwrap.dedent(program), kaggle.url]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    (result,) = [line.removeprefix("RESULT") for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert json.loads(result) == [{"username": "demo"}, "weights", ["b.txt", "model.bin"]]
    assert kaggle.leaks == 0


ENDS = {
    "complete": ("for n in range(3): open(f'part {n}.bin', 'w').write('x' * n)\nprint('all well')", "COMPLETE"),
    "failed": ("open('left.txt', 'w').write('é')\nraise SystemExit(3)", "ERROR"),
    "cancelled": ("import time\nopen('left.txt', 'w').write('é')\ntime.sleep(600)", "CANCEL_ACKNOWLEDGED"),
}


def ours(kaggle, folder, *argv):
    """Run kagg as the same user; return its exit code and the JSON that it wrote."""
    key = kaggle.world.accounts.users["demo"]["key"]
    env = environment(folder, KAGG_KAGGLE_URL=kaggle.url, KAGGLE_USERNAME="demo", KAGGLE_KEY=key)
    ctx = Context(env, stdout=io.StringIO(), stderr=io.StringIO())
    code = main(["--json", *map(str, argv)], ctx)
    close(ctx)
    return code, ctx.stdout.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    """Return {name: bytes} of the files of a folder, without the log that the official client adds."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".log"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@needs_cli
@pytest.mark.parametrize("end", ENDS)
def test_both_see_the_same_kernel_the_same_state_and_the_same_files(kaggle, client, official, tmp_path, end):
    source, state = ENDS[end]
    (tmp_path / "job.py").write_text(source)
    assert ours(kaggle, tmp_path, "push", tmp_path / "job.py", "--title", f"Ended {end}")[0] == 0
    slug = f"ended-{end}"
    if end == "cancelled":
        client.wait(slug, "RUNNING")
        output = kaggle.world.root / "kernels" / "demo" / slug / "versions" / "1" / "output" / "left.txt"
        while not output.exists():
            time.sleep(0.02)
        client.call("CancelKernelSession", {"kernelSessionId": kaggle.world.sessions.live_ids()[0]})
    ended = client.wait(slug)["status"]
    assert ended.startswith(state)

    listed = official.run("kernels", "list", "-m", "--csv")
    theirs = [line.split(",")[0] for line in listed.splitlines() if line.startswith("demo/")]
    _, found = ours(kaggle, tmp_path, "list", "kernels", "--user", "demo")
    assert theirs == [f"demo/{slug}"]
    assert f'"demo/{slug}"' in found

    assert f'"KernelWorkerStatus.{ended}"' in official.run("kernels", "status", f"demo/{slug}")
    assert f'"{ended}"' in ours(kaggle, tmp_path, "status", f"demo/{slug}")[1]

    official.run("kernels", "output", f"demo/{slug}", "-p", str(tmp_path / "theirs"))
    ours(kaggle, tmp_path, "output", f"demo/{slug}", "--dest", tmp_path / "ours")
    assert contents(tmp_path / "theirs") == contents(tmp_path / "ours")
    assert contents(tmp_path / "ours")
    assert kaggle.leaks == 0


@needs_cli
@pytest.mark.parametrize(("end", "code"), [("", 0), ("raise SystemExit(3)", 1)])
def test_they_see_a_run_on_kaggle_as_we_do(kaggle, official, tmp_path, end, code):
    (tmp_path / "job.py").write_text(f"import json\nprint('línea')\njson.dump([1], open('left.json', 'w'))\n{end}\n")
    done, text = ours(kaggle, tmp_path, "run", tmp_path / "job.py", "--kaggle", "--keep", "--dest", tmp_path / "ours")
    result = json.loads(text.splitlines()[-1])
    assert (done, result["status"]) == (code, "error" if code else "complete"), text
    ref = result["ref"]

    # The session got to its summary, whatever the program did.
    assert '"KernelWorkerStatus.COMPLETE"' in official.run("kernels", "status", ref)
    assert '"COMPLETE"' in ours(kaggle, tmp_path, "status", ref)[1]
    assert ref in official.run("kernels", "list", "-m", "--csv")
    assert "línea" in official.run("kernels", "logs", ref)
    official.run("kernels", "output", ref, "-p", str(tmp_path / "theirs"))
    theirs, fetched = contents(tmp_path / "theirs"), contents(tmp_path / "ours" / "output")
    assert fetched == {"left.json": b"[1]"}
    assert fetched.items() <= theirs.items()
    assert json.loads(theirs["session_summary.json"])["exit_code"] == (3 if code else 0)
    assert kaggle.leaks == 0
