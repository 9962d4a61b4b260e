"""Reading notebooks and writing them back: bytes that nothing changed stay, whatever the file looks like."""

from __future__ import annotations

import codecs
import json
import os
import random
from pathlib import Path

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kagg import Exit, KaggError
from plugins.lib.prep import document
from plugins.lib.prep.document import BigText, decode, load, style_of
from plugins.lib.prep.splice import spliced
from plugins.prep import clean, outputs

CORPUS = os.environ.get("KAGG_CORPUS", "")
FEW = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
)
LAYOUTS = st.sampled_from(
    [
        {"indent": 1},
        {"indent": 2},
        {"indent": 4},
        {"indent": "\t"},
        {},
        {"separators": (",", ":")},
        {"separators": (", ", ":")},
        {"indent": 1, "ensure_ascii": False},
        {"separators": (",", ":"), "ensure_ascii": False},
    ]
)


def notebook(*cells, **parts):
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 4} | parts


def code(source="x", **parts):
    return {"cell_type": "code", "execution_count": 3, "metadata": {}, "outputs": [], "source": source} | parts


def joined_bytes(content, old, new):
    return b"".join(spliced(content, 0, old, new, style_of(content)))


def stripped(content):
    made = load(content, "a.ipynb")
    result = made.notebook
    for step in (clean, outputs):
        result, _ = step.apply(result, {})
    return made.render(result)


# ---------------------------------------------------------------- splicing


@FEW
@given(VALUES, VALUES, LAYOUTS)
def test_any_value_becomes_any_other(old, new, layout):
    content = json.dumps({"a": old, "b": 1}, **layout).encode()
    before = json.loads(content)
    assert json.loads(joined_bytes(content, before, {"a": new, "b": 1})) == {"a": new, "b": 1}


@st.composite
def changed(draw):
    """Generate an object and the same with members taken away, added and changed; what stays is the same object."""
    old = draw(st.dictionaries(st.text("abcdef", min_size=1, max_size=2), VALUES, max_size=6))
    layout = draw(LAYOUTS)
    before = json.loads(json.dumps(old))
    kept = {key: value for key, value in before.items() if draw(st.booleans())}
    new = kept | draw(st.dictionaries(st.text("abcxyz", min_size=1, max_size=2), VALUES, max_size=3))
    return before, new, layout


@FEW
@given(changed())
def test_members_go_and_come_and_the_layout_is_that_of_the_file(case):
    old, new, layout = case
    content = json.dumps({"k": old}, **layout).encode()
    made = joined_bytes(content, {"k": old}, {"k": new})
    assert json.loads(made) == {"k": new}
    wanted = json.dumps({"k": {key: new[key] for key in [*(key for key in old if key in new), *new]}}, **layout)
    if old and new and "indent" in layout and "\\u" not in wanted:  # without members nothing shows how it is indented
        assert made.decode() == wanted


@FEW
@given(st.lists(VALUES, max_size=6), st.data())
def test_items_of_a_list_go_and_the_others_keep_their_bytes(old, data):
    content = json.dumps([old], indent=1).encode()
    kept = [item for item in old if data.draw(st.booleans())]
    made = joined_bytes(content, [old], [kept])
    assert json.loads(made) == [kept]


@pytest.mark.parametrize("text", ['["a", "b", "c"]', '[ "a","b","c" ]', '[\n "a",\n "b",\n "c"\n]'])
@pytest.mark.parametrize("kept", [["a"], ["b"], ["c"], ["a", "c"], ["b", "c"], ["a", "b"]])
def test_what_goes_takes_one_comma_and_its_blanks_with_it(text, kept):
    old = json.loads(text)
    made = joined_bytes(text.encode(), old, [item for item in old if item in kept]).decode()
    first, between, last = text.partition('"a"')[0], text.split('"a"')[1].split('"b"')[0], text.rpartition('"c"')[2]
    assert made == first + between.join(f'"{item}"' for item in kept) + last


def test_bytes_that_no_encoder_would_write_stay():
    odd = b'{"cells": [ {"cell_type":"code" ,"metadata":{"x" : 1e2},\r\n "outputs":[ ], "execution_count":5,\t'
    odd += b'"source" : "\\u0041\\/" } ],"metadata":{"kaggle":{"a":1.50}} , "nbformat":4,"nbformat_minor":4}\n\n'
    expected = odd.replace(b'{"x" : 1e2}', b"{}").replace(b'"execution_count":5', b'"execution_count":null')
    assert stripped(odd) == expected
    assert stripped(expected) is expected


def test_a_byte_order_mark_stays():
    content = codecs.BOM_UTF8 + json.dumps(notebook(code())).encode()
    made = stripped(content)
    assert made.startswith(codecs.BOM_UTF8 + b"{")
    assert json.loads(made.decode("utf-8-sig"))["cells"][0]["execution_count"] is None


