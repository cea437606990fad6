"""Certificates last over restarts and are renewed in time."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509
from cryptography.x509.oid import NameOID

from postroom_embedded.certificates import ensure_certificates
from postroom_embedded.errors import CorruptConfigurationError
from postroom_embedded.instance import Instance

NAMES = ["localhost", "127.0.0.1"]
LONG = f"{'a' * 60}.test"
NOW = datetime.now(UTC)


def test_a_restart_keeps_ca_and_certificate(instance: Instance) -> None:
    first = ensure_certificates(instance, "tls", NAMES, now=NOW)
    octets = first.certificate.read_bytes(), first.ca.read_bytes()
    again = ensure_certificates(instance, "tls", NAMES, now=NOW + timedelta(days=300))
    assert (again.certificate.read_bytes(), again.ca.read_bytes()) == octets


@pytest.mark.parametrize(("names", "days"), [(NAMES, 380), ([*NAMES, "mail.postroom.test"], 0)])
def test_the_certificate_is_renewed_by_the_same_ca(instance: Instance, names: list[str], days: int) -> None:
    first = ensure_certificates(instance, "tls", NAMES, now=NOW)
    octets, ca = first.certificate.read_bytes(), first.ca.read_bytes()
    later = NOW + timedelta(days=days)
    again = ensure_certificates(instance, "tls", names, now=later)
    assert again.certificate.read_bytes() != octets
    assert again.ca.read_bytes() == ca
    renewed = x509.load_pem_x509_certificate(again.certificate.read_bytes())
    assert renewed.not_valid_after_utc > later + timedelta(days=300)
    renewed.verify_directly_issued_by(x509.load_pem_x509_certificate(ca))
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(again.certificate, again.key)


def test_a_damaged_certificate_is_made_anew_and_a_damaged_ca_is_not(instance: Instance) -> None:
    paths = ensure_certificates(instance, "tls", NAMES, now=NOW)
    paths.certificate.write_text("rubbish")
    ensure_certificates(instance, "tls", NAMES, now=NOW)
    assert "BEGIN CERTIFICATE" in paths.certificate.read_text()
    paths.ca.write_text("rubbish")
    with pytest.raises(CorruptConfigurationError, match=r"ca\.pem is corrupt"):
        ensure_certificates(instance, "tls", NAMES, now=NOW)


@pytest.mark.parametrize(
    ("names", "common"),
    [(NAMES, ["localhost"]), ([LONG, "short.test"], ["short.test"]), ([LONG], [])],
)
def test_the_certificate_has_a_common_name(instance: Instance, names: list[str], common: list[str]) -> None:
    paths = ensure_certificates(instance, "tls", names, now=NOW)
    made = x509.load_pem_x509_certificate(paths.certificate.read_bytes())
    assert [each.value for each in made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == common
    octets = paths.certificate.read_bytes()
    assert ensure_certificates(instance, "tls", names, now=NOW).certificate.read_bytes() == octets


def test_a_certificate_without_a_common_name_is_made_anew(instance: Instance) -> None:
    paths = ensure_certificates(instance, "tls", NAMES, now=NOW)
    authority = trustme.CA.from_pem(paths.ca.read_bytes(), paths.ca.with_name("ca.key").read_bytes())
    issued = authority.issue_cert(*NAMES)
    paths.key.write_bytes(issued.private_key_pem.bytes())
    paths.certificate.write_bytes(issued.cert_chain_pems[0].bytes())
    ensure_certificates(instance, "tls", NAMES, now=NOW)
    made = x509.load_pem_x509_certificate(paths.certificate.read_bytes())
    assert [each.value for each in made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["localhost"]
