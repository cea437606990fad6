"""FETCH (RFC 3501 s6.4.5): what memory knows, facts from the store's rows, and octets of messages.

Octets are a stream that goes no faster than the client reads.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from itertools import count
from typing import Final

from mail_access.imap.context import Context, Done, Selected
from mail_access.imap.flagging import store_in
from mail_access.imap.limiting import ordered, pieces, tell_limited
from mail_access.imap.refusals import EXPUNGED, CommandRefusedError
from mail_access.imap.sections import Message, Needs, needs_of, sets_seen
from mail_access.imap.synchronizing import tell_changes
from mail_access.imap.telling import Page, attribute
from mail_access.imap.untold import read_rows
from mail_access.mailbox_rows import SEEN, Row
from mail_access.store import uid_ranges
from postroom.mailstore.v1 import mailbox_pb2
from postroom_wire.imap import fetch_response
from postroom_wire.imap.commands import Fetch
from postroom_wire.imap.fetch_items import FetchAttribute, FetchItem
from postroom_wire.imap.sequence import NumberRanges

_ROWS_AT_ONCE: Final = 2_000
_MESSAGES_AT_ONCE: Final = 2_000
_MARKED_AT_ONCE: Final = 200
"""What is marked as seen is soon sent, too."""
_FLAGS: Final = (FetchAttribute.FLAGS,)
_UID_FLAGS: Final = frozenset({FetchAttribute.UID, FetchAttribute.FLAGS})


async def fetch(context: Context, command: Fetch) -> Done:
    """FETCH and UID FETCH."""
    selected = context.require_selected()
    wanted = await tell_changes(context, selected, command)
    items = command.items
    if context.uid_only and not command.names_uid:  # the response has the UID in its number's place
        items = tuple(item for item in items if item is not FetchAttribute.UID)
    told = await tell_messages(context, selected, wanted.numbers, items, backwards=wanted.is_part)
    if told < len(wanted.numbers) and not command.uid:
        tell_limited(context, wanted.code)
        raise CommandRefusedError(EXPUNGED)  # RFC 2180 s4.1.2
    return Done(b"FETCH completed", limited=wanted.code)


async def tell_messages(
    context: Context,
    selected: Selected,
    numbers: NumberRanges,
    items: Sequence[FetchItem],
    *,
    backwards: bool = False,
) -> int:
    """The responses, the last message's first if `backwards`; how many messages there still were.

    Raises `PostroomError`, perhaps in the middle of one.
    """
    content = any(not isinstance(item, FetchAttribute) for item in items)
    tell = _with_store if content or needs_of(items) else _from_memory
    return await tell(context, selected, numbers, items, backwards=backwards)


async def _from_memory(
    context: Context,
    selected: Selected,
    numbers: NumberRanges,
    items: Sequence[FetchItem],
    *,
    backwards: bool,
) -> int:
    """How many messages were told."""
    told = 0
    only_flags = frozenset(items) == _UID_FLAGS
    encode = fetch_response.uid_only_uids_and_flags if context.uid_only else fetch_response.uids_and_flags
    for some in pieces(numbers, _ROWS_AT_ONCE, backwards=backwards):
        if only_flags and (flags := _all_flags(selected, some)) is not None:
            for piece in encode(ordered(flags, backwards=backwards)):
                context.output.write(piece)
            told += len(some)
            await context.output.flow()
            continue
        rows = ordered(await read_rows(context, selected, some), backwards=backwards)
        told += len(rows)
        if items == _FLAGS and context.uid_only:
            told_flags = ((row.uid, selected.flag_list(row.uid, row.word)) for row in rows)
            for piece in fetch_response.uid_only_flags(told_flags):
                context.output.write(piece)
        elif only_flags:
            flags = ((row.sequence_number, row.uid, selected.flag_list(row.uid, row.word)) for row in rows)
            for piece in encode(flags):
                context.output.write(piece)
        else:
            for row in rows:
                octets = (
                    attribute(selected, row, item, None) for item in items if isinstance(item, FetchAttribute)
                )
                number = row.uid if context.uid_only else row.sequence_number
                context.output.write(fetch_response.fetch(number, octets, uid_only=context.uid_only))
        await context.output.flow()
    return told


def _all_flags(selected: Selected, numbers: NumberRanges) -> list[tuple[int, int, str]] | None:
    """Sequence number, UID and flag-list of each of these messages; None when one of them is gone."""
    runs = selected.mailbox.rows.words(selected.view, numbers)
    if sum(len(run.uids) for run in runs) < len(numbers):
        return None
    return [
        row
        for run in runs
        for row in zip(
            count(run.sequence_number), run.uids, selected.flag_lists(run.uids, run.words), strict=False
        )
    ]


async def _with_store(
    context: Context,
    selected: Selected,
    numbers: NumberRanges,
    items: Sequence[FetchItem],
    *,
    backwards: bool,
) -> int:
    """The same where the store is asked."""
    needs, marks = needs_of(items), any(map(sets_seen, items))
    told = 0
    size = _MARKED_AT_ONCE if marks or backwards else _MESSAGES_AT_ONCE
    for some in pieces(numbers, size, backwards=backwards):
        extra: frozenset[int] = frozenset()
        if marks and selected.keeps_seen:
            extra = await _mark_seen(context, selected, some)
        rows = {row.uid: row for row in await read_rows(context, selected, some)}
        try:
            async with aclosing(_messages(context, selected, rows, needs, backwards=backwards)) as pages:
                async for page in pages:
                    told += await Page(context, selected, items, extra).tell(
                        [(rows[each.uid], each) for each in page]
                    )
        except BaseException:
            selected.view.flags_changed(extra)  # told with what others changed
            raise
        told_modseqs = (rows[uid].modseq for uid in extra if uid in rows)
        selected.told_modseq = max(selected.told_modseq, *told_modseqs, 0)
    return told


async def _mark_seen(context: Context, selected: Selected, numbers: NumberRanges) -> frozenset[int]:
    """Set \\Seen; the UIDs of those that did not have it."""
    unseen = [row.uid for row in selected.mailbox.rows.read(selected.view, numbers) if not row.word & SEEN]
    if unseen:
        request = mailbox_pb2.StoreFlagsRequest(
            uids=uid_ranges(NumberRanges.of(unseen).ranges),
            mode=mailbox_pb2.StoreFlagsRequest.MODE_ADD,
            flags=SEEN,
        )
        await store_in(context, selected, request, _seen)
    return frozenset(unseen)


def _seen(word: int) -> int:
    return word | SEEN


async def _messages(
    context: Context, selected: Selected, rows: dict[int, Row], needs: Needs, *, backwards: bool
) -> AsyncGenerator[Sequence[Message]]:
    """The messages with what is needed of them, in pages of about a MiB; what is gone is left out.

    They come as one page if `backwards`.
    """
    if not needs:
        yield ordered([Message(row.uid, row.size) for row in rows.values()], backwards=backwards)
        return
    store, login = context.resources.store, context.reading
    request = mailbox_pb2.FetchFactsRequest(
        mailbox_id=selected.mailbox.id.bytes,
        uids=uid_ranges(NumberRanges.of(rows).ranges),
        envelope=needs.envelope,
        structure=needs.structure,
        parts=needs.parts,
        header=needs.header,
        object_ids=needs.object_ids,
        preview=needs.preview,
        save_date=needs.save_date,
        lean=True,
        expunged=True,
    )
    gathered: list[Message] = []
    async with aclosing(store.fetch_facts(login, request)) as pages:
        async for page in pages:
            messages = [Message(facts.uid, facts.size, facts) for facts in page if facts.uid in rows]
            if needs.header:
                await _add_parts(context, selected, messages)
            if backwards:
                gathered += messages
            else:
                yield messages
    if gathered:
        yield ordered(gathered, backwards=True)


async def _add_parts(context: Context, selected: Selected, messages: list[Message]) -> None:
    """Part tables for those whose kept header is not whole."""
    lacking = {message.uid: message for message in messages if message.needs_parts}
    if not lacking:
        return
    request = mailbox_pb2.FetchFactsRequest(
        mailbox_id=selected.mailbox.id.bytes,
        uids=uid_ranges(NumberRanges.of(sorted(lacking)).ranges),
        parts=True,
        lean=True,
        expunged=True,
    )
    async with aclosing(context.resources.store.fetch_facts(context.reading, request)) as pages:
        async for page in pages:
            for facts in page:
                if (message := lacking.get(facts.uid)) is not None and message.facts is not None:
                    message.facts.parts = facts.parts
