"""Asking once more when nobody knows whether a change was made."""

from collections.abc import Sequence
from typing import cast

import grpc
import pytest

from postroom_contracts.errors import MailboxNotFoundError, PostroomError, UnavailableError
from postroom_runtime.grpc_client import Metadata, ask_twice, on_behalf_of

METADATA = on_behalf_of("capability")


class Call:
    """A method that answers as it is told."""

    def __init__(self, answers: Sequence[str | PostroomError]) -> None:
        self._answers = list(answers)
        self.requests: list[str] = []
        self.seconds: list[float] = []

    async def __call__(self, request: str, *, timeout: float, metadata: Metadata) -> str:
        assert metadata == METADATA
        self.requests.append(request)
        self.seconds.append(timeout)
        answer = self._answers.pop(0)
        if isinstance(answer, PostroomError):
            raise answer
        return answer

    async def ask(self) -> str:
        call = cast("grpc.aio.UnaryUnaryMultiCallable[str, str]", self)
        return await ask_twice(call, "request", seconds=4.0, metadata=METADATA)


async def test_an_answer_is_enough() -> None:
    call = Call(["done"])
    assert await call.ask() == "done"
    assert len(call.requests) == 1


async def test_the_same_is_asked_once_more_and_both_have_the_time_of_one() -> None:
    call = Call([UnavailableError("cut"), "done"])
    assert await call.ask() == "done"
    assert call.requests == ["request"] * 2
    assert call.seconds[0] < 4.0
    assert call.seconds[1] <= 4.0  # nothing of the time was used up


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
