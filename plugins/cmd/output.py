"""Fetch the files that a kernel's session wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kagg import LIVE_STATES, Exit, KaggError, kernel_status
from plugins.lib.kaggle.collect import collect_outputs
from plugins.lib.kaggle.session import named_kernel

if TYPE_CHECKING:
    import argparse

    from kagg import Context, Ref

PLUGIN = {"api": 1, "summary": "fetch the files that a kernel's session wrote", "requires": {}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `output`."""
    parser.add_argument("ref", help="owner/slug[/vN], or a slug of yours")
    parser.add_argument("--dest", type=Path, help="folder for the files (default: ./SLUG)")
    for name, what in (("include", "only files that match"), ("exclude", "no files that match")):
        help_text = f"{what}; * matches / too; may be repeated"
        parser.add_argument(f"--{name}", action="append", default=[], metavar="GLOB", help=help_text)


def run(args: argparse.Namespace, ctx: Context) -> int:
    """Fetch the files; exit 13 when a name was refused or a check failed, 1 when the run itself failed."""
    ref = named_kernel(ctx, args.ref)
    status = kernel_status(ctx, ref)
    if status.state in LIVE_STATES:
        raise KaggError(f"{ref} is still {status.state.lower()}", hint=f"wait with: python kagg.py status {ref} --wait")
    dest = args.dest or Path(ref.slug)
    try:
        files = collect_outputs(
            ctx, ref, dest, include=args.include, exclude=args.exclude, on_file=lambda file: ctx.progress(dict(file))
        )
    except KaggError as error:
        if "files" in error.details:
            _show(ctx, ref, dest, error.details["files"])
        raise
    _show(ctx, ref, dest, files)
    if status.state not in ("COMPLETE", "NEW_SCRIPT"):
        reason = f": {status.message}" if status.message else ""
        raise KaggError(f"{ref} ended with {status.state.lower()}{reason}", hint=f"see: python kagg.py logs {ref}")
    return Exit.DONE


def _show(ctx: Context, ref: Ref, dest: Path, files: list[dict[str, Any]]) -> None:
    lines = [f"{dest / file['path']}  {file['size_bytes']} bytes  sha256 {file['sha256'][:16]}" for file in files]
    ctx.emit({"ref": str(ref), "dest": str(dest), "files": files}, "\n".join(lines) or "no files")
