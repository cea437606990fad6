"""Failed logins, counted for the whole cluster by the client's network and the address that it tried."""

from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from directory.limits import Limits
from postroom_contracts.errors import InvalidRequestError
from postroom_contracts.ids import DEFAULT_TENANT
from postroom_runtime.networks import Networks
from postroom_storage.database import Connection

_NONE: Final = Networks()
_ALL: Final = b""
"""The digest under which a network's failures are counted over all addresses."""

_COUNTS: Final = """
    SELECT address_digest, failures FROM login_failure
    WHERE network = $1 AND address_digest IN ('', $2) AND expires_at > now()"""

# A window begins with its first failure and anew with the one that reaches the bound. Rows in one order: two
# replicas that count the same network do not deadlock.
_COUNT: Final = """
    INSERT INTO login_failure AS old (network, address_digest, tenant_id, failures, expires_at)
    SELECT $1, digest, $2, 1, now() + $4 FROM unnest($3::bytea[]) AS digest ORDER BY digest
    ON CONFLICT (network, address_digest) DO UPDATE SET
        failures = CASE WHEN old.expires_at <= now() THEN 1 ELSE old.failures + 1 END,
        expires_at = CASE
            WHEN old.expires_at <= now() THEN now() + $4
            WHEN old.failures + 1 = CASE WHEN old.address_digest = '' THEN $5::int ELSE $6::int END
                THEN now() + $4
            ELSE old.expires_at END"""

# Each failure takes some that are over with it, so the table holds little more than one window.
_FORGET_OLD: Final = """
    DELETE FROM login_failure WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM login_failure WHERE expires_at < now() LIMIT 10 FOR UPDATE SKIP LOCKED))"""

_FORGET: Final = "DELETE FROM login_failure WHERE network = $1 AND address_digest = $2"


@dataclass(frozen=True, slots=True)
class Attempt:
    """Who tries what, as it is counted. `network` is empty when nobody knows where the client is."""

    network: str
    address_digest: bytes

    @classmethod
    def of(cls, peer_address: str, address: str, untrusted: Networks = _NONE) -> "Attempt":
        """Raises `InvalidRequestError` when the peer is neither empty nor an IP address.

        An address in `untrusted` says nothing of the client.
        """
        digest = sha256(address.casefold().encode()).digest()[:16]
        known = bool(peer_address) and peer_address not in untrusted
        return cls(network_of(peer_address) if known else "", digest)


def network_of(peer_address: str) -> str:
    """The /24 or /64 of a client: whoever has one address there may have them all."""
    try:
        address = ip_address(peer_address)
    except ValueError:
        raise InvalidRequestError("peer_address is not an IP address") from None
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return str(ip_network((int(address) >> 64 << 64, 64)))
        address = address.ipv4_mapped
    return str(ip_network((int(address) >> 8 << 8, 24)))


class LoginFailures:
    """Counts and bounds; every method works within the caller's transaction."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    async def count(self, connection: Connection, attempt: Attempt) -> tuple[int, bool]:
        """How often this address failed from there, and whether no password may be tried now."""
        rows = await connection.fetch(_COUNTS, attempt.network, attempt.address_digest)
        counts: dict[bytes, int] = {row["address_digest"]: row["failures"] for row in rows}
        own = counts.get(attempt.address_digest, 0)
        blocked = own >= self._limits.failures or counts.get(_ALL, 0) >= self._limits.network_failures
        return own, blocked

    async def add(self, connection: Connection, attempt: Attempt) -> None:
        """One more. Who comes from nowhere is counted for the address only: else one blocks everybody."""
        limits = self._limits
        own = [attempt.address_digest]
        await connection.execute(
            _COUNT,
            attempt.network,
            DEFAULT_TENANT,  # who fails has not shown to be anyone's
            [_ALL, *own] if attempt.network else own,
            timedelta(seconds=limits.failure_window_seconds),
            limits.network_failures,
            limits.failures,
        )
        await connection.execute(_FORGET_OLD)

    async def forget(self, connection: Connection, attempt: Attempt) -> None:
        """The address got in. The network's count stays: one good account must not open it for guessing."""
        await connection.execute(_FORGET, attempt.network, attempt.address_digest)
