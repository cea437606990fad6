"""LIST with its options, LSUB and STATUS (RFC 3501 s6.3.8 to s6.3.10, RFC 5258 s6, RFC 6154 s6)."""

from dataclasses import dataclass, field
from typing import Final

from postroom_wire.imap.commands import List, ListReturn, ListSelection, Lsub, Status, StatusItem
from postroom_wire.imap.cursor import Cursor
from postroom_wire.imap.metadata import entries

_SELECTIONS: Final = {option.value: option for option in ListSelection}
_RETURNS: Final = {option.value: option for option in ListReturn}
_STATUS_ITEMS: Final = {item.value: item for item in StatusItem}
_IMPLIED: Final = {
    ListSelection.SUBSCRIBED: ListReturn.SUBSCRIBED,  # RFC 5258 s3.1
    ListSelection.SPECIAL_USE: ListReturn.SPECIAL_USE,  # RFC 6154 s2
}
_CRITERIA: Final = frozenset({ListSelection.SUBSCRIBED, ListSelection.SPECIAL_USE})
# No option twice is of use, so a list longer than this is nonsense.
_MAX_OPTIONS: Final = 8


@dataclass(slots=True)
class ReturnOptions:
    """What LIST is to tell beyond the names."""

    plain: set[ListReturn] = field(default_factory=set[ListReturn])
    status: tuple[StatusItem, ...] = ()
    metadata: tuple[str, ...] = ()


def parse_list(cursor: Cursor) -> List:
    """list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]."""
    cursor.sp()
    extended = cursor.next_is(b"(")
    selection: frozenset[ListSelection] = frozenset()
    if extended:
        selection = list_select_opts(cursor)
        cursor.sp()
    reference = cursor.astring()
    cursor.sp()
    extended = extended or cursor.next_is(b"(")
    patterns = mbox_or_pat(cursor)
    returns = ReturnOptions()
    if not cursor.at_end:
        cursor.sp()
        extended = True
        returns = list_return_opts(cursor)
    returns.plain |= {_IMPLIED[option] for option in selection if option in _IMPLIED}
    return List(
        reference, patterns, selection, frozenset(returns.plain), returns.status, returns.metadata, extended
    )


def list_select_opts(cursor: Cursor) -> frozenset[ListSelection]:
    """ "(" [list-select-opt *(SP list-select-opt)] ")"."""
    cursor.expect(b"(")
    options: list[ListSelection] = []
    if not cursor.next_is(b")"):
        options.append(cursor.word_of(_SELECTIONS))
        while cursor.more(len(options), _MAX_OPTIONS):
            options.append(cursor.word_of(_SELECTIONS))
    cursor.expect(b")")
    if ListSelection.RECURSIVEMATCH in options and not _CRITERIA & set(options):
        raise cursor.wrong("what RECURSIVEMATCH goes with")  # RFC 5258 s3.1
    return frozenset(options)


def list_return_opts(cursor: Cursor) -> ReturnOptions:
    """ "RETURN" SP "(" [return-option *(SP return-option)] ")"."""
    if not cursor.accept_word(b"RETURN"):
        raise cursor.wrong("RETURN")
    cursor.sp()
    cursor.expect(b"(")
    returns = ReturnOptions()
    if not cursor.next_is(b")"):
        _return_option(cursor, returns)
        count = 1
        while cursor.more(count, _MAX_OPTIONS):
            _return_option(cursor, returns)
            count += 1
    cursor.expect(b")")
    return returns


def _return_option(cursor: Cursor, returns: ReturnOptions) -> None:
    if cursor.accept_word(b"STATUS"):  # RFC 5819 s4
        cursor.sp()
        returns.status = status_items(cursor)
    elif cursor.accept_word(b"METADATA"):  # RFC 9590 s5
        cursor.sp()
        returns.metadata = entries(cursor)
    else:
        returns.plain.add(cursor.word_of(_RETURNS))


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
    return Status(mailbox, status_items(cursor))


def status_items(cursor: Cursor) -> tuple[StatusItem, ...]:
    """ "(" status-att *(SP status-att) ")", each once."""
    cursor.expect(b"(")
    items = [cursor.word_of(_STATUS_ITEMS)]
    while cursor.more(len(items), cursor.limits.max_fetch_items):
        items.append(cursor.word_of(_STATUS_ITEMS))
    cursor.expect(b")")
    return tuple(dict.fromkeys(items))
