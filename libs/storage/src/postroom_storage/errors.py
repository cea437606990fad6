"""Errors that no retry mends: the database or the store is not one that Postroom may trust."""


class StorageConfigurationError(Exception):
    """The database or object store is set up so that it must not be used: one line that says why."""


class UnsafeDatabaseError(StorageConfigurationError):
    """Postgres would say COMMIT before a commit is durable."""


class ObjectNotFoundError(Exception):
    """The object store has nothing under this key; whoever read an old location looks it up again."""
