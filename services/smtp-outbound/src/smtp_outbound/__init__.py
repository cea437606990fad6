"""SMTP out: delivers the queue to other mail systems."""
