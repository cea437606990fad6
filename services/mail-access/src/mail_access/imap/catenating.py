"""The octets that a URL of CATENATE names (RFC 4469): a message of the account, or a part of one."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple
from uuid import UUID

from mail_access.imap.context import Context, id_of
from mail_access.imap.decoding import GoneError, octets_of, whole
from mail_access.imap.refusals import CommandRefusedError, bad_url
from mail_access.imap.sections import Decoded, Filtered, Known, Message, Sized, Streamed, needs_of
from mail_access.store import uid_ranges
from postroom.mailstore.v1 import mailbox_pb2
from postroom_wire.imap.fetch_items import FetchSection
from postroom_wire.imap.imap_url import ImapUrlError, MessageUrl, parse_message_url
from postroom_wire.imap.section import filter_header


class _Place(NamedTuple):
    mailbox_id: UUID
    uid_validity: int


async def url_octets(context: Context, url: bytes) -> AsyncGenerator[bytes]:
    """What BODY.PEEK of the named section would give. Raises `CommandRefusedError` with BADURL."""
    try:
        wanted = parse_message_url(url)
        async with aclosing(_octets(context, wanted)) as octets:
            async for each in octets:
                yield each
    except (ImapUrlError, GoneError):
        raise CommandRefusedError(bad_url(url)) from None


async def _octets(context: Context, wanted: MessageUrl) -> AsyncGenerator[bytes]:
    place = await _place(context, wanted)
    if wanted.uid_validity not in {None, place.uid_validity}:
        raise GoneError
    item = FetchSection(wanted.section, None, peek=True, label=b"")
    message = await _message(context, place.mailbox_id, wanted.uid, item)
    source = message.source(item)
    match source:
        case Known(octets):
            if octets is None:
                raise GoneError
            yield octets
        case Filtered(asked, section):
            reading = context.resources.reader.read(context.login, place.mailbox_id, [asked])
            async with aclosing(reading) as pieces:
                yield filter_header(await whole(0, asked, pieces), section)
        case Streamed(asked) | Decoded(asked):
            reading = context.resources.reader.read(context.login, place.mailbox_id, [asked])
            async with aclosing(reading) as pieces, aclosing(octets_of(0, asked, pieces)) as octets:
                async for each in octets:
                    yield each
        case Sized():
            return


async def _place(context: Context, wanted: MessageUrl) -> _Place:
    """The mailbox that is named, or else the selected one."""
    if wanted.mailbox is None:
        if context.selected is None or context.selected.mailbox.gone:
            raise GoneError
        return _Place(context.selected.mailbox.id, context.selected.mailbox.uid_validity)
    for mailbox in (await context.resources.store.list_mailboxes(context.login)).mailboxes:
        if mailbox.name == wanted.mailbox.value:
            return _Place(id_of(mailbox.id), mailbox.uid_validity)
    raise GoneError


async def _message(context: Context, mailbox_id: UUID, uid: int, item: FetchSection) -> Message:
    """The message with the facts that its section needs."""
    needs = needs_of([item])
    request = mailbox_pb2.FetchFactsRequest(
        mailbox_id=mailbox_id.bytes,
        uids=uid_ranges([(uid, uid)]),
        structure=needs.structure or needs.header,  # of a header that is not kept the parts tell where it is
        header=needs.header,
    )
    async with aclosing(context.resources.store.fetch_facts(context.login, request)) as pages:
        async for page in pages:
            for facts in page:
                return Message(facts.uid, facts.size, facts)
    raise GoneError
