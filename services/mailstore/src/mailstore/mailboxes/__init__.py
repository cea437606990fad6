"""An account's mailboxes: what the MailboxService does, one module a family of operations."""
