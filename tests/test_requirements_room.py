"""Imports and pip lines become requirements that pip reads; what nobody knows is a warning and never a guess."""

from __future__ import annotations

import re
import subprocess
import sys
import time

import pytest
from packaging.requirements import Requirement

from plugins.lib import distributions, pip_lines
from plugins.prep import requirements as room


def book(*cells):
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [code(text) for text in cells]}


def code(text):
    return {"cell_type": "code", "source": text, "metadata": {}, "outputs": [], "execution_count": None}


def lines(*cells, folder=None):
    """Return the requirements that are not optional."""
    return [entry.line for entry in room.collect(book(*cells), "x.ipynb", folder).entries if not entry.optional]


def warnings(*cells, folder=None):
    return [finding.message for finding in room.collect(book(*cells), "x.ipynb", folder).findings]


# --- the table -------------------------------------------------------------------------------------------------------


def test_the_table_has_some_hundred_names_and_each_distribution_is_a_valid_name():
    table = distributions.table()
    assert len(table) >= 300
    for name, distribution in table.items():
        assert re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name), name
        assert Requirement(distribution).name == distribution
        assert name.partition(".")[0] not in sys.stdlib_module_names, name


def test_no_name_stands_in_the_table_twice():
    words = [
        word.partition("=")[0] for line in distributions.TABLE.splitlines() if line[:1] != "#" for word in line.split()
    ]
    assert len(words) == len(set(words))


@pytest.mark.parametrize(
    ("module", "wanted"),
    [
        ("cv2", "opencv-python"),
        ("sklearn.ensemble", "scikit-learn"),
        ("skimage", "scikit-image"),
        ("PIL.Image", "pillow"),
        ("yaml", "PyYAML"),
        ("bs4", "beautifulsoup4"),
        ("dateutil.parser", "python-dateutil"),
        ("Crypto.Cipher", "pycryptodome"),
        ("mpl_toolkits.mplot3d", "matplotlib"),
        ("google.cloud.bigquery.client", "google-cloud-bigquery"),
        ("google.generativeai", "google-generativeai"),
        ("google.genai.types", "google-genai"),
        ("azure.storage.blob", "azure-storage-blob"),
        ("umap", "umap-learn"),
        ("faiss", "faiss-cpu"),
        ("surprise", "scikit-surprise"),
        ("sentence_transformers", "sentence-transformers"),
        ("pytorch_lightning", "pytorch-lightning"),
        ("langchain_community.llms", "langchain-community"),
        ("llama_index.core", "llama-index-core"),
        ("psycopg2", "psycopg2-binary"),
        ("MySQLdb", "mysqlclient"),
        ("hydra", "hydra-core"),
    ],
)
def test_an_import_is_provided_by_the_distribution_that_people_mean(module, wanted):
    assert distributions.lookup(module) == distributions.Provider("known", (wanted,))


@pytest.mark.parametrize("name", ["our_models", "google.cloud.nothing_like_this", "google", "azure", "utils", "config"])
def test_a_name_that_is_not_in_the_table_is_unknown_also_below_a_shared_namespace(name):
    assert distributions.lookup(name).kind == "unknown"


def test_the_table_agrees_with_what_is_installed_here():
    from importlib.metadata import packages_distributions

    for name, installed in packages_distributions().items():
        provider = distributions.lookup(name)
        if provider.kind == "known" and len(installed) == 1:
            own = distributions.same(provider.names[0])
            assert distributions.same(installed[0]) in (own, f"{own}-skinny"), name  # a part of mlflow has its name


def test_an_installed_distribution_counts_only_when_it_came_from_an_index():
    assert distributions.lookup("mypy_extensions").kind == "installed"
    assert distributions.lookup("plugins").kind == "unknown"


@pytest.mark.parametrize("name", ["os", "urllib2", "cPickle", "distutils", "__future__", "ConfigParser"])
def test_the_standard_library_also_an_older_one_is_no_requirement(name):
    assert distributions.lookup(name).kind == "standard"


@pytest.mark.parametrize("name", ["kaggle_secrets", "google.colab.drive", "learntools.core"])
def test_what_only_a_platform_has_is_no_requirement_and_no_warning(name):
    assert lines(f"import {name}") == []
    assert warnings(f"import {name}") == []


# --- imports ---------------------------------------------------------------------------------------------------------


def test_imports_anywhere_in_the_code_count_once_in_the_order_of_names():
    cells = [
        "import numpy as np, pandas\nfrom sklearn import svm",
        "def f():\n    import scipy.stats\n%matplotlib inline\nimport importlib as i\ni.import_module('xgboost')",
        "%%time\nimport pandas as pd\nm = __import__('cv2')",
    ]
    assert lines(*cells) == ["numpy", "opencv-python", "pandas", "scikit-learn", "scipy", "xgboost"]


