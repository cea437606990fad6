"""The PROXY protocol, versions 1 and 2, as its receiver reads it: whose connection a balancer passes on.

HAProxy's `proxy-protocol.txt` is its specification; "Section" means one of that.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one header, in octets."""

    v1: int = 107
    """The longest line that there is, its CRLF included (Section 2.1)."""
    v2: int = 4096
    """With its TLVs; 536 is what every receiver must take (Section 2.2)."""


LIMITS: Final = Limits()

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
"""How version 2 begins. Version 1 begins with `PROXY `, and no protocol of ours with either."""

_V1: Final = b"PROXY "
_UNKNOWN: Final = b"PROXY UNKNOWN"
_V2_FIXED: Final = 16
_LOCAL, _PROXY = 0, 1
_UNSPECIFIED, _INET, _INET6, _UNIX = 0, 1, 2, 3
_STREAM: Final = 1
_ADDRESS_OCTETS: Final = {_UNSPECIFIED: 0, _INET: 12, _INET6: 36, _UNIX: 216}
_TRANSPORTS: Final = frozenset({0, _STREAM, 2})
_CRC32C: Final = 3


class RemoteProtocolError(Exception):
    """The peer sent no header, or a wrong one; nothing is answered (Section 2: the connection is ended)."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address, an IPv4 one in its own form, and a port."""

    address: Address
    port: int


@dataclass(frozen=True, slots=True)
class Relayed:
    """Somebody's connection: who made it, and to which address."""

    source: Endpoint
    destination: Endpoint


@dataclass(frozen=True, slots=True)
class Unnamed:
    """A connection of the proxy's own (LOCAL), or of somebody who has no IP address (UNKNOWN, UNIX)."""


Header: TypeAlias = Relayed | Unnamed


