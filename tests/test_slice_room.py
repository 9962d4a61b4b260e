"""Only what the entry function depends on stays, and it answers as the whole notebook does."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import random
import re
import subprocess
import sys
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
    assert kept(*cells) == [0, 1, 5, 6, 8, 9]  # nobody knows what the function does when it is called


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
        "x, y",
        "print(len(x), x)",
        "x.head()",
        "x.describe().T",
        "x.groupby('a').agg({'b': ['mean', 'max']})",
        "x.isnull().sum().sort_values(ascending=False)",
        "x.sample(5)",
        "x['a'].value_counts().plot(kind='bar')",
        "few = x[['a', 'b']]\nmean = few['a'].mean()",
        "old = x[x['a'] > 3].drop(columns=['b'])\nold.fillna(0, inplace=False)",
        "import seaborn as sns\nsns.heatmap(x.corr(), annot=True)",
        "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nax.plot(x['a'])\nax.set_title('t')",
        "from matplotlib import pyplot as p\nf, axes = p.subplots(2)\naxes[0].hist(x)\nfor c in x:\n    p.hist(x[c])",
        "import plotly.express as px\nfig = px.scatter(x, x='a', y='b')\nfig.update_layout(title='t')\nfig.show()",
        "def look(frame):\n    print(frame.shape)\n    return frame.mean()",
        "class Look:\n    def at(self, frame):\n        return frame",
        "from sklearn.metrics import accuracy_score\nprint(accuracy_score(x['a'], model.predict(x)))",
        "from sklearn.svm import SVC\nother = SVC().fit(x, x)\nprint(other.score(x, x))",
        "from sklearn.svm import SVC\nother = SVC()\nother.fit(x, x)",
        "for name in ['a', 'b']:\n    print(name, x[name].nunique())",
        "total = sum(value for value in x['a'])\nif total > 3:\n    print(f'{total:.2f}')",
        "twice = x['a'].apply(lambda value: value * 2)",
        "!ls -la ../input",
        "files = !ls",
        "%matplotlib inline",
        "# only words",
        "%%time\nx.head()",
    ],
)
def test_whoever_only_looks_goes(look):
    start = (
        "import pandas as pd\nfrom sklearn.linear_model import LinearRegression\nx = y = pd.read_csv('x.csv')\n"
        "model = LinearRegression().fit(x, y)"
    )
    assert kept(start, look, "def predict(payload):\n    return model.predict(payload)") == [0, 2]


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


def test_training_of_the_model_that_answers_stays_and_that_of_another_goes():
    cells = [
        "import pandas as pd\nfrom sklearn.svm import SVC\nfrom sklearn.tree import DecisionTreeClassifier",
        "df = pd.read_csv('x.csv')\nX, y = df[['a']], df['b']",
        "svc = SVC()\ntree = DecisionTreeClassifier()",
        "svc.fit(X, y)",
        "tree.fit(X, y)",
        "print(svc.score(X, y), tree.score(X, y))",
        "def predict(payload):\n    return tree.predict(payload)",
    ]
    assert kept(*cells) == [0, 1, 2, 4, 6]


def test_an_older_number_is_not_needed_once_the_name_is_surely_bound_anew():
    cells = ["x = 5", "print(x)", "x = 1", "y = unknown(x)", "def predict(payload):\n    return y"]
    assert kept(*cells) == [2, 3, 4]


def test_plots_go_unless_the_entry_draws_itself():
    cells = [
        "import matplotlib.pyplot as plt\nplt.style.use('x')\nplt.rcParams['a'] = 1\nx = unknown()",
        "plt.plot([1])\nplt.show()",
    ]
    assert kept(*cells, "def predict(payload):\n    return 1") == [0, 2]
    assert kept(*cells, "def predict(payload):\n    return plt.gcf()") == [0, 1, 2]


def test_a_function_that_nobody_names_needs_nothing():
    cells = ["limit = 3", "table = unknown()\ndef odd():\n    return limit", "def predict(payload):\n    return table"]
    assert kept(*cells) == [1, 2]
    assert kept(*cells[:2], "def predict(payload):\n    return odd()") == [0, 1, 2]


def test_draws_of_a_notebook_that_seeds_stay():
    cells = [
        "import numpy as np\nimport pandas as pd\nnp.random.seed(1)",
        "pd.DataFrame({'a': [1, 2]}).sample(1)",
        "pd.DataFrame({'a': [1, 2]}).sample(1, random_state=3)",
        "w = np.random.rand()",
        "def predict(p):\n    return w",
    ]
    assert kept(*cells) == [0, 1, 3, 4]


def test_without_a_seed_nobody_can_miss_a_draw():
    cells = ["import pandas as pd\ndf = pd.DataFrame({'a': [1, 2]})", "df.sample(1)", "def predict(p):\n    return df"]
    assert kept(*cells) == [0, 2]


def test_written_files_stay():
    cells = ["import pandas as pd", "pd.DataFrame([1]).to_csv('submission.csv')", "def predict(p):\n    return p"]
    assert kept(*cells) == [0, 1, 2]


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
    assert len(result["cells"]) < len(whole["cells"]) or name != "breast-cancer-model"
    measured = ["mean radius", "mean texture", "mean smoothness", "mean concave points", "mean symmetry"]
    payload = dict(zip(measured, (14.0, 19.0, 0.1, 0.05, 0.18), strict=True))
    assert answers(result, "predict", [payload, 1]) == answers(whole, "predict", [payload, 1])


CASES = r"""
# fstring path write, constant read
import joblib
models={i:{'w':i} for i in range(4)}
---
for i in models:
    joblib.dump(models[i], f'model_{i}.pkl')
