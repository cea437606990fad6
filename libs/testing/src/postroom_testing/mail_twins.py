"""Two mail accesses over one mail store, and what happens to an account beside its IMAP sessions."""

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

import zstandard

from postroom.mailstore.v1 import content_pb2, delivery_pb2, delivery_pb2_grpc, mailbox_pb2, mailbox_pb2_grpc
from postroom_contracts.capability import Scope
from postroom_contracts.ids import DEFAULT_TENANT, new_id
from postroom_runtime.grpc_client import Metadata, channel, on_behalf_of
from postroom_testing.imap_client import ImapClient
from postroom_testing.imap_memory import Flags
from postroom_testing.small_directory_service import Account, SmallDirectory

_SYSTEM_FLAGS = ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft")
_WAIT_SECONDS = 20.0


@dataclass(frozen=True)
class Twins:
    """Where they are."""

    directory: SmallDirectory
    ports: tuple[dict[str, int], dict[str, int]]
    mailstore: str


@dataclass
class Stored:
    """A mailbox as the store has it."""

    id: bytes
    name: str
    uid_validity: int
    uid_next: int
    flags: dict[int, Flags] = field(default_factory=dict[int, Flags])
    modseqs: dict[int, int] = field(default_factory=dict[int, int])
    counts: tuple[int, int, int] | None = None
    """Messages, those without \\Seen and those with \\Deleted, by the store's counters; a guest has none."""
    modseq: int = 0
    recent_from: int = 1
    """The first UID that no session has claimed as \\Recent."""


