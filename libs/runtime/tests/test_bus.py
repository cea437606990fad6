"""Bells and wake-ups over a real NATS server that comes and goes."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sysconfig
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import UUID

import pytest

from postroom_runtime.bus import REMOTE_BELL, Bus, Limits, changed_subject, local_bell

QUICK = Limits(ping_seconds=1, retry_seconds=0.05, fetch_seconds=0.5)
ACCOUNT = UUID("01936a5e-0000-7000-8000-000000000001")
LOCAL = "postroom.deliver.local.>"


class NatsServer:
    """A nats-server that a test may stop, freeze and rob of its directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"nats://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        await asyncio.to_thread(self._launch)
        async with asyncio.timeout(10):
            while not self._answers():  # another process
                await asyncio.sleep(0.02)

    def _launch(self) -> None:
        program = Path(sysconfig.get_path("scripts")) / "nats-server"
        self._process = subprocess.Popen(
            [program, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", self.directory],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    async def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
            self._process = None

    def empty(self) -> None:
        shutil.rmtree(self.directory)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    running = NatsServer(tmp_path / "jetstream")
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[Bus]:
    async with await Bus.connect(server.url, QUICK) as connected, asyncio.timeout(30):
        await connected.wait_connected()
        yield connected


async def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(1500):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("did not come true")


async def ring_until_heard(bus: Bus, heard: list[str], subject: str) -> None:
    """Bells may be lost while the server comes back; one that is rung again comes through."""
    before = len(heard)
    for _ in range(300):
        await bus.ring(subject)
        await asyncio.sleep(0.05)
        if len(heard) > before:
            return
    pytest.fail("no bell came through")


async def listen(bus: Bus, subjects: str, durable: str, heard: list[str]) -> None:
    async for subject in bus.bells(subjects, durable):
        heard.append(subject)  # noqa: PERF401  # it never ends


@pytest.fixture
async def heard(bus: Bus) -> AsyncIterator[list[str]]:
    """What a worker of all local lanes heard."""
    subjects: list[str] = []
    worker = asyncio.ensure_future(listen(bus, LOCAL, "local", subjects))
    yield subjects
    worker.cancel()
    await asyncio.wait([worker])


async def test_a_bell_is_heard_by_the_worker_of_its_lane(bus: Bus, heard: list[str]) -> None:
    await ring_until_heard(bus, heard, local_bell(3))
    assert set(heard) == {"postroom.deliver.local.3"}


async def test_a_bell_waits_for_a_worker_that_comes_later(bus: Bus) -> None:
    subjects: list[str] = []
    first = asyncio.ensure_future(listen(bus, REMOTE_BELL, "remote", subjects))
    await ring_until_heard(bus, subjects, REMOTE_BELL)
    first.cancel()
    await asyncio.wait([first])
    subjects.clear()
    await bus.ring(REMOTE_BELL)
    await asyncio.sleep(0.1)
    second = asyncio.ensure_future(listen(bus, REMOTE_BELL, "remote", subjects))
    await eventually(lambda: bool(subjects))
    second.cancel()


async def test_many_rings_become_few_bells_and_the_last_one_is_among_them(bus: Bus, heard: list[str]) -> None:
    await ring_until_heard(bus, heard, local_bell(1))
    heard.clear()
    for _ in range(1000):
        await bus.ring(local_bell(1))
    await eventually(lambda: bool(heard))
    await asyncio.sleep(0.3)
    assert 1 <= len(heard) <= 3


async def test_a_bell_that_rings_while_the_worker_works_is_heard_after(bus: Bus) -> None:
    heard: list[str] = []

    async def work() -> None:
        async for subject in bus.bells(LOCAL, "local"):
            heard.append(subject)
            if len(heard) == 1:
                await bus.ring(local_bell(1))
                await asyncio.sleep(0.1)

    worker = asyncio.ensure_future(work())
    await bus.ring(local_bell(1))
    await eventually(lambda: len(heard) == 2)
    worker.cancel()


async def test_two_workers_share_the_bells(server: NatsServer, bus: Bus, heard: list[str]) -> None:
    await ring_until_heard(bus, heard, local_bell(0))
    other_heard: list[str] = []
    async with await Bus.connect(server.url, QUICK) as other:
        await other.wait_connected()
        worker = asyncio.ensure_future(listen(other, LOCAL, "local", other_heard))
        heard.clear()
        for lane in range(200):
            await bus.ring(local_bell(lane))
            await asyncio.sleep(0.001)
        await eventually(lambda: len(heard) + len(other_heard) >= 200)
        assert {*heard, *other_heard} == {local_bell(lane) for lane in range(200)}
        assert len(heard) + len(other_heard) == 200
        assert heard
        assert other_heard
        worker.cancel()


async def test_bells_go_on_after_a_restart_of_the_server(
    server: NatsServer, bus: Bus, heard: list[str]
) -> None:
    await ring_until_heard(bus, heard, local_bell(1))
    await server.stop()
    await eventually(lambda: not bus.connected)
    await server.start()
    await ring_until_heard(bus, heard, local_bell(2))
    assert heard[-1] == local_bell(2)


async def test_bells_go_on_after_jetstreams_directory_was_emptied(
    server: NatsServer, bus: Bus, heard: list[str]
) -> None:
    await ring_until_heard(bus, heard, local_bell(1))
    await server.stop()
    server.empty()
    await server.start()
    await ring_until_heard(bus, heard, local_bell(2))


async def test_a_lost_server_holds_nobody_up(server: NatsServer, bus: Bus, heard: list[str]) -> None:
    await ring_until_heard(bus, heard, local_bell(1))
    server.send(signal.SIGSTOP)
    try:
        async with asyncio.timeout(1):
            for number in range(200):
                await bus.ring(local_bell(number))
                await bus.publish_changed(ACCOUNT, number)
        await eventually(lambda: not bus.connected)
        async with asyncio.timeout(0.2):
            await bus.ring(local_bell(1))
            await bus.publish_changed(ACCOUNT, 1)
    finally:
        server.send(signal.SIGCONT)
    await ring_until_heard(bus, heard, local_bell(5))


async def test_wake_ups_reach_every_listener_and_outlive_a_restart(server: NatsServer, bus: Bus) -> None:
    woken: list[tuple[str, bytes]] = []
    async with await Bus.connect(server.url, QUICK) as reader:
        await reader.wait_connected()
        subscription = await reader.subscribe(
            changed_subject(ACCOUNT), lambda subject, payload: woken.append((subject, payload))
        )
        await bus.publish_changed(ACCOUNT, 7)
        await eventually(lambda: bool(woken))
        assert woken == [(f"postroom.changed.{ACCOUNT}", b"7")]
        await server.stop()
        await eventually(lambda: not bus.connected and not reader.connected)
        await server.start()
        await bus.wait_connected()
        await reader.wait_connected()
        for _ in range(300):  # one may be lost while the server comes back
            await bus.publish_changed(ACCOUNT, 8)
            await asyncio.sleep(0.05)
            if len(woken) > 1:
                break
        assert {payload for _, payload in woken} == {b"7", b"8"}
        await subscription.unsubscribe()
        await bus.publish_changed(ACCOUNT, 9)
        await asyncio.sleep(0.1)
        assert b"9" not in {payload for _, payload in woken}


async def test_what_is_sent_after_a_subscription_reaches_it(server: NatsServer) -> None:
    for number in range(40):
        async with (
            asyncio.timeout(10),
            await Bus.connect(server.url, QUICK) as reader,
            await Bus.connect(server.url, QUICK) as writer,
        ):
            await reader.wait_connected()
            await writer.wait_connected()
            woken = asyncio.Event()
            await reader.subscribe(changed_subject(ACCOUNT), lambda _, __, woken=woken: woken.set())
            await writer.publish_changed(ACCOUNT, number)
            await woken.wait()


async def test_a_service_starts_without_its_server_and_finds_it_later(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "jetstream")
    async with asyncio.timeout(20), await Bus.connect(server.url, QUICK) as bus:
        woken: list[bytes] = []
        await bus.ring(REMOTE_BELL)
        await bus.subscribe(changed_subject(ACCOUNT), lambda _, payload: woken.append(payload))
        assert not bus.connected
        await server.start()
        try:
            await bus.wait_connected()
            await bus.publish_changed(ACCOUNT, 1)
            await eventually(lambda: woken == [b"1"])
        finally:
            await server.stop()
