"""What an operator sets for a team: who has which role, and how much each and all may have."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gsc_core.errors import GscError
from gsc_core.team.roles import Role

CLAIM = "claim:"
PEOPLE = ("allowed", "operators", "auditors", "readers", "role_claim", "login_hours")
"""The settings that may stand beside the login, in `[gsc]` of `.streamlit/secrets.toml`."""
_BESIDE = (*PEOPLE, "share")
_LISTS = frozenset({"operators", "auditors", "readers"})
_MB = 10**6
_A_NUMBER, _A_COUNT = "a number above 0", "a whole number, 1 or more"
_ADDRESSES = "addresses, domains such as @example.org, or claim:value"


def _words(value: object) -> object:
    return [word for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _as_compared(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(word.strip().casefold() for word in words)


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
"""A list, in the environment with commas between."""

People = Words
Amount = Annotated[float | None, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int | None, Field(gt=0)]


class QuotaError(GscError):
    """A person, or all of them, have as much as the operator lets them."""


def setting(default: Any, meaning: str, expects: str, **bounds: Any) -> Any:
    """One setting: its usual value, what it means, and what may stand there, in words."""
    return Field(default, description=meaning, title=expects, **bounds)


class TeamSettings(BaseModel):
    """The part of the configuration that is about people.

    People are addresses, domains as `@example.org`, or values of the login's claim `role_claim` as
    `claim:value`. What is None has no limit.
    """

    model_config = ConfigDict(frozen=True)

    allowed: People | None = setting(None, "who may log in; by default everyone", _ADDRESSES)
    operators: People = setting((), "who may do everything", _ADDRESSES)
    auditors: People = setting((), "who may add, audit, and work on what is theirs", _ADDRESSES)
    readers: People = setting((), "who may see results and reports", _ADDRESSES)
    role_claim: str = setting("groups", "the login's claim that `claim:value` is about", "a name")
    login_hours: float = setting(12.0, "how long a login lasts", _A_NUMBER, gt=0, le=100_000)
    trash_days: float = setting(
        7.0, "how long what was deleted can be restored", "a number of days above 0",
        gt=0, le=100_000,
    )  # fmt: skip
    user_disk_mb: Amount = setting(
        None, "models, sets and runs of one person, the trash included", _A_NUMBER
    )
    total_disk_mb: Amount = setting(None, "models, sets and runs of everyone", _A_NUMBER)
    user_jobs: Count = setting(None, "jobs of one person that are waiting or running", _A_COUNT)
    total_jobs: Count = setting(None, "jobs of everyone that are waiting or running", _A_COUNT)
    audit_hours: Amount = setting(
        None, "how long an audit may take; what it finished stays, to be resumed", _A_NUMBER
    )

    @property
    def lets_everyone_in(self) -> bool:
        """Whether whoever has an account at the provider of the login comes in."""
        return self.allowed is None and not self.model_fields_set & _LISTS

    def beside_login(self, people: object | None) -> Self:
        """These settings, with those about people that stand in `[gsc]` beside the login.

        `people` is None where there is no such table. Where there is one, only who is named comes
        in: a list that was forgotten opens nothing. Raises GscError, which names the key that
        cannot be used.
        """
        if people is None:
            return self
        if not isinstance(people, Mapping):
            raise GscError("[gsc] is not a table: correct it.")
        if unknown := sorted(set(people) - set(_BESIDE)):
            raise GscError(f"[gsc] {unknown[0]} is not a setting: it has {', '.join(_BESIDE)}.")
        named = () if self.allowed is None else self.allowed
        given = {"allowed": named} | {name: people[name] for name in PEOPLE if name in people}
        try:
            read = TeamSettings.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            key = str(first["loc"][0])
            raise GscError(
                f"[gsc] {key} cannot be {str(given[key])[:40]!r}: set it to "
                f"{TeamSettings.model_fields[key].title}."
            ) from error
        return self.model_copy(update={name: getattr(read, name) for name in given})

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
            if not named.isdisjoint(_as_compared(people)):
                return role
        if self.lets_everyone_in:
            return Role.OPERATOR
        if named.isdisjoint(_as_compared(self.allowed or ())):
            return Role.GUEST
        return Role.READER if self.model_fields_set & _LISTS else Role.OPERATOR

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