class HeaderReader:
    """Reads one header and not one octet more: the next ones may be a TLS handshake's."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._read = bytearray()
        self.header: Header | None = None

    def receive_data(self, octets: bytes) -> int:
        """How many of these belong to the header; `header` is there when that is not all, or all was enough.

        Raises `RemoteProtocolError` as soon as it can be no header.
        """
        if self.header is not None:
            return 0
        before = len(self._read)
        self._read += octets[: self._limits.v2 + 1]
        read = self._read
        if read.startswith(SIGNATURE[: len(read)]):
            end = self._end_of_v2()
        elif read.startswith(_V1[: len(read)]):
            end = self._end_of_v1()
        else:
            raise RemoteProtocolError("no PROXY header")
        if end is None:
            return len(octets)
        taken = end - before
        header = bytes(read[:end])
        self.header = _parse_v2(header) if header.startswith(SIGNATURE) else _parse_v1(header[:-2])
        return taken

    def _end_of_v1(self) -> int | None:
        found = self._read.find(b"\r\n", 0, self._limits.v1)
        if found >= 0:
            return found + 2
        if len(self._read) >= self._limits.v1:
            raise RemoteProtocolError("the line does not end")
        return None

    def _end_of_v2(self) -> int | None:
        if len(self._read) < _V2_FIXED:
            return None
        end = _V2_FIXED + int.from_bytes(self._read[14:16], "big")
        if end > self._limits.v2:
            raise RemoteProtocolError("a header too long")
        return end if len(self._read) >= end else None


# "PROXY" SP ("UNKNOWN" *OCTET / ("TCP4" / "TCP6") SP source SP destination SP port SP port) CRLF
def _parse_v1(line: bytes) -> Header:
    if line == _UNKNOWN or line.startswith(_UNKNOWN + b" "):
        return Unnamed()
    try:
        words = line.decode("ascii").split(" ")
    except UnicodeDecodeError:
        raise RemoteProtocolError("not ASCII") from None
    match words:
        case ["PROXY", "TCP4" | "TCP6" as family, source, destination, source_port, destination_port]:
            return Relayed(
                Endpoint(_v1_address(family, source), _v1_port(source_port)),
                Endpoint(_v1_address(family, destination), _v1_port(destination_port)),
            )
        case _:
            raise RemoteProtocolError("not a line of version 1")


def _v1_address(family: str, text: str) -> Address:
    try:
        if family == "TCP4":
            return IPv4Address(text)
        if "%" in text:
            raise RemoteProtocolError("an address with a zone")
        return _plain(IPv6Address(text))
    except AddressValueError:
        raise RemoteProtocolError("not an address") from None


def _v1_port(text: str) -> int:
    if not text.isdigit() or len(text) > 5 or text != str(int(text)) or int(text) > 65_535:
        raise RemoteProtocolError("not a port")
    return int(text)


def _parse_v2(header: bytes) -> Header:
    version, command = header[12] >> 4, header[12] & 0x0F
    family, transport = header[13] >> 4, header[13] & 0x0F
    if version != 2 or command not in (_LOCAL, _PROXY):
        raise RemoteProtocolError("not version 2")
    if command == _LOCAL:
        return Unnamed()
    if family not in _ADDRESS_OCTETS or transport not in _TRANSPORTS:
        raise RemoteProtocolError("a family or transport that is not specified")
    if family == _UNSPECIFIED:
        return Unnamed()
    start = _V2_FIXED + _ADDRESS_OCTETS[family]
    if start > len(header):
        raise RemoteProtocolError("shorter than its addresses")
    _check_tlvs(header, start)
    if transport != _STREAM or family not in (_INET, _INET6):
        return Unnamed()
    size = 4 if family == _INET else 16
    body = header[_V2_FIXED:start]
    return Relayed(
        _endpoint(body[:size], body[2 * size : 2 * size + 2]),
        _endpoint(body[size : 2 * size], body[2 * size + 2 :]),
    )


def _endpoint(address: bytes, port: bytes) -> Endpoint:
    found = IPv4Address(address) if len(address) == 4 else _plain(IPv6Address(address))
    return Endpoint(found, int.from_bytes(port, "big"))


def _plain(address: IPv6Address) -> Address:
    """An IPv4 client that came over an IPv6 socket is an IPv4 client."""
    return address.ipv4_mapped or address


def _check_tlvs(header: bytes, start: int) -> None:
    """They have to fill the header, and the checksum has to be right if there is one (Section 2.2.4)."""
    checksums = [(at, size) for kind, at, size in _tlvs(header, start) if kind == _CRC32C]
    if not checksums:
        return
    if len(checksums) > 1 or checksums[0][1] != 4:  # each costs us a pass over the header
        raise RemoteProtocolError("not a checksum")
    at = checksums[0][0]
    if _crc32c(header[:at] + bytes(4) + header[at + 4 :]) != int.from_bytes(header[at : at + 4], "big"):
        raise RemoteProtocolError("a wrong checksum")


def _tlvs(header: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """The type of each, where its value begins, and how many octets it has."""
    while at < len(header):
        if at + 3 > len(header):
            raise RemoteProtocolError("half a TLV")
        size = int.from_bytes(header[at + 1 : at + 3], "big")
        if at + 3 + size > len(header):
            raise RemoteProtocolError("a TLV beyond the end")
        yield header[at], at + 3, size
        at += 3 + size


def _crc32c_of(octet: int) -> int:
    for _ in range(8):
        octet = octet >> 1 ^ (0x82F63B78 if octet & 1 else 0)
    return octet


_CRC32C_TABLE: Final = tuple(_crc32c_of(octet) for octet in range(256))


def _crc32c(octets: bytes) -> int:
    """Castagnoli's; the standard library has another polynomial only."""
    checksum = 0xFFFFFFFF
    for octet in octets:
        checksum = _CRC32C_TABLE[(checksum ^ octet) & 0xFF] ^ checksum >> 8
    return checksum ^ 0xFFFFFFFF
