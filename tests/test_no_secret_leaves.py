"""No secret leaves: tokens of every kind and the secrets in use are planted wherever a run on Kaggle may take them up.

Then everything that left is searched: each request with the code unpacked, what the server stored, KAGG_HOME, the
results, both streams with -v and --json, and the arguments of every child. Either the command refuses with exit 3 and
nothing was sent, or the value is nowhere. Two exceptions: the private dataset of --git-token while its run lasts, and
what the user's own program writes in its session (log.jsonl and output/).
"""

from __future__ import annotations

import base64
import contextlib
import functools
import gzip
import http.client
import io
import json
import os
import re
import signal
import string
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from front_door import Web, close, environment
from git_server import GitHost
from local_kaggle import Client
from test_kaggle_session import Desk, QuickContext, desk_with, notebook
from test_secret_rules import FOUND, HEX, PREFIXED, draw, made

from kagg import Context, Exit, KaggError, main, refuse_secrets, slugify
from plugins.lib.kaggle.faults import FOREVER
from plugins.lib.secrets import gate

ROOT = Path(__file__).resolve().parent.parent
SERVERS_OWN = ("accounts.json", "signing.key")  # what the local Kaggle keeps for itself
CHANGING = ("SaveKernel", "StartBlobUpload", "CreateDataset", "PUT ")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="sessions need POSIX processes")


# ---------------------------------------------------------------- what is planted


@functools.cache
def of_kind(name: str) -> str:
    rule = next(rule for rule in PREFIXED if name in rule.kind)
    return next(token for seed in range(99) if "/" not in (token := made(rule, rule.token, seed)))


SHAPES = {
    "a token that the streams know": lambda: "gh" + "p_" + draw(36),
    "a token that only the rules know": lambda: of_kind("stripe"),
    "a token that begins like a word": lambda: of_kind("google-api-key"),
}
VARIABLES = ("KAGG_SMTP_PASSWORD", "KAGG_SLACK_WEBHOOK_URL", "KAGG_WEBHOOK_SECRET", "WANDB_API_KEY", "READ_TOKEN",
             "DB_PASSWORD")  # fmt: skip


def in_use(seed) -> dict[str, str]:
    """Return secrets by the variables that hold them, of no published form; new ones, which this process never met."""
    letters = string.ascii_letters
    return {
        "KAGG_SMTP_PASSWORD": "Tr0ub" + "4dor" + draw(8, seed=seed),
        "KAGG_SLACK_WEBHOOK_URL": "https://hooks.example.org/services/" + draw(24, letters, seed),
        "KAGG_WEBHOOK_SECRET": draw(25, letters, seed),
        "WANDB_API_KEY": draw(40, HEX, seed),
        "READ_TOKEN": draw(30, letters + string.digits, seed),
        "DB_PASSWORD": draw(14, letters + string.digits, seed),
    }


def with_output(value):
    book = notebook("1")
    book["cells"][0]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": [f"it is {value}\n"]}]
    return json.dumps(book)


def metadata(value):
    about = {"id": "demo/a-kernel", "title": "a kernel", "code_file": "main.py", "keywords": [value]}
    return json.dumps({**about, "language": "python", "kernel_type": "script"})


def index_url(value):
    return f"--index-url https://me:{quote(value, safe='')}@pypi.example.org/simple"


