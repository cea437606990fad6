"""IMAP4rev1 and its extensions (RFC 3501, RFC 9051): commands, responses and their grammar."""
