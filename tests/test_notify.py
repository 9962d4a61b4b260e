"""Notifiers talk to real servers and hold the suite's contract; what fails is said and changes nothing."""

from __future__ import annotations

import email.policy
import hmac
import html
import json
import logging
import socket
import ssl
import sys
import threading
import time

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from suites import notify_suite

from kagg import Exit, KaggError, room
from plugins.lib import notifying
from plugins.notify import email as email_room
from plugins.notify import slack as slack_room
from plugins.notify import webhook as webhook_room

PASSWORD = "pass-" + "9d3f7e21aa"
HOOK = "/services/T0" + "1A2B3C4/B0" + "5D6E7F8/" + "q1W2e3R4" * 3
ELSEWHERE = "127.0.0.2"  # this machine, under an address that counts as any other host


class Mailbox:
    """Keeps what arrives; refuses what it is told to."""

    def __init__(self):
        self.messages, self.refused, self.signed_in = [], "", []

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 - aiosmtpd names it
        if self.refused and self.refused in address:
            return f"550 5.1.1 no {address}, and by the way \x07 {PASSWORD}"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.messages.append((envelope, session.ssl is not None))
        return "250 OK"

    def sign_in(self, server, session, envelope, mechanism, data):
        self.signed_in.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password.decode() == PASSWORD, handled=False)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def mail_server(authority, tmp_path):
    """Start SMTP servers: start(host, tls=..., offer=...) returns the mailbox and the port."""
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)
    running = []
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    def start(host="127.0.0.1", *, tls=False, offer=True, by=authority):
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        by.issue_cert(host).configure_cert(trust)
        box = Mailbox()
        more = {"authenticator": box.sign_in, "auth_require_tls": False}
        more |= {"tls_context": trust} if offer and not tls else {}
        controller = Controller(box, hostname=host, port=free_port(host), ssl_context=trust if tls else None, **more)
        if tls:  # the controller's own test connection knows nothing of our authority
            controller._trigger_server = lambda: greet(host, controller.port, by)
        controller.start()
        running.append(controller)
        return box, controller.port

    yield start
    for controller in running:
        controller.stop()


def free_port(host):
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def greet(host, port, authority):
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    with socket.create_connection((host, port)) as plain, trust.wrap_socket(plain, server_hostname=host) as secure:
        secure.recv(100)
        secure.sendall(b"QUIT\r\n")
        secure.recv(100)


def read(envelope):
    return email.message_from_bytes(envelope.content, policy=email.policy.default)


def set_env(ctx, **more):
    ctx.env = {**ctx.env, **more}


# --- the suite -------------------------------------------------------------------------------------------------------


class EmailPeer:
    url, secret = "ada@example.org", PASSWORD

    def __init__(self, ctx, mail_server, tmp_path):
        self.box, port = mail_server("localhost")
        self.ctx = ctx
        set_env(ctx, KAGG_SMTP_URL=f"smtp://localhost:{port}", SSL_CERT_FILE=str(tmp_path / "ca.pem"))
        set_env(ctx, KAGG_SMTP_USER="kagg@example.org", KAGG_SMTP_PASSWORD=PASSWORD)

    @property
    def messages(self):
        found = [read(envelope) for envelope, _ in self.box.messages]
        return [(message["Subject"], message.get_content().replace("\r\n", "\n")) for message in found]

    def refuse(self):
        self.box.refused = "@"

    def forget(self):
        del self.ctx.env["KAGG_SMTP_URL"]


class SlackPeer:
    url, secret = "", HOOK

    def __init__(self, ctx, web):
        self.ctx, self.web = ctx, web
        set_env(ctx, KAGG_SLACK_WEBHOOK_URL=web.on(HOOK, (200, b"ok", {})))

    @property
    def messages(self):
        texts = [html.unescape(json.loads(request.body)["text"]) for request in self.web.requests]
        pairs = [text.split("\n", 1) for text in texts]
        return [(title.removeprefix("*").removesuffix("*"), body) for title, body in pairs]

    def refuse(self):
        self.web.on(HOOK, (403, f"no {HOOK}".encode(), {}))

    def forget(self):
        del self.ctx.env["KAGG_SLACK_WEBHOOK_URL"]


