"""Reading ahead: the next answer is under way while this one is sent."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def one_ahead(calls: Iterable[Callable[[], Awaitable[T]]]) -> AsyncGenerator[T]:
    """The results of the calls in their order; each begins once the one before has ended.

    So two results are held at most. What is under way when the reader leaves is cancelled.
    """
    waiting = iter(calls)
    ahead: asyncio.Future[T] | None = None
    if (first := next(waiting, None)) is not None:
        ahead = asyncio.ensure_future(first())
    try:
        while ahead is not None:
            result, ahead = await ahead, None
            if (following := next(waiting, None)) is not None:
                ahead = asyncio.ensure_future(following())
            yield result
    finally:
        if ahead is not None:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)
