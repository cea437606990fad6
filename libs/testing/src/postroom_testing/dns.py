"""A name server on the loopback interface that answers from a table, over UDP and TCP.

Also a program: `python -m postroom_testing.dns --port 5353 "example.org MX 10 mx.example.org"
"mx.example.org A 127.0.0.1"`.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterable
from enum import Enum, auto
from types import TracebackType
from typing import Final, Self

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

_CNAME_CHAIN: Final = 8
_TTL: Final = 60


class Trouble(Enum):
    """What may happen instead of an answer."""

    NXDOMAIN = auto()
    SERVFAIL = auto()
    REFUSED = auto()
    TIMEOUT = auto()


_RCODES: Final = {
    Trouble.NXDOMAIN: dns.rcode.NXDOMAIN,
    Trouble.SERVFAIL: dns.rcode.SERVFAIL,
    Trouble.REFUSED: dns.rcode.REFUSED,
}


class DnsServer:
    """Answers on `host` and `port` within `async with`. A name that the table does not have is NXDOMAIN.

    A name with other types only gives an empty answer; CNAMEs are followed inside the table.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.port = port
        self.queries: list[tuple[str, str]] = []
        """What was asked: name without the last dot, type."""
        self._records: dict[dns.name.Name, dict[str, list[str]]] = {}
        self._troubles: dict[tuple[dns.name.Name, str], Trouble] = {}
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """`host:port`, as `--dns` and POSTROOM_SMTP_OUTBOUND_DNS_SERVERS take it."""
        return f"{self.host}:{self.port}"

    def add(self, name: str, kind: str, *data: str) -> None:
        """Add records: `add("example.org", "MX", "10 mx1.example.org.", "20 mx2.example.org.")`."""
        self._records.setdefault(_name(name), {}).setdefault(kind.upper(), []).extend(data)

    def replace(self, name: str, kind: str, *data: str) -> None:
        """Let these be all records of the type; without any, there is none."""
        types = dict(self._records.get(_name(name), {}))
        types.pop(kind.upper(), None)
        self._records[_name(name)] = types | ({kind.upper(): list(data)} if data else {})

    def trouble(self, name: str, trouble: Trouble, kind: str = "ANY") -> None:
        """Let questions for the name (of one type, or all) fail."""
        self._troubles[_name(name), kind.upper()] = trouble

    def forget(self, name: str) -> None:
        """Take the name out again, troubles too."""
        self._records.pop(_name(name), None)
        for key in [key for key in self._troubles if key[0] == _name(name)]:
            del self._troubles[key]

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        # TCP first: it says which port is free for both.
        self._tcp = await asyncio.start_server(self._serve_tcp, self.host, self.port)
        self.port = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self), local_addr=(self.host, self.port)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()

    def answer(self, wire: bytes, limit: int) -> bytes | None:
        """The reply to a query in at most `limit` octets (truncated above); `None` for silence."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        question = query.question[0]
        kind = dns.rdatatype.to_text(question.rdtype)
        self.queries.append((question.name.to_text(omit_final_dot=True), kind))
        trouble = self._troubles.get((question.name, kind)) or self._troubles.get((question.name, "ANY"))
        if trouble is Trouble.TIMEOUT:
            return None
        reply = dns.message.make_response(query, recursion_available=True)
        if trouble is not None:
            reply.set_rcode(_RCODES[trouble])
        else:
            self._fill(reply, question.name, kind)
        limit = max(limit, query.payload) if limit == 512 else limit
        try:
            return reply.to_wire(max_size=limit)
        except dns.exception.TooBig:
            reply.answer.clear()
            reply.flags |= dns.flags.TC
            return reply.to_wire()

    def _fill(self, reply: dns.message.Message, name: dns.name.Name, kind: str) -> None:
        for _ in range(_CNAME_CHAIN):
            if (types := self._records.get(name)) is None:
                reply.set_rcode(dns.rcode.NXDOMAIN)
                return
            wanted = "CNAME" if kind not in types and "CNAME" in types else kind
            if wanted not in types:
                return
            reply.answer.append(dns.rrset.from_text_list(name, _TTL, "IN", wanted, types[wanted]))
            if wanted == kind:
                return
            name = _name(types["CNAME"][0])

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(2))
                if (reply := self.answer(await reader.readexactly(size), 65535)) is not None:
                    writer.write(len(reply).to_bytes(2) + reply)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    """One query, one reply."""

    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        """The socket is open."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """A query came."""
        if (reply := self._server.answer(data, 512)) is not None and self._transport is not None:
            self._transport.sendto(reply, addr)


def _name(text: str) -> dns.name.Name:
    return dns.name.from_text(text.lower())


def _load(server: DnsServer, records: Iterable[str]) -> None:
    for record in records:
        name, kind, data = record.split(maxsplit=2)
        server.add(name, kind, data)


async def _run(host: str, port: int, records: Iterable[str]) -> None:
    server = DnsServer(host, port)
    _load(server, records)
    async with server:
        print(f"answering on {server.address}", flush=True)  # noqa: T201  # a program's output
        await asyncio.Event().wait()


def main(arguments: list[str]) -> None:
    """Serve the records that the arguments give until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m postroom_testing.dns", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("record", nargs="*", help='"name type data"')
    options = parser.parse_args(arguments)
    try:
        asyncio.run(_run(options.host, options.port, options.record))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main(sys.argv[1:])
