"""Errors that cross a service boundary: a gRPC status, and the error's name in the trailing metadata.

What an error is constructed with is for the log; a peer is told the name only.
"""

from collections.abc import Mapping
from typing import ClassVar, Final

import grpc
from grpc import StatusCode

ERROR_METADATA: Final = "postroom-error"
"""The trailing metadata that carries an error's name."""


class PostroomError(Exception):
    """Something that a service says no to. `transient`: the same request may succeed later."""

    transient: ClassVar[bool] = False
    code: ClassVar[StatusCode] = StatusCode.INTERNAL
    name: ClassVar[str] = "internal"


class UnavailableError(PostroomError):
    """A dependency is away, late or full. Whether it acted is unknown: ask again with the same id."""

    transient = True
    code = StatusCode.UNAVAILABLE
    name = "unavailable"


class AbortedError(PostroomError):
    """The id was aborted; it will never be accepted."""

    code = StatusCode.ABORTED
    name = "aborted"


class InvalidCredentialsError(PostroomError):
    """The address and password, or the token, are not right; which of them is not said."""

    code = StatusCode.UNAUTHENTICATED
    name = "invalid-credentials"


class CapabilityExpiredError(PostroomError):
    """The capability or session token was good once: renew it or log in again."""

    code = StatusCode.UNAUTHENTICATED
    name = "capability-expired"


class TooManyAttemptsError(PostroomError):
    """Too many failed logins from this network; right passwords are refused too for a while."""

    transient = True
    code = StatusCode.RESOURCE_EXHAUSTED
    name = "too-many-attempts"


class NotPermittedError(PostroomError):
    """The caller is known and may not do this."""

    code = StatusCode.PERMISSION_DENIED
    name = "not-permitted"


class InvalidRequestError(PostroomError):
    """A field is missing, too long, or holds what it must not."""

    code = StatusCode.INVALID_ARGUMENT
    name = "invalid-request"


class InvalidAddressError(PostroomError):
    """Not an address or domain that we can serve."""

    code = StatusCode.INVALID_ARGUMENT
    name = "invalid-address"


class InvalidNameError(PostroomError):
    """Not a name that a mailbox, file or directory may have."""

    code = StatusCode.INVALID_ARGUMENT
    name = "invalid-name"


class TenantNotFoundError(PostroomError):
    """There is no such tenant."""

    code = StatusCode.NOT_FOUND
    name = "tenant-not-found"


class DomainNotFoundError(PostroomError):
    """The domain is not ours."""

    code = StatusCode.NOT_FOUND
    name = "domain-not-found"


class AccountNotFoundError(PostroomError):
    """There is no such account."""

    code = StatusCode.NOT_FOUND
    name = "account-not-found"


class AliasNotFoundError(PostroomError):
    """There is no such alias."""

    code = StatusCode.NOT_FOUND
    name = "alias-not-found"


class AppPasswordNotFoundError(PostroomError):
    """The account has no such app password."""

    code = StatusCode.NOT_FOUND
    name = "app-password-not-found"


class MailboxNotFoundError(PostroomError):
    """The account has no such mailbox."""

    code = StatusCode.NOT_FOUND
    name = "mailbox-not-found"


class MessageNotFoundError(PostroomError):
    """There is no such message, or it is gone."""

    code = StatusCode.NOT_FOUND
    name = "message-not-found"


class DeliveryNotFoundError(PostroomError):
    """There is no such delivery."""

    code = StatusCode.NOT_FOUND
    name = "delivery-not-found"


class NodeNotFoundError(PostroomError):
    """There is no such file or directory."""

    code = StatusCode.NOT_FOUND
    name = "node-not-found"


class UploadNotFoundError(PostroomError):
    """There is no such upload, or it was given up."""

    code = StatusCode.NOT_FOUND
    name = "upload-not-found"


class DomainExistsError(PostroomError):
    """The domain is there already."""

    code = StatusCode.ALREADY_EXISTS
    name = "domain-exists"


class AccountExistsError(PostroomError):
    """An account has this address already."""

    code = StatusCode.ALREADY_EXISTS
    name = "account-exists"


