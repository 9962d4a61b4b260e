"""Tell a secret from what only looks like one: what each rule asks about a value that its form has found."""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib

from plugins.lib.secrets.checks_random import (
    PIECE,
    PLAIN,
    REFERENCE,
    SEQUENCE,
    UUID,
    entropy_bits,
    is_ascending,
    is_monotonous,
    is_random,
    is_stand_in,
    is_word,
    mixes,
    repeats,
    word_ratio,
)
from plugins.lib.secrets.lazy import Form

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def is_strong(value: str) -> bool:
    """Accept a random value whose letters have both cases and that holds digits."""
    return (
        value.lower() != value != value.upper()
        and sum(map(str.isdigit, value)) >= 2
        and entropy_bits(value) >= 3.3
        and is_random(value)
    )


def is_near(value: str) -> bool:
    """Accept a random value, or a long number, beside its vendor's name."""
    if value.isdigit():
        return not is_monotonous(value) and not SEQUENCE.search(value)
    return any(map(str.isdigit, value)) and is_random(value)


def is_token(value: str) -> bool:
    """Accept a token that its vendor's prefix already gives away, unless it is an obvious placeholder."""
    body = value[4:] if len(value) > 20 else value
    return not is_stand_in(value) and not is_monotonous(body) and not is_ascending(body)


def is_unworded(value: str) -> bool:
    """Accept a token of letters that is no identifier."""
    return is_token(value) and word_ratio(value.partition("_")[2] or value) < 0.6


# ---------------------------------------------------------------------------------------------------- encoded, signed


def _base62(number: int, width: int) -> str:
    digits = ""
    while number:
        number, rest = divmod(number, 62)
        digits = BASE62[rest] + digits
    return digits.rjust(width, "0")


def has_crc(value: str) -> bool:
    """Tell whether a GitHub or npm token ends in the CRC32 of the rest, in base 62: github.blog/2021-04-05-..."""
    body = value.partition("_")[2]
    if value.startswith("github_pat_"):
        body = value[len("github_pat_") :]
    return _base62(zlib.crc32(body[:-6].encode()), 6) == body[-6:]


def is_crc_token(value: str) -> bool:
    """Accept a plausible token, and one that looks made up when its checksum is right."""
    return has_crc(value) or is_token(value)


def is_aws_key(value: str) -> bool:
    """Accept key ids that are no documentation: those end in EXAMPLE or repeat."""
    return (
        "EXAMPLE" not in value and is_token(value) and any(map(str.isdigit, value[4:])) | (word_ratio(value[4:]) < 0.5)
    )


def is_aws_secret(value: str) -> bool:
    """Accept 40 characters of base64 with both cases; a path and a SHA-1 in hexadecimal are none."""
    if re.fullmatch(r"[0-9a-fA-F]{40}", value) or "EXAMPLE" in value or is_stand_in(value):
        return False
    return value.lower() != value != value.upper() and entropy_bits(value) >= 3.5 and word_ratio(value) < 0.5


