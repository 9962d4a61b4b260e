"""Read the comments by which authors mark a line as harmless: those of detect-secrets, gitleaks and trufflehog."""

from __future__ import annotations

import re

# github.com/Yelp/detect-secrets (filters/allowlist), github.com/gitleaks/gitleaks and .../trufflehog (README of each)
_THIS_LINE = re.compile(r"pragma: ?(?:allow|white)list[ -]secret|gitleaks:allow|trufflehog:ignore", re.IGNORECASE)
_NEXT_LINE = re.compile(r"pragma: ?(?:allow|white)list[ -]nextline[ -]secret", re.IGNORECASE)


def allowed_lines(text: str) -> frozenset[int]:
    """Return the numbers of the lines (from 1) whose findings their author allows."""
    lowered = text.lower()
    if not any(word in lowered for word in ("pragma:", "gitleaks:allow", "trufflehog:ignore")):
        return frozenset()
    found = set()
    for number, line in enumerate(text.split("\n"), 1):
        if _THIS_LINE.search(line):
            found.add(number)
        if _NEXT_LINE.search(line):
            found.add(number + 1)
    return frozenset(found)
