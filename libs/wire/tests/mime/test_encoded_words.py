"""Encoded-words (RFC 2047 s8 and what real senders do)."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.mime.charset import clean_line
from postroom_wire.mime.encoded_word import decode_words, encode_words

WORDS: Final = {
    b"plain": "plain",
    b"=?ISO-8859-1?Q?a?=": "a",
    b"=?ISO-8859-1?Q?a?= b": "a b",
    b"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=": "ab",
    b"=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=": "ab",
    b"=?ISO-8859-1?Q?a_b?=": "a b",
    b"=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=": "a b",
    b"=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>": "Keith Moore <moore@cs.utk.edu>",
    b"=?ISO-8859-1?Q?Andr=E9?= Pirard": "André Pirard",
    b"=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?= =?ISO-8859-2?B?dSB1bmRlcnN0YW5k?=": (
        "If you can read this you understand"
    ),
    b"=?iso-8859-8?b?7eXs+SDv4SDp7Oj08A==?=": "םולש ןב ילטפנ",
    b"=?US-ASCII*EN?Q?Keith_Moore?=": "Keith Moore",
    b"=?utf-8?q?=C3?= =?utf-8?q?=A9?=": "é",
    b"x=?utf-8?q?=C3=A9?=y": "xéy",
    b"=?utf-8?q?a b?=": "a b",
    b"=?utf-8?b?w6k?=": "é",
    b"=?utf-8?b?w6": "=?utf-8?b?w6",
    b"=?utf-8?x?w6k=?=": "=?utf-8?x?w6k=?=",
    b"=?nothing?q?=E9?=": "é",
    b"=?utf-8?q?=ZZ?=": "=ZZ",
    b"=?utf-8?q??=": "",
    b"caf\xc3\xa9": "café",
    b"caf\xe9": "café",
    b"=?utf-8?q?a=00=0D=0Ab?=": "a b",
    b"=?utf-7?q?+2AA-?=": "\ufffd",
}


@pytest.mark.parametrize("value", WORDS)
def test_a_value_is_decoded(value: bytes) -> None:
    assert decode_words(value) == WORDS[value]


@given(st.text(min_size=1))
def test_text_is_the_same_after_encoding(text: str) -> None:
    text = clean_line(text)
    words = encode_words(text)
    assert all(len(word) <= 75 for word in words)
    assert decode_words(" ".join(words).encode("ascii")) == text


@given(st.binary())
def test_any_octets_give_one_clean_line(octets: bytes) -> None:
    text = decode_words(octets)
    text.encode()
    assert not set(text) & {"\0", "\r", "\n"}
