"""The step that looks for what is unsafe beside secrets: what it says, and what it leaves alone."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.prep import risks


def cell(source="", outputs=(), kind="code"):
    return {"cell_type": kind, "metadata": {}, "source": source, "outputs": list(outputs), "execution_count": None}


def notebook(*cells):
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 4}


def stream(text):
    return {"output_type": "stream", "name": "stdout", "text": text}


def found(*sources, **options):
    document = notebook(*(cell(source) for source in sources))
    before = copy.deepcopy(document)
    result, findings = risks.apply(document, options)
    assert result is document
    assert document == before
    return [(one.kind, one.cell, one.line) for one in findings]


RISKY = {
    "eval of input": ("eval-input", ["x = eval(input('x? '))"]),
    "eval of a name": ("eval-input", ["code = input()", "y = 1\nexec(code)"]),
    "eval of a reply": ("eval-input", ["import requests\nr = requests.get(url)\neval(r.text)"]),
    "eval in Python's first line magic": ("eval-input", ["%time x = 1\ntext = input()\neval(text)"]),
    "pickle of a reply": ("unsafe-load", ["import pickle\nm = pickle.loads(requests.get(u).content)"]),
    "pickle of a downloaded file": ("unsafe-load", ["urlretrieve(u, 'm.pkl')", "m = pickle.load(open('m.pkl', 'rb'))"]),
    "joblib of a fetched file": (
        "unsafe-load",
        ["!wget https://x.org/model.joblib", "m = joblib.load('model.joblib')"],
    ),
    "torch of a hub file": ("unsafe-load", ["p = hf_hub_download('a/b', 'm.bin')\nm = torch.load(p)"]),
    "numpy with pickle": ("unsafe-load", ["p = wget.download(u)\na = np.load(p, allow_pickle=True)"]),
    "yaml without a loader": ("unsafe-load", ["c = yaml.load(open('c.yml'))"]),
    "yaml with a bad loader": ("unsafe-load", ["c = yaml.load(f, Loader=yaml.UnsafeLoader)"]),
    "verify=False": ("no-tls-check", ["r = requests.get(u, verify=False)"]),
    "no context": ("no-tls-check", ["import ssl\nssl._create_default_https_context = ssl._create_unverified_context"]),
    "a shell with input": ("shell-input", ["name = input()\nos.system('ls ' + name)"]),
    "a shell with an f-string": ("shell-input", ["subprocess.run(f'rm {path}', shell=True)"]),
    "a shell line with input": ("shell-input", ["name = input()", "!ls {name}"]),
    "remote code": ("remote-code", ["m = AutoModel.from_pretrained('x', trust_remote_code=True)"]),
    "a debugger for all": ("open-debugger", ["app.run(host='0.0.0.0', port=80, debug=True)"]),
    "a piped script": ("piped-script", ["!curl -sSL https://x.org/i.sh | sudo bash"]),
    "a piped script in bash": ("piped-script", ["%%bash\nset -e\nwget -qO- https://x.org/i.sh | sh"]),
}

HARMLESS = {
    "eval of a constant": ["eval('1 + 1')", "model.eval()", "df.eval('a = b')"],
    "a number from input": ["n = int(input())\neval(str(n))"],
    "a name that was overwritten": ["x = input()\nx = '1'\neval(x)"],
    "parsed input": ["x = ast.literal_eval(input())\nexec(x)"],
    "the own pickle": ["with open('m.pkl', 'rb') as f:\n    m = pickle.load(f)"],
    "a read-only torch file": ["p = hf_hub_download('a/b', 'm.bin')\nm = torch.load(p, weights_only=True)"],
    "numpy without pickle": ["p = wget.download(u)\na = np.load(p)"],
    "a safe yaml": ["yaml.safe_load(f)", "yaml.load(f, Loader=yaml.SafeLoader)", "yaml.load(f, yaml.FullLoader)"],
    "verify=True": ["requests.get(u, verify=True)"],
    "a constant command": ["os.system('pip install x')", "d = 'out'\nos.system(f'mkdir {d}')"],
    "no shell": ["subprocess.run(['rm', path])", "subprocess.run(f'rm {path}'.split())"],
    "a shell line with own names": ["d = 'out'", "!ls {d}"],
    "a download": ["!curl -O https://x.org/data.csv", "!wget https://x.org/a.sh", "!cat x | bash_it"],
    "a server for the container": ["app.run(host='0.0.0.0')"],
    "words in a text": ["text = 'eval(input()) | sh verify=False'", "# pickle.load(requests.get(u))"],
}


@pytest.mark.parametrize("name", RISKY)
def test_a_risk_is_said_once_with_its_line(name):
    kind, sources = RISKY[name]
    assert [one[0] for one in found(*sources)] == [kind]
    (_, number, line) = found(*sources)[0]
    assert number == len(sources) - 1
    assert 1 <= line <= sources[-1].count("\n") + 1
    assert found(*sources, risk_off=[kind]) == []


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_harmless_is_left_alone(name):
    assert found(*HARMLESS[name]) == []


def shown(text):
    _, findings = risks.apply(notebook(cell("x", [stream("a"), stream(text)])), {})
    return [(one.kind, one.cell, one.line, one.place) for one in findings]


@pytest.mark.parametrize(
    "path", ["/home/mmuster/a.py", "/Users/mmuster/x", "C:\\Users\\mmuster\\x", "C:\\\\Users\\\\m.m\\\\x"]
)
def test_a_home_folder_in_an_output_is_a_warning(path):
    assert shown(f'File "{path}", line 3') == [("home-path", 0, None, "output")]
    assert risks.apply(notebook(cell(f"open('{path}')")), {})[1] == []


@pytest.mark.parametrize(
    "text",
    ["/home/jupyter/a.py", "/ro" + "ot/x/y", "/kaggle/working/x", "/content/x", "/home/<user>/x", "https://x.org/home/mmuster/y",
     "C:\\Users\\Public\\x", "/Users/runner/work/x", "../home/mmuster/y"],
)  # fmt: skip
def test_folders_of_nobody_are_left_alone(text):
    assert shown(text) == []


def test_an_email_address_in_an_output_is_a_warning_that_does_not_repeat_it():
    _, findings = risks.apply(notebook(cell("x", [stream("mail: martha.muster@uni-bonn.de, m@uni-bonn.de")])), {})
    (one,) = findings
    assert one.kind == "email-address"
    assert "2 e-mail addresses" in one.message
    assert "martha" not in one.message


@pytest.mark.parametrize(
    "text",
    ["a@example.com", "noreply@github.com", "1+x@users.noreply.github.com", "Author-email: m.muster@uni-bonn.de",
     "logo@2x.png", "git@github.com:a/b.git", "https://u:p@host.org/x", "df @ df.T", "@decorator.name"],
)  # fmt: skip
def test_addresses_of_nobody_are_left_alone(text):
    assert shown(text) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text() | st.sampled_from(["eval(", "!{x}", "x = input()", "%%bash", "verify=False"]), max_size=4))
def test_any_source_passes(sources):
    found(*sources)


def test_findings_are_warnings_with_a_next_step():
    _, findings = risks.apply(notebook(*(cell(source) for _, sources in RISKY.values() for source in sources)), {})
    assert {one.kind for one in findings} <= set(risks.KINDS)
    assert all(one.severity == "warning" and one.fix and "\n" not in one.message + one.fix for one in findings)
