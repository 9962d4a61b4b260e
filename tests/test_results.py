"""Results of a session: only this run's, whole, hash-verified; what is foreign, hostile or broken is not kept."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from front_door import QuickContext, close, environment
from local_kaggle import Client

from kagg import Exit, KaggError, Ref
from plugins.lib.kaggle import collect
from plugins.lib.kaggle.server import LocalKaggle
from plugins.lib.launch.manifest import marker, read_summary
from plugins.lib.launch.results import fetch_results

RUN = "train-20261120-1130-abcdef"
GET = "storage/GET/*"
SUMMARY = {
    "version": 1,
    "run_id": RUN,
    "status": "complete",
    "stage": "",
    "exit_code": 0,
    "error": None,
    "cell": None,
    "traceback": [],
    "source_sha256": "0" * 64,
    "git_commit": "",
    "device": {"kind": "cpu", "accelerator": None, "found": [], "simulated": False},
    "started": "2026-11-20T11:30:00+00:00",
    "ended": "2026-11-20T11:31:00+00:00",
    "duration_s": 60.0,
    "times": {"setup_s": 1.0, "program_s": 59.0},
    "kagg_version": "0.1.0",
}
FILES = {"metrics.json": b'{"loss": 0.5}', "plots/curve é.png": bytes(range(256)) * 100, "empty.txt": b""}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def summary_of(files=FILES, **changes):
    entries = [{"path": name, "size_bytes": len(body), "sha256": sha256(body)} for name, body in files.items()]
    return json.dumps({**SUMMARY, "manifest": entries, **changes}).encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with LocalKaggle(tmp_path_factory.mktemp("kaggle")) as found:
        yield found
        assert found.leaks == 0


class Desk:
    """One kernel per test, whose outputs a test writes."""

    number = 0

    def __init__(self, server, folder):
        key = server.world.accounts.add("demo")["key"]
        env = {"KAGG_KAGGLE_URL": server.url, "KAGGLE_USERNAME": "demo", "KAGGLE_KEY": key}
        self.ctx = QuickContext(environment(folder, **env))
        self.server, self.client, self.dest = server, Client(server), folder / "result" / "output"

    def session(self, files, end=""):
        """Run a kernel that writes these files and return its reference; `end` is what it does last."""
        Desk.number += 1
        source = "import base64, pathlib\n"
        for name, body in files.items():
            source += f"p = pathlib.Path({name!r}); p.parent.mkdir(parents=True, exist_ok=True)\n"
            source += f"p.write_bytes({body!r})\n"
        title = f"results test {Desk.number}"
        self.client.push(title, source + end)
        slug = title.replace(" ", "-")
        self.client.wait(slug)
        return Ref("kaggle", "demo", slug, 1)

    def fetch(self, ref, **options):
        return fetch_results(self.ctx, ref, self.dest, RUN, **{"state": "COMPLETE", **options})

    def left(self):
        return sorted(path.relative_to(self.dest).as_posix() for path in self.dest.rglob("*") if path.is_file())

    def downloads(self):
        return sum(1 for method, _, _ in self.server.requests if method == "GET")


@pytest.fixture
def desk(server, tmp_path):
    server.faults.clear()
    found = Desk(server, tmp_path)
    yield found
    close(found.ctx)


def whole(desk, **changes):
    return desk.session({**FILES, "session_started.json": b"{}", "session_summary.json": summary_of(**changes)})


class TestWhole:
    def test_the_files_of_the_manifest_are_fetched_and_verified(self, desk):
        found = desk.fetch(whole(desk))
        assert (found.verified, found.faults, desk.left()) == (True, [], sorted(FILES))
        assert {file["path"]: file["sha256"] for file in found.files} == {n: sha256(b) for n, b in FILES.items()}
        assert found.summary["exit_code"] == 0

    def test_what_is_here_and_whole_is_not_fetched_again(self, desk):
        ref = whole(desk)
        desk.fetch(ref)
        before = desk.downloads()
        (desk.dest / "metrics.json").write_bytes(b'{"loss": 0.9}')
        assert desk.fetch(ref).verified
        assert desk.downloads() - before == 2  # the summary and the file that was changed
        assert (desk.dest / "metrics.json").read_bytes() == FILES["metrics.json"]

    def test_include_and_exclude_choose_files(self, desk):
        ref = whole(desk)
        found = desk.fetch(ref, include=["*.json", "plots/*"], exclude=["plots/*"])
        assert ([file["path"] for file in found.files], desk.left()) == (["metrics.json"], ["metrics.json"])

    def test_more_files_than_a_page_holds_all_arrive(self, desk):
        files = {f"n/{number:04}.txt": str(number).encode() for number in range(230)}
        end = "[pathlib.Path(f'n/{i:04}.txt').write_text(str(i)) for i in range(230)]\n"
        ref = desk.session({"n/x": b"", "session_summary.json": summary_of({"n/x": b"", **files})}, end)
        assert len(desk.fetch(ref).files) == 231

    def test_nothing_but_the_files_is_left_behind(self, desk):
        files = {**FILES, "large.bin": bytes(3_000_000)}  # more than is kept in memory
        end = "pathlib.Path('large.bin').write_bytes(bytes(3_000_000))\n"
        desk.fetch(desk.session({**FILES, "session_summary.json": summary_of(files)}, end))
        assert desk.left() == sorted(files)
        assert [path.name for path in desk.ctx.home.rglob("*") if path.is_file()] == []

    def test_a_listing_that_takes_long_says_how_far_it_is_from_time_to_time(self, desk, monkeypatch):
        monkeypatch.setattr(collect, "PAGE_SIZE", 2)
        monkeypatch.setattr(collect, "SAY_AFTER_S", 0.0)
        desk.fetch(whole(desk))
        assert desk.ctx.stderr.getvalue().count("listing the outputs: 2 files so far") == 1
        assert "4 files so far" not in desk.ctx.stderr.getvalue()

    def test_a_listing_that_is_quick_says_nothing(self, desk):
        desk.fetch(whole(desk))
        assert "so far" not in desk.ctx.stderr.getvalue()

    def test_whoever_wants_the_log_only_asks_for_one_page(self, desk, monkeypatch):
        monkeypatch.setattr(collect, "PAGE_SIZE", 2)
        ref = whole(desk)
        before = len(desk.server.requests)
        files, log = collect.kernel_outputs(desk.ctx, ref, only_log=True)
        assert (len(files), json.loads(log) != [], len(desk.server.requests) - before) == (2, True, 1)

    def test_names_in_one_folder_are_each_looked_at(self, desk, tmp_path):
        (tmp_path / "elsewhere").mkdir()
        (desk.dest / "n").mkdir(parents=True)
        (desk.dest / "n" / "link").symlink_to(tmp_path / "elsewhere" / "x")
        names = ["n/good", "n/link", "n/../../x", "n/", "n/a\0b", "o/good"]
        kept, faults = collect.sort_out(names, desk.dest)
        assert kept == {name: desk.dest / name for name in ("n/good", "o/good")}
        assert list(faults) == names[1:5]

    def test_files_that_the_manifest_does_not_know_are_said_and_not_fetched(self, desk):
        ref = desk.session({**FILES, "late.txt": b"x", "session_summary.json": summary_of()})
        found = desk.fetch(ref)
        assert found.faults == ["1 file listed by Kaggle and not in the manifest; not fetched: late.txt"]
        assert "late.txt" not in desk.left()

    def test_a_file_that_is_not_listed_is_an_integrity_error_and_the_others_are_kept(self, desk):
        ref = desk.session({**FILES, "session_summary.json": summary_of({**FILES, "gone.bin": b"1"})})
        with pytest.raises(KaggError) as caught:
            desk.fetch(ref)
        assert (caught.value.code, list(caught.value.details["failed"])) == (Exit.INTEGRITY, ["gone.bin"])
        assert (len(caught.value.details["files"]), desk.left()) == (3, sorted(FILES))

    def test_a_file_that_was_changed_after_the_manifest_is_not_left_under_its_name(self, desk):
        ref = desk.session({**FILES, "metrics.json": b'{"loss": 0.1}', "session_summary.json": summary_of()})
        with pytest.raises(KaggError) as caught:
            desk.fetch(ref)
        assert (caught.value.code, list(caught.value.details["failed"])) == (Exit.INTEGRITY, ["metrics.json"])
        assert desk.left() == sorted(set(FILES) - {"metrics.json"})

    def test_a_failed_program_with_a_summary_is_verified_too(self, desk):
        ref = whole(desk, status="error", exit_code=3, error="ValueError: no")
        assert desk.fetch(ref).summary["exit_code"] == 3
        assert desk.fetch(ref, state="CANCEL_ACKNOWLEDGED").verified


class TestFaults:
    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            ("corrupt", {}),
            ("truncate", {"bytes": 1000}),
            ("truncate", {"bytes": 1000, "announce": False}),
            ("expire", {}),
            ("reset", {"bytes": 1000}),
        ],
    )
    def test_what_goes_wrong_once_is_fetched_again(self, desk, kind, options):
        ref = whole(desk)
        desk.server.faults.add(kind, "storage/GET/plots*", times=1, **options)
        assert desk.fetch(ref).verified
        assert desk.left() == sorted(FILES)

    def test_a_corrupt_file_comes_from_a_new_address_the_second_time(self, desk):
        ref = whole(desk)
        desk.server.faults.add("corrupt", "storage/GET/metrics.json")
        desk.fetch(ref)
        paths = [path for method, path, _ in desk.server.requests if method == "GET" and path.endswith("metrics.json")]
        assert len(set(paths[-2:])) == 2

    def test_a_file_that_is_corrupt_for_ever_is_an_integrity_error_and_not_kept(self, desk):
        ref = whole(desk)
        desk.server.faults.add("corrupt", "storage/GET/plots*", times=None)
        with pytest.raises(KaggError) as caught:
            desk.fetch(ref)
        assert (caught.value.code, list(caught.value.details["failed"])) == (Exit.INTEGRITY, ["plots/curve é.png"])
        assert desk.left() == ["empty.txt", "metrics.json"]

    def test_hostile_names_in_the_listing_are_not_fetched(self, desk, tmp_path):
        ref = whole(desk)
        desk.server.faults.add("hostile_names", times=None)
        found = desk.fetch(ref)
        assert found.verified
        assert "not in the manifest" in found.faults[0]
        assert not list(tmp_path.rglob("evil*"))

    @pytest.mark.parametrize("name", ["../up.txt", "/abs.txt", "a/../../up.txt", "C:/x", "a\nb", "", "~/x", "\ud800"])
    def test_hostile_names_in_the_manifest_are_refused_one_by_one(self, desk, tmp_path, name):
        ref = desk.session({**FILES, "session_summary.json": summary_of({**FILES, name: b"x"})})
        with pytest.raises(KaggError) as caught:
            desk.fetch(ref)
        assert (caught.value.code, desk.left()) == (Exit.INTEGRITY, sorted(FILES))
        assert not list(tmp_path.rglob("*up.txt"))

    def test_a_link_in_dest_that_leads_out_is_not_written_through(self, desk, tmp_path):
        ref = whole(desk)
        desk.dest.mkdir(parents=True)
        (tmp_path / "outside").mkdir()
        (desk.dest / "plots").symlink_to(tmp_path / "outside")
        with pytest.raises(KaggError, match="not kept"):
            desk.fetch(ref)
        assert not list((tmp_path / "outside").iterdir())


class TestNotOurs:
    def test_a_complete_session_without_a_summary_keeps_nothing(self, desk):
        ref = desk.session(FILES)
        with pytest.raises(KaggError, match=r"session_summary\.json is not among them") as caught:
            desk.fetch(ref)
        assert (caught.value.code, desk.dest.exists()) == (Exit.INTEGRITY, False)

    def test_a_foreign_summary_keeps_nothing_and_names_both_runs(self, desk):
        ref = whole(desk, run_id="other-20261119-0000-123456")
        with pytest.raises(KaggError, match=f"other-20261119-0000-123456', not of {RUN}") as caught:
            desk.fetch(ref)
        assert (caught.value.code, desk.dest.exists()) == (Exit.INTEGRITY, False)

    def test_a_log_that_says_another_exit_code_is_an_integrity_error(self, desk, tmp_path):
        ref, log = whole(desk), tmp_path / "log.jsonl"
        events = ["start\n", "no line end", f"KAGG-EXIT {RUN} ", "3\n"]
        log.write_text("".join(json.dumps({"stream_name": "stdout", "data": text}) + "\n" for text in events))
        with pytest.raises(KaggError, match="says exit code 0, the log's last line 3"):
            desk.fetch(ref, log=log)
        assert not desk.dest.exists()
        log.write_text(log.read_text().replace("3\\n", "0\\n"))
        assert desk.fetch(ref, log=log).verified
        assert desk.fetch(ref, log=tmp_path / "none").verified

    def test_a_killed_session_keeps_its_files_unverified_without_unchanged_code(self, desk):
        started = json.dumps({"version": 1, "run_id": RUN, "started": "x"}).encode()
        files = {"session_started.json": started, "lib/a.py": b"a", "lib/b.py": b"changed", "model.pt": b"half"}
        ref = desk.session(files, "raise SystemExit(1)\n")
        code = {"lib/a.py": sha256(b"a"), "lib/b.py": sha256(b"b"), "train.py": sha256(b"t")}
        found = desk.fetch(ref, state="ERROR", code_files=code)
        assert (found.verified, found.summary, desk.left()) == (False, None, ["lib/b.py", "model.pt"])
        assert "not verified" in found.faults[0]

    @pytest.mark.parametrize("started", [None, {"version": 1, "run_id": "other"}, {"version": 2, "run_id": RUN}, []])
    def test_a_killed_session_that_is_not_surely_ours_keeps_nothing(self, desk, started):
        files = {**FILES} | ({} if started is None else {"session_started.json": json.dumps(started).encode()})
        ref = desk.session(files, "raise SystemExit(1)\n")
        found = desk.fetch(ref, state="ERROR")
        assert (found.files, found.verified, desk.dest.exists()) == ([], False, False)
        assert "nothing was kept" in found.faults[0]


class TestSummary:
    @pytest.mark.parametrize(
        "changes",
        [
            {"version": 2},
            {"version": True},
            {"status": "fine"},
            {"status": ["complete"]},
            {"exit_code": True},
            {"exit_code": 1.5},
            {"exit_code": 1},
            {"exit_code": 10**4000},
            {"duration_s": "1"},
            {"duration_s": float("nan")},
            {"duration_s": float("inf")},
            {"duration_s": -1},
            {"duration_s": 10**400},
            {"times": []},
            {"device": None},
            {"device": {"found": "T4"}},
            {"traceback": "text"},
            {"manifest": None},
            {"manifest": [1]},
            {"manifest": [{"path": "x", "size_bytes": -1, "sha256": "0" * 64}]},
            {"manifest": [{"path": "x", "size_bytes": True, "sha256": "0" * 64}]},
            {"manifest": [{"path": "x", "size_bytes": 1 << 60, "sha256": "0" * 64}]},
            {"manifest": [{"path": "x", "size_bytes": 1, "sha256": "0" * 63}]},
            {"manifest": [{"path": 1, "size_bytes": 1, "sha256": "0" * 64}]},
            {"manifest": [{"path": "x", "size_bytes": 1, "sha256": "0" * 64}] * 2},
        ],
        ids=lambda changes: str(changes)[:60],
    )
    def test_a_malformed_one_is_one_line(self, changes):
        with pytest.raises(KaggError) as caught:
            read_summary(summary_of(**changes), RUN)
        assert caught.value.code == Exit.INTEGRITY
        assert len(caught.value.message) < 300

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"a":' * 100_000])
    def test_what_is_no_summary_at_all_is_one_line(self, content):
        with pytest.raises(KaggError) as caught:
            read_summary(content, RUN)
        assert caught.value.code == Exit.INTEGRITY

    def test_long_texts_are_cut_and_unknown_fields_left_out(self):
        found = read_summary(summary_of(error="x" * 10**6, traceback=["y" * 10**5] * 1000, more=1), RUN)
        assert (len(found["error"]), len(found["traceback"]), "more" in found) == (4096, 200, False)

    def test_one_that_is_too_large_is_refused_before_it_is_read(self, desk, monkeypatch):
        monkeypatch.setattr("plugins.lib.launch.results.MAX_BYTES", 1000)
        ref = whole(desk, error="x" * 5000)
        with pytest.raises(KaggError, match="more than 1000 bytes") as caught:
            desk.fetch(ref)
        assert caught.value.code == Exit.INTEGRITY


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([f"KAGG-EXIT {RUN} 0"], 0),
        ([f"KAGG-EXIT {RUN} 0", f"KAGG-EXIT {RUN} 137", "after"], 137),
        ([f"loss 0.1KAGG-EXIT {RUN} 1\r"], 1),
        ([f"KAGG-EXIT {RUN} -9"], -9),
        (["KAGG-EXIT other 0", f"KAGG-EXIT {RUN}x 0", f"KAGG-EXIT {RUN} 0 more", f"KAGG-EXIT {RUN} x"], None),
        ([], None),
    ],
)
def test_the_last_marker_of_this_run_counts(lines, code):
    assert marker(lines, RUN) == code


BIG = """
import json, re, sys
from pathlib import Path
from kagg import Context, Ref
from plugins.lib.launch.results import fetch_results
import os
ctx = Context(dict(os.environ))
found = fetch_results(ctx, Ref("kaggle", "demo", sys.argv[1], 1), Path(sys.argv[2]), sys.argv[3], state="COMPLETE")
status = Path("/proc/self/status").read_text()  # ru_maxrss would count what the parent had before exec
peak_kb = int(re.search(r"VmHWM:\\s*(\\d+) kB", status)[1])
print(json.dumps([found.verified, found.files[0]["size_bytes"], peak_kb]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="proc(5) is Linux")
def test_a_large_file_needs_little_memory(desk, tmp_path):
    size = 300_000_000
    end = f"p = pathlib.Path('big.bin'); f = p.open('wb'); f.truncate({size}); f.close()\n"
    digest = hashlib.sha256()
    for _ in range(300):
        digest.update(bytes(1_000_000))
    entry = {"path": "big.bin", "size_bytes": size, "sha256": digest.hexdigest()}
    ref = desk.session({"session_summary.json": summary_of({}, manifest=[entry])}, end)
    root = str(Path(__file__).resolve().parent.parent)
    env = {**desk.ctx.env, "PYTHONPATH": root, "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", BIG, ref.slug, str(desk.dest), RUN]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=True)
    verified, fetched, peak_kb = json.loads(done.stdout)
    assert (verified, fetched) == (True, size)
    assert peak_kb < 60_000
