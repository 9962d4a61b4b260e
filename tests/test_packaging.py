"""Notebook, script or folder in, the same zip out every time; what IPython adds to Python is understood or refused."""

from __future__ import annotations

import io
import json
import os
import random
import zipfile
from pathlib import Path

import pytest

from kagg import Context, Exit, KaggError
from plugins.lib import packaging, pip_files, pip_lines
from plugins.lib.notebook_module import parsed, to_module

PREDICT = "def predict(payload):\n    return payload"


@pytest.fixture
def ctx(tmp_path):
    return Context({"KAGG_HOME": str(tmp_path / "home")}, stderr=io.StringIO())


def notebook(*cells, tags=(), **metadata):
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": metadata,
        "cells": [
            {"cell_type": "code", "source": cell.splitlines(keepends=True), "metadata": {"tags": list(tags)}}
            for cell in cells
        ],
    }


def module(*cells):
    """Translate the cells and run them; return the translation and the names that it bound."""
    found = to_module(notebook(*cells), "x.ipynb")
    space = {"__name__": "kagg_app"}
    exec(compile(found.source, "x", "exec", dont_inherit=True), space)  # noqa: S102 - the test's own cells
    return found, space


def refused(*cells):
    with pytest.raises(KaggError) as caught:
        to_module(notebook(*cells), "x.ipynb")
    assert caught.value.code == Exit.USAGE
    return caught.value.message


def saved(folder, content, name="model.ipynb"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def names(package):
    with zipfile.ZipFile(package) as archive:
        return archive.namelist()


# --- what IPython adds -----------------------------------------------------------------------------------------------


def test_line_magics_and_shell_lines_become_pass_also_alone_in_a_block():
    found, space = module("%matplotlib inline\nfor i in range(2):\n    !ls -la\nif i:\n    %load_ext autoreload\nx = i")
    assert space["x"] == 1
    assert [finding.cell for finding in found.findings] == [0, 0, 0]


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ('x = """\n%time\n!rm -rf /\n"""', "\n%time\n!rm -rf /\n"),
        ("x = '%d!' % 3", "3!"),
        ("x = (7\n% 4)", 3),
        ("x = 7 \\\n% 4", 3),
        ("y = {'a': 7,\n# ' an open quote in a comment\n}\nx = y['a'] \\\n  % 4", 3),
        ("x = [\n1, # ]\n2]", [1, 2]),
        ("x = 'it\\'s' ; y = \"a\\\\\"\n!ls", "it's"),
        ('x = r"\\"" + "  "\n!ls', '\\"  '),
        ("x = 1 != 2", True),
        ("x = f'{7 % 4!r:>3}'", "  3"),
        ("d = dict(a=7)\nx = d['a'] if d else 0 # ?", 7),
        ("x = 'what?'", "what?"),
    ],
)
def test_percent_and_exclamation_mark_inside_python_stay(source, wanted):
    assert module(source)[1]["x"] == wanted


def test_time_is_unwrapped_and_timeit_is_left_out():
    _, space = module("%time x = 2 + 3", "%%time\ny = x", "%%capture out\n%%time\nz = y\n%timeit z = 99")
    assert (space["x"], space["y"], space["z"], space["out"]) == (5, 5, 5, None)


def test_a_continued_shell_line_ends_where_the_shell_ends_it():
    found, space = module('!pip install numpy \\\n   "pandas>=2" \\\n   scipy\nx = 1')
    assert found.requirements == ["numpy", "pandas>=2", "scipy"]
    assert space["x"] == 1


def test_help_is_dropped():
    _, space = module("import os\n?os\nos.path?\nos.path.join??\n%time?\nx = 1")
    assert space["x"] == 1


def test_environment_magics_set_the_variable(monkeypatch):
    monkeypatch.delenv("KAGG_TEST_MODE", raising=False)
    module("%env KAGG_TEST_MODE=fast and loose\n%set_env KAGG_TEST_OTHER 2\n%env")
    assert (os.environ.pop("KAGG_TEST_MODE"), os.environ.pop("KAGG_TEST_OTHER")) == ("fast and loose", "2")


def test_other_cell_magics_leave_the_cell_out_with_a_finding():
    found, space = module("%%bash\nrm -rf /\n", "\n%%html\n<b>", "%%cython\ncdef int x", "x = 1")
    assert space["x"] == 1
    assert [(finding.cell, finding.severity) for finding in found.findings] == [
        (0, "note"),
        (1, "note"),
        (2, "warning"),
    ]


