"""NOTIFY (RFC 5465) against the real mail store: mailboxes that are not selected."""

import asyncio
import gc
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import pytest

from mail_access import watching
from postroom.mailstore.v1 import mailbox_pb2
from postroom.mailstore.v1.mailbox_pb2_grpc import MailboxServiceStub
from postroom_contracts.capability import Scope
from postroom_runtime.grpc_client import channel, on_behalf_of
from postroom_testing.imap_client import Connect, ImapClient
from postroom_testing.small_directory_service import Account, SmallDirectory

MAIL = b"From: Ann <ann@example.org>\r\nSubject: Tea\r\n\r\nAt five.\r\n"
COUNTS = "MessageNew MessageExpunge"
ALL = f"({COUNTS} FlagChange)"
NAMES = "(MailboxName SubscriptionChange)"


async def comes(client: ImapClient, *lines: bytes) -> None:
    """These come without a command, and nothing else before a NOOP's end."""
    assert [await client.response() for _ in lines] == list(lines)
    assert await client.ok("NOOP") == []


def without_modseq(line: bytes) -> bytes:
    return re.sub(rb"HIGHESTMODSEQ \d+", b"HIGHESTMODSEQ n", line)


async def address_of(client: ImapClient) -> str:
    (told,) = await client.ok("GETACL INBOX")
    return told.split()[3].decode()


@pytest.fixture
async def alice(imap: Connect) -> ImapClient:
    """Her account has Work besides the usual mailboxes."""
    alice = await imap()
    await alice.ok("CREATE Work")
    return alice


@pytest.fixture
async def other(alice: ImapClient, imap: Connect) -> ImapClient:
    """Another session of hers."""
    return await imap()


async def test_status_is_told_at_first_and_with_each_change(alice: ImapClient, other: ImapClient) -> None:
    (validity,) = re.findall(rb"UIDVALIDITY (\d+)", (await alice.ok("STATUS Work (UIDVALIDITY)"))[0])
    lines = await alice.ok(f"NOTIFY SET STATUS (mailboxes (Work Nowhere) {ALL})")
    assert [without_modseq(line) for line in lines] == [
        b'* STATUS "Work" (MESSAGES 0 UIDNEXT 1 HIGHESTMODSEQ n UIDVALIDITY ' + validity + b")"
    ]
    tail = b" UIDVALIDITY " + validity + b")"
    assert (await other.append("Work", MAIL)).ok
    await comes(alice, b'* STATUS "Work" (MESSAGES 1 UIDNEXT 2 UNSEEN 1' + tail)
    await other.ok("SELECT Work")
    await other.ok("STORE 1 +FLAGS (\\Flagged)")  # changes nothing that STATUS tells without CONDSTORE
    await other.ok("STORE 1 +FLAGS (\\Seen \\Deleted)")
    await comes(alice, b'* STATUS "Work" (UNSEEN 0' + tail)
    await other.ok("EXPUNGE")
    await comes(alice, b'* STATUS "Work" (MESSAGES 0 UIDNEXT 2' + tail)
    assert (await other.append("Sent", MAIL)).ok
    assert await alice.ok("NOTIFY SET (inboxes " + ALL + ")") == []
    assert (await other.append("Work", MAIL)).ok
    assert (await other.append("INBOX", MAIL)).ok
    assert (await alice.response()).startswith(b"* STATUS INBOX (MESSAGES 1 UIDNEXT 2 UNSEEN 1 ")


async def test_clients_of_condstore_are_told_modseqs(alice: ImapClient, other: ImapClient) -> None:
    assert (await other.append("Work", MAIL)).ok
    await alice.ok("ENABLE CONDSTORE")
    await alice.ok(f"NOTIFY SET (personal {ALL})")
    await other.ok("SELECT Work")
    await other.ok("STORE 1 +FLAGS (\\Flagged)")
    line = await alice.response()
    assert re.fullmatch(rb'\* STATUS "Work" \(HIGHESTMODSEQ \d+ UIDVALIDITY \d+\)', line)
    await alice.ok(f"NOTIFY SET (personal ({COUNTS}))")
    await other.ok("STORE 1 -FLAGS (\\Flagged)")
    assert (await other.append("Work", MAIL)).ok
    line = await alice.response()
    assert re.fullmatch(rb'\* STATUS "Work" \(MESSAGES 2 UIDNEXT 3 HIGHESTMODSEQ \d+ UIDVALIDITY \d+\)', line)


