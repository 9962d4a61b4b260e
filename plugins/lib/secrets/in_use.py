"""Know the secrets in use on this machine by their values, whatever they look like, and find them in what leaves.

In use are what `keep_secret` was told (credentials that were read, keys of services), what stands in the files that
clients sign in with, and the variables of the environment whose names are those of secrets. Left out is what would
stand in innocent texts as well: see `_is_secret`.
"""

from __future__ import annotations

import base64
import json
import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote

from kagg import _SECRETS as KEPT
from plugins.lib.secrets.in_files import secrets_in_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kagg import Context

KIND = "secret-in-use"
MIN_CHARS = 8
MIN_DISTINCT = 4  # characters: 00000000 and xxxxxxxx stand for a secret
LONE_WORD_CHARS = 16  # a longer run of letters is no word: application passwords of Google are 16 letters
PATH_CHARS = 16  # of a URL's path that holds a token
CLEAR_CHARS = 16  # a shorter value is found only where no letter or digit goes on beside it
BASE64_CHARS = 10  # of what a value is in base64 wherever it begins

NAME = re.compile(
    r"(?:TOKEN|SECRET|SECRET_KEY_BASE|PASSW(?:OR)?D|PASSPHRASE|CREDENTIALS?|(?:ACCESS|API|APP|AUTH|PRIVATE|SECRET)_?KEY"
    r"|CONNECTION_STRING|WEBHOOK(?:_UR[LI])?|(?:^|[_.-])(?:KEY|PASS|PAT|AUTH|HOOK(?:_UR[LI])?)|_PWD|SSHPASS)(?:_?\d{1,2})?$",
    re.IGNORECASE,
)
PASSWORD = re.compile(r"PASSW(?:OR)?D|PASSPHRASE|PASS\d?$|PWD", re.IGNORECASE)
HOOK = re.compile(r"HOOK(?:_UR[LI])?(?:_?\d{1,2})?$", re.IGNORECASE)
# Names that end like one: what browsers are sent, fingerprints of public keys (the Python images of Docker set
# GPG_KEY), marks of tokenizers, keys of tables.
PUBLIC = re.compile(
    r"(?:^|_)(?:PUBLIC|PUB|PUBLISHABLE|SITE|HOST|GPG|PGP|SIGNED_BY|VITE|REACT_APP|NUXT_PUBLIC)(?:_|$)|PUBKEY"
    r"|(?:^|_)(?:PAD|EOS|BOS|UNK|CLS|SEP|MASK|START|END|STOP|IMAGE|SPECIAL|NEXT|PREV|PAGE|MAX|MIN|NUM"
    r"|PRIMARY|FOREIGN|PARTITION|SORT|CACHE|GROUP|INDEX|OBJECT|SSH_KNOWN)_(?:TOKEN|KEY)S?$|^XDG_|SSH_AUTH|XAUTH",
    re.IGNORECASE,
)
PLAIN = re.compile(
    r"[\d.,:_+\-/ ]+|true|false|none|null|yes|no|on|off"
    r"|<.*>|\$\{.*|\$\w+|%\w+%|\{\{.*|ssh-\w+ .*|ecdsa-\S+ .*|-----BEGIN (?:[A-Z]+ )*(?:PUBLIC KEY|CERTIFICATE).*",
    re.IGNORECASE | re.DOTALL,
)
LONE_WORD = re.compile(r"[a-z]+|[A-Z]+|[A-Z][a-z]+")
_WORD = r"(?:[a-z]+|[A-Z]+|[A-Z]?[a-z]{2,}(?:[A-Z][a-z]{2,})*)"  # letters in any order are none: they are random
WORDS = re.compile(rf"{_WORD}(?:[-_. ]{_WORD})*")
PATH = re.compile(r"~?(?:/[a-z][a-z0-9_.-]*){2,}/?|\.{1,2}/.*|~/.*|[A-Za-z]:[\\/].*|file:.*", re.DOTALL)
PLAIN_CHARACTERS = re.compile(r"[A-Za-z0-9_.~-]+")


class Hit(NamedTuple):
    """A secret in use that stands in some bytes: the value, the variable that holds it or "", and its offset."""

    value: str
    name: str
    start: int

    @property
    def title(self) -> str:
        """Say what it is."""
        return f"the value of {self.name}" if self.name else "one of kagg's own secrets"


def secrets_in_use(env: Mapping[str, str]) -> dict[str, str]:
    """Return value -> the name of its variable, "" for one that came from elsewhere."""
    found: dict[str, str] = {}
    for name, value in sorted(env.items()):
        for part in _of_variable(name, value.strip()):
            found.setdefault(part, name)
    told = list(KEPT)  # at once: other threads may add to it
    kept = {value for value in told if "/" not in value}  # an address given with --notify is kept, and passes the gate
    for value in sorted(kept | secrets_in_files(env)):
        if _is_secret(value):
            found.setdefault(value, "")
    return found


