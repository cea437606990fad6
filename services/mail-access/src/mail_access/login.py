"""Who a session's user is, and the capability that its calls carry.

A capability lives for minutes, and is renewed before its end for as long as the session lasts. When the
directory refuses (the account or its password changed), the login has ended and the session says goodbye.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from random import uniform
from typing import Final
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from mail_access.limits import DEFAULT_LIMITS, Limits
from postroom.directory.v1 import directory_pb2, directory_pb2_grpc, login_pb2_grpc
from postroom_contracts.errors import (
    AccountNotFoundError,
    CapabilityExpiredError,
    InvalidCredentialsError,
    LimitError,
    NotPermittedError,
    PostroomError,
    UnavailableError,
)
from postroom_contracts.ids import parse_id
from postroom_runtime import metrics
from postroom_runtime.grpc_client import Metadata, on_behalf_of
from postroom_runtime.logs import log
from postroom_runtime.sasl import Client, DirectoryLogins
from postroom_wire.sasl import Attempt, ScramOpening

_LOGINS: Final = metrics.counter("logins_attempts_total", "Logins by outcome.", ["scope", "outcome"])
_RENEWALS: Final = metrics.counter("logins_renewals_total", "Renewed capabilities by outcome.", ["outcome"])
_OPEN: Final = metrics.gauge("logins_open_sessions", "Sessions that are logged in.")

_REFUSALS: Final = (
    InvalidCredentialsError,
    CapabilityExpiredError,
    NotPermittedError,
    AccountNotFoundError,
)


class LoginEndedError(Exception):
    """The directory does not renew the login any more: say goodbye."""


class Login:
    """One session's user. Made by `Logins.log_in`, ended by `Logins.log_out`."""

    __slots__ = (
        "_ended",
        "_expires_at",
        "_home",
        "_logins",
        "_renew_at",
        "_renewing",
        "_token",
        "account_id",
        "address",
        "wake",
    )

    def __init__(self, logins: "Logins", account_id: UUID, address: str, home: "Login | None" = None) -> None:
        self.account_id = account_id
        """Whose mailboxes it is about."""
        self.address = address
        self.wake: Callable[[], None] | None = None
        """Called once when the login ends by itself."""
        self._logins = logins
        self._home = home
        self._ended = False
        self._token = ""
        self._expires_at = self._renew_at = 0.0
        self._renewing: asyncio.Lock | None = None

    @property
    def ended(self) -> bool:
        """Whether the directory renews it no more."""
        return self._ended if self._home is None else self._home.ended

    @property
    def user_id(self) -> UUID:
        """Whose login it is."""
        return self.account_id if self._home is None else self._home.account_id

    @property
    def is_guest(self) -> bool:
        """Whether the mailboxes are somebody else's (RFC 4314)."""
        return self._home is not None

    def at(self, host: UUID) -> "Login":
        """The same user in the mailboxes of another account; it lives and ends with this login."""
        home = self._home or self
        return home if host == home.account_id else Login(self._logins, host, home.address, home)

    async def metadata(self) -> Metadata:
        """What a call of the stores carries. Raises as `token`."""
        return on_behalf_of(await self.token(), self.account_id if self.is_guest else None)

    async def token(self) -> str:
        """The capability to send along. Raises `LoginEndedError`, `UnavailableError` when it is too old."""
        if self._home is not None:
            return await self._home.token()
        if self.ended:
            raise LoginEndedError
        if time.time() >= self._renew_at:
            await self.renew()
        return self._token

    def due(self, now: float) -> bool:
        """Whether it is to be renewed."""
        return now >= self._renew_at and not self.ended

    def take(self, token: str, expires_at: Timestamp, limits: Limits) -> None:
        """Go on with this capability."""
        now, self._token = time.time(), token
        self._expires_at = float(expires_at.seconds)  # as the capability itself says it: whole seconds
        self._renew_at = self._expires_at - min(limits.renew_before, max(self._expires_at - now, 0) / 3)

    async def renew(self) -> None:
        """Renew now, unless another task just did. Raises as `token`."""
        if self._renewing is None:
            self._renewing = asyncio.Lock()
        async with self._renewing:
            if self.ended:
                raise LoginEndedError
            if time.time() >= self._renew_at:
                await self._renew()

    async def renew_at_once(self) -> None:
        """Renew, since what the capability says has changed. Raises as `token`."""
        self._renew_at = 0.0
        await self.renew()

    async def _renew(self) -> None:
        try:
            renewed = await self._logins.ask_renewal(self._token)
        except _REFUSALS as error:
            _RENEWALS.labels("refused").inc()
            log.info("login_ended", account_id=str(self.account_id), error=error.name)
            self._end()
            raise LoginEndedError from None
        except PostroomError:
            _RENEWALS.labels("unavailable").inc()
            if time.time() >= self._expires_at:
                raise UnavailableError("the capability could not be renewed") from None
            self._renew_at = time.time() + min(self._logins.limits.renew_again_seconds, self._left() / 3)
        else:
            _RENEWALS.labels("renewed").inc()
            self.take(renewed.capability, renewed.capability_expires_at, self._logins.limits)

    def _left(self) -> float:
        return max(self._expires_at - time.time(), 0.0)

    def _end(self) -> None:
        self._ended = True
        if self.wake is not None:
            self.wake()


