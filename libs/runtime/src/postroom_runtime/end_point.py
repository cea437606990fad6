"""The channel binding `tls-server-end-point` (RFC 5929 s4): a digest of our certificate.

It is the one that can be had: Python's `ssl` exports no keying material (RFC 9266), and `tls-unique` is
nothing in TLS 1.3.
"""

import hashlib
from typing import Final

END_POINT: Final = "tls-server-end-point"

_SEQUENCE: Final = 0x30
_OID: Final = 0x06

# The signature algorithms (RFC 4055, RFC 5758) by the digest within. RFC 5929 s4.1: MD5 and SHA-1 give way
# to SHA-256; what has none of its own (Ed25519, RSASSA-PSS in its parameters) has no such binding.
_RSA: Final = bytes.fromhex("2a864886f70d0101")
_ECDSA: Final = bytes.fromhex("2a8648ce3d04")
_DIGESTS: Final = {
    _RSA + b"\x04": "sha256",
    _RSA + b"\x05": "sha256",
    _RSA + b"\x0b": "sha256",
    _RSA + b"\x0c": "sha384",
    _RSA + b"\x0d": "sha512",
    _ECDSA + b"\x01": "sha256",
    _ECDSA + b"\x03\x02": "sha256",
    _ECDSA + b"\x03\x03": "sha384",
    _ECDSA + b"\x03\x04": "sha512",
}


def end_point_of(certificate: bytes) -> bytes | None:
    """The binding of a certificate in DER; None when it has none."""
    try:
        # Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OID, ... }, ... }
        start, _ = _contents(certificate, 0, _SEQUENCE)
        _, tbs_end = _contents(certificate, start, _SEQUENCE)
        algorithm, _ = _contents(certificate, tbs_end, _SEQUENCE)
        first, last = _contents(certificate, algorithm, _OID)
    except (IndexError, ValueError):
        return None
    digest = _DIGESTS.get(certificate[first:last])
    return None if digest is None else hashlib.new(digest, certificate).digest()


def _contents(der: bytes, at: int, tag: int) -> tuple[int, int]:
    """Where the contents of the element at `at` begin and end. Raises `ValueError`, `IndexError`."""
    if der[at] != tag:
        raise ValueError("another element")
    length, start = der[at + 1], at + 2
    if length & 0x80:
        octets = length & 0x7F
        length, start = int.from_bytes(der[start : start + octets]), start + octets
    return start, start + length
