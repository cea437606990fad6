"""A lease never seems longer than it is."""

import pytest

from postroom_contracts.errors import ClaimLostError, UnavailableError
from smtp_outbound.lease import Lease


class Clock:
    """Goes when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Store:
    """Prolongs while it wants to."""

    def __init__(self) -> None:
        self.extended = 0
        self.refusal: Exception | None = None

    async def extend(self) -> None:
        self.extended += 1
        if self.refusal is not None:
            raise self.refusal


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def lease(clock: Clock, store: Store) -> Lease:
    return Lease(30.0, clock.now, store.extend, clock)


async def test_a_long_lease_is_not_prolonged_for_a_message(lease: Lease, store: Store, clock: Clock) -> None:
    clock.now += 19.0
    await lease.secure()
    assert store.extended == 0


async def test_a_short_lease_is_prolonged_first(lease: Lease, store: Store, clock: Clock) -> None:
    clock.now += 21.0
    await lease.secure()
    assert store.extended == 1
    assert lease.left == 30.0


async def test_nothing_is_sent_under_a_lost_lease(lease: Lease, store: Store, clock: Clock) -> None:
    store.refusal = ClaimLostError("over")
    clock.now += 31.0
    for _ in range(2):
        with pytest.raises(ClaimLostError):
            await lease.secure()
    assert lease.lost
    assert store.extended == 1


async def test_nothing_is_sent_under_a_short_lease_that_cannot_be_prolonged(
    lease: Lease, store: Store, clock: Clock
) -> None:
    store.refusal = UnavailableError("away")
    clock.now += 29.0
    with pytest.raises(UnavailableError):
        await lease.secure()
    store.refusal = None
    await lease.secure()
    assert lease.left == 30.0