def test_written_files_become_files_of_the_package():
    found, _ = module(
        "%%writefile helper.py\n\ndef one():\n    return 1", "%%writefile -a /kaggle/working/helper.py\nTWO = 2\n"
    )
    assert found.files == {"helper.py": "\ndef one():\n    return 1\nTWO = 2\n"}


def test_the_answer_of_a_shell_command_is_refused_when_it_is_used_and_named_with_its_cell():
    message = refused("x = 1", "files = !ls *.csv\nprint(1)", "print(len(files))")
    assert "cell 1" in message
    assert "files" in message


def test_the_answer_of_a_shell_command_that_nobody_reads_is_none():
    found, space = module("files = !ls *.csv\nwhere = %pwd\nx = 1")
    assert (space["files"], space["x"], space["where"]) == (None, 1, str(Path.cwd()))
    assert found.findings[0].severity == "warning"


def test_await_outside_a_function_runs_on_one_loop():
    found, space = module(
        "import asyncio\nasync def three():\n    return 3\nlock = asyncio.Event()",
        "x = await three() + (await asyncio.sleep(0, await three()))\ny = [await three() for _ in range(2)]",
        "async def predict(payload):\n    async with asyncio.timeout(1):\n        return await three()",
    )
    assert (space["x"], space["y"]) == (6, [3, 3])
    space["_KAGG_LOOP"].close()
    assert "async with asyncio.timeout" in found.source


def test_async_for_outside_a_function_is_refused_with_cell_and_line():
    assert "cell 1, line 2" in refused("x = 1", "pass\nasync for i in x:\n    pass")


def test_a_cell_that_is_not_python_is_refused_with_cell_and_line():
    assert refused("x = 1", "%%time\nx = 1\ny = = 2").startswith("cell 1, line 3: ")
    assert refused("return 1").startswith("cell 0, line 1: ")
    assert refused("x = (1,\n").startswith("cell 0, line 1: ")
    assert refused("print 'two'").startswith("cell 0, line 1: ")
    assert refused("x = '\udcff'").startswith("cell 0")


def test_future_imports_of_any_cell_stand_first():
    found, space = module("x: int = 1", "%matplotlib inline\nfrom __future__ import (annotations,\n  division)\ny = 2")
    assert space["y"] == 2
    assert "from __future__ import annotations, division" in found.source


def test_a_cell_that_is_indented_as_a_whole_is_taken_as_ipython_takes_it():
    assert module("    x = 1\n    if x:\n        y = 2")[1]["y"] == 2


def test_display_prints_when_the_notebook_does_not_import_it(capsys):
    module("display(1, 'two', clear=True)")
    assert capsys.readouterr().out == "1 two\n"
    assert "Stand in" not in module("display = print\ndisplay(3)")[0].source


def test_calls_that_nbconvert_makes_of_magics_are_left_out():
    assert (
        module("get_ipython().run_line_magic('matplotlib', 'inline'); x = 1\nget_ipython().system(\n  'ls')")[1]["x"]
        == 1
    )


def test_cells_with_a_skip_tag_are_left_out_and_parameters_stay():
    book = notebook("x = 1", "raise SystemExit", "raise SystemExit", "raise SystemExit")
    for cell, tag in zip(book["cells"], ("parameters", "skip", "kagg:skip", "remove_cell"), strict=True):
        cell["metadata"]["tags"] = [tag]
    found = to_module(book, "x.ipynb")
    assert "x = 1" in found.source
    assert "SystemExit" not in found.source


@pytest.mark.parametrize(
    "metadata",
    [
        {"kernelspec": {"name": "ir", "language": "R"}},
        {"language_info": {"name": "julia"}},
        {"kernelspec": {"name": "ir"}},
    ],
)
def test_notebooks_of_other_languages_are_refused(metadata):
    with pytest.raises(KaggError, match="only Python"):
        to_module(notebook("x <- 1", **metadata), "x.ipynb")


def test_odd_metadata_is_no_reason_to_fail():
    book = notebook("x = 1", kernelspec="python", language_info=None)
    book["cells"][0]["metadata"] = None
    book["cells"].append({"cell_type": "raw", "source": "not python"})
    assert "x = 1" in to_module(book, "x.ipynb").source


