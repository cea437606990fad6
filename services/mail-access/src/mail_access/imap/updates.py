"""What a session is told unasked: expunged messages, new ones, other flags (RFC 3501 s5.2, s7.4.1)."""

from collections.abc import Iterator
from typing import Final

from mail_access.imap.context import Context, Selected
from postroom_contracts.errors import PostroomError
from postroom_wire.imap import fetch_response, responses
from postroom_wire.imap.codes import permanent_flags
from postroom_wire.imap.errors import Condition
from postroom_wire.imap.flags import ANY_KEYWORD
from postroom_wire.imap.sequence import NumberRanges

MAX_RECENT_RANGES: Final = 1_000


async def tell_updates(context: Context, *, expunges: bool, at_once: bool = False) -> None:
    """Write what has changed; EXPUNGE only where the protocol allows it now.

    `at_once` leaves \\Recent for the next command to find out, since that is a change in the store.
    """
    selected = context.selected
    if selected is None:
        return
    if _has_new(selected):
        selected.claims_recent = True
    if not at_once:
        await claim_recent(context, selected)
    output = context.output
    if selected.names is not selected.mailbox.names:
        selected.names = selected.mailbox.names
        tell_flags(context, selected)
    updates = selected.view.updates(expunges=expunges)
    if updates.expunged:
        output.write(responses.expunges(updates.expunged))
    if updates.exists is not None:
        output.write(responses.exists(updates.exists))
        output.write(responses.recent(count_recent(selected)))
    for piece in fetch_response.uids_and_flags(_changed(selected, updates.changed)):
        output.write(piece)
    await output.flow()


def tell_flags(context: Context, selected: Selected) -> None:
    """FLAGS and PERMANENTFLAGS, in SELECT and when a keyword is new (s7.2.6)."""
    names = selected.mailbox.names.names
    context.output.write(responses.flags(names))
    lasting = () if selected.read_only else (*names, ANY_KEYWORD)
    context.output.write(responses.untagged(Condition.OK, b"Flags that last", permanent_flags(lasting)))


def count_recent(selected: Selected) -> int:
    """How many messages are \\Recent to this session."""
    count = 0
    for recent in selected.recent:
        for place in NumberRanges((recent,)).slices(selected.mailbox.rows.uids.array):
            count += place.stop - place.start
    return count


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
    if not selected.claims_recent or selected.mailbox.gone:
        return
    selected.claims_recent = False
    try:
        first, last = await context.resources.store.claim_recent(context.login, selected.mailbox.id)
    except PostroomError:  # then they are recent to a later session
        return
    add_recent(selected, first, last)


def _has_new(selected: Selected) -> bool:
    """Whether there are messages that the client does not know of, in a mailbox that it may change."""
    rows = selected.mailbox.rows
    return not selected.read_only and len(rows) > 0 and rows.uids.array[-1] > selected.view.last_uid


def _changed(selected: Selected, changed: list[tuple[int, int]]) -> Iterator[tuple[int, int, str]]:
    for number, uid in changed:
        if (word := selected.mailbox.rows.word(uid)) is not None:
            yield number, uid, selected.flag_list(uid, word)
