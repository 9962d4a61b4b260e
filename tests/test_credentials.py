"""Credentials: every place that the official client looks in, in its order, without its defects; none is ever shown."""

from __future__ import annotations

import base64
import json
from datetime import timedelta

import pytest
from front_door import QuickContext, close, environment, kagg
from local_kaggle import Client

from kagg import Context, Exit, find_credentials, redact

TOKENS = {name: f"KGAT_{name}_0123456789abcdef0123456789" for name in ("v1", "env", "file", "txt", "oauth")}
KEYS = {name: f"{name}0123456789abcdef0123456789" for name in ("json", "env", "configs", "xdg", "folder")}


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home" / ".kaggle").mkdir(parents=True)
    return tmp_path / "home" / ".kaggle"


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    path.chmod(0o600)
    return path


@pytest.fixture
def made(tmp_path):
    """Return a function that makes a context whose program folder is empty."""
    contexts = []

    def make(**more):
        ctx = QuickContext(environment(tmp_path, **({"KAGG_KAGGLE_URL": "http://127.0.0.1:1"} | more)))
        ctx.root = tmp_path / "program"
        contexts.append(ctx)
        return ctx

    yield make
    for ctx in contexts:
        close(ctx)


def basic(username, key):
    return "Basic " + base64.b64encode(f"{username}:{key}".encode()).decode()


def headers(ctx):
    return [credential.header for credential in find_credentials(ctx)]


def test_all_sources_are_found_in_the_order_of_the_official_client(tmp_path, home, made):
    ctx = made(
        KAGGLE_API_V1_TOKEN=str(put(tmp_path / "v1", TOKENS["v1"] + "\n")),
        KAGGLE_API_TOKEN=TOKENS["env"],
    )
    put(home / "access_token", TOKENS["file"] + "\n")
    put(home / "access_token.txt", TOKENS["txt"])
    put(home / "kaggle.json", {"username": "ann", "key": KEYS["json"]})
    later = (ctx.now() + timedelta(hours=5)).isoformat()
    oauth = {
        "access_token": TOKENS["oauth"],
        "access_token_expiration": later,
        "refresh_token": "r" * 20,
        "username": "bob",
    }
    put(home / "credentials.json", oauth)
    put(tmp_path / "program" / "configs" / "kaggle.json", {"username": "cleo", "key": KEYS["configs"]})
    assert headers(ctx) == [
        *(f"Bearer {TOKENS[name]}" for name in ("v1", "env", "file", "txt")),
        basic("ann", KEYS["json"]),
        f"Bearer {TOKENS['oauth']}",
        basic("cleo", KEYS["configs"]),
    ]


def test_a_token_variable_may_name_a_file(tmp_path, made):
    assert headers(made(KAGGLE_API_TOKEN=str(put(tmp_path / "t", TOKENS["env"] + "\n")))) == [f"Bearer {TOKENS['env']}"]


@pytest.mark.parametrize("value", ["", "  ", "\n"])
def test_an_empty_variable_is_none(made, home, value):
    put(home / "access_token", value)
    assert headers(made(KAGGLE_API_TOKEN=value, KAGGLE_USERNAME="", KAGGLE_KEY="")) == []


def test_variables_lie_over_the_file_one_by_one(home, made):
    put(home / "kaggle.json", {"username": "ann", "key": KEYS["json"]})
    assert headers(made(KAGGLE_KEY=KEYS["env"])) == [basic("ann", KEYS["env"])]
    assert headers(made(KAGGLE_USERNAME="bob")) == [basic("bob", KEYS["json"])]
    assert headers(made(KAGGLE_USERNAME="bob", KAGGLE_KEY=KEYS["env"])) == [basic("bob", KEYS["env"])]


def test_half_a_pair_is_none(made):
    assert headers(made(KAGGLE_USERNAME="bob")) == []
    assert headers(made(KAGGLE_KEY=KEYS["env"])) == []


