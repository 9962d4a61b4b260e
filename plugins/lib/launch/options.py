"""The options of a run on Kaggle: added to `run`, kept in the journal, and read back by `attach` and by batch jobs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import Exit, KaggError, add_gate_arguments, bad_input, parse_duration

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

QUICK_TEST_S = 600.0  # the time limit of a quick test that names none
DEFAULT_WAIT = "10m"  # for a free session


class Wanted(NamedTuple):
    """What a user asked for, as JSON: everything that a run needs beside its path, parameters and arguments."""

    device: str | None = None
    accelerator: str | None = None
    timeout_s: float | None = None
    quick_test: bool = False
    entry: str | None = None
    code: str = "inline"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    dataset: tuple[str, ...] = ()
    competition: tuple[str, ...] = ()
    kernel: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()
    checkpoint: tuple[str, ...] = ()
    allow_missing_inputs: bool = False
    allow_finding: tuple[str, ...] = ()
    no_requirements: bool = False
    no_internet: bool = False
    commit: bool = False
    push: bool = False
    commit_message: str | None = None
    git_remote: str | None = None
    git_token: str | None = None
    git_secret: str | None = None
    detach: bool = False
    keep: bool = False
    verify: str | None = None
    notify: tuple[str, ...] = ()
    track: tuple[str, ...] = ()
    max_wait_s: float = 600.0

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self._asdict().items()}


def read_back(document: Mapping[str, Any]) -> Wanted:
    """Return what `document` gave; fields that this version does not know are passed over."""
    known: dict[str, Any] = {name: value for name, value in document.items() if name in Wanted._fields}
    return Wanted(**known | {name: tuple(value) for name, value in known.items() if isinstance(value, list)})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what a run on Kaggle takes beside what every run takes."""
    group = parser.add_argument_group("on Kaggle")
    group.add_argument("--device", choices=("cpu", "gpu", "tpu"), help="what to run on (default: cpu)")
    group.add_argument("--accelerator", metavar="NAME", help="NvidiaTeslaT4, TpuV5E8 ...; see: info")
    quick = "a short run: KAGG_QUICK_TEST=1, --quick-test for a script that knows it, 10 minutes unless --timeout"
    group.add_argument("--quick-test", action="store_true", help=quick)
    for option in ("dataset", "competition", "kernel"):
        group.add_argument(f"--{option}", action="append", metavar="REF", help=f"attach a {option}; may be repeated")
    group.add_argument("--allow-missing-inputs", action="store_true", help="go on although Kaggle refused an input")
    group.add_argument("--detach", action="store_true", help="leave when it is pushed; go on with: attach RUN")
    group.add_argument("--keep", action="store_true", help="leave the kernel on Kaggle when its results are here")
    group.add_argument(
        "--dry-run", action="store_true", help="show the plan: files, sizes, accelerator, quota; do nothing"
    )
    group.add_argument("--max-wait", metavar="TIME", help=f"for a free session (default: {DEFAULT_WAIT})")
    group.add_argument("--no-internet", action="store_true", help="run without network, as some competitions want it")
    _add_code_arguments(parser.add_argument_group("what is sent"))
    _add_result_arguments(parser.add_argument_group("what comes back"))


def _add_code_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--entry", metavar="FILE", help="of a folder: the script or notebook to run (default: main.py)")
    group.add_argument("--code", choices=("inline", "dataset", "git"), help="how the code travels (default: inline)")
    for name, what in (("include", "also these files"), ("exclude", "not these files")):
        group.add_argument(f"--{name}", action="append", metavar="GLOB", help=f"{what}; may be repeated")
    group.add_argument("--pip", action="append", metavar="REQ", help="install this first; may be repeated")
    group.add_argument(
        "--no-requirements", action="store_true", help="do not install requirements.txt, or what pyproject.toml needs"
    )
    group.add_argument("--commit", action="store_true", help="--code git: commit what is staged, else tracked changes")
    group.add_argument("--commit-message", metavar="TEXT", help="--code git: the message of that commit")
    group.add_argument("--push", action="store_true", help="--code git: push the branch to its remote")
    group.add_argument("--git-remote", metavar="NAME", help="--code git: the remote (default: the branch's)")
    group.add_argument("--git-token", metavar="VARIABLE", help="--code git: the variable with a read-only token for a "
                       "private repository; it travels in a private dataset that is deleted afterwards")  # fmt: skip
    group.add_argument("--git-secret", metavar="LABEL", help="--code git: the Kaggle secret that holds the token")
    add_gate_arguments(group)


def _add_result_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--checkpoint", action="append", metavar="GLOB", help="copy such files out of scratch folders")
    group.add_argument(
        "--verify", metavar="FILE", help="exit 3 unless the results fit: a JSON Schema, or a list of files"
    )
    group.add_argument(
        "--notify", action="append", metavar="NAME[:ADDRESS]", help="tell when it is over: email:YOU, ..."
    )
    group.add_argument("--track", action="append", metavar="NAME", help="hand the metrics to an experiment tracker")


def read(args: argparse.Namespace) -> Wanted:
    """Return the options of a command line.

    Raises:
        KaggError: USAGE for options that do not go together.
    """
    given = {name: value for name, value in vars(args).items() if name in Wanted._fields and value is not None}
    for name in ("timeout", "max_wait"):
        if getattr(args, name, None):
            given[f"{name}_s"] = parse_duration(getattr(args, name))
    wanted = read_back(given)
    if wanted.code != "git":
        for name in ("commit", "push", "commit_message", "git_remote", "git_token", "git_secret"):
            if getattr(wanted, name):
                raise bad_input(f"--{name.replace('_', '-')} is for --code git")
    if wanted.verify:  # attach may be called in another folder
        wanted = wanted._replace(verify=str(Path(wanted.verify).absolute()))
    if wanted.timeout_s is None and wanted.quick_test:
        wanted = wanted._replace(timeout_s=QUICK_TEST_S)
    return wanted


def refuse_here(args: argparse.Namespace) -> None:
    """Refuse options that mean nothing in a run on this machine.

    Raises:
        KaggError: USAGE; it names the option.
    """
    for name in (*Wanted._fields, "dry_run", "max_wait"):
        if name != "timeout_s" and getattr(args, name, None):
            option = f"--{name.replace('_', '-')}"
            raise KaggError(f"{option} is for runs on Kaggle", code=Exit.USAGE, hint="give --kaggle, or leave it out")