---
best=joblib.load('model_3.pkl')
---
def predict(p):
    return best['w']
====
# concat path
import json
base='model'
---
json.dump({'a':1}, open(base+'_x'+'.json','w'))
---
def predict(p):
    return json.load(open('model_x.json'))
====
# sqlite
import sqlite3
---
conn=sqlite3.connect('t.db')
conn.execute('create table t(a int)')
conn.execute('insert into t values (7)')
conn.commit()
conn.close()
---
def predict(p):
    c=sqlite3.connect('t.db')
    return c.execute('select a from t').fetchall()
====
# file handle over cells
f=open('log.txt','w')
---
f.write('hello')
---
f.close()
---
def predict(p):
    return open('log.txt').read()
====
# csv writer over cells
import csv
fh=open('o.csv','w',newline='')
w=csv.writer(fh)
---
w.writerow([1,2])
w.writerow([3,4])
---
fh.close()
---
def predict(p):
    return list(csv.reader(open('o.csv')))
====
# shelve
import shelve
---
s=shelve.open('store')
s['k']=5
s.close()
---
def predict(p):
    with shelve.open('store') as d:
        return d['k']
====
# zipfile w
import zipfile
---
with zipfile.ZipFile('a.zip','w') as z:
    z.writestr('x','hi')
---
def predict(p):
    return zipfile.ZipFile('a.zip').read('x').decode()
====
# path.open w
from pathlib import Path
import json
---
with Path('c.json').open('w') as g:
    json.dump({'t':3},g)
---
def predict(p):
    return json.loads(Path('c.json').read_text())['t']
====
# os.replace
import os, json
---
json.dump({'v':1}, open('cfg.json','w'))
json.dump({'v':2}, open('tmp.json','w'))
---
os.replace('tmp.json','cfg.json')
---
def predict(p):
    return json.load(open('cfg.json'))['v']
====
# tofile
import numpy as np
w=np.arange(3.0)
---
w.tofile('w.bin')
---
def predict(p):
    return np.fromfile('w.bin').tolist()
====
# makedirs for writes
import os
---
os.makedirs('out', exist_ok=True)
---
def predict(p):
    with open('out/r.txt','w') as f:
        f.write('x')
    return 'ok'
====
# touch exists
from pathlib import Path
import os
---
Path('flag').touch()
---
def predict(p):
    return os.path.exists('flag')
====
# os.remove
import os
open('stale.txt','w').write('x')
---
os.remove('stale.txt')
---
def predict(p):
    return os.path.isfile('stale.txt')
====
# set_printoptions
import numpy as np
---
np.set_printoptions(precision=2)
---
def predict(p):
    return str(np.array([1/3,2/3]))
====
# pd display
import pandas as pd
---
pd.set_option('display.precision',2)
---
def predict(p):
    return pd.DataFrame({'a':[1/3]}).to_string()
====
# pd.options.display
import pandas as pd
---
pd.options.display.float_format='{:.1f}'.format
---
def predict(p):
    return pd.DataFrame({'a':[1/3]}).to_html()
