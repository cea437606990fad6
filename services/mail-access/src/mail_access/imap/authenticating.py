"""LOGIN, AUTHENTICATE PLAIN and STARTTLS (RFC 3501 s6.2, RFC 4616)."""

from mail_access.imap.context import MAX_FAILED_LOGINS, Context, Done, SessionEndError
from mail_access.imap.refusals import (
    MALFORMED_RESPONSE,
    NO_SUCH_MECHANISM,
    NO_TLS,
    PRIVACY_REQUIRED,
    TLS_ALREADY,
    WRONG_CREDENTIALS,
    CommandRefusedError,
)
from postroom.directory.v1 import directory_pb2
from postroom_contracts.errors import InvalidCredentialsError
from postroom_runtime.tcp import PeerGoneError
from postroom_wire.imap import responses
from postroom_wire.imap.capability import capabilities
from postroom_wire.imap.commands import Authenticate, Login
from postroom_wire.imap.errors import Condition
from postroom_wire.imap.state import State

_TOO_MANY = responses.bye(b"Too many failed logins")


async def login(context: Context, command: Login) -> Done:
    """LOGIN."""
    return await _log_in(context, command.user, command.password)


def check_mechanism(context: Context, command: Authenticate) -> None:
    """Before a password is asked for. Raises `CommandRefusedError`."""
    if command.mechanism != b"PLAIN":
        raise CommandRefusedError(NO_SUCH_MECHANISM)
    if not context.takes_passwords:
        raise CommandRefusedError(PRIVACY_REQUIRED)


async def plain(context: Context, response: bytes) -> Done:
    """AUTHENTICATE PLAIN: message = [authzid] NUL authcid NUL passwd (RFC 4616 s2)."""
    parts = response.split(b"\0")
    if len(parts) != 3 or not parts[1] or not parts[2]:
        raise CommandRefusedError(MALFORMED_RESPONSE)
    acting_as, user, password = parts
    if acting_as not in {b"", user}:
        raise CommandRefusedError(WRONG_CREDENTIALS)
    return await _log_in(context, user, password)


async def start_tls(context: Context) -> None:
    """STARTTLS: answers itself, since the answer is the last word in the clear. Raises `PeerGoneError`."""
    if context.connection.tls:
        raise CommandRefusedError(TLS_ALREADY)
    if context.resources.tls is None:
        raise CommandRefusedError(NO_TLS)
    reply = context.engine.answer(Condition.OK, b"Begin TLS negotiation now")
    await context.output.flush()
    await context.connection.start_tls(context.resources.tls.context, reply=reply)
    if not context.connection.tls:
        raise PeerGoneError("no TLS")


def capability_list(context: Context) -> tuple[bytes, ...]:
    """What CAPABILITY says now."""
    state = State.AUTHENTICATED if context.logged_in else State.NOT_AUTHENTICATED
    return capabilities(
        state,
        offers_tls=context.offers_tls,
        takes_passwords=context.takes_passwords,
        append_limit=context.resources.settings.append_octets,
    )


async def _log_in(context: Context, user: bytes, password: bytes) -> Done:
    if not context.takes_passwords:
        raise CommandRefusedError(PRIVACY_REQUIRED)
    try:
        address, secret = user.decode("utf-8"), password.decode("utf-8")
        found = await context.resources.logins.log_in(
            address, secret, directory_pb2.SCOPE_IMAP, context.connection.peer.client
        )
    except (UnicodeDecodeError, InvalidCredentialsError):
        context.failed_logins += 1
        if context.failed_logins >= MAX_FAILED_LOGINS:
            context.output.write(context.engine.refuse(WRONG_CREDENTIALS))
            raise SessionEndError(_TOO_MANY) from None
        raise CommandRefusedError(WRONG_CREDENTIALS) from None
    context.log_in(found)
    return Done(b"Logged in", responses.capability_code(capability_list(context)))
