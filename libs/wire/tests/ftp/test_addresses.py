"""Where data connections may go."""

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.ftp import RemoteProtocolError, extended_passive, passive, plain_address
from postroom_wire.ftp import standard_replies as replies
from postroom_wire.ftp.addresses import parse_extended_port, parse_port
from postroom_wire.ftp.replies import Reply

_PEER = plain_address("192.0.2.1")
_PEER6 = plain_address("2001:db8::1")


def port_refusal(argument: bytes, peer: str = "192.0.2.1") -> Reply:
    with pytest.raises(RemoteProtocolError) as refused:
        parse_port(argument, plain_address(peer))
    return refused.value.reply


def eprt_refusal(argument: bytes, peer: str = "192.0.2.1") -> Reply:
    with pytest.raises(RemoteProtocolError) as refused:
        parse_extended_port(argument, plain_address(peer))
    return refused.value.reply


def test_port_is_the_clients_own() -> None:
    assert parse_port(b"192,0,2,1,15,107", _PEER) == 15 * 256 + 107
    assert parse_port(b" 192,000,002,001,4,0 ", _PEER) == 1024


@pytest.mark.parametrize("host", [b"192,0,2,2", b"127,0,0,1", b"10,0,0,1", b"0,0,0,0", b"255,255,255,255"])
def test_port_to_a_foreign_address_is_a_bounce(host: bytes) -> None:
    assert port_refusal(host + b",15,107") is replies.FOREIGN_ADDRESS


@pytest.mark.parametrize("port", [b"0,21", b"0,25", b"3,255", b"0,1"])
def test_a_well_known_port_is_refused_even_at_home(port: bytes) -> None:
    """RFC 2577 suggests 504."""
    assert port_refusal(b"192,0,2,1," + port) is replies.WELL_KNOWN_PORT
    assert eprt_refusal(b"|1|192.0.2.1|80|") is replies.WELL_KNOWN_PORT


@pytest.mark.parametrize(
    "argument",
    [
        b"",
        b"192,0,2,1,15",
        b"192,0,2,1,15,107,1",
        b"192,0,2,1,256,0",
        b"300,0,2,1,4,0",
        b"192,0,2,1,-4,0",
        b"192,0,2,1,4,0x10",
        b"192.0.2.1,4,0",
        b"192,0,2,1,0,0",
        "192,0,2,1,4,\u0661".encode(),
    ],
)
def test_what_is_no_host_port_is_a_syntax_error(argument: bytes) -> None:
    assert port_refusal(argument) is replies.BAD_ARGUMENT


def test_port_is_not_for_ipv6() -> None:
    assert port_refusal(b"192,0,2,1,15,107", "2001:db8::1") is replies.PORT_NEEDS_IPV4


@pytest.mark.parametrize("argument", [b"|1|192.0.2.1|6275|", b"!1!192.0.2.1!6275!", b"~1~192.0.2.1~06275~"])
def test_eprt_takes_any_delimiter(argument: bytes) -> None:
    assert parse_extended_port(argument, _PEER) == 6275


def test_eprt_compares_addresses_and_not_their_spelling() -> None:
    assert parse_extended_port(b"|2|2001:DB8:0::0:1|5282|", _PEER6) == 5282
    assert eprt_refusal(b"|2|2001:db8::2|5282|", "2001:db8::1") is replies.FOREIGN_ADDRESS
    assert eprt_refusal(b"|2|::1|5282|", "2001:db8::1") is replies.FOREIGN_ADDRESS
    assert eprt_refusal(b"|2|::ffff:192.0.2.1|5282|", "2001:db8::1") is replies.FOREIGN_ADDRESS


def test_eprt_of_the_other_protocol_is_told_which_one_works() -> None:
    assert eprt_refusal(b"|2|2001:db8::1|5282|") is replies.USE_PROTOCOL_1
    assert eprt_refusal(b"|1|192.0.2.1|5282|", "2001:db8::1") is replies.USE_PROTOCOL_2


@pytest.mark.parametrize(
    "argument",
    [
        b"",
        b"|",
        b"|||||",
        b"|1|192.0.2.1|5282",
        b"1|192.0.2.1|5282|",
        b"|1|192.0.2.1|5282|x",
        b"|1|2001:db8::1|5282|",
        b"|1|192.0.2.1|0|",
        b"|1|192.0.2.1|65536|",
        b"|1|192.0.2.1|+5282|",
        b"|1|localhost|5282|",
        b"|1|192.0.2.01|5282|",
        b"|2|fe80::1%eth0|5282|",
        b"\xff1\xff192.0.2.1\xff5282\xff",
    ],
)
def test_what_is_no_extended_port_is_a_syntax_error(argument: bytes) -> None:
    assert eprt_refusal(argument, "192.0.2.1") is replies.BAD_ARGUMENT


@given(st.binary(max_size=60))
def test_any_octets_are_an_allowed_port_or_refused(octets: bytes) -> None:
    for parse in (parse_port, parse_extended_port):
        for peer in (_PEER, _PEER6):
            try:
                accepted = 1024 <= parse(octets, peer) < 65_536
            except RemoteProtocolError as error:
                accepted = error.reply.code in {501, 504, 522}
            assert accepted


@given(st.ip_addresses(v=4), st.integers(1024, 65_535))
def test_pasv_tells_what_port_understands(address: IPv4Address, port: int) -> None:
    text = passive(address, port).text
    assert parse_port(text[text.index("(") + 1 : text.index(")")].encode(), address) == port


@given(st.integers(1, 65_535))
def test_epsv_tells_the_port_only(port: int) -> None:
    assert extended_passive(port) == Reply(229, f"Entering Extended Passive Mode (|||{port}|)")


def test_addresses_of_sockets_become_comparable() -> None:
    assert plain_address("::ffff:192.0.2.1") == _PEER
    assert plain_address("fe80::1%eth0") == plain_address("fe80::1")
    with pytest.raises(ValueError):
        plain_address("localhost")