async def test_the_selected_mailbox_is_told_of_as_selected_only(alice: ImapClient, other: ImapClient) -> None:
    await alice.ok("SELECT Work")
    lines = await alice.ok(f"NOTIFY SET STATUS (selected ({COUNTS})) (mailboxes (INBOX Work) ({COUNTS}))")
    assert [line.split()[2] for line in lines] == [b"INBOX"]
    assert (await other.append("Work", MAIL)).ok
    assert await alice.response() == b"* 1 EXISTS"
    lines = await alice.ok("UNSELECT")
    assert (await other.append("Work", MAIL)).ok
    while not lines or b"MESSAGES 2 UIDNEXT 3 " not in lines[-1]:  # the first one may be told late
        lines.append(await alice.response())
        assert lines[-1].startswith(b'* STATUS "Work" (')


async def test_mail_that_is_delivered_is_told_of_by_each_process(
    own_imap: Connect,
    own_twin: Connect,
    own_directory: SmallDirectory,
    deliver: Callable[[Account, bytes], Awaitable[None]],
) -> None:
    account = own_directory.add("erin@postroom.test", "secret")
    clients = [await own_imap(None), await own_twin(None), await own_imap(None)]
    for client in clients:
        await client.login(account.address, account.password)
    watches, selects, works = clients
    await selects.ok("ENABLE IMAP4rev2")
    await selects.ok("SELECT INBOX")
    await watches.ok(f"NOTIFY SET (inboxes ({COUNTS}))")
    of_selected = "(selected (MessageNew (UID) MessageExpunge))"
    await selects.ok(f"NOTIFY SET {of_selected} (personal ({COUNTS} MailboxName))")
    await deliver(account, MAIL)
    assert (await watches.response()).startswith(b"* STATUS INBOX (MESSAGES 1 UIDNEXT 2 ")
    await comes(selects, b"* 1 EXISTS", b"* 1 FETCH (UID 1)")
    await works.ok("CREATE Work")
    assert await selects.response() == b'* LIST (\\HasNoChildren) "/" "Work"'
    assert (await works.append("Work", MAIL)).ok
    assert (await selects.response()).startswith(b'* STATUS "Work" (MESSAGES 1 UIDNEXT 2 ')


async def test_an_idle_client_is_told_the_same(alice: ImapClient, other: ImapClient) -> None:
    await alice.ok(f"NOTIFY SET (personal {NAMES})")
    tag = alice.send_command("IDLE")
    assert (await alice.response()).startswith(b"+ ")
    await other.ok("CREATE Tea")
    assert await alice.response() == b'* LIST (\\HasNoChildren) "/" "Tea"'
    alice.send(b"DONE\r\n")
    assert (await alice.answer(tag)).untagged == []


async def test_names_are_told_with_what_is_above_them(alice: ImapClient, other: ImapClient) -> None:
    await alice.ok("NOTIFY SET (subtree (Work Play) (MailboxName))")
    await other.ok("CREATE Elsewhere")
    await other.ok("CREATE Work/Tea")
    await comes(alice, b'* LIST (\\HasNoChildren) "/" "Work/Tea"', b'* LIST (\\HasChildren) "/" "Work"')
    await other.ok("RENAME Work Play")
    await comes(alice, b'* LIST (\\HasChildren) "/" "Play" ("OLDNAME" ("Work"))')
    await other.ok("RENAME Play/Tea Play/Cake")
    await comes(alice, b'* LIST (\\HasNoChildren) "/" "Play/Cake" ("OLDNAME" ("Play/Tea"))')
    await other.ok("DELETE Play")
    await comes(alice, b'* LIST (\\NonExistent \\Noselect \\HasChildren) "/" "Play"')
    await other.ok("DELETE Play/Cake")
    await comes(
        alice,
        b'* LIST (\\NonExistent \\Noselect \\HasNoChildren) "/" "Play/Cake"',
        b'* LIST (\\NonExistent \\Noselect \\HasNoChildren) "/" "Play"',
    )


