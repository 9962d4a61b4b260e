"""Answer the kernel calls: list, pull, delete, cancel; pushing is in saving.py, what a run leaves in outputs.py."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

from plugins.lib.kaggle import outputs, quotas, records, saving
from plugins.lib.kaggle.wire import ApiError, compact, number, page, text

if TYPE_CHECKING:
    from plugins.lib.kaggle.records import Kernel
    from plugins.lib.kaggle.wire import RPC
    from plugins.lib.kaggle.world import World

SERVICE = "kernels.KernelsApiService"
SHOWN = (
    *(
        "id",
        "title",
        "slug",
        "lastRunTime",
        "language",
        "kernelType",
        "isPrivate",
        "enableGpu",
        "enableTpu",
        "enableInternet",
    ),
    *("categoryIds", "datasetDataSources", "kernelDataSources", "competitionDataSources", "modelDataSources"),
    *("totalVotes", "currentVersionNumber", "dockerImage", "machineShape"),
)


def _metadata(kernel: Kernel, settings: dict[str, Any]) -> dict[str, Any]:
    """Return KernelMetadata. `author` is a display name, as Kaggle's is: never build a ref from it."""
    document = {**kernel.document, **settings}
    author = kernel.document["owner"].replace("-", " ").title()
    return compact({"ref": kernel.ref, "author": author, **{field: document.get(field) for field in SHOWN}})


def list_kernels(world: World, user: str | None, body: dict[str, Any], /) -> dict[str, Any]:
    """List kernels: public ones, and one's own with group PROFILE or when asked for by user name."""
    kernels = [
        kernel
        for kernel in records.every(world)
        if records.visible(world, user, kernel) and _wanted(kernel, user, body)
    ]
    field = "created" if text(body, "sortBy") == "DATE_CREATED" else "lastRunTime"  # here nothing has votes or views
    kernels.sort(key=lambda kernel: (kernel.document[field], kernel.document["id"]), reverse=True)
    shown, following = page(kernels, body, size=20, largest=100)
    return {"kernels": [_metadata(kernel, {}) for kernel in shown], **compact({"nextPageToken": following})}


def _wanted(kernel: Kernel, user: str | None, body: dict[str, Any]) -> bool:
    """Tell whether a kernel passes every filter of the request."""
    document = kernel.document
    owner, group = document["owner"], text(body, "group", "EVERYONE")
    wanted_user, search = text(body, "user"), text(body, "search").lower()
    if group in ("PROFILE", "PUBLIC_AND_USERS_PRIVATE"):
        shown = owner == user or (group != "PROFILE" and not document["isPrivate"])
    else:
        shown = wanted_user == user or not document["isPrivate"]
    sources = {
        "dataset": "datasetDataSources",
        "competition": "competitionDataSources",
        "parentKernel": "kernelDataSources",
    }
    return (
        shown
        and wanted_user in ("", owner)
        and (search in document["title"].lower() or search in kernel.ref)
        and all(text(body, key) in ("", "all", document[key]) for key in ("language", "kernelType"))
        and all(text(body, key) in ("", *document[field]) for key, field in sources.items())
    )


def get_kernel(world: World, user: str | None, body: dict[str, Any], /) -> dict[str, Any]:
    """Return the source and metadata of the newest version, or of the one that versionLabel names."""
    kernel = records.asked(world, user, body)
    version = records.version_number(kernel, body) or kernel.latest
    folder = kernel.version_folder(version)
    settings = {**(world.load(folder / "version.json") or {}), "currentVersionNumber": version}
    blob = {"source": (folder / "source").read_text(encoding="utf-8"), "slug": kernel.document["slug"]}
    blob |= {"language": kernel.document["language"], "kernelType": kernel.document["kernelType"]}
    return {"metadata": _metadata(kernel, settings), "blob": compact(blob)}


def delete_kernel(world: World, user: str | None, body: dict[str, Any], /) -> dict[str, Any]:
    """Stop the kernel's sessions, then remove it with everything it left."""
    kernel = records.own(world, user, body)
    live = [session for session in world.sessions.live(user) if session.order.folder.is_relative_to(kernel.folder)]
    world.sessions.end(live, "CANCEL_ACKNOWLEDGED", "")
    with world.lock:
        shutil.rmtree(kernel.folder, ignore_errors=True)
        world.forget(kernel.folder)
    return {}


def cancel_session(world: World, user: str | None, body: dict[str, Any], /) -> dict[str, Any]:
    """Stop a live session of one's own by its id, which only the URLs of outputs show."""
    session = world.sessions.find(number(body, "kernelSessionId"))
    if session is None or session.order.owner != user:
        raise ApiError(404, "Session was not found")
    session.cancel()
    return {}


METHODS: dict[str, RPC] = {
    f"{SERVICE}/ListKernels": list_kernels,
    f"{SERVICE}/GetKernel": get_kernel,
    f"{SERVICE}/SaveKernel": saving.save_kernel,
    f"{SERVICE}/DeleteKernel": delete_kernel,
    f"{SERVICE}/CancelKernelSession": cancel_session,
    f"{SERVICE}/GetKernelSessionStatus": outputs.session_status,
    f"{SERVICE}/GetKernelSessionLogsStream": outputs.logs_stream,
    f"{SERVICE}/ListKernelSessionOutput": outputs.list_session_output,
    f"{SERVICE}/ListKernelFiles": outputs.list_files,
    f"{SERVICE}/DownloadKernelOutput": outputs.download_output,
    f"{SERVICE}/DownloadKernelOutputZip": outputs.download_output_zip,
    f"{SERVICE}/GetAcceleratorQuotaStatistics": quotas.quota,
}

# The older paths, GET {base}/v1/<pattern>; named groups become fields of the request.
REST = {
    r"kernels/list": "ListKernels",
    r"kernels/pull": "GetKernel",
    r"kernels/status": "GetKernelSessionStatus",
    r"kernels/output": "ListKernelSessionOutput",
    r"kernels/files": "ListKernelFiles",
    r"kernels/quota": "GetAcceleratorQuotaStatistics",
    r"kernels/logs/stream/(?P<userName>[^/]+)/(?P<kernelSlug>[^/]+)": "GetKernelSessionLogsStream",
    r"kernels/sessions/(?P<kernelSessionId>\d+)/logs/stream": "GetKernelSessionLogsStream",
    r"kernels/output/download/(?P<ownerSlug>[^/]+)/(?P<kernelSlug>[^/]+)": "DownloadKernelOutput",
    r"kernels/output/download_zip/(?P<kernelSessionId>\d+)": "DownloadKernelOutputZip",
}


def rest(path: str) -> tuple[RPC, dict[str, str], str]:
    """Return (method, fields from the path, its name) for an older path.

    Raises:
        ApiError: 404, none of them.
    """
    for pattern, method in REST.items():
        if match := re.fullmatch(pattern, path):
            name = f"{SERVICE}/{method}"
            return METHODS[name], match.groupdict(), name
    raise ApiError(404, f"Not found: {path}")
