"""The mail store and the directory as SMTP needs them, over gRPC."""

import time
from collections.abc import AsyncIterable, AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from postroom.directory.v1 import directory_pb2, directory_pb2_grpc, login_pb2_grpc
from postroom.mailstore.v1 import delivery_pb2, delivery_pb2_grpc
from postroom_contracts.errors import MethodMissingError, PostroomError, UnavailableError
from postroom_runtime.logs import log
from postroom_runtime.sasl import Client, DirectoryLogins
from postroom_runtime.transfer import Stored, Transfers
from postroom_wire.sasl import Attempt, ScramOpening
from smtp_inbound.recipients import Answers, Questions

_PRESIGNED_AT_ONCE: Final = 8
_ABORT_SECONDS: Final = 1.0
_ROOM_SECONDS: Final = 1.0
_RESOLVE_SECONDS: Final = 2.0
_LOGIN_SECONDS: Final = 4.0
_FRESH_SECONDS: Final = 60.0
"""A capability that lasts less long is renewed before it is used."""


@dataclass(frozen=True, slots=True)
class Login:
    """Who a client has proved to be; `capability` is what the stores believe."""

    account_id: UUID
    tenant_id: UUID
    address: str
    capability: str
    expires_at: float
    """The capability's end, seconds since 1970."""


class Directory:
    """Logins and addresses."""

    def __init__(
        self, stub: directory_pb2_grpc.DirectoryServiceStub, logins: login_pb2_grpc.LoginServiceStub
    ) -> None:
        self._stub = stub
        self._logins = DirectoryLogins(stub, logins, _LOGIN_SECONDS)
        self._older = False
        """Whether the replica that was asked last knows no streams yet: the next may not either."""

    async def check(self) -> None:
        """Raises UnavailableError when it does not answer."""
        await self._stub.ResolveRecipients(directory_pb2.ResolveRecipientsRequest(), timeout=_RESOLVE_SECONDS)

    def open_stream(self, questions: AsyncIterator[Questions]) -> AsyncIterable[Answers]:
        """Where mail to addresses goes; the stream to a directory of an older version is of single calls."""
        if self._older:
            self._older = False  # another stream tries again: a new version may be there
            return self._by_calls(questions)
        return self._by_stream(questions)

    async def _by_stream(self, questions: AsyncIterator[Questions]) -> AsyncIterator[Answers]:
        requests = (
            directory_pb2.StreamResolveRecipientsRequest(questions=batch) async for batch in questions
        )
        try:
            async for response in self._stub.StreamResolveRecipients(requests):
                yield response.answers
        except MethodMissingError:
            self._older = True
            raise

    async def _by_calls(self, questions: AsyncIterator[Questions]) -> AsyncIterator[Answers]:
        async for batch in questions:
            request = directory_pb2.ResolveRecipientsRequest(addresses=[each.address for each in batch])
            resolutions = (await self._stub.ResolveRecipients(request, timeout=_RESOLVE_SECONDS)).resolutions
            if len(resolutions) != len(batch):
                raise UnavailableError("the directory left addresses out")
            yield [
                directory_pb2.RecipientAnswer(number=each.number, resolution=resolution)
                for each, resolution in zip(batch, resolutions, strict=True)
            ]

    async def begin_scram(self, opening: ScramOpening, client: Client) -> bytes:
        """Our first message. Raises as `log_in`."""
        return await self._logins.begin(opening, client)

    async def log_in(self, attempt: Attempt, client: Client) -> tuple[Login, bytes]:
        """Check what a client says; with the last word that it is to hear.

        Raises InvalidCredentialsError, TooManyAttemptsError, UnavailableError.
        """
        proven = await self._logins.prove(attempt, client)
        login = proven.login
        return _login(login.account, login.capability, login.capability_expires_at), proven.last_word

    async def fresh(self, login: Login) -> Login:
        """The same login with a capability that lasts a while. Raises when account or password changed."""
        if login.expires_at - time.time() > _FRESH_SECONDS:
            return login
        answer = await self._stub.RenewCapability(
            directory_pb2.RenewCapabilityRequest(token=login.capability)
        )
        return _login(answer.account, answer.capability, answer.capability_expires_at)


class Mailstore:
    """Accepting mail."""

    def __init__(self, stub: delivery_pb2_grpc.DeliveryServiceStub, transfers: Transfers) -> None:
        self._stub, self._transfers = stub, transfers

    def open_stream(
        self, requests: AsyncIterator[delivery_pb2.AcceptRequest]
    ) -> AsyncIterable[delivery_pb2.AcceptResponse]:
        """A stream of batches."""
        return self._stub.Accept(requests)

    async def abort(self, message_id: UUID) -> bool | None:
        """Make sure that an id is not accepted from now on.

        Returns whether it was accepted before, None when nobody answers.
        """
        try:
            answer = await self._stub.Abort(
                delivery_pb2.AbortRequest(id=message_id.bytes), timeout=_ABORT_SECONDS
            )
        except PostroomError as error:
            log.warning("abort_unknown", queue_id=str(message_id), error=error.name)
            return None
        return answer.accepted_before

    async def find_full(self, accounts: Sequence[delivery_pb2.AccountBound]) -> Collection[bytes]:
        """The ids of those that keep as much as they may. Raises UnavailableError."""
        request = delivery_pb2.FindFullRequest(accounts=accounts)
        return (await self._stub.FindFull(request, timeout=_ROOM_SECONDS)).account_ids

    async def upload(self, upload_id: UUID, tenant_id: UUID, source: AsyncIterator[bytes]) -> Stored:
        """Put a large message into the object store. Raises UnavailableError."""
        begun = await self._stub.BeginUpload(
            delivery_pb2.BeginUploadRequest(upload_id=upload_id.bytes, tenant_id=tenant_id.bytes)
        )
        urls = {part.number: part.url for part in begun.parts}

        async def part_url(number: int) -> str:
            if number not in urls:
                request = delivery_pb2.PresignUploadPartsRequest(
                    upload_id=upload_id.bytes, first_number=number, count=_PRESIGNED_AT_ONCE
                )
                answer = await self._stub.PresignUploadParts(request)
                urls.update({part.number: part.url for part in answer.parts})
            return urls.pop(number)

        return await self._transfers.put_parts(part_url, source, part_size=begun.part_size)


def _login(account: directory_pb2.Account, capability: str, expires_at: Timestamp) -> Login:
    return Login(
        UUID(bytes=account.id),
        UUID(bytes=account.tenant_id),
        account.address,
        capability,
        expires_at.ToNanoseconds() / 1e9,
    )
