"""Execute a notebook and tell what it prints while it prints it.

A stand-alone script, so that a crash of nbclient or of the kernel cannot take its caller along:

    python -P notebook_runner.py IN.ipynb OUT.ipynb [--cwd DIR] [--path DIR] [--params FILE.json] [--timeout SECONDS]
        [--cells]

(`-P` keeps the files beside this one from hiding packages of the same name.)

Stdout carries JSON lines: `{"stream_name": "stdout"|"stderr", "time": s, "data": text}` as they happen, with `--cells`
also `{"event": "cell", "cell": n, "time": s}`, and last of all

    {"event": "end", "status": "complete"|"error", "reason": null|"raised"|"timeout"|"kernel"|"stopped"|"input",
     "cell": n|null, "ename", "evalue", "traceback_last_line", "traceback": [lines], "duration_s": s}

Cells are counted from 0 over all cells of IN. Exit code: 0 complete, 1 the run failed, 2 bad input. OUT is written
atomically with whatever outputs there are, also after an error, a time-out, a dead kernel, SIGTERM or SIGINT.
The kernel is the Python that runs this script, whatever kernel the notebook names. It and its children die with us.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":  # started by its path, from anywhere: our own parts first, for this import only
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from plugins.lib import notebook_file
from plugins.lib.notebook_file import BadInputError
from plugins.lib.notebook_kernel import Kernel, runtime_folder

if __name__ == "__main__":
    del sys.path[0]

NEEDS = ("nbclient", "nbformat", "ipykernel")
DATA_CHARS = 32_768  # longest text of one event, so that no reader needs a huge line buffer
INTERRUPT_GRACE_S = 3.0  # between the interrupt and the kill, for `finally` blocks of the notebook
TRACEBACK_LINES = 30
ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07")


class End(NamedTuple):
    """How a run ended: the fields of the last event."""

    reason: str | None
    cell: int | None = None
    ename: str | None = None
    evalue: str | None = None
    traceback: tuple[str, ...] = ()


class Log:
    """Events on stdout, timed from the start of this process."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.raised: dict[str, Any] | None = None

    def elapsed_s(self) -> float:
        """Return the seconds since the run began."""
        return round(time.monotonic() - self.started, 6)

    def write(self, event: dict[str, Any]) -> None:
        """Write one event as one line of ASCII JSON, so that U+2028 and lone surrogates survive every reader."""
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()

    def text(self, stream: str, text: str) -> None:
        """Report what the notebook printed, in pieces of bounded length."""
        for start in range(0, len(text), DATA_CHARS):
            piece = text[start : start + DATA_CHARS]
            self.write({"stream_name": stream, "time": self.elapsed_s(), "data": piece})

    def cell(self, index: int) -> None:
        """Report that a cell begins."""
        self.write({"event": "cell", "cell": index, "time": self.elapsed_s()})

    def message(self, kind: str, content: dict[str, Any]) -> None:
        """Turn a message of the kernel's output channel into events."""
        if kind == "stream":
            self.text(content["name"], content["text"])
        elif kind in {"execute_result", "display_data"} and "text/plain" in content["data"]:
            self.text("stdout", _line(content["data"]["text/plain"]))
        elif kind == "error":
            self.raised = content
            self.text("stderr", _line("\n".join(_plain(content["traceback"]))))

    def end(self, end: End) -> None:
        """Write the last event."""
        last_line = f"{end.ename}: {end.evalue}".rstrip(": ") if end.ename else None
        facts = {"event": "end", "status": "error" if end.reason else "complete", "duration_s": self.elapsed_s()}
        self.write(facts | end._asdict() | {"traceback_last_line": last_line})


def _line(text: str | list[str]) -> str:
    """Return text that ends its line; some kernels send lists of lines."""
    joined = "".join(text)
    return joined if joined.endswith("\n") else joined + "\n"


def _plain(traceback: list[str]) -> list[str]:
    """Return the lines of a traceback without terminal colours."""
    return ANSI.sub("", "\n".join(traceback)).splitlines()


# ---------------------------------------------------------------- the run


