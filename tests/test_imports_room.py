"""The imports room: what goes, what stays and why, checked by an AST pass that shares no code with the room."""

from __future__ import annotations

import ast
import copy
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

from plugins.lib.imports import known, verdicts
from plugins.lib.imports.statements import restored
from plugins.prep import imports
from tests.suites import prep_suite

CORPUS = os.environ.get("KAGG_CORPUS", "")
FEW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))

# ---------------------------------------------------------------- the oracle: IPython's own reading of the cells

PYTHON_MAGICS = {"time", "timeit", "capture", "prun"}
EFFECTS = re.compile(
    r"seaborn|mpl_toolkits\.mplot3d|sklearn\.experimental|google\.colab|readline|antigravity|torchvision|timm|comet_ml|"
    r"unsloth|pandas_profiling|cufflinks|swifter|hvplot|pycuda|tensorflow_text|gym_\w+|pybullet_envs|rioxarray"
)


def python_of(source):
    """A cell as IPython would run it, bodies of Python cell magics included; None when it does not parse."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(TransformerManager().transform_cell(source.replace("\r\n", "\n")))
        except (SyntaxError, ValueError, RecursionError):
            return None
        call = tree.body[0].value if len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr) else None
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "run_cell_magic":
            name, line, body = (argument.value for argument in call.args)
            if name in PYTHON_MAGICS:
                inner = python_of(body)
                return inner and ast.Module([ast.Expr(ast.Constant(f"magic {line}")), *inner.body], [])
        return tree


def sources(notebook):
    """The text of each code cell."""
    cells = notebook["cells"]
    texts = [cell["source"] for cell in cells if isinstance(cell, dict) and cell.get("cell_type") == "code"]
    return [text if isinstance(text, str) else "".join(text) for text in texts]


def _imported(node):
    for alias in node.names:
        if isinstance(node, ast.Import):
            name = alias.asname or alias.name.split(".")[0]
            yield name, (alias.name if alias.asname else name, "")
        else:
            yield alias.asname or alias.name, ("." * node.level + (node.module or ""), alias.name)


def events(notebook):
    """(what binds each name, in order; the names that anything uses; the modules that are imported)."""
    bound, used, modules = {}, set(), set()
    for place, source in enumerate(sources(notebook)):
        tree = python_of(source)
        if tree is None:
            used |= set(re.findall(r"\w+", source))
            continue
        placed = (node for node in ast.walk(tree) if hasattr(node, "lineno"))
        for node in sorted(placed, key=lambda node: (node.lineno, node.col_offset)):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                for name, target in _imported(node):
                    bound.setdefault(name, []).append((place, target))
                    modules.add(".".join(filter(None, target)) if isinstance(node, ast.ImportFrom) else target[0])
                if isinstance(node, ast.Import):
                    modules |= {alias.name for alias in node.names}
            elif isinstance(node, ast.Name):
                if isinstance(node.ctx, ast.Load):
                    used.add(node.id)
                else:
                    bound.setdefault(node.id, []).append((place, "other"))
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                bound.setdefault(node.name, []).append((place, "other"))
            elif isinstance(node, ast.Call) and "get_ipython" in ast.dump(node.func):
                text = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
                if getattr(node.func, "attr", "") in ("system", "getoutput", "getsystem") or text[:1] in (
                    ["pip"],
                    ["conda"],
                    ["cd"],
                ):
                    text = re.findall(r"\{.*\}|\$\w+", " ".join(text))
                if text[:1] not in (["html"], ["writefile"], ["bash"], ["javascript"]):
                    used |= set(re.findall(r"\w+", " ".join(text)))
    return bound, used, modules


def _collapsed(bindings):
    """The targets of a name in order, without repeats in a row."""
    targets = [target for _, target in bindings]
    return [target for place, target in enumerate(targets) if place == 0 or targets[place - 1] != target]


def _body(tree):
    """The dump of a tree without its imports; functions that held nothing else hold `pass`."""
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(block, list):
                setattr(node, field, [s for s in block if not isinstance(s, (ast.Import, ast.ImportFrom))])
    return ast.dump(tree)


def check(before, after):
    """Assert that only imports changed, and that whatever resolved before still does, to the same thing."""
    assert len(before["cells"]) == len(after["cells"])
    for old, new in zip(before["cells"], after["cells"], strict=True):
        if old is not new:
            assert {k: v for k, v in old.items() if k != "source"} == {k: v for k, v in new.items() if k != "source"}
            assert list(old) == list(new)
            assert type(old["source"]) is type(new["source"])
            assert old["source"] != new["source"]
    for old, new in zip(sources(before), sources(after), strict=True):
        first, second = python_of(old), python_of(new)
        assert (first is None) == (second is None), f"parses no more: {new!r}"
        if first is None:
            assert old == new
        else:
            assert _body(first) == _body(second), f"{old!r} became {new!r}"
            assert set(re.findall(r"#[^\r\n]*", new)) <= set(re.findall(r"#[^\r\n]*", old))
    bound, used, modules = events(before)
    left, _, still = events(after)
    for name, bindings in bound.items():
        if name in used or "*" in bound:
            assert name in left or name not in used, f"{name} is gone"
            if name in used:
                assert _collapsed(left[name]) == _collapsed(bindings), f"{name} is bound differently"
                assert left[name][0][0] <= bindings[0][0], f"{name} is bound later"
    assert still <= modules
    lost = {module for module in modules - still if EFFECTS.match(module)}
    assert not lost, f"imports with effects are gone: {lost}"


# ---------------------------------------------------------------- helpers


def cell(source, **parts):
    return {"cell_type": "code", "metadata": {}, "source": source, "execution_count": None, "outputs": []} | parts


def notebook(*cells, **metadata):
    made = [one if isinstance(one, dict) else cell(one) for one in cells]
    return {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}


def tidy(*cells, **options):
    """The sources of the cells after the room, once the oracle and the suite have agreed."""
    document = notebook(*cells)
    result, _ = imports.apply(document, options)
    check(document, result)
    again, _ = imports.apply(result, options)
    assert again is result, f"a second pass changed {sources(result)} to {sources(again)}"
    return [one["source"] for one in result["cells"]]


def reasons(*cells, **options):
    """(kind, message) of everything that the room says with --explain."""
    _, findings = imports.apply(notebook(*cells), options | {"explain": True})
    return [(finding.kind, finding.message) for finding in findings]


# ---------------------------------------------------------------- what goes

REMOVED = {
    "standard library": (["import os\nx = 1"], ["x = 1"]),
    "numpy and pandas": (["import numpy as np\nimport pandas as pd\npd.x"], ["import pandas as pd\npd.x"]),
    "whole cell, which stays": (["import os", "x = 1"], ["", "x = 1"]),
    "one of several names": (
        ["from math import cos, pi, sin\nsin(cos(1))"],
        ["from math import cos, sin\nsin(cos(1))"],
    ),
    "first of several": (["from math import cos, sin\nsin(1)"], ["from math import sin\nsin(1)"]),
    "last of several": (["import os, sys\nos.x"], ["import os\nos.x"]),
    "two modules of three": (["import os, sys, re\nsys.x"], ["import sys\nsys.x"]),
    "trailing comment goes": (["import os  # files\nx = 1"], ["x = 1"]),
    "comment above stays": (["# libraries\nimport os\nx = 1"], ["# libraries\nx = 1"]),
    "semicolons, first": (["import os; import sys; sys.x"], ["import sys; sys.x"]),
    "semicolons, last": (["x = 1; import os"], ["x = 1"]),
    "semicolons, both": (["import os; import sys\nx = 1"], ["x = 1"]),
    "trailing semicolon": (["import os;\nx = 1"], ["x = 1"]),
    "semicolons, middle": (["x = 1; import os; y = 2"], ["x = 1; y = 2"]),
    "backslash": (["from math import cos, \\\n    sin\nsin(1)"], ["from math import sin\nsin(1)"]),
    "backslash, last": (["from math import cos, \\\n    sin\ncos(1)"], ["from math import cos\ncos(1)"]),
    "parentheses": (
        ["from math import (\n    cos,  # a\n    pi,  # b\n    sin,  # c\n)\nsin(cos(1))"],
        ["from math import (\n    cos,  # a\n    sin,  # c\n)\nsin(cos(1))"],
    ),
    "parentheses, all": (["from math import (\n    cos,\n    sin,\n)\nx = 1"], ["x = 1"]),
    "parentheses, last": (
        ["from math import (cos,\n                  sin)\ncos(1)"],
        ["from math import (cos)\ncos(1)"],
    ),
    "CRLF": (["import os\r\nimport sys\r\nsys.x\r\n"], ["import sys\r\nsys.x\r\n"]),
    "no final newline": (["x = 1\nimport os"], ["x = 1"]),
    "form feed": (["\x0cimport os\nx = 1"], ["x = 1"]),
    "unicode before": (['"é"; import os; import re\nre.x'], ['"é"; import re\nre.x']),
    "line separator in a string": (['s = "\u2028"\nimport os\nx = 1'], ['s = "\u2028"\nx = 1']),
    "alias": (["import numpy as xp\nx = 1"], ["x = 1"]),
    "submodule": (["import os.path\nx = 1"], ["x = 1"]),
    "submodule with a name": (["import xml.etree.ElementTree as ET\nx = 1"], ["x = 1"]),
    "twice, and used nowhere": (["import os\nx = 1", "import os\ny = 2"], ["x = 1", "y = 2"]),
    "only a shell word": (["import pandas as pd\nx = 1", "!pip install pd"], ["x = 1", "!pip install pd"]),
    "only in a written file": (["import os\nx = 1", "%%writefile a.py\nos.x"], ["x = 1", "%%writefile a.py\nos.x"]),
    "only in a shell cell": (["import os\nx = 1", "%%bash\necho os.x"], ["x = 1", "%%bash\necho os.x"]),
    "only in HTML": (["import os\nx = 1", "%%html\nos.x"], ["x = 1", "%%html\nos.x"]),
    "only a column": (["import time\ndf['time'] = df.time"], ["df['time'] = df.time"]),
    "only a comment": (["import re\nx = 1  # re.compile"], ["x = 1  # re.compile"]),
    "only prose": (["import time\nprint('what time is it')"], ["print('what time is it')"]),
    "only a keyword": (["import time\nf(time=3)"], ["f(time=3)"]),
    "in a timed cell": (["%%time\nimport os\nx = 1"], ["%%time\nx = 1"]),
    "in a captured cell": (["%%capture out\nimport os\nx = 1"], ["%%capture out\nx = 1"]),
    "beside magics": (["%matplotlib inline\nimport os\n!ls\nx = 1"], ["%matplotlib inline\n!ls\nx = 1"]),
    "a cell that does not parse": (["import os, re\nre.x", "print 'two'"], ["import re\nre.x", "print 'two'"]),
    "in a function": (["def f():\n    import os\n    return 1"], ["def f():\n    return 1"]),
    "torch's eval is no eval": (["import os\nmodel.eval()\nx = 1"], ["model.eval()\nx = 1"]),
    "evaluated constants": (["import os, re\neval('re.x')"], ["import re\neval('re.x')"]),
    "class of a library that stays": (
        ["from transformers import AutoModel, AutoTokenizer\nAutoModel()"],
        ["from transformers import AutoModel\nAutoModel()"],
    ),
    "Kaggle's comments": (
        ["import numpy as np # linear algebra\nimport pandas as pd # data processing, CSV file I/O\npd.x"],
        ["import pandas as pd # data processing, CSV file I/O\npd.x"],
    ),
    "no cell shows more than before": (["import os\ndf.head()\nimport re"], ["df.head()\nimport re"]),
}


@pytest.mark.parametrize("name", REMOVED)
def test_an_unused_import_goes(name):
    before, after = REMOVED[name]
    assert tidy(*before) == after


# ---------------------------------------------------------------- what stays

KEPT = {
    "shell expression": ["import sys\nx = 1", "!{sys.executable} -m pip install x"],
    "shell variable": ["from os import sep\nx = 1", "!ls $sep"],
    "indented shell line": ["import sys\nif x:\n    !{sys.executable} -V"],
    "assigned shell line": ["import sys\nx = !{sys.executable} -V"],
    "timeit": ["import numpy as np\nx = 1", "%timeit np.sum(x)"],
    "time": ["import numpy as np\nx = 1", "%time y = np.sum(x)"],
    "timeit setup": ["import numpy as np\nx = 1", "%%timeit y = np.ones(3)\nsum(y)"],
    "timeit body": ["import numpy as np\nx = 1", "%%timeit\nnp.ones(3)"],
    "mprun": ["from mine import f\nx = 1", "%mprun -f f f(x)"],
    "prun": ["import re\nx = 1", "%prun re.compile(x)"],
    "help": ["import numpy as np\nx = 1", "np.sum?"],
    "help twice": ["import numpy as np\nx = 1", "np??"],
    "help before": ["import numpy as np\nx = 1", "?np"],
    "unknown line magic": ["import os\nx = 1", "%mine os"],
    "unknown cell magic": ["import pytest\nx = 1", "%%ipytest\ndef test_x():\n    pytest.fail()"],
    "other language": ["import table\nx = 1", "%%sql\nselect * from table"],
    "one-line automagic": ["import re\nx = 1", "timeit re.compile('x')"],
    "earlier cell": ["np.ones(3)", "import numpy as np\nx = 1"],
    "later cell": ["import numpy as np\nx = 1", "np.ones(3)"],
    "unparsable cell": ["import numpy as np\nx = 1", "print np.ones(3)"],
    "seaborn": ["import seaborn as sns\nx = 1"],
    "3d projection": ["from mpl_toolkits.mplot3d import Axes3D\nx = 1"],
    "3d projection module": ["from mpl_toolkits import mplot3d\nx = 1"],
    "experimental": ["from sklearn.experimental import enable_iterative_imputer\nx = 1"],
    "colab": ["from google.colab import drive\nx = 1"],
    "accessor": ["import hvplot.pandas\nx = 1"],
    "table methods": ["import pandas_profiling\nx = 1"],
    "environments": ["import gym_minigrid\nx = 1"],
    "operations": ["import tensorflow_text as text\nx = 1"],
    "model registry": ["import torchvision\nx = 1"],
    "autoinit": ["import pycuda.autoinit\nx = 1"],
    "readline": ["import readline\nx = 1"],
    "antigravity": ["import antigravity\nx = 1"],
    "image plugin": ["from PIL import WebPImagePlugin\nx = 1"],
    "comet": ["import comet_ml\nx = 1"],
    "local module": ["import helpers\nx = 1"],
    "local module's submodule": ["from helpers import plots, x\nx()"],
    "relative": ["from . import a\nx = 1"],
    "written module": ["%%writefile regex.py\nx = 1", "import regex\nx = 1"],
    "star": ["from math import *\nx = 1"],
    "future": ["from __future__ import division\nx = 1"],
    "noqa": ["import os  # noqa\nx = 1"],
    "noqa with a code": ["import os  # noqa: F401\nx = 1"],
    "explained": ["import os  # needed for the magic below\nx = 1"],
    "explained above": ["# must stay, registers a codec\nimport os\nx = 1"],
    "explained inside": ["from math import (\n    cos,  # do not remove\n)\nx = 1"],
    "try": ["try:\n    import os\nexcept ImportError:\n    pass\nx = 1"],
    "fallback": ["try:\n    import cupy as xp\nexcept ImportError:\n    import numpy as xp\nx = 1"],
    "condition": ["if x:\n    import os\ny = 1"],
    "condition on one line": ["if x: import os\ny = 1"],
    "with": ["with x:\n    import os\ny = 1"],
    "type checking": ["if TYPE_CHECKING:\n    import os\nx = 1"],
    "class": ["class A:\n    import os\n    x = 1"],
    "only statement of a function": ["def f():\n    import os\n\nf()"],
    "used in its function": ["def f():\n    import os\n    def g():\n        return os.x\n    return g"],
    "global in a function": ["def f():\n    global os\n    import os\n    return 1"],
    "__all__": ["from math import pi\n__all__ = ['pi']"],
    "eval of unknown text": ["import os\nx = 1", "eval(input())"],
    "eval handed on": ["import os\nx = 1", "df.a.apply(eval)"],
    "exec of a file": ["import os\nx = 1", "exec(open('a.py').read())"],
    "eval of a constant": ["import os\nx = 1", "eval('os')"],
    "globals by name": ["import os\nx = 1", "globals()['os']"],
    "globals by any name": ["import os\nx = 1", "globals()[name]"],
    "locals in a format": ["import os\nx = 1", "'{os}'.format(**locals())"],
    "frames": ["import os\nx = 1", "sys._getframe().f_locals"],
    "another main": ["import os\nx = 1", "timeit.timeit('os.x', 'from __main__ import os')"],
    "query": ["import numpy as np\nx = 1", "df.query('a > @np.pi')"],
    "query with a function": ["from math import pi\nx = 1", "df.query('a > @pi')"],
    "formula": ["import numpy as np\nx = 1", "smf.ols('y ~ np.log(x)', df)"],
    "profiled text": ["from math import cos\nx = 1", "cProfile.run('cos(1)')"],
    "f-string": ["import os\nx = 1", "f'{os.x}'"],
    "f-string in a shell line": ["import os\nx = 1", "!echo {f'{os.x}'}"],
    "string annotation": ["import numpy as np\ndef f(x: 'np.ndarray'): pass\nx = 1"],
    "doctest": ["from math import cos\ndef f():\n    '''\n    >>> cos\n    '''\nx = 1"],
    "run_cell": ["import os\nx = 1", "get_ipython().run_cell(text)"],
    "line magic as a call": ["import os\nx = 1", "get_ipython().run_line_magic('timeit', 'os')"],
    "run of a notebook": ["import os\nx = 1", "%run other.ipynb"],
    "run -i": ["import os\nx = 1", "%run -i other.py"],
    "load": ["import os\nx = 1", "%load other.py"],
    "deleted by name": ["import os\nx = 1", "del os"],
    "added to": ["from math import pi\nx = 1", "pi += 1"],
    "last expression": ["import os\nos"],
    "extension": ["import line_profiler\nx = 1", "%load_ext line_profiler"],
    "submodule through its parent": ["import scipy\nfrom scipy import stats\nscipy.stats.norm"],
    "submodule through an alias": ["import sklearn as sk\nimport sklearn.svm as svm\nsk.svm.SVC"],
    "submodule through a class": ["import sklearn\nfrom sklearn.svm import SVC\nsklearn.svm.x"],
    "progress of tables": ["from tqdm import tqdm\nx = 1", "df.progress_apply(f)"],
    "tagged": [cell("import os\nx = 1", metadata={"tags": ["parameters"]})],
    "tagged to keep": [cell("import os\nx = 1", metadata={"tags": ["keep_imports"]})],
    "not run in this namespace": ["%%timeit\nimport os\nx = 1"],
    "would show the line above": ["x\nimport os"],
    "indented as a whole": ["    import os\n    x = 1"],
    "prompts": [">>> import os\n>>> x = 1"],
    "fullwidth letters": ["import os\nx = 1", "\uff4f\uff53.x"],
}


@pytest.mark.parametrize("name", KEPT)
def test_an_import_that_may_matter_stays(name):
    document = notebook(*KEPT[name])
    result, findings = imports.apply(document, {})
    assert result is document
    assert findings == []


def test_a_notebook_in_another_language_is_left_alone():
    document = notebook("import os\nx = 1", kernelspec={"name": "julia-1.9", "language": "julia"})
    assert imports.apply(document, {"hoist": True}) == (document, [])


# ---------------------------------------------------------------- duplicates

REPEATED = {
    "later cell": (["import os\nos.x", "import os\nos.y"], ["import os\nos.x", "os.y"]),
    "same cell": (["import os\nos.x\nimport os\nos.y"], ["import os\nos.x\nos.y"]),
    "alias": (["import numpy as np\nnp.x", "import numpy as np\nnp.y"], ["import numpy as np\nnp.x", "np.y"]),
    "name": (
        ["from math import pi\npi", "from math import cos, pi\ncos(pi)"],
        ["from math import pi\npi", "from math import cos\ncos(pi)"],
    ),
    "effects have happened": (
        ["import seaborn as sns\nsns.x", "import seaborn as sns\nsns.y"],
        ["import seaborn as sns\nsns.x", "sns.y"],
    ),
    "three times": (["import os\nos.x", "import os\nos.y", "import os\nos.z"], ["import os\nos.x", "os.y", "os.z"]),
    "used between": (["import os\nos.x", "f(os.x, os)", "import os\nos.y"], ["import os\nos.x", "f(os.x, os)", "os.y"]),
    "in a timed cell": (["%%time\nimport os\nos.x", "import os\nos.y"], ["%%time\nimport os\nos.x", "os.y"]),
    "semicolons": (
        ["import os, sys\nos.x, sys.x", "import os; import sys\nos.y, sys.y"],
        ["import os, sys\nos.x, sys.x", "os.y, sys.y"],
    ),
    "after an install": (
        ["!pip install a\nimport os\nos.x", "import os\nos.y"],
        ["!pip install a\nimport os\nos.x", "os.y"],
    ),
    "first one unused until then": (["import os\nx = 1", "import os\nos.y"], ["import os\nx = 1", "os.y"]),
}
NOT_REPEATED = {
    "rebound": ["import os\nos.x", "os = 3", "import os\nos.y"],
    "rebound in a loop": ["from math import pi\npi", "for pi in x:\n    pass", "from math import pi\npi"],
    "rebound by a function": [
        "from math import cos\ncos(1)",
        "def cos(x):\n    return x",
        "from math import cos\ncos(1)",
    ],
    "rebound by another import": [
        "from math import cos\ncos(1)",
        "from cmath import cos\ncos(1)",
        "from math import cos\ncos(1)",
    ],
    "rebound by a star": [
        "from math import cos\ncos(1)",
        "from cmath import *\ncos(1)",
        "from math import cos\ncos(1)",
    ],
    "rebound by a magic": ["import os\nos.x", "os = !ls", "import os\nos.y"],
    "rebound by a script": ["import os\nos.x", "%run other.py", "import os\nos.y"],
    "rebound in a function": ["import os\nos.x", "def f():\n    global os\n    os = 3", "f()", "import os\nos.y"],
    "caught": ["from math import e\ne", "try:\n    x\nexcept E as e:\n    pass", "from math import e\ne"],
    "deleted": ["import os\nos.x", "del os", "import os\nos.y"],
    "reset": ["import os\nos.x", "%reset -f", "import os\nos.y"],
    "reloaded": ["import os\nos.x", "importlib.reload(os)", "import os\nos.y"],
    "installed": ["import numpy as np\nnp.x", "!pip install -U numpy", "import numpy as np\nnp.y"],
    "restarted": ["import os\nos.x", "os.kill(os.getpid(), 9)", "import os\nos.y"],
    "executed": ["import os\nos.x", "exec(text)", "import os\nos.y"],
    "conditional before": ["if x:\n    import os\nos.x", "import os\nos.y"],
    "tried before": ["try:\n    import os\nexcept ImportError:\n    pass\nos.x", "import os\nos.y"],
    "timed before": ["%%timeit\nimport os\nos.x", "import os\nos.y"],
    "skipped before": [cell("import os\nos.x", metadata={"tags": ["skip"]}), "import os\nos.y"],
    "may fail before": [cell("import os\nos.x", metadata={"tags": ["raises-exception"]}), "import os\nos.y"],
    "another alias": ["import numpy as np\nnp.x", "import numpy\nnumpy.x"],
    "submodule": ["import os\nos.x", "import os.path\nos.y"],
    "in a function": ["import os\nos.x", "def f():\n    import os\n    return os.y"],
    "unparsable between": ["import os\nos.x", "print 'two'", "import os\nos.y"],
    "patched": ["from mine import f\nf()", "mine.f = g", "from mine import f\nf()"],
    "explained": ["import os\nos.x", "import os  # needed here\nos.y"],
}


@pytest.mark.parametrize("name", REPEATED)
def test_a_repeated_import_goes(name):
    before, after = REPEATED[name]
    assert tidy(*before) == after


@pytest.mark.parametrize("name", NOT_REPEATED)
def test_an_import_after_a_possible_change_is_no_repeat(name):
    document = notebook(*NOT_REPEATED[name])
    assert imports.apply(document, {})[0] is document


# ---------------------------------------------------------------- sorting

SORTED = {
    "two modules": ("import sys\nimport os\nos.x, sys.x", "import os\nimport sys\nos.x, sys.x"),
    "at the end": ("import sys\nimport os", "import os\nimport sys"),
    "names": ("from math import sin, cos\nsin, cos", "from math import cos, sin\nsin, cos"),
    "up to a magic": (
        "import z\n%matplotlib inline\nimport sys\nimport os\n",
        "import z\n%matplotlib inline\nimport os\nimport sys\n",
    ),
    "up to a comment": (
        "import sys\nimport os\n# more\nimport re\nimport json\n",
        "import os\nimport sys\n# more\nimport json\nimport re\n",
    ),
    "comment stays with its line": ("import sys  # a\nimport os  # b\n", "import os  # b\nimport sys  # a\n"),
    "CRLF": ("import sys\r\nimport os\r\nx = 1\r\n", "import os\r\nimport sys\r\nx = 1\r\n"),
    "after a removal": ("import sys\nimport re\nimport os\n", "import os\nimport sys\n"),
    "seaborn may move": ("import seaborn as sns\nimport numpy as np\n", "import numpy as np\nimport seaborn as sns\n"),
}
NOT_SORTED = {
    "sorted": "import os\nimport sys\n",
    "long line in order": "from math import (cos,\n    sin)\n",
    "across a call": "import matplotlib\nmatplotlib.use('Agg')\nimport json\n",
    "across the path": "import sys\nsys.path.append('x')\nimport json\n",
    "across a magic": "import sys\n!ls\nimport os\n",
    "unknown module first": "import zzz\nimport os\n",
    "unsloth first": "import unsloth\nimport transformers\nimport json\n",
    "comet first": "import comet_ml\nimport json\n",
    "experimental": "from sklearn.experimental import enable_hist_gradient_boosting\nfrom sklearn.ensemble import X\n",
    "native libraries": "import torch\nimport faiss\n",
    "same name": "from cmath import cos\nfrom math import sin as cos\nimport os\n",
    "star": "from os import *\nimport json\n",
    "explained": "import sys  # must be first\nimport os\n",
    "semicolons": "import sys; import os\n",
    "isort": "# isort: off\nimport sys\nimport os\n",
    "in a function": "def f():\n    import sys\n    import os\n    return os, sys\n",
}


@pytest.mark.parametrize("name", SORTED)
def test_imports_are_sorted_within_their_block(name):
    before, after = SORTED[name]
    use = "os, sys, json, re, z, np, sns, cos, sin"
    if name == "after a removal":
        use = "os, sys"
    assert tidy(before, use) == [after, use]


@pytest.mark.parametrize("name", NOT_SORTED)
def test_an_order_that_may_matter_stays(name):
    use = cell("os, sys, json, cos, sin, X, torch, faiss, zzz, unsloth, transformers, comet_ml, matplotlib")
    document = notebook(NOT_SORTED[name], use)
    assert imports.apply(document, {})[0] is document


# ---------------------------------------------------------------- hoisting

HOISTED = {
    "after the first imports": (
        ["import os\nos.x", "import numpy as np\nnp.x"],
        ["import os\nimport numpy as np\nos.x", "np.x"],
    ),
    "before the first code": (["# title\nx = 1", "import os\nos.x"], ["# title\nimport os\n\nx = 1", "os.x"]),
    "below a docstring": (['"""About."""\nx = 1', "import os\nos.x"], ['"""About."""\nimport os\n\nx = 1', "os.x"]),
    "below magics": (
        ["%matplotlib inline\nx = 1", "import os\nos.x"],
        ["%matplotlib inline\nimport os\n\nx = 1", "os.x"],
    ),
    "a whole cell, which stays": (
        ["import sys\nsys.x", "import os", "os.x"],
        ["import os\nimport sys\nsys.x", "", "os.x"],
    ),
    "past an install cell": (
        ["!pip install x", "import sys\nsys.x", "import os\nos.x"],
        ["!pip install x", "import os\nimport sys\nsys.x", "os.x"],
    ),
    "past a magic cell": (
        ["%%capture\n!pip install x", "import sys\nsys.x", "import os\nos.x"],
        ["%%capture\n!pip install x", "import os\nimport sys\nsys.x", "os.x"],
    ),
}
NOT_HOISTED = {
    "after an install": ["import sys\nsys.x", "!pip install numpy", "import numpy as np\nnp.x"],
    "after an install in its cell": ["import sys\nsys.x", "%pip install numpy\nimport numpy as np\nnp.x"],
    "after the path": ["import sys\nsys.x", "sys.path.append('x')", "import json\njson.x"],
    "after the environment": ["import os\nos.x", "os.environ['A'] = '1'", "import json\njson.x"],
    "after a filter": ["import warnings\nx = 1", "warnings.filterwarnings('ignore')", "import json\njson.x"],
    "after an extension": ["import sys\nsys.x", "%load_ext autoreload\n%autoreload 2", "import json\njson.x"],
    "after a change of folder": ["import sys\nsys.x", "%cd sub", "import json\njson.x"],
    "after a star": ["import sys\nsys.x", "from os import *", "import json\njson.x"],
    "after an unknown module": ["import sys\nsys.x", "import mine\nmine.x", "import json\njson.x"],
    "unknown module": ["import sys\nsys.x", "import mine\nmine.x"],
    "effects": ["import sys\nsys.x", "import seaborn as sns\nsns.x"],
    "rebound": ["import sys\nsys.x", "import json\njson.x", "json = 3"],
    "bound before": ["import sys\njson = sys", "json.x", "import json\njson.x"],
    "mentioned before": ["import sys\nsys.x, pow(2, 3)", "from math import pow\npow(2, 3)"],
    "conditional": ["import sys\nsys.x", "if x:\n    import json\njson.x"],
    "tried": ["import sys\nsys.x", "try:\n    import json\nexcept ImportError:\n    pass\njson.x"],
    "star import": ["import sys\nsys.x", "from math import *\npi"],
    "shares its line": ["import sys\nsys.x", "import json; json.x"],
    "unknown text": ["import sys\nsys.x", "eval(text)", "import json\njson.x"],
    "unparsable cell": ["import sys\nsys.x", "print 'two'", "import json\njson.x"],
    "tagged": ["import sys\nsys.x", cell("import json\njson.x", metadata={"tags": ["skip"]})],
    "explained": ["import sys\nsys.x", "import json  # needed here\njson.x"],
    "would show the line above": ["import sys\nsys.x", "x\nimport json", "json.x"],
}


@pytest.mark.parametrize("name", HOISTED)
def test_an_import_moves_to_the_first_cell_that_can_take_it(name):
    before, after = HOISTED[name]
    assert tidy(*before, hoist=True) == after
    assert tidy(*before) == before


@pytest.mark.parametrize("name", NOT_HOISTED)
def test_an_import_stays_where_moving_it_could_matter(name):
    document = notebook(*NOT_HOISTED[name])
    assert imports.apply(document, {"hoist": True})[0] is document


# ---------------------------------------------------------------- what is said


def test_changes_are_said_with_cell_and_line_and_the_rest_only_on_request():
    document = notebook("x = 1", "import sys\nimport re\nimport os\nimport seaborn\n", "import os\nos.x, sys.x")
    _, findings = imports.apply(document, {})
    assert [(f.kind, f.severity, f.cell, f.line, f.message) for f in findings] == [
        ("imports-sorted", "note", 1, 1, "sorted 3 imports"),
        ("import-removed", "note", 1, 2, "removed import re: nothing uses it"),
        ("import-duplicate", "note", 2, 1, "removed import os: cell 1 imports the same"),
    ]
    said = reasons(*document["cells"])
    assert (
        "import-kept",
        "kept import seaborn: seaborn registers colour maps, and in old versions sets a style",
    ) in said


def test_explain_says_why_nothing_can_go_when_text_is_evaluated():
    assert reasons("import os", "eval(text)") == [
        ("import-kept", "kept import os: cell 1 evaluates text that is not known (eval)")
    ]


def test_hoisting_says_where_an_import_went():
    assert ("import-hoisted", "moved import os to cell 0") in reasons(
        "import sys\nsys.x", "import os\nos.x", hoist=True
    )


# ---------------------------------------------------------------- form


def test_a_list_of_lines_stays_one_and_untouched_lines_are_the_same_strings():
    lines = ["import os\n", "import re\n", "\n", "re.x\n", "x = 1"]
    result, _ = imports.apply(notebook(cell(lines)), {})
    assert result["cells"][0]["source"] == ["import re\n", "\n", "re.x\n", "x = 1"]
    assert imports.apply(notebook(cell(["import os"])), {})[0]["cells"][0]["source"] == []


def test_untouched_cells_are_the_same_objects():
    document = notebook("import os", "x = 1", cell("# t", cell_type="markdown"))
    result, _ = imports.apply(document, {})
    assert result["cells"][0] is not document["cells"][0]
    assert result["cells"][1:] == document["cells"][1:]
    assert all(a is b for a, b in zip(result["cells"][1:], document["cells"][1:], strict=True))


@pytest.mark.parametrize(
    ("original", "text"),
    [
        (["a\n", "b\n", "c"], "a\nc"),
        (["a\n", "b"], "a"),
        (["a\nb\n", "c"], "b\nc"),
        (["a", "b\n", "c"], "b\nc"),
        (["a\n", "b\n"], "a\nb\n"),
        (["", "a\n", ""], "a\nx\n"),
        (["a\u2028", "b\n"], "a\u2028b\nc"),
        ([], ""),
        (["a"], ""),
    ],
)
def test_a_text_is_stored_again_as_lines(original, text):
    found = restored(original, text)
    assert "".join(found) == text
    assert restored("".join(original), text) == text


def test_many_notebooks_are_done_at_once_as_one_by_one():
    documents = [notebook("import os\nx = 1"), notebook("x"), notebook("import re, os\nos.x"), notebook("print 'two'")]
    together = imports.apply_many(documents, {})
    assert together == [imports.apply(document, {}) for document in documents]
    assert imports.apply_many([], {}) == []


# ---------------------------------------------------------------- generated and real notebooks

LINES = st.sampled_from(
    [
        "import os",
        "import sys",
        "import numpy as np",
        "import os, sys",
        "from math import cos, sin",
        "import seaborn as sns",
        "from math import (\n    cos,  # a\n    sin,\n)",
        "import json; import re",
        "import mine",
        "from os import *",
        "os.x",
        "import matplotlib.pyplot as plt",
        "np.ones(3)",
        "cos(sin(1))",
        "sys = 3",
        "def f():\n    import os\n    return 1",
        "%timeit np.sum(x)",
        "!{sys.executable} -V",
        "!pip install x",
        "%matplotlib inline",
        "# comment",
        "",
        "x = 1",
        "try:\n    import json\nexcept ImportError:\n    json = None",
        "print 'two'",
        "sns.x",
        "del os",
        "re.x",
        "json.x",
        "plt.show()",
        "%%time",
        "%run other.py",
        "'''\nimport os\n'''",
        "import os  # noqa",
        "import sys  # needed",
        "np?",
        "x = !ls $os",
        "import scipy",
        "from scipy import stats",
        "scipy.stats.x",
        "eval('np')",
        "    import os",
        "if x:",
        "import numpy as np  # linear algebra",
        "df.query('@np.x')",
        "from sklearn.svm import SVC, LinearSVC",
        "SVC()",
    ]
)
ENDS = st.sampled_from(["\n", "\n", "\n", "\r\n"])


@st.composite
def generated(draw):
    made = []
    for lines in draw(st.lists(st.lists(LINES, max_size=6), min_size=1, max_size=5)):
        source = "\n".join(lines) + draw(st.sampled_from(["", "", "\n"]))
        source = source.replace("\n", draw(ENDS))
        made.append(cell(source if draw(st.booleans()) else source.splitlines(keepends=True)))
    return notebook(*made)


@pytest.mark.parametrize("hoist", [False, True])
def test_generated_notebooks_keep_every_name_that_resolved(hoist):
    @FEW
    @given(st.lists(generated(), min_size=8, max_size=8))
    def attempt(documents):
        before = copy.deepcopy(documents)
        done = imports.apply_many(documents, {"hoist": hoist})
        assert documents == before
        for document, (result, findings) in zip(documents, done, strict=True):
            check(document, result)
            assert (result is document) == (findings == [])
            assert not prep_suite.is_valid(document) or prep_suite.is_valid(result)
        again = imports.apply_many([result for result, _ in done], {"hoist": hoist})
        for (first, _), (second, _) in zip(done, again, strict=True):
            assert second is first, f"a second pass changed {sources(first)} to {sources(second)}"

    attempt()


@pytest.mark.skipif(not CORPUS, reason="KAGG_CORPUS names no folder of notebooks")
@pytest.mark.parametrize("hoist", [False, True])
def test_real_notebooks_keep_every_name_that_resolved(hoist):
    documents = []
    for path in sorted(Path(CORPUS).rglob("*.ipynb")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            continue
        if isinstance(document, dict) and isinstance(document.get("cells"), list):
            documents.append((path.name, document))
    done = imports.apply_many([document for _, document in documents], {"hoist": hoist})
    again = imports.apply_many([result for result, _ in done], {"hoist": hoist})
    for (name, document), (result, _), (second, _) in zip(documents, done, again, strict=True):
        try:
            check(document, result)
            assert second is result
            assert not prep_suite.is_valid(document) or prep_suite.is_valid(result)
        except AssertionError as error:
            pytest.fail(f"{name}: {error}")
    assert sum(result is not document for (_, document), (result, _) in zip(documents, done, strict=True)) > 10


def test_generated_valid_notebooks_pass_the_suite_of_all_steps():
    @settings(FEW, max_examples=15)
    @given(prep_suite.notebooks())
    def attempt(document):
        prep_suite.check_all(imports.apply, document, {"hoist": True})

    attempt()


# ---------------------------------------------------------------- bad input


def test_malformed_notebooks_pass_through():
    prep_suite.check_malformed(imports.apply, {"hoist": True, "explain": True})


@pytest.mark.parametrize(
    "source",
    [
        "x = '\0'\nimport os",
        "x = '\ud800'\nimport os",
        "-" * 90000 + "1",
        "1" + "+1" * 50000,
        "(" * 5000,
        "a" + ".b" * 50000,
    ],
    ids=range(6),
)
def test_a_hostile_cell_costs_its_notebook_no_more_than_its_imports(source):
    hostile, good = notebook(source, "import os\nx = 1"), notebook("import os\nx = 1")
    (result, findings), (other, _) = imports.apply_many([hostile, good], {})
    assert result["cells"][0] is hostile["cells"][0]
    assert other["cells"][0]["source"] == "x = 1"
    assert {finding.kind for finding in findings} <= {"import-removed", "imports-skipped"}


@pytest.mark.parametrize(
    "sources_",
    [
        [f"import a{n}" for n in range(2000)],
        ["\n".join(f"import os as a{n}" for n in range(2000))],
        ["from math import " + ", ".join(f"cos as a{n}" for n in range(2000)), "x"],
        ["import os"] * 2000,
        ["import os; " * 2000 + "x = 1"],
        ["import os\nos.x\n" * 2000],
    ],
    ids=range(6),
)
def test_many_imports_take_time_in_proportion(sources_):
    start = time.monotonic()
    imports.apply(notebook(*sources_), {"hoist": True})
    assert time.monotonic() - start < 20


def test_the_settings_of_ruff_in_the_environment_change_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("RUFF_OUTPUT_FILE", str(tmp_path / "out"))
    monkeypatch.setenv("RUFF_OUTPUT_FORMAT", "github")
    assert tidy("import os\nx = 1") == ["x = 1"]
    assert list(tmp_path.iterdir()) == []


def test_copies_are_gone_afterwards(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert verdicts.ask([["import os"]], ("F401",))[0].unused == [(0, 1, 8)]
    assert list(tmp_path.iterdir()) == []


def test_modules_are_judged_by_their_longest_known_prefix():
    assert known.import_effect("sklearn.svm") == ""
    assert known.import_effect("sklearn.experimental", "enable_iterative_imputer")
    assert known.import_effect("matplotlib.pyplot") == ""
    assert known.import_effect("matplotlib.backends.backend_agg")
    assert known.import_effect("nobody_knows") != ""
    assert known.moves_freely("seaborn")
    assert not known.moves_freely("comet_ml")


def _one_pass(*sources):
    cells = [
        {"cell_type": "code", "metadata": {}, "source": source, "execution_count": None, "outputs": []}
        for source in sources
    ]
    made, _ = imports.apply({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}, {})
    return [cell["source"] for cell in made["cells"]]


def test_names_in_type_comments_are_used():
    source = "from typing import Dict, List\n\nx = []  # type: List[int]\n"
    assert _one_pass(source) == ["from typing import List\n\nx = []  # type: List[int]\n"]
    assert _one_pass("import os\nx = 1  # type: ignore\n") == ["x = 1  # type: ignore\n"]


@pytest.mark.parametrize("directive", ["#| export", "#|export", "# export", "#export", "#| exporti"])
def test_imports_of_a_cell_that_becomes_a_module_stay(directive):
    source = f"{directive}\nfrom json import dumps\n"
    assert _one_pass(source, "import os\n1\n") == [source, "1\n"]
