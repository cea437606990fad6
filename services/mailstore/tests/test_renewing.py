"""New UIDVALIDITYs after a restore: never one that a mailbox had, and whoever reads is told."""

import time

import pytest

from mailstore.mailboxes import renewing
from postroom.mailstore.v1 import mailbox_pb2 as pb
from postroom_contracts.capability import Scope
from postroom_contracts.errors import NotPermittedError
from postroom_contracts.ids import NOBODY, new_id
from postroom_runtime.grpc_client import on_behalf_of
from postroom_testing.mail_store import MailAccount, MailStore, capability

ADMIN = on_behalf_of(capability(NOBODY, "", Scope.ADMIN))
HELLO = b"Subject: hello\r\n\r\nHello.\r\n"


@pytest.fixture
def store(own_store: MailStore) -> MailStore:
    """All accounts are renewed, so each test has a store of its own."""
    return own_store


async def renew(store: MailStore, **fields: bytes) -> pb.RenewUidValidityResponse:
    return await store.mailbox.RenewUidValidity(pb.RenewUidValidityRequest(**fields), metadata=ADMIN)


async def validities(store: MailStore, account: MailAccount) -> dict[str, int]:
    return {name: mailbox.uid_validity for name, mailbox in (await store.mailboxes(account)).items()}


async def test_each_mailbox_has_one_that_none_ever_had_and_keeps_its_mail(store: MailStore) -> None:
    ann = store.account()
    await store.deliver(ann, HELLO, HELLO)
    inbox, before = await store.mailbox_id(ann), await validities(store, ann)
    rows = await store.rows(ann, inbox)
    assert (await renew(store)).mailboxes == len(before) == 6
    after = await validities(store, ann)
    assert len(set(after.values())) == 6
    # Whatever was made since the backup, one mailbox a second and a hundred thousand more.
    assert min(after.values()) > time.time() + 99_000 > max(before.values())
    assert max(after.values()) < 2**32
    assert await store.rows(ann, inbox) == rows
    assert await store.inbox(ann) == [HELLO, HELLO]
    await store.mailbox.CreateMailbox(pb.CreateMailboxRequest(name="New"), metadata=ann.metadata)
    assert (await validities(store, ann))["New"] > max(after.values())
    await renew(store)
    assert not set(after.values()) & set((await validities(store, ann)).values())
    assert await store.counters_are_right(ann)


async def test_readers_are_woken_with_a_modseq_that_the_lost_time_never_reached(store: MailStore) -> None:
    ann = store.account()
    await store.deliver(ann, HELLO)
    inbox = await store.mailbox_id(ann)
    request = pb.ListMailboxesRequest()
    modseq = (await store.mailbox.ListMailboxes(request, metadata=ann.metadata)).modseq
    store.hooks.changed.clear()
    await renew(store)
    assert [account for account, _ in store.hooks.changed] == [ann.id]
    assert store.hooks.changed[0][1] > modseq + 10**9
    # Somebody whose view is of the lost time asks.
    changes = pb.GetChangesRequest(mailbox_id=inbox, since_modseq=modseq + 1_000)
    answer = await store.mailbox.GetChanges(changes, metadata=ann.metadata)
    assert answer.modseq == store.hooks.changed[0][1]
    assert answer.uid_validity == (await validities(store, ann))["INBOX"]


async def test_all_accounts_are_renewed_in_slices_or_one_of_them(
    store: MailStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewing, "SLICE_ACCOUNTS", 2)
    accounts = [store.account() for _ in range(5)]
    await store.deliver(accounts[0], HELLO)
    before = [await validities(store, account) for account in accounts]
    assert (await renew(store, account_id=accounts[3].id.bytes)).accounts == 1
    renewed = [await validities(store, account) != was for account, was in zip(accounts, before, strict=True)]
    assert renewed == [False, False, False, True, False]
    total, after = 0, b""
    while True:
        answer = await renew(store, after_account_id=after)
        total += answer.accounts
        if not (after := answer.last_account_id):
            break
    assert total == 5


async def test_asking_again_with_the_same_id_renews_once(store: MailStore) -> None:
    ann, operation = store.account(), new_id().bytes
    await store.deliver(ann, HELLO)
    first = await renew(store, operation_id=operation)
    after = await validities(store, ann)
    store.hooks.changed.clear()
    assert await renew(store, operation_id=operation) == first
    assert await validities(store, ann) == after
    assert not store.hooks.changed


async def test_only_an_administrator_renews(store: MailStore) -> None:
    with pytest.raises(NotPermittedError):
        await store.mailbox.RenewUidValidity(pb.RenewUidValidityRequest(), metadata=store.account().metadata)


async def test_no_name_ever_has_the_same_uidvalidity_for_two_mailboxes(store: MailStore) -> None:
    ann = store.account()
    before = await store.mailboxes(ann)
    assert len({mailbox.uid_validity for mailbox in before.values()}) == len(before)
    await store.mailbox.DeleteMailbox(
        pb.DeleteMailboxRequest(mailbox_id=before["Archive"].id), metadata=ann.metadata
    )
    await store.mailbox.RenameMailbox(
        pb.RenameMailboxRequest(mailbox_id=before["Drafts"].id, new_name="Archive"),
        metadata=ann.metadata,
    )
    assert (await store.mailboxes(ann))["Archive"].uid_validity != before["Archive"].uid_validity
    created = pb.CreateMailboxRequest(name="Drafts")
    made = (await store.mailbox.CreateMailbox(created, metadata=ann.metadata)).mailbox
    assert made.uid_validity not in {mailbox.uid_validity for mailbox in before.values()}
