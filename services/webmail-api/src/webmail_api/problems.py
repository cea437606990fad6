"""What clients are told when something is refused (RFC 9457): one table from errors to answers.

All texts are constants of ours; what an error was constructed with goes to the log only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from postroom_contracts.errors import PostroomError

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:postroom:problem:"


class Fault(BaseModel):
    """One thing that is wrong with a request."""

    pointer: str = Field(description="Where: a path into the request.", examples=["body/address"])
    message: str = Field(examples=["Field required"])


class Problem(BaseModel):
    """Problem details (RFC 9457 s3.1)."""

    type: str = Field(examples=["urn:postroom:problem:message-not-found"])
    title: str = Field(examples=["There is no such message."])
    status: int = Field(examples=[404])
    detail: str | None = None
    incident: str | None = Field(default=None, description="Names an error of ours in the log.")
    addresses: list[str] | None = Field(default=None, description="Which recipients are meant.")
    errors: list[Fault] | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem: the last part of its `type`, its status, and its title."""

    name: str
    status: HTTPStatus
    title: str


class ProblemError(Exception):
    """A refusal that is made here rather than in the core."""

    def __init__(
        self,
        kind: Kind,
        *,
        addresses: Sequence[str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(kind.name)
        self.kind, self.addresses, self.headers = kind, addresses, headers


NOT_FOUND: Final = Kind("not-found", HTTPStatus.NOT_FOUND, "There is nothing at this address.")
METHOD_NOT_ALLOWED: Final = Kind(
    "method-not-allowed", HTTPStatus.METHOD_NOT_ALLOWED, "This cannot be done here."
)
TLS_REQUIRED: Final = Kind(
    "tls-required", HTTPStatus.FORBIDDEN, "Passwords and tokens are taken over HTTPS only."
)
INVALID_REQUEST: Final = Kind(
    "invalid-request", HTTPStatus.UNPROCESSABLE_ENTITY, "The request is not as it has to be."
)
INVALID_HEADER: Final = Kind(
    "invalid-header",
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "An address, identifier or media type cannot stand in a message.",
)
UNKNOWN_RECIPIENT: Final = Kind(
    "unknown-recipient", HTTPStatus.UNPROCESSABLE_ENTITY, "Nobody has one of these addresses."
)
SENDER_NOT_PERMITTED: Final = Kind(
    "sender-not-permitted", HTTPStatus.FORBIDDEN, "The sender must be the account's own address."
)
CONTENT_TOO_LARGE: Final = Kind(
    "content-too-large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request is larger than it may be."
)
RANGE_NOT_SATISFIABLE: Final = Kind(
    "range-not-satisfiable",
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    "The file has no octets in this range.",
)
REQUEST_TIMEOUT: Final = Kind(
    "request-timeout", HTTPStatus.REQUEST_TIMEOUT, "The request did not come to its end in time."
)
OVERLOADED: Final = Kind(
    "overloaded", HTTPStatus.SERVICE_UNAVAILABLE, "Too many requests are under way; try again soon."
)
UNAVAILABLE: Final = Kind(
    "unavailable", HTTPStatus.SERVICE_UNAVAILABLE, "A part of Postroom is away; try again soon."
)
INTERNAL: Final = Kind(
    "internal", HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong here; it is in the log."
)
_GONE_SPACE: Final = HTTPStatus.INSUFFICIENT_STORAGE
_UNPROCESSABLE: Final = HTTPStatus.UNPROCESSABLE_ENTITY

_STATUSES: Final[Mapping[str, tuple[HTTPStatus, str]]] = {
    "unavailable": (UNAVAILABLE.status, UNAVAILABLE.title),
    "staging-full": (UNAVAILABLE.status, UNAVAILABLE.title),
    "aborted": (HTTPStatus.CONFLICT, "This was given up before."),
    "invalid-credentials": (HTTPStatus.UNAUTHORIZED, "Address and password, or the token, are not right."),
    "capability-expired": (HTTPStatus.UNAUTHORIZED, "The session is over; log in again."),
    "too-many-attempts": (HTTPStatus.TOO_MANY_REQUESTS, "Too many failed logins; try again later."),
    "not-permitted": (HTTPStatus.FORBIDDEN, "This is not permitted."),
    "invalid-request": (_UNPROCESSABLE, INVALID_REQUEST.title),
    "invalid-address": (_UNPROCESSABLE, "This is no address or domain that we serve."),
    "invalid-name": (_UNPROCESSABLE, "Nothing can have this name, or what has it cannot be changed so."),
    "tenant-not-found": (HTTPStatus.NOT_FOUND, "There is no such tenant."),
    "domain-not-found": (HTTPStatus.NOT_FOUND, "There is no such domain."),
    "account-not-found": (HTTPStatus.NOT_FOUND, "There is no such account."),
    "alias-not-found": (HTTPStatus.NOT_FOUND, "There is no such alias."),
    "app-password-not-found": (HTTPStatus.NOT_FOUND, "There is no such app password."),
    "mailbox-not-found": (HTTPStatus.NOT_FOUND, "There is no such mailbox."),
    "message-not-found": (HTTPStatus.NOT_FOUND, "There is no such message."),
    "delivery-not-found": (HTTPStatus.NOT_FOUND, "There is no such delivery."),
    "node-not-found": (HTTPStatus.NOT_FOUND, "There is no such file or directory."),
    "upload-not-found": (HTTPStatus.NOT_FOUND, "There is no such upload."),
    "domain-exists": (HTTPStatus.CONFLICT, "The domain is there already."),
    "account-exists": (HTTPStatus.CONFLICT, "The address is taken."),
    "alias-exists": (HTTPStatus.CONFLICT, "The address is taken."),
    "mailbox-exists": (HTTPStatus.CONFLICT, "A mailbox of this name is there already."),
    "node-exists": (HTTPStatus.CONFLICT, "A file or directory of this name is there already."),
    "domain-in-use": (HTTPStatus.CONFLICT, "Accounts or aliases live in the domain."),
    "claim-lost": (HTTPStatus.CONFLICT, "Somebody else is at it."),
    "mailbox-protected": (HTTPStatus.CONFLICT, "This mailbox stays as it is."),
    "directory-not-empty": (HTTPStatus.CONFLICT, "The directory is not empty."),
    "not-a-directory": (HTTPStatus.CONFLICT, "This is no directory."),
    "is-a-directory": (HTTPStatus.CONFLICT, "This is a directory."),
    "upload-incomplete": (HTTPStatus.CONFLICT, "Not all of the upload has arrived."),
    "content-mismatch": (HTTPStatus.CONFLICT, "Not what was announced has arrived."),
    "over-quota": (_GONE_SPACE, "The account's space is used up."),
    "too-many-keywords": (_UNPROCESSABLE, "The account has as many keywords as it can."),
    "limit": (CONTENT_TOO_LARGE.status, "This is more than is taken."),
}
KINDS: Final[Mapping[str, Kind]] = {name: Kind(name, *answer) for name, answer in _STATUSES.items()}
"""The kind of problem for each error of the core, by its name."""

_RETRY_SECONDS: Final[Mapping[HTTPStatus, str]] = {
    HTTPStatus.SERVICE_UNAVAILABLE: "3",
    HTTPStatus.TOO_MANY_REQUESTS: "60",
}


def kind_of(error: PostroomError) -> Kind:
    """The kind of problem that an error of the core is."""
    return KINDS.get(error.name, INTERNAL)


def respond(
    kind: Kind,
    *,
    incident: str | None = None,
    addresses: Sequence[str] | None = None,
    errors: Sequence[Fault] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer."""
    problem = Problem(
        type=TYPE_PREFIX + kind.name,
        title=kind.title,
        status=kind.status.value,
        incident=incident,
        addresses=None if addresses is None else list(addresses),
        errors=None if errors is None else list(errors),
    )
    given = dict(headers or {})
    if kind.status in _RETRY_SECONDS:
        given["Retry-After"] = _RETRY_SECONDS[kind.status]
    if kind.status is HTTPStatus.UNAUTHORIZED:
        given["WWW-Authenticate"] = 'Bearer realm="postroom"'
    document = problem.model_dump(mode="json", exclude_none=True)
    return JSONResponse(document, kind.status.value, given, media_type=MEDIA_TYPE)
