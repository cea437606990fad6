"""The PROXY protocol's examples, its bounds, and octets of every other kind."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.proxy_protocol import (
    LIMITS,
    SIGNATURE,
    Address,
    Endpoint,
    Header,
    HeaderReader,
    Relayed,
    RemoteProtocolError,
    Unnamed,
)

NEXT = b"EHLO client.example\r\n"
CRC32C = b"\x03\x00\x04"


def v2(family: int, block: bytes, *, command: int = 0x21) -> bytes:
    return SIGNATURE + bytes((command, family)) + len(block).to_bytes(2, "big") + block


def block_of(source: Endpoint, destination: Endpoint) -> bytes:
    ports = source.port.to_bytes(2, "big") + destination.port.to_bytes(2, "big")
    return source.address.packed + destination.address.packed + ports


def endpoint(host: str, port: int) -> Endpoint:
    return Endpoint(ip_address(host), port)


CLIENT, SERVER = endpoint("192.0.2.7", 51_234), endpoint("198.51.100.1", 25)
CLIENT6, SERVER6 = endpoint("2001:db8::7", 51_234), endpoint("2001:db8:1::1", 993)
V4 = block_of(CLIENT, SERVER)
MAPPED = endpoint("::ffff:192.0.2.7", 51_234)


HEADERS: dict[bytes, Header] = {
    b"PROXY TCP4 192.0.2.7 198.51.100.1 51234 25\r\n": Relayed(CLIENT, SERVER),
    b"PROXY TCP6 2001:db8::7 2001:db8:1::1 51234 993\r\n": Relayed(CLIENT6, SERVER6),
    b"PROXY TCP6 ::ffff:192.0.2.7 2001:db8:1::1 51234 993\r\n": Relayed(CLIENT, SERVER6),
    b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n": Relayed(
        endpoint("255.255.255.255", 65_535), endpoint("255.255.255.255", 65_535)
    ),
    b"PROXY UNKNOWN\r\n": Unnamed(),
    b"PROXY UNKNOWN ffff:f:f:f:f:f:f:f ffff:f:f:f:f:f:f:f 65535 65535\r\n": Unnamed(),
    b"PROXY UNKNOWN \xff\x00 whatever\r\n": Unnamed(),
    v2(0x11, V4): Relayed(CLIENT, SERVER),
    v2(0x21, block_of(CLIENT6, SERVER6)): Relayed(CLIENT6, SERVER6),
    v2(0x21, block_of(MAPPED, SERVER6)): Relayed(CLIENT, SERVER6),
    v2(0x11, V4 + b"\x04\x00\x00" + b"\x02\x00\x07mail.ex"): Relayed(CLIENT, SERVER),
    v2(0x11, V4 + b"\xea" + (LIMITS.v2 - 16 - 12 - 3).to_bytes(2, "big") + bytes(LIMITS.v2 - 31)): Relayed(
        CLIENT, SERVER
    ),
    v2(0x00, b""): Unnamed(),
    v2(0x00, b"anything"): Unnamed(),
    v2(0x12, V4): Unnamed(),  # of UDP
    v2(0x31, bytes(216)): Unnamed(),
    v2(0x11, V4, command=0x20): Unnamed(),
    v2(0xFF, b"", command=0x20): Unnamed(),
}

WRONG: dict[str, bytes] = {
    "nothing of the kind": NEXT,
    "a TLS handshake": b"\x16\x03\x01\x02\x00\x01",
    "lower case": b"proxy TCP4 192.0.2.7 198.51.100.1 51234 25\r\n",
    "no family": b"PROXY \r\n",
    "a family of its own": b"PROXY TCP5 192.0.2.7 198.51.100.1 51234 25\r\n",
    "UNKNOWN with more letters": b"PROXY UNKNOWNS\r\n",
    "an address of the other family": b"PROXY TCP4 2001:db8::7 198.51.100.1 51234 25\r\n",
    "an IPv4 address as TCP6": b"PROXY TCP6 192.0.2.7 198.51.100.1 51234 25\r\n",
    "a name": b"PROXY TCP4 client.example 198.51.100.1 51234 25\r\n",
    "an address with zeros ahead": b"PROXY TCP4 192.0.2.007 198.51.100.1 51234 25\r\n",
    "a zone": b"PROXY TCP6 fe80::1%eth0 2001:db8:1::1 51234 993\r\n",
    "a port too high": b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 25\r\n",
    "a port with a sign": b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 25\r\n",
    "a port with zeros ahead": b"PROXY TCP4 192.0.2.7 198.51.100.1 051234 25\r\n",
    "no port": b"PROXY TCP4 192.0.2.7 198.51.100.1 51234 \r\n",
    "a word too many": b"PROXY TCP4 192.0.2.7 198.51.100.1 51234 25 26\r\n",
    "two spaces": b"PROXY TCP4  192.0.2.7 198.51.100.1 51234 25\r\n",
    "a bare LF": b"PROXY TCP4 192.0.2.7 198.51.100.1 51234 25\nEHLO x\r\n",
    "letters beyond ASCII": "PROXY TCP4 192.0.2.7 198.51.100.1 51234 \uff12\uff15\r\n".encode(),
    "a line without an end": b"PROXY UNKNOWN " + b"x" * 107,
    "a line of 108 octets": b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    "version 1 in the form of 2": v2(0x11, V4, command=0x11),
    "a command of its own": v2(0x11, V4, command=0x22),
    "a family that is not specified": v2(0x41, V4),
    "a transport that is not specified": v2(0x13, V4),
    "half an address": v2(0x11, V4[:-1]),
    "IPv6 in the space of IPv4": v2(0x21, V4),
    "half a unix address": v2(0x31, bytes(215)),
    "half a TLV": v2(0x11, V4 + b"\x04\x00"),
    "a TLV beyond the end": v2(0x11, V4 + b"\x04\x00\x02x"),
    "a wrong checksum": v2(0x11, V4 + CRC32C + bytes(4)),
    "a checksum of three octets": v2(0x11, V4 + b"\x03\x00\x03abc"),
    "more octets than are taken": SIGNATURE + b"\x21\x11" + (LIMITS.v2 - 15).to_bytes(2, "big"),
}


def read(octets: bytes, *, at_once: int = 1_000_000) -> tuple[Header | None, bytes]:
    """The header in octets that come so many at once, and what is left."""
    reader = HeaderReader()
    while octets and reader.header is None:
        taken = reader.receive_data(octets[:at_once])
        assert 0 <= taken <= at_once
        octets = octets[taken:]
    return reader.header, octets


@pytest.mark.parametrize(("octets", "header"), HEADERS.items(), ids=range(len(HEADERS)))
def test_a_header_is_read_wherever_the_network_cuts_and_nothing_more(octets: bytes, header: Header) -> None:
    for at_once in (*range(1, min(len(octets), 60)), len(octets), len(octets) + 5):
        assert read(octets + NEXT, at_once=at_once) == (header, NEXT)
    for length in range(len(octets)):
        assert read(octets[:length]) == (None, b"")


@pytest.mark.parametrize("why", WRONG)
def test_what_is_no_header_is_refused_wherever_the_network_cuts(why: str) -> None:
    for at_once in (1, 2, 3, 16, 1_000):
        with pytest.raises(RemoteProtocolError):
            read(WRONG[why] + NEXT, at_once=at_once)


def test_no_more_is_read_than_shows_that_it_is_no_header() -> None:
    for octets in (b"E", b"\x16", b"\r\n\r\n\x00\r\nQUIX", b"PROXy"):
        with pytest.raises(RemoteProtocolError):
            read(octets)


def test_a_right_checksum_is_taken() -> None:
    assert bytewise_crc32c(b"123456789") == 0xE3069283  # as it is wherever Castagnoli's polynomial is used
    checksum = bytewise_crc32c(v2(0x11, V4 + CRC32C + bytes(4)))
    octets = v2(0x11, V4 + CRC32C + checksum.to_bytes(4, "big"))
    assert read(octets) == (Relayed(CLIENT, SERVER), b"")
    for at in (*range(16, 28), *range(31, 35)):  # the addresses, the checksum
        broken = bytearray(octets)
        broken[at] ^= 0x10
        with pytest.raises(RemoteProtocolError, match="checksum"):
            read(bytes(broken))
    with pytest.raises(RemoteProtocolError, match="not a checksum"):
        read(v2(0x11, V4 + (CRC32C + bytes(4)) * 2))


def bytewise_crc32c(octets: bytes) -> int:
    """By its definition, bit by bit."""
    rest = 0xFFFFFFFF
    for octet in octets:
        rest ^= octet
        for _ in range(8):
            rest = rest >> 1 ^ (0x82F63B78 * (rest & 1))
    return rest ^ 0xFFFFFFFF


ADDRESSES = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)),
    st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6)),
)
PORTS = st.integers(0, 65_535)


def plain(address: Address) -> Address:
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


@given(ADDRESSES, PORTS, PORTS, st.booleans())
def test_what_a_proxy_writes_is_what_is_read(
    addresses: tuple[Address, Address], source: int, destination: int, binary: bool
) -> None:
    four = isinstance(addresses[0], IPv4Address)
    if binary:
        block = block_of(Endpoint(addresses[0], source), Endpoint(addresses[1], destination))
        octets = v2(0x11 if four else 0x21, block)
    else:
        octets = (
            f"PROXY TCP{4 if four else 6} {addresses[0]} {addresses[1]} {source} {destination}\r\n".encode()
        )
    expected = Relayed(Endpoint(plain(addresses[0]), source), Endpoint(plain(addresses[1]), destination))
    assert read(octets + NEXT) == (expected, NEXT)


STARTS = st.sampled_from(
    [b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY UNKNOWN", SIGNATURE, SIGNATURE + b"\x21\x11\x00"]
)


@given(STARTS, st.binary(max_size=200), st.integers(1, 50))
def test_any_octets_are_a_header_or_are_refused_or_go_on_within_the_bound(
    start: bytes, rest: bytes, at_once: int
) -> None:
    octets = start + rest
    reader, left = HeaderReader(), octets
    try:
        while left and reader.header is None:
            left = left[reader.receive_data(left[:at_once]) :]
    except RemoteProtocolError:
        return
    if reader.header is None:
        assert not left
        longest = LIMITS.v1 if octets.startswith(b"P") else LIMITS.v2
        assert len(octets) < longest
    else:
        assert reader.receive_data(b"more") == 0
