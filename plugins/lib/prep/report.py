"""Say what `preprocess` did to each file: as text, JSON Lines, SARIF, or as annotations of a code host."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kagg import bad_input, redact, shared

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kagg import Context, Finding
    from plugins.lib.prep.locate import Locator

FORMATS = ("text", "json", "sarif", "github")
STDIN = "-"
SAID_NOTES = frozenset({"upgraded", "secret-replaced", "more-secrets", "imports-skipped"})


class FileResult(NamedTuple):
    """What became of one file: `out` is where it was written, None = nowhere; `error` why it could not be read."""

    path: str
    out: str | None
    changed: bool
    findings: list[Finding]
    error: str = ""
    diff: str = ""
    scanned: bool = True  # for secrets


class Count(NamedTuple):
    """Totals over all files."""

    files: int = 0
    changed: int = 0
    errors: int = 0
    warnings: int = 0
    failed: int = 0
    scanned: bool = False

    def plus(self, result: FileResult) -> Count:
        """Return the totals with one more file."""
        severities = [finding.severity for finding in result.findings]
        return Count(
            self.files + 1,
            self.changed + result.changed,
            self.errors + secrets_in(result),
            self.warnings + severities.count("warning"),
            self.failed + bool(result.error),
            self.scanned or result.scanned,
        )

    def line(self, *, check: bool) -> str:
        """Return the totals as people say them."""
        verb = "would change" if check else "changed"
        parts = [f"{_number(self.files, 'notebook')}, {self.changed} {verb}"]
        parts += [_number(self.errors, "secret")] if self.scanned else []
        parts += [_number(self.warnings, "warning")] if self.warnings else []
        parts += [f"{self.failed} failed"] if self.failed else []
        return ", ".join(parts)


def write(
    ctx: Context,
    results: Iterable[FileResult],
    style: str,
    *,
    check: bool = False,
    quiet_stdout: bool = False,
    explain: bool = False,
) -> Count:
    """Write a report and return the totals; text and JSON Lines appear file by file, as `results` yields them.

    `check`: nothing was written. `quiet_stdout`: a notebook went to stdout, so the report goes to stderr. `explain`:
    the notes about imports are said as well. With -q only what is wrong is said.
    """
    if style not in FORMATS:
        raise bad_input(f"there is no format {style[:40]!r}", f"there are: {', '.join(FORMATS)}")
    count, kept = Count(), []
    for result in results:
        count = count.plus(result)
        bad = result.error or any(finding.severity == "error" for finding in result.findings)
        if style == "text" and ctx.verbosity < 0 and not (bad or (check and result.changed)):
            continue
        if style == "text" and (quiet_stdout or result.error):
            ctx.say(_file_text(ctx, result, check=check, explain=explain), -1 if bad else 0)
        elif style == "text":
            _put(ctx, _file_text(ctx, result, check=check, explain=explain), quiet_stdout=False)
        elif style == "json":
            _put(ctx, _json(document(result)), quiet_stdout=quiet_stdout)
        else:
            kept.append(result)
    if style in ("sarif", "github"):
        _put(ctx, shared(f"prep.{style}").render(kept, check=check), quiet_stdout=quiet_stdout)
    if style == "text" and count.files > 1:
        ctx.say(count.line(check=check))
    return count


def _put(ctx: Context, text: str, *, quiet_stdout: bool) -> None:
    if quiet_stdout:
        ctx.say(text, -1)
    elif text:
        ctx.emit(_loads(text) if ctx.as_json else text, None if ctx.as_json else text)


def document(result: FileResult) -> dict[str, object]:
    """Return the JSON document of one file."""
    found: dict[str, object] = {
        "path": result.path,
        "out": result.out,
        "changed": result.changed,
        "findings": [finding._asdict() for finding in result.findings],
    }
    return (
        found
        | ({"error": result.error} if result.error else {})
        | ({"diff": redact(result.diff)} if result.diff else {})
    )


def _json(found: dict[str, object]) -> str:
    import json

    return json.dumps(found, ensure_ascii=False)


def _loads(text: str) -> object:
    """Return what --json prints: a report that is JSON as it is, else its lines."""
    import json

    return json.loads(text) if text.startswith("{") else {"annotations": text.splitlines()}


# ---------------------------------------------------------------- text


def _file_text(ctx: Context, result: FileResult, *, check: bool, explain: bool) -> str:
    """Return a line for the file and one for each finding (notes only with -v), and its diff."""
    shown = [finding for finding in result.findings if is_said(finding, explain=explain) or ctx.verbosity > 0]
    if result.error.startswith(f"{result.path} "):  # it begins with the file's name, as an error of its own does
        return plain(result.error)
    name = "standard input" if result.path == STDIN else result.path
    lines = [plain(f"{name}: {_verdict(result, check=check)}")]
    lines += [f"  {plain(finding_text(finding))}" for finding in shown]
    lines += [plain(line) for line in result.diff.splitlines()]
    return "\n".join(lines)


def is_said(finding: Finding, *, explain: bool) -> bool:
    """Tell whether a finding is for everybody: notes only when they were asked for or something must follow."""
    asked = explain and finding.kind.startswith("import")
    return asked or finding.severity != "note" or finding.kind in SAID_NOTES


def _verdict(result: FileResult, *, check: bool) -> str:
    if result.error:
        return f"failed: {result.error.removeprefix(f'{result.path}: ')}"
    verb = ("would change" if check else "changed") if result.changed else "unchanged"
    where = f", in {result.out}" if result.out not in (None, STDIN, result.path) else ""
    secrets = f", {_number(secrets_in(result), 'secret')}" if result.scanned else ""
    return f"{verb}{secrets}{where}"


def secrets_in(result: FileResult) -> int:
    """Return how many secrets are in a file; a traceback that is not wanted is an error, too, and no secret."""
    return sum(finding.severity == "error" and finding.kind != "error-output" for finding in result.findings)


def finding_text(finding: Finding) -> str:
    """Return a finding as one line: place, kind, message, what to do."""
    allow = f" [{finding.id}]" if finding.id else ""
    text = f"{place_text(finding)}: {finding.kind}: {finding.message}{allow}"
    return text + (f"; {finding.fix}" if finding.fix else "")


def place_text(finding: Finding) -> str:
    """Return where a finding is, as people say it."""
    if finding.cell is None:
        return finding.place if finding.place not in ("", "source") else "notebook"
    place = f" {finding.place}" if finding.place not in ("", "source") else ""
    return f"cell {finding.cell}{place}" + (f" line {finding.line}" if finding.line else "")


def plain(text: str) -> str:
    """Return text as one line that steers no terminal and repeats no secret."""
    return re.sub(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", " ", redact(text))


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


# ---------------------------------------------------------------- for SARIF and annotations


def file_uri(path: str) -> str:
    """Return a path as a URI: relative to the current folder where it lies below that, else file:///."""
    from urllib.parse import quote

    here = Path(path)
    if here.is_absolute():
        try:
            here = here.relative_to(Path.cwd())
        except ValueError:
            return here.as_uri()
    return quote(here.as_posix(), errors="replace", encoding="utf-8")


def positions(result: FileResult) -> Iterator[tuple[Finding, int, int]]:
    """Yield the findings of a file with their line and column in the file, as it is on the disk now."""
    locator: Locator | None = None
    for finding in result.findings:
        if locator is None:
            locator = shared("prep.locate").Locator(_content(result.path))
        yield (finding, *locator.find(finding))


def _content(path: str) -> bytes:
    try:
        return b"" if path == STDIN else Path(path).read_bytes()
    except OSError:  # it has gone since
        return b""
