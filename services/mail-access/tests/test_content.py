"""Octets of messages: taken up where they broke, and never told wrongly."""

from collections.abc import AsyncGenerator, Iterable, Sequence
from types import SimpleNamespace
from typing import cast
from uuid import UUID

import pytest
import zstandard

from mail_access.content import ContentReader, Piece, Pieces, ReadRange
from mail_access.imap import selecting
from mail_access.imap.refusals import refusal_of
from mail_access.limits import Limits
from mail_access.login import Login
from mail_access.store import MailStore
from postroom.mailstore.v1 import content_pb2, mailbox_pb2
from postroom_contracts.errors import ERRORS, UnavailableError
from postroom_contracts.ids import new_id
from postroom_runtime.transfer import Transfers
from postroom_testing.imap_client import Connect

LOGIN = cast(Login, SimpleNamespace())
MESSAGES = {1: b"0123456789" * 10, 2: b"abcdefghij" * 7}
MAIL = b"Subject: long\r\n\r\n" + b"0123456789abcdef\r\n" * 14_000


class BreakingStore(MailStore):
    """Gives seven octets at a time, and breaks off after so many pieces."""

    def __init__(self, breaks_after: Iterable[int]) -> None:
        self.limits = Limits(read_again_seconds=0)
        self.breaks_after = list(breaks_after)
        self.calls = 0

    async def read_messages(
        self, login: Login, mailbox_id: UUID, reads: Iterable[mailbox_pb2.MessageRange]
    ) -> AsyncGenerator[mailbox_pb2.ReadMessagesResponse]:
        self.calls += 1
        left = self.breaks_after.pop(0) if self.breaks_after else 10**9
        for number, each in enumerate(reads):
            octets = MESSAGES.get(each.uid, b"")[each.offset : each.offset + each.length]
            for start in range(0, len(octets), 7):
                if not left:
                    raise UnavailableError("broken off")
                left -= 1
                chunk = content_pb2.ContentChunk(read=number, octets=octets[start : start + 7])
                yield mailbox_pb2.ReadMessagesResponse(chunk=chunk)
            yield mailbox_pb2.ReadMessagesResponse(chunk=content_pb2.ContentChunk(read=number, last=True))


async def read(store: MailStore, ranges: Sequence[ReadRange]) -> list[bytes]:
    reader = ContentReader(store, cast(Transfers, SimpleNamespace()))
    found = [b""] * len(ranges)
    ended: list[int] = []
    async for piece in reader.read(LOGIN, new_id(), ranges):
        found[piece.number] += piece.octets
        if piece.last:
            ended.append(piece.number)
    assert ended == list(range(len(ranges)))
    return found


@pytest.mark.parametrize("breaks", [(), (1,), (3, 4), (15, 1, 1), (1,) * 40, (1, 0, 1, 0)])
async def test_a_stream_that_breaks_is_taken_up_where_it_broke(breaks: Sequence[int]) -> None:
    store = BreakingStore(breaks)
    ranges = [ReadRange(1, 5, 80), ReadRange(9, 0, 10), ReadRange(2, 0, 70), ReadRange(1, 0, 0)]
    assert await read(store, ranges) == [MESSAGES[1][5:85], b"", MESSAGES[2], b""]
    assert store.calls >= min(len(breaks), 3)


async def test_a_stream_that_does_not_move_on_is_given_up() -> None:
    store = BreakingStore([2, 0, 0, 0, 0, 0])
    with pytest.raises(UnavailableError):
        await read(store, [ReadRange(1, 0, 100)])
    assert store.calls == 3


async def test_what_is_at_hand_is_taken_whole_or_not_at_all() -> None:
    async def batches() -> AsyncGenerator[list[Piece]]:
        yield [Piece(0, b"abc", last=True), Piece(1, b"", last=True)]
        yield []
        yield [Piece(2, b"d", last=False), Piece(2, b"ef", last=True), Piece(3, b"", last=True)]

    pieces = Pieces(batches())
    assert pieces.take_whole(0, 3) is None  # nothing has come yet
    assert await anext(pieces) == Piece(0, b"abc", last=True)
    assert pieces.take_whole(1, 4) is None  # it is gone
    assert await anext(pieces) == Piece(1, b"", last=True)
    assert pieces.take_whole(2, 3) is None
    assert await anext(pieces) == Piece(2, b"d", last=False)
    assert pieces.take_whole(2, 3) is None  # its beginning was taken
    assert await anext(pieces) == Piece(2, b"ef", last=True)
    assert pieces.take_whole(4, 0) is None  # another one comes first
    assert pieces.take_whole(3, 0) == b""
    assert [piece async for piece in pieces] == []


