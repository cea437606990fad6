"""A small SMTP server that keeps what it gets and fails by rule, for the relay's tests and for
demonstrations.

Also a program: `python -m postroom_testing.smtp_sink --port 2525 --rule "rcpt:bob@=451 4.2.1 Later"`; it
prints one line of JSON for each message.
"""

import argparse
import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from types import TracebackType
from typing import Final, Self, TypeAlias

from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.tcp import (
    Connection,
    DrainingError,
    Listener,
    ListenerSettings,
    PeerGoneError,
    PeerTimeoutError,
    serve_tcp,
)
from postroom_runtime.tls import server_context
from postroom_testing.certificates import Certificate


class Stage(StrEnum):
    """Where a rule applies: at the greeting, a command, or the octets of a message (their final dot)."""

    CONNECT = "connect"
    EHLO = "ehlo"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    CONTENT = "content"
    QUIT = "quit"


class Fault(Enum):
    """What the sink may do instead of a reply."""

    HANG = "hang"
    CLOSE = "close"


@dataclass
class Rule:
    """At `stage`, when `pattern` is found in command or message, do so: `times` times, or always."""

    stage: Stage
    action: str | Fault
    pattern: str = ""
    times: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Rule":
        """From `stage[:pattern]=action`, an action being a reply, `hang` or `close`."""
        where, _, action = text.partition("=")
        stage, _, pattern = where.partition(":")
        known = {fault.value: fault for fault in Fault}
        return cls(Stage(stage), known.get(action, action), pattern)

    def applies(self, stage: Stage, octets: bytes) -> bool:
        """Whether it is this rule's turn; counts it."""
        if stage is not self.stage or self.times == 0 or not re.search(self.pattern.encode(), octets):
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass(frozen=True, slots=True)
class Received:
    """One message as it came, dot-stuffing undone."""

    reverse_path: str
    recipients: tuple[str, ...]
    octets: bytes
    connection: int  # from 1, in the order of their arrival
    tls: bool
    helo: str


@dataclass
class _Session:
    """One client."""

    number: int
    connection: Connection
    received: bytearray = field(default_factory=bytearray)
    helo: str = ""
    reverse_path: str | None = None
    recipients: list[str] = field(default_factory=list[str])

    def reset(self) -> None:
        """Forget the transaction."""
        self.reverse_path = None
        self.recipients.clear()

    async def line(self) -> bytes | None:
        """The next line without its end; `None` when the client is gone."""
        return await self.until(b"\r\n")

    async def until(self, end: bytes) -> bytes | None:
        """All octets up to `end`, which is taken too."""
        start = 0
        while (place := self.received.find(end, start)) < 0:
            start = max(0, len(self.received) - len(end))
            if not (more := await self.connection.receive(idle=True)):
                return None
            self.received += more
        taken = bytes(self.received[:place])
        del self.received[: place + len(end)]
        return taken


class _EndError(Exception):
    """The session is over."""


_Command: TypeAlias = Callable[[_Session, bytes], Awaitable[str]]
_PATH: Final = re.compile(rb"<([^>]*)>")
_BAD_SEQUENCE: Final = "503 5.5.1 Bad sequence of commands"


