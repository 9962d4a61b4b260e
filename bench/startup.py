"""Start-up of kagg.py beside `python -c pass` and the official client. `python bench/startup.py [--json]`.

The official client is the `kaggle` command of the environment that runs this file; without it that line is left out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from common import ROOT, Budget, Program, add_common_arguments, interleave, private_environment, report

MAX_RATIO = 5.0  # kagg.py beside an interpreter that does nothing
MAX_MODULES = 130
COUNT_MODULES = """
import sys
sys.path.insert(0, sys.argv[1])
import kagg
try:
    kagg.main(sys.argv[2:])
except SystemExit:
    pass
sys.stderr.write(str(len(sys.modules)))
"""


def count_modules(option: str, env: dict[str, str]) -> int:
    """Return how many modules are loaded when `kagg.py OPTION` ends."""
    import subprocess

    command = [sys.executable, "-c", COUNT_MODULES, str(ROOT), option]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    return int(done.stderr.split()[-1])


def programs(home: Path) -> list[Program]:
    """Return what is measured; the first is the yardstick."""
    env = private_environment(home, KAGGLE_USERNAME="nobody", KAGGLE_KEY="0" * 32)
    found = [Program("python -c pass", [sys.executable, "-c", "pass"], env)]
    found += [
        Program(f"kagg.py {option}", [sys.executable, str(ROOT / "kagg.py"), option], env)
        for option in ("--version", "--help")
    ]
    official = Path(sys.executable).parent / "kaggle"
    if official.exists():
        found.append(Program("kaggle --version", [sys.executable, str(official), "--version"], env))
    return found


def table(measured: list[Program]) -> tuple[list[str], dict[str, dict[str, float]]]:
    """Return the rows for people, and the same numbers for --json; ratios are to the first program."""
    yardstick = measured[0]
    lines = [f"{'':<20} {'wall ms':>9} {'x':>6} {'CPU ms':>9} {'x':>6}"]
    facts: dict[str, dict[str, float]] = {}
    for one in measured:
        wall, cpu = one.best_wall_s / yardstick.best_wall_s, one.best_cpu_s / yardstick.best_cpu_s
        lines.append(
            f"{one.name:<20} {one.best_wall_s * 1e3:>9.1f} {wall:>6.1f} {one.best_cpu_s * 1e3:>9.1f} {cpu:>6.1f}"
        )
        facts[one.name] = {"wall_s": one.best_wall_s, "cpu_s": one.best_cpu_s, "wall_ratio": wall, "cpu_ratio": cpu}
    return lines, facts


def main() -> int:
    """Measure, print, and return 1 when a budget is missed."""
    parser = argparse.ArgumentParser(description="Measure start-up.", allow_abbrev=False)
    add_common_arguments(parser, rounds=15)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        measured = programs(home)
        interleave(measured, args.rounds)
        modules = {option: count_modules(option, private_environment(home)) for option in ("--version", "--help")}
    lines, facts = table(measured)
    budgets = [
        Budget(f"{one.name}: wall time / python -c pass", facts[one.name]["wall_ratio"], MAX_RATIO)
        for one in measured[1:3]
    ]
    budgets += [Budget(f"kagg.py {option}: modules", count, MAX_MODULES) for option, count in modules.items()]
    title = f"start-up, best of {args.rounds}, interleaved"
    return report(args, {"rounds": args.rounds, "programs": facts}, [title, *lines], budgets)


if __name__ == "__main__":
    raise SystemExit(main())