async def test_several_messages_that_come_in_one_answer_are_told_one_by_one() -> None:
    class Together(BreakingStore):
        async def read_messages(
            self, login: Login, mailbox_id: UUID, reads: Iterable[mailbox_pb2.MessageRange]
        ) -> AsyncGenerator[mailbox_pb2.ReadMessagesResponse]:
            answer = mailbox_pb2.ReadMessagesResponse()
            for number, each in enumerate(reads):
                answer.chunks.add(read=number, octets=MESSAGES.get(each.uid, b"")[: each.length], last=True)
            yield answer

    reader = ContentReader(Together([]), cast(Transfers, SimpleNamespace()))
    ranges = [ReadRange(1, 0, 100), ReadRange(9, 0, 10), ReadRange(2, 0, 70)]
    assert [piece async for piece in reader.read(LOGIN, new_id(), ranges)] == [
        Piece(0, MESSAGES[1], last=False),
        Piece(0, b"", last=True),
        Piece(1, b"", last=True),
        Piece(2, MESSAGES[2], last=False),
        Piece(2, b"", last=True),
    ]


class FramedStore(BreakingStore):
    """Gives each message in one chunk: the first octets as they are, then a frame."""

    def __init__(self, frame: bytes | None = None) -> None:
        super().__init__([])
        self.frame = frame

    async def read_messages(
        self, login: Login, mailbox_id: UUID, reads: Iterable[mailbox_pb2.MessageRange]
    ) -> AsyncGenerator[mailbox_pb2.ReadMessagesResponse]:
        self.calls += 1
        answer = mailbox_pb2.ReadMessagesResponse()
        for number, each in enumerate(reads):
            octets = MESSAGES.get(each.uid, b"")
            zstd = self.frame or (zstandard.compress(octets[each.uid - 1 :]) if octets else b"")
            answer.chunks.add(read=number, octets=octets[: each.uid - 1], zstd=zstd, last=True)
        yield answer


async def test_frames_are_opened() -> None:
    ranges = [ReadRange(2, 0, 70), ReadRange(9, 0, 10), ReadRange(1, 0, 100)]
    assert await read(FramedStore(), ranges) == [MESSAGES[2], b"", MESSAGES[1]]


@pytest.mark.parametrize(
    "frame",
    [b"no frame", zstandard.compress(b"x" * 70)[:-3], zstandard.compress(bytes(256 * 1024 + 1))],
)
async def test_a_frame_that_is_broken_or_too_large_is_never_told(frame: bytes) -> None:
    store = FramedStore(frame)
    with pytest.raises(UnavailableError):
        await read(store, [ReadRange(2, 0, 70)])
    assert store.calls == 2


def break_after(octets: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All reads give so many octets, and then nothing more."""

    async def read(
        self: ContentReader, login: Login, mailbox_id: UUID, ranges: Sequence[ReadRange]
    ) -> AsyncGenerator[list[Piece]]:
        yield [Piece(0, MAIL[:octets], last=False)]
        raise UnavailableError("broken off")

    monkeypatch.setattr(ContentReader, "read_together", read)


async def test_a_literal_that_cannot_be_finished_ends_the_connection_without_a_word(
    imap: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await imap()
    assert (await alice.append("INBOX", MAIL)).ok
    await alice.ok("SELECT INBOX")
    break_after(200_000, monkeypatch)
    alice.send_command("FETCH 1 BODY.PEEK[]")
    try:
        said = await alice.rest()
    except ConnectionResetError:
        said = b""
    assert MAIL.startswith(said.partition(b"}\r\n")[2])


async def test_a_literal_that_was_not_begun_yet_is_taken_back(
    imap: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await imap()
    assert (await alice.append("INBOX", MAIL)).ok
    await alice.ok("SELECT INBOX")
    break_after(1_000, monkeypatch)
    answer = await alice.command("FETCH 1 (UID BODY.PEEK[])")
    assert answer.untagged == []
    assert answer.text == b"NO [UNAVAILABLE] Temporarily unavailable, try again"
    assert (await alice.command("NOOP")).ok


async def test_a_bug_is_told_with_its_incident_and_the_session_goes_on(
    imap: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(context: object) -> None:
        raise ZeroDivisionError("secret detail")

    alice = await imap()
    with monkeypatch.context() as patch:
        patch.setattr(selecting, "look", fail)
        answer = await alice.command("NOOP")
    assert answer.text.startswith(b"NO [SERVERBUG] Internal error, incident ")
    assert b"secret" not in answer.tagged
    assert (await alice.command("NOOP")).ok


# What a mail store or directory never answers to mail access.
NOT_OURS = {
    "aborted",
    "account-exists",
    "account-not-found",
    "alias-exists",
    "alias-not-found",
    "app-password-not-found",
    "claim-lost",
    "delivery-not-found",
    "directory-not-empty",
    "domain-exists",
    "domain-in-use",
    "domain-not-found",
    "invalid-address",
    "is-a-directory",
    "node-exists",
    "node-not-found",
    "not-a-directory",
    "tenant-not-found",
}


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_every_error_has_words_for_the_client_or_is_not_ours(name: str) -> None:
    assert (refusal_of(ERRORS[name]("secret detail")) is None) == (name in NOT_OURS)