FILES = {  # place: the file that holds it, and its text
    "the script": ("main.py", 'KEY = "{}"\n'.format),
    "a module": ("helper.py", 'x = "{}"\n'.format),
    "a data file": ("rows.csv", "id,name\n1,{}\n".format),
    "a notebook's output": ("other.ipynb", with_output),
    "a notebook's cell": ("other.ipynb", lambda value: json.dumps(notebook(f'k = "{value}"'))),
    "kernel-metadata.json": ("kernel-metadata.json", metadata),
    "requirements.txt": ("requirements.txt", index_url),
}
OPTIONS = {  # place: what is added to the command line
    "a parameter": lambda value: ["-p", f"x={value}"],
    "an argument": lambda value: ["--", value],
    "an argument of an option": lambda value: ["--", "--token", value],
    "--pip": lambda value: ["--pip", f"git+https://{quote(value, safe='')}@git.example.org/a/b.git"],
    "--pip with an index": lambda value: ["--pip", index_url(value)],
    "--notify": lambda value: ["--notify", f"webhook:http://127.0.0.1:9/{value}"],
    "--checkpoint": lambda value: ["--checkpoint", f"{value}*.bin"],
    "--include": lambda value: ["--include", value],
    "--exclude": lambda value: ["--exclude", value],
    "--entry": lambda value: ["--entry", f"{value}.py"],
    "--dataset": lambda value: ["--dataset", f"demo/{value}"],
    "--competition": lambda value: ["--competition", value],
    "--accelerator": lambda value: ["--accelerator", value],
    "--verify": lambda value: ["--verify", value],
    "--track": lambda value: ["--track", value],
    "--git-token": lambda value: ["--code", "git", "--git-token", value],
    "--git-remote": lambda value: ["--code", "git", "--git-remote", value],
    "--git-secret": lambda value: ["--code", "git", "--git-secret", value],
    "--commit-message": lambda value: ["--code", "git", "--commit", "--commit-message", value],
}
NAMES = {  # place: the file whose name it is, and what to run
    "a file's name": ("{}.txt", ""),
    "a name below a folder": ("data/{}.txt", ""),
    "the name of what runs": ("{}.py", "{}.py"),
}
PLACES = [*FILES, *OPTIONS, *NAMES, "a notebook that runs", "an output of a notebook that runs", "an R script"]


def plant(project: Path, place: str, value: str) -> tuple[Path, list[str]]:
    """Make a project with a value in one place; return what to run and the options."""
    project.mkdir()
    (project / "main.py").write_text("print('ran')\n")
    if place in OPTIONS:
        return project, OPTIONS[place](value)
    if place in FILES:
        name, text = FILES[place]
        (project / name).write_text(text(value))
        return project, []
    if place in NAMES:
        name, target = (form.format(value) for form in NAMES[place])
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("x = 1\n")
        return project / target if target else project, []
    if place == "an R script":
        (project / "main.R").write_text(f'key <- "{value}"\n')
        return project / "main.R", []
    text = with_output(value) if "output" in place else json.dumps(notebook(f'k = "{value}"'))
    (project / "run.ipynb").write_text(text)
    return project / "run.ipynb", []


# ---------------------------------------------------------------- what is searched


def layers(content: bytes, depth: int = 0):
    """Yield bytes and all that is packed in them: strings of JSON, gzip, the packed text of a script."""
    yield content
    if depth > 5:
        return
    if content[:1] in (b"{", b"["):
        with contextlib.suppress(ValueError):
            for text in strings(json.loads(content)):
                yield from layers(text.encode("utf-8", "replace"), depth + 1)
    if content[:2] == b"\x1f\x8b":
        with contextlib.suppress(OSError, EOFError):
            yield from layers(gzip.decompress(content), depth + 1)
    for packed in re.findall(rb'"""\n((?:[A-Za-z0-9+/=]+\n)+)"""', content):
        yield from layers(base64.b64decode(packed.replace(b"\n", b"")), depth + 1)


def strings(value):
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def forms(value: str) -> list[bytes]:
    """Return a value as it may appear: itself, as text in JSON and in a URL, as base64, as the slug of a name."""
    whole = {value, json.dumps(value)[1:-1], quote(value, safe=""), base64.b64encode(value.encode()).decode()}
    if len(value) > 16:
        whole.add(slugify(value)[:20])
    return [form.encode() for form in whole]


