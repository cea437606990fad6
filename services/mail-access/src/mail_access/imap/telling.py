"""The responses of FETCH (RFC 3501 s7.4.2): attributes from facts at hand, octets as a stream."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final, NamedTuple

from mail_access.content import Piece, ReadRange
from mail_access.imap.context import Context, Selected
from mail_access.imap.sections import Filtered, Known, Message, Source, Streamed
from mail_access.mailbox_rows import Row
from postroom.mailstore.v1 import mailbox_pb2
from postroom_wire.imap import fetch_response
from postroom_wire.imap.fetch_items import FetchAttribute, FetchItem, FetchSection
from postroom_wire.imap.section import cut, filter_header

_READS_AT_ONCE: Final = 500
_NO_ENVELOPE: Final = b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"


class Page:
    """Tells some messages whose facts are at hand, with one stream of octets for all of them."""

    def __init__(
        self, context: Context, selected: Selected, items: Sequence[FetchItem], marked: frozenset[int]
    ) -> None:
        self._context = context
        self._selected = selected
        self._items = items
        self._marked = marked
        self._tells_flags = FetchAttribute.FLAGS in items

    async def tell(self, messages: Sequence[tuple[Row, Message]]) -> int:
        """All of them; how many there still were. Raises `PostroomError`.

        The output is broken when a literal was announced and cannot be finished.
        """
        sections = [item for item in self._items if isinstance(item, FetchSection)]
        at_once = max(_READS_AT_ONCE // max(len(sections), 1), 1)
        told = 0
        for start in range(0, len(messages), at_once):
            ranges: list[ReadRange] = []
            planned: list[_Planned] = []
            for row, message in messages[start : start + at_once]:
                sources: list[tuple[int, Source]] = []
                for section in sections:
                    source = message.source(section)
                    sources.append((len(ranges), source))
                    if not isinstance(source, Known):
                        ranges.append(source.range)
                planned.append(_Planned(row, message, sources))
            reader, mailbox_id = self._context.resources.reader, self._selected.mailbox.id
            async with aclosing(reader.read(self._context.login, mailbox_id, ranges)) as pieces:
                for each in planned:
                    told += await self._tell_one(each, pieces)
        return told

    async def _tell_one(self, planned: "_Planned", pieces: AsyncGenerator[Piece]) -> bool:
        """One response; False, and nothing said, when the message is gone."""
        output = self._context.output
        start = output.position
        output.write(fetch_response.start(planned.row.sequence_number))
        try:
            await self._tell_items(planned, pieces)
        except BaseException as error:
            output.broken = not output.rewind(start)
            if isinstance(error, _GoneError) and not output.broken:
                return False
            raise
        output.write(fetch_response.END)
        await output.flow()
        return True

    async def _tell_items(self, planned: "_Planned", pieces: AsyncGenerator[Piece]) -> None:
        waiting = iter(planned.sources)
        for at, item in enumerate(self._all_items(planned.row)):
            if at:
                self._context.output.write(b" ")
            if isinstance(item, FetchSection):
                await self._tell_section(item, *next(waiting), pieces)
            else:
                octets = attribute(self._selected, planned.row, item, planned.message.facts)
                self._context.output.write(octets)

    def _all_items(self, row: Row) -> Iterator[FetchItem]:
        """What was asked for, and FLAGS where the fetch itself changed them (s6.4.5)."""
        yield from self._items
        if row.uid in self._marked and not self._tells_flags:
            yield FetchAttribute.FLAGS

    async def _tell_section(
        self, item: FetchSection, number: int, source: Source, pieces: AsyncGenerator[Piece]
    ) -> None:
        output = self._context.output
        match source:
            case Known(octets):
                output.write(fetch_response.section(item.label, octets))
            case Filtered(wanted):
                header = await _whole(number, wanted, pieces)
                chosen = cut(filter_header(header, item.section), item.partial)
                output.write(fetch_response.section(item.label, chosen))
            case Streamed(wanted):
                output.write(fetch_response.section_start(item.label, wanted.length))
                async for octets in _octets(number, wanted, pieces):
                    await output.stream(octets)


class _Planned(NamedTuple):
    """A message, and where each section's octets come from: known, or the read of this number."""

    row: Row
    message: Message
    sources: Sequence[tuple[int, Source]]


class _GoneError(Exception):
    """The message went while it was read."""


async def _whole(number: int, wanted: ReadRange, pieces: AsyncGenerator[Piece]) -> bytes:
    return b"".join([octets async for octets in _octets(number, wanted, pieces)])


async def _octets(number: int, wanted: ReadRange, pieces: AsyncGenerator[Piece]) -> AsyncGenerator[bytes]:
    """The octets of the range of this number, exactly as many as wanted. Raises `_GoneError`."""
    got = 0
    async for piece in pieces:
        if piece.number < number:  # left over of a message that was gone
            continue
        got += len(piece.octets)
        if got > wanted.length or (piece.last and got < wanted.length):
            raise _GoneError
        if piece.octets:
            yield piece.octets
        if piece.last:
            return
    raise _GoneError


def attribute(selected: Selected, row: Row, item: FetchAttribute, facts: mailbox_pb2.Facts | None) -> bytes:
    """What is known of a message, as its response says it."""
    match item:
        case FetchAttribute.UID:
            return fetch_response.uid(row.uid)
        case FetchAttribute.FLAGS:
            return fetch_response.flags(selected.flag_list(row.uid, row.word))
        case FetchAttribute.RFC822_SIZE:
            return fetch_response.rfc822_size(row.size)
        case FetchAttribute.INTERNALDATE:
            return fetch_response.internal_date(datetime.fromtimestamp(row.date, UTC))
        case FetchAttribute.ENVELOPE:
            return fetch_response.envelope(facts.envelope if facts and facts.envelope else _NO_ENVELOPE)
        case FetchAttribute.BODY:
            return fetch_response.body(facts.body if facts and facts.body else _plain(row))
        case FetchAttribute.BODYSTRUCTURE:
            return fetch_response.body_structure(
                facts.body_structure if facts and facts.body_structure else _plain(row)
            )


def _plain(row: Row) -> bytes:
    """The structure of a message whose own is not known: one body of plain octets."""
    return b'("TEXT" "PLAIN" NIL NIL NIL "8BIT" %d 0)' % row.size
