"""Handing mail over: one stream to the mail store carries the messages of all sessions in batches.

A message has an answer when it is durable. When the stream breaks, what it carried is unknown: it goes
again with the same ids on a new stream, which may reach another replica. What is still unknown at the
deadline is aborted, so that the client, which is told to try later, does not make a duplicate of it.
"""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from typing import Final

from postroom.mailstore.v1 import delivery_pb2
from postroom_contracts.errors import ERRORS, StagingFullError, UnavailableError
from postroom_runtime.shared_stream import SharedStream, SharedStreamLimits
from postroom_runtime.steps import reached

LIMITS: Final = SharedStreamLimits(batch_items=256)

OpenStream = Callable[[AsyncIterator[delivery_pb2.AcceptRequest]], AsyncIterable[delivery_pb2.AcceptResponse]]
"""Opens an Accept stream with these requests."""


class Handover:
    """Gives messages to the mail store. Run `run` in a task group."""

    def __init__(self, open_stream: OpenStream, limits: SharedStreamLimits = LIMITS) -> None:
        async def by_id(
            batches: AsyncIterator[Sequence[delivery_pb2.AcceptItem]],
        ) -> AsyncIterator[Sequence[tuple[bytes, delivery_pb2.AcceptResult]]]:
            requests = (delivery_pb2.AcceptRequest(items=batch) async for batch in batches)
            async for response in open_stream(requests):
                yield [(result.id, result) for result in response.results]

        self._stream = SharedStream(by_id, limits, name="handover", octets=_octets)

    async def accept(self, item: delivery_pb2.AcceptItem) -> None:
        """Return when the message is durable.

        Raises what the store refuses it for, StagingFullError when too much waits already (the store never
        saw this one), and UnavailableError when there is no answer in time: then the outcome is unknown.
        """
        if self._stream.full:
            raise StagingFullError("too many messages wait for the store")
        result = await self._stream.ask(item.id, item)
        if result.outcome != delivery_pb2.AcceptResult.OUTCOME_ACCEPTED:
            raise ERRORS.get(result.error, UnavailableError)("refused by the store")
        reached("handover.after_answer")

    async def run(self) -> None:
        """Keep a stream open while there is work, until cancelled."""
        await self._stream.run()


def _octets(item: delivery_pb2.AcceptItem) -> int:
    return len(item.content.zstd)
