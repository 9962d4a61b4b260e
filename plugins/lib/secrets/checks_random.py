"""Tell what is drawn by lot from placeholders, words and references."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from itertools import pairwise

from plugins.lib.secrets.lazy import Form

# How much likelier one letter (row, a-z) is followed by another (column) in the words of program sources than by
# chance: 0 = 64 times less likely, 6 = as likely, 9 = 8 times likelier. Counted over Python's standard library.
PAIRS = (
    "67874574716988172989665563755463226527436405646121518465843861775494275864214075569542822634741665633241"
    "85897764524879576999466852634567418016347316556121405233835660154653066453202272338312702443720546511130"
    "76877672324879872788261507302040002020004100214000004234734361051433135331403083569433914844850466642073"
    "85359321703563770265611040848886947265467524896632415677466352578977097776742283558435703733762867623060"
    "10000000000102001220600000846695638156768507876541606474944782565577348974426184659538903655861887645374"
    "66656551601768470777210201723182116001324202321121106234631561132552055312330043545413500341360236211431"
    "3343532240144546035512325340126101500120410121000125"
)

# ------------------------------------------------------------------------------------------------------- placeholders

STAND_IN = Form(
    r"#{3}|example|placeholder|your[-_ ]?|[-_ ]your|x{5}|\*{3}|\.{3}|\u2026|\u2022{3}|change[-_ ]?(?:me|it|this)"
    r"|redacted|Eby8vdM02xNOcqF|C2y6yDjf5/R\+ob0N8A"  # the published keys of emulators: Azurite, Cosmos DB
    r"|(?:^|[-_. ])(?:dummy|fake|replace|insert|enter|put|here|hidden|removed|todo|sample|mock|masked|censored|xxx+)"
    r"(?:$|[-_. ])|goes[-_ ]?here|[-_]here\b|fill[-_ ]?in|lorem|foobar|not[-_ ]?a?[-_ ]?real",
    re.IGNORECASE,
)
HOLE = Form(  # of shells, Python, Jinja, Ruby, Windows, documentation
    r"\$\{\{?[ \w.:?=+/-]{1,200}\}|\{\{[^}]{2,200}\}\}|<[A-Za-z_][\w \-./|]{0,80}>|%\(\w+\)s|\$\([^)]{1,100}\)"
    r"|\{[A-Za-z_][\w.\[\]\"'()!:]+\}|^\{\d*\}$|^\$[A-Za-z_]\w*$|^%\w+%$|^\[[A-Za-z _-]+\]$|^#\{.*\}$|^@[\w.]+@$"
    r"|%\d*\.\d*f|^\{.*\}$|^\(.*\)$|^%[sdr]$|^__\w+__$|\{\}|^<.*>$|\$\$\w+"
)
SEQUENCE = Form(r"0123456789|1234567890|abcdefghijkl|qwertyuiop", re.IGNORECASE)
RUN = Form(r"(.)\1{7,}")
REFERENCE = Form(  # an address, a path, a file's name, a call, an attribute, an option
    r"(?:https?|ftp|file|s3|gs|gcs|hdfs|arn|data|projects|urn):?[:/].*|[.~]{0,2}/[\w.~-]+/.*|[A-Za-z]:\\.*"
    r"|[\w./~-]+\.(?:txt|json|pem|env|ya?ml|key|csv|crt|cer|py|ipynb|html?|js|png|jpg|cfg|ini|toml|xml|md|h5|pkl|p12|jks)"
    r"|(?:ref\+)?(?:vault|ssm|op|awssm|gcpsm|azurekv|keyring|env|secretsmanager|arn|kms|sops)[+:].*"
    r"|#[0-9a-f]{6}(?:[0-9a-f]{2})?"
    r"|[a-z][\w-]*-\d+(?:\.\d+)+|@Microsoft\..*|![a-z]+|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*){2,}"
    r"|[A-Za-z_][\w.]*(?:\(|\[).*|--?[a-z][\w-]*"
    r"|(?:os|env|self|this|config|settings|process|args|options|params|request|secrets|app|conf|data)\.[\w.]+",
    re.IGNORECASE,
)
HEXADECIMAL = Form(r"(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{16,}|(?=[A-F]*\d)(?=\d*[A-F])[0-9A-F]{16,}")
UUID = Form(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
PLAIN_WORDS = """
password passwd pass pwd pw passphrase secret secrets token tokens api key keys apikey access auth user username name
admin test testing my the new old your here default root guest demo sample example value string text none null true
false anonymous optional required undefined empty foo bar baz qux hello world credential credentials login client
server private public db database postgres postgresql mysql mongo redis some this that abc xyz change changeit tiger
confirm
current enter wrong invalid valid repeat field input label placeholder prod dev staging local localhost host master
slave shared hash encrypted basic bearer oauth jwt id app account email dummy fake mypassword
"""
PLAIN = frozenset(PLAIN_WORDS.split())


def entropy_bits(value: str) -> float:
    """Return Shannon's entropy of the characters of `value`, in bits per character."""
    size = len(value)
    return -sum(n / size * math.log2(n / size) for n in (value.count(char) for char in set(value))) if size else 0.0