class Household:
    """An account: its sessions at either mail access, its mail, and what other programs do to it.

    `guest` is somebody else, with whom it may share.
    """

    def __init__(
        self,
        twins: Twins,
        account: Account,
        guest: Account,
        delivery: delivery_pb2_grpc.DeliveryServiceStub,
        mailboxes: mailbox_pb2_grpc.MailboxServiceStub,
    ) -> None:
        self.twins, self.account, self.guest = twins, account, guest
        self._delivery, self._mailboxes = delivery, mailboxes
        self._clients: list[ImapClient] = []

    async def connect(self, where: int, *, as_guest: bool = False) -> ImapClient:
        """A session that is logged in."""
        account = self.guest if as_guest else self.account
        client = await ImapClient.connect("127.0.0.1", self.twins.ports[where % 2]["imap"])
        self._clients.append(client)
        await client.login(account.address, account.password)
        return client

    async def hang_up(self) -> None:
        """End all sessions."""
        for client in self._clients:
            await client.close()

    async def deliver(self, token: str) -> None:
        """Have the store accept a message, as smtp-inbound does."""
        octets = f"Subject: {token}\r\n\r\nbody of {token}\r\n".encode()
        item = delivery_pb2.AcceptItem(
            id=new_id().bytes,
            tenant_id=DEFAULT_TENANT.bytes,
            reverse_path="ann@example.org",
            recipients=[
                delivery_pb2.Recipient(address=self.account.address, account_id=self.account.id.bytes)
            ],
            content=content_pb2.Content(
                digest=hashlib.sha256(octets).digest(), size=len(octets), zstd=zstandard.compress(octets, 1)
            ),
        )
        item.received_at.GetCurrentTime()

        async def requests() -> AsyncIterator[delivery_pb2.AcceptRequest]:
            yield delivery_pb2.AcceptRequest(items=[item])

        async for response in self._delivery.Accept(requests()):
            outcomes = [result.outcome for result in response.results]
            assert outcomes == [delivery_pb2.AcceptResult.OUTCOME_ACCEPTED]

    async def stored(self, *, rows: bool = True, of_guest: bool = False) -> dict[str, Stored]:
        """All mailboxes as the store has them, of the account or of the guest's own."""
        metadata = self._metadata(self.guest if of_guest else self.account)
        listed = await self._mailboxes.ListMailboxes(mailbox_pb2.ListMailboxesRequest(), metadata=metadata)
        keywords = {each.bit: each.name for each in listed.keywords}
        found: dict[str, Stored] = {}
        for box in listed.mailboxes:
            stored = found[box.name] = Stored(box.id, box.name, box.uid_validity, box.uid_next)
            stored.counts = box.messages, box.unseen, box.deleted
            stored.modseq, stored.recent_from = box.highest_modseq, box.uid_next - box.recent
            if rows and box.messages:
                await self._load(stored, keywords, metadata)
        return found

    async def stored_for_guest(self, box: Stored) -> Stored:
        """A mailbox that the account shares, as the guest has it."""
        shared = replace(box, flags={}, modseqs={}, counts=None, recent_from=box.uid_next)
        metadata = on_behalf_of(self.twins.directory.capability(self.guest, Scope.API), self.account.id)
        await self._load(shared, {}, metadata)
        return shared

    async def file(self, count: int) -> None:
        """Wait until INBOX has had so many messages."""
        async with asyncio.timeout(_WAIT_SECONDS):
            while (await self.stored(rows=False))["INBOX"].uid_next <= count:
                await asyncio.sleep(0.01)

    async def store_flags(self, box: Stored, uids: Sequence[int], flag: str, *, add: bool) -> None:
        """As the REST API does."""
        modes = mailbox_pb2.StoreFlagsRequest
        system = flag in _SYSTEM_FLAGS
        request = mailbox_pb2.StoreFlagsRequest(
            mailbox_id=box.id,
            uids=[mailbox_pb2.UidRange(first=uid, last=uid) for uid in sorted(uids)],
            mode=modes.MODE_ADD if add else modes.MODE_REMOVE,
            flags=1 << _SYSTEM_FLAGS.index(flag) if system else 0,
            keywords=() if system else [flag],
        )
        await self._mailboxes.StoreFlags(request, metadata=self._metadata())

    async def pop3(self, where: int, places: Sequence[int]) -> list[int]:
        """Delete the messages at these places of INBOX by POP3; their UIDs."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.twins.ports[where % 2]["pop3"])

        async def line() -> bytes:
            async with asyncio.timeout(_WAIT_SECONDS):
                return await reader.readline()

        async def say(text: str) -> None:
            writer.write(text.encode() + b"\r\n")
            assert (answer := await line()).startswith(b"+OK"), (text, answer)

        try:
            assert (await line()).startswith(b"+OK")
            await say(f"USER {self.account.address}")
            await say(f"PASS {self.account.password}")
            await say("UIDL")
            uids: list[int] = []
            while (listed := await line()) != b".\r\n":
                uids.append(int(listed.split()[1].rpartition(b".")[2]))
            numbers = sorted({place % len(uids) for place in places}) if uids else []
            for number in numbers:
                await say(f"DELE {number + 1}")
            await say("QUIT")
            return [uids[number] for number in numbers]
        finally:
            writer.close()

    async def _load(self, stored: Stored, keywords: dict[int, str], metadata: Metadata) -> None:
        request = mailbox_pb2.LoadMailboxRequest(mailbox_id=stored.id)
        async for page in self._mailboxes.LoadMailbox(request, metadata=metadata):
            rows = page.rows
            keywords = {**keywords, **{each.bit: each.name for each in page.keywords}}
            columns = zip(rows.uids, rows.flags, rows.keywords, rows.modseqs, strict=True)
            for uid, bits, words, modseq in columns:
                names = {name for at, name in enumerate(_SYSTEM_FLAGS) if bits >> at & 1}
                names |= {name for bit, name in keywords.items() if words >> bit & 1}
                stored.flags[uid], stored.modseqs[uid] = frozenset(names), modseq

    def _metadata(self, account: Account | None = None) -> Metadata:
        return on_behalf_of(self.twins.directory.capability(account or self.account, Scope.API))


@contextlib.asynccontextmanager
async def household(twins: Twins) -> AsyncGenerator[Household]:
    """A fresh account with all that."""
    account, guest = (
        twins.directory.add(f"{name}-{secrets.token_hex(4)}@postroom.test", "secret")
        for name in ("dora", "gus")
    )
    async with (
        channel(twins.mailstore, "smtp-inbound") as smtp,
        channel(twins.mailstore, "webmail-api") as rest,
    ):
        house = Household(
            twins,
            account,
            guest,
            delivery_pb2_grpc.DeliveryServiceStub(smtp),
            mailbox_pb2_grpc.MailboxServiceStub(rest),
        )
        try:
            yield house
        finally:
            await house.hang_up()
