"""Mailboxes of others over IMAP: rights, what each may, and what each has seen (RFC 4314, RFC 8440)."""

import re
import secrets

import pytest

from postroom_testing.imap_client import Connect, ImapClient
from postroom_testing.mail_twins import Twins

MAIL = b"From: Ann <ann@example.org>\r\nSubject: Tea\r\n\r\nAt five.\r\n"
ALL = b"lrswipkxteacd"


class House:
    """Alice, who shares Work, and bob."""

    def __init__(self, alice: ImapClient, bob: ImapClient, names: dict[str, str]) -> None:
        self.alice, self.bob, self._names = alice, bob, names

    @property
    def work(self) -> str:
        """Alice's Work, as bob names it."""
        return f'"Other Users/{self._names["alice"]}/Work"'

    @property
    def bob_address(self) -> str:
        return self._names["bob"]

    async def grant(self, rights: str) -> None:
        await self.alice.ok(f"SETACL Work {self.bob_address} {rights}")

    def told(self, lines: list[bytes]) -> list[bytes]:
        """Lines with alice's address taken out."""
        return [line.replace(self._names["alice"].encode(), b"ALICE") for line in lines]


async def _address(client: ImapClient) -> str:
    (told,) = await client.ok("GETACL INBOX")
    found = re.match(rb"\* ACL INBOX (\S+) ", told)
    assert found is not None
    return found[1].decode()


def without_uids(lines: list[bytes]) -> list[bytes]:
    return [re.sub(rb"UID \d+ ", b"", line) for line in lines]


@pytest.fixture
async def house(imap: Connect) -> House:
    alice, bob = await imap("alice"), await imap("bob")
    await alice.ok("CREATE Work")
    return House(alice, bob, {"alice": await _address(alice), "bob": await _address(bob)})


async def test_an_owner_has_all_rights_and_tells_who_else_has_some(house: House) -> None:
    alice = house.alice
    assert await alice.ok("MYRIGHTS Work") == [b'* MYRIGHTS "Work" ' + ALL]
    await house.grant("lrs")
    await house.grant("+d")
    await alice.ok("SETACL Work anyone l")
    owner, bob = await _address(alice), house.bob_address
    expected = f'* ACL "Work" {owner} {ALL.decode()} anyone l {bob} lrsted'
    assert await alice.ok("GETACL Work") == [expected.encode()]
    await house.grant("-rst")
    await alice.ok("DELETEACL Work anyone")
    assert await alice.ok("GETACL Work") == [f'* ACL "Work" {owner} {ALL.decode()} {bob} led'.encode()]
    await alice.ok(f"DELETEACL Work {bob}")
    assert await alice.ok("GETACL Work") == [f'* ACL "Work" {owner} {ALL.decode()}'.encode()]
    for identifier in (bob, "anyone"):
        told = f'* LISTRIGHTS "Work" {identifier} "" l r s w i p t e d'
        assert await alice.ok(f"LISTRIGHTS Work {identifier}") == [told.encode()]
    told = f'* LISTRIGHTS "Work" {owner} {ALL.decode()}'
    assert await alice.ok(f"LISTRIGHTS Work {owner}") == [told.encode()]


async def test_what_cannot_be_granted_is_refused(house: House) -> None:
    alice, bob = house.alice, house.bob_address
    for command, text in {
        f"SETACL Work {bob} lra": b"NO [NOPERM] Not permitted",
        f"SETACL Work {bob} lrq": b"BAD Syntax error in arguments",
        "SETACL Work nobody@postroom.test lr": b"NO [NONEXISTENT] No such user",
        'SETACL Work "no address" lr': b"NO [NONEXISTENT] No such user",
        f'SETACL Work "-{bob}" lr': b"NO [CANNOT] There are no negative rights",
        f"SETACL Nowhere {bob} lr": b"NO [NONEXISTENT] No such mailbox",
        f"SETACL Work {await _address(alice)} lr": b"NO [NOPERM] Not permitted",
        "MYRIGHTS Nowhere": b"NO [NONEXISTENT] No such mailbox",
    }.items():
        assert (await alice.command(command)).text == text, command
    assert (await alice.command(f"SETACL Work {await _address(alice)} lrswipkxtea")).ok


