"""SETACL, DELETEACL, GETACL, LISTRIGHTS and MYRIGHTS (RFC 4314), MYRIGHTS in LIST (RFC 8440)."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.imap.acl import (
    ALL_RIGHTS,
    NO_RIGHTS,
    DeleteAcl,
    GetAcl,
    ListRights,
    MyRights,
    Rights,
    SetAcl,
    acl,
    encode_rights,
    list_rights,
    my_rights,
)
from postroom_wire.imap.commands import List, ListReturn
from postroom_wire.imap.errors import BAD_MAILBOX_NAME, SYNTAX_ERROR, RemoteProtocolError
from postroom_wire.imap.mailbox_name import MailboxName
from postroom_wire.imap.parser import parse_command

INBOX = MailboxName("INBOX")
READING = Rights.LOOKUP | Rights.READ
DELETE = Rights.DELETE_MESSAGES | Rights.EXPUNGE
CREATE = Rights.CREATE | Rights.DELETE_MAILBOX

COMMANDS = {
    b"SETACL INBOX ann@example.org lr": SetAcl(INBOX, "ann@example.org", READING),
    b"setacl INBOX/Drafts Chris +cda": SetAcl(
        MailboxName("INBOX/Drafts"), "Chris", CREATE | DELETE | Rights.ADMINISTER, 1
    ),
    b'SETACL INBOX anyone "-rr"': SetAcl(INBOX, "anyone", Rights.READ, -1),
    b'SETACL INBOX anyone ""': SetAcl(INBOX, "anyone", NO_RIGHTS),
    b"SETACL INBOX anyone +": SetAcl(INBOX, "anyone", NO_RIGHTS, 1),
    b"SETACL INBOX anyone lrswipkxtea": SetAcl(INBOX, "anyone", ALL_RIGHTS),
    b'SETACL INBOX "I\xc2\xadX" d': SetAcl(INBOX, "IX", DELETE),
    b"DELETEACL INBOX -fred": DeleteAcl(INBOX, "-fred"),
    b"GETACL inbox": GetAcl(INBOX),
    b'LISTRIGHTS INBOX "sm\xc3\xadth"': ListRights(INBOX, "smíth", "smíth".encode()),
    b"MYRIGHTS INBOX": MyRights(INBOX),
    b'LIST "" % RETURN (MYRIGHTS)': List(
        b"", (b"%",), returns=frozenset({ListReturn.MYRIGHTS}), extended=True
    ),
}
REFUSED = {
    b"SETACL INBOX John lrQswicda": SYNTAX_ERROR,
    b"SETACL INBOX John lrqswicda": SYNTAX_ERROR,
    b"SETACL INBOX John lr0": SYNTAX_ERROR,
    b"SETACL INBOX John ++l": SYNTAX_ERROR,
    b"SETACL INBOX John": SYNTAX_ERROR,
    b'SETACL INBOX "" lr': SYNTAX_ERROR,
    b'SETACL INBOX "\xff" lr': SYNTAX_ERROR,
    b'SETACL INBOX "a\x07" lr': SYNTAX_ERROR,
    b'SETACL INBOX "\xc2\xad" lr': SYNTAX_ERROR,
    b"DELETEACL INBOX": SYNTAX_ERROR,
    b"GETACL": SYNTAX_ERROR,
    b"MYRIGHTS a//b": BAD_MAILBOX_NAME,
    b"LISTRIGHTS INBOX": SYNTAX_ERROR,
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
    entries = [("ann@example.org", ALL_RIGHTS), ("anyone", READING), ("smíth", Rights.EXPUNGE)]
    told = acl(INBOX, entries)
    assert told == (b"* ACL INBOX ann@example.org lrswipkxteacd anyone lr {6}\r\nsm\xc3\xadth ed\r\n")
    assert my_rights(MailboxName("a"), NO_RIGHTS) == b'* MYRIGHTS "a" ""\r\n'
    optional = READING | Rights.DELETE_MESSAGES
    assert list_rights(INBOX, b"anyone", NO_RIGHTS, optional) == (b'* LISTRIGHTS INBOX anyone "" l r t d\r\n')
    assert list_rights(INBOX, b"a b", ALL_RIGHTS, NO_RIGHTS) == (
        b'* LISTRIGHTS INBOX "a b" lrswipkxteacd\r\n'
    )


@given(st.integers(0, 2_047).map(Rights))
def test_rights_that_are_told_can_be_set(rights: Rights) -> None:
    command = parse_command(b"a SETACL INBOX x " + encode_rights(rights)).command
    assert isinstance(command, SetAcl)
    # What older clients are told stands for a little more than they had (s2.1.1).
    assert command.rights & rights == rights
    assert not (command.rights & ~rights) & ~(CREATE | DELETE)


@given(st.binary(max_size=60))
def test_any_octets_are_a_command_or_refused(octets: bytes) -> None:
    for head in (b"a SETACL INBOX ", b"a LISTRIGHTS ", b"a MYRIGHTS "):
        with suppress(RemoteProtocolError):
            parse_command(head + octets)
