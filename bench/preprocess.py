"""Preprocess beside nbstripout, in one run. `python bench/preprocess.py [--notebooks FOLDER] [--json]`.

Notebooks are those of `--notebooks` (default: KAGG_CORPUS), else 200 made up ones with tables, logs and pictures.
Measured: stripping, scanning and all four jobs together in one process; `git add` with each tool's filter; and the
memory of a process that preprocesses one large notebook. nbstripout comes with requirements/test.txt.
"""

from __future__ import annotations

import argparse
import base64
import importlib.util
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import ROOT, Budget, add_common_arguments, private_environment, report

if TYPE_CHECKING:
    from collections.abc import Callable

sys.path.insert(0, str(ROOT))

PER_SECOND, SCANS_PER_SECOND = 600.0, 300.0
STRIP_RATIO, ALL_RATIO = 3.0, 1.0
GIT_ADD_S, MEMORY_RATIO = 1.0, 2.5
CHUNK = 256  # notebooks that go through the steps together, as in the command
FOUR_JOBS = ("clean", "outputs", "imports", "secrets")


# ---------------------------------------------------------------- notebooks


def made_up(count: int) -> list[bytes]:
    """Return notebooks that differ, with outputs of the kinds and sizes that real ones have."""
    rng = random.Random(11)  # noqa: S311 - not cryptography
    return [_notebook(rng) for _ in range(count)]


def _notebook(rng: random.Random) -> bytes:
    cells: list[dict[str, Any]] = [_cell(["import numpy as np\n", "import pandas as pd\n", "import os"], [])]
    for number in range(rng.randrange(10, 50)):
        name, column = f"step_{rng.randrange(10**6)}", f"c{number}"
        source = [f"{name} = df['{column}'].map(lambda v: v * {rng.random():.4f})\n", f"plot({name}, bins={number})"]
        cells.append(
            _cell(source, _outputs(rng)) if rng.random() < 0.7 else _text(f"## Step {number}\n\nWe look at it.")
        )
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "language_info": {"name": "python"}}
    document = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}
    return json.dumps(document, indent=1).encode() + b"\n"


def _cell(source: list[str], outputs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"cell_type": "code", "execution_count": 1, "metadata": {}, "outputs": outputs, "source": source}


def _text(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": [source]}


def _outputs(rng: random.Random) -> list[dict[str, Any]]:
    rows = [f"{i:4d}  loss {rng.random():.6f}  accuracy {rng.random():.4f}\n" for i in range(rng.randrange(3, 40))]
    table = "".join(f"<tr><td>{rng.random():.3f}</td><td>{rng.random():.3f}</td></tr>\n" for _ in rows)
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + rng.randbytes(rng.randrange(2000, 20000))).decode()
    return [
        {"output_type": "stream", "name": "stdout", "text": rows},
        {"output_type": "display_data", "metadata": {}, "data": {"text/html": [table], "text/plain": ["table"]}},
        {"output_type": "display_data", "metadata": {}, "data": {"image/png": picture, "text/plain": ["<Figure>"]}},
    ]


def read_notebooks(folder: str) -> list[bytes]:
    """Return the notebooks of a folder that both tools can read, so that both do the same work."""
    from plugins.lib.prep.document import load

    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in sorted(Path(folder).rglob("*.ipynb")):
            content = path.read_bytes()
            try:
                load(content, path.name)
                nbstripout_run([content])
            except Exception as error:  # noqa: BLE001 - whatever one of them stumbles over, neither is measured on
                print(f"left out: {path.name}: {type(error).__name__}", file=sys.stderr)
                continue
            found.append(content)
    return found


# ---------------------------------------------------------------- one process


def kagg_steps(*steps: str) -> Callable[[list[bytes]], list[bytes]]:
    """Return a function that runs steps of kagg over notebooks."""
    from kagg import Context
    from plugins.lib.prep.document import load
    from plugins.lib.prep.steps import run_steps

    ctx = Context()

    def run(contents: list[bytes]) -> list[bytes]:
        made = []
        for begin in range(0, len(contents), CHUNK):
            documents = [load(content, "a.ipynb") for content in contents[begin : begin + CHUNK]]
            made += [outcome.content for outcome in run_steps(ctx, documents, steps, {})]
        return made

    return run


