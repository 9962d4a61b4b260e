"""Credentials are found by their published form and by what stands around them; what only looks like one is not.

Every token here is made at run time: by a seeded generator from a rule's own form, or from pieces.
"""

import base64
import json
import random
import re
import re._constants as sre_constants
import re._parser as sre_parser
import string
import subprocess
import sys
import time
import zlib
from pathlib import Path
from urllib.parse import quote

import certifi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.lib.secrets import checks, checks_random, rules_read
from plugins.lib.secrets.match import KINDS, Match, find

ALNUM = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
CATEGORIES = {
    sre_constants.CATEGORY_DIGIT: string.digits,
    sre_constants.CATEGORY_WORD: ALNUM + "_",
    sre_constants.CATEGORY_SPACE: " ",
    sre_constants.CATEGORY_NOT_SPACE: ALNUM,
}


# --- a generator of what a form describes -----------------------------------------------------------------------------


def alphabet(items):
    """Return the characters of a class, common ones if it is a negated one."""
    chars, negate = set(), False
    for op, argument in items:
        if op is sre_constants.NEGATE:
            negate = True
        elif op is sre_constants.LITERAL:
            chars.add(chr(argument))
        elif op is sre_constants.RANGE:
            chars |= {chr(code) for code in range(argument[0], argument[1] + 1)}
        else:
            chars |= set(CATEGORIES[argument])
    return sorted(set(ALNUM) - chars if negate else chars)


def produce(tree, rng):
    """Return a random text that a parsed pattern matches; open repetitions stay near their least count."""
    parts = []
    for op, argument in tree:
        if op is sre_constants.LITERAL:
            parts.append(chr(argument))
        elif op is sre_constants.ANY:
            parts.append(rng.choice(ALNUM))
        elif op is sre_constants.IN:
            parts.append(rng.choice(alphabet(argument)))
        elif op in (sre_constants.MAX_REPEAT, sre_constants.MIN_REPEAT):
            least, most, inner = argument
            count = rng.randint(least, min(int(most), least + 12))
            parts += [produce(inner, rng) for _ in range(count)]
        elif op is sre_constants.SUBPATTERN:
            parts.append(produce(argument[3], rng))
        elif op is sre_constants.BRANCH:
            parts.append(produce(rng.choice(argument[1]), rng))
        elif op is not sre_constants.AT:
            raise NotImplementedError(op)
    return "".join(parts)


def made(rule, form, seed=0):
    """Return a token of a rule's form that the rule's own check takes for real and that ends in a letter or digit."""
    tree = sre_parser.parse(form)
    for attempt in range(2000):
        rng = random.Random(f"{rule.kind}-{form}-{seed}-{attempt}")  # noqa: S311 (the same tokens in every run)
        token = produce(tree, rng)
        # a token that ends in a separator cannot be told from one that is followed by it
        if (
            rule.check(token)
            and (rule.is_prefixed or token[0].isalnum())
            and (token[-1].isalnum() or token.endswith("="))
        ):
            return token
    raise AssertionError(f"no token for {rule.kind}")


def draw(size, chars=ALNUM, seed=1):
    """Return characters drawn by lot."""
    rng = random.Random(f"{seed}-{size}")  # noqa: S311 (the same characters in every run)
    return "".join(rng.choice(chars) for _ in range(size))


PREFIXED = [rule for rule in (*rules_read.prefixed(), *rules_read.anywhere()) if rule.rank < 10]
NEARBY = rules_read.nearby()


def ids(rules):
    return [f"{number}-{rule.kind}" for number, rule in enumerate(rules)]


def values(text):
    return [match.value for match in find(text)]


# --- every kind ------------------------------------------------------------------------------------------------------

PLACES = (
    'KEY = "{}"',
    "{}",
    "!export KEY={}",
    'curl -H "X-Auth: {}" https://api.test/',
    '{{\\"value\\": \\"{}\\"}}',
    "é 日本 🙂 ('{}')",
    "first line\\n{}\\nlast line",
)


def test_there_are_more_than_four_hundred_kinds_each_with_a_title_and_a_variable():
    assert len(KINDS) >= 400
    for rule in [*PREFIXED, *NEARBY, *rules_read.contexts()]:
        assert re.fullmatch(r"[a-z0-9]+(?:-[a-z0-9]+)*", rule.kind), rule.kind
        assert re.fullmatch(r"[A-Z][A-Z0-9_]*", rule.variable), rule.kind
        assert KINDS[rule.kind]


