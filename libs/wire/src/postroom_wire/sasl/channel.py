"""What the connection around an exchange is good for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Channel:
    """What TLS gives: data to bind an exchange to, by the name of the binding (RFC 5929), and whether the
    client has shown a certificate."""

    bindings: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    certified: bool = False


UNBOUND: Final = Channel()
"""Without TLS."""
