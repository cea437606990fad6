"""Mail from outside, against a real directory and a real mail store."""

import asyncio
import json
import smtplib

import pytest

from postroom_contracts.ids import parse_queue_id
from postroom_testing.core import Core
from postroom_testing.smtp_client import SmtpClient
from postroom_testing.smtp_house import SmtpHouse

ANN, BOB, OUTSIDER = "ann@postroom.test", "bob@postroom.test", "someone@example.org"


def queue_id(reply: str) -> object:
    """The id that a 250 shows."""
    assert reply.startswith("250 2.0.0 Queued as "), reply
    return parse_queue_id(reply.rpartition(" ")[2])


async def filed(core: Core, address: str, wanted: object) -> int:
    """How often a message is in an INBOX, once it is."""
    async with asyncio.timeout(10):
        while wanted not in (found := await core.inbox(address)):
            await asyncio.sleep(0.02)
    return found.count(wanted)  # pyright: ignore[reportArgumentType]  # a UUID, as the ids are


async def test_three_mails_by_smtplib_are_in_the_inbox_once_each(house: SmtpHouse) -> None:
    before = len(await house.core.inbox(ANN))

    def send() -> None:
        with smtplib.SMTP("127.0.0.1", house.port) as client:
            for number in range(3):
                client.sendmail(OUTSIDER, [ANN], f"Subject: {number}\r\n\r\nHello\r\n")

    await asyncio.to_thread(send)
    found = await house.core.wait_inbox(ANN, before + 3)
    assert len(set(found)) == len(found) == before + 3


async def test_the_reply_shows_the_queue_id_and_received_too(house: SmtpHouse) -> None:
    async with SmtpClient.connected(house.port) as client:
        reply = await client.mail(OUTSIDER, ANN)
    wanted = queue_id(reply)
    assert await filed(house.core, ANN, wanted) == 1
    (row,) = await house.core.fetch("SELECT header FROM mailstore.message WHERE id = $1", wanted)
    first = row["header"].replace(b"\r\n\t", b" ").replace(b"\r\n ", b" ").split(b"\r\n")[0]
    assert first.startswith(
        b"Received: from client.example ([127.0.0.1]) by mail.postroom.test with ESMTP id "
    )
    assert reply.rpartition(" ")[2].encode() in first


@pytest.mark.parametrize(
    ("octets", "header", "added", "preview"),
    [
        (b"Dear Ann,\r\nno header.\r\n", b"\r\n", 2, "Dear Ann, no header."),
        (b" a: folded line\r\n", b"\r\n", 2, "a: folded line"),
        (b"", b"", 0, ""),
        (b"\r\nbody\r\n", b"\r\n", 0, "body"),
        (
            b"From b@c.example Tue Feb  3 04:05:06 2026\r\nSubject: hi\r\n\r\nbody\r\n",
            b"X-Mailbox-Line: From b@c.example Tue Feb  3 04:05:06 2026\r\nSubject: hi\r\n\r\n",
            16,
            "body",
        ),
    ],
    ids=["text", "a folded line", "nothing", "an empty line", "a mailbox file"],
)
async def test_text_without_a_header_is_the_body(
    house: SmtpHouse, octets: bytes, header: bytes, added: int, preview: str
) -> None:
    async with SmtpClient.connected(house.port) as client:
        wanted = queue_id(await client.mail(OUTSIDER, ANN, octets=octets))
    assert await filed(house.core, ANN, wanted) == 1
    (row,) = await house.core.fetch(
        "SELECT header, size, summary FROM mailstore.message WHERE id = $1", wanted
    )
    received = row["header"].index(b"+0000\r\n") + 7
    assert row["header"][received:] == header
    assert row["size"] == received + added + len(octets)
    assert json.loads(row["summary"])["preview"] == preview


async def test_a_pipelined_group_is_answered_in_order(house: SmtpHouse) -> None:
    async with SmtpClient.connected(house.port) as client:
        await client.say("EHLO client.example")
        client.send(
            b"MAIL FROM:<someone@example.org>\r\nRCPT TO:<nobody@postroom.test>\r\n"
            b"RCPT TO:<bob@postroom.test>\r\nDATA\r\n"
        )
        replies = [(await client.reply())[:9] for _ in range(4)]
        wanted = queue_id(await client.content(b"Subject: piped\r\n\r\n"))
    assert replies == ["250 2.1.0", "550 5.1.1", "250 2.1.5", "354 Start"]
    assert await filed(house.core, BOB, wanted) == 1


@pytest.mark.parametrize(
    ("recipient", "reply"),
    [
        ("nobody@postroom.test", "550 5.1.1 No such mailbox here"),
        ("bob@elsewhere.example", "550 5.7.1 Relaying denied"),
    ],
)
async def test_mail_for_nobody_and_relaying_are_refused(house: SmtpHouse, recipient: str, reply: str) -> None:
    async with SmtpClient.connected(house.port) as client:
        assert await client.begin(OUTSIDER, recipient) == reply
        assert (await client.say("DATA")).startswith("554 5.5.1")


