"""Who a request is from: tokens exchanged for capabilities, which are remembered for some minutes.

A session token is signed by directory and nothing is kept of it there. A session that is ended by its
client is refused by this process from then on; elsewhere it ends with the token.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Generic, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from postroom.directory.v1 import directory_pb2 as pb
from postroom.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from postroom_contracts.errors import (
    CapabilityExpiredError,
    InvalidCredentialsError,
    PostroomError,
    UnavailableError,
)
from postroom_runtime import metrics
from postroom_runtime.logs import log
from webmail_api.limits import DEFAULT_LIMITS, Limits

T = TypeVar("T")

_LOGINS = metrics.counter("webmail_logins_total", "Logins by how they ended.", ["outcome"])


@dataclass(frozen=True, slots=True)
class User:
    """Whose request it is, and what the stores believe."""

    account_id: bytes
    tenant_id: bytes
    address: str
    display_name: str
    capability: str


@dataclass(frozen=True, slots=True)
class Administrator:
    """The capability that came of the administrator's token."""

    capability: str


@dataclass(frozen=True, slots=True)
class Session:
    """What a login gives."""

    token: str
    expires_at: datetime
    user: User


@dataclass(frozen=True, slots=True)
class _Remembered(Generic[T]):
    who: T
    asked_at: float
    expires_at: float


class Sessions:
    """Logins and tokens; all methods raise `PostroomError`."""

    def __init__(self, directory: DirectoryServiceStub, limits: Limits = DEFAULT_LIMITS) -> None:
        self._directory, self._limits = directory, limits
        self._users: OrderedDict[bytes, _Remembered[User]] = OrderedDict()
        self._administrators: OrderedDict[bytes, _Remembered[Administrator]] = OrderedDict()
        self._ended: OrderedDict[bytes, None] = OrderedDict()

    async def log_in(self, address: str, password: str, peer_address: str) -> Session:
        """Raises `InvalidCredentialsError`, `TooManyAttemptsError`."""
        request = pb.AuthenticateRequest(
            address=address,
            password=password,
            scope=pb.SCOPE_API,
            peer_address=peer_address,
            session=True,
        )
        try:
            answer = await self._directory.Authenticate(request, timeout=self._limits.call_seconds)
        except PostroomError as error:
            _LOGINS.labels(error.name).inc()
            log.info("login_refused", outcome=error.name)
            raise
        _LOGINS.labels("ok").inc()
        user = _user(answer.account, answer.capability)
        remembered = _Remembered(user, time.time(), _seconds(answer.capability_expires_at))
        self._remember(self._users, _key(answer.session_token), remembered)
        return Session(answer.session_token, answer.session_expires_at.ToDatetime(UTC), user)

    async def user(self, token: str) -> User:
        """Whose token it is. Raises `InvalidCredentialsError`, `CapabilityExpiredError`."""
        key = _key(self._checked(token))
        if key in self._ended:
            raise CapabilityExpiredError("the session was ended")
        known = self._users.get(key)
        if known is not None and self._fresh(known):
            self._users.move_to_end(key)
            return known.who
        try:
            request = pb.RenewCapabilityRequest(token=token)
            answer = await self._directory.RenewCapability(request, timeout=self._limits.call_seconds)
        except UnavailableError:
            if known is not None and known.expires_at > time.time():
                return known.who  # as good as long as it lives, while directory is away
            raise
        except PostroomError:
            self._users.pop(key, None)
            raise
        if not answer.HasField("account"):
            raise InvalidCredentialsError("a token of nobody's")
        user = _user(answer.account, answer.capability)
        self._remember(
            self._users, key, _Remembered(user, time.time(), _seconds(answer.capability_expires_at))
        )
        return user

    async def administrator(self, token: str) -> Administrator:
        """Raises `InvalidCredentialsError`."""
        key = _key(self._checked(token))
        known = self._administrators.get(key)
        if known is not None and self._fresh(known):
            self._administrators.move_to_end(key)
            return known.who
        request = pb.AuthenticateAdminRequest(token=token)
        answer = await self._directory.AuthenticateAdmin(request, timeout=self._limits.call_seconds)
        administrator = Administrator(answer.capability)
        remembered = _Remembered(administrator, time.time(), _seconds(answer.capability_expires_at))
        self._remember(self._administrators, key, remembered)
        return administrator

    def end(self, token: str) -> None:
        """Refuse a session's token from now on."""
        key = _key(token)
        self._users.pop(key, None)
        self._ended[key] = None
        if len(self._ended) > self._limits.ended_sessions:
            self._ended.popitem(last=False)

    def _checked(self, token: str) -> str:
        if not token or len(token) > self._limits.token or not token.isascii():
            raise InvalidCredentialsError("no token that was given out")
        return token

    def _fresh(self, known: _Remembered[T]) -> bool:
        now = time.time()
        soon = known.expires_at - self._limits.renew_before
        return known.asked_at <= now < min(known.asked_at + self._limits.cached_seconds, soon)

    def _remember(
        self, cache: OrderedDict[bytes, _Remembered[T]], key: bytes, remembered: _Remembered[T]
    ) -> None:
        cache[key] = remembered
        cache.move_to_end(key)
        if len(cache) > self._limits.cached_sessions:
            cache.popitem(last=False)


def _key(token: str) -> bytes:
    """Tokens themselves are kept nowhere."""
    return sha256(token.encode()).digest()


def _seconds(instant: Timestamp) -> float:
    return instant.ToNanoseconds() / 1e9


def _user(account: pb.Account, capability: str) -> User:
    return User(account.id, account.tenant_id, account.address, account.display_name, capability)
