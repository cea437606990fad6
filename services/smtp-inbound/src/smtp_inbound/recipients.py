"""Where addresses lead: asked of the directory, many at once.

While one question is under way the addresses of other sessions gather, and the next question carries them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from postroom.directory.v1 import directory_pb2
from postroom_contracts.errors import PostroomError, UnavailableError

MAX_ADDRESSES = 500

Ask = Callable[[Sequence[str]], Awaitable[Sequence[directory_pb2.Resolution]]]
"""Resolves addresses; answers in their order."""


class RecipientResolver:
    """Resolves addresses in shared questions. Run `run` in a task group."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._waiting: list[tuple[str, asyncio.Future[directory_pb2.Resolution]]] = []
        self._arrived = asyncio.Event()

    async def resolve(self, address: str) -> directory_pb2.Resolution:
        """Where mail to an address goes. Raises UnavailableError."""
        future: asyncio.Future[directory_pb2.Resolution] = asyncio.get_running_loop().create_future()
        self._waiting.append((address, future))
        self._arrived.set()
        return await future

    async def run(self) -> None:
        """Ask what gathers, until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                batch, self._waiting = self._waiting[:MAX_ADDRESSES], self._waiting[MAX_ADDRESSES:]
                await self._answer(batch)

    async def _answer(self, batch: Sequence[tuple[str, asyncio.Future[directory_pb2.Resolution]]]) -> None:
        try:
            resolutions = await self._ask([address for address, _ in batch])
            if len(resolutions) != len(batch):
                raise UnavailableError("the directory left addresses out")
        except PostroomError as error:
            for _, future in batch:
                if not future.done():  # its session may be gone
                    future.set_exception(UnavailableError(error.name))
            return
        for (_, future), resolution in zip(batch, resolutions, strict=True):
            if not future.done():
                future.set_result(resolution)
