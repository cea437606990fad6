"""What belonged to accounts that the directory has deleted is purged, all of it and nobody else's."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import pytest

from mailstore.mailboxes.retention import RetentionLimits
from mailstore.retiring import RetiringLimits, retire_accounts
from mailstore.upkeep import Upkeep, UpkeepLimits
from postroom.mailstore.v1 import account_pb2, delivery_pb2, mailbox_pb2
from postroom.mailstore.v1.delivery_pb2_grpc import DeliveryServiceStub
from postroom_contracts.errors import MethodMissingError, PostroomError
from postroom_contracts.ids import DEFAULT_TENANT, new_id
from postroom_embedded.postgres import PostgresAddress
from postroom_runtime.grpc_client import channel
from postroom_testing.core import bare_core, running_directory, running_mailstore
from postroom_testing.mail_store import MailAccount, MailStore, inline

DAY = dt.timedelta(days=1)
# Rows of an account in all tables that outlive a purge only by mistake. The journal is cut off by its age.
TABLES = ("account_state", "mailbox", "mailbox_message", "expunged", "subscription", "keyword", "annotation")
RIGHTS = "SELECT count(*) FROM mailstore.mailbox_right WHERE account_id = $1 OR grantee_id = $1"


@pytest.fixture
def store(own_store: MailStore) -> MailStore:
    """Upkeep is for everybody, so each test has a store of its own."""
    return own_store


@dataclass
class Directory:
    """Says who was deleted, or raises."""

    deleted: dict[UUID, dt.datetime] = field(default_factory=dict[UUID, dt.datetime])
    error: PostroomError | None = None
    asked: list[list[UUID]] = field(default_factory=list[list[UUID]])

    async def find(self, ids: Sequence[UUID]) -> Mapping[UUID, dt.datetime]:
        self.asked.append(list(ids))
        if self.error is not None:
            raise self.error
        return {each: at for each, at in self.deleted.items() if each in ids}

    def delete(self, account: MailAccount, ago: dt.timedelta = 2 * DAY) -> None:
        self.deleted[account.id] = dt.datetime.now(dt.UTC) - ago


def upkeep(store: MailStore, directory: Directory) -> Upkeep:
    """In small slices, each round with a look at all accounts."""
    limits = UpkeepLimits(
        purge_messages=2,
        retention=RetentionLimits(slice_rows=2),
        retiring=RetiringLimits(round_seconds=0.0, page=2),
    )
    return Upkeep(store.database, store.objects, limits, directory.find)


async def rows(store: MailStore, account: MailAccount) -> dict[str, int]:
    """How many there are of an account in each table that has any."""
    counts = {
        table: await store.fetchval(
            f"SELECT count(*) FROM mailstore.{table} WHERE account_id = $1",
            account.id,
        )
        for table in TABLES
    }
    counts["mailbox_right"] = await store.fetchval(RIGHTS, account.id)
    return {table: count for table, count in counts.items() if count}


async def age(store: MailStore) -> None:
    """Let the retention time of all that was removed be over."""
    await store.execute("UPDATE mailstore.expunged SET expunged_at = expunged_at - interval '15 days'")
    await store.execute("UPDATE mailstore.mailbox SET deleted_at = deleted_at - interval '15 days'")


async def settle(store: MailStore, account: MailAccount, guest: MailAccount) -> None:
    """Mail in two mailboxes, a keyword, a note, and rights in both directions."""
    await store.deliver(account, *[b"Subject: tea\r\n\r\nAt five.\r\n"] * 5)
    inbox, archive = await store.mailbox_id(account), await store.mailbox_id(account, "Archive")
    await store.append(account, archive, b"Subject: kept\r\n\r\n")
    flags = mailbox_pb2.StoreFlagsRequest(
        mailbox_id=inbox, mode=mailbox_pb2.StoreFlagsRequest.MODE_ADD, keywords=["$work"]
    )
    flags.uids.add(first=1, last=1)
    await store.mailbox.StoreFlags(flags, metadata=account.metadata)
    for owner, other in ((account, guest), (guest, account)):
        rights = account_pb2.SetRightsRequest(
            mailbox_id=await store.mailbox_id(owner), mode=account_pb2.SetRightsRequest.MODE_REPLACE
        )
        rights.grant.account_id, rights.grant.rights = other.id.bytes, 3
        await store.accounts.SetRights(rights, metadata=owner.metadata)


async def test_all_of_a_deleted_account_goes_and_its_octets_with_it(store: MailStore) -> None:
    ann, bob, directory = store.account("ann"), store.account("bob"), Directory()
    await store.deliver(bob, b"Subject: mine\r\n\r\n")
    await settle(store, ann, bob)
    before = await rows(store, bob)
    work = upkeep(store, directory)
    await work.run_once()
    kept = await rows(store, ann)
    assert kept["mailbox_message"] == 6
    assert kept["mailbox_right"] == 2
    directory.delete(ann)
    await work.run_once()
    assert (await rows(store, ann)).keys() == {
        "account_state",
        "mailbox",
        "expunged",
        "keyword",
        "subscription",
    }
    assert (await rows(store, ann))["expunged"] == 6
    await age(store)
    await work.run_once()
    await work.run_once()
    assert await rows(store, ann) == {}
    assert await store.fetchval("SELECT count(*) FROM mailstore.blob_candidate") > 0
    assert before.pop("mailbox_right") == 2
    assert await rows(store, bob) == before
    assert len(await store.inbox(bob)) == 1


class Cut(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("slices", [0, 1, 3])
async def test_what_was_cut_off_goes_on_and_what_is_done_is_not_done_again(
    store: MailStore, slices: int
) -> None:
    ann, bob, directory = store.account("ann"), store.account("bob"), Directory()
    await settle(store, ann, bob)
    directory.delete(ann)

    async def purge_and_die(account_id: UUID, mailbox_id: UUID) -> None:
        work = upkeep(store, directory)
        for _ in range(slices):
            await work._purge_slice(account_id, mailbox_id)  # pyright: ignore[reportPrivateUsage]
        raise Cut

    with pytest.raises(Cut):
        await retire_accounts(store.database, directory.find, purge_and_die, RetiringLimits())
    assert (await rows(store, ann)).get("expunged", 0) == min(2 * slices, 5)
    for _ in range(2):
        await upkeep(store, directory).run_once()
    assert (await rows(store, ann))["expunged"] == 6
    await age(store)
    for _ in range(3):
        await upkeep(store, directory).run_once()
    assert await rows(store, ann) == {}


@pytest.mark.parametrize("ago", [None, dt.timedelta(hours=23)])
async def test_who_is_unknown_or_was_deleted_a_moment_ago_is_left_alone(
    store: MailStore, ago: dt.timedelta | None
) -> None:
    ann, directory = store.account(), Directory()
    await store.deliver(ann, b"\r\n", b"\r\n")
    if ago is not None:
        directory.delete(ann, ago)
    before = await rows(store, ann)
    await upkeep(store, directory).run_once()
    assert directory.asked == [[ann.id]]
    assert await rows(store, ann) == before


async def test_all_accounts_are_asked_about_page_by_page(store: MailStore) -> None:
    accounts, directory = [store.account() for _ in range(5)], Directory()
    for account in accounts:
        await store.deliver(account, b"\r\n")
    await upkeep(store, directory).run_once()
    assert [len(page) for page in directory.asked] == [2, 2, 1]
    assert sorted(each for page in directory.asked for each in page) == sorted(a.id for a in accounts)


async def test_mail_that_comes_late_is_filed_and_purged_as_well(store: MailStore) -> None:
    ann, directory = store.account(), Directory()
    await store.deliver(ann, b"Subject: early\r\n\r\n")
    directory.delete(ann)
    work = upkeep(store, directory)
    await work.run_once()
    await store.deliver(ann, b"Subject: late\r\n\r\n")
    assert len(await store.inbox(ann)) == 1
    await age(store)
    await work.run_once()
    assert (await rows(store, ann))["expunged"] == 1
    await age(store)
    await work.run_once()
    await work.run_once()
    assert await rows(store, ann) == {}
    await store.deliver(ann, b"Subject: later still\r\n\r\n")
    assert len(await store.inbox(ann)) == 1


async def test_an_older_directory_puts_it_off_and_no_other_chore(store: MailStore) -> None:
    ann, directory = store.account(), Directory(error=MethodMissingError("an older directory"))
    await store.deliver(ann, b"\r\n")
    await store.execute("UPDATE mailstore.mailbox SET deleted_at = now() WHERE name = 'INBOX'")
    await upkeep(store, directory).run_once()
    assert (await rows(store, ann))["expunged"] == 1
    assert directory.asked


async def test_a_real_directory_tells_a_mail_store_that_starts(core_database: PostgresAddress) -> None:
    async with bare_core(core_database) as core, running_directory(core):
        (address,) = await core.add_accounts("leaver")
        account = MailAccount(core.accounts[address], address, (), "")
        async with running_mailstore(core), channel(core.mailstore, "smtp-inbound") as way:
            await _hand_over(DeliveryServiceStub(way), account)
            await core.wait_inbox(address, 1)
        await core.delete_account(address)
        await core.fetch("UPDATE directory.deleted_account SET deleted_at = now() - interval '2 days'")
        async with running_mailstore(core):
            async with asyncio.timeout(20):
                while await core.inbox(address):
                    await asyncio.sleep(0.02)
        (kept,) = await core.fetch("SELECT account_id FROM mailstore.expunged")
        assert kept["account_id"] == account.id


async def _hand_over(stub: DeliveryServiceStub, account: MailAccount) -> None:
    octets = b"Subject: tea\r\n\r\nAt five.\r\n"
    item = delivery_pb2.AcceptItem(
        id=new_id().bytes,
        tenant_id=DEFAULT_TENANT.bytes,
        recipients=[delivery_pb2.Recipient(address=account.address, account_id=account.id.bytes)],
        content=inline(octets),
    )
    item.received_at.GetCurrentTime()

    async def requests() -> AsyncIterator[delivery_pb2.AcceptRequest]:
        yield delivery_pb2.AcceptRequest(items=[item])

    async for response in stub.Accept(requests()):
        assert [each.outcome for each in response.results] == [delivery_pb2.AcceptResult.OUTCOME_ACCEPTED]
