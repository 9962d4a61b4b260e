"""Code cells as Python, compared with what IPython itself makes of them."""

from __future__ import annotations

import ast
import json
import os
import re
import time
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from IPython.core.inputtransformer2 import TransformerManager

from plugins.lib import cells
from plugins.lib.cell_magics import PYTHON_CELLS

CORPUS = os.environ.get("KAGG_CORPUS", "")
FEW = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def read(*sources, **more):
    return cells.read_cells({"cells": [{"cell_type": "code", "source": source} for source in sources]}, **more)


def one(source):
    return read(source)[0]


# ---------------------------------------------------------------- IPython as the oracle


class _Plain(ast.NodeTransformer):
    """Replaces `get_ipython().anything(...)` by None, and leaves `pass` out."""

    def visit_Call(self, node):
        func = node.func
        called = func.value if isinstance(func, ast.Attribute) else None
        if isinstance(called, ast.Call) and getattr(called.func, "id", "") == "get_ipython":
            return ast.Constant(None)
        return self.generic_visit(node)

    def visit_Constant(self, node):  # IPython trims blank lines inside strings of some cells
        return ast.Constant(re.sub(r"\s+", " ", node.value)) if isinstance(node.value, str) else node


def _shape(tree):
    """The statements of a tree without those that say nothing, without places."""
    tree = _Plain().visit(tree)
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(block, list):
                empty = [isinstance(s, ast.Pass) or ast.dump(s) == "Expr(value=Constant(value=None))" for s in block]
                setattr(node, field, [s for s, skip in zip(block, empty, strict=True) if not skip])
    return ast.dump(tree)


def _by_ipython(source):
    """The shape of a cell as IPython reads it; None when it is no Python, and the body of cell magics that run it."""
    transformed = TransformerManager().transform_cell(source)
    tree = ast.parse(transformed)
    call = tree.body[0].value if len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr) else None
    if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "run_cell_magic":
        name, _, body = (argument.value for argument in call.args)
        return _by_ipython(body) if name in PYTHON_CELLS else "foreign"
    return _shape(tree)


