"""Fetch what a Kaggle session left: every page, several files at once, hostile names refused one by one."""

from __future__ import annotations

import contextlib
import fnmatch
import queue
import tempfile
import threading
import unicodedata
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from kagg import KERNELS, Exit, KaggError, kaggle_pages, kaggle_rpc, safe_path, service_error
from plugins.lib.download import store

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from kagg import Context, Ref

File = dict[str, Any]  # {"path", "size_bytes", "sha256"}

PARALLEL, PARALLEL_SMALL = 4, 8  # of small files the wait for the answer is the longest part
SMALL_BYTES = 1 << 20
PAGE_SIZE = 200  # the largest that ListKernelSessionOutput takes
MAX_FILES = 1_000_000
SAY_AFTER_S, SAY_EVERY_S = 5.0, 30.0
MAX_EMPTY = 10  # pages in a row without a file, before a listing counts as over


class _Count:
    """Say how many items of a long list there are so far."""

    def __init__(self, ctx: Context, ref: Ref, what: str) -> None:
        self.ctx, self.ref, self.what = ctx, ref, what
        self.say_at_s = ctx.monotonic() + SAY_AFTER_S

    def tell(self, count: int) -> None:
        """Show the count; after a while a line says it as well, from time to time."""
        self.ctx.progress({"listing": str(self.ref), self.what: count})
        if self.ctx.monotonic() >= self.say_at_s:
            self.ctx.say(f"listing the {self.what}: {count:,} files so far")
            self.say_at_s = self.ctx.monotonic() + SAY_EVERY_S


def kernel_outputs(ctx: Context, ref: Ref, *, only_log: bool = False) -> tuple[list[dict[str, Any]], str]:
    """Return the files [{"fileName", "url"}] of all pages, and the stored log (a JSON array as text, "" at first).

    With `only_log` the pages behind the log are not asked for.
    """
    files: list[dict[str, Any]] = []
    count = _Count(ctx, ref, "outputs")
    tokens, token, log, empty = {""}, "", "", 0
    while True:
        body = {**ref.body(), "pageSize": PAGE_SIZE, "pageToken": token or None}
        reply = kaggle_rpc(ctx, KERNELS + "ListKernelSessionOutput", body)
        found = [item for item in reply.get("files") or [] if isinstance(item, dict)]
        files += found
        empty = 0 if found else empty + 1
        log = log or str(reply.get("log") or "")
        token = str(reply.get("nextPageToken") or "")
        over = token in tokens or empty >= MAX_EMPTY or len(files) >= MAX_FILES  # "", or one that repeats itself
        if over or (only_log and log):
            return files, log
        tokens.add(token)
        count.tell(len(files))


def kernel_files(ctx: Context, ref: Ref) -> dict[str, int]:
    """Return the sizes in bytes of the output files whose size the server tells."""
    count, sizes = _Count(ctx, ref, "sizes of the outputs"), {}
    for item in kaggle_pages(ctx, KERNELS + "ListKernelFiles", ref.body(), "files", MAX_FILES):
        sizes[str(item.get("name") or "")] = item.get("size")
        if len(sizes) % PAGE_SIZE == 0:
            count.tell(len(sizes))
    return {name: int(size) for name, size in sizes.items() if isinstance(size, int | str) and str(size).isdigit()}


def told_sizes(ctx: Context, ref: Ref) -> dict[str, int]:
    """Return the sizes, {} from a server that does not tell; they only add a check."""
    try:
        return kernel_files(ctx, ref)
    except KaggError as error:
        ctx.say(f"the sizes of the outputs are not known: {error.message}", 1)
        return {}


class Listing:
    """Names and signed URLs; asked again when a URL has expired, once for all files that wait."""

    def __init__(self, ctx: Context, ref: Ref) -> None:
        self.ctx, self.ref = ctx, ref
        self.lock = threading.Lock()
        self.names: list[str] = []
        self.urls: dict[str, str] = {}
        self.read()

    def read(self) -> None:
        """Ask for the listing."""
        found = kernel_outputs(self.ctx, self.ref)[0]
        self.names = [str(item.get("fileName") or "") for item in found]
        self.urls = {}
        for item in found:  # of two files with one name the first is kept
            self.urls.setdefault(str(item.get("fileName") or ""), str(item.get("url") or ""))

    def source(self, name: str) -> Callable[[], str]:
        """Return the `get_url` of one file: another URL each time."""
        given: set[str] = set()

        def get_url() -> str:
            with self.lock:
                if self.urls.get(name) in given:
                    self.read()
                url = self.urls.get(name)
            if not url:
                raise service_error(f"{name} is no longer among the outputs of {self.ref}")
            given.add(url)
            return url

        return get_url


