"""Whether accounts have room for more mail, asked where a recipient is named (RCPT, RFC 5321 s3.3).

Only accounts with a quota are asked about, and what is said of them holds for a moment. When nobody can say,
there is room: what is accepted is filed over quota.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from postroom.directory.v1 import directory_pb2
from postroom.mailstore.v1 import delivery_pb2
from postroom_contracts.errors import PostroomError
from postroom_runtime.logs import log

FindFull: TypeAlias = Callable[[Sequence[delivery_pb2.AccountBound]], Awaitable[Collection[bytes]]]
"""The ids of those that are full. Raises `PostroomError`."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is remembered, and how long."""

    seconds: float = 5.0
    accounts: int = 10_000
    asked: int = 1_000
    """With one question."""


class Rooms:
    """Of one process."""

    def __init__(
        self, find_full: FindFull, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._find_full = find_full
        self._limits = limits or Limits()
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, bool]] = OrderedDict()

    async def is_full(self, targets: Sequence[directory_pb2.Target]) -> bool:
        """Whether an address leads to full accounts only."""
        if not 0 < len(targets) <= self._limits.asked or not all(each.HasField("quota") for each in targets):
            return False
        now = self._clock()
        unknown = [each for each in targets if self._known.get(each.account_id, (now, False))[0] <= now]
        if unknown:
            await self._ask(unknown)
        return all(self._known.get(each.account_id, (now, False))[1] for each in targets)

    async def _ask(self, targets: Sequence[directory_pb2.Target]) -> None:
        try:
            full = await self._find_full([_bound(each) for each in targets])
        except PostroomError as error:
            log.warning("room_unknown", error=error.name)
            full = ()
        until = self._clock() + self._limits.seconds
        for target in targets:
            self._known[target.account_id] = until, target.account_id in full
            self._known.move_to_end(target.account_id)
        while len(self._known) > self._limits.accounts:
            self._known.popitem(last=False)


def _bound(target: directory_pb2.Target) -> delivery_pb2.AccountBound:
    limits = {field.name: value for field, value in target.quota.ListFields()}
    return delivery_pb2.AccountBound(account_id=target.account_id, **limits)