class Watch:
    """Everything that leaves this process: HTTP requests and the arguments of children."""

    def __init__(self, monkeypatch, kaggle_url: str) -> None:
        self.sent: list[bytes] = []
        self.argv: list[str] = []
        self.misled: list[bytes] = []  # requests that took credentials to another host
        host = kaggle_url.partition("//")[2].encode()
        send, start = http.client.HTTPConnection.send, subprocess.Popen.__init__
        begun: dict[int, int] = {}

        def sending(connection, data):
            if hasattr(data, "read"):
                data = data.read()
            whole = bytes(data) if isinstance(data, bytes | bytearray | memoryview) else b"".join(data)
            if not re.match(rb"[A-Z]+ \S+ HTTP/1", whole):  # a body that goes after its head
                self.sent[begun[id(connection)]] += whole
                return send(connection, whole)
            begun[id(connection)] = len(self.sent)
            to_kaggle = b"\r\nHost: " + host + b"\r\n" in whole  # our credentials are meant for it alone
            self.misled += [whole] if not to_kaggle and b"\r\nAuthorization: " in whole else []
            self.sent.append(re.sub(rb"\r\nAuthorization: [^\r]*", b"", whole, count=1) if to_kaggle else whole)
            return send(connection, whole)

        def starting(process, args, *more, **options):
            self.argv.append(args if isinstance(args, str) else " ".join(map(os.fsdecode, args)))
            return start(process, args, *more, **options)

        monkeypatch.setattr(http.client.HTTPConnection, "send", sending)
        monkeypatch.setattr(subprocess.Popen, "__init__", starting)

    def changing(self) -> list[bytes]:
        """Return the first lines of requests that make or change something at Kaggle."""
        lines = [request.partition(b"\r\n")[0] for request in self.sent]
        return [line for line in lines if any(word.encode() in line for word in CHANGING)]


def where(value: str, pieces: dict[str, bytes]) -> list[str]:
    """Return the names of the pieces that hold a value in any form."""
    wanted = forms(value)
    held = []
    for name, content in pieces.items():
        body = content.partition(b"\r\n\r\n")[2] if content[:5] in (b"POST ", b"PUT /") else b""
        if any(form in layer for part in (name.encode(), content, body) for layer in layers(part) for form in wanted):
            held.append(name if value not in name else "the name of a file")
    return held


def files(folder: Path, title: str, without: tuple[str, ...] = ()) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        f"{title}/{name}": path.read_bytes() for name, path in found.items() if not name.startswith(without or ("\0",))
    }


class Trap:
    """A desk whose every run has a home and an account of its own, and which knows where everything went."""

    def __init__(self, desk: Desk, watch: Watch, folder: Path) -> None:
        self.desk, self.watch, self.top, self.count = desk, watch, folder, 0
        self.env: dict[str, str] = {}
        self.user = self.key = ""

    def fresh(self) -> Path:
        self.count += 1
        self.desk.folder = self.top / f"run{self.count}"
        self.desk.folder.mkdir()
        self.desk.dest = self.desk.folder / "dest"
        self.user = f"{self.top.name.replace('_', '-').lower()[:30].strip('-')}-{self.count}"
        self.client = Client(self.desk.kaggle, self.user)
        self.key = self.desk.kaggle.world.accounts.users[self.user]["key"]
        self.watch.sent.clear()
        self.watch.argv.clear()
        return self.desk.folder

    def context(self) -> QuickContext:
        ctx = self.desk.context()
        ctx.env = {"PATH": os.environ["PATH"], **ctx.env, **self.signed_in, **self.env}
        return ctx

    @property
    def signed_in(self) -> dict[str, str]:
        return {"KAGGLE_USERNAME": self.user, "KAGGLE_KEY": self.key}

    def kagg(self, *argv) -> tuple[int, QuickContext]:
        ctx = self.context()
        try:
            return main(["--kaggle-url", self.desk.kaggle.url, *map(str, argv)], ctx), ctx
        finally:
            close(ctx)

    def run(self, target, *options, before=("-v",)) -> tuple[int, QuickContext]:
        return self.kagg(*before, "run", "--kaggle", target, "--dest", self.desk.dest, "--max-wait", "1s", *options)

    def left(self, *contexts, ours_only: bool = False) -> dict[str, bytes]:
        """Return all that left, by its place. `ours_only` leaves out what the user's program wrote itself."""
        home, dest = self.desk.folder / "home" / ".kagg", self.desk.dest
        found = files(home, "KAGG_HOME") | files(dest, "results", ("log.jsonl", "output/") if ours_only else ())
        found |= {f"request {n} {data[:60].split(b' ')[1:2]}": data for n, data in enumerate(self.watch.sent)}
        found |= {f"argv {n}": text.encode("utf-8", "surrogateescape") for n, text in enumerate(self.watch.argv)}
        if not ours_only:
            found |= files(self.desk.kaggle.world.root, "Kaggle's storage", SERVERS_OWN)
        for number, ctx in enumerate(contexts):
            found |= {f"stdout {number}": ctx.out.encode(), f"stderr {number}": ctx.err.encode()}
        return found


