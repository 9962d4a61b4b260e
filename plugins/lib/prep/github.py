"""Findings as workflow commands, which GitHub shows beside the lines of a change.

Format: https://docs.github.com/actions/reference/workflow-commands-for-github-actions. GitHub shows ten errors, ten
warnings and ten notices of a step, so errors come first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugins.lib.prep.report import place_text, plain, positions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugins.lib.prep.report import FileResult

LEVELS = {"error": "error", "warning": "warning", "note": "notice"}


def render(results: Sequence[FileResult], *, check: bool) -> str:
    """Return one line for each finding, each file that could not be read, and each that would change."""
    lines: dict[str, list[str]] = {level: [] for level in LEVELS.values()}
    for result in results:
        if result.error:
            lines["error"].append(annotation("error", result.path, (1, 1), "kagg", result.error))
        for finding, line, column in positions(result):
            text = f"{place_text(finding)}: {finding.message}" + (f"; {finding.fix}" if finding.fix else "")
            level = LEVELS.get(finding.severity, "warning")
            lines[level].append(annotation(level, result.path, (line, column), f"kagg: {finding.kind}", text))
        if result.changed and check:
            text = "it would change; run: python kagg.py preprocess"
            lines["error"].append(annotation("error", result.path, (1, 1), "kagg: not clean", text))
    return "\n".join(line for level in lines.values() for line in level)


def annotation(level: str, path: str, position: tuple[int, int], title: str, message: str) -> str:
    """Return one workflow command."""
    fields = {"file": path, "line": str(position[0]), "col": str(position[1]), "title": title}
    named = ",".join(f"{key}={escape_property(value)}" for key, value in fields.items())
    return f"::{level} {named}::{escape_data(plain(message))}"


def escape_data(text: str) -> str:
    """Escape a message."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """Escape the value of a property, which also ends at a comma or colon."""
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")
