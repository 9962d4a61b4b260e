"""Preprocess the notebooks of a command line: read, run the steps, write, report; a bad one does not stop the rest."""

from __future__ import annotations

import difflib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kagg import Context, Exit, Finding, KaggError, bad_input, room, shared, write_atomic
from plugins.lib.prep.document import Document, load
from plugins.lib.prep.parallel import processes, spread
from plugins.lib.prep.report import FileResult, write
from plugins.lib.prep.steps import DEFAULT_STEPS, Outcome, run_steps
from plugins.lib.prep.targets import STDIN, Target, targets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BATCH_FILES, BATCH_BYTES = 256, 32 * 1024**2  # what one run of the steps has in memory
MAX_DIFF_BYTES = 4 * 1024**2


class Job:
    """One call of `preprocess`."""

    def __init__(self, ctx: Context, options: Mapping[str, Any], steps: Sequence[str]) -> None:
        self.ctx, self.options, self.steps = ctx, options, steps
        self.diff = bool(options.get("diff"))
        self.writes = not (options.get("check") or self.diff)
        self.requirements = str(options.get("requirements") or "")
        self.codes: set[Exit] = set()
        self.needs: list[Any] = []  # requirements of each notebook
        self.secrets: dict[str, list[Any]] = {}  # of each notebook, for the baseline
        self.waiting: list[FileResult] = []  # of notebooks that could not be read

    def run(self, paths: Sequence[str]) -> Exit:
        """Do all of it and return the exit code: 2 for a bad file, 1 for one not written, 3 for findings."""
        found = targets(paths, self.options.get("out"))
        style = str(self.options.get("format") or ("json" if self.ctx.as_json else "text"))
        to_stdout = self.writes and any(target.out is None for target in found)
        explain = bool(self.options.get("explain"))
        number = 1 if to_stdout else processes(len(found), self.options.get("parallel"))
        results = self._results(found) if number == 1 else self._spread(found, number)
        write(self.ctx, results, style, check=not self.writes, quiet_stdout=to_stdout, explain=explain)
        if self.requirements:
            self._write_requirements()
        if self.options.get("update_baseline"):
            path = Path(self.options.get("baseline") or ".secrets.baseline")
            shared("secrets.baseline").write_baseline(path, self.secrets)
            self.ctx.say(f"wrote {path}")
        order = (Exit.BUG, Exit.USAGE, Exit.FAILED, Exit.FINDINGS)
        return next((code for code in order if code in self.codes), Exit.DONE)

    def _spread(self, found: Sequence[Target], number: int) -> Iterator[FileResult]:
        """Yield what became of each notebook, done in several processes."""
        for results, codes, needs, secrets in spread(found, number, self._part):
            self.codes |= codes
            self.needs += needs
            self.secrets |= secrets
            yield from results

    def _part(self, found: Sequence[Target]) -> tuple[list[FileResult], set[Exit], list[Any], dict[str, list[Any]]]:
        """Do some of the notebooks, and return everything that there is to know of them."""
        part = Job(self.ctx, self.options, self.steps)
        return list(part._results(found)), part.codes, part.needs, part.secrets

    def _results(self, found: Sequence[Target]) -> Iterator[FileResult]:
        """Yield what became of each notebook."""
        for batch in self._batches(found):
            outcomes = self._outcomes([document for _, document in batch])
            for (target, _), outcome in zip(batch, outcomes, strict=True):
                failed = isinstance(outcome, KaggError)
                yield self._failed(target, outcome) if failed else self._finish(target, outcome)  # type: ignore[arg-type]
            yield from self._unreadable()
        yield from self._unreadable()

    def _unreadable(self) -> list[FileResult]:
        waiting, self.waiting = self.waiting, []
        return waiting

    def _batches(self, found: Sequence[Target]) -> Iterator[list[tuple[Target, Document]]]:
        """Yield notebooks that were read, a few at a time; those that cannot be read are results."""
        batch: list[tuple[Target, Document]] = []
        size = 0
        for target in found:
            document = self._load(target)
            if document is None:
                continue
            batch.append((target, document))
            size += len(document.content)
            if len(batch) >= BATCH_FILES or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _load(self, target: Target) -> Document | None:
        name = "standard input" if target.path == STDIN else target.path
        try:
            content = sys.stdin.buffer.read() if target.path == STDIN else Path(target.path).read_bytes()
            return load(content, name)
        except KaggError as error:
            self.waiting.append(self._failed(target, error))
        except OSError as error:
            self.waiting.append(self._failed(target, bad_input(f"cannot read {name}: {error.strerror or error}")))
        except Exception as error:  # noqa: BLE001 - one file's bug must not take the others with it
            self.waiting.append(self._failed(target, _bug(error)))
        return None

    def _failed(self, target: Target, error: KaggError) -> FileResult:
        self.codes.add(error.code)
        return FileResult(_name(target), None, changed=False, findings=[], error=error.message)

    def _outcomes(self, documents: list[Document]) -> list[Outcome | KaggError]:
        """Run the steps over all at once, and when one notebook makes them stumble, over each alone to see which."""
        try:
            return [*run_steps(self.ctx, documents, self.steps, self.options, writes=self.writes)]
        except KaggError as error:
            if error.code != Exit.USAGE:
                raise
        except Exception as error:  # noqa: BLE001 - one file's bug must not take the others with it
            if len(documents) == 1:
                return [_bug(error)]
        return [self._alone(document) for document in documents]

    def _alone(self, document: Document) -> Outcome | KaggError:
        try:
            return run_steps(self.ctx, [document], self.steps, self.options, writes=self.writes)[0]
        except KaggError as error:
            return error
        except Exception as error:  # noqa: BLE001 - as above
            return _bug(error)

    def _finish(self, target: Target, outcome: Outcome) -> FileResult:
        """Write one notebook, and return what there is to say about it."""
        changed, findings, notebook = outcome.changed, outcome.findings, outcome.document.notebook
        try:
            if self.writes:
                self._write(target, outcome)
        except KaggError as error:
            return self._failed(target, error)
        except OSError as error:
            return self._failed(target, KaggError(f"cannot write {target.out}: {error.strerror or error}"))
        if self.requirements:
            needs = room(self.ctx, "prep", "requirements").collect(notebook, target.path, Path(target.path).parent)
            self.needs.append(needs)
            findings = findings + needs.findings
        if self.options.get("update_baseline"):
            self.secrets[target.path] = room(self.ctx, "prep", "secrets").records(notebook, self.options)
        elif any(finding.severity == "error" for finding in findings):
            self.codes.add(Exit.FINDINGS)
        if changed and not self.writes:
            self.codes.add(Exit.FINDINGS)
        out = STDIN if target.out is None else target.path if target.out == Path(target.path) else str(target.out)
        diff = _diff(target.path, outcome, self._values(notebook)) if self.diff and changed else ""
        scanned, written = "secrets" in self.steps, out if self.writes else None
        return FileResult(_name(target), written, changed=changed, findings=findings, diff=diff, scanned=scanned)

    def _values(self, notebook: dict[str, Any]) -> list[str]:
        """Return the secrets of a notebook, which a diff must not show, whatever the steps are."""
        return [record.value for record in room(self.ctx, "prep", "secrets").records(notebook, {})]

    def _write(self, target: Target, outcome: Outcome) -> None:
        if target.out is None:
            binary = getattr(self.ctx.stdout, "buffer", None)  # a text stream may have another encoding
            binary.write(outcome.content) if binary else self.ctx.stdout.write(outcome.content.decode())
            (binary or self.ctx.stdout).flush()
        elif str(target.out) == os.devnull:
            return  # as people throw a result away
        elif outcome.changed or target.out != Path(target.path):
            write_atomic(target.out, outcome.pieces)

    def _write_requirements(self) -> None:
        """Write what all notebooks need into one file; what contradicts is said."""
        step = room(self.ctx, "prep", "requirements")
        merged = step.merge(self.needs)
        text = step.requirements_text(merged.entries)
        for finding in merged.findings[sum(len(needs.findings) for needs in self.needs) :]:
            self.ctx.say(f"warning: {finding.message}")
        if self.requirements == STDIN:
            self.ctx.emit({"requirements": text}, text.rstrip("\n"))
        else:
            write_atomic(Path(self.requirements), text)


