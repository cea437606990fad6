"""COMPRESS=DEFLATE (RFC 4978) against the real mail store, and its stream alone."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_access.imap.compressing import MAX_PIECE, DeflateError, Inflater, deflate
from postroom_testing.imap_client import Connect

BODY = b"".join(b"%d bottles of beer on the wall\r\n" % number for number in range(5_000))
MAIL = b"From: Ann <ann@example.org>\r\nSubject: Tea\r\n\r\n" + BODY


class Deflated:
    """A client that compresses, and inflates what it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.out = zlib.compressobj(9, zlib.DEFLATED, -15)
        self._into = zlib.decompressobj(-15)
        self._told = b""
        self.active = False

    def send(self, octets: bytes, *, cut: bool = False) -> None:
        if self.active:
            octets = self.out.compress(octets) + self.out.flush(zlib.Z_SYNC_FLUSH)
        for piece in [octets[at : at + 1] for at in range(len(octets))] if cut else [octets]:
            self._writer.write(piece)

    def send_raw(self, octets: bytes) -> None:
        self._writer.write(octets)

    async def until(self, end: bytes) -> bytes:
        """What is told up to these octets."""
        async with asyncio.timeout(20):
            while (at := self._told.find(end)) < 0:
                octets = await self._reader.read(65_536)
                if not octets:
                    raise EOFError(self._told)
                self._told += self._into.decompress(octets) if self.active else octets
        found, self._told = self._told[: at + len(end)], self._told[at + len(end) :]
        return found

    async def command(self, text: bytes, *, cut: bool = False) -> bytes:
        self.send(b"t " + text + b"\r\n", cut=cut)
        return await self.until(b"\r\nt ") + await self.until(b"\r\n")

    async def compress(self) -> None:
        self.send(b"c COMPRESS deflate\r\n")
        assert await self.until(b"c OK DEFLATE active\r\n")
        self.active = True

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
async def client(imap_port: int, mail_account: tuple[str, str]) -> AsyncIterator[Deflated]:
    reader, writer = await asyncio.open_connection("127.0.0.1", imap_port)
    client = Deflated(reader, writer)
    client.send(b't LOGIN %b "%b"\r\n' % tuple(text.encode() for text in mail_account))
    assert b"COMPRESS=DEFLATE" in await client.until(b"Logged in\r\n")
    yield client
    client.close()


@pytest.mark.parametrize("cut", [False, True])
async def test_all_that_follows_is_compressed(client: Deflated, cut: bool) -> None:
    await client.compress()
    client.send(b"a APPEND INBOX {%d+}\r\n" % len(MAIL) + MAIL + b"\r\n", cut=False)
    await client.until(b"APPEND completed\r\n")
    assert b"1 EXISTS" in await client.command(b"SELECT INBOX", cut=cut)
    assert MAIL in await client.command(b"FETCH 1 BODY.PEEK[]", cut=cut)
    client.send(b"i IDLE\r\n", cut=cut)
    await client.until(b"+ idling\r\n")
    client.send(b"DONE\r\n", cut=cut)
    await client.until(b"i OK IDLE completed\r\n")


async def test_it_is_begun_once_and_only_after_the_login(client: Deflated, imap: Connect) -> None:
    await client.compress()
    client.send(b"c COMPRESS DEFLATE\r\n")
    assert await client.until(b"\r\n") == b"c BAD [COMPRESSIONACTIVE] DEFLATE is active already\r\n"
    stranger = await imap(None)
    assert b"COMPRESS" not in stranger.greeting
    assert (await stranger.command("COMPRESS DEFLATE")).text.startswith(b"BAD ")
    assert (await (await imap()).command("COMPRESS LZW")).text.startswith(b"BAD ")


async def test_what_is_not_deflate_ends_the_session(client: Deflated) -> None:
    await client.compress()
    client.send_raw(b"t NOOP\r\n")
    assert (await client.until(b"\r\n")).startswith(b"* BYE ")
    with pytest.raises(EOFError):
        await client.until(b"\r\n")


async def test_a_small_input_cannot_become_large(client: Deflated) -> None:
    """Some 136 KB that are a line of 136 MB: skipped in pieces, and then given up."""
    await client.compress()
    chunk = b"a" * 1_000_000
    client.send_raw(
        b"".join(client.out.compress(chunk) for _ in range(136)) + client.out.flush(zlib.Z_SYNC_FLUSH)
    )
    with pytest.raises(EOFError) as ended:
        await client.until(b"never")
    assert b"BAD [TOOBIG] " in ended.value.args[0]
    assert b"* BYE " in ended.value.args[0]


async def test_unauthenticate_ends_it(client: Deflated, mail_account: tuple[str, str]) -> None:
    """RFC 8437 s4.1; the client's stream ends with its command, and a login may follow at once."""
    await client.compress()
    login = b't LOGIN %b "%b"\r\n' % tuple(text.encode() for text in mail_account)
    client.send_raw(client.out.compress(b"u UNAUTHENTICATE\r\n") + client.out.flush(zlib.Z_FINISH) + login)
    await client.until(b"u OK UNAUTHENTICATE completed\r\n")
    client.active = False
    await client.until(b"Logged in\r\n")
    assert b"INBOX" in await client.command(b'LIST "" INBOX')


@given(pieces=st.lists(st.binary(max_size=300), max_size=6), cuts=st.lists(st.integers(0, 400), max_size=5))
def test_pieces_are_one_stream_however_it_is_cut(pieces: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(deflate(piece) for piece in pieces)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    inflater, heard = Inflater(), b""
    for start, end in pairwise(edges):
        heard += inflater.inflate(stream[start:end])
        while inflater.has_more:
            heard += inflater.inflate()
    assert heard == b"".join(pieces)


@pytest.mark.parametrize("size", [MAX_PIECE - 1, MAX_PIECE, MAX_PIECE + 1, MAX_PIECE + 258, 3 * MAX_PIECE])
def test_no_step_gives_more_than_a_piece_and_nothing_stays_inside(size: int) -> None:
    inflater, heard = Inflater(), b""
    octets = deflate(b"a" * size)
    heard = inflater.inflate(octets)
    assert len(heard) <= MAX_PIECE
    while inflater.has_more:
        piece = inflater.inflate()
        assert len(piece) <= MAX_PIECE
        heard += piece
    assert heard == b"a" * size


@given(octets=st.binary(max_size=200))
def test_any_octets_are_inflated_or_refused(octets: bytes) -> None:
    inflater = Inflater()
    try:
        inflater.inflate(octets)
        while inflater.has_more:
            inflater.inflate()
    except DeflateError:
        return


def test_nothing_may_come_behind_the_end() -> None:
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    inflater = Inflater()
    assert inflater.inflate(compressor.compress(b"x") + compressor.flush(zlib.Z_FINISH) + b"rest") == b"x"
    assert inflater.rest == b"rest"
    with pytest.raises(DeflateError):
        inflater.inflate(b"more")
