"""The cell of a research notebook that reads a file of a web server by ranges.

The text is a cell, not code of this program: it stands alone, and a test runs it.
"""

from __future__ import annotations

REMOTE = '''\
import io
import urllib.error
import urllib.parse
import urllib.request


def check_url(url):
    """Refuse what is not https; plain http is for this machine only."""
    parts = urllib.parse.urlsplit(url)
    near = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not parts.hostname or (parts.scheme != "https" and not near):
        raise ValueError(f"not an https address: {parts.scheme}://{parts.hostname}")


class RemoteFile(io.RawIOBase):
    """A file on a web server, read by ranges (RFC 9110, 14.2): it is never held whole.

    A server that knows no ranges can still be read from the start to the end. A file
    that changes while it is read is an error, a connection that breaks is opened again.
    """

    def __init__(self, url):
        check_url(url)
        self.url, self.position, self.stream, self.stream_at = url, 0, None, -1
        with self._open({"Range": "bytes=0-0"}) as answer:
            ranged = answer.status == 206
            total = answer.headers.get("Content-Range", "").rpartition("/")[2]
            length = total if ranged else answer.headers.get("Content-Length", "")
            self.size = int(length) if length.isdecimal() else None
            self.ranges = ranged and self.size is not None
            named = (answer.headers.get(name) for name in ("ETag", "Last-Modified"))
            self.version = next((text for text in named if text), "")

    def _open(self, headers):
        headers = {"User-Agent": "research-notebook", **headers}
        request = urllib.request.Request(self.url, headers=headers)
        for attempt in range(5):
            try:
                answer = urllib.request.urlopen(request, timeout=30)
                check_url(answer.url)
                return answer
            except urllib.error.HTTPError as error:
                error.close()
                if error.code not in (408, 429, 500, 502, 503, 504) or attempt == 4:
                    reason = f"the server answered {error.code}"
                    raise OSError(f"{self.host}: {reason}") from None
            except OSError as error:
                if attempt == 4:
                    raise OSError(f"{self.host}: {error}") from None
            time.sleep(2**attempt / 2)
        raise AssertionError("the last attempt returns or raises")

    @property
    def host(self):
        """The server's name: an address can hold a signature, which is not shown."""
        return urllib.parse.urlsplit(self.url).hostname

    def readable(self):
        return True

    def seekable(self):
        return self.ranges

    def tell(self):
        return self.position

    def seek(self, offset, whence=io.SEEK_SET):
        if not self.ranges:
            raise io.UnsupportedOperation("the server knows no ranges")
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}
        self.position = max(0, start[whence] + offset)
        return self.position

    def _stream_from_here(self):
        if self.stream is not None and self.stream_at == self.position:
            return
        if self.stream is not None:
            self.stream.close()
        wanted = {"Range": f"bytes={self.position}-"} if self.ranges else {}
        self.stream = self._open(wanted)
        version = self.version
        found = [self.stream.headers.get(name) for name in ("ETag", "Last-Modified")]
        odd = self.ranges and self.stream.status != 206
        if odd or (version and version not in found):
            raise OSError(f"{self.host}: the file changed while it was read")
        self.stream_at = self.position

    def readinto(self, buffer):
        if self.size is not None and self.position >= self.size:
            return 0
        for attempt in range(5):
            try:
                self._stream_from_here()
                count = self.stream.readinto(buffer)
                if count or self.size is None:
                    break
                raise OSError("the answer ended early")
            except OSError as error:
                if self.stream is not None:
                    self.stream.close()
                self.stream = None
                if attempt == 4 or not self.ranges or "changed" in str(error):
                    raise
        self.position += count
        self.stream_at = self.position
        return count

    def close(self):
        if self.stream is not None:
            self.stream.close()
            self.stream = None
        super().close()
'''
