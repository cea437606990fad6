"""TLS contexts: Mozilla's intermediate profile (1.2 and 1.3), certificates that are renewed while we run."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

from postroom_runtime.errors import ConfigurationError
from postroom_runtime.logs import log

CHECK_SECONDS: Final = 10.0

# Mozilla's intermediate profile for TLS 1.2, in its order; 1.3 has its own.
_CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
    ":ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
    ":ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A certificate chain and its key, in PEM."""

    cert_file: Path
    key_file: Path


@dataclass(frozen=True, slots=True)
class GrpcTls:
    """Mutual TLS between services: our certificate and key, and the authority that signed the others."""

    cert_file: Path
    key_file: Path
    ca_file: Path


def server_context(cert_file: Path, key_file: Path) -> ssl.SSLContext:
    """For public listeners; raises `ConfigurationError` when a file is absent or the two do not match."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    # Renegotiation costs us more than the peer; compression leaks (CRIME).
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    try:
        context.load_cert_chain(cert_file, key_file)
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"{cert_file}, {key_file}: {error.reason or 'no certificate and key'}"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{cert_file}, {key_file}: {error.strerror}") from None
    return context


def opportunistic_client_context() -> ssl.SSLContext:
    """For SMTP to hosts that promise nothing: encrypts, verifies nobody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def verifying_client_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """Checks the certificate and its name, against `ca_file` or the system's authorities."""
    context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class CertificateReloader:
    """The context for new connections. A renewed certificate is taken over; a broken one is not."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._next_check = monotonic() + CHECK_SECONDS
        self._seen = self._stamp()
        self._context = server_context(files.cert_file, files.key_file)

    @property
    def context(self) -> ssl.SSLContext:
        """For the next connection; what is established keeps its own. Looks at the files now and then."""
        if (now := monotonic()) >= self._next_check:
            self._next_check = now + CHECK_SECONDS
            try:
                if self.check():
                    log.info("certificate_renewed", file=str(self._files.cert_file))
            except ConfigurationError as error:
                log.error("certificate_refused", error=str(error))
        return self._context

    def check(self) -> bool:
        """Look at the files; True when a new certificate was taken over.

        Raises `ConfigurationError` once when a change is bad; the old certificate stays in use.
        """
        if (stamp := self._stamp()) == self._seen:
            return False
        self._seen = stamp
        self._context = server_context(self._files.cert_file, self._files.key_file)
        return True

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        try:
            found = [file.stat() for file in (self._files.cert_file, self._files.key_file)]
        except OSError as error:
            raise ConfigurationError(f"{error.filename}: {error.strerror}") from None
        return tuple((status.st_ino, status.st_mtime_ns, status.st_size) for status in found)