def test_a_secret_in_a_shell_line_does_not_reach_the_module():
    found = to_module(notebook("!pip install git+https://me:hunter2hunter2@example.com/x.git"), "x.ipynb")
    assert "hunter2" not in found.source + repr(found.findings)
    assert found.requirements == []


# Names of IPython's own transformer serve as the oracle: where its result is Python, ours must be too.
def test_random_cells_parse_exactly_when_ipython_makes_them_parse():
    from IPython.core.inputtransformer2 import TransformerManager

    pieces = [
        *("x = 1", "!ls 'a", "%time y = 2", "%matplotlib inline", '"""', "'''", "(", ")", "[", "]", "\\", "# it's"),
        *("if x:", "    !ls", "    pass", "z = !ls", "z = %pwd", "x?", "?x", "'a' % 3", "% 3", "", "    % 3"),
        *("f('!')", "def f():", "    return x", "x = '''%s", "a = b == c", "print(f'{x!r}')", "f(a=1)", "x = '%'"),
    ]
    chance, both = random.Random(7), 0  # noqa: S311 - a fixed sequence
    for _ in range(3000):
        source = "\n".join(chance.choices(pieces, k=chance.randint(1, 6))) + "\n"
        try:
            parsed(TransformerManager().transform_cell(source), run=True)
            theirs = True
        except (SyntaxError, ValueError):
            theirs = False
        try:
            to_module(notebook(source), "x.ipynb")
            ours = True
        except KaggError as error:
            ours = "outside IPython" in error.message
        assert ours or not theirs, source
        both += ours and theirs
    assert both > 200


# --- pip lines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("pip install numpy", ["numpy"]),
        ("pip3 install -q -U 'numpy>=2,<3' pandas==2.2.0 > /dev/null 2>&1", ["numpy>=2,<3", "pandas==2.2.0"]),
        ("python -m pip install --index-url https://x.example/simple torch", ["torch"]),
        ("{sys.executable} -m pip install scikit-learn[extra]", ["scikit-learn[extra]"]),
        ("apt-get install -y gcc && pip install xgboost; uv pip install lightgbm | tail -1", ["xgboost", "lightgbm"]),
        ("pip install numpy>=2", ["numpy>=2"]),
        ("pip install \"numpy; python_version<'3.12'\"", ["numpy; python_version<'3.12'"]),
        ("pip install git+https://example.com/x.git  # newest", ["git+https://example.com/x.git"]),
        ("pip install -r requirements.txt {package} $OTHER ./x.whl", []),
        ("pip uninstall numpy", []),
        ("echo pip install", []),
    ],
)
def test_requirements_are_read_from_shell_lines(line, wanted):
    found = []
    for command in pip_lines.commands(line):
        found += pip_lines.requirements(pip_lines.install_arguments(command) or [])[0]
    assert found == wanted


# --- entry functions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("def handler(request): ...\ndef process_request(data): ...\ndef predict(payload): ...", "predict"),
        ("def handler(request): ...\nasync def process_request(data): ...", "process_request"),
        ("def predict(model, row): ...\ndef handler(request): ...", "handler"),
        ("predict = lambda payload: 1", "predict"),
        ("def score(x, y=1): ...\npredict = score", "predict"),
        ("if True:\n    def predict(*payload): ...", "predict"),
        ("try:\n    from fast import predict\nexcept ImportError:\n    def predict(p): ...", "predict"),
        ("import functools\npredict = functools.partial(print, 1)", "predict"),
        ("class A:\n    def predict(self, x): ...\ndef handler(r): ...", "handler"),
        ("predict = model.predict(x)\ndef handler(r): ...", "handler"),
    ],
)
def test_the_entry_is_the_first_known_name_that_takes_one_argument(source, wanted):
    assert packaging.find_entry(source.encode(), "x.py") == wanted


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("x = 1", "def predict(payload)"),
        ("def predict(): ...", "takes no argument"),
        ("def predict(a, b): ...", "needs 2 arguments"),
        ("def predict(a, *, b): ...", "needs 2 arguments"),
        ("def predict(a): ...\npredict = model.predict(x)", "is not a function"),
        ("def outer():\n    def predict(p): ...", "outside"),
    ],
)
def test_no_entry_is_an_error_that_says_why(source, hint):
    with pytest.raises(KaggError) as caught:
        packaging.find_entry(source.encode(), "x.py")
    assert caught.value.code == Exit.USAGE
    assert hint in caught.value.hint


# --- packages --------------------------------------------------------------------------------------------------------


