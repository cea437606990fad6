"""Messages read behind their delivery: what is found then is what was found before, and keys to sort by."""

import asyncio
from collections.abc import Sequence

import pytest

from mailstore.blobs.reader import BlobReader
from mailstore.finding import octets, text_index
from mailstore.finding.keys import hash_of, sort_keys
from mailstore.finding.worker import FindingLimits, FindingWorker
from mailstore.scanning import facts_of
from postroom.mailstore.v1 import mailbox_pb2
from postroom_testing.mail_store import MailAccount, MailStore

TERM = mailbox_pb2.TextTerm
_Term = tuple[mailbox_pb2.TextTerm.Field.ValueType, str, str]

GREETING = b"""Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= 100%_of
From: Ann <ann@example.org>
Date: 02 Nov 2026 23:30:00 -0500

plain body with a\\backslash
""".replace(b"\n", b"\r\n")
PARTS = b"""Subject: x
To: subject: tricky@example.org
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b

one
--b
Content-Type: text/html; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

<p>cr=E8me br=FBl=E9e</p>
--b
Content-Type: image/png

secret
--b--
""".replace(b"\n", b"\r\n")
MAILS = (
    GREETING,
    b"Subject: other\r\nX-Odd:\r\nContent-Transfer-Encoding: base64\r\n\r\nSGlkZGVuIHRleHQ=\r\n",
    b"no header at all",
    b"Subject: \xff\x00 raw\r\n\r\n\xff\x00\r\n",
    b"X.Odd: a.b*c\r\nX-Odd: (first) second\r\nsubject: 1\r\n continued\r\nDate: never\r\n\r\n",
    PARTS,
    b"Subject: " + b"long " * 20_000 + b"end\r\n\r\nbody of the long one\r\nX-Odd: not a field\r\n",
    b"Subject: large\r\n\r\n" + b"many words\r\n" * 20_000 + b"needle\r\n",
)
TERMS: tuple[_Term, ...] = (
    *(
        (TERM.FIELD_TEXT, "", text)
        for text in ("", "grüße", "GRU\u0308ßE", "%_", "_", "%", "\\", "a\\B", "\n")
    ),
    *((TERM.FIELD_TEXT, "", text) for text in ("hidden", "subject: 1 continued", "crème BRÛLÉE", "needle")),
    *((TERM.FIELD_BODY, "", text) for text in ("plain", "other", "secret", "one", "<p>", "body", "\ufffd")),
    *((TERM.FIELD_HEADER, "subject", text) for text in ("", "1 continued", "tricky", "raw", "end", "100%_")),
    *((TERM.FIELD_HEADER, "x-odd", text) for text in ("", "a.b", "(first)", "first) s", ".*", "$")),
    *((TERM.FIELD_HEADER, "x.odd", text) for text in ("", "a.b*c", "second")),
    (TERM.FIELD_HEADER, "", ""),
    (TERM.FIELD_HEADER, "delivered-to", "Ann@postroom"),
    (TERM.FIELD_HEADER, "delivered-to", "bob"),
    (TERM.FIELD_HEADER, "return-path", ""),
    (TERM.FIELD_HEADER, "return-path", "ann@"),
    (TERM.FIELD_TEXT, "", "return-path: <sender@"),
    (TERM.FIELD_HEADER, "x[", "a"),
    (TERM.FIELD_HEADER, "to", "subject: tricky\nx"),
    (TERM.FIELD_SENT_ON, "", "2026-11-02"),
    (TERM.FIELD_SENT_BEFORE, "", "2026-11-03"),
    (TERM.FIELD_SENT_SINCE, "", "2026-11-03"),
    (TERM.FIELD_SAVED_SINCE, "", "2020-01-01"),
    (TERM.FIELD_SAVED_BEFORE, "", "2020-01-01"),
)


def worker(store: MailStore, **limits: float) -> FindingWorker:
    """A worker of this store that is not running."""
    return FindingWorker(
        store.database,
        BlobReader(store.database, store.objects),
        FindingLimits(**limits),  # pyright: ignore[reportArgumentType]  # whole numbers where they are meant
    )


