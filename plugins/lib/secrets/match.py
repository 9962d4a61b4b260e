"""Find credentials in a text, by the formats that vendors publish and by the surroundings that give others away.

A text is searched a few times as a whole, for what tokens begin with, for the words beside them and for assignments;
a rule's own pattern only sees the characters around such a hit, so the time grows with the text and no faster.
"""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from functools import cache
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from plugins.lib.secrets import context_assign, rules_read
from plugins.lib.secrets.lazy import Form

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plugins.lib.secrets.rules_read import Rule


class Match(NamedTuple):
    """One credential: what it is, the variable that should hold it, and where it stands (character offsets)."""

    kind: str
    name: str
    value: str
    start: int
    end: int
    title: str


class Candidate(NamedTuple):
    """A match with its claim to the place: the lower the rank the more specific, then the longer the better."""

    rank: int
    minus_size: int
    order: int
    match: Match


KINDS: Mapping[str, str]  # kind -> title, read from the tables at first use
NAMED = {"password": "password", "generic-secret": "secret"}
NAMED_RANK = 30
NEAR_CHARS = rules_read.GAP_CHARS + 300
WORD_BYTES = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")
NEAR_BYTES = WORD_BYTES | frozenset(b"+/=-?%^!@$*~|")


# What has to follow a word that occurs in every other text, lest its rules run for nothing.
WORD_GUARDS = {
    "environ": r"(?:\.get|\.setdefault)?\s{0,9}[(\[]\s{0,9}[\"'][^\"'\n]{1,80}[\"']\s{0,9}[)\]]?\s{0,9}(?:,|or\s)",
    "config(": r"\s{0,9}[\"'][^\"'\n]{1,80}[\"']\s{0,9},",
    ":-": r"[\"']?[^\s\"'{}|$:-][^\s{}|]{3,300}\}",
    "token": r"[\"']?[ \t]+(?:[\"']|[\w+/=.-]{15})",
    "secret": r"[\"']?[ \t]+(?:[\"']|[\w+/=.-]{15})",
    "default=": r"\s*[\"']",
    "7z": r"\s",
    ":a": r"[\w-]{34}",
    "://": r"[^\s@'\"<>`]{1,200}@",
    "machine": r"\s+\S{1,100}\s+login\b",
    "basic": r"\s+[A-Za-z0-9+/]{8}",
}

VALUE = Form(r"\{(\d+),\d{3}\}\).*")  # the end of a form: what may be up to hundreds of characters long
REPEAT = r"{\1})"  # its least length is enough to tell that there may be one
GROUP = Form(r"(?<!\\)\((?!\?)|\(\?P<name>")  # one that captures


class Tables(NamedTuple):
    """The compiled searches over a whole text and the rules that a hit calls for."""

    prefixes: Any
    by_prefix: dict[bytes, list[Rule]]
    prefix_sizes: list[int]
    words: Any
    by_word: dict[str, list[Rule]]
    others: Any  # where the first assignment may stand, or the first match of the rules that no word announces


def _alternatives(words: list[str]) -> str:
    """Return an alternation that prefers the longer words."""
    return "|".join(sorted(words, key=lambda word: (-len(word), word)))


@cache
def _tables() -> Tables:
    """Compile the searches that run over every text."""
    by_prefix: dict[bytes, list[Rule]] = {}
    guards = set()
    by_word: dict[str, list[Rule]] = {}
    for rule in rules_read.prefixed():
        if rule.is_prefixed:
            for word in rule.words:
                by_prefix.setdefault(word.encode(), []).append(rule)
                guards.add(re.escape(word) + rule.guard)
    for rule in [*rules_read.prefixed(), *rules_read.contexts(), *rules_read.nearby()]:
        if not rule.is_prefixed:
            for word in rule.words:
                by_word.setdefault(word, []).append(rule)
    return Tables(
        rules_read.compile_re2(rf"(?:^|[^A-Za-z0-9_]|\\[nrt]|%[0-9A-Fa-f]{{2}})({_alternatives(sorted(guards))})"),
        by_prefix,
        sorted({len(word) for word in by_prefix}),
        rules_read.compile_re2(
            _alternatives([re.escape(w) + WORD_GUARDS.get(w, "") for w in by_word]), ignore_case=True
        ),
        by_word,
        rules_read.compile_re2(
            "|".join(f"(?:{GROUP.sub('(?:', VALUE.sub(REPEAT, rule.form))})" for rule in rules_read.anywhere())
            + f"|(?i:{context_assign.ASSIGNED})"
        ),
    )


@cache
def _rules_of(word: str) -> list[Rule]:
    """Return the rules of a word and of the words inside it."""
    return [rule for inner, rules in _tables().by_word.items() if inner in word for rule in rules]


