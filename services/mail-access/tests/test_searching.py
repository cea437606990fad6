"""SEARCH with results that are counted, paged and kept (RFC 4731, RFC 5182, RFC 5032, RFC 9394)."""

import pytest

from postroom_testing.imap_client import Connect, ImapClient


def mail(subject: str, body: str = "Hello.") -> bytes:
    head = f"From: Ann <ann@example.org>\r\nSubject: {subject}\r\nDate: Mon, 2 Nov 2026 17:00:00 +0100\r\n"
    return f"{head}\r\n{body}\r\n".encode()


@pytest.fixture
async def alice(imap: Connect) -> ImapClient:
    """Alice with six messages in her inbox, of which she has expunged the first; it is selected."""
    alice = await imap()
    for subject in ("zero", "one", "two", "three", "four", "five"):
        assert (await alice.append("INBOX", mail(subject))).ok
    await alice.ok("SELECT INBOX")
    await alice.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    await alice.ok("EXPUNGE")
    await alice.ok("STORE 2,4 +FLAGS.SILENT (\\Flagged)")
    return alice


async def esearch(client: ImapClient, text: str) -> list[bytes]:
    """The responses, without the tag, which must be that of the command."""
    tag = client.send_command(text)
    answer = await client.answer(tag)
    assert answer.ok, answer
    head = b'* ESEARCH (TAG "' + tag + b'")'
    assert all(line.startswith(head) for line in answer.untagged), answer
    return [line.removeprefix(head).strip() for line in answer.untagged]


@pytest.mark.parametrize(
    ("text", "results"),
    [
        ("SEARCH RETURN () FLAGGED", b"ALL 2,4"),
        ("UID SEARCH RETURN () FLAGGED", b"UID ALL 3,5"),
        ("SEARCH RETURN (MIN MAX COUNT) ALL", b"MIN 1 MAX 5 COUNT 5"),
        ("SEARCH RETURN (MIN COUNT) SUBJECT absent", b"COUNT 0"),
        ("SEARCH RETURN (MIN) UNFLAGGED SUBJECT o", b"MIN 1"),
        ("UID SEARCH RETURN (PARTIAL 1:2) UNFLAGGED", b"UID PARTIAL (1:2 2,4)"),
        ("UID SEARCH RETURN (PARTIAL -1:-2) ALL", b"UID PARTIAL (-1:-2 5:6)"),
        ("SEARCH RETURN (PARTIAL 9:10) ALL", b"PARTIAL (9:10 NIL)"),
        ("SEARCH RETURN (COUNT) YOUNGER 3600", b"COUNT 5"),
        ("SEARCH RETURN (COUNT) OLDER 3600", b"COUNT 0"),
    ],
)
async def test_results_are_told_as_they_are_asked_for(alice: ImapClient, text: str, results: bytes) -> None:
    assert await esearch(alice, text) == [results]


@pytest.mark.parametrize(
    ("keys", "numbers"),
    [
        ("SUBJECT o", b"1:2,4"),
        ("OR SUBJECT o BODY hello", b"1:5"),
        ("SUBJECT o BODY hello", b"1:2,4"),
        ("2:5 SUBJECT o", b"2,4"),
        ("UID 3:4 SUBJECT o", b"2"),
        ("2:3 UID 3,6 SUBJECT o", b"2"),
        ("UID 99 SUBJECT o", b""),
        ("SUBJECT o UNFLAGGED", b"1"),
        ("OR SUBJECT five FLAGGED", b"2,4:5"),
        ("NOT SUBJECT o", b"3,5"),
        ("FROM ann SENTON 2-Nov-2026", b"1:5"),
        ("SUBJECT zero", b""),
    ],
)
async def test_texts_are_found_beside_what_memory_knows(alice: ImapClient, keys: str, numbers: bytes) -> None:
    told = [b"ALL " + numbers if numbers else b""]
    assert await esearch(alice, f"SEARCH RETURN (ALL) {keys}") == told
    assert await esearch(alice, f"SEARCH RETURN (SAVE) {keys}") == []
    assert await esearch(alice, "SEARCH RETURN (ALL) $") == told


async def test_texts_are_found_among_what_the_session_knows_only(imap: Connect, alice: ImapClient) -> None:
    other = await imap()
    await other.ok("SELECT INBOX")
    await other.ok("STORE 1,3 +FLAGS.SILENT (\\Deleted)")
    await other.ok("EXPUNGE")
    assert await alice.ok("SEARCH SUBJECT o") == [b"* SEARCH 2 4"]
    assert await alice.ok("SEARCH 1:4 OR SUBJECT three SUBJECT four") == [b"* SEARCH 4"]


async def test_messages_are_older_by_their_internal_date(alice: ImapClient) -> None:
    octets = mail("old")
    head = f'APPEND INBOX "01-Jan-2001 00:00:00 +0000" {{{len(octets)}+}}\r\n'
    await alice.ok(head.encode() + octets)
    assert await esearch(alice, "SEARCH RETURN (ALL) OLDER 86400") == [b"ALL 6"]


