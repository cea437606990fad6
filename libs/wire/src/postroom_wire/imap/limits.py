"""Every bound of the IMAP engine in one place."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in octets, without the CRLF of a line."""

    max_line: int = 65_536
    max_command: int = 262_144
    """All lines and literals of one command together, without APPEND's message."""
    max_literals: int = 128
    max_literal: int = 65_536
    max_literal_before_login: int = 8_192
    max_non_synchronizing_before_login: int = 4_096
    """LITERAL- (RFC 7888 s5) is what is advertised before login."""
    append_limit: int = 52_428_800
    """Of each message of an APPEND."""
    append_total: int = 268_435_456
    """Of all literals of one APPEND (RFC 3502)."""
    max_append_messages: int = 256
    max_append_parts: int = 1_000
    """Of one message (RFC 4469)."""
    max_append_chunk: int = 262_144
    max_skipped: int = 134_217_728
    """What is read and thrown away of one refused command before the connection is given up."""
    max_nesting: int = 32
    max_search_keys: int = 512
    max_return_options: int = 16
    max_sort_criteria: int = 16
    max_filter_mailboxes: int = 256
    max_event_groups: int = 32
    """Of one NOTIFY (RFC 5465)."""
    max_events: int = 16
    max_fetch_items: int = 64
    max_header_fields: int = 512
    """In all HEADER.FIELDS lists of one FETCH together."""
    max_part_depth: int = 64
    max_flags: int = 128
    max_entries: int = 256
    """Annotations in one command (RFC 5464)."""
    max_list_patterns: int = 32
    max_id_pairs: int = 30
    """RFC 2971 s3.3."""


DEFAULT_LIMITS: Final = Limits()