def test_names_below_a_namespace_are_told_apart():
    assert lines("from google.cloud import bigquery, storage\nfrom google import genai") == [
        "google-cloud-bigquery",
        "google-cloud-storage",
        "google-genai",
    ]


def test_words_in_strings_and_comments_are_no_imports():
    assert (
        lines('"""\nimport numpy\n"""\n# import pandas\nx = "import scipy"', "import data from the server\nx = 1") == []
    )


def test_a_cell_that_is_not_python_3_is_read_by_its_lines():
    cells = ["import numpy as np, pandas as pd\nfrom sklearn.svm import SVC  # x\nprint 'two'\n    import scipy; x"]
    assert lines(*cells) == ["numpy", "pandas", "scikit-learn", "scipy"]


def test_an_import_that_is_only_tried_is_optional_and_said():
    found = room.collect(book("try:\n    import cudf\nexcept ImportError:\n    import pandas"), "x.ipynb")
    assert [entry.optional for entry in found.entries] == [True, True]
    text = room.requirements_text(found.entries)
    assert text.startswith("# cudf-cu12  # optional: import cudf, cell 0 line 2 of x.ipynb\n")
    assert all(line.startswith("#") for line in text.splitlines())


def test_a_distribution_that_both_branches_of_a_try_import_is_no_option():
    new, old = "from sklearn.model_selection import KFold", "from sklearn.cross_validation import KFold"
    assert lines(f"try:\n    {new}\nexcept ImportError:\n    {old}") == ["scikit-learn"]


def test_an_import_whose_failure_is_raised_again_is_no_option():
    assert lines("try:\n    import torch\nexcept ImportError:\n    raise RuntimeError('no torch')") == ["torch"]


def test_an_import_for_type_checkers_is_none():
    assert lines("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\nelse:\n    import numpy") == [
        "numpy"
    ]


def test_modules_beside_the_notebook_and_modules_that_it_writes_are_no_requirement(tmp_path):
    (tmp_path / "yaml.py").write_text("")
    (tmp_path / "helpers").mkdir()
    (tmp_path / "helpers" / "__init__.py").write_text("")
    cells = [
        "import yaml, helpers.text, written, pack.part",
        "%%writefile written.py\nimport torch",
        "%%writefile -a pack/part.py\n1",
    ]
    assert lines(*cells, folder=tmp_path) == ["torch"]
    assert warnings(*cells, folder=tmp_path) == []
    assert "PyYAML" in lines(*cells)


def test_an_unknown_import_is_one_warning_with_its_place_and_no_requirement():
    found = room.collect(book("x = 1", "import our_models\nfrom our_models import y"), "x.ipynb")
    assert found.entries == []
    assert [(f.kind, f.severity, f.cell, f.line) for f in found.findings] == [("unknown-import", "warning", 1, 1)]
    assert "our_models" in found.findings[0].message


# --- pip lines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("!pip install -q numpy==2.0 && nvidia-smi", ["numpy==2.0"]),
        ('%pip install "transformers[torch]>=4.40,<5" accelerate', ["accelerate", "transformers[torch]>=4.40,<5"]),
        ("!python -m pip install pandas", ["pandas"]),
        ("!{sys.executable} -m pip --quiet install pandas", ["pandas"]),
        ("!uv pip install --system polars", ["polars"]),
        ("!sudo -H pip3 install polars", ["polars"]),
        ("!pip install numpy >= 2.0", ["numpy>=2.0"]),
        ("!pip install numpy>=2", ["numpy>=2"]),
        ("!pip install numpy > log.txt 2>&1", ["numpy"]),
        ("!pip install \"numpy; python_version<'3.13'\"", ["numpy; python_version<'3.13'"]),
        (
            "!pip install git+https://github.com/huggingface/peft.git@v1",
            ["git+https://github.com/huggingface/peft.git@v1"],
        ),
        ("!pip install git+https://someone:hunter2hunter2@github.com/a/b.git", []),
        ("!pip install -r requirements.txt -e . ./x.whl {name}", []),
        ("%conda install -y -c conda-forge pytorch=2.1 python=3.10", ["torch==2.1.*"]),
        ("!conda install -c conda-forge::x nonsense-of-ours", []),
        ("pip install numpy", ["numpy"]),
        ("%%bash\npip install numpy \\\n  scipy\n", ["numpy", "scipy"]),
    ],
)
def test_pip_lines_are_read_with_their_pins(line, wanted):
    assert lines(line) == wanted


def test_what_cannot_be_recorded_is_a_warning_without_its_password():
    found = warnings("!pip install -r more.txt git+https://me:hunter2hunter2@example.com/x.git")
    assert [message.partition("'")[2].partition("'")[0][:10] for message in found] == ["-r more.tx", "git+https:"]
    assert "hunter2" not in repr(found)


