"""Two processes over one store, one killed, one drained while clients sync: nothing is missed or doubled."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from postroom_embedded.nats import NatsAddress
from postroom_testing.imap_client import ImapClient
from postroom_testing.imap_memory import Cache, Told
from postroom_testing.imap_mirror import Mirror
from postroom_testing.mail_access_process import MailAccessProcess
from postroom_testing.mail_twins import Household, Twins, household
from postroom_testing.restartable import Restartable
from postroom_testing.small_directory_service import SmallDirectory

pytestmark = pytest.mark.timeout(90)
DRAIN_SECONDS = 2.0
IDLERS = 10
SYNCERS = 4
AWAY = (OSError, EOFError)


@pytest.fixture
async def processes(
    own_directory: SmallDirectory, own_store: Restartable, own_sockets: Path, nats_server: NatsAddress
) -> AsyncIterator[list[MailAccessProcess]]:
    started = [
        MailAccessProcess(name, own_sockets, nats_server, drain_seconds=DRAIN_SECONDS)
        for name in ("one", "two")
    ]
    await asyncio.gather(*(each.start() for each in started))
    yield started
    for each in started:
        await each.end(signal.SIGKILL)


@pytest.fixture
async def house(
    processes: list[MailAccessProcess], own_directory: SmallDirectory, own_sockets: Path
) -> AsyncIterator[Household]:
    first, second = ({"imap": each.port} for each in processes)
    twins = Twins(own_directory, (first, second), f"unix:{own_sockets / 'mailstore.sock'}")
    async with household(twins) as opened:
        yield opened


class Syncer:
    """A client that follows INBOX, adds to it and marks what is there; it comes back wherever it can."""

    def __init__(self, number: int, house: Household, told: Told) -> None:
        self.number, self.house, self.told = number, house, told
        self.random = Random(number)
        self.cache: Cache | None = None
        self.mirror: Mirror | None = None
        self.appended: set[str] = set()
        self.tried = 0
        self.marked: dict[int, bool] = {}
        self.unsure: set[int] = set()
        self.breaks = 0
        self.ending = False

    async def run(self) -> None:
        """Until it is told to end."""
        while not self.ending:
            try:
                mirror = await self._come_back()
                while not self.ending:
                    await self._act(mirror)
                    self.cache = mirror.cache or self.cache
                    await asyncio.sleep(0.01)
            except AWAY:
                self.breaks += 1
                # What it heard before the connection broke it keeps, but not a MODSEQ from there.
                if self.mirror is not None:
                    self.cache = self.mirror.cache or self.cache
                await asyncio.sleep(0.02)

    async def settle(self) -> Mirror:
        """Come back once more and ask for all that is new."""
        mirror = await self._come_back()
        await mirror.command("NOOP")
        return mirror

    async def _come_back(self) -> Mirror:
        self.mirror = None
        mirror = Mirror(await self.house.connect(self.random.randrange(2)), self.told)
        await mirror.enable("QRESYNC")
        answer = await mirror.select("INBOX", cache=self.cache)
        assert answer.ok, answer
        self.mirror = mirror
        return mirror

    async def _act(self, mirror: Mirror) -> None:
        match self.random.randrange(4):
            case 0:
                self.tried += 1
                token = f"s{self.number}-{self.tried}"
                octets = f"Subject: {token}\r\n\r\nbody\r\n".encode()
                assert (await mirror.append("INBOX", octets, "")).ok
                self.appended.add(token)
            case 1 if known := [uid for uid in mirror.uids if uid is not None]:
                await self._mark(mirror, self.random.choice(known))
            case 2:
                tag = mirror.client.send_command("IDLE")
                await asyncio.sleep(0.02)
                mirror.client.send(b"DONE\r\n")
                assert (await mirror.hear_answer(tag, "IDLE")).ok
                await mirror.fill()
            case _:
                assert (await mirror.command("NOOP")).ok

    async def _mark(self, mirror: Mirror, uid: int) -> None:
        """Its own keyword, so that its last word holds."""
        wanted = not self.marked.get(uid, False)
        self.unsure.add(uid)
        assert (await mirror.command(f"UID STORE {uid} {'+' if wanted else '-'}FLAGS ($s{self.number})")).ok
        self.unsure.discard(uid)
        self.marked[uid] = wanted


async def idle(client: ImapClient) -> tuple[bool, float]:
    """Whether the session was said goodbye to, and when it ended."""
    await client.ok("SELECT INBOX")
    client.send_command("IDLE")
    last = b""
    with suppress(*AWAY):
        while True:  # the client's patience is longer than the test's silences: mail comes all the time
            last = await client.response()
    return last.startswith(b"* BYE [UNAVAILABLE] "), asyncio.get_running_loop().time()


async def subjects(mirror: Mirror) -> Counter[str]:
    lines = (await mirror.command("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")).untagged
    return Counter(line.split(b"Subject: ")[1].split()[0].decode() for line in lines if b"Subject: " in line)


async def test_nothing_is_missed_or_doubled(house: Household, processes: list[MailAccessProcess]) -> None:
    killed, drained = processes
    told = Told()
    syncers = [Syncer(number, house, told) for number in range(SYNCERS)]
    delivered = 0
    async with asyncio.TaskGroup() as group:
        for syncer in syncers:
            group.create_task(syncer.run())
        idlers = [group.create_task(idle(await house.connect(1))) for _ in range(IDLERS)]

        async def live(seconds: float) -> None:
            nonlocal delivered
            end = asyncio.get_running_loop().time() + seconds
            while asyncio.get_running_loop().time() < end:
                delivered += 1
                await house.deliver(f"d{delivered}")
                await asyncio.sleep(0.05)

        await live(0.5)
        await killed.end(signal.SIGKILL)
        await live(0.2)
        await killed.start()
        await live(0.5)
        began = asyncio.get_running_loop().time()
        status, _ = await asyncio.gather(drained.end(signal.SIGTERM), live(DRAIN_SECONDS))
        ended = asyncio.get_running_loop().time()
        await drained.start()
        await live(0.3)
        for syncer in syncers:
            syncer.ending = True

    assert status == 0
    goodbyes = sorted(task.result() for task in idlers)
    assert all(polite for polite, _ in goodbyes)
    times = [when - began for _, when in goodbyes]
    assert times[-1] - times[0] > DRAIN_SECONDS / 4, f"all at once: {times}"
    assert ended - began < DRAIN_SECONDS + 2
    assert sum(syncer.breaks for syncer in syncers) >= 2
    await check(house, syncers, delivered)


async def check(house: Household, syncers: list[Syncer], delivered: int) -> None:
    wanted = Counter(f"d{number + 1}" for number in range(delivered))
    fresh = Mirror(await house.connect(0), Told())
    await fresh.select("INBOX")
    async with asyncio.timeout(30):
        while not wanted.keys() <= (there := await subjects(fresh)).keys():
            await asyncio.sleep(0.1)
            await fresh.command("NOOP")
    assert [token for token, count in there.items() if count > 1] == []
    for syncer in syncers:
        assert syncer.appended <= there.keys(), "acknowledged and lost"
        mirror = await syncer.settle()
        assert mirror.uids == fresh.uids
        assert mirror.flags == fresh.flags
        for uid, marked in syncer.marked.items():
            if uid not in syncer.unsure:
                assert (f"$s{syncer.number}" in mirror.flags[uid]) == marked
