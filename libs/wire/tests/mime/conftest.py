"""What the MIME tests share: a reader of IMAP's parenthesized lists, and any octets that look like mail."""

import re
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import TypeAlias

import pytest
from hypothesis import strategies as st

from postroom_wire.mime import ScannedMessage

Item: TypeAlias = "bytes | int | list[Item] | None"

_LITERAL = re.compile(rb"\{(\d+)\}\r\n")
_QUOTED = re.compile(rb'"((?:[^"\\\r\n\x00\x80-\xff]|\\["\\])*)"')
_NUMBER = re.compile(rb"\d+")


def _read_list(octets: bytes) -> "list[Item]":
    """One parenthesized list by RFC 3501 s9, strictly."""
    value, at = _read(octets, 0)
    assert at == len(octets), f"more after the list: {octets[at:]!r}"
    assert isinstance(value, list)
    return value


def _read(octets: bytes, at: int) -> tuple[Item, int]:
    if octets.startswith(b"(", at):
        return _read_items(octets, at + 1)
    if octets.startswith(b"NIL", at):
        return None, at + 3
    if found := _QUOTED.match(octets, at):
        return re.sub(rb"\\(.)", rb"\1", found[1]), found.end()
    if found := _LITERAL.match(octets, at):
        end = found.end() + int(found[1])
        literal = octets[found.end() : end]
        assert b"\0" not in literal
        assert len(literal) == int(found[1])
        return literal, end
    found = _NUMBER.match(octets, at)
    assert found, f"no item at {at}: {octets[at : at + 40]!r}"
    return int(found[0]), found.end()


def _read_items(octets: bytes, at: int) -> "tuple[list[Item], int]":
    items: list[Item] = []
    while not octets.startswith(b")", at):
        value, at = _read(octets, at)
        items.append(value)
        # Only lists may touch each other (1*address, 1*body).
        if octets.startswith(b" ", at):
            at += 1
        else:
            assert octets[at : at + 1] in {b")", b"("}, f"no space at {at}: {octets[at : at + 40]!r}"
    return items, at + 1


@pytest.fixture(scope="session")
def read_list() -> "Callable[[bytes], list[Item]]":
    return _read_list


_FRAGMENTS = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"\n\n",
        b"\0",
        b"\xff\xfe",
        b"\xc3\xa9",
        b" ",
        b"\t",
        b"--",
        b"--b",
        b"--c",
    ),
    *(
        b"\r\n--b\r\n",
        b"\r\n--b--\r\n",
        b"\n--b\n",
        b"--c--",
        b"\r\n--c\r\n",
        b"a",
        b"text",
        b"(",
        b")",
        b"<",
        b">",
    ),
    *(
        b'"',
        b"\\",
        b",",
        b";",
        b":",
        b"=",
        b"?",
        b"=?utf-8?q?=C3?=",
        b"=?utf-8?b?w6k=?=",
        b"a@b",
        b"<a@b>",
        b"{3}",
    ),
    *(b"Subject:", b"From: a <a@b>", b"To:", b"Date: Mon, 1 Jan 2024 00:00:00 +0000", b"Message-ID: <a@b>"),
    *(b"Content-Type: multipart/mixed; boundary=b", b'Content-Type: multipart/alternative; boundary="c"'),
    *(
        b"Content-Type: message/rfc822",
        b"Content-Type: text/html; charset=utf-7",
        b"Content-Type: multipart/digest",
    ),
    *(b"Content-Type: text/plain; charset=x", b"Content-Disposition: attachment; filename*=utf-8''%C3%A9"),
    *(
        b"Content-Transfer-Encoding: base64",
        b"Content-Transfer-Encoding: quoted-printable",
        b"Content-ID: <x>",
    ),
)


_TYPES = (
    *(
        b"multipart/mixed; boundary=b",
        b'multipart/alternative; boundary="c"',
        b"multipart/digest; boundary=b",
    ),
    *(
        b"multipart/related; boundary=d",
        b"message/rfc822",
        b"text/plain",
        b"text/html; charset=utf-8",
        b"image/png",
    ),
)


def _mail(seed: int) -> bytes:
    """A nested mail, nearly well-formed: some lines are missing, doubled or noise."""
    random = Random(seed)
    lines: list[bytes] = []

    def entity(depth: int) -> None:
        lines.append(b"Subject: x")
        media_type = random.choice(_TYPES)
        lines.extend((b"Content-Type: " + media_type, b""))
        if media_type == b"message/rfc822" and depth:
            entity(depth - 1)
        elif media_type.startswith(b"multipart") and depth:
            delimiter = b"--" + media_type.partition(b"=")[2].strip(b'"')
            for _ in range(random.randrange(4)):
                lines.append(delimiter)
                entity(depth - 1)
            lines.append(delimiter + b"--")
        else:
            lines.append(random.choice(_FRAGMENTS))

    entity(4)
    for _ in range(random.randrange(4)):
        at = random.randrange(len(lines))
        lines[at : at + random.randrange(2)] = random.choices((lines[at], random.choice(_FRAGMENTS)), k=1)
    return random.choice((b"\r\n", b"\r\n", b"\n")).join(lines)


@pytest.fixture(scope="session")
def mail_like() -> st.SearchStrategy[bytes]:
    """Any octets: noise from the pieces of mail, and mails that are nearly well-formed."""
    noise = st.lists(st.sampled_from(_FRAGMENTS) | st.binary(max_size=8), max_size=40).map(b"".join)
    mails = st.integers(0, 2**32).map(_mail)
    return st.one_of(mails, mails, noise)


@pytest.fixture(scope="session")
def check_consistency() -> Callable[[bytes, ScannedMessage], None]:
    return _check_consistency


def _check_consistency(octets: bytes, scanned: ScannedMessage) -> None:
    """Offsets lie within the message, parts within their parents, siblings one after another."""
    extents = scanned.table.extents()
    whole = extents[0,]
    assert whole.header_offset == 0
    assert whole.body_offset + whole.body_length == len(octets) == scanned.size
    for path, extent in extents.items():
        assert extent.header_length >= 0
        assert extent.body_length >= 0
        assert extent.header_offset + extent.header_length == extent.body_offset
        if path == (0,):
            continue
        message = extents.get((*path[:-1], 0))
        above = extents[path[:-1]] if path[-1] == 0 or message is None else message
        # A part that is a message's whole body has that message's header for its own.
        assert extent.header_offset >= above.body_offset or extent == message
        assert extent.body_offset + extent.body_length <= above.body_offset + above.body_length
    ends = [(part.path, part.extent) for part in scanned.table.parts]
    for (path, extent), (after, following) in pairwise(ends):
        if path[:-1] == after[:-1] and 0 not in {path[-1], after[-1]}:
            assert extent.body_offset + extent.body_length <= following.header_offset
    for part in scanned.table.parts:
        body = octets[part.extent.body_offset :][: part.extent.body_length]
        assert part.lines == body.count(b"\n")