def compare(source):
    """Assert that we and IPython see the same statements in a cell."""
    cell = one(source)
    assert cell.python.count("\n") == source.replace("\r\n", "\n").replace("\r", "\n").count("\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = _by_ipython(source)
        except (SyntaxError, ValueError):
            expected = None
    if expected == "foreign" or (expected is None and not cell.python.strip()):
        return
    assert (cell.tree and _shape(cell.tree)) == expected


SAMPLES = [
    "x = 1\n",
    "%matplotlib inline\nimport numpy as np",
    "!pip install -q x \\\n    y\nimport os",
    "if 1:\n    !ls\n    %time f()\nelse:\n\tx = 2",
    "for i in y:\n    files = !ls {i}\nprint(files)",
    "a, b = !ls",
    "d['x'] = %pwd",
    "np.sum?",
    "?np.sum",
    "np.sum??\nx = 1",
    "%%time\nimport os\nos.x",
    "\n\n%%time\nx = !ls\nprint(x)",
    "%%capture out --no-stderr\n%%time\nx = 1",
    "%%timeit -n 3 x = 2\nx + 1",
    "%%bash\nls\n",
    "    x = 1\n    y = 2",
    "  %time x\n  y = 1",
    ">>> x = 1\n>>> y = 2",
    "In [3]: x = 1",
    's = """\n%matplotlib inline\n!ls\nwhy?\n"""\nx = 1',
    "f(a,\n  b % c\n  % d)",
    "x = (1\n!= 2)",
    "x = 5 \\\n% 3",
    "# why?\nx = 1  # really?\n",
    "x != y\nx %= 3",
    "s = 'a ?'\nt = \"!ls\"",
    "def f():\n    '''%x'''\n    %who\n    return 1",
    "await f()\nasync with g() as h:\n    pass",
    "print 'two'",
    "x = = 1",
    "!ls\n\n\n",
    "%cd ..\r\nimport os\r\nx = !ls\r\n",
    "",
    "   \n\t\n",
    "x = '''unclosed",
    "f'{x!r}' \\\n  '%s' % y",
    "@deco\n%time\ndef f(): pass",
]


@pytest.mark.parametrize("source", SAMPLES)
def test_a_cell_reads_as_ipython_reads_it(source):
    compare(source)


LINES = st.sampled_from(
    [
        "x = 1", "import os", "%time f(x)", "!ls {x}", "y = !ls", "z = %pwd", "x?", "if x:", "    y = 2", "    !ls",
        "# a?", 's = """', '"""', "(", ")", "'", "\\", "", "    ", "%%time", "%%bash", "f(x,", "g %", "? x",
        "def f():", "\t%who",
    ]
)  # fmt: skip


@FEW
@given(st.lists(LINES, max_size=7))
def test_generated_cells_keep_their_lines_and_what_ipython_parses_parses(lines):
    source = "\n".join(lines)
    cell = one(source)
    assert cell.python.count("\n") == source.count("\n")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _by_ipython(source)
    except (SyntaxError, ValueError):
        return
    assert cell.tree is not None or "\\\n" in source or '"' in source  # its tokenizer and ours part on broken strings


@pytest.mark.skipif(not CORPUS, reason="KAGG_CORPUS names no folder of notebooks")
def test_real_cells_read_as_ipython_reads_them():
    count = 0
    for path in sorted(Path(CORPUS).rglob("*.ipynb")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            continue
        for cell in cells.read_cells(document):
            count += 1
            try:
                compare(cell.source)
            except AssertionError as error:
                pytest.fail(f"{path.name} cell {cell.index}: {error}")
    assert count > 0


# ---------------------------------------------------------------- what magics read and bind


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ("!{sys.executable} -m pip install x", {"sys", "executable"}),
        ("!ls $path ${other}", {"path", "other"}),
        ("%timeit np.sum(x)", {"np", "sum", "x"}),
        ("%time y = f(x)", {"y", "f", "x"}),
        ("np.sum?", {"np", "sum"}),
        ("%mprun -f f g(x)", {"f", "g", "x"}),
        ("%%timeit rng = np.random\nrng.x()", {"rng", "np", "random"}),
        ("%matplotlib inline", set()),
        ("%pip install numpy", set()),
        ("!pip install numpy", set()),
        ("%cd $root", {"root"}),
        ("%%bash -s $x\necho $y", {"x"}),
        ("%%writefile a.py\nimport os\nos.x", set()),
        ("%%sql\nselect * from frame", {"select", "from", "frame"}),
        ("%run -i script.py", {"*"}),
        ("%run ./setup.ipynb", {"*"}),
        ("%run script.py --size $size", {"size"}),
        ("if 1:\n    x = !ls {os.sep}", {"os", "sep"}),
        ("x = 1", set()),
        ("timeit f(x)", {"f", "x"}),
        (", f a b", {"f", "a", "b"}),
        ("/f a", {"f", "a"}),
    ],
)
def test_names_that_magics_read_are_known(source, reads):
    assert one(source).reads >= reads
    assert bool(one(source).reads) == bool(reads)


@pytest.mark.parametrize(
    ("source", "binds"),
    [
        ("x = !ls", {"x"}),
        ("%%capture out\nf()", {"out"}),
        ("%pylab inline", {"*"}),
        ("%run other.ipynb", {"*"}),
        ("%reset -f", {"*"}),
        ("%time x = f()", {"x"}),
        ("%time import os.path", {"os"}),
        ("%store -r frame", {"frame"}),
        ("%aimport tools", {"tools"}),
        ("%%bash --out text\nls", {"text"}),
        ("%timeit x = 1", set()),
        ("%matplotlib inline", set()),
    ],
)
def test_names_that_magics_bind_are_known(source, binds):
    assert one(source).binds == binds


