"""Measure programs beside each other: interleaved, best of N, wall and CPU time of the whole process tree."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
TIME_LIMIT_S = 300.0


@dataclass(frozen=True)
class Cost:
    """What one run took. `cpu_s` is user plus system time of the child and of every child it waited for."""

    wall_s: float
    cpu_s: float


@dataclass
class Program:
    """A command line to measure, and what it may answer."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    cwd: Path = ROOT
    codes: tuple[int, ...] = (0,)
    costs: list[Cost] = field(default_factory=list)

    def run(self) -> Cost:
        """Run it once, remember and return what it took.

        Raises:
            RuntimeError: it ended with another code than `codes`; the last lines of its stderr are in the message.
        """
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(
            self.command, env=dict(self.env), cwd=self.cwd, capture_output=True, timeout=TIME_LIMIT_S, check=False
        )
        wall_s, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode not in self.codes:
            tail = done.stderr.decode("utf-8", "replace").strip()[-600:]
            raise RuntimeError(f"{self.name} ended with code {done.returncode}: {tail}")
        cost = Cost(wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        self.costs.append(cost)
        return cost

    @property
    def best_wall_s(self) -> float:
        """The shortest wall time: noise only ever adds."""
        return min(cost.wall_s for cost in self.costs)

    @property
    def best_cpu_s(self) -> float:
        """The least CPU time."""
        return min(cost.cpu_s for cost in self.costs)

    def row(self) -> str:
        """Return one line for people."""
        return f"  {self.name:<20} wall {self.best_wall_s:8.3f} s   CPU {self.best_cpu_s:8.3f} s"


def interleave(programs: Sequence[Program], rounds: int) -> None:
    """Run every program once unmeasured (byte code, file cache), then all of them in turn, `rounds` times."""
    for program in programs:
        program.run()
        program.costs.clear()
    for _ in range(rounds):
        for program in programs:
            program.run()


@dataclass(frozen=True)
class Budget:
    """A measured number and its limit; `at_least` turns the comparison round."""

    what: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        """Say whether the number is on the right side of its limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def line(self) -> str:
        """Return one line for people."""
        sign, word = (">=" if self.at_least else "<="), ("ok" if self.is_met else "MISSED")
        return f"{self.what:<60} {self.value:>8.2f}   {sign} {self.limit:<6g} {word}"


def report(args: argparse.Namespace, facts: dict[str, Any], lines: Sequence[str], budgets: Sequence[Budget]) -> int:
    """Print what was measured and every budget, as text or with --json; return 1 when a budget was missed."""
    missed = [budget.what for budget in budgets if not budget.is_met]
    if args.json:
        rows = [{"what": b.what, "value": round(b.value, 4), "limit": b.limit, "met": b.is_met} for b in budgets]
        print(json.dumps({"version": 1, **facts, "budgets": rows}, sort_keys=True))
    else:
        print("\n".join([*lines, "", *(budget.line() for budget in budgets)]))
    return 1 if missed else 0


def add_common_arguments(parser: argparse.ArgumentParser, rounds: int) -> None:
    """Add --json and --rounds."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=rounds, help="runs of each program (default: %(default)s)")


def private_environment(home: Path, **more: str) -> dict[str, str]:
    """Return an environment without this user's settings, whose home is `home`."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "SYSTEMROOT") if name in os.environ}
    return {**kept, "HOME": str(home), "KAGG_HOME": str(home / "kagg"), "PYTHONHASHSEED": "0", **more}
