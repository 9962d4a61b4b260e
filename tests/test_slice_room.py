"""Only what the entry function depends on stays, and it answers as the whole notebook does."""

from __future__ import annotations

import contextlib
import io
import itertools
import random
import re
import time
from pathlib import Path

import pytest

from kagg import read_notebook
from plugins.lib.cells import read_cells
from plugins.prep import slice as room

KERNELS = Path(__file__).parent.parent / "batch_examples" / "kernels"


def book(*cells):
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [code(text) for text in cells]}


def code(text):
    return {"cell_type": "code", "source": text, "metadata": {}, "outputs": [], "execution_count": None}


def kept(*cells, entry=None):
    """Return the numbers of the cells that stay."""
    whole = book(*cells)
    result, _ = room.apply(whole, {"entry": entry} if entry else {})
    stay = {id(cell) for cell in result["cells"]}
    return [number for number, cell in enumerate(whole["cells"]) if id(cell) in stay]


def answers(notebook, entry, payloads):
    """Run the cells in order and return what the entry function answers, or how it fails."""
    space = {"__name__": "notebook"}
    with contextlib.redirect_stdout(io.StringIO()):
        for cell in read_cells(notebook):
            exec(compile(cell.python, f"cell {cell.index}", "exec"), space)  # noqa: S102 - the test's own cells
        found = []
        for payload in payloads:
            try:
                found.append(re.sub(r"0x[0-9a-f]+", "0x", repr(space[entry](payload))))
            except Exception as error:  # noqa: BLE001 - how it fails is an answer
                found.append(repr(error))
    return found


# --- what stays and what goes ----------------------------------------------------------------------------------------


def test_exploration_goes_and_what_the_answer_needs_stays_in_order():
    cells = [
        "import pandas as pd\nimport matplotlib.pyplot as plt",
        "df = pd.read_csv('train.csv')",
        "df.head()",
        "df.info(); print(df.describe())",
        "df['a'].hist(bins=20)\nplt.title('a')\nplt.show()",
        "df['b'] = df['a'] * 2",
        "mean = df['b'].mean()",
        "worst = df['b'].max()\nprint(worst)",
        "def predict(payload):\n    return payload - mean",
        "predict(1)",
    ]
    assert kept(*cells) == [0, 1, 5, 6, 8]


@pytest.mark.parametrize(
    "change",
    [
        "x.append(1)",
        "x += [1]",
        "x[0] = 1",
        "del x[0]",
        "y = x\ny.append(1)",
        "y = x[0]\ny.update(a=1)",
        "for part in x:\n    part.clear()",
        "def grow(rows):\n    rows.append(1)\ngrow(x)",
        "def grow():\n    x.append(1)\ngrow()",
        "def grow():\n    global x\n    x = [1]\ngrow()",
        "class B:\n    def __init__(s, r):\n        s.r = r\n    def add(s):\n        s.r.append(1)\nB(x).add()",
        "list(map(lambda rows: rows.append(1), [x]))",
        "import strange\nstrange.mangle(x)",
        "from strange import mangle\nresult = mangle([x])",
        "import numpy as np\nnp.random.shuffle(x)",
        "import heapq\nheapq.heappush(x, 1)",
        "setattr(x, 'a', 1)",
        "x.sort(key=len)",
        "[rows.append(1) for rows in [x]]",
        "with open('f') as f:\n    x.extend(f)",
        "if len(x) > 3:\n    x = []",
        "try:\n    x = int(x)\nexcept ValueError:\n    pass",
        "(x := [1])",
        "exec('x = 1')",
        "globals()['x'] = 1",
        "%time x.append(1)",
        "%run other.py",
        "from strange import *",
        "x, z = z, x",
        "x.attribute = 1",
        "x.index.name = 'a'",
        "y = {}.get(1, x)\ny.append(1)",
        "y = {}.setdefault(1, x)\ny.append(1)",
        "from sklearn.pipeline import make_pipeline\nmake_pipeline(x, z).fit(z)",
        "y = x.copy()\ny[0]['a'] = 1",
        "y = x.copy()\ny[0].update(a=1)",
        "for part in x.copy():\n    part.clear()",
        "with x:\n    pass",
        "x = x",
    ],
)
def test_whatever_may_change_what_is_needed_stays(change):
    assert 1 in kept("x = [{}]; z = 2", change, "def predict(payload):\n    return x")


