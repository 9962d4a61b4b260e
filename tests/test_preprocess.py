"""`preprocess` through the front door: what it reads, writes, says, and how it ends."""

from __future__ import annotations

import io
import json
import os
import random
import string
import subprocess
import sys
from pathlib import Path

import pytest

import kagg as spine
from kagg import Exit
from tests.front_door import environment, kagg

CORPUS = os.environ.get("KAGG_CORPUS", "")
LETTERS = string.ascii_letters + string.digits


def token(seed=3):
    """Return what looks like a Hugging Face token."""
    return "hf_" + "".join(random.Random(seed).choices(LETTERS, k=34))  # noqa: S311 - must repeat


def cell(source="x = 1", kind="code", **parts):
    base = {"cell_type": kind, "metadata": {}, "source": source}
    return base | ({"execution_count": None, "outputs": []} if kind == "code" else {}) | parts


def notebook(*cells, **parts):
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 4} | parts


def stream(text):
    return {"output_type": "stream", "name": "stdout", "text": text}


def write(path: Path, *cells, **parts) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook(*cells, **parts), indent=1) + "\n")
    return path


RAN = cell("print(1)", execution_count=2, outputs=[stream("1\n")], metadata={"scrolled": True})


def read(path: Path):
    return json.loads(path.read_text())


# ---------------------------------------------------------------- files, folders, patterns, streams


def test_files_folders_and_patterns_are_cleaned_in_place_each_once(ctx, tmp_path):
    for name in ("one.ipynb", "folder/two.ipynb", "folder/deep/three.ipynb", "other/four.ipynb", "other/not.json"):
        write(tmp_path / name, RAN)
    write(tmp_path / "folder" / ".ipynb_checkpoints" / "two-checkpoint.ipynb", RAN)
    (tmp_path / "folder" / "link.ipynb").symlink_to(tmp_path / "other" / "not.json")
    done = kagg(ctx, "--json", "preprocess", tmp_path / "one.ipynb", tmp_path / "folder", tmp_path / "o*" / "*.ipynb",
                tmp_path / "one.ipynb")  # fmt: skip
    assert done.code == 0, done
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert sorted(Path(row["path"]).name for row in rows) == ["four.ipynb", "one.ipynb", "three.ipynb", "two.ipynb"]
    assert all(row["changed"] and row["out"] == row["path"] for row in rows)
    assert read(tmp_path / "folder" / "deep" / "three.ipynb")["cells"] == [cell("print(1)")]
    assert read(tmp_path / "other" / "not.json")["cells"] == [RAN]
    assert read(tmp_path / "folder" / ".ipynb_checkpoints" / "two-checkpoint.ipynb")["cells"] == [RAN]


def test_a_second_pass_changes_nothing_and_does_not_touch_the_file(ctx, tmp_path):
    path = write(tmp_path / "a.ipynb", RAN)
    assert kagg(ctx, "preprocess", path).code == 0
    os.utime(path, (1, 1))
    done = kagg(ctx, "preprocess", path)
    assert (done.code, path.stat().st_mtime) == (0, 1)
    assert "unchanged" in done.out


def test_the_result_goes_where_it_is_sent_and_the_source_stays(ctx, tmp_path):
    before = write(tmp_path / "in" / "a.ipynb", RAN).read_bytes()
    write(tmp_path / "in" / "sub" / "b.ipynb", RAN)
    assert kagg(ctx, "preprocess", tmp_path / "in", "-o", tmp_path / "out").code == 0
    assert read(tmp_path / "out" / "sub" / "b.ipynb")["cells"] == [cell("print(1)")]
    assert kagg(ctx, "preprocess", tmp_path / "in" / "a.ipynb", "-o", tmp_path / "c.ipynb").code == 0
    assert read(tmp_path / "c.ipynb")["cells"] == [cell("print(1)")]
    assert (tmp_path / "in" / "a.ipynb").read_bytes() == before


def program(tmp_path, *argv, stdin=b""):
    command = [sys.executable, spine.__file__, *map(str, argv)]
    env = environment(tmp_path)
    return subprocess.run(command, input=stdin, env=env, cwd=tmp_path, capture_output=True, timeout=60, check=False)


