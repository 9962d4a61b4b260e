"""What every trainer must do: `class TestX(TrainSuite)` with a fixture `case` that returns a `TrainCase`.

The reference is `MemoryRoom`, whose model is the mean of some numbers. `BROKEN` holds trainers with one defect each and
the test that must notice it.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import math
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kagg import Context, Exit, KaggError, bad_input, write_atomic

VARYING = ("seconds", "dest")  # what may differ between two runs with one seed


@dataclass
class TrainCase:
    """One trainer under test, with what its tests need: small data, and unfit data and options by name."""

    room: Any
    ctx: Context
    folder: Path
    name: str
    data: Path
    options: list[str] = field(default_factory=list)
    bad: dict[str, tuple[Path, list[str]]] = field(default_factory=dict)
    model: str = "model.joblib"
    source: Path | None = None  # the room's file, for its manifest

    def parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
        self.room.add_arguments(parser.add_argument_group(self.name))
        return parser

    def train(self, dest: str = "result", *, data: Path | None = None, options: list[str] | None = None) -> Any:
        words = [*(self.options if options is None else options), f"--{self.name}-dest", str(self.folder / dest)]
        return self.room.train(str(data or self.data), self.parser().parse_args(words), self.ctx)

    def files(self) -> dict[str, str]:
        """Return every file and folder there is, files with their SHA-256."""
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            for path in sorted(self.folder.rglob("*"))
        }


class TrainSuite:
    """The tests."""

    def test_the_manifest_is_a_literal_that_says_what_the_room_is(self, case):
        text = case.source.read_text() if case.source else f"PLUGIN = {case.room.PLUGIN!r}"
        found = [
            ast.literal_eval(node.value)
            for node in ast.parse(text).body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PLUGIN"
        ]
        assert len(found) == 1
        assert found[0]["api"] == 1
        assert found[0]["summary"]
        assert isinstance(found[0]["requires"], dict)

    def test_every_option_carries_the_name_of_the_room_and_may_be_left_out(self, case):
        actions = case.parser()._actions
        options = [option for action in actions for option in action.option_strings]
        assert [option for option in options if not option.startswith(f"--{case.name}-")] == []
        assert {f"--{case.name}-seed", f"--{case.name}-dest"} <= set(options)
        assert all(not action.required for action in actions)

    def test_metrics_are_finite_numbers_in_a_json_document(self, case):
        metrics = case.train()
        assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
        numbers = [value for value in metrics.values() if isinstance(value, int | float)]
        assert any(isinstance(value, float) for key, value in metrics.items() if key not in VARYING)
        assert all(math.isfinite(value) for value in numbers)
        assert all(isinstance(value, int | float | str) for value in metrics.values())

    def test_the_result_lies_where_it_was_asked_for_and_is_what_was_returned(self, case):
        before = case.files()
        metrics = case.train("deep/result")
        written = set(case.files()) - set(before) - {"deep", "deep/result"}
        assert metrics["dest"] == str(case.folder / "deep/result")
        assert {f"deep/result/{name}" for name in (case.model, "card.json", "metrics.json")} <= written
        assert all(name.startswith("deep/result/") and not name.endswith((".tmp", ".part")) for name in written)
        kept = json.loads((case.folder / "deep/result/metrics.json").read_text())
        assert kept == {"version": 1} | {key: value for key, value in metrics.items() if key != "dest"}
        assert case.files()[f"deep/result/{case.model}"] == metrics["model_sha256"]

    def test_the_card_says_which_data_and_which_seed(self, case):
        case.train("result", options=[*case.options, f"--{case.name}-seed", "7"])
        card = json.loads((case.folder / "result/card.json").read_text())
        assert card["version"] == 1
        assert card["seed"] == 7
        assert card["data"]["sha256"] == hashlib.sha256(case.data.read_bytes()).hexdigest()

    def test_the_same_seed_gives_the_same_metrics_and_the_same_model(self, case):
        options = [*case.options, f"--{case.name}-seed", "3"]
        runs = [case.train(dest, options=options) for dest in ("one", "two")]
        first, second = ({key: value for key, value in run.items() if key not in VARYING} for run in runs)
        assert first == second
        assert case.files()[f"one/{case.model}"] == case.files()[f"two/{case.model}"]

    def test_the_data_is_only_read(self, case):
        before = case.files()
        case.train()
        after = case.files()
        assert {name: after.get(name) for name in before} == before

    def test_unfit_input_is_a_usage_error_and_nothing_is_written(self, case):
        assert case.bad
        before = case.files()
        for reason, (data, options) in case.bad.items():
            with pytest.raises(KaggError) as caught:
                case.train(data=data, options=options)
            assert (reason, caught.value.code) == (reason, Exit.USAGE)
            assert "\n" not in caught.value.message + caught.value.hint
            assert (reason, case.files()) == (reason, before)

    def test_a_folder_that_holds_something_is_refused(self, case):
        (case.folder / "result").mkdir()
        (case.folder / "result/mine.txt").write_text("keep")
        before = case.files()
        with pytest.raises(KaggError) as caught:
            case.train()
        assert caught.value.code == Exit.USAGE
        assert case.files() == before

    def test_an_empty_folder_is_taken(self, case):
        (case.folder / "result").mkdir()
        assert case.train()["dest"] == str(case.folder / "result")


# --- the reference ---------------------------------------------------------------------------------------------------


class MemoryRoom:
    """Draws some numbers of a JSON list; the model is their mean, the metric its error on the others."""

    PLUGIN = {"api": 1, "summary": "the mean", "requires": {}}

    def add_arguments(self, group):
        group.add_argument("--memory-seed", type=int, default=0)
        group.add_argument("--memory-dest", type=Path)

    def read(self, path):
        try:
            numbers = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise bad_input(f"cannot read {path}") from error
        if not isinstance(numbers, list) or len(numbers) < 4:
            raise bad_input(f"{path} holds too few numbers")
        return numbers

    def check_dest(self, dest):
        if dest.exists() and any(dest.iterdir()):
            raise bad_input(f"{dest} is not empty")

    def source_of_chance(self, seed):
        return random.Random(seed)  # noqa: S311 - no cryptography

    def train(self, data, args, ctx):
        started_s, dest = ctx.monotonic(), args.memory_dest
        self.check_dest(dest)
        numbers = self.read(Path(data))
        self.source_of_chance(args.memory_seed).shuffle(numbers)
        half = len(numbers) // 2
        mean = sum(numbers[:half]) / half
        model = json.dumps({"mean": mean}).encode()
        metrics = {"mae": sum(abs(number - mean) for number in numbers[half:]) / (len(numbers) - half)}
        metrics |= {"model_sha256": hashlib.sha256(model).hexdigest(), "seconds": ctx.monotonic() - started_s}
        card = {"version": 1, "seed": args.memory_seed, "data": {"sha256": self.digest(Path(data))}}
        self.write(dest, model, card, metrics)
        return {**metrics, "dest": str(dest)}

    def digest(self, path):
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def write(self, dest, model, card, metrics):
        write_atomic(dest / "model.json", model)
        write_atomic(dest / "card.json", json.dumps(card))
        write_atomic(dest / "metrics.json", json.dumps({"version": 1, **metrics}))


# --- trainers with one defect each -----------------------------------------------------------------------------------


class ForgetsTheSeed(MemoryRoom):
    def source_of_chance(self, seed):
        return random.Random()  # noqa: S311 - no cryptography


class MeasuresNothing(MemoryRoom):
    def train(self, data, args, ctx):
        return super().train(data, args, ctx) | {"mae": math.nan}


class ReturnsAnObject(MemoryRoom):
    def train(self, data, args, ctx):
        return super().train(data, args, ctx) | {"model": object()}


class SaysOtherThanItWrites(MemoryRoom):
    def train(self, data, args, ctx):
        return super().train(data, args, ctx) | {"mae": 0.0}


class WritesBeforeItChecks(MemoryRoom):
    def train(self, data, args, ctx):
        args.memory_dest.mkdir(parents=True, exist_ok=True)
        return super().train(data, args, ctx)


class LetsErrorsThrough(MemoryRoom):
    def read(self, path):
        return json.loads(path.read_text())


class WritesOverWhatIsThere(MemoryRoom):
    def check_dest(self, dest):
        pass


class RefusesAnEmptyFolder(MemoryRoom):
    def check_dest(self, dest):
        if dest.exists():
            raise bad_input(f"{dest} exists")


class LeavesPartsBehind(MemoryRoom):
    def write(self, dest, model, card, metrics):
        super().write(dest, model, card, metrics)
        (dest / ".model.json.part").write_bytes(model)


class WritesAnotherModel(MemoryRoom):
    def write(self, dest, model, card, metrics):
        super().write(dest, model + b" ", card, metrics)


class ChangesTheData(MemoryRoom):
    def read(self, path):
        numbers = super().read(path)
        path.write_text(json.dumps(sorted(numbers)))
        return numbers


class ForgetsTheData(MemoryRoom):
    def digest(self, path):
        return hashlib.sha256(path.name.encode()).hexdigest()


class HasAnOptionOfAnotherRoom(MemoryRoom):
    def add_arguments(self, group):
        super().add_arguments(group)
        group.add_argument("--epochs")


BROKEN: dict[type[MemoryRoom], str] = {
    ForgetsTheSeed: "test_the_same_seed_gives_the_same_metrics_and_the_same_model",
    MeasuresNothing: "test_metrics_are_finite_numbers_in_a_json_document",
    ReturnsAnObject: "test_metrics_are_finite_numbers_in_a_json_document",
    SaysOtherThanItWrites: "test_the_result_lies_where_it_was_asked_for_and_is_what_was_returned",
    WritesBeforeItChecks: "test_unfit_input_is_a_usage_error_and_nothing_is_written",
    LetsErrorsThrough: "test_unfit_input_is_a_usage_error_and_nothing_is_written",
    WritesOverWhatIsThere: "test_a_folder_that_holds_something_is_refused",
    RefusesAnEmptyFolder: "test_an_empty_folder_is_taken",
    LeavesPartsBehind: "test_the_result_lies_where_it_was_asked_for_and_is_what_was_returned",
    WritesAnotherModel: "test_the_result_lies_where_it_was_asked_for_and_is_what_was_returned",
    ChangesTheData: "test_the_data_is_only_read",
    ForgetsTheData: "test_the_card_says_which_data_and_which_seed",
    HasAnOptionOfAnotherRoom: "test_every_option_carries_the_name_of_the_room_and_may_be_left_out",
}