async def test_of_a_renamed_inbox_its_new_name_is_told(alice: ImapClient, other: ImapClient) -> None:
    assert (await other.append("INBOX", MAIL)).ok
    await alice.ok("NOTIFY SET (personal (MailboxName))")
    await other.ok("RENAME INBOX Old")
    await comes(alice, b'* LIST (\\HasNoChildren) "/" "Old" ("OLDNAME" (INBOX))')


async def test_subscriptions_are_told_and_followed(alice: ImapClient, other: ImapClient) -> None:
    assert (await other.append("Work", MAIL)).ok
    await alice.ok(f"NOTIFY SET (subscribed ({COUNTS} SubscriptionChange))")
    await other.ok("SUBSCRIBE Work")
    await comes(alice, b'* LIST (\\HasNoChildren \\Subscribed) "/" "Work"')
    assert (await other.append("Work", MAIL)).ok
    assert (await alice.response()).startswith(b'* STATUS "Work" (MESSAGES 2 UIDNEXT 3 ')
    await other.ok("SUBSCRIBE Nowhere")
    await comes(alice, b'* LIST (\\NonExistent \\Noselect \\HasNoChildren \\Subscribed) "/" "Nowhere"')
    await other.ok("UNSUBSCRIBE Work")
    await comes(alice, b'* LIST (\\HasNoChildren) "/" "Work"')
    assert (await other.append("Work", MAIL)).ok
    await other.ok("UNSUBSCRIBE Nowhere")
    await comes(alice, b'* LIST (\\NonExistent \\Noselect \\HasNoChildren) "/" "Nowhere"')


async def test_new_uid_validities_are_told(
    own_imap: Connect, own_directory: SmallDirectory, own_sockets: Path
) -> None:
    alice = await own_imap()
    assert (await alice.append("INBOX", MAIL)).ok
    (before,) = await alice.ok("STATUS INBOX (UIDVALIDITY)")
    await alice.ok(f"NOTIFY SET (inboxes {ALL})")
    admin = own_directory.capability(own_directory.add("root@postroom.test"), Scope.ADMIN)
    async with channel(f"unix:{own_sockets / 'mailstore.sock'}", "webmail-api") as joined:
        request = mailbox_pb2.RenewUidValidityRequest()
        await MailboxServiceStub(joined).RenewUidValidity(request, metadata=on_behalf_of(admin))
    (told,) = re.findall(rb"UIDVALIDITY (\d+)", await alice.response())
    assert int(told) > int(re.findall(rb"UIDVALIDITY (\d+)", before)[0])


async def test_the_names_of_annotations_are_told(alice: ImapClient, other: ImapClient) -> None:
    await other.ok('SETMETADATA Work (/private/comment "tea")')
    await alice.ok("NOTIFY SET (mailboxes Work (MailboxMetadataChange ServerMetadataChange))")
    await other.ok('SETMETADATA Work (/shared/comment "cake" /private/other "x")')
    await comes(alice, b'* METADATA "Work" /private/other /shared/comment')
    await other.ok('SETMETADATA INBOX (/shared/comment "cake")')
    await other.ok("SETMETADATA Work (/private/comment NIL)")
    await comes(alice, b'* METADATA "Work" /private/comment')
    await other.ok('SETMETADATA "" (/private/comment "mine")')
    await comes(alice, b'* METADATA "" /private/comment')
    await alice.ok("NOTIFY SET (mailboxes Work (MailboxMetadataChange)) (personal (MailboxName))")
    await other.ok('SETMETADATA "" (/private/comment NIL)')
    await other.ok('SETMETADATA Work (/private/specialuse "\\\\Archive")')
    await comes(alice, b'* METADATA "Work" /private/specialuse')


