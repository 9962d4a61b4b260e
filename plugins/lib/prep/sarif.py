"""Findings as SARIF 2.1.0: https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/sarif-v2.1.0-os.html."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kagg import VERSION, Finding, hashed
from plugins.lib.prep.report import file_uri, place_text, plain, positions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugins.lib.prep.report import FileResult

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
FINGERPRINT = "kaggFinding/v1"
UNCLEAN = Finding("not-clean", "warning", "preprocess would change it", fix="run: python kagg.py preprocess")
LEVELS = ("error", "warning", "note")
ROOT_ID = "SRCROOT"
# What code hosts sort by, 0 to 10: a secret in a file that others read is theirs.
SECURITY_SEVERITY = {"error": "9.0", "warning": "5.0"}


def render(results: Sequence[FileResult], *, check: bool) -> str:
    """Return the log of one run as JSON; with `check`, a file that would change is a result, too."""
    rules: dict[str, dict[str, Any]] = {}
    found: list[dict[str, Any]] = []
    for result in results:
        for finding, line, column in positions(result):
            rule = rules.setdefault(finding.kind, _rule(finding))
            _sharpen(rule, finding)
            found.append(_result(result, finding, (line, column)) | {"ruleIndex": list(rules).index(finding.kind)})
        if result.changed and check:
            rules.setdefault(UNCLEAN.kind, _rule(UNCLEAN))
            found.append(_result(result, UNCLEAN, (1, 1)) | {"ruleIndex": list(rules).index(UNCLEAN.kind)})
    driver = {"name": "kagg", "version": VERSION, "semanticVersion": VERSION, "rules": list(rules.values())}
    run = {
        "tool": {"driver": driver},
        "invocations": [_invocation(results)],
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {ROOT_ID: {"description": {"text": "the folder in which kagg was started"}}},
        "results": found,
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=True)


def _rule(finding: Finding) -> dict[str, Any]:
    """Return the descriptor of a kind of finding."""
    words = finding.kind.replace("-", " ").replace("_", " ")
    help_text = plain(finding.fix) or f"see what kagg says about {words}"
    return {
        "id": finding.kind,
        "name": "".join(word[:1].upper() + word[1:] for word in words.split()) or "Finding",
        "shortDescription": {"text": words},
        "fullDescription": {"text": plain(finding.message)},
        "help": {"text": help_text},
        "defaultConfiguration": {"level": _level(finding)},
        "properties": {"tags": ["notebook"]},
    }


def _sharpen(rule: dict[str, Any], finding: Finding) -> None:
    """Let a rule have the highest level that one of its findings has."""
    configuration = rule["defaultConfiguration"]
    configuration["level"] = min(configuration["level"], _level(finding), key=LEVELS.index)
    if configuration["level"] in SECURITY_SEVERITY and finding.id:
        rule["properties"] = {
            "tags": ["notebook", "security", "secret"],
            "security-severity": SECURITY_SEVERITY[configuration["level"]],
        }


def _level(finding: Finding) -> str:
    return finding.severity if finding.severity in LEVELS else "warning"


def _result(result: FileResult, finding: Finding, position: tuple[int, int]) -> dict[str, Any]:
    """Return one finding with its place in the file and in the notebook."""
    text = f"{place_text(finding)}: {finding.message}" + (f"; {finding.fix}" if finding.fix else "")
    location: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": _artifact(result.path),
            "region": {"startLine": position[0], "startColumn": position[1]},
        },
    }
    if finding.cell is not None:
        name = f"cell[{finding.cell}]"
        location["logicalLocations"] = [{"name": name, "fullyQualifiedName": name, "kind": "member"}]
    identity = finding.id or hashed("\0".join([finding.kind, result.path, place_text(finding), finding.message]))
    return {
        "ruleId": finding.kind,
        "level": _level(finding),
        "message": {"text": plain(text)},
        "locations": [location],
        "partialFingerprints": {FINGERPRINT: identity},
        "properties": {"place": finding.place or "source"},
    }


def _artifact(path: str) -> dict[str, Any]:
    uri = file_uri(path)
    return {"uri": uri} if uri.startswith("file:") else {"uri": uri, "uriBaseId": ROOT_ID}


def _invocation(results: Sequence[FileResult]) -> dict[str, Any]:
    """Return how the run went; files that could not be read are its notifications."""
    notes = [
        {
            "level": "error",
            "message": {"text": plain(result.error)},
            "locations": [{"physicalLocation": {"artifactLocation": _artifact(result.path)}}],
        }
        for result in results
        if result.error
    ]
    return {"executionSuccessful": not notes, "toolExecutionNotifications": notes}
