"""Logins, and the capabilities and session tokens that come of them."""

import hmac
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final, TypeAlias
from uuid import UUID

from asyncpg import Record

from directory.accounts import Account, account_of
from directory.addresses import Address, clean, parse_address
from directory.app_passwords import digest_of
from directory.attempts import Attempt, LoginFailures
from directory.keys import KeyRing
from directory.limits import Limits
from directory.passwords import Passwords, VerifiedPasswords, spellings
from directory.scram_keys import KeysOfLogins
from postroom_contracts.capability import Capability, CapabilityVerifier, Kind, Quota, Scope, sign
from postroom_contracts.errors import (
    CapabilityExpiredError,
    InvalidAddressError,
    InvalidCredentialsError,
    NotPermittedError,
    TooManyAttemptsError,
    UnavailableError,
)
from postroom_contracts.ids import DEFAULT_TENANT, NOBODY
from postroom_storage.database import Database

# With the app password of this digest, if it is good for this scope, and SCRAM's keys of the password.
_BY_ADDRESS: Final = """
    SELECT account.*, credential.id AS credential_id, credential.version, credential.hash,
        app.id AS app_password_id, app.used_at AS app_password_used_at,
        scram.salt, scram.iterations, scram.stored_key, scram.server_key
    FROM domain JOIN address owner ON owner.domain_id = domain.id
    JOIN account ON account.id = owner.account_id
    JOIN credential ON credential.account_id = account.id AND credential.kind = 'password'
    LEFT JOIN scram_key scram
        ON scram.account_id = account.id AND scram.version = credential.version
    LEFT JOIN app_password app
        ON app.account_id = account.id AND app.digest = $3 AND $4 = ANY (app.scopes)
        AND (app.expires_at IS NULL OR app.expires_at > now())
    WHERE domain.name = $1 AND owner.local_key = $2"""

_BY_ID: Final = """
    SELECT account.*, credential.version, app.id AS app_password_id
    FROM account JOIN credential ON credential.account_id = account.id AND credential.kind = 'password'
    LEFT JOIN app_password app
        ON app.id = $2 AND app.account_id = account.id AND (app.expires_at IS NULL OR app.expires_at > now())
    WHERE account.id = $1"""

