"""POP3 (RFC 1939): commands, replies and the server's states."""