@pytest.mark.parametrize(
    "look",
    [
        "x",
        "print(len(x), x)",
        "x.head()",
        "x.describe().T",
        "x.groupby('a').agg({'b': ['mean', 'max']})",
        "x.isnull().sum().sort_values(ascending=False)",
        "x.sample(5)",
        "x['a'].value_counts().plot(kind='bar')",
        "copy = x.copy()\ncopy['new'] = 1",
        "few = x[['a', 'b']]\nfew['c'] = 1",
        "old = x[x['a'] > 3].drop(columns=['b'])\nold.fillna(0, inplace=True)",
        "import seaborn as sns\nsns.heatmap(x.corr(), annot=True)",
        "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nax.plot(x['a'])\nax.set_title('t')",
        "from matplotlib import pyplot\nf, axes = pyplot.subplots(2)\nfor ax, c in zip(axes, 'ab'):\n    ax.hist(x[c])",
        "import plotly.express as px\nfig = px.scatter(x, x='a', y='b')\nfig.update_layout(title='t')\nfig.show()",
        "def look(frame):\n    print(frame.shape)\n    return frame.mean()\nlook(x)",
        "from sklearn.metrics import accuracy_score\nprint(accuracy_score(x, model.predict(x)))",
        "from sklearn.svm import SVC\nother = SVC().fit(x, x)\nprint(other.score(x, x))",
        "x.to_csv('out.csv')",
        "for name in ['a', 'b']:\n    print(name, x[name].nunique())",
        "total = sum(row['a'] for row in x)",
        "%timeit len(payload_unknown)",
        "!ls -la ../input",
        "%matplotlib inline",
        "# only words",
    ],
)
def test_whoever_only_looks_goes(look):
    assert kept("x, model = load()", look, "def predict(payload):\n    return model.predict(x)") == [0, 2]


def test_names_that_a_function_reads_count_also_when_they_are_bound_after_it():
    assert kept(
        "def predict(payload):\n    return helper(payload)", "def helper(p):\n    return LIMIT", "LIMIT = 3", "A = 1"
    ) == [0, 1, 2]


def test_what_a_decorator_registers_is_needed_with_all_that_it_reads():
    cells = [
        "registry = {}",
        "def register(f):\n    registry[f.__name__] = f\n    return f",
        "TABLE = [1]",
        "@register\ndef look_up(i):\n    return TABLE[i]",
        "other = 1",
        "def predict(payload):\n    return registry['look_up'](payload)",
    ]
    assert kept(*cells) == [0, 1, 2, 3, 5]


def test_a_call_that_changes_a_default_of_a_function_stays():
    cells = [
        "def memo(x, seen=[]):\n    seen.append(x)\n    return len(seen)",
        "memo(1)",
        "def predict(p):\n    return memo(p)",
    ]
    assert kept(*cells) == [0, 1, 2]


def test_an_older_value_is_not_needed_once_the_name_is_surely_bound_anew():
    cells = [
        "x = slow()",
        "print(x)",
        "x = 1",
        "if x:\n    y = 2\nelse:\n    y = 3",
        "def predict(payload):\n    return x + y",
    ]
    assert kept(*cells) == [2, 3, 4]


def test_a_value_that_may_not_be_bound_anew_is_still_needed():
    assert kept("x = 0", "if ready():\n    x = 1", "def predict(payload):\n    return x") == [0, 1, 2]


