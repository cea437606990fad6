"""What becomes of mail that leaves the house: a real core, real sockets, exchangers that fail by rule."""

import asyncio
from pathlib import Path

import pytest

from postroom_testing.certificates import CertificateAuthority
from postroom_testing.dns import Trouble
from postroom_testing.relaying import House
from postroom_testing.smtp_sink import Fault, Rule, SmtpSink, Stage

DELIVERED, FAILED, EXPIRED = 1, 2, 3


async def test_twenty_messages_go_over_one_connection(house: House) -> None:
    # One worker: a second one would come to help a connection that is slow, on a busy machine for instance.
    async with SmtpSink() as sink, house.relay(sink.port, workers=1):
        for _ in range(20):
            await house.submit(["bob@example.org"])
        await sink.wait_for(20)
    assert sink.per_connection == [20]
    assert len({message.octets for message in sink.messages}) == 1


async def test_the_octets_arrive_as_they_were_accepted(house: House) -> None:
    body = b".\r\n..two\r\n" + "grüß\r\n".encode() + b"x" * 2000 + b"\r\n" + bytes(range(1, 9)) + b"\r\n"
    async with SmtpSink() as sink, house.relay(sink.port):
        await house.submit(["bob@example.org"], body)
        (message,) = await sink.wait_for(1)
    assert message.octets.endswith(b"\r\n\r\n" + body)
    assert message.reverse_path == "ann@postroom.test"
    assert message.helo == "relay.postroom.test"


async def test_a_temporary_refusal_is_tried_again(house: House) -> None:
    rule = Rule(Stage.RCPT, "451 4.2.1 Later", times=1)
    async with SmtpSink([rule]) as sink, house.relay(sink.port):
        (queue_id,) = await house.submit(["bob@example.org"])
        await sink.wait_for(1)
        (ending,) = await house.endings(queue_id)
    assert (ending.outcome, ending.attempts, ending.status) == (DELIVERED, 2, "2.0.0")


async def test_a_permanent_refusal_becomes_a_report_to_the_sender(house: House) -> None:
    rule = Rule(Stage.RCPT, "550 5.1.1 No such user")
    async with SmtpSink([rule]) as sink, house.relay(sink.port):
        (queue_id,) = await house.submit(["bob@example.org"])
        (ending,) = await house.endings(queue_id)
        (header,) = await house.reports_to_sender()
    assert (ending.outcome, ending.status, ending.remote_host) == (FAILED, "5.1.1", "mx.example.org")
    assert ending.diagnostic == "550 5.1.1 No such user"
    assert b"report-type=delivery-status" in header.replace(b'"', b"")
    assert sink.messages == []


async def test_each_recipient_has_an_ending_of_its_own(house: House) -> None:
    rules = [
        Rule(Stage.RCPT, "550 5.1.1 No such user", pattern="carl@"),
        Rule(Stage.RCPT, "451 4.2.1 Later", pattern="dora@", times=1),
    ]
    async with SmtpSink(rules) as sink, house.relay(sink.port):
        (queue_id,) = await house.submit([f"{name}@example.org" for name in ("bob", "carl", "dora")])
        endings = await house.endings(queue_id, 3)
    assert [(each.recipient[:4], each.outcome, each.attempts) for each in endings] == [
        ("bob@", DELIVERED, 1),
        ("carl", FAILED, 1),
        ("dora", DELIVERED, 2),
    ]
    assert [message.recipients for message in sink.messages] == [("bob@example.org",), ("dora@example.org",)]


async def test_what_ends_without_an_answer_is_unknown_and_goes_again(house: House) -> None:
    async with SmtpSink([Rule(Stage.CONTENT, Fault.CLOSE, times=1)]) as sink, house.relay(sink.port):
        (queue_id,) = await house.submit(["bob@example.org"])
        waiting = await house.waiting(queue_id)
        await sink.wait_for(1)
    assert waiting.last_status == "4.4.2"
    assert waiting.last_diagnostic == "Connection lost after the end of the message"


async def test_a_kept_connection_that_was_closed_meanwhile_costs_no_attempt(house: House) -> None:
    async with SmtpSink() as sink, house.relay(sink.port):
        await house.submit(["bob@example.org"])
        await sink.wait_for(1)
        sink.rules.append(Rule(Stage.MAIL, Fault.CLOSE, times=1))
        (queue_id,) = await house.submit(["bob@example.org"])
        (ending,) = await house.endings(queue_id)
    assert (ending.outcome, ending.attempts) == (DELIVERED, 1)
    assert sink.per_connection == [1, 1]


async def test_a_host_that_is_busy_passes_the_mail_on_to_the_next(house: House) -> None:
    house.dns.add("two.example", "MX", "10 first.two.example.", "20 second.two.example.")
    house.dns.add("first.two.example", "A", "127.0.0.1")
    house.dns.add("second.two.example", "A", "127.0.0.2")
    async with (
        SmtpSink([Rule(Stage.CONNECT, "421 4.7.0 Busy")]) as busy,
        SmtpSink(host="127.0.0.2", port=busy.port) as sink,
        house.relay(sink.port),
    ):
        (queue_id,) = await house.submit(["bob@two.example"])
        (ending,) = await house.endings(queue_id)
    assert (ending.outcome, ending.remote_host) == (DELIVERED, "second.two.example")
    assert busy.connections == 1


