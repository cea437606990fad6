"""Whatever arrives is scanned: consistent offsets, lists that a client can read, text that can be stored."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.mime import (
    Limits,
    PartTableError,
    ScannedMessage,
    decode_parts,
    display,
    encode_parts,
    scan,
)

TIGHT = Limits(
    header_octets=64,
    headers=3,
    all_headers=8,
    value=16,
    all_values=40,
    least_value=4,
    addresses=2,
    parameters=1,
    all_parameters=2,
    least_parameters=1,
    depth=2,
    parts=3,
    boundary=4,
    delimiters=4,
    references=1,
    preview=5,
    preview_source=8,
)


def texts(value: object) -> list[str]:
    """All text in a value of dataclasses and tuples."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, tuple):
        return [text for item in cast("tuple[object, ...]", value) for text in texts(item)]
    if is_dataclass(value):
        return [text for field in fields(value) for text in texts(getattr(value, field.name))]
    return []


@given(data=st.data())
def test_any_octets_give_a_consistent_table_and_readable_lists(
    data: st.DataObject,
    mail_like: st.SearchStrategy[bytes],
    check_consistency: Callable[[bytes, ScannedMessage], None],
    read_list: Callable[[bytes], list[object]],
) -> None:
    octets = data.draw(mail_like)
    for limits in (Limits(), TIGHT):
        scanned = scan(octets, limits)
        check_consistency(octets, scanned)
        assert len(read_list(scanned.envelope)) == 10
        read_list(scanned.body)
        read_list(scanned.body_structure)
        shown = display(octets, scanned.table, 64)
        for text in texts(scanned) + texts(shown):
            assert "\0" not in text
            text.encode()  # no lone surrogate


@given(data=st.data())
def test_a_table_is_the_same_after_it_was_stored(
    data: st.DataObject, mail_like: st.SearchStrategy[bytes]
) -> None:
    table = scan(data.draw(mail_like)).table
    stored = encode_parts(table)
    assert decode_parts(stored) == table
    assert b"\0" not in stored
    assert b"\\u0000" not in stored


@given(st.binary(max_size=200) | st.just(b"[1,[0,0,0,0],[[]]]") | st.just(b"[2,[0,0,0,0],[]]"))
def test_what_is_no_table_is_refused_by_name(octets: bytes) -> None:
    with pytest.raises(PartTableError):
        decode_parts(octets)


def test_views_of_octets_are_scanned_like_octets() -> None:
    octets = b"Subject: x\r\n\r\nhello\r\n"
    assert scan(memoryview(octets)) == scan(bytearray(octets)) == scan(octets)
