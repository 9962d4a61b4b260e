"""Write a research notebook that sets itself up on Kaggle, Colab or Jupyter, streams data and trains a baseline.

It never holds a key: the notebook looks for credentials when it runs, and nothing is written when an option holds one.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from kagg import Exit, KaggError, bad_input, keep_secret, recorded, refuse_secrets, shared, slugify, write_atomic

if TYPE_CHECKING:
    import argparse

    from kagg import Context

PLUGIN = {"api": 1, "summary": "write a research notebook for Kaggle, Colab or Jupyter", "requires": {}}

ACTIONS = ("generate", "colab")
TEXTS = ("title", "competition", "target", "stream", "drive")
LISTS = ("dataset",)
KEYS = ("KAGGLE_API_TOKEN", "KAGGLE_KEY", "WANDB_API_KEY", "HF_TOKEN", "GITHUB_TOKEN", "MLFLOW_TRACKING_PASSWORD")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `notebook`."""
    parameters = shared("research.parameters")
    parser.description = __doc__
    parser.add_argument(
        "action", choices=ACTIONS, help="generate: for Kaggle and Jupyter; colab: for Colab, with Drive"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="file to write (default: the title's name, .ipynb)")
    parser.add_argument("--title", help="title of the notebook")
    parser.add_argument("--dataset", action="append", metavar="OWNER/SLUG", help="a dataset of Kaggle; may be repeated")
    parser.add_argument("--competition", metavar="SLUG", help="a competition of Kaggle")
    parser.add_argument("--stream", metavar="URL", help="read this: https address, file, folder or owner/slug")
    text = "what is learned from (default: %(default)s)"
    parser.add_argument("--model", choices=parameters.MODELS, default="tabular", help=text)
    text = "what trains; torch uses the GPU (default: %(default)s)"
    parser.add_argument("--engine", choices=parameters.ENGINES, default="sklearn", help=text)
    parser.add_argument("--target", metavar="COLUMN", help="column to predict (default: the last one)")
    text = "hand the metrics to an experiment tracker; may be repeated"
    parser.add_argument("--track", action="append", choices=parameters.TRACKERS, help=text)
    parser.add_argument("--seed", type=int, default=0, help="seed of split and model (default: %(default)s)")
    parser.add_argument("--require-gpu", action="store_true", help="stop at once when no GPU can be used")
    parser.add_argument("--drive", metavar="FOLDER", help="colab: mount Drive, keep results in this folder of it")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")


def run(args: argparse.Namespace, ctx: Context) -> int:
    """Write the notebook; exit 3 when an option holds a secret."""
    given = [(f"--{name}", value) for name in TEXTS if (value := getattr(args, name))]
    given += [(f"--{name}", value) for name in LISTS for value in getattr(args, name) or ()]
    _refuse(ctx, "the notebook", [*given, ("--out", str(args.out or ""))])
    plan = shared("research.parameters").make_plan(args)
    path = args.out or Path(f"{slugify(plan.title) or 'research'}.ipynb")
    _check_place(path, force=args.force)
    making = shared("research.notebook")
    text = making.notebook_text(plan)
    _refuse(ctx, str(path), [(path.name, text)])
    report = {
        "path": str(path),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "size_bytes": len(text.encode()),
        "cells": text.count('"cell_type":'),
        "secrets_looked_for": plan.secrets,
    }
    with recorded(ctx, "notebook", str(path), {"action": args.action, "model": plan.model}) as row:
        write_atomic(path, text)
        row.result = report
    ctx.emit(report, f"{path}  {report['cells']} cells, {report['size_bytes']} bytes, no keys in it")
    streams = shared("research.stream")
    for note in streams.notes(plan, path):
        ctx.say(f"note: {note}")
    ctx.say(f"try: {streams.next_step(plan, path)}")
    return Exit.DONE


def _refuse(ctx: Context, what: str, parts: list[tuple[str, str]]) -> None:
    """Raise FINDINGS when a named text holds a secret: by its shape, or because it is one of those in use here."""
    hint = "take it out: the notebook looks for its keys when it runs"
    for variable in KEYS:
        value = (ctx.env.get(variable) or "").strip()
        if len(value) >= 8 and any(keep_secret(value) in text for _, text in parts):
            said = f"{what} was not written: it would hold the value of {variable}"
            raise KaggError(said, code=Exit.FINDINGS, hint=hint)
    try:
        refuse_secrets(ctx, what, parts)
    except KaggError as error:
        if error.code != Exit.FINDINGS:
            raise
        said = error.message.replace("was not sent", "was not written")
        raise KaggError(said, code=error.code, hint=hint, details=error.details) from None


def _check_place(path: Path, *, force: bool) -> None:
    """Refuse what is no notebook's name, and a file that would be lost."""
    if path.suffix != ".ipynb":
        raise bad_input(f"--out {path} is no notebook's name", "end it with .ipynb")
    if os.path.lexists(path) and not force:
        raise bad_input(f"{path} is already there", "name another file, or give --force to replace it")
    if path.is_dir():
        raise bad_input(f"{path} is a folder", "name a file")