@pytest.mark.parametrize("greeting", ["421 4.7.0 Busy", "554 5.7.1 Go away"])
async def test_a_refusing_greeting_puts_mail_off(house: House, greeting: str) -> None:
    async with SmtpSink([Rule(Stage.CONNECT, greeting)]) as sink, house.relay(sink.port):
        (queue_id,) = await house.submit(["bob@example.org"])
        waiting = await house.waiting(queue_id)
    assert (waiting.last_status[0], waiting.last_diagnostic) == ("4", greeting)


async def test_a_domain_without_mx_takes_mail_itself(house: House) -> None:
    house.dns.add("plain.example", "A", "127.0.0.1")
    async with SmtpSink() as sink, house.relay(sink.port):
        (queue_id,) = await house.submit(["bob@plain.example"])
        (ending,) = await house.endings(queue_id)
    assert (ending.outcome, ending.remote_host) == (DELIVERED, "plain.example")


@pytest.mark.parametrize(
    ("domain", "status"),
    [
        ("null.example", "5.1.10"),
        ("absent.example", "5.1.2"),
        ("unnamed.example", "5.4.4"),
        ("empty.example", "5.4.4"),
        ("x" * 64 + ".example", "5.1.3"),
    ],
)
async def test_a_domain_that_can_take_no_mail_fails_at_once(house: House, domain: str, status: str) -> None:
    house.dns.add("null.example", "MX", "0 .")
    house.dns.add("unnamed.example", "MX", "10 absent.example.")
    house.dns.add("empty.example", "TXT", '"nothing"')
    async with house.relay(9):
        (queue_id,) = await house.submit([f"bob@{domain}"])
        (ending,) = await house.endings(queue_id)
    assert (ending.outcome, ending.status) == (FAILED, status)


@pytest.mark.parametrize("kind", ["MX", "A"])
async def test_name_servers_in_trouble_put_mail_off(house: House, kind: str) -> None:
    house.dns.trouble("example.org" if kind == "MX" else "mx.example.org", Trouble.SERVFAIL, kind)
    async with house.relay(9):
        (queue_id,) = await house.submit(["bob@example.org"])
        waiting = await house.waiting(queue_id)
    assert waiting.last_status == "4.4.3"


async def test_mail_is_not_sent_to_this_machine_unless_told_so(house: House) -> None:
    async with SmtpSink() as sink, house.relay(sink.port, allow_loopback=False):
        (queue_id,) = await house.submit(["bob@example.org"])
        (ending,) = await house.endings(queue_id)
    assert (ending.outcome, ending.status, sink.connections) == (FAILED, "5.4.6", 0)


async def test_domains_of_the_same_hosts_share_a_site_and_a_connection(house: House) -> None:
    house.dns.add("other.example", "MX", "5 mx.example.org.")
    async with SmtpSink() as sink, house.relay(sink.port, workers=1):
        for domain in ("example.org", "other.example", "example.org"):
            await house.submit([f"bob@{domain}"])
        await sink.wait_for(3)
    assert sink.per_connection == [3]
    rows = await house.core.fetch("SELECT DISTINCT site FROM mailstore.domain_site")
    assert [row["site"] for row in rows] == ["mx.example.org"]


async def test_a_smarthost_takes_all_mail_without_a_question_to_the_dns(house: House) -> None:
    async with SmtpSink() as sink, house.relay(25, smarthost=f"127.0.0.1:{sink.port}", allow_loopback=False):
        for domain in ("one.example", "two.example"):
            await house.submit([f"bob@{domain}"])
        await sink.wait_for(2)
    assert house.dns.queries == []


async def test_what_is_offered_is_encrypted(house: House, tmp_path: Path) -> None:
    certificate = CertificateAuthority(tmp_path).issue("someone.else")
    async with SmtpSink(certificate=certificate) as sink, house.relay(sink.port):
        await house.submit(["bob@example.org"])
        (message,) = await sink.wait_for(1)
    assert message.tls


async def test_an_exchanger_that_cannot_do_the_tls_it_offers_gets_mail_in_the_clear(house: House) -> None:
    rule = Rule(Stage.EHLO, "250-sink.test\r\n250 STARTTLS")
    async with SmtpSink([rule]) as sink, house.relay(sink.port):
        await house.submit(["bob@example.org"])
        (message,) = await sink.wait_for(1)
    assert not message.tls


async def test_a_drain_finishes_the_message_in_hand_and_gives_the_rest_back(house: House) -> None:
    stopped = asyncio.Event()
    async with SmtpSink() as sink, house.relay(sink.port, workers=1) as lifecycle:

        def stop(_: object) -> None:
            lifecycle.stop()
            stopped.set()

        sink.on_message = stop
        await house.submit(["bob@example.org"], count=5)
        await stopped.wait()
    claims = await house.core.fetch("SELECT FROM mailstore.claim")
    left = await house.core.fetch("SELECT claim_id FROM mailstore.delivery WHERE site IS NOT NULL")
    assert claims == []
    assert len(sink.messages) + len(left) == 5
    assert all(row["claim_id"] is None for row in left)
    assert sink.commands[-1] == b"QUIT"
