"""What the scanner bounds, and the names under which it tells that a bound was met."""

from dataclasses import dataclass
from enum import Enum


class Limit(Enum):
    """A bound that cut something off; the message is kept and readable all the same."""

    HEADER_OCTETS = "header_octets"
    HEADERS = "headers"
    VALUE = "value"
    ADDRESSES = "addresses"
    PARAMETERS = "parameters"
    DEPTH = "depth"
    PARTS = "parts"
    DELIMITERS = "delimiters"


@dataclass(frozen=True, slots=True)
class Limits:
    """What lies beyond a bound becomes plain octets or is left out of the facts; nothing raises.

    Sizes are octets. Counts are for the whole message with all that it nests, unless said otherwise.
    """

    header_octets: int = 256 * 1024
    """Of each header block; fields beyond are not looked at."""
    headers: int = 1_000
    """Fields of each header block."""
    all_headers: int = 20_000
    """Fields of all header blocks together."""
    value: int = 8 * 1024
    """Of one field value that is kept as text; address lists are bounded by `addresses` instead."""
    all_values: int = 1024 * 1024
    """Of all of them together; beyond, `least_value` of each is kept."""
    least_value: int = 256
    addresses: int = 1_000
    parameters: int = 100
    """Of each Content-Type or Content-Disposition."""
    all_parameters: int = 5_000
    """Of all of them together; beyond, the first `least_parameters` of each are read."""
    least_parameters: int = 4
    depth: int = 50
    """Multiparts and messages inside each other."""
    parts: int = 1_000
    boundary: int = 256
    """Longer ones than RFC 2046 s5.1.1 allows (70) are seen in real mail."""
    delimiters: int = 100_000
    """Lines that begin with "--" inside multiparts."""
    references: int = 200
    preview: int = 200
    """Characters."""
    preview_source: int = 32 * 1024
    """Encoded octets that are decoded for the preview."""


DEFAULT_LIMITS = Limits()
