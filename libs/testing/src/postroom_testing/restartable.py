"""A service in the test's own loop that can be stopped and started again."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from postroom_runtime.lifecycle import Lifecycle

_START_SECONDS = 30.0


class Restartable:
    """Runs `serve` with a fresh lifecycle at each start. As a context manager it runs within the block."""

    def __init__(self, serve: Callable[[Lifecycle], Awaitable[None]]) -> None:
        self._serve = serve
        self._lifecycle = Lifecycle()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start, and wait until it is ready. What it fails with is raised here."""
        self._lifecycle = Lifecycle()
        self._task = asyncio.get_running_loop().create_task(self._run())
        async with asyncio.timeout(_START_SECONDS):
            while not self._lifecycle.ready:
                if self._task.done():
                    await self._task
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Stop, and wait for the end."""
        if self._task is not None:
            self._lifecycle.stop()
            task, self._task = self._task, None
            await task

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def _run(self) -> None:
        await self._serve(self._lifecycle)
