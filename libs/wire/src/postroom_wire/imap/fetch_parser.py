"""FETCH and STORE (RFC 3501 s6.4.5, s6.4.6, s9 fetch-att)."""

from typing import Final

from postroom_wire.imap.commands import Fetch, Store, StoreMode
from postroom_wire.imap.cursor import Cursor
from postroom_wire.imap.errors import BAD_FLAG, NESTED_TOO_DEEPLY, TOO_MANY_ITEMS
from postroom_wire.imap.fetch_items import (
    MACROS,
    FetchAttribute,
    FetchBinary,
    FetchBinarySize,
    FetchItem,
    FetchSection,
    binary_label,
    section_label,
)
from postroom_wire.imap.flags import RECENT
from postroom_wire.imap.qresync import fetch_modifiers, store_modifiers
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
_STORE_ITEMS: Final = {b"FLAGS": False, b"FLAGS.SILENT": True}


def parse_fetch(cursor: Cursor, *, uid: bool) -> Fetch:
    """fetch = "FETCH" SP sequence-set SP fetch-items [fetch-modifiers].

    fetch-items = macro / fetch-att / "(" fetch-att *(SP fetch-att) ")"
    """
    cursor.sp()
    messages = cursor.sequence_set()
    cursor.sp()
    items: list[FetchItem] = []
    if cursor.accept(b"("):
        items.append(fetch_att(cursor))
        while cursor.more(len(items), cursor.limits.max_fetch_items):
            items.append(fetch_att(cursor))
        cursor.expect(b")")
    else:
        items.extend(_macro_or_att(cursor))
    names_uid = uid and FetchAttribute.UID in items
    if uid:
        items.insert(0, FetchAttribute.UID)  # s6.4.8
    _check_fields(cursor, items)
    modifiers = fetch_modifiers(cursor, uid=uid)
    if modifiers.changed_since is not None:
        items.append(FetchAttribute.MODSEQ)  # RFC 7162 s3.1.4.1
    return Fetch(messages, tuple(dict.fromkeys(items)), uid, modifiers, names_uid)


def fetch_att(cursor: Cursor) -> FetchItem:
    """fetch-att = "ENVELOPE" / ... / "BODY" section ["<" number "." nz-number ">"] / ..."""
    return _fetch_att(cursor, cursor.word())


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


def parse_store(cursor: Cursor, *, uid: bool) -> Store:
    """store = "STORE" SP sequence-set SP [store-modifiers] store-att-flags.

    store-att-flags = (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag)))
    """
    cursor.sp()
    messages = cursor.sequence_set()
    cursor.sp()
    unchanged_since = store_modifiers(cursor)
    mode = StoreMode.REPLACE
    if cursor.accept(b"+"):
        mode = StoreMode.ADD
    elif cursor.accept(b"-"):
        mode = StoreMode.REMOVE
    silent = cursor.word_of(_STORE_ITEMS)
    cursor.sp()
    flags = cursor.flag_list() if cursor.next_is(b"(") else cursor.flags()
    if RECENT in flags:  # s2.3.2: a client cannot alter it
        raise cursor.wrong("flag", BAD_FLAG)
    return Store(messages, mode, silent, flags, uid, unchanged_since)


def _macro_or_att(cursor: Cursor) -> tuple[FetchItem, ...]:
    word = cursor.word()
    return MACROS.get(word) or (_fetch_att(cursor, word),)


def _fetch_att(cursor: Cursor, word: bytes) -> FetchItem:
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


def _check_fields(cursor: Cursor, items: list[FetchItem]) -> None:
    count = sum(len(item.section.fields) for item in items if isinstance(item, FetchSection))
    if count > cursor.limits.max_header_fields:
        raise cursor.wrong("fewer header fields", TOO_MANY_ITEMS)