class WebhookPeer:
    url, secret = "", HOOK

    def __init__(self, ctx, web):
        self.ctx, self.web = ctx, web
        set_env(ctx, KAGG_WEBHOOK_URL=web.on(HOOK, (204, b"", {})))

    @property
    def messages(self):
        documents = [json.loads(request.body) for request in self.web.requests]
        return [(document["title"], document["body"]) for document in documents]

    def refuse(self):
        self.web.on(HOOK, (400, {"message": f"no {HOOK}"}, {}))

    def forget(self):
        del self.ctx.env["KAGG_WEBHOOK_URL"]


@pytest.fixture(params=["email", "slack", "webhook"])
def kind(request, ctx, tmp_path, mail_server, web):
    peers = {
        "email": lambda: EmailPeer(ctx, mail_server, tmp_path),
        "slack": lambda: SlackPeer(ctx, web),
        "webhook": lambda: WebhookPeer(ctx, web),
    }
    return room(ctx, "notify", request.param), peers[request.param]()


@pytest.mark.parametrize("check", notify_suite.CHECKS, ids=lambda check: check.__name__)
def test_a_built_in_notifier_holds_the_contract(check, kind):
    check(*kind)


@pytest.mark.parametrize("check", notify_suite.CHECKS, ids=lambda check: check.__name__)
def test_the_reference_holds_the_contract(check, ctx):
    check(notify_suite.reference, notify_suite.Peer(ctx))


@pytest.mark.parametrize("name", notify_suite.BROKEN)
def test_the_suite_finds_a_broken_notifier(name, ctx):
    broken, check = notify_suite.BROKEN[name]
    with pytest.raises((AssertionError, KaggError, pytest.fail.Exception)):
        check(broken, notify_suite.Peer(ctx))


def test_every_built_in_notifier_is_tried(ctx):
    from kagg import find_rooms

    assert {found.name for found in find_rooms(ctx, "notify")} == {"email", "slack", "webhook"}


# --- email -----------------------------------------------------------------------------------------------------------


def test_an_email_has_the_headers_that_a_mail_needs_and_travels_encrypted(ctx, mail_server, tmp_path):
    peer = EmailPeer(ctx, mail_server, tmp_path)
    email_room.send("größe", "text", "Ada <ada@example.org>, bob@example.org", ctx)
    ((envelope, encrypted),) = peer.box.messages
    message = read(envelope)
    assert encrypted
    assert envelope.rcpt_tos == ["ada@example.org", "bob@example.org"]
    assert (message["From"], message["Auto-Submitted"]) == ("kagg@example.org", "auto-generated")
    assert message["Date"].datetime.tzinfo is not None
    assert message["Message-ID"].endswith("@example.org>")
    assert envelope.content.isascii()
    assert peer.box.signed_in == [("kagg@example.org", PASSWORD)]


def test_implicit_tls_is_checked_against_our_authorities(ctx, mail_server, tmp_path):
    box, port = mail_server("localhost", tls=True)
    set_env(ctx, KAGG_SMTP_URL=f"smtps://localhost:{port}", SSL_CERT_FILE=str(tmp_path / "ca.pem"))
    email_room.send("t", "b", "ada@example.org", ctx)
    assert len(box.messages) == 1


def test_a_certificate_of_somebody_else_is_refused(ctx, mail_server, tmp_path):
    box, port = mail_server("localhost", tls=True, by=trustme.CA())
    set_env(ctx, KAGG_SMTP_URL=f"smtps://localhost:{port}", SSL_CERT_FILE=str(tmp_path / "ca.pem"))
    with pytest.raises(KaggError, match="certificate") as caught:
        email_room.send("t", "b", "ada@example.org", ctx)
    assert caught.value.code == Exit.CONFIG
    assert box.messages == []


def test_a_mail_server_of_this_machine_may_sign_for_itself(ctx, mail_server, tmp_path):
    box, port = mail_server("localhost", by=trustme.CA())
    set_env(ctx, KAGG_SMTP_URL=f"smtp://localhost:{port}", SSL_CERT_FILE=str(tmp_path / "ca.pem"))
    email_room.send("t", "b", "ada@example.org", ctx)
    assert [encrypted for _, encrypted in box.messages] == [False]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux answers on all of 127.0.0.0/8")
@pytest.mark.parametrize(("offer", "ours"), [(False, True), (True, False)])
def test_nothing_leaves_this_machine_in_clear_text(offer, ours, ctx, mail_server, tmp_path, authority):
    box, port = mail_server(ELSEWHERE, offer=offer, by=authority if ours else trustme.CA())
    set_env(ctx, KAGG_SMTP_URL=f"smtp://{ELSEWHERE}:{port}", SSL_CERT_FILE=str(tmp_path / "ca.pem"))
    set_env(ctx, KAGG_SMTP_USER="kagg@example.org", KAGG_SMTP_PASSWORD=PASSWORD)
    with pytest.raises(KaggError) as caught:
        email_room.send("t", "b", "ada@example.org", ctx)
    assert caught.value.code == Exit.CONFIG
    assert (box.messages, box.signed_in) == ([], [])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux answers on all of 127.0.0.0/8")