====
# warnings error
import warnings, numpy as np
---
warnings.filterwarnings('error')
---
def predict(p):
    try:
        return float(np.log(np.array([0.0]))[0])
    except RuntimeWarning:
        return 'warned'
====
# environ alias
import os
env=os.environ
---
env['MODE']='fast'
---
def predict(p):
    return os.environ.get('MODE','slow')
====
# setattr pandas
import pandas as pd
def double(self):
    return self*2
---
setattr(pd.DataFrame,'double',double)
---
def predict(p):
    return pd.DataFrame({'a':[1]}).double()['a'].tolist()
====
# register accessor
import pandas as pd
---
@pd.api.extensions.register_dataframe_accessor('shop')
class Shop:
    def __init__(self, df):
        self.df=df
    def total(self):
        return int(self.df['a'].sum())
---
def predict(p):
    return pd.DataFrame({'a':[1,2]}).shop.total()
====
# tqdm.pandas
from tqdm import tqdm
import pandas as pd
df=pd.DataFrame({'a':[1,2]})
---
tqdm.pandas()
---
s=df['a'].progress_apply(lambda x:x+1)
---
def predict(p):
    return s.tolist()
====
# tqdm.pandas split imports
import pandas as pd
df=pd.DataFrame({'a':[1,2]})
---
from tqdm.auto import tqdm
tqdm.pandas()
---
s=df['a'].progress_apply(lambda x:x+1)
---
def predict(p):
    return s.tolist()
====
# positional out
import numpy as np
a=np.ones(3)
---
np.add(a,1,a)
---
def predict(p):
    return a.tolist()
====
# nan_to_num copy False
import numpy as np
a=np.array([1,np.nan])
---
np.nan_to_num(a, copy=False)
---
def predict(p):
    return a.tolist()
====
# scale copy False
import numpy as np
from sklearn.preprocessing import scale
X=np.array([[1.],[3.]])
---
scale(X, copy=False)
---
def predict(p):
    return X.tolist()
====
# scaler copy False
import numpy as np
from sklearn.preprocessing import StandardScaler
X=np.array([[1.],[3.]])
sc=StandardScaler(copy=False)
---
sc.fit_transform(X)
---
def predict(p):
    return X.tolist()
====
# type(obj).attr
class Cfg:
    t=1
cfg=Cfg()
---
type(cfg).t=5
---
def predict(p):
    return cfg.t
====
# init_subclass registry
class Base:
    registry={}
    def __init_subclass__(cls, **k):
        super().__init_subclass__(**k)
        cls.registry[cls.__name__]=cls
---
class Linear(Base):
    def run(self,x):
        return x*2
---
def predict(p):
    return Base.registry['Linear']().run(4)
====
# metaclass registry
class Meta(type):
    reg={}
    def __new__(m,n,b,d):
        c=super().__new__(m,n,b,d)
        m.reg[n]=c
        return c
class Base(metaclass=Meta):
    pass
---
class Tree(Base):
    depth=3
---
def predict(p):
    return Meta.reg['Tree'].depth
====
# subclasses
class Base: pass
---
class One(Base):
    w=1
---
class Two(Base):
    w=2
---
def predict(p):
    return sum(c.w for c in Base.__subclasses__())
====
# rshift operator
class Pipe:
    def __init__(self): self.s=[]
    def __rshift__(self,o):
        self.s.append(o)
        return self
pipe=Pipe()
---
pipe >> (lambda x:x+1) >> (lambda x:x*2)
---
def predict(p):
    x=3
    for s in pipe.s: x=s(x)
    return x
====
# property with effect
class C:
    n=0
    @property
    def tick(self):
        self.n+=1
        return self.n
c=C()
---
c.tick
---
def predict(p):
    return c.tick
====
# getitem with effect
class Cache:
    def __init__(self): self.d={}
    def __getitem__(self,k):
        if k not in self.d: self.d[k]=len(self.d)
        return self.d[k]
vocab=Cache()
---
ids=[vocab[w] for w in ['a','b','c']]
---
def predict(p):
    return vocab['c']
====
# defaultdict read
from collections import defaultdict
idx=defaultdict(lambda: len(idx))
---
enc=[idx[w] for w in 'the cat sat'.split()]
---
def predict(p):
    return idx['sat']
====
# shared RandomState sample
import numpy as np, pandas as pd
rng=np.random.RandomState(0)
df=pd.DataFrame({'a':range(10)})
---
df.sample(3, random_state=rng)
---
w=rng.rand(2)
---
def predict(p):
    return w.tolist()