def test_shell_lines_come_with_their_lines():
    source = "import os\n!pip install -q a \\\n  b\n%pip install c\nx = !ls\n%conda install d"
    assert one(source).shell == [
        (2, "pip install -q a  b"),
        (4, "pip install c"),
        (5, "ls"),
        (6, "conda install d"),
    ]
    assert one("\n%%bash\n# no\nls \\\n -l\npip install x").shell == [(4, "ls  -l"), (6, "pip install x")]
    assert one("\npip install x\n").shell == [(2, "pip install x")]
    assert one("%%time\n!ls\n").shell == [(2, "ls")]


def test_the_body_of_an_unknown_cell_magic_is_python_when_it_parses():
    assert one("%%mine a\nimport os").python == "\nimport os"
    assert one("%%mine a\nselect x from y").python == "\n"
    assert one("%%mine a\nselect x from y").reads == {"a", "select", "x", "from", "y"}
    assert one("%%html\n<b>").python == "\n"
    assert one("%%html\n<b>").tree.body == []
    assert one("%%time\nx = ").tree is None


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "notebook",
    [
        {}, {"cells": None}, {"cells": "text"}, {"cells": [None, 3, "x", [], {}]},
        {"cells": [{"cell_type": "markdown", "source": "x"}, {"cell_type": ["code"], "source": "x"}]},
    ],
)  # fmt: skip
def test_a_notebook_without_code_cells_has_none(notebook):
    assert cells.read_cells(notebook) == []


def test_odd_sources_are_read_as_far_as_they_are_text():
    assert [cell.source for cell in read(["a", None, 3, "b"], None, 3, {"a": 1})] == ["ab", "", "", ""]


@pytest.mark.parametrize(
    "source", ["x = '\0'", "x = '\ud800'", "(" * 5000, "x" + "[0" * 3000, "print 'two'", "-" * 90000]
)
def test_what_does_not_parse_has_no_tree_and_a_reason(source):
    cell = one(source)
    assert cell.tree is None
    assert cell.error
    assert read(source, parse=False)[0].error == ""


@pytest.mark.parametrize(
    "source",
    [
        "%%time\n" * 30000, "!ls\n" * 30000, "x = !ls\n" * 20000, "\\\n" * 50000, "= " * 50000 + "!", "'" * 100001,
        '"""' + "?\n" * 50000, "%time " + "{" * 50000, "%%bash\n" + "\\\n" * 50000, " " * 100000 + "?", "x?\n" * 30000,
    ],
    ids=range(11),
)  # fmt: skip
def test_hostile_cells_take_time_in_proportion_to_their_size(source):
    start = time.monotonic()
    read(source, parse=False)
    assert time.monotonic() - start < 3


def _parsing_s(source):
    """The least of three times that a cell takes to be read, in seconds of this process."""
    times = []
    for _ in range(3):
        start = time.process_time()
        read(source)
        times.append(time.process_time() - start)
    return min(times)


@pytest.mark.parametrize("line", ["from a{} import b", "import a{}", "%time import a{}", "x = 1; import b, a{}"])
def test_an_import_with_thousands_of_dots_is_not_parsed_in_the_square_of_its_length(line):
    short, long = (line.format(".a" * count) for count in (10_000, 80_000))
    assert _parsing_s(long) < 30 * max(_parsing_s(short), 0.001)  # 64 times if it were the square


def test_only_imports_are_refused_for_their_dots():
    assert "dots" in one("from a" + ".a" * 300 + " import b").error
    assert one("x = [" + "0.5, " * 5000 + "]").tree is not None
    assert one("from a.b import c\n" * 500).tree is not None


@pytest.mark.parametrize(
    ("metadata", "python"),
    [
        ({}, True),
        (None, True),
        ({"kernelspec": "python3"}, True),
        ({"kernelspec": {"name": "ir", "language": "R"}}, False),
        ({"kernelspec": {"name": "ir"}}, False),
        ({"kernelspec": {"name": "conda_env", "language": "python"}}, True),
        ({"language_info": {"name": "ipython"}}, True),
        ({"language_info": {"name": 3}}, True),
    ],
)
def test_the_language_is_what_the_metadata_says(metadata, python):
    assert cells.is_python({"metadata": metadata}) is python
