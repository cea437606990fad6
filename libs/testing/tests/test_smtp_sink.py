import asyncio
import smtplib
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from postroom_testing.certificates import CertificateAuthority
from postroom_testing.smtp_sink import Fault, Rule, SmtpSink, Stage

MAIL = b"Subject: hello\r\n\r\n.leading dot\r\n..two\r\n\r\nend\r\n"


async def in_thread(sink: SmtpSink, work: Callable[[smtplib.SMTP], object]) -> object:
    """Run a blocking client; a real one, so that the sink is not tested by its own kind."""

    def run() -> object:
        with smtplib.SMTP(sink.host, sink.port, timeout=5) as client:
            return work(client)

    return await asyncio.to_thread(run)


async def test_messages_are_kept_as_they_were_sent() -> None:
    async with SmtpSink() as sink:

        def send(client: smtplib.SMTP) -> None:
            client.sendmail("ann@example.org", ["bob@example.net", "cy@example.net"], MAIL)
            client.sendmail("", ["bob@example.net"], b"\r\n")

        await in_thread(sink, send)
        first, second = await sink.wait_for(2)
        assert first.octets == MAIL
        assert first.reverse_path == "ann@example.org"
        assert first.recipients == ("bob@example.net", "cy@example.net")
        assert second.reverse_path == ""
        assert sink.per_connection == [2]


async def test_rules_refuse_as_often_as_they_say() -> None:
    rules = [Rule(Stage.RCPT, "451 4.2.1 Later", "bob@", times=1), Rule.parse("content:viagra=550 5.7.1 No")]
    async with SmtpSink(rules) as sink:

        def send(client: smtplib.SMTP) -> None:
            with pytest.raises(smtplib.SMTPRecipientsRefused):
                client.sendmail("a@b", "bob@example.net", MAIL)
            client.sendmail("a@b", "bob@example.net", MAIL)
            with pytest.raises(smtplib.SMTPDataError):
                client.sendmail("a@b", "bob@example.net", b"buy viagra\r\n")

        await in_thread(sink, send)
        assert len(sink.messages) == 1


async def test_a_rule_may_close_or_say_nothing() -> None:
    async with SmtpSink([Rule(Stage.MAIL, Fault.CLOSE, times=1)]) as sink:

        def cut(client: smtplib.SMTP) -> None:
            with pytest.raises(smtplib.SMTPServerDisconnected):
                client.sendmail("a@b", "c@d", MAIL)

        await in_thread(sink, cut)
    async with SmtpSink([Rule.parse("data=hang")]) as sink:
        reader, writer = await asyncio.open_connection(sink.host, sink.port)
        writer.write(b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
        said = await reader.readuntil(b"250 2.1.5 OK\r\n")
        assert said.startswith(b"220 sink.test ESMTP\r\n250-sink.test\r\n")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.read(1)
        writer.close()


async def test_starttls_is_offered_with_a_certificate(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    async with SmtpSink(certificate=authority.issue("localhost")) as sink:

        def send(client: smtplib.SMTP) -> None:
            context = ssl.create_default_context(cafile=authority.ca_file)
            client._host = "localhost"  # pyright: ignore[reportAttributeAccessIssue]  # the name to check
            client.starttls(context=context)
            client.sendmail("a@b", "c@d", MAIL)

        await in_thread(sink, send)
        (message,) = sink.messages
        assert message.tls
