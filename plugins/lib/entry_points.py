"""Find rooms that installed packages offer as entry points of group `kagg.plugins`, without importing the packages.

An entry point is named `kind:name` and its value is the module that is the room:

    [project.entry-points."kagg.plugins"]
    "prep:spelling" = "kagg_spelling.room"
"""

from __future__ import annotations

import importlib.util
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from kagg import KINDS, Room, read_room

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

PLUGIN = {"api": 1, "summary": "rooms of installed packages", "requires": {}}

GROUP = "kagg.plugins"


def rooms(kind: str) -> list[Room]:
    """Return the rooms of a kind, in the order of their names; one whose file is not found is shown as broken."""
    found = {}
    for entry in entry_points(group=GROUP):
        entry_kind, _, name = entry.name.partition(":")
        if entry_kind == kind and name:
            room = _room(kind, name.replace("-", "_"), entry)
            found[room.name, room.path] = room  # a package that lies on sys.path twice is one owner
    return [found[key] for key in sorted(found)]


def strays() -> list[str]:
    """Return entry points of our group that no kind claims, as `name (package)`."""
    return [
        f"{entry.name} ({_origin(entry)})"
        for entry in entry_points(group=GROUP)
        if entry.name.partition(":")[0] not in KINDS or not entry.name.partition(":")[2]
    ]


def _room(kind: str, name: str, entry: EntryPoint) -> Room:
    """Return the room of one entry point; whatever is wrong with it stays inside it."""
    origin = _origin(entry)
    try:
        spec = _locate(entry.module)
    except (ImportError, AttributeError, ValueError) as error:  # as importlib.util.find_spec says
        return Room(kind, name, entry.value, origin=origin, broken=f"module {entry.value} is not found: {error}")
    if spec is None or not spec.has_location or not spec.origin:
        return Room(kind, name, entry.value, origin=origin, broken=f"module {entry.value} is not found")
    return read_room(kind, Path(spec.origin), origin=origin, name=name)


def _origin(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "entry point"


def _locate(module: str) -> ModuleSpec | None:
    """Return where a module lies. Parents are looked up and not run, unlike `find_spec("a.b")` does."""
    top, *rest = module.split(".")
    spec, name = importlib.util.find_spec(top), top
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        name = f"{name}.{part}"
        spec = PathFinder.find_spec(name, list(spec.submodule_search_locations))
    return spec
