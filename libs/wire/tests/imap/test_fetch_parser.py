"""FETCH items (RFC 3501 s6.4.5, s9 fetch-att)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.imap.commands import Fetch
from postroom_wire.imap.errors import (
    NESTED_TOO_DEEPLY,
    SYNTAX_ERROR,
    TOO_MANY_ITEMS,
    Refusal,
    RemoteProtocolError,
)
from postroom_wire.imap.fetch_items import FetchAttribute, FetchItem, FetchSection, section_label
from postroom_wire.imap.parser import parse_command
from postroom_wire.imap.section import Partial, Section, SectionText

A = FetchAttribute
FAST = (A.FLAGS, A.INTERNALDATE, A.RFC822_SIZE)


def items(text: bytes) -> tuple[FetchItem, ...]:
    command = parse_command(b"t " + text).command
    assert isinstance(command, Fetch)
    return command.items


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"FETCH 1 FAST", FAST),
        (b"FETCH 1 all", (*FAST, A.ENVELOPE)),
        (b"FETCH 1 FULL", (*FAST, A.ENVELOPE, A.BODY)),
        (b"FETCH 1 BODYSTRUCTURE", (A.BODYSTRUCTURE,)),
        (b"FETCH 1 (UID rfc822.size UID)", (A.UID, A.RFC822_SIZE)),
        (b"UID FETCH 1 FLAGS", (A.UID, A.FLAGS)),
        (b"UID FETCH 1 (FLAGS UID)", (A.UID, A.FLAGS)),
        (b"UID FETCH 1 FAST", (A.UID, *FAST)),
    ],
)
def test_items_and_macros_are_read(text: bytes, expected: tuple[FetchItem, ...]) -> None:
    assert items(text) == expected


SECTIONS = {
    b"BODY[]": (Section(), False, b"BODY[]"),
    b"BODY.PEEK[]": (Section(), True, b"BODY[]"),
    b"body.peek[header]": (Section((), SectionText.HEADER), True, b"BODY[HEADER]"),
    b"BODY[TEXT]": (Section((), SectionText.TEXT), False, b"BODY[TEXT]"),
    b"BODY[1]": (Section((1,)), False, b"BODY[1]"),
    b"BODY[4.2.2.1]": (Section((4, 2, 2, 1)), False, b"BODY[4.2.2.1]"),
    b"BODY[4.2.MIME]": (Section((4, 2), SectionText.MIME), False, b"BODY[4.2.MIME]"),
    b"BODY[3.header]": (Section((3,), SectionText.HEADER), False, b"BODY[3.HEADER]"),
    b"BODY[4.2.TEXT]": (Section((4, 2), SectionText.TEXT), False, b"BODY[4.2.TEXT]"),
    b"BODY[HEADER.FIELDS (DATE From)]": (
        Section((), SectionText.HEADER_FIELDS, (b"DATE", b"From")),
        False,
        b"BODY[HEADER.FIELDS (DATE From)]",
    ),
    b'BODY[1.HEADER.FIELDS.NOT ("x y" {1}\r\nz)]': (
        Section((1,), SectionText.HEADER_FIELDS_NOT, (b"x y", b"z")),
        False,
        b'BODY[1.HEADER.FIELDS.NOT ("x y" z)]',
    ),
    b"RFC822": (Section(), False, b"RFC822"),
    b"rfc822.header": (Section((), SectionText.HEADER), True, b"RFC822.HEADER"),
    b"RFC822.TEXT": (Section((), SectionText.TEXT), False, b"RFC822.TEXT"),
}


@pytest.mark.parametrize("text", SECTIONS)
def test_a_section_is_read_and_called_by_its_name(text: bytes) -> None:
    section, peek, label = SECTIONS[text]
    assert items(b"FETCH 1 " + text) == (FetchSection(section, None, peek, label),)


def test_a_partial_is_named_by_its_origin_alone() -> None:
    expected = FetchSection(Section(), Partial(0, 2048), peek=False, label=b"BODY[]<0>")
    assert items(b"FETCH 1 BODY[]<0.2048>") == (expected,)


REFUSED: dict[bytes, Refusal] = {
    b"()": SYNTAX_ERROR,
    b"(ALL)": SYNTAX_ERROR,
    b"(FLAGS": SYNTAX_ERROR,
    b"(FLAGS )": SYNTAX_ERROR,
    b"(FLAGS  UID)": SYNTAX_ERROR,
    b"FLAGS UID": SYNTAX_ERROR,
    b"BODY[MIME]": SYNTAX_ERROR,
    b"BODY[1.]": SYNTAX_ERROR,
    b"BODY[.1]": SYNTAX_ERROR,
    b"BODY[0]": SYNTAX_ERROR,
    b"BODY[1.0]": SYNTAX_ERROR,
    b"BODY[01]": SYNTAX_ERROR,
    b"BODY[4294967296]": SYNTAX_ERROR,
    b"BODY[HEADER.FIELDS]": SYNTAX_ERROR,
    b"BODY[HEADER.FIELDS ()]": SYNTAX_ERROR,
    b"BODY[HEADER": SYNTAX_ERROR,
    b"BODY[]<0.0>": SYNTAX_ERROR,
    b"BODY[]<1>": SYNTAX_ERROR,
    b"BODY[]<-1.5>": SYNTAX_ERROR,
    b"BODY[]<9223372036854775808.1>": SYNTAX_ERROR,
    b"BODY.PEEK": SYNTAX_ERROR,
    b"RFC822.PEEK": SYNTAX_ERROR,
    b"BODY[" + b"1." * 64 + b"1]": NESTED_TOO_DEEPLY,
    b"(" + b" ".join(b"BODY[]<%d.1>" % at for at in range(65)) + b")": TOO_MANY_ITEMS,
    b"BODY[HEADER.FIELDS (" + b"a " * 512 + b"a)]": TOO_MANY_ITEMS,
    b"("
    + b" ".join(b"BODY[%d.HEADER.FIELDS (%ba)]" % (at, b"a " * 299) for at in (1, 2))
    + b")": TOO_MANY_ITEMS,
    b"(" * 10_000: SYNTAX_ERROR,
}


@pytest.mark.parametrize("text", REFUSED)
def test_other_items_are_refused(text: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        parse_command(b"a1 FETCH 1 " + text)
    assert refused.value.refusal is REFUSED[text]
    assert refused.value.tag == b"a1"


nz = st.integers(1, 4294967295)
paths = st.lists(nz, max_size=5).map(tuple)
fields = st.lists(st.binary(max_size=6).filter(lambda name: b"\0" not in name), min_size=1, max_size=3).map(
    tuple
)
texts = st.sampled_from([None, SectionText.HEADER, SectionText.TEXT])
sections = (
    st.builds(Section, paths, texts)
    | st.builds(Section, paths.filter(bool), st.just(SectionText.MIME))
    | st.builds(
        Section, paths, st.sampled_from([SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT]), fields
    )
)


@given(section=sections)
def test_the_name_in_the_response_reads_back_as_the_section(section: Section) -> None:
    found = items(b"FETCH 1 " + section_label(section, None))
    assert found == (FetchSection(section, None, peek=False, label=section_label(section, None)),)
