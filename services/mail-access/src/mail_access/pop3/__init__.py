"""POP3 (RFC 1939): the shell around `postroom_wire.pop3`.

The maildrop is a snapshot of INBOX that is taken at the login: one for each session, any number of sessions
at a time, and what arrives or goes meanwhile is seen at the next login. Unique-ids are
`<UIDVALIDITY>.<UID>`, so they are the same in every session and no other message ever has one of them.
Nothing is removed but at QUIT. Messages are read at the speed of the client, and no flag changes.
"""
