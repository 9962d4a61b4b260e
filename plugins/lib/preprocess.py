"""Run the prep rooms over notebooks: what changes, what is found, and where the result goes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from kagg import Context, Exit, Finding, KaggError, bad_input, parse_notebook, room, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

PLUGIN = {"api": 1, "summary": "notebook steps one after another", "requires": {}}

DEFAULT_STEPS = ("clean", "outputs", "secrets")


def preprocess_notebook(
    ctx: Context, path: Path, out: Path | None, steps: Iterable[str] = DEFAULT_STEPS
) -> list[Finding]:
    """Run prep rooms over a notebook and write the result to `out` (None = nowhere); without changes bytes stay."""
    content, findings = prepare(ctx, path, steps)
    if out and (out != path or content != path.read_bytes()):
        write_atomic(out, content)
    return findings


def prepare(ctx: Context, path: Path, steps: Iterable[str]) -> tuple[bytes, list[Finding]]:
    """Return the bytes that `path` becomes, and the findings; nothing is written.

    Raises:
        KaggError: USAGE when it cannot be read or is not a notebook.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise bad_input(f"cannot read {path}: {error.strerror}") from error
    original = parse_notebook(content, str(path))
    notebook, findings = original, []
    for name in steps:
        notebook, found = room(ctx, "prep", name).apply(notebook, ctx)
        findings += found
    return (content if notebook == original else _encoded(notebook, content)), findings


def _encoded(notebook: dict[str, Any], like: bytes) -> bytes:
    """Return notebook JSON with the indent, the escapes and the final newline of the file that it was."""
    text = like.decode("utf-8-sig", "surrogatepass")
    indent = re.match(r"\s*\{\r?\n([ \t]*)", text)
    escaped = not re.search(r"[^\x00-\x7f]", text) and re.search(r"\\u[0-9a-f]{4}", text) is not None
    compact = (",", ":") if not indent and '": ' not in text[:200] else None
    lines = json.dumps(notebook, ensure_ascii=escaped, indent=indent[1] if indent else None, separators=compact)
    return (lines + ("\n" if text.endswith("\n") else "")).encode("utf-8", "surrogatepass")


def preprocess_paths(
    ctx: Context, paths: list[Path], steps: list[str] | None, *, out: Path | None, check: bool
) -> Exit:
    """Preprocess files and folders, in place or to `out`; a bad file is reported and the rest go on.

    Returns USAGE when a file was bad, FINDINGS for secrets, or for changes under `check`.
    """
    files = [file for path in paths for file in _notebooks(path)]
    if not files:
        raise bad_input(f"no notebooks in {', '.join(map(str, paths))}")
    several = len(files) > 1 or paths[0].is_dir()
    if out and several and out.exists() and not out.is_dir():
        raise bad_input(f"{out} is a file, and there are {len(files)} notebooks", "give a folder with -o")
    codes = set()
    for file in files:
        base = next((path for path in paths if path.is_dir() and file.is_relative_to(path)), file.parent)
        target = file if not out else out / file.relative_to(base) if several or out.is_dir() else out
        codes.add(_one(ctx, file, target, tuple(steps or DEFAULT_STEPS), check=check))
    return next(code for code in (Exit.USAGE, Exit.FINDINGS, Exit.DONE) if code in codes)


def _notebooks(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = (file for file in sorted(path.rglob("*.ipynb")) if file.is_file() and not file.is_symlink())
    return [file for file in found if ".ipynb_checkpoints" not in file.parts]


def _one(ctx: Context, file: Path, target: Path, steps: tuple[str, ...], *, check: bool) -> Exit:
    """Preprocess one notebook, say what was found, and return how it ended."""
    try:
        content, findings = prepare(ctx, file, steps)
        changed = content != file.read_bytes()
        if not check and (changed or target != file):
            write_atomic(target, content)
    except (KaggError, OSError) as error:
        ctx.say(f"{error}" if str(file) in str(error) else f"{file}: {error}", -1)
        ctx.emit({"path": str(file), "error": str(error)}, f"{file}: failed")
        return Exit.USAGE
    for finding in findings:
        text = f"{file}: cell {finding.cell} line {finding.line}: {finding.kind}: {finding.message}"
        ctx.say(text + (f"; {finding.fix}" if finding.fix else ""), 0 if finding.severity == "error" else 1)
    verb = ("would change" if check else "changed") if changed else "unchanged"
    secrets = sum(finding.severity == "error" for finding in findings)
    named = [finding._asdict() for finding in findings]
    document = {"path": str(file), "out": None if check else str(target), "changed": changed, "findings": named}
    ctx.emit(
        document, f"{file}: {verb}, {secrets} secrets" + (f", in {target}" if target != file and not check else "")
    )
    return Exit.FINDINGS if secrets or (check and changed) else Exit.DONE
