"""TLS contexts: Mozilla's intermediate profile (1.2 and 1.3), certificates that are renewed while we run."""

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

from postroom_runtime.end_point import end_point_of
from postroom_runtime.errors import ConfigurationError
from postroom_runtime.logs import log

CHECK_SECONDS: Final = 10.0

# Mozilla's intermediate profile for TLS 1.2, in its order; 1.3 has its own.
_CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
    ":ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
    ":ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)


_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A certificate chain and its key, in PEM; `client_ca_file`: who signs certificates of clients."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None

    @property
    def all(self) -> tuple[Path, ...]:
        """The files."""
        files = (self.cert_file, self.key_file)
        return files if self.client_ca_file is None else (*files, self.client_ca_file)


@dataclass(frozen=True, slots=True)
class GrpcTls:
    """Mutual TLS between services: our certificate and key, and the authority that signed the others."""

    cert_file: Path
    key_file: Path
    ca_file: Path


class ServerContext(ssl.SSLContext):
    """A context that knows what its certificate binds a login to; None where that has no binding."""

    end_point: bytes | None = None


def server_context(cert_file: Path, key_file: Path, client_ca_file: Path | None = None) -> ServerContext:
    """For public listeners; raises `ConfigurationError` when a file is absent or the two do not match.

    Clients are asked for a certificate only where there is an authority: then they may have none, and a wrong
    one ends the handshake.
    """
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
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
    context.end_point = _end_point(cert_file)
    if client_ca_file is not None:
        _ask_for_certificates(context, client_ca_file)
    return context


def _end_point(cert_file: Path) -> bytes | None:
    """Of the first certificate of the file, which is ours."""
    try:
        found = _CERTIFICATE.search(cert_file.read_text("ascii", "replace"))
        return None if found is None else end_point_of(ssl.PEM_cert_to_DER_cert(found[0]))
    except (OSError, ValueError):
        return None


def _ask_for_certificates(context: ssl.SSLContext, client_ca_file: Path) -> None:
    try:
        context.load_verify_locations(client_ca_file)
    except ssl.SSLError:
        raise ConfigurationError(f"{client_ca_file}: no certificate") from None
    except OSError as error:
        raise ConfigurationError(f"{client_ca_file}: {error.strerror}") from None
    context.verify_mode = ssl.CERT_OPTIONAL


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
        self._watch = FileWatch(files.all)
        self._context = self._make()

    @property
    def context(self) -> ssl.SSLContext:
        """For the next connection; what is established keeps its own. Looks at the files now and then."""
        if self._watch.is_due():
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
        if not self._watch.has_changed():
            return False
        self._context = self._make()
        return True

    def _make(self) -> ServerContext:
        return server_context(self._files.cert_file, self._files.key_file, self._files.client_ca_file)


@dataclass(frozen=True, slots=True)
class GrpcPems:
    """What `GrpcTls` names, as gRPC takes it."""

    authority: bytes
    key: bytes
    chain: bytes


class GrpcTlsReloader:
    """The files of mutual TLS, read again when they change; a change that is broken is not taken over."""

    def __init__(self, tls: GrpcTls) -> None:
        self._tls = tls
        self._watch = FileWatch((tls.cert_file, tls.key_file, tls.ca_file))
        self.pems = self._read()

    def renew(self) -> GrpcPems | None:
        """The new files, once when they have changed; looks at them now and then."""
        if not self._watch.is_due():
            return None
        try:
            if not self._watch.has_changed():
                return None
            self.pems = self._read()
        except ConfigurationError as error:
            log.error("certificate_refused", error=str(error))
            return None
        log.info("certificate_renewed", file=str(self._tls.cert_file))
        return self.pems

    def _read(self) -> GrpcPems:
        """gRPC would say nothing of a wrong pair, only fail every handshake. Raises `ConfigurationError`."""
        tls = self._tls
        context = server_context(tls.cert_file, tls.key_file)
        try:
            context.load_verify_locations(tls.ca_file)
            pems = GrpcPems(*(file.read_bytes() for file in (tls.ca_file, tls.key_file, tls.cert_file)))
        except ssl.SSLError:
            raise ConfigurationError(f"{tls.ca_file}: no certificate") from None
        except OSError as error:
            raise ConfigurationError(f"{error.filename or tls.ca_file}: {error.strerror}") from None
        if self._watch.is_newer():  # than what was checked
            self._watch.forget()
            raise ConfigurationError(f"{tls.cert_file}: changed while it was read")
        return pems


class FileWatch:
    """Files that may change. A Kubernetes secret's do by one symbolic link, which `stat` follows."""

    def __init__(self, files: tuple[Path, ...]) -> None:
        self._files = files
        self._next_check = monotonic() + CHECK_SECONDS
        self._seen = self._stamp()

    def is_due(self) -> bool:
        """Whether it is time to look again."""
        if (now := monotonic()) < self._next_check:
            return False
        self._next_check = now + CHECK_SECONDS
        return True

    def is_newer(self) -> bool:
        """Whether they are others than at the last look. Raises `ConfigurationError` when one is away."""
        return self._stamp() != self._seen

    def has_changed(self) -> bool:
        """The same, and that was a look."""
        stamp, before = self._stamp(), self._seen
        self._seen = stamp
        return stamp != before

    def forget(self) -> None:
        """At the next look they have changed."""
        self._seen = ()

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        try:
            found = [file.stat() for file in self._files]
        except OSError as error:
            raise ConfigurationError(f"{error.filename}: {error.strerror}") from None
        return tuple((status.st_ino, status.st_mtime_ns, status.st_size) for status in found)
