"""The queue: claims, leases, reports, sites, parking, and what an administrator sees."""

import asyncio
import random
from uuid import UUID

import pytest
import zstandard

from mailstore.queue.schedule import RetrySchedule
from postroom.mailstore.v1 import queue_pb2
from postroom_contracts.capability import Scope
from postroom_contracts.errors import ClaimLostError, MessageNotFoundError, NotPermittedError
from postroom_contracts.ids import DEFAULT_TENANT, NOBODY, new_id
from postroom_runtime.grpc_client import on_behalf_of
from postroom_testing.mail_store import MailStore, capability

DELIVERED = queue_pb2.DeliveryReport.OUTCOME_DELIVERED
DEFERRED = queue_pb2.DeliveryReport.OUTCOME_DEFERRED
FAILED = queue_pb2.DeliveryReport.OUTCOME_FAILED
ADMIN = on_behalf_of(capability(NOBODY, "", Scope.ADMIN))
_OUTCOMES = "SELECT array_agg(outcome ORDER BY outcome) FROM mailstore.delivery_history"
_LEFT = "SELECT count(*) FROM mailstore.delivery"


@pytest.fixture
def store(own_store: MailStore) -> MailStore:
    """Claims are over everybody's mail, so each test has a store of its own."""
    return own_store


async def _queue(store: MailStore, *recipients: str, tenant: UUID = DEFAULT_TENANT) -> bytes:
    item = store.item(recipients)
    item.tenant_id = tenant.bytes
    (result,) = await store.accept(item)
    assert result.outcome == 1
    return item.id


async def _claim(store: MailStore, most: int = 100, site: str = "") -> queue_pb2.ClaimResponse:
    return await store.queue.Claim(
        queue_pb2.ClaimRequest(worker="relay", max_messages=most, lease_seconds=60, site=site)
    )


def _deliveries(claim: queue_pb2.ClaimResponse) -> list[bytes]:
    return [each.delivery_id for message in claim.messages for each in message.recipients]


async def _report(
    store: MailStore,
    claim: queue_pb2.ClaimResponse,
    outcome: queue_pb2.DeliveryReport.Outcome.ValueType,
    status: str = "2.0.0",
) -> bool:
    request = queue_pb2.ReportRequest(claim_id=claim.claim_id, token=claim.token)
    for delivery_id in _deliveries(claim):
        request.reports.add(
            delivery_id=delivery_id, outcome=outcome, status=status, diagnostic="said\x00 so\r\n twice"
        )
    return (await store.queue.Report(request)).live


async def _expire_claims(store: MailStore) -> None:
    await store.execute("UPDATE mailstore.claim SET expires_at = now() - interval '1 second'")


async def test_a_claim_brings_the_message_and_all_its_recipients_of_a_domain(store: MailStore) -> None:
    message_id = await _queue(store, "a@one.example", "b@One.example", "c@two.example")
    claim = await _claim(store, site="one.example")
    (message,) = claim.messages
    assert (message.id, message.domain, claim.site) == (message_id, "one.example", "one.example")
    assert sorted(each.address for each in message.recipients) == ["a@one.example", "b@One.example"]
    assert zstandard.decompress(message.zstd) == b"Subject: hello\r\n\r\nHello.\r\n"
    request = queue_pb2.ReadContentRequest(claim_id=claim.claim_id, token=claim.token, message_id=message_id)
    octets = b"".join([answer.chunk.octets async for answer in store.queue.ReadContent(request)])
    assert octets == b"Subject: hello\r\n\r\nHello.\r\n"
    request.token = new_id().bytes
    with pytest.raises(ClaimLostError):
        _ = [answer async for answer in store.queue.ReadContent(request)]


async def test_two_relays_never_have_the_same_delivery(store: MailStore) -> None:
    for number in range(30):
        await _queue(store, f"{number}@one.example")
    claims = await asyncio.gather(*(_claim(store, 5) for _ in range(4)))
    found = [delivery for claim in claims for delivery in _deliveries(claim)]
    assert len(found) == len(set(found)) > 0


