"""Passwords: argon2id in a few threads, and a short memory of those that were right."""

import asyncio
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Final, TypeVar
from uuid import UUID

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from argon2.low_level import Type, hash_secret_raw

from directory.limits import Limits
from postroom_contracts.errors import UnavailableError
from postroom_wire.sasl import PreparationError, saslprep
from postroom_wire.sasl.scram import Keys, derive_keys

T = TypeVar("T")

# OWASP Password Storage: argon2id with 19 MiB, two passes, one lane.
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, hash_len=32, salt_len=16)


class Passwords:
    """Hashes and checks. Both take some 20 ms of a core, so who comes while too many wait is sent away."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._threads = ThreadPoolExecutor(limits.hash_threads, thread_name_prefix="argon2")
        self._running = 0
        self._nobody = _HASHER.hash(secrets.token_hex(16))

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """What to keep of a password. Raises `UnavailableError` when too many wait."""
        return await self._in_thread(lambda: _HASHER.hash(password))

    async def digest(self, password: str, salt: bytes) -> bytes:
        """What is the same for the same password and salt only. Raises `UnavailableError` as `hash` does."""
        return await self._in_thread(lambda: _digest(password, salt))

    async def verify(self, password: str, kept: str | None) -> bool:
        """Whether it is the password; without one to compare with, no, in the same time."""
        right = await self._in_thread(lambda: _matches(self._nobody if kept is None else kept, password))
        return right and kept is not None

    async def scram_keys(self, password: str) -> Keys | None:
        """SCRAM's keys of a password; None for one that SASLprep refuses. Raises as `hash` does."""
        salt, iterations = secrets.token_bytes(16), self._limits.scram_iterations
        try:
            return await self._in_thread(lambda: derive_keys(password, salt, iterations))
        except PreparationError:
            return None

    async def _in_thread(self, call: Callable[[], T]) -> T:
        if self._running >= self._limits.hash_threads + self._limits.hashes_waiting:
            raise UnavailableError("too many passwords wait to be hashed")
        self._running += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        finally:
            self._running -= 1


def spellings(password: str) -> tuple[str, ...]:
    """The password as SASLprep writes it (RFC 4013), which is kept, and as it came, which once was."""
    try:
        prepared = saslprep(password)
    except PreparationError:
        return (password,)
    return (prepared, password) if prepared and prepared != password else (password,)


class VerifiedPasswords:
    """Which passwords were right a moment ago, as keyed hashes bound to the credential and its version.

    The caller reads the version from the database at each login: a changed password is never found here.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._expiry: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._expiry)

    def knows(self, credential: UUID, version: int, password: str) -> bool:
        """Whether this password was right for this version of the credential."""
        tag = self._tag(credential, version, password)
        expires_at = self._expiry.get(tag)
        if expires_at is not None and expires_at <= self._clock():
            del self._expiry[tag]
            return False
        return expires_at is not None

    def remember(self, credential: UUID, version: int, password: str) -> None:
        """It was right just now."""
        self._expiry[self._tag(credential, version, password)] = self._clock() + self._limits.verified_seconds
        if len(self._expiry) > self._limits.verified_passwords:
            self._expiry.popitem(last=False)

    def _tag(self, credential: UUID, version: int, password: str) -> bytes:
        said = credential.bytes + version.to_bytes(8, "big") + password.encode()
        return hmac.digest(self._key, said, sha256)


def _digest(password: str, salt: bytes) -> bytes:
    return hash_secret_raw(
        password.encode(),
        salt,
        time_cost=_HASHER.time_cost,
        memory_cost=_HASHER.memory_cost,
        parallelism=_HASHER.parallelism,
        hash_len=_HASHER.hash_len,
        type=Type.ID,
    )


def _matches(kept: str, password: str) -> bool:
    try:
        return _HASHER.verify(kept, password)
    except (Argon2Error, InvalidHashError):
        return False
