"""The octets of a message as they are gathered."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
import zstandard

from postroom_contracts.errors import UnavailableError
from postroom_contracts.ids import new_id
from postroom_runtime.transfer import Stored
from smtp_inbound.content import Gathering

TRACE = b"Received: from client.example\r\n"


async def no_upload(upload_id: UUID, source: AsyncIterator[bytes]) -> Stored:
    """The messages here are small."""
    raise UnavailableError(str(upload_id))


@pytest.mark.parametrize(
    ("octets", "separator"),
    [
        (b"Subject: hi\r\n\r\nhi\r\n", b""),
        (b"Hello Bob,\r\nwhere are you?\r\n", b"\r\n"),
        (b"no line", b"\r\n"),
        (b"", b""),
    ],
)
async def test_what_goes_below_the_trace_does_not_depend_on_how_the_octets_come(
    octets: bytes, separator: bytes
) -> None:
    for size in (1, 5, 1_000):
        gathering = Gathering(no_upload, new_id(), TRACE)
        for start in range(0, len(octets), size):
            await gathering.add(octets[start : start + size])
        content = await gathering.finish()
        assert zstandard.decompress(content.zstd) == TRACE + separator + octets
