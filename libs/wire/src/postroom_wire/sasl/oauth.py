"""OAUTHBEARER (RFC 7628) and XOAUTH2: an access token in the client's first message."""

import re
from typing import Final

from postroom_wire.sasl.attempts import Bearer
from postroom_wire.sasl.errors import SaslError

INVALID_TOKEN: Final = b'{"status":"invalid_token"}'
"""RFC 7628 s3.2.2."""
XOAUTH2_REFUSED: Final = b'{"status":"401","schemes":"bearer"}'
ACKNOWLEDGED: Final = (b"\x01", b"")
"""RFC 7628 s3.2.3; XOAUTH2's clients send an empty response."""

# gs2-header kvsep *kvpair kvsep, without channel binding; kvpair = key "=" value kvsep
_OAUTHBEARER: Final = re.compile(rb"[ny],(?:a=([^,\x01]{1,1024}))?,\x01((?:[A-Za-z]+=[\t\n\r -~]*\x01)*)\x01")
_XOAUTH2: Final = re.compile(rb"user=([^\x01]{1,1024})\x01auth=([\t -~]*)\x01\x01")
# RFC 6750 s2.1: b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="
_TOKEN: Final = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)


def parse_oauthbearer(octets: bytes) -> Bearer:
    """client-resp, RFC 7628 s3.1. Raises `SaslError`."""
    if (found := _OAUTHBEARER.fullmatch(octets)) is None:
        raise SaslError("not a response of OAUTHBEARER")
    pairs = dict(pair.split(b"=", 1) for pair in found[2].split(b"\x01") if pair)
    authorization_id = "" if found[1] is None else _text(found[1]).replace("=2C", ",").replace("=3D", "=")
    return Bearer(authorization_id, _token(pairs.get(b"auth", b"")))


def parse_xoauth2(octets: bytes) -> Bearer:
    """ "user=" {User} ^A "auth=Bearer " {Access Token} ^A ^A. Raises `SaslError`."""
    if (found := _XOAUTH2.fullmatch(octets)) is None:
        raise SaslError("not a response of XOAUTH2")
    return Bearer(_text(found[1]), _token(found[2]))


def _token(authorization: bytes) -> str:
    if (found := _TOKEN.fullmatch(_text(authorization))) is None:
        raise SaslError("no bearer token")
    return found[1]


def _text(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise SaslError("not UTF-8") from None