async def test_a_shared_mailbox_is_listed_with_its_rights(house: House) -> None:
    bob = house.bob
    assert await bob.ok('LIST "" "Other Users/*"') == []
    await house.grant("lr")
    await house.alice.append("Work", MAIL)
    told = await bob.ok('LIST "" "Other Users*" RETURN (MYRIGHTS STATUS (MESSAGES UNSEEN RECENT))')
    assert house.told(told) == [
        b'* LIST (\\NonExistent \\Noselect \\HasChildren) "/" "Other Users"',
        b'* LIST (\\NonExistent \\Noselect \\HasChildren) "/" "Other Users/ALICE"',
        b'* LIST (\\HasNoChildren) "/" "Other Users/ALICE/Work"',
        b'* MYRIGHTS "Other Users/ALICE/Work" lr',
        b'* STATUS "Other Users/ALICE/Work" (MESSAGES 1 UNSEEN 1 RECENT 0)',
    ]
    assert (await bob.ok('LIST "" INBOX RETURN (MYRIGHTS)'))[1] == b"* MYRIGHTS INBOX " + ALL
    assert b'* LIST (\\NonExistent \\Noselect \\HasChildren) "/" "Other Users"' in await bob.ok('LIST "" %')
    await house.grant("l")
    told = await bob.ok('LIST "" "Other Users/*/Work" RETURN (MYRIGHTS STATUS (MESSAGES))')
    assert house.told(told) == [
        b'* LIST (\\Noselect \\HasNoChildren) "/" "Other Users/ALICE/Work"',
        b'* MYRIGHTS "Other Users/ALICE/Work" l',
    ]
    await house.grant("r")
    assert await bob.ok('LIST "" "Other Users/*"') == []
    assert house.told(await bob.ok(f"MYRIGHTS {house.work}")) == [b'* MYRIGHTS "Other Users/ALICE/Work" r']


async def test_a_shared_mailbox_can_be_subscribed_to(house: House) -> None:
    await house.grant("lr")
    await house.bob.ok(f"SUBSCRIBE {house.work}")
    told = await house.bob.ok('LIST (SUBSCRIBED) "" "Other*"')
    assert house.told(told) == [b'* LIST (\\HasNoChildren \\Subscribed) "/" "Other Users/ALICE/Work"']
    assert house.told(await house.bob.ok('LSUB "" "Other*"')) == [b'* LSUB () "/" "Other Users/ALICE/Work"']
    await house.bob.ok(f"UNSUBSCRIBE {house.work}")
    assert await house.bob.ok('LSUB "" "Other*"') == []


async def test_without_the_right_to_read_there_is_nothing_to_select(house: House) -> None:
    bob = house.bob
    for command in ("SELECT", "EXAMINE", "MYRIGHTS", "GETQUOTAROOT"):
        answer = await bob.command(f"{command} {house.work}")
        assert answer.text == b"NO [NONEXISTENT] No such mailbox", command
    await house.grant("l")
    for command in (f"SELECT {house.work}", f"STATUS {house.work} (MESSAGES)", f"GETACL {house.work}"):
        assert (await bob.command(command)).text == b"NO [NOPERM] Not permitted", command


async def test_a_reader_without_more_rights_has_it_read_only(house: House) -> None:
    await house.alice.append("Work", MAIL)
    await house.grant("lr")
    selected = await house.bob.command(f"SELECT {house.work}")
    assert selected.text == b"OK [READ-ONLY] SELECT completed"
    assert b"* OK [PERMANENTFLAGS ()] Flags that last" in selected.untagged
    (told,) = await house.bob.ok("FETCH 1 BODY[TEXT]")
    assert b"At five." in told
    assert b"\\Seen" not in told
    refused = await house.bob.command("STORE 1 +FLAGS (\\Seen)")
    assert refused.text == b"NO [READ-ONLY] The mailbox is selected read-only"


async def test_each_has_seen_what_it_has_seen(house: House, imap: Connect) -> None:
    alice, bob = house.alice, house.bob
    await alice.append("Work", MAIL)
    await alice.append("Work", MAIL, "(\\Seen)")
    await house.grant("lrs")
    selected = await bob.command(f"SELECT {house.work}")
    assert selected.text == b"OK [READ-WRITE] SELECT completed"
    assert b"* OK [PERMANENTFLAGS (\\Seen)] Flags that last" in selected.untagged
    assert await bob.ok("FETCH 1:* FLAGS") == [b"* 1 FETCH (FLAGS ())", b"* 2 FETCH (FLAGS ())"]
    await bob.ok("FETCH 1 BODY[]")
    other = await imap("bob")
    await other.ok(f"SELECT {house.work}")
    assert await other.ok("SEARCH SEEN") == [b"* SEARCH 1"]
    assert house.told(await bob.ok(f"STATUS {house.work} (UNSEEN)")) == [
        b'* STATUS "Other Users/ALICE/Work" (UNSEEN 1)'
    ]
    assert await alice.ok("STATUS Work (UNSEEN)") == [b'* STATUS "Work" (UNSEEN 1)']
    await alice.ok("SELECT Work")
    assert await alice.ok("SEARCH SEEN") == [b"* SEARCH 2"]
    # Flags of all reach all, one's own only oneself.
    await alice.ok("STORE 2 FLAGS (\\Flagged)")
    assert b"* 2 FETCH (FLAGS (\\Flagged))" in [
        re.sub(rb" ?UID \d+ ?", b"", line) for line in await bob.ok("NOOP")
    ]
    assert await other.ok("NOOP")
    assert await other.ok("FETCH 1:* FLAGS") == [
        b"* 1 FETCH (FLAGS (\\Seen))",
        b"* 2 FETCH (FLAGS (\\Flagged))",
    ]


