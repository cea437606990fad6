"""`postroom doctor` at the mail store: whatever is damaged is told, and what is in order is not."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from mailstore.blobs.packer import Packer, PackLimits
from mailstore.blobs.reader import message_key, pack_key
from mailstore.blobs.segments import SegmentLimits
from postroom.doctor.v1 import doctor_pb2
from postroom_contracts.capability import Scope
from postroom_contracts.errors import InvalidRequestError, NotPermittedError
from postroom_contracts.ids import NOBODY, new_id
from postroom_runtime.grpc_client import on_behalf_of
from postroom_storage.database import Database
from postroom_storage.examination import ExaminationLimits
from postroom_storage.objects import ObjectStore
from postroom_testing.mail_store import MailStore, capability, running_mail_store

ADMIN = on_behalf_of(capability(NOBODY, "", Scope.ADMIN))
Kind = doctor_pb2.Finding
# Each step ends after two rows and each answer after one step, so that all tests go through all cursors.
SMALL = ExaminationLimits(answer_seconds=0.0, objects=2, rows=2, settled_seconds=0.0)


@pytest.fixture
async def store(database: Database, present_objects: ObjectStore, sockets: Path) -> AsyncIterator[MailStore]:
    """A mail store of the test's own, in a bucket that others use too."""
    async with running_mail_store(database, present_objects, sockets, examination_limits=SMALL) as store:
        yield store


async def examine(store: MailStore) -> doctor_pb2.ExamineResponse:
    """All of it, added up."""
    total, cursor = doctor_pb2.ExamineResponse(), "schema:"
    while cursor:
        request = doctor_pb2.ExamineRequest(cursor=cursor)
        answer = await store.doctor.Examine(request, metadata=ADMIN)
        total.findings.extend(answer.findings)
        total.garbage_objects += answer.garbage_objects
        for name, count in answer.examined.items():
            total.examined[name] += count
        cursor = answer.next_cursor
    return total


async def found(store: MailStore) -> set[tuple[int, str]]:
    """Kind and subject of what is found."""
    return {(finding.kind, finding.subject) for finding in (await examine(store)).findings}


async def fill(store: MailStore, *, messages: int = 5) -> None:
    """Mail of two accounts, in packs and staged."""
    for account in (store.account("ann"), store.account("bob")):
        octets = [b"Subject: %d\r\n\r\n" % each + os.urandom(600) for each in range(messages)]
        await store.deliver(account, *octets)


async def pack(store: MailStore) -> None:
    limits = PackLimits(settle_seconds=-1.0, pack_octets=2_000)
    segments = SegmentLimits(sealed_seconds=0.0)
    await Packer(store.database, store.objects, store.parts.segment, segments, limits).run_once()


async def test_nothing_is_found_where_all_is_in_order_and_all_is_looked_at(store: MailStore) -> None:
    await fill(store)
    await pack(store)
    await fill(store, messages=2)
    await store.accept(store.item(["far@one.example"]))
    total = await examine(store)
    assert not total.findings
    packs = await store.fetchval("SELECT count(*) FROM mailstore.pack")
    assert packs > 2
    assert dict(total.examined) == {
        "objects": packs,
        "blobs": 15,
        "messages": 14,
        "mailbox rows": 14,
        "mailboxes": 24,
        "accounts": 4,
        "deliveries": 1,
    }


async def test_packs_that_are_missing_cut_short_or_nobodys_are_told(store: MailStore) -> None:
    await fill(store)
    await pack(store)
    before = (await examine(store)).garbage_objects  # of other tests
    missing, short, *_ = [row["id"] for row in await rows(store, "SELECT id FROM mailstore.pack ORDER BY id")]
    await store.objects.delete([pack_key(missing)])
    octets = await store.objects.get_range(pack_key(short), 0, 100)
    await store.objects.put(pack_key(short), octets)
    await store.objects.put(pack_key(uuid4()), b"whose am I?")
    await store.objects.put("pack/not-an-id", b"and I?")
    total = await examine(store)
    assert {(each.kind, each.subject) for each in total.findings} == {
        (Kind.KIND_OBJECT_MISSING, pack_key(missing)),
        (Kind.KIND_OBJECT_SIZE, pack_key(short)),
    }
    assert all(" messages of " in each.detail for each in total.findings)
    assert total.garbage_objects == before + 2
    await store.objects.delete(["pack/not-an-id"])