def test_the_folder_is_chosen_as_the_official_client_does(tmp_path, made):
    put(tmp_path / "xdg" / "kaggle" / "kaggle.json", {"username": "xdg", "key": KEYS["xdg"]})
    put(tmp_path / "folder" / "kaggle.json", {"username": "folder", "key": KEYS["folder"]})
    put(tmp_path / "home" / ".config" / "kaggle" / "kaggle.json", {"username": "plain", "key": KEYS["env"]})
    assert headers(made()) == [basic("plain", KEYS["env"])]
    assert headers(made(XDG_CONFIG_HOME=str(tmp_path / "xdg"))) == [basic("xdg", KEYS["xdg"])]
    put(tmp_path / "home" / ".kaggle" / "kaggle.json", {"username": "ann", "key": KEYS["json"]})
    assert headers(made(XDG_CONFIG_HOME=str(tmp_path / "xdg"))) == [basic("ann", KEYS["json"])]
    both = {"KAGGLE_CONFIG_DIR": str(tmp_path / "folder"), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert headers(made(**both)) == [basic("folder", KEYS["folder"])]


@pytest.mark.parametrize("content", ["{", "[" * 100_000, "\xff"])
def test_a_credentials_file_that_is_broken_is_exit_10_and_named(home, made, content):
    path = home / "kaggle.json"
    path.write_bytes(content.encode("latin-1"))
    path.chmod(0o600)
    done = kagg(made(), "list")
    assert done.code == Exit.CONFIG, done.err
    assert str(path) in done.err


@pytest.mark.parametrize("content", ["[]", "null", "{}", '{"username": 5, "key": null}', '{"username": "ann"}'])
def test_a_credentials_file_without_a_pair_is_none(home, made, content):
    put(home / "kaggle.json", content)
    assert headers(made()) == []


@pytest.mark.parametrize("name", ["kaggle.json", "access_token", "credentials.json"])
def test_a_file_that_others_can_read_is_said_once(home, made, name):
    later = "2999-01-01T00:00:00Z"
    content = {
        "kaggle.json": {"username": "ann", "key": KEYS["json"]},
        "access_token": TOKENS["file"],
        "credentials.json": {"access_token": TOKENS["oauth"], "access_token_expiration": later},
    }[name]
    path = put(home / name, content)
    done = kagg(made(), "list")
    assert "can be read" not in done.err
    path.chmod(0o644)
    done = kagg(made(), "list")
    assert done.err.count(f"{path} can be read by others") == 1
    assert "chmod 600" in done.err


# OAuth


@pytest.fixture
def oauth(home, idle_kaggle, made):
    """Return a function that stores a session which ended `ago` seconds before now, and makes its context."""

    def store(ago, token=TOKENS["oauth"], **more):
        ctx = made(KAGG_KAGGLE_URL=idle_kaggle.url)
        idle_kaggle.world.clock = ctx.now
        ends = (ctx.now() - timedelta(seconds=ago)).isoformat()
        refresh = idle_kaggle.world.accounts.users["demo"]["refresh_tokens"][0]
        stored = {"access_token": token, "access_token_expiration": ends, "refresh_token": refresh, "username": "demo"}
        put(home / "credentials.json", stored | {"scopes": ["x"], "theirs": 1} | more)
        return ctx

    return store


def renewals(kaggle):
    return [status for _, path, status in kaggle.requests if path.endswith("GenerateAccessToken")]


@pytest.mark.parametrize("ago", [1, 600, 1700, 86400])
def test_a_session_that_has_run_out_is_renewed_also_in_the_first_half_hour(oauth, home, idle_kaggle, ago):
    Client(idle_kaggle).push("Private one", "1\n", kernelExecutionType="QUICK_SAVE")
    ctx = oauth(ago)
    done = kagg(ctx, "list", "--mine")
    assert done.code == Exit.DONE, done.err
    assert "demo/private-one" in done.out
    assert renewals(idle_kaggle) == [200]
    stored = json.loads((home / "credentials.json").read_text())
    assert stored["access_token"] != TOKENS["oauth"]
    assert stored["theirs"] == 1
    assert (home / "credentials.json").stat().st_mode & 0o777 == 0o600
    again = QuickContext(ctx.env)
    again.root = ctx.root
    assert kagg(again, "list", "--mine").code == Exit.DONE
    close(again)
    assert renewals(idle_kaggle) == [200]  # the new one is kept and used


def test_a_session_that_still_lives_is_used_as_it_is(oauth, idle_kaggle):
    token, _ = idle_kaggle.world.accounts.access_token(idle_kaggle.world.accounts.users["demo"]["refresh_tokens"][0])
    assert kagg(oauth(-3600, token), "list", "--mine").code == Exit.DONE
    assert renewals(idle_kaggle) == []


@pytest.mark.parametrize("ends", ["", "soon", None, 5, "2020-01-01", "2020-01-01T00:00:00.123456Z"])
def test_an_end_that_cannot_be_read_or_is_long_ago_means_a_renewal(oauth, idle_kaggle, ends):
    assert kagg(oauth(0, access_token_expiration=ends), "list", "--mine").code == Exit.DONE
    assert renewals(idle_kaggle) == [200]


def test_an_end_without_a_zone_is_utc(oauth, idle_kaggle):
    ctx = oauth(0)
    soon = (ctx.now() + timedelta(minutes=90)).replace(tzinfo=None).isoformat()
    token, _ = idle_kaggle.world.accounts.access_token(idle_kaggle.world.accounts.users["demo"]["refresh_tokens"][0])
    ctx = oauth(0, token, access_token_expiration=soon)
    assert kagg(ctx, "list", "--mine").code == Exit.DONE
    assert renewals(idle_kaggle) == []


def test_a_session_that_cannot_be_renewed_is_said_and_not_used(oauth, home, idle_kaggle):
    ctx = oauth(60, refresh_token="KGRT_nobodys-0123456789")
    before = (home / "credentials.json").read_text()
    done = kagg(ctx, "list", "--mine")
    assert done.code == Exit.CONFIG
    assert "credentials.json" in done.err
    assert "KGRT_nobodys" not in done.err
    assert (home / "credentials.json").read_text() == before


def test_a_dead_session_does_not_hide_the_program_folders_key(oauth, idle_kaggle):
    ctx = oauth(60, refresh_token="KGRT_nobodys-0123456789")
    key = idle_kaggle.world.accounts.users["demo"]["key"]
    put(ctx.root / "configs" / "kaggle.json", {"username": "demo", "key": key})
    assert kagg(ctx, "list", "--mine").code == Exit.DONE


# Nothing secret is shown


def test_no_secret_is_ever_shown(tmp_path, home, made, web):
    """Every command that signs in, with the server refusing and echoing what it got."""
    secrets = [
        TOKENS["env"],
        TOKENS["file"],
        KEYS["json"],
        basic("ann", KEYS["json"])[6:],
        TOKENS["oauth"],
        "REFRESH-0123456789abcdef",
    ]
    put(home / "access_token", TOKENS["file"])
    put(home / "kaggle.json", {"username": "ann", "key": KEYS["json"]})
    put(home / "credentials.json", {"access_token": TOKENS["oauth"], "refresh_token": "REFRESH-0123456789abcdef"})

    def echo(handler):
        request = web.requests[-1]
        text = f"{request.headers.get('authorization')} {request.body.decode()} {' '.join(secrets)}"
        handler.whole(401 if len(web.requests) % 2 else 500, {"code": 401, "message": text})

    for method in ("ListKernels", "GetKernel", "SaveKernel", "GetKernelSessionStatus", "GetAcceleratorQuotaStatistics"):
        web.on(f"/api/v1/kernels.KernelsApiService/{method}", echo)
    web.on("/api/v1/users.AccountService/GenerateAccessToken", echo)
    web.on("/api/v1/security.OAuthService/IntrospectToken", echo)
    script = tmp_path / "train_job.py"
    script.write_text("1\n")
    commands = (
        ["list", "--mine"],
        ["list"],
        ["pull", "a/b"],
        ["push", str(script)],
        ["pull", "a/b", "c/d"],
        ["endpoints"],
    )
    for argv in commands:
        for option in (["-v"], ["--json", "-v"]):
            done = kagg(made(KAGG_KAGGLE_URL=web.url, KAGGLE_API_TOKEN=TOKENS["env"]), *option, *argv)
            for secret in secrets:
                assert secret not in done.out, (argv, option)
                assert secret not in done.err, (argv, option, done.err)
    kept = [path for path in (tmp_path / "home" / ".kagg").rglob("*") if path.is_file()]
    assert kept
    for path in kept:
        content = path.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in content], path


