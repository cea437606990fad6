"""What a client reads instead of a result: constants, and one table from our errors to them (RFC 5530 s3)."""

from collections.abc import Mapping
from typing import ClassVar, Final

from postroom_contracts.errors import (
    CapabilityExpiredError,
    ContentMismatchError,
    InvalidCredentialsError,
    InvalidNameError,
    InvalidRequestError,
    LimitError,
    MailboxExistsError,
    MailboxNotFoundError,
    MailboxProtectedError,
    MessageNotFoundError,
    NotPermittedError,
    OverQuotaError,
    PostroomError,
    StagingFullError,
    TooManyAttemptsError,
    TooManyKeywordsError,
    UnavailableError,
    UploadIncompleteError,
    UploadNotFoundError,
)
from postroom_wire.imap import codes, metadata
from postroom_wire.imap.errors import Condition, Refusal
from postroom_wire.imap.notify import NOTIFICATION_OVERFLOW


class CommandRefusedError(Exception):
    """The command ends with this reply."""

    transient: ClassVar[bool] = False

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.text.decode("ascii"))
        self.refusal = refusal


def _no(text: bytes, code: bytes | None = None) -> Refusal:
    return Refusal(Condition.NO, text, code)


PRIVACY_REQUIRED: Final = _no(b"Use TLS before you log in", codes.PRIVACYREQUIRED)
WRONG_CREDENTIALS: Final = _no(b"User name or password is wrong", codes.AUTHENTICATIONFAILED)
PASSWORDS_NOT_TAKEN: Final = _no(b"LOGIN is not taken here, see the capabilities", codes.CANNOT)
NO_SUCH_MECHANISM: Final = _no(b"Mechanism not supported", codes.CANNOT)
MALFORMED_RESPONSE: Final = Refusal(Condition.BAD, b"Malformed response")
NO_TLS: Final = Refusal(Condition.BAD, b"STARTTLS is not available")
TLS_ALREADY: Final = Refusal(Condition.BAD, b"TLS is there already")
NO_MAILBOX: Final = _no(b"No such mailbox", codes.NONEXISTENT)
TRY_CREATE: Final = _no(b"No such mailbox", codes.TRYCREATE)
READ_ONLY: Final = _no(b"The mailbox is selected read-only", codes.READ_ONLY)
EXPUNGED: Final = _no(b"Some of the messages were expunged", codes.EXPUNGEISSUED)
COMPRESSION_ACTIVE: Final = Refusal(Condition.BAD, b"DEFLATE is active already", codes.COMPRESSIONACTIVE)
UID_REQUIRED: Final = Refusal(Condition.BAD, b"Only UIDs are in use", codes.UIDREQUIRED)
TOO_MUCH_TO_NOTIFY: Final = _no(b"Too many mailboxes to notify of", NOTIFICATION_OVERFLOW)
QRESYNC_DISABLED: Final = Refusal(Condition.BAD, b"Enable QRESYNC first")
UNAVAILABLE: Final = _no(b"Temporarily unavailable, try again", codes.UNAVAILABLE)
MESSAGE_TOO_BIG: Final = _no(b"Message too big", codes.TOOBIG)
NO_QUOTA_ROOT: Final = _no(b"No such quota root", codes.NONEXISTENT)
NO_SUCH_RESOURCE: Final = _no(b"This resource cannot be limited", codes.CANNOT)
NO_SUCH_USER: Final = _no(b"No such user", codes.NONEXISTENT)
NO_NEGATIVE_RIGHTS: Final = _no(b"There are no negative rights", codes.CANNOT)
NOT_BETWEEN_ACCOUNTS: Final = _no(b"Not between mailboxes of different users", codes.CANNOT)
NOT_PERMITTED: Final = _no(b"Not permitted", codes.NOPERM)
TOO_MANY_ANNOTATIONS: Final = _no(b"Too many annotations", metadata.TOO_MANY)
VALUE_TOO_LONG: Final = _no(b"Annotation too long", metadata.VALUE_TOO_LONG)
NO_SUCH_USE: Final = _no(b"No mailbox can have this special use", codes.USEATTR)
EMPTY_MESSAGE: Final = _no(b"A message without octets cancels APPEND")
NOT_ENABLED: Final = _no(b"Enable UTF8=ACCEPT first", codes.CANNOT)
UNKNOWN_CTE: Final = _no(b"Transfer encoding unknown", codes.UNKNOWN_CTE)
NOT_SUBSCRIBABLE: Final = _no(b"Too many subscriptions", codes.LIMIT)

_TABLE: Final[Mapping[type[PostroomError], Refusal]] = {
    UnavailableError: UNAVAILABLE,
    StagingFullError: UNAVAILABLE,
    UploadIncompleteError: UNAVAILABLE,
    UploadNotFoundError: UNAVAILABLE,
    ContentMismatchError: UNAVAILABLE,
    CapabilityExpiredError: UNAVAILABLE,  # by the clock of the store; ours renews it soon
    InvalidCredentialsError: WRONG_CREDENTIALS,
    TooManyAttemptsError: _no(b"Too many failed logins, try again later", codes.LIMIT),
    NotPermittedError: NOT_PERMITTED,
    MailboxNotFoundError: NO_MAILBOX,
    MailboxExistsError: _no(b"There is a mailbox of this name", codes.ALREADYEXISTS),
    MailboxProtectedError: _no(b"Not with this mailbox", codes.CANNOT),
    InvalidNameError: _no(b"Not with this mailbox name", codes.CANNOT),
    MessageNotFoundError: EXPUNGED,
    OverQuotaError: _no(b"The mailbox is full", codes.OVERQUOTA),
    TooManyKeywordsError: _no(b"Too many keywords", codes.LIMIT),
    LimitError: _no(b"Over a limit", codes.LIMIT),
    InvalidRequestError: _no(b"Not possible", codes.CANNOT),
}


def refusal_of(error: PostroomError) -> Refusal | None:
    """What the client reads; None for an error that we did not expect."""
    return _TABLE.get(type(error))


def some_expunged(code: bytes) -> Refusal:
    """`EXPUNGED` where another code says more (RFC 7162 s3.1.3, example 11)."""
    return _no(EXPUNGED.text, code)


def bad_url(url: bytes) -> Refusal:
    """A URL of CATENATE that names nothing; it is told if it can stand in a response (RFC 4469 s4.1)."""
    return _no(b"The URL names no message or part", codes.bad_url(url))


def server_bug(incident: str) -> Refusal:
    """An error that nobody expected; `incident` finds it in the log, and is made by us."""
    return _no(b"Internal error, incident " + incident.encode("ascii"), codes.SERVERBUG)
