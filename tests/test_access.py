"""Who may come in: the login where one is configured, the warning where it is missing."""

import pytest
from opened_page import ROOT, words
from streamlit.testing.v1 import AppTest

from pages.parts.access import invited, listens_here_only

PROVIDER = {
    "redirect_uri": "http://127.0.0.1:8501/oauth2callback",
    "cookie_secret": "not a secret of anybody",
    "client_id": "id",
    "client_secret": "secret",
    "server_metadata_url": "http://127.0.0.1:9/.well-known/openid-configuration",
}


@pytest.fixture
def app(tmp_path, monkeypatch) -> AppTest:
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)


def test_without_a_login_everyone_on_this_machine_is_in(app):
    app.run()
    assert not app.exception
    assert not app.warning
    assert app.header


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
    assert invited(email, allowed) is comes_in


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


def test_listening_beyond_this_machine_warns(app, monkeypatch):
    import streamlit as st  # noqa: PLC0415 - its options belong to this test

    monkeypatch.setattr(
        st, "get_option", lambda name: "0.0.0.0" if name == "server.address" else None
    )
    app.run()
    assert "no login" in app.warning[0].value
