"""From the 250 of SMTP to the moment in which a waiting IMAP client has read the message."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final

from bench.imap_sessions import ImapSession
from bench.smtp_load import ReplyError, SmtpClient, message

_LATE_SECONDS: Final = 90.0
_LOOK_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class VisibleLoad:
    """So many messages of so many octets over so many sessions; `rate` per second, 0 as fast as they go."""

    sessions: int
    messages: int
    rate: float = 0.0
    size: int = 2048


@dataclass(frozen=True, slots=True)
class Box:
    """A mailbox: its address for SMTP, its owner's name and password for IMAP."""

    address: str
    user: str
    password: str


@dataclass(slots=True)
class Seen:
    """When each message was accepted and when it was read, in seconds from the same begin."""

    begun: float
    accepted: dict[str, float] = field(default_factory=dict[str, float])
    read: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def waits(self) -> list[float]:
        """Seconds from acceptance until read."""
        return [max(0.0, self.read[name] - when) for name, when in self.accepted.items()]

    @property
    def seconds(self) -> float:
        """From the begin until the last was read."""
        return max(self.read.values()) - self.begun


async def make_visible(smtp_port: int, imap_port: int, boxes: Sequence[Box], load: VisibleLoad) -> Seen:
    """Send the load while one client waits at each mailbox. Raises ReplyError when one stays invisible."""
    seen = Seen(0.0)
    async with AsyncExitStack() as stack:
        watching: list[asyncio.Task[None]] = []
        for box in boxes:
            session = await ImapSession.open(imap_port, box.user, box.password)
            stack.callback(session.close)
            watching.append(asyncio.create_task(session.watch(seen.read)))
        await asyncio.sleep(_LOOK_SECONDS)
        seen.begun = time.perf_counter()
        try:
            await _send(smtp_port, boxes, load, seen)
            await _until_seen(seen, watching)
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
    return seen


async def _send(port: int, boxes: Sequence[Box], load: VisibleLoad, seen: Seen) -> None:
    run, numbers = secrets.token_hex(3), iter(range(load.messages))

    async def session() -> None:
        client = await SmtpClient.open(port)
        for number in numbers:
            if load.rate:
                await asyncio.sleep(seen.begun + number / load.rate - time.perf_counter())
            address, name = boxes[number % len(boxes)].address, f"{run}-{number}"
            await client.send(address, message(load.size, name, address))
            seen.accepted[name] = time.perf_counter()
        await client.quit()

    await _together(session, load.sessions)


async def _until_seen(seen: Seen, watching: Sequence[asyncio.Task[None]]) -> None:
    end = time.perf_counter() + _LATE_SECONDS
    while missing := len(seen.accepted.keys() - seen.read.keys()):
        for task in watching:
            if task.done():
                task.result()
        if time.perf_counter() > end:
            raise ReplyError(f"{missing} messages were accepted and did not become visible")
        await asyncio.sleep(_LOOK_SECONDS)


async def _together(job: Callable[[], Awaitable[None]], times: int) -> None:
    async def run() -> None:
        await job()

    async with asyncio.TaskGroup() as group:
        for _ in range(times):
            group.create_task(run())
