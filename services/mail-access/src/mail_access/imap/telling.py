"""The responses of FETCH (RFC 3501 s7.4.2): attributes from facts at hand, octets as a stream."""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final, NamedTuple

from mail_access.content import Pieces, ReadRange
from mail_access.imap.context import Context, Selected
from mail_access.imap.decoding import GoneError, decoded, measure, octets_of, whole
from mail_access.imap.output import PIECE
from mail_access.imap.sections import Decoded, Filtered, Known, Message, Sized, Source, Streamed
from mail_access.mailbox_rows import Row
from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.errors import UnavailableError
from postroom_wire.imap import fetch_response
from postroom_wire.imap.enabling import Extension
from postroom_wire.imap.fetch_items import (
    FetchAttribute,
    FetchBinary,
    FetchBinarySize,
    FetchItem,
    FetchSection,
)
from postroom_wire.imap.object_id import email_object_id, thread_object_id
from postroom_wire.imap.section import cut, filter_header
from postroom_wire.mime import decode_transfer

_READS_AT_ONCE: Final = 1_000
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
        self._uid_only = context.uid_only
        also = [FetchAttribute.FLAGS]
        if Extension.CONDSTORE in context.enabled:
            also = [FetchAttribute.UID, FetchAttribute.FLAGS, FetchAttribute.MODSEQ]
        untold = {*items, FetchAttribute.UID} if context.uid_only else items
        self._also = tuple(item for item in also if item not in untold)

    async def tell(self, messages: Sequence[tuple[Row, Message]]) -> int:
        """All of them; how many there still were. Raises `PostroomError`.

        The output is broken when a literal was announced and cannot be finished.
        """
        wanted = [item for item in self._items if not isinstance(item, FetchAttribute)]
        at_once = max(_READS_AT_ONCE // max(len(wanted), 1), 1)
        told = 0
        for start in range(0, len(messages), at_once):
            ranges: list[ReadRange] = []
            planned: list[_Planned] = []
            for row, message in messages[start : start + at_once]:
                sources: list[tuple[int, Source]] = []
                for item in wanted:
                    source = message.source(item)
                    sources.append((len(ranges), source))
                    if (of_page := _read_with_others(source)) is not None:
                        ranges.append(of_page)
                planned.append(_Planned(row, message, sources))
            reader, mailbox_id = self._context.resources.reader, self._selected.mailbox.id
            reading = reader.read_together(self._context.reading, mailbox_id, ranges)
            async with aclosing(reading) as batches:
                pieces = Pieces(batches)
                for each in planned:
                    told += self._tell_at_hand(each, pieces) or await self._tell_one(each, pieces)
                    await self._context.output.flow()
        return told

    def _tell_at_hand(self, planned: "_Planned", pieces: Pieces) -> bool:
        """One response that needs no waiting, as most do; False, and nothing said, for any other."""
        match planned.sources:
            case [(number, Streamed(wanted))] if wanted.length <= PIECE:
                octets = pieces.take_whole(number, wanted.length)
            case _:
                return False
        if octets is None:
            return False
        said = [self._start(planned.row)]
        for item in self._all_items(planned.row):
            if len(said) > 1:
                said.append(b" ")
            if isinstance(item, FetchAttribute):
                said.append(attribute(self._selected, planned.row, item, planned.message.facts))
            else:
                said += (fetch_response.section_start(item.label, wanted.length), octets)
        said.append(fetch_response.END)
        self._context.output.write_all(said)
        return True

    def _start(self, row: Row) -> bytes:
        uid_only = self._uid_only
        return fetch_response.start(row.uid if uid_only else row.sequence_number, uid_only=uid_only)

    async def _tell_one(self, planned: "_Planned", pieces: Pieces) -> bool:
        """One response; False, and nothing said, when the message is gone."""
        output = self._context.output
        start = output.position
        output.write(self._start(planned.row))
        try:
            await self._tell_items(planned, pieces)
        except BaseException as error:
            output.broken = not output.rewind(start)
            if isinstance(error, GoneError) and not output.broken:
                return False
            raise
        output.write(fetch_response.END)
        return True

    async def _tell_items(self, planned: "_Planned", pieces: Pieces) -> None:
        waiting = iter(planned.sources)
        for at, item in enumerate(self._all_items(planned.row)):
            if at:
                self._context.output.write(b" ")
            match item:
                case FetchAttribute():
                    octets = attribute(self._selected, planned.row, item, planned.message.facts)
                    self._context.output.write(octets)
                case FetchSection() | FetchBinary() | FetchBinarySize():
                    await self._tell_content(item.label, *next(waiting), pieces)

    def _all_items(self, row: Row) -> Iterator[FetchItem]:
        """What was asked for, and FLAGS where the fetch itself changed them (s6.4.5, RFC 7162 s3.2.4)."""
        yield from self._items
        if row.uid in self._marked:
            yield from self._also

    async def _tell_content(self, label: bytes, number: int, source: Source, pieces: Pieces) -> None:
        output = self._context.output
        match source:
            case Known(octets):
                output.write(fetch_response.section(label, octets))
            case Filtered(wanted, section, partial):
                header = await whole(number, wanted, pieces)
                output.write(fetch_response.section(label, cut(filter_header(header, section), partial)))
            case Streamed(wanted):
                output.write(fetch_response.section_start(label, wanted.length))
                async for octets in octets_of(number, wanted, pieces):
                    await output.stream(octets)
            case Sized(size):
                output.write(fetch_response.binary_size(label, size))
            case Decoded(wanted, encoding) if source.gathered:
                octets = decode_transfer(await whole(number, wanted, pieces), encoding)
                if source.only_size:
                    output.write(fetch_response.binary_size(label, len(octets)))
                else:
                    output.write(fetch_response.binary(label, cut(octets, source.partial)))
            case Decoded():
                await self._tell_large(label, source)

    async def _tell_large(self, label: bytes, source: Decoded) -> None:
        """The size comes before the octets, so they are read twice; never held."""
        output = self._context.output
        async with aclosing(self._decoded(source)) as octets:
            measured = await measure(octets)
        if source.only_size:
            output.write(fetch_response.binary_size(label, measured.size))
            return
        output.write(fetch_response.binary_start(label, measured.size, has_nul=measured.has_nul))
        left = measured.size
        async with aclosing(self._decoded(source)) as octets:
            async for each in octets:
                left -= len(each)
                if left < 0:
                    raise GoneError
                await output.stream(each)
        if left:
            raise GoneError

    async def _decoded(self, source: Decoded) -> AsyncGenerator[bytes]:
        reader, mailbox_id = self._context.resources.reader, self._selected.mailbox.id
        async with (
            aclosing(reader.read(self._context.reading, mailbox_id, [source.range])) as pieces,
            aclosing(octets_of(0, source.range, pieces)) as encoded,
            aclosing(decoded(encoded, source.encoding, source.partial)) as octets,
        ):
            async for each in octets:
                yield each


def _read_with_others(source: Source) -> ReadRange | None:
    """What of a page's one stream belongs to this source."""
    match source:
        case Streamed(wanted) | Filtered(wanted):
            return wanted
        case Decoded(wanted) if source.gathered:
            return wanted
        case _:
            return None


class _Planned(NamedTuple):
    """A message, and where each section's octets come from: known, or the read of this number."""

    row: Row
    message: Message
    sources: Sequence[tuple[int, Source]]


def attribute(selected: Selected, row: Row, item: FetchAttribute, facts: mailbox_pb2.Facts | None) -> bytes:
    """What is known of a message, as its response says it."""
    match item:
        case FetchAttribute.UID:
            return fetch_response.uid(row.uid)
        case FetchAttribute.FLAGS:
            return fetch_response.flags(selected.flag_list(row.uid, row.word))
        case FetchAttribute.MODSEQ:
            return fetch_response.modseq(row.modseq)
        case FetchAttribute.RFC822_SIZE:
            return fetch_response.rfc822_size(row.size)
        case FetchAttribute.INTERNALDATE:
            return fetch_response.internal_date(datetime.fromtimestamp(row.date, UTC))
        case (
            FetchAttribute.ENVELOPE
            | FetchAttribute.BODY
            | FetchAttribute.BODYSTRUCTURE
            | FetchAttribute.EMAILID
            | FetchAttribute.THREADID
            | FetchAttribute.SAVEDATE
            | FetchAttribute.PREVIEW
        ):
            return _FROM_FACTS[item](facts or mailbox_pb2.Facts(), row)


def _plain(row: Row) -> bytes:
    """The structure of a message whose own is not known: one body of plain octets."""
    return b'("TEXT" "PLAIN" NIL NIL NIL "8BIT" %d 0)' % row.size


def _told(object_id: bytes) -> bytes:
    """A store of the release before does not tell it, and a client would keep another one."""
    if not object_id:
        raise UnavailableError("the store tells no object ids")
    return object_id


_FROM_FACTS: Final[Mapping[FetchAttribute, Callable[[mailbox_pb2.Facts, Row], bytes]]] = {
    FetchAttribute.ENVELOPE: lambda facts, _: fetch_response.envelope(facts.envelope or _NO_ENVELOPE),
    FetchAttribute.BODY: lambda facts, row: fetch_response.body(facts.body or _plain(row)),
    FetchAttribute.BODYSTRUCTURE: lambda facts, row: fetch_response.body_structure(
        facts.body_structure or _plain(row)
    ),
    FetchAttribute.EMAILID: lambda facts, _: fetch_response.email_id(email_object_id(_told(facts.email_id))),
    FetchAttribute.THREADID: lambda facts, _: fetch_response.thread_id(
        thread_object_id(_told(facts.thread_id))
    ),
    FetchAttribute.SAVEDATE: lambda facts, _: fetch_response.save_date(facts.saved_at.ToDatetime(tzinfo=UTC)),
    FetchAttribute.PREVIEW: lambda facts, _: fetch_response.preview(facts.preview),
}
