"""The house rules as functions: source text in, breaches out; an empty list is a pass."""

from __future__ import annotations

import ast
import io
import re
import statistics
import subprocess
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SPINE = ROOT / "kagg.py"

SPINE_LINES = 2039  # the design says 1,200; DECISIONS.md says why it is more; only down
SECTION_LINES = 240
ROOM_LINES = 350
FUNCTION_LINES = 80
LONG_FUNCTION_LINES = 50
LONG_FUNCTION_SHARE = 0.02
MEDIAN_FUNCTION_LINES = 10

VENDOR = re.compile(
    r"\b(?:aws|amazon|boto3?|botocore|s3|sagemaker|gcp|gcs|gcloud|google|vertex|azure|modal|heroku|vercel|databricks|"
    r"dropbox|slack|wandb|mlflow|dask|celery|supabase)\b|"
    r"lambda[ _-]function|cloud[ _-]run|weights\s*(?:&|and)\s*biases",
    re.IGNORECASE,
)
# REF takes links of Google Drive, so its host names may stand in the spine.
ALLOWED_VENDOR = re.compile(r"(?:drive|docs|usercontent|research)\.google\.com|google[ _-]drive", re.IGNORECASE)

MACHINE_PATHS = re.compile(r"(?<![\w.~$})-])(?:/wo" + r"rk/|/ro" + r"ot/|/tmp/ba" + r"sh)")


def relative(path: Path) -> str:
    """Return the path as people say it."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


def shared_files() -> list[Path]:
    """plugins/lib/**, without the empty package files."""
    return [path for path in sorted((ROOT / "plugins" / "lib").rglob("*.py")) if path.stat().st_size]


def room_files() -> list[Path]:
    """plugins/<kind>/<name>.py: every room."""
    return [
        path
        for path in sorted((ROOT / "plugins").glob("*/*.py"))
        if path.parent.name != "lib" and path.name != "__init__.py"
    ]


def product_files() -> list[Path]:
    """Everything that ships and is Python, the spine first."""
    return [SPINE, *shared_files(), *room_files()]


def project_files() -> list[Path]:
    """Every file of the project: what git knows or would add; without git, everything but hidden folders."""
    listing = subprocess.run(
        ["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, capture_output=True, timeout=30, check=False
    )
    if listing.returncode == 0:
        names = [name for name in listing.stdout.decode().split("\0") if name]
        return [ROOT / name for name in sorted(names) if (ROOT / name).is_file()]
    return [
        path
        for path in ROOT.rglob("*")
        if path.is_file() and not re.search(r"/\.(?!ci/)|__pycache__", path.as_posix()[len(str(ROOT)) :])
    ]


# --- imports ---------------------------------------------------------------------------------------------------------


def imported_modules(source: str, package: str) -> set[str]:
    """Return each module that the source imports anywhere, relative ones resolved against `package`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found.add(base)
            if base == "plugins" or base.count(".") == 0:  # `from plugins import deploy` names the kind last
                found.update(f"{base}.{alias.name}" for alias in node.names)
    return found


def import_breaches(source: str, place: str, package: str) -> list[str]:
    """Imports that point the wrong way. `place` is spine, lib or room."""
    modules = {name for name in imported_modules(source, package) if name.split(".")[0] == "plugins"}
    if place == "spine":
        return [f"the spine imports {name}" for name in sorted(modules)]
    wrong = [name for name in sorted(modules) if name != "plugins" and not (name + ".").startswith("plugins.lib.")]
    return [f"{package} imports {name}" for name in wrong]


# --- words -----------------------------------------------------------------------------------------------------------


def vendor_breaches(source: str) -> list[str]:
    """Lines that name a vendor other than Kaggle."""
    found = []
    for number, line in enumerate(source.splitlines(), 1):
        match = VENDOR.search(ALLOWED_VENDOR.sub("", line.replace("\\", "")))  # host names stand in patterns
        if match:
            found.append(f"line {number} says {match[0]!r}")
    return found


def machine_path_breaches(text: str) -> list[str]:
    """Lines that name a folder of the machine something was written on."""
    return [
        f"line {number}: {line.strip()[:100]}"
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE_PATHS.search(line)
    ]


# --- manifests -------------------------------------------------------------------------------------------------------


def manifest_breaches(source: str) -> list[str]:
    """What is wrong with a room's PLUGIN, read without running the room."""
    tree = ast.parse(source)
    values = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == "PLUGIN" for target in node.targets)
    ]
    if len(values) != 1:
        return [f"{len(values)} PLUGIN assignments"]
    try:
        manifest = ast.literal_eval(values[0])
    except ValueError:
        return ["PLUGIN is computed, not a literal"]
    wrong = [] if ast.get_docstring(tree) else ["no docstring"]
    if manifest.get("api") != 1:
        wrong.append(f"api is {manifest.get('api')!r}, not 1")
    if not isinstance(manifest.get("summary"), str) or not 0 < len(manifest["summary"]) <= 100:
        wrong.append("summary is not a line of 1 to 100 characters")
    needs = manifest.get("requires")
    if not isinstance(needs, dict) or not all(
        re.match(r"[A-Za-z0-9_.-]+(\[[\w,-]+\])?(\s*[<>=!~].+)?$", str(need)) for need in needs.values()
    ):
        wrong.append("requires is not a table of import name -> pip requirement")
    return wrong


