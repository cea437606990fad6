"""Logins, TLS, limits, idle ends and the drain."""

import asyncio
import base64

import pytest

from mail_access.imap import session
from mail_access.settings import Settings
from postroom_runtime.peer import PeerAddress
from postroom_runtime.tcp import Listener
from postroom_runtime.tls import verifying_client_context
from postroom_testing.certificates import Certificate
from postroom_testing.imap_client import Connect, ImapClient
from postroom_testing.small_directory_service import SmallDirectory

WRONG = b"NO [AUTHENTICATIONFAILED] User name or password is wrong"


def plain(*parts: str) -> str:
    return base64.b64encode("\0".join(parts).encode()).decode()


@pytest.fixture
def foreign_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """All peers are on another machine."""
    monkeypatch.setattr(PeerAddress, "is_loopback", property(lambda _: False))


async def test_a_wrong_password_is_told_like_an_unknown_user_and_three_end_it(
    imap: Connect, mail_account: tuple[str, str]
) -> None:
    client = await imap(None)
    assert (await client.command(f"LOGIN {mail_account[0]} wrong")).text == WRONG
    assert (await client.command("LOGIN nobody@postroom.test wrong")).text == WRONG
    assert (await client.command('LOGIN "" ""')).text == WRONG
    assert await client.rest() == b"* BYE Too many failed logins\r\n"


async def test_authenticate_plain_with_and_without_an_initial_response(
    imap: Connect, mail_account: tuple[str, str]
) -> None:
    client = await imap(None)
    answer = await client.command(f"AUTHENTICATE PLAIN {plain('', *mail_account)}")
    assert answer.text.startswith(b"OK [CAPABILITY IMAP4rev1 ")
    client = await imap(None)
    tag = client.send_command("AUTHENTICATE PLAIN")
    assert await client.response() == b"+ "
    client.send(plain(mail_account[0], *mail_account).encode() + b"\r\n")
    assert (await client.answer(tag)).ok


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (plain("", "x"), b"BAD Malformed response"),
        (plain("", "", ""), b"BAD Malformed response"),
        ("=", b"BAD Malformed response"),
        (plain("somebody@else.test", "nobody@postroom.test", "x"), WRONG),
    ],
)
async def test_authenticate_refuses(imap: Connect, response: str, text: bytes) -> None:
    client = await imap(None)
    assert (await client.command(f"AUTHENTICATE PLAIN {response}")).text == text
    assert (await client.command("AUTHENTICATE GSSAPI")).text == b"NO [CANNOT] Mechanism not supported"


async def test_authenticate_can_be_cancelled(imap: Connect) -> None:
    client = await imap(None)
    tag = client.send_command("AUTHENTICATE PLAIN")
    await client.response()
    client.send(b"*\r\n")
    assert (await client.answer(tag)).text == b"BAD Authentication cancelled"
    assert (await client.command("NOOP")).ok


async def test_a_password_from_elsewhere_needs_tls(
    imap: Connect, mail_account: tuple[str, str], certificate: Certificate, foreign_peer: None
) -> None:
    client = await imap(None)
    assert b"STARTTLS LOGINDISABLED" in client.greeting
    refused = b"NO [PRIVACYREQUIRED] Use TLS before you log in"
    assert (
        await client.command("LOGIN {} {}".format(*mail_account).replace("open sesame", "x"))
    ).text == refused
    assert (await client.command(f"AUTHENTICATE PLAIN {plain('', *mail_account)}")).text == refused
    await client.start_tls(verifying_client_context(certificate.ca_file), "localhost")
    assert b"STARTTLS" not in (await client.ok("CAPABILITY"))[0]
    assert (await client.command(f"AUTHENTICATE PLAIN {plain('', *mail_account)}")).ok


async def test_what_is_sent_ahead_of_tls_is_forgotten(
    imap: Connect, mail_account: tuple[str, str], certificate: Certificate
) -> None:
    client = await imap(None)
    client.send(b"a STARTTLS\r\nb NOOP\r\n")
    assert await client.response() == b"a OK Begin TLS negotiation now"
    await client.handshake(verifying_client_context(certificate.ca_file), "localhost")
    answer = await client.command("CAPABILITY")
    assert [line[:12] for line in answer.untagged] == [b"* CAPABILITY"]
    assert (await client.command("STARTTLS")).text == b"BAD TLS is there already"


