"""What tests of research notebooks use: data with a known answer, a run of the cells, a web server with ranges."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import NamedTuple

from kagg import cell_source


class Ran(NamedTuple):
    """How the cells ended, what they printed, and the folder of the results."""

    code: int
    out: str
    err: str
    folder: object

    def read(self, name):
        return (self.folder / name).read_text()

    @property
    def metrics(self):
        return json.loads(self.read("metrics.json"))


def run_cells(notebook, folder, *, env=(), until="", **params):
    """Run the code cells as one program in `folder`, parameters put in behind theirs; warnings are errors."""
    folder.mkdir(exist_ok=True)
    parts = []
    for cell in json.loads(notebook.read_text())["cells"]:
        if cell["cell_type"] == "code":
            parts.append(cell_source(cell))
        if cell["metadata"].get("tags") == ["parameters"]:
            parts.append("\n".join(f"{name} = {value!r}" for name, value in params.items()))
        if cell["id"] == until:
            break
    script = folder.parent / f"{folder.name}.py"
    script.write_text("\n\n".join(parts))
    clean = {name: os.environ[name] for name in ("PATH", "LANG", "SYSTEMROOT") if name in os.environ}
    clean |= {"HOME": str(folder.parent), "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=folder,
        env=clean | dict(env),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr, folder)


def table(rows, seed=1):
    """Return a frame whose column `kind` follows from the others but for a little noise; some values are missing."""
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(seed)
    size, weight = random.normal(5, 3, rows), random.normal(-100, 50, rows)
    colour = random.choice(["red", "green", "blue"], rows)
    score = (size - 5) / 3 + (weight + 100) / 50 + 2 * (colour == "red") + random.normal(0, 0.3, rows)
    frame = pd.DataFrame({"size": size, "weight": weight, "colour": colour, "price": 3 * size + weight / 10})
    frame["kind"] = np.where(score > 0.5, "yes", "no")
    frame.loc[::50, "size"] = np.nan
    return frame


def ranged(content, *, sent=None, cut_after=None, etag='"one"'):
    """Return an answer that knows ranges; `sent` collects how many bytes went out, `cut_after` breaks off once."""
    state = {"cut": cut_after}

    def answer(handler):
        wanted = handler.headers.get("Range")
        begin, end = 0, len(content) - 1
        if wanted:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            begin, end = int(first), int(last or end)
        body = content[begin : end + 1]
        handler.send_response(206 if wanted else 200)
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("ETag", etag() if callable(etag) else etag)
        if wanted:
            handler.send_header("Content-Range", f"bytes {begin}-{end}/{len(content)}")
        handler.end_headers()
        if state["cut"] and len(body) > state["cut"]:
            body, state["cut"] = body[: state["cut"]], None
            handler.close_connection = True
        if sent is not None:
            sent.append(len(body))
        handler.wfile.write(body)

    return answer