async def test_a_message_over_the_limit_is_refused_when_it_is_announced(house: SmtpHouse) -> None:
    async with SmtpClient.connected(house.port) as client:
        assert "SIZE 2000000" in await client.say("EHLO client.example")
        assert (await client.say(f"MAIL FROM:<{OUTSIDER}> SIZE=2000001")).startswith("552 5.3.4")


async def test_a_message_over_the_limit_is_refused_when_it_is_not_announced(house: SmtpHouse) -> None:
    async with SmtpClient.connected(house.port) as client:
        await client.begin(OUTSIDER, ANN)
        assert (await client.content(b"x" * 998 + b"\r\n" + b"y\r\n" * 700_000)).startswith("552 5.3.4")
        assert (await client.say("NOOP")).startswith("250")


async def test_a_line_over_the_limit_is_refused(house: SmtpHouse) -> None:
    async with SmtpClient.connected(house.port) as client:
        assert (await client.say("NOOP " + "x" * 600)).startswith("500 5.5.2")
        await client.begin(OUTSIDER, ANN)
        assert (await client.content(b"x" * 70_000 + b"\r\n")).startswith("500 5.6.0")


@pytest.mark.parametrize(
    "smuggled",
    [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n\n.\r\n", b"\x00"],
)
async def test_no_message_is_smuggled_in(house: SmtpHouse, smuggled: bytes) -> None:
    before = len(await house.core.inbox(BOB))
    inner = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<bob@postroom.test>\r\nDATA\r\nevil\r\n"
    async with SmtpClient.connected(house.port) as client:
        await client.begin(OUTSIDER, BOB)
        assert (await client.content(b"Subject: outer\r\n\r\nx" + smuggled + inner)).startswith("550 5.6.11")
        assert await client.hung_up()
    async with SmtpClient.connected(house.port) as client:
        wanted = queue_id(await client.mail(OUTSIDER, BOB))
    await filed(house.core, BOB, wanted)
    assert len(await house.core.inbox(BOB)) == before + 1


async def test_a_client_that_goes_in_the_middle_of_data_leaves_nothing(house: SmtpHouse) -> None:
    rows = "SELECT count(*) AS n FROM mailstore.accepted"
    before = (await house.core.fetch(rows))[0]["n"]
    for octets in (b"Subject: half\r\n\r\nhalf a mess", b"Subject: half\r\n\r\n" + b"x\r\n" * 200_000):
        async with SmtpClient.connected(house.port) as client:
            await client.begin(OUTSIDER, ANN)
            client.send(octets)
            client.abort()
    async with SmtpClient.connected(house.port) as client:
        await filed(house.core, ANN, queue_id(await client.mail(OUTSIDER, ANN)))
    assert (await house.core.fetch(rows))[0]["n"] == before + 1


async def test_five_hundred_recipients_and_ten_that_cross_them_all_get_their_mail(house: SmtpHouse) -> None:
    names = [f"r{number}" for number in range(500)]
    await house.core.add_accounts_without_login(*names)
    addresses = [f"{name}@postroom.test" for name in names]

    async def send(*recipients: str) -> object:
        async with SmtpClient.connected(house.port) as client:
            return queue_id(await client.mail(OUTSIDER, *recipients))

    crossing = [addresses[number * 50 :] + addresses[: number * 50] for number in range(10)]
    some = [recipients[:40][::-1] for recipients in crossing]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(send(*addresses)), *(group.create_task(send(*each)) for each in some)]
    wanted = [task.result() for task in tasks]
    count = "SELECT count(*) AS n FROM mailstore.mailbox_message WHERE message_id = ANY($1::uuid[])"
    async with asyncio.timeout(20):
        while (await house.core.fetch(count, wanted))[0]["n"] < 900:
            await asyncio.sleep(0.05)
    assert (await house.core.fetch(count, wanted))[0]["n"] == 900


async def test_a_large_message_is_put_off_while_the_object_store_is_away(house: SmtpHouse) -> None:
    began = asyncio.get_running_loop().time()
    async with SmtpClient.connected(house.port) as client:
        await client.begin(OUTSIDER, ANN)
        reply = await client.content(b"Subject: large\r\n\r\n" + b"0123456789\r\n" * 30_000)
        assert reply.startswith("451 4.3.0")
        assert queue_id(await client.mail(OUTSIDER, ANN))
    assert asyncio.get_running_loop().time() - began < 6.0


async def test_a_message_that_has_been_everywhere_is_refused(house: SmtpHouse) -> None:
    header = b"".join(b"Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\r\n" for _ in range(60))
    async with SmtpClient.connected(house.port) as client:
        assert (await client.mail(OUTSIDER, ANN, octets=header + b"\r\n")).startswith("554 5.4.6")


async def test_the_null_reverse_path_and_postmaster_are_taken(house: SmtpHouse) -> None:
    await house.core.add_accounts_without_login("postmaster")
    async with SmtpClient.connected(house.port) as client:
        await client.say("EHLO client.example")
        assert (await client.say("MAIL FROM:<>")).startswith("250")
        assert (await client.say("RCPT TO:<postmaster@postroom.test>")).startswith("250")