def test_starttls_leads_to_another_host(ctx, mail_server, tmp_path):
    box, port = mail_server(ELSEWHERE)
    set_env(ctx, KAGG_SMTP_URL=f"smtp://{ELSEWHERE}:{port}", SSL_CERT_FILE=str(tmp_path / "ca.pem"))
    email_room.send("t", "b", "ada@example.org", ctx)
    assert [encrypted for _, encrypted in box.messages] == [True]


def test_a_wrong_password_is_a_matter_of_configuration(ctx, mail_server, tmp_path):
    EmailPeer(ctx, mail_server, tmp_path)
    set_env(ctx, KAGG_SMTP_PASSWORD="wrong-" + PASSWORD)
    with pytest.raises(KaggError, match="KAGG_SMTP_PASSWORD") as caught:
        email_room.send("t", "b", "ada@example.org", ctx)
    assert caught.value.code == Exit.CONFIG
    assert PASSWORD not in str(caught.value)


def test_one_refused_addressee_is_named_and_the_others_get_the_mail(ctx, mail_server, tmp_path):
    peer = EmailPeer(ctx, mail_server, tmp_path)
    peer.box.refused = "bob"
    with pytest.raises(KaggError, match=r"bob@example.org \(550 .*the others got it"):
        email_room.send("t", "b", "ada@example.org,bob@example.org", ctx)
    assert len(peer.box.messages) == 1


@pytest.mark.parametrize(
    "address",
    ["", " ", "ada", "ada@", "@x.org", "a@b@c", "ada@x.org\nBcc: eve@x.org", "ada@x.org\r\n", "a b@x.org", "ada@x..org",
     "ada@" + "x" * 70 + ".org", ",".join(f"a{i}@x.org" for i in range(30)), "ada@x.org, bob"],
)  # fmt: skip
def test_what_is_no_address_is_refused(address, ctx):
    set_env(ctx, KAGG_SMTP_URL="smtp://localhost:25")
    with pytest.raises(KaggError):
        email_room.check(address, ctx)
    for name in ("KAGG_NOTIFY_EMAIL", "KAGG_SMTP_FROM") if address.strip() else ():
        set_env(ctx, KAGG_NOTIFY_EMAIL="ada@example.org")
        set_env(ctx, **{name: address})
        with pytest.raises(KaggError) as caught:
            email_room.check("", ctx)
        assert caught.value.code == Exit.CONFIG


def test_a_subject_adds_no_header(ctx, mail_server, tmp_path):
    peer = EmailPeer(ctx, mail_server, tmp_path)
    with pytest.raises(KaggError):
        email_room.send("done\r\nBcc: eve@example.org", "b", peer.url, ctx)
    assert notifying.notify(ctx, ["email:ada@example.org"], "done\r\nBcc: eve@example.org", "b") == []
    assert peer.messages == [("done Bcc: eve@example.org", "b\n")]


@pytest.mark.parametrize(
    "more",
    [
        {"KAGG_SMTP_URL": ""},
        {"KAGG_SMTP_URL": "mail.example.org"},
        {"KAGG_SMTP_URL": "http://mail.example.org"},
        {"KAGG_SMTP_URL": "smtp://"},
        {"KAGG_SMTP_URL": "smtp://mail.example.org:port"},
        {"KAGG_SMTP_URL": "smtp://mail.example.org/path"},
        {"KAGG_SMTP_URL": f"smtp://ada:{PASSWORD}@mail.example.org"},
        {"KAGG_SMTP_URL": "smtp://[::1"},
        {"KAGG_SMTP_USER": "ada"},
        {"KAGG_SMTP_PASSWORD": PASSWORD},
    ],
    ids=str,
)
def test_settings_of_email_that_cannot_work_are_named(more, ctx):
    set_env(ctx, **({"KAGG_SMTP_URL": "smtp://localhost:25"} | more))
    with pytest.raises(KaggError, match="SMTP") as caught:
        email_room.check("ada@example.org", ctx)
    assert caught.value.code == Exit.CONFIG
    assert PASSWORD not in caught.value.message


