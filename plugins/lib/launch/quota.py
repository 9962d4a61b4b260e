"""How much accelerator time an account has left this week, and what a run takes of it."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import KERNELS, KaggError, kaggle_rpc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kagg import Context

FIELDS = {"gpu": "gpuQuota", "tpu": "tpuQuota"}
WEEK_S = 7 * 86400.0


class Share(NamedTuple):
    """One accelerator's week in seconds; `reserved_s` is what live sessions may still take."""

    used_s: float
    reserved_s: float
    allowed_s: float

    @property
    def left_s(self) -> float:
        """What a new run may take."""
        return max(0.0, self.allowed_s - self.used_s - self.reserved_s)


class Quota(NamedTuple):
    """An account's accelerator time: by device, without those that Kaggle says nothing of; `refresh` is ISO or ""."""

    shares: Mapping[str, Share]
    refresh: str

    def left_s(self, device: str) -> float | None:
        """Return the seconds that are left, None when that is not known or, for a CPU, not limited."""
        share = self.shares.get(device)
        return share.left_s if share else None

    def words(self, device: str) -> str:
        """Return "quota left 27.4 h" for people."""
        if device == "cpu":
            return "a CPU takes no quota"
        left_s = self.left_s(device)
        return f"quota left {hours(left_s)}" if left_s is not None else "quota not known"

    def document(self) -> dict[str, Any]:
        """Return it as JSON: {"refresh", "gpu": {"used_s", "reserved_s", "allowed_s", "left_s"}, "tpu": ...}."""
        shares = {device: share._asdict() | {"left_s": share.left_s} for device, share in self.shares.items()}
        return {"refresh": self.refresh, **shares}


class Cost(NamedTuple):
    """What a run takes of the quota in seconds: at worst, and in the end (None while it is not over)."""

    device: str
    reserved_s: float
    used_s: float | None = None

    def words(self) -> str:
        """Return it for people."""
        if self.device == "cpu":
            return "a CPU takes no quota"
        kind = self.device.upper()
        if self.used_s is None:
            return f"at most {hours(self.reserved_s)} of {kind} quota"
        return f"{hours(self.used_s)} of {kind} quota used"

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return self._asdict()


def hours(seconds: float) -> str:
    """Return hours for people; short times keep their digits."""
    number = seconds / 3600
    return f"{number:.1f} h" if number >= 1 or not number else f"{number:.2f} h"


def read(ctx: Context) -> Quota:
    """Ask Kaggle for the account's quota.

    Raises:
        KaggError: as `kaggle_rpc` does.
    """
    reply = kaggle_rpc(ctx, KERNELS + "GetAcceleratorQuotaStatistics", {})
    found = {device: share for device, field in FIELDS.items() if (share := _share(reply.get(field)))}
    return Quota(found, _moment(reply.get("quotaRefreshTime")))


def read_or_none(ctx: Context) -> Quota | None:
    """Return the quota; without an answer say so, and let Kaggle decide whether a run may start."""
    try:
        return read(ctx)
    except KaggError as error:
        ctx.say(f"the quota is not known: {error.message}")
        return None


def from_document(document: Mapping[str, Any]) -> Quota:
    """Return what `Quota.document` gave."""
    shares = {
        device: Share(*(float(document[device][name]) for name in Share._fields))
        for device in FIELDS
        if document.get(device)
    }
    return Quota(shares, str(document.get("refresh") or ""))


def _share(value: object) -> Share | None:
    """Read one ApiAcceleratorQuota; None where it says nothing, as for an account without a verified phone number.

    The server leaves out what is zero; what cannot be read is not taken for zero.
    """
    if not isinstance(value, dict):
        return None
    names = ("timeUsed", "timeReserved", "totalTimeAllowed")
    used_s, reserved_s, allowed_s = (_seconds(value.get(name)) for name in names)
    if used_s is None or reserved_s is None or not allowed_s:
        return None
    return Share(used_s, reserved_s, allowed_s)


def _seconds(value: object) -> float | None:
    """Read a duration, "108000.000s" or a number of seconds; None when it is neither."""
    if value is None:
        return 0.0
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,12}(\.\d{1,9})?s?", value.strip(), re.ASCII):
        value = float(value.strip().removesuffix("s"))
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return min(max(0.0, float(value)), 100 * WEEK_S)


def _moment(value: object) -> str:
    """Return a time in ISO 8601 as it came, "" when it is none."""
    try:
        return value if isinstance(value, str) and datetime.fromisoformat(value) else ""
    except ValueError:
        return ""


def cost(device: str, limit_s: float, *, started: str = "", ended: str = "") -> Cost:
    """Return what a run takes: `limit_s` at worst; measured from the session's own times (ISO) once it is over.

    Waiting for a machine is free, so the times are those of session_summary.json, not of the push.
    """
    if device == "cpu":
        return Cost(device, 0.0, 0.0 if ended else None)
    return Cost(device, limit_s, elapsed_s(started, ended))


def elapsed_s(started: str, ended: str) -> float | None:
    """Return the seconds between two times in ISO 8601, None when one is missing or no time."""
    try:
        return max(0.0, (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds())
    except (ValueError, TypeError):
        return None
