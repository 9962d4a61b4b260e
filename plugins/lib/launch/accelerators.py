"""Choose what a session runs on: which names Kaggle knows, which it retired, and how long a session may last.

Names and limits: the official client's source (version 2.2.5) and kaggle.com/docs/notebooks, looked up in 2026. The
server takes a name that it does not know without a word, so the session itself looks what it got, as far as the name
says which GPU it means.
"""

from __future__ import annotations

import difflib
import re
from typing import Any, NamedTuple

from kagg import KaggError, bad_input
from plugins.lib.launch.in_session_device import model_of

DEVICES = ("cpu", "gpu", "tpu")
DEFAULTS = {"cpu": "", "gpu": "NvidiaTeslaT4", "tpu": "TpuV5E8"}
SESSION_LIMITS_S = {"cpu": 12 * 3600.0, "gpu": 12 * 3600.0, "tpu": 9 * 3600.0}
SLOTS = {"CPU": 5, "GPU": 2, "TPU": 1}  # sessions at once for one account, queued ones count; seen in 2026
SPECIAL = "for some competitions or accounts"
KNOWN = {
    "NvidiaTeslaT4": "two T4 of 16 GB each",
    "TpuV5E8": "eight TPU v5e cores",
    "NvidiaL4": SPECIAL,
    "NvidiaL4X1": SPECIAL,
    "NvidiaTeslaA100": SPECIAL,
    "NvidiaH100": SPECIAL,
    "NvidiaRtxPro6000": SPECIAL,
    "NvidiaTeslaT4Highmem": SPECIAL,
    "TpuV6E8": SPECIAL,
}
# As the official client maps them; "" is the CPU.
RETIRED = {
    "NvidiaTeslaP100": "NvidiaTeslaT4",
    "TpuV38": "TpuV5E8",
    "Tpu1VmV38": "TpuV5E8",
    "TpuV232": "",
    "TpuV2256": "",
}
# What people write; compared without case, hyphens, blanks and underscores.
SHORT = {
    "t4": "NvidiaTeslaT4",
    "t4x2": "NvidiaTeslaT4",
    "nvidiat4": "NvidiaTeslaT4",
    "p100": "NvidiaTeslaP100",
    "nvidiap100": "NvidiaTeslaP100",
    "l4": "NvidiaL4",
    "l4x1": "NvidiaL4X1",
    "a100": "NvidiaTeslaA100",
    "nvidiaa100": "NvidiaTeslaA100",
    "h100": "NvidiaH100",
    "v5e8": "TpuV5E8",
    "v6e8": "TpuV6E8",
    "v38": "TpuV38",
    "gpu": "NvidiaTeslaT4",
    "tpu": "TpuV5E8",
}


class Choice(NamedTuple):
    """What a session runs on: device cpu, gpu or tpu; Kaggle's name of it ("" = CPU); which slots it takes; a note."""

    device: str
    accelerator: str
    slot: str
    note: str = ""


def _key(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.lower())


def _spelled() -> dict[str, str]:
    return {**SHORT, **{_key(name): name for name in (*KNOWN, *RETIRED)}}


def device_of(name: str) -> str:
    """Return the device that an accelerator's name stands for, "" when the name does not tell."""
    if _key(name) in ("", "cpu", "none"):
        return "cpu"
    return "tpu" if _key(name).startswith("tpu") else "gpu" if re.search(r"(?i)nvidia|gpu", name) else ""


def choose(device: str | None = None, accelerator: str | None = None) -> Choice:
    """Return what to ask Kaggle for; `note` is for the user, "" when there is nothing to say.

    Raises:
        KaggError: USAGE when the two contradict each other, or one is no name at all.
    """
    device = device.lower() if device else None
    if device not in (None, *DEVICES):
        raise bad_input(f"{str(device)[:40]!r} is no device", f"one of {', '.join(DEVICES)}")
    if not (accelerator or "").strip():
        return _choice(device or "cpu", DEFAULTS[device or "cpu"], "")
    given = str(accelerator).strip()
    if not re.fullmatch(r"[A-Za-z0-9][\w -]{0,63}", given, re.ASCII):
        raise bad_input(f"{given[:64]!r} is no accelerator", "see: python kagg.py info")
    name, note = _resolved(given, device)
    found = device_of(name) or device or "gpu"
    if device and found != device:
        raise _contradiction(device, given, name, found)
    return _choice(found, name, note)


def _choice(device: str, accelerator: str, note: str) -> Choice:
    return Choice(device, accelerator, device.upper(), note)


def _resolved(given: str, device: str | None) -> tuple[str, str]:
    """Return Kaggle's name for what the user wrote ("" = CPU) and what to say about it."""
    if device_of(given) == "cpu":
        return "", ""
    spelled = _spelled()
    name = spelled.get(_key(given))
    if name in RETIRED:
        return RETIRED[name], f"{name} was retired; Kaggle gives {RETIRED[name] or 'a CPU'} instead"
    if name:
        return name, ""
    near = difflib.get_close_matches(_key(given), spelled, 1, 0.8)
    hint = f"; did you mean {spelled[near[0]]}?" if near else ""
    kind = (device_of(given) or device or "gpu").upper()
    model = model_of(given).upper() if kind == "GPU" else ""
    check = f"goes on only with a GPU that is a {model}" if model else f"checks only that there is a {kind}"
    return given, f"{given} is not known here, and Kaggle takes unknown names silently; the session {check}{hint}"


def _contradiction(device: str, given: str, name: str, found: str) -> KaggError:
    if not name and device_of(given) != "cpu":
        hint = f"for a {device.upper()}: --accelerator {DEFAULTS[device]}" if device != "gpu" else "leave it out"
        return bad_input(f"{given} was retired, and Kaggle gives a CPU instead, not --device {device}", hint)
    return bad_input(f"{given} is a {found.upper()}, and --device says {device}", "give one of the two")


def session_limit_s(device: str) -> float:
    """Return the longest that Kaggle lets a session run, in seconds."""
    return SESSION_LIMITS_S[device]


def rows() -> list[dict[str, Any]]:
    """Return what `info` shows: the accelerators with device, longest session in hours, and what they are."""
    found = [{"name": "", "device": "cpu", "limit_h": SESSION_LIMITS_S["cpu"] / 3600, "about": "the default"}]
    for name, about in KNOWN.items():
        default = f"default for --device {device_of(name)}; " if name in DEFAULTS.values() else ""
        limit_h = SESSION_LIMITS_S[device_of(name)] / 3600
        found.append({"name": name, "device": device_of(name), "limit_h": limit_h, "about": default + about})
    for name, now in RETIRED.items():
        about = f"retired; Kaggle gives {now or 'a CPU'}"
        device = device_of(now)
        found.append({"name": name, "device": device, "limit_h": SESSION_LIMITS_S[device] / 3600, "about": about})
    return found
