"""NATS: bells that say "this lane has work" and wake-ups that say "this account has changed".

Both may be lost or doubled: Postgres is the truth, and whoever waits for them also looks on a timer. So
nothing here waits for the server, and a server that is away costs its callers nothing.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass
from random import uniform
from types import TracebackType
from typing import Any, Final, Self, TypeAlias
from uuid import UUID

from postroom_runtime import metrics
from postroom_runtime.lean_import import without
from postroom_runtime.logs import log
from postroom_runtime.traces import current_traceparent, new_traceparent

with without("aiohttp"):
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription as ClientSubscription
    from nats.errors import Error as NatsError
    from nats.errors import TimeoutError as NatsTimeoutError
    from nats.js import JetStreamContext
    from nats.js.api import (
        AckPolicy,
        ConsumerConfig,
        DiscardPolicy,
        RetentionPolicy,
        StorageType,
        StreamConfig,
    )
    from nats.js.errors import APIError, NoStreamResponseError

DELIVER_STREAM: Final = "POSTROOM_DELIVER"
DELIVER_SUBJECTS: Final = "postroom.deliver.>"
REMOTE_BELL: Final = "postroom.deliver.remote"

Handler: TypeAlias = Callable[[str, bytes], None]
"""Called with subject and payload; must not block."""

_STORE_REFUSED: Final = 10077  # JetStream: a message of this subject is in the stream already
_STREAM_IN_USE: Final = 10058  # JetStream: the stream is there with another configuration

# ConnectionError and TimeoutError are OSErrors; nats-py raises both, and ValueError for replies cut short.
_FAILURES: Final = (NatsError, OSError, asyncio.TimeoutError, ValueError)

_BELLS: Final = metrics.counter("bus_bells_total", "Bells by what became of them.", ["outcome"])
_WAKE_UPS: Final = metrics.counter(
    "bus_wake_ups_total", "Wake-ups sent, by what became of them.", ["outcome"]
)
_CONNECTED: Final = metrics.gauge("bus_connected", "1 while NATS is reached.")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the bus. A frozen server is noticed after two pings that nobody answers."""

    connect_seconds: float = 2.0
    publish_seconds: float = 2.0
    ping_seconds: int = 2
    retry_seconds: float = 0.5
    fetch_seconds: float = 2.0
    bells_in_flight: int = 1024
    bell_age_seconds: float = 3600.0


def local_bell(lane: int) -> str:
    """The bell of a local lane."""
    return f"postroom.deliver.local.{lane}"


def changed_subject(account_id: UUID) -> str:
    """The wake-up of an account."""
    return f"postroom.changed.{account_id}"


class Subscription:
    """A handler of wake-ups; it outlives reconnects."""

    def __init__(self, bus: "Bus", subject: str, handler: Handler) -> None:
        self._bus = bus
        self.subject = subject
        self._handler = handler
        self.current: ClientSubscription | None = None

    async def unsubscribe(self) -> None:
        """No more wake-ups."""
        await self._bus.forget(self)

    async def receive(self, message: Msg) -> None:
        """Hand a wake-up over."""
        self._handler(message.subject, message.data)


