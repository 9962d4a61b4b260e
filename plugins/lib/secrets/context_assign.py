"""Secrets that only the name gives away: assignments in the syntaxes of programs, settings, markup and commands."""

from __future__ import annotations

import re
import string
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from plugins.lib.secrets import checks, checks_random
from plugins.lib.secrets.lazy import Form
from plugins.lib.secrets.rules_read import compile_re2

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME_CHARS = 80
QUOTES = ('"', "'", "`", "\\", "&")  # what closes a name that is an argument
VALUE_CHARS = 512

# A word of secrets, the rest of its name, what closes the name, an operator, what opens a value, and some value.
CLOSE = r"""(?:\[\d{1,5}\]|\\?["'`]|&quot;|&#34;|[\[\])*]|[ \t]){0,4}"""
TYPED = r"(?:[ \t]*:[ \t]*[A-Za-z][\w.?<>]{0,30}[ \t]*)?"  # as in `token: str = ...`
OPERATOR = r"(?:=>|->|<-|<=|:=|\?=|\|{1,2}=?|[.+!?=]?={1,3}|:{1,3}=?|,|>|\(|=)"
ASSIGNED = (
    r"(?:pass|pwd|pw|secret|token|key|auth|cred|salt|psk|otp|pat\b|dsn|contrase.a|senha|kennwort|haslo|parola)"
    r"[\w.-]*"
    r"(?:[ \t]{1,3}(?:string|str|text|is|char|const|varchar|value|default)\b)?"
    + CLOSE
    + r"""(?:[ \t]+["'][^\s"'`][^"'`\n]{3}|"""
    + TYPED
    + OPERATOR
    + r"(?:\s|\\\r?\n){0,40}"
    + r"""(?:[A-Za-z]{0,2}@?\\?["'`]{1,3}|&quot;|&#34;|\\u0022|\{|\[)?[^\s"'`,;(){}\[\]<>=][^"'`\n]{3})"""
)
SPLIT = Form(  # the same, to part name and value; matched at the start of the name
    r"(?P<name>[\w.\-]*)(?:[ \t]{1,3}\*?(?:string|str|text|is|char|const|varchar|value|default)\b)?"
    r"(?P<close>(?:\[\d{1,5}\]|\\?[\"'`]|&quot;|&#34;|[\[\])*]|[ \t]){0,4})"
    r"(?:[ \t]*:[ \t]*[A-Za-z][\w.?<>]{0,30}[ \t]*(?==))?"
    r"(?P<operator>=>|->|<-|<=|:=|\?=|\|{1,2}=?|[.+!?=]?={1,3}|:{1,3}=?|,|>|\(|(?<=[ \t])(?=[\"']))"
    r"(?P<space>(?:\s|\\\r?\n){0,40})"
    r"(?P<prefix>[A-Za-z]{0,2}@?)(?P<quote>\\?(?:\"{3}|'{3}|[\"'`])|&quot;|&#34;|\\u0022)?",
    re.IGNORECASE,
)
NAME_BACKWARDS = Form(r"[\w.\-]*")
PASSWORD = Form(
    r"(?:passw(?:or)?d|passphrase|passcode|pswd|passwort|motdepasse|contrase.a|senha|kennwort|haslo|parola|pwd)s?\d{0,2}$"
    r"|(?:^|[_.\-$@]|root|admin|user|db|ldap|smtp|mail|ftp|ssh|sudo|bind)(?:pass|pw|psk|otp)\d?$"
    r"|^(?:pwd|password|pass)[_.-](?:db|user|root|admin|prod|dev|test|ftp|smtp|mail|ldap|sql|ssh|vpn|wifi|api|web|app)$|(?-i:[a-z](?:Pass|Pw|PW)$)",
    re.IGNORECASE,
)
PASS_WORD = Form(
    r"(?:by|com|sur|tres|en|over|under|tres|ana|multi|low|high|band|all|single|one|two|\d)_?pass$", re.IGNORECASE
)
STRONG_NAME = Form(
    r"secret|token|passw|pwd|credential|api[_.-]?key|apikey|(?:access|private|auth|account|secret|encrypt\w*|signing|master|app|"
    r"application|license|session|service|admin|client|consumer|subscription|shared|storage|webhook|ssh|jwt|user|functions?|"
    r"[a-z]{3,})[_.-]?key\d?$|authorization|[a-z0-9]auth$|(?:^|[_.-])auth(?:$|[_.-])|authkey|_pat$|dsn$|salt$",
    re.IGNORECASE,
)
VERB = Form(  # of functions, whose argument is no secret
    r"(?:^|[_.-])(?:get|fetch|read|load|find|has|is|check|validate|verify|hash|parse|encode|decode)_?[a-z]*"
    r"(?:pass|secret|token|key|cred)",
    re.IGNORECASE,
)
OTHER = Form(  # what is no secret although its name holds the word of one
    r"(?:^|[_.-])(?:pad|eos|bos|unk|cls|sep|mask|start|end|stop|image|img|special|next|prev|page|continuation|begin|sos"
    r"|sync|cancellation|public|pub|primary|foreign|natural|schema|sequence|bucket|idx|partition|sort|cache|dict|row"
    r"|col|column|group|join|index|hot|short|answer|map|config|json|merge|lookup|search|state|object|s3|record|item|field"
    r"|translation|i18n|message|event|metric|label|class|feature|data|site|memory|input|output|attr|menu|tab|etag|sheet"
    r"|by|experiment|track)_?(?:tokens?|keys?)$"
    r"|(?:public|primary|foreign|partition|sort|cache|object|bucket|schema|natural|sequence)key|tokens$|keys$|key_?words"
    r"|[cx]srf_?(?:token|middle|header|cookie)|authenticity|verification_?token|viewstate|tokeni[sz]|bypass|compass|monkey|turkey|hockey|jockey|donkey"
    r"|whiskey|key_?(?:board|point|note|frame|id|alias|code|mesh|pair|press|ring|selector|signature|size|stone|store|up"
    r"|down|left|right|vault|event|usage|logger|word)|token_?(?:count|type|id|name|url)|digest|private_?key_?id"
    r"|author(?!iz)|authenticat|secretar|secretion|public|access(?:ibility|or)|withcredentials|issuer|passenger|passage"
    r"|passive|passing|passport|credential_?s?_?(?:id|type)|secret_?(?:id|name|length)|api_?(?:version|name|url|endpoint)"
    r"|_gid$|(?:_|-|\.|(?<=[a-z]))(?:hash|checksum|sha\d*|md5|guid|uuid|file|path|dir|folder|name|url|uri|link|type|len"
    r"|length|size|count|index|idx|format|label|field|column|col|policy|prompt|hint|message|error|text|title|desc"
    r"|description|regex|pattern|class|version|expiry|expires|exp|ttl|time|date|limit|usage|cost|rate|alias|algorithm|arn"
    r"|host|port|prefix|suffix|region|manager|provider|required|enabled|valid|status|mode|scope|placeholder|template"
    r"|example|endpoint|server|issuer|audience|symbol|list|set|ids|event|input|box|strength|encoder)s?$",
    re.IGNORECASE,
)
ID_END = Form(r"(?:_|-|\.|[a-z])id$", re.IGNORECASE)


