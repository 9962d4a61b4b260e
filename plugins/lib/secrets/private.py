"""Find what outputs tell about a person: home folders and e-mail addresses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kagg import Finding
from plugins.lib.secrets.text import output_pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def private_outputs(index: int, outputs: Any, off: set[str]) -> Iterator[Finding]:
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
