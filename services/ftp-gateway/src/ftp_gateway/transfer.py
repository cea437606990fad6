"""A transfer in progress: a task beside the control connection, which goes on being read."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from ftp_gateway.data import DataChannel
from ftp_gateway.errors import TransferError
from ftp_gateway.replies import reply_to
from postroom_contracts.errors import PostroomError
from postroom_runtime import metrics
from postroom_runtime.connection import Connection
from postroom_runtime.logs import log
from postroom_runtime.peer import PeerGoneError, PeerTimeoutError
from postroom_runtime.transfer import StaleUrlError
from postroom_wire.ftp import Reply
from postroom_wire.ftp.standard_replies import (
    DATA_TIMEOUT,
    LOCAL_ERROR,
    TRANSFER_ABORTED,
    TRANSFER_COMPLETE,
)

_TRANSFERS: Final = metrics.counter("ftp_transfers_total", "Transfers by reply.", ["command", "code"])


async def _nothing() -> None:
    """What most transfers do at their end."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a transfer does with its data connection.

    `move` moves the octets and tells how many; `commit` makes the result durable and cannot be interrupted;
    `give_up` comes instead when that was not reached.
    """

    verb: str
    account_id: UUID
    move: Callable[[Connection], Awaitable[int]]
    commit: Callable[[], Awaitable[None]] = _nothing
    give_up: Callable[[], Awaitable[None]] = _nothing


class RunningTransfer:
    """From 150 to its last reply. `wake` is called at its end."""

    def __init__(self, channel: DataChannel, work: Work, wake: Callable[[], None]) -> None:
        self._channel, self._work = channel, work
        self._reply = TRANSFER_ABORTED
        self._committing = False
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(lambda _: wake())

    @property
    def done(self) -> bool:
        """Whether `reply` is known."""
        return self._task.done()

    @property
    def reply(self) -> Reply:
        """How it ended."""
        return self._reply

    def cut(self) -> None:
        """End it, unless all octets are there and it is just being committed."""
        if not self._committing:
            self._task.cancel()

    async def wait(self) -> None:
        """Wait for its end."""
        await asyncio.wait([self._task])

    async def interrupt(self) -> None:
        """End it, as `cut` does, and wait until it is over."""
        self.cut()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        octets = 0
        data: Connection | None = None
        try:
            data = await self._channel.open()
            octets = await self._work.move(data)
            self._committing = True
            await self._work.commit()
            self._reply = TRANSFER_COMPLETE
            await data.finish()
        except asyncio.CancelledError:
            log.debug("transfer_interrupted", command=self._work.verb)
        except Exception as error:  # noqa: BLE001  # the boundary of a transfer
            self._reply = self._explain(error)
        finally:
            if data is not None:
                data.abort()
        if self._reply is not TRANSFER_COMPLETE:
            await self._work.give_up()
        self._tell(octets)

    def _tell(self, octets: int) -> None:
        verb, code = self._work.verb, self._reply.code
        _TRANSFERS.labels(verb, code).inc()
        account_id = str(self._work.account_id)
        log.info("transfer", command=verb, code=code, octets=octets, account_id=account_id)

    def _explain(self, error: Exception) -> Reply:
        match error:
            case TransferError():
                return error.reply
            case PeerTimeoutError():
                return DATA_TIMEOUT
            case PeerGoneError():
                return TRANSFER_ABORTED
            case PostroomError():
                log.info("transfer_refused", command=self._work.verb, error=error.name, cause=str(error))
                return reply_to(error)
            case StaleUrlError():
                log.warning("transfer_url_stale", command=self._work.verb)
                return LOCAL_ERROR
            case _:
                log.error("transfer_failed", command=self._work.verb, exc_info=error)
                return LOCAL_ERROR
