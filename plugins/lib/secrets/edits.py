"""Make the changes that take secrets out of one cell: lookups in code and shell lines, a word in comments and text."""

from __future__ import annotations

import ast
import bisect
import re
from typing import TYPE_CHECKING, NamedTuple

from plugins.lib.secrets import fold, literals, repeats, rules_read

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from plugins.lib.secrets import layout
    from plugins.lib.secrets.record import Record

MAX_TRIED = 50  # edits of one cell or literal that are tried one by one, when all together do not fit
MIN_TOKEN_CHARS = 20
QUOTES = ('"', "'")
TAILS = re.compile(r"(?<=\w)[-_.](?=\w)")
WORD_TAIL = re.compile(
    r"(?:-[a-z]{3,12})+$"
)  # "<token>-post": text of the author, which rules take for the token's end
ENV_LINE = re.compile(r"^([ \t]*)%(?:set_)?env[ \t]+(\w+)(?:[ \t]*=[ \t]*|[ \t]+)\S")
EXPORT_LINE = re.compile(r"^([ \t]*)!?[ \t]*(?:export|set)[ \t]+(\w+)[ \t]*=[^;&|\n]*$")
OS_LINE = re.compile(r"^([ \t]*)os\.environ\[([\"'])(\w+)\2\][ \t]*=[ \t]*[rbu]?([\"'])([^\"'\n]*)\4[ \t]*(?:\#.*)?$")
SHELL_LINE = re.compile(r"^[ \t]*(?:[\w, \t]+=[ \t]*)?(?:!|%(?:sx|system|env|set_env)\b)")
OTHER_MAGIC = re.compile(r"^[ \t]*(?:[\w, \t]+=[ \t]*)?%(?!%|(?:time|timeit|prun|memit)\b)")


class Style(NamedTuple):
    """How secrets are looked up; `inline` are the names that the notebook uses for something else."""

    kaggle: bool
    inline: frozenset[str] = frozenset()

    def environ(self) -> str:
        """Return the expression for the environment."""
        return '__import__("os").environ' if "os" in self.inline else "os.environ"

    def lookup(self, name: str) -> str:
        """Return the expression that gives the secret."""
        if not self.kaggle:
            return f'{self.environ()}["{name}"]'
        module = '__import__("kaggle_secrets").' if CLIENT in self.inline else ""
        return f'{module}{CLIENT}().get_secret("{name}")'

    def needs(self, *, environ: bool = False) -> tuple[str, ...]:
        """Return the names that must be imported for a lookup, and for setting the environment."""
        names = (["os"] if environ or not self.kaggle else []) + ([CLIENT] if self.kaggle else [])
        return tuple(name for name in names if name not in self.inline)


class Target(NamedTuple):
    """A place of a secret in a source: `name` is its variable; a plain one may only be a word like others."""

    start: int
    end: int
    name: str
    is_plain: bool


class Edit(NamedTuple):
    """One change of a cell's source; `needs` are the names that must be imported for it."""

    start: int
    end: int
    text: str
    name: str
    line: int
    needs: tuple[str, ...]


CLIENT = "UserSecretsClient"


# ---------------------------------------------------------------- edits of one cell


def targets_in(source: str, records: Sequence[Record], names: dict[str, str], seen: set[Record]) -> list[Target]:
    """Return the places of the secrets in a source, none overlapping another, in order."""
    spans: list[Target] = []
    last = 0
    for record in sorted((one for one in records if one.start >= 0), key=lambda one: (one.start, -one.end)):
        end = _end_of(source, record, names)
        if record.start >= last and end > record.start:
            name = names[source[record.start : end]]
            spans.append(Target(record.start, end, name, repeats.is_plain(record.value) and record not in seen))
            last = end
    return spans


