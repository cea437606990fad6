"""Bounds of the directory."""

from dataclasses import dataclass

from postroom_contracts.capability import Quota
from postroom_runtime.networks import Networks


@dataclass(frozen=True, slots=True)
class Limits:
    """All bounds in one place; octets where nothing else is said."""

    call_seconds: float = 4.5
    """Any call has its answer by then."""

    local_part: int = 64  # RFC 5321 s4.5.3.1.1
    address: int = 254  # RFC 5321 s4.5.3.1.3, without the angle brackets
    request_text: int = 1_024
    """Any other text of a request."""
    password_characters: int = 8
    """The shortest password that can be set."""
    password: int = 1_024
    display_name: int = 200
    page: int = 1_000
    default_page: int = 100

    resolved_addresses: int = 1_000
    """Addresses of one ResolveRecipients."""
    alias_targets: int = 200
    alias_depth: int = 8
    expansion: int = 1_000
    """Targets of one address after all aliases are expanded."""
    looked_up: int = 20_000
    """Addresses that one ResolveRecipients looks up, those that aliases name among them."""

    hash_threads: int = 2
    hashes_waiting: int = 64
    verified_passwords: int = 10_000
    verified_seconds: float = 300.0

    failures: int = 10
    """Failed logins of one address from one network within the window; then none is tried."""
    network_failures: int = 100
    """The same over all addresses."""
    failure_window_seconds: float = 900.0
    untrusted: Networks = Networks()
    """Client addresses in these say nothing of the client: there only names are counted."""

    capability_seconds: float = 600.0
    session_seconds: float = 43_200.0
    quota: Quota = Quota()
    """Of accounts that have none of their own."""
    keys_seconds: float = 30.0
    """Signing keys are read again after so long."""
