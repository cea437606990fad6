"""Octets of strangers on their way to a browser: named, never shown in our name, never sniffed."""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final
from urllib.parse import quote

from starlette.responses import StreamingResponse

_MEDIA_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}")
_OCTETS: Final = "application/octet-stream"
# What a browser might run; it gets octets.
_ACTIVE: Final = re.compile(r".*(?:html|xml|script|svg).*|multipart/.*")
_NOT_IN_NAMES: Final = re.compile(r'[\x00-\x1f\x7f"\\/]+')
_NOT_ASCII: Final = re.compile(r"[^ -~]")
_MAX_NAME: Final = 200


def media_type_of(claimed: str) -> str:
    """The type to say."""
    claimed = claimed.lower()
    if _MEDIA_TYPE.fullmatch(claimed) is None or _ACTIVE.fullmatch(claimed) is not None:
        return _OCTETS
    return claimed


def disposition(name: str | None) -> str:
    """Content-Disposition of a file to keep (RFC 6266 s4.1)."""
    clean = _NOT_IN_NAMES.sub("_", name or "").strip(". ")[:_MAX_NAME] or "attachment"
    plain = _NOT_ASCII.sub("_", clean)
    extended = (
        "" if plain == clean else f"; filename*=UTF-8''{quote(clean.encode('utf-8', 'replace'), safe='')}"
    )
    return f'attachment; filename="{plain}"{extended}'


async def download(
    octets: AsyncGenerator[bytes], media_type: str, name: str | None, size: int | None = None
) -> StreamingResponse:
    """The answer, once its first octets are there: what goes wrong before still has an answer of its own."""
    headers = {"Content-Disposition": disposition(name)}
    if size is not None:
        headers["Content-Length"] = str(size)
    return StreamingResponse(await begun(octets), headers=headers, media_type=media_type_of(media_type))


async def begun(octets: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    """The same octets, of which the first are there. Raises what getting them raises."""
    head = await anext(octets, b"")
    return _joined(head, octets)


async def _joined(head: bytes, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(rest):
        if head:
            yield head
        async for piece in rest:
            yield piece
