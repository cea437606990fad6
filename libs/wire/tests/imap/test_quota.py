"""GETQUOTA, GETQUOTAROOT and SETQUOTA (RFC 9208)."""

import pytest

from postroom_wire.imap.errors import BAD_MAILBOX_NAME, SYNTAX_ERROR, TOO_MANY_ITEMS, RemoteProtocolError
from postroom_wire.imap.mailbox_name import MailboxName
from postroom_wire.imap.parser import parse_command
from postroom_wire.imap.quota import (
    GetQuota,
    GetQuotaRoot,
    Resource,
    ResourceUsage,
    SetQuota,
    quota,
    quota_root,
)

COMMANDS = {
    b'GETQUOTA "!partition/sda4"': GetQuota(b"!partition/sda4"),
    b'getquota ""': GetQuota(b""),
    b"GETQUOTAROOT inbox": GetQuotaRoot(MailboxName("INBOX")),
    b'SETQUOTA "#user/alice" (STORAGE 510)': SetQuota(b"#user/alice", ((b"STORAGE", 510),)),
    b'SETQUOTA "" ()': SetQuota(b"", ()),
    b'SETQUOTA "" (message 0 Mailbox 9223372036854775807)': SetQuota(
        b"", ((b"MESSAGE", 0), (b"MAILBOX", 2**63 - 1))
    ),
}
REFUSED = {
    b"GETQUOTA": SYNTAX_ERROR,
    b"GETQUOTA a b": SYNTAX_ERROR,
    b"GETQUOTAROOT a//b": BAD_MAILBOX_NAME,
    b'SETQUOTA ""': SYNTAX_ERROR,
    b'SETQUOTA "" (STORAGE)': SYNTAX_ERROR,
    b'SETQUOTA "" (STORAGE -1)': SYNTAX_ERROR,
    b'SETQUOTA "" (STORAGE 9223372036854775808)': SYNTAX_ERROR,
    b'SETQUOTA "" (STORAGE ' + b"9" * 5_000 + b")": SYNTAX_ERROR,
    b'SETQUOTA "" (STORAGE 1': SYNTAX_ERROR,
    b'SETQUOTA "" (' + b" ".join([b"A 1"] * 17) + b")": TOO_MANY_ITEMS,
}


@pytest.mark.parametrize("text", COMMANDS)
def test_commands_are_read(text: bytes) -> None:
    assert parse_command(b"a " + text).command == COMMANDS[text]


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_command_is_refused(text: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        parse_command(b"a " + text)
    assert refused.value.refusal is REFUSED[text]


def test_responses_have_the_form_of_the_rfc() -> None:
    usages = [ResourceUsage(Resource.STORAGE, 10, 512), ResourceUsage(Resource.MESSAGE, 42, 1_000)]
    assert quota(b"", usages) == b'* QUOTA "" (STORAGE 10 512 MESSAGE 42 1000)\r\n'
    assert quota(b"#user/alice", ()) == b"* QUOTA #user/alice ()\r\n"
    assert quota_root(MailboxName("INBOX"), [b""]) == b'* QUOTAROOT INBOX ""\r\n'
    assert quota_root(MailboxName("a"), ()) == b'* QUOTAROOT "a"\r\n'
