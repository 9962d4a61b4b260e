"""Make sure in the first seconds that the session has the device that was asked for."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from plugins.lib.launch.in_session_base import StageError, say

SMI_TIMEOUT_S = 60.0
PROBE_TIMEOUT_S = 240.0  # the first import of torch from a cold disk takes most of a minute

# Words of the names that `nvidia-smi -L` prints, and how many such devices a session has: Kaggle's names as in 2026.
GPUS = {
    "NvidiaTeslaT4": ("T4", 2),
    "NvidiaTeslaT4Highmem": ("T4", 1),
    "NvidiaL4": ("L4", 1),
    "NvidiaL4X1": ("L4", 1),
    "NvidiaTeslaA100": ("A100", 1),
    "NvidiaH100": ("H100", 1),
    "NvidiaRtxPro6000": ("RTX PRO 6000", 1),
    "NvidiaTeslaP100": ("P100", 1),
}
# Other names that say a model, between what its maker is called and what is no part of it: NvidiaB200, NvidiaL4X4.
MODEL = re.compile(r"nvidia(?:tesla)?([a-z]+\d\w*?)(?:[1-9]\d{1,2}gb)?(?:sxm\d?|pcie|nvl)?(?:x\d{1,2})?(?:highmem)?")

# A GPU that is there can still be unusable: a torch without code for it fails only at the first kernel.
TORCH_PROBE = """
import torch
if not torch.cuda.is_available():
    raise SystemExit(f"torch {torch.__version__} cannot use it (built for CUDA {torch.version.cuda})")
for number in range(torch.cuda.device_count()):
    assert (torch.ones(8, device=f"cuda:{number}") * 2).sum().item() == 16
"""
TPU_PROBE = """
import importlib.util
if importlib.util.find_spec("jax"):
    import jax
    names = [str(device) for device in jax.devices() if device.platform == "tpu"]
else:
    import torch_xla.core.xla_model as xla
    names = [name for name in xla.get_xla_supported_devices() if xla.xla_device_hw(name) == "TPU"]
print(*names, sep="\\n")
raise SystemExit(0 if names else "no TPU among its devices")
"""
TPU_NODES = ("accel[0-9]*", "vfio/[0-9]*")  # below /dev
TPU_VARIABLES = ("TPU_ACCELERATOR_TYPE", "TPU_NAME", "TPU_WORKER_ID", "TPU_WORKER_HOSTNAMES")


def check_device(device: str, accelerator: str) -> dict[str, Any]:
    """Return {"kind", "accelerator", "found": [names], "simulated"}.

    Raises:
        StageError: the session has something else, or what it has does not work.
    """
    facts: dict[str, Any] = {"kind": device, "accelerator": accelerator, "found": [], "simulated": False}
    simulated = os.environ.get("KAGG_SIMULATED_ACCELERATOR", "")
    if device == "cpu":
        return facts
    if simulated:
        _check_simulated(device, accelerator, simulated)
        say(f"device: {simulated}, simulated")
        return {**facts, "found": [simulated], "simulated": True}
    facts["found"] = _gpus(accelerator) if device == "gpu" else _tpus(accelerator)
    say(f"device: {', '.join(facts['found'])}")
    return facts


def _check_simulated(device: str, accelerator: str, simulated: str) -> None:
    """Hold a simulated device to the same test."""
    is_tpu = simulated.lower().startswith("tpu")
    if is_tpu != (device == "tpu") or (accelerator and accelerator != simulated):
        raise StageError("device", f"wanted {accelerator or device}, found {simulated} (simulated)")


# ---------------------------------------------------------------- GPU


def _gpus(accelerator: str) -> list[str]:
    """Return the names of the GPUs when they are what `accelerator` means and torch, if any, can use them."""
    word, count = GPUS.get(accelerator, ("", 1))
    model = _joined_words(word) or model_of(accelerator)
    wanted = f"wanted {accelerator or 'a GPU'}" + (f" ({count} x {word})" if word else "")
    names, reason = _listed_gpus()
    if not names:
        raise StageError("device", f"{wanted}, found no GPU ({reason})")
    fitting = [name for name in names if _is_model(name, model)] if model else names
    if len(fitting) < count:
        raise StageError("device", f"{wanted}, found {', '.join(names)}")
    if importlib.util.find_spec("torch") is None:
        say("torch is not installed, so no computation was tried on the GPU")
        return names
    fault = _probe(TORCH_PROBE)[1]
    if fault:
        raise StageError("device", f"{wanted}, found {', '.join(names)}, but a first computation failed: {fault}")
    return names


def model_of(accelerator: str) -> str:
    """Return the model that an accelerator's name says, as b200 for NvidiaB200; "" when it says none."""
    found = MODEL.fullmatch(_joined_words(accelerator))
    return found[1] if found else ""


def _joined_words(name: str) -> str:
    return "".join(re.findall(r"[a-z0-9]+", name.lower()))


def _is_model(name: str, model: str) -> bool:
    """Tell whether whole words of a name, without what is between them, are the model: T4 is not found in T400."""
    words = re.findall(r"[a-z0-9]+", name.lower())
    places = range(len(words) + 1)
    return any("".join(words[begin:end]) == model for end in places for begin in range(end))


def _listed_gpus() -> tuple[list[str], str]:
    """Return the names that nvidia-smi lists, or why there are none."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SMI_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        return [], "there is no nvidia-smi"
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], f"nvidia-smi: {error}"
    text = done.stdout.decode("utf-8", "replace")
    names = re.findall(r"(?m)^GPU \d+: (.+?)(?: \(UUID.*)?$", text)
    said = text.strip().splitlines()[-1:] or [f"nvidia-smi ended with {done.returncode}"]
    return ([], said[0][:200]) if done.returncode or not names else (names, "")


def _probe(program: str) -> tuple[list[str], str]:
    """Run a probe in a child process, which can hang or crash; return its lines and what went wrong, "" if nothing."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [], f"no answer within {PROBE_TIMEOUT_S:g} s"
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    if done.returncode:
        return [], (lines or [f"it ended with {done.returncode}"])[-1][:300]
    return done.stdout.decode("utf-8", "replace").split("\n"), ""


# ---------------------------------------------------------------- TPU


def _tpus(accelerator: str) -> list[str]:
    """Return names of what shows that there is a TPU."""
    wanted = f"wanted {accelerator or 'a TPU'}"
    nodes = sorted(str(path) for pattern in TPU_NODES for path in Path("/dev").glob(pattern))
    shown = nodes or [f"{name}={os.environ[name]}" for name in TPU_VARIABLES if os.environ.get(name)]
    libraries = [name for name in ("jax", "torch_xla", "tensorflow") if importlib.util.find_spec(name)]
    if shown:
        if not libraries:
            say("warning: without jax, torch_xla or tensorflow nothing here can use the TPU")
        return shown
    if not {"jax", "torch_xla"} & set(libraries):
        raise StageError("device", f"{wanted}, found no TPU device, and neither jax nor torch_xla to ask for one")
    names, fault = _probe(TPU_PROBE)
    if fault:
        raise StageError("device", f"{wanted}, found no TPU device, and asking for one failed: {fault}")
    return [name for name in names if name]
