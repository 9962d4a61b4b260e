"""Find what is unsafe in a notebook beside secrets: risky calls in code, home folders and e-mail addresses in outputs.

Changes nothing. Each kind has a switch: --no-risk KIND.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kagg import Finding

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

PLUGIN = {"api": 1, "summary": "find risky calls, home folders and e-mail addresses", "requires": {}}

KINDS = {
    "eval-input": "eval or exec of input or downloaded text",
    "unsafe-load": "pickle, joblib, torch, numpy or yaml loading what can run code",
    "no-tls-check": "certificates that are not checked",
    "shell-input": "a shell that gets a composed text",
    "remote-code": "trust_remote_code=True",
    "open-debugger": "a debug server on 0.0.0.0",
    "piped-script": "curl or wget piped into a shell",
    "home-path": "a home folder in an output",
    "email-address": "an e-mail address in an output",
}


def add_arguments(group: argparse._ArgumentGroup, /) -> None:
    """Add --no-risk."""
    group.add_argument(
        "--no-risk",
        dest="risk_off",
        metavar="KIND",
        action="append",
        default=[],
        choices=sorted(KINDS),
        help="do not look for one kind of risk: " + ", ".join(KINDS),
    )


def apply(notebook: dict[str, Any], options: Mapping[str, Any], /) -> tuple[dict[str, Any], list[Finding]]:
    """Return the notebook as it is, and a warning for each risk, once per line or per cell of outputs."""
    from plugins.lib.secrets import risky_calls  # here, because --help needs none of it
    from plugins.lib.secrets.private import private_outputs
    from plugins.lib.secrets.text import cells_of, joined

    off = set(options.get("risk_off") or ())
    cells = [(index, cell) for index, cell in enumerate(cells_of(notebook)) if isinstance(cell, dict)]
    code = [(index, joined(cell.get("source"))) for index, cell in cells if cell.get("cell_type") == "code"]
    found = [
        Finding(risk.kind, "warning", risk.message, risk.cell, risk.line, risk.fix, "source")
        for risk in risky_calls.risks(code)
        if risk.kind not in off
    ]
    for index, cell in cells:
        if cell.get("outputs"):
            found += private_outputs(index, cell["outputs"], off)
    return notebook, sorted(found, key=lambda one: (one.cell or 0, one.line or 0, one.kind))
