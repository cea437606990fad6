import asyncio

import pytest

from postroom_runtime import steps
from postroom_runtime.lifecycle import Lifecycle


async def test_ready_is_started_and_not_draining() -> None:
    lifecycle = Lifecycle()
    assert not lifecycle.ready
    lifecycle.mark_ready()
    assert lifecycle.ready
    lifecycle.stop()
    assert lifecycle.started
    assert lifecycle.draining
    assert not lifecycle.ready


async def test_what_is_to_be_done_before_traffic_comes_is_done() -> None:
    begun: list[bool] = []
    lifecycle = Lifecycle(on_ready=lambda: begun.append(lifecycle.ready))
    assert not begun
    lifecycle.mark_ready()
    assert begun == [False]


async def test_a_drain_waits_for_all_activities() -> None:
    lifecycle = Lifecycle()
    order: list[str] = []

    async def work(name: str, seconds: float) -> None:
        with lifecycle.activity(name):
            await asyncio.sleep(seconds)
            order.append(name)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(work("long", 0.05))
        tasks.create_task(work("short", 0.01))
        await asyncio.sleep(0)
        assert await lifecycle.drain(5) == []
        order.append("drained")
    assert order == ["short", "long", "drained"]


async def test_a_drain_says_who_is_late() -> None:
    lifecycle = Lifecycle()
    with lifecycle.activity("session 2"), lifecycle.activity("session 1"):
        assert await lifecycle.drain(0.01) == ["session 1", "session 2"]
    assert await lifecycle.drain(0) == []


async def test_work_that_fails_is_over_too() -> None:
    lifecycle = Lifecycle()
    with pytest.raises(ZeroDivisionError), lifecycle.activity("x"):
        raise ZeroDivisionError
    assert await lifecycle.drain(0.01) == []


def test_steps_call_the_hook_that_is_installed() -> None:
    passed: list[str] = []
    steps.reached("before")
    steps.install(passed.append)
    steps.reached("accept.committed")
    steps.install(None)
    steps.reached("after")
    assert passed == ["accept.committed"]
