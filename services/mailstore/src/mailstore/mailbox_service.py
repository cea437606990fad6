"""The MailboxService: an account's mailboxes for the services that show them."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final
from uuid import UUID

import grpc

from mailstore.access import Access
from mailstore.accounts import ensure_accounts
from mailstore.blobs.reader import BlobReader
from mailstore.blobs.segments import OpenSegment
from mailstore.finding.searching import Place, search_text
from mailstore.finding.terms import MAX_TERMS, parse_terms
from mailstore.intake.item import Uploaded, parse_content, parse_instant
from mailstore.intake.uploads import Uploads, presigned_messages
from mailstore.mailbox_changes import MailboxChanges
from mailstore.mailbox_messages import (
    batched,
    facts_message,
    keyword_messages,
    lean_facts_message,
    mailbox_message,
    matches_message,
    one_by_one,
    rows_message,
)
from mailstore.mailboxes import catalogue
from mailstore.mailboxes.appending import (
    Appending,
    Replaced,
    append_messages,
    check_batch,
    check_digest,
    inline_octets,
)
from mailstore.mailboxes.appending_at_once import append_one
from mailstore.mailboxes.catalogue import Owner
from mailstore.mailboxes.facts import FactColumns, lean_facts, stored_facts
from mailstore.mailboxes.flags import MAX_MODSEQ, keywords_of, parse_keywords
from mailstore.mailboxes.named import find_named
from mailstore.mailboxes.names import parse_name
from mailstore.mailboxes.octets import RangeWanted, ReadFrom, read_messages
from mailstore.mailboxes.packed_rows import packed_pages
from mailstore.mailboxes.recent import claim_recent
from mailstore.mailboxes.rows import RowColumns, Since, changes_since, pages
from mailstore.mailboxes.sharing import Right, as_seen
from mailstore.mailboxes.uid_ranges import parse_ranges, range_messages
from mailstore.mailboxes.vanished import vanished_since
from mailstore.news import News
from mailstore.placement import SEEN
from mailstore.scanning import MessageFacts, message_facts
from postroom.mailstore.v1 import mailbox_pb2, mailbox_pb2_grpc
from postroom_contracts.capability import CapabilityVerifier, Scope
from postroom_contracts.errors import InvalidRequestError, LimitError, MailboxNotFoundError, PostroomError
from postroom_contracts.ids import parse_id
from postroom_runtime.grpc_server import capability_token
from postroom_storage.database import Database
from postroom_storage.operations import operation_of

_Context = grpc.aio.ServicerContext[Any, Any]

_READING: Final = frozenset({Scope.IMAP, Scope.POP3, Scope.API})
_MAX_READS: Final = 1_000
_MAX_ACCOUNTS: Final = 10_000
_MODSEQ: Final = """
SELECT t.position, s.modseq FROM unnest($1::uuid[]) WITH ORDINALITY AS t(account_id, position)
JOIN mailstore.account_state AS s USING (account_id)
"""


class MailboxService(mailbox_pb2_grpc.MailboxServiceServicer):
    """Answers for the account of the capability, and for what others share with it."""

    def __init__(  # what it is made of
        self,
        database: Database,
        reader: BlobReader,
        segment: OpenSegment,
        uploads: Uploads,
        verifier: CapabilityVerifier,
        news: News,
    ) -> None:
        self._database, self._reader, self._segment, self._uploads = database, reader, segment, uploads
        self._verifier, self._news = verifier, news
        self._changes = MailboxChanges(database, news.changed)
        self._access = Access(database, verifier, _READING)

    async def ListMailboxes(
        self, request: mailbox_pb2.ListMailboxesRequest, context: _Context
    ) -> mailbox_pb2.ListMailboxesResponse:
        """All mailboxes with their counters."""
        owner = await self._access.owner()
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

    async def FindMailbox(
        self, request: mailbox_pb2.FindMailboxRequest, context: _Context
    ) -> mailbox_pb2.FindMailboxResponse:
        """One mailbox by its name."""
        found = await find_named(self._database, await self._access.owner(), request.name)
        return mailbox_pb2.FindMailboxResponse(mailbox=mailbox_message(found.mailbox), modseq=found.modseq)

    async def CreateMailbox(
        self, request: mailbox_pb2.CreateMailboxRequest, context: _Context
    ) -> mailbox_pb2.CreateMailboxResponse:
        """A new mailbox."""
        return await self._changes.create(await self._access.owner(), request)

    async def DeleteMailbox(
        self, request: mailbox_pb2.DeleteMailboxRequest, context: _Context
    ) -> mailbox_pb2.DeleteMailboxResponse:
        """A mailbox less."""
        return await self._changes.delete(await self._access.owner(), request)

    async def RenameMailbox(
        self, request: mailbox_pb2.RenameMailboxRequest, context: _Context
    ) -> mailbox_pb2.RenameMailboxResponse:
        """Another name."""
        return await self._changes.rename(await self._access.owner(), request)

    async def SetSubscription(
        self, request: mailbox_pb2.SetSubscriptionRequest, context: _Context
    ) -> mailbox_pb2.SetSubscriptionResponse:
        """Subscribe or unsubscribe."""
        return await self._changes.set_subscription(await self._access.owner(), request)

    async def LoadMailbox(
        self, request: mailbox_pb2.LoadMailboxRequest, context: _Context
    ) -> AsyncIterator[mailbox_pb2.LoadMailboxResponse]:
        """The mailbox, then its rows."""
        owner, mailbox_id = await self._access.at(request.mailbox_id, Right.READ)
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            mailbox = await catalogue.find_mailbox(connection, owner.account_id, mailbox_id)
            keywords = await keywords_of(connection, owner.account_id)
            modseqs = await connection.fetch(_MODSEQ, [owner.account_id])
        yield mailbox_pb2.LoadMailboxResponse(
            mailbox=mailbox_message(mailbox),
            keywords=keyword_messages(keywords),
            modseq=modseqs[0]["modseq"],
        )
        if request.packed and not owner.is_guest:
            async for packed, keywords in packed_pages(self._database, owner.account_id, mailbox_id):
                yield mailbox_pb2.LoadMailboxResponse(packed=packed, keywords=keyword_messages(keywords))
            return
        async for page, keywords in pages(self._database, owner.account_id, mailbox_id):
            rows = rows_message(await self._as_seen(owner, mailbox_id, page))
            yield mailbox_pb2.LoadMailboxResponse(rows=rows, keywords=keyword_messages(keywords))

    async def GetChanges(
        self, request: mailbox_pb2.GetChangesRequest, context: _Context
    ) -> mailbox_pb2.GetChangesResponse:
        """What is new since a MODSEQ."""
        owner, mailbox_id = await self._access.at(request.mailbox_id, Right.READ)
        if request.limit < 0:
            raise InvalidRequestError("a negative limit")
        since = Since(request.since_modseq, request.limit, request.after_uid)
        changes = await changes_since(self._database, owner.account_id, mailbox_id, since)
        return mailbox_pb2.GetChangesResponse(
            modseq=changes.modseq,
            rows=rows_message(await self._as_seen(owner, mailbox_id, changes.rows)),
            vanished=range_messages(changes.vanished),
            keywords=keyword_messages(changes.keywords),
            uid_next=changes.uid_next,
            uid_validity=changes.uid_validity,
            reload=changes.reload,
            deleted=changes.deleted,
            more=changes.more,
            after_uid=changes.after_uid,
            highest_modseq=changes.highest_modseq,
        )

    async def GetVanished(
        self, request: mailbox_pb2.GetVanishedRequest, context: _Context
    ) -> mailbox_pb2.GetVanishedResponse:
        """What was expunged since a MODSEQ."""
        owner, mailbox_id = await self._access.at(request.mailbox_id, Right.READ)
        if request.since_modseq > MAX_MODSEQ:
            raise InvalidRequestError("no such MODSEQ")
        vanished = await vanished_since(
            self._database, owner.account_id, mailbox_id, request.since_modseq, parse_ranges(request.uids)
        )
        if vanished is None:
            return mailbox_pb2.GetVanishedResponse(unknown=True)
        return mailbox_pb2.GetVanishedResponse(vanished=range_messages(vanished))

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
        owner, mailbox_id = await self._access.at(request.mailbox_id, Right.READ)
        if owner.is_guest:  # new messages are the owner's to be told
            return mailbox_pb2.ClaimRecentResponse(recent=mailbox_pb2.UidRange(first=1))
        async with self._database.connection() as connection:
            recent = await claim_recent(connection, owner.account_id, mailbox_id)
        if recent is None:
            raise MailboxNotFoundError("no such mailbox")
        return mailbox_pb2.ClaimRecentResponse(recent=mailbox_pb2.UidRange(first=recent[0], last=recent[1]))

    async def FetchFacts(
        self, request: mailbox_pb2.FetchFactsRequest, context: _Context
    ) -> AsyncIterator[mailbox_pb2.FetchFactsResponse]:
        """Facts in pages."""
        owner, mailbox_id = await self._access.at(request.mailbox_id, Right.READ)
        columns = FactColumns(
            request.envelope,
            request.structure,
            request.header,
            request.summary,
            request.object_ids,
            request.preview,
            request.expunged,
            request.save_date,
            request.parts,
        )
        asked = (self._database, owner.account_id, mailbox_id, parse_ranges(request.uids), columns)
        if request.lean:
            async for rows in lean_facts(*asked):
                facts = [lean_facts_message(row, columns) for row in rows]
                yield mailbox_pb2.FetchFactsResponse(facts=facts)
            return
        async for page in stored_facts(*asked):
            messages = [facts_message(facts) for facts in page]
            if owner.is_guest:  # what the owner has seen is nobody else's business
                for message in messages:
                    message.flags &= ~SEEN
            yield mailbox_pb2.FetchFactsResponse(facts=messages)

    async def ReadMessages(
        self, request: mailbox_pb2.ReadMessagesRequest, context: _Context
    ) -> AsyncIterator[mailbox_pb2.ReadMessagesResponse]:
        """Octets in chunks."""
        owner, mailbox_id = await self._access.at(request.mailbox_id, Right.READ)
        negative = any(each.offset < 0 or each.length < 0 for each in request.reads)
        if len(request.reads) > _MAX_READS or negative:
            raise InvalidRequestError("too many reads, or a negative one")
        wanted = [RangeWanted(each.uid, each.offset, each.length) for each in request.reads]
        compressed = request.batched and request.compressed
        place = ReadFrom(owner.account_id, mailbox_id, request.expunged, compressed)
        async with aclosing(read_messages(self._database, self._reader, place, wanted)) as batches:
            async for answer in batched(batches) if request.batched else one_by_one(batches):
                yield answer

    async def SearchText(
        self, request: mailbox_pb2.SearchTextRequest, context: _Context
    ) -> mailbox_pb2.SearchTextResponse:
        """Which messages have each term."""
        owner, mailbox_id = await self._access.at(request.mailbox_id, Right.READ)
        if len(request.terms) > MAX_TERMS:
            raise LimitError("too many terms")
        place = Place(owner.account_id, mailbox_id, parse_ranges(request.uids))
        terms = parse_terms(request.terms)
        found = await search_text(self._database, self._reader, place, terms, partial=request.partial)
        return mailbox_pb2.SearchTextResponse(
            matches=[matches_message(each) for each in found.matches], unread=range_messages(found.unread)
        )

    async def AppendMessage(
        self, request: mailbox_pb2.AppendMessageRequest, context: _Context
    ) -> mailbox_pb2.AppendMessageResponse:
        """A message brought by the client."""
        owner, _ = await self._access.at(request.mailbox_id, Right.INSERT)
        appending, facts = await self._appending(owner, request)
        appended = await append_one(self._database, self._segment, owner, appending, facts)
        await self._news.added(owner.account_id, appended.modseq)
        return mailbox_pb2.AppendMessageResponse(
            uid_validity=appended.placed.uid_validity, uid=appended.placed.uid, modseq=appended.modseq
        )

    async def AppendMessages(
        self, request: mailbox_pb2.AppendMessagesRequest, context: _Context
    ) -> mailbox_pb2.AppendMessagesResponse:
        """Several messages at once, or one in another's place."""
        check_batch(request)
        owner, _ = await self._access.at(request.messages[0].mailbox_id, Right.INSERT)
        await ensure_accounts(self._database, {owner.account_id: owner.tenant_id})
        operation = operation_of(owner.user_id, owner.tenant_id, request.messages[0].id, request)
        batch = [await self._appending(owner, message) for message in request.messages]
        replaced: Replaced | None = None
        if request.HasField("replaces"):
            removing = Right.DELETE_MESSAGES | Right.EXPUNGE
            _, replaced_id = await self._access.at(request.replaces.mailbox_id, removing)
            replaced = Replaced(replaced_id, request.replaces.uid)
        answer = await append_messages(self._database, self._segment, owner, operation, batch, replaced)
        await self._news.added(owner.account_id, answer.modseq)
        return answer

    async def BeginAppendUpload(
        self, request: mailbox_pb2.BeginAppendUploadRequest, context: _Context
    ) -> mailbox_pb2.BeginAppendUploadResponse:
        """Open an upload."""
        owner = await self._access.user()
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
        owner = await self._access.user()
        parts = await self._uploads.presign(
            parse_id(request.upload_id), owner.account_id, request.first_number, request.count
        )
        return mailbox_pb2.PresignAppendPartsResponse(parts=presigned_messages(parts))

    async def StoreFlags(
        self, request: mailbox_pb2.StoreFlagsRequest, context: _Context
    ) -> mailbox_pb2.StoreFlagsResponse:
        """Other flags."""
        owner, _ = await self._access.at(request.mailbox_id, Right.READ)
        return await self._changes.store_flags(owner, request)

    async def CopyMessages(
        self, request: mailbox_pb2.CopyMessagesRequest, context: _Context
    ) -> mailbox_pb2.CopyMessagesResponse:
        """Copies in another mailbox."""
        return await self._changes.copy(await self._access.owner(), request)

    async def MoveMessages(
        self, request: mailbox_pb2.MoveMessagesRequest, context: _Context
    ) -> mailbox_pb2.MoveMessagesResponse:
        """The messages in another mailbox."""
        return await self._changes.move(await self._access.owner(), request)

    async def ExpungeMessages(
        self, request: mailbox_pb2.ExpungeMessagesRequest, context: _Context
    ) -> mailbox_pb2.ExpungeMessagesResponse:
        """Messages less."""
        owner, _ = await self._access.at(request.mailbox_id, Right.EXPUNGE)
        return await self._changes.expunge(owner, request)

    async def RenewUidValidity(
        self, request: mailbox_pb2.RenewUidValidityRequest, context: _Context
    ) -> mailbox_pb2.RenewUidValidityResponse:
        """Other UIDs for an administrator who has restored the store."""
        admin = await self._verifier.verify(capability_token(), scopes={Scope.ADMIN})
        return await self._changes.renew_uid_validity(Owner(admin.account_id, admin.tenant_id), request)

    async def _appending(
        self, owner: Owner, request: mailbox_pb2.AppendMessageRequest
    ) -> tuple[Appending, MessageFacts]:
        content = parse_content(request.content)
        object_id: UUID | None = None
        if isinstance(content.source, Uploaded):
            object_id = await self._uploads.complete(content.source, content.size, account_id=owner.user_id)
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
            mailbox_name=parse_name(request.mailbox_name) if request.mailbox_name else "",
        )
        return appending, await message_facts(octets)

    async def _as_seen(self, owner: Owner, mailbox_id: UUID, rows: RowColumns) -> RowColumns:
        if not owner.is_guest:
            return rows
        async with self._database.connection() as connection:
            return await as_seen(connection, owner, mailbox_id, rows)

    async def _account_of(self, token: str) -> UUID | None:
        try:
            return (await self._verifier.verify(token, scopes=_READING)).account_id
        except PostroomError:
            return None
