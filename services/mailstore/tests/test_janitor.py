"""The janitor: what nothing refers to goes in the end, and nothing else ever does."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from mailstore.blobs.doomed import doom, spare
from mailstore.blobs.janitor import Janitor, JanitorLimits
from mailstore.blobs.packer import Packer, PackLimits
from mailstore.blobs.reader import message_key, pack_key
from mailstore.blobs.rewriting import RewriteLimits
from mailstore.blobs.segments import SegmentLimits
from mailstore.mailboxes.retention import RetentionLimits, forget_expunged
from postroom.doctor.v1 import doctor_pb2
from postroom.mailstore.v1 import mailbox_pb2, retention_pb2
from postroom_contracts.capability import Scope
from postroom_contracts.errors import UnavailableError
from postroom_contracts.ids import NOBODY
from postroom_runtime.grpc_client import on_behalf_of
from postroom_storage.database import Database
from postroom_storage.errors import ObjectNotFoundError
from postroom_storage.examination import ExaminationLimits
from postroom_storage.objects import ObjectStore
from postroom_testing.mail_store import MailAccount, MailStore, capability, running_mail_store

ADMIN = on_behalf_of(capability(NOBODY, "", Scope.ADMIN))
_BLOBS = "SELECT count(*) FROM mailstore.blob"
_MESSAGES = "SELECT count(*) FROM mailstore.message"
_CANDIDATES = "SELECT count(*) FROM mailstore.blob_candidate"
_QUARANTINED = "SELECT count(*) FROM mailstore.blob_candidate WHERE quarantined_at IS NOT NULL"
_PACKS = "SELECT coalesce(array_agg(id), '{}') FROM mailstore.pack"
_DOOMED = "SELECT count(*) FROM mailstore.doomed_object"


@pytest.fixture
async def store(database: Database, present_objects: ObjectStore, sockets: Path) -> AsyncIterator[MailStore]:
    """A mail store of the test's own, whose doctor regards all garbage as such at once."""
    limits = ExaminationLimits(settled_seconds=0.0)
    async with running_mail_store(database, present_objects, sockets, examination_limits=limits) as store:
        yield store


def text(number: int) -> bytes:
    return b"Subject: %d\r\n\r\n" % number + random.Random(number).randbytes(400).hex().encode()


async def pack(store: MailStore, octets: int = 10**6) -> None:
    limits = PackLimits(settle_seconds=-1.0, pack_octets=octets)
    segments = SegmentLimits(sealed_seconds=0.0)
    await Packer(store.database, store.objects, store.parts.segment, segments, limits).run_once()


async def expunge(store: MailStore, account: MailAccount, mailbox_id: bytes, *uids: int) -> None:
    request = mailbox_pb2.ExpungeMessagesRequest(mailbox_id=mailbox_id, regardless=True)
    for uid in uids:
        request.uids.add(first=uid, last=uid)
    await store.mailbox.ExpungeMessages(request, metadata=account.metadata)


async def copy(store: MailStore, account: MailAccount, source: bytes, target: bytes, uid: int) -> None:
    request = mailbox_pb2.CopyMessagesRequest(mailbox_id=source, target_mailbox_id=target)
    request.uids.add(first=uid, last=uid)
    await store.mailbox.CopyMessages(request, metadata=account.metadata)


async def forget(store: MailStore) -> None:
    """All that was expunged, as if its time were over; and what the queue is done with."""
    await store.execute("UPDATE mailstore.expunged SET expunged_at = '-infinity'")
    await forget_expunged(store.database, RetentionLimits(slice_rows=3))
    async with store.database.transaction() as connection:
        gone = await connection.fetch(
            "DELETE FROM mailstore.accepted AS a WHERE NOT EXISTS"
            " (SELECT FROM mailstore.delivery AS d WHERE d.accepted_id = a.id) RETURNING blob_id"
        )
        await connection.execute(
            "INSERT INTO mailstore.blob_candidate (blob_id) SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING",
            [row["blob_id"] for row in gone],
        )