class Assigned(NamedTuple):
    """A value and the name it is given to."""

    name: str
    value: str
    start: int
    is_quoted: bool
    operator: str
    close: str


@cache
def pattern() -> Any:
    """Return the compiled search for assignments."""
    return compile_re2(ASSIGNED, ignore_case=True)


def _quoted(text: str, start: int, quote: str) -> str | None:
    """Return the value up to its closing quote on the same line, None without one."""
    stop = min(len(text), start + VALUE_CHARS)
    end = text.find(quote, start, stop)
    while quote in "\"'`" and end > 0 and text[end - 1] == "\\" and text[end - 2 : end] != "\\\\":
        end = text.find(quote, end + 1, stop)
    if end < 0:
        return None
    value = text[start:end]
    return None if "\n" in value else value


BARE = Form(r"[^\s\"'`<>,;\\]{4,512}")
SOUP = Form(r"[^\s\"'`]{8,120}(?=[ \t]*$)", re.MULTILINE)
CODE = Form(r"[A-Za-z_$][\w.]*(?:\(.*\)|\[.*\])[;,]?|\$\w+[;,]?|[\w.]+[;,]?")
MEMBER = Form(r"\$\w+(?:->|::|\[)")  # of PHP
CALL = Form(r"[A-Za-z_][\w.]*[(\[]|![a-z]+$")


def _is_soup(value: str) -> bool:
    """Tell whether so many signs stand in an unquoted value that it is no code."""
    signs = {char for char in value if char in "!$#>-_@*?&^~"}
    return (
        len(signs) >= 3
        and bool(signs & set("!$#@?^~"))
        and not CODE.fullmatch(value)
        and not checks_random.is_hole(value)
    )


