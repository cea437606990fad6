"""RETR: from the object store to the data connection."""

from typing import Final

from postroom.filestore.v1 import file_pb2 as pb
from postroom_runtime.connection import Connection
from postroom_runtime.transfer import Transfers
from postroom_wire.ftp import AsciiEncoder

_PIECE: Final = 65_536


async def send(data: Connection, octets: bytes) -> None:
    """Write in pieces that the peer's window can push back. Raises `PeerGoneError`, `PeerTimeoutError`."""
    if len(octets) <= _PIECE:
        data.write(octets)
        await data.drain()
        return
    view = memoryview(octets)
    for start in range(0, len(view), _PIECE):
        data.write(bytes(view[start : start + _PIECE]))
        await data.drain()


class Download:
    """One file that is there, from `offset` on. The version stays the same whatever happens to the file."""

    def __init__(self, transfers: Transfers, opened: pb.OpenFileResponse, offset: int) -> None:
        self._transfers, self._opened, self._offset = transfers, opened, offset

    async def run(self, data: Connection, *, ascii_type: bool) -> int:
        """Send it to the end; gives the number of octets of the file that were sent.

        Raises `PeerGoneError`, `PeerTimeoutError`, `PostroomError`, `StaleUrlError`.
        """
        length = self._opened.node.size - self._offset
        if length <= 0 or not self._opened.url:
            return 0
        encoder = AsciiEncoder() if ascii_type else None
        async for chunk in self._transfers.get_range(self._opened.url, self._offset, length):
            await send(data, encoder.encode(chunk) if encoder is not None else chunk)
        return length