async def clean(store: MailStore, *, quarantine: float = 0.0, **rewrite: float) -> None:
    limits = JanitorLimits(
        quarantine_seconds=quarantine,
        settle_seconds=0.0,
        slice_rows=2,
        rewrite=RewriteLimits(**({"dead_share": 0.01} | rewrite)),  # type: ignore[arg-type]  # whole numbers where they are wanted
    )
    await Janitor(store.database, store.objects, limits).run_once()


async def let_doomed_go(store: MailStore) -> None:
    await store.execute("UPDATE mailstore.doomed_object SET delete_after = '-infinity'")
    await clean(store)


async def is_there(store: MailStore, key: str) -> bool:
    try:
        await store.objects.head(key)
    except ObjectNotFoundError:
        return False
    return True


async def garbage_and_findings(store: MailStore) -> tuple[int, list[str]]:
    """What the doctor says; garbage of other tests' stores counts too."""
    garbage, findings, cursor = 0, list[str](), "schema:"
    while cursor:
        request = doctor_pb2.ExamineRequest(cursor=cursor)
        answer = await store.doctor.Examine(request, metadata=ADMIN)
        garbage += answer.garbage_objects
        findings += [each.subject for each in answer.findings]
        cursor = answer.next_cursor
    return garbage, findings


async def test_octets_go_in_steps_and_the_rest_stays_readable(store: MailStore) -> None:
    ann = store.account()
    await store.deliver(ann, *map(text, range(6)))
    await pack(store)
    (before,) = await store.fetchval(_PACKS)
    inbox = await store.mailbox_id(ann)
    await expunge(store, ann, inbox, 1, 2, 5)
    garbage, _ = await garbage_and_findings(store)
    await clean(store)
    assert await store.fetchval(_MESSAGES) == 6
    await forget(store)
    assert await store.fetchval(_CANDIDATES) == 6
    await clean(store, quarantine=60.0)
    assert await store.fetchval(_QUARANTINED) == await store.fetchval(_CANDIDATES) == 3
    assert await store.fetchval(_MESSAGES) == 6
    await store.execute("UPDATE mailstore.blob_candidate SET quarantined_at = now() - interval '61 seconds'")
    await clean(store, quarantine=60.0)
    assert (await store.fetchval(_MESSAGES), await store.fetchval(_BLOBS)) == (3, 3)
    assert await store.fetchval(_CANDIDATES) == 0
    (after,) = await store.fetchval(_PACKS)
    assert after != before
    assert await is_there(store, pack_key(before))
    assert await garbage_and_findings(store) == (garbage, [])
    assert await store.inbox(ann) == [text(2), text(3), text(5)]
    await let_doomed_go(store)
    assert not await is_there(store, pack_key(before))
    assert await store.inbox(ann) == [text(2), text(3), text(5)]
    assert await garbage_and_findings(store) == (garbage, [])


async def test_what_anybody_refers_to_stays(store: MailStore) -> None:
    ann, bob = store.account("ann"), store.account("bob")
    inbox, archive = await store.mailbox_id(ann), await store.mailbox_id(ann, "Archive")
    await store.accept(store.item([ann, bob], text(0)))  # bob has it still
    await store.file()
    await store.deliver(ann, text(1), text(2), text(3))
    await copy(store, ann, inbox, archive, 2)
    await store.accept(store.item([ann, "far@one.example"], text(4)))  # the queue has it still
    await store.file()
    await expunge(store, ann, inbox, 1, 2, 3, 4, 5)
    await store.execute(
        "UPDATE mailstore.expunged SET expunged_at = now() - interval '99 days' WHERE uid < 4"
    )
    await forget_expunged(store.database, RetentionLimits())  # of 4 the retention is not over, nor of 5
    await store.execute(
        "INSERT INTO mailstore.blob_candidate (blob_id) SELECT id FROM mailstore.blob ON CONFLICT DO NOTHING"
    )
    await store.execute(
        "DELETE FROM mailstore.accepted AS a WHERE NOT EXISTS (SELECT FROM mailstore.delivery AS d"
        " WHERE d.accepted_id = a.id)"
    )
    for _ in range(2):
        await clean(store)
    assert await store.fetchval(_MESSAGES) == 4
    assert await store.fetchval(_CANDIDATES) == 0
    assert await store.inbox(bob) == [text(0)]
    assert await store.read(ann, archive, 1) == text(1)
    await store.retention.RestoreMessages(
        retention_pb2.RestoreMessagesRequest(mailbox_id=inbox), metadata=ann.metadata
    )
    assert await store.inbox(ann) == [text(3), text(4)]