class AliasExistsError(PostroomError):
    """An alias has this address already."""

    code = StatusCode.ALREADY_EXISTS
    name = "alias-exists"


class MailboxExistsError(PostroomError):
    """The account has a mailbox of this name."""

    code = StatusCode.ALREADY_EXISTS
    name = "mailbox-exists"


class NodeExistsError(PostroomError):
    """There is a file or directory of this name."""

    code = StatusCode.ALREADY_EXISTS
    name = "node-exists"


class DomainInUseError(PostroomError):
    """Accounts or aliases live in the domain."""

    code = StatusCode.FAILED_PRECONDITION
    name = "domain-in-use"


class ClaimLostError(PostroomError):
    """The claim ran out or was never made: its deliveries are somebody else's."""

    code = StatusCode.FAILED_PRECONDITION
    name = "claim-lost"


class MailboxProtectedError(PostroomError):
    """INBOX cannot be deleted, and no mailbox can take its name."""

    code = StatusCode.FAILED_PRECONDITION
    name = "mailbox-protected"


class DirectoryNotEmptyError(PostroomError):
    """A directory is deleted when it is empty only."""

    code = StatusCode.FAILED_PRECONDITION
    name = "directory-not-empty"


class NotADirectoryError(PostroomError):  # noqa: A001  # RFC 959's and everybody's word for it
    """A file is where a directory is wanted."""

    code = StatusCode.FAILED_PRECONDITION
    name = "not-a-directory"


class IsADirectoryError(PostroomError):  # noqa: A001
    """A directory is where a file is wanted."""

    code = StatusCode.FAILED_PRECONDITION
    name = "is-a-directory"


class UploadIncompleteError(PostroomError):
    """The object store does not have all parts of the upload."""

    code = StatusCode.FAILED_PRECONDITION
    name = "upload-incomplete"


class ContentMismatchError(PostroomError):
    """Size or digest are not those of the octets that arrived."""

    code = StatusCode.FAILED_PRECONDITION
    name = "content-mismatch"


class OverQuotaError(PostroomError):
    """The account's space is used up."""

    code = StatusCode.RESOURCE_EXHAUSTED
    name = "over-quota"


class TooManyKeywordsError(PostroomError):
    """The account has as many keywords as it can."""

    code = StatusCode.RESOURCE_EXHAUSTED
    name = "too-many-keywords"


class LimitError(PostroomError):
    """The request is over a bound: too many items, too many octets, too many of a kind."""

    code = StatusCode.RESOURCE_EXHAUSTED
    name = "limit"


class StagingFullError(PostroomError):
    """As much mail is staged as may be; the packer has to catch up first."""

    transient = True
    code = StatusCode.RESOURCE_EXHAUSTED
    name = "staging-full"


class MethodMissingError(UnavailableError):
    """The other side has no such method: it is of an older version."""


ERRORS: Final[Mapping[str, type[PostroomError]]] = {
    error.name: error for error in PostroomError.__subclasses__()
}
"""Every error by its name on the wire."""

# Statuses that gRPC or the caller policy gives without a name of ours; all others leave open what happened.
_UNNAMED: Final[Mapping[StatusCode, type[PostroomError]]] = {
    StatusCode.PERMISSION_DENIED: NotPermittedError,
    StatusCode.UNAUTHENTICATED: InvalidCredentialsError,
    StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    StatusCode.RESOURCE_EXHAUSTED: LimitError,
    StatusCode.UNIMPLEMENTED: MethodMissingError,
}


def from_rpc_error(error: grpc.aio.AioRpcError) -> PostroomError:
    """The error that the other side raised; `UnavailableError` when it was not one of ours."""
    for key, value in error.trailing_metadata() or ():
        if key == ERROR_METADATA:
            name = value if isinstance(value, str) else value.decode("ascii", "replace")
            if (kind := ERRORS.get(name)) is not None:
                return kind(error.details() or name)
    return _UNNAMED.get(error.code(), UnavailableError)(f"{error.code().name}: {error.details()}")
