"""Access tokens of one issuer: JWTs (RFC 9068, RFC 7519) whose keys it publishes (RFC 7517)."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast
from urllib.request import urlopen

import jwt
from asyncpg import Record

from directory.addresses import parse_address
from directory.authentication import Asked, Authenticator, Login, Right
from directory.issuer import Issuer
from directory.limits import Limits
from postroom_contracts.errors import (
    InvalidAddressError,
    InvalidCredentialsError,
    InvalidRequestError,
    UnavailableError,
)
from postroom_runtime.logs import log

# Those of a key pair only: what verifies a token must not be able to make one.
_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
_LEEWAY_SECONDS: Final = 30.0


class IssuerKeys:
    """The issuer's keys as they were a moment ago; known ones stay good while it is away."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[bytes]],
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._limits = limits
        self._clock = clock
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._read_at = self._asked_at = float("-inf")
        self._reading = asyncio.Lock()

    async def key(self, key_id: str | None) -> jwt.PyJWK:
        """Raises `InvalidCredentialsError` for none of theirs, `UnavailableError` without any."""
        await self._refresh(key_id)
        if not self._keys:
            raise UnavailableError("the issuer's keys could not be read")
        if (found := self._keys.get(key_id)) is not None:
            return found
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        raise InvalidCredentialsError("a key that the issuer does not have")

    async def _refresh(self, key_id: str | None) -> None:
        async with self._reading:
            now, known = self._clock(), key_id in self._keys
            if known and now - self._read_at < self._limits.jwks_seconds:
                return
            if now - self._asked_at < self._limits.jwks_again_seconds:
                return
            self._asked_at = now
            try:
                self._keys = _parse(await self._fetch())
                self._read_at = now
            except (OSError, ValueError, TypeError, TimeoutError, jwt.PyJWTError) as error:
                log.warning("issuer_keys_unreadable", error=repr(error))


class BearerTokens:
    """Without an issuer nobody gets in."""

    def __init__(
        self,
        authenticator: Authenticator,
        limits: Limits,
        issuer: Issuer | None,
        keys: IssuerKeys | None = None,
    ) -> None:
        self._authenticator = authenticator
        self._limits = limits
        self._issuer = issuer
        self._keys = keys or (IssuerKeys(_fetcher(issuer.jwks, limits), limits) if issuer else None)

    async def authenticate(self, token: str, authorization_id: str, asked: Asked) -> Login:
        """Raises as `Authenticator.authenticate`."""
        address = await self._address(token, authorization_id)

        async def prove(row: Record | None) -> Right | None:
            return None if address is None or row is None else Right()

        return await self._authenticator.log_in(address or authorization_id, asked, prove)

    async def _address(self, token: str, authorization_id: str) -> str | None:
        """Whose token it is; None for one that is no good. Raises `UnavailableError`."""
        if self._issuer is None or self._keys is None or len(token) > self._limits.access_token:
            return None
        try:
            claims = await self._claims(token, self._issuer, self._keys)
            address = parse_address(str(claims[self._issuer.address_claim]))
            if authorization_id and not parse_address(authorization_id).is_same(address):
                return None
        except (InvalidCredentialsError, InvalidAddressError, InvalidRequestError, KeyError) as error:
            log.info("access_token_refused", error=repr(error))
            return None
        # OpenID Connect Core s5.7: an address that nobody has verified may be anybody's.
        return None if claims.get("email_verified") is False else str(address)

    async def _claims(self, token: str, issuer: Issuer, keys: IssuerKeys) -> Mapping[str, Any]:
        try:
            key_id: object = jwt.get_unverified_header(token).get("kid")
            key = await keys.key(key_id if isinstance(key_id, str) else None)
            return cast(
                Mapping[str, Any],
                jwt.decode(
                    token,
                    key,
                    algorithms=_ALGORITHMS,
                    audience=issuer.audience,
                    issuer=issuer.issuer,
                    leeway=_LEEWAY_SECONDS,
                    options={"require": ["exp", "iss", "aud"]},
                ),
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise InvalidCredentialsError(type(error).__name__) from None


def _parse(octets: bytes) -> dict[str | None, jwt.PyJWK]:
    """Raises `ValueError`, `TypeError`, `PyJWTError`."""
    found: object = json.loads(octets)
    if not isinstance(found, dict):
        raise TypeError("not a set of keys")
    keys = jwt.PyJWKSet.from_dict(cast(dict[str, Any], found)).keys
    return {key.key_id: key for key in keys if key.public_key_use in (None, "sig")}


def _fetcher(jwks: str, limits: Limits) -> Callable[[], Awaitable[bytes]]:
    def fetch() -> bytes:
        if not jwks.startswith("https://"):
            return Path(jwks).read_bytes()[: limits.jwks]
        with urlopen(jwks, timeout=limits.jwks_fetch_seconds) as answer:  # noqa: S310  # https only
            if not str(answer.url).startswith("https://"):
                raise ValueError("led away from https")
            return cast(bytes, answer.read(limits.jwks))

    async def fetch_in_time() -> bytes:
        async with asyncio.timeout(limits.jwks_fetch_seconds):
            return await asyncio.to_thread(fetch)

    return fetch_in_time
