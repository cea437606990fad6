"""Parts that stop under way, and processes that are killed: what was acknowledged is there, once."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from uuid import UUID

import pytest

from postroom_contracts.ids import parse_queue_id
from postroom_embedded.instance import Instance
from postroom_embedded.nats import Nats
from postroom_embedded.postgres import PostgresAddress
from postroom_embedded.process import Process
from postroom_testing.certificates import CertificateAuthority
from postroom_testing.core import (
    Core,
    bare_core,
    new_core_schemas,
    running_directory,
    running_mailstore,
    service_process,
)
from postroom_testing.postgres_faults import faulty_postgres
from postroom_testing.smtp_client import SmtpClient
from postroom_testing.smtp_house import running_smtp, smtp_settings

ANN, OUTSIDER = "ann@postroom.test", "someone@example.org"
ANSWER_SECONDS = 5.5  # 5 s, and what a busy machine adds


@pytest.fixture
async def half_core(core_database: PostgresAddress) -> AsyncGenerator[Core]:
    """A directory with accounts, and no mail store yet."""
    async with bare_core(core_database) as core, running_directory(core):
        await core.add_accounts("ann")
        yield core


async def attempt(port: int) -> str:
    """One mail to ann: the last reply, empty when the connection broke or there was none."""
    with contextlib.suppress(OSError):
        async with SmtpClient.connected(port) as client:
            return await client.mail(OUTSIDER, ANN)
    return ""


async def until_accepted(port: int, seconds: float = 20.0) -> UUID:
    """Try as a mail server would, but sooner; gives the queue id."""
    async with asyncio.timeout(seconds):
        while not (reply := await attempt(port)).startswith("250 "):
            assert not reply.startswith("5"), reply
            await asyncio.sleep(0.05)
    return parse_queue_id(reply.rpartition(" ")[2])


async def all_filed_once(core: Core, acknowledged: set[UUID]) -> None:
    """Wait until all that was acknowledged is there, then look that nothing is there twice."""
    async with asyncio.timeout(20):
        while not acknowledged <= set(found := await core.inbox(ANN)):
            await asyncio.sleep(0.05)
    assert len(found) == len(set(found))


async def test_mail_is_put_off_within_five_seconds_while_the_mail_store_is_away(half_core: Core) -> None:
    async with running_smtp(half_core) as smtp:
        began = time.monotonic()
        assert (await attempt(smtp.port)).startswith("451 4.3.0")
        assert time.monotonic() - began < ANSWER_SECONDS
        for _ in range(2):
            async with running_mailstore(half_core):
                acknowledged = {await until_accepted(smtp.port)}
                await all_filed_once(half_core, acknowledged)


async def test_mail_is_accepted_as_long_as_a_draining_mail_store_is_still_asked(half_core: Core) -> None:
    async with (
        running_mailstore(half_core, unready_seconds=1.5) as lifecycle,
        running_smtp(half_core) as smtp,
    ):
        assert (await attempt(smtp.port)).startswith("250 ")  # a stream is open
        lifecycle.stop()
        for _ in range(3):
            assert (await attempt(smtp.port)).startswith("250 ")


async def test_mail_is_put_off_within_five_seconds_while_postgres_is_away() -> None:
    async with faulty_postgres() as postgres:
        await postgres.start()
        await new_core_schemas(postgres.address)
        async with (
            bare_core(postgres.address) as core,
            running_directory(core),
            running_mailstore(core),
            running_smtp(core) as smtp,
        ):
            await core.add_accounts("ann")
            acknowledged = {await until_accepted(smtp.port)}
            for fail, heal in (
                (postgres.stop, postgres.start),
                (frozen(postgres.freeze), frozen(postgres.thaw)),
            ):
                await fail()
                began = time.monotonic()
                assert (await attempt(smtp.port)).startswith("451 4.3.0")
                assert time.monotonic() - began < ANSWER_SECONDS
                await heal()
                acknowledged.add(await until_accepted(smtp.port))
            await all_filed_once(core, acknowledged)


def frozen(change: Callable[[], None]) -> Callable[[], Coroutine[None, None, None]]:
    """A fault that needs no waiting, to be awaited."""

    async def changed() -> None:
        change()

    return changed


async def test_mail_is_accepted_and_filed_while_nats_is_away(
    half_core: Core, embedded_instance: Instance
) -> None:
    server = Nats(embedded_instance)
    half_core.nats = server.address
    async with running_mailstore(half_core), running_smtp(half_core) as smtp:
        acknowledged = {await until_accepted(smtp.port)}
        await all_filed_once(half_core, acknowledged)
        await server.prepare()
        process = await Process.start(embedded_instance, server.command())
        try:
            await server.wait_ready(process)
            acknowledged.add(await until_accepted(smtp.port))
        finally:
            await process.stop()
        acknowledged.add(await until_accepted(smtp.port))
        await all_filed_once(half_core, acknowledged)


async def test_a_frozen_mail_store_puts_mail_off_and_files_nothing_twice(half_core: Core) -> None:
    environment = half_core.mailstore_environment
    async with (
        service_process(half_core, "mailstore", environment) as process,
        running_smtp(half_core) as smtp,
    ):
        acknowledged = {await until_accepted(smtp.port)}
        process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        assert (await attempt(smtp.port)).startswith("451 4.3.0")
        assert time.monotonic() - began < ANSWER_SECONDS
        process.send_signal(signal.SIGCONT)
        acknowledged.add(await until_accepted(smtp.port))
        await all_filed_once(half_core, acknowledged)


async def test_mail_goes_to_the_other_mail_store_while_one_is_frozen(half_core: Core) -> None:
    environment = half_core.mailstore_environment
    second = f"unix:{half_core.sockets / 'second'}"
    async with (
        service_process(half_core, "mailstore", environment) as process,
        running_mailstore(half_core, grpc_listen=second),
        running_smtp(half_core, mailstore_address=f"{half_core.mailstore},{second}") as smtp,
    ):
        acknowledged = {await until_accepted(smtp.port)}
        process.send_signal(signal.SIGSTOP)
        for _ in range(5):
            began = time.monotonic()
            acknowledged.add(await until_accepted(smtp.port))
            assert time.monotonic() - began < ANSWER_SECONDS
        process.send_signal(signal.SIGCONT)
        await all_filed_once(half_core, acknowledged)
    assert len(acknowledged) == 6


@pytest.mark.parametrize(
    "step",
    ["accept.before_commit:3", "accept.after_commit:3", "deliver.before_commit:2", "deliver.after_commit:2"],
)
async def test_a_killed_mail_store_loses_and_doubles_nothing(half_core: Core, step: str) -> None:
    environment = half_core.mailstore_environment
    acknowledged: set[UUID] = set()
    async with running_smtp(half_core) as smtp:

        async def send() -> None:
            for _ in range(8):
                acknowledged.add(await until_accepted(smtp.port))

        async with service_process(half_core, "mailstore", environment, step) as process:
            sending = asyncio.create_task(send())
            assert await asyncio.wait_for(process.wait(), 20) == 137
        async with running_mailstore(half_core):
            await sending
            await all_filed_once(half_core, acknowledged)
    assert len(acknowledged) == 8


@pytest.mark.parametrize(
    "step", ["accept.before_handover:3", "handover.after_answer:3", "accept.before_reply:3"]
)
async def test_a_killed_smtp_service_loses_and_doubles_nothing(half_core: Core, step: str) -> None:
    certificate = CertificateAuthority(half_core.sockets / "tls").issue("localhost")
    values = smtp_settings(half_core, certificate)
    environment = half_core.environment | {
        f"POSTROOM_SMTP_INBOUND_{name.upper()}": str(values[name])
        for name in ("host", "port", "submission_port", "submissions_port", "hostname")
    }
    acknowledged: set[UUID] = set()
    port = int(str(values["port"]))
    async with running_mailstore(half_core):

        async def send() -> None:
            for _ in range(6):
                acknowledged.add(await until_accepted(port))

        async with service_process(half_core, "smtp_inbound", environment, step) as process:
            sending = asyncio.create_task(send())
            assert await asyncio.wait_for(process.wait(), 20) == 137
        async with again(half_core, values):
            await sending
            await all_filed_once(half_core, acknowledged)
    assert len(acknowledged) == 6


def again(core: Core, values: dict[str, object]) -> AbstractAsyncContextManager[object]:
    """The service at the same ports, in this process."""
    ports = {name: values[name] for name in ("port", "submission_port", "submissions_port")}
    return running_smtp(core, **ports)
