"""Certificates of one machine: a CA of its own and what it signs, kept over restarts and renewed in time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.x509.oid import NameOID

from postroom_embedded.errors import CorruptConfigurationError
from postroom_embedded.instance import Instance

_SERVER_DAYS = 397  # what clients accept at most
_RENEW_DAYS = 30
_LONGEST_COMMON_NAME = 64


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files in PEM: the CA to trust, and a server's chain and key."""

    ca: Path
    certificate: Path
    key: Path


def ensure_certificates(
    instance: Instance, directory: str, names: Sequence[str], *, now: datetime | None = None
) -> Certificates:
    """The certificates in `<data>/<directory>`, made where they are missing. Blocks for some milliseconds.

    The CA is made once and lasts, since people install it; the server's certificate is renewed 30 days before
    it expires, and when a name is new. Some clients (offlineimap) take no certificate without a common name.
    Raises CorruptConfigurationError when the CA cannot be read.
    """
    now = now or datetime.now(UTC)
    place = instance.make_directory(directory)
    paths = Certificates(place / "ca.pem", place / "server.pem", place / "server.key")
    authority_key = place / "ca.key"
    if paths.ca.exists() or authority_key.exists():
        authority = _load_authority(paths.ca, authority_key)
        if _is_current(paths, names, now):
            return paths
    else:
        authority = trustme.CA(organization_name="Postroom", organization_unit_name="Postroom's own CA")
        instance.write(authority_key, authority.private_key_pem.bytes().decode())
        instance.write(paths.ca, authority.cert_pem.bytes().decode())
    issued = authority.issue_cert(
        *names,
        common_name=_common_name(names),
        not_before=now - timedelta(days=1),
        not_after=now + timedelta(days=_SERVER_DAYS),
    )
    instance.write(paths.key, issued.private_key_pem.bytes().decode())
    instance.write(paths.certificate, "".join(part.bytes().decode() for part in issued.cert_chain_pems))
    return paths


def _common_name(names: Sequence[str]) -> str | None:
    """The first name that is short enough to be one."""
    return next((name for name in names if len(name) <= _LONGEST_COMMON_NAME), None)


def _load_authority(certificate: Path, key: Path) -> trustme.CA:
    try:
        return trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes())
    except (OSError, ValueError) as error:
        raise CorruptConfigurationError(certificate, "it and its key are not what Postroom wrote") from error


def _is_current(paths: Certificates, names: Sequence[str], now: datetime) -> bool:
    """Whether the server's certificate is of this CA, lasts long enough and has all the names.

    One without a common name is of an older Postroom.
    """
    try:
        certificate = x509.load_pem_x509_certificate(paths.certificate.read_bytes())
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(paths.ca.read_bytes()))
        known = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, x509.ExtensionNotFound):
        return False
    texts = {str(name.value) for name in known}
    common = {str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)}
    lasts = certificate.not_valid_after_utc - now > timedelta(days=_RENEW_DAYS)
    named = set(names) <= texts and common == {_common_name(names)} - {None}
    return lasts and named and paths.key.exists()
