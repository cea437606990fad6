"""The FindingService: the messages of a mailbox in another order, and as threads."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import grpc

from mailstore.access import Access
from mailstore.finding.ordering import MAX_CRITERIA, Criterion, Order, SortKey, sorted_uids, threads
from mailstore.mailboxes.sharing import Right
from mailstore.mailboxes.uid_ranges import parse_ranges
from postroom.mailstore.v1 import finding_pb2 as pb
from postroom.mailstore.v1.finding_pb2_grpc import FindingServiceServicer
from postroom_contracts.capability import CapabilityVerifier, Scope
from postroom_contracts.errors import InvalidRequestError, LimitError
from postroom_storage.database import Database
from postroom_wire.imap.thread_algorithms import Algorithm

_Context = grpc.aio.ServicerContext[Any, Any]

_READING: Final = frozenset({Scope.IMAP, Scope.API})
_PAGE: Final = 100_000
_MAX_SCORE: Final = 100
_KEYS: Final[Mapping[pb.SortKey.ValueType, SortKey]] = {
    pb.SORT_KEY_ARRIVAL: SortKey.ARRIVAL,
    pb.SORT_KEY_CC: SortKey.CC,
    pb.SORT_KEY_DATE: SortKey.DATE,
    pb.SORT_KEY_FROM: SortKey.FROM,
    pb.SORT_KEY_SIZE: SortKey.SIZE,
    pb.SORT_KEY_SUBJECT: SortKey.SUBJECT,
    pb.SORT_KEY_TO: SortKey.TO,
    pb.SORT_KEY_DISPLAYFROM: SortKey.DISPLAYFROM,
    pb.SORT_KEY_DISPLAYTO: SortKey.DISPLAYTO,
    pb.SORT_KEY_RELEVANCY: SortKey.RELEVANCY,
}
_ALGORITHMS: Final[Mapping[pb.ThreadAlgorithm.ValueType, Algorithm]] = {
    pb.THREAD_ALGORITHM_ORDEREDSUBJECT: Algorithm.ORDEREDSUBJECT,
    pb.THREAD_ALGORITHM_REFERENCES: Algorithm.REFERENCES,
    pb.THREAD_ALGORITHM_REFS: Algorithm.REFS,
}


class FindingService(FindingServiceServicer):
    """Answers for the account of the capability, and for what others share with it."""

    def __init__(self, database: Database, verifier: CapabilityVerifier) -> None:
        self._database = database
        self._access = Access(database, verifier, _READING)

    async def SortMessages(
        self, request: pb.SortMessagesRequest, context: _Context
    ) -> AsyncIterator[pb.SortMessagesResponse]:
        """In another order."""
        owner, mailbox_id = await self._access.at(request.mailbox_id, Right.READ)
        criteria = [_criterion(each) for each in request.criteria]
        if len(criteria) > MAX_CRITERIA:
            raise LimitError("too many criteria")
        ranges = parse_ranges(request.uids)
        order = Order(criteria, request.scored_uids, request.scores)
        if len(order.scores) != len(order.scored_uids) or max(order.scores, default=0) > _MAX_SCORE:
            raise InvalidRequestError("scores of nothing, or too high ones")
        uids = await sorted_uids(self._database, owner.account_id, mailbox_id, ranges, order)
        for start in range(0, len(uids), _PAGE):
            yield pb.SortMessagesResponse(uids=uids[start : start + _PAGE])

    async def ThreadMessages(
        self, request: pb.ThreadMessagesRequest, context: _Context
    ) -> AsyncIterator[pb.ThreadMessagesResponse]:
        """As threads."""
        owner, mailbox_id = await self._access.at(request.mailbox_id, Right.READ)
        if (algorithm := _ALGORITHMS.get(request.algorithm)) is None:
            raise InvalidRequestError("no such algorithm")
        ranges = parse_ranges(request.uids)
        forest = await threads(self._database, owner.account_id, mailbox_id, ranges, algorithm)
        for start in range(0, len(forest), _PAGE):
            page = forest[start : start + _PAGE]
            yield pb.ThreadMessagesResponse(
                uids=[place.number for place in page], depths=[place.depth for place in page]
            )


def _criterion(criterion: pb.SortCriterion) -> Criterion:
    if (key := _KEYS.get(criterion.key)) is None:
        raise InvalidRequestError("no such sort key")
    return Criterion(key, criterion.reverse)
