"""How a login is answered, whatever it came by."""

from collections.abc import Awaitable
from typing import Final

from directory.authentication import Login
from directory.limits import Limits
from directory.messages import maybe_account_message, timestamp
from postroom.directory.v1 import directory_pb2 as pb
from postroom_contracts.capability import Scope
from postroom_contracts.errors import InvalidRequestError, PostroomError
from postroom_runtime import metrics

_SCOPES: Final = {
    pb.SCOPE_IMAP: Scope.IMAP,
    pb.SCOPE_POP3: Scope.POP3,
    pb.SCOPE_SUBMISSION: Scope.SUBMISSION,
    pb.SCOPE_FTP: Scope.FTP,
    pb.SCOPE_API: Scope.API,
    pb.SCOPE_ADMIN: Scope.ADMIN,
}
_NUMBERS: Final = {scope: number for number, scope in _SCOPES.items()}
_LOGINS: Final = metrics.counter(
    "directory_logins_total", "Logins by what they were for and how they ended.", ["scope", "outcome"]
)


def scope_of(number: pb.Scope.ValueType) -> Scope:
    """Raises `InvalidRequestError` for none."""
    if (scope := _SCOPES.get(number)) is None:
        raise InvalidRequestError("no scope")
    return scope


def number_of(scope: Scope) -> pb.Scope.ValueType:
    """The contract's number of a scope."""
    return _NUMBERS[scope]


async def logged_in(login: Awaitable[Login], scope: Scope, limits: Limits) -> pb.AuthenticateResponse:
    """Wait for it, count how it ends, and say what comes of it."""
    outcome = "failed"
    try:
        found = await login
        outcome = "ok"
    except PostroomError as error:
        outcome = error.name
        raise
    finally:
        _LOGINS.labels(scope, outcome).inc()
    answer = pb.AuthenticateResponse(
        account=maybe_account_message(found.account, limits.quota),
        capability=found.capability.text,
        capability_expires_at=timestamp(found.capability.expires_at),
    )
    if found.session is not None:
        answer.session_token = found.session.text
        answer.session_expires_at.CopyFrom(timestamp(found.session.expires_at))
    return answer
