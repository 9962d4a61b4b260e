"""Count the words of the Zen of Python. A script kernel: standard library only, a file out, a line printed."""

import codecs
import collections
import contextlib
import csv
import io
import re

with contextlib.redirect_stdout(io.StringIO()):  # the module prints its text when it is imported
    import this

text = codecs.decode(this.s, "rot13")
words = re.findall(r"[a-z]+(?:'[a-z]+)?", text.lower())
counts = collections.Counter(words)

with open("words.csv", "w", newline="", encoding="utf-8") as file:
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["word", "count"])
    table.writerows(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

word, count = min(counts.items(), key=lambda item: (-item[1], item[0]))
print(f"{len(words)} words, {len(counts)} different; the most common is {word!r} ({count} times)")
