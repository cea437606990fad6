"""What time does to the queue: nothing is ended or forgotten that somebody still waits for or asks for."""

import asyncio
import datetime as dt
from uuid import UUID

import pytest

from mailstore.queue.bounces import Bouncer
from mailstore.queue.sweeping import (
    SweepLimits,
    expire_deliveries,
    forget_accepted,
    forget_lanes,
    forget_sites,
)
from mailstore.upkeep import Upkeep
from postroom.mailstore.v1 import delivery_pb2, queue_pb2
from postroom_contracts.capability import Scope
from postroom_contracts.ids import DEFAULT_TENANT, NOBODY, new_id
from postroom_runtime.grpc_client import on_behalf_of
from postroom_testing.mail_store import MailStore, capability

DELIVERED = queue_pb2.DeliveryReport.OUTCOME_DELIVERED
ADMIN = on_behalf_of(capability(NOBODY, "", Scope.ADMIN))
DAY = 86_400.0
_ACCEPTED = "SELECT count(*) FROM mailstore.accepted"
_CANDIDATES = "SELECT count(*) FROM mailstore.blob_candidate"
_LANES = "SELECT count(*) FROM mailstore.remote_lane"
_OUTCOMES = "SELECT array_agg(outcome ORDER BY recipient) FROM mailstore.delivery_history"
_WITHOUT_LANE = """
SELECT count(*) FROM mailstore.delivery AS d WHERE d.site IS NOT NULL AND NOT EXISTS (
    SELECT FROM mailstore.remote_lane AS l
    WHERE (l.site, l.tenant_id, l.priority) = (d.site, d.tenant_id, d.priority))
"""


@pytest.fixture
def store(own_store: MailStore) -> MailStore:
    """The queue is everybody's, so each test has a store of its own."""
    return own_store


def old_item(
    store: MailStore, *arguments: object, days: float = 7.0, **more: object
) -> delivery_pb2.AcceptItem:
    """A message that was received so long ago."""
    item = store.item(*arguments, **more)  # pyright: ignore[reportArgumentType]  # as `item` takes them
    received_at = dt.datetime.now(dt.UTC) - dt.timedelta(days=days)
    moved = int(received_at.timestamp() * 1000) << 80 | UUID(bytes=item.id).int & (1 << 80) - 1
    item.id = UUID(int=moved).bytes
    item.received_at.FromDatetime(received_at)
    return item


async def deliver_remote(store: MailStore) -> None:
    """A relay takes all that is due."""
    while True:
        claim = await store.queue.Claim(queue_pb2.ClaimRequest(worker="relay", max_messages=100))
        if not claim.messages:
            return
        request = queue_pb2.ReportRequest(claim_id=claim.claim_id, token=claim.token)
        for message in claim.messages:
            for recipient in message.recipients:
                request.reports.add(delivery_id=recipient.delivery_id, outcome=DELIVERED, status="2.0.0")
        await store.queue.Report(request)
        await store.queue.Release(queue_pb2.ReleaseRequest(claim_id=claim.claim_id, token=claim.token))


async def park_all(store: MailStore) -> None:
    await store.execute("UPDATE mailstore.delivery SET parked = true, attempts = 7, starts = 13")


