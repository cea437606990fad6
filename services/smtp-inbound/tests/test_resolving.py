"""Addresses of many sessions asked of directories that restart, freeze, drain, or are of an older version."""

import asyncio
import itertools
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import grpc
import pytest

from postroom.directory.v1 import directory_pb2 as pb
from postroom.directory.v1.directory_pb2_grpc import (
    DirectoryServiceServicer,
    DirectoryServiceStub,
    add_DirectoryServiceServicer_to_server,
)
from postroom.directory.v1.login_pb2_grpc import LoginServiceStub
from postroom_contracts.errors import UnavailableError
from postroom_runtime.grpc_client import channel
from postroom_runtime.grpc_server import requests_until, serve_grpc
from postroom_runtime.lifecycle import Lifecycle
from postroom_testing.core import private_directory
from smtp_inbound.recipients import RecipientResolver
from smtp_inbound.store import Directory

SERVICE = "postroom.directory.v1.DirectoryService"


class Answering(DirectoryServiceServicer):
    """Everything is elsewhere; where an address says so, there is an error."""

    def __init__(self, name: str, closing: asyncio.Event) -> None:
        self.name, self.closing = name, closing
        self.streams = self.calls = 0

    async def ResolveRecipients(  # noqa: N802
        self, request: pb.ResolveRecipientsRequest, context: object
    ) -> pb.ResolveRecipientsResponse:
        self.calls += 1
        resolutions = [self._resolution(address) for address in request.addresses]
        return pb.ResolveRecipientsResponse(resolutions=resolutions)

    async def StreamResolveRecipients(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.StreamResolveRecipientsRequest], context: object
    ) -> AsyncIterator[pb.StreamResolveRecipientsResponse]:
        self.streams += 1
        async for request in requests_until(self.closing, request_iterator):
            answers = [self._answer(question) for question in request.questions]
            yield pb.StreamResolveRecipientsResponse(answers=reversed(answers))

    def _answer(self, question: pb.RecipientQuestion) -> pb.RecipientAnswer:
        if question.address == "fails":
            return pb.RecipientAnswer(number=question.number, error="internal")
        return pb.RecipientAnswer(number=question.number, resolution=self._resolution(question.address))

    def _resolution(self, address: str) -> pb.Resolution:
        targets = [pb.Target(remote_address=self.name)]
        return pb.Resolution(address=address, outcome=pb.Resolution.OUTCOME_REMOTE, targets=targets)


@dataclass
class Replica:
    """A directory that starts and ends; one that is `older` has no stream."""

    folder: Path
    name: str = "a"
    older: bool = False
    lifecycle: Lifecycle = field(default_factory=Lifecycle)

    @property
    def address(self) -> str:
        return f"unix:{self.folder}/{self.name}"

    async def __aenter__(self) -> Self:
        self.lifecycle = Lifecycle()
        self.servicer = Answering(self.name, self.lifecycle.closing)  # pyright: ignore[reportAbstractUsage]
        self.server = await serve_grpc(
            self.address,
            self.add,
            policy={
                f"/{SERVICE}/{name}": frozenset({"smtp-inbound"})
                for name in ("ResolveRecipients", "StreamResolveRecipients")
            },
            tls=None,
            lifecycle=self.lifecycle,
        )
        return self

    def add(self, server: grpc.aio.Server) -> None:
        if not self.older:
            add_DirectoryServiceServicer_to_server(self.servicer, server)
            return
        resolve = grpc.unary_unary_rpc_method_handler(
            self.servicer.ResolveRecipients,  # pyright: ignore[reportArgumentType]  # asynchronous
            pb.ResolveRecipientsRequest.FromString,
            pb.ResolveRecipientsResponse.SerializeToString,
        )
        handlers: Any = {"ResolveRecipients": resolve}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    async def drain(self) -> None:
        self.lifecycle.stop()
        await self.server.serve_until_stopped(self.lifecycle, unready_seconds=0.01, drain_seconds=5)

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop(None)


@pytest.fixture
async def folder() -> AsyncGenerator[Path]:
    with private_directory() as place:
        yield place


@asynccontextmanager
async def resolving(*addresses: str) -> AsyncGenerator[RecipientResolver]:
    async with channel(",".join(addresses), "smtp-inbound") as way:
        resolver = RecipientResolver(Directory(DirectoryServiceStub(way), LoginServiceStub(way)).open_stream)
        running = asyncio.ensure_future(resolver.run())
        yield resolver
        running.cancel()
        await asyncio.wait([running])


async def answered_by(resolver: RecipientResolver, address: str = "ann@example.org") -> str:
    resolution = await resolver.resolve(address)
    assert resolution.address == address
    return resolution.targets[0].remote_address