def test_standard_input_becomes_standard_output_and_nothing_else_is_there(tmp_path):
    content = json.dumps(notebook(RAN), indent=2).encode()
    done = program(tmp_path, "preprocess", "-", stdin=content)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["cells"] == [cell("print(1)")]
    bad = program(tmp_path, "preprocess", "-", stdin=b"{")
    assert (bad.returncode, bad.stdout) == (2, b"")
    assert bad.stderr.count(b"\n") == 1
    assert b"standard input" in bad.stderr
    path = write(tmp_path / "a.ipynb", RAN)
    to_stdout = program(tmp_path, "preprocess", path, "-o", "-")
    assert json.loads(to_stdout.stdout)["cells"] == [cell("print(1)")]
    assert read(path)["cells"] == [RAN]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["absent.ipynb"], "cannot read absent.ipynb: No such file"),
        (["absent*.ipynb"], "nothing matches absent*.ipynb"),
        (["empty"], "no notebooks in empty"),
        (["a.ipynb", "b.ipynb", "-o", "-"], "cannot all go to standard output"),
        (["a.ipynb", "b.ipynb", "-o", "c.ipynb"], "c.ipynb is a file"),
        (["a.ipynb", "--step", "absent"], "there is no prep 'absent'"),
        (["a.ipynb", "--max-output-size", "huge"], "'huge' is not a size"),
        (["a.ipynb", "--check", "--diff"], "not allowed with"),
        (["a.ipynb", "--config", "absent.yaml"], "cannot read absent.yaml"),
    ],
)
def test_a_wrong_call_is_one_clear_line_and_changes_nothing(ctx, tmp_path, monkeypatch, argv, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    before = {path: write(tmp_path / path, RAN).read_bytes() for path in ("a.ipynb", "b.ipynb", "c.ipynb")}
    done = kagg(ctx, "preprocess", *argv)
    assert done.code in (Exit.USAGE, Exit.CONFIG), done
    assert words in done.err + done.out
    assert (done.err + done.out).count("\n") == 1
    assert all((tmp_path / path).read_bytes() == content for path, content in before.items())


# ---------------------------------------------------------------- bad files


def lay_out_bad_files(folder: Path) -> dict[str, bytes]:
    """Write files that are no notebooks, and return their bytes."""
    contents = {
        "not-json.ipynb": b"<<<<<<< ours\n{}",
        "no-notebook.ipynb": b'{"name": "package"}',
        "kernelspec.ipynb": json.dumps(notebook(metadata={"kernelspec": "python3"})).encode(),
        "no-nbformat.ipynb": b'{"cells": [], "metadata": {}}',
        "newer.ipynb": json.dumps(notebook(nbformat_minor=99)).encode(),
        "nul.ipynb": b'{"cells": [], "metadata": {"a": "\0"}, "nbformat": 4, "nbformat_minor": 4}',
        "twins.ipynb": b'{"cells": [], "cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}',
        "empty.ipynb": b"",
        "deep.ipynb": b'{"cells":' * 9000,
        "binary.ipynb": bytes(range(256)),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return contents


def test_bad_files_are_one_clear_line_each_stay_as_they_are_and_the_rest_is_done(ctx, tmp_path):
    contents = lay_out_bad_files(tmp_path)
    good = write(tmp_path / "zz-good.ipynb", RAN)
    done = kagg(ctx, "preprocess", tmp_path)
    assert done.code == Exit.USAGE
    for name, content in contents.items():
        assert (tmp_path / name).read_bytes() == content
        assert sum(str(tmp_path / name) in line for line in done.err.splitlines()) == 1, name
        assert str(tmp_path / name) not in done.out
    assert read(good)["cells"] == [cell("print(1)")]
    assert "Traceback" not in done.out + done.err


def test_links_that_lead_nowhere_and_targets_that_cannot_be_written_do_not_stop_the_rest(ctx, tmp_path):
    loop = tmp_path / "loop.ipynb"
    loop.symlink_to(tmp_path / "back.ipynb")
    (tmp_path / "back.ipynb").symlink_to(loop)
    bad, good = write(tmp_path / "in" / "bad.ipynb", RAN), write(tmp_path / "in" / "good.ipynb", RAN)
    (tmp_path / "out" / "bad.ipynb").mkdir(parents=True)
    assert kagg(ctx, "preprocess", loop).code == Exit.USAGE
    done = kagg(ctx, "preprocess", tmp_path / "in", "-o", tmp_path / "out")
    assert done.code == Exit.USAGE
    assert str(tmp_path / "out" / "bad.ipynb") in done.err
    assert read(tmp_path / "out" / "good.ipynb")["cells"] == [cell("print(1)")]
    assert read(bad) == read(good) == notebook(RAN)
    assert not list(tmp_path.rglob("*.tmp"))


def test_lone_surrogates_and_nul_in_sources_stay(ctx, tmp_path):
    path = write(tmp_path / "a.ipynb", cell("a = '\ud800 \0'", outputs=[stream("\udfff\0")]))
    assert kagg(ctx, "preprocess", path, "--all").code == 0
    assert read(path)["cells"] == [cell("a = '\ud800 \0'")]


def test_an_older_format_is_upgraded_and_said(ctx, tmp_path):
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [{"cells": [
        {"cell_type": "code", "language": "python", "input": "1", "outputs": [], "metadata": {}}]}]}  # fmt: skip
    path = tmp_path / "old.ipynb"
    path.write_text(json.dumps(old))
    done = kagg(ctx, "preprocess", path)
    assert "nbformat 3 became 4.4" in done.out
    assert (done.code, read(path)["nbformat"], read(path)["cells"][0]["source"]) == (0, 4, "1")


def test_quiet_says_only_what_is_wrong(ctx, tmp_path):
    path = write(tmp_path / "a.ipynb", RAN)
    assert "would change" in kagg(ctx, "-q", "preprocess", path, "--check").out
    assert kagg(ctx, "-q", "preprocess", path) == (0, "", "")
    assert kagg(ctx, "-q", "preprocess", path) == (0, "", "")
    (tmp_path / "b.ipynb").write_text("{")
    assert kagg(ctx, "-q", "preprocess", tmp_path).err.count("\n") == 1


def test_two_notebooks_never_become_one_file(ctx, tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name / "n.ipynb", RAN)
    done = kagg(ctx, "preprocess", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "c")
    assert done.code == Exit.USAGE
    assert "would both become" in done.err
    assert not (tmp_path / "c").exists()


def test_the_folder_of_the_results_is_no_input_and_a_slash_makes_a_folder(ctx, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.ipynb", RAN)
    for _ in range(2):
        assert kagg(ctx, "preprocess", ".", "-o", "tree").code == 0
    assert [path.name for path in (tmp_path / "tree").rglob("*")] == ["a.ipynb"]
    assert kagg(ctx, "preprocess", "./a.ipynb", "a.ipynb", "-o", "other/").code == 0
    assert read(tmp_path / "other" / "a.ipynb")["cells"] == [cell("print(1)")]
    assert kagg(ctx, "preprocess", "a.ipynb", "-o", os.devnull).code == 0
    assert kagg(ctx, "preprocess", "./a.ipynb").out == "./a.ipynb: changed, 0 secrets\n"


def test_what_only_reads_leaves_an_older_format_as_it_is(ctx, tmp_path):
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [{"cells": []}]}
    path = tmp_path / "old.ipynb"
    path.write_text(json.dumps(old))
    assert kagg(ctx, "preprocess", path, "--scan").code == 0
    assert kagg(ctx, "preprocess", path, "--requirements", "-").code == 0
    assert json.loads(path.read_text()) == old


ODD = {
    "cell_type a list": notebook({"cell_type": [], "metadata": {}, "source": ""}),
    "minor null": {"nbformat": 3, "nbformat_minor": None, "metadata": {}, "worksheets": [{"cells": []}]},
    "output without type": notebook(cell(outputs=[{}])),
    "attachments a number": notebook(cell("x", "markdown", attachments=3)),
    "data a string": notebook(cell(outputs=[{"output_type": "display_data", "data": "x", "metadata": {}}])),
    "deep": notebook(cell(outputs=[{"output_type": "x", "data": json.loads("[" * 400 + "]" * 400)}])),
}


@pytest.mark.parametrize("words", [["--keep-outputs", "--canonical"], ["--max-output-size", "1MB"], ["--all"]])
def test_an_odd_notebook_is_no_bug_and_does_not_stop_the_rest(ctx, tmp_path, words):
    for name, document in ODD.items():
        (tmp_path / f"{name}.ipynb").write_text(json.dumps(document))
    good = write(tmp_path / "good.ipynb", RAN)
    done = kagg(ctx, "preprocess", tmp_path, *words)
    assert done.code in (Exit.DONE, Exit.USAGE)
    assert "bug:" not in done.err
    assert read(good)["cells"][0]["execution_count"] is None


def test_a_step_that_fails_on_one_notebook_is_a_bug_of_this_one(ctx, tmp_path, monkeypatch):
    from plugins.prep import clean

    real = clean.apply

    def broken(document, options):
        if "boom" in str(document):
            raise ZeroDivisionError("boom")
        return real(document, options)

    monkeypatch.setattr(clean, "apply", broken)
    write(tmp_path / "bad.ipynb", cell("boom"))
    good = write(tmp_path / "good.ipynb", RAN)
    done = kagg(ctx, "preprocess", tmp_path)
    assert done.code == Exit.BUG
    assert f"{tmp_path / 'bad.ipynb'}: failed: bug: ZeroDivisionError" in done.err
    assert read(good)["cells"] == [cell("print(1)")]


# ---------------------------------------------------------------- check, diff, steps, settings


def test_check_and_diff_change_nothing_and_end_with_3(ctx, tmp_path):
    path = write(tmp_path / "a.ipynb", RAN)
    before = path.read_bytes()
    checked = kagg(ctx, "preprocess", path, "--check")
    assert (checked.code, path.read_bytes()) == (Exit.FINDINGS, before)
    assert "would change" in checked.out
    shown = kagg(ctx, "preprocess", path, "--diff")
    assert (shown.code, path.read_bytes()) == (Exit.FINDINGS, before)
    assert '-   "execution_count": 2,' in shown.out
    assert '+   "execution_count": null,' in shown.out
    assert kagg(ctx, "preprocess", path).code == 0
    assert kagg(ctx, "preprocess", path, "--check").code == 0
    assert kagg(ctx, "preprocess", path, "--diff").code == 0


def test_only_the_steps_that_are_named_are_taken(ctx, tmp_path):
    path = write(tmp_path / "a.ipynb", RAN, cell("import os, sys\nprint(sys.path)"))
    assert kagg(ctx, "preprocess", path, "--clean", "--keep-outputs").code == 0
    assert read(path)["cells"][0] == cell("print(1)", outputs=[stream("1\n")])
    assert kagg(ctx, "preprocess", path, "--strip-outputs").code == 0
    assert read(path)["cells"][1]["source"].startswith("import os, sys")
    assert kagg(ctx, "preprocess", path, "--optimize").code == 0
    assert read(path)["cells"][1]["source"] == "import sys\nprint(sys.path)"


def test_an_option_of_a_step_asks_for_the_step(ctx, tmp_path):
    path = write(tmp_path / "a.ipynb", RAN, cell("import os, sys\nprint(sys.path)"))
    assert "removed import os" in kagg(ctx, "preprocess", path, "--explain", "--check").out
    assert kagg(ctx, "preprocess", path, "--hoist").code == 0
    assert read(path)["cells"][0]["metadata"] == RAN["metadata"]
    assert "os" not in read(path)["cells"][1]["source"].partition("\n")[0]
    leak = write(tmp_path / "b.ipynb", cell(f"key = '{token()}'", metadata={"scrolled": True}))
    kagg(ctx, "preprocess", leak, "--clean", "--fix-secrets")
    assert token() not in leak.read_text()


def test_a_notebook_with_a_traceback_is_refused_when_asked(ctx, tmp_path):
    error = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}
    path = write(tmp_path / "a.ipynb", cell(outputs=[error], execution_count=1))
    before = path.read_bytes()
    done = kagg(ctx, "preprocess", path, "--refuse-error-outputs")
    assert (done.code, path.read_bytes()) == (Exit.FINDINGS, before)
    assert "ValueError" in done.out
    assert "0 secrets" in done.out
    leak = write(tmp_path / "b.ipynb", cell(outputs=[error]), metadata={"mine": {"key": token()}})
    done = kagg(ctx, "-v", "preprocess", leak, "--refuse-error-outputs", "--fix-secrets")
    assert "1 secret" in done.out
    assert "no longer" not in done.out
    assert "removed" not in done.out


