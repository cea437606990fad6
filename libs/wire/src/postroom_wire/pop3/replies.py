"""What the server says, all of it constant (RFC 1939 s3; response codes of RFC 2449 s8, RFC 3206 s4)."""

import base64
from enum import Enum
from typing import Final

GREETING: Final = b"+OK POP3 server ready\r\n"
OK: Final = b"+OK\r\n"
SEND_PASSWORD: Final = b"+OK Send the password\r\n"
BEGIN_TLS: Final = b"+OK Begin TLS negotiation\r\n"
CAPABILITIES_FOLLOW: Final = b"+OK Capability list follows\r\n"
GOODBYE: Final = b"+OK Goodbye\r\n"
MECHANISMS_FOLLOW: Final = b"+OK Mechanisms follow\r\n"
UTF8_ENABLED: Final = b"+OK UTF-8 from now on\r\n"
LANGUAGES_FOLLOW: Final = b"+OK Language listing follows\r\n"
LANGUAGES: Final = (b"en English\r\n",)
LANGUAGE_CHANGED: Final = b"+OK en Language changed\r\n"
TOP_FOLLOWS: Final = b"+OK Top of message follows\r\n"

UNKNOWN_COMMAND: Final = b"-ERR Unknown command\r\n"
BAD_ARGUMENTS: Final = b"-ERR Wrong arguments\r\n"
LINE_TOO_LONG: Final = b"-ERR Line too long\r\n"
BARE_LINE_FEED: Final = b"-ERR A line ends with CRLF\r\n"
WRONG_STATE: Final = b"-ERR Command not allowed now\r\n"
TLS_ACTIVE: Final = b"-ERR Command not permitted when TLS active\r\n"
TLS_NOT_OFFERED: Final = b"-ERR TLS is not available\r\n"
TLS_FIRST: Final = b"-ERR Start TLS before you log in\r\n"
NO_TLS_AFTER_UTF8: Final = b"-ERR TLS comes before UTF8\r\n"
NO_SUCH_MECHANISM: Final = b"-ERR No such mechanism\r\n"
NO_SUCH_LANGUAGE: Final = b"-ERR No such language\r\n"
AUTH_MALFORMED: Final = b"-ERR Cannot decode the response\r\n"
AUTH_CANCELLED: Final = b"-ERR Authentication cancelled\r\n"
NO_SUCH_MESSAGE: Final = b"-ERR No such message\r\n"
TOO_MANY_ERRORS: Final = b"-ERR Too many errors\r\n"
NOT_REMOVED: Final = b"-ERR [SYS/TEMP] Some deleted messages not removed\r\n"
SHUTTING_DOWN: Final = b"-ERR [SYS/TEMP] Shutting down, try again soon\r\n"


class LoginRefusal(Enum):
    """Why a login fails, as the client is told."""

    CREDENTIALS = b"-ERR [AUTH] Wrong user name or password\r\n"
    TOO_MANY_FAILURES = b"-ERR [AUTH] Too many failed logins, try again later\r\n"
    IN_USE = b"-ERR [IN-USE] The maildrop is in use by another session\r\n"
    TOO_SOON = b"-ERR [LOGIN-DELAY] Too many logins, wait a little\r\n"
    TEMPORARY = b"-ERR [SYS/TEMP] Cannot check it now, try again later\r\n"
    PERMANENT = b"-ERR [SYS/PERM] This account cannot be used\r\n"
    TOO_BIG = b"-ERR [SYS/PERM] The maildrop has too many messages for POP3\r\n"


class ContentRefusal(Enum):
    """Why a message cannot be sent, as the client is told."""

    TEMPORARY = b"-ERR [SYS/TEMP] Cannot read the message now, try again later\r\n"
    GONE = b"-ERR The message was removed by another session\r\n"


def continuation(octets: bytes) -> bytes:
    """A challenge of SASL, RFC 5034 s4."""
    return b"+ " + base64.b64encode(octets) + b"\r\n"


def deleted(number: int) -> bytes:
    """To DELE."""
    return b"+OK Message %d deleted\r\n" % number


def octets_follow(size: int) -> bytes:
    """To RETR."""
    return b"+OK %d octets\r\n" % size