class Logins:
    """All logins of this process."""

    def __init__(
        self,
        directory: directory_pb2_grpc.DirectoryServiceStub,
        logins: login_pb2_grpc.LoginServiceStub,
        *,
        max_sessions_per_account: int,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.limits = limits
        self._directory = directory
        self._proving = DirectoryLogins(directory, logins, limits.call_seconds)
        self._most = max_sessions_per_account
        self._open: set[Login] = set()
        self._sessions: Counter[UUID] = Counter()

    async def begin_scram(self, opening: ScramOpening, client: Client) -> bytes:
        """Our first message. Raises as `log_in`, but no `InvalidCredentialsError`."""
        return await self._proving.begin(opening, client)

    async def log_in(self, attempt: Attempt, client: Client) -> tuple[Login, bytes]:
        """A new session's login, and the last word that the client is to hear.

        Raises `InvalidCredentialsError`, `TooManyAttemptsError`, `UnavailableError`, and `LimitError` when
        the account has as many sessions as it may.
        """
        name = directory_pb2.Scope.Name(client.scope).removeprefix("SCOPE_").lower()
        try:
            proven = await self._proving.prove(attempt, client)
            answer = proven.login
            login = Login(self, parse_id(answer.account.id), answer.account.address)
            login.take(answer.capability, answer.capability_expires_at, self.limits)
            self._admit(login)
        except PostroomError as error:
            _LOGINS.labels(name, error.name).inc()
            log.info("login_refused", scope=name, outcome=error.name)
            raise
        _LOGINS.labels(name, "ok").inc()
        log.info("login", scope=name, account_id=str(login.account_id))
        return login, proven.last_word

    def log_out(self, login: Login) -> None:
        """The session is over; any number of times."""
        if login in self._open:
            self._open.discard(login)
            _OPEN.dec()
            login.wake = None
            self._sessions[login.account_id] -= 1
            if not self._sessions[login.account_id]:
                del self._sessions[login.account_id]

    async def run(self) -> None:
        """Renew in time what idle sessions need, for ever."""
        while True:
            await asyncio.sleep(self.limits.renew_sweep_seconds * uniform(0.5, 1.0))
            now = time.time()
            for login in [login for login in self._open if login.due(now)]:
                with suppress(LoginEndedError, UnavailableError):
                    await login.renew()

    async def ask_renewal(self, token: str) -> directory_pb2.RenewCapabilityResponse:
        """For `Login` only: a fresh capability. Raises `PostroomError`."""
        return await self._directory.RenewCapability(
            directory_pb2.RenewCapabilityRequest(token=token), timeout=self.limits.call_seconds
        )

    def _admit(self, login: Login) -> None:
        if self._sessions[login.account_id] >= self._most:
            raise LimitError("the account has too many sessions")
        self._sessions[login.account_id] += 1
        self._open.add(login)
        _OPEN.inc()