def test_settings_are_taken_where_the_command_line_leaves_them_open(ctx, tmp_path):
    path = write(tmp_path / "a.ipynb", RAN)
    settings = tmp_path / "settings.yaml"
    settings.write_text("preprocess:\n  steps: [outputs]\n  keep-tag: [figure]\n  max_output_size: 100kB\n")
    assert kagg(ctx, "preprocess", path, "--config", settings).code == 0
    assert read(path)["cells"][0]["metadata"] == {"scrolled": True}
    assert read(path)["cells"][0]["outputs"] == [stream("1\n")]
    write(path, RAN, cell("plot()", metadata={"tags": ["figure"]}, outputs=[stream("kept" * 99)]))
    settings.write_text("preprocess:\n  keep_tag: figure\n  no_risk: home-path\n  steps: strip-outputs\n")
    assert kagg(ctx, "preprocess", path, "--config", settings).code == 0
    assert [len(one["outputs"]) for one in read(path)["cells"]] == [0, 1]


@pytest.mark.parametrize(
    "line",
    ["keep_everything: true", "out: 5.5", "steps: polish", 'keep_outputs: "false"', "keep_tag: {a: 1}", "no_risk: all",
     "max_output_size: huge", "config: x", "- clean"],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(ctx, tmp_path, line):
    path = write(tmp_path / "a.ipynb", RAN)
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"preprocess:\n  {line}\n")
    done = kagg(ctx, "preprocess", path, "--config", settings)
    assert done.code in (Exit.CONFIG, Exit.USAGE)
    assert done.err.count("\n") == 1
    assert read(path)["cells"] == [RAN]