async def test_a_message_of_many_accounts_goes_with_the_last_of_them(store: MailStore) -> None:
    accounts = [store.account(name) for name in ("ann", "bob", "carol")]
    await store.accept(store.item(accounts, text(0)))
    await store.file()
    await pack(store)
    for account in accounts:
        assert await store.fetchval(_BLOBS) == 1
        await expunge(store, account, await store.mailbox_id(account), 1)
        await forget(store)
        await clean(store)
        await clean(store)
    assert await store.fetchval(_BLOBS) == await store.fetchval(_MESSAGES) == 0
    assert await store.fetchval(_PACKS) == []


async def test_a_large_message_has_no_object_afterwards(store: MailStore) -> None:
    ann, object_id = store.account(), uuid4()
    await store.deliver(ann, text(0))
    await store.objects.put(message_key(object_id), b"large")
    await store.execute("UPDATE mailstore.blob SET segment = NULL, object_id = $1", object_id)
    await expunge(store, ann, await store.mailbox_id(ann), 1)
    await forget(store)
    await clean(store)
    await clean(store)
    assert await store.fetchval(_BLOBS) == 0
    assert await is_there(store, message_key(object_id))
    await let_doomed_go(store)
    assert not await is_there(store, message_key(object_id))
    assert await store.fetchval(_DOOMED) == 0


async def test_staged_octets_go_without_a_pack(store: MailStore) -> None:
    ann = store.account()
    await store.deliver(ann, text(0))
    await expunge(store, ann, await store.mailbox_id(ann), 1)
    await forget(store)
    await clean(store)
    await clean(store)
    assert await store.fetchval(_BLOBS) == 0
    await pack(store)
    assert await store.fetchval(_PACKS) == []


async def test_whoever_lets_go_while_the_janitor_looks_notes_the_blob_once_more(store: MailStore) -> None:
    ann = store.account()
    await store.deliver(ann, text(0))
    await expunge(store, ann, await store.mailbox_id(ann), 1)
    await store.execute("DELETE FROM mailstore.accepted")
    await store.execute("UPDATE mailstore.expunged SET expunged_at = '-infinity'")
    await store.execute("INSERT INTO mailstore.blob_candidate (blob_id) SELECT id FROM mailstore.blob")
    async with store.database.transaction() as looking:
        await looking.fetch("SELECT FROM mailstore.blob_candidate FOR UPDATE")
        letting_go = asyncio.ensure_future(forget_expunged(store.database, RetentionLimits()))
        waiting = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        async with asyncio.timeout(4.0):
            while not await store.fetchval(waiting):
                await asyncio.sleep(0.01)
        await looking.execute("DELETE FROM mailstore.blob_candidate")  # it is referred to
    await letting_go
    assert await store.fetchval(_CANDIDATES) == 1


async def test_a_restore_under_way_is_a_reference(store: MailStore) -> None:
    ann = store.account()
    await store.deliver(ann, text(0))
    inbox = await store.mailbox_id(ann)
    await expunge(store, ann, inbox, 1)
    await store.execute("DELETE FROM mailstore.accepted")
    await store.execute("INSERT INTO mailstore.blob_candidate (blob_id) SELECT id FROM mailstore.blob")
    async with store.database.transaction() as restoring:
        await restoring.execute("UPDATE mailstore.expunged SET kind = 2")
        await clean(store)
        await clean(store)
        assert await store.fetchval(_BLOBS) == 1
    assert await store.fetchval(_CANDIDATES) == 0


