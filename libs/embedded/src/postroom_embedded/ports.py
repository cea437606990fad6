"""Loopback ports of the inner parts, and whether the outer ports are free."""

import errno
import secrets
import socket

from postroom_embedded.errors import ForbiddenPortError, PortInUseError

LOOPBACK = "127.0.0.1"
# Below Linux's ephemeral range, where an outgoing connection could take the port between two starts of a
# part, and beside the FTP passive ports (30000 on).
_FIRST, _LAST = 20_000, 29_000
_TRIES = 200


def free_ports(count: int) -> list[int]:
    """Different loopback ports that nobody listens on just now."""
    found: list[int] = []
    for _ in range(_TRIES):
        port = _FIRST + secrets.randbelow(_LAST - _FIRST)
        if port not in found and _bind_error(LOOPBACK, port) is None:
            found.append(port)
        if len(found) == count:
            return found
    raise PortInUseError(LOOPBACK, _FIRST, "an inner part", "the machine's other services")


def check_port(address: str, port: int, purpose: str, option: str) -> None:
    """Raise a PortInUseError or a ForbiddenPortError when a service could not listen there."""
    error = _bind_error(address, port)
    if error is None:
        return
    if error.errno == errno.EADDRINUSE:
        raise PortInUseError(address, port, purpose, option)
    reason = "only root may" if error.errno == errno.EACCES else (error.strerror or "it failed").lower()
    raise ForbiddenPortError(address, port, purpose, option, reason)


def _bind_error(address: str, port: int) -> OSError | None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past connections do not count
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError as error:
            return error
    return None
