"""Small calls about sessions that several commands share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kagg import KERNELS, Exit, KaggError, Ref, bad_input, get_kernel, kaggle_rpc, kaggle_user, parse_ref, service_error

if TYPE_CHECKING:
    from kagg import Context


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


def delete_kernel(ctx: Context, ref: Ref, *, patience_s: float = 0.0) -> None:
    """Delete a kernel with all versions; a session that runs is stopped at once. One that is gone already is fine.

    A new kernel answers 403 for seconds, which `patience_s` waits for.
    """
    until_s = ctx.monotonic() + patience_s
    while True:
        try:
            reply = kaggle_rpc(ctx, KERNELS + "DeleteKernel", {"userName": ref.owner, "kernelSlug": ref.slug})
            break
        except KaggError as error:
            if error.details.get("status") == 404:
                return
            if error.details.get("status") != 403:
                raise
            if ctx.monotonic() >= until_s:
                if _is_absent(ctx, ref):  # an earlier call whose reply was lost did it
                    return
                raise
        ctx.sleep(ctx.random.uniform(1.0, 2.0))
    if message := str(reply.get("errorMessage") or ""):
        raise service_error(f"Kaggle did not delete {ref}: {message}")


def _is_absent(ctx: Context, ref: Ref) -> bool:
    """Tell whether a kernel cannot be read, either."""
    try:
        get_kernel(ctx, ref)
    except KaggError as error:
        return error.details.get("status") in (403, 404) and error.code == Exit.SERVICE
    return False
