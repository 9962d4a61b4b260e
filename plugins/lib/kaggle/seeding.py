"""Fill the local Kaggle with kernels from a folder, so that a first `list` and `pull` have something to show."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kagg import Exit, KaggError, cell_source, read_notebook
from plugins.lib.kaggle import records, saving
from plugins.lib.kaggle.wire import slugify

if TYPE_CHECKING:
    from pathlib import Path

    from plugins.lib.kaggle.world import World

OWNER = "examples"
LANGUAGES = {".py": "python", ".ipynb": "python", ".r": "r", ".rmd": "rmarkdown"}


def seed(world: World, folder: Path) -> list[str]:
    """Save every kernel of `folder` that is not there yet as a public one of `examples`; return the new refs.

    A kernel is a notebook, a script, or a folder with kernel-metadata.json.

    Raises:
        KaggError: USAGE, one of them is broken.
    """
    return [ref for path in sorted(folder.iterdir()) if (ref := _seed_one(world, path))]


def _seed_one(world: World, path: Path) -> str:
    """Save one kernel; return its ref, "" when it is there already or `path` is none."""
    metadata = _metadata(path)
    if metadata is None:
        return ""
    source, settings = metadata
    slug = str(settings.get("id") or path.stem).rpartition("/")[2]
    if records.get(world, OWNER, slugify(slug)):
        return ""
    notebook = source.suffix == ".ipynb"
    body = {
        "newTitle": slug.replace("-", " ").title(),
        "text": _joined(source) if notebook else source.read_text(encoding="utf-8"),
        "language": LANGUAGES[source.suffix.lower()],
        "kernelType": "notebook" if notebook else "script",
        "kernelExecutionType": "QUICK_SAVE",
        "isPrivate": False,
        "enableGpu": settings.get("enable_gpu") in (True, "true"),
        "datasetDataSources": settings.get("dataset_sources") or [],
    }
    reply = saving.save_kernel(world, OWNER, body)
    if reply["error"]:
        raise KaggError(f"{source}: {reply['error']}", code=Exit.USAGE)
    return str(reply["ref"]).removeprefix("/code/")


def _metadata(path: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return (source file, metadata) of a file or folder, None when it is no kernel."""
    if path.is_file():
        return (path, {}) if path.suffix.lower() in LANGUAGES else None
    file = path / "kernel-metadata.json"
    if not file.is_file():
        return None
    try:
        metadata = json.loads(file.read_bytes())
        source = path / metadata["code_file"]
    except (ValueError, TypeError, KeyError) as error:
        raise KaggError(f"{file} has no readable code_file: {error}", code=Exit.USAGE) from error
    if not source.is_file() or source.suffix.lower() not in LANGUAGES:
        raise KaggError(f"{file} names {source.name}, which is no notebook or script there", code=Exit.USAGE)
    return source, metadata


def _joined(path: Path) -> str:
    """Return a notebook's text with every cell's source as one string, as SaveKernel wants it."""
    notebook = read_notebook(path)
    for cell in notebook["cells"]:
        cell["source"] = cell_source(cell)
    return json.dumps(notebook, ensure_ascii=False)
