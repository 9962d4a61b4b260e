"""What goes wrong with a session of the local Kaggle on purpose: its device, its end, the files that it seems to leave.

The faults that end a session take `after_s` (seconds after its start, default 1) or `after_text` (as soon as the log
holds this text), and `outputs`: kept, partial (half of the files, the last of them cut) or gone.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

from plugins.lib.kaggle import records
from plugins.lib.kaggle.wire import is_slug

if TYPE_CHECKING:
    from pathlib import Path

    from plugins.lib.kaggle.faults import Fault, Faults
    from plugins.lib.kaggle.records import Kernel
    from plugins.lib.kaggle.world import World

# Exact texts seen on the real service.
TIMED_OUT = "Your notebook was stopped because it exceeded the max allowed execution duration."
OUT_OF_MEMORY = "Your notebook tried to allocate more memory than is available."
ENDS = {
    "out_of_memory": ("ERROR", OUT_OF_MEMORY, "kept"),
    "time_limit": ("CANCEL_ACKNOWLEDGED", TIMED_OUT, "kept"),
    "killed": ("ERROR", "", "gone"),
}
SOON_S = 1.0


class Ending(NamedTuple):
    """How and when a session is to end."""

    state: str
    message: str
    outputs: str
    after_s: float
    after_text: str

    def is_due(self, text: str) -> bool:
        """Tell whether this piece of the log is the one to end at."""
        return bool(self.after_text) and self.after_text in text


def ending(faults: Faults, ref: str) -> Ending | None:
    """Return what is to end the session of kernel `ref`, None when nothing is."""
    for kind, (state, message, outputs) in ENDS.items():
        if fault := faults.take(kind, ref):
            after_text = str(fault.get("after_text", ""))
            after_s = float(fault.get("after_s", float("inf") if after_text else SOON_S))
            return Ending(state, message, str(fault.get("outputs", outputs)), after_s, after_text)
    return None


def spoil(folder: Path, how: str) -> None:
    """Leave of an output folder what `how` says: kept, partial or gone."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    if how == "gone":
        for entry in folder.iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    elif how == "partial" and paths:
        kept = (len(paths) + 1) // 2
        for path in paths[kept:]:
            path.unlink()
        with paths[kept - 1].open("r+b") as last:
            last.truncate(paths[kept - 1].stat().st_size // 2)


def device(faults: Faults, ref: str, asked: str) -> str:
    """Return the accelerator that a session of kernel `ref` finds, "" for none."""
    fault = faults.take("wrong_device", ref)
    return str(fault.get("accelerator", "")) if fault else asked


def listed(world: World, kernel: Kernel, folder: Path, own: dict[str, Path]) -> dict[str, Path]:
    """Return {name: path} of what an output listing shows for the version in `folder`."""
    fault = world.faults.take("previous_files", kernel.ref)
    if fault is None:
        return own
    if planted := fault.get("files", None):
        others = _planted(world, planted)
    else:
        found = _other_version(world, kernel, folder, fault)
        others = {} if found is None else files_of(found / "output")
    patterns = fault.get("only", None)
    if patterns is None:
        return others
    chosen = {
        name: path for name, path in others.items() if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    }
    return dict(sorted({**own, **chosen}.items()))


def files_of(folder: Path) -> dict[str, Path]:
    """Return {name: path} of every regular file, sorted; links are left out, they could lead anywhere."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    root = folder.resolve()
    return {path.relative_to(folder).as_posix(): path for path in paths if path.resolve().is_relative_to(root)}


def _planted(world: World, files: dict[str, Any]) -> dict[str, Path]:
    """Write the files that a fault brings along, once, and return where they are."""
    mark = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]
    folder = world.root / "planted" / mark
    folder.mkdir(parents=True, exist_ok=True)
    paths = {str(name): folder / str(number) for number, name in enumerate(files)}
    for name, path in paths.items():
        path.write_text(str(files[name]), encoding="utf-8")
    return paths


def _other_version(world: World, kernel: Kernel, folder: Path, fault: Fault) -> Path | None:
    """Return the folder whose output is offered: the one named, else the version before, else another kernel's."""
    if named := str(fault.get("of", "")):
        owner, _, rest = named.partition("/")
        slug, _, version = rest.partition("/v")
        other = records.get(world, owner, slug) if is_slug(owner) and is_slug(slug) else None
        return other and other.version_folder(int(version) if version.isdigit() else other.latest)
    earlier = [kernel.version_folder(number) for number in range(int(folder.name) - 1, 0, -1)]
    others = [other for other in records.every(world) if other.ref != kernel.ref and _same_owner(other, kernel)]
    others.sort(key=lambda other: str(other.document["lastRunTime"]), reverse=True)
    candidates = [*earlier, *(other.version_folder(other.latest) for other in others)]
    return next((one for one in candidates if (one / "session.json").exists()), None)


def _same_owner(one: Kernel, other: Kernel) -> bool:
    return bool(one.document["owner"] == other.document["owner"])
