"""Logins, and the capabilities and session tokens that come of them."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final
from uuid import UUID

from asyncpg import Record

from directory.accounts import Account, account_of
from directory.addresses import Address, clean, parse_address
from directory.attempts import Attempt, LoginFailures
from directory.keys import KeyRing
from directory.limits import Limits
from directory.passwords import Passwords, VerifiedPasswords
from postroom_contracts.capability import Capability, CapabilityVerifier, Kind, Quota, Scope, sign
from postroom_contracts.errors import (
    CapabilityExpiredError,
    InvalidAddressError,
    InvalidCredentialsError,
    NotPermittedError,
    TooManyAttemptsError,
)
from postroom_contracts.ids import DEFAULT_TENANT, NOBODY
from postroom_storage.database import Database

_BY_ADDRESS: Final = """
    SELECT account.*, credential.id AS credential_id, credential.version, credential.hash
    FROM domain JOIN address owner ON owner.domain_id = domain.id
    JOIN account ON account.id = owner.account_id
    JOIN credential ON credential.account_id = account.id AND credential.kind = 'password'
    WHERE domain.name = $1 AND owner.local_key = $2"""

_BY_ID: Final = """
    SELECT account.*, credential.version
    FROM account JOIN credential ON credential.account_id = account.id AND credential.kind = 'password'
    WHERE account.id = $1"""


@dataclass(frozen=True, slots=True)
class Token:
    """Something signed, and until when it is good."""

    text: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """What a client gave to an edge service."""

    address: str
    password: str
    scope: Scope
    peer_address: str
    session: bool = False


@dataclass(frozen=True, slots=True)
class Login:
    """What a client gets for it. `account` is None for the administrator's token."""

    account: Account | None
    capability: Token
    session: Token | None = None


@dataclass(frozen=True, slots=True)
class _Password:
    """The password as it is kept, with what it is bound to."""

    credential: UUID
    version: int
    hash: str


class Authenticator:
    """Answers every wrong pair alike and in the same time, whether or not the address exists."""

    def __init__(
        self,
        database: Database,
        keys: KeyRing,
        passwords: Passwords,
        limits: Limits,
        admin_token: str | None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._keys = keys
        self._passwords = passwords
        self._limits = limits
        self._admin_token = admin_token.encode() if admin_token else None
        self._now = now
        self._failures = LoginFailures(limits)
        self._verified = VerifiedPasswords(limits)
        self.verifier = CapabilityVerifier(keys.public_keys, clock=lambda: now().timestamp())

    async def authenticate(self, request: LoginRequest) -> Login:
        """Raises `InvalidCredentialsError`, `TooManyAttemptsError` or `UnavailableError`.

        Also `InvalidRequestError` for what no client can have meant, such as NUL.
        """
        if request.scope is Scope.ADMIN:
            raise NotPermittedError("administrators come with a token")
        password = clean(request.password, self._limits.password)
        address = _parse(request.address)
        named = str(address) if address else request.address
        attempt = Attempt.of(request.peer_address, named, self._limits.untrusted)
        async with self._database.connection() as connection:
            failed, blocked = await self._failures.count(connection, attempt)
            row = (
                None
                if address is None
                else await connection.fetchrow(_BY_ADDRESS, address.domain, address.key)
            )
        if blocked:
            raise TooManyAttemptsError("too many failed logins")
        if row is None or not await self._is_right(row, password):
            if row is None:
                await self._passwords.verify(password, None)
            await self._database.run(lambda connection: self._failures.add(connection, attempt))
            raise InvalidCredentialsError("wrong address or password")
        if failed:
            async with self._database.connection() as connection:
                await self._failures.forget(connection, attempt)
        return await self._issue(account_of(row), request.scope, row["version"], session=request.session)

    async def authenticate_admin(self, token: str) -> Login:
        """Raises `InvalidCredentialsError`, also when no token was configured."""
        given = clean(token).encode()
        if self._admin_token is None or not hmac.compare_digest(given, self._admin_token):
            raise InvalidCredentialsError("not the administrator's token")
        return await self._issue(None, Scope.ADMIN, self._admin_version())

    async def renew(self, token: str) -> Login:
        """A fresh capability. Raises `CapabilityExpiredError` if account or password changed since."""
        old = await self.verifier.verify(clean(token, 4_096), kinds=(Kind.CAPABILITY, Kind.SESSION))
        if old.account_id == NOBODY:
            if old.credential_version != self._admin_version():
                raise CapabilityExpiredError("the administrator's token changed")
            return await self._issue(None, Scope.ADMIN, old.credential_version)
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_BY_ID, old.account_id)
        if row is None or row["version"] != old.credential_version:
            raise CapabilityExpiredError("the account or its password changed")
        return await self._issue(account_of(row), old.scope, old.credential_version)

    async def _is_right(self, row: Record, password: str) -> bool:
        kept = _Password(row["credential_id"], row["version"], row["hash"])
        if self._verified.knows(kept.credential, kept.version, password):
            return True
        if not await self._passwords.verify(password, kept.hash):
            return False
        self._verified.remember(kept.credential, kept.version, password)
        return True

    async def _issue(
        self, account: Account | None, scope: Scope, version: int, *, session: bool = False
    ) -> Login:
        limits = self._limits
        capability = await self._sign(account, scope, version, Kind.CAPABILITY, limits.capability_seconds)
        if not session:
            return Login(account, capability)
        return Login(
            account,
            capability,
            await self._sign(account, scope, version, Kind.SESSION, limits.session_seconds),
        )

    async def _sign(
        self, account: Account | None, scope: Scope, version: int, kind: Kind, seconds: float
    ) -> Token:
        now = self._now()
        # RFC 7519 s2: a NumericDate; ours are whole seconds
        expires_at = (now + timedelta(seconds=seconds)).replace(microsecond=0)
        capability = Capability(
            account_id=NOBODY if account is None else account.id,
            tenant_id=DEFAULT_TENANT if account is None else account.tenant_id,
            address="" if account is None else account.address,
            scope=scope,
            expires_at=expires_at,
            kind=kind,
            credential_version=version,
            quota=Quota() if account is None else account.effective_quota(self._limits.quota),
        )
        return Token(sign(capability, await self._keys.signing_key(), now), expires_at)

    def _admin_version(self) -> int:
        """Changes with the token, so that what came of an old one is not renewed."""
        return int.from_bytes(sha256(self._admin_token or b"").digest()[:6], "big")


def _parse(text: str) -> Address | None:
    try:
        return parse_address(text)
    except InvalidAddressError:
        return None  # hashed and counted like any other that does not exist
