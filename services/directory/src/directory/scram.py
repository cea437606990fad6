"""SCRAM-SHA-256 for many replicas: our nonce carries what the next one has to know, under a MAC.

An address that does not exist, or has no keys, gets a salt of its own for ever: only the proof tells.
"""

import base64
import binascii
import hmac
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from asyncpg import Record

from directory.attempts import Attempt
from directory.authentication import Asked, Authenticator, Login, Right
from directory.keys import KeyRing
from directory.limits import Limits
from postroom_contracts.errors import InvalidCredentialsError, InvalidRequestError
from postroom_runtime import metrics
from postroom_runtime.logs import log
from postroom_wire.sasl import SaslError, ScramOpening, ScramProof
from postroom_wire.sasl.scram import (
    Keys,
    is_proven,
    parse_bare,
    server_final,
    server_first,
    server_nonce,
    server_signature,
)

_WITHOUT_KEYS: Final = metrics.counter(
    "directory_scram_without_keys_total", "SCRAM logins of accounts without keys, which only fail.", []
)
_PURPOSE: Final = b"postroom scram"
_RANDOM: Final = 15
_MAC: Final = 18
_TIME: Final = 6


@dataclass(frozen=True, slots=True)
class ScramLogin:
    """A proof that held, and by what the client knows us."""

    login: Login
    server_final: bytes


class Scram:
    """Any replica finishes what another began."""

    def __init__(
        self,
        authenticator: Authenticator,
        keys: KeyRing,
        limits: Limits,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._authenticator = authenticator
        self._keys = keys
        self._limits = limits
        self._now = now

    async def begin(self, client_first: bytes, peer_address: str) -> bytes:
        """Our first message. Raises `InvalidRequestError`, `UnavailableError`."""
        opening = _opening(client_first)
        Attempt.of(peer_address, opening.username)  # is an address
        secret = (await self._keys.secrets(_PURPOSE))[0]
        row = await self._authenticator.find(opening.username)
        if row is not None and row["salt"] is not None:
            salt, iterations = row["salt"], row["iterations"]
        else:
            name = opening.username.casefold().encode()
            salt = hmac.digest(secret, b"salt" + name, sha256)[:16]
            iterations = self._limits.scram_iterations
        expires_at = int(self._now() + self._limits.scram_seconds).to_bytes(_TIME, "big")
        told = secrets.token_bytes(_RANDOM) + expires_at
        nonce = base64.urlsafe_b64encode(told + _mac(secret, opening, told)).decode()
        return server_first(opening, nonce, salt, iterations)

    async def finish(self, proof: ScramProof, asked: Asked) -> ScramLogin:
        """Raises as `Authenticator.authenticate`."""
        used: list[Keys] = []
        fresh = self._is_ours(proof, await self._keys.secrets(_PURPOSE))

        async def prove(row: Record | None) -> Right | None:
            if row is None or row["salt"] is None or not fresh:
                _note(row)
                return None
            keys = Keys(row["salt"], row["iterations"], row["stored_key"], row["server_key"])
            if not is_proven(proof, keys):
                return None
            used.append(keys)
            return Right()

        login = await self._authenticator.log_in(proof.opening.username, asked, prove)
        return ScramLogin(login, server_final(server_signature(proof, used[0])))

    def _is_ours(self, proof: ScramProof, known: Sequence[bytes]) -> bool:
        """Whether we gave this first message, to this client, a moment ago."""
        try:
            nonce = base64.b64decode(
                server_nonce(proof.opening, proof.server_first), altchars=b"-_", validate=True
            )
        except (SaslError, binascii.Error):
            return False
        told, mac = nonce[: _RANDOM + _TIME], nonce[_RANDOM + _TIME :]
        if len(mac) != _MAC or int.from_bytes(told[_RANDOM:], "big") < self._now():
            return False
        return any(hmac.compare_digest(mac, _mac(secret, proof.opening, told)) for secret in known)


def scram_proof(client_first: bytes, server_first: bytes, client_final: bytes, proof: bytes) -> ScramProof:
    """From the messages. Raises `InvalidRequestError`, `InvalidCredentialsError` for a proof that is none."""
    if len(proof) != sha256().digest_size:
        raise InvalidCredentialsError("not a proof")
    return ScramProof(_opening(client_first), server_first, client_final, proof)


def _note(row: Record | None) -> None:
    """Tell the house, and not the client, of an account that cannot log in by SCRAM whatever it knows."""
    if row is not None and row["salt"] is None:
        _WITHOUT_KEYS.inc()
        log.info("scram_without_keys", account_id=str(row["id"]))


def _opening(client_first: bytes) -> ScramOpening:
    try:
        return parse_bare(client_first)
    except SaslError:
        raise InvalidRequestError("not a first message of SCRAM") from None


def _mac(secret: bytes, opening: ScramOpening, told: bytes) -> bytes:
    return hmac.digest(secret, b"nonce" + told + opening.bare, sha256)[:_MAC]