async def test_a_site_has_only_so_many_claims_whoever_asks_at_once(store: MailStore) -> None:
    for number in range(12):
        await _queue(store, f"{number}@one.example", tenant=new_id())
    for _ in range(3):
        await asyncio.gather(*(_claim(store, 1) for _ in range(8)))
    assert await store.fetchval("SELECT count(*) FROM mailstore.claim") == 4


async def test_tenants_share_a_site_whoever_has_more_in_the_queue(store: MailStore) -> None:
    busy, quiet = new_id(), new_id()
    for number in range(20):
        await _queue(store, f"{number}@one.example", tenant=busy)
    for number in range(4):
        await _queue(store, f"{number}@one.example", tenant=quiet)
    turns: list[UUID] = []
    for _ in range(4):
        claim = await _claim(store, 2)
        turns += [UUID(bytes=message.tenant_id) for message in claim.messages]
        await _report(store, claim, DELIVERED)
    assert turns.count(quiet) == 4


async def test_what_is_delivered_goes_to_the_history(store: MailStore) -> None:
    await _queue(store, "a@one.example")
    claim = await _claim(store)
    assert await _report(store, claim, DELIVERED)
    assert await _report(store, claim, DELIVERED)  # asked again: nothing changes
    assert await store.fetchval(_OUTCOMES) == [1]
    assert await store.fetchval(_LEFT) == 0


async def test_an_expired_claim_is_taken_over_and_its_word_counts_for_nothing_but_success(
    store: MailStore,
) -> None:
    await _queue(store, "a@one.example", "b@one.example")
    old = await _claim(store)
    await _expire_claims(store)
    new = await _claim(store)
    assert sorted(_deliveries(new)) == sorted(_deliveries(old))
    assert not await _report(store, old, DEFERRED)
    assert not await _report(store, old, FAILED)
    assert await store.fetchval(_LEFT) == 2
    extend = queue_pb2.ExtendRequest(claim_id=old.claim_id, token=old.token, lease_seconds=60)
    with pytest.raises(ClaimLostError):
        await store.queue.Extend(extend)
    assert not await _report(store, old, DELIVERED)  # late, and final: the remote has it
    assert await store.fetchval(_LEFT) == 0
    assert await _report(store, new, FAILED)
    assert await store.fetchval(_OUTCOMES) == [1, 1]


async def test_a_claim_is_prolonged_while_it_lives(store: MailStore) -> None:
    await _queue(store, "a@one.example")
    claim = await _claim(store)
    request = queue_pb2.ExtendRequest(claim_id=claim.claim_id, token=claim.token, lease_seconds=600)
    assert (await store.queue.Extend(request)).expires_at.ToSeconds() > claim.expires_at.ToSeconds()


async def test_what_is_deferred_comes_again_later(store: MailStore) -> None:
    await _queue(store, "a@one.example")
    claim = await _claim(store)
    assert await _report(store, claim, DEFERRED, "4.2.1")
    again = await _claim(store)
    assert not again.messages
    assert again.next_due_at.ToSeconds() > claim.expires_at.ToSeconds() - 60
    await store.execute("UPDATE mailstore.delivery SET due_at = now()")
    (message,) = (await _claim(store)).messages
    assert message.recipients[0].attempts == 1


def test_delays_grow_to_a_bound_with_jitter() -> None:
    schedule, randomness = RetrySchedule(100.0, 2.0, 1_000.0, 0.2), random.Random(1)
    for attempts, middle in ((1, 100), (2, 200), (4, 800), (5, 1_000), (500, 1_000)):
        delays = [schedule.delay(attempts, randomness) for _ in range(50)]
        assert middle * 0.8 <= min(delays) < max(delays) <= middle * 1.2


async def test_what_is_released_is_due_at_once_and_starts_anew(store: MailStore) -> None:
    await _queue(store, "a@one.example")
    for _ in range(10):
        claim = await _claim(store)
        assert len(_deliveries(claim)) == 1
        await store.queue.Release(queue_pb2.ReleaseRequest(claim_id=claim.claim_id, token=claim.token))