def test_the_command_line_wins_over_the_settings(ctx, tmp_path):
    path = write(tmp_path / "a.ipynb", RAN)
    settings = tmp_path / "settings.yaml"
    settings.write_text("preprocess:\n  check: true\n  keep_outputs: true\n")
    assert kagg(ctx, "preprocess", path, "--config", settings).code == Exit.FINDINGS
    assert kagg(ctx, "preprocess", path, "--config", settings, "-o", tmp_path / "b.ipynb").code == 0
    assert read(tmp_path / "b.ipynb")["cells"] == [cell("print(1)", outputs=[stream("1\n")])]


def test_canonical_bytes_are_those_of_nbformat(ctx, tmp_path):
    import nbformat

    parts = {"metadata": {"kaggle": {"b": 1, "a": "é"}, "kernelspec": {"name": "python3", "display_name": "P"}}}
    path = tmp_path / "a.ipynb"
    document = notebook(cell("a = 'é'\nb", outputs=[stream("x\ny\n")]), cell("t", "markdown"), **parts)
    path.write_text(json.dumps(document, indent=3))
    assert kagg(ctx, "preprocess", path, "--clean", "--keep-outputs", "--canonical").code == 0
    assert path.read_text() == nbformat.writes(nbformat.from_dict(document)) + "\n"
    assert "unchanged" in kagg(ctx, "preprocess", path, "--clean", "--keep-outputs", "--canonical").out
    assert kagg(ctx, "preprocess", write(tmp_path / "b.ipynb", cell("'\ud800'")), "--canonical").code == 0


