"""What readers ask for: changes since any MODSEQ, facts in pages, ranges, searches."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from uuid import UUID

import pytest
import zstandard
from google.protobuf.message import Message

from mailstore.mailboxes.octets import RangeWanted, ReadFrom, read_messages
from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.errors import InvalidRequestError
from postroom_contracts.ids import new_id
from postroom_testing.mail_store import MailAccount, MailStore, rows_by_uid

HELLO = b"Subject: hello\r\n\r\nHello.\r\n"
State = dict[int, tuple[int, int, int]]


def _ranges(uids: Iterable[int]) -> list[mailbox_pb2.UidRange]:
    return [mailbox_pb2.UidRange(first=uid, last=uid) for uid in uids]


class _Mailboxes:
    """Random commands on two mailboxes, and what they must contain by a simple model."""

    def __init__(self, store: MailStore, account: MailAccount, names: dict[str, bytes], seed: int) -> None:
        self._store, self._account, self._random = store, account, random.Random(seed)
        self.ids = [names["INBOX"], names["Archive"]]
        self.model: list[dict[int, int]] = [{}, {}]
        self._next = [1, 1]
        self._asked: list[tuple[Callable[..., Awaitable[object]], Message, object]] = []

    async def step(self) -> None:
        """One command, on the store and on the model."""
        box = self._random.randrange(2)
        uids = [uid for uid in self.model[box] if self._random.random() < 0.4]
        command = self._random.choice([self._append, self._append, self._flag, self._flag, self._copy])
        command = self._random.choice([command, command, self._move, self._expunge])
        await command(box, uids)

    async def _ask(self, call: Callable[..., Awaitable[object]], request: Message) -> None:
        """Ask once or several times at once, and some requests of before again: it is done once."""
        times = self._random.randint(1, 3)
        answers = await asyncio.gather(
            *(call(request, metadata=self._account.metadata) for _ in range(times))
        )
        self._asked.append((call, request, answers[0]))
        earlier_call, earlier, answer = self._random.choice(self._asked)
        answers += [await earlier_call(earlier, metadata=self._account.metadata)]
        assert answers == [*answers[:1] * times, answer]

    def _place(self, box: int, flags: Iterable[int]) -> None:
        for flag in flags:
            self.model[box][self._next[box]] = flag
            self._next[box] += 1

    async def _append(self, box: int, _: list[int]) -> None:
        flags = self._random.randrange(32)
        await self._store.append(self._account, self.ids[box], HELLO, flags)
        self._place(box, [flags])

    async def _flag(self, box: int, uids: list[int]) -> None:
        mode, flags = self._random.randint(1, 3), self._random.randrange(32)
        request = mailbox_pb2.StoreFlagsRequest(mailbox_id=self.ids[box], uids=_ranges(uids), flags=flags)
        request.MergeFrom(mailbox_pb2.StoreFlagsRequest(mode=_MODES[mode]))
        await self._store.mailbox.StoreFlags(request, metadata=self._account.metadata)
        for uid in uids:
            old = self.model[box][uid]
            self.model[box][uid] = {1: flags, 2: old | flags, 3: old & ~flags}[mode]

    async def _copy(self, box: int, uids: list[int]) -> None:
        target = self._random.randrange(2)
        request = mailbox_pb2.CopyMessagesRequest(
            mailbox_id=self.ids[box],
            uids=_ranges(uids),
            target_mailbox_id=self.ids[target],
            operation_id=new_id().bytes,
        )
        await self._ask(self._store.mailbox.CopyMessages, request)
        self._place(target, [self.model[box][uid] for uid in sorted(uids)])

    async def _move(self, box: int, uids: list[int]) -> None:
        request = mailbox_pb2.MoveMessagesRequest(
            mailbox_id=self.ids[box],
            uids=_ranges(uids),
            target_mailbox_id=self.ids[1 - box],
            operation_id=new_id().bytes,
        )
        await self._ask(self._store.mailbox.MoveMessages, request)
        self._place(1 - box, [self.model[box].pop(uid) for uid in sorted(uids)])

    async def _expunge(self, box: int, _: list[int]) -> None:
        request = mailbox_pb2.ExpungeMessagesRequest(mailbox_id=self.ids[box], operation_id=new_id().bytes)
        await self._ask(self._store.mailbox.ExpungeMessages, request)
        self.model[box] = {uid: flags for uid, flags in self.model[box].items() if not flags & 8}


_MODES = {
    1: mailbox_pb2.StoreFlagsRequest.MODE_REPLACE,
    2: mailbox_pb2.StoreFlagsRequest.MODE_ADD,
    3: mailbox_pb2.StoreFlagsRequest.MODE_REMOVE,
}


@pytest.mark.parametrize("seed", range(3))
async def test_mailboxes_counters_and_changes_agree_after_any_commands(store: MailStore, seed: int) -> None:
    ann = store.account()
    names = {name: mailbox.id for name, mailbox in (await store.mailboxes(ann)).items()}
    boxes = _Mailboxes(store, ann, names, seed)
    seen: list[tuple[int, list[State]]] = []
    for _ in range(40):
        await boxes.step()
        answer = await store.mailbox.GetModseqs(mailbox_pb2.GetModseqsRequest(capabilities=[ann.token]))
        seen.append((answer.modseqs[0], [await store.rows(ann, box) for box in boxes.ids]))
    states = seen[-1][1]
    assert [{uid: row[0] for uid, row in state.items()} for state in states] == boxes.model
    assert await store.counters_are_right(ann)
    assert [modseq for modseq, _ in seen] == sorted(modseq for modseq, _ in seen)
    for modseq, earlier in seen[::3]:
        for box, state, now in zip(boxes.ids, earlier, states, strict=True):
            assert await _brought_up_to_date(store, ann, box, modseq, state) == now


async def _brought_up_to_date(
    store: MailStore, account: MailAccount, mailbox_id: bytes, modseq: int, state: State
) -> State:
    """The state that a reader has who asks for all changes at once, and has who asks for them in pages."""
    reader = _Reader(store, account, mailbox_id, modseq, state)
    await reader.follow()
    for limit in (1, 4, 5_000):
        follower = _Reader(store, account, mailbox_id, modseq, state)
        await follower.follow(limit)
        assert (follower.state, follower.modseq) == (reader.state, reader.modseq)
    return reader.state


class _Reader:
    """Keeps the state of a mailbox as readers do: of two rows the one with the higher MODSEQ."""

    def __init__(
        self, store: MailStore, account: MailAccount, mailbox_id: bytes, modseq: int, state: State
    ) -> None:
        self._store, self._account = store, account
        self._mailbox_id = mailbox_id
        self.modseq, self.state = modseq, dict(state)
        self.pages = 0

    async def follow(self, limit: int = 0) -> None:
        """Ask until there is no more."""
        request = mailbox_pb2.GetChangesRequest(
            mailbox_id=self._mailbox_id, since_modseq=self.modseq, limit=limit
        )
        more = True
        while more:
            changes = await self._store.mailbox.GetChanges(request, metadata=self._account.metadata)
            assert not changes.reload
            self._take(changes)
            told = len(changes.rows.uids) + sum(each.last - each.first + 1 for each in changes.vanished)
            assert not limit or told <= limit
            self.modseq, more = changes.modseq, changes.more
            request.since_modseq, request.after_uid = changes.modseq, changes.after_uid
            self.pages += 1

    def _take(self, changes: mailbox_pb2.GetChangesResponse) -> None:
        for each in changes.vanished:
            for uid in range(each.first, each.last + 1):
                self.state.pop(uid, None)
        last = max(self.state, default=0)
        for uid, row in rows_by_uid(changes.rows).items():
            here = self.state.get(uid)
            if (here is None and uid > last) or (here is not None and row[2] > here[2]):
                self.state[uid] = row


async def test_pages_of_changes_agree_while_others_write(store: MailStore) -> None:
    ann = store.account()
    names = {name: mailbox.id for name, mailbox in (await store.mailboxes(ann)).items()}
    boxes = _Mailboxes(store, ann, names, seed=7)
    readers = [_Reader(store, ann, box, 1, {}) for box in boxes.ids for _ in range(2)]
    writing = asyncio.ensure_future(_repeat(boxes.step, 60))
    while not writing.done():
        await asyncio.gather(
            *(reader.follow(limit) for reader, limit in zip(readers, (1, 3, 2, 50), strict=True))
        )
        assert all([*reader.state] == sorted(reader.state) for reader in readers)
    await writing
    states = [await store.rows(ann, box) for box in boxes.ids for _ in range(2)]
    for reader, state in zip(readers, states, strict=True):
        await reader.follow(2)
        assert reader.state == state


async def _repeat(step: Callable[[], Awaitable[None]], times: int) -> None:
    for _ in range(times):
        await step()


async def test_one_change_of_many_messages_is_told_in_parts(store: MailStore) -> None:
    ann = store.account()
    names = {name: mailbox.id for name, mailbox in (await store.mailboxes(ann)).items()}
    await store.deliver(ann, *([HELLO] * 20))
    copy = mailbox_pb2.CopyMessagesRequest(mailbox_id=names["INBOX"], target_mailbox_id=names["Archive"])
    copy.uids.add(first=1, last=20)
    await store.mailbox.CopyMessages(copy, metadata=ann.metadata)
    flag = mailbox_pb2.StoreFlagsRequest(mailbox_id=names["Archive"], mode=_MODES[2], flags=8)
    flag.uids.add(first=2, last=19)
    await store.mailbox.StoreFlags(flag, metadata=ann.metadata)
    expunge = mailbox_pb2.ExpungeMessagesRequest(mailbox_id=names["Archive"])
    await store.mailbox.ExpungeMessages(expunge, metadata=ann.metadata)
    state = await store.rows(ann, names["Archive"])
    assert sorted(state) == [1, 20]
    for limit, pages in ((0, 1), (18, 4), (7, 9), (5_000, 1), (2**31 - 1, 1)):
        reader = _Reader(store, ann, names["Archive"], 1, {})
        await reader.follow(limit)
        assert (reader.state, reader.pages) == (state, pages)
    with pytest.raises(InvalidRequestError):
        await _Reader(store, ann, names["Archive"], 1, {}).follow(-1)


async def test_a_reader_from_before_the_journal_is_told_to_load_again(store: MailStore) -> None:
    ann = store.account()
    await store.deliver(ann, HELLO, HELLO)
    await store.execute("UPDATE mailstore.account_state SET change_floor = 3 WHERE account_id = $1", ann.id)
    request = mailbox_pb2.GetChangesRequest(mailbox_id=await store.mailbox_id(ann), since_modseq=1)
    assert (await store.mailbox.GetChanges(request, metadata=ann.metadata)).reload


async def test_facts_come_in_bounded_pages_by_ascending_uid(store: MailStore) -> None:
    ann = store.account()
    large = b"X-Large: " + b"x" * 60_000 + b"\r\n\r\n"
    await store.deliver(ann, *([large] * 40))
    request = mailbox_pb2.FetchFactsRequest(mailbox_id=await store.mailbox_id(ann), header=True)
    request.uids.add(first=3, last=2**32 - 1)
    pages = [page async for page in store.mailbox.FetchFacts(request, metadata=ann.metadata)]
    assert [fact.uid for page in pages for fact in page.facts] == list(range(3, 41))
    assert len(pages) > 1
    assert max(page.ByteSize() for page in pages) < 2 * 1024 * 1024
    assert all(fact.header == large for page in pages for fact in page.facts)
    request.header, request.envelope = False, True
    (page,) = [page async for page in store.mailbox.FetchFacts(request, metadata=ann.metadata)]
    assert all(fact.envelope and not fact.header for fact in page.facts)


async def test_ranges_are_read_across_prefix_and_octets(store: MailStore) -> None:
    ann = store.account()
    await store.deliver(ann, HELLO)
    inbox = await store.mailbox_id(ann)
    whole = await store.read(ann, inbox, 1, prefix=True)
    edge = len(whole) - len(HELLO)
    wanted = [(0, 5), (edge - 3, 6), (edge, 4), (len(whole) - 2, 10), (len(whole) + 5, 5), (0, 0), (2, 2**40)]
    request = mailbox_pb2.ReadMessagesRequest(mailbox_id=inbox)
    for offset, length in wanted:
        request.reads.add(uid=1, offset=offset, length=length)
    request.reads.add(uid=99, offset=0, length=10)
    found = [b""] * len(request.reads)
    ended: list[int] = []
    async for answer in store.mailbox.ReadMessages(request, metadata=ann.metadata):
        found[answer.chunk.read] += answer.chunk.octets
        ended += [answer.chunk.read] if answer.chunk.last else []
    assert found == [*(whole[offset : offset + length] for offset, length in wanted), b""]
    assert ended == list(range(len(wanted) + 1))
    request.reads[0].offset = -1
    with pytest.raises(InvalidRequestError):
        _ = [answer async for answer in store.mailbox.ReadMessages(request, metadata=ann.metadata)]


async def test_many_messages_come_in_few_answers_and_in_their_order(own_store: MailStore) -> None:
    ann = own_store.account()
    inbox = await own_store.mailbox_id(ann)
    sizes = [10, 200_000, 0, 250_000, 262_144, 5, 100_000, 100_000, 100_000, 3]
    for number, size in enumerate(sizes):
        await own_store.append(ann, inbox, bytes([number]) * size)
    request = mailbox_pb2.ReadMessagesRequest(mailbox_id=inbox, batched=True)
    for number, size in enumerate(sizes):
        request.reads.add(uid=number + 1, offset=size // 2, length=2**40)
    request.reads.add(uid=99, length=7)
    answers = [answer async for answer in own_store.mailbox.ReadMessages(request, metadata=ann.metadata)]
    chunks = [chunk for answer in answers for chunk in answer.chunks]
    assert [chunk.read for chunk in chunks if chunk.last] == list(range(len(sizes) + 1))
    assert [chunk.read for chunk in chunks] == sorted(chunk.read for chunk in chunks)
    for number, size in enumerate(sizes):
        octets = b"".join(chunk.octets for chunk in chunks if chunk.read == number)
        assert octets == bytes([number]) * (size - size // 2)
    assert len(answers) < len(sizes) / 2
    assert max(answer.ByteSize() for answer in answers) < 1024 * 1024


async def test_whole_messages_come_as_they_are_stored_to_who_takes_frames(own_store: MailStore) -> None:
    ann = own_store.account()
    octets = b"Subject: long\r\n\r\n" + b"the same again\r\n" * 1_000
    await own_store.deliver(ann, octets)
    inbox = await own_store.mailbox_id(ann)
    whole = await own_store.read(ann, inbox, 1, prefix=True)
    prefix = whole.removesuffix(octets)
    assert prefix
    request = mailbox_pb2.ReadMessagesRequest(mailbox_id=inbox, batched=True, compressed=True)
    for offset, length in ((0, len(whole)), (0, 2**40), (0, len(whole) - 1), (1, len(whole)), (0, 0)):
        request.reads.add(uid=1, offset=offset, length=length)
    request.reads.add(uid=2, length=10)
    (answer,) = [answer async for answer in own_store.mailbox.ReadMessages(request, metadata=ann.metadata)]
    assert all(chunk.last for chunk in answer.chunks)
    for chunk in answer.chunks[:2]:
        assert chunk.octets == prefix
        assert len(chunk.zstd) < len(octets) / 10
        assert zstandard.decompress(chunk.zstd) == octets
    assert [chunk.zstd for chunk in answer.chunks[2:]] == [b""] * 4
    assert [chunk.octets for chunk in answer.chunks[2:]] == [whole[:-1], whole[1:], b"", b""]
    request.batched = False
    found = [answer.chunk async for answer in own_store.mailbox.ReadMessages(request, metadata=ann.metadata)]
    assert not any(chunk.zstd for chunk in found)
    assert found[0].octets == whole


async def test_answers_are_bounded_by_what_their_frames_hold(own_store: MailStore) -> None:
    ann = own_store.account()
    inbox = await own_store.mailbox_id(ann)
    for _ in range(6):
        await own_store.append(ann, inbox, b"x" * 100_000)
    request = mailbox_pb2.ReadMessagesRequest(mailbox_id=inbox, batched=True, compressed=True)
    for uid in range(1, 7):
        request.reads.add(uid=uid, length=2**40)
    answers = [answer async for answer in own_store.mailbox.ReadMessages(request, metadata=ann.metadata)]
    assert [[chunk.read for chunk in answer.chunks] for answer in answers] == [[0, 1], [2, 3], [4, 5]]


async def test_a_reader_that_leaves_in_the_middle_leaves_no_reading_behind(own_store: MailStore) -> None:
    ann = own_store.account()
    inbox = await own_store.mailbox_id(ann)
    for _ in range(12):
        await own_store.append(ann, inbox, b"x" * 250_000)
    wanted = [RangeWanted(uid, 0, 10) for uid in range(1, 13)]
    place = ReadFrom(ann.id, UUID(bytes=inbox))
    before = asyncio.all_tasks()
    batches = read_messages(own_store.database, own_store.parts.reader, place, wanted)
    assert (await anext(batches))[0].octets == b"x" * 10
    await batches.aclose()
    assert asyncio.all_tasks() <= before


def _uids(found: mailbox_pb2.UidSet) -> list[int]:
    return [uid for each in found.ranges for uid in range(each.first, each.last + 1)]


async def _search(
    store: MailStore, account: MailAccount, *terms: tuple[mailbox_pb2.TextTerm.Field.ValueType, str, str]
) -> list[list[int]]:
    request = mailbox_pb2.SearchTextRequest(mailbox_id=await store.mailbox_id(account))
    request.uids.add(first=1, last=2**32 - 1)
    for field, name, value in terms:
        request.terms.add(field=field, header_name=name, value=value)
    answer = await store.mailbox.SearchText(request, metadata=account.metadata)
    return [_uids(found) for found in answer.matches]


_HEADER, _BODY, _TEXT = (
    mailbox_pb2.TextTerm.FIELD_HEADER,
    mailbox_pb2.TextTerm.FIELD_BODY,
    mailbox_pb2.TextTerm.FIELD_TEXT,
)


async def test_text_is_found_decoded_and_without_case(store: MailStore) -> None:
    ann = store.account()
    await store.deliver(
        ann,
        b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nDate: 02 Nov 2026 23:30:00 -0500\r\n\r\nplain body\r\n",
        b"Subject: other\r\nX-Odd:\r\nContent-Transfer-Encoding: base64\r\n\r\nSGlkZGVuIHRleHQ=\r\n",
        b"no header at all",
        b"Subject: \xff\x00 raw\r\n\r\n\xff\x00\r\n",
    )
    found = await _search(
        store,
        ann,
        (_HEADER, "subject", "grüße"),
        (_HEADER, "X-odd", ""),
        (_BODY, "", "HIDDEN"),
        (_TEXT, "", "other"),
        (_BODY, "", "other"),
        (mailbox_pb2.TextTerm.FIELD_SENT_ON, "", "2026-11-02"),
        (mailbox_pb2.TextTerm.FIELD_SENT_SINCE, "", "2026-11-03"),
    )
    assert found == [[1], [2], [2], [2], [], [1], []]
    with pytest.raises(InvalidRequestError):
        await _search(store, ann, (mailbox_pb2.TextTerm.FIELD_SENT_ON, "", "yesterday"))


async def test_a_broken_message_spoils_no_search(own_store: MailStore) -> None:
    store, ann = own_store, own_store.account()
    await store.deliver(ann, HELLO, HELLO)
    await store.execute(
        "DELETE FROM mailstore.segment_1 WHERE blob_id = (SELECT blob_id FROM mailstore.message LIMIT 1)"
    )
    ((found,), subjects) = await _search(store, ann, (_BODY, "", "hello"), (_HEADER, "subject", "hello"))
    assert found in {1, 2}
    assert subjects == [1, 2]