def test_a_function_sees_the_state_at_its_call_and_not_only_at_the_end():
    cells = [
        "level = 1",
        "def scaled(v):\n    return v * level",
        "base = scaled(2)",
        "level = 5",
        "def predict(p):\n    return base",
    ]
    assert kept(*cells)[:3] == [0, 1, 2]


def test_training_stays_with_what_it_reaches_and_the_other_model_goes():
    cells = [
        "import torch\nfrom torch import nn",
        "net = nn.Linear(2, 1)\nother = nn.Linear(2, 1)",
        "opt = torch.optim.SGD(net.parameters(), lr=0.1)",
        "for x, y in batches:\n    loss = nn.functional.mse_loss(net(x), y)\n    loss.backward()\n    opt.step()",
        "print(sum(p.numel() for p in net.parameters()))",
        "net.eval()",
        "def predict(payload):\n    return net(payload)",
    ]
    assert kept(*cells) == [0, 1, 2, 3, 5, 6]


def test_random_numbers_between_a_seed_and_a_draw_that_counts_stay():
    cells = [
        "import numpy as np\nnp.random.seed(1)",
        "np.random.rand(3)",
        "w = np.random.rand()",
        "np.random.rand()",
        "def predict(p):\n    return w",
    ]
    assert kept(*cells) == [0, 1, 2, 4]


def test_without_a_seed_nobody_can_miss_a_draw():
    cells = ["import numpy as np", "np.random.rand(3)", "w = np.random.rand()", "def predict(p):\n    return w"]
    assert kept(*cells) == [0, 2, 3]


def test_a_file_is_written_when_a_cell_that_stays_reads_it():
    cells = [
        "import joblib, pandas as pd\nmodel = make()",
        "joblib.dump(model, 'model.pkl')",
        "pd.DataFrame([1]).to_csv('submission.csv')",
        "def predict(payload):\n    return joblib.load('model.pkl')",
    ]
    assert kept(*cells) == [0, 1, 3]


def test_a_file_whose_name_is_not_known_counts_as_any():
    assert kept("import joblib", "joblib.dump(1, name())", "def predict(p):\n    return joblib.load('model.pkl')") == [
        0,
        1,
        2,
    ]


@pytest.mark.parametrize(
    "cell",
    [
        "import sys\nsys.path.append('../input')",
        "import os\nos.environ['MODE'] = 'x'",
        "import os\nos.chdir('/')",
        "%%writefile helper.py\nX = 1",
        "!pip install numpy==2.0",
        "%pip install numpy",
        "%env MODE=x",
        "%cd ..",
        "!git clone https://example.com/x",
        "import torch\ntorch.backends.cudnn.deterministic = True",
        "import tensorflow as tf\ntf.keras.backend.set_floatx('float16')",
        "import pandas as pd\npd.set_option('mode.copy_on_write', True)",
        "from __future__ import annotations",
    ],
)
def test_what_changes_the_world_around_the_cells_stays(cell):
    assert kept(cell, "1 + 1", "def predict(payload):\n    return payload") == [0, 2]


def test_a_cell_that_is_not_python_stays_when_it_may_bind_what_is_needed():
    whole = book("print 'x'", "x = 1; print x", "def predict(payload):\n    return x")
    result, findings = room.apply(whole, {})
    assert result["cells"] == whole["cells"][1:]
    assert [(f.cell, f.severity) for f in findings if f.message.startswith("left out")] == [(0, "warning")]


def test_queries_and_formulas_read_the_names_in_their_text():
    assert kept("limit = 3", "few = table().query('a > @limit')", "def predict(p):\n    return few") == [0, 1, 2]


def test_an_iterator_that_somebody_consumed_is_not_the_same():
    assert kept("rows = (i for i in range(9))", "next(rows)", "list(rows)", "def predict(p):\n    return rows") == [
        0,
        1,
        2,
        3,
    ]


# --- the room --------------------------------------------------------------------------------------------------------


