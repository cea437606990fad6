"""No two mailboxes of an account ever have the same UIDVALIDITY (RFC 3501 s2.3.1.1)."""

from uuid import UUID

import pytest

from mailstore.upkeep import Upkeep
from postroom.mailstore.v1 import mailbox_pb2 as pb
from postroom_contracts.errors import MailboxNotFoundError
from postroom_testing.mail_store import MailAccount, MailStore


async def create(store: MailStore, account: MailAccount, name: str) -> pb.Mailbox:
    request = pb.CreateMailboxRequest(name=name)
    return (await store.mailbox.CreateMailbox(request, metadata=account.metadata)).mailbox


async def rename(store: MailStore, account: MailAccount, mailbox_id: bytes, name: str) -> pb.Mailbox:
    request = pb.RenameMailboxRequest(mailbox_id=mailbox_id, new_name=name)
    return (await store.mailbox.RenameMailbox(request, metadata=account.metadata)).mailbox


async def test_a_uid_validity_is_used_once_whatever_becomes_of_its_mailbox(own_store: MailStore) -> None:
    store, ann = own_store, own_store.account()
    seen = {mailbox.uid_validity for mailbox in (await store.mailboxes(ann)).values()}
    assert len(seen) == 6
    for _ in range(3):
        made = await create(store, ann, "Work")
        assert made.uid_validity not in seen
        seen.add(made.uid_validity)
        moved = await rename(store, ann, made.id, "Play")
        assert moved.uid_validity == made.uid_validity
        await store.append(ann, made.id, b"Subject: x\r\n\r\n")
        await store.mailbox.DeleteMailbox(pb.DeleteMailboxRequest(mailbox_id=made.id), metadata=ann.metadata)
        # Nothing of it is left, neither its row nor what was in it.
        await store.execute(
            "UPDATE mailstore.mailbox SET deleted_at = '-infinity' WHERE deleted_at IS NOT NULL"
        )
        await Upkeep(store.database, store.objects).run_once()
        await store.execute("UPDATE mailstore.expunged SET expunged_at = '-infinity'")
        await Upkeep(store.database, store.objects).run_once()
        assert not await store.fetchval(
            "SELECT count(*) FROM mailstore.mailbox WHERE id = $1", UUID(bytes=made.id)
        )
    inbox = await store.mailbox_id(ann)
    assert (await rename(store, ann, inbox, "Old")).uid_validity not in seen


async def test_what_is_brought_to_a_mailbox_that_is_gone_is_refused_and_mail_comes_to_inbox(
    store: MailStore,
) -> None:
    ann = store.account()
    made = await create(store, ann, "Work")
    await store.mailbox.DeleteMailbox(pb.DeleteMailboxRequest(mailbox_id=made.id), metadata=ann.metadata)
    with pytest.raises(MailboxNotFoundError):
        await store.append(ann, made.id, b"Subject: x\r\n\r\n")
    await rename(store, ann, await store.mailbox_id(ann), "Old")
    await store.deliver(ann, b"Subject: y\r\n\r\n")
    assert await store.inbox(ann) == [b"Subject: y\r\n\r\n"]
