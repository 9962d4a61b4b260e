"""The secret scan: where a token may hide, what is said of it, what is let pass, and what --fix-secrets makes of it."""

from __future__ import annotations

import argparse
import ast
import base64
import copy
import importlib.util
import json
import random
import string
import struct
import time
import urllib.parse
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kagg import Exit, Finding, KaggError
from plugins.lib.secrets import baseline, decode, fold, record, scan
from plugins.lib.secrets.text import pieces
from plugins.prep import secrets

HEX, ALNUM = "0123456789abcdef", string.ascii_letters + string.digits
FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
# variable, prefix, length of the rest, alphabet: 20 formats, each used twice
FORMATS = [
    ("GITHUB_TOKEN", "gh" + "p_", 36, ALNUM),
    ("GITHUB_OAUTH", "gh" + "o_", 36, ALNUM),
    ("HF_TOKEN", "h" + "f_", 34, string.ascii_letters),
    ("AWS_ACCESS_KEY_ID", "AK" + "IA", 16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
    ("GOOGLE_API_KEY", "AI" + "za", 35, ALNUM),
    ("GOOGLE_CLIENT_SECRET", "GOC" + "SPX-", 28, ALNUM),
    ("GITLAB_TOKEN", "gl" + "pat-", 20, ALNUM),
    ("STRIPE_API_KEY", "sk" + "_live_", 24, ALNUM),
    ("GROQ_API_KEY", "gs" + "k_", 52, ALNUM),
    ("REPLICATE_API_TOKEN", "r" + "8_", 37, ALNUM),
    ("DATABRICKS_TOKEN", "da" + "pi", 32, HEX),
    ("PERPLEXITY_API_KEY", "pp" + "lx-", 48, ALNUM),
    ("NPM_TOKEN", "np" + "m_", 36, ALNUM),
    ("DIGITALOCEAN_TOKEN", "do" + "p_v1_", 64, HEX),
    ("SHOPIFY_TOKEN", "shp" + "at_", 32, HEX),
    ("VAULT_TOKEN", "hv" + "s.", 24, ALNUM),
    ("DOCKER_TOKEN", "dck" + "r_pat_", 27, ALNUM),
    ("OPENROUTER_API_KEY", "sk-" + "or-v1-", 64, HEX),
    ("ANTHROPIC_API_KEY", "sk-" + "ant-api03-", 95, ALNUM),
    ("KAGGLE_API_TOKEN", "KG" + "AT_", 32, HEX),
]


def tokens():
    """Return 40 (variable, token), the same in every run."""
    source = random.Random(20)  # noqa: S311 - made-up tokens
    return [
        (name, prefix + "".join(source.choices(alphabet, k=size)))
        for name, prefix, size, alphabet in FORMATS
        for _ in range(2)
    ]


TOKENS = tokens()
TOKEN = TOKENS[0][1]


def cell(source="", kind="code", **parts):
    base = {"cell_type": kind, "metadata": {}, "source": source}
    return base | ({"execution_count": None, "outputs": []} if kind == "code" else {}) | parts


def notebook(*cells, **metadata):
    return {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}


def stream(text):
    return cell("run()", outputs=[{"output_type": "stream", "name": "stdout", "text": text}])


def shown(kind, value):
    return cell("x", outputs=[{"output_type": "display_data", "data": {kind: value}, "metadata": {}}])


def error(*lines):
    return cell("x", outputs=[{"output_type": "error", "ename": "E", "evalue": "", "traceback": list(lines)}])


def png(*chunks, noise=0):
    """Return a PNG file as base64: a grey dot, `chunks` of (type, data) and a random one of `noise` bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    body = [(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0\0"))]
    body += [(b"IDAT", random.Random(noise).randbytes(noise)), *chunks, (b"IEND", b"")]  # noqa: S311
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in body)).decode()


def b64(text):
    return base64.b64encode(text.encode()).decode()


def halves(token):
    middle = len(token) // 2
    return token[:middle], token[middle:]


def _widget(token):
    state = {"state": {"abc": {"model_name": "TextModel", "state": {"description": "key", "value": token}}}}
    return notebook(cell(), widgets={"application/vnd.jupyter.widget-state+json": state})


def _coloured(token):
    left, right = halves(token)
    return notebook(
        error("\x1b[0;31mError\x1b[0m", f"\x1b[32m----> 1\x1b[0m f(\x1b[34m'{left}\x1b[39;49m\x1b[31m{right}'\x1b[0m)")
    )


PLACES = {
    "code": lambda name, token: notebook(cell(f'import os\n{name} = "{token}"\n')),
    "code as lines": lambda name, token: notebook(cell(["import os\n", f"{name} = '{token}'\n"])),
    "!export": lambda name, token: notebook(cell(f"!export {name}={token}")),
    "%env": lambda name, token: notebook(cell(f"%env {name}={token}")),
    "%env with a blank": lambda name, token: notebook(cell(f"%env {name} {token}")),
    "markdown": lambda name, token: notebook(cell(f"Use the key `{token}` for {name}.", "markdown")),
    "markdown with escapes": lambda _, token: notebook(cell("key " + token.replace("_", "\\_"), "markdown")),
    "markdown with tags": lambda _, token: notebook(cell("<b>" + "</b><i>".join(halves(token)) + "</i>", "markdown")),
    "raw": lambda name, token: notebook(cell(f"{name}: {token}", "raw")),
    "stdout": lambda _, token: notebook(stream(f"logged in with {token}\n")),
    "stdout in colours": lambda _, token: notebook(stream("\x1b[31m" + "\x1b[32m".join(halves(token)) + "\x1b[0m\n")),
    "a result": lambda _, token: notebook(shown("text/plain", f"'{token}'")),
    "a result as lines": lambda _, token: notebook(shown("text/plain", ["{'a': 1,\n", f" 'key': '{token}'}}"])),
    "JSON output": lambda _, token: notebook(shown("application/json", {"a": [{"key": token}]})),
    "a key of a JSON output": lambda _, token: notebook(shown("application/json", {token: 1})),
    "JSON in a string": lambda _, token: notebook(shown("text/plain", json.dumps(json.dumps({"k": "\n" + token})))),
    "HTML output": lambda _, token: notebook(
        shown("text/html", f"<table><tr><td>key</td><td>{token}</td></tr></table>")
    ),
    "HTML that splits it": lambda _, t: notebook(
        shown("text/html", "<pre><span>" + "</span><span class='s'>".join(halves(t)) + "</span>")
    ),
    "an HTML attribute": lambda _, token: notebook(
        shown("text/html", f'<a href="https://x.org/?q=1&amp;t={token}">x</a>')
    ),
    "SVG": lambda _, token: notebook(shown("image/svg+xml", f"<svg><text>{token}</text></svg>")),
    "JavaScript": lambda _, token: notebook(shown("application/javascript", f'var t = "{token}";')),
    "LaTeX": lambda _, token: notebook(shown("text/latex", f"$\\text{{{token}}}$")),
    "the message of an error": lambda _, t: notebook(
        cell("x", outputs=[{"output_type": "error", "ename": "E", "evalue": f"bad {t}", "traceback": []}])
    ),
    "a traceback in colours": lambda _, token: _coloured(token),
    "notebook metadata": lambda _, token: notebook(cell(), papermill={"parameters": {"key": token}}),
    "cell metadata": lambda _, token: notebook(cell(metadata={"papermill": {"note": token}})),
    "widget state": lambda _, token: _widget(token),
    "an attachment": lambda _, token: notebook(
        cell(
            "![](attachment:a.json)",
            "markdown",
            attachments={"a.json": {"application/json": b64(json.dumps({"key": token}))}},
        )
    ),
    "base64 in source": lambda _, token: notebook(
        cell(f'import base64\nx = base64.b64decode("{b64("key=" + token)}")')
    ),
    "base64 in output": lambda _, token: notebook(stream(b64(json.dumps({"k": token})))),
    "a data: URI": lambda _, token: notebook(
        shown("text/html", f'<a href="data:text/plain;base64,{b64("key " + token)}">x</a>')
    ),
    "a data: URI in percent code": lambda _, t: notebook(
        cell("![](data:text/plain," + urllib.parse.quote(f"k={t}", safe="") + ")", "markdown")
    ),
    "tEXt of a PNG": lambda _, token: notebook(
        shown("image/png", png((b"tEXt", b"key\0" + token.encode()), noise=900))
    ),
    "zTXt of a PNG": lambda _, t: notebook(
        shown("image/png", png((b"zTXt", b"key\0\0" + zlib.compress(t.encode())), noise=900) + "\n")
    ),
    "iTXt of a PNG attachment": lambda _, t: notebook(
        cell("", "markdown", attachments={"a": {"image/png": png((b"iTXt", b"key\0\0\0\0\0" + t.encode()), noise=900)}})
    ),
    "a PNG in HTML": lambda _, t: notebook(
        shown(
            "text/html",
            f'<img src="data:image/png;base64,{png((b"tEXt", b"key" + bytes(1) + t.encode()), noise=900)}"/>',
        )
    ),
    "a split string": lambda name, token: notebook(cell('{} = "{}" + "{}"'.format(name, *halves(token)))),
    "a string split by lines": lambda name, token: notebook(
        cell('{} = (\n    "{}"\n    "{}"\n)'.format(name, *halves(token)))
    ),
    "names put together": lambda _, token: notebook(
        cell('a = "{}"\nb = "{}"'.format(*halves(token))), cell("k = a + b")
    ),
    "an f-string": lambda _, token: notebook(cell('a = "{}"\n%time\nk = f"{{a}}{}"'.format(*halves(token)))),
    "join": lambda _, token: notebook(cell('k = "".join(["{}", "{}"])'.format(*halves(token)))),
    "format": lambda _, token: notebook(cell('a = "{}"\nk = "{{}}{}".format(a)'.format(*halves(token)))),
    "percent": lambda _, token: notebook(cell('a = "{}"\nk = "%s{}" % a'.format(*halves(token)))),
    "a percent-encoded URL": lambda _, t: notebook(cell(f"url = 'https://x.org/?q=a%3D{t}'")),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_token_is_found_wherever_it_stands(place):
    plant = PLACES[place]
    found = [token for name, token in TOKENS if token in {r.value for r in secrets.records(plant(name, token), {})}]
    missed = [token[:8] for _, token in TOKENS if token not in found]
    assert len(found) >= 36, f"missed: {missed}"


@pytest.mark.parametrize("place", PLACES)
def test_a_notebook_without_a_token_has_no_finding(place):
    picture = shown("image/png", png((b"tEXt", b"Software\0matplotlib"), noise=30_000))
    wrapped = shown("text/html", f'<img src="data:image/png;base64,{png(noise=3000)}">')
    for number in range(40):
        clean = PLACES[place]("name", f"value{number}")
        clean["cells"] += [picture, wrapped, cell(f"![](data:image/png;base64,{png(noise=1500)})", "markdown")]
        assert secrets.apply(clean, {})[1] == []


def test_a_split_value_is_seen_with_the_name_it_is_given_to():
    key = "".join(random.Random(5).choices(HEX, k=32))  # noqa: S311 - a made-up key
    for form in (
        'KAGGLE_KEY = "{}" + "{}"',
        'KAGGLE_KEY = (\n  "{}"\n  "{}"\n)',
        'd = {{\n  "KAGGLE_KEY":\n  "{}" "{}"}}',
    ):
        assert key in {one.value for one in secrets.records(notebook(cell(form.format(*halves(key)))), {})}


@pytest.mark.parametrize("place", PLACES)
def test_no_word_about_a_finding_holds_more_than_four_characters_of_it(place):
    name, token = TOKENS[0]
    found = secrets.apply(PLACES[place](name, token), {})[1]
    assert found
    for finding in found:
        told = json.dumps(finding)
        assert not any(token[at : at + 5] in told for at in range(len(token) - 4))
        assert finding.severity == "error"
        assert len(finding.id) == 12
        assert "\n" not in finding.message + finding.fix


# ---------------------------------------------------------------- where a finding is


def test_cell_line_and_column_are_those_of_the_source():
    document = notebook(cell("# t", "markdown"), cell(f'x = 1\nif x:\n    key = "{TOKEN}"\n'))
    (found,) = secrets.apply(document, {})[1]
    assert (found.cell, found.line, found.column, found.place) == (1, 3, 12, "source")


def test_a_decoded_or_composed_secret_names_the_line_that_holds_it():
    document = notebook(cell('x = 1\ny = "{}" + "{}"\n'.format(*halves(TOKEN))), cell(f'\n\nz = "{b64("k " + TOKEN)}"'))
    found = secrets.apply(document, {})[1]
    assert [(one.cell, one.line, one.column) for one in found] == [(0, 2, None), (1, 3, None)]


def test_an_output_is_named_by_its_number_and_has_no_line():
    first, second = stream("nothing")["outputs"], shown("text/html", f"<b>{TOKEN}</b>")["outputs"]
    (found,) = secrets.apply(notebook(cell("x", outputs=first + second)), {})[1]
    assert (found.cell, found.line, found.column, found.place) == (0, None, None, "output")
    assert "output 2 (text/html)" in found.message
    assert "strip the outputs" in found.fix


def test_one_secret_is_one_finding_per_place_cell_and_line():
    line = f'print("{TOKEN}", "{TOKEN}")\n'
    document = notebook(cell(line + line, outputs=stream(TOKEN + "\n" + TOKEN)["outputs"]), cell(line))
    found = secrets.apply(document, {})[1]
    assert [(one.cell, one.place, one.line) for one in found] == [
        (0, "source", 1), (0, "source", 2), (0, "output", None), (1, "source", 1),
    ]  # fmt: skip
    assert len({one.id for one in found}) == 1


def test_an_id_is_the_same_everywhere_and_slow_to_guess():
    assert record.finding_id("password", "hunter2") == record.finding_id("password", "hunter2")
    assert record.finding_id("password", "hunter2") != record.finding_id("password", "hunter3")
    assert record.ID_ROUNDS >= 2000


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg", "application/pdf"])
def test_patterns_never_see_the_payload_of_an_image(kind):
    payload = "A" * 40 + "/" + TOKENS[6][1] + "/" + "B" * 4000
    assert secrets.apply(notebook(shown(kind, payload)), {})[1] == []
    assert secrets.apply(notebook(shown("text/html", f'<img src="data:{kind};base64,{payload}">')), {})[1] == []


def test_a_token_where_an_image_should_be_is_found():
    assert secrets.apply(notebook(shown("image/png", TOKEN)), {})[1]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_token_at_any_place_of_the_json_is_found(data):
    """Every text of a notebook is searched, also under keys that nobody knows."""
    document = notebook(
        cell("x = 1", outputs=[{"output_type": "stream", "name": "stdout", "text": ["a\n"], "odd": [{"x": "y"}]}]),
        shown("application/vnd.x+json", {"a": [{"b": "c"}]}),
        error("a", "b"),
        cell("t", "markdown", attachments={"a": {"text/plain": "x"}}, odd={"k": "v"}),
        kernelspec={"name": "python3", "display_name": "x"},
    ) | {"more": ["text"]}

    def spots(value, path=()):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(part, (dict, list)):
                yield from spots(part, (*path, key))
            elif isinstance(part, str) and key not in ("cell_type", "output_type"):
                yield (*path, key)

    *path, last = data.draw(st.sampled_from(list(spots(document))))
    parent = document
    for key in path:
        parent = parent[key]
    parent[last] = f"{parent[last]} {TOKEN} "
    assert TOKEN in {one.value for one in secrets.records(document, {})}
    assert scan.scan_bytes(json.dumps(document).encode(), "a.ipynb")


# ---------------------------------------------------------------- allowed findings


@pytest.mark.parametrize(
    "comment",
    ["# pragma: allowlist secret", "# pragma: whitelist secret", "# gitleaks:allow", "# trufflehog:ignore"],
)
def test_a_comment_allows_the_findings_of_its_line_only(comment):
    document = notebook(
        cell(f'a = "{TOKEN}"  {comment}\nb = "{TOKEN}"\n', outputs=stream(f"{TOKEN} {comment}")["outputs"])
    )
    assert [(one.place, one.line) for one in secrets.apply(document, {})[1]] == [("source", 2), ("output", None)]


def test_a_comment_may_speak_of_the_next_line():
    document = notebook(cell(f'# pragma: allowlist nextline secret\na = "{TOKEN}"\nb = "{TOKEN}"\n'))
    assert [one.line for one in secrets.apply(document, {})[1]] == [3]


def test_html_comments_of_markdown_count():
    text = f"key {TOKEN} <!-- pragma: allowlist secret -->\n\nkey {TOKENS[2][1]}"
    assert [one.line for one in secrets.apply(notebook(cell(text, "markdown")), {})[1]] == [3]


def test_a_composed_secret_is_allowed_by_a_comment_on_its_line():
    document = notebook(cell('y = "{}" + "{}"  # gitleaks:allow\n'.format(*halves(TOKEN))))
    assert secrets.apply(document, {})[1] == []


def test_an_allowed_id_lets_one_secret_pass_and_no_other():
    document = notebook(cell(f'a = "{TOKEN}"\nb = "{TOKENS[2][1]}"\n'))
    first, second = secrets.apply(document, {})[1]
    assert secrets.apply(document, {"allow_finding": [first.id]})[1] == [second]


# ---------------------------------------------------------------- baseline


def _baseline(tmp_path, name, *entries):
    path = tmp_path / ".secrets.baseline"
    results = {
        name: [{"type": kind, "filename": name, "hashed_secret": value, "line_number": 1} for kind, value in entries]
    }
    path.write_text(json.dumps({"version": "1.5.0", "plugins_used": [], "results": results}))
    return str(path)


def test_a_baseline_of_detect_secrets_leaves_known_findings_of_its_file_out(tmp_path):
    document = notebook(cell(f'a = "{TOKEN}"\nb = "{TOKENS[2][1]}"\n'))
    path = _baseline(tmp_path, "a.ipynb", ("Base64 High Entropy String", record.hashed_secret(TOKEN + "\\")))
    known = {"baseline": path}
    assert [one.line for one in secrets.apply(document, known | {"filename": "a.ipynb"})[1]] == [2]
    assert [one.line for one in secrets.apply(document, known | {"filename": "other.ipynb"})[1]] == [1, 2]
    assert [one.line for one in secrets.apply(document, known)[1]] == [2]


def test_what_was_written_into_a_baseline_is_known_afterwards(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    document = notebook(cell([f"{name} = '{token}'\n" for name, token in TOKENS]))
    path, content = tmp_path / "b.baseline", json.dumps(document, indent=1).encode()
    records = secrets.records(document, {})
    assert baseline.write_baseline(path, {"a.ipynb": records}, contents={"a.ipynb": content}) >= len(TOKENS)
    assert secrets.apply(document, {"baseline": str(path), "filename": "a.ipynb"})[1] == []
    written = json.loads(path.read_text())
    assert set(written) == {"version", "plugins_used", "filters_used", "results", "generated_at"}
    lines = content.decode().split("\n")
    for entry in written["results"]["a.ipynb"]:
        assert set(entry) == {"type", "filename", "hashed_secret", "is_verified", "line_number"}
        assert " = '" in lines[entry["line_number"] - 1]
    assert not any(token in path.read_text() for _, token in TOKENS)


def test_writing_a_baseline_again_keeps_what_was_said_of_old_findings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "b"
    old = {"type": "t", "filename": "old.py", "hashed_secret": "1", "is_secret": False, "line_number": 3}
    document = {"version": "1.4.0", "plugins_used": [{"name": "X"}], "results": {"old.py": [old]}}
    path.write_text(json.dumps(document))
    document = notebook(cell(f'a = "{TOKENS[4][1]}"'))
    baseline.write_baseline(path, {"a.ipynb": secrets.records(document, {})})
    written = json.loads(path.read_text())
    assert written["version"] == "1.4.0"
    assert written["plugins_used"] == [{"name": "X"}]
    assert written["results"]["old.py"][0]["is_secret"] is False
    assert len(written["results"]["a.ipynb"]) == 1


@pytest.mark.parametrize("content", [None, "{", "[]", '{"results": 3}'])
def test_a_baseline_that_is_none_is_one_clear_error(tmp_path, content):
    path = tmp_path / "b"
    if content is not None:
        path.write_text(content)
    with pytest.raises(KaggError, match=r"baseline|cannot read"):
        secrets.apply(notebook(cell()), {"baseline": str(path)})


# ---------------------------------------------------------------- --fix-secrets


def fix(*cells, **metadata):
    """Return the sources after --fix-secrets, the notes and the findings left."""
    document = notebook(*cells, **metadata)
    before = copy.deepcopy(document)
    result, found = secrets.apply(document, {"fix_secrets": True})
    assert document == before
    again, left = secrets.apply(result, {"fix_secrets": True})
    assert again is result
    assert [one for one in found if one.severity == "error"] == left
    sources = ["".join(one["source"]) for one in result["cells"]]
    return sources, [one for one in found if one.severity == "note"], left


def run(source, **env):
    import os

    names = {"os": os}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        exec(compile(source, "cell", "exec"), names)  # noqa: S102 - the cell of a test
    return names


@pytest.mark.parametrize(
    "code",
    [
        "x = '{token}'",
        'x = "{token}"',
        "x = r'{token}'",
        "x = 'Bearer {token}'",
        "x = 'a {token} b {token} c'",
        "x = 'Bearer {token}' + 'z'",
        "x = ('https://x/?k='\n     '{token}'\n     '&z=1')",
        "x = 'a' 'k {token}' r'\\d'",
        "n = 3\nx = f'n={{n}} k={token} {{n!r:>5}}'",
        "x = b'{token}'",
        "x = b'key {token}'",
        'x = """\nkey: {token}\nend\n"""',
        "x = {{'key': '{token}'}}",
        "def f(key='{token}'):\n    return key\nx = f()",
        "x = ['{token}'.upper(), '{token}'[2:5]]",
        "x = 'k {token} %d' % 5",
        "x = '{left}' + '{right}'",
        "x = '{left}' '{right}'",
        "x = (\n    '{left}'\n    '{right}'\n)",
        "x = ''.join(['{left}', '{right}'])",
        "n = str(3)\nx = n + '{left}' + '{right}' + n",
        "x = 1; y = '{token}'; z = 2",
        "é = 'é'; x = 'é {token} é'",
    ],
)
def test_a_literal_becomes_a_lookup_that_gives_the_same_value(code):
    left, right = halves(TOKEN)
    source = code.format(token=TOKEN, left=left, right=right)
    (fixed,), notes, rest = fix(cell(source))
    assert rest == []
    assert TOKEN not in fixed
    assert left not in fixed
    assert notes
    (variable,) = {one.message.rsplit(" ", 1)[-1].partition(",")[0] for one in notes}
    assert fixed.startswith("import os\n")
    assert fixed.count("\n") == source.count("\n") + 1
    old, new = run(source), run(fixed, **{variable: TOKEN})
    old.pop("f", None)
    for name, value in old.items():
        if name not in ("os", "__builtins__"):
            assert new[name] == value


def test_os_is_imported_once_and_only_where_it_is_missing():
    one, two = TOKENS[0][1], TOKENS[2][1]
    sources, _, left = fix(cell("import sys"), cell(f'a = "{one}"'), cell(f'b = "{two}"'))
    assert left == []
    assert [source.count("import os") for source in sources] == [0, 1, 0]
    sources, _, _ = fix(cell("import os, sys"), cell(f'a = "{one}"'))
    assert sources[1].startswith("a = os.environ[")
    sources, _, _ = fix(cell(f'%%time\na = "{one}"'))
    assert sources[0].startswith("%%time\nimport os\na = os.environ[")
    sources, _, _ = fix(cell(f'from __future__ import annotations\na = "{one}"'))
    assert sources[0].startswith("from __future__ import annotations\nimport os\n")


@pytest.mark.parametrize(
    ("extra", "metadata"),
    [("", {"kaggle": {"accelerator": "none"}}), ("df = read('/kaggle/input/x/train.csv')\n", {})],
)
def test_on_kaggle_secrets_come_from_kaggles_own_store(extra, metadata):
    (fixed,), _, left = fix(cell(f'{extra}a = "{TOKEN}"'), **metadata)
    assert left == []
    assert fixed.startswith("from kaggle_secrets import UserSecretsClient\n")
    assert 'a = UserSecretsClient().get_secret("' in fixed


def test_lines_that_only_set_the_environment_become_comments():
    name, token = "HF_TOKEN", TOKENS[4][1]
    lines = [
        f"%env {name}={token}",
        f"%env {name} {token}",
        f"!export {name}={token}",
        f'os.environ["{name}"] = "{token}"',
    ]
    for line in lines:
        (fixed,), notes, left = fix(cell(f"import os\n{line}\nx = 1"))
        assert left == []
        assert fixed == f"import os\n# {name} comes from the environment\nx = 1"
        assert name in notes[0].message


def test_an_environment_line_alone_in_a_block_leaves_a_block():
    (fixed,), _, left = fix(cell(f'import os\nif True:\n    os.environ["HF_TOKEN"] = "{TOKENS[4][1]}"\nx = 1'))
    assert left == []
    ast.parse(fixed)
    assert "pass  # HF_TOKEN" in fixed


def test_shell_lines_get_the_variable_with_the_right_quotes():
    sources, notes, left = fix(
        cell(f"!curl -H 'Authorization: Bearer {TOKEN}' https://x.org"),
        cell(f'!curl -H "Authorization: Bearer {TOKEN}" https://x.org && ls'),
        cell(f"%%bash\nexport KEY={TOKEN}\ncurl -u x https://x.org/{TOKEN}"),
    )
    assert left == []
    variable = notes[0].message.rsplit(" ", 1)[-1]
    assert sources[0] == f"!curl -H 'Authorization: Bearer '\"${variable}\"'' https://x.org"
    assert sources[1] == f'!curl -H "Authorization: Bearer ${variable}" https://x.org && ls'
    assert sources[2].startswith("%%bash\n# KEY comes from the environment\n")


def test_shell_lines_on_kaggle_get_the_value_from_ipython():
    from IPython.core.interactiveshell import InteractiveShell

    (fixed,), _, left = fix(cell(f"!curl -H 'Bearer {TOKEN}' x.org"), kaggle={})
    assert left == []
    first, line = fixed.split("\n")
    assert first == "from kaggle_secrets import UserSecretsClient"

    class Store:
        def get_secret(self, name):
            return name.lower()

    shell = InteractiveShell(user_ns={"UserSecretsClient": Store})
    assert shell.var_expand(line) == "!curl -H 'Bearer github_token' x.org"


def test_text_is_masked_with_the_name_of_the_variable():
    sources, notes, left = fix(cell(f"key {TOKEN}!", "markdown"), cell(f"{TOKEN}", "raw"), cell(f"x = 1  # {TOKEN}"))
    assert left == []
    assert all(" removed]" in source and TOKEN not in source for source in sources)
    assert len(notes) == 3


def test_two_secrets_of_a_kind_get_two_names():
    (fixed,), notes, left = fix(cell(f'a = "{TOKENS[0][1]}"\nb = "{TOKENS[1][1]}"\n'))
    assert left == []
    assert len({one.message for one in notes}) == 2
    a, b = (line.partition("=")[2] for line in fixed.splitlines()[1:])
    assert a != b


@pytest.mark.parametrize(
    "source",
    [
        f'print "python 2", "{TOKEN}"',
        f'%%writefile config.py\nKEY = "{TOKEN}"',
        f"%sql postgres://user:{TOKEN}@db.host.org/x",
        f'import base64\nx = base64.b64decode("{b64("key " + TOKEN)}")',
        f'match x:\n    case "{TOKEN}":\n        pass',
    ],
)  # fmt: skip
def test_what_cannot_be_replaced_safely_stays_and_is_said(source):
    (fixed,), notes, left = fix(cell(source))
    assert fixed == source
    assert notes == []
    assert left
    assert left[0].fix.startswith("by hand: ")


def test_outputs_are_not_touched_and_the_untouched_cells_are_the_same_objects():
    document = notebook(cell("x = 1"), cell(f'a = "{TOKEN}"\nprint(a)', outputs=stream(TOKEN)["outputs"]))
    result, found = secrets.apply(document, {"fix_secrets": True})
    assert result["cells"][0] is document["cells"][0]
    assert result["cells"][1]["outputs"] is document["cells"][1]["outputs"]
    assert [(one.severity, one.place) for one in found] == [("note", "source"), ("error", "output")]
    assert "strip the outputs" in found[1].fix


def test_a_source_stays_a_list_of_lines_and_an_allowed_secret_stays():
    document = notebook(cell(["import os\n", f'a = "{TOKEN}"\n', "b = 1"]))
    result, _ = secrets.apply(document, {"fix_secrets": True})
    assert [line.count("\n") for line in result["cells"][0]["source"]] == [1, 1, 0]
    (found,) = secrets.apply(document, {})[1]
    same, left = secrets.apply(document, {"fix_secrets": True, "allow_finding": [found.id]})
    assert same is document
    assert left == []


def test_other_languages_are_left_to_their_authors():
    document = notebook(cell(f'key <- "{TOKEN}"'), kernelspec={"name": "ir", "language": "R"})
    same, found = secrets.apply(document, {"fix_secrets": True})
    assert same is document
    assert found


# ---------------------------------------------------------------- files


def test_a_script_is_searched_with_its_composed_strings():
    left, right = halves(TOKEN)
    found = scan.scan_text(f'a = "{left}"\n\nb = a + "{right}"\n', "x.py", "python")
    assert [(one.cell, one.line) for one in found] == [(None, 3)]
    assert scan.scan_bytes(f'k = "{left}" "{right}"'.encode(), "x.py")


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_text_files_are_read_in_the_usual_encodings(codec):
    content = f"# größe\nkey: {TOKEN}\n".encode(codec)
    assert [one.line for one in scan.scan_bytes(content, "config.yaml")] == [2]


def test_bytes_of_a_notebook_are_searched_as_a_notebook():
    document = PLACES["a traceback in colours"](*TOKENS[0])
    found = scan.scan_bytes(json.dumps(document).encode(), "x.ipynb")
    assert [(one.cell, one.place) for one in found] == [(0, "output")]
    assert scan.scan_bytes(json.dumps(document).encode(), "no-name")


def test_a_value_under_a_repeated_key_is_found():
    text = json.dumps(notebook(cell("x"))).replace('"source": "x"', f'"source": "{TOKEN}", "source": "x"')
    assert scan.scan_bytes(text.encode(), "x.ipynb")


@pytest.mark.parametrize(
    "content", [b"\x00\x01\x02" * 100 + TOKEN.encode(), b"\x7fELF\x02\x01\x01\x00" + TOKEN.encode(), b""]
)
def test_binary_files_hold_no_findings(content):
    assert scan.scan_bytes(content, "x.bin") == []


def test_base64_of_utf_16_and_of_several_windows_is_decoded():
    encoded = base64.b64encode(f"key {TOKEN}".encode("utf-16-le")).decode()
    assert secrets.apply(notebook(cell(f"!powershell -enc {encoded}")), {})[1]
    long = base64.b64encode(("word " * 400_000 + TOKEN + " word" * 9).encode()).decode()
    assert [one.line for one in secrets.apply(notebook(cell(f'\nx = "{long}"')), {})[1]] == [2]


def test_a_private_key_is_no_payload_and_a_list_of_tokens_neither():
    lines = [base64.b64encode(random.Random(n).randbytes(48)).decode() for n in range(40)]  # noqa: S311 - a made-up key
    key = "-----BEGIN " + "PRIVATE KEY-----\n" + "\n".join(lines) + "\n-----END " + "PRIVATE KEY-----\n"
    assert secrets.apply(notebook(cell(f'k = """{key}"""')), {})[1]
    many = [token for name, token in TOKENS if name == "OPENROUTER_API_KEY"] * 20
    assert {one.value for one in secrets.records(notebook(cell("\n".join(many), "raw")), {})} == set(many)


@pytest.mark.skipif(importlib.util.find_spec("credsweeper") is not None, reason="CredSweeper is installed")
def test_a_deep_scan_without_its_package_says_what_to_install():
    with pytest.raises(KaggError, match=r"credsweeper>=1\.11") as raised:
        secrets.apply(notebook(cell("x")), {"deep": True})
    assert raised.value.code == Exit.MISSING


def test_the_options_have_the_names_that_the_step_reads():
    parser = argparse.ArgumentParser()
    secrets.add_arguments(parser.add_argument_group())
    given_ = ["--baseline", "b", "--update-baseline", "--allow-finding", "1", "--allow-finding", "2", "--fix-secrets"]
    options = vars(parser.parse_args(given_))
    assert options == {
        "baseline": "b", "update_baseline": True, "allow_finding": ["1", "2"], "fix_secrets": True, "deep": False,
    }  # fmt: skip


def test_a_broken_notebook_is_searched_as_text():
    assert scan.scan_bytes(('{"cells": [{"source": "' + TOKEN).encode(), "x.ipynb")
    assert scan.scan_bytes(base64.b64decode(png((b"tEXt", b"k\0" + TOKEN.encode()))), "x.png")


# ---------------------------------------------------------------- hostile input


def took_s(do):
    start = time.process_time()
    do()
    return time.process_time() - start


HOSTILE = {
    "backslashes": lambda n: "\\" * n,
    "tags without end": lambda n: "<span " * (n // 6),
    "tags": lambda n: "<b>" * (n // 3),
    "quotes": lambda n: '"' * n,
    "quotes and blanks": lambda n: "' " * (n // 2),
    "literals": lambda n: "'a' " * (n // 4),
    "sums": lambda n: '"a1b2c3" + ' * (n // 11) + '"a"',
    "percent": lambda n: "%41" * (n // 3),
    "entities": lambda n: "&#x41;" * (n // 6),
    "one run": lambda n: "QUJD" * (n // 4),
    "runs": lambda n: ("QUJD" * 8 + " ") * (n // 33),
    "wrapped runs": lambda n: ("QUJD" * 19 + "\n") * (n // 77),
    "data URIs": lambda n: "data:image/png;base64,iVBORw0KGgo" * (n // 33),
    "escape codes": lambda n: "\x1b[" * (n // 2),
    "titles": lambda n: "\x1b]0;" * (n // 4),
    "brackets": lambda n: "x = " + "(" * n,
    "tokens": lambda n: f'"{TOKEN}"\n' * (n // 43),
    "at signs": lambda n: "a@" * (n // 2),
    "lines": lambda n: "\n" * n,
    "assignments": lambda n: "".join(f"a{i} = 'x{i}y{i}z' + b{i}\n" for i in range(n // 30)),
}


@pytest.mark.parametrize("shape", HOSTILE)
def test_time_grows_no_faster_than_the_text(shape):
    small, large = HOSTILE[shape](100_000), HOSTILE[shape](800_000)
    for kind in ("code", "markdown"):
        few = took_s(lambda kind=kind: secrets.records(notebook(cell(small, kind)), {}))
        many = took_s(lambda kind=kind: secrets.records(notebook(cell(large, kind)), {}))
        assert many < 24 * few + 1.0, f"{kind}: {few:.2f} s, then {many:.2f} s"


def test_a_decompression_bomb_ends_at_its_limit():
    bomb = png((b"zTXt", b"k\0\0" + zlib.compress(b"\0" * 50_000_000, 9)))
    assert took_s(lambda: secrets.apply(notebook(shown("image/png", bomb)), {})) < 2


def test_deep_json_and_doubled_strings_end():
    deep = {}
    inner = deep
    for _ in range(900):
        inner["a"] = {"b": [{}]}
        inner = inner["a"]["b"][0]
    inner["key"] = TOKEN
    assert secrets.records(notebook(shown("application/json", deep)), {})
    doubled = 'a = "x1y2z3w4"\n' + "a = a + a\n" * 64
    assert took_s(lambda: list(fold.folded([(0, doubled)]))) < 2
    assert list(fold.folded([(0, "x = " + " + ".join(['"a1b2"'] * 3000))]))
    unknown = "x = y + " + " + ".join(['"a1b2"', "z"] * 1500)
    assert took_s(lambda: list(fold.folded([(0, unknown)]))) < 2
    assert secrets.apply(notebook(cell("x = " + "-" * 20_000 + "1\n'a1' + 'b2'")), {})[1] == []


class Big:
    """What a huge value inside an output looks like."""

    def __init__(self, *pieces):
        self.size_bytes = sum(map(len, pieces))
        self._pieces = pieces

    def chunks(self):
        tail = ""
        for piece in self._pieces:
            yield tail + piece
            tail = (tail + piece)[-4096:]


def test_a_huge_output_is_searched_in_windows():
    left, right = halves(TOKEN)
    text = Big("x" * 9000 + "\n" + left, right + "\n" + "y" * 9000, "z" * 5000)
    (found,) = secrets.apply(notebook(shown("text/plain", text)), {})[1]
    assert found.place == "output"
    image = png((b"tEXt", b"k\0" + TOKEN.encode()), noise=20_000)
    assert secrets.apply(notebook(shown("image/png", Big(image[:9000], image[9000:15000], image[15000:]))), {})[1]
    assert secrets.apply(notebook(cell("x", outputs=[{"output_type": "stream", "name": "stdout", "text": text}])), {})[
        1
    ]


def test_a_thousand_findings_are_enough():
    source = random.Random(3)  # noqa: S311 - made-up tokens
    many = "\n".join("gh" + "p_" + "".join(source.choices(ALNUM, k=36)) for _ in range(1500))
    assert len(secrets.records(notebook(cell(many, "raw")), {})) == scan.MAX_RECORDS


@FEW
@given(st.text(), st.sampled_from(["code", "markdown", "raw"]))
def test_any_text_passes_and_pieces_keep_it(text, kind):
    document = notebook(cell(text, kind))
    assert text == "" or text in {one.text for one in pieces(document)}
    result, found = secrets.apply(document, {"fix_secrets": True})
    assert all(isinstance(one, Finding) for one in found)
    assert secrets.apply(result, {"fix_secrets": True})[0] is result


def test_plain_lines_undo_what_hides_a_token():
    text = 'a\n\\"k\\": \\u0041\n&quot;x&quot;\n<b>y</b>z\n%41%42\nplain\n'
    assert [(text.count("\n", 0, at) + 1, line) for at, line in decode.plain_lines(text)] == [
        (2, '"k": A'), (3, '"x"'), (4, "yz"), (5, "AB"),
    ]  # fmt: skip


def test_a_thousand_secrets_in_one_cell_are_replaced_in_time():
    source = random.Random(4)  # noqa: S311 - made-up tokens
    made = ["gh" + "p_" + "".join(source.choices(ALNUM, k=36)) for _ in range(600)]
    document = notebook(cell("".join(f'a{n} = "{token}"\n' for n, token in enumerate(made))))
    start = time.process_time()
    result, found = secrets.apply(document, {"fix_secrets": True})
    assert time.process_time() - start < 30
    assert {one.severity for one in found} == {"note"}
    assert "gh" + "p_" not in result["cells"][0]["source"]
