"""Octets of messages: staged in Postgres, then packed into the object store."""
