"""Find where logical lines of Python-with-IPython end, which Python's own tokenizer cannot read.

It refuses `!ls` and `x = %magic` or splits them differently from version to version; this scanner knows strings,
brackets, comments and continued lines, and nothing else.
"""

from __future__ import annotations

import re

_ASSIGNED = re.compile(r"(?<![=!<>:+\-*/%&|^@~])=(?!=)[ \t]*(?=[!%])")
_ORDINARY = re.compile(r"[^\n#\"'\\=()\[\]{}]+")
_STRING_ENDS = {
    '"': re.compile(r'(?:\\.|[^\\\n"])*"?', re.DOTALL),
    "'": re.compile(r"(?:\\.|[^\\\n'])*'?", re.DOTALL),
    '"""': re.compile(r'(?:\\.|[^\\])*?(?:"""|\Z)', re.DOTALL),
    "'''": re.compile(r"(?:\\.|[^\\])*?(?:'''|\Z)", re.DOTALL),
}


def after_blanks(text: str, at: int) -> int:
    """Return where the indentation that starts here ends; a lone backslash is part of it."""
    while at < len(text):
        step = 2 if text.startswith("\\\n", at) else text[at] in " \t"
        if not step:
            break
        at += step
    return at


def statement_end(text: str, start: int) -> tuple[int, str]:
    """Return where the logical line that starts here ends, and its kind: python, assign (of a magic) or help."""
    at, depth, last = start, 0, ""
    while at < len(text):
        if run := _ORDINARY.match(text, at):
            last = run[0].rstrip()[-1:] or last
            at = run.end()
            continue
        char = text[at]
        if char == "\n" and depth == 0:
            break
        if char == "#":
            at = line_end(text, at)
            continue
        if char in "\"'":
            quote = char * 3 if text.startswith(char * 3, at) else char
            match = _STRING_ENDS[quote].match(text, at + len(quote))
            at, last = match.end() if match else len(text), char
            continue
        if char == "\\":
            at += 2
            continue
        if char == "=" and depth == 0 and _ASSIGNED.match(text, at):
            return raw_end(text, at), "assign"
        depth = max(0, depth + (char in "([{") - (char in ")]}"))
        last, at = (last if char.isspace() else char), at + 1
    return min(at, len(text)), "help" if last == "?" else "python"


def line_end(text: str, at: int) -> int:
    """Return where the physical line ends."""
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def raw_end(text: str, at: int) -> int:
    """Return where a magic or shell line ends; a backslash continues it."""
    end = line_end(text, at)
    while end < len(text) and text[end - 1] == "\\":
        end = line_end(text, end + 1)
    return end
