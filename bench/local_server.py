"""A local Kaggle in a process of its own for the benches. `python bench/local_server.py FOLDER [QUEUE_S]` serves one.

It prints one JSON line {"url", "username", "key", "control_token"} and ends when its standard input does.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
OWNER = "demo"
KERNELS = "kernels.KernelsApiService/"
ENDED = ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED")
PATIENCE_S = 60.0


class Remote(NamedTuple):
    """A running server: where it is, who calls, and the token for its controls."""

    url: str
    username: str
    key: str
    control_token: str

    @property
    def authorization(self) -> str:
        """The header that signs in."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.key}".encode()).decode()

    @property
    def account(self) -> dict[str, str]:
        """The variables with which kagg.py and the official client sign in."""
        return {"KAGGLE_USERNAME": self.username, "KAGGLE_KEY": self.key}

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send one request; the server is on this machine and gives no reason to try again.

        Raises:
            RuntimeError: it answered something else than 200.
        """
        headers = {"Authorization": self.authorization, "X-Local-Token": self.control_token}
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            connection.request("POST", path, json.dumps(body), headers)
            answer = connection.getresponse()
            content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path} answered {answer.status}: {content[:300]!r}")
        found: dict[str, Any] = json.loads(content)
        return found

    def requests(self) -> list[str]:
        """Return the paths that were asked for so far; the controls are not among them."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            connection.request("GET", "/_local/state", headers={"X-Local-Token": self.control_token})
            found = json.loads(connection.getresponse().read())["requests"]
        return [path for _, path, _ in found if not path.startswith("/_local/")]

    def call(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        """Call one of the kernel methods."""
        return self.post(f"/api/v1/{KERNELS}{method}", body)

    def fault(self, **fault: Any) -> None:
        """Let something go wrong; without arguments nothing any more."""
        self.post("/_local/faults", fault or {"clear": True})

    def push(self, title: str, source: str) -> str:
        """Push a script and return its slug."""
        reply = self.call("SaveKernel", {"newTitle": title, "text": source})
        if reply["error"]:
            raise RuntimeError(reply["error"])
        return str(reply["ref"]).rpartition("/")[2]

    def wait(self, slug: str) -> None:
        """Wait until a session has completed."""
        until_s = time.monotonic() + PATIENCE_S
        state = ""
        while state not in ENDED and time.monotonic() < until_s:
            time.sleep(0.05)
            state = self.call("GetKernelSessionStatus", self.named(slug)).get("status", "")
        if state != "COMPLETE":
            raise RuntimeError(f"{slug} is {state or 'QUEUED'}")

    def named(self, slug: str) -> dict[str, str]:
        """Return the fields that name a kernel of ours."""
        return {"userName": self.username, "kernelSlug": slug}


@contextlib.contextmanager
def serving(folder: Path, queue_s: float = 0.0) -> Iterator[Remote]:
    """Run a server in a process of its own; sessions stay in the queue for `queue_s`."""
    argv = [sys.executable, str(Path(__file__).resolve()), str(folder), str(queue_s)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        line = process.stdout.readline() if process.stdout else b""
        if not line:
            raise RuntimeError("the local Kaggle did not start")
        yield Remote(**json.loads(line))
        if process.stdin:
            process.stdin.close()


def main() -> int:
    """Serve until standard input ends."""
    sys.path.insert(0, str(ROOT))  # the local Kaggle is a part of the project, not of bench/
    from plugins.lib.kaggle.server import LocalKaggle
    from plugins.lib.kaggle.sessions import Limits

    with LocalKaggle(Path(sys.argv[1]), limits=Limits(queue_s=float(sys.argv[2]))) as kaggle:
        key = kaggle.world.accounts.users[OWNER]["key"]
        print(json.dumps(Remote(kaggle.url, OWNER, key, kaggle.control_token)._asdict()), flush=True)
        sys.stdin.buffer.read()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