async def test_parked_mail_for_elsewhere_expires_and_parked_local_mail_waits(store: MailStore) -> None:
    ann, bob = store.account("ann"), store.account("bob")
    items = [
        store.item(["a@one.example"], sender=ann),
        store.item(["b@one.example"]),
        store.item(["c@one.example"], sender=ann),
        store.item([bob]),
        store.item(["d@one.example"], sender=ann),
    ]
    items[2].reverse_path = ""
    await store.accept(*items)
    await park_all(store)
    ended = [UUID(bytes=item.id) for item in items[:4]]
    await store.execute("UPDATE mailstore.accepted SET expires_at = now() WHERE id = ANY($1::uuid[])", ended)
    await Upkeep(store.database, store.objects).run_once()
    assert await store.fetchval(_OUTCOMES) == [3, 3, 3]
    assert await store.fetchval("SELECT min(attempts) FROM mailstore.delivery_history") == 7
    assert (
        await store.fetchval("SELECT count(*) FROM mailstore.bounce") == 1
    )  # neither to strangers nor to <>
    listed = await store.administrator.ListQueue(queue_pb2.ListQueueRequest(), metadata=ADMIN)
    assert [(entry.id, entry.deliveries[0].parked) for entry in listed.entries] == [
        (items[3].id, True),
        (items[4].id, True),
    ]
    bouncer = Bouncer(
        store.database, store.parts.reader, store.parts.segment, store.hooks.ring, hostname="mx.postroom.test"
    )
    assert await bouncer.run_once() == 1
    await store.file()
    (octets,) = await store.inbox(ann)
    assert b"Final-Recipient: rfc822; a@one.example\r\n" in octets


async def test_mail_that_a_relay_sends_just_now_does_not_expire(store: MailStore) -> None:
    await store.accept(old_item(store, ["a@one.example"]))
    await store.queue.Claim(queue_pb2.ClaimRequest(worker="relay", max_messages=1, lease_seconds=60))
    await park_all(store)
    assert await expire_deliveries(store.database, SweepLimits()) == 0
    await store.execute("UPDATE mailstore.claim SET expires_at = now()")
    assert await expire_deliveries(store.database, SweepLimits()) == 1


async def test_what_is_retried_is_tried_whether_it_was_parked_here_or_there(store: MailStore) -> None:
    ann = store.account()
    item = store.item([ann, "a@one.example"])
    await store.accept(item)
    await park_all(store)
    await forget_lanes(store.database, SweepLimits())
    # Whoever had the lane died in it, so that its mail is tried one by one.
    lane = ann.id.int % 8
    await store.execute("UPDATE mailstore.local_lane SET token = gen_random_uuid() WHERE number = $1", lane)
    retry = queue_pb2.RetryQueuedRequest(id=item.id)
    assert (await store.administrator.RetryQueued(retry, metadata=ADMIN)).deliveries == 2
    await store.file()
    assert len(await store.inbox(ann)) == 1
    await deliver_remote(store)
    assert await store.fetchval(_OUTCOMES) == [1, 1]


async def test_expiry_goes_on_until_nothing_is_left(store: MailStore) -> None:
    await store.accept(*(old_item(store, [f"{number}@one.example"]) for number in range(7)))
    await park_all(store)
    assert await expire_deliveries(store.database, SweepLimits(slice_rows=2)) == 7


async def test_an_id_is_known_for_as_long_as_anybody_may_ask_with_it(store: MailStore) -> None:
    ann = store.account()
    items = [old_item(store, [ann, "a@one.example"], days=days) for days in (6.5, 5.5)]
    await store.accept(*items)
    await store.file()
    await deliver_remote(store)
    await forget_accepted(store.database, SweepLimits(known_seconds=6 * DAY))
    assert await store.fetchval("SELECT array_agg(id) FROM mailstore.accepted") == [UUID(bytes=items[1].id)]
    assert {result.outcome for result in await store.accept(items[1])} == {1}
    await store.file()
    assert len(await store.inbox(ann)) == 2


async def test_what_is_not_finished_is_not_forgotten(store: MailStore) -> None:
    ann = store.account()
    parked, waiting, owed, finished = (old_item(store, ["a@one.example"], sender=ann) for _ in range(4))
    local = old_item(store, [ann])
    await store.accept(parked, waiting, owed, finished, local)
    ended = [UUID(bytes=item.id) for item in (owed, finished)]
    await store.execute("DELETE FROM mailstore.delivery WHERE accepted_id = ANY($1::uuid[])", ended)
    await store.execute(
        "UPDATE mailstore.delivery SET parked = true WHERE accepted_id = $1", UUID(bytes=parked.id)
    )
    await store.execute(
        "INSERT INTO mailstore.bounce (id, accepted_id, tenant_id, recipients) VALUES ($1, $2, $1, '[]')",
        new_id(),
        UUID(bytes=owed.id),
    )
    await forget_accepted(store.database, SweepLimits())
    assert await store.fetchval(_ACCEPTED) == 4
    assert await store.fetchval("SELECT count(*) FROM mailstore.accepted WHERE id = $1", ended[1]) == 0


