"""POP3 (RFC 1939, RFC 2449, RFC 2595, RFC 3206, RFC 5034, RFC 6856): commands, replies, the server."""

from postroom_wire.pop3.errors import LocalProtocolError
from postroom_wire.pop3.events import (
    Answered,
    Close,
    Login,
    NeedData,
    Retrieve,
    SendData,
    ServerEvent,
    StartTls,
    Update,
)
from postroom_wire.pop3.limits import Limits
from postroom_wire.pop3.login_phase import ServerConfig
from postroom_wire.pop3.maildrop import Maildrop, Message
from postroom_wire.pop3.multi_line import MultiLineEncoder
from postroom_wire.pop3.replies import SHUTTING_DOWN, ContentRefusal, LoginRefusal
from postroom_wire.pop3.server import ServerSession
from postroom_wire.pop3.state import State

__all__ = [
    "SHUTTING_DOWN",
    "Answered",
    "Close",
    "ContentRefusal",
    "Limits",
    "LocalProtocolError",
    "Login",
    "LoginRefusal",
    "Maildrop",
    "Message",
    "MultiLineEncoder",
    "NeedData",
    "Retrieve",
    "SendData",
    "ServerConfig",
    "ServerEvent",
    "ServerSession",
    "StartTls",
    "State",
    "Update",
]
