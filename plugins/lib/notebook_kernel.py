"""One Jupyter kernel for one notebook: started privately, listened to, and gone without a trace afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugins.lib import process_guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SOCKET_FOLDER_CHARS = 80  # sun_path takes 108 bytes on Linux, 104 on macOS: unix(7); the rest is the socket's name
STARTUP_S = 300.0  # a busy machine needs more than nbclient's 60 s: papermill issue 776
IOPUB_S = 600.0  # outputs may queue behind a slow reader of our stdout; a dead kernel is noticed separately
LATE_S = 0.02  # how long to look for outputs in the sockets of a kernel that has ended

# ipykernel as its own launcher starts it, but without zmq's limit of 1,000 waiting messages, beyond which a kernel
# silently drops what a slow reader has not taken: libzmq, zmq_setsockopt(3), ZMQ_SNDHWM.
LAUNCH = """
import sys
if sys.path[0] == "":
    del sys.path[0]
import zmq
from ipykernel.kernelapp import IPKernelApp

class Kernel(IPKernelApp):
    def init_iopub(self, context):
        context.setsockopt(zmq.SNDHWM, 0)
        super().init_iopub(context)

Kernel.launch_instance()
"""


@contextlib.contextmanager
def runtime_folder() -> Iterator[Path]:
    """Make a private folder whose path is short enough for unix sockets."""
    base = tempfile.gettempdir()
    short = "/tmp" if len(base) > SOCKET_FOLDER_CHARS and sys.platform != "win32" else base  # noqa: S108 - mkdtemp makes it private
    folder = Path(tempfile.mkdtemp(prefix="kg-", dir=short))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _kernel_manager(folder: Path) -> Any:
    """Return a manager that knows one kernel: this Python, on unix sockets in `folder` where there are any."""
    import zmq.asyncio
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    spec = folder / "kernels" / "python3"
    spec.mkdir(parents=True)
    argv = [sys.executable, "-c", LAUNCH, "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
    specs = KernelSpecManager(kernel_dirs=[str(spec.parent)], ensure_native_kernel=False)
    manager = AsyncKernelManager(
        kernel_name="python3",
        kernel_spec_manager=specs,
        connection_file=str(folder / "k.json"),
        transport="tcp" if sys.platform == "win32" else "ipc",
        context=zmq.asyncio.Context(),
    )
    manager.context.setsockopt(zmq.RCVHWM, 0)  # the same limit at our end
    return manager


class Kernel:
    """One kernel and its nbclient; nothing of it is left after `close`."""

    def __init__(self, notebook: Any, folder: Path, on_message: Callable[[str, dict[str, Any]], None]) -> None:
        from nbclient import NotebookClient

        self.manager = _kernel_manager(folder)
        self.client = NotebookClient(
            notebook,
            km=self.manager,
            timeout=None,
            startup_timeout=STARTUP_S,
            iopub_timeout=IOPUB_S,
            raise_on_iopub_timeout=True,
            record_timing=False,
        )
        self.guard: subprocess.Popen[bytes] | None = None
        self.group: int | None = None
        self.cell: int | None = None
        self.stopping = False
        self.folder = folder
        self.done: dict[str, Any] = {}  # finished cells by the id of the request that ran them
        self.on_message = on_message
        self._listen()

    def _listen(self) -> None:
        """See every output message first; nbclient has no hook for that."""
        handle = self.client.process_message

        def process_message(message: dict[str, Any], cell: Any, index: int) -> Any:
            self.on_message(message["msg_type"], message["content"])
            if message["content"].get("execution_state") == "idle":
                self.done[message["parent_header"]["msg_id"]] = cell
            return handle(message, cell, index)

        self.client.process_message = process_message

    def _take_late_output(self, message: dict[str, Any]) -> None:
        """Keep what a finished cell still prints, from threads and from child processes; nbclient drops it."""
        from nbformat.v4 import output_from_msg

        cell = self.done.get(message["parent_header"].get("msg_id"))
        if cell is not None and message["msg_type"] in {"stream", "display_data"}:
            self.on_message(message["msg_type"], message["content"])
            cell.outputs.append(output_from_msg(message))

    async def start(self, cwd: Path, import_path: Path | None) -> None:
        """Start the kernel; its own stdout and stderr stay out of our protocol."""
        environment = os.environ | {"IPYTHONDIR": str(self.folder / "ipython"), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        if import_path:
            known = environment.get("PYTHONPATH")
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(import_path), known)))
        with (self.folder / "stderr").open("wb") as stderr:
            await self.client.async_start_new_kernel(
                cwd=str(cwd), env=environment, stdout=subprocess.DEVNULL, stderr=stderr
            )
        self.group = self.manager.provisioner.pgid
        if self.group:
            self.guard = process_guard.start_guard(self.group, self.folder)
        await self.client.async_start_new_kernel_client()
        channel = self.client.kc.iopub_channel
        receive = channel.get_msg

        async def get_msg(*args: Any, **kwargs: Any) -> Any:
            message = await receive(*args, **kwargs)
            self._take_late_output(message)
            return message

        channel.get_msg = get_msg

    async def _drain(self, timeout_s: float | None) -> None:
        """Take late outputs until there has been none for a while, or until cancelled."""
        with contextlib.suppress(queue.Empty):
            while self.client.kc is not None:
                await self.client.kc.iopub_channel.get_msg(timeout=timeout_s)

    async def execute(self, on_cell: Callable[[int], None]) -> None:
        """Execute the cells in order, announcing each."""
        for index, cell in enumerate(self.client.nb.cells):
            if self.stopping:
                return
            self.cell = index
            on_cell(index)
            await self.client.async_execute_cell(cell, index)

    async def interrupt(self) -> None:
        """Interrupt the running cell and let no further one begin."""
        self.stopping = True
        if self.manager.has_kernel and self.group:
            with contextlib.suppress(ProcessLookupError):
                await self.manager.interrupt_kernel()

    async def close(self, *, now: bool) -> None:
        """Shut the kernel down, at once or giving it time for exit handlers, and kill what it leaves behind."""
        try:
            if self.manager.has_kernel and now:
                await self.manager.shutdown_kernel(now=True)
            elif self.manager.has_kernel:  # shutdown_kernel() interrupts first, and now and then the request is lost
                late = asyncio.ensure_future(self._drain(None))
                await self.manager.request_shutdown()
                await self.manager.finish_shutdown()
                late.cancel()
                await self.manager.cleanup_resources()
            await self._drain(LATE_S)
        finally:
            if self.group:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.group, signal.SIGKILL)
            process_guard.dismiss_guard(self.guard)
            if self.client.kc is not None:
                self.client.kc.stop_channels()
            self.manager.context.destroy(linger=0)

    async def death(self) -> str:
        """Say in words how the kernel ended, with the end of what it wrote to stderr."""
        code = await self.manager.provisioner.poll() if self.manager.has_kernel else None
        how = "the kernel died"
        if code is not None and code < 0:
            how += f" of {signal.Signals(-code).name}"
            how += " (out of memory?)" if -code == getattr(signal, "SIGKILL", 9) else ""
        elif code is not None:
            how += f" with exit code {code}"
        tail = (self.folder / "stderr").read_bytes()[-2000:].decode(errors="replace").strip().splitlines()
        return f"{how}: {tail[-1]}" if tail and code else how
