"""What all sessions of a process share."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from ftp_gateway.data import DataSettings
from ftp_gateway.logins import Logins
from ftp_gateway.passive import PassivePorts
from ftp_gateway.seats import Seats
from ftp_gateway.transfer import RunningTransfer
from postroom.filestore.v1.file_pb2_grpc import FileServiceStub
from postroom_runtime.errors import ConfigurationError
from postroom_runtime.logs import log
from postroom_runtime.tls import TlsFiles, server_context
from postroom_runtime.transfer import Transfers

_CONTROL_TICKETS = 4
"""For the control connection, so that its client has one for each of several data connections."""


class SessionContexts:
    """One TLS context for each session, so that a data connection which resumes it belongs to it."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._last = self._load()

    def make(self) -> ssl.SSLContext:
        """For the next session, with the certificate as it is now; the last good one when it is broken."""
        try:
            self._last = self._load()
        except ConfigurationError as error:
            log.error("certificate_refused", error=str(error))
        return self._last

    def _load(self) -> ssl.SSLContext:
        context = server_context(self._files.cert_file, self._files.key_file)
        context.num_tickets = _CONTROL_TICKETS
        return context


@dataclass(frozen=True, slots=True)
class House:
    """`contexts` is None without a certificate. `transfers` are all that run."""

    files: FileServiceStub
    logins: Logins
    transfers: Transfers
    passive_ports: PassivePorts
    passive_address: IPv4Address | None
    data: DataSettings
    seats: Seats
    contexts: Callable[[], ssl.SSLContext] | None
    idle_seconds: float
    login_seconds: float
    running: set[RunningTransfer] = field(default_factory=set[RunningTransfer])