async def test_another_session_is_told_of_one_s_own_marks(house: House, imap: Connect) -> None:
    await house.alice.append("Work", MAIL)
    await house.grant("lrs")
    other = await imap("bob")
    for client in (house.bob, other):
        await client.ok(f"SELECT {house.work}")
    await house.bob.ok("STORE 1 +FLAGS (\\Seen)")
    assert without_uids(await other.ok("NOOP")) == [b"* 1 FETCH (FLAGS (\\Seen))"]
    await house.alice.ok("SELECT Work")
    assert await house.alice.ok("FETCH 1 FLAGS") in (
        [b"* 1 FETCH (FLAGS ())"],
        [b"* 1 FETCH (FLAGS (\\Recent))"],
    )


async def test_a_guest_changes_the_flags_that_it_may(house: House) -> None:
    await house.alice.append("Work", MAIL)
    await house.grant("lrt")
    await house.bob.ok(f"SELECT {house.work}")
    assert await house.bob.ok("STORE 1 FLAGS (\\Seen \\Deleted \\Flagged)") == [
        b"* 1 FETCH (FLAGS (\\Deleted))"
    ]
    assert (await house.bob.command("STORE 1 +FLAGS (\\Seen)")).text == b"NO [NOPERM] Not permitted"
    assert (await house.bob.command("EXPUNGE")).text == b"NO [NOPERM] Not permitted"
    await house.bob.ok("CLOSE")
    assert await house.alice.ok("STATUS Work (MESSAGES DELETED)") == [
        b'* STATUS "Work" (MESSAGES 1 DELETED 1)'
    ]
    await house.grant("lrte")
    await house.bob.ok(f"SELECT {house.work}")
    assert await house.bob.ok("EXPUNGE") == [b"* 1 EXPUNGE"]


async def test_appending_takes_the_right_to_insert(house: House) -> None:
    await house.grant("lrs")
    assert (await house.bob.append(house.work, MAIL)).text == b"NO [NOPERM] Not permitted"
    await house.grant("lrsi")
    appended = await house.bob.append(house.work, MAIL, "(\\Seen \\Flagged)")
    assert appended.text.startswith(b"OK [APPENDUID ")
    await house.bob.ok(f"SELECT {house.work}")
    assert await house.bob.ok("FETCH 1 FLAGS") == [b"* 1 FETCH (FLAGS (\\Seen))"]
    await house.alice.ok("EXAMINE Work")
    assert b"\\Seen" not in (await house.alice.ok("FETCH 1 FLAGS"))[0]
    assert (
        await house.bob.append('"Other Users/nobody/INBOX"', MAIL)
    ).text == b"NO [TRYCREATE] No such mailbox"


async def test_messages_go_from_one_user_to_another(house: House) -> None:
    alice, bob = house.alice, house.bob
    await bob.append("INBOX", MAIL, "(\\Seen \\Flagged)")
    await house.grant("lrsi")
    await bob.ok("SELECT INBOX")
    copied = await bob.command(f"COPY 1 {house.work}")
    assert re.fullmatch(rb"OK \[COPYUID \d+ 1 1\] COPY completed", copied.text)
    await bob.ok(f"SELECT {house.work}")
    assert await bob.ok("FETCH 1 FLAGS") == [b"* 1 FETCH (FLAGS (\\Seen))"]
    assert (await bob.command("MOVE 1 INBOX")).text == b"NO [NOPERM] Not permitted"
    await bob.ok("COPY 1 INBOX")
    await house.grant("lrsite")
    moved = await bob.command("UID MOVE 1 INBOX")
    assert moved.ok
    assert moved.untagged[-1] == b"* 1 EXPUNGE"
    assert re.fullmatch(rb"\* OK \[COPYUID \d+ 1 3\] Moved", moved.untagged[0])
    assert await alice.ok("STATUS Work (MESSAGES)") == [b'* STATUS "Work" (MESSAGES 0)']
    await bob.ok("SELECT INBOX")
    flags = [line.replace(b" \\Recent", b"") for line in await bob.ok("FETCH 1:3 FLAGS")]
    assert flags == [
        b"* 1 FETCH (FLAGS (\\Seen \\Flagged))",
        b"* 2 FETCH (FLAGS (\\Seen))",
        b"* 3 FETCH (FLAGS (\\Seen))",
    ]