def test_a_mail_server_that_is_not_there_or_talks_nonsense_is_a_service_error(ctx, web):
    for port in (free_port("127.0.0.1"), int(web.host.partition(":")[2])):
        set_env(ctx, KAGG_SMTP_URL=f"smtp://127.0.0.1:{port}")
        with pytest.raises(KaggError) as caught:
            email_room.send("t", "b", "ada@example.org", ctx)
        assert caught.value.code == Exit.SERVICE


def test_certificates_that_are_not_there_are_named(ctx, tmp_path):
    set_env(ctx, KAGG_SMTP_URL="smtps://localhost:1", SSL_CERT_FILE=str(tmp_path / "absent.pem"))
    with pytest.raises(KaggError, match=r"absent\.pem") as caught:
        email_room.send("t", "b", "ada@example.org", ctx)
    assert caught.value.code == Exit.CONFIG


# --- slack -----------------------------------------------------------------------------------------------------------


def test_nothing_in_a_slack_message_is_a_mention_or_a_link(ctx, web):
    SlackPeer(ctx, web)
    slack_room.send("a <!channel> & b", "<https://evil.example|click> &amp;", "", ctx)
    (request,) = web.requests
    text = "*a &lt;!channel&gt; &amp; b*\n&lt;https://evil.example|click&gt; &amp;amp;"
    assert json.loads(request.body) == {"text": text}
    assert request.headers["content-type"] == "application/json"


def test_a_long_slack_message_is_cut_between_characters(ctx, web):
    SlackPeer(ctx, web)
    slack_room.send("t", "&" * 20_000, "", ctx)
    text = json.loads(web.requests[0].body)["text"]
    assert len(text) <= 40_000
    assert text.endswith("&amp;\n…")


def test_slack_is_asked_again_when_it_says_when(ctx, web):
    SlackPeer(ctx, web)
    web.on(HOOK, (429, b"rate_limited", {"Retry-After": "2"}), (200, b"ok", {}))
    slack_room.send("t", "b", "", ctx)
    assert len(web.requests) == 2
    assert any(2 <= wait < 3 for wait in ctx.waits)


def test_slack_is_not_waited_for_when_it_wants_an_hour(ctx, web):
    SlackPeer(ctx, web)
    web.on(HOOK, (429, b"rate_limited", {"Retry-After": "3600"}))
    with pytest.raises(KaggError, match="429"):
        slack_room.send("t", "b", "", ctx)


@pytest.mark.parametrize("answer", [(500, b"", {}), (302, b"", {"Location": "/elsewhere"})])
def test_slack_is_sent_a_message_once(answer, ctx, web):
    SlackPeer(ctx, web)
    web.on(HOOK, answer)
    with pytest.raises(KaggError):
        slack_room.send("t", "b", "", ctx)
    assert len(web.requests) == 1


def test_slacks_own_word_is_shown_and_nothing_else_of_its_answer(ctx, web):
    SlackPeer(ctx, web)
    web.on(HOOK, (404, b"channel_not_found", {}))
    with pytest.raises(KaggError, match=r"404: channel_not_found$"):
        slack_room.send("t", "b", "", ctx)
    web.on(HOOK, (404, b"<html>\x1b[31m", {}))
    with pytest.raises(KaggError, match=r"404$"):
        slack_room.send("t", "b", "", ctx)


@pytest.mark.parametrize(
    "value",
    ["http://hooks.slack.com" + HOOK, "hooks.slack.com" + HOOK, "https://hooks.slack.com", "https://[::1" + HOOK,
     "https://a:b@hooks.slack.com" + HOOK, "https://hooks.slack.com:x" + HOOK, "https://hooks.slack.com/a b"],
)  # fmt: skip
def test_a_slack_url_that_cannot_work_is_refused_and_not_shown(value, ctx):
    set_env(ctx, KAGG_SLACK_WEBHOOK_URL=value)
    with pytest.raises(KaggError, match="KAGG_SLACK_WEBHOOK_URL") as caught:
        slack_room.check("", ctx)
    assert caught.value.code == Exit.CONFIG
    assert HOOK not in caught.value.message + caught.value.hint


# --- webhook ---------------------------------------------------------------------------------------------------------


def test_a_webhook_gets_the_data_of_the_run_as_json(ctx, web):
    url = web.on("/done", (200, b"", {}))
    data = {"run_id": "r-1", "status": "error", "metrics": {"loss": float("nan"), "acc": 0.5}, "title": "mine"}
    assert notifying.notify(ctx, [f"webhook:{url}"], "the title", "the body", data=data) == []
    document = json.loads(web.requests[0].body)
    assert document == {"version": 1, "title": "the title", "body": "the body", "run_id": "r-1", "status": "error",
                        "metrics": {"loss": None, "acc": 0.5}}  # fmt: skip


