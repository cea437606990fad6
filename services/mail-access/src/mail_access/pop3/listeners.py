"""The POP3 ports."""

from functools import partial

from mail_access.pop3.refusals import INTERNAL_ERROR, TOO_MANY_CONNECTIONS
from mail_access.pop3.session import handle
from mail_access.resources import Resources
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.tcp import Listener, ListenerSettings, serve_tcp


async def pop3_listeners(resources: Resources, lifecycle: Lifecycle) -> list[Listener]:
    """POP3, and POP3S where there is a certificate. Raises `ConfigurationError`."""
    settings = resources.settings
    ports = [("pop3", settings.pop3_port, settings.pop3_proxy_port, False)]
    if resources.tls is not None:
        ports.append(("pop3s", settings.pop3s_port, settings.pop3s_proxy_port, True))
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
            refuse=TOO_MANY_CONNECTIONS,
            failed=INTERNAL_ERROR,
        )
        for name, port, proxy_port, implicit_tls in ports
        for door in settings.doors(name, port, proxy_port)
    ]