def test_a_pin_wins_over_the_import_and_both_places_are_known():
    found = room.collect(book("import sklearn", "!pip install scikit_learn==1.5"), "x.ipynb")
    assert [entry.line for entry in found.entries] == ["scikit_learn==1.5"]
    assert [origin.text for origin in found.entries[0].origins] == ["pip install", "import sklearn"]


def test_another_build_of_a_distribution_provides_its_imports():
    assert lines("!pip install opencv-python-headless faiss-gpu", "import cv2, faiss") == [
        "faiss-gpu",
        "opencv-python-headless",
    ]


def test_two_different_pins_are_a_warning_and_the_last_one_counts():
    found = room.collect(book("!pip install numpy==1.0", "!pip install numpy==2.0"), "x.ipynb")
    assert [entry.line for entry in found.entries] == ["numpy==2.0"]
    assert "numpy==1.0" in found.findings[0].message
    assert "numpy==2.0" in found.findings[0].message


def test_a_name_from_another_index_is_recorded_only_when_the_table_has_it():
    line = "!pip install --index-url https://packages.example.com/simple torch our-private-models"
    assert lines(line) == ["torch"]
    assert any("another index" in message for message in warnings(line))


@pytest.mark.parametrize(
    "line",
    [
        "!pip install --extra-index-url https://pypi.corp/simple our-models==1",
        "!pip install -i https://pypi.corp/simple our-models==1",
        "%pip install our-models==1 -f https://pypi.corp/wheels",
        "!pip install our-models==1 --find-links=./wheels --no-index",
        "!PIP_INDEX_URL=https://pypi.corp/simple pip install our-models==1",
        "!uv pip install --index https://pypi.corp/simple our-models==1",
        "!pip config set global.index-url https://pypi.corp/simple\n!pip install our-models==1",
        "%env PIP_EXTRA_INDEX_URL=https://pypi.corp/simple\n!pip install our-models==1",
        "import os\nos.environ['PIP_INDEX_URL'] = 'x'\nos.system('pip install our-models==1')",
    ],
)
def test_a_private_name_from_another_index_is_never_a_requirement_and_is_said(line):
    assert lines(line, "import our_models") == []
    assert any("our-models is installed from another index" in message for message in warnings(line))


def test_a_distribution_that_is_installed_here_from_another_index_is_no_requirement_of_an_import():
    assert lines("import mypy_extensions") == ["mypy_extensions"]
    assert lines("import mypy_extensions", "!pip install -i https://pypi.corp/simple mypy-extensions") == []


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        (
            "import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'pip', 'install', 'rich==13.0'])",
            ["rich==13.0"],
        ),
        ("subprocess.check_call(['pip', 'install', '-q'] + ['rich==13.0'] + more)", ["rich==13.0"]),
        ("subprocess.call('pip install rich==13.0'.split())", ["rich==13.0"]),
        ("subprocess.Popen(f'{sys.executable} -m pip install rich==13.0', shell=True)", ["rich==13.0"]),
        ("import os\nos.system('pip install ' + 'rich==13.0' + ' --quiet')", ["rich==13.0"]),
        ("if not ready:\n    os.popen('apt-get update && pip3 install rich==13.0')", ["rich==13.0"]),
        ("!{sys.executable} -m pip install rich==13.0", ["rich==13.0"]),
        ("get_ipython().system('pip install rich==13.0')", ["rich==13.0"]),
        ("get_ipython().run_line_magic('pip', 'install rich==13.0')", ["rich==13.0"]),
        ("import pip\npip.main(['install', 'rich==13.0'])", ["pip", "rich==13.0"]),
        ("subprocess.run(['pip', 'install', name])", []),
        ("run('echo pip install rich')", []),
        ("model.run(x)\nmain()\nprocess.call(*words)", []),
    ],
)
def test_calls_that_run_pip_are_read_with_their_pins(code, wanted):
    found = [line for line in lines(code) if line != "pip" or "import pip" in code]
    assert set(found) == set(wanted) - ({"pip"} - set(found))


def test_a_pin_of_a_call_wins_over_the_import():
    assert lines("import rich", "subprocess.run(['pip', 'install', 'rich==13.0'])") == ["rich==13.0"]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("!conda install lightgbm=4.0", "lightgbm==4.0.*"),
        ("!mamba install -y lightgbm=4.0=py311_0 > log.txt", "lightgbm==4.0.*"),
        ("!pip install lightgbm=4.0", "lightgbm==4.0"),
        ("!pip install torch==2.1.0+cu118 -f https://download.pytorch.org/whl/torch", "torch==2.1.0"),
        ("!pip install sklearn", "scikit-learn"),
        ("!pip install sklearn==0.0 scikit-learn", "scikit-learn"),
        ("!pip install 'numpy (>=1.2,<2)'", "numpy(>=1.2,<2)"),
    ],
)
def test_what_is_recorded_can_be_installed_from_pypi(line, wanted):
    assert [found.replace(" ", "") for found in lines(line)] == [wanted]
    assert Requirement(lines(line)[0])