_USED: Final = "UPDATE app_password SET used_at = now() WHERE id = $1"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a login is for, and where it comes from."""

    scope: Scope
    peer_address: str
    session: bool = False


@dataclass(frozen=True, slots=True)
class Right:
    """A proof that holds; `credential_id` is that of an app password."""

    credential_id: UUID | None = None


_ADMIN: Final = Asked(Scope.ADMIN, "")
Prove: TypeAlias = Callable[[Record | None], Awaitable[Right | None]]
"""Looks at the row of the account, or at none in the same time."""


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
        self._scram_keys = KeysOfLogins(database, passwords, limits)
        self.verifier = CapabilityVerifier(keys.public_keys, clock=lambda: now().timestamp())

    async def authenticate(self, request: LoginRequest) -> Login:
        """By the account's password, or one of its app passwords for this scope.

        Raises `InvalidCredentialsError`, `TooManyAttemptsError` or `UnavailableError`. Also
        `InvalidRequestError` for what no client can have meant, such as NUL.
        """
        password = clean(request.password, self._limits.password)
        digest = digest_of(password)
        asked = Asked(request.scope, request.peer_address, request.session)

        async def prove(row: Record | None) -> Right | None:
            if row is not None and row["app_password_id"] is not None:
                await self._note_use(row)
                return Right(row["app_password_id"])
            right = await self._by_password(row, password)
            if row is not None and right is not None:
                await self._scram_keys.make(row, password)
            return right

        return await self.log_in(request.address, asked, prove, digest)

    async def confirm(self, address: str, password: str, peer_address: str) -> int:
        """The version of the account's own password, if this is it. Raises as `authenticate`."""
        cleaned = clean(password, self._limits.password)
        versions: list[int] = []

        async def prove(row: Record | None) -> Right | None:
            if row is not None:
                versions.append(row["version"])
            return await self._by_password(row, cleaned)

        await self.log_in(address, Asked(Scope.API, peer_address), prove)
        return versions[0]

    async def log_in(self, address: str, asked: Asked, prove: Prove, digest: bytes | None = None) -> Login:
        """By any proof: failures are counted, and bounded, for all kinds together. Raises as `authenticate`.

        `digest` is that of an app password.
        """
        if asked.scope is Scope.ADMIN:
            raise NotPermittedError("administrators come with a token")
        wanted = _parse(address)
        named = str(wanted) if wanted else address
        attempt = Attempt.of(asked.peer_address, named, self._limits.untrusted)
        async with self._database.connection() as connection:
            failed, blocked = await self._failures.count(connection, attempt)
            row = (
                None
                if wanted is None
                else await connection.fetchrow(_BY_ADDRESS, wanted.domain, wanted.key, digest, asked.scope)
            )
        if blocked:
            raise TooManyAttemptsError("too many failed logins")
        right = await prove(row)
        if row is None or right is None:
            await self._database.run(lambda connection: self._failures.add(connection, attempt))
            raise InvalidCredentialsError("wrong address or password")
        if failed:
            async with self._database.connection() as connection:
                await self._failures.forget(connection, attempt)
        return await self._issue(account_of(row), asked, row["version"], right.credential_id)

    async def find(self, address: str) -> Record | None:
        """The row that `prove` gets, without an attempt."""
        if (wanted := _parse(address)) is None:
            return None
        async with self._database.connection() as connection:
            return await connection.fetchrow(_BY_ADDRESS, wanted.domain, wanted.key, None, "")

    async def authenticate_admin(self, token: str) -> Login:
        """Raises `InvalidCredentialsError`, also when no token was configured."""
        given = clean(token).encode()
        if self._admin_token is None or not hmac.compare_digest(given, self._admin_token):
            raise InvalidCredentialsError("not the administrator's token")
        return await self._issue(None, _ADMIN, self._admin_version())

    async def renew(self, token: str) -> Login:
        """A fresh capability. Raises `CapabilityExpiredError` if account or password changed since."""
        old = await self.verifier.verify(clean(token, 4_096), kinds=(Kind.CAPABILITY, Kind.SESSION))
        if old.account_id == NOBODY:
            if old.credential_version != self._admin_version():
                raise CapabilityExpiredError("the administrator's token changed")
            return await self._issue(None, _ADMIN, old.credential_version)
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_BY_ID, old.account_id, old.credential_id)
        if row is None or not _is_still_good(row, old):
            raise CapabilityExpiredError("the account or its password changed")
        return await self._issue(account_of(row), Asked(old.scope, ""), row["version"], old.credential_id)

    async def _by_password(self, row: Record | None, password: str) -> Right | None:
        """As SASLprep writes it, and as it came: what was kept before may be either."""
        for spelling in spellings(password):
            if row is None:
                await self._passwords.verify(spelling, None)
            elif await self._is_right(row, spelling):
                return Right()
        return None

    async def _note_use(self, row: Record) -> None:
        used_at = row["app_password_used_at"]
        exact = timedelta(seconds=self._limits.app_password_used_seconds)
        if used_at is not None and self._now() - used_at < exact:
            return
        with suppress(UnavailableError):  # nobody is kept out for that
            async with self._database.connection() as connection:
                await connection.execute(_USED, row["app_password_id"])

    async def _is_right(self, row: Record, password: str) -> bool:
        kept = _Password(row["credential_id"], row["version"], row["hash"])
        if self._verified.knows(kept.credential, kept.version, password):
            return True
        if not await self._passwords.verify(password, kept.hash):
            return False
        self._verified.remember(kept.credential, kept.version, password)
        return True

    async def _issue(
        self, account: Account | None, asked: Asked, version: int, credential_id: UUID | None = None
    ) -> Login:
        now = self._now()
        capability = Capability(
            account_id=NOBODY if account is None else account.id,
            tenant_id=DEFAULT_TENANT if account is None else account.tenant_id,
            address="" if account is None else account.address,
            scope=asked.scope,
            expires_at=_after(now, self._limits.capability_seconds),
            credential_version=version,
            credential_id=credential_id,
            quota=Quota() if account is None else account.effective_quota(self._limits.quota),
        )
        session = replace(capability, kind=Kind.SESSION, expires_at=_after(now, self._limits.session_seconds))
        key = await self._keys.signing_key()
        return Login(
            account,
            Token(sign(capability, key, now), capability.expires_at),
            Token(sign(session, key, now), session.expires_at) if asked.session else None,
        )

    def _admin_version(self) -> int:
        """Changes with the token, so that what came of an old one is not renewed."""
        return int.from_bytes(sha256(self._admin_token or b"").digest()[:6], "big")


def _after(now: datetime, seconds: float) -> datetime:
    """RFC 7519 s2: a NumericDate; ours are whole seconds."""
    return (now + timedelta(seconds=seconds)).replace(microsecond=0)


def _is_still_good(row: Record, old: Capability) -> bool:
    """An app password is good for as long as it is there, all else while the password is the same."""
    if old.credential_id is not None:
        return row["app_password_id"] is not None
    return row["version"] == old.credential_version


def _parse(text: str) -> Address | None:
    try:
        return parse_address(text)
    except InvalidAddressError:
        return None  # hashed and counted like any other that does not exist
