"""Notify by email: one message through the SMTP server of KAGG_SMTP_URL, encrypted except on this machine."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from kagg import (
    LOOPBACK,
    Context,
    Exit,
    KaggError,
    bad_input,
    keep_secret,
    network_reason,
    redact,
    service_error,
    setting,
)

if TYPE_CHECKING:
    import smtplib
    import ssl
    from collections.abc import Iterator
    from email.message import EmailMessage

PLUGIN = {"api": 1, "summary": "an email through your SMTP server", "requires": {}}

DEFAULT_PORTS = {"smtp": 587, "smtps": 465}  # RFC 6409 section 3.1, RFC 8314 section 3.3
TIMEOUT_S = 10.0  # for each answer of the server
MAX_RECIPIENTS = 20
HOW = "set KAGG_SMTP_URL to smtps://HOST:465 or smtp://HOST:587; see docs/notify-and-track.md"


class Server(NamedTuple):
    """Where mail is handed over, and as whom: user "" is nobody."""

    scheme: str
    host: str
    port: int
    user: str
    password: str


def _server(ctx: Context) -> Server:
    """Return the SMTP server of the settings.

    Raises:
        KaggError: CONFIG.
    """
    url = setting(ctx, "KAGG_SMTP_URL", "notify.email.smtp_url").strip()
    if not url:
        raise KaggError("--notify email needs an SMTP server", code=Exit.CONFIG, hint=HOW)
    try:
        parts = urlsplit(url)
        host, port, inside = parts.hostname or "", parts.port, parts.username or parts.password
    except ValueError:
        host, port, inside = "", None, None
    if inside:
        hint = "user name and password go into KAGG_SMTP_USER and KAGG_SMTP_PASSWORD"
        raise KaggError("KAGG_SMTP_URL has a user name in it", code=Exit.CONFIG, hint=hint)
    if not host or parts.scheme not in DEFAULT_PORTS or parts.path not in ("", "/") or re.search(r"\s", url):
        raise KaggError(f"KAGG_SMTP_URL={url[:80]!r} is no SMTP server", code=Exit.CONFIG, hint=HOW)
    user = setting(ctx, "KAGG_SMTP_USER", "notify.email.user")
    password = keep_secret(ctx.env.get("KAGG_SMTP_PASSWORD", ""))
    if bool(user) != bool(password):
        absent = "KAGG_SMTP_PASSWORD" if user else "KAGG_SMTP_USER"
        raise KaggError(f"--notify email needs {absent} as well", code=Exit.CONFIG)
    return Server(parts.scheme, host, port or DEFAULT_PORTS[parts.scheme], user, password)


def _addresses(text: str, source: str, code: Exit) -> list[str]:
    """Return the addresses in "a@x.org, Ada <b@y.org>".

    Raises:
        KaggError: `code`, for what is no address; a line break could otherwise add headers of its own.
    """
    from email.utils import getaddresses

    if any(not character.isprintable() for character in text):
        raise KaggError(f"{source}: the address has a line break or control character in it", code=code)
    found = [address for _, address in getaddresses([text])]
    for address in found or [text]:
        if not _is_address(address):
            raise KaggError(f"{source}: {text[:80]!r} is no email address", code=code, hint="write me@example.org")
    if len(found) > MAX_RECIPIENTS:
        raise KaggError(f"{source}: {len(found)} addresses, {MAX_RECIPIENTS} are the most", code=code)
    return found


def _is_address(text: str) -> bool:
    """Say whether this is local@domain; quoted local parts are left to those who have them."""
    if not re.fullmatch(r"[^\s@<>()\[\]\\,;:\"]{1,64}@[^\s@<>()\\,;:\"]{1,255}", text):
        return False
    try:
        return bool(text.partition("@")[2].encode("idna"))
    except UnicodeError:
        return False


def _to(url: str, ctx: Context) -> list[str]:
    if url:
        return _addresses(url, "--notify email", Exit.USAGE)
    default = setting(ctx, "KAGG_NOTIFY_EMAIL", "notify.email.to")
    if not default.strip():
        raise KaggError("--notify email has no addressee", code=Exit.CONFIG,
                        hint="write --notify email:me@example.org, or set KAGG_NOTIFY_EMAIL")  # fmt: skip
    return _addresses(default, "KAGG_NOTIFY_EMAIL", Exit.CONFIG)


def _sender(ctx: Context, server: Server, to: list[str]) -> str:
    """Return the From address: the settings', else the user name that is an address, else the first addressee."""
    chosen = setting(ctx, "KAGG_SMTP_FROM", "notify.email.from")
    if chosen:
        senders = _addresses(chosen, "KAGG_SMTP_FROM", Exit.CONFIG)
        if len(senders) != 1:
            raise KaggError("KAGG_SMTP_FROM holds more than one address", code=Exit.CONFIG)
        return chosen
    return server.user if re.fullmatch(r"[^\s@<>,;:]+@[^\s@<>,;:]+", server.user) else to[0]


def check(url: str, ctx: Context) -> None:
    """Refuse settings and addresses that cannot work; nothing is sent."""
    server, to = _server(ctx), _to(url, ctx)
    _sender(ctx, server, to)


