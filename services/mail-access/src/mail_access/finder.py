"""The typed client of the mail store's FindingService. Raises as `mail_access.store` does."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

import grpc

from mail_access.limits import DEFAULT_LIMITS, Limits
from mail_access.login import Login
from mail_access.store import uid_ranges
from postroom.mailstore.v1 import finding_pb2 as pb
from postroom.mailstore.v1 import finding_pb2_grpc
from postroom_wire.imap.sorting import SortCriterion, SortKey
from postroom_wire.imap.thread_algorithms import Algorithm, Forest, Place

T = TypeVar("T")

MAX_RANGES: Final = 50_000
_KEYS: Final[Mapping[SortKey, pb.SortKey.ValueType]] = {
    SortKey.ARRIVAL: pb.SORT_KEY_ARRIVAL,
    SortKey.CC: pb.SORT_KEY_CC,
    SortKey.DATE: pb.SORT_KEY_DATE,
    SortKey.FROM: pb.SORT_KEY_FROM,
    SortKey.SIZE: pb.SORT_KEY_SIZE,
    SortKey.SUBJECT: pb.SORT_KEY_SUBJECT,
    SortKey.TO: pb.SORT_KEY_TO,
    SortKey.DISPLAYFROM: pb.SORT_KEY_DISPLAYFROM,
    SortKey.DISPLAYTO: pb.SORT_KEY_DISPLAYTO,
    SortKey.RELEVANCY: pb.SORT_KEY_RELEVANCY,
}
_ALGORITHMS: Final[Mapping[Algorithm, pb.ThreadAlgorithm.ValueType]] = {
    Algorithm.ORDEREDSUBJECT: pb.THREAD_ALGORITHM_ORDEREDSUBJECT,
    Algorithm.REFERENCES: pb.THREAD_ALGORITHM_REFERENCES,
    Algorithm.REFS: pb.THREAD_ALGORITHM_REFS,
}


class Finder:
    """The mail store's order among messages, for any number of logins."""

    def __init__(self, stub: finding_pb2_grpc.FindingServiceStub, limits: Limits = DEFAULT_LIMITS) -> None:
        self._stub, self._limits = stub, limits

    async def sort(
        self,
        login: Login,
        mailbox_id: UUID,
        uids: Sequence[tuple[int, int]],
        criteria: Iterable[SortCriterion],
        scores: Mapping[int, int],
    ) -> list[int]:
        """The UIDs of these ranges in the order of the criteria; at most `MAX_RANGES` ranges.

        `scores` are of UIDs, for RELEVANCY.
        """
        request = pb.SortMessagesRequest(
            mailbox_id=mailbox_id.bytes,
            uids=uid_ranges(uids),
            criteria=[pb.SortCriterion(key=_KEYS[each.key], reverse=each.reverse) for each in criteria],
            scored_uids=scores.keys(),
            scores=scores.values(),
        )
        metadata = await login.metadata()
        stream = self._stub.SortMessages(request, timeout=self._limits.search_seconds, metadata=metadata)
        return [uid async for page in _pages(stream) for uid in page.uids]

    async def threads(
        self, login: Login, mailbox_id: UUID, uids: Sequence[tuple[int, int]], algorithm: Algorithm
    ) -> Forest:
        """The UIDs of these ranges as threads; at most `MAX_RANGES` ranges."""
        request = pb.ThreadMessagesRequest(
            mailbox_id=mailbox_id.bytes, uids=uid_ranges(uids), algorithm=_ALGORITHMS[algorithm]
        )
        metadata = await login.metadata()
        stream = self._stub.ThreadMessages(request, timeout=self._limits.search_seconds, metadata=metadata)
        return [
            Place(depth, uid)
            async for page in _pages(stream)
            for depth, uid in zip(page.depths, page.uids, strict=True)
        ]


async def _pages(stream: "grpc.aio.UnaryStreamCall[Any, T]") -> AsyncGenerator[T]:
    try:
        async for page in stream:
            yield page
    finally:
        stream.cancel()