LINE_BEFORE = Form(rb"[A-Za-z0-9+/]{40,}(?:\\[nr]|[\"',\s]){1,20}\Z")
LINE_AFTER = Form(rb"(?:\\[nr]|[\"',\s]){1,20}[A-Za-z0-9+/]{40,}")


def _is_closed(data: bytes, end: int, inside: frozenset[int]) -> bool:
    """Tell whether a token ends at `end` instead of going on."""
    return end >= len(data) or data[end] not in inside


def _is_in_base64(data: bytes, start: int, end: int) -> bool:
    """Tell whether base64 goes on beside a token whose prefix could be base64 as well, or in the next line."""
    before, after = data[start - 1 : start], data[end : end + 1]
    if before == b"+" or after == b"+" or (before == b"/" and data[start - 2 : start - 1].isalnum()):
        return True
    if after == b"/" and data[end + 1 : end + 2].isalnum():
        return True
    lines = LINE_BEFORE.search(data, max(0, start - 200), start), LINE_AFTER.match(data, end, end + 200)
    return any(b"+" in line[0] or b"/" in line[0] for line in lines if line)


def _prefixed(text: str, data: bytes, tables: Tables) -> Iterator[tuple[Rule, int, int]]:
    """Yield the tokens that stand where their vendor's prefix does."""
    for hit in tables.prefixes.finditer(data):
        start = hit.start(1)
        for size in tables.prefix_sizes:
            for rule in tables.by_prefix.get(data[start : start + size], ()):
                found = rule.pattern.match(data, start, min(len(data), start + rule.after))
                if rule.is_bare and found and _is_in_base64(data, start, found.end()):
                    continue
                if found and _is_closed(data, found.end(), WORD_BYTES) and rule.check(text[start : found.end()]):
                    yield rule, start, found.end()


HASHES = Form(
    rb"commit|checkout|sha\d*|md5|hash|digest|revision|etag|checksum|fingerprint|guid|uuid|\bid\b|_id\b|version|blob|tree"
    rb"|resolve|snapshot|track|folder|file",
    re.IGNORECASE,
)
COMMENT = Form(rb"#|(?<!:)//|<-")
COMMENTED_CHARS = 400
KEY_WORDS = Form(rb"token|secret|key|api\b|pass", re.IGNORECASE)
SECRET_WORDS = Form(rb"token|secret|key|client", re.IGNORECASE)


def _is_no_secret(data: bytes, word_end: int, start: int, end: int) -> bool:
    """Tell whether what stands before a token says that it is a hash or the id of a thing; a number needs a name."""
    if HASHES.search(data, max(word_end, start - 16), start):
        return True
    return data[start:end].isdigit() and not SECRET_WORDS.search(data, word_end, start)


def _secret_span(rule: Rule, found: Any) -> tuple[int, int]:
    """Return where the secret of a match stands: its first group that took part, without the name's."""
    spans: Iterator[tuple[int, int]] = (found.span(n) for n in range(2 if rule.is_named else 1, rule.groups + 1))
    whole: tuple[int, int] = found.span()
    return next((span for span in spans if span[0] >= 0), whole)


def _has_other_name(rule: Rule, found: Any) -> bool:
    """Tell whether the name beside a value says that it is no secret."""
    return rule.is_named and context_assign.OTHER.search(found.group(1).decode("latin-1")) is not None


def _around(rule: Rule, data: bytes, hit: Any, done: dict[Rule, int]) -> Iterator[tuple[int, int]]:
    """Yield the spans of a rule's secret in the surroundings of a word."""
    if rule.is_near:
        if (
            hit.end() - hit.start() < 7
            and data[hit.start() - 1 : hit.start()].isalnum()
            and data[hit.end() : hit.end() + 1].isalnum()
        ):
            return  # a short name amid other letters, as chance puts it into base64
        begin, end, inside = max(hit.end(), done.get(rule, 0)), hit.end() + NEAR_CHARS, NEAR_BYTES
        done[rule] = limit = hit.end() + rules_read.GAP_CHARS
    else:
        if hit.start() < done.get(rule, 0):
            return
        begin, end, inside = max(0, hit.start() - rule.before), hit.end() + rule.after, WORD_BYTES
        done[rule] = hit.start() + rule.after // 2
        limit = end
    for found in rule.pattern.finditer(data, begin, min(end, len(data))):
        start, stop = _secret_span(rule, found)
        if start > limit:
            break
        if _has_other_name(rule, found) or (rule.is_near and _is_no_secret(data, hit.end(), start, stop)):
            continue
        if (not rule.is_closed or _is_closed(data, stop, inside)) and stop > start:
            yield start, stop


