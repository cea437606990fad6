"""MIME and message format (RFC 5322, RFC 2045): a linear, bounded scanner."""
