"""Prepare what a session runs: its source, its folders, its environment and its command line."""

from __future__ import annotations

import json
import os
import shutil
import site
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from plugins.lib.kaggle import sandbox
from plugins.lib.kaggle.sandbox import Mount

if TYPE_CHECKING:
    from plugins.lib.kaggle.sessions import Order
    from plugins.lib.kaggle.world import World

RUNNER = Path(__file__).resolve().parents[1] / "notebook_runner.py"
NO_KERNEL = "ValueError: No kernel name found in notebook and no override provided.\n"  # papermill's words
SIMULATED = "KAGG_SIMULATED_ACCELERATOR"  # there is none; a session that asked for one is told which it would have
# What a session inherits from whoever started the server: where programs, libraries and certificates are. Nothing else.
INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SYSTEMROOT", "CUDA_VISIBLE_DEVICES")


class CannotStartError(Exception):
    """The session ends before its first line ran; the text goes into its log."""


class Plan(NamedTuple):
    """What to start. `speaks_events`: standard output is notebook_runner's JSON lines, not text."""

    argv: list[str]
    env: dict[str, str]
    speaks_events: bool


def prepare(order: Order, stage: Path, world: World, *, namespaces: bool) -> Plan:
    """Lay out the folders for one run below `stage`.

    Raises:
        CannotStartError: what the real one would fail with at this point, or a program that is not installed.
    """
    if os.name != "posix":
        raise CannotStartError("kernels run on Linux and macOS only; on Windows use WSL\n")
    folders = {name: stage / name for name in ("src", "temp", "root", "tree")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    mounts = [
        Mount(order.folder / "output", "working", writable=True),
        Mount(folders["temp"], "temp", writable=True),
        *order.inputs,
    ]
    if namespaces and sandbox.namespace_options():
        src, temp = Path("/kaggle/src"), Path("/kaggle/temp")
        mounts.append(Mount(folders["src"], "src"))
        box = sandbox.in_namespace(
            _command(order, src, temp, Path("/kaggle/working")), mounts, folders["root"], world.root
        )
    else:
        src, temp = folders["src"], folders["temp"]
        box = sandbox.rewritten(_command(order, src, temp, order.folder / "output"), mounts, folders["tree"])
    _write_source(order, folders["src"], box.replace)
    env = {**environment(world.api_url, temp), **({SIMULATED: order.machine} if order.machine else {})}
    return Plan(box.argv, env, order.kernel_type == "notebook")


def _file_name(order: Order) -> str:
    """Name the source file as it is called in the session."""
    return (
        "notebook.ipynb"
        if order.kernel_type == "notebook"
        else "script.py"
        if order.language == "python"
        else "script.R"
    )


def _command(order: Order, src: Path, temp: Path, working: Path) -> list[str]:
    """Return the command line; the paths are those that the session sees."""
    source = str(src / _file_name(order))
    if order.kernel_type == "notebook":
        return [sys.executable, "-P", str(RUNNER), source, str(temp / "__notebook__.ipynb"), "--cwd", str(working)]
    if order.language == "python":
        return [sys.executable, "-u", source]
    rscript = shutil.which("Rscript")
    if rscript is None:
        raise CannotStartError(f"{order.language} scripts need Rscript, which is not installed on this machine\n")
    return [rscript, source] if order.language == "r" else [rscript, "-e", f"rmarkdown::render({source!r})"]


def _write_source(order: Order, folder: Path, replace: tuple[tuple[str, str], ...]) -> None:
    """Write the source where the session finds it, paths replaced where there is no namespace."""
    source = (order.folder / "source").read_text(encoding="utf-8")
    if order.kernel_type == "notebook":
        notebook = json.loads(source)
        if not notebook.get("metadata", {}).get("kernelspec", {}).get("name"):
            raise CannotStartError(NO_KERNEL)
        for cell in notebook["cells"]:
            cell["source"] = _replaced(cell["source"], replace)
        source = json.dumps(notebook, ensure_ascii=False)
    else:
        source = _replaced(source, replace)
    (folder / _file_name(order)).write_text(source, encoding="utf-8")


def _replaced(source: str, replace: tuple[tuple[str, str], ...]) -> str:
    """Replace every pair in turn."""
    for old, new in replace:
        source = source.replace(old, new)
    return source


def environment(api_url: str, home: Path) -> dict[str, str]:
    """Return the whole environment of a session: Kaggle's variables and what programs need to start.

    HOME is the scratch folder, so the session neither finds nor leaves anything in the real one; packages installed for
    the user stay importable.
    """
    env = {name: os.environ[name] for name in INHERITED if name in os.environ}
    programs = (
        str(Path(sys.executable).parent),
        env.get("PATH", os.defpath),
    )  # `pip` and `python` are the session's own
    jupyter = Path.home() / ".local" / "share" / "jupyter"
    return {
        "LANG": "C.UTF-8",
        **env,
        "PATH": os.pathsep.join(programs),
        "HOME": str(home),
        "TMPDIR": str(home),
        "PYTHONUSERBASE": site.getuserbase(),
        "PYTHONIOENCODING": "utf-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "JUPYTER_PATH": str(jupyter),
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
        "KAGGLE_URL_BASE": api_url,
        "KAGGLE_DATA_PROXY_URL": api_url,
    }


def closing_lines(order: Order) -> list[str]:
    """Return the lines that Kaggle writes to stderr after the user's last one."""
    name = "__notebook__" if order.kernel_type == "notebook" else "__script__"
    size_bytes = (order.folder / "source").stat().st_size
    return [
        f"[NbConvertApp] Converting notebook {name}.ipynb to notebook\n",
        f"[NbConvertApp] Writing {size_bytes} bytes to {name}.ipynb\n",
    ]