# --- sizes -----------------------------------------------------------------------------------------------------------


def line_count(path: Path) -> int:
    """Return how many lines a file has."""
    return len(path.read_text().splitlines())


def sections(source: str) -> dict[str, int]:
    """Return how many lines each titled section has; a title is a comment between two rules of dashes."""
    lines = source.splitlines()
    starts = [(0, "(top)")]
    for number in range(len(lines) - 2):
        rule, title, closing = lines[number : number + 3]
        if re.fullmatch(r"# ?-{20,}", rule) and closing == rule and title.startswith("# "):
            starts.append((number, title[2:]))
    ends = [start for start, _ in starts[1:]] + [len(lines)]
    return {title: end - start for (start, title), end in zip(starts, ends, strict=True)}


def code_lines(source: str) -> set[int]:
    """Return the numbers of the lines that hold code: no blank lines, comments or docstrings."""
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skipped:
            found.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
            and isinstance(body[0].value.value, str)
        ):
            found.difference_update(range(body[0].lineno, (body[0].end_lineno or body[0].lineno) + 1))
    return found


def function_sizes(source: str) -> dict[str, int]:
    """Return the lines of code of every function, its `def` line included."""
    code = code_lines(source)
    return {
        f"{node.name}:{node.lineno}": sum(node.lineno <= line <= (node.end_lineno or node.lineno) for line in code)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def size_breaches(sources: dict[str, str]) -> list[str]:
    """Functions that are too long, alone or taken together."""
    sizes = {
        f"{file}:{name}": size for file, source in sources.items() for name, size in function_sizes(source).items()
    }
    found = [
        f"{name} has {size} lines of code, {FUNCTION_LINES} at most"
        for name, size in sizes.items()
        if size > FUNCTION_LINES
    ]
    long = sorted(name for name, size in sizes.items() if size > LONG_FUNCTION_LINES)
    if len(long) > LONG_FUNCTION_SHARE * len(sizes):
        found.append(
            f"{len(long)} of {len(sizes)} functions have over {LONG_FUNCTION_LINES} lines of code: {', '.join(long)}"
        )
    median = statistics.median(sizes.values()) if sizes else 0
    if median > MEDIAN_FUNCTION_LINES:
        found.append(f"the median function has {median} lines of code, {MEDIAN_FUNCTION_LINES} at most")
    return found


# --- streams ---------------------------------------------------------------------------------------------------------


def is_program(path: Path) -> bool:
    """Say whether a file runs as a process of its own, whose streams are its protocol; x_y.py is a part of x.py."""
    names = [path.name, *(f"{path.stem[:cut]}.py" for cut in range(len(path.stem)) if path.stem[cut] == "_")]
    files = [path.with_name(name) for name in names if path.with_name(name).is_file()]
    return any('if __name__ == "__main__":' in file.read_text() for file in files)


def stream_breaches(source: str, allowed: tuple[str, ...] = ()) -> list[str]:
    """Uses of print, sys.stdout and sys.stderr outside the classes and functions named in `allowed`."""
    tree = ast.parse(source)
    free: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name in allowed:
            free.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    found = []
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if line in free:
            continue
        if (
            isinstance(node, ast.Attribute)
            and node.attr in ("stdout", "stderr")
            and isinstance(node.value, ast.Name)
            and node.value.id == "sys"
        ):
            found.append(f"line {line} uses sys.{node.attr}")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            found.append(f"line {line} prints")
    return found


# --- documentation ---------------------------------------------------------------------------------------------------


def environment_variables(source: str) -> set[str]:
    """Return the KAGG_* variables that the source names."""
    return set(re.findall(r"\bKAGG_[A-Z][A-Z_]*[A-Z]\b", source))


def undocumented(readme: str, *, commands: set[str], codes: set[int], variables: set[str]) -> list[str]:
    """What README.md does not mention: commands in code, exit codes as a table row, variables by name."""
    absent = [
        f"command {name}"
        for name in sorted(commands)
        if not re.search(
            rf"kagg(?:\.py|\.pyz)?(?: -[-\w]+(?: local)?)* {re.escape(name)}\b|`{re.escape(name)}[` ]", readme
        )
    ]
    absent += [
        f"exit code {code}" for code in sorted(codes) if not re.search(rf"^\| *`?{code}`? *\|", readme, re.MULTILINE)
    ]
    return absent + [f"variable {name}" for name in sorted(variables) if not re.search(rf"\b{name}\b", readme)]
