"""What a session says leaves in the order in which it was said, or not at all."""

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_access.imap.output import PIECE, Output
from postroom_runtime.tcp import Connection


class Peer:
    """Takes what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.drained = 0

    def write(self, octets: bytes) -> None:
        self.written.append(octets)

    async def drain(self) -> None:
        self.drained += 1


def said_to(peer: Peer) -> Output:
    return Output(cast(Connection, peer))


@given(st.lists(st.binary(max_size=5), max_size=6), st.lists(st.binary(max_size=5), max_size=6), st.data())
def test_what_is_taken_back_was_never_said(
    sent: list[bytes], pieces: list[bytes], data: st.DataObject
) -> None:
    peer = Peer()
    output = said_to(peer)
    output.write_all(sent)
    output.send()
    for piece in pieces:
        output.write(piece)
    whole = b"".join(sent + pieces)
    assert output.position == len(whole)
    place = data.draw(st.integers(0, len(whole)))
    taken_back = output.rewind(place)
    assert taken_back == (place >= len(b"".join(sent)))
    output.write(b"END")
    output.send()
    assert b"".join(peer.written) == (whole[:place] if taken_back else whole) + b"END"


async def test_much_is_sent_at_once_and_little_waits() -> None:
    peer = Peer()
    output = said_to(peer)
    output.write_all([b"a", b"b"])
    await output.flow()
    assert peer.written == []
    output.write(b"c" * PIECE)
    await output.flow()
    assert [len(each) for each in peer.written] == [PIECE + 2]
    assert peer.drained == 1


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
async def test_a_stream_is_sent_in_pieces_that_are_bounded(size: int) -> None:
    peer = Peer()
    output = said_to(peer)
    await output.stream(b"x" * size)
    await output.flush()
    assert b"".join(peer.written) == b"x" * size
    assert all(len(each) <= PIECE for each in peer.written)