@asynccontextmanager
async def load(resolver: RecipientResolver, sessions: int = 5) -> AsyncGenerator[list[str]]:
    """Sessions that ask all the time, and who answered; every question has to be answered."""
    answers: list[str] = []

    async def ask(session: int) -> None:
        for number in itertools.count():
            answers.append(await answered_by(resolver, f"{session}.{number}@example.org"))
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(ask(session)) for session in range(sessions)]
        yield answers
        for task in asking:
            task.cancel()


async def more(answers: list[str], than: int = 50) -> None:
    """Wait until so many questions more have been answered."""
    wanted = len(answers) + than
    async with asyncio.timeout(5):
        while len(answers) < wanted:
            await asyncio.sleep(0.002)


async def test_all_sessions_share_one_stream(folder: Path) -> None:
    async with Replica(folder) as replica, resolving(replica.address) as resolver:
        async with load(resolver) as answers:
            await more(answers, 200)
        assert (replica.servicer.streams, replica.servicer.calls) == (1, 0)


async def test_an_error_is_the_answer_to_its_question_only(folder: Path) -> None:
    async with Replica(folder) as replica, resolving(replica.address) as resolver:
        questions = [
            answered_by(resolver, address) for address in ("x@example.org", "fails", "y@example.org")
        ]
        first, second, third = await asyncio.gather(*questions, return_exceptions=True)
        assert (first, third) == ("a", "a")
        assert isinstance(second, UnavailableError)
        assert replica.servicer.streams == 1


async def test_no_question_fails_while_a_directory_is_restarted_or_drained(folder: Path) -> None:
    async with (
        Replica(folder) as first,
        resolving(first.address) as resolver,
        load(resolver) as answers,
    ):
        for _ in range(3):
            await more(answers)
            await first.server.stop(None)
            await first.__aenter__()
            await more(answers)
            async with asyncio.timeout(2):
                await first.drain()
            await first.__aenter__()
        await more(answers)


async def test_a_drained_directory_is_left_for_its_neighbour_at_once(folder: Path) -> None:
    async with (
        Replica(folder, "a") as one,
        Replica(folder, "b") as other,
        resolving(one.address, other.address) as resolver,
        load(resolver) as answers,
    ):
        await more(answers)
        serving, idle = (one, other) if answers[-1] == "a" else (other, one)
        async with asyncio.timeout(2):
            await serving.drain()
        await more(answers, 20)
        assert set(answers[-10:]) == {idle.name}


async def test_a_directory_of_an_older_version_is_asked_call_by_call(folder: Path) -> None:
    async with (
        Replica(folder, older=True) as replica,
        resolving(replica.address) as resolver,
        load(resolver) as answers,
    ):
        await more(answers)
        assert replica.servicer.calls > 1
        await replica.server.stop(None)
        replica.older = False
        await replica.__aenter__()
        await more(answers)
        async with asyncio.timeout(5):
            while not replica.servicer.streams:  # an upgrade ends the calls: the next stream is one
                await replica.server.stop(None)
                await replica.__aenter__()
                await more(answers)


async def test_old_and_new_directories_beside_each_other_answer_all(folder: Path) -> None:
    async with (
        Replica(folder, "a", older=True) as old,
        Replica(folder, "b") as new,
        resolving(old.address, new.address) as resolver,
        load(resolver) as answers,
    ):
        for _ in range(4):
            await more(answers)
            for replica in (old, new):
                await replica.server.stop(None)
                await replica.__aenter__()


async def test_nobody_there_is_unavailable_within_five_seconds(folder: Path) -> None:
    async with resolving(f"unix:{folder}/nobody") as resolver, asyncio.timeout(5):
        with pytest.raises(UnavailableError):
            await resolver.resolve("ann@example.org")


FROZEN = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_resolving import Replica

async def main():
    async with Replica(Path(sys.argv[2]), sys.argv[3]):
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_frozen_directory_delays_its_questions_until_another_answers_them(folder: Path) -> None:
    command = (sys.executable, "-c", FROZEN, str(Path(__file__).parent), str(folder))
    replicas = {
        name: await asyncio.create_subprocess_exec(*command, name, stdout=asyncio.subprocess.PIPE)
        for name in ("a", "b")
    }
    try:
        for process in replicas.values():
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        async with resolving(*(f"unix:{folder}/{name}" for name in replicas)) as resolver:
            serving = await answered_by(resolver)
            replicas[serving].send_signal(signal.SIGSTOP)
            async with asyncio.timeout(5):
                assert await answered_by(resolver) != serving
    finally:
        for process in replicas.values():
            process.kill()
            await process.communicate()