class SmtpSink:
    """Listens on `host` and `port` within `async with`."""

    def __init__(
        self,
        rules: Sequence[Rule] = (),
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        certificate: Certificate | None = None,
        extensions: Sequence[str] = (
            "PIPELINING",
            "SIZE 52428800",
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
        ),
    ) -> None:
        self.rules = list(rules)
        self.host = host
        self.port = port
        self.messages: list[Received] = []
        self.connections = 0
        self.commands: list[bytes] = []
        """Every command line in the order of arrival, over all connections."""
        self.on_message: Callable[[Received], None] = lambda _: None
        self._extensions = extensions
        self._tls = (
            None if certificate is None else server_context(certificate.cert_file, certificate.key_file)
        )
        self._changed = asyncio.Condition()
        self._listener: Listener | None = None
        self._commands: dict[bytes, _Command] = {
            b"EHLO": self._ehlo,
            b"HELO": self._ehlo,
            b"MAIL": self._mail,
            b"RCPT": self._rcpt,
            b"DATA": self._data,
            b"RSET": self._rset,
            b"NOOP": self._noop,
            b"QUIT": self._quit,
            b"STARTTLS": self._starttls,
        }

    @property
    def per_connection(self) -> list[int]:
        """How many messages came over each connection, in the order of the connections."""
        return [
            sum(message.connection == number for message in self.messages)
            for number in range(1, self.connections + 1)
        ]

    async def wait_for(self, count: int, seconds: float = 10.0) -> list[Received]:
        """The messages once there are so many; raises `TimeoutError`."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: len(self.messages) >= count)
        return self.messages

    async def __aenter__(self) -> Self:
        settings = ListenerSettings(
            name="smtp-sink", host=self.host, port=self.port, max_connections_per_address=1000
        )
        self._listener = await serve_tcp(settings, self._serve, lifecycle=Lifecycle())
        self.port = self._listener.port
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._listener is not None:
            self._listener.abort()
            await self._listener.wait_closed()

    async def _serve(self, connection: Connection) -> None:
        self.connections += 1
        session = _Session(self.connections, connection)
        try:
            await self._reply(session, Stage.CONNECT, b"", "220 sink.test ESMTP")
            while (line := await session.line()) is not None:
                self.commands.append(line)
                verb = line.split(b" ", 1)[0].upper()
                command = self._commands.get(verb, self._unknown)
                if answer := await command(session, line):
                    connection.write(f"{answer}\r\n".encode())
                    await connection.drain()
        except (_EndError, PeerGoneError, PeerTimeoutError, DrainingError):
            pass

    def _ruled(self, stage: Stage, octets: bytes) -> str | Fault | None:
        return next((rule.action for rule in self.rules if rule.applies(stage, octets)), None)

    async def _answer(self, session: _Session, stage: Stage, octets: bytes, usual: str) -> str:
        """What to say: by the first rule that applies, else the usual."""
        match self._ruled(stage, octets):
            case None:
                return usual
            case Fault.HANG:
                while await session.connection.receive():
                    pass
                raise _EndError
            case Fault.CLOSE:
                session.connection.abort()
                raise _EndError
            case str() as reply:
                return reply

    async def _reply(self, session: _Session, stage: Stage, octets: bytes, usual: str) -> None:
        answer = await self._answer(session, stage, octets, usual)
        session.connection.write(f"{answer}\r\n".encode())
        if answer.startswith(("421", "554")):
            raise _EndError

    async def _ehlo(self, session: _Session, line: bytes) -> str:
        session.reset()
        session.helo = line[5:].decode("utf-8", "replace")
        offered = list(self._extensions)
        if self._tls is not None and not session.connection.tls:
            offered.append("STARTTLS")
        lines = ["sink.test", *offered] if line[:4].upper() == b"EHLO" else ["sink.test"]
        usual = "\r\n".join([*(f"250-{text}" for text in lines[:-1]), f"250 {lines[-1]}"])
        return await self._answer(session, Stage.EHLO, line, usual)

    async def _starttls(self, session: _Session, _line: bytes) -> str:
        if self._tls is None or session.connection.tls:
            return "502 5.5.1 Not offered"
        session.received.clear()
        session.reset()
        await session.connection.start_tls(self._tls, reply=b"220 2.0.0 Go ahead\r\n")
        return ""

    async def _mail(self, session: _Session, line: bytes) -> str:
        if (path := _PATH.search(line)) is None or session.reverse_path is not None:
            return _BAD_SEQUENCE
        answer = await self._answer(session, Stage.MAIL, line, "250 2.1.0 OK")
        if answer.startswith("2"):
            session.reverse_path = path[1].decode("utf-8", "replace")
        return answer

    async def _rcpt(self, session: _Session, line: bytes) -> str:
        if (path := _PATH.search(line)) is None or session.reverse_path is None:
            return _BAD_SEQUENCE
        answer = await self._answer(session, Stage.RCPT, line, "250 2.1.5 OK")
        if answer.startswith("2"):
            session.recipients.append(path[1].decode("utf-8", "replace"))
        return answer

    async def _data(self, session: _Session, line: bytes) -> str:
        if session.reverse_path is None or not session.recipients:
            return "554 5.5.1 No valid recipients"
        answer = await self._answer(session, Stage.DATA, line, "354 End with a dot")
        if not answer.startswith("354"):
            return answer
        session.connection.write(f"{answer}\r\n".encode())
        session.received[:0] = b"\r\n"  # so that a message of nothing but the dot ends, too
        if (content := await session.until(b"\r\n.\r\n")) is None:
            raise _EndError
        octets = (content + b"\r\n").replace(b"\r\n..", b"\r\n.")[2:]
        answer = await self._answer(session, Stage.CONTENT, octets, "250 2.0.0 Kept")
        if answer.startswith("2"):
            await self._keep(session, octets)
        session.reset()
        return answer

    async def _keep(self, session: _Session, octets: bytes) -> None:
        message = Received(
            session.reverse_path or "",
            tuple(session.recipients),
            octets,
            session.number,
            session.connection.tls,
            session.helo,
        )
        async with self._changed:
            self.messages.append(message)
            self._changed.notify_all()
        self.on_message(message)

    async def _rset(self, session: _Session, _line: bytes) -> str:
        session.reset()
        return "250 2.0.0 OK"

    async def _noop(self, _session: _Session, _line: bytes) -> str:
        return "250 2.0.0 OK"

    async def _unknown(self, _session: _Session, _line: bytes) -> str:
        return "500 5.5.2 Unknown command"

    async def _quit(self, session: _Session, line: bytes) -> str:
        await self._reply(session, Stage.QUIT, line, "221 2.0.0 Bye")
        raise _EndError


def _print(message: Received) -> None:
    facts = {
        "reverse_path": message.reverse_path,
        "recipients": message.recipients,
        "octets": len(message.octets),
        "connection": message.connection,
        "tls": message.tls,
    }
    print(json.dumps(facts), flush=True)  # noqa: T201  # a program's output


async def _run(sink: SmtpSink) -> None:
    sink.on_message = _print
    async with sink:
        print(f"listening on {sink.host}:{sink.port}", flush=True)  # noqa: T201
        await asyncio.Event().wait()


def main(arguments: list[str]) -> None:
    """Take mail until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m postroom_testing.smtp_sink", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=2525)
    parser.add_argument("--rule", action="append", default=[], help="stage[:pattern]=reply|hang|close")
    options = parser.parse_args(arguments)
    rules = [Rule.parse(text) for text in options.rule]
    try:
        asyncio.run(_run(SmtpSink(rules, host=options.host, port=options.port)))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main(sys.argv[1:])
