"""Notify a Slack channel through an incoming webhook, whose URL is a secret: KAGG_SLACK_WEBHOOK_URL."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from kagg import Context, Exit, KaggError, bad_input, check_url, fetch, keep_secret, redact

PLUGIN = {"api": 1, "summary": "a Slack channel", "requires": {}}

VARIABLE = "KAGG_SLACK_WEBHOOK_URL"
MAX_TEXT_CHARS = 39_000  # a message is cut at 40,000: docs.slack.dev/changelog/2018-truncating-really-long-messages
TIMEOUT_S = 5.0
MAX_WAIT_S = 20.0  # for a rate limit of one message a second: docs.slack.dev/apis/web-api/rate-limits


def _webhook(url: str, ctx: Context) -> str:
    """Return the webhook's URL.

    Raises:
        KaggError: USAGE for an address on the command line, CONFIG when the variable is absent or no https URL.
    """
    if url:
        raise bad_input("--notify slack takes no address", f"the webhook's URL is a secret: put it into {VARIABLE}")
    webhook = ctx.env.get(VARIABLE, "").strip()
    if not webhook:
        hint = "make one at https://api.slack.com/messaging/webhooks"
        raise KaggError(f"--notify slack needs {VARIABLE}", code=Exit.CONFIG, hint=hint)
    keep_secret(webhook)
    keep_secret(re.sub(r"^[^/]*//[^/]*", "", webhook))
    try:
        check_url(webhook)
        parts = urlsplit(webhook)
        fits = len(parts.path) > 1 and parts.port != 0 and not re.search(r"[\s\x00-\x1f@]", webhook)
    except (KaggError, ValueError):
        fits = False
    if not fits:  # the value itself is not shown
        hint = "copy it from Slack: https://hooks.slack.com/services/..."
        raise KaggError(f"{VARIABLE} is no https URL of a webhook", code=Exit.CONFIG, hint=hint)
    return webhook


def check(url: str, ctx: Context) -> None:
    """Refuse an address, and settings that cannot work."""
    _webhook(url, ctx)


def escape(text: str) -> str:
    """Return text in which nothing is a link or mention: docs.slack.dev/messaging/formatting-message-text#escaping."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def send(title: str, body: str, url: str, ctx: Context) -> None:
    """Post one message.

    Raises:
        KaggError: USAGE or CONFIG as `check`; SERVICE with Slack's own word, such as no_service or channel_is_archived.
    """
    webhook = _webhook(url, ctx)
    text = f"*{escape(title)}*\n{escape(body)}"
    if len(text) > MAX_TEXT_CHARS:
        text = re.sub(r"&[a-z]{0,3}$", "", text[:MAX_TEXT_CHARS]) + "\n…"
    try:
        fetch(ctx, "POST", webhook, json_body={"text": text}, timeout_s=TIMEOUT_S, max_wait_s=MAX_WAIT_S, follow=False)
    except KaggError as error:
        reply = error.details.get("reply")
        word = reply.body[:2000].decode("utf-8", "replace").strip() if reply else ""
        known = f": {word}" if re.fullmatch(r"[a-z_]{3,60}", word) else ""
        hint = f"is {VARIABLE} still valid?" if error.details.get("status") in (403, 404, 410) else error.hint
        raise KaggError(redact(error.message) + known, code=Exit.SERVICE, hint=hint) from None
