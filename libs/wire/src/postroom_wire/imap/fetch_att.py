"""fetch-att: what of a message is asked for (RFC 3501 s9)."""

from collections.abc import Sequence
from typing import Final

from postroom_wire.imap.cursor import Cursor
from postroom_wire.imap.errors import NESTED_TOO_DEEPLY, TOO_MANY_ITEMS
from postroom_wire.imap.fetch_items import (
    FetchAttribute,
    FetchBinary,
    FetchBinarySize,
    FetchItem,
    FetchSection,
    binary_label,
    section_label,
)
from postroom_wire.imap.section import Partial, PartPath, Section, SectionText

_ATTRIBUTES: Final[dict[bytes, FetchItem]] = {
    **{attribute.value: attribute for attribute in FetchAttribute},
    # s6.4.5: equivalent to BODY[], BODY.PEEK[HEADER] and BODY[TEXT], but for the name in the response.
    b"RFC822": FetchSection(Section(), None, peek=False, label=b"RFC822"),
    b"RFC822.HEADER": FetchSection(Section((), SectionText.HEADER), None, peek=True, label=b"RFC822.HEADER"),
    b"RFC822.TEXT": FetchSection(Section((), SectionText.TEXT), None, peek=False, label=b"RFC822.TEXT"),
}
_SECTION_TEXTS: Final = {text.value: text for text in SectionText}
_PREVIEW_MODIFIERS: Final = {b"LAZY": True}


def fetch_atts(cursor: Cursor) -> tuple[FetchItem, ...]:
    """fetch-att *(SP fetch-att) ")", from after the parenthesis; each once."""
    items = [fetch_att(cursor)]
    while cursor.more(len(items), cursor.limits.max_fetch_items):
        items.append(fetch_att(cursor))
    cursor.expect(b")")
    check_fields(cursor, items)
    return tuple(dict.fromkeys(items))


def fetch_att(cursor: Cursor) -> FetchItem:
    """fetch-att = "ENVELOPE" / ... / "BODY" section ["<" number "." nz-number ">"] / ..."""
    return named_att(cursor, cursor.word())


def parse_section(cursor: Cursor) -> Section:
    """section = "[" [section-msgtext / (section-part ["." section-text])] "]"."""
    cursor.expect(b"[")
    part: PartPath = ()
    text: SectionText | None = None
    fields: tuple[bytes, ...] = ()
    if not cursor.next_is(b"]"):
        part, named = _section_part(cursor)
        if named:
            text = cursor.word_of(_SECTION_TEXTS)
    if text is SectionText.MIME and not part:
        raise cursor.wrong("section-msgtext")
    if text in {SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT}:
        cursor.sp()
        fields = header_list(cursor)
    cursor.expect(b"]")
    return Section(part, text, fields)


def parse_partial(cursor: Cursor) -> Partial | None:
    """["<" number64 "." nz-number64 ">"]   (RFC 9051 s9)."""
    if not cursor.accept(b"<"):
        return None
    offset = cursor.number64()
    cursor.expect(b".")
    length = cursor.number64()
    if not length:
        raise cursor.wrong("nz-number64")
    cursor.expect(b">")
    return Partial(offset, length)


def header_list(cursor: Cursor) -> tuple[bytes, ...]:
    """ "(" header-fld-name *(SP header-fld-name) ")"."""
    cursor.expect(b"(")
    names = [cursor.astring()]
    while cursor.more(len(names), cursor.limits.max_header_fields):
        names.append(cursor.astring())
    cursor.expect(b")")
    return tuple(names)


def named_att(cursor: Cursor, word: bytes) -> FetchItem:
    """fetch-att, from after its first word."""
    if word in {b"BODY", b"BODY.PEEK"} and cursor.next_is(b"["):
        section = parse_section(cursor)
        partial = parse_partial(cursor)
        return FetchSection(section, partial, word == b"BODY.PEEK", section_label(section, partial))
    if word in {b"BINARY", b"BINARY.PEEK"}:
        part = section_binary(cursor)
        partial = parse_partial(cursor)
        return FetchBinary(part, partial, word == b"BINARY.PEEK", binary_label(b"BINARY", part, partial))
    if word == b"BINARY.SIZE":
        part = section_binary(cursor)
        return FetchBinarySize(part, binary_label(word, part))
    attribute = _ATTRIBUTES.get(word)
    if attribute is None:
        raise cursor.wrong("fetch-att")
    if attribute is FetchAttribute.PREVIEW and cursor.accept(b" ("):
        _preview_modifiers(cursor)
    return attribute


def section_binary(cursor: Cursor) -> PartPath:
    """section-binary = "[" [section-part] "]"   (RFC 3516 s7)."""
    cursor.expect(b"[")
    part: PartPath = ()
    if not cursor.next_is(b"]"):
        part, goes_on = _section_part(cursor)
        if goes_on:
            raise cursor.wrong("section-part")
    cursor.expect(b"]")
    return part


def _preview_modifiers(cursor: Cursor) -> None:
    """preview-mod *(SP preview-mod) ")", preview-mod = "LAZY"   (RFC 8970 s6)."""
    count = 1
    cursor.word_of(_PREVIEW_MODIFIERS)
    while cursor.more(count, len(_PREVIEW_MODIFIERS)):
        cursor.word_of(_PREVIEW_MODIFIERS)
        count += 1
    cursor.expect(b")")


def _section_part(cursor: Cursor) -> tuple[PartPath, bool]:
    """section-part = nz-number *("." nz-number), and whether a section-text follows."""
    part: list[int] = []
    while cursor.digit_next:
        if len(part) >= cursor.limits.max_part_depth:
            raise cursor.wrong("section-part", NESTED_TOO_DEEPLY)
        part.append(cursor.nz_number())
        if not cursor.accept(b"."):
            return tuple(part), False
    return tuple(part), True


def check_fields(cursor: Cursor, items: Sequence[FetchItem]) -> None:
    """Refuses too many names of header fields."""
    count = sum(len(item.section.fields) for item in items if isinstance(item, FetchSection))
    if count > cursor.limits.max_header_fields:
        raise cursor.wrong("fewer header fields", TOO_MANY_ITEMS)