async def test_a_large_message_without_its_object_is_told_and_an_upload_is_no_garbage(
    store: MailStore,
) -> None:
    before = (await examine(store)).garbage_objects
    await fill(store, messages=1)
    lost, upload = uuid4(), uuid4()
    await store.execute(
        "UPDATE mailstore.blob SET segment = NULL, object_id = $1"
        " WHERE id = (SELECT id FROM mailstore.blob LIMIT 1)",
        lost,
    )
    await store.execute(
        "INSERT INTO mailstore.upload (id, tenant_id, object_id, size_hint, expires_at)"
        " VALUES ($1, $1, $1, 9, now())",
        upload,
    )
    await store.objects.put(message_key(upload), b"is coming")
    total = await examine(store)
    assert [(each.kind, each.subject) for each in total.findings] == [
        (Kind.KIND_OBJECT_MISSING, message_key(lost))
    ]
    assert total.garbage_objects == before
    await store.execute("DELETE FROM mailstore.upload")
    assert (await examine(store)).garbage_objects == before + 1


async def test_octets_that_are_not_where_their_rows_say_are_told(store: MailStore) -> None:
    await fill(store)
    first, second, third = [
        row["id"] for row in await rows(store, "SELECT id FROM mailstore.blob ORDER BY id LIMIT 3")
    ]
    await store.execute("DELETE FROM mailstore.segment_1 WHERE blob_id = $1", first)
    await store.execute(
        "UPDATE mailstore.segment_1 SET octets = substr(octets, 1, 3) WHERE blob_id = $1", second
    )
    await store.execute("UPDATE mailstore.blob SET segment = 99 WHERE id = $1", third)
    assert await found(store) == {
        (Kind.KIND_OCTETS_MISSING, f"blob {each}") for each in (first, second, third)
    }


async def test_messages_without_content_and_rows_without_message_are_told(store: MailStore) -> None:
    await fill(store)
    first, second = await rows(
        store, "SELECT message_id, mailbox_id, account_id, uid FROM mailstore.mailbox_message LIMIT 2"
    )
    blob = await store.fetchval("SELECT blob_id FROM mailstore.message WHERE id = $1", first["message_id"])
    await store.execute("DELETE FROM mailstore.blob WHERE id = $1", blob)
    await store.execute("DELETE FROM mailstore.message WHERE id = $1", second["message_id"])
    row = f"mailbox {second['mailbox_id']} of account {second['account_id']}, UID {second['uid']}"
    assert await found(store) == {
        (Kind.KIND_ROW_MISSING, f"message {first['message_id']}"),
        (Kind.KIND_ROW_MISSING, row),
    }


async def test_what_could_not_be_restored_though_it_is_kept_is_told(store: MailStore) -> None:
    await fill(store)
    expunged = "DELETE FROM mailstore.mailbox_message WHERE uid < 4 RETURNING *"
    columns = (
        "account_id, mailbox_id, uid, message_id, tenant_id, flags, keywords, modseq, internal_date, saved_at"
    )
    await store.execute(
        f"WITH gone AS ({expunged}) INSERT INTO mailstore.expunged ({columns}, size, prefix, kind)"
        f" SELECT {columns}, size, prefix, 1 FROM gone"
    )
    lost, *_ = await rows(store, "SELECT * FROM mailstore.expunged ORDER BY random()")
    await store.execute("DELETE FROM mailstore.message WHERE id = $1", lost["message_id"])
    total = await examine(store)
    row = f"mailbox {lost['mailbox_id']} of account {lost['account_id']}, UID {lost['uid']}"
    missing = [each.subject for each in total.findings if each.kind == Kind.KIND_ROW_MISSING]
    assert missing == [row]
    assert total.examined["expunged rows"] == 6


_COUNTERS = "messages, unseen, deleted, size, uid_next, highest_modseq"
_WRONG = {
    "messages = messages + 1": "messages 6 instead of 5",
    "unseen = unseen - 1": "unseen 4 instead of 5",
    "deleted = 2": "deleted 2 instead of 0",
    "size = 7": "octets 7 instead of",
    "uid_next = 5": "next UID 5, but there is 5",
    "highest_modseq = 1": "MODSEQ 1, but there is",
}