async def test_implicit_tls_serves_the_same(imap: Connect) -> None:
    client = await imap("alice", tls=True)
    assert (await client.command("SELECT INBOX")).ok


async def test_an_account_has_a_bounded_number_of_sessions(
    access_settings: Settings, own_imap: Connect, own_directory: SmallDirectory
) -> None:
    clients = [await own_imap() for _ in range(access_settings.max_sessions_per_account)]
    with pytest.raises(AssertionError, match=r"NO \[LIMIT\] Over a limit"):
        await own_imap()
    await clients[0].ok("LOGOUT")
    assert await clients[0].rest() == b""
    await own_imap()
    await own_imap("bob")


@pytest.mark.parametrize("capability_seconds", [3.0])
async def test_a_long_session_renews_its_capability_until_it_is_refused(
    own_imap: Connect, own_directory: SmallDirectory
) -> None:
    account = own_directory.add("erin@postroom.test", "secret")
    alice = await own_imap(None)
    await alice.login(account.address, account.password)
    await alice.ok("SELECT INBOX")
    async with asyncio.timeout(10):
        while own_directory.renewals < 2:
            assert (await alice.command("NOOP")).ok
            await asyncio.sleep(0.1)
    own_directory.remove(account)
    words = await _until_bye(alice)
    assert words == b"* BYE Your login has ended, log in again"


async def _until_bye(client: ImapClient) -> bytes:
    async with asyncio.timeout(10):
        while True:
            client.send_command("NOOP")
            if (response := await client.response()).startswith(b"* BYE"):
                return response
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("capability_seconds", [4.0])
async def test_a_session_outlives_a_directory_that_is_away_for_a_moment(
    own_imap: Connect, own_directory: SmallDirectory
) -> None:
    alice = await own_imap()
    own_directory.away = True
    await asyncio.sleep(1.5)
    assert (await alice.command("NOOP")).ok
    own_directory.away = False
    async with asyncio.timeout(5):
        while not own_directory.renewals:
            assert (await alice.command("STATUS INBOX (MESSAGES)")).ok
            await asyncio.sleep(0.1)


async def test_a_login_while_the_directory_is_away_is_a_temporary_refusal(
    own_imap: Connect, own_directory: SmallDirectory
) -> None:
    client = await own_imap(None)
    own_directory.away = True
    answer = await client.command("LOGIN alice@postroom.test x")
    assert answer.text == b"NO [UNAVAILABLE] Temporarily unavailable, try again"


@pytest.mark.parametrize("idle_seconds", [1.0])
async def test_an_idle_session_is_sent_away_in_time(own_imap: Connect) -> None:
    alice = await own_imap()
    assert await alice.rest() == b"* BYE Idle for too long\r\n"


async def test_a_drain_says_goodbye_to_idle_sessions(
    own_imap: Connect, own_access: dict[str, Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_DRAIN_PART", 0.2)
    clients = [await own_imap() for _ in range(5)]
    idle = clients[0].send_command("IDLE")
    await clients[0].response()
    for listener in own_access.values():
        listener.close()
    assert (await clients[1].command("NOOP")).ok
    words = await asyncio.gather(*(client.rest() for client in clients))
    assert idle
    assert set(words) == {b"* BYE [UNAVAILABLE] Restarting, connect again\r\n"}


async def test_who_stays_for_a_while_in_a_drain_is_told_of_news(
    own_imap: Connect, own_access: dict[str, Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(_: float, most: float) -> float:
        return most

    monkeypatch.setattr(session, "uniform", late)
    phone, desk = await own_imap(), await own_imap()
    await phone.ok("SELECT INBOX")
    phone.send_command("IDLE")
    assert await phone.response() == b"+ idling"
    for listener in own_access.values():
        listener.close()
    assert (await desk.append("INBOX", b"Subject: news\r\n\r\nof the day\r\n")).ok
    words = await phone.rest()
    assert words.startswith(b"* 1 EXISTS\r\n")
    assert words.endswith(b"* BYE [UNAVAILABLE] Restarting, connect again\r\n")
