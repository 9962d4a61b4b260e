"""Run a notebook or script on Kaggle and leave the record that a local run leaves.

Layout of `dest` after a run: params.json (when there are any), log.jsonl, output/, and result.json, written last: no
record means that the run was not seen to its end. Every attempt is a kernel of its own, private, with a title that no
other attempt has: then its log, status and outputs can be nobody else's. It stays on Kaggle.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
from typing import TYPE_CHECKING, Any

from kagg import (
    KERNELS,
    LIVE_STATES,
    KaggError,
    Ref,
    bad_input,
    file_sha256,
    kaggle_rpc,
    kaggle_user,
    parse_ref,
    read_notebook,
    refuse_secrets,
    write_atomic,
)
from plugins.lib.kaggle import attempt
from plugins.lib.kaggle.attempt import delete_kernel
from plugins.lib.kaggle.collect import collect_outputs, kernel_files, kernel_outputs
from plugins.lib.kaggle.logstream import follow_logs, wait_for_end
from plugins.lib.local_run import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import IO

    from kagg import Context, KernelStatus
    from plugins.lib.kaggle.logstream import Event

__all__ = [
    "collect_outputs",
    "delete_kernel",
    "follow_logs",
    "kernel_files",
    "kernel_outputs",
    "named_kernel",
    "quota",
    "run_on_kaggle",
    "wait_for_end",
]

TAIL_LINES = 30
TAIL_CHARS = 65_536
MARGIN_S = 600.0  # beyond the run's own limit: starting the machine, storing the outputs
LONGEST_SESSION_S = 12 * 3600.0  # Kaggle's limit for CPU and GPU sessions, kaggle.com/docs/notebooks
TIMED_OUT = "exceeded the max allowed execution duration"  # Kaggle's words, as are the next
OUT_OF_MEMORY = "tried to allocate more memory than is available"
ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
ERROR_LINE = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Warning|Iteration|Group)(?:: .*)?")


# ---------------------------------------------------------------- thin calls


def quota(ctx: Context) -> dict[str, Any]:
    """Return {"quotaRefreshTime", "gpuQuota": {...}, "tpuQuota": {...}}; times are texts as "108000.000s"."""
    found: dict[str, Any] = kaggle_rpc(ctx, KERNELS + "GetAcceleratorQuotaStatistics", {})
    return found


def named_kernel(ctx: Context, text: str) -> Ref:
    """Read `owner/slug[/vN]` or a Kaggle page; a bare slug belongs to the signed-in user.

    Raises:
        KaggError: USAGE when it names something else.
    """
    bare = re.fullmatch(r"[A-Za-z0-9][\w-]*", text)
    ref = parse_ref(f"{kaggle_user(ctx)}/{text}" if bare else text)
    if ref.kind != "kaggle":
        raise bad_input(f"{text[:100]!r} is not a Kaggle kernel", "write owner/slug or owner/slug/v3")
    return ref


# ---------------------------------------------------------------- what the log says


class _Seen:
    """What passed so far: the log on disk and the end of the error stream."""

    def __init__(self, log: IO[str], on_event: Callable[[Event], None] | None) -> None:
        self.log, self.on_event, self.errors = log, on_event, ""

    def take(self, event: Event) -> None:
        """Store one event and pass it on."""
        self.log.write(json.dumps(event) + "\n")
        self.log.flush()
        if event["stream_name"] == "stderr":
            self.errors = (self.errors + event["data"])[-TAIL_CHARS:]
        if self.on_event:
            self.on_event(event)

    def lines(self) -> list[str]:
        """Return the error stream's last lines without colours and without what Kaggle adds."""
        lines = [line.rstrip() for line in ANSI.sub("", self.errors).split("\n")]
        return [line for line in lines if line and not line.startswith("[NbConvertApp]")]


def _verdict(status: KernelStatus, lines: Sequence[str]) -> Verdict:
    """Say how a session ended from its status and the end of its error stream."""
    if status.state == "COMPLETE":
        return Verdict("complete", 0)
    if status.state in LIVE_STATES:
        return Verdict("timeout", 1, f"it is still {status.state.lower()} and was left to itself")
    if TIMED_OUT in status.message:
        return Verdict("timeout", 1, status.message)
    if OUT_OF_MEMORY in status.message or status.state.startswith("CANCEL"):
        return Verdict("killed", 1, status.message or "the session was cancelled")
    found = [number for number, line in enumerate(lines) if ERROR_LINE.fullmatch(line)]
    last = found[-1] if found else len(lines) - 1
    traceback = lines[max(0, last + 1 - TAIL_LINES) : last + 1]
    begins = [number for number, line in enumerate(traceback) if line.startswith("Traceback (most recent call last)")]
    error = status.message or (lines[last] if lines else f"the session ended with {status.state}")
    return Verdict("error", 1, error, None, traceback[begins[-1] if begins else 0 :])


def _failed_cell(entry: Path, pushed: str, lines: Sequence[str]) -> int | None:
    """Return the index in `entry` of the cell that raised, None when the traceback does not tell.

    The kernel numbers the code cells that are not empty; a function of an earlier cell shows that cell's lower number.
    """
    counts = [int(number) for number in re.findall(r"(?:Cell|Input) In ?\[(\d{1,6})\]", "\n".join(lines))]
    cells = json.loads(pushed)["cells"]
    executed = [i for i, cell in enumerate(cells) if cell.get("cell_type") == "code" and cell["source"].strip()]
    if not counts or not 1 <= max(counts) <= len(executed):
        return None
    index = executed[max(counts) - 1]
    added = [i for i, cell in enumerate(cells) if "injected-parameters" in cell.get("metadata", {}).get("tags", [])]
    return index - (len(cells) > len(read_notebook(entry)["cells"]) and added[0] < index)