# ---------------------------------------------------------------- secrets


def test_a_secret_ends_with_3_names_its_place_and_is_never_shown(ctx, tmp_path):
    path = write(tmp_path / "a.ipynb", cell("x = 1"), cell(f"import os\nlogin('{token()}')"))
    for words in ((), ("--check",), ("--scan",), ("--json",), ("--format", "sarif"), ("--format", "github")):
        done = kagg(ctx, "preprocess", path, *words)
        assert done.code == Exit.FINDINGS, words
        assert token()[6:] not in done.out + done.err
        assert "hugging" in (done.out + done.err).lower()
    document = kagg(ctx, "--json", "preprocess", path).document
    found = document["findings"][0]
    assert (found["cell"], found["line"], found["severity"]) == (1, 2, "error")
    assert kagg(ctx, "preprocess", path, "--allow-finding", found["id"]).code == 0


def test_a_secret_that_stripping_takes_out_is_a_warning_because_it_was_seen(ctx, tmp_path):
    path = write(tmp_path / "a.ipynb", cell("show()", outputs=[stream(f"key {token()}\n")]))
    assert kagg(ctx, "preprocess", path, "--check").code == Exit.FINDINGS
    assert kagg(ctx, "preprocess", path, "--scan").code == Exit.FINDINGS
    done = kagg(ctx, "preprocess", path)
    assert done.code == 0
    assert "no longer in the file" in done.out
    assert token() not in path.read_text()
    assert kagg(ctx, "preprocess", path).out.count("\n") == 1


