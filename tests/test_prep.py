"""The notebook steps: the suite for all of them, then what cleaning and stripping keep and drop."""

from __future__ import annotations

import copy
import json
import os
import random
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from kagg import Exit, Finding, KaggError
from plugins.prep import clean, outputs, risks, secrets
from tests.suites import prep_suite

ROOMS = {"clean": clean.apply, "outputs": outputs.apply, "secrets": secrets.apply, "risks": risks.apply}
CORPUS = os.environ.get("KAGG_CORPUS", "")
HEX, LETTERS = "0123456789abcdef", string.ascii_letters + string.digits
FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def cell(source="", kind="code", **parts):
    base = {"cell_type": kind, "metadata": {}, "source": source}
    return base | ({"execution_count": None, "outputs": []} if kind == "code" else {}) | parts


def notebook(*cells, minor=4, **metadata):
    return {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": minor}


def stream(text):
    return {"output_type": "stream", "name": "stdout", "text": text}


def corpus():
    """Read the real notebooks that are JSON objects."""
    for path in sorted(Path(CORPUS).rglob("*.ipynb")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            continue
        if isinstance(document, dict):
            yield path.name, document


# ---------------------------------------------------------------- every step


@pytest.mark.parametrize("room", ROOMS)
def test_every_step_holds_its_promises_on_generated_notebooks(room):
    @FEW
    @given(prep_suite.notebooks())
    def check(document):
        prep_suite.check_all(ROOMS[room], document, {})

    check()


@pytest.mark.parametrize("room", ROOMS)
def test_no_step_stumbles_over_malformed_notebooks(room):
    prep_suite.check_malformed(ROOMS[room], {})


@pytest.mark.skipif(not Path(CORPUS).is_dir() or not CORPUS, reason="KAGG_CORPUS names no folder of notebooks")
@pytest.mark.parametrize("room", ROOMS)
def test_every_step_holds_its_promises_on_real_notebooks(room):
    count = 0
    for name, document in corpus():
        count += 1
        try:
            prep_suite.check_all(ROOMS[room], document, {})
        except AssertionError as error:
            pytest.fail(f"{name}: {error}")
    assert count > 0


def _changes_its_input(document, options):
    document["metadata"]["seen"] = True
    return document, []


def _answers_by_chance(document, options):
    return document | {"metadata": {"run": random.random()}}, []  # noqa: S311 - not cryptography


def _adds_each_time(document, options):
    return document | {"metadata": document["metadata"] | {"n": document["metadata"].get("n", 0) + 1}}, []


def _drops_what_the_schema_needs(document, options):
    return {key: value for key, value in document.items() if key != "metadata"}, []


def _drops_empty_cells(document, options):
    return document | {"cells": [one for one in document["cells"] if one["source"]]}, []


def _points_nowhere(document, options):
    return document, [Finding("x", "error", "message", 99)]


def _shouts(document, options):
    return document, [Finding("x", "fatal", "message")]


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (_changes_its_input, "pure"),
        (_answers_by_chance, "pure"),
        (_adds_each_time, "idempotent"),
        (_drops_what_the_schema_needs, "valid"),
        (_drops_empty_cells, "cells_kept"),
        (_points_nowhere, "findings_usable"),
        (_shouts, "findings_usable"),
    ],
)
def test_the_suite_fails_a_broken_step(broken, check):
    document = notebook(cell("x = 1"), cell(""))
    with pytest.raises(AssertionError):
        prep_suite.CHECKS[check](broken, document, {})
    prep_suite.check_all(lambda same, _: (same, []), notebook(cell("x = 1"), cell("")), {})


# ---------------------------------------------------------------- outputs


def test_outputs_and_counts_go_and_tagged_cells_keep_theirs():
    kept = cell("2", execution_count=2, outputs=[stream("two")], metadata={"tags": ["keep_output"]})
    result, findings = outputs.apply(notebook(cell("1", execution_count=1, outputs=[stream("one")]), kept), {})
    assert result["cells"] == [cell("1"), kept]
    assert findings == []


