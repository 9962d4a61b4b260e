"""--fix-secrets: each place of a value goes or is said, code gives the same values, a second pass changes nothing."""

from __future__ import annotations

import ast
import copy
import random
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugins.lib.secrets import layout, repeats
from plugins.prep import secrets

HEX, ALNUM = "0123456789abcdef", string.ascii_letters + string.digits
KINDS = [
    ("gh" + "p_", 36, ALNUM),
    ("h" + "f_", 34, string.ascii_letters),
    ("AI" + "za", 35, ALNUM),
    ("gs" + "k_", 52, ALNUM),
    ("da" + "pi", 32, HEX),
    ("sk-" + "or-v1-", 64, HEX),
    ("np" + "m_", 36, ALNUM),
]
MANY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def made(seed):
    """Return tokens of several kinds, by a seed."""
    source = random.Random(seed)  # noqa: S311 - made-up tokens
    return [prefix + "".join(source.choices(alphabet, k=count)) for prefix, count, alphabet in KINDS]


TOKEN, OTHER = made(5)[:2]
KEY = "".join(random.Random(6).choices(HEX, k=40))  # noqa: S311 - a made-up key that only its surroundings give away


def cell(source="", kind="code", **parts):
    base = {"cell_type": kind, "metadata": {}, "source": source}
    return base | ({"execution_count": None, "outputs": []} if kind == "code" else {}) | parts


def notebook(*cells, **metadata):
    return {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}


def fixed(document):
    """Return the notebook after one pass, its notes and errors; a second pass changes nothing."""
    before = copy.deepcopy(document)
    result, found = secrets.apply(document, {"fix_secrets": True})
    assert document == before
    again, left = secrets.apply(result, {"fix_secrets": True})
    assert again is result
    errors = [one for one in found if one.severity == "error"]
    assert [one for one in left if one.severity == "error"] == left
    assert set(left) <= set(errors)
    return result, [one for one in found if one.severity == "note"], errors


def fix(*cells, **metadata):
    result, notes, errors = fixed(notebook(*cells, **metadata))
    return ["".join(one["source"]) for one in result["cells"]], notes, errors


def names_in(notes):
    """Return the variables that notes speak of."""
    words = " ".join(one.message.removeprefix("a secret became a lookup of ") for one in notes)
    return {word.strip(",") for word in words.split() if word.strip(",").isupper()}


def run(source, **env):
    """Run a cell and return its variables."""
    names = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        exec(compile(source, "cell", "exec"), names)  # noqa: S102 - the cell of a test
    return names


