"""Fetch 300 MB of outputs beside curl: one file, and 300 files. `python bench/kaggle_fetch.py [--json] [--official]`.

The server is a process of its own and sends with sendfile(2). curl gets the same signed URLs, four at a time, and
verifies nothing; kagg.py lists, checks MD5, computes SHA-256, syncs and renames. All write to the same disk and what
they wrote is removed at once. Times are of whole processes, medians of interleaved rounds.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from common import ROOT, Budget, add_common_arguments, private_environment, report
from local_server import OWNER, Remote, serving

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_PEAK_MB, MIN_SPEED_RATIO = 60.0, 0.9
RUN_ID = "bench-fetch"
ROUNDS_S = 20.0  # no round of a comparison begins later, on a busy machine
BLOCK_BYTES = (1 << 20) + 1  # up to 1 MiB the server computes CRC-32C as well, in pure Python

# What a session of a run leaves, without a run: files, and the summary with their hashes.
KERNEL = """
import hashlib, json, os
block, names = os.urandom({block}), {names}
entries = []
for name in names:
    count = {size_mb} // len(names)
    digest = hashlib.sha256()
    with open(name, "wb") as file:
        for number in range(count):
            file.write(block)
            digest.update(block)
    entries.append({{"path": name, "size_bytes": count * len(block), "sha256": digest.hexdigest()}})
times = {{"setup_s": 0.1, "program_s": 1.0}}
summary = {{"version": 1, "run_id": "{run_id}", "status": "complete", "stage": "", "exit_code": 0, "error": None,
           "cell": None, "traceback": [], "source_sha256": "0" * 64, "git_commit": "",
           "started": "2026-01-01T00:00:00Z",
           "device": {{"kind": "cpu", "accelerator": "", "found": [], "simulated": False}}, "times": times,
           "ended": "2026-01-01T00:00:01Z", "duration_s": 1.0, "kagg_version": "0", "manifest": entries}}
open("session_summary.json", "w").write(json.dumps(summary))
"""

# The results step of `run --kaggle`, alone.
FETCH = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from kagg import Context, Ref
from plugins.lib.launch.results import fetch_results
fetch_results(Context(), Ref("kaggle", {owner!r}, sys.argv[1]), Path(sys.argv[2]), {run_id!r}, state="COMPLETE")
"""