def _bare(text: str, start: int) -> str | None:
    """Return an unquoted value, None where it is an expression, a substitution or the end of a placeholder."""
    if MEMBER.match(text, start):
        return None
    soup = SOUP.match(text, start)
    if soup and _is_soup(soup[0]):
        return str(soup[0])
    match = BARE.match(text, start)
    if match is None or CALL.match(match[0]) or match[0].startswith(("$(", "@", "`")):
        return None
    value: str = match[0].rstrip(".:\\|")
    for opening, closing in ("()", "[]", "{}"):
        if value.endswith(closing) and opening not in value:
            value = value.rstrip(closing)
    return value


LABEL = Form(r"\b([A-Za-z]{2,15})[ -]\Z")
LABELS = Form(
    r"secret|access|api|app|auth(?:entication|orization)?|client|private|consumer|account|service|license|session|bot"
    r"|bearer|personal|master|encryption|signing|security|user|subscription|storage|shared",
    re.IGNORECASE,
)


def _label(text: str, start: int) -> str:
    """Return the word before a name such as `Key` where both are one label, as in `Secret Key: ...`."""
    match = LABEL.search(text, max(0, start - 17), start)
    return f"{match[1]}_" if match and LABELS.fullmatch(match[1]) else ""


def read(text: str, start: int) -> Assigned | None:
    """Read the assignment whose name holds the word at `start`."""
    before = NAME_BACKWARDS.match(text[max(0, start - NAME_CHARS) : start][::-1])
    name_start = start - (before.end() if before else 0)
    match = SPLIT.match(text, name_start)
    if match is None:
        return None
    quote = match["quote"] or ""
    value_start = match.end()
    if quote:
        value = _quoted(text, value_start, quote)
    else:
        value_start -= len(match["prefix"])
        value = _bare(text, value_start)
        if value and text[max(0, name_start - 1) : name_start] in ("?", "&"):
            value = value.partition("&")[0]
    if value is None:
        return None
    name = match["name"]
    if name.lower() in ("key", "token", "secret", "password"):
        name = _label(text, name_start) + name
    is_quoted = bool(quote) or (match["operator"] in ("=", ":", ":=", "=>") and _is_soup(value))
    return Assigned(name, value, value_start, is_quoted, match["operator"], match["close"])


def _is_word_end(name: str) -> bool:
    """Tell whether a name ends as that of a password does."""
    return PASSWORD.search(name) is not None and PASS_WORD.search(name) is None


