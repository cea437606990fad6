"""Local delivery: from the lanes of accepted mail into mailboxes."""
