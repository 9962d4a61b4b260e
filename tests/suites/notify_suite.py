"""What every notifier must hold: functions that take a room and a Peer, and raise AssertionError.

`reference` shows that the suite can be passed, BROKEN that each check can fail. A new notifier needs a Peer: a real
server of its kind, the context that leads to it, and what reached it.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kagg import Exit, KaggError

TITLE = "train-20261120: complete, größer & <besser> ✓"
BODY = "loss: 0.25\naccuracy: 0.9 <b> & more\n\nresults: /home/ada/kaggle_results/größe"


class Peer:
    """The memory peer, and what other peers look like."""

    secret = "whsec-" + "4f1c2aa07e"
    url = "memory"

    def __init__(self, ctx):
        self.ctx, self.messages, self.broken = ctx, [], False
        self.ctx.env = dict(ctx.env) | {"MEMORY": self.secret}
        self.ctx.cache["peer"] = self

    def refuse(self):
        """Answer the next messages with a refusal that repeats the secret, as careless servers do."""
        self.broken = True

    def forget(self):
        """Take the settings away."""
        self.ctx.env = {name: value for name, value in self.ctx.env.items() if name != "MEMORY"}


def the_message_arrives_once_and_as_it_is(room, peer):
    assert room.send(TITLE, BODY, peer.url, peer.ctx) is None
    assert len(peer.messages) == 1
    title, body = peer.messages[0]
    assert title == TITLE
    assert body.rstrip("\n") == BODY


def a_second_message_is_a_second_message(room, peer):
    room.send("first", "one", peer.url, peer.ctx)
    room.send("second", "two", peer.url, peer.ctx)
    assert [title for title, _ in peer.messages] == ["first", "second"]


def an_empty_body_is_no_error(room, peer):
    room.send("only a title", "", peer.url, peer.ctx)
    assert [title for title, _ in peer.messages] == ["only a title"]


def a_refusal_is_an_error(room, peer):
    peer.refuse()
    with pytest.raises(KaggError) as caught:
        room.send(TITLE, BODY, peer.url, peer.ctx)
    assert caught.value.code in (Exit.SERVICE, Exit.CONFIG)
    assert "\n" not in caught.value.message


def an_error_holds_no_secret(room, peer):
    peer.refuse()
    with pytest.raises(KaggError) as caught:
        room.send(TITLE, BODY, peer.url, peer.ctx)
    peer.ctx.say(f"{caught.value.message}; {caught.value.hint}", -1)
    assert peer.secret not in caught.value.message + caught.value.hint + peer.ctx.stderr.getvalue()


def missing_settings_are_found_before_anything_is_sent(room, peer):
    peer.forget()
    for act in (lambda: room.check(peer.url, peer.ctx), lambda: room.send(TITLE, BODY, peer.url, peer.ctx)):
        with pytest.raises(KaggError) as caught:
            act()
        assert caught.value.code == Exit.CONFIG
        assert caught.value.hint
    assert peer.messages == []


def a_check_that_passes_sends_nothing(room, peer):
    assert room.check(peer.url, peer.ctx) is None
    assert peer.messages == []


CHECKS = [
    the_message_arrives_once_and_as_it_is,
    a_second_message_is_a_second_message,
    an_empty_body_is_no_error,
    a_refusal_is_an_error,
    an_error_holds_no_secret,
    missing_settings_are_found_before_anything_is_sent,
    a_check_that_passes_sends_nothing,
]


def _check(url, ctx):
    if "MEMORY" not in ctx.env:
        raise KaggError("no memory", code=Exit.CONFIG, hint="set MEMORY")


def _send(title, body, url, ctx):
    _check(url, ctx)
    if ctx.cache["peer"].broken:
        raise KaggError("refused", code=Exit.SERVICE)
    ctx.cache["peer"].messages.append((title, body))


reference = SimpleNamespace(send=_send, check=_check)


def sends_twice(title, body, url, ctx):
    _send(title, body, url, ctx)
    _send(title, body, url, ctx)


def escapes_for_another_reader(title, body, url, ctx):
    _send(title.replace("&", "&amp;"), body, url, ctx)


def sends_only_what_is_new(title, body, url, ctx):
    if not ctx.cache["peer"].messages:
        _send(title, body, url, ctx)


def needs_a_body(title, body, url, ctx):
    if body:
        _send(title, body, url, ctx)


def returns_false(title, body, url, ctx):
    try:
        _send(title, body, url, ctx)
    except KaggError as error:
        if error.code == Exit.CONFIG:
            raise
        return False


def says_the_secret(title, body, url, ctx):
    try:
        _send(title, body, url, ctx)
    except KaggError as error:
        raise KaggError(f"{error.message} {ctx.env.get('MEMORY')}", code=error.code, hint=error.hint) from error


def needs_no_settings(title, body, url, ctx):
    if "MEMORY" in ctx.env:
        _send(title, body, url, ctx)


def check_sends(url, ctx):
    _check(url, ctx)
    _send("test", "test", url, ctx)


BROKEN = {
    "sends twice": (SimpleNamespace(send=sends_twice, check=_check), the_message_arrives_once_and_as_it_is),
    "escapes": (
        SimpleNamespace(send=escapes_for_another_reader, check=_check),
        the_message_arrives_once_and_as_it_is,
    ),
    "sends one": (SimpleNamespace(send=sends_only_what_is_new, check=_check), a_second_message_is_a_second_message),
    "needs a body": (SimpleNamespace(send=needs_a_body, check=_check), an_empty_body_is_no_error),
    "returns False": (SimpleNamespace(send=returns_false, check=_check), a_refusal_is_an_error),
    "says the secret": (SimpleNamespace(send=says_the_secret, check=_check), an_error_holds_no_secret),
    "needs no settings": (
        SimpleNamespace(send=needs_no_settings, check=_check),
        missing_settings_are_found_before_anything_is_sent,
    ),
    "check sends": (SimpleNamespace(send=_send, check=check_sends), a_check_that_passes_sends_nothing),
}
