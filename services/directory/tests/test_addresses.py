import pytest
from hypothesis import given
from hypothesis import strategies as st

from directory.addresses import Address, clean, parse_address, parse_domain
from directory.attempts import network_of
from postroom_contracts.errors import InvalidAddressError, InvalidRequestError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ann@example.com", "ann@example.com"),
        ("Ann.Lee@EXAMPLE.com.", "Ann.Lee@example.com"),
        ("ann@Bücher.example", "ann@xn--bcher-kva.example"),
        ("ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"),
        ('"ann"@example.com', "ann@example.com"),
        ('"a\\nn"@example.com', "ann@example.com"),
        ("用户@例子.公司", "用户@xn--fsqu00a.xn--55qx5d"),
        ("a+b=c@localhost", "a+b=c@localhost"),
    ],
)
def test_an_address_is_kept_in_one_form(text: str, address: str) -> None:
    assert str(parse_address(text)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ann",
        "@example.com",
        "ann@",
        "ann@-example.com",
        "ann@exa mple.com",
        "ann lee@example.com",
        '"ann lee"@example.com',
        "ann..lee@example.com",
        ".ann@example.com",
        "ann@[192.0.2.1]",
        "ann@" + "a" * 64 + ".com",
        "a" * 65 + "@example.com",
        "ann@" + "a." * 130 + "com",
        "ann\u00a0lee@example.com",
        "ann\u202e@example.com",
        "ann\r\n@example.com",
        "a@b@example.com",
        "ann@exa_mple.com",
        "ann@xn--zzzzzz--.com",
    ],
)
def test_what_is_no_address_of_ours_is_refused(text: str) -> None:
    with pytest.raises(InvalidAddressError):
        parse_address(text)


@pytest.mark.parametrize("text", ["a\x00@example.com", "a\ud800@example.com", "x" * 2_000])
def test_what_is_no_text_is_another_fault(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        parse_address(text)
    with pytest.raises(InvalidRequestError):
        parse_domain(text)


def test_case_and_composition_of_a_local_part_do_not_count() -> None:
    keys = {parse_address(f"{local}@example.com").key for local in ("Ärger", "ärger", "a\u0308rger", "ÄRGER")}
    assert len(keys) == 1


def test_a_detail_belongs_to_its_user() -> None:
    assert parse_address("Ann+lists+x@example.com").base_key == "ann"
    assert parse_address("ann@example.com").base_key == "ann"
    assert parse_address("+x@example.com").base_key == "+x"


@given(st.text(max_size=60))
def test_any_text_is_an_address_that_parses_again_or_is_refused(text: str) -> None:
    for candidate in (text, f"{text}@example.com", f"ann@{text}"):
        try:
            address = parse_address(candidate)
        except (InvalidAddressError, InvalidRequestError):
            continue
        assert parse_address(str(address)) == address
        assert Address(address.key, address.domain).key == address.key
        assert clean(str(address)).isprintable()


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_failures_are_counted_by_the_client_s_network(peer: str, network: str) -> None:
    assert network_of(peer) == network


@pytest.mark.parametrize("peer", ["", "x", "192.0.2", "192.0.2.1\x00", "2001:db8::g"])
def test_a_peer_that_is_no_ip_address_is_refused(peer: str) -> None:
    with pytest.raises(InvalidRequestError):
        network_of(peer)
