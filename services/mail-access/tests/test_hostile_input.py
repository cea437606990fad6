"""What is meant to hurt: sizes, sets, names, states and charsets that no honest client sends."""

import pytest

from postroom_testing.imap_client import Connect, ImapClient

MAIL = b"From: Ann <ann@example.org>\r\nSubject: Tea\r\n\r\nAt five.\r\n"
ALL_UIDS = "1:4294967295,*:1"


@pytest.mark.parametrize("size", [2**32, 2**32 - 1, 2**63, 10**40])
async def test_a_literal_of_gigabytes_is_refused_when_it_is_announced(imap: Connect, size: int) -> None:
    stranger, alice = await imap(None), await imap()
    for client, commands in (
        (stranger, ("LOGIN", "AUTHENTICATE PLAIN", "NOOP", "APPEND INBOX")),
        (alice, ("SELECT", "SEARCH TEXT", "NOOP", "APPEND INBOX")),
    ):
        for command in commands:
            client.send(f"a {command} {{{size}}}\r\n".encode())
            answer = await client.response()
            assert answer.startswith((b"a BAD ", b"a NO [TOOBIG]")), answer
        assert (await client.command("NOOP")).ok


@pytest.mark.parametrize("command", ["LOGIN {4294967296+}", "APPEND INBOX {4294967296+}"])
async def test_gigabytes_that_are_sent_unasked_end_the_connection(imap: Connect, command: str) -> None:
    stranger = await imap(None)
    stranger.send(f"a {command}\r\n".encode())
    last = (await stranger.rest()).splitlines()
    assert last[-1].startswith(b"* BYE ")


async def test_before_login_a_literal_has_8_kib(imap: Connect) -> None:
    stranger = await imap(None)
    stranger.send(b"a LOGIN {8193}\r\n")
    assert (await stranger.response()).startswith(b"a BAD [TOOBIG]")
    stranger.send(b"b LOGIN {8192}\r\n")
    assert (await stranger.response()).startswith(b"+ ")


async def test_a_line_of_64_kib_is_taken_and_no_longer_one(imap: Connect) -> None:
    alice = await imap()
    await alice.append("INBOX", MAIL)
    await alice.ok("SELECT INBOX")
    command = "a UID FETCH " + "1," * 32_758 + "1 FLAGS"
    assert 65_530 < len(command) < 65_536
    alice.send(command.encode() + b"\r\n")
    assert await alice.response() == b"* 1 FETCH (UID 1 FLAGS (\\Recent))"
    assert (await alice.response()).startswith(b"a OK ")
    alice.send(b"b UID FETCH " + b"1," * 32_770 + b"1 FLAGS\r\n")
    assert (await alice.response()).startswith(b"b BAD [TOOBIG]")
    assert (await alice.command("NOOP")).ok


@pytest.mark.parametrize(
    "command",
    [
        "SEARCH " + "(" * 33 + "ALL" + ")" * 33,
        "SEARCH " + "NOT " * 33 + "ALL",
        "SEARCH " + "(" * 60_000,
        "SORT (DATE) UTF-8 " + "OR ALL " * 33 + "ALL",
        "FETCH 1 BODY[" + "1." * 70 + "1]",
        "LIST (" + "(" * 40,
    ],
)
async def test_nesting_has_an_end(imap: Connect, command: str) -> None:
    alice = await imap()
    await alice.append("INBOX", MAIL)
    await alice.ok("SELECT INBOX")
    assert (await alice.command(command)).text.startswith(b"BAD ")
    await alice.ok("NOOP")


async def _doubled(alice: ImapClient, times: int) -> None:
    await alice.append("INBOX", MAIL)
    await alice.ok("SELECT INBOX")
    for _ in range(times):
        await alice.ok("COPY 1:* INBOX")


