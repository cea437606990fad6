"""What handlers are given: the house, the user or administrator of the request, a page of a list."""

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Annotated, Any, Final, cast

from fastapi import Depends, Path, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from postroom_contracts.errors import InvalidCredentialsError
from postroom_runtime.peer import LOOPBACK
from webmail_api.forwarded import is_relayed, is_shared
from webmail_api.house import House
from webmail_api.limits import DEFAULT_LIMITS
from webmail_api.problems import MEDIA_TYPE, TLS_REQUIRED, ProblemError
from webmail_api.sessions import Administrator, User

_SESSION: Final = HTTPBearer(
    scheme_name="session", description="The token of `POST /session`.", auto_error=False
)
_ADMIN: Final = HTTPBearer(
    scheme_name="administrator", description="The administrator's token.", auto_error=False
)

PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    "default": {
        "description": "A problem (RFC 9457).",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}
"""What every operation may answer besides."""


async def house_of(request: Request) -> House:
    """The house that the application was made with."""
    return cast(House, request.app.state.house)  # Starlette's state is untyped


Shared = Annotated[House, Depends(house_of)]


async def private_peer(request: Request) -> str:
    """The address by which the peer is counted, empty where it stands for many. Raises `ProblemError`.

    It is given only where nobody between can read along.
    """
    host = peer_of(request.scope)
    here = is_loopback(host) and not is_relayed(request.scope)
    if request.url.scheme != "https" and not here:
        raise ProblemError(TLS_REQUIRED)
    return "" if is_shared(request.scope) else host


PrivatePeer = Annotated[str, Depends(private_peer)]


async def session_token(
    peer: PrivatePeer, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_SESSION)]
) -> str:
    """The bearer token of the request. Raises `InvalidCredentialsError`."""
    del peer
    if given is None:
        raise InvalidCredentialsError("no token")
    return given.credentials


SessionToken = Annotated[str, Depends(session_token)]


async def user_of(token: SessionToken, house: Shared) -> User:
    """Whose request it is."""
    return await house.sessions.user(token)


async def administrator_of(
    peer: PrivatePeer,
    house: Shared,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(_ADMIN)],
) -> Administrator:
    """That it is the administrator's request."""
    del peer
    if given is None:
        raise InvalidCredentialsError("no token")
    return await house.sessions.administrator(given.credentials)


CurrentUser = Annotated[User, Depends(user_of)]
CurrentAdministrator = Annotated[Administrator, Depends(administrator_of)]


PathId = Annotated[str, Path(alias="id", description="Opaque.")]


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for."""

    limit: int
    cursor: str | None


async def page_of(
    limit: Annotated[int, Query(ge=1, le=DEFAULT_LIMITS.page)] = DEFAULT_LIMITS.default_page,
    cursor: Annotated[
        str | None, Query(max_length=2_000, description="`next_cursor` of the page before.")
    ] = None,
) -> Page:
    """From the query."""
    return Page(limit, cursor)


ListPage = Annotated[Page, Depends(page_of)]


def peer_of(scope: Any) -> str:
    """The client's address; a proxy's, where there is one that we do not trust to tell."""
    client: tuple[str, int] | None = scope.get("client")
    return client[0] if client else ""


def is_loopback(host: str) -> bool:
    """Whether it is on this machine."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address) in LOOPBACK
