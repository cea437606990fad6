"""How many sessions there may be: in all, for each address, for each account."""

from collections import Counter
from collections.abc import Generator, Hashable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from postroom_runtime.networks import Networks, customer_of

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class SeatLimits:
    """Sessions; one more is refused with 421. There is no bound for the addresses in `untrusted`."""

    total: int
    address: int
    account: int
    untrusted: Networks = Networks()


class NoSeatError(Exception):
    """As many sessions as there may be."""


class Seats:
    """Counts the sessions of this process."""

    def __init__(self, limits: SeatLimits) -> None:
        self._limits = limits
        self._taken = 0
        self._by_address: Counter[str] = Counter()
        self._by_account: Counter[UUID] = Counter()

    @contextmanager
    def seat(self, host: str) -> Generator[None]:
        """One session from this address; raises `NoSeatError`."""
        limits, customer = self._limits, customer_of(host)
        full = host not in limits.untrusted and self._by_address[customer] >= limits.address
        if full or self._taken >= limits.total:
            raise NoSeatError("as many sessions as there may be")
        self._taken += 1
        self._by_address[customer] += 1
        try:
            yield
        finally:
            self._taken -= 1
            _give_back(self._by_address, customer)

    def take_account(self, account_id: UUID) -> None:
        """One session of this account; raises `NoSeatError`."""
        if self._by_account[account_id] >= self._limits.account:
            raise NoSeatError("as many sessions as an account may have")
        self._by_account[account_id] += 1

    def give_account(self, account_id: UUID) -> None:
        """The session is over, or somebody else's."""
        _give_back(self._by_account, account_id)


def _give_back(counter: Counter[K], key: K) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
