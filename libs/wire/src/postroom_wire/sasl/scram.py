"""SCRAM-SHA-256 (RFC 5802, RFC 7677): its messages, and the keys behind them."""

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Final

from postroom_wire.sasl.attempts import ScramOpening, ScramProof
from postroom_wire.sasl.channel import Channel
from postroom_wire.sasl.errors import SaslError
from postroom_wire.sasl.saslprep import saslprep

DIGEST_OCTETS: Final = 32

# gs2-header = gs2-cbind-flag "," [ "a=" saslname ] ","; gs2-cbind-flag = ("p=" cb-name) / "n" / "y"
_GS2_HEADER: Final = re.compile(rb"(?:p=([A-Za-z0-9.-]{1,64})|([ny])),(?:a=([^,]{1,1024}))?,")
# client-first-message-bare = [reserved-mext ","] username "," nonce ["," extensions]; a mandatory
# extension ("m=") is none that we know.
_FIRST_BARE: Final = re.compile(
    rb"n=([^,\x00]{1,1024}),r=([!-+\--~]{1,256})(?:,[A-Za-z]=[^\x00]*)?", re.ASCII
)
# client-final-message = channel-binding "," nonce ["," extensions] "," proof
_FINAL: Final = re.compile(
    rb"(c=([A-Za-z0-9+/=]{1,8192}),r=([!-+\--~]{1,512})(?:,[A-Za-z]=[^\x00]*)?),p=([A-Za-z0-9+/=]{1,128})"
)
_SERVER_FIRST: Final = re.compile(rb"r=([!-+\--~]{1,512}),s=([A-Za-z0-9+/=]+),i=([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Keys:
    """What is kept of a password."""

    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Opening:
    """The client's first message, and what its last one has to repeat."""

    message: ScramOpening
    cbind_input: bytes


def parse_opening(octets: bytes, channel: Channel, *, plus: bool, plus_offered: bool) -> Opening:
    """client-first-message, to the mechanism with or without -PLUS.

    Raises `SaslError`, also for a binding that cannot be.
    """
    header = _GS2_HEADER.match(octets)
    if header is None or (bare := _FIRST_BARE.fullmatch(octets, header.end())) is None:
        raise SaslError("not a first message of SCRAM")
    if plus != (header[1] is not None):
        raise SaslError("the mechanism and its binding differ", malformed=False)
    if header[2] == b"y" and plus_offered:  # somebody between us took -PLUS out of our list, s6
        raise SaslError("the offer was changed on its way", malformed=False)
    bound = b"" if header[1] is None else _binding(header[1], channel)
    authorization_id = b"" if header[3] is None else header[3]
    return Opening(
        ScramOpening(
            _saslname(authorization_id),
            _saslname(bare[1]),
            bare[2].decode("ascii"),
            octets[header.end() :],
        ),
        header[0] + bound,
    )


def parse_bare(octets: bytes) -> ScramOpening:
    """client-first-message-bare, from whoever took it out of its message. Raises `SaslError`."""
    if (bare := _FIRST_BARE.fullmatch(octets)) is None:
        raise SaslError("not a first message of SCRAM")
    return ScramOpening("", _saslname(bare[1]), bare[2].decode("ascii"), octets)


def parse_proof(octets: bytes, opening: Opening, server_first: bytes) -> ScramProof:
    """client-final-message. Raises `SaslError`, also where nonce or channel are not this exchange's."""
    found, first = _FINAL.fullmatch(octets), _SERVER_FIRST.fullmatch(server_first)
    if found is None or first is None:
        raise SaslError("not a last message of SCRAM")
    binding, proof = _unbase64(found[2]), _unbase64(found[4])
    if found[3] != first[1]:
        raise SaslError("another nonce", malformed=False)
    if not hmac.compare_digest(binding, opening.cbind_input):
        raise SaslError("another channel", malformed=False)
    if len(proof) != DIGEST_OCTETS:
        raise SaslError("not a proof")
    return ScramProof(opening.message, server_first, found[1], proof)


def server_first(opening: ScramOpening, nonce: str, salt: bytes, iterations: int) -> bytes:
    """server-first-message; `nonce` is our part of it: printable, without a comma."""
    said = f"r={opening.nonce}{nonce},s={base64.b64encode(salt).decode()},i={iterations}"
    return said.encode("ascii")


def server_nonce(opening: ScramOpening, server_first: bytes) -> str:
    """Our part of the nonce in a server-first-message. Raises `SaslError` when it is not one to `opening`."""
    found, own = _SERVER_FIRST.fullmatch(server_first), opening.nonce.encode()
    if found is None or not found[1].startswith(own) or len(found[1]) == len(own):
        raise SaslError("not our first message")
    return found[1][len(own) :].decode()


def server_final(signature: bytes) -> bytes:
    """server-final-message: by it the client knows us."""
    return b"v=" + base64.b64encode(signature)


def derive_keys(password: str, salt: bytes, iterations: int) -> Keys:
    """What to keep. Raises `PreparationError`; takes time in proportion to `iterations` (RFC 5802 s3)."""
    salted = hashlib.pbkdf2_hmac("sha256", saslprep(password).encode(), salt, iterations)
    client_key = _hmac(salted, b"Client Key")
    return Keys(salt, iterations, hashlib.sha256(client_key).digest(), _hmac(salted, b"Server Key"))


def is_proven(proof: ScramProof, keys: Keys) -> bool:
    """Whether the client knows the password: ClientKey = ClientProof XOR ClientSignature."""
    signature = _hmac(keys.stored_key, proof.auth_message)
    client_key = bytes(a ^ b for a, b in zip(proof.proof, signature, strict=True))
    return hmac.compare_digest(hashlib.sha256(client_key).digest(), keys.stored_key)


def server_signature(proof: ScramProof, keys: Keys) -> bytes:
    """By which we show that we have the keys."""
    return _hmac(keys.server_key, proof.auth_message)


def _binding(kind: bytes, channel: Channel) -> bytes:
    if (data := channel.bindings.get(kind.decode("ascii"))) is None:
        raise SaslError("a binding that we do not have", malformed=False)
    return data


def _saslname(octets: bytes) -> str:
    """saslname: "," is =2C and "=" is =3D; any other "=" is wrong."""
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise SaslError("a name that is not UTF-8") from None
    if "=" in re.sub("=2C|=3D", "", text) or "\0" in text:
        raise SaslError("a name in the wrong dress")
    return text.replace("=2C", ",").replace("=3D", "=")


def _unbase64(octets: bytes) -> bytes:
    try:
        return base64.b64decode(octets, validate=True)
    except binascii.Error:
        raise SaslError("not BASE64") from None


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")
