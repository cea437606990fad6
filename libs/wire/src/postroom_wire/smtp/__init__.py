"""SMTP (RFC 5321): server and client engines, commands, replies, message content."""
