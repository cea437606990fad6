"""How deliveries ended, in the queue's words, and telling it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from postroom.mailstore.v1 import queue_pb2
from postroom_contracts.errors import PostroomError
from postroom_runtime import metrics
from postroom_runtime.logs import log
from postroom_runtime.steps import reached
from postroom_wire.smtp import RecipientResult, Stage

Outcome: TypeAlias = "queue_pb2.DeliveryReport.Outcome.ValueType"
Send = Callable[[Sequence[queue_pb2.DeliveryReport]], Awaitable[bool]]
"""Tells the queue; whether the claim is live."""

DELIVERED: Final = queue_pb2.DeliveryReport.OUTCOME_DELIVERED
DEFERRED: Final = queue_pb2.DeliveryReport.OUTCOME_DEFERRED
FAILED: Final = queue_pb2.DeliveryReport.OUTCOME_FAILED

_RETRY_SECONDS: Final = (0.1, 0.3, 1.0, 3.0)
_AT_ONCE: Final = 500

_DELIVERIES: Final = metrics.counter(
    "outbound_deliveries_total", "Recipients by what became of them.", ["outcome"]
)
NAMES: Final = {DELIVERED: "delivered", DEFERRED: "deferred", FAILED: "failed"}


def report(
    recipient: queue_pb2.QueuedRecipient,
    outcome: Outcome,
    status: str,
    diagnostic: str,
    remote_host: str = "",
) -> queue_pb2.DeliveryReport:
    """What became of one recipient."""
    return queue_pb2.DeliveryReport(
        delivery_id=recipient.delivery_id,
        outcome=outcome,
        status=status,
        diagnostic=diagnostic,
        remote_host=remote_host,
    )


def undelivered(status: str) -> Outcome:
    """Deferred or failed, as the class of the status says (RFC 3463 s2)."""
    return DEFERRED if status.startswith("4") else FAILED


def report_result(
    recipient: queue_pb2.QueuedRecipient, result: RecipientResult, remote_host: str, *, site: str, tls: bool
) -> queue_pb2.DeliveryReport:
    """What a host of a site said of one recipient."""
    reply = result.reply
    if result.delivered:
        outcome = DELIVERED
    else:
        outcome = DEFERRED if result.transient else FAILED
    status = reply.enhanced or f"{reply.code // 100}.0.0"
    if outcome == DEFERRED and not reply.transient:
        status = "4.5.3"  # "552 too many recipients" of old
    said_by = "" if result.stage is Stage.LOCAL else remote_host
    found = report(recipient, outcome, status, str(reply), said_by)
    found.site, found.tls = site, tls
    return found


class Reporter:
    """Tells the queue in the background: while one call is under way reports gather for the next.

    What was delivered must be told, or it is sent again: calls are repeated until one is answered.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: list[queue_pb2.DeliveryReport] = []
        self._arrived = asyncio.Event()
        self._told = asyncio.Condition()
        self._telling = False

    def add(self, reports: Sequence[queue_pb2.DeliveryReport]) -> None:
        """Tell these soon."""
        for each in reports:
            _DELIVERIES.labels(NAMES[each.outcome]).inc()
        self._waiting += reports
        self._arrived.set()

    async def flush(self) -> None:
        """Return when all is told."""
        async with self._told:
            await self._told.wait_for(lambda: not self._waiting and not self._telling)

    async def run(self) -> None:
        """Tell what arrives, until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                batch, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
                self._telling = True
                await self._tell(batch)
                self._telling = False
                async with self._told:
                    self._told.notify_all()

    async def _tell(self, batch: Sequence[queue_pb2.DeliveryReport]) -> None:
        attempt = 0
        while True:
            try:
                live = await self._send(batch)
            except PostroomError as error:
                log.warning("report_failed", error=error.name, reports=len(batch))
                if not error.transient:
                    return  # it will not be taken another time either
                await asyncio.sleep(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)])
                attempt += 1
            else:
                reached("relay.after_report")
                if not live:
                    log.warning("reported_late", reports=len(batch))
                return
