"""What is said and kept holds no secret: those in use by value, all others by the rules; innocent text stays whole."""

from __future__ import annotations

import base64
import copy
import os
import random
import re
import string
import subprocess
import sys
import threading
from urllib.parse import quote

import pytest
from front_door import QuickContext, environment
from hypothesis import given, settings
from hypothesis import strategies as st

import kagg
from plugins.lib.secrets.hide import MAX_CHARS, hide, hide_all
from plugins.lib.secrets.in_use import forms, secrets_in_use

LETTERS, HEX = string.ascii_letters + string.digits, "0123456789abcdef"


def lot(size, alphabet=LETTERS, seed=1):
    return "".join(random.Random(seed).choices(alphabet, k=size))  # noqa: S311 - must repeat


KNOWN_BY_FORMAT = {  # made at run time, so that no file of the project holds what looks like one
    "Stripe": "sk_" + "live_" + lot(24),
    "SendGrid": "SG" + "." + lot(22) + "." + lot(43),
    "Google": "AI" + "za" + lot(35),
    "Databricks": "dap" + "i" + lot(32, HEX),
    "Anthropic": "sk-" + "ant-api03-" + lot(93) + "AA",
    "GitHub": "gh" + "p_" + lot(36),
}
HELD = {
    "WANDB_API_KEY": lot(40, HEX, 2),
    "KAGG_SMTP_PASSWORD": "p%s w/rd+" + lot(6, LETTERS, 3),
    "KAGG_WEBHOOK_SECRET": lot(20, LETTERS, 4),
    "KAGG_SLACK_WEBHOOK_URL": "https://hooks.example.org/services/" + lot(30, LETTERS, 5),
    "DATABASE_URL": "postgresql://me:" + lot(16, LETTERS, 6) + "@db.example.org/x",
    "MAIL_PASSWORD": lot(16, string.ascii_lowercase, 7),
    "HOOK_SECRET": lot(25, string.ascii_letters, 10),
}


@pytest.fixture
def held(tmp_path):
    return QuickContext(environment(tmp_path, **HELD))


@pytest.mark.parametrize("kind", KNOWN_BY_FORMAT)
@pytest.mark.parametrize("text", ["{}", "ValueError: bad key {}", "at d/{}.txt line 3", "key={}\n", 'say("{}")'])
def test_what_a_format_gives_away_is_hidden_anywhere_in_a_text(ctx, kind, text):
    token = KNOWN_BY_FORMAT[kind]
    found = hide(ctx, text.format(token))
    assert token not in found
    assert found == text.format("[secret]")


@pytest.mark.parametrize("name", HELD)
def test_a_secret_in_use_is_hidden_in_every_way_that_texts_write_it(held, name):
    value = re.sub(r"postgresql://me:|@db.*", "", HELD[name])
    for one in {value, quote(value), quote(value, safe=""), re.sub("%..", lambda code: code[0].lower(), quote(value))}:
        assert one not in hide(held, f"it said {one} twice: {one}"), one
    for before in ("", "a", "ab"):
        shown = hide(held, "Authorization " + base64.b64encode(f"{before}{value}:x".encode()).decode())
        assert "[secret]" in shown
        rest = shown.removeprefix("Authorization").replace("[secret]", " ")
        assert all(len(part) < 8 for part in rest.split()), shown


def test_what_keep_secret_was_told_is_hidden_too(ctx):
    value = kagg.keep_secret(lot(32, HEX, 8))
    assert hide(ctx, f"Kaggle says {value}") == "Kaggle says [secret]"


IN_FILES = {  # place below the home folder: what stands there
    ".kaggle/kaggle.json": '{{"username": "me", "key": "{}"}}',
    ".config/kaggle/kaggle.json": '{{"username": "me", "key": "{}"}}',
    "elsewhere/kaggle.json": '{{"username": "me", "key": "{}"}}',
    ".kaggle/access_token": "{}\n",
    ".kaggle/access_token.txt": "{}",
    "token-of-ci": "{}\n",
    ".kaggle/credentials.json": '{{"refresh_token": "{}", "access_token": "x"}}',
    "configs/kaggle.json": '{{"username": "me", "key": "{}"}}',
    "configs/wandb.md": "# Weights & Biases\n\napi_key: {}\nentity: me\n",
    ".netrc": "machine api.wandb.ai\n  login user\n  password {}\n",
}


