"""FETCH items of extensions: BINARY, OBJECTID, SAVEDATE, PREVIEW (RFC 3516, RFC 8474, RFC 8514, RFC 8970)."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.imap import fetch_response
from postroom_wire.imap.commands import Fetch
from postroom_wire.imap.errors import (
    NESTED_TOO_DEEPLY,
    SYNTAX_ERROR,
    TOO_MANY_ITEMS,
    Refusal,
    RemoteProtocolError,
)
from postroom_wire.imap.fetch_items import (
    FetchAttribute,
    FetchBinary,
    FetchBinarySize,
    FetchItem,
    binary_label,
)
from postroom_wire.imap.parser import parse_command
from postroom_wire.imap.section import Partial

A = FetchAttribute


def items(text: bytes) -> tuple[FetchItem, ...]:
    command = parse_command(b"t " + text).command
    assert isinstance(command, Fetch)
    return command.items


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"FETCH 1 emailid", (A.EMAILID,)),
        (b"FETCH 1 (EMAILID THREADID SAVEDATE)", (A.EMAILID, A.THREADID, A.SAVEDATE)),
        (b"FETCH 1 PREVIEW", (A.PREVIEW,)),
        (b"FETCH 1 PREVIEW (LAZY)", (A.PREVIEW,)),
        (b"FETCH 1 (PREVIEW (lazy) UID)", (A.PREVIEW, A.UID)),
        (b"FETCH 1 (UID PREVIEW PREVIEW (LAZY))", (A.UID, A.PREVIEW)),
        (b"FETCH 1 BINARY[]", (FetchBinary((), None, False, b"BINARY[]"),)),
        (b"FETCH 1 binary.peek[1.2]", (FetchBinary((1, 2), None, True, b"BINARY[1.2]"),)),
        (b"FETCH 1 BINARY[3]<5.7>", (FetchBinary((3,), Partial(5, 7), False, b"BINARY[3]<5>"),)),
        (
            b"UID FETCH 1 (BINARY.SIZE[1] BINARY.SIZE[])",
            (A.UID, FetchBinarySize((1,), b"BINARY.SIZE[1]"), FetchBinarySize((), b"BINARY.SIZE[]")),
        ),
    ],
)
def test_items_of_extensions_are_read(text: bytes, expected: tuple[FetchItem, ...]) -> None:
    assert items(text) == expected


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        (b"BINARY", SYNTAX_ERROR),
        (b"BINARY.SIZE", SYNTAX_ERROR),
        (b"BINARY[HEADER]", SYNTAX_ERROR),
        (b"BINARY[1.TEXT]", SYNTAX_ERROR),
        (b"BINARY[1.]", SYNTAX_ERROR),
        (b"BINARY[0]", SYNTAX_ERROR),
        (b"BINARY.SIZE[1]<0.1>", SYNTAX_ERROR),
        (b"BINARY.SIZE.PEEK[1]", SYNTAX_ERROR),
        (b"BINARY[1]<0.0>", SYNTAX_ERROR),
        (b"BINARY[" + b".".join([b"1"] * 65) + b"]", NESTED_TOO_DEEPLY),
        (b"PREVIEW ()", SYNTAX_ERROR),
        (b"PREVIEW (FAST)", SYNTAX_ERROR),
        (b"PREVIEW (LAZY LAZY)", TOO_MANY_ITEMS),
        (b"PREVIEW (LAZY", SYNTAX_ERROR),
    ],
)
def test_items_that_are_wrong_are_refused(text: bytes, refusal: Refusal) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_command(b"t FETCH 1 " + text)
    assert caught.value.refusal == refusal


@given(
    st.lists(st.integers(1, 4_294_967_295), max_size=64).map(tuple),
    st.none() | st.builds(Partial, st.integers(0, 4_294_967_295), st.integers(1, 4_294_967_295)),
)
def test_a_binary_item_that_is_written_is_read_as_it_was(
    part: tuple[int, ...], partial: Partial | None
) -> None:
    label = binary_label(b"BINARY", part, partial)
    spelled = binary_label(b"BINARY", part) + (
        b"" if partial is None else b"<%d.%d>" % (partial.offset, partial.length)
    )
    assert items(b"FETCH 1 " + spelled) == (FetchBinary(part, partial, False, label),)


def test_only_octets_with_nul_make_a_literal8() -> None:
    assert fetch_response.binary(b"BINARY[1]", b"a\r\n") == b"BINARY[1] {3}\r\na\r\n"
    assert fetch_response.binary(b"BINARY[1]", b"a\0") == b"BINARY[1] ~{2}\r\na\0"
    assert fetch_response.binary(b"BINARY[1]", None) == b"BINARY[1] NIL"
    assert fetch_response.binary_size(b"BINARY.SIZE[1]", 7) == b"BINARY.SIZE[1] 7"


def test_ids_dates_and_previews_are_written() -> None:
    assert fetch_response.email_id(b"M0a") == b"EMAILID (M0a)"
    assert fetch_response.thread_id(b"T0a") == b"THREADID (T0a)"
    saved = datetime(2026, 11, 3, 4, 5, 6, tzinfo=UTC)
    assert fetch_response.save_date(saved) == b'SAVEDATE " 3-Nov-2026 04:05:06 +0000"'
    assert fetch_response.save_date(None) == b"SAVEDATE NIL"
    assert fetch_response.preview('a "b"') == b'PREVIEW "a \\"b\\""'
    assert fetch_response.preview("é") == b"PREVIEW {2}\r\n\xc3\xa9"
    assert fetch_response.preview("") == b'PREVIEW ""'
