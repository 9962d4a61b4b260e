"""Put a research notebook together: the same plan gives the same bytes, and no plan holds a key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kagg import VERSION
from plugins.lib.research import data_cells, feature_cells, last_cells, remote_cells, setup_cells, train_cells
from plugins.lib.research.parameters import parameters_cell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plugins.lib.research.parameters import Plan

Cell = tuple[str, str, str]  # id, kind, source

READS = {
    "tabular": "a table (CSV, TSV, JSON Lines, Parquet, also packed or in a zip)",
    "text": "a table with a column of text (CSV, TSV, JSON Lines, Parquet, also packed or in a zip)",
    "images": "pictures in a folder or zip, one folder for each class",
}
ABOUT = """\
# {title}

Trains a baseline on {reads}, in pieces: the data may be larger than the memory.

1. Set the **parameters** in the next cell, or from outside: `python kagg.py run NOTEBOOK -p epochs=5`,
   or papermill.
2. Run all cells. On Kaggle, Colab and Jupyter it is the same notebook.
3. It leaves `metrics.json`, `metrics.jsonl`, `predictions.csv`, `plots/` and `checkpoint.npz`; run it again, and it
   goes on from the checkpoint.

It holds **no keys**: it looks for them when it runs, and never prints them. Made by kagg {version}."""

ON_KAGGLE = """

**On Kaggle:** attach the data under *Input*, switch the accelerator and the internet on when needed."""
ON_COLAB = """

**On Colab:** choose a GPU under *Runtime, Change runtime type*; put keys into *Secrets* (the key in the side bar) and
switch notebook access on, or upload a folder `configs/` with `kaggle.json`."""

SETUP = "## Setup\n\nFinds out where it runs, and installs only what is missing."
KEYS = """\
## Credentials

From the first that has them: Kaggle Secrets, Colab userdata, the environment, an uploaded `configs/` (`kaggle.json`,
`wandb.md`). Public data needs none."""
DRIVE = "## Drive\n\nColab asks for permission; results and checkpoints are kept there when the machine goes away."
GPU = "## Accelerator\n\nSays what there really is, and goes on with the CPU unless `require_gpu` is set."
DATA = """\
## Data

Nothing is read whole: files by pieces, remote ones by ranges, zips member by member. Mounted Kaggle data is used in
place, other Kaggle data is downloaded once."""
FEATURES = """\
## Features and split

One pass over the data: scales and classes come from the training rows alone. Which rows are held out depends on the
seed and the row's number only."""
MODEL = "## Model and checkpoint\n\nA checkpoint holds numbers only, and is used when data and settings are the same."
TRAIN = """\
## Training

Piece by piece. A file that is sorted by its target trains badly: shuffle such a file once, beforehand."""
RESULTS = "## Results\n\nMetrics of the held-out rows, beside those of a guess without a model."
TRACK = "## Tracker\n\nOptional: when it fails, the results are kept all the same."
FILES = "## Files\n\nWhat was written, with its SHA-256."


def cells(plan: Plan) -> Iterator[Cell]:
    """Yield the cells; an id says what a cell is."""
    where = ON_COLAB if plan.colab else ON_KAGGLE
    yield (
        "about",
        "markdown",
        ABOUT.format(title=_escaped(plan.title), reads=READS[plan.model], version=VERSION) + where,
    )
    yield "parameters", "code", parameters_cell(plan)
    yield from _part("setup", SETUP, setup_cells.PLACE)
    yield from _part("credentials", KEYS, setup_cells.CREDENTIALS)
    if plan.drive is not None:
        yield from _part("drive", DRIVE, setup_cells.DRIVE)
    else:
        yield "no-drive", "code", "drive_root = None  # Drive was not asked for\n"
    yield from _part("accelerator", GPU, setup_cells.ACCELERATOR)
    read = data_cells.READ_IMAGES if plan.model == "images" else data_cells.READ_TABLE
    yield from _part("data", DATA, remote_cells.REMOTE, data_cells.LOCATE, read, feature_cells.SAMPLE)
    of_model = feature_cells.IMAGE_FEATURES if plan.model == "images" else feature_cells.TABLE_FEATURES
    yield from _part("features", FEATURES, of_model, feature_cells.SCAN)
    yield from _part("model", MODEL, train_cells.MODEL, train_cells.CHECKPOINT)
    yield from _part("train", TRAIN, train_cells.TRAIN)
    yield from _part("results", RESULTS, train_cells.RESULTS)
    if plan.track:
        yield from _part("track", TRACK, last_cells.SETTINGS, *(last_cells.TRACK[name] for name in plan.track))
    yield from _part("files", FILES, last_cells.FILES)


def _part(name: str, text: str, *sources: str) -> Iterator[Cell]:
    """Yield a heading and its code cells."""
    yield f"{name}-text", "markdown", text
    for number, source in enumerate(sources, 1):
        yield name if number == 1 else f"{name}-{number}", "code", source


def _escaped(title: str) -> str:
    """Return a title that Markdown shows as it is."""
    return "".join("\\" + letter if letter in "\\`*_[]<>#$" else letter for letter in title)


def make_notebook(plan: Plan) -> dict[str, Any]:
    """Return the notebook of a plan, nbformat 4.5 (nbformat.readthedocs.io/en/latest/format_description.html)."""
    made = []
    for name, kind, source in cells(plan):
        lines = source.rstrip("\n").splitlines(keepends=True)
        cell: dict[str, Any] = {"cell_type": kind, "id": name, "metadata": {}, "source": lines}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        if name == "parameters":
            cell["metadata"] = {"tags": ["parameters"]}
        made.append(cell)
    metadata: dict[str, Any] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    if plan.colab:
        metadata["colab"] = {"provenance": []}
        if plan.require_gpu or plan.engine == "torch":
            metadata["accelerator"] = "GPU"
    return {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def notebook_text(plan: Plan) -> str:
    """Return the file's text."""
    return json.dumps(make_notebook(plan), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