@pytest.mark.parametrize("place", IN_FILES)
def test_what_a_file_holds_is_hidden_before_anybody_signs_in(tmp_path, place):
    env = environment(tmp_path, KAGG_CONFIGS=str(tmp_path / "home/configs"), HOME=str(tmp_path / "home"))
    env |= {
        "KAGGLE_CONFIG_DIR": str(tmp_path / "home/elsewhere"),
        "KAGGLE_API_TOKEN": str(tmp_path / "home/token-of-ci"),
    }
    path, value = tmp_path / "home" / place, lot(36, LETTERS, 11)
    path.parent.mkdir(parents=True)
    path.write_text(IN_FILES[place].format(value))
    assert hide(QuickContext(env), f"it said {value} aloud") == "it said [secret] aloud"
    path.write_text(IN_FILES[place].format(other := lot(37, LETTERS, 12)))
    assert hide(QuickContext(env), f"{value} was replaced by {other}") == f"{value} was replaced by [secret]"


@pytest.mark.parametrize(
    "content", ["", "{", "[" * 99_999, "[1]", "null", '{"key": 7}', '{"key": "short"}', "two\nlines", "\xff\xfe"]
)
def test_a_file_that_makes_no_sense_holds_no_secret(tmp_path, content):
    for name in ("kaggle.json", "access_token", "credentials.json"):
        path = tmp_path / "home/.kaggle" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("latin-1"))
    assert hide(QuickContext(environment(tmp_path, HOME=str(tmp_path / "home"))), "two lines") == "two lines"


def test_a_secret_may_be_told_while_others_are_looked_at(ctx):
    before = sys.getswitchinterval()
    for number in range(500):
        kagg.keep_secret(f"{number:07d}-kept-before")

    def tell():
        for number in range(2000):
            kagg.keep_secret(f"{number:07d}-kept-meanwhile")

    thread = threading.Thread(target=tell)
    sys.setswitchinterval(1e-4)
    thread.start()
    try:
        for _ in range(3):
            assert len(secrets_in_use(ctx.env)) >= 500
    finally:
        thread.join()
        sys.setswitchinterval(before)


NO_SECRETS = {
    "GPG_KEY": "A035C8C19219BA821ECEA86B64E628F8D684696D",  # the Python images of Docker
    "SSH_AUTH_SOCK": "/run/ssh-abcdefgh/agent.42",
    "XDG_SESSION_KEY": "session-c1-of-seat0",
    "STRIPE_PUBLISHABLE_KEY": "pub_" + lot(24),
    "NEXT_PUBLIC_API_KEY": lot(24),
    "GOOGLE_APPLICATION_CREDENTIALS": "/etc/keys/google.json",
    "SSH_KEY": "~/.ssh/id_ed25519",
    "TLS_PRIVATE_KEY": "C:\\keys\\tls.pem",
    "USE_AUTH": "1234567890",
    "DEBUG_TOKEN": "true",
    "POSTGRES_PASSWORD": "postgres",
    "SECRET_KEY": "my-secret-key",
    "OTHER_SECRET": "NotVerySecret",
    "API_KEY": "<your-api-key>",
    "ACCESS_TOKEN": "${OTHER_TOKEN:-none}",
    "MY_TOKEN": "xxxxxxxxxxxxxxxx",
    "PAD_TOKEN": "<|endoftext|>",
    "MONKEY": lot(24),
    "COMPASS": lot(24),
    "PWD": "/srv/project12",
    "KAGG_WEBHOOK_URL": "https://example.org/hook",
    "DEPLOY_KEY": "ssh-ed25519 " + lot(60) + " me@home",
    "SHORT_TOKEN": "abc1234",
    "LOGIN_URL": "https://example.org/login/here?x=1",
}


@pytest.mark.parametrize("name", NO_SECRETS)
def test_what_only_looks_like_the_name_of_a_secret_is_left_alone(tmp_path, name):
    ctx = QuickContext(environment(tmp_path, **{name: NO_SECRETS[name]}))
    assert NO_SECRETS[name] not in secrets_in_use(ctx.env)


def test_the_path_of_a_file_is_no_secret_and_a_random_value_that_begins_like_one_is(tmp_path):
    path = tmp_path / "Token-2"
    path.write_text("x")
    value = "/" + lot(39, LETTERS + "/+", 9)
    env = {"KAGGLE_API_TOKEN": str(path), "AWS_SECRET_ACCESS_KEY": value}
    assert secrets_in_use(environment(tmp_path, **env)).keys() & set(env.values()) == {value}