====
# shared RandomState split
import numpy as np
from sklearn.model_selection import train_test_split
rng=np.random.RandomState(0)
X=np.arange(10)
---
a,b=train_test_split(X, random_state=rng)
---
w=rng.rand(2)
---
def predict(p):
    return w.tolist()
====
# kfold split draws
import numpy as np
from sklearn.model_selection import KFold
np.random.seed(0)
---
kf=KFold(3, shuffle=True)
X=np.arange(9)
---
for tr,te in kf.split(X):
    print(len(tr))
---
w=np.random.rand(2)
---
def predict(p):
    return w.tolist()
====
# scipy bootstrap draws
import numpy as np
from scipy import stats
np.random.seed(0)
x=np.arange(9.)
---
res=stats.bootstrap((x,), np.mean, n_resamples=10)
---
w=np.random.rand(2)
---
def predict(p):
    return w.tolist()
====
# differential_evolution draws
import numpy as np
from scipy.optimize import differential_evolution
np.random.seed(0)
---
r=differential_evolution(lambda v:v[0]**2,[(-1,1)],maxiter=2)
---
w=np.random.rand(2)
---
def predict(p):
    return w.tolist()
====
# silhouette sample
import numpy as np
from sklearn.metrics import silhouette_score
np.random.seed(0)
X=np.arange(20.).reshape(-1,1)
l=np.array([0]*10+[1]*10)
---
silhouette_score(X,l,sample_size=10)
---
w=np.random.rand(2)
---
def predict(p):
    return w.tolist()
====
# del shadowed builtin
sum=0
for i in range(3): sum+=i
---
del sum
---
def predict(p):
    return sum([1,2])
====
# lru_cache primed
from functools import lru_cache
CFG={'a':1}
@lru_cache
def get():
    return CFG['a']
---
get()
---
CFG['a']=2
---
def predict(p):
    return get()
====
# own ignoring context
from contextlib import contextmanager
@contextmanager
def ignoring():
    try:
        yield
    except Exception:
        pass
---
model='default'
---
with ignoring():
    model=open('/nonexistent/x').read()
---
def predict(p):
    return model
====
# walrus in comp
last=0
---
hits=[1 for x in [] if (last:=x)>0]
---
def predict(p):
    return last
====
# sys.modules setattr
import sys
T=1
---
setattr(sys.modules[__name__],'T',5)
---
def predict(p):
    return T
====
# vars()
T=1
---
vars()['T']=5
---
def predict(p):
    return T
====
# import for effect
%%writefile acc.py
import pandas as pd
@pd.api.extensions.register_dataframe_accessor('ta')
class TA:
    def __init__(self,d): self.d=d
    def rsi(self): return 42
---
import acc
---
import pandas as pd
---
def predict(p):
    return pd.DataFrame().ta.rsi()
====
# numbers register
import numbers
class Money:
    pass
---
numbers.Number.register(Money)
---
def predict(p):
    return isinstance(Money(),numbers.Number)
====
# logging level
import logging
log=logging.getLogger('svc')
---
logging.getLogger('svc').setLevel(logging.DEBUG)
---
def predict(p):
    return log.isEnabledFor(logging.DEBUG)
====
# logging disable
import logging
---
logging.disable(logging.CRITICAL)
---
def predict(p):
    return logging.getLogger().isEnabledFor(logging.ERROR)
====
# thread class run
import threading
class W(threading.Thread):
    def run(self): self.res=9
w=W()
---
w.start()
w.join()
---
def predict(p):
    return w.res
====
# object array
import numpy as np
d1={'x':0}
arr=np.array([d1,{}],dtype=object)
---
arr[0]['x']=1
---
def predict(p):
    return d1['x']
====
# kwargs inplace
import pandas as pd
df=pd.DataFrame({'a':[1],'b':[2]})
kw=dict(columns=['b'],inplace=True)
---
df.drop(**kw)
---
def predict(p):
    return list(df.columns)
====
# unbound insert
import pandas as pd
df=pd.DataFrame({'a':[1]})
---
pd.DataFrame.insert(df,0,'z',5)
---
def predict(p):
    return list(df.columns)
====
# descriptor
class D:
    def __get__(self,o,t):
        o.hits=getattr(o,'hits',0)+1
        return o.hits
class A: d=D()
a=A()
---
a.d
---
def predict(p):
    return a.d