async def test_small_packs_of_a_tenant_become_one_and_tenants_stay_apart(store: MailStore) -> None:
    ann, bob = store.account("ann"), store.account("bob")
    for account in (ann, bob):
        for number in range(6):
            item = store.item([account], text(number))
            item.tenant_id = account.id.bytes
            await store.accept(item)
        await store.file()
    await pack(store, octets=1_000)
    assert len(await store.fetchval(_PACKS)) == 6
    for account in (ann, bob):
        await expunge(store, account, await store.mailbox_id(account), 1, 3, 5)
    await forget(store)
    await clean(store)
    await clean(store)
    async with store.database.connection() as connection:
        rows = await connection.fetch(
            "SELECT p.tenant_id, count(b.id) AS blobs, count(DISTINCT b.tenant_id) AS tenants"
            " FROM mailstore.pack AS p JOIN mailstore.blob AS b ON b.pack_id = p.id GROUP BY p.id"
        )
    assert {row["tenant_id"] for row in rows} == {ann.id, bob.id}
    assert [(row["blobs"], row["tenants"]) for row in rows] == [(3, 1), (3, 1)]
    for account in (ann, bob):
        assert await store.inbox(account) == [text(1), text(3), text(5)]


async def test_a_pack_waits_until_enough_of_it_is_dead_or_for_long_enough(store: MailStore) -> None:
    ann = store.account()
    await store.deliver(ann, *map(text, range(5)))
    await pack(store)
    before = await store.fetchval(_PACKS)
    await expunge(store, ann, await store.mailbox_id(ann), 1)
    await forget(store)
    await clean(store, dead_share=0.5)
    await clean(store, dead_share=0.5)
    assert await store.fetchval(_BLOBS) == 4
    assert await store.fetchval(_PACKS) == before
    await store.execute("UPDATE mailstore.pack SET oldest_dead_at = now() - interval '31 days'")
    await clean(store, dead_share=0.5)
    assert await store.fetchval(_PACKS) != before
    assert await store.fetchval("SELECT sum(dead_octets) FROM mailstore.pack") == 0
    assert len(await store.inbox(ann)) == 4


@pytest.mark.parametrize("damage", ["octets", "missing"])
async def test_a_damaged_pack_is_left_as_it_is(store: MailStore, damage: str) -> None:
    ann = store.account()
    await store.deliver(ann, *map(text, range(3)))
    await pack(store)
    (damaged,) = await store.fetchval(_PACKS)
    await expunge(store, ann, await store.mailbox_id(ann), 1)
    await forget(store)
    if damage == "missing":
        await store.objects.delete([pack_key(damaged)])
    else:
        size = await store.fetchval("SELECT size FROM mailstore.pack")
        octets = bytearray(await store.objects.get_range(pack_key(damaged), 0, size))
        last = await store.fetchval("SELECT max(start + stored_length) FROM mailstore.blob")
        octets[last - 5] ^= 1
        await store.objects.put(pack_key(damaged), bytes(octets))
    await clean(store)
    await clean(store)
    assert await store.fetchval(_PACKS) == [damaged]
    assert await store.fetchval("SELECT look_after > now() + interval '23 hours' FROM mailstore.pack")


async def test_an_object_that_a_row_names_is_not_deleted_whatever_is_noted(store: MailStore) -> None:
    ann = store.account()
    await store.deliver(ann, text(0))
    await pack(store)
    (named,) = await store.fetchval(_PACKS)
    async with store.database.connection() as connection:
        await doom(connection, [pack_key(named)], -3_600.0)
    await clean(store)
    assert await store.fetchval(_DOOMED) == 0
    assert await store.inbox(ann) == [text(0)]


async def test_what_was_written_too_slowly_or_never_named_goes(store: MailStore) -> None:
    orphan = pack_key(uuid4())
    await store.objects.put(orphan, b"half a pack")
    async with store.database.connection() as connection:
        await doom(connection, [orphan], -3_600.0)
        with pytest.raises(UnavailableError):
            await spare(connection, orphan)
    await clean(store)
    assert not await is_there(store, orphan)


