"""SASL around a connection: what TLS gives to it, and what the directory says to an attempt."""

import ssl
from dataclasses import dataclass

from postroom.directory.v1 import directory_pb2, login_pb2
from postroom.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from postroom.directory.v1.login_pb2_grpc import LoginServiceStub
from postroom_contracts.errors import InvalidCredentialsError
from postroom_runtime.end_point import END_POINT
from postroom_runtime.tcp import Connection
from postroom_runtime.tls import ServerContext
from postroom_wire.sasl import (
    UNBOUND,
    Attempt,
    Bearer,
    Certificate,
    Channel,
    Credentials,
    ScramOpening,
    ScramProof,
)


@dataclass(frozen=True, slots=True)
class Client:
    """Who makes an attempt. `certificate` is what TLS has verified, in DER; empty without one."""

    scope: directory_pb2.Scope.ValueType
    peer_address: str
    certificate: bytes = b""


@dataclass(frozen=True, slots=True)
class Proven:
    """The client is who it says. `last_word` is for the client to see who we are."""

    login: directory_pb2.AuthenticateResponse
    last_word: bytes = b""


class DirectoryLogins:
    """The calls. All raise `InvalidCredentialsError`, `TooManyAttemptsError`, `UnavailableError` and for what
    no client can have meant `InvalidRequestError`."""

    def __init__(
        self, directory: DirectoryServiceStub, logins: LoginServiceStub, call_seconds: float
    ) -> None:
        self._directory, self._logins = directory, logins
        self._seconds = call_seconds

    async def begin(self, opening: ScramOpening, client: Client) -> bytes:
        """Our first message of SCRAM."""
        request = login_pb2.BeginScramRequest(client_first=opening.bare, peer_address=client.peer_address)
        return (await self._logins.BeginScram(request, timeout=self._seconds)).server_first

    async def prove(self, attempt: Attempt, client: Client) -> Proven:
        """Whether it is true; a `ScramOpening` proves nothing."""
        match attempt:
            case Credentials():
                return Proven(await self._password(attempt, client))
            case ScramProof():
                return await self._scram(attempt, client)
            case Bearer():
                return Proven(await self._bearer(attempt, client))
            case Certificate():
                return Proven(await self._certificate(attempt, client))
            case ScramOpening():
                raise InvalidCredentialsError("no proof")

    async def _password(self, credentials: Credentials, client: Client) -> directory_pb2.AuthenticateResponse:
        _check_identity(credentials.authorization_id, credentials.authentication_id)
        request = directory_pb2.AuthenticateRequest(
            address=credentials.authentication_id,
            password=credentials.password,
            scope=client.scope,
            peer_address=client.peer_address,
        )
        return await self._directory.Authenticate(request, timeout=self._seconds)

    async def _scram(self, proof: ScramProof, client: Client) -> Proven:
        _check_identity(proof.opening.authorization_id, proof.opening.username)
        request = login_pb2.FinishScramRequest(
            client_first=proof.opening.bare,
            server_first=proof.server_first,
            client_final=proof.without_proof,
            proof=proof.proof,
            scope=client.scope,
            peer_address=client.peer_address,
        )
        answer = await self._logins.FinishScram(request, timeout=self._seconds)
        return Proven(answer.login, answer.server_final)

    async def _bearer(self, bearer: Bearer, client: Client) -> directory_pb2.AuthenticateResponse:
        request = login_pb2.AuthenticateBearerRequest(
            token=bearer.token,
            authorization_id=bearer.authorization_id,
            scope=client.scope,
            peer_address=client.peer_address,
        )
        return (await self._logins.AuthenticateBearer(request, timeout=self._seconds)).login

    async def _certificate(
        self, certificate: Certificate, client: Client
    ) -> directory_pb2.AuthenticateResponse:
        request = login_pb2.AuthenticateCertificateRequest(
            certificate=client.certificate,
            authorization_id=certificate.authorization_id,
            scope=client.scope,
            peer_address=client.peer_address,
        )
        return (await self._logins.AuthenticateCertificate(request, timeout=self._seconds)).login


def channel_of(connection: Connection) -> Channel:
    """What TLS gives; nothing without it."""
    if (layer := connection.ssl_object) is None:
        return UNBOUND
    context: ssl.SSLContext = layer.context
    end_point = context.end_point if isinstance(context, ServerContext) else None
    bindings = {} if end_point is None else {END_POINT: end_point}
    return Channel(bindings, certified=bool(client_certificate(connection)))


def client_certificate(connection: Connection) -> bytes:
    """The client's certificate, which TLS has verified, in DER; empty without one."""
    layer = connection.ssl_object
    # Without an authority to verify by, OpenSSL asks for no certificate.
    return (layer.getpeercert(binary_form=True) or b"") if layer is not None else b""


def _check_identity(authorization_id: str, authentication_id: str) -> None:
    if authorization_id not in ("", authentication_id):
        raise InvalidCredentialsError("nobody acts as another")
