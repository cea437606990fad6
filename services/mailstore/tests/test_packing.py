"""Segments and packs: octets move from Postgres to the object store, and are readable all the time."""

import asyncio
import time
from uuid import UUID

import asyncpg
import pytest

from mailstore.blobs.packer import Packer, PackLimits
from mailstore.blobs.packs import PackError, build_pack, read_index
from mailstore.blobs.reader import Blob, pack_key, runs
from mailstore.blobs.segments import SegmentLimits
from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.errors import UnavailableError
from postroom_contracts.ids import new_id
from postroom_storage.objects import ObjectStore
from postroom_testing.mail_store import MailStore

_SEGMENTS = "SELECT array_agg(number ORDER BY number) FROM mailstore.segment"
_STAGED = "SELECT count(*) FROM mailstore.blob WHERE segment IS NOT NULL"


def _packer(store: MailStore, **limits: float) -> Packer:
    at_once = PackLimits(settle_seconds=-1.0, **{"pack_octets": 4_000, "blobs_at_once": 7} | limits)  # type: ignore[arg-type]  # whole numbers where they are wanted
    return Packer(
        store.database, store.objects, store.parts.segment, SegmentLimits(sealed_seconds=0.0), at_once
    )


def _message(number: int) -> bytes:
    return b"Subject: %d\r\n\r\n" % number + new_id().bytes * 40


async def test_mail_is_packed_and_read_before_meanwhile_and_after(whole_store: MailStore) -> None:
    store = whole_store
    ann, bob = store.account(), store.account("bob")
    messages = {account.id: [_message(number) for number in range(12)] for account in (ann, bob)}
    for account in (ann, bob):
        await store.deliver(account, *messages[account.id])
    packing = asyncio.ensure_future(_packer(store).run_once())
    while not packing.done():
        assert await store.inbox(ann) == messages[ann.id]
    await packing
    assert await store.fetchval(_STAGED) == 0
    assert await store.fetchval(_SEGMENTS) == [2]
    with pytest.raises(asyncpg.UndefinedTableError):
        await store.execute("SELECT FROM mailstore.segment_1")
    for account in (ann, bob):
        assert await store.inbox(account) == messages[account.id]
    assert await store.fetchval("SELECT count(*) FROM mailstore.pack") > 1