def compose(title: str, body: str, sender: str, to: list[str], ctx: Context) -> EmailMessage:
    """Return the message: UTF-8 text in 7-bit lines, marked as written by a program (RFC 3834 section 5)."""
    from email.message import EmailMessage
    from email.policy import SMTP
    from email.utils import format_datetime, make_msgid, parseaddr

    if any(not character.isprintable() for character in title):
        raise bad_input("the subject of an email has a line break or control character in it")
    message = EmailMessage(policy=SMTP)
    message["Subject"], message["From"], message["To"] = title.encode(errors="replace").decode(), sender, ", ".join(to)
    message["Date"] = format_datetime(ctx.now())
    message["Message-ID"] = make_msgid(domain=parseaddr(sender)[1].partition("@")[2].encode("idna").decode())
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(body.encode(errors="replace").decode(), charset="utf-8", cte="quoted-printable")
    return message


def _trust(ctx: Context) -> ssl.SSLContext:
    """Return the certificates to check the server against: SSL_CERT_FILE, else the system's, else certifi's."""
    import importlib.util
    import ssl

    bundle = ctx.env.get("SSL_CERT_FILE") or None
    try:
        trust = ssl.create_default_context(cafile=bundle)
    except OSError as error:
        raise KaggError(f"SSL_CERT_FILE={bundle}: {network_reason(error)}", code=Exit.CONFIG) from error
    if not bundle and not trust.cert_store_stats()["x509_ca"] and importlib.util.find_spec("certifi"):
        import certifi

        trust.load_verify_locations(certifi.where())
    return trust


@contextlib.contextmanager
def _session(server: Server, ctx: Context, *, encrypt: bool = True) -> Iterator[smtplib.SMTP]:
    """Open an SMTP session; outside this machine it is encrypted before anything else is said, or refused."""
    import smtplib

    trust, here = _trust(ctx), "[127.0.0.1]"  # an address literal instead of a look-up: RFC 5321 section 4.1.4
    more: dict[str, Any] = {"local_hostname": here, "timeout": TIMEOUT_S}
    if server.scheme == "smtps":
        with contextlib.closing(smtplib.SMTP_SSL(server.host, server.port, context=trust, **more)) as smtp:
            yield smtp
        return
    with contextlib.closing(smtplib.SMTP(server.host, server.port, **more)) as smtp:
        smtp.ehlo()
        if encrypt and smtp.has_extn("starttls"):
            smtp.starttls(context=trust)
            smtp.ehlo()
        elif server.host not in LOOPBACK:
            hint = "use smtps://, or another server; mail and password would be readable on the way"
            raise KaggError(f"{server.host} offers no encryption (STARTTLS)", code=Exit.CONFIG, hint=hint)
        yield smtp


def send(title: str, body: str, url: str, ctx: Context) -> None:
    """Send one message to everybody in `url`, else to the settings' addressee.

    Raises:
        KaggError: USAGE or CONFIG as `check`, and CONFIG for a refused password or certificate; SERVICE otherwise.
    """
    import ssl

    server, to = _server(ctx), _to(url, ctx)
    sender = _sender(ctx, server, to)
    message = compose(title, body, sender, to, ctx)
    try:
        _deliver(server, message, ctx, encrypt=True)
    except ssl.SSLCertVerificationError as error:
        if server.host in LOOPBACK and server.scheme == "smtp":  # a mail server of this machine signs for itself
            _deliver(server, message, ctx, encrypt=False)
            return
        hint = "SSL_CERT_FILE names a file with your own authorities"
        text = f"{server.host}: the certificate is refused: {network_reason(error)}"
        raise KaggError(text, code=Exit.CONFIG, hint=hint) from None


def _deliver(server: Server, message: EmailMessage, ctx: Context, *, encrypt: bool) -> None:
    import smtplib
    import ssl

    try:
        with _session(server, ctx, encrypt=encrypt) as smtp:
            if server.user:
                smtp.login(server.user, server.password)
            refused = smtp.send_message(message)
            with contextlib.suppress(smtplib.SMTPException, OSError):  # it has the mail already
                smtp.quit()
    except ssl.SSLCertVerificationError:
        raise
    except smtplib.SMTPAuthenticationError as error:
        text = f"{server.host} refused KAGG_SMTP_USER and KAGG_SMTP_PASSWORD: {_words(error)}"
        raise KaggError(text, code=Exit.CONFIG) from None
    except smtplib.SMTPRecipientsRefused as error:
        raise service_error(f"{server.host} refused {_refusals(error.recipients)}") from None
    except smtplib.SMTPResponseException as error:
        raise service_error(f"{server.host} refused the mail: {_words(error)}") from None
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise service_error(f"{server.host}: {network_reason(error)}", "is KAGG_SMTP_URL right?") from None
    if refused:
        raise service_error(f"{server.host} refused {_refusals(refused)}; the others got it")


def _words(error: smtplib.SMTPResponseException) -> str:
    """Return what the server said, as one line."""
    said = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
    return _clean(f"{error.smtp_code} {said}")


def _refusals(refused: dict[str, tuple[int, bytes]]) -> str:
    return ", ".join(
        _clean(f"{address} ({code} {said.decode('utf-8', 'replace')})") for address, (code, said) in refused.items()
    )


def _clean(text: str) -> str:
    return redact(" ".join(re.sub(r"[^\x20-\x7e\xa1-\U0010ffff]", " ", text).split()))[:200]