def nbstripout_run(contents: list[bytes]) -> list[bytes]:
    """Strip as nbstripout's own main does: read, strip, write."""
    import nbformat
    import nbstripout

    made = []
    for content in contents:
        notebook = nbformat.read(io.StringIO(content.decode()), as_version=nbformat.NO_CONVERT)
        stripped = nbstripout.strip_output(notebook, keep_output=False, keep_count=False, keep_id=False)
        out = io.StringIO()
        nbformat.write(stripped, out)
        made.append(out.getvalue().encode())
    return made


def in_one_process(contents: list[bytes], rounds: int) -> dict[str, float]:
    """Return notebooks per second of each contestant: interleaved, best of `rounds`."""
    contestants = {
        "nbstripout": nbstripout_run,
        "kagg strip": kagg_steps("outputs"),
        "kagg scan": kagg_steps("secrets"),
        "kagg all four": kagg_steps(*FOUR_JOBS),
    }
    best = dict.fromkeys(contestants, 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nbformat's, about cells without ids
        for number in range(rounds + 1):
            for name, run in contestants.items():
                started = time.perf_counter()
                made = run(contents if number else contents[:20])  # the first round warms up
                seconds = time.perf_counter() - started
                if number:
                    best[name] = max(best[name], len(made) / seconds)
    return best


# ---------------------------------------------------------------- git


def git_add_s(contents: list[bytes], install: Callable[[Path, dict[str, str]], None]) -> float:
    """Return the seconds of `git add` in a new repository whose filter `install` set up."""
    with tempfile.TemporaryDirectory() as folder:
        home, repository = Path(folder, "home"), Path(folder, "repository")
        home.mkdir()
        repository.mkdir()
        env = private_environment(home)
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
        _run(["git", "init", "-q", "."], repository, env)
        install(repository, env)
        for number, content in enumerate(contents):
            repository.joinpath(f"n{number}.ipynb").write_bytes(content)
        started = time.perf_counter()
        _run(["git", "add", "."], repository, env)
        return time.perf_counter() - started


def _run(command: list[str], cwd: Path, env: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-400:]}")


def with_kagg(repository: Path, env: dict[str, str]) -> None:
    """Install kagg's filter."""
    _run([sys.executable, str(ROOT / "kagg.py"), "git", "install"], repository, env)


def with_nbstripout(repository: Path, env: dict[str, str]) -> None:
    """Install nbstripout's filter."""
    _run([sys.executable, "-m", "nbstripout", "--install"], repository, env)


# ---------------------------------------------------------------- one large notebook


