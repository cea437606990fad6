"""Memory of what serves: with nothing to do, and with many IMAP sessions that wait."""

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import uvloop

from bench.imap_sessions import ImapSession
from bench.processes import memory_by_name
from bench.sides import MailSide

_AT_ONCE: Final = 20
_SETTLE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Memory:
    """Proportional memory in MiB by process name, before and with the sessions.

    `kib_per_session` is what one more costs when the first at each mailbox are open, and
    `kib_by_name` in which processes.
    """

    side: str
    sessions: int
    idle: Mapping[str, float]
    waited_on: Mapping[str, float]
    kib_by_name: Mapping[str, float]

    @property
    def kib_per_session(self) -> float:
        """In all processes."""
        return sum(self.kib_by_name.values())

    def lines(self) -> list[str]:
        """As printed."""
        rows = [
            (name, self.idle.get(name, 0.0), self.waited_on.get(name, 0.0), self.kib_by_name.get(name, 0.0))
            for name in sorted({*self.idle, *self.waited_on})
        ]
        rows.append(("all", sum(self.idle.values()), sum(self.waited_on.values()), self.kib_per_session))
        return [
            f"{self.side + ', MiB':46} {'idle':>14} {f'with {self.sessions} IMAP':>14} {'KiB a session':>14}",
            *(
                f"{'  ' + name:46} {idle:14.1f} {all_open:14.1f} {each:14.1f}"
                for name, idle, all_open, each in rows
            ),
        ]

    def document(self) -> dict[str, object]:
        """For the JSON file."""
        return {
            "side": self.side,
            "sessions": self.sessions,
            "idle_mib": dict(self.idle),
            "with_sessions_mib": dict(self.waited_on),
            "kib_per_session": self.kib_per_session,
            "kib_per_session_by_process": dict(self.kib_by_name),
        }


def idle_memory(side: MailSide, sessions: int, *, tls: bool = False) -> Memory:
    """Measure one side before and while these sessions IDLE (RFC 2177), in plain text or within TLS."""
    return uvloop.run(_measure(side, sessions, _anyone() if tls else None))


async def _measure(side: MailSide, sessions: int, tls: ssl.SSLContext | None) -> Memory:
    idle = memory_by_name(side.roots)
    few = len(side.boxes)
    with ExitStack() as stack:
        await _open(stack, side, few, tls)
        first = memory_by_name(side.roots)
        await _open(stack, side, sessions - few, tls)
        all_open = memory_by_name(side.roots)
    each = {name: 1024 * (size - first.get(name, 0.0)) / (sessions - few) for name, size in all_open.items()}
    return Memory(side.name + (" with TLS" if tls else ""), sessions, idle, all_open, each)


async def _open(stack: ExitStack, side: MailSide, count: int, tls: ssl.SSLContext | None) -> None:
    gate = asyncio.Semaphore(_AT_ONCE)
    port = side.imap_port if tls is None else side.imaps_port or 0

    async def open_one(number: int) -> None:
        box = side.boxes[number % len(side.boxes)]
        async with gate:
            session = await ImapSession.open(port, box.user, box.password, tls)
            stack.callback(session.close)
            await session.begin_idle()

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(open_one(number))
    await asyncio.sleep(_SETTLE_SECONDS)


def _anyone() -> ssl.SSLContext:
    """Whoever answers on this machine is the one that the bench has started."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
