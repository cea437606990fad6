"""Sans-I/O engines and parsers of SMTP, IMAP, POP3, FTP and MIME: octets in, events out."""