async def test_sets_of_all_numbers_cost_no_more_than_the_mailbox(imap: Connect) -> None:
    alice = await imap()
    await _doubled(alice, 12)
    overlapping = ",".join([ALL_UIDS] * 3_000)
    for numbers in (ALL_UIDS, overlapping):
        found = await alice.ok(f"UID FETCH {numbers} UID")
        assert len(found) == 4_096
        (counted,) = await alice.ok(f"UID SEARCH RETURN (COUNT) UID {numbers}")
        assert counted.endswith(b" UID COUNT 4096")
    assert (await alice.command(f"FETCH {ALL_UIDS} UID")).text.startswith(b"BAD ")
    assert (await alice.command(f"STORE {ALL_UIDS} +FLAGS (\\Seen)")).text.startswith(b"BAD ")
    assert len(await alice.ok(f"UID STORE {overlapping} +FLAGS (\\Seen)")) == 4_096
    await alice.ok(f"UID COPY {overlapping} Archive")
    (status,) = await alice.ok("STATUS Archive (MESSAGES)")
    assert status == b'* STATUS "Archive" (MESSAGES 4096)'


async def test_ten_commands_with_literals_at_once_are_answered_in_order(imap: Connect) -> None:
    alice = await imap()
    octets = b"".join(
        b"c%d CREATE {%d+}\r\nbox-%d\r\nl%d LIST {0+}\r\n {%d+}\r\nbox-%d\r\n" % (at, 5, at, at, 5, at)
        for at in range(10)
    )
    alice.send(octets)
    for at in range(10):
        assert (await alice.response()).startswith(b"c%d OK " % at)
        assert b'"box-%d"' % at in await alice.response()
        assert (await alice.response()).startswith(b"l%d OK " % at)


LOGGED_IN = [
    "SELECT INBOX",
    'LIST "" *',
    "STATUS INBOX (MESSAGES)",
    "IDLE",
    "ENABLE CONDSTORE",
    'GETQUOTA ""',
]
SELECTED = [
    *("FETCH 1 FLAGS", "UID FETCH 1 FLAGS", "STORE 1 FLAGS ()", "SEARCH ALL", "SORT (DATE) UTF-8 ALL"),
    *(
        "THREAD REFERENCES UTF-8 ALL",
        "COPY 1 x",
        "MOVE 1 x",
        "EXPUNGE",
        "UID EXPUNGE 1",
        "CHECK",
        "CLOSE",
        "UNSELECT",
    ),
]
STRANGER = ["LOGIN a b", "AUTHENTICATE PLAIN", "STARTTLS"]


async def test_commands_of_another_state_are_bad(imap: Connect) -> None:
    stranger, alice, selected = await imap(None), await imap(), await imap()
    await selected.ok("SELECT INBOX")
    for client, commands in (
        (stranger, LOGGED_IN + SELECTED),
        (alice, STRANGER + SELECTED),
        (selected, STRANGER),
    ):
        for command in commands:
            answer = await client.command(command)
            assert answer.text == b"BAD Command not allowed in this state", command
        assert (await client.command("NOOP")).ok


@pytest.mark.parametrize(
    "name", ["&Jjo", "&Jjo!", "&AGE-", "&2D0-", "&-&", "&AAA-", "a&b", "&,,-", "&AOk-&AOk-"]
)
async def test_wrong_modified_utf_7_is_no_name(imap: Connect, name: str) -> None:
    alice = await imap()
    for command in (f"CREATE {name}", f"SELECT {name}", f"SUBSCRIBE {name}", f"RENAME Sent {name}"):
        answer = await alice.command(command)
        assert answer.text.startswith((b"NO [CANNOT]", b"BAD ")), command
    assert len(await alice.ok('LIST "" *')) == 6


