"""Count the accelerator hours of an account: what the quota call answers, and when a push is refused for them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from plugins.lib.kaggle.wire import ApiError, compact, duration, from_iso, iso

if TYPE_CHECKING:
    from datetime import datetime

    from plugins.lib.kaggle.world import World

METHOD = "kernels.KernelsApiService/GetAcceleratorQuotaStatistics"
# Reported word for word by several users of the real service in 2026.
REACHED = "Maximum weekly {kind} quota of {hours:.2f} hours reached."


def quota(world: World, user: str | None, _body: dict[str, Any], /) -> dict[str, Any]:
    """Return what this account used of the week's accelerator time and what its live sessions hold back."""
    if user is None:
        raise ApiError(401, "Unauthenticated")
    reply: dict[str, Any] = {"quotaRefreshTime": iso(week_end(world.clock()))}
    exhausted = world.faults.take("quota_exhausted", METHOD) is not None
    for field, kind in (("gpuQuota", "GPU"), ("tpuQuota", "TPU")):
        used_s, reserved_s, ever = spent(world, user, kind)
        allowed_s = world.sessions.limits.week_s(kind)
        used_s = max(used_s, allowed_s) if exhausted else used_s
        fields = {"timeUsed": used_s, "timeReserved": reserved_s, "totalTimeAllowed": allowed_s}
        times = {name: duration(seconds) for name, seconds in fields.items()}
        reply[field] = {**times, **compact({"hasEverRun": ever})}
    return reply


def refusal(world: World, user: str, ref: str, kind: str) -> str:
    """Return the words that refuse a push when no hours are left, "" when it may run."""
    if kind == "CPU":
        return ""
    allowed_s = world.sessions.limits.week_s(kind)
    words = REACHED.format(kind=kind, hours=allowed_s / 3600)
    if fault := world.faults.take("quota_exhausted", ref):
        return str(fault.get("message", words))
    return words if spent(world, user, kind)[0] >= allowed_s else ""


def week_end(now: datetime) -> datetime:
    """Return the next Saturday 00:00 UTC, when the quota starts again."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    days = (5 - midnight.weekday()) % 7  # Monday is 0, Saturday 5
    return midnight + timedelta(days=days or 7)


def spent(world: World, user: str, kind: str) -> tuple[float, float, bool]:
    """Return (seconds used this week, seconds that live sessions may still take, whether there ever was a session)."""
    since = week_end(world.clock()) - timedelta(days=7)
    usage = (world.load(world.root / "usage.json") or {"sessions": []})["sessions"]
    mine = [entry for entry in usage if entry["user"] == user and entry["accelerator"] == kind]
    used_s = sum(float(entry["seconds"]) for entry in mine if from_iso(entry["ended"]) >= since)
    reserved_s = 0.0
    for session in world.sessions.live(user):
        if session.order.accelerator == kind:
            started = session.document.get("started")
            elapsed_s = (world.clock() - from_iso(started)).total_seconds() if started else 0.0
            used_s += elapsed_s
            reserved_s += max(session.order.timeout_s - elapsed_s, 0.0)
    return used_s, reserved_s, bool(mine)
