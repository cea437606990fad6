"""The end of the service: what has begun is finished, and each client hears 421 between two commands."""

from postroom_testing.certificates import CertificateAuthority
from postroom_testing.core import Core, served
from postroom_testing.smtp_client import SmtpClient
from postroom_testing.smtp_house import smtp_settings
from smtp_inbound.serve import serve
from smtp_inbound.settings import Settings

GOODBYE = "421 4.3.2 "


async def test_a_drain_finishes_mail_and_says_goodbye_between_commands(shared_core: Core) -> None:
    certificate = CertificateAuthority(shared_core.sockets / "drain-tls").issue("localhost")
    settings = Settings(**smtp_settings(shared_core, certificate, drain_seconds=10.0))  # pyright: ignore[reportArgumentType]  # by name
    async with (
        served(serve, settings) as lifecycle,
        SmtpClient.connected(settings.port) as greeted,
        SmtpClient.connected(settings.port) as resting,
        SmtpClient.connected(settings.port) as amid,
        SmtpClient.connected(settings.port) as sending,
    ):
        assert (await resting.say("EHLO client.example")).startswith("250")
        assert (await amid.say("EHLO client.example")).startswith("250")
        assert (await amid.say("MAIL FROM:<someone@example.org>")).startswith("250")
        assert (await sending.begin("someone@example.org", "ann@postroom.test")).startswith("354")
        sending.send(b"Subject: late\r\n\r\nhalf of ")
        lifecycle.stop()
        for client in (greeted, resting):
            assert (await client.reply()).startswith(GOODBYE)
            assert await client.reply() == ""
        assert (await amid.say("RCPT TO:<ann@postroom.test>")).startswith("250")
        assert (await amid.say("RSET")).startswith("250")
        assert (await amid.reply()).startswith(GOODBYE)
        assert (await sending.content(b"it\r\n")).startswith("250 2.0.0 Queued as ")
        assert (await sending.reply()).startswith(GOODBYE)
        assert await sending.reply() == ""