HOSTILE = [
    *(
        "..",
        "../x",
        "x/../y",
        ".",
        "~",
        "~root",
        "#news",
        "a\\b",
        'a"b',
        "a(b",
        "a{3}",
        "a]b",
        "a'b",
        "-- ;",
        "$(x)",
    ),
    *(
        "%",
        "*",
        "a%b",
        "a//b",
        "/a",
        "a/",
        "/",
        "",
        " ",
        " a ",
        "inbox/x",
        "INBOX/../x",
        "NIL",
        "x" * 255,
        "x" * 9_000,
    ),
    *(
        "a\tb",
        "a\x00b",
        "a\r\nb",
        "a\x7fb",
        "a\x1b[2J",
        "\u202eevil",
        "\ufeff",
        "a\u0085b",
        "a\u2028b",
        "\U0001f600",
    ),
    *("/".join("d" * 40), "\u0130NBOX", "INBO\uff38", "e\u0301", "\u00e9", "a\u0000"),
]


def _spelled(name: str) -> bytes:
    """As a client of RFC 6855 may send it: a literal takes all but NUL."""
    octets = name.encode("utf-8")
    return b"{%d+}\r\n%b" % (len(octets), octets)


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
async def test_a_hostile_name_is_refused_or_is_a_mailbox_like_others(imap: Connect, name: str) -> None:
    alice = await imap()
    await alice.ok("ENABLE UTF8=ACCEPT")
    before = await alice.ok('LIST "" *')
    spelled = _spelled(name)
    answer = await alice.command(b"CREATE " + spelled)
    assert b"SERVERBUG" not in answer.text
    if answer.ok:
        spelled = _spelled(name.removesuffix("/"))  # RFC 3501 s6.3.3
        assert len(await alice.ok('LIST "" *')) > len(before)
        await alice.ok(b"SELECT " + spelled)
        await alice.ok(b"STATUS " + spelled + b" (MESSAGES)")
        await alice.ok("UNSELECT")
        await alice.ok(b"DELETE " + spelled)
    else:
        assert answer.text.startswith((b"NO [CANNOT]", b"NO [ALREADYEXISTS]", b"NO [LIMIT]", b"BAD ")), answer
        assert await alice.ok('LIST "" *') == before
    for command in (b"SELECT ", b"DELETE ", b"SUBSCRIBE ", b"RENAME Sent "):
        answer = await alice.command(command + spelled)
        assert b"SERVERBUG" not in answer.text
    await alice.ok("NOOP")


async def test_sections_and_partials_that_do_not_exist_are_nothing(imap: Connect) -> None:
    alice = await imap()
    await alice.append("INBOX", MAIL)
    await alice.ok("SELECT INBOX")
    for section in ("2", "1.1", "4294967295", "9.HEADER", "3.MIME", "2.TEXT"):
        assert await alice.ok(f"FETCH 1 BODY.PEEK[{section}]") == [
            b"* 1 FETCH (BODY[%b] NIL)" % section.encode()
        ]
    for start, length in ((1_000, 10), (len(MAIL), 1), (4_294_967_295, 4_294_967_295)):
        (fetched,) = await alice.ok(f"FETCH 1 BODY.PEEK[]<{start}.{length}>")
        assert fetched in {
            b'* 1 FETCH (BODY[]<%d> "")' % start,
            b"* 1 FETCH (BODY[]<%d> {0}\r\n)" % start,
        }
    (fetched,) = await alice.ok(f"FETCH 1 BODY.PEEK[]<{len(MAIL) - 2}.1000>")
    assert fetched.endswith(b"{2}\r\n\r\n)")
    for partial in ("<0.0>", "<-1.5>", "<5>", "<18446744073709551616.1>"):
        assert (await alice.command(f"FETCH 1 BODY.PEEK[]{partial}")).text.startswith(b"BAD ")


@pytest.mark.parametrize(
    "command",
    [
        "SEARCH CHARSET KOI8-X TEXT x",
        "UID SEARCH CHARSET x ALL",
        "SORT (DATE) x ALL",
        "THREAD REFERENCES x ALL",
    ],
)
async def test_an_unknown_charset_is_told_with_those_that_are_known(imap: Connect, command: str) -> None:
    alice = await imap()
    await alice.ok("SELECT INBOX")
    assert (await alice.command(command)).text.startswith(b"NO [BADCHARSET (US-ASCII UTF-8)]")
