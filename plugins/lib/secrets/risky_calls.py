"""Find calls in Python cells that hand data of strangers to something that executes it, or that drop a protection.

What comes from `input()`, the network or a downloaded file is followed through assignments, in the order of the cells.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, NamedTuple

from plugins.lib.secrets import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Risk(NamedTuple):
    """A risky place: cell, line in it (from 1), what it is and what to do instead."""

    kind: str
    cell: int
    line: int
    message: str
    fix: str


# Functions, by the end of their dotted name.
_FOREIGN_NAMES = (
    "input raw_input requests.get requests.post requests.put requests.request session.get session.post"
    " httpx.get httpx.post urlopen urllib2.urlopen request.urlopen urllib.urlopen urllib.request.urlopen"
    " urlretrieve request.urlretrieve urllib.request.urlretrieve wget.download gdown.download hf_hub_download"
    " huggingface_hub.hf_hub_download request.get_json request.get_data"
)
FOREIGN = frozenset(_FOREIGN_NAMES.split())
FOREIGN_VALUES = frozenset({"request.args", "request.form", "request.data", "request.json", "sys.argv"})
HARMLESS = frozenset({"int", "float", "len", "bool", "ast.literal_eval", "literal_eval", "shlex.quote", "quote"})
EXECUTES = frozenset({"eval", "exec"})
SHELLS = frozenset(
    {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "commands.getoutput"}
)
SUBPROCESS = frozenset(
    f"subprocess.{name}" for name in ("run", "call", "check_call", "check_output", "Popen")
) | {"Popen", "check_output", "check_call"}  # fmt: skip
LOADS = frozenset(
    f"{module}.{name}"
    for module in ("pickle", "cPickle", "_pickle", "dill", "cloudpickle")
    for name in ("load", "loads")
) | {"joblib.load", "pd.read_pickle", "pandas.read_pickle"}  # fmt: skip
SAFE_YAML = re.compile(r"SafeLoader|CSafeLoader|BaseLoader|FullLoader")
SOURCES = re.compile(
    r"input\(|requests|httpx|urlopen|urlretrieve|wget|curl|gdown|hf_hub_download|session\.|request\.|sys\.argv"
)
SINKS = re.compile(
    r"\b(?:eval|exec)\(|[Pp]ickle|joblib\.load|dill\.|torch\.load|yaml\.load|verify\s*=\s*False|_create_unverified|CERT_NONE"
    r"|shell\s*=\s*True|os\.system|popen|getoutput|trust_remote_code|0\.0\.0\.0|\|\s*(?:sudo\s+)?(?:ba|z|da)?sh\b"
    r"|^[ \t]*!.*[{$]",
    re.MULTILINE,
)
SINK_WORDS = (
    "eval(", "exec(", "ickle", "joblib", "dill", "torch.load", "yaml.load", "verify", "unverified", "CERT_NONE",
    "shell", "os.system", "popen", "getoutput", "trust_remote_code", "0.0.0.", "!", "|",
)  # fmt: skip
SHELL_LINE = re.compile(r"^[ \t]*(?:[\w, \t]+=[ \t]*)?!(.*)$", re.MULTILINE)
PIPED = re.compile(r"\b(?:curl|wget)\b[^\n|;]*\|\s*(?:sudo\s+(?:-\w+\s+)*)?(?:ba|z|da)?sh\b")
FETCHED = re.compile(
    r"(?:wget|curl)\b[^\n]*?(?:-O|-o|--output|--output-document)[ =]([\w./-]+)"
    r"|(?:wget|curl -\w*O\w*)\b[^\n]*?/([\w.-]+)[\"']?\s*$",
    re.MULTILINE,
)
EXPANDED = re.compile(r"\{(\w+)\}|\$(\w+)")
BASH = re.compile(r"%%(?:bash|sh)\b")


def dotted(node: ast.AST) -> str:
    """Return the dotted name of an expression, "" when it has none."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id])) if isinstance(node, ast.Name) else ""


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((word.value for word in call.keywords if word.arg == name), None)


