"""What an operator sets for a team, read from the environment and, for people, from the login.

Every field is a variable: `operators` is GSC_OPERATORS, and so on. Those about people (`PEOPLE`)
may instead stand in `[gsc]` of `.streamlit/secrets.toml`, beside the login.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gsc_core.errors import GscError
from gsc_core.team.roles import Role

CLAIM = "claim:"
PEOPLE = ("allowed", "operators", "auditors", "readers", "role_claim", "login_hours")
"""The fields that may stand beside the login."""
_MB = 10**6


def _words(value: object) -> object:
    return [word for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _as_compared(words: list[str]) -> tuple[str, ...]:
    return tuple(word.strip().casefold() for word in words)


People = Annotated[tuple[str, ...], BeforeValidator(_words)]
Amount = Annotated[float | None, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int | None, Field(gt=0)]


class QuotaError(GscError):
    """A person, or all of them, have as much as the operator lets them."""


class TeamSettings(BaseModel):
    """Who has which role, how long a login lasts, and how much each and all may have.

    People are addresses, domains as `@example.org`, or values of the login's claim `role_claim` as
    `claim:value`. What is None has no limit.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    allowed: People | None = None
    operators: People = ()
    auditors: People = ()
    readers: People = ()
    role_claim: str = "groups"
    login_hours: Annotated[float, Field(gt=0)] = 12.0
    trash_days: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 7.0
    user_disk_mb: Amount = None
    total_disk_mb: Amount = None
    user_jobs: Count = None
    total_jobs: Count = None
    audit_hours: Amount = None

    @classmethod
    def configured(cls, people: Mapping[str, Any] | None = None) -> Self:
        """As the operator set them; `people` is `[gsc]` of the login's settings, and comes first.

        Raises GscError, which names the variable or key that cannot be read.
        """
        set_here = {
            name: value
            for name in cls.model_fields
            if (value := os.environ.get(f"GSC_{name.upper()}", "").strip())
        }
        try:
            beside = {name: (people or {})[name] for name in PEOPLE if name in (people or {})}
            return cls.model_validate(set_here | beside)
        except ValidationError as error:
            first = error.errors()[0]
            key = str(first["loc"][0])
            place = f"[gsc] {key}" if key in (people or {}) else f"GSC_{key.upper()}"
            raise GscError(
                f"The setting {place} cannot be {str(first['input'])[:40]!r}: "
                f"{first['msg'][0].lower()}{first['msg'][1:]}."
            ) from error

    def role_of(self, address: str, claims: Sequence[str] = ()) -> Role:
        """The role of a person with this verified address ("" for none) and these claims.

        Where no list of a role is set, everyone who is allowed in is an operator, as in versions
        without roles. Where one is, who stands in none reads if `allowed` names them, and else is
        a guest.
        """
        named = _names(address, claims)
        by_role = {
            Role.OPERATOR: self.operators,
            Role.AUDITOR: self.auditors,
            Role.READER: self.readers,
        }
        for role, people in by_role.items():
            if not named.isdisjoint(_as_compared(list(people))):
                return role
        is_allowed = self.allowed is not None and not named.isdisjoint(
            _as_compared(list(self.allowed))
        )
        if any(by_role.values()):
            return Role.READER if is_allowed else Role.GUEST
        return Role.OPERATOR if self.allowed is None or is_allowed else Role.GUEST

    @property
    def user_disk(self) -> float | None:
        """Bytes that one person's models, sets and runs may take."""
        return None if self.user_disk_mb is None else self.user_disk_mb * _MB

    @property
    def total_disk(self) -> float | None:
        """Bytes that those of all may take."""
        return None if self.total_disk_mb is None else self.total_disk_mb * _MB

    @property
    def audit_seconds(self) -> float | None:
        """Seconds that an audit may take."""
        return None if self.audit_hours is None else self.audit_hours * 3600


def _names(address: str, claims: Sequence[str]) -> frozenset[str]:
    """Everything a list may call a person."""
    address = address.strip().casefold()
    domain = address.rpartition("@")[2] if "@" in address else ""
    of_address = {address, f"@{domain}"} if domain else set()
    return frozenset(of_address | {f"{CLAIM}{claim}".casefold() for claim in claims})