def large_notebook(path: Path, size_mb: int) -> None:
    """Write a notebook of `size_mb` MB whose one output takes three quarters of it."""
    line = json.dumps("epoch 17  loss 0.123456  accuracy 0.9876  caf\u00e9 \u2713\n", ensure_ascii=False)
    small = json.dumps(_cell(["x = 1"], [{"output_type": "stream", "name": "stdout", "text": "y" * 2000}]))
    with path.open("w", encoding="utf-8") as stream:
        head, tail = json.dumps(_cell(["train()"], [])).split('"outputs": []')
        stream.write('{"cells": [' + head + '"outputs": [{"output_type": "stream", "name": "stdout", "text": [' + line)
        for _ in range(size_mb * 750 // (len(line.encode()) + 2)):
            stream.write((", " + line) * 1000)
        stream.write("]}]" + tail)
        for _ in range(size_mb * 250_000 // (len(small) + 2)):
            stream.write(", " + small)
        stream.write('], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}\n')


def peak_bytes(command: list[str], env: dict[str, str]) -> tuple[int, float]:
    """Run a command and return the most memory that it had, and its seconds."""
    started = time.perf_counter()
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.stderr:
        process.stderr.close()
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}: {said[-400:].decode()}")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024), time.perf_counter() - started


def large(size_mb: int) -> dict[str, float]:
    """Return size, peak memory and seconds of kagg and nbstripout on one large notebook."""
    with tempfile.TemporaryDirectory() as folder:
        source, copy, out = (Path(folder, name) for name in ("large.ipynb", "copy.ipynb", "out.ipynb"))
        large_notebook(source, size_mb)
        env = private_environment(Path(folder))
        command = [sys.executable, str(ROOT / "kagg.py"), "-q", "preprocess", str(source), "-o", str(out)]
        kagg_bytes, kagg_s = peak_bytes(command, env)
        shutil.copyfile(source, copy)
        peer_bytes, peer_s = peak_bytes([sys.executable, "-m", "nbstripout", str(copy)], env)
        size = source.stat().st_size
    return {"size_bytes": size, "kagg_bytes": kagg_bytes, "kagg_s": kagg_s,
            "nbstripout_bytes": peer_bytes, "nbstripout_s": peer_s}  # fmt: skip


def main() -> int:
    """Measure, print, and return 1 when a budget is missed."""
    parser = argparse.ArgumentParser(description="Measure preprocess.", allow_abbrev=False)
    add_common_arguments(parser, rounds=5)
    parser.add_argument("--notebooks", default=os.environ.get("KAGG_CORPUS", ""), help="a folder of notebooks")
    parser.add_argument("--git-count", type=int, default=200, help="notebooks to add with kagg (default: %(default)s)")
    parser.add_argument("--git-peer-count", type=int, default=40, help="with nbstripout (default: %(default)s)")
    parser.add_argument("--large-mb", type=int, default=400, help="size of the large notebook (default: %(default)s)")
    args = parser.parse_args()
    if not importlib.util.find_spec("nbstripout"):
        parser.error("nbstripout is not installed: pip install -r requirements/test.txt")
    contents = read_notebooks(args.notebooks) if args.notebooks else made_up(200)
    speed = in_one_process(contents, args.rounds)
    current = [content for content in contents if json.loads(content)["nbformat"] == 4]  # others load nbformat: 0.3 s
    added = (current * (1 + args.git_count // len(current)))[: args.git_count]
    kagg_s = min(git_add_s(added, with_kagg) for _ in range(min(3, args.rounds)))
    peer_each_s = git_add_s(added[: args.git_peer_count], with_nbstripout) / min(args.git_peer_count, len(added))
    big = large(args.large_mb)
    mean_kb = sum(map(len, contents)) / len(contents) / 1000
    lines = [f"{len(contents)} notebooks of {mean_kb:.0f} kB, one process, best of {args.rounds}, interleaved"]
    lines += [f"  {name:<16} {rate:8.0f} notebooks/s" for name, rate in speed.items()]
    peer_s = peer_each_s * args.git_count
    lines += [
        f"git add of {args.git_count} notebooks of nbformat 4",
        f"  kagg {kagg_s:.2f} s, nbstripout {peer_s:.1f} s (from {args.git_peer_count})",
        f"one notebook of {big['size_bytes'] / 1e6:.0f} MB",
        f"  kagg {big['kagg_bytes'] / 1e6:.0f} MB in {big['kagg_s']:.1f} s",
        f"  nbstripout {big['nbstripout_bytes'] / 1e6:.0f} MB in {big['nbstripout_s']:.1f} s",
    ]
    peer = speed["nbstripout"]
    budgets = [
        Budget("strip: speed / nbstripout", speed["kagg strip"] / peer, STRIP_RATIO, at_least=True),
        Budget("strip: notebooks/s", speed["kagg strip"], PER_SECOND, at_least=True),
        Budget("secret scan: notebooks/s", speed["kagg scan"], SCANS_PER_SECOND, at_least=True),
        Budget("clean + strip + imports + secrets: speed / nbstripout", speed["kagg all four"] / peer, ALL_RATIO, True),
        Budget(f"git add of {args.git_count} notebooks: seconds", kagg_s, GIT_ADD_S),
        Budget("git add: seconds / nbstripout", kagg_s / args.git_count / peer_each_s, 0.1),
        Budget("large notebook: peak memory / its size", big["kagg_bytes"] / big["size_bytes"], MEMORY_RATIO),
    ]
    return report(args, {"rounds": args.rounds, "notebooks_per_s": speed, "large": big}, lines, budgets)


if __name__ == "__main__":
    raise SystemExit(main())
