"""The IMAP ports."""

from functools import partial
from typing import Final

from mail_access.imap.session import handle
from mail_access.resources import Resources
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.tcp import Listener, ListenerSettings, serve_tcp
from postroom_wire.imap import responses

_REFUSE: Final = responses.bye(b"Too many connections, try again later", b"LIMIT")
_FAILED: Final = responses.bye(b"Internal error", b"SERVERBUG")


async def imap_listeners(resources: Resources, lifecycle: Lifecycle) -> list[Listener]:
    """IMAP, and IMAPS where there is a certificate. Raises `ConfigurationError`."""
    settings = resources.settings
    ports = [("imap", settings.imap_port, settings.imap_proxy_port, False)]
    if resources.tls is not None:
        ports.append(("imaps", settings.imaps_port, settings.imaps_proxy_port, True))
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
            partial(handle, resources=resources),
            lifecycle=lifecycle,
            tls=resources.tls,
            refuse=_REFUSE,
            failed=_FAILED,
        )
        for name, port, proxy_port, implicit_tls in ports
        for door in settings.doors(name, port, proxy_port)
    ]