def _decoded(value: str) -> bytes:
    """Return what base64 of either alphabet holds, b"" where it holds nothing."""
    try:
        return base64.b64decode(value.replace("-", "+").replace("_", "/") + "=" * (-len(value) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def is_jwt(value: str) -> bool:
    """Accept three parts whose first is a JSON header with an algorithm."""
    try:
        head = json.loads(_decoded(value.partition(".")[0]))
    except ValueError:
        return False
    return isinstance(head, dict) and bool(head.keys() & {"alg", "enc", "typ", "kid"})


def is_jwt_in_base64(value: str) -> bool:
    """Accept base64 of a JSON web token."""
    token = _decoded(value[: len(value) // 4 * 4])
    return re.match(rb"eyJ[\w-]{8,}\.eyJ[\w.-]+$", token) is not None


def is_key_in_base64(value: str) -> bool:
    """Accept base64 of a PEM block with a private key."""
    return b"PRIVATE KEY" in _decoded(value[: len(value) // 4 * 4])


def is_basic(value: str) -> bool:
    """Accept base64 of `user:password`."""
    try:
        user, colon, password = _decoded(value).decode().partition(":")
    except UnicodeDecodeError:
        return False
    return bool(user and colon and len(password) >= 3) and password.isprintable() and not is_stand_in(password)


def is_bearer(value: str) -> bool:
    """Accept what follows `Bearer`: random, and no word of a sentence."""
    return is_random(value) and (any(map(str.isdigit, value)) or len(value) >= 30)


# ---------------------------------------------------------------------------------------------------------- passwords

KINDS_OF_CHARACTER = (Form(r"[a-z]"), Form(r"[A-Z]"), Form(r"\d"), Form(r"[^\w\s]"))
APP_PASSWORD = Form(r"[a-z]{4}(?: [a-z]{4}){3}")


def _has_only_plain_words(value: str) -> bool:
    """Tell whether a value is made of the words of placeholders, as `my_password` and `Secret1` are."""
    pieces = PIECE.findall(value)
    digits = sum(map(str.isdigit, value))
    if sum(map(len, pieces)) < sum(map(str.isalpha, value)):
        return False
    return bool(pieces) and digits < 2 and all(piece.lower() in PLAIN or len(piece) == 1 for piece in pieces)


def _without_count(value: str) -> str:
    """Return a value without 1, 12, 123, ... at its end, which examples put behind a plain word."""
    body = value.rstrip("123456789")
    return body if "123456789".startswith(value[len(body) :]) else value


def is_password(value: str) -> bool:
    """Accept what a person would type as a password: no plain word, no call, no path, no template."""
    plain = len(value) < 5 or REFERENCE.fullmatch(value) or _has_only_plain_words(_without_count(value))
    if plain or is_stand_in(value):
        return False
    if APP_PASSWORD.fullmatch(value):
        return not any(map(is_word, value.split()[:2]))
    if re.search(r"\s", value) or len(set(value)) < 4:
        return False
    kinds = [bool(kind.search(value)) for kind in KINDS_OF_CHARACTER]
    if kinds[2] or kinds[3]:
        joined = re.sub(r"[-./:,]", "", value)
        return sum(kinds) >= 2 and (kinds[2] or not joined.isalpha() or word_ratio(value) < 0.5)
    if "_" in value:
        return False
    return word_ratio(value) < 0.34 or (
        len(value) >= 16 and not re.search(r"pass|pwd|secret|user|name|key", value, re.IGNORECASE)
    )


def _is_trivial(value: str) -> bool:
    """Tell whether no one was meant to be kept out: a plain word, alone or after my, db, ..., or one character."""
    low = re.sub(r"^(?:my|the|your|test|db|new|some|user|admin)[-_]?", "", value.lower())
    return len(value) < 4 or len(set(low)) < 3 or low in PLAIN or _has_only_plain_words(value)


MESSAGE = Form(r"\b(?:the|your|enter|must|please|invalid|is|are|not|for|forgot|reset|new|pass\w*|should|field)\b")


def is_typed(value: str) -> bool:
    """Accept a password among the words of a sentence: it holds a digit or a sign."""
    value = value.rstrip(".,;:!?)")
    return is_password(value) and re.search(r"\d|[!@#$%^&*]", value) is not None and not value.endswith("%")


def is_passphrase(value: str) -> bool:
    """Accept three words or more in small letters that are no message about passwords."""
    return re.fullmatch(r"[a-z]+(?: [a-z0-9]+){3,}", value) is not None and MESSAGE.search(value) is None


def is_url_password(value: str) -> bool:
    """Accept the password of a URL; whoever writes one down there rarely means a placeholder; a port is none."""
    if "%" in value:
        from urllib.parse import unquote

        value = unquote(value)
    return not is_stand_in(value) and not _is_trivial(value) and not re.match(r"\d{2,5}[?#]", value)


def is_url_password_with_slash(value: str) -> bool:
    """Accept a URL's password that holds what should have been escaped; a port and a path are none."""
    return "/" in value and not re.match(r"\d{1,5}(?:/|$)", value) and is_url_password(value) and is_password(value)


def is_command_password(value: str) -> bool:
    """Accept the argument of an option for passwords; a variable, an option and a word are none."""
    return not value.startswith(("-", "$", "%", "/", "<", "\\")) and (is_password(value) or is_random(value))


def is_base64_data(value: str) -> bool:
    """Accept base64 of printable text that is no plain word, as Kubernetes keeps secrets."""
    text = _decoded(value.rstrip("="))
    return len(text) >= 6 and not is_stand_in(text.decode("latin-1")) and not value.isalpha() | value.isdigit()


def is_readable(value: str) -> bool:
    """Accept base64 of what people could type, in a place where all values are base64."""
    text = _decoded(value.rstrip("=")) if len(value.rstrip("=")) % 4 != 1 else b""
    return len(text) >= 5 and text.isascii() and text.decode().strip().isprintable() and is_base64_data(value)


def is_lot(value: str) -> bool:
    """Accept a value that is drawn by lot without doubt: no name of a thing reads like this."""
    return is_mixing(value) or (is_strong(value) and word_ratio(value) < 0.3) or is_long(value)


def is_strewn(value: str) -> bool:
    """Accept a value drawn by lot, and a short one with signs or digits among its letters."""
    return is_lot(value) or is_soup(value)


def is_long(value: str) -> bool:
    """Accept a random value of letters in both cases, so long that no name is."""
    return len(value) >= 24 and value.lower() != value != value.upper() and is_random(value) and word_ratio(value) < 0.2


def is_weak_password(value: str) -> bool:
    """Accept any password but the words that stand for one: it was found where only passwords stand."""
    return not _is_trivial(value) and not is_stand_in(value) and not value.startswith(("$", "%"))


def is_soup(value: str) -> bool:
    """Accept a short secret that no name looks like: punctuation, or a digit between letters of both cases."""
    if len(value) < 6 or repeats(value) or is_ascending(value) or not is_password(value):
        return False
    digits = sum(map(str.isdigit, value))
    ratio = word_ratio(value)
    if value.lower() != value != value.upper() and digits >= (1 if len(value) >= 8 else 2) and ratio < 0.5:
        return True
    signs = set(re.findall(r"[!@#$%^&*+=~?|;{}\[\]()<>]", value))
    return (
        len(set(value)) >= 6
        and bool(signs)
        and (len(signs) >= 3 or digits >= 2 or (ratio <= 0.8 and digits + len(signs) >= 2))
    )


def is_service(value: str) -> bool:
    """Accept a key of a service whose format is not known: random, and no UUID, which is mostly the name of a thing."""
    return is_near(value) and not UUID.fullmatch(value) and entropy_bits(value) >= 3.0


def is_mixing(value: str) -> bool:
    """Accept a random value whose digits are strewn among its letters."""
    return mixes(value) and is_random(value)


def is_secret(value: str) -> bool:
    """Accept a password or a random value."""
    return is_password(value) or is_random(value)


def is_padded(value: str) -> bool:
    """Accept a token that begins with a row of the same letter."""
    return is_random(value.lstrip("A").replace("%", ""))


def is_signature(value: str) -> bool:
    """Accept a signature in hexadecimal or base64; the more of it is looked at, the likelier chance repeats itself."""
    return is_random(value.replace("%", "")[:64])


def is_slack(value: str) -> bool:
    """Accept a Slack token whose last part is drawn by lot; numbers alone are the ids before it."""
    last = value.rpartition("-")[2]
    return is_token(value) and len(last) >= 8 and any(map(str.isalpha, last)) and word_ratio(last) < 0.6


def is_bot(value: str) -> bool:
    """Accept a bot's number and a random part after the colon."""
    return is_random(value.partition(":")[2])


def is_anything(value: str) -> bool:
    """Accept what the form has found."""
    return bool(value)


CHECKS = {
    "token": is_token,
    "unworded": is_unworded,
    "random": is_random,
    "near": is_near,
    "strong": is_strong,
    "crc": is_crc_token,
    "aws": is_aws_key,
    "aws_secret": is_aws_secret,
    "jwt": is_jwt,
    "jwt64": is_jwt_in_base64,
    "key64": is_key_in_base64,
    "basic": is_basic,
    "bearer": is_bearer,
    "password": is_password,
    "url": is_url_password,
    "url_slash": is_url_password_with_slash,
    "cli": is_command_password,
    "base64": is_base64_data,
    "weak": is_weak_password,
    "service": is_service,
    "secret": is_secret,
    "mixing": is_mixing,
    "lot": is_lot,
    "strewn": is_strewn,
    "soup": is_soup,
    "readable": is_readable,
    "typed": is_typed,
    "slack": is_slack,
    "bot": is_bot,
    "padded": is_padded,
    "signature": is_signature,
    "any": is_anything,
}