====
# iterator alias list
it=iter(range(5))
j=it
---
b=list(j)
---
def predict(p):
    return list(it)
====
# mock patch start
from unittest import mock
import math
---
pt=mock.patch('math.sqrt', lambda x: 5)
pt.start()
---
def predict(p):
    return math.sqrt(4)
====
# monkeypatch via module alias
import math as m
---
f=m
f.sqrt=lambda x:7
---
import math
---
def predict(p):
    return math.sqrt(4)
====
# monkeypatch in function
import math
---
def patch(mod):
    mod.tau=1
---
patch(math)
---
def predict(p):
    return math.tau
====
# for setattr numpy
import numpy as np
---
for n in ['foo']:
    setattr(np,n,11)
---
def predict(p):
    return np.foo
====
# decimal ctx var
from decimal import Decimal, getcontext
ctx=getcontext()
---
ctx.prec=4
---
def predict(p):
    return str(Decimal(1)/3)
====
# df query local
import pandas as pd
df=pd.DataFrame({'a':[1,2]})
---
lim=1
---
def predict(p):
    return df.query('a>@lim')['a'].tolist()
====
# rebinding triggers del
log=[]
class R:
    def __del__(self): log.append('gone')
r=R()
---
r=None
---
def predict(p):
    return log
====
# eq effect
class E:
    n=0
    def __eq__(s,o):
        s.n+=1
        return True
    __hash__=None
e=E()
---
e==1
---
def predict(p):
    return e.n
====
# contains effect
class E:
    n=0
    def __contains__(s,o):
        s.n+=1
        return True
e=E()
---
if 3 in e: print('y')
---
def predict(p):
    return e.n
====
# iter effect
class It:
    def __init__(s): s.i=0
    def __iter__(s):
        while s.i<3:
            s.i+=1
            yield s.i
z=It()
---
for v in z: print(v)
---
def predict(p):
    return list(z)
====
# len effect list()
class It:
    def __init__(s): s.i=0
    def __iter__(s):
        s.i+=1
        return iter([1])
z=It()
---
t=list(z)
---
def predict(p):
    return z.i
====
# str effect
class L:
    n=0
    def __str__(s):
        s.n+=1
        return 'x'
l=L()
---
print(l)
---
def predict(p):
    return l.n
====
# lazy attr via getattr
class Lazy:
    def __getattr__(s,k):
        v=len(s.__dict__)
        s.__dict__[k]=v
        return v
z=Lazy()
---
z.a
z.b
---
def predict(p):
    return z.b
====
# cached_property
from functools import cached_property
K={'v':1}
class A:
    @cached_property
    def x(self): return K['v']
a=A()
---
a.x
---
K['v']=2
---
def predict(p):
    return a.x
====
# np view frombuffer
import numpy as np
buf=bytearray(4)
v=np.frombuffer(buf,dtype='u1')
---
v[0]=7
---
def predict(p):
    return buf[0]
====
# np array copy False
import numpy as np
a=np.zeros(2)
b=np.array(a,copy=None)
---
b[0]=1
---
def predict(p):
    return a.tolist()
====
# with file obj
import io
b=io.StringIO()
---
b.write('ab')
---
print('cd',file=b)
---
def predict(p):
    return b.getvalue()
====
# print file kw
import sys
log=open('p.txt','w')
---
print('cd',file=log)
log.flush()
---
def predict(p):
    return open('p.txt').read()
====
# pprint stream
import io, pprint
b=io.StringIO()
---
pprint.pprint({'a':1},stream=b)
---
def predict(p):
    return b.getvalue()
====
# traceback file
import io, traceback
b=io.StringIO()
---
try:
    1/0
except Exception:
    traceback.print_exc(file=b)
---
def predict(p):
    return len(b.getvalue())>0
====
# json.dump to stringio
import io, json
b=io.StringIO()
---
json.dump([1],b)
---
def predict(p):
    return b.getvalue()
====
# pickle.dump to bytesio
import io, pickle
b=io.BytesIO()
---
pickle.dump([1],b)
---
def predict(p):
    return len(b.getvalue())>0
====
# df.to_csv buf
import io, pandas as pd
b=io.StringIO()
df=pd.DataFrame({'a':[1]})
---
df.to_csv(b,index=False)
---
def predict(p):
    return b.getvalue()
====
# np.save buf
import io, numpy as np
b=io.BytesIO()
---
np.save(b,np.arange(2))
---
def predict(p):
    return len(b.getvalue())>0