def test_a_notebook_becomes_a_package_with_its_module_its_files_and_its_manifest(ctx, tmp_path):
    source = saved(tmp_path, notebook("%pip install numpy==2.0", "%%writefile util.py\nX = 1", PREDICT))
    found = packaging.build_package(source, tmp_path / "out" / "p.zip", ctx)
    assert names(tmp_path / "out" / "p.zip") == ["kagg_app.py", "kagg_package.json", "util.py"]
    with zipfile.ZipFile(tmp_path / "out" / "p.zip") as archive:
        manifest = json.loads(archive.read("kagg_package.json"))
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o100644}
    assert manifest == {key: found[key] for key in ("version", "entry", "source", "source_sha256", "requirements")}
    assert (manifest["entry"], manifest["source"], manifest["requirements"]) == (
        "predict",
        "model.ipynb",
        ["numpy==2.0"],
    )
    assert json.loads(json.dumps(found)) == found


def test_the_same_source_gives_the_same_bytes_whatever_the_clock_and_the_order_on_disk(ctx, tmp_path):
    digests = set()
    for order in (("b.csv", "main.py", "a/x.csv"), ("a/x.csv", "b.csv", "main.py")):
        folder = tmp_path / str(len(digests)) / "app"
        for name in order:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(PREDICT if name == "main.py" else name)
            os.utime(folder / name, (1e9 + len(digests) * 1e6,) * 2)
        digests.add(packaging.build_package(folder, tmp_path / f"{order[0]}.zip".replace("/", "_"), ctx)["sha256"])
        assert len(digests) == 1


def test_a_script_is_taken_as_it_is(ctx, tmp_path):
    source = tmp_path / "app.py"
    source.write_bytes(b"# -*- coding: latin-1 -*-\nNAME = '\xe9'\ndef handler(request):\n    return NAME\n")
    found = packaging.build_package(source, tmp_path / "p.zip", ctx)
    with zipfile.ZipFile(tmp_path / "p.zip") as archive:
        assert archive.read("kagg_app.py") == source.read_bytes()
    assert found["entry"] == "handler"


