"""Give a session its /kaggle: a private mount namespace where the system allows one, rewritten paths where it does not.

In a namespace the session sees this machine's files, /kaggle as Kaggle lays it out, and nothing of the local Kaggle's
own folder. Both forms keep a lifeline: when the server's end of the session's standard input closes, the session is
killed, so that not even a killed server leaves a kernel running.
"""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

PROBE_TIMEOUT_S = 10.0
COMMON = ("--mount", "--pid", "--fork", "--kill-child")  # unshare(1); the last one since util-linux 2.32
SETUP_FAILED = 125  # exit status of the set-up script when the namespace could not be built

# `read` returns when the server closes its end or dies; whoever runs it then kills its whole namespace or group.
LIFELINE = "exec 3<&0 </dev/null\n( read -r _ <&3 || :; kill -9 {whom} ) >/dev/null 2>&1 &\n"

NAMESPACE = """
trap 'exit {failed}' EXIT
set -eu
new={new} hide={hide}
mount -t tmpfs -o mode=755 kaggle "$new"
bind() {{ mkdir -p "$2"; mount --rbind "$1" "$2"; }}
for entry in {first} /* /.[!.]*; do
    case "$entry" in /kaggle | /proc) continue ;; esac
    if [ -e "$new$entry" ] || [ -L "$new$entry" ]; then continue; fi
    if [ -L "$entry" ]; then ln -s "$(readlink "$entry")" "$new$entry"
    elif [ -d "$entry" ]; then bind "$entry" "$new$entry"
    fi
done
mkdir "$new/proc"
mount -t proc proc "$new/proc" 2>/dev/null || mount --rbind /proc "$new/proc"
mkdir -p "$new/kaggle/input"
mount -t tmpfs -o mode=755 kaggle "$new/kaggle/input"
{binds}
mount -o remount,bind,ro "$new/kaggle/input" 2>/dev/null || true
if [ -d "$new$hide" ]; then mount -t tmpfs kaggle "$new$hide"; fi
{lifeline}
trap - EXIT
set +e
chroot "$new" /bin/sh -c 'cd /kaggle/working && exec "$@"' sh {command} 3<&-
exit $?
"""

REWRITTEN = """
{lifeline}
guard=$!
cd {working} || exit {failed}
{command} 3<&-
code=$?
kill -9 "$guard" 2>/dev/null
exit $code
"""


class Mount(NamedTuple):
    """Show folder `source` as /kaggle/`target`, read-only unless `writable`."""

    source: Path
    target: str
    writable: bool = False


class Sandbox(NamedTuple):
    """How a session starts: its argument list, and (from, to) pairs to replace in its source, none in a namespace."""

    argv: list[str]
    replace: tuple[tuple[str, str], ...] = ()


@functools.cache
def namespace_options() -> tuple[str, ...]:
    """Return the options with which `unshare` works here, () when it does not. Tries once per process."""
    if not sys.platform.startswith("linux") or not (shutil.which("unshare") and shutil.which("chroot")):
        return ()
    users: tuple[tuple[str, ...], ...] = ((),) if os.geteuid() == 0 else ()
    for user in (*users, ("--user", "--map-root-user")):
        if works((*user, *COMMON)):
            return (*user, *COMMON)
    return ()


def works(options: tuple[str, ...]) -> bool:
    """Run `true` in a namespace built the same way as a session's."""
    with tempfile.TemporaryDirectory(prefix="kagg-probe-") as name:
        folder = Path(name)
        for part in ("root", "working", "hidden"):
            (folder / part).mkdir()
        mounts = [Mount(folder / "working", "working", writable=True)]
        script = _namespace_script(["true"], mounts, folder / "root", folder / "hidden")
        argv = ["unshare", *options, "sh", "-c", script]
        try:
            # The pipe is the lifeline; it stays open until the command is over.
            with subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as probe:
                return probe.wait(PROBE_TIMEOUT_S) == 0
        except (OSError, subprocess.TimeoutExpired):
            return False


def in_namespace(command: Sequence[str], mounts: Sequence[Mount], stage: Path, hide: Path) -> Sandbox:
    """Run `command` under a new root mounted on the empty folder `stage`, with the folder `hide` covered up."""
    script = _namespace_script(command, mounts, stage, hide)
    return Sandbox(["unshare", *namespace_options(), "sh", "-c", script])


def _namespace_script(command: Sequence[str], mounts: Sequence[Mount], stage: Path, hide: Path) -> str:
    """Return the shell script that builds the new root and runs `command` in it."""
    binds = []
    for mount in mounts:
        source, target = shlex.quote(str(mount.source.resolve())), f'"$new"/kaggle/{shlex.quote(mount.target)}'
        binds.append(f"bind {source} {target}")
        if (
            not mount.writable
        ):  # refused where the mount below is locked (user namespaces(7)); then only the fidelity is lost
            binds.append(f"mount -o remount,bind,ro {target} 2>/dev/null || true")
    return NAMESPACE.format(
        failed=SETUP_FAILED,
        new=shlex.quote(str(stage.resolve())),
        hide=shlex.quote(str(hide.resolve())),
        # The folder that holds the stage comes first: bound later, it would carry a copy of everything bound before.
        first=shlex.quote("/" + stage.resolve().parts[1]),
        binds="\n".join(binds),
        lifeline=LIFELINE.format(whom="-1"),
        command=shlex.join(command),
    )


def rewritten(command: Sequence[str], mounts: Sequence[Mount], stage: Path) -> Sandbox:
    """Run `command` as it is in the real working folder; /kaggle/... in its source becomes folders under `stage`.

    Inputs are real folders with one link per file, so that os.walk sees what it sees on Kaggle.
    """
    working = next(mount.source for mount in mounts if mount.target == "working")
    for mount in mounts:
        if not mount.writable:
            _link_tree(mount.source.resolve(), stage / mount.target)
    (stage / "input").mkdir(parents=True, exist_ok=True)
    script = REWRITTEN.format(
        lifeline=LIFELINE.format(whom="0"),
        working=shlex.quote(str(working.resolve())),
        failed=SETUP_FAILED,
        command=shlex.join(command),
    )
    places = {f"/kaggle/{mount.target}": str(mount.source.resolve()) for mount in mounts if mount.writable}
    places["/kaggle/input"] = str((stage / "input").resolve())
    return Sandbox(["sh", "-c", script], tuple(places.items()))


def _link_tree(source: Path, target: Path) -> None:
    """Make `target` a copy of `source` with a symbolic link for each file."""
    target.mkdir(parents=True, exist_ok=True)
    for folder, _, files in os.walk(source):
        place = target / Path(folder).relative_to(source)
        place.mkdir(exist_ok=True)
        for name in files:
            if not (place / name).is_symlink():
                (place / name).symlink_to(Path(folder) / name)
