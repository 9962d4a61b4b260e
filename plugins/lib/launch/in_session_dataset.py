"""Fetch the code out of the private dataset that is attached to this kernel."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugins.lib.launch.in_session_base import CodeError, StageError
from plugins.lib.launch.in_session_inputs import find_inputs
from plugins.lib.launch.in_session_unpack import unpack

if TYPE_CHECKING:
    from collections.abc import Callable


def fetch_code(payload: dict[str, Any], folder: Path, say: Callable[[str], None]) -> None:
    """Fill `folder` with the code in the dataset that `payload` names.

    Raises:
        CodeError: the dataset is not mounted, or does not hold what was announced.
    """
    ref = f"datasets/{payload['ref']}"
    try:
        mount = Path(find_inputs([ref])[ref])
    except StageError as error:
        raise CodeError(f"the code's dataset is {error}") from error
    archive = mount / payload["archive"]
    if archive.is_file():
        unpack(archive, folder, payload)
        say(f"unpacked {payload['count']} files from {archive}")
        return
    for place in (archive, archive.with_suffix("")):  # unpacked on the way, as archives in datasets are
        if place.is_dir():
            _copy(place, folder, payload)
            say(f"copied {payload['count']} files from {place}")
            return
    raise CodeError(f"{mount} holds no {payload['archive']}")


def _copy(source: Path, folder: Path, payload: dict[str, Any]) -> None:
    """Copy the plain files below `source`; links are not followed.

    Raises:
        CodeError: there is more than was announced, or it cannot be read.
    """
    left_bytes, left_files = int(payload["size_bytes"]), int(payload["count"])
    for path in sorted(source.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        left_bytes, left_files = left_bytes - path.stat().st_size, left_files - 1
        if left_bytes < 0 or left_files < 0:
            raise CodeError(f"{source} holds more than was sent")
        target = folder / path.relative_to(source)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        except OSError as error:
            raise CodeError(f"cannot copy {path}: {error}") from error