def test_a_token_with_a_line_break_inside_is_not_shown_and_not_retried_for_ever(made, web):
    web.on("/api/v1/kernels.KernelsApiService/ListKernels", (200, {}, {}))
    for token in ("KGAT_0123456789\nabcdef0123456789", "KGAT_0123456789é日本abcdef", "KGAT_0123456789\r\nX-Evil: 1"):
        ctx = made(KAGG_KAGGLE_URL=web.url, KAGGLE_API_TOKEN=token)
        done = kagg(ctx, "list")
        assert "KAGGLE_API_TOKEN holds is not a token" in done.err
        assert "0123456789" not in done.err
        assert "evil" not in str(web.requests).lower()
        assert sum(ctx.waits) < 60


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("Authorization: Bearer abcdef0123456789", "abcdef0123456789"),
        ("https://user:hunter2pass@example.org/x", "hunter2pass"),
        ("https://s/x?X-Goog-Signature=abcdef0123456789&y=1", "abcdef0123456789"),
        ("https://s/x?a=1&token=abcdef0123456789", "abcdef0123456789"),
        ('{"key": "abcdef0123456789"}', "abcdef0123456789"),
        ("KGAT_abcdef0123456789", "abcdef0123456789"),
        (
            "https://www.kaggleusercontent.com/kf/1/eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.SflKxwRJSMeKKF2QT4/a.csv",
            "SflKxwRJSMeKKF2QT4",
        ),
        ("password=hunter2pass", "hunter2pass"),
    ],
)
def test_the_shapes_of_secrets_are_hidden(text, hidden):
    assert hidden not in redact(text)
    assert "[secret]" in redact(text)


