"""Address lists as ENVELOPE shows them (RFC 5322 s3.4, sA; RFC 7103 s7.1)."""

from typing import Final, TypeAlias

import pytest

from postroom_wire.mime.addresses import Address, decode_addresses, parse_addresses

Row: TypeAlias = tuple[bytes | None, bytes | None, bytes | None, bytes | None]
END: Final[Row] = (None, None, None, None)

LISTS: Final[dict[str, tuple[bytes, list[Row]]]] = {
    "nothing": (b"", []),
    "white space and commas": (b" , ,, ", []),
    "bare": (b"john@example.com", [(None, None, b"john", b"example.com")]),
    "RFC 5322 sA.1.1": (
        b"John Doe <jdoe@machine.example>",
        [(b"John Doe", None, b"jdoe", b"machine.example")],
    ),
    "RFC 5322 sA.1.2": (
        (
            b"Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>, "
            b'<boss@nil.test>, "Giant; \\"Big\\"" <s@e.n>'
        ),
        [
            (b"Mary Smith", None, b"mary", b"x.test"),
            (None, None, b"jdoe", b"example.org"),
            (b"Who?", None, b"one", b"y.test"),
            (None, None, b"boss", b"nil.test"),
            (b'Giant; "Big"', None, b"s", b"e.n"),
        ],
    ),
    "RFC 5322 sA.1.3": (
        b"A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
        [
            (None, None, b"A Group", None),
            (b"Ed Jones", None, b"c", b"a.test"),
            (None, None, b"joe", b"where.test"),
            (b"John", None, b"jdoe", b"one.test"),
            END,
        ],
    ),
    "an empty group": (b"Undisclosed recipients:;", [(None, None, b"Undisclosed recipients", None), END]),
    "RFC 5322 sA.5": (
        b"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
        [(b"Pete", None, b"pete", b"silly.test")],
    ),
    "RFC 5322 sA.5, a group with comments": (
        (
            b"A Group(Some people)     :Chris Jones <c@(Chris's host.)public.example>,  joe@example.org, "
            b"John <jdoe@one.test> (my dear friend); (the end of the group)"
        ),
        [
            (None, None, b"A Group", None),
            (b"Chris Jones", None, b"c", b"public.example"),
            (None, None, b"joe", b"example.org"),
            (b"John", None, b"jdoe", b"one.test"),
            END,
        ],
    ),
    "RFC 5322 sA.6.1": (
        b"Joe Q. Public <john.q.public@example.com>",
        [(b"Joe Q. Public", None, b"john.q.public", b"example.com")],
    ),
    "RFC 5322 sA.6.3": (
        b"Mary Smith  <@node.test:mary@example.net>, , jdoe@test   . example",
        [(b"Mary Smith", b"@node.test", b"mary", b"example.net"), (None, None, b"jdoe", b"test.example")],
    ),
    "a route over two hosts": (b"<@a.test,@b.test:c@d.test>", [(None, b"@a.test,@b.test", b"c", b"d.test")]),
    "a name in a comment": (b"user@domain (Real Name)", [(b"Real Name", None, b"user", b"domain")]),
    "a comment within a comment": (b"a@b (one (two) three)", [(b"one (two) three", None, b"a", b"b")]),
    "two groups": (
        b"group: g1@d1.org, g2@d2.org;, group2: g3@d3.org;",
        [
            (None, None, b"group", None),
            (None, None, b"g1", b"d1.org"),
            (None, None, b"g2", b"d2.org"),
            END,
            (None, None, b"group2", None),
            (None, None, b"g3", b"d3.org"),
            END,
        ],
    ),
    "a group that is not closed": (b"g: a@b", [(None, None, b"g", None), (None, None, b"a", b"b"), END]),
    "a quoted local part": (b'"john doe"@example.com', [(None, None, b"john doe", b"example.com")]),
    "a quoted local part in brackets": (
        b'X <"a@b"@example.com>',
        [(b"X", None, b"a@b", b"example.com")],
    ),
    "a domain literal": (b"john@[192.0.2.1]", [(None, None, b"john", b"[192.0.2.1]")]),
    "RFC 7103 s7.1.2: too many brackets": (
        b"<<<user2@example.org>>>",
        [(None, None, b"user2", b"example.org")],
    ),
    "RFC 7103 s7.1.3: an open bracket": (
        b"<another@example.net, second@example.net",
        [(None, None, b"another", b"example.net"), (None, None, b"second", b"example.net")],
    ),
    "RFC 7103 s7.1.3: a bracket too many": (
        b"second@example.net>",
        [(None, None, b"second", b"example.net")],
    ),
    "RFC 7103 s7.1.4: an open parenthesis": (
        b"(Testing <fixed@example.com>",
        [],
    ),
    "RFC 7103 s7.1.6: an open quote": (
        b'"Joe <joe@example.com>',
        [(None, None, b"Joe <joe@example.com>", b"")],
    ),
    "RFC 7103 s7.1.7: no domain": (b"Ann <ann>", [(b"Ann", None, b"ann", b"")]),
    "a word": (b"MAILER-DAEMON", [(None, None, b"MAILER-DAEMON", b"")]),
    "a name without brackets": (b"Ann Other ann@example.com", [(b"Ann Other", None, b"ann", b"example.com")]),
    "empty brackets with a name": (b"Nobody <>", [(b"Nobody", None, b"", b"")]),
    "empty brackets": (b"<>", []),
    "RFC 7103 s7.1.5: a comma too few": (b"A <a@b> C <c@d>", [(b"A", None, b"a", b"b")]),
    "raw UTF-8": (
        "Jürgen <jürgen@münchen.example>".encode(),
        [("Jürgen".encode(), None, "jürgen".encode(), "münchen.example".encode())],
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_an_address_list_is_read(name: str) -> None:
    value, expected = LISTS[name]
    found, cut = parse_addresses(value, 1_000)
    assert [tuple(address) for address in found] == expected
    assert not cut


def test_addresses_are_decoded_without_their_groups() -> None:
    found, _ = parse_addresses(b'g: =?utf-8?q?J=C3=BCrgen?= <j@b.example>, "=?x" <c@d.example>;', 10)
    assert decode_addresses(found) == (
        Address("Jürgen", "j", "b.example"),
        Address("=?x", "c", "d.example"),
    )


def test_an_address_is_its_local_part_and_domain() -> None:
    assert Address("", "ann", "example.com").address == "ann@example.com"
    assert Address("", "ann", "").address == "ann"


@pytest.mark.parametrize("value", [b"a@b, c@d, e@f", b"a@b; c@d; e@f", b"x <a@b>, (y) <c@d>, z"])
def test_no_more_than_the_bound_is_read(value: bytes) -> None:
    found, cut = parse_addresses(value, 2)
    assert len(found) == 2
    assert cut