async def test_octets_become_a_candidate_only_where_no_mailbox_shows_them(store: MailStore) -> None:
    ann = store.account()
    shown, expunged, sent = (
        old_item(store, recipients) for recipients in ([ann, "a@one.example"], [ann], ["b@one.example"])
    )
    await store.accept(shown, expunged, sent)
    await store.file()
    await deliver_remote(store)
    blobs = {
        item.id: await store.fetchval(
            "SELECT blob_id FROM mailstore.accepted WHERE id = $1", UUID(bytes=item.id)
        )
        for item in (shown, expunged, sent)
    }
    await store.execute(
        "DELETE FROM mailstore.mailbox_message WHERE message_id = $1", UUID(bytes=expunged.id)
    )
    await forget_accepted(store.database, SweepLimits())
    assert await store.fetchval(_ACCEPTED) == 0
    candidates = await store.fetchval("SELECT array_agg(blob_id) FROM mailstore.blob_candidate")
    assert set(candidates) == {blobs[expunged.id], blobs[sent.id]}
    assert len(await store.inbox(ann)) == 1


async def test_accepted_messages_are_forgotten_in_slices_over_those_that_stay(store: MailStore) -> None:
    items = [old_item(store, [f"{number}@one.example"]) for number in range(12)]
    await store.accept(*items)
    finished = [UUID(bytes=item.id) for number, item in enumerate(items) if number % 4]
    await store.execute("DELETE FROM mailstore.delivery WHERE accepted_id = ANY($1::uuid[])", finished)
    await store.execute("DELETE FROM mailstore.blob")  # packed, and gone: nobody wanted them
    aborted = old_item(store, ["z@one.example"])
    await store.delivery.Abort(delivery_pb2.AbortRequest(id=aborted.id))
    await forget_accepted(store.database, SweepLimits(slice_rows=2))
    assert await store.fetchval(_ACCEPTED) == 3 + 1
    assert await store.fetchval(_CANDIDATES) == 0
    await store.execute("UPDATE mailstore.accepted SET received_at = now() - interval '7 days'")
    await forget_accepted(store.database, SweepLimits(slice_rows=2))
    assert await store.fetchval(_ACCEPTED) == 3


async def test_acceptance_does_not_wait_for_what_is_forgotten(store: MailStore) -> None:
    ann = store.account()
    old = old_item(store, [ann])
    await store.accept(old)
    await store.file()
    async with store.database.transaction() as connection:
        await connection.execute("DELETE FROM mailstore.accepted")  # as a slice does that is under way
        async with asyncio.timeout(2):
            (result,) = await store.accept(store.item([ann, "a@one.example"]))
        await forget_accepted(store.database, SweepLimits())
    assert result.outcome == 1


async def test_lanes_in_which_nothing_waits_are_forgotten(store: MailStore) -> None:
    await store.accept(*(store.item([f"a@{number}.example"]) for number in range(9)))
    await deliver_remote(store)
    await store.accept(store.item(["a@1.example", "b@10.example"]))
    await forget_lanes(store.database, SweepLimits(slice_rows=2))
    assert await store.fetchval(_LANES) == 2
    await deliver_remote(store)
    await forget_lanes(store.database, SweepLimits())
    assert await store.fetchval(_LANES) == 0
    await store.accept(store.item(["a@1.example"]))
    await deliver_remote(store)
    assert await store.fetchval("SELECT count(*) FROM mailstore.delivery") == 0