def test_a_kind_has_one_variable_per_title_and_no_two_rules_are_the_same():
    seen = [(rule.kind, rule.form) for rule in [*PREFIXED, *NEARBY, *rules_read.contexts()]]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("rule", PREFIXED, ids=ids(PREFIXED))
def test_a_token_is_found_wherever_it_stands(rule):
    for seed, places in enumerate((PLACES, PLACES[:2])):
        token = made(rule, rule.token, seed)
        for place in places:
            text = place.format(token)
            found = [match for match in find(text) if match.value == token]
            assert found, (text, find(text))
            assert text[found[0].start : found[0].end] == token
            same_form = {other.kind for other in PREFIXED if re.fullmatch(other.token, token)}
            assert found[0].kind in same_form | {"json-web-token"}


@pytest.mark.parametrize("rule", PREFIXED, ids=ids(PREFIXED))
def test_a_token_that_goes_on_or_breaks_off_is_not_of_its_kind(rule):
    token = made(rule, rule.token)
    for broken in (token[: len(token) // 3], "x" + token, token[:2] + "!" + token[3:]):
        kinds = {match.kind for match in find(f"see {broken} there") if match.value == token}
        assert rule.kind not in kinds


@pytest.mark.parametrize("rule", NEARBY, ids=ids(NEARBY))
def test_a_token_is_found_beside_its_vendor(rule):
    for word in rule.words[:40]:
        token = made(rule, rule.token)
        for place in ('{}_key = "{}"', "{} key: '{}'", '"{} token" => "{}"'):
            text = place.format(word, token)
            assert token in values(text), (text, find(text))


@pytest.mark.parametrize("rule", NEARBY, ids=ids(NEARBY))
def test_a_token_far_from_its_vendor_is_not_found(rule):
    token = made(rule, rule.token)
    text = f"{rule.words[0]} is a word that stands quite far from the thing itself:\n\n {token}"
    assert token not in [match.value for match in find(text) if match.kind == rule.kind]
    assert [match for match in find(f"see /{token}/ there") if match.kind == rule.kind] == []


# --- surroundings ----------------------------------------------------------------------------------------------------

SECRET = "Tr0ub4dor" + "3x"
LONG = draw(32)
BASIC = base64.b64encode(f"alice:{SECRET}".encode()).decode()
HEADER = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
JWT = f"{HEADER}.{draw(40)}.{draw(43)}"
PEM_BODY = "\n".join(draw(64, ALNUM + "+/", seed) for seed in range(6))

FOUND = {
    "url": (f"postgresql+psycopg2://app:{SECRET}@db.internal:5432/x", SECRET),
    "url of mongodb": (f"mongodb+srv://app:{SECRET}@cluster0.ab1.mongodb.net/?retryWrites=true", SECRET),
    "url of git": (f"!git clone https://bob:{SECRET}@github.com/a/b.git", SECRET),
    "url without user": (f"redis://:{SECRET}@10.0.0.1:6379/0", SECRET),
    "url token": (f"http://127.0.0.1:8888/?token={draw(48, HEX)}", draw(48, HEX)),
    "jdbc": (f"jdbc:mysql://h:3306/db?user=root&password={SECRET}", SECRET),
    "basic": (f'headers = {{"Authorization": "Basic {BASIC}"}}', BASIC),
    "bearer": (f'-H "Authorization: Bearer {LONG}"', LONG),
    "header token": (f"Authorization: token {draw(40, HEX)}", draw(40, HEX)),
    "header key": (f'"x-api-key": "{LONG}"', LONG),
    "curl": (f"!curl -u admin:{SECRET} https://api.test/", SECRET),
    "curl over two lines": (f"curl \\\n  --user 'admin:{SECRET}' https://api.test/", SECRET),
    "requests": (f'requests.get(url, auth=("bob", "{SECRET}"))', SECRET),
    "http basic": (f"HTTPBasicAuth('bob', '{SECRET}')", SECRET),
    "smtp login": (f'server.login("me@mail.test", "{SECRET}")', SECRET),
    "app password": ("server.login('me@mail.test', '" + "abqd efkh " + "ixkl mnwp')", "abqd efkh ixkl mnwp"),
    "sql server": (f"Server=h;Database=d;User Id=sa;Password={SECRET};", SECRET),
    "sql": (f"CREATE USER bob IDENTIFIED BY '{SECRET}'", SECRET),
    "sql role": (f"ALTER ROLE bob WITH LOGIN PASSWORD '{SECRET}'", SECRET),
    "azure storage": (f"AccountName=x;AccountKey={draw(86)}==;EndpointSuffix=y", draw(86) + "=="),
    "azure sas": (f"https://a.blob.test/c?sv=2022-11-02&se=2030-01-01&sig={draw(43)}%3D", draw(43) + "%3D"),
    "jwt": (f"jwt {JWT}", JWT),
    "sshpass": (f"!sshpass -p '{SECRET}' ssh bob@h", SECRET),
    "mysql": (f"!mysql -u root -p{SECRET} db", SECRET),
    "docker": (f"docker login -u bob -p {SECRET} registry.test", SECRET),
    "option": (f"tool --password {SECRET} --verbose", SECRET),
    "token option": (f"huggingface-cli login --token {LONG}", LONG),
    "argparse": (f'parser.add_argument("--db-password", default="{SECRET}")', SECRET),
    "netrc": (f"machine api.test\n  login bob\n  password {SECRET}", SECRET),
    "npmrc": (f"//registry.test/:_authToken={LONG}", LONG),
    "docker config": (f'{{"auths": {{"https://r.test": {{"auth": "{BASIC}"}}}}}}', BASIC),
    "kaggle.json": (f'{{"username":"bob","key":"{draw(32, HEX)}"}}', draw(32, HEX)),
    "kaggle.json in a shell": (
        f'!echo "{{\\"username\\":\\"bob\\",\\"key\\":\\"{draw(32, HEX)}\\"}}" > k',
        draw(32, HEX),
    ),
    "jupyter hash": (f"u'sha1:{draw(12, HEX)}:{draw(40, HEX)}'", f"sha1:{draw(12, HEX)}:{draw(40, HEX)}"),
    "named value": (f'<add key="ApiSecret" value="{LONG}"/>', LONG),
    "yaml value": (f"- name: DB_PASSWORD\n  value: {SECRET}", SECRET),
    "set_env": (f"%set_env DB_PASSWORD {SECRET}", SECRET),
    "jenkins": (f"<secret>{{AQAAABAAA {LONG}}}</secret>", LONG),
}


TYPED = "nx" + "rpya5h7"
MIXED = draw(20, ALNUM, "mixed")
FOUND |= {
    "markdown table": (f"| DB_PASSWORD | {TYPED} |", TYPED),
    "markdown": (f"**password**: {TYPED}", TYPED),
    "dockerfile": (f"FROM x\nENV API_TOKEN {MIXED}\nRUN y", MIXED),
    "option at the start": (f"--db-password {TYPED}", TYPED),
    "option of java": (f"java -Dpass={TYPED} -jar x", TYPED),
    "option in a list": (f'["tool", "--password", "{TYPED}"]', TYPED),
    "terraform": (f'{{\n name = "DB_PASSWORD"\n  value = "{TYPED}"\n}}', TYPED),
    "xml entry": (f'<entry key="password">{TYPED}</entry>', TYPED),
    "query": (f"?user=x&rootpw={TYPED}&z=1", TYPED),
    "windows": (f"setx DB_PASSWORD {TYPED}", TYPED),
    "powershell": (f"$env:DB_PASSWORD = '{TYPED}'", TYPED),
    "secure string": (f"ConvertTo-SecureString '{TYPED}' -AsPlainText", TYPED),
    "swift": (f'let apiToken: String = "{MIXED}"', MIXED),
    "python with a type": (f'api_token: str = "{MIXED}"', MIXED),
    "c": (f'#define API_SECRET "{MIXED}"', MIXED),
    "continued line": (f'PASSWORD = \\\n   "{TYPED}"', TYPED),
    "comparison": (f'if "{TYPED}" == my_password:', TYPED),
    "prose": (f"the new password is {TYPED}.", TYPED),
    "label": (f"Client secret {MIXED}", MIXED),
    "keytool": (f"keytool -list -storepass {TYPED} -v", TYPED),
    "unzip": (f"!unzip -P {TYPED} a.zip", TYPED),
    "redis-cli": (f"redis-cli -h h -a {TYPED}", TYPED),
    "oracle": (f"cx_Oracle.connect('scott', '{TYPED}', dsn)", TYPED),
    "spanish": (f"contrasena = '{TYPED}'", TYPED),
    "base64 that begins like a path": (
        "config['webhook_secret'] = '/" + draw(42, ALNUM, "path") + "='",
        "/" + draw(42, ALNUM, "path") + "=",
    ),
}


GUIDS = [f"{draw(8, HEX, n)}-{draw(4, HEX, n)}-4{draw(3, HEX, n)}-a{draw(3, HEX, n)}-{draw(12, HEX, n)}" for n in "abc"]
TEAMS = f"acme.webhook.office.com/webhookb2/{GUIDS[0]}@{GUIDS[1]}/JenkinsCI/{draw(32, HEX)}/{GUIDS[2]}"
BOT = "5217" + "009341:" + "B" + draw(34)
ENCODED = [base64.b64encode(text.encode()).decode() for text in (SECRET, "admin")]
FOUND |= {
    "default of a lookup": (f'key = os.environ.get("A_PASSWORD") or "{SECRET}"', SECRET),
    "default of getenv": (f"connect(password=os.getenv('A_PASSWORD', '{SECRET}'))", SECRET),
    "default of decouple": (f'X = config("SECRET_KEY", default="{LONG}")', LONG),
    "default of node": (f"const x = process.env.JWT_SECRET || '{LONG}'", LONG),
    "default of a shell": (f"PGPASSWORD=${{DB_PASSWORD:-{SECRET}}}", SECRET),
    "sudo": (f"!echo '{SECRET}' | sudo -S apt install x", SECRET),
    "here string": (f"sudo -S true <<< {SECRET}", SECRET),
    "standard input": (f"echo {SECRET} | docker login -u bob --password-stdin", SECRET),
    "user with an @ in a url": (f"smtp://bob@mail.test:{SECRET}@smtp.mail.test:587", SECRET),
    "encrypted setting": (f"env:\n  - secure: {LONG}+/=", LONG + "+/="),
    "kubernetes data": (f"kind: Secret\ndata:\n  user: {ENCODED[1]}\n  my.pass: {ENCODED[0]}\n", ENCODED[0]),
    "kubernetes stringData": (f"kind: Secret\nstringData:\n  user: admin\n  conf: {SECRET}\n", SECRET),
    "curl with a key as user": (f"curl -u '{LONG}:' https://api.test", LONG),
    "curl without user": (f"curl -u ':{LONG}' https://api.test", LONG),
    "curl header": (f'curl -H "Token: {draw(32, HEX)}" https://api.test', draw(32, HEX)),
    "teams": (f"url = 'https://{TEAMS}'", TEAMS),
    "telegram": (f"telegram bot: '{BOT}'", BOT),
    "telegram url": (f"https://api.telegram.org/bot{BOT}/getMe", BOT),
    "label without sign": (f"Access Token {LONG}", LONG),
    "label with sign": (f"Authentication key:{LONG}", LONG),
    "label with dash": (f"API Key - {LONG}", LONG),
    "password in brackets": (f"PASSWORD({SECRET}!)", f"{SECRET}!"),
    "long option": (f"tool --clientSecret {LONG}", LONG),
    "option with a dot": (f"tool --api.key {LONG}", LONG),
    "name and value": (f"SECRET_KEY_BASE {draw(128, HEX)}", draw(128, HEX)),
    "array of c": (f'char secret[25] = "{MIXED}";', MIXED),
    "vendor in a comment": (f'k = "{draw(32, HEX)}"  # datadog api key', draw(32, HEX)),
}


RSA = random.Random("rsa").randbytes(256)  # noqa: S311 (the same signature in every run)
SIGNED = {
    "version 2 of google": (
        "https://storage.googleapis.com/k/a.csv?GoogleAccessId=me%40x.iam.gserviceaccount.com&Expires=18&Signature={}",
        quote(base64.b64encode(RSA), safe=""),
    ),
    "version 2 of google, not quoted": ("https://a.test/x?Signature={}", base64.b64encode(RSA).decode()),
    "version 4 of google": ("https://a.test/x?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Signature={}", RSA.hex()),
    "version 4 of amazon alone": ("https://b.s3.amazonaws.com/x?X-Amz-Signature={}", draw(64, HEX, "v4")),
    "version 2 of amazon": (
        "https://b.s3.amazonaws.com/x?Signature={}&Expires=1",
        quote(base64.b64encode(RSA[:20]), safe=""),
    ),
    "cloudfront": ("https://d1.cloudfront.net/x?Expires=1&Signature={}&Key-Pair-Id=K1", draw(170, ALNUM + "-~", "cf")),
    "of another service": ("https://a.test/x?q-ak=x&q-signature={}", draw(40, HEX, "cos")),
    "azure without its other parts": ("https://a.blob.test/x?sig={}", draw(43, ALNUM, "sas") + "%3D"),
    "in HTML": ('<a href="https://a.test/x?Expires=1&amp;Signature={}">', draw(40, seed="html")),
    "in JSON": ('"https://a.test/x?Expires=1\\u0026Signature={}"', draw(40, seed="json")),
    "in another address": (
        "'data:https%3A%2F%2Fstorage.googleapis.com%2Fx.zip%3FX-Goog-Date%3D1%26X-Goog-Signature%3D{}:2'",
        RSA.hex(),
    ),
    "fields of a form": ("{{'x-amz-date': '1', 'x-amz-signature': '{}'}}", draw(64, HEX, "form")),
    "session token": (
        "https://b.s3.amazonaws.com/x?X-Amz-Security-Token={}&X-Amz-Date=1",
        quote(base64.b64encode(RSA[::-1]), safe=""),
    ),
    "short token": ("https://a.test/x.csv?access_token={}", "hunter2" + "secret"),
    "token": ("https://a.test/x.csv?a=1&amp;access_token={}&b=2", draw(24, seed="token")),
}
FOUND |= {f"signed: {name}": (form.format(secret), secret) for name, (form, secret) in SIGNED.items()}


@pytest.mark.parametrize(("text", "secret"), FOUND.values(), ids=FOUND)
def test_a_secret_is_found_by_its_surroundings(text, secret):
    assert values(text) == [secret]


@pytest.mark.parametrize("label", ["RSA ", "EC ", "OPENSSH ", "ENCRYPTED ", "", "DSA "])
@pytest.mark.parametrize("newline", ["\n", "\\n", "\r\n"])
def test_a_private_key_is_found_as_one_secret(label, newline):
    begin, end = f"-----BEGIN {label}PRIVATE " + "KEY-----", f"-----END {label}PRIVATE " + "KEY-----"
    key = newline.join([begin, *PEM_BODY.split("\n"), end])
    found = find(f'key = """{key}"""')
    assert [(match.kind, match.value) for match in found] == [("private-key", key)]


def test_pgp_and_putty_keys_are_found_and_a_public_key_is_not():
    pgp = "-----BEGIN PGP PRIVATE " + f"KEY BLOCK-----\nVersion: X\n\n{PEM_BODY}\n-----END PGP PRIVATE KEY BLOCK-----"
    assert [match.value for match in find(pgp)] == [pgp]
    putty = f"PuTTY-User-Key-File-2: ssh-rsa\nEncryption: none\nPrivate-Lines: 6\n{PEM_BODY}\n"
    assert [match.kind for match in find(putty)] == ["putty-private-key"]
    assert find(f"-----BEGIN PUBLIC KEY-----\n{PEM_BODY}\n-----END PUBLIC KEY-----") == []


# --- assignments -----------------------------------------------------------------------------------------------------

PASSWORD_PLACES = (
    'password = "{}"',
    "passwd='{}'",
    "{{'db_password': '{}'}}",
    '"password": "{}",',
    'connect(user="bob", password="{}")',
    'DB_PASS := "{}"',
    '$db_pass = "{}";',
    "define('DB_PASSWORD', '{}');",
    'if password == "{}":',
    'os.environ["DB_PASSWORD"] = "{}"',
    'os.putenv("DB_PASSWORD", "{}")',
    "<password>{}</password>",
    "%env DB_PASSWORD={}",
    "!export DB_PASSWORD={}",
    "db.password={}",
    "password: {}",
    'String pwd = "{}";',
    "dbPassword => '{}'",
    'client.setPassword("{}")',
)
TOKEN_PLACES = (
    'fooToken = "{}"',
    'fooToken := "{}"',
    "fooToken := `{}`",
    "foo_TOKEN={}",
    "foo_token: {}",
    '"foo.token": "{}"',
    "<fooToken>{}</fooToken>",
    "<fooToken>\n    {}\n</fooToken>",
    "fooToken => '{}'",
    "foo_token ?= {}",
    '@Value("foo.token={}")',
    'var fooToken string = "{}"',
    "$fooToken .= '{}'",
    "%env FOO_API_KEY={}",
    '!export FOO_SECRET="{}"',
    'foo(api_key="{}")',
    'os.environ["FOO_KEY"] = "{}"',
    '{{\\"foo_token\\": \\"{}\\"}}',
    "[DEBUG] Using Key={}",
)


@pytest.mark.parametrize("place", PASSWORD_PLACES)
@pytest.mark.parametrize("password", ["hunter2", "P@ssw0rd123", SECRET, "Zx9!kLq"])
def test_a_password_is_found_in_every_syntax(place, password):
    text = place.format(password)
    assert values(text) == [password]
    assert find(text)[0].kind == "password"


@pytest.mark.parametrize("place", TOKEN_PLACES)
def test_a_random_value_is_found_under_a_name_for_secrets(place):
    for token in (draw(32, seed=5), draw(40, HEX, seed=5), draw(24, string.ascii_lowercase + string.digits, seed=6)):
        assert values(place.format(token)) == [token]


def test_the_variable_is_named_after_the_assignment():
    assert [match.name for match in find(f'dbPassword = "{SECRET}"')] == ["DB_PASSWORD"]
    assert [match.name for match in find(f'"my.api-key": "{LONG}"')] == ["MY_API_KEY"]


# --- what is none ----------------------------------------------------------------------------------------------------

NONE = """
password = "password"
password = os.environ["PASSWORD"]
password: str = Field(...)
password = getpass.getpass("Enter your password: ")
password = "********"
password: changeme
"password": "{{ vault_password }}"
password = f"{user}-{suffix}"
"password_confirmation": "Passwords do not match!"
<input type="password" name="password" id="password1">
password_hash = "5f4dcc3b5aa765d61d8327deb882cf99"
passenger_id = "0001_01"
bypass = "disabled1"
token = os.getenv("TOKEN")
token = user_secrets.get_secret("HF_TOKEN")
token: ${{ secrets.GITHUB_TOKEN }}
export TOKEN=$(cat token.txt)
%env TOKEN=$TOKEN
tokenizer.pad_token = "[PAD]"
tokenizer.pad_token_id = 50256
bos_token="<|startoftext|>", eos_token="<|endoftext|>"
max_tokens=2048, stop_token="END2024"
api_key = "YOUR_API_KEY"
api_key = "<your api key>"
api_key = "sk-..."
api_key: Optional[str] = None
client_secret = settings.CLIENT_SECRET
secret_name = "prod/db/password1"
private_key_path = "/home/user/.ssh/id_rsa"
key_file = "service-account-key-2019.json"
key="customer_id"
sort_key = "last_modified_timestamp_2021"
df.merge(other, on="key", how="left")
keys = ["abc123def456", "q1w2e3r4t5"]
keyword = "machinelearning2019"
"_cell_guid": "79c7e3d0-c299-4dcb-8224-4455121ee9b0"
sha = "d6cd1e2bd19e03a81132a23b2025920577f84e37"
commit: d6cd1e2bd19e03a81132a23b2025920577f84e37
numpy==1.2 --hash=sha256:d6cd1e2bd19e03a81132a23b2025920577f84e37d6cd1e2bd19e03a81132a23b
color = "#ff00aa"
model_name = "meta-llama/Llama-2-7b-chat-hf"
https://example.org/a/d6cd1e2bd19e03a81132a23b2025920577f84e37/config.json
wandb: Run data is saved locally in /kaggle/working/wandb/run-20210915_123456-1x2y3z4w
https://github.com/u/r/blob/6f3a8d1b9c4e5f7a2b1c0d9e8f7a6b5c4d3e2f1a/wandb/sdk/login.py
postgresql://${DB_USER}:${DB_PASS}@host/db
postgresql://{user}:{password}@host/db
postgresql://user:<password>@host/db
https://user:password@example.org
http://localhost:8888/tree?token=...
curl -u $USER:$PASS https://api.test
curl -H "Authorization: Bearer $TOKEN" https://api.test
headers = {"Authorization": f"Bearer {token}"}
Authorization: Bearer YOUR_TOKEN_HERE
docker login -u $USER -p $PASS
--password=${PASSWORD}
public_key = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAu1SU1LfVLPHCozMxH2Mo"
ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7vbqajDhA user@host
authenticator = "externalbrowser2"
"key": "30daac61-6b73-4bae-a7d9-9dca538794d5"
if "-----BEGIN RSA PRIVATE KEY-----" in text:
token_id = "c7869f67-246a-4ca1-9773-4300ae5c9ed4"
password: !vault |
password = "vault:secret/data/app#key1"
password: ref+vault://secret/app/password1
--max-token-type bearer1 --tokenizer bert-base-uncased2
wandb.use(commit="6f3a8d1b9c4e5f7a2b1c0d9e8f7a6b5c4d3e2f1a")
kaggle md5: 9e107d9d372bb6826bd81d3542a419d6
ether_secret_key = "0x" + "52908400098527886E0F7030069857D2E4169EE7"
("password", "StorageEncrypted")
password = props.password1
csrfmiddlewaretoken: '4kJh2G5f6D7s8A9q0WeRtYuIoP1zXcVb'
<input type="hidden" name="authenticity_token" value="4kJh2G5f6D7s8A9q0WeRtYuIoP1zXcVb">
sqlalchemy.exc.OperationalError: connection 2a3b4c5d6e7f8a9b0c1d
track_key = '6rqhFgbbKwnb9MLmUQDhG6'
file_id = "1XyZ3bC4d5E6f7G8h9I0jKlMnOpQrStUvW"
"private_key_id": "6f3a8d1b9c4e5f7a2b1c0d9e8f7a6b5c4d3e2f1a"
$config['password'] = $this->getPassword1();
$password = $_POST["pwd_1"];
'password' => $row['password2'],
https://url:8000?@foo
redis://:%2A%2A%2A%2A%2A%2A@host:6379
curl -u <user:password> https://x.io
password = "password123"
plt.plot(trace["TOKEN"], "#A60628")
token_color = "#348ABD"
password: {{ .Values.password | b64enc }}
os.environ.get("DB_PASSWORD") or "password"
os.getenv("API_KEY", "your-api-key")
os.getenv("KEY_NAME", "my_key_name")
echo $PASSWORD | sudo -S ls
echo "your_password" | sudo -S ls
secure: "if-available"
PASSWORD(max_length=128)
tool --clientSecret $SECRET
secret_name prod-db-secret-1
|:-----|:-:|
char token[256] = {0};
'KvJumpToName2Symbol', 'KvGetSectionKey3Symbol',
https://storage.googleapis.com/b/o?GoogleAccessId=<email>&Expires=1388534400&Signature=<signature>
https://b.s3.amazonaws.com/o?X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-Signature=<signature-value>
https://b.s3.amazonaws.com/o?AWSAccessKeyId=...&Expires=...&Signature=...
https://b.s3.amazonaws.com/o?Signature=YOUR_SIGNATURE_GOES_HERE_FOR_THE_REQUEST
https://b.s3.amazonaws.com/o?Signature=SignatureOfTheRequestInBase64AndQuoted
https://a.blob.core.windows.net/c?sv=2022-11-02&sig={sas_signature}
f"https://a.test/o?Expires={expires}&Signature={quote(signature_in_base64)}&Key-Pair-Id={key_pair}"
{'x-amz-signature': '<signature of the policy, in hexadecimal form>'}
https://a.test/x?access_token=YOUR_TOKEN
https://a.test/x?access_token=ACCESS-TOKEN&page=2
https://a.test/x?access_token=user.token
https://a.test/x?next_page_token=CAESBggDEAIYAw12345678
"""


def test_base64_over_many_lines_holds_no_token():
    body = random.Random(5).randbytes(30_000)  # noqa: S311 (the same bytes in every run)
    lines = [base64.b64encode(body[at : at + 57]).decode() for at in range(0, len(body), 57)]
    for text in ("\n".join(lines), "\\n".join(lines), json.dumps(lines, indent=1)):
        assert find(text) == []


def test_the_published_key_of_an_emulator_is_no_secret():
    key = "Eby8vdM02xNOcqF" + "lqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    assert find(f"AccountName=devstoreaccount1;AccountKey={key};") == []


def test_the_certificates_of_the_world_hold_no_secret():
    assert find(Path(certifi.where()).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("value", ["float64", "latin1", "cp1252", "l2norm", "utf-8", "int8"])
@pytest.mark.parametrize(
    "text", ["# you may pass '{}' here", "raise ValueError(\"pass '{}' explicitly\")", "Pass `{}` or"]
)
def test_the_verb_pass_makes_no_password(text, value):
    assert find(text.format(value)) == []


@pytest.mark.parametrize("line", NONE.strip().splitlines())
def test_what_only_looks_like_a_secret_is_not_found(line):
    assert find(line) == []
    assert find(f"x = 1\n{line}\ny = 2\n") == []


PLACEHOLDERS = ["x" * 36, "X" * 36, "0" * 36, "YOUR_TOKEN_GOES_HERE_" + "a" * 15, "example" + "1" * 29, "ab" * 18]


@pytest.mark.parametrize("body", PLACEHOLDERS)
@pytest.mark.parametrize("prefix", ["gh" + "p_", "hf" + "_", "npm" + "_"])
def test_a_placeholder_behind_a_vendors_prefix_is_not_found(prefix, body):
    assert find(f'token = "{prefix}{body}"') == []


def test_the_keys_of_the_amazon_documentation_are_not_found():
    assert find('aws_access_key_id = "AKIA' + 'IOSFODNN7EXAMPLE"') == []
    assert find('aws_secret_access_key = "wJalrXUtnFEMI/K7MDENG/' + 'bPxRfiCYEXAMPLEKEY"') == []


def test_a_token_with_a_row_of_letters_in_it_is_a_token():
    token = "gh" + "p_" + "abcdef12345" + draw(25)
    assert values(f"x = '{token}'") == [token]


def test_a_right_checksum_rescues_a_token_that_looks_made_up():
    body = "0" * 30
    number, digits = zlib.crc32(body.encode()), ""
    while number:
        number, rest = divmod(number, 62)
        digits = checks.BASE62[rest] + digits
    token = "gh" + "p_" + body + digits.rjust(6, "0")
    assert values(token) == [token]
    assert values(token[:-1] + ("A" if token[-1] != "A" else "B")) == []


# --- words and lots --------------------------------------------------------------------------------------------------


def test_random_values_are_told_from_names():
    for seed in range(300):
        for chars, size in ((ALNUM, 32), (HEX, 32), (string.ascii_lowercase + string.digits, 32), (ALNUM, 40)):
            value = draw(size, chars, seed)
            assert checks_random.is_random(value), value
    for name in (
        "customer_lifetime_value_2019",
        "BertForSequenceClassification",
        "user-profile-settings-v2",
        "learning_rate",
    ):
        assert not checks_random.is_random(name), name


# --- texts of every kind ---------------------------------------------------------------------------------------------


@given(st.text(max_size=200), st.text(max_size=200))
def test_offsets_are_those_of_the_text_whatever_stands_around(before, after):
    token = "gh" + "p_" + draw(36)
    text = f"{before} {token} {after}"
    assert any(text[match.start : match.end] == match.value == token for match in find(text))


def test_lone_surrogates_and_nul_are_characters_like_others():
    token = "gh" + "p_" + draw(36)
    text = f"\ud800\x00é {token}\udfff"
    assert [(match.value, match.start) for match in find(text)] == [(token, 4)]
    word = "\u043f\u0430\u0440\u043e\u043b\u044c9\ud800x"
    assert values(f'password = "{word}"') == [word]


@given(st.text())
def test_no_text_is_an_error_and_matches_neither_overlap_nor_leave_their_order(text):
    end = 0
    for match in find(text):
        assert isinstance(match, Match)
        assert end <= match.start < match.end <= len(text)
        assert text[match.start : match.end] == match.value
        end = match.end


def test_the_most_specific_rule_wins():
    token = "gh" + "p_" + draw(36)
    assert [match.kind for match in find(f'password = "{token}"')] == ["github-token"]
    assert [match.kind for match in find(f"https://bob:{token}@github.com/a/b")] == ["github-token"]
    assert [match.kind for match in find(f"Authorization: Bearer {token}")] == ["github-token"]


# --- time ------------------------------------------------------------------------------------------------------------

HOSTILE = {
    "letters": "a",
    "passwords": 'password="',
    "passwords with values": f'password="{SECRET}"\n',
    "prefixes": "gh" + "p_",
    "vendor words": "kaggle azure ",
    "keys": "token=key_",
    "begin of keys": "-----BEGIN PRIVATE " + "KEY-----\n",
    "jwt": " eyJhbGci",
    "urls": "https://a:b",
    "curl": "curl -u ",
    "quotes": "'\"",
    "base64": "Zm9v",
    "sas": "sig=&sv=",
    "signatures": "&Signature=",
    "signed addresses": f"https://a.test/x?X-Amz-Signature={draw(64, HEX)}\n",
    "a long signature": "?Signature=" + draw(64) + "&access_token=" + draw(12),
    "services": "clockify ",
    "words and values": "twilio " + draw(32, HEX) + " ",
}


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE)
def test_time_grows_with_the_text_and_no_faster(unit):
    def seconds(size):
        text = (unit * (size // len(unit) + 1))[:size]
        best = []
        for _ in range(3 if size < 20_000 else 1):
            begin = time.perf_counter()
            find(text)
            best.append(time.perf_counter() - begin)
        return min(best)

    seconds(1000)  # compiles what the text needs
    small, large = seconds(10_000), seconds(80_000)
    assert large < 8 * 5 * small + 0.2


def test_importing_compiles_nothing_and_needs_no_package():
    code = "import sys, plugins.lib.secrets.match; print('re2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"


def test_base64_that_holds_no_login_is_no_basic_authentication():
    assert not checks.is_basic(base64.b64encode(b"no colon in here").decode())
    assert not checks.is_basic("Authentication")
