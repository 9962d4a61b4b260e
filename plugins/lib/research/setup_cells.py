"""The first cells of a research notebook: where it runs, packages, credentials, Drive, accelerator.

The texts are cells, not code of this program: they stand alone, and a test runs them.
"""

from __future__ import annotations

PLACE = '''\
import hashlib
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

started_s = time.monotonic()


def find_place():
    """Return "kaggle", "colab" or "jupyter": where this notebook runs."""
    if os.environ.get("KAGGLE_KERNEL_RUN_TYPE"):
        return "kaggle"
    if os.environ.get("COLAB_RELEASE_TAG") or "google.colab" in sys.modules:
        return "colab"
    return "jupyter"


def need(module, requirement):
    """Install a package, only when it is missing."""
    if importlib.util.find_spec(module) is not None:
        return
    print(f"installing {requirement}")
    command = [sys.executable, "-m", "pip", "install", "--quiet", requirement]
    if subprocess.run(command, check=False).returncode:
        raise RuntimeError(
            f"{requirement} is missing and cannot be installed: is the internet on?"
        )
    importlib.invalidate_caches()


place = find_place()
print(f"running on {place}, Python {sys.version.split()[0]}, {os.cpu_count()} CPUs")
need("numpy", "numpy>=1.24")
need("pandas", "pandas>=2.0")
need("sklearn", "scikit-learn>=1.3")
'''

CREDENTIALS = '''\
def of_kaggle_secrets(name):
    """Return a secret that is attached to this notebook on Kaggle (Add-ons, Secrets)."""
    from kaggle_secrets import UserSecretsClient

    return UserSecretsClient().get_secret(name)


def of_colab_userdata(name):
    """Return a secret of Colab (the key in the side bar; switch notebook access on)."""
    from google.colab import userdata

    return userdata.get(name)


def of_configs(name):
    """Return a value of configs/kaggle.json or configs/wandb.md, "" when absent."""
    file_name = "wandb.md" if name.startswith("WANDB_") else "kaggle.json"
    for path in (Path("configs", file_name), Path("/content/configs", file_name)):
        if not path.is_file():
            continue
        try:
            found = fields_in(path)
        except (OSError, ValueError, AttributeError, TypeError) as error:
            # Its text is not shown, it could hold a value.
            print(f"{path} cannot be read ({type(error).__name__})")
            continue
        value = str(found.get(name) or "")
        if value and not value.startswith("YOUR-"):
            return value
    return ""


def fields_in(path):
    """Return the values of a file, by the names of their variables."""
    text = path.read_text(encoding="utf-8")
    if path.name == "kaggle.json":
        fields = json.loads(text)
        return {f"KAGGLE_{key.upper()}": fields[key] for key in fields}
    found = {}
    for line in text.splitlines():
        key, colon, value = line.strip().partition(":")
        if colon and key in ("api_key", "entity", "project"):
            found[f"WANDB_{key.upper()}"] = value.strip()
    return found


def find_secret(name):
    """Put a secret into the environment of this process; return where it was found."""
    sources = {"the environment": os.environ.get, "configs/": of_configs}
    if place == "colab":
        sources = {"Colab userdata": of_colab_userdata, **sources}
    if place == "kaggle":
        sources = {"Kaggle Secrets": of_kaggle_secrets, **sources}
    for source, get in sources.items():
        if source in silent_sources:
            continue
        try:
            value = str(get(name) or "").strip()
        except Exception as error:  # each client has errors of its own
            value = ""
            # Its text is not shown, it could hold a value. Without an answer, no
            # other name is asked for: every question may wait for a minute.
            kind = type(error).__name__
            if "Timeout" in kind or "Connection" in kind or kind == "ImportError":
                silent_sources.add(source)
                print(f"{source} does not answer ({kind})")
        if value:
            os.environ[name] = value
            return source
    return ""


# Values go into the environment of this process, and are never printed or saved.
silent_sources = set()
for secret_name in secret_names:
    print(f"{secret_name:20} {find_secret(secret_name) or 'not found'}")
if not secret_names:
    print("no secrets are asked for")
'''

DRIVE = """\
drive_root = None
if place == "colab":
    from google.colab import drive

    drive.mount("/content/drive")
    drive_root = Path("/content/drive/MyDrive") / drive_folder
    drive_root.mkdir(parents=True, exist_ok=True)
    print(f"results and checkpoints go to {drive_root}")
else:
    print(f"there is no Drive on {place}: results stay on this machine")
"""

ACCELERATOR = '''\
def find_gpus():
    """Return the names of the GPUs that the driver shows, [] without one."""
    try:
        answer = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = answer.stdout.splitlines() if answer.returncode == 0 else []
    return [line.strip() for line in lines if line.strip()]


def find_device():
    """Return "cuda" when torch can really compute on a GPU, else "cpu", and why."""
    if importlib.util.find_spec("torch") is None:
        return "cpu", "torch is not installed"
    import torch

    if not torch.cuda.is_available():
        return "cpu", "torch sees no GPU"
    try:  # a wheel that was built without this GPU fails here, and not in an hour
        torch.ones(8, device="cuda").sum().item()
    except RuntimeError as error:
        return "cpu", f"torch cannot use the GPU: {str(error).splitlines()[0]}"
    return "cuda", torch.cuda.get_device_name(0)


gpus = find_gpus()
device, device_reason = "cpu", "no GPU"
if gpus or engine == "torch":
    device, device_reason = find_device()
print(f"GPU: {', '.join(gpus) or 'none'}; computing on {device} ({device_reason})")
if require_gpu and device != "cuda":
    raise RuntimeError(f"require_gpu is set, but no GPU can be used: {device_reason}")
if device == "cuda" and engine == "sklearn":
    print("note: scikit-learn computes on the CPU; engine = 'torch' uses the GPU")
'''
