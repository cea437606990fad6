import asyncio
import time
from collections.abc import Iterator

import pytest

from directory.limits import Limits
from directory.passwords import Passwords, VerifiedPasswords
from postroom_contracts.errors import UnavailableError
from postroom_contracts.ids import new_id

CREDENTIAL = new_id()


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    """The real thing, with two threads."""
    made = Passwords(Limits())
    yield made
    made.close()


async def test_a_password_matches_its_hash_and_no_other(passwords: Passwords) -> None:
    kept = await passwords.hash("sesame open")
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await passwords.verify("sesame open", kept)
    assert not await passwords.verify("sesame close", kept)
    assert not await passwords.verify("sesame open", None)
    assert not await passwords.verify("sesame open", "not a hash")


async def test_nobody_s_password_takes_as_long_as_a_wrong_one(passwords: Passwords) -> None:
    kept = await passwords.hash("sesame open")
    spent: dict[str | None, list[float]] = {kept: [], None: []}
    for _ in range(7):
        for candidate, times in spent.items():
            begun = time.perf_counter()
            await passwords.verify("wrong", candidate)
            times.append(time.perf_counter() - begun)
    wrong, nobody = min(spent[kept]), min(spent[None])
    assert 0.5 < wrong / nobody < 2


async def test_who_comes_while_too_many_wait_is_sent_away() -> None:
    passwords = Passwords(Limits(hash_threads=1, hashes_waiting=2))
    answers = await asyncio.gather(
        *(passwords.verify("wrong", None) for _ in range(8)), return_exceptions=True
    )
    assert answers.count(False) == 3
    assert sum(isinstance(answer, UnavailableError) for answer in answers) == 5
    assert not await passwords.verify("wrong", None)
    passwords.close()


def test_a_verified_password_is_known_for_a_while_and_for_its_version_only() -> None:
    now = 1_000.0
    verified = VerifiedPasswords(Limits(verified_seconds=300), clock=lambda: now)
    assert not verified.knows(CREDENTIAL, 1, "sesame")
    verified.remember(CREDENTIAL, 1, "sesame")
    assert verified.knows(CREDENTIAL, 1, "sesame")
    assert not verified.knows(CREDENTIAL, 2, "sesame")
    assert not verified.knows(CREDENTIAL, 1, "Sesame")
    assert not verified.knows(new_id(), 1, "sesame")
    now += 300
    assert not verified.knows(CREDENTIAL, 1, "sesame")
    assert len(verified) == 0


def test_the_memory_of_verified_passwords_is_bounded_and_holds_none_of_them() -> None:
    verified = VerifiedPasswords(Limits(verified_passwords=3))
    for version in range(10):
        verified.remember(CREDENTIAL, version, "sesame")
    assert len(verified) == 3
    assert "sesame" not in repr(vars(verified))