====
# del name guarded
import os
DEBUG=True
---
del DEBUG
---
try:
    DEBUG
    mode='d'
except NameError:
    mode='p'
---
def predict(p):
    return mode
====
# preprocess w/ inner helper on df
import pandas as pd
df=pd.DataFrame({'a':[1,None]})
def clean(d):
    def fill(c): d[c]=d[c].fillna(0)
    for c in d.columns: fill(c)
---
clean(df)
---
def predict(p):
    return df.a.tolist()
====
# main()
STATE={}
def main():
    def setup():
        STATE['m']=1
    setup()
---
main()
---
def predict(p):
    return STATE
====
# logging handler file
import logging
log=logging.getLogger('z')
log.addHandler(logging.FileHandler('z.log'))
---
log.warning('hi')
---
def predict(p):
    return open('z.log').read()
====
# mkdir path then savefile in loop
from pathlib import Path
OUT=Path('models')
---
OUT.mkdir(exist_ok=True)
---
for i in range(2):
    (OUT/f'm{i}.txt').write_text(str(i))
---
def predict(p):
    return (OUT/'m1.txt').read_text()
====
# format path
open('m_{}.txt'.format(3),'w').write('x')
---
def predict(p):
    return open('m_3.txt').read()
====
# percent path
open('m_%d.txt'%3,'w').write('x')
---
def predict(p):
    return open('m_3.txt').read()
====
# helper save fstring
import json
def save(o,n):
    with open(f'{n}.json','w') as f: json.dump(o,f)
---
save({'a':1},'s')
---
def predict(p):
    with open('s.json') as f: return json.load(f)
====
# registry by a nested decorator
MODELS = {}
def register(name):
    def deco(f):
        MODELS[name] = f
        return f
    return deco
---
@register('double')
def double(x): return 2*x
---
def predict(p):
    return MODELS['double'](4)
====
# query in the entry
import pandas as pd
df=pd.DataFrame({'a':[1,2,3]})
---
LIMIT=2
---
def predict(p):
    return df.query('a >= @LIMIT').a.tolist()
====
# eval in the entry
A=1
---
def predict(p):
    return eval('A+1')
====
# eval with a function
import pandas as pd
---
def pow2(x): return x*x
---
def predict(p):
    return pd.DataFrame({'y':[2]}).eval('y + @pow2(y)').tolist()
====
# name by getattr
import sys
---
A=1
---
def predict(p):
    return getattr(sys.modules[__name__],'A')
====
# annotation as text
import typing
---
Out=int
---
def predict(p: 'Out'):
    return typing.get_type_hints(predict)
====
# retry decorator with a log
LOG=[]
def timed(f):
    def inner(*a):
        LOG.append(f.__name__)
        return f(*a)
    return inner
---
@timed
def job(x): return x
---
job(1)
---
def predict(p):
    return LOG
====
# cached table
from functools import cache
@cache
def table(): return {}
---
table()['a']=1
---
def predict(p):
    return table()
====
# pipe operator
class P:
    def __init__(self): self.s=[]
    def __or__(self,o):
        self.s.append(o)
        return self
a=P()
---
a | 3
---
def predict(p):
    return a.s
====
# patched method of tables
import pandas as pd
seen=[]
---
def head(self, n=5):
    seen.append(n)
    return self.iloc[:n]
pd.DataFrame.head=head
---
df=pd.DataFrame({'a':[1]})
---
df.head()
---
def predict(p):
    return seen
====
# object that acts in a table
import pandas as pd
seen=[]
class A:
    def __repr__(self):
        seen.append(1)
        return 'A'
---
df=pd.DataFrame({'a':[1]}, dtype=object)
---
df.loc[0,'a']=A()
---
print(df)
---
def predict(p):
    return len(seen)
====
# iterator alias consumed
it=iter(range(5))
j=it
---
list(j)
---
def predict(p):
    return list(it)
====
# pipeline fits its parts
from sklearn.preprocessing import StandardScaler
from sklearn.pipeline import make_pipeline
sc=StandardScaler()
X=[[1.],[3.]]
---
pipe=make_pipeline(sc)
pipe.fit(X)
---
def predict(p):
    return hasattr(sc,'mean_')
====
# model under another name
from sklearn.preprocessing import StandardScaler
sc=StandardScaler()
---
best=sc
---
best.fit([[1.],[3.]])
---
def predict(p):
    return hasattr(sc,'mean_')
