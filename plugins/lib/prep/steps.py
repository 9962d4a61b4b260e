"""Run notebook steps over documents, and say what remains of each finding in what is written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import Context, Finding, room
from plugins.lib.prep.document import BIG_FILE_BYTES, BigText, Document, load
from plugins.lib.prep.structure import canonical

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ORDER = ("clean", "outputs", "imports", "secrets", "risks")
DEFAULT_STEPS = ("clean", "outputs", "secrets", "risks")
SURE_CHARS = 12  # a secret of fewer characters may be part of a word by chance
READS_ONLY = ("secrets", "risks", "requirements")  # steps that change nothing unless they are asked to


class Outcome(NamedTuple):
    """What became of a document: the bytes to write, in pieces when there are many, or that a step refused it."""

    document: Document
    pieces: list[bytes | memoryview]
    findings: list[Finding]
    refused: bool = False

    @property
    def content(self) -> bytes:
        """Return the bytes to write."""
        first = self.pieces[0]
        return first if len(self.pieces) == 1 and isinstance(first, bytes) else b"".join(self.pieces)

    @property
    def changed(self) -> bool:
        """Tell whether the bytes differ."""
        if len(self.pieces) > 1:  # of a large file: there were edits, and no copy is made to compare
            return True
        return self.pieces[0] is not self.document.content and self.pieces[0] != self.document.content


def in_order(steps: Sequence[str]) -> list[str]:
    """Return the steps in the order in which they run: the built-in ones, then others as they were named."""
    return sorted(dict.fromkeys(steps), key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


def run_steps(
    ctx: Context,
    documents: Sequence[Document],
    steps: Sequence[str],
    options: Mapping[str, Any],
    *,
    writes: bool = True,
) -> list[Outcome]:
    """Run steps over notebooks; a step that can takes all of them at once.

    A secret is looked for in what came in. With `writes`, one that the other steps took out is a warning: it is no
    longer in the file, and was seen by whoever saw the file.
    """
    chosen = in_order(steps)
    run = {
        name: ctx.cache.get(("prep", name)) or ctx.cache.setdefault(("prep", name), room(ctx, "prep", name))
        for name in chosen
    }
    notebooks = [document.notebook for document in documents]
    refused = dict(_refusals(run.get("outputs"), notebooks, options))
    upgrades = any(name not in READS_ONLY for name in chosen) or bool(options.get("fix_secrets"))
    findings: list[list[Finding]] = [
        [Finding("upgraded", "note", f"nbformat {document.version} became 4.4")]
        if document.upgraded and upgrades and index not in refused
        else refused.get(index, [])
        for index, document in enumerate(documents)
    ]
    open_ones = [index for index in range(len(documents)) if index not in refused]
    for name, step in run.items():
        if name == "secrets":
            results = {
                index: _secrets(step, document, notebooks[index], options, writes=writes and index not in refused)
                for index, document in enumerate(documents)
            }
        elif name in READS_ONLY:
            results = {index: step.apply(notebook, options) for index, notebook in enumerate(notebooks)}
        elif hasattr(step, "apply_many"):
            made = step.apply_many([notebooks[index] for index in open_ones], options)
            results = dict(zip(open_ones, made, strict=True))
        else:
            results = {index: step.apply(notebooks[index], options) for index in open_ones}
        for index, (notebook, found) in results.items():
            notebooks[index] = notebook
            findings[index] += found
    return [
        Outcome(document, [document.content], found, refused=True)
        if index in refused or (not upgrades and notebook is document.notebook)
        else Outcome(document, _rendered(document, notebook, options), found)
        for index, (document, notebook, found) in enumerate(zip(documents, notebooks, findings, strict=True))
    ]


def _refusals(
    step: Any, notebooks: Sequence[dict[str, Any]], options: Mapping[str, Any]
) -> Iterator[tuple[int, list[Finding]]]:
    """Yield the notebooks that stay as they are because of a traceback, where that was asked for."""
    if step is None or not options.get("refuse_error_outputs"):
        return
    for index, notebook in enumerate(notebooks):
        found = [finding for finding in step.apply(notebook, options)[1] if finding.severity == "error"]
        if found:
            yield index, found


def _rendered(document: Document, notebook: dict[str, Any], options: Mapping[str, Any]) -> list[bytes | memoryview]:
    """Return the bytes to write; with `canonical` those that Jupyter would write."""
    if options.get("canonical"):
        return [canonical(notebook, document.name)]
    if len(document.content) <= BIG_FILE_BYTES:
        return [document.render(notebook)]
    pieces = document.pieces(notebook)
    return [document.content] if len(pieces) == 1 and pieces[0] == document.content else pieces


def _secrets(
    step: Any, document: Document, after: dict[str, Any], options: Mapping[str, Any], *, writes: bool
) -> tuple[dict[str, Any], list[Finding]]:
    """Scan what came in; only where that holds a secret, look at what is left of it as well."""
    before, options = document.notebook, {**options, "filename": document.name}
    fixes = bool(options.get("fix_secrets")) and writes
    _, found = step.apply(before, {**options, "fix_secrets": False})
    if not found or not writes or (after is before and not fixes):
        return after, found
    result, left = step.apply(after, options)
    remaining = {(finding.id, finding.place, finding.cell) for finding in left}
    gone = [one for one in found if one.id and (one.id, one.place, one.cell) not in remaining]
    if not gone:
        return result, left
    from plugins.lib.secrets.record import findings

    values = {finding.id: record.value for record, finding in findings(step.records(before, options))}
    return result, [*left, *(_gone(one, result, values.get(one.id, "")) for one in gone)]


def _gone(finding: Finding, notebook: dict[str, Any], value: str) -> Finding:
    """Return a finding whose place is clean now: a warning, unless the value still stands where no rule sees it."""
    if value and holds(notebook, value):
        message = f"{finding.message}; the same value is still in the file"
        return finding._replace(message=message, fix="look for it by hand, and revoke it")
    return finding._replace(severity="warning", message=f"{finding.message}; no longer in the file", fix="revoke it")


def holds(value: Any, text: str) -> bool:
    """Tell whether any text of a JSON value, lines joined, has `text` in it; a short one as a word of its own."""
    form = re.escape(text)
    return _seen(value, re.compile(rf"(?<!\w){form}(?!\w)" if len(text) < SURE_CHARS else form))


def _seen(value: Any, pattern: re.Pattern[str]) -> bool:
    if isinstance(value, str):
        return pattern.search(value) is not None
    if isinstance(value, BigText):
        return any(pattern.search(chunk) for chunk in value.chunks())
    if isinstance(value, dict):
        return any(_seen(key, pattern) or _seen(item, pattern) for key, item in value.items())
    if isinstance(value, list):
        lines = "".join(item for item in value if isinstance(item, str))
        return _seen(lines, pattern) or any(_seen(item, pattern) for item in value if not isinstance(item, str))
    return False


def clean_bytes(
    ctx: Context,
    content: bytes,
    name: str,
    steps: Sequence[str] = ("clean", "outputs"),
    options: Mapping[str, Any] | None = None,
) -> tuple[bytes, list[Finding]]:
    """Return what a notebook's bytes become, and the findings.

    Raises:
        KaggError: USAGE when it is no notebook.
    """
    outcome = run_steps(ctx, [load(content, name)], steps, options or {})[0]
    return outcome.content, outcome.findings
