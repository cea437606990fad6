"""Messages that are gone and of which the session was not told are fetched as before (RFC 2180 s4.1.3)."""

from collections.abc import Sequence
from contextlib import aclosing

from mail_access.imap.context import Context, Selected
from mail_access.mailbox_rows import Row
from mail_access.store import uid_ranges
from postroom.mailstore.v1 import mailbox_pb2
from postroom_wire.imap.flags import KEYWORD_SHIFT
from postroom_wire.imap.sequence import NumberRanges


async def read_rows(context: Context, selected: Selected, numbers: NumberRanges) -> Sequence[Row]:
    """The messages of these sequence numbers in their order; those that are gone as they were last.

    These come from the store. What it has forgotten too is left out.
    """
    rows = selected.mailbox.rows.read(selected.view, numbers)
    if len(rows) == len(numbers):
        return rows
    gone = {run.uids[0]: run.sequence_number for run in selected.view.runs(numbers) if run.start is None}
    request = mailbox_pb2.FetchFactsRequest(
        mailbox_id=selected.mailbox.id.bytes,
        uids=uid_ranges(NumberRanges.of(sorted(gone)).ranges),
        expunged=True,
    )
    async with aclosing(context.resources.store.fetch_facts(selected.login, request)) as pages:
        rows += [_row(gone[facts.uid], facts) async for page in pages for facts in page if facts.uid in gone]
    return sorted(rows)


def _row(number: int, facts: mailbox_pb2.Facts) -> Row:
    word = facts.flags | facts.keywords << KEYWORD_SHIFT
    return Row(number, facts.uid, word, facts.size, facts.internal_date.seconds, facts.modseq)