@pytest.mark.parametrize(
    ("text", "saved"),
    [
        ("SEARCH RETURN (SAVE) FLAGGED", [b"* 2 FETCH (UID 3)", b"* 4 FETCH (UID 5)"]),
        ("UID SEARCH RETURN (SAVE MIN) FLAGGED", [b"* 2 FETCH (UID 3)"]),
        ("SEARCH RETURN (SAVE PARTIAL 2:3) ALL", [b"* 2 FETCH (UID 3)", b"* 3 FETCH (UID 4)"]),
        ("SEARCH RETURN (SAVE) SUBJECT absent", []),
    ],
)
async def test_a_saved_result_is_a_set_of_messages(alice: ImapClient, text: str, saved: list[bytes]) -> None:
    await alice.ok(text)
    assert await alice.ok("FETCH $ (UID)") == saved
    assert await alice.ok("UID FETCH $ (UID)") == saved


async def test_a_saved_result_is_searched_and_combined(alice: ImapClient) -> None:
    assert await alice.ok("SEARCH RETURN (SAVE) FLAGGED") == []
    assert await alice.ok("SEARCH $ SUBJECT two") == [b"* SEARCH 2"]
    assert await alice.ok("UID SEARCH OR UID 2 UID $") == [b"* SEARCH 2 3 5"]
    assert await alice.ok("SEARCH NOT $") == [b"* SEARCH 1 3 5"]
    assert await esearch(alice, "SEARCH RETURN (SAVE ALL) NOT $") == [b"ALL 1,3,5"]
    assert await alice.ok("SEARCH $") == [b"* SEARCH 1 3 5"]


async def test_a_saved_result_is_copied_stored_and_expunged(alice: ImapClient) -> None:
    await alice.ok("CREATE Other")
    await alice.ok("SEARCH RETURN (SAVE) SUBJECT absent")
    assert (await alice.command("COPY $ Other")).text == b"OK COPY completed, nothing to copy"
    assert await alice.ok("STORE $ +FLAGS (\\Seen)") == []
    await alice.ok("SEARCH RETURN (SAVE) FLAGGED")
    assert b"COPYUID" in (await alice.command("COPY $ Other")).tagged
    await alice.ok("STORE 3 +FLAGS.SILENT (\\Deleted)")
    await alice.ok("STORE $ +FLAGS.SILENT (\\Deleted)")
    assert await alice.ok("UID EXPUNGE $") == [b"* 4 EXPUNGE", b"* 2 EXPUNGE"]
    assert await alice.ok("FETCH $ (UID)") == []
    assert await alice.ok("SEARCH $") == [b"* SEARCH"]


async def test_what_another_session_expunges_is_saved_no_more(alice: ImapClient, imap: Connect) -> None:
    await alice.ok("SEARCH RETURN (SAVE) FLAGGED")
    other = await imap()
    await other.ok("SELECT INBOX")
    await other.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
    await other.ok("EXPUNGE")
    while b"* 2 EXPUNGE" not in await alice.ok("NOOP"):
        pass
    assert await alice.ok("FETCH $ (UID)") == [b"* 3 FETCH (UID 5)"]
    assert (await alice.command("COPY $ INBOX")).ok


async def test_a_no_empties_what_was_saved_and_a_bad_does_not(alice: ImapClient) -> None:
    await alice.ok("SEARCH RETURN (SAVE) FLAGGED")
    assert (await alice.command("SEARCH RETURN (SAVE) FLAGGED LARGER")).text.startswith(b"BAD ")
    refused = await alice.command("SEARCH CHARSET KOI8-R $ TEXT x")
    assert refused.text.startswith(b"NO [BADCHARSET (US-ASCII UTF-8)] ")
    assert await alice.ok("SEARCH $") == [b"* SEARCH 2 4"]
    refused = await alice.command("SEARCH RETURN (SAVE) CHARSET KOI8-R $ TEXT x")
    assert refused.text.startswith(b"NO [BADCHARSET (US-ASCII UTF-8)] ")
    assert await alice.ok("SEARCH $") == [b"* SEARCH"]


async def test_to_select_again_forgets_what_was_saved(alice: ImapClient) -> None:
    await alice.ok("SEARCH RETURN (SAVE) FLAGGED")
    await alice.ok("EXAMINE INBOX")
    assert await alice.ok("FETCH $ (UID)") == []


async def test_a_search_and_its_use_can_be_sent_together(alice: ImapClient) -> None:
    first, second = alice.send_command("SEARCH RETURN (SAVE) FLAGGED"), alice.send_command("FETCH $ (UID)")
    assert (await alice.answer(first)).untagged == []
    assert len((await alice.answer(second)).untagged) == 2


