"""The ports of IMAP and POP3, in the clear and with TLS from the first octet."""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from mail_access.imap import session as imap_session
from mail_access.pop3 import session as pop3_session
from mail_access.pop3.refusals import INTERNAL_ERROR, TOO_MANY_CONNECTIONS
from mail_access.resources import Resources
from postroom_runtime.connection import Connection
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.tcp import Handler, Listener, ListenerSettings, serve_tcp
from postroom_wire.imap import responses


class _Protocol(NamedTuple):
    handle: Callable[[Connection, Resources], Awaitable[None]]
    refuse: bytes
    failed: bytes


_IMAP: Final = _Protocol(
    imap_session.handle,
    responses.bye(b"Too many connections, try again later", b"LIMIT"),
    responses.bye(b"Internal error", b"SERVERBUG"),
)
_POP3: Final = _Protocol(pop3_session.handle, TOO_MANY_CONNECTIONS, INTERNAL_ERROR)


async def open_listeners(resources: Resources, lifecycle: Lifecycle) -> list[Listener]:
    """All ports; those with implicit TLS where there is a certificate. Raises `ConfigurationError`."""
    settings = resources.settings
    ports = [
        ("imap", settings.imap_port, settings.imap_proxy_port, False, _IMAP),
        ("imaps", settings.imaps_port, settings.imaps_proxy_port, True, _IMAP),
        ("pop3", settings.pop3_port, settings.pop3_proxy_port, False, _POP3),
        ("pop3s", settings.pop3s_port, settings.pop3s_proxy_port, True, _POP3),
    ]
    return [
        await serve_tcp(
            ListenerSettings(
                door.name,
                settings.host,
                door.port,
                implicit_tls,
                settings.max_connections,
                settings.max_connections_per_address,
                proxy=door.proxy,
                untrusted=settings.untrusted,
                nodes=settings.nodes,
            ),
            _handler(protocol, resources),
            lifecycle=lifecycle,
            tls=resources.tls,
            refuse=protocol.refuse,
            failed=protocol.failed,
        )
        for name, port, proxy_port, implicit_tls, protocol in ports
        if resources.tls is not None or not implicit_tls
        for door in settings.doors(name, port, proxy_port)
    ]


def _handler(protocol: _Protocol, resources: Resources) -> Handler:
    return lambda connection: protocol.handle(connection, resources)