def datasets(trap):
    found = trap.client.call("ListDatasets", {"group": "DATASET_SELECTION_GROUP_MY"}, "datasets.DatasetApiService")
    return [one["ref"] for one in found.json().get("datasets", [])]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with desk_with(tmp_path_factory.mktemp("kaggle")) as desk:
        yield desk


@pytest.fixture
def trap(server, tmp_path, monkeypatch):
    server.kaggle.faults.clear()
    found = Trap(server, Watch(monkeypatch, server.kaggle.url), tmp_path)
    yield found
    server.kaggle.faults.clear()
    assert found.watch.misled == []


@pytest.mark.parametrize("transport", ["inline", "dataset"])
def test_the_search_is_not_blind(trap, transport):
    """What is no secret is found wherever it goes: packed, stored, recorded, printed."""
    project = trap.fresh() / "project"
    project.mkdir()
    (project / "main.py").write_text("import helper\nprint(helper.WORD)\n")
    (project / "helper.py").write_text("WORD = 'marmalade-sandwich'\n")
    code, ctx = trap.run(project, "-p", "spread=quince-jelly", "--code", transport, "--keep")
    assert code == Exit.DONE, ctx.err
    packed, given = (" ".join(where(word, trap.left(ctx))) for word in ("marmalade-sandwich", "quince-jelly"))
    assert all(place in packed for place in ("request", "Kaggle's storage", "results/log.jsonl", "stderr"))
    assert all(
        place in given
        for place in ("request", "Kaggle's storage", "ledger.db", "state.json", "script.py", "result.json")
    )
    assert trap.watch.changing() != []
    assert any("sh -c" in text or "python" in text for text in trap.watch.argv)


# ---------------------------------------------------------------- every kind, at the gate


LINES = {
    "a script": ("main.py", 'KEY = "{}"\n'.format),
    "a data file": ("rows.csv", "id,name\n1,{}\n".format),
    "a cell": ("book.ipynb", lambda value: json.dumps(notebook(f'k = "{value}"'))),
    "an output": ("book.ipynb", with_output),
    "kernel-metadata.json": ("kernel-metadata.json", metadata),
    "a parameter": ("the parameters", lambda value: json.dumps({"x": value, "arguments": []})),
    "an argument": ("the parameters", lambda value: json.dumps({"arguments": [value]})),
    "a file's name": ("{}.txt", lambda _: "x"),
    "a name below a folder": ("data/{}.bin", lambda _: "x"),
}


def is_refused(ctx, name, text, value) -> bool:
    """Tell whether the gate refuses a text; what it says must not repeat the value."""
    try:
        gate.refuse(ctx, "this", [(name, text.encode())])
    except KaggError as error:
        refused = error
    else:
        return False
    said = f"{refused.message} {refused.hint} {refused.details} {ctx.stderr.getvalue()}"
    assert refused.code == Exit.FINDINGS
    assert value not in said
    return True


