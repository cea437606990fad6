"""FETCH and STORE (RFC 3501 s6.4.5, s6.4.6, s9 fetch-att)."""

from typing import Final

from postroom_wire.imap.commands import Fetch, Store, StoreMode
from postroom_wire.imap.cursor import Cursor
from postroom_wire.imap.errors import BAD_FLAG
from postroom_wire.imap.fetch_att import check_fields, fetch_att, named_att
from postroom_wire.imap.fetch_items import MACROS, FetchAttribute, FetchItem
from postroom_wire.imap.flags import RECENT
from postroom_wire.imap.qresync import fetch_modifiers, store_modifiers

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
    check_fields(cursor, items)
    modifiers = fetch_modifiers(cursor, uid=uid)
    if modifiers.changed_since is not None:
        items.append(FetchAttribute.MODSEQ)  # RFC 7162 s3.1.4.1
    return Fetch(messages, tuple(dict.fromkeys(items)), uid, modifiers, names_uid)


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
    return MACROS.get(word) or (named_att(cursor, word),)
