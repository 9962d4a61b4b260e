"""The address under which a session finds the repository that a remote of this machine names."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from kagg import LOOPBACK, bad_input, host_of
from plugins.lib.launch.git_command import hide

if TYPE_CHECKING:
    from collections.abc import Mapping

SSH_SCHEMES = ("ssh", "git+ssh", "ssh+git")
OTHER_PORT = ("ssh.", "altssh.")  # the names under which hosts take ssh at port 443: docs of GitHub, GitLab, Bitbucket
CANNOT = "the session cannot reach it; push to a host on the internet, or use --code inline"


class Address(NamedTuple):
    """Where the session fetches from, and what is different from the remote's own URL, as lines for people."""

    url: str
    notes: tuple[str, ...] = ()


def session_address(env: Mapping[str, str], url: str, *, local: bool) -> Address:
    """Return the https address of a remote's URL, or its loopback http one where the session is `local`.

    ssh addresses become https ones of the same host and path; credentials, queries and fragments are taken out.

    Raises:
        KaggError: USAGE for an address that no session can reach, or that would send code in clear text.
    """
    shown = hide(url)[:200]
    if not url or re.search(r"[\x00-\x20\x7f-\x9f]", url):
        raise bad_input(f"the remote's address {shown!r} is none", "git remote -v shows it")
    if re.match(r"[A-Za-z][\w+.-]*::", url):
        raise bad_input(f"the remote {shown} needs a helper program that the session has not", CANNOT)
    scheme, mark, _ = url.partition("://")
    if not mark:
        return _short_form(env, url, shown)
    scheme = scheme.lower()
    parts = _parts(url, shown)
    if scheme in SSH_SCHEMES:
        return _from_ssh(env, parts[0], parts[2], shown)
    if scheme == "file":
        raise bad_input(f"the remote {shown} is a folder of this machine", CANNOT)
    if scheme not in ("http", "https"):
        raise bad_input(f"the remote {shown} is neither https nor ssh", "git remote set-url NAME https://...")
    return _from_http(scheme, parts, url, shown, local=local)


def _parts(url: str, shown: str) -> tuple[str, str, str]:
    """Return host name, host with its port, and path."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise bad_input(f"the remote's address {shown!r} is none", str(error)) from error
    if not re.fullmatch(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+", host) or parts.path.strip("/") == "":
        raise bad_input(f"the remote's address {shown!r} names no repository", "git remote -v shows it")
    named = f"[{host}]" if ":" in host else host
    return host, named + (f":{port}" if port else ""), parts.path


def _short_form(env: Mapping[str, str], url: str, shown: str) -> Address:
    """Read `[user@]host:path`, which git takes for ssh unless a slash comes first: git-fetch(1), GIT URLS."""
    match = re.fullmatch(r"(?:[^@/:]+@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{2,}):(?!\\)(.+)", url)
    if match is None:
        raise bad_input(f"the remote {shown} is a folder of this machine", CANNOT)
    return _from_ssh(env, match[1].strip("[]"), match[2], shown)


def _from_ssh(env: Mapping[str, str], host: str, path: str, shown: str) -> Address:
    real = _real_host(env, host)
    for prefix in OTHER_PORT:
        if real.startswith(prefix) and real.count(".") >= 2:
            real = real.removeprefix(prefix)
    if real in LOOPBACK or not re.search(r"[.:]", real):
        raise bad_input(f"the remote {shown} is at {real}, a name of this machine or network", CANNOT)
    named = f"[{real}]" if ":" in real else real
    url = f"https://{named}/{path.lstrip('/')}"
    return Address(url, (f"the session has no ssh key: it fetches from {url}",))


def _real_host(env: Mapping[str, str], host: str) -> str:
    """Return what a host name of the user's ssh settings stands for, by asking ssh, which then connects nowhere."""
    if host.startswith("-"):
        return host
    try:
        done = subprocess.run(
            ["ssh", "-G", host], env=dict(env), stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return host
    found = re.search(rb"^hostname ([A-Za-z0-9._:-]+)\s*$", done.stdout, re.MULTILINE)
    return found[1].decode() if found and not done.returncode else host


def _from_http(scheme: str, parts: tuple[str, str, str], url: str, shown: str, *, local: bool) -> Address:
    host, place, path = parts
    if scheme == "http" and host not in LOOPBACK:
        raise bad_input(f"the remote {shown} is clear text http", "git remote set-url NAME https://...")
    if host in LOOPBACK and not local:
        raise bad_input(f"the remote {shown} is on this machine", CANNOT)
    notes = []
    if "@" in urlsplit(url).netloc:
        notes.append("the remote's URL holds credentials; they stay here, the session fetches without them")
    if re.search(r"[?#]", url):
        notes.append("what follows ? or # in the remote's URL stays here")
    return Address(f"{scheme}://{place}{path}", tuple(notes))


def plain_url(url: str) -> str:
    """Return a remote's URL for a record: without credentials, query and fragment."""
    return re.split(r"[?#]", hide(url))[0] if "://" in url else re.sub(r"^[^@/]+@", "", url)


def is_local(url: str) -> bool:
    """Tell whether an http address leads to this machine."""
    return host_of(url) in LOOPBACK
