"""What a client reads when something is refused: one table from errors to replies."""

from collections.abc import Mapping
from typing import Final

from postroom_contracts import errors
from postroom_wire.smtp import Reply
from postroom_wire.smtp.standard_replies import (
    AUTH_FAILED,
    AUTH_UNAVAILABLE,
    INSUFFICIENT_STORAGE,
    LOCAL_ERROR,
)

SENDER_NOT_YOURS: Final = Reply(553, "5.7.1", "Sender address is not one of yours")
ONE_TENANT_AT_A_TIME: Final = Reply(452, "4.5.3", "Send to this recipient in another transaction")
MAILBOX_FULL: Final = Reply(452, "4.2.2", "Mailbox is full")
ROUTING_LOOP: Final = Reply(554, "5.4.6", "Too many hops, this looks like a loop")
REFUSED: Final = Reply(554, "5.6.0", "Message refused")
FAILED: Final = b"421 4.3.0 Internal error, closing transmission channel\r\n"
TOO_MANY: Final = b"421 4.7.0 Too many connections, try again later\r\n"

_OF_CONTENT: Final[Mapping[type[errors.PostroomError], Reply]] = {
    errors.StagingFullError: INSUFFICIENT_STORAGE,
    errors.OverQuotaError: MAILBOX_FULL,
    errors.NotPermittedError: Reply(550, "5.7.1", "Not permitted"),
    errors.CapabilityExpiredError: LOCAL_ERROR,
    errors.InvalidCredentialsError: LOCAL_ERROR,
    errors.AbortedError: LOCAL_ERROR,
    errors.UploadIncompleteError: LOCAL_ERROR,
    errors.UploadNotFoundError: LOCAL_ERROR,
    errors.InvalidRequestError: REFUSED,
    errors.ContentMismatchError: LOCAL_ERROR,
}
_OF_LOGIN: Final[Mapping[type[errors.PostroomError], Reply]] = {
    errors.InvalidCredentialsError: AUTH_FAILED,
    errors.InvalidRequestError: AUTH_FAILED,
    errors.InvalidAddressError: AUTH_FAILED,
    errors.TooManyAttemptsError: AUTH_UNAVAILABLE,
}


def content_reply(error: errors.PostroomError) -> Reply:
    """The reply to a message that was not accepted; what is not in the table is temporary."""
    return _OF_CONTENT.get(type(error), LOCAL_ERROR)


def login_reply(error: errors.PostroomError) -> Reply:
    """The reply to a login that failed."""
    return _OF_LOGIN.get(type(error), AUTH_UNAVAILABLE)