@dataclass
class Fetcher:
    """A program that fetches into {dest}, and what its runs took."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    text: str = ""  # for its standard input; {dest} is replaced there as well
    walls_s: list[float] = field(default_factory=list)
    peak_mb: float = 0.0

    def run(self, dest: Path) -> None:
        """Fetch once into an empty folder.

        Raises:
            RuntimeError: it failed; the end of what it said is in the message.
        """
        shutil.rmtree(dest, ignore_errors=True)
        dest.mkdir()
        command = [word.replace("{dest}", str(dest)) for word in self.command]
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
            given.write(self.text.replace("{dest}", str(dest)).encode())
            given.seek(0)
            began_s = time.perf_counter()
            process = subprocess.Popen(command, env=dict(self.env), stdin=given, stdout=said, stderr=said)
            _, status, usage = os.wait4(process.pid, 0)
            self.walls_s.append(time.perf_counter() - began_s)
            process.returncode = os.waitstatus_to_exitcode(status)
            said.seek(0)
            if process.returncode:
                raise RuntimeError(f"{self.name}: {process.returncode}: {said.read()[-600:].decode(errors='replace')}")
        unit_bytes = 1 if sys.platform == "darwin" else 1024  # getrusage(2) differs
        self.peak_mb = max(self.peak_mb, usage.ru_maxrss * unit_bytes / 1e6)

    @property
    def wall_s(self) -> float:
        """The median."""
        return statistics.median(self.walls_s)

    def row(self, size_mb: int) -> str:
        """Return one line for people."""
        speed = size_mb * 1.048576 / self.wall_s
        return f"  {self.name:<24} {self.wall_s:7.3f} s   {speed:7.0f} MB/s   peak {self.peak_mb:6.1f} MB"


def urls_of(remote: Remote, slug: str) -> dict[str, str]:
    """Return {name: signed URL} of the files, without the summary."""
    found: dict[str, str] = {}
    token = ""
    while True:
        body = {**remote.named(slug), "pageSize": 200, "pageToken": token}
        reply = remote.call("ListKernelSessionOutput", body)
        found |= {file["fileName"]: file["url"] for file in reply["files"]}
        token = reply.get("nextPageToken", "")
        if not token:
            found.pop("session_summary.json")
            return found


def fetchers(remote: Remote, slug: str, home: Path, args: argparse.Namespace) -> list[Fetcher]:
    """Return curl, and our two ways; the first is what the others are compared with."""
    ours = private_environment(home, KAGG_KAGGLE_URL=remote.url, **remote.account)
    urls = urls_of(remote, slug)
    config = "".join(f'url = "{url}"\noutput = "{{dest}}/{name}"\n' for name, url in urls.items())
    curl = ["curl", "-sS", "--fail", "--parallel", "--parallel-max", "4", "--config", "-"]
    results = [sys.executable, "-c", FETCH.format(root=str(ROOT), owner=OWNER, run_id=RUN_ID), slug, "{dest}"]
    output = [sys.executable, str(ROOT / "kagg.py"), "-q", "output", f"{OWNER}/{slug}", "--dest", "{dest}"]
    found = [
        Fetcher("curl", curl, ours, config),
        Fetcher("curl, then sync", ["sh", "-c", f'{" ".join(curl)} && sync "$0"/*', "{dest}"], ours, config),
        Fetcher("kagg.py output", output, ours),
        Fetcher("results of run --kaggle", results, ours),
    ]
    if args.official:
        detour = {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", "HTTP_PROXY": remote.url, "NO_PROXY": "127.0.0.1"}
        official = [str(Path(sys.executable).parent / "kaggle"), "kernels", "output", f"{OWNER}/{slug}", "-p", "{dest}"]
        found.append(Fetcher("kaggle kernels output", official, private_environment(home, **remote.account, **detour)))
    return found


def compare(remote: Remote, folder: Path, count: int, args: argparse.Namespace) -> list[Fetcher]:
    """Measure `count` files that make up args.size_mb together."""
    names = [f"part-{number:03}.bin" for number in range(count)]
    source = KERNEL.format(names=names, size_mb=args.size_mb, run_id=RUN_ID, block=BLOCK_BYTES)
    slug = remote.push(f"Bench {count} files", source)
    remote.wait(slug)
    found = fetchers(remote, slug, folder / "home", args)
    found[0].run(folder / "dest")  # the server computes MD5 once per file
    found[0].walls_s.clear()
    until_s = time.monotonic() + ROUNDS_S
    for number in range(args.rounds):
        if number and time.monotonic() > until_s:
            break
        for fetcher in found:
            fetcher.run(folder / "dest")
            arrived = sum(path.stat().st_size for path in (folder / "dest").rglob("*.bin"))
            if arrived != args.size_mb // count * count * BLOCK_BYTES:
                raise RuntimeError(f"{fetcher.name}: {arrived} bytes arrived")
            shutil.rmtree(folder / "dest")  # and with it what the disk has not written yet
    return found


def measure(args: argparse.Namespace) -> int:
    """Run both comparisons and report."""
    lines, budgets, facts = [], [], {"rounds": args.rounds, "size_mb": args.size_mb}
    with tempfile.TemporaryDirectory() as name, serving(Path(name, "kaggle")) as remote:
        folder = Path(name)
        (folder / "home").mkdir()
        for count in (1, args.count):
            found = compare(remote, folder, count, args)
            title = f"{count} files" if count > 1 else "one file"
            lines += [f"{title}, {args.size_mb} MiB together", *(fetcher.row(args.size_mb) for fetcher in found)]
            facts[title] = {fetcher.name: fetcher.wall_s for fetcher in found}
            synced = found[1].wall_s / found[3].wall_s
            lines.append(f"  {found[3].name} / {found[1].name}: {synced:.2f} of the speed")
            for ours in found[2:4]:
                ratio = found[0].wall_s / ours.wall_s
                budgets += [
                    Budget(f"{title}: speed of {ours.name} / curl", ratio, MIN_SPEED_RATIO, at_least=True),
                    Budget(f"{title}: peak memory of {ours.name}, MB", ours.peak_mb, MAX_PEAK_MB),
                ]
    return report(args, facts, lines, budgets)


def main() -> int:
    """Measure, print, and return 1 when a budget is missed."""
    parser = argparse.ArgumentParser(description="Measure fetching of outputs beside curl.", allow_abbrev=False)
    add_common_arguments(parser, rounds=3)
    parser.add_argument("--size-mb", type=int, default=300, help="MiB in each comparison (default: %(default)s)")
    parser.add_argument("--count", type=int, default=300, help="files of the second one (default: %(default)s)")
    parser.add_argument("--official", action="store_true", help="also `kaggle kernels output`, which is slow")
    args = parser.parse_args()
    if shutil.which("curl") is None:
        parser.error("curl is not installed")
    return measure(args)


if __name__ == "__main__":
    raise SystemExit(main())
