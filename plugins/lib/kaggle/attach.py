"""Turn the data sources of a push into folders under /kaggle/input, and name those that cannot be attached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from plugins.lib.kaggle import dataset_store, records
from plugins.lib.kaggle.sandbox import Mount
from plugins.lib.kaggle.wire import is_slug

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from plugins.lib.kaggle.world import World

    Resolve = Callable[[World, str, str], list[Mount] | None]


NO_INTERNET = ".no-internet"


class Inputs(NamedTuple):
    """What is attached, and the refs that are not, by the reply's field."""

    mounts: list[Mount]
    invalid: dict[str, list[str]]


def resolve(world: World, user: str, settings: Mapping[str, Any]) -> Inputs:
    """Look up every source that the push names. Kaggle runs a kernel without what it cannot find."""
    mounts: list[Mount] = []
    invalid: dict[str, list[str]] = {}
    for field, (reply_field, look_up) in SOURCES.items():
        for ref in settings.get(field, []):
            found = look_up(world, user, ref)
            if found is None:
                invalid.setdefault(reply_field, []).append(ref)
            mounts.extend(found or [])
    return Inputs(list({mount.target: mount for mount in mounts}.values()), invalid)


def _both(source: Path, kind: str, ref: str) -> list[Mount]:
    """Show a folder at the path used since 2026 and at the flat one that older code expects."""
    return [Mount(source, f"input/{kind}/{ref}"), Mount(source, f"input/{ref.rpartition('/')[2]}")]


def _dataset(world: World, user: str, ref: str) -> list[Mount] | None:
    source = dataset_store.attach(world, user, ref)
    return None if source is None else _both(source, "datasets", "/".join(ref.split("/")[:2]))


def _kernel(world: World, user: str, ref: str) -> list[Mount] | None:
    """Attach the output of the newest version that completed; a kernel that never did has nothing to show."""
    owner, _, slug = ref.partition("/")
    kernel = records.get(world, owner, slug)
    if kernel is None or not records.visible(world, user, kernel):
        return None
    for number in range(kernel.latest, 0, -1):
        session = world.load(kernel.version_folder(number) / "session.json")
        if session is not None and session["state"] == "COMPLETE":
            return _both(kernel.version_folder(number) / "output", "notebooks", ref)
    return []


def _placed(kind: str, parts: int) -> Resolve:
    """Return a look-up for what has no upload here: a folder that somebody put at root/<kind>/<ref>."""

    def look_up(world: World, _user: str, ref: str) -> list[Mount] | None:
        names = ref.split("/")
        source = world.root.joinpath(kind, *names)
        if len(names) != parts or not all(is_slug(name) for name in names) or not source.is_dir():
            return None
        return _both(source, kind, ref) if parts == 1 else [Mount(source, f"input/{kind}/{ref}")]

    return look_up


def forbid_internet(world: World, competitions: list[str]) -> bool:
    """Tell whether one of the competitions has the marker file NO_INTERNET; a push with internet on is then 400."""
    return any((world.root / "competitions" / name / NO_INTERNET).exists() for name in competitions if is_slug(name))


SOURCES: dict[str, tuple[str, Resolve]] = {
    "datasetDataSources": ("invalidDatasetSources", _dataset),
    "kernelDataSources": ("invalidKernelSources", _kernel),
    "competitionDataSources": ("invalidCompetitionSources", _placed("competitions", 1)),
    "modelDataSources": ("invalidModelSources", _placed("models", 5)),  # owner/model/framework/variation/version
}
