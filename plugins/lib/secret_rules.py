"""What credentials look like: the token formats that vendors publish, and the contexts that give others away.

A vendor's format is a prefix, a length and an alphabet. What has none is found by its surroundings, a header, a URL or
an assignment, and then only when it does not look like a placeholder. Only the value of a match is ever a secret.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Match(NamedTuple):
    """One credential in a text: what it is, the variable that should hold it, its value and where that begins."""

    kind: str
    name: str
    value: str
    start: int


class Rule(NamedTuple):
    """One credential format; the group of `pattern` is the secret."""

    kind: str
    name: str
    words: tuple[str, ...]  # lower case; without one of them in the text the pattern is not tried
    pattern: re.Pattern[str]
    accept: Callable[[str], bool] | None = None


def entropy_bits(value: str) -> float:
    """Return Shannon's entropy of the characters of `value`, in bits per character."""
    size = len(value)
    return -sum(n / size * math.log2(n / size) for n in (value.count(char) for char in set(value)))


# ---------------------------------------------------------------- what only looks like a secret

PLACEHOLDER = re.compile(
    r"example|placeholder|your|x{4}|\*{3}|\.{3}|change.?me|dummy|redacted|replace|insert|secret_?name|goes.?here"
    r"|<|>|\$\{|\$\(|\{\{|%\(|0{6}|12345678|23456789|abcdef(?:gh|\b)|[_-]here|enter[_-]|\[secret]|os\.environ|getenv|fake",
    re.IGNORECASE,
)
COMMON = re.compile(
    r"(?:my|the|some|a|test|new|old|user|admin|api|db|default)?[_-]?"
    r"(?:password|passwd|pass|pwd|secret|token|api_?key|key|test|demo|none|null|true|false|string|value|admin|root|guest"
    r"|postgres|mysql|mongo|redis|user|username|changeit|foo|bar|foobar|hello|credentials?|auth|anonymous|optional)"
    r"[_-]?\d{0,3}",
    re.IGNORECASE,
)
REFERENCE = re.compile(
    r"[\w.]*[a-z_]\w*[(\[].*|(?:https?|file|s3|gs)://.*|[./~].*/.*|[\w-]+\.(?:txt|json|pem|env|ya?ml|key|csv)"
)


def is_placeholder(value: str) -> bool:
    """Tell whether a value stands for a secret instead of being one."""
    return bool(PLACEHOLDER.search(value)) or len(set(value)) < 5 or COMMON.fullmatch(value) is not None


def _is_random(value: str) -> bool:
    """Accept what looks drawn by lot: digits and letters, few repetitions, no word list."""
    mixed = re.search(r"\d", value) and re.search(r"[A-Za-z]", value)
    return bool(mixed) and entropy_bits(value) >= 3.0 and not REFERENCE.fullmatch(value)


def _is_password(value: str) -> bool:
    """Accept what a person would type as a password: not one plain word, no call, no path, no template."""
    if REFERENCE.fullmatch(value) or re.search(r"[{}]", value) or value.startswith(("$", "%", "--")):
        return False
    kinds = sum(bool(re.search(kind, value)) for kind in (r"[a-z]", r"[A-Z]", r"\d", r"[^\w\s]"))
    return kinds >= 2 and entropy_bits(value) >= 2.2


def _is_basic(value: str) -> bool:
    """Accept base64 of `user:password`."""
    try:
        user, colon, password = base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return False
    return bool(user and colon and password) and not is_placeholder(password)


def _is_no_template(value: str) -> bool:
    """Accept what holds no field to be filled in."""
    return not re.search(r"[{}$]", value)


def _is_jwt(value: str) -> bool:
    """Accept three parts whose first is a JSON header with an algorithm."""
    try:
        head = value.partition(".")[0]
        return "alg" in json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, TypeError):
        return False


# ---------------------------------------------------------------- formats, as their vendors document them

