"""The benches: what they print and how they end. How fast anything is, is never a test."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench"))

import common  # noqa: E402 - a script's neighbour, not a package


def run_bench(name, *argv, cwd):
    clean = {key: os.environ[key] for key in ("PATH", "LANG", "SYSTEMROOT") if key in os.environ}
    command = [sys.executable, str(ROOT / "bench" / name), *argv, "--rounds", "1"]
    return subprocess.run(
        command, cwd=cwd, env=clean | {"HOME": str(cwd)}, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    ("name", "argv", "budgets"),
    [("startup.py", [], 4), ("pull.py", ["--count", "4", "--width", "2", "--latency-ms", "20"], 3)],
)
def test_a_bench_prints_one_json_object_whose_budgets_decide_the_exit_code(name, argv, budgets, tmp_path):
    done = run_bench(name, *argv, "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert len(found["budgets"]) == budgets
    assert all(budget["value"] > 0 for budget in found["budgets"])
    assert done.returncode == (0 if all(budget["met"] for budget in found["budgets"]) else 1), done.stderr


def test_a_bench_prints_each_budget_beside_its_ratio_for_people(tmp_path):
    done = run_bench("startup.py", cwd=tmp_path)
    assert "python -c pass" in done.stdout
    lines = [line for line in done.stdout.splitlines() if line.endswith((" ok", " MISSED"))]
    assert len(lines) == 4
    assert done.returncode == int(any(line.endswith(" MISSED") for line in lines))


def test_a_budget_is_met_at_its_limit_and_missed_beyond(capsys):
    args = argparse.Namespace(json=False)
    most, least = common.Budget("most", 5.0, 5.0), common.Budget("least", 6.0, 6.0, at_least=True)
    assert common.report(args, {}, [], [most, least]) == 0
    assert common.report(args, {}, [], [common.Budget("most", 5.1, 5.0)]) == 1
    assert common.report(args, {}, [], [common.Budget("least", 5.9, 6.0, at_least=True)]) == 1
    assert "MISSED" in capsys.readouterr().out


def test_a_program_that_fails_is_an_error_and_not_a_measurement(tmp_path):
    failing = common.Program("failing", [sys.executable, "-c", "raise SystemExit('why')"], dict(os.environ), tmp_path)
    with pytest.raises(RuntimeError, match="failing ended with code 1: why"):
        failing.run()
    assert failing.costs == []


def test_the_cpu_time_of_a_program_is_its_own(tmp_path):
    busy = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    working = common.Program("working", [sys.executable, "-c", busy], dict(os.environ), tmp_path)
    waiting = common.Program(
        "waiting", [sys.executable, "-c", "import time; time.sleep(0.2)"], dict(os.environ), tmp_path
    )
    common.interleave([working, waiting], rounds=1)
    assert working.best_cpu_s >= 0.2
    assert waiting.best_cpu_s < working.best_cpu_s
    assert waiting.best_wall_s >= 0.2
