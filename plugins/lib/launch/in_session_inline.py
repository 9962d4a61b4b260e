"""Fetch the code out of this script: a gzip-compressed tar in base64."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from plugins.lib.launch.in_session_base import CodeError
from plugins.lib.launch.in_session_unpack import unpack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def fetch_code(payload: dict[str, Any], folder: Path, say: Callable[[str], None]) -> None:
    """Fill `folder` with the code that `payload` holds.

    Raises:
        CodeError: it is damaged, or not what was announced.
    """
    try:
        packed = base64.b64decode(payload["bundle"], validate=True)
    except ValueError as error:
        raise CodeError(f"the code in this script is damaged: {error}") from error
    unpack(packed, folder, payload)
    count = payload["count"]
    say(f"unpacked {count} file{'' if count == 1 else 's'} from this script")
