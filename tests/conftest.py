"""Fixtures that several files share; helpers are in front_door.py and local_kaggle.py."""

from __future__ import annotations

import signal

import pytest
from front_door import QuickContext, Web, close, environment

import kagg
from plugins.lib.kaggle.server import LocalKaggle
from plugins.lib.kaggle.sessions import Limits

# A suite in the background of a shell without job control inherits SIGINT as ignored, and so would every child.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _nothing_kept():
    """Let a test's secrets end with it: the next one may show the same words."""
    before = set(kagg._SECRETS)
    yield
    kagg._SECRETS.intersection_update(before)


@pytest.fixture
def idle_kaggle(tmp_path):
    """A local Kaggle whose sessions stay queued, so that a push costs nothing; no credential may reach its storage."""
    with LocalKaggle(tmp_path / "kaggle", limits=Limits(queue_s=600)) as server:
        yield server
        assert server.leaks == 0


@pytest.fixture
def demo(tmp_path, idle_kaggle):
    """A context signed in at `idle_kaggle` with user name and key."""
    key = idle_kaggle.world.accounts.users["demo"]["key"]
    ctx = QuickContext(environment(tmp_path, KAGG_KAGGLE_URL=idle_kaggle.url, KAGGLE_USERNAME="demo", KAGGLE_KEY=key))
    yield ctx
    close(ctx)


@pytest.fixture
def web():
    """A web server that answers from a table."""
    with Web() as server:
        yield server


@pytest.fixture
def other_web():
    """A second origin."""
    with Web() as server:
        yield server


@pytest.fixture
def ctx(tmp_path):
    """A context that nobody is signed in with."""
    found = QuickContext(environment(tmp_path))
    yield found
    close(found)


@pytest.fixture
def impatient(monkeypatch):
    """Let every request that names no limit give up after 0.4 s."""
    monkeypatch.setitem(kagg.fetch.__kwdefaults__, "timeout_s", 0.4)
    monkeypatch.setitem(kagg.send.__kwdefaults__, "timeout_s", 0.4)
