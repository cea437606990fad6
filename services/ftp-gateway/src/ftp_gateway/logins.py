"""Who the client is: directory says, and goes on saying in long sessions."""

import time
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from postroom.directory.v1 import directory_pb2
from postroom.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from postroom_contracts.errors import UnavailableError

_FRESH_SECONDS: Final = 90.0
_CALL_SECONDS: Final = 4.5


@dataclass(slots=True)
class Login:
    """An account for the time of a session. The session token is good for a fresh capability only."""

    account_id: UUID
    capability: str
    expires_at: float
    session_token: str


class Logins:
    """Passwords to capabilities."""

    def __init__(self, directory: DirectoryServiceStub) -> None:
        self._directory = directory

    async def log_in(self, user: str, password: str, peer_address: str) -> Login:
        """Raises `InvalidCredentialsError`, `TooManyAttemptsError`, `UnavailableError`."""
        request = directory_pb2.AuthenticateRequest(
            address=user,
            password=password,
            scope=directory_pb2.SCOPE_FTP,
            peer_address=peer_address,
            session=True,
        )
        answer = await self._directory.Authenticate(request, timeout=_CALL_SECONDS)
        return Login(
            UUID(bytes=answer.account.id),
            answer.capability,
            answer.capability_expires_at.seconds,
            answer.session_token,
        )

    async def capability(self, login: Login) -> str:
        """A capability that is good for the next minute at least.

        Raises `CapabilityExpiredError` when the account or its password changed, `UnavailableError`.
        """
        left = login.expires_at - time.time()
        if left > _FRESH_SECONDS:
            return login.capability
        request = directory_pb2.RenewCapabilityRequest(token=login.session_token or login.capability)
        try:
            answer = await self._directory.RenewCapability(request, timeout=_CALL_SECONDS)
        except UnavailableError:
            if left > _CALL_SECONDS:
                return login.capability
            raise
        login.capability = answer.capability
        login.expires_at = answer.capability_expires_at.seconds
        return login.capability
