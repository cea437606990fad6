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

    scram_iterations: int = 100_000
    """RFC 7677 s4 asks for 4,096 at least; clients pay the same."""
    scram_for_all: bool = False
    """Keys for everybody, as soon as the password is known; otherwise for who opts in."""
    scram_seconds: float = 120.0
    """From our first message of SCRAM to the client's last one."""
    app_passwords: int = 50
    """Of one account."""
    app_password_name: int = 100
    app_password_used_seconds: float = 3_600.0
    """So exact is it known when an app password was used last."""
    access_token: int = 8_192
    jwks: int = 262_144
    jwks_seconds: float = 300.0
    """Keys of the issuer are read again after so long, and for an unknown one."""
    jwks_again_seconds: float = 10.0
    """But not more often than that."""
    jwks_fetch_seconds: float = 3.0
    certificate: int = 16_384

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