async def test_own_changes_are_not_told(alice: ImapClient, other: ImapClient) -> None:
    events = f"{COUNTS} FlagChange MailboxName SubscriptionChange MailboxMetadataChange ServerMetadataChange"
    for client in (alice, other):
        await client.ok("ENABLE CONDSTORE")
        await client.ok(f"NOTIFY SET (personal ({events}))")
    for command in (
        "APPEND INBOX {2+}\r\n\r\n",
        "CREATE Tea",
        "RENAME Tea Cake",
        "SUBSCRIBE Cake",
        'SETMETADATA Cake (/shared/comment "x")',
        'SETMETADATA "" (/private/comment "x")',
        "DELETE Cake",
        "UNSUBSCRIBE Cake",
        "SELECT INBOX",
        "COPY 1 Work",
        "STORE 1 +FLAGS.SILENT (\\Deleted)",
        "CLOSE",
    ):
        lines = await alice.ok(command)
        if command.startswith("SELECT"):
            continue
        assert not any(line.startswith((b"* LIST", b"* STATUS", b"* METADATA")) for line in lines), command
        await other.response()  # so alice was given the news, too
        await other.ok("NOOP")
        assert not any(b"STATUS" in line or b"LIST" in line for line in await alice.ok("NOOP")), command
    await other.ok("CREATE End")
    assert await alice.response() == b'* LIST (\\HasNoChildren) "/" "End"'


async def test_they_are_told_of_as_far_as_the_user_may_know(imap: Connect) -> None:
    alice, bob = await imap("alice"), await imap("bob")
    for name in ("Open", "Closed", "Hidden"):
        await alice.ok(f"CREATE {name}")
        assert (await alice.append(name, MAIL)).ok
    owner, guest = await address_of(alice), await address_of(bob)
    top = f"Other Users/{owner}"
    await alice.ok(f"SETACL Open {guest} lr")
    await alice.ok(f"SETACL Closed {guest} l")
    await alice.ok(f"SETACL Hidden {guest} r")
    lines = await bob.ok(f'NOTIFY SET STATUS (subtree "Other Users" ({COUNTS})) (personal (MailboxName))')
    lines = [line.replace(owner.encode(), b"ALICE") for line in lines]
    assert sorted(re.sub(rb"UIDVALIDITY \d+", b"UIDVALIDITY n", line) for line in lines) == [
        b'* LIST (\\NoAccess \\Noselect \\HasNoChildren) "/" "Other Users/ALICE/Closed"',
        b'* STATUS "Other Users/ALICE/Open" (MESSAGES 1 UIDNEXT 2 UIDVALIDITY n)',
    ]
    for name in ("Hidden", "Closed", "Open"):
        assert (await alice.append(name, MAIL)).ok
    assert (await bob.response()).startswith(f'* STATUS "{top}/Open" (MESSAGES 2 '.encode())
    assert await bob.ok("NOOP") == []


async def test_rights_that_come_and_go_are_told(imap: Connect) -> None:
    alice, bob = await imap("alice"), await imap("bob")
    await alice.ok("CREATE Work")
    owner, guest = await address_of(alice), await address_of(bob)
    name = f'"Other Users/{owner}/Work"'.encode()
    await alice.ok(f"SETACL Work {guest} lr")
    await bob.ok(f"NOTIFY SET (mailboxes {name.decode()} ({COUNTS}))")
    await alice.ok(f"SETACL Work {guest} -r")
    await comes(bob, b'* LIST (\\NoAccess \\Noselect \\HasNoChildren) "/" ' + name)
    assert (await alice.append("Work", MAIL)).ok
    await alice.ok(f"SETACL Work {guest} +r")
    assert await bob.response() == b'* LIST (\\HasNoChildren) "/" ' + name
    assert (await bob.response()).startswith(b"* STATUS " + name + b" (MESSAGES 1 ")
    await alice.ok(f"DELETEACL Work {guest}")
    await comes(bob, b'* LIST (\\NoAccess) "/" ' + name)
    await alice.ok(f"SETACL Work {guest} lr")
    assert await bob.response() == b'* LIST (\\HasNoChildren) "/" ' + name


