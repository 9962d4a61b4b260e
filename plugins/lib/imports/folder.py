"""A private folder for copies that another program reads; in memory where there is room, so that no disk gets them."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_MEMORY = "/dev/shm"  # noqa: S108 - only as the parent of a private folder with a random name


class Folder:
    """A folder with these files, by name; nobody else may read it."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.path = tempfile.mkdtemp(prefix="kagg-imports-", dir=_memory(sum(map(len, files.values()))))
        self._paths = [f"{self.path}{os.sep}{name}" for name in files]
        try:
            for path, content in zip(self._paths, files.values(), strict=True):
                with open(path, "xb", buffering=0) as file:  # noqa: PTH123 - a Path for each of many files takes longer
                    file.write(content)
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """Remove the folder, whatever is in it; a second time is no error."""
        try:
            for path in self._paths:
                os.unlink(path)  # noqa: PTH108 - as above
            os.rmdir(self.path)  # noqa: PTH106 - as above
        except OSError:
            shutil.rmtree(self.path, ignore_errors=True)


def _memory(size_bytes: int) -> str | None:
    """Return a folder in memory that has room, where there is one."""
    if "TMPDIR" in os.environ or not os.access(_MEMORY, os.W_OK | os.X_OK):
        return None
    space = os.statvfs(_MEMORY)
    return _MEMORY if space.f_bavail * space.f_frsize > 4 * size_bytes + 2**20 else None
