"""UNAUTHENTICATE (RFC 8437) against the real mail store."""

from postroom_testing.imap_client import Connect

MAIL = b"From: Ann <ann@example.org>\r\nSubject: Tea\r\n\r\nAt five.\r\n"


async def test_another_user_goes_on_with_the_connection(imap: Connect, mail_account: tuple[str, str]) -> None:
    client, other = await imap(), await imap()
    (capabilities,) = await client.ok("CAPABILITY")
    assert b"UNAUTHENTICATE" in capabilities.split()
    await client.append("INBOX", MAIL)
    await client.ok("SELECT INBOX")
    await client.ok("STORE 1 +FLAGS (\\Deleted)")
    answer = await client.command("UNAUTHENTICATE")
    assert (answer.untagged, answer.text) == ([], b"OK UNAUTHENTICATE completed")
    assert await other.ok("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 1)"]  # no CLOSE
    for command in ("SELECT INBOX", "NOOP", "UNAUTHENTICATE", "FETCH 1 FLAGS", 'LIST "" *'):
        answer = await client.command(command)
        assert answer.text.startswith(b"OK" if command == "NOOP" else b"BAD"), command
        assert not answer.untagged
    address, password = mail_account
    await client.login(address, f'"{password}"')
    assert await client.ok("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 0)"]


async def test_nothing_is_enabled_any_more(imap: Connect, mail_account: tuple[str, str]) -> None:
    client = await imap()
    await client.ok("ENABLE QRESYNC UTF8=ACCEPT UIDONLY IMAP4rev2")
    await client.ok("SELECT INBOX")
    await client.ok("UNAUTHENTICATE")
    address, password = mail_account
    await client.login(address, f'"{password}"')
    await client.ok("CREATE &ZeVnLIqe-")
    assert await client.ok('LIST "" &ZeVn*') == [b'* LIST (\\HasNoChildren) "/" "&ZeVnLIqe-"']
    await client.append("INBOX", MAIL)
    told = await client.ok("SELECT INBOX")
    assert b"* 1 RECENT" in told
    assert await client.ok("FETCH 1 FLAGS") == [b"* 1 FETCH (FLAGS (\\Recent))"]
    assert await client.ok("STORE 1 +FLAGS.SILENT (\\Seen)") == []
    assert (await client.command("SELECT INBOX (QRESYNC (1 1))")).text.startswith(b"BAD ")


async def test_the_next_login_may_come_at_once(imap: Connect, mail_account: tuple[str, str]) -> None:
    client = await imap()
    address, password = mail_account
    first = client.send_command("UNAUTHENTICATE")
    second = client.send_command(f'LOGIN {address} "{password}"')
    third = client.send_command("STATUS INBOX (MESSAGES)")
    assert (await client.answer(first)).ok
    assert (await client.answer(second)).ok
    assert (await client.answer(third)).ok


async def test_before_the_login_it_is_refused_and_not_offered(imap: Connect) -> None:
    client = await imap(None)
    assert b"UNAUTHENTICATE" not in client.greeting
    assert (await client.command("UNAUTHENTICATE")).text.startswith(b"BAD ")
