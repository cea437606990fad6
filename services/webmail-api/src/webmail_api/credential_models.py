"""Documents of app passwords and of SCRAM."""

import base64
import secrets
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AwareDatetime, BaseModel, Field, SecretStr

from postroom.directory.v1 import credential_pb2
from postroom.directory.v1 import directory_pb2 as pb
from webmail_api.identifiers import uuid_text
from webmail_api.mail_models import Input

AppScope: TypeAlias = Literal["imap", "pop3", "smtp", "ftp", "api"]

_NUMBERS: Final[dict[AppScope, pb.Scope.ValueType]] = {
    "imap": pb.SCOPE_IMAP,
    "pop3": pb.SCOPE_POP3,
    "smtp": pb.SCOPE_SUBMISSION,
    "ftp": pb.SCOPE_FTP,
    "api": pb.SCOPE_API,
}
_SCOPES: Final[dict[pb.Scope.ValueType, AppScope]] = {number: scope for scope, number in _NUMBERS.items()}
_GROUP: Final = 5
_LETTERS: Final = 20


class NewAppPassword(Input):
    """A password for one program, which can do no more than its scopes say."""

    name: Annotated[str, Field(min_length=1, max_length=100, examples=["Mail on the laptop"])]
    scopes: Annotated[list[AppScope], Field(min_length=1, max_length=5, examples=[["imap", "smtp"]])]
    expires_at: AwareDatetime | None = Field(default=None, description="Null: it does not end by itself.")


class AppPassword(BaseModel):
    """What is known of an app password; the password itself nobody knows any more."""

    id: str
    name: str
    scopes: list[AppScope]
    created_at: datetime
    expires_at: datetime | None = None
    used_at: datetime | None = Field(default=None, description="When it was used last, to the hour.")


class MadeAppPassword(AppPassword):
    """The same with the password, which is shown this once."""

    password: str = Field(examples=["abcde-fghij-klmno-pqrst"])


class AppPasswordList(BaseModel):
    """All app passwords of an account."""

    items: list[AppPassword]


class Scram(BaseModel):
    """Whether SCRAM keys are kept of the account's password."""

    enabled: bool


class ScramPassword(Input):
    """The account's password as it is, to make keys of."""

    password: Annotated[SecretStr, Field(min_length=1, max_length=1024, examples=["correct horse battery"])]


def new_password() -> str:
    """100 random bits, in groups that can be copied by hand."""
    text = base64.b32encode(secrets.token_bytes(15)).decode().lower()[:_LETTERS]
    return "-".join(text[start : start + _GROUP] for start in range(0, _LETTERS, _GROUP))


def creation_of(
    wanted: NewAppPassword, password: str, address: str = ""
) -> credential_pb2.CreateAppPasswordRequest:
    """What the directory is asked for; `operation_id` is the caller's to add."""
    request = credential_pb2.CreateAppPasswordRequest(
        address=address,
        name=wanted.name,
        scopes=[_NUMBERS[scope] for scope in wanted.scopes],
        password=password,
    )
    if wanted.expires_at is not None:
        request.expires_at.FromDatetime(wanted.expires_at)
    return request


def app_password_of(found: credential_pb2.AppPassword) -> AppPassword:
    """As it is shown."""
    return AppPassword(
        id=uuid_text(found.id),
        name=found.name,
        scopes=[_SCOPES[scope] for scope in found.scopes],
        created_at=found.created_at.ToDatetime(UTC),
        expires_at=found.expires_at.ToDatetime(UTC) if found.HasField("expires_at") else None,
        used_at=found.used_at.ToDatetime(UTC) if found.HasField("used_at") else None,
    )
