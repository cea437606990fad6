r"""FTP (RFC 959): commands, replies, listings and the server's states; sans-I/O.

`ServerSession` is the server's side of one control connection. It takes octets and gives events: a command
to be answered, `Answered` for what it has answered itself (FEAT, OPTS, TYPE, USER, PWD, NOOP and all that
needs no store), `Interrupt`, `NeedData`. Arguments are checked already: paths are absolute and normalised,
PORT names the client's own address, RETR and STOR know the offset that REST has set.

>>> from postroom_wire.ftp import Policy, ServerSession, plain_address
>>> from postroom_wire.ftp import commands, standard_replies as replies
>>> session = ServerSession(plain_address("::ffff:127.0.0.1"), Policy(login_needs_tls=False))
>>> session.receive_data(b"USER ann\r\nPASS secret\r\nCWD /in/../out\r\nEPSV\r\nRETR a.txt\r\n")
>>> session.next_event()
Answered(verb='USER', reply=Reply(code=331, text='User name okay, need password'))
>>> session.next_event()
Pass(user='ann')
>>> session.answer(replies.LOGGED_IN)
>>> session.next_event()
Cwd(path=FtpPath(segments=('out',)))
>>> session.answer(replies.DIRECTORY_CHANGED)
>>> session.next_event()
Epsv()
>>> session.answer(extended_passive(30_007))
>>> session.next_event()
Retr(path=FtpPath(segments=('out', 'a.txt')), offset=0)
>>> session.answer(replies.OPENING_DATA)
>>> session.next_event()
NeedData()
>>> session.receive_data(b"ABOR\r\n")
>>> session.next_event()
Interrupt()
>>> session.finish(replies.TRANSFER_ABORTED)
>>> session.next_event()
Abor()
>>> session.answer(replies.ABORTED)
>>> session.data_to_send().splitlines()[-2:]
[b'426 Connection closed; transfer aborted', b'226 Abort successful']

What the caller does:
- sends `GREETING.octets` first, and `data_to_send()` after each event and each answer;
- reads the control connection also while a transfer runs, and only while `wants_data`, with SO_OOBINLINE set:
  clients send ABOR, its line end among it, as urgent data;
- answers each command before it asks for the next event: a transfer by OPENING_DATA, then `finish` with its
  result (TRANSFER_COMPLETE when all is durable); a wrong PASS by LOGIN_FAILED, wrong for whatever reason;
- on `Auth`: answers TLS_GO_AHEAD, sends it, does the handshake, calls `tls_established`; the same context
  for the data connections of the session lets `session_reused` bind them to it. It should give tickets on the
  control connection and none on that of an upload: a client that closes with tickets unread resets what
  it has sent;
- on `Pasv`, `Epsv`, `Port`: drops what was prepared before; compares the peer of a passive data connection
  with that of the control connection (`plain_address` of both; FOREIGN_DATA_PEER);
- converts by `AsciiEncoder` and `AsciiDecoder` while `ascii`, uses TLS on data connections while
  `data_private`, and gives `facts` to `mlsd_line` and `mlst_reply`;
- closes the connection once `closed` and all is sent; `close` ends a session from our side.
"""

from postroom_wire.ftp.addresses import Address, extended_passive, passive, plain_address
from postroom_wire.ftp.ascii import AsciiDecoder, AsciiEncoder
from postroom_wire.ftp.commands import Command, Target, Transfer
from postroom_wire.ftp.errors import LocalProtocolError, RemoteProtocolError
from postroom_wire.ftp.events import Answered, Event, Interrupt, NeedData
from postroom_wire.ftp.facts import mlsd_line, mlst_reply
from postroom_wire.ftp.globs import Glob
from postroom_wire.ftp.limits import Limits
from postroom_wire.ftp.listing import (
    DIRECTORY_PERM,
    FILE_PERM,
    Entry,
    directory_created,
    file_size,
    list_line,
    modification_time,
    name_line,
    status_listing,
)
from postroom_wire.ftp.parameters import Policy
from postroom_wire.ftp.paths import FtpPath
from postroom_wire.ftp.replies import Reply
from postroom_wire.ftp.session import ServerSession
from postroom_wire.ftp.state import State

__all__ = [
    "DIRECTORY_PERM",
    "FILE_PERM",
    "Address",
    "Answered",
    "AsciiDecoder",
    "AsciiEncoder",
    "Command",
    "Entry",
    "Event",
    "FtpPath",
    "Glob",
    "Interrupt",
    "Limits",
    "LocalProtocolError",
    "NeedData",
    "Policy",
    "RemoteProtocolError",
    "Reply",
    "ServerSession",
    "State",
    "Target",
    "Transfer",
    "directory_created",
    "extended_passive",
    "file_size",
    "list_line",
    "mlsd_line",
    "mlst_reply",
    "modification_time",
    "name_line",
    "passive",
    "plain_address",
    "status_listing",
]