@pytest.mark.parametrize(
    "word", ["numpy==", "numpy>", "-", "a b", "numpy==1.0 \\", "x==1 --hash=sha256:0", "===", "[x]"]
)
def test_what_is_no_requirement_is_none(word):
    assert pip_lines.as_requirement(word) == ""


@pytest.mark.parametrize(
    "text", ["a" * 999, "a" + " " * 990, "a[" + "," * 900, "a==1" + ",==1" * 200, "a" + " ;" * 400]
)
def test_hostile_requirements_end_soon(text):
    start = time.monotonic()
    for _ in range(100):
        pip_lines.as_requirement(text + "!")
    assert time.monotonic() - start < 5


def test_credentials_of_an_index_are_never_repeated():
    secret = "hunter2" * 2
    line = f"!pip install -i https://{secret}@pypi.corp/simple ours==1 -r x https://{secret}@h/y.whl"
    assert secret not in repr(room.collect(book(line), "x"))


# --- the room --------------------------------------------------------------------------------------------------------


def test_the_notebook_stays_the_very_same_and_each_requirement_is_a_note():
    notebook = book("x = 1", "\nimport sklearn")
    same, findings = room.apply(notebook, {})
    assert same is notebook
    assert [(f.kind, f.severity, f.message, f.cell, f.line) for f in findings] == [
        ("requirement", "note", "scikit-learn  (import sklearn, cell 1 line 2)", 1, 2)
    ]


def test_the_file_of_several_notebooks_is_read_by_pip_and_says_where_each_line_came_from(tmp_path):
    one = room.collect(book("import numpy, sklearn\n!pip install 'requests[socks]>=2'"), "one.ipynb")
    two = room.collect(book("!pip install numpy==2.0", "!pip install git+https://github.com/a/b"), "two.ipynb")
    merged = room.merge([one, two])
    text = room.requirements_text(merged.entries)
    assert "scikit-learn  # import sklearn, cell 0 line 1 of one.ipynb\n" in text
    assert "numpy==2.0  # pip install, cell 0 line 1 of two.ipynb and 1 more\n" in text
    parsed = [Requirement(line.partition("  #")[0]) for line in text.splitlines() if "://" not in line]
    assert {one.name for one in parsed} == {"numpy", "requests", "scikit-learn"}
    file = tmp_path / "requirements.txt"
    file.write_text(text)
    program = (
        "import sys\nfrom pip._internal.req import parse_requirements\n"
        "from pip._internal.network.session import PipSession\n"
        "print([line.requirement for line in parse_requirements(sys.argv[1], PipSession())])"
    )
    read = subprocess.run(
        [sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True, timeout=60
    )
    assert read.stdout.strip() == repr([entry.line for entry in merged.entries])


def test_notebooks_that_pin_differently_are_a_warning_that_names_both():
    several = [room.collect(book(f"!pip install numpy=={n}.0"), f"{n}.ipynb") for n in (1, 2)]
    merged = room.merge(several)
    assert len(merged.findings) == 1
    assert "1.ipynb" in merged.findings[0].message
    assert "2.ipynb" in merged.findings[0].message


def test_a_requirement_cannot_smuggle_a_line_into_the_file():
    text = room.requirements_text(
        room.collect(book("!pip install 'numpy\\n--index-url http://x'", "!pip install numpy"), "a\nb").entries
    )
    assert [line.split()[0] for line in text.splitlines()] == ["numpy"]


def test_odd_cells_are_no_reason_to_fail():
    notebook = book("import '\udcff'", "\0", "(" * 5000, "from . import x\nfrom .a import b")
    notebook["cells"] += [None, 3, {"cell_type": "code"}, {"cell_type": "code", "source": ["import numpy\n", 7]}]
    assert [entry.line for entry in room.collect(notebook, "x").entries] == ["numpy"]


@pytest.mark.parametrize(
    "text",
    [
        "import a" + ", a" * 100_000,
        "import " + " " * 200_000,
        "from " + "a." * 10_000,
        "!pip install " + "a " * 50_000,
    ],
)
def test_hostile_lines_end_soon(text):
    start = time.monotonic()
    room.collect(book(text + "\nprint 'x'"), "x")
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("numpy>=2", "numpy"),
        ("a.b_c[x,y]==1", "a.b_c"),
        ("x @ https://h/x.zip", "x"),
        ("git+https://h/owner/name.git@main", "name"),
        ("git+https://h/owner/name#egg=other&subdirectory=x", "other"),
        ("https://h/name-1.0-py3-none-any.whl", "name"),
    ],
)
def test_a_requirement_says_its_name(text, name):
    assert pip_lines.take_apart(text).name == name
