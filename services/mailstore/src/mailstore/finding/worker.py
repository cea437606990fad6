"""The worker that reads messages behind their delivery, for searching and sorting.

A trigger notes each new message as due. The process that commits it wakes its own worker; for what nobody
was woken for, since that process has ended, a timer looks later. Due messages are taken for a time, and taken
again when that runs out; to read one twice changes nothing. Mail that comes in goes first: a burst of it
passes before the worker begins, half of the time it rests, and most of the time while mail goes on coming.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

import zstandard
from asyncpg import PostgresError, Record

from mailstore.blobs.reader import BlobReader
from mailstore.finding.keeping import ReadMessage, keep, unreadable
from mailstore.finding.keys import sort_keys
from mailstore.finding.octets import (
    SearchedMessage,
    SearchedOctets,
    body_of,
    cut,
    header_of,
    is_small,
    read_octets,
)
from mailstore.finding.words import places, plain
from postroom_contracts.errors import MessageNotFoundError, PostroomError
from postroom_runtime import metrics
from postroom_runtime.logs import log
from postroom_storage.database import Database
from postroom_wire.mime.part_codec import PartTableError

_READ: Final = metrics.counter("finding_messages_total", "Messages read for searching.", ["outcome"])

_BROKEN: Final = (MessageNotFoundError, zstandard.ZstdError, PartTableError)

_TAKE: Final = """
WITH taken AS (
    UPDATE mailstore.finding_due SET due_at = now() + make_interval(secs => $2), failures = failures + 1
    WHERE message_id = ANY (ARRAY(
        SELECT message_id FROM mailstore.finding_due WHERE due_at <= now() - make_interval(secs => $3)
        ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED))
    RETURNING message_id, failures
)
SELECT m.id, m.blob_id, m.size, m.header, m.header_complete, m.parts, m.summary, m.sent_at, taken.failures
FROM taken JOIN mailstore.message AS m ON m.id = taken.message_id ORDER BY m.id
"""


@dataclass(frozen=True, slots=True)
class FindingLimits:
    """Of one batch (messages, octets), of what is kept of a message (characters), and seconds."""

    batch_messages: int = 50
    batch_octets: int = 16 * 1024 * 1024
    text: int = 256 * 1024
    words: int = 100_000
    lease_seconds: float = 60.0
    timer_seconds: float = 5.0
    gather_seconds: float = 1.0
    patience_seconds: float = 15.0
    """Mail that keeps coming puts the reading off for so long, and so long others may take for their own."""
    rests: float = 1.0
    """After each batch the worker rests for so many times as long as that took."""
    rests_aside: float = 4.0
    """The same while mail comes."""
    attempts: int = 5
    """After so many a message is found by its header only."""


class FindingWorker:
    """Reads what is due. Run `run` in a task group."""

    def __init__(self, database: Database, reader: BlobReader, limits: FindingLimits | None = None) -> None:
        self._database, self._reader, self._limits = database, reader, limits or FindingLimits()
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """There may be something to read."""
        self._wake.set()

    async def run(self) -> None:
        """Read what is due, whenever woken and by a timer, until cancelled."""
        limits = self._limits
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(limits.timer_seconds * random.uniform(0.7, 1.3)):
                    await self._wake.wait()
            old = 0.0 if self._wake.is_set() else limits.patience_seconds
            await self._let_pass()
            await self._read_all(old)

    async def _let_pass(self) -> None:
        """Until nobody has woken us for a moment, or for as long as our patience lasts."""
        end = time.monotonic() + self._limits.patience_seconds
        while self._wake.is_set() and time.monotonic() < end:
            self._wake.clear()
            await asyncio.sleep(self._limits.gather_seconds)

    async def _read_all(self, old: float) -> None:
        limits = self._limits
        while True:
            if self._wake.is_set():
                self._wake.clear()
                old = 0.0
            started = time.monotonic()
            try:
                if not await self.read_some(old):
                    return
            except PostroomError as error:
                log.warning("finding_put_off", error=error.name)
                return
            except Exception:  # noqa: BLE001  # what is due comes again
                log.exception("finding_failed")
                return
            took = time.monotonic() - started
            await asyncio.sleep(took * limits.rests)
            if self._wake.is_set():
                await asyncio.sleep(took * (limits.rests_aside - limits.rests))

    async def read_some(self, old: float = 0.0) -> int:
        """One batch of what is due for so many seconds; returns how many messages it was."""
        limits = self._limits
        async with self._database.connection() as connection:
            due = await connection.fetch(_TAKE, limits.batch_messages, limits.lease_seconds, old)
        for batch in self._batches(due):
            octets = await self._load(batch)
            read = await asyncio.to_thread(self._read, batch, octets)
            await self._keep(read)
            _READ.labels("read").inc(len(read))
        return len(due)

    def _batches(self, due: Sequence[Record]) -> list[list[Record]]:
        """By the octets that are read at once; a large message is one by itself."""
        batches: list[list[Record]] = []
        room = 0
        for row in due:
            if not batches or row["size"] > room:
                batches.append([])
                room = self._limits.batch_octets
            batches[-1].append(row)
            room -= row["size"]
        return batches

    async def _load(self, batch: Sequence[Record]) -> dict[UUID, SearchedOctets]:
        """The octets by message; of what is broken, or failed too often, there are none."""
        wanted = [row for row in batch if row["failures"] <= self._limits.attempts]
        small = [row for row in wanted if is_small(_message(row))]
        try:
            whole = await self._reader.load([row["blob_id"] for row in small])
            found = {row["id"]: cut(_message(row), whole[row["blob_id"]]) for row in small}
        except _BROKEN:
            found = {}
        for row in wanted:
            if row["id"] not in found:
                try:
                    found[row["id"]] = await read_octets(self._reader, _message(row))
                except _BROKEN:
                    log.warning("finding_without_octets", message_id=str(row["id"]))
        return found

    def _read(self, batch: Sequence[Record], octets: dict[UUID, SearchedOctets]) -> list[ReadMessage]:
        read: list[ReadMessage] = []
        for row in batch:
            try:
                read.append(_read(row, octets.get(row["id"]), self._limits))
            except Exception:  # noqa: BLE001  # one message's trouble must not keep its neighbours
                log.exception("finding_unreadable", message_id=str(row["id"]))
                read.append(unreadable(row["id"]))
        return read

    async def _keep(self, read: Sequence[ReadMessage]) -> None:
        """Keep a batch; when Postgres refuses a value in it, one message after the other."""
        try:
            await keep(self._database, read)
        except PostgresError:
            for each in read:
                try:
                    await keep(self._database, [each])
                except PostgresError as error:
                    log.error("finding_refused", message_id=str(each.id), exc_info=error)
                    await keep(self._database, [unreadable(each.id)])


def _read(row: Record, octets: SearchedOctets | None, limits: FindingLimits) -> ReadMessage:
    """What is kept of a message; without octets it is incomplete."""
    message = _message(row)
    header, body = header_of(message, octets), body_of(message, octets)
    complete = octets is not None and len(body) <= limits.text and len(header.lines) <= limits.text
    return ReadMessage(
        row["id"],
        replace(header, lines=header.lines[: limits.text]),
        body[: limits.text],
        complete,
        (*places(header.lines[: limits.words]), plain(body[: limits.words])),
        sort_keys(row["summary"], row["sent_at"]),
    )


def _message(row: Record) -> SearchedMessage:
    return SearchedMessage(row["blob_id"], row["size"], row["parts"], row["header"], row["header_complete"])
