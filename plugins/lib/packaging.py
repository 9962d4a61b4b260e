"""Build a package: the zip with `kagg_app.py`, `kagg_package.json` and data files that every deploy room takes.

The same source gives the same bytes: names sorted, times 1980-01-01, modes 0644 or 0755, one compression level.
`kagg_package.json` is {"version": 1, "entry", "source", "source_sha256", "requirements"}.
"""

from __future__ import annotations

import ast
import fnmatch
import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import Exit, Finding, KaggError, file_sha256, parse_notebook, safe_path, shared
from plugins.lib import folder_imports, package_needs, pip_files, pip_lines
from plugins.lib.notebook_module import parsed, to_module
from plugins.lib.package_entry import ENTRIES, find_entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kagg import Context

ENTRY_FILES = ("main.py", "app.py")
APP, MANIFEST = "kagg_app.py", "kagg_package.json"
# The smallest limit of a target: docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html, unzipped.
MAX_BYTES = 250 * 1024**2
MAX_FILES = 10_000
LEVEL = 6  # 9 takes 2.7 times as long for 0.7 % fewer bytes (numpy, pandas and scikit-learn, measured once)
KEY_FILES = (
    *("*.pem", "*.key", "*.p12", "*.pfx", "*.ppk", "*.jks", "*.kdbx", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*"),
    *(
        "kaggle.json",
        "wandb.md",
        "*credentials*.json",
        "*service*account*.json",
        "client_secret*.json",
        "*.env",
        ".env*",
    ),
)
CACHES = ("__pycache__", "node_modules", "*.egg-info", "*.pyc", "*.pyo")


class _Parts(NamedTuple):
    """What goes into a package. `files` maps names to text or to the path of a file."""

    app: bytes
    files: dict[str, bytes | Path]
    requirements: list[str]
    imports: list[str]  # requirements that only imports say
    findings: list[Finding]
    sha256: str


def build_package(
    source: Path, dest_zip: Path, ctx: Context, *, all_cells: bool = False, allowed: Iterable[str] = ()
) -> dict[str, Any]:
    """Write the package of a notebook, a script or a folder, and return its manifest and what there is to report.

    Of a notebook only the cells go along that its entry function depends on, unless `all_cells`.
    More than the manifest: `package` (path), `sha256`, `size_bytes`, `files` (names), `findings` (dictionaries).

    Raises:
        KaggError: USAGE for a source without entry function, not in Python or too large; INTEGRITY for a bad name;
            FINDINGS for a secret in what was packed, unless its id is `allowed`; there is no package then.
    """
    read = _folder_parts if source.is_dir() else _file_parts
    parts = read(source, ctx, all_cells=all_cells)
    entry = find_entry(parts.app, source.name)
    manifest = {
        "version": 1,
        "entry": entry,
        "source": source.resolve().name,
        "source_sha256": parts.sha256,
        "requirements": package_needs.joined(parts.requirements, parts.imports),
    }
    files = parts.files | {APP: parts.app, MANIFEST: json.dumps(manifest, indent=2, sort_keys=True).encode() + b"\n"}
    _check_size(files)
    write_zip(files, dest_zip)
    try:
        shared("secrets.gate").refuse(ctx, source.name, packed(dest_zip), allowed)
    except KaggError:
        dest_zip.unlink()
        raise
    for finding in parts.findings:
        place = "" if finding.cell is None else f"cell {finding.cell}: "
        ctx.say(f"{finding.severity}: {place}{finding.message}", 0 if finding.severity == "warning" else 1)
    return manifest | {
        "package": str(dest_zip),
        "sha256": file_sha256(dest_zip),
        "size_bytes": dest_zip.stat().st_size,
        "files": sorted(files),
        "findings": [finding._asdict() for finding in parts.findings],
    }


# ---------------------------------------------------------------------------------------------------------------------
# Sources
# ---------------------------------------------------------------------------------------------------------------------


def _file_parts(source: Path, ctx: Context, *, all_cells: bool) -> _Parts:
    """Read a notebook or a script."""
    if source.suffix not in (".ipynb", ".py"):
        raise KaggError(
            f"{source} is no notebook, script or folder", code=Exit.USAGE, hint="give a .ipynb or a .py file"
        )
    try:
        content = source.read_bytes()
    except OSError as error:
        raise KaggError(f"cannot read {source}: {error.strerror}", code=Exit.USAGE) from error
    sha256 = hashlib.sha256(content).hexdigest()
    if source.suffix == ".py":
        _check_python(content, source.name)
        imports, findings = package_needs.of_script(ctx, content, source)
        return _Parts(content, {}, [], imports, _neighbours(content, source) + findings, sha256)
    notebook, dropped = parse_notebook(content, str(source)), list[Finding]()
    if not all_cells:
        notebook, dropped = package_needs.sliced(ctx, notebook)
    module = to_module(notebook, source.name)
    imports, unknown = package_needs.of_notebook(ctx, notebook, source)
    files: dict[str, bytes | Path] = {_checked_name(name): text.encode() for name, text in module.files.items()}
    app = module.source.encode()
    findings = dropped + module.findings + unknown + _neighbours(app, source, set(files))
    return _Parts(app, files, module.requirements, imports, findings, sha256)


def _folder_parts(folder: Path, ctx: Context, *, all_cells: bool) -> _Parts:
    """Read a folder with exactly one entry file; everything else that is no key, cache or hidden file goes along."""
    kept, findings = _walk(folder)
    entries = [name for name in kept if name in ENTRY_FILES or ("/" not in name and name.endswith(".ipynb"))]
    if len(entries) != 1:
        found = f"{len(entries)} entry files: {', '.join(entries)}" if entries else "no entry file"
        hint = "leave exactly one of main.py, app.py and one notebook in it, or name the file itself"
        raise KaggError(f"{folder} has {found}", code=Exit.USAGE, hint=hint)
    entry = _file_parts(kept.pop(entries[0]), ctx, all_cells=all_cells)
    files = entry.files | {_checked_name(name): path for name, path in kept.items()}
    needs, unknown = folder_imports.needs(ctx, entry.app, kept)
    listed = pip_files.read(folder, "requirements.txt") if "requirements.txt" in kept else pip_files.NOTHING
    wanted, imports = pip_lines.Wanted(), pip_lines.Wanted()
    faults = [*listed.warnings, *wanted.update([*listed.without_refused(entry.requirements), *listed.wanted])]
    imports.update(listed.without_refused(entry.imports + needs))
    findings += [Finding("requirement", "warning", fault) for fault in faults]
    findings += [Finding("requirement", "note", note) for note in listed.notes] + unknown
    digest = hashlib.sha256(f"{entries[0]}\0{entry.sha256}\n".encode())
    for name in sorted(kept):
        digest.update(f"{name}\0{file_sha256(kept[name])}\n".encode())
    apart = [finding for finding in entry.findings if finding.kind != "neighbour"]
    return _Parts(entry.app, files, wanted.texts, imports.texts, apart + findings, digest.hexdigest())


def _walk(folder: Path) -> tuple[dict[str, Path], list[Finding]]:
    """Return the files to pack (name -> path) and a finding for each file or folder that stays behind."""
    kept: dict[str, Path] = {}
    findings: list[Finding] = []
    for place, folders, names in os.walk(folder):
        below = Path(place).relative_to(folder)
        for name in sorted(folders + names):
            path, shown = Path(place, name), (below / name).as_posix()
            reason = _why_not(path)
            if reason:
                severity = "warning" if reason == "key" else "note"
                findings.append(Finding("left out", severity, f"{shown} is left out ({reason})"))
                folders[:] = [one for one in folders if one != name]
            elif name not in folders:
                kept[shown] = path
        if len(kept) > MAX_FILES:
            raise KaggError(f"{folder} has more than {MAX_FILES} files", code=Exit.USAGE, hint="name the file itself")
    return kept, findings


def _why_not(path: Path) -> str:
    """Return why a file or folder is not packed, "" when it is."""
    name = path.name.lower()
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in KEY_FILES):
        return "key"
    if path.is_symlink():
        return "link"
    if name.startswith("."):
        return "hidden"
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in CACHES):
        return "cache"
    if (path / "pyvenv.cfg").exists():
        return "virtual environment"
    return "" if path.is_file() or path.is_dir() else "not a file"


