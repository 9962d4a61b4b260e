"""Pull kernels beside the official client, both from the local Kaggle. `python bench/pull.py [--json]`.

One kernel: CPU time of `kagg.py pull` beside `kaggle kernels pull`, interleaved, best of N.
Many kernels: wall time of `kagg.py pull REF... --parallel W` beside the official library in a loop in one process, from
a server that waits before each answer. Start-up is inside both numbers. The server's own CPU time is in neither.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import ROOT, Budget, Program, add_common_arguments, interleave, private_environment, report

if TYPE_CHECKING:
    from plugins.lib.kaggle.server import LocalKaggle

MAX_CPU_RATIO = 0.35
MIN_SPEED_RATIO = 6.0
MIN_EFFICIENCY = 0.9
OWNER = "demo"
OFFICIAL_LOOP = """
import sys
from kaggle.api.kaggle_api_extended import KaggleApi
api = KaggleApi()
api.authenticate()
for ref in sys.argv[2:]:
    api.kernels_pull(ref, path=sys.argv[1] + "/" + ref.split("/")[1], metadata=False, quiet=True)
"""


def key_of(kaggle: LocalKaggle) -> str:
    """Return the API key of the account that owns the kernels."""
    return str(kaggle.world.accounts.add(OWNER)["key"])


def save_kernel(kaggle: LocalKaggle, slug: str) -> str:
    """Save a small notebook as OWNER/slug without running it, and return its reference."""
    cell: dict[str, Any] = {"cell_type": "code", "execution_count": None, "id": "a", "metadata": {}, "outputs": []}
    cell["source"] = f"print({slug!r})"
    spec = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    notebook = {"cells": [cell], "metadata": spec, "nbformat": 4, "nbformat_minor": 5}
    body = {
        "slug": f"{OWNER}/{slug}",
        "newTitle": slug.replace("-", " "),
        "text": json.dumps(notebook),
        "language": "python",
        "kernelType": "notebook",
        "isPrivate": True,
        "kernelExecutionType": "QUICK_SAVE",
    }
    headers = {
        "Content-Type": "application/json",
        "Authorization": "Basic " + base64.b64encode(f"{OWNER}:{key_of(kaggle)}".encode()).decode(),
    }
    url = f"{kaggle.url}/api/v1/kernels.KernelsApiService/SaveKernel"
    request = urllib.request.Request(url, data=json.dumps(body).encode(), headers=headers, method="POST")
    with urllib.request.urlopen(request, timeout=30) as reply:
        answer: dict[str, Any] = json.load(reply)
    if answer.get("error"):
        raise RuntimeError(f"the local Kaggle refused {slug}: {answer['error']}")
    return f"{OWNER}/{slug}"


def environments(kaggle: LocalKaggle, home: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the environments of kagg.py and of the official client, both signed in and pointed at `kaggle`."""
    account = {"KAGGLE_USERNAME": OWNER, "KAGGLE_KEY": key_of(kaggle)}
    ours = private_environment(home, KAGG_KAGGLE_URL=kaggle.url, **account)
    # The official client has no option for a URL; LOCALHOST through a proxy is the way that needs no root.
    detour = {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", "HTTP_PROXY": kaggle.url, "NO_PROXY": "127.0.0.1"}
    return ours, private_environment(home, **account, **detour)


def one_kernel(kaggle: LocalKaggle, home: Path, rounds: int) -> tuple[Program, Program]:
    """Measure one pull with either program."""
    ref = save_kernel(kaggle, "one-kernel")
    our_env, official_env = environments(kaggle, home)
    ours = [sys.executable, str(ROOT / "kagg.py"), "pull", ref, "--dest", str(home / "ours")]
    official = [
        sys.executable,
        str(Path(sys.executable).parent / "kaggle"),
        "kernels",
        "pull",
        ref,
        "-p",
        str(home / "official"),
    ]
    pair = Program("kagg.py pull", ours, our_env), Program("kaggle kernels pull", official, official_env)
    interleave(pair, rounds)
    return pair


def many_kernels(kaggle: LocalKaggle, home: Path, args: argparse.Namespace) -> tuple[Program, Program]:
    """Measure `args.count` pulls with either program, once each, and check that every file arrived."""
    refs = [save_kernel(kaggle, f"kernel-number-{number:04d}") for number in range(args.count)]
    our_env, official_env = environments(kaggle, home)
    kaggle.faults.add("latency", times=None, ms=args.latency_ms)
    ours_dest, official_dest = home / "many", home / "many-official"
    ours = [
        sys.executable,
        str(ROOT / "kagg.py"),
        "-q",
        "pull",
        *refs,
        "--parallel",
        str(args.width),
        "--dest",
        str(ours_dest),
    ]
    pair = (
        Program("kagg.py pull", ours, our_env),
        Program("official library", [sys.executable, "-c", OFFICIAL_LOOP, str(official_dest), *refs], official_env),
    )
    for program, dest in zip(pair, (ours_dest, official_dest), strict=True):
        program.run()
        arrived = len(list(dest.rglob("*.ipynb")))
        if arrived != args.count:
            raise RuntimeError(f"{program.name}: {arrived} of {args.count} notebooks arrived")
    kaggle.faults.clear()
    return pair


def measure(args: argparse.Namespace) -> int:
    """Run both measurements against one local Kaggle and report."""
    from plugins.lib.kaggle.server import LocalKaggle

    with tempfile.TemporaryDirectory() as folder, LocalKaggle(Path(folder, "kaggle")) as kaggle:
        home = Path(folder, "home")
        home.mkdir()
        one, one_official = one_kernel(kaggle, home, args.rounds)
        many, many_official = many_kernels(kaggle, home, args)
    ideal_s = args.latency_ms / 1000 * args.count / args.width
    budgets = [
        Budget("one pull: CPU time / kaggle kernels pull", one.best_cpu_s / one_official.best_cpu_s, MAX_CPU_RATIO),
        Budget(
            f"{args.count} pulls: speed / official library",
            many_official.best_wall_s / many.best_wall_s,
            MIN_SPEED_RATIO,
            at_least=True,
        ),
        Budget(
            f"{args.count} pulls: latency x N / width / wall time",
            ideal_s / many.best_wall_s,
            MIN_EFFICIENCY,
            at_least=True,
        ),
    ]
    lines = [
        f"one kernel, best of {args.rounds}, interleaved",
        *(program.row() for program in (one, one_official)),
        f"{args.count} kernels, {args.latency_ms} ms per answer, {args.width} wide: {ideal_s:.2f} s at best",
        *(program.row() for program in (many, many_official)),
    ]
    facts = {
        "rounds": args.rounds,
        "count": args.count,
        "width": args.width,
        "latency_ms": args.latency_ms,
        "one_cpu_s": {one.name: one.best_cpu_s, one_official.name: one_official.best_cpu_s},
        "many_wall_s": {many.name: many.best_wall_s, many_official.name: many_official.best_wall_s},
    }
    return report(args, facts, lines, budgets)


def main() -> int:
    """Measure, print, and return 1 when a budget is missed."""
    parser = argparse.ArgumentParser(description="Measure pull beside the official client.", allow_abbrev=False)
    add_common_arguments(parser, rounds=7)
    parser.add_argument(
        "--count", type=int, default=200, help="kernels of the second measurement (default: %(default)s)"
    )
    parser.add_argument("--width", type=int, default=8, help="pulls at a time (default: %(default)s)")
    parser.add_argument("--latency-ms", type=int, default=150, help="wait of the server (default: %(default)s)")
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT))  # the local Kaggle is a part of the project, not of bench/
    return measure(args)


if __name__ == "__main__":
    raise SystemExit(main())
