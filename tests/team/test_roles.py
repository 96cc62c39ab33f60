"""Who may do what, against the table written out; who is given which role; what is refused."""

import pytest

from gsc_core.errors import GscError
from gsc_core.jobs.configuration import configuration
from gsc_core.team.roles import ALONE, OUTSIDE, Action, Person, Role, may, refusal
from gsc_core.team.settings import TeamSettings

# operator, auditor with their own, auditor with another's, reader, guest
TABLE = {
    Action.SEE: "yes yes yes yes no",
    Action.ADD: "yes yes yes no no",
    Action.START: "yes yes yes no no",
    Action.MARK: "yes yes yes no no",
    Action.CHANGE: "yes yes no no no",
    Action.CANCEL: "yes yes no no no",
    Action.DECIDE: "yes yes no no no",
    Action.SHARE: "yes yes no no no",
    Action.DELETE: "yes yes no no no",
    Action.OPERATE: "yes no no no no",
}


@pytest.mark.parametrize("action", list(Action))
def test_the_rights_of_each_role_are_these(action):
    rights = (
        may(Role.OPERATOR, action),
        may(Role.AUDITOR, action, own=True),
        may(Role.AUDITOR, action),
        may(Role.READER, action, own=True),
        may(Role.GUEST, action, own=True),
    )
    assert rights == tuple(word == "yes" for word in TABLE[action].split())


def test_what_has_no_owner_is_nobodys():
    assert not Person(None, Role.AUDITOR).owns(None)
    assert not Person("ann@example.org", Role.AUDITOR).owns(None)
    assert Person("ann@example.org", Role.AUDITOR).owns("ann@example.org")


def test_a_refusal_says_whom_to_ask():
    ann = Person("ann@example.org", Role.AUDITOR)
    assert "This belongs to bob@example.org" in refusal(ann, Action.DELETE, "bob@example.org")
    assert "ask an operator" in refusal(ann, Action.DELETE, None)
    assert "make you an auditor" in refusal(Person("x", Role.READER), Action.ADD, None)
    assert "log in" in refusal(OUTSIDE, Action.SEE, None)
    assert ALONE.may(Action.OPERATE)


@pytest.mark.parametrize(
    ("settings", "address", "claims", "role"),
    [
        ({}, "ann@example.org", (), Role.OPERATOR),  # as in versions without roles
        ({"allowed": ["@example.org"]}, "ann@example.org", (), Role.OPERATOR),
        ({"allowed": ["@example.org"]}, "eve@example.com", (), Role.GUEST),
        ({"allowed": []}, "ann@example.org", (), Role.GUEST),
        ({"operators": ["Ann@example.org "]}, "ANN@example.org", (), Role.OPERATOR),
        ({"operators": ["ann@example.org"]}, "bob@example.org", (), Role.GUEST),
        ({"operators": "ann@example.org, @b.org"}, "x@b.org", (), Role.OPERATOR),
        (
            {"operators": ["ann@a.org"], "auditors": ["@a.org"], "readers": ["@b.org"]},
            "bob@a.org",
            (),
            Role.AUDITOR,
        ),
        ({"operators": ["ann@a.org"], "readers": ["@b.org"]}, "bob@b.org", (), Role.READER),
        ({"operators": ["ann@a.org"], "allowed": ["@b.org"]}, "bob@b.org", (), Role.READER),
        ({"operators": ["claim:admins"]}, "bob@b.org", ("staff", "admins"), Role.OPERATOR),
        ({"operators": ["claim:admins"]}, "bob@b.org", ("staff",), Role.GUEST),
        ({"operators": ["claim:admins"]}, "claim:admins", (), Role.GUEST),
        ({"operators": ["ann@a.org"]}, "", ("ann@a.org",), Role.GUEST),  # a claim is no address
        ({"operators": ["ann@a.org"]}, "", (), Role.GUEST),
        ({"operators": [""]}, "", (), Role.GUEST),
        ({"operators": []}, "ann@example.org", (), Role.GUEST),
        ({"operators": ["@"]}, "eve@", (), Role.GUEST),
        ({"operators": ["@a.org"]}, "eve@a.org@evil.com", (), Role.GUEST),
    ],
)
def test_the_role_of_a_person(settings, address, claims, role):
    assert TeamSettings.model_validate(settings).role_of(address, claims) is role


def test_settings_come_from_variables_and_from_the_login(monkeypatch):
    monkeypatch.setenv("GSC_OPERATORS", "ann@example.org, @ops.example.org")
    monkeypatch.setenv("GSC_USER_JOBS", "3")
    settings = configuration().beside_login({"auditors": ["bob@example.org"], "share": False})
    assert settings.operators == ("ann@example.org", " @ops.example.org")
    assert settings.role_of("x@ops.example.org") is Role.OPERATOR
    assert (settings.user_jobs, settings.auditors) == (3, ("bob@example.org",))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GSC_USER_JOBS", "many"),
        ("GSC_USER_JOBS", "0"),
        ("GSC_AUDIT_HOURS", "-1"),
        ("GSC_AUDIT_HOURS", "nan"),
        ("GSC_TRASH_DAYS", "inf"),
        ("GSC_LOGIN_HOURS", "nan"),
        ("GSC_LOGIN_HOURS", "0"),
    ],
)
def test_a_setting_that_cannot_be_read_is_named(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(GscError, match=f"^{variable} is .*: set it to "):
        configuration()


def test_a_list_in_the_login_that_is_none_lets_nobody_in():
    with pytest.raises(GscError, match=r"\[gsc\] operators"):
        configuration().beside_login({"operators": 7})