def test_a_whole_notebook_may_ask_to_keep_its_outputs():
    document = notebook(cell("1", outputs=[stream("one")]), keep_output=True)
    assert outputs.apply(document, {}) == (document, [])


def test_kaggles_markdown_cells_with_outputs_become_valid():
    document = notebook(cell("# t", "markdown", outputs=[], execution_count=None))
    assert not prep_suite.is_valid(document)
    result, findings = outputs.apply(document, {})
    assert prep_suite.is_valid(result)
    assert [(finding.kind, finding.cell) for finding in findings] == [("invalid-cell", 0)]


def test_a_code_cell_without_outputs_gets_an_empty_list():
    bare = cell("1")
    del bare["outputs"]
    result, findings = outputs.apply(notebook(bare), {})
    assert prep_suite.is_valid(result)
    assert "without outputs" in findings[0].message


# ---------------------------------------------------------------- clean


def test_metadata_with_a_meaning_stays_and_the_rest_is_named():
    document = notebook(
        cell(metadata={"tags": ["parameters"], "_uuid": "u", "execution": {}, "slideshow": {"slide_type": "skip"}}),
        cell(metadata={"jupyter": {"source_hidden": True, "outputs_hidden": True}, "id": "colab", "scrolled": True}),
        cell("x", "raw", metadata={"format": "text/latex", "vscode": {"languageId": "latex"}, "_uuid": "v"}),
        kernelspec={"name": "python3", "display_name": "Python 3", "language": "python", "env": {"HOME": "/home/me"}},
        language_info={"name": "python", "version": "3.10.1"},
        kaggle={"accelerator": "gpu"},
        papermill={"input_path": "/home/me/x.ipynb"},
        widgets={"application/vnd.jupyter.widget-state+json": {}},
    )
    result, findings = clean.apply(document, {})
    assert [one["metadata"] for one in result["cells"]] == [
        {"tags": ["parameters"], "slideshow": {"slide_type": "skip"}},
        {"jupyter": {"source_hidden": True}},
        {"format": "text/latex"},
    ]
    assert result["metadata"] == {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
        "kaggle": {"accelerator": "gpu"},
    }
    messages = [finding.message for finding in findings]
    assert messages == [
        "removed notebook metadata: kernelspec.env, language_info.version, papermill, widgets",
        "removed cell metadata: _uuid (2), execution, id, jupyter.outputs_hidden, scrolled, vscode",
    ]
    assert "/home/me" not in json.dumps([result, messages])


def test_missing_and_double_ids_are_made_from_the_text_and_good_ones_stay():
    document = notebook(cell("a", id="good"), cell("b"), cell("b"), cell("c", id="good"), cell(id="n o"), minor=5)
    result, findings = clean.apply(document, {})
    ids = [one["id"] for one in result["cells"]]
    assert ids[0] == "good"
    assert len(set(ids)) == 5
    assert prep_suite.is_valid(result)
    assert clean.apply(copy.deepcopy(document), {})[0] == result
    assert "gave 4 cells an id" in findings[0].message


def test_an_id_does_not_change_when_a_cell_is_put_before_it():
    before, _ = clean.apply(notebook(cell("b"), minor=5), {})
    after, _ = clean.apply(notebook(cell("new"), cell("b"), minor=5), {})
    assert before["cells"][0]["id"] == after["cells"][1]["id"]


def test_ids_that_the_format_forbids_are_removed():
    result, findings = clean.apply(notebook(cell(id="a")), {})
    assert "id" not in result["cells"][0]
    assert prep_suite.is_valid(result)
    assert "removed the id of 1 cells" in findings[0].message