@pytest.mark.parametrize("text", ["token", "the key is missing", "https://example.org/a?b=c", "sk-learn", "key=1"])
def test_plain_words_are_left_alone(text):
    assert redact(text) == text


def test_credentials_go_to_the_chosen_service_only(made, web, other_web, home, tmp_path):
    put(home / "kaggle.json", {"username": "ann", "key": KEYS["json"]})
    notebook = b'{"cells": [], "nbformat": 4}'
    ctx = made(KAGG_KAGGLE_URL=web.url, KAGGLE_API_TOKEN=TOKENS["env"])
    link = other_web.on("/a.ipynb", (200, notebook, {}))
    web.on("/api/v1/kernels.KernelsApiService/GetKernel", (200, {"blob": {"source": "1", "slug": "b"}}, {}))
    ctx.root = Context().root  # the room for links needs the real one
    assert kagg(ctx, "pull", link, "a/b", "--dest", tmp_path / "out").code == Exit.DONE
    other_web.on("/predict", (200, b"{}", {}))
    assert kagg(ctx, "call", other_web.url + "/predict").code == Exit.DONE
    assert (
        kagg(ctx, "monitor", other_web.url + "/predict", "--duration", "20ms", "--interval", "10ms").code == Exit.DONE
    )
    assert web.requests[0].headers["authorization"] == f"Bearer {TOKENS['env']}"
    assert [request for request in other_web.requests if "authorization" in request.headers] == []
    assert len(other_web.requests) == 4


@pytest.mark.parametrize(
    "url", ["http://api.kaggle.com", "http://example.org:7777", "ftp://x", "kaggle.com", "http://[::1"]
)
def test_a_service_address_that_would_send_credentials_in_the_clear_is_refused(made, url):
    done = kagg(made(KAGG_KAGGLE_URL=url, KAGGLE_USERNAME="ann", KAGGLE_KEY=KEYS["env"]), "list")
    assert done.code in (Exit.CONFIG, Exit.USAGE)


def test_an_unknown_environment_is_exit_10(made):
    done = kagg(made(KAGG_KAGGLE_URL="", KAGGLE_API_ENVIRONMENT="MOON"), "list")
    assert done.code == Exit.CONFIG
    assert "MOON" in done.err
