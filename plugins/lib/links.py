"""Pull a notebook from a link: pages of code hosts become the files they show."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from kagg import Context, Exit, KaggError, Reply, decode_json, fetch, safe_path, service_error, setting, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

PLUGIN = {"api": 1, "summary": "notebooks behind links", "requires": {}}

SCRIPTS = (".py", ".R", ".r", ".Rmd", ".jl")
DRIVE = r"https://drive.google.com/uc?export=download&id="
# A page that people copy, and the file that it shows; applied in this order, one after another.
PAGES = (
    (r"https?://colab\.research\.google\.com/drive/([\w-]+).*", DRIVE + r"\1"),
    (r"https?://(?:colab\.research\.google\.com|nbviewer\.(?:jupyter\.)?org)/gist/(.+)", r"https://gist.github.com/\1"),
    (r"https?://(?:colab\.research\.google\.com|nbviewer\.(?:jupyter\.)?org)/github/(.+)", r"https://github.com/\1"),
    (
        r"https?://(?:www\.)?github\.com/([^/]+)/([^/]+)/(?:blob|raw)/([^?#]+).*",
        r"https://raw.githubusercontent.com/\1/\2/\3",
    ),
    (r"https?://gist\.github\.com/([^/]+)/(\w+)(?:[/?#].*)?", r"https://gist.githubusercontent.com/\1/\2/raw"),
    (r"(https?://[^/]+/.+)/-/blob/([^?#]+).*", r"\1/-/raw/\2"),
    (r"https?://bitbucket\.org/([^/]+)/([^/]+)/src/([^?#]+).*", r"https://bitbucket.org/\1/\2/raw/\3"),
    (r"https?://drive\.google\.com/(?:file/d/|open\?id=|uc\?(?:[^#]*&)?id=)([\w-]+).*", DRIVE + r"\1"),
)


def file_url(ctx: Context, link: str) -> str:
    """Return the address of the file behind a link, on the mirror that KAGG_MIRRORS ("host=base URL,...") names."""
    for pattern, replacement in PAGES:
        link = re.sub(f"^{pattern}$", replacement, link)
    pairs = (item.strip().split("=", 1) for item in setting(ctx, "KAGG_MIRRORS", "mirrors").split(",") if "=" in item)
    mirrors = {host.strip().lower(): base.strip().rstrip("/") for host, base in pairs}
    return re.sub(r"^https?://([^/]+)", lambda match: mirrors.get(match[1].lower(), match[0]), link)


def pull_link(ctx: Context, link: str, dest: Path) -> Path:
    """Save the notebook or script behind a link in `dest` and return its path.

    Raises:
        KaggError: SERVICE when the answer is no notebook, INTEGRITY when its name is hostile.
    """
    reply = fetch(ctx, "GET", file_url(ctx, link))
    name = _name(reply, link)
    if not name.endswith(SCRIPTS):
        name = name if name.endswith(".ipynb") else f"{name}.ipynb"
        if not _is_notebook(reply.body):
            kind = (reply.headers.get("Content-Type") or "nothing known").split(";")[0]
            hint = "is it shared with everybody, and does it name one file?"
            raise service_error(f"{link} is not a notebook but {kind}", hint)
    elif reply.body.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        raise service_error(f"{link} is a web page, not a script", "is it shared with everybody?")
    path = safe_path(dest, name)
    if name.endswith(SCRIPTS) and path.exists() and not unquote(urlsplit(link).path).endswith(f"/{name}"):
        problem = f"refused: the server calls it {name[:80]!r}, and {path} exists"
        raise KaggError(problem, code=Exit.INTEGRITY, hint="give another --dest")
    write_atomic(path, reply.body)
    return path


def _name(reply: Reply, link: str) -> str:
    """Return the file name that the server gives (RFC 6266), else the last part of the link's path."""
    header = reply.headers.get("Content-Disposition") or ""
    extended = re.search(r"filename\*\s*=\s*(?:UTF-8|utf-8)'[^']*'([^;\s]+)", header)
    plain = re.search(r"filename\s*=\s*(?:\"([^\"]+)\"|([^;\s]+))", header)
    given = unquote(extended[1]) if extended else (plain[1] or plain[2]) if plain else ""
    name = given or unquote(urlsplit(link).path.rstrip("/").rsplit("/", 1)[-1]) or "notebook"
    if "/" in name or "\\" in name:
        raise KaggError(f"refused the file name {name[:80]!r}", code=Exit.INTEGRITY, hint="it would leave its folder")
    return name


def _is_notebook(body: bytes) -> bool:
    try:
        found = decode_json(body)
    except ValueError:
        return False
    return isinstance(found, dict) and any(isinstance(found.get(name), list) for name in ("cells", "worksheets"))
