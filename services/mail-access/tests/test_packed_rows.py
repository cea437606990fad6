"""Rows that come as octets are the same rows."""

from array import array

import pytest

from mail_access.mailbox_rows import MailboxRows, Row
from mail_access.packed_rows import unpack, unpack_flags
from postroom.mailstore.v1 import mailbox_pb2
from postroom_wire.imap.sequence import NumberRanges

TOP_UID = 2**32 - 1
FLAGS = (0, 1, 31)
KEYWORDS = (0, 2**62 + 1, 7)
MODSEQS = (2**63 - 1, 5, 6)
SIZES = (0, 2**40, 9)
DATES = (-1, 0, 1_700_000_000)
UIDS = (1, 2**31, TOP_UID)


def octets(size: int, numbers: tuple[int, ...], *, signed: bool = False) -> bytes:
    return b"".join(number.to_bytes(size, "big", signed=signed) for number in numbers)


@pytest.fixture
def packed() -> mailbox_pb2.PackedRows:
    return mailbox_pb2.PackedRows(
        uids=octets(4, UIDS),
        flags=octets(2, FLAGS),
        keywords=octets(8, KEYWORDS),
        modseqs=octets(8, MODSEQS),
        sizes=octets(8, SIZES),
        internal_dates=octets(8, DATES, signed=True),
    )


def read(rows: MailboxRows) -> list[Row]:
    return rows.read(rows.uids.attach(), NumberRanges(((1, len(rows)),)))


def test_all_columns_are_taken_over(packed: mailbox_pb2.PackedRows) -> None:
    rows = MailboxRows()
    rows.apply(unpack(packed))
    plain = MailboxRows()
    plain.apply(
        mailbox_pb2.Rows(
            uids=UIDS, flags=FLAGS, keywords=KEYWORDS, modseqs=MODSEQS, sizes=SIZES, internal_dates=DATES
        )
    )
    assert read(rows) == read(plain)
    assert [(row.uid, row.size, row.date, row.modseq) for row in read(rows)] == list(
        zip(UIDS, SIZES, DATES, MODSEQS, strict=True)
    )
    assert rows.top_modseq == plain.top_modseq == max(MODSEQS)


def test_an_empty_page_is_nothing() -> None:
    rows = MailboxRows()
    rows.apply(unpack(mailbox_pb2.PackedRows()))
    assert len(rows) == 0


def test_a_view_takes_at_most_40_octets_a_message() -> None:
    rows = MailboxRows()
    count = 100_000
    for start in range(1, count, 20_000):
        uids = tuple(range(start, start + 20_000))
        zeros = bytes(8 * len(uids))
        rows.apply(
            unpack(
                mailbox_pb2.PackedRows(
                    uids=octets(4, uids),
                    flags=bytes(2 * len(uids)),
                    keywords=zeros,
                    modseqs=zeros,
                    sizes=zeros,
                    internal_dates=zeros,
                )
            )
        )
    rows.trim()
    assert len(rows) == count
    assert rows.octets <= 40 * count


def test_changed_flags_are_taken_over_where_they_are_news(packed: mailbox_pb2.PackedRows) -> None:
    rows = MailboxRows()
    rows.apply(unpack(packed))
    own, other = rows.uids.attach(), rows.uids.attach()
    changed = mailbox_pb2.ChangedFlags(uids=octets(4, (1, 2**31, 2**31 + 1)), flags=octets(2, (1, 3, 3)))
    rows.flag(unpack_flags(changed), 7, own, lambda word: word | 2)
    # The first has a later change already, the last is not here.
    assert [(row.uid, row.word, row.modseq) for row in read(rows)] == [
        (1, 0, MODSEQS[0]),
        (2**31, 3, 7),
        (TOP_UID, 31 | 7 << 5, 6),
    ]
    assert [uid for _, uid in other.updates(expunges=True).changed] == [2**31]
    # Its keywords went, which the own change would not have done.
    assert [uid for _, uid in own.updates(expunges=True).changed] == [2**31]


def test_a_change_does_not_surprise_who_made_it(packed: mailbox_pb2.PackedRows) -> None:
    rows = MailboxRows()
    rows.apply(unpack(packed))
    own = rows.uids.attach()
    changed = mailbox_pb2.ChangedFlags(
        uids=octets(4, (2**31, TOP_UID)), flags=octets(2, (3, 31)), keywords=octets(8, (2**62 + 1, 6))
    )
    rows.flag(unpack_flags(changed), 7, own, lambda word: (word | 2) & ~(1 << 5) if word & 16 else word | 2)
    assert own.updates(expunges=True).changed == []
    assert [row.word >> 5 for row in read(rows)] == [0, 2**62 + 1, 6]


def test_columns_without_keywords_have_none() -> None:
    found = unpack_flags(mailbox_pb2.ChangedFlags(uids=octets(4, (3, 9)), flags=octets(2, (1, 2))))
    assert (found.uids, found.flags) == (array("I", [3, 9]), array("B", [1, 2]))
    assert found.keywords == array("Q", [0, 0])
