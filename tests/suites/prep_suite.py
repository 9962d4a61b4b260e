"""What every notebook step must hold: one check per promise, and notebooks that try to break them.

A step is `apply(notebook, options) -> (notebook, findings)`. Run all checks on one notebook with `check_all`, and on
malformed ones with `check_malformed`. test_prep.py shows with broken steps that each check can fail.
"""

from __future__ import annotations

import copy
import json
import warnings

import nbformat
from hypothesis import strategies as st

from kagg import Finding

SEVERITIES = {"error", "warning", "note"}


def pure(apply, notebook, options):
    """The notebook that came in is as it was, and the same notebook gives the same answer."""
    before = copy.deepcopy(notebook)
    first = copy.deepcopy(apply(notebook, options))
    assert notebook == before, "the step changed the notebook that it was given"
    assert apply(copy.deepcopy(before), options) == first, "two calls gave two answers"


def idempotent(apply, notebook, options):
    """A second pass changes nothing, not even the order of keys."""
    once, _ = apply(notebook, options)
    twice, _ = apply(once, options)
    assert json.dumps(twice) == json.dumps(once), "a second pass changed the notebook"


def valid(apply, notebook, options):
    """A valid notebook stays valid."""
    if is_valid(notebook):
        result, _ = apply(notebook, options)
        assert is_valid(json.loads(json.dumps(result))), "a valid notebook became invalid"


def cells_kept(apply, notebook, options):
    """No cell is lost, added, moved or turned into another kind."""
    result, _ = apply(notebook, options)
    assert _kinds(result) == _kinds(notebook), "the cells are not the same ones"


def findings_usable(apply, notebook, options):
    """Findings name a known severity, one line of text and a cell that exists."""
    _, findings = apply(notebook, options)
    count = len(_kinds(notebook))
    for finding in findings:
        assert isinstance(finding, Finding)
        assert finding.severity in SEVERITIES
        assert finding.kind
        assert finding.message
        assert "\n" not in finding.message + finding.fix
        assert finding.cell is None or 0 <= finding.cell < count
        assert finding.line is None or finding.line >= 1


CHECKS = {check.__name__: check for check in (pure, idempotent, valid, cells_kept, findings_usable)}


def check_all(apply, notebook, options):
    """Make every check on one notebook."""
    for check in CHECKS.values():
        check(apply, notebook, options)


def check_malformed(apply, options):
    """Notebooks that break the schema pass through without an exception, as they do through an editor."""
    for notebook in MALFORMED:
        pure(apply, notebook, options)
        idempotent(apply, notebook, options)
        findings_usable(apply, notebook, options)


def is_valid(notebook):
    """Tell whether nbformat accepts the notebook as it is, ids included."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nbformat only warns of missing ids
        try:
            nbformat.validate(copy.deepcopy(notebook))
        except (nbformat.ValidationError, Warning):
            return False
    return True


def _kinds(notebook):
    cells = list(notebook.get("cells") or [])
    for sheet in notebook.get("worksheets") or []:
        cells += sheet.get("cells") or [] if isinstance(sheet, dict) else []
    return [cell.get("cell_type") if isinstance(cell, dict) else type(cell).__name__ for cell in cells]


def _document(*cells, **parts):
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 4} | parts


def _cell(kind="code", **parts):
    return {"cell_type": kind, "metadata": {}, "source": ""} | parts


MALFORMED = [
    {},
    {"cells": None, "metadata": None},
    {"cells": "text", "metadata": []},
    _document(None, 3, "text", []),
    _document({}, {"cell_type": "future", "metadata": 5}),
    _document(_cell(), metadata={"kernelspec": "python3", "language_info": "python", "widgets": 3}),
    _document(_cell(metadata=None, outputs=None), _cell(metadata=[], outputs=[None, 3, {}])),
    _document(_cell(metadata={"tags": "text"}), _cell(metadata={"tags": [None, 3]}), _cell(source=None)),
    _document(_cell("markdown", outputs=[], execution_count=3), _cell("raw", attachments="text")),
    _document(_cell("markdown", attachments={"a": None}), _cell(source=["a", None, 3])),
    _document(_cell(id=5), _cell(id="not an id"), _cell(id="a"), _cell(id="a"), nbformat_minor=5),
    _document(_cell(outputs=[{"output_type": "stream", "text": None}, {"data": "text"}]), nbformat_minor="5"),
    _document(_cell(source="lone \ud800 surrogate and \0"), nbformat_minor=5),
    {"nbformat": 3, "metadata": {"name": ""}, "worksheets": [None, {}, {"cells": [{"cell_type": "heading"}, 5]}]},
]

# ---------------------------------------------------------------- generated notebooks

TEXT = st.text(max_size=30) | st.sampled_from(["a\u2028b", "![x](attachment:a%20b.png)", "x = 1\ny = 2\n"])
NAMES = st.sampled_from(["tags", "collapsed", "scrolled", "ExecuteTime", "papermill", "vscode", "_uuid", "slideshow"])
SOURCES = TEXT | st.lists(TEXT, max_size=3)
JSON = st.none() | st.booleans() | st.integers(-5, 5) | TEXT | st.dictionaries(TEXT, TEXT, max_size=2)
OUTPUTS = st.one_of(
    st.builds(lambda text: {"output_type": "stream", "name": "stdout", "text": text}, SOURCES),
    st.builds(lambda t: {"output_type": "display_data", "data": {"text/plain": t}, "metadata": {}}, SOURCES),
    st.builds(lambda t: {"output_type": "error", "ename": t, "evalue": t, "traceback": [t]}, TEXT),
)
TAGS = st.lists(st.sampled_from(["keep_output", "parameters", "raises-exception", "a"]), unique=True, max_size=2)


@st.composite
def _metadata(draw):
    metadata = draw(st.dictionaries(NAMES.filter(lambda name: name not in ("tags", "collapsed", "scrolled")), JSON))
    return metadata | draw(st.fixed_dictionaries({}, optional={"tags": TAGS, "collapsed": st.booleans()}))


@st.composite
def cells(draw):
    """Generate one valid cell of nbformat 4.4."""
    kind = draw(st.sampled_from(["code", "markdown", "raw"]))
    cell = {"cell_type": kind, "metadata": draw(_metadata()), "source": draw(SOURCES)}
    if kind == "code":
        count = draw(st.none() | st.integers(0, 99))
        return cell | {"execution_count": count, "outputs": draw(st.lists(OUTPUTS, max_size=2))}
    if draw(st.booleans()):
        cell["attachments"] = {"a b.png": {"image/png": "aGk="}, "b.png": {"image/png": "aGk="}}
    return cell


@st.composite
def notebooks(draw):
    """Generate a notebook of nbformat 4.4 or 4.5; ids of the latter may be missing or used twice."""
    minor = draw(st.sampled_from([4, 5]))
    body = draw(st.lists(cells(), max_size=4))
    if minor == 5:
        ids = draw(st.sampled_from([["a", "b", "c", "d"], ["a", "a", "b", "b"], ["a", None, "é", "b"]]))
        body = [cell | ({"id": name} if name else {}) for cell, name in zip(body, ids, strict=False)]
    metadata = draw(st.dictionaries(st.sampled_from(["kaggle", "colab", "widgets", "papermill", "mine"]), JSON))
    if draw(st.booleans()):
        metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "env": "/home/someone"}
    return {"cells": body, "metadata": metadata, "nbformat": 4, "nbformat_minor": minor}
