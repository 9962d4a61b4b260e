"""Read and write .secrets.baseline, the file of detect-secrets 1.5: secrets that somebody has looked at, as SHA-1.

Either program reads what the other wrote. Entries are matched by file and hash; how a type is called does not matter.
"""

from __future__ import annotations

import contextlib
import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kagg import Context, bad_input, write_atomic
from plugins.lib.secrets.record import hashed_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from plugins.lib.secrets.record import Record

FORMAT_VERSION = "1.5.0"  # of github.com/Yelp/detect-secrets, whose audit only knows the types of its own plugins
TYPES = (
    ("aws-", "AWS Access Key"),
    ("azure-storage", "Azure Storage Account access key"),
    ("basic-auth", "Basic Auth Credentials"),
    ("discord", "Discord Bot Token"),
    ("github", "GitHub Token"),
    ("gitlab", "GitLab Token"),
    ("json-web-token", "JSON Web Token"),
    ("jwt", "JSON Web Token"),
    ("mailchimp", "Mailchimp Access Key"),
    ("npm", "NPM tokens"),
    ("openai", "OpenAI Token"),
    ("private-key", "Private Key"),
    ("pypi", "PyPI Token"),
    ("sendgrid", "SendGrid API Key"),
    ("slack", "Slack Token"),
    ("square", "Square OAuth Secret"),
    ("stripe", "Stripe Access Key"),
    ("telegram", "Telegram Bot Token"),
    ("twilio", "Twilio API Key"),
    ("url-credentials", "Basic Auth Credentials"),
)
OTHER_TYPE = "Secret Keyword"
ENTROPY_TYPE = "Base64 High Entropy String"
# Of these its patterns capture only the prefix, so that its hash names every token of the kind in that file. It is
# written for detect-secrets, beside the hash of the whole token, and never honoured here.
PREFIX_ONLY = {"GitHub Token": "_", "GitLab Token": "-"}
PLUGINS = (
    "ArtifactoryDetector AWSKeyDetector AzureStorageKeyDetector Base64HighEntropyString BasicAuthDetector"
    " CloudantDetector DiscordBotTokenDetector GitHubTokenDetector GitLabTokenDetector HexHighEntropyString"
    " IbmCloudIamDetector IbmCosHmacDetector JwtTokenDetector KeywordDetector MailchimpDetector NpmDetector"
    " OpenAIDetector PrivateKeyDetector PypiTokenDetector SendGridDetector SlackDetector SoftlayerDetector"
    " SquareOAuthDetector StripeDetector TelegramBotTokenDetector TwilioKeyDetector"
)
LIMITS = {"Base64HighEntropyString": 4.5, "HexHighEntropyString": 3.0}  # its defaults
FILTERS = (
    "allowlist.is_line_allowlisted heuristic.is_indirect_reference heuristic.is_likely_id_string"
    " heuristic.is_lock_file heuristic.is_not_alphanumeric_string heuristic.is_potential_uuid"
    " heuristic.is_prefixed_with_dollar_sign heuristic.is_sequential_string heuristic.is_swagger_file"
    " heuristic.is_templated_secret"
)


def secret_type(kind: str) -> str:
    """Return what detect-secrets calls a kind of secret."""
    return next((name for start, name in TYPES if kind.startswith(start)), OTHER_TYPE)


def _readings(value: str) -> tuple[str, ...]:
    r"""Return what detect-secrets may have hashed: the value, `value\\` where its quote is escaped, most of a JWT."""
    parts = value.split(".")
    return value, value + "\\", *((f"{parts[0]}.{parts[1]}.",) if len(parts) == 3 and value.startswith("eyJ") else ())


def file_key(name: str | Path) -> str:
    """Return the name of a file as the baseline has it: relative to the current folder where it can be."""
    path = Path(name)
    with contextlib.suppress(ValueError, OSError):
        path = path.resolve().relative_to(Path.cwd().resolve())
    return path.as_posix()


# ---------------------------------------------------------------- reading


