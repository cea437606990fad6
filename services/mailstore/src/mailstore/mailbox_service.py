"""The MailboxService: an account's mailboxes for the services that show them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeVar
from uuid import UUID

import grpc

from mailstore.accounts import ensure_accounts, lock_accounts
from mailstore.blobs.reader import BlobReader
from mailstore.blobs.segments import OpenSegment
from mailstore.intake.item import Uploaded, parse_content, parse_instant
from mailstore.intake.uploads import Uploads, presigned_messages
from mailstore.mailbox_messages import (
    facts_message,
    keyword_messages,
    mailbox_message,
    parse_terms,
    parse_use,
    rows_message,
)
from mailstore.mailboxes import catalogue
from mailstore.mailboxes.appending import Appending, append_message, check_digest, inline_octets
from mailstore.mailboxes.catalogue import Owner
from mailstore.mailboxes.facts import FactColumns, stored_facts
from mailstore.mailboxes.flags import FlagChange, StoreMode, keywords_of, parse_keywords, store_flags
from mailstore.mailboxes.moving import Copied, copy_messages, move_messages, remove_messages
from mailstore.mailboxes.names import parse_name
from mailstore.mailboxes.octets import RangeWanted, read_messages
from mailstore.mailboxes.recent import claim_recent
from mailstore.mailboxes.rows import changes_since, pages
from mailstore.mailboxes.searching import MAX_TERMS, search_text
from mailstore.mailboxes.uid_ranges import Ranges, parse_ranges, range_messages
from mailstore.scanning import MessageFacts, message_facts
from postroom.mailstore.v1 import content_pb2, mailbox_pb2, mailbox_pb2_grpc
from postroom_contracts.capability import CapabilityVerifier, Scope
from postroom_contracts.errors import InvalidRequestError, LimitError, MailboxNotFoundError, PostroomError
from postroom_contracts.ids import parse_id
from postroom_runtime.grpc_server import capability_token
from postroom_storage.database import Connection, Database

T = TypeVar("T")
_Context = grpc.aio.ServicerContext[Any, Any]

_READING: Final = frozenset({Scope.IMAP, Scope.POP3, Scope.API})
_ALL_UIDS: Final[Ranges] = ((1, 2**32 - 1),)
_MAX_READS: Final = 1_000
_MAX_ACCOUNTS: Final = 10_000
_MODSEQ: Final = """
SELECT t.position, s.modseq FROM unnest($1::uuid[]) WITH ORDINALITY AS t(account_id, position)
JOIN mailstore.account_state AS s USING (account_id)
"""


class MailboxService(mailbox_pb2_grpc.MailboxServiceServicer):
    """Every change is one transaction that locks the account first; the wake-up follows the commit."""

    def __init__(  # what it is made of
        self,
        database: Database,
        reader: BlobReader,
        segment: OpenSegment,
        uploads: Uploads,
        verifier: CapabilityVerifier,
        publish_changed: Callable[[UUID, int], Awaitable[None]],
    ) -> None:
        self._database, self._reader, self._segment = database, reader, segment
        self._uploads, self._verifier, self._publish_changed = uploads, verifier, publish_changed

    async def ListMailboxes(
        self, request: mailbox_pb2.ListMailboxesRequest, context: _Context
    ) -> mailbox_pb2.ListMailboxesResponse:
        """All mailboxes with their counters."""
        owner = await self._owner()
        await ensure_accounts(self._database, {owner.account_id: owner.tenant_id})
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            mailboxes = await catalogue.list_mailboxes(connection, owner.account_id)
            absent = await catalogue.subscribed_absent(connection, owner.account_id)
            keywords = await keywords_of(connection, owner.account_id)
            modseqs = await connection.fetch(_MODSEQ, [owner.account_id])
        return mailbox_pb2.ListMailboxesResponse(
            mailboxes=[mailbox_message(mailbox) for mailbox in mailboxes],
            subscribed_absent=absent,
            keywords=keyword_messages(keywords),
            modseq=modseqs[0]["modseq"],
        )

    async def CreateMailbox(
        self, request: mailbox_pb2.CreateMailboxRequest, context: _Context
    ) -> mailbox_pb2.CreateMailboxResponse:
        """A new mailbox."""
        owner, name, use = await self._owner(), parse_name(request.name), parse_use(request.special_use)

        async def change(connection: Connection, modseq: int) -> catalogue.MailboxRow:
            return await catalogue.create_mailbox(connection, owner, modseq, name, use)

        created, _ = await self._change(owner, change)
        return mailbox_pb2.CreateMailboxResponse(mailbox=mailbox_message(created))

    async def DeleteMailbox(
        self, request: mailbox_pb2.DeleteMailboxRequest, context: _Context
    ) -> mailbox_pb2.DeleteMailboxResponse:
        """A mailbox less."""
        owner, mailbox_id = await self._owner(), parse_id(request.mailbox_id)

        async def change(connection: Connection, modseq: int) -> None:
            await catalogue.delete_mailbox(connection, owner, modseq, mailbox_id)

        await self._change(owner, change)
        return mailbox_pb2.DeleteMailboxResponse()

    async def RenameMailbox(
        self, request: mailbox_pb2.RenameMailboxRequest, context: _Context
    ) -> mailbox_pb2.RenameMailboxResponse:
        """Another name."""
        owner, mailbox_id = await self._owner(), parse_id(request.mailbox_id)
        new_name = parse_name(request.new_name)

        async def change(connection: Connection, modseq: int) -> catalogue.MailboxRow:
            return await catalogue.rename_mailbox(connection, owner, modseq, mailbox_id, new_name)

        renamed, _ = await self._change(owner, change)
        return mailbox_pb2.RenameMailboxResponse(mailbox=mailbox_message(renamed))

    async def SetSubscription(
        self, request: mailbox_pb2.SetSubscriptionRequest, context: _Context
    ) -> mailbox_pb2.SetSubscriptionResponse:
        """Subscribe or unsubscribe."""
        owner, name = await self._owner(), parse_name(request.name)

        async def change(connection: Connection, modseq: int) -> None:
            await catalogue.set_subscription(connection, owner, modseq, name, subscribed=request.subscribed)

        await self._change(owner, change)
        return mailbox_pb2.SetSubscriptionResponse()

    async def LoadMailbox(
        self, request: mailbox_pb2.LoadMailboxRequest, context: _Context
    ) -> AsyncIterator[mailbox_pb2.LoadMailboxResponse]:
        """The mailbox, then its rows."""
        owner, mailbox_id = await self._owner(), parse_id(request.mailbox_id)
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            mailbox = await catalogue.find_mailbox(connection, owner.account_id, mailbox_id)
            keywords = await keywords_of(connection, owner.account_id)
            modseqs = await connection.fetch(_MODSEQ, [owner.account_id])
        yield mailbox_pb2.LoadMailboxResponse(
            mailbox=mailbox_message(mailbox),
            keywords=keyword_messages(keywords),
            modseq=modseqs[0]["modseq"],
        )
        async for page in pages(self._database, owner.account_id, mailbox_id):
            yield mailbox_pb2.LoadMailboxResponse(rows=rows_message(page))

    async def GetChanges(
        self, request: mailbox_pb2.GetChangesRequest, context: _Context
    ) -> mailbox_pb2.GetChangesResponse:
        """What is new since a MODSEQ."""
        owner, mailbox_id = await self._owner(), parse_id(request.mailbox_id)
        changes = await changes_since(self._database, owner.account_id, mailbox_id, request.since_modseq)
        async with self._database.connection() as connection:
            try:
                mailbox = await catalogue.find_mailbox(connection, owner.account_id, mailbox_id)
            except MailboxNotFoundError:
                return mailbox_pb2.GetChangesResponse(modseq=changes.modseq, deleted=True)
            keywords = await keywords_of(connection, owner.account_id)
        return mailbox_pb2.GetChangesResponse(
            modseq=changes.modseq,
            rows=rows_message(changes.rows),
            vanished=range_messages(changes.vanished),
            keywords=keyword_messages(keywords),
            uid_next=mailbox.uid_next,
            reload=changes.reload,
        )

    async def GetModseqs(
        self, request: mailbox_pb2.GetModseqsRequest, context: _Context
    ) -> mailbox_pb2.GetModseqsResponse:
        """The MODSEQs of many accounts at once."""
        if len(request.capabilities) > _MAX_ACCOUNTS:
            raise LimitError("too many accounts in one call")
        owners = [await self._account_of(token) for token in request.capabilities]
        modseqs = [0] * len(owners)
        async with self._database.connection() as connection:
            for row in await connection.fetch(_MODSEQ, owners):
                modseqs[row["position"] - 1] = row["modseq"]
        return mailbox_pb2.GetModseqsResponse(modseqs=modseqs)

    async def ClaimRecent(
        self, request: mailbox_pb2.ClaimRecentRequest, context: _Context
    ) -> mailbox_pb2.ClaimRecentResponse:
        """The recent messages, for one session only."""
        owner, mailbox_id = await self._owner(), parse_id(request.mailbox_id)
        async with self._database.connection() as connection:
            recent = await claim_recent(connection, owner.account_id, mailbox_id)
        if recent is None:
            raise MailboxNotFoundError("no such mailbox")
        return mailbox_pb2.ClaimRecentResponse(recent=mailbox_pb2.UidRange(first=recent[0], last=recent[1]))

    async def FetchFacts(
        self, request: mailbox_pb2.FetchFactsRequest, context: _Context
    ) -> AsyncIterator[mailbox_pb2.FetchFactsResponse]:
        """Facts in pages."""
        owner, mailbox_id = await self._owner(), parse_id(request.mailbox_id)
        columns = FactColumns(request.envelope, request.structure, request.header, request.summary)
        ranges = parse_ranges(request.uids)
        async for page in stored_facts(self._database, owner.account_id, mailbox_id, ranges, columns):
            yield mailbox_pb2.FetchFactsResponse(facts=[facts_message(facts) for facts in page])

    async def ReadMessages(
        self, request: mailbox_pb2.ReadMessagesRequest, context: _Context
    ) -> AsyncIterator[mailbox_pb2.ReadMessagesResponse]:
        """Octets in chunks."""
        owner, mailbox_id = await self._owner(), parse_id(request.mailbox_id)
        if len(request.reads) > _MAX_READS or any(
            each.offset < 0 or each.length < 0 for each in request.reads
        ):
            raise InvalidRequestError("too many reads, or a negative one")
        wanted = [RangeWanted(each.uid, each.offset, each.length) for each in request.reads]
        async for chunk in read_messages(self._database, self._reader, owner.account_id, mailbox_id, wanted):
            piece = content_pb2.ContentChunk(read=chunk.read, octets=chunk.octets, last=chunk.last)
            yield mailbox_pb2.ReadMessagesResponse(chunk=piece)

    async def SearchText(
        self, request: mailbox_pb2.SearchTextRequest, context: _Context
    ) -> mailbox_pb2.SearchTextResponse:
        """Which messages have each term."""
        owner, mailbox_id = await self._owner(), parse_id(request.mailbox_id)
        if len(request.terms) > MAX_TERMS:
            raise LimitError("too many terms")
        found = await search_text(
            self._database,
            self._reader,
            owner.account_id,
            mailbox_id,
            parse_ranges(request.uids),
            parse_terms(request.terms),
        )
        sets = [mailbox_pb2.UidSet(ranges=range_messages(ranges)) for ranges in found]
        return mailbox_pb2.SearchTextResponse(matches=sets)

    async def AppendMessage(
        self, request: mailbox_pb2.AppendMessageRequest, context: _Context
    ) -> mailbox_pb2.AppendMessageResponse:
        """A message brought by the client."""
        owner = await self._owner()
        await ensure_accounts(self._database, {owner.account_id: owner.tenant_id})
        appending, facts = await self._appending(owner, request)
        appended = await append_message(self._database, self._segment, owner, appending, facts)
        await self._publish_changed(owner.account_id, appended.modseq)
        return mailbox_pb2.AppendMessageResponse(
            uid_validity=appended.placed.uid_validity, uid=appended.placed.uid, modseq=appended.modseq
        )

    async def BeginAppendUpload(
        self, request: mailbox_pb2.BeginAppendUploadRequest, context: _Context
    ) -> mailbox_pb2.BeginAppendUploadResponse:
        """Open an upload."""
        owner = await self._owner()
        upload = await self._uploads.begin(
            parse_id(request.upload_id), owner.tenant_id, owner.account_id, request.size_hint
        )
        return mailbox_pb2.BeginAppendUploadResponse(
            parts=presigned_messages(upload.parts), part_size=upload.part_size
        )

    async def PresignAppendParts(
        self, request: mailbox_pb2.PresignAppendPartsRequest, context: _Context
    ) -> mailbox_pb2.PresignAppendPartsResponse:
        """More parts of an upload."""
        owner = await self._owner()
        parts = await self._uploads.presign(
            parse_id(request.upload_id), owner.account_id, request.first_number, request.count
        )
        return mailbox_pb2.PresignAppendPartsResponse(parts=presigned_messages(parts))

    async def StoreFlags(
        self, request: mailbox_pb2.StoreFlagsRequest, context: _Context
    ) -> mailbox_pb2.StoreFlagsResponse:
        """Other flags."""
        owner, mailbox_id = await self._owner(), parse_id(request.mailbox_id)
        ranges = parse_ranges(request.uids)
        try:
            mode = StoreMode(request.mode)
        except ValueError:
            raise InvalidRequestError("no such mode") from None
        flag_change = FlagChange(mode, request.flags, parse_keywords(request.keywords))

        async def change(connection: Connection, modseq: int) -> mailbox_pb2.StoreFlagsResponse:
            await catalogue.find_mailbox(connection, owner.account_id, mailbox_id)
            rows = await store_flags(connection, owner.account_id, mailbox_id, modseq, ranges, flag_change)
            keywords = await keywords_of(connection, owner.account_id)
            return mailbox_pb2.StoreFlagsResponse(
                modseq=modseq, rows=rows_message(rows), keywords=keyword_messages(keywords)
            )

        stored, _ = await self._change(owner, change)
        return stored

    async def CopyMessages(
        self, request: mailbox_pb2.CopyMessagesRequest, context: _Context
    ) -> mailbox_pb2.CopyMessagesResponse:
        """Copies in another mailbox."""
        response = mailbox_pb2.CopyMessagesResponse()
        await self._transfer(request, response, copy_messages)
        return response

    async def MoveMessages(
        self, request: mailbox_pb2.MoveMessagesRequest, context: _Context
    ) -> mailbox_pb2.MoveMessagesResponse:
        """The messages in another mailbox."""
        response = mailbox_pb2.MoveMessagesResponse()
        await self._transfer(request, response, move_messages)
        return response

    async def ExpungeMessages(
        self, request: mailbox_pb2.ExpungeMessagesRequest, context: _Context
    ) -> mailbox_pb2.ExpungeMessagesResponse:
        """Messages less."""
        owner, mailbox_id = await self._owner(), parse_id(request.mailbox_id)
        ranges = parse_ranges(request.uids) or _ALL_UIDS
        only_deleted = not (request.regardless and request.uids)

        async def change(connection: Connection, modseq: int) -> Ranges:
            await catalogue.find_mailbox(connection, owner.account_id, mailbox_id)
            return await remove_messages(
                connection, owner.account_id, mailbox_id, modseq, ranges, only_deleted=only_deleted
            )

        expunged, modseq = await self._change(owner, change)
        return mailbox_pb2.ExpungeMessagesResponse(modseq=modseq, expunged=range_messages(expunged))

    async def _transfer(
        self,
        request: mailbox_pb2.CopyMessagesRequest | mailbox_pb2.MoveMessagesRequest,
        response: mailbox_pb2.CopyMessagesResponse | mailbox_pb2.MoveMessagesResponse,
        transfer: Callable[[Connection, UUID, UUID, int, Ranges, UUID], Awaitable[Copied | None]],
    ) -> None:
        owner, mailbox_id = await self._owner(), parse_id(request.mailbox_id)
        target_id, ranges = parse_id(request.target_mailbox_id), parse_ranges(request.uids)

        async def change(connection: Connection, modseq: int) -> Copied | None:
            await catalogue.find_mailbox(connection, owner.account_id, mailbox_id)
            await catalogue.find_mailbox(connection, owner.account_id, target_id)
            return await transfer(connection, owner.account_id, mailbox_id, modseq, ranges, target_id)

        copied, response.modseq = await self._change(owner, change)
        if copied is not None:
            response.target_uid_validity = copied.uid_validity
            response.source.extend(range_messages(copied.source))
            response.target.extend(range_messages(copied.target))

    async def _change(self, owner: Owner, change: Callable[[Connection, int], Awaitable[T]]) -> tuple[T, int]:
        """Make a change in a transaction of the locked account, then wake readers; gives the MODSEQ too."""
        await ensure_accounts(self._database, {owner.account_id: owner.tenant_id})

        async def transact(connection: Connection) -> tuple[T, int]:
            modseq = (await lock_accounts(connection, [owner.account_id]))[owner.account_id]
            return await change(connection, modseq), modseq

        changed, modseq = await self._database.run(transact)
        await self._publish_changed(owner.account_id, modseq)
        return changed, modseq

    async def _appending(
        self, owner: Owner, request: mailbox_pb2.AppendMessageRequest
    ) -> tuple[Appending, MessageFacts]:
        content = parse_content(request.content)
        object_id: UUID | None = None
        if isinstance(content.source, Uploaded):
            object_id = await self._uploads.complete(
                content.source, content.size, account_id=owner.account_id
            )
            octets = await self._reader.load_object(object_id, content.size)
        else:
            octets = inline_octets(content)
        check_digest(octets, content)
        appending = Appending(
            id=parse_id(request.id),
            mailbox_id=parse_id(request.mailbox_id),
            flags=request.flags,
            keywords=parse_keywords(request.keywords),
            internal_date=parse_instant(request.internal_date),
            content=content,
            object_id=object_id,
        )
        return appending, await message_facts(octets)

    async def _owner(self) -> Owner:
        capability = await self._verifier.verify(capability_token(), scopes=_READING)
        return Owner(capability.account_id, capability.tenant_id)

    async def _account_of(self, token: str) -> UUID | None:
        try:
            return (await self._verifier.verify(token, scopes=_READING)).account_id
        except PostroomError:
            return None
