"""Find the keys of Kaggle and Weights & Biases: Kaggle Secrets, Colab userdata, the environment, uploaded configs/.

Values go from here to `store` and to the two servers only; `kagg.redact` knows each of them before anything is said.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kagg import Exit, KaggError, bad_input, keep_secret, read_secret, read_secret_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kagg import Context

SERVICES = ("kaggle", "wandb")
TOKEN = r"[A-Za-z0-9][A-Za-z0-9._~+/=-]{7,1023}"  # noqa: S105 - the shape of a token, RFC 6750 section 2.1
USER = r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}"
NAMES = {"kaggle": ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"), "wandb": ("WANDB_API_KEY",)}
WANDB_FIELDS = {"api_key": "WANDB_API_KEY", "entity": "WANDB_ENTITY", "project": "WANDB_PROJECT"}
COLAB_FOLDER = Path("/content")


class Key(NamedTuple):
    """A key and where it was found. `kind` is token, pair (user name and key) or wandb."""

    kind: str
    source: str
    value: str
    username: str = ""


class Source(NamedTuple):
    """A place that knows some names; `get` returns "" for others and raises what its client raises."""

    name: str
    get: Callable[[str], str]


class Search:
    """One search through all places; `notes` says why a place gave nothing, without any value."""

    def __init__(self, ctx: Context, folder: Path | None) -> None:
        self.ctx, self.folder = ctx, folder
        self.place = find_place(ctx)
        self.notes: list[str] = []
        self.silent: set[str] = set()

    def sources(self) -> list[Source]:
        """Return the places in the order in which they are asked; a folder that was named comes first."""
        found = [Source("environment", self._of_environment)]
        if self.place == "colab":
            found.insert(0, Source("Colab userdata", _of_userdata))
        if self.place == "kaggle":
            found.insert(0, Source("Kaggle Secrets", _of_kaggle_secrets))
        if self.folder:
            return [_of_folder(self.ctx, self.folder), *found]
        folders = dict.fromkeys(
            path.resolve() for path in (Path("configs"), self.ctx.configs, COLAB_FOLDER / "configs")
        )
        return found + [_of_folder(self.ctx, folder) for folder in folders if folder.is_dir()]

    def keys(self, service: str) -> Iterator[Key]:
        """Yield the keys of a service, the first one first."""
        for source in self.sources():
            values = {name: self._ask(source, name) for name in NAMES[service]}
            yield from _keys(source.name, values)

    def setting(self, name: str) -> str:
        """Return what is no secret, such as WANDB_ENTITY, from the first place that has it."""
        found = (self._ask(source, name, r"[\w.-]{1,128}") for source in self.sources())
        return next((value for value in found if value), "")

    def _of_environment(self, name: str) -> str:
        """Return a variable; KAGGLE_API_TOKEN may be the path of a file that holds the token."""
        value = (self.ctx.env.get(name) or "").strip()
        if name == "KAGGLE_API_TOKEN" and 0 < len(value) < 1024 and os.path.isfile(value):  # noqa: PTH113 - never raises
            return read_secret(self.ctx, Path(value))
        return value

    def _ask(self, source: Source, name: str, shape: str = "") -> str:
        """Return a value of one place, "" when there is none that can be a key."""
        if source.name in self.silent:
            return ""
        try:
            value = str(source.get(name) or "").strip()
        except KaggError as error:
            self._note(f"{source.name}: {error.message}")  # of one file: the others of the folder are still asked
            return ""
        except Exception as error:  # noqa: BLE001 - clients that are not ours, with errors of their own
            self._explain(source.name, name, type(error).__name__)
            return ""
        if not value or value.startswith("YOUR-"):  # the example files say YOUR-KEY
            return ""
        if not re.fullmatch(shape or (USER if name.endswith("USERNAME") else TOKEN), value):
            self._note(f"{source.name}: what {name} holds cannot be one; it is not used")
            return ""
        return value if shape or name.endswith("USERNAME") else keep_secret(value)

    def _explain(self, source: str, name: str, kind: str) -> None:
        """Note an error by the name of its class: its text is not ours and could hold anything."""
        if kind in ("SecretNotFoundError", "BackendError", "ValidationError"):
            return
        if kind == "NotebookAccessError":
            self._note(f"{source}: this notebook has no access to {name}; switch it on in the side bar")
            return
        self.silent.add(source)
        self._note(f"{source} does not answer ({kind}); inside a notebook write: %run kagg.py colab-setup")

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def find_place(ctx: Context) -> str:
    """Return "kaggle", "colab" or "computer"."""
    if ctx.env.get("KAGGLE_KERNEL_RUN_TYPE"):
        return "kaggle"
    return "colab" if ctx.env.get("COLAB_RELEASE_TAG") or "google.colab" in sys.modules else "computer"


def _of_userdata(name: str) -> str:
    return str(importlib.import_module("google.colab.userdata").get(name) or "")


def _of_kaggle_secrets(name: str) -> str:
    client = importlib.import_module("kaggle_secrets").UserSecretsClient()
    return str(client.get_secret(name) or "")


def mount_drive() -> str:
    """Mount Drive where Colab's own examples do, and return the folder; the errors are the client's."""
    point = str(COLAB_FOLDER / "drive")
    importlib.import_module("google.colab.drive").mount(point)
    return f"{point}/MyDrive"


def _of_folder(ctx: Context, folder: Path) -> Source:
    """Return a folder with kaggle.json, access_token or wandb.md, each read when it is first asked for."""

    def get(name: str) -> str:
        if name.startswith("WANDB"):
            return _wandb_fields(ctx, folder).get(name, "")
        if name == "KAGGLE_API_TOKEN":
            return read_secret(ctx, folder / "access_token")
        fields = read_secret_json(ctx, folder / "kaggle.json")
        return str(fields.get(name.removeprefix("KAGGLE_").lower()) or "")

    return Source(f"{folder}", get)


def _wandb_fields(ctx: Context, folder: Path) -> dict[str, str]:
    """Read wandb.md: lines such as `api_key: VALUE` between any others."""
    found = {}
    for line in read_secret(ctx, folder / "wandb.md").splitlines():
        key, colon, value = line.strip().lstrip("-* ").partition(":")
        if colon and key.strip() in WANDB_FIELDS and value.strip():
            found[WANDB_FIELDS[key.strip()]] = value.strip().strip("`\"'")
    return found


def _keys(source: str, values: dict[str, str]) -> Iterator[Key]:
    """Yield the keys that a place's values make."""
    if values.get("WANDB_API_KEY"):
        yield Key("wandb", source, values["WANDB_API_KEY"])
    token, username, key = (values.get(name, "") for name in NAMES["kaggle"])
    if not token and key.startswith("KGAT_"):  # a token is no key of a pair; clients would send it wrongly
        token, key = key, ""
    if token:
        yield Key("token", source, token)
    if username and key:
        yield Key("pair", source, key, username)


def check_folder(folder: Path | None) -> None:
    """Refuse a --from that is no folder, or holds nothing that we know."""
    if folder is None:
        return
    if not folder.is_dir():
        raise bad_input(f"--from {folder} is no folder", "upload configs/ with kaggle.json or wandb.md")
    known = ("kaggle.json", "access_token", "wandb.md")
    with contextlib.suppress(OSError):
        if not any((folder / name).exists() for name in known):
            hint = "see kaggle.example.json and wandb.example.md in configs/"
            raise KaggError(f"{folder} holds none of {', '.join(known)}", code=Exit.CONFIG, hint=hint)
