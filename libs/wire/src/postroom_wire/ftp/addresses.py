"""Where data connections go: PORT and PASV (RFC 959 s4.1.2), EPRT and EPSV (RFC 2428)."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, TypeAlias

from postroom_wire.ftp.errors import RemoteProtocolError
from postroom_wire.ftp.replies import Reply
from postroom_wire.ftp.standard_replies import (
    BAD_ARGUMENT,
    FOREIGN_ADDRESS,
    PORT_NEEDS_IPV4,
    USE_PROTOCOL_1,
    USE_PROTOCOL_2,
    WELL_KNOWN_PORT,
)

Address: TypeAlias = IPv4Address | IPv6Address

_MIN_PORT: Final = 1024
# host-port = number "," number "," number "," number "," number "," number
_HOST_PORT: Final = re.compile(rb"(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3})")
_NUMBER: Final = re.compile(rb"\d{1,5}")
_EPRT_PARTS: Final = 5
_NET_ADDRESS: Final = re.compile(rb"[0-9A-Fa-f.:]{2,45}")
_IPV4_PROTOCOL: Final = 1


def plain_address(text: str) -> Address:
    """The address in `text` as a socket tells it: IPv4 where it is IPv4 within IPv6, without a zone.

    Raises `ValueError` for what is no address.
    """
    match ip_address(text):
        case IPv6Address() as address:
            return address.ipv4_mapped or IPv6Address(int(address))
        case address:
            return address


def protocol_number(address: Address) -> int:
    """The address family in RFC 2428 s2: 1 for IPv4, 2 for IPv6."""
    return 1 if address.version == 4 else 2


def use_protocol_of(address: Address) -> Reply:
    """The 522 reply that names the one protocol which works on this control connection."""
    return USE_PROTOCOL_1 if protocol_number(address) == _IPV4_PROTOCOL else USE_PROTOCOL_2


def parse_port(argument: bytes, peer: Address) -> int:
    """The client's data port in `h1,h2,h3,h4,p1,p2`.

    Only the port is told, since the address must be the `peer` of the control connection: whoever connects
    there cannot be made to bounce (RFC 2577, RFC 4217 s15.2.1). Raises `RemoteProtocolError`: 501 for a
    syntax error or a foreign address, 504 for a port below 1024.
    """
    if (found := _HOST_PORT.fullmatch(argument.strip(b" "))) is None:
        raise RemoteProtocolError(BAD_ARGUMENT)
    numbers = [int(number) for number in found.groups()]
    if max(numbers) > 255:
        raise RemoteProtocolError(BAD_ARGUMENT)
    if peer.version != 4:
        raise RemoteProtocolError(PORT_NEEDS_IPV4)
    return _allowed(IPv4Address(bytes(numbers[:4])), numbers[4] * 256 + numbers[5], peer)


def parse_extended_port(argument: bytes, peer: Address) -> int:
    """The client's data port in `|protocol|address|port|`, with the rules of `parse_port`.

    Raises `RemoteProtocolError` with 522 too, for a protocol that is not that of the control connection.
    """
    # EPRT<space><d><net-prt><d><net-addr><d><tcp-port><d>
    argument = argument.strip(b" ")
    delimiter = argument[:1]
    parts = argument.split(delimiter) if b"!" <= delimiter <= b"~" else []
    if len(parts) != _EPRT_PARTS or parts[0] or parts[4]:
        raise RemoteProtocolError(BAD_ARGUMENT)
    protocol, address, port = parts[1:4]
    if not (_NUMBER.fullmatch(protocol) and _NET_ADDRESS.fullmatch(address) and _NUMBER.fullmatch(port)):
        raise RemoteProtocolError(BAD_ARGUMENT)
    if int(protocol) != protocol_number(peer):
        raise RemoteProtocolError(use_protocol_of(peer))
    try:
        host = ip_address(address.decode("ascii"))
    except ValueError:
        raise RemoteProtocolError(BAD_ARGUMENT) from None
    if protocol_number(host) != int(protocol):
        raise RemoteProtocolError(BAD_ARGUMENT)
    return _allowed(host, int(port), peer)


def _allowed(host: Address, port: int, peer: Address) -> int:
    if not 0 < port < 65_536:
        raise RemoteProtocolError(BAD_ARGUMENT)
    if host != peer:
        raise RemoteProtocolError(FOREIGN_ADDRESS)
    if port < _MIN_PORT:
        raise RemoteProtocolError(WELL_KNOWN_PORT)
    return port


def passive(address: IPv4Address, port: int) -> Reply:
    """The answer to PASV: the address that the client is to use, which may not be the one we listen on."""
    fields = ",".join(str(number) for number in (*address.packed, port >> 8, port & 255))
    return Reply(227, f"Entering Passive Mode ({fields})")


def extended_passive(port: int) -> Reply:
    """The answer to EPSV: RFC 2428 s3."""
    return Reply(229, f"Entering Extended Passive Mode (|||{port}|)")
