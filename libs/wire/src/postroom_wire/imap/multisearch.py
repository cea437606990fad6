"""ESEARCH over several mailboxes (RFC 7377): the command, and its responses."""

from dataclasses import dataclass
from typing import Final

from postroom_wire.imap.cursor import Cursor
from postroom_wire.imap.encoding import encode_mailbox
from postroom_wire.imap.errors import Refusal, Tag
from postroom_wire.imap.esearch import ALL_RESULTS, Results, ReturnOptions, encode_esearch, parse_return
from postroom_wire.imap.mailbox_filter import FilterKind, MailboxFilter, filter_mailboxes
from postroom_wire.imap.mailbox_name import MailboxName
from postroom_wire.imap.search_keys import SearchKey
from postroom_wire.imap.search_parser import parse_program

SELECTED_ONLY: Final = (MailboxFilter(FilterKind.SELECTED),)


@dataclass(frozen=True, slots=True)
class MultiSearch:
    """s2; its responses are always of UIDs. `refused` as with SEARCH."""

    sources: tuple[MailboxFilter, ...]
    key: SearchKey
    returns: ReturnOptions = ALL_RESULTS
    refused: Refusal | None = None

    @property
    def needs_selected(self) -> bool:
        """Whether a mailbox must be selected (s2.2)."""
        return any(source.kind is FilterKind.SELECTED for source in self.sources)


def parse_multisearch(cursor: Cursor) -> MultiSearch:
    """esearch = "ESEARCH" [SP esearch-source-opts] [SP search-return-opts] SP search-program.

    esearch-source-opts = "IN" SP "(" filter-mailboxes *(SP filter-mailboxes) ")"; no scope option is defined.
    """
    cursor.sp()
    sources = SELECTED_ONLY
    if cursor.accept_word(b"IN"):
        sources = _sources(cursor)
        cursor.sp()
    returns = parse_return(cursor) or ALL_RESULTS
    if returns.saves and any(source.kind is not FilterKind.SELECTED for source in sources):  # s2.2
        raise cursor.wrong("SAVE for the selected mailbox only")
    key, refused = parse_program(cursor, returns)
    return MultiSearch(sources, key, returns, refused)


def encode_multisearch(
    tag: Tag, mailbox: MailboxName, uid_validity: int, found: Results, wanted: ReturnOptions
) -> bytes:
    """ESEARCH with the correlators of s2.1; there is none for a mailbox where nothing is found."""
    line = encode_esearch(tag, found, wanted, uid=True)
    head = b'* ESEARCH (TAG "%b"' % tag
    names = b" MAILBOX %b UIDVALIDITY %d" % (encode_mailbox(mailbox), uid_validity)
    return head + names + line.removeprefix(head)


def _sources(cursor: Cursor) -> tuple[MailboxFilter, ...]:
    cursor.sp()
    cursor.expect(b"(")
    sources = [filter_mailboxes(cursor)]
    while cursor.more(len(sources), cursor.limits.max_filter_mailboxes):
        sources.append(filter_mailboxes(cursor))
    cursor.expect(b")")
    return tuple(sources)