class Chance:
    """Two accounts and a janitor who do anything in any order."""

    def __init__(self, store: MailStore, seed: int) -> None:
        self.store, self.random = store, random.Random(seed)
        self.ann, self.bob = store.account("ann"), store.account("bob")
        self.boxes: dict[UUID, list[bytes]] = {}

    async def begin(self) -> None:
        for account in (self.ann, self.bob):
            self.boxes[account.id] = [
                await self.store.mailbox_id(account, name) for name in ("INBOX", "Archive")
            ]

    async def maintain(self) -> None:
        for _ in range(12):
            await self.random.choice((self.pack, self.forget, self.clean, self.clean))()

    async def use(self) -> None:
        for _ in range(12):
            await self.random.choice((self.deliver, self.change, self.change))()

    async def step(self) -> None:
        does = (
            self.deliver,
            self.deliver,
            self.deliver,
            self.pack,
            self.forget,
            self.clean,
            self.change,
            self.change,
        )
        await self.random.choice(does)()

    async def deliver(self) -> None:
        recipients = self.random.choice([[self.ann], [self.bob], [self.ann, self.bob]])
        await self.store.accept(self.store.item(recipients, text(self.random.randrange(99))))
        await self.store.file()

    async def pack(self) -> None:
        await pack(self.store, octets=1_500)

    async def forget(self) -> None:
        await forget(self.store)

    async def clean(self) -> None:
        await clean(self.store, pack_octets=1_500)

    async def change(self) -> None:
        account = self.random.choice([self.ann, self.bob])
        source, target = self.random.sample(self.boxes[account.id], 2)
        uids = list(await self.store.rows(account, source))
        match self.random.choice(["restore", "copy", "expunge", "expunge"]) if uids else "restore":
            case "restore":
                request = retention_pb2.RestoreMessagesRequest(mailbox_id=source)
                await self.store.retention.RestoreMessages(request, metadata=account.metadata)
            case "copy":
                await copy(self.store, account, source, target, self.random.choice(uids))
            case _:
                await expunge(self.store, account, source, *self.random.sample(uids, len(uids) // 2 + 1))

    async def read_and_expunge_all(self) -> int:
        """How many there were."""
        found = 0
        for account in (self.ann, self.bob):
            for box in self.boxes[account.id]:
                uids = list(await self.store.rows(account, box))
                for uid in uids:
                    octets = await self.store.read(account, box, uid)
                    assert octets == text(int(octets.split()[1]))
                if uids:
                    await expunge(self.store, account, box, *uids)
                found += len(uids)
        return found


@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_happens_mail_is_readable_and_in_the_end_nothing_is_left(
    store: MailStore, seed: int
) -> None:
    chance = Chance(store, seed)
    await chance.begin()
    for _ in range(40):
        await chance.step()
    assert await chance.read_and_expunge_all() > 2
    await nothing_is_left(store)


async def test_users_and_the_janitor_at_once_lose_nothing(store: MailStore) -> None:
    chance = Chance(store, 3)
    await chance.begin()
    await chance.deliver()
    await asyncio.gather(chance.maintain(), *(chance.use() for _ in range(4)))
    for account in (chance.ann, chance.bob):
        assert await store.counters_are_right(account)
    _, findings = await garbage_and_findings(store)
    assert findings == []
    for _ in range(3):  # the users may have expunged all that there was
        await chance.deliver()
    assert await chance.read_and_expunge_all() > 2
    await nothing_is_left(store)


async def nothing_is_left(store: MailStore) -> None:
    """When the janitor had all the time that it wants."""
    await forget(store)
    await pack(store)
    for _ in range(3):
        await clean(store)
    tables = ("blob", "message", "pack", "blob_candidate", "expunged", "mailbox_message")
    left = {table: await store.fetchval(f"SELECT count(*) FROM mailstore.{table}") for table in tables}
    assert left == dict.fromkeys(left, 0)
    keys: list[str] = await store.fetchval("SELECT array_agg(key) FROM mailstore.doomed_object")
    assert keys
    await let_doomed_go(store)
    assert not any([await is_there(store, key) for key in keys])
