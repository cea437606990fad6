"""The internal port: `/livez`, `/readyz`, `/metrics`. HTTP/1.1, one request a connection.

A dozen lines of HTTP instead of a web framework: every process would pay 0.1 s of start-up and 10 MB for it.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from postroom_runtime.errors import ConfigurationError
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.metrics import exposition

_TEXT: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the health port."""

    head_octets: int = 8192
    seconds: float = 5.0
    connections: int = 32


@contextlib.asynccontextmanager
async def health_server(
    lifecycle: Lifecycle, address: str, limits: Limits | None = None
) -> AsyncGenerator[asyncio.Server]:
    """Answer on `host:port` or `unix:/path` as long as the block runs."""
    probe = _Probe(lifecycle, limits or Limits())
    try:
        server = await _open(address, probe)
    except OSError as error:
        raise ConfigurationError(f"health port {address}: {error.strerror}") from None
    try:
        yield server
    finally:
        server.close()
        probe.abort()


async def _open(address: str, probe: "_Probe") -> asyncio.Server:
    bound = probe.limits.head_octets
    if address.startswith("unix:"):
        # asyncio removes the socket that a killed process left behind.
        return await asyncio.start_unix_server(probe.serve, address.removeprefix("unix:"), limit=bound)
    host, port = split_address(address)
    return await asyncio.start_server(probe.serve, host or None, port, limit=bound, reuse_address=True)


def split_address(address: str) -> tuple[str, int]:
    """`host:port`, `[v6]:port` or `:port` (every address) in two; raises `ConfigurationError`."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigurationError(f"not host:port: {address}")
    return host.strip("[]"), int(port)


class _Probe:
    """Answers requests; more connections than the bound are closed unanswered."""

    def __init__(self, lifecycle: Lifecycle, limits: Limits) -> None:
        self._lifecycle = lifecycle
        self.limits = limits
        self._open: set[asyncio.StreamWriter] = set()

    def abort(self) -> None:
        """End what is still open."""
        for writer in self._open:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one answer."""
        if len(self._open) >= self.limits.connections:
            writer.transport.abort()
            return
        self._open.add(writer)
        try:
            async with asyncio.timeout(self.limits.seconds):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()
        finally:
            self._open.discard(writer)

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        status, kind, body = self._route(rest.partition(b" ")[0].partition(b"?")[0])
        if method not in {b"GET", b"HEAD"}:
            status, kind, body = HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, b"GET only\n"
        lines = (
            f"HTTP/1.1 {status.value} {status.phrase}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "Connection: close",
            "\r\n",
        )
        return "\r\n".join(lines).encode("ascii") + (b"" if method == b"HEAD" else body)

    def _route(self, path: bytes) -> tuple[HTTPStatus, str, bytes]:
        match path:
            case b"/livez":  # to answer at all means that the event loop turns
                return HTTPStatus.OK, _TEXT, b"live\n"
            case b"/readyz" if self._lifecycle.ready:
                return HTTPStatus.OK, _TEXT, b"ready\n"
            case b"/readyz":
                state = b"draining\n" if self._lifecycle.draining else b"starting\n"
                return HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, state
            case b"/metrics":
                return HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8", exposition()
            case _:
                return HTTPStatus.NOT_FOUND, _TEXT, b"no such page\n"