@pytest.mark.parametrize("place", LINES)
def test_a_token_of_every_published_form_is_refused_in(place):
    ctx, missed = Context({}, stdout=io.StringIO(), stderr=io.StringIO()), []
    form, text = LINES[place]
    for rule in PREFIXED:
        value = made(rule, rule.token)
        if "name" in place and "/" in value:
            continue
        if not is_refused(ctx, form.format(value), text(value), value):
            missed.append(rule.kind)
    assert missed == []


def test_a_secret_that_its_surroundings_tell_is_refused():
    ctx = Context({}, stdout=io.StringIO(), stderr=io.StringIO())
    assert [name for name, (text, value) in FOUND.items() if not is_refused(ctx, "notes.txt", text, value)] == []


@pytest.mark.parametrize("variable", [*VARIABLES, "KAGGLE_KEY"])
def test_a_secret_in_use_is_refused_whatever_it_looks_like(tmp_path, variable):
    held = {**in_use(variable), "KAGGLE_KEY": draw(32, HEX, "key")}
    ctx = Context(environment(tmp_path, KAGGLE_USERNAME="demo", **held), stdout=io.StringIO(), stderr=io.StringIO())
    pair = base64.b64encode(f"demo:{held[variable]}".encode()).decode()
    for form in ("x = '{}'\n", "1,{},2\n", '{{"x": "{}"}}', "curl https://example.org/{}"):
        for value in (held[variable], pair):
            with pytest.raises(KaggError) as caught:
                refuse_secrets(ctx, "this", [("rows.txt", form.format(value))])
            assert caught.value.code == Exit.FINDINGS
            assert value not in f"{caught.value.message} {caught.value.hint} {caught.value.details}"


# ---------------------------------------------------------------- everywhere, through the front door


@pytest.mark.parametrize("place", PLACES)
def test_a_token_leaves_by_no_way_when_it_is_in(trap, place):
    """Each place with two tokens; -v shows tracebacks, --json the record."""
    start = PLACES.index(place)
    names = list(SHAPES)
    for number in (0, 1) if "that runs" not in place else (0,):  # which takes seconds
        name = names[(start + number) % len(names)]
        value = SHAPES[name]()
        target, options = plant(trap.fresh() / "project", place, value)
        code, ctx = trap.run(target, *options, before=("-v", "--json")[: 1 + number])
        assert where(value, trap.left(ctx)) == [], f"{name} in {place}, exit {code}"
        assert code != Exit.BUG, ctx.err
        assert code != Exit.FINDINGS or trap.watch.changing() == [], f"{name} in {place}"


@pytest.mark.parametrize("place", PLACES[:-2] + PLACES[-1:])  # outputs of a notebook that runs never leave
def test_a_secret_in_use_leaves_by_no_way_when_it_is_in(trap, place):
    held = in_use(place)
    names = ["the key", *(name for name, value in held.items() if "://" not in value or place in FILES)]
    name = names[PLACES.index(place) % len(names)]
    project, trap.env = trap.fresh() / "project", held
    value = held.get(name, trap.key)
    target, options = plant(project, place, value)
    code, ctx = trap.run(target, *options)
    assert where(value, trap.left(ctx)) == [], f"{name} in {place}, exit {code}"
    assert code != Exit.BUG, ctx.err
    assert code != Exit.FINDINGS or trap.watch.changing() == [], f"{name} in {place}"


