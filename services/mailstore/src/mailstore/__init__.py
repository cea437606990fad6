"""Mail: accepted messages, mailboxes, the queue and its reports."""
