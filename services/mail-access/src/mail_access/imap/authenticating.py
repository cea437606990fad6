"""LOGIN, AUTHENTICATE and STARTTLS (RFC 3501 s6.2)."""

from typing import Final

from mail_access.imap.context import MAX_FAILED_LOGINS, Context, Done, SessionEndError
from mail_access.imap.refusals import (
    MALFORMED_RESPONSE,
    NO_SUCH_MECHANISM,
    NO_TLS,
    PASSWORDS_NOT_TAKEN,
    PRIVACY_REQUIRED,
    TLS_ALREADY,
    WRONG_CREDENTIALS,
    CommandRefusedError,
)
from mail_access.login import Login as Proven
from postroom.directory.v1 import directory_pb2
from postroom_contracts.errors import InvalidCredentialsError
from postroom_runtime.sasl import Client, channel_of, client_certificate
from postroom_runtime.tcp import PeerGoneError
from postroom_wire.imap import responses
from postroom_wire.imap.capability import capabilities
from postroom_wire.imap.commands import Authenticate, Login
from postroom_wire.imap.errors import Condition
from postroom_wire.imap.state import State
from postroom_wire.sasl import (
    Attempt,
    Challenge,
    Credentials,
    Mechanism,
    SaslError,
    SaslServer,
    ScramOpening,
    Step,
    Verdict,
    find,
    offer,
)

_TOO_MANY: Final = responses.bye(b"Too many failed logins")


async def login(context: Context, command: Login) -> Done:
    """LOGIN."""
    if not context.takes_passwords:
        raise CommandRefusedError(PASSWORDS_NOT_TAKEN if context.is_private else PRIVACY_REQUIRED)
    try:
        credentials = Credentials("", command.user.decode("utf-8"), command.password.decode("utf-8"))
        found, _ = await context.resources.logins.log_in(credentials, _client(context))
    except (UnicodeDecodeError, InvalidCredentialsError):
        raise _failed(context) from None
    return _logged_in(context, found)


class Authentication:
    """One AUTHENTICATE. Closed at its end, so that a login which the client gives up is none."""

    def __init__(self, context: Context, command: Authenticate) -> None:
        """Raises `CommandRefusedError` before anything is asked for."""
        self._context = context
        name = command.mechanism.decode("ascii", "replace")
        if find(name, context.resources.settings.sasl_mechanisms) is None:
            raise CommandRefusedError(NO_SUCH_MECHANISM)
        if not context.is_private:
            raise CommandRefusedError(PRIVACY_REQUIRED)
        offered = offered_mechanisms(context)
        if (mechanism := find(name, offered)) is None:
            raise CommandRefusedError(NO_SUCH_MECHANISM)
        self._exchange = SaslServer(mechanism, offered, channel_of(context.connection))
        self._found: Proven | None = None

    async def begin(self, initial_response: bytes | None) -> Challenge | Done:
        """The first step. Raises as `respond`."""
        try:
            return await self._take(self._exchange.begin(initial_response))
        except SaslError as error:
            raise self._broken(error) from None

    async def respond(self, octets: bytes) -> Challenge | Done:
        """A step more. Raises `CommandRefusedError`, `SessionEndError`, `PostroomError`."""
        try:
            return await self._take(self._exchange.respond(octets))
        except SaslError as error:
            raise self._broken(error) from None

    def close(self) -> None:
        """The command is over."""
        if self._found is not None:
            self._context.resources.logins.log_out(self._found)

    async def _take(self, step: Step) -> Challenge | Done:
        while True:
            match step:
                case Challenge():
                    return step
                case Verdict.ACCEPTED if self._found is not None:
                    found, self._found = self._found, None
                    return _logged_in(self._context, found)
                case Verdict():
                    raise _failed(self._context)
                case attempt:
                    step = await self._look(attempt)

    async def _look(self, attempt: Attempt) -> Step:
        logins, client = self._context.resources.logins, _client(self._context)
        try:
            if isinstance(attempt, ScramOpening):
                return self._exchange.challenge(await logins.begin_scram(attempt, client))
            self._found, last_word = await logins.log_in(attempt, client)
        except InvalidCredentialsError:
            return self._exchange.refuse()
        return self._exchange.accept(last_word)

    def _broken(self, error: SaslError) -> CommandRefusedError:
        return CommandRefusedError(MALFORMED_RESPONSE) if error.malformed else _failed(self._context)


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


def offered_mechanisms(context: Context) -> tuple[Mechanism, ...]:
    """Those that AUTHENTICATE takes now."""
    if not context.is_private:
        return ()
    return offer(context.resources.settings.sasl_mechanisms, channel_of(context.connection))


def capability_list(context: Context) -> tuple[bytes, ...]:
    """What CAPABILITY says now."""
    state = State.AUTHENTICATED if context.logged_in else State.NOT_AUTHENTICATED
    return capabilities(
        state,
        offers_tls=context.offers_tls,
        takes_passwords=context.takes_passwords,
        mechanisms=() if context.logged_in else offered_mechanisms(context),
        append_limit=context.resources.settings.append_octets,
        message_limit=context.resources.settings.message_limit,
    )


def _client(context: Context) -> Client:
    connection = context.connection
    return Client(directory_pb2.SCOPE_IMAP, connection.peer.client, client_certificate(connection))


def _failed(context: Context) -> CommandRefusedError:
    """One more failed login. Raises `SessionEndError` when it was one too many."""
    context.failed_logins += 1
    if context.failed_logins >= MAX_FAILED_LOGINS:
        context.output.write(context.engine.refuse(WRONG_CREDENTIALS))
        raise SessionEndError(_TOO_MANY)
    return CommandRefusedError(WRONG_CREDENTIALS)


def _logged_in(context: Context, found: Proven) -> Done:
    context.log_in(found)
    return Done(b"Logged in", responses.capability_code(capability_list(context)))