def _is(call: ast.Call, name: str, value: object) -> bool:
    """Tell whether an argument is given as this constant."""
    found = _keyword(call, name)
    return isinstance(found, ast.Constant) and found.value is value


class _Flow:
    """What is known of names, from cell to cell."""

    def __init__(self) -> None:
        self.foreign: set[str] = set()  # names that hold what strangers wrote
        self.files: set[str] = set()  # names of downloaded files
        self.constants: dict[str, str] = {}

    def is_foreign(self, node: ast.AST | None) -> bool:
        """Tell whether an expression holds what a stranger wrote."""
        stack = [node] if node else []
        while stack:
            part = stack.pop()
            if isinstance(part, ast.Call):
                name = dotted(part.func)
                if name in HARMLESS:
                    continue
                if name in FOREIGN:
                    return True
            if isinstance(part, ast.Name) and part.id in self.foreign:
                return True
            if isinstance(part, ast.Attribute) and dotted(part) in FOREIGN_VALUES:
                return True
            if isinstance(part, ast.Constant) and isinstance(part.value, str) and self._is_file(part.value):
                return True
            if not isinstance(part, ast.Lambda):
                stack += ast.iter_child_nodes(part)
        return False

    def _is_file(self, text: str) -> bool:
        return bool(self.files) and text.rsplit("/", 1)[-1] in self.files

    def is_built(self, node: ast.AST) -> bool:
        """Tell whether a text is put together with a name whose value is not constant."""
        if isinstance(node, ast.JoinedStr):
            fields = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
            return any(not isinstance(field, ast.Name) or field.id not in self.constants for field in fields)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
            return isinstance(node.func.value, ast.Constant)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            return isinstance(node.left, ast.Constant) and isinstance(node.left.value, str)
        return False

    def learn(self, node: ast.AST) -> None:
        """Follow an assignment, a `with` or a `for`."""
        pairs: list[tuple[ast.AST, ast.AST | None]] = []
        if isinstance(node, ast.Assign):
            pairs = [(target, node.value) for target in node.targets]
        elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)):
            pairs = [(node.target, node.value)]
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            pairs = [(item.optional_vars, item.context_expr) for item in node.items if item.optional_vars]
        elif isinstance(node, (ast.For, ast.AsyncFor, ast.comprehension)):
            pairs = [(node.target, node.iter)]
        for target, value in pairs:
            foreign = self.is_foreign(value)
            text = value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None
            for name in (part.id for part in ast.walk(target) if isinstance(part, ast.Name)):
                (self.foreign.add if foreign else self.foreign.discard)(name)
                self.constants.pop(name, None)
                if text is not None and not foreign:
                    self.constants[name] = text
        if isinstance(node, ast.Call) and dotted(node.func).endswith("urlretrieve") and len(node.args) > 1:
            self._fetched(node.args[1])

    def _fetched(self, target: ast.expr) -> None:
        if isinstance(target, ast.Constant) and isinstance(target.value, str):
            self.files.add(target.value.rsplit("/", 1)[-1])
        elif isinstance(target, ast.Name):
            self.foreign.add(target.id)


# ---------------------------------------------------------------- one call


def _executed(call: ast.Call, name: str, flow: _Flow) -> tuple[str, str, str] | None:
    if name in EXECUTES and call.args and flow.is_foreign(call.args[0]):
        return "eval-input", f"{name}() runs what a stranger wrote", "use ast.literal_eval or json.loads"
    text = call.args[0] if call.args else _keyword(call, "args")
    if text is None or not (name in SHELLS or (name in SUBPROCESS and _is(call, "shell", value=True))):
        return None
    if flow.is_foreign(text) or flow.is_built(text):
        return "shell-input", f"{name}() hands a composed text to a shell", "pass a list of arguments without a shell"
    return None