def _ignores_case(folder: Path) -> bool:
    """Tell whether `A` and `a` are one file in this folder."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".kagg-case-", suffix="x") as probe:
        return Path(probe.name[:-1] + "X").exists()


def sort_out(
    names: Sequence[str], dest: Path, place: Callable[[Path, str], Path] = safe_path
) -> tuple[dict[str, Path], dict[str, KaggError]]:
    """Return where the names go that `place` can store below `dest`, and why the others cannot."""
    same, find = _ignores_case(dest), _finder(dest, place)
    folders = {str(above) for name in {name.rpartition("/")[0] for name in names} for above in _and_above(name)}
    parts = {f"{above}{slash}.{last}" for above, slash, last in (name.rpartition("/") for name in names) if last}
    parts = {f"{name}{end}" for name in parts for end in (".part", ".part.json")}  # what download() keeps meanwhile
    taken: dict[str, str] = {}
    kept: dict[str, Path] = {}
    faults: dict[str, KaggError] = {}
    for name in dict.fromkeys(names):
        key = unicodedata.normalize("NFC", name).casefold() if same else name
        reason = "it is a folder too" if name in folders else f"here it is {taken[key]!r}" if key in taken else ""
        reason = reason or ("the download of another file needs it" if name in parts else "")
        try:
            path = find(name)
        except KaggError as error:
            faults[name] = error
            continue
        if reason:
            faults[name] = KaggError(f"refused the file name {name[:80]!r}: {reason}", code=Exit.INTEGRITY)
            continue
        taken[key] = name
        kept[name] = path
    return kept, faults


def _and_above(folder: str) -> list[PurePosixPath]:
    """Return a folder and all above it."""
    return [PurePosixPath(folder), *PurePosixPath(folder).parents]


def _finder(dest: Path, place: Callable[[Path, str], Path]) -> Callable[[str], Path]:
    """Return `place` below `dest`, which follows the links of a folder once, not for each of its files."""
    top, known = Path(dest.absolute().anchor), set[str]()

    def find(name: str) -> Path:
        folder = name.replace("\\", "/").rpartition("/")[0]
        if folder in known:
            path = dest / place(top, name).relative_to(top)  # the name by itself
            if not path.is_symlink():
                return path
        path = place(dest, name)
        known.add(folder)
        return path

    return find


def passes(name: str, include: Iterable[str], exclude: Iterable[str]) -> bool:
    """Tell whether a name passes the shell patterns; `*` also matches `/`."""
    patterns = list(include)
    inside = not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    return inside and not any(fnmatch.fnmatchcase(name, pattern) for pattern in exclude)


def _attempted(name: str, do: Callable[[str], File]) -> File | KaggError:
    """Return what `do` returns or why it failed."""
    try:
        return do(name)
    except KaggError as error:
        return error
    except OSError as error:  # disk full, a folder that cannot be written
        return KaggError(f"{name}: {error.strerror or error}")


def in_parallel(
    names: Collection[str], do: Callable[[str], File], size_bytes: int | None = None
) -> Iterator[tuple[str, File | KaggError]]:
    """Yield (name, outcome) as they come. Daemon threads: Ctrl-C does not wait for a large file.

    `size_bytes`: how much it is together, as far as that is known.
    """
    small = size_bytes is not None and size_bytes <= SMALL_BYTES * len(names)
    most = PARALLEL_SMALL if small else PARALLEL
    todo: queue.SimpleQueue[str] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[str, File | KaggError]] = queue.SimpleQueue()
    for name in names:
        todo.put(name)

    def work() -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                name = todo.get_nowait()
                done.put((name, _attempted(name, do)))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(most, len(names)))]
    for thread in threads:
        thread.start()
    waiting = len(names)
    while waiting:
        try:
            yield done.get(timeout=1.0)
            waiting -= 1
        except queue.Empty:
            if not any(thread.is_alive() for thread in threads) and done.empty():
                raise RuntimeError(f"{waiting} downloads ended without an outcome") from None


def collect_outputs(
    ctx: Context,
    ref: Ref,
    dest: Path,
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    on_file: Callable[[File], None] | None = None,
) -> list[File]:
    """Fetch the outputs of a session into `dest` and return [{"path", "size_bytes", "sha256"}] by path.

    A file that fails does not stop the others. Each failure is said as it happens.

    Raises:
        KaggError: at the end, when a file was not kept: INTEGRITY if a name was refused or a check failed, FAILED if
            this machine could not store one, else SERVICE. `details["files"]` holds what arrived, `details["failed"]`
            {name: reason}.
    """
    dest.mkdir(parents=True, exist_ok=True)
    listing = Listing(ctx, ref)
    wanted = [name for name in listing.names if passes(name, include, exclude)]
    paths, faults = sort_out(wanted, dest)
    sizes = told_sizes(ctx, ref) if paths else {}

    def one(name: str) -> File:
        got = store(ctx, listing.source(name), paths[name], size_bytes=sizes.get(name), durable=False)
        return {"path": name, "size_bytes": got.size_bytes, "sha256": got.sha256}

    for error in faults.values():
        ctx.say(f"{ref}: {error.message}", -1)
    files: list[File] = []
    for name, outcome in in_parallel(paths, one, sum(sizes.values()) if sizes else None):
        if isinstance(outcome, KaggError):
            faults[name] = outcome
            ctx.say(f"{ref}: {outcome.message}", -1)
            continue
        files.append(outcome)
        if on_file:
            on_file(outcome)
    files.sort(key=lambda file: str(file["path"]))
    if faults:
        raise kept_in_part(ref, faults, files)
    return files


def kept_in_part(ref: Ref, faults: dict[str, KaggError], files: list[File]) -> KaggError:
    """Return one error for all files that were not kept."""
    codes = [error.code for error in faults.values()]
    code = next((code for code in (Exit.INTEGRITY, Exit.FAILED) if code in codes), Exit.SERVICE)
    details = {"files": files, "failed": {name: error.message for name, error in faults.items()}}
    count = f"{len(faults)} of {len(faults) + len(files)} output files"
    return KaggError(f"{ref}: {count} were not kept", code=code, hint="each is named above", details=details)
