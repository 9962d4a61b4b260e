"""From Enter to pushed: `kagg.py run FOLDER --kaggle --detach` with 200 files. `python bench/kaggle_push.py [--json]`.

The time of the whole process minus the time that the server took for its answers, which is measured by asking the same
questions again. Beside it, for scale: a folder with one file, `kaggle kernels push` of one, and Python's own start.
Best of N rounds, interleaved: noise only adds.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import ROOT, Budget, Program, add_common_arguments, private_environment, report
from local_server import KERNELS, OWNER, Remote, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PUSH_S = 2.0
NEW = itertools.count()


def write_project(folder: Path, count: int, size_bytes: int) -> Path:
    """Write a package of `count` Python files, `size_bytes` together, and train.py that runs it; no two are alike."""
    (folder / "model").mkdir(parents=True)
    (folder / "train.py").write_text("import model.part_000\nprint('done')\n", encoding="utf-8")
    for number in range(count - 1):
        text = f'"""Part {number}."""\n\n'
        while len(text) < size_bytes // count - 40:
            mark = hashlib.sha256(text.encode()).hexdigest()
            text += f"value_{mark[:4]} = total + {int(mark[4:10], 16)}  # index of {mark[10:16]}\n"
        (folder / "model" / f"part_{number:03}.py").write_text(text, encoding="utf-8")
    return folder


def write_kernel(folder: Path, name: str) -> Path:
    """Write what the official client pushes."""
    folder.mkdir()
    (folder / "train.py").write_text("print('done')\n", encoding="utf-8")
    about = {"id": f"{OWNER}/{name}", "title": name, "code_file": "train.py", "language": "python"}
    document = {**about, "kernel_type": "script", "is_private": True}
    (folder / "kernel-metadata.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def emptied(remote: Remote) -> None:
    """Delete what a run pushed, so that no slot stays taken."""
    for kernel in remote.call("ListKernels", {"user": OWNER, "pageSize": 100}).get("kernels", []):
        remote.call("DeleteKernel", remote.named(kernel["slug"]))


def answers_s(remote: Remote, before: int) -> float:
    """Return how long the server takes for what was asked since request `before`: the same reads again, once each.

    A push is not repeated but made anew, with a source of the same size as a large bundle has.
    """
    took_s = 0.0
    for path in remote.requests()[before:]:
        method = path.rpartition("/")[2]
        body: dict[str, Any] = {}
        if method == "SaveKernel":
            body = {"newTitle": f"Again {next(NEW):06}", "text": "#" * 300_000}
        began_s = time.perf_counter()
        if KERNELS in path and method in ("SaveKernel", "ListKernels", "GetAcceleratorQuotaStatistics"):
            remote.call(method, body)
        took_s += time.perf_counter() - began_s
    return took_s


def programs(remote: Remote, folder: Path, args: argparse.Namespace) -> list[Program]:
    """Return ours with many files and with one, the official client, and Python alone."""
    home = folder / "home"
    home.mkdir()
    ours = private_environment(home, KAGG_KAGGLE_URL=remote.url, **remote.account)
    detour = {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", "HTTP_PROXY": remote.url, "NO_PROXY": "127.0.0.1"}
    theirs = private_environment(home, **remote.account, **detour)
    projects = {
        count: write_project(folder / f"project-{count}", count, args.size_kb * 1000) for count in (args.count,)
    }
    projects[1] = write_project(folder / "project-1", 1, 100)

    def run(project: Path) -> list[str]:
        kagg = [sys.executable, str(ROOT / "kagg.py"), "-q", "run", str(project), "--entry", "train.py", "--kaggle"]
        return [*kagg, "--detach"]

    found = [Program(f"run --kaggle, {count} files", run(path), ours, folder) for count, path in projects.items()]
    official = Path(sys.executable).parent / "kaggle"
    if official.exists():
        kernel = write_kernel(folder / "official", "one-file")
        found.append(
            Program("kaggle kernels push", [str(official), "kernels", "push", "-p", str(kernel)], theirs, folder)
        )
    return [*found, Program("python -c pass", [sys.executable, "-c", "pass"], ours, folder)]


def rounds(remote: Remote, found: list[Program], args: argparse.Namespace) -> Iterator[float]:
    """Run every program in turn; yield the server's own time of each round of the first."""
    for number in range(args.rounds + 1):
        for program in found:
            before = len(remote.requests())
            program.run()
            if program is found[0] and number:
                yield answers_s(remote, before)
            emptied(remote)
            if not number:  # byte code, file cache
                program.costs.clear()


def measure(args: argparse.Namespace) -> int:
    """Measure and report."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with serving(folder / "kaggle", queue_s=600.0) as remote:
            found = programs(remote, folder, args)
            server_s = min(rounds(remote, found, args))
    ours = found[0].best_wall_s - server_s
    budgets = [Budget(f"{args.count} files, {args.size_kb} kB: Enter to pushed beside the server, s", ours, MAX_PUSH_S)]
    lines = [f"best of {args.rounds}, interleaved", *(program.row() for program in found)]
    lines += [f"  the server's own time of the first: {server_s:.3f} s"]
    lines += [
        f"  {found[0].name} / {other.name}: {found[0].best_wall_s / other.best_wall_s:.2f}" for other in found[1:]
    ]
    facts = {program.name: program.best_wall_s for program in found}
    return report(args, {"rounds": args.rounds, "server_s": server_s, "wall_s": facts}, lines, budgets)


def main() -> int:
    """Measure, print, and return 1 when the budget is missed."""
    parser = argparse.ArgumentParser(description="Measure from Enter to pushed.", allow_abbrev=False)
    add_common_arguments(parser, rounds=5)
    parser.add_argument("--count", type=int, default=200, help="files of the folder (default: %(default)s)")
    parser.add_argument("--size-kb", type=int, default=600, help="their size together (default: %(default)s)")
    return measure(parser.parse_args())


if __name__ == "__main__":
    raise SystemExit(main())