# ---------------------------------------------------------------- the run


@contextlib.contextmanager
def _kept_log(dest: Path) -> Iterator[IO[str]]:
    """Write dest/log.jsonl, which appears when it is whole or when we are stopped."""
    part = dest / ".log.jsonl.part"
    try:
        with part.open("w", encoding="utf-8") as log:
            yield log
    finally:
        part.replace(dest / "log.jsonl")


def _follow(
    ctx: Context, ref: Ref, dest: Path, on_event: Callable[[Event], None] | None, limit_s: float
) -> tuple[KernelStatus, list[str]]:
    """Follow a session to its end and return its last status and the last lines of its error stream."""
    with _kept_log(dest) as log:
        seen = _Seen(log, on_event)
        try:
            status = follow_logs(
                ctx, ref, follow=True, on_event=seen.take, max_wait_s=limit_s, patience_s=attempt.READABLE_S
            )
        except (KaggError, KeyboardInterrupt):
            ctx.say(f"{ref} goes on at Kaggle; look with: python kagg.py status {ref}, then logs and output", -1)
            raise
    return status, seen.lines()


def run_on_kaggle(
    ctx: Context,
    path: Path,
    *,
    dest: Path,
    params: dict[str, Any] | None = None,
    timeout_s: float | None = None,
    args: Sequence[str] = (),
    on_event: Callable[[Event], None] | None = None,
    options: argparse.Namespace | None = None,
    max_wait_s: float = 600.0,
) -> dict[str, Any]:
    """Run `path` on Kaggle, wait for its end, fetch its outputs, and return what result.json holds.

    `options` are those of `run`: accelerator, dataset, competition, kernel, allow_missing_inputs; and `effect`, see
    plugins/lib/kaggle/attempt.py. `max_wait_s` is for a free session, `timeout_s` for the run. A run that fails is a
    result, no exception.

    Raises:
        KaggError: QUOTA, no session became free; SERVICE, an input was refused or the service failed; SERVICE or
            INTEGRITY, the outputs of a complete run could not be fetched (result.json says so, with `exit`).
    """
    dest = dest.resolve()
    if (dest / "result.json").exists() or (dest / "output").exists():
        raise bad_input(f"{dest} holds an earlier run", "name another folder or remove it")
    chosen = options or argparse.Namespace()
    allowed = getattr(chosen, "allow_finding", None) or ()
    given = json.dumps({**(params or {}), "arguments": list(args)}, ensure_ascii=False, default=str)
    refuse_secrets(ctx, path.name, (("the parameters", given),), allowed)  # before they are written down
    body = attempt.make_body(ctx, path, chosen, params=params or {}, args=args, timeout_s=timeout_s)
    entry = attempt.source(path)[1]
    dest.mkdir(parents=True, exist_ok=True)
    if params:
        write_atomic(dest / "params.json", json.dumps(params, indent=2, sort_keys=True) + "\n", 0o600)
    started, started_s = ctx.now().isoformat(), ctx.monotonic()
    reply = attempt.push(ctx, body, chosen, max_wait_s)
    ref = Ref("kaggle", reply["owner"], reply["slug"], reply.get("versionNumber") or None)
    ctx.say(f"pushed {ref}  {reply.get('url') or ''}".rstrip(), 1)
    record: dict[str, Any] = {
        "version": 1,
        "source": str(entry.resolve()),
        "source_sha256": file_sha256(entry),
        "params": params or {},
        "started": started,
        "ref": f"{ref.owner}/{ref.slug}",
        "kernel_version": ref.version,
        "url": reply.get("url"),
        "refused_inputs": reply["refused_inputs"],
        "executed_notebook": None,
    }
    limit_s = (timeout_s if timeout_s is not None else LONGEST_SESSION_S) + max_wait_s + MARGIN_S
    status, lines = _follow(ctx, ref, dest, on_event, limit_s)
    verdict = _verdict(status, lines)
    if verdict.status == "error" and body["kernelType"] == "notebook":
        verdict = verdict._replace(cell=_failed_cell(entry, body["text"], lines))
    record |= verdict._asdict() | {"traceback": list(verdict.traceback)}
    return _finish(ctx, ref, dest, record, started_s)


def _finish(ctx: Context, ref: Ref, dest: Path, record: dict[str, Any], started_s: float) -> dict[str, Any]:
    """Fetch the outputs of a session that has ended and write the record, last of all files."""
    output, fault = dest / "output", None
    try:
        record["outputs"] = collect_outputs(ctx, ref, output)
    except KaggError as error:
        fault = error
        record |= {"outputs": error.details.get("files", []), "collection_error": error.message}
        record["outputs_failed"] = error.details.get("failed", {})
        if record["status"] == "complete":
            record |= {"exit": int(error.code), "error": error.message}
    record |= {
        "ended": ctx.now().isoformat(),
        "duration_s": round(ctx.monotonic() - started_s, 6),
        "log": str(dest / "log.jsonl"),
        "output_folder": str(output),
    }
    write_atomic(dest / "result.json", json.dumps(record, indent=2, sort_keys=True) + "\n", 0o600)
    if fault and record["status"] == "complete":
        raise fault
    if fault:
        ctx.say(f"{ref}: {fault.message}", -1)
    return record
