"""Several relays at one queue: nothing is lost, and nothing goes twice that was not sent before."""

import asyncio
import signal
from collections import Counter
from contextlib import AbstractAsyncContextManager
from uuid import UUID

import pytest

from postroom_testing.core import service_process
from postroom_testing.dns import Trouble
from postroom_testing.relaying import House
from postroom_testing.smtp_sink import SmtpSink

LEASE_SECONDS = 1.0


def relay_process(
    house: House, port: int, crash_at: str = ""
) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
    """A relay as a process, which may end at a step."""
    environment = {
        **house.core.environment,
        "POSTROOM_SMTP_OUTBOUND_DNS_SERVERS": house.dns.address,
        "POSTROOM_SMTP_OUTBOUND_REMOTE_PORT": str(port),
        "POSTROOM_SMTP_OUTBOUND_HELO_NAME": "relay.postroom.test",
        "POSTROOM_SMTP_OUTBOUND_ALLOW_LOOPBACK": "true",
        "POSTROOM_SMTP_OUTBOUND_WORKERS": "1",
        "POSTROOM_SMTP_OUTBOUND_POLL_SECONDS": "0.2",
        "POSTROOM_SMTP_OUTBOUND_LEASE_SECONDS": str(LEASE_SECONDS),
    }
    return service_process(house.core, "smtp_outbound", environment, crash_at)


def subjects(sink: SmtpSink) -> Counter[bytes]:
    """How often each message arrived."""
    return Counter(message.octets.split(b"\r\n")[1] for message in sink.messages)


async def test_two_relays_share_two_hundred_messages(house: House) -> None:
    async with SmtpSink() as sink:
        await house.submit(["bob@example.org"], count=200)
        async with (
            house.relay(sink.port, claim_deliveries=10) as _,
            house.relay(sink.port, claim_deliveries=10, worker_name="other"),
        ):
            await sink.wait_for(200)
            async with asyncio.timeout(10):
                while await house.core.fetch("SELECT FROM mailstore.delivery WHERE site IS NOT NULL"):
                    await asyncio.sleep(0.02)
    assert len(subjects(sink)) == 200
    assert set(subjects(sink).values()) == {1}
    assert sum(count > 0 for count in sink.per_connection) >= 2


async def test_a_relay_frozen_beyond_its_lease_does_not_send_what_another_has(house: House) -> None:
    house.dns.trouble("example.org", Trouble.TIMEOUT)
    async with SmtpSink() as sink, relay_process(house, sink.port) as frozen:
        (queue_id,) = await house.submit(["bob@example.org"])
        async with asyncio.timeout(20):
            while not house.dns.queries:  # it has the claim and asks for the way
                await asyncio.sleep(0.02)
        frozen.send_signal(signal.SIGSTOP)
        house.dns.forget("example.org")
        house.dns.add("example.org", "MX", "10 mx.example.org.")
        async with house.relay(sink.port):
            (ending,) = await house.endings(queue_id)
            asked = len(house.dns.queries)
            frozen.send_signal(signal.SIGCONT)
            async with asyncio.timeout(20):
                while len(house.dns.queries) == asked:
                    await asyncio.sleep(0.02)
            frozen.terminate()
            assert await asyncio.wait_for(frozen.wait(), 20) == 0
    assert ending.outcome == 1
    assert len(sink.messages) == 1


@pytest.mark.parametrize(
    "step", ["relay.after_claim", "relay.before_end:2", "relay.after_end:2", "relay.after_report"]
)
async def test_a_killed_relay_loses_nothing_and_doubles_only_what_it_had_sent(
    house: House, step: str
) -> None:
    async with SmtpSink() as sink:
        queue_ids = await house.submit(["bob@example.org"], count=3)
        async with relay_process(house, sink.port, step) as process:
            assert await asyncio.wait_for(process.wait(), 20) == 137
        sent_before = subjects(sink)
        async with house.relay(sink.port):
            await all_delivered(house, queue_ids)
    doubled = {subject for subject, count in subjects(sink).items() if count > 1}
    assert len(subjects(sink)) == 3
    assert doubled <= set(sent_before)
    assert max(subjects(sink).values()) <= 2


async def all_delivered(house: House, queue_ids: list[UUID]) -> None:
    for queue_id in queue_ids:
        (ending,) = await house.endings(queue_id)
        assert ending.outcome == 1


async def test_octets_that_are_not_those_accepted_are_never_ended_and_harm_no_other(house: House) -> None:
    async with SmtpSink() as sink:
        broken, whole = await house.submit(["bob@example.org"], count=2)
        await house.core.fetch(
            "UPDATE mailstore.blob SET digest = sha256('other') FROM mailstore.accepted AS a"
            " WHERE a.id = $1 AND blob.id = a.blob_id",
            broken,
        )
        async with house.relay(sink.port, workers=1):
            (ending,) = await house.endings(whole)
            waiting = await house.waiting(broken)
    assert (ending.outcome, waiting.last_status) == (1, "4.3.0")
    assert len(sink.messages) == 1
