"""Ask git what it ignores in a folder."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from kagg import KaggError, redact

if TYPE_CHECKING:
    from pathlib import Path

    from kagg import Context

TIMEOUT_S = 60.0
# --directory: a folder that is ignored as a whole is one name with a slash behind it
COMMAND = ("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory", "--", ".")


def ignored(ctx: Context, folder: Path) -> set[str]:
    """Return the POSIX paths below `folder` that git ignores, folders with a slash at the end; none outside of git.

    A folder that is ignored itself was named by its user: nothing in it counts as ignored.

    Raises:
        KaggError: git cannot say, although the folder is in a work tree.
    """
    top = folder.resolve()
    if not any((place / ".git").exists() for place in (top, *top.parents)):
        return set()
    env = {name: value for name, value in ctx.env.items() if not name.startswith("GIT_")}  # of a hook that runs us
    env |= {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false", *COMMAND]
    try:
        done = subprocess.run(
            command, cwd=top, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        ctx.say(f"git is not installed: what it would ignore in {folder} is sent too")
        return set()
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KaggError(f"git cannot say what it ignores in {folder}: {error}", hint="send a copy of it") from error
    if done.returncode:
        words = done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.returncode}"
        if "not a git repository" in words:
            return set()
        problem = redact(words.splitlines()[0])[:300]
        raise KaggError(f"git cannot say what it ignores in {folder}: {problem}", hint="mend it, or send a copy")
    names = {os.fsdecode(name) for name in done.stdout.split(b"\0") if name}
    return set() if "./" in names else names