def texts(value, place=()):
    """Yield (place, text) of every text of a JSON value, lists of lines joined."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield (*place, key), key
            yield from texts(item, (*place, key))
    elif isinstance(value, list):
        if value and all(isinstance(item, str) for item in value):
            yield place, "".join(value)
        else:
            for number, item in enumerate(value):
                yield from texts(item, (*place, number))


def unsaid(document, errors, values):
    """Return the places of values that no finding names."""
    said = {(one.cell, one.place, one.line if one.place == "source" else None) for one in errors}
    lost = []
    for place, text in texts(document):
        number = place[1] if place[0] == "cells" and len(place) > 2 else None
        kind = {"source": "source", "outputs": "output", "attachments": "attachment"}.get(
            place[2] if number is not None else "", "notebook metadata" if number is None else "metadata"
        )
        for value in values:
            at = text.find(value)
            while at >= 0:
                where = (number, kind, text.count("\n", 0, at) + 1 if kind == "source" else None)
                lost += [] if where in said else [where]
                at = text.find(value, at + 1)
    return lost


# ---------------------------------------------------------------- every place of a value


def test_a_key_that_one_call_gives_away_is_replaced_everywhere():
    sources, _, errors = fix(
        cell(f'y = "{KEY}"'),
        cell(f'import wandb\nwandb.login(key="{KEY}")  # not {KEY}'),
        cell(f'f("bob", "x {KEY} y")'),
        cell(f"The key is {KEY}.", "markdown"),
        cell(f"key {KEY}", "raw"),
        cell(f"%%bash\ncurl https://x.org/{KEY}"),
    )
    assert errors == []
    assert all(KEY not in source for source in sources)
    assert sources[3].endswith(" removed].")


def test_what_cannot_be_replaced_is_said_at_every_place():
    output = {"output_type": "stream", "name": "stdout", "text": ["a\n", f"{KEY}\n"]}
    document = notebook(
        cell(f'wandb.login(key="{KEY}")', outputs=[output], metadata={"k": KEY}),
        cell(f"%%writefile x.py\na = '{KEY}'"),
        cell(f"match x:\n    case '{KEY}':\n        pass"),
        cell("![](attachment:x)", "markdown", attachments={"x": {"text/plain": f"a {KEY}"}}),
        title=f"run {KEY}",
    )
    result, notes, errors = fixed(document)
    assert KEY not in result["cells"][0]["source"]
    assert len(notes) == 1
    assert {(one.cell, one.place) for one in errors} == {
        (0, "output"), (0, "metadata"), (1, "source"), (2, "source"), (3, "attachment"), (None, "notebook metadata"),
    }  # fmt: skip
    assert all(one.fix.startswith("by hand: ") for one in errors if one.place != "output")
    assert unsaid(result, errors, [KEY]) == []
    assert not any(KEY[:6] in one.message + one.fix for one in [*notes, *errors])


def test_a_short_password_is_replaced_as_a_whole_string_and_said_elsewhere():
    value = "hu" + "nt3r"
    source = f'password = "{value}"'
    if not secrets.apply(notebook(cell(source)), {})[1]:
        pytest.skip("no rule takes it for a password")
    sources, _, errors = fix(
        cell(source), cell(f'f("bob", "{value}")'), cell(f"# {value} is it"), cell(f"{value}ed on", "markdown")
    )
    assert value not in sources[0] + sources[1]
    assert sources[2:] == [f"# {value} is it", f"{value}ed on"]
    assert [(one.cell, one.line) for one in errors] == [(2, 1)]


def test_an_allowed_line_and_an_allowed_finding_stay():
    line = f'b = "{KEY}"  # pragma: allowlist secret'
    sources, _, errors = fix(cell(f'wandb.login(key="{KEY}")'), cell(line))
    assert sources[1] == line
    assert errors == []
    document = notebook(cell(f'wandb.login(key="{KEY}")'), cell(f'a = "{KEY}"'))
    (found,) = secrets.apply(document, {})[1]
    same, left = secrets.apply(document, {"fix_secrets": True, "allow_finding": [found.id]})
    assert (same is document, left) == (True, [])


def test_more_secrets_than_are_listed_are_replaced_in_one_pass():
    source = random.Random(3)  # noqa: S311 - made-up tokens
    many = "\n".join("gh" + "p_" + "".join(source.choices(ALNUM, k=36)) for _ in range(1500))
    (text,), _, errors = fix(cell(many, "raw"))
    assert errors == []
    assert text.count(" removed]") == 1500


# ---------------------------------------------------------------- strings that are no values


@pytest.mark.parametrize(
    "source",
    [
        'def f():\n    """use {t} here"""\n    return 1\nx = f()',
        "def f():\n    'use {t} here'\nx = f()",
        'class A:\n    r"""one\n\n    key: {t}\n    """\nx = A()',
        'x = 1\n"""a comment of old\nkey {t}\n"""\ny = 2',
        '"{t}"\nx = 1',
        "b'{t}'\nx = 1",
        "x = 1  # {t}",
        "é = 'é'; 'é {t}'; x = 1",
    ],
)
def test_a_docstring_or_comment_stays_one(source):
    (text,), notes, errors = fix(cell(source.format(t=TOKEN)))
    assert errors == []
    assert "environ" not in text
    name = next(iter(names_in(notes)))
    assert text == source.format(t=f"[{name} removed]")
    run(text)


def test_lines_within_a_string_are_no_magics():
    source = f'x = """\n%env A={TOKEN}\nos.environ["A"] = "{TOKEN}"\n!curl {TOKEN}\n"""'
    (text,), notes, errors = fix(cell(source))
    assert errors == []
    (name,) = names_in(notes)
    assert run(text, **{name: TOKEN})["x"] == run(source)["x"]


# ---------------------------------------------------------------- names that are taken


@pytest.mark.parametrize(
    "source",
    [
        "os = 5\nx = '{t}'",
        "def f(os):\n    return '{t}'\nx = f(3)",
        "def f():\n    y = '{t}'\n    import os\n    return y\nx = f()",
        "import sys as os\nx = '{t}'",
        "for os in (1, 2):\n    x = '{t}'",
        "x = [('{t}', os) for os in (1, 2)]",
        "from __future__ import annotations; x = '{t}'",
        "from __future__ import (\n    annotations,\n)\nx = '{t}'",
        "import os\nx = '{t}'\ndel os",
    ],
)
def test_a_lookup_uses_no_name_that_means_something_else(source):
    source = source.format(t=TOKEN)
    (text,), notes, errors = fix(cell(source))
    assert errors == []
    (name,) = names_in(notes)
    assert run(text, **{name: TOKEN})["x"] == run(source)["x"]


def test_a_name_that_another_cell_takes_is_not_used_and_kaggles_neither():
    sources, _, _ = fix(cell("os = 'linux'"), cell(f"x = '{TOKEN}'"))
    assert sources[1].startswith('x = __import__("os").environ["')
    sources, _, _ = fix(cell("UserSecretsClient = None"), cell(f"x = '{TOKEN}'"), kaggle={})
    assert sources[1].startswith('x = __import__("kaggle_secrets").UserSecretsClient().get_secret("')


# ---------------------------------------------------------------- text around a token


@pytest.mark.parametrize("token", [*made(7), "sk-" + "proj-" + "".join(random.Random(8).choices(ALNUM, k=48))])  # noqa: S311
@pytest.mark.parametrize("source", ["u = 3\nx = f'pre-{{u}}-{t}-post'", "x = 'pre ' + 'k={t}-post' + '!'"])
def test_text_behind_a_token_is_kept(source, token):
    source = source.format(t=token)
    (text,), notes, errors = fix(cell(source))
    if not notes:
        pytest.skip("no rule takes it for a token")
    assert errors == []
    assert "-post" in text
    (name,) = names_in(notes)
    assert run(text, **{name: token})["x"] == run(source)["x"]


def test_a_token_in_json_in_a_long_string_is_cut_out():
    source = f'x = """{{"key": "{TOKEN}", "b": 1}}"""\ny = "say \\"{TOKEN}\\" now"'
    (text,), notes, errors = fix(cell(source))
    assert errors == []
    (name,) = names_in(notes)
    new, old = run(text, **{name: TOKEN}), run(source)
    assert (new["x"], new["y"]) == (old["x"], old["y"])


@pytest.mark.parametrize(
    "source",
    [
        "x = 'Bearer ' + '{a}' + '{b}'",
        "x = 'Bearer ' + '{a}' + '{b}' + ' end'",
        "access_token = '{a}' + '{b}'\nx = access_token",
        "x = ''.join(['k=', '{a}', '{b}', ';'])",
        "x = ('%s'\n     % '{a}{b}')",
    ],
)
def test_a_token_in_pieces_is_replaced_with_all_its_pieces(source):
    source = source.format(a=TOKEN[:20], b=TOKEN[20:])
    (text,), notes, errors = fix(cell(source))
    assert errors == []
    assert TOKEN[:20] not in text
    assert TOKEN[20:] not in text
    (name,) = names_in(notes)
    assert run(text, **{name: TOKEN})["x"] == run(source)["x"]


def test_windows_line_ends_stay():
    source = f"a = 1\r\nx = '{TOKEN}'\r\n# {TOKEN}\r\n"
    (text,), notes, errors = fix(cell(source))
    assert errors == []
    assert text.count("\r\n") == text.count("\n") == 4
    (name,) = names_in(notes)
    assert run(text, **{name: TOKEN})["x"] == TOKEN


# ---------------------------------------------------------------- anywhere at once

VALUES = [
    "v{n} = '{t}'",
    "v{n} = dict(a='{t}')",
    "def f{n}(key='{t}'):\n    return key\nv{n} = f{n}()",
    "v{n} = {{'k': 'Bearer {t}', '{t}': 1}}",
    "v{n} = ['{t}', '{t}'.upper()]",
    "v{n} = f'n={{1 + 1}} k={t} {{3!r:>4}}/end'",
    "v{n} = 'a' + '{t}' + 'b'",
    "v{n} = b'{t}'",
    "v{n} = b'k {t} z'",
    "v{n} = r'\\d{t_blank}'",
    'v{n} = """\nkey: {t}\n  "q": "{t}"\n"""',
    "v{n} = ('https://x/?k='\n    '{t}'  # here\n    '&z=1')",
    "v{n} = 'k {t} %d' % 5",
    "def d{n}(a):\n    return lambda f: a\n@d{n}('{t}')\ndef v{n}():\n    pass",
    "class A{n}:\n    key = '{t}'\n    both = key, '{t}'\nv{n} = A{n}.both",
    "v{n} = (lambda k='{t}': k)()",
    "v{n} = '{t}' if '{t}' else ''",
    "v{n}: str = '{t}'",
    "v{n} = 'x'; w{n} = '{t}'; u{n} = 'é {t}'",
    "v{n} = '{t}'[2:5] * 2",
    "try:\n    v{n} = int('{t}')\nexcept ValueError:\n    v{n} = '{t}'",
]
OTHERS = [
    "def g{n}():\n    '''about {t}'''\n",
    "# about {t}",
    "'{t}'",
    "pass  # {t} and {t}",
]
LINES = ["%env K{n}={t}", "!export K{n}={t}", "!curl -H 'Bearer {t}' https://x.org", "%sql postgres://u:{t}@h.org/x"]
WHOLE = ["%%bash\nexport A={t}\necho {t}", "%%writefile x.py\na = '{t}'", "print '{t}'", "%%time\nv = '{t}'"]
TEXT = ["The key is {t}.", "`{t}`\n\n- {t}\n"]


def filled(templates, tokens):
    return "\n".join(
        one.replace("{t_blank}", " {t}").format(n=number, t=token)
        for number, (one, token) in enumerate(zip(templates, tokens, strict=False))
    )


@st.composite
def notebooks(draw):
    tokens = st.sampled_from(made(11))
    cells = []
    for _ in range(draw(st.integers(1, 4))):
        form = draw(st.sampled_from(["code", "code", "lines", "whole", "markdown", "raw"]))
        pool = {"code": VALUES + OTHERS, "lines": VALUES + OTHERS + LINES, "whole": WHOLE}.get(form, TEXT)
        templates = draw(st.lists(st.sampled_from(pool), min_size=1, max_size=1 if form == "whole" else 5))
        text = filled(templates, draw(st.lists(tokens, min_size=len(templates), max_size=len(templates))))
        kind = form if form in ("markdown", "raw") else "code"
        source = text.splitlines(keepends=True) if draw(st.booleans()) else text
        parts = {"metadata": {"note": f"a {draw(tokens)}"}} if draw(st.integers(0, 5)) == 0 else {}
        if kind == "code" and draw(st.integers(0, 4)) == 0:
            parts["outputs"] = [{"output_type": "stream", "name": "stdout", "text": [f"x {draw(tokens)}\n", "y"]}]
        cells.append(cell(source, kind, **parts))
    return notebook(*cells)


def plain_results(source, **env):
    """Return the values of a cell that can be compared."""
    return {key: value for key, value in run(source, **env).items() if key[0] in "vwu" and not callable(value)}


@MANY
@given(notebooks())
def test_no_token_stays_unsaid_and_every_value_stays_the_same(document):
    values = made(11)
    result, notes, errors = fixed(document)
    assert unsaid(result, errors, values) == []
    assert not any(value[:8] in one.message + one.fix for one in [*notes, *errors] for value in values)
    env = environment(document, result, values)
    head = ""
    for old, new in zip(document["cells"], result["cells"], strict=True):
        before, after = "".join(old["source"]), "".join(new["source"])
        if old["cell_type"] != "code":
            assert len(after.splitlines()) == len(before.splitlines())
            continue
        if layout.parsed(before) is not None:
            assert layout.parsed(after) is not None
        try:
            ast.parse(before)
        except SyntaxError:
            head += "import os\n" if "import os" in after else ""
            continue
        assert plain_results(head + after, **env) == plain_results(before)
        head += "import os\n" if "import os" in after else ""


def environment(document, result, values):
    """Return the variables that the lookups need, read from where a token of known kind became a lookup."""
    (_, found) = secrets.apply(notebook(*(cell(f"{value}", "raw") for value in values)), {"fix_secrets": False})
    assert len(found) == len(values)
    from plugins.lib.secrets.edits import Style
    from plugins.lib.secrets.fix import names_for

    assert Style(kaggle=False).lookup("A") == 'os.environ["A"]'
    assert result["metadata"] == document["metadata"]
    return {name: value for value, name in names_for(secrets.records(document, {})).items()}


@MANY
@given(st.text(alphabet="ab_- \n'\"#\\", max_size=30), st.text(alphabet="ab_- \n'\"#\\{}", max_size=30))
def test_a_token_amid_anything_goes_or_is_said(left, right):
    for kind in ("code", "markdown"):
        document = notebook(cell(f"{left} {TOKEN} {right}", kind), cell(f"a = '''{left} {OTHER} {right}'''"))
        result, _, errors = fixed(document)
        assert unsaid(result, errors, [TOKEN, OTHER]) == []


# ---------------------------------------------------------------- the parts


def test_code_of_a_cell_keeps_lines_and_values():
    source = "%%time\nx = !ls \\\n  -a\ny = ('%s'\n     % 3)\n!pip install a\nlen?\nz = '''\n%a\n!b\n'''\n"
    code = layout.code_of(source)
    assert code.count("\n") == source.count("\n")
    names = run(code)
    assert (names["x"], names["y"], names["z"]) == (None, "3", "\n%a\n!b\n")


def test_known_values_are_found_in_time():
    import time

    record = next(iter(secrets.records(notebook(cell(f"a = '{TOKEN}'")), {})))
    known = [record._replace(value=f"{number:x}".rjust(40, "b")) for number in range(1000)]
    document = notebook(*(cell("a" * 200_000 + "\nx = 1\n" * 20_000) for _ in range(10)), cell(f"'{known[7].value}'"))
    start = time.process_time()
    found = repeats.more_records(document, known, [])
    assert time.process_time() - start < 20
    assert [one.cell for one in found] == [10]
