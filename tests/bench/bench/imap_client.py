"""A blocking IMAP client that costs next to nothing: what is timed is the server."""

import socket
import time
from types import TracebackType
from typing import Final, Self

from bench.sides import MailSide

_PATIENCE_SECONDS: Final = 300.0
_CHUNK: Final = 1 << 20
_LONGEST_LINE: Final = 4_096


class ImapRefusedError(Exception):
    """A command was refused, or the connection ended."""


class ImapClient:
    """One connection, in plain text. Use as a context."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), _PATIENCE_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tags = 0
        self._last_line(b"* OK")

    @classmethod
    def of(cls, side: MailSide, box: int = 0) -> "ImapClient":
        """Connected and logged in as the owner of one box."""
        client = cls(side.imap_port)
        client.log_in(side.boxes[box].user, side.boxes[box].password)
        return client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def log_in(self, user: str, password: str) -> None:
        """LOGIN."""
        self.command(b"LOGIN %b %b" % (user.encode(), password.encode()))

    def command(self, line: bytes) -> bytes:
        """Send a command; all that came up to the end of its OK. Raises `ImapRefusedError`."""
        tag = self._send(line)
        answer = self._last_line(tag)
        if not answer[answer.rindex(tag) + len(tag) :].startswith(b"OK"):
            raise ImapRefusedError(answer[-300:])
        return answer

    def timed(self, line: bytes) -> float:
        """How many seconds a command takes."""
        begun = time.perf_counter()
        self.command(line)
        return time.perf_counter() - begun

    def append(self, mailbox: bytes, message: bytes) -> None:
        """APPEND with a literal that does not wait (RFC 7888)."""
        self.command(b"APPEND %b {%d+}\r\n%b" % (mailbox, len(message), message))

    def idle(self) -> None:
        """Begin to wait (RFC 2177)."""
        self._send(b"IDLE")
        self._last_line(b"+")

    def wait_for_exists(self) -> None:
        """While waiting: until a new message is told."""
        while b" EXISTS\r\n" not in self._receive():
            pass

    def end_idle(self) -> None:
        """Wait no longer."""
        self._socket.sendall(b"DONE\r\n")
        self._last_line(b"t%d " % self._tags)

    def _send(self, line: bytes) -> bytes:
        self._tags += 1
        tag = b"t%d " % self._tags
        self._socket.sendall(tag + line + b"\r\n")
        return tag

    def _last_line(self, begin: bytes) -> bytes:
        """All octets, once the last line begins so."""
        pieces: list[bytes] = []
        tail = b""
        while True:
            pieces.append(self._receive())
            tail = (tail + pieces[-1])[-_LONGEST_LINE:]
            if tail.endswith(b"\r\n") and tail[tail.rfind(b"\n", 0, -1) + 1 :].startswith(begin):
                return b"".join(pieces)

    def _receive(self) -> bytes:
        if octets := self._socket.recv(_CHUNK):
            return octets
        raise ImapRefusedError(b"closed by the server")