SETTING = Form(r"\s*(?:[%!]?\s*(?:set_)?(?:env|export|set|setx|ENV|ARG|-e|-)\s+)?[-\w.\"' ]+\s*[=:]\s*$")
QUERY = Form(r"[?&][\w.-]*=$|(?:^|[\s;&])[A-Z_]{4,}=$")  # in a URL, or one of several settings on a line
DOTTED = Form(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
IDENTIFIER = Form(r"[A-Za-z_]\w*(?:\.\w+)*")


def _is_attribute(value: str) -> bool:
    """Tell whether a value is `name.name` of words."""
    return DOTTED.fullmatch(value) is not None and checks_random.word_ratio(value) > 0.5


def _is_value(found: Assigned, text: str) -> bool:
    """Tell whether an unquoted value is one, instead of a variable of a program."""
    kinds = sum(bool(kind.search(found.value)) for kind in checks.KINDS_OF_CHARACTER)
    if found.operator in ("(", ",", "") or kinds < 2 or _is_attribute(found.value):
        return False
    if found.operator in (":", ">", "|") or not IDENTIFIER.fullmatch(found.value):
        return kinds > 2 or any(map(str.isdigit, found.value)) or re.search(r"[!@#$%^&*]", found.value) is not None
    return any(map(str.isdigit, found.value)) and _stands_in_settings(found, text, kinds)


def _stands_in_settings(found: Assigned, text: str, kinds: int) -> bool:
    """Tell whether a value that could be a variable is none, by the line before it."""
    begin = max(0, found.start - 200)
    line = text[max(begin, text.rfind("\n", begin, found.start) + 1) : found.start]
    if QUERY.search(line):
        return True
    if not SETTING.match(line):
        return False
    is_setting_name = found.name.upper() == found.name or "." in found.name
    if is_setting_name and re.search(r"\d[A-Za-z]", found.value):
        return True
    return not line.endswith(" ") or (kinds > 2 and checks_random.word_ratio(found.value) < 0.5)


def _accept_password(found: Assigned, text: str) -> bool:
    """Accept a quoted password, and an unquoted one where no variable can stand."""
    if found.operator == "(" and re.match(
        r"(?i)(?:get|read|find|hash|check|verify|is|has|input|enter|ask)", found.name
    ):
        return False
    if found.operator == "" and found.name.lower() == "pass" and not checks.is_soup(found.value):
        return False  # the verb: pass 'float64'
    if found.operator in ("", ",") and not (checks.is_soup(found.value) or checks.is_typed(found.value)):
        return False
    if found.operator == "," and _is_list_item(found.value):
        return False
    if found.is_quoted and found.operator == "=" and len(found.name) <= 8 and checks.is_passphrase(found.value):
        return True
    return checks.is_password(found.value) and (found.is_quoted or _is_value(found, text))


def _is_list_item(value: str) -> bool:
    """Tell whether a value is a name of three words or more, as its neighbour in a list is."""
    return len(checks_random.PIECE.findall(value)) >= 3 and checks_random.word_ratio(value) > 0.6


def _accept_token(found: Assigned, text: str) -> bool:
    """Accept a random value under a name for secrets; the vaguer the name, the longer it has to be."""
    value = found.value
    is_reference = checks_random.REFERENCE.fullmatch(value) and not (len(value) >= 24 and checks.is_strong(value))
    is_item = found.operator == "," and _is_list_item(value)
    if is_reference or is_item or ADDRESS.fullmatch(value) or not PRINTABLE.fullmatch(value) or DIGEST.match(value):
        return False
    if STRONG_NAME.search(found.name) is None or ID_END.search(found.name):
        is_id = checks_random.UUID.fullmatch(value) or (found.is_quoted and checks_random.HEXADECIMAL.fullmatch(value))
        is_plain = TOKEN.fullmatch(value) is not None and not is_id
        return is_plain and len(value) >= 20 and checks_random.is_random(value)
    if (checks_random.HEXADECIMAL.fullmatch(value) and len(value) < 20) or CONSTANT.fullmatch(value):
        return False
    is_quoted = found.is_quoted or (found.operator == ":" and _is_value(found, text))
    if is_quoted and not checks_random.UUID.fullmatch(value) and checks.is_soup(value):
        return True
    if TOKEN.fullmatch(value) is None and not (found.is_quoted and len(value) >= 24):
        return False
    least = 2.5 if len(value) >= 16 else 2.9 if len(value) >= 10 and any(map(str.isdigit, value)) else 9
    return checks_random.is_random(value) and checks_random.entropy_bits(value) >= least


CONSTANT = Form(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|[a-z][a-z0-9]*(?:_[a-z]+){2,}")
ADDRESS = Form(r"0x[0-9a-fA-F]{40}")
DIGEST = Form(r"(?:sha\d{1,3}|md5)[:=-]", re.IGNORECASE)
PRINTABLE = Form(r"\S+")
TOKEN = Form(r"[\w.\-+/~:$!@%&*^#|]+={0,3}", re.ASCII)


def _is_named_argument(text: str, start: int, found: Assigned) -> bool:
    """Tell whether what stands before a comma is a quoted name, and neither a subscript nor a line of base64."""
    if not found.close.startswith(QUOTES) or "]" in found.close:
        return False
    before = text[max(0, start - NAME_CHARS) : start].rstrip(string.ascii_letters + string.digits + "_.-")
    is_part = len(found.name) < 12 and before.endswith(("+", "/", "="))
    return not is_part and not (len(found.name) >= 12 and checks_random.is_random(found.name))


def find(text: str, data: bytes, position: int = 0) -> Iterator[tuple[str, str, str, int]]:
    """Yield (kind, variable, value, start) of each secret that its name gives away, from `position` on."""
    search = pattern().search
    while match := search(data, position):
        position = match.end() - 4  # the value may hold a name of its own, as in key="password">...
        found = read(text, match.start())
        if found is None or (found.operator == "," and not _is_named_argument(text, match.start(), found)):
            continue
        if found.operator == "|" and text.rfind("{{", max(0, match.start() - 80), match.start()) >= 0:
            continue  # a filter of a template
        if not found.is_quoted:
            position = max(position, found.start + len(found.value))  # but no bare value does
        is_password = _is_word_end(found.name)
        if VERB.search(found.name) or (not is_password and OTHER.search(found.name)):
            continue
        variable = re.sub(r"\W+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", found.name)).strip("_").upper() or "SECRET"
        if _accept_password(found, text) if is_password else _accept_token(found, text):
            yield "password" if is_password else "generic-secret", variable, found.value, found.start
            position = max(position, found.start + len(found.value))