def test_attachments_stay_while_the_text_shows_them():
    pictures = {"a b.png": {"image/png": "aGk="}, "old.png": {"image/png": "aGk="}}
    shown = cell(["![x](attachment:", "a%20b.png)"], "markdown", attachments=pictures)
    orphan = cell("nothing", "markdown", attachments=pictures)
    result, findings = clean.apply(notebook(shown, orphan), {})
    assert list(result["cells"][0]["attachments"]) == ["a b.png"]
    assert "attachments" not in result["cells"][1]
    assert [(finding.kind, finding.cell) for finding in findings] == [
        ("orphan-attachment", 0),
        ("orphan-attachment", 1),
    ]


# ---------------------------------------------------------------- secrets


def lot(size, alphabet=LETTERS, seed=7):
    return "".join(random.Random(seed * 1000 + size).choices(alphabet, k=size))  # noqa: S311 - must repeat


HARMLESS = [
    "password='password'",
    "api_key='YOUR_API_KEY'",
    "token = os.environ['TOKEN']",
    "api_key=userdata.get('OPENAI_API_KEY')",
    "pad_token='<|endoftext|>'",
    "tokenizer='bert-base-uncased'",
    "openai.api_key = 'sk-...'",
    "login('hf_" + "x" * 34 + "')",
    "key = 'AKIA" + "IOSFODNN7EXAMPLE'",  # the vendor's own documentation
    "postgresql://user:password@localhost/db",
    "f'postgresql://{user}:{password}@{host}/x'",
    "token_pattern=r'(?u)\\b\\w+\\b'",
    "password = getpass.getpass('Password: ')",
    "https://user:pass@example.com",
    f"sha256 = '{lot(64, HEX)}'",
    f"commit {lot(40, HEX)}",
    "model_key = 'resnet50_v2_imagenet'",
    "password='********'",
    "secret_value_0 = user_secrets.get_secret('wandb')",
    "credentials = 'service_account.json'",
    "http://localhost:8888/?token=abc",
    "-----BEGIN " + "PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_placeholders_and_look_ups_are_not_secrets(text):
    assert secrets.apply(notebook(cell(text), cell("", outputs=[stream(text)])), {})[1] == []


# ---------------------------------------------------------------- options


def error():
    return {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": ["no"]}


def result(text):
    return {"output_type": "execute_result", "execution_count": 4, "data": {"text/plain": text}, "metadata": {}}


def test_outputs_stay_when_asked_by_option_tag_or_size():
    one, two = cell("1", outputs=[stream("one")]), cell("2", outputs=[stream("two")], metadata={"tags": ["figure"]})
    document = notebook(one, two)
    assert outputs.apply(document, {"keep_outputs": True}) == (document, [])
    kept, _ = outputs.apply(document, {"keep_tag": ["figure"]})
    assert [len(one["outputs"]) for one in kept["cells"]] == [0, 1]
    large = notebook(cell("1", outputs=[stream("x" * 5000), stream("small")]))
    kept, _ = outputs.apply(large, {"max_output_size": 1000})
    assert kept["cells"][0]["outputs"] == [stream("small")]
    assert outputs.apply(kept, {"max_output_size": 1000})[0] is kept


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("100kB", 100_000), ("1.5MiB", 1_572_864), ("4 kib", 4096), ("7", 7)]
)
def test_sizes_are_read_with_their_units(text, size):
    assert outputs.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5.2k", "12 parsecs"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(KaggError) as caught:
        outputs.parse_size(text)
    assert caught.value.code == Exit.USAGE


def test_errors_go_even_where_outputs_stay_or_stop_the_whole_notebook():
    document = notebook(cell("1", outputs=[stream("one"), error()]))
    kept, _ = outputs.apply(document, {"keep_outputs": True, "drop_error_outputs": True})
    assert kept["cells"][0]["outputs"] == [stream("one")]
    refused, findings = outputs.apply(document, {"refuse_error_outputs": True})
    assert refused is document
    assert [(one.kind, one.severity, one.cell) for one in findings] == [("error-output", "error", 0)]
    expected = notebook(cell("1", outputs=[error()], metadata={"tags": ["raises-exception"]}))
    assert outputs.apply(expected, {"refuse_error_outputs": True})[1] == []


