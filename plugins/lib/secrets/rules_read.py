"""Read the tables of rules, and compile a rule the first time that one of its words occurs."""

from __future__ import annotations

import importlib
import re
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from plugins.lib.secrets import rules_cloud, rules_code, rules_context, rules_ml, rules_saas, rules_services
from plugins.lib.secrets.checks import CHECKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PLUGIN = {"api": 1, "summary": "formats of credentials", "requires": {"re2": "google-re2>=1.1"}}

GAP_CHARS = 40  # between a vendor's name and the token, as far as other scanners look
TOKEN_CHARS = 1200  # longer ones are cut, which is enough to tell that there is one
UUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
GUARD = re.compile(r"(\[[^\]]+\]|\\[wd])\{(\d+)")  # what follows a prefix, and how often at least
BEFORE = r"\\[nrt]|%[0-9A-Fa-f]{2}|[^A-Za-z0-9]"  # of a token: no letter that is not part of an escape
NEAR_BEFORE = r"[\s\"\'`=:(\[{<>,;&|\\\\]|\\[nrt]|%[0-9A-Fa-f]{2}"
LITERAL = re.compile(r"(?:[\w:/%@=~-]|\\[.\-])+(?![?*{|])")


def compile_re2(form: str, *, ignore_case: bool = False, max_mem: int = 1 << 25) -> Any:
    """Compile a pattern for one byte per character."""
    re2 = importlib.import_module("re2")
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.case_sensitive = not ignore_case
    options.max_mem = max_mem
    options.log_errors = False
    return re2.compile(form.encode("latin-1"), options)


class Rule:
    """One format of a credential: how to notice it, the pattern whose group is the secret, and who has a say."""

    def __init__(self, columns: list[str], options: dict[str, str], rank: int) -> None:
        self.kind, self.variable, self.title, self.words_text, self.form = columns
        self.token = self.form  # without what has to stand around it
        self.rank = int(options.get("rank", rank))  # the lower, the more specific
        self.is_prefixed = self.is_near = False
        self.is_named = "(?P<name>" in self.form  # the first group is the name of the setting, not the secret
        self.is_closed = True
        self.is_bare = False  # the prefix is letters and digits, as in any base64
        self.guard = ""
        before, _, after = options.get("span", "0:0").partition(":")
        self.before, self.after = int(before), int(after)
        self.check: Callable[[str], bool] = CHECKS[options.get("check", "token")]
        self.flags = options.get("flags", "")

    @property
    def words(self) -> list[str]:
        """The words of which one starts the search, lower case."""
        return self.words_text.split(",")

    @cached_property
    def pattern(self) -> Any:
        """The compiled form."""
        return compile_re2(self.form, ignore_case="i" in self.flags)

    @cached_property
    def groups(self) -> int:
        """How many groups the form has; one of them is the secret, or all of the match is."""
        return int(self.pattern.groups)


def _records(table: str) -> Iterator[list[str]]:
    """Yield the columns of each record; an indented line has further columns, a deeper one goes on with the last."""
    lines: list[str] = []
    for line in table.splitlines():
        if line.startswith(" ") and lines:
            lines[-1] += ("" if line.startswith(" " * 8) else "  ") + line.strip()
        elif line and not line.startswith("#"):
            lines.append(line)
    for line in lines:
        yield re.split(r" {2,}", line.strip())


def _split_options(columns: list[str], count: int) -> tuple[list[str], dict[str, str]]:
    """Part the `name=value` options from the first `count` columns."""
    return columns[:count], dict(option.split("=", 1) for option in columns[count:])


def _prefixed(table: str, rank: int) -> Iterator[Rule]:
    """Yield rules for tokens that a prefix gives away; it stands at the match unless the rule looks around."""
    for record in _records(table):
        columns, options = _split_options(record, 4)
        kind, variable, title, form = columns
        literal = LITERAL.match(form)
        words = options.get("words") or re.sub(r"\\(.)", r"\1", literal[0] if literal else "")
        reach = options.pop("reach", "")
        options.setdefault("span", "400:1200" if reach == "discord" else "120:200" if reach else f"0:{TOKEN_CHARS}")
        rule = Rule([kind, variable, title, words, form], options, rank)
        rule.is_prefixed = not reach
        rule.is_bare = all(word.isalnum() for word in rule.words)
        guard = GUARD.match(form[literal.end() :]) if literal and "words" not in options else None
        rule.guard = (
            f"{guard[1]}{{{min(8, int(guard[2]))}}}" if guard and rule.is_prefixed else options.get("guard", "")
        )
        if reach:
            rule.form = rf"(?:^|bot|{BEFORE})({form})"
        yield rule


def _nearby(table: str, rank: int) -> Iterator[Rule]:
    """Yield rules for tokens that stand shortly after their vendor's name."""
    for record in _records(table):
        columns, options = _split_options(record, 5)
        form = columns[4].replace("UUID", UUID)
        before = r"[\s\"'`>({]" if options.get("check") == "service" else NEAR_BEFORE
        columns[4] = rf"(?:{before})({form})"
        options.setdefault("check", "near")
        rule = Rule(columns, options, rank)
        rule.is_near, rule.token = True, form
        yield rule


def _contexts(table: str, rank: int) -> Iterator[Rule]:
    """Yield rules for credentials that their surroundings give away."""
    for record in _records(table):
        columns, options = _split_options(record, 5)
        options["flags"] = "" if options.get("flags") == "c" else "i"
        rule = Rule(columns, options, rank)
        rule.is_closed = False
        yield rule


@cache
def prefixed() -> list[Rule]:
    """Return the rules whose token begins with, or contains, what its vendor puts there."""
    tables = (rules_ml, rules_code, rules_cloud, rules_saas)
    return [rule for rank, table in enumerate(tables) for rule in _prefixed(table.PREFIXED, rank)]


@cache
def nearby() -> list[Rule]:
    """Return the rules for tokens beside a vendor's name."""
    tables = (rules_ml, rules_code, rules_cloud, rules_saas)
    services = ",".join(rules_services.SERVICES.split())
    others = f"service-key  SERVICE_API_KEY  key of a web service  {services}  {rules_services.FORM}  check=service"
    return [rule for table in tables for rule in _nearby(table.NEARBY, 20)] + list(_nearby(others, 25))


@cache
def anywhere() -> list[Rule]:
    """Return the rules whose whole pattern has to run over a text."""
    return list(_prefixed(rules_context.ANYWHERE, 10))


@cache
def contexts() -> list[Rule]:
    """Return the rules for surroundings."""
    return list(_contexts(rules_context.CONTEXT, 10))