async def search(
    store: MailStore, account: MailAccount, terms: Sequence[_Term], *, fuzzy: bool = False
) -> list[mailbox_pb2.UidSet]:
    request = mailbox_pb2.SearchTextRequest(mailbox_id=await store.mailbox_id(account), partial=True)
    request.uids.add(first=1, last=2**32 - 1)
    for field, name, value in terms:
        request.terms.add(field=field, header_name=name, value=value, fuzzy=fuzzy)
    answer = await store.mailbox.SearchText(request, metadata=account.metadata)
    assert not answer.unread
    return list(answer.matches)


def uids(found: mailbox_pb2.UidSet) -> list[int]:
    return [uid for each in found.ranges for uid in range(each.first, each.last + 1)]


async def test_what_was_read_is_found_as_before(own_store: MailStore) -> None:
    store, ann = own_store, own_store.account()
    await store.deliver(ann, *MAILS)
    before = [uids(found) for found in await search(store, ann, TERMS)]
    assert await worker(store, text=100_000).read_some() == len(MAILS)
    assert (
        await store.fetchval("SELECT count(*) FROM mailstore.message_text WHERE complete") == len(MAILS) - 2
    )
    after = [uids(found) for found in await search(store, ann, TERMS)]
    assert dict(zip(TERMS, after, strict=True)) == dict(zip(TERMS, before, strict=True))
    found = dict(zip(TERMS, after, strict=True))
    assert found[TERM.FIELD_TEXT, "", "crème BRÛLÉE"] == [6]
    assert found[TERM.FIELD_TEXT, "", "needle"] == [8]  # beyond what is kept of the text
    assert found[TERM.FIELD_HEADER, "subject", "1 continued"] == [5]
    assert found[TERM.FIELD_HEADER, "x-odd", "(first)"] == [5]
    assert found[TERM.FIELD_HEADER, "x.odd", "a.b*c"] == [5]
    everything = list(range(1, len(MAILS) + 1))
    assert found[TERM.FIELD_HEADER, "delivered-to", "Ann@postroom"] == everything
    assert found[TERM.FIELD_TEXT, "", "return-path: <sender@"] == everything
    assert found[TERM.FIELD_HEADER, "return-path", "ann@"] == []
    assert found[TERM.FIELD_HEADER, "x-odd", ""] == [2, 5]  # in 7 it is a line of the body
    assert found[TERM.FIELD_SENT_ON, "", "2026-11-02"] == [1]
    assert found[TERM.FIELD_SAVED_SINCE, "", "2020-01-01"] == list(range(1, len(MAILS) + 1))


