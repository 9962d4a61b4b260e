"""Track in Weights & Biases: files in KAGG_HOME/wandb that `wandb sync` uploads, or online when WANDB_MODE=online.

The run's id is made from ours, so that a second call adds no second run. Nothing but parameters, metrics and what is
known of the run is kept: no console, no code, no figures of this machine.
"""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING, Any

from kagg import Context, Exit, KaggError, hashed, host_of, keep_secret, read_secret, setting

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PLUGIN = {"api": 1, "summary": "Weights & Biases", "requires": {"wandb": "wandb>=0.19"}}

PROJECT = "kagg"
CLOUD = "https://api.wandb.ai"
MODES = {"": "offline", "offline": "offline", "dryrun": "offline", "online": "online", "run": "online"}
ID_CHARS = 64
COMPLETE = "kagg-complete"  # a file in an offline run: its last record is written
SETTINGS: dict[str, Any] = {  # of wandb.Settings; a version takes those that it knows
    "console": "off",
    "silent": True,
    "disable_git": True,
    "disable_code": True,
    "save_code": False,
    "disable_job_creation": True,
    "x_disable_stats": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
    "init_timeout": 30.0,
}


def _mode(ctx: Context) -> str:
    """Return "offline" or "online".

    Raises:
        KaggError: CONFIG for another WANDB_MODE.
    """
    given = setting(ctx, "WANDB_MODE", "track.wandb.mode").strip().lower()
    if given not in MODES:
        hint = "set offline or online, or leave --track wandb out"
        raise KaggError(f"WANDB_MODE={given[:40]!r} tracks nothing", code=Exit.CONFIG, hint=hint)
    return MODES[given]


def _account(ctx: Context) -> dict[str, str]:
    """Return api_key, entity and project: the environment's, else those of configs/wandb.md, else the settings file's.

    Only the lines `name: value` of that file count; what its example holds is no value.
    """
    names = ("api_key", "entity", "project")
    text = read_secret(ctx, ctx.configs / "wandb.md")
    file = dict(re.findall(r"^[ \t]*(api_key|entity|project):[ \t]*(\S+)[ \t]*$", text, re.MULTILINE))
    found = {name: value for name, value in file.items() if not value.startswith("YOUR-")}
    for name in names:
        if value := ctx.env.get(f"WANDB_{name.upper()}", "").strip():
            found[name] = value
    found.setdefault("entity", setting(ctx, "WANDB_ENTITY", "track.wandb.entity"))
    found.setdefault("project", setting(ctx, "WANDB_PROJECT", "track.wandb.project"))
    keep_secret(found.get("api_key", ""))
    return found


def _signed_in(ctx: Context) -> bool:
    """Say whether `wandb login` has left a key for the server."""
    import netrc

    host = host_of(ctx.env.get("WANDB_BASE_URL") or CLOUD)
    try:
        return netrc.netrc(ctx.env.get("NETRC") or ctx.user_home() / ".netrc").authenticators(host) is not None
    except (OSError, netrc.NetrcParseError, UnicodeError):
        return False


def check(ctx: Context) -> None:
    """Refuse a mode that tracks nothing, and online tracking without a key.

    Raises:
        KaggError: CONFIG.
    """
    mode, account = _mode(ctx), _account(ctx)
    if mode == "online" and not account.get("api_key") and not _signed_in(ctx):
        hint = "set WANDB_API_KEY, or fill in configs/wandb.md (see configs/wandb.example.md)"
        raise KaggError("WANDB_MODE=online needs an API key", code=Exit.CONFIG, hint=hint)


def run_id(text: str) -> str:
    """Return an id that wandb takes; what has to be changed gets a hash."""
    fit = re.sub(r"[^A-Za-z0-9_-]", "-", text)
    return fit if fit == text and len(fit) <= ID_CHARS else f"{fit[: ID_CHARS - 9]}-{hashed(text)[:8]}"


def start(run: Mapping[str, Any], ctx: Context) -> Tracked:
    """Open the run; one that is complete on this disk is left as it is, one that is not is written anew.

    Raises:
        KaggError: CONFIG as `check`, SERVICE with what wandb says.
    """
    check(ctx)
    mode, account, known = _mode(ctx), _account(ctx), run_id(str(run["id"]))
    folder = _folder(ctx)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if mode == "offline":
        before = [path for path in (folder / "wandb").glob(f"offline-run-*-{known}") if path.is_dir()]
        if any((path / COMPLETE).exists() for path in before):
            return Tracked(None)
        for path in before:
            shutil.rmtree(path)
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    if account.get("api_key"):
        os.environ["WANDB_API_KEY"] = account["api_key"]
    return Tracked(_init(run, known, mode, folder, account))


def _folder(ctx: Context) -> Path:
    from pathlib import Path

    return Path(ctx.env.get("WANDB_DIR") or ctx.home).resolve()


def _init(run: Mapping[str, Any], known: str, mode: Any, folder: Path, account: Mapping[str, str]) -> Any:
    import wandb

    about = ("git_commit", "source_sha256", "device", "status", "started", "ended", "url")
    config = {**(run.get("params") or {}), "kagg": {name: run[name] for name in about if run.get(name)}}
    fields = getattr(wandb.Settings, "model_fields", SETTINGS)
    try:
        return wandb.init(
            mode=mode,
            dir=str(folder),
            id=known,
            name=str(run.get("name") or known)[:128],
            project=account.get("project") or PROJECT,
            entity=account.get("entity") or None,
            config=config,
            resume="allow" if mode == "online" else None,
            settings=wandb.Settings(**{name: value for name, value in SETTINGS.items() if name in fields}),
        )
    except wandb.errors.Error as error:
        raise KaggError(f"wandb: {error}", code=Exit.SERVICE) from error


class Tracked:
    """One run of wandb; `run` is None when there is nothing left to log."""

    def __init__(self, run: Any) -> None:
        self.run = run

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of one step; wandb counts steps from 0."""
        if self.run is not None:
            self.run.log(dict(metrics), step=max(0, step))

    def finish(self, status: str) -> None:
        """End the run, and wait until all is written or sent."""
        if self.run is None:
            return
        self.run.finish(exit_code=int(status != "done"))
        if self.run.settings.mode == "offline":
            from pathlib import Path

            Path(self.run.dir).with_name(COMPLETE).touch()
