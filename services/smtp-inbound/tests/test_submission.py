"""Mail from users of ours: who they are, and what they may send as."""

import base64
import ssl

import pytest

from postroom_testing.core import PASSWORD
from postroom_testing.smtp_client import SmtpClient
from postroom_testing.smtp_house import SmtpHouse

ANN, BOB = "ann@postroom.test", "bob@postroom.test"


def plain(address: str, password: str) -> str:
    """AUTH PLAIN with its initial response."""
    return "AUTH PLAIN " + base64.b64encode(f"\0{address}\0{password}".encode()).decode()


@pytest.mark.parametrize("way", ["starttls", "implicit", "loopback"])
async def test_a_user_sends_inside_and_outside(house: SmtpHouse, trusting: ssl.SSLContext, way: str) -> None:
    port = house.submissions_port if way == "implicit" else house.submission_port
    async with SmtpClient.connected(port, tls=trusting if way == "implicit" else None) as client:
        await client.say("EHLO client.example")
        if way == "starttls":
            assert (await client.start_tls(trusting)).startswith("220")
            assert "STARTTLS" not in await client.say("EHLO client.example")
        assert await client.say(plain(ANN, PASSWORD)) == "235 2.7.0 Authentication succeeded"
        reply = await client.mail(ANN, BOB, "friend@elsewhere.example")
        assert reply.startswith("250 2.0.0 Queued as ")
    rows = await house.core.fetch(
        "SELECT sender_account_id, d.domain FROM mailstore.accepted AS a"
        " JOIN mailstore.delivery AS d ON d.accepted_id = a.id WHERE d.domain IS NOT NULL"
    )
    assert (house.core.accounts[ANN], "elsewhere.example") in {tuple(row.values()) for row in rows}


async def test_login_takes_name_and_password_one_by_one(house: SmtpHouse) -> None:
    async with SmtpClient.connected(house.submission_port) as client:
        assert "AUTH PLAIN LOGIN" in await client.say("EHLO client.example")
        assert await client.say("AUTH LOGIN") == "334 VXNlcm5hbWU6"
        assert await client.say(base64.b64encode(ANN.encode()).decode()) == "334 UGFzc3dvcmQ6"
        assert (await client.say(base64.b64encode(PASSWORD.encode()).decode())).startswith("235")


async def test_nothing_is_submitted_without_a_login(house: SmtpHouse) -> None:
    async with SmtpClient.connected(house.submission_port) as client:
        assert (await client.begin(ANN, BOB)).startswith("530 5.7.0")


async def test_the_mx_takes_no_logins(house: SmtpHouse) -> None:
    async with SmtpClient.connected(house.port) as client:
        assert "AUTH" not in await client.say("EHLO client.example")
        assert (await client.say(plain(ANN, PASSWORD)))[0] == "5"


@pytest.mark.parametrize(
    ("address", "password"),
    [(ANN, "wrong"), ("nobody@postroom.test", PASSWORD), ("no address", "x"), ("a\x01@postroom.test", "x")],
)
async def test_a_wrong_password_and_an_unknown_user_look_the_same(
    house: SmtpHouse, address: str, password: str
) -> None:
    async with SmtpClient.connected(house.submission_port) as client:
        await client.say("EHLO client.example")
        assert await client.say(plain(address, password)) == "535 5.7.8 Authentication credentials invalid"


async def test_a_user_cannot_send_as_another(house: SmtpHouse) -> None:
    async with SmtpClient.connected(house.submission_port) as client:
        await client.say("EHLO client.example")
        await client.say(plain(ANN, PASSWORD))
        for sender in (BOB, "ann@elsewhere.example", "nobody@postroom.test"):
            reply = await client.say(f"MAIL FROM:<{sender}>")
            assert reply == "553 5.7.1 Sender address is not one of yours"
        identity = base64.b64encode(f"{BOB}\0{ANN}\0{PASSWORD}".encode()).decode()
    async with SmtpClient.connected(house.submission_port) as client:
        await client.say("EHLO client.example")
        assert (await client.say(f"AUTH PLAIN {identity}")).startswith("535")


async def test_a_login_in_the_clear_is_forgotten_when_tls_begins(
    house: SmtpHouse, trusting: ssl.SSLContext
) -> None:
    async with SmtpClient.connected(house.submission_port) as client:
        await client.say("EHLO client.example")
        client.send(b"STARTTLS\r\nMAIL FROM:<ann@postroom.test>\r\n")  # the second is the attacker's
        assert (await client.reply()).startswith("220")
        await client.handshake(trusting)
        assert (await client.say("MAIL FROM:<ann@postroom.test>"))[0] == "5"
