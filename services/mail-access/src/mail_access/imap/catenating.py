"""The octets that a URL of CATENATE names (RFC 4469): a message of the account, or a part of one."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple
from uuid import UUID

from mail_access.imap.context import Context, id_of
from mail_access.imap.decoding import GoneError, octets_of, whole
from mail_access.imap.refusals import CommandRefusedError, bad_url
from mail_access.imap.sections import Decoded, Filtered, Known, Message, Sized, Streamed, needs_of
from mail_access.imap.sharing import locate
from mail_access.login import Login
from mail_access.store import uid_ranges
from postroom.mailstore.v1 import mailbox_pb2
from postroom_wire.imap.errors import Refusal
from postroom_wire.imap.fetch_items import FetchSection
from postroom_wire.imap.imap_url import ImapUrlError, MessageUrl, parse_message_url
from postroom_wire.imap.section import filter_header


class _Place(NamedTuple):
    login: Login
    mailbox_id: UUID
    uid_validity: int


async def url_octets(context: Context, url: bytes) -> AsyncGenerator[bytes]:
    """What BODY.PEEK of the named section would give. Raises `CommandRefusedError` with BADURL."""
    try:
        wanted = parse_message_url(url)
        place = await _place(context, wanted, bad_url(url))
        async with aclosing(_octets(context, place, wanted)) as octets:
            async for each in octets:
                yield each
    except (ImapUrlError, GoneError):
        raise CommandRefusedError(bad_url(url)) from None


async def _octets(context: Context, place: _Place, wanted: MessageUrl) -> AsyncGenerator[bytes]:
    if wanted.uid_validity not in {None, place.uid_validity}:
        raise GoneError
    item = FetchSection(wanted.section, None, peek=True, label=b"")
    message = await _message(context, place, wanted.uid, item)
    source = message.source(item)
    match source:
        case Known(octets):
            if octets is None:
                raise GoneError
            yield octets
        case Filtered(asked, section):
            reading = context.resources.reader.read(place.login, place.mailbox_id, [asked])
            async with aclosing(reading) as pieces:
                yield filter_header(await whole(0, asked, pieces), section)
        case Streamed(asked) | Decoded(asked):
            reading = context.resources.reader.read(place.login, place.mailbox_id, [asked])
            async with aclosing(reading) as pieces, aclosing(octets_of(0, asked, pieces)) as octets:
                async for each in octets:
                    yield each
        case Sized():
            return


async def _place(context: Context, wanted: MessageUrl, missing: Refusal) -> _Place:
    """The mailbox that is named, or else the selected one."""
    if wanted.mailbox is None:
        if context.selected is None or context.selected.mailbox.gone:
            raise GoneError
        return _Place(context.reading, context.selected.mailbox.id, context.selected.mailbox.uid_validity)
    located, _ = await locate(context, wanted.mailbox, missing)
    return _Place(located.login, id_of(located.mailbox.id), located.mailbox.uid_validity)


async def _message(context: Context, place: _Place, uid: int, item: FetchSection) -> Message:
    """The message with the facts that its section needs."""
    needs = needs_of([item])
    request = mailbox_pb2.FetchFactsRequest(
        mailbox_id=place.mailbox_id.bytes,
        uids=uid_ranges([(uid, uid)]),
        parts=needs.parts or needs.header,  # of a header that is not kept the parts tell where it is
        header=needs.header,
        lean=True,
    )
    async with aclosing(context.resources.store.fetch_facts(place.login, request)) as pages:
        async for page in pages:
            for facts in page:
                return Message(facts.uid, facts.size, facts)
    raise GoneError
