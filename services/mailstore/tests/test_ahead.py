"""Reading ahead."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from mailstore.blobs.ahead import one_ahead


class _Calls:
    """Calls that note when they begin, end or are cancelled."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def call(self, number: int, *, waits: bool = False, fails: bool = False) -> Callable[[], Awaitable[int]]:
        async def run() -> int:
            self.seen.append(f"begin {number}")
            try:
                await (asyncio.Event().wait() if waits else asyncio.sleep(0))
            except asyncio.CancelledError:
                self.seen.append(f"cancel {number}")
                raise
            if fails:
                raise ValueError(number)
            self.seen.append(f"end {number}")
            return number

        return run


async def test_the_next_call_is_under_way_while_a_result_is_looked_at() -> None:
    calls = _Calls()
    results = one_ahead(calls.call(number) for number in range(3))
    assert await anext(results) == 0
    for _ in range(5):
        await asyncio.sleep(0)
    assert calls.seen == ["begin 0", "end 0", "begin 1", "end 1"]
    assert [result async for result in results] == [1, 2]


async def test_who_leaves_cancels_what_is_under_way() -> None:
    calls = _Calls()
    results = one_ahead([calls.call(0), calls.call(1, waits=True), calls.call(2)])
    assert await anext(results) == 0
    await asyncio.sleep(0)
    await results.aclose()
    assert calls.seen == ["begin 0", "end 0", "begin 1", "cancel 1"]


async def test_an_error_comes_in_its_turn() -> None:
    calls = _Calls()
    results = one_ahead([calls.call(0), calls.call(1, fails=True), calls.call(2)])
    assert await anext(results) == 0
    with pytest.raises(ValueError, match="1"):
        await anext(results)
    assert "begin 2" not in calls.seen


async def test_no_calls_are_no_results() -> None:
    assert [result async for result in one_ahead(list[Callable[[], Awaitable[int]]]())] == []