def _of_variable(name: str, value: str) -> Iterator[str]:
    """Yield what is secret in a variable: its value, the path of a webhook, the password in a URL."""
    if "://" in value[:32] and (login := re.match(r"[\w+.-]+://[^/\s:@]*:([^/\s@]+)@", value)):
        for password in {login[1], unquote(login[1])}:
            if _is_secret(password, by_name="PASSWORD"):
                yield password
    if len(value) < MIN_CHARS or not NAME.search(name) or PUBLIC.search(name):
        return
    if re.match(r"(?i)https?://", value):
        path = re.sub(r"^[^/]*//[^/]*/?", "", value)
        if HOOK.search(name) and len(path) >= PATH_CHARS:
            yield from (value, path)
    elif not (HOOK.search(name) or _is_path(value)) and _is_secret(value, by_name=name):
        yield value
        if re.fullmatch(r"(?:[a-z]{4} ){3}[a-z]{4}", value):  # as Google shows an application password
            yield value.replace(" ", "")


def _is_path(value: str) -> bool:
    """Tell whether a value names a file or folder; a random one may begin with a slash as well."""
    if len(value) > 4096 or "\n" in value:
        return False
    first = re.match(r"/[^/]+", value)
    return bool(PATH.fullmatch(value) or os.path.exists(value) or (first and os.path.isdir(first[0])))  # noqa: PTH110, PTH112 - these never raise for odd names


def _is_secret(value: str, by_name: str = "") -> bool:
    """Tell whether a value is worth guarding: no number, word, placeholder, or public key.

    Words in a row are a passphrase where the name says so, and otherwise a placeholder such as my-secret-key.
    """
    if len(value) < MIN_CHARS or len(set(value)) < MIN_DISTINCT or PLAIN.fullmatch(value):
        return False
    if LONE_WORD.fullmatch(value):
        return len(value) >= LONE_WORD_CHARS
    return bool(PASSWORD.search(by_name)) or not WORDS.fullmatch(value) or len(value) >= 2 * LONE_WORD_CHARS


# ---------------------------------------------------------------- in what leaves


def forms(value: str) -> set[str]:
    """Return how a value is written in texts."""
    return _clear_forms(value) | _base64_forms(value)


def _clear_forms(value: str) -> set[str]:
    """Return a value as it is, and quoted for URLs and for JSON."""
    found = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    whole = value.encode("utf-8", "surrogatepass")
    if not PLAIN_CHARACTERS.fullmatch(value):
        quoted = {quote(whole, safe=""), quote(whole), quote(whole, safe="").replace("%20", "+")}
        found |= quoted | {re.sub(r"%..", lambda code: code[0].lower(), one) for one in quoted}
    return found


def _base64_forms(value: str) -> set[str]:
    """Return what stands in the base64 of every text that holds the value."""
    found, whole = set[str](), value.encode("utf-8", "surrogatepass")
    for before in range(3):  # bytes of another text that share a group of three with it
        text = base64.b64encode(bytes(before) + whole).decode()
        inner = text[(0, 2, 3)[before] : len(text) - (0, 3, 2)[(before + len(whole)) % 3] * bool(text.endswith("="))]
        if len(inner) >= BASE64_CHARS:
            found |= {inner, inner.translate(str.maketrans("+/", "-_"))}
    return found


class Search:
    """One search for all values in bytes: UTF-8, UTF-16, and what else `forms` says."""

    def __init__(self, named: Mapping[str, str]) -> None:
        from plugins.lib.secrets.rules_read import compile_re2

        self.named = named
        self.by_form: dict[bytes, str] = {}
        self.bounded: set[bytes] = set()
        for value in sorted(named, key=len):
            clear = _clear_forms(value)
            for form in clear | _base64_forms(value):
                for codec in ("utf-8", "utf-16-le", "utf-16-be"):
                    written = form.encode(codec, "surrogatepass")
                    self.by_form.setdefault(written, value)
                    self.bounded |= {written} if form in clear and len(value) < CLEAR_CHARS else set()
        longest_first = sorted(self.by_form, key=lambda form: (-len(form), form))
        self.pattern: Any = compile_re2("|".join(map(_literal, longest_first))) if longest_first else None

    def hits(self, content: bytes) -> list[Hit]:
        """Return the values that stand in `content`, each once."""
        found: dict[str, Hit] = {}
        for match in self.pattern.finditer(content) if self.pattern else ():
            value = self.by_form[match.group()]
            if value not in found and (match.group() not in self.bounded or _stands_alone(content, *match.span())):
                found[value] = Hit(value, self.named[value], match.start())
        return list(found.values())


def _literal(form: bytes) -> str:
    """Return a pattern for exactly these bytes, one character for each."""
    return "".join(
        char if char.isalnum() and char.isascii() else f"\\x{ord(char):02x}" for char in form.decode("latin-1")
    )


def _stands_alone(content: bytes, start: int, end: int) -> bool:
    """Tell whether neither a letter nor a digit goes on beside a span; bytes of UTF-16 are looked through."""
    before, after = content[max(0, start - 2) : start].replace(b"\0", b""), content[end : end + 2].replace(b"\0", b"")
    return not before[-1:].isalnum() and not after[:1].isalnum()


@lru_cache(maxsize=2)
def _search(named: tuple[tuple[str, str], ...]) -> Search:
    return Search(dict(named))


def search(ctx: Context) -> Search:
    """Return the search for what is in use now; it is compiled once for the same secrets."""
    return _search(tuple(secrets_in_use(ctx.env).items()))
