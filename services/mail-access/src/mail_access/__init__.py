"""IMAP and POP3: mail is read and filed. It holds nothing that a killed process would lose.

- `serve`: what a process is made of; `settings`, `limits`; `resources`: what all sessions share
- `login`: who the user is, and the capability that every call carries
- `store`: the typed client of the mail store
- `open_mailbox`, `mailbox_rows`: the view of one mailbox that all its sessions share; `views`: all open ones
- `content`: octets of messages, streamed
- `imap`, `pop3`: the two protocols
"""