def _neighbours(app: bytes, source: Path, files: set[str] | None = None) -> list[Finding]:
    """Warn of imports that only work beside the source."""
    imported = {
        name.partition(".")[0]
        for node in ast.walk(parsed(app))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    return [
        Finding("neighbour", "warning", f"{name}.py beside {source.name} is not packed", fix="deploy the folder")
        for name in sorted(imported)
        if name and f"{name}.py" not in (files or ()) and source.with_name(f"{name}.py").is_file()
    ]


def _checked_name(name: str) -> str:
    if name.lower() in (APP, MANIFEST):
        raise KaggError(f"{name} is a name that packages use themselves", code=Exit.USAGE, hint="rename the file")
    safe_path(Path("package"), name)
    return name


def _check_size(files: dict[str, bytes | Path]) -> None:
    sizes = {n: len(found) if isinstance(found, bytes) else found.stat().st_size for n, found in files.items()}
    total = sum(sizes.values())
    if total > MAX_BYTES:
        largest = max(sizes, key=sizes.__getitem__)
        message = f"the package has {total} bytes, {MAX_BYTES} at most; {largest} alone has {sizes[largest]}"
        raise KaggError(message, code=Exit.USAGE, hint="leave data out that the entry function does not read")


def _check_python(content: bytes, name: str) -> None:
    try:
        parsed(content, run=True)
    except SyntaxError as error:
        raise KaggError(f"{name}, line {error.lineno}: {error.msg}", code=Exit.USAGE) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise KaggError(f"{name} is not Python: {error}", code=Exit.USAGE) from error


# ---------------------------------------------------------------------------------------------------------------------
# Zip files
# ---------------------------------------------------------------------------------------------------------------------


def write_zip(files: dict[str, bytes | Path], dest: Path) -> None:
    """Write a zip whose bytes depend on names, contents and the executable bit only; it appears when it is whole."""
    dest.parent.mkdir(parents=True, exist_ok=True)
    part = dest.with_name(f".{dest.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as archive:
            for name in sorted(files):
                _add(archive, name, files[name])
        part.replace(dest)
    finally:
        part.unlink(missing_ok=True)


def _add(archive: zipfile.ZipFile, name: str, found: bytes | Path) -> None:
    runs = isinstance(found, Path) and os.access(found, os.X_OK)
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.create_system = 3  # Unix, so that the mode counts; without a mode the file would be 0600 for others' loaders
    entry.external_attr = (0o100755 if runs else 0o100644) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    if isinstance(found, bytes):
        archive.writestr(entry, found, compresslevel=LEVEL)
        return
    entry.file_size = found.stat().st_size
    with found.open("rb") as source, archive.open(entry, "w") as dest:
        shutil.copyfileobj(source, dest, 1024 * 1024)


def packed(package: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes) of every file in a package."""
    with zipfile.ZipFile(package) as archive:
        for entry in archive.infolist():
            yield entry.filename, archive.read(entry)


def unpack(package: Path, folder: Path) -> dict[str, Any]:
    """Unpack a package into the new folder `folder`, which appears when it is whole, and return its manifest.

    Raises:
        KaggError: INTEGRITY for a file that is no package, a hostile name, a link, or too many bytes.
    """
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(package) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_FILES + 2 or sum(entry.file_size for entry in entries) > 2 * MAX_BYTES:
                raise KaggError(f"{package.name} is larger than a package may be", code=Exit.INTEGRITY)
            part.mkdir(parents=True)
            for entry in entries:
                _extract(archive, entry, part)
        manifest: dict[str, Any] = json.loads((part / MANIFEST).read_bytes())
        if manifest.get("entry") not in ENTRIES or not (part / APP).is_file():
            raise KaggError(f"{package.name} has no entry function", code=Exit.INTEGRITY)
        part.replace(folder)
    except (OSError, zipfile.BadZipFile, ValueError, AttributeError, NotImplementedError, RuntimeError) as error:
        raise KaggError(f"{package.name} is not a package: {error}", code=Exit.INTEGRITY) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return manifest


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    kind = entry.external_attr >> 28
    if entry.is_dir() or kind not in (0, 0o10):  # 0o10 = S_IFREG >> 12
        raise KaggError(f"refused {entry.filename[:80]!r}: packages hold plain files", code=Exit.INTEGRITY)
    dest = safe_path(folder, entry.filename)
    dest.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as source, dest.open("xb") as stream:
        shutil.copyfileobj(source, stream, 1024 * 1024)
    dest.chmod(0o755 if entry.external_attr >> 16 & 0o111 else 0o644)
