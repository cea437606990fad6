"""How many sessions there may be: in all, for each address, for each account."""

from collections import Counter
from collections.abc import Generator, Hashable
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final, TypeVar
from uuid import UUID

from postroom_wire.ftp import Address

K = TypeVar("K", bound=Hashable)

_IPV6_CUSTOMER_BITS: Final = 64


@dataclass(frozen=True, slots=True)
class SeatLimits:
    """Sessions; one more is refused with 421."""

    total: int
    address: int
    account: int


class NoSeatError(Exception):
    """As many sessions as there may be."""


class Seats:
    """Counts the sessions of this process."""

    def __init__(self, limits: SeatLimits) -> None:
        self._limits = limits
        self._taken = 0
        self._by_address: Counter[Hashable] = Counter()
        self._by_account: Counter[UUID] = Counter()

    @contextmanager
    def seat(self, peer: Address) -> Generator[None]:
        """One session from this address; raises `NoSeatError`."""
        customer: Hashable = (
            int(peer) >> (128 - _IPV6_CUSTOMER_BITS) if isinstance(peer, IPv6Address) else peer
        )
        if self._taken >= self._limits.total or self._by_address[customer] >= self._limits.address:
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
