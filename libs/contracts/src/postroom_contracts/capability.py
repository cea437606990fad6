"""Capabilities: what directory signs at a login and every store verifies at each call (RFC 7519, RFC 8037).

A capability is good for minutes at the stores; a session token lives for hours and is good for nothing
but a fresh capability from directory, which looks at the account again.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from postroom_contracts.errors import (
    CapabilityExpiredError,
    InvalidCredentialsError,
    NotPermittedError,
    PostroomError,
    UnavailableError,
)
from postroom_contracts.ids import AccountId, TenantId

CAPABILITY_METADATA: Final = "postroom-capability"
"""The metadata key under which a call carries its capability."""

_ALGORITHM: Final = "EdDSA"
_ISSUER: Final = "postroom-directory"


class Scope(StrEnum):
    """What a login is for; named as in the contract's enum, without `SCOPE_`."""

    IMAP = "imap"
    POP3 = "pop3"
    SUBMISSION = "submission"
    FTP = "ftp"
    API = "api"
    ADMIN = "admin"


class Kind(StrEnum):
    """What a token is: good for calls, or good for a fresh capability only."""

    CAPABILITY = "capability"
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a verifier."""

    token: int = 2_048
    """Characters."""
    cached: int = 8_192
    """Verified tokens that are remembered."""
    refetch_seconds: float = 3.0
    """Unknown keys make the keys be fetched at most this often."""
    fresh_seconds: float = 300.0
    """Keys are looked at again after this long, so that a withdrawn one ends."""
    fetch_seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class Quota:
    """How much mail an account may keep; None: no limit of this kind."""

    octets: int | None = None
    messages: int | None = None


@dataclass(frozen=True, slots=True)
class Capability:
    """What a token says: this account may do this until then."""

    account_id: AccountId
    tenant_id: TenantId
    address: str
    scope: Scope
    expires_at: datetime
    kind: Kind = Kind.CAPABILITY
    credential_version: int = 0
    quota: Quota = Quota()
    credential_id: UUID | None = None
    """The app password that it came of; None for the account's password and all else."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key under its id."""

    key_id: str
    key: Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies; Ed25519, 32 octets."""

    key_id: str
    octets: bytes


def sign(capability: Capability, key: SigningKey, issued_at: datetime) -> str:
    """The token; opaque to whoever carries it."""
    claims = {
        "iss": _ISSUER,
        "knd": capability.kind.value,
        "sub": str(capability.account_id),
        "ten": str(capability.tenant_id),
        "adr": capability.address,
        "scp": capability.scope.value,
        "cv": capability.credential_version,
        "iat": int(issued_at.timestamp()),
        "exp": int(capability.expires_at.timestamp()),
        "qoc": capability.quota.octets,
        "qme": capability.quota.messages,
    }
    if capability.credential_id is not None:
        claims["cid"] = str(capability.credential_id)
    return jwt.encode(claims, key.key, algorithm=_ALGORITHM, headers={"kid": key.key_id})


class CapabilityVerifier:
    """Verifies tokens with directory's public keys; known keys stay good while directory is away."""

    def __init__(
        self,
        fetch_keys: Callable[[], Awaitable[Sequence[PublicKey]]],
        *,
        clock: Callable[[], float] = time.time,
        limits: Limits | None = None,
    ) -> None:
        self._fetch_keys = fetch_keys
        self._clock = clock
        self._limits = limits or Limits()
        self._keys: dict[str, Ed25519PublicKey] = {}
        self._asked_at = float("-inf")
        self._fetched_at = float("-inf")
        self._fetching = asyncio.Lock()
        self._verified: OrderedDict[str, Capability] = OrderedDict()

    async def verify(
        self,
        token: str | bytes | None,
        *,
        scopes: Collection[Scope] | None = None,
        kinds: Collection[Kind] = (Kind.CAPABILITY,),
    ) -> Capability:
        """What the token says.

        Raises `InvalidCredentialsError` (not one of ours), `CapabilityExpiredError`, `NotPermittedError` (for
        something else), `UnavailableError` (its key is unknown and directory does not answer).
        """
        text = token.decode("ascii", "replace") if isinstance(token, bytes) else token
        if not text or len(text) > self._limits.token:
            raise InvalidCredentialsError("no capability" if not text else "capability too long")
        await self._refresh()
        if (capability := self._verified.get(text)) is None:
            capability = await self._decode(text)
            self._remember(text, capability)
        if capability.expires_at.timestamp() <= self._clock():
            self._verified.pop(text, None)
            raise CapabilityExpiredError("expired")
        if capability.kind not in kinds:
            raise NotPermittedError(f"a {capability.kind} token")
        if scopes is not None and capability.scope not in scopes:
            raise NotPermittedError(f"a capability for {capability.scope}")
        return capability

    def __len__(self) -> int:
        """How many verified tokens are remembered."""
        return len(self._verified)

    def _remember(self, token: str, capability: Capability) -> None:
        self._verified[token] = capability
        if len(self._verified) > self._limits.cached:
            self._verified.popitem(last=False)

    async def _decode(self, token: str) -> Capability:
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
        except (jwt.PyJWTError, ValueError):
            raise InvalidCredentialsError("not a token") from None
        if not isinstance(key_id, str):
            raise InvalidCredentialsError("no key id")
        return decode(token, await self._key(key_id))

    async def _key(self, key_id: str) -> Ed25519PublicKey:
        if key_id not in self._keys:
            await self._fetch_unknown(key_id)
        if (key := self._keys.get(key_id)) is None:
            raise InvalidCredentialsError("unknown key")
        return key

    async def _fetch_unknown(self, key_id: str) -> None:
        async with self._fetching:
            if key_id in self._keys:
                return
            if self._clock() - self._asked_at >= self._limits.refetch_seconds:
                await self._fetch()
            elif not self._keys:
                raise UnavailableError("the keys could not be fetched")

    async def _refresh(self) -> None:
        """Look at the keys again now and then; who comes meanwhile goes on with the old ones."""
        now = self._clock()
        if not self._keys or self._fetching.locked() or now - self._fetched_at < self._limits.fresh_seconds:
            return
        if now - self._asked_at < self._limits.refetch_seconds:
            return
        async with self._fetching:
            try:
                await self._fetch()
            except PostroomError:  # known keys stay good while directory is away
                return

    async def _fetch(self) -> None:
        self._asked_at = self._clock()
        try:
            async with asyncio.timeout(self._limits.fetch_seconds):
                found = await self._fetch_keys()
        except TimeoutError:
            raise UnavailableError("directory did not tell its keys in time") from None
        keys = {key.key_id: Ed25519PublicKey.from_public_bytes(key.octets) for key in found}
        if keys.keys() != self._keys.keys():
            self._verified.clear()
        self._keys, self._fetched_at = keys, self._clock()


def decode(token: str, key: Ed25519PublicKey) -> Capability:
    """What a token says, if this key signed it; the caller looks at `expires_at`."""
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[_ALGORITHM],
            issuer=_ISSUER,
            options={"require": ["exp", "sub", "iss"], "verify_exp": False, "verify_iat": False},
        )
        return Capability(
            account_id=AccountId(UUID(claims["sub"])),
            tenant_id=TenantId(UUID(claims["ten"])),
            address=str(claims["adr"]),
            scope=Scope(claims["scp"]),
            expires_at=datetime.fromtimestamp(claims["exp"], UTC),
            kind=Kind(claims["knd"]),
            credential_version=int(claims["cv"]),
            credential_id=UUID(claims["cid"]) if "cid" in claims else None,
            quota=Quota(_limit(claims.get("qoc")), _limit(claims.get("qme"))),
        )
    except (jwt.PyJWTError, KeyError, ValueError, TypeError):
        raise InvalidCredentialsError("not a token of ours") from None


def _limit(claim: object) -> int | None:
    """A limit, which a token of an older directory does not have. Raises `ValueError`."""
    if claim is None:
        return None
    if not isinstance(claim, int) or claim < 0:
        raise ValueError("not a limit")
    return claim