def test_a_diff_shows_no_secret_and_no_count_is_said_without_a_scan(ctx, tmp_path):
    word = "Tr0ub4dor-xY9" + "zzQ"
    path = write(tmp_path / "a.ipynb", cell(f"db.connect(password='{word}')", metadata={"scrolled": True}))
    for more in ((), ("--json",), ("--clean",)):
        done = kagg(ctx, "preprocess", path, "--diff", *more)
        assert done.code == Exit.FINDINGS
        assert word not in done.out + done.err
    assert kagg(ctx, "preprocess", path, "--clean").out == f"{path}: changed\n"


def test_a_value_that_is_left_where_no_rule_sees_it_is_still_an_error(ctx, tmp_path):
    key = "".join(random.Random(9).choices("0123456789abcdef", k=40))  # noqa: S311 - must repeat
    shown = cell("login()", outputs=[stream(f"wandb.login(key='{key}')")])
    path = write(tmp_path / "a.ipynb", cell(f"z = '{key}'"), shown)
    done = kagg(ctx, "preprocess", path)
    assert done.code == Exit.FINDINGS
    assert "still in the file" in done.out


def test_secrets_are_replaced_by_lookups_on_request(ctx, tmp_path):
    path = write(tmp_path / "a.ipynb", cell(f"key = '{token()}'\nlogin(key)"))
    done = kagg(ctx, "preprocess", path, "--fix-secrets")
    assert token() not in path.read_text()
    assert "secret-replaced" in done.out
    assert "os.environ[" in "".join(read(path)["cells"][0]["source"])
    assert kagg(ctx, "preprocess", path).code == 0, done


def test_a_baseline_lets_known_secrets_pass_and_new_ones_not(ctx, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "a.ipynb", cell(f"a = '{token()}'"))
    made = kagg(ctx, "preprocess", "a.ipynb", "--baseline", "known.json", "--update-baseline")
    assert made.code == 0, made
    assert token() not in (tmp_path / "known.json").read_text()
    assert kagg(ctx, "preprocess", "a.ipynb", "--baseline", "known.json").code == 0
    assert kagg(ctx, "preprocess", "a.ipynb").code == Exit.FINDINGS
    write(path, cell(f"a = '{token()}'"), cell(f"b = '{token(4)}'"))
    assert kagg(ctx, "preprocess", "a.ipynb", "--baseline", "known.json").code == Exit.FINDINGS


# ---------------------------------------------------------------- requirements


def test_requirements_of_all_notebooks_become_one_file_that_says_where_from(ctx, tmp_path):
    one = write(tmp_path / "one.ipynb", cell("import sklearn\nimport os"), cell("%pip install -q xgboost==2.0.3"))
    two = write(tmp_path / "two.ipynb", cell("import cv2, sklearn\nimport somebodys_module"))
    before = one.read_bytes()
    out = tmp_path / "requirements.txt"
    done = kagg(ctx, "preprocess", one, two, "--requirements", out)
    assert done.code == 0, done
    names = [line.split("#")[0].strip() for line in out.read_text().splitlines()]
    assert names == ["opencv-python", "scikit-learn", "xgboost==2.0.3"]
    assert "cell 0 line 1" in out.read_text()
    assert "somebodys_module" in done.out
    assert one.read_bytes() == before


# ---------------------------------------------------------------- every real notebook


@pytest.mark.skipif(not Path(CORPUS).is_dir() or not CORPUS, reason="KAGG_CORPUS names no folder of notebooks")
def test_all_steps_over_real_notebooks_are_valid_parse_and_do_nothing_the_second_time(ctx, tmp_path):
    import nbformat

    out = tmp_path / "out"
    first = kagg(ctx, "--json", "preprocess", CORPUS, "--all", "-o", out)
    rows = [json.loads(line) for line in first.out.splitlines()]
    done = [row for row in rows if "error" not in row]
    assert len(done) >= 0.9 * len(rows) > 100
    for row in done:
        nbformat.validate(read(Path(row["out"])))
    again = kagg(ctx, "--json", "preprocess", out, "--all")
    assert not [row for row in map(json.loads, again.out.splitlines()) if row.get("error") or row["changed"]]
    leaks = [finding for row in rows for finding in row["findings"] if finding["severity"] == "error"]
    assert len(leaks) <= 4, leaks


def test_output_goes_nowhere_when_the_reader_has_gone(ctx, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(notebook(RAN)).encode())))
    target = tmp_path / "made.ipynb"
    assert kagg(ctx, "preprocess", "-", "-o", target).code == 0
    assert read(target)["cells"] == [cell("print(1)")]
