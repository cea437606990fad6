"""Client certificates (SASL EXTERNAL): whose they are says the rfc822Name in their subjectAltName.

The edge saw in the handshake that the client has the key. Whether the certificate is any good is looked at
here again, so that an edge cannot make one up.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from asyncpg import Record
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    ClientVerifier,
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from directory.addresses import Address, parse_address
from directory.authentication import Asked, Authenticator, Login, Right
from directory.limits import Limits
from postroom_contracts.errors import InvalidAddressError, InvalidRequestError
from postroom_runtime.errors import ConfigurationError
from postroom_runtime.logs import log
from postroom_runtime.tls import FileWatch


def _is_for_clients(_: Policy, __: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    """RFC 5280 s4.2.1.12. Raises `ValueError`."""
    if usage is not None and not {_CLIENT_AUTH, _ANY_USAGE}.intersection(usage):
        raise ValueError("not a client's certificate")


_CLIENT_AUTH: Final = ExtendedKeyUsageOID.CLIENT_AUTH
_ANY_USAGE: Final = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
_CA: Final = ExtensionPolicy.webpki_defaults_ca()
# Houses' own authorities do not follow the web's rules for what is critical.
_CLIENT: Final = (
    ExtensionPolicy.permit_all()
    .require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _is_for_clients)
)


class ClientCertificates:
    """Without an authority nobody gets in."""

    def __init__(self, authenticator: Authenticator, limits: Limits, ca_file: Path | None) -> None:
        """Raises `ConfigurationError`."""
        self._authenticator = authenticator
        self._limits = limits
        self._authorities = None if ca_file is None else _Authorities(ca_file)

    async def authenticate(self, certificate: bytes, authorization_id: str, asked: Asked) -> Login:
        """Raises as `Authenticator.authenticate`."""
        named = self._named(certificate)
        address = _chosen(named, authorization_id)

        async def prove(row: Record | None) -> Right | None:
            return None if address is None or row is None else Right()

        return await self._authenticator.log_in(str(address or authorization_id), asked, prove)

    def _named(self, certificate: bytes) -> Sequence[Address]:
        """The addresses in a certificate that is good now; none in another."""
        if self._authorities is None or not 0 < len(certificate) <= self._limits.certificate:
            return ()
        try:
            found = x509.load_der_x509_certificate(certificate)
            verified = self._verifier(self._authorities.store).verify(found, [])
        except (ValueError, VerificationError) as error:
            log.info("certificate_refused", error=type(error).__name__)
            return ()
        names = [name.value for name in verified.subjects or [] if isinstance(name, x509.RFC822Name)]
        return [address for name in names if (address := _address(name)) is not None]

    def _verifier(self, authorities: Store) -> ClientVerifier:
        policy = PolicyBuilder().extension_policies(ca_policy=_CA, ee_policy=_CLIENT)
        return policy.store(authorities).build_client_verifier()  # as of now


class _Authorities:
    """Of a file that may be renewed; what is no good in it is logged, and those before it stay."""

    def __init__(self, ca_file: Path) -> None:
        """Raises `ConfigurationError`."""
        self._file = ca_file
        self._watch = FileWatch((ca_file,))
        self._store = _authorities(ca_file)

    @property
    def store(self) -> Store:
        """As of now, or of a moment ago."""
        if self._watch.is_due():
            try:
                if self._watch.has_changed():
                    self._store = _authorities(self._file)
                    log.info("client_authorities_renewed", file=str(self._file))
            except ConfigurationError as error:
                log.error("client_authorities_refused", error=str(error))
        return self._store


def _chosen(named: Sequence[Address], authorization_id: str) -> Address | None:
    if not authorization_id:
        return named[0] if named else None
    wanted = _address(authorization_id)
    return next((address for address in named if wanted is not None and address.is_same(wanted)), None)


def _address(text: str) -> Address | None:
    try:
        return parse_address(text)
    except (InvalidAddressError, InvalidRequestError):
        return None


def _authorities(ca_file: Path) -> Store:
    try:
        return Store(x509.load_pem_x509_certificates(ca_file.read_bytes()))
    except OSError as error:
        raise ConfigurationError(f"{ca_file}: {error.strerror}") from None
    except ValueError:
        raise ConfigurationError(f"{ca_file}: no certificate") from None
