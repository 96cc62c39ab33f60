"""Who may come in: the login where one is configured, the warning where it is missing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from browser import PATIENCE
from login_provider import PROVIDER
from opened_page import ROOT, words
from streamlit import config
from streamlit.runtime.secrets import Secrets
from streamlit.testing.v1 import AppTest

from gsc_core.team.roles import Role
from gsc_core.team.settings import TeamSettings
from gsc_core.workspace.operation.web_settings import listens_here_only
from pages.parts.entry.access import sharing


@pytest.fixture
def app(tmp_path, monkeypatch) -> AppTest:
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=PATIENCE)


@pytest.fixture
def settings_file(tmp_path, monkeypatch) -> Iterator[Path]:
    """The one file that Streamlit reads secrets from; it is not there yet."""
    file = tmp_path / "secrets.toml"
    monkeypatch.setattr(st, "secrets", Secrets())
    before = config.get_option("secrets.files")
    config.set_option("secrets.files", [str(file)])
    yield file
    config.set_option("secrets.files", before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("account", "seen"),
    [
        ({}, "Please log in"),
        ({"is_logged_in": False, "email": "ann@example.org"}, "Please log in"),
        ({"is_logged_in": True, "email": "ann@example.org"}, "Home"),
        ({"is_logged_in": True, "email": "ann@example.org", "email_verified": True}, "Home"),
        ({"is_logged_in": True, "email": "ann@example.org", "email_verified": "true"}, "Home"),
        (
            {"is_logged_in": True, "email": "ann@example.org", "email_verified": False},
            "not invited",
        ),
        ({"is_logged_in": True, "email": "ann@example.org", "email_verified": "false"}, "not inv"),
        ({"is_logged_in": True, "email": "bob@example.org"}, "not invited"),
        ({"is_logged_in": True, "email": None}, "This account is not invited"),
    ],
)
def test_who_is_invited_comes_in(app, monkeypatch, account, seen):
    monkeypatch.setattr(st, "user", account)  # what the provider said; no provider is at hand
    app.secrets["auth"] = PROVIDER
    app.secrets["gsc"] = {"allowed": ["ann@example.org"]}
    app.run()
    assert not app.exception
    outside = seen != "Home"
    assert (seen in words(app)) is outside
    assert bool(app.title and app.title[0].value != "GSC Audit") is not outside


@pytest.mark.parametrize(
    "forgotten", [{"share": False}, {}, {"login_hours": 8}, {"operators": []}, {"allowed": []}]
)
def test_a_list_that_was_forgotten_lets_nobody_in(app, monkeypatch, forgotten):
    monkeypatch.setattr(st, "user", {"is_logged_in": True, "email": "ann@example.org"})
    app.secrets["auth"] = PROVIDER
    app.secrets["gsc"] = forgotten
    app.run()
    assert "ann@example.org is not invited" in words(app)


def test_a_misspelt_list_lets_nobody_in_and_is_named(app, monkeypatch):
    monkeypatch.setattr(st, "user", {"is_logged_in": True, "email": "ann@example.org"})
    app.secrets["auth"] = PROVIDER
    app.secrets["gsc"] = {"allowed": ["ann@example.org"], "operatos": ["olga@example.org"]}
    app.run()
    assert "[gsc] operatos is not a setting" in words(app)
    assert not app.title


def test_without_a_login_everyone_on_this_machine_is_in(app):
    app.run()
    assert not app.exception
    assert not app.warning
    assert app.title


def test_with_a_login_nothing_is_shown_before_it(app):
    app.secrets["auth"] = PROVIDER
    app.run()
    assert not app.exception
    assert app.button(key="login").label == "Log in"
    assert "Please log in" in words(app)
    assert len(app.button) == 1
    assert not app.get("page_link")


@pytest.mark.parametrize(
    ("email", "allowed", "comes_in"),
    [
        ("ann@example.org", ["ann@example.org"], True),
        ("Ann@Example.org", [" ann@example.org"], True),
        ("bob@example.org", ["ann@example.org"], False),
        ("bob@example.org", ["@example.org"], True),
        ("bob@sub.example.org", ["@example.org"], False),
        ("bob@evil.com@example.org.evil", ["@example.org"], False),
        ("", ["@"], False),
        ("", [""], False),
        ("bob@example.org", [], False),
    ],
)
def test_the_list_names_people_and_domains(email, allowed, comes_in):
    role = TeamSettings(allowed=tuple(allowed)).role_of(email)
    assert (role is not Role.GUEST) is comes_in


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.4", False),
        (None, False),
        ("audit.example.org", False),
    ],
)
def test_only_loopback_is_this_machine_alone(address, here):
    assert listens_here_only(address) is here


@pytest.mark.parametrize(
    "damaged",
    [b'[auth]\nclient_id = "no end', b"[auth\n", b'[auth]\nclient_id = "\xff"'],
    ids=["no end", "no bracket", "not utf-8"],
)
def test_settings_that_cannot_be_read_let_nobody_in(app, damaged, settings_file):
    settings_file.write_bytes(damaged)
    app.query_params["run"] = "demo"
    app.run()
    assert not app.exception
    assert "secrets.toml) cannot be read, so nobody is let in" in app.error[0].value
    assert not app.title
    assert not app.button
    assert not sharing()


def test_no_settings_are_no_login_and_allow_sharing(app, settings_file):
    assert not settings_file.exists()
    app.run()
    assert not app.error
    assert app.title
    assert sharing()


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("", True),
        ("[gsc]\nallowed = []", True),
        ("[gsc]\nshare = true", True),
        ("[gsc]\nshare = false", False),
        ('[gsc]\nshare = "false"', False),
        ("[gsc]\nshare = 0", False),
    ],
)
def test_only_the_settings_forbid_to_share(text, allowed, settings_file):
    settings_file.write_text(text)
    assert sharing() is allowed


def test_listening_beyond_this_machine_warns(app, monkeypatch):
    monkeypatch.setattr(
        st, "get_option", lambda name: "0.0.0.0" if name == "server.address" else None
    )
    app.run()
    assert "no login" in app.warning[0].value