====
# model fitted in a cell of its own
from sklearn.preprocessing import StandardScaler
sc=StandardScaler()
---
other=sc
---
sc.fit([[1.],[3.]])
---
def predict(p):
    return hasattr(other,'mean_')
====
# pickled class
import pickle
---
class K:
    def __init__(s): s.v=3
---
pickle.dump(K(),open('k.pkl','wb'))
---
def predict(p):
    with open('k.pkl','rb') as f:
        return pickle.load(f).v
====
# method handed on
xs=[]
---
push=xs.append
---
list(map(push,[1,2]))
---
def predict(p):
    return xs
====
# query that calls
import pandas as pd
xs=[]
df=pd.DataFrame({'a':[1]})
---
df.query('@xs.append(1) == 1 or a > 0')
---
def predict(p):
    return xs
====
# builtin under another meaning
seen=[]
def len(x):
    seen.append(1)
    return 3
---
len([1])
---
def predict(p):
    return seen
====
# object that acts when it goes
log=[]
class R:
    def __del__(self): log.append('gone')
r=R()
---
r=None
---
def predict(p):
    return log
"""
# Runs notebooks, each a list of cells, in a process and a folder of its own; prints what each entry function answers.
RUNNER = """
import json, os, re, sys, tempfile, types
def answer(cells):
    os.chdir(tempfile.mkdtemp(dir=sys.argv[1]))
    module = sys.modules['app'] = types.ModuleType('app')
    try:
        for text in cells:
            if text.startswith('%%writefile'):
                first, _, body = text.partition(chr(10))
                with open(first.split()[-1], 'w') as file:
                    file.write(body)
            else:
                exec(compile(text, 'cell', 'exec'), module.__dict__)
    except BaseException as error:
        return 'stopped: ' + repr(error)
    try:
        return re.sub('0x[0-9a-f]+', '0x', repr(module.predict(None)))
    except BaseException as error:
        return repr(error)
import numpy, pandas, sklearn.linear_model, sklearn.model_selection, scipy.stats, scipy.optimize, joblib
sys.path.insert(0, '')
for cells in json.load(sys.stdin):
    read, write = os.pipe()
    if os.fork() == 0:
        sys.stdout = sys.stderr = open(os.devnull, 'w')
        os.write(write, answer(cells).encode()[:60000])
        os._exit(0)
    os.close(write)
    with open(read) as stream:
        print(json.dumps(stream.read()))
    os.wait()
"""


def told(notebooks, folder):
    """Return what the entry function of each list of cells answers, or how it fails."""
    command = [sys.executable, "-W", "ignore", "-c", RUNNER, str(folder)]
    done = subprocess.run(command, input=json.dumps(notebooks), capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each notebook runs in a fork")
def test_notebooks_that_act_in_roundabout_ways_answer_as_before(tmp_path):
    cases = [case.strip("\n").split("\n---\n") for case in CASES.split("\n====\n")]
    names = [case[0].partition("\n")[0] for case in cases]
    whole = [[case[0].partition("\n")[2], *case[1:]] for case in cases]
    sliced = [[cell["source"] for cell in room.apply(book(*cells), {})[0]["cells"]] for cells in whole]
    answered = told(whole + sliced, tmp_path)
    expected, found = answered[: len(cases)], answered[len(cases) :]
    assert [name for name, one, other in zip(names, expected, found, strict=True) if one != other] == []
    assert not [(name, one) for name, one in zip(names, expected, strict=True) if "SyntaxError" in one]
    careless = told([cells[:1] + cells[-1:] for cells in whole], tmp_path)
    assert sum(one != other for one, other in zip(expected, careless, strict=True)) > 0.8 * len(cases)


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
    assert dropped > 40


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


# --- notebooks of everyday cells with roundabout effects --------------------------------------------------------------

TOOLS = """import copy, math, sys
from collections import Counter, defaultdict
from functools import partial, wraps
import pandas as pd
REGISTRY, LOG, STATE = {}, [], {'n': 0}
def register(name):
    def deco(f):
        REGISTRY[name] = f
        return f
    return deco
def logged(f):
    @wraps(f)
    def inner(*args):
        LOG.append(f.__name__)
        return f(*args)
    return inner
def maker(seen):
    def add(x):
        def really():
            seen.append(x)
        really()
        return len(seen)
    return add
