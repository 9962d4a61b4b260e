"""Install what the run needs and the image does not have."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from plugins.lib.launch.in_session_base import StageError, say
from plugins.lib.launch.in_session_files import WORKING

if TYPE_CHECKING:
    from pathlib import Path

OFFLINE = re.compile(
    r"name resolution|Name or service not known|NewConnectionError|establish a new connection|Network is unreachable|"
    r"No address associated|nodename nor servname|from versions: none"
)
SECRET_NAMES = re.compile(r"(?i)TOKEN|SECRET|PASSW|CREDENTIAL|_KEY$")


def install(lines: list[str], file: str, base: Path) -> None:
    """Install what is not there already, in one call of pip; what it says is shown when it fails.

    Raises:
        StageError: pip could not.
    """
    if file.endswith(".toml"):
        lines, file = [*lines, *project_dependencies(file)], ""
    wanted = list(lines)
    if file:
        wanted += (WORKING / file).read_text(encoding="utf-8-sig").splitlines()
    wanted = [line.partition(" #")[0].strip() for line in wanted if line.strip() and not line.lstrip().startswith("#")]
    if all(_is_installed(line) for line in wanted):
        return
    say(f"installing requirements: {scrubbed(', '.join(wanted))[:300]}")
    own = base / "requirements.txt"
    own.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--retries", "2", "-r", str(own)] + (["-r", file] if file else [])
    env = dict(os.environ, PIP_ROOT_USER_ACTION="ignore", PYTHONIOENCODING="utf-8")
    done = subprocess.run(
        command,
        cwd=WORKING,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode == 0:
        return
    said = scrubbed(done.stdout.decode("utf-8", "replace")).strip()
    for line in said.splitlines()[-20:]:
        say(line)
    errors = (
        [line for line in said.splitlines() if line.startswith("ERROR:")] or said.splitlines()[-1:] or ["pip failed"]
    )
    why = "; is the session's internet off? Then attach wheels as a dataset" if OFFLINE.search(said) else ""
    raise StageError("requirements", errors[-1][:300] + why)


def project_dependencies(file: str) -> list[str]:
    """Return what [project] of a pyproject.toml needs; without an answer, say why."""
    toml = _toml_reader()
    try:
        found = toml.loads((WORKING / file).read_text(encoding="utf-8-sig")) if toml else None
    except (OSError, ValueError) as error:
        say(f"{file} cannot be read, so nothing that it names is installed: {error}")
        return []
    if found is None:
        say(f"this Python does not read {file}, so nothing that it names is installed; --pip names what is needed")
        return []
    project, tool = (found.get(name) if isinstance(found.get(name), dict) else {} for name in ("project", "tool"))
    listed, dynamic, poetry = project.get("dependencies"), project.get("dynamic"), tool.get("poetry")
    if isinstance(listed, list):
        return [" ".join(line.split()) for line in listed if isinstance(line, str)]
    if (isinstance(dynamic, list) and "dependencies" in dynamic) or (
        isinstance(poetry, dict) and "dependencies" in poetry
    ):
        say(f"what {file} needs is not in its [project], so it is not installed; --pip names what is needed")
    return []


def _toml_reader() -> Any:
    """Return a module that reads TOML: Python has one since 3.11, and pip carries one for those before."""
    for name in ("tomllib", "tomli", "pip._vendor.tomli"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    return None


def _is_installed(line: str) -> bool:
    """Tell whether a plain requirement is met; what is not understood is left to pip."""
    try:
        from packaging.requirements import Requirement

        wanted = Requirement(line)
        if wanted.marker and not wanted.marker.evaluate():
            return True
        version = importlib.metadata.version(wanted.name)
    except Exception:  # noqa: BLE001 - no packaging, no such package, options of pip: pip knows
        return False
    return not wanted.url and not wanted.extras and wanted.specifier.contains(version, prereleases=True)


def scrubbed(text: str) -> str:
    """Return text without passwords in URLs and without the values of secret variables."""
    text = re.sub(r"(\w+://)[^/\s@]+@", r"\1***@", text)
    for name, value in os.environ.items():
        if len(value) >= 8 and SECRET_NAMES.search(name):
            text = text.replace(value, "***")
    return text
