"""FETCH (UID FLAGS) of many messages, which goes a shorter way than other FETCHes."""

from hypothesis import given
from hypothesis import strategies as st

from mail_access.mailbox_rows import MailboxRows
from postroom.mailstore.v1 import mailbox_pb2
from postroom_testing.imap_client import Connect
from postroom_wire.imap.sequence import NumberRanges


@given(
    words=st.lists(st.tuples(st.integers(0, 31), st.sampled_from([0, 0, 1, 2**62])), min_size=1, max_size=40),
    gone=st.sets(st.integers(1, 40), max_size=10),
    first=st.integers(1, 40),
    last=st.integers(1, 45),
)
def test_flags_alone_are_those_of_whole_rows(
    words: list[tuple[int, int]], gone: set[int], first: int, last: int
) -> None:
    count = len(words)
    rows = MailboxRows()
    rows.apply(
        mailbox_pb2.Rows(
            uids=range(1, count + 1),
            flags=[flags for flags, _ in words],
            keywords=[keywords for _, keywords in words],
            modseqs=[1] * count,
            sizes=[1] * count,
            internal_dates=[0] * count,
        )
    )
    view = rows.uids.attach()
    rows.remove([(uid, uid) for uid in sorted(gone) if uid <= count])
    numbers = NumberRanges(((min(first, last), max(first, last)),))
    told = [
        (number, uid, word)
        for run in rows.words(view, numbers)
        for number, (uid, word) in enumerate(zip(run.uids, run.words, strict=True), run.sequence_number)
    ]
    assert told == [(row.sequence_number, row.uid, row.word) for row in rows.read(view, numbers)]


async def test_flags_keywords_and_recent_are_told(imap: Connect) -> None:
    alice = await imap()
    await alice.append("INBOX", b"old\r\n", "(\\Seen $old)")
    await alice.ok("SELECT INBOX")
    await alice.ok("UNSELECT")
    for _ in range(3):
        await alice.append("INBOX", b"new\r\n")
    await alice.ok("SELECT INBOX")
    await alice.ok("UID STORE 3 +FLAGS.SILENT ($new)")
    told = [
        b"* 1 FETCH (UID 1 FLAGS (\\Seen $old))",
        b"* 2 FETCH (UID 2 FLAGS (\\Recent))",
        b"* 3 FETCH (UID 3 FLAGS ($new \\Recent))",
        b"* 4 FETCH (UID 4 FLAGS (\\Recent))",
    ]
    assert await alice.ok("FETCH 1:* (UID FLAGS)") == told
    assert await alice.ok("UID FETCH 1,4 FLAGS") == [told[0], told[3]]
    assert await alice.ok("UID FETCH 7:9 FLAGS") == []


async def test_what_went_meanwhile_is_told_as_it_was(imap: Connect) -> None:
    alice, phone = await imap(), await imap()
    for _ in range(3):
        await alice.append("INBOX", b"new\r\n")
    await alice.ok("SELECT INBOX")
    await phone.ok("SELECT INBOX")
    await phone.ok("UID STORE 2 +FLAGS (\\Deleted)")
    await phone.ok("EXPUNGE")
    told = await alice.ok("FETCH 1:3 (UID FLAGS)")
    assert [each.split(b" FLAGS")[0] for each in told if b"FETCH" in each][:3] == [
        b"* 1 FETCH (UID 1",
        b"* 2 FETCH (UID 2",
        b"* 3 FETCH (UID 3",
    ]
