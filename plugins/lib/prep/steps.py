"""Run notebook steps over documents, and say what remains of each finding in what is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import Context, Finding, room
from plugins.lib.prep.document import Document, load
from plugins.lib.prep.structure import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ORDER = ("clean", "outputs", "imports", "secrets", "risks")
DEFAULT_STEPS = ("clean", "outputs", "secrets", "risks")
FIRST_CHANGE = ("clean", "outputs", "imports")


class Outcome(NamedTuple):
    """What became of a document: the bytes to write, or that a step refused to change it."""

    document: Document
    content: bytes
    findings: list[Finding]
    refused: bool = False

    @property
    def changed(self) -> bool:
        """Tell whether the bytes differ."""
        return self.content is not self.document.content and self.content != self.document.content


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
    notebooks = [document.notebook for document in documents]
    findings: list[list[Finding]] = [
        [Finding("upgraded", "note", f"nbformat {document.version} became 4.4")] if document.upgraded else []
        for document in documents
    ]
    refused: set[int] = set()
    for name in in_order(steps):
        step = ctx.cache.get(("prep", name)) or ctx.cache.setdefault(("prep", name), room(ctx, "prep", name))
        if hasattr(step, "apply_many"):
            results = step.apply_many(notebooks, options)
        else:
            results = [
                _secrets(step, document.notebook, notebook, {**options, "filename": document.name}, writes=writes)
                if name == "secrets"
                else step.apply(notebook, options)
                for document, notebook in zip(documents, notebooks, strict=True)
            ]
        for index, (notebook, found) in enumerate(results):
            notebooks[index] = notebook
            findings[index] += found
            if name == "outputs" and any(finding.severity == "error" for finding in found):
                refused.add(index)
    return [
        Outcome(document, document.content, found, refused=True)
        if index in refused
        else Outcome(document, _rendered(document, notebook, options), found)
        for index, (document, notebook, found) in enumerate(zip(documents, notebooks, findings, strict=True))
    ]


def _rendered(document: Document, notebook: dict[str, Any], options: Mapping[str, Any]) -> bytes:
    """Return the bytes to write; with `canonical` those that Jupyter would write."""
    if options.get("canonical"):
        return canonical(notebook, document.name)
    return document.render(notebook)


def _secrets(
    step: Any, before: dict[str, Any], after: dict[str, Any], options: Mapping[str, Any], *, writes: bool
) -> tuple[dict[str, Any], list[Finding]]:
    """Scan what came in; only where that holds a secret, look at what is left of it as well."""
    fixes = bool(options.get("fix_secrets"))
    _, found = step.apply(before, {**options, "fix_secrets": False})
    if not found or not (writes or fixes) or (after is before and not fixes):
        return after, found
    result, left = step.apply(after, options)
    remaining = {(finding.id, finding.place, finding.cell) for finding in left}
    gone = [
        finding._replace(severity="warning", message=f"{finding.message}; no longer in the file", fix="revoke it")
        for finding in found
        if finding.severity == "error" and (finding.id, finding.place, finding.cell) not in remaining
    ]
    return result, [*left, *gone]


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