@pytest.mark.parametrize("place", ["the script", "a parameter", "an argument", "--exclude", "the name of what runs"])
def test_a_key_that_a_file_holds_leaves_by_no_way_when_it_is_in(trap, place):
    project = trap.fresh() / "project"
    key, file = trap.key, trap.desk.folder / "home/.kaggle/kaggle.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"username": trap.user, "key": key}))
    file.chmod(0o600)
    trap.env = {"KAGGLE_USERNAME": "", "KAGGLE_KEY": ""}
    target, options = plant(project, place, key)
    code, ctx = trap.run(target, *options)
    assert where(key, trap.left(ctx)) == [], f"{place}, exit {code}"
    assert (code, trap.watch.changing()) == (Exit.FINDINGS, []), ctx.err


@pytest.mark.parametrize("column", ["param.x", "params", "accelerator", "datasets", "id", "ref"])
def test_a_token_leaves_by_no_way_when_it_is_in_a_job_s(trap, column):
    value = SHAPES["a token that only the rules know"]()
    folder = trap.fresh()
    name = f"{value}.py" if column == "ref" else "job.py"
    (folder / name).write_text("print(1)\n")
    cells = {"id": "one", "ref": name, "on": "kaggle"}
    cells |= {column: {"params": f"x={value}", "datasets": f"demo/{value}", "ref": name}.get(column, value)}
    (folder / "jobs.csv").write_text(",".join(cells) + "\n" + ",".join(cells.values()) + "\n")
    code, ctx = trap.kagg("-v", "batch", folder / "jobs.csv", "--dest", trap.desk.dest)
    assert where(value, trap.left(ctx)) == [], f"{column} of a job, exit {code}"
    assert code != Exit.DONE, ctx.err


# ---------------------------------------------------------------- what others say


METHODS = ["SaveKernel", "GetKernel", "GetKernelSessionStatus", "ListKernelSessionOutput", "DeleteKernel",
           "StartBlobUpload", "CreateDataset"]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_a_server_that_repeats_our_key_in_its_error_tells_nobody(trap, method):
    path = trap.fresh() / "job.py"
    key, pair = trap.key, base64.b64encode(f"{trap.user}:{trap.key}".encode()).decode()
    said = f"bad request: Authorization: Basic {pair}, {key}"
    trap.desk.kaggle.faults.add("status", match=f"*{method}", times=FOREVER, status=400, message=said)
    path.write_text("print(1)\n")
    more = ("--code", "dataset") if method in METHODS[-2:] else ()
    code, ctx = trap.run(path, *more, before=("-v", "--json"))
    code_2, shown = trap.kagg("runs", "show", "last")
    for value in (key, pair):
        assert where(value, trap.left(ctx, shown)) == [], f"{method} answered with it, exit {code} {code_2}"


def test_a_push_that_is_refused_in_words_that_hold_our_key_tells_nobody(trap):
    path = trap.fresh() / "job.py"
    path.write_text("print(1)\n")
    words = f"Maximum batch CPU session count of 5 reached {trap.key}"
    trap.desk.kaggle.faults.add("slots_full", times=FOREVER, message=words)
    code, ctx = trap.run(path)
    assert code == Exit.QUOTA, ctx.err
    assert where(trap.key, trap.left(ctx)) == []


def test_what_a_program_raises_is_passed_on_without_the_secrets_in_it(trap):
    """The program puts them together itself, as one does that read them in its session."""
    trap.env = in_use("raised")
    values = {**{name: make() for name, make in SHAPES.items()}, **trap.env}
    pieces = [[value[at : at + 4][::-1] for at in range(0, len(value), 4)] for value in values.values()]
    path = trap.fresh() / "job.py"
    path.write_text(f"p = {pieces!r}\nraise ValueError(' '.join(''.join(w[::-1] for w in v) for v in p))\n")
    with Web() as web:
        url = web.on("/told", (200, b"", {}))
        code, ctx = trap.run(path, "--notify", f"webhook:{url}", before=("-v", "--json"))
        told = b"".join(request.body for request in web.requests)
    assert (code, bool(told)) == (Exit.FAILED, True), ctx.err
    _, shown = trap.kagg("runs", "show", "last")
    everything = trap.left(ctx, shown, ours_only=True) | {"the notification": told}
    lines = [line for line in ctx.err.splitlines() if not line.startswith('{"progress": {"log": ')]  # its own words
    everything["stderr 0"] = "\n".join(lines).encode()
    assert {name: held for name, value in values.items() if (held := where(value, everything))} == {}


