"""Say how a kernel's session stands, or wait for its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kagg import KERNELS, LIVE_STATES, Exit, KaggError, kaggle_rpc, kernel_status, parse_duration
from plugins.lib.kaggle.logstream import wait_for_end
from plugins.lib.kaggle.session import named_kernel

if TYPE_CHECKING:
    import argparse

    from kagg import Context, KernelStatus, Ref

PLUGIN = {"api": 1, "summary": "say how a kernel's session stands, or wait for its end", "requires": {}}

GOOD = ("COMPLETE", "QUEUED", "RUNNING", "NEW_SCRIPT")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `status`."""
    parser.add_argument("ref", help="owner/slug[/vN], or a slug of yours")
    parser.add_argument("--wait", action="store_true", help="wait until the session is over")
    parser.add_argument("--max-wait", default="12h", help="with --wait: fail after this long (default: %(default)s)")


def run(args: argparse.Namespace, ctx: Context) -> int:
    """Print the state; exit 1 when the session failed or was cancelled, or when --max-wait is over."""
    limit_s = parse_duration(args.max_wait)
    ref = named_kernel(ctx, args.ref)
    if args.wait:
        status = wait_for_end(
            ctx, ref, until_s=ctx.monotonic() + limit_s, on_status=lambda seen: ctx.progress({"state": seen.state})
        )
    else:
        status = kernel_status(ctx, ref)
    ref = ref if ref.version else ref._replace(version=_newest(ctx, ref))
    ctx.emit(_document(ref, status), _line(ref, status))
    if args.wait and status.state in LIVE_STATES:
        raise KaggError(f"{ref} is still {status.state.lower()} after {args.max_wait}", hint="give a longer --max-wait")
    return Exit.DONE if status.state in GOOD else Exit.FAILED


def _newest(ctx: Context, ref: Ref) -> int | None:
    """Return the newest version, whose session a status without a version is about; None where it cannot be read."""
    try:
        reply = kaggle_rpc(ctx, KERNELS + "GetKernel", ref.body())
    except KaggError:
        return None  # the state is what was asked for, and is known
    return int((reply.get("metadata") or {}).get("currentVersionNumber") or 0) or None


def _line(ref: Ref, status: KernelStatus) -> str:
    name = f"{ref.owner}/{ref.slug}" + (f" v{ref.version}" if ref.version else "")
    return f"{name}: {status.state.lower()}" + (f"\n{status.message}" if status.message else "")


def _document(ref: Ref, status: KernelStatus) -> dict[str, Any]:
    document = {"ref": f"{ref.owner}/{ref.slug}", "version": ref.version}
    return {**document, "state": status.state, "message": status.message, "live": status.state in LIVE_STATES}