def test_counts_go_from_cells_and_from_outputs_that_stay():
    document = notebook(cell("1", execution_count=4, outputs=[result("1")]))
    cleaned, _ = clean.apply(document, {"keep_outputs": True})
    assert cleaned["cells"][0] == cell("1", outputs=[result("1") | {"execution_count": None}])
    assert clean.apply(cleaned, {})[0] is cleaned


def test_ids_are_dropped_on_request_and_the_format_says_so():
    document = notebook(cell("1", id="a"), minor=5)
    cleaned, _ = clean.apply(document, {"drop_ids": True})
    assert (cleaned["nbformat_minor"], "id" in cleaned["cells"][0]) == (4, False)
    assert prep_suite.is_valid(cleaned)
    assert clean.apply(cleaned, {"drop_ids": True})[0] is cleaned


@pytest.mark.parametrize(
    ("metadata", "left"),
    [
        ({"kernelspec": {"display_name": "Python 3"}}, {}),
        ({"kernelspec": {"name": "ir"}}, {"kernelspec": {"name": "ir", "display_name": "ir"}}),
        ({"language_info": {"version": "3"}}, {}),
        ({"colab": {"provenance": [{"file_id": "x"}], "gpuType": "T4"}}, {"colab": {"gpuType": "T4"}}),
    ],
)
def test_metadata_that_the_schema_refuses_is_mended(metadata, left):
    cleaned, _ = clean.apply(notebook(**metadata), {})
    assert cleaned["metadata"] == left
    assert prep_suite.is_valid(cleaned)


def test_tags_become_a_list_of_different_words():
    document = notebook(cell(metadata={"tags": ["a", "a", "b,c", 3, "parameters"]}), cell(metadata={"tags": "a"}))
    cleaned, findings = clean.apply(document, {})
    assert [one["metadata"]["tags"] for one in cleaned["cells"]] == [["a", "parameters"], []]
    assert [one.kind for one in findings] == ["tags", "tags"]


def test_what_needs_no_change_is_the_same_object():
    document = notebook(cell("a", metadata={"tags": ["x"]}), cell("b", "markdown"), kaggle={"a": 1})
    for step in (clean, outputs):
        assert step.apply(document, {})[0] is document
    touched = notebook(cell("a", metadata={"scrolled": True}), cell("b"))
    cleaned, _ = clean.apply(touched, {})
    assert cleaned["cells"][1] is touched["cells"][1]


def test_a_hundred_thousand_equal_cells_without_ids_get_different_ones():
    document = notebook(*[cell("x") for _ in range(100_000)], minor=5)
    cleaned, _ = clean.apply(document, {})
    assert len({one["id"] for one in cleaned["cells"]}) == 100_000


@pytest.mark.parametrize(
    "document",
    [
        notebook(cell("x", ename=1), cell("y", "markdown", mine={"a": 1})) | {"extra": 1},
        notebook({"cell_type": "code", "metadata": {}, "source": "x"}),
        notebook(
            cell("x", metadata={"name": ""}), cell("y", metadata={"name": 5}), cell("z", metadata={"name": "a\nb"})
        ),
        notebook(cell("x", "markdown", attachments=3)),
        notebook(language_info={"name": "python", "version": 3, "codemirror_mode": {"name": "ipython"}, "mimetype": 5}),
        notebook(title=5, authors="me"),
    ],
)
def test_what_the_schema_refuses_becomes_valid_and_is_said(document):
    assert not prep_suite.is_valid(document)
    cleaned, findings = clean.apply(document, {})
    assert prep_suite.is_valid(cleaned)
    assert findings
    assert clean.apply(cleaned, {}) == (cleaned, [])
    assert [one["source"] for one in cleaned["cells"]] == [one["source"] for one in document["cells"]]
