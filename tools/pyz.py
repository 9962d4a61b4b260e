"""Build kagg.pyz: one file with kagg.py, every room and the example kernels. `python tools/pyz.py [DEST]`.

Only the standard library; no third-party package goes inside. The same files give the same bytes: names are sorted,
dates are 1980-01-01 (the earliest a zip can hold), modes are fixed, and the name of this machine appears nowhere.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("kagg.py", "plugins", "batch_examples", "requirements.txt")
SKIPPED_SUFFIXES = {".pyc", ".pyo", ".tmp", ".lock"}


def collect(root: Path) -> dict[str, bytes]:
    """Return what goes inside, by its path with `/`; links are refused, they would be copied from elsewhere."""
    files: dict[str, bytes] = {}
    for part in PARTS:
        top = root / part
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            name = path.relative_to(root).as_posix()
            if path.is_symlink():
                sys.exit(f"{name} is a link; kagg.pyz takes files only")
            hidden = any(piece.startswith(".") or piece == "__pycache__" for piece in name.split("/"))
            if path.is_file() and not hidden and path.suffix not in SKIPPED_SUFFIXES:
                files[name] = path.read_bytes()
    return files


def entry(name: str) -> zipfile.ZipInfo:
    """Return the fixed zip header of a file: no date, mode 0644, made on Unix, deflated."""
    header = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    header.create_system = 3
    header.external_attr = 0o100644 << 16
    header.compress_type = zipfile.ZIP_DEFLATED
    return header


def build(root: Path, destination: Path) -> str:
    """Write the archive to `destination` by rename, executable, and return its SHA-256."""
    files = collect(root)
    manifest = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    files["MANIFEST"] = manifest.encode()
    files["__main__.py"] = (root / "tools" / "pyz_main.py").read_bytes()
    descriptor, temporary = tempfile.mkstemp(dir=destination.resolve().parent, prefix=".pyz-")
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(b"#!/usr/bin/env python3\n")
            with zipfile.ZipFile(out, "w", compresslevel=9) as archive:
                for name in sorted(files):
                    archive.writestr(entry(name), files[name])
        Path(temporary).chmod(0o755)
        Path(temporary).replace(destination)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return hashlib.sha256(destination.read_bytes()).hexdigest()


def main() -> int:
    """Build, and print the SHA-256, the size and the name of what was built."""
    parser = argparse.ArgumentParser(description="Build kagg.pyz.", allow_abbrev=False)
    parser.add_argument("dest", nargs="?", default="kagg.pyz", type=Path, help="file to write (default: %(default)s)")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of kagg.py (default: this checkout)")
    args = parser.parse_args()
    digest = build(args.root, args.dest)
    print(f"{digest}  {args.dest}  {args.dest.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
