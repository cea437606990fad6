"""Mutual TLS with certificates that are renewed while we run, at both ends of a call."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeAlias, cast

import grpc

from postroom_runtime.tls import GrpcPems, GrpcTls, GrpcTlsReloader

Open: TypeAlias = Callable[[grpc.ChannelCredentials], grpc.aio.Channel]

_CLOSE_SECONDS: Final = 1.0


def server_credentials(tls: GrpcTls) -> grpc.ServerCredentials:
    """The certificate as it is at each handshake. Raises `ConfigurationError`."""
    reloader = GrpcTlsReloader(tls)

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        pems = reloader.renew()
        return None if pems is None else _configuration(pems)

    # The stubs do not know that None stands for no change.
    fetch = cast(Callable[[], grpc.ServerCertificateConfiguration], renewed)
    return grpc.dynamic_ssl_server_credentials(
        _configuration(reloader.pems), fetch, require_client_authentication=True
    )


class FixedChannel:
    """A channel that stays the same, in the form of the other one."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.newest = channel

    def method(self, kind: str, *args: Any, **options: Any) -> Callable[..., Any]:
        """The channel's own method of this kind."""
        return getattr(self.newest, kind)(*args, **options)

    async def close(self, grace: float | None) -> None:
        """End it."""
        await self.newest.close(grace)


class RenewedChannel:
    """A channel for each certificate: calls begin on the newest, and those that run end where they began.

    gRPC's channels keep the certificate that they were made with, for every connection to come. Raises
    `ConfigurationError`.
    """

    def __init__(self, tls: GrpcTls, open_channel: Open) -> None:
        self._reloader = GrpcTlsReloader(tls)
        self._open = open_channel
        self._newest = self._make(self._reloader.pems)
        self._older: set[_Generation] = set()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def newest(self) -> grpc.aio.Channel:
        """The channel that a call which begins now takes."""
        return self._current().channel

    def method(self, kind: str, *args: Any, **options: Any) -> Callable[..., Any]:
        """A method like the channel's own of this kind."""
        return partial(self._call, (kind, args, tuple(options.items())))

    async def close(self, grace: float | None) -> None:
        """All of them."""
        for generation in (self._newest, *self._older):
            await generation.channel.close(grace)
        if self._closing:
            await asyncio.wait(self._closing)

    def _call(self, method: "_Method", request: Any, **how: Any) -> Any:
        generation = self._current()
        call = generation.method(method)(request, **how)
        generation.calls += 1
        call.add_done_callback(partial(self._ended, generation))
        return call

    def _current(self) -> "_Generation":
        if (pems := self._reloader.renew()) is not None:
            old, self._newest = self._newest, self._make(pems)
            self._older.add(old)
            self._leave(old)
        return self._newest

    def _ended(self, generation: "_Generation", call: object) -> None:
        del call
        generation.calls -= 1
        self._leave(generation)

    def _leave(self, generation: "_Generation") -> None:
        """Close an older channel that has no calls: it would try again for ever with its certificate."""
        if generation in self._older and not generation.calls:
            self._older.discard(generation)
            closing = asyncio.get_running_loop().create_task(generation.channel.close(_CLOSE_SECONDS))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _make(self, pems: GrpcPems) -> "_Generation":
        return _Generation(self._open(grpc.ssl_channel_credentials(pems.authority, pems.key, pems.chain)))


_Method: TypeAlias = tuple[str, tuple[Any, ...], tuple[tuple[str, Any], ...]]


class _Generation:
    """One channel, its methods as far as they were called, and how many calls run."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.calls = 0
        self._methods: dict[_Method, Callable[..., Any]] = {}

    def method(self, method: _Method) -> Callable[..., Any]:
        """The channel's own."""
        if (found := self._methods.get(method)) is None:
            kind, args, options = method
            found = self._methods[method] = getattr(self.channel, kind)(*args, **dict(options))
        return found


def _configuration(pems: GrpcPems) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pems.key, pems.chain)], pems.authority)
