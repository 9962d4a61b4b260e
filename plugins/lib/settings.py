"""Read configs/project_config.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kagg import Exit, KaggError

if TYPE_CHECKING:
    from pathlib import Path

PLUGIN = {"api": 1, "summary": "the settings file", "requires": {"yaml": "PyYAML>=6.0"}}


def read_settings(path: Path) -> dict[str, Any]:
    """Return the settings as nested tables, {} when the file holds none.

    Raises:
        KaggError: CONFIG when it cannot be read, is not YAML, or is not a table.
    """
    import yaml

    hint = "compare with configs/project_config.example.yaml"
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise KaggError(f"cannot read {path}: {reason}", code=Exit.CONFIG, hint=hint) from error
    if not isinstance(settings or {}, dict):
        raise KaggError(f"{path} is not a table of settings", code=Exit.CONFIG, hint=hint)
    return settings or {}
