"""Questions about recipients: one call's in all, and a stream's, which do not know of each other."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from directory.limits import Limits
from directory.messages import resolution_message
from directory.resolving import Resolver
from postroom.directory.v1 import directory_pb2 as pb
from postroom_contracts.errors import LimitError, PostroomError, UnavailableError
from postroom_runtime.grpc_server import requests_until
from postroom_runtime.logs import log


class Recipients:
    """Answers in the contract's messages; streams end when `closing` is set."""

    def __init__(self, resolver: Resolver, limits: Limits, closing: asyncio.Event) -> None:
        self._resolver, self._limits, self._closing = resolver, limits, closing

    async def resolutions(self, addresses: Sequence[str]) -> Sequence[pb.Resolution]:
        """Where mail to each address goes. Raises `LimitError`, `InvalidRequestError`, `UnavailableError`."""
        found = await self._resolver.resolve(addresses)
        return [
            resolution_message(address, resolution)
            for address, resolution in zip(addresses, found, strict=True)
        ]

    async def answered(
        self, requests: AsyncIterator[pb.StreamResolveRecipientsRequest]
    ) -> AsyncIterator[Sequence[pb.RecipientAnswer]]:
        """Answers to the questions of a stream, errors too, each request's within `Limits.call_seconds`."""
        async for request in requests_until(self._closing, requests):
            try:
                async with asyncio.timeout(self._limits.call_seconds):
                    answers = await self._answers(request.questions)
            except TimeoutError:
                answers = _errors(request.questions, UnavailableError.name)
            yield answers

    async def _answers(self, questions: Sequence[pb.RecipientQuestion]) -> Sequence[pb.RecipientAnswer]:
        try:
            found = await self.resolutions([question.address for question in questions])
        except PostroomError as error:
            name, of_all = error.name, error.transient or isinstance(error, LimitError)
            log.info("not_resolved", error=name, questions=len(questions))
        except Exception:  # noqa: BLE001  # a message boundary: other questions on the stream go on
            name, of_all = PostroomError.name, False
            log.exception("resolve_failed")
        else:
            return [
                pb.RecipientAnswer(number=question.number, resolution=resolution)
                for question, resolution in zip(questions, found, strict=True)
            ]
        if of_all or len(questions) == 1:
            return _errors(questions, name)
        # One bad question never fails its neighbours.
        return [answer for question in questions for answer in await self._answers([question])]


def _errors(questions: Sequence[pb.RecipientQuestion], name: str) -> Sequence[pb.RecipientAnswer]:
    return [pb.RecipientAnswer(number=question.number, error=name) for question in questions]
