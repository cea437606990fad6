"""What a session is told unasked: expunged messages, new ones, other flags (RFC 3501 s5.2, s7.4.1)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from mail_access.imap.context import Context, Selected
from mail_access.mailbox_rows import Row
from postroom_contracts.errors import PostroomError
from postroom_wire.imap import fetch_response, responses
from postroom_wire.imap.acl import Rights
from postroom_wire.imap.codes import permanent_flags
from postroom_wire.imap.enabling import Extension
from postroom_wire.imap.errors import Condition
from postroom_wire.imap.flags import ANY_KEYWORD, DELETED, SEEN, Flag
from postroom_wire.imap.qresync import highest_modseq, vanished
from postroom_wire.imap.sequence import NumberRanges
from postroom_wire.imap.view import Updates

MAX_RECENT_RANGES: Final = 1_000


def tell_exists(context: Context, selected: Selected, count: int) -> None:
    """EXISTS, and RECENT where there is one."""
    context.output.write(responses.exists(count))
    if context.tells_recent:
        context.output.write(responses.recent(count_recent(selected)))


def write_flags(context: Context, selected: Selected, rows: Sequence[Row], *, uid: bool) -> None:
    """FETCH responses with flags, and with UID and MODSEQ for who enabled CONDSTORE (RFC 7162 s3.2.4)."""
    flags = ((row, selected.flag_list(row.uid, row.word)) for row in rows)
    if Extension.CONDSTORE in context.enabled:
        _note_modseqs(selected, rows)
        pieces = _with_modseqs(context, flags)
    elif context.uid_only:
        pieces = fetch_response.uid_only_flags((row.uid, each) for row, each in flags)
    elif uid or Extension.IMAP4REV2 in context.enabled:  # RFC 9051 s7.5.2
        pieces = fetch_response.uids_and_flags((row.sequence_number, row.uid, each) for row, each in flags)
    else:
        pieces = fetch_response.only_flags((row.sequence_number, each) for row, each in flags)
    for piece in pieces:
        context.output.write(piece)


def _with_modseqs(context: Context, flags: Iterable[tuple[Row, str]]) -> Iterator[bytes]:
    if context.uid_only:
        return fetch_response.uid_only_with_modseqs((row.uid, each, row.modseq) for row, each in flags)
    return fetch_response.with_modseqs(
        (row.sequence_number, row.uid, each, row.modseq) for row, each in flags
    )


def write_modseqs(context: Context, selected: Selected, rows: Sequence[Row]) -> None:
    """FETCH responses with UID and MODSEQ."""
    _note_modseqs(selected, rows)
    if context.uid_only:
        pieces = fetch_response.uid_only_modseqs((row.uid, row.modseq) for row in rows)
    else:
        pieces = fetch_response.only_modseqs((row.sequence_number, row.uid, row.modseq) for row in rows)
    for piece in pieces:
        context.output.write(piece)


def tell_highest_modseq(context: Context) -> None:
    """HIGHESTMODSEQ where the client would reckon another one from what it was told (RFC 7162 s6).

    Above it there may be expunges that cannot be told yet, or changes that did not reach this process.
    """
    selected = context.selected
    if selected is None or Extension.CONDSTORE not in context.enabled:
        return
    settled = selected.reader.settled
    reckoned = max(selected.client_modseq or 0, selected.told_modseq)
    if selected.client_modseq is None or settled != reckoned or selected.mailbox.rows.top_modseq > settled:
        context.output.write(responses.untagged(Condition.OK, b"Highest", take_highest_modseq(selected)))
    selected.client_modseq, selected.told_modseq = settled, 0


def take_highest_modseq(selected: Selected) -> bytes:
    """The code HIGHESTMODSEQ, which then counts as told."""
    selected.client_modseq, selected.told_modseq = selected.reader.settled, 0
    return highest_modseq(selected.reader.settled)


def tell_flags(context: Context, selected: Selected) -> None:
    """FLAGS and PERMANENTFLAGS, in SELECT and when a keyword is new (s7.2.6)."""
    names = selected.mailbox.names.names
    context.output.write(responses.flags(names))
    lasting = () if selected.read_only else _lasting(names, selected.rights)
    context.output.write(responses.untagged(Condition.OK, b"Flags that last", permanent_flags(lasting)))


def _lasting(names: Sequence[Flag], rights: Rights) -> list[Flag]:
    """The flags that the user may change for good (RFC 4314 s5.1.1)."""
    needed = {SEEN: Rights.SEEN, DELETED: Rights.DELETE_MESSAGES}
    return [name for name in (*names, ANY_KEYWORD) if rights & needed.get(name, Rights.WRITE)]


def count_recent(selected: Selected) -> int:
    """How many of the messages that the client was told of are \\Recent to this session."""
    return sum(selected.view.count(first, last) for first, last in selected.recent)


def add_recent(selected: Selected, first: int, last: int) -> None:
    """These messages are \\Recent to this session."""
    if first > last:
        return
    if selected.recent and selected.recent[-1][1] + 1 == first:
        first = selected.recent.pop()[0]
    selected.recent.append((first, last))
    del selected.recent[:-MAX_RECENT_RANGES]


async def claim_recent(context: Context, selected: Selected) -> None:
    """New messages are \\Recent to the first session that was told of them and asks (s2.3.2)."""
    if not selected.claims_recent or selected.mailbox.gone or not context.tells_recent:
        return
    selected.claims_recent = False
    try:
        first, last = await context.resources.store.claim_recent(selected.login, selected.mailbox.id)
    except PostroomError:  # then they are recent to a later session
        return
    add_recent(selected, first, last)


def has_new(selected: Selected) -> bool:
    """Whether there are messages that the client does not know of, in a mailbox that it may change."""
    rows = selected.mailbox.rows
    return not selected.read_only and len(rows) > 0 and rows.uids.array[-1] > selected.view.last_uid


def tell_expunges(context: Context, updates: Updates) -> None:
    """EXPUNGE, or VANISHED for who has enabled QRESYNC or UIDONLY (RFC 7162 s3.2.10, RFC 9586 s3)."""
    if context.uid_only or Extension.QRESYNC in context.enabled:
        context.output.write(vanished(NumberRanges.of(updates.vanished)))
    else:
        context.output.write(responses.expunges(updates.expunged))


def _note_modseqs(selected: Selected, rows: Sequence[Row]) -> None:
    selected.told_modseq = max(selected.told_modseq, *(row.modseq for row in rows), 0)
