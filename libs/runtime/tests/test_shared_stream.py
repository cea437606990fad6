"""Streams that break, fall silent, answer out of order, end by themselves: every item is answered once."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from postroom_contracts.errors import NotPermittedError, UnavailableError
from postroom_runtime.shared_stream import SharedStream, SharedStreamLimits

LIMITS = SharedStreamLimits(batch_items=3, stalled_seconds=0.03, answer_seconds=2, reconnect_seconds=0.001)

Batches = AsyncIterator[Sequence[int]]
Answers = Sequence[tuple[int, str]]


class Other:
    """The other side: what it does with each of its streams is said by the test."""

    def __init__(self, *lives: Callable[[Batches], AsyncIterator[Answers]]) -> None:
        self.lives = list(lives)
        self.opened = 0
        self.batches: list[Sequence[int]] = []
        self.ended = 0

    async def open(self, batches: Batches) -> AsyncIterator[Answers]:
        life = self.lives[min(self.opened, len(self.lives) - 1)]
        self.opened += 1
        async for answers in life(self.noted(batches)):
            yield answers

    async def noted(self, batches: Batches) -> Batches:
        async for batch in batches:
            self.batches.append(batch)
            yield batch
        self.ended += 1


def answers_of(batch: Sequence[int]) -> Answers:
    return [(item, f"answer {item}") for item in batch]


async def answering(batches: Batches) -> AsyncIterator[Answers]:
    async for batch in batches:
        yield answers_of(batch)


async def silent(batches: Batches) -> AsyncIterator[Answers]:
    async for _ in batches:
        await asyncio.Event().wait()
    yield []


async def broken(batches: Batches) -> AsyncIterator[Answers]:
    async for _ in batches:
        raise UnavailableError("broken")
    yield []


async def ended(batches: Batches) -> AsyncIterator[Answers]:
    async for _ in batches:
        return
    yield []


@asynccontextmanager
async def shared(
    other: Other, limits: SharedStreamLimits = LIMITS
) -> AsyncGenerator[SharedStream[int, int, str]]:
    stream = SharedStream(other.open, limits, name="test", octets=lambda item: item)
    running = asyncio.ensure_future(stream.run())
    try:
        yield stream
    finally:
        running.cancel()
        await asyncio.wait([running])


async def ask_all(stream: SharedStream[int, int, str], items: Sequence[int]) -> None:
    answers = await asyncio.gather(*(stream.ask(item, item) for item in items))
    assert answers == [f"answer {item}" for item in items]


@pytest.mark.parametrize("first", [silent, broken, ended])
async def test_what_a_stream_left_unanswered_goes_again_on_the_next_one(
    first: Callable[[Batches], AsyncIterator[Answers]],
) -> None:
    other = Other(first, first, answering)
    async with shared(other) as stream:
        await ask_all(stream, range(5))
    assert other.opened == 3


async def test_an_error_that_nobody_foresaw_ends_the_stream_and_not_the_work() -> None:
    async def odd(batches: Batches) -> AsyncIterator[Answers]:
        async for _ in batches:
            raise ZeroDivisionError
        yield []

    other = Other(odd, answering)
    async with shared(other) as stream:
        await ask_all(stream, [1])


async def test_answers_find_their_askers_in_any_order_and_in_pieces() -> None:
    async def mixed(batches: Batches) -> AsyncIterator[Answers]:
        answers = [*answers_of(await anext(batches)), *answers_of(await anext(batches))]
        yield [(99, "to nobody")]
        yield []
        for answer in reversed(answers):
            yield [answer]
        async for batch in batches:
            yield answers_of(batch)

    other = Other(mixed)
    async with shared(other, replace(LIMITS, stalled_seconds=2)) as stream:
        await ask_all(stream, range(6))
    assert other.opened == 1


async def test_an_answer_that_comes_too_late_harms_nobody() -> None:
    late = asyncio.Event()

    async def slow(batches: Batches) -> AsyncIterator[Answers]:
        first = await anext(batches)
        await late.wait()
        yield answers_of(first)
        async for batch in batches:
            yield answers_of(batch)

    other = Other(slow)
    limits = replace(LIMITS, stalled_seconds=2, answer_seconds=0.02)
    async with shared(other, limits) as stream:
        with pytest.raises(UnavailableError):
            await stream.ask(1, 1)
        late.set()
        await ask_all(stream, [2])
    assert other.opened == 1


async def test_an_asker_that_goes_away_takes_its_item_along() -> None:
    other = Other(silent, answering)
    async with shared(other) as stream:
        asking = asyncio.ensure_future(stream.ask(1, 1))
        await until(lambda: bool(other.batches))
        asking.cancel()
        await ask_all(stream, [2])
    assert 1 not in [item for batch in other.batches[1:] for item in batch]


async def test_batches_are_bounded_in_items_and_octets() -> None:
    other = Other(answering)
    async with shared(other, replace(LIMITS, batch_items=3, batch_octets=10)) as stream:
        await ask_all(stream, [1, 2, 3, 4, 5, 6, 20, 7])
    assert other.batches == [[1, 2, 3], [4, 5], [6], [20], [7]]


async def test_items_gather_while_as_many_batches_as_may_be_are_under_way() -> None:
    going = asyncio.Semaphore(0)

    async def slow(batches: Batches) -> AsyncIterator[Answers]:
        async for batch in batches:
            await going.acquire()
            yield answers_of(batch)

    other = Other(eager(slow))
    limits = replace(LIMITS, batches_at_once=2, batch_items=10, stalled_seconds=2, hold_seconds=2)
    async with shared(other, limits) as stream, asyncio.TaskGroup() as asking:
        for item in range(6):
            asking.create_task(stream.ask(item, item))
            await until(lambda: len(other.batches) == min(item + 1, 2))  # noqa: B023
        going.release()
        await until(lambda: len(other.batches) == 3)
        going.release()
        going.release()
    assert other.batches == [[0], [1], [2, 3, 4, 5]]


async def test_items_that_take_long_hold_back_the_others_for_a_moment_only() -> None:
    async def slow_zero(batches: Batches) -> AsyncIterator[Answers]:
        slow: list[int] = []
        async for batch in batches:
            slow += [item for item in batch if item < 5]
            if quick := [item for item in batch if item >= 5]:
                yield answers_of([*quick, *slow] if 9 in quick else quick)

    other = Other(eager(slow_zero))
    limits = replace(LIMITS, batches_at_once=1, stalled_seconds=2, hold_seconds=0.01)
    async with shared(other, limits) as stream, asyncio.TaskGroup() as asking:
        for item in range(3):
            asking.create_task(stream.ask(item, item))
            await until(lambda: len(other.batches) == item + 1)  # noqa: B023
        for item in range(5, 10):
            await ask_all(stream, [item])
    assert other.opened == 1


async def test_more_than_may_wait_is_refused_at_once() -> None:
    other = Other(silent)
    async with shared(other, replace(LIMITS, waiting_items=1, answer_seconds=0.01)) as stream:
        first = asyncio.ensure_future(stream.ask(1, 1))
        await asyncio.sleep(0)
        assert stream.full
        with pytest.raises(UnavailableError, match="too much"):
            await stream.ask(2, 2)
        with pytest.raises(UnavailableError, match="in time"):
            await first
        assert not stream.full


async def test_a_stream_without_work_is_ended_in_order_and_opened_again_for_work() -> None:
    other = Other(answering)
    async with shared(other, replace(LIMITS, idle_seconds=0.01)) as stream:
        await ask_all(stream, [1])
        await until(lambda: other.ended == 1)
        assert other.opened == 1
        await ask_all(stream, [2])
        assert other.opened == 2


async def test_an_old_stream_gives_way_to_a_new_one_and_answers_what_it_has() -> None:
    other = Other(eager(answering))
    async with shared(other, replace(LIMITS, age_seconds=0.01, stalled_seconds=2)) as stream:
        async with asyncio.timeout(2):
            number = 0
            while other.opened < 5:
                await ask_all(stream, [number])
                number += 1
    assert sorted(item for batch in other.batches for item in batch) == list(range(number))  # none went twice


async def test_an_ended_stream_that_the_other_side_does_not_end_is_given_up() -> None:
    async def endless(batches: Batches) -> AsyncIterator[Answers]:
        async for batch in batches:
            yield answers_of(batch)
        await asyncio.Event().wait()

    other = Other(endless, answering)
    async with shared(other, replace(LIMITS, idle_seconds=0.01)) as stream:
        await ask_all(stream, [1])
        await until(lambda: other.ended == 1)
        await ask_all(stream, [2])
    assert other.opened == 2


async def test_refused_streams_are_not_opened_over_and_over_at_once() -> None:
    async def refused(batches: Batches) -> AsyncIterator[Answers]:
        raise NotPermittedError("never")
        yield []

    other = Other(refused)
    async with shared(other, replace(LIMITS, answer_seconds=0.1, reconnect_seconds=0.04)) as stream:
        with pytest.raises(UnavailableError):
            await stream.ask(1, 1)
    assert 2 <= other.opened <= 4


def eager(life: Callable[[Batches], AsyncIterator[Answers]]) -> Callable[[Batches], AsyncIterator[Answers]]:
    """As gRPC has it: batches are taken as soon as they are there, and for a while after the stream's end."""

    async def opened(batches: Batches) -> AsyncIterator[Answers]:
        taken: asyncio.Queue[Sequence[int] | None] = asyncio.Queue()

        async def take() -> None:
            async for batch in batches:
                taken.put_nowait(batch)
            taken.put_nowait(None)

        async def given() -> Batches:
            while (batch := await taken.get()) is not None:
                yield batch

        taking = asyncio.ensure_future(take())
        try:
            async for answers in life(given()):
                yield answers
        finally:
            taking.cancel()

    return opened


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(2):
        while not true():
            await asyncio.sleep(0.001)