async def test_a_right_to_look_up_makes_a_mailbox(imap: Connect) -> None:
    alice, bob = await imap("alice"), await imap("bob")
    await alice.ok("CREATE Work")
    owner, guest = await address_of(alice), await address_of(bob)
    name = f'"Other Users/{owner}/Work"'.encode()
    await bob.ok(f"NOTIFY SET (mailboxes {name.decode()} (MailboxName {COUNTS}))")
    await alice.ok(f"SETACL Work {guest} lr")
    await comes(bob, b'* LIST (\\HasNoChildren) "/" ' + name)
    await alice.ok(f"DELETEACL Work {guest}")
    await comes(bob, b'* LIST (\\NonExistent \\Noselect \\HasNoChildren) "/" ' + name)


async def test_too_many_mailboxes_are_refused(own_imap: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = await own_imap()
    await alice.ok('LIST "" *')
    monkeypatch.setattr(watching, "MAX_MAILBOXES", 6)
    other = await own_imap()
    await alice.ok("NOTIFY SET (personal (MailboxName))")
    await other.ok("CREATE Seventh")
    assert await alice.response() == b"* OK [NOTIFICATIONOVERFLOW] Too much to notify of"
    await other.ok("CREATE Eighth")
    answer = await alice.command("NOTIFY SET (personal (MailboxName))")
    assert answer.untagged == []
    assert answer.text == b"NO [NOTIFICATIONOVERFLOW] Too many mailboxes to notify of"
    await alice.ok(f"NOTIFY SET (selected ({COUNTS}))")  # which needs no mailboxes


async def test_news_that_is_not_read_is_not_kept_for_ever(
    own_imap: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, other = await own_imap(), await own_imap()
    await alice.ok("NOTIFY SET (personal (MailboxName))")
    monkeypatch.setattr(watching, "MAX_NEWS", 0)
    await other.ok("CREATE Tea")
    assert await alice.response() == b"* OK [NOTIFICATIONOVERFLOW] Too much to notify of"
    monkeypatch.undo()
    await alice.ok("NOTIFY SET (personal (MailboxName))")
    await other.ok("CREATE Cake")
    await comes(alice, b'* LIST (\\HasNoChildren) "/" "Cake"')


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing wakes a watch but the comparison with the store, which comes often."""

    async def check_often(watches: watching.Watches) -> None:
        while True:
            await asyncio.sleep(0.05)
            await watches.check()

    def elsewhere(account_id: UUID) -> str:
        return f"postroom.test.{account_id}"

    monkeypatch.setattr(watching, "changed_subject", elsewhere)
    monkeypatch.setattr(watching.Watches, "_check_periodically", check_often)


@pytest.mark.usefixtures("deaf")
async def test_wake_ups_that_are_lost_are_made_good(own_imap: Connect) -> None:
    alice, other = await own_imap(), await own_imap()
    await alice.ok("NOTIFY SET (personal (MailboxName))")
    await other.ok("CREATE Tea")
    assert await alice.response() == b'* LIST (\\HasNoChildren) "/" "Tea"'


def watched() -> int:
    """Users in all catalogues of this process."""
    return sum(each.users for each in gc.get_objects() if isinstance(each, watching.Watches))


async def test_nobody_is_watched_for_longer_than_asked(own_imap: Connect) -> None:
    before = watched()
    alice, other = await own_imap(), await own_imap()
    await alice.ok("NOTIFY SET (personal (MailboxName))")
    await other.ok("NOTIFY SET (personal (MailboxName))")
    assert watching._WATCHED._value.get() == before + 1  # pyright: ignore[reportPrivateUsage]
    await alice.ok("UNAUTHENTICATE")
    await other.ok("NOTIFY NONE")
    assert watching._WATCHED._value.get() == before  # pyright: ignore[reportPrivateUsage]