def _name(target: Target) -> str:
    """Return a file's name as it can be shown; bytes that are no UTF-8 become escapes."""
    return target.path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _bug(error: Exception) -> KaggError:
    """Return what one notebook made us stumble over, as an error of this notebook."""
    if isinstance(error, RecursionError):
        return bad_input("nested too deep")
    return KaggError(f"bug: {type(error).__name__}: {error}", code=Exit.BUG, hint="report it")


def _diff(path: str, outcome: Outcome, values: Sequence[str]) -> str:
    """Return a unified diff of the file's lines, with `values` masked."""
    before, after = outcome.document.content, outcome.content
    if len(before) > MAX_DIFF_BYTES:
        return f"--- {path}\n+++ {path}\n{len(before)} bytes become {len(after)}; too large to compare by line\n"
    old, new = (_masked(text.decode("utf-8", "replace"), values).splitlines(keepends=True) for text in (before, after))
    lines = [line if line.endswith("\n") else line + "\n" for line in difflib.unified_diff(old, new, path, path)]
    return "".join(lines)


def _masked(text: str, values: Sequence[str]) -> str:
    """Return JSON text in which secrets are no longer to be read."""
    for value in sorted(values, key=len, reverse=True):
        for written in {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}:
            text = text.replace(written, "[secret]")
    return text


def preprocess_notebook(
    ctx: Context, path: Path, out: Path | None, steps: Sequence[str] = DEFAULT_STEPS
) -> list[Finding]:
    """Run steps over a notebook and write the result to `out` (None = nowhere); without changes bytes stay.

    Raises:
        KaggError: USAGE when it cannot be read or is not a notebook.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise bad_input(f"cannot read {path}: {error.strerror}") from error
    outcome = run_steps(ctx, [load(content, str(path))], steps, {})[0]
    if out and (out != path or outcome.changed):
        write_atomic(out, outcome.content)
    return outcome.findings
