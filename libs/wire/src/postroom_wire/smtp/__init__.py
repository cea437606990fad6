"""SMTP without sockets: a server and a client engine (RFC 5321, 1870, 2034, 2920, 3207, 4954, 6152, 6531).

Octets go in, events come out, replies or messages go in, octets come out. The shell owns the socket, the
clock and the policy; the engines own the grammar, the order of commands, the bounds (`Limits`) and every
octet on the wire.

A server's shell, for each chunk that the network brings (`ContentChunk`s are to be staged, not gathered, when
the message is large; stop reading the socket while an event is being answered)::

    session = ServerSession(ServerConfig("mx.example.com", starttls=True))
    write(session.data_to_send())  # the greeting
    ...
    session.receive_data(chunk)
    while True:
        match event := session.next_event():
            case NeedData():
                break
            case Mail():
                session.reply(SENDER_OK)
            case Rcpt(forward_path):
                session.reply(RECIPIENT_OK if await knows(forward_path) else NO_SUCH_MAILBOX)
            case Data():
                content = []
                session.reply(START_MAIL_INPUT)
            case ContentChunk(octets):
                content.append(octets)
            case ContentRefused():
                content = []
            case ContentEnd():
                queue_id = await keep(session.envelope, content)  # durable first
                session.reply(Reply(250, "2.0.0", f"Queued as {queue_id}"))
            case Authenticate(_, attempt):
                session.reply(AUTH_OK if await check(attempt) else AUTH_FAILED)
            case StartTls():
                session.reply(READY_TO_START_TLS)
                write(session.data_to_send())
                await handshake()
                session.tls_started()
            case Answered():
                count(event.command, event.reply.code)
            case Close():
                write(session.data_to_send())
                return
    write(session.data_to_send())  # one write for a whole pipelined group

A content with a bare CR, a bare LF or a NUL is refused with 550 5.6.11 after its true end, and the session
closes. A session also closes by itself after QUIT, 421 and too many errors; `close` is for drain and
time-outs.

Between the trace lines that a shell puts on top and the content comes `trace_separator`.

A client's shell makes a `ClientSession` and runs the same loop. On `Greeted` it chooses `start_tls`,
`authenticate`, `send` or `quit`; on `TlsReady` it does the handshake and calls `tls_started`; on
`SendContent` it calls `write_content` for each chunk and `end_content`; on `MessageDone` it reads a result
for each recipient and may `send` again; on `Closed` it closes. `timeout_seconds` says how long to wait for
what is due. After a `RemoteProtocolError`, a time-out or a lost connection everything is unknown that
`results` does not tell.
"""

from postroom_wire.sasl import Credentials, Mechanism
from postroom_wire.smtp import standard_replies
from postroom_wire.smtp.addresses import (
    AddressError,
    ForwardPath,
    Mailbox,
    Postmaster,
    ReversePath,
    check_domain,
    format_path,
)
from postroom_wire.smtp.capabilities import Capabilities
from postroom_wire.smtp.client import ClientSession
from postroom_wire.smtp.client_state import ClientConfig, ClientState
from postroom_wire.smtp.commands import Data, Mail, Rcpt, StartTls
from postroom_wire.smtp.content import ContentDefect, ContentReader, ContentWriter
from postroom_wire.smtp.envelope import Body, Envelope
from postroom_wire.smtp.errors import LocalProtocolError, RemoteProtocolError
from postroom_wire.smtp.events import (
    Answered,
    Authenticate,
    Authenticated,
    AuthenticationRefused,
    ClientEvent,
    Close,
    Closed,
    ContentChunk,
    ContentEnd,
    ContentRefused,
    Greeted,
    MessageDone,
    NeedData,
    RecipientResult,
    SendContent,
    ServerEvent,
    Stage,
    TlsReady,
    TlsRefused,
)
from postroom_wire.smtp.limits import ClientLimits, ClientTimeouts, Limits
from postroom_wire.smtp.replies import Reply
from postroom_wire.smtp.server import ServerSession
from postroom_wire.smtp.server_state import ServerConfig, State
from postroom_wire.smtp.trace import (
    Trace,
    count_received,
    format_date_time,
    received_line,
    return_path_line,
    trace_separator,
)

__all__ = [
    "AddressError",
    "Answered",
    "Authenticate",
    "Authenticated",
    "AuthenticationRefused",
    "Body",
    "Capabilities",
    "ClientConfig",
    "ClientEvent",
    "ClientLimits",
    "ClientSession",
    "ClientState",
    "ClientTimeouts",
    "Close",
    "Closed",
    "ContentChunk",
    "ContentDefect",
    "ContentEnd",
    "ContentReader",
    "ContentRefused",
    "ContentWriter",
    "Credentials",
    "Data",
    "Envelope",
    "ForwardPath",
    "Greeted",
    "Limits",
    "LocalProtocolError",
    "Mail",
    "Mailbox",
    "Mechanism",
    "MessageDone",
    "NeedData",
    "Postmaster",
    "Rcpt",
    "RecipientResult",
    "RemoteProtocolError",
    "Reply",
    "ReversePath",
    "SendContent",
    "ServerConfig",
    "ServerEvent",
    "ServerSession",
    "Stage",
    "StartTls",
    "State",
    "TlsReady",
    "TlsRefused",
    "Trace",
    "check_domain",
    "count_received",
    "format_date_time",
    "format_path",
    "received_line",
    "return_path_line",
    "standard_replies",
    "trace_separator",
]