def _end_of(source: str, record: Record, names: dict[str, str]) -> int:
    """Return where a secret ends: another one may be its beginning, with text of the author behind it."""
    alone = source[record.start - 1 : record.start] in QUOTES and source[record.end : record.end + 1] in QUOTES
    for match in TAILS.finditer(record.value):
        value = record.value[: match.start()]
        if value in names:
            return record.start + len(value)
    tail = None if alone else WORD_TAIL.search(record.value)
    if tail and tail.start() >= MIN_TOKEN_CHARS:
        names.setdefault(record.value[: tail.start()], names[record.value])
        return record.start + tail.start()
    return record.end


def _line_of(source: str, at: int) -> tuple[int, int, str]:
    begin = source.rfind("\n", 0, at) + 1
    end = source.find("\n", at)
    end = len(source) if end < 0 else end
    return begin, end, source[begin:end]


def _set_elsewhere(source: str, at: int, style: Style) -> tuple[int, int, str, str, tuple[str, ...]] | None:
    """Return the change for a line whose whole purpose is to set an environment variable."""
    begin, end, line = _line_of(source, at)
    match = ENV_LINE.match(line) or EXPORT_LINE.match(line)
    if match:
        indent, name = match[1], match[2]
    elif (match := OS_LINE.match(line)) and not style.kaggle:
        indent, name = match[1], match[3]
    else:
        return None
    if style.kaggle and line.lstrip().startswith("%"):
        text = f'{indent}{style.environ()}["{name}"] = {style.lookup(name)}'
        return begin, end, text, name, style.needs(environ=True)
    return begin, end, f"{indent}# {name} comes from the environment", name, ()


def _in_shell(source: str, start: int, name: str, style: Style) -> str:
    """Return what stands for a value in a shell line: IPython's {} on Kaggle, else $, for which quotes are left."""
    if style.kaggle:
        return "{" + style.lookup(name).replace('"', "'") + "}"
    line = source[source.rfind("\n", 0, start) + 1 : start]
    quoted = line.replace('"', "").count("'") % 2 == 1 and line.count('"') % 2 == 0
    return f"'\"${name}\"'" if quoted else f"${name}"


def shell_edits(source: str, targets: Sequence[Target], style: Style) -> list[Edit]:
    """Return the changes of shell lines: what stands for the value, or a comment for what sets the environment."""
    edits = []
    for start, end, name, is_plain in targets:
        if is_plain:
            continue
        line = source.count("\n", 0, start) + 1
        whole = _set_elsewhere(source, start, style)
        needs = style.needs() if style.kaggle else ()
        if whole:
            edits.append(Edit(whole[0], whole[1], whole[2], whole[3], line, whole[4]))
        else:
            edits.append(Edit(start, end, _in_shell(source, start, name, style), name, line, needs))
    return edits


def python_edits(source: str, targets: Sequence[Target], style: Style, cell: layout.Layout) -> list[Edit]:
    """Return the changes of a Python cell: magic lines, comments, literals."""
    found = literals.spans(source)
    lines = line_numbers(source, targets)
    bare = [one for one in targets if lines[one] not in cell.within]  # a line of a string is neither magic nor code
    shell = [one for one in bare if SHELL_LINE.match(_line_of(source, one.start)[2])]
    edits = shell_edits(source, shell, style)
    cuts: dict[int, list[Target]] = {}
    done = set(shell) | {one for one in bare if OTHER_MAGIC.match(_line_of(source, one.start)[2])}
    outside = set(bare)
    for target in targets:
        if target in done:
            continue
        start, end, name, is_plain = target
        line = lines[target]
        whole = _set_elsewhere(source, start, style) if target in outside and not is_plain else None
        masked = Edit(start, end, f"[{name} removed]", name, line, ())
        if whole:
            edits.append(Edit(whole[0], whole[1], whole[2], whole[3], line, whole[4]))
        elif _covers(found.comments, start, end):
            edits += [] if is_plain else [masked]
        elif (place := literals.covering(found.groups, start, end)) is not None:
            if _covers(cell.statements, start, end):
                edits += [] if is_plain else [masked]
            else:
                cuts.setdefault(place, []).append(target)
    for number, spans in cuts.items():
        edits += _group_edit(source, found.groups[number], spans, style)
    return edits