async def test_a_wrong_counter_of_a_mailbox_is_told(store: MailStore) -> None:
    await fill(store)
    before = await rows(store, f"SELECT id, {_COUNTERS} FROM mailstore.mailbox WHERE messages > 0 LIMIT 1")
    box, *right = before[0]
    for change, said in _WRONG.items():
        await store.execute(f"UPDATE mailstore.mailbox SET {change} WHERE id = $1", box)
        findings = (await examine(store)).findings
        (finding,) = [each for each in findings if each.subject.startswith(f"mailbox {box} ")]
        assert finding.kind == Kind.KIND_COUNTER
        assert finding.detail.startswith(said)
        again = f"UPDATE mailstore.mailbox SET ({_COUNTERS}) = ($2, $3, $4, $5, $6, $7) WHERE id = $1"
        await store.execute(again, box, *right)
    assert not (await examine(store)).findings


async def test_a_wrong_counter_of_an_account_is_told(store: MailStore) -> None:
    await fill(store)
    account = await store.fetchval("SELECT account_id FROM mailstore.account_state LIMIT 1")
    await store.execute(
        "UPDATE mailstore.account_state SET used_octets = 3, last_uid_validity = 1 WHERE account_id = $1",
        account,
    )
    ((kind, subject),) = await found(store)
    assert (kind, subject) == (Kind.KIND_COUNTER, f"account {account}")


async def test_accepted_mail_that_nobody_works_on_is_told(store: MailStore) -> None:
    ann = store.account("ann")
    fine, parked, late, laneless, lost, claimed = [
        store.item([f"x@{name}.example"]) for name in ("a", "b", "c", "d", "e", "f")
    ]
    local = store.item([ann])
    await store.accept(fine, parked, late, laneless, lost, claimed, local)

    async def change(item: object, change: str) -> None:
        message = UUID(bytes=item.id)  # type: ignore[attr-defined]  # an item
        await store.execute(f"UPDATE mailstore.delivery SET {change} WHERE accepted_id = $1", message)

    await change(parked, "parked = true")
    await change(late, "due_at = now() - interval '2 hours'")
    await change(local, "due_at = now() - interval '11 minutes'")
    await store.execute("DELETE FROM mailstore.remote_lane WHERE site LIKE '%d.example'")
    await store.execute("DELETE FROM mailstore.accepted WHERE id = $1", UUID(bytes=lost.id))
    await store.execute(
        "INSERT INTO mailstore.claim (id, token, worker, site, expires_at)"
        " VALUES ($1, $1, 'relay', 'f.example', now() + interval '1 minute')",
        UUID(bytes=claimed.id),
    )
    await change(claimed, f"claim_id = '{UUID(bytes=claimed.id)}', due_at = now() - interval '2 hours'")
    findings = (await examine(store)).findings
    assert sorted(each.kind for each in findings) == [
        Kind.KIND_ROW_MISSING,
        *[Kind.KIND_STUCK] * 3,
        Kind.KIND_PARKED,
    ]


async def test_only_an_administrator_asks_and_only_with_cursors_of_ours(store: MailStore) -> None:
    user = on_behalf_of(capability(new_id(), "ann@postroom.test", Scope.API))
    with pytest.raises(NotPermittedError):
        await store.doctor.Examine(doctor_pb2.ExamineRequest(), metadata=user)
    for cursor in (
        "nonsense",
        "packs:x",
        "blobs:x",
        "rows:x",
        "rows:1 2",
        "mailboxes:1",
        "blobs:" + "x" * 999,
    ):
        with pytest.raises(InvalidRequestError):
            await store.doctor.Examine(doctor_pb2.ExamineRequest(cursor=cursor), metadata=ADMIN)


async def test_another_revision_of_the_schema_is_told(store: MailStore) -> None:
    await store.execute("UPDATE mailstore.alembic_version SET version_num = '9999'")
    assert await found(store) == {(Kind.KIND_OTHER_SCHEMA, "schema mailstore")}


async def test_a_bucket_that_is_away_is_told_and_the_rest_is_looked_at(own_store: MailStore) -> None:
    await fill(own_store)
    total = await examine(own_store)
    assert {(each.kind, each.subject) for each in total.findings} == {
        (Kind.KIND_DEPENDENCY_AWAY, "the object store")
    }
    assert total.examined["messages"] == 10


async def rows(store: MailStore, statement: str):  # asyncpg's rows
    async with store.database.connection() as connection:
        return await connection.fetch(statement)