async def test_changes_are_searched_by_their_modseq(alice: ImapClient) -> None:
    await alice.ok("STORE 3 +FLAGS.SILENT (\\Answered)")
    (line,) = [each for each in await alice.ok("FETCH 1:5 (MODSEQ)") if each.startswith(b"* 3 ")]
    last = int(line.rpartition(b"(")[2].rstrip(b")"))
    assert await alice.ok(f"SEARCH MODSEQ {last}") == [b"* SEARCH 3 (MODSEQ %d)" % last]
    assert await alice.ok(f'UID SEARCH MODSEQ "/flags/x" all {last + 1}') == [b"* SEARCH"]
    assert await alice.ok(f"SORT (REVERSE SIZE ARRIVAL) UTF-8 MODSEQ {last}") == [
        b"* SORT 3 (MODSEQ %d)" % last
    ]
    assert await esearch(alice, "SEARCH RETURN (ALL) MODSEQ 1") == [b"ALL 1:5 MODSEQ %d" % last]
    (found,) = await esearch(alice, "SEARCH RETURN (MIN) MODSEQ 1")
    assert found.startswith(b"MIN 1 MODSEQ ")
    assert int(found.rpartition(b" ")[2]) < last


async def test_the_messages_of_a_fetch_are_paged(alice: ImapClient) -> None:
    assert await alice.ok("UID FETCH 3:* (UID) (PARTIAL 1:2)") == [b"* 2 FETCH (UID 3)", b"* 3 FETCH (UID 4)"]
    assert await alice.ok("UID FETCH 1:* (UID) (PARTIAL -1:-2)") == [
        b"* 4 FETCH (UID 5)",
        b"* 5 FETCH (UID 6)",
    ]
    assert await alice.ok("UID FETCH 1:* (UID) (PARTIAL 9:10)") == []
    changed = await alice.ok("UID FETCH 1:* (UID) (PARTIAL -1:-3 CHANGEDSINCE 1)")
    assert [line.split(b" ")[1] for line in changed if b"FETCH" in line] == [b"3", b"4", b"5"]
    assert (await alice.command("FETCH 1:* (UID) (PARTIAL 1:2)")).text.startswith(b"BAD ")


@pytest.mark.parametrize("text", ["Grüße", "GRU\u0308SSE", "gru\u0308ße", "rüß"])
async def test_strings_are_compared_by_unicode_casemap(imap: Connect, text: str) -> None:
    alice = await imap()
    octets = b"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n\r\nHello.\r\n"
    assert (await alice.append("INBOX", octets)).ok
    await alice.ok("SELECT INBOX")
    hit = b" 1" if "ß" in text else b""  # RFC 5051 s2: it has no other form of one character
    quoted = f"SEARCH CHARSET UTF-8 SUBJECT {{{len(text.encode())}+}}\r\n{text}"
    assert await alice.ok(quoted) == [b"* SEARCH" + hit]


async def test_fuzzy_keys_find_what_is_like_them_and_say_how_well(imap: Connect) -> None:
    alice = await imap()
    for subject, body in (
        ("report", "x"),
        ("other", "The reports of March: a report"),
        ("none", "report it"),
    ):
        assert (await alice.append("INBOX", mail(subject, body))).ok
    await alice.ok("SELECT INBOX")
    assert await alice.ok('SEARCH FUZZY TEXT "report"') == [b"* SEARCH 1 2 3"]
    (line,) = await esearch(alice, "SEARCH RETURN (RELEVANCY ALL) FUZZY BODY report")
    assert line.startswith(b"ALL 2:3 RELEVANCY (")
    scores = [int(score) for score in line.rpartition(b"(")[2].rstrip(b")").split()]
    assert all(1 <= score <= 100 for score in scores)
    best = b"2 3" if scores[0] >= scores[1] else b"3 2"
    assert await alice.ok("SORT (RELEVANCY) UTF-8 FUZZY BODY report") == [b"* SORT " + best]
    assert await alice.ok("SORT (SIZE REVERSE RELEVANCY) UTF-8 FUZZY BODY absent") == [b"* SORT"]
    assert (await alice.command("SEARCH RETURN (RELEVANCY) BODY report")).text.startswith(b"BAD ")


async def test_messages_are_found_by_their_ids_and_the_day_they_were_saved(alice: ImapClient) -> None:
    (line,) = await alice.ok("FETCH 3 (EMAILID THREADID)")
    email, thread = (part.split(b")")[0].decode() for part in line.split(b"(")[2:])
    assert await alice.ok(f"SEARCH EMAILID {email}") == [b"* SEARCH 3"]
    assert await alice.ok(f"SEARCH THREADID {thread}") == [b"* SEARCH 3"]
    assert await alice.ok(f"SEARCH OR EMAILID {thread} THREADID Tnobody") == [b"* SEARCH"]
    assert await alice.ok("SEARCH SAVEDSINCE 1-Jan-2020 SAVEDATESUPPORTED") == [b"* SEARCH 1 2 3 4 5"]
    assert await alice.ok("SEARCH SAVEDBEFORE 1-Jan-2020") == [b"* SEARCH"]