def test_the_entry_is_the_first_known_name_or_the_one_that_is_asked_for():
    cells = ["a = 1", "b = 2", "def handler(r):\n    return a", "def score(x):\n    return b"]
    assert kept(*cells) == [0, 2]
    assert kept(*cells, entry="score") == [1, 3]


def test_without_an_entry_function_everything_stays_with_a_warning():
    whole = book("x = 1")
    result, findings = room.apply(whole, {})
    assert result is whole
    assert [finding.severity for finding in findings] == ["warning"]


def test_each_code_cell_has_a_finding_that_says_why():
    whole = book("x = 1", "print(x)", "def predict(p):\n    return x")
    whole["cells"].insert(1, {"cell_type": "markdown", "source": "# x", "metadata": {}})
    result, findings = room.apply(whole, {})
    assert [cell["cell_type"] for cell in result["cells"]] == ["code", "markdown", "code"]
    assert [finding.cell for finding in findings] == [0, 2, 3]
    assert findings[0].message == "kept: binds x, which is needed"
    assert findings[1].message == "left out: it changes nothing that predict needs"


def test_odd_cells_are_no_reason_to_fail_and_stay():
    whole = book("x = '\udcff'", "y = '\0'", "def predict(p):\n    return 1")
    whole["cells"] += [
        None,
        3,
        {"cell_type": "code"},
        {"cell_type": "code", "source": ["z = 1\n", 7, "z"]},
        {"source": 1},
    ]
    result, _ = room.apply(whole, {})
    assert [cell for cell in result["cells"] if not isinstance(cell, dict)] == [None, 3]


@pytest.mark.parametrize(
    "cells",
    [
        ["x = 1"] * 5000,
        [f"x{n} = f(x{n - 1})" for n in range(600)],
        ["x = f(" + ",".join(f"n{n}" for n in range(2000)) + ")"],
        ["x = " + "1+" * 5000 + "1"],
        ["x = a" + ".b()" * 900],
        ["x = [" + "1," * 50_000 + "]"],
        [" " * 50_000 + "= ="],
        [f"def g{n}(p):\n    g{n + 1}(p)\n    return g{n + 1}(p)" for n in range(300)],
    ],
    ids=["many", "chain", "names", "sum", "calls", "list", "blanks", "functions"],
)
def test_hostile_notebooks_end_soon(cells):
    start = time.monotonic()
    room.apply(book(*cells, "def predict(p):\n    return x"), {})
    assert time.monotonic() - start < 60


