"""STOR and APPE: from the data connection to the object store, and then all at once into sight."""

from collections.abc import AsyncGenerator
from typing import Final
from uuid import UUID

from ftp_gateway.errors import TransferError
from ftp_gateway.files import Files
from postroom.filestore.v1 import file_pb2 as pb
from postroom_contracts.ids import new_id
from postroom_runtime.connection import Connection
from postroom_runtime.steps import reached
from postroom_runtime.transfer import PartUrl, Stored, Transfers
from postroom_wire.ftp import AsciiDecoder, FtpPath
from postroom_wire.ftp.standard_replies import TRANSFER_ABORTED

_SINGLE_PUT: Final = 0


class Upload:
    """One upload, begun: the intent is there, and the file is not touched before the end."""

    def __init__(
        self, files: Files, transfers: Transfers, upload_id: UUID, begun: pb.BeginUploadResponse
    ) -> None:
        self._files, self._transfers = files, transfers
        self._id, self._begun = upload_id, begun
        self._decoder: AsciiDecoder | None = None
        self._ended = False
        self._octets = 0
        self._single = False
        self._stored: Stored | None = None

    @classmethod
    async def begin(
        cls, files: Files, transfers: Transfers, path: FtpPath, *, offset: int = 0, append: bool = False
    ) -> "Upload":
        """Say what is to be written, behind how much of what is there. Raises `PostroomError`."""
        upload_id = new_id()
        begun = await files.begin(upload_id, path, keep=offset, append=append)
        reached("stor.begun")
        return cls(files, transfers, upload_id, begun)

    async def run(self, data: Connection, *, ascii_type: bool) -> int:
        """Take all that the client sends; gives the number of its octets once the object store has them.

        Raises `TransferError` when the client did not end in order, `PostroomError`, `StaleUrlError`.
        """
        self._decoder = AsciiDecoder() if ascii_type else None
        begun = self._begun
        self._stored = await self._transfers.put_parts(
            self._part_urls(),
            self._source(data),
            part_size=begun.part_size,
            first_number=begun.next_part_number,
        )
        reached("stor.stored")
        return self._octets

    async def commit(self) -> None:
        """Bring it into sight, after `run`: from here on it is durable. Raises `PostroomError`."""
        if self._stored is not None:
            await self._files.publish(self._id, self._stored, self._begun.copied, single=self._single)
        reached("stor.published")

    async def abort(self) -> None:
        """Give it up: the old file stays."""
        await self._files.abort(self._id)

    @property
    def _is_all(self) -> bool:
        """Whether it is certain that the first part is all there is, so that one PUT does."""
        offered = any(part.number == _SINGLE_PUT for part in self._begun.parts)
        tail = self._begun.tail_length
        return offered and self._ended and tail + self._octets <= self._begun.part_size

    def _part_urls(self) -> PartUrl:
        more = self._files.part_urls(self._id)
        known = {part.number: part.url for part in self._begun.parts}

        async def url(number: int) -> str:
            if number == self._begun.next_part_number and self._is_all:
                self._single = True
                return known[_SINGLE_PUT]
            if number in known:
                return known.pop(number)
            return await more(number)

        return url

    async def _source(self, data: Connection) -> AsyncGenerator[bytes]:
        begun = self._begun
        if begun.tail_length:
            async for chunk in self._transfers.get_range(
                begun.tail_url, begun.tail_offset, begun.tail_length
            ):
                yield chunk
        while octets := await data.receive():
            if self._decoder is not None:
                octets = self._decoder.decode(octets)
            self._octets += len(octets)
            if octets:
                yield octets
        if not data.ended:
            # Under TLS the end must be said, or anybody on the way could cut a file short: RFC 4217 s15.
            raise TransferError(TRANSFER_ABORTED)
        if self._decoder is not None and (held := self._decoder.finish()):
            self._octets += len(held)
            yield held
        self._ended = True
