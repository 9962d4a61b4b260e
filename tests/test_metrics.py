"""Metrics found in what a run wrote and printed, whatever shape; hostile files cost little and change nothing."""

from __future__ import annotations

import json
import math
import os

import pytest

from plugins.lib import metrics
from plugins.lib.metrics import printed_lines, read_metrics


@pytest.fixture
def put(tmp_path):
    """Write files into the outputs and return the folder."""
    folder = tmp_path / "output"

    def write(**files):
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            path = folder / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            text = content if isinstance(content, (str, bytes)) else json.dumps(content)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return folder

    return write


@pytest.fixture
def printed(tmp_path):
    """Write a log.jsonl of what a program printed, in pieces as a stream brings them."""

    def write(*pieces):
        log = tmp_path / "log.jsonl"
        events = [{"stream_name": "stdout", "time": n / 10, "data": piece} for n, piece in enumerate(pieces)]
        log.write_text("".join(json.dumps(event) + "\n" for event in events))
        return log

    return write


def lines(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


def test_metrics_json_is_the_summary_flattened_without_truth_values_and_texts(put):
    found = read_metrics(put(metrics_dot_json={"acc": 0.9, "val": {"loss": 1, "ok": True}, "name": "x", "list": [1]}))
    assert found == ({"acc": 0.9, "val.loss": 1.0}, [])


@pytest.mark.parametrize("name", ["metrics_dot_json", "result_dot_json"])
def test_numbers_under_metrics_count_alone(put, name):
    assert read_metrics(put(**{name: {"metrics": {"f1": 0.5}, "seed": 7}})).summary == {"f1": 0.5}


def test_nan_and_infinity_are_read_as_python_writes_them(put):
    found = read_metrics(put(metrics_dot_json='{"a": NaN, "b": -Infinity, "c": 1e999}')).summary
    assert math.isnan(found["a"])
    assert (found["b"], found["c"]) == (-math.inf, math.inf)


@pytest.mark.parametrize("key", ["step", "global_step", "epoch", "iteration", "Step"])
def test_json_lines_are_a_series_and_the_last_value_wins(put, key):
    text = lines({key: 10, "loss": 2.0}, {key: 20, "loss": 1.0})
    found = read_metrics(put(metrics_dot_jsonl=text))
    assert found == ({"loss": 1.0}, [(10, {"loss": 2.0}), (20, {"loss": 1.0})])


def test_lines_without_a_step_are_counted_in_metrics_jsonl_and_ignored_elsewhere(put):
    assert read_metrics(put(predictions_dot_jsonl=lines({"id": 1, "score": 0.3}))) == ({}, [])
    found = read_metrics(put(metrics_dot_jsonl=lines({"loss": 2}, {"loss": 1})))
    assert found.series == [(0, {"loss": 2.0}), (1, {"loss": 1.0})]


def test_metrics_json_has_the_last_word_over_a_series(put):
    text = lines({"step": 1, "loss": 2.0})
    found = read_metrics(put(metrics_dot_json={"best": 1.5}, metrics_dot_jsonl=text))
    assert (found.summary, len(found.series)) == ({"best": 1.5}, 1)


def test_two_files_with_one_name_are_told_apart(put):
    found = read_metrics(
        put(train_dot_jsonl=lines({"step": 1, "loss": 2}), val_dot_jsonl=lines({"step": 1, "loss": 3}))
    )
    assert found.summary == {"train.loss": 2.0, "val.loss": 3.0}


def test_a_keras_history_is_a_series(put):
    found = read_metrics(put(history_dot_json={"loss": [3, 2, 1], "val_loss": [3.5, 2.5]}))
    assert found.summary == {"loss": 1.0, "val_loss": 2.5}
    assert found.series[0] == (0, {"loss": 3.0, "val_loss": 3.5})


def test_a_trainer_state_merges_training_and_evaluation_of_one_step(put):
    log = [{"loss": 2.0, "epoch": 0.5, "step": 10}, {"eval_loss": 1.5, "epoch": 0.5, "step": 10}]
    found = read_metrics(put(checkpoint__trainer_state_dot_json={"log_history": log, "best_metric": 1}))
    assert found.series == [(10, {"loss": 2.0, "epoch": 0.5, "eval_loss": 1.5})]


def test_a_metrics_csv_with_empty_cells_is_a_series(put):
    rows = "epoch,step,train_loss,val_loss\n0,9,1.5,\n0,9,,1.25\n1,19,nan,\n"
    found = read_metrics(put(lightning_logs__version_0__metrics_dot_csv=rows))
    assert found.series[0] == (9, {"epoch": 0.0, "train_loss": 1.5, "val_loss": 1.25})
    assert math.isnan(found.summary["train_loss"])


def test_printed_json_lines_are_found_across_pieces(put, printed):
    log = printed("hello\n", '{"epoch": 0, "lo', 'ss": 1.5}\n{"epoch": 1, "loss": 1}', "\n", "{not json}\n")
    assert read_metrics(put(x_dot_txt="x"), log).series == [(0, {"loss": 1.5}), (1, {"loss": 1.0})]


def test_a_printed_python_dict_counts_too(put, printed):
    log = printed("{'loss': 0.5, 'grad_norm': nan, 'epoch': 1.0}\n", "{'a': __import__('os').getpid()}\n")
    assert read_metrics(put(), log) == ({"loss": 0.5}, [(1, {"loss": 0.5})])


def test_a_loggers_records_are_no_metrics(put, printed):
    log = printed('{"level": "info", "pid": 7, "msg": "x", "took": 3}\n{"timestamp": 1.5, "pid": 3}\n')
    assert read_metrics(put(), log) == ({}, [])


def test_files_come_before_what_was_printed(put, printed):
    folder = put(metrics_dot_jsonl=lines({"step": 1, "loss": 2}))
    assert len(read_metrics(folder, printed('{"step": 1, "loss": 2}\n')).series) == 1


def test_a_long_series_is_thinned_out_and_keeps_its_last_value(put, monkeypatch):
    monkeypatch.setattr(metrics, "MAX_POINTS", 100)
    found = read_metrics(put(metrics_dot_jsonl=lines(*({"step": n, "loss": n} for n in range(1001)))))
    assert found.summary == {"loss": 1000.0}
    assert 50 <= len(found.series) <= 101
    assert [step for step, _ in found.series] == sorted(step for step, _ in found.series)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": ' + b"9" * 400 + b"}",
        b"null",
        b'{"metrics": "1"}',
        b'{"history": "3", "log_history": {"loss": "x"}}',
        b'{"step": {"x": "1"}, "loss": [null, "x"]}',
        b'"step,loss\n\x00,\x00\n',
    ],
    ids=lambda content: repr(content[:20]),
)
def test_a_hostile_file_is_no_metrics(put, content):
    names = ("metrics.json", "result.json", "metrics.jsonl", "metrics.csv", "history.json", "trainer_state.json")
    folder = put(**{name.replace(".", "_dot_"): content for name in names})
    assert read_metrics(folder) == ({}, [])


