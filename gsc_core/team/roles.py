"""Roles, and what each may do: the one place where a right is decided."""

import math
from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a person is here for."""

    OPERATOR = "operator"
    AUDITOR = "auditor"
    READER = "reader"
    GUEST = "guest"


class Action(StrEnum):
    """What a person may want to do; the words of its sentence follow "cannot"."""

    SEE = "see results and reports"
    ADD = "add files"
    START = "start work"
    MARK = "mark images"
    CHANGE = "change this"
    CANCEL = "cancel this"
    DECIDE = "decide on this run"
    SHARE = "share this report"
    DELETE = "delete or restore this"
    OPERATE = "do what only an operator may"


_OF_EVERYONE_IN = frozenset({Action.SEE})
_OF_AUDITORS = _OF_EVERYONE_IN | {Action.ADD, Action.START, Action.MARK}
_OF_OWNERS = frozenset({Action.CHANGE, Action.CANCEL, Action.DECIDE, Action.SHARE, Action.DELETE})


def may(role: Role, action: Action, *, own: bool = False) -> bool:
    """Whether a role includes an action; `own` is whether it is about what the person added.

    An auditor sees and uses everything, and changes, decides on, shares and deletes what is theirs.
    """
    match role:
        case Role.OPERATOR:
            return True
        case Role.AUDITOR:
            return action in _OF_AUDITORS or (own and action in _OF_OWNERS)
        case Role.READER:
            return action in _OF_EVERYONE_IN
    return False


@dataclass(frozen=True)
class Person:
    """Who acts: `name` is their address, None where there is no login.

    `until` is when their login ends, in seconds since 1970.
    """

    name: str | None
    role: Role
    until: float = math.inf

    def owns(self, owner: str | None) -> bool:
        """Whether a record with this owner is theirs; what has none belongs to nobody."""
        return self.name is not None and self.name == owner

    def may(self, action: Action, owner: str | None = None) -> bool:
        """Whether they may do this to a record with that owner, or at all."""
        return may(self.role, action, own=self.owns(owner))


ALONE = Person(None, Role.OPERATOR)
"""The one person of an app without a login, and of the command line."""

OUTSIDE = Person(None, Role.GUEST)
"""A visitor who is not logged in."""


def refusal(person: Person, action: Action, owner: str | None) -> str:
    """Why a person may not do this, and whom to ask, in one sentence."""
    if person.role is Role.GUEST:
        return "Only people who are logged in can do this: log in first."
    if person.role is Role.READER:
        return (
            f"As a reader you can see results and reports, but you cannot {action}: ask an "
            "operator to make you an auditor."
        )
    if owner is not None and action in _OF_OWNERS:
        return f"This belongs to {owner}, so you cannot {action}: ask them, or an operator."
    return f"As an {person.role} you cannot {action}: ask an operator."
