"""SMTP in: MX and submission."""