# --- the same answers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "entry"),
    [("breast-cancer-model", "predict"), ("bootstrap-interval", "means"), ("wine-cultivars", "summary")],
)
def test_the_examples_answer_as_before(name, entry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = read_notebook(KERNELS / name / f"{name}.ipynb")
    if entry != "predict":
        whole["cells"].append(code(f"def predict(payload):\n    return {entry}"))
    result, _ = room.apply(whole, {})
    assert len(result["cells"]) < len(whole["cells"]) or name == "wine-cultivars"
    measured = ["mean radius", "mean texture", "mean smoothness", "mean concave points", "mean symmetry"]
    payload = dict(zip(measured, (14.0, 19.0, 0.1, 0.05, 0.18), strict=True))
    assert answers(result, "predict", [payload, 1]) == answers(whole, "predict", [payload, 1])


START = """import random, itertools
from functools import partial
random.seed(1)
registry, files, counter = [], {}, itertools.count()
class Box:
    shared = [0]
    def __init__(self, v):
        self.v = v
    def bump(self):
        push(self.v, 1)
        self.n = getattr(self, 'n', 0) + 1
    def __repr__(self):
        return f'Box({self.v!r}, {getattr(self, "n", 0)}, {Box.shared!r})'
def push(x, v):
    if isinstance(x, list) and len(repr(x)) < 300:
        x.append(v)
def setk(x, v):
    if isinstance(x, dict) and len(repr(x)) < 300:
        x['k'] = v
def make(x):
    return [x, 1] if len(repr(x)) < 100 else x
def show(x):
    print('value', x)
def write(name, x):
    files[name] = repr(x)
"""
VALUES = ["[1, 2]", "{'k': 3}", "A", "[A]", "{'x': A}", "(A, B)", "Box(A)", "make(A)", "len(str(A))", "partial(F, A)"]
STEPS = [
    *("A = V", "A = V", "A, B = V, V", "A = [V for i in range(2)]", "A += [1]", "if len(str(A)) > 8:\n    B = V"),
    *("push(A, V)", "setk(A, V)", "A.append(V)", "A['k'] = V", "A.v = V", "A.bump()", "A.sort(key=str)", "A()", "F(A)"),
    *("A = F(B)", "A = list(map(F, B))", "for A in B:\n    push(A, 1)", "A = (v for v in [V, 2])", "A = list(B)"),
    *(
        "print(A)",
        "show(A)",
        "A = B = V",
        "registry.append(A)",
        "A = registry",
        "A = next(counter)",
        "random.shuffle(A)",
    ),
    *(
        "A = random.random()",
        "random.seed(2)",
        "Box.shared = V",
        "A = Box.shared",
        "write('u', A)",
        "A = files.get('u')",
    ),
]
DEFINITIONS = [
    "def F(p):\n    push(A, p)\n    return A",
    "def F(p):\n    global A\n    A = [p]\n    return B",
    "def F(p):\n    q = p\n    def inner():\n        return [q, A]\n    return inner",
    "F = lambda p: [p, A]",
]
ENDS = ["[A, payload]", "F(A)", "[random.random(), A]", "push(A, payload) or A", "A() if callable(A) else A", "files"]


def filled(chance, template):
    """Replace A, B, F and V by names and values of the chance's choosing."""
    for letter, choices in (("V", VALUES), ("A", "abcdefg"), ("B", "abcdefg"), ("F", ["f1", "f2", "f3", "f4"])):
        for _ in range(6):
            template = re.sub(rf"\b{letter}\b", lambda _, found=choices: chance.choice(found), template, count=1)
    return template


def random_notebook(seed):
    chance = random.Random(seed)  # noqa: S311 - must repeat
    cells = [
        START,
        *(f"{name} = [{number}]" for number, name in enumerate("abcdefg")),
        "f1 = f2 = f3 = f4 = lambda p: p",
    ]
    for _ in range(chance.randint(4, 14)):
        lines = []
        for _ in range(chance.randint(1, 3)):
            line = filled(chance, chance.choice(STEPS)).replace("\n", "\n    ")
            define = filled(chance, chance.choice(DEFINITIONS))
            lines.append(define if chance.random() < 0.1 else f"try:\n    {line}\nexcept Exception:\n    pass")
        cells.append("\n".join(lines))
    entry = f"def predict(payload):\n    return {filled(chance, chance.choice(ENDS))}"
    cells.insert(chance.randint(9, len(cells)), entry)
    return book(*cells)


def test_random_notebooks_answer_as_before_and_a_second_pass_changes_nothing():
    dropped = 0
    for seed in range(60):
        whole = random_notebook(seed)
        result, _ = room.apply(whole, {})
        dropped += len(whole["cells"]) - len(result["cells"])
        assert answers(result, "predict", [1, [2]]) == answers(whole, "predict", [1, [2]]), seed
        assert room.apply(result, {})[0] is result, seed
    assert dropped > 120


def test_the_random_notebooks_can_tell_a_slice_that_drops_too_much():
    wrong = 0
    for seed in itertools.islice(itertools.count(), 40):
        whole = random_notebook(seed)
        result, _ = room.apply(whole, {})
        less = whole | {"cells": [cell for cell in result["cells"] if "push" not in cell["source"][:60]]}
        try:
            wrong += answers(less, "predict", [1]) != answers(whole, "predict", [1])
        except NameError:
            wrong += 1
    assert wrong > 3
