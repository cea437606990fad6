"""What owners and guests of shared mailboxes ask the mail store, for tests (RFC 4314)."""

from collections.abc import Sequence

from postroom.mailstore.v1 import account_pb2 as pb
from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.ids import new_id
from postroom_runtime.grpc_client import Metadata
from postroom_testing.mail_store import MailAccount, MailStore, rows_by_uid

MAIL = b"From: Ann <ann@example.org>\r\nSubject: Tea\r\n\r\nAt five.\r\n"

SEEN, ANSWERED, FLAGGED, DELETED = 1, 2, 4, 8

ALL = [mailbox_pb2.UidRange(first=1, last=2**32 - 1)]

STORE = mailbox_pb2.StoreFlagsRequest


def at(guest: MailAccount, host: MailAccount) -> Metadata:
    """A guest's call about what is its host's."""
    return (*guest.metadata, ("postroom-host", str(host.id)))


async def grant(
    store: MailStore, owner: MailAccount, mailbox_id: bytes, rights: int, grantee: MailAccount | None
) -> None:
    """Rights at a mailbox, instead of those there were."""
    who = b"" if grantee is None else grantee.id.bytes
    request = pb.SetRightsRequest(
        mailbox_id=mailbox_id,
        grant=pb.Grant(account_id=who, rights=rights),
        mode=pb.SetRightsRequest.MODE_REPLACE,
    )
    await store.accounts.SetRights(request, metadata=owner.metadata)


async def shared(store: MailStore, rights: int, mails: int = 2) -> tuple[MailAccount, MailAccount, bytes]:
    """Ann's INBOX with so many messages, of which bob has rights, and bob."""
    ann, bob = store.account("ann"), store.account("bob")
    inbox = await store.mailbox_id(ann)
    for _ in range(mails):
        await store.append(ann, inbox, MAIL)
    await store.mailbox_id(bob)
    await grant(store, ann, inbox, rights, bob)
    return ann, bob, inbox


async def listed(store: MailStore, user: MailAccount, owner: MailAccount) -> list[pb.SharedMailbox]:
    """What this owner shares with the user; other tests' owners share with anyone."""
    answer = await store.accounts.ListShared(pb.ListSharedRequest(), metadata=user.metadata)
    return [each for each in answer.mailboxes if each.account_id == owner.id.bytes]


async def rows(store: MailStore, metadata: Metadata, mailbox_id: bytes) -> dict[int, tuple[int, int, int]]:
    """Flags, keywords and MODSEQ of each message, as whoever asks has them."""
    found: dict[int, tuple[int, int, int]] = {}
    request = mailbox_pb2.LoadMailboxRequest(mailbox_id=mailbox_id)
    async for page in store.mailbox.LoadMailbox(request, metadata=metadata):
        found |= rows_by_uid(page.rows)
    return found


async def flags(store: MailStore, metadata: Metadata, mailbox_id: bytes) -> list[int]:
    """The system flags of each message, as whoever asks has them."""
    return [row[0] for row in (await rows(store, metadata, mailbox_id)).values()]


async def change(
    store: MailStore,
    metadata: Metadata,
    mailbox_id: bytes,
    mode: STORE.Mode.ValueType,
    bits: int,
    keywords: Sequence[str] = (),
) -> mailbox_pb2.StoreFlagsResponse:
    """Flags of all messages."""
    request = STORE(mailbox_id=mailbox_id, uids=ALL, mode=mode, flags=bits, keywords=keywords)
    return await store.mailbox.StoreFlags(request, metadata=metadata)


async def transfer(
    store: MailStore,
    user: MailAccount,
    source: tuple[MailAccount, bytes],
    target: tuple[MailAccount, bytes],
    *,
    move: bool = False,
) -> pb.TransferMessagesResponse:
    """Copy or move all messages; asked twice, as a caller does who got no answer."""
    request = pb.TransferMessagesRequest(
        source=pb.MailboxPlace(account_id=source[0].id.bytes, mailbox_id=source[1]),
        uids=ALL,
        target=pb.MailboxPlace(account_id=target[0].id.bytes, mailbox_id=target[1]),
        move=move,
        operation_id=new_id().bytes,
    )
    answer = await store.accounts.TransferMessages(request, metadata=user.metadata)
    assert await store.accounts.TransferMessages(request, metadata=user.metadata) == answer
    return answer
