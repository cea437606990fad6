"""One client: the engine's events answered, with the directory and the mail store behind."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache
from typing import Final
from uuid import UUID

from postroom.directory.v1 import directory_pb2
from postroom.mailstore.v1 import delivery_pb2
from postroom_contracts.errors import PostroomError, UnavailableError
from postroom_runtime import metrics
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.logs import bound_contextvars, log
from postroom_runtime.sasl import Client, channel_of, client_certificate
from postroom_runtime.spans import begin_span, ended, span
from postroom_runtime.steps import reached
from postroom_runtime.tcp import Connection, DrainingError, PeerGoneError, PeerTimeoutError
from postroom_runtime.tls import CertificateReloader
from postroom_runtime.traces import bind_trace
from postroom_runtime.transfer import Stored
from postroom_wire.sasl import Attempt, ScramOpening
from postroom_wire.smtp import (
    Answered,
    Authenticate,
    Close,
    ContentChunk,
    ContentEnd,
    ContentRefused,
    Data,
    Mail,
    NeedData,
    Rcpt,
    Reply,
    ServerConfig,
    ServerEvent,
    ServerSession,
    StartTls,
    Trace,
    count_received,
    received_line,
)
from postroom_wire.smtp import standard_replies as replies
from smtp_inbound.content import Gathering
from smtp_inbound.handover import Handover
from smtp_inbound.recipients import RecipientResolver
from smtp_inbound.replies import (
    MAILBOX_FULL,
    ONE_TENANT_AT_A_TIME,
    ROUTING_LOOP,
    SENDER_NOT_YOURS,
    content_reply,
    login_reply,
)
from smtp_inbound.rooms import Rooms
from smtp_inbound.store import Directory, Login, Mailstore
from smtp_inbound.transaction import Transaction, address_of

MAX_HOPS: Final = 50

_MESSAGES: Final = metrics.counter(
    "smtp_messages_total", "Messages by listener and reply.", ["listener", "code"]
)
_COMMANDS: Final = metrics.counter("smtp_commands_total", "Commands by reply.", ["command", "code"])


# To find a counter by its labels costs more than to count.
_messages: Final = cache(_MESSAGES.labels)
_commands: Final = cache(_COMMANDS.labels)


@dataclass(frozen=True, slots=True)
class House:
    """What all sessions share; `tls` is None when there is no certificate.

    `client_tls` is for those who log in: other relays' certificates are nobody's login.
    """

    hostname: str
    idle_seconds: float
    directory: Directory
    mailstore: Mailstore
    resolver: RecipientResolver
    rooms: Rooms
    handover: Handover
    lifecycle: Lifecycle
    tls: CertificateReloader | None
    client_tls: CertificateReloader | None


class Session:
    """One connection, from the greeting to the end."""

    def __init__(self, connection: Connection, config: ServerConfig, house: House, *, listener: str) -> None:
        self._connection, self._house, self._listener = connection, house, listener
        self._tls = house.client_tls if config.mechanisms else house.tls
        self._engine = ServerSession(
            config,
            tls_active=connection.tls,
            plaintext_auth=connection.peer.is_loopback,
            channel=channel_of(connection),
        )
        self._proven: Login | None = None
        self._transaction: Transaction | None = None
        self._hops = 0

    async def run(self) -> None:
        """Serve until one side ends it."""
        self._connection.set_idle(self._house.idle_seconds)
        try:
            await self._converse()
        except PeerTimeoutError:
            self._say_and_close(replies.IDLE_TIMEOUT)
        except DrainingError:
            self._say_and_close(replies.SHUTTING_DOWN)
        except PeerGoneError:
            log.info("peer_gone")
        finally:
            await self._end_transaction()

    async def _converse(self) -> None:
        self._send()
        while octets := await self._connection.receive(idle=self._engine.idle):
            self._engine.receive_data(octets)
            while not isinstance(event := self._engine.next_event(), NeedData):
                if isinstance(event, Close):
                    self._send()
                    return
                await self._answer(event)
            self._send()
            await self._connection.drain()

    def _send(self) -> None:
        """Everything that is to be said, in one write."""
        if octets := self._engine.data_to_send():
            self._connection.write(octets)

    def _say_and_close(self, reply: Reply) -> None:
        self._engine.close(reply)
        self._send()

    async def _answer(self, event: ServerEvent) -> None:
        match event:
            case ContentChunk(octets):
                await self._take_content(octets)
            case ContentRefused():
                await self._end_transaction()
            case StartTls():
                await self._start_tls()
            case Answered(command, reply):
                _commands(command, reply.code).inc()
            case NeedData() | Close():
                pass
            case Authenticate(_, attempt):
                with span("SMTP AUTH", "server"):
                    await self._authenticate(attempt)
            case Mail() | Rcpt() | Data() | ContentEnd():
                self._engine.reply(await self._reply_to(event))

    async def _reply_to(self, event: Mail | Rcpt | Data | ContentEnd) -> Reply:
        match event:
            case Mail():
                return await self._begin(event)
            case Rcpt(forward_path):
                return await self._add_recipient(address_of(forward_path, self._house.hostname))
            case Data():
                self._begin_content()
                return replies.START_MAIL_INPUT
            case ContentEnd():
                return await self._accept()

    async def _begin(self, mail: Mail) -> Reply:
        await self._end_transaction()
        login = self._login
        try:
            if login is not None and mail.reverse_path is not None:
                resolution = await self._house.resolver.resolve(str(mail.reverse_path))
                if all(target.account_id != login.account_id.bytes for target in resolution.targets):
                    return SENDER_NOT_YOURS
        except PostroomError:
            return replies.LOCAL_ERROR
        self._transaction = Transaction(
            mail,
            begin_span("SMTP transaction", None, "server"),
            login.capability if login else "",
            login.tenant_id if login else None,
        )
        return replies.SENDER_OK

    async def _add_recipient(self, address: str) -> Reply:
        transaction = self._transaction
        if transaction is None:
            return replies.BAD_SEQUENCE
        try:
            resolution = await self._house.resolver.resolve(address)
        except PostroomError:
            return replies.LOCAL_ERROR
        match resolution.outcome:
            case directory_pb2.Resolution.OUTCOME_LOCAL:
                if not transaction.takes_tenant(_tenant(resolution)):
                    return ONE_TENANT_AT_A_TIME
                if await self._house.rooms.is_full(resolution.targets):
                    return MAILBOX_FULL
                transaction.add_local(address, resolution)
            case directory_pb2.Resolution.OUTCOME_REMOTE if self._login is not None:
                transaction.add_remote(address)
            case directory_pb2.Resolution.OUTCOME_REMOTE:
                return replies.RELAY_DENIED
            case _:
                return replies.NO_SUCH_MAILBOX
        return replies.RECIPIENT_OK

    def _begin_content(self) -> None:
        transaction, house = self._transaction, self._house
        if transaction is None:
            return
        self._hops = 0
        tenant_id = transaction.tenant_id or transaction.id

        async def upload(upload_id: UUID, source: AsyncIterator[bytes]) -> Stored:
            return await house.mailstore.upload(upload_id, tenant_id, source)

        transaction.gathering = Gathering(upload, transaction.id, self._received(transaction))

    async def _take_content(self, octets: bytes) -> None:
        if self._transaction is None or self._transaction.gathering is None:
            return
        if self._hops == 0:
            self._hops = 1 + count_received(octets)  # the header begins, and nearly always ends, in the first
        await self._transaction.gathering.add(octets)

    async def _accept(self) -> Reply:
        """Hand the message over; the reply is the end of our responsibility or the begin of it."""
        transaction, self._transaction = self._transaction, None
        if transaction is None or transaction.gathering is None:
            return replies.BAD_SEQUENCE
        text, work = transaction.queue_id, transaction.span
        working = self._house.lifecycle.activity("message")
        with working, bind_trace(work.traceparent), bound_contextvars(queue_id=text), ended(work):
            reply = await self._hand_over(transaction, text)
            work.set("postroom.queue_id", text)
            work.set("smtp.reply_code", reply.code)
            if reply.code >= 400:
                work.fail("refused", ours=reply.code < 500)
            log.info(
                "message",
                code=reply.code,
                recipients=len(transaction.recipients),
                listener=self._listener,
                account_id=str(self._login.account_id) if self._login else None,
            )
        _messages(self._listener, reply.code).inc()
        return reply

    async def _hand_over(self, transaction: Transaction, text: str) -> Reply:
        if self._hops > MAX_HOPS:
            await transaction.discard()
            return ROUTING_LOOP
        try:
            item = await self._item(transaction)
            reached("accept.before_handover")
        except PostroomError as error:
            await transaction.discard()
            return content_reply(error)
        try:
            await self._house.handover.accept(item)
        except UnavailableError as error:
            # Unknown: what the client is told to try again must not turn up as well.
            accepted = await self._house.mailstore.abort(transaction.id)
            return _queued(text) if accepted else content_reply(error)
        except PostroomError as error:
            return content_reply(error)
        reached("accept.before_reply")
        return _queued(text)

    async def _item(self, transaction: Transaction) -> delivery_pb2.AcceptItem:
        """The whole message, its octets put where they belong."""
        if (login := self._login) is not None:
            self._proven = await self._house.directory.fresh(login)
            transaction.capability = self._proven.capability
        return transaction.item(await transaction.finish())

    async def _authenticate(self, attempt: Attempt) -> None:
        connection, directory = self._connection, self._house.directory
        client = Client(
            directory_pb2.SCOPE_SUBMISSION, connection.peer.client, client_certificate(connection)
        )
        try:
            if isinstance(attempt, ScramOpening):
                self._engine.challenge(await directory.begin_scram(attempt, client))
                return
            self._proven, last_word = await directory.log_in(attempt, client)
        except PostroomError as error:
            log.info("login_refused", error=error.name)
            self._engine.reply(login_reply(error))
            return
        log.info("login", account_id=str(self._proven.account_id))
        if last_word:
            self._engine.challenge(last_word)
        else:
            self._engine.reply(replies.AUTH_OK)

    @property
    def _login(self) -> Login | None:
        """Who the client is. The engine has the last word: SCRAM's client has to take ours first."""
        return self._proven if self._engine.authenticated else None

    async def _start_tls(self) -> None:
        if self._tls is None:
            self._engine.reply(replies.TLS_NOT_AVAILABLE)
            return
        self._engine.reply(replies.READY_TO_START_TLS)
        await self._connection.start_tls(self._tls.context, reply=self._engine.data_to_send())
        self._proven = None  # RFC 3207 s4.2: whatever was learned in the clear is forgotten
        self._engine.tls_started(channel_of(self._connection))

    async def _end_transaction(self) -> None:
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            transaction.span.fail("abandoned", ours=False)
            transaction.span.end()
            await transaction.discard()

    def _received(self, transaction: Transaction) -> bytes:
        return received_line(
            Trace(
                helo=self._engine.helo,
                peer_address=self._connection.peer.host,
                by=self._house.hostname,
                protocol=self._engine.with_protocol,
                id=transaction.queue_id,
                when=transaction.received_at,
            )
        )


def _queued(text: str) -> Reply:
    return Reply(250, "2.0.0", f"Queued as {text}")


def _tenant(resolution: directory_pb2.Resolution) -> UUID:
    return UUID(bytes=resolution.tenant_id)