def test_a_message_holds_no_secret_that_the_program_has_said(ctx, web):
    of_vendor = "sk_" + "live_" + "4eC39HqLyjWDarjtT1zdp7dc"
    of_service = "0123456789abcdef" * 2 + "01234567"
    set_env(ctx, WANDB_API_KEY=of_service)
    web.on("/hook", (200, b"{}", {}))
    said = f"ValueError: {of_vendor}, {of_service}"
    data = {"run_id": "a-1", "error": said, "traceback": [said], "metrics": {"loss": 0.5}}
    assert notifying.notify(ctx, [f"webhook:{web.url}/hook"], f"failed: {said}", said, data) == []
    (request,) = web.requests
    assert of_vendor not in request.body.decode()
    assert of_service not in request.body.decode()
    document = json.loads(request.body)
    assert document["title"] == "failed: ValueError: [secret], [secret]"
    assert (document["run_id"], document["metrics"]) == ("a-1", {"loss": 0.5})
    assert document["traceback"] == ["ValueError: [secret], [secret]"]


def test_why_a_notifier_failed_holds_no_secret_either(ctx, monkeypatch):
    of_vendor = "sk_" + "live_" + "4eC39HqLyjWDarjtT1zdp7dc"

    def fail(*_args, **_more):
        raise ValueError("refused " + "x" * 270 + f" {of_vendor}")

    monkeypatch.setattr(room(ctx, "notify", "webhook"), "send", fail)
    (failed,) = notifying.notify(ctx, ["webhook:https://example.org/"], "t", "b", {})
    assert of_vendor[:12] not in failed + ctx.stderr.getvalue()


def test_a_webhook_is_signed_over_time_and_body(ctx, web):
    secret = "signing-" + "77aa88bb"
    set_env(ctx, KAGG_WEBHOOK_SECRET=secret)
    webhook_room.send("t", "b", web.on("/done", (200, b"", {})), ctx)
    (request,) = web.requests
    signed = request.headers["x-kagg-timestamp"].encode() + b"." + request.body
    assert request.headers["x-kagg-signature"] == "sha256=" + hmac.new(secret.encode(), signed, "sha256").hexdigest()
    assert secret.encode() not in request.body


def test_without_a_secret_there_is_no_signature(ctx, web):
    webhook_room.send("t", "b", web.on("/done", (200, b"", {})), ctx)
    assert "x-kagg-signature" not in web.requests[0].headers


def test_a_webhook_is_tried_again_under_the_same_delivery(ctx, web):
    webhook_room.send("t", "b", web.on("/done", (503, b"", {}), (200, b"", {})), ctx)
    assert len({request.headers["x-kagg-delivery"] for request in web.requests}) == 1
    assert len(web.requests) == 2


def test_a_webhook_that_stays_broken_is_given_up(ctx, web):
    with pytest.raises(KaggError, match="503"):
        webhook_room.send("t", "b", web.on("/done", (503, b"", {})), ctx)
    assert len(web.requests) == webhook_room.ATTEMPTS


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_with_the_message(status, ctx, web, other_web):
    set_env(ctx, KAGG_WEBHOOK_SECRET="signing-" + "77aa88bb")
    target = other_web.on("/stolen", (200, b"", {}))
    with pytest.raises(KaggError, match=str(status)) as caught:
        webhook_room.send("t", "b", web.on("/done", (status, b"", {"Location": target})), ctx)
    assert "redirects" in caught.value.hint
    assert other_web.requests == []


@pytest.mark.parametrize("url", ["ftp://x.org/a", "x.org", "http://x.org/a", "https://u:p@x.org/", "https://x.org:p/",
                                 "https://x.org/a b", "https://[::1"])  # fmt: skip
def test_a_webhook_address_that_cannot_work_is_refused(url, ctx):
    with pytest.raises(KaggError) as caught:
        webhook_room.check(url, ctx)
    assert caught.value.code == Exit.USAGE
    set_env(ctx, KAGG_WEBHOOK_URL=url)
    with pytest.raises(KaggError, match="KAGG_WEBHOOK_URL") as caught:
        webhook_room.check("", ctx)
    assert caught.value.code == Exit.CONFIG


