"""FTP (RFC 959): commands, replies, listings and the server's states."""