def is_hole(value: str) -> bool:
    """Tell whether a template, a shell or a person still has to fill the value in."""
    return HOLE.search(value) is not None


def is_stand_in(value: str) -> bool:
    """Tell whether the value says itself that it stands for a secret."""
    return STAND_IN.search(value) is not None or is_hole(value)


def is_ascending(value: str) -> bool:
    """Tell whether twelve characters or more follow each other as in the alphabet."""
    row = best = 1
    for before, char in pairwise(value[:400]):
        row = row + 1 if ord(char) - ord(before) == 1 else 1
        best = max(best, row)
    return best >= 12


def is_monotonous(value: str) -> bool:
    """Tell whether nobody drew this by lot: one character over and over, or very few of them."""
    run = RUN.search(value)
    few = len(set(value.lower())) < min(7, 2 + len(value) // 4)
    return few or (run is not None and (run.end() - run.start()) * 3 >= len(value)) or entropy_bits(value) < 2.0


# -------------------------------------------------------------------------------------------------------------- words

WORD_SCORES = (9, 9, 9, 7.5, 6.7, 6.3, 6.0, 5.8, 5.6)  # by length: short pieces are word-like by chance
PIECE = Form(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


@lru_cache(maxsize=4096)
def is_word(piece: str) -> bool:
    """Tell whether letters follow each other as in words, by the mean over their pairs."""
    low = piece.lower()
    if len(low) < 3:
        return False
    if low in PLAIN:
        return True
    codes = [ord(char) - 97 for char in low]
    if min(codes) < 0 or max(codes) > 25:
        return False
    total = sum(ord(PAIRS[a * 26 + b]) - 48 for a, b in pairwise(codes))
    return total / (len(codes) - 1) >= WORD_SCORES[min(len(codes), 8)]


def word_ratio(value: str) -> float:
    """Return the share of letters (0-1) that belong to word-like pieces."""
    pieces = PIECE.findall(value)
    letters = sum(map(len, pieces))
    return sum(len(piece) for piece in pieces if is_word(piece)) / letters if letters else 0.0


def mixes(value: str) -> bool:
    """Tell whether digits and letters alternate more often than in names with a number."""
    changes = sum(a.isdigit() != b.isdigit() for a, b in pairwise(value))
    return changes >= max(5, len(value) * 0.18)


def repeats(value: str) -> bool:
    """Tell whether some four characters occur three times."""
    low = value.lower()
    fours = [low[at : at + 4] for at in range(min(len(low), 200) - 3)]
    return any(low.count(four) >= 3 for four in set(fours))


def _has_letters_like_words(value: str) -> bool:
    """Tell whether letters follow each other as in names, by limits that digits between them raise."""
    has_digit = any(map(str.isdigit, value))
    if not has_digit and (value.lower() == value or value.upper() == value) and len(value) < 16:
        return True
    return word_ratio(value) >= (0.75 if has_digit and mixes(value) else 0.45 if has_digit else 0.34)


def is_random(value: str) -> bool:
    """Accept what looks drawn by lot: no words, no repetition, digits among letters or letters of both cases."""
    value = value[:200]  # as good as all of it
    if is_stand_in(value) or is_monotonous(value) or is_ascending(value) or SEQUENCE.search(value) or repeats(value):
        return False
    if UUID.fullmatch(value) or (HEXADECIMAL.fullmatch(value) and entropy_bits(value) >= 2.5):
        return True
    if not any(map(str.isalpha, value)) or entropy_bits(value) < min(3.0, 0.7 * math.log2(len(value))):
        return False
    return not _has_letters_like_words(value)
