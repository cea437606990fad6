"""IMAP and POP3: mail is read and filed."""