def test_lone_surrogates_and_nul_survive_a_change():
    content = json.dumps(notebook(code("a = '\ud800\0'", metadata={"scrolled": True}))).encode()
    made = stripped(content)
    assert rb"\ud800\u0000" in made
    assert json.loads(made)["cells"][0]["metadata"] == {}


# ---------------------------------------------------------------- what is refused


BAD = {
    "empty": (b"", "is empty"),
    "blank": (b" \n", "is empty"),
    "not json": (b"<<<<<<< HEAD\n{}", "not JSON"),
    "cut off": (b'{"cells": [', "not JSON"),
    "not utf-8": (b'{"nbformat": 4, "cells": [], "metadata": {"a": "\xff"}}', "not UTF-8"),
    "utf-16": (json.dumps(notebook()).encode("utf-16"), "not UTF-8"),
    "raw nul": (b'{"nbformat": 4, "cells": [], "metadata": {"a": "\0"}}', "not JSON"),
    "a list": (b"[]", "a list"),
    "text": (b'"notebook"', "a string"),
    "no nbformat": (b'{"cells": []}', "no nbformat"),
    "nbformat as text": (b'{"cells": [], "nbformat": "4"}', "no nbformat"),
    "nbformat 4.99 as one number": (b'{"cells": [], "nbformat": 4.99}', "no nbformat"),
    "nbformat 9": (b'{"cells": [], "nbformat": 9}', "nbformat 9"),
    "nbformat 1": (b'{"cells": [], "nbformat": 1}', "nbformat 1"),
    "newer": (json.dumps(notebook(nbformat_minor=99)).encode(), "4.99 is newer"),
    "no cells": (b'{"nbformat": 4, "metadata": {}}', "no list of cells"),
    "kernelspec": (json.dumps(notebook(metadata={"kernelspec": "python3"})).encode(), "kernelspec is no object"),
    "cell": (json.dumps(notebook(7)).encode(), "cell 0 is no object"),
    "cell type": (json.dumps(notebook(code(), {"cell_type": "x"})).encode(), 'cell 1 has the cell_type "x"'),
    "source": (json.dumps(notebook(code(None))).encode(), "cell 0 has a source"),
    "outputs": (json.dumps(notebook(code(outputs=[3]))).encode(), "cell 0 has outputs"),
    "duplicate key": (b'{"nbformat": 4, "metadata": {}, "cells": [], "cells": []}', "'cells' stands twice"),
    "duplicate inside": (b'{"nbformat": 4, "metadata": {"a": {"b": 1, "b": 2}}, "cells": []}', "'b' stands twice"),
    "too deep": (b'{"nbformat": 4, "metadata": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}", "nested too deep"),
    "version 3 without cells": (b'{"nbformat": 3, "nbformat_minor": 0}', "cannot be converted"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_notebook_is_one_clear_line(name):
    content, words = BAD[name]
    with pytest.raises(KaggError) as caught:
        load(content, "some.ipynb")
    assert caught.value.code == Exit.USAGE
    assert words in caught.value.message
    assert caught.value.message.startswith("some.ipynb")
    assert "\n" not in caught.value.message


def test_version_3_becomes_version_4_the_same_way_each_time():
    old = {
        "nbformat": 3,
        "nbformat_minor": 0,
        "metadata": {"name": "n"},
        "worksheets": [{"metadata": {}, "cells": [
            {"cell_type": "heading", "level": 2, "metadata": {}, "source": "Title"},
            {"cell_type": "code", "language": "python", "metadata": {}, "input": "1", "prompt_number": 4,
             "collapsed": False, "outputs": [{"output_type": "stream", "stream": "stdout", "text": "x"}]},
        ]}],
    }  # fmt: skip
    content = json.dumps(old, indent=1).encode() + b"\n"
    first, second = (load(content, "old.ipynb") for _ in range(2))
    assert first.upgraded
    assert first.notebook == second.notebook
    made = stripped(content)
    nbformat.validate(json.loads(made))
    assert stripped(made) is made
    assert made.endswith(b"}\n")


# ---------------------------------------------------------------- large files


@pytest.fixture
def small_limits(monkeypatch):
    """Make everything large."""
    monkeypatch.setattr(document, "BIG_FILE_BYTES", 10)
    monkeypatch.setattr(document, "BIG_VALUE_BYTES", 40)
    monkeypatch.setattr(document, "WINDOW_BYTES", 32)


def plain(value):
    """Return the value with every BigText read."""
    if isinstance(value, BigText):
        return "".join(value._pieces())
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def joined(value):
    """Return the value with lists of texts joined, from the inside out, as a BigText joins them."""
    if isinstance(value, dict):
        return {key: joined(item) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    items = [joined(item) for item in value]
    return "".join(items) if items and all(isinstance(item, str) for item in items) else items


@FEW
@given(st.lists(VALUES, max_size=3), st.text(max_size=300), st.lists(st.text(max_size=30), max_size=12), LAYOUTS)
def test_a_large_notebook_is_read_like_a_small_one(small_limits, values, text, lines, layout):
    content = json.dumps(
        notebook(code(outputs=[{"output_type": "x", "data": {"a": values, "t": text, "l": lines}}])), **layout
    ).encode("utf-8", "backslashreplace")
    try:
        expected = json.loads(content)
    except ValueError:
        return
    assert joined(plain(decode(content))) == joined(expected)


@pytest.mark.parametrize("name", sorted(set(BAD) - {"empty", "blank"}))
def test_a_large_file_that_is_no_notebook_is_one_clear_line(small_limits, name):
    with pytest.raises(KaggError) as caught:
        load(BAD[name][0], "some.ipynb")
    assert caught.value.code == Exit.USAGE
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "hole", [b'"\x01"', b'"\\x"', b'"\\u12"', b"[1,]", b'{"a" 1}', b"tru", b"", b"01", b"[1}", b"nul"]
)
def test_a_hole_in_a_large_output_is_found(small_limits, hole):
    fill = b'"' + b"a" * 200 + b'", '
    whole = json.dumps(notebook(code(outputs=[{"data": {"x": ["HOLE"]}}]))).encode()
    content = whole.replace(b'"HOLE"', fill + hole)
    with pytest.raises(KaggError):
        load(content, "some.ipynb")


def test_a_large_output_is_stripped_or_copied_without_being_decoded():
    big = json.dumps({"output_type": "stream", "name": "stdout", "text": [f"é{i}\n" for i in range(1_100_000)]})
    content = json.dumps(notebook(code(outputs=["OUT"]), code(metadata={"scrolled": 1})), ensure_ascii=False)
    content = content.replace('"OUT"', big).encode()
    assert len(content) > document.BIG_FILE_BYTES
    made = load(content, "a.ipynb")
    text = made.notebook["cells"][0]["outputs"][0]["text"]
    assert isinstance(text, BigText)
    assert made.render(made.notebook) is content
    kept, _ = clean.apply(made.notebook, {})
    assert len(made.render(kept)) > document.BIG_FILE_BYTES
    gone, _ = outputs.apply(kept, {})
    assert json.loads(made.render(gone)) == notebook(code(execution_count=None), code(execution_count=None))
    first, *_, last = text.chunks()
    assert first.startswith("é0\né1\n")
    assert last.endswith("é1099999\n")


def test_the_windows_of_a_large_text_overlap():
    rng = random.Random(5)  # noqa: S311 - not cryptography
    text = "".join(rng.choice('ab\u00e9\u20ac\U0001f600\\"\n\ud800') for _ in range(3_000_000))
    content = json.dumps(
        notebook(code(outputs=[{"output_type": "stream", "text": text}])) | {"pad": "x" * 2**24}
    ).encode()
    big = load(content, "a.ipynb").notebook["cells"][0]["outputs"][0]["text"]
    chunks = list(big.chunks())
    assert len(chunks) > 3
    whole = chunks[0]
    for chunk in chunks[1:]:
        assert whole.endswith(chunk[: document.OVERLAP_CHARS])
        whole += chunk[document.OVERLAP_CHARS :]
    assert whole.encode("utf-16", "surrogatepass") == text.encode("utf-16", "surrogatepass")


# ---------------------------------------------------------------- real notebooks


@pytest.mark.skipif(not Path(CORPUS).is_dir() or not CORPUS, reason="KAGG_CORPUS names no folder of notebooks")
def test_real_notebooks_change_only_where_a_step_changed_them():
    count = 0
    for path in sorted(Path(CORPUS).rglob("*.ipynb")):
        content = path.read_bytes()
        try:
            made = load(content, path.name)
        except KaggError:
            continue
        if made.upgraded:
            continue
        count += 1
        assert made.render(made.notebook) is content
        result = stripped(content)
        assert stripped(result) is result, path.name
        before, after = json.loads(content), json.loads(result)
        assert [cell["source"] for cell in before["cells"]] == [cell["source"] for cell in after["cells"]]
        known = {line.rstrip(b",") for line in content.splitlines()}
        fresh = [line for line in result.splitlines() if line.rstrip(b",") not in known]
        changed_cells = sum(one != two for one, two in zip(before["cells"], after["cells"], strict=True))
        assert len(fresh) <= 4 * changed_cells + 12, f"{path.name}: {fresh[:5]}"
        nbformat.validate(after)
    assert count > 100