def test_names_are_bounded_in_number_and_length_and_clean(put):
    many = {f"m{n}": n for n in range(5000)} | {"x" * 10_000: 1}
    assert len(read_metrics(put(metrics_dot_json=many)).summary) == metrics.MAX_NAMES
    found = read_metrics(put(metrics_dot_json={"\x1b[2Jred" + "x" * 1000: 1, "\ud800y": 2})).summary
    assert list(found) == ["[2Jred" + "x" * (metrics.MAX_NAME_CHARS - 6), "y"]


def test_a_file_that_is_too_large_and_a_link_are_left_alone(put, tmp_path):
    folder = put(metrics_dot_jsonl=lines({"step": 1, "loss": 2}))
    os.truncate(folder / "metrics.jsonl", metrics.MAX_FILE_BYTES + 1)
    (tmp_path / "other.jsonl").write_text(lines({"step": 1, "loss": 2}))
    (folder / "link.jsonl").symlink_to(tmp_path / "other.jsonl")
    assert read_metrics(folder) == ({}, [])


def test_a_folder_or_log_that_is_absent_has_no_metrics(tmp_path):
    assert read_metrics(tmp_path / "no", tmp_path / "no.jsonl") == ({}, [])


def test_the_log_of_another_program_does_not_stop_the_reader(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_bytes(
        b'\xff\n[1]\n{"stream_name": "stdout", "data": 3}\n{"stream_name": "stdout", "data": "a\\nb"}\n{"str'
    )
    assert list(printed_lines(log)) == ["a", "b"]
