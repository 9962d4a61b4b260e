"""Import plugin files that are not ours."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

from kagg import Exit, KaggError, hashed

if TYPE_CHECKING:
    from types import ModuleType

    from kagg import Room

PLUGIN = {"api": 1, "summary": "plugins from elsewhere", "requires": {}}


def load(found: Room) -> ModuleType:
    """Import somebody else's file under a name of its own; whatever it raises is its fault and is said so."""
    label = f"kagg_plugin_{found.kind}_{found.name}_{hashed(found.path)[:8]}"
    if label in sys.modules:
        return sys.modules[label]
    spec = importlib.util.spec_from_file_location(label, found.path)
    if spec is None or spec.loader is None:
        raise KaggError(f"plugin {found.kind} {found.name} cannot be loaded from {found.path}", code=Exit.MISSING)
    module = sys.modules[label] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a plugin may raise anything, and must not end kagg
        del sys.modules[label]
        reason = f"{type(error).__name__}: {error}"
        message = f"plugin {found.kind} {found.name} is broken: {reason} ({found.path})"
        raise KaggError(message, code=Exit.MISSING, hint="KAGG_NO_PLUGINS=1 leaves it out") from error
    return module