async def run(notebook: Any, log: Log, args: argparse.Namespace) -> End:
    """Execute `notebook` in place and say how it ended; SIGINT and SIGTERM end it early."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows has no loop signals
            asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def hear(kind: str, content: dict[str, Any]) -> None:
        try:
            log.message(kind, content)
        except BrokenPipeError:  # whoever read our events is gone, and nbclient would notice only after the cell
            stop.set()

    timeout_s = args.timeout
    with runtime_folder() as folder:
        kernel = Kernel(notebook, folder, hear)
        work = asyncio.ensure_future(_work(kernel, log, args))
        stopped = asyncio.ensure_future(stop.wait())
        left_s = None if timeout_s is None else max(0.0, timeout_s - log.elapsed_s())
        end = End("kernel")
        try:
            await asyncio.wait({work, stopped}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                end = await _finished(work, kernel, log)
            elif stop.is_set():
                end = End("stopped", kernel.cell, "Terminated", "the run was told to stop")
            else:
                end = End("timeout", kernel.cell, "TimeoutError", f"the run took longer than {timeout_s:g} s")
            await _break_off(work, kernel)
        finally:
            stopped.cancel()
            await kernel.close(now=end.reason is not None)
    return end


async def _work(kernel: Kernel, log: Log, args: argparse.Namespace) -> None:
    """Start the kernel and execute all cells."""
    await kernel.start(args.cwd.resolve(), args.path)
    await kernel.execute(log.cell if args.cells else lambda _: None)


async def _finished(work: asyncio.Future[None], kernel: Kernel, log: Log) -> End:
    """Turn the outcome of the cells into the end of the run."""
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    error = work.exception()
    if error is None:
        return End(None)
    if isinstance(error, CellExecutionError):
        lines = _plain(log.raised["traceback"]) if log.raised else []
        value = ANSI.sub("", error.evalue)
        return End("raised", kernel.cell, error.ename, value, tuple(lines[-TRACEBACK_LINES:]))
    if isinstance(error, (DeadKernelError, RuntimeError, TimeoutError)):  # RuntimeError: it never became ready
        alive = kernel.manager.has_kernel and await kernel.manager.is_alive()
        words = str(error).strip().splitlines()[0] if alive else await kernel.death()
        return End("kernel", kernel.cell, "DeadKernelError", words)
    raise error


async def _break_off(work: asyncio.Future[None], kernel: Kernel) -> None:
    """Give the running cell a moment to clean up, then give up on it."""
    if not work.done():
        await kernel.interrupt()
        await asyncio.wait({work}, timeout=INTERRUPT_GRACE_S)
        work.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):  # reported already
        await work


# ---------------------------------------------------------------- command line


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="notebook_runner.py", allow_abbrev=False, description="Execute a notebook.")
    parser.add_argument("source", type=Path, metavar="IN.ipynb")
    parser.add_argument("result", type=Path, metavar="OUT.ipynb")
    parser.add_argument("--cwd", type=Path, default=Path(), help="folder that the cells run in (default: here)")
    parser.add_argument("--path", type=Path, help="folder that the notebook may import from, as PYTHONPATH")
    parser.add_argument("--params", type=Path, help="JSON file with one object of parameters")
    parser.add_argument("--timeout", type=float, help="seconds for the whole run")
    parser.add_argument("--cells", action="store_true", help="also report the beginning of each cell")
    return parser


def _run(args: argparse.Namespace, log: Log) -> End:
    """Read, execute and write."""
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        names = " ".join(missing)
        raise BadInputError(f"{sys.executable} lacks {names}; run: {sys.executable} -m pip install {names}")
    if not args.cwd.is_dir():
        raise BadInputError(f"{args.cwd} is not a folder")
    notebook = notebook_file.read_notebook(args.source)
    result = args.result.resolve()
    injected: int | None = None
    if args.params:
        before = len(notebook.cells)
        index, warnings = notebook_file.inject(notebook, notebook_file.read_parameters(args.params))
        injected = index if len(notebook.cells) > before else None
        for warning in warnings:
            log.text("stderr", f"warning: {warning}\n")
    if sys.platform == "win32":  # zmq cannot wait on the default loop of Windows
        asyncio.set_event_loop_policy(asyncio.WindowsSelectorEventLoopPolicy())
    try:
        end = asyncio.run(run(notebook, log, args))
    finally:
        notebook_file.write_notebook(notebook, result)
    if end.cell is not None and injected is not None:
        end = end._replace(cell=None if end.cell == injected else end.cell - (end.cell > injected))
    return end


def main(argv: list[str] | None = None) -> int:
    """Run as a script; see the top of this file."""
    args = _parser().parse_args(argv)
    log = Log()
    try:
        end = _run(args, log)
        log.end(end)
    except BadInputError as error:
        sys.stderr.write(f"notebook_runner: error: {error}\n")
        log.end(End("input", None, "BadInput", str(error)))
        return 2
    except BrokenPipeError:  # whoever read our events is gone; the notebook is written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return 1
    return 1 if end.reason else 0


if __name__ == "__main__":
    raise SystemExit(main())
