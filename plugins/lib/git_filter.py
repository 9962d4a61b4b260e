"""Git's long-running filter protocol, version 2, and what this filter does with one notebook.

One process serves all files of a git command: https://git-scm.com/docs/gitattributes, "Long Running Filter Process".
"""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import Exit, KaggError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO

    from kagg import Context, Finding

PLUGIN = {"api": 1, "summary": "git's filter protocol", "requires": {}}

MAX_PACKET_BYTES = 65516  # LARGE_PACKET_DATA_MAX: 65520 with the four digits of its length, gitprotocol-common(5)
BUFFER_BYTES = 2 * 65536  # of the streams: a packet and what follows it
GC_THRESHOLD = 100_000  # containers: decoding one notebook makes thousands that all stay until it is written
ESCAPED_QUOTES = tuple(('\\"'.encode(codec), '"'.encode(codec)) for codec in ("utf-8", "utf-16-le", "utf-16-be"))
STEPS = ("clean", "outputs")
UNKNOWN_CELL = "the notebook"


class Policy(NamedTuple):
    """What is done to a notebook on its way into git: `options` are those of the steps, `scan` refuses secrets."""

    options: Mapping[str, Any]
    scan: bool = False

    @property
    def required(self) -> bool:
        """Tell whether git must not store a notebook that was refused."""
        return self.scan or bool(self.options.get("refuse_error_outputs"))


class Refused(Exception):  # noqa: N818 - a verdict about a notebook, no fault
    """A notebook that must not get into git; the line for people."""


def cleaned(ctx: Context, policy: Policy, content: bytes, name: str) -> bytes:
    """Return the bytes that git stores for a notebook; what is no notebook passes through, with one line on stderr.

    Raises:
        Refused: it has a secret, and the policy scans.
    """
    from plugins.lib.prep.steps import clean_bytes

    steps = (*STEPS, "secrets") if policy.scan else STEPS
    policy = policy._replace(options={**policy.options, "filename": name})  # the name that a baseline knows
    try:
        result, findings = clean_bytes(ctx, content, name, steps, policy.options)
    except KaggError as error:
        if error.code != Exit.USAGE:
            raise
        result, findings = content, _scan_file(policy, content, name) if policy.scan else []
        if content.strip():
            ctx.say(f"kagg: {error.message}; kept as it is")
    except Exception as error:  # noqa: BLE001 - a bug must not take the filter from the other files of the command
        result, findings = content, _scan_file(policy, content, name) if policy.scan else []
        ctx.say(f"kagg: {name} cannot be cleaned (bug: {type(error).__name__}); kept as it is")
    refuse_secrets(findings, name)
    return bytes(result)


def _scan_file(policy: Policy, content: bytes, name: str) -> list[Finding]:
    """Look for secrets in what cannot be read as a notebook: UTF-16, conflict markers, or no notebook at all."""
    from plugins.lib.secrets import baseline
    from plugins.lib.secrets.record import findings
    from plugins.lib.secrets.scan import bytes_records

    known, allowed = baseline.known(policy.options), set(policy.options.get("allow_finding") or ())
    plain = content
    for escaped, quote in ESCAPED_QUOTES:  # cells of broken JSON still are strings in strings
        plain = plain.replace(escaped, quote)
    records = [record for version in dict.fromkeys((content, plain)) for record in bytes_records(version, name)]
    found = [finding for _, finding in findings(record for record in records if not known(record))]
    return [finding for finding in dict.fromkeys(found) if finding.id not in allowed]