def _loaded(call: ast.Call, name: str, flow: _Flow) -> tuple[str, str, str] | None:
    if name == "yaml.load":
        loader = _keyword(call, "Loader") or (call.args[1] if len(call.args) > 1 else None)
        if loader is None or not SAFE_YAML.search(dotted(loader)):
            return "unsafe-load", "yaml.load() without SafeLoader can run code", "use yaml.safe_load"
        return None
    loads = name in LOADS or (name == "torch.load" and not _is(call, "weights_only", value=True))
    loads = loads or (name in ("np.load", "numpy.load") and _is(call, "allow_pickle", value=True))
    if loads and call.args and flow.is_foreign(call.args[0]):
        fix = "torch.load(..., weights_only=True)" if name == "torch.load" else "use a format that holds only data"
        return "unsafe-load", f"{name}() of downloaded data can run code", fix
    return None


def _unprotected(call: ast.Call, name: str) -> tuple[str, str, str] | None:
    if _is(call, "verify", value=False) or name.endswith("ssl._create_unverified_context"):
        return "no-tls-check", "the certificate of the server is not checked", "leave the check on, or name its CA file"
    if _is(call, "trust_remote_code", value=True):
        return "remote-code", "trust_remote_code=True runs code from a model's repository", "pin revision= to a commit"
    host = _keyword(call, "host")
    if isinstance(host, ast.Constant) and host.value == "0.0.0.0" and _is(call, "debug", value=True):  # noqa: S104 - searched for
        return "open-debugger", "a debug server listens to everybody", "use 127.0.0.1, or debug=False"
    return None


def _in_tree(tree: ast.AST, cell: int, flow: _Flow) -> Iterator[Risk]:
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            found = _executed(node, name, flow) or _loaded(node, name, flow) or _unprotected(node, name)
            if found:
                yield Risk(found[0], cell, node.lineno, found[1], found[2])
        elif isinstance(node, ast.Attribute) and dotted(node) in ("ssl._create_unverified_context", "ssl.CERT_NONE"):
            kind, message, fix = "no-tls-check", "the certificates of servers are not checked", "leave the check on"
            yield Risk(kind, cell, node.lineno, message, fix)
        flow.learn(node)
        stack += reversed(list(ast.iter_child_nodes(node)))


# ---------------------------------------------------------------- a notebook


def _in_shell(cell: int, source: str, flow: _Flow) -> Iterator[Risk]:
    lines = [(0, source)] if BASH.match(source) else [(m.start(), m[0]) for m in SHELL_LINE.finditer(source)]
    for start, text in lines:
        line = source.count("\n", 0, start) + 1
        flow.files.update(name.rsplit("/", 1)[-1] for pair in FETCHED.findall(text) for name in pair if name)
        for match in PIPED.finditer(text):
            at = line + text.count("\n", 0, match.start())
            yield Risk("piped-script", cell, at, "a downloaded script runs unseen", "download it, read it, then run it")
        if start or not BASH.match(source):
            names = {name for pair in EXPANDED.findall(text) for name in pair if name}
            if names & flow.foreign:
                yield Risk(
                    "shell-input", cell, line, "a shell line contains what a stranger wrote", "quote or check it"
                )


def _may_be_risky(source: str) -> bool:
    """Tell whether a cell names anything that could be a risk; the words only spare the slower search."""
    return any(word in source for word in SINK_WORDS) and SINKS.search(source) is not None


def risks(cells: Iterable[tuple[int, str]]) -> Iterator[Risk]:
    """Yield what is risky in the code cells (number, source) of a notebook, each kind once per line."""
    code = [(cell, source) for cell, source in cells if len(source) <= fold.MAX_CELL_CHARS]
    if not any(_may_be_risky(source) for _, source in code):
        return
    flow, seen = _Flow(), set[tuple[str, int, int]]()
    for cell, source in code:
        found = list(_in_shell(cell, source, flow)) if "!" in source or source.startswith("%%") else []
        names = flow.foreign and any(name in source for name in flow.foreign)
        if names or _may_be_risky(source) or SOURCES.search(source):
            tree = fold.parsed(fold.python_of(source))
            found += _in_tree(tree, cell, flow) if tree else []
        for risk in found:
            if risk[:3] not in seen:
                seen.add(risk[:3])
                yield risk
