"""Asking once more when nobody knows whether a change was made."""

import asyncio
from collections.abc import Sequence
from typing import cast

import grpc
import pytest

from postroom_contracts.errors import MailboxNotFoundError, PostroomError, UnavailableError
from postroom_runtime.grpc_client import Metadata, ask_twice, on_behalf_of

METADATA = on_behalf_of("capability")


class Call:
    """A method that answers as it is told."""

    def __init__(self, answers: Sequence[str | PostroomError | asyncio.Future[str]]) -> None:
        self._answers = list(answers)
        self.requests: list[str] = []
        self.seconds: list[float] = []
        self.begun = [asyncio.Event() for _ in answers]

    async def __call__(self, request: str, *, timeout: float, metadata: Metadata) -> str:
        assert metadata == METADATA
        self.begun[len(self.requests)].set()
        self.requests.append(request)
        self.seconds.append(timeout)
        match self._answers[len(self.requests) - 1]:
            case PostroomError() as error:
                raise error
            case str() as answer:
                return answer
            case later:
                return await later

    async def ask(self, seconds: float = 4.0) -> str:
        call = cast("grpc.aio.UnaryUnaryMultiCallable[str, str]", self)
        return await ask_twice(call, "request", seconds=seconds, metadata=METADATA)


async def test_an_answer_is_enough() -> None:
    call = Call(["done"])
    assert await call.ask() == "done"
    assert len(call.requests) == 1


async def test_the_same_is_asked_once_more_and_both_have_the_time_of_one() -> None:
    call = Call([UnavailableError("cut"), "done"])
    assert await call.ask() == "done"
    assert call.requests == ["request"] * 2
    assert max(call.seconds) <= 4.0


async def test_a_refusal_is_not_asked_about_again() -> None:
    call = Call([MailboxNotFoundError("gone")])
    with pytest.raises(MailboxNotFoundError):
        await call.ask()
    assert len(call.requests) == 1


@pytest.mark.parametrize("last", [UnavailableError("cut"), MailboxNotFoundError("gone")])
async def test_the_second_answer_is_the_last(last: PostroomError) -> None:
    call = Call([UnavailableError("cut"), last])
    with pytest.raises(type(last)):
        await call.ask()
    assert len(call.requests) == 2


async def test_who_is_silent_is_not_waited_for() -> None:
    silent = asyncio.Future[str]()
    call = Call([silent, "done"])
    assert await call.ask(0.1) == "done"
    assert 0 < call.seconds[1] < 0.1
    await asyncio.sleep(0)
    assert silent.cancelled()


@pytest.mark.parametrize("second", [None, UnavailableError("cut")])
async def test_who_was_slow_only_has_the_answer_too(second: PostroomError | None) -> None:
    slow, never = asyncio.Future[str](), asyncio.Future[str]()
    call = Call([slow, second or never])
    asking = asyncio.ensure_future(call.ask(0.1))
    await call.begun[1].wait()
    slow.set_result("done")
    assert await asking == "done"
    await asyncio.sleep(0)
    assert second or never.cancelled()


async def test_who_gives_up_asks_nobody_any_more() -> None:
    tries = [asyncio.Future[str](), asyncio.Future[str]()]
    call = Call(tries)
    asking = asyncio.ensure_future(call.ask(0.1))
    await call.begun[1].wait()
    asking.cancel()
    await asyncio.wait([asking, *tries])
    assert all(each.cancelled() for each in tries)