async def test_what_only_an_owner_does_is_refused(house: House) -> None:
    await house.grant("lrswipte")
    other = house.work[:-1] + '/Below"'
    for command in (
        f"CREATE {other}",
        f"DELETE {house.work}",
        f"RENAME {house.work} Mine",
        f"RENAME INBOX {other}",
        'CREATE "Other Users"',
        f"SETACL {house.work} anyone lr",
        f"LISTRIGHTS {house.work} anyone",
    ):
        assert (await house.bob.command(command)).text == b"NO [NOPERM] Not permitted", command
    assert house.told(await house.bob.ok(f"GETQUOTAROOT {house.work}")) == [
        b'* QUOTAROOT "Other Users/ALICE/Work"'
    ]


async def test_a_message_is_not_replaced_across_users(house: House) -> None:
    await house.grant("lrswite")
    await house.bob.append("INBOX", MAIL)
    await house.bob.ok("SELECT INBOX")
    octets = b"REPLACE 1 %b {%d+}\r\n%b" % (house.work.encode(), len(MAIL), MAIL)
    refused = await house.bob.command(octets)
    assert refused.text == b"NO [CANNOT] Not between mailboxes of different users"


async def test_annotations_of_a_shared_mailbox(house: House) -> None:
    await house.grant("lr")
    await house.alice.ok('SETMETADATA Work (/shared/comment "for all" /private/comment "for me")')
    told = await house.bob.ok(f"GETMETADATA {house.work} (/shared/comment /private/comment)")
    assert house.told(told) == [
        b'* METADATA "Other Users/ALICE/Work" (/shared/comment "for all" /private/comment NIL)'
    ]
    told = await house.bob.ok('LIST "" "Other Users/*/Work" RETURN (METADATA (/shared/comment))')
    assert house.told(told)[1:] == [b'* METADATA "Other Users/ALICE/Work" (/shared/comment "for all")']


async def test_who_may_not_read_any_more_is_sent_away(house: House) -> None:
    await house.alice.append("Work", MAIL)
    await house.grant("lr")
    await house.bob.ok(f"SELECT {house.work}")
    await house.grant("l")
    assert (await house.bob.rest()).startswith(b"* BYE ")


async def test_search_sort_and_new_mail_work_in_a_shared_mailbox(house: House) -> None:
    alice, bob = house.alice, house.bob
    await alice.append("Work", MAIL)
    await house.grant("lrs")
    await bob.ok(f"SELECT {house.work}")
    await alice.append("Work", MAIL.replace(b"Tea", b"Buns"))
    assert b"* 2 EXISTS" in await bob.ok("NOOP")
    assert await bob.ok("SORT (SUBJECT) UTF-8 ALL") == [b"* SORT 2 1"]
    assert await bob.ok("SEARCH BODY five SUBJECT Buns") == [b"* SEARCH 2"]
    await bob.ok("STORE 2 +FLAGS (\\Seen)")
    assert await bob.ok("SEARCH UNSEEN") == [b"* SEARCH 1"]
    (told,) = await bob.ok("FETCH 2 (ENVELOPE)")
    assert b"Buns" in told


async def test_sharing_is_offered(imap: Connect) -> None:
    alice = await imap()
    (offered,) = await alice.ok("CAPABILITY")
    assert {b"ACL", b"RIGHTS=kxte", b"LIST-MYRIGHTS"} <= set(offered.split())


async def test_guests_are_woken_in_every_process(twins: Twins) -> None:
    addresses = {name: f"{name}-{secrets.token_hex(4)}@postroom.test" for name in ("alice", "bob")}
    for address in addresses.values():
        twins.directory.add(address, "open sesame")

    async def connect(name: str, process: int) -> ImapClient:
        client = await ImapClient.connect("127.0.0.1", twins.ports[process]["imap"])
        await client.login(addresses[name], '"open sesame"')
        return client

    alice, bob, other = await connect("alice", 0), await connect("bob", 0), await connect("bob", 1)
    try:
        await alice.ok(f"SETACL INBOX {addresses['bob']} lrs")
        for client in (bob, other):
            await client.ok(f'SELECT "Other Users/{addresses["alice"]}/INBOX"')
        other.send_command("IDLE")
        assert (await other.response()).startswith(b"+ ")
        await alice.append("INBOX", MAIL)
        assert await other.response() == b"* 1 EXISTS"
        assert await other.response() == b"* 0 RECENT"
        assert b"* 1 EXISTS" in await bob.ok("NOOP")
        await bob.ok("STORE 1 +FLAGS (\\Seen)")
        assert without_uids([await other.response()]) == [b"* 1 FETCH (FLAGS (\\Seen))"]
        await alice.ok(f"DELETEACL INBOX {addresses['bob']}")
        assert (await other.response()).startswith(b"* BYE ")
    finally:
        for client in (alice, bob, other):
            await client.close()