async def test_what_lies_together_in_a_pack_is_read_at_once(
    whole_store: MailStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = whole_store
    ann, bob = store.account(), store.account("bob")
    messages = {account.id: [_message(number) for number in range(12)] for account in (ann, bob)}
    for account in (ann, bob):
        await store.deliver(account, *messages[account.id])
    await _packer(store, pack_octets=10**6, blobs_at_once=100).run_once()
    asked: list[tuple[str, int, int]] = []
    get_range = ObjectStore.get_range

    async def counting(self: ObjectStore, key: str, offset: int, length: int) -> bytes:
        asked.append((key, offset, length))
        return await get_range(self, key, offset, length)

    monkeypatch.setattr(ObjectStore, "get_range", counting)
    inbox = await store.mailbox_id(ann)
    request = mailbox_pb2.ReadMessagesRequest(mailbox_id=inbox, batched=True)
    for number in range(12):
        request.reads.add(uid=12 - number, length=2**40)
    answers = [answer async for answer in store.mailbox.ReadMessages(request, metadata=ann.metadata)]
    read = [chunk.octets for answer in answers for chunk in answer.chunks]
    assert all(octets.endswith(each) for octets, each in zip(read, reversed(messages[ann.id]), strict=True))
    assert len(asked) == 1


def test_blobs_far_from_each_other_are_read_one_by_one() -> None:
    first, second = new_id(), new_id()

    def blob(pack: UUID | None, start: int, stored_length: int) -> Blob:
        return Blob(new_id(), 9, 0, None, pack, None if pack else new_id(), start, stored_length)

    near = [blob(first, 1_000, 500), blob(first, 1_500 + 65_536, 100), blob(first, 67_200, 10)]
    far = blob(first, 67_210 + 65_537, 1_000_000)
    beyond = blob(first, far.start + 1_000_000, 50_000)
    others = [blob(None, 0, 5), blob(None, 0, 7), blob(second, 1_000, 5)]
    found = list(runs([beyond, near[2], others[0], far, near[0], others[1], near[1], others[2]]))
    assert {frozenset(run) for run in found} == {
        frozenset(run) for run in (near, [far], [beyond], *([each] for each in others))
    }
    assert near in found


async def test_a_pack_never_mixes_tenants_and_its_index_says_what_is_in_it(whole_store: MailStore) -> None:
    store = whole_store
    ann, bob = store.account(), store.account("bob")
    for account in (ann, bob):
        for number in range(3):
            item = store.item([account], _message(number))
            item.tenant_id = account.id.bytes
            await store.accept(item)
    await store.file()
    await _packer(store, pack_octets=10**6, blobs_at_once=100).run_once()
    async with store.database.connection() as connection:
        packs = await connection.fetch("SELECT id, tenant_id, size, blobs FROM mailstore.pack")
        assert len(packs) == 2
        for pack in packs:
            octets = await store.objects.get_range(pack_key(pack["id"]), 0, pack["size"])
            index = {entry.blob_id: (entry.offset, entry.length) for entry in read_index(octets)}
            rows = await connection.fetch(
                "SELECT id, tenant_id, start, stored_length FROM mailstore.blob WHERE pack_id = $1",
                pack["id"],
            )
            assert {row["tenant_id"] for row in rows} == {pack["tenant_id"]}
            assert {row["id"]: (row["start"], row["stored_length"]) for row in rows} == index
            assert len(index) == pack["blobs"] == 3


async def test_mail_that_has_left_is_not_packed_and_mail_that_waits_is(whole_store: MailStore) -> None:
    store = whole_store
    gone, waits = store.item(["a@one.example"]), store.item(["b@one.example"])
    await store.accept(gone, waits)
    await store.execute("DELETE FROM mailstore.delivery WHERE accepted_id = $1", UUID(bytes=gone.id))
    await _packer(store).run_once()
    blobs = "SELECT a.id FROM mailstore.blob AS b JOIN mailstore.accepted AS a ON a.blob_id = b.id"
    assert await store.fetchval(blobs) == UUID(bytes=waits.id)
    assert await store.fetchval(_SEGMENTS) == [2]


async def test_mail_is_accepted_and_read_while_the_object_store_is_away(own_store: MailStore) -> None:
    store, ann = own_store, own_store.account()
    first = _message(1)
    await store.deliver(ann, first)
    packer = _packer(store)
    with pytest.raises(UnavailableError):
        await packer.run_once()
    second = _message(2)
    await store.deliver(ann, second)
    assert await store.inbox(ann) == [first, second]
    assert await store.fetchval(_SEGMENTS) == [1, 2]


async def test_a_straggler_in_a_sealed_segment_keeps_it(whole_store: MailStore) -> None:
    store, ann = whole_store, whole_store.account()
    await store.deliver(ann, _message(1))
    async with store.database.transaction() as connection:  # a writer that is slow to commit
        blob_id, message_id = new_id(), new_id()
        await connection.execute("INSERT INTO mailstore.segment_1 VALUES ($1, 'octets')", blob_id)
        await connection.execute(
            "INSERT INTO mailstore.blob (id, tenant_id, digest, size, codec, segment, stored_length)"
            " VALUES ($1, $1, '', 6, 0, 1, 6)",
            blob_id,
        )
        await connection.execute(
            "INSERT INTO mailstore.accepted (id, tenant_id, blob_id) VALUES ($1, $1, $2)", message_id, blob_id
        )
        await connection.execute(
            "INSERT INTO mailstore.delivery (id, accepted_id, tenant_id, recipient, domain, site)"
            " VALUES ($1, $1, $1, 'a@b', 'b', 'b')",
            message_id,
        )
        await _packer(store, drop_lock_seconds=0.05).run_once()
    assert await store.fetchval(_SEGMENTS) == [1, 2]
    await _packer(store).run_once()
    assert await store.fetchval(_SEGMENTS) == [2]
    assert await store.parts.reader.load([blob_id]) == {blob_id: b"octets"}


async def test_a_reader_of_a_segment_keeps_it_from_being_dropped_and_waits_for_nobody(
    whole_store: MailStore,
) -> None:
    store, ann = whole_store, whole_store.account()
    await store.deliver(ann, _message(1))
    async with store.database.transaction() as connection:
        await connection.fetch("SELECT FROM mailstore.segment_1")
        await _packer(store, drop_lock_seconds=0.05).run_once()
        await store.deliver(ann, _message(2))
    assert await store.fetchval(_SEGMENTS) == [1, 2]
    assert len(await store.inbox(ann)) == 2


async def test_an_open_segment_is_sealed_when_it_is_old_or_large_only(own_store: MailStore) -> None:
    store = own_store

    async def run_once(limits: SegmentLimits) -> list[int]:
        await Packer(store.database, store.objects, store.parts.segment, limits).run_once()
        return list(await store.fetchval(_SEGMENTS))

    await store.deliver(store.account(), _message(1))
    # The database is a copy of one that may have been migrated long ago, and so is its first segment.
    assert await run_once(SegmentLimits(sealed_seconds=86_400.0)) == [1]
    assert await run_once(SegmentLimits(sealed_seconds=86_400.0, sealed_octets=1)) == [1, 2]
    await store.deliver(store.account(), _message(2))
    assert await run_once(SegmentLimits(sealed_seconds=0.0)) == [1, 2, 3]


def _believe_in_the_first(store: MailStore) -> None:
    """As a process does that was frozen since then."""
    store.parts.segment._number, store.parts.segment._looked_at = 1, time.monotonic()


async def test_a_writer_whose_segment_was_dropped_writes_into_the_next(whole_store: MailStore) -> None:
    store, ann = whole_store, whole_store.account()
    await store.deliver(ann, _message(1))
    await _packer(store).run_once()
    inbox = await store.mailbox_id(ann)
    _believe_in_the_first(store)
    await store.deliver(ann, _message(2))
    _believe_in_the_first(store)
    await store.append(ann, inbox, _message(3))  # refused as temporary, which the client asks again
    assert len(await store.inbox(ann)) == 3


async def test_lost_octets_keep_their_segment_and_no_other(whole_store: MailStore) -> None:
    store, ann = whole_store, whole_store.account()
    await store.deliver(ann, _message(1), _message(2))
    await store.execute(
        "DELETE FROM mailstore.segment_1"
        " WHERE blob_id = (SELECT max(blob_id::text)::uuid FROM mailstore.segment_1)"
    )
    await _packer(store).run_once()
    assert await store.fetchval(_STAGED) == 1
    assert await store.fetchval(_SEGMENTS) == [1, 2]


def test_octets_that_are_no_pack_have_no_index() -> None:
    pack, _ = build_pack([(new_id(), b"one"), (new_id(), b"two")])
    assert len(read_index(pack)) == 2
    for broken in (b"", pack[:-1], pack[:-8] + b"PRPACK99", pack[-21:]):
        with pytest.raises(PackError):
            read_index(broken)