async def test_what_kills_relay_after_relay_is_parked(store: MailStore) -> None:
    message_id = await _queue(store, "a@one.example")
    starts = 0
    while (await _claim(store)).messages:
        starts += 1
        await _expire_claims(store)
    assert starts == 5
    get = queue_pb2.GetQueuedRequest(id=message_id)
    assert (await store.administrator.GetQueued(get, metadata=ADMIN)).entry.deliveries[0].parked
    await store.administrator.RetryQueued(queue_pb2.RetryQueuedRequest(id=message_id), metadata=ADMIN)
    await _expire_claims(store)
    assert (await _claim(store)).messages


async def test_mail_moves_to_the_lane_of_its_site(store: MailStore) -> None:
    await _queue(store, "a@one.example", "b@two.example")
    under_way = await _claim(store, site="two.example")
    for domain in ("one.example", "two.example"):
        await store.queue.ReportSite(queue_pb2.ReportSiteRequest(domain=domain, site="mx.example"))
    assert not (await _claim(store, site="one.example")).messages
    claim = await _claim(store, site="mx.example")
    assert [message.domain for message in claim.messages] == ["one.example"]
    await _report(store, under_way, DEFERRED)
    await store.execute("UPDATE mailstore.delivery SET due_at = now()")
    await _queue(store, "c@two.example")
    claim = await _claim(store, site="mx.example")
    assert sorted(message.recipients[0].address for message in claim.messages) == [
        "b@two.example",
        "c@two.example",
    ]


async def test_mail_that_moves_to_a_site_later_has_a_lane_there(store: MailStore) -> None:
    await _queue(store, "a@one.example")
    claim = await _claim(store)
    # As a ReportSite does that commits before the acceptance of this mail is visible to it.
    await store.execute(
        "INSERT INTO mailstore.domain_site (domain, site) VALUES ('one.example', 'mx.example')"
    )
    await _report(store, claim, DEFERRED)
    await store.execute("UPDATE mailstore.delivery SET due_at = now()")
    assert (await _claim(store)).site == "mx.example"


async def test_sites_that_a_relay_does_not_want_are_left_out(store: MailStore) -> None:
    await _queue(store, "a@one.example", "b@two.example")
    request = queue_pb2.ClaimRequest(worker="relay", max_messages=5, except_sites=["one.example"])
    assert (await store.queue.Claim(request)).site == "two.example"


async def test_an_administrator_lists_retries_and_cancels(store: MailStore) -> None:
    ann = store.account()
    ids = [await _queue(store, "a@one.example", "b@two.example") for _ in range(3)]
    await store.accept(store.item(["c@three.example", ann]))
    first = await store.administrator.ListQueue(queue_pb2.ListQueueRequest(limit=2), metadata=ADMIN)
    assert [entry.id for entry in first.entries] == ids[:2]
    rest = await store.administrator.ListQueue(
        queue_pb2.ListQueueRequest(cursor=first.next_cursor), metadata=ADMIN
    )
    assert len(rest.entries) == 2
    assert rest.next_cursor == ""
    assert {each.site for each in rest.entries[1].deliveries} == {"three.example", "local"}
    cancelled = await store.administrator.CancelQueued(
        queue_pb2.CancelQueuedRequest(id=ids[0]), metadata=ADMIN
    )
    assert cancelled.deliveries == 2
    with pytest.raises(MessageNotFoundError):
        await store.administrator.GetQueued(queue_pb2.GetQueuedRequest(id=ids[0]), metadata=ADMIN)
    with pytest.raises(NotPermittedError):
        await store.administrator.ListQueue(queue_pb2.ListQueueRequest(), metadata=ann.metadata)
    with pytest.raises(NotPermittedError):
        await store.administrator.Claim(queue_pb2.ClaimRequest(worker="no relay"))
