"""Find what is unsafe in a notebook beside secrets: risky calls in code, home folders and e-mail addresses in outputs.

Changes nothing. Each kind has a switch: --no-risk KIND.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kagg import Finding
from plugins.lib.secrets import risky_calls
from plugins.lib.secrets.text import cells_of, joined, output_pieces

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

PLUGIN = {"api": 1, "summary": "find risky calls, home folders and e-mail addresses", "requires": {}}

KINDS = {
    "eval-input": "eval or exec of input or downloaded text",
    "unsafe-load": "pickle, joblib, torch, numpy or yaml loading what can run code",
    "no-tls-check": "certificates that are not checked",
    "shell-input": "a shell that gets a composed text",
    "remote-code": "trust_remote_code=True",
    "open-debugger": "a debug server on 0.0.0.0",
    "piped-script": "curl or wget piped into a shell",
    "home-path": "a home folder in an output",
    "email-address": "an e-mail address in an output",
}

_HOME = re.compile(
    r"(?<![\w./:~-])(?:/home/|/Users/|[A-Za-z]:\\{1,2}Users\\{1,2}|/mnt/[a-z]/Users/)([A-Za-z0-9][\w.-]{0,63})(?=[/\\])"
)
# Accounts of machines that everybody gets, and words that stand for a name.
_SHARED_NAMES = (
    "jupyter jovyan ubuntu ec2-user sagemaker-user studio-lab-user vscode runner runneradmin user username"
    " your_username yourname you me name root kaggle colab datalab coder app admin shared public default all"
    " conda docker hadoop spark azureuser trusted-service-user gitpod codespace repl travis circleci appveyor"
    " vsts cloudsdk test foo path feedstock_root ray jenkins build builder airflow databricks"
)
_EVERYBODY = frozenset(_SHARED_NAMES.split())
_EMAIL = re.compile(
    r"(?<![\w.+/:@%-])([A-Za-z0-9][\w.+-]{0,63})@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61})\.){1,5}[A-Za-z]{2,24})(?![\w@(-])"
)
_NOBODY = re.compile(
    r"(?:do-?)?no-?t?-?reply|example|test|foo|user(?:name)?|name|you(?:r.*)?|me|email|abc|git|someone", re.IGNORECASE
)
_NO_DOMAIN = re.compile(
    r"(?:.*\.)?(?:example\.\w+|test\.\w+|invalid|local|localhost|domain\.\w+|email\.com|noreply\.github\.com|company\.com|foo\.\w+|bar\.\w+)"
    r"|.*\.(?:png|jpe?g|gif|svg|py|ipynb|so|js|css|html?|csv|json|txt|gz|zip|whl)",
    re.IGNORECASE,
)  # fmt: skip
_CREDIT = re.compile(
    r"author|maintainer|contact|copyright|licen[cs]e|\(c\)|report (?:a )?bug|home-?page|mailing list", re.IGNORECASE
)


def add_arguments(group: argparse._ArgumentGroup, /) -> None:
    """Add --no-risk."""
    group.add_argument(
        "--no-risk",
        dest="risk_off",
        metavar="KIND",
        action="append",
        default=[],
        choices=sorted(KINDS),
        help="do not look for one kind of risk: " + ", ".join(KINDS),
    )


def _line_at(text: str, at: int) -> str:
    """Return the line around an offset, at most 400 characters of it."""
    begin = max(text.rfind("\n", 0, at) + 1, at - 200)
    end = text.find("\n", at, at + 200)
    return text[begin : end if end >= 0 else at + 200]


def _homes(text: str) -> Iterator[str]:
    for match in _HOME.finditer(text):
        if match[1].lower() not in _EVERYBODY and not re.fullmatch(r"[x.]+|\d+", match[1], re.IGNORECASE):
            yield match[0]


def _addresses(text: str) -> Iterator[str]:
    for match in _EMAIL.finditer(text):
        if (
            _NOBODY.fullmatch(match[1])
            or _NO_DOMAIN.fullmatch(match[2])
            or _CREDIT.search(_line_at(text, match.start()))
        ):
            continue
        yield match[0].lower()


def _private(index: int, outputs: Any, off: set[str]) -> Iterator[Finding]:
    """Yield one finding per kind for the outputs of a cell."""
    homes: dict[str, int] = {}
    addresses: dict[str, int] = {}
    for number, output in enumerate(outputs if isinstance(outputs, list) else (), 1):
        for piece in output_pieces(index, number, output):
            if "/home/" in piece.text or "Users" in piece.text:
                homes |= {home: number for home in _homes(piece.text) if home not in homes}
            if "@" in piece.text:
                addresses |= {one: number for one in _addresses(piece.text) if one not in addresses}
    if homes and "home-path" not in off:
        first = next(iter(homes))
        message = f"output {homes[first]} shows the home folder {first}" + (
            f" and {len(homes) - 1} more" if homes.keys() - {first} else ""
        )
        yield Finding("home-path", "warning", message, index, None, "strip the output, or use relative paths", "output")
    if addresses and "email-address" not in off:
        first = next(iter(addresses))
        what = "an e-mail address" if len(addresses) == 1 else f"{len(addresses)} e-mail addresses"
        shown = f"{first[0]}…@{first.partition('@')[2]}"
        message = f"output {addresses[first]} shows {what} ({shown})"
        yield Finding("email-address", "warning", message, index, None, "strip the output", "output")


def apply(notebook: dict[str, Any], options: Mapping[str, Any], /) -> tuple[dict[str, Any], list[Finding]]:
    """Return the notebook as it is, and a warning for each risk, once per line or per cell of outputs."""
    off = set(options.get("risk_off") or ())
    cells = [(index, cell) for index, cell in enumerate(cells_of(notebook)) if isinstance(cell, dict)]
    code = [(index, joined(cell.get("source"))) for index, cell in cells if cell.get("cell_type") == "code"]
    found = [
        Finding(risk.kind, "warning", risk.message, risk.cell, risk.line, risk.fix, "source")
        for risk in risky_calls.risks(code)
        if risk.kind not in off
    ]
    for index, cell in cells:
        if cell.get("outputs"):
            found += _private(index, cell["outputs"], off)
    return notebook, sorted(found, key=lambda one: (one.cell or 0, one.line or 0, one.kind))
