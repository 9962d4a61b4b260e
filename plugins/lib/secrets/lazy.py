"""Compile a regular expression at its first use: most texts call for few of the many that the rules have."""

from __future__ import annotations

import re
from typing import Any


class Form:
    """A pattern that has the methods of a compiled one."""

    search: Any
    match: Any
    fullmatch: Any
    finditer: Any
    findall: Any
    sub: Any

    def __init__(self, form: str | bytes, flags: int = 0) -> None:
        self.form, self.flags = form, flags

    def __getattr__(self, name: str) -> Any:
        """Compile, and take over the methods, so that this runs once."""
        if name not in Form.__annotations__:
            raise AttributeError(name)
        compiled = re.compile(self.form, self.flags)
        for method in Form.__annotations__:
            setattr(self, method, getattr(compiled, method))
        return getattr(self, name)
