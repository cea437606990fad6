"""What a certificate binds a login to, and who is asked for one."""

import hashlib
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as rsa_key
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from postroom_runtime.end_point import end_point_of
from postroom_runtime.errors import ConfigurationError
from postroom_runtime.tls import CertificateReloader, TlsFiles, server_context
from postroom_testing.certificates import CertificateAuthority


def certificate(key: CertificateIssuerPrivateKeyTypes, digest: SHA256 | SHA384 | SHA512 | None) -> bytes:
    """One that signs itself, in DER."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail.example")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=now,
        not_valid_after=now + timedelta(days=1),
    )
    return builder.sign(key, digest).public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("key", "digest", "name"),
    [
        (rsa_key(65537, 2048), SHA256(), "sha256"),
        (rsa_key(65537, 2048), SHA512(), "sha512"),
        (ec_key(SECP384R1()), SHA256(), "sha256"),
        (ec_key(SECP384R1()), SHA384(), "sha384"),
    ],
    ids=["rsa-sha256", "rsa-sha512", "ecdsa-sha256", "ecdsa-sha384"],
)
def test_the_binding_is_a_digest_by_the_signature_s_own_hash(
    key: CertificateIssuerPrivateKeyTypes, digest: SHA256 | SHA384 | SHA512, name: str
) -> None:
    der = certificate(key, digest)
    assert end_point_of(der) == hashlib.new(name, der).digest()


def test_a_signature_without_a_hash_of_its_own_binds_nothing() -> None:
    assert end_point_of(certificate(Ed25519PrivateKey.generate(), None)) is None


@given(st.binary(max_size=40))
def test_what_is_no_certificate_binds_nothing(octets: bytes) -> None:
    assert end_point_of(b"\x30" + octets) is None


def test_clients_are_asked_for_certificates_where_there_is_an_authority(tmp_path: Path) -> None:
    issued = CertificateAuthority(tmp_path / "ours").issue("localhost")
    authority = CertificateAuthority(tmp_path / "clients").ca_file
    plain = server_context(issued.cert_file, issued.key_file)
    asking = CertificateReloader(TlsFiles(issued.cert_file, issued.key_file, authority)).context
    assert (plain.verify_mode, asking.verify_mode) == (ssl.CERT_NONE, ssl.CERT_OPTIONAL)
    der = ssl.PEM_cert_to_DER_cert(issued.cert_file.read_text().split("-----END")[0] + _END)
    assert plain.end_point == hashlib.sha256(der).digest()


_END = "-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_authority_that_is_none_is_refused(tmp_path: Path, content: str | None) -> None:
    issued = CertificateAuthority(tmp_path).issue("localhost")
    authority = tmp_path / "clients.pem"
    if content is not None:
        authority.write_text(content)
    with pytest.raises(ConfigurationError, match=r"clients\.pem"):
        server_context(issued.cert_file, issued.key_file, authority)
