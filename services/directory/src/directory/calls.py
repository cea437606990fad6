"""What the methods of all our services have in common."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from postroom_contracts.errors import UnavailableError


@asynccontextmanager
async def in_time(seconds: float) -> AsyncGenerator[None]:
    """Raises `UnavailableError` when it takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise UnavailableError("too late") from None