async def test_rare_texts_of_large_mailboxes_are_found_by_their_trigrams(
    own_store: MailStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, ann, bob = own_store, own_store.account(), own_store.account("bob")
    assert await store.fetchval("SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%gin_trgm_ops%'") == 2
    await store.deliver(ann, *MAILS)
    await store.deliver(bob, *MAILS)
    await worker(store).read_some()
    monkeypatch.setattr(text_index, "_LARGE_MAILBOX", 2**40)
    plainly = await search(store, ann, TERMS)
    monkeypatch.setattr(text_index, "_LARGE_MAILBOX", 0)
    assert await search(store, ann, TERMS) == plainly
    monkeypatch.setattr(text_index, "_MOST_RARE", 1)  # then none of them is rare
    assert await search(store, ann, TERMS) == plainly


async def test_each_message_is_read_once_by_several_workers(own_store: MailStore) -> None:
    store, ann = own_store, own_store.account()
    await store.deliver(ann, *MAILS)
    read = await asyncio.gather(*(worker(store, batch_messages=3).read_some() for _ in range(4)))
    assert sum(read) == len(MAILS)
    assert await worker(store).read_some() == 0
    assert await store.fetchval("SELECT count(*) FROM mailstore.finding_due") == 0
    assert await store.fetchval("SELECT count(*) FROM mailstore.message_key") == len(MAILS)


async def test_what_a_dead_worker_had_taken_comes_again(own_store: MailStore) -> None:
    store, ann = own_store, own_store.account()
    await store.deliver(ann, MAILS[0])
    await store.execute("DROP TRIGGER message_finding_due ON mailstore.message")
    await store.execute("UPDATE mailstore.finding_due SET due_at = now() + interval '1 minute'")
    assert await worker(store).read_some() == 0
    await store.execute("UPDATE mailstore.finding_due SET due_at = now()")
    assert await worker(store).read_some() == 1


async def test_a_message_without_octets_is_looked_for_by_its_header(own_store: MailStore) -> None:
    store, ann = own_store, own_store.account()
    await store.deliver(ann, MAILS[0], MAILS[1])
    lost = "blob_id = (SELECT blob_id FROM mailstore.message ORDER BY id LIMIT 1)"
    await store.execute(f"DELETE FROM mailstore.segment_1 WHERE {lost}")
    assert await worker(store).read_some() == 2
    assert await store.fetchval("SELECT count(*) FROM mailstore.message_text WHERE complete") == 1
    terms = [(TERM.FIELD_TEXT, "", "grüße"), (TERM.FIELD_BODY, "", "plain"), (TERM.FIELD_BODY, "", "hidden")]
    assert [uids(found) for found in await search(store, ann, terms)] == [[1], [], [2]]


async def test_a_message_that_cannot_be_kept_harms_no_other(
    own_store: MailStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, ann = own_store, own_store.account()
    await store.deliver(ann, MAILS[0], MAILS[1])
    await store.execute(
        "ALTER TABLE mailstore.message_text ADD CONSTRAINT tried CHECK (header NOT LIKE '%OTHER%')"
    )
    assert await worker(store).read_some() == 2
    assert await store.fetchval("SELECT count(*) FROM mailstore.message_text WHERE complete") == 1
    found = await search(store, ann, [(TERM.FIELD_HEADER, "subject", "other")])
    assert uids(found[0]) == [2]


async def test_a_removed_message_takes_its_text_along(own_store: MailStore) -> None:
    store, ann = own_store, own_store.account()
    await store.deliver(ann, MAILS[0], MAILS[1])
    assert await worker(store).read_some() == 2
    await store.execute("DELETE FROM mailstore.message")
    for table in ("message_text", "message_key", "finding_due"):
        assert await store.fetchval(f"SELECT count(*) FROM mailstore.{table}") == 0


async def test_a_wake_up_has_messages_read(own_store: MailStore) -> None:
    store, ann = own_store, own_store.account()
    finding = worker(store, gather_seconds=0.01, timer_seconds=3600)
    running = asyncio.ensure_future(finding.run())
    try:
        await store.deliver(ann, MAILS[0])
        finding.wake()
        async with asyncio.timeout(10):
            while await store.fetchval("SELECT count(*) FROM mailstore.finding_due"):
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_what_nobody_was_woken_for_is_read_when_it_is_old(own_store: MailStore) -> None:
    store, ann = own_store, own_store.account()
    await store.deliver(ann, MAILS[0], MAILS[1])
    first = "message_id = (SELECT id FROM mailstore.message ORDER BY id LIMIT 1)"
    await store.execute(f"UPDATE mailstore.finding_due SET due_at = now() - interval '70 s' WHERE {first}")
    assert await worker(store).read_some(80.0) == 0
    finding = worker(store, gather_seconds=0.01, timer_seconds=0.01, patience_seconds=60.0)
    running = asyncio.ensure_future(finding.run())
    due = "SELECT count(*) FROM mailstore.finding_due"
    try:
        async with asyncio.timeout(10):
            while await store.fetchval(f"{due} WHERE {first}"):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert await store.fetchval(due) == 1  # somebody else has been woken for it
            finding.wake()
            while await store.fetchval(due):
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_while_mail_comes_the_worker_rests_longer(
    own_store: MailStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    finding = worker(own_store, gather_seconds=0.5, rests=2.0, rests_aside=10.0)
    batches = [1, 1, 0]

    async def read(_: FindingWorker, old: float = 0.0) -> int:
        assert old == 0.0
        if len(batches) == 2:
            finding.wake()
        return batches.pop()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    clock = iter(range(100))
    monkeypatch.setattr(FindingWorker, "read_some", read)
    monkeypatch.setattr("mailstore.finding.worker.asyncio.sleep", sleep)
    monkeypatch.setattr("mailstore.finding.worker.time.monotonic", lambda: next(clock))
    batches.reverse()
    await finding._read_all(0.0)  # pyright: ignore[reportPrivateUsage]  # else it never ends
    assert slept == [2.0, 2.0, 8.0]


async def test_words_are_found_by_their_beginnings_and_ranked(own_store: MailStore) -> None:
    store, ann = own_store, own_store.account()
    await store.deliver(
        ann,
        b"Subject: report\r\n\r\nnothing\r\n",
        b"Subject: plain\r\n\r\nwe saw the Reports of March, and the report of April\r\n",
        b"Subject: other\r\n\r\nnothing\r\n",
        b"Subject: Caf\xc3\xa9\r\n\r\nmarch of the reporter\r\n",
    )
    await worker(store).read_some()
    text, subject, body, accent, parts = await search(
        store,
        ann,
        [
            (TERM.FIELD_TEXT, "", "march report"),
            (TERM.FIELD_HEADER, "subject", "report"),
            (TERM.FIELD_BODY, "", "report"),
            (TERM.FIELD_HEADER, "subject", "cafe"),
            (TERM.FIELD_BODY, "", "april_the'report"),
        ],
        fuzzy=True,
    )
    assert uids(text) == [2, 4]
    assert max(text.scores) == 100
    assert min(text.scores) >= 1
    assert uids(subject) == [1]
    assert uids(body) == [2, 4]
    assert uids(accent) == [4]
    assert uids(parts) == [2]


async def test_an_id_names_its_messages(own_store: MailStore) -> None:
    store, ann = own_store, own_store.account()
    await store.deliver(ann, MAILS[0], b"Message-ID: <a@b>\r\n\r\n", b"References: <a@b>\r\n\r\n")
    request = mailbox_pb2.FetchFactsRequest(mailbox_id=await store.mailbox_id(ann), object_ids=True)
    request.uids.add(first=1, last=3)
    facts = [
        each async for page in store.mailbox.FetchFacts(request, metadata=ann.metadata) for each in page.facts
    ]
    email, thread, other = await search(
        store,
        ann,
        [
            (TERM.FIELD_EMAIL_ID, "", facts[0].email_id.hex()),
            (TERM.FIELD_THREAD_ID, "", facts[1].thread_id.hex()),
            (TERM.FIELD_EMAIL_ID, "", "0" * 32),
        ],
    )
    assert (uids(email), uids(thread), uids(other)) == ([1], [2, 3], [])


def test_message_ids_are_the_same_however_they_are_quoted() -> None:
    assert hash_of('<"01KF8JCEOCBS0045PS"@xxx.yyy.com>') == hash_of("<01KF8JCEOCBS0045PS@xxx.yyy.com>")
    assert hash_of('<"a\\"b"@c>') == hash_of('<a"b@c>') or hash_of('<a"b@c>') is None
    assert hash_of("<a@b>") != hash_of("<A@b>")  # RFC 5256 s3: case matters
    for wrong in ("", "a@b", "<a>", "<@b>", "<a@>", "a"):
        assert hash_of(wrong) is None


def test_keys_come_from_what_the_scanner_found() -> None:
    facts = facts_of(
        b"Message-ID: <m@x>\r\nReferences: junk <a@x> <b>\r\nIn-Reply-To: <c@x>\r\nSubject: Re: [x] Plans\r\n"
        b"From: =?utf-8?q?=C3=89va?= <Eva@example.org>\r\nTo: b@example.org, c@example.org\r\n\r\n"
    )
    keys = sort_keys(facts.summary, facts.sent_at)
    assert (keys.subject, keys.is_reply) == ("PLANS", True)
    assert (keys.from_mailbox, keys.from_name) == ("EVA", "E\u0301VA")
    assert (keys.to_mailbox, keys.to_name, keys.cc_mailbox) == ("B", "B@EXAMPLE.ORG", "")
    assert keys.own_id == hash_of("<m@x>")
    assert keys.reference_ids == [hash_of("<a@x>")]
    plain = sort_keys(facts_of(b"In-Reply-To: <c@x> <d@x>\r\n\r\n").summary, None)
    assert plain.reference_ids == [hash_of("<c@x>")]


async def test_of_a_large_message_the_texts_are_read(
    own_store: MailStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, ann = own_store, own_store.account()
    await store.deliver(ann, *MAILS)
    plainly = await search(store, ann, TERMS)
    monkeypatch.setattr(octets, "_READ_WHOLE", 100)
    assert await search(store, ann, TERMS) == plainly
    await worker(store, text=100_000).read_some()
    assert await search(store, ann, TERMS) == plainly
