"""The Accept stream: every item has its answer, whatever overlaps."""

import asyncio
from collections.abc import AsyncIterator

from mailstore.delivery_service import _AcceptStream  # pyright: ignore[reportPrivateUsage]
from postroom.mailstore.v1 import delivery_pb2


async def _requests(ids: list[bytes], pause: asyncio.Event) -> AsyncIterator[delivery_pb2.AcceptRequest]:
    for item_id in ids:
        yield delivery_pb2.AcceptRequest(items=[delivery_pb2.AcceptItem(id=item_id)])
    await pause.wait()


async def test_an_item_that_is_answered_after_others_were_sent_has_its_answer_too() -> None:
    gates = {b"first": asyncio.Event(), b"second": asyncio.Event()}
    ended = asyncio.Event()

    async def accept(item: delivery_pb2.AcceptItem) -> delivery_pb2.AcceptResult:
        await gates[item.id].wait()
        return delivery_pb2.AcceptResult(id=item.id)

    answered: list[bytes] = []
    gates[b"first"].set()
    async with asyncio.timeout(5), _AcceptStream(accept, 10) as stream:
        reading = stream.read(_requests(list(gates), ended), asyncio.Event())
        async for response in stream.responses(reading):
            answered += [result.id for result in response.results]
            gates[b"second"].set()
            if len(answered) == len(gates):
                ended.set()
    assert answered == [b"first", b"second"]


async def test_a_stream_that_drains_answers_what_it_has_begun() -> None:
    stopping, release = asyncio.Event(), asyncio.Event()

    async def accept(item: delivery_pb2.AcceptItem) -> delivery_pb2.AcceptResult:
        stopping.set()
        await release.wait()
        return delivery_pb2.AcceptResult(id=item.id)

    answered: list[bytes] = []
    async with asyncio.timeout(5), _AcceptStream(accept, 10) as stream:
        reading = stream.read(_requests([b"begun"], asyncio.Event()), stopping)
        asyncio.get_running_loop().call_later(0.01, release.set)
        async for response in stream.responses(reading):
            answered += [result.id for result in response.results]
    assert answered == [b"begun"]
