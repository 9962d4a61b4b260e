"""A bare client of the local Kaggle for tests: one RPC, one connection, no retries."""

from __future__ import annotations

import base64
import http.client
import json
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

KERNELS = "kernels.KernelsApiService"
ENDED = ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED")


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


class Client:
    """Call a LocalKaggle as `user` (None: nobody)."""

    def __init__(self, kaggle, user: str | None = "demo", authorization: str = "") -> None:
        self.kaggle, self.user = kaggle, user
        self.authorization = authorization
        if user and not authorization:
            key = kaggle.world.accounts.add(user)["key"]
            self.authorization = "Basic " + base64.b64encode(f"{user}:{key}".encode()).decode()

    def send(self, method: str, url: str, body: bytes | None = None, **headers: str) -> Answer:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=30)
        try:
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
            reply = connection.getresponse()
            return Answer(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
        finally:
            connection.close()

    def call(self, method: str, body: dict[str, Any] | None = None, service: str = KERNELS) -> Answer:
        headers = {"Authorization": self.authorization} if self.authorization else {}
        content = json.dumps(body or {}).encode()
        return self.send("POST", f"{self.kaggle.url}/api/v1/{service}/{method}", content, **headers)

    def get(self, path: str) -> Answer:
        headers = {"Authorization": self.authorization} if self.authorization else {}
        return self.send("GET", f"{self.kaggle.url}{path}", **headers)

    def push(self, title: str, source: str, **fields: Any) -> dict[str, Any]:
        body = {"newTitle": title, "text": source, "language": "python", "kernelType": "script", **fields}
        answer = self.call("SaveKernel", body)
        assert answer.status == 200, answer
        return answer.json()

    def status(self, slug: str, **fields: Any) -> dict[str, Any]:
        return self.call("GetKernelSessionStatus", self.named(slug, **fields)).json()

    def wait(self, slug: str, *states: str, **fields: Any) -> dict[str, Any]:
        """Return the status once it is one of `states` (default: any end)."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            status = self.status(slug, **fields)
            if status.get("status", "QUEUED") in (states or ENDED):
                return status
            time.sleep(0.01)
        raise AssertionError(f"{slug} is still {status}")

    def output(self, slug: str, **fields: Any) -> dict[str, Any]:
        return self.call("ListKernelSessionOutput", self.named(slug, **fields)).json()

    def log(self, slug: str, stream: str = "stdout", **fields: Any) -> str:
        events = json.loads(self.output(slug, **fields)["log"])
        return "".join(event["data"] for event in events if event["stream_name"] == stream)

    def named(self, slug: str, **fields: Any) -> dict[str, Any]:
        return {"userName": self.user, "kernelSlug": slug, **fields}