# --- all of them together --------------------------------------------------------------------------------------------


@pytest.fixture
def third_party(ctx, tmp_path):
    """Write notifiers of somebody else; `third_party(name, source)`."""
    folder = tmp_path / "rooms" / "notify"
    folder.mkdir(parents=True)
    set_env(ctx, KAGG_PLUGINS=str(folder.parent), KAGG_NO_PLUGINS="")

    def write(name, source):
        (folder / f"{name}.py").write_text(f'PLUGIN = {{"api": 1, "summary": "x", "requires": {{}}}}\n{source}')

    return write


def test_one_broken_notifier_does_not_hinder_the_others(ctx, web, third_party):
    third_party("bug", "def send(title, body, url, ctx):\n    raise ZeroDivisionError(title)\n")
    third_party("quits", "def send(title, body, url, ctx):\n    raise SystemExit(3)\n")
    third_party("liar", "def send(title, body, url, ctx):\n    return False\n")
    third_party("empty", "")
    wanted = ["bug", "quits", "liar", "empty", "absent", f"webhook:{web.on('/done', (200, b'', {}))}"]
    failed = notifying.notify(ctx, wanted, "t", "b")
    assert [line.partition(":")[0] for line in failed] == wanted[:5]
    assert len(web.requests) == 1
    said = ctx.stderr.getvalue()
    assert said.count("warning: not notified by") == 5
    assert "Traceback" not in said


def test_a_failure_is_said_even_when_quiet(ctx):
    ctx.verbosity = -1
    notifying.notify(ctx, ["slack"], "t", "b")
    assert "not notified by slack: --notify slack needs KAGG_SLACK_WEBHOOK_URL" in ctx.stderr.getvalue()


def test_a_notifier_that_hangs_is_left_behind(ctx, web, third_party, monkeypatch):
    monkeypatch.setattr(notifying, "NOTIFY_S", 0.3)
    third_party("slow", "def send(title, body, url, ctx):\n    ctx.cache['gate'].wait(20)\n")
    ctx.cache["gate"] = threading.Event()
    started = time.monotonic()
    failed = notifying.notify(ctx, ["slow", f"webhook:{web.on('/done', (200, b'', {}))}"], "t", "b")
    ctx.cache["gate"].set()
    assert [line.partition(":")[0] for line in failed] == ["slow"]
    assert time.monotonic() - started < 10
    assert len(web.requests) == 1


def test_the_same_wish_twice_is_one_message(ctx, web):
    url = web.on("/done", (200, b"", {}))
    notifying.notify(ctx, [f"webhook:{url}", f"webhook:{url}"], "t", "b")
    assert len(web.requests) == 1


def test_a_room_with_four_arguments_gets_no_data(ctx, third_party, tmp_path):
    third_party("plain", "def send(title, body, url, ctx):\n    ctx.cache['seen'] = (title, body, url)\n")
    third_party("rich", "def send(title, body, url, ctx, *, data):\n    ctx.cache['data'] = data\n")
    assert notifying.notify(ctx, ["plain:to:me", "rich"], "t", "b", data={"run_id": "r"}) == []
    assert ctx.cache["seen"] == ("t", "b", "to:me")
    assert ctx.cache["data"] == {"run_id": "r"}


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ("carrier-pigeon", Exit.USAGE),
        ("", Exit.USAGE),
        (":ada@example.org", Exit.USAGE),
        ("../cmd/batch", Exit.USAGE),
        ("email:a@b.org\nBcc: c@d.org", Exit.USAGE),
        ("email:ada@example.org", Exit.CONFIG),
        ("slack", Exit.CONFIG),
        ("slack:somewhere", Exit.USAGE),
        ("webhook", Exit.CONFIG),
        ("webhook:nonsense", Exit.USAGE),
        ("slack:https://hooks.slack.com" + HOOK, Exit.FINDINGS),
        ("bug", Exit.MISSING),
    ],
)
def test_what_cannot_be_told_later_is_refused_before_the_run(wanted, code, ctx, third_party):
    third_party("bug", "def check(url, ctx):\n    return 1 / 0\ndef send(title, body, url, ctx):\n    pass\n")
    with pytest.raises(KaggError) as caught:
        notifying.check(ctx, [wanted])
    assert caught.value.code == code
    assert HOOK not in caught.value.message + caught.value.hint


def test_nothing_wanted_is_nothing_checked_and_nothing_sent(ctx):
    notifying.check(ctx, [])
    assert notifying.notify(ctx, [], "t", "b") == []