# kind, variable, words of which one must occur (lower case), format. A token stands alone between other characters.
TOKENS = (
    ("aws-access-key", "AWS_ACCESS_KEY_ID", "akia asia", r"(?:AKIA|ASIA)[A-Z2-7]{16}"),
    ("google-api-key", "GOOGLE_API_KEY", "aiza", r"AIza[\w-]{35}"),
    ("google-oauth-secret", "GOOGLE_CLIENT_SECRET", "gocspx-", r"GOCSPX-[\w-]{28}"),
    ("google-oauth-token", "GOOGLE_ACCESS_TOKEN", "ya29.", r"ya29\.[\w-]{30,}"),
    ("github-token", "GITHUB_TOKEN", "ghp_ gho_ ghu_ ghs_ ghr_", r"gh[pousr]_[A-Za-z0-9]{36,255}"),
    ("github-token", "GITHUB_TOKEN", "github_pat_", r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    (
        "gitlab-token",
        "GITLAB_TOKEN",
        "gl",
        r"gl(?:pat|oas|cbt|dt|ft|imt|ptt|rt|soat|agent)-[\w-]{20,}(?:\.[\w.]{5,20})?",
    ),
    ("slack-token", "SLACK_TOKEN", "xox", r"xox[abeoprs]-(?:\d+-){1,3}[A-Za-z0-9-]{10,}"),
    ("slack-token", "SLACK_TOKEN", "xapp-", r"xapp-\d-[A-Z0-9]+-\d+-[a-z0-9]{32,}"),
    ("slack-webhook", "SLACK_WEBHOOK_URL", "hooks.slack.com", r"hooks\.slack\.com/[a-z]+/[A-Z0-9]+/[A-Z0-9]+/\w{18,}"),
    ("discord-webhook", "DISCORD_WEBHOOK_URL", "/webhooks/", r"discord(?:app)?\.com/api/webhooks/\d{17,20}/[\w-]{60,}"),
    ("telegram-token", "TELEGRAM_TOKEN", ":aa", r"\d{8,10}:AA[\w-]{33}"),
    ("stripe-key", "STRIPE_API_KEY", "k_live_ k_test_", r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    ("stripe-webhook-secret", "STRIPE_WEBHOOK_SECRET", "whsec_", r"whsec_[A-Za-z0-9+/]{32,}={0,2}"),
    ("openai-key", "OPENAI_API_KEY", "t3blbkfj", r"sk-(?:(?:proj|svcacct|admin|None)-)?[\w-]{20,}T3BlbkFJ[\w-]{20,}"),
    ("anthropic-key", "ANTHROPIC_API_KEY", "sk-ant-", r"sk-ant-[a-z]{3,6}\d\d-[\w-]{40,}"),
    ("openrouter-key", "OPENROUTER_API_KEY", "sk-or-", r"sk-or-v1-[0-9a-f]{64}"),
    ("openai-key", "OPENAI_API_KEY", "sk-", r"sk-(?:(?:proj|svcacct|admin)-[\w-]{40,}|[A-Za-z0-9]{32,64})"),
    ("huggingface-token", "HF_TOKEN", "hf_", r"hf_[A-Za-z0-9]{30,40}"),
    ("huggingface-token", "HF_TOKEN", "api_org_", r"api_org_[A-Za-z0-9]{34}"),
    ("kaggle-token", "KAGGLE_API_TOKEN", "kgat_", r"KGAT_[A-Za-z0-9]{16,}"),
    ("wandb-key", "WANDB_API_KEY", "wandb_v1_", r"wandb_v1_\w{30,}"),
    ("replicate-token", "REPLICATE_API_TOKEN", "r8_", r"r8_[A-Za-z0-9]{37}"),
    ("databricks-token", "DATABRICKS_TOKEN", "dapi", r"dapi[0-9a-f]{32}(?:-\d)?"),
    ("groq-key", "GROQ_API_KEY", "gsk_", r"gsk_[A-Za-z0-9]{52}"),
    ("perplexity-key", "PERPLEXITY_API_KEY", "pplx-", r"pplx-[A-Za-z0-9]{40,60}"),
    ("xai-key", "XAI_API_KEY", "xai-", r"xai-[A-Za-z0-9]{80}"),
    ("tavily-key", "TAVILY_API_KEY", "tvly-", r"tvly-(?:dev-|prod-)?[A-Za-z0-9-]{20,}"),
    ("langsmith-key", "LANGSMITH_API_KEY", "lsv2_", r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}"),
    ("pinecone-key", "PINECONE_API_KEY", "pcsk_", r"pcsk_[A-Za-z0-9]{5,8}_[A-Za-z0-9]{50,70}"),
    ("neptune-token", "NEPTUNE_API_TOKEN", "eyjhcgl", r"eyJhcGlf[A-Za-z0-9+/]{60,}={0,2}"),
    ("npm-token", "NPM_TOKEN", "npm_", r"npm_[A-Za-z0-9]{36}"),
    ("pypi-token", "TWINE_PASSWORD", "pypi-age", r"pypi-AgE[\w-]{50,}"),
    ("docker-token", "DOCKER_TOKEN", "dckr_", r"dckr_[po]at_[\w-]{27,}"),
    ("sendgrid-key", "SENDGRID_API_KEY", "sg.", r"SG\.[\w-]{22}\.[\w-]{43}"),
    ("digitalocean-token", "DIGITALOCEAN_TOKEN", "_v1_", r"do[opr]_v1_[0-9a-f]{64}"),
    ("shopify-token", "SHOPIFY_TOKEN", "shp", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    ("vault-token", "VAULT_TOKEN", "hvs. hvb. hvr.", r"hv[sbr]\.[\w-]{24,}"),
    ("grafana-token", "GRAFANA_TOKEN", "glsa_", r"glsa_[A-Za-z0-9]{32}_[0-9a-f]{8}"),
    ("supabase-key", "SUPABASE_KEY", "sbp_ sb_secret_", r"sbp_[0-9a-f]{40}|sb_secret_[\w-]{20,}"),
    ("azure-client-secret", "AZURE_CLIENT_SECRET", "q~", r"[\w.~-]{3}\dQ~[\w.~-]{31,34}"),
)

# The same, but only the surroundings tell: the group is the secret, case does not matter, and `accept` has a say.
CONTEXTS: tuple[tuple[str, str, str, str, Callable[[str], bool] | None], ...] = (
    ("private-key", "PRIVATE_KEY", "private key",
     r"(-----BEGIN (?:[A-Z0-9]+ ){0,2}PRIVATE KEY(?: BLOCK)?-----[^-]{0,300}?[A-Za-z0-9+/]{32,})", None),
    ("aws-secret-key", "AWS_SECRET_ACCESS_KEY", "aws",
     r"aws.{0,30}?(?:secret|access).{0,20}?[=:,]\s*['\"]?([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])", _is_random),
    ("kaggle-key", "KAGGLE_KEY", "kaggle",
     r"kaggle_?(?:api_?)?(?:key|token)['\"\])]*\s*[=:,]?\s*['\"]?([0-9a-f]{32})(?![0-9a-f])", None),
    ("kaggle-key", "KAGGLE_KEY", "username",
     r"['\"]username['\"]\s*:\s*['\"][\w-]+['\"]\s*,\s*['\"]key['\"]\s*:\s*['\"]([0-9a-f]{32})['\"]", None),
    ("wandb-key", "WANDB_API_KEY", "wandb", r"wandb[^\n]{0,60}?(?<![0-9a-f])([0-9a-f]{40})(?![0-9a-z])", None),
    ("cohere-key", "COHERE_API_KEY", "cohere",
     r"cohere[\w.\s]{0,40}[(=:\"',\s]{1,6}['\"]([A-Za-z0-9]{40})['\"]", _is_random),
    ("ngrok-token", "NGROK_AUTHTOKEN", "ngrok",
     r"ngrok[^\n]{0,60}?(?<!\w)(\d[A-Za-z0-9]{20,30}_[A-Za-z0-9]{20,24})(?!\w)", None),
    ("azure-storage-key", "AZURE_STORAGE_KEY", "accountkey sharedaccesskey",
     r"(?:Account|SharedAccess)Key=([A-Za-z0-9+/]{42,86}={1,2})", None),
    ("azure-sas", "AZURE_SAS_TOKEN", "sig=", r"\bs[vep]=[^\s'\"]{0,300}&sig=([\w%+/]{40,}={0,2})", None),
    ("json-web-token", "ACCESS_TOKEN", "eyj", r"(?<![\w-])(eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,})", _is_jwt),
    ("url-credentials", "DATABASE_URL", "://",
     r"\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@'\"<>]{0,64}:([^\s@/'\"<>]{3,100})@[\w.\[-]", _is_no_template),
    ("basic-auth", "BASIC_AUTH", "basic", r"\bbasic\s+([A-Za-z0-9+/]{12,}={0,2})", _is_basic),
    ("bearer-token", "ACCESS_TOKEN", "bearer", r"\bbearer\s+([\w.~+/-]{20,}=*)", _is_random),
    ("curl-credentials", "BASIC_AUTH", "curl",
     r"\bcurl\b[^\n]{0,200}?\s(?:-u|--user)[\s=]+['\"]?[^\s:'\"]+:([^\s'\"]{4,100})", _is_password),
)  # fmt: skip

RULES = (
    *(
        Rule(kind, name, tuple(words.split(" ")), re.compile(rf"(?<![A-Za-z0-9_])({form})(?![A-Za-z0-9_-])"))
        for kind, name, words, form in TOKENS
    ),
    *(
        Rule(
            kind,
            name,
            (words,) if kind == "private-key" else tuple(words.split(" ")),
            re.compile(form, re.IGNORECASE),
            accept,
        )
        for kind, name, words, form, accept in CONTEXTS
    ),
)

# ---------------------------------------------------------------- assignments: name = "value"

NAME_FORM = (
    r"[\w.-]{0,40}(?:passw(?:or)?d|passwd|pwd|passphrase|secret|api_?key|access_?key|account_?key|auth_?key|secret_?key"
    r"|signing_?key|encryption_?key|token|credential)s?"
)
QUOTED = re.compile(
    rf"(?<![\w.-])({NAME_FORM})['\"]?[\])]*(?:\s*:\s*\w+)?\s*(?:=|:|,(?=\s*['\"]))\s*[bru]?(['\"])([^'\"\n]{{6,200}})\2",
    re.IGNORECASE,
)
UNQUOTED = re.compile(
    rf"^[ \t]*(?:%(?:set_)?env|!?[ \t]*(?:export|set))[ \t]+({NAME_FORM})[ \t=]+()([^\s'\"#$]{{6,200}})",
    re.IGNORECASE | re.MULTILINE,
)
NAME_WORDS = ("passw", "pwd", "passphrase", "secret", "key", "token", "credential")
PASSWORD_NAME = re.compile(r"(?:passw(?:or)?d|passwd|pwd|passphrase)s?$", re.IGNORECASE)
OTHER_TOKEN = re.compile(  # of language models and of paged lists
    r"(?:pad|eos|bos|unk|cls|sep|mask|start|end|stop|image|special|next|page|continuation)_?tokens?$|tokens$",
    re.IGNORECASE,
)


def _assigned(text: str) -> Iterator[Match]:
    """Yield secrets that only the name they are given to gives away."""
    for pattern in (QUOTED, UNQUOTED):
        for match in pattern.finditer(text):
            name, _, value = match.groups()
            if OTHER_TOKEN.search(name) or is_placeholder(value):
                continue
            variable = re.sub(r"\W+", "_", name).strip("_").upper()
            if PASSWORD_NAME.search(name):
                if _is_password(value):
                    yield Match("password", variable, value, match.start(3))
            elif len(value) >= 12 and not re.search(r"\s", value) and _is_random(value):
                yield Match("generic-secret", variable, value, match.start(3))


def find(text: str) -> list[Match]:
    """Return the credentials in a text by position; a vendor's rule wins over a general one at the same place."""
    lowered = text.lower()
    found: list[Match] = []

    def add(match: Match) -> None:
        if all(match.start >= o.start + len(o.value) or o.start >= match.start + len(match.value) for o in found):
            found.append(match)

    for rule in RULES:
        if not any(word in lowered for word in rule.words):
            continue
        for match in rule.pattern.finditer(text):
            value = match[1]
            if not is_placeholder(value) and (rule.accept is None or rule.accept(value)):
                add(Match(rule.kind, rule.name, value, match.start(1)))
    if any(word in lowered for word in NAME_WORDS):
        for assigned in _assigned(text):
            add(assigned)
    return sorted(found, key=lambda match: match.start)