def _commented(data: bytes, hit: Any) -> tuple[int, int] | None:
    """Return (begin, end) of the code before a comment that says that there is a key of the vendor named by a hit."""
    begin = max(hit.start() - COMMENTED_CHARS, 0)
    head = data[begin : hit.start()]
    if not (b"#" in head or b"//" in head or b"<-" in head):
        return None
    begin += max(head.rfind(b"\n"), 0)
    comment = COMMENT.search(data, begin, hit.start())
    if comment is None or not KEY_WORDS.search(data, comment.start(), hit.end() + rules_read.GAP_CHARS):
        return None
    return begin, comment.start()


def _before_comment(rule: Rule, data: bytes, code: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield the spans of a rule's secret in the code before a comment."""
    for found in rule.pattern.finditer(data, *code):
        start, stop = _secret_span(rule, found)
        if not _is_no_secret(data, code[0], start, stop) and _is_closed(data, stop, NEAR_BYTES):
            yield start, stop


def _word_of(hit: str, tables: Tables) -> str:
    """Return the word that a hit is, or begins with."""
    return hit if hit in tables.by_word else next(word for word in WORD_GUARDS if hit.startswith(word))


def _by_words(text: str, data: bytes, tables: Tables) -> Iterator[tuple[Rule, int, int]]:
    """Yield the secrets that stand beside a word, or that hold it."""
    done: dict[Rule, int] = {}
    search, position = tables.words.search, 0
    while hit := search(data, position):
        word = _word_of(hit.group().lower().decode("latin-1"), tables)
        position = hit.start() + len(word)  # what had to follow it may hold other words
        code = _commented(data, hit)
        for rule in _rules_of(word):
            spans = _around(rule, data, hit, done)
            if code and rule.is_near:
                spans = chain(spans, _before_comment(rule, data, code))
            for start, end in spans:
                if rule.check(text[start:end]):
                    yield rule, start, end


def _anywhere(text: str, data: bytes, first: int) -> Iterator[tuple[Rule, int, int]]:
    """Yield the tokens that no prefix and no word announces, of which none begins before `first`."""
    for rule in rules_read.anywhere():
        for found in rule.pattern.finditer(data, first):
            start, end = _secret_span(rule, found)
            if _has_other_name(rule, found):
                continue
            if (rule.rank >= 10 or _is_closed(data, end, WORD_BYTES)) and rule.check(text[start:end]):
                yield rule, start, end


def _candidates(text: str) -> Iterator[Candidate]:
    """Yield everything that some rule takes for a secret."""
    tables = _tables()
    data = text.encode("latin-1", "replace")  # one byte a character, so that offsets are those of the text
    order = 0
    other = tables.others.search(data)
    sources = [_prefixed(text, data, tables), _by_words(text, data, tables)]
    sources += [_anywhere(text, data, other.start())] if other else []
    for rule, start, end in chain.from_iterable(sources):
        order += 1
        match = Match(rule.kind, rule.variable, text[start:end], start, end, rule.title)
        yield Candidate(rule.rank, start - end, order, match)
    for kind, variable, value, start in context_assign.find(text, data, other.start()) if other else ():
        order += 1
        match = Match(kind, variable, value, start, start + len(value), NAMED[kind])
        yield Candidate(NAMED_RANK, -len(value), order, match)


def _without_overlaps(candidates: list[Candidate]) -> list[Match]:
    """Return the matches with the best claims, by position."""
    taken: list[tuple[int, int, Match]] = []
    for candidate in sorted(candidates, key=lambda candidate: candidate[:3]):
        match = candidate.match
        at = bisect_left(taken, match.start, key=lambda entry: entry[0])
        if (at == 0 or taken[at - 1][1] <= match.start) and (at == len(taken) or taken[at][0] >= match.end):
            insort(taken, (match.start, match.end, match), key=lambda entry: entry[0])
    return [match for _, _, match in taken]


def find(text: str) -> list[Match]:
    """Return the credentials in a text by position, none overlapping another; only the value is the secret."""
    return _without_overlaps(list(_candidates(text)))


@cache
def _titles() -> Mapping[str, str]:
    """Return the title of each kind."""
    rules = [*rules_read.prefixed(), *rules_read.contexts(), *rules_read.nearby(), *rules_read.anywhere()]
    return MappingProxyType({rule.kind: rule.title for rule in rules} | NAMED)


def __getattr__(name: str) -> Any:
    """Read the tables when somebody asks for `KINDS`, kind -> title."""
    if name == "KINDS":
        return _titles()
    raise AttributeError(name)