def refuse_secrets(findings: list[Finding], name: str) -> None:
    """Raise Refused, naming the first place, when a finding is an error."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if not errors:
        return
    first = errors[0]
    cell = UNKNOWN_CELL if first.cell is None else f"cell {first.cell}"
    where = cell + (f" line {first.line}" if first.line else "")
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    allow = f"; or allow it: --allow-finding {first.id}" if first.id else ""
    raise Refused(
        f"kagg: {name}: {where}: {first.kind}: {first.message}{more}; not stored in git"
        + (f"; {first.fix}" if first.fix else "")
        + allow
    )


# ---------------------------------------------------------------- the protocol


class Broken(Exception):  # noqa: N818 - becomes a KaggError where the stream is known
    """The stream ended inside a packet, or is no packet at all."""


def read_packet(stream: BinaryIO) -> bytes | None:
    """Return the data of the next packet, None for a flush packet.

    Raises:
        EOFError: the stream ended between two packets.
        Broken: it ended inside one, or is no pkt-line.
    """
    head = stream.read(4)
    if not head:
        raise EOFError
    if head == b"0000":
        return None
    try:
        size = int(head, 16) if len(head) == 4 else 0
    except ValueError:
        size = 0
    if not 4 <= size <= MAX_PACKET_BYTES + 4:
        raise Broken(f"no packet length: {head!r}")
    data = stream.read(size - 4)
    if len(data) < size - 4:
        raise Broken("the stream ends inside a packet")
    return data


def read_list(stream: BinaryIO) -> list[bytes]:
    """Return the lines of text up to the next flush packet."""
    return [line.removesuffix(b"\n") for line in _until_flush(stream)]


def _until_flush(stream: BinaryIO) -> Iterator[bytes]:
    while (data := read_packet(stream)) is not None:
        yield data


def write_packets(stream: BinaryIO, content: bytes) -> None:
    """Write content of any size as packets and a flush packet."""
    view = memoryview(content)
    for start in range(0, len(view), MAX_PACKET_BYTES):
        piece = view[start : start + MAX_PACKET_BYTES]
        stream.write(b"%04x" % (len(piece) + 4))
        stream.write(piece)
    stream.write(b"0000")


def write_list(stream: BinaryIO, *lines: str) -> None:
    """Write lines of text and a flush packet."""
    for line in lines:
        data = line.encode() + b"\n"
        stream.write(b"%04x%s" % (len(data) + 4, data))
    stream.write(b"0000")


def serve(ctx: Context, policy: Policy, source: BinaryIO, sink: BinaryIO) -> int:
    """Answer git until it closes the stream; return how many files were served.

    Raises:
        KaggError: what came is not the protocol.
    """
    gc.set_threshold(GC_THRESHOLD)
    try:
        _greet(source, sink)
        served = 0
        while _serve_one(ctx, policy, source, sink):
            served += 1
    except (Broken, EOFError) as error:
        raise KaggError(f"git's filter protocol broke off: {str(error) or 'the stream ended'}") from error
    return served


def serve_git(ctx: Context, policy: Policy) -> None:
    """Answer git on the standard streams."""
    with open(0, "rb", BUFFER_BYTES, closefd=False) as source, open(1, "wb", BUFFER_BYTES, closefd=False) as sink:
        serve(ctx, policy, source, sink)


def main() -> None:
    """Run as the program of git's configuration: without options at once, for a parser takes as long as all the rest.

    Everything else goes the usual way, with the same result.
    """
    import kagg

    if sys.argv[1:] not in (["git", "filter-process"], ["git", "--scan", "filter-process"]):
        kagg.script()
    ctx = kagg.Context()
    ctx.env = {**ctx.env, "KAGG_NO_PLUGINS": "1"}  # only built-in rooms are steps of the filter
    try:
        serve_git(ctx, Policy({}, scan="--scan" in sys.argv))
    except KaggError as error:
        ctx.say(f"kagg: error: {error}", -1)
        raise SystemExit(error.code) from error
    except (BrokenPipeError, KeyboardInterrupt) as error:  # git was stopped
        raise SystemExit(Exit.FAILED) from error


def _greet(source: BinaryIO, sink: BinaryIO) -> None:
    hello = read_list(source)
    if hello[:1] != [b"git-filter-client"] or b"version=2" not in hello:
        raise Broken(f"expected git-filter-client with version=2, not {b' '.join(hello)[:60]!r}")
    write_list(sink, "git-filter-server", "version=2")
    sink.flush()
    offered = read_list(source)
    able = [name for name in ("clean", "smudge") if f"capability={name}".encode() in offered]
    write_list(sink, *(f"capability={name}" for name in able))
    sink.flush()


def _serve_one(ctx: Context, policy: Policy, source: BinaryIO, sink: BinaryIO) -> bool:
    """Answer one command; False when there is none any more."""
    try:
        first = read_packet(source)
    except EOFError:
        return False
    asked = dict(line.partition(b"=")[::2] for line in [(first or b"").removesuffix(b"\n"), *read_list(source)])
    content = b"".join(_until_flush(source))
    name = os.fsdecode(asked.get(b"pathname", b"a notebook"))
    try:
        result = content if asked.get(b"command") == b"smudge" else cleaned(ctx, policy, content, name)
    except (Refused, KaggError) as error:
        ctx.say(str(error) if isinstance(error, Refused) else f"kagg: {name}: {error}", -1)
        write_list(sink, "status=error")
    except Exception as error:  # noqa: BLE001 - one file's bug, such as one of the scan; nothing of it is stored
        ctx.say(f"kagg: {name}: bug: {type(error).__name__}", -1)
        write_list(sink, "status=error")
    else:
        write_list(sink, "status=success")
        write_packets(sink, result)
        sink.write(b"0000")  # nothing to add to the status
    sink.flush()
    return True