async def test_a_lane_that_an_acceptance_under_way_counts_on_stays(store: MailStore) -> None:
    await store.accept(store.item(["a@one.example"]))
    await deliver_remote(store)
    async with store.database.transaction() as connection:
        lane = ("one.example", DEFAULT_TENANT, 0)
        statement = "INSERT INTO mailstore.remote_lane (site, tenant_id, priority) VALUES ($1, $2, $3)"
        await connection.execute(f"{statement} ON CONFLICT DO NOTHING", *lane)
        await forget_lanes(store.database, SweepLimits(lock_seconds=0.05))  # gives way
        waiting = asyncio.ensure_future(forget_lanes(store.database, SweepLimits(lock_seconds=3.0)))
        await asyncio.sleep(0.05)
        await connection.execute(
            "INSERT INTO mailstore.delivery (id, accepted_id, tenant_id, recipient, domain, site)"
            " SELECT $1, id, tenant_id, 'b@one.example', 'one.example', 'one.example'"
            " FROM mailstore.accepted",
            new_id(),
        )
    await waiting
    assert await store.fetchval(_LANES) == 1


async def test_no_mail_is_ever_without_a_lane_whatever_happens_at_once(store: MailStore) -> None:
    limits = SweepLimits(lock_seconds=1.0)
    done = False

    async def sweep() -> None:
        while not done:
            await forget_lanes(store.database, limits)

    async def relay() -> None:
        while not done:
            await deliver_remote(store)

    async def submit() -> None:
        for number in range(40):
            await store.accept(store.item([f"a@{number % 3}.example", f"b@{number % 5}.example"]))
            if number % 7 == 0:
                report = queue_pb2.ReportSiteRequest(domain=f"{number % 3}.example", site="mx.example")
                await store.queue.ReportSite(report)

    working = [asyncio.ensure_future(work()) for work in (sweep, relay, relay)]
    await asyncio.gather(submit(), submit())
    assert await store.fetchval(_WITHOUT_LANE) == 0
    done = True
    await asyncio.gather(*working)
    await deliver_remote(store)
    assert await store.fetchval("SELECT count(*) FROM mailstore.delivery") == 0
    assert await store.fetchval("SELECT count(*) FROM mailstore.delivery_history") == 160


async def test_sites_and_domains_that_nobody_needs_are_forgotten(store: MailStore) -> None:
    await store.accept(store.item(["a@busy.example"]))
    await store.execute(
        "INSERT INTO mailstore.site (name, failures, max_claims, back_off_until) VALUES"
        " ('good', 0, NULL, '-infinity'), ('limited', 0, 2, '-infinity'), ('held', 1, NULL, now()),"
        " ('gone', 9, NULL, now() - interval '2 days'), ('busy.example', 9, NULL, now() - interval '2 days')"
    )
    await store.execute(
        "INSERT INTO mailstore.domain_site (domain, site, reported_at) VALUES"
        " ('new.example', 'mx', now()), ('old.example', 'mx', now() - interval '31 days')"
    )
    await forget_sites(store.database, SweepLimits(slice_rows=1))
    names = "SELECT array_agg(name ORDER BY name) FROM mailstore.site"
    assert await store.fetchval(names) == ["busy.example", "held", "limited"]
    assert await store.fetchval("SELECT array_agg(domain) FROM mailstore.domain_site") == ["new.example"]


async def test_upkeep_forgets_all_of_it(store: MailStore) -> None:
    await store.accept(old_item(store, ["a@one.example"]))
    await deliver_remote(store)
    await store.execute("INSERT INTO mailstore.site (name) VALUES ('good')")
    await Upkeep(store.database, store.objects).run_once()
    for table in ("accepted", "remote_lane", "site"):
        assert await store.fetchval(f"SELECT count(*) FROM mailstore.{table}") == 0
