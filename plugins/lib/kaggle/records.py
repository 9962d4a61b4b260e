"""Find kernels and their versions on disk, and say who may see them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from plugins.lib.kaggle.wire import ApiError, from_iso, is_slug, text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from plugins.lib.kaggle.world import World

DENIED = "Permission 'kernels.get' was denied"


class Kernel(NamedTuple):
    """A kernel: its folder and kernel.json."""

    folder: Path
    document: dict[str, Any]

    @property
    def ref(self) -> str:
        """Return "owner/slug"."""
        return f"{self.document['owner']}/{self.document['slug']}"

    @property
    def latest(self) -> int:
        """Return the number of the newest version."""
        return int(self.document["currentVersionNumber"])

    def version_folder(self, number: int) -> Path:
        """Return where version `number` lies."""
        return self.folder / "versions" / str(number)


def every(world: World) -> list[Kernel]:
    """Return all kernels."""
    return [Kernel(folder, document) for folder, document in world.documents("kernels", "kernel.json")]


def get(world: World, owner: str, slug: str) -> Kernel | None:
    """Return a kernel by name, whoever asks."""
    if not (is_slug(owner) and is_slug(slug)):
        return None
    folder = world.folder("kernels", owner, slug)
    document = world.load(folder / "kernel.json")
    return Kernel(folder, document) if document else None


def visible(world: World, user: str | None, kernel: Kernel) -> bool:
    """Tell whether `user` may read it: public or its own, and not in the first seconds that `not_readable` asks for."""
    if kernel.document["owner"] != user and kernel.document["isPrivate"]:
        return False
    readable_at = kernel.document.get("readableAt")
    return readable_at is None or world.clock() >= from_iso(readable_at)


def find(world: World, user: str | None, owner: str, slug: str) -> Kernel:
    """Return a kernel that `user` may read.

    Raises:
        ApiError: 403 for all of missing, private and not readable yet, as the real one answers.
    """
    kernel = get(world, owner, slug)
    if kernel is None or not visible(world, user, kernel):
        raise ApiError(403, DENIED)
    return kernel


def asked(world: World, user: str | None, body: Mapping[str, Any]) -> Kernel:
    """Return the kernel that userName and kernelSlug name."""
    return find(world, user, text(body, "userName") or text(body, "ownerSlug"), text(body, "kernelSlug"))


def own(world: World, user: str | None, body: Mapping[str, Any]) -> Kernel:
    """Return the kernel that userName and kernelSlug name if it is the caller's.

    Raises:
        ApiError: 401 without a user, 403 for another's.
    """
    if user is None:
        raise ApiError(401, "Unauthenticated")
    kernel = asked(world, user, body)
    if kernel.document["owner"] != user:
        raise ApiError(403, "Permission 'kernels.update' was denied")
    return kernel


def version_number(kernel: Kernel, body: Mapping[str, Any]) -> int | None:
    """Return the version that versionLabel names, None without one.

    Raises:
        ApiError: 404, not "v<number>" ("3" is not one either) or no such version.
    """
    label = text(body, "versionLabel")
    if not label:
        return None
    match = re.fullmatch(r"v([1-9]\d{0,8})", label)
    if match is None or not kernel.version_folder(int(match[1])).is_dir():
        raise ApiError(404, f"Version {label} of {kernel.ref} was not found")
    return int(match[1])


def session_of(world: World, kernel: Kernel, number: int | None) -> tuple[int, dict[str, Any]] | None:
    """Return (version, session.json): of version `number`, or of the newest version that was run."""
    for candidate in (number,) if number else range(kernel.latest, 0, -1):
        document = world.load(kernel.version_folder(candidate) / "session.json")
        if document is not None:
            return candidate, document
    return None
