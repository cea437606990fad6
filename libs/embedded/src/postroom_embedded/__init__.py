"""Starts and guards Postgres, NATS, the object store and the services on one machine."""