def _covers(spans: Sequence[tuple[int, int]], start: int, end: int) -> bool:
    """Tell whether one of the spans, which are in order, holds another one."""
    number = bisect.bisect_right(spans, start, key=lambda span: span[0]) - 1
    return number >= 0 and end <= spans[number][1]


def line_numbers(source: str, targets: Iterable[Target]) -> dict[Target, int]:
    """Return the lines of targets that come in order."""
    found: dict[Target, int] = {}
    at, line = 0, 1
    for target in targets:
        line += source.count("\n", at, target.start)
        at = target.start
        found[target] = line
    return found


def _group_edit(source: str, group: list[literals.Literal], spans: Sequence[Target], style: Style) -> list[Edit]:
    """Return the change of literals that stand beside each other."""
    terms: dict[literals.Literal, list[str]] = {}
    names: list[str] = []
    for literal in group:
        inside = [one for one in spans if literal.body_start <= one.start and one.end <= literal.body_end]
        whole = [one for one in inside if (one.start, one.end) == (literal.body_start, literal.body_end)]
        inside = whole or [one for one in inside if not one.is_plain]
        parts, kept = _cut(source, literal, inside, style)
        if kept:
            terms[literal] = parts
            names += [one.name for one in kept]
    if not terms:
        return []
    text = literals.group_text(source, group, terms)
    line = source.count("\n", 0, spans[0].start) + 1
    return [Edit(group[0].start, group[-1].end, text, ", ".join(dict.fromkeys(names)), line, style.needs())]


def _cut(source: str, literal: literals.Literal, inside: list[Target], style: Style) -> tuple[list[str], list[Target]]:
    """Return the terms that a literal becomes, and which places it loses: all, or those that can be cut out."""

    def parts(targets: list[Target]) -> list[str] | None:
        return literals.rewritten(source, literal, [(one.start, one.end, style.lookup(one.name)) for one in targets])

    whole = parts(inside)
    if whole is not None or len(inside) > MAX_TRIED:
        return whole or [], inside if whole else []
    kept: list[Target] = []
    for target in inside:
        if parts([*kept, target]) is not None:
            kept.append(target)
    return parts(kept) or [], kept


def built_edits(
    source: str, records: Sequence[Record], names: dict[str, str], style: Style, cell: layout.Layout
) -> list[Edit]:
    """Return the changes of expressions made of literals that build a secret: "a" + "b"."""
    values = sorted({one.value for one in records if one.start < 0}, key=lambda value: (-len(value), value))
    formats = {rule.kind for rule in rules_read.prefixed() if rule.is_prefixed}
    located = [one.start for one in records if one.start >= 0 and one.kind in formats] if values else []
    edits = []
    for node, text, _ in fold.built(cell.tree, cell.code, {}) if values else ():
        value = next((one for one in values[:MAX_TRIED] if one in text), None)
        if value is None or not isinstance(node, ast.expr) or _makes_bytes(node):
            continue
        start, end = fold.span_of(source, node)
        if source.find(value, start, end) >= 0 or any(start <= at < end for at in located):
            continue  # one literal holds it, or all of a token, and is cut
        name = names[value]
        before, after = text.split(value, 1)
        alone = id(node) in cell.nodes
        if alone:
            lookup = repr(f"{before}[{name} removed]{after}")
        else:
            lookup = " + ".join(
                [*map(repr, [before] * bool(before)), style.lookup(name), *map(repr, [after] * bool(after))]
            )
            lookup = f"({lookup})" if before or after else lookup
        lookup += "\n" * source.count("\n", start, end)
        edits.append(Edit(start, end, lookup, name, node.lineno, () if alone else style.needs()))
    return edits


def _makes_bytes(node: ast.expr) -> bool:
    """Tell whether bytes take part in an expression, so that its value may be none of text."""
    return any(
        (isinstance(part, ast.Constant) and isinstance(part.value, bytes))
        or (isinstance(part, ast.Attribute) and part.attr in ("encode", "decode"))
        for part in ast.walk(node)
    )
