"""LIST, NLST, MLSD and STAT: a directory's pages, turned into lines as they come."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeAlias

from ftp_gateway.downloads import send
from ftp_gateway.errors import TransferError
from ftp_gateway.files import Files
from postroom.filestore.v1 import file_pb2 as pb
from postroom_contracts.errors import NodeNotFoundError, NotADirectoryError  # noqa: A004
from postroom_runtime.connection import Connection
from postroom_wire.ftp import (
    DIRECTORY_PERM,
    FILE_PERM,
    Entry,
    FtpPath,
    Glob,
    Reply,
    Target,
    list_line,
    mlsd_line,
    name_line,
    status_listing,
)
from postroom_wire.ftp.standard_replies import MLSD_NEEDS_DIRECTORY

Line: TypeAlias = Callable[[pb.Node], bytes]

_CHUNK: Final = 32_768


def entry_of(node: pb.Node) -> Entry:
    """A node as listings show it."""
    return Entry(
        name=node.name,
        is_directory=node.directory,
        size=node.size,
        modified=node.modified_at.ToDatetime(UTC),
        unique=node.id.hex(),
        perm=DIRECTORY_PERM if node.directory else FILE_PERM,
        created=node.created_at.ToDatetime(UTC),
    )


@dataclass(frozen=True, slots=True)
class Listing:
    """What there is to list: found before the first line, so that what is not there is told at once."""

    lines: AsyncIterator[bytes]

    async def run(self, data: Connection) -> int:
        """Send it; gives the number of its octets.

        Raises `PeerGoneError`, `PeerTimeoutError`, `PostroomError`.
        """
        sent, held = 0, bytearray()
        async for line in self.lines:
            held += line
            if len(held) >= _CHUNK:
                sent += len(held)
                await send(data, bytes(held))
                held.clear()
        await send(data, bytes(held))
        return sent + len(held)


async def list_target(files: Files, target: Target) -> Listing:
    """LIST. Raises `PostroomError`."""
    now = datetime.now(UTC)

    def line(node: pb.Node) -> bytes:
        return list_line(entry_of(node), now)

    return Listing(await _lines(files, target, inside=line, beside=line, itself=line))


async def names_target(files: Files, target: Target) -> Listing:
    """NLST: what it shows, RETR takes as it is."""
    return Listing(
        await _lines(
            files,
            target,
            inside=lambda node: name_line(target.inside(node.name)),
            beside=lambda node: name_line(target.beside(node.name)),
            itself=lambda _: name_line(target.text),
        )
    )


async def machine_listing(files: Files, path: FtpPath, facts: tuple[str, ...]) -> Listing:
    """MLSD. Raises `TransferError` for a file, `PostroomError`."""
    try:
        first = await files.page(path)
    except NotADirectoryError:
        raise TransferError(MLSD_NEEDS_DIRECTORY) from None
    return Listing(_entries(files, first, None, lambda node: mlsd_line(entry_of(node), facts)))


async def status_of(files: Files, target: Target) -> Reply:
    """STAT with a path: one page at most, since the answer takes the control connection."""
    now = datetime.now(UTC)
    try:
        page = await files.page(target.path)
    except NotADirectoryError:
        node = await files.node(target.path)
        return status_listing(target.path, [list_line(entry_of(node), now)], directory=False)
    lines = [list_line(entry_of(node), now) for node in page.nodes]
    return status_listing(target.path, lines, directory=True)


async def _lines(
    files: Files, target: Target, *, inside: Line, beside: Line, itself: Line
) -> AsyncIterator[bytes]:
    """A directory's entries, or the file itself, or what matches the pattern beside it."""
    try:
        return _entries(files, await files.page(target.path), None, inside)
    except NotADirectoryError:
        return _one(itself(await files.node(target.path)))
    except NodeNotFoundError:
        if target.pattern is None:
            raise
    return _entries(files, await files.page(target.path.parent), target.pattern, beside)


async def _entries(
    files: Files, first: pb.ListNodesResponse, pattern: Glob | None, line: Line
) -> AsyncGenerator[bytes]:
    async for page in files.pages(first):
        for node in page.nodes:
            if pattern is None or pattern.matches(node.name):
                yield line(node)


async def _one(line: bytes) -> AsyncGenerator[bytes]:
    yield line
