"""An administrator renews UIDVALIDITYs: no session goes on with UIDs that are no more (RFC 3501 s2.3.1.1)."""

import re
from pathlib import Path

from postroom.mailstore.v1 import mailbox_pb2
from postroom.mailstore.v1.mailbox_pb2_grpc import MailboxServiceStub
from postroom_contracts.capability import Scope
from postroom_runtime.grpc_client import channel, on_behalf_of
from postroom_testing.imap_client import Connect, ImapClient
from postroom_testing.small_directory_service import SmallDirectory

HELLO = b"Subject: hello\r\n\r\nHello.\r\n"


async def validity(client: ImapClient) -> int:
    lines = await client.ok("SELECT INBOX")
    (found,) = [match[1] for line in lines if (match := re.search(rb"\[UIDVALIDITY (\d+)\]", line))]
    return int(found)


async def test_sessions_at_renewed_mailboxes_are_sent_away_and_find_the_mail_when_they_come_again(
    own_imap: Connect, own_directory: SmallDirectory, own_sockets: Path
) -> None:
    alice, phone = await own_imap(), await own_imap()
    await alice.append("INBOX", HELLO)
    before = await validity(phone)
    phone.send_command("IDLE")
    assert (await phone.response()).startswith(b"+")
    admin = own_directory.capability(own_directory.add("root@postroom.test"), Scope.ADMIN)
    async with channel(f"unix:{own_sockets / 'mailstore.sock'}", "webmail-api") as joined:
        request = mailbox_pb2.RenewUidValidityRequest()
        stub = MailboxServiceStub(joined)
        renewed = await stub.RenewUidValidity(request, metadata=on_behalf_of(admin))
    assert (renewed.accounts, renewed.mailboxes) == (1, 6)
    bye = b"* BYE The selected mailbox has a new UIDVALIDITY, connect again"
    assert await phone.response() == bye
    again = await own_imap()
    assert await validity(again) > before
    assert await again.ok("UID FETCH 1 (UID)") == [b"* 1 FETCH (UID 1)"]
