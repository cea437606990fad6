"""Errors that end a service or tell that something it needs is away."""

from typing import ClassVar


class ConfigurationError(Exception):
    """The settings, a port or a file are wrong: one line that names the cause; exit status 2."""

    transient: ClassVar[bool] = False


class DependencyError(Exception):
    """Something that this service needs did not do its part; exit status 3 when it ends the service."""

    transient: ClassVar[bool] = True


class FindingsError(Exception):
    """What was to be done or looked at is not as wanted, and the log says each thing; exit status 1."""

    transient: ClassVar[bool] = False
