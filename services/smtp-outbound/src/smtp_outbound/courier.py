"""Brings messages to their exchangers over one kept connection, and says what became of each recipient."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from postroom.mailstore.v1 import queue_pb2
from postroom_contracts.errors import UnavailableError
from postroom_runtime.logs import log
from postroom_runtime.steps import reached
from postroom_wire.smtp import AddressError, Body, Envelope, ForwardPath, Mailbox, RecipientResult
from smtp_outbound.remote import BrokenError, Dialling, NoServiceError, Outgoing, Remote, dial
from smtp_outbound.reports import DEFERRED, FAILED, Outcome, report, report_result, undelivered
from smtp_outbound.routes import Route, Router, UnroutableError

Reports: TypeAlias = list[queue_pb2.DeliveryReport]
# Two deliveries may have one address, which is told to the host once.
Recipients: TypeAlias = dict[ForwardPath, list[queue_pb2.QueuedRecipient]]


@dataclass(frozen=True, slots=True)
class Consignment:
    """A message to bring: `content` opens its octets, `before_end` is awaited before its end is sent.

    `found_site` is told the site before anything is sent.
    """

    message: queue_pb2.QueuedMessage
    content: Callable[[], AsyncIterator[bytes]]
    before_end: Callable[[], Awaitable[None]]
    found_site: Callable[[str], Awaitable[None]]


class Courier:
    """Has at most one connection, which the next message to the same site uses again."""

    def __init__(self, router: Router, dialling: Dialling) -> None:
        self._router, self._dialling = router, dialling
        self._remote: Remote | None = None
        self._used_at = 0.0

    @property
    def site(self) -> str | None:
        """Where the open connection leads; None when there is none that can be used."""
        return self._remote.site if self._remote is not None and self._remote.usable else None

    @property
    def idle_seconds(self) -> float:
        """How long ago a message was sent."""
        return time.monotonic() - self._used_at

    async def bring(self, consignment: Consignment) -> Reports:
        """Send a message; a report for each recipient. Raises what `before_end` raises, unless transient."""
        message = consignment.message
        recipients, reports = _addressed(message)
        try:
            reverse_path = Mailbox.parse(message.reverse_path) if message.reverse_path else None
            body = Body.EIGHT_BIT_MIME if message.eight_bit else None
            envelope = Envelope(reverse_path, tuple(recipients), message.size, body, message.smtp_utf8)
        except AddressError:
            return reports + _same(recipients, FAILED, "5.1.7", "Not an address to send from")
        if recipients:
            outgoing = Outgoing(envelope, consignment.content, consignment.before_end)
            reports += await self._attempt(consignment, recipients, outgoing)
        self._used_at = time.monotonic()
        return reports

    async def hang_up(self) -> None:
        """End the connection, politely where that is possible."""
        remote, self._remote = self._remote, None
        if remote is not None:
            log.info("connection_ended", remote_host=remote.host, messages=remote.sent)
            await remote.quit()

    async def _attempt(self, consignment: Consignment, recipients: Recipients, outgoing: Outgoing) -> Reports:
        try:
            route = await self._router.route(consignment.message.domain)
            await consignment.found_site(route.site)
            if self.site == route.site and (found := await self._over_kept(recipients, outgoing)) is not None:
                return found
            await self.hang_up()
            return await self._over_new(route, recipients, outgoing)
        except UnroutableError as error:
            return _same(recipients, undelivered(error.status), error.status, error.diagnostic)
        except UnavailableError as error:
            log.warning("store_away", error=str(error))
            return _same(recipients, DEFERRED, "4.3.0", "The mail store is away")

    async def _over_kept(self, recipients: Recipients, outgoing: Outgoing) -> Reports | None:
        """Send over the open connection; None when it turns out to have ended: nothing was sent then."""
        if (remote := self._remote) is None:
            return None
        try:
            results = await remote.send(outgoing)
        except BrokenError as error:
            return _broken(recipients, error, remote) if error.ended or error.results else None
        if all(result.reply.code == 421 for result in results):
            return None
        reached("relay.after_end")
        return _decided(recipients, results, remote)

    async def _over_new(self, route: Route, recipients: Recipients, outgoing: Outgoing) -> Reports:
        """Send over a connection that is made for it."""
        try:
            self._remote = remote = await self._dial_any(route)
        except NoServiceError as error:
            return _no_service(recipients, error, route.site)
        try:
            results = await remote.send(outgoing)
        except BrokenError as error:
            return _broken(recipients, error, remote)
        reached("relay.after_end")
        return _decided(recipients, results, remote)

    async def _dial_any(self, route: Route) -> Remote:
        """A connection to the first host and address that serves us. Raises why the last one does not."""
        failures: list[UnroutableError | NoServiceError] = []
        for host in route.hosts:
            try:
                for address in await self._router.addresses(host):
                    try:
                        return await dial(host, (address, route.port), route.site, self._dialling)
                    except NoServiceError as error:
                        log.info("no_service", remote_host=host, reply=str(error.reply or error.reason))
                        failures.append(error)
            except UnroutableError as error:
                failures.append(error)
        # A host that may serve us later counts for more than those that never will.
        raise next((error for error in reversed(failures) if _passes(error)), failures[-1])


def put_off(message: queue_pb2.QueuedMessage, diagnostic: str) -> Reports:
    """Every recipient deferred for a reason of ours."""
    return [report(recipient, DEFERRED, "4.3.0", diagnostic) for recipient in message.recipients]


def _addressed(message: queue_pb2.QueuedMessage) -> tuple[Recipients, Reports]:
    """The recipients by path, and what to report of those that cannot be written as one."""
    recipients: Recipients = {}
    reports: Reports = []
    for recipient in message.recipients:
        try:
            recipients.setdefault(Mailbox.parse(recipient.address), []).append(recipient)
        except AddressError:
            reports.append(report(recipient, FAILED, "5.1.3", "Not an address to send to"))
    return recipients, reports


def _decided(recipients: Recipients, results: Sequence[RecipientResult], remote: Remote) -> Reports:
    return [
        report_result(recipient, result, remote.host, site=remote.site, tls=remote.tls)
        for result in results
        for recipient in recipients[result.recipient]
    ]


def _broken(recipients: Recipients, error: BrokenError, remote: Remote) -> Reports:
    """What was decided stays so; of the rest nothing is known, and it is tried again."""
    decided = {result.recipient for result in error.results}
    rest = {path: those for path, those in recipients.items() if path not in decided}
    said = f"{error.reason} after the end of the message" if error.ended else error.reason
    log.info("connection_broken", remote_host=remote.host, reason=error.reason, unknown=error.ended)
    unknown = _same(rest, DEFERRED, "4.4.2", said, remote.host)
    for each in unknown:
        each.site = remote.site
    return _decided(recipients, error.results, remote) + unknown


def _no_service(recipients: Recipients, error: NoServiceError, site: str) -> Reports:
    """Try later, whatever the greeting was: a host that refuses today may serve another day."""
    status = (error.reply.enhanced if error.reply is not None else None) or "4.4.1"
    said = str(error.reply) if error.reply is not None else error.reason
    refused = _same(recipients, DEFERRED, f"4{status[1:]}", said, error.host)
    for each in refused:
        each.site, each.site_refused = site, True
    return refused


def _same(
    recipients: Recipients,
    outcome: Outcome,
    status: str,
    diagnostic: str,
    remote_host: str = "",
) -> Reports:
    return [
        report(recipient, outcome, status, diagnostic, remote_host)
        for those in recipients.values()
        for recipient in those
    ]


def _passes(error: UnroutableError | NoServiceError) -> bool:
    return isinstance(error, NoServiceError) or error.status.startswith("4")