class Base:
    kinds = {}
    def __init_subclass__(cls):
        Base.kinds[cls.__name__] = cls
class Lazy:
    def __init__(self):
        self.d = {}
    def __getitem__(self, k):
        return self.d.setdefault(k, len(self.d))
"""
EVERYDAY = [
    *(
        "A = [1, 2]",
        "A = {'k': 3}",
        "A = 4",
        "A = 'b'",
        "A = B",
        "A = [B, 1]",
        "A = list(str(B))",
        "A = Counter(str(B))",
    ),
    *("A = pd.DataFrame({'x': [1, 2, 3]})", "print(A)", "print(len(str(A)), B)", "A", "A, B", "A = copy.copy(B)"),
    *(
        "for A in range(3):\n    print(A)",
        "A = [i for i in range(4)]",
        "if A:\n    B = 1",
        "A = 3 if B else 4",
        "A = math.pi",
    ),
    *("A = str(B).upper()", "A = sorted([3, 1])", "def A(p=B):\n    return p", "A = lambda p: [p, B]", "A = f'{B}'"),
    *(
        "class A:\n    v = 1",
        "A += 1",
        "import math as A",
        "A = max([1, 2])",
        "A = partial(maker, B)",
        "A = defaultdict(list)",
    ),
]
ROUNDABOUT = [
    *("@register('A')\ndef A(x):\n    return [x, B]", "@logged\ndef A(x):\n    return x", "A = maker(LOG)", "A(1)"),
    *(
        "A = maker(B)",
        "class A(Base):\n    n = 1",
        "A = Lazy()",
        "B[A]",
        "A[1]",
        "A.append(B)",
        "A['x'] = 1",
        "STATE['n'] += 1",
    ),
    *(
        "A = STATE",
        "A.update(n=2)",
        "A = LOG.append",
        "list(map(A, [1, 2]))",
        "A = iter([1, 2, 3])",
        "next(A)",
        "list(A)",
    ),
    *("globals()['A'] = 5", "exec('A = 7')", "setattr(sys.modules[__name__], 'A', 6)", "A = eval('B')", "del A"),
    *("A = B.head()", "A.insert(0, 'z', 1)", "A = B.query('x > 1')", "A = B['x']", "A.columns = ['y']", "math.A = B"),
    *(
        "def outer():\n    def inner():\n        global A\n        A = 9\n    inner()\nouter()",
        "A = [1 for _ in [] if (B := 2)]",
    ),
]
QUESTIONS = [
    *("[repr(A), LOG, sorted(REGISTRY), sorted(Base.kinds)]", "eval('A')", "A(p) if callable(A) else A", "STATE, B"),
    *(
        "A['k']",
        "list(A)",
        "pd.DataFrame({'x': [1, 2]}).query('x > @A').x.tolist()",
        "max([1]), A",
        "hasattr(math, 'a')",
    ),
]


ROUNDS = 90


def roundabout_notebook(seed):
    chance = random.Random(seed)  # noqa: S311 - must repeat
    cells = [TOOLS, "a, b, c, d = [1], 2, {'k': 1}, pd.DataFrame({'x': [1, 2]})"]
    for _ in range(chance.randint(4, 12)):
        pool = ROUNDABOUT if chance.random() < 0.3 else EVERYDAY
        text = re.sub(r"\b[AB]\b", lambda _: chance.choice("abcd"), chance.choice(pool))
        cells.append(text)
    answer = re.sub(r"\b[AB]\b", lambda _: chance.choice("abcd"), chance.choice(QUESTIONS))
    cells.append(f"def predict(p):\n    return {answer}")
    return cells


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each notebook runs in a fork")
def test_roundabout_notebooks_that_run_answer_as_before(tmp_path):
    whole = [roundabout_notebook(seed) for seed in range(ROUNDS)]
    sliced = [[cell["source"] for cell in room.apply(book(*cells), {})[0]["cells"]] for cells in whole]
    answered = told(whole + sliced, tmp_path)
    pairs = [
        (one, other) for one, other in zip(answered[:ROUNDS], answered[ROUNDS:], strict=True) if one[:7] != "stopped"
    ]
    assert len(pairs) > ROUNDS / 5
    assert [seed for seed, (one, other) in enumerate(pairs) if one != other] == []
    left = sum(len(cells) - len(rest) for cells, rest in zip(whole, sliced, strict=True))
    assert left > ROUNDS
