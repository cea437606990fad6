"""Sites that let nobody in are left alone for a while, and tried with one delivery then."""

import pytest

from mailstore.queue.bounces import Bouncer
from mailstore.upkeep import Upkeep
from postroom.mailstore.v1 import queue_pb2
from postroom_contracts.capability import Scope
from postroom_contracts.ids import NOBODY
from postroom_runtime.grpc_client import on_behalf_of
from postroom_testing.mail_store import MailStore, Measured, capability

DELIVERED = queue_pb2.DeliveryReport.OUTCOME_DELIVERED
DEFERRED = queue_pb2.DeliveryReport.OUTCOME_DEFERRED
ADMIN = on_behalf_of(capability(NOBODY, "", Scope.ADMIN))
SITE = "mx.example"
_HELD = """
SELECT failures, extract(epoch FROM back_off_until - now())::float8 AS seconds FROM mailstore.site
WHERE name = $1
"""


@pytest.fixture
def store(own_store: MailStore) -> MailStore:
    """Claims are over everybody's mail, so each test has a store of its own."""
    return own_store


async def queued(store: MailStore, *recipients: str) -> list[bytes]:
    """A message for each of these, in the lane of one site; their ids."""
    for domain in {recipient.partition("@")[2] for recipient in recipients}:
        await store.queue.ReportSite(queue_pb2.ReportSiteRequest(domain=domain, site=SITE))
    items = [store.item([recipient]) for recipient in recipients]
    await store.accept(*items)
    return [item.id for item in items]


async def claim(store: MailStore) -> queue_pb2.ClaimResponse:
    return await store.queue.Claim(queue_pb2.ClaimRequest(worker="relay", max_messages=100, lease_seconds=60))


async def report(store: MailStore, claimed: queue_pb2.ClaimResponse, *, refused: bool) -> None:
    """The first delivery of a claim was tried; the rest is given back."""
    outcome = DEFERRED if refused else DELIVERED
    request = queue_pb2.ReportRequest(claim_id=claimed.claim_id, token=claimed.token)
    request.reports.add(
        delivery_id=claimed.messages[0].recipients[0].delivery_id,
        outcome=outcome,
        status="4.4.1" if refused else "2.0.0",
        diagnostic="Connection refused" if refused else "250 OK",
        remote_host="host.mx.example",
        site="MX.example",
        site_refused=refused,
    )
    assert (await store.queue.Report(request)).live
    await store.queue.Release(queue_pb2.ReleaseRequest(claim_id=claimed.claim_id, token=claimed.token))


async def refuse(store: MailStore) -> None:
    """A relay comes and is not let in."""
    await report(store, await claim(store), refused=True)


async def held(store: MailStore, site: str = SITE) -> tuple[int, float]:
    """Refusals in a row, and for how many seconds it is held back."""
    async with store.database.connection() as connection:
        row = await connection.fetchrow(_HELD, site)
    assert row is not None
    return row["failures"], row["seconds"]


async def let_time_pass(store: MailStore) -> None:
    """Until sites are tried again."""
    await store.execute("UPDATE mailstore.site SET back_off_until = now()")


async def test_what_waits_for_a_site_that_refused_is_not_claimed_and_other_mail_is(store: MailStore) -> None:
    await queued(store, *(f"{number}@one.example" for number in range(30)), "a@two.example")
    first = await claim(store)
    second = await claim(store)
    await report(store, first, refused=True)
    assert len(first.messages) == 31
    assert not second.messages
    await store.accept(store.item(["b@elsewhere.example"]))
    assert (await claim(store)).site == "elsewhere.example"
    nothing = await claim(store)
    assert not nothing.messages
    failures, seconds = await held(store)
    assert failures == 1
    assert 60 * 0.8 - 5 < seconds <= 60 * 1.2
    waiting = nothing.next_due_at.ToNanoseconds() / 1e9 - first.expires_at.ToNanoseconds() / 1e9 + 60
    assert abs(waiting - seconds) < 5
    assert await store.fetchval("SELECT max(attempts) FROM mailstore.delivery") == 1
    assert await store.fetchval("SELECT count(*) FROM mailstore.delivery WHERE attempts = 0") == 31


async def test_the_time_grows_with_each_refusal_in_a_row_to_a_bound(store: MailStore) -> None:
    await queued(store, *(f"{number}@one.example" for number in range(10)))
    for failures, middle in enumerate((60, 120, 240, 480, 960, 1_800, 1_800), 1):
        await refuse(store)
        counted, seconds = await held(store)
        assert counted == failures
        assert middle * 0.8 - 5 < seconds <= middle * 1.2
        await let_time_pass(store)


