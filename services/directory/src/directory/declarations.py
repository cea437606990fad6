"""What there is to be, as files say it: domains, accounts and aliases in JSON."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from directory.addresses import parse_address, parse_domain
from postroom_contracts.errors import InvalidAddressError, InvalidRequestError
from postroom_runtime.errors import ConfigurationError

T = TypeVar("T")

Key = tuple[str, str]
"""By what addresses are compared: local part and domain."""


def key_of(address: str) -> Key:
    """Raises `InvalidAddressError`, `InvalidRequestError`."""
    parsed = parse_address(address)
    return parsed.key, parsed.domain


def _checked(parse: Callable[[str], object], what: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        try:
            return str(parse(text))
        except (InvalidAddressError, InvalidRequestError):
            raise ValueError(f"not {what}") from None

    return check


Domain = Annotated[str, AfterValidator(_checked(parse_domain, "a domain"))]
MailAddress = Annotated[str, AfterValidator(_checked(parse_address, "an address"))]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DeclaredQuota(_Document):
    """How much mail an account may keep; the default of the house where nothing is said."""

    octets: int | None = Field(default=None, ge=0)
    messages: int | None = Field(default=None, ge=0)


class DeclaredAccount(_Document):
    """Somebody with a mailbox; the password is the one that the account begins with."""

    address: MailAddress
    name: str | None = None
    quota: DeclaredQuota | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    """Its first line is the password."""

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.password is not None and self.password_file is not None:
            raise ValueError("either password or password_file")
        return self

    def first_password(self) -> str | None:
        """None where there is none, or none that can be read."""
        if self.password is not None:
            return self.password.get_secret_value()
        try:
            text = self.password_file.read_text(encoding="utf-8") if self.password_file else ""
        except (OSError, UnicodeDecodeError):
            return None
        return text.partition("\n")[0].rstrip("\r") or None


class DeclaredAlias(_Document):
    """An address that leads to others."""

    address: MailAddress
    targets: tuple[MailAddress, ...]


class Declared(_Document):
    """All that there is to be. A kind that no file speaks of is nobody's business here."""

    domains: tuple[Domain, ...] | None = None
    accounts: tuple[DeclaredAccount, ...] | None = None
    aliases: tuple[DeclaredAlias, ...] | None = None


def read_declared(places: Iterable[Path]) -> Declared:
    """What all files say together; of a folder those that end in `.json`. Raises `ConfigurationError`."""
    documents = [_read(file) for place in places for file in _files(place)]
    declared = Declared(
        domains=_together(document.domains for document in documents),
        accounts=_together(document.accounts for document in documents),
        aliases=_together(document.aliases for document in documents),
    )
    seen: set[Key] = set()
    for each in (*(declared.accounts or ()), *(declared.aliases or ())):
        if (key := key_of(each.address)) in seen:
            raise ConfigurationError(f"{each.address} is declared twice")
        seen.add(key)
    return declared


def _together(parts: Iterable[tuple[T, ...] | None]) -> tuple[T, ...] | None:
    spoken = [part for part in parts if part is not None]
    return tuple(dict.fromkeys(each for part in spoken for each in part)) if spoken else None


def _files(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        yield place
        return
    # A ConfigMap's or Secret's folder has hidden ones besides, with the same files.
    yield from sorted(file for file in place.glob("*.json") if not file.name.startswith("."))


def _read(file: Path) -> Declared:
    try:
        return Declared.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            for fault in error.errors(include_input=False)
        )
        raise ConfigurationError(f"{file}: {faults}") from None
