"""SaveKernel: check a push as Kaggle does, store a version, and run it."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from kagg import write_atomic
from plugins.lib.kaggle import attach, quotas, records
from plugins.lib.kaggle.records import Kernel
from plugins.lib.kaggle.sessions import Order
from plugins.lib.kaggle.wire import ApiError, flag, is_slug, iso, names, number, slugify, text
from plugins.lib.launch.accelerators import DEFAULTS, RETIRED

if TYPE_CHECKING:
    from plugins.lib.kaggle.attach import Inputs
    from plugins.lib.kaggle.sessions import Limits
    from plugins.lib.kaggle.world import World

MAX_SOURCE_BYTES = 1_000_000  # 933,761 bytes pass, 1,141,256 get 400 without a body
LANGUAGES = ("python", "r", "rmarkdown")
TYPES = ("script", "notebook")
INVALID = (
    "invalidTags",
    "invalidDatasetSources",
    "invalidCompetitionSources",
    "invalidKernelSources",
    "invalidModelSources",
)
TEXTS = ("machineShape", "dockerImage", "dockerImagePinningType")
TAG = re.compile(r"[a-z0-9][a-z0-9 &'-]*")


class RefusedError(Exception):
    """The push was understood and refused: HTTP 200 with this text in `error`; its source may be `stored` even so."""

    def __init__(self, message: str, *, stored: bool = False) -> None:
        super().__init__(message)
        self.stored = stored


def save_kernel(world: World, user: str | None, body: dict[str, Any], /) -> dict[str, Any]:
    """Save a version and, unless asked not to, run it."""
    if user is None:
        raise ApiError(401, "Unauthenticated")
    source, settings = text(body, "text"), _settings(body)
    _check_source(source, settings)
    if settings["enableInternet"] and attach.forbid_internet(world, settings["competitionDataSources"]):
        raise ApiError(400, "Internet access is not allowed with these competition data sources")
    with world.lock:  # the check for a free slot and the start are one step
        try:
            kernel = _target(world, user, body, settings)
            wants_run = text(body, "kernelExecutionType", "SAVE_AND_RUN_ALL") in ("", "SAVE_AND_RUN_ALL")
            if wants_run:
                _make_room(world, kernel, settings)
        except RefusedError as refusal:
            if refusal.stored:
                _store(world, kernel, source, settings)
            return _reply(error=str(refusal), ref=None, url=None, versionNumber=None, kernelId=None)
        inputs = attach.resolve(world, user, settings)
        version = _store(world, kernel, source, settings)
        if wants_run:
            timeout_s = number(body, "sessionTimeoutSeconds")
            world.sessions.start(_order(kernel, version, world.sessions.limits, inputs, timeout_s))
    place = f"/code/{kernel.ref}"
    bad_tags = [tag for tag in settings["categoryIds"] if not TAG.fullmatch(tag)]
    invalid = {"invalidTags": bad_tags, **inputs.invalid}
    url = f"https://www.kaggle.com{place}"
    return _reply(ref=place, url=url, versionNumber=version, error="", kernelId=kernel.document["id"], **invalid)


def _reply(**fields: Any) -> dict[str, Any]:
    """Return a push reply: the one reply that always carries all its fields."""
    return {"ref": None, "url": None, "versionNumber": None, "error": "", **{name: [] for name in INVALID}, **fields}


def _settings(body: dict[str, Any]) -> dict[str, Any]:
    """Return what is stored with a version: KernelMetadata's fields."""
    return {
        "language": text(body, "language", "python"),
        "kernelType": text(body, "kernelType", "script"),
        "isPrivate": flag(body, "isPrivate", default=True),
        "enableGpu": flag(body, "enableGpu"),
        "enableTpu": flag(body, "enableTpu"),
        "enableInternet": flag(body, "enableInternet"),
        "categoryIds": names(body, "categoryIds"),
        **{field: names(body, field) for field in attach.SOURCES},
        **{field: text(body, field) for field in TEXTS},
    }


def _check_source(source: str, settings: dict[str, Any]) -> None:
    """Refuse what the real one refuses before it looks at the kernel.

    Raises:
        ApiError: 400 without a body (size), 400 (words it does not know), 500 (a cell's source that is a list).
    """
    if len(source.encode("utf-8", "replace")) > MAX_SOURCE_BYTES:
        raise ApiError(400, "source is too long", {})
    if settings["language"] not in LANGUAGES or settings["kernelType"] not in TYPES:
        raise ApiError(400, f"Invalid language or kernelType: {settings['language']}, {settings['kernelType']}")
    if "utility-script" in settings["categoryIds"] and settings["competitionDataSources"]:
        raise ApiError(400, "Utility scripts cannot have competition data sources")
    if settings["kernelType"] == "notebook":
        _check_notebook(source)


def _check_notebook(source: str) -> None:
    """Refuse text that is no notebook, and sources that are lists: #574 in Kaggle/kaggle-cli."""
    try:
        notebook = json.loads(source)
        sources = [cell["source"] for cell in notebook["cells"]]
    except (ValueError, TypeError, KeyError) as error:
        raise ApiError(400, "Invalid notebook") from error
    if not all(isinstance(cell, str) for cell in sources):
        raise ApiError(500, "Internal error")


