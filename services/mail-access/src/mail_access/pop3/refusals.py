"""What a client reads instead of a result: constants, and one table a command from our errors to them."""

from collections.abc import Mapping
from typing import Final

from postroom_contracts.errors import (
    AccountNotFoundError,
    InvalidAddressError,
    InvalidCredentialsError,
    InvalidRequestError,
    LimitError,
    MailboxNotFoundError,
    MessageNotFoundError,
    NotPermittedError,
    PostroomError,
    TooManyAttemptsError,
    UnavailableError,
)
from postroom_wire.pop3 import ContentRefusal, LoginRefusal

TOO_MANY_CONNECTIONS: Final = b"-ERR [SYS/TEMP] Too many connections, try again later\r\n"
INTERNAL_ERROR: Final = b"-ERR [SYS/TEMP] Internal error\r\n"
LOGIN_ENDED: Final = b"-ERR [AUTH] Your login has ended, log in again\r\n"

_LOGIN: Final[Mapping[type[PostroomError], LoginRefusal]] = {
    InvalidCredentialsError: LoginRefusal.CREDENTIALS,
    InvalidAddressError: LoginRefusal.CREDENTIALS,
    InvalidRequestError: LoginRefusal.CREDENTIALS,
    TooManyAttemptsError: LoginRefusal.TOO_MANY_FAILURES,
    LimitError: LoginRefusal.IN_USE,
    NotPermittedError: LoginRefusal.PERMANENT,
    AccountNotFoundError: LoginRefusal.PERMANENT,
    MailboxNotFoundError: LoginRefusal.PERMANENT,
    UnavailableError: LoginRefusal.TEMPORARY,
}
_CONTENT: Final[Mapping[type[PostroomError], ContentRefusal]] = {
    MessageNotFoundError: ContentRefusal.GONE,
    MailboxNotFoundError: ContentRefusal.GONE,
    UnavailableError: ContentRefusal.TEMPORARY,
}


def login_refusal(error: PostroomError) -> LoginRefusal | None:
    """To PASS; None for an error that we did not expect."""
    return _LOGIN.get(type(error))


def content_refusal(error: PostroomError) -> ContentRefusal | None:
    """To RETR and TOP; None for an error that we did not expect."""
    return _CONTENT.get(type(error))
