"""Waiting for what another process does, where nothing tells that it happened."""

import asyncio
from collections.abc import Callable
from pathlib import Path

_POLL_SECONDS = 0.01


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Return when the condition holds; raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(_POLL_SECONDS)


def is_alive(pid: int) -> bool:
    """Whether the process runs (or could go on); one that nobody has waited for is dead."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in {"Z", "X"}