def _target(world: World, user: str, body: dict[str, Any], settings: dict[str, Any]) -> Kernel:
    """Return the kernel that gets the new version: by id, else by slug, else a new one named after its title.

    Raises:
        RefusedError: somebody else's, unknown, or a title that is taken.
    """
    kernel = _existing(world, user, body)
    if kernel is None:
        return _create(world, user, body, settings)
    for field in ("language", "kernelType"):
        if kernel.document[field] != settings[field]:
            raise RefusedError(
                f"{field} of {kernel.ref} is {kernel.document[field]} and cannot become {settings[field]}"
            )
    return kernel


def _existing(world: World, user: str, body: dict[str, Any]) -> Kernel | None:
    """Return the kernel that the body names by id or slug, None if it is to be created."""
    wanted = number(body, "id")
    if wanted:
        for kernel in records.every(world):
            if kernel.document["id"] == wanted and kernel.document["owner"] == user:
                return kernel
        raise RefusedError("Kernel not found")
    owner, _, slug = text(body, "slug").rpartition("/")
    if (owner or user) != user:
        raise RefusedError("Notebook not found")
    return records.get(world, user, slug)


def _create(world: World, user: str, body: dict[str, Any], settings: dict[str, Any]) -> Kernel:
    """Make the document of a new kernel, written with its first version. Its slug is the title's."""
    title = text(body, "newTitle").strip()
    slug = slugify(title)
    if not is_slug(slug):
        raise RefusedError("Notebook not found")
    if records.get(world, user, slug) is not None:
        raise RefusedError(
            f'The requested title "{title}" is already in use by a notebook. Please choose another title.'
        )
    document = {
        "id": world.next_id(),
        "owner": user,
        "slug": slug,
        "title": title,
        "created": iso(world.clock()),
        "currentVersionNumber": 0,
        **settings,
    }
    if fault := world.faults.take("not_readable", f"{user}/{slug}"):
        document["readableAt"] = iso(world.clock() + timedelta(seconds=fault.get("seconds", 5)))
    return Kernel(world.folder("kernels", user, slug), document)


def accelerator(settings: dict[str, Any]) -> str:
    """Return which slots and quota a session uses: CPU, GPU or TPU."""
    shape = settings["machineShape"].lower()
    if settings["enableTpu"] or shape.startswith("tpu"):
        return "TPU"
    return "GPU" if settings["enableGpu"] or shape.startswith("nvidia") else "CPU"


def machine(settings: dict[str, Any]) -> str:
    """Return the name of the accelerator that a session gets, "" for none."""
    kind = accelerator(settings)
    shape = settings["machineShape"] or DEFAULTS[kind.lower()]
    return "" if kind == "CPU" else RETIRED.get(shape, shape)


def _make_room(world: World, kernel: Kernel, settings: dict[str, Any]) -> None:
    """Check that hours and a slot are left; queued sessions count.

    Raises:
        RefusedError: the week's hours are used up, or all slots are taken.
    """
    kind, limits = accelerator(settings), world.sessions.limits
    taken = f"Maximum batch {kind} session count of {limits.slots(kind)} reached."
    if words := quotas.refusal(world, kernel.document["owner"], kernel.ref, kind):
        raise RefusedError(words)
    if fault := world.faults.take("slots_full", kernel.ref):
        raise RefusedError(str(fault.get("message", taken)), stored=bool(fault.get("store", False)))
    live = world.sessions.live(kernel.document["owner"])
    if limits.push_supersedes:
        for session in [session for session in live if session.order.slug == kernel.document["slug"]]:
            session.stop("CANCEL_ACKNOWLEDGED", "")
            live.remove(session)
    used = sum(session.order.accelerator == kind for session in live)
    if used >= limits.slots(kind):
        raise RefusedError(taken)


def _store(world: World, kernel: Kernel, source: str, settings: dict[str, Any]) -> int:
    """Write the new version and then the kernel that points to it; return its number."""
    version = kernel.latest + 1
    folder = kernel.version_folder(version)
    (folder / "output").mkdir(parents=True)
    write_atomic(folder / "source", source.encode("utf-8", "replace"))
    world.save(folder / "version.json", {"number": version, **settings})
    kernel.document.update(settings, currentVersionNumber=version, lastRunTime=iso(world.clock()))
    world.save(kernel.folder / "kernel.json", kernel.document)
    return version


def _order(kernel: Kernel, version: int, limits: Limits, inputs: Inputs, timeout_s: int) -> Order:
    """Return what the session is to run; a timeout in the push can only shorten the limit."""
    kind = accelerator(kernel.document)
    longest_s = limits.longest_s(kind)
    return Order(
        owner=kernel.document["owner"],
        slug=kernel.document["slug"],
        folder=kernel.version_folder(version),
        accelerator=kind,
        machine=machine(kernel.document),
        timeout_s=min(timeout_s, longest_s) if timeout_s > 0 else longest_s,
        language=kernel.document["language"],
        kernel_type=kernel.document["kernelType"],
        inputs=inputs.mounts,
    )
