"""Where addresses lead: asked of the directory over one stream for all sessions.

While questions are under way the addresses of other sessions gather, and the next ones carry them together.
"""

import itertools
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import Final, Protocol

from postroom.directory.v1 import directory_pb2
from postroom_contracts.errors import UnavailableError
from postroom_runtime.shared_stream import SharedStream, SharedStreamLimits

# A question is asked twice at least, of two replicas, before the client is told to try later.
LIMITS: Final = SharedStreamLimits(batch_items=500, stalled_seconds=1.5)

Questions = Sequence[directory_pb2.RecipientQuestion]
Answers = Sequence[directory_pb2.RecipientAnswer]


class OpenStream(Protocol):
    """Opens a stream that asks these questions; gives the answers, in any order."""

    def __call__(self, questions: AsyncIterator[Questions], /) -> AsyncIterable[Answers]:
        """Ask until there are no more, or until the other side ends it."""
        ...


class RecipientResolver:
    """Resolves addresses. Run `run` in a task group."""

    def __init__(self, open_stream: OpenStream, limits: SharedStreamLimits = LIMITS) -> None:
        self._numbers = itertools.count(1)

        async def numbered(
            questions: AsyncIterator[Questions],
        ) -> AsyncIterator[Sequence[tuple[int, directory_pb2.RecipientAnswer]]]:
            async for answers in open_stream(questions):
                yield [(answer.number, answer) for answer in answers]

        self._stream = SharedStream(numbered, limits, name="recipients")

    async def resolve(self, address: str) -> directory_pb2.Resolution:
        """Where mail to an address goes. Raises UnavailableError."""
        number = next(self._numbers)
        question = directory_pb2.RecipientQuestion(number=number, address=address)
        answer = await self._stream.ask(number, question)
        if answer.WhichOneof("answer") != "resolution":
            raise UnavailableError(f"the directory says {answer.error}")
        return answer.resolution

    async def run(self) -> None:
        """Ask what gathers, until cancelled."""
        await self._stream.run()