# ---------------------------------------------------------------- git, as a program of its own


def repository(folder: Path, host: GitHost, url: str) -> tuple[Path, dict[str, str], Path]:
    """Return a pushed clone, the environment for it, and where the arguments of children are written down."""
    (folder / "home").mkdir()
    settings = "[user]\nname = Me\nemail = me@example.org\n[init]\ndefaultBranch=main\n"
    (folder / "home" / ".gitconfig").write_text(settings)
    log, programs, work = folder / "argv.log", folder / "bin", folder / "work"
    programs.mkdir()
    log.touch()
    for name in ("git", "pip", "curl", "ssh"):
        real = next(
            (place for part in os.environ["PATH"].split(":") if (place := Path(part, name)).exists()), "/bin/false"
        )
        (programs / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >> {log}\nexec {real} "$@"\n')
        (programs / name).chmod(0o755)
    env = environment(folder, GIT_CONFIG_NOSYSTEM="1", GIT_TERMINAL_PROMPT="0", TMPDIR=str(folder))
    work.mkdir()
    (work / "main.py").write_text("print('ran')\n")
    for words in ("init --quiet", f"remote add origin {url}", "add --all", "commit --quiet -m first",
                  "push --quiet --set-upstream origin main"):  # fmt: skip
        done = subprocess.run(["git", *words.split(" ")], cwd=work, env=env, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
    env["PATH"] = f"{programs}:{env['PATH']}"
    return work, env, log


@pytest.fixture
def git_desk(trap, tmp_path, request):
    token = "github" + "_pat_" + draw(22) + "_" + draw(59, seed=request.node.name)
    with GitHost(tmp_path / "host", token=token) as host:
        folder = trap.fresh()
        url = host.make("project").replace("://", f"://me:{token}@")
        work, env, log = repository(folder, host, url)
        trap.env = {**env, "READ_TOKEN": token}
        trap.watch.argv.clear()  # the user's own git
        yield SimpleNamespace(trap=trap, token=token, work=work, log=log, env=env)


def git_token_is_nowhere(git_desk, *contexts, text=""):
    trap, token = git_desk.trap, git_desk.token
    pairs = [base64.b64encode(f"{user}:{token}".encode()).decode() for user in ("me", "x-access-token")]
    everything = trap.left(*contexts) | {"argv of git": git_desk.log.read_bytes(), "said": text.encode()}
    everything |= {f"temporary/{path.name}": path.read_bytes() for path in trap.desk.folder.glob("kagg-*/*")}
    everything = {name: content for name, content in everything.items() if "/blobs/" not in name}  # uploads: for a week
    sent = [name for name, content in everything.items() if name.startswith("request ") and content[:4] == b"PUT "]
    for value in (token, *pairs):
        held = where(value, {name: content for name, content in everything.items() if name not in sent})
        assert held == []
    assert datasets(trap) == []


def test_a_token_for_git_is_in_no_argument_record_or_line_and_its_dataset_is_gone_afterwards(git_desk):
    desk = git_desk.trap.desk
    env = {**git_desk.trap.env, **git_desk.trap.signed_in, "KAGG_KAGGLE_URL": desk.kaggle.url}
    (git_desk.work / "more.py").write_text("x = 1\n")
    subprocess.run(["git", "add", "more.py"], cwd=git_desk.work, env=env, check=True)
    options = ["--code", "git", "--git-token", "READ_TOKEN", "--commit", "--push", "--commit-message", "more"]
    argv = [sys.executable, ROOT / "kagg.py", "-v", "run", "--kaggle", git_desk.work, "--dest", desk.dest, *options]
    done = subprocess.run(argv, env=env, cwd=desk.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "git ls-remote" in git_desk.log.read_text()
    git_token_is_nowhere(git_desk, text=done.stdout + done.stderr)


def test_a_token_in_a_commit_s_message_is_refused_before_anything_is_committed(git_desk):
    trap, value = git_desk.trap, SHAPES["a token that only the rules know"]()
    (git_desk.work / "main.py").write_text("print('changed')\n")
    options = ["--code", "git", "--git-token", "READ_TOKEN", "--commit", "--push", "--commit-message", f"uses {value}"]
    code, ctx = trap.run(git_desk.work, *options)
    assert code == Exit.FINDINGS, ctx.err
    assert where(value, trap.left(ctx) | {"argv of git": git_desk.log.read_bytes()}) == []
    assert where(value, files(git_desk.work, "the clone")) == []
    assert trap.watch.changing() == []


FAILURES = {
    "no session is free": ({"kind": "slots_full", "times": FOREVER}, Exit.QUOTA, ""),
    "an input is refused": ({}, Exit.SERVICE, "--dataset demo/absent"),
    "the results are another run's": ({"kind": "previous_files", "times": FOREVER}, Exit.INTEGRITY, ""),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_token_for_git_does_not_stay_on_kaggle_when(git_desk, failure):
    fault, expected, more = FAILURES[failure]
    if fault:
        git_desk.trap.desk.kaggle.faults.add(**fault)
    code, ctx = git_desk.trap.run(git_desk.work, "--code", "git", "--git-token", "READ_TOKEN", *more.split())
    assert code == expected, ctx.err
    git_desk.trap.desk.kaggle.faults.clear()
    git_token_is_nowhere(git_desk, ctx)


def test_what_a_client_that_is_killed_while_it_sends_the_token_leaves_is_private_and_gone_with_the_next_command(
    git_desk,
):
    desk = git_desk.trap.desk
    desk.kaggle.faults.add("latency", match="*GetDatasetStatus", ms=3000)
    env = {**git_desk.trap.env, **git_desk.trap.signed_in, "KAGG_KAGGLE_URL": desk.kaggle.url}
    argv = [sys.executable, ROOT / "kagg.py", "run", "--kaggle", git_desk.work, "--dest", desk.dest]
    process = subprocess.Popen([*argv, "--code", "git", "--git-token", "READ_TOKEN"], env=env, cwd=desk.folder)
    deadline = time.monotonic() + 60
    while desk.kaggle.faults.waiting():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = [path for path in desk.folder.rglob("*") if path.is_file() and ".git" not in path.parts]
    kept = [path for path in kept if git_desk.token.encode() in path.read_bytes()]  # until the next command looks
    assert all(path.is_relative_to(desk.folder / "home/.kagg") for path in kept)
    assert [path for path in kept if path.stat().st_mode & 0o077] == []
    code, ctx = git_desk.trap.kagg("attach", "last")
    assert code == Exit.DONE, ctx.err
    git_token_is_nowhere(git_desk, ctx)


# ---------------------------------------------------------------- who may read it


def test_what_a_run_keeps_is_for_its_owner_only(trap):
    path = trap.fresh() / "job.py"
    path.write_text("print(1)\n")
    before = os.umask(0o022)
    try:
        code, ctx = trap.run(path, "-p", "x=1", "--code", "dataset")
    finally:
        os.umask(before)
    assert code == Exit.DONE, ctx.err
    home = trap.desk.folder / "home" / ".kagg"
    kept = [file for file in home.rglob("*") if file.is_file() and file.stat().st_size]
    assert [file.name for file in kept if file.stat().st_mode & 0o077] == []
    assert home.stat().st_mode & 0o077 == 0
    ours = [trap.desk.dest / name for name in ("result.json", "params.json", "log.jsonl")]
    assert [file.name for file in ours if file.stat().st_mode & 0o077] == []