def read_baseline(path: Path) -> dict[str, Any]:
    """Read a baseline.

    Raises:
        KaggError: USAGE when it cannot be read or is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise bad_input(f"cannot read {path}: {error.strerror}", "--update-baseline writes one") from error
    except (ValueError, RecursionError) as error:
        raise bad_input(f"{path} is no baseline: not JSON") from error
    if not isinstance(found, dict) or not isinstance(found.get("results"), dict):
        raise bad_input(f"{path} is no baseline: it has no results")
    return found


@functools.lru_cache(maxsize=8)
def _hashes(path: Path, changed_ns: int) -> dict[str, frozenset[str]]:
    """Return the SHA-1 of the known secrets by file; `changed_ns` is only there to read a changed file again."""
    del changed_ns
    results = read_baseline(path)["results"]
    return {
        str(Path(name).as_posix()): frozenset(
            str(entry.get("hashed_secret")) for entry in entries if isinstance(entry, dict)
        )
        for name, entries in results.items()
        if isinstance(entries, list)
    }


def known(options: Mapping[str, Any]) -> Callable[[Record], bool]:
    """Return what tells whether the baseline of the options (`baseline`, `filename`) names a secret.

    Without a file name an entry of any file counts. A baseline that is about to be written need not exist yet.
    """
    if not options.get("baseline"):
        return lambda _: False
    path = Path(options["baseline"])
    if options.get("update_baseline") and not path.exists():
        return lambda _: False
    files = _hashes(path, path.stat().st_mtime_ns if path.exists() else 0)
    names = set(files)
    if options.get("filename"):
        given = options["filename"]
        names = {Path(given).as_posix(), file_key(given), file_key(Path(path.parent, given))}
        names |= {f"./{name}" for name in names}
    hashes = frozenset[str]().union(*(files[name] for name in names if name in files))
    return lambda record: bool(hashes) and any(hashed_secret(text) in hashes for text in _readings(record.value))


# ---------------------------------------------------------------- writing


def line_in(content: bytes, value: str, fallback: int) -> int:
    """Return the line of a file that holds a value, as it is or escaped for JSON; detect-secrets counts those."""
    for text in (value, json.dumps(value, ensure_ascii=False)[1:-1], json.dumps(value)[1:-1], value.partition("\n")[0]):
        at = content.find(text.encode("utf-8", "surrogatepass"))
        if at >= 0:
            return content.count(b"\n", 0, at) + 1
    return fallback


def _typed_hashes(record: Record, name: str) -> list[tuple[str, str]]:
    """Return the (type, hash) under which detect-secrets looks for a secret, and that of the whole value."""
    kind, value = secret_type(record.kind), record.value
    mark = PREFIX_ONLY.get(kind)
    if not mark:
        return [(kind, hashed_secret(value))]
    whole = value + "\\" if name.endswith(".ipynb") else value  # as its entropy plugin reads an escaped quote
    return [(kind, hashed_secret(value.partition(mark)[0])), (ENTROPY_TYPE, hashed_secret(whole))]


def _entries(name: str, records: Iterable[Record], content: bytes, old: list[Any]) -> list[dict[str, Any]]:
    """Return the entries of one file: the old ones with what was said of them, and new ones."""
    entries = {(one.get("hashed_secret"), one.get("type")): one for one in old if isinstance(one, dict)}
    hashes = {key[0] for key in entries}
    for record in records:
        line = line_in(content, record.value, record.line or 1)
        for kind, hashed in _typed_hashes(record, name):
            if hashed not in hashes:
                entries[hashed, kind] = {
                    "type": kind,
                    "filename": name,
                    "hashed_secret": hashed,
                    "is_verified": False,
                    "line_number": line,
                }
    return sorted(entries.values(), key=lambda one: (str(one.get("line_number", 0)).zfill(9), str(one["type"])))


def _plugins() -> list[dict[str, Any]]:
    return [{"name": name} | ({"limit": LIMITS[name]} if name in LIMITS else {}) for name in PLUGINS.split()]


def _content(name: str, contents: Mapping[str, bytes] | None) -> bytes:
    """Return the bytes of a file, b"" when they are not at hand: then lines are those of the cells."""
    if contents and name in contents:
        return contents[name]
    with contextlib.suppress(OSError):
        return Path(name).read_bytes()
    return b""


def write_baseline(
    path: Path,
    found: Mapping[str, Iterable[Record]],
    now: datetime | None = None,
    contents: Mapping[str, bytes] | None = None,
) -> int:
    """Add the secrets of each file to a baseline, which is made when there is none; return how many it holds.

    `found` maps file names to records; `contents` the same names to bytes, when those on the disk are others.

    Raises:
        KaggError: USAGE when the file is there and is no baseline.
    """
    old = read_baseline(path) if path.exists() else {}
    results = dict(old.get("results") or {})
    for name, records in found.items():
        key = file_key(name)
        before = results.get(key)
        entries = _entries(key, records, _content(name, contents), before if isinstance(before, list) else [])
        if entries:
            results[key] = entries
    document = {
        "version": old.get("version", FORMAT_VERSION),
        "plugins_used": old.get("plugins_used") or _plugins(),
        "filters_used": old.get("filters_used")
        or [{"path": f"detect_secrets.filters.{name}"} for name in FILTERS.split()],
        "results": dict(sorted(results.items())),
        "generated_at": (now or Context().now()).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    write_atomic(path, json.dumps(document | {k: v for k, v in old.items() if k not in document}, indent=2) + "\n")
    return sum(len(entries) for entries in results.values())