def test_innocent_texts_and_records_stay_as_they_are(held):
    record = {
        "version": 1,
        "run_id": "train-20260101-1200-a1b2c3",
        "status": "error",
        "exit_code": 1,
        "error": "ValueError: could not convert string to float: 'abc' in /kaggle/working/src/train.py",
        "traceback": ["Traceback (most recent call last):", '  File "/kaggle/working/train.py", line 3, in <module>'],
        "manifest": [
            {"path": f"out/model-{i}.bin", "sha256": lot(64, HEX, 100 + i), "size_bytes": i} for i in range(50)
        ],
        "url": "https://www.kaggle.com/code/demo/train-20260101-1200-a1b2c3",
        "git_commit": lot(40, HEX, 99),
        "params": {"alpha": 0.1, "name": "resnet-50", "flag": True, "none": None},
        "options": {"git_token": "GIT_TOKEN", "notify": ["webhook:https://example.org/hook"]},
    }
    before = copy.deepcopy(record)
    assert hide_all(held, record) == before == record


def test_data_is_cleaned_at_every_depth_and_its_names_and_shape_are_kept(held):
    token = KNOWN_BY_FORMAT["Stripe"]
    value = {"a": [{"b": ("x " + token, 1)}], token: None, "c": HELD["WANDB_API_KEY"], "d": 2.5, "e": [True, ""]}
    assert hide_all(held, value) == {
        "a": [{"b": ["x [secret]", 1]}], token: None, "c": "[secret]", "d": 2.5, "e": [True, ""]
    }  # fmt: skip


def test_no_secret_is_made_of_two_texts_and_none_escapes_beside_another(ctx):
    token = KNOWN_BY_FORMAT["GitHub"]
    assert hide_all(ctx, [token[:12], token[12:]]) == [token[:12], token[12:]]
    assert hide_all(ctx, [token, "plain words", token + " " + token]) == [
        "[secret]",
        "plain words",
        "[secret] [secret]",
    ]


def test_a_long_text_is_cut_and_a_secret_at_the_cut_goes_with_it(ctx):
    token = KNOWN_BY_FORMAT["Anthropic"]
    for at in (MAX_CHARS - 4096 - 50, MAX_CHARS - 50, MAX_CHARS + 4096 - 50):
        text = ("word " * (at // 5 + 1))[:at] + " " + token + " word" * 300_000
        shown = hide(ctx, text)
        assert len(shown) <= MAX_CHARS
        assert str(len(text)) in shown[-80:]
        assert token[:20] not in shown


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=300))
def test_odd_text_raises_nothing(text):
    ctx = QuickContext(environment_of_odd_text(text))
    assert isinstance(hide(ctx, text), str)
    assert isinstance(hide_all(ctx, {text: [text, (text,)]}), dict)


def environment_of_odd_text(text):
    return {"HOME": "/nowhere", "ODD_TOKEN": text, text or "x": text, "ODD_PASSWORD": text[::-1] + "1aB$"}


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=12, max_size=60), st.text(max_size=10), st.text(max_size=10))
def test_every_password_with_a_digit_is_hidden_as_it_is(value, before, after):
    value = f"q1{value.strip()}Z"
    shown = hide(QuickContext({"HOME": "/nowhere", "MY_PASSWORD": value}), before + value + after)
    assert value not in shown


@given(st.binary(max_size=5), st.text(LETTERS, min_size=12, max_size=40), st.binary(max_size=5))
def test_one_form_of_a_value_stands_in_any_base64_of_it(before, value, after):
    whole = base64.b64encode(before + value.encode() + after).decode()
    assert any(form in whole for form in forms(value))


def test_rules_are_read_only_when_a_text_needs_them():
    program = (
        "import sys, kagg, plugins.lib.notifying, plugins.lib.tracking, plugins.lib.ledger_database\n"
        "from plugins.lib.secrets.hide import hide_all\n"
        "hide_all(kagg.Context(), {'status': 'done', 'n': 3})\n"
        "plugins.lib.ledger_database.storable({'command': 'run', 'target': 'owner/some-long-slug-2026'})\n"
        "print([name for name in sys.modules if 'rules' in name or name == 're2'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "[]", done
