"""The mail store as this service asks for it; every call is made for one user.

All methods raise the errors of `postroom_contracts.errors`.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Final, TypedDict, TypeVar

import grpc

from postroom.mailstore.v1 import mailbox_pb2 as pb
from postroom.mailstore.v1.mailbox_pb2_grpc import MailboxServiceStub
from postroom_contracts.errors import (
    MailboxExistsError,
    MailboxNotFoundError,
    MessageNotFoundError,
    UnavailableError,
)
from postroom_contracts.ids import new_id
from postroom_runtime.grpc_client import Metadata, ask_twice, on_behalf_of
from webmail_api.flags import split
from webmail_api.identifiers import MessageKey
from webmail_api.limits import DEFAULT_LIMITS, Limits
from webmail_api.sessions import User

T = TypeVar("T")
Q = TypeVar("Q")
A = TypeVar("A")

_WINDOW: Final = 4
"""UIDs that are looked at for each message of a page, before the mailbox's rows are asked for."""


class MailStore:
    """Mailboxes and what is known of the messages in them."""

    def __init__(self, stub: MailboxServiceStub, limits: Limits = DEFAULT_LIMITS) -> None:
        self.stub, self.limits = stub, limits

    async def mailboxes(self, user: User) -> pb.ListMailboxesResponse:
        """All mailboxes, and the account's keywords."""
        return await self.stub.ListMailboxes(pb.ListMailboxesRequest(), **self.options(user))

    async def mailbox(self, user: User, mailbox_id: bytes) -> pb.Mailbox:
        """Raises `MailboxNotFoundError`."""
        return find((await self.mailboxes(user)).mailboxes, mailbox_id)

    async def special(self, user: User, use: pb.SpecialUse.ValueType, name: str) -> pb.Mailbox:
        """The mailbox for this use, made anew where its user has removed it."""
        if (found := _special(await self.mailboxes(user), use, name)) is not None:
            return found
        try:
            return await self.create(user, name, use)
        except MailboxExistsError:  # somebody else was faster
            if (found := _special(await self.mailboxes(user), use, name)) is not None:
                return found
            raise

    async def create(
        self, user: User, name: str, use: pb.SpecialUse.ValueType = pb.SPECIAL_USE_UNSPECIFIED
    ) -> pb.Mailbox:
        """A new mailbox, and what is missing above it. Raises `MailboxExistsError`."""
        request = pb.CreateMailboxRequest(name=name, special_use=use, operation_id=new_id().bytes)
        return (await self._change(user, self.stub.CreateMailbox, request)).mailbox

    async def rename(self, user: User, mailbox_id: bytes, name: str) -> pb.Mailbox:
        """Another name for a mailbox and those below it.

        Raises `MailboxNotFoundError`, `MailboxExistsError`.
        """
        request = pb.RenameMailboxRequest(mailbox_id=mailbox_id, new_name=name, operation_id=new_id().bytes)
        return (await self._change(user, self.stub.RenameMailbox, request)).mailbox

    async def delete(self, user: User, mailbox_id: bytes) -> None:
        """A mailbox less. Raises `MailboxNotFoundError`, `MailboxProtectedError`."""
        request = pb.DeleteMailboxRequest(mailbox_id=mailbox_id, operation_id=new_id().bytes)
        await self._change(user, self.stub.DeleteMailbox, request)

    async def subscribe(self, user: User, name: str, *, subscribed: bool) -> None:
        """Subscribe or unsubscribe; the mailbox need not exist."""
        request = pb.SetSubscriptionRequest(name=name, subscribed=subscribed)
        await self._change(user, self.stub.SetSubscription, request)

    async def newest(
        self, user: User, mailbox: pb.Mailbox, before: int, count: int
    ) -> tuple[list[pb.Facts], bool]:
        """The summaries of so many messages below a UID, the newest first; and whether there are more."""
        low = max(before - _WINDOW * count, 1)
        wanted = [pb.UidRange(first=low, last=before - 1)] if low < before else []
        found = await self._last(user, mailbox.id, wanted, count + 1)
        if len(found) <= count and low > 1:  # few messages among many UIDs
            uids = await self._last_uids(user, mailbox.id, before, count + 1)
            wanted = [pb.UidRange(first=uid, last=uid) for uid in uids]
            found = await self._last(user, mailbox.id, wanted, count + 1)
        page = sorted(found, key=lambda facts: facts.uid, reverse=True)
        return page[:count], len(page) > count

    async def facts(self, user: User, key: MessageKey, *, structure: bool = False) -> pb.Facts:
        """What is known of one message. Raises `MessageNotFoundError`."""
        request = pb.FetchFactsRequest(
            mailbox_id=key.mailbox_id,
            uids=[pb.UidRange(first=key.uid, last=key.uid)],
            structure=structure,
            summary=structure,
        )
        async with aclosing(self.in_time(self.stub.FetchFacts(request, **self.stream(user)))) as pages:
            async for page in pages:
                for facts in page.facts:
                    return facts
        raise MessageNotFoundError("no such message")

    async def store_flags(
        self, user: User, key: MessageKey, mode: pb.StoreFlagsRequest.Mode.ValueType, flags: Sequence[str]
    ) -> None:
        """Change the flags of one message; `flags` as `webmail_api.flags` has them."""
        system, keywords = split(flags)
        request = pb.StoreFlagsRequest(
            mailbox_id=key.mailbox_id, uids=_one(key), mode=mode, flags=system, keywords=keywords
        )
        await self._change(user, self.stub.StoreFlags, request)

    async def move(self, user: User, key: MessageKey, target: bytes) -> MessageKey:
        """The message's key in the other mailbox. Raises `MessageNotFoundError`, `MailboxNotFoundError`."""
        request = pb.MoveMessagesRequest(
            mailbox_id=key.mailbox_id,
            uids=_one(key),
            target_mailbox_id=target,
            operation_id=new_id().bytes,
        )
        moved = await self._change(user, self.stub.MoveMessages, request)
        if not moved.target:
            raise MessageNotFoundError("no such message")
        return MessageKey(target, moved.target[0].first)

    async def expunge(self, user: User, key: MessageKey) -> None:
        """Raises `MessageNotFoundError`."""
        request = pb.ExpungeMessagesRequest(
            mailbox_id=key.mailbox_id, uids=_one(key), regardless=True, operation_id=new_id().bytes
        )
        if not (await self._change(user, self.stub.ExpungeMessages, request)).expunged:
            raise MessageNotFoundError("no such message")

    def options(self, user: User) -> "CallOptions":
        """Of a call that answers once."""
        return {"timeout": self.limits.call_seconds, "metadata": on_behalf_of(user.capability)}

    def stream(self, user: User) -> "StreamOptions":
        """Of a call whose answers are taken through `in_time`."""
        return {"metadata": on_behalf_of(user.capability)}

    async def in_time(self, stream: "grpc.aio.UnaryStreamCall[Any, T]") -> AsyncGenerator[T]:
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

    async def _change(self, user: User, call: "grpc.aio.UnaryUnaryMultiCallable[Q, A]", request: Q) -> A:
        """Ask for a change, again with the same id when nobody knows whether it was made."""
        return await ask_twice(
            call, request, seconds=self.limits.call_seconds, metadata=on_behalf_of(user.capability)
        )

    async def _last(
        self, user: User, mailbox_id: bytes, uids: Sequence[pb.UidRange], count: int
    ) -> deque[pb.Facts]:
        found: deque[pb.Facts] = deque(maxlen=count)
        if uids:
            request = pb.FetchFactsRequest(mailbox_id=mailbox_id, uids=uids, summary=True)
            async with aclosing(self.in_time(self.stub.FetchFacts(request, **self.stream(user)))) as pages:
                async for page in pages:
                    found.extend(page.facts)
        return found

    async def _last_uids(self, user: User, mailbox_id: bytes, before: int, count: int) -> deque[int]:
        found: deque[int] = deque(maxlen=count)
        request = pb.LoadMailboxRequest(mailbox_id=mailbox_id)
        async with aclosing(self.in_time(self.stub.LoadMailbox(request, **self.stream(user)))) as pages:
            async for page in pages:
                found.extend(uid for uid in page.rows.uids if uid < before)
        return found


class StreamOptions(TypedDict):
    """Of a call that answers with a stream."""

    metadata: Metadata


class CallOptions(StreamOptions):
    """Of a call that answers once."""

    timeout: float


def find(mailboxes: Sequence[pb.Mailbox], mailbox_id: bytes) -> pb.Mailbox:
    """Raises `MailboxNotFoundError`."""
    for mailbox in mailboxes:
        if mailbox.id == mailbox_id:
            return mailbox
    raise MailboxNotFoundError("no such mailbox")


def _special(listed: pb.ListMailboxesResponse, use: pb.SpecialUse.ValueType, name: str) -> pb.Mailbox | None:
    named = next((mailbox for mailbox in listed.mailboxes if mailbox.name == name), None)
    return next((mailbox for mailbox in listed.mailboxes if mailbox.special_use == use), named)


def _one(key: MessageKey) -> list[pb.UidRange]:
    return [pb.UidRange(first=key.uid, last=key.uid)]
