"""Find credentials in a notebook: its sources, outputs, attachments and metadata; on request replace them by lookups.

Text is searched as a person would read it: without colours, tags and escapes, decoded, and put together; image
payloads never. No message holds more of a secret than its first four characters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kagg import Finding, shared

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from plugins.lib.secrets.record import Record

PLUGIN = {
    "api": 1,
    "summary": "find credentials in sources, outputs and metadata",
    "requires": {"re2": "google-re2>=1.1"},
}


def add_arguments(group: argparse._ArgumentGroup, /) -> None:
    """Add the options of the secret scan."""
    group.add_argument("--baseline", metavar="FILE", help="leave out the secrets that a .secrets.baseline names")
    group.add_argument("--update-baseline", action="store_true", help="write what is found into the baseline")
    group.add_argument(
        "--allow-finding", metavar="ID", action="append", default=[], help="let one finding pass (repeatable)"
    )
    group.add_argument("--fix-secrets", action="store_true", help="replace secrets in code by lookups")
    group.add_argument("--deep", action="store_true", help="search with CredSweeper, too")


def records(notebook: dict[str, Any], options: Mapping[str, Any]) -> list[Record]:
    """Return the secrets of a notebook with their values, baseline and allowed findings included."""
    from plugins.lib.secrets import scan  # here, because --help needs none of the rules

    found = scan.notebook_records(notebook)
    if options.get("deep"):
        found += shared("secrets.deep").more_records(notebook, found)
    return found


def apply(notebook: dict[str, Any], options: Mapping[str, Any], /) -> tuple[dict[str, Any], list[Finding]]:
    """Return the notebook, and one finding per secret, place, cell and line.

    `options["filename"]`, when given, is the name under which the baseline may know the notebook.
    """
    from plugins.lib.secrets import baseline, scan
    from plugins.lib.secrets.record import by_hand, finding_id, findings

    known, allowed = baseline.known(options), set(options.get("allow_finding") or ())

    def passes(record: Record) -> bool:
        return known(record) or (bool(allowed) and finding_id(record.kind, record.value) in allowed)

    def open_records(document: dict[str, Any]) -> tuple[list[Record], list[Record]]:
        found: tuple[list[Record], list[Record]] = ([], [])
        for record in records(document, options):
            found[passes(record)].append(record)
        return found

    notes: list[Finding] = []
    shown, passed = open_records(notebook)
    fixes = bool(options.get("fix_secrets")) and isinstance(notebook.get("cells"), list)
    if fixes and shown:
        from plugins.lib.secrets import fix

        notebook, notes, shown = fix.fixed_point(notebook, shown, passed, open_records)
    listed = [by_hand(finding) if fixes else finding for _, finding in findings(shown[: scan.MAX_RECORDS])]
    if len(shown) >= scan.MAX_RECORDS:
        notes.append(Finding("more-secrets", "note", f"not more than {scan.MAX_RECORDS} secrets are listed"))
    return notebook, notes + listed
