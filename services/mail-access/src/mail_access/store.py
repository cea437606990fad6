"""The typed client of the mail store's MailboxService: every call is made for one login.

All methods raise `LoginEndedError` and the errors of `postroom_contracts.errors`; `UnavailableError` comes
within `Limits.call_seconds`.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Any, TypedDict, TypeVar
from uuid import UUID

import grpc

from mail_access.limits import DEFAULT_LIMITS, Limits
from mail_access.login import Login
from postroom.mailstore.v1 import mailbox_pb2, mailbox_pb2_grpc
from postroom_contracts.errors import MailboxNotFoundError, MethodMissingError, UnavailableError
from postroom_contracts.ids import new_id
from postroom_runtime.grpc_client import Metadata, ask_twice

T = TypeVar("T")
Q = TypeVar("Q")
A = TypeVar("A")


def uid_ranges(ranges: Iterable[tuple[int, int]]) -> list[mailbox_pb2.UidRange]:
    """Ranges as the contract has them."""
    return [mailbox_pb2.UidRange(first=first, last=last) for first, last in ranges]


def ranges_of(ranges: Iterable[mailbox_pb2.UidRange]) -> list[tuple[int, int]]:
    """Ranges of an answer."""
    return [(each.first, each.last) for each in ranges]


class MailStore:
    """The mail store, for any number of logins."""

    def __init__(self, stub: mailbox_pb2_grpc.MailboxServiceStub, limits: Limits = DEFAULT_LIMITS) -> None:
        self._stub = stub
        self.limits = limits

    async def list_mailboxes(self, login: Login) -> mailbox_pb2.ListMailboxesResponse:
        """All mailboxes with their counters, and the account's MODSEQ."""
        return await self._stub.ListMailboxes(mailbox_pb2.ListMailboxesRequest(), **await self._call(login))

    async def find_mailbox(self, login: Login, name: str) -> mailbox_pb2.FindMailboxResponse:
        """The mailbox that is called so now, and the account's MODSEQ. Raises `MailboxNotFoundError`."""
        request = mailbox_pb2.FindMailboxRequest(name=name)
        try:
            return await self._stub.FindMailbox(request, **await self._call(login))
        except MethodMissingError:  # of a store that is upgraded after us
            listed = await self.list_mailboxes(login)
        for mailbox in listed.mailboxes:
            if mailbox.name == name:
                return mailbox_pb2.FindMailboxResponse(mailbox=mailbox, modseq=listed.modseq)
        raise MailboxNotFoundError("no mailbox of that name")

    async def create_mailbox(
        self,
        login: Login,
        name: str,
        special_use: mailbox_pb2.SpecialUse.ValueType = mailbox_pb2.SPECIAL_USE_UNSPECIFIED,
    ) -> mailbox_pb2.CreateMailboxResponse:
        """A new mailbox, and what is missing above it."""
        request = mailbox_pb2.CreateMailboxRequest(
            name=name, special_use=special_use, operation_id=new_id().bytes
        )
        return await self._change(login, self._stub.CreateMailbox, request)

    async def delete_mailbox(self, login: Login, mailbox_id: UUID) -> int:
        """A mailbox less. Answers the account's MODSEQ, 0 from an older store, as the other changes do."""
        request = mailbox_pb2.DeleteMailboxRequest(mailbox_id=mailbox_id.bytes, operation_id=new_id().bytes)
        return (await self._change(login, self._stub.DeleteMailbox, request)).modseq

    async def rename_mailbox(self, login: Login, mailbox_id: UUID, new_name: str) -> int:
        """Another name for it and its inferiors."""
        request = mailbox_pb2.RenameMailboxRequest(
            mailbox_id=mailbox_id.bytes, new_name=new_name, operation_id=new_id().bytes
        )
        return (await self._change(login, self._stub.RenameMailbox, request)).modseq

    async def set_subscription(self, login: Login, name: str, *, subscribed: bool) -> int:
        """Subscribe or unsubscribe; the mailbox need not exist."""
        request = mailbox_pb2.SetSubscriptionRequest(name=name, subscribed=subscribed)
        return (await self._change(login, self._stub.SetSubscription, request)).modseq

    async def load_mailbox(
        self, login: Login, mailbox_id: UUID
    ) -> AsyncGenerator[mailbox_pb2.LoadMailboxResponse]:
        """The mailbox first, then its rows in pages by ascending UID."""
        request = mailbox_pb2.LoadMailboxRequest(mailbox_id=mailbox_id.bytes, packed=True)
        stream = self._stub.LoadMailbox(request, metadata=await login.metadata())
        async with aclosing(self._each_in_time(stream)) as pages:
            async for page in pages:
                yield page

    async def get_changes(
        self, login: Login, mailbox_id: UUID, since_modseq: int, after_uid: int = 0
    ) -> mailbox_pb2.GetChangesResponse:
        """A page of what changed after a MODSEQ; the next one begins at its `modseq` and `after_uid`."""
        request = mailbox_pb2.GetChangesRequest(
            mailbox_id=mailbox_id.bytes,
            since_modseq=since_modseq,
            after_uid=after_uid,
            limit=self.limits.changes_in_one_answer,
        )
        return await self._stub.GetChanges(request, **await self._call(login))

    async def get_vanished(
        self, login: Login, mailbox_id: UUID, since_modseq: int, uids: Iterable[tuple[int, int]]
    ) -> list[tuple[int, int]] | None:
        """What of these UIDs was expunged after a MODSEQ; None when the store does not know any more."""
        request = mailbox_pb2.GetVanishedRequest(
            mailbox_id=mailbox_id.bytes, since_modseq=since_modseq, uids=uid_ranges(uids)
        )
        answer = await self._stub.GetVanished(request, **await self._call(login))
        return None if answer.unknown else ranges_of(answer.vanished)

    async def get_modseqs(self, capabilities: Sequence[str]) -> Sequence[int]:
        """The present MODSEQ of the account of each capability, 0 for one that is not valid any more."""
        request = mailbox_pb2.GetModseqsRequest(capabilities=capabilities)
        return (await self._stub.GetModseqs(request, timeout=self.limits.call_seconds)).modseqs

    async def claim_recent(self, login: Login, mailbox_id: UUID) -> tuple[int, int]:
        """First and last UID that are \\Recent to this session alone; first > last for none."""
        request = mailbox_pb2.ClaimRecentRequest(mailbox_id=mailbox_id.bytes)
        recent = (await self._stub.ClaimRecent(request, **await self._call(login))).recent
        return recent.first, recent.last

    async def fetch_facts(
        self, login: Login, request: mailbox_pb2.FetchFactsRequest
    ) -> AsyncGenerator[Sequence[mailbox_pb2.Facts]]:
        """Facts in pages by ascending UID; what is gone is left out."""
        stream = self._stub.FetchFacts(request, metadata=await login.metadata())
        async with aclosing(self._each_in_time(stream)) as pages:
            async for page in pages:
                yield page.facts

    async def read_messages(
        self, login: Login, mailbox_id: UUID, reads: Iterable[mailbox_pb2.MessageRange]
    ) -> AsyncGenerator[mailbox_pb2.ReadMessagesResponse]:
        """Octets of up to 1,000 ranges; `content.read_ranges` is what resumes a broken stream.

        Also of messages that are gone while the session does not know it yet.
        """
        request = mailbox_pb2.ReadMessagesRequest(
            mailbox_id=mailbox_id.bytes, reads=reads, expunged=True, batched=True, compressed=True
        )
        stream = self._stub.ReadMessages(request, metadata=await login.metadata())
        async with aclosing(self._each_in_time(stream)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def search_text(
        self,
        login: Login,
        mailbox_id: UUID,
        uids: Iterable[tuple[int, int]],
        terms: Iterable[mailbox_pb2.TextTerm],
    ) -> mailbox_pb2.SearchTextResponse:
        """For each of up to 64 terms the UIDs that have it, and for which UIDs to ask again."""
        request = mailbox_pb2.SearchTextRequest(
            mailbox_id=mailbox_id.bytes, uids=uid_ranges(uids), terms=terms, partial=True
        )
        return await self._stub.SearchText(
            request, timeout=self.limits.search_seconds, metadata=await login.metadata()
        )

    async def append_message(
        self, login: Login, request: mailbox_pb2.AppendMessageRequest
    ) -> mailbox_pb2.AppendMessageResponse:
        """Append; `request` has an id of its own, so an unknown outcome is asked for once more."""
        if not request.content.HasField("upload"):
            return await self._change(login, self._stub.AppendMessage, request)
        seconds, metadata = self.limits.large_append_seconds, await login.metadata()
        try:
            return await self._stub.AppendMessage(request, timeout=seconds, metadata=metadata)
        except UnavailableError:
            return await self._stub.AppendMessage(request, timeout=seconds, metadata=metadata)

    async def append_messages(
        self, login: Login, request: mailbox_pb2.AppendMessagesRequest
    ) -> mailbox_pb2.AppendMessagesResponse:
        """Append all of them or none; asked for once more as `append_message` is."""
        seconds = self.limits.call_seconds
        if any(each.content.HasField("upload") for each in request.messages):
            seconds = self.limits.large_append_seconds
        metadata = await login.metadata()
        return await ask_twice(self._stub.AppendMessages, request, seconds=seconds, metadata=metadata)

    async def begin_upload(
        self, login: Login, upload_id: UUID, size: int
    ) -> mailbox_pb2.BeginAppendUploadResponse:
        """Open an upload for a message of more than 256 KiB."""
        request = mailbox_pb2.BeginAppendUploadRequest(upload_id=upload_id.bytes, size_hint=size)
        return await self._stub.BeginAppendUpload(request, **await self._call(login))

    async def presign_part(self, login: Login, upload_id: UUID, number: int) -> str:
        """The URL of one more part."""
        request = mailbox_pb2.PresignAppendPartsRequest(
            upload_id=upload_id.bytes, first_number=number, count=1
        )
        return (await self._stub.PresignAppendParts(request, **await self._call(login))).parts[0].url

    async def store_flags(
        self, login: Login, request: mailbox_pb2.StoreFlagsRequest
    ) -> mailbox_pb2.StoreFlagsResponse:
        """Change flags; answers the rows that changed."""
        return await self._change(login, self._stub.StoreFlags, request)

    async def copy_messages(
        self, login: Login, mailbox_id: UUID, uids: Iterable[tuple[int, int]], target_id: UUID
    ) -> mailbox_pb2.CopyMessagesResponse:
        """Copies in another mailbox of the account."""
        request = mailbox_pb2.CopyMessagesRequest(
            mailbox_id=mailbox_id.bytes,
            uids=uid_ranges(uids),
            target_mailbox_id=target_id.bytes,
            operation_id=new_id().bytes,
        )
        return await self._change(login, self._stub.CopyMessages, request)

    async def move_messages(
        self, login: Login, mailbox_id: UUID, uids: Iterable[tuple[int, int]], target_id: UUID
    ) -> mailbox_pb2.MoveMessagesResponse:
        """The messages in another mailbox of the account."""
        request = mailbox_pb2.MoveMessagesRequest(
            mailbox_id=mailbox_id.bytes,
            uids=uid_ranges(uids),
            target_mailbox_id=target_id.bytes,
            operation_id=new_id().bytes,
        )
        return await self._change(login, self._stub.MoveMessages, request)

    async def expunge_messages(
        self,
        login: Login,
        mailbox_id: UUID,
        uids: Iterable[tuple[int, int]] = (),
        *,
        regardless: bool = False,
    ) -> mailbox_pb2.ExpungeMessagesResponse:
        """Expunge what has \\Deleted: of all for no UIDs, else of these; these `regardless` of the flag."""
        request = mailbox_pb2.ExpungeMessagesRequest(
            mailbox_id=mailbox_id.bytes,
            uids=uid_ranges(uids),
            regardless=regardless,
            operation_id=new_id().bytes,
        )
        return await self._change(login, self._stub.ExpungeMessages, request)

    async def _change(self, login: Login, call: "grpc.aio.UnaryUnaryMultiCallable[Q, A]", request: Q) -> A:
        """Ask for a change, again with the same id when nobody knows whether it was made."""
        metadata = await login.metadata()
        return await ask_twice(call, request, seconds=self.limits.call_seconds, metadata=metadata)

    async def _call(self, login: Login) -> "CallOptions":
        return {"timeout": self.limits.call_seconds, "metadata": await login.metadata()}

    async def _each_in_time(self, stream: "grpc.aio.UnaryStreamCall[Any, T]") -> AsyncGenerator[T]:
        """The stream's responses, each of which must come in time."""
        responses = aiter(stream)
        try:
            while True:
                try:
                    async with asyncio.timeout(self.limits.call_seconds):
                        response = await anext(responses)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    raise UnavailableError("the mail store stopped answering") from None
                yield response
        finally:
            stream.cancel()
            if isinstance(responses, AsyncGenerator):
                await responses.aclose()


class CallOptions(TypedDict):
    """Of one call."""

    timeout: float
    metadata: Metadata