def test_a_folder_goes_along_without_keys_caches_links_and_hidden_files(ctx, tmp_path):
    folder = tmp_path / "app"
    for name in (
        *("main.py", "data/rows.csv", "util.py", "requirements.txt", ".env", ".git/config", "kaggle.json", "tls.pem"),
        *("venv/pyvenv.cfg", "venv/lib/x.py", "__pycache__/x.pyc", "prod.env", "id_rsa", "data/service-account.json"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(
            {"main.py": PREDICT, "requirements.txt": "numpy>=2  # fast\n# no\n-r x\n"}.get(name, "")
        )
    (folder / "link.csv").symlink_to("/etc/passwd")
    found = packaging.build_package(folder, tmp_path / "p.zip", ctx)
    kept = ["data/rows.csv", "kagg_app.py", "kagg_package.json", "requirements.txt", "util.py"]
    assert names(tmp_path / "p.zip") == kept == found["files"]
    assert found["requirements"] == ["numpy>=2"]
    told = {f["message"].partition(" is left out ")[0]: f["severity"] for f in found["findings"]}
    assert told["kaggle.json"] == told["tls.pem"] == told[".env"] == told["id_rsa"] == "warning"
    assert told["data/service-account.json"] == told["prod.env"] == "warning"
    assert told["venv"] == told[".git"] == told["__pycache__"] == told["link.csv"] == "note"
    assert "kaggle.json" in ctx.stderr.getvalue()


def test_a_folder_needs_exactly_one_entry_file(ctx, tmp_path):
    with pytest.raises(KaggError, match="no entry file") as caught:
        packaging.build_package(tmp_path, tmp_path / "p.zip", ctx)
    assert "main.py" in caught.value.hint
    saved(tmp_path, PREDICT, "main.py")
    saved(tmp_path, notebook(PREDICT))
    with pytest.raises(KaggError, match=r"2 entry files: .*main\.py"):
        packaging.build_package(tmp_path, tmp_path / "p.zip", ctx)


def test_imports_of_files_beside_a_single_source_are_pointed_out(ctx, tmp_path):
    saved(tmp_path, "X = 1", "util.py")
    source = saved(
        tmp_path, notebook("import os, util.deep\nfrom written import y", "%%writefile written.py\ny = 1", PREDICT)
    )
    saved(tmp_path, "", "written.py")
    found = packaging.build_package(source, tmp_path / "p.zip", ctx, all_cells=True)
    assert [f["message"] for f in found["findings"]] == ["util.py beside model.ipynb is not packed"]


# --- only what the entry function needs ------------------------------------------------------------------------------


def app_of(package):
    with zipfile.ZipFile(package) as archive:
        return archive.read("kagg_app.py").decode()


EXPLORED = (
    "import json\nimport pandas as pd\nfrom sklearn.linear_model import LogisticRegression",
    "frame = pd.DataFrame({'x': [0, 1, 2, 3], 'y': [0, 0, 1, 1]})\nframe.head()",
    "import seaborn as sns\nsns.pairplot(frame)",
    "model = LogisticRegression().fit(frame[['x']], frame['y'])",
    "scores = model.score(frame[['x']], frame['y'])\nprint(scores)",
    "def predict(payload):\n    return int(model.predict(pd.DataFrame([payload]))[0])",
    "predict({'x': 2})",
)


def test_only_the_cells_that_the_entry_function_needs_are_packed_and_the_others_are_named(ctx, tmp_path):
    found = packaging.build_package(saved(tmp_path, notebook(*EXPLORED)), tmp_path / "p.zip", ctx)
    app = app_of(tmp_path / "p.zip")
    assert "model = LogisticRegression()" in app
    assert "# cell 5" in app
    assert "pairplot" not in app
    assert "scores" not in app
    left = {f["cell"] for f in found["findings"] if f["kind"] == "slice"}
    assert left == {2, 4}
    assert found["requirements"] == ["pandas", "scikit-learn"]


def test_all_cells_go_along_when_that_is_asked_for(ctx, tmp_path):
    found = packaging.build_package(saved(tmp_path, notebook(*EXPLORED)), tmp_path / "p.zip", ctx, all_cells=True)
    assert "pairplot" in app_of(tmp_path / "p.zip")
    assert found["requirements"] == ["pandas", "scikit-learn", "seaborn"]


def test_a_pin_of_a_pip_line_wins_over_the_import_also_of_a_distribution_with_another_name(ctx, tmp_path):
    book = notebook(
        "%pip install numpy==2.0 opencv-python-headless",
        "import numpy, cv2, sklearn",
        PREDICT + ", cv2, numpy, sklearn",
    )
    found = packaging.build_package(saved(tmp_path, book), tmp_path / "p.zip", ctx)
    assert found["requirements"] == ["numpy==2.0", "opencv-python-headless", "scikit-learn"]


def test_a_pin_of_a_folders_requirements_wins_over_the_import(ctx, tmp_path):
    folder = tmp_path / "app"
    folder.mkdir()
    saved(folder, "import numpy, scipy, helper\n" + PREDICT, "main.py")
    saved(folder, "", "helper.py")
    saved(folder, "numpy>=2\n", "requirements.txt")
    found = packaging.build_package(folder, tmp_path / "p.zip", ctx)
    assert found["requirements"] == ["numpy>=2", "scipy"]


def packed_folder(ctx, tmp_path, **files):
    """Return the manifest of a folder with these files; __ in a name is a slash, _ before its ending a dot."""
    folder = tmp_path / "app"
    for name, text in {"main_py": PREDICT, **files}.items():
        path = folder / ".".join(name.replace("__", "/").rsplit("_", 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return packaging.build_package(folder, tmp_path / "p.zip", ctx)


def test_a_private_requirement_of_another_index_is_in_no_manifest(ctx, tmp_path):
    line = "!pip install --extra-index-url https://pypi.corp/simple mycorp==1 torch==2.0"
    found = packaging.build_package(
        saved(tmp_path, notebook(line, "import mycorp", PREDICT + ", mycorp")), tmp_path / "p.zip", ctx
    )
    assert found["requirements"] == ["torch==2.0"]
    assert ctx.stderr.getvalue().count("mycorp is installed from another index and not recorded") == 1


@pytest.mark.parametrize("option", ["--index-url ", "--extra-index-url=", "-i ", "-f", "--find-links "])
def test_a_requirements_file_of_another_index_keeps_what_pypi_has_and_says_so(ctx, tmp_path, option):
    lines = f"{option}https://pypi.corp/simple\nmycorp==1\nnumpy==2.0\nmypy-extensions\n"
    found = packed_folder(ctx, tmp_path, requirements_txt=lines, main_py="import mycorp, mypy_extensions\n" + PREDICT)
    assert found["requirements"] == ["numpy==2.0"]
    assert "requirements.txt names another index; a deployment installs from PyPI only" in ctx.stderr.getvalue()
    assert "requirements.txt: mycorp is installed from another index and not recorded" in ctx.stderr.getvalue()


def test_credentials_in_a_requirements_file_are_never_repeated(tmp_path):
    lines = "-i https://{0}@h/simple\nx @ https://{0}@h/y\n"
    lines += "-e git+https://{0}@h/x\n-c https://{0}@h/c\n-r https://{0}@h/r.txt\n"
    saved(tmp_path, lines.replace("{0}", "bob:" + "hunter2" * 2), "requirements.txt")
    said = pip_files.read(tmp_path, "requirements.txt")
    assert said.wanted == []
    assert "hunter2" not in repr(said)
    assert len(said.warnings) == 5


def test_lines_of_a_requirements_file_are_read_as_pip_reads_them(ctx, tmp_path):
    lines = (
        "# tools\r\nnumpy==1.26 ; python_version<'3.12' \\\r\n    --hash=sha256:00ff \\\r\n    --hash=sha256:11ee\r\n"
        "numpy==2.0 ; python_version>='3.12'\r\nlightgbm=4.0\nscipy  # fast\nxgboost --config-settings=a=b\n"
        "torch==2.1+cpu\nsklearn\n-r more/other.txt\n-r ../outside.txt\n-r absent.txt\n-c limits.txt\n-e ./here\n"
        "git+https://$USER@h/x\npandas==1.5\nPandas==2.0\nrequests\nrequests[socks]\n--pre\n"
    )
    (tmp_path / "outside.txt").write_text("flask\n")
    other = "rich==13.0\n-r ../requirements.txt\n-r third.txt\n"
    found = packed_folder(
        ctx, tmp_path, requirements_txt=lines, more__other_txt=other, more__third_txt="click\n", limits_txt="a==1"
    )
    assert [text.replace(" ", "") for text in found["requirements"]] == [
        *(
            "numpy==1.26;python_version<'3.12'",
            "numpy==2.0;python_version>='3.12'",
            "lightgbm==4.0",
            "scipy",
            "xgboost",
        ),
        *("torch==2.1", "scikit-learn", "rich==13.0", "click", "Pandas==2.0", "requests[socks]"),
    ]
    said = [f["message"] for f in found["findings"] if f["kind"] == "requirement" and f["severity"] == "warning"]
    for part in (
        *("outside.txt is outside the folder", "absent.txt is not there", "constraints of limits.txt are not applied"),
        *("'-e ./here' cannot be recorded", "git+https://", "pandas==1.5 and Pandas==2.0 differ: the last one counts"),
        *("sklearn on PyPI is an empty project", "torch==2.1+cpu names a build"),
    ):
        assert sum(part in message for message in said) == 1, (part, said)
    assert len(said) == 8
    assert "the hashes of 1 requirements are not recorded" in [f["message"] for f in found["findings"]]


@pytest.mark.parametrize("codec", ["utf-16", "utf-8-sig", "utf-8"])
def test_a_requirements_file_of_another_encoding_is_read(ctx, tmp_path, codec):
    found = packed_folder(ctx, tmp_path, requirements_txt="numpy==2.0\r\n# \xe9\r\n".encode(codec))
    assert found["requirements"] == ["numpy==2.0"]


def test_requirement_files_that_name_each_other_without_end_and_links_are_bounded(ctx, tmp_path):
    files = {f"r{n}_txt": f"-r r{n + 1}.txt\nrich\n" for n in range(30)}
    found = packed_folder(ctx, tmp_path, requirements_txt="-r r0.txt\n", **files)
    assert found["requirements"] == ["rich"]
    assert "is not read: 20 files, 5 deep, at most" in ctx.stderr.getvalue()


def test_the_pins_of_a_notebooks_conda_and_of_two_cells_are_fit_for_pip(ctx, tmp_path):
    cells = ("!conda install lightgbm=4.0", "!pip install pandas==1.5.3 sklearn", "!pip install pandas==2.0", PREDICT)
    found = packaging.build_package(saved(tmp_path, notebook(*cells)), tmp_path / "p.zip", ctx, all_cells=True)
    assert found["requirements"] == ["lightgbm==4.0.*", "pandas==2.0", "scikit-learn"]
    assert "pandas==1.5.3 and pandas==2.0 differ: the last one counts" in ctx.stderr.getvalue()


def test_the_imports_of_the_modules_that_the_entry_reaches_become_requirements(ctx, tmp_path):
    found = packed_folder(
        ctx, tmp_path, main_py="import helper\n" + PREDICT,
        helper_py="import lightgbm, pandas, our_private\nfrom pkg.sub import x\nfrom xgboost import XGBClassifier",
        pkg__sub__x_py="from .. import y\nimport scipy, models",
        pkg__y_py="try:\n    import cudf\nexcept ImportError:\n    pass",
        pkg__models__xgboost_py="import sklearn", train_py="import torch", tests__test_x_py="import pytest",
    )  # fmt: skip
    assert found["requirements"] == ["lightgbm", "pandas", "scikit-learn", "scipy", "xgboost"]
    said = [f["message"] for f in found["findings"] if f["kind"] == "unknown-import"]
    assert said == ["helper.py line 1: no distribution is known to provide our_private"]


def test_a_distribution_that_entry_and_module_both_need_is_named_once_with_its_pin(ctx, tmp_path):
    pin = "import subprocess\nsubprocess.run(['pip', 'install', 'rich==13.0'])\n"
    found = packed_folder(ctx, tmp_path, main_py="import helper, rich\n" + PREDICT, helper_py=pin + "import rich")
    assert found["requirements"] == ["rich==13.0"]


def test_a_name_that_the_requirements_file_takes_from_another_index_is_in_no_pip_line_either(ctx, tmp_path):
    book = json.dumps(notebook("!pip install mycorp numpy", PREDICT))
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "n.ipynb").write_text(book)
    saved(tmp_path / "app", "-i https://pypi.corp/simple\nMyCorp==1\n", "requirements.txt")
    assert packaging.build_package(tmp_path / "app", tmp_path / "p.zip", ctx)["requirements"] == ["numpy"]


def test_a_module_that_loads_others_by_name_makes_all_of_them_count(ctx, tmp_path):
    entry = "import importlib, sys\nstep = importlib.import_module(sys.argv[0])\n" + PREDICT
    assert packed_folder(ctx, tmp_path, main_py=entry, steps__one_py="import scipy")["requirements"] == ["scipy"]


def test_modules_of_a_folder_that_are_no_python_do_not_stop_a_package(ctx, tmp_path):
    found = packed_folder(
        ctx, tmp_path, main_py="import a, b, c\n" + PREDICT, a_py=b"\0", b_py="(" * 5000, c_py=b"\xff\xfe = import rich"
    )
    assert found["requirements"] == []


def test_a_pin_of_a_script_that_installs_by_itself_is_kept(ctx, tmp_path):
    source = saved(
        tmp_path,
        "import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'pip', 'install', 'rich==13.0'])\n"
        "import rich\n" + PREDICT,
        "app.py",
    )
    assert packaging.build_package(source, tmp_path / "p.zip", ctx)["requirements"] == ["rich==13.0"]


def test_an_unknown_import_is_a_warning_and_no_requirement(ctx, tmp_path):
    book = notebook("import our_private_models", PREDICT + ", our_private_models.x")
    found = packaging.build_package(saved(tmp_path, book), tmp_path / "p.zip", ctx)
    assert found["requirements"] == []
    assert "no distribution is known to provide our_private_models" in ctx.stderr.getvalue()


def test_a_cell_that_is_not_python_is_no_obstacle_when_nobody_needs_it(ctx, tmp_path):
    book = notebook("print 'two'", PREDICT)
    packaging.build_package(saved(tmp_path, book), tmp_path / "p.zip", ctx)
    assert "not Python" in ctx.stderr.getvalue()
    with pytest.raises(KaggError, match="cell 0, line 1"):
        packaging.build_package(saved(tmp_path, book), tmp_path / "p.zip", ctx, all_cells=True)


def test_cells_that_their_tag_leaves_out_tie_no_others(ctx, tmp_path):
    book = notebook("rows = []", "rows.append(1)", "def predict(payload):\n    return rows")
    book["cells"][1]["metadata"]["tags"] = ["skip"]
    found = packaging.build_package(saved(tmp_path, book), tmp_path / "p.zip", ctx)
    assert "append" not in app_of(tmp_path / "p.zip")
    assert [f["message"] for f in found["findings"]] == ["left out, as its tag says"]


@pytest.mark.parametrize("name", ["../x.py", "/etc/x.py", "a/../../x", "C:x", "x\x01y"])
def test_a_notebook_that_writes_outside_its_folder_is_refused(ctx, tmp_path, name):
    with pytest.raises(KaggError) as caught:
        packaging.build_package(saved(tmp_path, notebook(f"%%writefile {name}\n1", PREDICT)), tmp_path / "p.zip", ctx)
    assert caught.value.code == Exit.INTEGRITY
    assert not (tmp_path / "p.zip").exists()


def test_the_names_of_the_package_itself_cannot_be_written(ctx, tmp_path):
    source = saved(tmp_path, notebook("%%writefile Kagg_App.py\n1", PREDICT))
    with pytest.raises(KaggError, match="is a name that packages use"):
        packaging.build_package(source, tmp_path / "p.zip", ctx)


def test_too_much_data_is_refused_with_sizes_and_the_largest_file(ctx, tmp_path, monkeypatch):
    monkeypatch.setattr(packaging, "MAX_BYTES", 1000)
    saved(tmp_path, PREDICT, "main.py")
    saved(tmp_path, "x" * 2000, "big.csv")
    with pytest.raises(KaggError, match=r"1000 at most; big\.csv alone has 2000"):
        packaging.build_package(tmp_path, tmp_path / "p.zip", ctx)


@pytest.mark.parametrize("name", ["absent.ipynb", "absent.py", "x.txt"])
def test_a_source_that_is_none_is_bad_input(ctx, tmp_path, name):
    saved(tmp_path, "", "x.txt")
    with pytest.raises(KaggError) as caught:
        packaging.build_package(tmp_path / name, tmp_path / "p.zip", ctx)
    assert caught.value.code == Exit.USAGE


def test_a_package_unpacks_to_what_was_packed(ctx, tmp_path):
    source = saved(tmp_path, notebook("%%writefile a/b.py\nX = 1", PREDICT))
    packaging.build_package(source, tmp_path / "p.zip", ctx)
    assert packaging.unpack(tmp_path / "p.zip", tmp_path / "out")["entry"] == "predict"
    assert (tmp_path / "out" / "a" / "b.py").read_text() == "X = 1\n"
    assert (tmp_path / "out" / "kagg_app.py").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("defect", ["climbs", "link", "twice", "no manifest", "bad entry", "cut", "bomb"])
def test_a_hostile_package_is_refused_and_leaves_nothing(tmp_path, defect, monkeypatch):
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("kagg_app.py", PREDICT)
        if defect != "no manifest":
            archive.writestr(
                "kagg_package.json", json.dumps({"entry": "os.system" if defect == "bad entry" else "predict"})
            )
        if defect == "climbs":
            archive.writestr("../../evil.py", "")
        if defect == "link":
            link = zipfile.ZipInfo("link")
            link.external_attr = 0o120777 << 16
            archive.writestr(link, "/etc/passwd")
        if defect == "twice":
            archive.writestr("A", "")
            archive.writestr("B", "")
    if defect == "cut":
        path.write_bytes(path.read_bytes()[:-30])
    if defect == "bomb":
        monkeypatch.setattr(packaging, "MAX_BYTES", 10)
    if defect == "twice":
        path.write_bytes(path.read_bytes().replace(b"B", b"A"))
    with pytest.raises(KaggError) as caught:
        packaging.unpack(path, tmp_path / "in" / "out")
    assert caught.value.code == Exit.INTEGRITY
    assert sorted(found.name for found in tmp_path.rglob("*") if found.is_file()) == ["p.zip"]


@pytest.mark.skipif(not os.environ.get("KAGG_CORPUS"), reason="KAGG_CORPUS names no folder of public notebooks")
def test_public_notebooks_become_python_wherever_ipython_makes_them_python():
    from IPython.core.inputtransformer2 import TransformerManager

    count = 0
    for path in sorted(Path(os.environ["KAGG_CORPUS"]).rglob("*.ipynb")):
        try:
            book = json.loads(path.read_text())
            found = to_module(book, path.name)
            parsed(found.source, run=True)
            count += 1
        except KaggError as error:
            if "cell" not in error.details or "outside IPython" in error.message:
                continue
            cell = book["cells"][error.details["cell"]]
            with pytest.raises((SyntaxError, ValueError)):
                parsed(TransformerManager().transform_cell("".join(cell["source"])), run=True)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # not a notebook of format 4
    assert count
