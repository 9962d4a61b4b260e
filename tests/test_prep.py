"""The notebook steps: the suite for all of them, then what each one keeps, drops and finds."""

from __future__ import annotations

import base64
import copy
import json
import os
import random
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from kagg import Context, Finding
from plugins.lib import secret_rules
from plugins.prep import clean, outputs, secrets
from tests.suites import prep_suite

ROOMS = {"clean": clean.apply, "outputs": outputs.apply, "secrets": secrets.apply}
CORPUS = os.environ.get("KAGG_CORPUS", "")
HEX, LETTERS = "0123456789abcdef", string.ascii_letters + string.digits
FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def ctx(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    return Context(env={"KAGG_HOME": str(home), "HOME": str(home)})


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
def test_every_step_holds_its_promises_on_generated_notebooks(room, ctx):
    @FEW
    @given(prep_suite.notebooks())
    def check(document):
        prep_suite.check_all(ROOMS[room], document, ctx)

    check()


@pytest.mark.parametrize("room", ROOMS)
def test_no_step_stumbles_over_malformed_notebooks(room, ctx):
    prep_suite.check_malformed(ROOMS[room], ctx)


@pytest.mark.skipif(not Path(CORPUS).is_dir() or not CORPUS, reason="KAGG_CORPUS names no folder of notebooks")
@pytest.mark.parametrize("room", ROOMS)
def test_every_step_holds_its_promises_on_real_notebooks(room, ctx):
    count = 0
    for name, document in corpus():
        count += 1
        try:
            prep_suite.check_all(ROOMS[room], document, ctx)
        except AssertionError as error:
            pytest.fail(f"{name}: {error}")
    assert count > 0


def _changes_its_input(document, ctx):
    document["metadata"]["seen"] = True
    return document, []


def _answers_by_chance(document, ctx):
    return document | {"metadata": {"run": random.random()}}, []  # noqa: S311 - not cryptography


def _adds_each_time(document, ctx):
    return document | {"metadata": document["metadata"] | {"n": document["metadata"].get("n", 0) + 1}}, []


def _drops_what_the_schema_needs(document, ctx):
    return {key: value for key, value in document.items() if key != "metadata"}, []


def _drops_empty_cells(document, ctx):
    return document | {"cells": [one for one in document["cells"] if one["source"]]}, []


def _points_nowhere(document, ctx):
    return document, [Finding("x", "error", "message", 99)]


def _shouts(document, ctx):
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
def test_the_suite_fails_a_broken_step(broken, check, ctx):
    document = notebook(cell("x = 1"), cell(""))
    with pytest.raises(AssertionError):
        prep_suite.CHECKS[check](broken, document, ctx)
    prep_suite.check_all(lambda same, _: (same, []), notebook(cell("x = 1"), cell("")), ctx)


# ---------------------------------------------------------------- outputs


def test_outputs_and_counts_go_and_tagged_cells_keep_theirs(ctx):
    kept = cell("2", execution_count=2, outputs=[stream("two")], metadata={"tags": ["keep_output"]})
    result, findings = outputs.apply(notebook(cell("1", execution_count=1, outputs=[stream("one")]), kept), ctx)
    assert result["cells"] == [cell("1"), kept]
    assert findings == []


def test_a_whole_notebook_may_ask_to_keep_its_outputs(ctx):
    document = notebook(cell("1", outputs=[stream("one")]), keep_output=True)
    assert outputs.apply(document, ctx) == (document, [])


def test_kaggles_markdown_cells_with_outputs_become_valid(ctx):
    document = notebook(cell("# t", "markdown", outputs=[], execution_count=None))
    assert not prep_suite.is_valid(document)
    result, findings = outputs.apply(document, ctx)
    assert prep_suite.is_valid(result)
    assert [(finding.kind, finding.cell) for finding in findings] == [("invalid-cell", 0)]


def test_a_code_cell_without_outputs_gets_an_empty_list(ctx):
    bare = cell("1")
    del bare["outputs"]
    result, findings = outputs.apply(notebook(bare), ctx)
    assert prep_suite.is_valid(result)
    assert "without outputs" in findings[0].message


def test_worksheets_of_version_3_lose_their_outputs(ctx):
    old = {"cell_type": "code", "language": "python", "input": "1", "prompt_number": 4, "outputs": [{"text": "x"}]}
    result, _ = outputs.apply({"nbformat": 3, "worksheets": [{"cells": [old]}]}, ctx)
    assert result["worksheets"][0]["cells"] == [
        {"cell_type": "code", "language": "python", "input": "1", "outputs": []}
    ]


# ---------------------------------------------------------------- clean


def test_metadata_with_a_meaning_stays_and_the_rest_is_named(ctx):
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
    result, findings = clean.apply(document, ctx)
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


def test_missing_and_double_ids_are_made_from_the_text_and_good_ones_stay(ctx):
    document = notebook(cell("a", id="good"), cell("b"), cell("b"), cell("c", id="good"), cell(id="n o"), minor=5)
    result, findings = clean.apply(document, ctx)
    ids = [one["id"] for one in result["cells"]]
    assert ids[0] == "good"
    assert len(set(ids)) == 5
    assert prep_suite.is_valid(result)
    assert clean.apply(copy.deepcopy(document), ctx)[0] == result
    assert "gave 4 cells an id" in findings[0].message


def test_an_id_does_not_change_when_a_cell_is_put_before_it(ctx):
    before, _ = clean.apply(notebook(cell("b"), minor=5), ctx)
    after, _ = clean.apply(notebook(cell("new"), cell("b"), minor=5), ctx)
    assert before["cells"][0]["id"] == after["cells"][1]["id"]


def test_ids_that_the_format_forbids_are_removed(ctx):
    result, findings = clean.apply(notebook(cell(id="a")), ctx)
    assert "id" not in result["cells"][0]
    assert prep_suite.is_valid(result)
    assert "removed the id of 1 cells" in findings[0].message


def test_attachments_stay_while_the_text_shows_them(ctx):
    pictures = {"a b.png": {"image/png": "aGk="}, "old.png": {"image/png": "aGk="}}
    shown = cell(["![x](attachment:", "a%20b.png)"], "markdown", attachments=pictures)
    orphan = cell("nothing", "markdown", attachments=pictures)
    result, findings = clean.apply(notebook(shown, orphan), ctx)
    assert list(result["cells"][0]["attachments"]) == ["a b.png"]
    assert "attachments" not in result["cells"][1]
    assert [(finding.kind, finding.cell) for finding in findings] == [
        ("orphan-attachment", 0),
        ("orphan-attachment", 1),
    ]


# ---------------------------------------------------------------- secrets


def lot(size, alphabet=LETTERS, seed=7):
    return "".join(random.Random(seed * 1000 + size).choices(alphabet, k=size))  # noqa: S311 - must repeat


def planted():
    """Make one text per kind, at run time so that no file of the project holds what looks like a token."""
    part = "eyJ" + base64.urlsafe_b64encode(b'lg":"HS256"}').decode().strip("=")
    jwt = base64.urlsafe_b64encode(b'{"alg":"HS256"}').decode().strip("=")
    return {
        "aws-access-key": "x = 'AKIA" + lot(16, string.ascii_uppercase + "234567") + "'",
        "aws-secret-key": f"%env AWS_SECRET_ACCESS_KEY={lot(40)}",
        "google-api-key": f"genai.configure(api_key='AIza{lot(35)}')",
        "github-token": f"!git clone https://ghp_{lot(36)}@github.com/a/b",
        "gitlab-token": f"glpat-{lot(20)}",
        "slack-webhook": f"https://hooks.slack.com/services/T{lot(8).upper()}/B{lot(9).upper()}/{lot(24)}",
        "discord-webhook": f"https://discord.com/api/webhooks/{lot(18, string.digits)}/{lot(68)}",
        "telegram-token": f"bot = '{lot(9, '13579')}:AA{lot(33)}'",
        "stripe-key": f"stripe.api_key = 'sk_live_{lot(24)}'",
        "openai-key": f"openai.api_key = 'sk-proj-{lot(74)}T3BlbkFJ{lot(73)}'",
        "anthropic-key": f"key='sk-ant-api03-{lot(93)}AA'",
        "huggingface-token": f"login(token='hf_{lot(34)}')",
        "kaggle-token": f"KGAT_{lot(32, HEX)}",
        "kaggle-key": json.dumps({"username": "someone", "key": lot(32, HEX)}),
        "wandb-key": f"!wandb login {lot(40, HEX)}",
        "replicate-token": f"r8_{lot(37)}",
        "databricks-token": f"dapi{lot(32, HEX)}",
        "tavily-key": f"tvly-{lot(32)}",
        "langsmith-key": f"lsv2_pt_{lot(32, HEX)}_{lot(10, HEX)}",
        "cohere-key": f"co = cohere.Client('{lot(40)}')",
        "ngrok-token": f"!ngrok authtoken 2{lot(26)}_{lot(22)}",
        "npm-token": f"npm_{lot(36)}",
        "pypi-token": f"pypi-AgE{lot(60)}",
        "docker-token": f"dckr_pat_{lot(27)}",
        "sendgrid-key": f"SG.{lot(22)}.{lot(43)}",
        "azure-client-secret": f"{lot(3)}8Q~{lot(34)}",
        "azure-storage-key": f"AccountName=a;AccountKey={lot(86)}==;EndpointSuffix=core.windows.net",
        "azure-sas": f"https://a.blob.core.windows.net/c?sv=2022-11-02&se=2030-01-01&sig={lot(43)}%3D",
        "private-key": "-----BEGIN RSA " + f"PRIVATE KEY-----\nMIIE{lot(60)}\n",
        "json-web-token": f"t = '{jwt}.{part}.{lot(43)}'",
        "url-credentials": f"create_engine('postgresql://bob:{lot(12)}@db.host.io:5432/x')",
        "basic-auth": "Authorization: Basic " + base64.b64encode(f"bob:{lot(9)}".encode()).decode(),
        "bearer-token": f"headers = {{'Authorization': 'Bearer {lot(40)}'}}",
        "curl-credentials": f"!curl -u bob:{lot(12)} https://a.io",
        "password": f"connect(user='bob', password='{lot(10)}')",
        "generic-secret": f"os.environ['MY_API_KEY'] = '{lot(24)}'",
    }


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


@pytest.mark.parametrize("kind", planted())
def test_each_kind_of_secret_is_found_once_and_never_shown(kind, ctx):
    text = planted()[kind]
    _, findings = secrets.apply(notebook(cell("import os\n" + text)), ctx)
    assert [finding.kind for finding in findings] == [kind]
    found = findings[0]
    assert (found.severity, found.cell, found.line) == ("error", 0, 2)
    assert "os.environ[" in found.fix
    value = secret_rules.find(text)[0].value
    assert value[5:] not in repr(found)
    assert f"({len(value)} characters)" in found.message


@pytest.mark.parametrize("text", HARMLESS)
def test_placeholders_and_look_ups_are_not_secrets(text, ctx):
    assert secrets.apply(notebook(cell(text), cell("", outputs=[stream(text)])), ctx)[1] == []


TOKEN = f"hf_{lot(34)}"
PLACES = {
    "markdown": cell(f"my key is `{TOKEN}`", "markdown"),
    "raw": cell(TOKEN, "raw"),
    "lines": cell(["a = 1\n", f"b = '{TOKEN}'\n"]),
    "stream": cell(outputs=[stream(["x\n", f"token {TOKEN}\n"])]),
    "result": cell(outputs=[{"output_type": "execute_result", "data": {"text/plain": [f"'{TOKEN}'"]}, "metadata": {}}]),
    "json": cell(outputs=[{"output_type": "display_data", "data": {"application/json": {"a": [TOKEN]}}}]),
    "html": cell(outputs=[{"output_type": "display_data", "data": {"text/html": f"<b>{TOKEN[:9]}</b>{TOKEN[9:]}"}}]),
    "attribute": cell(outputs=[{"output_type": "display_data", "data": {"text/html": f"<a href='?t={TOKEN}'>x</a>"}}]),
    "traceback": cell(
        outputs=[
            {"output_type": "error", "evalue": "", "traceback": [f"\x1b[31mE\x1b[0m {TOKEN[:5]}\x1b[1m{TOKEN[5:]}"]}
        ]
    ),
    "cell metadata": cell(metadata={"papermill": {"parameters": {"token": TOKEN}}}),
    "shell": cell(f"!export HF_TOKEN={TOKEN}"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_token_is_found_wherever_it_stands(place, ctx):
    _, findings = secrets.apply(notebook(cell("1"), PLACES[place]), ctx)
    assert [(finding.kind, finding.cell) for finding in findings] == [("huggingface-token", 1)]


def test_a_token_in_the_notebooks_metadata_is_found(ctx):
    _, findings = secrets.apply(notebook(papermill={"parameters": {"key": TOKEN}}), ctx)
    assert [(finding.kind, finding.cell) for finding in findings] == [("huggingface-token", None)]


def test_image_payloads_are_never_searched(ctx):
    payload = "A" * 30 + f"/{TOKEN}/" + "B" * 400
    image = {"output_type": "display_data", "data": {"image/png": payload}, "metadata": {}}
    page = {"output_type": "display_data", "data": {"text/html": f"<img src='data:image/png;base64,{lot(900)}'>"}}
    assert secrets.apply(notebook(cell(outputs=[image, page])), ctx)[1] == []


@pytest.mark.parametrize(
    "source",
    [
        f"a = '{TOKEN}'  # pragma: allowlist secret",
        f"a = '{TOKEN}'  # gitleaks:allow",
        f"# pragma: allowlist nextline secret\na = '{TOKEN}'",
    ],
)
def test_a_marked_line_is_allowed_and_the_next_one_is_not(source, ctx):
    assert secrets.apply(notebook(cell(source)), ctx)[1] == []
    assert len(secrets.apply(notebook(cell(source + f"\nb = '{TOKEN}'")), ctx)[1]) == 1


def test_each_finding_names_its_line(ctx):
    _, findings = secrets.apply(notebook(cell(f"\n\na = '{TOKEN}'\n\nb = '{TOKEN}'")), ctx)
    assert [finding.line for finding in findings] == [3, 5]
