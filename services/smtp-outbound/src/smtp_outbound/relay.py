"""A relay's worker: claims what is due, has it brought, tells what became of it."""

import asyncio
import hashlib
import math
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from postroom.mailstore.v1 import queue_pb2
from postroom_contracts.errors import ClaimLostError, PostroomError, UnavailableError
from postroom_contracts.ids import queue_id_text
from postroom_runtime import metrics
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.logs import bound_contextvars, log
from postroom_runtime.spans import Span, traced
from postroom_runtime.steps import reached
from smtp_outbound.bell import Bell
from smtp_outbound.courier import Consignment, Courier, put_off
from smtp_outbound.held_sites import HeldSites
from smtp_outbound.lease import Lease
from smtp_outbound.queue import Queue
from smtp_outbound.remote import Dialling
from smtp_outbound.reports import NAMES, Reporter
from smtp_outbound.routes import Router

_SHORTEST_REST: Final = 0.02

_SECONDS: Final = metrics.histogram("outbound_message_seconds", "From taking a message up to its reports.")


@dataclass(frozen=True, slots=True)
class Office:
    """What all workers share. An idle connection is kept for `kept_seconds`."""

    queue: Queue
    router: Router
    dialling: Dialling
    bell: Bell
    held: HeldSites
    lifecycle: Lifecycle
    kept_seconds: float
    claiming: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One worker at a time claims anything: the next one must know which site the last one got."""


@dataclass(frozen=True, slots=True)
class _Work:
    """A claim that is worked off."""

    claim: queue_pb2.ClaimResponse
    lease: Lease
    reporter: Reporter


class Relay:
    """One worker. `run` ends when the service drains, with the message in hand finished."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._courier = Courier(office.router, office.dialling)
        self._hold = office.held.take()

    async def run(self) -> None:
        """Work until told to stop."""
        stopping = self._office.lifecycle.stopping
        try:
            while not stopping.is_set():
                rings = self._office.bell.rings
                if (seconds := await self._work()) is not None:
                    await self._rest(rings, seconds)
        finally:
            self._office.held.drop(self._hold)
            await self._courier.hang_up()

    async def _work(self) -> float | None:
        """Work off one claim; when there is none, the seconds until one may be due."""
        try:
            began = time.monotonic()
            claim = await self._claim()
            if not claim.messages:
                return _seconds_until_due(claim)
            reached("relay.after_claim")
            await self._work_off(claim, began)
        except PostroomError as error:
            log.warning("queue_away", error=error.name)
            return math.inf
        except Exception:  # noqa: BLE001  # one odd claim must not end the worker
            log.exception("relay_failed")
            return math.inf
        return None

    async def _claim(self) -> queue_pb2.ClaimResponse:
        """More for the open connection, else whatever is due where no other worker gets on well."""
        queue = self._office.queue
        site = self._courier.site
        if site is None:
            self._hold.names.clear()
        if site is not None:
            claim = await queue.claim(site, ())
            if claim.messages or self._office.bell.anyone_free:
                return claim  # other sites are for workers that have no connection to lose
        async with self._office.claiming:
            claim = await queue.claim("", self._office.held.keeping_up(self._hold))
            if claim.messages:
                self._hold.names.add(claim.site)
                self._office.held.progress(self._hold)
        return claim

    async def _work_off(self, claim: queue_pb2.ClaimResponse, began: float) -> None:
        queue = self._office.queue
        self._office.bell.wake_one()
        self._hold.behind = sum(len(each.recipients) for each in claim.messages) >= queue.terms.deliveries
        lease = Lease(queue.terms.lease_seconds, began, lambda: queue.extend(claim))
        work = _Work(claim, lease, Reporter(lambda reports: queue.report(claim, reports)))
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(work.reporter.run())
            try:
                async with lease.kept():
                    await self._send_all(work)
                await work.reporter.flush()
            finally:
                telling.cancel()
        await queue.release(claim)

    async def _send_all(self, work: _Work) -> None:
        for message in work.claim.messages:
            if self._office.lifecycle.stopping.is_set():
                return
            queue_id = queue_id_text(UUID(bytes=message.id))
            relaying = traced("relay", message.traceparent, "client")
            with relaying as span, bound_contextvars(queue_id=queue_id):
                try:
                    with _SECONDS.time():
                        let_in = await self._send(work, message, span)
                except ClaimLostError:
                    log.warning("claim_lost", site=work.claim.site)
                    return
            self._office.held.progress(self._hold)
            if not let_in:
                return  # the rest goes to the same hosts, and the queue knows when to try them again

    async def _send(self, work: _Work, message: queue_pb2.QueuedMessage, span: Span) -> bool:
        """Have one message brought; whether the hosts let us in, if they were asked.

        Raises ClaimLostError when it belongs to another relay by now.
        """

        async def before_end() -> None:
            reached("relay.before_end")
            await work.lease.secure()

        async def found_site(site: str) -> None:
            if site == work.claim.site:
                self._hold.names = {site}
                return
            # No other worker may be on its way to claim the site's mail without knowing that we are there.
            async with self._office.claiming:
                self._hold.names = {work.claim.site, site}
                await self._tell_site(message.domain, site)

        content = _checked(message, self._office.queue, work.claim)
        try:
            reports = await self._courier.bring(Consignment(message, content, before_end, found_site))
        except ClaimLostError:
            raise
        except Exception:  # noqa: BLE001  # one odd message must not keep its neighbours
            log.exception("message_failed")
            reports = put_off(message, "Local error")
        for each in reports:
            log.info(
                "relayed",
                outcome=NAMES[each.outcome],
                status=each.status,
                remote_host=each.remote_host,
                tls=each.tls,
            )
        span.set("postroom.queue_id", queue_id_text(UUID(bytes=message.id)))
        if missed := {NAMES[each.outcome] for each in reports} - {"delivered"}:
            span.fail(" ".join(sorted(missed)))
        work.reporter.add(reports)
        return not any(each.site_refused for each in reports)

    async def _tell_site(self, domain: str, site: str) -> None:
        try:
            await self._office.queue.report_site(domain, site)
        except PostroomError as error:  # it will be told another time
            log.warning("site_not_told", error=error.name)

    async def _rest(self, rings: int, seconds: float) -> None:
        """Wait for work; a connection for which nothing comes is given up."""
        kept = self._office.kept_seconds - self._courier.idle_seconds
        if self._courier.site is None or kept <= 0:
            await self._courier.hang_up()
        else:
            seconds = min(seconds, kept)
        self._hold.waiting = self._courier.site is not None
        try:
            await self._office.bell.wait(rings, max(seconds, _SHORTEST_REST), connected=self._hold.waiting)
        finally:
            self._hold.waiting = False


def _checked(
    message: queue_pb2.QueuedMessage, queue: Queue, claim: queue_pb2.ClaimResponse
) -> Callable[[], AsyncIterator[bytes]]:
    """Opens the octets of a message and checks them: what is not whole must not get its end.

    Raises ClaimLostError, UnavailableError.
    """

    async def content() -> AsyncIterator[bytes]:
        digest, size = hashlib.sha256(), 0
        async for octets in queue.content(claim, message):
            digest.update(octets)
            size += len(octets)
            yield octets
        if size != message.size or digest.digest() != message.digest:
            log.error("content_mismatch", octets=size, expected=message.size)
            raise UnavailableError("not the octets that were accepted")

    return content


def _seconds_until_due(claim: queue_pb2.ClaimResponse) -> float:
    if not claim.HasField("next_due_at"):
        return math.inf
    return max(0.0, claim.next_due_at.ToNanoseconds() / 1e9 - time.time())
