import asyncio
import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from postroom_contracts.capability import (
    Capability,
    CapabilityVerifier,
    Kind,
    Limits,
    PublicKey,
    Quota,
    Scope,
    SigningKey,
    sign,
)
from postroom_contracts.errors import (
    CapabilityExpiredError,
    InvalidCredentialsError,
    NotPermittedError,
    PostroomError,
    UnavailableError,
)
from postroom_contracts.ids import DEFAULT_TENANT, AccountId, new_id

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = SigningKey("first", Ed25519PrivateKey.generate())
OTHER = SigningKey("second", Ed25519PrivateKey.generate())
CAPABILITY = Capability(
    AccountId(new_id()), DEFAULT_TENANT, "ann@example.com", Scope.IMAP, NOW + timedelta(minutes=5)
)


def _public(key: SigningKey) -> PublicKey:
    return PublicKey(key.key_id, key.key.public_key().public_bytes_raw())


class FakeDirectory:
    """Tells its keys, or is away, and counts who asks."""

    def __init__(self, *keys: SigningKey) -> None:
        self.keys = [_public(key) for key in keys]
        self.asked = 0
        self.away = False

    async def __call__(self) -> Sequence[PublicKey]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise UnavailableError("away")
        return self.keys


class FakeClock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()

    def __call__(self) -> float:
        return self.now


def _verifier(directory: FakeDirectory, clock: FakeClock, limits: Limits | None = None) -> CapabilityVerifier:
    return CapabilityVerifier(directory, clock=clock, limits=limits)


async def test_a_capability_says_how_much_mail_may_be_kept() -> None:
    verifier = _verifier(FakeDirectory(KEY), FakeClock())
    limited = replace(CAPABILITY, quota=Quota(1_000, 0))
    assert (await verifier.verify(sign(limited, KEY, NOW))).quota == Quota(1_000, 0)


@pytest.mark.parametrize("limit", [-1, "many", 1.5])
async def test_a_limit_that_is_none_is_no_capability_of_ours(limit: object) -> None:
    claims = jwt.decode(sign(CAPABILITY, KEY, NOW), options={"verify_signature": False})
    token = jwt.encode({**claims, "qoc": limit}, KEY.key, algorithm="EdDSA", headers={"kid": KEY.key_id})
    with pytest.raises(InvalidCredentialsError):
        await _verifier(FakeDirectory(KEY), FakeClock()).verify(token)


async def test_a_signed_capability_says_what_was_signed() -> None:
    verifier = _verifier(FakeDirectory(KEY), FakeClock())
    assert await verifier.verify(sign(CAPABILITY, KEY, NOW)) == CAPABILITY
    assert await verifier.verify(sign(CAPABILITY, KEY, NOW).encode()) == CAPABILITY


async def test_a_capability_ends_even_if_it_was_verified_before() -> None:
    clock = FakeClock()
    verifier = _verifier(FakeDirectory(KEY), clock)
    token = sign(CAPABILITY, KEY, NOW)
    await verifier.verify(token)
    clock.now += 300
    with pytest.raises(CapabilityExpiredError):
        await verifier.verify(token)


@pytest.mark.parametrize("token", [None, "", "x", "a.b.c", "ä", "x" * 5_000, b"\xff\x00", "..", "e30.e30."])
async def test_what_is_not_a_token_is_refused(token: str | bytes | None) -> None:
    with pytest.raises(InvalidCredentialsError):
        await _verifier(FakeDirectory(KEY), FakeClock()).verify(token)


async def test_a_token_that_another_key_signed_under_our_key_id_is_refused() -> None:
    forged = sign(CAPABILITY, SigningKey(KEY.key_id, OTHER.key), NOW)
    with pytest.raises(InvalidCredentialsError):
        await _verifier(FakeDirectory(KEY), FakeClock()).verify(forged)


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
async def test_a_token_may_not_choose_a_weaker_algorithm(algorithm: str) -> None:
    claims = jwt.decode(sign(CAPABILITY, KEY, NOW), options={"verify_signature": False})
    public = KEY.key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    secret = "" if algorithm == "none" else public
    forged = jwt.encode(claims, secret, algorithm=algorithm, headers={"kid": KEY.key_id})
    with pytest.raises(InvalidCredentialsError):
        await _verifier(FakeDirectory(KEY), FakeClock()).verify(forged)


