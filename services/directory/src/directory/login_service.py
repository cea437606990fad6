"""The gRPC face of logins without a password."""

from typing import Any, TypeAlias

import grpc

from directory.authentication import Asked, Login
from directory.bearer_tokens import BearerTokens
from directory.calls import in_time
from directory.client_certificates import ClientCertificates
from directory.limits import Limits
from directory.logins import logged_in, scope_of
from directory.scram import Scram, ScramLogin, scram_proof
from postroom.directory.v1 import login_pb2 as pb
from postroom.directory.v1.login_pb2_grpc import LoginServiceServicer

_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class LoginService(LoginServiceServicer):
    """Every method answers within `Limits.call_seconds`."""

    def __init__(
        self, scram: Scram, tokens: BearerTokens, certificates: ClientCertificates, limits: Limits
    ) -> None:
        self._scram = scram
        self._tokens = tokens
        self._certificates = certificates
        self._limits = limits

    async def BeginScram(self, request: pb.BeginScramRequest, context: _Context) -> pb.BeginScramResponse:
        """Our first message."""
        async with in_time(self._limits.call_seconds):
            said = await self._scram.begin(request.client_first, request.peer_address)
        return pb.BeginScramResponse(server_first=said)

    async def FinishScram(self, request: pb.FinishScramRequest, context: _Context) -> pb.FinishScramResponse:
        """Whether the client has the password."""
        scope = scope_of(request.scope)
        finished: list[ScramLogin] = []

        async def log_in() -> Login:
            proof = scram_proof(
                request.client_first, request.server_first, request.client_final, request.proof
            )
            finished.append(await self._scram.finish(proof, Asked(scope, request.peer_address)))
            return finished[0].login

        async with in_time(self._limits.call_seconds):
            answer = await logged_in(log_in(), scope, self._limits)
        return pb.FinishScramResponse(login=answer, server_final=finished[0].server_final)

    async def AuthenticateBearer(
        self, request: pb.AuthenticateBearerRequest, context: _Context
    ) -> pb.AuthenticateBearerResponse:
        """Whose access token it is."""
        scope = scope_of(request.scope)
        asked = Asked(scope, request.peer_address)
        async with in_time(self._limits.call_seconds):
            login = self._tokens.authenticate(request.token, request.authorization_id, asked)
            return pb.AuthenticateBearerResponse(login=await logged_in(login, scope, self._limits))

    async def AuthenticateCertificate(
        self, request: pb.AuthenticateCertificateRequest, context: _Context
    ) -> pb.AuthenticateCertificateResponse:
        """Whose certificate it is."""
        scope = scope_of(request.scope)
        asked = Asked(scope, request.peer_address)
        async with in_time(self._limits.call_seconds):
            login = self._certificates.authenticate(request.certificate, request.authorization_id, asked)
            return pb.AuthenticateCertificateResponse(login=await logged_in(login, scope, self._limits))
