"""The names of parameters that a run on Kaggle takes."""

from __future__ import annotations

import keyword
from typing import TYPE_CHECKING

from kagg import bad_input

if TYPE_CHECKING:
    from collections.abc import Iterable


def check_names(params: Iterable[str]) -> None:
    """Refuse names that no program could take.

    Raises:
        KaggError: USAGE.
    """
    for name in params:
        if not name.isidentifier() or keyword.iskeyword(name):
            raise bad_input(f"{name[:80]!r} is not a Python name and cannot be a parameter")