async def test_several_relays_that_are_refused_at_once_count_as_one(store: MailStore) -> None:
    await queued(store, *(f"{number}@one.example" for number in range(4)))
    request = queue_pb2.ClaimRequest(worker="relay", max_messages=1, lease_seconds=60)
    claims = [await store.queue.Claim(request) for _ in range(4)]
    for each in claims:
        await report(store, each, refused=True)
    assert (await held(store))[0] == 1


async def test_one_delivery_at_a_time_finds_out_whether_a_site_is_back(store: MailStore) -> None:
    await queued(store, *(f"{number}@one.example" for number in range(10)))
    await refuse(store)
    await let_time_pass(store)
    probe = await claim(store)
    assert len(probe.messages) == 1
    assert not (await claim(store)).messages
    await report(store, probe, refused=False)
    assert await held(store) == (0, float("-inf"))
    assert len((await claim(store)).messages) == 8


async def test_an_administrator_sees_why_mail_waits_and_does_not_wait(
    store: MailStore, measured: Measured
) -> None:
    ids = await queued(store, *(f"{number}@one.example" for number in range(10)))
    await refuse(store)
    last = queue_pb2.GetQueuedRequest(id=ids[-1])
    (waiting,) = (await store.administrator.GetQueued(last, metadata=ADMIN)).entry.deliveries
    assert (waiting.attempts, waiting.last_diagnostic) == (0, "Connection refused")
    assert waiting.site_held_until.ToSeconds() > waiting.due_at.ToSeconds() + 40
    queue = await measured(store)
    assert (queue["held_sites"], queue["held_deliveries"]) == (1, 9)
    assert (queue["due_deliveries"], queue["oldest_due_seconds"]) == (0, 0)

    await store.administrator.RetryQueued(queue_pb2.RetryQueuedRequest(id=ids[-1]), metadata=ADMIN)
    (waiting,) = (await store.administrator.GetQueued(last, metadata=ADMIN)).entry.deliveries
    assert not waiting.HasField("site_held_until")
    probe = await claim(store)
    assert [message.id for message in probe.messages] == [ids[-1]]
    await report(store, probe, refused=True)
    assert (await held(store))[0] == 2


async def test_mail_that_was_never_tried_expires_with_the_sites_word(store: MailStore) -> None:
    ann = store.account()
    await queued(store, "a@one.example")
    await store.accept(store.item(["b@one.example"], sender=ann))
    await refuse(store)
    await let_time_pass(store)  # however long it takes until its turn comes
    await store.execute("UPDATE mailstore.accepted SET expires_at = now()")
    await Upkeep(store.database, store.objects).run_once()
    async with store.database.connection() as connection:
        rows = await connection.fetch("SELECT * FROM mailstore.delivery_history ORDER BY recipient")
    assert [(row["recipient"], row["outcome"], row["attempts"]) for row in rows] == [
        ("a@one.example", 3, 1),
        ("b@one.example", 3, 0),
    ]
    assert {(row["status"], row["diagnostic"], row["remote_host"]) for row in rows} == {
        ("4.4.1", "Connection refused", "host.mx.example")
    }
    bouncer = Bouncer(
        store.database, store.parts.reader, store.parts.segment, store.hooks.ring, hostname="mx.postroom.test"
    )
    assert await bouncer.run_once() == 1
    await store.file()
    (octets,) = await store.inbox(ann)
    assert b"Final-Recipient: rfc822; b@one.example\r\n" in octets
    assert b"Status: 5.4.7\r\n" in octets
    assert b"Connection refused" in octets


async def test_expired_mail_for_a_site_that_lets_us_in_is_tried_once_more(store: MailStore) -> None:
    (message_id,) = await queued(store, "a@one.example")
    await store.execute("UPDATE mailstore.accepted SET expires_at = now()")
    await Upkeep(store.database, store.objects).run_once()
    assert (await claim(store)).messages[0].id == message_id


async def test_a_report_without_a_site_says_nothing_of_any(store: MailStore) -> None:
    await queued(store, "a@one.example")
    claimed = await claim(store)
    request = queue_pb2.ReportRequest(claim_id=claimed.claim_id, token=claimed.token)
    delivery_id = claimed.messages[0].recipients[0].delivery_id
    request.reports.add(delivery_id=delivery_id, outcome=DEFERRED, status="4.3.0", site_refused=True)
    assert (await store.queue.Report(request)).live
    assert await store.fetchval("SELECT count(*) FROM mailstore.site") == 0
