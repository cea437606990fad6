"""GETQUOTA, GETQUOTAROOT, SETQUOTA and what a full account is told (RFC 9208)."""

import pytest

from postroom_testing.imap_client import Connect

MAIL = b"From: Ann <ann@example.org>\r\nSubject: Tea\r\n\r\n" + b"At five.\r\n" * 100
OVER = b"NO [OVERQUOTA] The mailbox is full"


async def test_an_account_without_limits_has_a_quota_root_without_resources(imap: Connect) -> None:
    alice = await imap()
    assert await alice.ok("GETQUOTAROOT Nowhere") == [b'* QUOTAROOT "Nowhere" ""', b'* QUOTA "" ()']
    assert await alice.ok('GETQUOTA ""') == [b'* QUOTA "" ()']


async def test_limits_are_set_told_and_held(imap: Connect) -> None:
    alice = await imap()
    assert await alice.ok('SETQUOTA "" (STORAGE 3 MESSAGE 2)') == [b'* QUOTA "" (STORAGE 0 3 MESSAGE 0 2)']
    await alice.append("INBOX", MAIL)
    await alice.ok("SELECT INBOX")
    await alice.ok("COPY 1 Archive")
    assert (await alice.command("COPY 1 Sent")).text == OVER
    assert (await alice.append("INBOX", MAIL)).text == OVER
    await alice.ok("MOVE 1 Trash")
    assert await alice.ok("GETQUOTAROOT INBOX") == [
        b'* QUOTAROOT INBOX ""',
        b'* QUOTA "" (STORAGE 3 3 MESSAGE 2 2)',
    ]
    # Limits that are not named are gone, and what is kept may be more than what is allowed.
    assert await alice.ok('SETQUOTA "" (STORAGE 1)') == [b'* QUOTA "" (STORAGE 3 1)']
    assert (await alice.append("INBOX", MAIL)).text == OVER
    assert await alice.ok('SETQUOTA "" ()') == [b'* QUOTA "" ()']
    assert (await alice.append("INBOX", MAIL)).ok


async def test_expunging_makes_room(imap: Connect) -> None:
    alice = await imap()
    await alice.ok('SETQUOTA "" (MESSAGE 1)')
    await alice.append("INBOX", MAIL, "(\\Deleted)")
    assert (await alice.append("INBOX", MAIL)).text == OVER
    told = await alice.ok("STATUS INBOX (DELETED DELETED-STORAGE)")
    assert told == [b"* STATUS INBOX (DELETED 1 DELETED-STORAGE %d)" % len(MAIL)]
    await alice.ok("SELECT INBOX")
    await alice.ok("EXPUNGE")
    assert (await alice.append("INBOX", MAIL)).ok
    assert await alice.ok('LIST "" (INBOX Sent) RETURN (STATUS (DELETED-STORAGE))') == [
        b'* LIST (\\HasNoChildren) "/" INBOX',
        b"* STATUS INBOX (DELETED-STORAGE 0)",
        b'* LIST (\\HasNoChildren \\Sent) "/" "Sent"',
        b'* STATUS "Sent" (DELETED-STORAGE 0)',
    ]


async def test_the_largest_limit_is_one(imap: Connect) -> None:
    alice = await imap()
    (told,) = await alice.ok('SETQUOTA "" (STORAGE 9223372036854775807 MESSAGE 9223372036854775807)')
    assert told == b'* QUOTA "" (STORAGE 0 9007199254740991 MESSAGE 0 9223372036854775807)'


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("GETQUOTA other", b"NO [NONEXISTENT] No such quota root"),
        ('SETQUOTA "#user/bob" (STORAGE 1)', b"NO [NONEXISTENT] No such quota root"),
        ('SETQUOTA "" (MAILBOX 1)', b"NO [CANNOT] This resource cannot be limited"),
        ('SETQUOTA "" (STORAGE -1)', b"BAD Syntax error in arguments"),
    ],
)
async def test_what_cannot_be_limited_is_refused(imap: Connect, command: str, text: bytes) -> None:
    alice = await imap()
    await alice.ok('SETQUOTA "" (MESSAGE 7)')
    assert (await alice.command(command)).text == text
    assert await alice.ok('GETQUOTA ""') == [b'* QUOTA "" (MESSAGE 0 7)']


async def test_quotas_are_offered(imap: Connect) -> None:
    alice = await imap()
    (offered,) = await alice.ok("CAPABILITY")
    assert {b"QUOTA", b"QUOTASET", b"QUOTA=RES-STORAGE", b"QUOTA=RES-MESSAGE"} <= set(offered.split())
