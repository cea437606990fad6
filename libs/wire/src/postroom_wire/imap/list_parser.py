"""LIST with its options, LSUB and STATUS (RFC 3501 s6.3.8 to s6.3.10, RFC 5258 s6, RFC 6154 s6)."""

from typing import Final

from postroom_wire.imap.commands import List, ListReturn, ListSelection, Lsub, Status, StatusItem
from postroom_wire.imap.cursor import Cursor

_SELECTIONS: Final = {option.value: option for option in ListSelection}
_RETURNS: Final = {option.value: option for option in ListReturn}
_STATUS_ITEMS: Final = {item.value: item for item in StatusItem}
_IMPLIED: Final = {
    ListSelection.SUBSCRIBED: ListReturn.SUBSCRIBED,  # RFC 5258 s3.1
    ListSelection.SPECIAL_USE: ListReturn.SPECIAL_USE,  # RFC 6154 s2
}
# No option twice is of use, so a list longer than this is nonsense.
_MAX_OPTIONS: Final = 8


def parse_list(cursor: Cursor) -> List:
    """list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]."""
    cursor.sp()
    selection: frozenset[ListSelection] = frozenset()
    if cursor.next_is(b"("):
        selection = list_select_opts(cursor)
        cursor.sp()
    reference = cursor.astring()
    cursor.sp()
    patterns = mbox_or_pat(cursor)
    returns = {_IMPLIED[option] for option in selection if option in _IMPLIED}
    if not cursor.at_end:
        cursor.sp()
        returns |= list_return_opts(cursor)
    return List(reference, patterns, selection, frozenset(returns))


def list_select_opts(cursor: Cursor) -> frozenset[ListSelection]:
    """ "(" [list-select-opt *(SP list-select-opt)] ")"."""
    cursor.expect(b"(")
    options: list[ListSelection] = []
    if not cursor.next_is(b")"):
        options.append(cursor.word_of(_SELECTIONS))
        while cursor.more(len(options), _MAX_OPTIONS):
            options.append(cursor.word_of(_SELECTIONS))
    cursor.expect(b")")
    return frozenset(options)


def list_return_opts(cursor: Cursor) -> frozenset[ListReturn]:
    """ "RETURN" SP "(" [return-option *(SP return-option)] ")"."""
    if not cursor.accept_word(b"RETURN"):
        raise cursor.wrong("RETURN")
    cursor.sp()
    cursor.expect(b"(")
    options: list[ListReturn] = []
    if not cursor.next_is(b")"):
        options.append(cursor.word_of(_RETURNS))
        while cursor.more(len(options), _MAX_OPTIONS):
            options.append(cursor.word_of(_RETURNS))
    cursor.expect(b")")
    return frozenset(options)


def mbox_or_pat(cursor: Cursor) -> tuple[bytes, ...]:
    """list-mailbox / "(" list-mailbox *(SP list-mailbox) ")"."""
    if not cursor.accept(b"("):
        return (cursor.list_mailbox(),)
    patterns = [cursor.list_mailbox()]
    while cursor.more(len(patterns), cursor.limits.max_list_patterns):
        patterns.append(cursor.list_mailbox())
    cursor.expect(b")")
    return tuple(patterns)


def parse_lsub(cursor: Cursor) -> Lsub:
    """lsub = "LSUB" SP mailbox SP list-mailbox."""
    cursor.sp()
    reference = cursor.astring()
    cursor.sp()
    return Lsub(reference, cursor.list_mailbox())


def parse_status(cursor: Cursor) -> Status:
    """status = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")"."""
    cursor.sp()
    mailbox = cursor.mailbox()
    cursor.sp()
    cursor.expect(b"(")
    items = [cursor.word_of(_STATUS_ITEMS)]
    while cursor.more(len(items), cursor.limits.max_fetch_items):
        items.append(cursor.word_of(_STATUS_ITEMS))
    cursor.expect(b")")
    return Status(mailbox, tuple(dict.fromkeys(items)))
