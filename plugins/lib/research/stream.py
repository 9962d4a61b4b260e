"""What --stream may say, and whether a file or folder that it names is here."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from kagg import Exit, KaggError, bad_input, check_url

if TYPE_CHECKING:
    from plugins.lib.research.parameters import Plan

SLUG = r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}"
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
PACKED = (".gz", ".bz2", ".xz")
ELSEWHERE = ("/kaggle/", "/content/")  # folders of Kaggle and Colab
CREDENTIAL = re.compile(  # names in a query; a page's token is none
    r"(?!.*(?:page|next|continuation|cursor|sync)[_-]?token\Z)"
    r"(?:.*(?:token|secret|passw(?:or)?d|passphrase|credentials?)"
    r"|(?:.*[_-])?(?:signature|sig|hmac|auth|authorization|pass|pwd|jwt)"
    r"|.*(?:api|access|auth|app|account|consumer|function|license|private|shared|subscription)s?[_-]?key|key"
    r"|.*sess(?:ion)?[_-]?id|hdn(?:ts|ea|tl))",
    re.IGNORECASE,
)


def is_reference(text: str) -> bool:
    """Tell whether a text can be owner/slug."""
    return bool(re.fullmatch(f"{SLUG}/{SLUG}", text))


def credential_name(url: str) -> str:
    """Return the name of the first credential in a URL's query, also in that of a URL inside of it, "" without one."""
    for _ in range(3):
        url = unquote(url)
    for part in re.split(r"[?&;#]", url)[1:]:
        name, _, value = part.partition("=")
        if value and CREDENTIAL.fullmatch(name.strip()):
            return name.strip()
    return ""


def check_stream(text: str) -> str:
    """Return an address without credentials, a path, or owner/slug.

    Raises:
        KaggError: USAGE, or FINDINGS when the address holds a credential.
    """
    if "://" not in text:
        return text
    check_url(text)
    if "@" in text.partition("://")[2].partition("/")[0]:
        raise bad_input("--stream holds a user name or password", "a notebook holds no keys; give the address alone")
    if name := credential_name(text):
        said = f"the notebook was not written: --stream holds a credential: {name[:40]!r} in its address"
        hint = "stream an address that needs no key, or a file: download it first"
        raise KaggError(said, code=Exit.FINDINGS, hint=hint)
    return text


def check_model(stream: str, model: str) -> None:
    """Refuse a table for a model of pictures, and a picture for one of tables."""
    path = Path(re.split(r"[?#]", stream)[0])
    kinds = [suffix for suffix in path.suffixes if suffix.lower() not in PACKED]
    kind = kinds[-1].lower() if kinds else ""
    if model == "images" and kind in TABLES:
        raise bad_input(f"--model images reads a folder or zip of pictures, and {path.name} is a table")
    if kind in PICTURES:
        hint = "use: --model images with a folder or zip, one folder for each class"
        raise bad_input(f"--stream {path.name} is one picture", hint)


def is_path(stream: str) -> bool:
    """Tell whether this is the path of a file or folder of this machine, that may be absent."""
    if not stream or "://" in stream or stream.startswith(ELSEWHERE):
        return False
    return not is_reference(stream)


def find(stream: str, notebook: Path) -> Path | None:
    """Return the file or folder that the notebook will find, None when it is not here."""
    path = notebook.parent / stream
    found = stream and "://" not in stream and not stream.startswith(ELSEWHERE) and os.path.exists(path)  # noqa: PTH110 - never raises
    return path if found else None


def check_columns(stream: str, target: str, notebook: Path) -> None:
    """Look for the target in a CSV of this machine, so that a slip of the pen is found now."""
    path = find(stream, notebook) or Path(stream)
    if not target or "://" in stream or path.suffix.lower() not in (".csv", ".tsv") or not os.path.isfile(path):  # noqa: PTH113 - never raises
        return
    import csv

    try:
        with path.open("rb") as file:
            line = file.readline(1 << 16).decode("utf-8-sig", "replace")
        separator = max(",;\t|", key=line.count)  # as the notebook finds it
        names = next(csv.reader([line], delimiter=separator), [])
    except OSError as error:
        raise bad_input(f"cannot read {stream}: {error.strerror}") from error
    except csv.Error as error:
        raise bad_input(f"{stream} does not begin with the names of columns: {error}") from error
    if target not in names:
        shown = ", ".join(names[:20]) or "none"
        raise bad_input(f"{stream} has no column {target[:80]!r}", f"it has: {shown[:300]}")


def notes(plan: Plan, notebook: Path) -> list[str]:
    """Return what is no error, and may be none that was wanted."""
    found = []
    if not plan.stream and not plan.datasets and not plan.competition:
        found.append("no data is named; set stream in its parameters, or give --stream, --dataset or --competition")
    if len(plan.datasets) > 1:
        found.append(f"the notebook reads {plan.datasets[0]}; set stream in its parameters to read another")
    if find(plan.stream, notebook) is None:
        if is_path(plan.stream):
            found.append(f"{plan.stream} is not beside {notebook}, where it is looked for: put it there before it runs")
        elif is_reference(plan.stream) and (notebook.parent / plan.stream.partition("/")[0]).is_dir():
            found.append(f"{plan.stream} is not here: it is taken for a dataset of Kaggle")
    return found


def next_step(plan: Plan, notebook: Path) -> str:
    """Return the commands that run the notebook, here and on Kaggle."""
    here = f"python kagg.py run {shlex.quote(str(notebook))}"
    options = [f" --dataset {reference}" for reference in plan.datasets]
    options += [f" --competition {plan.competition}"] if plan.competition else []
    if find(plan.stream, notebook):
        parts = Path(plan.stream).parts
        if Path(plan.stream).is_absolute() or ".." in parts:
            return f"{here}; on Kaggle it finds only data that lies beside it and is sent with --include"
        exactly = re.sub(r"[\[*?]", r"[\g<0>]", plan.stream)  # --include takes patterns
        options = [f" --include {shlex.quote(exactly)}"]
    elif is_reference(plan.stream):
        options = [f" --dataset {plan.stream}"]
    elif is_path(plan.stream):
        return here
    return f"{here}; on Kaggle: {here} --kaggle{''.join(options)}"