class Bus:
    """One connection to NATS, kept up in the background."""

    def __init__(self, url: str, limits: Limits | None = None, *, replicas: int = 1) -> None:
        self._url = url
        self._limits = limits or Limits()
        self._replicas = replicas
        self._client: Client | None = None
        self._reached = asyncio.Event()
        self._ringing: dict[str, bool] = {}
        self._subscriptions: set[Subscription] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def connect(cls, url: str, limits: Limits | None = None, *, replicas: int = 1) -> Self:
        """A bus that connects in the background, now and after every loss; it never fails and never waits.

        `url` is `nats://user:password@host:port`; several with commas between. `replicas` is of the stream.
        """
        bus = cls(url, limits, replicas=replicas)
        bus._start(bus._stay_connected())
        return bus

    @property
    def connected(self) -> bool:
        """Whether the server is reached just now."""
        return self._client is not None

    async def wait_connected(self) -> None:
        """Wait until the server is reached; for tests and for `check`."""
        await self._reached.wait()

    async def close(self) -> None:
        """End the connection."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._lose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def ring(self, subject: str) -> None:
        """Ring a bell, after the commit. Returns at once; bells of one subject that hurry become one."""
        if subject in self._ringing:
            self._ringing[subject] = True
        elif self._client is None or len(self._ringing) >= self._limits.bells_in_flight:
            _BELLS.labels("lost").inc()
        else:
            self._ringing[subject] = False
            self._start(self._ring(subject, self._client))

    async def bells(self, subjects: str, durable: str) -> AsyncGenerator[str]:
        """The subjects whose bells rang, one after another, for ever; all users of `durable` share them.

        A bell is taken out of the stream before it is handed over: what rings from then on is another bell,
        and what was committed before is seen by whoever claims now.
        """
        while True:
            await self._reached.wait()
            if (client := self._client) is None:
                continue
            try:
                async for subject in self._bells_of(client, subjects, durable):
                    yield subject
            except _FAILURES as error:
                log.warning("bells_lost", durable=durable, error=repr(error))
            await asyncio.sleep(uniform(0.2, 1.0) * self._limits.retry_seconds)

    async def publish(self, subject: str, payload: bytes = b"") -> None:
        """Send a wake-up to whoever listens now, after the commit. Lost when the server is away."""
        if (client := self._client) is None:
            _WAKE_UPS.labels("lost").inc()
            return
        try:
            async with asyncio.timeout(self._limits.publish_seconds):
                await client.publish(subject, payload, headers=_headers())
        except _FAILURES as error:
            _WAKE_UPS.labels("lost").inc()
            log.warning("wake_up_lost", subject=subject, error=repr(error))
        else:
            _WAKE_UPS.labels("sent").inc()

    async def publish_changed(self, account_id: UUID, modseq: int) -> None:
        """Tell all readers of the account its new MODSEQ (in decimal)."""
        await self.publish(changed_subject(account_id), b"%d" % modseq)

    async def subscribe(self, subject: str, handler: Handler) -> Subscription:
        """Listen to wake-ups. Subscribe, then load: a server that is reached knows of it on return."""
        subscription = Subscription(self, subject, handler)
        self._subscriptions.add(subscription)
        if self._client is not None:
            try:
                await self._establish(self._client, subscription)
                # Twice: the client's PING overtakes what it has not written yet, so the first answer says
                # only that all is written.
                for _ in range(2):
                    await self._client.flush(timeout=1)
            except _FAILURES as error:
                log.warning("subscription_late", subject=subject, error=repr(error))
        return subscription

    async def forget(self, subscription: Subscription) -> None:
        """End a subscription."""
        self._subscriptions.discard(subscription)
        if subscription.current is not None:
            try:
                await subscription.current.unsubscribe()
            except _FAILURES:  # it ended with its connection
                pass

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stay_connected(self) -> None:
        """Connect anew whenever a connection is over: one way for the first time and all others."""
        told = False
        while True:
            try:
                over = await self._connect_once()
                told = False
                await over.wait()
                log.warning("nats_lost")
            except _FAILURES as error:
                if not told:
                    log.warning("nats_away", error=repr(error))
                told = True
            await self._lose()
            await asyncio.sleep(uniform(0.5, 1.0) * self._limits.retry_seconds)

    async def _connect_once(self) -> asyncio.Event:
        """One connection with all that belongs to it; gives the event that it is over."""
        over = asyncio.Event()

        async def closed() -> None:
            over.set()

        async def failed(error: Exception) -> None:
            log.debug("nats_error", error=repr(error))

        client = Client()
        try:
            async with asyncio.timeout(self._limits.connect_seconds):
                await client.connect(
                    [part.strip() for part in self._url.split(",")],
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=max(1, int(self._limits.connect_seconds)),
                    ping_interval=self._limits.ping_seconds,
                    max_outstanding_pings=2,
                    closed_cb=closed,
                    error_cb=failed,
                )
            # First the client, then the rest: whoever subscribes meanwhile sees to it himself.
            self._client = client
            for subscription in tuple(self._subscriptions):
                await self._establish(client, subscription)
        except BaseException:
            self._client = None
            await _close(client)
            raise
        self._reached.set()
        _CONNECTED.set(1)
        log.info("nats_connected")
        return over

    async def _lose(self) -> None:
        client, self._client = self._client, None
        self._reached.clear()
        _CONNECTED.set(0)
        if client is not None:
            await _close(client)

    async def _establish(self, client: Client, subscription: Subscription) -> None:
        subscription.current = await client.subscribe(  # pyright: ignore[reportUnknownMemberType]
            subscription.subject, cb=subscription.receive
        )

    async def _ring(self, subject: str, client: Client) -> None:
        """Publish the bell, and once more if it was rung again meanwhile."""
        stream = _stream_of(client, self._limits.publish_seconds)
        try:
            again = True
            while again:
                self._ringing[subject] = False
                _BELLS.labels(await self._publish_bell(stream, subject)).inc()
                again = self._ringing[subject]
        except _FAILURES as error:
            _BELLS.labels("lost").inc()
            log.warning("bell_lost", subject=subject, error=repr(error))
        finally:
            del self._ringing[subject]

    async def _publish_bell(self, stream: JetStreamContext, subject: str) -> str:
        for _ in range(2):
            try:
                await stream.publish(subject, timeout=self._limits.publish_seconds, headers=_headers())
                return "rung"
            except NoStreamResponseError:  # JetStream's directory was emptied
                await self._ensure_stream(stream)
            except APIError as error:
                if error.err_code == _STORE_REFUSED:
                    return "coalesced"
                raise
        return "lost"

    async def _bells_of(self, client: Client, subjects: str, durable: str) -> AsyncGenerator[str]:
        stream = _stream_of(client, self._limits.publish_seconds)
        await self._ensure_stream(stream)
        consumer = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, ack_wait=10.0, max_deliver=-1)
        waiting = await stream.pull_subscribe(
            subjects, durable=durable, stream=DELIVER_STREAM, config=consumer
        )
        try:
            while True:
                try:
                    (message,) = await waiting.fetch(1, timeout=self._limits.fetch_seconds)
                    await message.ack_sync(timeout=self._limits.publish_seconds)
                except NatsTimeoutError:
                    continue
                yield message.subject
        finally:
            try:
                await waiting.unsubscribe()
            except _FAILURES:
                pass

    async def _ensure_stream(self, stream: JetStreamContext) -> None:
        config = StreamConfig(
            name=DELIVER_STREAM,
            subjects=[DELIVER_SUBJECTS],
            retention=RetentionPolicy.WORK_QUEUE,
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW,
            discard_new_per_subject=True,
            max_msgs_per_subject=1,
            max_age=self._limits.bell_age_seconds,
            num_replicas=self._replicas,
        )
        try:
            await stream.add_stream(config)  # pyright: ignore[reportUnknownMemberType]
        except APIError as error:
            if error.err_code != _STREAM_IN_USE:
                raise
            await stream.update_stream(config)  # pyright: ignore[reportUnknownMemberType]


async def _close(client: Client) -> None:
    """End a connection, also one that is stuck."""
    try:
        async with asyncio.timeout(1):
            await client.close()
    except _FAILURES:
        pass


def _stream_of(client: Client, seconds: float) -> JetStreamContext:
    return client.jetstream(timeout=seconds)  # pyright: ignore[reportUnknownMemberType]  # **opts of nats-py


def _headers() -> dict[str, str]:
    return {"traceparent": current_traceparent() or new_traceparent()}