async def test_a_changed_claim_breaks_the_signature() -> None:
    head, body, signature = sign(CAPABILITY, KEY, NOW).split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "==")) | {"scp": "admin"}
    changed = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    with pytest.raises(InvalidCredentialsError):
        await _verifier(FakeDirectory(KEY), FakeClock()).verify(f"{head}.{changed}.{signature}")


async def test_scope_and_kind_must_be_the_wanted_ones() -> None:
    verifier = _verifier(FakeDirectory(KEY), FakeClock())
    with pytest.raises(NotPermittedError):
        await verifier.verify(sign(CAPABILITY, KEY, NOW), scopes=[Scope.FTP])
    session = replace(CAPABILITY, kind=Kind.SESSION)
    with pytest.raises(NotPermittedError):
        await verifier.verify(sign(session, KEY, NOW))
    assert await verifier.verify(sign(session, KEY, NOW), kinds=[Kind.SESSION]) == session


async def test_known_keys_stay_good_while_directory_is_away() -> None:
    directory, clock = FakeDirectory(KEY), FakeClock()
    verifier = _verifier(directory, clock)
    await verifier.verify(sign(CAPABILITY, KEY, NOW))
    directory.away = True
    clock.now += 3_600
    late = replace(CAPABILITY, expires_at=NOW + timedelta(hours=2))
    assert await verifier.verify(sign(late, KEY, NOW)) == late


async def test_without_keys_the_answer_is_try_again() -> None:
    directory = FakeDirectory(KEY)
    directory.away = True
    verifier = _verifier(directory, FakeClock())
    for _ in range(2):
        with pytest.raises(UnavailableError):
            await verifier.verify(sign(CAPABILITY, KEY, NOW))
    assert directory.asked == 1


async def test_a_directory_that_hangs_does_not_hang_the_caller() -> None:
    async def never() -> Sequence[PublicKey]:
        await asyncio.Event().wait()
        return []

    verifier = CapabilityVerifier(never, limits=Limits(fetch_seconds=0.01))
    with pytest.raises(UnavailableError):
        await verifier.verify(sign(CAPABILITY, KEY, NOW))


async def test_a_new_key_is_fetched_and_strange_keys_do_not_make_a_storm() -> None:
    directory, clock = FakeDirectory(KEY), FakeClock()
    verifier = _verifier(directory, clock)
    await verifier.verify(sign(CAPABILITY, KEY, NOW))
    directory.keys.insert(0, _public(OTHER))
    clock.now += 10
    assert await verifier.verify(sign(CAPABILITY, OTHER, NOW)) == CAPABILITY
    strange = [sign(CAPABILITY, SigningKey(f"strange-{n}", OTHER.key), NOW) for n in range(20)]
    clock.now += 10
    await asyncio.gather(*(_refused(verifier, token) for token in strange))
    assert directory.asked == 3


async def _refused(verifier: CapabilityVerifier, token: str) -> None:
    with pytest.raises(InvalidCredentialsError):
        await verifier.verify(token)


async def test_a_withdrawn_key_ends_even_what_was_verified_before() -> None:
    directory, clock = FakeDirectory(KEY, OTHER), FakeClock()
    verifier = _verifier(directory, clock)
    late = sign(replace(CAPABILITY, expires_at=NOW + timedelta(hours=2)), KEY, NOW)
    await verifier.verify(late)
    directory.keys = [_public(OTHER)]
    clock.now += 301
    with pytest.raises(InvalidCredentialsError):
        await verifier.verify(late)


async def test_the_memory_of_verified_tokens_is_bounded() -> None:
    verifier = _verifier(FakeDirectory(KEY), FakeClock(), Limits(cached=3))
    for number in range(10):
        await verifier.verify(sign(replace(CAPABILITY, credential_version=number), KEY, NOW))
    assert len(verifier) == 3


@given(st.binary(max_size=200))
async def test_any_octets_are_refused_and_never_crash(octets: bytes) -> None:
    with pytest.raises(PostroomError):
        await _verifier(FakeDirectory(KEY), FakeClock()).verify(octets)
